//! What the client sees of each fault, and what the signing log says of it.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::bls::BlsError;
use crate::dev_signer::log::find_conflicts;

#[tokio::test]
async fn refuse_error_and_garbage_do_not_sign() {
    let mut rig = Rig::start(&["refuse:count=1", "error:count=1", "garbage:count=1"]).await;
    let answer = rig.sign(0).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (412, "Precondition Failed"));
    let answer = rig.sign(0).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (500, "Internal Server Error"));
    let garbage = signature(&rig.sign(0).await.unwrap());
    assert_eq!(garbage, GARBAGE);
    assert_eq!(verify(&public_key(0).0, &ROOT, &garbage), Err(BlsError::Signature));
    assert!(rig.log().is_empty());
    verify(&public_key(0).0, &ROOT, &signature(&rig.sign(0).await.unwrap())).unwrap();
}

#[tokio::test]
async fn wrong_and_swapped_signatures_are_what_the_log_says() {
    let mut rig = Rig::start(&["wrong-signature:count=1", "swapped:count=1"]).await;
    let wrong = signature(&rig.sign(3).await.unwrap());
    let swapped = signature(&rig.sign(3).await.unwrap());
    for spoilt in [&wrong, &swapped] {
        assert_eq!(verify(&public_key(3).0, &ROOT, spoilt), Err(BlsError::Mismatch));
    }
    let [first, second] = &rig.log()[..] else { panic!("two signatures were made") };
    assert_eq!(first.fault.as_deref(), Some("wrong-signature"));
    verify(&public_key(3).0, &first.signed_root.unwrap().0, &wrong).unwrap();
    assert_eq!(second.fault.as_deref(), Some("swapped"));
    assert_eq!(second.signed_by, Some(public_key(0)));
    verify(&second.signed_by.unwrap().0, &ROOT, &swapped).unwrap();
    // What was asked for is one root of one key, twice.
    assert_eq!(find_conflicts(&rig.log()), []);
}

#[tokio::test]
async fn points_outside_the_group_are_points_of_the_curve() {
    let mut rig = Rig::start(&["off-subgroup:count=1", "infinity:count=1"]).await;
    let outside = signature(&rig.sign(3).await.unwrap());
    let infinity = signature(&rig.sign(3).await.unwrap());
    let decode = |bytes: &[u8; 96]| blst::min_pk::Signature::uncompress(bytes).unwrap();
    assert_eq!(decode(&outside).validate(true), Err(blst::BLST_ERROR::BLST_POINT_NOT_IN_GROUP));
    assert_eq!(decode(&infinity).validate(true), Err(blst::BLST_ERROR::BLST_PK_IS_INFINITY));
    let [made] = &rig.log()[..] else { panic!("one signature was made") };
    assert_eq!(made.fault.as_deref(), Some("off-subgroup"));
}

#[tokio::test]
async fn hang_up_signs_and_closes_without_an_answer() {
    let mut rig = Rig::start(&["hang-up:count=1"]).await;
    assert!(rig.sign(1).await.is_err());
    assert!(rig.client.ready().await.is_err(), "the connection is closed");
    assert_eq!(rig.log()[0].fault.as_deref(), Some("hang-up"));
    rig.client = connect(rig.signer.address()).await;
    verify(&public_key(1).0, &ROOT, &signature(&rig.sign(1).await.unwrap())).unwrap();
    assert_eq!(rig.log().len(), 2);
}

/// Sends a request that will wait on a connection of its own, and returns when it has been signed.
async fn sign_aside(rig: &mut Rig) -> tokio::task::JoinHandle<hyper::Result<Answer>> {
    let mut client = connect(rig.signer.address()).await;
    let waiting = tokio::spawn(async move { sign(&mut client, 1).await });
    while rig.log().is_empty() {
        rig.get("/upcheck").await;
    }
    waiting
}

#[tokio::test]
async fn stall_signs_and_never_answers() {
    let mut rig = Rig::start(&["stall:count=1"]).await;
    let stalled = sign_aside(&mut rig).await;
    assert_eq!(rig.log()[0].fault.as_deref(), Some("stall"));
    for _ in 0..20 {
        signature(&rig.sign(0).await.unwrap());
    }
    assert!(!stalled.is_finished());
    stalled.abort();
}

