use super::*;

#[test]
fn paths_as_clients_send_them() {
    let sign = Ok(Route::Sign { identifier: "0xab" });
    for (method, path, prefix, expected) in [
        ("POST", "/api/v1/eth2/sign/0xab", "", sign),
        ("POST", "//api/v1/eth2/sign/0xab", "", sign),
        ("POST", "/gate/api/v1/eth2/sign/0xab", "/gate", sign),
        ("POST", "/gate//api/v1/eth2/sign/0xab", "gate/", sign),
        ("POST", "/api/v1/eth2/sign/0xab", "/gate", sign), // clients that drop the prefix
        ("GET", "/api/v1/eth2/publicKeys", "", Ok(Route::PublicKeys)),
        ("GET", "/upcheck", "", Ok(Route::Upcheck)),
        ("GET", "/healthcheck", "", Ok(Route::Healthcheck)),
        ("GET", "/reload", "", Ok(Route::Reload)),
        ("POST", "/reload", "", Ok(Route::Reload)),
        ("GET", "/api/v1/eth2/highWatermark", "", Ok(Route::HighWatermark)),
        ("GET", "/api/v1/eth2/sign/0xab", "", Err(NoRoute::MethodNotAllowed { allow: "POST" })),
        ("DELETE", "/reload", "", Err(NoRoute::MethodNotAllowed { allow: "GET, POST" })),
        ("POST", "/api/v1/eth2/sign/", "", Err(NoRoute::NotFound)),
        ("POST", "/api/v1/eth2/sign/0xab/more", "", Err(NoRoute::NotFound)),
        ("GET", "/gateway/upcheck", "gate", Err(NoRoute::NotFound)),
        ("GET", "/", "", Err(NoRoute::NotFound)),
    ] {
        assert_eq!(route(method, path, prefix), expected, "{method} {path} under {prefix:?}");
    }
}

#[test]
fn what_is_not_offered_says_why() {
    for (method, path) in [
        ("DELETE", "/eth/v1/keystores"),
        ("POST", "/signer/v1/request_signature"),
        ("POST", "/api/v1/eth2/ext/sign/0xab"),
    ] {
        assert!(
            matches!(route(method, path, ""), Ok(Route::Refused { reason }) if reason.contains("not offered")),
            "{path}"
        );
    }
}
