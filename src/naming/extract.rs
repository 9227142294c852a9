//! `extract`: what stands at some places of a JSON text. One walk through it, without a tree of it.
//!
//! What no pointer leads to is passed over and not looked at closely: a number there may be too large for any reader. What
//! *is* read has to be well written, and nothing may follow the text. But half of a pair of surrogates, which is well written and
//! yet no text, takes only itself away: whoever may write one text in a list must not make all of it nameless. How deep it may be nested where pointers lead is
//! `serde_json`'s own limit.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::bounds::Bounds;
use super::pointer::Pointer;

/// Why nothing could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRead {
    /// It is no JSON.
    NotJson,
    /// More values, or longer ones, than there may be.
    TooMany,
}

/// What stands at each of these places, as texts: of a string itself, of numbers and of `true` and `false` what is written. All
/// else is as if nothing stood there. Each text is there once for its pointer, in their order. Where an object has a name twice,
/// both count.
pub fn extract(json: &[u8], pointers: &[&Pointer], bounds: Bounds) -> Result<Vec<Vec<String>>, NotRead> {
    // RFC 8259, 8.1. Looked at here, for what is passed over is not.
    let text = str::from_utf8(json).map_err(|_| NotRead::NotJson)?;
    let mut found = Found {
        pointers,
        texts: vec![BTreeSet::new(); pointers.len()],
        room: bounds.count_max,
        bytes_max: bounds.bytes_max,
        is_too_many: false,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let all = (0..pointers.len()).collect();
    let walked = Walk { found: &mut found, leading: all, depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match walked {
        Ok(()) => Ok(found.texts.into_iter().map(|texts| texts.into_iter().collect()).collect()),
        Err(_) if found.is_too_many => Err(NotRead::TooMany),
        Err(_) => Err(NotRead::NotJson),
    }
}

/// What was found so far.
struct Found<'p> {
    pointers: &'p [&'p Pointer],
    /// For each pointer.
    texts: Vec<BTreeSet<String>>,
    /// How many more there may be.
    room: usize,
    bytes_max: usize,
    is_too_many: bool,
}

/// The value at one place of the text.
struct Walk<'w, 'p> {
    found: &'w mut Found<'p>,
    /// The pointers whose steps up to here lead here; indices.
    leading: Vec<usize>,
    /// How many steps those are.
    depth: usize,
}

/// The name of a member: which pointers go on to it.
struct Name<'w> {
    pointers: &'w [&'w Pointer],
    leading: &'w [usize],
    depth: usize,
}

