//! `Written` → `File`: every value as what its key takes, all misfits at once.
//!
//! serde stops at the first misfit, so it is asked again without it, up to a bound. The words are made here, in one
//! place, because only here is known whether a value may be quoted.

use super::document::Point;
use super::file::File;
use super::mistakes::{did_you_mean, meant};
use super::path::KeyPath;
use super::schema;
use super::unavailable;
use super::written::{MISTAKES_MAX, Written};
use figment::error::{Actual, Kind};

/// What was written, without what does not fit.
pub(super) fn read(written: &mut Written) -> File {
    for _ in 0..MISTAKES_MAX {
        let error = match written.root.deserialize::<File>() {
            Ok(file) => return file,
            Err(error) => error,
        };
        let path = KeyPath::from_parts(error.path.clone());
        let message = describe(written, &path, &error.kind);
        written.note(&path, Point::Value, message);
        if !written.spoil(&path) {
            break;
        }
    }
    // Nothing more can be said that would not be a consequence of the above.
    written.spoil(&KeyPath::root());
    File::default()
}

fn describe(written: &Written, path: &KeyPath, kind: &Kind) -> String {
    let (actual, expected) = match kind {
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            (actual, expected.as_str())
        }
        // No other kind arises from these structs once unknown keys are gone.
        other => return format!("{}{other}", written.about(path)),
    };
    let words = written.keys.words(path);
    if let Actual::Str(word) = actual
        && !words.is_empty()
        && unavailable::is_word(&path.without_indices(), word)
        && written.may_show(path)
    {
        let key = path.parts().iter().skip(2).map(String::as_str).collect::<Vec<_>>().join(".");
        return written.not_available(path, &format!("{key} = \"{word}\""));
    }
    let suggestion = match actual {
        Actual::Str(word) if written.may_show(path) => did_you_mean(meant(word, &words)),
        _ => String::new(),
    };
    let expected = match written.keys.kind(path) {
        Some(schema::Kind::Tables) => "tables in double brackets ([[…]])",
        _ => in_words(expected),
    };
    // A URL with a password may well stand where a table is wanted.
    let is_misplaced = expected == A_TABLE && matches!(actual, Actual::Str(_));
    let found = found(actual, written.may_show(path) && !is_misplaced);
    format!("{}expected {expected}, found {found}{suggestion}", written.about(path))
}

const A_TABLE: &str = "a table";

/// serde's names for types, in words for who writes TOML.
fn in_words(expected: &str) -> &str {
    match expected {
        "u32" => "a whole number from 0 to 4294967295",
        "a boolean" => "true or false",
        "a sequence" => "a list such as [\"a\", \"b\"]",
        "a string" => "text in quotes",
        "a map" => A_TABLE,
        other if other.starts_with("struct ") => A_TABLE,
        other => other,
    }
}

fn found(actual: &Actual, may_show: bool) -> String {
    /// Enough to recognise what one has written.
    const LETTERS_MAX: usize = 60;
    match actual {
        Actual::Seq => "a list".into(),
        Actual::Map => "a table".into(),
        Actual::Str(_) if !may_show => "something else (not shown)".into(),
        _ if !may_show => "something that is not text".into(),
        Actual::Bool(flag) => flag.to_string(),
        Actual::Unsigned(number) => number.to_string(),
        Actual::Signed(number) => number.to_string(),
        Actual::Float(number) => number.to_string(),
        Actual::Str(text) if text.chars().count() > LETTERS_MAX => {
            let start: String = text.chars().take(LETTERS_MAX).collect();
            format!("{start:?}…")
        }
        Actual::Str(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}
