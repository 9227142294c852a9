//! Who is asking: finds the credentials of a request and makes them parts of its key.
//!
//! Every configured credential that a request bears is a part, each with all its occurrences in order: two requests
//! that differ in any of them never share an entry. The first source in the configured order names the caller. An
//! empty credential is a part too, but names nobody. Values are bytes as they were sent; quotes and escapes stay.
//! Invariant: a credential goes into the key and nowhere else; no `Debug` or `Display` here can show one.

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode;

use crate::clock::Timestamp;
use crate::naming::Piece;
use crate::object::{KeyBuilder, KeySecret, Part, Tag};
use crate::proxy::wanted::Wanted;
use crate::proxy::{jwt, query};
use crate::secret::Secret;

/// Headers that are credentials, or hold some, whatever is configured.
const BY_NATURE: [HeaderName; 3] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE];

/// Headers in which servers commonly look for a credential, or a proxy says who is asking. Not `Authorization`: RFC 9111
/// has rules of its own for that.
const CUSTOMARY_HEADERS: [&str; 24] = [
    "api-key",
    "apikey",
    "cf-access-jwt-assertion",
    "remote-user",
    "x-access-token",
    "x-amzn-oidc-data",
    "x-api-key",
    "x-auth-request-email",
    "x-auth-request-user",
    "x-auth-token",
    "x-forwarded-access-token",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-user",
    "x-goog-iap-jwt-assertion",
    "x-remote-user",
    "x-session-id",
    "x-session-token",
    "x-user",
    "x-user-email",
    "x-user-id",
    "x-user-name",
    "x-username",
];

/// Credentials of one request. What is kept for it is called by each of them: each costs some digests with every fetch, and a
/// place in the entry.
const CREDENTIALS_MAX: usize = 16;

/// More than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyCredentials;

/// Where a credential may stand in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// `header:NAME`
    Header(HeaderName),
    /// `cookie:NAME`
    Cookie(String),
    /// `query:NAME`
    Query(String),
}

/// Who is asking, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The first that a request bears names the caller; all that it bears are part of the key.
    pub credentials: Vec<CredentialSource>,
    /// Whether the operator wrote that list; the built-in one is only a guess.
    pub declared: bool,
    /// Keys the digests.
    pub key_secret: Option<Secret>,
}

/// `Settings`, made ready for requests.
pub struct Identity {
    sources: Vec<Known>,
    /// Names of the query parameters among them.
    params: Vec<String>,
    /// Whether the operator wrote the list.
    declared: bool,
    secret: KeySecret,
}

/// A source and how it is written.
struct Known {
    source: CredentialSource,
    label: String,
}

impl Settings {
    /// Whether what this piece of a template stands for is a credential; while the list is a guess, also what may be one.
    pub fn guards(&self, piece: &Piece) -> bool {
        match piece {
            Piece::Header(name) => {
                let is_it = |source: &CredentialSource| matches!(source, CredentialSource::Header(known) if known == name);
                BY_NATURE.contains(name)
                    || self.credentials.iter().any(is_it)
                    || (!self.declared && is_customary(name.as_str()))
            }
            Piece::Query(name) => self.credentials.iter().any(|source| match source {
                CredentialSource::Query(known) => {
                    query::may_be_one_of(name.as_bytes(), std::slice::from_ref(known))
                }
                CredentialSource::Header(_) | CredentialSource::Cookie(_) => false,
            }),
            Piece::Text(_) | Piece::Capture(_) | Piece::Identity | Piece::Body(_) => false,
        }
    }
}

impl Identity {
    /// `random`: drawn once a process; keys the digests where no secret is configured.
    pub fn new(settings: &Settings, random: &[u8; 32]) -> Self {
        let known = |source: &CredentialSource| Known { source: source.clone(), label: source.to_string() };
        let param = |source: &CredentialSource| match source {
            CredentialSource::Query(name) => Some(name.clone()),
            CredentialSource::Header(_) | CredentialSource::Cookie(_) => None,
        };
        let configured = settings.key_secret.as_ref().map(|secret| secret.expose().as_bytes());
        Self {
            sources: settings.credentials.iter().map(known).collect(),
            params: settings.credentials.iter().filter_map(param).collect(),
            declared: settings.declared,
            secret: KeySecret::new(configured, random),
        }
    }

    /// What keys the digests.
    pub fn secret(&self) -> &KeySecret {
        &self.secret
    }

    /// Whether the operator wrote the list of credentials; the built-in one is only a guess.
    pub fn is_declared(&self) -> bool {
        self.declared
    }

