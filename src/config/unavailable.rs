//! Keys and words of the published configuration whose part is not in this version.
//!
//! They are refused by name, so that nobody believes to have switched on what is not there.

/// Keys, as paths without indices.
const KEYS: &[&str] = &[
    "server.tls",
    "server.access_log",
    "server.slow",
    "upstream.targets",
    "upstream.http2",
    "upstream.breaker",
    "upstream.health",
    "identity.resolve",
    "route.percent",
    "route.priority",
    "route.rate_limit",
];

/// Words at keys that exist.
const WORDS: &[(&str, &str)] = &[("route.mode", "observe")];

/// Whether the key, or the table it is in, is one of those.
pub(super) fn is_key(path: &str) -> bool {
    KEYS.iter().any(|key| path == *key || path.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// Whether that word at that key is one of those; asked only about words that are not understood.
pub(super) fn is_word(path: &str, word: &str) -> bool {
    WORDS.contains(&(path, word))
}
