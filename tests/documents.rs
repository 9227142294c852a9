//! The documents say what is so: every configuration shown in them can be loaded, every reason Larder can give for not
//! keeping an answer is explained, and the score in the public suite is the one that `tests/http-cache-tests` holds it to.

#![expect(clippy::unwrap_used, reason = "where a failure is the message")]

use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

use larder::config::{self, Sources};
use larder::semantics::NotStored;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and all pages of `docs`.
fn documents() -> Vec<PathBuf> {
    let pages = read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    all.sort();
    all.insert(0, root().join("README.md"));
    all
}

/// Line number and text of each block that is fenced as TOML.
fn toml_blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim()) {
            (None, "```toml") => open = Some((number + 2, String::new())),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some((_, block)), _) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    assert!(open.is_none(), "a block without an end");
    blocks
}

/// What `env:NAME` in the documents stands for.
fn environment() -> Vec<(String, String)> {
    let secret = "a-secret-of-more-than-32-characters-or-so".to_owned();
    let key = "c3F1aXJyZWxzcXVpcnJlbHNxdWlycmVsc3F1aXJyZWw=".to_owned();
    let old_key = "Y2hpcG11bmtzY2hpcG11bmtzY2hpcG11bmtzY2hpcG0=".to_owned();
    let texts = [
        ("LARDER_ADMIN_TOKEN", &secret),
        ("LARDER_KEY_SECRET", &secret),
        ("REDIS_PASSWORD", &secret),
        ("DEPLOY_TOKEN", &secret),
        ("GITHUB_HOOK_SECRET", &secret),
        ("LARDER_KEY", &key),
        ("LARDER_KEY_OLD", &old_key),
        ("USER_HOOK_SECRET", &key),
        ("USER_HOOK_SECRET_OLD", &old_key),
    ];
    texts.map(|(name, text)| (name.to_owned(), text.clone())).into()
}

#[test]
fn every_configuration_in_the_documents_can_be_loaded() {
    let mut count = 0;
    for path in documents() {
        for (line, block) in toml_blocks(&read_to_string(&path).unwrap()) {
            // A part of a configuration may leave out the upstream; a whole one names it.
            let upstream = ("upstream.url".to_owned(), "http://127.0.0.1:8000".to_owned());
            let flags = if block.contains("[upstream]") { vec![] } else { vec![upstream] };
            let sources = Sources { file: None, environment: environment(), flags };
            if let Err(mistakes) = config::load_text(&path, &block, &sources) {
                panic!("the block at {}:{line}:\n{mistakes}", path.display());
            }
            count += 1;
        }
    }
    assert!(count >= 5, "only {count} blocks were found");
}

#[test]
fn every_reason_for_not_storing_is_explained() {
    let page = read_to_string(root().join("docs/http.md")).unwrap();
    assert!(!NotStored::ALL.is_empty());
    for why in NotStored::ALL {
        assert!(page.contains(&format!("| {} |", why.reason())), "docs/http.md lacks \"{}\"", why.reason());
    }
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    for path in documents() {
        let text = read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let file = link.split('#').next().unwrap_or(link);
            assert!(path.parent().unwrap().join(file).exists(), "{}: {link}", path.display());
        }
    }
}

/// The lines of a section of `tests/http-cache-tests/expected.txt`; the lines before all sections if it has no name.
fn expected(text: &str, section: &str) -> Vec<String> {
    let mut name = "";
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name = heading;
        } else if name == section && !line.is_empty() && !line.starts_with('#') {
            found.push(line.to_owned());
        }
    }
    found
}

#[test]
fn the_score_in_the_documents_is_the_one_the_suite_is_held_to() {
    let list = read_to_string(root().join("tests/http-cache-tests/expected.txt")).unwrap();
    let passing = expected(&list, "passing");
    let count = |kind: &str| {
        let of_kind = |line: &&String| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [_, _, id] if id.starts_with("surrogate-") => kind == "surrogate",
            [_, listed, _] => listed == kind,
            _ => panic!("not a line of the list: {line}"),
        };
        passing.iter().filter(of_kind).count()
    };
    let counts = ["required", "optimal", "surrogate"].map(|kind| (kind, count(kind)));
    for (kind, count) in counts {
        assert!(
            expected(&list, "").contains(&format!("{kind} {count}")),
            "{count} {kind} tests are listed as passing"
        );
    }
    let row = format!("| **Larder** | {} | {} | {} |", counts[0].1, counts[1].1, counts[2].1);
    for path in ["README.md", "docs/conformance.md"] {
        assert!(read_to_string(root().join(path)).unwrap().contains(&row), "{path} lacks {row}");
    }
}

#[test]
fn every_test_of_the_suite_that_does_not_pass_is_explained() {
    let list = read_to_string(root().join("tests/http-cache-tests/expected.txt")).unwrap();
    let page = read_to_string(root().join("docs/conformance.md")).unwrap();
    let failing = expected(&list, "not passing");
    assert!(!failing.is_empty(), "a suite older than the RFC has tests that cannot pass");
    for line in failing {
        let [verdict, kind, id, reason] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("no reason is given: {line}");
        };
        let named =
            page.split("\n\n").skip_while(|part| !part.starts_with(&format!("**{reason}**: "))).nth(1);
        let entry = format!("`{id}` ({kind}, {verdict})");
        assert!(
            named.is_some_and(|ids| ids.contains(&entry)),
            "docs/conformance.md: {entry} is not under {reason}"
        );
    }
}
