//! What may be shown of a value: never the password in a URL.

use std::borrow::Cow;

/// The text with the user information of every URL in it hidden: `http://user:secret@host` becomes
/// `http://***@host`.
pub(super) fn urls(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, authority) = rest.split_at(start + "://".len());
        let end = authority.find(['/', '?', '#', '"', '`', '\'', ' ']).unwrap_or(authority.len());
        shown.push_str(before);
        match authority[..end].rfind('@') {
            Some(at) => {
                shown.push_str("***");
                rest = &authority[at..];
            }
            None => rest = authority,
        }
    }
    if shown.is_empty() {
        return Cow::Borrowed(text);
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}
