//! The configuration, as its users meet it: the two files that are shipped, mistakes with their places, what wins
//! over what, and that secrets stay secret.

#![expect(clippy::unwrap_used, clippy::panic, reason = "where a failure is the message")]

mod changes;

use larder::config::{self, Loaded, Mistakes, Place, Settings, Sources};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

const DEFAULT: &str = include_str!("../../config/default.toml");
const EXAMPLE: &str = include_str!("../../config/example.toml");
const MISTAKES: &str = include_str!("mistakes.toml");
/// The configuration that Larder's description promises, with keys that this version does not have.
const PUBLISHED: &str = include_str!("published.toml");

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn sources(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    Sources { file: None, environment: pairs(environment), flags: pairs(flags) }
}

fn load(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, Mistakes> {
    config::load_text(Path::new("larder.toml"), text, &sources(environment, flags))
}

fn lines(result: Result<Loaded, Mistakes>) -> Vec<String> {
    result.unwrap_err().0.iter().map(ToString::to_string).collect()
}

/// 32 bytes.
const ENCRYPTION_KEY: &str = "c3F1aXJyZWxzcXVpcnJlbHNxdWlycmVsc3F1aXJyZWw=";

/// As Standard Webhooks has them.
const HOOK_SECRET: &str = "whsec_c3F1aXJyZWxzcXVpcnJlbHNxdWlycmVscw==";

const UPSTREAM: &str = "[upstream]\nurl = 'http://127.0.0.1:8000'\n";
const URL: (&str, &str) = ("upstream.url", "http://127.0.0.1:8000");

fn settings(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Settings {
    load(text, environment, flags).unwrap().settings
}

// The files that are shipped.

#[test]
fn the_default_file_is_the_defaults() {
    let written = load(DEFAULT, &[], &[URL]).unwrap();
    let nothing = load("", &[], &[URL]).unwrap();
    assert_eq!(written.blanked(), nothing.blanked());
    let mut settings = written.settings;
    // Only whether the list of credentials was written tells the two apart.
    assert!(settings.identity.declared && !nothing.settings.identity.declared);
    settings.identity.declared = false;
    assert_eq!(settings, nothing.settings);
}

#[test]
fn the_defaults_are_those_of_the_description() {
    let settings = settings("", &[], &[URL]);
    let (server, upstream) = (&settings.server, &settings.upstream);
    assert_eq!(server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(server.admin.unwrap().to_string(), "127.0.0.1:8081");
    assert_eq!((server.workers, server.max_connections), (0, 20_000));
    let seconds = [server.limits.header_timeout, server.limits.body_timeout, server.drain_timeout]
        .map(|time| time.as_secs());
    assert_eq!(seconds, [10, 30, 30]);
    assert_eq!((upstream.max_idle, upstream.max_in_flight, upstream.queue_max), (20, 64, 1024));
    assert_eq!((upstream.retries, upstream.queue_timeout), (1, Duration::from_secs(5)));
    let seconds =
        [upstream.connect_timeout, upstream.response_timeout, upstream.idle_timeout, upstream.body_timeout];
    assert_eq!(seconds.map(|time| time.as_secs()), [3, 30, 30, 30]);
    let memory = &settings.memory;
    assert_eq!((memory.max_size_bytes, memory.max_object_bytes), (256_000_000, 8_000_000));
    assert_eq!((memory.max_filling_bytes, memory.max_sendfile_bytes), (64_000_000, 64_000_000));
    let policy = &settings.unrouted.policy;
    assert_eq!((policy.ttl, policy.negative_ttl), (Duration::ZERO, Duration::ZERO));
    assert!((policy.jitter - 0.05).abs() < 1e-9);
    let credentials = settings.identity.credentials.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(credentials, ["header:authorization", "cookie:session", "query:token"]);
}

/// What a key has beside its name.
#[derive(Debug, PartialEq)]
struct Described {
    sentence: String,
    default: Option<Value>,
}

/// Every key of the schema: `route.key.query` and its like.
fn in_schema(node: &Value, path: &str, found: &mut BTreeMap<String, Described>) {
    let node = if node["type"] == "array" && node["items"]["properties"].is_object() {
        &node["items"]
    } else {
        node
    };
    let Some(properties) = node["properties"].as_object() else {
        let described = Described {
            sentence: node["description"].as_str().unwrap().to_owned(),
            default: node.get("default").cloned(),
        };
        found.insert(path.to_owned(), described);
        return;
    };
    for (name, member) in properties {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        in_schema(member, &path, found);
    }
}

/// Every key of the default file, those that are commented out (`#key = …`) too. Text of a key without a default
/// is an example.
fn in_default_file() -> BTreeMap<String, (String, Value)> {
    let mut found = BTreeMap::new();
    let (mut table, mut sentence) = (String::new(), String::new());
    for line in DEFAULT.lines() {
        let code = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
        if let Some(comment) = line.strip_prefix("# ") {
            comment.clone_into(&mut sentence);
        } else if code.starts_with('[') {
            code.trim_matches(['[', ']']).clone_into(&mut table);
        } else if let Some((key, value)) = code.split_once(" = ") {
            let value = settings_value(value);
            found.insert(format!("{table}.{key}"), (std::mem::take(&mut sentence), value));
        }
    }
    found
}

fn settings_value(toml: &str) -> Value {
    let value: toml_edit::Value = toml.parse().unwrap();
    match &value {
        toml_edit::Value::String(text) => text.value().as_str().into(),
        toml_edit::Value::Integer(number) => (*number.value()).into(),
        toml_edit::Value::Boolean(flag) => (*flag.value()).into(),
        toml_edit::Value::Array(items) => {
            items.iter().map(|item| settings_value(item.to_string().trim())).collect::<Vec<_>>().into()
        }
        toml_edit::Value::InlineTable(members) => members
            .iter()
            .map(|(name, member)| (name.to_owned(), settings_value(member.to_string().trim())))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => panic!("no key takes {other}"),
    }
}

#[test]
fn the_default_file_and_the_schema_say_the_same_of_the_same_keys() {
    let mut schema = BTreeMap::new();
    in_schema(&config::schema(), "", &mut schema);
    let file = in_default_file();
    assert_eq!(schema.keys().collect::<Vec<_>>(), file.keys().collect::<Vec<_>>());
    for (key, described) in &schema {
        let (sentence, value) = &file[key];
        assert_eq!(&described.sentence, sentence, "{key}");
        assert!(sentence.ends_with('.') && !sentence.contains('\n'), "{key}: one sentence");
        if let Some(default) = &described.default {
            assert_eq!(default, value, "{key}");
        }
    }
}

#[test]
fn the_default_file_with_everything_switched_on_is_understood() {
    let switched_on: String = DEFAULT.lines().fold(String::new(), |mut text, line| {
        let of_files = ["ca =", "client_"];
        let code = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
        let code = code.filter(|rest| !of_files.iter().any(|beginning| rest.starts_with(beginning)));
        let _ = writeln!(text, "{}", code.unwrap_or(line));
        text
    });
    let secrets = [
        ("LARDER_ADMIN_TOKEN", "squirrel"),
        ("LARDER_KEY_SECRET", "acorns acorns acorns"),
        ("REDIS_PASSWORD", "hazelnut"),
        ("LARDER_KEY", ENCRYPTION_KEY),
        ("USER_HOOK_SECRET", HOOK_SECRET),
    ];
    let loaded = load(&switched_on, &secrets, &[]).unwrap();
    assert_eq!((loaded.settings.routes.len(), loaded.settings.hooks.len()), (1, 1));
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn the_example_loads_with_the_one_warning_it_is_about() {
    let loaded = load(EXAMPLE, &[], &[]).unwrap();
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].contains("server-status"), "{:?}", loaded.warnings);
    let minutes = |name: &str| {
        let route = loaded.settings.routes.iter().find(|route| &*route.name == name).unwrap();
        route.policy.ttl.as_secs() / 60
    };
    assert_eq!((minutes("user"), minutes("project"), minutes("server-status")), (5, 10, 2));
}

const PUBLISHED_SECRETS: [(&str, &str); 3] =
    [("LARDER_ADMIN_TOKEN", "squirrel"), ("LARDER_KEY", ENCRYPTION_KEY), ("USER_HOOK_SECRET", HOOK_SECRET)];

#[test]
fn of_the_published_configuration_only_what_is_not_available_yet_is_refused() {
    let found = lines(load(PUBLISHED, &PUBLISHED_SECRETS, &[]));
    let unavailable: Vec<&str> = found
        .iter()
        .map(|line| line.strip_suffix(" is not available yet").unwrap_or_else(|| panic!("{line}")))
        .map(|line| line.rsplit(": ").next().unwrap())
        .map(|line| line.trim_start_matches("larder.toml:").trim_matches('"'))
        .collect();
    let expected = [
        "server.tls",
        "server.access_log",
        "server.slow",
        "upstream.http2",
        "upstream.breaker",
        "upstream.health",
        "identity.resolve",
        "percent",
        "priority",
        "rate_limit",
    ];
    assert_eq!(unavailable, expected);
}

// Mistakes.

#[test]
fn all_mistakes_are_told_at_once_with_their_places() {
    let found = lines(load(MISTAKES, &[], &[])).join("\n");
    assert_eq!(found, EXPECTED.trim_end());
}

const EXPECTED: &str = include_str!("mistakes.txt");

#[test]
fn a_file_that_is_no_toml_is_told_with_line_and_column() {
    assert_eq!(
        lines(load("[server]\nlisten = \"127.0.0.1:1\"\nlisten = \"x\"\n", &[], &[])),
        ["larder.toml:3:1: not TOML: duplicate key"]
    );
    let unclosed = lines(load("[server]\n  debug = [1,\n", &[], &[]));
    assert!(unclosed[0].starts_with("larder.toml:2:14: not TOML: unclosed array"), "{unclosed:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no.toml");
    let from = |file: &Path| Sources { file: Some(file.to_owned()), ..sources(&[], &[URL]) };
    let found = config::load(&from(&missing)).unwrap_err();
    assert_eq!(found.0[0].place, Place::File { file: missing.clone(), at: None });
    assert!(found.to_string().contains("no.toml: can't be read: "), "{found}");

    let latin = folder.path().join("latin.toml");
    std::fs::write(&latin, b"# ok\n# \xe4\n").unwrap();
    let found = config::load(&from(&latin)).unwrap_err();
    assert!(found.to_string().ends_with("latin.toml:2:3: is not UTF-8 from here on"), "{found}");

    let good = folder.path().join("good.toml");
    std::fs::write(&good, UPSTREAM).unwrap();
    assert_eq!(config::load(&from(&good)).unwrap().file, Some(good));
}

/// `server.listen = …` in the file → what is said about it, behind the place.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_makes_no_sense_is_refused_in_words() {
    let admin_token = "[server]\nadmin = '0.0.0.0:1'\n";
    for (text, expected) in [
        ("", "upstream.url is missing: say where the API is, in [upstream] or with --upstream"),
        ("[upstream]\nurl = 5", "upstream.url: expected text in quotes, found 5"),
        (
            "[upstream]\nurl = 'http://me:pw@a/'",
            "upstream.url: can't hold a user name or a password; let clients send their credentials",
        ),
        ("[upstream]\nurl = 'http://a/?x=1'", "upstream.url: can't have a query (?…)"),
        ("[upstream]\nurl = 'a.example:80'", "upstream.url: has to begin with http:// or https://"),
        ("[upstream]\nurl = 'http://a:99999/'", "upstream.url: has a port that is none"),
        ("[server]\nlisten = 5\nadmin = '127.0.0.1:8080'", "server.listen: expected text in quotes, found 5"),
        (
            "[memory]\nmax_size = '1MB'\nmax_object = 1",
            "memory.max_object: expected a size with its unit, such as \"64KB\" or \"1GB\", found 1",
        ),
        ("upstream = 5", "upstream: expected a table, found 5"),
        ("redis = 'redis://larder:acorn@h'", "redis: expected a table, found something else (not shown)"),
        ("[route]\nname = 'a'", "route: expected tables in double brackets ([[…]]), found a table"),
        (
            "[server]\nlisten = '8080'",
            "server.listen: expected an address with its port such as \"127.0.0.1:8080\", found \"8080\" (\"127.0.0.1:8080\" for this machine only, \"0.0.0.0:8080\" for all)",
        ),
        (
            "[server]\nadmin = '127.0.0.1:8080'",
            "server.admin: \"127.0.0.1:8080\" is where clients connect (listen); take another port",
        ),
        (
            "[server]\nlisten = '[::]:8081'",
            "server.admin: \"127.0.0.1:8081\" is where clients connect (listen); take another port",
        ),
        (
            "[server]\nlisten = '0.0.0.0:8081'",
            "server.admin: \"127.0.0.1:8081\" is where clients connect (listen); take another port",
        ),
        (
            admin_token,
            "server.admin: \"0.0.0.0:1\" can be reached from other machines, so server.admin_token is required",
        ),
        ("[server]\nadmin_token = ''", "server.admin_token: is empty, which anybody could guess"),
        (
            "[server]\nadmin_token = 'a b'",
            "server.admin_token: has characters that a header can't bear (spaces, control characters, beyond ASCII)",
        ),
        ("[server]\nworkers = 2000", "server.workers: has to be from 0 to 1024, found 2000"),
        ("[server]\nmax_connections = 0", "server.max_connections: has to be from 1 to 1000000, found 0"),
        (
            "[server]\nbody_timeout = '0s'",
            "server.body_timeout: has to be above 0: nothing would ever be in time",
        ),
        (
            "[upstream]\nca = 'no.pem'",
            "upstream.ca: \"no.pem\" can't be read: No such file or directory (os error 2)",
        ),
        (
            "[memory]\nmax_size = '64'",
            "memory.max_size: expected a size with its unit, such as \"64KB\" or \"1GB\", found \"64\"",
        ),
        ("[memory]\nmax_size = '1MB'", "memory.max_size: max_object, \"8MB\", is above max_size, \"1MB\""),
        (
            "[defaults]\njitter = 5",
            "defaults.jitter: expected a percentage with its sign, such as \"5%\", found 5",
        ),
        (
            "[identity]\ncredentials = ['query:t', 'query:t']",
            "identity.credentials: \"query:t\": is listed twice",
        ),
        ("[[route]]\nmatch = '/a'", "route 1 has no name"),
        (
            "[[route]]\nname = 'a'\nmtach = '/a'",
            "unknown key \"mtach\" in route \"a\" (did you mean \"match\"?)",
        ),
        (
            "[[route]]\nname = 'a b'\nmatch = '/a'",
            "name of a route: expected 1 to 64 letters, digits, \"_\", \".\" or \"-\", found \"a b\"",
        ),
        (
            "[[route]]\nname = 'a'\nmatch = '/a'\nmode = 0",
            "mode in route \"a\": expected \"cache\" or \"pass\", found 0",
        ),
        (
            "[[route]]\nname = 'a'\nmatch = '/a'\nmode = 'observe'",
            "in route \"a\": mode = \"observe\" is not available yet",
        ),
        (
            "[[route]]\nname = 'a'\nmatch = '/a'\nkey = { body = 'jsno' }\nmethods = ['POST']",
            "key.body in route \"a\": expected \"none\" or \"raw\" or \"json\", found \"jsno\" (did you mean \"json\"?)",
        ),
        (
            "[[route]]\nname = 'a'\nmatch = '/a'\nmethods = ['GET', 'QUERY']\nkey = { body = 'none' }",
            "methods in route \"a\": \"QUERY\" is answered from the cache only with key.body = \"raw\" or \"json\"",
        ),
        (
            "[[route]]\nname = 'a'\nmatch = '/a'\nmethods = ['Query']\nkey = { body = 'raw' }",
            "methods in route \"a\": unknown method \"Query\" (did you mean \"QUERY\"?)",
        ),
        (
            "[[route]]\nname = 'a'\nmatch = '/a'\nkey = { body = 'raw', max_body = '0B' }",
            "key.max_body in route \"a\": has to be above 0; body = \"none\" lets no body count",
        ),
        (
            "[[route]]\nname = 'a'\nmatch = '/a'\nmethods = []",
            "methods in route \"a\": names no method; mode = \"pass\" passes everything on",
        ),
        (
            "[[route]]\nname = 'a'\nmatch = '/a'\nmethods = ['PUT']",
            "methods in route \"a\": only \"GET\", \"HEAD\", \"POST\" and \"QUERY\" can be answered from the cache, found \"PUT\"",
        ),
        (
            "[[route]]\nname = 'a'\nmatch = '/a'\nkey = { query = ['utm_*'] }",
            "key.query in route \"a\": expected a parameter's name in full, found \"utm_*\"",
        ),
    ] {
        let url = if text.is_empty() || text.contains("upstream = ") || text.contains("url = ") {
            vec![]
        } else {
            vec![URL]
        };
        let found = load(text, &[], &url).map(|_| "loaded").unwrap_err();
        let messages: Vec<&str> = found.0.iter().map(|mistake| mistake.message.as_str()).collect();
        assert_eq!(messages, [expected], "{text}");
    }
}

#[test]
fn every_ordinary_form_is_accepted() {
    for text in [
        "[server]\nlisten = 'localhost:0'\nadmin = 'localhost:0'",
        "[server]\nlisten = '[::1]:80'\nadmin = 'off'",
        "[server]\nadmin = '0.0.0.0:1'\nadmin_token = '0123456789'",
        "[server]\ntrusted_proxies = ['10.0.0.0/8', '::1', '192.0.2.1']",
        "[[route]]\nname = 'a'\nmatch = '/a'\nkey = { query = ['a', 'b'], ignore_query = ['utm_*'], cookies = ['x'] }",
        "[[route]]\nname = 'a'\nmatch = '/a'\nmethods = ['POST', 'QUERY']\nkey = { body = 'json', max_body = '1MB' }",
        "[upstream]\nurl = 'https://api.example/base/'",
        "upstream.queue = 0\n",
        "\u{feff}[server]\r\nworkers = 1\r\n",
    ] {
        if let Err(mistakes) = load(text, &[], &[URL]) {
            panic!("{text}: {mistakes}");
        }
    }
}

#[test]
fn certificates_are_read_beside_the_file_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("larder.toml");
    std::fs::write(&file, format!("{UPSTREAM}ca = 'ca.pem'\n")).unwrap();
    let from = Sources { file: Some(file), ..Sources::default() };
    std::fs::write(folder.path().join("ca.pem"), "not one").unwrap();
    let found = config::load(&from).unwrap_err().to_string();
    assert!(found.contains(":3:6: upstream.ca: \"ca.pem\" has no certificate"), "{found}");
    let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    std::fs::write(folder.path().join("ca.pem"), pem).unwrap();
    let found = config::load(&from).unwrap_err().to_string();
    assert!(found.contains(":3:6: upstream.ca: \"ca.pem\" has a certificate that makes no sense"), "{found}");
    let pem = rcgen::generate_simple_self_signed(["api.example".to_owned()]).unwrap().cert.pem();
    std::fs::write(folder.path().join("ca.pem"), &pem).unwrap();
    assert_eq!(config::load(&from).unwrap().settings.upstream.ca.unwrap(), pem.as_bytes());
}

