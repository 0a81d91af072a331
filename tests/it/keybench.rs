//! KeyBench's wire driver: a small world over HTTP against the real gate, whose clock is turned.
//!
//! The large worlds of `benches/keybench` ask the policy crate by itself. Here honest life and the
//! attacks that rules decide go the whole way: parsed, checked, judged, recorded, signed. Nothing
//! honest may be refused, each attack at its first harmful request (A10: the fourth).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fixture::{Case, Expect, Row};
use super::stage::Stage;

const SLOT_MS: u64 = 12_000;
const EPOCH_MS: u64 = 32 * SLOT_MS;
const KEYS: u64 = 48;
const EPOCHS: u64 = 24;
const FEE_RECIPIENT: &str = "0x00000000000000000000000000000000000000aa";

/// What a request is. It stands beside the rows, and no client or gate sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Honest,
    /// Of this attack, and which of its requests; refused by this rule, or by any.
    Harmful(&'static str, Option<&'static str>),
    /// Of an attack, before there is harm or after it was contained.
    Of(&'static str),
}

/// The requests in the making.
struct Tape {
    rows: Vec<(Value, Label)>,
    state: u64,
}

impl Tape {
    /// A number below `n`, the same in every run.
    fn draw(&mut self, n: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.state >> 33) % n
    }

    fn push(&mut self, t_ms: u64, client: &str, kind: &str, key: u64, label: Label) {
        self.with(t_ms, client, kind, key, json!({}), label);
    }

    fn with(&mut self, t_ms: u64, client: &str, kind: &str, key: u64, more: Value, label: Label) {
        let mut row = json!({ "t_ms": t_ms, "client": client, "type": kind, "key": key });
        let all = row.as_object_mut().expect("an object");
        all.extend(more.as_object().expect("an object").clone());
        self.rows.push((row, label));
    }

    /// Votes of a key in some epochs, at its place in each of them.
    fn votes(&mut self, client: &str, key: u64, epochs: std::ops::Range<u64>, label: Label) {
        for epoch in epochs {
            let at = vote_ms(key, epoch) + self.draw(300);
            self.push(at, client, "ATTESTATION", key, label);
        }
    }
}

/// When a key votes in an epoch: a third of a slot after its slot began.
const fn vote_ms(key: u64, epoch: u64) -> u64 {
    epoch * EPOCH_MS + (1 + (key * 11 + epoch * 7) % 30) * SLOT_MS + 4_000
}

/// Honest life of the owner's keys but `but`: votes, proofs before them, reveals, blocks.
fn live(tape: &mut Tape, but: &[u64]) {
    for key in (0..KEYS).filter(|key| !but.contains(key)) {
        tape.votes("owner", key, 0..EPOCHS, Label::Honest);
        let registers = json!({ "fee_recipient": FEE_RECIPIENT });
        let at = EPOCH_MS + 6_000 + key * 40;
        tape.with(at, "owner", "VALIDATOR_REGISTRATION", key, registers, Label::Honest);
        for epoch in 0..EPOCHS {
            let at = vote_ms(key, epoch);
            if tape.draw(4) == 0 {
                // A second beacon node, or a restart: the same again.
                tape.push(at + 500, "owner", "ATTESTATION", key, Label::Honest);
            }
            if tape.draw(2) == 0 {
                let proof = at - at % SLOT_MS - SLOT_MS / 2;
                let slot = json!({ "slot": at / SLOT_MS });
                tape.with(proof, "owner", "AGGREGATION_SLOT", key, slot, Label::Honest);
            }
            if tape.draw(24) == 0 {
                let begin = at - at % SLOT_MS + 5 * SLOT_MS;
                tape.push(begin + 200, "owner", "RANDAO_REVEAL", key, Label::Honest);
                tape.push(begin + 900, "owner", "BLOCK_V2", key, Label::Honest);
            }
        }
    }
}

