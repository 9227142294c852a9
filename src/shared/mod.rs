//! L2: the tier that all instances share, and that no client ever waits for in vain.
//!
//! `tier` is what it must do, in bytes. `redis` does it: over a `link` for each thread, whose connections `connect` makes and
//! whose `standing` says when, with time for what is written (`burden`); a `lane` takes the commands of a worker, and `reply` reads
//! what comes back; `hear` listens to what other instances say, and `complaints` tells what is wrong; `direct` is for who must
//! know whom it talks to. `second` is what the proxy has of it, in answers: it reads (`reads`: one for a herd, `carried` on
//! whoever leaves; `sight`: what that gave) and writes behind the client's back (`queue`, `write`), under names that `bases`
//! keeps track of and with a `secret` that all instances agree on; its `leases` have one of all instances fetch.

mod address;
mod bases;
mod burden;
mod carried;
mod cluster;
mod complaints;
mod connect;
mod direct;
mod hear;
mod lane;
mod leases;
mod link;
mod names;
mod patience;
mod queue;
mod reads;
pub mod redis;
mod refusal;
mod reply;
mod scripts;
mod second;
mod secret;
mod security;
mod settings;
mod shards;
mod sight;
mod stamps;
mod standing;
mod stream;
mod tier;
mod write;

pub use address::{Address, Reach};
pub use carried::CarriedOn;
pub use connect::BadSettings;
pub(crate) use connect::Dialer;
pub(crate) use direct::{Direct, NoAnswer, Value};
pub use leases::{Lease, Leases, Turn};
pub(crate) use names::Names;
pub use patience::in_time;
pub use queue::Entry;
pub use reads::{Joined, Read};
pub(crate) use scripts::Prepared;
pub use second::{Parts, Question, Shared};
pub use security::{check_client, check_trust};
pub use settings::{Breaker, Login, Place, Settings, Tls};
pub use sight::{Frame, Seen, Sight};
pub use stamps::Stamps;
pub use tier::{Acquired, Landed, Name, News, Reply, Tier, TierError, Token};