// Environment and flags.

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "[server]\nworkers = 1\nmax_connections = 10\nlisten = '127.0.0.1:1'\n";
    let environment = [("LARDER_SERVER__WORKERS", "2"), ("LARDER_SERVER__MAX_CONNECTIONS", "20")];
    let flags = [("server.workers", "3"), ("server.workers", "4"), URL];
    let server = settings(file, &environment, &flags).server;
    assert_eq!((server.workers, server.max_connections), (4, 20));
    assert_eq!(server.listen.port(), 1);
}

#[test]
fn a_value_from_outside_has_the_type_of_its_key() {
    let environment = [
        ("LARDER_SERVER__ADMIN_TOKEN", "12345"),
        ("LARDER_SERVER__DEBUG", "true"),
        ("LARDER_DEFAULTS__TTL", "5m"),
        ("LARDER_IDENTITY__CREDENTIALS", "cookie:a, header:x-b"),
    ];
    let flags = [("server.trusted_proxies", "[\"10.0.0.0/8\"]"), URL];
    let settings = settings("", &environment, &flags);
    assert_eq!(settings.admin_token.unwrap().expose(), "12345");
    assert!(settings.debug);
    assert_eq!(settings.unrouted.policy.ttl, Duration::from_secs(300));
    assert_eq!(settings.identity.credentials.len(), 2);
    assert!(settings.identity.declared);
    assert_eq!(settings.trusted_proxies.len(), 1);
}

