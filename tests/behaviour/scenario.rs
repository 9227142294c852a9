//! Scenario files: what they may say, and where they say something else.
//!
//! ```text
//! # A sentence that is the title.
//! config                         TOML on the lines that follow, indented
//!   [defaults]
//!   ttl = "10s"
//! origin /a 200                  the next request for /a gets this
//!   cache-control: max-age=10    a field of the answer
//!   | one                        a line of its body
//!   > accept: text/plain         the request must come with this field
//!   >! if-none-match             … and without this one
//! client HEAD /a 200             GET, if no method is named
//!   > accept: text/plain         a field of the request
//!   >| hello                     a line of its body
//!   age: 0                       the answer must have this field, once; told twice, these two in this order
//!   ! etag                       … and not this one
//!   | one                        its body, line by line; `| *` for any; `\r` at a line's end is a carriage return
//! advance 11                     seconds
//! purge {"tags": ["user:5"]}     declared invalid, in the words of `POST /invalidate`
//! origin was asked 2             so often so far
//! ```

use std::fmt;
use std::path::Path;

/// A file, understood.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) title: String,
    /// TOML.
    pub(crate) config: String,
    pub(crate) steps: Vec<(Place, Step)>,
}

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Step {
    Origin(Exchange),
    Client(Exchange),
    Advance(u64),
    Purge(String),
    OriginWasAsked(usize),
}

/// A request and its answer: for an origin what it expects and gives, for a client what it sends and expects.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    pub(crate) method: Option<String>,
    pub(crate) target: String,
    pub(crate) status: u16,
    pub(crate) request: Message,
    pub(crate) answer: Message,
}

/// Fields and body, as far as they are told.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) absent: Vec<String>,
    pub(crate) body: Vec<String>,
}

/// File and line.
#[derive(Clone, Debug)]
pub(crate) struct Place(String);

/// Something that is not understood, or did not hold.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    pub(crate) what: String,
}

impl Message {
    /// Its lines, each with an end of line but the last.
    pub(crate) fn text(&self) -> String {
        self.body.join("\n")
    }
}

impl Scenario {
    /// Reads a file's text.
    pub(crate) fn parse(file: &Path, text: &str) -> Result<Self, Fault> {
        let mut scenario = Self { title: String::new(), config: String::new(), steps: Vec::new() };
        let mut in_config = false;
        for (number, line) in text.lines().enumerate() {
            let place = Place(format!("{}:{}", file.display(), number + 1));
            let understood = if line.trim().is_empty() {
                Ok(())
            } else if let Some(comment) = line.strip_prefix('#') {
                scenario.begin(comment);
                Ok(())
            } else if line == "config" {
                in_config = true;
                scenario.steps.is_empty().then_some(()).ok_or("config comes first".to_owned())
            } else if let Some(indented) = line.strip_prefix("  ") {
                if in_config {
                    scenario.config.push_str(indented);
                    scenario.config.push('\n');
                    Ok(())
                } else {
                    scenario.detail(indented)
                }
            } else {
                in_config = false;
                step(line).map(|step| scenario.steps.push((place.clone(), step)))
            };
            understood.map_err(|what| Fault { place, what })?;
        }
        let place = Place(format!("{}:1", file.display()));
        if scenario.title.is_empty() {
            return Err(Fault { place, what: "it must begin with `# ` and a sentence".to_owned() });
        }
        let clients = scenario.steps.iter().filter(|(_, step)| matches!(step, Step::Client(_)));
        if clients.count() == 0 {
            return Err(Fault { place, what: "no client asks anything".to_owned() });
        }
        Ok(scenario)
    }

    fn begin(&mut self, comment: &str) {
        if self.title.is_empty() {
            comment.trim().clone_into(&mut self.title);
        }
    }

    /// A line that belongs to the step before it.
    fn detail(&mut self, line: &str) -> Result<(), String> {
        let Some((_, Step::Origin(exchange) | Step::Client(exchange))) = self.steps.last_mut() else {
            return Err("it belongs to no origin and no client".to_owned());
        };
        let (message, line) = match line.strip_prefix('>') {
            Some(line) => (&mut exchange.request, line.trim_start()),
            None => (&mut exchange.answer, line),
        };
        if let Some(text) = line.strip_prefix('|') {
            let text = text.strip_prefix(' ').unwrap_or(text);
            message.body.push(match text.strip_suffix("\\r") {
                Some(text) => format!("{text}\r"),
                None => text.to_owned(),
            });
        } else if let Some(name) = line.strip_prefix('!') {
            message.absent.push(name.trim().to_owned());
        } else if let Some((name, value)) = line.split_once(':').filter(|(name, _)| !name.contains(' ')) {
            message.fields.push((name.to_owned(), value.trim().to_owned()));
        } else {
            return Err(format!("neither a field, nor `!`, nor `|`: {line:?}"));
        }
        Ok(())
    }
}

fn step(line: &str) -> Result<Step, String> {
    if let Some(order) = line.strip_prefix("purge ") {
        return Ok(Step::Purge(order.to_owned()));
    }
    let words: Vec<&str> = line.split(' ').collect();
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("not a number: {text:?}"));
    match words.as_slice() {
        ["origin", "was", "asked", count] => {
            let count = usize::try_from(number(count)?).map_err(|error| error.to_string())?;
            Ok(Step::OriginWasAsked(count))
        }
        ["advance", seconds] => Ok(Step::Advance(number(seconds)?)),
        ["origin", rest @ ..] => exchange(rest).map(Step::Origin),
        ["client", rest @ ..] => exchange(rest).map(Step::Client),
        _ => Err(format!("unknown: {line:?}")),
    }
}

/// `[METHOD] PATH STATUS`
fn exchange(words: &[&str]) -> Result<Exchange, String> {
    let (method, target, status) = match words {
        [target, status] => (None, target, status),
        [method, target, status] => (Some((*method).to_owned()), target, status),
        _ => return Err("expected `[METHOD] PATH STATUS`".to_owned()),
    };
    if !target.starts_with('/') {
        return Err(format!("not a path: {target:?}"));
    }
    let status = status.parse().map_err(|_| format!("not a status: {status:?}"))?;
    Ok(Exchange { method, target: (*target).to_owned(), status, ..Exchange::default() })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place.0, self.what)
    }
}

#[test]
fn a_line_that_is_not_understood_is_named_with_its_place() {
    let cases = [
        ("client /a 200\n", "s:1: it must begin"),
        ("# T\n", "s:1: no client"),
        ("# T\nclient /a 200\n  cache-status\n", "s:3: neither a field"),
        ("# T\nclient /a 200\nserver /a\n", "s:3: unknown"),
        ("# T\nclient /a two\n", "s:2: not a status"),
        ("# T\nclient a 200\n", "s:2: not a path"),
        ("# T\nadvance 1\n  age: 1\n", "s:3: it belongs to no"),
        ("# T\nadvance soon\n", "s:2: not a number"),
        ("# T\nclient /a 200\nconfig\n", "s:3: config comes first"),
    ];
    for (text, expected) in cases {
        let fault = Scenario::parse(Path::new("s"), text).unwrap_err().to_string();
        assert!(fault.starts_with(expected), "{text:?}: {fault}");
    }
}
