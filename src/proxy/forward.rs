//! The request as the upstream sees it: the client's target exactly as sent, less what belongs to the client's connection,
//! plus who asked and through whom.

use std::net::IpAddr;

use http::header::{
    CONNECTION, EXPECT, FORWARDED, GetAll, HOST, IF_RANGE, RANGE, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};

use super::client::Client;
use super::kinds::Kinds;
use super::target::{Peer, Target, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::semantics::{conditional, fields};
use crate::upstream::{HostField, Sent, Settings};

/// Which of a client's own fields the upstream gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An answer for this client alone: all of them.
    Pass,
    /// An answer that may be kept and given to others: the client's conditions are held against it here.
    Keep,
    /// The same, where the last answer was not kept: its conditions go along, so that the upstream may say 304, to it alone.
    Retry,
    /// The same, where a part is asked for: with its conditions too.
    Range,
    /// Another protocol on this connection.
    Upgrade,
}

impl Purpose {
    /// Whether the answer may be given to others.
    fn keeps(self) -> bool {
        matches!(self, Self::Keep | Self::Retry | Self::Range)
    }
}

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Put before every path; empty for nearly everybody.
    prefix: String,
    /// Told as `Host`, if it is not the client's.
    host: Option<HeaderValue>,
}

impl Destination {
    /// `None` for an address without scheme and host, which the configuration refuses.
    pub fn new(settings: &Settings) -> Option<Self> {
        let authority = settings.url.authority()?;
        let host = match settings.host {
            HostField::Client => None,
            HostField::Upstream => Some(HeaderValue::from_str(authority.as_str()).ok()?),
        };
        settings.url.scheme()?;
        Some(Self { prefix: settings.url.path().trim_end_matches('/').to_owned(), host })
    }

    /// The client's path and query at the upstream, byte for byte.
    fn uri(&self, client: &Uri) -> Result<Uri, http::Error> {
        let path_and_query = match client.path_and_query() {
            Some(path_and_query) if self.prefix.is_empty() => path_and_query.clone(),
            Some(path_and_query) => {
                PathAndQuery::try_from(format!("{}{}", self.prefix, path_and_query.as_str()))?
            }
            None => PathAndQuery::from_static("/"),
        };
        // RFC 9112, 3.2.1: the origin-form, which is "the most common form of request-target". Whose it is says the connection.
        Ok(path_and_query.into())
    }

