//! The certificate and the key that the server shows to its own clients: `--tls-cert` and `--tls-key`.

use super::files;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

const CHAIN_HINT: &str =
    "write the server's certificate in PEM (-----BEGIN CERTIFICATE-----), those that signed it after it";

/// A certificate with those that signed it, its own first, and a private key: each can be read, whether they fit is not
/// known yet.
pub struct KeyPair {
    /// At least one.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PrivateKeyDer<'static>,
}

impl KeyPair {
    /// Reads both files, and warns where others can read the key. The error says which of the two is wrong, and shows
    /// neither its path nor anything of what it holds.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, String> {
        let chain = read_chain(cert).map_err(|why| format!("--tls-cert names a file that {why}"))?;
        let key = read_private_key(key).map_err(|why| format!("--tls-key names a file that {why}"))?;
        Ok(Self { chain, key })
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let contents = files::read_file(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&contents.bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(format!("holds no certificate: {CHAIN_HINT}")),
        Err(_) => Err(format!("is no valid PEM: {CHAIN_HINT}")),
    }
}

fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let contents = files::read_file(path)?;
    let is_there = |marker: &str| contents.bytes.windows(marker.len()).any(|part| part == marker.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(&contents.bytes);
    // `Proc-Type: 4,ENCRYPTED` is what OpenSSL wrote once, between the marks of a plain key.
    if is_there("ENCRYPTED") {
        return Err(
            "holds an encrypted key, and nobody is there to type its passphrase: decrypt it (`openssl pkey -in \
                    FILE -out NEWFILE`) and keep the new file readable by its owner alone"
                .into(),
        );
    }
    let key = key.map_err(|_| {
        "holds no private key: write it in PEM (-----BEGIN PRIVATE KEY-----, RSA PRIVATE KEY or EC PRIVATE KEY)"
            .to_owned()
    })?;
    if contents.world_readable {
        files::warn_world_readable(path);
    }
    Ok(key)
}
