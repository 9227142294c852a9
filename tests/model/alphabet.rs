//! What a random history is made of, and how often. What comes first in a list is what a failure shrinks to.
//!
//! A `Focus` says which kinds of trouble a history may have: few kinds at once go deep, all at once find what nobody thought of.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A whole history.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) callers: Callers,
    pub(crate) steps: Vec<Step>,
}

/// What the configuration says of who is asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callers {
    /// Nothing: `Authorization` and the cookie `session` tell callers apart.
    Guessed,
    /// Nothing tells callers apart: `Authorization` means only what RFC 9111, 3.5 makes of it.
    Nobody,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// From now on the origin answers for this path like this.
    Origin {
        path: &'static str,
        recipe: Recipe,
        changed: bool,
    },
    /// What it has there is another now.
    Changed(&'static str),
    /// It answers otherwise the same with this.
    Turned(&'static str, Outcome),
    Client(Ask),
    /// The same caller asks for the same variant once more, with GET and nothing else.
    Again,
    /// A write overtakes a read: this GET has reached the origin, whose answer waits until that request is answered.
    Overtaken {
        read: Ask,
        write: Ask,
    },
    /// All of them ask while the origin's answers to all of them wait.
    Together(Vec<Ask>),
    Wait(Wait),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    Seconds(u64),
    /// Until the next moment at which something ends that an answer has said, and this many milliseconds more.
    UntilEnd(i64),
}

/// How a resource answers.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a habit that an origin has or has not")]
pub(crate) struct Recipe {
    pub(crate) outcome: Outcome,
    pub(crate) control: Vec<&'static str>,
    /// Each directive on a line of its own.
    pub(crate) apart: bool,
    pub(crate) cdn: Option<&'static str>,
    pub(crate) expires: Option<Expires>,
    pub(crate) date: Dated,
    pub(crate) age: Option<&'static str>,
    pub(crate) tag: Tag,
    pub(crate) modified: bool,
    pub(crate) vary: Option<&'static str>,
    /// It says in which language it answers.
    pub(crate) tells_language: bool,
    pub(crate) groups: Option<&'static str>,
    pub(crate) invalidates: Option<&'static str>,
    pub(crate) cookie: bool,
    /// A field that may change while the body does not.
    pub(crate) note: Option<&'static str>,
    /// A 304 has that field too.
    pub(crate) note_in_304: bool,
    pub(crate) ignores_conditions: bool,
    pub(crate) ignores_ranges: bool,
    /// Seconds.
    pub(crate) delay: u64,
    /// The answer to PUT, POST and DELETE.
    pub(crate) write: u16,
    /// … and where it says that something changed besides.
    pub(crate) location: Option<(&'static str, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Status(u16),
    /// The connection breaks before the answer.
    Breaks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expires {
    /// Seconds from `Date`, or from now where that is not now.
    In(i64),
    Obsolete(i64),
    Text(&'static str),
    Twice(i64, i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dated {
    Now,
    Absent,
    /// Seconds after now.
    Off(i64),
    Text(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Strong,
    /// The same for two versions.
    Weak,
    None,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) language: Option<&'static str>,
    pub(crate) tenant: Option<&'static str>,
    pub(crate) authorization: Option<&'static str>,
    pub(crate) cookie: Option<&'static str>,
    pub(crate) control: Vec<&'static str>,
    pub(crate) pragma: bool,
    pub(crate) if_none_match: Option<Named>,
    pub(crate) if_modified_since: Option<Since>,
    pub(crate) range: Option<&'static str>,
    pub(crate) if_range: Option<Validator>,
}

/// Which tag a client names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Named {
    /// Of the last answer for the path.
    Seen,
    /// The same, made weak.
    SeenWeakly,
    /// Of what the origin has now.
    Current,
    Other,
    /// Among others.
    Listed,
    Star,
}

/// Which date a client names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Since {
    /// `Last-Modified` of the last answer for the path, and this many seconds.
    Seen(i64),
    Now,
    Text(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Validator {
    Tag(Named),
    Date(Since),
}

impl Ask {
    /// A GET by the same caller for the same variant, that says nothing of caches.
    pub(crate) fn plain(&self) -> Self {
        Self {
            method: "GET",
            control: Vec::new(),
            pragma: false,
            if_none_match: None,
            if_modified_since: None,
            range: None,
            if_range: None,
            ..self.clone()
        }
    }
}

/// Which kinds of trouble there are.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a kind of trouble that is there or is not")]
pub(crate) struct Focus {
    pub(crate) odd: bool,
    pub(crate) lifetimes: bool,
    pub(crate) failures: bool,
    /// Answers whose windows for stale use are wanted and ruled out.
    pub(crate) staleness: bool,
    pub(crate) validators: bool,
    pub(crate) parts: bool,
    pub(crate) variants: bool,
    pub(crate) callers: bool,
    pub(crate) writes: bool,
    pub(crate) herds: bool,
    pub(crate) targeted: bool,
}

const LIFETIMES: &[&str] = &["max-age=10", "max-age=60", "s-maxage=10", "s-maxage=60", "max-age=0"];

const WINDOWS: &[&str] = &["stale-while-revalidate=20", "stale-if-error=60"];

const DIRECTIVES: &[&str] = &[
    "public",
    "must-revalidate",
    "proxy-revalidate",
    "no-cache",
    "private",
    "no-store",
    "immutable",
    "no-cache=\"x-note\"",
    "private=\"x-note\"",
    "must-understand",
    "s-maxage=20",
    "extension=1",
];

const ODD: &[&str] = &[
    "Max-Age=60",
    "NO-STORE",
    "Private",
    "max-age=\"60\"",
    "max-age = 60",
    "max-age=x",
    "max-age=-1",
    "max-age=1.5",
    "max-age",
    "max-age=99999999999999999999",
    "s-maxage=x",
    "stale-while-revalidate=x",
    "stale-if-error=\"60\"",
    "foo=\"max-age=60, no-store\"",
    "foo=\"open",
    "no-cache=\"\"",
    "",
    "no-store=1",
    "@",
];

const ASKED: &[&str] = &[
    "no-cache",
    "max-age=0",
    "max-age=5",
    "max-age=10",
    "max-age=100",
    "min-fresh=5",
    "min-fresh=100",
    "max-stale",
    "max-stale=5",
    "max-stale=100",
    "only-if-cached",
    "no-store",
    "stale-if-error=100",
];

const ODDLY_ASKED: &[&str] =
    &["No-Cache", "max-age=\"5\"", "max-age=x", "max-stale=x", "min-fresh=x", "foo", "", "max-stale=\"5\""];

const LANGUAGES: &[&str] = &[
    "en",
    "de",
    "EN",
    "en, de",
    "de,en",
    "en, de;q=0.5",
    "en;q=0.5, de",
    "de;q=1.0,en;q=0.50",
    "fr;q=0.5, DE",
];

const CDN: &[&str] = &[
    "max-age=5",
    "max-age=60",
    "no-store",
    "max-age=10, stale-while-revalidate=20",
    "max-age=10, must-revalidate",
    "private, max-age=60",
    "max-age=60,,",
    "",
];

const RANGES: &[&str] = &[
    "bytes=0-4",
    "bytes=5-",
    "bytes=-5",
    "bytes=0-",
    "bytes=10-19",
    "bytes=0-9999",
    "bytes=9999-",
    "bytes=0-3,20-23",
    "bytes=5-1",
    "bytes=x",
    "lines=1-2",
    "BYTES=0-4",
    "bytes=-0",
];

/// A history of up to so many steps.
pub(crate) fn case(focus: Focus, steps_max: usize) -> impl Strategy<Value = Case> {
    let callers = maybe(focus.callers, select(vec![Callers::Guessed, Callers::Nobody]), Callers::Guessed);
    (callers, vec(step(focus), 2..steps_max)).prop_map(|(callers, steps)| Case { callers, steps })
}

fn step(focus: Focus) -> impl Strategy<Value = Step> {
    let origin = (path(), recipe(focus), prop::bool::weighted(0.6))
        .prop_map(|(path, recipe, changed)| Step::Origin { path, recipe, changed });
    let overtaken =
        (ask(focus), ask(focus), select(WRITES)).prop_map(|(read, write, method)| Step::Overtaken {
            write: Ask { method, path: read.path, ..write },
            read: Ask { method: "GET", ..read },
        });
    let together = vec(ask(focus), 2..4).prop_map(|asks| {
        let read = |ask: Ask| Ask { method: if ask.method == "HEAD" { "HEAD" } else { "GET" }, ..ask };
        Step::Together(asks.into_iter().map(read).collect())
    });
    prop_oneof![
        8 => ask(focus).prop_map(Step::Client),
        4 => Just(Step::Again),
        4 => wait().prop_map(Step::Wait),
        3 => origin,
        1 => path().prop_map(Step::Changed),
        u32::from(focus.failures) => (path(), outcome()).prop_map(|(path, outcome)| Step::Turned(path, outcome)),
        u32::from(focus.writes) => overtaken,
        2 * u32::from(focus.herds) => together,
    ]
}

fn wait() -> impl Strategy<Value = Wait> {
    let seconds = select(vec![1, 5, 9, 10, 11, 20, 30, 59, 60, 61, 3600, 100_000]);
    let end = select(vec![0, 1, -1, 1000, -1000, 500]);
    prop_oneof![seconds.prop_map(Wait::Seconds), end.prop_map(Wait::UntilEnd)]
}

fn path() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("/a"), 1 => Just("/b")]
}

const WRITES: &[&str] = &["PUT", "POST", "DELETE"];

/// What there is of this kind if the focus is on it, else the plain.
fn maybe<T>(on: bool, rich: impl Strategy<Value = T> + 'static, plain: T) -> BoxedStrategy<T>
where
    T: Clone + std::fmt::Debug + 'static,
{
    if on { rich.boxed() } else { Just(plain).boxed() }
}

/// Mostly not there.
fn seldom<T>(on: bool, weight: u32, rich: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Option<T>>
where
    T: Clone + std::fmt::Debug + 'static,
{
    if on { prop_oneof![10 => Just(None), weight => rich.prop_map(Some)].boxed() } else { Just(None).boxed() }
}

fn control(focus: Focus) -> BoxedStrategy<Vec<&'static str>> {
    let lifetime = || select(LIFETIMES);
    let directive = if focus.odd {
        prop_oneof![3 => lifetime(), 1 => select(WINDOWS), 2 => select(DIRECTIVES), 2 => select(ODD)].boxed()
    } else {
        prop_oneof![1 => lifetime(), 2 => select(WINDOWS), 3 => select(DIRECTIVES)].boxed()
    };
    let plain = lifetime().prop_map(|lifetime| vec![lifetime]).boxed();
    if focus.staleness {
        let finite = select(vec!["max-age=10", "s-maxage=10"]);
        let strict = select(vec!["must-revalidate", "proxy-revalidate", "no-cache", "public"]);
        let more = prop_oneof![3 => select(WINDOWS), 1 => strict];
        let all = (finite, vec(more, 0..3)).prop_map(|(finite, more)| [vec![finite], more].concat());
        return all.boxed();
    }
    if !focus.lifetimes {
        let few = prop_oneof![3 => Just("max-age=10"), 1 => Just("no-cache"), 1 => select(DIRECTIVES)];
        return prop_oneof![4 => plain, 1 => vec(few, 0..2)].boxed();
    }
    let ruled = (lifetime(), vec(directive.clone(), 1..3)).prop_map(|(lifetime, mut all)| {
        all.insert(0, lifetime);
        all
    });
    prop_oneof![3 => plain, 4 => ruled, 2 => vec(directive, 0..4)].boxed()
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        10 => select(vec![200, 404, 500]).prop_map(Outcome::Status),
        4 => select(vec![503, 429]).prop_map(Outcome::Status),
        3 => Just(Outcome::Breaks),
        14 => Just(Outcome::Status(200)),
    ]
}

fn expires() -> impl Strategy<Value = Expires> {
    prop_oneof![
        3 => Just(Expires::In(10)),
        1 => select(vec![Expires::In(60), Expires::In(-10), Expires::Text("0")]),
        1 => select(vec![Expires::Obsolete(10), Expires::Twice(10, 60)]),
    ]
}

fn dated() -> impl Strategy<Value = Dated> {
    let odd = vec![Dated::Absent, Dated::Off(-5), Dated::Off(3600), Dated::Text("yesterday")];
    prop_oneof![8 => Just(Dated::Now), 5 => select(odd)]
}

fn tag() -> impl Strategy<Value = Tag> {
    prop_oneof![3 => Just(Tag::Strong), 1 => Just(Tag::Weak), 1 => Just(Tag::None)]
}

fn recipe(focus: Focus) -> impl Strategy<Value = Recipe> {
    let vary = select(vec!["accept-language", "x-tenant", "Accept-Language, x-tenant", "*"]);
    let location =
        select(vec![("location", "/b"), ("content-location", "/b"), ("location", "http://other.test/b")]);
    let heads = (
        maybe(focus.failures, outcome(), Outcome::Status(200)),
        control(focus),
        maybe(focus.odd, any::<bool>(), false),
        // What `Expires` says counts only where nothing else does.
        prop::bool::weighted(0.7),
        seldom(focus.targeted, 10, select(CDN)),
        seldom(focus.lifetimes, if focus.odd { 8 } else { 4 }, expires()),
        maybe(focus.odd, dated(), Dated::Now),
        seldom(focus.odd, 3, select(vec!["5", "0", "x", "5, 50", "50, 5", "-1"])),
        maybe(focus.validators || focus.parts, tag(), Tag::Strong),
        maybe(focus.validators, any::<bool>(), true),
        seldom(focus.variants, 10, vary),
    );
    let rest = (
        maybe(focus.callers || focus.odd, prop::bool::weighted(0.1), false),
        seldom(focus.validators || focus.lifetimes, 10, select(vec!["one", "two"])),
        maybe(focus.validators, any::<bool>(), false),
        maybe(focus.validators, prop::bool::weighted(0.1), false),
        maybe(focus.parts, prop::bool::weighted(0.1), false),
        maybe(focus.odd, prop_oneof![6 => Just(0_u64), 1 => Just(2)], 0),
        maybe(focus.writes, select(vec![204, 200, 201, 303, 404, 500]), 204),
        seldom(focus.writes, 5, location),
    );
    let names = (
        maybe(focus.variants, any::<bool>(), false),
        seldom(focus.writes, 5, select(vec!["\"g\"", "\"h\", \"g\""])),
        seldom(focus.writes, 3, select(vec!["\"g\"", "\"x\", \"h\""])),
    );
    (heads, rest, names).prop_map(|(heads, rest, names)| {
        let (tells_language, groups, invalidates) = names;
        let (outcome, mut control, apart, expires_alone, cdn, expires, date, age, tag, modified, vary) =
            heads;
        let (cookie, note, note_in_304, ignores_conditions, ignores_ranges, delay, write, location) = rest;
        if expires_alone && expires.is_some() {
            control.clear();
        }
        Recipe {
            outcome,
            control,
            apart,
            cdn,
            expires,
            date,
            age,
            tag,
            modified,
            vary,
            tells_language,
            groups,
            invalidates,
            cookie,
            note,
            note_in_304,
            ignores_conditions,
            ignores_ranges,
            delay,
            write,
            location,
        }
    })
}

fn ask(focus: Focus) -> impl Strategy<Value = Ask> {
    let method = if focus.writes {
        prop_oneof![8 => Just("GET"), 1 => Just("HEAD"), 3 => select(WRITES)].boxed()
    } else {
        prop_oneof![8 => Just("GET"), 1 => Just("HEAD")].boxed()
    };
    let asked = if focus.odd {
        prop_oneof![3 => select(ASKED), 1 => select(ODDLY_ASKED)].boxed()
    } else {
        prop_oneof![3 => select(ASKED), 1 => Just("max-stale")].boxed()
    };
    let directives = prop_oneof![4 => Just(Vec::new()), 3 => vec(asked, 1..3)];
    let named = || {
        let others = vec![Named::Current, Named::Other, Named::SeenWeakly, Named::Listed, Named::Star];
        prop_oneof![3 => Just(Named::Seen), 4 => select(others)]
    };
    let since = || {
        select(vec![Since::Seen(0), Since::Seen(-1), Since::Seen(1), Since::Now, Since::Text("yesterday")])
    };
    let validator = prop_oneof![named().prop_map(Validator::Tag), since().prop_map(Validator::Date)];
    let conditions = focus.validators || focus.parts;
    let who = (
        seldom(focus.variants, 15, select(LANGUAGES)),
        seldom(focus.variants, 8, select(vec!["t1", "t2", "T1"])),
        seldom(focus.callers, 8, select(vec!["Bearer alice", "Bearer bob"])),
        seldom(focus.callers, 6, select(vec!["session=carol", "theme=dark", "theme=dark; session=carol"])),
    );
    let how = (
        maybe(focus.lifetimes || focus.staleness, directives, Vec::new()),
        maybe(focus.odd, prop::bool::weighted(0.05), false),
        seldom(conditions, 4, named()),
        seldom(conditions, 3, since()),
        seldom(focus.parts, 12, select(RANGES)),
        seldom(focus.parts, 6, validator),
    );
    (method, path(), who, how).prop_map(|(method, path, who, how)| {
        let (language, tenant, authorization, cookie) = who;
        let (control, pragma, if_none_match, if_modified_since, range, if_range) = how;
        // RFC 9110, 13.1.5: "A client MUST NOT generate an If-Range header field in a request that does not contain a Range".
        let if_range = if_range.filter(|_| range.is_some());
        Ask {
            method,
            path,
            language,
            tenant,
            authorization,
            cookie,
            control,
            pragma,
            if_none_match,
            if_modified_since,
            range,
            if_range,
        }
    })
}
