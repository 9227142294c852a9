//! What the configuration says of invalidations: tags, hooks, and how much is remembered.

use std::time::Duration;

use larder::config::Mistakes;
use larder::hooks::Proof;
use larder::invalidation::{self, Wait};
use larder::proxy::route::WhenCutOff;

use super::{HOOK_SECRET, PUBLISHED, PUBLISHED_SECRETS, URL, load, settings};

fn route(lines: &str) -> String {
    format!(
        "[identity]\ncredentials = ['header:x-key', 'query:token']\n\
         [[route]]\nname = 'user'\nmatch = '/users/{{id}}/{{*rest}}'\n{lines}\n"
    )
}

fn hook(lines: &str) -> String {
    let secret = if lines.contains("secret") { "" } else { "secret = 'env:S'\n" };
    format!("[[route]]\nname = 'user'\nmatch = '/users/{{id}}'\n[[hook]]\nname = 'h'\n{secret}{lines}\n")
}

const ENVIRONMENT: [(&str, &str); 2] = [("S", HOOK_SECRET), ("SQUIRREL", "squirrel")];

/// What is said of it, without the place.
fn mistakes(text: &str) -> Vec<String> {
    match load(text, &ENVIRONMENT, &[URL]) {
        Ok(_) => Vec::new(),
        Err(Mistakes(found)) => found.into_iter().map(|mistake| mistake.message).collect(),
    }
}

#[test]
fn what_is_left_out_is_as_the_description_has_it() {
    let settings = settings(&route(""), &[], &[URL]);
    assert_eq!(settings.invalidation, invalidation::Settings::default());
    assert_eq!(settings.hooks, []);
    let route = &settings.routes[0];
    assert_eq!((route.tags.len(), route.invalidates.len(), route.settle), (0, 0, Duration::ZERO));
    assert_eq!((route.when_cut_off, route.write_through), (WhenCutOff::Serve, false));
    let redis = super::settings("[redis]\nurl = 'redis://h'", &[], &[URL]).redis.unwrap();
    assert!(!redis.trust_failover);
    let hook = &super::settings(&hook("all = true"), &ENVIRONMENT, &[URL]).hooks[0];
    assert_eq!((hook.wait, hook.timeout, hook.settle), (Wait::All, Duration::from_secs(5), Duration::ZERO));
    assert!(!hook.soft && hook.when.is_empty() && matches!(hook.proof, Proof::Standard(_)));
}

#[test]
fn what_is_written_of_a_route_arrives() {
    let lines = "tags = ['user:{id}', '{identity}:{query:page}:{header:X-Tenant}', 'item:{body:/items/*/id}']\n\
                 invalidates = ['users', 'route:user']\nwhen_cut_off = 'bypass'\nsettle = '1m'\nwrite_through = true";
    let route = settings(&route(lines), &[], &[URL]).routes.remove(0);
    let tags: Vec<String> = route.tags.iter().map(ToString::to_string).collect();
    assert_eq!(tags, ["user:{id}", "{identity}:{query:page}:{header:x-tenant}", "item:{body:/items/*/id}"]);
    assert_eq!(route.invalidates.len(), 2);
    assert_eq!((route.when_cut_off, route.write_through), (WhenCutOff::Bypass, true));
    assert_eq!(route.settle, Duration::from_secs(60));
}

