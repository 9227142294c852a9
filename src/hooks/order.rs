//! `Order`: what somebody who may says to be invalid, in so many words: the body of `POST /invalidate`.
//!
//! It is read field by field rather than as a whole, so that every mistake is told with its field. Invariant: credentials are
//! made digests as they are read; no mistake, log line or event has anything of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::draft::{Draft, Resolve, Unsayable, can_be_kept, shown};
use crate::invalidation::{Event, Settings, Wait};
use crate::object::Tag;
use crate::spelling::{did_you_mean, meant};

/// What is to be invalid, and for whom to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// At least one thing.
    pub event: Event,
    /// For whom it is waited, …
    pub wait: Wait,
    /// … and for how long.
    pub timeout: Duration,
}

/// What has to be known to read one.
#[derive(Clone, Copy)]
pub struct Terms<'t> {
    /// How much it may say.
    pub limits: Settings,
    /// The routes that there are.
    pub routes: &'t [Arc<str>],
    /// What URLs are called.
    pub resolve: Resolve<'t>,
    /// All that a credential is called.
    pub credential: &'t (dyn Fn(&str) -> Vec<Tag> + Send + Sync),
}

/// Why it is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOrder {
    /// For who wrote it.
    #[error("{0}")]
    Wrong(String),
    /// It says more than one event may.
    #[error("{0}")]
    TooMuch(String),
}

/// What there is to say.
const FIELDS: [&str; 10] =
    ["tags", "paths", "prefixes", "routes", "identities", "credentials", "all", "soft", "wait", "timeout"];

/// As long as a person waits, and long for a sender that holds a connection.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Each that is waited for has a connection to itself.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(60);

impl Order {
    /// From the body of a request.
    pub fn read(body: &[u8], terms: &Terms<'_>) -> Result<Self, BadOrder> {
        let Fields(fields) = serde_json::from_slice(body).map_err(|error| not_read(&error))?;
        let mut draft = Draft::new(Event::default(), terms.limits, terms.resolve);
        let (mut all, mut soft) = (false, false);
        let (mut wait, mut timeout) = (Wait::default(), TIMEOUT);
        let mut read: Vec<&str> = Vec::new();
        for (name, value) in &fields {
            if read.contains(&name.as_str()) {
                return Err(wrong(format!("\"{name}\" is there twice")));
            }
            read.push(name);
            match name.as_str() {
                "all" => all = flag(name, value)?,
                "soft" => soft = flag(name, value)?,
                "wait" => wait = read_wait(value)?,
                "timeout" => timeout = read_timeout(value)?,
                list if FIELDS.contains(&list) => write_list(name, value, terms, &mut draft)?,
                _ => return Err(unknown(name)),
            }
        }
        let event = Event { all, soft, ..draft.finish() };
        if event.is_empty() {
            let lists = FIELDS[..6].join(", ");
            return Err(wrong(format!(
                "it names nothing: at least one of {lists}, or \"all\": true, is wanted"
            )));
        }
        Ok(Self { event, wait, timeout })
    }
}

fn write_list(name: &str, value: &Value, terms: &Terms<'_>, draft: &mut Draft<'_>) -> Result<(), BadOrder> {
    for (place, text) in texts(name, value)?.into_iter().enumerate() {
        let written = match name {
            _ if text.is_empty() => Err(Unsayable::Empty),
            "paths" => draft.path(text).and_then(|()| can_be_kept(text, false)),
            "prefixes" => draft.prefix(text.to_owned()).and_then(|()| can_be_kept(text, true)),
            "routes" => draft.route(text, terms.routes),
            "identities" => draft.identity(text),
            "credentials" => draft.digests((terms.credential)(text)),
            _ => draft.tag(text.to_owned()),
        };
        written.map_err(|why| match why {
            Unsayable::TooMany(_) => BadOrder::TooMuch(why.to_string()),
            Unsayable::NoRoute(why) => wrong(why),
            why => wrong(format!("{name}[{place}] {why}")),
        })?;
    }
    Ok(())
}

fn texts<'v>(name: &str, value: &'v Value) -> Result<Vec<&'v str>, BadOrder> {
    let not_a_list = || wrong(format!("\"{name}\" is {}; a list of texts is wanted", kind(value)));
    let items = value.as_array().ok_or_else(not_a_list)?;
    let read = |(place, item): (usize, &'v Value)| {
        item.as_str().ok_or_else(|| wrong(format!("{name}[{place}] is {}; a text is wanted", kind(item))))
    };
    items.iter().enumerate().map(read).collect()
}

