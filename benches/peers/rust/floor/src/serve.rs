//! Listening, and connections of hyper's, in the two ways that threads can share them.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::thread;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

pub type Outcome = Result<(), Box<dyn Error>>;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A socket on the address that others may share.
pub fn listener(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The same on each of so many threads.
pub fn on_threads(threads: usize, run: impl Fn() -> Outcome + Clone + Send + 'static) -> Outcome {
    let running: Vec<_> = (0..threads)
        .map(|_| {
            let run = run.clone();
            thread::spawn(move || run().map_err(|error| error.to_string()))
        })
        .collect();
    for thread in running {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    Ok(())
}

/// A single-threaded runtime with a socket of its own, so that a connection stays where it began.
pub fn runtime_a_core<F>(address: SocketAddr, serve: impl Fn(TcpStream) -> F) -> Outcome
where
    F: Future<Output = ()> + 'static,
{
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::from_std(listener(address)?)?;
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            tokio::task::spawn_local(serve(stream));
        }
    })
}

/// One runtime whose threads share sockets and take work from each other.
pub fn one_runtime<F>(
    address: SocketAddr,
    threads: usize,
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> Outcome
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    // Accepts on a worker as well, not on this thread, which is none of theirs.
    let accepting = async move {
        let listener = TcpListener::from_std(listener(address)?)?;
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            tokio::spawn(serve(stream));
        }
    };
    runtime.block_on(async {
        tokio::spawn(accepting).await.map_err(Into::into).and_then(|ended: std::io::Result<()>| Ok(ended?))
    })
}

/// One connection, from its first request to its last.
pub async fn connection<B, F>(stream: TcpStream, respond: impl Fn(Request<Incoming>) -> F)
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Future<Output = Response<B>>,
{
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let response = respond(request);
        async { Ok::<_, Infallible>(response.await) }
    });
    // A client that breaks off is no matter of ours. With the timer hyper limits how long a head may take, as any
    // server must.
    let _ =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}
