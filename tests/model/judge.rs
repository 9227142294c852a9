//! Holds an answer that a client got against the model.
//!
//! The answer says by its `x-serial` which exchange its head is from. For each answer that a cache may have made of that there
//! are two questions: might it be used for this request (`law`), and is this a right rendering of it, whole, as a part, as a
//! 304, for HEAD (`faults`). One answer for which both are well is enough.

use std::fmt::Write as _;

use http::HeaderMap;

use crate::client::Answer;
use crate::fields::{self, Directives, Millis, content_range, date, lines, only, written_date};
use crate::history::History;
use crate::law::{Kept, Situation, forbids, never, not_for};
use crate::server::{Exchange, if_range, is_read, weakly_named};

/// How a request was answered, for the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Way {
    Hit,
    OwedHit,
    Stale,
    Validated,
    Forwarded,
    Refused,
}

/// What is to be judged.
pub(crate) struct Trial<'a> {
    pub(crate) situation: Situation<'a>,
    pub(crate) answer: &'a Answer,
    /// Made while this request waited.
    pub(crate) exchanges: &'a [Exchange],
    /// … and those for a request like this.
    pub(crate) own: &'a [Exchange],
    /// All requests that waited.
    pub(crate) askers: &'a [&'a HeaderMap],
    /// When the answer was there.
    pub(crate) answered_at: Millis,
    /// The answer that this request had to get without asking.
    pub(crate) owed: Option<&'a Kept>,
    pub(crate) history: &'a History,
}

/// What is wrong with it; else how it came about, and which answer it was.
pub(crate) fn judge(trial: &Trial<'_>) -> Result<(Way, Option<usize>), Vec<String>> {
    let mut wrong = of_exchanges(trial);
    let found = explain(trial);
    let verdict = match found {
        Ok(found) => found,
        Err(faults) => {
            wrong.extend(faults);
            return Err(wrong);
        }
    };
    let (way, at) = verdict;
    let is_reused = at.is_some_and(|at| !trial.is_of_now(&trial.history.kept[at]));
    if let Some(owed) = trial.owed
        && (!is_reused || !trial.own.is_empty())
    {
        wrong.push(format!(
            "the origin was asked, or nothing given, although #{} is fresh and answers this request (RFC 9111, 4)",
            owed.serial
        ));
    }
    let asked = Directives::read(trial.situation.request, "cache-control");
    if asked.says("only-if-cached") && is_read(trial.situation.method) && !trial.own.is_empty() && !is_reused
    {
        wrong.push("only-if-cached went to the origin (RFC 9111, 5.2.1.7)".to_owned());
    }
    let tells = trial.answer.headers.contains_key("x-serial");
    if let Some(at) = at.filter(|_| tells && is_read(trial.situation.method)) {
        wrong.extend(falsely_stored(trial, &trial.history.kept[at]));
    }
    if wrong.is_empty() { Ok((way, at)) } else { Err(wrong) }
}

/// RFC 9211, 2.6: `stored` "indicates whether the cache stored the response"; of some it must not.
fn falsely_stored(trial: &Trial<'_>, kept: &Kept) -> Vec<String> {
    let said = lines(&trial.answer.headers, "cache-status").into_iter().any(|line| line.contains("; stored"));
    if !said {
        return Vec::new();
    }
    // What may have been stored is any of what this exchange has made.
    let made = trial.history.kept.iter().filter(|each| each.serial == kept.serial && !each.is_fleeting);
    let never = made.map(|each| never(each, &trial.situation)).min_by_key(Vec::len).unwrap_or_default();
    never.into_iter().map(|reason| format!("#{} was stored in spite of {reason}", kept.serial)).collect()
}

/// What was wrong with what the origin was asked.
fn of_exchanges(trial: &Trial<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let method = trial.situation.method;
    for exchange in trial.own {
        if !trial.askers.iter().any(|request| trial.history.knows_validators(exchange, request)) {
            wrong.push(format!(
                "#{} was asked for with validators that are those of no stored answer (RFC 9111, 4.3.1)",
                exchange.serial
            ));
        }
    }
    if !is_read(method) && trial.own.iter().filter(|exchange| exchange.method == method).count() != 1 {
        wrong.push(format!("the {method} did not reach the origin just once (RFC 9110, 9.2.2; RFC 9111, 4)"));
    }
    wrong
}

