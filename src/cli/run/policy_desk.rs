//! The policy document of a running gate, for the admin API.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::policy::PolicyFile;
use crate::admin::{InForce, PolicyDesk, PolicyProblem, Replayed};
use crate::cli::policy::{replace, report_as_json, summary_of, try_draft};
use crate::config::policy::PolicyError;
use crate::recording::segments;

/// See the module. One draft at a time: it lies beside the document.
pub(super) struct Documents {
    file: Arc<PolicyFile>,
    turn: Mutex<()>,
}

impl Documents {
    pub(super) fn new(file: Arc<PolicyFile>) -> Self {
        Self { file, turn: Mutex::new(()) }
    }

    /// Does something with the draft as a file.
    fn with_draft<T>(
        &self,
        document: &str,
        act: impl FnOnce(&Path) -> Result<T, PolicyProblem>,
    ) -> Result<T, PolicyProblem> {
        let _turn = self.turn.lock();
        let config = self.file.config();
        let draft = config.slashing.directory.join("draft.toml");
        fs::write(&draft, document).map_err(|error| {
            PolicyProblem::Failed(format!("cannot write {}: {error}", draft.display()))
        })?;
        let result = act(&draft);
        let _ = fs::remove_file(&draft); // the next one is written over it
        result
    }

    fn checked(&self, draft: &Path) -> Result<policy::Policy, PolicyProblem> {
        self.file.compile(draft).map_err(|error| match error {
            PolicyError::Read { .. } => PolicyProblem::Failed(error.to_string()),
            PolicyError::Wrong(_) => {
                let text = error.to_string();
                PolicyProblem::Document(text.replace(&format!("{}:", draft.display()), "line "))
            }
        })
    }

    fn tried(&self, draft: &Path) -> Result<Replayed, PolicyProblem> {
        let config = self.file.config();
        let failed = |error: &dyn std::fmt::Display| PolicyProblem::Failed(error.to_string());
        let files = match &config.policy.recording {
            None => Vec::new(),
            Some(directory) => {
                if let Some(recorder) = self.file.gate().judgement.recorder() {
                    recorder.flush(); // what was judged this very second is tried too
                }
                segments(directory).map_err(|error| failed(&error))?
            }
        };
        if files.is_empty() {
            let report = serde_json::Value::Null;
            return Ok(Replayed { is_recorded: false, is_strict: true, report });
        }
        let report = try_draft(draft, Some(config), &files, |_| {});
        let report = report.map_err(|error| failed(&format!("{error:#}")))?;
        Ok(Replayed {
            is_recorded: true,
            is_strict: report.refuses_too_much(),
            report: report_as_json(&report),
        })
    }
}

impl PolicyDesk for Documents {
    fn in_force(&self) -> InForce {
        let config = self.file.config();
        let path = config.policy.file.as_ref();
        let judged_by = self.file.gate().judgement.policy();
        InForce {
            file: path.map(|path| path.display().to_string()),
            document: path.and_then(|path| fs::read_to_string(path).ok()),
            summary: summary_of(&judged_by, Some(config)),
            is_recorded: config.policy.recording.is_some(),
        }
    }

    fn check(&self, document: &str) -> Result<String, PolicyProblem> {
        let policy = self.with_draft(document, |draft| self.checked(draft))?;
        Ok(summary_of(&policy, Some(self.file.config())))
    }

    fn replay(&self, document: &str) -> Result<Replayed, PolicyProblem> {
        self.with_draft(document, |draft| {
            self.checked(draft)?;
            self.tried(draft)
        })
    }

    fn publish(&self, document: &str) -> Result<Vec<String>, PolicyProblem> {
        let Some(place) = self.file.config().policy.file.clone() else {
            let detail = "the configuration names no policy: set policy.file, and start anew";
            return Err(PolicyProblem::NoFile(detail.to_owned()));
        };
        self.with_draft(document, |draft| {
            self.checked(draft)?;
            replace(draft, &place).map_err(|error| PolicyProblem::Failed(format!("{error:#}")))?;
            self.file.reload().map_err(|error| PolicyProblem::Failed(error.to_string()))
        })
    }
}