    /// The query parameters that are credentials.
    pub fn params(&self) -> &[String] {
        &self.params
    }

    /// Adds every credential of the request; returns the source of the first that is not empty: who is asking.
    pub fn feed(
        &self,
        wanted: &Wanted<'_>,
        into: &mut KeyBuilder,
    ) -> Result<Option<&CredentialSource>, TooManyCredentials> {
        let mut caller = None;
        let mut count = 0_usize;
        for known in &self.sources {
            let mut found = false;
            each(&known.source, wanted, |value| {
                if !found {
                    into.part(Part::CredentialSource, known.label.as_bytes());
                    found = true;
                }
                into.part(Part::Credential, value);
                count += 1;
                if !value.is_empty() && caller.is_none() {
                    caller = Some(&known.source);
                }
            });
        }
        if count > CREDENTIALS_MAX { Err(TooManyCredentials) } else { Ok(caller) }
    }

    /// What stands for who is asking: nobody can get from it to the credential.
    pub fn id(&self, wanted: &Wanted<'_>) -> Option<String> {
        let mut first = None;
        for known in &self.sources {
            each(&known.source, wanted, |value| {
                if first.is_none() && !value.is_empty() {
                    let mut parts = KeyBuilder::new();
                    parts.part(Part::CredentialSource, known.label.as_bytes());
                    parts.secret_part(Part::Identity, value);
                    first = Some(parts.finish(&self.secret));
                }
            });
        }
        let digest = first.and_then(|key| key.bytes().first_chunk().map(|bytes| u64::from_be_bytes(*bytes)));
        digest.map(|digest| format!("{digest:016x}"))
    }

    /// How what is kept for the credentials of this request is called.
    pub(super) fn bearer_tags(&self, wanted: &Wanted<'_>, into: &mut Vec<Tag>) {
        for known in &self.sources {
            each(&known.source, wanted, |value| into.extend(self.tags_of(value)));
        }
    }

    /// How what is kept for a credential is called, wherever it stood and however it was written there: by all that it can be
    /// read as.
    pub(super) fn tags_of(&self, credential: &[u8]) -> Vec<Tag> {
        let tag = |bytes: &Vec<u8>| {
            let mut parts = KeyBuilder::new();
            parts.secret_part(Part::Bearer, bytes);
            Tag::parts("bearer", [&parts.finish(&self.secret).bytes()[..]])
        };
        forms(credential).iter().map(tag).collect()
    }

    /// When the first of the tokens of this request ends.
    pub(super) fn expires(&self, wanted: &Wanted<'_>) -> Option<Timestamp> {
        let mut first: Option<Timestamp> = None;
        for known in &self.sources {
            each(&known.source, wanted, |value| {
                if let Some(end) = jwt::expires(value) {
                    first = Some(first.map_or(end, |first| first.min(end)));
                }
            });
        }
        first
    }

    /// Whether the value of this header is, or holds, a credential.
    pub fn guards_header(&self, name: &HeaderName) -> bool {
        BY_NATURE.contains(name) || self.headers().any(|header| header == name) || is_customary(name.as_str())
    }

    /// Whether this cookie is a credential.
    pub fn guards_cookie(&self, name: &str) -> bool {
        self.sources
            .iter()
            .any(|known| matches!(&known.source, CredentialSource::Cookie(cookie) if cookie == name))
    }

    /// The headers among the sources.
    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.sources.iter().filter_map(|known| match &known.source {
            CredentialSource::Header(name) => Some(name),
            CredentialSource::Cookie(_) | CredentialSource::Query(_) => None,
        })
    }

    /// All credentials of the request, to blank them out of what is shown; while the list is a guess, also what may be one.
    pub(super) fn credentials(&self, wanted: &Wanted<'_>) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for known in &self.sources {
            each(&known.source, wanted, |value| all.push(value.to_vec()));
        }
        if !self.declared {
            let customary = wanted.headers.iter().filter(|(name, _)| is_customary(name.as_str()));
            all.extend(customary.map(|(_, value)| value.as_bytes().to_vec()));
            let lines = wanted.headers.get_all(COOKIE).into_iter();
            let cookies = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
            all.extend(cookies.filter_map(|pair| {
                let equals = pair.iter().position(|byte| *byte == b'=')?;
                Some(pair[equals + 1..].trim_ascii().to_vec())
            }));
        }
        all
    }
}

