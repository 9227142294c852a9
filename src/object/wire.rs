//! `Wire`: an answer as bytes that another instance can read, and may trust.
//!
//! A *frame* is a head and a body, each a stretch of its own (see `seal`), so that a 304 can be written over the head alone:
//!
//! ```text
//!  0  "LRDR"                              the same in every frame
//!  4  version, how it is sealed, 0, 0     ┐
//!  8  key id                              │ 4..24: `SAME_BODY`, what the body is bound to
//! 12  room for the head                   │
//! 16  body id                             ┘
//! 24  when it was asked for, `ASKED_AT`
//! 32  length of the head                    4..36: what the head is bound to
//! 36  proof of the head
//! 48  the head (`wire_head`), zeros, tag    as long as there is room
//!     1: compressed, 0, 0, 0              ┐
//!     length of the body                  │ what the body is bound to as well
//!     length of what is here of it        ┘
//!     proof of the body
//!     the body, tag                         to the end
//! ```
//!
//! Both are bound to the key whose name it lies under, so that a frame is good in its place only. Invariants: what is not, to
//! the bit, what was written is `Unreadable`, which is a miss; and reading takes no more memory than the frame, or than
//! `max_object_bytes` where the body is compressed, beside the lines of the head.
//!
//! A short body is packed behind its head, and the frame is let go. A long one in the clear is a slice of the frame that came,
//! which it keeps alive.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::{Bytes, BytesMut};

use super::key::Key;
use super::packed::Packed;
use super::seal::{self, Cipher, EncryptionKey, Mark, Opener, Proof, Seals};
use super::squeeze::Squeeze;
use super::stamp::Stamp;
use super::stored::Stored;
use super::tag::Labels;
use super::whereabouts::Whereabouts;
use super::wire_head;
use super::wire_reader::Reader;

pub use super::unreadable::Unreadable;
pub use super::wire_head::Envelope;

/// Where two frames agree whose bodies are the same, so that the head of one is good for the other.
pub const SAME_BODY: Range<usize> = 4..24;

/// Where a frame says when its answer was asked for, in milliseconds since 1970, little endian: of two, the later is to be kept.
pub const ASKED_AT: Range<usize> = 24..32;

/// What the configuration says of frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whose frames these are; those of another are unreadable.
    pub namespace: String,
    /// Bodies longer than this are compressed; none: no body is.
    pub compress_above_bytes: Option<u64>,
    /// A body that is longer is not read.
    pub max_object_bytes: u64,
    /// Frames are sealed with the first, and opened with any. Empty: they are in the clear.
    pub keys: Vec<EncryptionKey>,
    /// With what cipher they are sealed; both are opened.
    pub cipher: Cipher,
}

/// Writes and reads frames; shared by all threads.
#[derive(Debug)]
pub struct Wire {
    pub(super) seals: Seals,
    squeeze: Squeeze,
    max_object_bytes: u64,
}

/// What a stretch is, so that none is taken for another.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Stretch {
    Head = 1,
    Body = 2,
    Secret = 3,
    Event = 4,
}

/// Where things lie in a frame, all of which are there.
struct Layout {
    body_id: u64,
    head_length: usize,
    head_proof: Proof,
    head: Range<usize>,
    is_squeezed: bool,
    whole_length: u64,
    body_proof: Proof,
    body: Range<usize>,
}

/// What a value begins with: of what kind it is, and in which version.
pub(super) type Kind = ([u8; 4], u8);

/// Goes up with every change of what is written of answers.
const VERSION: u8 = 2;

const FRAME: Kind = (*b"LRDR", VERSION);

/// How much of a frame lies before its head …
const PREFIX_BYTES: usize = 48;
/// … and what of that is said of the head.
const OF_THE_HEAD: Range<usize> = 4..36;
/// Where the head says how long it is.
const HEAD_LENGTH: Range<usize> = 32..36;

/// What lies before a body, …
const BODY_PREFIX_BYTES: usize = 32;
/// … and what of that is said of it.
const OF_THE_BODY: Range<usize> = 0..20;

const SQUEEZED: u8 = 1;