#[test]
fn other_variables_with_the_same_beginning_do_not_stop_a_start() {
    let environment = [
        ("LARDER_ADMIN_TOKEN", "squirrel"),
        ("LARDER_SERVICE_HOST", "10.0.0.1"),
        ("LARDER_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("LARDER_UPSTREAM_URL", "http://127.0.0.1:1"),
    ];
    let file = "[upstream]\nurl = 'env:LARDER_UPSTREAM_URL'\n";
    assert_eq!(settings(file, &environment, &[]).upstream.url.port_u16(), Some(1));
}

#[test]
fn a_mistake_from_outside_says_where_it_was_given() {
    let environment = [
        ("LARDER_UPSTREAM_URL", "http://127.0.0.1:1"),
        ("LARDER_SERVER__LISTN", "127.0.0.1:1"),
        ("LARDER_SERVER__WORKERS", "many"),
        ("LARDER_SERVER__TLS__CERT", "cert.pem"),
        ("LARDER_ROUTE__0__TTL", "5m"),
        ("LARDER_HOOK__0__SECRET", "s"),
    ];
    let flags = [("server.listen", "nowhere"), ("upstream", "x"), ("server.dbug", "true"), URL];
    assert_eq!(
        lines(load("", &environment, &flags)),
        [
            "--set server.dbug: unknown key \"server.dbug\" (did you mean \"server.debug\"?)",
            "--set server.listen: expected an address with its port such as \"127.0.0.1:8080\", found \"nowhere\"",
            "--set upstream: is a table, name one of its keys",
            "environment: LARDER_HOOK__0__SECRET: hooks are written in the file",
            "environment: LARDER_ROUTE__0__TTL: routes are written in the file",
            "environment: LARDER_SERVER__LISTN: unknown key \"server.listn\" (did you mean LARDER_SERVER__LISTEN?)",
            "environment: LARDER_SERVER__TLS__CERT: \"server.tls.cert\" is not available yet",
            "environment: LARDER_SERVER__WORKERS: expected a whole number from 0 to 4294967295, found \"many\"",
            "environment: LARDER_UPSTREAM_URL: sets nothing (did you mean LARDER_UPSTREAM__URL?)",
        ]
    );
}

// Secrets.

#[test]
fn secrets_are_read_from_where_they_stand_and_shown_by_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "hazelnut-hazelnut\n").unwrap();
    let file = folder.path().join("larder.toml");
    let text = "[server]\nadmin_token = 'env:TOKEN'\n[identity]\nkey_secret = 'file:secret'\n\
                [upstream]\nurl = 'env:API'\n";
    std::fs::write(&file, text).unwrap();
    let from = Sources {
        file: Some(file),
        ..sources(&[("TOKEN", "squirrel"), ("API", "http://acorn.example")], &[])
    };
    let loaded = config::load(&from).unwrap();
    assert_eq!(loaded.settings.admin_token.as_ref().unwrap().expose(), "squirrel");
    assert_eq!(loaded.settings.identity.key_secret.as_ref().unwrap().expose(), "hazelnut-hazelnut");
    let blanked = loaded.blanked();
    for pointer in ["/server/admin_token", "/identity/key_secret", "/upstream/url"] {
        assert_eq!(blanked.pointer(pointer).unwrap(), "(set)", "{pointer}");
    }
    let shown = format!("{blanked} {loaded:?} {from:?} {}", loaded.report());
    for secret in ["squirrel", "hazelnut", "acorn"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn no_message_quotes_what_was_referred_to() {
    let environment = [("S", "squirrel"), ("LARDER_SERVER__ADMIN_TOKEN", "squirrel\u{7f}")];
    let text = r#"
        [server]
        listen = "env:S"
        admin = "env:S"
        workers = "env:S"
        header_timeout = "env:S"
        trusted_proxies = ["env:S"]
        [upstream]
        url = "env:S"
        ca = "env:S"
        host = "env:S"
        [identity]
        credentials = ["env:S"]
        key_secret = ["squirrel"]
        [memory]
        max_size = "env:S"
        [[route]]
        name = "env:S"
        match = "env:S"
        mode = "env:S"
        methods = ["env:S"]
        key = { headers = ["env:S"], body = "env:S" }
        [[route]]
        name = "env:S"
    "#;
    let found = load(text, &environment, &[]).unwrap_err();
    assert!(found.0.len() > 14, "{found}");
    assert!(!format!("{found} {found:?}").contains("squirrel"), "{found}");
}

// What is shown.

#[test]
fn the_report_lists_routes_in_order_of_precedence_and_then_the_rest() {
    let text = format!(
        "{UPSTREAM}[identity]\ncredentials = ['header:authorization']\n\
         [[route]]\nname = 'tail'\nmatch = '/api/{{*rest}}'\nmode = 'pass'\n\
         [[route]]\nname = 'one'\nmatch = '/api/{{id}}'\nttl = '5m'\nmethods = ['GET', 'POST']\n\
         key = {{ query = ['page'], headers = ['Accept-Language'], body = 'json' }}\n\
         tags = ['one:{{id}}', 'ones']\n\
         [[route]]\nname = 'me'\nmatch = '/api/me'\nttl = '90s'\noverride = true\nscope = 'shared'\n"
    );
    let loaded = load(&text, &[], &[]).unwrap();
    let expected = "\
route     match         methods   mode   ttl               scope   key                                             tags
me        /api/me       GET HEAD  cache  1m30s (override)  shared  query                                           -
one       /api/{id}     GET POST  cache  5m                auto    query page, headers accept-language, body json  one:{id} ones
tail      /api/{*rest}  all       pass   -                 -       -                                               -
unrouted  (all others)  GET HEAD  cache  upstream's        auto    query                                           -

warning: route \"me\": every caller gets the same answer for 1m30s, whatever the upstream says (scope = \"shared\" with override)

warning: route \"me\": \"me\" in its path sounds like whoever asks, but with scope = \"shared\" all callers share one answer
";
    assert_eq!(loaded.report(), expected);
    assert_eq!(loaded.blanked().pointer("/route/0/jitter").unwrap(), "5%");
}

#[test]
fn what_deserves_a_second_look_is_a_warning() {
    let text = format!(
        "{UPSTREAM}[server]\nlisten = '0.0.0.0:1'\ndebug = true\n[identity]\nkey_secret = 'short'\n\
         [defaults]\njitter = '60%'\n[[route]]\nname = 'a'\nmatch = '/a'\njitter = '70%'\n\
         key = {{ body = 'raw', max_body = '100MB' }}\n"
    );
    let warnings = load(&text, &[], &[]).unwrap().warnings;
    let beginnings = [
        "server.debug shows",
        "identity.credentials is not written",
        "identity.key_secret has fewer",
        "defaults.jitter of 60%",
        "route \"a\": key.max_body of 100MB is more than memory.max_filling lets be read, 64MB",
        "route \"a\": jitter of 70%",
    ];
    assert_eq!(warnings.len(), beginnings.len(), "{warnings:?}");
    for (warning, beginning) in warnings.iter().zip(beginnings) {
        assert!(warning.starts_with(beginning), "{warning}");
    }
}

// Anything at all.

/// Pieces of real configurations, put together anyhow: goes deeper than noise.
fn shuffled() -> impl Strategy<Value = String> {
    let lines: Vec<&'static str> =
        [DEFAULT, EXAMPLE, MISTAKES, PUBLISHED].iter().flat_map(|text| text.lines()).collect();
    proptest::collection::vec(proptest::sample::select(lines), 0..40).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = load(&text, &[], &[URL]);
    }

    #[test]
    fn no_mixture_of_lines_makes_it_panic_or_say_nothing(text in shuffled()) {
        match load(&text, &[], &[URL]) {
            Ok(loaded) => prop_assert!(loaded.report().contains("unrouted")),
            Err(Mistakes(mistakes)) => prop_assert!(!mistakes.is_empty()),
        }
    }

    #[test]
    fn no_value_of_a_flag_or_variable_makes_it_panic(key in "[a-z_.]{0,12}", text in any::<String>()) {
        let variable = format!("LARDER_{}", key.replace('.', "__").to_uppercase());
        let _ = load("", &[(&variable, &text), ("LARDER_SERVER__LISTEN", &text)], &[(&key, &text), ("memory.max_size", &text)]);
    }
}

