//! The head of a frame: all that is known of an answer but its body, as bytes.
//!
//! Numbers are little endian; a text has four bytes of length before it, a list four bytes that say how many. `write` leaves
//! out what a hit writes in its own (`Age`, and `Cache-Status` where the upstream had none), and `read` makes room for it
//! again while it builds the map. Invariant: what `read` takes for a head could have been written; it never panics, and takes
//! no more memory than a small multiple of what it reads.

use std::time::Duration;

use bytes::Bytes;
use http::header::AGE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::key::Key;
use super::stamp::Epoch;
use super::stored::{Head, Stored};
use super::tag::Tag;
use super::wire_reader::Reader;
use crate::clock::Timestamp;
use crate::semantics::VaryOn;
use crate::semantics::fields::CACHE_STATUS;
use crate::semantics::freshness::{Lifetime, Source, Staleness};

/// What a frame says beside the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Whose answer it is: of a resource, or of one of its variants.
    pub key: Key,
    /// What answers for this resource vary on.
    pub vary: VaryOn,
    /// A digest of the rules it was kept by.
    pub rules: u64,
    /// In which life of the log of invalidations …
    pub epoch: Epoch,
    /// … all up to here had been applied before it was asked for.
    pub position: u64,
}

/// All that a head says.
#[derive(Debug)]
pub struct Said {
    /// What it says beside the answer.
    pub envelope: Envelope,
    /// Status and fields, with places for what a hit will add.
    pub head: Head,
    /// The upstream, or a cache before it, sent a `Cache-Status`.
    pub has_cache_status: bool,
    /// When its request was sent.
    pub requested_at: Timestamp,
    /// When it came.
    pub answered_at: Timestamp,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// What it can be called by, beside its path.
    pub tags: Vec<Tag>,
}

/// The most fields of an answer: with names and values of a byte, more than any server takes.
const FIELDS_MAX: usize = 4096;

/// Five thousand years; what is longer is cut. So long a time can be added to any other.
const DURATION_MAX: Duration = Duration::from_secs(5000 * 366 * 24 * 3600);

/// Fri, 31 Dec 9999 23:59:59 GMT: a later date can't be written.
const TIME_MAX: Timestamp = Timestamp::from_millis(253_402_300_799_000);

/// What a head takes beside its texts.
const FIXED_BYTES: usize = 256;

const MUST_ASK: u8 = 1;
const IMMUTABLE: u8 = 2;
const NEVER_STALE: u8 = 4;
const STRICTLY_STALE: u8 = 8;

/// No less than what `write` will write.
pub(super) fn length_max(envelope: &Envelope, stored: &Stored) -> usize {
    let fields = stored.head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 8);
    let names = envelope.vary.names().iter().map(|name| name.as_str().len() + 4);
    let tags = stored.labels.tags.len() * size_of::<Tag>();
    FIXED_BYTES + tags + fields.chain(names).sum::<usize>()
}

/// Writes a head behind what is there.
pub fn write(envelope: &Envelope, stored: &Stored, into: &mut Vec<u8>) {
    into.extend_from_slice(envelope.key.bytes());
    put(into, envelope.rules);
    into.extend_from_slice(&envelope.epoch.0);
    put(into, envelope.position);
    put(into, stored.requested_at.millis());
    put(into, stored.answered_at.millis());
    put_lifetime(into, &stored.lifetime);
    put_list(into, envelope.vary.names().iter().map(HeaderName::as_str));
    counted(into, stored.labels.tags.iter(), |into, tag| put(into, tag.bits()));
    into.extend_from_slice(&stored.head.status.as_u16().to_le_bytes());
    let own = |name: &HeaderName| *name == AGE || (!stored.has_cache_status && *name == CACHE_STATUS);
    let fields = stored.head.headers.iter().filter(|(name, _)| !own(name));
    counted(into, fields, |into, (name, value)| {
        put_text(into, name.as_str().as_bytes());
        put_text(into, value.as_bytes());
    });
}

/// Reads a head that is all of these bytes. The values of its fields share them.
pub fn read(head: &Bytes) -> Option<Said> {
    let mut reader = Reader::new(head);
    let key = Key::from_bytes(reader.array()?);
    let rules = reader.u64()?;
    let epoch = Epoch(reader.array()?);
    let position = reader.u64()?;
    let requested_at = time(&mut reader)?;
    let answered_at = time(&mut reader)?;
    let lifetime = lifetime(&mut reader)?;
    let vary = vary(&mut reader)?;
    let tags = tags(&mut reader)?;
    let status = status(&mut reader)?;
    let (headers, has_cache_status) = fields(&mut reader, head)?;
    let envelope = Envelope { key, vary, rules, epoch, position };
    let head = Head { status, headers };
    let said = Said { envelope, head, has_cache_status, requested_at, answered_at, lifetime, tags };
    reader.is_empty().then_some(said)
}

fn put(into: &mut Vec<u8>, number: u64) {
    into.extend_from_slice(&number.to_le_bytes());
}

fn put_duration(into: &mut Vec<u8>, duration: Duration) {
    let duration = duration.min(DURATION_MAX);
    put(into, duration.as_secs());
    into.extend_from_slice(&duration.subsec_nanos().to_le_bytes());
}

