//! HTTP basic authentication (RFC 7617): who, and with which password.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Client;
use crate::tls::Password;

/// The users, with the SHA-256 of their passwords: no password stays in memory.
#[derive(Debug, Default)]
pub(super) struct Users(HashMap<String, (PasswordHash, Arc<Client>)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PasswordHash([u8; 32]);

/// The user is not known, or the password is not the user's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong;

impl Users {
    pub(super) fn insert(&mut self, user: &str, password: &Password, client: Arc<Client>) {
        let hash = PasswordHash(Sha256::digest(password.as_str()).into());
        self.0.insert(user.to_owned(), (hash, client));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose header this is; `None` where there is none, or one of another scheme.
    pub(super) fn client(
        &self,
        authorization: Option<&[u8]>,
    ) -> Result<Option<&Arc<Client>>, Wrong> {
        let Some(encoded) = authorization.and_then(credentials) else {
            return Ok(None);
        };
        let decoded = base64(encoded).ok_or(Wrong)?;
        let colon = decoded.iter().position(|byte| *byte == b':').ok_or(Wrong)?;
        let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
        let given: [u8; 32] = Sha256::digest(password).into();
        let user = std::str::from_utf8(user).ok().and_then(|user| self.0.get(user));
        // As long as for a known user, so that users cannot be guessed.
        let (hash, client) = user.map_or((&UNKNOWN, None), |(hash, client)| (hash, Some(client)));
        match bool::from(hash.0.ct_eq(&given)) {
            true => client.map(Some).ok_or(Wrong),
            false => Err(Wrong),
        }
    }
}

const UNKNOWN: PasswordHash = PasswordHash([0; 32]);

/// What follows `Basic `, in any case.
fn credentials(header: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = header.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| rest.trim_ascii())
}

const SCHEME: &[u8] = b"Basic ";

/// RFC 4648, with or without its padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    if text.len() - end > 2 || end % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(end / 4 * 3 + 2);
    for quad in text[..end].chunks(4) {
        let mut bits = 0u32;
        for byte in quad {
            bits = bits << 6 | u32::from(sextet(*byte)?);
        }
        bits <<= 6 * (4 - quad.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..quad.len()]);
    }
    Some(bytes)
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
