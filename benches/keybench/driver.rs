//! The gate, as far as a tape can tell it from the real one: the steps of the signing path in their
//! order, with virtual time. It knows no label.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use policy::{
    Alarm, Decision, Drift, Engine, Finding, GroupIndex, KeyState, Moment, Observation, Outcome,
    Policy, Verdict, Window,
};

use crate::content;
use crate::store::{Answer, Watermarks};
use crate::tape::{Request, Slot};
use crate::world::{GENESIS_MS, SLOT_MS, SLOTS_PER_EPOCH, World, begin_of};

/// Who let a request through, or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Nobody refused it: it was signed and released.
    Released,
    /// Step 3: network, fork, time.
    Content,
    /// Step 5: EIP-3076.
    Store,
    /// Step 6.
    Policy,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Ruling<'a> {
    /// Its place among all requests of the run.
    pub(crate) ordinal: u64,
    pub(crate) by: By,
    /// Whether the policy refused, or would have if the store had not.
    pub(crate) is_refused_by_policy: bool,
    pub(crate) request: &'a Request,
    /// Nothing where step 3 refused.
    pub(crate) decision: &'a Decision,
    /// Whether a policy that enrols strictly refuses the same request in the same state; looked at
    /// only where the witness asks for it.
    pub(crate) is_refused_in_strict: Option<bool>,
}

/// Who writes down what happens; it holds the labels.
pub(crate) trait Witness {
    /// Whether the strict policy is to be asked about this request too.
    fn asks_strict(&self, ordinal: u64) -> bool;
    fn saw(&mut self, ruling: &Ruling<'_>);
    fn heard(&mut self, slot: u64, alarm: &Alarm);
    fn drifted(&mut self, slot: u64, drift: &Drift);
}

/// A request that waits for others to move along.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    until_ms: u64,
    ordinal: u64,
    place: usize,
}

/// One gate.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    world: &'a World,
    windows: &'a [Window],
    engine: Engine,
    policy: Policy,
    strict: Policy,
    keys: Vec<KeyState>,
    marks: Vec<Watermarks>,
    held: BinaryHeap<Reverse<Held>>,
    /// The held requests, by their place.
    waiting: Vec<Request>,
    ordinal: u64,
    clock_ms: i64,
}

/// The moment of a time, as the gate's slot clock has it.
fn moment(unix_ms: u64) -> Moment {
    let since = unix_ms - GENESIS_MS;
    let slot = since / SLOT_MS;
    Moment { unix_ms, slot, epoch: slot / SLOTS_PER_EPOCH, into_slot_ms: (since % SLOT_MS) as u32 }
}

impl<'a> Gate<'a> {
    pub(crate) fn new(world: &'a World, windows: &'a [Window]) -> Self {
        let keys = world.cohort_of.len();
        Self {
            world,
            windows,
            engine: Engine::new(),
            policy: world.policy.clone(),
            strict: World::strict(&world.policy),
            keys: vec![KeyState::new(); keys],
            marks: vec![Watermarks::default(); keys],
            held: BinaryHeap::new(),
            waiting: Vec::new(),
            ordinal: 0,
            clock_ms: 0,
        }
    }

    /// Plays the requests of one slot.
    pub(crate) fn play(&mut self, tape: &Slot, witness: &mut impl Witness) {
        self.clock_ms = tape.clock_ms;
        if tape.is_down {
            return;
        }
        let now = moment(self.seen_at(begin_of(tape.slot)));
        if tape.is_restarted {
            self.restart();
            self.engine.resumed(now);
        }
        if tape.slot.is_multiple_of(SLOTS_PER_EPOCH) {
            self.publish(now);
        }
        for alarm in self.engine.tick(&self.policy, now) {
            witness.heard(tape.slot, &alarm);
        }
        for drift in self.engine.drifted(&self.policy).0 {
            witness.drifted(tape.slot, &drift);
        }
        for request in &tape.requests {
            self.next(request, witness);
        }
        self.release_until(begin_of(tape.slot + 1), witness);
    }

    fn next(&mut self, request: &Request, witness: &mut impl Witness) {
        self.release_until(request.at_ms, witness);
        let ordinal = self.ordinal;
        self.ordinal += 1;
        self.receive(request, ordinal, false, witness);
    }

    /// Plays a slot with everything going to disk and back in its middle.
    pub(crate) fn play_with_restart(&mut self, tape: &Slot, witness: &mut impl Witness) {
        let half = tape.requests.len() / 2;
        let part = |requests: &[Request]| Slot { requests: requests.to_vec(), ..*tape };
        self.play(&part(&tape.requests[..half]), witness);
        self.restart();
        for request in &tape.requests[half..] {
            self.next(request, witness);
        }
        self.release_until(begin_of(tape.slot + 1), witness);
    }