impl Found<'_> {
    fn add<E: de::Error>(&mut self, pointer: usize, text: &str) -> Result<(), E> {
        let Some(texts) = self.texts.get_mut(pointer) else { return Ok(()) };
        if texts.contains(text) {
            return Ok(());
        }
        if self.room == 0 || text.len() > self.bytes_max {
            self.is_too_many = true;
            return Err(E::custom("too many"));
        }
        self.room -= 1;
        texts.insert(text.to_owned());
        Ok(())
    }

    fn depth_of(&self, pointer: usize) -> usize {
        self.pointers.get(pointer).map_or(0, |pointer| pointer.depth())
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<(), D::Error> {
        let (ending, leading): (Vec<_>, Vec<_>) =
            self.leading.iter().partition(|pointer| self.found.depth_of(**pointer) == self.depth);
        if ending.is_empty() {
            return deserializer.deserialize_any(self);
        }
        // As it is written: read as a number, 1.10 would be 1.1, and an id of thirty digits another.
        let written = <&RawValue as de::Deserialize>::deserialize(deserializer)?.get();
        let text = match written.as_bytes().first() {
            // Half of a pair of surrogates is no text, so it is no name either; what stands beside it is.
            Some(b'"') => match unescaped(written) {
                Some(text) => text,
                None => return Ok(()),
            },
            Some(b'-' | b'0'..=b'9' | b't' | b'f') => Cow::Borrowed(written),
            // Other pointers may lead into it.
            Some(b'{' | b'[') if !leading.is_empty() => {
                self.leading = leading;
                let mut within = serde_json::Deserializer::from_str(written);
                return within.deserialize_any(self).map_err(de::Error::custom);
            }
            _ => return Ok(()),
        };
        ending.into_iter().try_for_each(|pointer| self.found.add(pointer, &text))
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { found, leading, depth } = self;
        let pointers = found.pointers;
        while let Some(leading) = members.next_key_seed(Name { pointers, leading: &leading, depth })? {
            if leading.is_empty() {
                members.next_value::<IgnoredAny>()?;
            } else {
                members.next_value_seed(Walk { found, leading, depth: depth + 1 })?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { found, leading, depth } = self;
        for index in 0_usize.. {
            let goes_on = |pointer: &&usize| {
                found.pointers.get(**pointer).is_some_and(|it| it.leads_to_element(depth, index))
            };
            let leading: Vec<_> = leading.iter().filter(goes_on).copied().collect();
            let is_there = if leading.is_empty() {
                elements.next_element::<IgnoredAny>()?.is_some()
            } else {
                elements.next_element_seed(Walk { found, leading, depth: depth + 1 })?.is_some()
            };
            if !is_there {
                break;
            }
        }
        Ok(())
    }

    // The pointers that lead here lead further: nothing is there.

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Vec<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<usize>, D::Error> {
        let written = <&RawValue as de::Deserialize>::deserialize(deserializer)?.get();
        // No pointer leads to what is no text.
        let Some(name) = unescaped(written) else { return Ok(Vec::new()) };
        let goes_on = |pointer: &&usize| {
            self.pointers.get(**pointer).is_some_and(|it| it.leads_to_member(self.depth, &name))
        };
        Ok(self.leading.iter().filter(goes_on).copied().collect())
    }
}

/// The text that is written so. None: its escapes make none.
fn unescaped(written: &str) -> Option<Cow<'_, str>> {
    let plain = written.strip_prefix('"')?.strip_suffix('"')?;
    if plain.contains('\\') {
        serde_json::from_str(written).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(plain))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const BOUNDS: Bounds = Bounds { count_max: 1000, bytes_max: 1000 };

    fn at(json: &str, pointers: &[&str], bounds: Bounds) -> Result<Vec<Vec<String>>, NotRead> {
        let pointers: Vec<Pointer> = pointers.iter().map(|text| text.parse().unwrap()).collect();
        extract(json.as_bytes(), &pointers.iter().collect::<Vec<_>>(), bounds)
    }

    #[test]
    fn what_stands_at_a_place_is_found() {
        for (json, pointer, expected) in [
            (r#"{"id":"a"}"#, "/id", &["a"][..]),
            (r#" {"data" : {"id" : 7}} "#, "/data/id", &["7"]),
            (r#"{"a":"\u00e9\n\"\/"}"#, "/a", &["é\n\"/"]),
            (r#"{"\u0061":1}"#, "/a", &["1"]),
            (r#"{"a":-1}"#, "/a", &["-1"]),
            (r#"{"a":18446744073709551616}"#, "/a", &["18446744073709551616"]),
            (r#"{"a":1.10}"#, "/a", &["1.10"]),
            (r#"{"a":1E5}"#, "/a", &["1E5"]),
            (r#"{"a":true}"#, "/a", &["true"]),
            (r#"{"a":false}"#, "/a", &["false"]),
            (r#"{"a":""}"#, "/a", &[""]),
            (r#"{"a":null}"#, "/a", &[]),
            (r#"{"a":{}}"#, "/a", &[]),
            (r#"{"a":["b"]}"#, "/a", &[]),
            (r#"{"a":"b"}"#, "/a/b", &[]),
            (r#"{"a":1}"#, "/b", &[]),
            (r#""a""#, "/a", &[]),
            ("7", "/0", &[]),
            ("null", "/a", &[]),
            (r#"{"":1}"#, "/", &["1"]),
            (r#"{"a/b":{"~":1}}"#, "/a~1b/~0", &["1"]),
            (r#"["a","b"]"#, "/1", &["b"]),
            (r#"["a","b"]"#, "/01", &[]),
            (r#"["a","b"]"#, "/-", &[]),
            (r#"{"1":"b"}"#, "/1", &["b"]),
            (r#"{"items":[{"id":2},{"id":1},{},{"id":null},3,{"id":2}]}"#, "/items/*/id", &["1", "2"]),
            ("[[1,2],[3],4]", "/*/*", &["1", "2", "3"]),
            ("[[1,2],[3]]", "/*/0", &["1", "3"]),
            (r#"{"a":{"b":1}}"#, "/a/*", &[]),
            (r#"{"a":{"*":1,"b":2}}"#, "/a/*", &["1"]),
            (r#"{"a":1,"a":2}"#, "/a", &["1", "2"]),
            (r#"{"a":"\ud800"}"#, "/a", &[]),
            (r#"{"items":[{"id":"\ud800"},{"id":"\udc00x"},{"id":"b"}]}"#, "/items/*/id", &["b"]),
            (r#"{"\ud800":{"id":1},"x":2,"a":{"\udc00":3,"id":4}}"#, "/a/id", &["4"]),
            (r#"{"a":{"b":1},"a":{"b":2}}"#, "/a/b", &["1", "2"]),
        ] {
            assert_eq!(at(json, &[pointer], BOUNDS).unwrap(), [expected], "{json} {pointer}");
        }
    }

    #[test]
    fn one_walk_serves_all_pointers_also_where_one_ends_and_another_goes_on() {
        let json = r#"{"a":[{"b":{"c":1}},{"b":2}],"d":"x"}"#;
        let found = at(json, &["/a/*/b", "/a/*/b/c", "/a/0/b/c", "/a", "/d", "/d"], BOUNDS).unwrap();
        assert_eq!(found, [vec!["2"], vec!["1"], vec!["1"], vec![], vec!["x"], vec!["x"]]);
    }

    #[test]
    fn what_is_no_json_gives_nothing() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for json in [
            "",
            " ",
            "{",
            "{\"a\":1",
            "{\"a\":1}}",
            "{\"a\":1} x",
            "{\"a\":1} {}",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":1,}",
            "{\"b\":tru}",
            "\u{feff}{}",
        ] {
            assert_eq!(at(json, &["/a"], BOUNDS), Err(NotRead::NotJson), "{json}");
        }
        assert_eq!(extract(b"{\"b\":\"\xff\"}", &[], BOUNDS), Err(NotRead::NotJson));
        assert_eq!(at(&deep, &["/a"], BOUNDS), Ok(vec![vec![]]));
    }

    #[test]
    fn how_much_may_be_found_is_bounded() {
        let bounds = |count_max, bytes_max| Bounds { count_max, bytes_max };
        for (json, bounds, expected) in [
            ("[[1,2],[3]]", bounds(3, 1), true),
            ("[[1,2],[3]]", bounds(2, 1), false),
            ("[[1,1],[1]]", bounds(2, 1), true),
            ("[[1,1],[1]]", bounds(1, 1), true),
            ("[[12]]", bounds(9, 1), false),
            ("[[\"\\u0061\"]]", bounds(9, 1), true),
            ("[[]]", bounds(0, 0), true),
            ("[[1]]", bounds(0, 9), false),
        ] {
            let found = at(json, &["/*/*"], bounds);
            assert_eq!(found.is_ok(), expected, "{json} {bounds:?}");
            assert!(expected || found == Err(NotRead::TooMany));
        }
        // Over all pointers together.
        assert_eq!(at("[1,2]", &["/0", "/1"], bounds(1, 1)), Err(NotRead::TooMany));
    }

    /// The same over a tree.
    fn reference(value: &Value, pointer: &Pointer) -> Vec<String> {
        fn walk(value: &Value, pointer: &Pointer, depth: usize, found: &mut BTreeSet<String>) {
            if depth == pointer.depth() {
                found.extend(match value {
                    Value::String(text) => Some(text.clone()),
                    Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
                    _ => None,
                });
                return;
            }
            match value {
                Value::Object(members) => {
                    for (_, value) in members.iter().filter(|(name, _)| pointer.leads_to_member(depth, name))
                    {
                        walk(value, pointer, depth + 1, found);
                    }
                }
                Value::Array(elements) => {
                    let all = elements.iter().enumerate();
                    for (_, value) in all.filter(|(index, _)| pointer.leads_to_element(depth, *index)) {
                        walk(value, pointer, depth + 1, found);
                    }
                }
                _ => {}
            }
        }
        let mut found = BTreeSet::new();
        walk(value, pointer, 0, &mut found);
        found.into_iter().collect()
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-c\"\\\\/\u{e9}]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-c01*]", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_a_tree_would(
            value in json(),
            pointers in prop::collection::vec("(/[a-c01*]){1,5}", 0..6),
            is_pretty in any::<bool>(),
        ) {
            let text = if is_pretty { format!("{value:#}") } else { value.to_string() };
            let pointers: Vec<Pointer> = pointers.iter().map(|text| text.parse().unwrap()).collect();
            let found = extract(text.as_bytes(), &pointers.iter().collect::<Vec<_>>(), BOUNDS).unwrap();
            let expected: Vec<_> = pointers.iter().map(|pointer| reference(&value, pointer)).collect();
            prop_assert_eq!(found, expected);
        }

        /// … and finds nothing else in what is read at all.
        #[test]
        fn noise_does_it_no_harm(
            noise in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                "[\\[\\]{}:,\"\\\\a-b0-1.eu \\-*tn]{0,40}".prop_map(String::into_bytes),
            ],
            pointers in prop::collection::vec("(/[a-b01*]){1,3}", 0..4),
        ) {
            let pointers: Vec<Pointer> = pointers.iter().map(|text| text.parse().unwrap()).collect();
            let found = extract(&noise, &pointers.iter().collect::<Vec<_>>(), BOUNDS);
            if serde_json::from_slice::<IgnoredAny>(&noise).is_err() {
                prop_assert_eq!(found, Err(NotRead::NotJson));
            }
        }

        #[test]
        fn a_pointer_is_read_back(text in "\\PC{0,20}") {
            if let Ok(pointer) = text.parse::<Pointer>() {
                prop_assert_eq!(pointer.to_string(), text);
            }
        }
    }
}
