//! Bodies made smaller for the way, with zstd, and made whole again.
//!
//! What was compressed by who sent it is left alone, and so is what hardly shrinks. Contexts are kept, for making one costs
//! more than most bodies do. Invariant: what is made whole never takes more room than was asked for beforehand.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

/// Compresses and decompresses; shared by all threads.
pub(super) struct Squeeze {
    /// Bodies longer than this are compressed; none: no body is.
    above_bytes: Option<u64>,
    compressors: Spare<Compressor<'static>>,
    decompressors: Spare<Decompressor<'static>>,
}

/// Contexts that nobody uses just now. The lock is held to take one and to give it back, not while it is used.
struct Spare<C> {
    contexts: Mutex<Vec<C>>,
}

/// zstd's own default: beyond it, time grows faster than what is saved.
const LEVEL: i32 = 3;

/// More are not kept: one that compresses takes about a megabyte, and one task writes; one that decompresses a sixth of that.
const SPARE_MAX: usize = 8;

/// Types whose bodies are compressed as they are.
const COMPRESSED: &[&str] = &[
    "application/epub+zip",
    "application/gzip",
    "application/java-archive",
    "application/vnd.rar",
    "application/x-7z-compressed",
    "application/x-bzip",
    "application/x-bzip2",
    "application/x-gzip",
    "application/x-rar-compressed",
    "application/x-xz",
    "application/zip",
    "application/zlib",
    "application/zstd",
    "font/woff",
    "font/woff2",
];

impl Squeeze {
    /// Keeps no context yet.
    pub(super) fn new(above_bytes: Option<u64>) -> Self {
        Self { above_bytes, compressors: Spare::new(), decompressors: Spare::new() }
    }

    /// The body made smaller, if that is worth it.
    pub(super) fn squeezed(&self, headers: &HeaderMap, body: &[u8]) -> Option<Vec<u8>> {
        let is_long = self.above_bytes.is_some_and(|above| body.len() as u64 > above);
        if !is_long || is_compressed(headers) {
            return None;
        }
        // With less than a tenth gone, the readers' time is not worth the room: zstd gives up where it gets no further.
        let mut squeezed = Vec::with_capacity(body.len() - body.len() / 10);
        let mut compressor = self.compressors.take(|| Compressor::new(LEVEL).ok())?;
        let done = compressor.compress_to_buffer(body, &mut squeezed);
        self.compressors.give_back(compressor);
        done.ok().map(|_| squeezed)
    }

    /// The body made whole: `length` bytes, or none. The caller has seen that it may be so long.
    pub(super) fn whole(&self, squeezed: &[u8], length: usize) -> Option<Vec<u8>> {
        // Before there is room for it: what was squeezed here says how long it was.
        let said = get_frame_content_size(squeezed).ok().flatten();
        if said != u64::try_from(length).ok() {
            return None;
        }
        let mut whole = Vec::with_capacity(length);
        let mut decompressor = self.decompressors.take(|| Decompressor::new().ok())?;
        let done = decompressor.decompress_to_buffer(squeezed, &mut whole);
        self.decompressors.give_back(decompressor);
        done.ok().filter(|written| *written == length).map(|_| whole)
    }
}

impl<C> Spare<C> {
    fn new() -> Self {
        Self { contexts: Mutex::new(Vec::new()) }
    }

    fn take(&self, new: impl FnOnce() -> Option<C>) -> Option<C> {
        let kept = self.contexts.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.or_else(new)
    }

    fn give_back(&self, context: C) {
        let mut contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        if contexts.len() < SPARE_MAX {
            contexts.push(context);
        }
    }
}

/// Whether who sent it says that it is.
fn is_compressed(headers: &HeaderMap) -> bool {
    if headers.contains_key(CONTENT_ENCODING) {
        return true;
    }
    let Some(line) = headers.get(CONTENT_TYPE) else { return false };
    let name = line.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let name = name.trim_ascii().to_ascii_lowercase();
    // An SVG is text.
    let is_medium = [&b"image/"[..], b"video/", b"audio/"].iter().any(|kind| name.starts_with(kind));
    is_medium && name != b"image/svg+xml" || COMPRESSED.iter().any(|kind| name == kind.as_bytes())
}

impl fmt::Debug for Squeeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Squeeze").field("above_bytes", &self.above_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    /// What does not compress: a generator's numbers (Knuth's constants).
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn what_is_long_and_not_compressed_yet_is() {
        let squeeze = Squeeze::new(Some(1000));
        let text = vec![b'a'; 1001];
        for (content_type, expected) in [
            ("application/json", true),
            ("text/html; charset=utf-8", true),
            ("image/svg+xml", true),
            ("application/octet-stream", true),
            ("image/png", false),
            (" Image/PNG ; x=y", false),
            ("video/mp4", false),
            ("audio/ogg", false),
            ("font/woff2", false),
            ("application/zip", false),
            ("application/gzip", false),
            ("", true),
        ] {
            let squeezed = squeeze.squeezed(&headers(content_type), &text);
            assert_eq!(squeezed.is_some(), expected, "{content_type}");
        }
        assert!(squeeze.squeezed(&HeaderMap::new(), &text).is_some());
        assert!(squeeze.squeezed(&HeaderMap::new(), &text[..1000]).is_none(), "not above the threshold");
        assert!(Squeeze::new(None).squeezed(&HeaderMap::new(), &text).is_none());
        let mut encoded = headers("text/html");
        encoded.insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
        assert!(squeeze.squeezed(&encoded, &text).is_none());
    }

    #[test]
    fn what_hardly_shrinks_is_left_alone() {
        let squeeze = Squeeze::new(Some(0));
        assert!(squeeze.squeezed(&HeaderMap::new(), &noise(10_000)).is_none());
        assert!(squeeze.squeezed(&HeaderMap::new(), b"a").is_none());
        // Also after one that did not fit, the context is good.
        let mut half = noise(5_000);
        half.resize(10_000, 0);
        let squeezed = squeeze.squeezed(&HeaderMap::new(), &half).unwrap();
        assert_eq!(squeeze.whole(&squeezed, half.len()), Some(half));
    }

    #[test]
    fn what_is_not_as_long_as_it_says_is_none() {
        let squeeze = Squeeze::new(Some(0));
        let body = vec![0; 100_000];
        let squeezed = squeeze.squeezed(&HeaderMap::new(), &body).unwrap();
        assert_eq!(squeeze.whole(&squeezed, body.len()), Some(body));
        for length in [0, 1, 99_999, 100_001, usize::MAX] {
            assert_eq!(squeeze.whole(&squeezed, length), None);
        }
        for end in 0..squeezed.len() {
            assert_eq!(squeeze.whole(&squeezed[..end], 100_000), None);
        }
        assert_eq!(squeeze.whole(&[squeezed.as_slice(), &squeezed].concat(), 100_000), None);
        // Several frames, each of which says how long it is: the first is taken at its word.
        let small = squeeze.squeezed(&HeaderMap::new(), &[0; 100]).unwrap();
        assert_eq!(squeeze.whole(&[small.as_slice(), &squeezed].concat(), 100), None);
    }

    #[test]
    fn what_is_made_whole_has_no_more_room_than_it_needs() {
        let squeeze = Squeeze::new(Some(0));
        let squeezed = squeeze.squeezed(&HeaderMap::new(), &[7; 5000]).unwrap();
        assert_eq!(squeeze.whole(&squeezed, 5000).map(|whole| whole.capacity()), Some(5000));
    }
}
