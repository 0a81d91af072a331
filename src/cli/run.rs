//! `portcullis run`: puts the parts together, waits for a signal or a fault, and ends in order.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use parking_lot::Mutex;
use slashing_db::{RenewError, Store};
use tokio::signal::unix::{SignalKind, signal};

use super::scrape::Scrape;
use super::{Exit, store};
use crate::clock::{self, Clock, ClockHealth, SlotClock};
use crate::config::{Config, RunArgs};
use crate::control;
use crate::enrolment::Declarations;
use crate::eth::{DutyKind, Network};
use crate::limits::Limits;
use crate::logging;
use crate::metrics::{self, LabelValues, Metrics};
use crate::server::respond::Compat;
use crate::server::service::{Api, Dialect};
use crate::server::{self, Server, ServerLimits};
use crate::sign::admission::Admission;
use crate::sign::permissions::Permissions;
use crate::sign::{EVENTS, Gate, LogLimit, Path};
use crate::upstream::client::{Client, ClientConfig};
use crate::upstream::discovery::{Discovery, Schedule};
use crate::upstream::web3signer::Web3Signer;
use crate::upstream::{InFlight, Upstream, UpstreamFault};
use crate::validators::Validators;

/// Why the process ends.
#[derive(Debug)]
enum End {
    /// SIGTERM or SIGINT.
    Asked(&'static str),
    /// The slashing store failed, or another owns it.
    Store(String),
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let config = super::load(args)?;
    #[cfg(feature = "bench-nosync")]
    require_loopback(&config)?;
    logging::init(&config.log)?;
    let network = super::network(&config)?;
    let slots = store::slots(&network)?;
    log_configuration(&config, &network);
    let files = server::raise_fd_limit();
    let clock = Clock::System;
    let (store, watermarks) = Store::open(&store::open_params(&config, &network, slots, &clock)?)
        .context("cannot open the slashing store")?;
    let store = Arc::new(store);
    // Opening may take its time on a slow disk; the lease that it took runs from its beginning.
    store.renew(store::now(slots, &clock)).context("the lease ran out while the store opened")?;
    let (ends, ended) = mpsc::channel();
    watch_store(&store, &ends);
    let gate = Arc::new(assemble(&config, network, slots, &clock, &store, watermarks)?);
    let discovery = Arc::new(Discovery::default());
    keep_lease(&gate, slots, ends.clone())?;
    serve_control(&config, &gate, slots)?;
    watch_upstream(&config, &gate, &discovery)?;
    watch_signals(ends)?;
    let server = serve(&config, &gate, &discovery)?;
    let metrics_address = serve_metrics(&config, &gate, &discovery, &server)?;
    tracing::info!(
        event = "serving",
        addresses = ?server.local_addresses(),
        metrics = metrics_address.map(tracing::field::display),
        upstream = %config.upstream.url,
        keys = gate.validators.counts().enabled,
        workers = config.listen.worker_count(),
        open_files_max = files,
        "the gate is open"
    );
    let end = ended.recv().unwrap_or(End::Asked("a closed channel"));
    shut(&config, &store, server, slots, &clock, end)
}

/// A gate whose records are not synced forgets what it signed: it may speak to no signer but a
/// test's.
#[cfg(feature = "bench-nosync")]
fn require_loopback(config: &Config) -> anyhow::Result<()> {
    let host = config.upstream.url.host().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    anyhow::ensure!(
        address.is_ok_and(|address| address.is_loopback()),
        "this build does not sync its records (feature bench-nosync): upstream.url must be an \
         address of the loopback, and {host} is none; for real keys build without the feature"
    );
    Ok(())
}

fn log_configuration(config: &Config, network: &Network) {
    tracing::info!(
        event = "starting",
        version = env!("CARGO_PKG_VERSION"),
        network = network.name(),
        "portcullis starts"
    );
    for setting in config.settings() {
        tracing::info!(
            event = "setting",
            key = setting.path,
            value = setting.value,
            origin = %setting.origin,
            "configuration"
        );
    }
    if clock::health() == ClockHealth::Unsynchronised {
        tracing::warn!(
            event = "clock_not_synchronised",
            "the kernel says that the clock is not synchronised; run an NTP client"
        );
    }
}

fn assemble(
    config: &Config,
    network: Network,
    slots: SlotClock,
    clock: &Clock,
    store: &Arc<Store>,
    watermarks: Vec<slashing_db::Watermarks>,
) -> anyhow::Result<Gate> {
    let genesis = network.genesis().context("the genesis of the network is not known")?;
    let validators = Validators::new(watermarks);
    let metrics = Arc::new(Metrics::new(&LabelValues {
        duty_types: &DUTY_TYPES,
        signed_code: "ok",
        key_statuses: &["enabled", "disabled", "halted", "awaiting"],
        upstream_errors: &UpstreamFault::CODES,
        events: &EVENTS,
    }));
    Ok(Gate {
        genesis_validators_root: genesis.validators_root,
        network,
        clock: clock.clone(),
        slots,
        store: Arc::clone(store),
        recorder: store.recorder(),
        permissions: Permissions::new(config.groups.clone(), &validators),
        validators,
        admission: Admission::new(&config.limits),
        in_flight: InFlight::new(FINISHED_RESULTS_KEPT_SLOTS),
        metrics,
        upstream_stats: Mutex::default(),
        log_limit: LogLimit::default(),
        min_target_age_epochs: config.slashing.min_target_age_epochs,
        budget: Duration::from_millis(config.limits.request_budget_ms).min(config.upstream.timeout),
    })
}

/// Ends the process when the store fails: it must not go on in memory, and cannot go on on disk.
fn watch_store(store: &Store, ends: &mpsc::Sender<End>) {
    let ends = ends.clone();
    store.on_poison(move |poison| {
        let reason = crate::enrolment::with_causes(poison);
        tracing::error!(
            event = "store_poisoned",
            reason,
            "the slashing store failed; nothing is signed"
        );
        let _ = ends.send(End::Store(reason));
    });
}

/// Renews the lease each second, ahead of the epochs that are about to be signed for.
fn keep_lease(gate: &Arc<Gate>, slots: SlotClock, ends: mpsc::Sender<End>) -> anyhow::Result<()> {
    let gate = Arc::clone(gate);
    std::thread::Builder::new().name("lease".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(RENEW_INTERVAL);
            match gate.store.renew(store::now(slots, &gate.clock)) {
                Ok(()) => {}
                Err(RenewError::Witness(error)) => tracing::error!(
                    event = "lease_not_renewed",
                    reason = crate::enrolment::with_causes(&error),
                    "the witness could not be written; when the lease runs out nothing is signed"
                ),
                Err(error) => {
                    let reason = crate::enrolment::with_causes(&error);
                    tracing::error!(
                        event = "lease_lost",
                        reason,
                        "the lease is lost; nothing is signed"
                    );
                    let _ = ends.send(End::Store(reason));
                    return;
                }
            }
        }
    })?;
    Ok(())
}

