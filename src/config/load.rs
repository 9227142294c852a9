//! Reading it all: from files, variables and flags to `Settings`, or to all the mistakes.
//!
//! A mistake in one step does not keep the next ones from looking at the rest. Only where the file can't be read, or is
//! no TOML, they are not asked: what it would have said is unknown.

use super::document::Document;
use super::file::File;
use super::mistakes::{Mistake, Mistakes};
use super::path::KeyPath;
use super::schema::Keys;
use super::settings::Settings;
use super::written::Written;
use super::{check, given, read, references, report, warnings};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// The file that is read if none is named and it is there.
pub const USUAL_FILE: &str = "larder.toml";

/// Where a configuration comes from; later ones win.
#[derive(Clone, Default)]
pub struct Sources {
    /// None: `larder.toml` in the working directory if there is one.
    pub file: Option<PathBuf>,
    /// The variables of the process; also what `env:NAME` reads.
    pub environment: Vec<(String, String)>,
    /// Keys and values in the order in which they were given: `("server.listen", "127.0.0.1:1")`.
    pub flags: Vec<(String, String)>,
}

/// A configuration without mistakes.
#[derive(Clone)]
pub struct Loaded {
    /// What it means.
    pub settings: Settings,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What is worth a second look.
    pub warnings: Vec<String>,
    written: File,
    hidden: BTreeSet<KeyPath>,
}

/// Reads, merges and checks it all.
pub fn load(sources: &Sources) -> Result<Loaded, Mistakes> {
    let file = match &sources.file {
        Some(file) => Some(file.clone()),
        None => Some(PathBuf::from(USUAL_FILE)).filter(|usual| usual.exists()),
    };
    let document = file.as_deref().map(Document::read).transpose();
    load_document(document, file.as_deref(), sources)
}

/// The same with the file's text in place of the file; `name` is for messages and relative paths.
pub fn load_text(name: &Path, text: &str, sources: &Sources) -> Result<Loaded, Mistakes> {
    let document = Document::parse(name, text.to_owned()).map(Some);
    load_document(document, Some(name), sources)
}

fn load_document(
    document: Result<Option<(Document, figment::value::Dict)>, Mistake>,
    file: Option<&Path>,
    sources: &Sources,
) -> Result<Loaded, Mistakes> {
    let keys = Keys::new();
    let mut mistakes = Vec::new();
    let (document, unreadable) = match document {
        Ok(document) => (document, None),
        Err(mistake) => (None, Some(mistake)),
    };
    let texts = document.iter().flat_map(|(_, dict)| dict.values());
    let referenced = references::variables(texts);
    let mut given = given::from_environment(&sources.environment, &referenced, &keys, &mut mistakes);
    given.extend(given::from_flags(&sources.flags, &keys, &mut mistakes));
    if let Some(unreadable) = unreadable {
        // What the file would have said is unknown: nothing can be missing or contradict.
        mistakes.push(unreadable);
        mistakes.sort();
        return Err(Mistakes(mistakes));
    }
    let mut written = Written::merge(keys, document, given, mistakes);
    written.refuse_unknown_keys();
    references::resolve(&mut written, &sources.environment);
    let as_written = read::read(&mut written);
    let settings = check::check(&as_written, &mut written);
    let Some(settings) = settings else {
        let mut mistakes = written.into_mistakes();
        mistakes.sort();
        mistakes.dedup();
        return Err(Mistakes(mistakes));
    };
    Ok(Loaded {
        warnings: warnings::warnings(&settings, &as_written.redis),
        settings,
        file: file.map(Path::to_owned),
        written: as_written,
        hidden: written.into_hidden(),
    })
}

impl Sources {
    /// With the variables of this process, but for those that are not text.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let variables = std::env::vars_os();
        // What is not UTF-8 is refused where it is used; passed over, it would leave a default in its place.
        let text = variables
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        Self { file, environment: text.collect(), flags }
    }
}

impl Loaded {
    /// The configuration in force: every key, secrets as `(set)`.
    pub fn blanked(&self) -> serde_json::Value {
        report::blanked(&self.written, &self.hidden)
    }

    /// What `larder check` prints: the routes in order of precedence, and the warnings.
    pub fn report(&self) -> String {
        let warnings = self.warnings.iter().map(|warning| format!("\nwarning: {warning}\n"));
        report::table(&self.settings) + &warnings.collect::<String>()
    }
}

/// Shows no value of a variable.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Shows what `blanked` shows.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("file", &self.file)
            .field("warnings", &self.warnings)
            .field("configuration", &self.blanked().to_string())
            .finish_non_exhaustive()
    }
}
