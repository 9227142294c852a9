//! What a request is for: its host, as one name, and how the client reached us. Refuses what two readers could
//! understand in two ways, before anything else looks at it.
//!
//! The host of the target is part of every key and is what the upstream is told, so it must be beyond doubt: exactly one,
//! in the place where the protocol wants it, and of characters that a host has. What proxies before us say of the client
//! (`X-Forwarded-*`, `Forwarded`) counts only if they are in `server.trusted_proxies`.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Version};
use ipnet::IpNet;
use memchr::memchr;

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The other end of the connection.
    pub address: IpAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The address at which it reached us, where that must not tell instances apart.
    pub here: Option<SocketAddr>,
}

/// What of a head is beyond doubt.
#[derive(Debug)]
pub struct Target<'r> {
    /// Lower case, without the scheme's own port.
    pub authority: Cow<'r, str>,
    /// How the client reached us, or the trusted proxy before us.
    pub scheme: &'static str,
    /// The host the client asked a trusted proxy for.
    pub forwarded_host: Option<&'r str>,
    /// The peer is one whose word on the client counts.
    pub trusted: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// RFC 9112, 3.2.
    #[error("the request has no Host")]
    NoHost,
    /// RFC 9112, 3.2.
    #[error("the request has more than one Host")]
    SeveralHosts,
    /// RFC 9112, 3.2.
    #[error("the request's Host is not a host name")]
    InvalidHost,
    /// Target and `Host` name different hosts.
    #[error("the request's target and its Host name different hosts")]
    HostMismatch,
    /// `CONNECT`, `OPTIONS *`, or a target without a path.
    #[error("the request's target has no path: this is not a forward proxy")]
    NoPath,
    /// Anything but `chunked`.
    #[error("the request's Transfer-Encoding is not just \"chunked\"")]
    TransferEncoding,
}

/// Reads the head.
pub fn read<'r>(parts: &'r Parts, peer: Peer, trusted_proxies: &[IpNet]) -> Result<Target<'r>, BadRequest> {
    // RFC 9110, 9.3.6: "CONNECT is intended for use in requests to a proxy." A reverse proxy has nowhere to connect to.
    let has_path = parts.uri.path().starts_with('/') && parts.method != Method::CONNECT;
    if !has_path {
        return Err(BadRequest::NoPath);
    }
    let authority = authority(parts)?;
    let trusted = trusted_proxies.iter().any(|net| net.contains(&peer.address));
    let told = if trusted { told(&parts.headers) } else { Told::default() };
    Ok(Target {
        authority: plain(authority, peer.scheme),
        scheme: told.scheme.unwrap_or(peer.scheme),
        forwarded_host: told.host,
        trusted,
    })
}

/// The one host this request is for.
fn authority(parts: &Parts) -> Result<&str, BadRequest> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        // RFC 9112, 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that
        // […] contains more than one Host header field line or a Host header field with an invalid field value."
        (Some(_), Some(_)) => return Err(BadRequest::SeveralHosts),
        (Some(host), None) => Some(valid_host(host.as_bytes())?),
        (None, _) => None,
    };
    let target = match parts.uri.authority() {
        Some(authority) => Some(valid_host(authority.as_str().as_bytes())?),
        None => None,
    };
    match (target, host) {
        // RFC 9112, 3.2.2 lets the target of an absolute-form win over Host; who sends two different ones wants
        // two readers to disagree.
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => Err(BadRequest::HostMismatch),
        // RFC 9112, 3.2: HTTP/1.1 wants a Host with every form of target; HTTP/2 has the one in the target.
        (Some(_), None) if parts.version == Version::HTTP_11 => Err(BadRequest::NoHost),
        (Some(target), _) => Ok(target),
        (None, Some(host)) => Ok(host),
        // HTTP/1.0 knew no Host; the upstream gets the empty one the client meant.
        (None, None) if parts.version < Version::HTTP_11 => Ok(""),
        // RFC 9112, 3.2: "[…] to any HTTP/1.1 request message that lacks a Host header field".
        (None, None) => Err(BadRequest::NoHost),
    }
}

/// What may stand in a host and its port; looked up once a byte.
static IN_HOSTS: [bool; 256] = in_hosts();

const fn in_hosts() -> [bool; 256] {
    let allowed = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~[]:%!$&'()*+,;=";
    let mut table = [false; 256];
    let mut at = 0;
    while at < allowed.len() {
        table[allowed[at] as usize] = true;
        at += 1;
    }
    table
}

/// RFC 9110, 7.2: `Host = uri-host [ ":" port ]`. No user information, no path, no white space.
fn valid_host(host: &[u8]) -> Result<&str, BadRequest> {
    let text = std::str::from_utf8(host).map_err(|_| BadRequest::InvalidHost)?;
    let (name, port) = match text.strip_prefix('[').and_then(|inner| inner.find(']')) {
        Some(end) => text.split_at(end + 2),
        None => text.split_at(memchr(b':', host).unwrap_or(text.len())),
    };
    // RFC 3986, 3.2.3: `port = *DIGIT`.
    let has_port = port.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    if name.is_empty()
        || !host.iter().all(|byte| IN_HOSTS[usize::from(*byte)])
        || !(port.is_empty() || has_port)
    {
        return Err(BadRequest::InvalidHost);
    }
    Ok(text)
}

/// Two spellings of one host are one host. RFC 3986, 6.2.3: "normalizers should remove the ':' delimiter when the port is empty".
fn plain<'r>(authority: &'r str, scheme: &str) -> Cow<'r, str> {
    let own_port = if scheme == "https" { ":443" } else { ":80" };
    let stripped = authority.strip_suffix(own_port).or_else(|| authority.strip_suffix(':'));
    let authority = stripped.unwrap_or(authority);
    if authority.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(authority.to_ascii_lowercase())
    } else {
        Cow::Borrowed(authority)
    }
}

/// What a trusted proxy says of the client.
#[derive(Default)]
struct Told<'r> {
    scheme: Option<&'static str>,
    host: Option<&'r str>,
}

/// `X-Forwarded-*` where they stand, else `Forwarded`; of lists the last member, which the trusted proxy itself added.
fn told(headers: &HeaderMap) -> Told<'_> {
    let scheme = last(headers, &X_FORWARDED_PROTO).or_else(|| forwarded(headers, "proto"));
    let host = last(headers, &X_FORWARDED_HOST).or_else(|| forwarded(headers, "host"));
    Told {
        scheme: scheme.and_then(|scheme| match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => Some("https"),
            _ if scheme.eq_ignore_ascii_case("http") => Some("http"),
            _ => None,
        }),
        host: host.filter(|host| valid_host(host.as_bytes()).is_ok()),
    }
}

/// How the client reached the first proxy.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Which host it asked for there.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Who it was.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

fn last<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Option<&'r str> {
    let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    line.rsplit(',').next().map(str::trim).filter(|member| !member.is_empty())
}

/// RFC 7239, 4: `for=…;proto=https;host=…`, of the last element.
fn forwarded<'r>(headers: &'r HeaderMap, name: &str) -> Option<&'r str> {
    let element = last(headers, &FORWARDED)?;
    element.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}