fn put_lifetime(into: &mut Vec<u8>, lifetime: &Lifetime) {
    put(into, lifetime.fresh_until.millis());
    put_duration(into, lifetime.initial_age);
    put(into, lifetime.answered_at.millis());
    into.push(match lifetime.source {
        Source::Upstream => 0,
        Source::Heuristic => 1,
        Source::Route => 2,
        Source::Negative => 3,
    });
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    into.push(
        flag(lifetime.must_ask, MUST_ASK)
            | flag(lifetime.immutable, IMMUTABLE)
            | flag(lifetime.stale.prohibited, NEVER_STALE)
            | flag(lifetime.stale.strict, STRICTLY_STALE),
    );
    put_duration(into, lifetime.stale.while_revalidate);
    put_duration(into, lifetime.stale.if_error);
}

fn put_list<'t>(into: &mut Vec<u8>, texts: impl Iterator<Item = &'t str>) {
    counted(into, texts, |into, text| put_text(into, text.as_bytes()));
}

/// How many there are is known when they are written.
fn counted<T>(into: &mut Vec<u8>, things: impl Iterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
    let at = into.len();
    into.extend_from_slice(&[0; 4]);
    let mut count = 0;
    for thing in things {
        write(into, thing);
        count += 1;
    }
    into[at..at + 4].copy_from_slice(&length_of(count));
}

fn put_text(into: &mut Vec<u8>, text: &[u8]) {
    into.extend_from_slice(&length_of(text.len()));
    into.extend_from_slice(text);
}

/// What is too long for it makes a head that can't be read: nothing of four gigabytes comes here.
fn length_of(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn time(reader: &mut Reader<'_>) -> Option<Timestamp> {
    reader.u64().map(Timestamp::from_millis).filter(|time| *time <= TIME_MAX)
}

fn duration(reader: &mut Reader<'_>) -> Option<Duration> {
    let (seconds, nanos) = (reader.u64()?, reader.u32()?);
    let duration = (nanos < 1_000_000_000)
        .then(|| Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos.into())));
    duration.flatten().filter(|duration| *duration <= DURATION_MAX)
}

fn lifetime(reader: &mut Reader<'_>) -> Option<Lifetime> {
    // What is kept for ever is fresh beyond any date.
    let fresh_until = Timestamp::from_millis(reader.u64()?);
    let initial_age = duration(reader)?;
    let answered_at = time(reader)?;
    let source = match reader.byte()? {
        0 => Source::Upstream,
        1 => Source::Heuristic,
        2 => Source::Route,
        3 => Source::Negative,
        _ => return None,
    };
    let flags = reader.byte()?;
    if flags & !(MUST_ASK | IMMUTABLE | NEVER_STALE | STRICTLY_STALE) != 0 {
        return None;
    }
    let is_set = |flag: u8| flags & flag != 0;
    let (while_revalidate, if_error) = (duration(reader)?, duration(reader)?);
    let (prohibited, strict) = (is_set(NEVER_STALE), is_set(STRICTLY_STALE));
    let stale = Staleness { prohibited, while_revalidate, if_error, strict };
    let (must_ask, immutable) = (is_set(MUST_ASK), is_set(IMMUTABLE));
    Some(Lifetime { fresh_until, initial_age, answered_at, source, must_ask, immutable, stale })
}

fn vary(reader: &mut Reader<'_>) -> Option<VaryOn> {
    let count = reader.count(4)?;
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        // `*` would be a name, but what varies on it is never kept.
        names.push(HeaderName::from_bytes(reader.text()?).ok().filter(|name| name.as_str() != "*")?);
    }
    Some(VaryOn::on(names))
}

fn tags(reader: &mut Reader<'_>) -> Option<Vec<Tag>> {
    let count = reader.count(size_of::<Tag>())?;
    let mut tags = Vec::with_capacity(count);
    for _ in 0..count {
        tags.push(Tag::from_bits(reader.u64()?));
    }
    Some(tags)
}

fn status(reader: &mut Reader<'_>) -> Option<StatusCode> {
    let status = StatusCode::from_u16(reader.u16()?).ok()?;
    // An answer that is on its way still, or a part, is not written: here would be half of one that looks whole.
    (!status.is_informational() && status != StatusCode::PARTIAL_CONTENT).then_some(status)
}

