#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use tokio::io::duplex;
use tokio::task::{LocalSet, spawn_local};

use super::*;

/// Fifty handshakes have their bytes at the same moment. Between any two of them, whoever else is
/// ready has his turn.
#[test]
fn handshakes_take_turns_with_everybody_else() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let turns = Arc::new(Semaphore::new(1));
        let order = Rc::new(RefCell::new(Vec::new()));
        let handshakes: Vec<_> = (0..50)
            .map(|_| {
                let (mut client, io) = duplex(64);
                let turns = Some(Arc::clone(&turns));
                let mut paced = Paced { io, turns, turn: None, waiting: None };
                let order = Rc::clone(&order);
                spawn_local(async move {
                    client.write_all(b"hello").await.unwrap();
                    for _ in 0..2 {
                        assert!(paced.read(&mut [0; 3]).await.unwrap() > 0);
                        order.borrow_mut().push("handshake");
                    }
                })
            })
            .collect();
        let everybody_else = Rc::clone(&order);
        let others = spawn_local(async move {
            loop {
                yield_now().await;
                everybody_else.borrow_mut().push("other");
            }
        });
        for handshake in handshakes {
            handshake.await.unwrap();
        }
        others.abort();
        let order = order.borrow();
        assert_eq!(order.iter().filter(|who| **who == "handshake").count(), 100);
        assert!(!order.windows(2).any(|two| two == ["handshake", "handshake"]), "{order:?}");
    });
}

/// Who waits for its turn, or has it, and goes away, keeps nobody from his.
#[test]
fn a_turn_is_not_lost_with_its_connection() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let turns = Arc::new(Semaphore::new(1));
        let paced = |io| {
            let turns = Some(Arc::clone(&turns));
            Paced { io, turns, turn: None, waiting: None }
        };
        let held = Arc::clone(&turns).acquire_owned().await.unwrap();
        let mut ends: Vec<_> = (0..3).map(|_| duplex(64)).collect();
        let (mut client, last) = ends.pop().unwrap();
        let waiting: Vec<_> = ends
            .into_iter()
            .map(|(client, io)| {
                let mut paced = paced(io);
                spawn_local(async move {
                    let _client = client;
                    let _ = paced.read(&mut [0; 3]).await;
                })
            })
            .collect();
        let mut last = paced(last);
        let last = spawn_local(async move { last.read(&mut [0; 3]).await });
        yield_now().await;
        waiting.iter().for_each(|task| task.abort());
        drop(held);
        client.write_all(b"abc").await.unwrap();
        assert_eq!(last.await.unwrap().unwrap(), 3);
        yield_now().await;
        yield_now().await;
        assert_eq!(turns.available_permits(), 1);
    });
}

#[test]
fn every_reason_has_its_own_code() {
    let codes: BTreeSet<&str> = HandshakeError::CODES.into_iter().collect();
    assert_eq!(codes.len(), HandshakeError::CODES.len());
    let tls = |error| HandshakeError::of_tls(io::Error::other::<rustls::Error>(error)).code();
    for (error, code) in [
        (rustls::Error::NoCertificatesPresented, "no_certificate"),
        (CertificateError::UnknownIssuer.into(), "unknown_authority"),
        (CertificateError::ApplicationVerificationFailure.into(), "unknown_client"),
        (CertificateError::Revoked.into(), "revoked"),
        (CertificateError::Expired.into(), "expired"),
        (CertificateError::NotValidYet.into(), "not_yet_valid"),
        (CertificateError::BadSignature.into(), "bad_certificate"),
        (rustls::Error::AlertReceived(AlertDescription::UnknownCA), "refused_by_client"),
        (InvalidMessage::InvalidContentType.into(), "not_tls"),
        (rustls::Error::DecryptError, "protocol"),
    ] {
        assert_eq!(tls(error), code);
        assert!(codes.contains(code));
    }
    let broken = HandshakeError::of_tls(io::ErrorKind::UnexpectedEof.into());
    assert_eq!(broken.code(), "broken_off");
}
