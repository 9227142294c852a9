//! The origin: what it has, how it answers, and the record of all that it was asked.
//!
//! A correct origin server of RFC 9110: it judges conditions and ranges itself (unless a recipe has it ignore them, as it may),
//! sends strong tags for equal bytes only, and says in every answer which one it is (`x-serial`). A body says what it is,
//! for which variant and caller, and in each byte which version: whatever the cache mixes up can be read off it.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use larder::clock::Clock;

use crate::alphabet::{Dated, Expires, Outcome, Recipe, Tag};
use crate::fields::{self, Millis, content_range, members, only, strongly_equal, weakly_equal, written_date};
use crate::origin::Asked;

/// All that there is at the origin.
pub(crate) struct Server {
    clock: Clock,
    resources: HashMap<String, Resource>,
    pub(crate) record: Vec<Exchange>,
    /// Others wait for their answers: a connection that breaks would take theirs with it.
    pub(crate) is_busy: bool,
}

struct Resource {
    recipe: Recipe,
    version: u32,
    changed_at: Millis,
}

/// One request that reached the origin, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) serial: usize,
    pub(crate) method: String,
    pub(crate) path: String,
    /// As the origin saw it.
    pub(crate) request: HeaderMap,
    pub(crate) sent_at: Millis,
    pub(crate) answered_at: Millis,
    /// Writes that had been answered when the cache had this answer; for a write itself: counted with it.
    pub(crate) sent_after: usize,
    pub(crate) answer: Option<Sent>,
}

/// What the origin answered.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) status: u16,
    pub(crate) head: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The representation that this is about, as a GET without conditions would have had it.
    pub(crate) whole: Whole,
}

/// A representation with its head.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) head: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Server {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, resources: HashMap::new(), record: Vec::new(), is_busy: false }
    }

    /// From now on this path is answered so.
    pub(crate) fn set(&mut self, path: &str, recipe: &Recipe, changed: bool) {
        let now = self.now();
        let new = || Resource { recipe: recipe.clone(), version: 0, changed_at: now - 3_600_000 };
        let resource = self.resources.entry(path.to_owned()).or_insert_with(new);
        resource.recipe = recipe.clone();
        if changed {
            resource.change(now);
        }
    }

    /// Something else is there now, or it answers with something else.
    pub(crate) fn change(&mut self, path: &str, outcome: Option<Outcome>) {
        let now = self.now();
        let resource = self.resources.get_mut(path).expect("every path has a recipe from the start");
        match outcome {
            Some(outcome) => resource.recipe.outcome = outcome,
            None => resource.change(now),
        }
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now().millis()
    }

    /// The tag that a request like this would be answered with.
    pub(crate) fn current_tag(&self, path: &str, request: &HeaderMap) -> Option<String> {
        self.resources[path].tag(path, request)
    }

    /// Successful writes so far.
    pub(crate) fn writes(&self) -> usize {
        self.record.iter().filter(|exchange| exchange.is_successful_write()).count()
    }

    /// Answers, and writes it down. Nothing: the connection breaks.
    pub(crate) fn answer(&mut self, asked: &Asked, at_once: bool) -> Exchange {
        let now = self.now();
        let serial = self.record.len() + 1;
        let writes = self.writes();
        let resource = self.resources.get_mut(&asked.target).expect("every path has a recipe from the start");
        let recipe = &resource.recipe;
        let answered_at = if at_once { now } else { now + recipe.delay * 1000 };
        let method = asked.method.as_str();
        let answer = match recipe.outcome {
            Outcome::Breaks if !self.is_busy => None,
            _ if !is_read(method) => Some(resource.write(serial, answered_at)),
            Outcome::Status(status) => Some(resource.read(asked, status, serial, answered_at)),
            Outcome::Breaks => Some(resource.read(asked, 503, serial, answered_at)),
        };
        let exchange = Exchange {
            serial,
            method: method.to_owned(),
            path: asked.target.clone(),
            request: asked.headers.clone(),
            sent_at: now,
            answered_at,
            sent_after: writes,
            answer,
        };
        if exchange.is_successful_write() {
            resource.change(now);
        }
        self.record.push(exchange.clone());
        exchange
    }
}

