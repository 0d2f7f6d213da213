//! `requestState` of 2026-07-28: state that a tool gets back with the answers to its questions. The client holds it
//! meanwhile, so it is signed with HMAC-SHA256 under a key of the server, and bound to a purpose and to ten minutes.

use super::error::RpcError;
use crate::base::sealing_keys::{SealingClock, SealingKeys, SigningKeys};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::Value;
use std::time::Duration;

const LIFETIME: Duration = Duration::from_secs(600);

/// Signs states for clients and checks them.
pub struct StateSealer {
    keys: SigningKeys,
    clock: SealingClock,
}

impl StateSealer {
    /// Creates a sealer. It rejects the states of servers with other keys.
    pub fn new(keys: &SealingKeys) -> Self {
        Self { keys: keys.derive("requestState"), clock: keys.clock() }
    }

    /// Returns `state` as a text for the client.
    pub fn seal(&self, state: &Value, purpose: &str) -> String {
        self.seal_at(state, purpose, self.clock.millis() / 1_000)
    }

    fn seal_at(&self, state: &Value, purpose: &str, now: u64) -> String {
        let text = format!("{}.{state}", now + LIFETIME.as_secs());
        let tag = hmac::sign(self.keys.signing(), &signing_input(&text, purpose));
        format!("{}.{text}", BASE64_URL_SAFE_NO_PAD.encode(tag))
    }

    /// Returns the state of a text of [`StateSealer::seal`] with the same purpose.
    pub fn unseal(&self, sealed: &str, purpose: &str) -> Result<Value, RpcError> {
        self.unseal_at(sealed, purpose, self.clock.millis() / 1_000).ok_or(RpcError::InvalidState)
    }

    fn unseal_at(&self, sealed: &str, purpose: &str, now: u64) -> Option<Value> {
        let (tag, text) = sealed.split_once('.')?;
        let tag = BASE64_URL_SAFE_NO_PAD.decode(tag).ok()?;
        let input = signing_input(text, purpose);
        self.keys.accepted().find(|key| hmac::verify(key, &input, &tag).is_ok())?;
        let (expires, state) = text.split_once('.')?;
        if expires.parse::<u64>().ok()? < now {
            return None;
        }
        serde_json::from_str(state).ok()
    }
}

/// Returns the bytes to sign. The purpose is signed, not sent, and its length separates it from the text.
fn signing_input(text: &str, purpose: &str) -> Vec<u8> {
    format!("{}:{purpose}{text}", purpose.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn new_sealer() -> StateSealer {
        StateSealer::new(&SealingKeys::generate().unwrap())
    }

    #[test]
    fn a_state_opens_only_unchanged_and_for_its_purpose() {
        let sealer = new_sealer();
        let sealed = sealer.seal(&json!({"round": 1}), "tools/call x");
        assert_eq!(sealer.unseal(&sealed, "tools/call x").unwrap(), json!({"round": 1}));
        assert!(sealer.unseal(&sealed, "tools/call y").is_err());
        assert!(sealer.unseal(&sealed.replace("\"round\":1", "\"round\":2"), "tools/call x").is_err());
        assert!(new_sealer().unseal(&sealed, "tools/call x").is_err());
        for junk in ["", ".", "zz.1.{}", "é.1.{}", &sealed[1..], &sealed[..sealed.len() - 1]] {
            assert!(sealer.unseal(junk, "tools/call x").is_err(), "{junk}");
        }
    }

    #[test]
    fn a_state_opens_under_the_keys_of_a_rotation() {
        let [old, new]: [&[u8]; 2] = [&[1; 32], &[2; 32]];
        let sealer = |keys: &[&[u8]]| StateSealer::new(&SealingKeys::shared(keys.iter().copied()));
        let opens = |from: &[&[u8]], to: &[&[u8]]| sealer(to).unseal(&sealer(from).seal(&json!(1), "p"), "p").is_ok();
        assert!(opens(&[old], &[old]) && opens(&[old], &[new, old]) && opens(&[new, old], &[new]));
        assert!(!opens(&[old], &[new]) && !opens(&[new, old], &[old]));
    }

    #[test]
    fn a_state_expires() {
        let sealer = new_sealer();
        let sealed = sealer.seal_at(&json!(1), "p", 7);
        let expires = sealed.split('.').nth(1).unwrap();
        assert_eq!(expires.parse(), Ok(7 + LIFETIME.as_secs()));
        assert_eq!(sealer.unseal_at(&sealed, "p", 7 + LIFETIME.as_secs()), Some(json!(1)));
        assert_eq!(sealer.unseal_at(&sealed, "p", 8 + LIFETIME.as_secs()), None);
        assert!(sealer.unseal(&sealer.seal(&json!(1), "p"), "p").is_ok());
    }
}
