//! `Draft`: an event while it is being written, by a message, an order or a purge, within bounds.
//!
//! Paths are taken as they are written in URLs. One with a query means that URL alone, and goes into the event as what
//! `Resolve` makes of it; one that is too long to be written out goes in as its digest.

use std::sync::Arc;

use crate::invalidation::event::decoded;
use crate::invalidation::{Event, Settings};
use crate::object::Tag;
use crate::spelling::{did_you_mean, meant};

/// Bytes that the name of a route or an identity may have, however long tags may be.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// What a path with a query is called, as the proxy calls what it keeps of it.
pub type Resolve<'r> = &'r (dyn Fn(&str) -> Tag + Send + Sync);

/// An event that is not whole yet.
pub struct Draft<'r> {
    event: Event,
    names: usize,
    limits: Settings,
    resolve: Resolve<'r>,
}

/// Why something can't be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsayable {
    /// One more than there may be.
    #[error("more than {0} names at once: say it in several parts, or with prefixes or routes")]
    TooMany(usize),
    /// One that is longer than any tag that is kept.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// Nothing.
    #[error("is empty")]
    Empty,
    /// Something else than a path.
    #[error("is no path: it begins with /")]
    NotAPath,
    /// A whole URL.
    #[error("is a URL: write its path alone, such as /users/5, for whatever host it was asked of")]
    Url,
    /// What no request has.
    #[error("has a fragment (#…), which is never sent to a server")]
    Fragment,
    /// What no route is called.
    #[error("{0}")]
    NoRoute(String),
    /// A path that nothing is ever kept of.
    #[error("has {0}: servers disagree on what that means, so nothing is kept of such a path")]
    NeverKept(&'static str),
    /// A query where none can be.
    #[error("has a query (?…): a prefix is of paths alone")]
    Query,
}

impl<'r> Draft<'r> {
    /// To be written on from this.
    pub fn new(event: Event, limits: Settings, resolve: Resolve<'r>) -> Self {
        Self { event, names: 0, limits, resolve }
    }

    /// How many names there is still room for.
    pub fn room(&self) -> usize {
        self.limits.names_max.saturating_sub(self.names)
    }

    /// All that one of these routes keeps. One that is not there is a slip of the pen: it must not end in a success that did
    /// nothing.
    pub fn route(&mut self, name: &str, routes: &[Arc<str>]) -> Result<(), Unsayable> {
        self.one_more()?;
        let known: Vec<&str> = routes.iter().map(|route| &**route).collect();
        if known.contains(&name) {
            self.event.tags.push(format!("route:{name}"));
            return Ok(());
        }
        let hint = did_you_mean(meant(name, &known));
        let known = if hint.is_empty() { format!("; there are {}", known.join(", ")) } else { String::new() };
        Err(Unsayable::NoRoute(format!("there is no route {}{hint}{known}", shown(name))))
    }

    /// All that is kept for one who asks; entries bear it however short their other tags have to be.
    pub fn identity(&mut self, id: &str) -> Result<(), Unsayable> {
        self.one_more()?;
        if id.len() > self.limits.tag_bytes_max.max(NAME_BYTES_MAX) {
            return Err(Unsayable::TooLong(self.limits.tag_bytes_max.max(NAME_BYTES_MAX)));
        }
        self.event.tags.push(format!("identity:{id}"));
        Ok(())
    }

    /// A tag.
    pub fn tag(&mut self, tag: String) -> Result<(), Unsayable> {
        self.one_more()?;
        self.not_too_long(&tag)?;
        self.event.tags.push(tag);
        Ok(())
    }

    /// A path and all that is kept of it, or with a query that URL alone.
    pub fn path(&mut self, path: &str) -> Result<(), Unsayable> {
        self.one_more()?;
        is_path(path)?;
        if path.contains('?') {
            self.event.digests.push((self.resolve)(path));
        } else if path.len() > self.limits.tag_bytes_max {
            self.event.digests.push(Tag::path(&decoded(path)));
        } else {
            self.event.paths.push(path.to_owned());
        }
        Ok(())
    }

    /// All paths that begin so.
    pub fn prefix(&mut self, prefix: String) -> Result<(), Unsayable> {
        self.one_more()?;
        is_path(&prefix)?;
        if prefix.contains('?') {
            return Err(Unsayable::Query);
        }
        self.not_too_long(&prefix)?;
        self.event.prefixes.push(prefix);
        Ok(())
    }

    /// What is not to be written out, by all that it is called: one name, however many digests it has.
    pub fn digests(&mut self, digests: Vec<Tag>) -> Result<(), Unsayable> {
        self.one_more()?;
        self.event.digests.extend(digests);
        Ok(())
    }

    /// Each of its names once.
    pub fn finish(mut self) -> Event {
        for names in [&mut self.event.tags, &mut self.event.paths, &mut self.event.prefixes] {
            names.sort_unstable();
            names.dedup();
        }
        self.event.digests.sort_unstable();
        self.event.digests.dedup();
        self.event
    }

    fn one_more(&mut self) -> Result<(), Unsayable> {
        if self.names >= self.limits.names_max {
            return Err(Unsayable::TooMany(self.limits.names_max));
        }
        self.names += 1;
        Ok(())
    }

    fn not_too_long(&self, name: &str) -> Result<(), Unsayable> {
        let max = self.limits.tag_bytes_max;
        if name.len() > max { Err(Unsayable::TooLong(max)) } else { Ok(()) }
    }
}