/// Which answer it was.
fn explain(trial: &Trial<'_>) -> Result<(Way, Option<usize>), Vec<String>> {
    if only(&trial.answer.headers, "content-type") == Some("application/problem+json") {
        return refused(trial).map(|()| (Way::Refused, None));
    }
    let serial = only(&trial.answer.headers, "x-serial").map(|text| text.parse::<usize>().unwrap());
    let mut best: Option<Vec<String>> = None;
    // Simpler stories first: as it came rather than as joined with something; where the answer does not tell, as stored.
    let mut all: Vec<_> = trial.history.kept.iter().enumerate().rev().collect();
    all.sort_by_key(|(_, kept)| (serial.is_none() && trial.is_of_now(kept), !kept.made_of.is_empty()));
    for (at, kept) in all {
        if serial.is_some_and(|serial| serial != kept.serial) {
            continue;
        }
        let mut wrong = trial.forbids(kept);
        wrong.extend(trial.faults(kept));
        if wrong.is_empty() {
            return Ok((trial.way(kept), Some(at)));
        }
        let bases: Vec<String> = kept.made_of.iter().map(|base| format!("#{base}")).collect();
        let made_of = if bases.is_empty() { String::new() } else { format!(" over {}", bases.join(", ")) };
        let wrong: Vec<String> =
            wrong.iter().map(|reason| format!("as #{}{made_of}: {reason}", kept.serial)).collect();
        if best.as_ref().is_none_or(|best| wrong.len() < best.len()) {
            best = Some(wrong);
        }
    }
    Err(best.unwrap_or_else(|| vec!["no answer of the origin looks like it".to_owned()]))
}

/// An answer of Larder's own.
fn refused(trial: &Trial<'_>) -> Result<(), Vec<String>> {
    let asked = Directives::read(trial.situation.request, "cache-control");
    let broke = trial.exchanges.iter().any(|exchange| exchange.answer.is_none());
    if broke || (trial.answer.status == 504 && asked.says("only-if-cached")) {
        return Ok(());
    }
    Err(vec![format!("{} without a reason", trial.answer.status)])
}

