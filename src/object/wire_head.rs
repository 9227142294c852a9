//! The head of a frame: all that is known of an answer but its body, as bytes.
//!
//! Numbers are little endian; a text has four bytes of length before it, a list four bytes that say how many. `write` leaves
//! out what a hit writes in its own (`Age`), and `read` leaves the fields where they are: whoever packs them copies each once.
//! Invariant: what `read` takes for a head could have been written; it never panics, and takes no more memory than what it reads.

use std::time::Duration;

use http::header::AGE;
use http::{HeaderName, StatusCode};

use super::key::Key;
use super::stamp::Epoch;
use super::stored::Stored;
use super::tag::Tag;
use super::wire_reader::Reader;
use crate::clock::Timestamp;
use crate::semantics::VaryOn;
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
pub struct Said<'h> {
    /// What it says beside the answer.
    pub envelope: Envelope,
    /// The upstream's status.
    pub status: StatusCode,
    /// Its fields.
    pub fields: Fields<'h>,
    /// When its request was sent.
    pub requested_at: Timestamp,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// What it can be called by, beside its path.
    pub tags: Vec<Tag>,
}

/// Names and values, as a head has them.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'h>(Reader<'h>);

/// The most fields of an answer: with names and values of a byte, more than any server takes.
const FIELDS_MAX: usize = 4096;

/// The longest name that the `http` crate takes.
const NAME_BYTES_MAX: usize = u16::MAX as usize;

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
    let fields = stored.head.lines().map(|(name, value)| name.len() + value.len() + 8);
    let names = envelope.vary.names().iter().map(|name| name.as_str().len() + 4);
    let tags = stored.labels.tags().len() * Tag::BYTES;
    FIXED_BYTES + tags + fields.chain(names).sum::<usize>()
}

/// Writes a head behind what is there.
pub fn write(envelope: &Envelope, stored: &Stored, into: &mut Vec<u8>) {
    into.extend_from_slice(envelope.key.bytes());
    put(into, envelope.rules);
    into.extend_from_slice(&envelope.epoch.0);
    put(into, envelope.position);
    put(into, stored.requested_at.millis());
    put(into, stored.lifetime.answered_at.millis());
    put_lifetime(into, &stored.lifetime);
    put_list(into, envelope.vary.names().iter().map(HeaderName::as_str));
    counted(into, stored.labels.tags(), |into, tag| put(into, tag.bits()));
    into.extend_from_slice(&stored.head.status.as_u16().to_le_bytes());
    counted(into, stored.head.lines(), |into, (name, value)| {
        put_text(into, name);
        put_text(into, value);
    });
}

/// Reads a head that is all of these bytes.
pub fn read(head: &[u8]) -> Option<Said<'_>> {
    let mut reader = Reader::new(head);
    let key = Key::from_bytes(reader.array()?);
    let rules = reader.u64()?;
    let epoch = Epoch(reader.array()?);
    let position = reader.u64()?;
    let requested_at = time(&mut reader)?;
    let answered_at = time(&mut reader)?;
    // It is written twice, from when the two were kept apart.
    let lifetime = lifetime(&mut reader).filter(|lifetime| lifetime.answered_at == answered_at)?;
    let vary = vary(&mut reader)?;
    let tags = tags(&mut reader)?;
    let status = status(&mut reader)?;
    let fields = fields(&mut reader)?;
    let envelope = Envelope { key, vary, rules, epoch, position };
    Some(Said { envelope, status, fields, requested_at, lifetime, tags })
}

impl<'h> Fields<'h> {
    /// Each of them; a hit says its own age.
    pub fn iter(self) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
        let Self(mut reader) = self;
        let fields = std::iter::from_fn(move || Some((reader.text()?, reader.text()?)));
        fields.filter(|(name, _)| *name != AGE.as_str().as_bytes())
    }
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
    put_duration(into, lifetime.initial_age.into());
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
    put_duration(into, lifetime.stale.while_revalidate.into());
    put_duration(into, lifetime.stale.if_error.into());
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
    let initial_age = duration(reader)?.into();
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
    let (while_revalidate, if_error) = (duration(reader)?.into(), duration(reader)?.into());
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

fn fields<'h>(reader: &mut Reader<'h>) -> Option<Fields<'h>> {
    let count = reader.count(8)?;
    if count > FIELDS_MAX {
        return None;
    }
    let fields = Fields(*reader);
    for _ in 0..count {
        let (name, value) = (reader.text()?, reader.text()?);
        if !(is_name(name) && is_value(value)) {
            return None;
        }
    }
    // Nothing comes behind them.
    reader.is_empty().then_some(fields)
}

