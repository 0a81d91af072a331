#![allow(clippy::unwrap_used)]

use super::*;
use crate::tests::{Rig, key};

/// What the gate answers to these bytes, on a connection of their own.
fn say(rig: &Rig, bytes: &[u8]) -> (Reply, Vec<u8>) {
    let (client, server) = UnixStream::pair().unwrap();
    let answer = |command: &Command, input: &mut dyn Read, output: &mut dyn Write| {
        execute(&rig.declarations(), command, input, output)
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&client).write_all(bytes).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        converse(&server, &answer, &|_: &Ask, _: &UnixStream| panic!("no handover")).unwrap();
    });
    drop(server);
    let mut reader = BufReader::new(&client);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    (serde_json::from_str(&line).unwrap(), rest)
}

fn command(command: &Command) -> Vec<u8> {
    let mut line = serde_json::to_vec(command).unwrap();
    line.push(b'\n');
    line
}

fn keys(numbers: &[u8]) -> Keys {
    Keys::These(numbers.iter().map(|number| key(*number).to_string()).collect())
}

#[test]
fn what_is_no_command_is_refused_and_does_nothing() {
    let rig = Rig::new();
    rig.enrol(1);
    for bytes in [
        &b""[..],
        b"\n",
        b"disable all\n",
        b"{}\n",
        b"{\"disable\":{}}\n",
        b"{\"disable\":{\"keys\":\"everything\"}}\n",
        b"\"seal\"\n",
        b"\xff\xfe",
    ] {
        let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| say(&rig, bytes)));
        match answered {
            Ok((Reply::Refused(reason), rest)) => {
                assert!(reason.starts_with("not a command: "), "{reason}");
                assert!(rest.is_empty());
            }
            Ok((other, _)) => panic!("{other:?}"),
            Err(_) => assert_eq!(bytes, b"\xff\xfe", "bytes that are no text break off"),
        }
    }
    assert_eq!(rig.declarations().list()[0].status, "enabled");
}

#[test]
fn commands_reach_the_keys() {
    let rig = Rig::new();
    let enrol = Command::Enrol { keys: keys(&[1, 2]), declaration: Declaration::New };
    let (Reply::Outcomes(outcomes), _) = say(&rig, &command(&enrol)) else { panic!("outcomes") };
    assert!(outcomes.iter().all(|it| it.refused.is_none()), "{outcomes:?}");
    let (Reply::Keys(lines), _) = say(&rig, &command(&Command::List)) else { panic!("keys") };
    assert_eq!(lines.len(), 2);
    let disable = Command::Disable { keys: keys(&[2]) };
    let (Reply::Outcomes(outcomes), _) = say(&rig, &command(&disable)) else { panic!("outcomes") };
    assert_eq!(outcomes[0].done.as_deref(), Some("disabled"));
    // An enabled key is not exported, and then no file follows.
    let all = Command::Export { keys: Keys::All };
    let (Reply::Refused(reason), rest) = say(&rig, &command(&all)) else { panic!("refused") };
    assert!(reason.contains(&key(1).to_string()) && rest.is_empty(), "{reason}");
    let one = Command::Export { keys: keys(&[2]) };
    let (Reply::Exported(1), file) = say(&rig, &command(&one)) else { panic!("exported") };
    let mut import = command(&Command::Import);
    import.extend_from_slice(&file);
    let (Reply::Imported(imported), _) = say(&rig, &import) else { panic!("imported") };
    assert_eq!((imported.entries, imported.keys.len()), (1, 1));
}

#[test]
fn a_file_that_breaks_off_is_not_imported() {
    let rig = Rig::new();
    let mut import = command(&Command::Import);
    import.extend_from_slice(br#"{"metadata":{"interchange_format_version":"5","#);
    let (Reply::Refused(reason), _) = say(&rig, &import) else { panic!("refused") };
    assert!(reason.contains("EOF"), "{reason}");
    assert!(rig.declarations().list().is_empty());
}

#[test]
fn the_socket_is_the_owners_alone_and_outlives_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    assert!(send(dir.path(), &Command::List, &[][..], Vec::new()).unwrap().is_none(), "no gate");
    // A socket that nobody listens on any more, as a killed process leaves it.
    drop(UnixListener::bind(socket_path(dir.path())).unwrap());
    assert!(send(dir.path(), &Command::List, &[][..], Vec::new()).unwrap().is_none(), "dead");
    serve(
        dir.path(),
        |command, input, output| {
            let mut file = String::new();
            input.read_to_string(&mut file).unwrap();
            output.write_all(file.to_uppercase().as_bytes()).unwrap();
            Reply::Refused(command.name().to_owned())
        },
        |_, _| panic!("no handover"),
    )
    .unwrap();
    let mode = std::fs::metadata(socket_path(dir.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut out = Vec::new();
    let large = "abc".repeat(1 << 20);
    let reply = send(dir.path(), &Command::Import, large.as_bytes(), &mut out).unwrap().unwrap();
    assert!(matches!(reply, Reply::Refused(name) if name == "import"));
    assert_eq!(out, large.to_uppercase().into_bytes());
}

/// The reason stands at the beginning of the file (another chain, say); the sender of a large one
/// used to hear of a broken pipe in its place.
#[test]
fn who_sends_a_file_that_is_refused_at_its_beginning_hears_why() {
    let dir = tempfile::tempdir().unwrap();
    serve(
        dir.path(),
        |_, input, _| {
            let mut beginning = [0; 3];
            input.read_exact(&mut beginning).unwrap();
            Reply::Refused("of another chain".to_owned())
        },
        |_, _| panic!("no handover"),
    )
    .unwrap();
    let large = "abc".repeat(1 << 20);
    for _ in 0..20 {
        let reply = send(dir.path(), &Command::Import, large.as_bytes(), io::sink()).unwrap();
        assert!(matches!(reply, Some(Reply::Refused(reason)) if reason == "of another chain"));
    }
}