    /// The request to send. It fails if the target, with what is put before it, is too long for a URI.
    pub fn request(
        &self,
        client: &Client,
        target: &Target<'_>,
        purpose: Purpose,
        body: Sent,
    ) -> Result<Request<Sent>, http::Error> {
        let mut request = Request::new(body);
        *request.method_mut() = client.parts.method.clone();
        *request.uri_mut() = self.uri(&client.parts.uri)?;
        *request.version_mut() = Version::HTTP_11;
        let mut headers = self.headers(client, target, purpose);
        // hyper's client sends no body of unknown length with a GET unless the head announces one; RFC 9110, 9.3.1 allows it.
        if request.body().is_of_unknown_length() {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn headers(&self, client: &Client, target: &Target<'_>, purpose: Purpose) -> HeaderMap {
        let Client { parts, hop, peer, kinds, .. } = client;
        let mut fields = Fields::of(&parts.headers, *kinds);
        let headers = &mut fields.all;
        if hop.reads_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
        if let (Purpose::Upgrade, Some(protocol)) = (purpose, &hop.upgrade) {
            headers.insert(UPGRADE, protocol.clone());
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        }
        if kinds.has_condition() && purpose == Purpose::Keep {
            conditional::strip_conditions(headers);
        }
        // What is asked for whole is not asked for in parts.
        if kinds.has_condition() && matches!(purpose, Purpose::Keep | Purpose::Retry) {
            headers.remove(RANGE);
            headers.remove(IF_RANGE);
        }
        if !headers.contains_key(HOST) {
            // An HTTP/2 request has it in its target.
            let host = HeaderValue::from_str(&target.authority);
            headers.insert(HOST, host.unwrap_or(HeaderValue::from_static("")));
        }
        // hyper has answered it to the client by the time the body is read; the upstream need not be asked again.
        fields.remove(&EXPECT);
        announce(&mut fields, purpose);
        introduce(&mut fields, target, *peer, purpose);
        let Fields { all: mut headers, .. } = fields;
        // The client's own otherwise: its spelling may matter to the upstream.
        if let Some(host) = &self.host {
            headers.insert(HOST, host.clone());
        }
        fields::append_via(&mut headers, parts.version);
        headers
    }
}

/// The client's fields and those that we add: few clients send any that are ours to set, and of the others one look says so.
struct Fields {
    all: HeaderMap,
    /// The client sent some whose names have to be looked at.
    has_unknown: bool,
}

impl Fields {
    fn of(client: &HeaderMap, kinds: Kinds) -> Self {
        // With room for ours: a table that grows is made anew.
        let mut all = HeaderMap::with_capacity(client.len() + OWN_FIELDS);
        for (name, value) in client {
            all.append(name, value.clone());
        }
        Self { all, has_unknown: kinds.has_unknown() }
    }

    /// Whether the client sent this field, which is one that `Kinds` does not know.
    fn has(&self, name: &HeaderName) -> bool {
        self.has_unknown && self.all.contains_key(name)
    }

    fn remove(&mut self, name: &HeaderName) {
        if self.has_unknown {
            self.all.remove(name);
        }
    }

    /// Sets a field that is none of those that `Kinds` knows.
    fn set(&mut self, name: HeaderName, value: HeaderValue) {
        if self.has_unknown {
            self.all.insert(name, value);
        } else {
            // It is not there, and to replace what is takes longer.
            self.all.append(name, value);
        }
    }

    /// Adds a member to a list field, as one line.
    fn append(&mut self, name: &HeaderName, member: &str) {
        let line = self.has(name).then(|| joined(&self.all.get_all(name), member));
        if let Ok(value) = HeaderValue::from_str(line.as_deref().unwrap_or(member)) {
            self.set(name.clone(), value);
        }
    }
}

/// As many as are added to nearly every request.
const OWN_FIELDS: usize = 6;

/// Says that this cache can be spoken to with `Surrogate-Control`.
fn announce(fields: &mut Fields, purpose: Purpose) {
    // Edge Architecture Specification, 2.1: surrogates "MUST" append it. What others before us can do must not decide over an
    // answer that is kept for all.
    if purpose.keeps() {
        fields.remove(&SURROGATE_CAPABILITY);
    }
    if fields.has(&SURROGATE_CAPABILITY) {
        fields.append(&SURROGATE_CAPABILITY, CAPABILITY);
    } else {
        fields.set(SURROGATE_CAPABILITY, HeaderValue::from_static(CAPABILITY));
    }
}

const SURROGATE_CAPABILITY: HeaderName = HeaderName::from_static("surrogate-capability");
/// Of the device by whose name the upstream may speak to this cache alone.
const CAPABILITY: &str = "larder=\"Surrogate/1.0\"";

/// Says for whom we ask. What an untrusted client says of itself in these fields is dropped, and so are all others of their
/// family: a backend may believe them, and an answer made from them must not be kept for others.
fn introduce(fields: &mut Fields, target: &Target<'_>, peer: Peer, purpose: Purpose) {
    if !target.trusted && fields.has_unknown {
        remove_family(&mut fields.all);
    }
    // Where an answer is kept the upstream sees just what is in its key: not `a, b`, of which it might take the other.
    if purpose.keeps() && fields.has_unknown {
        fields.remove(&X_FORWARDED_PROTO);
        fields.remove(&X_FORWARDED_HOST);
        leave_addresses(&mut fields.all);
        if let Some(Ok(host)) = target.forwarded_host.map(HeaderValue::from_str) {
            fields.all.insert(X_FORWARDED_HOST, host);
        }
    }
    let address = text(peer.address);
    fields.append(&X_FORWARDED_FOR, &address);
    if !fields.has(&X_FORWARDED_PROTO) {
        fields.set(X_FORWARDED_PROTO, HeaderValue::from_static(target.scheme));
    }
    if !fields.has(&X_FORWARDED_HOST)
        && let Some(host) = fields.all.get(HOST).cloned()
    {
        fields.set(X_FORWARDED_HOST, host);
    }
    fields.append(&FORWARDED, &element(target, peer, purpose, &address));
}

/// Leaves of `Forwarded` only who asked, not for which host or how.
fn leave_addresses(headers: &mut HeaderMap) {
    let lines = headers.get_all(FORWARDED).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(',')).flat_map(|element| element.split(';')).map(str::trim);
    // A quote that is open would take in what we put behind it.
    let closed = |pair: &&str| pair.matches('"').count().is_multiple_of(2);
    let addresses: Vec<&str> = pairs
        .filter(closed)
        .filter(|pair| pair.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("for=")))
        .collect();
    let line = HeaderValue::from_str(&addresses.join(", "));
    headers.remove(FORWARDED);
    if let Some(line) = line.ok().filter(|line| !line.is_empty()) {
        headers.insert(FORWARDED, line);
    }
}

fn remove_family(headers: &mut HeaderMap) {
    let family: Vec<HeaderName> = headers.keys().filter(|name| is_family(name)).cloned().collect();
    for name in family {
        headers.remove(name);
    }
}

fn is_family(name: &HeaderName) -> bool {
    // Some servers take `_` for `-` in names.
    let is_same = |(one, other): (&u8, &u8)| one == other || (*one == b'_' && *other == b'-');
    let text = name.as_str().as_bytes();
    let begins_so = text.len() >= FAMILY.len() && text.iter().zip(FAMILY).all(is_same);
    begins_so || *name == FORWARDED
}

const FAMILY: &[u8] = b"x-forwarded-";

/// An address in words: `Display` would do, but takes its time over what nearly every request's is.
fn text(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else { return address.to_string() };
    let mut text = String::with_capacity("255.255.255.255".len());
    for octet in address.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(itoa::Buffer::new().format(octet));
    }
    text
}

/// RFC 7239, 4: one element; an IPv6 address is quoted and in brackets, a host with a port is quoted.
fn element(target: &Target<'_>, peer: Peer, purpose: Purpose, address: &str) -> String {
    let (host, scheme) = if purpose.keeps() {
        (target.forwarded_host.unwrap_or(&target.authority), target.scheme)
    } else {
        (&*target.authority, peer.scheme)
    };
    let mut element = String::with_capacity(address.len() + host.len() + ELEMENT_BYTES);
    let pieces = if peer.address.is_ipv6() { ["for=\"[", address, "]\""] } else { ["for=", address, ""] };
    element.extend(pieces);
    if !host.is_empty() {
        element.extend([";host=\"", host, "\""]);
    }
    element.extend([";proto=", scheme]);
    element
}

/// Of an element beside address and host.
const ELEMENT_BYTES: usize = 40;

/// All lines of a list field as one, with this member behind them.
fn joined(lines: &GetAll<'_, HeaderValue>, member: &str) -> String {
    let mut line = String::new();
    // A line that is not text was not written by a proxy.
    for text in lines.iter().filter_map(|line| line.to_str().ok()) {
        line.push_str(text);
        line.push_str(", ");
    }
    line.push_str(member);
    line
}
