//! `purge`: says to one running instance what is to be forgotten, and tells who has applied it.
//!
//! It ends with 0 only if those who were to be waited for have: whoever runs it in a script needs to look at nothing else.

use serde::Deserialize;
use serde_json::json;

use super::arguments::Purge;
use super::failure::Failure;
use super::instance::{self, Question};
use super::outlet::say;
use super::token::token;

/// What the instance says when all went well.
#[derive(Deserialize)]
struct Report {
    position: Option<String>,
    applied: Vec<String>,
}

pub(super) fn purge(purge: &Purge) -> Result<(), Failure> {
    let question = Question {
        path: "/invalidate".to_owned(),
        token: token(purge.token.as_ref())?,
        headers: Vec::new(),
        body: order(purge).into(),
        thinks_for: purge.timeout,
    };
    let body = instance::ask(&purge.admin, &question)?;
    match serde_json::from_slice(&body) {
        Ok(report) => say(&instance::harmless(&told(purge, &report))),
        // Another version's: what it says is better than nothing.
        Err(_) => say(&instance::readable(&body)),
    }
}

/// As `POST /invalidate` takes it.
fn order(purge: &Purge) -> String {
    let named = &purge.named;
    json!({
        "tags": named.tags,
        "paths": named.paths,
        "prefixes": named.prefixes,
        "routes": named.routes,
        "identities": named.identities,
        "all": named.all,
        "soft": purge.soft,
        "wait": purge.wait,
        "timeout": humantime::format_duration(purge.timeout).to_string(),
    })
    .to_string()
}

fn told(purge: &Purge, report: &Report) -> String {
    let done = if purge.soft { "Marked stale" } else { "Forgotten" };
    let by = match &report.applied[..] {
        [] => String::new(),
        [one] => format!(" by {one}"),
        many => format!(" by {} instances: {}", many.len(), many.join(", ")),
    };
    let others = match &*purge.wait {
        "self" => "\nOther instances, if there are any, follow.",
        "log" => "\nIt is in the log; other instances follow.",
        _ => "",
    };
    let position = report.position.as_ref().map(|at| format!("\nPosition in the log: {at}"));
    format!("{done}{by}.{others}{}", position.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::super::arguments::Named;
    use super::*;

    fn purge_with(named: Named) -> Purge {
        Purge {
            admin: "http://127.0.0.1:1".parse().unwrap(),
            token: None,
            named,
            soft: false,
            wait: "all".into(),
            timeout: Duration::from_millis(61_500) / 2,
        }
    }

    #[test]
    fn an_order_says_what_was_typed() {
        let named = Named { tags: vec!["a".into()], paths: vec!["/b?c".into()], ..Named::default() };
        let purge = Purge { soft: true, wait: "log".into(), ..purge_with(named) };
        let order: Value = serde_json::from_str(&order(&purge)).unwrap();
        assert_eq!(
            order,
            json!({
                "tags": ["a"], "paths": ["/b?c"], "prefixes": [], "routes": [], "identities": [], "all": false,
                "soft": true, "wait": "log", "timeout": "30s 750ms",
            })
        );
    }

    #[test]
    fn an_order_is_read_as_it_was_meant() {
        use crate::hooks::{Order, Terms};
        use crate::invalidation::{Settings, Wait};
        use crate::object::Tag;
        let named = Named { identities: vec!["7".into()], all: true, ..Named::default() };
        let purge = purge_with(named);
        let terms = Terms {
            limits: Settings::default(),
            routes: &[],
            resolve: &Tag::named,
            credential: &|_| Vec::new(),
        };
        let read = Order::read(order(&purge).as_bytes(), &terms).unwrap();
        assert_eq!((read.wait, read.timeout), (Wait::All, purge.timeout));
        assert!(read.event.all && read.event.tags == ["identity:7"]);
    }

    #[test]
    fn who_has_applied_it_is_told() {
        let report = |applied: &[&str], position: Option<&str>| Report {
            position: position.map(str::to_owned),
            applied: applied.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut purge = purge_with(Named::default());
        let all = report(&["a", "b"], Some("17"));
        assert_eq!(told(&purge, &all), "Forgotten by 2 instances: a, b.\nPosition in the log: 17");
        purge.soft = true;
        assert_eq!(told(&purge, &report(&["a"], None)), "Marked stale by a.");
        purge.wait = "self".into();
        let expected = "Marked stale by a.\nOther instances, if there are any, follow.";
        assert_eq!(told(&purge, &report(&["a"], None)), expected);
        purge.wait = "log".into();
        let expected = "Marked stale.\nIt is in the log; other instances follow.\nPosition in the log: 18";
        assert_eq!(told(&purge, &report(&[], Some("18"))), expected);
    }
}
