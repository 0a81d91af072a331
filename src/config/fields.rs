//! The keys that have one value each: what the environment may set, and what the effective
//! configuration shows. Key groups, sets of signers and fork epochs are set in the file alone.

use crate::limits::Limits;

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    /// With or without a fraction.
    Number,
    Boolean,
    /// Texts; in an environment variable separated by commas.
    List,
}

/// `section.field`, without those of `[limits]`, which all are integers.
const FIELDS: [(&str, Kind); 84] = [
    ("network.name", Kind::Text),
    ("network.config", Kind::Text),
    ("network.genesis_time", Kind::Integer),
    ("network.genesis_validators_root", Kind::Text),
    ("listen.address", Kind::Text),
    ("listen.path_prefix", Kind::Text),
    ("listen.host_allowlist", Kind::List),
    ("listen.workers", Kind::Integer),
    ("listen.client", Kind::Text),
    ("listen.tls", Kind::Boolean),
    ("listen.proxy_protocol_from", Kind::List),
    ("tls.certificate", Kind::Text),
    ("tls.key", Kind::Text),
    ("tls.pkcs12_file", Kind::Text),
    ("tls.pkcs12_password_file", Kind::Text),
    ("tls.client_auth", Kind::Text),
    ("tls.known_clients_file", Kind::Text),
    ("tls.client_ca_file", Kind::Text),
    ("tls.client_crl_file", Kind::Text),
    ("metrics.address", Kind::Text),
    ("upstream.url", Kind::Text),
    ("upstream.timeout_ms", Kind::Integer),
    ("upstream.connections_per_worker", Kind::Integer),
    ("upstream.refresh_interval_s", Kind::Integer),
    ("upstream.tls_ca_file", Kind::Text),
    ("upstream.tls_certificate_file", Kind::Text),
    ("upstream.tls_key_file", Kind::Text),
    ("upstream.tls_pkcs12_file", Kind::Text),
    ("upstream.tls_password_file", Kind::Text),
    ("verify.mode", Kind::Text),
    ("verify.always", Kind::List),
    ("verify.sampled", Kind::List),
    ("verify.off", Kind::List),
    ("verify.sample_one_in", Kind::Integer),
    ("verify.threads", Kind::Integer),
    ("verify.queue_max", Kind::Integer),
    ("slashing.directory", Kind::Text),
    ("slashing.witness", Kind::Text),
    ("slashing.key_set", Kind::Text),
    ("slashing.min_target_age_epochs", Kind::Integer),
    ("audit.directory", Kind::Text),
    ("audit.key_file", Kind::Text),
    ("audit.anchor_file", Kind::Text),
    ("audit.anchor_url", Kind::Text),
    ("audit.sync_interval_ms", Kind::Integer),
    ("audit.checkpoint_interval_s", Kind::Integer),
    ("audit.checkpoint_records", Kind::Integer),
    ("audit.segment_bytes", Kind::Integer),
    ("audit.segment_age_s", Kind::Integer),
    ("audit.kept_bytes_max", Kind::Integer),
    ("audit.kept_age_days", Kind::Integer),
    ("audit.reserve_bytes", Kind::Integer),
    ("audit.space_low_percent", Kind::Integer),
    ("audit.queue_max", Kind::Integer),
    ("audit.stall_ms", Kind::Integer),
    ("policy.file", Kind::Text),
    ("policy.recording", Kind::Text),
    ("policy.recording_segment_bytes", Kind::Integer),
    ("policy.recording_segments_max", Kind::Integer),
    ("response.bindings", Kind::List),
    ("response.breaker_keys", Kind::Integer),
    ("response.breaker_window_slots", Kind::Integer),
    ("response.quarantine_epochs", Kind::Integer),
    ("response.working_hours", Kind::Text),
    ("response.working_days", Kind::List),
    ("response.utc_offset_minutes", Kind::Integer),
    ("admin.address", Kind::Text),
    ("admin.tls_certificate_file", Kind::Text),
    ("admin.tls_key_file", Kind::Text),
    ("admin.tls_client_ca_file", Kind::Text),
    ("admin.grant_ttl_s", Kind::Integer),
    ("events.source", Kind::Text),
    ("events.fallback_after_s", Kind::Integer),
    ("events.heartbeat_url_file", Kind::Text),
    ("events.heartbeat_method", Kind::Text),
    ("events.heartbeat_interval_s", Kind::Integer),
    ("events.heartbeat_ca_file", Kind::Text),
    ("log.format", Kind::Text),
    ("log.level", Kind::Text),
    ("tracing.endpoint", Kind::Text),
    ("tracing.sample_ratio", Kind::Number),
    ("tracing.service_name", Kind::Text),
    ("tracing.headers_file", Kind::Text),
    ("web3signer.compat_mismatch_500", Kind::Boolean),
];

/// Every key with its type.
pub(super) fn all() -> impl Iterator<Item = (String, Kind)> {
    let limits = Limits::default().named();
    FIELDS
        .into_iter()
        .map(|(path, kind)| (path.to_owned(), kind))
        .chain(limits.into_iter().map(|(field, _)| (format!("limits.{field}"), Kind::Integer)))
}

/// The environment variable of a key.
pub(super) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_ascii_uppercase())
}

/// What every variable of ours begins with.
pub(super) const PREFIX: &str = "PORTCULLIS_";

/// Whether Kubernetes sets this variable, for a service that happens to be named `portcullis` or
/// `portcullis-something`: `<SERVICE>_SERVICE_HOST`, `<SERVICE>_SERVICE_PORT[_<NAME>]`,
/// `<SERVICE>_PORT` (a URL) and `<SERVICE>_PORT_<NUMBER>_<PROTOCOL>[_...]`.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let is_port_of_protocol = || {
        name.split("_PORT_").skip(1).any(|rest| {
            rest.split_once('_').is_some_and(|(number, protocol)| {
                number.parse::<u16>().is_ok()
                    && ["TCP", "UDP", "SCTP"].iter().any(|known| protocol.starts_with(known))
            })
        })
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && value.contains("://"))
        || is_port_of_protocol()
}
