//! `Template`: a tag, or a path, with places that are filled in: `user:{id}`, `item:{body:/items/*/id}`.
//!
//! A template is text and placeholders in braces; a brace itself can't be written. Which placeholders mean something where it
//! stands is not known here. Invariant: each template is read back from what it is written as, and is the same.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;

use super::bounds::Bounds;
use super::pointer::Pointer;

/// Bytes of one template.
const BYTES_MAX: usize = 2048;

/// A text with places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// A piece of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it is written.
    Text(String),
    /// `{id}`: what the pattern's name has matched.
    Capture(String),
    /// `{query:page}`
    Query(String),
    /// `{header:x-tenant}`: of the request.
    Header(HeaderName),
    /// `{identity}`
    Identity,
    /// `{body:/json/pointer}`
    Body(Pointer),
}

/// What pieces stand for.
type Known<'t> = Vec<(&'t Piece, Vec<String>)>;

/// More came of them, or something longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl Template {
    /// What it is made of.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The places in a body that it asks for.
    pub fn pointers(&self) -> impl Iterator<Item = &Pointer> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Body(pointer) => Some(pointer),
            _ => None,
        })
    }

    /// All texts that come of it, where `values` says what each piece but `Text` stands for: one text for each combination of them,
    /// none where a piece stands for nothing. A piece that is there twice is asked for once, and stands for the same in both places.
    pub fn render(
        &self,
        values: impl FnMut(&Piece) -> Vec<String>,
        bounds: Bounds,
    ) -> Result<Vec<String>, TooMany> {
        let known = self.known(|piece| !matches!(piece, Piece::Text(_)), values);
        let count = combinations(&known, bounds)?;
        (0..count).map(|number| self.text(&chosen(number, &known), bounds.bytes_max)).collect()
    }

    /// The same, with all pieces but those of a body filled in: one template for each combination.
    pub fn resolve(
        &self,
        values: impl FnMut(&Piece) -> Vec<String>,
        bounds: Bounds,
    ) -> Result<Vec<Self>, TooMany> {
        let known = self.known(|piece| !matches!(piece, Piece::Text(_) | Piece::Body(_)), values);
        let count = combinations(&known, bounds)?;
        let filled_in = |number| {
            let chosen = chosen(number, &known);
            let fill = |piece: &Piece| match value_of(piece, &chosen) {
                Some(value) => Piece::Text(value.to_owned()),
                None => piece.clone(),
            };
            Self { pieces: self.pieces.iter().map(fill).collect() }
        };
        Ok((0..count).map(filled_in).collect())
    }

    /// What these pieces stand for, each asked for once.
    fn known(
        &self,
        is_asked: impl Fn(&Piece) -> bool,
        mut values: impl FnMut(&Piece) -> Vec<String>,
    ) -> Known<'_> {
        let mut known: Known<'_> = Vec::new();
        for piece in self.pieces.iter().filter(|piece| is_asked(piece)) {
            if !known.iter().any(|(earlier, _)| *earlier == piece) {
                known.push((piece, values(piece)));
            }
        }
        known
    }

    fn text(&self, chosen: &[(&Piece, &str)], bytes_max: usize) -> Result<String, TooMany> {
        let mut text = String::new();
        for piece in &self.pieces {
            let part = match piece {
                Piece::Text(text) => text,
                other => value_of(other, chosen).unwrap_or_default(),
            };
            if text.len() + part.len() > bytes_max {
                return Err(TooMany);
            }
            text.push_str(part);
        }
        Ok(text)
    }
}

/// How many there are. Asked before any of them is made: a few lists of hundreds would be millions of texts.
fn combinations(known: &Known<'_>, bounds: Bounds) -> Result<usize, TooMany> {
    if known.iter().any(|(_, values)| values.is_empty()) {
        return Ok(0);
    }
    let count = known.iter().try_fold(1_usize, |count, (_, values)| count.checked_mul(values.len()));
    count.filter(|count| *count <= bounds.count_max).ok_or(TooMany)
}

