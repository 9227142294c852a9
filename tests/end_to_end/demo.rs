//! `larder demo` keeps its word: every command it prints is run, in one shell, and shows what was announced.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::larder::{command, poll};

/// The last thing that is printed before it serves on.
const LAST_LINE: &str = "# Ctrl-C in this terminal stops it all.";

/// Comes after the output of each command.
const MARK: &str = "\u{1d}";

struct Demo {
    child: Child,
    /// All that it printed.
    guide: String,
}

/// One command and what it wrote.
#[derive(Debug)]
struct Tried {
    command: String,
    output: String,
}

impl Demo {
    fn start() -> Self {
        let mut child = command()
            .args(["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            // Whatever lies about and is set must not matter.
            .env("LARDER_UPSTREAM__URL", "http://192.0.2.1:1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut guide = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            guide.push_str(&line);
            guide.push('\n');
            if line == LAST_LINE {
                break;
            }
        }
        Self { child, guide }
    }

    /// Pastes it all into a shell; what each command wrote, and Ada's token.
    fn try_everything(&self) -> (Vec<Tried>, String) {
        let commands: Vec<_> = self.commands().collect();
        let mark = format!("\nprintf '{MARK}'\n");
        let script = commands.join(&mark) + &mark + "printf %s \"$ADA\"\n";
        let output = Command::new("sh").args(["-c", &script]).env("no_proxy", "*").output().unwrap();
        let (told, wrong) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && wrong.is_empty(), "{}: {wrong}\n{told}", output.status);
        let mut outputs: Vec<_> = told.split(MARK).map(str::to_owned).collect();
        let token = outputs.pop().unwrap();
        let tried = commands
            .into_iter()
            .zip(outputs)
            .map(|(command, output)| Tried { command: command.into(), output });
        (tried.collect(), token)
    }

    fn commands(&self) -> impl Iterator<Item = &str> {
        self.guide.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Fails only if it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Tried {
    /// The value of a field, of what `curl -i` and `curl -I` show.
    fn field(&self, name: &str) -> &str {
        let mut lines = self.output.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| panic!("no {name}: {self:?}")).1.trim()
    }

    /// The body as JSON; behind an empty line if the head is shown too.
    fn json(&self) -> Value {
        let body = self.output.split_once("\r\n\r\n").map_or(&*self.output, |(_, body)| body);
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn assert_missed(&self) {
        let told = self.field("cache-status");
        assert!(told.starts_with("larder; fwd=uri-miss;") && told.ends_with("; stored"), "{self:?}");
    }

    fn assert_hit(&self) {
        assert!(self.field("cache-status").starts_with("larder; hit;"), "{self:?}");
    }
}

#[test]
fn every_command_of_the_demo_shows_what_is_announced() {
    let demo = Demo::start();
    let (tried, token) = demo.try_everything();
    assert!(token.len() >= 16, "no token: {token:?}");
    assert_eq!(tried.len(), 14, "another number of commands than this test knows: {tried:#?}");
    let [_, _, first, second, grace, head, anew, slow, quick, nobody, anybody, stats, metrics, explained] =
        &tried[..]
    else {
        panic!("counted above")
    };

    // "First fwd=uri-miss; … stored, then hit, with the same served number."
    first.assert_missed();
    second.assert_hit();
    assert_eq!(first.json(), second.json());
    assert_eq!(first.json()["seen_by"], "ada");
    // "Grace gets her own answer, not the one that was stored for Ada."
    grace.assert_missed();
    assert_eq!(grace.json()["seen_by"], "grace");
    // "HEAD is answered from the stored GET."
    head.assert_hit();
    // "A client may insist on a new answer: served goes up."
    assert!(anew.field("cache-status").starts_with("larder; fwd=request;"), "{anew:?}");
    assert!(anew.json()["served"].as_u64() > first.json()["served"].as_u64(), "{anew:?}");
    // "The list of projects takes 120 ms, once; then it takes none."
    let seconds = |tried: &Tried| tried.output.trim().trim_end_matches(" s").parse::<f64>().unwrap();
    assert!(seconds(slow) >= 0.12 && seconds(quick) < seconds(slow), "{slow:?} {quick:?}");
    // "The status of a server is the same for everybody."
    nobody.assert_missed();
    anybody.assert_hit();
    assert_eq!(nobody.json(), anybody.json());

    assert_counted(&stats.json());
    assert!(
        metrics.output.contains("larder_requests_total{route=\"user\",outcome=\"hit\"} 2\n"),
        "{metrics:?}"
    );
    for told in ["route: user", "tier: memory", "identity: header:authorization"] {
        assert!(explained.output.lines().any(|line| line.trim() == told), "{told}: {explained:?}");
    }
    for tried in &tried {
        assert!(!tried.output.contains(&token), "shows a token: {}", tried.command);
    }
}

/// What has been done is in the numbers: two hits of users, one each of the others.
fn assert_counted(stats: &Value) {
    let counted: Vec<_> = stats["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|route| ["route", "hits", "misses", "bypassed"].map(|name| route[name].to_string()).join(" "))
        .collect();
    let expected = [
        "\"user\" 2 3 0",
        "\"projects\" 1 1 0",
        "\"project\" 0 0 0",
        "\"server-status\" 1 1 0",
        // Both logins.
        "\"unrouted\" 0 0 2",
    ];
    assert_eq!(counted, expected);
    assert_eq!(stats["memory"]["entries"], 4, "{stats}");
}

#[test]
fn the_demo_ends_when_it_is_told_to() {
    let mut demo = Demo::start();
    let sent = Command::new("kill").args(["-INT", &demo.child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ended = poll(|| demo.child.try_wait().unwrap()).expect("ends in time");
    assert!(ended.success(), "{ended}");
}

#[test]
fn a_demo_whose_address_is_taken_says_so_and_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = command().args(["demo", "--admin", "off", "--listen", &address]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&address) && told.contains("larder demo --listen"), "{told}");
    assert!(output.stdout.is_empty());
}
