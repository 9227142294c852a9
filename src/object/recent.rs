//! `recent`: the keys that a worker has made last of parts that hold no credential.
//!
//! A key is a digest of five blocks or so, and what everybody asks for has the same one each time.
//! Each worker, which is a thread, remembers some, with the very parts they were made of: what is given is what would be
//! computed, because the parts are held against each other byte for byte. Requests that bear a credential are not remembered: it is
//! one of their parts.

use std::cell::RefCell;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What one thread remembers; nothing until there is something.
struct Recent {
    made: Vec<Option<Made>>,
    /// How many were asked for in vain.
    passed: u32,
}

struct Made {
    /// By which secret, …
    by: u64,
    /// … of which parts.
    of: Box<[u8]>,
    digest: [u8; 32],
}

/// How many: 64 KiB in all.
const MADE_MAX: usize = 256;
/// Longer ones are computed.
const PARTS_BYTES_MAX: usize = 256;
/// One in so many that are not remembered takes the place of one that is: what is asked for often gets there soon, and what is
/// not costs next to nothing.
const TAKEN_IN: u32 = 16;

thread_local! {
    static RECENT: RefCell<Recent> = const { RefCell::new(Recent { made: Vec::new(), passed: 0 }) };
}

/// The digest that this secret has made of these parts.
pub(super) fn recall(by: u64, parts: &[u8]) -> Option<[u8; 32]> {
    if parts.len() > PARTS_BYTES_MAX {
        return None;
    }
    let recall = |recent: &RefCell<Recent>| {
        let recent = recent.borrow();
        let made = recent.made.get(place(by, parts))?.as_ref()?;
        (made.by == by && *made.of == *parts).then_some(made.digest)
    };
    RECENT.try_with(recall).ok().flatten()
}

/// It has made this of them.
pub(super) fn remember(by: u64, parts: &[u8], digest: [u8; 32]) {
    if parts.len() > PARTS_BYTES_MAX {
        return;
    }
    // Nothing where the thread is about to end.
    let _ = RECENT.try_with(|recent| {
        let mut recent = recent.borrow_mut();
        recent.passed = recent.passed.wrapping_add(1);
        if !recent.passed.is_multiple_of(TAKEN_IN) {
            return;
        }
        if recent.made.is_empty() {
            recent.made.resize_with(MADE_MAX, || None);
        }
        if let Some(place) = recent.made.get_mut(place(by, parts)) {
            *place = Some(Made { by, of: parts.into(), digest });
        }
    });
}

fn place(by: u64, parts: &[u8]) -> usize {
    usize::try_from(xxh3_64_with_seed(parts, by)).unwrap_or_default() % MADE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Key, KeyBuilder, KeySecret, Part};

    #[test]
    fn what_is_remembered_is_what_would_be_computed_and_of_no_other_secret() {
        let secrets = [KeySecret::new(None, &[1; 32]), KeySecret::new(Some(b"configured"), &[1; 32])];
        let key = |path: u32, secret: &KeySecret| {
            let mut builder = KeyBuilder::new();
            builder.part(Part::Path, &path.to_be_bytes());
            builder.finish(secret)
        };
        let first: Vec<Key> =
            (0..500).flat_map(|path| secrets.each_ref().map(|secret| key(path, secret))).collect();
        for _ in 0..40 {
            let again: Vec<Key> =
                (0..500).flat_map(|path| secrets.each_ref().map(|secret| key(path, secret))).collect();
            assert_eq!(first, again);
        }
        RECENT
            .with_borrow(|recent| assert!(recent.made.iter().flatten().count() > 100, "some are remembered"));
    }

    #[test]
    fn what_holds_a_credential_is_not_remembered() {
        let secret = KeySecret::new(None, &[1; 32]);
        for _ in 0..100 {
            let mut builder = KeyBuilder::new();
            builder.part(Part::Credential, b"a token");
            builder.finish(&secret);
        }
        RECENT.with_borrow(|recent| {
            let holds = |made: &&Made| made.of.windows(7).any(|window| window == b"a token");
            assert_eq!(recent.made.iter().flatten().filter(holds).count(), 0);
        });
    }
}
