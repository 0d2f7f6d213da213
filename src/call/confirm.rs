//! Confirmation of what can't be undone: the question, and the code that its answer has to bring back.
//!
//! A code is minutes long good for one call by one client, of one method on one path with one set of data on one cluster:
//! all of that is under its HMAC, so that nothing a model makes up, changes or keeps confirms anything. A client that can
//! ask its user (2026-07-28, elicitation) gets the question, and the code travels in the sealed state where the model does
//! not see it; to any other client the question and the code are the text of a failed call.

use crate::mcp::catalog::{InputMethod, InputRequest, InputRequired, ToolError};
use crate::mcp::context::CallContext;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a code is good for.
pub(crate) const CODE_LIFETIME: Duration = Duration::from_secs(300);
/// Codes used in that time; a client that confirms more than these is no person.
const MAX_USED_CODES: usize = 4_096;
/// Bytes of the HMAC that a code carries: who can guess one in minutes?
const TAG_BYTES: usize = 12;
/// The key of the question in an elicitation.
const QUESTION_KEY: &str = "confirm";

/// How an answer comes back. A code for one way is none for the other: a model that got hold of a sealed state could
/// else answer in its user's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConfirmationChannel {
    Argument,
    Elicitation,
}

/// Makes codes and takes them back.
pub(crate) struct ConfirmationCodes {
    key: hmac::Key,
    random: SystemRandom,
    started: Instant,
    /// Those that were used and would still be good: until when, in seconds, and their nonce.
    used_codes: Mutex<Vec<(u64, u64)>>,
}

/// Why a call does not pass.
pub(crate) enum ConfirmationError {
    /// It is to be confirmed: the question.
    Required(ToolError),
    /// It was not, or not rightly: why.
    Rejected(String),
}

/// What a code is bound to.
pub(crate) struct CallBinding<'a> {
    /// The client's name.
    pub(crate) client: &'a str,
    /// The cluster's name.
    pub(crate) cluster: &'a str,
    /// Method and canonical path.
    pub(crate) operation: &'a str,
    /// The parameters as they are sent.
    pub(crate) parameters: &'a str,
}

impl ConfirmationCodes {
    /// With a new key: codes of another process, or of an earlier run, are none.
    pub(crate) fn new() -> Result<Self, ring::error::Unspecified> {
        let random = SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random)?;
        Ok(Self { key, random, started: Instant::now(), used_codes: Mutex::default() })
    }

    /// Lets a call pass that is confirmed: by `code`, or by the answer of the client's user. `question` is asked otherwise.
    ///
    /// # Errors
    /// It is not confirmed: what to ask or to say.
    pub(crate) fn require_confirmation(
        &self,
        context: &CallContext<'_>,
        code: Option<&str>,
        binding: &CallBinding<'_>,
        question: &str,
    ) -> Result<(), ConfirmationError> {
        let asks_user = context.can_show_form();
        if asks_user
            && let Some(state) = context.unseal_state().map_err(|fault| ConfirmationError::Required(fault.into()))?
        {
            let answer = context.input_response(QUESTION_KEY);
            let agreed = answer.is_some_and(|answer| {
                // A form that comes back without its box had nothing to untick; anything but `true` in it is no yes.
                answer.get("action").is_some_and(|action| action == "accept")
                    && answer.get("content").and_then(|c| c.get("confirm")).is_none_or(|yes| *yes == true)
            });
            // A question is answered once, whatever the answer.
            let taken = self.redeem(
                ConfirmationChannel::Elicitation,
                state.as_str().unwrap_or_default(),
                binding,
                self.elapsed_seconds(),
            );
            if !agreed {
                return Err(ConfirmationError::Rejected("the user did not confirm it".into()));
            }
            return taken.map_err(|why| ConfirmationError::Rejected(format!("{why}; call again to ask anew")));
        }
        let refused = match code {
            Some(code) => {
                match self.redeem(ConfirmationChannel::Argument, code.trim(), binding, self.elapsed_seconds()) {
                    Ok(()) => return Ok(()),
                    Err(why) => format!("{why}.\n"),
                }
            }
            None => String::new(),
        };
        let channel = if asks_user { ConfirmationChannel::Elicitation } else { ConfirmationChannel::Argument };
        let code = self
            .issue(channel, binding, self.elapsed_seconds())
            .map_err(|_| ConfirmationError::Rejected("the system gives no random bytes".into()))?;
        Err(ConfirmationError::Required(match channel {
            ConfirmationChannel::Elicitation => ToolError::InputRequired(InputRequired {
                requests: vec![InputRequest {
                    key: QUESTION_KEY,
                    method: InputMethod::Elicitation,
                    params: build_elicitation(question),
                }],
                state: Some(code.into()),
            }),
            ConfirmationChannel::Argument => ToolError::Failed(format!(
                "{refused}Not sent yet: this has to be confirmed.\n{question}\nIf the user wants exactly this, make the \
                 same call again within {} minutes, with confirm: \"{code}\". The code is good for it once",
                CODE_LIFETIME.as_secs() / 60
            )),
        }))
    }

    /// Seconds of this process's own clock, which no one can set back.
    fn elapsed_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    fn issue(
        &self,
        channel: ConfirmationChannel,
        binding: &CallBinding<'_>,
        now: u64,
    ) -> Result<String, ring::error::Unspecified> {
        let mut nonce = [0; 8];
        self.random.fill(&mut nonce)?;
        let (until, nonce) = (now + CODE_LIFETIME.as_secs(), u64::from_be_bytes(nonce));
        Ok(self.sign_code(channel, binding, until, nonce))
    }

    /// Uses a code up. The error says why it is none.
    fn redeem(
        &self,
        channel: ConfirmationChannel,
        code: &str,
        binding: &CallBinding<'_>,
        now: u64,
    ) -> Result<(), String> {
        let mut parts = code.split('-');
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (Some(until), Some(nonce)) = (number(), number()) else {
            return Err("the confirmation code is none that this server gave".into());
        };
        // As a whole, so that no other spelling of it is one, and in constant time: what is right of a guess is not told.
        let right = self.sign_code(channel, binding, until, nonce);
        if !crate::base::secret::constant_time_eq(right.as_bytes(), code.as_bytes()) {
            return Err("the confirmation code is not for this call: it was made for another cluster, path, method, \
                        data or client, or by an earlier run of the server"
                .into());
        }
        if until < now {
            return Err("the confirmation code is too old".into());
        }
        let mut used = self.used_codes.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|(until, _)| *until >= now);
        if used.contains(&(until, nonce)) {
            return Err("the confirmation code was used before".into());
        }
        if used.len() >= MAX_USED_CODES {
            return Err("too many calls were confirmed in the last minutes: wait some of them".into());
        }
        used.push((until, nonce));
        Ok(())
    }

    /// Until when, a number that no other code has, and the HMAC over these and all that it is bound to.
    fn sign_code(&self, channel: ConfirmationChannel, binding: &CallBinding<'_>, until: u64, nonce: u64) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        let CallBinding { client, cluster, operation: line, parameters: data } = binding;
        let way = if channel == ConfirmationChannel::Argument { "argument" } else { "elicitation" };
        for part in [way, client, cluster, line, data] {
            // The length keeps one part from reaching into the next.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.update(&until.to_be_bytes());
        context.update(&nonce.to_be_bytes());
        let mut text = format!("{until:x}-{nonce:016x}-");
        for byte in context.sign().as_ref().iter().take(TAG_BYTES) {
            for digit in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(digit.into(), 16));
            }
        }
        text
    }
}

