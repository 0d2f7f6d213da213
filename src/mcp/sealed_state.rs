//! `requestState` of 2026-07-28: what a tool wants back with the answers to its questions, on its way through a client
//! that may change it. Sealed with HMAC-SHA256 under a key of this process, bound to its purpose and to ten minutes.

use super::message::RpcError;
use ring::hmac;
use ring::rand::SystemRandom;
use serde_json::Value;
use std::time::{Duration, Instant};

const LIFETIME: Duration = Duration::from_secs(600);

/// Seals and opens states.
pub struct StateSealer {
    key: hmac::Key,
    begun: Instant,
}

impl StateSealer {
    /// A seal with a new key; states of another process (or of an earlier run) don't open.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new() -> Result<Self, ring::error::Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?;
        Ok(Self { key, begun: Instant::now() })
    }

    /// `state` as a text for the client.
    pub fn seal(&self, state: &Value, purpose: &str) -> String {
        self.seal_at(state, purpose, self.elapsed_seconds())
    }

    fn seal_at(&self, state: &Value, purpose: &str, now: u64) -> String {
        let until = now.saturating_add(LIFETIME.as_secs());
        let text = format!("{until}.{state}");
        format!("{}.{text}", encode_hex(self.sign(&text, purpose).as_ref()))
    }

    /// The state in a text of [`StateSealer::seal`] with the same purpose.
    pub fn unseal(&self, sealed: &str, purpose: &str) -> Result<Value, RpcError> {
        self.unseal_at(sealed, purpose, self.elapsed_seconds())
    }

    fn unseal_at(&self, sealed: &str, purpose: &str, now: u64) -> Result<Value, RpcError> {
        let refuse = || {
            RpcError::invalid_params(
                "requestState is not valid (changed, expired, or not of this request): call again without it",
            )
        };
        let (tag, text) = sealed.split_once('.').ok_or_else(refuse)?;
        let tag = decode_hex(tag).ok_or_else(refuse)?;
        // The purpose is part of what is signed, not of what is sent.
        hmac::verify(&self.key, signing_input(text, purpose).as_bytes(), &tag).map_err(|_| refuse())?;
        let (until, state) = text.split_once('.').ok_or_else(refuse)?;
        if until.parse::<u64>().map_err(|_| refuse())? < now {
            return Err(refuse());
        }
        serde_json::from_str(state).map_err(|_| refuse())
    }

    /// Seconds of this process's own clock: a machine whose time is set makes no state older, and keeps none alive.
    fn elapsed_seconds(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }

    fn sign(&self, text: &str, purpose: &str) -> hmac::Tag {
        hmac::sign(&self.key, signing_input(text, purpose).as_bytes())
    }
}

fn signing_input(text: &str, purpose: &str) -> String {
    // The length keeps a purpose from reaching into the text.
    format!("{}:{purpose}{text}", purpose.len())
}

fn encode_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
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
        let seal = StateSealer::new().unwrap();
        let sealed = seal.seal(&json!({"round": 1}), "tools/call x");
        assert_eq!(seal.unseal(&sealed, "tools/call x").unwrap(), json!({"round": 1}));
        assert!(seal.unseal(&sealed, "tools/call y").is_err());
        assert!(seal.unseal(&sealed.replace("\"round\":1", "\"round\":2"), "tools/call x").is_err());
        assert!(StateSealer::new().unwrap().unseal(&sealed, "tools/call x").is_err());
        for junk in ["", ".", "zz.1.{}", "é.1.{}", &sealed[1..], &sealed[..sealed.len() - 1]] {
            assert!(seal.unseal(junk, "tools/call x").is_err(), "{junk}");
        }
    }

    #[test]
    fn a_state_expires() {
        let seal = StateSealer::new().unwrap();
        // No date is in it, for there is none to compare with.
        let sealed = seal.seal_at(&json!(1), "p", 7);
        let until = sealed.split('.').nth(1).unwrap();
        assert_eq!(until.parse(), Ok(7 + LIFETIME.as_secs()));
        assert_eq!(seal.unseal_at(&sealed, "p", 7 + LIFETIME.as_secs()).unwrap(), json!(1));
        assert!(seal.unseal_at(&sealed, "p", 8 + LIFETIME.as_secs()).is_err());
        assert!(seal.unseal(&seal.seal(&json!(1), "p"), "p").is_ok());
    }
}
