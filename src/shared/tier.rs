//! `Tier`: what a store that all instances share must do. Bytes go in, bytes come out; it knows no HTTP.
//!
//! Invariant: nothing here waits longer than the tier's own deadline, and nothing here is ever needed to answer a client. A
//! `TierError` is a miss, or a write that was lost; it reaches no client.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::object::Key;

/// What a command comes to. Boxed, for the tier is chosen when the process starts.
pub type Reply<'t, T> = Pin<Box<dyn Future<Output = Result<T, TierError>> + Send + 't>>;

/// A store that all instances share.
pub trait Tier: fmt::Debug + Send + Sync {
    /// What lies under these names, in one round trip. All of them are of one resource.
    fn get(&self, names: Vec<Name>) -> Reply<'_, Vec<Option<Bytes>>>;

    /// Keeps a value for so long. False: what lies there was asked for a little later (`object::wire::ASKED_AT`), and stays.
    fn put(&self, name: Name, value: Bytes, keep_for: Duration) -> Reply<'_, bool>;

    /// Writes `head` over the beginning of the value there, if the two agree in the bytes that tell one body from another
    /// (`object::wire::SAME_BODY`), and keeps it for so long from now on. False: they don't, or nothing is there.
    fn patch(&self, name: Name, head: Bytes, keep_for: Duration) -> Reply<'_, bool>;

    /// Forgets what lies there.
    fn remove(&self, names: Vec<Name>) -> Reply<'_, ()>;

    /// Puts `mine` under a name that all instances know, unless something lies there already, and says what lies there now.
    /// Either way it is kept for so long at least. `replace`: this may be put in its place.
    fn agree(&self, mine: Bytes, replace: Option<Bytes>, keep_for: Duration) -> Reply<'_, Bytes>;

    /// Takes the lease of this name, for so long; or says that another has it, who will then be told that somebody waits.
    fn acquire(&self, name: Name, token: Token, lease: Duration) -> Reply<'_, Acquired>;

    /// Holds the lease for so much longer. False: it is not ours any more.
    fn renew(&self, name: Name, token: Token, lease: Duration) -> Reply<'_, bool>;

    /// Gives the lease back, if it is still ours, and tells all who wait what came of it.
    fn release(&self, name: Name, token: Token, landed: Landed) -> Reply<'_, ()>;

    /// Who is told what other instances say, and whether they can be heard. Set once, before anything else.
    fn tell(&self, listener: Box<dyn Fn(News) + Send + Sync>);
}

/// Where a value lies: a resource, or one of its variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// The key of the resource; all its names lie in one place.
    pub base: Key,
    /// … of a variant that does not lie under the resource's own name.
    pub variant: Option<Key>,
}

/// Who holds a lease: drawn for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub [u8; 16]);

/// What an attempt at a lease came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// It is ours.
    Ours,
    /// Another has it, for so long if nothing more is heard.
    Theirs(Duration),
}

/// What came of a fetch that others wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landed {
    /// It lies in the tier.
    Kept,
    /// It does not, and nobody else may have what came.
    NotShared,
    /// Nothing came of it: the next may do better.
    Failed,
}

/// What is heard from the tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// From now on news comes through; what was said before was not heard.
    Hearing,
    /// None comes through.
    Deaf,
    /// The lease of this name was given back.
    Landed(Name, Landed),
}

/// Why a command came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TierError {
    /// There is no connection, or it is not to be used for now. Nothing was waited for.
    #[error("not connected")]
    Away,
    /// No reply in time.
    #[error("no reply in time")]
    TimedOut,
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
    /// It answered no: out of memory, read-only, not permitted.
    #[error("refused: {0}")]
    Refused(&'static str),
}
