//! The house rules a machine can check, over every source file of the package.
//!
//! A rule is a function from a `Tree` to findings of the form `path:line: what is wrong`. The tree is read from disk
//! once; the unit tests give each rule a small tree with a violation in it. The order of the `pub mod` lines in
//! `src/lib.rs` is the order of the arrows: a module may import only modules above it.
//!
//! Comments, string literals and `#[cfg(test)]` items are blanked out before the rules look, with the line breaks
//! kept. This is a reader of tokens, not of Rust: what a macro makes up is not seen.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Lines a source file may have, its tests not counted.
const LINES_MAX: usize = 400;

/// Names that fit everything and so say nothing.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "stuff"];

/// Modules that compute and nothing else.
const PURE: &[&str] = &["semantics", "object"];

/// What may not be named in a pure module.
const IMPURE: &[&str] = &["async", "await", "tokio", "tracing", "Clock"];

/// Words of work left undone. Written in halves, so that this file does not bear them.
const UNDONE: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];

/// Source files by path from the package's root, with `/` between folders.
#[derive(Default)]
struct Tree {
    files: BTreeMap<String, Source>,
}

/// One file, and what is left of it for the rules to read.
struct Source {
    /// As it stands.
    text: String,
    /// Without comments, strings and test items.
    tokens: Vec<Token>,
    /// Without comments and strings, test items included.
    tokens_with_tests: Vec<Token>,
    /// Without strings only.
    prose: String,
    /// Lines outside test items.
    lines: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

/// A path as written, every segment of it, and where.
struct Import {
    segments: Vec<String>,
    line: usize,
}

fn all_findings(tree: &Tree) -> Vec<String> {
    let rules: [fn(&Tree) -> Vec<String>; 9] =
        [arrows, circles, purity, length, names, heads, reachable, undone, silenced];
    rules.iter().flat_map(|rule| rule(tree)).collect()
}

/// A module imports only modules above it in `lib.rs`.
fn arrows(tree: &Tree) -> Vec<String> {
    let order = tree.order();
    let mut findings = Vec::new();
    for (path, source) in tree.library() {
        let module = module_path(path);
        let Some(own) = module.first() else { continue };
        let Some(own_rank) = order.iter().position(|name| name == own) else {
            continue;
        };
        for import in source.imports() {
            let Some(target) = absolute(&module, &import.segments) else {
                continue;
            };
            let Some(first) = target.first() else { continue };
            match order.iter().position(|name| name == first) {
                Some(rank) if rank > own_rank => {
                    findings.push(format!(
                        "{path}:{}: `{own}` imports `{first}`, which stands below it in lib.rs",
                        import.line
                    ));
                }
                Some(_) => {}
                None => findings.push(format!(
                    "{path}:{}: `crate::{first}` is no module of lib.rs: import from its home",
                    import.line
                )),
            }
        }
    }
    findings
}

/// The files of one folder import each other without a circle.
fn circles(tree: &Tree) -> Vec<String> {
    let folders: BTreeSet<Vec<String>> = tree
        .library()
        .filter(|(path, _)| path.ends_with("/mod.rs"))
        .map(|(path, _)| module_path(path))
        .collect();
    folders.iter().filter_map(|folder| circle_in(tree, folder)).collect()
}

fn circle_in(tree: &Tree, folder: &[String]) -> Option<String> {
    let children: BTreeSet<&str> = tree
        .library()
        .map(|(path, _)| module_path(path))
        .filter(|module| module.len() > folder.len() && module.starts_with(folder))
        .map(|module| module[folder.len()].clone())
        .filter_map(|child| tree.child_name(folder, &child))
        .collect();
    let told = tree.re_exports(folder, &children);
    let mut edges: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for (path, source) in tree.library() {
        let module = module_path(path);
        if module.len() <= folder.len() || !module.starts_with(folder) {
            continue;
        }
        let Some(&from) = children.get(module[folder.len()].as_str()) else {
            continue;
        };
        for import in source.imports() {
            let Some(target) = absolute(&module, &import.segments) else {
                continue;
            };
            if target.len() <= folder.len() || !target.starts_with(folder) {
                continue;
            }
            let name = target[folder.len()].as_str();
            let to = children
                .get(name)
                .copied()
                .or_else(|| told.get(name).and_then(|home| children.get(home.as_str()).copied()));
            if let Some(to) = to.filter(|to| *to != from) {
                edges.entry(from).or_default().entry(to).or_insert_with(|| format!("{path}:{}", import.line));
            }
        }
    }
    let circle = find_circle(&edges)?;
    let place = &edges[circle[0]][circle[1]];
    Some(format!("{place}: a circle among the files of `{}`: {}", folder.join("::"), circle.join(" → ")))
}

/// The nodes of a circle, the first one again at the end.
fn find_circle<'a>(edges: &BTreeMap<&'a str, BTreeMap<&'a str, String>>) -> Option<Vec<&'a str>> {
    fn visit<'a>(
        node: &'a str,
        edges: &BTreeMap<&'a str, BTreeMap<&'a str, String>>,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<&'a str>> {
        if let Some(at) = way.iter().position(|seen| *seen == node) {
            let mut circle = way[at..].to_vec();
            circle.push(node);
            return Some(circle);
        }
        if done.contains(node) {
            return None;
        }
        way.push(node);
        for next in edges.get(node).into_iter().flat_map(BTreeMap::keys) {
            if let Some(circle) = visit(next, edges, way, done) {
                return Some(circle);
            }
        }
        way.pop();
        done.insert(node);
        None
    }
    let mut done = BTreeSet::new();
    edges.keys().find_map(|node| visit(node, edges, &mut Vec::new(), &mut done))
}

