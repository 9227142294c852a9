//! `Kinds`: what kinds of fields a request has, by one walk over their names.
//!
//! Most requests have none but those that say what a client is and what it takes. One look at this spares them the search for
//! each of the fields that direct caches, set conditions, belong to the connection, or may hide a credential. Invariant: a name
//! that is not known to mean nothing here counts as one that may mean anything.

use http::HeaderMap;

/// Kinds of fields, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

const OF_THE_CONNECTION: u8 = 1;
const FOR_CACHES: u8 = 2;
const CONDITION: u8 = 4;
const COOKIE: u8 = 8;
const AUTHORIZATION: u8 = 16;
const UNKNOWN: u8 = 32;

impl Kinds {
    /// Of these fields.
    pub fn read(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |kinds, name| kinds | kind(name.as_str())))
    }

    /// One that belongs to the connection and not to the message.
    pub fn concerns_connection(self) -> bool {
        self.0 & OF_THE_CONNECTION != 0
    }

    /// `Cache-Control` or `Pragma`.
    pub fn directs_caches(self) -> bool {
        self.0 & FOR_CACHES != 0
    }

    /// A condition, or a range.
    pub fn has_condition(self) -> bool {
        self.0 & CONDITION != 0
    }

    /// `Cookie`.
    pub fn has_cookie(self) -> bool {
        self.0 & COOKIE != 0
    }

    /// `Authorization`.
    pub fn has_authorization(self) -> bool {
        self.0 & AUTHORIZATION != 0
    }

    /// One whose name has to be looked at.
    pub fn has_unknown(self) -> bool {
        self.0 & UNKNOWN != 0
    }
}

fn kind(name: &str) -> u8 {
    match name {
        "accept"
        | "accept-charset"
        | "accept-encoding"
        | "accept-language"
        | "content-length"
        | "content-type"
        | "dnt"
        | "host"
        | "origin"
        | "referer"
        | "sec-ch-ua"
        | "sec-ch-ua-mobile"
        | "sec-ch-ua-platform"
        | "sec-fetch-dest"
        | "sec-fetch-mode"
        | "sec-fetch-site"
        | "sec-fetch-user"
        | "traceparent"
        | "upgrade-insecure-requests"
        | "user-agent" => 0,
        "authorization" => AUTHORIZATION,
        "cookie" => COOKIE,
        "cache-control" | "pragma" => FOR_CACHES,
        "if-match" | "if-modified-since" | "if-none-match" | "if-range" | "if-unmodified-since" | "range" => {
            CONDITION
        }
        "connection"
        | "http2-settings"
        | "keep-alive"
        | "proxy-authenticate"
        | "proxy-authentication-info"
        | "proxy-authorization"
        | "proxy-connection"
        | "te"
        | "transfer-encoding"
        | "upgrade" => OF_THE_CONNECTION,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::identity;
    use crate::semantics::example::headers;
    use crate::semantics::fields::{self, strip_hop_by_hop};

    #[test]
    fn each_kind_is_told() {
        let told = |name: &str| Kinds::read(&headers(&[("host", "a"), (name, "1"), ("accept", "*/*")]));
        assert_eq!(told("user-agent"), Kinds::default());
        assert!(told("te").concerns_connection());
        assert!(told("pragma").directs_caches());
        assert!(told("if-range").has_condition());
        assert!(told("cookie").has_cookie() && !told("cookie").has_authorization());
        assert!(told("authorization").has_authorization() && !told("authorization").has_unknown());
        assert!(told("x-api-key").has_unknown());
        assert!(told("accept_language").has_unknown(), "servers may take it for another");
    }

    #[test]
    fn what_means_nothing_here_is_of_no_connection_and_no_customary_credential() {
        for name in [
            "accept",
            "accept-charset",
            "accept-encoding",
            "accept-language",
            "content-length",
            "content-type",
            "dnt",
            "host",
            "origin",
            "referer",
            "traceparent",
            "user-agent",
            "sec-fetch-mode",
            "upgrade-insecure-requests",
        ] {
            let mut fields = headers(&[(name, "1")]);
            assert_eq!(Kinds::read(&fields), Kinds::default(), "{name}");
            strip_hop_by_hop(&mut fields);
            assert!(fields.contains_key(name) && !identity::is_customary(name), "{name}");
        }
    }

    #[test]
    fn all_that_is_stripped_concerns_the_connection() {
        for name in fields::OF_THE_CONNECTION {
            let mut fields = headers(&[(name, "1")]);
            assert!(Kinds::read(&fields).concerns_connection(), "{name}");
            strip_hop_by_hop(&mut fields);
            assert!(fields.is_empty(), "{name}");
        }
    }
}
