//! What may be typed after `larder`, and the help that says so.
//!
//! Values that mean something in the configuration (addresses, URLs, durations) are handed on as typed: the
//! configuration checks them, so that a mistake reads the same wherever it was made.

#![expect(clippy::doc_markdown, reason = "these comments are what a terminal shows: no backticks")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};
use http::{HeaderName, HeaderValue, Method, Uri};

use super::asked::{self, Target};
use crate::telemetry::log::LogFormat;

/// A caching reverse proxy for one slow HTTP API.
#[derive(Debug, Parser)]
#[command(name = "larder", version, disable_help_subcommand = true, after_help = EXAMPLES)]
pub struct Arguments {
    /// Log lines on stderr: human, json, or auto (human on a terminal); RUST_LOG=debug for more
    #[arg(long, global = true, value_name = "FORMAT", default_value = "auto", value_parser = log_format)]
    pub log_format: LogFormat,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve: stand in front of the upstream and answer from memory what can be
    Run(Run),
    /// Try it out: a built-in slow API, the proxy before it, and commands to paste
    Demo(Demo),
    /// Read and check the configuration, print the routes; all mistakes at once
    Check(Check),
    /// Say what would become of a request: its route, who is asking, its key, its lifetime
    Explain(Explain),
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Serve only the demo's slow API, to put a Larder of your own before it
    DemoApi(DemoApi),
    /// Forget what is kept, on all instances: by tag, path, beginning of paths, route, identity, or all of it
    Purge(Purge),
    /// Known, and not available yet.
    #[command(hide = true, disable_help_flag = true)]
    Top(NotYet),
}

/// `larder run`
#[derive(Args, Debug)]
#[command(after_help = RUN_EXAMPLES)]
pub struct Run {
    /// The configuration [default: ./larder.toml, if there is one]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The API to stand in front of, such as http://127.0.0.1:8000 (upstream.url)
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,

    /// Where clients connect, such as 127.0.0.1:8080 (server.listen)
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,

    /// Where health, metrics and the like are served, or "off" (server.admin)
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,

    /// The Redis or Valkey that all instances share, such as redis://127.0.0.1:6379 (redis.url); a password is better
    /// given as LARDER_REDIS__PASSWORD, which no other user can see
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,

    /// Any key of the configuration, such as memory.max_size=64MB; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
}

/// `larder demo`
#[derive(Args, Debug)]
pub struct Demo {
    /// Where clients connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: String,

    /// Where health, metrics and the like are served, or "off"
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub admin: String,
}

/// `larder check`
#[derive(Args, Debug)]
#[command(
    after_help = "Exit code: 0 all well, 2 mistakes (on stderr, one a line, with file, line and column)."
)]
pub struct Check {
    /// The configuration [default: ./larder.toml, if there is one]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `larder explain`
#[derive(Args, Debug)]
#[command(after_help = EXPLAIN_EXAMPLES)]
pub struct Explain {
    /// The configuration [default: ./larder.toml, if there is one]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Ask the Larder whose admin listener this is, and what it holds: http://127.0.0.1:8081
    #[arg(long, value_name = "URL", value_parser = asked::admin)]
    pub admin: Option<Uri>,

    /// Its server.admin_token; better given as LARDER_ADMIN_TOKEN, which no other user can see
    #[arg(long, value_name = "TOKEN", requires = "admin", value_parser = asked::bearer)]
    pub token: Option<HeaderValue>,

    /// A header of the request, as for curl: -H 'authorization: Bearer …'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = asked::header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,

    /// A body of the request, as for curl; a Content-Type is part of the key only if -H says one
    #[arg(short, long = "data", value_name = "BODY", allow_hyphen_values = true)]
    pub data: Option<String>,

    /// GET, HEAD, POST, …
    #[arg(value_name = "METHOD", value_parser = asked::method)]
    pub method: Method,

