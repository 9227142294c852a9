//! What an answer can be called by when something is declared invalid: `Called`, as far as it is known before it has come, and what
//! its head and its body add.
//!
//! Every entry is called by its route, its path, its URI with and without the host, its key, and whoever it is for. To that
//! come the route's templates, and what the upstream says in `Surrogate-Key` and the like. An answer that has more names than
//! there may be is not kept: it could not be invalidated by those that are left out.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use percent_encoding::percent_decode_str;

use super::Proxy;
use super::client::Client;
use super::identity::Identity;
use super::plan::Cacheable;
use super::query;
use super::route::{KeyParts, Route};
use super::wanted::Wanted;
use crate::clock::Timestamp;
use crate::naming::{Bounds, NotRead, Piece, Pointer, Template, TooMany, extract};
use crate::object::{Key, KeyBuilder, Labels, Stored, Tag};
use crate::semantics::{Audience, surrogate};

/// What an answer can be called by, as far as the request tells.
#[derive(Clone, Debug)]
pub struct Called {
    /// Those that are known.
    pub labels: Labels,
    /// What its body will tell, all else filled in.
    pub later: Arc<[Template]>,
    /// How many there may be in all: so many from the route and from the answer, and what it is called by itself.
    pub tags_max: usize,
    /// The request alone makes more of them than there may be.
    pub is_too_much: bool,
    /// Who asks may not have it any longer than this: a token ends.
    pub ends_at: Option<Timestamp>,
}

/// How a resource is called: with its host, for requests that change it; and without, for who names it by hand.
pub(super) struct Uri {
    pub(super) with_host: Tag,
    pub(super) without_host: Tag,
}

impl Uri {
    fn new(
        authority: &str,
        path: &str,
        (query, keys): (Option<&str>, &KeyParts),
        identity: &Identity,
    ) -> Self {
        let mut counts = KeyBuilder::new();
        if query::feed(query, keys, identity.params(), &mut counts).is_err() {
            counts = KeyBuilder::new();
            query::feed_unread(query, identity.params(), &mut counts);
        }
        // These digests go where others can read them, and whoever does must not be able to try credentials against them.
        let keyed = counts.has_secret().then(|| counts.digest(identity.secret()));
        let parameters: Vec<&[u8]> = match &keyed {
            Some(key) => vec![key.bytes()],
            None => counts.parts().map(|(_, parameter)| parameter).collect(),
        };
        let path: Vec<u8> = percent_decode_str(path).collect();
        let tag = |kind, first: &[u8]| {
            Tag::parts(kind, [first, &path].into_iter().chain(parameters.iter().copied()))
        };
        Self { with_host: tag("uri", authority.as_bytes()), without_host: tag("url", b"") }
    }
}

/// A body up to so many bytes is read on the thread that serves; it takes no longer than a few requests.
pub(super) const READ_HERE_BYTES_MAX: usize = 64 * 1024;

impl<C> Proxy<C> {
    /// What the answer to this request will be called by, as far as the request tells.
    pub(super) fn called(&self, wanted: &Wanted<'_>, route: usize, cacheable: &Cacheable) -> Called {
        let route = self.snapshot.routes.get(route);
        let identity = &self.snapshot.identity;
        let path: Vec<u8> = percent_decode_str(wanted.path).collect();
        let uri = self.uri(wanted.authority, wanted.path, wanted.query, route);
        let mut tags = vec![
            Tag::route(&route.name),
            Tag::path(&path),
            uri.with_host,
            uri.without_host,
            of_key(&cacheable.key),
        ];
        let mut ends_at = None;
        if cacheable.audience == Audience::Identity {
            identity.bearer_tags(wanted, &mut tags);
            tags.extend(identity.id(wanted).map(|id| Tag::identity(&id)));
            ends_at = identity.expires(wanted);
        }
        let values = |piece: &Piece| values_of_entry(piece, wanted, route, identity, cacheable.audience);
        let (now, later): (Vec<&Template>, Vec<&Template>) =
            route.tags.iter().partition(|template| template.pointers().next().is_none());
        let mut texts = Ok(Vec::new());
        for template in now {
            texts = texts.and_then(|texts| add(texts, template.render(values, self.bounds), self.bounds));
        }
        let mut resolved = Ok(Vec::new());
        for template in later {
            resolved = resolved
                .and_then(|resolved| add(resolved, template.resolve(values, self.bounds), self.bounds));
        }
        let is_too_much = texts.is_err() || resolved.is_err();
        tags.sort_unstable();
        tags.dedup();
        let tags_max = tags.len() + self.bounds.count_max;
        tags.extend(texts.unwrap_or_default().iter().map(|text: &String| Tag::named(text)));
        let later = resolved.unwrap_or_default().into();
        Called { labels: Labels::new(tags, &path), later, tags_max, is_too_much, ends_at }
    }

