//! The documents say what is so: every configuration shown in them can be loaded, and every reason Larder can give for not
//! keeping an answer is explained.

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
    vec![("LARDER_ADMIN_TOKEN".to_owned(), secret.clone()), ("LARDER_KEY_SECRET".to_owned(), secret)]
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
