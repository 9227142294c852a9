//! Whether a message comes from who knows the hook's secret.
//!
//! What is proven is the body as it came, byte for byte: it is read as JSON only after that. Three ways: Standard Webhooks v1
//! (`webhook-id`, `webhook-timestamp`, `webhook-signature`), GitHub's `X-Hub-Signature-256`, and a bearer token. Where a hook has
//! several secrets, any of them will do. Every comparison takes the same time whatever differs. Invariant: what is said to who
//! failed tells nothing of a secret, nor of the signature that would have done.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::rule::Proof;
use crate::clock::Timestamp;
use crate::secret::Secret;

/// The message's own name, where it is proven with it: `webhook-id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// None: it has none, so nobody knows whether it came before.
    pub message: Option<String>,
}

/// Why it is not proven, for who set up the sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// Not there.
    #[error("the header {0} is missing")]
    Missing(&'static str),
    /// There more than once: whoever stands between may have read the other one.
    #[error("the header {0} is there more than once")]
    Repeated(&'static str),
    /// Not what it should be.
    #[error("the header {0} {1}")]
    Malformed(&'static str, &'static str),
    /// Sent too long ago.
    #[error("webhook-timestamp is {}s old, and may be {}s: a retry is signed anew, with the time of the retry", .0.as_secs(), TOLERANCE.as_secs())]
    TooOld(Duration),
    /// Not sent yet.
    #[error("webhook-timestamp is {}s ahead of the clock here, and may be {}s: one of the two clocks is wrong", .0.as_secs(), TOLERANCE.as_secs())]
    TooNew(Duration),
    /// Signed in another way only.
    #[error("webhook-signature has no signature of version v1 (\"v1,…\", HMAC-SHA256)")]
    NoSignature,
    /// With another secret, or of another body.
    #[error("{0} does not match: the secret is another one, or the body was changed after it was signed")]
    Mismatch(&'static str),
    /// Another token.
    #[error("the bearer token is not this hook's")]
    Token,
}

/// How far the sender's clock, or the way from there, may be off: what Standard Webhooks' own libraries allow.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";
const HUB_SIGNATURE: &str = "x-hub-signature-256";
const BEARER: &str = "authorization";

/// Names of messages are a word and some thirty letters.
const ID_BYTES_MAX: usize = 256;
/// One for each secret in a rotation; each costs a comparison, not another digest.
const SIGNATURES_MAX: usize = 16;
/// Of SHA-256.
const DIGEST_BYTES: usize = 32;

/// Some write the padding of their secrets, and some don't.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether the sender of this body, with these headers, is who it should be.
pub fn verify(proof: &Proof, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Proven, Unproven> {
    match proof {
        Proof::Standard(secrets) => standard(secrets, headers, body, now),
        Proof::GitHub(secrets) => github(secrets, headers, body),
        Proof::Bearer(secrets) => bearer(secrets, headers),
    }
}

/// The key that a secret of Standard Webhooks stands for: base64, with `whsec_` before it or not. `Err` has what is expected.
pub fn standard_key(secret: &Secret) -> Result<Vec<u8>, &'static str> {
    let text = secret.expose().trim();
    match BASE64.decode(text.strip_prefix("whsec_").unwrap_or(text)) {
        Ok(key) if !key.is_empty() => Ok(key),
        _ => Err(
            "base64, as Standard Webhooks has it: \"whsec_\" and, say, what \"openssl rand -base64 32\" says",
        ),
    }
}

fn standard(
    secrets: &[Secret],
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Proven, Unproven> {
    let id = only(headers, ID)?;
    // The specification, "Signature scheme": "It's important that both the message id and the timestamp not be user controlled, or at
    // the very least not be allowed to include any `.` to prevent certain attacks."
    if id.is_empty()
        || id.len() > ID_BYTES_MAX
        || id.bytes().any(|byte| byte == b'.' || !byte.is_ascii_graphic())
    {
        return Err(Unproven::Malformed(
            ID,
            "is not up to 256 letters, digits and signs without a full stop",
        ));
    }
    let timestamp = only(headers, TIMESTAMP)?;
    in_time(timestamp, now)?;
    let given = signatures(only(headers, SIGNATURE)?)?;
    let matches = secrets.iter().filter_map(|secret| {
        let key = standard_key(secret).ok()?;
        let expected = hmac(&key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body])?;
        Some(any(given.iter().map(|given| given.ct_eq(&expected))))
    });
    if any(matches).into() {
        Ok(Proven { message: Some(id.to_owned()) })
    } else {
        Err(Unproven::Mismatch(SIGNATURE))
    }
}

/// "Unix timestamp when the webhook was sent", in seconds.
fn in_time(timestamp: &str, now: Timestamp) -> Result<(), Unproven> {
    // Twelve digits are enough for the next thirty thousand years.
    let is_plain = (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u64 = timestamp
        .parse()
        .ok()
        .filter(|_| is_plain)
        .ok_or(Unproven::Malformed(TIMESTAMP, "is not the seconds since 1970, in digits"))?;
    let sent = Timestamp::from_millis(seconds.saturating_mul(1000));
    let (age, ahead) = (now.since(sent), sent.since(now));
    if age > TOLERANCE {
        Err(Unproven::TooOld(age))
    } else if ahead > TOLERANCE {
        Err(Unproven::TooNew(ahead))
    } else {
        Ok(())
    }
}

/// Those of `v1`; signatures of other versions stand beside them, and are for others. What can't be one matches nothing, and
/// takes nothing from those beside it.
fn signatures(header: &str) -> Result<Vec<[u8; DIGEST_BYTES]>, Unproven> {
    let encoded: Vec<&str> = header.split(' ').filter_map(|entry| entry.strip_prefix("v1,")).collect();
    if encoded.is_empty() {
        return Err(Unproven::NoSignature);
    }
    if encoded.len() > SIGNATURES_MAX {
        return Err(Unproven::Malformed(SIGNATURE, "has more than 16 signatures of version v1"));
    }
    let decoded = encoded.iter().filter_map(|encoded| BASE64.decode(encoded).ok()?.try_into().ok());
    let found: Vec<_> = decoded.collect();
    if found.is_empty() {
        return Err(Unproven::Malformed(SIGNATURE, "has no v1 that is 32 bytes in base64"));
    }
    Ok(found)
}

fn github(secrets: &[Secret], headers: &HeaderMap, body: &[u8]) -> Result<Proven, Unproven> {
    let header = only(headers, HUB_SIGNATURE)?;
    let malformed = Unproven::Malformed(HUB_SIGNATURE, "is not \"sha256=\" and 64 hexadecimal digits");
    let given = header.strip_prefix("sha256=").and_then(from_hex).ok_or(malformed)?;
    let secrets = secrets.iter().map(|secret| secret.expose().as_bytes()).filter(|secret| !secret.is_empty());
    let matches = secrets.filter_map(|secret| Some(given.ct_eq(&hmac(secret, &[body])?)));
    if any(matches).into() { Ok(Proven { message: None }) } else { Err(Unproven::Mismatch(HUB_SIGNATURE)) }
}

fn bearer(secrets: &[Secret], headers: &HeaderMap) -> Result<Proven, Unproven> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = match (all.next(), all.next()) {
        (None, _) => return Err(Unproven::Missing(BEARER)),
        (Some(_), Some(_)) => return Err(Unproven::Repeated(BEARER)),
        (Some(value), None) => value.as_bytes(),
    };
    let scheme = value.split_at_checked("Bearer ".len());
    let token = scheme.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer ")).map(|(_, token)| token);
    let token = token.ok_or(Unproven::Malformed(BEARER, "is not \"Bearer …\""))?;
    // Digests are compared rather than tokens, so that not even a token's length shows in time.
    let given = Sha256::digest(token);
    let secrets = secrets.iter().map(|secret| secret.expose().as_bytes()).filter(|secret| !secret.is_empty());
    if any(secrets.map(|secret| given.ct_eq(&Sha256::digest(secret)))).into() {
        Ok(Proven { message: None })
    } else {
        Err(Unproven::Token)
    }
}

/// What this header says, where it says one thing.
fn only<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, Unproven> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Err(Unproven::Missing(name)),
        (Some(_), Some(_)) => Err(Unproven::Repeated(name)),
        (Some(value), None) => {
            value.to_str().map(str::trim).map_err(|_| Unproven::Malformed(name, "is not plain text"))
        }
    }
}

