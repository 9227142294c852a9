//! `inspect`: what `plan` decides about a request and why, in words, for `explain` and `/entry`.
//!
//! It shows the parts that `plan` hashes, read back from the same builder, so it can't tell another story.
//! Invariant: no credential is in what it returns. All that is of the request goes through `veil`.

use std::fmt;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::called;
use super::veil::Veil;
use crate::naming::{Bounds, Piece};
use crate::proxy::identity::Identity;
use crate::proxy::plan::{self, Wanted};
use crate::proxy::route::{Route, Routes, Scope, WhenCutOff};
use crate::semantics::Audience;

pub use super::veil::KeyPart;

/// More tags of one template are not written out.
const TAGS_SHOWN: Bounds = Bounds { count_max: 100, bytes_max: 1000 };

/// All that can be said of a request without looking at what is held.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// Method and URL, credentials blanked.
    pub request: String,
    /// The route's name.
    pub route: String,
    /// Its pattern; none for the route that takes the rest.
    pub pattern: Option<String>,
    /// Which patterns match and which is the most specific, as sentences.
    pub why: Vec<String>,
    /// `cache` or `pass`.
    pub plan: &'static str,
    /// Why it is passed.
    pub reason: Option<&'static str>,
    /// Where the credential stands that names the caller, such as `header:authorization`.
    pub identity: Option<String>,
    /// `identity` or `everyone`.
    pub audience: Option<&'static str>,
    /// What the key is made of.
    pub key_parts: Vec<KeyPart>,
    /// The key in hexadecimal, where it is the same in every process.
    pub digest: Option<String>,
    /// Why there is none.
    pub digest_note: Option<&'static str>,
    /// What its entry is called, as far as the request tells. What the answer's body will tell is as it is written.
    pub tags: Vec<String>,
    /// What the route says of lifetimes.
    pub lifetimes: Lifetimes,
    /// How long after an invalidation of it a fetch is kept no longer than that, such as `2s`.
    pub settle: String,
    /// `serve` or `bypass`.
    pub when_cut_off: &'static str,
    /// The route's methods.
    pub methods: Vec<String>,
    /// The route's scope.
    pub scope: &'static str,
}

/// A route's lifetimes, as one would write them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lifetimes {
    /// Such as `5m`.
    pub ttl: String,
    /// Such as `0s`.
    pub negative_ttl: String,
    /// Whether `ttl` replaces what the upstream says.
    #[serde(rename = "override")]
    pub override_upstream: bool,
    /// Such as `5%`.
    pub jitter: String,
    /// Such as `10%`.
    pub heuristic: String,
    /// Such as `30s`.
    pub stale_while_revalidate: String,
    /// Such as `1h`.
    pub stale_if_error: String,
}

/// Routes the request, gathers its key, and tells. `is_here`: this process is the one that would serve it.
pub fn inspect(wanted: &Wanted<'_>, routes: &Routes, identity: &Identity, is_here: bool) -> Inspection {
    let (index, examined) = plan::route_of(wanted, routes);
    let route = routes.get(index);
    let veil = Veil::new(wanted, identity);
    let why = match examined {
        Ok(()) => routes.considered(wanted.path).why,
        Err(reason) => {
            vec![format!("No route is asked for it: {}, so it could mean several things.", reason.reason())]
        }
    };
    let gathered = examined.and_then(|()| plan::gather(wanted, route, identity));
    let mut inspection = Inspection {
        request: veil.request(wanted),
        route: route.name.to_string(),
        pattern: (index != routes.unrouted_index()).then(|| route.pattern.to_string()),
        why,
        plan: "pass",
        reason: None,
        identity: None,
        audience: None,
        key_parts: Vec::new(),
        digest: None,
        digest_note: None,
        tags: Vec::new(),
        lifetimes: lifetimes(route),
        settle: words(route.settle),
        when_cut_off: match route.when_cut_off {
            WhenCutOff::Serve => "serve",
            WhenCutOff::Bypass => "bypass",
        },
        methods: route.methods.iter().map(ToString::to_string).collect(),
        scope: scope(route.scope),
    };
    match gathered {
        Err(reason) => inspection.reason = Some(reason.reason()),
        Ok(gathered) => {
            inspection.plan = "cache";
            inspection.identity = gathered.caller.map(ToString::to_string);
            let audience = plan::audience(&gathered);
            inspection.audience = Some(match audience {
                Audience::Everyone => "everyone",
                Audience::Identity => "identity",
            });
            let is_known = is_here || identity.secret().is_configured();
            let tags = tags(wanted, route, identity, audience, is_known);
            inspection.tags = tags.iter().map(|tag| veil.shown(tag.as_bytes())).collect();
            inspection.key_parts = veil.parts(&gathered.builder);
            if gathered.builder.has_secret() && !identity.secret().is_configured() {
                inspection.digest_note = Some(
                    "A credential is in the key and no identity.key_secret is configured, so the digest differs by process, or by the instances that share a Redis.",
                );
            } else {
                inspection.digest = Some(gathered.builder.finish(identity.secret()).to_string());
            }
        }
    }
    inspection
}

