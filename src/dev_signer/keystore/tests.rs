#![allow(clippy::unwrap_used)]

use super::*;

/// EIP-2335, "Test Cases": the password is written in mathematical letters, and NFKD turns them
/// into `testpassword🔑`.
const PASSWORD: &str = "𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑";
const SECRET: &str = "0x000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
const PUBLIC_KEY: &str = "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27\
                          f4ae4040902382ae2910c15e2b420d07";

/// Interop key 0 under `interop-password`, with one round of PBKDF2.
const QUICK: &str = include_str!("../../../fixtures/keystores/interop-0.json");

const SCRYPT: &str = include_str!("../../../fixtures/keystores/eip2335-scrypt.json");

const PBKDF2: &str = include_str!("../../../fixtures/keystores/eip2335-pbkdf2.json");

#[test]
fn eip2335_vectors_open() {
    let expected = SecretKey::from_bytes(&Hex::parse(SECRET).unwrap().0).unwrap();
    for document in [SCRYPT, PBKDF2] {
        let secret_key = open(document.as_bytes(), PASSWORD).unwrap();
        assert_eq!(secret_key.public_key(), expected.public_key());
        assert_eq!(Hex(secret_key.public_key().to_bytes()), Hex::parse(PUBLIC_KEY).unwrap());
    }
}

#[test]
fn passwords_lose_their_control_codes() {
    assert_eq!(normalize_password(PASSWORD), "testpassword🔑");
    assert_eq!(normalize_password("a\u{0}\u{1f}\u{7f}\u{80}\u{9f}b c\r\n"), "ab c");
    assert!(open(QUICK.as_bytes(), "interop-password\n").is_ok());
}

#[test]
fn a_wrong_password_is_told_from_a_wrong_keystore() {
    let cases: [(&str, String, &str); 8] = [
        ("version", PBKDF2.replace(": 4", ": 3"), "keystore version 3 is not supported"),
        ("kdf", PBKDF2.replace("pbkdf2", "argon2id"), "kdf function \"argon2id\""),
        ("prf", PBKDF2.replace("hmac-sha256", "hmac-sha512"), "prf function \"hmac-sha512\""),
        ("cipher", PBKDF2.replace("aes-128-ctr", "aes-256-ctr"), "cipher function"),
        ("rounds", PBKDF2.replace("262144", "0"), "keystore's c is out of bounds"),
        ("cost", SCRYPT.replace("262144", "262145"), "keystore's n is out of bounds"),
        ("memory", SCRYPT.replace("262144", "1073741824"), "n and r is out of bounds"),
        ("no JSON", "---".to_owned(), "not an EIP-2335 keystore"),
    ];
    for (name, document, expected) in cases {
        let error = open(document.as_bytes(), PASSWORD).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    let error = open(QUICK.as_bytes(), "interop password").unwrap_err();
    assert!(matches!(error, KeystoreError::Password), "{error}");
    let other_key = QUICK.replace("a99a76ed", "b99a76ed");
    let error = open(other_key.as_bytes(), "interop-password").unwrap_err().to_string();
    assert!(error.contains("holds the secret key of 0xa99a76ed"), "{error}");
}
