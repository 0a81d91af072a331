//! The client against real sockets, with an upstream that does as it is told.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::Instant;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\nok";

/// One request as it reached the upstream, and the connection to answer it on.
struct Asked {
    text: String,
    connection: usize,
    reply: UnboundedSender<Reply>,
}

enum Reply {
    Send(String),
    Close,
}

impl Asked {
    fn answer(&self, text: &str) {
        self.reply.send(Reply::Send(text.to_owned())).unwrap();
    }

    fn close(&self) {
        self.reply.send(Reply::Close).unwrap();
    }

    fn path(&self) -> &str {
        self.text.split(' ').nth(1).unwrap()
    }
}

/// An upstream that holds every request until the test answers it.
struct Upstream {
    authority: String,
    asked: UnboundedReceiver<Asked>,
    connections: Rc<RefCell<usize>>,
}

impl Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let (ask, asked) = unbounded_channel();
        let connections = Rc::new(RefCell::new(0));
        let count = Rc::clone(&connections);
        spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let connection = *count.borrow();
                *count.borrow_mut() += 1;
                spawn_local(serve(stream, connection, ask.clone()));
            }
        });
        Self { authority, asked, connections }
    }

    async fn next(&mut self) -> Asked {
        self.asked.recv().await.unwrap()
    }

    fn client(&self, connections_max: usize) -> Rc<Client> {
        Client::new(self.config(connections_max)).unwrap()
    }

    fn config(&self, connections_max: usize) -> ClientConfig {
        ClientConfig {
            authority: self.authority.clone(),
            tls: None,
            path_prefix: String::new(),
            connections_max,
            waiting_max: 100,
            idle_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(1),
            class_percents: [100, 95, 85, 70, 40],
        }
    }
}

