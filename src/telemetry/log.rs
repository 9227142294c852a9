//! Log lines on stderr: for people on a terminal, one JSON object a line otherwise.
//!
//! `RUST_LOG` says what is told, `info` if it is not set. The libraries under us tell their own story only when asked
//! by name (`RUST_LOG=debug,hyper=debug`): `RUST_LOG=debug` alone means Larder's. Where one would tell what a client sent,
//! it is not asked at all: credentials are in no log, whatever the filter says.

use std::fmt::{Display, Formatter};
use std::io::IsTerminal;
use std::str::FromStr;

use tracing::{Dispatch, Level};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `Human` if stderr is a terminal, `Json` otherwise.
    #[default]
    Auto,
    /// Time, level, words.
    Human,
    /// One object a line.
    Json,
}

/// Why there are no log lines.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `RUST_LOG` makes no sense.
    #[error("RUST_LOG: {0}")]
    Filter(#[from] ParseError),
    /// Somebody else has set up log lines in this process.
    #[error("log lines are set up already")]
    Already,
}

/// Stands before what the user asks for, which so has the last word.
const LIBRARIES: &str = "h2=warn,hyper=warn,hyper_util=warn,rustls=warn";
/// Below `info` it quotes the target and the host of a request that it refuses, and credentials may be in both.
const QUOTES_REQUESTS: &str = "h2::server";
/// If the user asks for nothing.
const USUAL: &str = "info";

/// Sets up log lines for the whole process; once.
pub fn init(format: LogFormat) -> Result<(), LogError> {
    let terminal = std::io::stderr().is_terminal();
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let filter = filter(std::env::var(EnvFilter::DEFAULT_ENV).ok().as_deref())?;
    let format = format.resolve(terminal);
    dispatch(format, filter, terminal && !plain, std::io::stderr).try_init().map_err(|_| LogError::Already)
}

impl LogFormat {
    fn resolve(self, terminal: bool) -> Self {
        match (self, terminal) {
            (Self::Auto, true) => Self::Human,
            (Self::Auto, false) => Self::Json,
            (chosen, _) => chosen,
        }
    }
}

impl FromStr for LogFormat {
    /// What is wrong with it, for a person.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err(format!("\"{text}\" is neither \"auto\", \"human\" nor \"json\"")),
        }
    }
}

impl Display for LogFormat {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        })
    }
}

fn filter(asked: Option<&str>) -> Result<EnvFilter, ParseError> {
    let asked = asked.map(str::trim).filter(|asked| !asked.is_empty());
    let asked = asked.unwrap_or(USUAL);
    let levels = asked.split(',').filter_map(|part| part.trim().parse::<LevelFilter>().ok());
    // "off" and "error" are to silence the libraries too.
    if levels.max().is_some_and(|level| level > LevelFilter::WARN) {
        EnvFilter::builder().parse(format!("{LIBRARIES},{asked}"))
    } else {
        EnvFilter::builder().parse(asked)
    }
}

fn dispatch<W>(format: LogFormat, filter: EnvFilter, colour: bool, writer: W) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let discreet = filter_fn(|told| told.target() != QUOTES_REQUESTS || *told.level() <= Level::INFO);
    match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .finish()
            .with(discreet)
            .into(),
        LogFormat::Auto | LogFormat::Human => {
            lines.with_ansi(colour).with_target(false).finish().with(discreet).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::{debug, info, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(format: LogFormat, asked: Option<&str>) -> Vec<String> {
        let kept = Kept::default();
        let writer = kept.clone();
        let dispatch = dispatch(format, filter(asked).unwrap(), false, move || writer.clone());
        tracing::dispatcher::with_default(&dispatch, || {
            info!(route = "user", entries = 3, "two\nlines");
            debug!("details");
            debug!(target: "hyper::proto", "library details");
            warn!(target: "hyper::proto", "library warning");
            debug!(target: "h2::server", "what a client sent");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn json_is_one_object_a_line() {
        let lines = lines(LogFormat::Json, None);
        assert_eq!(lines.len(), 2, "{lines:?}");
        let first: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(first["message"], "two\nlines");
        assert_eq!(first["level"], "INFO");
        assert_eq!(first["route"], "user");
        assert_eq!(first["entries"], 3);
        assert!(first["timestamp"].is_string());
    }

    #[test]
    fn libraries_speak_only_when_asked_by_name() {
        for (asked, expected) in [
            (None, &["two", "library warning"][..]),
            (Some(""), &["two", "library warning"]),
            (Some("debug"), &["two", "details", "library warning"]),
            (Some("debug,hyper=debug"), &["two", "details", "library details", "library warning"]),
            (Some("off"), &[]),
            (Some("error"), &[]),
            (Some("warn"), &["library warning"]),
            (Some("info,hyper=off"), &["two"]),
            (Some("larder=debug"), &["two", "details"]),
            (Some("larder=info,h2=trace,h2::server=trace"), &["two"]),
        ] {
            let told: Vec<_> = lines(LogFormat::Json, asked)
                .iter()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["message"].clone())
                .map(|message| message.as_str().unwrap().lines().next().unwrap().to_owned())
                .collect();
            assert_eq!(told, expected, "{asked:?}");
        }
    }

    #[test]
    fn human_lines_have_the_words_and_no_colour_codes_where_there_is_no_terminal() {
        let lines = lines(LogFormat::Human, None).join("\n");
        assert!(lines.contains("INFO") && lines.contains("route=\"user\""), "{lines}");
        assert!(!lines.contains('\u{1b}'), "{lines:?}");
    }

    #[test]
    fn auto_is_human_on_a_terminal_and_json_elsewhere() {
        for (format, terminal, expected) in [
            (LogFormat::Auto, true, LogFormat::Human),
            (LogFormat::Auto, false, LogFormat::Json),
            (LogFormat::Human, false, LogFormat::Human),
            (LogFormat::Json, true, LogFormat::Json),
        ] {
            assert_eq!(format.resolve(terminal), expected, "{format} {terminal}");
        }
    }

    #[test]
    fn formats_are_read_as_they_are_written() {
        for format in [LogFormat::Auto, LogFormat::Human, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("JSON".parse::<LogFormat>().unwrap_err().contains("\"JSON\""));
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_an_error() {
        assert!(filter(Some("larder=loud")).is_err());
    }
}
