//! The numbers as Prometheus reads them: the text format, version 0.0.4.
//!
//! A *family* is a metric's name with its kind and its help; its *samples* differ by labels. A family's name is
//! written once, here, and its samples can only be added through it, so each has its `HELP` and `TYPE` before it and
//! all its samples in one block. Units are seconds and bytes. Reasons for not storing that never happened are left
//! out; everything else is shown from zero, so that a rate has a beginning.

use std::time::Duration;

use super::Telemetry;
use super::metrics::{
    CoalescingMetrics, ConnectionMetrics, MemoryMetrics, Outcome, RouteMetrics, UpstreamMetrics,
    ValidationMetrics,
};
use super::page::{Kind, Page};
use super::{invalidation, log_state, redis, shared};

/// What `Content-Type` says of it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All of it, of a process that has been running so long.
pub fn render(telemetry: &Telemetry, uptime: Duration) -> String {
    let mut page = Page::default();
    process(&mut page, uptime);
    requests(&mut page, telemetry);
    not_stored(&mut page, telemetry);
    upstream(&mut page, &telemetry.upstream);
    upstream_times(&mut page, telemetry);
    memory(&mut page, &telemetry.memory);
    variants(&mut page, &telemetry.memory);
    coalescing(&mut page, &telemetry.coalescing);
    validation(&mut page, &telemetry.validation);
    invalidation::render(&mut page, &telemetry.invalidation, &telemetry.hooks);
    log_state::render(&mut page, &telemetry.log.state());
    redis::render(&mut page, &telemetry.redis);
    shared::render(&mut page, &telemetry.shared);
    connections(&mut page, &telemetry.connections);
    page.text
}

