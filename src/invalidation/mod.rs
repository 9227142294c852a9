//! What has been declared invalid, and since when. Nothing is searched for or deleted: an entry remembers how much had been
//! declared before it was fetched, and is dead if what came later names it.

mod ledger;

pub use ledger::Ledger;
