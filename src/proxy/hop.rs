//! What belongs to the client's connection and not to its request: read once, and gone before anything is decided.
//!
//! A client may name any field in `Connection`, and the upstream never sees it then. If such a field still counted in a key or
//! selected a variant, the key would describe a request that nobody answered.

use http::header::{CONNECTION, COOKIE, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::target::BadRequest;
use crate::semantics::fields;

/// What of it still matters.
#[derive(Clone, Debug, Default)]
pub struct Hop {
    /// RFC 9110, 10.1.4: the client "is willing to accept trailer fields".
    pub reads_trailers: bool,
    /// The protocol it wants to change to.
    pub upgrade: Option<HeaderValue>,
}

impl Hop {
    /// Takes it out of the head.
    pub fn take(parts: &mut Parts) -> Result<Self, BadRequest> {
        let headers = &mut parts.headers;
        check_coding(headers)?;
        let hop = Self {
            reads_trailers: has_member(headers, &TE, b"trailers"),
            upgrade: upgrade(headers).filter(|_| parts.version == Version::HTTP_11).cloned(),
        };
        fields::strip_hop_by_hop(headers);
        if parts.version == Version::HTTP_2 {
            join_crumbs(headers);
        }
        Ok(hop)
    }
}

/// RFC 9112, 6.1: "A server that receives a request message with a transfer coding it does not understand SHOULD respond with
/// 501". We understand `chunked`, once; hyper would also take `gzip, chunked` for it, and then the coding would be lost.
fn check_coding(headers: &HeaderMap) -> Result<(), BadRequest> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let understood = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    understood.then_some(()).ok_or(BadRequest::TransferEncoding)
}

/// The protocol to change to, if the client really wants to.
fn upgrade(headers: &HeaderMap) -> Option<&HeaderValue> {
    // RFC 9110, 7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option in the Connection header field".
    let wanted = headers.get(UPGRADE).filter(|_| has_member(headers, &CONNECTION, b"upgrade"))?;
    // RFC 9113, 3.1: "The "h2c" string was previously used as a token for use in the HTTP Upgrade mechanism's Upgrade header
    // field. This usage was never widely deployed and is deprecated by this document." A tunnel of HTTP/2 would carry requests
    // past every rule here; as it is, the client is answered in HTTP/1.1, which it offered to speak.
    (!has_member(headers, &UPGRADE, b"h2c")).then_some(wanted)
}

/// RFC 9113, 8.2.3: cookies may come in several fields; "these MUST be concatenated into a single octet string using the two-octet
/// delimiter of 0x3b, 0x20 (the ASCII string "; ") before being passed into a non-HTTP/2 context", which the upstream is.
fn join_crumbs(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(COOKIE, whole);
    }
}

/// RFC 9110, 5.6.1: a list, over all lines of the field; the members here are not case-sensitive.
fn has_member(headers: &HeaderMap, name: &HeaderName, member: &[u8]) -> bool {
    let mut members =
        headers.get_all(name).into_iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members.any(|each| each.trim_ascii().eq_ignore_ascii_case(member))
}
