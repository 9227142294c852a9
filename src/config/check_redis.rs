//! `[redis]` → `shared::Settings`; none where it is switched off or names no server.
//!
//! URLs, passwords and keys are never quoted: each may be a secret. What is switched off is checked all the same, so that
//! switching it on again brings no surprise.

use super::bounds::{above_zero, between, within};
use super::certificates::{certificates, pem};
use super::file::Redis;
use super::hidden::Hidden;
use super::path::KeyPath;
use super::words::{self, Compression, RedisMode, Size};
use super::written::Written;
use crate::object::seal::{Cipher, EncryptionKey};
use crate::secret::Secret;
use crate::shared::{self, Address, Breaker, Login, Place, Reach, Settings, Tls};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::time::Duration;

/// It is a part of every key there.
const NAMESPACE_BYTES_MAX: usize = 128;

/// Redis takes no longer values, and longer ones would hold up all others.
const OBJECT_BYTES_MAX: u64 = 256 << 20;

/// Shorter than that, the holder could not renew it in time; longer, a dead one would be waited for in vain.
const LEASE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// Commands that may time out within a lease: it is renewed three times in that time, and each of those may be late.
const COMMANDS_IN_A_LEASE: u32 = 6;

pub(super) fn check(redis: &Redis, written: &mut Written) -> Option<Settings> {
    let addresses = addresses(redis, written);
    let login = login(redis, &addresses, written);
    let tls = tls(redis, &addresses, written);
    namespace(&redis.namespace, written);
    times_and_sizes(redis, written);
    let encryption_keys = encryption_keys(redis, written);
    if !redis.enabled {
        return None;
    }
    let mut urls = redis.url.iter().chain(&redis.urls).map(|Hidden(url)| url.clone()).peekable();
    urls.peek()?;
    Some(Settings {
        place: match redis.mode {
            RedisMode::Standalone => Place::One(urls.next()?),
            RedisMode::Cluster => Place::Cluster(urls.collect()),
            RedisMode::Sentinel => {
                Place::Sentinel { sentinels: urls.collect(), master: redis.master.clone() }
            }
        },
        tls,
        login,
        namespace: redis.namespace.clone(),
        command_timeout: redis.command_timeout.0,
        connect_timeout: redis.connect_timeout.0,
        max_object_bytes: redis.max_object.0,
        // What nobody wrote gives way to what somebody did.
        max_queued_bytes: given(redis.max_queued.0, redis.max_object.0, written.has(&at("max_queued"))),
        compress_above_bytes: match redis.compress.algorithm {
            Compression::Zstd => Some(redis.compress.above.0),
            Compression::Off => None,
        },
        encryption_keys,
        cipher: match redis.cipher {
            words::Cipher::Aes256Gcm => Cipher::Aes256Gcm,
            words::Cipher::ChaCha20Poly1305 => Cipher::ChaCha20Poly1305,
        },
        breaker: Breaker {
            failures: redis.breaker.failures,
            window: redis.breaker.window.0,
            open: redis.breaker.open.0,
        },
        lease: given(redis.lease.0, shortest_lease(redis), written.has(&at("lease"))),
        trust_failover: redis.trust_failover,
    })
}

fn given<T: Ord>(value: T, least: T, is_written: bool) -> T {
    if is_written { value } else { value.max(least) }
}

fn shortest_lease(redis: &Redis) -> Duration {
    redis.command_timeout.0.saturating_mul(COMMANDS_IN_A_LEASE)
}

fn at(key: &str) -> KeyPath {
    KeyPath::of("redis").join(key)
}

/// All that are understood.
fn addresses(redis: &Redis, written: &mut Written) -> Vec<Address> {
    let mut found = Vec::new();
    let (url, urls) = (at("url"), at("urls"));
    if let Some(Hidden(text)) = &redis.url {
        match Address::parse(text.expose()) {
            Ok(address) => found.push(address),
            Err(wrong) => written.wrong(&url, wrong),
        }
    }
    for (index, Hidden(text)) in redis.urls.iter().enumerate() {
        match Address::parse(text.expose()) {
            Ok(address) => found.push(address),
            Err(wrong) => written.wrong_item(&urls, index, wrong),
        }
    }
    if redis.url.is_some() && !redis.urls.is_empty() {
        written.wrong(&urls, "redis.url is written too; write one of the two");
    }
    let place = if redis.urls.is_empty() { &url } else { &urls };
    let meant = !written.is_spoiled(&at("mode"));
    if meant && redis.mode == RedisMode::Standalone && redis.urls.len() > 1 {
        written.wrong(&urls, "several want mode = \"cluster\" or mode = \"sentinel\"");
    }
    if meant && redis.mode != RedisMode::Standalone {
        if found.iter().any(|address| matches!(address.reach, Reach::Socket(_))) {
            written.wrong(place, "a socket in the file system can be no part of a cluster, and no sentinel");
        }
        if redis.mode == RedisMode::Cluster && found.iter().any(|address| address.database() != 0) {
            written.wrong(place, "a cluster has only database 0");
        }
        let first = found.first().map(Address::database);
        if found.iter().any(|address| Some(address.database()) != first) {
            written.wrong(place, "name different databases");
        }
    }
    if found.iter().any(Address::is_tls) && !found.iter().all(Address::is_tls) {
        written.wrong(place, "are partly with TLS (rediss://) and partly without");
    }
    if redis.master.is_empty() {
        written.wrong(&at("master"), "is empty");
    }
    found
}

