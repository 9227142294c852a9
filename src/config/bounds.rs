//! Bounds that numbers and times have to keep.

use super::path::KeyPath;
use super::words::{Period, Size};
use super::written::Written;
use std::time::Duration;

pub(super) fn within(
    number: u32,
    range: std::ops::RangeInclusive<u32>,
    path: &KeyPath,
    written: &mut Written,
) {
    if !range.contains(&number) {
        let message = format!("has to be from {} to {}, found {number}", range.start(), range.end());
        written.wrong(path, &message);
    }
}

pub(super) fn between(
    period: Period,
    range: &std::ops::RangeInclusive<Duration>,
    path: &KeyPath,
    written: &mut Written,
) {
    if !range.contains(&period.0) {
        let (shortest, longest) = (Period(*range.start()), Period(*range.end()));
        let found = written.shown(&period.to_string(), path);
        written.wrong(path, &format!("has to be from {shortest} to {longest}, found {found}"));
    }
}

pub(super) fn sized(
    size: Size,
    range: &std::ops::RangeInclusive<u64>,
    path: &KeyPath,
    written: &mut Written,
) {
    if !range.contains(&size.0) {
        let (least, most) = (Size(*range.start()), Size(*range.end()));
        let found = written.shown(&size.to_string(), path);
        written.wrong(path, &format!("has to be from {least} to {most}, found {found}"));
    }
}

pub(super) fn above_zero(period: Period, path: &KeyPath, written: &mut Written) {
    if period.0.is_zero() {
        written.wrong(path, "has to be above 0: nothing would ever be in time");
    }
}

pub(super) fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