#[test]
fn an_upstream_that_is_larder_itself_is_refused() {
    for (listen, url, refused) in [
        ("127.0.0.1:9000", "http://127.0.0.1:9000", true),
        ("127.0.0.1:9000", "http://localhost:9000/base", true),
        ("0.0.0.0:80", "http://127.0.0.1", true),
        ("127.0.0.1:9000", "http://127.0.0.1:9001", false),
        ("127.0.0.1:9000", "http://10.0.0.1:9000", false),
    ] {
        let text = format!("[server]\nlisten = \"{listen}\"\nadmin = \"off\"\n[upstream]\nurl = \"{url}\"\n");
        let mistakes = load(&text, &[], &[]).err().map(|mistakes| mistakes.to_string());
        let found = mistakes.as_ref().is_some_and(|text| text.contains("would ask itself"));
        assert_eq!(found, refused, "{listen} {url}: {mistakes:?}");
    }
}

#[test]
fn a_variable_that_is_not_utf_8_is_a_mistake_and_never_passed_over() {
    let broken = "caf\u{FFFD}";
    let mistakes = load("", &[("LARDER_SERVER__ADMIN_TOKEN", broken)], &[]).unwrap_err().to_string();
    assert!(mistakes.contains("LARDER_SERVER__ADMIN_TOKEN: is not UTF-8"), "{mistakes}");
    let text = "[server]\nadmin_token = \"env:TOKEN\"\n[upstream]\nurl = \"http://127.0.0.1:1\"\n";
    let mistakes = load(text, &[("TOKEN", broken)], &[]).unwrap_err().to_string();
    assert!(mistakes.contains("TOKEN in the environment is not UTF-8"), "{mistakes}");
}