/// `is_known`: who asks is called the same here as where it is served.
fn tags(
    wanted: &Wanted<'_>,
    route: &Route,
    identity: &Identity,
    audience: Audience,
    is_known: bool,
) -> Vec<String> {
    let values = |piece: &Piece| match piece {
        Piece::Identity if audience == Audience::Identity && !is_known => vec![piece.to_string()],
        piece => called::values_of_entry(piece, wanted, route, identity, audience),
    };
    let mut tags = vec![
        format!("route:{}", route.name),
        format!("path:{}", percent_decode_str(wanted.path).decode_utf8_lossy()),
    ];
    tags.extend(values(&Piece::Identity).iter().map(|id| format!("identity:{id}")));
    for template in &route.tags {
        match template.resolve(values, TAGS_SHOWN) {
            Ok(resolved) => tags.extend(resolved.iter().map(ToString::to_string)),
            Err(_) => tags.push(template.to_string()),
        }
    }
    tags
}

fn lifetimes(route: &Route) -> Lifetimes {
    let policy = &route.policy;
    Lifetimes {
        ttl: words(policy.ttl),
        negative_ttl: words(policy.negative_ttl),
        override_upstream: policy.override_upstream,
        jitter: percent(policy.jitter),
        heuristic: percent(policy.heuristic),
        stale_while_revalidate: words(policy.stale_while_revalidate),
        stale_if_error: words(policy.stale_if_error),
    }
}

/// Ten digits are more than anyone writes, and few enough that 0.07 is not 7.000000000000001 %.
fn percent(share: f64) -> String {
    format!("{}%", (share * 1e10).round() / 1e8)
}

fn words(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Auto => "auto",
        Scope::Identity => "identity",
        Scope::Shared => "shared",
    }
}