/// `semantics` and `object` know no clock, no I/O, no `async`.
fn purity(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in tree.library() {
        let module = module_path(path);
        let Some(own) = module.first().filter(|own| PURE.contains(&own.as_str())) else {
            continue;
        };
        for token in source.tokens.iter().filter(|token| IMPURE.contains(&token.text.as_str())) {
            findings.push(format!(
                "{path}:{}: `{own}` computes only, it may not name `{}`",
                token.line, token.text
            ));
        }
    }
    findings
}

/// Files of the library stay within a length that is read in one go.
fn length(tree: &Tree) -> Vec<String> {
    let long = tree.under("src/").filter(|(_, source)| source.lines > LINES_MAX);
    long.map(|(path, source)| {
        format!("{path}:{LINES_MAX}: {} lines without tests, {LINES_MAX} are enough", source.lines)
    })
    .collect()
}

/// Names of files and modules say something.
fn names(tree: &Tree) -> Vec<String> {
    let empty =
        |name: &str| name.split('_').any(|part| EMPTY_NAMES.contains(&part)) || name.ends_with("_main");
    let mut findings = Vec::new();
    for (path, source) in &tree.files {
        for part in path.trim_end_matches(".rs").split('/').filter(|part| empty(part)) {
            findings.push(format!("{path}:1: `{part}` fits everything and says nothing"));
        }
        for pair in source.tokens_with_tests.windows(3) {
            if pair[0].text == "mod" && pair[2].text == "{" && empty(&pair[1].text) {
                findings.push(format!(
                    "{path}:{}: `{}` fits everything and says nothing",
                    pair[1].line, pair[1].text
                ));
            }
        }
    }
    findings
}

/// Every file begins by saying what it is.
fn heads(tree: &Tree) -> Vec<String> {
    let headless = tree.files.iter().filter(|(_, source)| !source.text.trim_start().starts_with("//!"));
    headless
        .map(|(path, _)| {
            format!("{path}:1: a file begins with `//!`: what it is, what it keeps true, what it leaves out")
        })
        .collect()
}

/// Every file is compiled.
fn reachable(tree: &Tree) -> Vec<String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<String> = tree.files.keys().filter(|path| is_root(path)).cloned().collect();
    while let Some(path) = next.pop() {
        let Some(source) = tree.files.get(&path) else {
            continue;
        };
        if !reached.insert(path.clone()) {
            continue;
        }
        let folder = folder_of(&path);
        for name in source.declared() {
            next.push(format!("{folder}/{name}.rs"));
            next.push(format!("{folder}/{name}/mod.rs"));
        }
    }
    let compiled = |path: &str| path.starts_with("src/") || path.starts_with("tests/");
    let lost = tree.files.keys().filter(|path| compiled(path) && !reached.contains(*path));
    lost.map(|path| format!("{path}:1: no `mod` line leads here, so it is not compiled")).collect()
}

