//! Plays a history against the real proxy, over pipes, with the clock paused; holds every answer against the model, and tells
//! what happened in the words of a scenario.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use larder::clock::Clock;
use tokio::sync::mpsc;

use crate::alphabet::{Ask, Callers, Case, Named, Outcome, Recipe, Since, Step, Tag, Validator, Wait};
use crate::client::{self, Answer};
use crate::fields::{Millis, date, only, written_date};
use crate::history::History;
use crate::judge::{Trial, Way, judge, shown};
use crate::law::Situation;
use crate::origin::{Asked, Gate, Reply, reply};
use crate::server::{Exchange, Server, add, is_read};
use crate::world::{World, pass, settle};

/// How often each way was gone.
pub(crate) type Tally = BTreeMap<Way, usize>;

struct Play {
    world: World,
    clock: Clock,
    callers: Callers,
    desk: Arc<Mutex<Desk>>,
    history: History,
    /// Exchanges that the history knows.
    learnt: usize,
    /// The last answer for each path.
    seen: HashMap<&'static str, HeaderMap>,
    /// What the last client asked.
    last: Option<Ask>,
    trace: String,
    tally: Tally,
}

/// Where the origin's answers come from.
struct Desk {
    server: Server,
    /// Reads wait here.
    hold: Option<Gate>,
    /// To have all connections broken off.
    breaks: mpsc::UnboundedSender<()>,
}

/// A request that was sent, and what was known then.
struct Sent<'a> {
    ask: &'a Ask,
    request: HeaderMap,
    at: Millis,
    owed: Option<crate::law::Kept>,
}

/// What went on while a request waited: see `Trial`.
#[derive(Clone, Copy)]
struct Heard<'a> {
    exchanges: &'a [Exchange],
    own: &'a [Exchange],
    askers: &'a [&'a HeaderMap],
    answered_at: Millis,
}

/// How a path is answered before a history says otherwise.
const AT_FIRST: Recipe = Recipe {
    outcome: Outcome::Status(200),
    control: Vec::new(),
    apart: false,
    cdn: None,
    expires: None,
    date: crate::alphabet::Dated::Now,
    age: None,
    tag: Tag::Strong,
    modified: true,
    vary: None,
    tells_language: false,
    groups: None,
    invalidates: None,
    cookie: false,
    note: None,
    note_in_304: false,
    ignores_conditions: false,
    ignores_ranges: false,
    delay: 0,
    write: 204,
    location: None,
};

/// Moments further away than this are nobody's to wait for.
const FAR_OFF: Millis = 1_000_000_000;

/// What went wrong, told from the beginning; or how often each way was gone.
pub(crate) fn play(case: &Case) -> Result<Tally, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut play = Play::new(case.callers);
        for step in &case.steps {
            if let Err(wrong) = play.step(step).await {
                return Err(format!("{}\n{}\n", play.trace, wrong.join("\n")));
            }
        }
        Ok(play.tally)
    })
}

impl Play {
    fn new(callers: Callers) -> Self {
        let config = match callers {
            Callers::Guessed => "",
            Callers::Nobody => "[identity]\ncredentials = []\n",
        };
        let world = World::new(config);
        let clock = Clock::simulated();
        let (breaks, mut broken) = mpsc::unbounded_channel();
        let origin = world.origin.clone();
        tokio::spawn(async move {
            while broken.recv().await.is_some() {
                origin.drop_connections();
            }
        });
        let mut server = Server::new(clock);
        for path in ["/a", "/b"] {
            server.set(path, &Recipe { control: vec!["max-age=10"], ..AT_FIRST }, false);
        }
        let desk = Arc::new(Mutex::new(Desk { server, hold: None, breaks }));
        let behind = Arc::clone(&desk);
        world.origin.otherwise(move |asked| lock(&behind).answer(asked));
        let mut trace = String::from("# What the model forbids.\n");
        if !config.is_empty() {
            trace.push_str("config\n  [identity]\n  credentials = []\n");
        }
        let (history, seen, tally) = (History::default(), HashMap::new(), Tally::new());
        Self { world, clock, callers, desk, history, learnt: 0, seen, last: None, trace, tally }
    }

    fn now(&self) -> Millis {
        self.clock.now().millis()
    }

    async fn step(&mut self, step: &Step) -> Result<(), Vec<String>> {
        match step {
            Step::Origin { path, recipe, changed } => {
                lock(&self.desk).server.set(path, recipe, *changed);
                Ok(())
            }
            Step::Changed(path) => {
                lock(&self.desk).server.change(path, None);
                Ok(())
            }
            Step::Turned(path, outcome) => {
                lock(&self.desk).server.change(path, Some(*outcome));
                Ok(())
            }
            Step::Wait(wait) => {
                self.wait(*wait).await;
                Ok(())
            }
            Step::Client(ask) => {
                self.last = Some(ask.plain());
                self.ask(ask).await
            }
            Step::Again => match self.last.clone() {
                Some(ask) => self.ask(&ask).await,
                None => Ok(()),
            },
            Step::Overtaken { read, write } => self.overtake(read, write).await,
            Step::Together(asks) => self.together(asks).await,
        }
    }

