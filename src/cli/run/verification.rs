//! What verifies the signers' answers, as `run` sets it up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use crate::clock::Stopwatch;
use crate::config::Config;
use crate::enrolment::with_causes;
use crate::metrics::Metrics;
use crate::upstream::verify::Verifier;
use crate::validated_keys::ValidatedKeys;
use crate::validators::Validators;

/// Starts the threads that verify, over the keys that were validated before.
pub(super) fn verifier(
    config: &Config,
    validators: &Validators,
    metrics: &Metrics,
) -> anyhow::Result<Verifier> {
    if !config.verify.is_on() {
        tracing::warn!(
            event = "verification_off",
            "signatures are released as the signer gives them (verify.mode)"
        );
        return Ok(Verifier::off());
    }
    let keys = Arc::new(validated_keys(config));
    load(&keys, validators);
    Verifier::start(&config.verify, keys, metrics).context("cannot start a thread that verifies")
}

/// The validated keys of the configured store; in memory alone where their table cannot be opened.
pub(in crate::cli) fn validated_keys(config: &Config) -> ValidatedKeys {
    let directory = directory(&config.slashing.directory);
    ValidatedKeys::open(&directory).unwrap_or_else(|error| {
        tracing::warn!(
            event = "validated_keys_not_kept",
            directory = %directory.display(),
            reason = with_causes(&error),
            "the table of validated keys cannot be opened; keys are validated as they are needed. It may \
             be deleted while the gate is stopped"
        );
        ValidatedKeys::in_memory()
    })
}

fn load(keys: &ValidatedKeys, validators: &Validators) {
    let watch = Stopwatch::start();
    match keys.load(validators) {
        Ok(loaded) => tracing::info!(
            event = "validated_keys",
            taken = loaded.taken,
            missing = loaded.missing,
            damaged = loaded.damaged,
            took_ms = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX),
            "validated keys were loaded; missing ones are validated as they are needed"
        ),
        Err(error) => tracing::warn!(
            event = "validated_keys_damaged",
            reason = with_causes(&error),
            "the table of validated keys cannot be read; keys are validated as they are needed"
        ),
    }
}

/// Beside the records, in a database of its own: it may be deleted while the gate is stopped.
fn directory(slashing: &Path) -> PathBuf {
    slashing.join("validated-keys")
}
