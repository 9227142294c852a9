//! What is allowed and still worth a second look. Warnings never keep Larder from starting.

use super::file::Redis;
use super::settings::Settings;
use super::warnings_of_changes;
use super::words::{Compression, Percent, Period, RedisMode, Size};
use crate::proxy::route::{BodyPart, Mode, Route, Scope};
use crate::shared;

/// A lifetime that may shrink by more than half is hardly the one that was written.
const JITTER_USUAL_MAX: f64 = 0.5;

/// A shorter secret can be found by trying.
const KEY_SECRET_BYTES_MIN: usize = 16;

/// Path segments that mean "whoever asks".
const OWN: [&str; 6] = ["me", "self", "account", "profile", "whoami", "session"];

/// All of them, in the order of the file.
pub(super) fn warnings(settings: &Settings, redis: &Redis) -> Vec<String> {
    let mut found = Vec::new();
    let listen = settings.server.listen;
    if settings.debug && !listen.ip().is_loopback() {
        found.push(format!("server.debug shows keys and timings to everybody who can reach {listen}"));
    }
    if settings.identity.credentials.is_empty() {
        found.push(
            "identity.credentials is empty: no two callers are told apart by what they send".to_owned(),
        );
    } else if !settings.identity.declared {
        let guess: Vec<String> = settings.identity.credentials.iter().map(ToString::to_string).collect();
        found.push(format!(
            "identity.credentials is not written: {} are taken for credentials, which is a guess; \
             say where your clients send theirs",
            guess.join(", "),
        ));
    }
    let secret = settings.identity.key_secret.as_ref();
    if secret.is_some_and(|secret| secret.expose().len() < KEY_SECRET_BYTES_MIN) {
        found.push(format!(
            "identity.key_secret has fewer than {KEY_SECRET_BYTES_MIN} bytes, so it can be found by trying",
        ));
    }
    if settings.unrouted.policy.jitter > JITTER_USUAL_MAX {
        found.push(jitter("defaults.jitter", settings.unrouted.policy.jitter));
    }
    if let Some(in_force) = &settings.redis {
        of_redis(redis, in_force, &mut found);
    }
    for route in &settings.routes {
        of_route(route, settings, &mut found);
        warnings_of_changes::of_route(route, settings, &mut found);
    }
    for hook in &settings.hooks {
        warnings_of_changes::of_hook(hook, &mut found);
    }
    found
}

/// What means nothing beside what else is written. A default that is written out misleads nobody.
fn of_redis(redis: &Redis, in_force: &shared::Settings, found: &mut Vec<String>) {
    let usual = Redis::default();
    if redis.mode != RedisMode::Sentinel && redis.master != usual.master {
        found.push("redis.master means nothing without mode = \"sentinel\"".to_owned());
    }
    if in_force.encryption_keys.is_empty() && redis.cipher != usual.cipher {
        found.push("redis.cipher means nothing without encryption_key".to_owned());
    }
    if redis.compress.algorithm == Compression::Off && redis.compress.above != usual.compress.above {
        found.push("redis.compress.above means nothing with algorithm = \"off\"".to_owned());
    }
    if let Some(Err(why)) = in_force.tls.as_ref().map(shared::check_trust) {
        found.push(format!("redis: on this machine there would be no connection: {why}"));
    }
}

fn of_route(route: &Route, settings: &Settings, found: &mut Vec<String>) {
    if route.mode == Mode::Pass {
        return;
    }
    let (name, policy) = (&route.name, &route.policy);
    if route.scope == Scope::Shared && policy.override_upstream && !policy.ttl.is_zero() {
        found.push(format!(
            "route \"{name}\": every caller gets the same answer for {}, whatever the upstream says \
             (scope = \"shared\" with override)",
            Period(policy.ttl),
        ));
    }
    let pattern = route.pattern.to_string();
    let own = pattern.split('/').find(|segment| OWN.contains(&segment.to_ascii_lowercase().as_str()));
    if let (Scope::Shared, Some(own)) = (route.scope, own) {
        found.push(format!(
            "route \"{name}\": \"{own}\" in its path sounds like whoever asks, but with scope = \"shared\" \
             all callers share one answer",
        ));
    }
    if route.scope == Scope::Identity && settings.identity.credentials.is_empty() {
        found.push(format!(
            "route \"{name}\": nothing is cached, since scope = \"identity\" wants a credential \
             and identity.credentials names none",
        ));
    }
    let (longest, room) = (route.key.max_body_bytes, settings.memory.max_filling_bytes);
    if route.key.body != BodyPart::Ignored && longest > room {
        found.push(format!(
            "route \"{name}\": key.max_body of {} is more than memory.max_filling lets be read, {}",
            Size(longest),
            Size(room),
        ));
    }
    // The one in [defaults] has had its warning.
    if policy.jitter > JITTER_USUAL_MAX && policy.jitter.total_cmp(&settings.unrouted.policy.jitter).is_ne() {
        found.push(jitter(&format!("route \"{name}\": jitter"), policy.jitter));
    }
}

fn jitter(what: &str, jitter: f64) -> String {
    format!("{what} of {} leaves little of the lifetimes that are written", Percent(jitter))
}