/// What is shipped is finished.
fn undone(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in &tree.files {
        for (index, line) in source.prose.lines().enumerate() {
            let word =
                line.split(|c: char| !c.is_alphanumeric() && c != '_').find(|word| UNDONE.contains(word));
            if let Some(word) = word {
                findings
                    .push(format!("{path}:{}: `{word}`: do it, or say what is left out and why", index + 1));
            }
        }
    }
    findings
}

/// A lint is expected with a reason, so that it is noticed when it no longer fires; never switched off.
fn silenced(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in &tree.files {
        let tokens = &source.tokens_with_tests;
        for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.text == "allow") {
            let before = |back: usize| index.checked_sub(back).map(|at| tokens[at].text.as_str());
            if before(1) == Some("[") && (before(2) == Some("#") || before(3) == Some("#")) {
                findings.push(format!("{path}:{}: write `#[expect(…, reason = \"…\")]`", token.line));
            }
        }
    }
    findings
}

impl Tree {
    fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        for folder in ["src", "tests", "benches"] {
            tree.read_folder(root, folder);
        }
        tree
    }

    fn read_folder(&mut self, root: &Path, folder: &str) {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{folder}/{name}");
            if entry.path().is_dir() {
                self.read_folder(root, &path);
            } else if Path::new(&name).extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(entry.path()).expect("a source file is readable UTF-8");
                self.files.insert(path, Source::new(&text));
            }
        }
    }

    fn under<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a Source)> {
        self.files
            .iter()
            .map(|(path, source)| (path.as_str(), source))
            .filter(move |(path, _)| path.starts_with(folder))
    }

    /// Files of the library; binaries may import anything, and test files are known by the way they are declared.
    fn library(&self) -> impl Iterator<Item = (&str, &Source)> {
        let tests = self.test_files();
        self.under("src/").filter(move |(path, _)| {
            *path != "src/main.rs" && !path.starts_with("src/bin/") && !tests.contains(*path)
        })
    }

    /// Files declared under `#[cfg(test)]`.
    fn test_files(&self) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        for (path, source) in self.under("src/") {
            let always: BTreeSet<&str> = declared(&source.tokens).collect();
            for name in source.declared().filter(|name| !always.contains(name)) {
                files.insert(format!("{}/{name}.rs", folder_of(path)));
                files.insert(format!("{}/{name}/mod.rs", folder_of(path)));
            }
        }
        files
    }

    /// The modules of `lib.rs`, from the top.
    fn order(&self) -> Vec<String> {
        let lib = self.files.get("src/lib.rs");
        lib.map(|lib| declared(&lib.tokens).map(str::to_owned).collect()).unwrap_or_default()
    }

    fn child_name<'a>(&'a self, folder: &[String], child: &str) -> Option<&'a str> {
        let module = self.files.get(&format!("src/{}/mod.rs", folder.join("/")))?;
        declared(&module.tokens).find(|name| *name == child)
    }

    /// What a folder's `mod.rs` hands on: name → the file it comes from.
    fn re_exports(&self, folder: &[String], children: &BTreeSet<&str>) -> BTreeMap<String, String> {
        let mut told = BTreeMap::new();
        let Some(source) = self.files.get(&format!("src/{}/mod.rs", folder.join("/"))) else {
            return told;
        };
        for import in source.imports() {
            let segments = match import.segments.first().map(String::as_str) {
                Some("self") => &import.segments[1..],
                _ => &import.segments[..],
            };
            if let [home, .., name] = segments
                && children.contains(home.as_str())
            {
                told.insert(name.clone(), home.clone());
            }
        }
        told
    }
}

impl Source {
    fn new(text: &str) -> Self {
        let code = blank(text, true);
        let tokens_with_tests = tokenise(&code);
        let tests = test_spans(&tokens_with_tests);
        let in_tests = |index: usize| tests.iter().any(|(from, to)| (*from..=*to).contains(&index));
        let test_lines: BTreeSet<usize> = tests
            .iter()
            .flat_map(|(from, to)| tokens_with_tests[*from].line..=tokens_with_tests[*to].line)
            .collect();
        let tokens = tokens_with_tests.iter().enumerate().filter(|(index, _)| !in_tests(*index));
        Self {
            tokens: tokens.map(|(_, token)| token.clone()).collect(),
            lines: text.lines().count() - test_lines.len(),
            prose: blank(text, false),
            text: text.to_owned(),
            tokens_with_tests,
        }
    }

