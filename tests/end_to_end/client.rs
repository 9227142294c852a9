//! Who asks: the real `curl`, and raw sockets for what no honest client would send.
//!
//! Every read has a deadline, so that a proxy that hangs is a failed test and not a hanging one.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

/// The longest silence a raw client bears.
const PATIENCE: Duration = Duration::from_secs(20);

/// What `curl` got.
#[derive(Debug)]
pub(crate) struct Curl {
    /// 18: the body ended early; 52: no answer; 56: the connection broke.
    pub(crate) exit: Option<i32>,
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A response read from a raw socket.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A connection and what was read of it beyond what was asked for.
pub(crate) struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

pub(crate) fn curl(url: &str, arguments: &[&str]) -> Curl {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "30", "--noproxy", "*", "--path-as-is"])
        .args(arguments)
        .arg(url)
        .output()
        .expect("curl is installed (tests/run sees to it)");
    let mut rest = &output.stdout[..];
    let mut head = String::new();
    let mut status = 0;
    // Interim answers come before the one that counts.
    while status < 200 {
        let Some(end) = find(rest, b"\r\n\r\n") else { break };
        head = String::from_utf8_lossy(&rest[..end]).into_owned();
        status = status_of(&head);
        rest = &rest[end + 4..];
    }
    Curl { exit: output.status.code(), status, head, body: rest.to_vec() }
}

fn status_of(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|code| code.get(..3)).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

impl Curl {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.field("cache-status").is_some_and(is_hit)
    }
}

impl Response {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.field("cache-status").is_some_and(is_hit)
    }
}

fn is_hit(cache_status: &str) -> bool {
    cache_status == "larder; hit" || cache_status.starts_with("larder; hit;")
}

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, read: Vec::new() }
    }

    pub(crate) fn patience(&mut self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).unwrap();
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// A plain GET with these further header lines.
    pub(crate) fn ask(&mut self, target: &str, fields: &[String]) -> io::Result<()> {
        let lines: String = fields.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect();
        let host = self.stream.peer_addr()?;
        self.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n").as_bytes())
    }

    /// No more will be sent; what is answered can still be read.
    pub(crate) fn half_close(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// The head of the next final response.
    pub(crate) fn read_head(&mut self) -> io::Result<Response> {
        loop {
            let head = self.read_past(b"\r\n\r\n")?;
            let head = String::from_utf8_lossy(&head[..head.len() - 4]).into_owned();
            let status = status_of(&head);
            if status == 101 || status >= 200 {
                return Ok(Response { status, head, body: Vec::new() });
            }
        }
    }

    /// The next final response with its body.
    pub(crate) fn read_response(&mut self) -> io::Result<Response> {
        let mut response = self.read_head()?;
        if response.field("transfer-encoding").is_some() {
            loop {
                let chunk = self.read_chunk()?;
                if chunk.is_empty() {
                    return Ok(response);
                }
                response.body.extend(chunk);
            }
        }
        let length = response.field("content-length").and_then(|length| length.parse().ok());
        response.body = match length {
            Some(length) => self.read_exactly(length)?,
            None if matches!(response.status, 204 | 304) => Vec::new(),
            None => self.read_to_end()?,
        };
        Ok(response)
    }

    /// The data of the next chunk; empty at the end of the body (trailers are not expected).
    pub(crate) fn read_chunk(&mut self) -> io::Result<Vec<u8>> {
        let line = self.read_past(b"\r\n")?;
        let digits = String::from_utf8_lossy(&line);
        let size = usize::from_str_radix(digits.trim(), 16).map_err(io::Error::other)?;
        let mut data = self.read_exactly(size + 2)?;
        data.truncate(size);
        Ok(data)
    }

    pub(crate) fn read_exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.read.len() < length {
            self.fill()?;
        }
        Ok(self.read.drain(..length).collect())
    }

    pub(crate) fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.read));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Everything up to and with this mark.
    fn read_past(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.read, mark) {
                return Ok(self.read.drain(..at + mark.len()).collect());
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.read.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }
}