    /// As the client writes it (host and port are part of the key), or only its path and query
    #[arg(value_name = "URL", value_parser = asked::target)]
    pub target: Target,
}

/// `larder purge`
#[derive(Args, Debug)]
#[command(after_help = PURGE_EXAMPLES)]
pub struct Purge {
    /// The admin listener of any one Larder; it tells the others
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081", value_parser = asked::admin)]
    pub admin: Uri,

    /// Its server.admin_token; better given as LARDER_ADMIN_TOKEN, which no other user can see
    #[arg(long, value_name = "TOKEN", value_parser = asked::bearer)]
    pub token: Option<HeaderValue>,

    /// What is to be forgotten.
    #[command(flatten)]
    pub named: Named,

    /// Mark it stale rather than forget it: it is served once more while it is fetched anew
    #[arg(long)]
    pub soft: bool,

    /// Wait until it is applied by that instance (self), written to the log (log), or applied by all instances (all)
    #[arg(long, value_name = "WHOM", default_value = "all", value_parser = ["self", "log", "all"])]
    pub wait: String,

    /// How long to wait for that, at most 60s
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = asked::timeout)]
    pub timeout: Duration,
}

/// At least one of these, each as often as needed.
#[derive(Args, Debug, Default)]
#[group(required = true, multiple = true)]
pub struct Named {
    /// What bears this tag; may be repeated, as may the next four
    #[arg(long = "tag", value_name = "TAG", value_parser = asked::name)]
    pub tags: Vec<String>,

    /// This path, with whatever query, for whoever asks; with a query of its own that URL alone
    #[arg(long = "path", value_name = "PATH", value_parser = asked::path)]
    pub paths: Vec<String>,

    /// All paths that begin so
    #[arg(long = "prefix", value_name = "PATH", value_parser = asked::prefix)]
    pub prefixes: Vec<String>,

    /// What this route keeps
    #[arg(long = "route", value_name = "NAME", value_parser = asked::name)]
    pub routes: Vec<String>,

    /// What is kept for this identity
    #[arg(long = "identity", value_name = "ID", value_parser = asked::name)]
    pub identities: Vec<String>,

    /// Everything
    #[arg(long)]
    pub all: bool,
}

/// `larder demo-api`
#[derive(Args, Debug)]
pub struct DemoApi {
    /// Where it is served
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
}

/// Whatever follows a command that is not there yet.
#[derive(Args, Debug)]
pub struct NotYet {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<std::ffi::OsString>,
}

const EXAMPLES: &str = "\
Examples:
  larder demo                                  see it work
  larder run --upstream http://127.0.0.1:8000  only what the API's own headers allow to be cached
  larder run -c larder.toml                    with routes and lifetimes of your own
  larder check -c larder.toml                  before you deploy that
  larder explain GET /api/users/1              why is this (not) cached?
  larder purge --tag user:5                    this has changed: forget it, everywhere

Each command has more: larder run --help";

const RUN_EXAMPLES: &str = "\
Flags win over LARDER_… in the environment, which wins over the file.

Examples:
  larder run --upstream http://127.0.0.1:8000
  larder run -c larder.toml --listen 0.0.0.0:8080
  larder run -c larder.toml --set memory.max_size=64MB --set server.debug=true
  LARDER_MEMORY__MAX_SIZE=64MB larder run -c larder.toml

SIGTERM and Ctrl-C finish what was begun, then stop (server.drain_timeout bounds that).
Exit code: 0 stopped, 1 could not start (such as an address that is taken), 2 mistakes in the configuration.";

const EXPLAIN_EXAMPLES: &str = "\
A credential is used to compute the key and never printed.

Examples:
  larder explain GET /api/users/1
  larder explain -c larder.toml GET 'http://localhost:8080/api/users?page=2' -H 'authorization: Bearer x'
  larder explain POST /api/search -H 'content-type: application/json' -d '{\"q\": \"tea\"}'
  larder explain --admin http://127.0.0.1:8081 GET http://127.0.0.1:8080/api/users/1";