/// Whether servers commonly look for a credential in this header; `_` is taken for `-`.
pub(super) fn is_customary(name: &str) -> bool {
    let folded = || name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
    // Asked for each header of a request: most have another beginning.
    matches!(name.as_bytes().first(), Some(b'a' | b'c' | b'r' | b'x'))
        && CUSTOMARY_HEADERS.iter().any(|known| known.len() == name.len() && known.bytes().eq(folded()))
}

/// One way to read what stands somewhere.
type Reading = fn(&[u8]) -> Vec<u8>;

/// All that a credential can be read as: as it stands there, without quotes, without what encodes it in a cookie or a query, and
/// without the word before it, such as `Bearer`. Who names one to be forgotten has it as it was issued, or as it was seen under
/// way: the forms of both are held against each other. What two credentials have in common by this costs a fetch.
fn forms(credential: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![credential.trim_ascii().to_vec()];
    let readings: [Reading; 5] = [
        without_quotes,
        |form| percent_decode(form).collect(),
        |form| query::decode_bytes(form).into_owned(),
        // Quotes may be encoded with the rest.
        without_quotes,
        |form| jwt::without_scheme(form).to_vec(),
    ];
    for reading in readings {
        for at in 0..forms.len() {
            let read = forms.get(at).map(|form| reading(form).trim_ascii().to_vec()).unwrap_or_default();
            if !forms.contains(&read) {
                forms.push(read);
            }
        }
    }
    forms.retain(|form| !form.is_empty());
    forms
}

fn without_quotes(text: &[u8]) -> Vec<u8> {
    let within = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
    within.unwrap_or(text).to_vec()
}

/// Every value that stands at this source, in order.
fn each(source: &CredentialSource, wanted: &Wanted<'_>, mut take: impl FnMut(&[u8])) {
    match source {
        // The two that most configurations have are not searched for where they are not.
        CredentialSource::Header(name) if *name == AUTHORIZATION && !wanted.kinds.has_authorization() => {}
        CredentialSource::Cookie(_) if !wanted.kinds.has_cookie() => {}
        CredentialSource::Header(name) => {
            for value in wanted.headers.get_all(name) {
                take(value.as_bytes());
            }
        }
        CredentialSource::Cookie(name) => each_cookie(wanted.headers, name, take),
        CredentialSource::Query(name) => {
            for value in wanted.query.into_iter().flat_map(|query| query::values(query, name)) {
                take(value.as_bytes());
            }
        }
    }
}

/// Every value of this cookie, in all `Cookie` lines. What stands behind a comma is looked at too: some servers take
/// it for a cookie of its own, and a credential that they see must be one that we see.
pub(super) fn each_cookie(headers: &HeaderMap, name: &str, mut take: impl FnMut(&[u8])) {
    for line in headers.get_all(COOKIE) {
        for pair in line.as_bytes().split(|byte| *byte == b';') {
            if let Some(value) = value_of(pair, name) {
                take(value);
            }
            for hidden in pair.split(|byte| *byte == b',').skip(1) {
                if hidden.contains(&b'=')
                    && let Some(value) = value_of(hidden, name)
                {
                    take(value);
                }
            }
        }
    }
}

/// The value of `name=value`; of a mere `name`, an empty one.
fn value_of<'c>(pair: &'c [u8], name: &str) -> Option<&'c [u8]> {
    let pair = pair.trim_ascii();
    let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    let (given, value) = pair.split_at(equals);
    (given.trim_ascii_end() == name.as_bytes()).then(|| value.get(1..).unwrap_or_default().trim_ascii())
}

/// Says where credentials are looked for.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let labels: Vec<&str> = self.sources.iter().map(|known| known.label.as_str()).collect();
        f.debug_struct("Identity").field("credentials", &labels).finish_non_exhaustive()
    }
}

impl std::str::FromStr for CredentialSource {
    /// What is wrong with it, for a person.
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) =
            text.split_once(':').ok_or("expected \"header:NAME\", \"cookie:NAME\" or \"query:NAME\"")?;
        if name.is_empty() {
            return Err(format!("expected a name after \"{kind}:\""));
        }
        match kind {
            "header" => {
                name.parse().map(Self::Header).map_err(|_| format!("\"{name}\" is not a header name"))
            }
            "cookie" => Ok(Self::Cookie(name.to_owned())),
            "query" => Ok(Self::Query(name.to_owned())),
            _ => Err(format!("\"{kind}\" is neither \"header\", \"cookie\" nor \"query\"")),
        }
    }
}

