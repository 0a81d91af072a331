use super::*;

#[test]
fn a_flood_of_the_lowest_class_leaves_room_for_every_higher_one() {
    let limits = Limits::default();
    let admission = Admission::new(&limits);
    let mut flood = Vec::new();
    for class in DutyClass::ALL.into_iter().rev() {
        while let Some(admitted) = admission.admit(class) {
            flood.push(admitted);
        }
        assert_eq!(admission.under_way(), limits.in_flight_ceiling(class), "{}", class.as_str());
    }
    flood.clear();
    assert_eq!(admission.under_way(), 0);
    assert!(admission.admit(DutyClass::Registration).is_some());
}
