//! What comes before the first request is bounded as the rest is.

use super::*;

const HEADER: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x07\x7f\x00\x00\x01\x12\x34\x23\x28";

/// A listener behind a balancer at the address of the tests' clients.
fn balanced() -> Arc<Entrance> {
    let open = Entrance::open();
    Arc::new(Entrance {
        name: open.name.clone(),
        clients: Arc::clone(&open.clients),
        client: None,
        tls: None,
        balancers: vec!["192.0.2.0/24".parse().unwrap()],
    })
}

fn connect(bench: &Bench, entrance: &Arc<Entrance>) -> DuplexStream {
    let (client, server) = duplex(16 << 10);
    bench.stats.open.increment();
    bench.worker.serve(server, peer(), Arc::clone(entrance));
    client
}

fn counts(bench: &Bench) -> (usize, usize) {
    let connections = bench.worker.shared().connections.borrow();
    (connections.count(Phase::Handshake), connections.count(Phase::Idle))
}

#[test]
fn a_handshake_has_a_deadline_of_its_own() {
    run(async {
        let bench = Bench::start(100, ServerLimits::default());
        let entrance = balanced();
        let mut silent = connect(&bench, &entrance);
        let mut slow = connect(&bench, &entrance);
        let mut honest = connect(&bench, &entrance);
        honest.write_all(HEADER).await.unwrap();
        assert_eq!(ask(&mut honest, &get("/")).await, expect(200, "ok"));
        assert_eq!(counts(&bench), (2, 1));
        let begun = Instant::now();
        let dripping = async {
            for byte in HEADER {
                if slow.write_all(&[*byte]).await.is_err() {
                    break;
                }
                sleep(SECOND).await;
            }
        };
        tokio::join!(dripping, closed_after(&mut silent));
        assert!(begun.elapsed() < 13 * SECOND, "{:?}", begun.elapsed());
        assert_eq!(bench.stats.handshake_timeouts.get(), 2);
        assert_eq!((counts(&bench), bench.stats.open.get()), ((0, 1), 1));
        assert_eq!(ask(&mut honest, &get("/")).await, expect(200, "ok"));
    });
}

#[test]
fn the_oldest_handshake_gives_way_and_no_connection_that_works_does() {
    run(async {
        let limits = ServerLimits { handshakes_max: 3, ..ServerLimits::default() };
        let bench = Bench::start(100, limits);
        let entrance = balanced();
        let mut honest = connect(&bench, &entrance);
        honest.write_all(HEADER).await.unwrap();
        assert_eq!(ask(&mut honest, &get("/")).await, expect(200, "ok"));
        let mut waiting: Vec<_> = (0..10).map(|_| connect(&bench, &entrance)).collect();
        for oldest in &mut waiting[..7] {
            assert!(closed_after(oldest).await < SECOND);
        }
        assert_eq!((counts(&bench), bench.stats.open.get()), ((3, 1), 4));
        for newest in &mut waiting[7..] {
            newest.write_all(HEADER).await.unwrap();
            assert_eq!(ask(newest, &get("/")).await, expect(200, "ok"));
        }
        assert_eq!(ask(&mut honest, &get("/")).await, expect(200, "ok"));
    });
}

#[test]
fn a_drain_does_not_wait_for_handshakes() {
    run(async {
        let bench = Bench::start(100, ServerLimits::default());
        let mut waiting = connect(&bench, &balanced());
        waiting.write_all(&HEADER[..5]).await.unwrap();
        sleep(Duration::from_millis(20)).await;
        bench.mail.send(Mail::Drain(5 * SECOND)).unwrap();
        let begun = Instant::now();
        closed_after(&mut waiting).await;
        let drained = bench.running.take().unwrap().await.unwrap();
        assert_eq!(drained, Drained::default());
        assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
        assert_eq!(bench.stats.open.get(), 0);
    });
}
