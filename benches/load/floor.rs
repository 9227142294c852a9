//! The floor: a bare hyper server, the least that answering over HTTP costs in this language with this library.
//!
//! `floor ADDRESS [HEAD_FILE]` answers every GET with the header lines of the file (`name: value`), without looking
//! at the request but for its first path segment: under `/big` the body has 100 KiB, else 1 KiB. One thread, one
//! runtime. `benches/load/run` uses it twice: as the measure a hit is held against, and as the origin behind Larder.

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// What is answered: header lines, and a body of either size.
struct Answers {
    headers: HeaderMap,
    small: Bytes,
    big: Bytes,
}

impl Answers {
    fn read(head_file: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let lines = head_file.map(std::fs::read_to_string).transpose()?.unwrap_or_default();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.lines().filter_map(|line| line.split_once(": ")) {
            headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
        }
        Ok(Self { headers, small: vec![b'x'; 1024].into(), big: vec![b'x'; 100 * 1024].into() })
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let body = if request.uri().path().starts_with("/big") { &self.big } else { &self.small };
        let mut response = Response::new(Full::new(body.clone()));
        *response.headers_mut() = self.headers.clone();
        response
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: floor ADDRESS [HEAD_FILE]")?;
    // Lives as long as the process: nothing is counted per connection.
    let answers: &'static Answers = Box::leak(Box::new(Answers::read(arguments.next().as_deref())?));
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service_fn(move |request| async move { Ok::<_, Infallible>(answers.answer(&request)) });
        // A client that breaks off is no matter of ours.
        tokio::spawn(
            http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service),
        );
    }
}