/// One combination: its number, read as one digit for each piece.
fn chosen<'k>(number: usize, known: &'k Known<'_>) -> Vec<(&'k Piece, &'k str)> {
    let mut rest = number;
    let mut chosen: Vec<(&Piece, &str)> = Vec::with_capacity(known.len());
    for (piece, values) in known {
        let digit = rest % values.len();
        rest /= values.len();
        chosen.push((piece, values.get(digit).map_or("", String::as_str)));
    }
    chosen
}

fn value_of<'c>(piece: &Piece, chosen: &[(&Piece, &'c str)]) -> Option<&'c str> {
    chosen.iter().find(|(known, _)| *known == piece).map(|(_, value)| *value)
}

impl FromStr for Template {
    /// What is wrong with it, for a person.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty".into());
        }
        if text.len() > BYTES_MAX {
            return Err(format!("is longer than {BYTES_MAX} bytes"));
        }
        let mut pieces = Vec::new();
        let mut remaining = text;
        while let Some(at) = remaining.find(['{', '}']) {
            let (before, behind) = remaining.split_at(at);
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let Some(behind) = behind.strip_prefix('{') else {
                return Err("has a \"}\" without its \"{\"".into());
            };
            let (inner, after) = match behind.find(['{', '}']).map(|end| behind.split_at(end)) {
                Some((inner, after)) if after.starts_with('}') => (inner, after),
                Some((inner, _)) => return Err(format!("has a \"{{\" inside of \"{{{inner}…\"")),
                None => return Err(format!("\"{{{behind}\" lacks its \"}}\"")),
            };
            pieces.push(placeholder(inner)?);
            remaining = after.strip_prefix('}').unwrap_or_default();
        }
        if !remaining.is_empty() {
            pieces.push(Piece::Text(remaining.to_owned()));
        }
        Ok(Self { pieces })
    }
}

/// What stands between the braces.
fn placeholder(inner: &str) -> Result<Piece, String> {
    if inner.trim().is_empty() {
        return Err(format!("\"{{{inner}}}\" is empty; name what belongs there, such as \"{{id}}\""));
    }
    if inner.trim() != inner {
        return Err(format!("\"{{{inner}}}\" has spaces (did you mean \"{{{}}}\"?)", inner.trim()));
    }
    let Some((kind, value)) = inner.split_once(':') else {
        return named(inner);
    };
    match kind {
        "query" if value.is_empty() => {
            Err("\"{query:}\" lacks a parameter's name, such as \"{query:page}\"".into())
        }
        "query" => Ok(Piece::Query(value.to_owned())),
        "header" => value.parse().map(Piece::Header).map_err(|_| {
            format!("\"{{{inner}}}\": \"{value}\" can't be a header's name, such as \"{{header:x-tenant}}\"")
        }),
        "body" => value.parse().map(Piece::Body).map_err(|wrong| format!("\"{{{inner}}}\": {wrong}")),
        "identity" => Err(format!("\"{{{inner}}}\" (did you mean \"{{identity}}\"?)")),
        _ => Err(format!("\"{{{inner}}}\" is unknown; {KNOWN}")),
    }
}

const KNOWN: &str =
    "there are {NAME} of the route's match, {query:NAME}, {header:NAME}, {identity} and {body:/POINTER}";

fn named(name: &str) -> Result<Piece, String> {
    if name == "identity" {
        return Ok(Piece::Identity);
    }
    if let "query" | "header" | "body" = name {
        let example = match name {
            "query" => "page",
            "header" => "x-tenant",
            _ => "/data/id",
        };
        return Err(format!("\"{{{name}}}\" says not which, as \"{{{name}:{example}}}\" does"));
    }
    if let Some(rest) = name.strip_prefix('*') {
        return Err(format!("\"{{{name}}}\" (did you mean \"{{{rest}}}\"?)"));
    }
    if name.starts_with('/') {
        return Err(format!("\"{{{name}}}\" (did you mean \"{{body:{name}}}\"?)"));
    }
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(Piece::Capture(name.to_owned()));
    }
    Err(format!("\"{{{name}}}\" is unknown; {KNOWN}"))
}

/// As it was written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| piece.fmt(f))
    }
}