    fn imports(&self) -> Vec<Import> {
        imports(&self.tokens)
    }

    /// Names of the modules that are files of their own, test modules included.
    fn declared(&self) -> impl Iterator<Item = &str> {
        declared(&self.tokens_with_tests)
    }
}

fn declared(tokens: &[Token]) -> impl Iterator<Item = &str> {
    let lines = tokens.windows(3).filter(|three| three[0].text == "mod" && three[2].text == ";");
    lines.map(|three| three[1].text.as_str())
}

/// Compiled without a `mod` line: crate roots, cargo's test and bench targets.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(
        parts[..],
        ["src", "lib.rs" | "main.rs"]
            | ["src", "bin", ..]
            | ["tests" | "benches", _]
            | ["tests" | "benches", _, "main.rs"]
    )
}

/// Where the modules declared in this file lie.
fn folder_of(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let own_folder =
        matches!(name, "mod.rs" | "lib.rs" | "main.rs") || (is_root(path) && !path.starts_with("src/"));
    if own_folder { folder.to_owned() } else { path.trim_end_matches(".rs").to_owned() }
}

/// `src/proxy/answer.rs` → `proxy::answer`; `src/lib.rs` → nothing.
fn module_path(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let parts = inner.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main"));
    parts.map(str::to_owned).collect()
}

/// An imported path from the crate's root, if it is one of this crate.
fn absolute(module: &[String], segments: &[String]) -> Option<Vec<String>> {
    let mut base = match segments.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => module.to_vec(),
        _ => return None,
    };
    for segment in segments {
        match segment.as_str() {
            "crate" | "self" => {}
            "super" => {
                base.pop();
            }
            name => base.push(name.to_owned()),
        }
    }
    Some(base)
}

/// Every path of a `use`, braces expanded, and every inline path that begins at `crate`, `self` or `super`.
fn imports(tokens: &[Token]) -> Vec<Import> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let follows =
            |offset: usize, text: &str| tokens.get(at + offset).is_some_and(|token| token.text == text);
        match tokens[at].text.as_str() {
            "use" => {
                at += 1;
                use_tree(tokens, &mut at, &[], &mut found);
            }
            "crate" | "self" | "super" if follows(1, "::") => {
                let mut segments = vec![tokens[at].text.clone()];
                let line = tokens[at].line;
                while tokens.get(at + 1).is_some_and(|token| token.text == "::")
                    && tokens.get(at + 2).is_some_and(Token::is_word)
                {
                    segments.push(tokens[at + 2].text.clone());
                    at += 2;
                }
                found.push(Import { segments, line });
                at += 1;
            }
            _ => at += 1,
        }
    }
    found
}

/// Reads one branch of a `use`, up to its `,`, `}` or `;`.
fn use_tree(tokens: &[Token], at: &mut usize, prefix: &[String], found: &mut Vec<Import>) {
    let mut segments = prefix.to_vec();
    while let Some(token) = tokens.get(*at) {
        match token.text.as_str() {
            ";" | "," | "}" => break,
            "{" => {
                loop {
                    *at += 1;
                    use_tree(tokens, at, &segments, found);
                    if tokens.get(*at).is_none_or(|token| token.text != ",") {
                        break;
                    }
                }
                *at += 1;
                return;
            }
            "as" => *at += 1,
            "::" => {}
            _ => segments.push(token.text.clone()),
        }
        *at += 1;
    }
    if segments.len() > prefix.len() {
        let line = tokens[at.saturating_sub(1)].line;
        found.push(Import { segments, line });
    }
}

/// Token ranges of items that exist in tests only.
fn test_spans(tokens: &[Token]) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !is_test_attribute(&tokens[at..]) {
            at += 1;
            continue;
        }
        let end = item_end(tokens, at);
        spans.push((at, end));
        at = end + 1;
    }
    spans
}

