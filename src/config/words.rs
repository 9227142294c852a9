//! The words a configuration is written in: `"5m"`, `"64KB"`, `"5%"`, `"auto"`. Secrets are in `hidden`.
//!
//! Each reads itself and says what it had expected; `read` turns that into a sentence with a place. Bare numbers are
//! refused where a unit belongs, since `5` could be seconds, minutes or milliseconds.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// A duration: `"250ms"`, `"5m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period(pub Duration);

/// A number of bytes: `"64KB"`, `"1GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub u64);

/// A share of one: `"5%"` is 0.05.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Percent(pub f64);

const PERIOD: &str = "a duration such as \"250ms\" or \"5m\"";
const SIZE: &str = "a size such as \"64KB\" or \"1GB\"";
const PERCENT: &str = "a percentage such as \"5%\", from \"0%\" to \"100%\"";

/// Longer than any cached answer or timeout means; short enough that no sum of times overflows.
const PERIOD_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// More than any machine has; short enough that no sum of sizes overflows.
const SIZE_MAX: u64 = 1 << 50;

impl Period {
    pub(super) const ZERO: Self = Self(Duration::ZERO);

    pub(super) const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    pub(super) const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // "1h 30m" is read back as well as "1h30m", and this is what people write.
        let text = humantime::format_duration(self.0).to_string();
        f.write_str(&text.replace(' ', ""))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 8] = [
            (1_000_000_000_000, "TB"),
            (1 << 40, "TiB"),
            (1_000_000_000, "GB"),
            (1 << 30, "GiB"),
            (1_000_000, "MB"),
            (1 << 20, "MiB"),
            (1000, "KB"),
            (1 << 10, "KiB"),
        ];
        match UNITS.iter().find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Six digits after the point are more than a share is ever written with, and hide the binary fraction.
        let text = format!("{:.6}", self.0 * 100.0);
        write!(f, "{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// How a word is read from a string.
trait Word: Sized {
    const EXPECTED: &'static str;
    /// What a bare number lacks.
    const HINT: &'static str;
    fn parse(text: &str) -> Result<Self, &'static str>;
}

impl Word for Period {
    const EXPECTED: &'static str = PERIOD;
    const HINT: &'static str = "a duration with its unit, such as \"250ms\" or \"5m\"";
    fn parse(text: &str) -> Result<Self, &'static str> {
        match humantime::parse_duration(text.trim()) {
            Ok(duration) if duration <= PERIOD_MAX => Ok(Self(duration)),
            Ok(_) => Err("a duration of at most ten years"),
            Err(_) => Err(PERIOD),
        }
    }
}

impl Word for Size {
    const EXPECTED: &'static str = SIZE;
    const HINT: &'static str = "a size with its unit, such as \"64KB\" or \"1GB\"";
    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text != "0" && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Self::HINT);
        }
        match text.parse::<bytesize::ByteSize>() {
            Ok(size) if size.as_u64() <= SIZE_MAX => Ok(Self(size.as_u64())),
            Ok(_) => Err("a size of at most 1PiB"),
            Err(_) => Err(SIZE),
        }
    }
}

impl Word for Percent {
    const EXPECTED: &'static str = PERCENT;
    const HINT: &'static str = "a percentage with its sign, such as \"5%\"";
    fn parse(text: &str) -> Result<Self, &'static str> {
        let number = text.trim().strip_suffix('%').ok_or(PERCENT)?;
        match number.trim_end().parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Self(percent / 100.0)),
            _ => Err(PERCENT),
        }
    }
}

struct WordVisitor<W>(std::marker::PhantomData<W>);

impl<W: Word> Visitor<'_> for WordVisitor<W> {
    type Value = W;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(W::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<W, E> {
        W::parse(text).map_err(|expected| E::invalid_value(Unexpected::Str(text), &expected))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<W, E> {
        Err(E::invalid_type(Unexpected::Unsigned(number), &W::HINT))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<W, E> {
        Err(E::invalid_type(Unexpected::Signed(number), &W::HINT))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<W, E> {
        Err(E::invalid_type(Unexpected::Float(number), &W::HINT))
    }
}

macro_rules! word_in_a_string {
    ($($word:ident: $example:literal),*) => {$(
        impl<'de> Deserialize<'de> for $word {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(WordVisitor(std::marker::PhantomData))
            }
        }

        impl Serialize for $word {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $word {
            fn schema_name() -> Cow<'static, str> {
                stringify!($word).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "examples": [$example] })
            }
        }
    )*};
}

word_in_a_string!(Period: "5m", Size: "64KB", Percent: "5%");