/// RFC 9110, 5.1: "field-name = token". They were written in lower case.
fn is_name(text: &[u8]) -> bool {
    const fn is_letter(byte: u8) -> bool {
        byte.is_ascii_digit()
            || byte.is_ascii_lowercase()
            || matches!(
                byte,
                b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            )
    }
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.iter().all(|byte| is_letter(*byte))
}

/// RFC 9110, 5.5: "field-vchar = VCHAR / obs-text", and between them spaces and tabs.
fn is_value(text: &[u8]) -> bool {
    // Each of them is looked at: many at once are faster than one after the other.
    text.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::super::example::{answers, envelope, envelopes, stored};
    use super::super::packed::Packed;
    use super::*;

    fn written(envelope: &Envelope, stored: &Stored) -> Vec<u8> {
        let mut head = Vec::new();
        write(envelope, stored, &mut head);
        head
    }

    /// An ordinary head, to which something is done.
    fn done(change: impl FnOnce(&mut Envelope, &mut Stored)) -> Option<Lifetime> {
        let (mut envelope, mut stored) = (envelope(), stored(&[("etag", "\"a\"")], b""));
        change(&mut envelope, &mut stored);
        read(&written(&envelope, &stored)).map(|said| said.lifetime)
    }

    #[test]
    fn what_makes_no_sense_is_none() {
        assert!(done(|_, _| {}).is_some());
        assert!(done(|_, stored| stored.head.status = StatusCode::PARTIAL_CONTENT).is_none());
        assert!(done(|_, stored| stored.head.status = StatusCode::CONTINUE).is_none());
        let too_late = TIME_MAX.plus(Duration::from_millis(1));
        assert!(done(|_, stored| stored.lifetime.answered_at = too_late).is_none());
        assert!(done(|_, stored| stored.lifetime.answered_at = Timestamp::from_millis(u64::MAX)).is_none());
        assert!(done(|_, stored| stored.requested_at = Timestamp::from_millis(u64::MAX)).is_none());
        let star = vec![HeaderName::from_bytes(b"*").unwrap()];
        assert!(done(|envelope, _| envelope.vary = VaryOn::on(star)).is_none());
        let many: HeaderMap = (0..FIELDS_MAX)
            .map(|n| (HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap(), n.into()))
            .collect();
        let more = || {
            done(|_, stored| {
                let mut head = stored.head.head();
                head.headers.extend(many.clone());
                stored.head = Packed::new(&head, Bytes::new());
            })
        };
        assert!(more().is_none(), "etag, and as many as there may be");
    }

    #[test]
    fn a_time_beyond_all_bounds_is_cut() {
        let said = done(|_, stored| {
            stored.lifetime.initial_age = Duration::MAX.into();
            stored.lifetime.stale.if_error = Duration::MAX.into();
        });
        let lifetime = said.unwrap();
        assert_eq!(
            (lifetime.initial_age, lifetime.stale.if_error),
            (DURATION_MAX.into(), DURATION_MAX.into())
        );
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
            assert!(read(&changed).is_none(), "{}", to.escape_ascii());
        }
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_none() {
        let fine = written(&envelope(), &stored(&[("etag", "\"a\""), ("x-b", "c")], b""));
        assert!(read(&fine).is_some());
        for end in 0..fine.len() {
            assert!(read(&fine[..end]).is_none(), "cut at {end}");
        }
        assert!(read(&[&fine[..], b"\0"].concat()).is_none());
    }

    #[test]
    fn an_age_is_a_hits_to_say() {
        let stored = stored(&[("etag", "\"a\""), ("age", "7"), ("cache-status", "other; hit")], b"");
        let head = written(&envelope(), &stored);
        let names: Vec<_> = read(&head).unwrap().fields.iter().map(|(name, _)| name).collect();
        assert_eq!(names, [&b"etag"[..], b"cache-status"]);
    }

    proptest! {
        #[test]
        fn a_head_is_no_longer_than_was_foreseen(envelope in envelopes(), answer in answers()) {
            let stored = answer.stored();
            prop_assert!(written(&envelope, &stored).len() <= length_max(&envelope, &stored));
        }

        #[test]
        fn noise_is_read_or_not_but_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&noise);
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
            if let Some(said) = read(&head) {
                // What is computed with on each hit.
                let _ = said.lifetime.age(Timestamp::from_millis(u64::MAX));
                let _ = said.lifetime.ttl(said.lifetime.answered_at);
            }
        }
    }
}