/// A head is given room in steps of this, so that the next one, with another date or a longer tag, has the same room most of
/// the time, and can be written over it.
const ROOM_STEP_BYTES: usize = 256;

impl Wire {
    /// As configured.
    pub fn new(settings: Settings) -> Self {
        let Settings { namespace, compress_above_bytes, max_object_bytes, keys, cipher } = settings;
        let seals = Seals::new(&namespace, &keys, cipher);
        Self { seals, squeeze: Squeeze::new(compress_above_bytes), max_object_bytes }
    }

    /// The whole of an answer, which is not a part, to lie under a name of this base. Empty, and so unreadable, if the
    /// machine has no random bytes to seal it with.
    pub fn encode(&self, base: &Key, envelope: &Envelope, stored: &Stored) -> Bytes {
        let squeezed = self.squeeze.squeezed(&stored.head.headers(), stored.body_bytes());
        let body = squeezed.as_deref().unwrap_or(stored.body_bytes());
        let room = BODY_PREFIX_BYTES + body.len() + self.seals.tag_bytes();
        let frame = self.head(base, envelope, stored, room);
        let frame = frame
            .and_then(|head| self.with_body(head, base, stored.body_bytes().len(), body, squeezed.is_some()));
        frame.map(Bytes::from).unwrap_or_default()
    }

    /// The beginning of a frame, to be written over that of one which agrees in `SAME_BODY`.
    pub fn encode_head(&self, base: &Key, envelope: &Envelope, stored: &Stored) -> Bytes {
        self.head(base, envelope, stored, 0).map(Bytes::from).unwrap_or_default()
    }

    /// What was written under a name of this base. Its stamp is none yet; where it goes and what it is for, the caller knows.
    pub fn decode(
        &self,
        base: &Key,
        frame: Bytes,
        route: &Arc<str>,
        path: &Arc<[u8]>,
    ) -> Result<(Envelope, Stored), Unreadable> {
        let (layout, opener) = self.laid_out(&frame)?;
        let tag_bytes = opener.tag_bytes();
        let text = opened(base, frame, &layout, &opener)?;
        let body = layout.body.start..layout.body.end - tag_bytes;
        let head = layout.head.start..layout.head.start + layout.head_length;
        let body = if layout.is_squeezed {
            let length = usize::try_from(layout.whole_length).map_err(|_| Unreadable::TooLarge)?;
            Bytes::from(self.squeeze.whole(&text[body], length).ok_or(Unreadable::Compression)?)
        } else {
            text.slice(body)
        };
        let said = wire_head::read(&text[head]).ok_or(Unreadable::Malformed)?;
        let stored = Stored {
            head: Packed::of(said.status, || said.fields.iter(), body),
            part: None,
            labels: Labels::of(&said.tags, path),
            body_id: layout.body_id,
            requested_at: said.requested_at,
            lifetime: said.lifetime,
            route: Arc::clone(route),
            stamp: Stamp(0),
            live_at: AtomicU64::new(0),
            asked_in_vain_until: AtomicU64::new(0),
            whereabouts: Whereabouts::default(),
        };
        Ok((said.envelope, stored))
    }

    /// Magic, version and mark.
    pub(super) fn put_mark(&self, (magic, version): Kind, into: &mut Vec<u8>) {
        let Mark { how, key_id } = self.seals.mark();
        into.extend_from_slice(&magic);
        into.extend_from_slice(&[version, how, 0, 0]);
        into.extend_from_slice(&key_id);
    }