fn fields(reader: &mut Reader<'_>, head: &Bytes) -> Option<(HeaderMap, bool)> {
    let count = reader.count(8)?;
    if count > FIELDS_MAX {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(count + 2);
    for _ in 0..count {
        let name = HeaderName::from_bytes(reader.text()?).ok()?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(reader.text()?)).ok()?;
        headers.append(name, value);
    }
    // As `Head::for_hits` has it, without copying the map.
    let has_cache_status = headers.contains_key(CACHE_STATUS);
    headers.insert(AGE, HeaderValue::from_static("0"));
    if !has_cache_status {
        headers.insert(CACHE_STATUS, HeaderValue::from_static("larder"));
    }
    Some((headers, has_cache_status))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::example::{answers, envelope, envelopes, stored};
    use super::*;

    fn written(envelope: &Envelope, stored: &Stored) -> Vec<u8> {
        let mut head = Vec::new();
        write(envelope, stored, &mut head);
        head
    }

    /// An ordinary head, to which something is done.
    fn done(change: impl FnOnce(&mut Envelope, &mut Stored)) -> Option<Said> {
        let (mut envelope, mut stored) = (envelope(), stored(&[("etag", "\"a\"")], b""));
        change(&mut envelope, &mut stored);
        read(&Bytes::from(written(&envelope, &stored)))
    }

    #[test]
    fn what_makes_no_sense_is_none() {
        assert!(done(|_, _| {}).is_some());
        assert!(done(|_, stored| stored.head.status = StatusCode::PARTIAL_CONTENT).is_none());
        assert!(done(|_, stored| stored.head.status = StatusCode::CONTINUE).is_none());
        assert!(done(|_, stored| stored.answered_at = TIME_MAX.plus(Duration::from_millis(1))).is_none());
        assert!(done(|_, stored| stored.lifetime.answered_at = Timestamp::from_millis(u64::MAX)).is_none());
        assert!(done(|_, stored| stored.requested_at = Timestamp::from_millis(u64::MAX)).is_none());
        let star = vec![HeaderName::from_bytes(b"*").unwrap()];
        assert!(done(|envelope, _| envelope.vary = VaryOn::on(star)).is_none());
        let many: HeaderMap = (0..FIELDS_MAX)
            .map(|n| (HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap(), n.into()))
            .collect();
        let more = || done(|_, stored| stored.head.headers.extend(many.clone()));
        assert!(more().is_none(), "etag, and as many as there may be");
    }

    #[test]
    fn a_time_beyond_all_bounds_is_cut() {
        let said = done(|_, stored| {
            stored.lifetime.initial_age = Duration::MAX;
            stored.lifetime.stale.if_error = Duration::MAX;
        });
        let lifetime = said.unwrap().lifetime;
        assert_eq!((lifetime.initial_age, lifetime.stale.if_error), (DURATION_MAX, DURATION_MAX));
        assert!(lifetime.age(Timestamp::from_millis(u64::MAX)) > DURATION_MAX);
    }

    #[test]
    fn bytes_that_no_name_value_or_text_may_have_are_none() {
        let fine = written(&envelope(), &stored(&[("x-name", "some value")], b""));
        for (from, to) in [
            (&b"x-name"[..], &b"x name"[..]),
            (b"x-name", b"x-nam\xe9"),
            (b"some value", b"some\nvalue"),
            (b"some value", b"some\0value"),
        ] {
            let at = fine.windows(from.len()).position(|window| window == from).unwrap();
            let mut changed = fine.clone();
            changed[at..at + to.len()].copy_from_slice(to);
            assert!(read(&Bytes::from(changed)).is_none(), "{}", to.escape_ascii());
        }
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_none() {
        let fine = Bytes::from(written(&envelope(), &stored(&[("etag", "\"a\""), ("x-b", "c")], b"")));
        assert!(read(&fine).is_some());
        for end in 0..fine.len() {
            assert!(read(&fine.slice(..end)).is_none(), "cut at {end}");
        }
        assert!(read(&Bytes::from([&fine[..], b"\0"].concat())).is_none());
    }

    #[test]
    fn places_for_what_a_hit_adds_are_there_and_are_not_written() {
        for (fields, has_cache_status) in [
            (&[("etag", "\"a\""), ("age", "7")][..], false),
            (&[("etag", "\"a\""), ("cache-status", "other; hit")], true),
        ] {
            let stored = stored(fields, b"");
            let head = written(&envelope(), &stored);
            let said = read(&Bytes::copy_from_slice(&head)).unwrap();
            assert_eq!((&said.head.headers, said.has_cache_status), (&stored.head.headers, has_cache_status));
            let has = |text: &[u8]| head.windows(text.len()).any(|window| window == text);
            assert_eq!((has(b"age"), has(b"cache-status")), (false, has_cache_status));
        }
    }

    proptest! {
        #[test]
        fn a_head_is_no_longer_than_was_foreseen(envelope in envelopes(), answer in answers()) {
            let stored = answer.stored();
            prop_assert!(written(&envelope, &stored).len() <= length_max(&envelope, &stored));
        }

        #[test]
        fn noise_is_read_or_not_but_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&Bytes::from(noise));
        }

        #[test]
        fn a_changed_head_is_read_or_not_but_never_a_panic(
            envelope in envelopes(),
            answer in answers(),
            changes in proptest::collection::vec(any::<(prop::sample::Index, u8)>(), 1..5),
        ) {
            let stored = answer.stored();
            let mut head = written(&envelope, &stored);
            for (at, byte) in changes {
                let at = at.index(head.len());
                head[at] = byte;
            }
            if let Some(said) = read(&Bytes::from(head)) {
                // What is computed with on each hit.
                let _ = said.lifetime.age(Timestamp::from_millis(u64::MAX));
                let _ = said.lifetime.ttl(said.answered_at);
            }
        }
    }
}