#[test]
fn an_empty_list_of_credentials_declares_nothing_and_is_warned_of() {
    let flags = [("upstream.url", "http://127.0.0.1:1")];
    let loaded = load("[identity]\ncredentials = []\n", &[], &flags).unwrap();
    assert!(!loaded.settings.identity.declared);
    assert!(loaded.warnings.iter().any(|warning| warning.contains("credentials is empty")));
}

// The shared tier.

#[test]
fn what_means_nothing_in_redis_is_warned_of() {
    let of = |lines: &str| {
        let text = format!("[redis]\nurl = 'redis://h'\n{lines}");
        let warnings = load(&text, &[], &[URL]).unwrap().warnings;
        warnings.into_iter().filter(|warning| warning.starts_with("redis")).collect::<Vec<_>>()
    };
    assert_eq!(of(""), [""; 0]);
    let usual =
        "master = 'mymaster'\ncipher = 'aes-256-gcm'\ncompress = { algorithm = 'off', above = '4KB' }";
    assert_eq!(of(usual), [""; 0]);
    let lines =
        "master = 'shop'\ncipher = 'chacha20-poly1305'\ncompress = { algorithm = 'off', above = '5KB' }";
    let expected = [
        "redis.master means nothing without mode = \"sentinel\"",
        "redis.cipher means nothing without encryption_key",
        "redis.compress.above means nothing with algorithm = \"off\"",
    ];
    assert_eq!(of(lines), expected);
    assert_eq!(of(&format!("{lines}\nenabled = false")), [""; 0]);
    let key = "encryption_key = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='";
    let used =
        "mode = 'sentinel'\nmaster = 'shop'\ncipher = 'chacha20-poly1305'\ncompress = { above = '5KB' }";
    assert_eq!(of(&format!("{used}\n{key}")), [""; 0]);
}