    /// A frame up to where its body's prefix begins, with room for so much more.
    fn head(&self, base: &Key, envelope: &Envelope, stored: &Stored, room: usize) -> Option<Vec<u8>> {
        let head_max = wire_head::length_max(envelope, stored) + self.seals.tag_bytes();
        let mut frame = Vec::with_capacity(PREFIX_BYTES + head_max.next_multiple_of(ROOM_STEP_BYTES) + room);
        self.put_mark(FRAME, &mut frame);
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(&stored.body_id.to_le_bytes());
        frame.extend_from_slice(&stored.requested_at.millis().to_le_bytes());
        frame.resize(PREFIX_BYTES, 0);
        wire_head::write(envelope, stored, &mut frame);
        let length = frame.len() - PREFIX_BYTES;
        let head_room = (length + self.seals.tag_bytes()).next_multiple_of(ROOM_STEP_BYTES);
        frame.resize(PREFIX_BYTES + head_room, 0);
        frame[12..16].copy_from_slice(&u32::try_from(head_room).ok()?.to_le_bytes());
        frame[HEAD_LENGTH].copy_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
        let bound = bound(Stretch::Head, Some(base), &frame[OF_THE_HEAD], &[]);
        let proof = self.seals.close(&bound, &mut frame[PREFIX_BYTES..])?;
        frame[OF_THE_HEAD.end..PREFIX_BYTES].copy_from_slice(&proof);
        Some(frame)
    }

    fn with_body(
        &self,
        mut frame: Vec<u8>,
        base: &Key,
        whole_length: usize,
        body: &[u8],
        is_squeezed: bool,
    ) -> Option<Vec<u8>> {
        let start = frame.len();
        let length = body.len() + self.seals.tag_bytes();
        frame.extend_from_slice(&[if is_squeezed { SQUEEZED } else { 0 }, 0, 0, 0]);
        frame.extend_from_slice(&u64::try_from(whole_length).ok()?.to_le_bytes());
        frame.extend_from_slice(&u64::try_from(length).ok()?.to_le_bytes());
        let bound = bound(Stretch::Body, Some(base), &frame[SAME_BODY], &frame[start..][OF_THE_BODY]);
        frame.resize(start + BODY_PREFIX_BYTES, 0);
        frame.extend_from_slice(body);
        frame.resize(start + BODY_PREFIX_BYTES + length, 0);
        let (prefix, stretch) = frame[start..].split_at_mut(BODY_PREFIX_BYTES);
        prefix[OF_THE_BODY.end..].copy_from_slice(&self.seals.close(&bound, stretch)?);
        Some(frame)
    }

    /// Where things lie; every length is looked at here.
    fn laid_out(&self, frame: &[u8]) -> Result<(Layout, Opener<'_>), Unreadable> {
        let mut reader = Reader::new(frame);
        let mark = mark(FRAME, &mut reader)?;
        let opener = self.seals.opener(mark)?;
        let layout = Layout::read(frame.len(), reader).ok_or(Unreadable::Length)?;
        let tag_bytes = opener.tag_bytes();
        let room_for_text = |stretch: &Range<usize>| stretch.len().checked_sub(tag_bytes);
        let head_room = room_for_text(&layout.head).ok_or(Unreadable::Length)?;
        let body_length = room_for_text(&layout.body).ok_or(Unreadable::Length)?;
        let is_as_long = layout.is_squeezed || layout.whole_length == body_length as u64;
        if layout.head_length > head_room || !is_as_long {
            return Err(Unreadable::Length);
        }
        if layout.whole_length > self.max_object_bytes {
            return Err(Unreadable::TooLarge);
        }
        Ok((layout, opener))
    }
}

impl Layout {
    /// What is behind the mark of a frame of this length. None if it is not just as long as it says.
    fn read(frame_length: usize, mut reader: Reader<'_>) -> Option<Self> {
        let index = |number: u64| usize::try_from(number).ok();
        let head_room = index(reader.u32()?.into())?;
        let body_id = reader.u64()?;
        // The head says it too.
        let _asked_at = reader.u64()?;
        let head_length = index(reader.u32()?.into())?;
        let head_proof = reader.array()?;
        reader.bytes(head_room)?;
        let head = PREFIX_BYTES..PREFIX_BYTES + head_room;
        let is_squeezed = match reader.array()? {
            [0, 0, 0, 0] => false,
            [SQUEEZED, 0, 0, 0] => true,
            _ => return None,
        };
        let whole_length = reader.u64()?;
        let length = index(reader.u64()?)?;
        let body_proof = reader.array()?;
        let body = frame_length - reader.left()..frame_length;
        let layout =
            Self { body_id, head_length, head_proof, head, is_squeezed, whole_length, body_proof, body };
        (layout.body.len() == length).then_some(layout)
    }
}

