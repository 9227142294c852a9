//! What a value in the shared tier is sealed with.

use std::fmt;

/// 32 bytes; shown by nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKey(pub [u8; 32]);

/// How values are sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cipher {
    /// Fast where the processor helps.
    #[default]
    Aes256Gcm,
    /// Fast where it does not.
    ChaCha20Poly1305,
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(…)")
    }
}
