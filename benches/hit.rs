//! A hit, from the head of a request to the head of its answer: all that Larder does of its own, and no HTTP on a wire.
//!
//! The one fill comes from an origin at the other end of a pipe in memory. A hit waits for nothing, so its future is polled
//! once, without a runtime's help: what is measured is `Proxy::answer` and letting its answer go.
#![expect(clippy::panic, clippy::unwrap_used, reason = "what can't be measured is a mistake in here")]

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Full};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use larder::clock::Clock;
use larder::config::{self, Sources};
use larder::proxy::{Body, Peer, Proxy};
use tokio::io::{DuplexStream, duplex};
use tokio::runtime::Runtime;
use tower_service::Service;

const CONFIGURATION: &str = r#"
[upstream]
url = "http://origin.example"

[[route]]
name = "things"
match = "/things/{id}"
ttl = "1h"

[[route]]
name = "lists"
match = "/lists/{id}"
ttl = "1h"
key = { query = ["page", "sort"], headers = ["accept-language"], cookies = ["theme"] }
"#;

const PEER: Peer = Peer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), scheme: "http", here: None };

/// What an ordinary client says of itself.
const USUAL: [(&str, &str); 4] = [
    ("host", "api.example:8080"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate, br"),
];

/// Serves a pipe for each connection; answers everything with 1 KiB and a validator.
#[derive(Clone)]
struct Origin;

/// The proxy's end of one.
struct Pipe(TokioIo<DuplexStream>);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    hits(&mut criterion);
    criterion.final_summary();
}

fn hits(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let proxy = proxy();
    let bearer = ("authorization", "Bearer 0123456789abcdef0123456789abcdef");
    let language = ("accept-language", "de-DE,de;q=0.9,en;q=0.8");
    let cookies = ("cookie", "theme=dark; consent=all");
    let mut group = criterion.benchmark_group("hit");
    for (name, method, target, fields, status) in [
        ("anonymous", Method::GET, "/things/1", &[][..], StatusCode::OK),
        ("with a credential", Method::GET, "/things/1", &[bearer], StatusCode::OK),
        (
            "with a query and key headers",
            Method::GET,
            "/lists/1?sort=name&utm_source=mail&page=3",
            &[language, cookies],
            StatusCode::OK,
        ),
        ("not modified", Method::GET, "/things/1", &[("if-none-match", "\"one\"")], StatusCode::NOT_MODIFIED),
        ("head", Method::HEAD, "/things/1", &[], StatusCode::OK),
    ] {
        let unconditional = fields.iter().filter(|(name, _)| *name != "if-none-match");
        fill(&runtime, &proxy, &request(&Method::GET, target, unconditional));
        let request = request(&method, target, fields.iter());
        let _inside = runtime.enter();
        let answer = hit(&proxy, request.clone());
        assert_eq!((answer.status(), is_hit(&answer)), (status, true), "{name}: {:?}", answer.headers());
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| request.clone(), |request| hit(&proxy, request), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn proxy() -> Arc<Proxy<Origin>> {
    let settings = match config::load_text(Path::new("bench.toml"), CONFIGURATION, &Sources::default()) {
        Ok(loaded) => loaded.settings,
        Err(mistakes) => panic!("{mistakes}"),
    };
    let telemetry = larder::app::telemetry(&settings);
    larder::app::assemble(&settings, Clock::System, telemetry, Origin, None).unwrap()
}

fn request<'f>(
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
fn fill(runtime: &Runtime, proxy: &Arc<Proxy<Origin>>, request: &Request<Empty<Bytes>>) {
    runtime.block_on(async {
        for _ in 0..100 {
            let answer = proxy.answer(request.clone(), PEER).await;
            if is_hit(&answer) {
                return;
            }
            answer.into_body().collect().await.unwrap();
            tokio::task::yield_now().await;
        }
        panic!("{} is never kept", request.uri());
    });
}

fn hit(proxy: &Arc<Proxy<Origin>>, request: Request<Empty<Bytes>>) -> Response<Body> {
    let answer = pin!(proxy.answer(request, PEER));
    match answer.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a hit waits for nothing"),
    }
}

fn is_hit(answer: &Response<Body>) -> bool {
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
        std::future::ready(Ok(Pipe(TokioIo::new(near))))
    }
}

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
