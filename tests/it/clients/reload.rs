//! Files that change under a gate that runs.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use rustls::version::TLS13;

use super::authority::{Validity, self_signed};
use super::connection::{client_config, shown, tls};
use super::{TLS, addresses, ask, logged, metric, prepare, sign};
use crate::support::World;

fn hang_up(world: &World) {
    let gate = world.gate.as_ref().unwrap().child.id();
    let gate = Pid::from_raw(gate.try_into().unwrap()).unwrap();
    kill_process(gate, Signal::HUP).unwrap();
}

fn reloads(world: &World, event: &str) -> usize {
    world.log().matches(&format!("\"event\":\"{event}\"")).count()
}

/// Sends SIGHUP, and waits until one more `event` is in the log.
fn reload(world: &World, event: &str) {
    let before = reloads(world, event);
    hang_up(world);
    logged(world, |_| reloads(world, event) > before);
}

#[test]
fn a_new_certificate_and_a_client_struck_out_hold_at_once() {
    let (mut world, authority) = prepare(&format!("{TLS}known_clients_file = 'known.txt'\n"));
    let (stays, goes) = (self_signed("stays", Validity::Now), self_signed("goes", Validity::Now));
    let comes = self_signed("comes", Validity::Now);
    let line = |pair: &super::Pair, name: &str| format!("{name} {}\n", pair.fingerprint());
    fs::write(world.path("known.txt"), line(&stays, "stays") + &line(&goes, "goes")).unwrap();
    world.start_gate();
    let address = addresses(&world).0[0];
    let connect = |pair| tls(&client_config(&authority, Some(pair), &TLS13), address);
    let (mut of_stays, mut of_goes) = (connect(&stays), connect(&goes));
    for stream in [&mut of_stays, &mut of_goes] {
        assert_eq!(sign(&world, stream, "").unwrap().status, 200);
    }
    let first = shown(&of_stays);

    authority.signs("gate", Validity::Now, 2000).write(&world, "gate");
    fs::write(world.path("known.txt"), line(&stays, "stays") + &line(&comes, "comes")).unwrap();
    reload(&world, "access_reloaded");
    assert_eq!(sign(&world, &mut of_stays, "").unwrap().status, 200);
    let refused = sign(&world, &mut of_goes, "").unwrap();
    let code = refused.code();
    assert_eq!((refused.status, code.as_str()), (403, "client_certificate_withdrawn"));
    assert!(sign(&world, &mut of_goes, "").is_err(), "the connection is closed");
    assert!(sign(&world, &mut connect(&goes), "").is_err());
    let mut of_comes = connect(&comes);
    assert_eq!(sign(&world, &mut of_comes, "").unwrap().status, 200);
    assert_ne!(shown(&of_comes), first);

    // A file that cannot be used changes nothing, and is told of.
    fs::write(world.path("known.txt"), "goes AA:BB\n").unwrap();
    authority.signs("gate", Validity::Now, 3000).write(&world, "gate");
    reload(&world, "access_not_reloaded");
    let told = logged(&world, |entry| entry["event"] == "access_not_reloaded");
    assert!(told["reason"].as_str().unwrap().contains("known.txt: line 1"), "{told}");
    assert_eq!(metric(&world, "portcullis_access_files_broken"), 1.0);
    let mut again = connect(&comes);
    assert_eq!(sign(&world, &mut again, "").unwrap().status, 200);
    assert_eq!(shown(&again), shown(&of_comes), "all or nothing");
    assert_eq!(sign(&world, &mut of_stays, "").unwrap().status, 200);
}

/// Nobody sends a signal: a secret that is renewed by a machine is seen all the same.
#[test]
fn a_file_that_changes_is_read_again() {
    let (mut world, authority) = prepare(&format!(
        "{TLS}[[clients]]\nname = 'teku'\nuser = 'teku'\npassword_file = 'teku.password'\n"
    ));
    fs::write(world.path("teku.password"), "first").unwrap();
    world.start_gate();
    let mut stream = tls(&client_config(&authority, None, &TLS13), addresses(&world).0[0]);
    let (first, second) = (super::basic("teku:first"), super::basic("teku:second"));
    assert_eq!(sign(&world, &mut stream, &first).unwrap().status, 200);
    fs::write(world.path("new.password"), "second").unwrap();
    fs::rename(world.path("new.password"), world.path("teku.password")).unwrap();
    logged(&world, |_| reloads(&world, "access_reloaded") == 1);
    assert_eq!(sign(&world, &mut stream, &first).unwrap().status, 401);
    assert_eq!(sign(&world, &mut stream, &second).unwrap().status, 200);
    assert_eq!(ask(&mut stream, "GET /upcheck", "", "").unwrap().status, 200);
}
