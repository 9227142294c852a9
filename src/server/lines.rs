//! `HeadLines`: whether the lines of an HTTP/1 head end as they should.
//!
//! RFC 9112, 2.2: "Although the line terminator for the start-line and fields is the sequence CRLF, a recipient MAY recognize a
//! single LF as a line terminator and ignore any preceding CR." Two readers of which only one does see two different requests:
//! so a bare LF in a head ends the connection, before the parser, which would take it, has seen it.
//!
//! Bodies are nobody's lines: what comes after the empty line is not looked at until the next head begins.

/// One head, as it comes.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadLines {
    stage: Stage,
    /// Bytes of the line so far.
    line_bytes: usize,
    /// The last of them.
    last: u8,
    /// Something came behind it that may be the beginning of the next.
    has_more: bool,
    /// It may have begun in what was not looked at.
    is_late: bool,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing but empty lines, which are allowed there (RFC 9112, 2.2).
    #[default]
    Before,
    /// A line with something in it has come.
    Within,
    /// The empty line that ends it has come.
    Over,
}

impl HeadLines {
    /// The next head. If it may have begun already, what comes first of it may be any part of a line.
    #[must_use]
    pub fn next(self) -> Self {
        let stage = if self.has_more { Stage::Within } else { Stage::Before };
        Self { stage, is_late: self.has_more, ..Self::default() }
    }

    /// Something comes that is not looked at.
    pub fn go_by(&mut self) {
        self.has_more = true;
    }

    /// Reads on; false if a line ends with a bare LF.
    pub fn accept(&mut self, bytes: &[u8]) -> bool {
        let is_next = self.stage == Stage::Before && self.line_bytes == 0 && !self.is_late;
        if is_next && is_one_whole_head(bytes) {
            self.stage = Stage::Over;
            self.last = b'\n';
            return true;
        }
        self.accept_lines(bytes)
    }

    fn accept_lines(&mut self, mut bytes: &[u8]) -> bool {
        // The CR may be in what was not looked at: this head is left to the parser.
        if std::mem::take(&mut self.is_late) && bytes.first() == Some(&b'\n') {
            self.stage = Stage::Over;
        }
        while self.stage != Stage::Over {
            let Some(at) = memchr::memchr(b'\n', bytes) else {
                self.line_bytes += bytes.len();
                self.last = bytes.last().copied().unwrap_or(self.last);
                return true;
            };
            let before = if at == 0 { self.last } else { bytes[at - 1] };
            if before != b'\r' {
                return false;
            }
            let is_empty = self.line_bytes + at == 1;
            self.stage = match (self.stage, is_empty) {
                (Stage::Before, true) => Stage::Before,
                (_, true) => Stage::Over,
                (_, false) => Stage::Within,
            };
            self.line_bytes = 0;
            self.last = b'\n';
            bytes = &bytes[at + 1..];
        }
        self.has_more |= !bytes.is_empty();
        true
    }
}

/// Nearly all that comes is: lines that end with CRLF, the last of them empty, and no other. All bytes in one walk, which the
/// processor takes many at a time.
fn is_one_whole_head(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_suffix(b"\r\n\r\n") else {
        return false;
    };
    // Each byte of the lines, and the three behind it. Numbers, since it is quicker to look at all than to decide at each.
    let from = |at: usize| bytes.get(at..).unwrap_or_default();
    let is = |byte: &u8, what: u8| u8::from(*byte == what);
    let others = rest.iter().zip(from(1)).zip(from(2)).zip(from(3)).fold(0, |others, (((a, b), c), d)| {
        let is_bare = (is(a, b'\r') ^ 1) & is(b, b'\n');
        let is_empty_line = is(a, b'\r') & is(b, b'\n') & is(c, b'\r') & is(d, b'\n');
        others | is_bare | is_empty_line
    });
    // An empty line may come first.
    others == 0 && !matches!(rest.first(), None | Some(b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_lines_of_a_head_have_to_end_with_crlf() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\nbody\n", true),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", false),
            ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a", true),
        ] {
            assert_eq!(HeadLines::default().accept(text.as_bytes()), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn it_makes_no_difference_in_which_pieces_a_head_comes(text in "[ab\r\n]{0,40}", at in 0_usize..40) {
            let whole = HeadLines::default().accept(text.as_bytes());
            let (one, two) = text.as_bytes().split_at(at.min(text.len()));
            let mut lines = HeadLines::default();
            prop_assert_eq!(lines.accept(one) && lines.accept(two), whole);
        }

        #[test]
        fn a_whole_head_is_seen_at_once_for_what_it_is_line_by_line(text in "[ab\r\n]{0,40}(\r\n|\n|)\r\n") {
            let (mut at_once, mut by_line) = (HeadLines::default(), HeadLines::default());
            let (accepts, expected) = (at_once.accept(text.as_bytes()), by_line.accept_lines(text.as_bytes()));
            prop_assert_eq!(accepts, expected);
            if accepts {
                prop_assert_eq!(format!("{at_once:?}"), format!("{by_line:?}"));
            }
        }
    }
}
