use super::{shorten_hex, wrap};

#[test]
fn lines_break_at_spaces() {
    assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    assert_eq!(wrap("one longer-than-that", 7), ["one", "longer-than-that"]);
    assert_eq!(wrap("", 7), [""]);
}

#[test]
fn roots_are_shortened_and_words_are_not() {
    let root = format!("0x{}cdef", "01".repeat(30));
    assert_eq!(shorten_hex(&format!("(root {root});")), "(root 0x0101..cdef);");
    assert_eq!(shorten_hex("version 0x0600de30 of 0xyz"), "version 0x0600de30 of 0xyz");
}
