//! What is shown of a configuration: the table that `larder check` prints, and the JSON of `GET /config`.

use super::file::File;
use super::hidden::SET;
use super::path::KeyPath;
use super::settings::Settings;
use super::words::Period;
use crate::naming::Template;
use crate::proxy::route::{BodyPart, KeyParts, Mode, Route, Scope};
use serde_json::Value;
use std::collections::BTreeSet;

const HEADINGS: [&str; 8] = ["route", "match", "methods", "mode", "ttl", "scope", "key", "tags"];

/// The routes in order of precedence, then what holds for the rest.
pub(super) fn table(settings: &Settings) -> String {
    let mut routes: Vec<&Route> = settings.routes.iter().collect();
    routes.sort_by_cached_key(|route| precedence(&route.pattern.to_string()));
    let mut rows = vec![HEADINGS.map(String::from)];
    rows.extend(routes.into_iter().map(|route| row(route, route.pattern.to_string())));
    rows.push(row(&settings.unrouted, "(all others)".into()));
    let mut widths = [0; HEADINGS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Every key with the value that is in force, secrets as `(set)`.
pub(super) fn blanked(file: &File, hidden: &BTreeSet<KeyPath>) -> Value {
    let mut file = file.clone();
    for route in &mut file.route {
        route.ttl.get_or_insert(file.defaults.ttl);
        route.negative_ttl.get_or_insert(file.defaults.negative_ttl);
        route.jitter.get_or_insert(file.defaults.jitter);
        route.heuristic.get_or_insert(file.defaults.heuristic);
        route.stale_while_revalidate.get_or_insert(file.defaults.stale_while_revalidate);
        route.stale_if_error.get_or_insert(file.defaults.stale_if_error);
        route.tags.get_or_insert_default();
        route.invalidates.get_or_insert_default();
    }
    for hook in &mut file.hook {
        hook.tags.get_or_insert_default();
    }
    // Maps with text for keys, and words: nothing that JSON could not hold.
    let mut shown = serde_json::to_value(&file).unwrap_or_default();
    for path in hidden {
        let member = path.parts().iter().try_fold(&mut shown, |value, part| match value {
            Value::Object(members) => members.get_mut(part),
            Value::Array(items) => items.get_mut(part.parse::<usize>().ok()?),
            _ => None,
        });
        if let Some(member) = member {
            *member = Value::from(SET);
        }
    }
    shown
}

fn row(route: &Route, pattern: String) -> [String; HEADINGS.len()] {
    let mode = match route.mode {
        Mode::Cache => "cache",
        Mode::Pass => {
            return [
                route.name.to_string(),
                pattern,
                "all".into(),
                "pass".into(),
                "-".into(),
                "-".into(),
                "-".into(),
                "-".into(),
            ];
        }
    };
    let methods: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
    let over = if route.policy.override_upstream { " (override)" } else { "" };
    let ttl = match route.policy.ttl {
        ttl if ttl.is_zero() => "upstream's".to_owned(),
        ttl => Period(ttl).to_string(),
    };
    let scope = match route.scope {
        Scope::Auto => "auto",
        Scope::Identity => "identity",
        Scope::Shared => "shared",
    };
    [
        route.name.to_string(),
        pattern,
        methods.join(" "),
        mode.into(),
        format!("{ttl}{over}"),
        scope.into(),
        key(&route.key),
        tags(&route.tags),
    ]
}

fn tags(tags: &[Template]) -> String {
    if tags.is_empty() {
        return "-".to_owned();
    }
    tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn key(key: &KeyParts) -> String {
    let mut parts = match &key.query {
        None => vec!["query".to_owned()],
        Some(names) if names.is_empty() => vec!["no query".to_owned()],
        Some(names) => vec![format!("query {}", names.join(" "))],
    };
    if !key.ignore_query.is_empty() {
        parts.push(format!("without {}", key.ignore_query.join(" ")));
    }
    if !key.headers.is_empty() {
        let names: Vec<&str> = key.headers.iter().map(http::HeaderName::as_str).collect();
        parts.push(format!("headers {}", names.join(" ")));
    }
    if !key.cookies.is_empty() {
        parts.push(format!("cookies {}", key.cookies.join(" ")));
    }
    match key.body {
        BodyPart::Ignored => {}
        BodyPart::Raw => parts.push("body raw".to_owned()),
        BodyPart::Json => parts.push("body json".to_owned()),
    }
    parts.join(", ")
}

/// Segment by segment: as written, before any one, before all the rest.
fn precedence(pattern: &str) -> Vec<u8> {
    let rank = |segment: &str| match segment {
        rest if rest.starts_with("{*") => 2,
        one if one.contains('{') => 1,
        _ => 0,
    };
    pattern.split('/').map(rank).collect()
}
