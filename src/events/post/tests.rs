use super::*;

fn of(status: u16, body: &'static [u8]) -> Outcome {
    let retry_after = Some(Duration::from_secs(7));
    let answer = Answer { status, retry_after, body: Bytes::from_static(body) };
    outcome(Ok(answer), |body| body == b"ok", &["s3cret".to_owned()])
}

#[test]
fn an_answer_means_yes_not_now_or_never() {
    assert_eq!(of(200, b"ok"), Outcome::Accepted);
    assert_eq!(of(202, b"ok"), Outcome::Accepted);
    for status in [429, 500, 502, 503, 504, 599] {
        let Outcome::Failed { retry_after, .. } = of(status, b"ok") else { panic!("{status}") };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
    }
    assert!(matches!(of(200, b"something else"), Outcome::Failed { retry_after: None, .. }));
    for status in [301, 302, 307, 400, 401, 403, 404, 410, 413, 422, 428, 430] {
        assert!(matches!(of(status, b"ok"), Outcome::Refused(_)), "{status}");
    }
    let silent = outcome(Err("no answer".to_owned()), |_| true, &[]);
    assert_eq!(silent, Outcome::Failed { reason: "no answer".to_owned(), retry_after: None });
}

#[test]
fn what_is_told_of_an_answer_is_short_and_holds_no_secret() {
    let Outcome::Refused(said) = of(400, b"your key s3cret\nis wrong") else { panic!() };
    assert_eq!(said, "400 your key *** is wrong");
    let long = vec![b'x'; 5_000].leak();
    let Outcome::Refused(said) = of(400, long) else { panic!() };
    assert_eq!(said.len(), 4 + ANSWER_CHARS_MAX);
}
