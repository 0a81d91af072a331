#![allow(clippy::unwrap_used)]

use super::*;

fn heard(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[test]
fn the_manager_hears_every_word_at_a_path_and_at_an_abstract_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let at_path = UnixDatagram::bind(&path).unwrap();
    let name = format!("portcullis-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let abstract_one = UnixDatagram::bind_addr(&address).unwrap();
    let at_name = format!("@{name}");
    for (socket, name) in [(at_path, path.as_os_str()), (abstract_one, OsStr::new(&at_name))] {
        let notify = Notify::to(name).unwrap();
        notify.ready("3 keys");
        notify.watchdog();
        notify.stopping();
        let ready = format!("READY=1\nMAINPID={}\nSTATUS=3 keys", std::process::id());
        assert_eq!(heard(&socket), ready);
        assert_eq!(heard(&socket), "WATCHDOG=1");
        assert_eq!(heard(&socket), "STOPPING=1");
    }
}

#[test]
fn a_name_that_is_none_is_an_error_and_a_manager_that_is_gone_is_not() {
    assert!(Notify::to(OsStr::new("vsock:2:1")).is_err());
    assert!(Notify::to(OsStr::new("")).is_err());
    Notify::to(OsStr::new("/nonexistent/notify")).unwrap().watchdog();
    Notify::default().ready("nobody is told");
}

#[test]
fn the_watchdog_is_for_the_process_that_it_names() {
    let some = |value: &str| Some(value.to_owned());
    assert_eq!(watchdog(some("30000000"), some("7"), 7), Some(Duration::from_secs(30)));
    assert_eq!(watchdog(some("30000000"), None, 7), Some(Duration::from_secs(30)));
    assert_eq!(watchdog(some("30000000"), some("8"), 7), None);
    assert_eq!(watchdog(None, None, 7), None);
    for wrong in ["", "0", "-1", "soon"] {
        assert_eq!(watchdog(some(wrong), None, 7), None, "{wrong}");
    }
}

#[test]
fn one_counter_that_stands_still_is_no_progress() {
    let mut progress = Progress::default();
    let (tick, patience) = (Duration::from_secs(1), Duration::from_secs(3));
    let mut goes_on = |counts: [u64; 2]| progress.goes_on(counts.into_iter(), tick, patience);
    assert!(goes_on([0, 0]));
    assert!(goes_on([1, 0]));
    assert!(goes_on([2, 0]));
    assert!(!goes_on([3, 0]), "the second has stood still for three seconds");
    assert!(goes_on([3, 1]), "and goes on again");
}
