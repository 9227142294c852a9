//! Replies, cut from what a server sends. What nearly all of them are, one value, is read here; the rest is the crate's to read,
//! once it is known where it ends.
//!
//! Invariant: what is taken is one reply, whole; where no reply can begin, nothing behind it is believed.

use std::io;

use bytes::{Buf, BytesMut};
use redis::{RedisError, Value, parse_redis_value};

const LINE_END: &[u8] = b"\r\n";

/// Lists in lists; none of ours has more than two.
const DEPTH_MAX: usize = 16;

/// Room is made for so much of a long value at once: it is there only once it has come.
const AHEAD_BYTES: usize = 1024 * 1024;

/// Takes the first reply; none: not all of it is there. An error is one reply too.
pub(super) fn take(received: &mut BytesMut) -> io::Result<Option<Result<Value, RedisError>>> {
    if received.first() == Some(&b'$') {
        return Ok(text(received)?.map(Ok));
    }
    let Some(end) = end_of(received, 0, 0)? else {
        return Ok(None);
    };
    let reply = parse_redis_value(received.get(..end).unwrap_or_default());
    received.advance(end);
    Ok(Some(reply))
}

/// `$3\r\nabc\r\n`, or `$-1\r\n` for nothing.
fn text(received: &mut BytesMut) -> io::Result<Option<Value>> {
    let Some((length, begin)) = number(received, 1)? else {
        return Ok(None);
    };
    let Some(length) = length else {
        received.advance(begin);
        return Ok(Some(Value::Nil));
    };
    let end = begin.checked_add(length).ok_or_else(senseless)?;
    let Some(last) = received.get(end..end.saturating_add(LINE_END.len())) else {
        let missing = end.saturating_add(LINE_END.len()) - received.len();
        received.reserve(missing.min(AHEAD_BYTES));
        return Ok(None);
    };
    if last != LINE_END {
        return Err(senseless());
    }
    let text = received.get(begin..end).unwrap_or_default().to_vec();
    received.advance(end + LINE_END.len());
    Ok(Some(Value::BulkString(text)))
}

/// Where the reply ends that begins there; none: not all of it is there.
fn end_of(received: &[u8], at: usize, depth: usize) -> io::Result<Option<usize>> {
    let Some(kind) = received.get(at) else {
        return Ok(None);
    };
    let of_each: usize = match kind {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {
            return Ok(line(received, at)?.map(|end| end + LINE_END.len()));
        }
        b'$' | b'!' | b'=' => {
            let Some((length, begin)) = number(received, at + 1)? else {
                return Ok(None);
            };
            let Some(length) = length else {
                return Ok(Some(begin));
            };
            let end = begin.checked_add(length).and_then(|end| end.checked_add(LINE_END.len()));
            return end.ok_or_else(senseless).map(|end| (end <= received.len()).then_some(end));
        }
        b'*' | b'~' | b'>' => 1,
        b'%' | b'|' => 2,
        _ => return Err(senseless()),
    };
    let Some((count, mut end)) = number(received, at + 1)? else {
        return Ok(None);
    };
    if depth == DEPTH_MAX {
        return Err(senseless());
    }
    let count = count.unwrap_or(0).checked_mul(of_each).ok_or_else(senseless)?;
    // What attributes are said of comes behind them.
    for _ in 0..count.saturating_add(usize::from(*kind == b'|')) {
        match end_of(received, end, depth + 1)? {
            Some(next) => end = next,
            None => return Ok(None),
        }
    }
    Ok(Some(end))
}

/// The number on this line, none where it is below zero, and where the next line begins.
fn number(received: &[u8], at: usize) -> io::Result<Option<(Option<usize>, usize)>> {
    let Some(end) = line(received, at)? else {
        return Ok(None);
    };
    let digits = received.get(at..end).unwrap_or_default();
    let number = if digits == b"-1" {
        None
    } else {
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        Some(number.ok_or_else(senseless)?)
    };
    Ok(Some((number, end + LINE_END.len())))
}

/// Where the line ends that begins there.
fn line(received: &[u8], at: usize) -> io::Result<Option<usize>> {
    let rest = received.get(at..).unwrap_or_default();
    let Some(last) = memchr::memchr(b'\n', rest) else {
        return Ok(None);
    };
    let line = rest.get(..=last).and_then(|line| line.strip_suffix(LINE_END)).ok_or_else(senseless)?;
    Ok(Some(at + line.len()))
}

fn senseless() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REPLIES: [&[u8]; 19] = [
        b"$3\r\nabc\r\n",
        b"$0\r\n\r\n",
        b"$-1\r\n",
        b"$6\r\na\r\nb\r\n\r\n",
        b"_\r\n",
        b"+PONG\r\n",
        b":-7\r\n",
        b"*2\r\n$1\r\na\r\n$-1\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*2\r\n*1\r\n:1\r\n+a\r\n",
        b"%1\r\n+a\r\n:1\r\n",
        b"~1\r\n:1\r\n",
        b">2\r\n$7\r\nmessage\r\n:1\r\n",
        b"|1\r\n+a\r\n:1\r\n$1\r\nb\r\n",
        b"=7\r\ntxt:abc\r\n",
        b",1.5\r\n",
        b"#t\r\n",
        b"(123\r\n",
    ];

    #[test]
    fn each_is_what_the_crate_takes_it_for() {
        for bytes in REPLIES {
            let mut received = BytesMut::from(bytes);
            let reply = take(&mut received).unwrap().unwrap().unwrap();
            assert_eq!(reply, parse_redis_value(bytes).unwrap(), "{}", bytes.escape_ascii());
            assert!(received.is_empty());
        }
    }

    #[test]
    fn an_error_is_a_reply() {
        for bytes in ["-WRONGTYPE Operation against\r\n", "!9\r\nOOM never\r\n"] {
            let mut received = BytesMut::from(bytes);
            let reply = take(&mut received).unwrap().unwrap();
            assert!(reply.unwrap().extract_error().is_err(), "{bytes}");
        }
    }

    #[test]
    fn what_has_not_all_come_is_waited_for_and_what_comes_with_it_is_left() {
        let all = REPLIES.concat();
        let (mut received, mut taken) = (BytesMut::new(), 0);
        for byte in &all {
            received.extend_from_slice(&[*byte]);
            while take(&mut received).unwrap().is_some() {
                taken += 1;
            }
        }
        assert_eq!((taken, received.len()), (REPLIES.len(), 0));
        let mut received = BytesMut::from(&all[..]);
        for _ in REPLIES {
            assert!(take(&mut received).unwrap().is_some());
        }
        assert!(take(&mut received).unwrap().is_none());
    }

    #[test]
    fn where_no_reply_begins_nothing_is_believed() {
        let deep = "*1\r\n".repeat(100);
        for bytes in ["x\r\n", "\r\n", "$x\r\n", "$3\r\nabcde", "*x\r\n", "$99999999999999999999\r\n", &deep]
        {
            assert!(take(&mut BytesMut::from(bytes)).is_err(), "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn noise_is_an_error_or_not_enough_but_never_a_panic(noise in "[$*:+\\-_%|0-9\r\na]{0,40}") {
            let mut received = BytesMut::from(noise.as_bytes());
            while let Ok(Some(_)) = take(&mut received) {}
        }
    }
}