/// A second client votes while the owner lives: from nowhere (A1), from the backup (A5), in probes
/// and then at once (A13). The owner goes on, unharmed.
fn rivals(tape: &mut Tape) {
    let other = json!({ "root": 2 });
    for (key, client, attack, epochs) in [
        (0, "nobody", "A1", vec![4, 5]),
        (1, "nobody", "A1", vec![9]),
        (2, "nobody", "A1", vec![17]),
        (3, "backup", "A5", vec![6, 7]),
        (4, "backup", "A5", vec![12]),
        (5, "nobody", "A13", vec![3, 6, 9, 12, 15, 18, 19, 20]),
    ] {
        for epoch in epochs {
            let at = vote_ms(key, epoch) - 3_000;
            // After a refusal as before it: the contest ends, and the rule is the same.
            let label = Label::Harmful(attack, None);
            tape.with(at, client, "ATTESTATION", key, other.clone(), label);
        }
    }
}

/// A6: the keys go to the backup in a declared window, and the owner does not stop. A7: the owner
/// is cut off, the backup takes over after the lease, the owner comes back.
fn moves(tape: &mut Tape) {
    for key in [8, 9] {
        tape.votes("owner", key, 0..10, Label::Honest);
        tape.votes("backup", key, 10..14, Label::Honest);
        let back = vote_ms(key, 11) + 900;
        tape.push(back, "owner", "ATTESTATION", key, Label::Harmful("A6", None));
        tape.push(back + EPOCH_MS, "owner", "ATTESTATION", key, Label::Of("A6"));
    }
    for key in [10, 11] {
        tape.votes("owner", key, 0..7, Label::Honest);
        tape.votes("backup", key, 11..16, Label::Honest);
        let back = vote_ms(key, 13) + 900;
        tape.push(back, "owner", "ATTESTATION", key, Label::Harmful("A7", None));
        tape.push(back + EPOCH_MS, "owner", "ATTESTATION", key, Label::Of("A7"));
    }
}

/// A10: twenty proofs in a minute.
fn burst(tape: &mut Tape) {
    for nth in 0..20 {
        let at = 8 * EPOCH_MS + 2 * SLOT_MS + nth * 2_900;
        let slot = json!({ "slot": 8 * 32 + 31 - nth });
        let label = if nth < 3 {
            Label::Of("A10")
        } else {
            Label::Harmful("A10", Some("selection_budget"))
        };
        tape.with(at, "owner", "AGGREGATION_SLOT", 6, slot, label);
    }
}

/// A16 to A18: what no client may have.
fn never(tape: &mut Tape) {
    let mut one = |t_ms, kind: &str, key, more, attack, rule| {
        tape.with(t_ms, "owner", kind, key, more, Label::Harmful(attack, rule));
    };
    let later = |key, epoch| vote_ms(key, epoch) + 3_000;
    for (key, epoch) in [(12, 5), (13, 11)] {
        let far = json!({ "slot": (epoch + 2) * 32 });
        one(later(key, epoch), "ATTESTATION", key, far, "A16", Some("future_duty"));
        let fork = json!({ "with": { "/fork_info/fork/current_version": "0x99999999" } });
        one(later(key, epoch) + 1, "ATTESTATION", key, fork, "A16", None);
        let zero = format!("0x{}", "00".repeat(32));
        let network = json!({ "with": { "/fork_info/genesis_validators_root": zero } });
        one(later(key, epoch) + 2, "ATTESTATION", key, network, "A16", None);
        one(later(key, epoch) + 3, "VOLUNTARY_EXIT", key, json!({}), "A17", None);
        one(later(key, epoch) + 4, "DEPOSIT", key, json!({ "root": 9 }), "A17", None);
        let thief = json!({ "fee_recipient": "0x00000000000000000000000000000000000000bb" });
        one(
            later(key, epoch) + 5,
            "VALIDATOR_REGISTRATION",
            key,
            thief,
            "A17",
            Some("registration"),
        );
        one(later(key, epoch) + 6, "ATTESTATION", key, json!({ "root": 2 }), "A18", None);
        let around = json!({ "src": epoch as i64 - 3, "root": 2 });
        one(later(key, epoch) + 7, "ATTESTATION", key, around, "A18", None);
    }
}

