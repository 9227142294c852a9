//! `plan`: what the cache may do with a request, before it has looked at anything it holds.
//!
//! Either the request has a key, and may be answered from the cache and fill it, or it is passed to the upstream as it
//! is, with a reason. Where the body is part of the key, all the rest is looked at before anybody reads it. Invariant: what an upstream could take into account by the contract (authority, method, path,
//! query, the headers and cookies the route names, credentials) is in the key; whatever smuggles in more is passed.

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::object::{Key, KeyBuilder, Part};
use crate::proxy::content::{self};
use crate::proxy::identity::{self, CredentialSource, Identity, TooManyCredentials};
use crate::proxy::path::{self};
use crate::proxy::query::{self};
use crate::proxy::route::{BodyPart, Mode, Route, Routes, Scope};
use crate::semantics::Audience;
use crate::semantics::vary::VaryOn;

pub use crate::proxy::pass_reason::PassReason;
pub use crate::proxy::wanted::{Content, Wanted};

/// Parts of one key; a request with more is passed.
const PARTS_MAX: usize = 1024;

/// Headers by which some servers answer for another path, method or host than those of the request line.
const ROUTING_HEADERS: [&str; 9] = [
    "x-original-url",
    "x-rewrite-url",
    "x-rewrite-uri",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-host",
    "x-host",
    "x-http-host-override",
];

/// How headers begin by which proxies tell of the client.
const FORWARDED_PREFIX: &[u8] = b"x-forwarded-";

/// What the cache may do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Answer it and keep the answer.
    Cache(Cacheable),
    /// What its body says, which is part of the key and unread; it must not be longer than so many bytes.
    Read(u64),
    /// Nothing.
    Pass(PassReason),
}

/// A request with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cacheable {
    /// Of the resource; `variant_key` has those of its variants.
    pub key: Key,
    /// Who may be given what is kept under it.
    pub audience: Audience,
    /// The operator said `scope = "shared"`.
    pub declared_shared: bool,
    /// It bears what may be a credential, and nobody said what tells one caller from another.
    pub undeclared_credential: bool,
    /// It is a POST or QUERY, which its route names, and its body is in the key.
    pub by_body: bool,
}

/// A request, its route and what may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed {
    /// Index for `Routes::get`.
    pub route: usize,
    /// What may be done.
    pub plan: Plan,
}

/// The parts of a key and whom they name.
pub(super) struct Gathered<'i> {
    pub(super) builder: KeyBuilder,
    pub(super) caller: Option<&'i CredentialSource>,
    /// A header is there that may hold a credential, and nobody said whether it does.
    undeclared: bool,
    /// The body is a part that is missing yet.
    pub(super) lacks_body: bool,
}

/// What the names of a request's headers say.
#[derive(Clone, Copy, Default)]
struct Names {
    /// One commonly holds a credential, nobody said that it does, and the route's key has it not.
    undeclared: bool,
    /// One is passed on as what a trusted proxy says.
    forwarded: bool,
}

/// Finds the route and says what may be done.
pub fn plan(wanted: &Wanted<'_>, routes: &Routes, identity: &Identity) -> Routed {
    let (route, examined) = route_of(wanted, routes);
    let found = routes.get(route);
    let plan = match examined.and_then(|()| gather(wanted, found, identity)) {
        Err(reason) => Plan::Pass(reason),
        Ok(gathered) if gathered.lacks_body => Plan::Read(found.key.max_body_bytes),
        Ok(gathered) => Plan::Cache(cacheable(wanted, found, identity, gathered)),
    };
    Routed { route, plan }
}

/// The key of the variant that this request selects of a resource.
pub fn variant_key(resource: &Key, vary: &VaryOn, request: &HeaderMap, identity: &Identity) -> Key {
    let mut builder = KeyBuilder::new();
    builder.part(Part::Resource, resource.bytes());
    for (name, value) in vary.select(request) {
        builder.part(Part::VaryName, name.as_str().as_bytes());
        if let Some(value) = value {
            add(&mut builder, Part::VaryValue, &value, identity.guards_header(name));
        }
    }
    builder.finish(identity.secret())
}

/// An ambiguous path belongs to the route for the rest: no other route's policy may apply to it.
pub(super) fn route_of(wanted: &Wanted<'_>, routes: &Routes) -> (usize, Result<(), PassReason>) {
    match path::examine(wanted.path) {
        Ok(()) => (routes.find(wanted.path), Ok(())),
        Err(ambiguity) => (routes.unrouted_index(), Err(PassReason::AmbiguousPath(ambiguity))),
    }
}

