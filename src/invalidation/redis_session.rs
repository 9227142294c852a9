//! `RedisSession`: the log as long as two connections hold, which lead to the same server.
//!
//! One is for reading only, for whoever waits there for an event keeps all others waiting. Invariant: what is said of lines, or
//! written, is of this epoch: whoever asks on the server for the one finds out about the other in the same step.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::cmd;
use tokio::time::Instant;

use super::event::{Event, EventId};
use super::log::{InstanceId, Line, LogError, Logged, Reply, Session};
use super::log_scripts::LogScripts;
use super::written;
use crate::object::Epoch;
use crate::object::wire::Wire;
use crate::shared::{Direct, NoAnswer, Prepared, Value};

/// What all sessions have in common.
pub(super) struct Means {
    pub(super) wire: Wire,
    pub(super) scripts: LogScripts,
    /// What the stream is called …
    pub(super) log: String,
    /// … and the hash.
    pub(super) instances: String,
    /// Longest time that a command takes, beside what it waits for events.
    pub(super) patience: Duration,
    /// What people call this instance.
    pub(super) by: String,
    /// So many entries are kept …
    pub(super) length_max: u64,
    /// … for so long.
    pub(super) age_max: Duration,
}

/// What it is a session with.
pub(super) struct Place {
    pub(super) epoch: Epoch,
    /// Of the log.
    pub(super) name: Vec<u8>,
    /// Of the server's data; empty: it makes no difference.
    pub(super) replication_id: String,
    /// Of the keys; empty: it makes no difference.
    pub(super) secret: Vec<u8>,
}

/// Connections to the log.
pub(super) struct RedisSession {
    means: Arc<Means>,
    place: Place,
    end: u64,
    reads: Direct,
    writes: Direct,
    /// Until when a read may keep the connection, also one that nobody waits for any more.
    reading_until: Mutex<Instant>,
    /// What lies there in the place of lines that can't be read.
    unknown: Mutex<HashMap<InstanceId, Field>>,
}

/// Name and value.
type Field = (Vec<u8>, Vec<u8>);

/// A log is forgotten where nobody has been at work for so long: seven days, in milliseconds.
pub(super) const KEEP_FOR: &str = "604800000";

/// So many entries are read at once: if each is as long as may be, they come in time over most networks.
const READ_MAX: usize = 64;

/// Whoever waits for longer asks again.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A call of the script appends no more than so many bytes, and so many events: nobody else is served meanwhile.
const APPENDED_BYTES_MAX: usize = 512 * 1024;
const APPENDED_MAX: usize = 512;

impl RedisSession {
    /// Writes this line, and finds out where the log ends. What was applied in another epoch is nothing in this one.
    pub(super) async fn begin(
        means: Arc<Means>,
        place: Place,
        (reads, writes): (Direct, Direct),
        line: Line,
    ) -> Result<Self, LogError> {
        let (reading_until, unknown) = (Mutex::new(Instant::now()), Mutex::default());
        let mut session = Self { means, place, end: 0, reads, writes, reading_until, unknown };
        let epoch = session.place.epoch;
        let applied = if line.epoch == epoch { line.applied } else { 0 };
        (session.end, _) = session.renewed(Line { epoch, applied, ..line }).await?;
        Ok(session)
    }

    /// The answer of a script to which these arguments are said behind those that all have.
    async fn run(&self, script: &Prepared, arguments: &[&[u8]]) -> Result<Value, LogError> {
        let Means { log, instances, patience, .. } = &*self.means;
        let Place { name, replication_id, .. } = &self.place;
        let all: Vec<&[u8]> =
            [name, replication_id.as_bytes()].into_iter().chain(arguments.iter().copied()).collect();
        match self.writes.run(script, &[log.as_bytes(), instances.as_bytes()], &all, *patience).await? {
            Value::Int(0) => Err(LogError::Replaced),
            answer => Ok(answer),
        }
    }

    async fn renewed(&self, line: Line) -> Result<(u64, Vec<Line>), LogError> {
        let (field, value) = (written::field(line.id), written::line(&line));
        let arguments = [KEEP_FOR.as_bytes(), &self.place.secret, &field, &value];
        let answer = self.run(&self.means.scripts.renew, &arguments).await?;
        if answer == Value::Int(1) {
            return Err(LogError::Refused("the secret of the keys is another".to_owned()));
        }
        let Value::Array(parts) = answer else {
            return Err(unexpected());
        };
        let [last, fields] = <[Value; 2]>::try_from(parts).map_err(|_| unexpected())?;
        let (end, _) = written::position(&last).ok_or_else(unexpected)?;
        Ok((end, self.read_lines(fields)?))
    }

    /// Those that can't be read are remembered, for who wants to remove them.
    fn read_lines(&self, fields: Value) -> Result<Vec<Line>, LogError> {
        let fields = written::fields(fields).ok_or_else(unexpected)?;
        let (mut lines, mut unknown) = (Vec::new(), HashMap::new());
        for (field, value) in fields {
            if let Some((line, is_known)) = written::read_line(&field, &value) {
                if !is_known {
                    unknown.insert(line.id, (field, value));
                }
                lines.push(line);
            }
        }
        *lock(&self.unknown) = unknown;
        Ok(lines)
    }

