//! `portcullis dev-signer`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock;
use crate::dev_signer::faults::FaultSpec;
use crate::dev_signer::keys::KeySource;
use crate::dev_signer::{Config, DevSigner};
use crate::tls::{self, IdentityFiles};

/// What `--help` ends with, whatever the command is introduced with.
const WARNING: &str = "\
NOT FOR PRODUCTION. It speaks Web3Signer's interface (sign, publicKeys, upcheck, healthcheck,
reload) over HTTP or HTTPS, signs for whoever asks, and has NO slashing protection. It signs the
signingRoot of a request as it is: a request without one is answered 400, and none is recomputed.
Never give it a key that has anything at stake.";

/// A signer for tests and demonstrations. NOT FOR PRODUCTION.
#[derive(Debug, clap::Args)]
#[command(after_help = WARNING)]
pub struct DevSignerArgs {
    /// Where to listen; port 0 takes any free port, and the address is printed
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9100")]
    listen: SocketAddr,
    /// Allow --listen to be an address that other machines can reach
    #[arg(long)]
    listen_anywhere: bool,
    #[command(flatten)]
    source: SourceArgs,
    /// The file that holds the password of the keystores
    #[arg(long, value_name = "FILE", requires = "keystores")]
    password_file: Option<PathBuf>,
    /// Append one JSON line to this file for each signature made, before its answer leaves
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Misbehave: slow=MS, refuse, error, wrong-signature, swapped, off-subgroup, infinity,
    /// garbage, hang-up, stall or die, each with optional :p=PROBABILITY, :count=N and :after=N;
    /// may be repeated, and may be replaced while running by POST /dev/faults with
    /// {"faults": ["hang-up:p=0.1"], "seed": 1}
    #[arg(long = "fault", value_name = "SPEC")]
    faults: Vec<FaultSpec>,
    /// Decides, with the order of the requests, which of them the faults strike
    #[arg(long, value_name = "N", default_value_t = 0)]
    fault_seed: u64,
    /// Answer every sign request this many milliseconds later
    #[arg(long, value_name = "N", default_value_t = 0)]
    delay_ms: u64,
    /// Serve https, with this certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve only clients whose certificate an authority in this file (PEM) vouches for
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// For load tests: answer with one fixed signature for each key, which belongs to NO message
    #[arg(long)]
    stub: bool,
}

/// Where the keys come from: one of the three.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct SourceArgs {
    /// Hold the first N interop keys, whose secrets are public
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    interop: Option<u64>,
    /// Hold the EIP-2335 keystores (*.json) of this directory
    #[arg(long, value_name = "DIR", requires = "password_file")]
    keystores: Option<PathBuf>,
    /// Hold the keys of the Web3Signer key files (*.yaml, *.yml) of this directory: types file-raw
    /// and file-keystore
    #[arg(long, value_name = "DIR")]
    key_files: Option<PathBuf>,
}

impl SourceArgs {
    fn into_source(self, password_file: Option<PathBuf>) -> Option<KeySource> {
        let interop = self.interop.map(|count| KeySource::Interop { count });
        let keystores = self.keystores.zip(password_file);
        let keystores =
            keystores.map(|(dir, password_file)| KeySource::Keystores { dir, password_file });
        interop.or(keystores).or(self.key_files.map(|dir| KeySource::KeyFiles { dir }))
    }
}

/// Serves until the process is told to stop.
pub fn run(args: DevSignerArgs) -> anyhow::Result<()> {
    let source = args
        .source
        .into_source(args.password_file)
        .context("one of --interop, --keystores and --key-files is needed")?;
    banner(args.stub, &args.faults)?;
    let tls = tls(&args.tls_cert, &args.tls_key, &args.client_ca)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let config = Config {
        listen: args.listen,
        listen_anywhere: args.listen_anywhere,
        source,
        log: args.log,
        faults: args.faults,
        fault_seed: args.fault_seed,
        delay: Duration::from_millis(args.delay_ms),
        stub: args.stub,
        workers: thread::available_parallelism().map_or(1, NonZero::get),
        unix_ms: clock::unix_ms,
    };
    let signer = DevSigner::start_over(config, tls)?;
    tracing::info!(keys = signer.key_count(), address = %signer.address(), "development signer");
    // Whoever started this reads the port here; `println!` would panic if nobody does.
    writeln!(io::stdout(), "listening on {scheme}://{}", signer.address())
        .context("cannot write the address to standard output")?;
    wait_for_stop()
}

fn tls(
    certificate: &Option<PathBuf>,
    key: &Option<PathBuf>,
    client_ca: &Option<PathBuf>,
) -> anyhow::Result<Option<Arc<rustls::ServerConfig>>> {
    let (Some(certificate), Some(key)) = (certificate.clone(), key.clone()) else {
        return Ok(None);
    };
    let identity = tls::load_identity(&IdentityFiles::Pem { certificate, key })?;
    let builder = rustls::ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = Arc::new(tls::load_roots(file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, tls::provider());
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let resolver = SingleCertAndKey::from((*identity).clone());
    Ok(Some(Arc::new(builder.with_cert_resolver(Arc::new(resolver)))))
}

fn banner(stub: bool, faults: &[FaultSpec]) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    let rule = "*".repeat(76);
    writeln!(stderr, "{rule}")?;
    writeln!(stderr, "  DEVELOPMENT SIGNER - NOT FOR PRODUCTION")?;
    writeln!(stderr, "  No slashing protection, no authentication, keys unprotected in memory.")?;
    writeln!(stderr, "  It signs whatever root it is asked to sign, for whoever asks.")?;
    if stub {
        writeln!(
            stderr,
            "  STUB: every answer is one fixed signature that belongs to NO message."
        )?;
    }
    for fault in faults {
        writeln!(stderr, "  FAULT on purpose: {fault}")?;
    }
    writeln!(stderr, "{rule}")
}

fn wait_for_stop() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        anyhow::Ok(())
    })
}