/// The frame with both stretches readable. One that is sealed is opened where it lies, or in a copy if others hold it.
fn opened(base: &Key, frame: Bytes, layout: &Layout, opener: &Opener<'_>) -> Result<Bytes, Unreadable> {
    let Layout { head_proof, head, body_proof, body, .. } = layout;
    let said_of_body = &frame[head.end..][OF_THE_BODY];
    let of_head = bound(Stretch::Head, Some(base), &frame[OF_THE_HEAD], &[]);
    let of_body = bound(Stretch::Body, Some(base), &frame[SAME_BODY], said_of_body);
    match opener {
        Opener::Checksum(namespace) => {
            seal::check(*namespace, head_proof, &of_head, &frame[head.clone()])?;
            seal::check(*namespace, body_proof, &of_body, &frame[body.clone()])?;
            Ok(frame)
        }
        Opener::Key(key) => {
            let mut frame = BytesMut::from(frame);
            seal::open(key, head_proof, &of_head, &mut frame[head.clone()])?;
            seal::open(key, body_proof, &of_body, &mut frame[body.clone()])?;
            Ok(frame.freeze())
        }
    }
}

/// Reads magic, version and mark.
pub(super) fn mark((magic, version): Kind, reader: &mut Reader<'_>) -> Result<Mark, Unreadable> {
    if reader.array() != Some(magic) {
        return Err(Unreadable::Foreign);
    }
    if reader.byte().ok_or(Unreadable::Length)? != version {
        return Err(Unreadable::Version);
    }
    let how = reader.byte().ok_or(Unreadable::Length)?;
    if reader.u16().ok_or(Unreadable::Length)? != 0 {
        return Err(Unreadable::Foreign);
    }
    let key_id = reader.array().ok_or(Unreadable::Length)?;
    Ok(Mark { how, key_id })
}

