//! Another protocol on the same connection, WebSocket above all: the request goes through, and if the upstream agrees, bytes
//! go both ways until one side ends. Neither cached nor looked at; it holds its client's connection and nothing else.

use std::any::Any;
use std::sync::Arc;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, on};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::body::Body;
use super::prepare;
use super::respond::{self, Account};

/// What must live as long as the client's connection does: its place among the connections there may be.
#[derive(Clone)]
pub struct Hold(pub Arc<dyn Any + Send + Sync>);

/// Both ends, as soon as both have switched.
pub fn splice<B>(client: OnUpgrade, hold: Option<Hold>, response: &mut Response<B>) {
    debug_assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let upstream = on(response);
    // If this task is cancelled both connections close, which is what the end of the process means to them.
    tokio::spawn(async move {
        let _hold = hold;
        let (client, upstream) = match tokio::try_join!(client, upstream) {
            Ok(both) => both,
            Err(error) => {
                tracing::debug!(%error, "an upgrade did not come about");
                return;
            }
        };
        let copied = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(upstream)).await;
        if let Err(error) = copied {
            tracing::debug!(%error, "an upgraded connection broke");
        }
    });
}

/// The answer that tells the client so: the fields that belong to the connection are the point of it.
pub fn switching<B>(response: Response<B>, account: &Account) -> Response<Body> {
    let (mut parts, _) = response.into_parts();
    let protocol = parts.headers.get(UPGRADE).cloned();
    prepare::prepare(&mut parts.headers, parts.version);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.extend(protocol.map(|protocol| (UPGRADE, protocol)));
    respond::single(Response::from_parts(parts, Body::Empty), account)
}
