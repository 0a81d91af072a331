#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::CertificateDer;

use super::*;
use crate::tls::{Fingerprint, IdentityFiles};

fn certificate(name: &str) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(name)
}

fn client(name: &str) -> ClientSettings {
    ClientSettings {
        name: name.to_owned(),
        certificate_fingerprints: Vec::new(),
        certificate_names: Vec::new(),
        user: None,
        addresses: Vec::new(),
    }
}

/// Clients by certificate, listener and address, with the lists in `home`.
fn clients(home: &tempfile::TempDir, of_fingerprint: &CertificateDer<'_>) -> Arc<Clients> {
    let settings = Settings {
        tls: Some(TlsSettings {
            identity: IdentityFiles::Pem {
                certificate: fixture("pair.crt"),
                key: fixture("pair.key"),
            },
            client_auth: ClientAuth::Required,
            known_clients_file: Some(home.path().join("known.txt")),
            client_ca_file: None,
            client_crl_file: None,
        }),
        clients: vec![
            ClientSettings {
                certificate_fingerprints: vec![Fingerprint::of(of_fingerprint)],
                addresses: vec!["10.0.0.0/8".parse().unwrap()],
                ..client("pinned")
            },
            ClientSettings {
                addresses: vec!["192.0.2.0/24".parse().unwrap(), "10.9.0.0/16".parse().unwrap()],
                ..client("near")
            },
            client("vouch"),
            ClientSettings {
                certificate_names: vec!["by-dns.example".to_owned()],
                ..client("dns")
            },
        ],
    };
    Clients::load(settings, Clock::System, ClientMetrics::unregistered()).unwrap()
}

fn shown(clients: &Clients, certificate: &CertificateDer<'static>) -> Verified {
    let by = clients.server_config(ClientAuth::Required).unwrap().id;
    Verified { certificates: vec![certificate.clone()], by }
}

#[test]
fn the_strongest_claim_names_and_none_may_contradict() {
    let home = tempfile::tempdir().unwrap();
    let [pinned, known, by_dns] = ["x", "y", "by-dns"].map(certificate);
    let line = |certificate, name: &str| format!("{name} {}\n", Fingerprint::of(certificate));
    let lines = line(&known, "vouch") + &line(&by_dns, "somebody");
    std::fs::write(home.path().join("known.txt"), lines).unwrap();
    let clients = clients(&home, &pinned);
    let none = Verified::default;
    let [pinned, known, by_dns] = [&pinned, &known, &by_dns].map(|it| shown(&clients, it));
    let contradiction = "client_contradiction";
    for (peer, listener, verified, expected) in [
        ("10.1.0.1", None, pinned.clone(), Ok("pinned")),
        ("10.1.0.1", Some("pinned"), pinned.clone(), Ok("pinned")),
        ("10.9.0.1", None, pinned.clone(), Ok("pinned")), // near's range, but a claim is stronger
        ("192.0.2.1", None, pinned.clone(), Err("client_foreign_address")),
        ("10.1.0.1", Some("vouch"), pinned, Err(contradiction)),
        ("192.0.2.1", None, known.clone(), Ok("vouch")),
        ("192.0.2.1", Some("near"), known, Err(contradiction)),
        ("198.51.100.1", None, by_dns, Ok("dns")),
        ("192.0.2.1", None, none(), Ok("near")),
        ("10.9.0.1", None, none(), Ok("near")), // the narrowest range
        ("10.1.0.1", None, none(), Ok("pinned")),
        ("198.51.100.1", None, none(), Err("client_unknown")),
        ("198.51.100.1", Some("vouch"), none(), Ok("vouch")),
        ("198.51.100.1", Some("near"), none(), Err("client_foreign_address")),
    ] {
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        let listener = listener.map(|name| clients.named(name));
        let session = Session::new(Arc::clone(&clients), peer, listener, verified);
        let found = session.client(None);
        let found = found.as_ref().map(|client| client.name()).map_err(|error| error.code());
        assert_eq!(found, expected, "{peer} {:?}", session.listener);
    }
}

#[test]
fn a_session_follows_the_files() {
    let home = tempfile::tempdir().unwrap();
    let [pinned, known] = ["x", "y"].map(certificate);
    let list = |text: &str| std::fs::write(home.path().join("known.txt"), text).unwrap();
    let line = |name: &str| format!("{name} {}\n", Fingerprint::of(&known));
    list(&line("vouch"));
    let clients = clients(&home, &pinned);
    let peer = "198.51.100.1:1".parse().unwrap();
    let session = Session::new(Arc::clone(&clients), peer, None, shown(&clients, &known));
    let name = || session.client(None).map(|client| client.name().to_owned());
    assert_eq!(name().unwrap(), "vouch");
    list(&line("dns"));
    assert_eq!(name().unwrap(), "vouch", "not read yet");
    clients.reload().unwrap();
    assert_eq!(name().unwrap(), "dns");
    list("nonsense");
    clients.reload().unwrap_err();
    assert_eq!(name().unwrap(), "dns", "what held before goes on");
    list("");
    clients.reload().unwrap();
    assert_eq!(name(), Err(NotIdentified::CertificateWithdrawn));
    // A handshake that was verified just before, and whose session begins just after.
    let late = Verified { certificates: vec![known.clone()], by: AccessId::default() };
    let session = Session::new(Arc::clone(&clients), peer, None, late);
    assert_eq!(session.client(None).unwrap_err(), NotIdentified::CertificateWithdrawn);
}

#[test]
fn without_a_configuration_all_are_one_client() {
    let clients = Clients::anyone();
    let peer = "198.51.100.1:1".parse().unwrap();
    let session = Session::new(Arc::clone(&clients), peer, None, Verified::default());
    for header in [None, Some(&b"Basic QTpC"[..])] {
        assert_eq!(session.client(header).unwrap().name(), DEFAULT);
    }
}
