//! `Wanted`: what of a request the cache reads to tell it from others.
//!
//! Borrowed from the request; nothing is copied. It has no `Debug` on purpose: the headers hold credentials.

use http::{HeaderMap, Method};

use super::kinds::Kinds;

/// The body of a request, as far as it has been read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Content<'r> {
    /// None comes.
    None,
    /// One comes that nobody has read yet; it may turn out to be empty.
    Unread,
    /// All of it.
    Read(&'r [u8]),
}

/// A request, as route, key and identity see it.
#[derive(Clone, Copy)]
pub struct Wanted<'r> {
    /// As sent.
    pub method: &'r Method,
    /// `http` or `https`, as the client used it.
    pub scheme: &'static str,
    /// Lower case, without the scheme's own port.
    pub authority: &'r str,
    /// The host a trusted proxy says the client asked for.
    pub forwarded_host: Option<&'r str>,
    /// The peer's word on the client counts: what it sends as `X-Forwarded-*` is passed on.
    pub trusted: bool,
    /// As sent.
    pub path: &'r str,
    /// As sent, without the `?`; an empty one is not none.
    pub query: Option<&'r str>,
    /// As sent.
    pub headers: &'r HeaderMap,
    /// What kinds of fields they are.
    pub kinds: Kinds,
    /// Its body.
    pub body: Content<'r>,
    /// Whether it asks for another protocol.
    pub upgrade: bool,
}
