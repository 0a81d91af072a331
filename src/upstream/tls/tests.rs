#![allow(clippy::unwrap_used)]

use std::path::Path;

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::tls::IdentityFiles;

/// Writes a certificate that vouches for itself, and its key.
fn write_pair(home: &Path) {
    let pair = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["gate.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&pair).unwrap();
    fs::write(home.join("key.pem"), pair.serialize_pem()).unwrap();
    fs::write(home.join("certificate.pem"), certificate.pem()).unwrap();
}

#[test]
fn files_are_read_again_when_they_change_and_a_half_written_pair_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    write_pair(home.path());
    let at = |name: &str| home.path().join(name);
    let tls = SignerTls::load(&UpstreamTls {
        ca_file: Some(at("certificate.pem")),
        identity: Some(IdentityFiles::Pem {
            certificate: at("certificate.pem"),
            key: at("key.pem"),
        }),
    })
    .unwrap();
    assert!(!tls.reload_if_changed().unwrap());
    let first = tls.config.load_full();
    let key = fs::read(at("key.pem")).unwrap();
    fs::write(at("key.pem"), "gone").unwrap();
    assert!(matches!(tls.reload_if_changed(), Err(SignerTlsError::File(_))));
    assert!(!tls.reload_if_changed().unwrap(), "said once");
    assert!(Arc::ptr_eq(&first, &tls.config.load_full()), "what was read stays in force");
    fs::remove_file(at("key.pem")).unwrap();
    fs::write(at("key.pem"), key).unwrap();
    assert!(tls.reload_if_changed().unwrap());
    assert!(!Arc::ptr_eq(&first, &tls.config.load_full()));
}

#[test]
fn a_missing_file_is_named() {
    let files = UpstreamTls { ca_file: Some("/nonexistent/ca.pem".into()), identity: None };
    let error = SignerTls::load(&files).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/ca.pem"), "{error}");
}
