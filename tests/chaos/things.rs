//! What is read and invalidated: a few *kinds* of things, each a route of its own that learns its tags in another way, and of each
//! kind the same few *keys*. All things of a key bear the tag `item:KEY`, and have the key's version.

use std::fmt;

/// Few, so that readers, writers and faults meet.
pub const KEYS: usize = 20;
pub const THINGS: usize = KINDS.len() * KEYS;

/// A route. Its tags are known …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// … from the path.
    Plain,
    /// … from the body, at its end.
    Body,
    /// … from the head of the answer.
    Named,
    /// … from the path; it may be served stale while it is fetched anew, and where that fails.
    Stale,
    /// … from the path; a change of it is answered with what it is now, which is kept.
    Through,
}

pub const KINDS: [Kind; 5] = [Kind::Plain, Kind::Body, Kind::Named, Kind::Stale, Kind::Through];

/// One URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thing {
    pub kind: Kind,
    pub key: usize,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Body => "body",
            Self::Named => "named",
            Self::Stale => "stale",
            Self::Through => "through",
        }
    }

    pub fn things(self) -> impl Iterator<Item = Thing> {
        (0..KEYS).map(move |key| Thing { kind: self, key })
    }
}

impl Thing {
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.into_iter().flat_map(Kind::things)
    }

    pub fn of_key(key: usize) -> impl Iterator<Item = Self> {
        KINDS.into_iter().map(move |kind| Self { kind, key })
    }

    /// Below `THINGS`.
    pub fn number(self) -> usize {
        self.kind as usize * KEYS + self.key
    }

    pub fn from_path(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let (kind, key) = (parts.next()?, parts.next()?);
        let kind = KINDS.into_iter().find(|known| known.name() == kind)?;
        Some(Self { kind, key: key.parse().ok().filter(|key| *key < KEYS)? })
    }

    /// What all things of this kind and key begin with.
    pub fn prefix(self) -> String {
        format!("/{}/{}/", self.kind.name(), self.key)
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/{}/it", self.kind.name(), self.key)
    }
}

/// What an instance is told of them. `cut_off` is `when_cut_off` of the routes that are watched.
pub fn config(redis: &str, cut_off: &str) -> String {
    let route = |kind: Kind, more: &str| {
        let name = kind.name();
        format!(
            "[[route]]\nname = '{name}'\nmatch = '/{name}/{{id}}/it'\nwhen_cut_off = '{cut_off}'\n{more}\n"
        )
    };
    let tags = "tags = ['item:{id}']";
    let routes = [
        route(Kind::Plain, &format!("{tags}\ncoalesce = 'cluster'")),
        route(Kind::Body, "tags = ['item:{body:/key}']\ncoalesce = 'instance'"),
        route(Kind::Named, "coalesce = 'cluster'"),
        route(
            Kind::Stale,
            &format!("{tags}\ncoalesce = 'instance'\nstale_while_revalidate = '30s'\nstale_if_error = '1h'"),
        ),
        route(Kind::Through, &format!("{tags}\ncoalesce = 'instance'\nwrite_through = true")),
    ]
    .concat();
    // A busy machine is no reason to leave Redis alone.
    format!(
        "[server]\nworkers = 1\n\
         [upstream]\nmax_in_flight = 512\nmax_idle = 64\n\
         [redis]\nurl = '{redis}'\ncommand_timeout = '200ms'\n{routes}\
         [[route]]\nname = 'soft'\nmatch = '/soft/{{id}}'\ntags = ['soft:{{id}}']\n"
    )
}

#[test]
fn each_thing_has_its_number_and_its_path() {
    let mut numbers: Vec<_> = Thing::all().map(Thing::number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..THINGS).collect::<Vec<_>>());
    for thing in Thing::all() {
        assert_eq!(Thing::from_path(&thing.to_string()), Some(thing));
        assert!(thing.to_string().starts_with(&thing.prefix()));
    }
    for path in ["", "/", "/plain", "/plain/x/it", "/plain/20/it", "/other/1/it"] {
        assert_eq!(Thing::from_path(path), None, "{path}");
    }
}
