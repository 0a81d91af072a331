#![allow(clippy::unwrap_used)]

use super::super::Clients;
use super::*;
use crate::tls;

fn users() -> Users {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    std::fs::write(&path, "open sesame\n").unwrap();
    let mut users = Users::default();
    users.insert("Aladdin", &tls::load_password(&path).unwrap(), Clients::anyone().named("teku"));
    users
}

fn name(header: Option<&str>) -> Result<Option<String>, Wrong> {
    let users = users();
    let client = users.client(header.map(str::as_bytes))?;
    Ok(client.map(|client| client.name().to_owned()))
}

/// The example of RFC 7617, section 2.
#[test]
fn the_header_of_the_specification_is_read() {
    let teku = Ok(Some("teku".to_owned()));
    assert_eq!(name(Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")), teku);
    assert_eq!(name(Some("basic  QWxhZGRpbjpvcGVuIHNlc2FtZQ")), teku);
    assert_eq!(name(None), Ok(None));
    assert_eq!(name(Some("Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==")), Ok(None));
    for wrong in [
        "Basic ",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ===",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZR==x",
        "Basic QWxhZGRpbg==",                 // no colon
        "Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==", // another user
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZSA=", // a blank too many
        "Basic \u{e9}",
    ] {
        assert_eq!(name(Some(wrong)), Err(Wrong), "{wrong}");
    }
}

/// The vectors of RFC 4648, section 10.
#[test]
fn base64_is_that_of_the_specification() {
    for (text, bytes) in [
        ("", ""),
        ("Zg==", "f"),
        ("Zm8=", "fo"),
        ("Zm9v", "foo"),
        ("Zm9vYg==", "foob"),
        ("Zm9vYmE=", "fooba"),
        ("Zm9vYmFy", "foobar"),
    ] {
        assert_eq!(base64(text.as_bytes()).unwrap(), bytes.as_bytes());
    }
    assert_eq!(base64(b"+/+/").unwrap(), [0xfb, 0xff, 0xbf]);
    for wrong in ["Z", "Zm9vY", "Zm 9", "Zm9v====", "Z=g="] {
        assert!(base64(wrong.as_bytes()).is_none(), "{wrong}");
    }
}
