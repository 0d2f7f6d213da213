//! The secret from which a server derives the keys of what clients keep for it: states of questions and ids of tasks.

use ring::error::Unspecified;
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};

/// The secret of one server. Servers that share it open each other's ids of tasks.
pub struct SealingKey(hkdf::Prk);

impl SealingKey {
    /// Generates a new secret. Nothing that other processes and earlier runs sealed opens under it.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn generate() -> Result<Self, Unspecified> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret)?;
        Ok(Self(hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &secret)))
    }

    /// Derives the key for one purpose.
    pub(super) fn derive<L: hkdf::KeyType, K: for<'a> From<hkdf::Okm<'a, L>>>(&self, purpose: &str, kind: L) -> K {
        self.0.expand(&[purpose.as_bytes()], kind).expect("the length of a key").into()
    }
}
