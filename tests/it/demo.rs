//! `portcullis demo`, as a person runs it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::support::{Http, binary};

/// The command, ended in order when its test fails: it has processes of its own to end.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let _ = self.0.wait();
    }
}

impl Demo {
    fn start(arguments: &[&str], folders: &Path) -> Self {
        let mut command = Command::new(binary());
        command.arg("demo").args(arguments).env("TMPDIR", folders);
        Self(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.0), signal); // it may have ended
    }

    /// What it prints, up to a line with `end` in it or to its end.
    fn page(&mut self, end: &str) -> Vec<String> {
        let mut page = Vec::new();
        let output = self.0.stdout.as_mut().unwrap();
        for line in BufReader::new(output).lines() {
            page.push(line.unwrap());
            if page.last().is_some_and(|line| line.contains(end)) {
                break;
            }
        }
        page
    }
}

fn folders() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("pc").tempdir().unwrap()
}

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().unwrap().next().is_none()
}

#[test]
fn the_page_shows_every_duty_and_every_refusal() {
    let folders = folders();
    let mut demo = Demo::start(&[], folders.path());
    let page = demo.page("nothing that it prints").join("\n");
    let status = demo.0.wait().unwrap();
    assert!(status.success(), "{status}: {page}");
    // In this order.
    let mut rest = page.as_str();
    for expected in [
        "NOT FOR PRODUCTION",
        "48 votes, 6 blocks, 6 RANDAO reveals, 48 selection proofs, 6 aggregates",
        "refused  double proposal",
        "412  double_block_proposal: a block of slot",
        "refused  double vote",
        "412  double_vote: a vote for target epoch 1001 is already recorded",
        "refused  surround vote",
        "412  surround_or_stale_source",
        "refused  lying signing root",
        "400  signing_root_mismatch",
        "refused  far-future vote",
        "400  future_duty",
        "refused  voluntary exit",
        "412  not_permitted",
        "Killed with `kill -9`",
        "412  double_vote",
        "signed ",
        " signatures, 0 conflicts",
        "make demo KEEP=1",
    ] {
        let at =
            rest.find(expected).unwrap_or_else(|| panic!("no {expected:?} in its place: {page}"));
        rest = &rest[at + expected.len()..];
    }
    assert!(!page.contains("FAILED") && !page.contains('\x1b'), "{page}");
    assert!(page.lines().count() <= 60, "more than a page: {page}");
    assert!(is_empty(folders.path()), "its folder is still there");
}

#[test]
fn what_is_kept_answers_as_printed_and_ends_with_ctrl_c() {
    let folders = folders();
    let mut demo = Demo::start(&["--keep"], folders.path());
    let page = demo.page("until Ctrl-C");
    let after = |start: &str| {
        let line = page.iter().find_map(|line| line.trim().strip_prefix(start));
        line.unwrap_or_else(|| panic!("no {start:?}: {page:?}"))
    };
    let folder = Path::new(after("cd ")).to_owned();
    let gate = after("curl -i http://").split('/').next().unwrap().parse().unwrap();
    let key = std::fs::read_to_string(folder.join("proposer.txt")).unwrap();
    for (body, status, code) in [
        ("second-block.json", 412, Some("double_block_proposal")),
        ("registration.json", 200, None),
    ] {
        let body = std::fs::read(folder.join(body)).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let (found, answer) = Http::connect(gate).sign(&key, &body);
        assert_eq!((found, answer["code"].as_str()), (status, code), "{answer}");
    }
    demo.signal(Signal::INT);
    assert!(demo.0.wait().unwrap().success());
    assert!(is_empty(folders.path()), "its folder is still there");
    assert!(std::net::TcpStream::connect(gate).is_err(), "its gate is still there");
}

#[test]
fn ctrl_c_in_the_middle_leaves_nothing_behind() {
    let folders = folders();
    let mut demo = Demo::start(&[], folders.path());
    let page = demo.page("after its start");
    let gate = page.last().unwrap().split("http://").nth(1).unwrap();
    let gate: std::net::SocketAddr = gate.split(' ').next().unwrap().parse().unwrap();
    demo.signal(Signal::INT);
    assert_eq!(demo.0.wait().unwrap().code(), Some(1));
    assert!(is_empty(folders.path()), "its folder is still there");
    assert!(std::net::TcpStream::connect(gate).is_err(), "its gate is still there");
}