    /// How the line lies there.
    fn field(&self, line: &Line) -> Field {
        let unknown = lock(&self.unknown).get(&line.id).cloned();
        let is_it = |(field, value): &Field| written::read_line(field, value).is_some_and(|it| it.0 == *line);
        unknown.filter(is_it).unwrap_or_else(|| (written::field(line.id), written::line(line)))
    }

    async fn read_entries(&self, after: u64, wait: Duration) -> Result<Vec<Logged>, LogError> {
        let wait = wait.min(WAIT_MAX);
        let wait_millis = wait.as_millis();
        let mut question = cmd("XREAD");
        question.arg("COUNT").arg(READ_MAX);
        // 0 would be for ever.
        if wait_millis > 0 {
            question.arg("BLOCK").arg(wait_millis.to_string());
        }
        // What somebody else has put in the same place is behind us too.
        question.arg("STREAMS").arg(&self.means.log).arg(format!("{after}-{}", u64::MAX));
        let now = Instant::now();
        let until = {
            let mut reading_until = lock(&self.reading_until);
            *reading_until = now.max(*reading_until) + wait;
            *reading_until
        };
        let answer = self.reads.ask(&question, until - now + self.means.patience).await;
        *lock(&self.reading_until) = Instant::now();
        written::entries(&self.means.wire, after, &answer?).ok_or_else(unexpected)
    }

    async fn append_all(&self, events: Vec<(EventId, Event)>) -> Result<(), LogError> {
        let Means { wire, scripts, by, length_max, age_max, .. } = &*self.means;
        let mut entries = Vec::with_capacity(events.len());
        for (id, event) in events {
            entries.push((id.0, written::event(wire, &event).ok_or_else(no_random_bytes)?));
        }
        let (length_max, age_max) = (length_max.max(&1).to_string(), age_max.as_millis().to_string());
        let mut left = &entries[..];
        while !left.is_empty() {
            let (now, later) = left.split_at(fitting(left));
            let settings = [KEEP_FOR.as_bytes(), length_max.as_bytes(), age_max.as_bytes(), by.as_bytes()];
            let entries = now.iter().flat_map(|(id, event)| [&id[..], event]);
            let arguments: Vec<&[u8]> = settings.into_iter().chain(entries).collect();
            self.run(&scripts.append, &arguments).await?;
            left = later;
        }
        Ok(())
    }
}

impl Session for RedisSession {
    fn epoch(&self) -> Epoch {
        self.place.epoch
    }

    fn end(&self) -> u64 {
        self.end
    }

    fn read(&self, after: u64, wait: Duration) -> Reply<'_, Vec<Logged>> {
        Box::pin(self.read_entries(after, wait))
    }

    fn append(&self, events: Vec<(EventId, Event)>) -> Reply<'_, ()> {
        Box::pin(self.append_all(events))
    }

    fn renew(&self, line: Line) -> Reply<'_, Vec<Line>> {
        Box::pin(async move { Ok(self.renewed(line).await?.1) })
    }

    fn lines(&self) -> Reply<'_, Vec<Line>> {
        Box::pin(async move { self.read_lines(self.run(&self.means.scripts.lines, &[]).await?) })
    }

    fn leave(&self, id: InstanceId) -> Reply<'_, ()> {
        Box::pin(async move {
            let field = written::field(id);
            self.run(&self.means.scripts.remove, &[&field, b""]).await.map(drop)
        })
    }

    fn remove(&self, lines: Vec<Line>) -> Reply<'_, ()> {
        Box::pin(async move {
            let fields: Vec<Field> = lines.iter().map(|line| self.field(line)).collect();
            let arguments: Vec<&[u8]> =
                fields.iter().flat_map(|(field, value)| [&field[..], value]).collect();
            self.run(&self.means.scripts.remove, &arguments).await.map(drop)
        })
    }
}

/// How many of these are appended at once; one at least.
fn fitting(entries: &[([u8; 16], Vec<u8>)]) -> usize {
    let mut bytes = 0;
    let fit = entries.iter().take(APPENDED_MAX).take_while(|(_, event)| {
        bytes += event.len();
        bytes <= APPENDED_BYTES_MAX
    });
    fit.count().max(1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No server answers so.
pub(super) fn unexpected() -> LogError {
    LogError::Refused("an answer that makes no sense".to_owned())
}

pub(super) fn no_random_bytes() -> LogError {
    LogError::Refused("this machine has no random bytes".to_owned())
}

impl From<NoAnswer> for LogError {
    fn from(why: NoAnswer) -> Self {
        match why {
            NoAnswer::TimedOut => Self::TimedOut,
            NoAnswer::Broken(why) => Self::Away(why),
            NoAnswer::Refused(why) => Self::Refused(why),
        }
    }
}

impl fmt::Debug for RedisSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSession")
            .field("epoch", &self.place.epoch)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_appended_in_calls_of_bounded_size() {
        let of = |length: &usize| ([0; 16], vec![0; *length]);
        let fit = |lengths: &[usize]| fitting(&lengths.iter().map(of).collect::<Vec<_>>());
        assert_eq!(fit(&[1; 3]), 3);
        assert_eq!(fit(&[1; 1000]), APPENDED_MAX);
        assert_eq!(fit(&[APPENDED_BYTES_MAX, 1]), 1);
        assert_eq!(fit(&[APPENDED_BYTES_MAX + 1, 1]), 1);
        assert_eq!(fit(&[APPENDED_BYTES_MAX / 2; 4]), 2);
    }
}
