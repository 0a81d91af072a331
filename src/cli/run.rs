//! `portcullis run`: puts the parts together, waits for a signal or a fault, and ends in order.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use slashing_db::Store;

use super::scrape::Scrape;
use super::{Exit, store};
use crate::admin::Access;
use crate::clients::Clients;
use crate::clock::{self, Clock, ClockHealth, Now, SlotClock};
use crate::config::{Config, RunArgs};
use crate::control;
use crate::enrolment::Declarations;
use crate::eth::{DutyKind, Network};
use crate::handover::{Successor, Terms};
use crate::logging::{self, LogLimit};
use crate::metrics::{self, LabelValues, Metrics};
use crate::server::sockets::Sockets;
use crate::server::{self, Server};
use crate::sign::admission::Admission;
use crate::sign::permissions::Permissions;
use crate::sign::{EVENTS, Gate};
use crate::systemd::Notify;
use crate::trace::{ExporterConfig, Tracer};
use crate::upstream::discovery::Discovery;
use crate::upstream::signers::Signers;
use crate::upstream::{InFlight, UpstreamFault};
use crate::validators::Validators;

pub(super) use self::access::load as load_clients;
use self::access::watch as watch_access;
pub(super) use self::admin::access as admin_access;
use self::end::Running;
use self::hand_over::{Door, Turn};
pub(super) use self::listeners::addresses;
use self::listeners::{listen, serve};
use self::policy::{PolicyFile, record};
use self::policy_desk::Documents;
#[cfg(feature = "bench-nosync")]
use self::signers::require_loopback;
pub(super) use self::signers::upstream_keys;
use self::signers::watch_upstreams;
use self::threads::{keep_lease, watch_signals, watch_store};
use self::upgrade::watch_upgrade_signal;
pub(super) use self::verification::validated_keys;
use self::verification::verifier;

mod access;
mod admin;
mod audit;
mod end;
mod events;
mod hand_over;
mod judgement;
mod listeners;
mod policy;
mod policy_desk;
mod response;
mod signers;
mod threads;
mod upgrade;
mod verification;
mod watchdog;

/// Why the process ends.
#[derive(Debug)]
enum End {
    /// SIGTERM or SIGINT.
    Asked(&'static str),
    /// The slashing store failed, or another owns it.
    Store(String),
    /// A successor has our sockets and waits for the store.
    Handover(Successor, Turn),
}

/// All that can be set up before the store is opened.
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) network: Network,
    pub(super) slots: SlotClock,
    pub(super) notify: Arc<Notify>,
    metrics: Arc<Metrics>,
    clients: Arc<Clients>,
    callers: Option<Arc<Access>>,
    signers: Signers,
    files: u64,
}

impl Prepared {
    /// Loads and checks the configuration; nothing outside this process changes.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn load(args: &RunArgs) -> anyhow::Result<Self> {
        let config = super::load(args)?;
        super::policy::configured(&config)?;
        #[cfg(feature = "bench-nosync")]
        require_loopback(&config)?;
        logging::init(&config.log)?;
        let network = super::network(&config)?;
        let slots = store::slots(&network)?;
        log_configuration(&config, &network);
        let files = server::raise_fd_limit();
        let notify = Notify::from_environment().context("NOTIFY_SOCKET names no socket")?;
        let metrics = Arc::new(metrics());
        let clients = load_clients(&config, &Clock::System, &metrics.clients)?;
        let callers = admin_access(&config.admin, &Clock::System)?;
        let signers = Signers::new(&config.upstreams.sets, &metrics.upstream, &Clock::System)
            .context("cannot speak TLS to the signers")?;
        let notify = Arc::new(notify);
        Ok(Self { config, network, slots, notify, metrics, clients, callers, signers, files })
    }
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    serve_until_the_end(Prepared::load(args)?, Sockets::default(), |_| {})
}

/// Opens the store, serves, tells `on_serving` when, and waits for the end.
///
/// # Errors
/// What kept the gate from serving, or from closing in order.
pub(super) fn serve_until_the_end(
    prepared: Prepared,
    sockets: Sockets,
    on_serving: impl FnOnce(Now),
) -> anyhow::Result<Exit> {
    let Prepared { config, network, slots, notify, metrics, clients, callers, signers, files } =
        prepared;
    let sockets = Arc::new(Mutex::new(sockets));
    let clock = Clock::System;
    let (store, watermarks) =
        store::open(&config, &network, slots, &clock).context("cannot open the slashing store")?;
    let store = Arc::new(store);
    if store.has_unfinished_import() {
        tracing::warn!(
            event = "unfinished_import",
            "an import was cut short: some keys may lack history that the file has; run the same \
             import again"
        );
    }
    // Owning it wrote the disk and the witness; the lease that it took runs from before.
    store.renew(store::now(slots, &clock)).context("the lease ran out while the store opened")?;
    let (ends, ended) = mpsc::channel();
    watch_store(&store, &ends);
    let gate = Arc::new(assemble(&config, network, slots, metrics, &store, watermarks)?);
    let policy = PolicyFile::publish(&config, &gate)?;
    policy.watch()?;
    record(&config, &gate)?;
    watch_access(&clients)?;
    let discovery = Arc::new(Discovery::new(Arc::new(signers)));
    keep_lease(&gate, slots, ends.clone())?;
    judgement::keep(&gate)?;
    response::act(&gate)?;
    let terms = Terms {
        drain_timeout_ms: config.limits.drain_timeout_ms,
        supervised: notify.is_to_somebody(),
    };
    let door = Door::new(&sockets, terms, ends.clone());
    let documents = Box::new(Documents::new(Arc::clone(&policy)));
    serve_control(&config, &gate, policy, door)?;
    watch_upstreams(&config, &gate, &discovery)?;
    watch_signals(ends)?;
    watch_upgrade_signal()?;
    let listeners = listen(&config, &clients, &mut sockets.lock())?;
    let server = serve(&config, &gate, &discovery, listeners, None)?;
    let metrics_address = serve_metrics(&config, &gate, &discovery, &server, &sockets)?;
    let admin = admin::serve(&config, &gate, callers, documents, &sockets)?;
    watchdog::watch(Arc::clone(&notify), &gate, server.stats())?;
    tracing::info!(
        event = "serving",
        addresses = ?server.local_addresses(),
        metrics = metrics_address.map(tracing::field::display),
        admin = admin.as_ref().map(|(_, address)| tracing::field::display(address)),
        upstreams = config.upstreams.describe(),
        keys = gate.validators.counts().enabled,
        workers = config.listen.worker_count(),
        open_files_max = files,
        "the gate is open"
    );
    close_unused(&mut sockets.lock());
    notify.ready("serving");
    on_serving(clock.now());
    let spans = Arc::clone(&gate);
    let desk = admin.map(|(desk, _)| desk);
    let running = Running { config, gate, discovery, clients, desk, sockets, slots, clock, notify };
    let exit = running.until_the_end(server, &ended);
    spans.tracer.flush(LAST_SPANS);
    exit
}

