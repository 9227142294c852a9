//! The file: its text, its values as figment takes them, and where each of its keys and values stands.
//!
//! Read by `toml_edit` alone, so that what is refused and where it is found are decided by one parser. figment's own
//! TOML provider knows neither lines nor TOML 1.1.

use super::mistakes::{Mistake, Place};
use super::path::KeyPath;
use figment::value::{Dict, Value};
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml_edit::{Item, TableLike};

/// A configuration of a thousand routes is a tenth of this.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A file that was read and understood as TOML.
pub(super) struct Document {
    file: PathBuf,
    text: String,
    spans: BTreeMap<KeyPath, Span>,
}

/// What of a key is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    Key,
    Value,
}

struct Span {
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

impl Document {
    /// The document and what it says.
    pub(super) fn read(file: &Path) -> Result<(Self, Dict), Mistake> {
        let whole =
            |message: String| Mistake { place: Place::File { file: file.to_owned(), at: None }, message };
        let mut bytes = Vec::new();
        let opened = std::fs::File::open(file);
        opened
            .and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| whole(format!("can't be read: {error}")))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(whole(format!("is longer than {FILE_BYTES_MAX} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            at(file, &valid, valid.len(), "is not UTF-8 from here on".into())
        })?;
        Self::parse(file, text)
    }

    /// The document and what it says.
    pub(super) fn parse(file: &Path, text: String) -> Result<(Self, Dict), Mistake> {
        let parsed = toml_edit::Document::parse(text.as_str()).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let message = error.message().trim().replace('\n', ", ");
            at(file, &text, start, format!("not TOML: {message}"))
        })?;
        let mut spans = BTreeMap::new();
        let dict = table(&KeyPath::root(), parsed.as_table(), &mut spans);
        let document = Self { file: file.to_owned(), spans, text };
        Ok((document, dict))
    }

    /// Where that key stands, or the nearest table around it that is written.
    pub(super) fn place(&self, path: &KeyPath, point: Point) -> Place {
        let mut wanted = Some((path.clone(), point));
        while let Some((path, point)) = wanted {
            let start = self.spans.get(&path).and_then(|span| match point {
                Point::Key => span.key.as_ref().or(span.value.as_ref()),
                Point::Value => span.value.as_ref().or(span.key.as_ref()),
            });
            if let Some(start) = start {
                return Place::File {
                    file: self.file.clone(),
                    at: Some(line_and_column(&self.text, start.start)),
                };
            }
            // What is missing is missed in the table that should have it.
            wanted = path.parent().map(|parent| (parent, Point::Value));
        }
        Place::File { file: self.file.clone(), at: None }
    }

    /// The folder that relative paths in it start from.
    pub(super) fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}

fn at(file: &Path, text: &str, offset: usize, message: String) -> Mistake {
    Mistake { place: Place::File { file: file.to_owned(), at: Some(line_and_column(text, offset)) }, message }
}

/// Counted from 1, in characters.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut before = String::from_utf8_lossy(&text.as_bytes()[..offset.min(text.len())]);
    if let Some(rest) = before.strip_prefix('\u{feff}') {
        before = rest.to_owned().into();
    }
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}

fn table(path: &KeyPath, table: &dyn TableLike, spans: &mut BTreeMap<KeyPath, Span>) -> Dict {
    let mut dict = Dict::new();
    for (name, item) in table.iter() {
        let path = path.join(name);
        let span = Span { key: table.key(name).and_then(toml_edit::Key::span), value: item.span() };
        spans.insert(path.clone(), span);
        if let Some(value) = of_item(&path, item, spans) {
            dict.insert(name.to_owned(), value);
        }
    }
    dict
}

fn of_item(path: &KeyPath, item: &Item, spans: &mut BTreeMap<KeyPath, Span>) -> Option<Value> {
    Some(match item {
        Item::None => return None,
        Item::Value(value) => of_value(path, value, spans),
        Item::Table(members) => Value::from(table(path, members, spans)),
        Item::ArrayOfTables(tables) => {
            let mut items = Vec::new();
            for (index, members) in tables.iter().enumerate() {
                let path = path.item(index);
                let span = Span { key: None, value: members.span() };
                spans.insert(path.clone(), span);
                items.push(Value::from(table(&path, members, spans)));
            }
            Value::from(items)
        }
    })
}

fn of_value(path: &KeyPath, value: &toml_edit::Value, spans: &mut BTreeMap<KeyPath, Span>) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::from(text.value().as_str()),
        toml_edit::Value::Integer(number) => Value::from(*number.value()),
        toml_edit::Value::Float(number) => Value::from(*number.value()),
        toml_edit::Value::Boolean(flag) => Value::from(*flag.value()),
        // No key takes one; as text it is refused where it stands, in the words of that key.
        toml_edit::Value::Datetime(time) => Value::from(time.value().to_string()),
        toml_edit::Value::Array(array) => {
            let mut items = Vec::new();
            for (index, item) in array.iter().enumerate() {
                let path = path.item(index);
                let span = Span { key: None, value: item.span() };
                spans.insert(path.clone(), span);
                items.push(of_value(&path, item, spans));
            }
            Value::from(items)
        }
        toml_edit::Value::InlineTable(members) => Value::from(table(path, members, spans)),
    }
}
