//! What an answer says that it is called, in the fields of those who purge by tags: `Surrogate-Key` and `xkey`, separated by
//! spaces; `Cache-Tag`, by commas; `Cache-Groups` (RFC 9875). All of them are read, whichever the upstream sends.
//!
//! Invariant: a name is whole. One too many, or one that is too long, is not left out: what can't be called by it could not be
//! purged by it.

use http::{HeaderMap, HeaderName};
use sfv::ListEntry;

use super::groups::CACHE_GROUPS;
use super::structured::list;

const BY_SPACES: [HeaderName; 2] =
    [HeaderName::from_static("surrogate-key"), HeaderName::from_static("xkey")];
const BY_COMMAS: HeaderName = HeaderName::from_static("cache-tag");

/// The names, each as often as it is said. None: there are more of them, or longer ones, than there may be.
pub fn names(answer: &HeaderMap, count_max: usize, bytes_max: usize) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut add = |name: &[u8]| {
        if name.is_empty() {
            return true;
        }
        let fits = names.len() < count_max && name.len() <= bytes_max;
        if fits {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
        fits
    };
    for field in &BY_SPACES {
        for line in answer.get_all(field) {
            if !line.as_bytes().split(|byte| matches!(byte, b' ' | b'\t')).all(&mut add) {
                return None;
            }
        }
    }
    for line in answer.get_all(&BY_COMMAS) {
        if !line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).all(&mut add) {
            return None;
        }
    }
    if answer.contains_key(&CACHE_GROUPS) {
        for member in list(answer, &CACHE_GROUPS) {
            // RFC 9875, 2: the field "is a List of Strings"; a member of another type names no group.
            let ListEntry::Item(item) = member else { continue };
            let Some(name) = item.bare_item.as_string() else { continue };
            if !add(name.as_str().as_bytes()) {
                return None;
            }
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::example::headers;

    #[test]
    fn every_field_is_read_in_its_own_way() {
        for (fields, expected) in [
            (&[][..], &[][..]),
            (&[("surrogate-key", "a  b,c\td")], &["a", "b,c", "d"]),
            (&[("xkey", "a"), ("xkey", "b c")], &["a", "b", "c"]),
            (&[("cache-tag", "a b , c,,d")], &["a b", "c", "d"]),
            (&[("cache-groups", "\"a b\", c, \"d\"")], &["a b", "d"]),
            (&[("cache-groups", "\"a b"), ("cache-tag", "x")], &["x"]),
            (&[("surrogate-key", "a"), ("cache-tag", "a")], &["a", "a"]),
        ] {
            assert_eq!(names(&headers(fields), 9, 9).unwrap(), expected, "{fields:?}");
        }
    }

    #[test]
    fn one_too_many_or_too_long_is_not_left_out() {
        for (value, fits) in [("a b", true), ("a b c", false), ("abc", true), ("abcd", false)] {
            assert_eq!(names(&headers(&[("surrogate-key", value)]), 2, 3).is_some(), fits, "{value}");
        }
        assert!(names(&headers(&[("cache-groups", "\"abcd\"")]), 2, 3).is_none());
        assert!(names(&headers(&[("cache-tag", "a,b,c")]), 2, 3).is_none());
    }
}