fn serve_control(config: &Config, gate: &Arc<Gate>, slots: SlotClock) -> anyhow::Result<()> {
    let gate = Arc::clone(gate);
    control::serve(&config.slashing.directory, move |command, input, output| {
        let declarations = Declarations {
            store: &gate.store,
            validators: &gate.validators,
            slots,
            clock: &gate.clock,
            clock_health: clock::health(),
        };
        control::execute(&declarations, command, input, output)
    })
    .context("cannot make the control socket in slashing.directory")
}

fn watch_upstream(
    config: &Config,
    gate: &Arc<Gate>,
    discovery: &Arc<Discovery>,
) -> anyhow::Result<()> {
    let client = client_config(config, CONTROL_CONNECTIONS);
    let schedule = Schedule {
        upcheck_interval: UPCHECK_INTERVAL,
        refresh_interval: config.upstream.refresh_interval,
        timeout: KEY_LIST_TIMEOUT,
        key_list_bytes_max: config.limits.upstream_keys_bytes_max,
    };
    let limits = config.limits.clone();
    let (gate, discovery) = (Arc::clone(gate), Arc::clone(discovery));
    on_own_thread("discovery", move || async move {
        match Client::new(client) {
            Ok(client) => {
                let signer = Rc::new(Web3Signer::new(client, limits.upstream_answer_bytes_max));
                discovery.watch(signer, gate, schedule).await;
            }
            Err(error) => tracing::error!(%error, "the signer's keys are not watched"),
        }
    })
}

