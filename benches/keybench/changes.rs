//! The calendar's changes take place.

use crate::calendar::Action;
use crate::life::Life;

impl Life<'_> {
    /// Everything that is planned for the present slot.
    pub(crate) fn act(&mut self) {
        while let Some((slot, action)) = self.calendar.actions.get(self.next_action) {
            if *slot > self.slot {
                break;
            }
            self.next_action += 1;
            self.take_place(action);
        }
    }

    fn take_place(&mut self, action: &Action) {
        match action {
            Action::Scenario { cohort, planted, label, host } => {
                let cohort = &mut self.cohorts[usize::from(*cohort)];
                (cohort.label, cohort.planted, cohort.marks) = (*label, *planted, *host);
            }
            Action::Move { keys, host, silent_until } => {
                for key in keys.clone() {
                    let key = &mut self.keys[key as usize];
                    (key.home, key.silent_until) = (*host, *silent_until);
                }
            }
            Action::Dialect { host, dialect } => {
                self.hosts[usize::from(*host)].host.source.dialect = *dialect;
            }
            Action::ThirdPrefix { cohort, is_used } => {
                self.cohorts[usize::from(*cohort)].is_third_used = *is_used;
            }
            Action::SignAgain { cohort, of } => self.sign_again(*cohort, *of),
            Action::Register { cohort } => self.register(*cohort),
            Action::Delay { host, ms, spread_ms } => {
                let host = &mut self.hosts[usize::from(*host)];
                (host.delay_ms, host.spread_ms) = (*ms, *spread_ms);
            }
            Action::GateClock { planted, ms } => {
                (self.clock_planted, self.clock_ms) = (*planted, *ms);
            }
            Action::Shares { cohort, set } => self.cohorts[usize::from(*cohort)].set = *set,
            Action::Join { keys } => {
                for key in keys.clone() {
                    self.keys[key as usize].is_here = true;
                }
            }
            Action::GateDown { planted, until } => self.down = Some((*planted, *until)),
            Action::LateBlocks { planted } => self.late_blocks = *planted,
            Action::NoFinality { planted } => {
                self.no_finality = planted.map(|planted| (planted, self.justified()));
            }
            Action::Reorg { planted } => self.prove_again(*planted),
            Action::Ask { key, message, planted } => {
                self.occurred[*planted as usize] += 1;
                let at = 6_000.0 + self.draw.between(0.0, 4_000.0);
                let label = self.label_of(*key, self.keys[*key as usize].home);
                let source = self.source_of(self.keys[*key as usize].home);
                self.ask(*key, source, at, *message, label);
            }
            Action::Attack { attack } => self.active.push(*attack),
            Action::KeyDelay { key, ms } => self.keys[*key as usize].delay_ms = *ms,
            Action::Victim { keys, attack, until } => {
                for key in keys.clone() {
                    let key = &mut self.keys[key as usize];
                    // An attack that goes on for days outlasts one on the whole source.
                    if *until > key.victim_until {
                        (key.victim, key.victim_until) = (*attack, *until);
                    }
                }
            }
        }
    }
}
