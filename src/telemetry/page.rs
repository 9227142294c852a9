//! A page in Prometheus's text format, as it is written: families, and samples that can only be added through one.

use std::fmt::{Display, Write};
use std::time::Duration;

use super::number::{Counter, Distribution, Gauge};

/// Upper bounds of the histograms' buckets: a hit takes tens of microseconds, an upstream up to its time-out.
pub(super) const BOUNDS: [Duration; 19] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// A label's name and value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// What kind of numbers.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// All families.
#[derive(Default)]
pub(super) struct Page {
    pub(super) text: String,
}

/// One of them, to which samples are added.
pub(super) struct Family<'p> {
    text: &'p mut String,
    name: &'static str,
}

impl Kind {
    const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Page {
    /// `help` is plain: no line breaks, no backslashes.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> Family<'_> {
        let kind = kind.label();
        line(&mut self.text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
        Family { text: &mut self.text, name }
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &'static str, counter: &Counter) {
        self.family(name, Kind::Counter, help).sample(&[], counter.get());
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str, gauge: &Gauge) {
        self.family(name, Kind::Gauge, help).sample(&[], gauge.get());
    }
}

impl Family<'_> {
    pub(super) fn sample(&mut self, labels: &[Label<'_>], value: impl Display) {
        self.suffixed("", labels, value);
    }

    /// Cumulative buckets, their sum and their count, all of the same moment.
    pub(super) fn histogram(&mut self, labels: &[Label<'_>], read: &Distribution) {
        for bound in BOUNDS {
            let seconds = bound.as_secs_f64().to_string();
            let labels = [labels, &[("le", &seconds)]].concat();
            self.suffixed("_bucket", &labels, read.count_up_to(bound));
        }
        let labels_inf = [labels, &[("le", "+Inf")]].concat();
        self.suffixed("_bucket", &labels_inf, read.count());
        self.suffixed("_sum", labels, read.sum().as_secs_f64());
        self.suffixed("_count", labels, read.count());
    }

    pub(super) fn suffixed(&mut self, suffix: &str, labels: &[Label<'_>], value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (place, (name, value)) in labels.iter().enumerate() {
            self.text.push(if place == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(self.text, value);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        line(self.text, format_args!(" {value}"));
    }
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "{what}");
}

/// "`label_value` can be any sequence of UTF-8 characters, but the backslash, double-quote and line feed characters
/// have to be escaped."
fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}