    /// Several at once. Each is judged by all that the origin was asked meanwhile: they may share, if the law lets them.
    async fn together(&mut self, asks: &[Ask]) -> Result<(), Vec<String>> {
        let gate = Gate::new();
        lock(&self.desk).keep_waiting(&gate);
        let _ =
            writeln!(self.trace, "# The next {} ask before the origin has answered any of them.", asks.len());
        let mut under_way = Vec::new();
        for ask in asks {
            let sent = self.send(ask);
            under_way.push((self.world.begin(Self::spoken(&sent)).await, sent));
        }
        lock(&self.desk).release(self.learnt);
        gate.open();
        let mut answers = Vec::new();
        for (waiting, sent) in under_way {
            answers.push((sent, waiting.answer().await));
        }
        let answered_at = self.now();
        self.quiet().await;
        let all: Vec<&Sent<'_>> = answers.iter().map(|(sent, _)| sent).collect();
        let known = self.learn(&all);
        let askers: Vec<&HeaderMap> = all.iter().map(|sent| &sent.request).collect();
        let mut shared = HashMap::new();
        for (sent, answer) in &answers {
            let _ = writeln!(
                self.trace,
                "# To {} {}, sent at {}:",
                sent.ask.method,
                sent.ask.path,
                sent.at % 1000
            );
            let own: Vec<Exchange> =
                known.iter().filter(|exchange| is_for(exchange, sent)).cloned().collect();
            let heard = Heard { exchanges: &known, own: &own, askers: &askers, answered_at };
            if let Some(serial) = self.hear_at(sent, answer, heard)? {
                shared.entry(serial).or_insert_with(Vec::new).push(sent);
            }
        }
        // One of those who share it has asked for it.
        for (serial, sharers) in shared {
            let wrong = sharers.iter().map(|sent| {
                let situation = Situation { now: answered_at, ..self.situation(sent) };
                self.history.not_for_others(serial, &situation)
            });
            let wrong: Vec<Vec<String>> = wrong.filter(|reasons| !reasons.is_empty()).collect();
            if wrong.len() > 1 {
                return Err(wrong.concat());
            }
        }
        Ok(())
    }

    async fn wait(&mut self, wait: Wait) {
        let now = self.now();
        let until = match wait {
            Wait::Seconds(seconds) => now + seconds * 1000,
            Wait::UntilEnd(millis) => {
                match self.history.next_end(now).map(|end| end.saturating_add_signed(millis)) {
                    Some(end) if (now..now + FAR_OFF).contains(&end) => end,
                    _ => return,
                }
            }
        };
        pass(Duration::from_millis(until - now)).await;
        let _ = writeln!(self.trace, "advance {}", seconds(until - now));
    }

    /// A read whose answer waits until a write has been answered.
    async fn overtake(&mut self, read: &Ask, write: &Ask) -> Result<(), Vec<String>> {
        let gate = Gate::new();
        lock(&self.desk).keep_waiting(&gate);
        let _ = writeln!(
            self.trace,
            "# The answer to the next client waits until the one after it has been answered."
        );
        let first = self.send(read);
        let waiting = self.world.begin(Self::spoken(&first)).await;
        lock(&self.desk).hold = None;
        let mut known = self.learn(&[&first]);
        // It was given what is stored, and what waits is a refresh behind it.
        let waiting = if waiting.is_over() {
            let answer = waiting.answer().await;
            self.hear(&first, &answer, &known)?;
            None
        } else {
            Some(waiting)
        };
        self.ask(write).await?;
        lock(&self.desk).server.is_busy = false;
        gate.open();
        let now = self.now();
        for exchange in &known {
            self.history.came_late(exchange.serial, now);
        }
        if let Some(waiting) = waiting {
            let answer = waiting.answer().await;
            known.extend(self.learn(&[&first]));
            self.hear(&first, &answer, &known)?;
        }
        self.quiet().await;
        self.learn(&[&first]);
        Ok(())
    }

    /// One request, from its sending to its judgement.
    async fn ask(&mut self, ask: &Ask) -> Result<(), Vec<String>> {
        let sent = self.send(ask);
        let answer = self.world.ask(Self::spoken(&sent)).await;
        self.receive(&sent, &answer).await
    }

