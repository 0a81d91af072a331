//! Signers over https: each side proves who it is, and files that change are read again.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::{Rig, eventually};
use crate::support::{Process, key, randao};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes `name.pem` and `name.key`, for `subject`.
fn issue(rig: &Rig, authority: &Authority, name: &str, subject: &str) {
    let pair = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![subject.to_owned()]).unwrap();
    let certificate = params.signed_by(&pair, authority).unwrap();
    fs::write(rig.world.path(&format!("{name}.key")), pair.serialize_pem()).unwrap();
    fs::write(rig.world.path(&format!("{name}.pem")), certificate.pem()).unwrap();
}

/// A signer that serves https to those whom `client-ca.pem` vouches for.
fn start_signer(rig: &Rig, server: &str) -> Process {
    let (certificate, key) = (format!("{server}.pem"), format!("{server}.key"));
    let tls = ["--tls-cert", &certificate, "--tls-key", &key, "--client-ca", "client-ca.pem"];
    rig.world.spawn_signer("127.0.0.1:0", &[&["--interop", "4"][..], &tls[..]].concat())
}

#[test]
fn a_signer_over_https_with_a_client_certificate() {
    let mut rig = Rig::signers(&[]);
    let (servers, clients, strangers) = (authority(), authority(), authority());
    fs::write(rig.world.path("server-ca.pem"), servers.pem()).unwrap();
    fs::write(rig.world.path("client-ca.pem"), clients.pem()).unwrap();
    issue(&rig, &servers, "server", "127.0.0.1");
    issue(&rig, &strangers, "stranger", "127.0.0.1");
    issue(&rig, &servers, "misnamed", "signer.example");
    issue(&rig, &clients, "gate", "gate.example");
    let signer = start_signer(&rig, "server");
    let tls = "tls_ca_file = 'server-ca.pem'\ntls_certificate_file = 'gate.pem'\n\
               tls_key_file = 'gate.key'\n";
    let url = |signer: &Process| format!("https://{}", signer.address);
    rig.configure_urls(&[("west", vec![url(&signer)])], tls);
    rig.enrol();
    rig.world.start_gate();
    let epoch = rig.world.epoch();
    assert_eq!(rig.world.sign(&key(0), &randao(epoch)).0, 200);

    // A certificate that the signer does not know, and then the right one again, under way.
    let (good_certificate, good_key) = (
        fs::read(rig.world.path("gate.pem")).unwrap(),
        fs::read(rig.world.path("gate.key")).unwrap(),
    );
    issue(&rig, &strangers, "gate", "gate.example");
    rig.event("upstream_tls_reloaded", &["west"]);
    drop(signer); // its connections with it
    let signer = start_signer(&rig, "server");
    rig.configure_urls(&[("west", vec![url(&signer)])], tls);
    rig.world.kill_gate();
    rig.world.start_gate();
    let (status, body) = rig.world.sign(&key(1), &randao(epoch));
    assert_eq!(status, 500, "a client that the signer does not know: {body}");
    fs::write(rig.world.path("gate.key"), good_key).unwrap();
    fs::write(rig.world.path("gate.pem"), good_certificate).unwrap();
    eventually("a signature with the renewed certificate", || {
        rig.world.sign(&key(1), &randao(epoch)).0 == 200
    });

    // Servers that are not who they should be.
    for server in ["stranger", "misnamed"] {
        let impostor = start_signer(&rig, server);
        rig.configure_urls(&[("west", vec![url(&impostor)])], tls);
        rig.world.kill_gate();
        rig.world.start_gate();
        let (status, body) = rig.world.sign(&key(2), &randao(epoch));
        assert_eq!((status, &body["code"]), (500, &"upstream_tls".into()), "{server}");
    }
}

#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let rig = Rig::signers(&[]);
    let urls = vec!["https://127.0.0.1:1".to_owned()];
    rig.configure_urls(&[("west", urls)], "tls_ca_file = 'nobody.pem'\n");
    let status = rig.world.spawn_gate("gate.toml", "gate.log").err().unwrap();
    assert!(!status.success());
    assert!(rig.world.log().contains("nobody.pem"), "{}", rig.world.log());
}
