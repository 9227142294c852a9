//! What a word that nobody knows was most likely meant to be: for keys of the configuration, and for fields of a message.

/// The candidate that `written` most likely stands for.
pub fn meant<'c>(written: &str, candidates: &[&'c str]) -> Option<&'c str> {
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
pub fn did_you_mean(meant: Option<&str>) -> String {
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
