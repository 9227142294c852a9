//! The question behind `/entry`: which request do you mean?
//!
//! `method` (`GET` if left out) and `url` are parameters of the query; `url` is a path or absolute, and what is special
//! in a query is percent-encoded in it. Whose request it is, its headers say: those of the admin request are taken as the
//! caller's, except what belongs to the connection, `Host`, `Content-*`, and `Authorization` where that is the admin's own.
//! Its body is the caller's too, and then so are the fields that say how to read it (`Content-Type` and its like).
//! `X-Larder-Header: name: value`, as often as needed, says any header outright, also those; a name said so
//! replaces what the admin request itself bears of that name.
//!
//! The headers hold credentials: an `EntryQuestion` can't be printed.

use std::borrow::Cow;
use std::pin::Pin;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPECT, HOST, HeaderName, HeaderValue,
};
use http::{HeaderMap, Method, Uri, request};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::semantics::fields::strip_hop_by_hop;

/// Finds out what is held for a request.
pub type EntryLookup = Box<dyn Fn(EntryQuestion) -> EntryAnswer + Send + Sync>;

/// What is held, or what is wrong with the question. It may have to be asked for elsewhere.
pub type EntryAnswer = Pin<Box<dyn Future<Output = Result<Value, String>> + Send>>;

/// A request as a client would have sent it.
#[derive(Clone)]
pub struct EntryQuestion {
    /// Of the request asked about.
    pub method: Method,
    /// A path with its query, or absolute; as it would be sent.
    pub url: String,
    /// The caller's. `Host` only if it was said outright.
    pub headers: HeaderMap,
    /// As it would be sent; empty for none.
    pub body: Bytes,
}

const SAID_OUTRIGHT: HeaderName = HeaderName::from_static("x-larder-header");
/// Fields that say how to read a body.
const OF_THE_BODY: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE];

impl EntryQuestion {
    /// `Err` is for the one who asked.
    pub(super) fn read(
        request: &request::Parts,
        body: Bytes,
        authorization_is_ours: bool,
    ) -> Result<Self, String> {
        let mut method = None;
        let mut url = None;
        let query = request.uri.query().unwrap_or_default();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let place = match name {
                "method" => &mut method,
                "url" => &mut url,
                _ => return Err(unknown(name)),
            };
            if place.replace(decode(name, value)?).is_some() {
                return Err(format!("\"{name}\" is there twice"));
            }
        }
        let url = url.ok_or("which \"url\"? A path or an absolute URL is wanted")?;
        Ok(Self {
            method: method.map_or(Ok(Method::GET), |method| read_method(&method))?,
            url: read_url(url)?,
            headers: callers(&request.headers, authorization_is_ours, !body.is_empty())?,
            body,
        })
    }
}

fn unknown(name: &str) -> String {
    format!(
        "unknown parameter \"{}\": there are \"method\" and \"url\", and an & within the url is written %26",
        name.escape_default()
    )
}

/// `+` stays: a URL has no spaces, so it can only mean itself.
fn decode(name: &str, value: &str) -> Result<String, String> {
    percent_decode_str(value)
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| format!("\"{name}\" is not UTF-8 once decoded"))
}

fn read_method(text: &str) -> Result<Method, String> {
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err("a method is written in capitals".to_owned());
    }
    Method::from_bytes(text.as_bytes()).map_err(|_| "that is not a method".to_owned())
}

fn read_url(text: String) -> Result<String, String> {
    let absolute = |scheme: &str| {
        let start = text.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    if !(text.starts_with('/') || absolute("http://") || absolute("https://")) {
        return Err("the url is a path (\"/…\") or begins with http:// or https://".to_owned());
    }
    if text.contains('#') {
        return Err("a fragment (#…) is never sent to a server".to_owned());
    }
    match text.parse::<Uri>() {
        // Whatever repeats the URL would tell them.
        Ok(uri) if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            Err("a user name and password are never sent to a server in a url".to_owned())
        }
        Ok(_) => Ok(text),
        Err(why) => Err(format!("the url makes no sense: {why}")),
    }
}

fn callers(sent: &HeaderMap, authorization_is_ours: bool, has_body: bool) -> Result<HeaderMap, String> {
    let mut outright = HeaderMap::new();
    for line in sent.get_all(SAID_OUTRIGHT) {
        let (name, value) = read_header(line).ok_or("X-Larder-Header is written \"name: value\"")?;
        outright.append(name, value);
    }
    let mut headers = sent.clone();
    strip_hop_by_hop(&mut headers);
    let dropped: Vec<_> = headers
        .keys()
        .filter(|&name| {
            [HOST, EXPECT, SAID_OUTRIGHT].contains(name)
                || (name.as_str().starts_with("content-") && !(has_body && OF_THE_BODY.contains(name)))
                || (authorization_is_ours && name == AUTHORIZATION)
                || outright.contains_key(name)
        })
        .cloned()
        .collect();
    for name in dropped {
        headers.remove(name);
    }
    for (name, value) in &outright {
        headers.append(name, value.clone());
    }
    Ok(headers)
}