async fn serve(mut stream: TcpStream, connection: usize, ask: UnboundedSender<Asked>) {
    let (reply, mut replies) = unbounded_channel();
    let mut text = Vec::new();
    loop {
        let mut buf = [0; 4096];
        tokio::select! {
            read = stream.read(&mut buf) => match read {
                Ok(0) | Err(_) => return,
                Ok(n) => text.extend_from_slice(&buf[..n]),
            },
            Some(reply) = replies.recv() => match reply {
                Reply::Send(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                Reply::Close => return,
            },
        }
        while let Some(request) = take_request(&mut text) {
            let _ = ask.send(Asked { text: request, connection, reply: reply.clone() });
        }
    }
}

fn take_request(text: &mut Vec<u8>) -> Option<String> {
    let string = String::from_utf8(text.clone()).unwrap();
    let head = string.find("\r\n\r\n")? + 4;
    let length = string[..head].split("content-length: ").nth(1);
    let length: usize =
        length.map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
    let request = string.get(..head + length)?.to_owned();
    text.drain(..head + length);
    Some(request)
}

fn call(class: usize, path: &str) -> Call {
    Call {
        class: Class::new(class),
        method: Method::POST,
        path: path.to_owned(),
        accept: HeaderValue::from_static("application/json"),
        content_type: Some(HeaderValue::from_static("application/json")),
        body: Bytes::from_static(b"{}"),
        trace: None,
        deadline: Instant::now() + Duration::from_secs(10),
        response_bytes_max: 64 << 10,
    }
}

fn send(client: &Rc<Client>, call: Call) -> JoinHandle<Result<Response, UpstreamError>> {
    let client = Rc::clone(client);
    spawn_local(async move { client.send(call).await })
}

/// Lets every task run until it waits, for tests that look at what has not happened: paused time
/// moves only when there is nothing else to do.
async fn settle() {
    for _ in 0..5 {
        sleep(Duration::from_millis(1)).await;
    }
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    LocalSet::new().block_on(&runtime.unwrap(), test);
}

#[test]
fn sends_what_was_asked_and_reuses_the_connection() {
    run(async {
        let mut upstream = Upstream::start().await;
        let mut config = upstream.config(4);
        config.path_prefix = "/prefix".to_owned();
        let client = Client::new(config).unwrap();
        for _ in 0..10 {
            let answer = send(&client, call(0, "/api/v1/eth2/sign/0x1"));
            let asked = upstream.next().await;
            assert!(asked.text.starts_with("POST /prefix/api/v1/eth2/sign/0x1 HTTP/1.1\r\n"));
            let host = format!("host: {}\r\n", upstream.authority);
            for header in [&host, "accept: application/json\r\n", "content-length: 2\r\n"] {
                assert!(asked.text.contains(header), "{header} in {}", asked.text);
            }
            assert!(asked.text.ends_with("\r\n\r\n{}"));
            asked.answer(OK);
            let response = answer.await.unwrap().unwrap();
            assert_eq!((response.status, &response.body[..]), (200, &b"ok"[..]));
            assert_eq!(response.content_type.unwrap(), "application/json");
        }
        assert_eq!(*upstream.connections.borrow(), 1);
        let stats = client.stats();
        assert_eq!((get(&stats.connects), get(&stats.reuses), get(&stats.idle)), (1, 9, 1));
    });
}

/// A keep-alive race: the upstream closes an idle connection while a request is on its way.
#[test]
fn repeats_once_on_a_fresh_connection_when_a_reused_one_ends() {
    run(async {
        let mut upstream = Upstream::start().await;
        let client = upstream.client(4);
        let first = send(&client, call(0, "/first"));
        upstream.next().await.answer(OK);
        first.await.unwrap().unwrap();

        let second = send(&client, call(0, "/second"));
        let stale = upstream.next().await;
        stale.close();
        let fresh = upstream.next().await;
        assert_eq!((stale.connection, fresh.connection), (0, 1));
        assert_eq!(stale.text, fresh.text, "the same bytes");
        fresh.close();
        let error = second.await.unwrap().unwrap_err();
        assert_eq!(error.code(), "upstream_reset", "the fresh one's end is final");
        assert_eq!(get(&client.stats().retries), 1);
        assert_eq!(*upstream.connections.borrow(), 2);
    });
}

#[test]
fn notices_before_sending_that_the_upstream_closed_an_idle_connection() {
    run(async {
        let mut upstream = Upstream::start().await;
        let client = upstream.client(4);
        let first = send(&client, call(0, "/"));
        let asked = upstream.next().await;
        asked.answer(OK);
        first.await.unwrap().unwrap();
        asked.close();
        settle().await;
        let second = send(&client, call(0, "/"));
        upstream.next().await.answer(OK);
        second.await.unwrap().unwrap();
        let stats = client.stats();
        assert_eq!((get(&stats.retries), get(&stats.connects)), (0, 2));
    });
}

#[test]
fn does_not_repeat_on_a_fresh_connection_nor_after_the_answer_began() {
    run(async {
        let mut upstream = Upstream::start().await;
        let client = upstream.client(4);
        let answer = send(&client, call(0, "/"));
        upstream.next().await.close();
        assert_eq!(answer.await.unwrap().unwrap_err().code(), "upstream_reset");

        let answer = send(&client, call(0, "/"));
        upstream.next().await.answer(OK);
        answer.await.unwrap().unwrap();
        let answer = send(&client, call(0, "/"));
        let reused = upstream.next().await;
        reused.answer("HTTP/1.1 200 OK\r\ncontent-le");
        settle().await;
        reused.close();
        assert_eq!(answer.await.unwrap().unwrap_err().code(), "upstream_reset");
        assert_eq!(get(&client.stats().retries), 0);
    });
}

#[test]
fn a_connection_idle_for_too_long_is_closed_and_not_reused() {
    run(async {
        let mut upstream = Upstream::start().await;
        let client = upstream.client(4);
        for _ in 0..2 {
            let answer = send(&client, call(0, "/"));
            upstream.next().await.answer(OK);
            answer.await.unwrap().unwrap();
            sleep(Duration::from_secs(26)).await;
            assert_eq!(get(&client.stats().idle), 0, "closed without any traffic");
        }
        assert_eq!(*upstream.connections.borrow(), 2);
    });
}

#[test]
fn answers_that_end_the_connection_are_not_pooled() {
    run(async {
        let mut upstream = Upstream::start().await;
        let client = upstream.client(4);
        for expected in 0..3 {
            let answer = send(&client, call(0, "/"));
            let asked = upstream.next().await;
            assert_eq!(asked.connection, expected);
            asked.answer("HTTP/1.1 500 X\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno");
            let response = answer.await.unwrap().unwrap();
            assert_eq!((response.status, response.content_type), (500, None));
            assert_eq!(get(&client.stats().idle), 0);
        }
    });
}

#[test]
fn garbage_and_oversize_answers_are_typed_errors() {
    let too_large = format!("HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n{}", "x".repeat(9000));
    let chunk = format!("2000\r\n{}\r\n", "x".repeat(0x2000));
    let too_many_chunks =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", chunk.repeat(9));
    run(async move {
        let mut upstream = Upstream::start().await;
        let client = upstream.client(4);
        for (answer, code) in [
            ("SSH-2.0-OpenSSH_9.6\r\n\r\n", "upstream_protocol"),
            ("HTTP/1.1 200 OK\r\ncontent-length: twelve\r\n\r\n", "upstream_protocol"),
            (&*too_large, "upstream_body_too_large"),
            (&*too_many_chunks, "upstream_body_too_large"),
        ] {
            let result = send(&client, call(0, "/"));
            upstream.next().await.answer(answer);
            assert_eq!(result.await.unwrap().unwrap_err().code(), code, "{answer:.40}");
            assert_eq!(get(&client.stats().idle), 0, "never used again");
        }
        // What is just small enough passes, whole and in pieces.
        let chunked = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
            chunk.repeat(8)
        );
        let result = send(&client, call(0, "/"));
        upstream.next().await.answer(&chunked);
        assert_eq!(result.await.unwrap().unwrap().body.len(), 65536);
        assert_eq!(get(&client.stats().idle), 1, "read to its end, it is used again");
    });
}

