//! Each rule: it fires, and on its benign hazard it does not.

use crate::scene::{Scene, attestation, moment, says, source};
use crate::{ClientIndex, Decision, DutyType, Enrolment, GroupIndex, Header, Level, Message, Mode};
use crate::{KeySet, Permission, Rule, Verdict, Window, WindowId, WindowKind};

#[track_caller]
fn refused_by(decision: &Decision, rule: Rule) {
    assert_eq!(decision.verdict, Verdict::Refuse, "{decision:?}");
    let refusal = decision.refusal().expect("a refusal names its rule");
    assert_eq!(refusal.rule, rule, "{decision:?}");
    let evidence = &refusal.evidence;
    assert!(!evidence.observed.is_empty() && !evidence.expected.is_empty(), "{evidence:?}");
}

#[track_caller]
fn silent(decision: &Decision) {
    assert_eq!(decision.findings, vec![]);
    assert_eq!((decision.verdict, decision.level), (Verdict::Allow, Level::Observe));
}

#[track_caller]
fn alerts(decision: &Decision, rule: Rule) {
    assert_eq!((decision.verdict, decision.level), (Verdict::Allow, Level::Alert));
    assert!(says(decision, rule), "{decision:?}");
}

fn window(kind: WindowKind, from_slot: u64, until_slot: u64) -> Window {
    Window {
        id: WindowId::default(),
        name: "w".to_owned(),
        kind,
        groups: vec![GroupIndex(0)],
        keys: KeySet::default(),
        from_ms: moment(from_slot, 0).unix_ms,
        until_ms: moment(until_slot, 0).unix_ms,
    }
}

#[test]
fn an_explicit_denial_wins_over_a_permission() {
    let mut scene = Scene::new();
    let all = u16::MAX;
    let client = Some(ClientIndex(0));
    scene.group().permissions = vec![Permission { client, duties: all, allow: true }];
    silent(&scene.attest(1, 0, 100));
    refused_by(&scene.attest(2, 1, 100), Rule::ClientPermission); // no line names it
    let exits = DutyType::VoluntaryExit.bit() | DutyType::Block.bit();
    scene.group().permissions.insert(0, Permission { client: None, duties: exits, allow: false });
    silent(&scene.attest(1, 0, 132));
    let block = Message::Block { slot: 133, header: Header::default() };
    refused_by(&scene.ask(1, 0, 133, block), Rule::ClientPermission);
}

#[test]
fn a_mode_decides_whether_a_rule_looks_says_or_refuses() {
    let mut scene = Scene::new();
    scene.policy.clients[0].prefixes = vec![1];
    refused_by(&scene.attest(1, 0, 100), Rule::CertificateAddress);
    scene.group().modes[Rule::CertificateAddress as usize] = Mode::Monitor;
    let watched = scene.attest(1, 0, 100);
    alerts(&watched, Rule::CertificateAddress);
    assert!(watched.refusal().is_none());
    scene.group().modes[Rule::CertificateAddress as usize] = Mode::Off;
    silent(&scene.attest(1, 0, 100));
}

#[test]
fn what_refuses_comes_before_what_is_only_watched() {
    let mut scene = Scene::new();
    scene.policy.clients[0].prefixes = vec![1];
    scene.group().modes[Rule::CertificateAddress as usize] = Mode::Monitor;
    let header = Header { zero_parent_root: true, ..Header::default() };
    let decision = scene.ask(1, 0, 100, Message::Block { slot: 100, header });
    let rules: Vec<Rule> = decision.findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, [Rule::HeaderSanity, Rule::CertificateAddress]);
}

#[test]
fn a_bound_certificate_comes_from_its_network() {
    let mut scene = Scene::new();
    scene.policy.clients[0].prefixes = vec![source(0).prefix];
    silent(&scene.attest(1, 0, 100));
    let stolen = crate::Source { prefix: 0x77, ..source(0) };
    let seen = scene.seen(1, stolen, moment(132, 4_000), attestation(132));
    refused_by(&scene.play(&seen), Rule::CertificateAddress);
}

