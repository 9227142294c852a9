//! `env:NAME` and `file:PATH`: values that stand elsewhere, so that secrets need not stand in the configuration.
//!
//! Any text may be written so. What was read this way is shown by nothing, even where its key is no secret.

use super::path::KeyPath;
use super::written::Written;
use figment::value::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

/// Secrets and lists of certificates are shorter.
const REFERENCE_BYTES_MAX: u64 = 1 << 20;

/// Puts what they stand for in the place of all references.
pub(super) fn resolve(written: &mut Written, environment: &[(String, String)]) {
    let mut found = Vec::new();
    collect(&written.root, &KeyPath::root(), &mut found);
    for (path, text) in found {
        let read = match text.split_once(':') {
            Some(("env", name)) => variable(name, environment),
            Some(("file", name)) => file(&written.folder(&path).join(name)),
            _ => continue,
        };
        match read {
            Ok(text) => written.resolve(&path, text),
            Err(message) => {
                written.wrong(&path, &message);
                written.spoil(&path);
            }
        }
    }
}

/// The variables that are referred to.
pub(super) fn variables<'v>(values: impl Iterator<Item = &'v Value>) -> BTreeSet<String> {
    let mut found = Vec::new();
    for value in values {
        collect(value, &KeyPath::root(), &mut found);
    }
    found.iter().filter_map(|(_, text)| text.strip_prefix("env:")).map(String::from).collect()
}

fn variable(name: &str, environment: &[(String, String)]) -> Result<String, String> {
    let set = environment.iter().find(|(key, _)| key == name);
    let (_, value) = set.ok_or_else(|| format!("the environment has no {name}"))?;
    if value.contains(char::REPLACEMENT_CHARACTER) {
        return Err(format!("{name} in the environment is not UTF-8"));
    }
    Ok(value.clone())
}

fn file(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(REFERENCE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    if text.len() as u64 > REFERENCE_BYTES_MAX {
        return Err(format!("{} is longer than {REFERENCE_BYTES_MAX} bytes", path.display()));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn collect(value: &Value, path: &KeyPath, found: &mut Vec<(KeyPath, String)>) {
    match value {
        Value::String(_, text) if text.starts_with("env:") || text.starts_with("file:") => {
            found.push((path.clone(), text.clone()));
        }
        Value::Dict(_, members) => {
            for (name, member) in members {
                collect(member, &path.join(name), found);
            }
        }
        Value::Array(_, items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &path.item(index), found);
            }
        }
        _ => {}
    }
}
