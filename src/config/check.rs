//! `File` → `Settings`: what was written, as what it means, or all the reasons why it means nothing.
//!
//! Each function takes a table and gives the part of `Settings` that it stands for; none: a mistake was noted. What
//! concerns routes is in `check_routes`, hooks in `check_hooks`, the shared tier in `check_redis`, files of certificates in
//! `certificates`, what is only worth a warning in `warnings`.

use super::bounds::{above_zero, count, within};
use super::certificates::certificates;
use super::document::Point;
use super::file::{File, Identity, Memory, Server, Upstream};
use super::hidden::Hidden;
use super::path::KeyPath;
use super::settings::Settings;
use super::words::HostField;
use super::written::Written;
use super::{check_hooks, check_invalidation, check_redis, check_routes};
use crate::proxy::identity::{self, CredentialSource};
use crate::secret::Secret;
use crate::{server, store, upstream};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// More than one machine can hold open, and within what semaphores can count.
const COUNT_MAX: u32 = 1_000_000;

/// Everything at once.
pub(super) fn check(file: &File, written: &mut Written) -> Option<Settings> {
    let server = server(&file.server, written);
    let trusted_proxies = trusted_proxies(&file.server.trusted_proxies, written);
    let admin_token = admin_token(&file.server, written);
    let upstream = upstream(&file.upstream, written);
    if let (Some(server), Some(upstream)) = (&server, &upstream)
        && is_ourselves(&upstream.url, server.listen)
    {
        written.wrong(&KeyPath::of("upstream.url"), "is server.listen: Larder would ask itself");
    }
    let identity = identity(&file.identity, written);
    let memory = memory(&file.memory, written);
    let redis = check_redis::check(&file.redis, written);
    let invalidation = check_invalidation::check(&file.invalidation, written);
    let routes = check_routes::check(file, &identity, written);
    let hooks = check_hooks::check(file, written);
    if written.has_mistakes() {
        return None;
    }
    let (routes, unrouted) = routes?;
    Some(Settings {
        server: server?,
        trusted_proxies,
        debug: file.server.debug,
        admin_token,
        upstream: upstream?,
        identity,
        memory,
        redis,
        invalidation,
        hooks,
        routes,
        unrouted,
    })
}

fn server(server: &Server, written: &mut Written) -> Option<server::Settings> {
    let at = |key: &str| KeyPath::of("server").join(key);
    let listen = address(&server.listen, &at("listen"), written);
    let admin = match server.admin.as_str() {
        "off" => None,
        text => address(text, &at("admin"), written),
    };
    if let (Some(listen), Some(admin)) = (listen, admin)
        // Port 0 is a free one, another each time.
        && listen.port() != 0
        && listen.port() == admin.port()
        && overlap(listen.ip(), admin.ip())
        && !written.is_spoiled(&at("listen"))
    {
        let address = written.shown(&server.admin, &at("admin"));
        let message = format!("{address} is where clients connect (listen); take another port");
        written.wrong(&at("admin"), &message);
    }
    if let Some(admin) = admin
        && !admin.ip().is_loopback()
        && server.admin_token.is_none()
        && !written.is_spoiled(&at("admin_token"))
    {
        let address = written.shown(&server.admin, &at("admin"));
        let message =
            format!("{address} can be reached from other machines, so server.admin_token is required");
        written.wrong(&at("admin"), &message);
    }
    within(server.workers, 0..=1024, &at("workers"), written);
    within(server.max_connections, 1..=COUNT_MAX, &at("max_connections"), written);
    above_zero(server.header_timeout, &at("header_timeout"), written);
    above_zero(server.idle_timeout, &at("idle_timeout"), written);
    above_zero(server.body_timeout, &at("body_timeout"), written);
    Some(server::Settings {
        listen: listen?,
        admin,
        workers: count(server.workers),
        max_connections: count(server.max_connections),
        limits: server::Limits {
            streams_max: server::STREAMS_MAX,
            header_timeout: server.header_timeout.0,
            idle_timeout: server.idle_timeout.0,
            body_timeout: server.body_timeout.0,
        },
        drain_timeout: server.drain_timeout.0,
    })
}

