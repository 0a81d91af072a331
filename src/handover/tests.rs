#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::line::{hear, hear_with, say, say_with};
use super::*;
use crate::control;

const TERMS: Terms = Terms { drain_timeout_ms: 100, supervised: false };
const SOON: Duration = Duration::from_secs(5);

fn listener() -> (SocketAddr, TcpListener) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    (any, TcpListener::bind(any).unwrap())
}

fn closed() -> Closed {
    Closed { stopped_boot_ns: 5_000_000, drained_ms: 1, sealed_ms: 2, finished: 3, cut: 0 }
}

/// A gate on a control socket that treats each successor as `treat` does.
fn gate(treat: impl Fn(&Ask, &UnixStream) + Send + Sync + 'static) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let never = |_: &control::Command, _: &mut dyn io::Read, _: &mut dyn io::Write| {
        control::Reply::Refused("not asked".to_owned())
    };
    control::serve(dir.path(), never, treat).unwrap();
    dir
}

#[test]
fn sockets_pass_and_connections_wait_on_them() {
    let sockets = vec![listener(), listener()];
    let bound: Vec<_> = sockets.iter().map(|(_, it)| it.local_addr().unwrap()).collect();
    // Connected before anybody accepts, and accepted by the successor.
    let client = std::net::TcpStream::connect(bound[0]).unwrap();
    let (told, heard) = std::sync::mpsc::channel();
    let dir = gate(move |ask, stream| {
        let stream = stream.try_clone().unwrap();
        let successor = Successor::offer(stream, ask, &sockets, TERMS).unwrap();
        assert!(successor.is_there());
        told.send(successor.tell_closed(closed()).unwrap()).unwrap();
    });
    let (predecessor, inherited) = Predecessor::ask(dir.path(), &Ask::of_this_process()).unwrap();
    assert_eq!(predecessor.offer().sockets.len(), 2);
    let found: Vec<_> = inherited.iter().map(|(_, it)| it.local_addr().unwrap()).collect();
    assert_eq!(found, bound);
    let (_, peer) = inherited[0].1.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(predecessor.go().unwrap(), closed());
    predecessor.tell_serving(Serving { pause_ms: 9 }).unwrap();
    assert_eq!(heard.recv().unwrap(), Serving { pause_ms: 9 });
    assert_eq!(closed().pause_ms(BootTime(12_999_999)), 7);
}

#[test]
fn nobody_refusing_and_other_versions() {
    let empty = tempfile::tempdir().unwrap();
    let ask = Ask::of_this_process();
    assert!(matches!(Predecessor::ask(empty.path(), &ask), Err(HandoverError::NoGate)));

    let offers = |ask: &Ask, stream: &UnixStream| {
        let refused = Successor::offer(stream.try_clone().unwrap(), ask, &[], TERMS);
        assert!(matches!(refused, Err(HandoverError::Protocol { ours: PROTOCOL, theirs: 9 })));
    };
    let dir = gate(offers);
    let newer = Ask { protocol: 9, ..ask.clone() };
    let refused = Predecessor::ask(dir.path(), &newer);
    let Err(HandoverError::Refused(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("version 9") && reason.contains("portcullis run"), "{reason}");

    // A gate from before there was a handover answers as it answers to any unknown command.
    let dir = gate(|_, mut stream| {
        let reply = control::Reply::Refused("not a command: unknown variant".to_owned());
        serde_json::to_writer(&mut stream, &reply).unwrap();
        io::Write::write_all(&mut stream, b"\n").unwrap();
    });
    let refused = Predecessor::ask(dir.path(), &ask);
    assert!(matches!(refused, Err(HandoverError::Refused(_))), "{refused:?}");
}

#[test]
fn a_successor_that_leaves_is_noticed_before_the_store_is_sealed() {
    let (told, heard) = std::sync::mpsc::channel();
    let dir = gate(move |ask, stream| {
        let offered = Successor::offer(stream.try_clone().unwrap(), ask, &[listener()], TERMS);
        told.send(offered).unwrap();
    });
    drop(Predecessor::ask(dir.path(), &Ask::of_this_process()).unwrap());
    assert!(matches!(heard.recv().unwrap(), Err(HandoverError::Gone)), "before the word");

    let (predecessor, _) = Predecessor::ask(dir.path(), &Ask::of_this_process()).unwrap();
    let going = std::thread::spawn(move || predecessor.go());
    let successor = heard.recv().unwrap().unwrap();
    assert!(successor.is_there());
    successor.tell_not_closed("the disk is full");
    let refused = going.join().unwrap();
    assert!(matches!(refused, Err(HandoverError::Refused(_))), "{refused:?}");
    assert!(!successor.is_there(), "it left after the word");
}

#[test]
fn what_comes_must_be_what_was_offered() {
    type Spoil = fn(&mut Offer, &mut Vec<TcpListener>);
    let cases: [(&str, Spoil); 3] = [
        ("another number", |offer, _| offer.sockets.clear()),
        ("listens elsewhere", |offer, _| offer.sockets[0].bound.set_port(1)),
        ("does not listen", |offer, sockets| {
            let client = std::net::TcpStream::connect(offer.sockets[0].bound).unwrap();
            sockets[0] = TcpListener::from(std::os::fd::OwnedFd::from(client));
        }),
    ];
    for (reason, spoil) in cases {
        let dir = gate(move |_, stream| {
            let (address, socket) = listener();
            let bound = socket.local_addr().unwrap();
            let mut sockets = vec![socket];
            let (protocol, pid) = (PROTOCOL, 1);
            let offered = vec![OfferedSocket { address, bound }];
            let version = String::new();
            let mut offer = Offer { protocol, version, pid, terms: TERMS, sockets: offered };
            spoil(&mut offer, &mut sockets);
            say_with(stream, &Word::Offer(offer), &[sockets[0].as_fd()]).unwrap();
        });
        let refused = Predecessor::ask(dir.path(), &Ask::of_this_process());
        let Err(error @ HandoverError::Sockets(_)) = refused else { panic!("{refused:?}") };
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn words_that_break_off_are_garbled_or_do_not_come() {
    let (one, other) = UnixStream::pair().unwrap();
    say(&one, &Word::Go).unwrap();
    assert!(matches!(hear(&other, SOON), Ok(Word::Go)));
    let silent = hear(&other, Duration::from_millis(1));
    assert!(matches!(silent, Err(HandoverError::Silent { .. })), "{silent:?}");
    io::Write::write_all(&mut &one, b"{\"go\":1}\n").unwrap();
    assert!(matches!(hear(&other, SOON), Err(HandoverError::NotAWord(_))));
    io::Write::write_all(&mut &one, b"\"go\"").unwrap();
    drop(one);
    assert!(matches!(hear_with(&other, SOON), Err(HandoverError::Gone)));
    assert!(matches!(say(&other, &Word::Go), Err(HandoverError::Gone)));
}
