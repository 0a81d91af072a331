//! A handover while clients shake hands.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::version::TLS13;

use super::{TLS, addresses, client_config, prepare, sign, tls};
use crate::handover::{StopAtEnd, event, successor, wait_for_more};
use crate::support::Process;

const HANDOVERS: usize = 4;

/// Each request comes over a connection of its own and is never tried again: a handshake that a
/// handover meets is finished, by the old gate or by the new one.
#[test]
fn no_new_connection_fails_in_a_handover() {
    let (mut world, authority) = prepare(TLS);
    world.start_gate();
    let address = addresses(&world).0[0];
    let config = client_config(&authority, None, &TLS13);
    let mut gate = world.gate.take();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _stop_at_end = StopAtEnd(&stop);
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let answer = sign(&world, &mut tls(&config, address), "");
                    assert_eq!(answer.expect("a request on a new connection").status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 0..HANDOVERS {
            wait_for_more(10, || answered.load(Ordering::Relaxed));
            let log = format!("successor-{number}.log");
            let child = successor(&world, "gate.toml", &log, &["--at-once"]);
            let mut old = gate.replace(Process { child, address }).unwrap();
            assert_eq!(old.child.wait().unwrap().code(), Some(0));
            event(&world, &log, "handover");
        }
    });
}
