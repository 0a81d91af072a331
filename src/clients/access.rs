//! One state of what names clients: all files read together, never changed, replaced as a whole.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{
    ClientCertVerifierBuilder, NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::basic::{Users, Wrong};
use super::known_clients::KnownClientsError;
use super::settings::{Settings, TlsSettings};
use super::trust::{Revoked, Trust, Verifier, names};
use super::{AddressRange, Claim, Client, ClientAuth, DEFAULT, KnownClients, NotIdentified};
use crate::clock::{Clock, Now};
use crate::tls::{self, Fingerprint, TlsFileError};

/// Why the files cannot be used. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A certificate, key, authority or password.
    #[error(transparent)]
    File(#[from] TlsFileError),
    /// The known clients.
    #[error("{}: {source}", path.display())]
    KnownClients {
        /// The file.
        path: PathBuf,
        /// The line, and what is wrong with it.
        source: KnownClientsError,
    },
    /// A revocation list is PEM, but no list.
    #[error("{} is not a certificate revocation list", path.display())]
    Revocations {
        /// The file.
        path: PathBuf,
    },
    /// The authorities and the revocation lists make no verifier.
    #[error("{} cannot be used to verify clients", path.display())]
    Authority {
        /// The file of the authorities.
        path: PathBuf,
        /// Why.
        source: VerifierBuilderError,
    },
}

/// What works, and should be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A secret that everybody on the machine may read.
    #[error("{} can be read by everybody: it should be readable by the gate alone", .0.display())]
    WorldReadable(PathBuf),
    /// The gate's own certificate has run out.
    #[error("the certificate in {} has expired: clients that check it will not connect", .0.display())]
    Expired(PathBuf),
    /// A revocation list that should have been replaced.
    #[error("the revocation list in {} is past its next update; it is still used", .0.display())]
    StaleRevocations(PathBuf),
}

/// See the module.
#[derive(Default)]
pub(super) struct Access {
    id: AccessId,
    server_configs: Option<[Arc<ServerConfig>; ClientAuth::ALL.len()]>,
    certificate_expires: Option<i64>,
    trust: Option<Arc<Trust>>,
    by_fingerprint: HashMap<Fingerprint, Arc<Client>>,
    by_certificate_name: HashMap<String, Arc<Client>>,
    known: KnownClients,
    by_known_name: HashMap<String, Arc<Client>>,
    users: Users,
    addresses: Vec<(AddressRange, Arc<Client>)>, // the narrowest first
    anyone: Option<Arc<Client>>,
    warnings: Vec<Warning>,
}

/// How a TLS connection begins, by the state of the files at this moment.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// What rustls needs.
    pub config: Arc<ServerConfig>,
    /// Which state it is of.
    pub id: AccessId,
}

/// Tells one state of the files from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessId(u64);

/// The certificates of a client, the end entity's first; none if it showed none.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// As they were shown.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The state by which they were accepted.
    pub by: AccessId,
}

/// What one connection is known by, without what its requests say themselves.
#[derive(Debug)]
pub(super) struct Standing {
    of: AccessId,
    claimed: Result<Option<(Claim, Arc<Client>)>, NotIdentified>,
    by_address: Option<Arc<Client>>,
}

impl Standing {
    pub(super) fn is_of(&self, access: &Access) -> bool {
        self.of == access.id
    }
}

