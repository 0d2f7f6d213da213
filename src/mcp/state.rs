//! `requestState` of 2026-07-28: what a tool wants back with the answers to its questions, on its way through a client
//! that may change it. Sealed with HMAC-SHA256 under a key of this process, bound to its purpose and to ten minutes.

use super::message::Fault;
use ring::hmac;
use ring::rand::SystemRandom;
use serde_json::Value;
use std::time::{Duration, Instant};

const LIFETIME: Duration = Duration::from_secs(600);

/// Seals and opens states.
pub struct Seal {
    key: hmac::Key,
    begun: Instant,
}

impl Seal {
    /// A seal with a new key; states of another process (or of an earlier run) don't open.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new() -> Result<Self, ring::error::Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?;
        Ok(Self { key, begun: Instant::now() })
    }

    /// `state` as a text for the client.
    pub fn close(&self, state: &Value, purpose: &str) -> String {
        self.close_at(state, purpose, self.now())
    }

    fn close_at(&self, state: &Value, purpose: &str, now: u64) -> String {
        let until = now.saturating_add(LIFETIME.as_secs());
        let text = format!("{until}.{state}");
        format!("{}.{text}", hex(self.tag(&text, purpose).as_ref()))
    }

    /// The state in a text of [`Seal::close`] with the same purpose.
    pub fn open(&self, sealed: &str, purpose: &str) -> Result<Value, Fault> {
        self.open_at(sealed, purpose, self.now())
    }

    fn open_at(&self, sealed: &str, purpose: &str, now: u64) -> Result<Value, Fault> {
        let refuse = || {
            Fault::params("requestState is not valid (changed, expired, or not of this request): call again without it")
        };
        let (tag, text) = sealed.split_once('.').ok_or_else(refuse)?;
        let tag = unhex(tag).ok_or_else(refuse)?;
        // The purpose is part of what is signed, not of what is sent.
        hmac::verify(&self.key, signed(text, purpose).as_bytes(), &tag).map_err(|_| refuse())?;
        let (until, state) = text.split_once('.').ok_or_else(refuse)?;
        if until.parse::<u64>().map_err(|_| refuse())? < now {
            return Err(refuse());
        }
        serde_json::from_str(state).map_err(|_| refuse())
    }

    /// Seconds of this process's own clock: a machine whose time is set makes no state older, and keeps none alive.
    fn now(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }

    fn tag(&self, text: &str, purpose: &str) -> hmac::Tag {
        hmac::sign(&self.key, signed(text, purpose).as_bytes())
    }
}

fn signed(text: &str, purpose: &str) -> String {
    // The length keeps a purpose from reaching into the text.
    format!("{}:{purpose}{text}", purpose.len())
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
        // No date is in it, for there is none to compare with.
        let sealed = seal.close_at(&json!(1), "p", 7);
        let until = sealed.split('.').nth(1).unwrap();
        assert_eq!(until.parse(), Ok(7 + LIFETIME.as_secs()));
        assert_eq!(seal.open_at(&sealed, "p", 7 + LIFETIME.as_secs()).unwrap(), json!(1));
        assert!(seal.open_at(&sealed, "p", 8 + LIFETIME.as_secs()).is_err());
        assert!(seal.open(&seal.close(&json!(1), "p"), "p").is_ok());
    }
}
