//! A signer that speaks Web3Signer's API over HTTP.

use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderValue;
use serde::Deserialize;
use tokio::time::Instant;

use super::UpstreamFault;
use super::client::{CLASSES, Call, Class, Client, ClientStats, Response};
use crate::eth::{PublicKey, Signature};
use crate::trace::TraceHeaders;

#[cfg(test)]
mod tests;

/// One signer, as seen from one core.
pub struct Web3Signer {
    client: Rc<Client>,
    answer_bytes_max: usize,
}

impl Web3Signer {
    /// The signer behind `client`; an answer to a signing request may be `answer_bytes_max` long.
    pub fn new(client: Rc<Client>, answer_bytes_max: usize) -> Self {
        Self { client, answer_bytes_max }
    }

    /// The counters of its client.
    pub fn stats(&self) -> Arc<ClientStats> {
        self.client.stats()
    }

    /// Asks for one signature. `body` is our own encoding of what was checked.
    ///
    /// # Errors
    /// Whatever is not a well-formed signature. 412 is told apart: the signer refused what our own
    /// store had permitted, so one of the two stores is wrong.
    pub async fn sign(
        &self,
        class: Class,
        key: &PublicKey,
        body: Bytes,
        deadline: Instant,
        trace: Option<&TraceHeaders>,
    ) -> Result<Signature, UpstreamFault> {
        let call = Call {
            class,
            method: Method::POST,
            path: path(key),
            accept: JSON,
            content_type: Some(JSON),
            body,
            trace: trace.cloned(),
            deadline,
            response_bytes_max: self.answer_bytes_max,
        };
        let response = self.client.send(call).await?;
        match response.status {
            200 => signature(&response.body),
            404 => Err(UpstreamFault::UnknownKey),
            412 => Err(UpstreamFault::Refused),
            status => Err(UpstreamFault::Status(status)),
        }
    }

    /// Whether the signer is there.
    ///
    /// # Errors
    /// No answer, or one that is not 200.
    pub async fn upcheck(&self, deadline: Instant) -> Result<(), UpstreamFault> {
        let response = self.get("/upcheck", deadline, self.answer_bytes_max).await?;
        expect_ok(&response)
    }

    /// The keys that the signer has.
    ///
    /// # Errors
    /// Anything but a complete list.
    pub async fn public_keys(
        &self,
        deadline: Instant,
        bytes_max: usize,
    ) -> Result<Vec<slashing_db::PublicKey>, UpstreamFault> {
        let response = self.get("/api/v1/eth2/publicKeys", deadline, bytes_max).await?;
        expect_ok(&response)?;
        serde_json::from_slice(&response.body).map_err(UpstreamFault::NotAKeyList)
    }

    async fn get(
        &self,
        path: &str,
        deadline: Instant,
        response_bytes_max: usize,
    ) -> Result<Response, UpstreamFault> {
        let call = Call {
            class: Class::new(CLASSES - 1),
            method: Method::GET,
            path: path.to_owned(),
            accept: ANY,
            content_type: None,
            body: Bytes::new(),
            trace: None,
            deadline,
            response_bytes_max,
        };
        Ok(self.client.send(call).await?)
    }
}

/// Where signatures of `key` are asked for.
fn path(key: &PublicKey) -> String {
    const PATH: &str = "/api/v1/eth2/sign/";
    let mut path = String::with_capacity(PATH.len() + 2 + 2 * key.0.len());
    write!(path, "{PATH}{key}").expect("a string takes all");
    path
}

fn expect_ok(response: &Response) -> Result<(), UpstreamFault> {
    match response.status {
        200 => Ok(()),
        status => Err(UpstreamFault::Status(status)),
    }
}

/// Both answer formats of the API: `{"signature":"0x.."}`, or the bare text.
fn signature(body: &[u8]) -> Result<Signature, UpstreamFault> {
    #[derive(Deserialize)]
    struct Answer {
        signature: Signature,
    }
    let signature = match serde_json::from_slice::<Answer>(body) {
        Ok(answer) => Some(answer.signature),
        Err(_) => std::str::from_utf8(body).ok().and_then(|text| text.trim().parse().ok()),
    };
    signature.ok_or_else(|| UpstreamFault::NotASignature { bytes: body.len() })
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ANY: HeaderValue = HeaderValue::from_static("*/*");