/// Looks at all of them, whichever it is.
fn any(choices: impl Iterator<Item = Choice>) -> Choice {
    choices.fold(Choice::from(0), |found, choice| found | choice)
}

/// None is for a key that can't be one, and HMAC takes every key.
fn hmac(key: &[u8], parts: &[&[u8]]) -> Option<[u8; DIGEST_BYTES]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac.finalize().into_bytes().into())
}

fn from_hex(text: &str) -> Option<[u8; DIGEST_BYTES]> {
    let mut bytes = [0; DIGEST_BYTES];
    let digits = text.as_bytes();
    if digits.len() != 2 * DIGEST_BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| pair.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    /// The example of the Standard Webhooks libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SENT: u64 = 1_614_265_330;
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const EXAMPLE: [(&str, &str); 3] = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", SIGNED),
    ];

    /// GitHub's own, in "Validating webhook deliveries".
    const HUB_SECRET: &str = "It's a Secret to Everybody";
    const HUB_BODY: &[u8] = b"Hello, World!";
    const HUB_SIGNED: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new((*text).to_owned())).collect()
    }

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let read = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().map(read) {
            headers.append(name, value);
        }
        headers
    }

    /// The example with these fields in the place of its own, at the time when it was sent.
    fn standard_with(secret: &[&str], changed: &[(&str, &str)], body: &[u8]) -> Result<Proven, Unproven> {
        let kept = EXAMPLE.iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
        let fields: Vec<_> = kept.chain(changed).copied().collect();
        let proof = Proof::Standard(secrets(secret));
        verify(&proof, &headers(&fields), body, Timestamp::from_millis(SENT * 1000))
    }

    #[test]
    fn the_published_examples_are_proven() {
        let proven = Proven { message: Some("msg_p5jXN8AQM9LWM0D4loKWxJek".into()) };
        assert_eq!(standard_with(&[SECRET], &[], BODY), Ok(proven.clone()));
        assert_eq!(standard_with(&[&SECRET["whsec_".len()..]], &[], BODY), Ok(proven));
        let hub = Proof::GitHub(secrets(&[HUB_SECRET]));
        let fields = headers(&[("X-Hub-Signature-256", HUB_SIGNED)]);
        let at_any_time = Timestamp::default();
        assert_eq!(verify(&hub, &fields, HUB_BODY, at_any_time), Ok(Proven { message: None }));
    }

    #[test]
    fn one_secret_and_one_signature_of_several_will_do() {
        let other = "whsec_c3F1aXJyZWxzcXVpcnJlbHNxdWlycmVscw==";
        let not_base64 = "whsec_!";
        let wrong = format!("v1,{}", BASE64.encode([7; 32]));
        for list in [
            format!("{wrong} {SIGNED}"),
            format!("v1,short v1,!! v1, {SIGNED}"),
            format!("{SIGNED} {wrong}"),
            format!(
                "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== {SIGNED}"
            ),
            format!("v2,anything  {SIGNED}"),
        ] {
            let signed = [("webhook-signature", &*list)];
            for rotation in [&[SECRET][..], &[other, SECRET], &[SECRET, other], &[not_base64, SECRET]] {
                assert!(standard_with(rotation, &signed, BODY).is_ok(), "{list} {rotation:?}");
            }
            for rotation in [&[][..], &[other], &[not_base64], &["whsec_"], &[""]] {
                let got = standard_with(rotation, &signed, BODY);
                assert_eq!(got, Err(Unproven::Mismatch("webhook-signature")), "{list} {rotation:?}");
            }
        }
    }

    #[test]
    fn nothing_may_be_changed() {
        for (name, value) in [("webhook-id", "msg_x"), ("webhook-timestamp", "1614265331")] {
            let got = standard_with(&[SECRET], &[(name, value)], BODY);
            assert_eq!(got, Err(Unproven::Mismatch("webhook-signature")), "{name}");
        }
        let mismatch = Err(Unproven::Mismatch("webhook-signature"));
        assert_eq!(standard_with(&[SECRET], &[], br#"{"test":2432232314}"#), mismatch);
        assert_eq!(standard_with(&[SECRET], &[], b""), mismatch);
        assert_eq!(
            standard_with(&[SECRET], &[("webhook-signature", "v1a,anything v2,x")], BODY),
            Err(Unproven::NoSignature)
        );
    }

    #[test]
    fn each_header_stands_there_once_and_is_what_it_should_be() {
        let long = "m".repeat(257);
        let many = [SIGNED; 17].join(" ");
        for (name, values, expected) in [
            ("webhook-id", &[][..], "is missing"),
            ("webhook-id", &["a", "a"], "more than once"),
            ("webhook-id", &[""], "is not up to 256"),
            ("webhook-id", &["a.b"], "without a full stop"),
            ("webhook-id", &["a b"], "is not up to 256"),
            ("webhook-id", &["\u{e9}"], "is not plain text"),
            ("webhook-id", &[&long], "is not up to 256"),
            ("webhook-timestamp", &[], "is missing"),
            ("webhook-timestamp", &["1614265330", "1614265330"], "more than once"),
            ("webhook-timestamp", &[""], "seconds since 1970"),
            ("webhook-timestamp", &["+1614265330"], "seconds since 1970"),
            ("webhook-timestamp", &["1614265330.0"], "seconds since 1970"),
            ("webhook-timestamp", &["2021-02-25T15:02:10Z"], "seconds since 1970"),
            ("webhook-timestamp", &["99999999999999999999999"], "seconds since 1970"),
            ("webhook-signature", &[], "is missing"),
            ("webhook-signature", &[SIGNED, SIGNED], "more than once"),
            ("webhook-signature", &["v1,short"], "no v1 that is 32 bytes in base64"),
            ("webhook-signature", &["v1,bm90LWEtc2lnbmF0dXJl v1,!!"], "no v1 that is 32 bytes in base64"),
            ("webhook-signature", &["v1,"], "32 bytes in base64"),
            ("webhook-signature", &[""], "no signature of version v1"),
            ("webhook-signature", &[&many], "more than 16"),
        ] {
            let others = EXAMPLE.iter().filter(|(other, _)| *other != name).copied();
            let fields: Vec<_> = others.chain(values.iter().map(|value| (name, *value))).collect();
            let proof = Proof::Standard(secrets(&[SECRET]));
            let now = Timestamp::from_millis(SENT * 1000);
            let got = verify(&proof, &headers(&fields), BODY, now).unwrap_err();
            assert!(got.to_string().contains(expected), "{name} {values:?}: {got}");
        }
    }

    #[test]
    fn five_minutes_are_borne_either_way() {
        let proof = Proof::Standard(secrets(&[SECRET]));
        for (off, expected) in [
            (0, Ok(())),
            (300, Ok(())),
            (-300, Ok(())),
            (301, Err(Unproven::TooOld(Duration::from_secs(301)))),
            (-301, Err(Unproven::TooNew(Duration::from_secs(301)))),
            (86_400, Err(Unproven::TooOld(Duration::from_secs(86_400)))),
        ] {
            let now = Timestamp::from_millis(SENT.checked_add_signed(off).unwrap() * 1000);
            let got = verify(&proof, &headers(&EXAMPLE), BODY, now);
            assert_eq!(got.map(|_| ()), expected, "{off}");
        }
        let far = standard_with(&[SECRET], &[("webhook-timestamp", "999999999999")], BODY).unwrap_err();
        assert!(matches!(far, Unproven::TooNew(_)), "{far}");
        assert!(far.to_string().contains("and may be 300s"), "{far}");
    }

    #[test]
    fn github_signs_the_body_with_the_secret_as_it_is_written() {
        let mismatch = Err(Unproven::Mismatch("x-hub-signature-256"));
        let upper = HUB_SIGNED.to_uppercase().replace("SHA256", "sha256");
        for (rotation, signed, body, expected) in [
            (&[HUB_SECRET][..], &*upper, HUB_BODY, Ok(Proven { message: None })),
            (&["another", HUB_SECRET], HUB_SIGNED, HUB_BODY, Ok(Proven { message: None })),
            (&["another"], HUB_SIGNED, HUB_BODY, mismatch.clone()),
            (&[HUB_SECRET], HUB_SIGNED, b"Hello, World", mismatch.clone()),
            (&[""], HUB_SIGNED, HUB_BODY, mismatch.clone()),
            (&[], HUB_SIGNED, HUB_BODY, mismatch),
        ] {
            let fields = headers(&[("x-hub-signature-256", signed)]);
            let got = verify(&Proof::GitHub(secrets(rotation)), &fields, body, Timestamp::default());
            assert_eq!(got, expected, "{rotation:?} {signed}");
        }
        let half = &HUB_SIGNED[..40];
        let sha1 = "sha1=757107ea0eb2509fc211221cce984b8a37570b6d";
        let no_hex = HUB_SIGNED.replace('7', "g");
        for value in [half, sha1, &no_hex, "", "sha256="] {
            let fields = headers(&[("x-hub-signature-256", value)]);
            let proof = Proof::GitHub(secrets(&[HUB_SECRET]));
            let got = verify(&proof, &fields, HUB_BODY, Timestamp::default()).unwrap_err();
            assert!(matches!(got, Unproven::Malformed(..)), "{value}: {got}");
        }
    }

    #[test]
    fn an_empty_body_is_not_proven_by_an_empty_secret() {
        // What anybody can compute: HMAC-SHA256 of nothing, with an empty key.
        let signed = "sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";
        let fields = headers(&[("x-hub-signature-256", signed), ("authorization", "Bearer ")]);
        for proof in [Proof::GitHub(secrets(&[""])), Proof::Bearer(secrets(&[""]))] {
            assert!(verify(&proof, &fields, b"", Timestamp::default()).is_err(), "{proof:?}");
        }
    }

    #[test]
    fn a_bearer_says_one_of_the_tokens() {
        let proof = Proof::Bearer(secrets(&["correct horse", "battery"]));
        for (values, expected) in [
            (&["Bearer correct horse"][..], None),
            (&["bearer battery"], None),
            (&["Bearer wrong"], Some(Unproven::Token)),
            (&["Bearer Battery"], Some(Unproven::Token)),
            (&[], Some(Unproven::Missing("authorization"))),
            (&["Bearer battery", "Bearer battery"], Some(Unproven::Repeated("authorization"))),
            (&["Basic battery"], Some(Unproven::Malformed("authorization", "is not \"Bearer …\""))),
        ] {
            let fields: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
            let got = verify(&proof, &headers(&fields), b"", Timestamp::default()).err();
            assert_eq!(got, expected, "{values:?}");
        }
    }

    #[test]
    fn no_refusal_tells_a_secret_or_what_would_have_matched() {
        let right = &SIGNED[3..];
        let key = &SECRET["whsec_".len()..];
        let wrong = format!("v1,{}", BASE64.encode([7; 32]));
        for changed in [("webhook-signature", &*wrong), ("webhook-id", "x"), ("webhook-timestamp", "1")] {
            let why = standard_with(&[SECRET], &[changed], BODY).unwrap_err();
            let told = format!("{why} {why:?}");
            assert!(!told.contains(right) && !told.contains(key), "{told}");
        }
        let proof = Proof::Standard(secrets(&[SECRET]));
        assert!(!format!("{proof:?}").contains(key));
    }
}
