//! Lists of what a client prefers: names with weights (`Accept-Language`, `Accept-Encoding`), and media ranges (`Accept`).
//!
//! Written in a normal form, two lists that mean the same are the same text. Invariant: the normal form means what the list
//! meant; a list that is malformed, or contradicts itself, stays as it was sent.

use std::cmp::Reverse;

use super::grammar::{Quotes, is_token_byte, trim};

/// One thing, and how much it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Preference {
    /// Lower case.
    pub(super) name: Vec<u8>,
    /// In thousandths; 0: not acceptable.
    pub(super) weight: u16,
}

/// What a list says, the most wanted first, each name once; none if it is malformed or says two things of one name.
pub(super) fn preferences(text: &[u8], is_name: fn(&[u8]) -> bool) -> Option<Vec<Preference>> {
    let members = text.split(|byte| *byte == b',').map(trim).filter(|member| !member.is_empty());
    let mut wanted: Vec<Preference> =
        members.map(|member| preference(member, is_name)).collect::<Option<_>>()?;
    // RFC 9110, 12.5.4, of Accept-Language: "Note that some recipients treat the order in which language tags are listed as
    // an indication of descending priority, particularly for tags that are assigned equal quality values (no value is the
    // same as q=1). However, this behavior cannot be relied upon." Of content codings no order is spoken of at all.
    wanted.sort_unstable_by(|one, other| {
        (Reverse(one.weight), &one.name).cmp(&(Reverse(other.weight), &other.name))
    });
    wanted.dedup();
    let mut names: Vec<&[u8]> = wanted.iter().map(|preference| &*preference.name).collect();
    names.sort_unstable();
    let contradicts_itself = names.windows(2).any(|pair| pair[0] == pair[1]);
    (!contradicts_itself).then_some(wanted)
}

/// The same as a list.
pub(super) fn written(wanted: &[Preference]) -> Vec<u8> {
    let mut text = Vec::new();
    for (index, preference) in wanted.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend_from_slice(&preference.name);
        match preference.weight {
            // RFC 9110, 12.4.2: "If no "q" parameter is present, the default weight is 1."
            1000.. => {}
            0 => text.extend_from_slice(b";q=0"),
            weight => text.extend_from_slice(format!(";q=0.{weight:03}").trim_end_matches('0').as_bytes()),
        }
    }
    text
}

/// Media ranges in their order and with their parameters, without white space between them, and in lower case where case has
/// no meaning.
pub(super) fn media_ranges(text: &[u8]) -> Vec<u8> {
    if !Quotes::close(text) {
        return text.to_vec();
    }
    let members = Quotes::split(text, b',').map(trim).filter(|member| !member.is_empty());
    let ranges: Vec<Vec<u8>> = members.map(|member| media_range(member).unwrap_or(member.to_vec())).collect();
    ranges.join(&b',')
}

/// RFC 4647, 2.1: `language-range = (1*8ALPHA *("-" 1*8alphanum)) / "*"`.
pub(super) fn is_language_range(text: &[u8]) -> bool {
    text == b"*" || is_language(text)
}

/// RFC 9110, 8.5.1: "A language tag is a sequence of one or more case-insensitive subtags, each separated by a hyphen
/// character". Of the form that a range has, so that the two can be compared.
pub(super) fn is_language(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'-').enumerate().all(|(index, subtag)| {
        let fits = |byte: &u8| byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit());
        (1..=8).contains(&subtag.len()) && subtag.iter().all(fits)
    })
}

/// RFC 9110, 12.5.3: `codings = content-coding / "identity" / "*"`, all of them tokens.
pub(super) fn is_coding(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

/// RFC 9110, 12.4.2: `weight = OWS ";" OWS "q=" qvalue`.
fn preference(member: &[u8], is_name: fn(&[u8]) -> bool) -> Option<Preference> {
    let mut parts = member.split(|byte| *byte == b';').map(trim);
    let name = parts.next().filter(|name| is_name(name))?;
    let weight = match parts.next() {
        None => 1000,
        // RFC 9110, 12.4.2: 'a common parameter, named "q" (case-insensitive)'.
        Some([b'q' | b'Q', b'=', value @ ..]) => thousandths(value)?,
        Some(_) => return None,
    };
    parts.next().is_none().then(|| Preference { name: name.to_ascii_lowercase(), weight })
}

/// RFC 9110, 12.4.2: `qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`.
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, digits) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let place = |index: usize| digits.get(index).map_or(0, |digit| u16::from(digit - b'0'));
    let weight = u16::from(whole - b'0') * 1000 + place(0) * 100 + place(1) * 10 + place(2);
    (weight <= 1000).then_some(weight)
}

