use super::*;

#[test]
fn the_answer_format_follows_accept_as_in_web3signer() {
    for (accept, expected) in [
        (&[][..], Format::Text), // Teku and Prysm send none
        (&["application/json"][..], Format::Json),
        (&["*/*"][..], Format::Json),
        (&["text/plain"][..], Format::Text), // Vero takes the body verbatim
        (&["text/plain, application/json;q=0.1"][..], Format::Json),
        (&["text/plain", "APPLICATION/JSON"][..], Format::Json),
        (&["text/html"][..], Format::Text),
        (&["application/*"][..], Format::Text),
    ] {
        assert_eq!(Format::negotiate(accept.iter().copied()), expected, "{accept:?}");
    }
}

#[test]
fn the_text_answer_has_no_newline() {
    let text = Format::Text.signature(&Signature([1; 96]));
    assert_eq!(text.len(), 2 + 192);
    assert!(text.starts_with("0x01") && !text.ends_with('\n'));
}

#[test]
fn one_part_that_is_down_takes_the_whole_down() {
    let check = |status| Check { id: "x", status, data: None };
    assert!(Health::of(vec![check("UP"), check("UP")]).is_up());
    let down = Health::of(vec![check("UP"), check("DOWN")]);
    assert_eq!((down.status, down.outcome, down.is_up()), ("DOWN", "DOWN", false));
}
