use super::Random;
use crate::ShareSet;
use crate::sequential::{Cluster, KeyShares, Scope};

const USUAL: ShareSet = ShareSet(0b0111);
const ODD: ShareSet = ShareSet(0b1_0011);
const REFUSES: f32 = 21.0;

/// A cluster of three of five shares in which one signature of a hundred has another set.
struct World {
    random: Random,
    cluster: Cluster,
    keys: Vec<KeyShares>,
    slot: u64,
}

impl World {
    fn new(seed: u64, keys: usize) -> Self {
        Self {
            random: Random(seed),
            cluster: Cluster::default(),
            keys: vec![KeyShares::new(); keys],
            slot: 0,
        }
    }

    fn any(&mut self) -> ShareSet {
        let mut nodes = [0, 1, 2, 3, 4];
        self.random.shuffle(&mut nodes);
        ShareSet(nodes[..3].iter().map(|node| 1 << node).sum())
    }

    fn usual(&mut self) -> ShareSet {
        if self.random.below(100) == 0 { self.any() } else { USUAL }
    }

    fn learn(&mut self, key: usize, set: ShareSet) {
        let scope = Scope::default();
        self.keys[key].learn(key as u32, set, &mut self.cluster, self.slot, scope);
    }

    /// One epoch, in which `set` may say otherwise than usual.
    fn epoch(&mut self, set: impl Fn(usize) -> Option<ShareSet>) {
        for key in 0..self.keys.len() {
            let usual = self.usual();
            self.learn(key, set(key).unwrap_or(usual));
        }
        self.slot += 32;
    }

    fn ln_s(&self, key: usize) -> f32 {
        self.keys[key].ln_s(self.slot, Scope::default())
    }

    fn ln_s_with(&self, key: usize, set: ShareSet) -> f32 {
        self.keys[key].ln_s_with(key as u32, set, &self.cluster, self.slot, Scope::default())
    }
}

#[test]
fn another_share_for_one_key_is_noticed_at_the_seventh_signature() {
    let mut found = Vec::new();
    for seed in 0..100 {
        let mut world = World::new(seed, 200);
        for _ in 0..10 {
            world.epoch(|_| None);
        }
        let odd = (1..).find(|_| {
            let is_refused = world.ln_s_with(9, ODD) >= REFUSES;
            world.epoch(|key| (key == 9).then_some(ODD));
            is_refused
        });
        found.push(odd.expect("an end"));
    }
    // The sixth, where this very set had stood in for the usual one shortly before.
    assert!(found.iter().all(|odd| (6..=7).contains(odd)), "{found:?}");
    assert!(found.iter().filter(|odd| **odd == 7).count() >= 90, "{found:?}");
}

#[test]
fn another_share_now_and_then_is_noticed_too() {
    let mut found = Vec::new();
    for seed in 0..40 {
        let mut world = World::new(seed, 200);
        for _ in 0..10 {
            world.epoch(|_| None);
        }
        let mut odd = 0;
        while odd < 40 {
            let is_odd = world.random.below(10) == 0;
            if is_odd {
                odd += 1;
                if world.ln_s_with(9, ODD) >= REFUSES {
                    break;
                }
            }
            world.epoch(|key| (key == 9 && is_odd).then_some(ODD));
        }
        found.push(odd);
    }
    found.sort_unstable();
    assert!(found[35] <= 15, "nine of ten by the fifteenth: {found:?}");
}

#[test]
fn a_cluster_that_changes_its_shares_is_not_a_cluster_of_victims() {
    for keys in [4, 10, 50, 1_000] {
        let mut world = World::new(3, keys);
        for _ in 0..(400 / keys).max(10) {
            world.epoch(|_| None);
        }
        let mut worst = 0.0f32;
        for _ in 0..60 {
            world.epoch(|_| Some(ODD));
            worst = (0..keys).map(|key| world.ln_s(key)).fold(worst, f32::max);
        }
        assert!(worst < 6.0, "{keys} keys reached {worst}");
    }
}

#[test]
fn three_keys_are_no_cluster() {
    let mut world = World::new(4, 3);
    for _ in 0..200 {
        world.epoch(|_| None);
    }
    for _ in 0..30 {
        world.epoch(|key| (key == 0).then_some(ODD));
    }
    assert_eq!(world.ln_s(0), 0.0);
}

#[test]
fn many_sets_that_are_all_usual_are_not_odd() {
    // Seven of ten: 120 sets, more than are told apart, each as usual as the next.
    let mut world = World::new(5, 100);
    let mut worst = 0.0f32;
    for _ in 0..60 {
        for key in 0..100 {
            let mut nodes: Vec<u32> = (0..10).collect();
            world.random.shuffle(&mut nodes);
            world.learn(key, ShareSet(nodes[..7].iter().map(|node| 1 << node).sum()));
            worst = worst.max(world.ln_s(key));
        }
        world.slot += 32;
    }
    assert!(worst < 12.0, "reached {worst}");
}

#[test]
fn a_case_expires_after_two_epochs_and_with_a_break() {
    let mut world = World::new(6, 100);
    for _ in 0..10 {
        world.epoch(|_| None);
    }
    for _ in 0..8 {
        world.epoch(|key| (key == 1).then_some(ODD));
    }
    assert!(world.ln_s(1) >= REFUSES);
    let last = world.slot - 32;
    let key = &world.keys[1];
    assert!(key.ln_s(last + 64, Scope::default()) >= REFUSES);
    assert_eq!(key.ln_s(last + 65, Scope::default()), 0.0);
    assert_eq!(key.ln_s(last, Scope { since_slot: last + 1, rests: false }), 0.0);
}

#[test]
fn the_state_survives_the_disk() {
    let mut world = World::new(7, 100);
    for _ in 0..10 {
        world.epoch(|_| None);
    }
    for key in &world.keys {
        assert_eq!(KeyShares::from_bytes(&key.to_bytes()).as_ref(), Some(key));
    }
    let mut bytes = Vec::new();
    world.cluster.put(&mut bytes);
    bytes.push(0xaa);
    let mut rest = &bytes[..];
    assert_eq!(Cluster::take(&mut rest).as_ref(), Some(&world.cluster));
    assert_eq!(rest, [0xaa]);
    for end in 0..bytes.len() - 1 {
        assert_eq!(Cluster::take(&mut &bytes[..end]), None, "cut after {end}");
    }
    assert!(size_of::<KeyShares>() <= 64);
}

#[test]
fn a_long_life_loses_no_precision() {
    let mut world = World::new(8, 100);
    for _ in 0..200 {
        world.epoch(|_| None); // 20,000 events: the unit of weight was put back twice
    }
    let usual = world.cluster.probability(USUAL, 0.0, 0.0);
    assert!((0.97..=1.0).contains(&usual), "{usual}");
}