/// `#[cfg(test)]`, `#[cfg(all(test, …))]`, `#[test]`; not `#[cfg(not(test))]`.
fn is_test_attribute(tokens: &[Token]) -> bool {
    let texts: Vec<&str> = tokens.iter().take(8).map(|token| token.text.as_str()).collect();
    texts.starts_with(&["#", "[", "cfg", "(", "test", ")", "]"])
        || texts.starts_with(&["#", "[", "cfg", "(", "all", "(", "test"])
        || texts.starts_with(&["#", "[", "test", "]"])
}

/// Where the item behind the attributes at `from` ends: its closing brace, or its `;`.
fn item_end(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index;
                }
            }
            ";" if depth == 0 => return index,
            _ => {}
        }
    }
    tokens.len() - 1
}

fn tokenise(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let end = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                word => word,
            };
            tokens.push(Token { text: rest[..end].to_owned(), line: index + 1 });
            rest = rest[end..].trim_start();
        }
    }
    tokens
}

impl Token {
    fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// The text with string and character literals turned into blanks, and with comments too if asked; line breaks stay.
fn blank(text: &str, comments: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (end, hide) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), comments)
        } else if rest.starts_with("/*") {
            (block_comment(rest), comments)
        } else if let Some(end) = literal(rest, out.chars().next_back()) {
            (end, true)
        } else {
            (first.len_utf8(), false)
        };
        let keep = |c: char| if hide && c != '\n' { ' ' } else { c };
        out.extend(rest[..end].chars().map(keep));
        rest = &rest[end..];
    }
    out
}

