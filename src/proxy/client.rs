//! Who asks and what for: a request's head on its way through, with the connection it came on.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Version};
use ipnet::IpNet;
use percent_encoding::percent_decode_str;

use super::hop::Hop;
use super::kinds::Kinds;
use super::lookup::Looked;
use super::own_address::{host_in_key, is_at};
use super::target::{self, BadRequest, Peer, Target};
use super::wanted::{Content, Wanted};

/// A client's request; its body only where it had to be read first. It has no `Debug` on purpose, as `Wanted` has none.
#[derive(Clone)]
pub struct Client {
    /// The head; after `take_hop` without what belongs to the connection.
    pub parts: Parts,
    /// What belonged to it.
    pub hop: Hop,
    /// What kinds of fields are left in the head.
    pub kinds: Kinds,
    /// The other end of the connection.
    pub peer: Peer,
    /// Its body, if that was read for the key; who fetches sends it along. Else empty.
    pub body: Bytes,
    /// The route's place in the snapshot.
    pub route: usize,
    /// Its route has it that such a request changes nothing, whatever its method.
    pub is_read: bool,
    /// What the shared tier was asked for it.
    pub looked: Looked,
}

impl Client {
    /// As it came.
    pub fn new(parts: Parts, peer: Peer) -> Self {
        Self {
            parts,
            hop: Hop::default(),
            kinds: Kinds::default(),
            peer,
            body: Bytes::new(),
            route: usize::MAX,
            is_read: false,
            looked: Looked::default(),
        }
    }

    /// Takes what belongs to the connection out of the head.
    pub fn take_hop(&mut self) -> Result<(), BadRequest> {
        self.kinds = Kinds::read(&self.parts.headers);
        if self.kinds.concerns_connection()
            || (self.kinds.has_cookie() && self.parts.version == Version::HTTP_2)
        {
            self.hop = Hop::take(&mut self.parts)?;
            self.kinds = Kinds::read(&self.parts.headers);
        }
        Ok(())
    }

    /// With all who have to do with its fetch, of which many outlive the client; and what the shared tier was asked for it, which
    /// is the client's own. A connection is not theirs to hold.
    pub fn shared(mut self) -> (Arc<Self>, Looked) {
        self.parts.extensions.clear();
        let looked = std::mem::take(&mut self.looked);
        (Arc::new(self), looked)
    }

    /// The same of one in a box, whose memory goes back here: what is moved out of a box leaves that where it is, as long as its
    /// owner waits.
    pub fn shared_from(boxed: Box<Self>) -> (Arc<Self>, Looked) {
        (*boxed).shared()
    }

    /// The path, with its percent-encoding undone.
    pub fn path(&self) -> Arc<[u8]> {
        let path: Cow<'_, [u8]> = percent_decode_str(self.parts.uri.path()).into();
        path.into()
    }

    /// What the request is for.
    pub fn target(&self, trusted_proxies: &[IpNet]) -> Result<Target<'_>, BadRequest> {
        target::read(&self.parts, self.peer, trusted_proxies)
    }

    /// The address of our own socket, if that is what the client asked for.
    pub fn asked_here(&self, target: &Target<'_>) -> Option<SocketAddr> {
        self.peer.here.filter(|here| is_at(&target.authority, *here))
    }

    /// The request as route and key see it, with this method and no body.
    pub fn wanted<'r>(&'r self, target: &'r Target<'r>, method: &'r Method) -> Wanted<'r> {
        Wanted {
            method,
            scheme: target.scheme,
            authority: host_in_key(&target.authority, self.peer.here),
            forwarded_host: target.forwarded_host,
            trusted: target.trusted,
            path: self.parts.uri.path(),
            query: self.parts.uri.query(),
            headers: &self.parts.headers,
            kinds: self.kinds,
            body: Content::None,
            upgrade: false,
        }
    }
}