const PURGE_EXAMPLES: &str = "\
Examples:
  larder purge --tag user:5 --tag team:7
  larder purge --path /api/users/5 --prefix /api/search/
  larder purge --admin http://10.0.0.7:8081 --route user --soft
  larder purge --all

To send the same again is harmless.
Exit code: 0 applied by those who were waited for, 1 not (stderr says by whom, and what to do), 2 wrongly typed.";

/// Arguments whose values may hold a credential, as clap calls them.
const MAY_BE_SECRET: [&str; 6] = ["--admin", "--header", "--redis", "--set", "--token", "<URL>"];

impl Arguments {
    /// What was typed, or what is wrong with it, without the values that may hold a credential: stderr is often a log.
    pub fn read() -> Result<Self, clap::Error> {
        Self::try_parse().map_err(blanked)
    }
}

fn blanked(mut error: clap::Error) -> clap::Error {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.as_str(),
        _ => return error,
    };
    let kind = match error.kind() {
        ErrorKind::ValueValidation if MAY_BE_SECRET.iter().any(|name| argument.starts_with(name)) => {
            ContextKind::InvalidValue
        }
        // A value that has lost its name, such as a header without its -H.
        ErrorKind::UnknownArgument if !argument.starts_with('-') => ContextKind::InvalidArg,
        _ => return error,
    };
    error.insert(kind, ContextValue::String("(hidden)".to_owned()));
    error
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    text.parse().map_err(|_| "expected auto, human or json".to_owned())
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, such as memory.max_size=64MB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &[&str]) -> Result<Command, clap::Error> {
        Arguments::try_parse_from(std::iter::once(&"larder").chain(line)).map(|arguments| arguments.command)
    }

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn run_takes_what_the_contract_says() {
        let line = [
            "run",
            "-c",
            "a.toml",
            "--upstream",
            "http://u",
            "--listen",
            "l",
            "--admin",
            "off",
            "--set",
            "a.b=c=d",
            "--set",
            "e=",
        ];
        let Ok(Command::Run(run)) = parse(&line) else { panic!() };
        assert_eq!(run.config, Some("a.toml".into()));
        assert_eq!(run.upstream.as_deref(), Some("http://u"));
        assert_eq!(run.listen.as_deref(), Some("l"));
        assert_eq!(run.admin.as_deref(), Some("off"));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(run.set, [pair("a.b", "c=d"), pair("e", "")]);
    }

    #[test]
    fn explain_takes_options_before_and_after_the_request() {
        let line =
            ["explain", "-c", "x", "get", "/a?b=c", "-H", "Accept: text/html", "-H", "x-empty:", "-d", "-1"];
        let Ok(Command::Explain(explain)) = parse(&line) else { panic!() };
        assert_eq!(explain.method, Method::GET);
        assert_eq!((explain.target.path.as_str(), explain.target.query.as_deref()), ("/a", Some("b=c")));
        let [(accept, html), (_, empty)] = explain.headers.as_slice() else { panic!() };
        assert_eq!(
            (accept.as_str(), html.as_bytes(), empty.as_bytes()),
            ("accept", &b"text/html"[..], &b""[..])
        );
        assert_eq!(explain.data.as_deref(), Some("-1"));
    }

    #[test]
    fn a_mistake_is_told_without_the_values_that_may_be_secret() {
        for (line, told, hidden) in [
            (&["explain", "GET", "/", "-H", "hunter2"][..], "--header", true),
            (&["explain", "GET", "/", "hunter2: x"], "unexpected argument", true),
            (&["explain", "GET", "ftp://hunter2"], "<URL>", true),
            (&["explain", "GET", "/", "--admin", "ftp://hunter2"], "--admin", true),
            (&["run", "--set", "hunter2"], "--set", true),
            (&["run", "--hunter2"], "unexpected argument", false),
            (&["hunter2"], "unrecognized subcommand", false),
            (&["schema", "--log-format", "hunter2"], "--log-format", false),
        ] {
            let message = blanked(parse(line).unwrap_err()).to_string();
            assert!(message.contains(told), "{line:?}: {message}");
            assert_eq!(!message.contains("hunter2"), hidden, "{line:?}: {message}");
        }
    }

    #[test]
    fn the_demos_addresses_have_defaults() {
        let Ok(Command::Demo(demo)) = parse(&["demo"]) else { panic!() };
        assert_eq!((demo.listen.as_str(), demo.admin.as_str()), ("127.0.0.1:8080", "127.0.0.1:8081"));
        let Ok(Command::DemoApi(api)) = parse(&["demo-api"]) else { panic!() };
        assert_eq!(api.listen.to_string(), "127.0.0.1:8000");
    }

    #[test]
    fn what_is_not_there_yet_is_known_whatever_follows() {
        for line in [&["top"][..], &["top", "--admin", "http://x"], &["top", "--help"]] {
            assert!(matches!(parse(line), Ok(Command::Top(_))), "{line:?}");
        }
    }

    #[test]
    fn purge_takes_what_the_contract_says() {
        let line = [
            "purge",
            "--admin",
            "h:1",
            "--tag",
            "a",
            "--tag",
            "b",
            "--path",
            "/c?d",
            "--prefix",
            "/e",
            "--route",
            "f",
            "--identity",
            "g",
            "--all",
            "--soft",
            "--wait",
            "log",
            "--timeout",
            "250ms",
        ];
        let Ok(Command::Purge(purge)) = parse(&line) else { panic!() };
        assert_eq!(purge.admin, "http://h:1");
        let named = purge.named;
        assert_eq!((named.tags, named.paths), (vec!["a".into(), "b".into()], vec!["/c?d".into()]));
        assert_eq!((named.prefixes, named.routes), (vec!["/e".into()], vec!["f".into()]));
        assert_eq!((named.identities, named.all, purge.soft), (vec!["g".into()], true, true));
        assert_eq!((&*purge.wait, purge.timeout), ("log", Duration::from_millis(250)));
        let Ok(Command::Purge(purge)) = parse(&["purge", "--all"]) else { panic!() };
        assert_eq!(purge.admin, "http://127.0.0.1:8081/");
        assert_eq!((&*purge.wait, purge.timeout, purge.soft), ("all", Duration::from_secs(5), false));
    }

    #[test]
    fn bad_usage_ends_with_two_and_says_what_would_do() {
        for (line, says) in [
            (&["fly"][..], "unrecognized subcommand"),
            (&["run", "--set", "novalue"], "expected KEY=VALUE"),
            (&["run", "--set", "=x"], "expected KEY=VALUE"),
            (&["run", "--log-format", "xml"], "expected auto, human or json"),
            (&["explain", "GET"], "<URL>"),
            (&["explain", "GET", "/", "-H", "novalue"], "expected 'name: value'"),
            (&["explain", "GET", "example.com/x"], "http://"),
            (&["explain", "GET", "/", "--token", "x"], "--admin"),
            (&["demo-api", "--listen", "here"], "invalid socket address"),
            (&["purge"], "--tag <TAG>"),
            (&["purge", "--soft", "--wait", "all"], "--tag <TAG>"),
            (&["purge", "user:5"], "unexpected argument"),
            (&["purge", "--tag", ""], "it is empty"),
            (&["purge", "--path", "users/5"], "begins with /"),
            (&["purge", "--path", "http://h/users/5"], "its path alone"),
            (&["purge", "--all", "--wait", "none"], "possible values: self, log, all"),
            (&["purge", "--all", "--timeout", "5"], "such as 5s"),
            (&["purge", "--all", "--timeout", "2m"], "at most 60s"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line:?}");
            assert!(error.to_string().contains(says), "{line:?}: {error}");
        }
    }
}
