//! The server's certificate, reloaded when its files change.
//!
//! A new connection checks the files, at most every few seconds. A changed pair is used only if certificate and key
//! fit. While one of the files is half written, or written before the other, the current pair stays in use.

use crate::base::file_stamp::FileStamp;
use crate::base::hint::{Hint, render_error};
use crate::config::{KeyPair, KeyPairError};
use rustls::ServerConfig;
use rustls::crypto::ring;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Minimum interval between two checks of the files.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The server's certificate and key, loaded from two files.
pub struct ServerCertificate {
    cert: PathBuf,
    key: PathBuf,
    current: Mutex<Arc<ServerConfig>>,
    last_check: Mutex<CertificateCheck>,
}

/// Reason why a certificate and its key cannot be used. It names the flag and not the path.
#[derive(Debug, Error)]
pub enum CertificateError {
    #[error("{0}")]
    KeyPair(#[from] KeyPairError),
    #[error("cannot set up TLS: {0}")]
    Setup(rustls::Error),
    #[error("the key of --tls-key is not that of the certificate in --tls-cert, the first one there")]
    MismatchedKey,
    #[error("--tls-cert names a file whose first certificate cannot be read")]
    InvalidCertificate,
    #[error("--tls-key names a file with a key that cannot be used")]
    UnsupportedKey,
}

impl Hint for CertificateError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::KeyPair(error) => error.hint(),
            Self::Setup(_) => None,
            Self::MismatchedKey => Some("name the two files that belong together".into()),
            Self::InvalidCertificate => Some("put the server's own certificate first".into()),
            Self::UnsupportedKey => Some("create an RSA (2048 to 8192 bits), P-256, P-384 or Ed25519 key".into()),
        }
    }
}

struct CertificateCheck {
    checked_at: Instant,
    /// Stamps of the current pair.
    current_stamps: CertificateStamps,
    /// Stamps of a pair that failed to load, so that its error is logged once.
    rejected_stamps: Option<CertificateStamps>,
}

/// Stamps of both files, `None` for an unreadable file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CertificateStamps {
    cert: Option<FileStamp>,
    key: Option<FileStamp>,
}

impl ServerCertificate {
    pub fn load(cert: &Path, key: &Path) -> Result<Self, CertificateError> {
        // Read before the files: the next check then sees a change made meanwhile.
        let current_stamps = CertificateStamps::take(cert, key);
        let config = load_config(cert, key)?;
        let check = CertificateCheck { checked_at: Instant::now(), current_stamps, rejected_stamps: None };
        Ok(Self { cert: cert.into(), key: key.into(), current: Mutex::new(config), last_check: Mutex::new(check) })
    }

    /// Returns the configuration for a new connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.reload_if_changed();
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads the files if they changed. One thread does so, and the others do not wait: a file system may be slow.
    fn reload_if_changed(&self) {
        let Ok(mut check) = self.last_check.try_lock() else { return };
        if check.checked_at.elapsed() < CHECK_INTERVAL {
            return;
        }
        check.checked_at = Instant::now();
        let stamps = CertificateStamps::take(&self.cert, &self.key);
        if stamps == check.current_stamps {
            check.rejected_stamps = None;
            return;
        }
        match load_config(&self.cert, &self.key) {
            Ok(config) => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = config;
                (check.current_stamps, check.rejected_stamps) = (stamps, None);
                log::info!("the TLS certificate was renewed, new connections use the new one");
            }
            // The next check loads the files again even if their stamps are unchanged: two writes may share one tick of
            // the clock.
            Err(error) if check.rejected_stamps != Some(stamps) => {
                log::warn!(
                    "cannot load the renewed TLS certificate, keeping the current one: {}",
                    render_error(&error)
                );
                check.rejected_stamps = Some(stamps);
            }
            Err(_) => {}
        }
    }
}

impl CertificateStamps {
    fn take(cert: &Path, key: &Path) -> Self {
        Self { cert: FileStamp::take(cert), key: FileStamp::take(key) }
    }
}

fn load_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, CertificateError> {
    let KeyPair { chain, key } = KeyPair::load(cert, key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(CertificateError::Setup)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => CertificateError::MismatchedKey,
            rustls::Error::InvalidCertificate(_) => CertificateError::InvalidCertificate,
            _ => CertificateError::UnsupportedKey,
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
