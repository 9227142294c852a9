//! Puts it all together: `assemble` builds what the configuration says, `control` what the admin listener answers from, and `run`
//! serves until a signal, and drains.

mod assemble;
mod control;
mod descriptors;
mod run;

pub use assemble::{StartError, agree, assemble, telemetry};
pub use run::{Addresses, run};