#[test]
fn what_is_written_of_a_hook_arrives() {
    let lines = "verify = 'bearer'\nsecret = ['a,b', 'env:S']\n\
                 when = { '/event' = ['a', 'b'], '/data/~1version' = 5, '/live' = [true] }\n\
                 tags = ['user:{body:/id}']\npaths = ['/users/{body:/id}']\nprefixes = ['{body:/path}']\n\
                 routes = ['user', 'unrouted', '{body:/route}']\nidentities = ['{body:/id}']\n\
                 soft = true\nsettle = '2s'\nwait = 'self'\ntimeout = '1m'";
    let hook = settings(&hook(lines), &ENVIRONMENT, &[URL]).hooks.remove(0);
    assert_eq!(&*hook.name, "h");
    let Proof::Bearer(secrets) = &hook.proof else { panic!("{:?}", hook.proof) };
    // A comma is a part of it.
    assert_eq!(secrets.iter().map(larder::secret::Secret::expose).collect::<Vec<_>>(), ["a,b", HOOK_SECRET]);
    let mut when: Vec<_> =
        hook.when.iter().map(|(pointer, texts)| format!("{pointer} {}", texts.join(" "))).collect();
    when.sort();
    assert_eq!(when, ["/data/~1version 5", "/event a b", "/live true"]);
    let says = &hook.says;
    let counts = [&says.tags, &says.paths, &says.prefixes, &says.routes, &says.identities].map(Vec::len);
    assert_eq!((counts, says.all), ([1, 1, 1, 3, 1], false));
    assert_eq!(
        (hook.wait, hook.timeout, hook.settle),
        (Wait::Own, Duration::from_secs(60), Duration::from_secs(2))
    );
    assert!(hook.soft);
}

#[test]
fn what_is_written_of_bounds_arrives_from_anywhere() {
    let text = "[redis]\nurl = 'redis://h'\ntrust_failover = true\n[invalidation]\nmax_tags = 5000\nlog_age = '2h'\n";
    let outside =
        [("LARDER_INVALIDATION__MAX_TAG_LENGTH", "1KB"), ("LARDER_INVALIDATION__LOG_LENGTH", "200")];
    let settings = settings(text, &outside, &[URL, ("invalidation.max_body", "2MB")]);
    assert!(settings.redis.unwrap().trust_failover);
    let expected = invalidation::Settings {
        tags_max: 5000,
        tag_bytes_max: 1000,
        body_bytes_max: 2_000_000,
        log_length: 200,
        log_age: Duration::from_secs(7200),
        ..invalidation::Settings::default()
    };
    assert_eq!(settings.invalidation, expected);
}

#[test]
fn a_mistake_in_a_template_has_its_place() {
    let text = "[[route]]\nname = 'a'\nmatch = '/a/{id}'\ntags = ['a', 'user:{idd}']\n\
                [[hook]]\nname = 'h'\nsecret = 'env:S'\nwhen = { 'event' = ['x'] }\ntags = ['{id}']\n";
    let found = load(text, &ENVIRONMENT, &[URL]).unwrap_err().to_string();
    let expected = "\
larder.toml:4:14: tags in route \"a\": \"user:{idd}\": \"{idd}\" is no part of its match (did you mean \"{id}\"?)
larder.toml:8:10: when in hook \"h\": the pointer \"event\" must begin with \"/\" (did you mean \"/event\"?)
larder.toml:9:9: tags in hook \"h\": \"{id}\": \"{id}\" is of a request; a hook knows only {body:/POINTER}";
    assert_eq!(found, expected);
}