/// The question as a form with one box to tick (2026-07-28, Elicitation).
fn build_elicitation(question: &str) -> Value {
    json!({
        "mode": "form",
        "message": question,
        "requestedSchema": {
            "type": "object",
            "properties": {"confirm": {"type": "boolean", "title": "Do it", "default": true}},
            "required": ["confirm"],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: CallBinding<'_> =
        CallBinding { client: "ada", cluster: "prod", operation: "DELETE /nodes/pve1/qemu/100", parameters: "purge=1" };
    const LIFE: u64 = CODE_LIFETIME.as_secs();

    #[test]
    fn a_code_confirms_the_call_it_was_made_for_once() {
        let codes = ConfirmationCodes::new().unwrap();
        let code = codes.issue(ConfirmationChannel::Argument, &BINDING, 7).unwrap();
        assert_eq!(codes.redeem(ConfirmationChannel::Argument, &code, &BINDING, 7 + LIFE), Ok(()));
        assert!(
            codes
                .redeem(ConfirmationChannel::Argument, &code, &BINDING, 7)
                .is_err_and(|why| why.contains("used before"))
        );
    }

    #[test]
    fn a_code_is_invalid_for_anything_else() {
        let codes = ConfirmationCodes::new().unwrap();
        let code = codes.issue(ConfirmationChannel::Argument, &BINDING, 7).unwrap();
        for other in [
            CallBinding { client: "bob", ..BINDING },
            CallBinding { cluster: "lab", ..BINDING },
            CallBinding { operation: "DELETE /nodes/pve1/qemu/101", ..BINDING },
            CallBinding { parameters: "", ..BINDING },
            CallBinding { operation: "DELETE /nodes/pve1/qemu/10", parameters: "0purge=1", ..BINDING },
        ] {
            assert!(
                codes
                    .redeem(ConfirmationChannel::Argument, &code, &other, 7)
                    .is_err_and(|why| why.contains("not for this call"))
            );
        }
        assert!(codes.redeem(ConfirmationChannel::Elicitation, &code, &BINDING, 7).is_err());
        assert!(ConfirmationCodes::new().unwrap().redeem(ConfirmationChannel::Argument, &code, &BINDING, 7).is_err());
        assert!(
            codes
                .redeem(ConfirmationChannel::Argument, &code, &BINDING, 8 + LIFE)
                .is_err_and(|why| why.contains("too old"))
        );
        assert_eq!(codes.redeem(ConfirmationChannel::Argument, &code, &BINDING, 8), Ok(()), "none of that used it up");
    }

    #[test]
    fn no_changed_character_leaves_a_code_right() {
        let codes = ConfirmationCodes::new().unwrap();
        let code = codes.issue(ConfirmationChannel::Argument, &BINDING, 7).unwrap();
        for at in 0..code.len() {
            for other in ["0", "f", "-", "é", ""] {
                let mut changed = code.clone();
                changed.replace_range(at..=at, other);
                if changed != code {
                    assert!(codes.redeem(ConfirmationChannel::Argument, &changed, &BINDING, 7).is_err(), "{changed}");
                }
            }
        }
        for junk in ["", "-", "--", "yes", "1-1-", "ffffffffffffffffff-0-0", "+1-0-0"] {
            assert!(codes.redeem(ConfirmationChannel::Argument, junk, &BINDING, 7).is_err(), "{junk}");
        }
    }
}