pub(crate) fn is_read(method: &str) -> bool {
    method == "GET" || method == "HEAD"
}

impl Exchange {
    pub(crate) fn status(&self) -> Option<u16> {
        self.answer.as_ref().map(|sent| sent.status)
    }

    /// RFC 9111, 4.4: "a non-error response is one with a 2xx (Successful) or 3xx (Redirection) status code".
    pub(crate) fn is_successful_write(&self) -> bool {
        !is_read(&self.method) && self.status().is_some_and(|status| (200..400).contains(&status))
    }

    /// RFC 5861, 4: "an error is any situation that would result in a 500, 502, 503, or 504 HTTP response status code".
    pub(crate) fn is_error(&self) -> bool {
        self.status().is_none_or(|status| matches!(status, 500 | 502 | 503 | 504))
    }
}

/// Whose a request is, as the origin sees it.
pub(crate) fn caller(request: &HeaderMap) -> String {
    let session = session(request).unwrap_or_default();
    format!("{}{session}", only(request, "authorization").unwrap_or_default()).replace(' ', "-")
}

pub(crate) fn session(request: &HeaderMap) -> Option<String> {
    let cookies: Vec<&str> = fields::lines(request, "cookie");
    cookies
        .iter()
        .flat_map(|line| line.split("; "))
        .find(|pair| pair.starts_with("session="))
        .map(str::to_owned)
}

/// What a field that an answer varies on comes to: language ranges have no case, and without weights no order.
pub(crate) fn meaning(name: &str, request: &HeaderMap) -> Option<String> {
    request.get(name)?;
    if name != "accept-language" {
        return Some(fields::lines(request, name).join(","));
    }
    let wanted = languages(request).into_iter();
    Some(wanted.map(|(weight, name)| format!("{name};{weight}")).collect::<Vec<_>>().join(","))
}

/// RFC 9110, 12.5.4: languages and their weights in thousandths, the most wanted first.
fn languages(request: &HeaderMap) -> Vec<(u32, String)> {
    let weighted = |member: &String| {
        let (name, weight) = member.split_once(";q=").unwrap_or((member, "1"));
        let (whole, rest) = weight.split_once('.').unwrap_or((weight, ""));
        (format!("{whole}{rest:0<3}").parse().unwrap(), name.to_ascii_lowercase())
    };
    let mut all: Vec<(u32, String)> = members(request, "accept-language").iter().map(weighted).collect();
    all.sort_by(|one, other| (other.0, &one.1).cmp(&(one.0, &other.1)));
    all
}

/// The one language that a request wants more than all others.
pub(crate) fn language_wanted(request: &HeaderMap) -> Option<String> {
    match &languages(request)[..] {
        [only] => Some(only.1.clone()),
        [first, second, ..] if first.0 > second.0 => Some(first.1.clone()),
        _ => None,
    }
}

/// What the origin makes of that.
fn language_given(request: &HeaderMap) -> String {
    languages(request).into_iter().next().map_or("en".to_owned(), |(_, name)| name)
}

impl Resource {
    fn change(&mut self, now: Millis) {
        self.version += 1;
        self.changed_at = now;
    }

    fn variant(&self, request: &HeaderMap) -> String {
        let names = self.recipe.vary.unwrap_or_default().split(", ").map(str::to_ascii_lowercase);
        let of_field = |name: String| match &*name {
            "accept-language" => Some(language_given(request)),
            _ => meaning(&name, request),
        };
        names.filter_map(of_field).collect::<Vec<_>>().join("+")
    }

    fn tag(&self, path: &str, request: &HeaderMap) -> Option<String> {
        let version = match self.recipe.tag {
            Tag::Strong => self.version,
            // Of two versions that mean the same.
            Tag::Weak => self.version / 2,
            Tag::None => return None,
        };
        let weak = if self.recipe.tag == Tag::Weak { "W/" } else { "" };
        let (variant, caller) = (self.variant(request), caller(request));
        Some(format!("{weak}\"{path}{version}.{variant}.{caller}\""))
    }

    fn add_validators(&self, path: &str, request: &HeaderMap, head: &mut HeaderMap) {
        let tag = self.tag(path, request);
        if self.recipe.modified || tag.is_none() {
            add(head, "last-modified", &written_date(self.changed_at));
        }
        if let Some(tag) = tag {
            add(head, "etag", &tag);
        }
    }

