//! Why a command did not do what it was told, and the exit code that says so to scripts.
//!
//! 1: it could not be done here and now. 2: what was typed or written has to change first.

use std::io;

use http::StatusCode;

use super::instance::InstanceError;
use crate::demo::DemoError;
use crate::{app, config};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A word of the contract whose part is not built.
    #[error("{0} is not available yet")]
    NotAvailable(&'static str),
    /// The configuration.
    #[error("{0}")]
    Mistakes(config::Mistakes),
    /// An address that is taken, and the like.
    #[error("{0}")]
    Start(app::StartError),
    /// The demo.
    #[error("{0}")]
    Demo(#[from] DemoError),
    /// `LARDER_ADMIN_TOKEN` holds something that no token can be.
    #[error("LARDER_ADMIN_TOKEN: {0}")]
    Token(String),
    /// The instance that was asked.
    #[error("{0}")]
    Instance(#[from] InstanceError),
    /// Something of the system's.
    #[error("{what}: {error}")]
    System {
        /// What was attempted.
        what: String,
        /// What the system said.
        error: io::Error,
    },
}

impl Failure {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotAvailable(_)
            | Self::Mistakes(_)
            | Self::Token(_)
            | Self::Demo(DemoError::Mistakes(_))
            // What the instance can't make sense of is wrong here.
            | Self::Instance(InstanceError::Refused(
                _,
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE,
                _,
            )) => 2,
            Self::Start(_) | Self::Demo(_) | Self::Instance(_) | Self::System { .. } => 1,
        }
    }

    /// For `map_err`: names what was attempted.
    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::System { what, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_instance_cannot_make_sense_of_was_wrongly_typed() {
        let refused = |status| Failure::Instance(InstanceError::Refused("a".into(), status, "b".into()));
        for (status, expected) in [
            (StatusCode::BAD_REQUEST, 2),
            (StatusCode::PAYLOAD_TOO_LARGE, 2),
            (StatusCode::GATEWAY_TIMEOUT, 1),
            (StatusCode::SERVICE_UNAVAILABLE, 1),
            (StatusCode::FORBIDDEN, 1),
        ] {
            assert_eq!(refused(status).exit_code(), expected, "{status}");
        }
    }
}
