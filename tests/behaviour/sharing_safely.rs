//! What must not be shared does not get into the shared tier, and nothing there tells a credential.

use bytes::Bytes;

use crate::client::{Ask, get};
use crate::origin::{Asked, Reply, fresh, reply};
use crate::tier::FakeTier;
use crate::world::{World, pass_seconds, settle};

const CREDENTIALS: &str =
    "[identity]\ncredentials = [\"header:authorization\", \"cookie:session\", \"query:token\"]\n";

/// Who asked.
fn private_to_the_caller(asked: &Asked) -> Reply {
    let who = asked.header("authorization").to_owned();
    reply(200).header("cache-control", "private, max-age=60").body(who.len().to_string())
}

fn bearing(token: &str) -> Ask {
    get("/a").header("authorization", &format!("Bearer {token}"))
}

#[tokio::test(start_paused = true)]
async fn instances_share_what_is_one_identitys_with_that_identity_and_no_other() {
    // With a secret that they agree on, and with one of the operator's.
    for secret in ["", "key_secret = \"a secret of sixteen bytes or more\"\n"] {
        let tier = FakeTier::new();
        let config = format!("{CREDENTIALS}{secret}");
        let (one, other) = (World::sharing(&tier, &config).await, World::sharing(&tier, &config).await);
        one.origin.otherwise(private_to_the_caller);
        other.origin.otherwise(private_to_the_caller);
        one.ask(bearing("1")).await;
        settle().await;
        let answer = other.ask(bearing("1")).await;
        assert_eq!(answer.cache_status(), "larder; hit; ttl=59; detail=redis", "{secret}");
        for (ask, length) in [(bearing("22"), "9"), (bearing("333"), "10"), (get("/a"), "0")] {
            let answer = other.ask(ask).await;
            assert_eq!(answer.text(), length);
            assert!(answer.cache_status().starts_with("larder; fwd=uri-miss"), "{}", answer.cache_status());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_read_is_replaced_and_the_tier_is_used_with_the_new_one() {
    let tier = FakeTier::new();
    tier.set_secret(b"noise");
    let (one, other) = (World::sharing(&tier, CREDENTIALS).await, World::sharing(&tier, CREDENTIALS).await);
    assert_ne!(tier.secret(), Some(Bytes::from_static(b"noise")));
    one.origin.otherwise(private_to_the_caller);
    one.ask(bearing("1")).await;
    settle().await;
    assert_eq!(other.ask(bearing("1")).await.text(), "8");
    assert_eq!(other.origin.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_secret_outlives_the_key_that_it_was_sealed_with() {
    let [old, new] =
        ["c3F1aXJyZWxzcXVpcnJlbHNxdWlycmVsc3F1aXJyZWw=", "Y2hpcG11bmtzY2hpcG11bmtzY2hpcG11bmtzY2hpcG0="];
    let with = |keys: &str| format!("{CREDENTIALS}[redis]\nencryption_key = [{keys}]\n");
    let tier = FakeTier::new();
    let one = World::sharing(&tier, &with(&format!("\"{old}\""))).await;
    let before = tier.secret();
    let _both = World::sharing(&tier, &with(&format!("\"{new}\", \"{old}\""))).await;
    assert_ne!(tier.secret(), before, "sealed with the first key by now");
    let other = World::sharing(&tier, &with(&format!("\"{new}\", \"{old}\""))).await;
    one.origin.on("/a", fresh("mine"));
    one.ask(bearing("s3cr3t-header")).await;
    settle().await;
    assert!(other.ask(bearing("s3cr3t-header")).await.cache_status().ends_with("detail=redis"));
}

#[tokio::test(start_paused = true)]
async fn nothing_in_the_tier_tells_a_credential() {
    for sealed in ["", "[redis]\nencryption_key = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n"] {
        let tier = FakeTier::new();
        let one = World::sharing(&tier, &format!("{CREDENTIALS}{sealed}")).await;
        let varies =
            |_: &Asked| fresh("mine").header("vary", "authorization, cookie").header("etag", "\"one\"");
        one.origin.otherwise(varies);
        let asks = [
            bearing("s3cr3t-header"),
            get("/a").header("cookie", "session=s3cr3t-cookie; lang=de"),
            get("/a?token=s3cr3t-query"),
            get("/a").header("authorization", "Basic czNjcjN0LWJhc2lj"),
        ];
        for ask in asks {
            one.ask(ask).await;
            settle().await;
        }
        let values = tier.values();
        assert_eq!(values.len(), 4);
        for (name, value, _) in values {
            let text = format!("{name:?} {}", String::from_utf8_lossy(&value));
            for secret in ["s3cr3t", "czNjcjN0", "Bearer", "session"] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn values_are_sealed_where_there_is_a_key_and_read_by_who_has_it() {
    let keyed = |keys: &str| format!("[redis]\nencryption_key = {keys}\n");
    let old = "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"";
    let new = "\"//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=\"";
    let tier = FakeTier::new();
    let one = World::sharing(&tier, &keyed(old)).await;
    one.origin.on("/a", fresh("something legible"));
    one.get("/a").await;
    settle().await;
    let (_, value, _) = tier.values().remove(0);
    assert!(!String::from_utf8_lossy(&value).contains("legible"));
    let rotated = World::sharing(&tier, &keyed(&format!("[{new}, {old}]"))).await;
    assert_eq!(rotated.get("/a").await.text(), "something legible");
    for config in [keyed(new), String::new()] {
        let stranger = World::sharing(&tier, &config).await;
        stranger.origin.on("/a", fresh("its own"));
        assert_eq!(stranger.get("/a").await.text(), "its own");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_for_all_or_not_whole_or_too_long_stays_out() {
    let tier = FakeTier::new();
    let config =
        "[redis]\nmax_object = \"1KB\"\n[[route]]\nname = \"here\"\nmatch = \"/here\"\ntier = \"memory\"";
    let one = World::sharing(&tier, config).await;
    let replies = [
        ("/private", reply(200).header("cache-control", "private, max-age=60").body("x")),
        ("/no-store", reply(200).header("cache-control", "no-store").body("x")),
        ("/no-cache", reply(200).header("cache-control", "no-cache").header("etag", "\"one\"").body("x")),
        ("/cookie", fresh("x").header("set-cookie", "a=b")),
        ("/huge", fresh("").body("x".repeat(2000))),
        ("/here", fresh("x")),
        ("/late", reply(200).header("cache-control", "max-age=0").header("etag", "\"one\"").body("x")),
    ];
    for (target, reply) in replies {
        one.origin.on(target, reply);
        assert_eq!(one.get(target).await.status, 200);
    }
    let part = reply(206).header("cache-control", "max-age=60").header("etag", "\"one\"");
    one.origin.on("/part", part.header("content-range", "bytes 0-2/6").body("012"));
    one.ask(get("/part").header("range", "bytes=0-2")).await;
    one.origin.on("/asked", fresh("x"));
    one.ask(get("/asked").header("cache-control", "no-store")).await;
    settle().await;
    assert_eq!(tier.values(), []);
    let reads = tier.counts().reads;
    one.get("/here").await;
    pass_seconds(61).await;
    one.origin.on("/here", fresh("y"));
    one.get("/here").await;
    assert_eq!(tier.counts().reads, reads, "nor is it looked for");
}

#[tokio::test(start_paused = true)]
async fn parts_that_became_whole_get_there() {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, "").await;
    let part = |range: &str, body: &'static str| {
        let part = reply(206).header("cache-control", "max-age=60").header("etag", "\"one\"");
        part.header("content-range", range).body(body)
    };
    one.origin.on("/a", part("bytes 0-2/6", "012"));
    one.ask(get("/a").header("range", "bytes=0-2")).await;
    one.origin.on("/a", part("bytes 3-5/6", "345"));
    one.ask(get("/a").header("range", "bytes=3-5")).await;
    settle().await;
    let other = World::sharing(&tier, "").await;
    let answer = other.get("/a").await;
    assert_eq!((answer.status, answer.text()), (200, "012345"));
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_under_other_rules_is_a_miss() {
    let route = |rules: &str| format!("[[route]]\nname = \"all\"\nmatch = \"/{{*rest}}\"\n{rules}");
    let base = "ttl = \"60s\"";
    for (rules, shares) in [
        (base, true),
        ("ttl = \"60s\"\ncoalesce = \"off\"", true),
        ("ttl = \"61s\"", false),
        ("ttl = \"60s\"\noverride = true", false),
        ("ttl = \"60s\"\nscope = \"shared\"", false),
        ("ttl = \"60s\"\nstale_if_error = \"1h\"", false),
    ] {
        let tier = FakeTier::new();
        let one = World::sharing(&tier, &route(base)).await;
        one.origin.on("/a", reply(200).body("one"));
        one.get("/a").await;
        settle().await;
        let after = World::sharing(&tier, &route(rules)).await;
        after.origin.otherwise(|_| reply(200).body("two"));
        assert_eq!(after.get("/a").await.text(), if shares { "one" } else { "two" }, "{rules}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_value_goes_away_by_itself_when_it_is_good_for_nothing() {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, "").await;
    one.origin.on("/plain", fresh("x"));
    one.origin.on("/tagged", fresh("x").header("etag", "\"one\""));
    let stale = "max-age=60, stale-while-revalidate=30, stale-if-error=20";
    one.origin.on("/stale", reply(200).header("cache-control", stale).body("x"));
    one.origin.on("/long", reply(200).header("cache-control", "max-age=86400").header("etag", "\"l\""));
    for target in ["/plain", "/tagged", "/stale", "/long"] {
        one.get(target).await;
    }
    settle().await;
    let mut kept_for: Vec<u64> = tier.values().iter().map(|(.., left)| left.as_secs() + 1).collect();
    kept_for.sort_unstable();
    assert_eq!(kept_for, [60, 90, 120, 86_400 + 3600]);
}
