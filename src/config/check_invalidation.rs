//! `[invalidation]` → `invalidation::Settings`.

use super::bounds::{between, count, sized, within};
use super::file::Invalidation;
use super::path::KeyPath;
use super::written::Written;
use crate::invalidation::Settings;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A tag that is shorter names little; a longer one is no name.
const TAG_BYTES: RangeInclusive<u64> = 16..=64_000;

/// A message is read as a whole.
const BODY_BYTES: RangeInclusive<u64> = 1000..=64_000_000;

/// An instance that was away for less than the shorter is to come back as it was. The log itself is given up a week after the last
/// instance is gone.
const LOG_AGE: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 60 * 60);

pub(super) fn check(bounds: &Invalidation, written: &mut Written) -> Settings {
    for (key, number, range) in [
        ("max_tags", bounds.max_tags, 2..=100_000_000),
        ("max_prefixes", bounds.max_prefixes, 1..=100_000),
        ("max_unlogged", bounds.max_unlogged, 1..=1_000_000),
        ("max_entry_tags", bounds.max_entry_tags, 1..=10_000),
        ("max_names", bounds.max_names, 1..=100_000),
        ("max_refreshes", bounds.max_refreshes, 1..=10_000),
        ("log_length", bounds.log_length, 100..=100_000_000),
    ] {
        within(number, range, &at(key), written);
    }
    sized(bounds.max_tag_length, &TAG_BYTES, &at("max_tag_length"), written);
    sized(bounds.max_body, &BODY_BYTES, &at("max_body"), written);
    between(bounds.log_age, &LOG_AGE, &at("log_age"), written);
    room_for_a_message(bounds, written);
    Settings {
        tags_max: count(bounds.max_tags),
        prefixes_max: count(bounds.max_prefixes),
        unlogged_max: count(bounds.max_unlogged),
        entry_tags_max: count(bounds.max_entry_tags),
        tag_bytes_max: usize::try_from(bounds.max_tag_length.0).unwrap_or(usize::MAX),
        names_max: count(bounds.max_names),
        body_bytes_max: usize::try_from(bounds.max_body.0).unwrap_or(usize::MAX),
        refreshes_max: count(bounds.max_refreshes),
        log_length: u64::from(bounds.log_length),
        log_age: bounds.log_age.0,
    }
}

/// Tags are forgotten by halves.
fn room_for_a_message(bounds: &Invalidation, written: &mut Written) {
    let (tags, names) = (at("max_tags"), at("max_names"));
    if written.is_spoiled(&tags)
        || written.is_spoiled(&names)
        || bounds.max_tags / 2 >= bounds.max_names
        || bounds.max_tags < 2
    {
        return;
    }
    // Who wrote only one of them looks there.
    let place = if written.has(&tags) { &tags } else { &names };
    let message = format!(
        "max_tags, {}, is below twice max_names, {}: one message could make all others forgotten",
        bounds.max_tags, bounds.max_names,
    );
    written.wrong(place, &message);
}

fn at(key: &str) -> KeyPath {
    KeyPath::of("invalidation").join(key)
}
