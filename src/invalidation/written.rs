//! How a line and an event are written in Redis, and what is read there.
//!
//! Anyone may have written what is read, a later version too. Invariants: a line that can't be read is a line nevertheless, of
//! somebody who may be at work, and is another whenever its bytes are; an entry that can't be read has no event, which stands for
//! all there is.

use xxhash_rust::xxh3::xxh3_64;

use super::event::{Event, EventId};
use super::log::{InstanceId, Line, Logged};
use crate::object::Epoch;
use crate::object::wire::Wire;
use crate::object::wire_text::Text;
use crate::shared::Value;

/// What the field of a line begins with.
const LINE: &[u8] = b"i:";

/// Goes up with every change of how a line is written.
const VERSION: u8 = 1;

/// `i:` and the id.
pub(super) fn field(id: InstanceId) -> Vec<u8> {
    [LINE, &id.0].concat()
}

/// Version, counter, epoch, position, name; numbers are little endian.
pub(super) fn line(line: &Line) -> Vec<u8> {
    let Line { id: _, name, counter, epoch, applied } = line;
    let (counter, applied) = (counter.to_le_bytes(), applied.to_le_bytes());
    [&[VERSION][..], &counter, &epoch.0, &applied, name.as_bytes()].concat()
}

/// The line that this field is, if it is one; and whether it is written as we would.
pub(super) fn read_line(field: &[u8], value: &[u8]) -> Option<(Line, bool)> {
    let id = field.strip_prefix(LINE)?;
    let read = id.try_into().ok().and_then(|id| known(InstanceId(id), value));
    Some(read.map_or_else(|| (unknown(id, value), false), |line| (line, true)))
}

fn known(id: InstanceId, value: &[u8]) -> Option<Line> {
    let (&[VERSION], rest) = value.split_first_chunk()? else {
        return None;
    };
    let (counter, rest) = rest.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (applied, name) = rest.split_first_chunk()?;
    let name = String::from_utf8(name.to_vec()).ok()?;
    let (counter, applied) = (u64::from_le_bytes(*counter), u64::from_le_bytes(*applied));
    Some(Line { id, name, counter, epoch: Epoch(*epoch), applied })
}

fn unknown(id: &[u8], value: &[u8]) -> Line {
    let id = InstanceId(id.try_into().unwrap_or_else(|_| xxh3_64(id).to_le_bytes()));
    let name = format!("unknown ({:016x})", u64::from_be_bytes(id.0));
    Line { id, name, counter: xxh3_64(value), epoch: Epoch::default(), applied: 0 }
}

/// JSON, or that sealed. None: the machine has no random bytes to seal it with.
pub(super) fn event(wire: &Wire, event: &Event) -> Option<Vec<u8>> {
    let text = event.to_json();
    if wire.is_clear() {
        return Some(text);
    }
    let sealed = wire.seal_text(Text::Event, &text);
    (!sealed.is_empty()).then(|| sealed.to_vec())
}

fn read_event(wire: &Wire, value: &[u8]) -> Option<Event> {
    if wire.is_clear() {
        return Event::from_json(value);
    }
    Event::from_json(&wire.open_text(Text::Event, value).ok()?)
}

/// The entries in the answer to `XREAD` of one stream. None: that is no such answer.
pub(super) fn entries(wire: &Wire, after: u64, answer: &Value) -> Option<Vec<Logged>> {
    let entries = match answer {
        Value::Nil => return Some(Vec::new()),
        Value::Array(streams) => match &streams[..] {
            [Value::Array(stream)] => stream.get(1)?,
            _ => return None,
        },
        Value::Map(streams) => &streams.first()?.1,
        _ => return None,
    };
    let Value::Array(entries) = entries else {
        return None;
    };
    let mut read = Vec::with_capacity(entries.len());
    let mut last = after;
    for value in entries {
        let logged = entry(wire, value)?;
        // Only somebody else can have put two in one place; the second then is no event of anybody's.
        if logged.position > last {
            last = logged.position;
            read.push(logged);
        }
    }
    Some(read)
}

fn entry(wire: &Wire, value: &Value) -> Option<Logged> {
    let Value::Array(parts) = value else {
        return None;
    };
    let (position, is_ours) = position(parts.first()?)?;
    let fields = parts.get(1)?;
    let id = bytes(fields, b"id").and_then(|id| id.try_into().ok());
    let event = bytes(fields, b"event").filter(|_| is_ours).and_then(|event| read_event(wire, event));
    let logged = |id, event| Logged { position, id: EventId(id), event };
    Some(id.map_or_else(|| logged([0; 16], None), |id| logged(id, event)))
}

/// The id of the first event in the answer to `XRANGE`.
pub(super) fn first_id(answer: &Value) -> Option<EventId> {
    let Value::Array(entries) = answer else {
        return None;
    };
    let Value::Array(parts) = entries.first()? else {
        return None;
    };
    bytes(parts.get(1)?, b"id").and_then(|id| id.try_into().ok()).map(EventId)
}

/// Where an entry of this id stands; and whether one of ours would have that id.
pub(super) fn position(id: &Value) -> Option<(u64, bool)> {
    let Value::BulkString(id) = id else {
        return None;
    };
    let (position, rest) = std::str::from_utf8(id).ok()?.split_once('-')?;
    Some((position.parse().ok()?, rest == "0"))
}