/// The length of the block comment at the start, nested ones included.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the literal at the start, if there is one: `"…"`, `r#"…"#` and kin, `'c'`; a lifetime is none.
fn literal(text: &str, before: Option<char>) -> Option<usize> {
    if let Some(inside) = text.strip_prefix('\'') {
        let mut inside = inside.chars();
        let first = inside.next()?;
        if first == '\\' {
            return text[3..].find('\'').map(|end| end + 4);
        }
        return (inside.next() == Some('\'')).then(|| 2 + first.len_utf8());
    }
    if text.starts_with('"') {
        return Some(string_end(text, 0));
    }
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let prefix = ["br", "cr", "r"].into_iter().find(|prefix| text.starts_with(prefix))?;
    let hashes = text[prefix.len()..].chars().take_while(|c| *c == '#').count();
    let open = prefix.len() + hashes;
    if !text[open..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    Some(text[open + 1..].find(&close).map_or(text.len(), |end| open + 1 + end + close.len()))
}

/// Where the string that opens at `open` ends, its closing quote included.
fn string_end(text: &str, open: usize) -> usize {
    let mut escaped = false;
    for (index, c) in text[open + 1..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return open + 1 + index + 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn the_house_is_tidy() {
    let tree = Tree::read(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(tree.order().len() > 3, "src/lib.rs lists the modules");
    let findings = all_findings(&tree);
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

mod rules {
    use super::{
        Source, Tree, arrows, blank, circles, heads, length, names, purity, reachable, silenced, undone,
    };

    const LIB: &str = "//! Map.\npub mod clock;\n\npub mod semantics;\npub mod store;\npub mod proxy;\n";

    /// A tree of `lib.rs` and what is given as `(path, text)`.
    fn tree(files: &[(&str, &str)]) -> Tree {
        let files = [("src/lib.rs", LIB)].iter().chain(files);
        Tree { files: files.map(|(path, text)| ((*path).to_owned(), Source::new(text))).collect() }
    }

    fn expect(findings: &[String], places: &[&str]) {
        let found: Vec<&str> =
            findings.iter().map(|finding| finding.split_once(": ").map_or("", |(place, _)| place)).collect();
        assert_eq!(found, places, "{findings:#?}");
    }

    #[test]
    fn an_upward_import_is_found_however_it_is_written() {
        let written = [
            "use crate::proxy::Route;",
            "use crate::{clock::Timestamp, proxy::{Route, answer::Answer}};",
            "use crate::{\n    clock,\n    proxy as way,\n};",
            "fn f() { crate::proxy::go(); }",
            "use super::super::proxy::Route;",
            "pub(crate) use crate::proxy::*;",
        ];
        for import in written {
            let found = arrows(&tree(&[("src/store/memory.rs", import)]));
            assert!(!found.is_empty(), "not found: {import}");
            assert!(found.iter().all(|finding| finding.contains("`store` imports `proxy`")), "{found:?}");
        }
        let found =
            arrows(&tree(&[("src/store/memory.rs", "\n\nuse crate::{\n    clock,\n    proxy,\n};\n")]));
        expect(&found, &["src/store/memory.rs:5"]);
    }

    #[test]
    fn downward_imports_tests_comments_and_strings_are_no_upward_imports() {
        let fine = [
            "use crate::{clock::Timestamp, semantics::Verdict};",
            "use super::memory::Memory;",
            "// use crate::proxy::Route;",
            "/* outer /* crate::proxy::x */ crate::proxy::y */",
            "const S: &str = \"crate::proxy::Route \\\" crate::proxy::x\";",
            "const R: &str = r#\"use \"crate::proxy::Route\"; \"#;",
            "const C: char = '\"'; const D: char = '\\''; // crate::proxy::x\n",
            "#[cfg(test)]\nmod tests { use crate::proxy::Route; }",
            "#[cfg(test)]\nuse crate::{proxy::Route};",
            "#[cfg(all(test, unix))]\nfn f(a: [u8; 3]) { crate::proxy::x(); }",
        ];
        for text in fine {
            assert_eq!(arrows(&tree(&[("src/store/memory.rs", text)])), [""; 0], "{text}");
        }
        let after = "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::proxy::Route;";
        expect(&arrows(&tree(&[("src/store/memory.rs", after)])), &["src/store/memory.rs:3"]);
        let negated = "#[cfg(not(test))]\nuse crate::proxy::Route;";
        expect(&arrows(&tree(&[("src/store/memory.rs", negated)])), &["src/store/memory.rs:2"]);
    }

    #[test]
    fn an_import_from_the_root_itself_hides_the_arrow() {
        let found = arrows(&tree(&[("src/store/mod.rs", "use crate::Route;")]));
        expect(&found, &["src/store/mod.rs:1"]);
    }

    #[test]
    fn a_test_module_in_a_file_of_its_own_may_import_anything() {
        let files = [
            ("src/store/mod.rs", "//! S.\n#[cfg(test)]\nmod trials;"),
            ("src/store/trials.rs", "//! T.\nuse crate::proxy::Route;"),
        ];
        assert_eq!(arrows(&tree(&files)), [""; 0]);
        assert_eq!(reachable(&tree(&[files[0], files[1], ("src/clock.rs", "")])), [""; 0]);
    }

    #[test]
    fn a_circle_is_found_through_siblings_and_through_what_the_folder_hands_on() {
        let folder = (
            "src/proxy/mod.rs",
            "pub mod answer;\npub mod fill;\npub mod route;\npub use route::{Route, Plan};",
        );
        let direct = tree(&[
            folder,
            ("src/proxy/answer.rs", "use super::fill::Fill;"),
            ("src/proxy/fill.rs", "\nuse crate::proxy::answer::Answer;"),
        ]);
        expect(&circles(&direct), &["src/proxy/answer.rs:1"]);
        let handed_on = tree(&[
            folder,
            ("src/proxy/fill.rs", "use crate::proxy::Route;"),
            ("src/proxy/route.rs", "fn f() { super::fill::go(); }"),
        ]);
        expect(&circles(&handed_on), &["src/proxy/fill.rs:1"]);
        let long = tree(&[
            folder,
            ("src/proxy/answer.rs", "use super::fill::Fill;"),
            ("src/proxy/fill.rs", "use super::route::Route;"),
            ("src/proxy/route.rs", "use super::answer::Answer;"),
        ]);
        assert!(circles(&long)[0].ends_with("answer → fill → route → answer"), "{:?}", circles(&long));
    }

    #[test]
    fn a_diamond_is_no_circle() {
        let diamond = tree(&[
            ("src/proxy/mod.rs", "pub mod answer;\npub mod fill;\npub mod route;\npub use route::Route;"),
            ("src/proxy/answer.rs", "use super::fill::Fill;\nuse super::Route;"),
            (
                "src/proxy/fill.rs",
                "use super::Route;\n#[cfg(test)]\nmod tests { use super::super::answer::Answer; }",
            ),
            ("src/proxy/route.rs", ""),
        ]);
        assert_eq!(circles(&diamond), [""; 0]);
    }

    #[test]
    fn the_pure_modules_know_no_async_no_io_no_clock() {
        for impure in ["async fn f() {}", "use tokio::time;", "tracing::info!(1);", "fn f(c: &Clock) {}"] {
            let text = format!("//! async, tokio, tracing, Clock\n{impure}");
            expect(&purity(&tree(&[("src/semantics/vary.rs", &text)])), &["src/semantics/vary.rs:2"]);
            assert_eq!(purity(&tree(&[("src/proxy/fill.rs", &text)])), [""; 0]);
        }
        let told = "use crate::clock::Timestamp; #[cfg(test)] mod tests { async fn f() {} }";
        assert_eq!(purity(&tree(&[("src/semantics/vary.rs", told)])), [""; 0]);
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_are_not_counted() {
        let code = "fn f() {}\n".repeat(400);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert_eq!(length(&tree(&[("src/clock.rs", &format!("{code}{tests}"))])), [""; 0]);
        let long = format!("{code}fn g() {{}}\n{tests}");
        expect(&length(&tree(&[("src/clock.rs", &long)])), &["src/clock.rs:400"]);
    }

    #[test]
    fn an_empty_name_is_found_in_files_folders_and_inline_modules() {
        let found = names(&tree(&[
            ("src/http_utils.rs", ""),
            ("src/common/x.rs", ""),
            ("src/clock.rs", "\nmod helpers { }"),
            ("src/store/commons.rs", "// mod utils {\nstruct Manager;"),
        ]));
        expect(&found, &["src/clock.rs:2", "src/common/x.rs:1", "src/http_utils.rs:1"]);
    }

    #[test]
    fn a_file_without_a_head_comment_is_found() {
        let found = heads(&tree(&[("src/clock.rs", "// Not this.\n"), ("tests/a.rs", "\n//! This.\n")]));
        expect(&found, &["src/clock.rs:1"]);
    }

    #[test]
    fn a_file_nobody_declares_is_found() {
        let found = reachable(&tree(&[
            ("src/clock.rs", ""),
            ("src/proxy/mod.rs", "mod answer;\n// mod fill;\nmod inline { }"),
            ("src/proxy/answer.rs", ""),
            ("src/proxy/fill.rs", ""),
            ("src/store.rs", "mod memory;"),
            ("src/store/memory.rs", ""),
            ("tests/behaviour/main.rs", "mod world;"),
            ("tests/behaviour/world.rs", ""),
            ("tests/behaviour/lost.rs", ""),
        ]));
        expect(&found, &["src/proxy/fill.rs:1", "tests/behaviour/lost.rs:1"]);
    }

    #[test]
    fn unfinished_work_is_found_in_comments_and_code_but_not_in_strings() {
        let word = super::UNDONE[0];
        let text =
            format!("//! Head.\n// {word}: later\nconst S: &str = \"{word}\";\n/* x{word} */ {word}();\n");
        expect(&undone(&tree(&[("src/clock.rs", &text)])), &["src/clock.rs:2", "src/clock.rs:4"]);
    }

    #[test]
    fn a_lint_that_is_switched_off_is_found() {
        let text =
            "#![allow(dead_code)]\n#[expect(dead_code)]\n#[allow(unused)]\n// #[allow(x)]\nfn allow() {}";
        expect(&silenced(&tree(&[("src/clock.rs", text)])), &["src/clock.rs:1", "src/clock.rs:3"]);
    }

    #[test]
    fn blanking_keeps_lines_lifetimes_and_code() {
        let text = "fn f<'a>(x: &'a str) { let c = '\\u{1F600}'; g(b\"a\nb\", r##\"\"#\"##, 'é'); } // end";
        let code = blank(text, true);
        assert_eq!(code.lines().count(), 2);
        assert!(code.starts_with("fn f<'a>(x: &'a str) { let c ="), "{code}");
        assert!(
            code.contains("); }") && !code.contains("end") && !code.contains('é') && !code.contains('#'),
            "{code}"
        );
    }
}
