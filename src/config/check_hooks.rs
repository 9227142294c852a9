//! `[[hook]]` → the hooks, in the order of the file.
//!
//! Secrets are never quoted. A hook that could never change anything, or that anybody could call, is a mistake.

use super::bounds::between;
use super::check_names::{name, same_names};
use super::check_routes::SETTLE_MAX;
use super::document::Point;
use super::file::{File, Hook as HookAsWritten};
use super::mistakes::{did_you_mean, meant};
use super::path::KeyPath;
use super::templates::{of_message, of_message_as_path, templates};
use super::words::{self, Verify};
use super::written::Written;
use crate::hooks::{Hook, Proof, Says, TIMEOUT_MAX, standard_key};
use crate::invalidation::Wait;
use crate::naming::{Pointer, Template};
use crate::proxy::route::UNROUTED;
use crate::secret::Secret;
use std::time::Duration;

/// A shorter key of Standard Webhooks can be found by trying; its senders make 24.
const KEY_BYTES_MIN: usize = 16;

pub(super) fn check(file: &File, written: &mut Written) -> Vec<Hook> {
    same_names("hook", file.hook.iter().map(|hook| hook.name.as_deref()), written);
    let first = KeyPath::of("hook").item(0);
    if !file.hook.is_empty()
        && file.server.admin == "off"
        && !written.is_spoiled(&KeyPath::of("server.admin"))
    {
        let message = format!("{} would come in on the admin listener, which is off", written.name(&first));
        written.note(&first, Point::Value, message);
    }
    let hooks = file.hook.iter().enumerate();
    hooks
        .filter_map(|(index, hook)| check_hook(hook, file, &KeyPath::of("hook").item(index), written))
        .collect()
}

fn check_hook(hook: &HookAsWritten, file: &File, path: &KeyPath, written: &mut Written) -> Option<Hook> {
    let name = name("hook", hook.name.as_deref(), path, written);
    let secrets = secrets(hook, path, written);
    let when = when(hook, path, written);
    let says = says(hook, path, written);
    known_routes(&hook.routes, file, &path.join("routes"), written);
    between(hook.settle, &(Duration::ZERO..=SETTLE_MAX), &path.join("settle"), written);
    between(hook.timeout, &(Duration::from_millis(1)..=TIMEOUT_MAX), &path.join("timeout"), written);
    Some(Hook {
        name: name?.into(),
        proof: match hook.verify {
            Verify::Standard => Proof::Standard(secrets),
            Verify::GitHub => Proof::GitHub(secrets),
            Verify::Bearer => Proof::Bearer(secrets),
        },
        when,
        says,
        soft: hook.soft,
        settle: hook.settle.0,
        wait: match hook.wait {
            words::Wait::Own => Wait::Own,
            words::Wait::Log => Wait::Log,
            words::Wait::All => Wait::All,
        },
        timeout: hook.timeout.0,
    })
}

fn secrets(hook: &HookAsWritten, path: &KeyPath, written: &mut Written) -> Vec<Secret> {
    let key = path.join("secret");
    let Some(list) = &hook.secret else {
        let message = format!("{} has no secret: anybody could send it", written.name(path));
        written.note(&key, Point::Value, message);
        return Vec::new();
    };
    if list.0.is_empty() {
        written.wrong(&key, "is an empty list: nobody could be the sender");
    }
    // What kind of secret it should be is unknown then.
    let verify = (!written.is_spoiled(&path.join("verify"))).then_some(hook.verify);
    let mut secrets: Vec<Secret> = Vec::new();
    for (index, secret) in list.0.iter().enumerate() {
        if secrets.contains(secret) {
            written.wrong_item(&key, index, "is listed twice");
        } else if let Some(wrong) = wrong_secret(secret, verify) {
            written.wrong_item(&key, index, &wrong);
        } else {
            secrets.push(secret.clone());
        }
    }
    secrets
}

/// Whether a sender could not prove itself by it, or anybody could.
fn wrong_secret(secret: &Secret, verify: Option<Verify>) -> Option<String> {
    let text = secret.expose();
    if text.trim().is_empty() {
        return Some("is empty, which anybody could guess".into());
    }
    match verify? {
        Verify::Standard => match standard_key(secret) {
            Ok(key) if key.len() < KEY_BYTES_MIN => {
                Some(format!("has fewer than {KEY_BYTES_MIN} bytes, so it can be found by trying"))
            }
            Ok(_) => None,
            Err(expected) => Some(format!("expected {expected}")),
        },
        Verify::Bearer if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Some("has characters that a header can't bear (spaces, control characters, beyond ASCII)".into())
        }
        Verify::Bearer | Verify::GitHub => None,
    }
}

fn when(hook: &HookAsWritten, path: &KeyPath, written: &mut Written) -> Vec<(Pointer, Vec<String>)> {
    let mut conditions = Vec::new();
    for (text, texts) in &hook.when {
        let key = path.join("when").join(text);
        match text.parse() {
            _ if texts.0.is_empty() => written.wrong(&key, "is an empty list: no message would ever count"),
            Ok(pointer) => conditions.push((pointer, texts.0.clone())),
            Err(wrong) => {
                let message = format!("when in {}: {wrong}", written.name(path));
                written.note(&key, Point::Key, message);
            }
        }
    }
    conditions
}

fn says(hook: &HookAsWritten, path: &KeyPath, written: &mut Written) -> Says {
    let mut of = |key: &str, list: &[String], wrong: fn(&Template) -> Option<String>| {
        templates(list, &path.join(key), written, wrong)
    };
    let says = Says {
        tags: of("tags", hook.tags.as_deref().unwrap_or_default(), of_message),
        paths: of("paths", &hook.paths, of_message_as_path),
        prefixes: of("prefixes", &hook.prefixes, of_message_as_path),
        routes: of("routes", &hook.routes, of_message),
        identities: of("identities", &hook.identities, of_message),
        all: hook.all,
    };
    let keys = ["tags", "paths", "prefixes", "routes", "identities", "all"];
    // Of what was not understood nobody knows what it would have said.
    let is_told = keys.iter().any(|key| written.is_spoiled(&path.join(key)));
    let lists = [hook.tags.as_ref(), Some(&hook.paths), Some(&hook.prefixes), Some(&hook.routes)];
    let is_silent = lists.into_iter().flatten().chain([&hook.identities]).all(Vec::is_empty) && !hook.all;
    if is_silent && !is_told {
        let message = format!("{} says nothing: it needs one of {}", written.name(path), keys.join(", "));
        written.note(path, Point::Value, message);
    }
    says
}

/// A route whose name is written out has to be there.
fn known_routes(named: &[String], file: &File, path: &KeyPath, written: &mut Written) {
    let routes: Vec<&str> = file.route.iter().filter_map(|route| route.name.as_deref()).collect();
    // One of those without a name may be the one that is meant.
    if routes.len() < file.route.len() || written.is_spoiled(&KeyPath::of("route")) {
        return;
    }
    for (index, name) in named.iter().enumerate() {
        let is_template = name.is_empty() || name.contains(['{', '}']);
        if is_template || name == UNROUTED || routes.contains(&name.as_str()) {
            continue;
        }
        let item = path.item(index);
        let suggestion =
            if written.may_show(&item) { did_you_mean(meant(name, &routes)) } else { String::new() };
        let found = written.shown(name, &item);
        written.wrong_item(path, index, &format!("there is no route {found}{suggestion}"));
    }
}