fn world() -> (Case, Vec<Label>) {
    let mut tape = Tape { rows: Vec::new(), state: 4 };
    live(&mut tape, &[6, 8, 9, 10, 11]);
    tape.votes("owner", 6, 0..EPOCHS, Label::Honest); // no proofs but those of the burst
    rivals(&mut tape);
    moves(&mut tape);
    burst(&mut tape);
    never(&mut tape);
    tape.rows.sort_by_key(|(row, _)| row["t_ms"].as_u64());
    let (rows, labels): (Vec<_>, Vec<_>) = tape.rows.into_iter().unzip();
    let window = format!(
        "[[windows]]\nname = 'move'\nkind = 'rotation'\nfrom_client = 'owner'\n\
         to_client = 'backup'\nkeys = ['{{{{key:8}}}}', '{{{{key:9}}}}']\n\
         from = {{{{S+{}}}}}\nuntil = {{{{S+{}}}}}\n",
        9 * 384,
        15 * 384
    );
    let policy = format!(
        "version = 1\n[defaults]\nfee_recipients = ['{FEE_RECIPIENT}']\n\
         gas_limit = {{ min = 30000000, max = 60000000 }}\n{window}"
    );
    let case = json!({
        "name": "a small world", "keys": KEYS,
        "clients": [
            { "name": "owner", "ip": "127.0.1.1" }, { "name": "backup", "ip": "127.0.2.1" },
            { "name": "nobody", "ip": "127.0.3.1" },
        ],
        "policy": policy.lines().collect::<Vec<_>>(), "rows": rows,
    });
    (serde_json::from_value(case).expect("a case"), labels)
}

/// A row's request, its answer, and how long that took.
fn ask(stage: &mut Stage, row: &Row) -> (u16, String, Duration) {
    stage.turn(row.t_ms);
    let started = Instant::now();
    let (status, code, _) = stage.ask(row);
    (status, code, started.elapsed())
}

#[test]
fn a_small_world_over_the_wire() {
    let (case, labels) = world();
    let mut stage = Stage::set(&case);
    let (mut signed, mut attacks) = (0, Vec::new());
    let (mut answers, mut refusals) = (Vec::new(), Vec::new());
    let mut wrong = Vec::new();
    for (row, label) in case.sequence().iter().zip(&labels) {
        assert_eq!(row.expect, Expect::Sign, "labels are beside the tape, not on it");
        let (status, code, took) = ask(&mut stage, row);
        if status == 200 {
            answers.push(took)
        } else {
            refusals.push(took)
        }
        match label {
            Label::Honest if status == 200 => signed += 1,
            Label::Harmful(attack, rule)
                if (400..500).contains(&status) && rule.is_none_or(|rule| rule == code) =>
            {
                attacks.push(*attack);
            }
            Label::Of(_) => {}
            Label::Honest | Label::Harmful(..) => {
                wrong.push(format!("{label:?} {row}: {status} {code}"));
            }
        }
    }
    answers.sort();
    refusals.sort();
    let at = |times: &[Duration], share: usize| times[(times.len() - 1) * share / 100];
    println!(
        "keybench over the wire: {signed} honest requests signed, {} harmful ones refused; time \
         to a signature {:?} (99 of 100: {:?}), to a refusal {:?} ({:?})",
        attacks.len(),
        at(&answers, 50),
        at(&answers, 99),
        at(&refusals, 50),
        at(&refusals, 99)
    );
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    for attack in ["A1", "A5", "A6", "A7", "A10", "A13", "A16", "A17", "A18"] {
        assert!(attacks.contains(&attack), "{attack} did not occur");
    }
}