impl Trial<'_> {
    /// Its head came for this request.
    fn is_of_now(&self, kept: &Kept) -> bool {
        self.exchanges.iter().any(|exchange| exchange.serial == kept.serial)
    }

    fn way(&self, kept: &Kept) -> Way {
        match () {
            () if self.is_of_now(kept) && !kept.made_of.is_empty() => Way::Validated,
            () if self.is_of_now(kept) => Way::Forwarded,
            () if self.owed.is_some() => Way::OwedHit,
            () if kept.is_stale(self.situation.now) => Way::Stale,
            () => Way::Hit,
        }
    }

    fn forbids(&self, kept: &Kept) -> Vec<String> {
        if !self.is_of_now(kept) {
            let mut reasons = forbids(kept, &self.situation);
            let before = self.exchanges.first().map_or(usize::MAX, |first| first.serial);
            if reasons.is_empty() && self.history.is_superseded(kept, &self.situation, before) {
                reasons.push("a newer one is stored (RFC 9111, 4)".to_owned());
            }
            return reasons;
        }
        let mut reasons =
            if is_read(self.situation.method) { not_for(kept, &self.situation) } else { Vec::new() };
        let asked = Directives::read(self.situation.request, "cache-control");
        if asked.says("no-cache") && kept.sent_at < self.situation.now {
            reasons.push("the request's no-cache: it was asked for before (RFC 9111, 5.2.1.4)".to_owned());
        }
        // What it came with is for the one who asked; what was there before must have been there by right.
        reasons.extend(kept.taint.clone());
        reasons
    }

    /// Why this is not a right rendering of that.
    fn faults(&self, kept: &Kept) -> Vec<String> {
        match self.answer.status {
            304 => self.not_modified(kept),
            206 => self.part(kept),
            416 if kept.status != 416 => self.unsatisfiable(kept),
            status if status == kept.status => self.whole(kept),
            status => vec![format!("its status is {}, not {status}", kept.status)],
        }
    }

    fn whole(&self, kept: &Kept) -> Vec<String> {
        let is_head = self.situation.method == "HEAD";
        let mut wrong = self.fields(kept, true);
        if !is_head && !kept.is_complete() {
            wrong.push("the cache was sent but a part of it (RFC 9111, 3.3)".to_owned());
        }
        let expected = if is_head { &[][..] } else { &kept.body };
        if self.answer.body != expected {
            wrong.push(format!("its body is {:?}", String::from_utf8_lossy(expected)));
        }
        let length = only(&self.answer.headers, "content-length");
        if length.is_some_and(|length| length != kept.body.len().to_string()) {
            wrong.push(format!("its length is {} (RFC 9110, 8.6)", kept.body.len()));
        }
        if kept.status != 416 && self.answer.headers.contains_key("content-range") {
            wrong.push("it is whole and has a Content-Range".to_owned());
        }
        wrong
    }

    /// RFC 9111, 4.3.2.
    fn not_modified(&self, kept: &Kept) -> Vec<String> {
        let request = self.situation.request;
        let mut wrong = self.fields(kept, false);
        wrong.extend(self.missing(kept));
        let holds = if request.contains_key("if-none-match") {
            weakly_named(request, &kept.head)
        } else {
            // "If the stored response has no Last-Modified, the value of Date, or else the time at which it was received".
            let since = only(request, "if-modified-since").and_then(date);
            let modified = only(&kept.head, "last-modified").or(only(&kept.head, "date"));
            since.is_some_and(|since| {
                modified.map_or(kept.answered_at / 1000 * 1000, |at| date(at).unwrap_or(Millis::MAX)) <= since
            })
        };
        if !holds || kept.status != 200 {
            wrong.push("the client's condition does not name it (RFC 9110, 13.1.2 and 13.1.3)".to_owned());
        }
        if !self.answer.body.is_empty() {
            wrong.push("a 304 has no body".to_owned());
        }
        wrong
    }

    fn unsatisfiable(&self, kept: &Kept) -> Vec<String> {
        let ranges = self.ranges(kept);
        let length = kept.body.len();
        let mut wrong = Vec::new();
        if ranges.is_none_or(|ranges| ranges.iter().any(|range| range.of(length).is_some())) {
            wrong.push("what was asked for is there (RFC 9110, 14.2)".to_owned());
        }
        let said = only(&self.answer.headers, "content-range");
        if said.is_some_and(|said| said != format!("bytes */{length}")) {
            wrong.push(format!("its length is {length} (RFC 9110, 14.4)"));
        }
        wrong
    }

    /// The ranges that are to be heeded. RFC 9110, 14.2: of a GET; 13.1.5: if `If-Range` holds.
    fn ranges(&self, kept: &Kept) -> Option<Vec<fields::Asked>> {
        let request = self.situation.request;
        let applies = only(request, "if-range").is_none_or(|validator| if_range(validator, &kept.head));
        fields::ranges(request).filter(|_| applies && self.situation.method == "GET" && kept.status == 200)
    }

    fn part(&self, kept: &Kept) -> Vec<String> {
        let Some(ranges) = self.ranges(kept) else {
            return vec!["nobody asked for a part of it (RFC 9110, 14.2 and 13.1.5)".to_owned()];
        };
        let mut wrong = self.fields(kept, false);
        wrong.extend(self.missing(kept));
        let parts = match only(&self.answer.headers, "content-range") {
            Some(range) => vec![(range.to_owned(), self.answer.body.to_vec())],
            None => multipart(self.answer),
        };
        let length = kept.body.len();
        let mut spans = Vec::new();
        for (range, bytes) in &parts {
            match content_range(range) {
                Some((first, last, total)) if total == length && first <= last && last < length => {
                    if kept.body[first..=last] != bytes[..] {
                        wrong.push(format!("its bytes {first}-{last} are others"));
                    }
                    if !kept.has[first..=last].iter().all(|has| *has) {
                        wrong.push(format!("the cache was not sent its bytes {first}-{last}"));
                    }
                    spans.push((first, last));
                }
                _ => wrong.push(format!("{range:?} of {length} bytes (RFC 9110, 14.4)")),
            }
        }
        let asked = ranges.iter().filter_map(|range| range.of(length)).collect::<Vec<_>>();
        let is_covered =
            |&(first, last): &(usize, usize)| spans.iter().any(|span| span.0 <= first && last <= span.1);
        if asked.is_empty() || !asked.iter().all(is_covered) || (asked.len() == 1 && spans != asked) {
            wrong.push(format!("{asked:?} was asked for, {spans:?} given (RFC 9110, 15.3.7)"));
        }
        wrong
    }

    /// What a 304 (RFC 9110, 15.4.5) and a 206 (15.3.7) must have of the fields of a 200.
    fn missing(&self, kept: &Kept) -> Vec<String> {
        let needed = ["content-location", "etag", "vary", "cache-control", "expires"];
        let missing = needed.into_iter().filter(|name| kept.head.contains_key(*name));
        let missing = missing.filter(|name| !self.answer.headers.contains_key(*name));
        missing.map(|name| format!("it has a field {name} (RFC 9110, 15.3.7 and 15.4.5)")).collect()
    }

    /// Whether its fields are those; all of them, or only those that are there.
    fn fields(&self, kept: &Kept, all: bool) -> Vec<String> {
        let (got, is_of_now) = (&self.answer.headers, self.is_of_now(kept));
        let is_joined = !kept.made_of.is_empty();
        let withheld = kept.withheld(self.situation.callers);
        let mut wrong = self.age(kept);
        wrong.extend(self.date(kept));
        let mut names: Vec<&str> = kept.head.keys().chain(got.keys()).map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let (expected, given) = (lines(&kept.head, name), lines(got, name));
            let is_free = match name {
                "age" | "date" | "via" | "cache-status" | "content-length" | "content-range" => true,
                // RFC 9209: why the answer is an older one.
                "proxy-status" => self.situation.failed,
                _ if !all && given.is_empty() => true,
                // A multipart's own.
                "content-type" => self.answer.status == 206,
                "set-cookie" => is_joined && is_of_now,
                _ => false,
            };
            if withheld.iter().any(|withheld| withheld == name) && (!is_of_now || is_joined) {
                if !given.is_empty() && !is_of_now {
                    wrong.push(format!("{name} was to be left out (RFC 9111, 5.2.2.4 and 5.2.2.7)"));
                }
            } else if !is_free && expected != given {
                wrong.push(format!("{name} is {expected:?}, not {given:?}"));
            }
        }
        wrong
    }

    /// RFC 9111, 4: "When a stored response is used to satisfy a request without validation, a cache MUST generate an Age
    /// header field".
    fn age(&self, kept: &Kept) -> Vec<String> {
        let given = lines(&self.answer.headers, "age");
        let is_of_now = self.is_of_now(kept);
        if is_of_now && given == lines(&kept.head, "age") {
            return Vec::new();
        }
        let (least, most) = kept.age(self.answered_at);
        let number = only(&self.answer.headers, "age").and_then(fields::seconds);
        let is_right = match number {
            Some(age) => age <= most / 1000 + 1 && (is_of_now || age + 1 >= least / 1000),
            None => given.is_empty() && is_of_now,
        };
        if is_right {
            return Vec::new();
        }
        vec![format!(
            "its age is {} to {} s, not {given:?} (RFC 9111, 5.1)",
            least / 1000,
            most.div_ceil(1000)
        )]
    }

    fn date(&self, kept: &Kept) -> Vec<String> {
        let (expected, given) = (lines(&kept.head, "date"), lines(&self.answer.headers, "date"));
        let is_dated = expected.first().is_some_and(|text| date(text).is_some());
        let received = [kept.answered_at, kept.answered_at + 1000].map(written_date);
        let is_received = given.len() == 1 && received.iter().any(|date| date == given[0]);
        // What is passed on without a date gets one from hyper, by the machine's clock.
        let is_passed = self.is_of_now(kept) && expected.is_empty();
        if expected == given || is_passed || (!is_dated && (given.is_empty() || is_received)) {
            return Vec::new();
        }
        vec![format!("date is {expected:?}, not {given:?} (RFC 9110, 6.6.1)")]
    }
}

/// `Content-Range` and bytes of each part (RFC 9110, 14.6).
fn multipart(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let kind = only(&answer.headers, "content-type").unwrap_or_default();
    let Some(boundary) = kind.strip_prefix("multipart/byteranges; boundary=").map(fields::unquoted) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&answer.body);
    let whole = format!("\r\n{text}");
    let delimiter = format!("\r\n--{boundary}");
    let mut pieces = whole.split(&*delimiter).skip(1);
    let mut parts = Vec::new();
    for piece in pieces.by_ref().take_while(|piece| !piece.starts_with("--")) {
        let (head, bytes) = piece.split_once("\r\n\r\n").unwrap_or((piece, ""));
        let range = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-range").then(|| value.trim().to_owned())
        });
        parts.push((range.unwrap_or_default(), bytes.as_bytes().to_vec()));
    }
    parts
}

/// The fields of a head, for people.
pub(crate) fn shown(head: &HeaderMap, mark: &str, leave_out: &[&str]) -> String {
    let mut text = String::new();
    for (name, value) in head.iter().filter(|(name, _)| !leave_out.contains(&name.as_str())) {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {mark}{name}: {}", value.to_str().unwrap());
    }
    text
}
