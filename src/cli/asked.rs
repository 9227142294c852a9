//! The request that `explain` is asked about: reads its method, URL and headers as a client would write them. And what `purge` is
//! told to forget.
//!
//! What is refused of a request can't be sent over HTTP at all; everything else, odd paths included, is explained.

use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Method, Uri};

use crate::hooks::TIMEOUT_MAX;

/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `http` or `https`; a bare path counts as `http`.
    pub scheme: &'static str,
    /// Host and port; none for a bare path.
    pub authority: Option<String>,
    /// As typed.
    pub path: String,
    /// As typed, without the `?`.
    pub query: Option<String>,
}

pub(super) fn method(text: &str) -> Result<Method, String> {
    // Methods are case-sensitive, but nobody who types `get` means another one.
    let upper = text.to_ascii_uppercase();
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"];
    let text = if known.contains(&upper.as_str()) { &upper } else { text };
    text.parse().map_err(|_| "not a method".to_owned())
}

pub(super) fn target(text: &str) -> Result<Target, String> {
    let bare = text.starts_with('/');
    let uri: Uri = match text.parse() {
        Ok(uri) if bare || has_scheme(&uri) => uri,
        _ => return Err("expected http://HOST:PORT/PATH, or a path that starts with /".to_owned()),
    };
    if has_user(&uri) {
        return Err(
            "a user name and password are sent as -H 'authorization: Basic …', not in a URL".to_owned()
        );
    }
    Ok(Target {
        scheme: if uri.scheme() == Some(&Scheme::HTTPS) { "https" } else { "http" },
        authority: uri.authority().map(ToString::to_string),
        path: uri.path().to_owned(),
        query: uri.query().map(str::to_owned),
    })
}

pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected 'name: value'")?;
    let name = name.trim().parse().map_err(|_| "expected 'name: value', and that is no header's name")?;
    // The value may be a credential: it is not repeated in the message.
    let mut value =
        HeaderValue::from_str(value.trim()).map_err(|_| "that value can't be sent in a header")?;
    value.set_sensitive(true);
    Ok((name, value))
}

pub(super) fn admin(text: &str) -> Result<Uri, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    match whole.parse::<Uri>() {
        Ok(uri)
            if uri.scheme() == Some(&Scheme::HTTP)
                && uri.host().is_some_and(|host| !host.is_empty())
                && !has_user(&uri) =>
        {
            Ok(uri)
        }
        _ => Err("expected http://HOST:PORT of an admin listener".to_owned()),
    }
}

pub(super) fn bearer(token: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| "that token can't be sent in a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

pub(super) fn path(text: &str) -> Result<String, String> {
    if text.contains("://") && !text.starts_with('/') {
        Err("write its path alone, such as /users/5: it is forgotten for whatever host it was asked of"
            .to_owned())
    } else if !text.starts_with('/') {
        Err("a path begins with /".to_owned())
    } else if text.contains('#') {
        Err("a fragment (#…) is never sent to a server".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

pub(super) fn prefix(text: &str) -> Result<String, String> {
    if text.contains('?') {
        return Err("a prefix is of paths alone, without a query (?…)".to_owned());
    }
    path(text)
}

pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(timeout) if timeout <= TIMEOUT_MAX => Ok(timeout),
        Ok(_) => Err("expected at most 60s".to_owned()),
        Err(_) => Err("expected a duration such as 5s or 250ms".to_owned()),
    }
}

fn has_scheme(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS)
}

/// `http://user:password@host/`: no client sends these as they stand, and whatever repeats the URL would tell them.
fn has_user(uri: &Uri) -> bool {
    uri.authority().is_some_and(|authority| authority.as_str().contains('@'))
}

impl Target {
    /// Path and query together.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// As typed, but for a fragment, which is never sent.
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(authority) = &self.authority {
            write!(f, "{}://{authority}", self.scheme)?;
        }
        f.write_str(&self.path_and_query())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (text, scheme, authority, path, query) in [
            ("/a/b?c=d", "http", None, "/a/b", Some("c=d")),
            ("//a", "http", None, "//a", None),
            ("/a/%2e%2e/b", "http", None, "/a/%2e%2e/b", None),
            ("http://h:1/a?", "http", Some("h:1"), "/a", Some("")),
            ("http://h", "http", Some("h"), "/", None),
            ("https://h/a#part", "https", Some("h"), "/a", None),
        ] {
            let target = target(text).unwrap();
            let found =
                (target.scheme, target.authority.as_deref(), target.path.as_str(), target.query.as_deref());
            assert_eq!(found, (scheme, authority, path, query), "{text}");
        }
        for text in ["", "h/a", "h:80", "ftp://h/a", "http:///a", "/a b", "*", "http://u:p@h/a", "http://u@h"]
        {
            assert!(target(text).is_err(), "{text}");
        }
    }

    #[test]
    fn methods_may_be_typed_small() {
        assert_eq!(method("post").unwrap(), Method::POST);
        assert_eq!(method("Purge").unwrap().as_str(), "Purge");
        assert!(method("G T").is_err());
    }

    #[test]
    fn what_no_server_has_cannot_be_purged() {
        for (text, is_path, is_prefix) in [
            ("/a", true, true),
            ("/a?b", true, false),
            ("/a#b", false, false),
            ("a", false, false),
            ("http://h/a", false, false),
        ] {
            assert_eq!((path(text).is_ok(), prefix(text).is_ok()), (is_path, is_prefix), "{text}");
        }
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_refused_without_its_value() {
        let message = header("authorization: hunter2\u{0}x").unwrap_err();
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn the_admin_listener_may_be_named_by_address_alone() {
        assert_eq!(admin("127.0.0.1:8081").unwrap().authority().unwrap(), "127.0.0.1:8081");
        assert_eq!(admin("http://h/").unwrap().host(), Some("h"));
        assert!(admin("https://h").is_err());
        assert!(admin("http://u:p@h").is_err());
        assert!(admin("").is_err());
    }
}
