//! The policy document under a running gate: in force as a whole or not at all; and the recording
//! of what is judged.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use anyhow::Context;
use policy::{Policy, Rule};

use super::access::at_each_change;
use super::threads::on_own_thread;
use crate::config::Config;
use crate::config::policy::{KeyPlace, Known, PolicyError, changes, read};
use crate::control::{Command, Reply};
use crate::judgement;
use crate::recording::{Header, Names, Recorder, RecorderSettings};
use crate::sign::Gate;
use crate::validators::Standing;

/// The document that the configuration names, if it names one.
pub(super) struct PolicyFile {
    path: Option<PathBuf>,
    config: Config,
    gate: Arc<Gate>,
}

impl PolicyFile {
    /// Puts the document in force.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn publish(config: &Config, gate: &Arc<Gate>) -> Result<Arc<Self>, PolicyError> {
        let path = config.policy.file.clone();
        let file = Self { path, config: config.clone(), gate: Arc::clone(gate) };
        file.reload()?;
        Ok(Arc::new(file))
    }

    /// Reads it again on SIGHUP, and when it has changed.
    pub(super) fn watch(self: &Arc<Self>) -> anyhow::Result<()> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let file = Arc::clone(self);
        on_own_thread("policy", move || async move {
            let reread = || {
                let _ = file.reload(); // it was said
            };
            at_each_change(&[path], reread).await;
        })
    }

    /// The answer to an operator's command that concerns the policy or its recording.
    pub(super) fn answer(&self, command: &Command) -> Option<Reply> {
        match command {
            Command::ReloadPolicy => Some(self.answer_reload()),
            Command::FlushRecording => {
                if let Some(recorder) = self.gate.judgement.recorder() {
                    recorder.flush();
                }
                Some(Reply::Done)
            }
            Command::List
            | Command::Enrol { .. }
            | Command::Import
            | Command::Disable { .. }
            | Command::Export { .. }
            | Command::TestEvents { .. }
            | Command::HandOver(_) => None,
        }
    }

    fn answer_reload(&self) -> Reply {
        if self.path.is_none() {
            return Reply::Refused(
                "the configuration of the running gate names no policy: set policy.file and \
                 start the gate anew"
                    .to_owned(),
            );
        }
        match self.reload() {
            Ok(changes) => Reply::PolicyPublished(changes),
            Err(error) => Reply::Refused(error.to_string()),
        }
    }

    /// Reads a document as one of the running gate.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn compile(&self, path: &Path) -> Result<Policy, PolicyError> {
        let judgement = &self.gate.judgement;
        let known = Known {
            groups: &self.config.policy_groups(),
            is_client: &|name| self.config.is_policy_client(name),
            client_place: &|name| judgement.clients.index(name),
            key_place: &|key| match self.gate.validators.standing(&slashing_db::PublicKey(*key)) {
                Standing::Enrolled(row) => {
                    u32::try_from(row.place()).map_or(KeyPlace::Unknown, KeyPlace::At)
                }
                Standing::Awaiting | Standing::Unknown => KeyPlace::Unknown,
            },
        };
        read(path, &known)
    }

    /// The gate whose policy it is.
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What the gate runs by.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Puts the document in force, or leaves what is; says what has changed.
    ///
    /// # Errors
    /// Everything that is wrong with it; what was in force stays so.
    pub(super) fn reload(&self) -> Result<Vec<String>, PolicyError> {
        let judgement = &self.gate.judgement;
        let Some(path) = &self.path else {
            let built_in = judgement.document();
            judgement.publish(built_in); // which names the clients, all of them known by now
            return Ok(Vec::new());
        };
        let policy = self.compile(path).inspect_err(|error| {
            tracing::error!(
                event = "policy_rejected",
                file = %path.display(),
                reason = %error,
                "the policy document is not put in force; the policy of before holds"
            );
        })?;
        let before = judgement.document();
        judgement.publish(policy);
        let changes = changes(&before, &judgement.document());
        tracing::info!(
            event = "policy_published",
            file = %path.display(),
            changes = changes.join("; "),
            "the policy document is in force"
        );
        Ok(changes)
    }
}

/// Begins the recording, if one is wished.
pub(super) fn record(config: &Config, gate: &Arc<Gate>) -> anyhow::Result<()> {
    let Some(directory) = config.policy.recording.clone() else { return Ok(()) };
    let chain = judgement::chain(&gate.network);
    let header = Header {
        network: gate.network.name().to_owned(),
        begun_unix_ms: gate.clock.now().unix_ns / 1_000_000,
        slot_ms: chain.slot_ms,
        slots_per_epoch: chain.slots_per_epoch,
        epochs_per_sync_period: chain.epochs_per_sync_period,
        sync_committee_size: chain.sync_committee_size,
        groups: config.policy_groups(),
        rules: Rule::ALL.map(|rule| rule.as_str().to_owned()).to_vec(),
    };
    let settings = RecorderSettings {
        directory,
        segment_bytes: config.policy.recording_segment_bytes,
        segments_max: config.policy.recording_segments_max,
    };
    let dropped = gate.metrics.policy.recording_dropped.clone();
    let recorder = Recorder::start(settings, &header, GateNames(Arc::downgrade(gate)), dropped)
        .context("cannot record to the directory in policy.recording")?;
    gate.judgement.record_to(recorder);
    Ok(())
}

struct GateNames(Weak<Gate>);

impl Names for GateNames {
    fn client(&self, place: u16) -> Option<String> {
        self.0.upgrade()?.judgement.clients.names().get(usize::from(place)).cloned()
    }

    fn key(&self, place: u32) -> Option<[u8; 48]> {
        let gate = self.0.upgrade()?;
        let row = gate.validators.at_place(place)?;
        Some(gate.validators.with(row, |validator| validator.watermarks.public_key().0))
    }
}
