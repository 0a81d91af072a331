//! What leaves the host, on a thread of its own: anchors and events. A file system or a server that
//! does not answer costs the log nothing.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::runtime::Runtime;

use super::Settings;
use super::checkpoint::Anchor;
use crate::events::{Event, Events, Paging, Severity};
use crate::metrics::AuditMetrics;

enum Errand {
    Anchor(Anchor),
    Event(Event),
    End(SyncSender<()>),
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub(super) struct Courier {
    queue: SyncSender<Errand>,
    metrics: AuditMetrics,
}

impl std::fmt::Debug for Errand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Anchor(_) => "Anchor",
            Self::Event(_) => "Event",
            Self::End(_) => "End",
        })
    }
}

impl Courier {
    pub(super) fn start(
        settings: &Settings,
        events: Events,
        metrics: AuditMetrics,
    ) -> io::Result<Self> {
        let (queue, errands) = sync_channel(QUEUE_MAX);
        let post = settings.anchor_url.clone().map(Post::new).transpose()?;
        let round = Round {
            events,
            file: settings.anchor_file.clone(),
            post,
            metrics: metrics.clone(),
            has_failed: false,
        };
        let spawn = std::thread::Builder::new().name("audit-courier".to_owned());
        spawn.spawn(move || round.run(&errands))?;
        Ok(Self { queue, metrics })
    }

    pub(super) fn anchor(&self, anchor: Anchor) {
        if self.queue.try_send(Errand::Anchor(anchor)).is_err() {
            self.metrics.anchors_failed.inc();
        }
    }

    /// Tells people. Where too many wait, the log and the metrics still say it.
    pub(super) fn tell(&self, kind: &str, severity: Severity, paging: Paging, summary: String) {
        let at_unix_ms = crate::clock::unix_ms();
        let event = Event {
            id: format!("{kind}-{at_unix_ms}"),
            at_unix_ms,
            kind: kind.to_owned(),
            severity,
            paging,
            dedup_key: "audit_log".to_owned(),
            summary,
            subject: "audit log".to_owned(),
            details: serde_json::Value::Null,
        };
        let _ = self.queue.try_send(Errand::Event(event));
    }

    /// Waits a while for what is under way.
    pub(super) fn end(&self) {
        let (done, is_done) = sync_channel(1);
        if self.queue.try_send(Errand::End(done)).is_ok() {
            let _ = is_done.recv_timeout(END_MAX);
        }
    }
}

struct Round {
    events: Events,
    file: Option<PathBuf>,
    post: Option<Post>,
    metrics: AuditMetrics,
    has_failed: bool,
}

impl Round {
    fn run(mut self, errands: &Receiver<Errand>) {
        while let Ok(errand) = errands.recv() {
            match errand {
                Errand::Anchor(anchor) => self.anchor(&anchor),
                Errand::Event(event) => self.events.emit(event),
                Errand::End(done) => {
                    let _ = done.try_send(());
                }
            }
        }
    }

    fn anchor(&mut self, anchor: &Anchor) {
        let line = format!("{}\n", anchor.to_json());
        let mut failed = Vec::new();
        if let Some(path) = &self.file {
            let mut options = OpenOptions::new();
            let written = options.append(true).create(true).open(path).and_then(|mut file| {
                file.write_all(line.as_bytes())?;
                file.sync_data()
            });
            if let Err(error) = written {
                failed.push(format!("{}: {error}", path.display()));
            }
        }
        if let Some(post) = &self.post
            && let Err(error) = post.send(line)
        {
            failed.push(format!("audit.anchor_url: {error}"));
        }
        if failed.is_empty() {
            self.has_failed = false;
            return;
        }
        self.metrics.anchors_failed.inc();
        if !std::mem::replace(&mut self.has_failed, true) {
            tracing::warn!(
                event = "audit_anchor_failed",
                position = anchor.position.0,
                reason = failed.join("; "),
                "a checkpoint of the audit log could not be kept elsewhere; the next is tried"
            );
        }
    }
}

/// Posts to one URL.
struct Post {
    runtime: Runtime,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
}

impl Post {
    fn new(url: Uri) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut roots = rustls::RootCertStore::empty();
        if url.scheme_str() == Some("https") {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider);
        let tls = tls.with_safe_default_protocol_versions().map_err(io::Error::other)?;
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        let https = HttpsConnectorBuilder::new().with_tls_config(tls);
        let https = https.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(https);
        Ok(Self { runtime, client, url })
    }

    fn send(&self, line: String) -> Result<(), String> {
        let request = Request::builder().method(Method::POST).uri(self.url.clone());
        let request = request.header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::from(line)).map_err(|error| error.to_string())?;
        let answered = async {
            let answer = self.client.request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let _ = http_body_util::Limited::new(answer, ANSWER_BYTES_MAX).collect().await;
            status.is_success().then_some(()).ok_or_else(|| format!("answered {status}"))
        };
        let answered = async { tokio::time::timeout(POST_MAX, answered).await };
        self.runtime.block_on(answered).map_err(|_| "no answer in time".to_owned())?
    }
}

const QUEUE_MAX: usize = 64;
const POST_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// A successor waits for the log.
const END_MAX: Duration = Duration::from_secs(2);