impl Access {
    /// Reads all that the settings name.
    pub(super) fn read(
        settings: &Settings,
        clock: &Clock,
        intern: impl Fn(&str) -> Arc<Client>,
    ) -> Result<Self, AccessError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let mut access = Self { id: AccessId(NEXT_ID.fetch_add(1, Relaxed)), ..Self::default() };
        for path in settings.secret_files().into_iter().filter(|path| tls::is_world_readable(path))
        {
            access.warnings.push(Warning::WorldReadable(path.to_owned()));
        }
        for client in &settings.clients {
            let named = intern(&client.name);
            for fingerprint in &client.certificate_fingerprints {
                access.by_fingerprint.insert(*fingerprint, Arc::clone(&named));
            }
            for name in &client.certificate_names {
                access.by_certificate_name.insert(name.clone(), Arc::clone(&named));
            }
            for range in &client.addresses {
                access.addresses.push((*range, Arc::clone(&named)));
            }
            if let Some(user) = &client.user {
                let password = tls::load_password(&user.password_file)?;
                access.users.insert(&user.name, &password, named);
            }
        }
        access.addresses.sort_by_key(|(range, _)| std::cmp::Reverse(range.prefix_bits()));
        access.anyone = settings.clients.is_empty().then(|| intern(DEFAULT));
        if let Some(tls) = &settings.tls {
            access.read_tls(tls, clock)?;
            let known: HashSet<&str> = access.known.names().collect();
            access.by_known_name =
                known.into_iter().map(|name| (name.to_owned(), intern(name))).collect();
        }
        Ok(access)
    }

    fn read_tls(&mut self, settings: &TlsSettings, clock: &Clock) -> Result<(), AccessError> {
        let now = i64::try_from(clock.now().unix_s()).unwrap_or(i64::MAX);
        let provider = tls::provider();
        let identity = tls::load_identity(&settings.identity)?;
        self.certificate_expires = identity.cert.first().and_then(not_after);
        if self.certificate_expires.is_some_and(|expires| expires < now) {
            let [certificate, _] = settings.identity.paths();
            self.warnings.push(Warning::Expired(certificate.to_owned()));
        }
        if let Some(path) = &settings.known_clients_file {
            let text = String::from_utf8_lossy(&tls::read(path)?).into_owned();
            self.known = KnownClients::parse(&text)
                .map_err(|source| AccessError::KnownClients { path: path.clone(), source })?;
        }
        let mut revoked = HashSet::new();
        if let Some(path) = &settings.client_crl_file {
            for list in tls::load_revocations(path)? {
                let is_stale = read_revocations(&list, now, &mut revoked)
                    .ok_or_else(|| AccessError::Revocations { path: path.clone() })?;
                if is_stale {
                    self.warnings.push(Warning::StaleRevocations(path.clone()));
                }
            }
        }
        let pinned = self.by_fingerprint.keys().chain(self.known.fingerprints()).copied();
        let trust = Arc::new(Trust {
            pinned: pinned.collect(),
            authority: authority(settings, &provider)?,
            revoked,
            algorithms: provider.signature_verification_algorithms,
        });
        self.trust = Some(Arc::clone(&trust));
        let certificate = Arc::new(SingleCertAndKey::from(identity));
        self.server_configs = Some(ClientAuth::ALL.map(|auth| {
            let time = Arc::new(GateTime(clock.clone()));
            let builder = ServerConfig::builder_with_details(Arc::clone(&provider), time)
                .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
                .expect("ring serves both versions");
            let verifier = |mandatory| Arc::new(Verifier { trust: Arc::clone(&trust), mandatory });
            let builder = match auth {
                ClientAuth::None => builder.with_no_client_auth(),
                ClientAuth::Optional => builder.with_client_cert_verifier(verifier(false)),
                ClientAuth::Required => builder.with_client_cert_verifier(verifier(true)),
            };
            let mut config = builder.with_cert_resolver(Arc::clone(&certificate) as Arc<_>);
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            // A resumed session would skip the look at the client's certificate.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Arc::new(config)
        }));
        Ok(())
    }

    pub(super) fn server_config(&self, auth: ClientAuth) -> Option<ServerTls> {
        let config = Arc::clone(&self.server_configs.as_ref()?[auth as usize]);
        Some(ServerTls { config, id: self.id })
    }

    /// When the gate's own certificate runs out, in seconds of Unix time.
    pub(super) fn certificate_expires(&self) -> Option<i64> {
        self.certificate_expires
    }

    pub(super) fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// What a connection is known by. Certificates that an earlier state verified are looked at
    /// again.
    pub(super) fn standing(
        &self,
        peer: SocketAddr,
        listener: Option<&Arc<Client>>,
        verified: &Verified,
        now: Now,
    ) -> Standing {
        let by_address = self.addresses.iter().find(|(range, _)| range.contains(peer.ip()));
        Standing {
            of: self.id,
            claimed: self.claimed(listener, verified, now),
            by_address: by_address.map(|(_, client)| Arc::clone(client)),
        }
    }

    fn claimed(
        &self,
        listener: Option<&Arc<Client>>,
        verified: &Verified,
        now: Now,
    ) -> Result<Option<(Claim, Arc<Client>)>, NotIdentified> {
        let listener = listener.map(|client| (Claim::Listener, Arc::clone(client)));
        let Some((end_entity, intermediates)) = verified.certificates.split_first() else {
            return Ok(listener);
        };
        let trust = self.trust.as_ref().ok_or(NotIdentified::CertificateWithdrawn)?;
        if verified.by != self.id {
            trust
                .check(end_entity, intermediates, unix_time(now))
                .map_err(|_| NotIdentified::CertificateWithdrawn)?;
        }
        let certificate =
            self.by_certificate(end_entity).map(|client| (Claim::Certificate, client));
        agree(certificate, listener)
    }

    fn by_certificate(&self, certificate: &CertificateDer<'_>) -> Option<Arc<Client>> {
        let fingerprint = Fingerprint::of(certificate);
        let by_name = || {
            names(certificate).iter().find_map(|name| self.by_certificate_name.get(name)).cloned()
        };
        let by_known = || self.by_known_name.get(self.known.name(&fingerprint)?).cloned();
        self.by_fingerprint.get(&fingerprint).cloned().or_else(by_name).or_else(by_known)
    }

    /// Whose request it is.
    pub(super) fn identify(
        &self,
        standing: &Standing,
        peer: SocketAddr,
        authorization: Option<&[u8]>,
    ) -> Result<Arc<Client>, NotIdentified> {
        let claimed = standing.claimed.clone()?;
        let claimed = if self.users.is_empty() {
            claimed
        } else {
            let user = self.users.client(authorization);
            let user = user.map_err(|Wrong| NotIdentified::WrongPassword)?;
            agree(claimed, user.map(|client| (Claim::Password, Arc::clone(client))))?
        };
        let named = claimed.map(|(_, client)| client);
        let client = named.or_else(|| standing.by_address.clone().or_else(|| self.anyone.clone()));
        let client =
            client.ok_or(NotIdentified::Nobody { ask_password: !self.users.is_empty() })?;
        if !client.may_come_from(peer) {
            return Err(NotIdentified::ForeignAddress { client: client.name().to_owned() });
        }
        Ok(client)
    }
}

