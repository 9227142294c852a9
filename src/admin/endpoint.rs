//! Which request means what: method and path → `Endpoint`, or why there is none.
//!
//! Paths are compared as they are sent, so there is one way to write each.

use http::Method;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint<'p> {
    Live,
    Ready,
    Metrics,
    Stats,
    Config,
    Entry,
    Invalidate,
    /// Of this name.
    Hook(&'p str),
    /// Whatever the path.
    Purge,
}

/// Why a request means nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// The contract has it, this version has not.
    NotAvailable,
    /// The path takes these methods only.
    Method(&'static str),
    /// No such path.
    Path,
}

/// What there is, for people.
pub(super) const KNOWN: &str = "GET /health/live, /health/ready, /metrics, /stats, /config and \
    /entry?method=GET&url=/path, POST /invalidate and /hooks/NAME, and PURGE of any path";

const READ: &str = "GET, HEAD";
const READ_OR_POST: &str = "GET, HEAD, POST";
const POST: &str = "POST";

impl<'p> Endpoint<'p> {
    pub(super) fn find(method: &Method, path: &'p str) -> Result<Self, Unknown> {
        if method.as_str() == "PURGE" {
            return Ok(Self::Purge);
        }
        let endpoint = match path {
            "/health/live" => Self::Live,
            "/health/ready" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/stats" => Self::Stats,
            "/config" => Self::Config,
            "/entry" => Self::Entry,
            "/invalidate" => Self::Invalidate,
            _ => match path.strip_prefix("/hooks/") {
                Some(name) if !name.is_empty() && !name.contains('/') => Self::Hook(name),
                _ => return Err(unbuilt(method, path)),
            },
        };
        match endpoint {
            // The request that is asked about may have a body, and so has the question then.
            Self::Entry | Self::Invalidate | Self::Hook(_) if *method == Method::POST => Ok(endpoint),
            Self::Entry if !reads(method) => Err(Unknown::Method(READ_OR_POST)),
            Self::Invalidate | Self::Hook(_) => Err(Unknown::Method(POST)),
            _ if reads(method) => Ok(endpoint),
            _ => Err(Unknown::Method(READ)),
        }
    }

    /// Probes have no token, and there is little to learn from the answer. A message to a hook brings its own proof.
    pub(super) fn is_public(self) -> bool {
        matches!(self, Self::Live | Self::Ready | Self::Hook(_))
    }
}

fn unbuilt(method: &Method, path: &str) -> Unknown {
    let segments: Vec<_> = path.split('/').skip(1).collect();
    let (fits, allow) = match segments[..] {
        ["" | "events"] => (reads(method), READ),
        ["reload"] => (method == Method::POST, POST),
        ["routes", name, "mode"] if !name.is_empty() => (method == Method::POST, POST),
        _ => return Unknown::Path,
    };
    if fits { Unknown::NotAvailable } else { Unknown::Method(allow) }
}

fn reads(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_means_one_thing() {
        for (request, expected) in [
            ("GET /health/live", Ok(Endpoint::Live)),
            ("HEAD /health/ready", Ok(Endpoint::Ready)),
            ("GET /metrics", Ok(Endpoint::Metrics)),
            ("GET /stats", Ok(Endpoint::Stats)),
            ("GET /config", Ok(Endpoint::Config)),
            ("GET /entry", Ok(Endpoint::Entry)),
            ("POST /entry", Ok(Endpoint::Entry)),
            ("PUT /entry", Err(Unknown::Method("GET, HEAD, POST"))),
            ("POST /stats", Err(Unknown::Method("GET, HEAD"))),
            ("OPTIONS /config", Err(Unknown::Method("GET, HEAD"))),
            ("DELETE /health/live", Err(Unknown::Method("GET, HEAD"))),
            ("GET /", Err(Unknown::NotAvailable)),
            ("GET /events", Err(Unknown::NotAvailable)),
            ("POST /", Err(Unknown::Method("GET, HEAD"))),
            ("POST /invalidate", Ok(Endpoint::Invalidate)),
            ("POST /reload", Err(Unknown::NotAvailable)),
            ("POST /hooks/user-changed", Ok(Endpoint::Hook("user-changed"))),
            ("POST /routes/user/mode", Err(Unknown::NotAvailable)),
            ("GET /invalidate", Err(Unknown::Method("POST"))),
            ("PUT /hooks/user-changed", Err(Unknown::Method("POST"))),
            ("PURGE /any/path", Ok(Endpoint::Purge)),
            ("PURGE /stats", Ok(Endpoint::Purge)),
            ("POST /hooks/", Err(Unknown::Path)),
            ("POST /hooks/a/b", Err(Unknown::Path)),
            ("POST /routes/user", Err(Unknown::Path)),
            ("GET /stats/", Err(Unknown::Path)),
            ("GET //stats", Err(Unknown::Path)),
            ("GET /STATS", Err(Unknown::Path)),
            ("GET /health", Err(Unknown::Path)),
            ("OPTIONS *", Err(Unknown::Path)),
            ("CONNECT ", Err(Unknown::Path)),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(Endpoint::find(&method, path), expected, "{request}");
        }
    }

    #[test]
    fn the_list_for_people_names_every_endpoint() {
        let (read, written) = KNOWN.split_once("POST").unwrap();
        for (method, words) in [(Method::GET, read), (Method::POST, written)] {
            for path in words.split([' ', ',', '?']).filter(|word| word.starts_with('/')) {
                assert!(Endpoint::find(&method, path).is_ok(), "{path}");
            }
        }
        for path in [
            "/health/live",
            "/health/ready",
            "/metrics",
            "/stats",
            "/config",
            "/entry",
            "/invalidate",
            "/hooks/",
            "PURGE",
        ] {
            assert!(KNOWN.contains(path), "{path}");
        }
    }
}
