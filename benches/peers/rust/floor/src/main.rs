//! What no program of this kind goes below: each mode does one thing and nothing beside it.
//!
//! `floor MODE LISTEN [threads=1] [size=1024] [entries=1] [upstream=ADDRESS]`, where MODE is
//!
//! - `epoll`: a loop over epoll, a parser of heads and one vectored write: about what the kernel's TCP costs;
//! - `sendfile`: the same, the body sent by the kernel from a file in memory, which spares its copy;
//! - `percore`: hyper, a single-threaded runtime on each core with a socket of its own on the address;
//! - `multi`: hyper, one runtime with threads that share their work;
//! - `cache`: as `percore`, with what the smallest cache must do: key, lock, map, the copy of a head, `Age`;
//! - `proxy`: as `percore`, each request passed on over a kept connection: what passing costs without a cache.
//!
//! All but the last answer every request with eight header lines and a body of that size; `epoll`, with one of so many that have memory of
//! their own.

mod answer;
mod cache;
mod epoll;
mod proxy;
mod serve;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use answer::Answer;
use cache::Cache;

/// What the command line says.
struct Options {
    mode: String,
    listen: SocketAddr,
    threads: usize,
    body_bytes: usize,
    entries: usize,
    upstream: Option<SocketAddr>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let (Some(mode), Some(listen)) = (arguments.next(), arguments.next()) else {
            return Err(
                "usage: floor MODE LISTEN [threads=1] [size=1024] [entries=1] [upstream=ADDRESS]".into()
            );
        };
        let mut options =
            Self { mode, listen: listen.parse()?, threads: 1, body_bytes: 1024, entries: 1, upstream: None };
        for argument in arguments {
            match argument.split_once('=') {
                Some(("threads", value)) => options.threads = value.parse()?,
                Some(("size", value)) => options.body_bytes = value.parse()?,
                Some(("entries", value)) => options.entries = value.parse::<usize>()?.max(1),
                Some(("upstream", value)) => options.upstream = Some(value.parse()?),
                _ => return Err(format!("{argument}: not known").into()),
            }
        }
        Ok(options)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read(std::env::args().skip(1))?;
    let answer = Arc::new(Answer::new(options.body_bytes));
    let Options { listen, threads, entries, .. } = options;
    match options.mode.as_str() {
        mode @ ("epoll" | "sendfile") => {
            let from_file = mode == "sendfile";
            serve::on_threads(threads, move || epoll::run(listen, &answer, from_file, entries))
        }
        "percore" => serve::on_threads(threads, move || {
            let answer = Arc::clone(&answer);
            serve::runtime_a_core(listen, move |stream| {
                let answer = Arc::clone(&answer);
                serve::connection(stream, move |_| std::future::ready(answer.response()))
            })
        }),
        "multi" => serve::one_runtime(listen, threads, move |stream| {
            let answer = Arc::clone(&answer);
            serve::connection(stream, move |_| std::future::ready(answer.response()))
        }),
        "cache" => {
            let cache = Arc::new(Cache::new(answer));
            serve::on_threads(threads, move || {
                let cache = Arc::clone(&cache);
                serve::runtime_a_core(listen, move |stream| {
                    let cache = Arc::clone(&cache);
                    serve::connection(stream, move |request| std::future::ready(cache.response(&request)))
                })
            })
        }
        "proxy" => {
            let upstream = options.upstream.ok_or("a proxy needs upstream=ADDRESS")?;
            serve::on_threads(threads, move || proxy::run(listen, upstream))
        }
        mode => Err(format!("{mode}: no such mode").into()),
    }
}