#[test]
fn deadlines_name_the_stage_and_discard_the_connection() {
    run(async {
        let mut upstream = Upstream::start().await;
        let client = upstream.client(1);
        let slow = send(&client, call(0, "/"));
        let asked = upstream.next().await;
        let mut waiting = call(0, "/");
        waiting.deadline = Instant::now() + Duration::from_secs(2);
        let waiting = send(&client, waiting);
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(error.code(), "upstream_timeout_queue");
        let error = slow.await.unwrap().unwrap_err();
        assert_eq!(error.code(), "upstream_timeout_response");
        drop(asked);

        let slow = send(&client, call(0, "/"));
        let asked = upstream.next().await;
        asked.answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345");
        let error = slow.await.unwrap().unwrap_err();
        assert_eq!(error.code(), "upstream_timeout_body");
        assert_eq!((get(&client.stats().timeouts), get(&client.stats().idle)), (3, 0));
    });
}

#[test]
fn no_connection_is_an_error_at_once() {
    run(async {
        let upstream = Upstream::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = upstream.config(1);
        config.authority = listener.local_addr().unwrap().to_string();
        drop(listener);
        let client = Client::new(config).unwrap();
        let error = client.send(call(0, "/")).await.unwrap_err();
        assert_eq!(error.code(), "upstream_connect");
        assert_eq!(get(&client.stats().connect_failures), 1);
        assert_eq!(get(&client.stats().in_use[0]), 0);
    });
}

/// Of ten connections the lowest class gets four, its like together seven, and so on; what it
/// leaves is free for the others at once.
#[test]
fn a_flood_of_the_lowest_class_costs_the_highest_nothing() {
    run(async {
        let mut upstream = Upstream::start().await;
        let client = upstream.client(10);
        let stats = client.stats();
        let mut calls = Vec::new();
        let mut held = Vec::new();
        for (class, new_places) in [(4, 4), (3, 3), (2, 1), (1, 1), (0, 1)] {
            for n in 0..15 {
                calls.push(send(&client, call(class, &format!("/{class}/{n}"))));
            }
            for n in 0..new_places {
                let asked = upstream.next().await;
                assert_eq!(asked.path(), format!("/{class}/{n}"), "in order, at once");
                held.push(asked);
            }
            settle().await;
            assert!(upstream.asked.try_recv().is_err(), "class {class} has its share");
            assert_eq!(get(&stats.in_use[class]), new_places);
            assert_eq!(get(&stats.waiting[class]), 15 - new_places);
        }
        assert_eq!(*upstream.connections.borrow(), 10);

        // Whatever ends, the highest class that may have the place gets it, first come first
        // served: fourteen of class 0, then those of class 1, and so on.
        let mut order = Vec::new();
        while !held.is_empty() {
            held.remove(0).answer(OK);
            settle().await;
            while let Ok(asked) = upstream.asked.try_recv() {
                order.push(asked.path().to_owned());
                held.push(asked);
            }
        }
        let rank = |path: &String| path.as_bytes()[1];
        let expected: Vec<_> = (1..15).map(|n| format!("/0/{n}")).collect();
        assert_eq!(order[..14], expected);
        assert!(order.is_sorted_by_key(rank), "no lower class before a higher one: {order:?}");
        assert_eq!(order.len(), 65);
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert_eq!(*upstream.connections.borrow(), 10, "never more connections than places");
        assert!(stats.in_use.iter().chain(&stats.waiting).all(|gauge| get(gauge) == 0));
    });
}

