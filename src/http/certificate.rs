//! The certificate that clients see, as long as its files hold it: a renewed one is taken without a restart.
//!
//! The files are looked at when a connection comes in, every few seconds at most. What is read counts only as a pair
//! that fits: while one of the files is half written, or written before the other, the pair before goes on.

use crate::base::hint::render_error;
use crate::config::KeyPair;
use rustls::crypto::ring;
use rustls::{Error, ServerConfig};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a look at the files holds.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The server's certificate and key, of two files.
pub struct ServerCertificate {
    cert: PathBuf,
    key: PathBuf,
    current: Mutex<Arc<ServerConfig>>,
    last_check: Mutex<CertificateCheck>,
}

/// What the files were like when they were looked at last.
struct CertificateCheck {
    checked_at: Instant,
    /// When the current pair was read.
    current_stamps: CertificateStamps,
    /// When they were last read and held no pair: it is said once.
    rejected_stamps: Option<CertificateStamps>,
}

/// Inode, size, and time of the last change, of both files; a file that can't be looked at has none.
type CertificateStamps = [Option<(u64, u64, i64, i64)>; 2];

impl ServerCertificate {
    /// Reads both files. The error is a sentence that says which of them is wrong and what to do, without its path.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, String> {
        // Taken before the files are read: what changes meanwhile is seen the next time.
        let current = read_stamps(cert, key);
        let config = load_config(cert, key)?;
        let check = CertificateCheck { checked_at: Instant::now(), current_stamps: current, rejected_stamps: None };
        Ok(Self { cert: cert.into(), key: key.into(), current: Mutex::new(config), last_check: Mutex::new(check) })
    }

    /// What a connection that comes in now is served with.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.reload_if_changed();
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the files' pair, if there is a new one. One thread looks, the others don't wait for it: a file system may
    /// be slow to answer.
    fn reload_if_changed(&self) {
        let Ok(mut check) = self.last_check.try_lock() else { return };
        if check.checked_at.elapsed() < CHECK_INTERVAL {
            return;
        }
        check.checked_at = Instant::now();
        let found = read_stamps(&self.cert, &self.key);
        if found == check.current_stamps {
            check.rejected_stamps = None;
            return;
        }
        match load_config(&self.cert, &self.key) {
            Ok(config) => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = config;
                (check.current_stamps, check.rejected_stamps) = (found, None);
                log::info!("the TLS certificate was renewed: new connections get the new one");
            }
            // Read again at the next look, even if they seem unchanged: two writes may fall into one tick of the clock.
            Err(why) if check.rejected_stamps != Some(found) => {
                log::warn!("the renewed TLS certificate is not taken, the one before goes on: {why}");
                check.rejected_stamps = Some(found);
            }
            Err(_) => {}
        }
    }
}

fn read_stamps(cert: &Path, key: &Path) -> CertificateStamps {
    [cert, key].map(|path| {
        let about = fs::metadata(path).ok()?;
        // The time that nobody sets: a program that keeps that of the contents may put others into their place.
        Some((about.ino(), about.size(), about.ctime(), about.ctime_nsec()))
    })
}

/// The configuration for the pair that the files hold now.
fn load_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let KeyPair { chain, key } = KeyPair::load(cert, key).map_err(|error| render_error(&error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS can't be set up: {e}"))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| match e {
            Error::InconsistentKeys(_) => {
                "the key of --tls-key is not that of the certificate in --tls-cert, the first one there: name the two \
                 files that belong together"
                    .to_owned()
            }
            Error::InvalidCertificate(_) => {
                "--tls-cert names a file whose first certificate can't be read: write the server's own first".into()
            }
            _ => "--tls-key names a file with a key that can't be used: make an RSA (2048 to 8192 bits), P-256, P-384 \
                  or Ed25519 key"
                .into(),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
