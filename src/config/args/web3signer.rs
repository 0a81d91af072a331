//! Web3Signer's flags: those that mean the same here set our keys, the others are refused with
//! what to use in their place. Its environment variables are not read.

use clap::Args;
use toml::{Table, Value};

#[cfg(test)]
mod tests;

/// Flags that mean what they mean at Web3Signer. None may stand beside our own for the same key.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "As at Web3Signer")]
pub struct Web3SignerArgs {
    /// The host of listen.address
    #[arg(long, value_name = "IP", conflicts_with = "listen")]
    pub http_listen_host: Option<String>,
    /// The port of listen.address
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    pub http_listen_port: Option<u16>,
    /// listen.host_allowlist, separated by commas
    #[arg(long, value_name = "HOST,...", value_delimiter = ',')]
    pub http_host_allowlist: Option<Vec<String>>,
    /// limits.idle_connection_timeout_ms, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub idle_connection_timeout_seconds: Option<u32>,
    /// Whether there are metrics; `false` is metrics.address = "off"
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        conflicts_with = "metrics"
    )]
    pub metrics_enabled: Option<bool>,
    /// The host of metrics.address
    #[arg(long, value_name = "IP", conflicts_with = "metrics")]
    pub metrics_host: Option<String>,
    /// The port of metrics.address
    #[arg(long, value_name = "PORT", conflicts_with = "metrics")]
    pub metrics_port: Option<u16>,
    /// tls.pkcs12_file
    #[arg(long, value_name = "FILE")]
    pub tls_keystore_file: Option<String>,
    /// tls.pkcs12_password_file
    #[arg(long, value_name = "FILE")]
    pub tls_keystore_password_file: Option<String>,
    /// tls.known_clients_file
    #[arg(long, value_name = "FILE")]
    pub tls_known_clients_file: Option<String>,
    /// `true` is tls.client_auth = "none"
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true
    )]
    pub tls_allow_any_client: Option<bool>,
    /// log.level: OFF, FATAL, ERROR, WARN, INFO, DEBUG, TRACE or ALL
    #[arg(long, short = 'l', value_name = "LEVEL", conflicts_with = "log_level")]
    pub logging: Option<String>,
    /// log.format: PLAIN, JSON or ECS
    #[arg(long, value_name = "FORMAT", conflicts_with = "log_format")]
    pub logging_format: Option<String>,
}

/// (key, flag, value) of what is set, over what `table` holds: a host alone keeps the port.
pub(in crate::config) fn overrides(
    args: &Web3SignerArgs,
    table: &Table,
) -> Vec<(&'static str, &'static str, Value)> {
    let text = |text: &String| Value::String(text.clone());
    let (host, port) = (args.http_listen_host.as_deref(), args.http_listen_port);
    let listen = address(table, "listen", "127.0.0.1:9000", host, port);
    let listen_flag = if host.is_some() { "--http-listen-host" } else { "--http-listen-port" };
    let (metrics_flag, metrics) = metrics(args, table);
    let hosts = args.http_host_allowlist.iter().map(|hosts| Value::from(hosts.clone())).next();
    let idle = args.idle_connection_timeout_seconds;
    let level = args.logging.as_deref().map(level);
    let format = args.logging_format.as_ref().map(|format| format.to_ascii_lowercase());
    let client_auth = args.tls_allow_any_client.filter(|any| *any).map(|_| "none".to_owned());
    [
        ("listen.address", listen_flag, listen),
        ("listen.host_allowlist", "--http-host-allowlist", hosts),
        (
            "limits.idle_connection_timeout_ms",
            "--idle-connection-timeout-seconds",
            idle.map(|seconds| Value::Integer(i64::from(seconds) * 1_000)),
        ),
        ("metrics.address", metrics_flag, metrics),
        ("tls.pkcs12_file", "--tls-keystore-file", args.tls_keystore_file.as_ref().map(text)),
        (
            "tls.pkcs12_password_file",
            "--tls-keystore-password-file",
            args.tls_keystore_password_file.as_ref().map(text),
        ),
        (
            "tls.known_clients_file",
            "--tls-known-clients-file",
            args.tls_known_clients_file.as_ref().map(text),
        ),
        ("tls.client_auth", "--tls-allow-any-client", client_auth.map(Value::String)),
        ("log.level", "--logging", level.map(Value::String)),
        ("log.format", "--logging-format", format.map(Value::String)),
    ]
    .into_iter()
    .filter_map(|(key, flag, value)| Some((key, flag, value?)))
    .collect()
}

