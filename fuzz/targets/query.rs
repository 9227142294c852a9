//! A query, and on the second line a value that somebody adds to it.
//!
//! What a route leaves out of the key makes no difference there, however it is written, and what counts always does.

#![no_main]

use larder::object::{KeyBuilder, Part};
use larder::proxy::query::feed;
use larder::proxy::route::KeyParts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else { return };
    let (query, more) = text.split_once('\n').unwrap_or((text, ""));
    let more: String = more.chars().filter(|character| !matches!(character, '&' | '#' | '\n')).collect();
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let all = KeyParts::default();
    let some = KeyParts { query: Some(own(&["page", "sort"])), ..KeyParts::default() };
    let most = KeyParts { ignore_query: own(&["utm_*", "fbclid"]), ..KeyParts::default() };
    let credentials = own(&["token"]);

    // Everything that was sent, each parameter once, in the order of their names.
    if let Ok(parts) = fed(query, &all, &[]) {
        let mut sent: Vec<&str> = query.split('&').collect();
        let mut kept: Vec<&str> = parts.iter().map(String::as_str).collect();
        sent.sort_unstable();
        kept.sort_unstable();
        assert_eq!(kept, sent);
    }
    for keys in [&all, &some, &most] {
        let before = fed(query, keys, &credentials);
        // A credential is a part of its own; what only looks like one counts.
        assert_changes(&before, &fed(&format!("{query}&token={more}"), keys, &credentials), false);
        assert_changes(&before, &fed(&format!("{query}&Token={more}"), keys, &credentials), true);
        assert_changes(&before, &fed(&format!("{query}&page={more}"), keys, &credentials), true);
    }
    let before = fed(query, &most, &credentials);
    assert_changes(&before, &fed(&format!("{query}&utm_x={more}"), &most, &credentials), false);
    assert_changes(&before, &fed(&format!("{query}&other={more}"), &most, &credentials), true);
    let before = fed(query, &some, &credentials);
    assert_changes(&before, &fed(&format!("{query}&other={more}"), &some, &credentials), false);
    assert_changes(&before, &fed(&format!("{query}&PAGE={more}"), &some, &credentials), true);
});

/// The parts, or none where the query could mean several things.
fn fed(query: &str, keys: &KeyParts, credentials: &[String]) -> Result<Vec<String>, ()> {
    let mut builder = KeyBuilder::new();
    feed(Some(query), keys, credentials, &mut builder).map_err(|_| ())?;
    let text = |(part, bytes): (Part, &[u8])| {
        assert_eq!(part, Part::Query);
        String::from_utf8_lossy(bytes).into_owned()
    };
    Ok(builder.parts().map(text).collect())
}

/// A query that becomes ambiguous is passed: that is always right.
fn assert_changes(before: &Result<Vec<String>, ()>, after: &Result<Vec<String>, ()>, changes: bool) {
    if let (Ok(before), Ok(after)) = (before, after) {
        assert_eq!(before != after, changes, "{before:?}, then {after:?}");
    }
}
