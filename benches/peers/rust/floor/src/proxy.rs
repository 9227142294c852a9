//! What passing on costs at the least: hyper's server before hyper's client, and no cache between them.
//!
//! A thread keeps its own connections to the upstream, and no lock is met. Left out is all that a proxy for use
//! would have: limits, timeouts, tries, and what it tells of itself.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, TRANSFER_ENCODING};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::serve::{self, Outcome};

/// Kept connections; those given back longest ago are at the front, and most likely ready.
struct Pool {
    upstream: SocketAddr,
    kept: RefCell<VecDeque<SendRequest<Incoming>>>,
}

pub fn run(listen: SocketAddr, upstream: SocketAddr) -> Outcome {
    let pool = Rc::new(Pool { upstream, kept: RefCell::default() });
    serve::runtime_a_core(listen, move |stream| {
        let pool = Rc::clone(&pool);
        serve::connection(stream, move |request| {
            let pool = Rc::clone(&pool);
            async move {
                pool.pass(request).await.unwrap_or_else(|_| {
                    let mut response = Response::new(Either::Right(Empty::<Bytes>::new()));
                    *response.status_mut() = StatusCode::BAD_GATEWAY;
                    response
                })
            }
        })
    })
}

impl Pool {
    async fn pass(
        &self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Either<Incoming, Empty<Bytes>>>, Box<dyn Error>> {
        request.headers_mut().remove(CONNECTION);
        let mut connection = self.take().await?;
        let mut response = connection.send_request(request).await?;
        response.headers_mut().remove(CONNECTION);
        response.headers_mut().remove(TRANSFER_ENCODING);
        // Not ready before the body has come through; who takes it asks for that.
        self.kept.borrow_mut().push_back(connection);
        Ok(response.map(Either::Left))
    }

    async fn take(&self) -> Result<SendRequest<Incoming>, Box<dyn Error>> {
        if let Some(connection) = self.take_kept() {
            return Ok(connection);
        }
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(driver);
        Ok(connection)
    }

    fn take_kept(&self) -> Option<SendRequest<Incoming>> {
        let mut kept = self.kept.borrow_mut();
        while kept.front().is_some_and(SendRequest::is_closed) {
            kept.pop_front();
        }
        let ready = kept.iter().position(SendRequest::is_ready)?;
        kept.remove(ready)
    }
}
