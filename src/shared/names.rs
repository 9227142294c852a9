//! What our keys and our channel are called there.
//!
//! All names of one resource have its key in braces, which is what a cluster chooses their slot by: they lie together, so that one
//! command may read several of them.

use super::tier::{Landed, Name, News};
use crate::object::Key;

/// Makes names.
#[derive(Debug)]
pub(crate) struct Names {
    namespace: String,
}

/// `outcome, base` or `outcome, base, variant`.
const KEY_BYTES: usize = 32;

const KEPT: u8 = 1;
const NOT_SHARED: u8 = 2;
const FAILED: u8 = 3;

impl Names {
    pub(crate) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned() }
    }

    /// Of a value.
    pub(super) fn value(&self, name: &Name) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.namespace.len() + 4 * KEY_BYTES + 16);
        text.extend_from_slice(self.namespace.as_bytes());
        text.extend_from_slice(b":{");
        hex(&mut text, &name.base);
        text.push(b'}');
        if let Some(variant) = &name.variant {
            text.push(b':');
            hex(&mut text, variant);
        }
        text
    }

    /// Of the lease to fetch that value.
    pub(super) fn lease(&self, name: &Name) -> Vec<u8> {
        let mut text = self.value(name);
        text.extend_from_slice(b":lease");
        text
    }

    /// Of the log.
    pub(crate) fn log(&self) -> String {
        format!("{}:log", self.namespace)
    }

    /// Of what instances say of themselves, and agree on: it lies where the log does.
    pub(crate) fn instances(&self) -> String {
        format!("{0}:{{{0}:log}}:instances", self.namespace)
    }

    /// Of the channel.
    pub(super) fn channel(&self) -> String {
        format!("{}:news", self.namespace)
    }
}

/// What is said on the channel when a lease is given back.
pub(super) fn message(name: &Name, landed: Landed) -> Vec<u8> {
    let mut message = Vec::with_capacity(1 + 2 * KEY_BYTES);
    message.push(match landed {
        Landed::Kept => KEPT,
        Landed::NotShared => NOT_SHARED,
        Landed::Failed => FAILED,
    });
    message.extend_from_slice(name.base.bytes());
    message.extend(name.variant.iter().flat_map(Key::bytes));
    message
}

/// What was said; none: it is not one of ours.
pub(super) fn news(message: &[u8]) -> Option<News> {
    let (outcome, keys) = message.split_first()?;
    let landed = match *outcome {
        KEPT => Landed::Kept,
        NOT_SHARED => Landed::NotShared,
        FAILED => Landed::Failed,
        _ => return None,
    };
    let (base, variant) = keys.split_first_chunk::<KEY_BYTES>()?;
    let variant = match variant {
        [] => None,
        variant => Some(Key::from_bytes(variant.try_into().ok()?)),
    };
    Some(News::Landed(Name { base: Key::from_bytes(*base), variant }, landed))
}

fn hex(text: &mut Vec<u8>, key: &Key) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 2 * KEY_BYTES];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(key.bytes()) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    text.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::from_bytes([byte; KEY_BYTES])
    }

    #[test]
    fn all_names_of_a_resource_have_its_key_in_braces() {
        let names = Names::new("shop");
        let base = Name { base: key(0xa1), variant: None };
        let variant = Name { variant: Some(key(0x2f)), ..base };
        let tag = format!("{{{}}}", "a1".repeat(32));
        assert_eq!(names.value(&base), format!("shop:{tag}").into_bytes());
        assert_eq!(names.value(&variant), format!("shop:{tag}:{}", "2f".repeat(32)).into_bytes());
        assert_eq!(names.lease(&base), format!("shop:{tag}:lease").into_bytes());
        assert_eq!((names.log(), names.channel()), ("shop:log".to_owned(), "shop:news".to_owned()));
        assert_eq!(names.instances(), "shop:{shop:log}:instances");
    }

    #[test]
    fn what_is_said_is_what_is_heard_and_noise_is_nothing() {
        for variant in [None, Some(key(2))] {
            for landed in [Landed::Kept, Landed::NotShared, Landed::Failed] {
                let name = Name { base: key(1), variant };
                assert_eq!(news(&message(&name, landed)), Some(News::Landed(name, landed)));
            }
        }
        for noise in [&[][..], &[1], &[1; 32], &[1; 34], &[1; 64], &[1; 66], &[7; 33]] {
            assert_eq!(news(noise), None, "{noise:?}");
        }
    }
}
