//! Messages for the tests of this folder.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The fields of a message, in this order.
pub fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
        })
        .collect()
}
