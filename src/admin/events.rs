//! What happens, as it happens: server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use hyper::body::Frame;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::{Answer, Desk, Params, Problem, Role, Routes};
use crate::events::{Event, Listening};

pub(super) fn routes() -> Routes {
    Routes::new("events", "What happens, as it happens").get(
        "/v1/events",
        Role::Viewer,
        "events.follow",
        json!({
            "summary": "Server-sent events: what happens from now on, or since Last-Event-ID",
            "description": "`event` is the kind, `id` the event's id, `data` the event as JSON. \
                The last 1,024 events are kept in memory. `event: gap` says that some may have \
                been missed: the named event is not kept any more, or the listener was too slow.",
            "parameters": [
                {
                    "name": "Last-Event-ID",
                    "in": "header",
                    "description": "Begin after this event",
                    "schema": { "type": "string" }
                },
                {
                    "name": "follow",
                    "in": "query",
                    "description": "false for what is kept and no more",
                    "schema": { "type": "boolean", "default": true }
                }
            ],
            "responses": { "200": {
                "description": "The events",
                "content": { "text/event-stream": { "schema": { "type": "string" } } }
            } }
        }),
        follow,
    )
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wish {
    follow: Option<bool>,
}

async fn follow(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    Params(wish): Params<Wish>,
) -> Result<Answer, Problem> {
    let follows = wish.follow.unwrap_or(true);
    let after = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let after = after.or((!follows).then_some(""));
    let Some(listening) = desk.gate.response.events.listen(after) else {
        return Ok(Answer::raw(CONTENT_TYPE, Body::empty())); // a gate that tells nobody
    };
    let Listening { missed, has_gap, mut following } = listening;
    let mut begin = String::new();
    if has_gap && after != Some("") {
        begin.push_str(GAP);
    }
    begin.extend(missed.iter().map(|event| written(event)));
    if !follows {
        return Ok(Answer::raw(CONTENT_TYPE, begin));
    }
    let (frames, receiver) = mpsc::channel::<Bytes>(FRAMES_MAX);
    tokio::spawn(async move {
        // The first bytes at once, so that whoever asks sees that somebody is there.
        begin.push_str(ALIVE);
        let mut frame = begin;
        while frames.send(frame.into()).await.is_ok() {
            frame = match tokio::time::timeout(ALIVE_INTERVAL, following.recv()).await {
                Err(_) => ALIVE.to_owned(),
                Ok(Ok(event)) => written(&event),
                Ok(Err(RecvError::Lagged(_))) => GAP.to_owned(),
                Ok(Err(RecvError::Closed)) => return,
            };
        }
    });
    Ok(Answer::raw(CONTENT_TYPE, Body::new(Frames(receiver))))
}

fn written(event: &Event) -> String {
    let data = serde_json::to_string(event).unwrap_or_default(); // a line: JSON has no line breaks
    let plain = |text: &str| text.replace(['\r', '\n'], " ");
    format!("id: {}\nevent: {}\ndata: {data}\n\n", plain(&event.id), plain(&event.kind))
}

/// A body whose pieces come from a task.
struct Frames(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

const CONTENT_TYPE: &str = "text/event-stream";
const GAP: &str = "event: gap\ndata: {}\n\n";
const ALIVE: &str = ": here\n\n";
/// Balancers close what is silent for half a minute.
const ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const FRAMES_MAX: usize = 64;
