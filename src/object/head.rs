//! `Head`: status and fields of an answer, while they are looked at.

use http::{HeaderMap, StatusCode};

/// Status and fields of an answer, as every client gets them.
#[derive(Clone, Debug)]
pub struct Head {
    /// The upstream's status.
    pub status: StatusCode,
    /// The upstream's fields, less what belongs to the connection.
    pub headers: HeaderMap,
}