/// The parts of the request's key, or why it has none.
pub(super) fn gather<'i>(
    wanted: &Wanted<'_>,
    route: &Route,
    identity: &'i Identity,
) -> Result<Gathered<'i>, PassReason> {
    if route.mode == Mode::Pass {
        return Err(PassReason::RouteMode);
    }
    if wanted.upgrade {
        return Err(PassReason::Upgrade);
    }
    let class = content::class(wanted.method, &route.key)
        .filter(|_| route.methods.contains(wanted.method))
        .ok_or(PassReason::Method)?;
    if wanted.body != Content::None && route.key.body == BodyPart::Ignored {
        return Err(PassReason::Body);
    }
    let names = check_names(wanted, route, identity)?;

    let mut builder = KeyBuilder::new();
    builder.part(Part::Method, class.as_bytes());
    builder.part(Part::Scheme, wanted.scheme.as_bytes());
    builder.part(Part::Authority, wanted.authority.as_bytes());
    if let Some(host) = wanted.forwarded_host {
        builder.part(Part::ForwardedHost, host.as_bytes());
    }
    builder.part(Part::Path, wanted.path.as_bytes());
    query::feed(wanted.query, &route.key, identity.params(), &mut builder)
        .map_err(PassReason::AmbiguousQuery)?;
    feed_headers(wanted, route, identity, &mut builder);
    if names.forwarded {
        feed_forwarded(wanted, route, identity, &mut builder);
    }
    feed_cookies(wanted.headers, route, identity, &mut builder);
    let caller = match route.scope {
        Scope::Auto | Scope::Identity => identity
            .feed(wanted, &mut builder)
            .map_err(|_: TooManyCredentials| PassReason::TooManyCredentials)?,
        Scope::Shared => None,
    };
    if route.scope == Scope::Identity && caller.is_none() {
        return Err(PassReason::NoCredential);
    }
    if caller.is_some() && !identity.is_declared() {
        feed_undeclared(wanted.headers, route, names, &mut builder);
    }
    if builder.count() > PARTS_MAX {
        return Err(PassReason::TooManyParts);
    }
    content::feed(wanted, &route.key, &mut builder).map_err(PassReason::Unkeyed)?;
    let lacks_body = wanted.body == Content::Unread;
    Ok(Gathered { builder, caller, undeclared: names.undeclared, lacks_body })
}

/// Whom the entry is for.
pub(super) fn audience(gathered: &Gathered<'_>) -> Audience {
    if gathered.caller.is_some() { Audience::Identity } else { Audience::Everyone }
}

fn cacheable(wanted: &Wanted<'_>, route: &Route, identity: &Identity, gathered: Gathered<'_>) -> Cacheable {
    let audience = audience(&gathered);
    let declared_shared = route.scope == Scope::Shared;
    Cacheable {
        key: gathered.builder.finish(identity.secret()),
        audience,
        declared_shared,
        undeclared_credential: audience == Audience::Everyone
            && !identity.is_declared()
            && !declared_shared
            && (gathered.undeclared
                || (wanted.kinds.has_cookie() && has_undeclared_cookie(wanted.headers, route))),
        by_body: *wanted.method == Method::POST || *wanted.method == Method::QUERY,
    }
}

/// Whether it bears a cookie, and the route does not say which ones count.
fn has_undeclared_cookie(headers: &HeaderMap, route: &Route) -> bool {
    route.key.cookies.is_empty() && !route.key.headers.contains(&COOKIE) && headers.contains_key(COOKIE)
}

/// Looks for headers that make a server answer for something else than what is in the key.
fn check_names(wanted: &Wanted<'_>, route: &Route, identity: &Identity) -> Result<Names, PassReason> {
    let mut names = Names::default();
    if !wanted.kinds.has_unknown() {
        return Ok(names);
    }
    for name in wanted.headers.keys() {
        let text = name.as_str();
        if text.starts_with("x-") && ROUTING_HEADERS.contains(&text) {
            return Err(PassReason::RoutingHeader);
        }
        if text.bytes().any(|byte| byte == b'_') {
            check_alias(text, route, identity)?;
        }
        names.undeclared |= !identity.is_declared() && is_undeclared(name, route);
        names.forwarded |= wanted.trusted && is_forwarded(name);
    }
    Ok(names)
}

/// Whether it may hold a credential that is not in the key.
fn is_undeclared(name: &HeaderName, route: &Route) -> bool {
    identity::is_customary(name.as_str()) && !route.key.headers.contains(name)
}

/// Whether it is one of those by which a proxy tells how a client reached it; but not whence, which differs by client.
fn is_forwarded(name: &HeaderName) -> bool {
    let mut text = name.as_str().bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
    FORWARDED_PREFIX.iter().all(|byte| text.next() == Some(*byte)) && name != "x-forwarded-for"
}

/// Servers behind CGI-like interfaces take `x_api_key` for `x-api-key`.
fn check_alias(name: &str, route: &Route, identity: &Identity) -> Result<(), PassReason> {
    let folded = name.replace('_', "-");
    if ROUTING_HEADERS.contains(&folded.as_str()) {
        return Err(PassReason::RoutingHeader);
    }
    let counts = |known: &HeaderName| known.as_str() != name && known.as_str().replace('_', "-") == folded;
    if route.key.headers.iter().any(counts) || identity.headers().any(counts) {
        return Err(PassReason::HeaderAlias);
    }
    Ok(())
}

/// The name is a part even where the header is absent, so absent and empty differ by the value.
fn feed_headers(wanted: &Wanted<'_>, route: &Route, identity: &Identity, into: &mut KeyBuilder) {
    for name in &route.key.headers {
        into.part(Part::HeaderName, name.as_str().as_bytes());
        // The upstream does not get these from who is not trusted: to it they are absent.
        let is_dropped = is_forwarded(name) || name == "x-forwarded-for" || *name == http::header::FORWARDED;
        if is_dropped && !wanted.trusted {
            continue;
        }
        let secret = identity.guards_header(name);
        for value in wanted.headers.get_all(name) {
            add(into, Part::HeaderValue, value.as_bytes(), secret);
        }
    }
}

/// Of a trusted proxy's `X-Forwarded-*`, what no other part says: the upstream sees them all. A shared route ignores who
/// is asking here too.
fn feed_forwarded(wanted: &Wanted<'_>, route: &Route, identity: &Identity, into: &mut KeyBuilder) {
    let is_part = |name: &&HeaderName| {
        let is_told = match name.as_str() {
            "x-forwarded-proto" => is_just(wanted.headers, name, Some(wanted.scheme)),
            "x-forwarded-host" => is_just(wanted.headers, name, wanted.forwarded_host),
            _ => route.key.headers.contains(name),
        };
        let is_ignored = route.scope == Scope::Shared && identity.guards_header(name);
        is_forwarded(name) && !is_told && !is_ignored
    };
    for name in sorted(wanted.headers.keys().filter(is_part)) {
        into.part(Part::HeaderName, name.as_str().as_bytes());
        let secret = identity.guards_header(name);
        for value in wanted.headers.get_all(name) {
            add(into, Part::HeaderValue, value.as_bytes(), secret);
        }
    }
}

