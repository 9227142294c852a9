//! The network between an instance and Redis, with all that may befall it.
//!
//! A network loses nothing for good while a connection lives: what does not get through is held, and comes late when the fault is
//! over, unless the connection is reset. Where it leads can be changed: then what was open is reset.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    All,
    /// Nothing: what is open is reset, and what is new too.
    Cut,
    /// Nothing, and nobody is told.
    Hung,
    /// What the instance says, and no answer.
    Deaf,
    /// What Redis says, and no question.
    Mute,
    /// All, each piece so late.
    Slow(Duration),
}

#[derive(Clone, Copy, Debug)]
struct State {
    passage: Passage,
    target: u16,
    /// Connections of an earlier one are to be reset.
    life: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToRedis,
    ToInstance,
}

pub struct Relay {
    pub port: u16,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

impl Relay {
    pub async fn before(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, watched) = watch::channel(State { passage: Passage::All, target, life: 0 });
        Self { port, state, accepting: tokio::spawn(accept(listener, watched)) }
    }

    pub fn let_pass(&self, passage: Passage) {
        self.state.send_modify(|state| {
            state.passage = passage;
            state.life += u64::from(passage == Passage::Cut);
        });
    }

    /// What is open.
    pub fn reset(&self) {
        self.state.send_modify(|state| state.life += 1);
    }

    pub fn lead_to(&self, target: u16) {
        self.state.send_modify(|state| {
            state.target = target;
            state.life += 1;
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn lets(&self, direction: Direction) -> bool {
        match self.passage {
            Passage::All | Passage::Slow(_) => true,
            Passage::Cut | Passage::Hung => false,
            Passage::Deaf => direction == Direction::ToRedis,
            Passage::Mute => direction == Direction::ToInstance,
        }
    }

    fn latency(&self) -> Duration {
        if let Passage::Slow(latency) = self.passage { latency } else { Duration::ZERO }
    }
}

async fn accept(listener: TcpListener, state: watch::Receiver<State>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        tokio::spawn(carry_both(client, state.clone()));
    }
}

async fn carry_both(mut client: TcpStream, state: watch::Receiver<State>) {
    let State { passage, target, life } = *state.borrow();
    let server = TcpStream::connect(("127.0.0.1", target)).await;
    let (Ok(mut server), false) = (server, passage == Passage::Cut) else {
        is_reset(&client);
        return;
    };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            () = carry(from_client, to_server, Direction::ToRedis, state.clone(), life) => {}
            () = carry(from_server, to_client, Direction::ToInstance, state.clone(), life) => {}
        }
    }
    if state.borrow().life != life {
        is_reset(&client);
        is_reset(&server);
    }
}

/// Closed with RST rather than FIN.
fn is_reset(stream: &TcpStream) {
    // It may be closed already.
    drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
}

/// Until either end closes, or it is to be reset.
async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    direction: Direction,
    mut state: watch::Receiver<State>,
    life: u64,
) {
    let mut over = state.clone();
    let carrying = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = from.read(&mut buffer).await.unwrap_or(0);
            let Ok(latency) =
                state.wait_for(|state| state.lets(direction)).await.map(|state| state.latency())
            else {
                return;
            };
            if read == 0 {
                return;
            }
            sleep(latency).await;
            if to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = carrying => {}
        _ = over.wait_for(|state| state.life != life) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::time::{Instant, timeout};

    use super::*;

    /// More than anything takes that is not held.
    const MOMENT: Duration = Duration::from_millis(200);

    /// Says everything back.
    async fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        port
    }

    async fn connect(relay: &Relay) -> TcpStream {
        TcpStream::connect(("127.0.0.1", relay.port)).await.unwrap()
    }

    async fn next(stream: &mut TcpStream) -> io::Result<u8> {
        stream.read_u8().await
    }

    async fn is_silent(stream: &mut TcpStream) -> bool {
        timeout(MOMENT, stream.read_u8()).await.is_err()
    }

    #[tokio::test]
    async fn what_is_held_comes_late() {
        let relay = Relay::before(echo().await).await;
        let mut stream = connect(&relay).await;
        for passage in [Passage::Hung, Passage::Deaf, Passage::Mute] {
            stream.write_u8(1).await.unwrap();
            assert_eq!(next(&mut stream).await.unwrap(), 1);
            relay.let_pass(passage);
            stream.write_u8(2).await.unwrap();
            assert!(is_silent(&mut stream).await, "{passage:?}");
            relay.let_pass(Passage::All);
            assert_eq!(next(&mut stream).await.unwrap(), 2, "{passage:?}");
        }
        relay.let_pass(Passage::Slow(MOMENT));
        let began = Instant::now();
        stream.write_u8(3).await.unwrap();
        assert_eq!(next(&mut stream).await.unwrap(), 3);
        assert!(began.elapsed() >= 2 * MOMENT);
    }

    #[tokio::test]
    async fn who_is_cut_is_told() {
        let relay = Relay::before(echo().await).await;
        let mut stream = connect(&relay).await;
        stream.write_u8(1).await.unwrap();
        next(&mut stream).await.unwrap();
        relay.let_pass(Passage::Cut);
        assert_eq!(next(&mut stream).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let mut refused = connect(&relay).await;
        assert!(next(&mut refused).await.is_err());
        relay.let_pass(Passage::All);
        let mut stream = connect(&relay).await;
        stream.write_u8(2).await.unwrap();
        assert_eq!(next(&mut stream).await.unwrap(), 2);
        relay.reset();
        assert_eq!(next(&mut stream).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn who_is_led_elsewhere_begins_anew() {
        let relay = Relay::before(echo().await).await;
        let mut stream = connect(&relay).await;
        stream.write_u8(1).await.unwrap();
        next(&mut stream).await.unwrap();
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        relay.lead_to(other.local_addr().unwrap().port());
        assert!(next(&mut stream).await.is_err());
        let mut stream = connect(&relay).await;
        let (mut server, _) = other.accept().await.unwrap();
        stream.write_u8(7).await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), 7);
    }
}