#[test]
fn a_credential_of_400_days_ago_is_dormant_and_a_new_one_is_not() {
    let mut scene = Scene::new();
    scene.policy.clients[0].dormant_after_days = Some(90);
    silent(&scene.attest(1, 0, 100)); // new
    let days = |days: u64| 100 + days * 7_200;
    silent(&scene.attest(1, 0, days(89)));
    refused_by(&scene.attest(1, 0, days(89 + 400)), Rule::DormantCredential);
}

#[test]
fn strict_enrolment_refuses_the_unenrolled_and_learning_does_not() {
    let mut scene = Scene::new();
    scene.group().enrolled = vec![(ClientIndex(0), vec![source(0).prefix])];
    silent(&scene.attest(2, 1, 100));
    scene.group().enrolment = Enrolment::Strict;
    silent(&scene.attest(1, 0, 100));
    refused_by(&scene.attest(3, 1, 100), Rule::SourceEnrolment);
    let elsewhere = crate::Source { prefix: 0x77, ..source(0) };
    let seen = scene.seen(1, elsewhere, moment(132, 4_000), attestation(132));
    refused_by(&scene.play(&seen), Rule::SourceEnrolment);
}

#[test]
fn a_header_of_zeros_is_refused() {
    let mut scene = Scene::new();
    for zeros in [
        Header { zero_parent_root: true, ..Header::default() },
        Header { zero_state_root: true, ..Header::default() },
        Header { zero_body_root: true, ..Header::default() },
    ] {
        let block = Message::Block { slot: 100, header: zeros };
        refused_by(&scene.ask(1, 0, 100, block), Rule::HeaderSanity);
    }
    silent(&scene.ask(1, 0, 100, Message::Block { slot: 100, header: Header::default() }));
}

#[test]
fn a_block_is_of_this_slot_or_late_by_one() {
    let mut scene = Scene::new();
    let block = |slot| Message::Block { slot, header: Header::default() };
    silent(&scene.ask(1, 0, 100, block(100)));
    alerts(&scene.ask(1, 0, 101, block(100)), Rule::BlockWindow);
    refused_by(&scene.ask(1, 0, 102, block(100)), Rule::BlockWindow);
    refused_by(&scene.ask(1, 0, 100, block(101)), Rule::BlockWindow);
    // The clocks of gate and client may each be half a second off.
    let early = scene.seen(1, source(0), moment(102, 11_100), block(103));
    silent(&scene.play(&early));
}

#[test]
fn the_fee_recipient_of_a_block_is_looked_at_where_it_shows() {
    let mut scene = Scene::new();
    scene.group().fee_recipients = vec![[1; 20]];
    let ask =
        |scene: &mut Scene, slot, header| scene.ask(1, 0, slot, Message::Block { slot, header });
    let thief = Header { fee_recipient: Some([2; 20]), ..Header::default() };
    refused_by(&ask(&mut scene, 100, thief), Rule::BlockFeeRecipient);
    let own = Header { fee_recipient: Some([1; 20]), ..Header::default() };
    silent(&ask(&mut scene, 101, own));
    let lie = Header { fee_recipient: Some([1; 20]), has_broken_proof: true, ..Header::default() };
    refused_by(&ask(&mut scene, 102, lie), Rule::BlockFeeRecipient);
    silent(&ask(&mut scene, 103, Header::default())); // cannot be seen
    scene.group().require_block_proofs = true;
    refused_by(&ask(&mut scene, 104, Header::default()), Rule::BlockFeeRecipient);
}

#[test]
fn a_reveal_is_of_this_epoch_or_of_the_next_when_it_is_about_to_begin() {
    let mut scene = Scene::new();
    let reveal = |epoch| Message::RandaoReveal { epoch };
    silent(&scene.ask(1, 0, 100, reveal(3)));
    refused_by(&scene.ask(1, 0, 100, reveal(4)), Rule::RandaoWindow);
    refused_by(&scene.ask(1, 0, 125, reveal(4)), Rule::RandaoWindow);
    silent(&scene.ask(1, 0, 126, reveal(4)));
    alerts(&scene.ask(1, 0, 128, reveal(3)), Rule::RandaoWindow);
    refused_by(&scene.ask(1, 0, 129, reveal(3)), Rule::RandaoWindow);
}

