//! `Veil`: what of a request may be shown to people.
//!
//! The parts that hold a credential by their kind are hidden, and so is every other value in which one of this request's
//! credentials is found, plain or decoded.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use percent_encoding::percent_decode;
use serde::Serialize;

use crate::object::{KeyBuilder, Part};
use crate::proxy::identity::Identity;
use crate::proxy::query;
use crate::proxy::wanted::Wanted;

/// What stands in place of a credential.
const HIDDEN: &str = "(hidden)";
/// Below this a credential is not looked for inside of other text: `x` is no secret, and in half of all words.
const SHORT_BYTES: usize = 6;
/// How much of a body is shown: enough to know it by.
const BODY_SHOWN_BYTES: usize = 200;

/// One part of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyPart {
    /// Such as `path` or `header:accept-language`.
    pub part: String,
    /// As sent, or `(hidden)`, or `(absent)`.
    pub value: String,
}

/// The credentials of one request, in every form in which they must not be shown.
pub(super) struct Veil<'i> {
    identity: &'i Identity,
    forms: Vec<Vec<u8>>,
}

impl<'i> Veil<'i> {
    pub(super) fn new(wanted: &Wanted<'_>, identity: &'i Identity) -> Self {
        let mut forms = Vec::new();
        let configured = identity.credentials(wanted);
        let by_nature = [AUTHORIZATION, PROXY_AUTHORIZATION]
            .into_iter()
            .flat_map(|name| wanted.headers.get_all(name))
            .map(|value| value.as_bytes().to_vec());
        for credential in configured.into_iter().chain(by_nature) {
            // `Bearer abc` is a secret for its second word; quotes around a cookie are not part of it.
            let trimmed = credential.trim_ascii();
            let bare =
                trimmed.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(trimmed);
            if let Some(space) = bare.iter().rposition(|byte| *byte == b' ') {
                forms.push(bare[space + 1..].to_vec());
            }
            forms.push(decoded(bare).into_owned());
            forms.push(bare.to_vec());
            forms.push(credential);
        }
        forms.retain(|form| !form.is_empty());
        // In a body it may stand as JSON writes it.
        let texts = forms.iter().filter_map(|form| std::str::from_utf8(form).ok());
        let escaped: Vec<Vec<u8>> = texts
            .filter_map(|text| serde_json::to_string(text).ok())
            .map(|json| json.trim_matches('"').as_bytes().to_vec())
            .filter(|json| !json.is_empty() && !forms.contains(json))
            .collect();
        forms.extend(escaped);
        Self { identity, forms }
    }

    /// Whether a credential is in it; one that is very short would be in much by chance, so it must be all of it.
    fn covers(&self, bytes: &[u8]) -> bool {
        let within = |text: &[u8]| {
            self.forms.iter().any(|form| {
                if form.len() < SHORT_BYTES {
                    text == form.as_slice()
                } else {
                    text.windows(form.len()).any(|window| window == form.as_slice())
                }
            })
        };
        within(bytes) || within(&decoded(bytes))
    }

