//! A connection of HTTP/1.1, as light as can be: the load must leave the machine to what is tested.
//!
//! Requests may be sent ahead of answers. `receive` loses nothing when it is given up half way.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Line {
    stream: TcpStream,
    /// Come, and not yet used.
    bytes: Vec<u8>,
}

/// The first line, the fields, and the body of a request or an answer.
#[derive(Clone, Debug)]
pub struct Message {
    pub head: String,
    pub body: Vec<u8>,
}

impl Line {
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, bytes: Vec::with_capacity(4096) })
    }

    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect(address).await?)
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next message; an error at the end of the connection too.
    pub async fn receive(&mut self) -> io::Result<Message> {
        loop {
            if let Some((message, length)) = Message::read(&self.bytes)? {
                self.bytes.drain(..length);
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Message {
    /// The first message of these bytes and how many it takes; none, if it is not all there.
    fn read(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let rest = &bytes[end + 4..];
        let mut message = Self { head, body: Vec::new() };
        let length = if message.field("transfer-encoding").is_some() {
            let Some(length) = message.read_chunks(rest)? else { return Ok(None) };
            length
        } else {
            let length = message.field("content-length").map(str::parse).transpose();
            let length = length.map_err(io::Error::other)?.unwrap_or(0);
            let Some(body) = rest.get(..length) else { return Ok(None) };
            message.body = body.to_vec();
            length
        };
        Ok(Some((message, end + 4 + length)))
    }

    fn read_chunks(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let mut at = 0;
        loop {
            let Some(line) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
            let digits = String::from_utf8_lossy(&bytes[at..at + line]);
            let size = usize::from_str_radix(digits.trim(), 16).map_err(io::Error::other)?;
            at += line + 2;
            let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
            self.body.extend_from_slice(&chunk[..size]);
            at += size + 2;
            if size == 0 {
                return Ok(Some(at));
            }
        }
    }

    /// Of an answer.
    pub fn status(&self) -> u16 {
        self.head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// Of a request: its method and its target.
    pub fn asked(&self) -> (&str, &str) {
        let mut words = self.head.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}

#[test]
fn messages_are_read_once_they_are_there() {
    let sized = b"HTTP/1.1 200 OK\r\nCache-Status: larder; hit\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = b"HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    let bare = b"PUT /a HTTP/1.1\r\nHost: b\r\n\r\n";
    for (bytes, body) in [(&sized[..], "hello"), (chunked, "hello"), (bare, "")] {
        for length in 0..bytes.len() {
            assert!(
                Message::read(&bytes[..length]).unwrap().is_none(),
                "{length} of {}",
                bytes.escape_ascii()
            );
        }
        let two = [bytes, b"HTTP/1.1"].concat();
        let (message, length) = Message::read(&two).unwrap().unwrap();
        assert_eq!((message.text().as_str(), length), (body, bytes.len()));
    }
    let read = |bytes: &[u8]| Message::read(bytes).unwrap().unwrap().0;
    assert_eq!((read(sized).status(), read(sized).field("cache-status")), (200, Some("larder; hit")));
    assert_eq!((read(chunked).status(), read(bare).asked()), (503, ("PUT", "/a")));
}
