//! `explain`: what would become of a request, by the configuration alone or by a running instance's word.
//!
//! Invariant: a credential goes into the key's digest and, if an instance is asked, over the wire to it; it is never printed.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::arguments::Explain;
use super::asked::Target;
use super::check::load_without_upstream;
use super::failure::Failure;
use super::instance;
use super::outlet::say;
use super::token::token;
use crate::config::Sources;
use crate::proxy::identity::Identity;
use crate::proxy::inspect::inspect;
use crate::proxy::kinds::Kinds;
use crate::proxy::own_address::{host_in_key, reached_at};
use crate::proxy::plan::{Content, Wanted};
use crate::proxy::route::Routes;

pub(super) fn explain(explain: &Explain) -> Result<(), Failure> {
    match &explain.admin {
        Some(admin) => {
            let question = instance::Question {
                path: entry_path(&explain.method, &explain.target),
                token: token(explain.token.as_ref())?,
                headers: headers(explain),
                body: explain.data.clone().unwrap_or_default().into(),
                thinks_for: Duration::ZERO,
            };
            say(&instance::readable(&instance::ask(admin, &question)?))
        }
        None => explain_by_configuration(explain),
    }
}

fn explain_by_configuration(explain: &Explain) -> Result<(), Failure> {
    let settings = load_without_upstream(Sources::of_process(explain.config.clone(), Vec::new()))?.settings;
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::system("no random numbers")(std::io::Error::other(error.to_string())))?;
    let identity = Identity::new(&settings.identity, &random);
    let headers: HeaderMap = headers(explain).into_iter().collect();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let listen = settings.server.listen.to_string();
    let target = &explain.target;
    let routes = Routes::new(settings.routes, settings.unrouted).map_err(|_| {
        Failure::system("the configuration")(std::io::Error::other("two routes match the same paths"))
    })?;
    // As for a request itself (RFC 9112, 3.2.2): a target in absolute form wins over Host.
    let authority = plain_authority(target.scheme, target.authority.as_deref().or(host).unwrap_or(&listen));
    let here = settings.redis.as_ref().map(|_| reached_at(&authority, settings.server.listen));
    let wanted = Wanted {
        method: &explain.method,
        scheme: target.scheme,
        authority: host_in_key(&authority, here),
        forwarded_host: None,
        trusted: false,
        path: &target.path,
        query: target.query.as_deref(),
        headers: &headers,
        kinds: Kinds::read(&headers),
        body: explain.data.as_ref().map_or(Content::None, |data| Content::Read(data.as_bytes())),
        upgrade: headers.contains_key(header::UPGRADE),
    };
    say(&inspect(&wanted, &routes, &identity, false).to_string())
}

/// As it stands in the key: lower case, without the scheme's own port.
fn plain_authority(scheme: &str, authority: &str) -> String {
    let own = if scheme == "https" { ":443" } else { ":80" };
    authority.strip_suffix(own).unwrap_or(authority).to_ascii_lowercase()
}

/// What the request bears; with a body, also how long it is, as every client would say.
fn headers(explain: &Explain) -> Vec<(HeaderName, HeaderValue)> {
    let length = explain.data.as_ref().map(|data| (header::CONTENT_LENGTH, data.len().into()));
    explain.headers.iter().cloned().chain(length).collect()
}

fn entry_path(method: &Method, target: &Target) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    format!("/entry?method={}&url={}", encode(method.as_str()), encode(&target.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::asked;
    use super::*;

    #[test]
    fn the_schemes_own_port_is_no_part_of_the_authority() {
        for (scheme, authority, plain) in [
            ("http", "H.example:80", "h.example"),
            ("https", "h:443", "h"),
            ("https", "h:80", "h:80"),
            ("http", "h:8080", "h:8080"),
            ("http", "[::1]:80", "[::1]"),
            ("http", "[::80]", "[::80]"),
        ] {
            assert_eq!(plain_authority(scheme, authority), plain, "{authority}");
        }
    }

    #[test]
    fn the_request_is_a_parameter_of_its_own() {
        let target = asked::target("http://h:1/a b?c=d&e=%2f".replace(' ', "+").as_str()).unwrap();
        assert_eq!(
            entry_path(&Method::GET, &target),
            "/entry?method=GET&url=http%3A%2F%2Fh%3A1%2Fa%2Bb%3Fc%3Dd%26e%3D%252f"
        );
    }
}
