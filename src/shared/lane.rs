//! `Lane`: commands over one connection, many under way at once, their replies in their order.
//!
//! Who asks puts its command behind those of others and goes to sleep; the driver, a task on the same thread, sends in one write all
//! that has come together by its turn, and hands the replies on as they come in. The login is the crate's (`login`).
//! Invariant: the nth reply is the nth command's. A command keeps its place when who asked is gone, and its reply is thrown away;
//! a reply that nobody's command is for ends the connection.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisError, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::reply;
use super::stream::Stream;

/// Where commands are put; a clone puts them in the same place.
#[derive(Clone)]
pub(super) struct Lane(Arc<Mutex<Queue>>);

/// Replies that are waited for; whoever would be one more does without Redis.
const ASKED_MAX: usize = 4096;

/// What is between those who ask and the driver.
#[derive(Default)]
struct Queue {
    /// Commands that are not being sent yet.
    unsent: Vec<u8>,
    /// Who is to be given a reply: the next is the first one's.
    asked: VecDeque<oneshot::Sender<Result<Value, RedisError>>>,
    driver: Option<Waker>,
    is_over: bool,
}

/// Sends and receives, until the connection ends. Whoever drops it ends the connection.
pub(super) struct Driving {
    lane: Lane,
    stream: Box<dyn Stream>,
    sending: Vec<u8>,
    /// Of that.
    sent_bytes: usize,
    is_flushed: bool,
    received: BytesMut,
}

/// Room to read into at once: some replies of the usual size, and no more than the caches of a processor like.
const READ_BYTES: usize = 32 * 1024;
/// Room that is given back when it is not needed any more.
const KEPT_BYTES: usize = 1024 * 1024;

/// A connection with the login done, and what has to be run as long as it is to live.
pub(super) async fn open(
    stream: Box<dyn Stream>,
    hello: &RedisConnectionInfo,
    config: AsyncConnectionConfig,
) -> Result<(Lane, Driving), RedisError> {
    let lent = Lent(Arc::new(Mutex::new(Some(stream))));
    // The login has been answered when it is there; of its own driver nothing is needed.
    drop(MultiplexedConnection::new_with_config(hello, lent.clone(), config).await?);
    let stream = lent.lock().take().ok_or_else(broken)?;
    Ok(over(stream))
}

fn over(stream: Box<dyn Stream>) -> (Lane, Driving) {
    let lane = Lane(Arc::default());
    let driving = Driving {
        lane: lane.clone(),
        stream,
        sending: Vec::new(),
        sent_bytes: 0,
        is_flushed: true,
        received: BytesMut::new(),
    };
    (lane, driving)
}

impl Lane {
    /// Sends it, and gives what it is answered.
    pub(super) async fn query(&self, command: &Cmd) -> Result<Value, RedisError> {
        let reply = self.put(command)?;
        // Who never answered has ended.
        reply.await.unwrap_or_else(|_| Err(broken()))
    }

    fn put(&self, command: &Cmd) -> Result<oneshot::Receiver<Result<Value, RedisError>>, RedisError> {
        let (tell, reply) = oneshot::channel();
        let mut queue = self.lock();
        // A Redis that is slower than what is asked of it must not be given more and more.
        if queue.asked.len() >= ASKED_MAX {
            return Err(RedisError::from(io::Error::from(io::ErrorKind::TimedOut)));
        }
        if queue.is_over {
            return Err(broken());
        }
        command.write_packed_command(&mut queue.unsent);
        queue.asked.push_back(tell);
        let driver = queue.driver.take();
        drop(queue);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(reply)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Future for Driving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Both ways each time: a server that waits for us to read takes nothing more.
        let ends = matches!(self.receive(context), Poll::Ready(Err(_)))
            || matches!(self.send(context), Poll::Ready(Err(_)));
        if ends { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Driving {
    /// Sends what there is. Ready: the connection is over.
    fn send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.sent_bytes == self.sending.len() && !self.takes_more(context) {
                if !self.is_flushed {
                    ready!(Pin::new(&mut self.stream).poll_flush(context))?;
                    self.is_flushed = true;
                }
                return Poll::Pending;
            }
            let rest = self.sending.get(self.sent_bytes..).unwrap_or_default();
            let sent_bytes = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if sent_bytes == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent_bytes += sent_bytes;
            self.is_flushed = false;
        }
    }

    /// Takes all that has come together to be sent; who comes when there was nothing has to wake the driver.
    fn takes_more(&mut self, context: &Context<'_>) -> bool {
        self.sending.clear();
        self.sent_bytes = 0;
        if self.sending.capacity() > KEPT_BYTES {
            self.sending = Vec::new();
        }
        let mut queue = self.lane.lock();
        if queue.unsent.is_empty() {
            queue.driver = Some(context.waker().clone());
            return false;
        }
        std::mem::swap(&mut self.sending, &mut queue.unsent);
        true
    }

    /// Hands on what comes in. Ready: the connection is over.
    fn receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.received.is_empty() && self.received.capacity() > KEPT_BYTES {
                self.received = BytesMut::new();
            }
            self.received.reserve(READ_BYTES);
            let read_bytes = ready!(pin!(self.stream.read_buf(&mut self.received)).poll(context))?;
            if read_bytes == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.hand_on()?;
        }
    }

    fn hand_on(&mut self) -> io::Result<()> {
        while let Some(replied) = reply::take(&mut self.received)? {
            // What a server says without having been asked is not for us.
            if matches!(replied, Ok(Value::Push { .. })) {
                continue;
            }
            let Some(asked) = self.lane.lock().asked.pop_front() else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            // Who has given up is gone.
            let _ = asked.send(replied);
        }
        Ok(())
    }
}

