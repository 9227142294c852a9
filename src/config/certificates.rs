//! Files of certificates and of keys, in PEM form: read, and understood as far as it goes.
//!
//! Where an `env:` or `file:` stood, the text itself is there in place of a file's name. No text of a file is ever shown.

use super::path::KeyPath;
use super::written::Written;
use crate::upstream;
use std::io::Read;
use std::path::Path;

/// A list of all public certificate authorities is a fifth of this.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// What every PEM text has.
const BEGIN: &str = "-----BEGIN ";

/// Certificates to trust.
pub(super) fn certificates(text: &str, path: &KeyPath, written: &mut Written) -> Option<Vec<u8>> {
    let pem = pem(text, "CERTIFICATE-----", "certificate", path, written)?;
    if upstream::roots(&pem).is_ok() {
        return Some(pem);
    }
    // Why, the library says with the line, and that is not for showing where it stood in a variable.
    let found = found(text, path, written);
    written.wrong(path, &format!("{found}has a certificate that makes no sense"));
    None
}

/// The text of a file that has a `what` in it, which is marked by these words.
pub(super) fn pem(
    text: &str,
    mark: &str,
    what: &str,
    path: &KeyPath,
    written: &mut Written,
) -> Option<Vec<u8>> {
    let found = found(text, path, written);
    let read = if text.contains(BEGIN) {
        Ok(text.as_bytes().to_vec())
    } else {
        read(&written.folder(path).join(Path::new(text)))
    };
    let wrong = match read {
        Err(error) => format!("{found}can't be read: {error}"),
        Ok(pem) if pem.len() as u64 > PEM_BYTES_MAX => {
            format!("{found}is longer than {PEM_BYTES_MAX} bytes")
        }
        Ok(pem) if has(&pem, mark) => return Some(pem),
        Ok(_) => format!("{found}has no {what} in PEM form (\"{BEGIN}{mark}\")"),
    };
    written.wrong(path, &wrong);
    None
}

/// The name of the file as it is shown.
fn found(text: &str, path: &KeyPath, written: &Written) -> String {
    if text.contains(BEGIN) { String::new() } else { written.shown(text, path) + " " }
}

/// `-----BEGIN RSA PRIVATE KEY-----` is a private key too.
fn has(pem: &[u8], mark: &str) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.lines().any(|line| line.starts_with(BEGIN) && line.trim_end().ends_with(mark))
}

/// And one byte more, if there are too many.
fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    std::fs::File::open(file)?.take(PEM_BYTES_MAX + 1).read_to_end(&mut pem)?;
    Ok(pem)
}
