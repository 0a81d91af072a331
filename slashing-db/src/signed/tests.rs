#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn hex_is_read_in_any_case_with_or_without_prefix() {
    let digits = "A9".repeat(48);
    let key = PublicKey([0xa9; 48]);
    for text in
        [digits.clone(), digits.to_lowercase(), format!("0x{digits}"), format!("0X{digits}")]
    {
        assert_eq!(text.parse::<PublicKey>(), Ok(key), "{text}");
    }
    assert_eq!(key.to_string(), format!("0x{}", digits.to_lowercase()));
}

#[test]
fn what_is_not_hex_of_the_right_length_is_refused() {
    let short = "ab".repeat(31);
    assert_eq!(short.parse::<SigningRoot>(), Err(HexError::Length { expected: 64, found: 62 }));
    assert_eq!("".parse::<SigningRoot>(), Err(HexError::Length { expected: 64, found: 0 }));
    assert_eq!("0x".parse::<SigningRoot>(), Err(HexError::Length { expected: 64, found: 0 }));
    let sign = format!("0x{}+f", "ab".repeat(31));
    assert_eq!(sign.parse::<SigningRoot>(), Err(HexError::Digit { position: 62 }));
    let umlaut = format!("{}ä", "ab".repeat(31));
    assert_eq!(umlaut.parse::<SigningRoot>(), Err(HexError::Digit { position: 62 }));
}

#[test]
fn an_unknown_root_repeats_nothing() {
    let root = SigningRoot([7; 32]);
    assert!(root.proves_repeat_of(&root));
    assert!(!root.proves_repeat_of(&SigningRoot([8; 32])));
    assert!(SigningRoot::NULL.is_null());
    assert!(!SigningRoot::NULL.proves_repeat_of(&SigningRoot::NULL));
}