/// All who wait learn that nothing comes any more.
impl Drop for Driving {
    fn drop(&mut self) {
        let mut queue = self.lane.lock();
        queue.is_over = true;
        let asked = std::mem::take(&mut queue.asked);
        drop(queue);
        drop(asked);
    }
}

fn broken() -> RedisError {
    RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe))
}

/// A stream that is lent out for the login, and taken back.
#[derive(Clone)]
struct Lent(Arc<Mutex<Option<Box<dyn Stream>>>>);

impl Lent {
    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Stream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(
        &self,
        poll: impl FnOnce(Pin<&mut Box<dyn Stream>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut *self.lock() {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(context, into))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redis::cmd;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::sleep;

    use super::*;

    const GET_A: &[u8] = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    const GET_B: &[u8] = b"*2\r\n$3\r\nGET\r\n$1\r\nb\r\n";

    /// A lane, its driver, and the server's end.
    fn lane() -> (Lane, JoinHandle<()>, DuplexStream) {
        let (here, there) = duplex(4096);
        let (lane, driving) = over(Box::new(here));
        (lane, tokio::spawn(driving), there)
    }

    fn ask(lane: &Lane, key: &str) -> JoinHandle<Result<Value, RedisError>> {
        let (lane, command) = (lane.clone(), cmd("GET").arg(key).take());
        tokio::spawn(async move { lane.query(&command).await })
    }

    /// What was sent by now, in one piece.
    async fn sent(server: &mut DuplexStream) -> Vec<u8> {
        let mut sent = vec![0; 4096];
        let sent_bytes = server.read(&mut sent).await.unwrap();
        sent.truncate(sent_bytes);
        sent
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_together_is_sent_together_and_each_is_given_its_own_reply() {
        let (lane, _driver, mut server) = lane();
        let (a, b) = (ask(&lane, "a"), ask(&lane, "b"));
        assert_eq!(sent(&mut server).await, [GET_A, GET_B].concat());
        server.write_all(b"$1\r\n1\r\n$1\r\n2\r").await.unwrap();
        assert_eq!(a.await.unwrap(), Ok(text("1")));
        assert!(!b.is_finished());
        server.write_all(b"\n").await.unwrap();
        assert_eq!(b.await.unwrap(), Ok(text("2")));
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_takes_nobodys_reply_and_leaves_nobody_its_own() {
        let (lane, _driver, mut server) = lane();
        // One leaves before its command is sent, one after.
        for is_sent in [false, true] {
            let a = ask(&lane, "a");
            tokio::task::yield_now().await;
            if is_sent {
                sleep(Duration::from_millis(1)).await;
            }
            a.abort();
            let _ = a.await;
            let b = ask(&lane, "b");
            sleep(Duration::from_millis(1)).await;
            let commands = sent(&mut server).await;
            let commands = if commands == GET_A { sent(&mut server).await } else { commands };
            assert!(commands.ends_with(GET_B));
            server.write_all(b"$1\r\n1\r\n").await.unwrap();
            server.write_all(b"$1\r\n2\r\n").await.unwrap();
            assert_eq!(b.await.unwrap(), Ok(text("2")), "is_sent {is_sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_connection_ends_all_who_wait_learn_it_and_who_comes_later_too() {
        for is_servers_doing in [true, false] {
            let (lane, driver, mut server) = lane();
            let (a, b) = (ask(&lane, "a"), ask(&lane, "b"));
            sent(&mut server).await;
            server.write_all(b"$1\r\n1\r\n$1").await.unwrap();
            assert_eq!(a.await.unwrap(), Ok(text("1")));
            if is_servers_doing {
                drop(server);
            } else {
                driver.abort();
            }
            assert!(b.await.unwrap().unwrap_err().is_io_error());
            assert!(ask(&lane, "c").await.unwrap().unwrap_err().is_io_error());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_nobody_asked_for_or_that_is_none_ends_the_connection() {
        for bytes in [&b"$1\r\n1\r\n+more\r\n"[..], b"$1\r\n1\r\nnonsense\r\n"] {
            let (lane, driver, mut server) = lane();
            let a = ask(&lane, "a");
            sent(&mut server).await;
            server.write_all(bytes).await.unwrap();
            assert_eq!(a.await.unwrap(), Ok(text("1")));
            driver.await.unwrap();
            assert!(ask(&lane, "b").await.unwrap().is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_server_says_unasked_in_words_of_its_own_is_nobodys_reply() {
        let (lane, _driver, mut server) = lane();
        let a = ask(&lane, "a");
        sent(&mut server).await;
        server.write_all(b">2\r\n$10\r\ninvalidate\r\n_\r\n-WRONGTYPE it is a list\r\n").await.unwrap();
        let refused = a.await.unwrap().and_then(Value::extract_error).unwrap_err();
        assert_eq!(refused.code(), Some("WRONGTYPE"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_or_a_command_that_is_larger_than_any_buffer_goes_through() {
        let (lane, _driver, mut server) = lane();
        let long = "x".repeat(3_000_000);
        let (a, b) = (ask(&lane, &long), ask(&lane, "b"));
        let mut commands = Vec::new();
        while !commands.ends_with(GET_B) {
            commands.extend_from_slice(&sent(&mut server).await);
        }
        let reply = format!("${}\r\n{long}\r\n$1\r\n2\r\n", long.len());
        server.write_all(reply.as_bytes()).await.unwrap();
        assert_eq!((a.await.unwrap(), b.await.unwrap()), (Ok(text(&long)), Ok(text("2"))));
    }
}