/// As it is written in the configuration; says nothing of the credential.
impl std::fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method};

    use super::*;
    use crate::proxy::kinds::Kinds;
    use crate::proxy::wanted::Content;

    fn identity(sources: &[&str]) -> Identity {
        let settings = Settings {
            credentials: sources.iter().map(|text| text.parse().unwrap()).collect(),
            declared: true,
            key_secret: None,
        };
        Identity::new(&settings, &[3; 32])
    }

    /// Who asks, and the parts, for these headers and this query.
    fn fed(
        sources: &[&str],
        headers: &[(&str, &[u8])],
        query: Option<&str>,
    ) -> (Option<String>, Vec<(Part, String)>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value).unwrap());
        }
        let wanted = Wanted {
            method: &Method::GET,
            scheme: "http",
            authority: "a",
            forwarded_host: None,
            trusted: false,
            path: "/",
            query,
            headers: &map,
            kinds: Kinds::read(&map),
            body: Content::None,
            upgrade: false,
        };
        let mut builder = KeyBuilder::new();
        let identity = identity(sources);
        let caller = identity.feed(&wanted, &mut builder).unwrap().map(ToString::to_string);
        let parts = builder.parts().map(|(part, bytes)| (part, bytes.escape_ascii().to_string())).collect();
        (caller, parts)
    }

    /// The credentials alone.
    fn values(sources: &[&str], headers: &[(&str, &[u8])], query: Option<&str>) -> Vec<String> {
        let (_, parts) = fed(sources, headers, query);
        parts.into_iter().filter(|(part, _)| *part == Part::Credential).map(|(_, text)| text).collect()
    }

    const DEFAULTS: &[&str] = &["header:authorization", "cookie:session", "query:token"];

    #[test]
    fn the_first_source_in_order_names_the_caller_and_all_are_parts() {
        let (caller, parts) =
            fed(DEFAULTS, &[("cookie", b"session=c"), ("authorization", b"Bearer h")], Some("token=q&a=1"));
        assert_eq!(caller.as_deref(), Some("header:authorization"));
        let own = |part, text: &str| (part, text.to_owned());
        assert_eq!(
            parts,
            [
                own(Part::CredentialSource, "header:authorization"),
                own(Part::Credential, "Bearer h"),
                own(Part::CredentialSource, "cookie:session"),
                own(Part::Credential, "c"),
                own(Part::CredentialSource, "query:token"),
                own(Part::Credential, "q"),
            ]
        );
        assert_eq!(fed(DEFAULTS, &[], Some("token=q")).0.as_deref(), Some("query:token"));
        assert_eq!(fed(DEFAULTS, &[("cookie", b"other=1")], Some("a=1")), (None, vec![]));
    }

    #[test]
    fn every_occurrence_counts_in_order() {
        assert_eq!(
            values(
                DEFAULTS,
                &[
                    ("authorization", b"a"),
                    ("authorization", b"b"),
                    ("cookie", b"session=c; x=1; session=d"),
                    ("cookie", b"session=e")
                ],
                Some("token=f&token=g")
            ),
            ["a", "b", "c", "d", "e", "f", "g"]
        );
    }

    #[test]
    fn cookies_are_read_as_bytes() {
        for (line, expected) in [
            (&b"session=a"[..], &["a"][..]),
            (b"x=1;session=a", &["a"]),
            (b"x=1;\t session = a ;y=2", &["a"]),
            (b"session=\"a b\"", &["\\\"a b\\\""]),
            (b"session=a=b", &["a=b"]),
            (b"session=", &[""]),
            (b"session", &[""]),
            (b"session=\xff\xfe", &["\\xff\\xfe"]),
            (b"\xff=1; session=a", &["a"]),
            (b"Session=a; SESSION=b", &[]),
            (b"xsession=a; session2=b; y=session", &[]),
            (b"session=a,b", &["a,b"]),
            (b"x=1, session=a", &["a"]),
            (b"x=1,session", &[]),
            (b";;; ; =x", &[]),
            (b"session=a%3D", &["a%3D"]),
        ] {
            assert_eq!(values(DEFAULTS, &[("cookie", line)], None), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn names_in_the_query_are_compared_decoded_and_values_kept_raw() {
        assert_eq!(values(DEFAULTS, &[], Some("t%6Fken=%61&Token=b&token=c")), ["%61", "c"]);
        assert_eq!(values(&["query:api key"], &[], Some("api+key=1&api%20key=2")), ["1", "2"]);
    }

    #[test]
    fn an_empty_credential_is_a_part_but_names_nobody() {
        let (caller, parts) = fed(DEFAULTS, &[("cookie", b"session=")], None);
        assert_eq!(caller, None);
        assert_eq!(parts.len(), 2);
        let (caller, _) = fed(DEFAULTS, &[("authorization", b"")], Some("token=q"));
        assert_eq!(caller.as_deref(), Some("query:token"));
    }

    #[test]
    fn a_credential_is_found_however_it_was_written_and_is_named() {
        let identity = identity(DEFAULTS);
        for (sent, named) in [
            ("abc%2Bdef%3D%3D", "abc+def=="),
            ("abc%2bdef%3d%3D", "abc%2Bdef%3D%3D"),
            ("abc+def==", "abc+def=="),
            ("abc+def", "abc def"),
            ("abc%20def", "abc+def"),
            ("\"s3cr3ts\"", "s3cr3ts"),
            ("s3cr3ts", "\"s3cr3ts\""),
            ("%22s3cr3ts%22", "s3cr3ts"),
            ("\"Bearer%20s3cr3ts\"", "s3cr3ts"),
            ("Bearer s3cr3ts", "s3cr3ts"),
            ("s3cr3ts", "bearer s3cr3ts"),
            (" Bearer  s3cr3ts ", "Bearer  s3cr3ts"),
        ] {
            let borne = identity.tags_of(sent.as_bytes());
            let found = identity.tags_of(named.as_bytes()).iter().any(|tag| borne.contains(tag));
            assert!(found, "{sent} {named}");
        }
        let other = identity.tags_of(b"another");
        assert!(!identity.tags_of(b"s3cr3ts").iter().any(|tag| other.contains(tag)));
        assert_eq!(other.len(), 1, "most can be read in one way only");
        assert!(
            [&b""[..], b" ", b"\"\""]
                .iter()
                .all(|empty| { identity.tags_of(empty).iter().all(|tag| !other.contains(tag)) })
        );
    }

    #[test]
    fn nothing_shows_a_secret() {
        let settings = Settings {
            credentials: vec!["header:x-api-key".parse().unwrap()],
            declared: true,
            key_secret: Some(Secret::new("hunter2".to_owned())),
        };
        let identity = Identity::new(&settings, &[7; 32]);
        assert_eq!(format!("{identity:?}"), "Identity { credentials: [\"header:x-api-key\"], .. }");
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert!(identity.secret().is_configured());
    }

    #[test]
    fn it_knows_what_holds_a_credential() {
        let identity = identity(&["header:x-api-key", "cookie:sid"]);
        for (name, guarded) in
            [("authorization", true), ("cookie", true), ("x-api-key", true), ("accept", false)]
        {
            assert_eq!(identity.guards_header(&name.parse().unwrap()), guarded, "{name}");
        }
        assert!(identity.guards_cookie("sid"));
        assert!(!identity.guards_cookie("lang"));
    }

    #[test]
    fn headers_that_commonly_bear_a_credential_are_guarded_though_no_list_names_them() {
        for (name, customary) in [
            ("x-api-key", true),
            ("x_api_key", true),
            ("api-key", true),
            ("apikey", true),
            ("x-auth-token", true),
            ("x-access-token", true),
            ("x-session-token", true),
            ("x-session-id", true),
            ("x-auth-request-user", true),
            ("x-auth-request-email", true),
            ("x-forwarded-user", true),
            ("remote-user", true),
            ("remote_user", true),
            ("x-remote-user", true),
            ("x-user", true),
            ("x-user-id", true),
            ("cf-access-jwt-assertion", true),
            ("x-amzn-oidc-data", true),
            ("x-goog-iap-jwt-assertion", true),
            ("x-csrf-token", false),
            ("accept", false),
            ("x-request-id", false),
            ("x-forwarded-for", false),
        ] {
            assert_eq!(is_customary(name), customary, "{name}");
            assert_eq!(identity(&[]).guards_header(&name.parse().unwrap()), customary, "{name}");
        }
    }

    #[test]
    fn sources_are_written_as_they_are_read() {
        for text in ["header:authorization", "cookie:Session", "query:Token"] {
            assert_eq!(text.parse::<CredentialSource>().unwrap().to_string(), text);
        }
        for (text, expected) in [
            ("authorization", "expected \"header:NAME\""),
            ("header:", "a name after"),
            ("header:a b", "not a header name"),
            ("body:x", "neither"),
        ] {
            assert!(text.parse::<CredentialSource>().unwrap_err().contains(expected), "{text}");
        }
    }
}
