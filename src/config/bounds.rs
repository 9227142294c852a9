//! Bounds that numbers and times have to keep.

use super::path::KeyPath;
use super::words::Period;
use super::written::Written;

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

pub(super) fn above_zero(period: Period, path: &KeyPath, written: &mut Written) {
    if period.0.is_zero() {
        written.wrong(path, "has to be above 0: nothing would ever be in time");
    }
}

pub(super) fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