/// What a stretch is bound to: what it is, whose, and what is said of it. All stretches of a kind have as much of it, so that
/// no two can read alike.
pub(super) fn bound(stretch: Stretch, base: Option<&Key>, said: &[u8], more: &[u8]) -> [u8; 80] {
    let mut bound = [0; 80];
    bound[0] = stretch as u8;
    if let Some(base) = base {
        bound[1..33].copy_from_slice(base.bytes());
    }
    let (said_place, more_place) = bound[33..].split_at_mut(said.len());
    said_place.copy_from_slice(said);
    more_place[..more.len()].copy_from_slice(more);
    bound
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    use super::super::example::{answers, assert_same, envelope, envelopes, path, route, stored};
    use super::*;
    use crate::clock::Timestamp;

    const BASE: Key = Key::from_bytes([1; 32]);
    const KEY: EncryptionKey = EncryptionKey([3; 32]);
    const OTHER_KEY: EncryptionKey = EncryptionKey([4; 32]);
    const FIELDS: &[(&str, &str)] =
        &[("content-type", "application/json"), ("etag", "\"a\""), ("date", "Sat, 21 Nov 2026 00:00:00 GMT")];

    fn settings() -> Settings {
        Settings {
            namespace: "larder".to_owned(),
            compress_above_bytes: None,
            max_object_bytes: 1_000_000,
            keys: Vec::new(),
            cipher: Cipher::Aes256Gcm,
        }
    }

    fn clear() -> Wire {
        Wire::new(settings())
    }

    fn sealed(keys: &[EncryptionKey]) -> Wire {
        Wire::new(Settings { keys: keys.to_vec(), ..settings() })
    }

    fn squeezing(keys: &[EncryptionKey]) -> Wire {
        Wire::new(Settings { keys: keys.to_vec(), compress_above_bytes: Some(64), ..settings() })
    }

    /// In the clear and sealed in both ways, and each with and without compression.
    fn forms() -> Vec<(String, Wire)> {
        let mut forms = Vec::new();
        for compress_above_bytes in [None, Some(64)] {
            for (keys, cipher) in [
                (vec![], Cipher::Aes256Gcm),
                (vec![KEY], Cipher::Aes256Gcm),
                (vec![KEY], Cipher::ChaCha20Poly1305),
            ] {
                let settings = Settings { compress_above_bytes, keys, cipher, ..settings() };
                forms.push((format!("{settings:?}"), Wire::new(settings)));
            }
        }
        forms
    }

    fn decode(wire: &Wire, frame: &[u8]) -> Result<(Envelope, Stored), Unreadable> {
        wire.decode(&BASE, Bytes::copy_from_slice(frame), &route(), &path())
    }

    fn why(wire: &Wire, frame: &[u8]) -> Option<Unreadable> {
        decode(wire, frame).err()
    }

    /// The frame once `head` was written over its beginning, if the tier would do so.
    fn patched(frame: &[u8], head: &[u8]) -> Option<Vec<u8>> {
        let fits = frame[SAME_BODY] == head[SAME_BODY];
        fits.then(|| [head, &frame[head.len()..]].concat())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(envelope in envelopes(), answer in answers()) {
            let stored = answer.stored();
            for (form, wire) in forms() {
                let frame = wire.encode(&BASE, &envelope, &stored);
                let head = wire.encode_head(&BASE, &envelope, &stored);
                prop_assert_eq!(&frame[SAME_BODY], &head[SAME_BODY]);
                for frame in [patched(&frame, &head).unwrap(), frame.to_vec()] {
                    let (said, read) = decode(&wire, &frame).expect(&form);
                    prop_assert_eq!(&said, &envelope);
                    assert_same(&read, &stored);
                }
            }
        }

        #[test]
        fn noise_is_unreadable(
            noise in proptest::collection::vec(any::<u8>(), 0..300),
            real in 0_usize..60,
        ) {
            for (form, wire) in forms() {
                let frame = wire.encode(&BASE, &envelope(), &stored(FIELDS, b"body"));
                let noise = [&frame[..real], &noise].concat();
                prop_assert!(decode(&wire, &noise).is_err(), "{}", form);
            }
        }
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_unreadable() {
        for (form, wire) in forms() {
            let body = [b'a'; 100];
            let frame = wire.encode(&BASE, &envelope(), &stored(&[("etag", "\"a\"")], &body));
            assert_eq!(why(&wire, &frame), None, "{form}");
            for end in 0..frame.len() {
                assert!(decode(&wire, &frame[..end]).is_err(), "cut at {end}: {form}");
            }
            assert_eq!(why(&wire, &[&frame[..], b"\0"].concat()), Some(Unreadable::Length), "{form}");
            let mut flipped = frame.to_vec();
            for at in 0..frame.len() {
                for bit in 0..8 {
                    flipped[at] ^= 1 << bit;
                    assert!(decode(&wire, &flipped).is_err(), "bit {bit} of byte {at}: {form}");
                    flipped[at] ^= 1 << bit;
                }
            }
        }
    }

    #[test]
    fn what_is_not_for_us_says_why() {
        use Unreadable::*;
        let stored = stored(FIELDS, &[b'a'; 1000]);
        let written = |wire: &Wire| wire.encode(&BASE, &envelope(), &stored).to_vec();
        let changed = |wire: &Wire, at: usize, byte: u8| {
            let mut frame = written(wire);
            frame[at] = byte;
            frame
        };
        let foreign = Wire::new(Settings { namespace: "other".to_owned(), ..settings() });
        let foreign_sealed =
            Wire::new(Settings { namespace: "other".to_owned(), keys: vec![KEY], ..settings() });
        let sparing = Wire::new(Settings { max_object_bytes: 999, ..settings() });
        for (what, reader, frame, expected) in [
            ("nothing", clear(), Vec::new(), Foreign),
            ("text", clear(), b"{\"somebody\":\"else's\"}".to_vec(), Foreign),
            ("the beginning", clear(), b"LRD".to_vec(), Foreign),
            ("no more than the magic", clear(), b"LRDR".to_vec(), Length),
            ("the secret", clear(), clear().seal_secret(&[1; 32]).to_vec(), Foreign),
            ("another version", clear(), changed(&clear(), 4, VERSION + 1), Version),
            ("an unknown cipher", clear(), changed(&clear(), 5, 3), Foreign),
            ("something reserved", clear(), changed(&clear(), 7, 1), Foreign),
            ("a key id in the clear", clear(), changed(&clear(), 8, 1), Foreign),
            ("more room than there is", clear(), changed(&clear(), 15, 1), Length),
            ("another time", clear(), changed(&clear(), 25, 1), Altered),
            ("a head longer than its room", clear(), changed(&clear(), 34, 1), Length),
            ("another body", clear(), changed(&clear(), 16, 1), Altered),
            ("sealed, without keys", clear(), written(&sealed(&[KEY])), Sealed),
            ("clear, with keys", sealed(&[KEY]), written(&clear()), Clear),
            ("another key", sealed(&[OTHER_KEY]), written(&sealed(&[KEY])), UnknownKey),
            ("another's", clear(), written(&foreign), Altered),
            ("another's with our key", sealed(&[KEY]), written(&foreign_sealed), Altered),
            ("a large one", sparing, written(&clear()), TooLarge),
        ] {
            assert_eq!(why(&reader, &frame), Some(expected), "{what}");
        }
    }

    #[test]
    fn a_frame_is_good_in_its_place_only() {
        for (form, wire) in forms() {
            let frame = wire.encode(&BASE, &envelope(), &stored(FIELDS, b"body"));
            let elsewhere = wire.decode(&Key::from_bytes([2; 32]), frame, &route(), &path());
            assert_eq!(elsewhere.err(), Some(Unreadable::Altered), "{form}");
        }
    }

    #[test]
    fn the_first_key_writes_and_all_read() {
        let (old, new) = (sealed(&[OTHER_KEY]), sealed(&[KEY, OTHER_KEY]));
        let stored = stored(FIELDS, b"body");
        let written_before = old.encode(&BASE, &envelope(), &stored);
        assert_same(&decode(&new, &written_before).unwrap().1, &stored);
        let written_now = new.encode(&BASE, &envelope(), &stored);
        assert_same(&decode(&sealed(&[KEY]), &written_now).unwrap().1, &stored);
        assert_eq!(why(&old, &written_now), Some(Unreadable::UnknownKey));
        let head = new.encode_head(&BASE, &envelope(), &stored);
        assert_eq!(patched(&written_before, &head), None, "sealed with another key");
        let other_cipher =
            Wire::new(Settings { keys: vec![KEY], cipher: Cipher::ChaCha20Poly1305, ..settings() });
        assert_same(&decode(&other_cipher, &written_now).unwrap().1, &stored);
        assert_eq!(patched(&written_now, &other_cipher.encode_head(&BASE, &envelope(), &stored)), None);
    }

    #[test]
    fn a_new_head_is_written_over_the_old_one() {
        for (form, wire) in forms() {
            let body = [b'a'; 1000];
            let old = stored(FIELDS, &body);
            let frame = wire.encode(&BASE, &envelope(), &old);
            let mut new = stored(&[FIELDS[0], FIELDS[1], ("date", "Sun, 22 Nov 2026 00:00:00 GMT")], &body);
            new.lifetime.answered_at = Timestamp::from_millis(1_795_305_600_000);
            new.lifetime.fresh_until = Timestamp::from_millis(1_795_309_200_000);
            let head = wire.encode_head(&BASE, &Envelope { rules: 6, ..envelope() }, &new);
            let (said, read) = decode(&wire, &patched(&frame, &head).expect(&form)).expect(&form);
            assert_eq!(said.rules, 6, "{form}");
            assert_same(&read, &new);
        }
    }

    #[test]
    fn a_head_is_good_for_its_own_body_only() {
        for (form, wire) in forms() {
            let frame = wire.encode(&BASE, &envelope(), &stored(FIELDS, b"one body"));
            let mut other = stored(FIELDS, b"another");
            other.body_id = 8;
            let head = wire.encode_head(&BASE, &envelope(), &other);
            assert_eq!(patched(&frame, &head), None, "{form}");
            // If it is written there all the same:
            let mixed = [&head[..], &frame[head.len()..]].concat();
            assert_eq!(why(&wire, &mixed), Some(Unreadable::Altered), "{form}");
            let long = Box::leak("x".repeat(600).into_boxed_str());
            let longer = wire.encode_head(&BASE, &envelope(), &stored(&[("x-long", long)], b"one body"));
            assert_eq!(patched(&frame, &longer), None, "it needs more room: {form}");
        }
    }

    #[test]
    fn a_long_body_in_the_clear_is_not_copied() {
        let body = vec![b'a'; 50_000];
        let frame = clear().encode(&BASE, &envelope(), &stored(FIELDS, &body));
        let place = frame.as_ptr() as usize + frame.len() - body.len();
        let (_, read) = clear().decode(&BASE, frame, &route(), &path()).unwrap();
        assert_eq!(read.body_bytes().as_ptr() as usize, place);
    }

    #[test]
    fn a_long_sealed_body_is_opened_where_it_lies_unless_others_hold_it() {
        let (wire, body) = (sealed(&[KEY]), vec![b'a'; 50_000]);
        let frame = wire.encode(&BASE, &envelope(), &stored(FIELDS, &body));
        let held = frame.to_vec();
        let place = |frame: &Bytes| frame.as_ptr() as usize + frame.len() - body.len() - seal::TAG_BYTES;
        let alone = Bytes::from(held.clone());
        let expected = place(&alone);
        let (_, read) = wire.decode(&BASE, alone, &route(), &path()).unwrap();
        assert_eq!((read.body_bytes().as_ptr() as usize, read.body_bytes()), (expected, &body[..]));
        let shared = Bytes::from(held.clone());
        let (_, read) = wire.decode(&BASE, shared.clone(), &route(), &path()).unwrap();
        assert_ne!(read.body_bytes().as_ptr() as usize, place(&shared));
        assert_eq!((read.body_bytes(), &shared[..]), (&body[..], &held[..]));
    }

    #[test]
    fn what_was_decompressed_keeps_no_frame_alive() {
        for wire in [squeezing(&[]), squeezing(&[KEY])] {
            let written = wire.encode(&BASE, &envelope(), &stored(FIELDS, &vec![b'a'; 50_000]));
            let frame = Bytes::from(written.to_vec());
            let watched = frame.clone();
            let (_, read) = wire.decode(&BASE, frame, &route(), &path()).unwrap();
            assert!(watched.len() < 1000 && watched.is_unique());
            // Nobody else has the body, and so it can be had without a copy: its buffer is just as long.
            let (place, body) = (read.body_bytes().as_ptr(), read.body());
            drop(read);
            let body = Vec::from(body);
            assert_eq!((body.as_ptr(), body.capacity()), (place, 50_000));
        }
    }

    #[test]
    fn a_body_that_would_grow_beyond_bounds_does_not() {
        let generous = Wire::new(Settings { max_object_bytes: u64::MAX, ..squeezing_settings() });
        let written = generous.encode(&BASE, &envelope(), &stored(FIELDS, &vec![0; 50_000_000]));
        assert!(written.len() < 5000);
        assert_eq!(why(&squeezing(&[]), &written), Some(Unreadable::TooLarge));
        // One that lies about its length, under a good checksum.
        let zeros = generous.squeeze.squeezed(&HeaderMap::new(), &vec![0; 50_000_000]).unwrap();
        for length in [0, 1, 1000, 999_999] {
            let head = generous.head(&BASE, &envelope(), &stored(FIELDS, b""), 0).unwrap();
            let frame = generous.with_body(head, &BASE, length, &zeros, true).unwrap();
            assert_eq!(why(&squeezing(&[]), &frame), Some(Unreadable::Compression), "{length}");
        }
    }

    fn squeezing_settings() -> Settings {
        Settings { compress_above_bytes: Some(64), ..settings() }
    }

    #[test]
    fn a_head_that_makes_no_sense_is_malformed() {
        let mut part = stored(FIELDS, b"body");
        part.head.status = StatusCode::PARTIAL_CONTENT;
        assert_eq!(why(&clear(), &clear().encode(&BASE, &envelope(), &part)), Some(Unreadable::Malformed));
    }
}
