#![allow(clippy::unwrap_used)]

use super::{Epoch, HexError, PublicKey, Root, Uint64Error, Version};

#[test]
fn hex_is_lenient_in_spelling_and_strict_in_length() {
    let version = Version([0x0a, 0xbc, 0xde, 0xf0]);
    for text in ["0x0abcdef0", "0abcdef0", "0x0ABCDEF0", "0AbCdEf0"] {
        assert_eq!(text.parse(), Ok(version));
    }
    assert_eq!(version.to_string(), "0x0abcdef0");
    let length = |digits| Err::<Version, _>(HexError::Length { expected: 4, digits });
    assert_eq!("".parse(), length(0));
    assert_eq!("0x".parse(), length(0));
    assert_eq!("0x0abcdef".parse(), length(7));
    assert_eq!("0x0abcdef012".parse(), length(10));
    assert_eq!("0X0abcde".parse::<Version>(), Err(HexError::Digit));
    assert_eq!("0x0abcdefg".parse::<Version>(), Err(HexError::Digit));
    assert_eq!("0x0abcdeé".parse::<Version>(), Err(HexError::Digit));
}

#[test]
fn values_survive_json() {
    let key = PublicKey([0xa5; 48]);
    let json = serde_json::to_string(&key).unwrap();
    assert_eq!(json, format!("\"0x{}\"", "a5".repeat(48)));
    assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), key);
    for value in [0, 1, 9_007_199_254_740_993, u64::MAX] {
        let json = serde_json::to_string(&Epoch(value)).unwrap();
        assert_eq!(json, format!("\"{value}\""));
        assert_eq!(serde_json::from_str::<Epoch>(&json).unwrap(), Epoch(value));
        assert_eq!(serde_json::from_str::<Epoch>(&value.to_string()).unwrap(), Epoch(value));
    }
}

#[test]
fn uint64_takes_canonical_digits_alone() {
    assert_eq!("18446744073709551615".parse(), Ok(Epoch(u64::MAX)));
    for text in ["", "+1", "-1", "01", " 1", "1 ", "1_0", "0x1", "1.0", "18446744073709551616"] {
        assert_eq!(text.parse::<Epoch>(), Err(Uint64Error), "{text:?}");
    }
}

#[test]
fn chunks_of_numbers_are_little_endian() {
    assert_eq!(Root::from_uint64(0x0102).0[..3], [2, 1, 0]);
}
