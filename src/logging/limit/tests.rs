use slashing_db::BootTime;

use super::*;

#[test]
fn a_flood_of_one_code_is_summed_up_and_hides_no_other() {
    let limit = LogLimit::default();
    let at = |second: u64| Now { unix_ns: second * 1_000_000_000, boot: BootTime(0) };
    for _ in 0..LINES_PER_SECOND_MAX {
        assert_eq!(limit.may_say("unknown_key", at(1)), Some(0));
    }
    for _ in 0..1_000 {
        assert_eq!(limit.may_say("unknown_key", at(1)), None);
    }
    assert_eq!(limit.may_say("double_vote", at(1)), Some(0));
    assert_eq!(limit.may_say("unknown_key", at(2)), Some(1_000));
    assert_eq!(limit.may_say("unknown_key", at(2)), Some(0));
}
