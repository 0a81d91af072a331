//! The file as it is written: every key optional, nothing checked but names and types.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::admin::RawAdmin;
use super::audit::RawAudit;
use super::clients::RawClient;
use super::events::RawEvents;
use super::listeners::RawListener;
use super::policy::RawPolicy;
use super::response::RawResponse;
use super::tls::RawTls;
use super::tracing::RawTracing;
use super::upstream::{RawUpstream, RawUpstreamSet};
use super::verify::RawVerify;
use crate::limits::Limits;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) network: RawNetwork,
    pub(super) listen: RawListen,
    pub(super) listeners: Vec<RawListener>,
    pub(super) tls: RawTls,
    pub(super) clients: Vec<RawClient>,
    pub(super) metrics: RawMetrics,
    pub(super) upstream: RawUpstream,
    pub(super) upstreams: Vec<RawUpstreamSet>,
    pub(super) verify: RawVerify,
    pub(super) slashing: RawSlashing,
    pub(super) groups: Vec<RawGroup>,
    pub(super) audit: RawAudit,
    pub(super) policy: RawPolicy,
    pub(super) response: RawResponse,
    pub(super) admin: RawAdmin,
    pub(super) events: RawEvents,
    pub(super) limits: Limits,
    pub(super) log: RawLog,
    pub(super) tracing: RawTracing,
    pub(super) web3signer: RawWeb3Signer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawNetwork {
    pub(super) name: Option<String>,
    pub(super) config: Option<String>,
    pub(super) genesis_time: Option<u64>,
    pub(super) genesis_validators_root: Option<String>,
    pub(super) fork_epochs: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawListen {
    pub(super) address: Option<String>,
    pub(super) path_prefix: Option<String>,
    pub(super) host_allowlist: Option<Vec<String>>,
    pub(super) workers: Option<u64>,
    pub(super) client: Option<String>,
    pub(super) tls: Option<bool>,
    pub(super) proxy_protocol_from: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawMetrics {
    pub(super) address: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSlashing {
    pub(super) directory: Option<String>,
    pub(super) witness: Option<String>,
    pub(super) key_set: Option<String>,
    pub(super) min_target_age_epochs: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawGroup {
    pub(super) name: Option<String>,
    pub(super) keys: Option<Vec<String>>,
    pub(super) keys_file: Option<String>,
    pub(super) all: bool,
    pub(super) allow_voluntary_exit: bool,
    pub(super) voluntary_exits_max: Option<u64>,
    pub(super) voluntary_exits_group_max: Option<u64>,
    pub(super) allow_deposit: bool,
    pub(super) deposits_max: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) format: Option<String>,
    pub(super) level: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawWeb3Signer {
    pub(super) compat_mismatch_500: Option<bool>,
}