/// Whether it begins as a URL does; the rest is its path.
pub(super) fn without_origin(text: &str) -> Option<&str> {
    let after = |scheme: &str| {
        let (start, rest) = text.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let rest = after("http://").or_else(|| after("https://"))?;
    Some(rest.find(['/', '?', '#']).and_then(|end| rest.get(end..)).unwrap_or_default())
}

/// A name that is repeated to who wrote it.
pub(super) fn shown(name: &str) -> String {
    let short: String = name.chars().take(64).collect();
    format!("\"{}\"", short.escape_debug())
}

/// Whether something can be kept of this path, or of those that begin so. Who writes one by hand that says something else than it
/// seems to is better told than left with a success that did nothing.
pub fn can_be_kept(path: &str, is_prefix: bool) -> Result<(), Unsayable> {
    let path = decoded(path.split('?').next().unwrap_or_default());
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let what = match segment {
            b"" if !is_last => "an empty segment",
            b"." | b".." if !(is_last && is_prefix) => "a dot segment",
            _ if segment.contains(&b';') => "a semicolon",
            _ if segment.contains(&b'\\') => "a backslash",
            _ if segment.iter().any(|byte| matches!(byte, b'?' | b'#')) => "an encoded ? or #",
            _ if segment.iter().any(u8::is_ascii_control) => "a control character",
            _ => continue,
        };
        return Err(Unsayable::NeverKept(what));
    }
    Ok(())
}

fn is_path(path: &str) -> Result<(), Unsayable> {
    if path.is_empty() {
        Err(Unsayable::Empty)
    } else if without_origin(path).is_some() {
        Err(Unsayable::Url)
    } else if !path.starts_with('/') {
        Err(Unsayable::NotAPath)
    } else if path.contains('#') {
        Err(Unsayable::Fragment)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(url: &str) -> Tag {
        Tag::named(&format!("resolved {url}"))
    }

    fn draft() -> Draft<'static> {
        let limits = Settings { names_max: 3, tag_bytes_max: 8, ..Settings::default() };
        Draft::new(Event::default(), limits, &resolve)
    }

    #[test]
    fn a_path_with_a_query_and_a_long_one_are_said_by_digest() {
        let mut draft = draft();
        draft.path("/a").unwrap();
        draft.path("/a?b=1").unwrap();
        draft.path("/abcdefgh%20i").unwrap();
        let event = draft.finish();
        assert_eq!(event.paths, ["/a"]);
        let mut expected = vec![resolve("/a?b=1"), Tag::path(b"/abcdefgh i")];
        expected.sort();
        assert_eq!(event.digests, expected);
    }

    #[test]
    fn there_are_bounds_and_paths_are_paths() {
        let mut full = draft();
        full.tag("a".into()).unwrap();
        full.digests(vec![Tag::named("b"), Tag::named("c"), Tag::named("d"), Tag::named("e")]).unwrap();
        assert_eq!(full.room(), 1);
        full.prefix("/".into()).unwrap();
        assert_eq!(full.tag("a".into()), Err(Unsayable::TooMany(3)));
        assert_eq!(full.path("/"), Err(Unsayable::TooMany(3)));
        assert_eq!(draft().tag("123456789".into()), Err(Unsayable::TooLong(8)));
        assert_eq!(draft().prefix("/23456789".into()), Err(Unsayable::TooLong(8)));
        assert_eq!(draft().prefix("/a?".into()), Err(Unsayable::Query));
        for (path, expected) in [
            ("", Unsayable::Empty),
            ("a", Unsayable::NotAPath),
            ("*", Unsayable::NotAPath),
            ("/a#b", Unsayable::Fragment),
            ("http://h/a", Unsayable::Url),
            ("HTTPS://h", Unsayable::Url),
        ] {
            assert_eq!(draft().path(path), Err(expected.clone()), "{path}");
            assert_eq!(draft().prefix(path.into()), Err(expected), "{path}");
        }
    }

    #[test]
    fn routes_and_identities_can_be_named_however_short_tags_have_to_be() {
        let mut draft = draft();
        draft.route("a-rather-long-route", &["a-rather-long-route".into()]).unwrap();
        draft.identity("0123456789abcdef").unwrap();
        assert_eq!(draft.identity(&"x".repeat(65)), Err(Unsayable::TooLong(64)));
        assert_eq!(draft.finish().tags, ["identity:0123456789abcdef", "route:a-rather-long-route"]);
    }

    #[test]
    fn what_is_never_kept_is_told_from_what_may_be() {
        for (path, is_prefix, expected) in [
            ("/", false, None),
            ("/a/", false, None),
            ("/a%20b/%c3%a9", false, None),
            ("/50%", false, None),
            ("/%35?b//c;", false, None),
            ("/a//b", false, Some("an empty segment")),
            ("//", true, Some("an empty segment")),
            ("/a/../b", false, Some("a dot segment")),
            ("/a/%2e", false, Some("a dot segment")),
            ("/a/.", true, None),
            ("/a;b", false, Some("a semicolon")),
            ("/a%5cb", false, Some("a backslash")),
            ("/a%3fb", true, Some("an encoded ? or #")),
            ("/a%00", false, Some("a control character")),
        ] {
            let got = can_be_kept(path, is_prefix);
            assert_eq!(got, expected.map_or(Ok(()), |what| Err(Unsayable::NeverKept(what))), "{path}");
        }
    }

    #[test]
    fn each_name_is_said_once() {
        let mut draft = draft();
        for tag in ["b", "a", "b"] {
            draft.tag(tag.into()).unwrap();
        }
        assert_eq!(draft.finish().tags, ["a", "b"]);
    }

    #[test]
    fn an_origin_is_told_from_a_path() {
        for (text, path) in [
            ("http://h/a?b", Some("/a?b")),
            ("https://h:1", Some("")),
            ("http://h?b", Some("?b")),
            ("/a", None),
            ("ftp://h/a", None),
            ("http:/", None),
        ] {
            assert_eq!(without_origin(text), path, "{text}");
        }
    }
}
