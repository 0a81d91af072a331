use super::super::tests::event;
use super::*;

fn sent(event: &Event) -> Value {
    serde_json::from_slice(&body(event, "gate-1")).unwrap()
}

#[test]
fn a_message_has_a_text_and_blocks() {
    let page = event(Paging::Trigger, "inc-17");
    let summary = "two live signers for 500 keys of group west; the second is fenced";
    let field = |text: &str| json!({ "type": "mrkdwn", "text": text });
    let expected = json!({
        "text": format!("[page] {summary}"),
        "blocks": [
            { "type": "header", "text": { "type": "plain_text", "text": "page: incident.opened" } },
            { "type": "section", "text": { "type": "mrkdwn", "text": summary }, "fields": [
                field("*Severity*\ncritical"),
                field("*About*\nwest"),
                field("*Key*\ninc-17"),
                field("*At*\n2025-11-20T22:18:47.042Z"),
            ]},
            { "type": "section", "text": field(
                "```{\n  \"keys\": 500,\n  \"rule\": \"client_lease\"\n}```"
            )},
            { "type": "context", "elements": [field(&format!("gate-1 | {}", page.id))] },
        ],
    });
    assert_eq!(sent(&page), expected);
}

#[test]
fn nothing_goes_beyond_the_limits_and_nobody_is_named_by_what_is_told() {
    let mut large = event(Paging::None, &"<".repeat(5_000));
    large.kind = "k".repeat(400);
    large.summary = format!("<!channel> & {}", "&".repeat(9_000));
    large.details = json!({ "said": "```<!here>", "keys": vec!["<&>"; 5_000] });
    let sent = sent(&large);
    let length = |text: &Value| text.as_str().unwrap().chars().count();
    assert!(length(&sent["text"]) <= TEXT_CHARS_MAX);
    let blocks = sent["blocks"].as_array().unwrap();
    assert!(length(&blocks[0]["text"]["text"]) <= HEADER_CHARS_MAX);
    for section in &blocks[1..3] {
        assert!(length(&section["text"]["text"]) <= SECTION_CHARS_MAX);
    }
    for field in blocks[1]["fields"].as_array().unwrap() {
        assert!(length(&field["text"]) <= FIELD_CHARS_MAX);
    }
    let text = sent.to_string();
    assert!(!text.contains('<') && !text.contains("&&"), "{}", &text[..400]);
    assert!(blocks[2]["text"]["text"].as_str().unwrap().ends_with("...```"));
    assert!(sent["text"].as_str().unwrap().ends_with("&amp;..."), "no entity is cut in two");
}

#[test]
fn what_has_no_details_has_no_block_for_them() {
    for none in [Value::Null, json!({})] {
        let plain = Event { details: none, ..event(Paging::Resolve, "a") };
        assert_eq!(sent(&plain)["blocks"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn only_its_own_word_is_a_yes() {
    assert!(is_taken(b"ok") && is_taken(b"ok\n"));
    assert!(!is_taken(b"") && !is_taken(b"no_service") && !is_taken(b"<html>ok</html>"));
}
