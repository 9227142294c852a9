//! `canonical`: one text for all ways of writing a JSON document, so that two of them can have one key.
//!
//! Members are sorted by name, insignificant white space goes, and a string is written in one way whatever its escapes. The
//! text of a number stays as it was sent: whether `1.0` is `1` is for its reader to say, and 9007199254740993 is not the
//! number next to it. Invariant: two texts have one canonical text only if every reader takes them for one document; what
//! readers differ about (a member that is there twice, half of a surrogate pair) has none. The text is read once, from left to
//! right, and written once for each object around it, of which there are at most `DEPTH_MAX`.

use std::borrow::Cow;
use std::ops::Range;

/// Why a text has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCanonical {
    /// Bytes that are no text.
    NotUtf8,
    /// RFC 8259, 8.1: "Implementations MUST NOT add a byte order mark"; whether it is ignored is up to the reader.
    ByteOrderMark,
    /// Not JSON.
    Syntax,
    /// Something follows the document.
    Trailing,
    /// Arrays and objects inside each other beyond `DEPTH_MAX`.
    TooDeep,
    /// RFC 8259, 4: "When the names within an object are not unique, the behavior of software that receives such an object is
    /// unpredictable."
    Twice,
    /// RFC 8259, 8.2: "the behavior of software that receives JSON texts containing such values is unpredictable".
    LoneSurrogate,
}

/// How deep arrays and objects may lie inside each other: more than people write, and little for the stack.
pub const DEPTH_MAX: usize = 64;

impl NotCanonical {
    /// In words, for `Cache-Status` and people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotUtf8 => "the body is not UTF-8",
            Self::ByteOrderMark => "the body begins with a byte order mark",
            Self::Syntax => "the body is not JSON",
            Self::Trailing => "the body goes on behind its JSON",
            Self::TooDeep => "the body's JSON is nested too deeply",
            Self::Twice => "the body's JSON names a member twice",
            Self::LoneSurrogate => "the body's JSON has half of a surrogate pair",
        }
    }
}

/// The document's canonical text.
pub fn canonical(text: &[u8]) -> Result<String, NotCanonical> {
    let text = std::str::from_utf8(text).map_err(|_| NotCanonical::NotUtf8)?;
    if text.starts_with('\u{feff}') {
        return Err(NotCanonical::ByteOrderMark);
    }
    let mut reader = Reader { rest: text, written: String::with_capacity(text.len()) };
    reader.value(0)?;
    reader.space();
    if reader.rest.is_empty() { Ok(reader.written) } else { Err(NotCanonical::Trailing) }
}

/// What is left to read, and what has been written of the rest.
struct Reader<'t> {
    rest: &'t str,
    written: String,
}

