//! No beginning of a connection and no list of known clients makes their readers panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::clients::{AddressRange, KnownClients};
use portcullis::server::proxy_protocol::{Proxied, parse};

fuzz_target!(|input: (&[u8], &str, &str)| {
    let (connection, list, range) = input;
    if let Ok((proxied, length)) = parse(connection) {
        assert!((16..=connection.len()).contains(&length));
        // What comes behind the header changes nothing of it.
        assert_eq!(parse(&connection[..length]).ok(), Some((proxied, length)));
        assert!(matches!(proxied, Proxied::Local) || length >= 28);
    }
    if let Ok(known) = KnownClients::parse(list) {
        assert!(known.len() <= list.lines().count());
        let lines = known
            .fingerprints()
            .map(|fingerprint| format!("{} {fingerprint}\n", known.name(fingerprint).unwrap()));
        // Behind a comment: a byte order mark may begin a name, but not the file's first.
        let again: String = std::iter::once("#\n".to_owned()).chain(lines).collect();
        assert_eq!(KnownClients::parse(&again).as_ref(), Ok(&known));
    }
    if let Ok(parsed) = range.parse::<AddressRange>() {
        assert_eq!(parsed.to_string().parse(), Ok(parsed));
    }
});
