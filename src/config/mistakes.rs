//! What is wrong with a configuration, each mistake with its place: `larder.toml:12:7: …`.
//!
//! Invariant: no message quotes a secret, or anything that was read through `env:` or `file:`.

use std::fmt;
use std::path::PathBuf;

/// Where a mistake was made. In the order in which mistakes are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file.
    File {
        /// As it was named.
        file: PathBuf,
        /// Line and column, counted from 1; none: the file as a whole.
        at: Option<(usize, usize)>,
    },
    /// In a variable or a flag, named as a person knows it: `environment: LARDER_…`, `--set server.listen`.
    Given(String),
    /// Nowhere: something is missing.
    Nowhere,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
}

/// All that is wrong, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl std::error::Error for Mistakes {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, at: Some((line, column)) } => write!(f, "{}:{line}:{column}", file.display()),
            Self::File { file, at: None } => write!(f, "{}", file.display()),
            Self::Given(name) => f.write_str(name),
            Self::Nowhere => Ok(()),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Nowhere => f.write_str(&self.message),
            _ => write!(f, "{}: {}", self.place, self.message),
        }
    }
}

/// One line each.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Mistake::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// The candidate that `written` most likely stands for.
pub(super) fn meant<'c>(written: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let written = written.to_lowercase();
    // A third of the letters may be wrong: `tll` is `ttl`, `up` is not `url`.
    let distance_max = (written.chars().count() / 3).max(1);
    candidates
        .iter()
        .map(|candidate| (distance(&written, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= distance_max && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// ` (did you mean "ttl"?)`, or nothing.
pub(super) fn did_you_mean(meant: Option<&str>) -> String {
    meant.map(|word| format!(" (did you mean \"{word}\"?)")).unwrap_or_default()
}

/// Letters to insert, drop, change or swap with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    // Keys are short; what is longer is no misspelling of one, and would take its square in time.
    const LETTERS_MAX: usize = 64;
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    if left.len() > LETTERS_MAX || right.len() > LETTERS_MAX {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let change = usize::from(left[i - 1] != right[j - 1]);
            let mut least = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_a_far_one_is_not() {
        let keys = ["ttl", "name", "match", "methods", "negative_ttl"];
        for (written, expected) in [
            ("tll", Some("ttl")),
            ("tl", Some("ttl")),
            ("nmae", Some("name")),
            ("method", Some("methods")),
            ("TTL", Some("ttl")),
            ("negativ_tl", Some("negative_ttl")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(meant(written, &keys), expected, "{written}");
        }
        assert_eq!(meant(&"x".repeat(100_000), &keys), None);
    }
}
