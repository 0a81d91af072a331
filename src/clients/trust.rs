//! Which client certificates are accepted: those that are known, and those that an authority
//! signed, unless they are revoked or their time is not now.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::tls::Fingerprint;

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// They are asked. One that is shown has to be accepted.
    Optional,
    /// Who shows none is turned away.
    Required,
}

impl ClientAuth {
    /// Each of them; `auth as usize` is the index into this.
    pub const ALL: [Self; 3] = [Self::None, Self::Optional, Self::Required];

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

/// A certificate that a client showed, in words for a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What would go into a known-clients file.
    pub fingerprint: Fingerprint,
    /// Its common name, or else a DNS name; empty if it has neither, or cannot be read.
    pub name: String,
}

impl Shown {
    /// The certificate in words.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let name = names(certificate).into_iter().next().unwrap_or_default();
        Self { fingerprint: Fingerprint::of(certificate), name }
    }
}

/// The names in a certificate: common names of its subject, then DNS names.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let common = certificate.subject().iter_common_name();
    let mut names: Vec<String> =
        common.filter_map(|name| name.as_str().ok()).map(str::to_owned).collect();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        let dns = alternatives.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        names.extend(dns);
    }
    names
}

tokio::task_local! {
    /// The certificate of the handshake that is being polled: a verifier does not know for which
    /// connection it works, and its refusal says only why.
    static SHOWN: Rc<RefCell<Option<Shown>>>;
}

/// Runs a handshake; gives the certificate that was shown in it too, accepted or not.
pub async fn while_shown<T>(handshake: impl Future<Output = T>) -> (T, Option<Shown>) {
    let shown = Rc::new(RefCell::new(None));
    let result = SHOWN.scope(Rc::clone(&shown), handshake).await;
    let shown = shown.borrow_mut().take();
    (result, shown)
}

/// What is accepted.
pub(super) struct Trust {
    /// Accepted without an authority.
    pub(super) pinned: HashSet<Fingerprint>,
    /// Accepts what an authority signed.
    pub(super) authority: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) revoked: HashSet<Revoked>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// A certificate as a revocation list names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Revoked {
    pub(super) issuer: Vec<u8>,
    pub(super) serial: Vec<u8>,
}

impl Trust {
    /// Whether a certificate is accepted at `now`.
    ///
    /// # Errors
    /// Why not; rustls has an alert for each.
    pub(super) fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        for certificate in std::iter::once(end_entity).chain(intermediates) {
            let (_, parsed) = X509Certificate::from_der(certificate)
                .map_err(|_| rustls::Error::from(CertificateError::BadEncoding))?;
            let issuer = parsed.issuer().as_raw().to_vec();
            let revoked = Revoked { issuer, serial: parsed.raw_serial().to_vec() };
            if self.revoked.contains(&revoked) {
                return Err(CertificateError::Revoked.into());
            }
        }
        if self.pinned.contains(&Fingerprint::of(end_entity)) {
            return check_time(end_entity, now);
        }
        match &self.authority {
            Some(authority) => {
                authority.verify_client_cert(end_entity, intermediates, now).map(|_| ())
            }
            None => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }
}

/// A known certificate is accepted in its time too: it has an end because its key may leak.
fn check_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| rustls::Error::from(CertificateError::BadEncoding))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// [`Trust`], as rustls asks for it.
pub(super) struct Verifier {
    pub(super) trust: Arc<Trust>,
    pub(super) mandatory: bool,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("mandatory", &self.mandatory).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// None: a client with a hint would hold back a certificate that is known, but of no authority.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // Outside a handshake of the server's there is nobody to tell.
        let _ = SHOWN.try_with(|shown| shown.replace(Some(Shown::of(end_entity))));
        self.trust.check(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.trust.algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.trust.algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms.supported_schemes()
    }
}
