//! What URI a `Location` or `Content-Location` means, and which URIs an unsafe request has made invalid.
//!
//! References are resolved as RFC 3986, 5.2 has it, and written as RFC 9110, 4.2.3 has it: scheme and host in lower case, no
//! default port, a path. Invariant: nothing of another origin is ever said to be invalid. Left out: schemes other than
//! `http` and `https`, and percent-encoding, which is compared as it was sent.

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, StatusCode};

/// A URI by its parts, without a fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resolved {
    /// `http` or `https`.
    pub scheme: String,
    /// Host, and port where it is not the scheme's own; lower case.
    pub authority: String,
    /// Begins with a slash.
    pub path: String,
    /// Behind the `?`, if there is one.
    pub query: Option<String>,
}

/// A reference taken apart: RFC 3986, appendix B.
struct Reference<'r> {
    scheme: Option<&'r str>,
    authority: Option<&'r str>,
    path: &'r str,
    query: Option<&'r str>,
}

/// The URI that a reference means in an answer to a request for `target`. None if it can't be read, or is not of HTTP.
pub fn resolve(target: &Resolved, reference: &str) -> Option<Resolved> {
    let given = Reference::read(reference)?;
    let scheme = match given.scheme {
        None => target.scheme.clone(),
        Some(scheme) => known(scheme)?.to_owned(),
    };
    // RFC 9110, 4.2.1: "A sender MUST NOT generate an "http" URI with an empty host identifier. A recipient that processes
    // such a URI reference MUST reject it as invalid."
    if let (Some(_), None) = (given.scheme, given.authority) {
        return None;
    }
    if let Some(authority) = given.authority {
        let authority = normal_authority(&scheme, authority)?;
        return Some(Resolved { scheme, authority, path: without_dots(given.path), query: given.query() });
    }
    // RFC 3986, 5.2.2: with neither scheme nor authority these are the base's, and with no path that is too.
    let (path, query) = if given.path.is_empty() {
        (target.path.clone(), given.query().or_else(|| target.query.clone()))
    } else if given.path.starts_with('/') {
        (without_dots(given.path), given.query())
    } else {
        // RFC 3986, 5.2.3: "return a string consisting of the reference's path component appended to all but the last segment
        // of the base URI's path (i.e., excluding any characters after the right-most "/" in the base URI path, or excluding
        // the entire base URI path if it does not contain any "/" characters)."
        let folder = target.path.rfind('/').map_or("/", |slash| &target.path[..=slash]);
        (without_dots(&format!("{folder}{}", given.path)), given.query())
    };
    Some(Resolved { scheme, authority: target.authority.clone(), path, query })
}

/// RFC 9110, 4.3.1: "Two origins are distinct if they differ in scheme, host, or port."
pub fn same_origin(one: &Resolved, other: &Resolved) -> bool {
    let authority = |uri: &Resolved| normal_authority(&uri.scheme, &uri.authority);
    // An authority that is none is nobody's but its own: HTTP/1.0 knew targets without a host.
    one.scheme.eq_ignore_ascii_case(&other.scheme)
        && (one.authority == other.authority
            || authority(one).is_some_and(|normal| authority(other) == Some(normal)))
}

/// What an answer to an unsafe request (RFC 9110, 9.2.1; also to one whose method is unknown) makes invalid: the target, and
/// what of its origin the answer names. Nothing if the request failed.
pub fn invalidated(target: &Resolved, status: StatusCode, response: &HeaderMap) -> Vec<Resolved> {
    // RFC 9111, 4.4: "A cache MUST invalidate the target URI […] when it receives a non-error status code in response to an
    // unsafe request method (including methods whose safety is unknown)." "A "non-error response" is one with a 2xx
    // (Successful) or 3xx (Redirection) status code."
    if !status.is_success() && !status.is_redirection() {
        return Vec::new();
    }
    let mut invalid = vec![target.clone()];
    // RFC 9111, 4.4: "In particular, the URI(s) in the Location and Content-Location response header fields (if present) are
    // candidates for invalidation".
    let named = [LOCATION, CONTENT_LOCATION].into_iter().flat_map(|name| response.get_all(name));
    for value in named {
        let text = std::str::from_utf8(value.as_bytes()).ok();
        let Some(uri) = text.and_then(|text| resolve(target, text)) else {
            continue;
        };
        // RFC 9111, 4.4: "However, a cache MUST NOT trigger an invalidation under these conditions if the origin (Section
        // 4.3.1 of [HTTP]) of the URI to be invalidated differs from that of the target URI".
        if same_origin(target, &uri) && !invalid.contains(&uri) {
            invalid.push(uri);
        }
    }
    invalid
}

