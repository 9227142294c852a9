//! The client side: listeners, connections with their time limits, draining. It knows HTTP's transport and nothing of caches:
//! who answers is given to it.

mod connection;
pub mod drain;
mod from_file;
mod io;
mod lines;
pub mod listener;
mod outbox;
mod vigil;

use std::net::SocketAddr;
use std::time::Duration;

pub use connection::{Ended, serve};

/// How clients are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Clients.
    pub listen: SocketAddr,
    /// Hooks, metrics, health; none: no admin listener.
    pub admin: Option<SocketAddr>,
    /// Threads that serve; 0: one a core.
    pub workers: usize,
    /// Open connections.
    pub max_connections: usize,
    /// Limits of each of them.
    pub limits: Limits,
    /// How long a shutdown waits for what was begun.
    pub drain_timeout: Duration,
}

/// Requests at once on an HTTP/2 connection of a client.
pub const STREAMS_MAX: u32 = 128;

/// Limits of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests at once, where its protocol knows such a thing.
    pub streams_max: u32,
    /// From a request's first byte to the end of its head.
    pub header_timeout: Duration,
    /// Between requests.
    pub idle_timeout: Duration,
    /// Longest silence while a client sends a body, or takes one.
    pub body_timeout: Duration,
}