    fn body(&self, path: &str, request: &HeaderMap, status: u16) -> Vec<u8> {
        let (variant, caller) = (self.variant(request), caller(request));
        let head = format!("{path} v{} {status} for {caller:?} in {variant:?} ", self.version);
        let letter = char::from(b'a' + u8::try_from(self.version % 26).unwrap());
        let filler = letter.to_string().repeat(24 + self.version as usize % 5);
        (head + &filler).into_bytes()
    }

    /// The answer to PUT, POST and DELETE.
    fn write(&self, serial: usize, now: Millis) -> Sent {
        let recipe = &self.recipe;
        let mut head = HeaderMap::new();
        add(&mut head, "x-serial", &serial.to_string());
        add(&mut head, "date", &written_date(now));
        recipe.add_control(&mut head);
        if let Some((name, value)) = recipe.location {
            add(&mut head, name, value);
        }
        if let Some(groups) = recipe.invalidates {
            add(&mut head, "cache-group-invalidation", groups);
        }
        let body = if recipe.write == 204 { Vec::new() } else { b"done".to_vec() };
        let whole = Whole { status: recipe.write, head: head.clone(), body: body.clone() };
        Sent { status: recipe.write, head, body, whole }
    }

    /// The answer to GET and HEAD. RFC 9110, 13.2.2: first conditions, then ranges.
    fn read(&self, asked: &Asked, status: u16, serial: usize, now: Millis) -> Sent {
        let (path, request) = (&*asked.target, &asked.headers);
        let body = self.body(path, request, status);
        let mut head = self.recipe.head(serial, now);
        if status == 200 {
            self.add_validators(path, request, &mut head);
        }
        if self.recipe.tells_language && head.contains_key("vary") {
            add(&mut head, "content-language", &language_given(request));
        }
        let whole = Whole { status, head, body };
        let is_get = asked.method == "GET";
        let sent = |status, head, body: &[u8]| Sent {
            status,
            head,
            body: if is_get { body.to_vec() } else { Vec::new() },
            whole: whole.clone(),
        };
        if status == 200 && !self.recipe.ignores_conditions && is_unmodified(request, &whole.head) {
            return sent(304, self.not_modified(&whole.head), &[]);
        }
        let ranges =
            fields::ranges(request).filter(|_| is_get && status == 200 && !self.recipe.ignores_ranges);
        let applies = only(request, "if-range").is_none_or(|validator| if_range(validator, &whole.head));
        let length = whole.body.len();
        // More than one: it may send the whole.
        if let Some([range]) = ranges.filter(|_| applies).as_deref() {
            let Some((first, last)) = range.of(length) else {
                let mut head = HeaderMap::new();
                add(&mut head, "x-serial", &serial.to_string());
                add(&mut head, "content-range", &format!("bytes */{length}"));
                return sent(416, head, b"");
            };
            let mut head = whole.head.clone();
            add(&mut head, "content-range", &format!("bytes {first}-{last}/{length}"));
            return sent(206, head, &whole.body[first..=last]);
        }
        let mut head = whole.head.clone();
        if !is_get {
            add(&mut head, "content-length", &length.to_string());
        }
        sent(status, head, &whole.body)
    }

    /// RFC 9110, 15.4.5: what a 304 must have of the 200's fields.
    fn not_modified(&self, whole: &HeaderMap) -> HeaderMap {
        let mut head = HeaderMap::new();
        for (name, value) in whole {
            let is_told = matches!(
                name.as_str(),
                "x-serial"
                    | "cache-control"
                    | "cache-groups"
                    | "cdn-cache-control"
                    | "date"
                    | "etag"
                    | "expires"
                    | "vary"
                    | "age"
            );
            if is_told || (name == "x-note" && self.recipe.note_in_304) {
                head.append(name, value.clone());
            }
        }
        head
    }
}

