//! Path → route: the most specific pattern wins, whatever the order of the configuration.
//!
//! Patterns are held against each other segment by segment, from the left: a literal is more specific than `{x}`,
//! and that more than `{*rest}`. The search is a tree of segments that tries the more specific branch first and steps
//! back when it leads nowhere. It allocates nothing and, being a tree, visits each node at most once.
//!
//! Why there is always one winner. Let two patterns match one path, and go along the segments until the kinds differ:
//! there the order decides. If they never differ, both end at the same segment (a `{*rest}` ends both, and without one
//! both have as many segments as the path), and their literals are equal, since both equal the path's. Then they are
//! the same but for the names in braces: a `Conflict`, which `Routes::new` refuses.

use std::sync::Arc;
use std::time::Duration;

use super::pattern::{self, Segment};
use crate::naming::Template;
use crate::semantics::Policy;

pub use super::pattern::Pattern;

/// What is written of one route, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// For people, tags and metrics.
    pub name: Arc<str>,
    /// Which paths.
    pub pattern: Pattern,
    /// Methods that the cache has business with.
    pub methods: Vec<http::Method>,
    /// Whether it has any.
    pub mode: Mode,
    /// Lifetimes.
    pub policy: Policy,
    /// Who shares an entry.
    pub scope: Scope,
    /// What of a request, beside method, authority and path, tells it from others.
    pub key: KeyParts,
    /// Where answers are kept.
    pub tier: Tiers,
    /// Who shares a fetch.
    pub coalesce: Coalesce,
    /// What an entry is called, beside what every entry is.
    pub tags: Vec<Template>,
    /// Tags that an unsafe request makes invalid when it succeeds.
    pub invalidates: Vec<Template>,
    /// What memory may do while the log of invalidations can't be read.
    pub when_cut_off: WhenCutOff,
    /// What is fetched so soon behind an invalidation that names it lives no longer than this.
    pub settle: Duration,
    /// Whether the answer of an unsafe request that succeeds is kept as what a GET would be given.
    pub write_through: bool,
}

/// `mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// What may be kept is.
    #[default]
    Cache,
    /// All is passed through.
    Pass,
}

/// `scope`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// One entry per identity when a credential is sent, else shared.
    #[default]
    Auto,
    /// As `Auto`, but a request without a credential is passed.
    Identity,
    /// Credentials are ignored.
    Shared,
}

/// `tier`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tiers {
    /// In memory and in the shared tier.
    #[default]
    Both,
    /// In memory only.
    Memory,
}

/// `coalesce`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coalesce {
    /// Each request fetches for itself.
    Off,
    /// All requests of this process for one key.
    Instance,
    /// All requests for one key to any instance that shares the tier; without one, of this process.
    #[default]
    Cluster,
}

/// `when_cut_off`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenCutOff {
    /// Answer on: what is kept is bound by its lifetime alone.
    #[default]
    Serve,
    /// Nothing is answered from memory.
    Bypass,
}

/// `key`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyParts {
    /// Only these parameters; none: all of them.
    pub query: Option<Vec<String>>,
    /// Not these (`utm_*` for all that begin so).
    pub ignore_query: Vec<String>,
    /// Request headers.
    pub headers: Vec<http::HeaderName>,
    /// Cookies.
    pub cookies: Vec<String>,
    /// The body.
    pub body: BodyPart,
    /// A longer body is no part of any key; in bytes.
    pub max_body_bytes: u64,
}

/// `key.body`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyPart {
    /// A request with one is passed.
    #[default]
    Ignored,
    /// Byte for byte.
    Raw,
    /// As canonical JSON.
    Json,
}

/// The name of the route that takes what no other matches.
pub const UNROUTED: &str = "unrouted";

/// All routes, ready to be searched.
#[derive(Debug)]
pub struct Routes {
    /// In the order of the configuration.
    configured: Vec<Route>,
    /// Where none of those matches.
    unrouted: Route,
    /// The patterns as a tree; the first is the root.
    nodes: Vec<Node>,
}

/// Two routes that match the same paths with the same precision; indices into the list given to `Routes::new`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The earlier one.
    pub first: usize,
    /// The later one.
    pub second: usize,
}

/// What `explain` tells of the search for a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    /// The routes whose patterns match, the most specific first.
    pub matching: Vec<usize>,
    /// Which they are and why the first of them wins, as sentences.
    pub why: Vec<String>,
}

/// A place between two segments. Indices of `nodes` and of `configured`.
#[derive(Debug, Default)]
struct Node {
    /// By decoded text, sorted.
    literals: Vec<(Box<[u8]>, usize)>,
    one: Option<usize>,
    /// The route whose `{*rest}` stands here.
    rest: Option<usize>,
    /// The route whose pattern ends here.
    end: Option<usize>,
}