    /// What the answer to a client's own request will be called by.
    pub(super) fn called_of(&self, client: &Client, route: usize, cacheable: &Cacheable) -> Option<Called> {
        // It could be read before.
        let target = client.target(&self.trusted_proxies).ok()?;
        Some(self.called(&client.wanted(&target, &client.parts.method), route, cacheable))
    }

    /// How a resource is called.
    pub(super) fn uri(&self, authority: &str, path: &str, query: Option<&str>, route: &Route) -> Uri {
        Uri::new(authority, path, (query, &route.key), &self.snapshot.identity)
    }

    /// How what lies at this path and query is called, whatever the host: for who names it by hand.
    pub fn url(&self, path_and_query: &str) -> Tag {
        // A `?` with nothing behind it is a query, too: it makes another key.
        let (path, query) = path_and_query
            .split_once('?')
            .map_or((path_and_query, None), |(path, query)| (path, Some(query)));
        let route = self.snapshot.routes.get(self.snapshot.routes.find(path));
        self.uri("", path, query, route).without_host
    }

    /// How what is kept for this credential is called.
    pub fn credential(&self, credential: &str) -> Vec<Tag> {
        self.snapshot.identity.tags_of(credential.as_bytes())
    }

    /// What a kept answer can be purged by, in words: made anew from the request and the answer, and of that what it was kept
    /// with. Digests of credentials and URIs are left out.
    pub(super) fn tags_of(&self, wanted: &Wanted<'_>, route: usize, stored: &Stored) -> Vec<String> {
        let route = self.snapshot.routes.get(route);
        let identity = &self.snapshot.identity;
        let pointers: Vec<&Pointer> = route.tags.iter().flat_map(Template::pointers).collect();
        let found = extract(stored.body_bytes(), &pointers, self.bounds).unwrap_or_default();
        let values = |piece: &Piece| match piece {
            Piece::Body(pointer) => {
                let at = pointers.iter().position(|known| *known == pointer);
                at.and_then(|at| found.get(at)).cloned().unwrap_or_default()
            }
            piece => values(piece, wanted, route, identity),
        };
        let path: Vec<u8> = percent_decode_str(wanted.path).collect();
        let own = [format!("route:{}", route.name), format!("path:{}", String::from_utf8_lossy(&path))];
        let caller = identity.id(wanted).map(|id| format!("identity:{id}"));
        let by_route = route.tags.iter().flat_map(|tag| tag.render(values, self.bounds).unwrap_or_default());
        let Bounds { count_max, bytes_max } = self.bounds;
        let said = surrogate::names(&stored.head.headers(), count_max, bytes_max).unwrap_or_default();
        let all = own.into_iter().chain(caller).chain(by_route).chain(said);
        let mut tags: Vec<String> = Vec::new();
        for tag in all.filter(|tag| stored.labels.tags().any(|label| label == Tag::named(tag))) {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        tags
    }

    /// The same, with what the head of the answer says. None: it is too much.
    pub(super) fn with_head(&self, called: &Called, answer: &HeaderMap) -> Option<Labels> {
        if called.is_too_much {
            return None;
        }
        // A body that is compressed can't be read: what it says could not be invalidated.
        if !called.later.is_empty() && is_encoded(answer) {
            return None;
        }
        let names = surrogate::names(answer, self.bounds.count_max, self.bounds.bytes_max)?;
        called.within(called.labels.and(names.iter().map(|name| Tag::named(name))))
    }

    /// The same, with what the whole body says. None: it is too much, or it should say something and can't be read.
    pub(super) async fn with_body(
        &self,
        called: &Called,
        (answer, body): (&HeaderMap, &Bytes),
    ) -> Option<Labels> {
        if called.later.is_empty() {
            return Some(called.labels.clone());
        }
        let must_read = is_json(answer) && !body.trim_ascii().is_empty();
        if body.len() <= READ_HERE_BYTES_MAX {
            return read_body(called, (body, must_read), self.bounds);
        }
        let (called, body, bounds) = (called.clone(), body.clone(), self.bounds);
        let read = tokio::task::spawn_blocking(move || read_body(&called, (&body, must_read), bounds));
        read.await.ok().flatten()
    }
}

impl Called {
    /// These, unless there are more than there may be.
    pub(super) fn within(&self, labels: Labels) -> Option<Labels> {
        Some(labels).filter(|labels| labels.tags().len() <= self.tags_max)
    }
}

/// How what is kept under this key is called: one resource, for one who asks.
pub(super) fn of_key(key: &Key) -> Tag {
    Tag::parts("key", [&key.bytes()[..]])
}

fn read_body(called: &Called, (body, must_read): (&[u8], bool), bounds: Bounds) -> Option<Labels> {
    let Called { labels, later, .. } = called;
    let mut pointers: Vec<&Pointer> = later.iter().flat_map(Template::pointers).collect();
    pointers.sort_by_key(ToString::to_string);
    pointers.dedup();
    let found = match extract(body, &pointers, bounds) {
        Ok(found) => found,
        Err(NotRead::TooMany) => return None,
        // Whoever it is for may find in it what we can't, and name it.
        Err(NotRead::NotJson) if must_read => return None,
        // A part that is missing drops that tag: what is no JSON has none of them.
        Err(NotRead::NotJson) => return Some(labels.clone()),
    };
    let values = |piece: &Piece| match piece {
        Piece::Body(pointer) => {
            let at = pointers.iter().position(|known| *known == pointer);
            at.and_then(|at| found.get(at)).cloned().unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let mut texts = Vec::new();
    for template in later.iter() {
        texts = add(texts, template.render(values, bounds), bounds).ok()?;
    }
    called.within(labels.and(texts.iter().map(|text| Tag::named(text))))
}

pub(super) fn is_encoded(answer: &HeaderMap) -> bool {
    let is_plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    answer.get_all(CONTENT_ENCODING).iter().any(|value| !is_plain(value))
}

/// One text of JSON: not a stream of them, which may not end.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.ends_with("+json") && !kind.contains("stream"))
}

fn add<T>(mut all: Vec<T>, more: Result<Vec<T>, TooMany>, bounds: Bounds) -> Result<Vec<T>, TooMany> {
    all.append(&mut more?);
    if all.len() > bounds.count_max { Err(TooMany) } else { Ok(all) }
}

/// The same for what is kept of its answer: what everybody shares is nobody's.
pub(super) fn values_of_entry(
    piece: &Piece,
    wanted: &Wanted<'_>,
    route: &Route,
    identity: &Identity,
    audience: Audience,
) -> Vec<String> {
    match piece {
        Piece::Identity if audience == Audience::Everyone => Vec::new(),
        piece => values(piece, wanted, route, identity),
    }
}

/// What a piece of a template stands for in a request.
pub(super) fn values(piece: &Piece, wanted: &Wanted<'_>, route: &Route, identity: &Identity) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match piece {
        Piece::Text(text) => vec![text.clone()],
        Piece::Capture(name) => {
            let captures = route.pattern.captures(wanted.path);
            captures.into_iter().filter(|(known, _)| known == name).map(|(_, value)| value).collect()
        }
        Piece::Query(name) => {
            let values = wanted.query.into_iter().flat_map(|query| query::values(query, name));
            values.map(|value| text(&query::decode(value))).collect()
        }
        Piece::Header(name) => {
            wanted.headers.get_all(name).iter().map(|value| text(value.as_bytes())).collect()
        }
        Piece::Identity => identity.id(wanted).into_iter().collect(),
        Piece::Body(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::identity::Settings;

    fn identity(random: u8) -> Identity {
        let credentials = vec!["query:token".parse().unwrap()];
        Identity::new(&Settings { credentials, declared: true, key_secret: None }, &[random; 32])
    }

    #[test]
    fn a_uri_with_a_credential_is_called_by_what_nobody_can_try_credentials_against() {
        let counted = KeyParts { query: Some(vec!["token".to_owned()]), ..KeyParts::default() };
        let all = KeyParts::default();
        for (query, keys, is_keyed) in [
            (Some("token=4711"), &counted, true),
            (Some("Token=4711"), &all, true),
            (Some("token=4711;a"), &all, true),
            (Some("a;Token=4711&b;%74oken=1"), &counted, true),
            (Some("token=4711"), &all, false),
            (Some("a=1;b"), &counted, false),
            (Some("a=1"), &all, false),
            (None, &all, false),
        ] {
            let of = |random| Uri::new("a", "/x", (query, keys), &identity(random));
            let (one, other) = (of(1), of(2));
            assert_eq!(one.with_host != other.with_host, is_keyed, "{query:?}");
            assert_eq!(one.without_host != other.without_host, is_keyed, "{query:?}");
            assert_eq!(one.with_host, of(1).with_host, "{query:?}");
        }
    }

    /// Of a list of items, and by these names beside.
    fn called(names: &[&str]) -> Called {
        let own = Labels::new(vec![Tag::route("a")], b"/");
        Called {
            labels: own.and(names.iter().map(|name| Tag::named(name))),
            later: Arc::new(["item:{body:/items/*/id}".parse().unwrap()]),
            tags_max: own.tags().len() + 3,
            is_too_much: false,
            ends_at: None,
        }
    }

    #[test]
    fn there_is_one_count_for_all_tags_of_an_entry() {
        let bounds = Bounds { count_max: 3, bytes_max: 100 };
        let body = br#"{"items":[{"id":1},{"id":2}]}"#;
        for (names, fits) in [(&["a"][..], true), (&["a", "b"], false), (&["a", "item:1"], true)] {
            assert_eq!(read_body(&called(names), (body, true), bounds).is_some(), fits, "{names:?}");
        }
    }

    #[test]
    fn json_that_cannot_be_read_has_names_that_nobody_knows() {
        let called = called(&[]);
        let labels = &called.labels;
        let bounds = Bounds { count_max: 10, bytes_max: 100 };
        let read = |body: &str, must_read| read_body(&called, (body.as_bytes(), must_read), bounds);
        let half = r#"{"items":[{"id":"\ud800"},{"id":"b"}]}"#;
        assert_eq!(read(half, true), Some(labels.and([Tag::named("item:b")])));
        assert_eq!(read("{\"items\":[{\"id\":\"b\"}", true), None);
        assert_eq!(read("<p>", false), Some(labels.clone()));
        for (kind, expected) in [
            ("application/json", true),
            ("Application/Problem+JSON; charset=utf-8", true),
            ("text/html", false),
            ("application/stream+json", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
            assert_eq!(is_json(&headers), expected, "{kind}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
