//! The origin side: one HTTP API, asked over pooled keep-alive connections.

mod body;
mod client;
mod connect;
mod error;
mod gate;
mod link;
mod pool;
mod received;

use std::time::Duration;

pub use body::Sent;
pub use client::Client;
pub use connect::{Connector, ConnectorError, NetConnector, connector, roots};
pub use error::{BodyError, UpstreamError};
pub use gate::Permit;
pub use received::Received;

/// How the upstream is reached and how much it may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `http://host:port` or `https://…`, with a path to put before every request's or none.
    pub url: http::Uri,
    /// Which `Host` it is told.
    pub host: HostField,
    /// Certificates to trust instead of the system's, PEM.
    pub ca: Option<Vec<u8>>,
    /// DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// To the response head, since anything last moved.
    pub response_timeout: Duration,
    /// A kept-alive connection.
    pub idle_timeout: Duration,
    /// Longest silence inside a response body.
    pub body_timeout: Duration,
    /// Kept-alive connections that nothing was sent on for a second.
    pub max_idle: usize,
    /// Requests under way.
    pub max_in_flight: usize,
    /// Requests that may wait for one of those places.
    pub queue_max: usize,
    /// … and for how long.
    pub queue_timeout: Duration,
    /// Tries after the first, for safe methods and connection failures.
    pub retries: u32,
}

/// Which `Host` the upstream is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostField {
    /// The one the client sent.
    #[default]
    Client,
    /// The one in `upstream.url`.
    Upstream,
}
