//! Removal of the API token's secret from a node's answers.

use crate::base::secret::Secret;

/// A shorter secret may be part of any answer. Every secret that Proxmox makes is a UUID.
const MIN_SECRET_LEN: usize = 8;

/// Filter that removes one token's secret from untrusted text.
pub(in crate::pve) struct SecretFilter {
    secret: Secret,
}

impl SecretFilter {
    pub(in crate::pve) fn new(secret: Secret) -> Self {
        Self { secret }
    }

    /// Replaces the secret in a message, in case the node, or an attacker in its place, echoes it.
    pub(in crate::pve) fn redact_message(&self, text: String) -> String {
        if self.secret.is_empty() || !text.contains(self.secret.expose()) {
            return text;
        }
        text.replace(self.secret.expose(), "(secret)")
    }

    /// Replaces the secret in the body of an answer, unless the secret is too short.
    pub(in crate::pve) fn redact_body(&self, body: String) -> String {
        if self.secret.expose().len() < MIN_SECRET_LEN { body } else { self.redact_message(body) }
    }

    /// Returns whether a text contains the secret. Returns false if [`SecretFilter::redact_body`] would not replace it.
    pub(in crate::pve) fn contains_secret(&self, text: &str) -> bool {
        self.secret.expose().len() >= MIN_SECRET_LEN && text.contains(self.secret.expose())
    }
}
