//! Who may ask: those who know the token, or, where there is none, those on this machine.
//!
//! Without a token the listener is bound to loopback, and the danger is the operator's own browser: a web page can
//! point a name of its own at 127.0.0.1 and then read what we answer as if it were its own server (DNS rebinding). Its
//! requests bear that name, so only names that no stranger can own are answered: addresses, `localhost`, `*.localhost`.
//! A page can also send requests here under its own name, of which it reads no answer; but what they ask for would be done.
//! Browsers say in `Origin` whose page it is.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request;
use http::uri::Authority;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::secret::Secret;

/// What it takes to be answered.
pub(super) enum Access {
    /// The token of this digest. Digests are compared rather than tokens, so that not even its length shows in time.
    Token([u8; 32]),
    /// A host name that can't be a stranger's.
    Local,
}

/// Why a request is not answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// No token, more than one, or the wrong one.
    Token,
    /// A name that may be a stranger's, or none.
    Host,
    /// A page of another origin asks for something to be done.
    Page,
}

impl Access {
    pub(super) fn new(token: Option<&Secret>) -> Self {
        token.map_or(Self::Local, |token| Self::Token(digest(token.expose().as_bytes())))
    }

    /// Whether `Authorization` is ours to read and not part of what is asked about.
    pub(super) fn takes_authorization(&self) -> bool {
        matches!(self, Self::Token(_))
    }