impl<'t> Reader<'t> {
    fn value(&mut self, depth: usize) -> Result<(), NotCanonical> {
        self.space();
        match self.peek() {
            Some(b'{' | b'[') if depth == DEPTH_MAX => Err(NotCanonical::TooDeep),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.list(depth + 1),
            Some(b'"') => {
                let text = self.string()?;
                write_string(&text, &mut self.written);
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn list(&mut self, depth: usize) -> Result<(), NotCanonical> {
        self.expect(b'[')?;
        self.written.push('[');
        self.space();
        if !self.takes(b']') {
            loop {
                self.value(depth)?;
                self.space();
                if !self.takes(b',') {
                    break;
                }
                self.written.push(',');
            }
            self.expect(b']')?;
        }
        self.written.push(']');
        Ok(())
    }

    /// The values are written as they come, and put in the order of their names when all are there.
    fn object(&mut self, depth: usize) -> Result<(), NotCanonical> {
        self.expect(b'{')?;
        let start = self.written.len();
        let mut members: Vec<(Cow<'t, str>, Range<usize>)> = Vec::new();
        self.space();
        if !self.takes(b'}') {
            loop {
                self.space();
                let name = self.string()?;
                self.space();
                self.expect(b':')?;
                let from = self.written.len() - start;
                self.value(depth)?;
                members.push((name, from..self.written.len() - start));
                self.space();
                if !self.takes(b',') {
                    break;
                }
            }
            self.expect(b'}')?;
        }
        members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(NotCanonical::Twice);
        }
        let values = self.written.split_off(start);
        self.written.push('{');
        for (index, (name, range)) in members.into_iter().enumerate() {
            if index > 0 {
                self.written.push(',');
            }
            write_string(&name, &mut self.written);
            self.written.push(':');
            self.written.push_str(&values[range]);
        }
        self.written.push('}');
        Ok(())
    }

    /// What the string stands for.
    fn string(&mut self) -> Result<Cow<'t, str>, NotCanonical> {
        self.expect(b'"')?;
        let mut text = Cow::Borrowed("");
        loop {
            let special = |byte: u8| byte == b'"' || byte == b'\\' || byte < b' ';
            let plain = self.rest.bytes().position(special).ok_or(NotCanonical::Syntax)?;
            text += self.take(plain);
            if self.takes(b'"') {
                return Ok(text);
            }
            // What else stopped us is a control character, which has to be escaped.
            self.expect(b'\\')?;
            text.to_mut().push(self.escaped()?);
        }
    }

    fn escaped(&mut self) -> Result<char, NotCanonical> {
        let letter = self.peek().ok_or(NotCanonical::Syntax)?;
        let meant = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.code_point(),
            _ => return Err(NotCanonical::Syntax),
        };
        self.take(1);
        Ok(meant)
    }

    /// One `uXXXX`, or two that are a surrogate pair.
    fn code_point(&mut self) -> Result<char, NotCanonical> {
        let unit = self.code_unit()?;
        if !(0xd800..0xe000).contains(&unit) {
            return char::from_u32(unit).ok_or(NotCanonical::LoneSurrogate);
        }
        if unit >= 0xdc00 || !self.takes(b'\\') || self.peek() != Some(b'u') {
            return Err(NotCanonical::LoneSurrogate);
        }
        let low = self.code_unit()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(NotCanonical::LoneSurrogate);
        }
        let point = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        char::from_u32(point).ok_or(NotCanonical::LoneSurrogate)
    }

    fn code_unit(&mut self) -> Result<u32, NotCanonical> {
        self.expect(b'u')?;
        let digits = self.rest.bytes().take(4).take_while(u8::is_ascii_hexdigit).count();
        if digits < 4 {
            return Err(NotCanonical::Syntax);
        }
        u32::from_str_radix(self.take(4), 16).map_err(|_| NotCanonical::Syntax)
    }

    /// RFC 8259, 6: `[ minus ] int [ frac ] [ exp ]`.
    fn number(&mut self) -> Result<(), NotCanonical> {
        let whole = self.rest;
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            if !self.takes(b'+') {
                self.takes(b'-');
            }
            self.digits()?;
        }
        self.written.push_str(&whole[..whole.len() - self.rest.len()]);
        Ok(())
    }

    /// At least one.
    fn digits(&mut self) -> Result<(), NotCanonical> {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        self.take(count);
        if count > 0 { Ok(()) } else { Err(NotCanonical::Syntax) }
    }

    fn word(&mut self) -> Result<(), NotCanonical> {
        let word = ["true", "false", "null"].into_iter().find(|word| self.rest.starts_with(word));
        let word = word.ok_or(NotCanonical::Syntax)?;
        self.take(word.len());
        self.written.push_str(word);
        Ok(())
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn peek(&self) -> Option<u8> {
        self.rest.bytes().next()
    }

    /// So many bytes, all of which have been looked at.
    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        if is_there {
            self.take(1);
        }
        is_there
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotCanonical> {
        if self.takes(byte) { Ok(()) } else { Err(NotCanonical::Syntax) }
    }
}

