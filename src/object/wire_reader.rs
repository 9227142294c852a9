//! Reads numbers and texts from bytes that anyone may have written: what is not there is `None`.

/// What has not been read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    /// How much that is.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// So many bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'b [u8]> {
        let (read, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(read)
    }

    /// As many as are asked for.
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (read, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*read)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length of four bytes, and so many bytes.
    pub(super) fn text(&mut self) -> Option<&'b [u8]> {
        let length = self.u32()?;
        self.bytes(usize::try_from(length).ok()?)
    }

    /// How many things follow, each of which takes so many bytes at least: no more than there can be.
    pub(super) fn count(&mut self, bytes_min: usize) -> Option<usize> {
        let count = usize::try_from(self.u32()?).ok()?;
        (count <= self.left() / bytes_min).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_not_read() {
        let mut reader = Reader::new(b"\x01\x02\x00\x03\x00\x00\x00abc\x02\x00\x00\x00de");
        assert_eq!(reader.byte(), Some(1));
        assert_eq!(reader.u16(), Some(2));
        assert_eq!(reader.clone().u64(), Some(u64::from_le_bytes(*b"\x03\0\0\0abc\x02")));
        assert_eq!(reader.text(), Some(&b"abc"[..]));
        assert_eq!(reader.clone().count(2), None, "two things of two bytes in two bytes");
        assert_eq!(reader.clone().count(1), Some(2));
        assert_eq!(reader.u32(), Some(2));
        assert_eq!(
            (reader.u64(), reader.array::<3>(), reader.bytes(3), reader.text()),
            (None, None, None, None)
        );
        assert_eq!((reader.left(), reader.bytes(2), reader.is_empty()), (2, Some(&b"de"[..]), true));
    }
}