fn process(page: &mut Page, uptime: Duration) {
    page.family("larder_build_info", Kind::Gauge, "Always 1; the version is in the label.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family("larder_uptime_seconds", Kind::Gauge, "Time since the process started.")
        .sample(&[], uptime.as_secs_f64());
}

fn requests(page: &mut Page, telemetry: &Telemetry) {
    let mut family =
        page.family("larder_requests_total", Kind::Counter, "Requests answered, by route and by how.");
    for (route, outcome) in answered(telemetry) {
        let labels = [("route", &*route.name), ("outcome", outcome.label())];
        family.sample(&labels, route.count(outcome));
    }
    let mut family = page.family(
        "larder_request_duration_seconds",
        Kind::Histogram,
        "Time from the head of a request to the head of its answer.",
    );
    for (route, outcome) in answered(telemetry) {
        let labels = [("route", &*route.name), ("outcome", outcome.label())];
        family.histogram(&labels, &route.times(outcome).distribution());
    }
}

fn answered(telemetry: &Telemetry) -> impl Iterator<Item = (&RouteMetrics, Outcome)> {
    let routes = telemetry.routes.iter();
    routes.flat_map(|route| Outcome::ALL.map(|outcome| (&**route, outcome)))
}

fn not_stored(page: &mut Page, telemetry: &Telemetry) {
    let mut family = page.family(
        "larder_not_stored_total",
        Kind::Counter,
        "Responses of the upstream that were not kept, by route and reason.",
    );
    for route in &telemetry.routes {
        for (why, count) in route.not_stored_counts().filter(|(_, count)| *count > 0) {
            family.sample(&[("route", &route.name), ("reason", why.label())], count);
        }
    }
}

fn upstream(page: &mut Page, upstream: &UpstreamMetrics) {
    page.counter(
        "larder_upstream_requests_total",
        "Requests sent to the upstream, tries included.",
        &upstream.requests,
    );
    page.counter("larder_upstream_retries_total", "Second tries of a request.", &upstream.retries);
    page.counter("larder_upstream_connects_total", "Connections opened to the upstream.", &upstream.connects);
    page.counter(
        "larder_upstream_connect_failures_total",
        "Connections to the upstream that failed or were refused.",
        &upstream.connect_failures,
    );
    page.counter(
        "larder_upstream_timeouts_total",
        "Requests for which the upstream gave no connection or no head in time.",
        &upstream.timeouts,
    );
    page.counter(
        "larder_upstream_broken_total",
        "Exchanges with the upstream that broke off or were not HTTP.",
        &upstream.broken,
    );
    page.gauge("larder_upstream_in_flight", "Requests to the upstream under way.", &upstream.in_flight);
    page.gauge("larder_upstream_queued", "Requests waiting for the upstream to have room.", &upstream.queued);
    page.counter(
        "larder_upstream_queue_full_total",
        "Requests turned away because the queue was full.",
        &upstream.queue_full,
    );
    page.counter(
        "larder_upstream_queue_timeouts_total",
        "Requests turned away after waiting too long in the queue.",
        &upstream.queue_timeouts,
    );
}

fn upstream_times(page: &mut Page, telemetry: &Telemetry) {
    let mut family = page.family(
        "larder_upstream_duration_seconds",
        Kind::Histogram,
        "Time from sending a request to the upstream to the head of its response.",
    );
    for route in &telemetry.routes {
        family.histogram(&[("route", &route.name)], &route.upstream.distribution());
    }
}

fn memory(page: &mut Page, memory: &MemoryMetrics) {
    page.gauge("larder_memory_entries", "Entries kept in memory.", &memory.entries);
    page.gauge("larder_memory_bytes", "What the entries in memory weigh, overhead included.", &memory.bytes);
    page.gauge("larder_memory_max_bytes", "What the entries in memory may weigh.", &memory.max_bytes);
    page.counter("larder_memory_stored_total", "Entries put into memory.", &memory.stored);
    page.counter(
        "larder_memory_evicted_total",
        "Entries that left memory for room or past their end.",
        &memory.evicted,
    );
    page.gauge(
        "larder_memory_filling_bytes",
        "Bytes of bodies that are coming in to be kept or to be part of a key.",
        &memory.filling_bytes,
    );
    page.gauge(
        "larder_memory_sendfile_bytes",
        "Bytes of second copies of large bodies, which the kernel sends from.",
        &memory.sendfile_bytes,
    );
    page.counter(
        "larder_memory_sendfile_sent_bytes_total",
        "Bytes of bodies that the kernel sent from their second copies.",
        &memory.sendfile_sent_bytes,
    );
}

fn variants(page: &mut Page, memory: &MemoryMetrics) {
    let counts = memory.variants_evicted.get();
    // Without a header there is no series, and a family without one says nothing.
    if counts.is_empty() {
        return;
    }
    let mut family = page.family(
        "larder_variants_evicted_total",
        Kind::Counter,
        "Variants that had to go because there were too many, by the header that splits them most.",
    );
    for (header, count) in counts {
        family.sample(&[("header", &header)], count);
    }
}

fn coalescing(page: &mut Page, coalescing: &CoalescingMetrics) {
    page.gauge("larder_coalescing_flights", "Fetches under way that others may join.", &coalescing.flights);
    page.counter(
        "larder_coalescing_joined_total",
        "Requests that joined another's fetch.",
        &coalescing.joined,
    );
    page.counter(
        "larder_coalescing_parted_total",
        "Requests that joined a fetch whose answer was not theirs to have.",
        &coalescing.parted,
    );
    page.counter(
        "larder_coalescing_remembered_total",
        "Requests that went straight through because the answer had just proved uncacheable.",
        &coalescing.remembered,
    );
}

fn validation(page: &mut Page, validation: &ValidationMetrics) {
    let mut family = page.family(
        "larder_validations_total",
        Kind::Counter,
        "Times the upstream was asked whether what is kept is still good, by what came of it.",
    );
    family.sample(&[("outcome", "confirmed")], validation.confirmed.get());
    family.sample(&[("outcome", "changed")], validation.changed.get());
    family.sample(&[("outcome", "failed")], validation.failed.get());
    page.counter(
        "larder_refreshes_total",
        "Fetches begun behind an answer that was given stale.",
        &validation.refreshes,
    );
    page.counter(
        "larder_refreshes_deferred_total",
        "Fetches not begun, because so many were under way for what was softly invalidated.",
        &validation.deferred,
    );
}

fn connections(page: &mut Page, connections: &ConnectionMetrics) {
    page.gauge("larder_connections_open", "Client connections open.", &connections.open);
    page.counter("larder_connections_accepted_total", "Client connections accepted.", &connections.accepted);
    page.counter(
        "larder_connections_refused_total",
        "Client connections turned away because there were too many.",
        &connections.refused,
    );
    page.counter(
        "larder_connections_accept_errors_total",
        "Accepts that failed.",
        &connections.accept_errors,
    );
    page.counter(
        "larder_connections_broken_total",
        "Client connections that ended by an error.",
        &connections.broken,
    );
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::invalidation::{HookOutcome, InvalidationOutcome, Source};
    use super::super::page::{BOUNDS, Label};
    use super::*;
    use crate::semantics::NotStored;

    type Labels = BTreeMap<String, String>;

    struct Read {
        kind: String,
        samples: Vec<(String, Labels, f64)>,
    }

    /// Takes the format at its word and panics at anything else.
    fn parse(text: &str) -> BTreeMap<String, Read> {
        let mut families = BTreeMap::new();
        let mut current = String::new();
        let mut lines = text.strip_suffix('\n').expect("ends with a line feed").split('\n');
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect(line);
                assert!(!words.trim().is_empty() && !words.contains('\\'), "{line}");
                let kind = lines.next().expect("a TYPE after the HELP");
                let kind = kind.strip_prefix(&format!("# TYPE {name} ")).expect(kind).to_owned();
                assert!(["counter", "gauge", "histogram"].contains(&&*kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                let samples = Vec::new();
                let twice = families.insert(name.to_owned(), Read { kind, samples });
                assert!(twice.is_none(), "{name} twice");
                name.clone_into(&mut current);
                continue;
            }
            let (series, value) = line.rsplit_once(' ').expect(line);
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, parse_labels(labels)),
                None => (series, Labels::new()),
            };
            let family = families.get_mut(&current).expect("a HELP before the samples");
            let suffix = name.strip_prefix(&*current).expect("a sample of the family before it");
            match &*family.kind {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                _ => assert_eq!(suffix, "", "{line}"),
            }
            let value = value.parse().expect(line);
            family.samples.push((suffix.to_owned(), labels, value));
        }
        families
    }

    fn parse_labels(text: &str) -> Labels {
        let mut labels = Labels::new();
        let mut rest = text;
        loop {
            let (name, after) = rest.split_once("=\"").expect(text);
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            let mut value = String::new();
            let mut characters = after.chars();
            loop {
                match characters.next().expect("a closing quote") {
                    '"' => break,
                    '\\' => value.push(match characters.next() {
                        Some('n') => '\n',
                        Some(c @ ('"' | '\\')) => c,
                        other => panic!("\\{other:?}"),
                    }),
                    other => value.push(other),
                }
            }
            assert!(labels.insert(name.to_owned(), value).is_none(), "{name} twice");
            rest = characters.as_str();
            match rest.split_at(1) {
                (",", more) => rest = more,
                ("}", "") => return labels,
                _ => panic!("{text}"),
            }
        }
    }

    fn some_traffic() -> Telemetry {
        let telemetry = Telemetry::new(["user", "odd \"name\"\\\n", "unrouted"]).with_hooks(["changed"]);
        telemetry.hooks[0].told(HookOutcome::Replayed);
        telemetry.invalidation.declared(Source::Hook, InvalidationOutcome::Late);
        let user = &telemetry.routes[0];
        for micros in [3, 49, 51, 999, 1_000, 70_000, 58_000_000, 90_000_000] {
            user.answered(Outcome::Hit, Duration::from_micros(micros));
        }
        user.answered(Outcome::Miss, Duration::from_millis(40));
        user.upstream.record(Duration::from_millis(39));
        for why in NotStored::ALL.iter().take(1) {
            user.not_stored(*why);
        }
        telemetry.routes[1].answered(Outcome::Bypass, Duration::from_secs(2));
        telemetry.upstream.requests.add(7);
        telemetry.upstream.in_flight.set(2);
        telemetry.memory.bytes.set(5_000_000_000);
        telemetry
    }

    fn value(families: &BTreeMap<String, Read>, family: &str, suffix: &str, labels: &[Label<'_>]) -> f64 {
        let found = families[family].samples.iter().find(|(has, all, _)| {
            has == suffix
                && all.len() == labels.len()
                && labels.iter().all(|(name, value)| all.get(*name).is_some_and(|v| v == value))
        });
        found.unwrap_or_else(|| panic!("{family}{suffix} {labels:?}")).2
    }

    #[test]
    fn every_family_has_help_and_type_and_no_series_stands_twice() {
        let families = parse(&render(&some_traffic(), Duration::from_millis(1500)));
        for (name, family) in &families {
            assert!(name.starts_with("larder_"), "{name}");
            let series: BTreeSet<_> =
                family.samples.iter().map(|(suffix, labels, _)| (suffix, labels)).collect();
            assert_eq!(series.len(), family.samples.len(), "{name}");
            assert!(!family.samples.is_empty() || name == "larder_not_stored_total", "{name}");
        }
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        let all_of = |name: &str| families[name].samples.len();
        assert_eq!(all_of("larder_requests_total"), 3 * Outcome::ALL.len());
        assert_eq!(all_of("larder_not_stored_total"), NotStored::ALL.len().min(1));
        for (family, labels, expected) in [
            ("larder_build_info", &version[..], 1.0),
            ("larder_uptime_seconds", &[], 1.5),
            ("larder_upstream_requests_total", &[], 7.0),
            ("larder_upstream_in_flight", &[], 2.0),
            ("larder_memory_bytes", &[], 5e9),
            ("larder_hooks_total", &[("hook", "changed"), ("outcome", "replayed")], 1.0),
            ("larder_hooks_total", &[("hook", "changed"), ("outcome", "bad")], 0.0),
            ("larder_invalidations_total", &[("source", "hook"), ("outcome", "late")], 1.0),
            ("larder_requests_total", &[("route", "user"), ("outcome", "hit")], 8.0),
            ("larder_requests_total", &[("route", "unrouted"), ("outcome", "error")], 0.0),
            ("larder_requests_total", &[("route", "odd \"name\"\\\n"), ("outcome", "bypass")], 1.0),
        ] {
            let got = value(&families, family, "", labels);
            assert!((got - expected).abs() < 1e-9, "{family}: {got}");
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "counts below 2^52 are exact")]
    fn buckets_are_cumulative_and_the_last_is_the_count() {
        let families = parse(&render(&some_traffic(), Duration::ZERO));
        let mut seen = 0;
        for (name, family) in families.iter().filter(|(_, family)| family.kind == "histogram") {
            let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for (_, labels, count) in family.samples.iter().filter(|(suffix, ..)| suffix == "_bucket") {
                let mut labels = labels.clone();
                let bound = labels.remove("le").expect("a bound").parse().unwrap();
                series.entry(labels).or_default().push((bound, *count));
            }
            for (labels, buckets) in &series {
                seen += 1;
                assert_eq!(buckets.len(), BOUNDS.len() + 1);
                for pair in buckets.windows(2) {
                    assert!(pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1, "{name} {pair:?}");
                }
                let labels: Vec<_> = labels
                    .iter()
                    .map(|(name, value)| {
                        let name = if name == "route" { "route" } else { "outcome" };
                        (name, &**value)
                    })
                    .collect();
                let last = buckets.last().unwrap();
                assert_eq!(last.0, f64::INFINITY);
                assert_eq!(last.1, value(&families, name, "_count", &labels));
                assert!(value(&families, name, "_sum", &labels) >= 0.0);
            }
        }
        // By route and outcome, by route, and that of Redis.
        assert_eq!(seen, 3 * Outcome::ALL.len() + 3 + 1);
    }

    #[test]
    fn what_took_just_so_long_lies_in_the_bucket_of_that_bound() {
        let families = parse(&render(&some_traffic(), Duration::ZERO));
        for (le, expected) in [
            ("0.00005", 2..=3), // a bucket that holds 49 µs may hold 51 µs too
            ("0.001", 5..=5),
            ("0.1", 6..=6),
            ("60", 7..=7),
            ("+Inf", 8..=8),
        ] {
            let labels = [("route", "user"), ("outcome", "hit"), ("le", le)];
            let got = value(&families, "larder_request_duration_seconds", "_bucket", &labels);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
            let got = got as u64;
            assert!(expected.contains(&got), "{le}: {got}");
        }
    }
}