/// Whether this header has one value, and it is this one; of a list, the key has only the last member.
fn is_just(headers: &HeaderMap, name: &HeaderName, expected: Option<&str>) -> bool {
    let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    values.next() == expected.map(str::as_bytes) && values.next().is_none()
}

/// Who is found by a guess may be an application, whose users are told apart by what the guess has missed. So whatever
/// may do that counts too, as a whole.
fn feed_undeclared(headers: &HeaderMap, route: &Route, names: Names, into: &mut KeyBuilder) {
    let mut feed = |name: &HeaderName| {
        into.part(Part::CredentialSource, format!("header:{name} (undeclared)").as_bytes());
        for value in headers.get_all(name) {
            into.part(Part::Credential, value.as_bytes());
        }
    };
    if has_undeclared_cookie(headers, route) {
        feed(&COOKIE);
    }
    if names.undeclared {
        sorted(headers.keys().filter(|name| is_undeclared(name, route))).into_iter().for_each(feed);
    }
}

/// The order in which different headers are sent has no meaning.
fn sorted<'h>(names: impl Iterator<Item = &'h HeaderName>) -> Vec<&'h HeaderName> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names
}

fn feed_cookies(headers: &HeaderMap, route: &Route, identity: &Identity, into: &mut KeyBuilder) {
    for name in &route.key.cookies {
        into.part(Part::CookieName, name.as_bytes());
        let secret = identity.guards_cookie(name);
        identity::each_cookie(headers, name, |value| add(into, Part::CookieValue, value, secret));
    }
}

