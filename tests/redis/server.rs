//! One throwaway server: nothing is written to disk, and it is gone with its value.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

pub const REDIS: &str = "redis-server";
/// Fetches it if need be.
pub const VALKEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/redis/valkey-server");

pub struct Server {
    program: &'static str,
    child: Child,
    pub port: u16,
    pub folder: TempDir,
    arguments: Vec<String>,
    /// What the tests ask it by.
    admin: redis::Client,
}

/// A port that nobody has, and whose neighbour for a cluster's bus nobody has either.
pub fn free_port() -> u16 {
    loop {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        if port < 55_535 && std::net::TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

impl Server {
    pub async fn start(arguments: &[&str]) -> Self {
        Self::of(REDIS, arguments).await
    }

    /// Listens on a free port, beside what the arguments say.
    pub async fn of(program: &'static str, arguments: &[&str]) -> Self {
        Self::with_admin(program, arguments, "").await
    }

    /// `login` is what stands before the host in the URL of who asks for the tests: `:password@`.
    pub async fn with_admin(program: &'static str, arguments: &[&str], login: &str) -> Self {
        for _ in 0..10 {
            let folder = folder();
            let port = free_port();
            let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
            let child = spawn(program, port, folder.path(), &arguments);
            let admin = redis::Client::open(format!("redis://{login}127.0.0.1:{port}")).unwrap();
            let mut server = Self { program, child, port, folder, arguments, admin };
            if server.answers().await {
                return server;
            }
        }
        panic!("{program} does not start with {arguments:?}");
    }

    /// On that port.
    pub async fn at(port: u16) -> Self {
        let folder = folder();
        let child = spawn(REDIS, port, folder.path(), &[]);
        let admin = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        let mut server = Self { program: REDIS, child, port, folder, arguments: Vec::new(), admin };
        assert!(server.answers().await, "{REDIS} does not start on {port}");
        server
    }

    /// With a file of its configuration, which says the port.
    pub async fn by_file(program: &'static str, folder: TempDir, port: u16, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let child = spawn(program, port, folder.path(), &arguments);
        let admin = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        let mut server = Self { program, child, port, folder, arguments, admin };
        assert!(server.answers().await, "{program} does not start");
        server
    }

    /// Whether it does before it has ended.
    async fn answers(&mut self) -> bool {
        loop {
            if self.child.try_wait().unwrap().is_some() {
                // Somebody else has got the port in between.
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return true;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What it answers to this.
    pub async fn ask(&self, words: &[&str]) -> Value {
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(5)));
        let mut connection = self.admin.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub async fn text(&self, words: &[&str]) -> String {
        redis::from_redis_value(self.ask(words).await).unwrap()
    }

    /// Whether it answers, and so. Connections may be cut off while a server changes what it is.
    pub async fn says(&self, words: &[&str], expected: &str) -> bool {
        let Ok(mut connection) = self.admin.get_multiplexed_async_connection().await else { return false };
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async::<String>(&mut connection).await.is_ok_and(|text| text.contains(expected))
    }

    /// All keys, none of which may live for ever.
    pub async fn keys(&self) -> Vec<Vec<u8>> {
        let keys: Vec<Vec<u8>> = redis::from_redis_value(self.ask(&["KEYS", "*"]).await).unwrap();
        for key in &keys {
            let key = String::from_utf8_lossy(key);
            let Value::Int(left) = self.ask(&["PTTL", &key]).await else { panic!("{key}") };
            // -2: it has ended in between.
            assert!(left > 0 || left == -2, "{key} has no end: {left}");
        }
        keys
    }

    /// It does nothing, and its connections stay open.
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// At the same place, with nothing in it.
    pub async fn start_again(&mut self) {
        self.child = spawn(self.program, self.port, self.folder.path(), &self.arguments);
        assert!(self.answers().await, "{} does not start again", self.program);
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

/// In memory if there is such a place: a node of a cluster waits for the disk each time it writes down who is where, and while
/// another has the disk to itself it answers nobody, long enough for the others to give it up.
pub fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn spawn(program: &str, port: u16, folder: &Path, arguments: &[String]) -> Child {
    let mut command = Command::new(program);
    // A file of the configuration has to come first; sentinels have no other way.
    if arguments.first().is_none_or(|first| first.starts_with("--")) {
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.args(["--dir", &folder.display().to_string(), "--repl-diskless-sync-delay", "0"]);
    }
    let fill = |text: &String| text.replace("{folder}", &folder.display().to_string());
    command.args(arguments.iter().map(fill)).stdin(Stdio::null()).stdout(Stdio::null());
    match command.spawn() {
        Ok(child) => child,
        Err(error) => panic!("{program} can't be started ({error}): apt-get install redis-server"),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its number may be another's by now.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // One that is stopped would stay.
        self.go_on();
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Until it is so; fails after `within`.
pub async fn until(what: &str, within: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(within, waiting).await.is_ok(), "not within {within:?}: {what}");
}
