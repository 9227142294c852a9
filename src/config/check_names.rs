//! What routes and hooks are called: well, and each by a name of its own.

use super::document::Point;
use super::mistakes::Place;
use super::path::KeyPath;
use super::written::Written;
use std::collections::BTreeMap;

/// A name becomes a label in metrics and part of a path of the admin listener.
const LETTERS_MAX: usize = 64;

/// The name of one; none: a mistake was noted.
pub(super) fn name(kind: &str, name: Option<&str>, path: &KeyPath, written: &mut Written) -> Option<String> {
    let key = path.join("name");
    let Some(name) = name else {
        let message = format!("{} has no name", written.name(path));
        written.note(&key, Point::Value, message);
        return None;
    };
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    // A dot or two are no part of a path.
    let is_well = name.chars().all(plain) && name.chars().any(|letter| letter != '.');
    if is_well && name.len() <= LETTERS_MAX {
        return Some(name.to_owned());
    }
    let found = written.shown(name, &key);
    let expected =
        format!("expected 1 to {LETTERS_MAX} letters, digits, \"_\", \".\" or \"-\", found {found}");
    written.note(&key, Point::Value, format!("name of a {kind}: {expected}"));
    None
}

/// Tags, metrics and the admin listener know each by its name.
pub(super) fn same_names<'n>(
    kind: &str,
    names: impl Iterator<Item = Option<&'n str>>,
    written: &mut Written,
) {
    let mut taken = BTreeMap::new();
    for (index, name) in names.enumerate() {
        let Some(name) = name else {
            continue;
        };
        let key = KeyPath::of(kind).item(index).join("name");
        if let Some(first) = taken.get(name) {
            let (found, there) = (written.shown(name, &key), place_in_brackets(first, written));
            let message = format!("name of a {kind}: {found} is taken already{there}");
            written.note(&key, Point::Value, message);
        } else {
            taken.insert(name, key);
        }
    }
}

/// ` (larder.toml:3:8)`
pub(super) fn place_in_brackets(path: &KeyPath, written: &Written) -> String {
    match written.place(path, Point::Value) {
        Place::Nowhere => String::new(),
        place => format!(" ({place})"),
    }
}
