#![allow(clippy::unwrap_used)]

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(name)
}

fn file(directory: &tempfile::TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn key_stores_of_openssl_and_java_open() {
    let directory = tempfile::tempdir().unwrap();
    let password_file = file(&directory, "password", "changeit\n");
    let pem = IdentityFiles::Pem { certificate: fixture("pair.crt"), key: fixture("pair.key") };
    let pem = load_identity(&pem).unwrap();
    for (name, same, length) in
        [("openssl.p12", true, 2), ("openssl-legacy.p12", true, 2), ("keytool.p12", false, 1)]
    {
        let store = fixture(name);
        let password_file = password_file.clone();
        let identity = load_identity(&IdentityFiles::Pkcs12 { store, password_file });
        let identity = identity.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(identity.cert.len(), length, "{name}");
        assert_eq!(identity.cert[0] == pem.cert[0], same, "{name}");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let password_file = file(&directory, "password", "wrong\n");
    let empty = file(&directory, "empty", "");
    let text = file(&directory, "text", "hello\n");
    let cut = fs::read_to_string(fixture("pair.key")).unwrap();
    let cut = file(&directory, "cut", &cut[..cut.len() / 2]);
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----";
    let encrypted = file(&directory, "encrypted", encrypted);
    let stranger = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let stranger = file(&directory, "stranger", stranger);
    let pem = |certificate: &Path, key: &Path| {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        load_identity(&IdentityFiles::Pem { certificate, key }).unwrap_err().to_string()
    };
    let store = |store: &Path, password_file: &Path| {
        let (store, password_file) = (store.to_owned(), password_file.to_owned());
        load_identity(&IdentityFiles::Pkcs12 { store, password_file }).unwrap_err().to_string()
    };
    let (certificate, key) = (fixture("pair.crt"), fixture("pair.key"));
    for (message, file, wrong) in [
        (pem(&directory.path().join("none"), &key), "none", "cannot read"),
        (pem(&text, &key), "text", "holds no certificate"),
        (pem(&certificate, &empty), "empty", "holds no private key"),
        (pem(&certificate, &cut), "cut", "is not PEM"),
        (pem(&certificate, &encrypted), "encrypted", "is encrypted"),
        (pem(&certificate, &stranger), "pair.crt", "cannot be used with its key"),
        (store(&fixture("openssl.p12"), &password_file), "openssl.p12", "wrong password"),
        (store(&fixture("openssl.p12"), &empty), "empty", "holds no password"),
        (store(&text, &password_file), "text", "not PKCS#12"),
    ] {
        assert!(message.contains(file) && message.contains(wrong), "{message}");
    }
}

#[test]
fn fingerprints_are_read_strictly() {
    let fingerprint = Fingerprint(std::array::from_fn(|index| index as u8 * 7));
    let text = fingerprint.to_string();
    assert_eq!(text.parse(), Ok(fingerprint));
    assert_eq!(text.replace(':', "").to_lowercase().parse(), Ok(fingerprint));
    for wrong in ["", "AA", "AA:BB", &text[1..], &text[..94], &format!("{text}:00")] {
        assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
    }
    assert!(text.replacen(':', "::", 1).parse::<Fingerprint>().is_err());
    assert!(text.replacen("07", "0g", 1).parse::<Fingerprint>().is_err());
}

#[test]
fn a_secret_that_everybody_may_read_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "password", "secret");
    for (mode, open) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(is_world_readable(&path), open);
    }
    assert!(!is_world_readable(&directory.path().join("none")));
}

#[test]
fn a_password_is_the_first_line_and_is_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let password = load_password(&file(&directory, "p", "correct horse\r\nmore\n")).unwrap();
    assert_eq!(password.as_str(), "correct horse");
    assert_eq!(format!("{password:?}"), "Password(..)");
    assert!(load_password(&file(&directory, "q", "\nsecond\n")).is_err());
}