fn watch_signals(ends: mpsc::Sender<End>) -> anyhow::Result<()> {
    on_own_thread("signals", move || async move {
        let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("cannot wait for signals; end the process with SIGKILL");
            return;
        };
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        let _ = ends.send(End::Asked(name));
    })
}

fn serve_metrics(
    config: &Config,
    gate: &Arc<Gate>,
    discovery: &Arc<Discovery>,
    server: &Server,
) -> anyhow::Result<Option<std::net::SocketAddr>> {
    let Some(address) = config.metrics.address else {
        return Ok(None);
    };
    let scrape = Scrape::new(Arc::downgrade(gate), Arc::clone(discovery), server.stats());
    gate.metrics.set_before_scrape(move |metrics| scrape.update(metrics));
    let metrics = Arc::clone(&gate.metrics);
    let poisoned = metrics.store.poisoned.clone(); // `/healthz` answers without a scrape
    gate.store.on_poison(move |_| poisoned.set(1));
    Ok(Some(metrics::http::spawn(address, metrics, std::future::pending())?))
}

fn serve(config: &Config, gate: &Arc<Gate>, discovery: &Arc<Discovery>) -> anyhow::Result<Server> {
    let address = config.listen.address;
    let listeners = server::bind(&[address])
        .with_context(|| format!("cannot listen on {address} (listen.address)"))?;
    let workers = config.listen.worker_count().get();
    let any_host = config.listen.host_allowlist.iter().any(|name| name == "*");
    let dialect = Arc::new(Dialect {
        path_prefix: config.listen.path_prefix.clone(),
        hosts_allowed: if any_host { Vec::new() } else { config.listen.host_allowlist.clone() },
        compat: Compat { mismatch_500: config.web3signer.compat_mismatch_500 },
    });
    let client = client_config(config, config.upstream.connections_per_worker);
    let answer_bytes_max = config.limits.upstream_answer_bytes_max;
    let (gate, discovery) = (Arc::clone(gate), Arc::clone(discovery));
    Ok(Server::start(listeners, workers, server_limits(&config.limits), move |context| {
        let client =
            Client::new(client.clone()).expect("checked when the configuration was loaded");
        gate.upstream_stats.lock().push(client.stats());
        let signer = Web3Signer::new(client, answer_bytes_max);
        let path = Path::new(Arc::clone(&gate), Rc::new(Upstream::Web3Signer(signer)));
        Rc::new(Api::new(path, context.bodies, Arc::clone(&discovery), Arc::clone(&dialect)))
    })?)
}

/// Stops accepting, finishes what was begun, closes the store in order.
fn shut(
    config: &Config,
    store: &Store,
    server: Server,
    slots: SlotClock,
    clock: &Clock,
    end: End,
) -> anyhow::Result<Exit> {
    match &end {
        End::Asked(signal) => tracing::info!(event = "closing", signal, "the gate closes"),
        End::Store(reason) => {
            tracing::error!(event = "closing", reason, "the gate closes");
            std::thread::sleep(LAST_WORDS);
        }
    }
    let drained = server.drain(Duration::from_millis(config.limits.drain_timeout_ms));
    tracing::info!(event = "drained", finished = drained.finished, cut = drained.cut, "drained");
    match end {
        End::Asked(_) => {
            store
                .seal(store::now(slots, clock))
                .context("the store could not be closed in order")?;
            tracing::info!(event = "closed", "closed in order");
            Ok(Exit::Done)
        }
        End::Store(_) => Ok(Exit::Unsafe),
    }
}

