//! What is worth a second look in what is said of invalidations; a part of `warnings`, and like it.

use super::settings::Settings;
use crate::hooks::{Hook, Proof};
use crate::naming::{Piece, Template};
use crate::proxy::route::{KeyParts, Mode, Route, Scope, WhenCutOff};

/// A shorter secret can be found by trying.
const SECRET_BYTES_MIN: usize = 16;

pub(super) fn of_route(route: &Route, settings: &Settings, found: &mut Vec<String>) {
    let name = &route.name;
    if route.mode == Mode::Pass {
        for (key, is_written) in [("tags", !route.tags.is_empty()), ("write_through", route.write_through)] {
            if is_written {
                found.push(format!("route \"{name}\": {key} means nothing with mode = \"pass\""));
            }
        }
        return;
    }
    if route.when_cut_off == WhenCutOff::Bypass && settings.redis.is_none() {
        found.push(format!(
            "route \"{name}\": when_cut_off = \"bypass\" means nothing without Redis, which alone can be cut off",
        ));
    }
    let mut told: Vec<&Piece> = Vec::new();
    for piece in route.tags.iter().flat_map(Template::pieces) {
        if !told.contains(&piece)
            && let Some(why) = tells_too_little(piece, route)
        {
            found.push(format!("route \"{name}\": \"{piece}\" in its tags {why}"));
            told.push(piece);
        }
    }
}

/// An entry bears the tags of the request that fetched it. Whoever else is given it may have asked for something else.
fn tells_too_little(piece: &Piece, route: &Route) -> Option<&'static str> {
    match piece {
        Piece::Identity if route.scope == Scope::Shared => {
            Some("stands for nobody, since with scope = \"shared\" everybody shares one answer")
        }
        Piece::Header(name) if !route.key.headers.contains(name) => Some(
            "is of whoever asked first, and others share that answer: put it in key.headers, unless the upstream names it in Vary",
        ),
        Piece::Query(name) if !counts(name, &route.key) => {
            Some("is of whoever asked first, and others share that answer: let it count in key")
        }
        _ => None,
    }
}

/// Whether this parameter tells one request from another.
fn counts(name: &str, key: &KeyParts) -> bool {
    let is_ignored = |ignored: &String| match ignored.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => ignored == name,
    };
    match &key.query {
        Some(names) if !names.iter().any(|counted| counted == name) => false,
        _ => !key.ignore_query.iter().any(is_ignored),
    }
}

pub(super) fn of_hook(hook: &Hook, found: &mut Vec<String>) {
    // What is no key of Standard Webhooks, or too short a one, is a mistake.
    let (Proof::GitHub(secrets) | Proof::Bearer(secrets)) = &hook.proof else {
        return;
    };
    if secrets.iter().any(|secret| secret.expose().len() < SECRET_BYTES_MIN) {
        found.push(format!(
            "hook \"{}\": a secret has fewer than {SECRET_BYTES_MIN} bytes, so it can be found by trying",
            hook.name,
        ));
    }
}