/// With no more escapes than JSON asks for.
fn write_string(text: &str, into: &mut String) {
    into.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < b' ') {
        let (plain, special) = rest.split_at(at);
        into.push_str(plain);
        let byte = special.bytes().next().unwrap_or_default();
        match byte {
            b'"' => into.push_str("\\\""),
            b'\\' => into.push_str("\\\\"),
            b'\n' => into.push_str("\\n"),
            b'\r' => into.push_str("\\r"),
            b'\t' => into.push_str("\\t"),
            0x8 => into.push_str("\\b"),
            0xc => into.push_str("\\f"),
            _ => {
                into.push_str(if byte < 0x10 { "\\u000" } else { "\\u001" });
                into.push(char::from(b"0123456789abcdef"[usize::from(byte & 0xf)]));
            }
        }
        rest = &special[1..];
    }
    into.push_str(rest);
    into.push('"');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn of(text: &str) -> Result<String, NotCanonical> {
        canonical(text.as_bytes())
    }

    #[test]
    fn what_makes_no_difference_goes() {
        for (text, expected) in [
            (" {\"b\" : 1 ,\r\n\t\"a\" : [ ] } ", r#"{"a":[],"b":1}"#),
            (r#"{"b":{"d":1,"c":2},"a":[{"f":1,"e":2}]}"#, r#"{"a":[{"e":2,"f":1}],"b":{"c":2,"d":1}}"#),
            (
                r#""\u0061\u00e9\u00E9\/\"\\\b\f\n\r\t\u001F\u007f""#,
                "\"aéé/\\\"\\\\\\b\\f\\n\\r\\t\\u001f\u{7f}\"",
            ),
            (r#""\ud83d\uDE00""#, "\"😀\""),
            (r#"{"\u0062":1,"a":2,"":3,"\u0000":4}"#, r#"{"":3,"\u0000":4,"a":2,"b":1}"#),
            // By name, not by how the name is written: `"` comes before `#`, though its escape begins with `\`.
            (r##"{"#":1,"\"":2}"##, r##"{"\"":2,"#":1}"##),
            ("[ true,false , null ]", "[true,false,null]"),
            ("\n{ }\n", "{}"),
            (" 1 ", "1"),
            ("\"\"", "\"\""),
        ] {
            assert_eq!(of(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn numbers_stay_as_they_were_sent() {
        let numbers = [
            "0",
            "-0",
            "1",
            "1.0",
            "1.00",
            "10",
            "1e1",
            "1E1",
            "1e+1",
            "1e01",
            "-1",
            "0.1",
            "0.10",
            "1e999",
            "-1.5e-7",
            "9007199254740992",
            "9007199254740993",
            "123456789012345678901234567890",
        ];
        let texts: BTreeMap<String, &str> =
            numbers.iter().map(|number| (of(number).unwrap(), *number)).collect();
        assert!(texts.iter().all(|(text, number)| text == number));
        assert_eq!(texts.len(), numbers.len());
    }

    #[test]
    fn what_readers_would_take_differently_is_refused() {
        use NotCanonical::*;
        for (text, why) in [
            (r#"{"a":1,"a":1}"#, Twice),
            (r#"{"a":1,"b":2,"\u0061":3}"#, Twice),
            (r#"[{"x":{"a":1,"a":2}}]"#, Twice),
            ("\u{feff}{}", ByteOrderMark),
            ("{\u{feff}}", Syntax),
            (r#""\ud800""#, LoneSurrogate),
            (r#""\udc00""#, LoneSurrogate),
            (r#""\udc00\ud800""#, LoneSurrogate),
            (r#""\ud800\ud800""#, LoneSurrogate),
            (r#""\ud800\u0061""#, LoneSurrogate),
            (r#""\ud800x""#, LoneSurrogate),
            (r#""\ud800\n""#, LoneSurrogate),
            ("{} {}", Trailing),
            ("1 2", Trailing),
            ("01", Trailing),
            ("1x", Trailing),
            ("nullx", Trailing),
            ("{}\u{0}", Trailing),
            ("[1]]", Trailing),
        ] {
            assert_eq!(of(text), Err(why), "{text}");
        }
        assert_eq!(canonical(b"\"\xff\""), Err(NotUtf8));
        assert_eq!(canonical(b"{\"a\":\"\xed\xa0\x80\"}"), Err(NotUtf8), "a surrogate in UTF-8");
        assert_eq!(canonical(b"\x1f\x8b"), Err(NotUtf8));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "{'a':1}",
            "{\"a\" 1}",
            "{1:2}",
            "\"",
            "\"a",
            "\"\\",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "\"\t\"",
            "\"\u{0}\"",
            "'a'",
            "+1",
            "-",
            "-a",
            ".5",
            "1.",
            "1.e1",
            "1e",
            "1e+",
            "NaN",
            "Infinity",
            "-Infinity",
            "True",
            "nul",
            "// a\n1",
            "/**/1",
            "a=1&b=2",
            "\u{a0}1",
            "\u{c}1",
        ] {
            let found = of(text);
            assert!(
                matches!(found, Err(NotCanonical::Syntax | NotCanonical::Trailing)),
                "{text:?}: {found:?}"
            );
        }
    }

    #[test]
    fn depth_has_a_bound() {
        let nested =
            |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
            let most = DEPTH_MAX / open.bytes().filter(|byte| b"[{".contains(byte)).count();
            assert!(of(&nested(open, close, most)).is_ok(), "{open}");
            assert_eq!(of(&nested(open, close, most + 1)), Err(NotCanonical::TooDeep), "{open}");
        }
        assert_eq!(of(&"[".repeat(10_000_000)), Err(NotCanonical::TooDeep));
    }

    #[test]
    fn a_long_text_takes_no_longer_by_the_byte() {
        // Quadratic work on any of these would take minutes.
        let count = 200_000;
        let many = (0..count).rev().fold(String::new(), |mut text, index| {
            let _ = write!(text, "\"{index:06}\":{{}},");
            text
        });
        assert!(of(&format!("{{{}}}", many.trim_end_matches(','))).unwrap().starts_with("{\"000000\":{},"));
        assert_eq!(of(&format!("[{}0]", "0,".repeat(count))).unwrap().len(), 2 * count + 3);
        assert_eq!(of(&format!("\"{}\"", "\\u0061".repeat(count))).unwrap().len(), count + 2);
        assert_eq!(of(&" ".repeat(count)), Err(NotCanonical::Syntax));
    }

    /// A document, apart from how it is written.
    #[derive(Clone, Debug, PartialEq)]
    enum Document {
        Word(&'static str),
        Number(String),
        Text(String),
        List(Vec<Document>),
        Object(BTreeMap<String, Document>),
    }

    /// Letters that are written in several ways, or sort in another order when they are escaped.
    const LETTERS: &str = "[ab\"\\\\/\u{0}\u{1f}\n#é😀\u{ffff}]{0,4}";

    fn document() -> impl Strategy<Value = Document> {
        let leaf = prop_oneof![
            prop::sample::select(vec!["true", "false", "null"]).prop_map(Document::Word),
            "(-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?)".prop_map(Document::Number),
            LETTERS.prop_map(Document::Text),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Document::List),
                prop::collection::btree_map(LETTERS, inner, 0..5).prop_map(Document::Object),
            ]
        })
    }

    /// What the canonical text must be, put together with no regard for how it is found.
    fn expected(document: &Document) -> String {
        let joined = |items: Vec<String>| items.join(",");
        match document {
            Document::Word(word) => (*word).to_owned(),
            Document::Number(text) => text.clone(),
            Document::Text(text) => serde_json::to_string(text).unwrap(),
            Document::List(items) => format!("[{}]", joined(items.iter().map(expected).collect())),
            Document::Object(members) => {
                let member =
                    |(name, value)| format!("{}:{}", serde_json::to_string(name).unwrap(), expected(value));
                format!("{{{}}}", joined(members.iter().map(member).collect()))
            }
        }
    }

    /// One of the ways of writing it; `choices` says which.
    fn write(document: &Document, choices: &mut impl Iterator<Item = u8>) -> String {
        let space = |choices: &mut dyn Iterator<Item = u8>| {
            let choice = usize::from(choices.next().unwrap_or(0));
            ["", "", " ", "\n\t", "\r\n  "][choice % 5]
        };
        let body = match document {
            Document::Word(word) => (*word).to_owned(),
            Document::Number(text) => text.clone(),
            Document::Text(text) => written_string(text, choices),
            Document::List(items) => {
                let items: Vec<String> = items.iter().map(|item| write(item, choices)).collect();
                format!("[{}{}]", space(choices), items.join(","))
            }
            Document::Object(members) => {
                let mut order: Vec<_> = members.iter().map(|member| (choices.next(), member)).collect();
                order.sort_by_key(|(choice, _)| *choice);
                let mut members = Vec::new();
                for (_, (name, value)) in order {
                    let (name, before, after) =
                        (written_string(name, choices), space(choices), space(choices));
                    members.push(format!("{before}{name}{after}:{}", write(value, choices)));
                }
                format!("{{{}{}}}", members.join(","), space(choices))
            }
        };
        format!("{}{body}{}", space(choices), space(choices))
    }

    fn written_string(text: &str, choices: &mut impl Iterator<Item = u8>) -> String {
        let mut written = String::from("\"");
        for letter in text.chars() {
            let must = letter < ' ' || letter == '"' || letter == '\\';
            match (choices.next().unwrap_or(0) % 3, letter) {
                (0, '"' | '\\' | '/') => written.extend(['\\', letter]),
                (0, '\n') => written.push_str("\\n"),
                (choice, _) if choice == 2 || must => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        let _ = write!(written, "\\u{unit:04X}");
                    }
                }
                _ => written.push(letter),
            }
        }
        written + "\""
    }

    fn choices() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..200)
    }

    /// Noise that goes deeper than bytes at random.
    fn noise() -> impl Strategy<Value = Vec<u8>> {
        let pieces = prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\"", "\"a\":", "1", "-", "0", ".5", "e9", "\\",
            "\\u", "d800", "dc00", " ", "\n", "true", "null", "\u{feff}", "é",
        ]);
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(pieces, 0..16).prop_map(|pieces| pieces.concat().into_bytes()),
        ]
    }

    /// Whether a number of it is too large for a float, which is the only thing that `serde_json` minds and we don't.
    fn has_large_number(document: &Document) -> bool {
        match document {
            Document::Number(text) => text.parse::<f64>().is_ok_and(f64::is_infinite),
            Document::List(items) => items.iter().any(has_large_number),
            Document::Object(members) => members.values().any(has_large_number),
            Document::Word(_) | Document::Text(_) => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn every_way_of_writing_a_document_has_its_one_canonical_text(
            document in document(),
            one in choices(),
            other in choices(),
        ) {
            let (one, other) = (
                write(&document, &mut one.into_iter()),
                write(&document, &mut other.into_iter()),
            );
            let canonical = of(&one).unwrap();
            prop_assert_eq!(&canonical, &expected(&document));
            prop_assert_eq!(of(&other), Ok(canonical.clone()));
            prop_assert_eq!(of(&canonical), Ok(canonical.clone()));
            // An independent reader takes both for the same, as far as it can tell numbers apart.
            if !has_large_number(&document) {
                let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
                prop_assert_eq!(read(&one), read(&canonical));
            }
        }

        #[test]
        fn different_documents_have_different_canonical_texts(one in document(), other in document()) {
            prop_assert_eq!(expected(&one) == expected(&other), one == other);
        }

        #[test]
        fn another_text_of_a_number_is_another_document(
            prefix in "(\\[|\\{\"a\":|)",
            one in "-?[1-9][0-9]{0,2}(\\.[0-9]{1,2})?(e[1-3])?",
            other in "-?[1-9][0-9]{0,2}(\\.[0-9]{1,2})?(e[1-3])?",
        ) {
            let suffix = match prefix.bytes().next() { Some(b'[') => "]", Some(_) => "}", None => "" };
            let canonical = |number: &str| of(&format!("{prefix}{number}{suffix}")).unwrap();
            prop_assert_eq!(canonical(&one) == canonical(&other), one == other);
        }

        #[test]
        fn noise_is_read_as_serde_json_reads_it_or_refused(noise in noise()) {
            match canonical(&noise) {
                Ok(canonical) => {
                    prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&noise).is_ok());
                    prop_assert_eq!(of(&canonical), Ok(canonical.clone()));
                }
                Err(NotCanonical::Twice) => {}
                Err(why) => prop_assert!(serde_json::from_slice::<Value>(&noise).is_err(), "{why:?}"),
            }
        }
    }
}
