//! The whole server: its threads, over real sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;

use super::*;

/// Starts a whole server over real sockets.
fn serve(workers: usize, limits: ServerLimits) -> (Server, Arc<AtomicU64>) {
    let finished = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&finished);
    let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listeners = vec![Listener { socket, entrance: Entrance::open() }];
    let server = Server::start(listeners, workers, limits, move |context| {
        let WorkerContext { index, bodies } = context;
        Rc::new(Probe { index, bodies, finished: Arc::clone(&counter) })
    });
    (server.unwrap(), finished)
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.local_addresses()[0]).unwrap();
    stream.set_read_timeout(Some(30 * SECOND)).unwrap();
    stream
}

/// Reads until the text ends as an answer with this body does.
fn read_answer(stream: &mut TcpStream, body: &str) {
    let mut text = Vec::new();
    let mut buf = [0; 4096];
    while !text.ends_with(format!("\r\n\r\n{body}").as_bytes()) {
        let n = stream.read(&mut buf).unwrap();
        assert!(n > 0, "closed after {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&buf[..n]);
    }
}

#[test]
fn connections_are_handed_round_to_the_workers() {
    let (server, _) = serve(2, ServerLimits::default());
    for worker in [0, 1, 0, 1] {
        let mut client = connect(&server);
        for _ in 0..3 {
            client.write_all(&get("/worker")).unwrap();
            read_answer(&mut client, &format!("worker {worker}"));
        }
    }
    assert_eq!(server.drain(SECOND), Drained::default());
}

#[test]
fn two_thousand_idle_connections_cost_the_others_nothing() {
    assert!(raise_fd_limit() > 5_000, "the test needs 4,000 files");
    let (server, _) = serve(2, ServerLimits::default());
    let stats = server.stats();
    let idle: Vec<_> = (0..2_000).map(|_| connect(&server)).collect();
    let mut active: Vec<_> = (0..4).map(|_| connect(&server)).collect();
    for _ in 0..100 {
        for client in &mut active {
            client.write_all(&get("/")).unwrap();
            read_answer(client, "ok");
        }
    }
    assert_eq!((stats.accepted.get(), stats.sum(|worker| &worker.open)), (2_004, 2_004));
    assert_eq!(stats.workers()[0].open.get(), 1_002);
    assert_eq!(stats.sum(|worker| &worker.idle), 2_004);
    assert_eq!(stats.sum(|worker| &worker.requests), 400);
    drop((idle, active));
    assert_eq!(server.drain(10 * SECOND), Drained::default());
    assert_eq!(stats.sum(|worker| &worker.open), 0);
}

/// A client that writes 20 MB without looking is refused in the middle of it. It must be able to
/// read why, although the server has not read what it wrote.
#[test]
fn a_client_that_sends_too_much_can_still_read_why() {
    let (server, _) = serve(1, ServerLimits::default());
    for _ in 0..5 {
        let mut client = connect(&server);
        client.write_all(&post("content-length: 20000000")).unwrap();
        // Most clients do not look for an answer when they could not write.
        client.write_all(&vec![b'x'; 2_000_000]).unwrap();
        read_answer(&mut client, "body_too_large");
    }
    assert_eq!(server.stats().sum(|worker| &worker.bodies_too_large), 5);
    let _ = server.drain(SECOND);
}

#[test]
fn a_server_that_drains_accepts_no_more_and_reports_what_it_finished() {
    let (server, finished) = serve(2, ServerLimits::default());
    let address = server.local_addresses()[0];
    let stats = server.stats();
    let begun = Arc::new(Barrier::new(21));
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = connect(&server);
            let begun = Arc::clone(&begun);
            std::thread::spawn(move || {
                client.write_all(&get("/slow")).unwrap();
                begun.wait();
                read_answer(&mut client, "slow");
            })
        })
        .collect();
    begun.wait();
    while stats.sum(|worker| &worker.requests) < 20 {
        std::thread::yield_now();
    }
    let Drained { finished: reported, cut } = server.drain(10 * SECOND);
    assert_eq!(cut, 0);
    // A loaded machine may have finished some before the drain began.
    assert!(reported <= 20 && finished.load(Relaxed) == 20);
    for client in clients {
        client.join().unwrap();
    }
    assert!(TcpStream::connect(address).is_err());
}
