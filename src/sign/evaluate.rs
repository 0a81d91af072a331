//! A dry run of one request: what steps 2 to 6 would say of it. Nothing is recorded, nothing is
//! learned, no budget is spent and nothing is forwarded; no signing path calls it.

use std::net::IpAddr;

use policy::{Decision, Verdict};
use serde_json::Value;

use super::decide::{active, bounds, message};
use super::judge::{Ask, Asker, Case, Pass};
use super::not_signed::{NotSigned, Refusal};
use super::permissions::Taken;
use super::{Gate, content, explanation};
use crate::clock::Now;
use crate::enrolment::with_causes;
use crate::eth::{PublicKey, SigningRoot};
use crate::judgement::Origin;
use crate::trace::RequestId;
use crate::validators::{RowIndex, Validator};
use crate::web3signer::request;

/// Who is supposed to ask.
#[derive(Clone, Debug)]
pub struct Supposed<'a> {
    /// A client that the gate knows.
    pub client: &'a str,
    /// From where; the loopback, if nothing is said.
    pub address: Option<IpAddr>,
    /// Whether it asks as it usually does, where it owns the key: else it comes as one that was
    /// never seen to write or connect like this.
    pub as_usual: bool,
}

/// What would have been said.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// `signed`, `held`, `refused`, `rejected` or `failed`: `signed` means that it would have been
    /// forwarded.
    pub verdict: &'static str,
    /// The stable code of the outcome.
    pub code: String,
    /// The outcome in words.
    pub reason: String,
    /// The type of the duty, once known.
    pub kind: Option<&'static str>,
    /// Its signing root, once known.
    pub signing_root: Option<SigningRoot>,
    /// What policy thought, where it was asked.
    pub explanation: Option<Value>,
}

/// No client of this name was ever seen or configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no client is named `{0}`")]
pub struct NoSuchClient(pub String);

/// Until when a request would be held, or that it would be forwarded; with what policy thought.
type Passed = (Option<u64>, Decision);

impl Gate {
    /// What would be said of a request for `key` with this body, if it came now.
    ///
    /// # Errors
    /// When nobody has the client's name.
    pub fn evaluate(
        &self,
        key: &PublicKey,
        supposed: &Supposed<'_>,
        body: &[u8],
    ) -> Result<Evaluated, NoSuchClient> {
        let names = self.judgement.clients.names();
        if !names.iter().any(|name| name == supposed.client) {
            return Err(NoSuchClient(supposed.client.to_owned()));
        }
        let mut evaluated = Evaluated {
            verdict: "signed",
            code: "ok".to_owned(),
            reason: "it would have been forwarded".to_owned(),
            kind: None,
            signing_root: None,
            explanation: None,
        };
        let explained = |decision: &Decision| {
            let text = explanation::explain(decision, &self.judgement.policy());
            serde_json::from_str(&text).ok()
        };
        match self.try_evaluate(key, supposed, body, &mut evaluated) {
            Ok((until, decision)) => {
                evaluated.explanation = explained(&decision);
                if let Some(until) = until {
                    evaluated.verdict = "held";
                    evaluated.code = "held".to_owned();
                    evaluated.reason = format!("it would be decided anew at {until} (Unix ms)");
                }
            }
            Err(reason) => {
                evaluated.verdict = reason.verdict().as_str();
                evaluated.code = reason.code().to_owned();
                evaluated.reason = with_causes(&reason);
                if let NotSigned::Refused(Refusal::Policy(refusal)) = &reason {
                    evaluated.explanation = explained(&refusal.decision);
                }
            }
        }
        Ok(evaluated)
    }

    fn try_evaluate(
        &self,
        key: &PublicKey,
        supposed: &Supposed<'_>,
        body: &[u8],
        evaluated: &mut Evaluated,
    ) -> Result<Passed, NotSigned> {
        let request = request::parse(body)?;
        evaluated.kind = Some(request.duty.kind().as_str());
        let now = self.clock.now();
        let root = content::root(self, &request, now, &RequestId::Made(0))?;
        evaluated.signing_root = Some(root);
        let row = self.resolve(key)?;
        let address = supposed.address.unwrap_or(IpAddr::from([127, 0, 0, 1]));
        let asker = Asker { origin: Origin::new(address, None), head: 0 };
        let client = self.judgement.clients.index(supposed.client);
        let source = asker.source_of(client, request.style);
        let ask = Ask { duty: &request.duty, root, proofs: &request.proofs, source };
        self.validators
            .with(row, |validator| self.look(row, validator, &ask, now, supposed.as_usual))
    }

    /// Steps 5 and 6, under the key's lock.
    fn look(
        &self,
        row: RowIndex,
        validator: &mut Validator,
        ask: &Ask<'_>,
        now: Now,
        as_usual: bool,
    ) -> Result<Passed, NotSigned> {
        let mut case = Case::new(self, row, ask, now, Pass::First);
        active(&case, validator, ask)?;
        let Validator { watermarks, baseline, .. } = validator;
        let public_key = *watermarks.public_key();
        case.open(&public_key, baseline, ask);
        let mut permission = None;
        let mut is_repeat = false;
        match message(ask.duty, ask.root) {
            None => {
                let root = slashing_db::SigningRoot(ask.root.0);
                drop(watermarks.permit(ask.duty.domain_type().0, root)?);
            }
            Some(message) => {
                let mut bounds = bounds(self, now);
                if let slashing_db::Message::Counted(counted) = &message {
                    let found = self.permissions.find(counted.kind, &public_key);
                    bounds.counted_max = found.as_ref().map_or(u32::MAX, |it| it.per_key_max());
                    permission = Some(found);
                }
                // Nothing is advanced: what was checked is not recorded.
                is_repeat = watermarks.check(&message, &bounds)?.is_repeat();
            }
        }
        let decision = if as_usual {
            case.supposed(&baseline.state.assuming_usual(&ask.source), is_repeat)
        } else {
            case.supposed(&baseline.state, is_repeat)
        };
        let kind = ask.duty.kind();
        match decision.verdict {
            Verdict::HoldUntil(until) => return Ok((Some(until), decision)),
            Verdict::Refuse => return Err(case.refusal(decision)),
            Verdict::Allow => {}
        }
        match permission {
            None => {}
            Some(None) => return Err(Refusal::NotPermitted { kind }.into()),
            Some(Some(_)) if is_repeat => {}
            Some(Some(permission)) => drop::<Taken<'_>>(permission.take(kind)?), // given back
        }
        Ok((None, decision))
    }
}