impl Routes {
    /// `unrouted` applies where none matches; its own pattern is not looked at.
    pub fn new(routes: Vec<Route>, unrouted: Route) -> Result<Self, Vec<Conflict>> {
        let mut nodes = vec![Node::default()];
        let mut conflicts = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            if let Some(first) = plant(&mut nodes, route.pattern.segments(), index) {
                conflicts.push(Conflict { first, second: index });
            }
        }
        if conflicts.is_empty() { Ok(Self { configured: routes, unrouted, nodes }) } else { Err(conflicts) }
    }

    /// The index of the route for this path; `unrouted_index` if no pattern takes it.
    pub fn find(&self, path: &str) -> usize {
        path.strip_prefix('/').and_then(|tail| self.descend(0, Some(tail))).unwrap_or(self.unrouted_index())
    }

    /// What `find` returned.
    pub fn get(&self, index: usize) -> &Route {
        self.configured.get(index).unwrap_or(&self.unrouted)
    }

    /// The index of the route for the rest; it is the last.
    pub fn unrouted_index(&self) -> usize {
        self.configured.len()
    }

    /// In the order of the configuration, then the one for the rest.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.configured.iter().chain(std::iter::once(&self.unrouted))
    }

    /// What the captures of that route's pattern stand for, as text; the route for the rest has none.
    pub fn captures(&self, index: usize, path: &str) -> Vec<(&str, String)> {
        self.configured.get(index).map(|route| route.pattern.captures(path)).unwrap_or_default()
    }

    /// All that `find` had to choose from, in words.
    pub fn considered(&self, path: &str) -> Considered {
        let mut matching: Vec<usize> = (0..self.configured.len())
            .filter(|&index| self.configured[index].pattern.matches(path))
            .collect();
        matching.sort_by_key(|&index| {
            self.configured[index].pattern.segments().iter().map(kind).collect::<Vec<_>>()
        });
        let why = match matching.split_first() {
            None => vec!["No route's pattern matches: the defaults apply.".to_owned()],
            Some((&winner, [])) => vec![format!("Only {} matches.", self.named(winner))],
            Some((&winner, others)) => std::iter::once(format!("{} matches.", self.named(winner)))
                .chain(others.iter().map(|&other| self.less_specific(winner, other)))
                .collect(),
        };
        Considered { matching, why }
    }

    /// The most specific route below this node; `tail` is what is left of the path, none behind its end.
    fn descend(&self, node: usize, tail: Option<&str>) -> Option<usize> {
        let node = self.nodes.get(node)?;
        let Some(tail) = tail else {
            return node.end;
        };
        let (segment, next) = pattern::split(tail);
        node.literal(segment)
            .and_then(|child| self.descend(child, next))
            .or_else(|| node.one.filter(|_| !segment.is_empty()).and_then(|child| self.descend(child, next)))
            .or(node.rest)
    }

    fn named(&self, index: usize) -> String {
        let route = &self.configured[index];
        format!("\"{}\" (route \"{}\")", route.pattern, route.name)
    }

    fn less_specific(&self, winner: usize, other: usize) -> String {
        let [won, lost] = [winner, other].map(|index| self.configured[index].pattern.segments());
        let reason =
            won.iter().zip(lost).find(|(won, lost)| kind(won) != kind(lost)).map(|(won, lost)| {
                format!("it has {} where the other has {}", describe(lost), describe(won))
            });
        format!(
            "{} matches too, but is less specific: {}.",
            self.named(other),
            reason.unwrap_or_else(|| "it is the same".to_owned())
        )
    }
}

impl Node {
    fn literal(&self, segment: &str) -> Option<usize> {
        let at = self.literals.binary_search_by(|(literal, _)| pattern::compare(literal, segment)).ok()?;
        self.literals.get(at).map(|(_, child)| *child)
    }
}

/// The smaller, the more specific.
fn kind(segment: &Segment) -> u8 {
    match segment {
        Segment::Literal(_) => 0,
        Segment::One(_) => 1,
        Segment::Rest(_) => 2,
    }
}

fn describe(segment: &Segment) -> String {
    match segment {
        Segment::Literal(text) if text.is_empty() => "nothing".to_owned(),
        Segment::Literal(text) => format!("\"{}\"", String::from_utf8_lossy(text)),
        Segment::One(name) => format!("{{{name}}}"),
        Segment::Rest(name) => format!("{{*{name}}}"),
    }
}