    pub(super) fn check(&self, request: &request::Parts) -> Result<(), Denied> {
        match self {
            Self::Token(expected) if bears(request, expected) => Ok(()),
            Self::Token(_) => Err(Denied::Token),
            Self::Local if !names_this_machine(request) => Err(Denied::Host),
            Self::Local if !request.method.is_safe() && is_of_another_page(request) => Err(Denied::Page),
            Self::Local => Ok(()),
        }
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn bears(request: &request::Parts, expected: &[u8; 32]) -> bool {
    let mut all = request.headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else {
        return false;
    };
    let Some((scheme, token)) = only.as_bytes().split_at_checked("Bearer ".len()) else {
        return false;
    };
    // An empty token in the configuration must not let everybody in.
    scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty() && digest(token).ct_eq(expected).into()
}

/// A browser fills in `Host` or `:authority` by itself; whoever sends both must mean the same machine by both.
fn names_this_machine(request: &request::Parts) -> bool {
    let target = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    let hosts = request.headers.get_all(HOST).iter().map(http::HeaderValue::as_bytes);
    let mut names = hosts.chain(target).peekable();
    names.peek().is_some() && names.all(is_local)
}

/// Our own pages have the origin that they were asked of; what is no page says none.
fn is_of_another_page(request: &request::Parts) -> bool {
    let own = [
        request.uri.authority().map(|authority| authority.as_str().as_bytes()),
        request.headers.get(HOST).map(http::HeaderValue::as_bytes),
    ];
    let is_own = |origin: &[u8]| {
        let host = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        host.is_some_and(|host| own.iter().flatten().any(|own| own.eq_ignore_ascii_case(host)))
    };
    request.headers.get_all(ORIGIN).iter().any(|origin| !is_own(origin.as_bytes()))
}

fn is_local(authority: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(authority) else {
        return false;
    };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host().to_ascii_lowercase();
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match in_brackets {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok() || host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_the_bearer_of_the_token_is_let_in() {
        let secret = Secret::new("correct horse".to_owned());
        let access = Access::new(Some(&secret));
        for (headers, expected) in [
            (&["Bearer correct horse"][..], Ok(())),
            (&["bearer correct horse"], Ok(())),
            (&["BEARER correct horse"], Ok(())),
            (&[], Err(Denied::Token)),
            (&[""], Err(Denied::Token)),
            (&["Bearer"], Err(Denied::Token)),
            (&["Bearer "], Err(Denied::Token)),
            (&["Bearer correct hors"], Err(Denied::Token)),
            (&["Bearer correct horse!"], Err(Denied::Token)),
            (&["Bearer Correct horse"], Err(Denied::Token)),
            (&["Basic correct horse"], Err(Denied::Token)),
            (&["correct horse"], Err(Denied::Token)),
            (&["Bearer correct horse", "Bearer x"], Err(Denied::Token)),
            (&["Bearer x", "Bearer correct horse"], Err(Denied::Token)),
        ] {
            let headers: Vec<_> = headers.iter().map(|value| ("authorization", *value)).collect();
            let got = access.check(&request("/stats", &headers));
            assert_eq!(got, expected, "{headers:?}");
        }
    }

    #[test]
    fn with_a_token_the_host_does_not_matter_but_an_empty_token_lets_nobody_in() {
        let headers = [("host", "larder.example"), ("authorization", "Bearer x")];
        let access = Access::new(Some(&Secret::new("x".to_owned())));
        assert_eq!(access.check(&request("/stats", &headers)), Ok(()));
        let access = Access::new(Some(&Secret::new(String::new())));
        for value in ["Bearer ", "Bearer", "Bearer x"] {
            let headers = [("authorization", value)];
            assert_eq!(access.check(&request("/stats", &headers)), Err(Denied::Token));
        }
    }

    #[test]
    fn without_a_token_only_names_that_no_stranger_can_own_are_answered() {
        let access = Access::new(None);
        for (host, expected) in [
            ("127.0.0.1:8081", Ok(())),
            ("127.0.0.1", Ok(())),
            ("10.1.2.3:80", Ok(())),
            ("[::1]:8081", Ok(())),
            ("[::1]", Ok(())),
            ("localhost:8081", Ok(())),
            ("LocalHost", Ok(())),
            ("larder.localhost:8081", Ok(())),
            ("evil.example:8081", Err(Denied::Host)),
            ("127.0.0.1.evil.example", Err(Denied::Host)),
            ("localhost.evil.example", Err(Denied::Host)),
            ("evillocalhost", Err(Denied::Host)),
            ("localhost@evil.example", Err(Denied::Host)),
            ("evil.example@localhost", Err(Denied::Host)),
            ("0x7f.1", Err(Denied::Host)),
            ("[localhost]", Err(Denied::Host)),
            ("localhost/evil.example", Err(Denied::Host)),
            ("", Err(Denied::Host)),
        ] {
            let got = access.check(&request("/stats", &[("host", host)]));
            assert_eq!(got, expected, "{host}");
        }
    }

    #[test]
    fn nothing_is_done_for_a_page_of_another_origin() {
        let open = Access::new(None);
        for (method, origins, expected) in [
            ("POST", &[][..], Ok(())),
            ("POST", &["http://127.0.0.1:8081"], Ok(())),
            ("POST", &["https://evil.example"], Err(Denied::Page)),
            ("POST", &["http://127.0.0.1:8080"], Err(Denied::Page)),
            ("POST", &["null"], Err(Denied::Page)),
            ("POST", &[""], Err(Denied::Page)),
            ("POST", &["http://127.0.0.1:8081", "https://evil.example"], Err(Denied::Page)),
            ("PURGE", &["https://evil.example"], Err(Denied::Page)),
            // The browser keeps the answer from it.
            ("GET", &["https://evil.example"], Ok(())),
        ] {
            let hosts = [("host", "127.0.0.1:8081")].into_iter();
            let headers: Vec<_> = hosts.chain(origins.iter().map(|origin| ("origin", *origin))).collect();
            let mut asked = request("/invalidate", &headers);
            asked.method = method.parse().unwrap();
            assert_eq!(open.check(&asked), expected, "{method} {origins:?}");
        }
    }

    #[test]
    fn every_name_in_a_request_must_be_local() {
        let access = Access::new(None);
        for (uri, hosts, expected) in [
            ("/stats", &[][..], Err(Denied::Host)),
            ("http://localhost/stats", &[], Ok(())),
            ("http://localhost/stats", &["localhost"], Ok(())),
            ("http://evil.example/stats", &["localhost"], Err(Denied::Host)),
            ("http://localhost/stats", &["evil.example"], Err(Denied::Host)),
            ("/stats", &["localhost", "evil.example"], Err(Denied::Host)),
        ] {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let got = access.check(&request(uri, &headers));
            assert_eq!(got, expected, "{uri} {hosts:?}");
        }
    }
}
