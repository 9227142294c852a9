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
    /// Bytes of the line so far.
    line_bytes: usize,
    /// Its last byte is a CR.
    after_cr: bool,
    /// A line with something in it has come; empty ones before it are allowed (RFC 9112, 2.2).
    began: bool,
    /// The empty line that ends the head has come.
    over: bool,
}

impl HeadLines {
    /// Reads on; false if a line ends with a bare LF.
    pub fn accept(&mut self, mut bytes: &[u8]) -> bool {
        while !self.over {
            let Some(at) = memchr::memchr(b'\n', bytes) else {
                self.line_bytes += bytes.len();
                self.after_cr = bytes.last().map_or(self.after_cr, |last| *last == b'\r');
                return true;
            };
            let after_cr = if at == 0 { self.after_cr } else { bytes[at - 1] == b'\r' };
            if !after_cr {
                return false;
            }
            let is_empty = self.line_bytes + at == 1;
            self.over = is_empty && self.began;
            self.began |= !is_empty;
            self.line_bytes = 0;
            self.after_cr = false;
            bytes = &bytes[at + 1..];
        }
        true
    }
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
    }
}
