//! Nobody sees another's data: many identities, in every form a credential has, at once on few URLs.
//!
//! The origin answers with the credentials it saw and with no caching headers, so that only the route's word makes
//! the answer last. The order is random; its seed is printed, and `LARDER_SEED` repeats it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::herd::alone;
use crate::larder::{CACHED, Larder};
use crate::origin::{Origin, Request};

const IDENTITIES: u64 = 240;
const REQUESTS: usize = 10_000;
const CLIENTS: u64 = 32;

/// `SplitMix64`: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// What was asked, and what only the right answer says.
struct Asked {
    target: String,
    fields: Vec<String>,
    expected: String,
}

/// One of two URLs, by one identity, in one of the forms.
fn ask(random: &mut Random) -> Asked {
    let (item, who) = (random.below(2), random.below(IDENTITIES));
    let (other, theme) = ((who + 1) % IDENTITIES, random.below(2));
    let (mut header, mut cookie, mut token) = (String::new(), String::new(), String::new());
    match random.below(6) {
        0 => header = format!("Bearer id-{who}"),
        1 => cookie = format!("id-{who}"),
        2 => token = format!("id-{who}"),
        // Two that differ: the whole of it is the identity, not the first one alone.
        3 => (header, cookie) = (format!("Bearer id-{who}"), format!("id-{other}")),
        4 => (cookie, token) = (format!("id-{who}"), format!("id-{other}")),
        _ => {}
    }
    let mut fields = Vec::new();
    if !header.is_empty() {
        fields.push(format!("Authorization: {header}"));
    }
    if !cookie.is_empty() {
        fields.push(format!("Cookie: theme={theme}; session={cookie}; lang=en"));
    }
    let query = if token.is_empty() { String::new() } else { format!("?token={token}") };
    Asked {
        target: format!("/things/{item}{query}"),
        fields,
        expected: format!("item {item} for [{header}] [{cookie}] [{token}]"),
    }
}

/// The credentials as the origin sees them.
fn seen(request: &Request) -> String {
    let header = request.field("authorization").unwrap_or_default();
    let cookies = request.field("cookie").unwrap_or_default();
    let cookie = cookies.split("; ").find_map(|pair| pair.strip_prefix("session=")).unwrap_or_default();
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let token = query.strip_prefix("token=").unwrap_or_default();
    let item = path.trim_start_matches("/things/");
    format!("item {item} for [{header}] [{cookie}] [{token}]")
}

fn seed() -> u64 {
    match std::env::var("LARDER_SEED") {
        Ok(seed) => seed.parse().expect("LARDER_SEED is a number"),
        Err(_) => getrandom::u64().unwrap(),
    }
}

#[test]
fn ten_thousand_requests_by_240_identities_get_their_own_answers() {
    let _alone = alone();
    let seed = seed();
    println!("LARDER_SEED={seed}");
    let origin = Origin::start(|exchange| {
        let body = seen(&exchange.request);
        exchange.answer("200 OK", &["content-type: text/plain"], body.as_bytes())
    });
    let larder = Larder::before(&origin, CACHED);
    let (left, hits_seen) = (AtomicUsize::new(REQUESTS), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (larder, left, hits_seen) = (&larder, &left, &hits_seen);
            scope.spawn(move || {
                let mut random = Random(seed ^ client);
                let mut connection = larder.connect();
                while left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_ok()
                {
                    let asked = ask(&mut random);
                    connection.ask(&asked.target, &asked.fields).unwrap();
                    let response = connection.read_response().unwrap();
                    assert_eq!(
                        (response.status, response.text()),
                        (200, asked.expected),
                        "LARDER_SEED={seed}"
                    );
                    hits_seen.fetch_add(usize::from(response.is_hit()), Ordering::SeqCst);
                }
            });
        }
    });
    let (hit, asked) = (hits_seen.into_inner(), origin.count("/things/"));
    println!("{REQUESTS} requests by {IDENTITIES} identities: {hit} hits, {asked} to the origin");
    // 5 forms of 240 identities and one of none, on two URLs, are 2 402 entries.
    assert!(hit > REQUESTS / 2, "only {hit} hits: what belongs to one identity was not kept");
    assert!(hit + asked <= REQUESTS, "{hit} hits and {asked} fetches");
    let stats = larder.stats();
    let route =
        stats["routes"].as_array().and_then(|routes| routes.iter().find(|route| route["route"] == "things"));
    let route = route.unwrap_or_else(|| panic!("/stats does not tell of the route: {stats}"));
    assert_eq!(
        (route["requests"].as_u64(), route["hits"].as_u64()),
        (Some(REQUESTS as u64), Some(hit as u64))
    );
}
