//! The process under test: started on free ports, read from by its log, killed when it goes out of scope.
//!
//! The binary tells where it listens in the log event whose message is "ready" (fields `listen` and `admin`). Its
//! log is kept and shown when it does not come up. The child's own handle is what ends it, nothing else.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::client::{Curl, Raw, curl};
use crate::origin::Origin;

/// How long anything that should happen at once may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A route over every path of the tests that want the cache to work without the origin's help.
pub(crate) const CACHED: &str = "[[route]]\nname = \"things\"\nmatch = \"/things/{*rest}\"\nttl = \"5m\"\n";

pub(crate) struct Larder {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
    config: NamedTempFile,
}

impl Larder {
    /// In front of this origin, with this configuration.
    pub(crate) fn before(origin: &Origin, config: &str) -> Self {
        Self::at(origin.address, config)
    }

    pub(crate) fn at(upstream: SocketAddr, config: &str) -> Self {
        Self::run(&format!("http://{upstream}"), config, &[("RUST_LOG", "info")])
    }

    /// Before an upstream with this URL, in this environment.
    pub(crate) fn run(upstream: &str, config: &str, environment: &[(&str, &str)]) -> Self {
        let file = written(config);
        let mut child = command()
            .args(["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"])
            .args(["--upstream", upstream])
            .arg("-c")
            .arg(file.path())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log: Arc<Mutex<String>> = Arc::default();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let written = log.clone();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                writeln!(written.lock().unwrap(), "{line}").unwrap();
            }
        });
        let ready = poll(|| {
            let log = log.lock().unwrap().clone();
            if let Some(status) = child.try_wait().unwrap() {
                panic!("larder ended with {status} before it was ready:\n{log}");
            }
            log.lines().find_map(ready_line)
        });
        let Some((address, admin)) = ready else {
            child.kill().unwrap();
            panic!("larder was not ready in time:\n{}", log.lock().unwrap());
        };
        Self { address, admin, child, log, config: file }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// `curl` with these arguments on this path.
    pub(crate) fn curl(&self, path: &str, arguments: &[&str]) -> Curl {
        curl(&self.url(path), arguments)
    }

    /// A connection of a client who is not `curl`.
    pub(crate) fn connect(&self) -> Raw {
        Raw::connect(self.address)
    }

    /// The admin listener's answer.
    pub(crate) fn admin(&self, path: &str, arguments: &[&str]) -> Curl {
        curl(&format!("http://{}{path}", self.admin), arguments)
    }

    /// What the admin listener says about the numbers.
    pub(crate) fn stats(&self) -> Value {
        let answer = self.admin("/stats", &[]);
        serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    /// Panics unless the process runs and says that it is well.
    pub(crate) fn assert_alive(&mut self, after: &str) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "after {after}: ended with {ended:?}:\n{}", self.log());
        let health = self.admin("/health/live", &[]);
        assert_eq!(health.status, 200, "after {after}: {health:?}");
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.status("VmRSS:").trim_end_matches(" kB").parse().unwrap()
    }

    /// How many descriptors it can have open before the kernel's table of them grows.
    pub(crate) fn descriptors_room(&self) -> u64 {
        self.status("FDSize:").parse().unwrap()
    }

    /// What the kernel says of it.
    fn status(&self, name: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
    }

    /// The file it was configured with.
    pub(crate) fn config(&self) -> &Path {
        self.config.path()
    }

    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// As `kill` writes it.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// How it ended, if it does so within the deadline.
    pub(crate) fn wait(&mut self) -> Option<ExitStatus> {
        poll(|| self.child.try_wait().unwrap())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Larder {
    fn drop(&mut self) {
        // Fails only if it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The binary under test, its arguments still to be said. What this process has in its environment for a Larder of its
/// own has no say.
pub(crate) fn command() -> Command {
    let binary = std::env::var("LARDER_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_larder").to_owned());
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LARDER_") {
            command.env_remove(name);
        }
    }
    command
}

/// A file with this text, for as long as it is held.
pub(crate) fn written(config: &str) -> NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(config.as_bytes()).unwrap();
    file
}

/// The addresses, if this line of the log is the event that tells them.
fn ready_line(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let event: Value = serde_json::from_str(line).ok()?;
    let fields = event.get("fields").unwrap_or(&event);
    let address = |name: &str| fields.get(name)?.as_str()?.parse().ok();
    (fields.get("message")? == "ready").then(|| Some((address("listen")?, address("admin")?)))?
}

/// Asks again and again until there is an answer or the deadline has passed.
pub(crate) fn poll<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask() {
            return Some(found);
        }
        if begun.elapsed() > DEADLINE {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