    /// What is known before the answer.
    fn send<'a>(&mut self, ask: &'a Ask) -> Sent<'a> {
        let request = self.request(ask);
        let at = self.now();
        let situation = self.history.situation(self.callers, ask.method, ask.path, &request, at);
        let owed = self.history.owed(&situation).cloned();
        let _ = writeln!(self.trace, "client {} {}", ask.method, ask.path);
        self.trace.push_str(&shown(&request, "> ", &[]));
        Sent { ask, request, at, owed }
    }

    fn spoken(sent: &Sent<'_>) -> client::Ask {
        let ask = client::ask(sent.ask.method, sent.ask.path);
        let fields = sent.request.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        fields.fold(ask, |ask, (name, value)| ask.header(name, value))
    }

    async fn receive(&mut self, sent: &Sent<'_>, answer: &Answer) -> Result<(), Vec<String>> {
        let answered_at = self.now();
        // What goes on behind the answer: bodies that are kept, refreshes.
        self.quiet().await;
        let known = self.learn(&[sent]);
        let heard = Heard { exchanges: &known, own: &known, askers: &[&sent.request], answered_at };
        self.hear_at(sent, answer, heard).map(drop)
    }

    fn hear(&mut self, sent: &Sent<'_>, answer: &Answer, exchanges: &[Exchange]) -> Result<(), Vec<String>> {
        let answered_at = self.now();
        let heard = Heard { exchanges, own: exchanges, askers: &[&sent.request], answered_at };
        self.hear_at(sent, answer, heard).map(drop)
    }

    fn hear_at(
        &mut self,
        sent: &Sent<'_>,
        answer: &Answer,
        heard: Heard<'_>,
    ) -> Result<Option<usize>, Vec<String>> {
        let Heard { exchanges, own, askers, answered_at } = heard;
        let _ = writeln!(self.trace, "  answer {}", answer.status);
        self.trace.push_str(&shown(
            &answer.headers,
            "  ",
            &["via", "x-serial", "content-type", "content-length"],
        ));
        if let Some(serial) = only(&answer.headers, "x-serial") {
            let _ = writeln!(self.trace, "    x-serial: {serial}");
        }
        let _ = writeln!(self.trace, "    | {}", String::from_utf8_lossy(&answer.body));
        let Sent { ask, owed, at, .. } = sent;
        let situation = self.situation(sent);
        let failed = exchanges.iter().any(Exchange::is_error) || self.history.failed_lately(ask.path, *at);
        let situation = Situation { failed, ..situation };
        let owed = owed.as_ref();
        let history = &self.history;
        let trial = Trial { situation, answer, exchanges, own, askers, answered_at, owed, history };
        let (way, at) = judge(&trial)?;
        let is_of_now = matches!(way, Way::Validated | Way::Forwarded);
        let tells = answer.headers.contains_key("x-serial");
        let serial = at.filter(|_| is_of_now && tells).map(|at| self.history.kept[at].serial);
        *self.tally.entry(way).or_default() += 1;
        if let Some(at) = at.filter(|_| way == Way::Validated && ask.method == "GET" && answer.status == 200)
        {
            self.history.saw_joined(at, self.callers);
        }
        if answer.headers.contains_key("x-serial") {
            self.seen.insert(ask.path, answer.headers.clone());
        }
        Ok(serial)
    }

    fn situation<'a>(&'a self, sent: &'a Sent<'_>) -> Situation<'a> {
        self.history.situation(self.callers, sent.ask.method, sent.ask.path, &sent.request, sent.at)
    }

    /// Waits until nothing goes on behind.
    async fn quiet(&mut self) {
        settle().await;
        let last = lock(&self.desk).server.record.iter().map(|exchange| exchange.answered_at).max();
        let left = last.unwrap_or(0).saturating_sub(self.now());
        if left > 0 {
            pass(Duration::from_millis(left)).await;
            settle().await;
        }
    }

    /// What the origin was asked since the last time, for these requests.
    fn learn(&mut self, all: &[&Sent<'_>]) -> Vec<Exchange> {
        let new = lock(&self.desk).server.record[self.learnt..].to_vec();
        self.learnt += new.len();
        for exchange in &new {
            let sent = all.iter().find(|sent| is_for(exchange, sent)).unwrap_or(&all[0]);
            self.history.learn(exchange, &sent.request, self.callers);
            let Exchange { serial, method, path, .. } = exchange;
            let status = exchange.status().map_or("breaks off".to_owned(), |status| status.to_string());
            let _ = writeln!(self.trace, "  origin {method} {path} {status} (#{serial})");
            let conditions = ["if-none-match", "if-modified-since", "range", "if-range"];
            for name in conditions.iter().filter(|name| exchange.request.contains_key(**name)) {
                let _ = writeln!(
                    self.trace,
                    "    > {name}: {:?}",
                    exchange.request.get_all(*name).iter().collect::<Vec<_>>()
                );
            }
            if let Some(answer) = &exchange.answer {
                self.trace.push_str(&shown(&answer.head, "  ", &["x-serial", "content-type"]));
                let _ = writeln!(self.trace, "    | {}", String::from_utf8_lossy(&answer.body));
            }
        }
        new
    }

    /// The fields that a client sends.
    fn request(&self, ask: &Ask) -> HeaderMap {
        let mut request = HeaderMap::new();
        let simple = [
            ("accept-language", ask.language),
            ("x-tenant", ask.tenant),
            ("authorization", ask.authorization),
            ("cookie", ask.cookie),
            ("pragma", ask.pragma.then_some("no-cache")),
            ("range", ask.range),
        ];
        for (name, value) in simple {
            if let Some(value) = value {
                add(&mut request, name, value);
            }
        }
        if !ask.control.is_empty() {
            add(&mut request, "cache-control", &ask.control.join(", "));
        }
        let tag = |named: Named| self.named(ask, &request, named);
        let none_match = ask.if_none_match.map(tag);
        let since = ask.if_modified_since.map(|since| self.since(ask, since));
        let if_range = ask.if_range.map(|validator| match validator {
            Validator::Tag(named) => tag(named),
            Validator::Date(date) => self.since(ask, date),
        });
        let conditions =
            [("if-none-match", none_match), ("if-modified-since", since), ("if-range", if_range)];
        for (name, value) in conditions {
            if let Some(value) = value {
                add(&mut request, name, &value);
            }
        }
        request
    }

    fn named(&self, ask: &Ask, request: &HeaderMap, named: Named) -> String {
        let seen = self.seen.get(ask.path).and_then(|head| only(head, "etag")).unwrap_or("\"nothing\"");
        match named {
            Named::Seen => seen.to_owned(),
            Named::SeenWeakly if seen.starts_with("W/") => seen[2..].to_owned(),
            Named::SeenWeakly => format!("W/{seen}"),
            Named::Current => {
                let current = lock(&self.desk).server.current_tag(ask.path, request);
                current.unwrap_or_else(|| "\"none\"".to_owned())
            }
            Named::Other => "\"other\"".to_owned(),
            Named::Listed => format!("\"a,b\", {seen} , W/\"c\""),
            Named::Star => "*".to_owned(),
        }
    }

    fn since(&self, ask: &Ask, since: Since) -> String {
        let seen = self.seen.get(ask.path).and_then(|head| only(head, "last-modified")).and_then(date);
        match since {
            Since::Seen(seconds) => written_date(seen.unwrap_or(0).saturating_add_signed(seconds * 1000)),
            Since::Now => written_date(self.now()),
            Since::Text(text) => text.to_owned(),
        }
    }
}

