use std::cell::Cell;

use super::*;
use crate::upstream::UpstreamFault;

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
    let (release, gate) = tokio::sync::oneshot::channel::<()>();
    let first = map.join_or_ask(key(1), root(1), Slot(5), || {
        asked.set(asked.get() + 1);
        async {
            gate.await.ok();
            Ok(Signature([7; 96]))
        }
    });
    let twin = map.join_or_ask(key(1), root(1), Slot(5), || async { unreachable!() });
    let (first, twin, _) = tokio::join!(first, twin, async { release.send(()) });
    assert_eq!(first.0.as_ref().ok(), Some(&Signature([7; 96])));
    assert_eq!(twin.0.as_ref().ok(), Some(&Signature([7; 96])));
    assert_eq!((first.1, twin.1, asked.get()), (false, true, 1));

    let late = map.join_or_ask(key(1), root(1), Slot(7), || async { unreachable!() }).await;
    assert!(late.0.is_ok() && late.1, "kept for two slots");
    let other_root =
        map.join_or_ask(key(1), root(2), Slot(7), || async { Ok(Signature([8; 96])) }).await;
    assert_eq!(other_root.0.ok(), Some(Signature([8; 96])));
    let (_, joined) =
        map.join_or_ask(key(1), root(1), Slot(8), || async { Ok(Signature([9; 96])) }).await;
    assert!(!joined, "and no longer");
}

#[tokio::test]
async fn a_failure_is_shared_and_forgotten() {
    let map = InFlight::new(2);
    let (fault, _) = map
        .join_or_ask(key(1), root(1), Slot(1), || async { Err(UpstreamFault::UnknownKey.into()) })
        .await;
    assert!(fault.is_err());
    assert!(map.is_empty());
    let (again, joined) =
        map.join_or_ask(key(1), root(1), Slot(1), || async { Ok(Signature([1; 96])) }).await;
    assert!(again.is_ok() && !joined);
}

#[tokio::test]
async fn a_first_one_that_is_dropped_leaves_nothing_behind() {
    let map = InFlight::new(2);
    {
        let asking = map.join_or_ask(key(1), root(1), Slot(1), std::future::pending);
        tokio::pin!(asking);
        let twin = map.join_or_ask(key(1), root(1), Slot(1), || async { unreachable!() });
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
