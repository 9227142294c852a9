//! What a message declares invalid, by its hook's rule. Whose message it is has been proven before.
//!
//! In a path, a value of the body that begins with `/` is taken as a piece of a path that is written as in URLs, and one that is a
//! whole URL stands for its path; any other value is one segment's, so that `%`, `?` and `#` in it mean themselves.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::draft::{Draft, NAME_BYTES_MAX, Unsayable, without_origin};
use super::order::Terms;
use super::rule::Hook;
use crate::invalidation::{Event, Settings};
use crate::naming::{self, Bounds, NotRead, Piece, Pointer, Template, TooMany};

/// What a message comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Something is invalid.
    Declared(Event),
    /// It is none that the hook is for, and this is why.
    Ignored(String),
}

/// Why a message comes to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// Nothing that pointers lead into.
    #[error(
        "the body is no JSON; a sender that offers a choice, such as GitHub, has to be set to application/json"
    )]
    NotJson,
    /// More than an event can say.
    #[error("the message names more than {0} things, or one that is too long")]
    TooMany(usize),
    /// It would change nothing.
    #[error("the message names nothing: {0}")]
    NothingNamed(String),
    /// A route that is not there.
    #[error("{0}")]
    NoRoute(String),
    /// A template of paths makes something else.
    #[error("what \"{0}\" makes of the message {1}")]
    NotAPath(String, Unsayable),
}

/// Longer ones than most servers take.
const PATH_BYTES_MAX: usize = 8192;
/// Bytes of a value that are told to who sent it.
const TOLD_BYTES_MAX: usize = 64;

/// What a name is of.
#[derive(Clone, Copy)]
enum Kind {
    Tag,
    Route,
    Identity,
}

/// What stands at each place of the body.
type Found<'h> = HashMap<&'h Pointer, Vec<String>>;

/// What this hook makes of a body; `message` is what the message calls itself.
pub fn read(hook: &Hook, body: &[u8], message: Option<&str>, terms: &Terms<'_>) -> Result<Told, BadMessage> {
    let limits = &terms.limits;
    if let Some(why) = is_not_meant(hook, body, limits)? {
        return Ok(Told::Ignored(why));
    }
    let event = Event {
        all: hook.says.all,
        soft: hook.soft,
        settle_ms: u64::try_from(hook.settle.as_millis()).unwrap_or(u64::MAX),
        message: message.map(|id| digest(&hook.name, id)),
        ..Event::default()
    };
    let found = find(hook, body, limits)?;
    let mut draft = Draft::new(event, terms.limits, terms.resolve);
    write_names(hook, &found, terms, &mut draft)?;
    write_paths(hook, &found, limits, &mut draft)?;
    let event = draft.finish();
    if event.is_empty() {
        Err(BadMessage::NothingNamed(nothing_at(&found)))
    } else {
        Ok(Told::Declared(event))
    }
}