impl Desk {
    /// Reads wait at this gate from now on.
    fn keep_waiting(&mut self, gate: &Gate) {
        self.hold = Some(gate.clone());
        self.server.is_busy = true;
    }

    /// Nothing waits any more: what did, from this exchange on, is answered now.
    fn release(&mut self, from: usize) {
        self.hold = None;
        self.server.is_busy = false;
        let now = self.server.now();
        for exchange in &mut self.server.record[from..] {
            exchange.answered_at = now;
        }
    }

    fn answer(&mut self, asked: &Asked) -> Reply {
        let hold = self.hold.clone().filter(|_| is_read(asked.method.as_str()));
        let exchange = self.server.answer(asked, hold.is_some());
        let Some(sent) = &exchange.answer else {
            // Nothing ever opens this one.
            let _ = self.breaks.send(());
            return reply(500).held(&Gate::new());
        };
        let mut reply = reply(sent.status).body(sent.body.clone());
        for (name, value) in &sent.head {
            reply = reply.header(name.as_str(), value.to_str().unwrap());
        }
        if let Some(gate) = hold {
            return reply.held(&gate);
        }
        let delay = exchange.answered_at - exchange.sent_at;
        if delay == 0 {
            return reply;
        }
        let gate = Gate::new();
        let opened = gate.clone();
        tokio::spawn(async move {
            pass(Duration::from_millis(delay)).await;
            opened.open();
        });
        reply.held(&gate)
    }
}

/// Whether the origin was asked this with the fields of that request, as far as they tell clients apart.
fn is_for(exchange: &Exchange, sent: &Sent<'_>) -> bool {
    let fields = ["accept-language", "x-tenant", "authorization", "cookie", "cache-control", "pragma"];
    let same = |name| exchange.request.get_all(name).iter().eq(sent.request.get_all(name));
    exchange.path == sent.ask.path && exchange.method == sent.ask.method && fields.into_iter().all(same)
}

/// Seconds, and milliseconds if there are some.
fn seconds(millis: Millis) -> String {
    let (seconds, rest) = (millis / 1000, millis % 1000);
    if rest == 0 { seconds.to_string() } else { format!("{seconds}.{rest:03}") }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
