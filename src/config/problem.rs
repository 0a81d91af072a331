//! What can be wrong with a configuration, and where. All of it is the operator's to mend.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::document::Position;
use super::redact;
use crate::clients::NotARange;
use crate::limits::LimitsError;
use crate::tls::NotAFingerprint;

/// Why there is no [`Config`](super::Config).
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in the file, the environment or the arguments is wrong: one line for each.
    #[error("the configuration is wrong:\n{}", lines(.0))]
    Wrong(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

/// Where a value came from, or should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file, and where in it; no position when the key is not there.
    File(PathBuf, Option<Position>),
    /// The named environment variable.
    Environment(String),
    /// The named flag.
    CommandLine(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, Some(Position { line, column })) => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Self::File(path, None) => write!(f, "{}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::CommandLine(flag) => f.write_str(flag),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Problem {
    /// Where the value stands.
    pub place: Place,
    /// The dotted path of the key; empty when none is meant.
    pub path: String,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.to_string();
        let kind = redact::urls(&kind);
        match self.path.as_str() {
            "" => write!(f, "{}: {kind}", self.place),
            path => write!(f, "{}: {path}: {kind}", self.place),
        }
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default()
}

/// What is wrong with a value.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum ProblemKind {
    #[error("{message}")]
    Toml { message: String },
    #[error("is required, and is not set")]
    Missing,
    #[error("no such setting{}", did_you_mean(nearest.as_deref()))]
    UnknownVariable { nearest: Option<String> },
    #[error("is not Unicode")]
    NotUnicode,
    #[error("`{value}` is not an integer from 0 on")]
    NotAnInteger { value: String },
    #[error("`{value}` is neither true nor false")]
    NotABoolean { value: String },
    #[error("{value} is not between {min} and {max}")]
    OutOfRange { value: u64, min: u64, max: u64 },
    #[error("`{value}` is not one of {known}")]
    NotOneOf { value: String, known: &'static str },
    #[error("`{value}` is not an address such as 127.0.0.1:9000")]
    NotAnAddress { value: String },
    #[error("no network: set network.name, or network.config with a path")]
    NoNetwork,
    #[error("set either network.name or network.config, not both")]
    TwoNetworks,
    #[error("belongs to network.config; a built-in network has its own")]
    OfCustomNetwork,
    #[error("`{value}` is not 0x and {digits} hexadecimal digits")]
    NotHex { value: String, digits: usize },
    #[error("`{value}` must be empty or begin with / and not end with it")]
    NotAPathPrefix { value: String },
    #[error("set either upstream.url, for one signer, or [[upstreams]], for several; not both")]
    TwoFormsOfUpstream,
    #[error("another set of signers is named `{name}`")]
    UpstreamNameTwice { name: String },
    #[error("`{url}` is named twice: it would be asked twice, and no key may be in two sets")]
    UrlTwice { url: String },
    #[error("names files for TLS, and has no https:// URL")]
    TlsWithoutHttps,
    #[error(
        "the gate's certificate needs tls_certificate_file with tls_key_file, or \
         tls_pkcs12_file with tls_password_file"
    )]
    HalfAnIdentity,
    #[error("`{value}` is not a URL such as http://127.0.0.1:9100")]
    NotAnHttpUrl { value: String },
    #[error("a URL may hold no user or password: secrets are given as file paths only")]
    UrlWithCredentials,
    #[error("a path or query in the upstream's URL is not supported: give http://host:port")]
    UrlWithPath,
    #[error("{timeout_ms} is more than limits.request_budget_ms ({budget_ms}), and may not be")]
    TimeoutAboveBudget { timeout_ms: u64, budget_ms: u64 },
    #[error(
        "the witness {} lies inside the store's directory {}: a copy or a restored snapshot of \
         the directory would take it along, and it would prove nothing",
        witness.display(), directory.display()
    )]
    WitnessInsideDirectory { witness: PathBuf, directory: PathBuf },
    #[error("must not be empty")]
    Empty,
    #[error("`{value}` may hold letters, digits, `-`, `_` and `.` only")]
    NotAName { value: String },
    #[error("{kind} is in another list too: always, sampled and off exclude each other")]
    TypeInTwoLists { kind: &'static str },
    #[error("another group is named `{name}`")]
    GroupNameTwice { name: String },
    #[error("exactly one of keys, keys_file and all = true says which keys the group has")]
    GroupKeys,
    #[error("a second group of all keys; there can be one")]
    SecondGroupOfAll,
    #[error("the key {key} is named twice, last in group `{group}`")]
    KeyTwice { key: String, group: String },
    #[error("cannot read {}: {source}", path.display())]
    KeysFile { path: PathBuf, source: io::Error },
    #[error("{}:{line}: {problem}", path.display())]
    KeysFileLine { path: PathBuf, line: usize, problem: Box<Self> },
    #[error("`{value}` is not a log filter such as info or info,portcullis::upstream=debug")]
    NotALogFilter { value: String },
    #[error("give certificate and key, or pkcs12_file and pkcs12_password_file; one pair, whole")]
    TlsIdentity,
    #[error("there is no [tls] with the gate's certificate")]
    NoTls,
    #[error(
        "no client's certificate would be accepted: set tls.known_clients_file or \
         tls.client_ca_file, or give [[clients]] certificate_fingerprints"
    )]
    NoClientCertificates,
    #[error("{0}")]
    NotAFingerprint(NotAFingerprint),
    #[error("{0}")]
    NotARange(NotARange),
    #[error("`{value}` is not a user's name: it may not be empty, nor hold a colon")]
    NotAUser { value: String },
    #[error("another client is named `{name}`")]
    ClientNameTwice { name: String },
    #[error("{what} names client `{other}` already")]
    NamesTwoClients { what: String, other: String },
    #[error("no [[clients]] entry is named `{name}`")]
    NoSuchClient { name: String },
    #[error("another listener is named `{name}`; [listen] is named `listen`")]
    ListenerNameTwice { name: String },
    #[error("another listener is at {address}")]
    ListenerAddressTwice { address: SocketAddr },
    #[error("{value} is not a part from 0 to 1")]
    NotARatio { value: f64 },
    #[error("another sink is named `{name}`")]
    SinkNameTwice { name: String },
    #[error("there is no sink that pages and is not a fallback itself: nothing to fall back from")]
    FallbackOfNothing,
    #[error("PagerDuty and fallbacks page; only others can say pages = false")]
    SinkThatDoesNotPage,
    #[error(
        "a sink of kind {kind} has no use for this: routing_key_file is PagerDuty's, secret_file \
         and token_file are a webhook's"
    )]
    SecretOfAnotherSink { kind: &'static str },
    #[error("set either url or url_file; kind log has neither")]
    SinkUrl,
    #[error("whoever knows Slack's URL may write: put it into a file and set url_file")]
    UrlIsASecret,
    #[error("{problem}")]
    SecretFile { problem: String },
    #[error("`{value}` is not a number")]
    NotANumber { value: String },
    #[error(
        "`{value}` is not the URL of an OTLP collector such as http://127.0.0.1:4318 (http only: \
         run the collector's agent beside the gate), nor `off`"
    )]
    NotACollector { value: String },
    #[error("{}:{line}: is not a header, `name: value`", path.display())]
    NotAHeader { path: PathBuf, line: usize },
    #[error("needs TLS: set admin.tls_certificate_file and admin.tls_key_file")]
    NoAdminTls,
    #[error("needs an authority that signs such certificates: set admin.tls_client_ca_file")]
    NoAdminAuthority,
    #[error(
        "{address} can be reached from other machines: set admin.tls_certificate_file and \
         admin.tls_key_file, or listen on the loopback"
    )]
    AdminWithoutTls { address: SocketAddr },
    #[error("nobody could call: give [[admin.credentials]], or set it to off")]
    NoCredentials,
    #[error("names nothing to know its holder by: give token_file or certificate_fingerprints")]
    CredentialOfNothing,
    #[error("another credential is named `{name}`")]
    CredentialNameTwice { name: String },
    #[error("{0}")]
    Limits(LimitsError),
    #[error("no such key; here are {known}")]
    UnknownKey { known: String },
    #[error("is not {expected}")]
    WrongType { expected: &'static str },
    #[error("version {value} is not one that this gate reads; it reads {known}")]
    PolicyVersion { value: u64, known: u64 },
    #[error("no [[groups]] entry of the configuration is named `{name}`")]
    NoSuchGroup { name: String },
    #[error("no rule has this name{}", did_you_mean(nearest.as_deref()))]
    NoSuchRule { nearest: Option<String> },
    #[error("the key {key} is not in the store: enrol it first")]
    NoSuchKey { key: String },
    #[error("is named here for the second time")]
    NamedTwice,
    #[error("says neither what to allow nor what to deny")]
    NeitherAllowNorDeny,
    #[error("min ({min}) is above max ({max})")]
    MinAboveMax { min: u64, max: u64 },
    #[error("is not a moment with its offset, such as 2026-11-21T10:00:00Z (RFC 3339)")]
    NotAMoment,
    #[error("is not after `from`: the window would never be open")]
    WindowEndsFirst,
    #[error("names neither groups nor keys that it holds for")]
    WindowOfNothing,
    #[error("alert, hold and quarantine have to rise in this order")]
    ThresholdOrder,
    #[error(
        "{range}: the gate tells networks apart, not the addresses in them: a prefix has {min} to \
         {max} bits"
    )]
    PrefixBits { range: String, min: u8, max: u8 },
}
