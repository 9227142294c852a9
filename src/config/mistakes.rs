//! What is wrong with a configuration, each mistake with its place: `larder.toml:12:7: …`.
//!
//! Invariant: no message quotes a secret, or anything that was read through `env:` or `file:`.

use std::fmt;
use std::path::PathBuf;

pub(super) use crate::spelling::{did_you_mean, meant};

/// Where a mistake was made. In the order in which mistakes are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file.
    File {
        /// As it was named.
        file: PathBuf,
        /// Line and column, counted from 1; none: the file as a whole.
        at: Option<(usize, usize)>,
    },
    /// In a variable or a flag, named as a person knows it: `environment: LARDER_…`, `--set server.listen`.
    Given(String),
    /// Nowhere: something is missing.
    Nowhere,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
}

/// All that is wrong, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl std::error::Error for Mistakes {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, at: Some((line, column)) } => write!(f, "{}:{line}:{column}", file.display()),
            Self::File { file, at: None } => write!(f, "{}", file.display()),
            Self::Given(name) => f.write_str(name),
            Self::Nowhere => Ok(()),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Nowhere => f.write_str(&self.message),
            _ => write!(f, "{}: {}", self.place, self.message),
        }
    }
}

/// One line each.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Mistake::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}
