//! Handshakes that are slow, broken or random, beside clients that work.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection};

use super::authority::{Authority, Pair, Validity, self_signed};
use super::connection::{client_config, is_closed, tcp, tls};
use super::{TLS, addresses, metric, prepare, sign};
use crate::simulation::random::Random;
use crate::support::World;

/// What an honest client waits at most, on a machine that others use too.
const PROMPT: Duration = Duration::from_secs(2);
const HANDSHAKE_MS: u64 = 1_500;

struct Scene {
    world: World,
    authority: Authority,
    honest: Pair,
    address: SocketAddr,
}

fn start() -> Scene {
    let (mut world, authority) = prepare(&format!(
        "{TLS}known_clients_file = 'known.txt'\n\
         [limits]\nrequest_head_timeout_ms = {HANDSHAKE_MS}\n"
    ));
    let honest = self_signed("honest", Validity::Now);
    fs::write(world.path("known.txt"), format!("honest {}\n", honest.fingerprint())).unwrap();
    world.start_gate();
    let address = addresses(&world).0[0];
    Scene { world, authority, honest, address }
}

impl Scene {
    fn config(&self) -> Arc<ClientConfig> {
        client_config(&self.authority, Some(&self.honest), &TLS13)
    }

    /// Signs on the connection that is there, and on a new one.
    fn honest_clients_are_served(&self, kept: &mut super::connection::Tls) {
        let begun = Instant::now();
        assert_eq!(sign(&self.world, kept, "").unwrap().status, 200);
        let on_kept = begun.elapsed();
        let mut fresh = tls(&self.config(), self.address);
        assert_eq!(sign(&self.world, &mut fresh, "").unwrap().status, 200);
        assert!(begun.elapsed() < PROMPT, "{on_kept:?}, {:?}", begun.elapsed());
    }

    /// The first message of a client.
    fn hello(&self) -> Vec<u8> {
        let name = "localhost".try_into().unwrap();
        let mut client = ClientConnection::new(self.config(), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }
}

#[test]
fn handshakes_that_never_end_cost_the_others_nothing_and_are_cut() {
    let scene = start();
    let mut kept = tls(&scene.config(), scene.address);
    scene.honest_clients_are_served(&mut kept);
    let hello = scene.hello();
    let begun = Instant::now();
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|index| {
            let mut stream = tcp(scene.address);
            let sent = match index % 4 {
                0 => 0,
                1 => 1,
                2 => hello.len() / 2,
                _ => hello.len(), // and then never shows its certificate
            };
            stream.write_all(&hello[..sent]).unwrap();
            stream
        })
        .collect();
    for _ in 0..20 {
        scene.honest_clients_are_served(&mut kept);
    }
    for stream in &mut slow {
        assert!(is_closed(stream));
    }
    assert!(begun.elapsed() >= Duration::from_millis(HANDSHAKE_MS));
    scene.honest_clients_are_served(&mut kept);
    let timeouts = "portcullis_handshake_failures_total{reason=\"timeout\"}";
    assert_eq!(metric(&scene.world, timeouts), 200.0);
    super::refused_handshake(&scene.world, "timeout");
}

#[test]
fn random_and_mutated_handshakes_are_closed_and_cost_the_others_nothing() {
    let scene = start();
    let mut kept = tls(&scene.config(), scene.address);
    let hello = scene.hello();
    let mut random = Random(0x715);
    for round in 0..400 {
        let mut bytes = match round % 4 {
            0 => (0..random.below(600)).map(|_| random.next() as u8).collect(),
            _ => hello.clone(),
        };
        match round % 4 {
            1 => {
                for _ in 0..=random.below(4) {
                    let at = random.below(bytes.len() as u64) as usize;
                    bytes[at] ^= 1 << random.below(8);
                }
            }
            2 => bytes.truncate(random.below(bytes.len() as u64) as usize),
            3 => {
                let at = random.below(bytes.len() as u64) as usize;
                let noise = (0..random.below(40)).map(|_| random.next() as u8);
                bytes.splice(at..at, noise.collect::<Vec<_>>());
            }
            _ => {}
        }
        let mut stream = tcp(scene.address);
        let _ = stream.write_all(&bytes); // the gate may have had enough already
        let _ = stream.shutdown(std::net::Shutdown::Write);
        assert!(is_closed(&mut stream), "round {round}");
        if round % 20 == 0 {
            scene.honest_clients_are_served(&mut kept);
        }
    }
    scene.honest_clients_are_served(&mut kept);
    assert!(metric(&scene.world, "portcullis_handshake_failures_total{reason=\"protocol\"}") > 0.0);
    let log = scene.world.log();
    assert!(!log.contains("panicked"), "{log}");
}
