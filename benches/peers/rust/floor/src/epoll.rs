//! The kernel's floor: epoll, a parser of heads, one vectored write; or the body from a file in memory, which the kernel need not
//! copy. No runtime, no hyper.

use std::collections::HashMap;
use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fs::{MemfdFlags, memfd_create, sendfile};

use crate::answer::Answer;
use crate::serve::{Outcome, listener};

const EVENTS: usize = 256;
const HEAD_BYTES_MAX: usize = 8192;
const HEADERS_MAX: usize = 64;

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

struct Ready {
    /// Head and body of each, in memory of its own.
    entries: Vec<Box<[u8]>>,
    /// Where their heads end.
    body_at: usize,
    /// The body once more, where the kernel sends it from.
    file: Option<File>,
    started: Instant,
}

/// `entries`: so many different answers, which one being said by the number in the request's path.
pub fn run(address: SocketAddr, answer: &Answer, from_file: bool, entries: usize) -> Outcome {
    let listener = listener(address)?;
    let file = if from_file { Some(in_memory(&answer.body)?) } else { None };
    let head = format!("{}date: Mon, 02 Jan 2023 03:04:05 GMT\r\n", answer.head());
    let entry = || [head.as_bytes(), &answer.body].concat().into_boxed_slice();
    let ready = Ready {
        file,
        entries: (0..entries).map(|_| entry()).collect(),
        body_at: head.len(),
        started: Instant::now(),
    };
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let own = watch(&epoll, &listener)?;
    let mut connections = HashMap::new();
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            let source = event.data.u64();
            if source == own {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let name = watch(&epoll, &stream)?;
                    let buffer = vec![0; HEAD_BYTES_MAX];
                    connections.insert(name, Connection { stream, buffer, filled: 0 });
                }
            } else if connections.get_mut(&source).is_some_and(|connection| !connection.serve(&ready)) {
                connections.remove(&source);
            }
        }
    }
}

fn in_memory(body: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("body", MemfdFlags::CLOEXEC)?);
    file.write_all(body)?;
    Ok(file)
}

/// Has epoll tell when there is something to read; by what name it does.
fn watch(epoll: &OwnedFd, source: &(impl AsFd + AsRawFd)) -> Result<u64, Box<dyn std::error::Error>> {
    let name = u64::try_from(source.as_raw_fd())?;
    epoll::add(epoll, source, EventData::new_u64(name), EventFlags::IN | EventFlags::RDHUP)?;
    Ok(name)
}

impl Connection {
    /// Answers what has come in; false once it is over. What was accepted blocks, which is right for small bodies only.
    fn serve(&mut self, ready: &Ready) -> bool {
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) | Err(_) => return false,
            Ok(read) => self.filled += read,
        }
        let mut done = 0;
        while let Some((length, number)) = request(&self.buffer[done..self.filled]) {
            done += length;
            let (head, body) = ready.entries[number % ready.entries.len()].split_at(ready.body_at);
            let mut digits = itoa::Buffer::new();
            let age = digits.format(ready.started.elapsed().as_secs());
            let in_memory = if ready.file.is_some() { &[] } else { body };
            let mut parts = [
                IoSlice::new(head),
                IoSlice::new(b"age: "),
                IoSlice::new(age.as_bytes()),
                IoSlice::new(b"\r\n\r\n"),
                IoSlice::new(in_memory),
            ];
            let mut left = &mut parts[..];
            while !left.is_empty() {
                match self.stream.write_vectored(left) {
                    Ok(0) | Err(_) => return false,
                    Ok(written) => IoSlice::advance_slices(&mut left, written),
                }
            }
            if let Some(file) = &ready.file
                && self.send(file, body.len()).is_err()
            {
                return false;
            }
        }
        self.buffer.copy_within(done..self.filled, 0);
        self.filled -= done;
        true
    }

    /// The head has gone without `MSG_MORE`: held back for the body, it made 100 KiB cost a third more.
    fn send(&self, body: &File, body_bytes: usize) -> std::io::Result<()> {
        let mut left = body_bytes;
        let mut offset = 0;
        while left > 0 {
            match sendfile(&self.stream, body, Some(&mut offset), left)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                sent => left -= sent,
            }
        }
        Ok(())
    }
}

/// Length of a whole request without a body at the beginning, if there is one, and the number in its path.
fn request(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = request.parse(bytes) else { return None };
    let path = request.path?.bytes().take_while(|byte| *byte != b'?');
    let digits = path.filter(u8::is_ascii_digit);
    let number = digits
        .fold(0, |number: usize, digit| number.wrapping_mul(10).wrapping_add(usize::from(digit - b'0')));
    Some((length, number))
}
