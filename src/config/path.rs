//! `KeyPath`: where a key stands, such as `server.listen` or `route.1.ttl`.
//!
//! A list of names rather than a text with dots, since a key in quotes may hold dots itself.

use figment::value::Value;

/// From the top of the configuration down to one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath(Vec<String>);

impl KeyPath {
    pub(super) fn root() -> Self {
        Self::default()
    }

    /// `server.listen`; for keys known to have no dots.
    pub(super) fn of(text: &str) -> Self {
        Self(text.split('.').map(String::from).collect())
    }

    pub(super) fn from_parts(parts: Vec<String>) -> Self {
        Self(parts)
    }

    pub(super) fn join(&self, key: &str) -> Self {
        let mut parts = self.0.clone();
        parts.push(key.to_owned());
        Self(parts)
    }

    pub(super) fn item(&self, index: usize) -> Self {
        self.join(&index.to_string())
    }

    pub(super) fn parts(&self) -> &[String] {
        &self.0
    }

    pub(super) fn parent(&self) -> Option<Self> {
        let (_, parent) = self.0.split_last()?;
        Some(Self(parent.to_vec()))
    }

    pub(super) fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    pub(super) fn dotted(&self) -> String {
        self.0.join(".")
    }

    /// The same without indices: `route.ttl` for `route.1.ttl`.
    pub(super) fn without_indices(&self) -> String {
        let names = self.0.iter().filter(|part| part.parse::<usize>().is_err());
        names.map(String::as_str).collect::<Vec<_>>().join(".")
    }

    /// What stands there.
    pub(super) fn find<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(root, |value, part| match value {
            Value::Dict(_, members) => members.get(part),
            Value::Array(_, items) => items.get(part.parse::<usize>().ok()?),
            _ => None,
        })
    }

    pub(super) fn find_mut<'v>(&self, root: &'v mut Value) -> Option<&'v mut Value> {
        self.0.iter().try_fold(root, |value, part| match value {
            Value::Dict(_, members) => members.get_mut(part),
            Value::Array(_, items) => items.get_mut(part.parse::<usize>().ok()?),
            _ => None,
        })
    }
}