/// The keys that the configured signer has.
///
/// # Errors
/// When it does not answer with a list.
pub(super) fn upstream_keys(config: &Config) -> anyhow::Result<Vec<String>> {
    let client = client_config(config, CONTROL_CONNECTIONS);
    let limits = &config.limits;
    let (bytes_max, answer_max) =
        (limits.upstream_keys_bytes_max, limits.upstream_answer_bytes_max);
    local_runtime()?.block_on(async {
        let signer = Web3Signer::new(Client::new(client)?, answer_max);
        let keys = signer.public_keys(clock::deadline(KEY_LIST_TIMEOUT), bytes_max).await;
        let keys = keys.map_err(|fault| anyhow!(fault).context("cannot read the signer's keys"))?;
        Ok(keys.iter().map(ToString::to_string).collect())
    })
}

fn client_config(config: &Config, connections_max: usize) -> ClientConfig {
    let limits = &config.limits;
    let url = &config.upstream.url;
    let host = url.host().unwrap_or_default();
    ClientConfig {
        authority: format!("{host}:{}", url.port_u16().unwrap_or(80)),
        path_prefix: String::new(),
        connections_max,
        waiting_max: limits.requests_in_flight_max,
        idle_timeout: Duration::from_millis(limits.upstream_idle_ms),
        connect_timeout: Duration::from_millis(limits.upstream_connect_timeout_ms),
        class_percents: CLASS_PERCENTS,
    }
}

fn server_limits(limits: &Limits) -> ServerLimits {
    ServerLimits {
        connections_max: limits.connections_max,
        head_bytes_max: limits.header_bytes_max,
        idle_timeout: Duration::from_millis(limits.idle_connection_timeout_ms),
        head_timeout: Duration::from_millis(limits.request_head_timeout_ms),
        body_timeout: Duration::from_millis(limits.request_body_timeout_ms),
        body_bytes_max: limits.body_bytes_max as u64,
        bodies_bytes_max: limits.body_bytes_in_flight_max as u64,
        ..ServerLimits::default()
    }
}

fn local_runtime() -> std::io::Result<tokio::runtime::LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
}

/// Runs `main` to its end on a single-threaded runtime in a thread of its own.
fn on_own_thread<F: Future<Output = ()>>(
    name: &str,
    main: impl FnOnce() -> F + Send + 'static,
) -> anyhow::Result<()> {
    let (started, ready) = mpsc::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || match local_runtime() {
        Ok(runtime) => {
            let _ = started.send(Ok(()));
            runtime.block_on(main());
        }
        Err(error) => {
            let _ = started.send(Err(error));
        }
    })?;
    ready.recv().context("a thread ended as it started")?.context("no runtime")
}

const DUTY_TYPES: [&str; DutyKind::ALL.len()] = {
    let mut names = [""; DutyKind::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = DutyKind::ALL[index].as_str();
        index += 1;
    }
    names
};
const RENEW_INTERVAL: Duration = Duration::from_nanos(slashing_db::lease::RENEW_INTERVAL_NS);
/// Why nothing is signed any more is worth an answer, to what waits and to what arrives meanwhile.
const LAST_WORDS: Duration = Duration::from_secs(1);
const UPCHECK_INTERVAL: Duration = Duration::from_secs(2);
const KEY_LIST_TIMEOUT: Duration = Duration::from_secs(30);
const CONTROL_CONNECTIONS: usize = 2;
const FINISHED_RESULTS_KEPT_SLOTS: u64 = 2;
/// What a class, with all below it, may use of the connections to the signer, in per cent.
const CLASS_PERCENTS: [u8; crate::upstream::client::CLASSES] = [100, 95, 85, 70, 40];