type Claimed = Option<(Claim, Arc<Client>)>;

/// The stronger of two claims, if they are of one client.
fn agree(stronger: Claimed, weaker: Claimed) -> Result<Claimed, NotIdentified> {
    match (stronger, weaker) {
        (Some(one), Some(other)) if !Arc::ptr_eq(&one.1, &other.1) => {
            let in_words =
                |(claim, client): (Claim, Arc<Client>)| (claim, client.name().to_owned());
            Err(NotIdentified::Contradiction(in_words(one), in_words(other)))
        }
        (Some(one), _) => Ok(Some(one)),
        (None, other) => Ok(other),
    }
}

fn authority(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn rustls::server::danger::ClientCertVerifier>>, AccessError> {
    let Some(path) = &settings.client_ca_file else {
        return Ok(None);
    };
    let roots = Arc::new(tls::load_roots(path)?);
    let mut builder: ClientCertVerifierBuilder =
        WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    if let Some(path) = &settings.client_crl_file {
        // One list of one authority says nothing of the certificates of another.
        builder = builder.with_crls(tls::load_revocations(path)?).allow_unknown_revocation_status();
    }
    let verifier = builder.build();
    verifier.map(Some).map_err(|source| AccessError::Authority { path: path.clone(), source })
}

/// Adds what a list revokes; says whether it should have been replaced. `None` when it is no list.
fn read_revocations(list: &[u8], now: i64, revoked: &mut HashSet<Revoked>) -> Option<bool> {
    let (_, list) = CertificateRevocationList::from_der(list).ok()?;
    let issuer = list.issuer().as_raw();
    for certificate in list.iter_revoked_certificates() {
        let serial = certificate.raw_serial().to_vec();
        revoked.insert(Revoked { issuer: issuer.to_vec(), serial });
    }
    Some(list.next_update().is_some_and(|next| next.timestamp() < now))
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

fn unix_time(now: Now) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(now.unix_s()))
}

/// The gate's clock, for rustls.
#[derive(Debug)]
struct GateTime(Clock);

impl TimeProvider for GateTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now()))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("id", &self.id).finish_non_exhaustive()
    }
}