/// Adds a pattern to the tree; returns the route that has the place already, if one has.
fn plant(nodes: &mut Vec<Node>, segments: &[Segment], route: usize) -> Option<usize> {
    let mut at = 0;
    for segment in segments {
        let fresh = nodes.len();
        let child = match segment {
            Segment::Literal(text) => {
                let literals = &mut nodes[at].literals;
                match literals.binary_search_by(|(literal, _)| literal.cmp(text)) {
                    Ok(found) => literals[found].1,
                    Err(place) => {
                        literals.insert(place, (text.clone(), fresh));
                        fresh
                    }
                }
            }
            Segment::One(_) => *nodes[at].one.get_or_insert(fresh),
            Segment::Rest(_) => return occupy(&mut nodes[at].rest, route),
        };
        if child == fresh {
            nodes.push(Node::default());
        }
        at = child;
    }
    occupy(&mut nodes[at].end, route)
}

fn occupy(place: &mut Option<usize>, route: usize) -> Option<usize> {
    if place.is_none() {
        *place = Some(route);
        return None;
    }
    *place
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(name: &str, pattern: &str) -> Route {
        Route {
            name: name.into(),
            pattern: pattern.parse().unwrap(),
            methods: vec![http::Method::GET, http::Method::HEAD],
            mode: Mode::Cache,
            policy: Policy {
                ttl: Duration::ZERO,
                override_upstream: false,
                negative_ttl: Duration::ZERO,
                jitter: 0.0,
                ..Policy::default()
            },
            scope: Scope::Auto,
            key: KeyParts::default(),
            tier: Tiers::Both,
            coalesce: Coalesce::Instance,
            tags: Vec::new(),
            invalidates: Vec::new(),
            when_cut_off: WhenCutOff::Serve,
            settle: Duration::ZERO,
            write_through: false,
        }
    }

    fn routes(patterns: &[&str]) -> Result<Routes, Vec<Conflict>> {
        Routes::new(
            patterns.iter().enumerate().map(|(index, text)| route(&format!("r{index}"), text)).collect(),
            route(UNROUTED, "/{*rest}"),
        )
    }

    /// Which pattern takes the path, as text.
    fn found(patterns: &[&str], path: &str) -> Option<String> {
        let routes = routes(patterns).unwrap();
        let index = routes.find(path);
        (index != routes.unrouted_index()).then(|| routes.get(index).pattern.to_string())
    }

    #[test]
    fn the_most_specific_pattern_wins_in_any_order() {
        let patterns = [
            "/{*rest}",
            "/api/{*r}",
            "/api/users/{id}",
            "/api/users/me",
            "/api/{kind}/{id}",
            "/api/users/",
            "/",
        ];
        let mut reversed = patterns;
        reversed.reverse();
        for (path, expected) in [
            ("/", "/"),
            ("/x", "/{*rest}"),
            ("/api", "/{*rest}"),
            ("/api/", "/api/{*r}"),
            ("/api/users", "/api/{*r}"),
            ("/api/users/", "/api/users/"),
            ("/api/users/7", "/api/users/{id}"),
            ("/api/users/me", "/api/users/me"),
            ("/api/users/%6De", "/api/users/me"),
            ("/api/things/7", "/api/{kind}/{id}"),
            ("/api/things/", "/api/{*r}"),
            ("/api/users/7/x", "/api/{*r}"),
        ] {
            assert_eq!(found(&patterns, path).as_deref(), Some(expected), "{path}");
            assert_eq!(found(&reversed, path).as_deref(), Some(expected), "{path}, reversed");
        }
    }

    #[test]
    fn the_search_steps_back_from_a_branch_that_leads_nowhere() {
        let patterns = ["/a/{x}/c", "/a/b/{*r}"];
        assert_eq!(found(&patterns, "/a/b/c").as_deref(), Some("/a/b/{*r}"));
        assert_eq!(found(&patterns, "/a/x/c").as_deref(), Some("/a/{x}/c"));
        assert_eq!(found(&patterns, "/a/x/d"), None);
        let patterns = ["/a/b/c/d", "/a/{x}/c/{y}", "/{w}/b/c/e"];
        assert_eq!(found(&patterns, "/a/b/c/e").as_deref(), Some("/a/{x}/c/{y}"));
        assert_eq!(found(&patterns, "/z/b/c/e").as_deref(), Some("/{w}/b/c/e"));
        assert_eq!(found(&["/a/b", "/{*r}"], "/a/b/c").as_deref(), Some("/{*r}"));
    }

    #[test]
    fn no_route_is_the_one_for_the_rest() {
        let routes = routes(&["/a"]).unwrap();
        for path in ["/b", "/", "", "*", "a"] {
            assert_eq!(routes.find(path), 1, "{path}");
        }
        assert_eq!(&*routes.get(1).name, UNROUTED);
        assert!(routes.captures(1, "/b").is_empty());
        assert_eq!(routes.iter().map(|route| &*route.name).collect::<Vec<_>>(), ["r0", UNROUTED]);
    }

    #[test]
    fn patterns_of_one_shape_conflict() {
        for (patterns, expected) in [
            (&["/a/{x}", "/a/{y}"][..], &[(0, 1)][..]),
            (&["/a/{*x}", "/b", "/a/{*y}"], &[(0, 2)]),
            (&["/a", "/a", "/a"], &[(0, 1), (0, 2)]),
            (&["/@", "/%40"], &[(0, 1)]),
            (&["/caf%C3%A9", "/caf%c3%a9"], &[(0, 1)]),
            (&["/a", "/a/", "/{x}", "/{x}/", "/{*x}", "/a/{*x}", "/a/{x}"], &[]),
        ] {
            let conflicts = routes(patterns).err().unwrap_or_default();
            let pairs: Vec<_> = conflicts.iter().map(|conflict| (conflict.first, conflict.second)).collect();
            assert_eq!(pairs, expected, "{patterns:?}");
        }
    }

    #[test]
    fn it_says_what_it_considered() {
        let routes = routes(&["/{*rest}", "/api/{kind}/{id}", "/api/users/{id}", "/x"]).unwrap();
        let considered = routes.considered("/api/users/7");
        assert_eq!(considered.matching, [2, 1, 0]);
        assert_eq!(
            considered.why,
            [
                "\"/api/users/{id}\" (route \"r2\") matches.",
                "\"/api/{kind}/{id}\" (route \"r1\") matches too, but is less specific: it has {kind} where the \
                 other has \"users\".",
                "\"/{*rest}\" (route \"r0\") matches too, but is less specific: it has {*rest} where the other has \
                 \"api\".",
            ]
        );
        assert_eq!(routes.considered("/y").why, ["Only \"/{*rest}\" (route \"r0\") matches."]);
        assert_eq!(routes.considered("*").why, ["No route's pattern matches: the defaults apply."]);
    }

    /// A pattern as a person reads it: how each segment of the path is matched, or that it is not.
    fn naive(pattern: &str, path: &str) -> Option<Vec<u8>> {
        let mut score = Vec::new();
        let wanted: Vec<&str> = pattern[1..].split('/').collect();
        let given: Vec<&str> = path[1..].split('/').collect();
        for (index, segment) in wanted.iter().enumerate() {
            if segment.starts_with("{*") {
                return (given.len() > index).then(|| {
                    score.push(3);
                    score
                });
            }
            let text = given.get(index)?;
            if segment.starts_with('{') {
                if text.is_empty() {
                    return None;
                }
                score.push(2);
            } else if segment == text {
                score.push(1);
            } else {
                return None;
            }
        }
        (wanted.len() == given.len()).then_some(score)
    }

    fn patterns() -> impl Strategy<Value = Vec<String>> {
        let segment = prop_oneof![3 => "[ab]", 2 => Just("{x}".to_owned())];
        let end = prop_oneof![Just(String::new()), Just("/".to_owned()), Just("/{*rest}".to_owned())];
        let pattern = (proptest::collection::vec(segment, 0..5), end).prop_map(|(segments, end)| {
            let mut text = String::new();
            for (index, segment) in segments.iter().enumerate() {
                text.push('/');
                text.push_str(&segment.replace('x', &format!("x{index}")));
            }
            text.push_str(&end);
            if text.is_empty() { "/".to_owned() } else { text }
        });
        proptest::collection::hash_set(pattern, 0..14).prop_map(|set| set.into_iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn finds_what_scoring_every_pattern_finds(
            patterns in patterns(),
            paths in proptest::collection::vec("(/[abc]{0,1}){1,6}", 1..30),
        ) {
            let texts: Vec<&str> = patterns.iter().map(String::as_str).collect();
            // Names of captures follow from their place here, so different texts have different shapes.
            let routes = routes(&texts).unwrap();
            for path in &paths {
                let mut best: Vec<(Vec<u8>, usize)> = texts
                    .iter()
                    .enumerate()
                    .filter_map(|(index, text)| naive(text, path).map(|score| (score, index)))
                    .collect();
                best.sort();
                prop_assert!(best.windows(2).all(|pair| pair[0].0 != pair[1].0), "a tie: {:?} {:?}", texts, path);
                let expected = best.first().map_or(routes.unrouted_index(), |(_, index)| *index);
                prop_assert_eq!(routes.find(path), expected, "{:?} {:?}", &texts, path);
                let all: Vec<usize> = best.iter().map(|(_, index)| *index).collect();
                prop_assert_eq!(routes.considered(path).matching, all);
            }
        }
    }
}
