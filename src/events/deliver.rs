//! A task for each sink: takes what waits for it, sends it, notes what came of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Event;
use super::book::{Next, Outcome};
use super::bus::Bus;

#[cfg(test)]
mod tests;

/// Requests to one sink that go on together.
const AT_ONCE: usize = 4;
/// How often what one sink has had for a day is given up at the others.
const GIVE_UP_INTERVAL: Duration = Duration::from_secs(600);

/// Delivers to one sink; never ends.
pub(super) async fn deliver(bus: Arc<Bus>, lane: usize) {
    let mut under_way = JoinSet::new();
    let mut is_failing = false;
    loop {
        let until = loop {
            match bus.next(lane, AT_ONCE) {
                Next::Send { sequence, event, is_page } => {
                    let sink = bus.sinks[lane].clone();
                    under_way.spawn(async move {
                        let outcome = sink.send(&event).await;
                        (sequence, event, is_page, outcome)
                    });
                }
                Next::Wait(until) => break until,
            }
        };
        let forever = Instant::now() + GIVE_UP_INTERVAL;
        tokio::select! {
            Some(sent) = under_way.join_next() => {
                // A panic is a bug, and its event would stay in flight for ever: end loudly.
                let (sequence, event, is_page, outcome) = sent.expect("a sink does not panic");
                say(&bus, lane, &event, is_page, &outcome, &mut is_failing);
                bus.settle(lane, sequence, is_page, &outcome);
            }
            () = bus.rung(lane) => {}
            () = sleep_until(until.unwrap_or(forever).min(forever)) => bus.give_up_old(),
        }
    }
}

/// Says what somebody must know: each refusal, each page that was taken, and the first failure of a
/// row.
fn say(
    bus: &Bus,
    lane: usize,
    event: &Event,
    is_page: bool,
    outcome: &Outcome,
    is_failing: &mut bool,
) {
    let sink = bus.sinks[lane].settings.name.as_str();
    match outcome {
        Outcome::Accepted => {
            if std::mem::take(is_failing) {
                tracing::info!(event = "sink_works", sink, "the sink takes events again");
            }
            if is_page {
                tracing::info!(
                    event = "page_accepted",
                    sink,
                    event_id = event.id,
                    dedup_key = event.dedup_key,
                    paging = event.paging.as_str(),
                    "a page was accepted"
                );
            }
        }
        Outcome::Refused(reason) => tracing::error!(
            event = "sink_refused",
            sink,
            event_id = event.id,
            dedup_key = event.dedup_key,
            is_page,
            reason,
            "the sink refuses an event for good: look at its URL, key and token in [[events.sinks]]"
        ),
        Outcome::Failed { reason, .. } => {
            if !std::mem::replace(is_failing, true) {
                tracing::error!(
                    event = "sink_fails",
                    sink,
                    reason,
                    "the sink does not take events; pages wait on disk and are tried again"
                );
            }
        }
    }
}
