//! Files of the configuration.

use crate::base::hint::Hint;
use crate::sanitize::printable_path;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use thiserror::Error;
use zeroize::Zeroizing;

/// Configuration files have a few KiB. A larger file is not one.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The reason why a file cannot be used. It continues a sentence about the file and does not contain the path, which may
/// be a secret in the wrong field.
#[derive(Debug, Error)]
pub enum FileError {
    #[error("does not exist")]
    NotFound,
    #[error("cannot be read by the user that this program runs as")]
    PermissionDenied,
    #[error("is a directory")]
    IsDirectory,
    #[error("cannot be read: {0}")]
    Io(io::Error),
    #[error("is larger than 1 MiB")]
    TooLarge,
    #[error("is UTF-16")]
    Utf16,
    #[error("is not UTF-8 (line {line})")]
    NotUtf8 { line: usize },
    #[error("is not valid PEM")]
    InvalidPem { hint: &'static str },
    #[error("holds no certificate (-----BEGIN CERTIFICATE-----)")]
    NoCertificate { hint: &'static str },
    #[error("holds an encrypted key, whose passphrase this program cannot ask for")]
    EncryptedKey,
    #[error("holds no private key")]
    NoPrivateKey,
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::PermissionDenied,
            io::ErrorKind::IsADirectory => Self::IsDirectory,
            _ => Self::Io(error),
        }
    }
}

impl Hint for FileError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(match self {
            Self::NotFound | Self::Io(_) => return None,
            Self::PermissionDenied => "change its owner or mode",
            Self::IsDirectory => "name a file (Docker makes a directory if a mounted file is missing)",
            Self::TooLarge => "check that it is the right file",
            Self::Utf16 | Self::NotUtf8 { .. } => "save it as UTF-8",
            Self::InvalidPem { hint } | Self::NoCertificate { hint } => hint,
            Self::EncryptedKey => {
                "decrypt it (`openssl pkey -in FILE -out NEWFILE`) and make the new file readable by its owner alone"
            }
            Self::NoPrivateKey => "write it in PEM (-----BEGIN PRIVATE KEY-----, RSA PRIVATE KEY or EC PRIVATE KEY)",
        }))
    }
}

pub(super) struct FileContents {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// Set if users besides the owner and the group can read the file.
    pub(super) world_readable: bool,
}

/// Reads a whole file.
pub(super) fn read_file(path: &Path) -> Result<FileContents, FileError> {
    let mut file = File::open(path)?;
    let world_readable = file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0);
    let mut bytes = Zeroizing::new(Vec::new());
    file.by_ref().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(FileError::TooLarge);
    }
    Ok(FileContents { bytes, world_readable })
}

/// Decodes UTF-8 with or without a byte order mark, which editors on Windows write.
pub(super) fn decode_utf8(bytes: &[u8]) -> Result<&str, FileError> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err(FileError::Utf16);
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let line = bytes.iter().take(error.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        FileError::NotUtf8 { line }
    })?;
    Ok(text.strip_prefix('\u{FEFF}').unwrap_or(text))
}

/// Reads a secret without its final line break. Logs a warning if other users can read the file.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let contents = read_file(path)?;
    let text = decode_utf8(&contents.bytes)?;
    if contents.world_readable {
        warn_world_readable(path);
    }
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Reads a PEM file with at least one certificate. `hint` names the right contents.
pub(super) fn read_certificates(path: &Path, hint: &'static str) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let contents = read_file(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&contents.bytes).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(FileError::NoCertificate { hint }),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(FileError::InvalidPem { hint }),
    }
}

pub(super) fn warn_world_readable(path: &Path) {
    log::warn!("other users can read the secret in {0}. hint: chmod 600 {0}", printable_path(path));
}