#[test]
fn a_system_that_trusts_nobody_is_found_out_by_a_check() {
    let check = |url: &str, store: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(["check"]).env("LARDER_UPSTREAM__URL", "http://127.0.0.1:1");
        let output = command
            .env("LARDER_REDIS__URL", url)
            .env("SSL_CERT_FILE", store)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let says = "redis: on this machine there would be no connection: can't read the system's certificates";
    let text = check("rediss://h", "/nowhere.pem");
    assert!(text.contains(says), "{text}");
    let text = check("redis://h", "/nowhere.pem");
    assert!(!text.contains(says), "{text}");
}

/// What is said of `[redis]` with these lines, without the place.
fn redis_mistakes(lines: &str) -> Vec<String> {
    match load(&format!("[redis]\n{lines}"), &[], &[URL]) {
        Ok(_) => Vec::new(),
        Err(Mistakes(found)) => found.into_iter().map(|mistake| mistake.message).collect(),
    }
}

#[test]
fn a_tier_is_shared_only_where_a_server_is_named_and_it_is_not_switched_off() {
    let url = "url = 'redis://h'\n";
    for (lines, is_there) in [
        ("", false),
        ("namespace = 'a'\n", false),
        (url, true),
        ("urls = ['redis://a', 'redis://b']\nmode = 'cluster'\n", true),
        ("url = 'redis://h'\nenabled = false\n", false),
    ] {
        let settings = settings(&format!("[redis]\n{lines}"), &[], &[URL]);
        assert_eq!(settings.redis.is_some(), is_there, "{lines}");
    }
    let switched_off = [("LARDER_REDIS__ENABLED", "false")];
    assert_eq!(settings(&format!("[redis]\n{url}"), &switched_off, &[URL]).redis, None);
    let by_flag = [URL, ("redis.url", "redis://h"), ("redis.compress.above", "1KB")];
    let redis = settings("", &[("LARDER_REDIS__BREAKER__FAILURES", "2")], &by_flag).redis.unwrap();
    assert_eq!((redis.compress_above_bytes, redis.breaker.failures), (Some(1000), 2));
}