    /// For a terminal or JSON: as text, without what could steer a terminal.
    pub(super) fn shown(&self, bytes: &[u8]) -> String {
        if self.covers(bytes) {
            return HIDDEN.to_owned();
        }
        String::from_utf8_lossy(bytes)
            .chars()
            .map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter })
            .collect()
    }

    pub(super) fn request(&self, wanted: &Wanted<'_>) -> String {
        let port = if wanted.authority.ends_with(':') { "*" } else { "" }; // An instance's own address.
        let mut text = format!(
            "{} {}://{}{port}{}",
            wanted.method,
            wanted.scheme,
            self.shown(wanted.authority.as_bytes()),
            self.shown(wanted.path.as_bytes())
        );
        if let Some(query) = wanted.query {
            text.push('?');
            text.push_str(&self.query(query));
        }
        text
    }

    /// Keeps names and separators; blanks the values of what is, or to some server could be, a credential.
    fn query(&self, query: &str) -> String {
        let mut text = String::with_capacity(query.len());
        for piece in query.split_inclusive(['&', ';']) {
            let (parameter, separator) = match piece.strip_suffix(['&', ';']) {
                Some(parameter) => (parameter, &piece[parameter.len()..]),
                None => (piece, ""),
            };
            text.push_str(&self.parameter(parameter));
            text.push_str(separator);
        }
        // A credential that holds a separator itself has survived the pieces.
        if self.covers(text.as_bytes()) { HIDDEN.to_owned() } else { text }
    }

    fn parameter(&self, parameter: &str) -> String {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let decoded = query::decode(name);
        let is_credential = query::may_be_one_of(decoded.trim_ascii(), self.identity.params());
        if is_credential || (self.covers(value.as_bytes()) && !self.covers(name.as_bytes())) {
            return if value.is_empty() { name.to_owned() } else { format!("{name}={HIDDEN}") };
        }
        self.shown(parameter.as_bytes())
    }

    /// How it begins, and how long it is. A credential is looked for in all of it, before it is cut.
    fn body(&self, bytes: &[u8]) -> String {
        let all = self.shown(bytes);
        let cut = (0..=BODY_SHOWN_BYTES).rev().find(|at| all.is_char_boundary(*at)).unwrap_or(0);
        match all.get(..cut).filter(|_| all.len() > BODY_SHOWN_BYTES) {
            Some(beginning) => format!("{beginning}… ({} bytes)", bytes.len()),
            None if all.is_empty() => "(none)".to_owned(),
            None => format!("{all} ({} bytes)", bytes.len()),
        }
    }

    /// The parts for people: names and values that belong together in one line.
    pub(super) fn parts(&self, builder: &KeyBuilder) -> Vec<KeyPart> {
        let mut parts: Vec<KeyPart> = Vec::new();
        let mut name = Cow::Borrowed("");
        let mut guarded = false;
        let mut iter = builder.parts().peekable();
        while let Some((part, bytes)) = iter.next() {
            let label = match part {
                Part::Method => "method",
                Part::Scheme => "scheme",
                Part::Authority => "authority",
                Part::ForwardedHost => "forwarded host",
                Part::Path => "path",
                Part::Query => "query",
                Part::HeaderName | Part::CookieName | Part::CredentialSource | Part::VaryName => {
                    let text = String::from_utf8_lossy(bytes);
                    guarded = self.guards(part, &text);
                    name = Cow::Owned(match part {
                        Part::CookieName => format!("cookie:{text}"),
                        Part::CredentialSource => format!("credential {text}"),
                        _ => format!("header:{text}"),
                    });
                    if !iter.peek().is_some_and(|(next, _)| is_value(*next)) {
                        parts.push(KeyPart { part: name.to_string(), value: "(absent)".to_owned() });
                    }
                    continue;
                }
                Part::HeaderValue | Part::CookieValue | Part::Credential | Part::VaryValue => name.as_ref(),
                Part::Resource => "resource",
                Part::Body => "body",
                Part::BodyType => "body's content-type",
                Part::BodyEncoding => "body's content-encoding",
                Part::BodyLanguage => "body's content-language",
                // They are in no key.
                Part::Bearer | Part::Identity => "credential",
            };
            let value = match part {
                Part::Query => self.parameter(&String::from_utf8_lossy(bytes)),
                Part::Body => self.body(bytes),
                Part::Bearer | Part::Identity => HIDDEN.to_owned(),
                _ if guarded && is_value(part) => HIDDEN.to_owned(),
                Part::Method | Part::Scheme => String::from_utf8_lossy(bytes).into_owned(),
                _ => self.shown(bytes),
            };
            parts.push(KeyPart { part: label.to_owned(), value });
        }
        parts
    }

    fn guards(&self, part: Part, name: &str) -> bool {
        match part {
            Part::CookieName => self.identity.guards_cookie(name),
            Part::CredentialSource => true,
            _ => name.parse().is_ok_and(|name| self.identity.guards_header(&name)),
        }
    }
}

/// What follows a name.
fn is_value(part: Part) -> bool {
    matches!(part, Part::HeaderValue | Part::CookieValue | Part::Credential | Part::VaryValue)
}

fn decoded(bytes: &[u8]) -> Cow<'_, [u8]> {
    percent_decode(bytes).into()
}
