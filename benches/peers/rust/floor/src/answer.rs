//! The one answer that is given: eight header lines, of which hyper writes `content-length` and `date`, and a body.

use std::fmt::Write as _;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// What a cached answer of an API looks like.
const FIELDS: [(&str, &str); 6] = [
    ("content-type", "application/json"),
    ("cache-control", "public, max-age=3600"),
    ("etag", "\"33a64df551425fcc55e4d42a148795d9\""),
    ("last-modified", "Mon, 02 Jan 2023 03:04:05 GMT"),
    ("server", "floor"),
    ("x-cache", "HIT"),
];

pub struct Answer {
    pub fields: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn new(body_bytes: usize) -> Self {
        let field = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        Self { fields: FIELDS.into_iter().map(field).collect(), body: vec![b'x'; body_bytes].into() }
    }

    pub fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.headers_mut() = self.fields.clone();
        response
    }

    /// The same as text, up to where a line with `age` is still to come.
    pub fn head(&self) -> String {
        let mut head = "HTTP/1.1 200 OK\r\n".to_owned();
        for (name, value) in FIELDS {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "content-length: {}\r\n", self.body.len());
        head
    }
}
