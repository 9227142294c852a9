//! Secrets as they are written.
//!
//! They have no `Debug` and no serialised form that would show them, and their schema says `writeOnly`, which is how the rest of
//! this module knows which keys not to quote.

use crate::secret::Secret;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// A secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hidden(pub Secret);

/// Secrets: one text, several with commas between them, or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HiddenList(pub Vec<Secret>);

/// Secrets of others, which may have commas in them: one text or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HiddenTexts(pub Vec<Secret>);

/// What stands for a secret wherever the configuration is shown.
pub(super) const SET: &str = "(set)";

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SET)
    }
}

impl JsonSchema for Hidden {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "writeOnly": true, "examples": ["env:NAME", "file:PATH"] })
    }
}

/// One text, as it is, or a list.
struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<Secret>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text in quotes or a list of such")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<Secret>, E> {
        Ok(vec![Secret::new(text.to_owned())])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Secret>, A::Error> {
        let mut found = Vec::new();
        while let Some(text) = items.next_element::<String>()? {
            found.push(Secret::new(text));
        }
        Ok(found)
    }
}

impl<'de> Deserialize<'de> for HiddenTexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Texts).map(Self)
    }
}

impl<'de> Deserialize<'de> for HiddenList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WithCommas;
        impl<'de> Visitor<'de> for WithCommas {
            type Value = Vec<Secret>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Texts.expecting(f)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Vec<Secret>, E> {
                Ok(text.split(',').map(|text| Secret::new(text.trim().to_owned())).collect())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Vec<Secret>, A::Error> {
                Texts.visit_seq(items)
            }
        }
        deserializer.deserialize_any(WithCommas).map(Self)
    }
}

macro_rules! secrets {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(SET)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let item = json_schema!({ "type": "string", "writeOnly": true });
                json_schema!({ "type": ["string", "array"], "items": item, "writeOnly": true })
            }
        }
    )*};
}

secrets!(HiddenList, HiddenTexts);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_nothing() {
        let secret = Hidden(Secret::new("squirrel".into()));
        assert!(!format!("{secret:?}").contains("squirrel"));
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"(set)\"");
    }
}