/// Whether the upstream is our own listener, as far as its address says so.
fn is_ourselves(upstream: &http::Uri, listen: SocketAddr) -> bool {
    let is_tls = upstream.scheme_str() == Some("https");
    let port = upstream.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let host = match upstream.host() {
        Some("localhost") => Some(IpAddr::from([127, 0, 0, 1])),
        host => host.and_then(|host| host.trim_matches(['[', ']']).parse().ok()),
    };
    // All of this machine's addresses are its loopback's too, but not the other way round.
    let here = |ip: IpAddr| ip == listen.ip() || (listen.ip().is_unspecified() && ip.is_loopback());
    listen.port() == port && host.is_some_and(here)
}

/// Whether one of them takes in what is meant for the other. `[::]` takes IPv4 as well.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    let takes = |all: IpAddr, ip: IpAddr| all.is_unspecified() && (all.is_ipv6() || ip.is_ipv4());
    one == other || takes(one, other) || takes(other, one)
}

/// An address, or `localhost`. Other names are refused: what they stand for may change, a socket does not.
fn address(text: &str, path: &KeyPath, written: &mut Written) -> Option<SocketAddr> {
    let port_of_localhost = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    if let Some(port) = port_of_localhost {
        return Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let port = text.strip_prefix(':').or(text.strip_prefix("*:")).unwrap_or(text);
    let hint = match port.parse::<u16>() {
        Ok(port) => format!(" (\"127.0.0.1:{port}\" for this machine only, \"0.0.0.0:{port}\" for all)"),
        Err(_) => String::new(),
    };
    let off = if path.last() == "admin" { " or \"off\"" } else { "" };
    let found = written.shown(text, path);
    let expected = format!("expected an address with its port such as \"127.0.0.1:8080\"{off}");
    written.wrong(path, &format!("{expected}, found {found}{hint}"));
    None
}

fn trusted_proxies(list: &[String], written: &mut Written) -> Vec<ipnet::IpNet> {
    let path = KeyPath::of("server.trusted_proxies");
    let mut networks = Vec::new();
    for (index, text) in list.iter().enumerate() {
        let network =
            text.parse::<ipnet::IpNet>().or_else(|_| text.parse::<IpAddr>().map(ipnet::IpNet::from));
        if let Ok(network) = network {
            networks.push(network);
        } else {
            let found = written.shown(text, &path.item(index));
            let expected = "expected an address or a network such as \"10.0.0.0/8\"";
            written.wrong_item(&path, index, &format!("{expected}, found {found}"));
        }
    }
    networks
}

fn admin_token(server: &Server, written: &mut Written) -> Option<Secret> {
    let Hidden(token) = server.admin_token.as_ref()?;
    let path = KeyPath::of("server.admin_token");
    if token.expose().is_empty() {
        written.wrong(&path, "is empty, which anybody could guess");
    } else if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        written.wrong(
            &path,
            "has characters that a header can't bear (spaces, control characters, beyond ASCII)",
        );
    }
    Some(token.clone())
}

fn upstream(upstream: &Upstream, written: &mut Written) -> Option<upstream::Settings> {
    let at = |key: &str| KeyPath::of("upstream").join(key);
    let url = url(upstream.url.as_deref(), written);
    let ca = upstream.ca.as_deref().and_then(|ca| certificates(ca, &at("ca"), written));
    for (key, timeout) in [
        ("connect_timeout", upstream.connect_timeout),
        ("response_timeout", upstream.response_timeout),
        ("idle_timeout", upstream.idle_timeout),
        ("body_timeout", upstream.body_timeout),
    ] {
        above_zero(timeout, &at(key), written);
    }
    within(upstream.max_idle, 0..=COUNT_MAX, &at("max_idle"), written);
    within(upstream.max_in_flight, 1..=COUNT_MAX, &at("max_in_flight"), written);
    within(upstream.queue, 0..=COUNT_MAX, &at("queue"), written);
    within(upstream.retries, 0..=10, &at("retries"), written);
    Some(upstream::Settings {
        url: url?,
        host: match upstream.host {
            HostField::Client => upstream::HostField::Client,
            HostField::Upstream => upstream::HostField::Upstream,
        },
        ca,
        connect_timeout: upstream.connect_timeout.0,
        response_timeout: upstream.response_timeout.0,
        idle_timeout: upstream.idle_timeout.0,
        body_timeout: upstream.body_timeout.0,
        max_idle: count(upstream.max_idle),
        max_in_flight: count(upstream.max_in_flight),
        queue_max: count(upstream.queue),
        queue_timeout: upstream.queue_timeout.0,
        retries: upstream.retries,
    })
}

