use super::*;

const COMMIT: Duration = Duration::from_micros(200);

/// Plays a recorder on which records arrive at these times, and what a commit releases may bring
/// next ones. Gives the sizes of the batches.
struct Play {
    pace: Pace,
    now: Duration,
    batches: Vec<usize>,
}

impl Play {
    fn new() -> Self {
        Self { pace: Pace::default(), now: Duration::ZERO, batches: Vec::new() }
    }

    /// Records arrive in the order of `arrivals`, whatever is done with them.
    fn open(&mut self, arrivals: impl IntoIterator<Item = Duration>) {
        let mut arrivals = arrivals.into_iter().peekable();
        while let Some(first) = arrivals.next() {
            self.now = self.now.max(first);
            let mut batch = 1;
            while let Some(next) = arrivals.peek() {
                let may_wait = batch < self.pace.enough() && self.now < self.pace.until();
                if *next <= self.now {
                    batch += 1;
                } else if may_wait && *next < self.pace.until() {
                    self.now = *next;
                    batch += 1;
                } else {
                    if may_wait {
                        self.now = self.pace.until();
                    }
                    break;
                }
                arrivals.next();
            }
            self.now += COMMIT;
            self.pace.committed(batch, COMMIT, self.now);
            self.batches.push(batch);
        }
    }

    /// So many clients of which each asks again some time after its answer.
    fn closed(&mut self, clients: usize, away: Duration, commits: usize) {
        for _ in 0..commits {
            // All come back together, at worst.
            self.now += away;
            if clients < self.pace.enough() && self.now < self.pace.until() {
                self.now = self.pace.until();
            }
            self.now += COMMIT;
            self.pace.committed(clients, COMMIT, self.now);
            self.batches.push(clients);
        }
    }
}

#[test]
fn an_idle_recorder_commits_at_once() {
    let mut pace = Pace::default();
    assert_eq!((pace.until(), pace.enough()), (Duration::ZERO, 1));
    for number in 0..100 {
        let now = Duration::from_secs(number);
        assert!(pace.until() <= now, "nothing is left of the pause after a second");
        pace.committed(1, COMMIT, now);
    }
}

#[test]
fn requests_in_single_file_are_not_held_up_but_for_the_trials() {
    let mut play = Play::new();
    play.closed(1, COMMIT / 4, 1_000);
    let at_best = (COMMIT + COMMIT / 4) * 1_000;
    assert!(play.now < at_best * 105 / 100, "{:?} in place of {at_best:?}", play.now);
}

#[test]
fn a_steady_stream_shares_commits() {
    let mut play = Play::new();
    // Some 5,000 a second: without a pause each would have a commit of its own.
    play.open((0..5_000).map(|number| Duration::from_micros(190) * number));
    let commits = play.batches.len();
    assert!(commits < 5_000 / 2, "{commits} commits for 5,000 records");
}

#[test]
fn few_clients_that_all_wait_are_not_held_up_but_for_the_trials() {
    let mut play = Play::new();
    let away = COMMIT / 2;
    play.closed(4, away, 1_000);
    let at_best = (COMMIT + away) * 1_000;
    assert!(play.now < at_best * 115 / 100, "{:?} in place of {at_best:?}", play.now);
}

#[test]
fn a_slow_disk_makes_nobody_wait_longer_than_the_bound() {
    let mut pace = Pace::default();
    let (took, ended) = (Duration::from_millis(20), Duration::from_secs(1));
    pace.committed(2, took, ended);
    assert_eq!(pace.until() - ended, PAUSE_MAX);
}

#[test]
fn company_that_stays_away_is_forgotten() {
    let mut play = Play::new();
    play.closed(64, COMMIT, 8);
    play.closed(4, COMMIT, 160);
    assert_eq!(play.pace.company, 4);
}