    /// Everything goes to disk and comes back. What waits was lost with its connections.
    pub(crate) fn restart(&mut self) {
        self.engine = Engine::from_bytes(&self.engine.to_bytes()).expect("its own bytes");
        for key in &mut self.keys {
            *key = KeyState::from_bytes(&key.to_bytes()).expect("its own bytes");
        }
    }

    /// The windows of these epochs, as an operator publishes and withdraws them.
    fn publish(&mut self, now: Moment) {
        let epoch_ms = SLOT_MS * SLOTS_PER_EPOCH;
        let near = |window: &&Window| {
            window.from_ms < now.unix_ms + 2 * epoch_ms
                && window.until_ms + 2 * epoch_ms > now.unix_ms
        };
        self.policy.windows = self.windows.iter().filter(near).cloned().collect();
        self.strict.windows = self.policy.windows.clone();
    }

    const fn seen_at(&self, at_ms: u64) -> u64 {
        at_ms.saturating_add_signed(self.clock_ms)
    }

    /// Asks again about what has waited long enough.
    fn release_until(&mut self, end_ms: u64, witness: &mut impl Witness) {
        while self.held.peek().is_some_and(|Reverse(held)| held.until_ms <= end_ms) {
            let Some(Reverse(held)) = self.held.pop() else { break };
            let request = Request { at_ms: held.until_ms, ..self.waiting[held.place] };
            if self.held.is_empty() {
                self.waiting.clear();
            }
            self.receive(&request, held.ordinal, true, witness);
        }
    }

    /// Steps 3, 5, 6, 7 and 9 of one request.
    fn receive(
        &mut self,
        request: &Request,
        ordinal: u64,
        has_waited: bool,
        witness: &mut impl Witness,
    ) {
        let at = moment(self.seen_at(request.at_ms));
        let key = request.key as usize;
        let mut ruling = Ruling {
            ordinal,
            by: By::Content,
            is_refused_by_policy: false,
            request,
            decision: &Decision::default(),
            is_refused_in_strict: None,
        };
        if !content::is_right(&request.message, request.claim, at) {
            return witness.saw(&ruling);
        }
        let answer = self.marks[key].check(&request.message, request.root);
        let seen = Observation {
            key: request.key,
            group: GroupIndex(self.world.cohort_of[key]),
            at,
            source: request.source,
            message: request.message,
            root: request.root,
            is_repeat: answer == Answer::Repeat,
            due_ms: request.due_ms,
        };
        let state = &mut self.keys[key];
        let decision = self.engine.judge(&self.policy, state, &seen);
        if !has_waited {
            self.engine.attempted(&self.policy, state, &seen);
        }
        if let Verdict::HoldUntil(until) = decision.verdict
            && !has_waited
            && answer != Answer::Conflict
        {
            let place = self.waiting.len();
            self.waiting.push(*request);
            let until_ms = until.saturating_add_signed(-self.clock_ms);
            self.held.push(Reverse(Held { until_ms, ordinal, place }));
            return;
        }
        ruling.is_refused_by_policy = is_refusal(&decision);
        ruling.by = match answer {
            Answer::Conflict => By::Store,
            Answer::Free | Answer::Repeat if ruling.is_refused_by_policy => By::Policy,
            Answer::Free | Answer::Repeat => By::Released,
        };
        if witness.asks_strict(ordinal) {
            let decision = self.engine.judge(&self.strict, state, &seen);
            ruling.is_refused_in_strict = Some(is_refusal(&decision));
        }
        ruling.decision = &decision;
        let answered;
        if ruling.by == By::Released {
            self.engine.admit(&self.policy, state, &seen);
            self.marks[key].record(&request.message, request.root);
            let outcome =
                Outcome { shares: request.shares, chosen_by_gate: request.is_chosen_by_gate };
            answered = self.engine.judge_answer(&self.policy, state, &seen, &outcome);
            if is_refusal(&answered) {
                (ruling.by, ruling.is_refused_by_policy) = (By::Policy, true); // and withheld
                ruling.decision = &answered;
            } else {
                self.engine.learn(&self.policy, state, &seen, &outcome);
            }
        } else {
            self.engine.refused(&self.policy, state, &seen, &decision);
        }
        witness.saw(&ruling);
    }
}

/// A second hold is a refusal where a rule that refuses stands behind it, as in the gate.
fn is_refusal(decision: &Decision) -> bool {
    match decision.verdict {
        Verdict::Allow => false,
        Verdict::Refuse => true,
        Verdict::HoldUntil(_) => decision.findings.iter().any(Finding::refuses),
    }
}