#[test]
fn the_queue_is_bounded_and_keeps_room_for_higher_classes() {
    run(async {
        let mut upstream = Upstream::start().await;
        let mut config = upstream.config(1);
        config.waiting_max = 10;
        let client = Client::new(config).unwrap();
        let first = send(&client, call(4, "/"));
        let asked = upstream.next().await;
        let waiting: Vec<_> = (0..4).map(|_| send(&client, call(4, "/low"))).collect();
        settle().await;
        let refused = client.send(call(4, "/low")).await.unwrap_err();
        assert_eq!(refused.code(), "upstream_overloaded");
        let urgent = send(&client, call(0, "/urgent"));
        settle().await;
        asked.answer(OK);
        first.await.unwrap().unwrap();
        let next = upstream.next().await;
        assert_eq!(next.path(), "/urgent");
        next.answer(OK);
        urgent.await.unwrap().unwrap();
        for call in waiting {
            upstream.next().await.answer(OK);
            call.await.unwrap().unwrap();
        }
        assert_eq!(get(&client.stats().overloaded), 1);
    });
}

#[test]
fn a_call_that_is_dropped_leaves_nothing_behind() {
    run(async {
        let mut upstream = Upstream::start().await;
        let client = upstream.client(1);
        let in_hand = send(&client, call(0, "/in-hand"));
        let asked = upstream.next().await;
        let waiting = send(&client, call(0, "/waiting"));
        let last = send(&client, call(1, "/last"));
        settle().await;
        waiting.abort();
        settle().await;
        assert_eq!(get(&client.stats().waiting[0]), 0);

        // Half an answer has arrived when its call is dropped: nobody may see the other half.
        asked.answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345");
        settle().await;
        in_hand.abort();
        let next = upstream.next().await;
        assert_eq!((next.path(), next.connection), ("/last", 1));
        next.answer(OK);
        assert_eq!(&last.await.unwrap().unwrap().body[..], b"ok");
    });
}

/// A place that was granted to a call which is dropped before it runs again is passed on.
#[test]
fn a_granted_place_is_passed_on_when_its_call_is_dropped() {
    run(async {
        let mut upstream = Upstream::start().await;
        let client = upstream.client(1);
        let place = client.pool.enter(Class::new(0)).await.unwrap();
        let mut dropped = Box::pin(client.pool.enter(Class::new(0)));
        let waker = std::task::Waker::noop();
        let mut cx = std::task::Context::from_waker(waker);
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
        let next = send(&client, call(0, "/next"));
        settle().await;
        drop(place);
        drop(dropped);
        upstream.next().await.answer(OK);
        next.await.unwrap().unwrap();
        assert_eq!(get(&client.stats().in_use[0]), 0);
    });
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    run(async {
        let upstream = Upstream::start().await;
        let good = upstream.config(1);
        let refused = |change: &dyn Fn(&mut ClientConfig)| {
            let mut config = good.clone();
            change(&mut config);
            Client::new(config).unwrap_err()
        };
        for bad in ["", "localhost", ":80", "host:", "host:x", "host:+80", "host:65536", "a@b:80"] {
            let error = refused(&|config| config.authority = bad.to_owned());
            assert_eq!(error, ConfigError::Authority(bad.to_owned()));
        }
        for bad in ["x", "/", "/x/", "/ x"] {
            let error = refused(&|config| config.path_prefix = bad.to_owned());
            assert_eq!(error, ConfigError::PathPrefix(bad.to_owned()));
        }
        let out_of_range = |error| assert!(matches!(error, ConfigError::OutOfRange(_)));
        out_of_range(refused(&|config| config.connections_max = 0));
        out_of_range(refused(&|config| config.idle_timeout = Duration::from_secs(21)));
        out_of_range(refused(&|config| config.class_percents = [100, 90, 91, 50, 40]));
        out_of_range(refused(&|config| config.class_percents = [100, 90, 80, 50, 0]));
    });
}