#[test]
fn the_fourth_selection_slot_of_an_epoch_is_one_too_many() {
    let mut scene = Scene::new();
    let proof = |slot| Message::SelectionProof { slot };
    for slot in [101, 105, 109] {
        silent(&scene.ask(1, 0, 100, proof(slot))); // a reorg moves duties: not one, but three
    }
    refused_by(&scene.ask(1, 0, 100, proof(110)), Rule::SelectionBudget);
    silent(&scene.ask(1, 0, 100, proof(105))); // several beacon nodes ask for the same
    silent(&scene.ask(1, 0, 100, proof(130))); // the next epoch has its own
    refused_by(&scene.ask(1, 0, 100, proof(98)), Rule::SelectionBudget);
    refused_by(&scene.ask(1, 0, 100, proof(165)), Rule::SelectionBudget);
    silent(&scene.ask(1, 0, 164, proof(163)));
}

#[test]
fn an_aggregate_without_its_proof_is_said_and_never_refused() {
    let mut scene = Scene::new();
    scene.group().modes[Rule::AggregateWithoutProof as usize] = Mode::Enforce;
    silent(&scene.ask(1, 0, 94, Message::SelectionProof { slot: 100 })); // an epoch before
    silent(&scene.ask(1, 0, 100, Message::AggregateAndProof { slot: 100 }));
    alerts(
        &scene.ask(1, 0, 101, Message::AggregateAndProof { slot: 101 }),
        Rule::AggregateWithoutProof,
    );
}

#[test]
fn sync_messages_keep_to_their_slot_and_contributions_to_their_proof() {
    let mut scene = Scene::new();
    silent(&scene.ask(1, 0, 100, Message::SyncMessage { slot: 100 }));
    silent(&scene.ask(1, 0, 101, Message::SyncMessage { slot: 100 }));
    refused_by(&scene.ask(1, 0, 102, Message::SyncMessage { slot: 100 }), Rule::SyncWindow);
    refused_by(&scene.ask(1, 0, 102, Message::SyncMessage { slot: 103 }), Rule::SyncWindow);
    silent(&scene.ask(1, 0, 102, Message::SyncSelectionProof { slot: 104 }));
    silent(&scene.ask(1, 0, 104, Message::SyncContribution { slot: 104 }));
    alerts(&scene.ask(1, 0, 105, Message::SyncContribution { slot: 105 }), Rule::SyncWindow);
}

#[test]
fn a_lagging_source_is_held_against_the_fleet() {
    let mut scene = Scene::new();
    let vote = |slot: u64, lag: u64| Message::Attestation {
        slot,
        source_epoch: slot / 32 - lag,
        target_epoch: slot / 32,
        index: 0,
        head: 1,
    };
    // Nothing is finalised for ten epochs: all lag, and nobody is told off for it.
    for slot in 640..704 {
        for key in 0..4 {
            silent(&scene.ask(key + 4 * (slot % 32) as u32, 0, slot, vote(slot, 10)));
        }
        scene.engine.tick(&scene.policy, moment(slot, 11_000));
    }
    silent(&scene.ask(0, 0, 704, vote(704, 12)));
    alerts(&scene.ask(1, 0, 704, vote(704, 13)), Rule::SourceLag);
}

#[test]
fn registrations_are_judged_by_what_they_say() {
    let mut scene = Scene::new();
    scene.group().fee_recipients = vec![[1; 20]];
    scene.group().gas_limit = Some((30_000_000, 60_000_000));
    let now_s = moment(100, 4_000).unix_ms / 1000;
    let registration = |fee: u8, gas_limit, timestamp_s| Message::Registration {
        fee_recipient: [fee; 20],
        gas_limit,
        timestamp_s,
    };
    let fine = 36_000_000;
    silent(&scene.ask(1, 0, 100, registration(1, fine, now_s)));
    refused_by(&scene.ask(1, 0, 100, registration(2, fine, now_s)), Rule::Registration);
    refused_by(&scene.ask(1, 0, 100, registration(1, 1, now_s)), Rule::Registration);
    refused_by(&scene.ask(1, 0, 100, registration(1, fine, now_s + 11)), Rule::Registration);
    alerts(&scene.ask(1, 0, 100, registration(1, fine, now_s - 60)), Rule::Registration);
    for again in 0..20 {
        // Each restart brings a new time: a storm of them is no evidence.
        silent(&scene.ask(1, 0, 100, registration(1, fine, now_s + again / 4)));
    }
}