impl<'r> Reference<'r> {
    fn read(text: &'r str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t']);
        // Characters that no URI has and no target either; others that no URI should have are let be.
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return None;
        }
        // RFC 9110, 10.2.2 lets a Location have a fragment; it is of no concern to a cache.
        let text = text.split('#').next().unwrap_or_default();
        let (text, query) = match text.split_once('?') {
            Some((text, query)) => (text, Some(query)),
            None => (text, None),
        };
        let (scheme, text) = match text.find([':', '/']) {
            Some(colon) if text[colon..].starts_with(':') => (Some(&text[..colon]), &text[colon + 1..]),
            _ => (None, text),
        };
        let (authority, path) = match text.strip_prefix("//") {
            Some(text) => {
                let (authority, path) = text.split_at(text.find('/').unwrap_or(text.len()));
                (Some(authority), path)
            }
            None => (None, text),
        };
        Some(Self { scheme, authority, path, query })
    }

    fn query(&self) -> Option<String> {
        self.query.map(str::to_owned)
    }
}

/// RFC 9110, 4.2.3: "The scheme and host are case-insensitive and normally provided in lowercase".
fn known(scheme: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))
}

/// Host and port as they are compared.
fn normal_authority(scheme: &str, authority: &str) -> Option<String> {
    // RFC 9110, 4.2.4: "Before making use of an "http" or "https" URI reference received from an untrusted source, a
    // recipient SHOULD parse for userinfo and treat its presence as an error".
    if authority.contains('@') {
        return None;
    }
    // RFC 3986, 3.2.2: the colons of an IPv6 address stand within brackets.
    let colon = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match authority[colon..].find(':') {
        Some(place) => (&authority[..colon + place], &authority[colon + place + 1..]),
        None => (authority, ""),
    };
    if !is_host(host) || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let host = host.to_ascii_lowercase();
    // RFC 9110, 4.3.1: "normalizing the port to remove any leading zeros. If port is elided from the URI, the default port
    // for that scheme is used." 4.2.3: "If the port is equal to the default port for a scheme, the normal form is to omit the
    // port subcomponent."
    let port = port.trim_start_matches('0');
    let own = if scheme.eq_ignore_ascii_case("https") { "443" } else { "80" };
    Some(if port.is_empty() || port == own { host } else { format!("{host}:{port}") })
}

/// RFC 3986, 3.2.2: `host = IP-literal / IPv4address / reg-name`.
fn is_host(host: &str) -> bool {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    match host.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']').is_some_and(|literal| {
            !literal.is_empty() && literal.bytes().all(|byte| byte == b':' || name(byte))
        }),
        None => !host.is_empty() && host.bytes().all(name),
    }
}