/// Never quoted: it may hold a password.
fn url(text: Option<&str>, written: &mut Written) -> Option<http::Uri> {
    let path = KeyPath::of("upstream.url");
    let Some(text) = text else {
        let message = "upstream.url is missing: say where the API is, in [upstream] or with --upstream";
        written.note(&path, Point::Value, message.into());
        return None;
    };
    let wrong = if text.contains('#') {
        "can't have a fragment (#…)"
    } else {
        match text.parse::<http::Uri>() {
            Err(_) => "expected a URL such as \"http://127.0.0.1:8000\"",
            Ok(url) => match (url.scheme_str(), url.authority()) {
                (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
                    "can't hold a user name or a password; let clients send their credentials"
                }
                (Some("http" | "https"), Some(authority)) if authority.host().is_empty() => "has no host",
                // The part after the colon is no port, or none that exists.
                (Some("http" | "https"), Some(authority))
                    if authority.port_u16().is_none() && authority.as_str() != authority.host() =>
                {
                    "has a port that is none"
                }
                (Some("http" | "https"), Some(_)) if url.query().is_some() => "can't have a query (?…)",
                (Some("http" | "https"), Some(_)) => return Some(url),
                _ => "has to begin with http:// or https://",
            },
        }
    };
    written.wrong(&path, wrong);
    None
}

fn identity(identity: &Identity, written: &mut Written) -> identity::Settings {
    let path = KeyPath::of("identity.credentials");
    let mut credentials: Vec<CredentialSource> = Vec::new();
    for (index, text) in identity.credentials.iter().enumerate() {
        let item = path.item(index);
        let wrong = match text.parse() {
            Ok(source) if credentials.contains(&source) => "is listed twice".to_owned(),
            Ok(source) => {
                credentials.push(source);
                continue;
            }
            Err(wrong) if written.may_show(&item) => wrong,
            Err(_) => "expected \"header:NAME\", \"cookie:NAME\" or \"query:NAME\"".to_owned(),
        };
        let found = written.shown(text, &item);
        written.wrong_item(&path, index, &format!("{found}: {wrong}"));
    }
    if identity.key_secret.as_ref().is_some_and(|Hidden(secret)| secret.expose().is_empty()) {
        written.wrong(&KeyPath::of("identity.key_secret"), "is empty, which anybody could guess");
    }
    identity::Settings {
        credentials,
        // A list of nothing says nothing of what tells callers apart.
        declared: written.has(&path) && !identity.credentials.is_empty(),
        key_secret: identity.key_secret.as_ref().map(|Hidden(secret)| secret.clone()),
    }
}

fn memory(memory: &Memory, written: &mut Written) -> store::Settings {
    let at = |key: &str| KeyPath::of("memory").join(key);
    for (key, size) in [
        ("max_size", memory.max_size),
        ("max_object", memory.max_object),
        ("max_filling", memory.max_filling),
    ] {
        if size.0 == 0 {
            written.wrong(&at(key), "has to be above 0");
        }
    }
    // Each is looked through where one is added.
    within(memory.max_variants, 1..=10_000, &at("max_variants"), written);
    let (object, size) = (at("max_object"), at("max_size"));
    let both_meant = !written.is_spoiled(&object) && !written.is_spoiled(&size);
    if both_meant && memory.max_object.0 > memory.max_size.0 {
        // Who wrote only one of them looks there.
        let place = if written.has(&object) { &object } else { &size };
        let found = written.shown(&memory.max_object.to_string(), &object);
        let bound = written.shown(&memory.max_size.to_string(), &size);
        written.wrong(place, &format!("max_object, {found}, is above max_size, {bound}"));
    }
    store::Settings {
        max_size_bytes: memory.max_size.0,
        max_object_bytes: memory.max_object.0,
        max_filling_bytes: memory.max_filling.0,
        max_sendfile_bytes: memory.max_sendfile.0,
        max_variants: usize::try_from(memory.max_variants).unwrap_or(usize::MAX),
    }
}
