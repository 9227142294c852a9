//! Who asks and what for: a request's head on its way through, with the connection it came on.

use http::request::Parts;
use ipnet::IpNet;

use super::hop::Hop;
use super::target::{self, BadRequest, Peer, Target};

/// A client's request, without its body.
#[derive(Debug)]
pub struct Client {
    /// The head; after `take_hop` without what belongs to the connection.
    pub parts: Parts,
    /// What belonged to it.
    pub hop: Hop,
    /// The other end of the connection.
    pub peer: Peer,
    /// The route's place in the snapshot.
    pub route: usize,
}

impl Client {
    /// As it came.
    pub fn new(parts: Parts, peer: Peer) -> Self {
        Self { parts, hop: Hop::default(), peer, route: usize::MAX }
    }

    /// Takes what belongs to the connection out of the head.
    pub fn take_hop(&mut self) -> Result<(), BadRequest> {
        self.hop = Hop::take(&mut self.parts)?;
        Ok(())
    }

    /// What the request is for.
    pub fn target(&self, trusted_proxies: &[IpNet]) -> Result<Target<'_>, BadRequest> {
        target::read(&self.parts, self.peer, trusted_proxies)
    }
}
