//! Why a response was not kept: one name a reason, the same in `Cache-Status`, metrics and logs.
//!
//! `storable` finds those that a head tells; the rest (`TooLarge` and on) the filling of an entry finds as the body
//! comes. Invariant: `ALL` has each of them once, and no two share a label.

/// Why a response was not kept; the same words in `Cache-Status`, metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotStored {
    /// Only answers to GET are kept.
    Method,
    /// A status that is never kept, or not without the upstream's own lifetime.
    Status,
    /// The upstream wants it kept only by who knows its status, and it is none we know.
    NotUnderstood,
    /// An error of the upstream's, and what is kept may be used in its place.
    Failure,
    /// A part of a representation.
    PartialContent,
    /// The upstream forbade it.
    NoStore,
    /// The client forbade it.
    RequestNoStore,
    /// The upstream wants to be asked each time.
    NoCache,
    /// For one user, and the entry is for everyone.
    Private,
    /// It sets a cookie.
    SetCookie,
    /// The request bore `Authorization`, and the upstream did not say that this does not matter.
    Authorization,
    /// The request bore a cookie, or a header in which credentials are sent, that nobody declared, and only the route
    /// would have it stored.
    UndeclaredCredential,
    /// Nobody gave a lifetime.
    NoLifetime,
    /// The upstream gave a lifetime, and it is over.
    Expired,
    /// `Vary: *`, or one that can't be read.
    VaryStar,
    /// `Vary` on a field that is another one when it comes to the upstream, such as `X-Forwarded-For`.
    VaryForwarded,
    /// More than `memory.max_object`.
    TooLarge,
    /// More is being filled than `memory.max_filling`.
    NoRoom,
    /// A body that is not meant to end, such as server-sent events.
    Endless,
    /// Only the end of the connection says where the body ends, so that half of one looks whole.
    CloseDelimited,
    /// The body broke off.
    BrokenOff,
    /// Fields came behind the body.
    Trailers,
    /// It has more tags than an entry may have, or some that can't be read: it could not be invalidated by them.
    Untaggable,
}

impl NotStored {
    /// Whether it was for something in the request, so that the answer to another of the same key may well be kept.
    pub fn is_of_the_request(self) -> bool {
        matches!(self, Self::RequestNoStore | Self::UndeclaredCredential | Self::Authorization | Self::Method)
    }

    /// Every one there is.
    pub const ALL: &'static [Self] = &[
        Self::Method,
        Self::Status,
        Self::NotUnderstood,
        Self::Failure,
        Self::PartialContent,
        Self::NoStore,
        Self::RequestNoStore,
        Self::NoCache,
        Self::Private,
        Self::SetCookie,
        Self::Authorization,
        Self::UndeclaredCredential,
        Self::NoLifetime,
        Self::Expired,
        Self::VaryStar,
        Self::VaryForwarded,
        Self::TooLarge,
        Self::NoRoom,
        Self::Endless,
        Self::CloseDelimited,
        Self::BrokenOff,
        Self::Trailers,
        Self::Untaggable,
    ];

    /// For metrics: `no_store`, …
    pub fn label(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Status => "status",
            Self::NotUnderstood => "not_understood",
            Self::Failure => "failure",
            Self::PartialContent => "partial_content",
            Self::NoStore => "no_store",
            Self::RequestNoStore => "request_no_store",
            Self::NoCache => "no_cache",
            Self::Private => "private",
            Self::SetCookie => "set_cookie",
            Self::Authorization => "authorization",
            Self::UndeclaredCredential => "undeclared_credential",
            Self::NoLifetime => "no_lifetime",
            Self::Expired => "expired",
            Self::VaryStar => "vary_star",
            Self::VaryForwarded => "vary_forwarded",
            Self::TooLarge => "too_large",
            Self::NoRoom => "no_room",
            Self::Endless => "endless",
            Self::CloseDelimited => "close_delimited",
            Self::BrokenOff => "broken_off",
            Self::Trailers => "trailers",
            Self::Untaggable => "untaggable",
        }
    }

    /// For people: `the upstream said no-store`, …
    pub fn reason(self) -> &'static str {
        match self {
            Self::Method => "only answers to GET are stored",
            Self::Status => "the status is not one that is stored",
            Self::Failure => "the upstream failed, and what is kept is better",
            Self::NotUnderstood => "the upstream said must-understand and the status is unknown",
            Self::PartialContent => "the answer is a part",
            Self::NoStore => "the upstream said no-store",
            Self::RequestNoStore => "the client said no-store",
            Self::NoCache => "the upstream said no-cache and gave no validator",
            Self::Private => "the upstream said private",
            Self::SetCookie => "the answer sets a cookie",
            Self::Authorization => "the request bears Authorization and the upstream did not say public",
            Self::UndeclaredCredential => {
                "the request bears a cookie or key that may be a credential: write identity.credentials"
            }
            Self::NoLifetime => "neither upstream nor route gives a lifetime",
            Self::Expired => "the upstream says it is stale already",
            Self::VaryStar => "the upstream said Vary *",
            Self::VaryForwarded => "the upstream varies on a field that proxies rewrite",
            Self::TooLarge => "the body is larger than memory.max_object",
            Self::NoRoom => "too much is being filled at once",
            Self::Endless => "the body is a stream without end",
            Self::CloseDelimited => "only the end of the connection ends the body",
            Self::BrokenOff => "the body broke off",
            Self::Trailers => "the answer has trailers",
            Self::Untaggable => "it has more tags than an entry may have, or some that are not readable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn all_lists_each_reason_once_in_order() {
        // `as` numbers the variants from zero; the last one's number says how many there are.
        let numbers: Vec<usize> = NotStored::ALL.iter().map(|why| *why as usize).collect();
        let expected: Vec<usize> = (0..=NotStored::Untaggable as usize).collect();
        assert_eq!(numbers, expected);
    }

    #[test]
    fn labels_are_unique_and_snake_case_and_reasons_are_unique_and_fit_a_structured_field() {
        let labels: HashSet<_> = NotStored::ALL.iter().map(|why| why.label()).collect();
        let reasons: HashSet<_> = NotStored::ALL.iter().map(|why| why.reason()).collect();
        assert_eq!(labels.len(), NotStored::ALL.len());
        assert_eq!(reasons.len(), NotStored::ALL.len());
        for label in labels {
            assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{label}");
        }
        for reason in reasons {
            let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
            assert!(reason.bytes().all(plain) && reason.contains(' '), "{reason}");
        }
    }
}
