//! The query as part of the key: the parameters that count, sorted by name, each as it was sent.
//!
//! A parameter is what stands between two `&`; its name is what stands before the first `=`, decoded. Sorting is
//! stable, so repeated parameters keep their order. Values are never decoded: two spellings of one value are two
//! keys, which costs a fetch and can't mix anything up.
//!
//! What a route leaves out of the key must not reach the upstream as something that counts ("parameter cloaking").
//! So the list of what counts is read as widely as any server may read a name, the list of what is ignored to the
//! letter, and a query on which servers disagree is *ambiguous* and passed where anything is left out.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};
use percent_encoding::percent_decode;

use crate::object::{KeyBuilder, Part};
use crate::proxy::route::KeyParts;

/// Parameters of a query that is looked at; one with more is passed.
const PARAMETERS_MAX: usize = 256;

/// Why a query could mean several things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryAmbiguity {
    /// More than are looked at.
    TooManyParameters,
    /// A raw `;`, which some servers take for `&`, where that would make a difference.
    Semicolon,
    /// A name with a `%` that encodes nothing or a control character, where names decide what counts.
    BadName,
}

impl QueryAmbiguity {
    /// In words, for `Cache-Status` and people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooManyParameters => "the query has too many parameters",
            Self::Semicolon => "the query has a semicolon",
            Self::BadName => "the query has a parameter whose name is not well encoded",
        }
    }
}

/// What a parameter is to the key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Counts,
    /// A credential that the route names as part of the key beside, or what only some servers take for a credential.
    CountsSecretly,
    LeftOut,
}

/// Adds the parameters that count. Those named in `credential_params` are left out, unless `keys` lists them by
/// name: credentials are parts of their own. What only some servers take for one of them (`Token` for `token`) is no such
/// part, so it counts, whatever `keys` says.
pub fn feed(
    query: Option<&str>,
    keys: &KeyParts,
    credential_params: &[String],
    into: &mut KeyBuilder,
) -> Result<(), QueryAmbiguity> {
    let Some(query) = query else {
        return Ok(());
    };
    let count = memchr_iter(b'&', query.as_bytes()).count() + 1;
    if count > PARAMETERS_MAX {
        return Err(QueryAmbiguity::TooManyParameters);
    }
    let filters = keys.query.is_some() || !keys.ignore_query.is_empty();
    if memchr(b';', query.as_bytes()).is_some() && (filters || has_parameter(query, credential_params)) {
        return Err(QueryAmbiguity::Semicolon);
    }
    let read = |parameter| {
        let raw = raw_name(parameter);
        let name = decode(raw);
        if filters && !is_clear(raw, &name) {
            return Err(QueryAmbiguity::BadName);
        }
        let role = role(&name, keys, credential_params);
        Ok((name, parameter, role))
    };
    // Many have one alone, and nothing to sort.
    if count == 1 {
        let (_, parameter, role) = read(query)?;
        add(parameter, role, into);
        return Ok(());
    }
    let mut found = parameters(query).map(read).collect::<Result<Vec<_>, _>>()?;
    found.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    for (_, parameter, role) in found {
        add(parameter, role, into);
    }
    Ok(())
}

fn add(parameter: &str, role: Role, into: &mut KeyBuilder) {
    match role {
        Role::Counts => into.part(Part::Query, parameter.as_bytes()),
        Role::CountsSecretly => into.secret_part(Part::Query, parameter.as_bytes()),
        Role::LeftOut => {}
    }
}

/// What stands between two `&`.
fn parameters(query: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(query);
    std::iter::from_fn(move || {
        let parameter = rest?;
        let Some(end) = memchr(b'&', parameter.as_bytes()) else {
            return rest.take();
        };
        rest = Some(&parameter[end + 1..]);
        Some(&parameter[..end])
    })
}

/// The whole query as one part, where servers disagree on what it says. A secret one, if some of them may find a credential in it.
pub(super) fn feed_unread(query: Option<&str>, credential_params: &[String], into: &mut KeyBuilder) {
    let Some(query) = query else {
        return;
    };
    let mut parameters = query.split(['&', ';']);
    if parameters.any(|parameter| may_be_one_of(&decode(raw_name(parameter)), credential_params)) {
        into.secret_part(Part::Query, query.as_bytes());
    } else {
        into.part(Part::Query, query.as_bytes());
    }
}