#[tokio::test]
async fn slow_signs_at_once_and_answers_later() {
    let mut rig = Rig::start(&["slow=1500:count=1"]).await;
    let slow = sign_aside(&mut rig).await;
    signature(&rig.sign(0).await.unwrap());
    assert!(!slow.is_finished(), "the later request was answered first");
    verify(&public_key(1).0, &ROOT, &signature(&slow.await.unwrap().unwrap())).unwrap();
    assert_eq!(rig.log().len(), 2);
}

/// A client that goes away before its answer comes takes no evidence along.
#[tokio::test]
async fn the_line_is_written_before_the_answer_leaves() {
    let mut rig = Rig::start_with(|config| config.delay = Duration::from_secs(3600)).await;
    let waiting = sign_aside(&mut rig).await;
    assert!(!waiting.is_finished());
    waiting.abort();
    assert_eq!(rig.log().len(), 1);
}

#[tokio::test]
async fn faults_are_changed_at_run_time() {
    let mut rig = Rig::start(&["refuse"]).await;
    assert_eq!(rig.sign(0).await.unwrap().status, 412);
    let answer = rig.set_faults(json!({"faults": ["error:count=1"], "seed": 7})).await;
    let state: Value = serde_json::from_str(&answer.body).unwrap();
    let armed = json!([{"fault": "error:count=1", "struck": 0}]);
    assert_eq!(state, json!({"faults": armed, "requests": 0, "seed": 7}));
    assert_eq!(rig.sign(0).await.unwrap().status, 500);
    assert_eq!(rig.sign(0).await.unwrap().status, 200);
    let state: Value = serde_json::from_str(&rig.get("/dev/faults").await.body).unwrap();
    assert_eq!((&state["requests"], &state["faults"][0]["struck"]), (&json!(2), &json!(1)));

    let answer = rig.set_faults(json!({"faults": ["nap"]})).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("unknown fault"), "{}", answer.body);
    assert_eq!(rig.sign(0).await.unwrap().status, 200, "a refused change changes nothing");
}

/// Names the directory of the child that `die` ends.
const DIE_DIR: &str = "DEV_SIGNER_TEST_DIE_DIR";

/// `die` takes the process with it, so this test runs itself again as a child.
#[test]
fn die_exits_before_the_request_is_signed() {
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "dev_signer::tests::faults::die_in_a_child", "--ignored"])
        .env(DIE_DIR, dir.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(DIE_EXIT_CODE));
    assert_eq!(log::read(&dir.path().join("signed.jsonl")).unwrap().len(), 2);
}

#[tokio::test]
#[ignore = "ends its process; run by die_exits_before_the_request_is_signed"]
async fn die_in_a_child() {
    let dir = std::env::var_os(DIE_DIR).expect("set by the parent");
    let faults = vec!["die:after=2".parse().unwrap()];
    let config = Config { faults, ..config(Path::new(&dir)) };
    let signer = DevSigner::start(config).unwrap();
    let mut client = connect(signer.address()).await;
    for _ in 0..3 {
        sign(&mut client, 0).await.unwrap();
    }
}

/// Names the directory of the child whose log may not grow.
const FULL_DIR: &str = "DEV_SIGNER_TEST_FULL_DIR";

/// A full disk cuts a line of the log in two. That signature must not leave, nor any after it: the
/// log would no longer be evidence. The limit on the size of files is a full disk for one process.
#[test]
fn nothing_leaves_when_the_log_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "dev_signer::tests::faults::full_disk_in_a_child", "--ignored"])
        .env(FULL_DIR, dir.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let path = dir.path().join("signed.jsonl");
    assert!(matches!(log::read(&path).unwrap_err(), LogError::Torn(_)));
}

#[tokio::test]
#[ignore = "needs a limit; run by nothing_leaves_when_the_log_cannot_be_written"]
async fn full_disk_in_a_child() {
    let dir = std::env::var_os(FULL_DIR).expect("set by the parent");
    let signer = DevSigner::start(config(Path::new(&dir))).unwrap();
    let mut client = connect(signer.address()).await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(sign(&mut client, 0).await.unwrap().status);
    }
    let signed = statuses.iter().take_while(|status| **status == 200).count();
    assert!((1..19).contains(&signed), "{statuses:?}");
    assert!(statuses[signed..].iter().all(|status| *status == 500), "{statuses:?}");
    let log = fs::read_to_string(Path::new(&dir).join("signed.jsonl")).unwrap();
    assert_eq!(log.matches('\n').count(), signed, "a whole line for each signature that left");
}
