//! The host in a key: the one the client asked for, unless that is no name but the address of the very socket it reached.
//!
//! Behind a load balancer all instances are asked for the same host. Asked directly, each by its own address and port, they
//! would have nothing in common, though they stand before one API. So where a tier is shared, the address of an instance's own
//! socket counts as one host, whichever instance it is. A name stays a name, `localhost` too: an API may well answer
//! `127.0.0.1` with a redirect to it.

use std::net::{IpAddr, SocketAddr};

/// Stands in keys for an instance's own address. No host is written so: an `@` ends the user's name.
pub const OWN_ADDRESS: &str = "@";

/// The host as it stands in a key. `here`: the socket that was reached, where a tier is shared; an unspecified address stands
/// for all of the machine's.
pub fn host_in_key(authority: &str, here: Option<SocketAddr>) -> &str {
    match here {
        Some(here) if is_at(authority, here) => OWN_ADDRESS,
        _ => authority,
    }
}

fn is_at(authority: &str, here: SocketAddr) -> bool {
    // Names, which are most, cost one comparison.
    if !authority.starts_with(|first: char| first == '[' || first.is_ascii_digit()) {
        return false;
    }
    let ip = || authority.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    // The scheme's own port has been taken away.
    let asked = authority.parse().or_else(|_| ip().map(|ip| SocketAddr::new(ip, 80)));
    let is_here = |ip: IpAddr| here.ip().is_unspecified() || here.ip().to_canonical() == ip.to_canonical();
    asked.is_ok_and(|asked: SocketAddr| asked.port() == here.port() && is_here(asked.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_of_the_socket_itself_is_no_name() {
        for (authority, here, own) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", true),
            ("127.0.0.1:8090", "127.0.0.1:8080", false),
            ("127.0.0.2:8080", "127.0.0.1:8080", false),
            ("localhost:8080", "127.0.0.1:8080", false),
            ("api.example:8080", "127.0.0.1:8080", false),
            ("1.example", "127.0.0.1:80", false),
            ("127.0.0.1", "127.0.0.1:80", true),
            ("127.0.0.1", "127.0.0.1:8080", false),
            ("[::1]:8080", "[::1]:8080", true),
            ("[::1]", "[::1]:80", true),
            ("127.0.0.1:8080", "[::ffff:127.0.0.1]:8080", true),
            ("10.1.2.3:8080", "0.0.0.0:8080", true),
        ] {
            let host = host_in_key(authority, Some(here.parse().unwrap()));
            assert_eq!(host == OWN_ADDRESS, own, "{authority} at {here}");
            assert_eq!(host_in_key(authority, None), authority);
        }
    }
}
