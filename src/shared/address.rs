//! `Address`: where one server is, read from its URL.
//!
//! Invariant: no error quotes the URL, for it may hold a password.

use std::path::PathBuf;
use std::str::FromStr;

use redis::{ConnectionAddr, ConnectionInfo, RedisConnectionInfo};

/// Where a server is, and as whom one says hello.
#[derive(Clone, Debug)]
pub struct Address {
    /// How it is reached.
    pub reach: Reach,
    /// User, password, database.
    pub(super) hello: RedisConnectionInfo,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Over the network.
    Net {
        /// A name or an address, without brackets.
        host: String,
        /// Its port.
        port: u16,
        /// Whether the connection is secured.
        is_tls: bool,
    },
    /// By a socket in the file system.
    Socket(PathBuf),
}

const SCHEMES: [&str; 4] = ["redis", "rediss", "valkey", "valkeys"];
const SOCKET_SCHEMES: [&str; 3] = ["unix", "redis+unix", "valkey+unix"];
const SECURE_SOCKET_SCHEMES: [&str; 4] = ["rediss+unix", "valkeys+unix", "redis+unixs", "unixs"];

impl Address {
    /// What the URL says, or what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme).unwrap_or_default();
        let is_socket = SOCKET_SCHEMES.contains(&scheme);
        if SECURE_SOCKET_SCHEMES.contains(&scheme) {
            return Err("a socket in the file system has no TLS; write unix:// with its path");
        }
        if !is_socket && !SCHEMES.contains(&scheme) {
            return Err("has to begin with redis://, rediss:// (TLS) or unix://");
        }
        if url.contains('#') {
            return Err("can't have a fragment (#…); certificates are always checked (redis.ca)");
        }
        check_query(url, is_socket)?;
        let no_path = "expected the path of a socket, such as \"unix:///run/redis/redis.sock\"";
        let expected =
            if is_socket { no_path } else { "expected a URL such as \"redis://127.0.0.1:6379/0\"" };
        let info = ConnectionInfo::from_str(url).map_err(|_| expected)?;
        let hello = info.redis_settings().clone();
        if hello.db() < 0 {
            return Err("has a database that is none");
        }
        let reach = match info.addr() {
            ConnectionAddr::Tcp(host, port) => net(host, *port, false)?,
            ConnectionAddr::TcpTls { host, port, .. } => net(host, *port, true)?,
            ConnectionAddr::Unix(path) if path.has_root() && path.file_name().is_some() => {
                Reach::Socket(path.clone())
            }
            _ => return Err(no_path),
        };
        Ok(Self { reach, hello })
    }

    /// Whether the connection is secured.
    pub fn is_tls(&self) -> bool {
        matches!(self.reach, Reach::Net { is_tls: true, .. })
    }

    /// The number of the database.
    pub fn database(&self) -> i64 {
        self.hello.db()
    }

    /// Whether the URL has a password.
    pub fn has_password(&self) -> bool {
        self.hello.password().is_some()
    }
}

/// The database of a socket is all that a query may say.
fn check_query(url: &str, is_socket: bool) -> Result<(), &'static str> {
    let Some((_, query)) = url.split_once('?') else {
        return Ok(());
    };
    if !is_socket {
        return Err("can't have a query (?…)");
    }
    let known = |part: &str| ["db=", "user=", "pass="].iter().any(|name| part.starts_with(name));
    if query.split('&').all(known) {
        Ok(())
    } else {
        Err("can have only db, user and pass in its query (?…)")
    }
}

fn net(host: &str, port: u16, is_tls: bool) -> Result<Reach, &'static str> {
    if host.is_empty() {
        return Err("has no host");
    }
    if port == 0 {
        return Err("has a port that is none");
    }
    Ok(Reach::Net { host: host.to_owned(), port, is_tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_form_is_understood() {
        let net = |host: &str, port, is_tls| Reach::Net { host: host.to_owned(), port, is_tls };
        for (url, reach, database, login) in [
            ("redis://127.0.0.1", net("127.0.0.1", 6379, false), 0, (None, None)),
            ("redis://cache.example:7000/3", net("cache.example", 7000, false), 3, (None, None)),
            ("redis://[::1]:7000/", net("::1", 7000, false), 0, (None, None)),
            ("rediss://:p%40ss@h/1", net("h", 6379, true), 1, (None, Some("p@ss"))),
            ("valkeys://me:pw@h", net("h", 6379, true), 0, (Some("me"), Some("pw"))),
            ("unix:///run/r.sock?db=2", Reach::Socket("/run/r.sock".into()), 2, (None, None)),
            ("redis+unix:///r.sock", Reach::Socket("/r.sock".into()), 0, (None, None)),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((&address.reach, address.database()), (&reach, database), "{url}");
            assert_eq!((address.hello.username(), address.hello.password()), login, "{url}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_without_being_quoted() {
        for (url, says) in [
            ("", "has to begin"),
            ("http://:squirrel@h", "has to begin"),
            ("127.0.0.1:6379", "has to begin"),
            ("rediss+unix:///squirrel", "no TLS"),
            ("rediss://squirrel/#insecure", "certificates are always checked"),
            ("redis://squirrel/?protocol=resp3", "query"),
            ("unix:///squirrel?protocol=resp3", "only db"),
            ("unix://", "path of a socket"),
            ("unix:///", "path of a socket"),
            ("redis://:squirrel@", "expected a URL"),
            ("redis://squirrel:99999", "expected a URL"),
            ("redis://squirrel:0", "port that is none"),
            ("redis://squirrel/first", "expected a URL"),
            ("redis://squirrel/-1", "database that is none"),
            ("redis://0.0.0.0", "expected a URL"),
        ] {
            let wrong = Address::parse(url).map(|_| ()).unwrap_err();
            assert!(wrong.contains(says) && !wrong.contains("squirrel"), "{url}: {wrong}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let address = Address::parse("redis://me:squirrel@h").unwrap();
        assert!(!format!("{address:?}").contains("squirrel"));
    }
}
