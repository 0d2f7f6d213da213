//! The files a configuration is made of. No error names the file it is about: a path in the configuration may be a
//! secret in the wrong field.

use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// A file that fits its purpose is a few KB; what is larger is the wrong one.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a file held.
pub(super) struct FileContents {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// Whether others than the owner can read it.
    pub(super) world_readable: bool,
}

/// A whole file. The error continues a sentence whose subject is the file, and does not name it: a path in the
/// configuration may be a secret in the wrong field.
pub(super) fn read_file(path: &Path) -> Result<FileContents, String> {
    let why = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "can't be read by the user this runs as: change its owner or mode".into(),
        io::ErrorKind::IsADirectory => {
            "is a directory: name a file (Docker makes a directory where a mounted file is missing)".into()
        }
        _ => format!("can't be read ({error})"),
    };
    let mut file = File::open(path).map_err(why)?;
    let open = file.metadata().is_ok_and(|about| about.permissions().mode() & 0o007 != 0);
    let mut bytes = Zeroizing::new(Vec::new());
    file.by_ref().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(why)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err("is larger than 1 MiB: is it the right one?".into());
    }
    Ok(FileContents { bytes, world_readable: open })
}

pub(super) fn decode_utf8(bytes: &[u8]) -> Result<&str, String> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err("is UTF-16: save it as UTF-8".into());
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let line = bytes.iter().take(error.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        format!("is not UTF-8 (line {line}): save it as UTF-8")
    })?;
    // Editors on Windows put a byte order mark in front.
    Ok(text.strip_prefix('\u{FEFF}').unwrap_or(text))
}

pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<String>, String> {
    let contents = read_file(path).map_err(|why| format!("names a file that {why}"))?;
    let text = decode_utf8(&contents.bytes).map_err(|why| format!("names a file that {why}"))?;
    if contents.world_readable {
        warn_world_readable(path);
    }
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    const REMEDY: &str = "copy /etc/pve/pve-root-ca.pem of a node";
    let contents = read_file(path).map_err(|why| format!("names a file that {why}"))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&contents.bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| format!("names a file that is no valid PEM: {REMEDY}"))?;
    if certificates.is_empty() {
        return Err(format!("names a file without a PEM certificate (-----BEGIN CERTIFICATE-----): {REMEDY}"));
    }
    Ok(certificates)
}

pub(super) fn warn_world_readable(path: &Path) {
    log::warn!("others can read the secret in {0} (chmod 600 {0})", path.display());
}