/// RFC 9110, 12.5.1: `media-range = ( "*/*" / ( type "/" "*" ) / ( type "/" subtype ) ) parameters`.
fn media_range(member: &[u8]) -> Option<Vec<u8>> {
    let mut parts = Quotes::split(member, b';').map(trim);
    let range = parts.next()?;
    let slash = range.iter().position(|byte| *byte == b'/')?;
    if !is_coding(&range[..slash]) || !is_coding(&range[slash + 1..]) {
        return None;
    }
    // RFC 9110, 8.3.1: "The type and subtype tokens are case-insensitive."
    let mut text = range.to_ascii_lowercase();
    // RFC 9110, 5.6.6: `parameters = *( OWS ";" OWS [ parameter ] )`, `parameter = parameter-name "=" parameter-value`.
    for parameter in parts.filter(|parameter| !parameter.is_empty()) {
        let equals = parameter
            .iter()
            .position(|byte| *byte == b'=')
            .filter(|equals| is_coding(&parameter[..*equals]))?;
        text.push(b';');
        // RFC 9110, 5.6.6: "Parameter names are case-insensitive. Parameter values might or might not be case-sensitive".
        text.extend(parameter[..equals].iter().map(u8::to_ascii_lowercase));
        text.extend_from_slice(&parameter[equals..]);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(list: &str, is_name: fn(&[u8]) -> bool) -> Option<String> {
        preferences(list.as_bytes(), is_name).map(|wanted| String::from_utf8(written(&wanted)).unwrap())
    }

    #[test]
    fn weighted_names_are_sorted_by_weight_and_written_shortly() {
        let table = [
            ("", Some("")),
            (" , ,", Some("")),
            ("en", Some("en")),
            ("en, de", Some("de,en")),
            ("da, en-gb;q=0.8, en;q=0.7", Some("da,en-gb;q=0.8,en;q=0.7")),
            ("en;q=0.7,EN-gb;q=0.80,da;q=1.000", Some("da,en-gb;q=0.8,en;q=0.7")),
            ("en ; Q=0.5", Some("en;q=0.5")),
            (
                "en;q=0.500, de;q=0.05, fr;q=0.005, it;q=0.055",
                Some("en;q=0.5,it;q=0.055,de;q=0.05,fr;q=0.005"),
            ),
            ("en;q=1, de;q=1., fr;q=1.0", Some("de,en,fr")),
            ("en;q=0, de;q=0., fr;q=0.000, *;q=0.1", Some("*;q=0.1,de;q=0,en;q=0,fr;q=0")),
            ("*", Some("*")),
            ("en, EN;q=1.0", Some("en")),
            ("en, en;q=0", None),
            ("en;q=2", None),
            ("en;q=1.1", None),
            ("en;q=1.0000", None),
            ("en;q=0.1234", None),
            ("en;q=.5", None),
            ("en;q=", None),
            ("en;q", None),
            ("en;q=\"1\"", None),
            ("en;q = 0.5", None),
            ("en;x=1", None),
            ("en;q=1;x=1", None),
            ("en;", None),
            (";q=1", None),
            ("en de", None),
            ("e_n", None),
            ("12", None),
            ("de-*", None),
            ("toolongtag-x", None),
            ("zh-Hant-TW", Some("zh-hant-tw")),
            ("de-1996", Some("de-1996")),
        ];
        for (list, expected) in table {
            assert_eq!(normal(list, is_language_range).as_deref(), expected, "{list}");
        }
        let table = [
            ("gzip;q=1.0, identity; q=0.5, *;q=0", Some("gzip,identity;q=0.5,*;q=0")),
            ("compress;q=0.5, x-gzip;q=1.0", Some("x-gzip,compress;q=0.5")),
            ("gzip, a/b", None),
        ];
        for (list, expected) in table {
            assert_eq!(normal(list, is_coding).as_deref(), expected, "{list}");
        }
    }

    #[test]
    fn media_ranges_keep_their_order_and_parameters() {
        let table = [
            ("", ""),
            ("text/html", "text/html"),
            ("Text/HTML , */*", "text/html,*/*"),
            ("*/*,text/html", "*/*,text/html"),
            ("text/html ; Charset=UTF-8;\tQ=0.50", "text/html;charset=UTF-8;q=0.50"),
            ("text/html;, a/b", "text/html,a/b"),
            ("text/html;a=\"x , Y ; z\" ;b=C", "text/html;a=\"x , Y ; z\";b=C"),
            ("Text", "Text"),
            ("Text/, A/b", "Text/,a/b"),
            ("Text/Plain;A, A/b", "Text/Plain;A,a/b"),
            ("Text/Plain;A b=c", "Text/Plain;A b=c"),
            ("Text/Plain ;a=\"b, C/d", "Text/Plain ;a=\"b, C/d"),
        ];
        for (list, expected) in table {
            assert_eq!(String::from_utf8(media_ranges(list.as_bytes())).unwrap(), expected, "{list}");
        }
    }

    fn list() -> impl Strategy<Value = Vec<(String, u16)>> {
        proptest::collection::btree_map("[a-z]{1,2}", 0_u16..=1000, 0..6)
            .prop_map(|map| map.into_iter().collect())
    }

    fn sent(list: &[(String, u16)], loud: bool) -> String {
        let member = |(name, weight): &(String, u16)| {
            let name = if loud { name.to_ascii_uppercase() } else { name.clone() };
            if *weight == 1000 && !loud {
                name
            } else {
                format!("{name};q={}.{:03}", weight / 1000, weight % 1000)
            }
        };
        list.iter().map(member).collect::<Vec<_>>().join(if loud { " , " } else { "," })
    }

    proptest! {
        #[test]
        fn order_case_and_spelling_make_no_difference_and_weights_do(list in list(), other in list(), shift in 0_usize..6) {
            let mut turned = list.clone();
            if !turned.is_empty() {
                let middle = shift % turned.len();
                turned.rotate_left(middle);
            }
            let read = |text: &str| normal(text, is_language_range);
            let plain = read(&sent(&list, false));
            prop_assert_eq!(&plain, &read(&sent(&turned, true)));
            prop_assert_eq!(plain.clone().and_then(|text| read(&text)), plain.clone());
            prop_assert_eq!(plain == read(&sent(&other, false)), list == other);
        }

        #[test]
        fn any_list_can_be_read_and_a_normal_one_stays(text in "[a-zA-Z*/;,=\"\\\\q0-1. ]{0,40}") {
            let once = media_ranges(text.as_bytes());
            prop_assert_eq!(media_ranges(&once), once);
            let _ = preferences(text.as_bytes(), is_language_range);
            let _ = preferences(text.as_bytes(), is_coding);
        }
    }
}