#[test]
fn what_makes_no_sense_of_a_route_is_refused_in_words() {
    for (lines, expected) in [
        ("tags = 'user'", "tags in route \"user\": expected a list such as [\"a\", \"b\"], found \"user\""),
        ("tags = ['']", "tags in route \"user\": \"\": is empty"),
        ("tags = ['u:{id']", "tags in route \"user\": \"u:{id\": \"{id\" lacks its \"}\""),
        (
            "invalidates = ['u:{rset}']",
            "invalidates in route \"user\": \"u:{rset}\": \"{rset}\" is no part of its match (did you mean \"{rest}\"?)",
        ),
        (
            "tags = ['u:{colour}']",
            "tags in route \"user\": \"u:{colour}\": \"{colour}\" is no part of its match; there are {id}, {rest}",
        ),
        (
            "tags = ['u:{header:x-key}']",
            "tags in route \"user\": \"u:{header:x-key}\": \"{header:x-key}\" would put a credential into a tag; \"{identity}\" stands for who asks",
        ),
        (
            "invalidates = ['{query:Token}']",
            "invalidates in route \"user\": \"{query:Token}\": \"{query:Token}\" would put a credential into a tag; \"{identity}\" stands for who asks",
        ),
        (
            "when_cut_off = 'bypas'",
            "when_cut_off in route \"user\": expected \"serve\" or \"bypass\", found \"bypas\" (did you mean \"bypass\"?)",
        ),
        ("settle = '61s'", "settle in route \"user\": has to be from 0s to 1m, found \"1m1s\""),
        ("write_through = 1", "write_through in route \"user\": expected true or false, found 1"),
        (
            "tags = ['env:SQUIRREL', '{x}']",
            "tags in route \"user\": \"{x}\": \"{x}\" is no part of its match; there are {id}, {rest}",
        ),
        ("tag = ['a']", "unknown key \"tag\" in route \"user\" (did you mean \"tags\"?)"),
    ] {
        assert_eq!(mistakes(&route(lines)), [expected], "{lines}");
    }
    for header in ["authorization", "Cookie", "proxy-authorization"] {
        let found = mistakes(&route(&format!("tags = ['{{header:{header}}}']")));
        assert!(found[0].contains("would put a credential into a tag"), "{found:?}");
    }
    // While the list is a guess, so is what this may be.
    let customary = "[[route]]\nname = 'a'\nmatch = '/a'\ntags = ['{header:x-user-id}']\n";
    assert!(mistakes(customary)[0].contains("would put a credential into a tag"));
    assert_eq!(mistakes(&format!("[identity]\ncredentials = ['header:x-key']\n{customary}")), [""; 0]);
    let no_names = "[[route]]\nname = 'a'\nmatch = '/a'\ntags = ['{id}']\n";
    assert_eq!(
        mistakes(no_names),
        ["tags in route \"a\": \"{id}\": \"{id}\" is no part of its match, which has none"]
    );
    let captured = "[[route]]\nname = 'a'\nmatch = '/a/{identity}'\ntags = ['{identity}']\n";
    assert!(mistakes(captured)[0].contains("call it something else in match"));
    let many = format!("[invalidation]\nmax_entry_tags = 1\n{}", route("tags = ['a', 'b']"));
    assert_eq!(
        mistakes(&many),
        ["tags in route \"user\": are 2, more than an answer may have (invalidation.max_entry_tags, 1)"]
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_makes_no_sense_of_a_hook_is_refused_in_words() {
    for (lines, expected) in [
        ("", "hook \"h\" says nothing: it needs one of tags, paths, prefixes, routes, identities, all"),
        (
            "tags = []",
            "hook \"h\" says nothing: it needs one of tags, paths, prefixes, routes, identities, all",
        ),
        (
            "tags = ['{id}']",
            "tags in hook \"h\": \"{id}\": \"{id}\" is of a request; a hook knows only {body:/POINTER}",
        ),
        (
            "identities = ['{identity}']",
            "identities in hook \"h\": \"{identity}\": \"{identity}\" is of a request; a hook knows only {body:/POINTER}",
        ),
        (
            "tags = ['{query:a}{header:b}']",
            "tags in hook \"h\": \"{query:a}{header:b}\": \"{query:a}\" is of a request; a hook knows only {body:/POINTER}",
        ),
        (
            "tags = ['{body:id}']",
            "tags in hook \"h\": \"{body:id}\": \"{body:id}\": the pointer \"id\" must begin with \"/\" (did you mean \"/id\"?)",
        ),
        ("paths = ['users']", "paths in hook \"h\": \"users\": has to begin with \"/\""),
        ("prefixes = ['http://h/a']", "prefixes in hook \"h\": \"http://h/a\": has to begin with \"/\""),
        (
            "paths = ['/a#b']",
            "paths in hook \"h\": \"/a#b\": has a fragment (#…), which is never sent to a server",
        ),
        (
            "routes = ['{body:/r}', 'usre']",
            "routes in hook \"h\": there is no route \"usre\" (did you mean \"user\"?)",
        ),
        ("all = 'yes'", "all in hook \"h\": expected true or false, found \"yes\""),
        ("all = true\nsettle = '2m'", "settle in hook \"h\": has to be from 0s to 1m, found \"2m\""),
        ("all = true\ntimeout = '0s'", "timeout in hook \"h\": has to be from 1ms to 1m, found \"0s\""),
        ("all = true\ntimeout = '2m'", "timeout in hook \"h\": has to be from 1ms to 1m, found \"2m\""),
        (
            "all = true\nwait = 'al'",
            "wait in hook \"h\": expected \"self\" or \"log\" or \"all\", found \"al\" (did you mean \"all\"?)",
        ),
        (
            "all = true\nverify = 'stripe'",
            "verify in hook \"h\": expected \"standard\" or \"github\" or \"bearer\", found \"stripe\"",
        ),
        ("all = true\nwhen = 5", "when in hook \"h\": expected a table, found 5"),
        (
            "all = true\nwhen = { '/a' = [] }",
            "when./a in hook \"h\": is an empty list: no message would ever count",
        ),
        (
            "all = true\nwhen = { '/a' = [1.5] }",
            "when./a.0 in hook \"h\": expected the number in quotes, as the sender writes it, found 1.5",
        ),
        (
            "all = true\nwhen = { '/a' = [['x']] }",
            "when./a.0 in hook \"h\": expected text, a whole number, true or false, found a list",
        ),
        (
            "all = true\nwhen = { '' = ['x'] }",
            "when in hook \"h\": a pointer can't be empty, that is the whole text; say where, such as \"/data/id\"",
        ),
        ("all = true\ntokne = 'x'", "unknown key \"tokne\" in hook \"h\""),
        ("all = true\nsecret = ''", "secret in hook \"h\": is empty, which anybody could guess"),
        (
            "all = true\nverify = 'github'\nsecret = ' '",
            "secret in hook \"h\": is empty, which anybody could guess",
        ),
        ("all = true\nsecret = []", "secret in hook \"h\": is an empty list: nobody could be the sender"),
        ("all = true\nsecret = ['env:S', 'env:S']", "secret in hook \"h\": is listed twice"),
        (
            "all = true\nsecret = 'not base64'",
            "secret in hook \"h\": expected base64, as Standard Webhooks has it: \"whsec_\" and, say, what \"openssl rand -base64 32\" says",
        ),
        (
            "all = true\nsecret = 'whsec_c3F1aXJyZWw='",
            "secret in hook \"h\": has fewer than 16 bytes, so it can be found by trying",
        ),
        (
            "all = true\nverify = 'bearer'\nsecret = 'a b'",
            "secret in hook \"h\": has characters that a header can't bear (spaces, control characters, beyond ASCII)",
        ),
        (
            "all = true\nsecret = 5",
            "secret in hook \"h\": expected text in quotes or a list of such, found something that is not text",
        ),
    ] {
        assert_eq!(mistakes(&hook(lines)), [expected], "{lines}");
    }
    let all = "all = true\n";
    for (text, expected) in [
        (format!("[[hook]]\nname = 'h'\n{all}"), "hook \"h\" has no secret: anybody could send it"),
        (format!("[[hook]]\nsecret = 'env:S'\n{all}"), "hook 1 has no name"),
        (
            format!("[[hook]]\nname = 'a/b'\nsecret = 'env:S'\n{all}"),
            "name of a hook: expected 1 to 64 letters, digits, \"_\", \".\" or \"-\", found \"a/b\"",
        ),
        (
            format!("[[hook]]\nname = '..'\nsecret = 'env:S'\n{all}"),
            "name of a hook: expected 1 to 64 letters, digits, \"_\", \".\" or \"-\", found \"..\"",
        ),
        (
            format!("[[hook]]\nname = 'h'\nsecret = 'env:S'\n{all}").repeat(2),
            "name of a hook: \"h\" is taken already (larder.toml:2:8)",
        ),
        (
            format!("[server]\nadmin = 'off'\n{}", hook(all)),
            "hook \"h\" would come in on the admin listener, which is off",
        ),
        ("[hook]\nname = 'h'".to_owned(), "hook: expected tables in double brackets ([[…]]), found a table"),
    ] {
        assert_eq!(mistakes(&text), [expected], "{text}");
    }
}

#[test]
fn what_makes_no_sense_of_bounds_is_refused_in_words() {
    for (lines, expected) in [
        ("max_tags = 0", "invalidation.max_tags: has to be from 2 to 100000000, found 0"),
        (
            "max_tags = 1000",
            "invalidation.max_tags: max_tags, 1000, is below twice max_names, 1000: one message could make all others forgotten",
        ),
        ("max_names = 0", "invalidation.max_names: has to be from 1 to 100000, found 0"),
        ("max_tag_length = '1B'", "invalidation.max_tag_length: has to be from 16B to 64KB, found \"1B\""),
        ("max_body = '1GB'", "invalidation.max_body: has to be from 1KB to 64MB, found \"1GB\""),
        ("log_age = '1s'", "invalidation.log_age: has to be from 1m to 7days, found \"1s\""),
        ("log_length = 1", "invalidation.log_length: has to be from 100 to 100000000, found 1"),
        (
            "max_refreshs = 1",
            "unknown key \"max_refreshs\" in [invalidation] (did you mean \"max_refreshes\"?)",
        ),
    ] {
        assert_eq!(mistakes(&format!("[invalidation]\n{lines}\n")), [expected], "{lines}");
    }
    let both =
        load("", &[], &[URL, ("invalidation.max_names", "100000"), ("invalidation.max_tags", "200000")]);
    assert!(both.is_ok());
}

#[test]
fn what_deserves_a_second_look_is_a_warning() {
    let warnings = |text: &str| {
        let found = load(text, &ENVIRONMENT, &[URL]).unwrap().warnings;
        found.into_iter().filter(|warning| !warning.starts_with("identity.credentials")).collect::<Vec<_>>()
    };
    for (lines, expected) in [
        ("tags = ['user:{id}:{query:page}']", None),
        (
            "when_cut_off = 'bypass'",
            Some(
                "route \"user\": when_cut_off = \"bypass\" means nothing without Redis, which alone can be cut off",
            ),
        ),
        ("mode = 'pass'\ntags = ['a']", Some("route \"user\": tags means nothing with mode = \"pass\"")),
        (
            "mode = 'pass'\nwrite_through = true",
            Some("route \"user\": write_through means nothing with mode = \"pass\""),
        ),
        ("mode = 'pass'\ninvalidates = ['user:{id}']", None),
        (
            "scope = 'shared'\ntags = ['{identity}', '{identity}:x']",
            Some(
                "route \"user\": \"{identity}\" in its tags stands for nobody, since with scope = \"shared\" everybody shares one answer",
            ),
        ),
        (
            "tags = ['{header:x-tenant}']",
            Some(
                "route \"user\": \"{header:x-tenant}\" in its tags is of whoever asked first, and others share that answer: put it in key.headers, unless the upstream names it in Vary",
            ),
        ),
        ("tags = ['{header:x-tenant}']\nkey = { headers = ['X-Tenant'] }", None),
        ("tags = ['{query:a}']\nkey = { query = ['a'] }", None),
        (
            "tags = ['{query:a}']\nkey = { query = ['b'] }",
            Some(
                "route \"user\": \"{query:a}\" in its tags is of whoever asked first, and others share that answer: let it count in key",
            ),
        ),
        (
            "tags = ['{query:utm_a}']\nkey = { ignore_query = ['utm_*'] }",
            Some(
                "route \"user\": \"{query:utm_a}\" in its tags is of whoever asked first, and others share that answer: let it count in key",
            ),
        ),
    ] {
        assert_eq!(warnings(&route(lines)), expected.into_iter().collect::<Vec<_>>(), "{lines}");
    }
    let with_redis = format!("[redis]\nurl = 'redis://h'\n{}", route("when_cut_off = 'bypass'"));
    assert_eq!(warnings(&with_redis), [""; 0]);
    let weak = "all = true\nverify = 'github'\nsecret = 'short'";
    assert_eq!(
        warnings(&hook(weak)),
        ["hook \"h\": a secret has fewer than 16 bytes, so it can be found by trying"]
    );
}

#[test]
fn no_secret_of_a_hook_is_shown() {
    for lines in [
        "all = true\nsecret = 'squirrel!'",
        "all = true\nsecret = ['squirrel!', 5]",
        "all = true\nverify = 'bearer'\nsecret = 'squirrel squirrel'",
        "all = true\nsecret = { a = 'squirrel' }",
        "tags = ['env:SQUIRREL', '{x']\npaths = ['env:SQUIRREL']\nroutes = ['env:SQUIRREL']\nwhen = { '/a' = 'env:SQUIRREL' }\nwait = 'env:SQUIRREL'\nverify = 'env:SQUIRREL'\ntimeout = 'env:SQUIRREL'",
    ] {
        let found = load(&hook(lines), &ENVIRONMENT, &[URL]).unwrap_err();
        assert!(!format!("{found} {found:?}").contains("squirrel"), "{lines}: {found}");
    }
    let lines = "verify = 'github'\nsecret = ['squirrel', 'env:SQUIRREL-2']\nall = true\nwhen = { '/a' = ['env:SQUIRREL'] }";
    let environment = [("SQUIRREL", "squirrel"), ("SQUIRREL-2", "squirrel-2")];
    let loaded = load(&hook(lines), &environment, &[URL]).unwrap();
    let blanked = loaded.blanked();
    assert_eq!(blanked.pointer("/hook/0/secret").unwrap(), "(set)");
    assert_eq!(blanked.pointer("/hook/0/when/~1a/0").unwrap(), "(set)");
    let Proof::GitHub(secrets) = &loaded.settings.hooks[0].proof else { panic!() };
    assert_eq!(secrets.len(), 2);
    let shown = format!("{blanked} {loaded:?} {:?} {}", loaded.settings.hooks[0].proof, loaded.report());
    assert!(!shown.contains("squirrel"), "{shown}");
}

#[test]
fn the_published_hook_is_understood() {
    let from = PUBLISHED.find("[[hook]]").unwrap();
    let settings = settings(&PUBLISHED[from..], &PUBLISHED_SECRETS, &[URL]);
    assert_eq!(settings.hooks[0].says.tags[0].to_string(), "user:{body:/data/id}");
    assert_eq!(settings.hooks[0].when[0].1, ["user.updated", "user.deleted"]);
}

#[test]
fn the_admin_listener_wants_a_token_unless_only_this_machine_reaches_it() {
    for (admin, token, is_refused) in [
        ("127.0.0.1:1", "", false),
        ("localhost:1", "", false),
        ("[::1]:1", "", false),
        ("off", "", false),
        ("0.0.0.0:1", "", true),
        ("[::]:1", "", true),
        ("10.0.0.1:1", "", true),
        ("0.0.0.0:1", "admin_token = 'acorn'", false),
        ("0.0.0.0:1", "admin_token = ''", true),
    ] {
        let found = mistakes(&format!("[server]\nadmin = '{admin}'\n{token}\n"));
        assert_eq!(!found.is_empty(), is_refused, "{admin}: {found:?}");
    }
}