impl Recipe {
    fn head(&self, serial: usize, now: Millis) -> HeaderMap {
        let mut head = HeaderMap::new();
        add(&mut head, "x-serial", &serial.to_string());
        add(&mut head, "content-type", "text/plain");
        let shifted = |seconds: i64| now.saturating_add_signed(seconds * 1000);
        match self.date {
            Dated::Now => add(&mut head, "date", &written_date(now)),
            Dated::Off(seconds) => add(&mut head, "date", &written_date(shifted(seconds))),
            Dated::Text(text) => add(&mut head, "date", text),
            Dated::Absent => {}
        }
        self.add_control(&mut head);
        match self.expires {
            Some(Expires::In(seconds)) => add(&mut head, "expires", &written_date(shifted(seconds))),
            Some(Expires::Obsolete(seconds)) => add(&mut head, "expires", &obsolete_date(shifted(seconds))),
            Some(Expires::Text(text)) => add(&mut head, "expires", text),
            Some(Expires::Twice(one, other)) => {
                add(&mut head, "expires", &written_date(shifted(one)));
                add(&mut head, "expires", &written_date(shifted(other)));
            }
            None => {}
        }
        let optional = [
            ("age", self.age.map(str::to_owned)),
            ("vary", self.vary.map(str::to_owned)),
            ("x-note", self.note.map(str::to_owned)),
            ("cache-groups", self.groups.map(str::to_owned)),
            // On answers to reads it says nothing.
            ("cache-group-invalidation", self.invalidates.map(str::to_owned)),
            ("set-cookie", self.cookie.then(|| format!("visit={serial}"))),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                add(&mut head, name, &value);
            }
        }
        head
    }

    fn add_control(&self, head: &mut HeaderMap) {
        if self.apart {
            self.control.iter().for_each(|directive| add(head, "cache-control", directive));
        } else if !self.control.is_empty() {
            add(head, "cache-control", &self.control.join(", "));
        }
        self.cdn.iter().for_each(|value| add(head, "cdn-cache-control", value));
    }
}

/// RFC 9110, 13.1.2 and 13.1.3.
fn is_unmodified(request: &HeaderMap, whole: &HeaderMap) -> bool {
    if request.contains_key("if-none-match") {
        return weakly_named(request, whole);
    }
    let since = only(request, "if-modified-since").and_then(fields::date);
    let modified = only(whole, "last-modified").and_then(fields::date);
    matches!((since, modified), (Some(since), Some(modified)) if modified <= since)
}

pub(crate) fn weakly_named(request: &HeaderMap, whole: &HeaderMap) -> bool {
    let named = members(request, "if-none-match");
    let tag = only(whole, "etag");
    named == ["*"] || tag.is_some_and(|tag| named.iter().any(|named| weakly_equal(named, tag)))
}

/// RFC 9110, 13.1.5 and, for how strong a date is, 8.8.2.2.
pub(crate) fn if_range(validator: &str, whole: &HeaderMap) -> bool {
    if validator.ends_with('"') {
        return only(whole, "etag").is_some_and(|tag| strongly_equal(validator, tag));
    }
    let date = |name| only(whole, name).and_then(fields::date);
    let (modified, sent) = (date("last-modified"), date("date"));
    modified.is_some() && fields::date(validator) == modified && sent >= modified.map(|at| at + 1000)
}

/// Which bytes of the whole were sent, as far as they count: all, some or none.
pub(crate) fn bytes_sent(method: &str, sent: &Sent) -> Vec<bool> {
    let length = sent.whole.body.len();
    match sent.status {
        304 | 416 => vec![false; length],
        _ if method == "HEAD" => vec![false; length],
        206 => {
            let told = only(&sent.head, "content-range").and_then(content_range);
            let (first, last, _) = told.expect("it sends single parts only");
            (0..length).map(|at| (first..=last).contains(&at)).collect()
        }
        _ => vec![true; length],
    }
}

pub(crate) fn add(head: &mut HeaderMap, name: &'static str, value: &str) {
    head.append(HeaderName::from_static(name), HeaderValue::from_str(value.trim()).unwrap());
}

/// RFC 850's form, which RFC 9110 still has recipients read.
fn obsolete_date(at: Millis) -> String {
    let date = written_date(at);
    let (day, rest) = date.split_once(", ").unwrap();
    let days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    let day = days.iter().find(|name| name.starts_with(day)).unwrap();
    let words: Vec<&str> = rest.split(' ').collect();
    format!("{day}, {}-{}-{} {} GMT", words[0], words[1], &words[2][2..], words[3])
}
