//! Who uses the log, as one instance does.

use std::time::Duration;

use larder::invalidation::{
    Event, EventId, InstanceId, IsOurSecret, Line, Log, LogError, Logged, RedisLog, RedisLogSettings, Session,
};
use larder::object::Epoch;
use tokio::time::Instant;

use crate::instance::settings;

/// Longer than any command takes.
pub const SOON: Duration = Duration::from_secs(2);

/// What a log is made with here.
pub struct Journal<'l> {
    pub lines: &'l str,
    pub length_max: u64,
    pub age_max: Duration,
    pub trust_failover: bool,
    pub is_our_secret: Option<IsOurSecret>,
}

impl<'l> Journal<'l> {
    /// With these lines of `[redis]`.
    pub fn of(lines: &'l str) -> Self {
        let age_max = Duration::from_secs(3600);
        Self { lines, length_max: 1000, age_max, trust_failover: false, is_our_secret: None }
    }

    pub fn log(self) -> RedisLog {
        let Self { lines, length_max, age_max, trust_failover, is_our_secret } = self;
        let name = "one".to_owned();
        let own = RedisLogSettings { name, length_max, age_max, trust_failover, is_our_secret };
        RedisLog::new(&settings(lines), own).unwrap()
    }
}

/// At that URL.
pub fn at(url: &str) -> RedisLog {
    Journal::of(&format!("url = '{url}'")).log()
}

pub fn line(number: u8) -> Line {
    let (id, name) = (InstanceId([number; 8]), format!("instance {number}"));
    Line { id, name, counter: 1, epoch: Epoch([9; 16]), applied: 0 }
}

pub async fn join(log: &RedisLog, number: u8) -> Box<dyn Session> {
    log.join(line(number), None).await.unwrap()
}

pub async fn refused(log: &RedisLog) -> LogError {
    log.join(line(1), None).await.err().unwrap()
}

pub fn id(number: u64) -> EventId {
    EventId((u128::from(number) + 1).to_le_bytes())
}

/// Names this tag.
pub fn event(number: u64) -> Event {
    Event { tags: vec![format!("tag:{number}")], ..Event::default() }
}

pub fn events(numbers: std::ops::Range<u64>) -> Vec<(EventId, Event)> {
    numbers.map(|number| (id(number), event(number))).collect()
}

/// Positions, and what stands there.
pub fn told(read: &[Logged]) -> Vec<(u64, EventId, Option<Event>)> {
    read.iter().map(|logged| (logged.position, logged.id, logged.event.clone())).collect()
}

/// All that is behind that position now.
pub async fn read_on(session: &dyn Session, mut after: u64) -> Vec<Logged> {
    let mut all = Vec::new();
    loop {
        let read = session.read(after, Duration::ZERO).await.unwrap();
        let Some(last) = read.last() else { return all };
        after = last.position;
        all.extend(read);
    }
}

/// What it comes to, and that it does in time.
pub async fn timed<T>(what: &str, doing: impl Future<Output = Result<T, LogError>>) -> Result<T, LogError> {
    let began = Instant::now();
    let result = doing.await;
    assert!(began.elapsed() < SOON, "{what} took {:?}", began.elapsed());
    result
}
