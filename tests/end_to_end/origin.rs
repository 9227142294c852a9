//! The API behind the proxy: a script over bare TCP, so that it can be as wrong, slow or dead as a test wants.
//!
//! `Script` is called once per request with the `Exchange`: what was asked, and the connection to answer on byte
//! for byte. What it returns with an error ends the connection. Every request is recorded in the order of arrival.
//! A `Gate` holds a script until a test opens it. Request bodies are read only when the script reads them; what is
//! left of one is drained before the next request.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// How long a gate holds before the test has failed.
const GATE_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    closed: Arc<AtomicBool>,
}

/// A request head as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
}

/// One request and the connection it came on.
pub(crate) struct Exchange {
    pub(crate) request: Request,
    wire: BufReader<TcpStream>,
    body: Framing,
}

/// How much of the request's body is still to be read.
enum Framing {
    Length(u64),
    /// What is left of the present chunk.
    Chunked(u64),
    End,
}

/// Closed until opened; whoever waits goes on then.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Origin {
    pub(crate) fn start(script: impl Fn(&mut Exchange) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = listen();
        let origin =
            Self { address: listener.local_addr().unwrap(), seen: Arc::default(), closed: Arc::default() };
        let (seen, closed, script) = (origin.seen.clone(), origin.closed.clone(), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if closed.load(Ordering::SeqCst) {
                    return;
                }
                let (seen, script) = (seen.clone(), script.clone());
                // A connection ends with an error when the proxy hangs up, or when the script wants it to.
                thread::spawn(move || stream.and_then(|stream| serve(stream, &seen, &*script)));
            }
        });
        origin
    }

    /// Answers every request with its own target and these header lines.
    pub(crate) fn echo(fields: &'static [&'static str]) -> Self {
        Self::start(move |exchange| {
            let body = format!("origin {}", exchange.request.target);
            exchange.answer("200 OK", fields, body.as_bytes())
        })
    }

    /// An address where nobody listens.
    pub(crate) fn nowhere() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests came for targets that begin so.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|request| request.target.starts_with(prefix)).count()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Wakes `incoming`; if even that fails the thread ends with the process.
        drop(TcpStream::connect(self.address));
    }
}

/// As servers listen: in the 128 places that the standard library asks for, two hundred who come at once do not fit, and the
/// kernel lets those who do not try again after 200 ms and more.
fn listen() -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(1024).unwrap();
    socket.into()
}

fn serve(
    stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    script: &dyn Fn(&mut Exchange) -> io::Result<()>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut wire = BufReader::new(stream);
    loop {
        let Some(request) = read_head(&mut wire)? else {
            return Ok(());
        };
        seen.lock().unwrap().push(request.clone());
        let body = match (request.field("transfer-encoding"), request.field("content-length")) {
            (Some(_), _) => Framing::Chunked(0),
            (None, Some(length)) => Framing::Length(length.parse().map_err(io::Error::other)?),
            (None, None) => Framing::End,
        };
        let mut exchange = Exchange { request, wire, body };
        script(&mut exchange)?;
        io::copy(&mut exchange, &mut io::sink())?;
        wire = exchange.wire;
    }
}

fn read_head(wire: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let Some(first) = read_line(wire)? else {
        return Ok(None);
    };
    let mut parts = first.split(' ').map(str::to_owned);
    let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut fields = Vec::new();
    while let Some(line) = read_line(wire)?.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Some(Request { method, target, fields }))
}

/// One line without its end; bytes are taken for Latin-1.
fn read_line(wire: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if wire.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_ascii_end().iter().map(|byte| char::from(*byte)).collect()))
}

impl Request {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

impl Exchange {
    /// A whole answer with a content-length.
    pub(crate) fn answer(&mut self, status: &str, fields: &[&str], body: &[u8]) -> io::Result<()> {
        let length = format!("content-length: {}", body.len());
        self.head(status, &[fields, &[&length]].concat())?;
        if self.request.method == "HEAD" {
            return Ok(());
        }
        self.send(body)
    }

    pub(crate) fn head(&mut self, status: &str, fields: &[&str]) -> io::Result<()> {
        let lines: String = fields.iter().flat_map(|line| [*line, "\r\n"]).collect();
        self.send(format!("HTTP/1.1 {status}\r\n{lines}\r\n").as_bytes())
    }

    /// One chunk; an empty one is the last.
    pub(crate) fn chunk(&mut self, data: &[u8]) -> io::Result<()> {
        let framed = [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
        self.send(&framed)
    }

    /// These bytes and no others.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.get_mut().write_all(bytes)
    }

    /// Ends the connection.
    pub(crate) fn hang_up(&mut self) -> io::Result<()> {
        self.wire.get_mut().shutdown(Shutdown::Both)?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// The connection itself, past the request's head.
    pub(crate) fn wire(&mut self) -> &mut BufReader<TcpStream> {
        &mut self.wire
    }
}

/// The request's body, its framing taken off.
impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Framing::Chunked(0) = self.body {
            let size = read_line(&mut self.wire)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let size = u64::from_str_radix(&size, 16).map_err(io::Error::other)?;
            self.body = if size == 0 { Framing::End } else { Framing::Chunked(size) };
            if size == 0 {
                read_line(&mut self.wire)?;
            }
        }
        let (Framing::Length(left) | Framing::Chunked(left)) = &mut self.body else {
            return Ok(0);
        };
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.wire.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *left -= read as u64;
        match self.body {
            Framing::Length(0) => self.body = Framing::End,
            Framing::Chunked(0) => drop(read_line(&mut self.wire)?),
            _ => {}
        }
        Ok(read)
    }
}

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// An error once the test has had time enough.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let closed = self.0.0.lock().unwrap();
        let (open, _) = self.0.1.wait_timeout_while(closed, GATE_TIMEOUT, |open| !*open).unwrap();
        if *open { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }
}
