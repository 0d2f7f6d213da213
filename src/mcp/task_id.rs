//! Ids of tasks. An id is the state of its task, signed with HMAC-SHA256 and bound to its client and to a time. So the
//! server keeps no state, and a client can neither guess nor change an id.

use crate::base::sealing_keys::{SealingKeys, SigningKeys};
use crate::base::secret::constant_time_eq;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time for which an id is valid. Longer than any task that a client follows.
pub(super) const TASK_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The longest id that Claude Code accepts (version 2.1.330). The id is also in a header.
const MAX_ID_BYTES: usize = 128;

/// The bytes of the HMAC that an id carries, as many as a random UUID has.
const TAG_BYTES: usize = 16;

/// The most bytes of a state that fits into an id.
pub const MAX_TASK_STATE_BYTES: usize = MAX_ID_BYTES / 4 * 3 - size_of::<u32>() - TAG_BYTES;

/// Seals the states of tasks as ids, and opens ids.
pub(super) struct TaskIdSealer {
    keys: SigningKeys,
}

/// The content of an id.
#[derive(Debug, PartialEq)]
pub(super) struct SealedTask {
    /// In whole seconds.
    pub created_at: SystemTime,
    pub state: Vec<u8>,
}

impl TaskIdSealer {
    pub fn new(keys: &SealingKeys) -> Self {
        Self { keys: keys.derive("taskId") }
    }

    /// Returns the id of a task of this client. Returns `None` if the state is too long for an id.
    pub fn seal(&self, task: &SealedTask, client: &str) -> Option<String> {
        if task.state.len() > MAX_TASK_STATE_BYTES {
            return None;
        }
        let seconds = task.created_at.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let mut bytes = u32::try_from(seconds).ok()?.to_be_bytes().to_vec();
        bytes.extend_from_slice(&task.state);
        let tag = sign(self.keys.signing(), &bytes, client);
        bytes.extend_from_slice(&tag);
        Some(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Opens an id of [`TaskIdSealer::seal`] for the same client, within its lifetime.
    pub fn open(&self, id: &str, client: &str, now: SystemTime) -> Option<SealedTask> {
        if id.len() > MAX_ID_BYTES {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(id).ok()?;
        let (text, tag) = bytes.split_last_chunk::<TAG_BYTES>()?;
        if !self.keys.accepted().any(|key| constant_time_eq(&sign(key, text, client), tag)) {
            return None;
        }
        let (seconds, state) = text.split_first_chunk()?;
        let created_at = UNIX_EPOCH + Duration::from_secs(u32::from_be_bytes(*seconds).into());
        // After a change of the system time, an id may be from the future.
        let age = now.duration_since(created_at).unwrap_or_default();
        (age <= TASK_LIFETIME).then(|| SealedTask { created_at, state: state.to_vec() })
    }
}

fn sign(key: &hmac::Key, text: &[u8], client: &str) -> [u8; TAG_BYTES] {
    let mut context = hmac::Context::with_key(key);
    // The length separates the parts.
    context.update(&(client.len() as u64).to_be_bytes());
    context.update(client.as_bytes());
    context.update(text);
    *context.sign().as_ref().first_chunk().expect("an HMAC of 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn new_sealer() -> TaskIdSealer {
        TaskIdSealer::new(&SealingKeys::generate().unwrap())
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_860_000)
    }

    fn task(state: &[u8]) -> SealedTask {
        SealedTask { created_at: now(), state: state.to_vec() }
    }

    #[test]
    fn an_id_opens_for_its_client_until_it_expires() {
        let (sealer, task) = (new_sealer(), task(b"a state \x00\xff"));
        let id = sealer.seal(&task, "ada").unwrap();
        for (client, time, opens) in [
            ("ada", now(), true),
            ("ada", now() - Duration::from_secs(60), true),
            ("ada", now() + TASK_LIFETIME, true),
            ("ada", now() + TASK_LIFETIME + Duration::from_millis(1), false),
            ("bob", now(), false),
            ("", now(), false),
            ("adaa", now(), false),
            ("ad", now(), false),
        ] {
            assert_eq!(sealer.open(&id, client, time).as_ref(), opens.then_some(&task), "{client}");
        }
        assert_eq!(new_sealer().open(&id, "ada", now()), None, "another run of the server");
    }

    #[test]
    fn an_id_opens_under_the_keys_of_a_rotation() {
        let [old, new]: [&[u8]; 2] = [&[1; 32], &[2; 32]];
        let sealer = |keys: &[&[u8]]| TaskIdSealer::new(&SealingKeys::shared(keys.iter().copied()));
        let task = task(b"a state");
        let opens = |from: &[&[u8]], to: &[&[u8]]| {
            sealer(to).open(&sealer(from).seal(&task, "ada").unwrap(), "ada", now()).is_some()
        };
        assert!(opens(&[old], &[old]) && opens(&[old], &[new, old]) && opens(&[new, old], &[new]));
        assert!(!opens(&[old], &[new]) && !opens(&[new, old], &[old]));
    }

    #[test]
    fn an_id_fits_into_a_header_and_has_a_limit() {
        let sealer = new_sealer();
        let of_length = |length| sealer.seal(&task(&vec![0xff; length]), "ada");
        let longest = of_length(MAX_TASK_STATE_BYTES).unwrap();
        assert!(longest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')), "{longest}");
        assert_eq!((longest.len(), of_length(MAX_TASK_STATE_BYTES + 1)), (MAX_ID_BYTES, None));
        assert!(
            sealer.open(&longest, "ada", now()).is_some()
                && sealer.open(&of_length(0).unwrap(), "ada", now()).is_some()
        );
        for seconds in [u64::from(u32::MAX) + 1, u64::from(u32::MAX)] {
            let task = SealedTask { created_at: UNIX_EPOCH + Duration::from_secs(seconds), state: Vec::new() };
            assert_eq!(sealer.seal(&task, "ada").is_some(), u32::try_from(seconds).is_ok(), "{seconds}");
        }
    }

    #[test]
    fn no_changed_character_leaves_an_id_valid() {
        let sealer = new_sealer();
        let id = sealer.seal(&task(b"a state"), "ada").unwrap();
        for at in 0..id.len() {
            for other in ["A", "_", "=", " ", "é", ""] {
                let mut changed = id.clone();
                changed.replace_range(at..=at, other);
                assert!(changed == id || sealer.open(&changed, "ada", now()).is_none(), "{changed}");
            }
        }
        for junk in
            ["", "A", "AAAA", &id[1..], &id[4..], &format!("{id}AAAA"), &format!("{id}{id}"), &"A".repeat(4_096)]
        {
            assert_eq!(sealer.open(junk, "ada", now()), None, "{junk}");
        }
    }

    #[test]
    fn client_and_state_are_separate_parts() {
        let sealer = new_sealer();
        // Both have the same bytes in the same order.
        let [one, other] = [("ab", 0x6300_0000_u32), ("abc", 0)].map(|(client, seconds)| {
            let created_at = UNIX_EPOCH + Duration::from_secs(seconds.into());
            sealer.seal(&SealedTask { created_at, state: b"state".to_vec() }, client).unwrap()
        });
        let tag = |id: &str| BASE64_URL_SAFE_NO_PAD.decode(id).unwrap().split_off(9);
        assert_ne!(tag(&one), tag(&other));
    }

    proptest! {
        #[test]
        fn no_text_opens_or_panics(id in "[A-Za-z0-9_-]{0,132}|.{0,60}") {
            prop_assert_eq!(new_sealer().open(&id, "ada", now()), None);
        }
    }
}
