//! Asks a running Larder through its admin listener, and writes its answer down for a person.
//!
//! One request over one plain connection. It takes a few seconds at most and reads a bounded answer, so a wrong
//! address that does connect to something can neither hold the command up nor fill its memory.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What is asked.
pub(super) struct Question {
    /// Path and query on the admin listener.
    pub(super) path: String,
    /// `Bearer …`
    pub(super) token: Option<HeaderValue>,
    /// What the request that is asked about bears.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Its body, or what else is sent; empty for none.
    pub(super) body: Bytes,
    /// How long the instance may take with it, once it has it.
    pub(super) thinks_for: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Nobody there.
    #[error("no Larder answers at {0}: {1}")]
    Unreachable(String, std::io::Error),
    /// Somebody there, but not in time.
    #[error("{0} gave no answer within {1:?}")]
    Silent(String, Duration),
    /// Not HTTP, broken off, or endless.
    #[error("{0} gave an answer that can't be read: {1}")]
    Unreadable(String, Box<dyn std::error::Error + Send + Sync>),
    /// It wants a token, or another one.
    #[error("{0} wants its admin token: set LARDER_ADMIN_TOKEN, or use --token")]
    Unauthorized(String),
    /// Any other refusal, with what it said.
    #[error("{0} answered {1}: {2}")]
    Refused(String, StatusCode, String),
}

/// Each field of the request that is asked about travels in one of these, so that none is taken for the question's own.
const FIELD: &str = "x-larder-header";
/// From the first packet to the last, but for what the instance takes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer has a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The body of its answer.
pub(super) fn ask(admin: &Uri, question: &Question) -> Result<Bytes, InstanceError> {
    let place = admin.authority().map(ToString::to_string).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| InstanceError::Unreachable(place.clone(), error))?;
    let patience = ANSWER_TIMEOUT + question.thinks_for;
    runtime.block_on(async {
        let (status, body) = timeout(patience, exchange(admin, &place, question))
            .await
            .map_err(|_| InstanceError::Silent(place.clone(), patience))??;
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNAUTHORIZED => Err(InstanceError::Unauthorized(place)),
            other => Err(InstanceError::Refused(place, other, reason(&body))),
        }
    })
}

async fn exchange(
    admin: &Uri,
    place: &str,
    question: &Question,
) -> Result<(StatusCode, Bytes), InstanceError> {
    let unreadable =
        |error: Box<dyn std::error::Error + Send + Sync>| InstanceError::Unreadable(place.to_owned(), error);
    // In a URL, an IPv6 address stands in brackets.
    let host = admin.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, admin.port_u16().unwrap_or(80)))
        .await
        .map_err(|error| InstanceError::Unreachable(place.to_owned(), error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreadable(error.into()))?;
    // Ends with the runtime; what goes wrong in it, `send_request` says too.
    tokio::spawn(connection);
    let request = request(place, question).map_err(|error| unreadable(error.into()))?;
    let (head, body) =
        sender.send_request(request).await.map_err(|error| unreadable(error.into()))?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(unreadable)?.to_bytes();
    Ok((head.status, body))
}

/// Nothing but what has to be: what else it bore would be taken for the caller's.
fn request(place: &str, question: &Question) -> Result<Request<Full<Bytes>>, http::Error> {
    let method = if question.body.is_empty() { Method::GET } else { Method::POST };
    let mut builder = Request::builder().method(method).uri(&question.path).header(header::HOST, place);
    if let Some(token) = &question.token {
        builder = builder.header(header::AUTHORIZATION, token);
    }
    for (name, value) in &question.headers {
        builder = builder.header(FIELD, [name.as_str().as_bytes(), b": ", value.as_bytes()].concat());
    }
    builder.body(Full::new(question.body.clone()))
}

/// The detail of a problem (RFC 9457), or whatever else was said, in one line.
fn reason(body: &[u8]) -> String {
    let problem = serde_json::from_slice::<Value>(body).unwrap_or_default();
    match problem["detail"].as_str() {
        Some(detail) => harmless(detail),
        None => readable(body).trim_end().replace('\n', ", "),
    }
}

/// Without what could steer a terminal: the instance may be of another version, or none at all, and repeats what others wrote.
pub(super) fn harmless(text: &str) -> String {
    let steers = |letter: char| letter.is_control() && letter != '\n';
    text.chars().map(|letter| if steers(letter) { char::REPLACEMENT_CHARACTER } else { letter }).collect()
}

/// JSON as indented `name: value` lines; anything else as it came.
pub(super) fn readable(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return harmless(&String::from_utf8_lossy(body));
    };
    let mut text = String::new();
    write_value(&mut text, &value, 0);
    text
}

fn write_value(text: &mut String, value: &Value, depth: usize) {
    // Writing to a String can't fail.
    let _ = match value {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            write!(text, "{:indent$}{}:", "", harmless(name).replace('_', " "), indent = depth * 2)?;
            write_after_name(text, value, depth);
            Ok(())
        }),
        Value::Array(items) => items.iter().try_for_each(|item| {
            write!(text, "{:indent$}-", "", indent = depth * 2)?;
            write_after_name(text, item, depth);
            Ok(())
        }),
        scalar => writeln!(text, "{}", word(scalar)),
    };
}

