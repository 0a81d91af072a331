#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn rows_come_back_in_order_and_outlive_the_table() {
    let directory = tempfile::tempdir().unwrap();
    let table = SideTable::open(directory.path()).unwrap();
    table.put_batch([("b", "2"), ("a", "1"), ("b", "3")]).unwrap();
    drop(table);
    let table = SideTable::open(directory.path()).unwrap();
    assert_eq!(table.get(b"b").unwrap().as_deref(), Some(&b"3"[..]));
    assert_eq!(table.get(b"c").unwrap(), None);
    let keys: Vec<_> = table.iter().map(|row| row.unwrap().0).collect();
    assert_eq!(keys, [Box::from(&b"a"[..]), Box::from(&b"b"[..])]);
}
