//! What is given beside the file: `LARDER_…` variables and flags, each as one value for one key.
//!
//! A variable is a key only if it has `__` after its section (`LARDER_REDIS__ENABLED`): others that begin with `LARDER_` are
//! secrets for `env:`, or what Kubernetes sets for a service called larder. A value's type is that of its key, so a
//! token of digits stays a text. Routes and hooks are written in the file only.

use super::mistakes::{Mistake, Place, meant};
use super::path::KeyPath;
use super::schema::{Keys, Kind};
use super::unavailable;
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use std::collections::BTreeSet;

/// One value for one key. The name is how a person knows where it came from.
pub(super) struct Given {
    pub(super) name: String,
    path: KeyPath,
    value: Value,
}

impl Provider for Given {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = self
            .path
            .parts()
            .iter()
            .rev()
            .fold(self.value.clone(), |value, part| Value::from(Dict::from([(part.clone(), value)])));
        let dict = nested.into_dict().unwrap_or_default();
        Ok(Profile::Default.collect(dict))
    }
}

/// The variables that are keys. `referenced`: those that an `env:` names, which may be called anything.
pub(super) fn from_environment(
    environment: &[(String, String)],
    referenced: &BTreeSet<String>,
    keys: &Keys,
    mistakes: &mut Vec<Mistake>,
) -> Vec<Given> {
    let in_sections = keys.in_sections();
    let mut given = Vec::new();
    for (variable, text) in environment {
        let Some(rest) = variable.strip_prefix("LARDER_") else {
            continue;
        };
        let name = format!("environment: {variable}");
        let rest = rest.to_lowercase();
        if !rest.contains("__") {
            let alike = in_sections.iter().find(|key| key.parts().join("_") == rest);
            if let Some(key) = alike.filter(|_| !referenced.contains(variable)) {
                mistakes.push(Mistake {
                    place: Place::Given(name),
                    message: format!("sets nothing (did you mean {}?)", variable_of(key)),
                });
            }
            continue;
        }
        if text.contains(char::REPLACEMENT_CHARACTER) {
            mistakes.push(Mistake { place: Place::Given(name), message: "is not UTF-8".to_owned() });
            continue;
        }
        let path = KeyPath::of(&rest.replace("__", "."));
        match understood(&path, keys, variable_of) {
            Ok(kind) => given.push(Given { name, path, value: typed(kind, text) }),
            Err(message) => mistakes.push(Mistake { place: Place::Given(name), message }),
        }
    }
    given
}

/// The flags, in their order: a later one wins.
pub(super) fn from_flags(flags: &[(String, String)], keys: &Keys, mistakes: &mut Vec<Mistake>) -> Vec<Given> {
    let mut given = Vec::new();
    for (key, text) in flags {
        let name = format!("--set {key}");
        let path = KeyPath::of(key);
        match understood(&path, keys, |path| format!("\"{}\"", path.dotted())) {
            Ok(kind) => given.push(Given { name, path, value: typed(kind, text) }),
            Err(message) => mistakes.push(Mistake { place: Place::Given(name), message }),
        }
    }
    given
}

/// What the key takes, or why it can't be given here.
fn understood(path: &KeyPath, keys: &Keys, spelled: impl Fn(&KeyPath) -> String) -> Result<Kind, String> {
    let table = path.parts().first().map_or("", String::as_str);
    match keys.kind(path) {
        _ if unavailable::is_key(&path.without_indices()) => {
            Err(format!("\"{}\" is not available yet", path.dotted()))
        }
        _ if matches!(table, "route" | "hook") => Err(format!("{table}s are written in the file")),
        Some(Kind::Table | Kind::Tables) => Err("is a table, name one of its keys".into()),
        Some(kind) => Ok(kind),
        None => {
            let dotted = path.dotted();
            let known: Vec<(String, KeyPath)> =
                keys.in_sections().into_iter().map(|key| (key.dotted(), key)).collect();
            let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
            let meant = meant(&dotted, &names).map(|name| spelled(&KeyPath::of(name)));
            let hint = meant.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
            Err(format!("unknown key \"{dotted}\"{hint}"))
        }
    }
}

fn variable_of(key: &KeyPath) -> String {
    format!("LARDER_{}", key.parts().join("__").to_uppercase())
}

/// The text as what its key takes. What does not fit stays text, and is refused in the words of that key.
fn typed(kind: Kind, text: &str) -> Value {
    let trimmed = text.trim();
    match kind {
        Kind::Flag => trimmed.parse::<bool>().map(Value::from).unwrap_or(Value::from(text)),
        Kind::Integer => trimmed.parse::<i64>().map(Value::from).unwrap_or(Value::from(text)),
        Kind::List => list(trimmed).unwrap_or(Value::from(text)),
        Kind::Text | Kind::Table | Kind::Tables => Value::from(text),
    }
}

/// `["a", "b"]` or `a, b`.
fn list(text: &str) -> Option<Value> {
    if text.starts_with('[') {
        let array = text.parse::<toml_edit::Value>().ok()?;
        let items = array.as_array()?.iter().map(|item| match item.as_integer() {
            Some(number) => Some(Value::from(number)),
            None => item.as_str().map(Value::from),
        });
        return items.collect::<Option<Vec<Value>>>().map(Value::from);
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Some(Value::from(items.map(Value::from).collect::<Vec<_>>()))
}
