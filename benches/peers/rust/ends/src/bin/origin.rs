//! The API behind a proxy that is measured: it answers at once or as late as it is told, and counts.
//!
//! `origin LISTEN [max_age=3600] [validators=1]`. A query says what an answer is like: `size` in bytes, `delay` in
//! milliseconds, `nostore=1`. `/__count` tells how many were asked for (these paths apart), `/__late` how many of those with a
//! delay, `/__max` how many of these were under way at once at most, `/__reset` begins anew. One thread.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

struct Origin {
    cache_control: HeaderValue,
    validators: bool,
    asked: Cell<u64>,
    asked_late: Cell<u64>,
    under_way: Cell<u64>,
    under_way_max: Cell<u64>,
    /// Made once, so that the origin's own work stays small.
    bodies: RefCell<HashMap<usize, Bytes>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().ok_or("usage: origin LISTEN [max_age=3600] [validators=1]")?;
    let said: Vec<String> = arguments.collect();
    let number = |name| said.iter().find_map(|argument| value(argument, name));
    let origin = Rc::new(Origin {
        cache_control: format!("public, max-age={}", number("max_age").unwrap_or(3600)).try_into()?,
        validators: number("validators") != Some(0),
        asked: Cell::default(),
        asked_late: Cell::default(),
        under_way: Cell::default(),
        under_way_max: Cell::default(),
        bodies: RefCell::default(),
    });
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let origin = Rc::clone(&origin);
            let service = service_fn(move |request| {
                let origin = Rc::clone(&origin);
                async move { Ok::<_, Infallible>(origin.answer(&request).await) }
            });
            tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
}

/// `name=7` → 7.
fn value(argument: &str, name: &str) -> Option<usize> {
    argument.strip_prefix(name)?.strip_prefix('=')?.parse().ok()
}

impl Origin {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if path.starts_with("/__") {
            return self.tell(path);
        }
        self.asked.set(self.asked.get() + 1);
        let query = request.uri().query().unwrap_or_default();
        let number = |name| query.split('&').find_map(|pair| value(pair, name));
        if let Some(delay) = number("delay") {
            self.asked_late.set(self.asked_late.get() + 1);
            self.under_way.set(self.under_way.get() + 1);
            self.under_way_max.set(self.under_way_max.get().max(self.under_way.get()));
            tokio::time::sleep(Duration::from_millis(delay as u64)).await;
            self.under_way.set(self.under_way.get() - 1);
        }
        let mut response = Response::new(Full::new(self.body(number("size").unwrap_or(1024))));
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert(SERVER, HeaderValue::from_static("origin"));
        if number("nostore").is_some() {
            fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        } else {
            fields.insert(CACHE_CONTROL, self.cache_control.clone());
            if self.validators {
                fields.insert(ETAG, HeaderValue::from_static("\"33a64df551425fcc55e4d42a148795d9\""));
                fields.insert(LAST_MODIFIED, HeaderValue::from_static("Mon, 02 Jan 2023 03:04:05 GMT"));
            }
        }
        response
    }

    fn tell(&self, path: &str) -> Response<Full<Bytes>> {
        let said = match path {
            "/__late" => self.asked_late.get(),
            "/__max" => self.under_way_max.get(),
            "/__reset" => {
                self.under_way_max.set(self.under_way.get());
                self.asked_late.set(0);
                self.asked.replace(0)
            }
            _ => self.asked.get(),
        };
        let mut response = Response::new(Full::new(Bytes::from(said.to_string())));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn body(&self, bytes: usize) -> Bytes {
        self.bodies.borrow_mut().entry(bytes).or_insert_with(|| json(bytes).into()).clone()
    }
}

/// Something that looks like JSON, of just that length.
fn json(bytes: usize) -> Vec<u8> {
    let mut text = br#"{"items":["#.to_vec();
    let mut number = 0;
    while text.len() + 2 < bytes {
        text.extend(format!(r#"{{"id":{number},"name":"item-{number:06}","ok":true}},"#).bytes());
        number += 1;
    }
    text.truncate(bytes.saturating_sub(2));
    text.extend(b"]}");
    text.truncate(bytes);
    text
}
