//! The codes that confirm calls.
//!
//! A code confirms calls of one client: their methods, paths and parameters on one cluster, in one order, for some
//! minutes. All of these are under its HMAC, so a model can neither invent a code nor use it for other calls. A client that can ask
//! its user (2026-07-28, elicitation) receives the code in the sealed state, which the model does not see. Any other
//! client receives question and code as the text of a failed call.

use crate::base::boot_clock::BootClock;
use crate::base::sealing_keys::{SealingClock, SealingKeys, SigningKeys};
use crate::base::secret::constant_time_eq;
use crate::pve::client::cluster::Clock;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time for which a code confirms its call.
pub const CODE_LIFETIME: Duration = Duration::from_secs(300);
/// The most by which the clocks of replicas may differ.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);
/// The most codes that one client uses within their lifetime. No user answers more questions.
const MAX_USED_CODES: usize = 1_024;
/// The bytes of the HMAC that a code carries: too many to guess within minutes.
const TAG_BYTES: usize = 12;

/// The way in which an answer comes back. A code is valid for one way only: with the code of a sealed state, a model
/// could otherwise answer in place of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConfirmationChannel {
    Argument,
    Elicitation,
    /// A person approves the call outside of the chat.
    Approval,
}

/// Issues codes and redeems them.
pub(super) struct ConfirmationCodes {
    keys: SigningKeys,
    random: SystemRandom,
    clock: SealingClock,
    /// The clock of what no other process knows.
    uptime: BootClock,
    /// Replaces both clocks: the time of the replacement, and the clock.
    other_clock: Option<(Instant, Clock)>,
    /// By client, so that no client can use up what others need. Replicas do not know each other's.
    used_codes: Mutex<HashMap<String, Vec<CodeParts>>>,
}

/// The readable parts of a code.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CodeParts {
    /// The time of the question, in milliseconds.
    issued: u64,
    nonce: u64,
}

/// The reason why a code does not confirm a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    #[error("the confirmation code has a form that this server never issues")]
    Malformed,
    #[error(
        "the confirmation code is not for this call: it was issued for another cluster, path, method, data or client, \
         or by an earlier run of the server"
    )]
    OtherCall,
    #[error("the confirmation code is too old")]
    Expired,
    #[error("the confirmation code is from the future: the clocks of two replicas differ by more than a minute")]
    Future,
    #[error("the confirmation code was used before")]
    Used,
    #[error("too many calls were confirmed in the last minutes: wait some of them")]
    TooMany,
}

/// The calls that a code is bound to.
pub(super) struct CallBinding<'a> {
    /// The name of the client.
    pub(super) client: &'a str,
    /// The name of the cluster.
    pub(super) cluster: &'a str,
    /// The calls in their order.
    pub(super) calls: &'a [BoundCall],
}

/// One call that a code is bound to.
pub(super) struct BoundCall {
    /// Method and canonical path.
    pub(super) operation: String,
    /// The parameters as they are sent.
    pub(super) parameters: String,
}

impl ConfirmationCodes {
    /// Creates a new key. Codes of another process or of an earlier run are invalid.
    pub(super) fn new() -> Result<Self, ring::error::Unspecified> {
        Ok(Self::with_keys(&SealingKeys::generate()?))
    }

    /// Uses these keys. Codes of servers with the same ones are valid, each once in every process.
    pub(super) fn with_keys(keys: &SealingKeys) -> Self {
        Self {
            keys: keys.derive("confirmation"),
            random: SystemRandom::new(),
            clock: keys.clock(),
            uptime: BootClock::start(),
            other_clock: None,
            used_codes: Mutex::default(),
        }
    }

    /// Replaces the clock by which codes and approvals expire.
    pub(super) fn with_clock(self, clock: Clock) -> Self {
        Self { other_clock: Some((clock(), clock)), ..self }
    }

    /// Issues a code for these calls.
    pub(super) fn issue(
        &self,
        channel: ConfirmationChannel,
        binding: &CallBinding<'_>,
    ) -> Result<String, ring::error::Unspecified> {
        self.issue_at(channel, binding, self.present_millis())
    }

