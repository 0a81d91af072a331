#![allow(clippy::unwrap_used)]

use std::error::Error;

use super::*;

const SECRET_0: &str = "0x25295f0d1d592a90b333e26e85149708208e9f8e8bc18f6c77bd62f8ad7a6866";
const SECRET_1: &str = "51d0b65185db6989ab0b560d6deed19c7ead0e24b9b6372cbecb1f26bdfad000";

/// Interop key 0 under `interop-password`, with one round of PBKDF2 to be quick.
const KEYSTORE_0: &str = include_str!("../../../fixtures/keystores/interop-0.json");

fn public_keys(ring: &KeyRing) -> Vec<Hex<48>> {
    ring.keys().iter().map(|key| key.public_key).collect()
}

fn interop(indices: impl IntoIterator<Item = u64>) -> Vec<Hex<48>> {
    let public_key = |index| Hex(SecretKey::interop(index).public_key().to_bytes());
    indices.into_iter().map(public_key).collect()
}

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

fn load_key_files(dir: &tempfile::TempDir) -> Result<KeyRing, KeyError> {
    KeyRing::load(&KeySource::KeyFiles { dir: dir.path().to_owned() }, false)
}

/// An error with its causes, as the command prints it.
fn explain(error: &dyn Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", explain(cause))).unwrap_or_default();
    format!("{error}{cause}")
}

#[test]
fn interop_keys_are_in_order_and_found() {
    let ring = KeyRing::load(&KeySource::Interop { count: 9 }, false).unwrap();
    let expected = interop(0..9);
    assert_eq!(public_keys(&ring), expected);
    assert_eq!(ring.find(&expected[4]).unwrap().public_key, expected[4]);
    assert!(ring.find(&interop([9])[0]).is_none());
    assert_eq!(ring.neighbour(&expected[8]).unwrap().public_key, expected[0]);
    assert!(ring.keys()[0].stub_signature.is_none());
}

#[test]
fn the_only_key_has_no_neighbour() {
    let ring = KeyRing::load(&KeySource::Interop { count: 1 }, true).unwrap();
    let key = &ring.keys()[0];
    assert!(ring.neighbour(&key.public_key).is_none());
    crate::bls::verify(&key.public_key.0, &STUB_ROOT, &key.stub_signature.unwrap()).unwrap();
}

#[test]
fn key_files_of_both_types_and_several_documents_load() {
    let raw = format!("type: \"file-raw\"\nkeyType: \"BLS\"\nprivateKey: \"{SECRET_1}\"\n");
    let several = "---\ntype: file-keystore\nkeystoreFile: zero.json\n\
                   keystorePasswordFile: password.txt\n---\ntype: file-raw\nprivateKey: \
                   \"0x315ed405fafe339603932eebe8dbfd650ce5dafa561f6928664c75db85f97857\"\n";
    let dir = directory(&[
        ("a.yaml", several),
        ("b.yml", &raw),
        ("zero.json", KEYSTORE_0),
        ("password.txt", "interop-password\n"),
        ("README.txt", "not a key file"),
    ]);
    assert_eq!(public_keys(&load_key_files(&dir).unwrap()), interop([0, 2, 1]));
}

#[test]
fn a_directory_of_keystores_loads() {
    let dir = directory(&[("keystore-0.json", KEYSTORE_0), ("password.txt", "interop-password")]);
    let source = |password: &str| KeySource::Keystores {
        dir: dir.path().to_owned(),
        password_file: dir.path().join(password),
    };
    let ring = KeyRing::load(&source("password.txt"), false).unwrap();
    assert_eq!(public_keys(&ring), interop([0]));

    fs::write(dir.path().join("wrong.txt"), "interop-pa55word").unwrap();
    let error = explain(&KeyRing::load(&source("wrong.txt"), false).unwrap_err());
    assert!(error.ends_with("keystore-0.json: wrong password: the checksum does not match"));

    let error = explain(&KeyRing::load(&source("absent.txt"), false).unwrap_err());
    assert!(error.contains("absent.txt: No such file"), "{error}");
}

#[test]
fn bad_key_files_are_named() {
    let raw = |secret: &str| format!("type: file-raw\nprivateKey: \"{secret}\"\n");
    let cases: [(&str, String, &str); 9] = [
        (
            "hashicorp",
            "type: hashicorp\nkeyPath: /v1/secret\n".to_owned(),
            "key.yaml: type \"hashicorp\" is not supported",
        ),
        (
            "secp256k1",
            format!("keyType: SECP256K1\n{}", raw(SECRET_0)),
            "key.yaml: keyType \"SECP256K1\" is not supported",
        ),
        ("no type", "privateKey: \"0x00\"\n".to_owned(), "not a Web3Signer key file: "),
        ("not YAML", "type: [file-raw\n".to_owned(), "key.yaml is not a Web3Signer key file: "),
        ("no key", "type: file-raw\n".to_owned(), "key.yaml: privateKey is missing"),
        ("short key", raw("0x0102"), "key.yaml: privateKey: expected 32 bytes in hexadecimal"),
        ("zero key", raw(&"00".repeat(32)), "privateKey: the secret key is not a number from 1"),
        ("no keystore", "type: file-keystore\n".to_owned(), "key.yaml: keystoreFile is missing"),
        (
            "absent password",
            "type: file-keystore\nkeystoreFile: a\nkeystorePasswordFile: nowhere.txt\n".to_owned(),
            "nowhere.txt: No such file",
        ),
    ];
    for (name, content, expected) in cases {
        let dir = directory(&[("key.yaml", &content)]);
        let error = explain(&load_key_files(&dir).unwrap_err());
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn an_empty_directory_and_a_repeated_key_are_refused() {
    let error = load_key_files(&directory(&[])).unwrap_err();
    assert!(matches!(error, KeyError::None(_)), "{error}");

    let raw = format!("type: file-raw\nprivateKey: \"{SECRET_0}\"\n");
    let error = load_key_files(&directory(&[("a.yaml", &raw), ("b.yaml", &raw)])).unwrap_err();
    assert!(matches!(error, KeyError::Duplicate(key) if key == interop([0])[0]), "{error}");
}

#[test]
fn debug_shows_no_secret() {
    let ring = KeyRing::load(&KeySource::Interop { count: 1 }, false).unwrap();
    let shown = format!("{ring:?}");
    assert!(shown.contains("SecretKey(..)"));
    assert!(!shown.contains(&SECRET_0[10..20]));
}
