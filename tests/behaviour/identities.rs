//! Nobody sees another's data: many identities at once, in every form of credential, with a seed that a failure names.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::client::{Ask, Client, get};
use crate::origin::{Asked, Reply, reply};
use crate::world::World;

const IDENTITIES: u64 = 240;
const REQUESTS: usize = 10_000;
/// Connections at once; each has one request under way.
const AT_ONCE: usize = 50;

/// `SplitMix64`: the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// All that the origin takes for a credential, in one text.
fn caller(asked: &Asked) -> String {
    let query = asked.target.split_once('?').map_or("", |(_, query)| query);
    let token = query.split('&').filter(|pair| pair.starts_with("token=")).collect::<Vec<_>>().join("&");
    format!("{}|{}|{token}", asked.header("authorization"), asked.header("cookie"))
}

/// Whose it is, stored on the word of the route, of the upstream for all, for one user, or not at all.
fn answer(asked: &Asked) -> Reply {
    let control = ["", "public, max-age=5", "private, max-age=5", "no-store", "max-age=1"];
    let kind = asked.target.as_bytes().get(1).map_or(0, |byte| usize::from(*byte)) % control.len();
    let reply = reply(200).header("vary", "accept").body(caller(asked));
    if control[kind].is_empty() { reply } else { reply.header("cache-control", control[kind]) }
}

/// A request as one of the identities, and what its answer must be.
fn request(dice: &mut Dice) -> (Ask, String) {
    let who = dice.below(IDENTITIES);
    let path = ["a", "b", "c", "d", "e"][usize::try_from(dice.below(5)).unwrap()];
    let (mut header, mut cookie, mut query) = (String::new(), String::new(), String::new());
    match who % 6 {
        0 => header = format!("Bearer {who}"),
        1 => cookie = format!("session={who}"),
        2 => query = format!("token={who}"),
        3 => (header, cookie) = (format!("Bearer {}", who % 7), format!("lang=en; session={who}")),
        4 => (header, query) = (format!("Basic {}", who % 7), format!("token={who}")),
        // Everyone who has none: they may share.
        _ => {}
    }
    let target = if query.is_empty() { format!("/{path}") } else { format!("/{path}?x=1&{query}") };
    let mut ask = get(&target);
    if !header.is_empty() {
        ask = ask.header("authorization", &header);
    }
    if !cookie.is_empty() {
        ask = ask.header("cookie", &cookie);
    }
    (ask, format!("{header}|{cookie}|{query}"))
}

#[tokio::test(start_paused = true)]
async fn of_ten_thousand_answers_to_many_identities_none_is_anothers() {
    let seed = RandomState::new().build_hasher().finish();
    let mut dice = Dice(seed);
    let world = World::new("[[route]]\nname = \"all\"\nmatch = \"/{*rest}\"\nttl = \"60s\"");
    world.origin.otherwise(answer);
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..AT_ONCE {
        clients.push(world.connect().await);
    }
    for round in 0..REQUESTS / AT_ONCE {
        let mut under_way = Vec::new();
        for mut client in clients.drain(..) {
            let (ask, expected) = request(&mut dice);
            under_way.push(tokio::spawn(async move {
                let answer = client.ask(ask).await.unwrap();
                (client, answer, expected)
            }));
        }
        for each in under_way {
            let (client, answer, expected) = each.await.unwrap();
            assert_eq!(answer.text(), expected, "seed {seed}, round {round}: {}", answer.cache_status());
            clients.push(client);
        }
    }
    let asked = world.origin.count();
    assert!(asked < REQUESTS * 2 / 3, "seed {seed}: {asked} of {REQUESTS} went upstream: nothing was shared");
}
