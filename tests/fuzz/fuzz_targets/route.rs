//! No request line, key or `Accept` header makes the dialect panic, and a key is read strictly.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::eth::PublicKey;
use portcullis::web3signer::response::Format;
use portcullis::web3signer::route::{NoRoute, Route, route};

fuzz_target!(|input: (&str, &str, &str, &str)| {
    let (method, path, prefix, accept) = input;
    match route(method, path, prefix) {
        Ok(Route::Sign { identifier }) => {
            assert_eq!(method, "POST");
            assert!(!identifier.is_empty() && !identifier.contains('/'));
            assert!(path.ends_with(identifier));
            if let Ok(key) = identifier.parse::<PublicKey>() {
                let digits = identifier.strip_prefix("0x").unwrap_or(identifier);
                assert_eq!(key.to_string(), format!("0x{}", digits.to_ascii_lowercase()));
            }
        }
        Ok(Route::Reload) => assert!(matches!(method, "GET" | "POST")),
        Ok(Route::PublicKeys | Route::Upcheck | Route::Healthcheck | Route::HighWatermark) => {
            assert_eq!(method, "GET");
        }
        Ok(Route::Refused { reason }) => assert!(!reason.is_empty()),
        Err(NoRoute::MethodNotAllowed { allow }) => {
            assert!(allow.split(", ").all(|allowed| allowed != method));
            for allowed in allow.split(", ") {
                assert!(route(allowed, path, prefix).is_ok(), "{allowed} {path}");
            }
        }
        Err(NoRoute::NotFound) => {}
    }
    let json = Format::negotiate([accept].into_iter()) == Format::Json;
    assert!(!json || accept.contains("*/*") || accept.to_ascii_lowercase().contains("json"));
});
