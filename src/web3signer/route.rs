//! Which endpoint a request line names.

#[cfg(test)]
mod tests;

/// An endpoint of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `POST /api/v1/eth2/sign/{identifier}`.
    Sign {
        /// The last segment: a public key, if the client is right.
        identifier: &'a str,
    },
    /// `GET /api/v1/eth2/publicKeys`.
    PublicKeys,
    /// `GET /upcheck`.
    Upcheck,
    /// `GET /healthcheck`.
    Healthcheck,
    /// `GET` or `POST /reload`.
    Reload,
    /// `GET /api/v1/eth2/highWatermark`.
    HighWatermark,
    /// An endpoint that Web3Signer has and the gate refuses, with the reason.
    Refused {
        /// What it would do, and why it is refused, in words.
        reason: &'static str,
    },
}

/// What is wrong with a request line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No such path.
    NotFound,
    /// The path exists, with another method.
    MethodNotAllowed {
        /// The methods it has.
        allow: &'static str,
    },
}

/// Finds the endpoint of `method` and `path`.
///
/// Tolerated: `//api/...`, which clients make of a base URL with a trailing slash, and a configured
/// prefix, which some clients keep and others drop; so both forms are served.
pub fn route<'a>(method: &str, path: &'a str, prefix: &str) -> Result<Route<'a>, NoRoute> {
    let path = path.trim_start_matches('/');
    let prefix = prefix.trim_matches('/');
    let path = match path.strip_prefix(prefix) {
        Some(rest) if !prefix.is_empty() && rest.starts_with('/') => rest.trim_start_matches('/'),
        Some(_) | None => path,
    };
    let (route, methods) = endpoint(path).ok_or(NoRoute::NotFound)?;
    if methods.split(", ").any(|allowed| allowed == method) {
        Ok(route)
    } else {
        Err(NoRoute::MethodNotAllowed { allow: methods })
    }
}

fn endpoint(path: &str) -> Option<(Route<'_>, &'static str)> {
    if let Some(identifier) = path.strip_prefix("api/v1/eth2/sign/") {
        let one_segment = !identifier.is_empty() && !identifier.contains('/');
        return one_segment.then_some((Route::Sign { identifier }, "POST"));
    }
    Some(match path {
        "api/v1/eth2/publicKeys" => (Route::PublicKeys, "GET"),
        "upcheck" => (Route::Upcheck, "GET"),
        "healthcheck" => (Route::Healthcheck, "GET"),
        "reload" => (Route::Reload, "GET, POST"),
        "api/v1/eth2/highWatermark" => (Route::HighWatermark, "GET"),
        "eth/v1/keystores" => (Route::Refused { reason: KEY_MANAGER }, "GET, POST, DELETE"),
        "signer/v1/get_pubkeys" => (Route::Refused { reason: COMMIT_BOOST }, "GET"),
        "signer/v1/request_signature" | "signer/v1/generate_proxy_key" => {
            (Route::Refused { reason: COMMIT_BOOST }, "POST")
        }
        path if path.starts_with("api/v1/eth2/ext/sign/") => {
            (Route::Refused { reason: EXTENSION }, "POST")
        }
        _ => return None,
    })
}

const KEY_MANAGER: &str = "the key manager API is not offered here: keys live at the signer; enrol \
     and disable them with `portcullis keys` on the gate's machine";
const COMMIT_BOOST: &str = "the commit-boost API is not offered here: it signs roots that cannot be \
     checked against slashing protection";
const EXTENSION: &str = "the extension signing API is not offered here: it signs raw bytes that \
     cannot be checked against slashing protection";