/// A text, a number or a flag, or a list of such; as texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OneOrMore(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts {
            may_be_list: bool,
        }
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMore;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a whole number, true or false")?;
                if self.may_be_list { f.write_str(", or a list of such") } else { Ok(()) }
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![text.to_owned()]))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![number.to_string()]))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![number.to_string()]))
            }
            fn visit_bool<E: Error>(self, flag: bool) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![flag.to_string()]))
            }
            // One and a half is 1.5 to one sender and 1.50 to the next.
            fn visit_f64<E: Error>(self, number: f64) -> Result<OneOrMore, E> {
                Err(E::invalid_type(
                    Unexpected::Float(number),
                    &"the number in quotes, as the sender writes it",
                ))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMore, A::Error> {
                if !self.may_be_list {
                    return Err(A::Error::invalid_type(Unexpected::Seq, &self));
                }
                let mut found = Vec::new();
                while let Some(OneOrMore(item)) = items.next_element_seed(Texts { may_be_list: false })? {
                    found.extend(item);
                }
                Ok(OneOrMore(found))
            }
        }
        impl<'de> DeserializeSeed<'de> for Texts {
            type Value = OneOrMore;
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<OneOrMore, D::Error> {
                deserializer.deserialize_any(self)
            }
        }
        deserializer.deserialize_any(Texts { may_be_list: true })
    }
}

impl Serialize for OneOrMore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for OneOrMore {
    fn schema_name() -> Cow<'static, str> {
        "OneOrMore".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let item = json_schema!({ "type": ["string", "integer", "boolean"] });
        json_schema!({ "type": ["string", "integer", "boolean", "array"], "items": item })
    }
}

/// An enum whose variants are words. Not derived: figment would take `mode = 0` for the first variant.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident: $($variant:ident = $word:literal),+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name { $($variant),+ }

        impl $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];

            pub(super) fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Words;
                impl Visitor<'_> for Words {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(&[$(concat!("\"", $word, "\"")),+].join(" or "))
                    }
                    fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                        let found = $name::WORDS.iter().find(|(word, _)| *word == text);
                        found
                            .map(|(_, value)| *value)
                            .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
                    }
                }
                deserializer.deserialize_any(Words)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "enum": [$($word),+] })
            }
        }
    };
}

choice!(/** `mode` */ Mode: Cache = "cache", Pass = "pass");
choice!(/** `scope` */ Scope: Auto = "auto", Identity = "identity", Shared = "shared");
choice!(/** `coalesce` */ Coalesce: Off = "off", Instance = "instance", Cluster = "cluster");
choice!(/** `tier` */ Tier: Both = "both", Memory = "memory");
choice!(/** `redis.mode` */ RedisMode: Standalone = "standalone", Cluster = "cluster", Sentinel = "sentinel");
choice!(/** `redis.cipher` */ Cipher: Aes256Gcm = "aes-256-gcm", ChaCha20Poly1305 = "chacha20-poly1305");
choice!(/** `redis.compress.algorithm` */ Compression: Zstd = "zstd", Off = "off");
choice!(/** `when_cut_off` */ WhenCutOff: Serve = "serve", Bypass = "bypass");
choice!(/** `verify` of a hook */ Verify: Standard = "standard", GitHub = "github", Bearer = "bearer");
choice!(/** `wait` of a hook */ Wait: Own = "self", Log = "log", All = "all");
choice!(/** `upstream.host` */ HostField: Client = "client", Upstream = "upstream");
choice!(/** `key.body` */ Body: Ignored = "none", Raw = "raw", Json = "json");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_shown_alike() {
        let periods = ["250ms", "5m", "1h30m", "0s", "10s"];
        for text in periods {
            assert_eq!(Period::parse(text).unwrap().to_string(), text);
        }
        for (text, bytes) in
            [("64KB", 64_000), ("64KiB", 65_536), ("1GB", 1_000_000_000), ("7B", 7), ("0B", 0)]
        {
            let size = Size::parse(text).unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, text));
        }
        for text in ["5%", "0%", "100%", "0.1%", "12.5%"] {
            assert_eq!(Percent::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_has_no_unit_or_no_bound_is_refused() {
        for text in ["5", "", "5 apples", "-1s", "1000000y", "\u{e9}"] {
            assert!(Period::parse(text).is_err(), "{text}");
        }
        for text in ["64", "", "KB", "-1KB", "9999999TB", "1.2.3MB"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
        for text in ["5", "", "%", "-1%", "101%", "NaN%", "inf%"] {
            assert!(Percent::parse(text).is_err(), "{text}");
        }
    }
}
