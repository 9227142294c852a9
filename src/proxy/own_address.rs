//! The host in a key: the one the client asked for, but for the port where that is the address of the very socket it reached.
//!
//! Behind a load balancer all instances are asked for the same host. Asked directly, each by its own port, instances on one
//! machine would have nothing in common, though they stand before one API. So where a tier is shared, the port of an instance's
//! own socket is left out. The upstream is told the whole: an answer that repeats it is this instance's alone. A name stays a
//! name, `localhost` too: an API may well answer `127.0.0.1` with a redirect to it.

use std::fmt::{self, Write};
use std::net::SocketAddr;

use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use memchr::memmem;

/// The host as it stands in a key. `here`: the socket that was reached, where a tier is shared.
pub fn host_in_key(authority: &str, here: Option<SocketAddr>) -> &str {
    let colon = here.filter(|here| is_at(authority, *here)).and_then(|_| authority.rfind(':'));
    // With the colon: no other host ends with one, for `target` takes it from an empty port.
    colon.map_or(authority, |colon| &authority[..=colon])
}

/// The socket that is reached by this host, of a listener that may listen at every address of the machine.
pub fn reached_at(authority: &str, listen: SocketAddr) -> SocketAddr {
    match authority.parse::<SocketAddr>() {
        Ok(asked) if listen.ip().is_unspecified() => SocketAddr::new(asked.ip(), listen.port()),
        _ => listen,
    }
}

/// Whether the client asked for this by the address of the socket it reached, as that is written.
pub fn is_at(authority: &str, here: SocketAddr) -> bool {
    // Names, which most are, cost one look.
    if !authority.starts_with(|first: char| first == '[' || first.is_ascii_digit()) {
        return false;
    }
    let mut text = Expected(authority);
    write!(text, "{here}").is_ok() && text.0.is_empty()
}

/// Whether an answer to who asked at this address may hold it: then it leads to this instance, and others must not give it.
pub fn is_named_in(here: SocketAddr, headers: &HeaderMap, body: &[u8]) -> bool {
    // Within a query a colon is often encoded.
    let (text, port) = (here.to_string(), here.port());
    let texts = [text, format!("%3A{port}"), format!("%3a{port}")];
    let is_in = |bytes: &[u8]| texts.iter().any(|text| memmem::find(bytes, text.as_bytes()).is_some());
    // In a body that is compressed it can't be seen.
    headers.contains_key(CONTENT_ENCODING)
        || headers.values().any(|value| is_in(value.as_bytes()))
        || is_in(body)
}

/// What is still to be written, if it is to be what is expected.
struct Expected<'t>(&'t str);

impl Write for Expected<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(text).ok_or(fmt::Error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_port_of_the_socket_itself_is_left_out() {
        for (authority, here, host) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1:"),
            ("[::1]:8080", "[::1]:8080", "[::1]:"),
            ("127.0.0.1:8090", "127.0.0.1:8080", "127.0.0.1:8090"),
            ("127.0.0.1:808", "127.0.0.1:8080", "127.0.0.1:808"),
            ("127.0.0.1:80800", "127.0.0.1:8080", "127.0.0.1:80800"),
            ("127.0.0.2:8080", "127.0.0.1:8080", "127.0.0.2:8080"),
            ("localhost:8080", "127.0.0.1:8080", "localhost:8080"),
            ("127.0.0.1", "127.0.0.1:80", "127.0.0.1"),
            ("", "127.0.0.1:80", ""),
        ] {
            assert_eq!(host_in_key(authority, Some(here.parse().unwrap())), host, "{authority} at {here}");
            assert_eq!(host_in_key(authority, None), authority);
        }
    }

    #[test]
    fn one_that_listens_everywhere_is_reached_at_any_address() {
        for (authority, listen, here) in [
            ("10.1.2.3:8080", "0.0.0.0:8080", "10.1.2.3:8080"),
            ("[::1]:8080", "[::]:8080", "[::1]:8080"),
            ("10.1.2.3:9090", "0.0.0.0:8080", "10.1.2.3:8080"),
            ("10.1.2.3:8080", "127.0.0.1:8080", "127.0.0.1:8080"),
            ("api.example:8080", "0.0.0.0:8080", "0.0.0.0:8080"),
        ] {
            assert_eq!(reached_at(authority, listen.parse().unwrap()).to_string(), here, "{authority}");
        }
    }

    #[test]
    fn an_answer_that_repeats_the_address_is_found() {
        let here = "127.0.0.1:8080".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("location", HeaderValue::from_static("http://127.0.0.1:8081/a"));
        assert!(!is_named_in(here, &headers, b"{\"next\": \"/a?page=2\"}"));
        assert!(is_named_in(here, &headers, b"{\"next\": \"http://127.0.0.1:8080/a?page=2\"}"));
        assert!(is_named_in(here, &headers, b"{\"next\": \"/login?to=http%3A%2F%2F127.0.0.1%3A8080%2Fa\"}"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(is_named_in(here, &headers, b""));
        headers.remove(CONTENT_ENCODING);
        headers.insert("location", HeaderValue::from_static("http://127.0.0.1:8080/a"));
        assert!(is_named_in(here, &headers, b""));
    }
}
