//! `0x` and hexadecimal digits, strictly: as many as the type has, in either case.

use super::problem::ProblemKind;

/// # Errors
/// [`ProblemKind::NotHex`] when the text is anything else.
pub(super) fn parse<const N: usize>(text: &str) -> Result<[u8; N], ProblemKind> {
    let wrong = || ProblemKind::NotHex { value: text.to_owned(), digits: 2 * N };
    let digits = text.strip_prefix("0x").ok_or_else(wrong)?;
    if digits.len() != 2 * N {
        return Err(wrong());
    }
    let mut bytes = [0; N];
    faster_hex::hex_decode(digits.as_bytes(), &mut bytes).map_err(|_| wrong())?;
    Ok(bytes)
}

/// `0x` and lower case digits.
pub(super) fn format(bytes: &[u8]) -> String {
    format!("0x{}", faster_hex::hex_string(bytes))
}