fn bytes<'v>(fields: &'v Value, name: &[u8]) -> Option<&'v [u8]> {
    let Value::Array(fields) = fields else {
        return None;
    };
    let named = |pair: &&[Value]| matches!(&pair[0], Value::BulkString(found) if found == name);
    match fields.chunks_exact(2).find(named)? {
        [_, Value::BulkString(value)] => Some(value),
        _ => None,
    }
}

/// The fields in the answer to `HGETALL`, from a script.
pub(super) fn fields(answer: Value) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let mut parts = parts.into_iter();
    let mut fields = Vec::new();
    while let Some(name) = parts.next() {
        let (Value::BulkString(name), Some(Value::BulkString(value))) = (name, parts.next()) else {
            return None;
        };
        fields.push((name, value));
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::seal::{Cipher, EncryptionKey};
    use crate::object::wire::Settings;

    fn wire(keys: &[EncryptionKey]) -> Wire {
        Wire::new(Settings {
            namespace: "shop".to_owned(),
            compress_above_bytes: None,
            max_object_bytes: 0,
            keys: keys.to_vec(),
            cipher: Cipher::default(),
        })
    }

    fn text(text: &[u8]) -> Value {
        Value::BulkString(text.to_vec())
    }

    fn entry(id: &str, fields: &[(&str, &[u8])]) -> Value {
        let fields = fields.iter().flat_map(|(name, value)| [text(name.as_bytes()), text(value)]);
        Value::Array(vec![text(id.as_bytes()), Value::Array(fields.collect())])
    }

    #[test]
    fn a_line_is_read_as_it_was_written_or_not_at_all() {
        let known = Line {
            id: InstanceId(*b"abcdefgh"),
            name: "näme".to_owned(),
            counter: u64::MAX,
            epoch: Epoch([7; 16]),
            applied: 1,
        };
        let (name, value) = (field(known.id), line(&known));
        assert_eq!(read_line(&name, &value), Some((known.clone(), true)));
        for end in 0..value.len() {
            let (read, is_known) = read_line(&name, &value[..end]).unwrap();
            // A name may be any text, and none; but half a letter is no text.
            let is_whole = end >= 33 && end != value.len() - 3;
            assert_eq!(is_known, is_whole, "{end}: {read:?}");
            assert!(!is_known || known.name.starts_with(&read.name), "{end}: {read:?}");
        }
        let mut later = value;
        later[0] += 1;
        let (read, is_known) = read_line(&name, &later).unwrap();
        assert_eq!((read.name.as_str(), is_known), ("unknown (6162636465666768)", false));
        assert_eq!((read.id, read.epoch, read.applied), (known.id, Epoch::default(), 0));
        later.push(0);
        assert_ne!(read_line(&name, &later).unwrap().0.counter, read.counter);
        assert_ne!(read_line(b"i:", b"").unwrap().0.id, read_line(b"i:abc", b"").unwrap().0.id);
        assert_eq!(
            (read_line(b"name", b""), read_line(b"secret", b""), read_line(b"", b"")),
            (None, None, None)
        );
    }

    #[test]
    fn an_event_is_read_with_its_key_only() {
        let (clear, sealed) = (wire(&[]), wire(&[EncryptionKey([3; 32])]));
        let declared = Event { tags: vec!["a".to_owned()], ..Event::default() };
        assert_eq!(event(&clear, &declared).unwrap(), br#"{"tags":["a"]}"#);
        for (writer, reader, expected) in [
            (&clear, &clear, Some(declared.clone())),
            (&sealed, &sealed, Some(declared.clone())),
            (&clear, &sealed, None),
            (&sealed, &clear, None),
            (&sealed, &wire(&[EncryptionKey([4; 32])]), None),
        ] {
            assert_eq!(read_event(reader, &event(writer, &declared).unwrap()), expected);
        }
    }

    #[test]
    fn entries_are_read_in_either_version_of_the_protocol() {
        let wire = wire(&[]);
        let entry = entry("2-0", &[("by", b"x"), ("id", &[7; 16]), ("event", b"{}")]);
        let list = || Value::Array(vec![entry.clone()]);
        let expected = [Logged { position: 2, id: EventId([7; 16]), event: Some(Event::default()) }];
        let two = Value::Array(vec![Value::Array(vec![text(b"shop:log"), list()])]);
        let three = Value::Map(vec![(text(b"shop:log"), list())]);
        assert_eq!(entries(&wire, 1, &two).unwrap(), expected);
        assert_eq!(entries(&wire, 1, &three).unwrap(), expected);
        assert_eq!(entries(&wire, 1, &Value::Nil).unwrap(), []);
        for nonsense in [Value::Int(1), Value::Array(Vec::new()), Value::Map(Vec::new()), text(b"")] {
            assert_eq!(entries(&wire, 1, &nonsense), None);
        }
        let nonsense = Value::Map(vec![(text(b"shop:log"), Value::Array(vec![text(b"")]))]);
        assert_eq!(entries(&wire, 1, &nonsense), None);
    }

    #[test]
    fn positions_only_rise() {
        let wire = wire(&[]);
        let of = |id| entry(id, &[("id", &[7; 16]), ("event", b"{}")]);
        let all = Value::Array(["3-0", "3-1", "5-2", "5-3", "6-0"].map(of).to_vec());
        let read = entries(&wire, 2, &Value::Map(vec![(Value::Nil, all)])).unwrap();
        let read: Vec<_> = read.iter().map(|logged| (logged.position, logged.event.is_some())).collect();
        assert_eq!(read, [(3, true), (5, false), (6, true)]);
    }
}