/// What stands after `name:` or `-`: a word on the same line, or lines of their own.
fn write_after_name(text: &mut String, value: &Value, depth: usize) {
    let (none, scalars) = match value {
        Value::Object(fields) => (fields.is_empty(), false),
        Value::Array(items) => {
            (items.is_empty(), items.iter().all(|item| !item.is_object() && !item.is_array()))
        }
        _ => (false, false),
    };
    let line = match value {
        _ if none => "none".to_owned(),
        Value::Array(items) if scalars => items.iter().map(word).collect::<Vec<_>>().join(", "),
        Value::Object(_) | Value::Array(_) => {
            text.push('\n');
            return write_value(text, value, depth + 1);
        }
        scalar => word(scalar),
    };
    text.push(' ');
    text.push_str(&line);
    text.push('\n');
}

fn word(scalar: &Value) -> String {
    match scalar {
        Value::String(text) => harmless(text),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::super::asked;
    use super::*;

    /// Answers one request with these bytes and gives back what was asked.
    fn instance(answer: &'static str) -> (Uri, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = asked::admin(&listener.local_addr().unwrap().to_string()).unwrap();
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(head).unwrap()
        });
        (uri, asked)
    }

    fn question() -> Question {
        Question {
            path: "/entry?method=GET&url=%2Fa".into(),
            token: Some(asked::bearer("t").unwrap()),
            headers: vec![asked::header("Cookie: a=b").unwrap(), asked::header("accept:*/*").unwrap()],
            body: Bytes::new(),
            thinks_for: Duration::ZERO,
        }
    }

    #[test]
    fn the_question_bears_the_callers_headers_apart_from_its_own() {
        let (uri, asked) = instance("HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"held\":true}");
        assert_eq!(readable(&ask(&uri, &question()).unwrap()), "held: yes\n");
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("GET /entry?method=GET&url=%2Fa HTTP/1.1\r\n"), "{asked}");
        for line in
            ["x-larder-header: cookie: a=b", "x-larder-header: accept: */*", "authorization: Bearer t"]
        {
            assert!(asked.lines().any(|each| each == line), "{line} in {asked}");
        }
        assert!(!asked.contains("\r\ncookie:"), "{asked}");
    }

    #[test]
    fn a_body_is_sent_with_the_question() {
        let (uri, asked) = instance("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        ask(&uri, &Question { body: Bytes::from("{\"a\":1}"), ..question() }).unwrap();
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("POST /entry?"), "{asked}");
        assert!(asked.contains("\r\ncontent-length: 7\r\n") && !asked.contains("content-type"), "{asked}");
    }

    #[test]
    fn every_refusal_has_its_words() {
        for (answer, says) in [
            ("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", "set LARDER_ADMIN_TOKEN"),
            (
                "HTTP/1.1 400 Bad Request\r\ncontent-length: 16\r\n\r\n{\"title\":\"none\"}",
                "400 Bad Request: title: none",
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "can't be read"),
            (
                "HTTP/1.1 400 Bad Request\r\ncontent-length: 26\r\n\r\n{\"detail\":\"a\",\"title\":\"b\"}",
                "400 Bad Request: a",
            ),
            ("SSH-2.0-OpenSSH\r\n", "can't be read"),
        ] {
            let (uri, asked) = instance(answer);
            let error = ask(&uri, &question()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            asked.join().unwrap();
        }
    }

    #[test]
    fn nobody_there_is_said_at_once() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let uri = asked::admin(&free.to_string()).unwrap();
        let error = ask(&uri, &question()).unwrap_err();
        assert!(matches!(error, InstanceError::Unreachable(..)), "{error}");
    }

    #[test]
    fn json_becomes_lines() {
        let body = br#"{"age":3,"entry":{"fresh_for":"4m","tags":["a","b"],"vary":[]},"list":[{"x":1},{"y":null}],"stored":false}"#;
        assert_eq!(
            readable(body),
            "age: 3\nentry:\n  fresh for: 4m\n  tags: a, b\n  vary: none\nlist:\n  -\n    x: 1\n  -\n    y: none\nstored: no\n"
        );
        assert_eq!(readable(b"plain"), "plain");
    }

    #[test]
    fn nothing_that_the_instance_says_steers_the_terminal() {
        for body in [
            &br#"{"held":{"tags":["name:x\u001b[31mRED"],"a\u001b[2J":"\u009b31m"}}"#[..],
            b"\x1b[2J plain \x07",
            b"\"\\u001b]0;title\\u0007\"",
        ] {
            let text = readable(body);
            assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()), "{text:?}");
        }
        assert_eq!(reason(br#"{"detail":"a\u001b[31m"}"#), "a\u{fffd}[31m");
    }
}
