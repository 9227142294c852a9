//! All that was written, merged: file, then environment, then flags; and the mistakes found in it so far.
//!
//! The passes over it (`unknown keys`, `references`, `read`, `check`) note a mistake and *spoil* the key it is about: the key
//! is taken out, so that the next pass goes on with the rest, and says nothing more about it. So one wrong value
//! makes one mistake, and all are found at once.

use super::document::{Document, Point};
use super::given::Given;
use super::mistakes::{Mistake, Place, did_you_mean, meant};
use super::path::KeyPath;
use super::schema::Keys;
use super::unavailable;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use std::collections::BTreeSet;
use std::path::Path;

/// Who has made a hundred mistakes will read again anyway.
pub(super) const MISTAKES_MAX: usize = 100;

/// What was written, and what is wrong with it.
pub(super) struct Written {
    pub(super) root: Value,
    pub(super) keys: Keys,
    figment: Figment,
    document: Option<Document>,
    mistakes: Vec<Mistake>,
    spoiled: BTreeSet<KeyPath>,
    /// Read through `env:` or `file:`: not to be shown.
    hidden: BTreeSet<KeyPath>,
}

struct FromFile(Dict);

impl Provider for FromFile {
    fn metadata(&self) -> Metadata {
        Metadata::named("the file")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.0.clone()))
    }
}

impl Written {
    /// Later ones of `given` win over earlier ones, and all over the file.
    pub(super) fn merge(
        keys: Keys,
        document: Option<(Document, Dict)>,
        given: Vec<Given>,
        mistakes: Vec<Mistake>,
    ) -> Self {
        let (document, dict) = document.unzip();
        let file = Figment::new().merge(FromFile(dict.unwrap_or_default()));
        let figment = given.into_iter().fold(file, Figment::merge);
        // None of the providers fails; `Figment` would only pass their failures on.
        let root = figment.data().ok().and_then(|mut data| data.remove(&Profile::Default));
        Self {
            root: Value::from(root.unwrap_or_default()),
            keys,
            figment,
            document,
            mistakes,
            spoiled: BTreeSet::new(),
            hidden: BTreeSet::new(),
        }
    }

    /// Whether something stands there.
    pub(super) fn has(&self, path: &KeyPath) -> bool {
        path.find(&self.root).is_some()
    }

    /// Notes a mistake about the value at `path`: `server.listen: {message}`.
    pub(super) fn wrong(&mut self, path: &KeyPath, message: &str) {
        let message = format!("{}{message}", self.about(path));
        self.note(path, Point::Value, message);
    }

    /// The same about one item of the list at `path`.
    pub(super) fn wrong_item(&mut self, path: &KeyPath, index: usize, message: &str) {
        let message = format!("{}{message}", self.about(path));
        self.note(&path.item(index), Point::Value, message);
    }

    /// Notes a mistake in its own words. What is spoiled has had its mistake.
    pub(super) fn note(&mut self, path: &KeyPath, point: Point, message: String) {
        if self.is_spoiled(path) || self.mistakes.len() >= MISTAKES_MAX {
            return;
        }
        let place = self.place(path, point);
        self.mistakes.push(Mistake { place, message });
    }

    /// Takes the value out. False: there is none.
    pub(super) fn spoil(&mut self, path: &KeyPath) -> bool {
        let Some(parent) = path.parent() else {
            self.spoiled.insert(path.clone());
            return false;
        };
        match parent.find_mut(&mut self.root) {
            Some(Value::Dict(_, members)) => {
                self.spoiled.insert(path.clone());
                members.remove(path.last()).is_some()
            }
            // The indices of the others must hold: the list goes as a whole.
            Some(Value::Array(..)) => self.spoil(&parent),
            _ => false,
        }
    }

    pub(super) fn is_spoiled(&self, path: &KeyPath) -> bool {
        let mut around = Some(path.clone());
        while let Some(path) = around {
            if self.spoiled.contains(&path) {
                return true;
            }
            around = path.parent();
        }
        false
    }

    /// Puts what an `env:` or `file:` stood for in its place.
    pub(super) fn resolve(&mut self, path: &KeyPath, text: String) {
        if let Some(Value::String(_, written)) = path.find_mut(&mut self.root) {
            *written = text;
        }
        self.hidden.insert(path.clone());
    }

    /// Whether the value there may be quoted.
    pub(super) fn may_show(&self, path: &KeyPath) -> bool {
        !self.keys.is_secret(path) && !self.hidden.contains(path)
    }