/// What a message is known by when it comes again. Nobody can make one that is taken for another's: who may send to one hook must
/// not be able to have a message to another pass for a replay.
fn digest(hook: &str, id: &str) -> u64 {
    let mut digest = Sha256::new();
    for part in ["message", hook, id] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Why the message is none for this hook.
fn is_not_meant(hook: &Hook, body: &[u8], limits: &Settings) -> Result<Option<String>, BadMessage> {
    if hook.when.is_empty() {
        return Ok(None);
    }
    let pointers: Vec<_> = hook.when.iter().map(|(pointer, _)| pointer).collect();
    // A long text at one of these places is not one of the hook's, and no mistake.
    let bounds = Bounds { count_max: limits.names_max, bytes_max: body.len() };
    let found = naming::extract(body, &pointers, bounds).map_err(|why| bad(why, limits))?;
    let other = hook.when.iter().zip(&found).find(|((_, wanted), found)| {
        let is_wanted = |text: &String| wanted.contains(text);
        !found.iter().any(is_wanted)
    });
    Ok(other.map(|((pointer, wanted), found)| {
        let wanted: Vec<_> = wanted.iter().map(|text| format!("\"{text}\"")).collect();
        let is = found.first().map_or("nothing".to_owned(), |text| format!("\"{}\"", shortened(text)));
        format!("at {pointer} stands {is}, and this hook is for {}", wanted.join(" or "))
    }))
}

fn shortened(text: &str) -> &str {
    let end = (0..=TOLD_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

fn templates(hook: &Hook) -> impl Iterator<Item = &Template> {
    let says = &hook.says;
    [&says.tags, &says.paths, &says.prefixes, &says.routes, &says.identities].into_iter().flatten()
}

/// One walk through the body, for all of the hook's templates. One that needs nothing of it may be anything.
fn find<'h>(hook: &'h Hook, body: &[u8], limits: &Settings) -> Result<Found<'h>, BadMessage> {
    let mut places = Vec::new();
    for pointer in templates(hook).flat_map(Template::pointers) {
        if !places.contains(&pointer) {
            places.push(pointer);
        }
    }
    if places.is_empty() {
        return Ok(Found::new());
    }
    let bounds = Bounds { count_max: limits.names_max, bytes_max: PATH_BYTES_MAX };
    let values = naming::extract(body, &places, bounds).map_err(|why| bad(why, limits))?;
    Ok(places.into_iter().zip(values).collect())
}

fn bad(why: NotRead, limits: &Settings) -> BadMessage {
    match why {
        NotRead::NotJson => BadMessage::NotJson,
        NotRead::TooMany => BadMessage::TooMany(limits.names_max),
    }
}

fn values(found: &Found<'_>, piece: &Piece) -> Vec<String> {
    match piece {
        Piece::Body(pointer) => found.get(pointer).cloned().unwrap_or_default(),
        // A message has neither a path nor a caller: the configuration lets no such piece into a hook.
        _ => Vec::new(),
    }
}

fn write_names(
    hook: &Hook,
    found: &Found<'_>,
    terms: &Terms<'_>,
    draft: &mut Draft<'_>,
) -> Result<(), BadMessage> {
    let (says, limits) = (&hook.says, &terms.limits);
    let longest = limits.tag_bytes_max.max(NAME_BYTES_MAX);
    for (kind, templates, bytes_max) in [
        (Kind::Tag, &says.tags, limits.tag_bytes_max),
        (Kind::Route, &says.routes, longest),
        (Kind::Identity, &says.identities, longest),
    ] {
        for template in templates {
            let bounds = Bounds { count_max: draft.room(), bytes_max };
            let names = template
                .render(|piece| values(found, piece), bounds)
                .map_err(|TooMany| BadMessage::TooMany(limits.names_max))?;
            for name in names.into_iter().filter(|name| !name.is_empty()) {
                let written = match kind {
                    Kind::Tag => draft.tag(name),
                    Kind::Route => draft.route(&name, terms.routes),
                    Kind::Identity => draft.identity(&name),
                };
                written.map_err(|why| match why {
                    Unsayable::NoRoute(why) => BadMessage::NoRoute(why),
                    _ => BadMessage::TooMany(limits.names_max),
                })?;
            }
        }
    }
    Ok(())
}

fn write_paths(
    hook: &Hook,
    found: &Found<'_>,
    limits: &Settings,
    draft: &mut Draft<'_>,
) -> Result<(), BadMessage> {
    let whole = hook.says.paths.iter().map(|template| (template, false));
    let prefixes = hook.says.prefixes.iter().map(|template| (template, true));
    for (template, is_prefix) in whole.chain(prefixes) {
        let bounds = Bounds { count_max: draft.room(), bytes_max: PATH_BYTES_MAX };
        let paths = template
            .render(|piece| values(found, piece).iter().map(|value| in_path(value)).collect(), bounds)
            .map_err(|TooMany| BadMessage::TooMany(limits.names_max))?;
        for path in paths {
            let written = if is_prefix { draft.prefix(path) } else { draft.path(&path) };
            written.map_err(|why| match why {
                Unsayable::TooMany(max) => BadMessage::TooMany(max),
                why => BadMessage::NotAPath(template.to_string(), why),
            })?;
        }
    }
    Ok(())
}

/// A value as it stands in a path.
fn in_path(value: &str) -> String {
    let path = match without_origin(value) {
        Some(path) if path.starts_with('/') => path.to_owned(),
        // `https://h?x` is asked for as `/?x`.
        Some(rest) => format!("/{rest}"),
        None if value.starts_with('/') => value.to_owned(),
        None => return value.replace('%', "%25").replace('?', "%3F").replace('#', "%23"),
    };
    path.split('#').next().unwrap_or_default().to_owned()
}

fn nothing_at(found: &Found<'_>) -> String {
    let empty = found.iter().filter(|(_, values)| values.is_empty());
    let mut empty: Vec<_> = empty.map(|(pointer, _)| pointer.to_string()).collect();
    empty.sort_unstable();
    if empty.is_empty() {
        return "what stands there makes no name".to_owned();
    }
    format!("no text or number stands at {}", empty.join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::hooks::{Proof, Says};
    use crate::invalidation::Wait;
    use crate::object::Tag;

    fn hook(says: Says) -> Hook {
        Hook {
            name: "changed".into(),
            proof: Proof::Standard(Vec::new()),
            when: Vec::new(),
            says,
            soft: false,
            settle: Duration::ZERO,
            wait: Wait::All,
            timeout: Duration::from_secs(5),
        }
    }

    fn templates<const N: usize>(texts: [&str; N]) -> Vec<Template> {
        texts.map(|text| text.parse().unwrap()).into()
    }

    fn url(url: &str) -> Tag {
        Tag::named(&format!("url {url}"))
    }

    fn read_with(
        hook: &Hook,
        body: &[u8],
        message: Option<&str>,
        limits: Settings,
    ) -> Result<Told, BadMessage> {
        let routes = ["user".into(), "search".into()];
        let terms = Terms { limits, routes: &routes, resolve: &url, credential: &|_| Vec::new() };
        read(hook, body, message, &terms)
    }

    fn told(hook: &Hook, body: &Value) -> Result<Told, BadMessage> {
        let limits = Settings { names_max: 10, tag_bytes_max: 16, ..Settings::default() };
        read_with(hook, body.to_string().as_bytes(), None, limits)
    }

    fn event(hook: &Hook, body: &Value) -> Event {
        match told(hook, body).unwrap() {
            Told::Declared(event) => event,
            Told::Ignored(why) => panic!("{body}: {why}"),
        }
    }

    #[test]
    fn what_the_templates_make_is_declared() {
        let hook = hook(Says {
            tags: templates(["user:{body:/data/id}", "item:{body:/items/*/id}", "static"]),
            paths: templates(["/users/{body:/data/id}", "{body:/urls/*}"]),
            prefixes: templates(["/teams/{body:/data/team}/"]),
            routes: templates(["search"]),
            identities: templates(["{body:/data/id}"]),
            all: false,
        });
        let body = json!({
            "data": {"id": 5, "team": "a/b"},
            "items": [{"id": "x"}, {}, {"id": "y"}],
            "urls": ["/a?b=1", "https://h/c"],
        });
        let event = event(&hook, &body);
        let tags = ["identity:5", "item:x", "item:y", "route:search", "static", "user:5"];
        assert_eq!(event.tags, tags);
        assert_eq!(event.paths, ["/c", "/users/5"]);
        assert_eq!(event.prefixes, ["/teams/a/b/"]);
        assert_eq!(event.digests, [url("/a?b=1")]);
        assert!(!event.all && !event.soft && event.settle_ms == 0 && event.message.is_none());
    }

    #[test]
    fn what_the_hook_says_of_every_message_is_in_its_event() {
        let mut hook = hook(Says { all: true, ..Says::default() });
        hook.soft = true;
        hook.settle = Duration::from_secs(2);
        let read = |name: &str, id| {
            let hook = Hook { name: name.into(), ..hook.clone() };
            // One that needs nothing of its body takes any.
            match read_with(&hook, b"payload=x", id, Settings::default()).unwrap() {
                Told::Declared(event) => event,
                Told::Ignored(why) => panic!("{why}"),
            }
        };
        let one = read("a", Some("msg_1"));
        assert!(one.all && one.soft && one.settle_ms == 2000 && one.message.is_some());
        assert_eq!(one, read("a", Some("msg_1")));
        assert_eq!(read("a", None).message, None);
        for (name, id) in [("a", "msg_2"), ("b", "msg_1"), ("am", "sg_1")] {
            assert_ne!(read(name, Some(id)).message, one.message, "{name} {id}");
        }
    }

    #[test]
    fn a_message_counts_where_each_place_holds_one_of_its_texts() {
        let mut hook = hook(Says { tags: templates(["a"]), ..Says::default() });
        hook.when = vec![
            ("/event".parse().unwrap(), vec!["user.updated".into(), "user.deleted".into()]),
            ("/kinds/*".parse().unwrap(), vec!["7".into(), "true".into()]),
        ];
        let long = "é".repeat(1000);
        for (body, expected) in [
            (json!({"event": "user.deleted", "kinds": [1, 7]}), None),
            (json!({"event": "user.updated", "kinds": [true]}), None),
            (
                json!({"event": "ping", "kinds": [7]}),
                Some("at /event stands \"ping\", and this hook is for \"user.updated\" or \"user.deleted\""),
            ),
            (json!({"kinds": [7]}), Some("at /event stands nothing")),
            (json!({"event": {"user.updated": 1}, "kinds": [7]}), Some("at /event stands nothing")),
            (json!({"event": "user.updated", "kinds": []}), Some("at /kinds/* stands nothing")),
            (json!({"event": long, "kinds": [7]}), Some("at /event stands \"éé")),
        ] {
            match (told(&hook, &body).unwrap(), expected) {
                (Told::Declared(_), None) => {}
                (Told::Ignored(why), Some(expected)) => {
                    assert!(why.contains(expected) && why.len() < 200, "{body}: {why}");
                }
                (got, _) => panic!("{body}: {got:?}"),
            }
        }
        assert_eq!(read_with(&hook, b"x", None, Settings::default()), Err(BadMessage::NotJson));
    }

    #[test]
    fn what_says_nothing_is_refused_with_where_nothing_stands() {
        let hook = hook(Says {
            tags: templates([
                "user:{body:/data/id}",
                "item:{body:/items/*/id}{body:/data/id}",
                "{body:/empty}",
            ]),
            ..Says::default()
        });
        let body = json!({"id": 5, "items": [{"id": 1}], "empty": ""});
        let why = told(&hook, &body).unwrap_err();
        assert_eq!(why, BadMessage::NothingNamed("no text or number stands at /data/id".into()));
        let body = json!({"data": {"id": 5}, "empty": ""});
        assert_eq!(event(&hook, &body).tags, ["user:5"], "a part that is missing drops that name alone");
        for body in ["", "payload=%7B%7D", "{\"data\": {\"id\": 5}", "{} {}"] {
            let got = read_with(&hook, body.as_bytes(), None, Settings::default());
            assert_eq!(got, Err(BadMessage::NotJson), "{body}");
        }
    }

    #[test]
    fn a_route_that_is_not_there_does_not_end_in_a_success() {
        let hook = hook(Says { routes: templates(["{body:/changed_routes/*}"]), ..Says::default() });
        assert_eq!(event(&hook, &json!({"changed_routes": ["user"]})).tags, ["route:user"]);
        let why = told(&hook, &json!({"changed_routes": ["user", "usr"]})).unwrap_err();
        assert_eq!(why, BadMessage::NoRoute("there is no route \"usr\" (did you mean \"user\"?)".into()));
    }

    #[test]
    fn what_a_message_is_known_by_can_not_be_made_to_order() {
        // The first eight bytes of SHA-256 over the parts, each behind its length.
        assert_eq!(digest("a", "msg_1"), 0x949f_1df6_c52b_b1a6);
        let parts: Vec<_> = [("a", "msg_1"), ("am", "sg_1")].map(|(hook, id)| digest(hook, id)).into();
        assert_ne!(parts[0], parts[1]);
    }

    #[test]
    fn there_are_bounds() {
        let of = |tags| hook(Says { tags, ..Says::default() });
        let all = of(templates(["{body:/*}"]));
        let ten: Vec<_> = (0..10).collect();
        let eleven: Vec<_> = (0..11).collect();
        assert_eq!(event(&all, &json!(ten)).tags.len(), 10);
        for (hook, body) in [
            (&all, json!(eleven)),
            (&of(templates(["{body:/a/*}-{body:/b/*}"])), json!({"a": [1, 2, 3, 4], "b": [5, 6, 7]})),
            (&of(templates(["{body:/a/*}", "x{body:/a/*}"])), json!({"a": [1, 2, 3, 4, 5, 6]})),
            (&all, json!(["12345678901234567"])),
            (&of(templates(["123456789012345{body:/a}"])), json!({"a": "67"})),
        ] {
            assert_eq!(told(hook, &body), Err(BadMessage::TooMany(10)), "{body}");
        }
        let long = "x".repeat(1000);
        let paths = hook(Says { paths: templates(["/{body:/a}"]), ..Says::default() });
        let expected = Tag::path(format!("/{long}").as_bytes());
        assert_eq!(event(&paths, &json!({ "a": long })).digests, [expected]);
        let too_long = json!({"a": "x".repeat(PATH_BYTES_MAX)});
        assert_eq!(told(&paths, &too_long), Err(BadMessage::TooMany(10)));
    }

    #[test]
    fn a_value_is_one_segment_unless_it_is_a_path() {
        let paths = |texts| hook(Says { paths: texts, ..Says::default() });
        let (segment, whole) = (paths(templates(["/u/{body:/a}"])), paths(templates(["{body:/a}"])));
        for (hook, value, expected) in [
            (&segment, "50%", "/u/50%25"),
            (&segment, "a?b", "/u/a%3Fb"),
            (&segment, "a#b", "/u/a%23b"),
            (&segment, "a b", "/u/a b"),
            (&whole, "/a%20b", "/a%20b"),
            (&whole, "/a#part", "/a"),
            (&whole, "https://h.example/a#part", "/a"),
            (&whole, "http://h.example", "/"),
        ] {
            assert_eq!(event(hook, &json!({ "a": value })).paths, [expected], "{value}");
        }
        let with_query = event(&whole, &json!({"a": "https://h.example?b"}));
        assert_eq!(with_query.digests, [url("/?b")]);
        let why = told(&whole, &json!({"a": "users/5"})).unwrap_err();
        assert_eq!(why, BadMessage::NotAPath("{body:/a}".into(), Unsayable::NotAPath));
        assert_eq!(why.to_string(), "what \"{body:/a}\" makes of the message is no path: it begins with /");
    }
}
