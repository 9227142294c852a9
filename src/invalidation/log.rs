//! `Log`: one order of all events, which all instances read; and a *line* for each instance, which says how far it has.
//!
//! Invariants that an implementation keeps: positions of an epoch begin at 1 and have no gaps but those that trimming made; what
//! was appended is read by everybody, in that order; and the lines, and the name that makes an epoch, come and go together: where
//! the one is lost the others are, and who reads lines reads of which epoch they are in the same step.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::event::{Event, EventId};
use crate::object::Epoch;

/// What a command comes to. Boxed, for the log is chosen when the process starts.
pub type Reply<'l, T> = Pin<Box<dyn Future<Output = Result<T, LogError>> + Send + 'l>>;

/// A log that all instances share.
pub trait Log: fmt::Debug + Send + Sync {
    /// Connects anew, begins a log if there is none, writes this line, and says how things stand. What connections the one
    /// before had are given up. `line.applied` counts only where `line.epoch` is the epoch that is found; there, a log that ends
    /// before it has lost events, and gives way to another. `last` is the event at the position
    /// that our line says was applied: where another stands there, the log is not the one that we have read.
    fn join(&self, line: Line, last: Option<EventId>) -> Reply<'_, Box<dyn Session>>;
}

/// Connections to the log, as long as they hold and lead to the same one. Any error ends it. Each of its commands has an answer
/// in bounded time, if only that there is none. Dropped, it is gone.
pub trait Session: Send + Sync {
    /// Which life of the log this is.
    fn epoch(&self) -> Epoch;

    /// The position of the last event, read behind the writing of our line.
    fn end(&self) -> u64;

    /// What comes after this position, in order, as many as are given at once. If there is none, waits so long for one.
    fn read(&self, after: u64, wait: Duration) -> Reply<'_, Vec<Logged>>;

    /// Appends all of these, in order.
    fn append(&self, events: Vec<(EventId, Event)>) -> Reply<'_, ()>;

    /// Writes our line, and says what lines there are now. `Replaced`: this epoch is over.
    fn renew(&self, line: Line) -> Reply<'_, Vec<Line>>;

    /// What lines there are. `Replaced`: this epoch is over.
    fn lines(&self) -> Reply<'_, Vec<Line>>;

    /// Takes away our own line, whatever it says.
    fn leave(&self, id: InstanceId) -> Reply<'_, ()>;

    /// Takes away these lines, each if it is still just this.
    fn remove(&self, lines: Vec<Line>) -> Reply<'_, ()>;
}

/// Tells an instance from any other: drawn when its process starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub [u8; 8]);

/// What an instance says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// Whose it is.
    pub id: InstanceId,
    /// What people call it.
    pub name: String,
    /// Another each time that it is written.
    pub counter: u64,
    /// In which life of the log …
    pub epoch: Epoch,
    /// … it has applied all up to here.
    pub applied: u64,
}

/// An event as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Where.
    pub position: u64,
    /// Which.
    pub id: EventId,
    /// None: it can't be read.
    pub event: Option<Event>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No connection, or none any more.
    #[error("{0}")]
    Away(String),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// There is another log in the place of this one.
    #[error("the log was replaced")]
    Replaced,
    /// It answered no.
    #[error("refused: {0}")]
    Refused(String),
}
