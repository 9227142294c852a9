//! `[defaults]` and `[[route]]` → the routes, in the order of the file, and the one for what none of them matches.

use super::bounds::{self, between};
use super::check_names::{name, place_in_brackets, same_names};
use super::document::Point;
use super::file::{Defaults, File, Invalidation, Key, Route as RouteAsWritten};
use super::path::KeyPath;
use super::templates::{of_request, templates};
use super::words::{self, Body, Percent, Period};
use super::written::Written;
use crate::proxy::identity;
use crate::proxy::route::{
    BodyPart, Coalesce, KeyParts, Mode, Pattern, Route, Routes, Scope, Tiers, UNROUTED, WhenCutOff,
};
use crate::semantics::Policy;
use http::{HeaderName, Method};
use std::sync::Arc;
use std::time::Duration;

/// Longer than any replica lags that is worth reading from.
pub(super) const SETTLE_MAX: Duration = Duration::from_secs(60);

/// All routes and the unrouted one; none: a mistake was noted.
pub(super) fn check(
    file: &File,
    identity: &identity::Settings,
    written: &mut Written,
) -> Option<(Vec<Route>, Route)> {
    same_names("route", file.route.iter().map(|route| route.name.as_deref()), written);
    let mut routes = Vec::new();
    for (index, route) in file.route.iter().enumerate() {
        let path = KeyPath::of("route").item(index);
        if let Some(checked) = check_route(route, file, identity, &path, written) {
            routes.push((path, checked));
        }
    }
    let unrouted = unrouted(&file.defaults)?;
    conflicts(&routes, &unrouted, written);
    let routes = routes.into_iter().map(|(_, route)| route).collect();
    Some((routes, unrouted))
}

fn check_route(
    route: &RouteAsWritten,
    file: &File,
    identity: &identity::Settings,
    path: &KeyPath,
    written: &mut Written,
) -> Option<Route> {
    let defaults = &file.defaults;
    let name = route_name(route.name.as_deref(), path, written);
    let pattern = pattern(route.r#match.as_deref(), path, written);
    let key_path = path.join("key");
    // A word there that is not understood has had its mistake.
    let by_body = route.key.body != Body::Ignored || written.is_spoiled(&key_path.join("body"));
    let methods = methods(&route.methods, by_body, &path.join("methods"), written);
    let key = key_parts(&route.key, &key_path, written);
    let mut named = |key: &str, list: &Option<Vec<String>>| {
        let list = list.as_deref().unwrap_or_default();
        templates(list, &path.join(key), written, |template| of_request(template, pattern.as_ref(), identity))
    };
    let (tags, invalidates) = (named("tags", &route.tags), named("invalidates", &route.invalidates));
    too_many_tags(tags.len(), &file.invalidation, &path.join("tags"), written);
    between(route.settle, &(Duration::ZERO..=SETTLE_MAX), &path.join("settle"), written);
    Some(Route {
        name: name?.into(),
        pattern: pattern?,
        methods,
        mode: match route.mode {
            words::Mode::Cache => Mode::Cache,
            words::Mode::Pass => Mode::Pass,
        },
        policy: Policy {
            ttl: route.ttl.unwrap_or(defaults.ttl).0,
            override_upstream: route.r#override,
            negative_ttl: route.negative_ttl.unwrap_or(defaults.negative_ttl).0,
            jitter: route.jitter.unwrap_or(defaults.jitter).0,
            heuristic: route.heuristic.unwrap_or(defaults.heuristic).0,
            stale_while_revalidate: route.stale_while_revalidate.unwrap_or(defaults.stale_while_revalidate).0,
            stale_if_error: route.stale_if_error.unwrap_or(defaults.stale_if_error).0,
        },
        scope: match route.scope {
            words::Scope::Auto => Scope::Auto,
            words::Scope::Identity => Scope::Identity,
            words::Scope::Shared => Scope::Shared,
        },
        key,
        tier: match route.tier {
            words::Tier::Both => Tiers::Both,
            words::Tier::Memory => Tiers::Memory,
        },
        coalesce: match route.coalesce {
            words::Coalesce::Off => Coalesce::Off,
            words::Coalesce::Instance => Coalesce::Instance,
            words::Coalesce::Cluster => Coalesce::Cluster,
        },
        tags,
        invalidates,
        when_cut_off: match route.when_cut_off {
            words::WhenCutOff::Serve => WhenCutOff::Serve,
            words::WhenCutOff::Bypass => WhenCutOff::Bypass,
        },
        settle: route.settle.0,
        write_through: route.write_through,
    })
}

/// What holds where no route matches: `[defaults]`, and else what a route has that leaves everything out.
fn unrouted(defaults: &Defaults) -> Option<Route> {
    let Defaults {
        ttl: Period(ttl),
        negative_ttl: Period(negative_ttl),
        jitter: Percent(jitter),
        heuristic: Percent(heuristic),
        stale_while_revalidate: Period(stale_while_revalidate),
        stale_if_error: Period(stale_if_error),
    } = *defaults;
    Some(Route {
        name: Arc::from(UNROUTED),
        pattern: "/{*rest}".parse().ok()?,
        methods: vec![Method::GET, Method::HEAD],
        mode: Mode::default(),
        policy: Policy {
            ttl,
            override_upstream: false,
            negative_ttl,
            jitter,
            heuristic,
            stale_while_revalidate,
            stale_if_error,
        },
        scope: Scope::default(),
        key: KeyParts::default(),
        tier: Tiers::default(),
        coalesce: Coalesce::default(),
        tags: Vec::new(),
        invalidates: Vec::new(),
        when_cut_off: WhenCutOff::default(),
        settle: Duration::ZERO,
        write_through: false,
    })
}

fn route_name(text: Option<&str>, path: &KeyPath, written: &mut Written) -> Option<String> {
    let name = name("route", text, path, written)?;
    if name == UNROUTED {
        let wrong = format!(
            "name of a route: \"{UNROUTED}\" is what requests are counted under that no route matches; take another name"
        );
        written.note(&path.join("name"), Point::Value, wrong);
        return None;
    }
    Some(name)
}

fn too_many_tags(count: usize, bounds: &Invalidation, path: &KeyPath, written: &mut Written) {
    let most = bounds.max_entry_tags;
    if count > bounds::count(most) && !written.is_spoiled(&KeyPath::of("invalidation.max_entry_tags")) {
        let message =
            format!("are {count}, more than an answer may have (invalidation.max_entry_tags, {most})");
        written.wrong(path, &message);
    }
}

fn pattern(text: Option<&str>, path: &KeyPath, written: &mut Written) -> Option<Pattern> {
    let key = path.join("match");
    let Some(text) = text else {
        let message = format!("{} has no match: say which paths it is for", written.name(path));
        written.note(&key, Point::Value, message);
        return None;
    };
    match text.parse() {
        Ok(pattern) => Some(pattern),
        Err(wrong) if written.may_show(&key) => {
            written.wrong(&key, &wrong);
            None
        }
        Err(_) => {
            written.wrong(&key, "expected a pattern such as \"/api/users/{id}\"");
            None
        }
    }
}

/// Two patterns for the same paths, neither more specific.
fn conflicts(routes: &[(KeyPath, Route)], unrouted: &Route, written: &mut Written) {
    let checked = routes.iter().map(|(_, route)| route.clone()).collect();
    let Err(conflicts) = Routes::new(checked, unrouted.clone()) else {
        return;
    };
    for conflict in conflicts {
        let (Some((first, one)), Some((second, other))) =
            (routes.get(conflict.first), routes.get(conflict.second))
        else {
            continue;
        };
        let (first_match, second_match) = (first.join("match"), second.join("match"));
        let message = format!(
            "{} matches the same paths as {} in {}{}, and neither is more specific",
            written.shown(&other.pattern.to_string(), &second_match),
            written.shown(&one.pattern.to_string(), &first_match),
            written.name(first),
            place_in_brackets(&first_match, written),
        );
        written.wrong(&second_match, &message);
    }
}

/// `by_body`: the body is part of the key.
fn methods(list: &[String], by_body: bool, path: &KeyPath, written: &mut Written) -> Vec<Method> {
    const CACHED: [Method; 4] = [Method::GET, Method::HEAD, Method::POST, Method::QUERY];
    let mut methods = Vec::new();
    for (index, text) in list.iter().enumerate() {
        let item = path.item(index);
        let found = written.shown(text, &item);
        let wrong = match CACHED.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text)) {
            Some(method) if method.as_str() == text => {
                if by_body || method == Method::GET || method == Method::HEAD {
                    methods.push(method);
                    continue;
                }
                format!("{found} is answered from the cache only with key.body = \"raw\" or \"json\"")
            }
            Some(method) if written.may_show(&item) => {
                format!("unknown method {found} (did you mean \"{method}\"?)")
            }
            _ => {
                let names = "\"GET\", \"HEAD\", \"POST\" and \"QUERY\"";
                format!("only {names} can be answered from the cache, found {found}")
            }
        };
        written.wrong_item(path, index, &wrong);
    }
    if list.is_empty() {
        written.wrong(path, "names no method; mode = \"pass\" passes everything on");
    }
    methods
}

