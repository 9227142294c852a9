//! A reference, as it stands in a `Location`.
//!
//! What it means is a URI of HTTP in its normal form, which means itself; and nothing of another origin ever becomes invalid.

#![no_main]

use http::StatusCode;
use http::header::LOCATION;
use larder::semantics::reference::{Resolved, invalidated, resolve, same_origin};
use larder_fuzz::field;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let target = Resolved {
        scheme: "https".to_owned(),
        authority: "api.example:8443".to_owned(),
        path: "/a/b/c".to_owned(),
        query: Some("d=e".to_owned()),
    };
    let invalid = invalidated(&target, StatusCode::OK, &field(&LOCATION, [input]));
    assert!(invalid.contains(&target) && invalid.len() <= 2, "{invalid:?}");
    assert!(invalid.iter().all(|uri| same_origin(uri, &target)), "of another origin: {invalid:?}");

    let Ok(reference) = str::from_utf8(input) else { return };
    let Some(uri) = resolve(&target, reference) else { return };
    assert!(uri.scheme == "http" || uri.scheme == "https", "{uri:?}");
    let authority = &uri.authority;
    assert!(!authority.is_empty() && *authority == authority.to_ascii_lowercase(), "{uri:?}");
    assert!(!authority.contains(['@', '/', '?', '#', ' ', '\\']), "{uri:?}");
    assert!(uri.path.starts_with('/'), "{uri:?}");
    assert!(!uri.path.split('/').any(|segment| segment == "." || segment == ".."), "{uri:?}");
    assert_eq!(resolve(&target, &written(&uri)).as_ref(), Some(&uri), "written out it means another");
    if same_origin(&uri, &target) {
        assert_eq!((&uri.scheme, &uri.authority), (&target.scheme, &target.authority));
    }
});

fn written(uri: &Resolved) -> String {
    let query = uri.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}://{}{}{query}", uri.scheme, uri.authority, uri.path)
}