/// As it was written.
impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Capture(name) => write!(f, "{{{name}}}"),
            Self::Query(name) => write!(f, "{{query:{name}}}"),
            Self::Header(name) => write!(f, "{{header:{name}}}"),
            Self::Identity => f.write_str("{identity}"),
            Self::Body(pointer) => write!(f, "{{body:{pointer}}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { count_max: 1000, bytes_max: 1000 };

    fn template(text: &str) -> Template {
        text.parse().unwrap_or_else(|wrong| panic!("{text}: {wrong}"))
    }

    /// What each piece stands for: what follows its name here, at commas.
    fn values(piece: &Piece) -> Vec<String> {
        let text = match piece {
            Piece::Capture(name) if name == "id" => "5",
            Piece::Query(name) if name == "page" => "1,2",
            Piece::Header(name) if name == "x-tenant" => "acme",
            Piece::Identity => "eve",
            Piece::Body(pointer) if pointer.to_string() == "/items/*" => "a,b,c",
            _ => return Vec::new(),
        };
        text.split(',').map(String::from).collect()
    }

    #[test]
    fn a_template_is_taken_apart() {
        let text = |text: &str| Piece::Text(text.into());
        for (written, pieces) in [
            ("all", vec![text("all")]),
            ("user:{id}", vec![text("user:"), Piece::Capture("id".into())]),
            ("{identity}", vec![Piece::Identity]),
            ("{query:a:b}-", vec![Piece::Query("a:b".into()), text("-")]),
            ("{header:x-tenant}", vec![Piece::Header(HeaderName::from_static("x-tenant"))]),
            (
                "{id}{body:/a~1b/*}",
                vec![Piece::Capture("id".into()), Piece::Body("/a~1b/*".parse().unwrap())],
            ),
        ] {
            let template = template(written);
            assert_eq!(template.pieces(), pieces, "{written}");
            assert_eq!(template.to_string(), written);
        }
        let two = template("{body:/a}:{id}:{body:/b}");
        assert_eq!(two.pointers().map(ToString::to_string).collect::<Vec<_>>(), ["/a", "/b"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("", "is empty"),
            ("a:{}", "\"{}\" is empty"),
            ("a:{ }", "\"{ }\" is empty"),
            ("a:{ id}", "did you mean \"{id}\"?"),
            ("a:{id", "\"{id\" lacks its \"}\""),
            ("a:id}", "has a \"}\" without its \"{\""),
            ("a:{{id}}", "has a \"{\" inside of \"{…\""),
            ("a:{id{x}}", "has a \"{\" inside of \"{id…\""),
            ("a:{quary:x}", "\"{quary:x}\" is unknown; there are {NAME}"),
            ("a:{x-y}", "\"{x-y}\" is unknown"),
            ("a:{*rest}", "did you mean \"{rest}\"?"),
            ("a:{/id}", "did you mean \"{body:/id}\"?"),
            ("a:{query:}", "lacks a parameter's name"),
            ("a:{query}", "as \"{query:page}\" does"),
            ("a:{body}", "as \"{body:/data/id}\" does"),
            ("a:{header:}", "can't be a header's name"),
            ("a:{header:x tenant}", "\"x tenant\" can't be a header's name"),
            ("a:{identity:x}", "did you mean \"{identity}\"?"),
            ("a:{body:}", "a pointer can't be empty"),
            ("a:{body:id}", "did you mean \"/id\"?"),
            ("a:{body:/~}", "write \"~0\""),
            (&"a".repeat(2049), "longer than 2048 bytes"),
        ] {
            let wrong = text.parse::<Template>().unwrap_err();
            assert!(wrong.contains(expected), "{text}: {wrong}");
        }
    }

    #[test]
    fn each_combination_is_a_text() {
        for (text, expected) in [
            ("all", &["all"][..]),
            ("user:{id}", &["user:5"]),
            ("{header:X-Tenant}/{id}/{identity}", &["acme/5/eve"]),
            ("i:{body:/items/*}", &["i:a", "i:b", "i:c"]),
            ("{query:page}{body:/items/*}", &["1a", "2a", "1b", "2b", "1c", "2c"]),
            ("{query:page}-{id}-{query:page}", &["1-5-1", "2-5-2"]),
            ("{id}:{body:/none}", &[]),
            ("{body:/none}{body:/items/*}", &[]),
            ("{other}", &[]),
        ] {
            assert_eq!(template(text).render(values, BOUNDS).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn how_much_may_come_of_it_is_bounded() {
        let bounds = |count_max, bytes_max| Bounds { count_max, bytes_max };
        for (text, bounds, expected) in [
            ("{query:page}{body:/items/*}", bounds(6, 2), true),
            ("{query:page}{body:/items/*}", bounds(5, 2), false),
            ("{query:page}{body:/items/*}", bounds(6, 1), false),
            ("{query:page}{query:page}", bounds(2, 2), true),
            ("all", bounds(0, 9), false),
            ("{body:/none}", bounds(0, 0), true),
        ] {
            assert_eq!(template(text).render(values, bounds).is_ok(), expected, "{text} {bounds:?}");
        }
        let many = |_: &Piece| vec![String::new(); 1 << 16];
        let text = "{a}{b}{c}{d}{e}";
        assert_eq!(template(text).render(many, bounds(usize::MAX, 9)), Err(TooMany));
        let one_is_missing = |piece: &Piece| match piece {
            Piece::Capture(name) if name == "e" => Vec::new(),
            other => many(other),
        };
        assert_eq!(template(text).render(one_is_missing, BOUNDS), Ok(Vec::new()));
    }

    #[test]
    fn what_is_filled_in_in_two_steps_is_what_is_filled_in_in_one() {
        for text in [
            "all",
            "user:{id}",
            "{query:page}{body:/items/*}{query:page}",
            "{body:/items/*}-{query:page}-{identity}-{body:/items/*}",
            "{id}:{body:/none}",
            "{other}:{body:/items/*}",
        ] {
            let template = template(text);
            let not_body = |piece: &Piece| match piece {
                Piece::Body(_) => panic!("{piece}"),
                piece => values(piece),
            };
            let resolved = template.resolve(not_body, BOUNDS).unwrap();
            let mut found: Vec<String> =
                resolved.iter().flat_map(|template| template.render(values, BOUNDS).unwrap()).collect();
            let mut expected = template.render(values, BOUNDS).unwrap();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{text}");
        }
        let few = Bounds { count_max: 1, bytes_max: 9 };
        assert_eq!(template("{query:page}{body:/items/*}").resolve(values, few), Err(TooMany));
    }

    #[test]
    fn a_piece_that_is_there_twice_is_asked_for_once() {
        let mut asked = 0;
        let counted = |piece: &Piece| {
            asked += 1;
            values(piece)
        };
        template("{id}{id}{query:page}{id}").render(counted, BOUNDS).unwrap();
        assert_eq!(asked, 2);
    }

    proptest! {
        #[test]
        fn what_can_be_read_is_written_back(
            text in prop_oneof!["\\PC{0,20}", "([a-b:{}/~]|\\{id\\}|\\{body:/|\\{query:|\\{identity\\}){0,8}"],
        ) {
            if let Ok(template) = text.parse::<Template>() {
                // A header's name is written in small letters.
                prop_assert!(template.to_string().eq_ignore_ascii_case(&text));
                prop_assert_eq!(template.to_string().parse::<Template>(), Ok(template));
            }
        }

        #[test]
        fn no_more_comes_of_it_than_may(lengths in prop::collection::vec(0_usize..9, 3), count_max in 0_usize..200) {
            let template = template("{a}:{b}:{c}:{a}");
            let values = |piece: &Piece| match piece {
                Piece::Capture(name) => {
                    let at = usize::from(name.as_bytes()[0] - b'a');
                    (0..lengths[at]).map(|number| number.to_string()).collect()
                }
                _ => Vec::new(),
            };
            let count: usize = lengths.iter().product();
            match template.render(values, Bounds { count_max, bytes_max: 100 }) {
                Ok(texts) => {
                    let distinct: std::collections::BTreeSet<_> = texts.iter().collect();
                    prop_assert_eq!((texts.len(), distinct.len()), (count, count));
                    prop_assert!(count <= count_max);
                }
                Err(TooMany) => prop_assert!(count > count_max),
            }
        }
    }
}
