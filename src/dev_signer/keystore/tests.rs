#![allow(clippy::unwrap_used)]

use super::*;

/// EIP-2335, "Test Cases": the password is written in mathematical letters, and NFKD turns them into
/// `testpassword🔑`.
const PASSWORD: &str = "𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑";
const SECRET: &str = "0x000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
const PUBLIC_KEY: &str = "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27\
                          f4ae4040902382ae2910c15e2b420d07";

/// Interop key 0 under `interop-password`, with one round of PBKDF2.
const QUICK: &str = include_str!("../keys/keystore-0.json");

const SCRYPT: &str = r#"{
    "crypto": {
        "kdf": {
            "function": "scrypt",
            "params": {
                "dklen": 32, "n": 262144, "p": 1, "r": 8,
                "salt": "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"
            },
            "message": ""
        },
        "checksum": {
            "function": "sha256",
            "params": {},
            "message": "d2217fe5f3e9a1e34581ef8a78f7c9928e436d36dacc5e846690a5581e8ea484"
        },
        "cipher": {
            "function": "aes-128-ctr",
            "params": {"iv": "264daa3f303d7259501c93d997d84fe6"},
            "message": "06ae90d55fe0a6e9c5c3bc5b170827b2e5cce3929ed3f116c2811e6366dfe20f"
        }
    },
    "description": "This is a test keystore that uses scrypt to secure the secret.",
    "pubkey": "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27f4ae4040902382ae2910c15e2b420d07",
    "path": "m/12381/60/3141592653/589793238",
    "uuid": "1d85ae20-35c5-4611-98e8-aa14a633906f",
    "version": 4
}"#;

const PBKDF2: &str = r#"{
    "crypto": {
        "kdf": {
            "function": "pbkdf2",
            "params": {
                "dklen": 32, "c": 262144, "prf": "hmac-sha256",
                "salt": "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"
            },
            "message": ""
        },
        "checksum": {
            "function": "sha256",
            "params": {},
            "message": "8a9f5d9912ed7e75ea794bc5a89bca5f193721d30868ade6f73043c6ea6febf1"
        },
        "cipher": {
            "function": "aes-128-ctr",
            "params": {"iv": "264daa3f303d7259501c93d997d84fe6"},
            "message": "cee03fde2af33149775b7223e7845e4fb2c8ae1792e5f99fe9ecf474cc8c16ad"
        }
    },
    "description": "This is a test keystore that uses PBKDF2 to secure the secret.",
    "pubkey": "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27f4ae4040902382ae2910c15e2b420d07",
    "path": "m/12381/60/0/0",
    "uuid": "64625def-3331-4eea-ab6f-782f3ed16a83",
    "version": 4
}"#;

#[test]
fn eip2335_vectors_open() {
    let expected = SecretKey::from_bytes(&Hex::parse(SECRET).unwrap().0).unwrap();
    for document in [SCRYPT, PBKDF2] {
        let secret_key = open(document.as_bytes(), PASSWORD).unwrap();
        assert_eq!(secret_key.public_key(), expected.public_key());
        assert_eq!(
            Hex(secret_key.public_key().to_bytes()),
            Hex::parse(PUBLIC_KEY).unwrap()
        );
    }
}

#[test]
fn passwords_lose_their_control_codes() {
    assert_eq!(normalize_password(PASSWORD), "testpassword🔑");
    assert_eq!(
        normalize_password("a\u{0}\u{1f}\u{7f}\u{80}\u{9f}b c\r\n"),
        "ab c"
    );
    assert!(open(QUICK.as_bytes(), "interop-password\n").is_ok());
}

#[test]
fn a_wrong_password_is_told_from_a_wrong_keystore() {
    let cases: [(&str, String, &str); 8] = [
        (
            "version",
            PBKDF2.replace(": 4", ": 3"),
            "keystore version 3 is not supported",
        ),
        (
            "kdf",
            PBKDF2.replace("pbkdf2", "argon2id"),
            "kdf function \"argon2id\"",
        ),
        (
            "prf",
            PBKDF2.replace("hmac-sha256", "hmac-sha512"),
            "prf function \"hmac-sha512\"",
        ),
        (
            "cipher",
            PBKDF2.replace("aes-128-ctr", "aes-256-ctr"),
            "cipher function",
        ),
        (
            "rounds",
            PBKDF2.replace("262144", "0"),
            "keystore's c is out of bounds",
        ),
        (
            "cost",
            SCRYPT.replace("262144", "262145"),
            "keystore's n is out of bounds",
        ),
        (
            "memory",
            SCRYPT.replace("262144", "1073741824"),
            "n and r is out of bounds",
        ),
        ("no JSON", "---".to_owned(), "not an EIP-2335 keystore"),
    ];
    for (name, document, expected) in cases {
        let error = open(document.as_bytes(), PASSWORD).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    let error = open(QUICK.as_bytes(), "interop password").unwrap_err();
    assert!(matches!(error, KeystoreError::Password), "{error}");
    let other_key = QUICK.replace("a99a76ed", "b99a76ed");
    let error = open(other_key.as_bytes(), "interop-password")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("holds the secret key of 0xa99a76ed"),
        "{error}"
    );
}