fn key_parts(key: &Key, path: &KeyPath, written: &mut Written) -> KeyParts {
    let query = key.query.as_ref().map(|names| {
        let full = |name: &str| !name.is_empty() && !name.contains('*');
        named(names, &path.join("query"), written, "a parameter's name in full", |name| {
            full(name).then(|| name.to_owned())
        })
    });
    let ignored = "a parameter's name, with a * at its end for any ending";
    let ignore_query = named(&key.ignore_query, &path.join("ignore_query"), written, ignored, |name| {
        let stem = name.strip_suffix('*').unwrap_or(name);
        (!name.is_empty() && !stem.contains('*')).then(|| name.to_owned())
    });
    let headers = named(&key.headers, &path.join("headers"), written, "a header's name", |name| {
        name.parse::<HeaderName>().ok()
    });
    let cookies = named(&key.cookies, &path.join("cookies"), written, "a cookie's name", |name| {
        // RFC 6265, 4.1.1: a cookie's name is a token, and so is a header's.
        name.parse::<HeaderName>().ok().map(|_| name.to_owned())
    });
    if key.max_body.0 == 0 {
        written.wrong(&path.join("max_body"), "has to be above 0; body = \"none\" lets no body count");
    }
    let body = match key.body {
        Body::Ignored => BodyPart::Ignored,
        Body::Raw => BodyPart::Raw,
        Body::Json => BodyPart::Json,
    };
    KeyParts { query, ignore_query, headers, cookies, body, max_body_bytes: key.max_body.0 }
}

/// Each of the names as `read` has it; those it has not are mistakes.
fn named<T>(
    names: &[String],
    path: &KeyPath,
    written: &mut Written,
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Vec<T> {
    let mut good = Vec::new();
    for (index, name) in names.iter().enumerate() {
        if let Some(name) = read(name) {
            good.push(name);
            continue;
        }
        let item = path.item(index);
        let found = written.shown(name, &item);
        written.wrong_item(path, index, &format!("expected {expected}, found {found}"));
    }
    good
}
