use super::*;

#[test]
fn both_answer_formats_are_read_and_nothing_else() {
    let hex = format!("0x{}", "ab".repeat(96));
    let good = Signature([0xab; 96]);
    for body in [format!(r#"{{"signature":"{hex}"}}"#), hex.clone(), format!("{hex}\n")] {
        assert_eq!(signature(body.as_bytes()).expect(&body), good);
    }
    for body in ["", "OK", "{}", "0x", r#"{"signature":"0xab"}"#, r#"{"signature":null}"#, "\u{0}"]
    {
        assert!(signature(body.as_bytes()).is_err(), "{body:?}");
    }
    assert!(signature(&[0xff; 96]).is_err(), "raw bytes are not an answer");
}
