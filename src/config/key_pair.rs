//! The server's certificate and key: `--tls-cert` and `--tls-key`.

use super::files::{self, FileError};
use crate::base::hint::Hint;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::borrow::Cow;
use std::path::Path;
use thiserror::Error;

/// A certificate with its chain, and a private key. They need not fit.
pub struct KeyPair {
    /// The server's own certificate, then its issuers.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PrivateKeyDer<'static>,
}

/// The reason why one of the files cannot be used. It contains neither the path nor the contents.
#[derive(Debug, Error)]
pub enum KeyPairError {
    #[error("--tls-cert names a file that {0}")]
    Certificate(FileError),
    #[error("--tls-key names a file that {0}")]
    PrivateKey(FileError),
}

impl Hint for KeyPairError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Certificate(error) | Self::PrivateKey(error) => error.hint(),
        }
    }
}

impl KeyPair {
    /// Reads both files. Logs a warning if other users can read the key.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, KeyPairError> {
        const CHAIN_HINT: &str = "write the server's certificate in PEM, then those of its issuers";
        Ok(Self {
            chain: files::read_certificates(cert, CHAIN_HINT).map_err(KeyPairError::Certificate)?,
            key: read_private_key(key).map_err(KeyPairError::PrivateKey)?,
        })
    }
}

fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    let contents = files::read_file(path)?;
    // Old versions of OpenSSL write `Proc-Type: 4,ENCRYPTED` into a key of the plain type.
    if contents.bytes.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
        return Err(FileError::EncryptedKey);
    }
    let key = PrivateKeyDer::from_pem_slice(&contents.bytes).map_err(|_| FileError::NoPrivateKey)?;
    if contents.world_readable {
        files::warn_world_readable(path);
    }
    Ok(key)
}
