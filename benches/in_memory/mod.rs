//! A proxy before an origin at the other end of a pipe in memory, for benches. A hit waits for nothing, so its future is polled
//! once, without a runtime's help.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use larder::clock::Clock;
use larder::config::{self, Sources};
use larder::proxy::{Answer, Body, Form, Peer, Proxy};
use tokio::io::{DuplexStream, duplex};
use tokio::runtime::Runtime;
use tower_service::Service;

const CONFIGURATION: &str = r#"
[upstream]
url = "http://origin.example"

[[route]]
name = "things"
match = "/things/{id}"
tags = ["thing:{id}"]
ttl = "1h"

[[route]]
name = "lists"
match = "/lists/{id}"
ttl = "1h"
key = { query = ["page", "sort"], headers = ["accept-language"], cookies = ["theme"] }
"#;

/// Who asks.
pub const PEER: Peer = Peer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), scheme: "http", here: None };

/// What an ordinary client says of itself.
const USUAL: [(&str, &str); 4] = [
    ("host", "api.example:8080"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate, br"),
];

/// Serves a pipe for each connection; answers everything with 1 KiB and a validator.
#[derive(Clone)]
pub struct Origin;

/// The proxy's end of one.
pub type Pipe = TokioIo<DuplexStream>;

/// With this behind its configuration.
pub fn proxy(more: &str) -> Arc<Proxy<Origin>> {
    let text = format!("{CONFIGURATION}{more}");
    let settings = match config::load_text(Path::new("bench.toml"), &text, &Sources::default()) {
        Ok(loaded) => loaded.settings,
        Err(mistakes) => panic!("{mistakes}"),
    };
    let telemetry = larder::app::telemetry(&settings);
    larder::app::assemble(&settings, Clock::System, telemetry, Origin, None, "bench".to_owned()).unwrap()
}

/// A request of an ordinary client.
pub fn request<'f>(
    method: &Method,
    target: &str,
    fields: impl Iterator<Item = &'f (&'f str, &'f str)>,
) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in USUAL.iter().chain(fields) {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

/// Asks until it is kept, which it is a moment after its last byte.
pub fn fill(runtime: &Runtime, proxy: &Arc<Proxy<Origin>>, request: &Request<Empty<Bytes>>) {
    runtime.block_on(async {
        for _ in 0..100 {
            let answer = response(proxy.answer(request.clone(), PEER, Form::Response).await);
            if is_hit(&answer) {
                return;
            }
            answer.into_body().collect().await.unwrap();
            tokio::task::yield_now().await;
        }
        panic!("{} is never kept", request.uri());
    });
}

/// From its head to the head of its answer.
pub fn hit(proxy: &Arc<Proxy<Origin>>, request: Request<Empty<Bytes>>) -> Response<Body> {
    let answer = pin!(proxy.answer(request, PEER, Form::Response));
    match answer.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => response(answer),
        Poll::Pending => panic!("a hit waits for nothing"),
    }
}

/// What is asked for as one.
pub fn response(answer: Answer) -> Response<Body> {
    match answer {
        Answer::Response(response) => response,
        Answer::Message(..) => panic!("a message was not asked for"),
    }
}

/// Whether it came from the cache.
pub fn is_hit(answer: &Response<Body>) -> bool {
    answer.headers().get("cache-status").is_some_and(|told| told.as_bytes().starts_with(b"larder; hit"))
}

impl Service<Uri> for Origin {
    type Response = Pipe;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Pipe>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (near, far) = duplex(16 * 1024);
        let answer = service_fn(|_| async {
            let answer =
                Response::builder().header("content-type", "application/json").header("etag", "\"one\"");
            Ok::<_, Infallible>(answer.body(Full::new(Bytes::from_static(&[b'x'; 1024]))).unwrap())
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), answer));
        std::future::ready(Ok(TokioIo::new(near)))
    }
}