/// RFC 3986, 5.2.4: takes out `.` and `..`, with the segments these take back. `path`: absolute, or empty.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        // A path that ends in dots is one of a folder.
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    // RFC 9110, 4.2.3: "an empty path component is equivalent to an absolute path of "/", so the normal form is to provide a
    // path of "/" instead."
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::example::headers;
    use proptest::prelude::*;

    fn uri(text: &str) -> Resolved {
        let (scheme, rest) = text.split_once("://").unwrap();
        let (authority, path) = rest.split_at(rest.find('/').unwrap());
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (path, None),
        };
        Resolved { scheme: scheme.to_owned(), authority: authority.to_owned(), path: path.to_owned(), query }
    }

    fn text(uri: &Resolved) -> String {
        let query = uri.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}://{}{}{query}", uri.scheme, uri.authority, uri.path)
    }

    fn from(base: &str, reference: &str) -> Option<String> {
        resolve(&uri(base), reference).as_ref().map(text)
    }

    /// RFC 3986, 5.4.1 and 5.4.2, without parameters that only other schemes have.
    #[test]
    fn the_examples_of_the_rfc_come_out_as_it_says() {
        let table = [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g#s/./x", "http://a/b/c/g"),
            ("g#s/../x", "http://a/b/c/g"),
        ];
        for (reference, expected) in table {
            assert_eq!(from("http://a/b/c/d;p?q", reference).as_deref(), Some(expected), "{reference}");
        }
    }

    #[test]
    fn a_uri_is_written_in_one_way_and_what_is_none_is_not_guessed_at() {
        let table = [
            ("HTTP://Example.COM", Some("http://example.com/")),
            ("http://example.com:80/A", Some("http://example.com/A")),
            ("http://example.com:0080/A", Some("http://example.com/A")),
            ("http://example.com:/A", Some("http://example.com/A")),
            ("http://example.com:443/A", Some("http://example.com:443/A")),
            ("https://example.com:443/A", Some("https://example.com/A")),
            ("http://example.com:08080/A", Some("http://example.com:8080/A")),
            ("http://example.com?a", Some("http://example.com/?a")),
            ("http://example.com/?", Some("http://example.com/?")),
            ("http://example.com/a//b/./c", Some("http://example.com/a//b/c")),
            ("http://example.com/%7Ea", Some("http://example.com/%7Ea")),
            ("http://[2001:DB8::1]:8080/a", Some("http://[2001:db8::1]:8080/a")),
            ("http://[2001:DB8::1]/a", Some("http://[2001:db8::1]/a")),
            ("//EXAMPLE.com/a", Some("https://example.com/a")),
            ("//example.com:443/a", Some("https://example.com/a")),
            (" /a ", Some("https://host/a")),
            ("/a:b", Some("https://host/a:b")),
            ("./a:b", Some("https://host/x/a:b")),
            ("?a:b", Some("https://host/x/y?a:b")),
            ("/\u{fc}", Some("https://host/\u{fc}")),
            ("a:b", None),
            ("mailto:a@example.com", None),
            ("ftp://example.com/a", None),
            ("http:a", None),
            ("http:/a", None),
            ("http://", None),
            ("http:///a", None),
            ("http://:80/a", None),
            ("http://user@example.com/", None),
            ("http://user:pass@example.com/", None),
            ("//user@host/", None),
            ("http://exa mple.com/", None),
            ("http://example.com/a b", None),
            ("/a\tb", None),
            ("http://example.com:8o/", None),
            ("http://example.com:80:80/", None),
            ("http://[::1/a", None),
            ("http://::1]/a", None),
            ("http://[]/a", None),
            ("http://[::1]x/a", None),
            ("http://a\\b/", None),
            ("http://\u{fc}/", None),
        ];
        for (reference, expected) in table {
            assert_eq!(from("https://host/x/y", reference).as_deref(), expected, "{reference}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let table = [
            ("http://a/b", "http://a/c?d", true),
            ("http://a/", "http://A:080/", true),
            ("https://a/", "https://a:443/", true),
            ("http://a/", "https://a/", false),
            ("http://a/", "http://a:8080/", false),
            ("http://a/", "http://b/", false),
            ("http://a/", "http://www.a/", false),
            ("http:///", "http:///a", true),
            ("http:///", "http://a/", false),
        ];
        for (one, other, expected) in table {
            assert_eq!(same_origin(&uri(one), &uri(other)), expected, "{one} {other}");
            assert_eq!(same_origin(&uri(other), &uri(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_success_makes_its_target_invalid_and_what_of_its_origin_it_names() {
        type Fields<'a> = &'a [(&'a str, &'a str)];
        let target = "http://a/items?x=1";
        let table: &[(u16, Fields<'_>, &[&str])] = &[
            (200, &[], &[target]),
            (204, &[("location", "/items/1")], &[target, "http://a/items/1"]),
            (
                201,
                &[("location", "items/1"), ("content-location", "items/2")],
                &[target, "http://a/items/1", "http://a/items/2"],
            ),
            (303, &[("location", "http://A:80/items/1#top")], &[target, "http://a/items/1"]),
            (304, &[], &[target]),
            (200, &[("location", "/x"), ("content-location", "/x")], &[target, "http://a/x"]),
            (200, &[("content-location", "?x=1")], &[target]),
            (200, &[("location", "http://b/items/1")], &[target]),
            (200, &[("location", "https://a/items/1")], &[target]),
            (200, &[("location", "//a:8080/items/1")], &[target]),
            (200, &[("location", "http://a@b/x")], &[target]),
            (200, &[("location", "/a b"), ("content-location", "/c")], &[target, "http://a/c"]),
            (400, &[("location", "/x")], &[]),
            (404, &[], &[]),
            (500, &[("location", "/x")], &[]),
        ];
        for (status, fields, expected) in table {
            let status = StatusCode::from_u16(*status).unwrap();
            let got: Vec<_> = invalidated(&uri(target), status, &headers(fields)).iter().map(text).collect();
            assert_eq!(got, *expected, "{status} {fields:?}");
        }
    }

    proptest! {
        #[test]
        fn any_reference_can_be_read(noise in "\\PC{0,60}", like in "(https?:)?/{0,3}[a.:@\\[\\]/?#%]{0,30}") {
            let base = uri("https://host/x/y?z");
            for reference in [noise, like] {
                if let Some(got) = resolve(&base, &reference) {
                    prop_assert!(got.path.starts_with('/'));
                    prop_assert!(!got.path.split('/').any(|segment| segment == "." || segment == ".."));
                    prop_assert!(!got.authority.is_empty() && !got.authority.contains('@'));
                }
            }
        }

        #[test]
        fn what_is_resolved_stays_as_it_is(reference in "(https?://[a-zA-Z]{1,3}(:[0-9]{1,4})?)?/[a./]{0,20}(\\?[a/?]{0,5})?") {
            let base = uri("https://host/x/y?z");
            if let Some(once) = resolve(&base, &reference) {
                let again = resolve(&base, &text(&once));
                prop_assert_eq!(again.as_ref(), Some(&once));
                prop_assert!(same_origin(&once, &again.unwrap()));
            }
        }

        #[test]
        fn nothing_of_another_origin_is_ever_invalid(reference in "(https?:)?(//)?[a.:@/0-9]{0,20}") {
            let target = uri("http://a/x");
            for invalid in invalidated(&target, StatusCode::OK, &headers(&[("location", &reference)])) {
                prop_assert_eq!((&*invalid.scheme, &*invalid.authority), ("http", "a"), "{}", reference);
            }
        }
    }
}