/// The raw values of a parameter, in order; an absent `=` is an empty value.
pub(super) fn values<'q>(query: &'q str, name: &str) -> impl Iterator<Item = &'q str> {
    parameters(query).filter_map(move |parameter| {
        let raw = raw_name(parameter);
        // Decoding makes no name longer.
        let is_it = raw.len() >= name.len() && *decode(raw) == *name.as_bytes();
        is_it.then(|| parameter.get(raw.len() + 1..).unwrap_or_default())
    })
}

/// Whether one of these is a parameter, should `;` separate them too.
fn has_parameter(query: &str, names: &[String]) -> bool {
    query.split(['&', ';']).any(|parameter| is_one_of(&decode(raw_name(parameter)), names))
}

fn is_one_of(name: &[u8], names: &[String]) -> bool {
    names.iter().any(|known| known.as_bytes() == name)
}

/// Whether some server may take this name for one of these.
pub(super) fn may_be_one_of(name: &[u8], names: &[String]) -> bool {
    names.iter().any(|known| may_be(known, name))
}

fn raw_name(parameter: &str) -> &str {
    memchr(b'=', parameter.as_bytes()).map_or(parameter, |end| &parameter[..end])
}

/// As a form has it: `+` is a space, `%xx` a byte.
pub(super) fn decode(raw: &str) -> Cow<'_, [u8]> {
    decode_bytes(raw.as_bytes())
}

/// The same of what may be no text.
pub(super) fn decode_bytes(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(raw);
    }
    let spaced: Vec<u8> = raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

/// Whether all servers read this name alike: no `%` that encodes nothing (`%u0061`), nothing that ends a string.
fn is_clear(raw: &str, decoded: &[u8]) -> bool {
    let well_encoded = raw
        .split('%')
        .skip(1)
        .all(|tail| tail.len() >= 2 && tail.bytes().take(2).all(|digit| digit.is_ascii_hexdigit()));
    well_encoded && !decoded.iter().any(u8::is_ascii_control)
}

fn role(name: &[u8], keys: &KeyParts, credential_params: &[String]) -> Role {
    if is_one_of(name, credential_params) {
        let listed = keys.query.iter().flatten().any(|entry| entry.as_bytes() == name);
        return if listed { Role::CountsSecretly } else { Role::LeftOut };
    }
    if may_be_one_of(name, credential_params) {
        return Role::CountsSecretly;
    }
    let wanted = keys.query.as_ref().is_none_or(|list| list.iter().any(|entry| may_be(entry, name)));
    let ignored = keys.ignore_query.iter().any(|entry| is(entry, name));
    if wanted && !ignored { Role::Counts } else { Role::LeftOut }
}

/// To the letter, or by the beginning for `utm_*`.
fn is(entry: &str, name: &[u8]) -> bool {
    match entry.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning.as_bytes()),
        None => name == entry.as_bytes(),
    }
}

/// Whether some server may take this name for the listed one: without regard to case, `a[b]` as `a`, spaces before it
/// dropped, dots and spaces in it as `_`.
fn may_be(entry: &str, name: &[u8]) -> bool {
    let mut given = fold(name);
    match entry.strip_suffix('*') {
        Some(beginning) => fold(beginning.as_bytes()).all(|byte| given.next() == Some(byte)),
        None => fold(entry.as_bytes()).eq(given),
    }
}