/// A block for a terminal.
impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "request    {}", self.request)?;
        match &self.pattern {
            Some(pattern) => writeln!(f, "route      {}  {pattern}", self.route)?,
            None => writeln!(f, "route      {}", self.route)?,
        }
        for sentence in &self.why {
            writeln!(f, "           {sentence}")?;
        }
        match self.reason {
            Some(reason) => writeln!(f, "plan       {}: {reason}", self.plan)?,
            None => writeln!(f, "plan       {}", self.plan)?,
        }
        writeln!(f, "methods    {}", self.methods.join(", "))?;
        writeln!(f, "scope      {}", self.scope)?;
        if let Some(audience) = self.audience {
            writeln!(f, "identity   {}", self.identity.as_deref().unwrap_or("none"))?;
            writeln!(f, "audience   {audience}")?;
        }
        let lifetimes = &self.lifetimes;
        writeln!(
            f,
            "lifetimes  ttl {}{}, negative ttl {}, jitter {}, heuristic {}",
            lifetimes.ttl,
            if lifetimes.override_upstream { " whatever the upstream says" } else { "" },
            lifetimes.negative_ttl,
            lifetimes.jitter,
            lifetimes.heuristic
        )?;
        writeln!(
            f,
            "stale      while revalidated {}, if the upstream fails {}",
            lifetimes.stale_while_revalidate, lifetimes.stale_if_error
        )?;
        if self.settle != "0s" {
            writeln!(f, "settle     {}", self.settle)?;
        }
        if self.when_cut_off != "serve" {
            writeln!(f, "cut off    {}", self.when_cut_off)?;
        }
        for (index, tag) in self.tags.iter().enumerate() {
            writeln!(f, "{:<10} {tag}", if index == 0 { "tags" } else { "" })?;
        }
        let width = self.key_parts.iter().map(|part| part.part.chars().count()).max().unwrap_or(0);
        for (index, part) in self.key_parts.iter().enumerate() {
            let heading = if index == 0 { "key" } else { "" };
            writeln!(f, "{heading:<10} {:<width$}  {}", part.part, part.value)?;
        }
        if let Some(digest) = &self.digest {
            writeln!(f, "digest     {digest}")?;
        }
        if let Some(note) = self.digest_note {
            writeln!(f, "digest     none: {note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method};
    use proptest::prelude::*;

    use super::*;
    use crate::proxy::identity::Settings;
    use crate::proxy::kinds::Kinds;
    use crate::proxy::plan::Content;
    use crate::proxy::route::{BodyPart, Coalesce, KeyParts, Mode, Tiers, UNROUTED, WhenCutOff};
    use crate::secret::Secret;
    use crate::semantics::Policy;

    const SECRET: &str = "s3cr3t-t0k3n";

    fn route(name: &str, pattern: &str) -> Route {
        Route {
            name: name.into(),
            pattern: pattern.parse().unwrap(),
            methods: vec![Method::GET, Method::HEAD],
            mode: Mode::Cache,
            policy: Policy {
                ttl: Duration::from_secs(300),
                override_upstream: false,
                negative_ttl: Duration::ZERO,
                jitter: 0.05,
                heuristic: 0.1,
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
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

    fn identity(key_secret: Option<&str>) -> Identity {
        let settings = Settings {
            credentials: ["header:authorization", "cookie:session", "query:token", "header:x-api-key"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            declared: true,
            key_secret: key_secret.map(|text| Secret::new(text.to_owned())),
        };
        Identity::new(&settings, &[9; 32])
    }

    fn look(route: Route, url: &str, headers: &[(&str, &str)], identity: &Identity) -> Inspection {
        look_with_body(route, url, headers, Content::None, identity)
    }

    fn look_with_body(
        route: Route,
        url: &str,
        headers: &[(&str, &str)],
        body: Content<'_>,
        identity: &Identity,
    ) -> Inspection {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
        let wanted = Wanted {
            method: &Method::GET,
            scheme: "http",
            authority: "api.example",
            forwarded_host: None,
            trusted: false,
            path,
            query,
            headers: &map,
            kinds: Kinds::read(&map),
            body,
            upgrade: false,
        };
        let routes = Routes::new(vec![route], self::route(UNROUTED, "/{*rest}")).unwrap();
        inspect(&wanted, &routes, identity, false)
    }

    #[test]
    fn it_reads_well_on_a_terminal() {
        let mut user = route("user", "/api/users/{id}");
        user.key.headers.push(http::header::ACCEPT_LANGUAGE);
        user.key.cookies.push("lang".to_owned());
        user.tags = ["user:{id} of {identity}", "page:{query:a}", "page:{body:/next}", "sort:{query:sort}"]
            .map(|text| text.parse().unwrap())
            .into();
        (user.settle, user.when_cut_off) = (Duration::from_secs(2), WhenCutOff::Bypass);
        let bearer = format!("Bearer {SECRET}");
        let headers = [("authorization", bearer.as_str()), ("accept-language", "de")];
        let text = look(user, "/api/users/7?b=2&a=1", &headers, &identity(None)).to_string();
        let expected = "\
request    GET http://api.example/api/users/7?b=2&a=1
route      user  /api/users/{id}
           Only \"/api/users/{id}\" (route \"user\") matches.
plan       cache
methods    GET, HEAD
scope      auto
identity   header:authorization
audience   identity
lifetimes  ttl 5m, negative ttl 0s, jitter 5%, heuristic 10%
stale      while revalidated 0s, if the upstream fails 0s
settle     2s
cut off    bypass
tags       route:user
           path:/api/users/7
           identity:{identity}
           user:7 of {identity}
           page:1
           page:{body:/next}
key        method                           GET
           scheme                           http
           authority                        api.example
           path                             /api/users/7
           query                            a=1
           query                            b=2
           header:accept-language           de
           cookie:lang                      (absent)
           credential header:authorization  (hidden)
digest     none: A credential is in the key and no identity.key_secret is configured, so the digest differs by process, or by the instances that share a Redis.
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_tags_are_those_that_the_request_tells() {
        let bearer = format!("Bearer {SECRET}");
        let with = [("authorization", bearer.as_str()), ("x-tenant", "acme")];
        let tags = |scope: Scope, tags: &[&str], url: &str, key_secret: Option<&str>| {
            let mut route = route("a", "/a/{id}");
            (route.scope, route.tags) = (scope, tags.iter().map(|text| text.parse().unwrap()).collect());
            look(route, url, &with, &identity(key_secret)).tags.split_off(2)
        };
        let auto = tags(Scope::Auto, &["{identity}:x"], "/a/1", Some("k"));
        let id = auto[0].strip_prefix("identity:").unwrap();
        assert!(id.len() == 16 && auto[1] == format!("{id}:x"), "{auto:?}");
        assert_eq!(tags(Scope::Auto, &["{identity}"], "/a/1", None), ["identity:{identity}", "{identity}"]);
        // What everybody shares is nobody's.
        for key_secret in [None, Some("k")] {
            assert_eq!(tags(Scope::Shared, &["{identity}", "x"], "/a/1", key_secret), ["x"]);
        }
        let two = tags(Scope::Shared, &["{query:p}:{id}:{header:x-tenant}"], "/a/%C3%A9?p=1&p=b%20c", None);
        assert_eq!(two, ["1:é:acme", "b c:é:acme"]);
        let hidden = tags(Scope::Shared, &["u:{id}"], &format!("/a/{SECRET}"), None);
        assert_eq!(hidden, ["(hidden)"]);
    }

    #[test]
    fn what_is_passed_has_no_tags() {
        let mut route = route("a", "/a");
        route.mode = Mode::Pass;
        assert_eq!(look(route, "/a", &[], &identity(None)).tags, [""; 0]);
    }

    #[test]
    fn what_counts_because_the_list_is_a_guess_is_named_and_hidden() {
        let settings = Settings {
            credentials: vec!["header:authorization".parse().unwrap()],
            declared: false,
            key_secret: None,
        };
        let guess = Identity::new(&settings, &[9; 32]);
        let cookie = format!("lang=de; PHPSESSID={SECRET}");
        let headers =
            [("authorization", "Basic app"), ("cookie", cookie.as_str()), ("x-api-key", "s3cr3t-key")];
        let seen = look(route("a", "/a"), &format!("/a?sid={SECRET}&key=s3cr3t-key"), &headers, &guess);
        let parts: Vec<_> =
            seen.key_parts.iter().skip(4).map(|part| (part.part.as_str(), part.value.as_str())).collect();
        assert_eq!(
            parts,
            [
                ("query", "key=(hidden)"),
                ("query", "sid=(hidden)"),
                ("credential header:authorization", "(hidden)"),
                ("credential header:cookie (undeclared)", "(hidden)"),
                ("credential header:x-api-key (undeclared)", "(hidden)"),
            ]
        );
        let text = seen.to_string();
        assert!(!text.contains(SECRET) && !text.contains("s3cr3t-key"), "{}", text.len());
    }

    /// What is shown of this body as part of the key of a GET, which is the last of them.
    fn shown_body(part: BodyPart, headers: &[(&str, &str)], body: &[u8]) -> Option<String> {
        let mut route = route("a", "/a");
        (route.key.body, route.key.max_body_bytes) = (part, 10_000);
        let seen = look_with_body(route, "/a", headers, Content::Read(body), &identity(None));
        let last = seen.key_parts.last()?;
        assert_eq!(last.part, "body");
        Some(last.value.clone())
    }

    #[test]
    fn of_a_body_its_beginning_and_its_length_are_shown() {
        let json = |body: &str| shown_body(BodyPart::Json, &[], body.as_bytes()).unwrap();
        assert_eq!(json(r#"{ "b" : 1.0, "a" : 2 }"#), r#"{"a":2,"b":1.0} (15 bytes)"#);
        let long = format!("\"{}\"", "é".repeat(150));
        assert_eq!(json(&long), format!("\"{}… (302 bytes)", "é".repeat(99)));
        let exact = format!("\"{}\"", "x".repeat(198));
        assert_eq!(json(&exact), format!("{exact} (200 bytes)"));
        let raw = shown_body(BodyPart::Raw, &[], b"\x1b[2J\xff").unwrap();
        assert!(!raw.contains(char::is_control) && raw.ends_with(" (5 bytes)"), "{raw}");
        assert_eq!(shown_body(BodyPart::Json, &[], b"{").as_deref(), None);
    }

    #[test]
    fn a_body_with_the_callers_credential_is_not_shown() {
        let token = "s3cr3t\"t0k\\3n";
        let plain = format!("{{\"token\":{}}}", serde_json::to_string(token).unwrap());
        // Behind what is shown, and across its end.
        let late = format!("[\"{}\",{}]", "x".repeat(300), serde_json::to_string(token).unwrap());
        let across = format!("[\"{}\",{}]", "x".repeat(190), serde_json::to_string(token).unwrap());
        for (part, body) in [
            (BodyPart::Json, &plain),
            (BodyPart::Raw, &plain),
            (BodyPart::Json, &late),
            (BodyPart::Json, &across),
            (BodyPart::Raw, &across),
        ] {
            let mut route = route("a", "/a");
            (route.key.body, route.key.max_body_bytes) = (part, 10_000);
            let bearer = format!("Bearer {token}");
            let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
            let seen = look_with_body(route, "/a", &headers, Content::Read(body.as_bytes()), &identity(None));
            let text = format!("{seen} {seen:?}");
            assert!(!text.contains("s3cr3t") && !text.contains("t0k"), "{text}");
            assert!(text.contains(&format!("(hidden) ({} bytes)", body.len())), "{text}");
            assert!(text.contains("body's content-type"), "{text}");
        }
    }

    #[test]
    fn what_is_passed_says_why() {
        let passed = look(route("a", "/a/{*rest}"), "/a/..%2fb", &[], &identity(None));
        assert_eq!((passed.plan, passed.route.as_str(), passed.pattern), ("pass", UNROUTED, None));
        assert_eq!(passed.reason, Some("the path has an encoded slash"));
        assert!(passed.key_parts.is_empty() && passed.digest.is_none());
        let mut by_mode = route("a", "/a");
        by_mode.mode = Mode::Pass;
        assert_eq!(look(by_mode, "/a", &[], &identity(None)).reason, Some("route mode is pass"));
    }

    #[test]
    fn the_digest_is_shown_where_it_is_the_same_everywhere() {
        let digest =
            |url: &str, secret: Option<&str>| look(route("a", "/a"), url, &[], &identity(secret)).digest;
        assert!(digest("/a", None).is_some_and(|text| text.len() == 64));
        assert_eq!(digest("/a?token=s", None), None);
        let keyed = digest("/a?token=s", Some("k"));
        assert!(keyed.is_some() && keyed != digest("/a?token=s", Some("l")));
    }

    #[test]
    fn jitter_and_durations_are_written_as_people_write_them() {
        for (jitter, expected) in [(0.0, "0%"), (0.05, "5%"), (0.07, "7%"), (0.125, "12.5%"), (1.0, "100%")] {
            let mut route = route("a", "/a");
            route.policy.jitter = jitter;
            route.policy.negative_ttl = Duration::from_millis(1500);
            let lifetimes = look(route, "/a", &[], &identity(None)).lifetimes;
            assert_eq!(lifetimes.jitter, expected);
            assert_eq!(lifetimes.negative_ttl, "1s 500ms");
        }
    }

    #[test]
    fn json_has_the_names_of_the_contract() {
        let json = serde_json::to_value(look(route("a", "/a"), "/a", &[], &identity(None))).unwrap();
        assert_eq!(json["lifetimes"]["override"], false);
        assert_eq!(json["key_parts"][3]["part"], "path");
        assert_eq!(json["key_parts"][3]["value"], "/a");
        assert!(json["identity"].is_null());
    }

    #[test]
    fn names_stay_and_credentials_go() {
        for (query, expected) in [
            ("token=s3cr3t-t0k3n&a=1", "token=(hidden)&a=1"),
            ("Token=other&t%6Fken=x", "Token=(hidden)&t%6Fken=(hidden)"),
            ("token[]=x&+token=y", "token[]=(hidden)&+token=(hidden)"),
            ("a=1;token=x;b", "a=1;token=(hidden);b"),
            ("token=s3cr3t-t0k3n&copy=s3cr3t-t0k3n", "token=(hidden)&copy=(hidden)"),
            ("token=s3cr3t-t0k3n&copy=%733cr3t%2Dt0k3n", "token=(hidden)&copy=(hidden)"),
            ("token=s3cr3t-t0k3n&s3cr3t-t0k3n", "token=(hidden)&(hidden)"),
            ("token", "token"),
            ("a=1", "a=1"),
        ] {
            let shown = look(route("a", "/a"), &format!("/a?{query}"), &[], &identity(None)).request;
            assert_eq!(shown, format!("GET http://api.example/a?{expected}"));
        }
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_shown() {
        let mut route = route("a", "/a");
        route.key.headers.push(HeaderName::from_static("x-lang"));
        let mut map = HeaderMap::new();
        map.insert("x-lang", HeaderValue::from_bytes(b"a\xc2\x9b2Jb\xff\t").unwrap());
        let wanted = Wanted {
            method: &Method::GET,
            scheme: "http",
            authority: "a",
            forwarded_host: None,
            trusted: false,
            path: "/a",
            query: None,
            headers: &map,
            kinds: Kinds::read(&map),
            body: Content::None,
            upgrade: false,
        };
        let routes = Routes::new(vec![route], self::route(UNROUTED, "/{*rest}")).unwrap();
        let text = inspect(&wanted, &routes, &identity(None), false).to_string();
        assert!(text.lines().all(|line| !line.contains(char::is_control)), "{text:?}");
    }

    /// Where a credential can be put; the route names all of these places as parts of its key.
    fn bearing(place: u8) -> (String, Vec<(&'static str, String)>) {
        let at = |url: &str, headers: &[(&'static str, String)]| (url.to_owned(), headers.to_vec());
        match place {
            0 => at("/a?x=1", &[("authorization", format!("Bearer {SECRET}"))]),
            1 => at("/a?x=1", &[("authorization", SECRET.to_owned())]),
            2 => at("/a", &[("cookie", format!("lang=de; session={SECRET}"))]),
            3 => at("/a", &[("cookie", format!("session=\"{SECRET}\""))]),
            4 => at("/a", &[("cookie", "lang=de".to_owned()), ("cookie", format!("x=1,session={SECRET}"))]),
            5 => at(&format!("/a?token={SECRET}"), &[]),
            6 => at(&format!("/a?x=1&t%6fken={SECRET}&token=other"), &[]),
            7 => at("/a", &[("x-api-key", SECRET.to_owned()), ("x-copy", SECRET.to_owned())]),
            8 => at(
                &format!("/a?copy={SECRET}&{SECRET}=1"),
                &[
                    ("authorization", format!("Bearer {SECRET}")),
                    ("x-copy", format!("a {SECRET} b")),
                    ("cookie", format!("lang={SECRET}")),
                ],
            ),
            9 => at(&format!("/{SECRET}"), &[("cookie", format!("session={SECRET}"))]),
            10 => at(&format!("/a?x=1;token={SECRET}"), &[]),
            _ => at(&format!("/a//b?token={SECRET}"), &[]),
        }
    }

    proptest! {
        #[test]
        fn no_output_holds_a_credential(
            place in 0_u8..12,
            scope in 0_u8..3,
            keyed in any::<bool>(),
            lists in any::<bool>(),
        ) {
            let mut route = route("a", "/{x}");
            route.scope = [Scope::Auto, Scope::Identity, Scope::Shared][usize::from(scope)];
            route.key.headers =
                ["authorization", "cookie", "x-api-key", "x-copy"].map(HeaderName::from_static).to_vec();
            route.key.cookies = vec!["session".to_owned(), "lang".to_owned()];
            route.tags = ["{x}", "a{header:x-copy}:{x}", "{query:copy}", "{header:x-api-key}", "{identity}"]
                .map(|text| text.parse().unwrap())
                .into();
            if lists {
                route.key.query = Some(vec!["token".to_owned(), "copy".to_owned()]);
            }
            let (url, headers) = bearing(place);
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let inspection = look(route, &url, &headers, &identity(keyed.then_some("k")));
            for text in [
                inspection.to_string(),
                format!("{inspection:?}"),
                serde_json::to_string(&inspection).unwrap(),
            ] {
                prop_assert!(!text.contains(SECRET), "place {place}");
            }
        }
    }
}
