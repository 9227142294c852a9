//! `Pointer`: a place in a JSON text (RFC 6901), where `*` stands for every element of an array.
//!
//! In an object `*` is the member of that name, as in the RFC, so that each pointer of the RFC leads where it always did. The
//! empty one is none here: it is the whole text, which is no name of anything.

use std::fmt;
use std::str::FromStr;

/// Steps of one pointer; also how deep `extract` follows one.
const STEPS_MAX: usize = 64;
/// Bytes of one pointer.
const BYTES_MAX: usize = 1024;

/// A place, or several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pointer {
    /// Their escapes undone; at least one.
    steps: Vec<String>,
}

impl Pointer {
    /// How many steps lead there.
    pub(super) fn depth(&self) -> usize {
        self.steps.len()
    }

    /// Whether its step from this depth leads to the member of that name.
    pub(super) fn leads_to_member(&self, depth: usize, name: &str) -> bool {
        self.steps.get(depth).is_some_and(|step| step == name)
    }

    /// Whether its step from this depth leads to the element at that index.
    pub(super) fn leads_to_element(&self, depth: usize, index: usize) -> bool {
        self.steps.get(depth).is_some_and(|step| step == "*" || index_of(step) == Some(index))
    }
}

/// RFC 6901, 4: "0", or digits without a leading "0".
fn index_of(step: &str) -> Option<usize> {
    let is_number = step.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = is_number && (step == "0" || !step.starts_with('0'));
    is_plain.then(|| step.parse().ok()).flatten()
}

impl FromStr for Pointer {
    /// What is wrong with it, for a person.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(
                "a pointer can't be empty, that is the whole text; say where, such as \"/data/id\"".into()
            );
        }
        if text.len() > BYTES_MAX {
            return Err(format!("a pointer may have at most {BYTES_MAX} bytes, this one has {}", text.len()));
        }
        let Some(tail) = text.strip_prefix('/') else {
            let hint = if text.contains('/') { text.to_owned() } else { text.replace('.', "/") };
            return Err(format!("the pointer \"{text}\" must begin with \"/\" (did you mean \"/{hint}\"?)"));
        };
        let steps = tail.split('/').map(|step| unescaped(step, text)).collect::<Result<Vec<_>, _>>()?;
        if steps.len() > STEPS_MAX {
            return Err(format!(
                "a pointer may have at most {STEPS_MAX} steps, this one has {}",
                steps.len()
            ));
        }
        Ok(Self { steps })
    }
}

/// RFC 6901, 3: "~1" is "/", and "~0" is "~".
fn unescaped(step: &str, pointer: &str) -> Result<String, String> {
    let mut pieces = step.split('~');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (letter, rest) = match piece.split_at_checked(1) {
            Some(("0", rest)) => ('~', rest),
            Some(("1", rest)) => ('/', rest),
            _ => {
                return Err(format!(
                    "the pointer \"{pointer}\" has a \"~\" of its own; write \"~0\" for \"~\" and \"~1\" for \"/\""
                ));
            }
        };
        plain.push(letter);
        plain.push_str(rest);
    }
    Ok(plain)
}

/// As it was written.
impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| write!(f, "/{}", step.replace('~', "~0").replace('/', "~1")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_written_as_it_is_read() {
        for (text, steps) in [
            ("/id", &["id"][..]),
            ("/data/id", &["data", "id"]),
            ("/", &[""]),
            ("/a/", &["a", ""]),
            ("/items/*/id", &["items", "*", "id"]),
            ("/a~1b/c~0d", &["a/b", "c~d"]),
            ("/~01", &["~1"]),
            ("/é/0", &["é", "0"]),
        ] {
            let pointer: Pointer = text.parse().unwrap();
            assert_eq!(pointer.steps, steps, "{text}");
            assert_eq!(pointer.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("", "can't be empty"),
            ("id", "must begin with \"/\" (did you mean \"/id\"?)"),
            ("data.id", "(did you mean \"/data/id\"?)"),
            ("a.b/c", "(did you mean \"/a.b/c\"?)"),
            ("/a~", "write \"~0\""),
            ("/a~2", "write \"~0\""),
            ("/~é", "write \"~0\""),
            (&"/a".repeat(65), "at most 64 steps, this one has 65"),
            (&format!("/{}", "a".repeat(1024)), "at most 1024 bytes, this one has 1025"),
        ] {
            let wrong = text.parse::<Pointer>().unwrap_err();
            assert!(wrong.contains(expected), "{text}: {wrong}");
        }
    }

    #[test]
    fn an_index_is_written_in_one_way() {
        for (step, expected) in
            [("0", Some(0)), ("10", Some(10)), ("01", None), ("", None), ("-", None), ("+1", None)]
        {
            assert_eq!(index_of(step), expected, "{step}");
        }
        assert_eq!(index_of("99999999999999999999999"), None);
    }
}
