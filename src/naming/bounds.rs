//! `Bounds`: how much may come of pointers and templates. What a message or an answer holds is not ours to say.

/// How much may come of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Texts.
    pub count_max: usize,
    /// Bytes of one.
    pub bytes_max: usize,
}