#[test]
fn the_defaults_of_the_shared_tier_are_those_of_the_description() {
    let redis = settings("[redis]\nurl = 'redis://h'", &[], &[URL]).redis.unwrap();
    assert_eq!(redis.namespace, "larder");
    assert_eq!([redis.command_timeout.as_millis(), redis.connect_timeout.as_millis()], [50, 1000]);
    assert_eq!((redis.max_object_bytes, redis.max_queued_bytes), (1_000_000, 32_000_000));
    assert_eq!((redis.compress_above_bytes, redis.lease.as_secs()), (Some(4000), 3));
    let slow =
        settings("[redis]\nurl = 'redis://h'\ncommand_timeout = '1s'\nmax_object = '64MB'", &[], &[URL]);
    let slow = slow.redis.unwrap();
    assert_eq!((slow.lease.as_secs(), slow.max_queued_bytes), (6, 64_000_000), "nobody wrote those");
    let breaker = (redis.breaker.failures, redis.breaker.window.as_secs(), redis.breaker.open.as_millis());
    assert_eq!(breaker, (5, 10, 500));
    assert!(redis.tls.is_none() && redis.encryption_keys.is_empty());
    let tls = settings("[redis]\nurl = 'rediss://h'", &[], &[URL]).redis.unwrap().tls.unwrap();
    assert!(tls.ca.is_none() && tls.client.is_none());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_makes_no_sense_of_the_shared_tier_is_refused_in_words() {
    let one = "url = 'redis://h'\n";
    for (lines, expected) in [
        ("url = 'http://h'", "redis.url: has to begin with redis://, rediss:// (TLS) or unix://"),
        ("url = 'redis://h:x'", "redis.url: expected a URL such as \"redis://127.0.0.1:6379/0\""),
        (
            "url = 'rediss+unix:///s'",
            "redis.url: a socket in the file system has no TLS; write unix:// with its path",
        ),
        (
            "url = 'redis://h'\nurls = ['redis://a']",
            "redis.urls: redis.url is written too; write one of the two",
        ),
        (
            "urls = ['redis://a', 'redis://b']",
            "redis.urls: several want mode = \"cluster\" or mode = \"sentinel\"",
        ),
        (
            "urls = ['redis://a', 'rediss://b']\nmode = 'sentinel'",
            "redis.urls: are partly with TLS (rediss://) and partly without",
        ),
        ("url = 'redis://h/1'\nmode = 'cluster'", "redis.url: a cluster has only database 0"),
        (
            "url = 'unix:///s'\nmode = 'cluster'",
            "redis.url: a socket in the file system can be no part of a cluster, and no sentinel",
        ),
        (
            "mode = 'clutser'",
            "redis.mode: expected \"standalone\" or \"cluster\" or \"sentinel\", found \"clutser\" (did you mean \"cluster\"?)",
        ),
        ("namespace = ''", "redis.namespace: is empty; two applications would share their keys"),
        ("namespace = 'a{b}'", "redis.namespace: can't have braces, which mean something to a cluster"),
        ("namespace = \"a\\n\"", "redis.namespace: can't have spaces or control characters"),
        ("username = 'me'", "redis.username: wants a password (redis.password)"),
        ("password = ''", "redis.password: is empty; leave it out where Redis wants none"),
        ("client_cert = 'no.pem'", "redis.client_cert: wants redis.client_key too"),
        (
            "ca = 'ca.pem'\nurl = 'redis://h'",
            "redis.ca: is for TLS, but the URL is without (redis://); write rediss://",
        ),
        ("lease = '1ms'", "redis.lease: has to be from 100ms to 1m, found \"1ms\""),
        (
            "lease = '250ms'",
            "redis.lease: lease, \"250ms\", is below 6 times command_timeout, \"50ms\": one slow reply, and another instance would fetch too",
        ),
        ("command_timeout = '0s'", "redis.command_timeout: has to be above 0: nothing would ever be in time"),
        ("max_object = '0'", "redis.max_object: has to be above 0 and at most 256MiB"),
        ("max_queued = '1KB'", "redis.max_queued: max_queued, \"1KB\", is below max_object, \"1MB\""),
        ("breaker = { failures = 0 }", "redis.breaker.failures: has to be from 1 to 10000, found 0"),
        (
            "compress = { above = 5 }",
            "redis.compress.above: expected a size with its unit, such as \"64KB\" or \"1GB\", found 5",
        ),
        (
            "compress = { abvoe = '5KB' }",
            "unknown key \"abvoe\" in [redis.compress] (did you mean \"above\"?)",
        ),
        (
            "encryption_key = 'c3F1aXJyZWw='",
            "redis.encryption_key: expected 32 bytes in base64 (openssl rand -base64 32)",
        ),
        (
            "encryption_key = []",
            "redis.encryption_key: is an empty list; leave it out to have values in the clear",
        ),
        (
            "encryption_key = 5",
            "redis.encryption_key: expected text in quotes or a list of such, found something that is not text",
        ),
    ] {
        // Some of them name a file that is missing as well.
        let found = redis_mistakes(lines);
        assert!(found.iter().any(|message| message == expected), "{lines}: {found:#?}");
    }
    let twice = format!("{one}encryption_key = ['{ENCRYPTION_KEY}', '{ENCRYPTION_KEY}']");
    assert_eq!(redis_mistakes(&twice), ["redis.encryption_key: is listed twice"]);
}

#[test]
fn no_secret_of_the_shared_tier_is_shown() {
    let wrong = [
        "url = 'redis//:squirrel@h'",
        "url = ['redis://:squirrel@h']",
        "urls = 'redis://:squirrel@h'",
        "urls = ['squirrel://h', 'redis://:squirrel@']",
        "password = ['squirrel']",
        "encryption_key = 'squirrel'",
        "encryption_key = ['squirrel', 5]",
        "url = 'rediss://h'\nclient_cert = 'no.pem'\nclient_key = 'squirrel'",
        "urls = ['redis://:squirrel@a', 'redis://:squirrel@b']",
    ];
    for lines in wrong {
        let found = load(&format!("[redis]\n{lines}"), &[], &[URL]).unwrap_err();
        assert!(!format!("{found} {found:?}").contains("squirrel"), "{lines}: {found}");
    }
    let text = "[redis]\nurls = ['redis://:squirrel@h', 'redis://me:squirrel@h']\nmode = 'cluster'\n\
                password = 'squirrel'\nencryption_key = 'c3F1aXJyZWxzcXVpcnJlbHNxdWlycmVsc3F1aXJyZWw='\n";
    let loaded = load(text, &[], &[URL]).unwrap();
    let blanked = loaded.blanked();
    for pointer in ["/redis/urls/0", "/redis/urls/1", "/redis/password", "/redis/encryption_key"] {
        assert_eq!(blanked.pointer(pointer).unwrap(), "(set)", "{pointer}");
    }
    let shown = format!("{blanked} {loaded:?} {:?} {}", loaded.settings, loaded.report());
    for secret in ["squirrel", "c3F1", "[115, 113"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn keys_for_sealing_may_be_several_in_a_list_or_in_one_variable() {
    let (first, second) = (ENCRYPTION_KEY, "YWNvcm4tYWNvcm4tYWNvcm4tYWNvcm4tYWNvcm4tYWM");
    let list = format!("[redis]\nurl = 'redis://h'\nencryption_key = ['{first}', '{second}']");
    let from_list = settings(&list, &[], &[URL]).redis.unwrap();
    assert_eq!(from_list.encryption_keys.len(), 2);
    assert_eq!(&from_list.encryption_keys[0].0, b"squirrelsquirrelsquirrelsquirrel");
    let both = format!("{first}, {second}");
    let variable = [("LARDER_REDIS__ENCRYPTION_KEY", both.as_str()), ("LARDER_REDIS__URL", "redis://h")];
    assert_eq!(settings("", &variable, &[URL]).redis, Some(from_list));
}

#[test]
fn certificates_for_the_shared_tier_have_to_belong_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    for name in ["a", "b"] {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(folder.path().join(format!("{name}.pem")), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        names.push(name);
    }
    let file = folder.path().join("larder.toml");
    let load = |cert: &str, key: &str| {
        let text = format!(
            "{UPSTREAM}[redis]\nurl = 'rediss://h'\nca = 'a.pem'\nclient_cert = '{cert}'\nclient_key = '{key}'\n"
        );
        std::fs::write(&file, text).unwrap();
        config::load(&Sources { file: Some(file.clone()), ..Sources::default() })
    };
    let tls = load("a.pem", "a.key").unwrap().settings.redis.unwrap().tls.unwrap();
    assert!(tls.ca.is_some() && tls.client.is_some());
    let found = load("a.pem", "b.key").unwrap_err().to_string();
    assert!(found.contains("redis.client_cert: does not belong to redis.client_key"), "{found}");
    let found = load("a.pem", "a.pem").unwrap_err().to_string();
    assert!(
        found.contains("redis.client_key: what is referred to (not shown) has no private key"),
        "{found}"
    );
}