fn metrics(args: &Web3SignerArgs, table: &Table) -> (&'static str, Option<Value>) {
    let default = "127.0.0.1:9001";
    let (host, port) = (args.metrics_host.as_deref(), args.metrics_port);
    let is_off = current(table, "metrics").is_some_and(|address| address == "off");
    match args.metrics_enabled {
        Some(false) => ("--metrics-enabled", Some(Value::from("off"))),
        Some(true) if is_off && host.is_none() && port.is_none() => {
            ("--metrics-enabled", Some(Value::from(default)))
        }
        Some(true) | None => {
            let flag = if host.is_some() { "--metrics-host" } else { "--metrics-port" };
            (flag, address(table, "metrics", default, host, port))
        }
    }
}

fn current<'a>(table: &'a Table, section: &str) -> Option<&'a str> {
    table.get(section)?.get("address")?.as_str()
}

/// The section's address with another host, port or both.
fn address(
    table: &Table,
    section: &str,
    default: &str,
    host: Option<&str>,
    port: Option<u16>,
) -> Option<Value> {
    if host.is_none() && port.is_none() {
        return None;
    }
    let current = current(table, section).filter(|address| *address != "off").unwrap_or(default);
    let (old_host, old_port) = current.rsplit_once(':').unwrap_or((current, "0"));
    let host = match host {
        Some(host) if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
        Some(host) => host.to_owned(),
        None => old_host.to_owned(),
    };
    let port = port.map_or_else(|| old_port.to_owned(), |port| port.to_string());
    Some(Value::String(format!("{host}:{port}")))
}

/// Log4j's levels; what is none goes on to be refused.
fn level(level: &str) -> String {
    match level.to_ascii_uppercase().as_str() {
        "FATAL" => "error".to_owned(),
        "ALL" => "trace".to_owned(),
        "OFF" | "ERROR" | "WARN" | "INFO" | "DEBUG" | "TRACE" => level.to_ascii_lowercase(),
        _ => level.to_owned(),
    }
}

const HOLDS_NO_KEYS: &str = "Portcullis holds no keys: this belongs to the signer at upstream.url";

/// (what a flag of Web3Signer begins with, what to do in its place)
const REFUSED: [(&str, &str); 25] = [
    ("eth2", "leave the word out: the flags follow `portcullis run`"),
    ("--config-file", "its file is not ours: `--config FILE` takes TOML"),
    (
        "--slashing-protection-",
        "Portcullis keeps its own store, always: [slashing], `portcullis slashing import` and `export`",
    ),
    ("--key-config-path", HOLDS_NO_KEYS),
    ("--key-store-", HOLDS_NO_KEYS),
    ("--keystores-", HOLDS_NO_KEYS),
    ("--aws-", HOLDS_NO_KEYS),
    ("--azure-", HOLDS_NO_KEYS),
    ("--gcp-", HOLDS_NO_KEYS),
    ("--hashicorp-", HOLDS_NO_KEYS),
    ("--reload-timeout", HOLDS_NO_KEYS),
    ("--signer-load-", HOLDS_NO_KEYS),
    ("--commit-boost-", HOLDS_NO_KEYS),
    ("--key-manager-api-enabled", "keys begin and end by `portcullis keys` and `slashing import`"),
    ("--enable-key-manager-api", "keys begin and end by `portcullis keys` and `slashing import`"),
    ("--data-path", "the store's directory is `--data-dir`; no file of ports is written"),
    ("--http-cors-", "browsers are not served"),
    ("--vertx-worker-pool-size", "listen.workers; one for each core is best"),
    (
        "--metrics-host-allowlist",
        "any Host is served there: choose the address by `--metrics-host`",
    ),
    ("--metrics-categor", "every metric is always exported"),
    ("--metrics-push-", "metrics are scraped, never pushed"),
    ("--access-logs-enabled", "`--log-level info,portcullis::sign=debug` logs each signature"),
    ("--tls-allow-ca-clients", "name the authority: tls.client_ca_file"),
    ("--Xnetwork-", "network.fork_epochs of the configuration file"),
    ("--swagger-ui-enabled", "there is no such page"),
];

/// What to use in place of an argument of Web3Signer's that means nothing here.
pub fn in_place_of(argument: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(start, _)| argument.starts_with(start)).map(|(_, instead)| *instead)
}
