//! When a JSON Web Token ends (RFC 7519). It is not verified: who forges one can only make his own entry live shorter.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;

/// Longer ones are no tokens that a server takes in a header.
const BYTES_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
}

/// The time after which it is no good, if this is a token that says one: long ago, if it says so in a way that can't be read. `credential`: with `Bearer` before it or without.
pub(super) fn expires(credential: &[u8]) -> Option<Timestamp> {
    let token = without_scheme(credential);
    if token.len() > BYTES_MAX {
        return None;
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let claims = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let Ok(Claims { exp }) = serde_json::from_slice(&claims) else {
        // Other claims than these, or no token at all: then nothing is known. But one that says when it ends, twice or in words, must
        // not live for ever because we can't read it.
        let claims: Map<String, Value> = serde_json::from_slice(&claims).ok()?;
        return claims.contains_key("exp").then(Timestamp::default);
    };
    // RFC 7519, 4.1.4: "identifies the expiration time on or after which the JWT MUST NOT be accepted for processing", in seconds
    // since 1970.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a date far away is cut")]
    exp.filter(|exp| exp.is_finite()).map(|exp| Timestamp::from_millis((exp.max(0.0) * 1000.0) as u64))
}

/// What stands behind `Bearer` and the like; all of it where there is no such word.
pub(super) fn without_scheme(credential: &[u8]) -> &[u8] {
    let end = credential.iter().position(|byte| *byte == b' ');
    end.and_then(|end| credential.get(end..)).unwrap_or(credential).trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("eyJhbGciOiJub25lIn0.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_says_when_it_ends_and_all_else_says_nothing() {
        let millis = |text: &str| expires(text.as_bytes()).map(Timestamp::millis);
        for (claims, expected) in [
            ("{\"exp\":1795219200}", Some(1_795_219_200_000)),
            ("{\"exp\":1795219200.5,\"sub\":\"a\"}", Some(1_795_219_200_500)),
            ("{\"exp\":-5}", Some(0)),
            ("{\"exp\":1e300}", Some(u64::MAX)),
            ("{\"sub\":\"a\"}", None),
            ("{\"exp\":null}", None),
            ("{\"exp\":\"1700000000\"}", Some(0)),
            ("{\"exp\":1795219200,\"exp\":1895219200}", Some(0)),
            ("no json", None),
        ] {
            assert_eq!(millis(&token(claims)), expected, "{claims}");
            assert_eq!(millis(&format!("Bearer {}", token(claims))), expected, "{claims}");
        }
        let four = format!("{}.x", token("{\"exp\":1}"));
        for other in ["", "Bearer", "Basic dTpw", "a.b", "a.b.c", &four] {
            assert_eq!(millis(other), None, "{other}");
        }
    }
}
