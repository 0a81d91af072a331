#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::time::Duration;

use super::*;
use crate::upstream::UpstreamFault;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(3)
}

fn key(byte: u8) -> PublicKey {
    PublicKey([byte; 48])
}

fn root(byte: u8) -> SigningRoot {
    SigningRoot([byte; 32])
}

#[tokio::test]
async fn twins_share_one_answer_and_a_late_one_gets_it_too() {
    let map = InFlight::new(2);
    let asked = Cell::new(0);
    let (release, gate) = oneshot::channel::<()>();
    let first = map.join_or_ask(key(1), root(1), Slot(5), soon(), || {
        asked.set(asked.get() + 1);
        async {
            gate.await.ok();
            Ok(Signature([7; 96]))
        }
    });
    let twin = map.join_or_ask(key(1), root(1), Slot(5), soon(), || async { unreachable!() });
    let (first, twin, _) = tokio::join!(first, twin, async { release.send(()) });
    assert_eq!(first.0.as_ref().ok(), Some(&Signature([7; 96])));
    assert_eq!(twin.0.as_ref().ok(), Some(&Signature([7; 96])));
    assert_eq!((first.1, twin.1, asked.get()), (false, true, 1));

    let late = map.join_or_ask(key(1), root(1), Slot(7), soon(), || async { unreachable!() }).await;
    assert!(late.0.is_ok() && late.1, "kept for two slots");
    let other_root = map
        .join_or_ask(key(1), root(2), Slot(7), soon(), || async { Ok(Signature([8; 96])) })
        .await;
    assert_eq!(other_root.0.ok(), Some(Signature([8; 96])));
    let (_, joined) = map
        .join_or_ask(key(1), root(1), Slot(8), soon(), || async { Ok(Signature([9; 96])) })
        .await;
    assert!(!joined, "and no longer");
}

#[tokio::test]
async fn a_failure_is_shared_and_forgotten() {
    let map = InFlight::new(2);
    let (fault, _) = map
        .join_or_ask(key(1), root(1), Slot(1), soon(), || async {
            Err(UpstreamFault::UnknownKey.into())
        })
        .await;
    assert!(fault.is_err());
    assert!(map.is_empty());
    let (again, joined) = map
        .join_or_ask(key(1), root(1), Slot(1), soon(), || async { Ok(Signature([1; 96])) })
        .await;
    assert!(again.is_ok() && !joined);
}

/// A client that asks again when it has waited too long used to hear of the failure of its first
/// request, on a connection that hangs, and not of what a new one would have brought.
#[tokio::test(start_paused = true)]
async fn a_twin_whose_first_one_fails_for_want_of_time_asks_for_itself() {
    let map = InFlight::new(2);
    let hung = || async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Err(UpstreamFault::Status(500).into())
    };
    let first = map.join_or_ask(key(1), root(1), Slot(5), soon(), hung);
    let asked = Cell::new(0);
    let twin = || {
        let signer = || async {
            asked.set(asked.get() + 1);
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(Signature([7; 96]))
        };
        map.join_or_ask(key(1), root(1), Slot(5), soon(), signer)
    };
    let (first, one, other) = tokio::join!(first, twin(), twin());
    assert!(first.0.is_err());
    assert_eq!(one.0.ok(), Some(Signature([7; 96])));
    assert_eq!(other.0.ok(), Some(Signature([7; 96])), "and shares what it gets");
    assert_eq!(asked.get(), 1);
}

/// Nobody waits for another longer than for oneself.
#[tokio::test(start_paused = true)]
async fn a_twin_waits_until_its_own_deadline() {
    let map = InFlight::new(2);
    let first = map.join_or_ask(key(1), root(1), Slot(5), soon(), std::future::pending);
    tokio::pin!(first);
    assert!(futures_poll(first.as_mut()).await.is_none());
    let begun = Instant::now();
    let (twin, joined) =
        map.join_or_ask(key(1), root(1), Slot(5), soon(), || async { unreachable!() }).await;
    assert_eq!(twin.unwrap_err().code(), "upstream_timeout_response");
    assert!(joined);
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
}

/// A signer that refuses, or that lacks the key, has answered for all who ask.
#[tokio::test]
async fn a_verdict_of_the_signer_is_for_all_twins() {
    let map = InFlight::new(2);
    let first = map.join_or_ask(key(1), root(1), Slot(5), soon(), || async {
        tokio::task::yield_now().await;
        Err(UpstreamFault::Refused.into())
    });
    let twin = map.join_or_ask(key(1), root(1), Slot(5), soon(), || async { unreachable!() });
    let (first, twin) = tokio::join!(first, twin);
    assert_eq!(first.0.unwrap_err().code(), "upstream_refused");
    assert_eq!(twin.0.unwrap_err().code(), "upstream_refused");
}

#[tokio::test]
async fn a_first_one_that_is_dropped_leaves_nothing_behind() {
    let map = InFlight::new(2);
    {
        let asking = map.join_or_ask(key(1), root(1), Slot(1), soon(), std::future::pending);
        tokio::pin!(asking);
        let twin = map.join_or_ask(key(1), root(1), Slot(1), soon(), || async { unreachable!() });
        tokio::pin!(twin);
        assert!(futures_poll(asking.as_mut()).await.is_none());
        assert!(futures_poll(twin.as_mut()).await.is_none());
    }
    assert!(map.is_empty());
}

async fn futures_poll<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