fn fold(name: &[u8]) -> impl Iterator<Item = u8> {
    name.trim_ascii_start().iter().take_while(|byte| **byte != b'[').map(|byte| match byte {
        b'.' | b' ' => b'_',
        other => other.to_ascii_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(query: Option<&[&str]>, ignore: &[&str]) -> KeyParts {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        KeyParts { query: query.map(own), ignore_query: own(ignore), ..KeyParts::default() }
    }

    fn fed(
        query: Option<&str>,
        keys: &KeyParts,
        credentials: &[&str],
    ) -> Result<Vec<String>, QueryAmbiguity> {
        let credentials: Vec<String> = credentials.iter().map(|text| (*text).to_owned()).collect();
        let mut builder = KeyBuilder::new();
        feed(query, keys, &credentials, &mut builder)?;
        Ok(builder
            .parts()
            .map(|(part, bytes)| {
                assert_eq!(part, Part::Query);
                String::from_utf8_lossy(bytes).into_owned()
            })
            .collect())
    }

    #[test]
    fn one_parameter_alone_is_left_out_or_kept_as_among_others() {
        for (alone, expected) in [("token=x", &[][..]), ("Token=x", &["Token=x"]), ("a=1", &["a=1"])] {
            assert_eq!(fed(Some(alone), &keys(None, &[]), &["token"]).unwrap(), expected, "{alone}");
            let among = fed(Some(&format!("{alone}&z")), &keys(None, &[]), &["token"]).unwrap();
            assert_eq!(among, [expected, &["z"]].concat(), "{alone}");
        }
    }

    #[test]
    fn parameters_are_sorted_by_name_and_kept_as_sent() {
        for (query, expected) in [
            (None, &[][..]),
            (Some(""), &[""]),
            (Some("a=1"), &["a=1"]),
            (Some("b=2&a=1"), &["a=1", "b=2"]),
            (Some("b=2&a=2&b=1&a=1"), &["a=2", "a=1", "b=2", "b=1"]),
            (Some("b=1&%61=2&a=3"), &["%61=2", "a=3", "b=1"]),
            (Some("a=%2f&a=/"), &["a=%2f", "a=/"]),
            (Some("a&a=&b"), &["a", "a=", "b"]),
            (Some("a=1&&b"), &["", "a=1", "b"]),
            (Some("a=1;b=2"), &["a=1;b=2"]),
            (Some("a=b=c"), &["a=b=c"]),
        ] {
            assert_eq!(fed(query, &KeyParts::default(), &[]).unwrap(), expected, "{query:?}");
        }
    }

    #[test]
    fn an_allow_list_is_read_widely() {
        let keys = keys(Some(&["page", "filter_*"]), &[]);
        for (query, expected) in [
            ("page=1&x=2", &["page=1"][..]),
            ("Page=1&PAGE=2", &["PAGE=2", "Page=1"]),
            ("page[]=1&page[a][b]=2", &["page[]=1", "page[a][b]=2"]),
            ("p%61ge=1", &["p%61ge=1"]),
            ("+page=1&%20page=2", &["+page=1", "%20page=2"]),
            ("filter.a=1&filter_b=2&filter=3", &["filter.a=1", "filter_b=2"]),
            ("pages=1&pag=1&=page&", &[]),
            ("page", &["page"]),
        ] {
            assert_eq!(fed(Some(query), &keys, &[]).unwrap(), expected, "{query}");
        }
    }

    #[test]
    fn a_list_of_what_to_ignore_is_read_to_the_letter() {
        let keys = keys(None, &["utm_*", "_"]);
        assert_eq!(
            fed(Some("utm_a=1&UTM_b=2&utm=3&_=4&_[]=5&%75tm_c=6&utm.d=7&x=8"), &keys, &[]).unwrap(),
            ["UTM_b=2", "_[]=5", "utm=3", "utm.d=7", "x=8"]
        );
    }

    #[test]
    fn what_is_ignored_does_not_count_even_if_listed() {
        assert_eq!(fed(Some("a_1=1&a_2=2"), &keys(Some(&["a_*"]), &["a_2"]), &[]).unwrap(), ["a_1=1"]);
    }

    #[test]
    fn credentials_are_left_out_unless_the_route_names_them() {
        let all = KeyParts::default();
        assert_eq!(fed(Some("token=s&a=1&t%6Fken=s"), &all, &["token"]).unwrap(), ["a=1"]);
        assert_eq!(fed(Some("Token=s"), &all, &["token"]).unwrap(), ["Token=s"]);
        assert_eq!(fed(Some("token=s&a=1"), &keys(Some(&["*"]), &[]), &["token"]).unwrap(), ["a=1"]);
        assert_eq!(fed(Some("token=s&a=1"), &keys(Some(&["token"]), &[]), &["token"]).unwrap(), ["token=s"]);
        let mut builder = KeyBuilder::new();
        feed(Some("token=s"), &keys(Some(&["token"]), &[]), &["token".to_owned()], &mut builder).unwrap();
        assert!(builder.has_secret());
    }

    #[test]
    fn what_some_server_takes_for_a_credential_counts_secretly_whatever_the_lists_say() {
        for keys in [
            KeyParts::default(),
            keys(Some(&["page"]), &[]),
            keys(Some(&[]), &[]),
            keys(None, &["Token", "token[*", "+token", " token", "TOKEN*"]),
        ] {
            for parameter in
                ["Token=s", "token[]=s", "token[a]=s", "+token=s", "%20token=s", "TOKEN", "T%6Fken=s"]
            {
                let mut builder = KeyBuilder::new();
                feed(Some(parameter), &keys, &["token".to_owned()], &mut builder).unwrap();
                let parts: Vec<_> = builder.parts().collect();
                assert_eq!(parts, [(Part::Query, parameter.as_bytes())], "{keys:?}");
                assert!(builder.has_secret(), "{parameter}");
            }
        }
        assert_eq!(fed(Some("tokens=1&tok=2"), &keys(Some(&["page"]), &[]), &["token"]).unwrap(), [""; 0]);
    }

    #[test]
    fn what_servers_read_differently_is_ambiguous_where_it_matters() {
        use QueryAmbiguity::*;
        let (all, some, but) = (KeyParts::default(), keys(Some(&["page"]), &[]), keys(None, &["utm_*"]));
        for (query, keys, expected) in [
            ("page=1;x=2", &some, Err(Semicolon)),
            ("utm_a=1;page=2", &but, Err(Semicolon)),
            ("a=1;b=2", &all, Ok(())),
            ("a=1%3bb=2", &some, Ok(())),
            ("token=s;page=2", &all, Err(Semicolon)),
            ("page=2;token=s", &all, Err(Semicolon)),
            ("%u0070age=1", &some, Err(BadName)),
            ("page%00x=1", &some, Err(BadName)),
            ("page%=1", &but, Err(BadName)),
            ("%zz=1", &all, Ok(())),
            ("page=%zz%00", &some, Ok(())),
        ] {
            assert_eq!(fed(Some(query), keys, &["token"]).map(|_| ()), expected, "{query}");
        }
    }

    #[test]
    fn parameters_have_a_bound() {
        let query = |count: usize| vec!["a"; count].join("&");
        assert_eq!(fed(Some(&query(256)), &KeyParts::default(), &[]).unwrap().len(), 256);
        assert_eq!(fed(Some(&query(257)), &KeyParts::default(), &[]), Err(QueryAmbiguity::TooManyParameters));
    }

    #[test]
    fn values_of_a_parameter_are_raw() {
        let all: Vec<&str> = values("a=1&b=2&%61=%33&a&A=4&a==", "a").collect();
        assert_eq!(all, ["1", "%33", "", "="]);
        let all: Vec<&str> = values("&ab=1&=2&b=3&a=ä&ä=4&&a", "a").collect();
        assert_eq!(all, ["ä", ""]);
        assert_eq!(values("", "a").count(), 0);
    }

    proptest! {
        /// The parts are the query, put in order: nothing is lost and nothing made up.
        #[test]
        fn without_a_list_every_parameter_is_a_part(query in "[ab%6&=+;1]{0,24}") {
            let parts = fed(Some(&query), &KeyParts::default(), &[]).unwrap();
            let mut sent: Vec<&str> = query.split('&').collect();
            let mut kept: Vec<&str> = parts.iter().map(String::as_str).collect();
            sent.sort_unstable();
            kept.sort_unstable();
            prop_assert_eq!(sent, kept);
        }

        #[test]
        fn the_order_of_different_parameters_makes_no_difference(
            parameters in proptest::collection::btree_map("[a-d]{1,2}", "[0-9]{0,2}", 0..8),
        ) {
            let mut list: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let forwards = fed(Some(&list.join("&")), &KeyParts::default(), &[]);
            list.reverse();
            prop_assert_eq!(forwards, fed(Some(&list.join("&")), &KeyParts::default(), &[]));
        }
    }
}