#[test]
fn an_exit_needs_a_window_and_a_client_and_keeps_to_the_day() {
    let mut scene = Scene::new();
    let exit = Message::VoluntaryExit { epoch: 3 };
    scene.group().exit_clients = vec![ClientIndex(2)];
    scene.group().exits_daily_max = 2;
    refused_by(&scene.ask(1, 2, 100, exit), Rule::ExitWindow);
    scene.policy.windows = vec![window(WindowKind::Exits, 90, 20_000)];
    refused_by(&scene.ask(1, 0, 100, exit), Rule::ExitWindow);
    silent(&scene.attest(1, 0, 100)); // its duties go on
    silent(&scene.ask(1, 2, 100, exit)); // and the exit needs no lease
    let again = scene.seen(2, source(2), moment(101, 0), exit);
    silent(&scene.play(&again));
    silent(&scene.play(&again)); // the same exit again is the same exit
    refused_by(&scene.ask(3, 2, 102, exit), Rule::ExitDailyMax);
    silent(&scene.ask(3, 2, 102 + 7_200, exit)); // the next day
    silent(&scene.attest(1, 0, 132)); // the lease stayed where it was
}

#[test]
fn a_deposit_goes_to_own_credentials_and_goes_once() {
    let mut scene = Scene::new();
    let deposit = |first: u8| Message::Deposit {
        withdrawal_credentials: [first; 32],
        amount_gwei: 32_000_000_000,
    };
    refused_by(&scene.ask(1, 0, 100, deposit(1)), Rule::DepositCredentials); // none is listed
    scene.group().withdrawal_credentials = vec![[1; 32], [2; 32]];
    refused_by(&scene.ask(1, 0, 100, deposit(3)), Rule::DepositCredentials);
    let own = scene.seen(2, source(0), moment(100, 0), deposit(1));
    silent(&scene.play(&own));
    silent(&scene.play(&own));
    refused_by(&scene.ask(2, 0, 101, deposit(2)), Rule::DepositCredentials);
    scene.policy.windows = vec![window(WindowKind::Deposits, 90, 200)];
    silent(&scene.ask(2, 0, 102, deposit(2))); // topped up with compounding credentials
}

#[test]
fn a_budget_counts_distinct_roots_of_an_epoch() {
    let mut scene = Scene::new();
    scene.group().budgets[DutyType::AggregateAndProof as usize] = 2;
    scene.group().modes[Rule::AggregateWithoutProof as usize] = Mode::Off;
    let aggregate = Message::AggregateAndProof { slot: 100 };
    let first = scene.seen(1, source(0), moment(100, 8_000), aggregate);
    for _ in 0..5 {
        silent(&scene.play(&first)); // asked for by several beacon nodes
    }
    silent(&scene.ask(1, 0, 100, aggregate));
    refused_by(&scene.ask(1, 0, 100, aggregate), Rule::DutyBudget);
    silent(&scene.play(&first));
    silent(&scene.ask(1, 0, 128, Message::AggregateAndProof { slot: 128 }));
}

#[test]
fn more_keys_in_the_sync_committee_than_chance_allows_is_said_once_a_period() {
    let mut scene = Scene::new();
    scene.policy.chain.active_validators = Some(1_000_000);
    let mut play = |committee: u32, from: u64| {
        let mut alarms = 0;
        for key in 0..200 {
            scene.attest(key, 0, from);
            if key < committee {
                scene.ask(key, 0, from, Message::SyncMessage { slot: from });
            }
        }
        for slot in from..from + 3 {
            alarms += scene.engine.tick(&scene.policy, moment(slot, 11_000)).len();
        }
        alarms
    };
    assert_eq!(play(2, 32), 0); // two where 0.1 are usual: luck
    assert_eq!(play(20, 256 * 32), 1);
}