fn add(into: &mut KeyBuilder, part: Part, bytes: &[u8], secret: bool) {
    if secret {
        into.secret_part(part, bytes);
    } else {
        into.part(part, bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::proxy::identity::Settings;
    use crate::proxy::kinds::Kinds;
    use crate::proxy::path::Ambiguity;
    use crate::proxy::query::QueryAmbiguity;
    use crate::proxy::route::{Coalesce, KeyParts, Tiers, UNROUTED, WhenCutOff};
    use crate::secret::Secret;
    use crate::semantics::Forward;
    use crate::semantics::Policy;

    fn route(name: &str, pattern: &str) -> Route {
        Route {
            name: name.into(),
            pattern: pattern.parse().unwrap(),
            methods: vec![Method::GET, Method::HEAD],
            mode: Mode::Cache,
            policy: Policy {
                ttl: Duration::from_secs(60),
                override_upstream: false,
                negative_ttl: Duration::ZERO,
                jitter: 0.0,
                ..Policy::default()
            },
            scope: Scope::Auto,
            key: KeyParts::default(),
            tier: Tiers::Both,
            coalesce: Coalesce::Instance,
            tags: Vec::new(),
            invalidates: Vec::new(),
            when_cut_off: WhenCutOff::Serve,
            settle: Duration::ZERO,
            write_through: false,
        }
    }

    fn routes(list: Vec<Route>) -> Routes {
        Routes::new(list, route(UNROUTED, "/{*rest}")).unwrap()
    }

    fn identity(declared: bool) -> Identity {
        let settings = Settings {
            credentials: ["header:authorization", "cookie:session", "query:token"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            declared,
            key_secret: None,
        };
        Identity::new(&settings, &[5; 32])
    }

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn headers(list: Fields<'_>) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    /// A GET of this target at `http://a`.
    fn wanted<'r>(target: &'r str, headers: &'r HeaderMap) -> Wanted<'r> {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Wanted {
            method: &Method::GET,
            scheme: "http",
            authority: "a",
            forwarded_host: None,
            trusted: false,
            path,
            query,
            headers,
            kinds: Kinds::read(headers),
            body: Content::None,
            upgrade: false,
        }
    }

    fn cached(routed: Routed) -> Cacheable {
        match routed.plan {
            Plan::Cache(cacheable) => cacheable,
            other => panic!("not cached: {other:?}"),
        }
    }

    #[test]
    fn each_reason_to_pass_is_given() {
        use PassReason::*;
        let mut mode = route("mode", "/mode");
        mode.mode = Mode::Pass;
        let mut scoped = route("scoped", "/scoped");
        scoped.scope = Scope::Identity;
        let mut get = route("get", "/get");
        get.methods.pop();
        let routes = routes(vec![mode, scoped, get]);
        let identity = identity(true);
        let empty = HeaderMap::new();
        let at = |target: &'static str| wanted(target, &empty);
        let post = http::Method::POST;
        let head = http::Method::HEAD;
        for (wanted, route, expected) in [
            (at("/mode"), 0, RouteMode),
            (at("/scoped"), 1, NoCredential),
            (at("/scoped?token="), 1, NoCredential),
            (Wanted { method: &post, ..at("/scoped") }, 1, Method),
            (Wanted { method: &head, ..at("/get") }, 2, Method),
            (Wanted { body: Content::Unread, ..at("/get") }, 2, Body),
            (Wanted { upgrade: true, ..at("/get") }, 2, Upgrade),
            (at("/get/../mode"), 3, AmbiguousPath(Ambiguity::DotSegment)),
            (at("//get"), 3, AmbiguousPath(Ambiguity::DoubleSlash)),
            (at("*"), 3, AmbiguousPath(Ambiguity::NotAPath)),
            (at("/get?token=a;b=1"), 2, AmbiguousQuery(QueryAmbiguity::Semicolon)),
        ] {
            let expected = Routed { route, plan: Plan::Pass(expected) };
            assert_eq!(plan(&wanted, &routes, &identity), expected, "{}", wanted.path);
        }
    }

    /// A route that keys these methods by their bodies.
    fn by_body(body: BodyPart) -> Route {
        let mut route = route("by_body", "/by_body");
        route.methods.extend([Method::POST, Method::QUERY]);
        (route.key.body, route.key.max_body_bytes) = (body, 100);
        route
    }

    #[test]
    fn a_body_is_read_only_where_all_the_rest_lets_it_be_cached() {
        let mut scoped = by_body(BodyPart::Json);
        scoped.scope = Scope::Identity;
        let (post, put) = (Method::POST, Method::PUT);
        let at = |wanted: Wanted<'_>, route: &Route| {
            let wanted = Wanted { body: Content::Unread, ..wanted };
            plan(&wanted, &routes(vec![route.clone()]), &identity(true)).plan
        };
        let empty = HeaderMap::new();
        let plain = wanted("/by_body", &empty);
        let raw = by_body(BodyPart::Raw);
        assert_eq!(at(plain, &raw), Plan::Read(100));
        assert_eq!(at(Wanted { method: &post, ..plain }, &raw), Plan::Read(100));
        assert_eq!(at(Wanted { method: &put, ..plain }, &raw), Plan::Pass(PassReason::Method));
        assert_eq!(at(Wanted { upgrade: true, ..plain }, &raw), Plan::Pass(PassReason::Upgrade));
        assert_eq!(at(plain, &scoped), Plan::Pass(PassReason::NoCredential));
        assert_eq!(at(wanted("/by_body?token=a", &empty), &scoped), Plan::Read(100));
        let mut ignored = by_body(BodyPart::Ignored);
        assert_eq!(at(plain, &ignored), Plan::Pass(PassReason::Body));
        assert_eq!(at(Wanted { method: &post, ..plain }, &ignored), Plan::Pass(PassReason::Method));
        ignored.methods = vec![Method::GET];
        let other = headers(&[("x-http-method-override", "DELETE")]);
        let overridden = Wanted { method: &post, ..wanted("/by_body", &other) };
        assert_eq!(at(overridden, &raw), Plan::Pass(PassReason::RoutingHeader));
        ignored.mode = Mode::Pass;
        assert_eq!(at(plain, &ignored), Plan::Pass(PassReason::RouteMode));
    }

    #[test]
    fn each_method_that_is_keyed_by_its_body_has_entries_of_its_own() {
        let routes = routes(vec![by_body(BodyPart::Raw)]);
        let empty = HeaderMap::new();
        let methods = [Method::GET, Method::POST, Method::QUERY];
        let of = |method, body| {
            let wanted = Wanted { method, body, ..wanted("/by_body", &empty) };
            cached(plan(&wanted, &routes, &identity(true)))
        };
        let mut seen = std::collections::HashSet::new();
        for method in &methods {
            for body in [Content::Read(b"a"), Content::Read(b"b"), Content::None] {
                let cacheable = of(method, body);
                assert!(seen.insert(cacheable.key), "{method}");
                assert_eq!(cacheable.by_body, *method != Method::GET, "{method}");
            }
            assert_eq!(of(method, Content::None), of(method, Content::Read(b"")), "an empty one is none");
        }
        assert_eq!(of(&Method::HEAD, Content::Read(b"a")), of(&Method::GET, Content::Read(b"a")));
    }

    #[test]
    fn two_callers_never_share_what_one_body_asks_for() {
        for (part, scope) in [(BodyPart::Raw, Scope::Auto), (BodyPart::Json, Scope::Identity)] {
            let mut route = by_body(part);
            route.scope = scope;
            let routes = routes(vec![route]);
            let of = |name: &str, value: &str| {
                let headers = headers(&[(name, value)]);
                let wanted = Wanted {
                    method: &Method::POST,
                    body: Content::Read(b"{}"),
                    ..wanted("/by_body", &headers)
                };
                cached(plan(&wanted, &routes, &identity(true)))
            };
            let callers = [("authorization", "a"), ("authorization", "b"), ("cookie", "session=a")];
            let keys = callers.map(|(name, value)| of(name, value).key);
            assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2]);
            assert_eq!(of("authorization", "a").audience, Audience::Identity);
        }
    }

    #[test]
    fn headers_that_ask_for_something_else_are_passed() {
        use PassReason::{HeaderAlias, RoutingHeader};
        let mut scoped = route("scoped", "/scoped");
        scoped.key.headers.push(HeaderName::from_static("x-tenant"));
        let routes = routes(vec![scoped]);
        let identity = identity(true);
        for (name, target, expected) in [
            ("x-original-url", "/get", RoutingHeader),
            ("x-rewrite-url", "/get", RoutingHeader),
            ("x-http-method-override", "/get", RoutingHeader),
            ("x-http-method", "/get", RoutingHeader),
            ("x-method-override", "/get", RoutingHeader),
            ("x-original-host", "/get", RoutingHeader),
            ("x-host", "/get", RoutingHeader),
            ("x-http-host-override", "/get", RoutingHeader),
            ("x-rewrite-uri", "/get", RoutingHeader),
            ("x_original_url", "/get", RoutingHeader),
            ("x-original_url", "/get", RoutingHeader),
            ("x_tenant", "/scoped", HeaderAlias),
        ] {
            let headers = headers(&[(name, "/mode"), ("authorization", "s")]);
            let found = plan(&wanted(target, &headers), &routes, &identity).plan;
            assert_eq!(found, Plan::Pass(expected), "{name}");
        }
        let headers = headers(&[("x_tenant", "1"), ("x-other", "2"), ("a_b", "3")]);
        assert!(matches!(plan(&wanted("/get", &headers), &routes, &identity).plan, Plan::Cache(_)));
    }

    #[test]
    fn a_key_has_a_bound() {
        let routes = routes(vec![Route {
            key: KeyParts { cookies: vec!["lang".to_owned()], ..KeyParts::default() },
            ..route("all", "/{*rest}")
        }]);
        let target = |count: usize| format!("/?{}", vec!["page=1"; count].join("&"));
        let of = |count: usize| {
            let target = target(count);
            plan(&wanted(&target, &HeaderMap::new()), &routes, &identity(true)).plan
        };
        assert!(matches!(of(256), Plan::Cache(_)));
        assert_eq!(of(257), Plan::Pass(PassReason::AmbiguousQuery(QueryAmbiguity::TooManyParameters)));
        let cookies = |count: usize| {
            let headers = headers(&[("cookie", &vec!["lang=a"; count].join(";"))]);
            plan(&wanted("/", &headers), &routes, &identity(true)).plan
        };
        assert!(matches!(cookies(1000), Plan::Cache(_)));
        assert_eq!(cookies(1100), Plan::Pass(PassReason::TooManyParts));
    }

    #[test]
    fn credentials_have_a_bound_of_their_own_where_they_count() {
        let shared = Route { scope: Scope::Shared, ..route("shared", "/shared") };
        let routes = routes(vec![shared]);
        let of = |target: &str, count: usize| {
            let headers =
                headers(&[("authorization", "a"), ("cookie", &vec!["session=a"; count - 1].join(";"))]);
            plan(&wanted(target, &headers), &routes, &identity(true)).plan
        };
        assert!(matches!(of("/", 16), Plan::Cache(_)));
        assert_eq!(of("/", 17), Plan::Pass(PassReason::TooManyCredentials));
        assert!(matches!(of("/shared", 17), Plan::Cache(_)));
    }

    #[test]
    fn reasons_are_forwarded_as_bypass_but_methods() {
        assert_eq!(PassReason::Method.forward(), Forward::Method);
        assert_eq!(PassReason::RouteMode.forward(), Forward::Bypass);
        assert_eq!(PassReason::RouteMode.reason(), "route mode is pass");
        assert_eq!(PassReason::AmbiguousPath(Ambiguity::DotSegment).forward(), Forward::Bypass);
    }

    #[test]
    fn head_and_get_share_an_entry_and_little_else_does() {
        let routes = routes(vec![]);
        let empty = HeaderMap::new();
        let head = Method::HEAD;
        let base = wanted("/a?x=1&y=2", &empty);
        let key = |wanted: &Wanted<'_>| cached(plan(wanted, &routes, &identity(true))).key;
        assert_eq!(key(&base), key(&Wanted { method: &head, ..base }));
        assert_eq!(key(&base), key(&wanted("/a?y=2&x=1", &empty)));
        for other in [
            Wanted { scheme: "https", ..base },
            Wanted { authority: "b", ..base },
            Wanted { forwarded_host: Some("a"), ..base },
            Wanted { path: "/a/", ..base },
            Wanted { query: None, ..base },
            Wanted { query: Some(""), ..base },
            Wanted { query: Some("x=2&y=1"), ..base },
            Wanted { query: Some("x=1"), ..base },
        ] {
            assert_ne!(key(&base), key(&other));
        }
        assert_ne!(key(&Wanted { query: None, ..base }), key(&Wanted { query: Some(""), ..base }));
    }

    #[test]
    fn the_scope_says_whose_the_entry_is() {
        for (scope, target, expected) in [
            (Scope::Auto, "/a", Some((Audience::Everyone, false))),
            (Scope::Auto, "/a?token=s", Some((Audience::Identity, false))),
            (Scope::Auto, "/a?token=", Some((Audience::Everyone, false))),
            (Scope::Identity, "/a", None),
            (Scope::Identity, "/a?token=s", Some((Audience::Identity, false))),
            (Scope::Shared, "/a", Some((Audience::Everyone, true))),
            (Scope::Shared, "/a?token=s", Some((Audience::Everyone, true))),
        ] {
            let mut route = route("a", "/a");
            route.scope = scope;
            let found =
                match plan(&wanted(target, &HeaderMap::new()), &routes(vec![route]), &identity(true)).plan {
                    Plan::Cache(cacheable) => Some((cacheable.audience, cacheable.declared_shared)),
                    Plan::Pass(_) | Plan::Read(_) => None,
                };
            assert_eq!(found, expected, "{scope:?} {target}");
        }
    }

    #[test]
    fn a_shared_route_ignores_credentials_that_its_key_does_not_name() {
        let key = |scope, list: Option<&str>, target, header| {
            let mut route = route("a", "/a");
            route.scope = scope;
            route.key.query = list.map(|name| vec![name.to_owned()]);
            let headers = headers(&[("authorization", header), ("cookie", header)]);
            cached(plan(&wanted(target, &headers), &routes(vec![route]), &identity(true))).key
        };
        let shared = |target, header| key(Scope::Shared, None, target, header);
        assert_eq!(shared("/a?token=1", "x"), shared("/a?token=2", "y"));
        assert_ne!(key(Scope::Auto, None, "/a", "x"), key(Scope::Auto, None, "/a", "y"));
        let named = |target| key(Scope::Shared, Some("token"), target, "x");
        assert_ne!(named("/a?token=1"), named("/a?token=2"));
    }

    #[test]
    fn what_may_be_a_credential_that_nobody_declared_is_told() {
        let tell = |declared, route: Route, list: &[(&str, &str)]| {
            cached(plan(&wanted("/a", &headers(list)), &routes(vec![route]), &identity(declared)))
                .undeclared_credential
        };
        let plain = || route("a", "/a");
        assert!(!tell(false, plain(), &[]));
        assert!(!tell(false, plain(), &[("x-csrf-token", "1"), ("accept", "a")]));
        for name in
            ["cookie", "x-api-key", "x_api_key", "apikey", "x-user-id", "remote-user", "x-forwarded-user"]
        {
            let list = [(name, "sid=1")];
            assert!(tell(false, plain(), &list), "{name}");
            assert!(!tell(true, plain(), &list), "{name}");
            let mut shared = plain();
            shared.scope = Scope::Shared;
            assert!(!tell(false, shared, &list), "{name}");
            let mut keyed = plain();
            keyed.key.headers.push(name.parse().unwrap());
            assert!(!tell(false, keyed, &list), "{name}");
            assert!(!tell(false, plain(), &[list[0], ("authorization", "s")]), "{name}: it is in the key");
        }
        let mut keyed = plain();
        keyed.key.cookies.push("sid".to_owned());
        assert!(!tell(false, keyed.clone(), &[("cookie", "sid=1")]));
        assert!(tell(false, keyed, &[("cookie", "sid=1"), ("x-api-key", "1")]));
    }

    #[test]
    fn whoever_is_found_by_a_guess_is_told_apart_by_all_that_may_be_a_credential() {
        let key = |declared, route: &Route, list: &[(&str, &str)]| {
            let list = [&[("authorization", "Basic everybody")], list].concat();
            let headers = headers(&list);
            let routes = routes(vec![route.clone()]);
            let cacheable = cached(plan(&wanted("/a", &headers), &routes, &identity(declared)));
            (cacheable.key, cacheable.audience)
        };
        let plain = route("a", "/a");
        let mut scoped = plain.clone();
        scoped.scope = Scope::Identity;
        let differ: [(Fields<'_>, Fields<'_>); 5] = [
            (&[("cookie", "PHPSESSID=alice")], &[("cookie", "PHPSESSID=bob")]),
            (&[("cookie", "a=1"), ("cookie", "sid=alice")], &[("cookie", "a=1"), ("cookie", "sid=bob")]),
            (&[("cookie", "sid=alice")], &[]),
            (&[("x-api-key", "alice")], &[("x-api-key", "bob")]),
            (&[("x_user_id", "alice")], &[("x-user-id", "alice")]),
        ];
        for (one, other) in differ {
            for route in [&plain, &scoped] {
                assert_ne!(key(false, route, one), key(false, route, other), "{one:?} {other:?}");
                assert_eq!(key(false, route, one).1, Audience::Identity);
                assert_eq!(key(true, route, one), key(true, route, other), "{one:?} {other:?}");
            }
            let mut shared = plain.clone();
            shared.scope = Scope::Shared;
            assert_eq!(key(false, &shared, one), key(false, &shared, other), "{one:?} {other:?}");
        }
        let mut keyed = plain.clone();
        keyed.key.cookies.push("theme".to_owned());
        let (one, other) = differ[0];
        assert_eq!(key(false, &keyed, one), key(false, &keyed, other), "the route says which cookies count");
        let (one, other) = ([("x-user", "a"), ("x-api-key", "b")], [("x-api-key", "b"), ("x-user", "a")]);
        assert_eq!(key(false, &plain, &one), key(false, &plain, &other));
    }

    #[test]
    fn what_a_trusted_proxy_passes_on_is_in_the_key() {
        let key = |trusted, scope, list: &[(&str, &str)]| {
            let mut route = route("a", "/a");
            route.scope = scope;
            let (headers, identity) = (headers(list), identity(true));
            let wanted = Wanted { trusted, forwarded_host: Some("h"), ..wanted("/a", &headers) };
            let Ok(gathered) = gather(&wanted, &route, &identity) else { panic!("passed") };
            let secret = gathered.builder.has_secret();
            (gathered.builder.finish(identity.secret()), secret)
        };
        for (name, value, counts, secret) in [
            ("x-forwarded-prefix", "/p", true, false),
            ("x-forwarded-port", "8443", true, false),
            ("x_forwarded_host", "h", true, false),
            ("x_forwarded_for", "192.0.2.1", true, false),
            ("x-forwarded-user", "alice", true, true),
            ("x-forwarded-for", "192.0.2.1", false, false),
            ("x-forwarded-proto", "http", false, false),
            ("x-forwarded-host", "h", false, false),
            ("x-forwarded-proto", "https, http", true, false),
            ("x-forwarded-host", "evil, h", true, false),
            ("x-other", "1", false, false),
        ] {
            let with = key(true, Scope::Auto, &[(name, value)]);
            assert_eq!(with != key(true, Scope::Auto, &[]), counts, "{name}: {value}");
            assert_eq!(with.1, secret, "{name}: {value}");
            assert_eq!(key(false, Scope::Auto, &[(name, value)]), key(false, Scope::Auto, &[]), "{name}");
            let shared = key(true, Scope::Shared, &[(name, value)]);
            assert_eq!(shared != key(true, Scope::Shared, &[]), counts && !secret, "{name}: {value}");
        }
        let (one, other) = (("x-forwarded-port", "1"), ("x-forwarded-prefix", "/p"));
        assert_eq!(key(true, Scope::Auto, &[one, other]), key(true, Scope::Auto, &[other, one]));
    }

    #[test]
    fn headers_and_cookies_of_the_key_tell_absent_from_empty() {
        let mut route = route("a", "/a");
        route.key.headers = vec![http::header::ACCEPT_LANGUAGE, HeaderName::from_static("x-tenant")];
        route.key.cookies = vec!["lang".to_owned()];
        let routes = routes(vec![route]);
        let requests: [&[(&str, &str)]; 12] = [
            &[],
            &[("accept-language", "")],
            &[("accept-language", "de")],
            &[("accept-language", "de"), ("accept-language", "en")],
            &[("accept-language", "en"), ("accept-language", "de")],
            &[("accept-language", "de, en")],
            &[("x-tenant", "de")],
            &[("x-tenant", "")],
            &[("cookie", "lang=")],
            &[("cookie", "lang=de")],
            &[("cookie", "lang=de; lang=en")],
            &[("cookie", "lang=en"), ("cookie", "lang=de")],
        ];
        let mut seen = HashMap::new();
        for request in requests {
            let headers = headers(request);
            let key = cached(plan(&wanted("/a", &headers), &routes, &identity(true))).key;
            assert_eq!(seen.insert(key, request), None);
        }
        let other = headers(&[("x-other", "1"), ("cookie", "other=1")]);
        let key = cached(plan(&wanted("/a", &other), &routes, &identity(true))).key;
        assert_eq!(seen.get(&key).map(|request| request.len()), Some(0), "what is not named does not count");
    }

    #[test]
    fn a_key_with_a_credential_in_any_part_depends_on_the_process() {
        let mut route = route("a", "/a");
        route.scope = Scope::Shared;
        route.key.headers = vec![http::header::AUTHORIZATION];
        route.key.cookies = vec!["session".to_owned()];
        route.key.query = Some(vec!["token".to_owned()]);
        let routes = routes(vec![route]);
        let settings = |secret: Option<&str>| Settings {
            credentials: vec!["cookie:session".parse().unwrap(), "query:token".parse().unwrap()],
            declared: true,
            key_secret: secret.map(|text| Secret::new(text.to_owned())),
        };
        for (target, list, differs) in [
            ("/a", &[][..], false),
            ("/a", &[("authorization", "s")], true),
            ("/a", &[("cookie", "session=s")], true),
            ("/a?token=s", &[], true),
        ] {
            let headers = headers(list);
            let key = |secret, random: u8| {
                let identity = Identity::new(&settings(secret), &[random; 32]);
                cached(plan(&wanted(target, &headers), &routes, &identity)).key
            };
            assert_eq!(key(None, 1) != key(None, 2), differs, "{target}");
            assert_eq!(key(Some("k"), 1), key(Some("k"), 2), "{target}");
        }
    }

    #[test]
    fn what_is_decided_shows_no_credential() {
        let headers = headers(&[("authorization", "Bearer s3cr3t"), ("cookie", "session=s3cr3t")]);
        let routed = plan(&wanted("/a?token=s3cr3t", &headers), &routes(vec![]), &identity(true));
        assert!(!format!("{routed:?}").contains("s3cr3t"));
    }

    #[test]
    fn a_response_that_does_not_vary_has_one_variant() {
        let identity = identity(true);
        let empty = HeaderMap::new();
        let key = |target| cached(plan(&wanted(target, &empty), &routes(vec![]), &identity)).key;
        let variant = |target| variant_key(&key(target), &VaryOn::default(), &empty, &identity);
        assert_eq!(variant("/a"), variant("/a"));
        assert_ne!(variant("/a"), variant("/b"));
        assert_ne!(variant("/a"), key("/a"));
    }

    /// A small generator: splitmix64. The seed alone tells what a run did.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        }

        fn below(&mut self, bound: usize) -> usize {
            usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
        }

        fn pick<T: Copy>(&mut self, list: &[T]) -> T {
            list[self.below(list.len())]
        }
    }

    /// One request of this caller, in a random form.
    fn request_of(caller: usize, random: &mut Random) -> (String, HeaderMap) {
        // Names that run into each other: `u1` and `u11`, and the separators of every form.
        let name = format!("u{caller}{}", ["", "=", "|1", ":1", "&"][caller % 5]);
        let encoded = name.replace('=', "%3D").replace('&', "%26");
        let mut query = vec![random.pick(&["a=1", "a=2", "page=1", "x"]).to_owned()];
        let mut list: Vec<(&str, String)> = vec![("accept", random.pick(&["*/*", "text/html"]).to_owned())];
        match random.below(9) {
            0 => list.push(("authorization", format!("Bearer {name}"))),
            1 => list.push(("authorization", format!("Basic {name}"))),
            2 => list.push(("cookie", format!("session={name}"))),
            3 => list.push(("cookie", format!("lang=de; session=\"{name}\"; x=1"))),
            4 => list.extend([("cookie", "lang=de".to_owned()), ("cookie", format!("session={name}"))]),
            5 => query.push(format!("token={encoded}")),
            6 => query.insert(0, format!("t%6Fken={encoded}")),
            7 => {
                list.push(("authorization", "Bearer everybody".to_owned()));
                list.push(("cookie", format!("session={name}")));
            }
            _ => {
                list.push(("cookie", "session=everybody".to_owned()));
                query.push(format!("token=everybody&token={encoded}"));
            }
        }
        let list: Vec<(&str, &str)> = list.iter().map(|(name, value)| (*name, value.as_str())).collect();
        (format!("{}?{}", random.pick(&["/", "/a", "/a/b"]), query.join("&")), headers(&list))
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "a failing run is repeated with its seed")]
    fn ten_thousand_requests_of_240_callers_never_share_a_key() {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).unwrap();
        let seed = std::env::var("LARDER_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| u64::from_le_bytes(bytes));
        println!("LARDER_TEST_SEED={seed}");
        let mut random = Random(seed);
        let mut scoped = route("a", "/a");
        scoped.scope = Scope::Identity;
        scoped.key.query = Some(vec!["a".to_owned()]);
        let (routes, identity) = (routes(vec![scoped]), identity(false));
        let mut owners: HashMap<Key, usize> = HashMap::new();
        for _ in 0..10_000 {
            let caller = random.below(240);
            let (target, headers) = request_of(caller, &mut random);
            let cacheable = cached(plan(&wanted(&target, &headers), &routes, &identity));
            assert_eq!(cacheable.audience, Audience::Identity, "seed {seed}");
            assert_eq!(*owners.entry(cacheable.key).or_insert(caller), caller, "seed {seed}");
        }
        assert!(owners.len() < 10_000, "some requests must have been alike, seed {seed}");
    }

    /// What the upstream could take into account of a request, taken apart with no regard for keys.
    #[derive(Clone, Debug, PartialEq)]
    struct Sent {
        https: bool,
        authority: String,
        forwarded_host: Option<String>,
        path: String,
        /// In the order sent; equal up to the order of different names.
        query: Option<Vec<(String, String)>>,
        tenant: Vec<String>,
        lang: Vec<String>,
        authorization: Vec<String>,
        session: Vec<String>,
    }

    impl Sent {
        fn canonical(&self) -> Self {
            let mut canonical = self.clone();
            if let Some(query) = &mut canonical.query {
                query.sort_by(|(one, _), (other, _)| one.cmp(other));
            }
            canonical
        }

        fn key(&self, routes: &Routes, identity: &Identity) -> (Key, Vec<(Part, Vec<u8>)>) {
            let mut map = HeaderMap::new();
            for (name, values) in [("x-tenant", &self.tenant), ("authorization", &self.authorization)] {
                for value in values {
                    map.append(name, HeaderValue::from_str(value).unwrap());
                }
            }
            for (name, values) in [("lang", &self.lang), ("session", &self.session)] {
                for value in values {
                    map.append("cookie", HeaderValue::from_str(&format!("{name}={value}")).unwrap());
                }
            }
            let query = self.query.as_ref().map(|list| {
                list.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
            });
            let wanted = Wanted {
                scheme: if self.https { "https" } else { "http" },
                authority: &self.authority,
                forwarded_host: self.forwarded_host.as_deref(),
                query: query.as_deref(),
                ..wanted(&self.path, &map)
            };
            let Ok(gathered) = gather(&wanted, routes.get(0), identity) else { panic!("passed") };
            let parts = gathered.builder.parts().map(|(part, bytes)| (part, bytes.to_vec())).collect();
            (cached(plan(&wanted, routes, identity)).key, parts)
        }
    }

    fn sent() -> impl Strategy<Value = Sent> {
        let values = || proptest::collection::vec("[ab]{0,2}", 0..3);
        let query = proptest::collection::vec(("(a|b|token)", "[ab]{0,2}"), 1..4);
        (
            (any::<bool>(), "[ab]{1,2}", proptest::option::of("[ab]{1,2}"), "/[ab]{0,2}"),
            proptest::option::of(query),
            (values(), values(), values(), values()),
        )
            .prop_map(
                |(
                    (https, authority, forwarded_host, path),
                    query,
                    (tenant, lang, authorization, session),
                )| {
                    Sent {
                        https,
                        authority,
                        forwarded_host,
                        path,
                        query,
                        tenant,
                        lang,
                        authorization,
                        session,
                    }
                },
            )
    }

    /// Two requests that are often alike but for one thing.
    fn pairs() -> impl Strategy<Value = (Sent, Sent)> {
        (sent(), sent(), 0_u8..11).prop_map(|(one, two, which)| {
            let mut other = one.clone();
            match which {
                0 => other.https = two.https,
                1 => other.authority = two.authority,
                2 => other.forwarded_host = two.forwarded_host,
                3 => other.path = two.path,
                4 => other.query = two.query,
                5 => other.tenant = two.tenant,
                6 => other.lang = two.lang,
                7 => other.authorization = two.authorization,
                8 => other.session = two.session,
                9 => (other.lang, other.session) = (one.session.clone(), one.lang.clone()),
                _ => other.query.iter_mut().for_each(|query| query.reverse()),
            }
            (one, other)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn requests_have_one_key_if_and_only_if_the_upstream_could_not_tell_them_apart((one, other) in pairs()) {
            let mut route = route("a", "/{*rest}");
            route.key.headers = vec![HeaderName::from_static("x-tenant")];
            route.key.cookies = vec!["lang".to_owned()];
            let (routes, identity) = (routes(vec![route]), identity(true));
            let alike = one.canonical() == other.canonical();
            let (one, other) = (one.key(&routes, &identity), other.key(&routes, &identity));
            prop_assert_eq!(one.1 == other.1, alike);
            prop_assert_eq!(one.0 == other.0, alike);
        }
    }

    #[test]
    fn what_a_stranger_says_of_itself_is_not_what_a_trusted_proxy_says() {
        let mut r = route("r", "/{*rest}");
        r.key.headers = vec![HeaderName::from_static("x-forwarded-user")];
        let routes = routes(vec![r]);
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-user", HeaderValue::from_static("alice"));
        let at = |trusted| {
            let wanted = Wanted {
                method: &Method::GET,
                scheme: "http",
                authority: "a",
                forwarded_host: None,
                trusted,
                path: "/x",
                query: None,
                headers: &headers,
                kinds: Kinds::read(&headers),
                body: Content::None,
                upgrade: false,
            };
            plan(&wanted, &routes, &identity(true)).plan
        };
        assert_ne!(at(true), at(false));
    }
}