fn read_header(line: &HeaderValue) -> Option<(HeaderName, HeaderValue)> {
    let line = line.as_bytes();
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let name = HeaderName::from_bytes(name.trim_ascii()).ok()?;
    let value = HeaderValue::from_bytes(value.strip_prefix(b":")?.trim_ascii()).ok()?;
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn read(query: &str, headers: &[(&str, &str)], ours: bool) -> Result<EntryQuestion, String> {
        let mut request = Request::builder().uri(format!("/entry{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        EntryQuestion::read(&request.body(()).unwrap().into_parts().0, Bytes::new(), ours)
    }

    #[test]
    fn the_query_says_which_request() {
        for (query, method, url) in [
            ("?url=/api/users/1", "GET", "/api/users/1"),
            ("?method=HEAD&url=/a", "HEAD", "/a"),
            ("?url=/a&method=PURGE&", "PURGE", "/a"),
            ("?url=%2Fa%3Fb%3D1%26c%3D2", "GET", "/a?b=1&c=2"),
            ("?url=/a?b=1", "GET", "/a?b=1"),
            ("?url=/a?b=c+d", "GET", "/a?b=c+d"),
            ("?url=/a%252Fb", "GET", "/a%2Fb"),
            ("?url=//evil/a", "GET", "//evil/a"),
            ("?url=https://api.example:8443/a", "GET", "https://api.example:8443/a"),
        ] {
            let got = read(query, &[], false).unwrap_or_else(|why| panic!("{query}: {why}"));
            assert_eq!((got.method.as_str(), &*got.url), (method, url), "{query}");
        }
    }

    #[test]
    fn a_question_that_makes_no_sense_is_refused_with_the_reason() {
        for (query, expected) in [
            ("", "which \"url\""),
            ("?method=GET", "which \"url\""),
            ("?url=", "the url is a path"),
            ("?url=/a?b=1&c=2", "unknown parameter \"c\""),
            ("?url=/a&url=/b", "\"url\" is there twice"),
            ("?url=/a&method=get", "capitals"),
            ("?url=/a&method=", "not a method"),
            ("?url=/a&method=G%20T", "not a method"),
            ("?url=api/users", "the url is a path"),
            ("?url=example.com", "the url is a path"),
            ("?url=*", "the url is a path"),
            ("?url=ftp://example.com/", "the url is a path"),
            ("?url=/a%23b", "fragment"),
            ("?url=/a%20b", "the url makes no sense"),
            ("?url=/a%00", "the url makes no sense"),
            ("?url=http:///a", "the url makes no sense"),
            ("?url=/%ff", "not UTF-8"),
        ] {
            let got = read(query, &[], false).err().expect(query);
            assert!(got.contains(expected), "{query}: {got}");
        }
    }

    fn sorted(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn the_admin_request_lends_its_headers() {
        let sent = [
            ("host", "localhost:8081"),
            ("connection", "keep-alive, x-of-this-connection"),
            ("x-of-this-connection", "1"),
            ("te", "trailers"),
            ("content-length", "0"),
            ("expect", "100-continue"),
            ("cookie", "session=a"),
            ("cookie", "lang=de"),
            ("authorization", "Bearer one"),
        ];
        let got = read("?url=/a", &sent, false).unwrap();
        assert_eq!(
            sorted(&got.headers),
            ["authorization: Bearer one", "cookie: lang=de", "cookie: session=a"]
        );
        let got = read("?url=/a", &sent, true).unwrap();
        assert_eq!(sorted(&got.headers), ["cookie: lang=de", "cookie: session=a"]);
    }

    #[test]
    fn a_body_lends_the_fields_that_say_how_to_read_it() {
        let request = Request::post("/entry?url=/a&method=POST")
            .header("content-type", "application/json")
            .header("content-language", "de")
            .header("content-length", "2")
            .header("x-larder-header", "content-language: en");
        let head = request.body(()).unwrap().into_parts().0;
        let got = EntryQuestion::read(&head, Bytes::from("{}"), false).unwrap();
        assert_eq!(got.body, "{}");
        assert_eq!(sorted(&got.headers), ["content-language: en", "content-type: application/json"]);
    }

    #[test]
    fn what_is_said_outright_replaces_what_is_lent() {
        let sent = [
            ("host", "localhost:8081"),
            ("accept", "*/*"),
            ("authorization", "Bearer admin"),
            ("x-larder-header", "Authorization: Bearer one"),
            ("x-larder-header", "accept:text/html"),
            ("x-larder-header", "host: api.example:80"),
            ("x-larder-header", "x-two: 1"),
            ("x-larder-header", "x-two: 2"),
            ("x-larder-header", "x-empty:"),
        ];
        let got = read("?url=/a", &sent, true).unwrap();
        assert_eq!(
            sorted(&got.headers),
            [
                "accept: text/html",
                "authorization: Bearer one",
                "host: api.example:80",
                "x-empty: ",
                "x-two: 1",
                "x-two: 2",
            ]
        );
        for line in ["authorization", "", ": x", "a b: c"] {
            let got = read("?url=/a", &[("x-larder-header", line)], true);
            assert!(got.err().expect(line).contains("name: value"), "{line}");
        }
    }
}