    /// Uses a code up, and returns its age.
    pub(super) fn redeem(
        &self,
        channel: ConfirmationChannel,
        code: &str,
        binding: &CallBinding<'_>,
    ) -> Result<Duration, CodeError> {
        self.redeem_at(channel, code, binding, self.present_millis())
    }

    /// Returns the text by which an approval is bound to its calls. It confirms nothing by itself.
    pub(super) fn fingerprint(&self, binding: &CallBinding<'_>) -> String {
        let parts = CodeParts { issued: 0, nonce: 0 };
        sign_code(self.keys.signing(), ConfirmationChannel::Approval, binding, parts)
    }

    /// Returns the milliseconds since the start, by a clock that is never set back.
    pub(super) fn elapsed_millis(&self) -> u64 {
        self.other_millis().unwrap_or_else(|| self.uptime.elapsed_millis())
    }

    /// Returns the present time of codes in milliseconds.
    fn present_millis(&self) -> u64 {
        self.other_millis().unwrap_or_else(|| self.clock.millis())
    }

    /// Returns the milliseconds since the start, by the replaced clock.
    fn other_millis(&self) -> Option<u64> {
        let (started, clock) = self.other_clock.as_ref()?;
        Some(u64::try_from(clock().saturating_duration_since(*started).as_millis()).unwrap_or(u64::MAX))
    }

    fn issue_at(
        &self,
        channel: ConfirmationChannel,
        binding: &CallBinding<'_>,
        now: u64,
    ) -> Result<String, ring::error::Unspecified> {
        let mut nonce = [0; 8];
        self.random.fill(&mut nonce)?;
        let code = CodeParts { issued: now, nonce: u64::from_be_bytes(nonce) };
        Ok(sign_code(self.keys.signing(), channel, binding, code))
    }

    fn redeem_at(
        &self,
        channel: ConfirmationChannel,
        code: &str,
        binding: &CallBinding<'_>,
        now: u64,
    ) -> Result<Duration, CodeError> {
        let mut parts = code.split('-');
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (Some(issued), Some(nonce)) = (number(), number()) else { return Err(CodeError::Malformed) };
        let parsed = CodeParts { issued, nonce };
        // The whole text is compared, so that no other spelling is valid, and in constant time.
        let is_signed_with = |key| {
            let expected = sign_code(key, channel, binding, parsed);
            constant_time_eq(expected.as_bytes(), code.as_bytes())
        };
        if !self.keys.accepted().any(is_signed_with) {
            return Err(CodeError::OtherCall);
        }
        if Duration::from_millis(issued.saturating_sub(now)) > MAX_CLOCK_SKEW {
            return Err(CodeError::Future);
        }
        let age = |code: &CodeParts| Duration::from_millis(now.saturating_sub(code.issued));
        if age(&parsed) > CODE_LIFETIME {
            return Err(CodeError::Expired);
        }
        let mut used_codes = self.used_codes.lock().unwrap_or_else(PoisonError::into_inner);
        used_codes.retain(|_, codes| {
            codes.retain(|code| age(code) <= CODE_LIFETIME);
            !codes.is_empty()
        });
        let used = used_codes.entry(binding.client.to_owned()).or_default();
        if used.contains(&parsed) {
            return Err(CodeError::Used);
        }
        if used.len() >= MAX_USED_CODES {
            return Err(CodeError::TooMany);
        }
        used.push(parsed);
        Ok(age(&parsed))
    }
}

