//! Client tokens, of which the server keeps the SHA-256 alone. A token has 256 random bits, so salt or stretching would
//! not make its hash harder to invert.

use crate::base::hint::Hint;
use crate::base::secret::constant_time_eq;
use crate::sanitize::TOKEN_PREFIX;
use ring::digest;
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// A shorter token can be guessed.
const MIN_TOKEN_LEN: usize = 16;

/// The SHA-256 of a client's token.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// A value that is not the hash of any token.
    pub(super) const UNKNOWN: Self = Self([0; 32]);

    pub fn from_token(token: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, token);
        Self(digest.as_ref().try_into().expect("a SHA-256 has 32 bytes"))
    }

    /// Returns whether it is the hash of a token.
    pub fn is_known(&self) -> bool {
        self.0 != Self::UNKNOWN.0
    }

    /// Compares all bytes, so that the time does not tell how many are right.
    pub fn ct_eq(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

impl fmt::Display for TokenHash {
    /// Writes 64 hex digits, the form of `token_sha256`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    /// Hides the hash: a token that a person made up can be guessed from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// The reason why a text is no token. It continues a sentence about the place of the text.
#[derive(Debug, Error)]
pub enum TokenError {
    #[error("holds fewer than {MIN_TOKEN_LEN} characters, which can be guessed")]
    TooShort,
    #[error("holds a space or another character that no token has")]
    InvalidCharacter,
}

impl Hint for TokenError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(match self {
            Self::TooShort => "make a token with `proxmox-mcp token`",
            Self::InvalidCharacter => "write the token alone, such as `proxmox-mcp token` makes",
        }))
    }
}

/// Checks a token and returns its hash.
pub(super) fn hash_token(text: &str) -> Result<TokenHash, TokenError> {
    if text.len() < MIN_TOKEN_LEN {
        return Err(TokenError::TooShort);
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(TokenError::InvalidCharacter);
    }
    Ok(TokenHash::from_token(text.as_bytes()))
}

/// The reason why a text is no hash of a token.
#[derive(Debug, Error)]
pub(super) enum TokenHashError {
    #[error("holds the token itself")]
    TokenItself(TokenHash),
    #[error("is no SHA-256")]
    Invalid,
}

impl Hint for TokenHashError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::TokenItself(hash) => format!("write its SHA-256, \"{hash}\"").into(),
            Self::Invalid => "write the 64 hex digits that `proxmox-mcp token` prints".into(),
        })
    }
}

/// Parses the value of `token_sha256`.
pub(super) fn parse_token_sha256(text: &str) -> Result<TokenHash, TokenHashError> {
    if text.starts_with(TOKEN_PREFIX) {
        return Err(TokenHashError::TokenItself(TokenHash::from_token(text.as_bytes())));
    }
    decode_hex_32(text.as_bytes()).map(TokenHash).ok_or(TokenHashError::Invalid)
}

/// Decodes 64 hex digits.
pub(super) fn decode_hex_32(digits: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: &u8| char::from(*digit).to_digit(16);
        let [high, low] = pair else { return None };
        *byte = (value(high)? * 16 + value(low)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_hash_is_its_sha256_and_is_hidden_in_debug() {
        let hash = TokenHash::from_token(b"abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), hex);
        assert!(parse_token_sha256(hex).is_ok_and(|read| read.ct_eq(&hash)));
        assert!(parse_token_sha256(&hex.to_uppercase()).is_ok_and(|read| read.ct_eq(&hash)));
        assert_eq!(format!("{hash:?}"), "TokenHash(…)");
        assert!(!hash.ct_eq(&TokenHash::from_token(b"abd")) && !hash.ct_eq(&TokenHash::UNKNOWN));
    }

    #[test]
    fn hashes_that_differ_in_one_bit_are_not_equal() {
        let hash = TokenHash::from_token(b"abc");
        for i in 0..32 {
            let mut other = hash;
            other.0[i] ^= 1;
            assert!(!hash.ct_eq(&other), "byte {i}");
        }
    }
}
