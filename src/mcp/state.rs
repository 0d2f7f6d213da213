//! `requestState` of 2026-07-28: what a tool wants back with the answers to its questions, on its way through a client
//! that may change it. Sealed with HMAC-SHA256 under a key of this process, bound to its purpose and to ten minutes.

use super::message::Fault;
use ring::hmac;
use ring::rand::SystemRandom;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LIFETIME: Duration = Duration::from_secs(600);

/// Seals and opens states.
pub struct Seal(hmac::Key);

impl Seal {
    /// A seal with a new key; states of another process (or of an earlier run) don't open.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new() -> Result<Self, ring::error::Unspecified> {
        hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map(Self)
    }

    /// `state` as a text for the client.
    pub fn close(&self, state: &Value, purpose: &str) -> String {
        let until = now().saturating_add(LIFETIME.as_secs());
        let text = format!("{until}.{state}");
        format!("{}.{text}", hex(self.tag(&text, purpose).as_ref()))
    }

    /// The state in a text of [`Seal::close`] with the same purpose.
    pub fn open(&self, sealed: &str, purpose: &str) -> Result<Value, Fault> {
        let refuse = || {
            Fault::params("requestState is not valid (changed, expired, or not of this request): call again without it")
        };
        let (tag, text) = sealed.split_once('.').ok_or_else(refuse)?;
        let tag = unhex(tag).ok_or_else(refuse)?;
        // The purpose is part of what is signed, not of what is sent.
        hmac::verify(&self.0, signed(text, purpose).as_bytes(), &tag).map_err(|_| refuse())?;
        let (until, state) = text.split_once('.').ok_or_else(refuse)?;
        if until.parse::<u64>().map_err(|_| refuse())? < now() {
            return Err(refuse());
        }
        serde_json::from_str(state).map_err(|_| refuse())
    }

    fn tag(&self, text: &str, purpose: &str) -> hmac::Tag {
        hmac::sign(&self.0, signed(text, purpose).as_bytes())
    }
}

fn signed(text: &str, purpose: &str) -> String {
    // The length keeps a purpose from reaching into the text.
    format!("{}:{purpose}{text}", purpose.len())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).filter_map(|p| Some(p.first()? << 4 | p.get(1)?)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_state_opens_only_unchanged_and_for_its_purpose() {
        let seal = Seal::new().unwrap();
        let sealed = seal.close(&json!({"round": 1}), "tools/call x");
        assert_eq!(seal.open(&sealed, "tools/call x").unwrap(), json!({"round": 1}));
        assert!(seal.open(&sealed, "tools/call y").is_err());
        assert!(seal.open(&sealed.replace("\"round\":1", "\"round\":2"), "tools/call x").is_err());
        assert!(Seal::new().unwrap().open(&sealed, "tools/call x").is_err());
        for junk in ["", ".", "zz.1.{}", "é.1.{}", &sealed[1..], &sealed[..sealed.len() - 1]] {
            assert!(seal.open(junk, "tools/call x").is_err(), "{junk}");
        }
    }

    #[test]
    fn a_state_expires() {
        let seal = Seal::new().unwrap();
        let text = format!("{}.{{}}", now() - 1);
        let sealed = format!("{}.{text}", hex(seal.tag(&text, "p").as_ref()));
        assert!(seal.open(&sealed, "p").is_err());
    }
}