/// Returns time, nonce, and the HMAC over both and the calls.
fn sign_code(key: &hmac::Key, channel: ConfirmationChannel, binding: &CallBinding<'_>, code: CodeParts) -> String {
    let mut context = hmac::Context::with_key(key);
    let CallBinding { client, cluster, calls } = binding;
    let channel = match channel {
        ConfirmationChannel::Argument => "argument",
        ConfirmationChannel::Elicitation => "elicitation",
        ConfirmationChannel::Approval => "approval",
    };
    context.update(&(calls.len() as u64).to_be_bytes());
    let calls = calls.iter().flat_map(|call| [call.operation.as_str(), call.parameters.as_str()]);
    for part in [channel, client, cluster].into_iter().chain(calls) {
        // The length separates the parts.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let CodeParts { issued, nonce } = code;
    context.update(&issued.to_be_bytes());
    context.update(&nonce.to_be_bytes());
    let mut text = format!("{issued:x}-{nonce:016x}-");
    for byte in context.sign().as_ref().iter().take(TAG_BYTES) {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(calls: &[(&str, &str)]) -> Vec<BoundCall> {
        let bind = |(operation, parameters): &(&str, &str)| BoundCall {
            operation: (*operation).to_owned(),
            parameters: (*parameters).to_owned(),
        };
        calls.iter().map(bind).collect()
    }

    const CALL: (&str, &str) = ("DELETE /nodes/pve1/qemu/100", "purge=1");
    const OTHER_CALL: (&str, &str) = ("DELETE /nodes/pve1/qemu/101", "purge=1");

    fn binding(calls: &[BoundCall]) -> CallBinding<'_> {
        CallBinding { client: "ada", cluster: "prod", calls }
    }

    const LIFE: u64 = CODE_LIFETIME.as_millis() as u64;

    #[test]
    fn a_code_confirms_the_call_it_was_made_for_once() {
        let codes = ConfirmationCodes::new().unwrap();
        let calls = bound(&[CALL]);
        let call = binding(&calls);
        let code = codes.issue_at(ConfirmationChannel::Argument, &call, 7).unwrap();
        assert_eq!(codes.redeem_at(ConfirmationChannel::Argument, &code, &call, 7 + LIFE), Ok(CODE_LIFETIME));
        assert_eq!(codes.redeem_at(ConfirmationChannel::Argument, &code, &call, 7), Err(CodeError::Used));
    }

    #[test]
    fn a_code_is_invalid_for_anything_else() {
        let codes = ConfirmationCodes::new().unwrap();
        let calls = bound(&[CALL]);
        let call = binding(&calls);
        let code = codes.issue_at(ConfirmationChannel::Argument, &call, 7).unwrap();
        for other in [
            CallBinding { client: "bob", ..call },
            CallBinding { cluster: "lab", ..call },
            binding(&bound(&[OTHER_CALL])),
            binding(&bound(&[(CALL.0, "")])),
            binding(&bound(&[("DELETE /nodes/pve1/qemu/10", "0purge=1")])),
            binding(&bound(&[CALL, OTHER_CALL])),
            binding(&bound(&[CALL, CALL])),
            binding(&[]),
        ] {
            assert_eq!(codes.redeem_at(ConfirmationChannel::Argument, &code, &other, 7), Err(CodeError::OtherCall));
        }
        assert!(codes.redeem_at(ConfirmationChannel::Elicitation, &code, &call, 7).is_err());
        assert!(ConfirmationCodes::new().unwrap().redeem_at(ConfirmationChannel::Argument, &code, &call, 7).is_err());
        assert_eq!(codes.redeem_at(ConfirmationChannel::Argument, &code, &call, 8 + LIFE), Err(CodeError::Expired));
        assert_eq!(
            codes.redeem_at(ConfirmationChannel::Argument, &code, &call, 8),
            Ok(Duration::from_millis(1)),
            "no rejected attempt used it up"
        );
    }

    #[test]
    fn a_code_for_a_list_is_for_all_its_calls_in_their_order() {
        let codes = ConfirmationCodes::new().unwrap();
        let list = bound(&[CALL, OTHER_CALL]);
        let code = codes.issue_at(ConfirmationChannel::Argument, &binding(&list), 7).unwrap();
        for others in [&[OTHER_CALL, CALL][..], &[CALL], &[OTHER_CALL], &[CALL, OTHER_CALL, CALL]] {
            let redeemed = codes.redeem_at(ConfirmationChannel::Argument, &code, &binding(&bound(others)), 7);
            assert_eq!(redeemed, Err(CodeError::OtherCall), "{others:?}");
        }
        assert_eq!(codes.redeem_at(ConfirmationChannel::Argument, &code, &binding(&list), 7), Ok(Duration::ZERO));
    }

    #[test]
    fn replicas_with_the_same_keys_accept_each_other_s_codes() {
        let [old, new]: [&[u8]; 2] = [&[1; 32], &[2; 32]];
        let (old_only, both, new_only) =
            (SealingKeys::shared([old]), SealingKeys::shared([new, old]), SealingKeys::shared([new]));
        let calls = bound(&[CALL]);
        let call = binding(&calls);
        for (issuer, redeemer, expected) in [
            (&old_only, &old_only, Ok(Duration::ZERO)),
            (&old_only, &both, Ok(Duration::ZERO)),
            (&both, &new_only, Ok(Duration::ZERO)),
            (&both, &old_only, Err(CodeError::OtherCall)),
            (&old_only, &new_only, Err(CodeError::OtherCall)),
        ] {
            let (issuer, redeemer) = (ConfirmationCodes::with_keys(issuer), ConfirmationCodes::with_keys(redeemer));
            let code = issuer.issue_at(ConfirmationChannel::Argument, &call, 7).unwrap();
            assert_eq!(redeemer.redeem_at(ConfirmationChannel::Argument, &code, &call, 7), expected);
            let again = expected.and(Err(CodeError::Used));
            assert_eq!(redeemer.redeem_at(ConfirmationChannel::Argument, &code, &call, 7), again);
        }
    }

    #[test]
    fn a_code_from_the_future_is_valid_within_the_skew_of_clocks() {
        let codes = ConfirmationCodes::new().unwrap();
        let calls = bound(&[CALL]);
        let call = binding(&calls);
        let skew = MAX_CLOCK_SKEW.as_millis() as u64;
        let code = codes.issue_at(ConfirmationChannel::Argument, &call, 8 + skew).unwrap();
        assert_eq!(codes.redeem_at(ConfirmationChannel::Argument, &code, &call, 7), Err(CodeError::Future));
        assert_eq!(codes.redeem_at(ConfirmationChannel::Argument, &code, &call, 8), Ok(Duration::ZERO));
    }

    #[test]
    fn no_client_uses_up_the_codes_of_another() {
        let codes = ConfirmationCodes::new().unwrap();
        let calls = bound(&[CALL]);
        let call = binding(&calls);
        let other = CallBinding { client: "bob", ..call };
        let use_code = |binding, now| {
            let code = codes.issue_at(ConfirmationChannel::Argument, binding, now).unwrap();
            codes.redeem_at(ConfirmationChannel::Argument, &code, binding, now)
        };
        for _ in 0..MAX_USED_CODES {
            assert_eq!(use_code(&call, 7), Ok(Duration::ZERO));
        }
        assert_eq!(use_code(&call, 7), Err(CodeError::TooMany));
        assert_eq!(use_code(&other, 7), Ok(Duration::ZERO));
        assert_eq!(use_code(&call, 8 + LIFE), Ok(Duration::ZERO), "until the codes expire");
    }

    #[test]
    fn no_changed_character_leaves_a_code_right() {
        let codes = ConfirmationCodes::new().unwrap();
        let calls = bound(&[CALL]);
        let call = binding(&calls);
        let code = codes.issue_at(ConfirmationChannel::Argument, &call, 7).unwrap();
        for at in 0..code.len() {
            for other in ["0", "f", "-", "é", ""] {
                let mut changed = code.clone();
                changed.replace_range(at..=at, other);
                if changed != code {
                    assert!(codes.redeem_at(ConfirmationChannel::Argument, &changed, &call, 7).is_err(), "{changed}");
                }
            }
        }
        for junk in ["", "-", "--", "yes", "1-1-", "ffffffffffffffffff-0-0", "+1-0-0"] {
            assert!(codes.redeem_at(ConfirmationChannel::Argument, junk, &call, 7).is_err(), "{junk}");
        }
    }
}