fn flag(name: &str, value: &Value) -> Result<bool, BadOrder> {
    value.as_bool().ok_or_else(|| wrong(format!("\"{name}\" is {}; true or false is wanted", kind(value))))
}

fn read_wait(value: &Value) -> Result<Wait, BadOrder> {
    let expected =
        "\"wait\" is \"self\" (this instance), \"log\" (written to the log) or \"all\" (all instances)";
    // A text alone: serde takes {"all": null} for one, too.
    let read = value.as_str().and_then(|_| Wait::deserialize(value).ok());
    read.ok_or_else(|| wrong(expected.to_owned()))
}

fn read_timeout(value: &Value) -> Result<Duration, BadOrder> {
    let expected = "\"timeout\" is a duration of at most 60s, such as \"5s\" or \"250ms\"";
    let read = value.as_str().and_then(|text| humantime::parse_duration(text.trim()).ok());
    read.filter(|timeout| *timeout <= TIMEOUT_MAX).ok_or_else(|| wrong(expected.to_owned()))
}

fn unknown(name: &str) -> BadOrder {
    let hint = did_you_mean(meant(name, &FIELDS));
    wrong(format!("unknown field {}{hint}; there are {}", shown(name), FIELDS.join(", ")))
}

/// What a value is, without the value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrong(message: String) -> BadOrder {
    BadOrder::Wrong(message)
}

/// Where the text breaks off or goes wrong, never what stands there.
fn not_read(error: &serde_json::Error) -> BadOrder {
    let wanted = "an object such as {\"tags\": [\"user:5\"]} is wanted";
    if error.is_data() {
        return wrong(format!("the body is no JSON object: {wanted}"));
    }
    let (line, column) = (error.line(), error.column());
    wrong(format!("the body is no JSON from line {line}, column {column} on: {wanted}"))
}

