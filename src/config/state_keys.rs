//! The secrets of `--state-key-file`, which replicas share.

use super::files::{self, FileError};
use crate::base::hint::Hint;
use crate::base::sealing_keys::SealingKeys;
use std::borrow::Cow;
use std::path::Path;
use thiserror::Error;

/// The fewest characters of a key. `openssl rand -base64 32` prints 44.
const MIN_KEY_CHARS: usize = 32;
/// The most keys: the present one, and another one during a rotation.
const MAX_KEYS: usize = 2;

/// The reason why the keys of `--state-key-file` cannot be used.
#[derive(Debug, Error)]
pub enum StateKeyError {
    #[error("--state-key-file names a file that {0}")]
    File(FileError),
    #[error("--state-key-file names a file with {0} keys instead of one, or two during a rotation")]
    Count(usize),
    #[error("--state-key-file names a file whose key {0} has fewer than {MIN_KEY_CHARS} characters")]
    Short(usize),
    #[error("--state-key-file names a file that has the same key twice")]
    Same,
}

impl Hint for StateKeyError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::File(error) => error.hint(),
            Self::Count(_) | Self::Short(_) => Some("make a key with `openssl rand -base64 32`, one in a line".into()),
            Self::Same => Some("keep one of the lines".into()),
        }
    }
}

/// Reads the keys of a file, one in a line. The first one seals, and every one opens.
///
/// # Errors
/// The file can't be read, or has no keys that replicas can share. The error does not contain them.
pub fn load_state_keys(path: &Path) -> Result<SealingKeys, StateKeyError> {
    let text = files::read_secret(path).map_err(StateKeyError::File)?;
    parse_state_keys(&text)
}

fn parse_state_keys(text: &str) -> Result<SealingKeys, StateKeyError> {
    let keys: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if keys.is_empty() || keys.len() > MAX_KEYS {
        return Err(StateKeyError::Count(keys.len()));
    }
    if let Some(short) = keys.iter().position(|key| key.len() < MIN_KEY_CHARS) {
        return Err(StateKeyError::Short(short + 1));
    }
    if let [one, other] = keys[..]
        && one == other
    {
        return Err(StateKeyError::Same);
    }
    Ok(SealingKeys::shared(keys.into_iter().map(str::as_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hint::render_error;

    #[test]
    fn one_key_or_two_different_ones_are_read() {
        let (old, new) = ("0".repeat(MIN_KEY_CHARS), "1".repeat(44));
        for text in [old.clone(), format!("{new}\n{old}"), format!("\r\n {new}\r\n\n{old} \r\n")] {
            assert!(parse_state_keys(&text).is_ok(), "{text}");
        }
        for (text, part) in [
            (String::new(), "0 keys"),
            (format!("{old}\n{new}\n{old}"), "3 keys"),
            (format!("{new}\n{}", &old[1..]), "key 2 has fewer than 32"),
            (format!("{old}\n{old}"), "twice"),
        ] {
            let error = render_error(&parse_state_keys(&text).err().expect(part));
            assert!(error.contains(part) && error.contains("hint") && !error.contains("0000"), "{error}");
        }
    }
}