fn close_unused(sockets: &mut Sockets) {
    let unused = sockets.close_unused();
    if !unused.is_empty() {
        tracing::info!(event = "sockets_closed", addresses = ?unused, "not configured any more");
    }
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

fn metrics() -> Metrics {
    Metrics::new(&LabelValues {
        duty_types: &DUTY_TYPES,
        signed_code: "ok",
        key_statuses: &["enabled", "disabled", "halted", "awaiting"],
        upstream_errors: &UpstreamFault::CODES,
        events: &EVENTS,
    })
}

fn assemble(
    config: &Config,
    network: Network,
    slots: SlotClock,
    metrics: Arc<Metrics>,
    store: &Arc<Store>,
    watermarks: Vec<slashing_db::Watermarks>,
) -> anyhow::Result<Gate> {
    let genesis = network.genesis().context("the genesis of the network is not known")?;
    let response = response::response(config, &metrics, &watermarks)?;
    let validators = Validators::new(watermarks);
    let judgement = judgement::judgement(config, &network, &validators, slots, &Clock::System);
    Ok(Gate {
        genesis_validators_root: genesis.validators_root,
        network,
        clock: Clock::System,
        slots,
        store: Arc::clone(store),
        recorder: store.recorder(),
        judgement,
        response,
        permissions: Permissions::new(config.groups.clone(), &validators),
        admission: Admission::new(&config.limits),
        in_flight: InFlight::new(FINISHED_RESULTS_KEPT_SLOTS),
        tracer: tracer(config, &metrics)?,
        verifier: Arc::new(verifier(config, &validators, &metrics)?),
        validators,
        metrics,
        log_limit: LogLimit::default(),
        min_target_age_epochs: config.slashing.min_target_age_epochs,
        budget: Duration::from_millis(config.limits.request_budget_ms)
            .min(config.upstreams.longest_timeout()),
    })
}

fn tracer(config: &Config, metrics: &Metrics) -> anyhow::Result<Tracer> {
    let Some(endpoint) = config.tracing.endpoint.clone() else { return Ok(Tracer::off()) };
    let exporter = ExporterConfig {
        endpoint,
        sample_ratio: config.tracing.sample_ratio,
        service_name: config.tracing.service_name.clone(),
        instance: config.listen.address.to_string(),
        headers: config.tracing.headers.clone(),
    };
    Tracer::start(exporter, &metrics.trace).context("cannot start the exporter of traces")
}

fn serve_control(
    config: &Config,
    gate: &Arc<Gate>,
    policy: Arc<PolicyFile>,
    door: Door,
) -> anyhow::Result<()> {
    let gate = Arc::clone(gate);
    let answer = move |command: &_, input: &mut dyn Read, output: &mut dyn Write| {
        if let Some(reply) = policy.answer(command) {
            return reply;
        }
        if let control::Command::TestEvents { sink, page } = command {
            return events::test(&gate, sink.as_deref(), *page);
        }
        control::execute(&Declarations::of(&gate), command, input, output)
    };
    let hand_over = move |ask: &_, stream: &_| door.answer(ask, stream);
    control::serve(&config.slashing.directory, answer, hand_over)
        .context("cannot make the control socket in slashing.directory")
}

fn serve_metrics(
    config: &Config,
    gate: &Arc<Gate>,
    discovery: &Arc<Discovery>,
    server: &Server,
    sockets: &Mutex<Sockets>,
) -> anyhow::Result<Option<std::net::SocketAddr>> {
    let Some(address) = config.metrics.address else {
        return Ok(None);
    };
    let scrape = Scrape::new(Arc::downgrade(gate), Arc::clone(discovery), server.stats());
    gate.metrics.set_before_scrape(move |metrics| scrape.update(metrics));
    let metrics = Arc::clone(&gate.metrics);
    let poisoned = metrics.store.poisoned.clone(); // `/healthz` answers without a scrape
    gate.store.on_poison(move |_| poisoned.set(1));
    let listener = sockets.lock().listen(address);
    let listener =
        listener.with_context(|| format!("cannot listen on {address} (metrics.address)"))?;
    Ok(Some(metrics::http::spawn_on(listener, metrics, std::future::pending())?))
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
/// For the spans that are still to be sent when the process ends.
const LAST_SPANS: Duration = Duration::from_secs(2);
const FINISHED_RESULTS_KEPT_SLOTS: u64 = 2;
