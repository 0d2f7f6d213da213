//! The secrets from which a server derives the keys of what clients keep for it: confirmation codes, states of questions
//! and ids of tasks. Replicas that share their secrets accept each other's.

use super::boot_clock::BootClock;
use ring::error::Unspecified;
use ring::hkdf;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use std::time::SystemTime;

/// The secrets of one server. The first one signs, and every one is accepted.
pub struct SealingKeys {
    secrets: Vec<hkdf::Prk>,
    are_shared: bool,
}

/// The keys of one purpose, in the order of their secrets.
pub(crate) struct SigningKeys(Vec<hmac::Key>);

/// The clock by which the lifetimes of one purpose are counted.
pub(crate) enum SealingClock {
    /// Counts from the start of the process and is never set back.
    Own(BootClock),
    /// The system time, which is all that replicas have in common.
    Shared,
}

impl SealingKeys {
    /// Generates a new secret. Nothing that other processes and earlier runs sealed opens under it.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn generate() -> Result<Self, Unspecified> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret)?;
        Ok(Self { secrets: vec![to_prk(&secret)], are_shared: false })
    }

    /// Returns the secrets that replicas share, at least one.
    pub fn shared<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self { secrets: secrets.into_iter().map(to_prk).collect(), are_shared: true }
    }

    /// Derives the keys for one purpose.
    pub(crate) fn derive(&self, purpose: &str) -> SigningKeys {
        let expand = |secret: &hkdf::Prk| {
            let purpose = [purpose.as_bytes()];
            hmac::Key::from(secret.expand(&purpose, hmac::HMAC_SHA256).expect("the length of a key"))
        };
        SigningKeys(self.secrets.iter().map(expand).collect())
    }

    /// Returns the clock of all that these secrets sign.
    pub(crate) fn clock(&self) -> SealingClock {
        if self.are_shared { SealingClock::Shared } else { SealingClock::Own(BootClock::start()) }
    }
}

impl SigningKeys {
    /// Returns the key that signs.
    pub(crate) fn signing(&self) -> &hmac::Key {
        self.0.first().expect("at least one secret")
    }

    /// Returns the keys whose signatures are accepted.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = &hmac::Key> {
        self.0.iter()
    }
}

impl SealingClock {
    /// Returns the present time in milliseconds.
    pub(crate) fn millis(&self) -> u64 {
        match self {
            Self::Own(clock) => clock.elapsed_millis(),
            Self::Shared => {
                let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
        }
    }
}

fn to_prk(secret: &[u8]) -> hkdf::Prk {
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"proxmox-mcp").extract(secret)
}
