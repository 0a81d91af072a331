//! `portcullis run`: puts the parts together, waits for a signal or a fault, and ends in order.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use slashing_db::Store;

use super::scrape::Scrape;
use super::{Exit, store};
use crate::clock::{self, Clock, ClockHealth, SlotClock};
use crate::config::{Config, RunArgs};
use crate::control;
use crate::enrolment::Declarations;
use crate::eth::{DutyKind, Network};
use crate::logging::{self, LogLimit};
use crate::metrics::{self, LabelValues, Metrics};
use crate::server::{self, Server};
use crate::sign::admission::Admission;
use crate::sign::permissions::Permissions;
use crate::sign::{EVENTS, Gate};
use crate::trace::{ExporterConfig, Tracer};
use crate::upstream::discovery::Discovery;
use crate::upstream::signers::Signers;
use crate::upstream::{InFlight, UpstreamFault};
use crate::validators::Validators;

use self::listeners::serve;
#[cfg(feature = "bench-nosync")]
use self::signers::require_loopback;
pub(super) use self::signers::upstream_keys;
use self::signers::watch_upstreams;
use self::threads::{keep_lease, watch_signals, watch_store};
pub(super) use self::verification::validated_keys;
use self::verification::verifier;

mod listeners;
mod signers;
mod threads;
mod verification;

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
    let gate = Arc::new(assemble(&config, network, slots, &clock, &store, watermarks)?);
    let signers = Signers::new(&config.upstreams.sets, &gate.metrics.upstream, &clock)
        .context("cannot speak TLS to the signers")?;
    let discovery = Arc::new(Discovery::new(Arc::new(signers)));
    keep_lease(&gate, slots, ends.clone())?;
    serve_control(&config, &gate, slots)?;
    watch_upstreams(&config, &gate, &discovery)?;
    watch_signals(ends)?;
    let server = serve(&config, &gate, &discovery)?;
    let metrics_address = serve_metrics(&config, &gate, &discovery, &server)?;
    tracing::info!(
        event = "serving",
        addresses = ?server.local_addresses(),
        metrics = metrics_address.map(tracing::field::display),
        upstreams = config.upstreams.describe(),
        keys = gate.validators.counts().enabled,
        workers = config.listen.worker_count(),
        open_files_max = files,
        "the gate is open"
    );
    let end = ended.recv().unwrap_or(End::Asked("a closed channel"));
    if let Some(keys) = gate.verifier.keys() {
        keys.close(); // a successor may open the table while this process finishes what it began
    }
    let exit = shut(&config, &store, server, slots, &clock, end);
    gate.tracer.flush(LAST_SPANS);
    exit
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
        admission: Admission::new(&config.limits),
        in_flight: InFlight::new(FINISHED_RESULTS_KEPT_SLOTS),
        verifier: Arc::new(verifier(config, &validators, &metrics)?),
        validators,
        tracer: tracer(config, &metrics)?,
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

fn serve_control(config: &Config, gate: &Arc<Gate>, slots: SlotClock) -> anyhow::Result<()> {
    let gate = Arc::clone(gate);
    control::serve(&config.slashing.directory, move |command, input, output| {
        let declarations = Declarations {
            store: &gate.store,
            validators: &gate.validators,
            slots,
            clock: &gate.clock,
            clock_health: clock::health(),
            validated_keys: gate.verifier.keys().map(|keys| &**keys),
        };
        control::execute(&declarations, command, input, output)
    })
    .context("cannot make the control socket in slashing.directory")
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

const DUTY_TYPES: [&str; DutyKind::ALL.len()] = {
    let mut names = [""; DutyKind::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = DutyKind::ALL[index].as_str();
        index += 1;
    }
    names
};
/// Why nothing is signed any more is worth an answer, to what waits and to what arrives meanwhile.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// For the spans that are still to be sent when the process ends.
const LAST_SPANS: Duration = Duration::from_secs(2);
const FINISHED_RESULTS_KEPT_SLOTS: u64 = 2;
