use super::*;

fn keys(numbers: &[u8]) -> Vec<PublicKey> {
    numbers.iter().map(|number| PublicKey([*number; 48])).collect()
}

#[test]
fn a_set_has_what_any_of_its_replicas_has() {
    let union = Union::of(vec![(1, keys(&[2, 3, 9])), (0, keys(&[1, 2, 3])), (2, keys(&[]))]);
    assert_eq!(union.keys, keys(&[1, 2, 3, 9]));
    assert_eq!(
        union.lacks,
        [(1, keys(&[1])), (0, keys(&[9])), (2, keys(&[1, 2, 3, 9]))],
        "each with what it lacks of the whole"
    );
}

#[test]
fn replicas_that_agree_lack_nothing() {
    let union = Union::of(vec![(0, keys(&[1, 2])), (1, keys(&[1, 2]))]);
    assert_eq!(union, Union { keys: keys(&[1, 2]), lacks: vec![(0, vec![]), (1, vec![])] });
    assert_eq!(Union::of(vec![(0, vec![])]).keys, vec![]);
}

#[test]
fn merging_keeps_order_and_drops_what_is_twice() {
    assert_eq!(merged(keys(&[2, 4]), keys(&[1, 2, 3, 4, 5])), keys(&[1, 2, 3, 4, 5]));
    assert_eq!(merged(keys(&[]), keys(&[7])), keys(&[7]));
    assert_eq!(difference(&keys(&[1, 2, 3]), &keys(&[2])), keys(&[1, 3]));
}