/// The members of an object as they stand there, doubled ones too.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Fields(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn url(url: &str) -> Tag {
        Tag::named(&format!("url {url}"))
    }

    fn credential(text: &str) -> Vec<Tag> {
        ["header:authorization", "cookie:session"]
            .map(|source| Tag::named(&format!("{source} {text}")))
            .into()
    }

    fn read(body: &str) -> Result<Order, BadOrder> {
        let routes = ["user".into(), "search".into(), "unrouted".into()];
        let limits = Settings { names_max: 10, tag_bytes_max: 16, ..Settings::default() };
        Order::read(
            body.as_bytes(),
            &Terms { limits, routes: &routes, resolve: &url, credential: &credential },
        )
    }

    #[test]
    fn everything_can_be_said_at_once() {
        let order = read(
            &json!({
                "tags": ["b", "a"],
                "paths": ["/a", "/b?c"],
                "prefixes": ["/api/"],
                "routes": ["user"],
                "identities": ["7"],
                "credentials": ["hunter2"],
                "all": true,
                "soft": true,
                "wait": "self",
                "timeout": "250ms",
            })
            .to_string(),
        );
        let mut digests = credential("hunter2");
        digests.push(url("/b?c"));
        digests.sort();
        let event = Event {
            tags: ["a", "b", "identity:7", "route:user"].map(str::to_owned).into(),
            paths: vec!["/a".into()],
            prefixes: vec!["/api/".into()],
            digests,
            all: true,
            soft: true,
            ..Event::default()
        };
        assert_eq!(order, Ok(Order { event, wait: Wait::Own, timeout: Duration::from_millis(250) }));
    }

    #[test]
    fn what_is_not_said_is_what_is_safest() {
        let order = read(r#"{"tags": ["a"]}"#).unwrap();
        assert_eq!((order.wait, order.timeout), (Wait::All, Duration::from_secs(5)));
        assert!(!order.event.soft && !order.event.all);
        assert!(read(r#"{"all": true, "tags": []}"#).unwrap().event.all);
    }

    #[test]
    fn every_mistake_is_told_with_its_field() {
        for (body, expected) in [
            ("", "no JSON from line 1, column 0 on"),
            ("tags=a", "no JSON from line 1"),
            ("[]", "no JSON object"),
            ("\"all\"", "no JSON object"),
            (
                "{}",
                "it names nothing: at least one of tags, paths, prefixes, routes, identities, credentials",
            ),
            (r#"{"soft": true, "tags": [], "all": false}"#, "it names nothing"),
            (r#"{"tag": ["a"]}"#, "unknown field \"tag\" (did you mean \"tags\"?); there are tags, paths"),
            (r#"{"settle": "5s"}"#, "unknown field \"settle\"; there are tags"),
            (r#"{"tags": ["a"], "tags": ["b"]}"#, "\"tags\" is there twice"),
            (r#"{"tags": "a"}"#, "\"tags\" is a text; a list of texts is wanted"),
            (r#"{"tags": null}"#, "\"tags\" is null"),
            (r#"{"tags": ["a", 5]}"#, "tags[1] is a number; a text is wanted"),
            (r#"{"tags": ["a", ""]}"#, "tags[1] is empty"),
            (r#"{"tags": ["12345678901234567"]}"#, "tags[0] is longer than 16 bytes"),
            (r#"{"all": "true"}"#, "\"all\" is a text; true or false is wanted"),
            (r#"{"all": true, "soft": 1}"#, "\"soft\" is a number"),
            (r#"{"all": true, "wait": "ALL"}"#, "\"wait\" is \"self\""),
            (r#"{"all": true, "wait": {"all": null}}"#, "\"wait\" is \"self\""),
            (r#"{"paths": ["/a//b"]}"#, "paths[0] has an empty segment: servers disagree"),
            (r#"{"prefixes": ["/a/../b"]}"#, "prefixes[0] has a dot segment"),
            (r#"{"all": true, "wait": true}"#, "\"wait\" is \"self\""),
            (r#"{"all": true, "timeout": 5}"#, "\"timeout\" is a duration of at most 60s"),
            (r#"{"all": true, "timeout": "5"}"#, "\"timeout\" is a duration of at most 60s"),
            (r#"{"all": true, "timeout": "61s"}"#, "\"timeout\" is a duration of at most 60s"),
            (r#"{"paths": ["http://h/users/5"]}"#, "paths[0] is a URL: write its path alone"),
            (r#"{"paths": ["/a", "users/5"]}"#, "paths[1] is no path: it begins with /"),
            (r#"{"prefixes": ["/a?b"]}"#, "prefixes[0] has a query"),
            (r#"{"routes": ["users"]}"#, "there is no route \"users\" (did you mean \"user\"?)"),
            (r#"{"routes": ["xyz"]}"#, "there is no route \"xyz\"; there are user, search, unrouted"),
        ] {
            let got = read(body).unwrap_err();
            assert!(matches!(&got, BadOrder::Wrong(why) if why.contains(expected)), "{body}: {got}");
        }
        let many: Vec<_> = (0..11).map(|number| number.to_string()).collect();
        let got = read(&json!({ "tags": many }).to_string()).unwrap_err();
        assert!(matches!(&got, BadOrder::TooMuch(why) if why.contains("more than 10")), "{got}");
        assert_eq!(read(r#"{"all": true, "timeout": " 1m "}"#).unwrap().timeout, TIMEOUT_MAX);
    }

    #[test]
    fn a_credential_is_repeated_by_nothing() {
        for body in [
            r#"{"credentials": ["hunter2"]}"#,
            r#"{"credentials": "hunter2"}"#,
            r#"{"credentials": ["hunter2", ""]}"#,
            r#"{"credentials": {"hunter2": "hunter2"}}"#,
            r#"{"credentials": ["hunter2"], "credentials": ["hunter2"]}"#,
            r#"{"credentials": ["hunter2"}"#,
            r#"{"credentials": ["hunter2"#,
            r#""hunter2""#,
            r#"{"credentials": ["hunter2\u{d800}"]}"#,
        ] {
            let got = format!("{:?}", read(body));
            assert!(!got.contains("hunter2"), "{body}: {got}");
            let shown = read(body).map_or_else(
                |why| why.to_string(),
                |order| String::from_utf8(order.event.to_json()).unwrap(),
            );
            assert!(!shown.contains("hunter2"), "{body}: {shown}");
        }
    }

    #[test]
    fn a_long_name_is_not_repeated_at_length() {
        let long = "x".repeat(10_000);
        for body in [json!({ long.clone(): [] }), json!({ "routes": [long] })] {
            assert!(read(&body.to_string()).unwrap_err().to_string().len() < 300);
        }
    }
}