fn login(redis: &Redis, addresses: &[Address], written: &mut Written) -> Login {
    let password = redis.password.as_ref().map(|Hidden(password)| password.clone());
    if password.as_ref().is_some_and(|password| password.expose().is_empty()) {
        written.wrong(&at("password"), "is empty; leave it out where Redis wants none");
    }
    if redis.username.as_deref() == Some("") {
        written.wrong(&at("username"), "is empty; leave it out for the default user");
    }
    // A password in the URL of a sentinel is the sentinel's own.
    let in_url = redis.mode != RedisMode::Sentinel && addresses.iter().any(Address::has_password);
    if redis.username.is_some() && password.is_none() && !in_url && !written.is_spoiled(&at("password")) {
        written.wrong(&at("username"), "wants a password (redis.password)");
    }
    Login { username: redis.username.clone(), password }
}

fn tls(redis: &Redis, addresses: &[Address], written: &mut Written) -> Option<Tls> {
    let (cert, key) = (at("client_cert"), at("client_key"));
    let is_tls = addresses.first().is_some_and(Address::is_tls);
    let of_tls = [
        (at("ca"), redis.ca.is_some()),
        (cert.clone(), redis.client_cert.is_some()),
        (key.clone(), redis.client_key.is_some()),
    ];
    for (path, is_written) in of_tls {
        if is_written && !is_tls && !addresses.is_empty() {
            written.wrong(&path, "is for TLS, but the URL is without (redis://); write rediss://");
        }
    }
    let ca = redis.ca.as_deref().and_then(|ca| certificates(ca, &at("ca"), written));
    match (&redis.client_cert, &redis.client_key) {
        (Some(_), None) if !written.is_spoiled(&key) => written.wrong(&cert, "wants redis.client_key too"),
        (None, Some(_)) if !written.is_spoiled(&cert) => written.wrong(&key, "wants redis.client_cert too"),
        _ => {}
    }
    let chain = redis
        .client_cert
        .as_deref()
        .and_then(|text| pem(text, "CERTIFICATE-----", "certificate", &cert, written));
    let private = redis.client_key.as_ref().and_then(|Hidden(text)| {
        let pem = pem(text.expose(), "PRIVATE KEY-----", "private key", &key, written)?;
        String::from_utf8(pem).ok().map(Secret::new)
    });
    let client = chain.zip(private);
    if let Some((chain, private)) = &client
        && let Err(wrong) = shared::check_client(chain, private)
    {
        written.wrong(&cert, wrong);
    }
    is_tls.then_some(Tls { ca, client })
}

fn namespace(namespace: &str, written: &mut Written) {
    let path = at("namespace");
    let wrong = if namespace.is_empty() {
        "is empty; two applications would share their keys".to_owned()
    } else if namespace.len() > NAMESPACE_BYTES_MAX {
        format!("is longer than {NAMESPACE_BYTES_MAX} bytes")
    } else if namespace.contains(['{', '}']) {
        // Part of a key in braces decides on its slot in a cluster.
        "can't have braces, which mean something to a cluster".to_owned()
    } else if namespace.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        "can't have spaces or control characters".to_owned()
    } else {
        return;
    };
    written.wrong(&path, &wrong);
}

fn times_and_sizes(redis: &Redis, written: &mut Written) {
    above_zero(redis.command_timeout, &at("command_timeout"), written);
    above_zero(redis.connect_timeout, &at("connect_timeout"), written);
    let breaker = |key: &str| at("breaker").join(key);
    within(redis.breaker.failures, 1..=10_000, &breaker("failures"), written);
    above_zero(redis.breaker.window, &breaker("window"), written);
    above_zero(redis.breaker.open, &breaker("open"), written);
    let (object, queued, lease) = (at("max_object"), at("max_queued"), at("lease"));
    if redis.max_object.0 == 0 || redis.max_object.0 > OBJECT_BYTES_MAX {
        let most = Size(OBJECT_BYTES_MAX);
        written.wrong(&object, &format!("has to be above 0 and at most {most}"));
    } else if redis.max_queued.0 < redis.max_object.0 && written.has(&queued) && !written.is_spoiled(&object)
    {
        let one = written.shown(&redis.max_queued.to_string(), &queued);
        let other = written.shown(&redis.max_object.to_string(), &object);
        written.wrong(&queued, &format!("max_queued, {one}, is below max_object, {other}"));
    }
    between(redis.lease, &LEASE, &lease, written);
    if LEASE.contains(&redis.lease.0)
        && redis.lease.0 < shortest_lease(redis)
        && written.has(&lease)
        && !written.is_spoiled(&at("command_timeout"))
    {
        let one = written.shown(&redis.lease.to_string(), &lease);
        let other = written.shown(&redis.command_timeout.to_string(), &at("command_timeout"));
        let times = COMMANDS_IN_A_LEASE;
        let message = format!(
            "lease, {one}, is below {times} times command_timeout, {other}: one slow reply, and another \
             instance would fetch too"
        );
        written.wrong(&lease, &message);
    }
}

fn encryption_keys(redis: &Redis, written: &mut Written) -> Vec<EncryptionKey> {
    let path = at("encryption_key");
    let mut keys = Vec::new();
    let texts = redis.encryption_key.iter().flat_map(|list| &list.0);
    for (index, text) in texts.enumerate() {
        match encryption_key(text.expose()) {
            Some(key) if keys.contains(&key) => written.wrong_item(&path, index, "is listed twice"),
            Some(key) => keys.push(key),
            None => {
                written.wrong_item(&path, index, "expected 32 bytes in base64 (openssl rand -base64 32)");
            }
        }
    }
    if redis.encryption_key.as_ref().is_some_and(|list| list.0.is_empty()) {
        written.wrong(&path, "is an empty list; leave it out to have values in the clear");
    }
    keys
}

/// With either alphabet, and with `=` at its end or without.
fn encryption_key(text: &str) -> Option<EncryptionKey> {
    let any = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = [STANDARD, URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, any).decode(text.trim()).ok())?;
    decoded.try_into().ok().map(EncryptionKey)
}
