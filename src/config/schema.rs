//! The JSON Schema of the configuration, and what this module itself asks of it: which keys a table has, what type
//! a key is, which keys are secrets.
//!
//! It is made from `file`'s structs, so there is one list of keys. Subschemas are written out in place, which lets
//! `Keys` find a key by walking its path.

use super::file::File;
use super::path::KeyPath;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The JSON Schema of the configuration, for editors.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = Value::from(settings.into_generator().into_root_schema_for::<File>());
    tidy(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), "larder.toml".into());
        root.insert("description".into(), "The configuration of Larder.".into());
    }
    schema
}

/// The schema, asked by path.
pub(super) struct Keys(Value);

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Flag,
    Integer,
    List,
    Text,
    Table,
    /// `[[…]]`
    Tables,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self(schema())
    }

    /// What the key at `path` takes; none: there is no such key.
    pub(super) fn kind(&self, path: &KeyPath) -> Option<Kind> {
        let node = self.node(path)?;
        // What may be a text or a list is given as a text.
        Some(match node.get("type")?.as_str().unwrap_or("string") {
            "boolean" => Kind::Flag,
            "integer" => Kind::Integer,
            "object" => Kind::Table,
            "array" if node.pointer("/items/properties").is_some() => Kind::Tables,
            "array" => Kind::List,
            _ => Kind::Text,
        })
    }

    /// The keys of the table at `path`; none: it is not a table.
    pub(super) fn of_table(&self, path: &KeyPath) -> Option<Vec<&str>> {
        let properties = self.node(path)?.get("properties")?.as_object()?;
        Some(properties.keys().map(String::as_str).collect())
    }

    /// The words that may be written at `path`, if they are given.
    pub(super) fn words(&self, path: &KeyPath) -> Vec<&str> {
        let words = self.node(path).and_then(|node| node.get("enum")?.as_array());
        words.map(|words| words.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }

    /// Whether what is written at `path` must not be shown.
    pub(super) fn is_secret(&self, path: &KeyPath) -> bool {
        let is_secret = |node: &Value| node.get("writeOnly") == Some(&Value::Bool(true));
        // A list of secrets is one.
        self.node(path).is_some_and(|node| is_secret(node) || node.get("items").is_some_and(is_secret))
    }

    /// Every key of the tables at the top (`[server]`, …) that holds a value.
    pub(super) fn in_sections(&self) -> Vec<KeyPath> {
        let mut found = Vec::new();
        for section in self.of_table(&KeyPath::root()).unwrap_or_default() {
            let section = KeyPath::root().join(section);
            for key in self.of_table(&section).unwrap_or_default() {
                let key = section.join(key);
                match self.of_table(&key) {
                    Some(keys) => found.extend(keys.into_iter().map(|inner| key.join(inner))),
                    None => found.push(key),
                }
            }
        }
        found
    }

    fn node(&self, path: &KeyPath) -> Option<&Value> {
        path.parts().iter().try_fold(&self.0, |node, part| match node.get("properties") {
            Some(properties) => properties.get(part),
            None => node.get("items"),
        })
    }
}

/// TOML has no null, and a sentence is one line.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("default").is_some_and(|default| default.is_null() || default.is_object()) {
                members.remove("default");
            }
            // The widths of Rust's integers mean nothing to who writes TOML.
            if members.get("type").is_some_and(Value::is_string)
                || members.get("type").is_some_and(Value::is_array)
            {
                members.remove("format");
            }
            if let Some(Value::Array(types)) = members.get("type") {
                let named: Vec<Value> = types.iter().filter(|name| *name != "null").cloned().collect();
                let types = if let [only] = &named[..] { only.clone() } else { Value::Array(named) };
                members.insert("type".into(), types);
            }
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            }
            members.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
