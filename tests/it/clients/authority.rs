//! An authority of the tests' own, and what it signs.

use std::fs;
use std::path::PathBuf;

use portcullis::tls::Fingerprint;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::support::World;

/// When a certificate holds.
#[derive(Clone, Copy)]
pub(crate) enum Validity {
    Now,
    Past,
    Future,
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: KeyPair,
}

impl Pair {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Writes `NAME.crt` and `NAME.key` into the world's folder.
    pub(crate) fn write(&self, world: &World, name: &str) {
        fs::write(world.path(&format!("{name}.crt")), &self.certificate_pem).unwrap();
        fs::write(world.path(&format!("{name}.key")), self.key.serialize_pem()).unwrap();
    }

    /// Writes a key store with the password `changeit` beside it.
    pub(crate) fn write_pkcs12(&self, world: &World, name: &str) {
        use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKeyChain};
        let chain = [Certificate::from_der(&self.certificate).unwrap()];
        let mut store = KeyStore::new();
        let entry = PrivateKeyChain::new(self.key.serialize_der(), [1], chain);
        store.add_entry("gate", KeyStoreEntry::PrivateKeyChain(entry));
        let bytes = store.writer("changeit").write().unwrap();
        fs::write(world.path(&format!("{name}.p12")), bytes).unwrap();
        fs::write(world.path(&format!("{name}.password")), "changeit\n").unwrap();
    }
}

fn params(name: &str, validity: Validity, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    let (from, to) = match validity {
        Validity::Now => (2020, 2099),
        Validity::Past => (2019, 2020),
        Validity::Future => (2098, 2099),
    };
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    params
}

/// A certificate that signs itself.
pub(crate) fn self_signed(name: &str, validity: Validity) -> Pair {
    let key = KeyPair::generate().unwrap();
    let certificate = params(name, validity, 1).self_signed(&key).unwrap();
    Pair { certificate: certificate.der().clone(), certificate_pem: certificate.pem(), key }
}

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = params(name, Validity::Now, 1);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn write(&self, world: &World, name: &str) -> PathBuf {
        let path = world.path(name);
        fs::write(&path, self.0.pem()).unwrap();
        path
    }

    pub(crate) fn signs(&self, name: &str, validity: Validity, serial: u64) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params(name, validity, serial).signed_by(&key, &self.0).unwrap();
        Pair { certificate: certificate.der().clone(), certificate_pem: certificate.pem(), key }
    }

    /// Writes a list of revoked serials.
    pub(crate) fn revokes(&self, world: &World, name: &str, serials: &[u64]) {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        fs::write(world.path(name), list.signed_by(&self.0).unwrap().pem().unwrap()).unwrap();
    }
}