    pub(super) fn into_hidden(self) -> BTreeSet<KeyPath> {
        self.hidden
    }

    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes
    }

    pub(super) fn has_mistakes(&self) -> bool {
        !self.mistakes.is_empty()
    }

    /// The text in quotes, unless it must not be shown.
    pub(super) fn shown(&self, text: &str, path: &KeyPath) -> String {
        if self.may_show(path) { format!("{text:?}") } else { "what is referred to (not shown)".to_owned() }
    }

    /// What relative paths in the value at `path` start from: the folder of the file it stands in.
    pub(super) fn folder(&self, path: &KeyPath) -> &Path {
        match &self.document {
            Some(document) if self.giver(path).is_none() => document.folder(),
            _ => Path::new(""),
        }
    }

    /// Where the value at `path` was written.
    pub(super) fn place(&self, path: &KeyPath, point: Point) -> Place {
        match (self.giver(path), &self.document) {
            (Some(name), _) => Place::Given(name),
            (None, Some(document)) => document.place(path, point),
            (None, None) => Place::Nowhere,
        }
    }

    /// What a message about the value at `path` begins with: its name, unless the place says it already.
    pub(super) fn about(&self, path: &KeyPath) -> String {
        match self.giver(path) {
            Some(_) => String::new(),
            None => format!("{}: ", self.name(path)),
        }
    }

    /// How a person calls the key: `server.listen`, `ttl in route "user"`.
    pub(super) fn name(&self, path: &KeyPath) -> String {
        match path.parts() {
            [table, index, rest @ ..] if is_list(table) && !rest.is_empty() => {
                format!("{} in {}", rest.join("."), self.item_name(table, index))
            }
            [table, index] if is_list(table) => self.item_name(table, index),
            _ => path.dotted(),
        }
    }

    /// Refuses what no table has, and what is not available yet.
    pub(super) fn refuse_unknown_keys(&mut self) {
        let mut unknown = Vec::new();
        collect_unknown(&self.root, &KeyPath::root(), &self.keys, &mut unknown);
        for path in unknown {
            let table = path.parent().unwrap_or_default();
            let known = self.keys.of_table(&table).unwrap_or_default();
            let mut meant = meant(path.last(), &known).map(String::from);
            let message = if unavailable::is_key(&path.without_indices()) {
                meant = None;
                self.not_available(&path, &format!("\"{}\"", path.last()))
            } else {
                let place = self.in_table(&table);
                let suggestion = did_you_mean(meant.as_deref());
                format!("unknown key \"{}\"{place}{suggestion}", path.last())
            };
            self.note(&path, Point::Key, message);
            self.spoil(&path);
            // Who misspelt a key has not left it out.
            if let Some(meant) = meant.map(|meant| table.join(&meant)).filter(|meant| !self.has(meant)) {
                self.spoiled.insert(meant);
            }
        }
    }

    /// `what` is how the key or word is quoted where the path does not say it better.
    pub(super) fn not_available(&self, path: &KeyPath, what: &str) -> String {
        match path.parts() {
            [table, index, ..] if is_list(table) => {
                format!("in {}: {what} is not available yet", self.item_name(table, index))
            }
            _ => format!("\"{}\" is not available yet", path.dotted()),
        }
    }

    /// ` in route "user"`
    fn in_table(&self, table: &KeyPath) -> String {
        match table.parts() {
            [] => String::new(),
            [name, index, rest @ ..] if is_list(name) && !rest.is_empty() => {
                format!(" in {} of {}", rest.join("."), self.item_name(name, index))
            }
            [name, ..] if is_list(name) => format!(" in {}", self.name(table)),
            _ => format!(" in [{}]", table.dotted()),
        }
    }

    /// `route "user"`, or `route 2` while it has no name.
    fn item_name(&self, table: &str, index: &str) -> String {
        let name = KeyPath::of(table).join(index).join("name");
        match name.find(&self.root) {
            Some(Value::String(_, text)) if self.may_show(&name) => format!("{table} {text:?}"),
            _ => format!("{table} {}", index.parse::<usize>().map_or(0, |index| index + 1)),
        }
    }

    /// The variable or flag that the value at `path` came from; none: the file, or nobody.
    fn giver(&self, path: &KeyPath) -> Option<String> {
        let value = path.find(&self.root)?;
        let giver = self.figment.get_metadata(value.tag())?;
        let name = giver.name.as_ref();
        (name != "the file" && !matches!(value, Value::Dict(..))).then(|| name.to_owned())
    }
}

/// Whether it is a table of which there may be many, each with its name.
fn is_list(table: &str) -> bool {
    matches!(table, "route" | "hook")
}

fn collect_unknown(value: &Value, path: &KeyPath, keys: &Keys, unknown: &mut Vec<KeyPath>) {
    match value {
        Value::Dict(_, members) => {
            let Some(known) = keys.of_table(path) else {
                return;
            };
            for (name, member) in members {
                let path = path.join(name);
                if known.contains(&name.as_str()) {
                    collect_unknown(member, &path, keys, unknown);
                } else {
                    unknown.push(path);
                }
            }
        }
        Value::Array(_, items) => {
            for (index, item) in items.iter().enumerate() {
                collect_unknown(item, &path.item(index), keys, unknown);
            }
        }
        _ => {}
    }
}
