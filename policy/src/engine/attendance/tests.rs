use super::*;

fn noon(day: u64) -> Moment {
    Moment { unix_ms: day * 86_400_000 + 43_200_000, ..Moment::default() }
}

#[test]
fn a_share_that_stays_away_is_missed_once_and_while_others_sign() {
    let mut attendance = Attendance::default();
    attendance.took_part(ShareSet(0b1110), noon(100));
    for day in 101..130 {
        attendance.took_part(ShareSet(0b1100), noon(day));
        assert!(attendance.newly_missed(noon(day), false).is_empty(), "day {day}");
    }
    attendance.took_part(ShareSet(0b1100), noon(130));
    assert!(attendance.newly_missed(noon(130), true).is_empty(), "while nodes are worked on");
    assert_eq!(attendance.newly_missed(noon(130), false), [1]);
    assert!(attendance.newly_missed(noon(131), false).is_empty(), "told already");
    let mut out = Writer::default();
    attendance.write(&mut out);
    assert_eq!(Attendance::read(&mut Reader(&out.0)), Some(attendance.clone()));
    // It comes back, and goes again; then everybody stops: that is no share's fault.
    attendance.took_part(ShareSet(0b1110), noon(131));
    for day in 132..165 {
        attendance.took_part(ShareSet(0b1100), noon(day));
    }
    assert_eq!(attendance.newly_missed(noon(164), false), [1]);
    assert!(attendance.newly_missed(noon(230), false).is_empty(), "nobody signs");
}
