//! Clients: those of clusters.json, and the single one of `MCP_AUTH_TOKEN` or `--auth-token-file`.

use super::files::{self, FileError};
use super::token::{TokenError, TokenHash, hash_token};
use super::{field_parsers, misplaced_secret};
use crate::base::hint::Hint;
use crate::policy::{AccessLevel, ClientRules, ClusterPolicy, EffectivePolicy, Permissions};
use std::borrow::Cow;
use std::path::Path;
use thiserror::Error;

/// A client, known by its token.
#[derive(Clone, Debug)]
pub struct Client {
    /// Name in clusters.json, or the setting that holds the token.
    pub name: String,
    pub token_sha256: TokenHash,
    /// Upper bound of the client's permissions. A cluster may grant less.
    pub permissions: Permissions,
    /// Rules beside those of the clusters.
    pub rules: ClientRules,
    /// Names of the clusters that the client may use; `None` is all of them.
    pub clusters: Option<Vec<String>>,
    /// True if the client may approve the calls of other clients.
    pub approve: bool,
    /// True if the client gets results as JSON too (`structuredContent`).
    pub structured: bool,
}

impl Client {
    /// Returns the client that every caller is if no client is configured. No token has its hash.
    pub fn anonymous() -> Self {
        Self::with_full_access("anyone", TokenHash::UNKNOWN)
    }

    /// Returns the rules of the client and those of a cluster together.
    pub fn policy_on<'a>(&'a self, cluster: &'a ClusterPolicy) -> EffectivePolicy<'a> {
        EffectivePolicy { cluster, client: &self.rules, client_name: &self.name, client_permissions: self.permissions }
    }

    /// Returns whether the client may use the cluster with this name.
    pub fn may_use(&self, cluster: &str) -> bool {
        self.clusters.as_ref().is_none_or(|names| names.iter().any(|name| name == cluster))
    }

    /// Returns the client whose token is `token`, the value of `MCP_AUTH_TOKEN`. The error does not contain the value.
    pub fn from_env_token(token: &str) -> Result<Self, ClientTokenError> {
        let hash = hash_token(token).map_err(ClientTokenError::Variable)?;
        Ok(Self::with_full_access("MCP_AUTH_TOKEN", hash))
    }

    /// Returns the client whose token is in the file of `--auth-token-file`. The error contains neither the token nor the
    /// path, which may be a token in the wrong place.
    pub fn from_token_file(path: &Path) -> Result<Self, ClientTokenError> {
        let token = files::read_secret(path).map_err(ClientTokenError::File)?;
        let hash = hash_token(&token).map_err(ClientTokenError::FileContent)?;
        Ok(Self::with_full_access("auth-token-file", hash))
    }

    /// Returns the client on stdin. No token has its hash.
    pub fn stdio() -> Self {
        Self::with_full_access("stdio", TokenHash::UNKNOWN)
    }

    /// Returns a client that only the clusters restrict.
    fn with_full_access(name: &str, token_sha256: TokenHash) -> Self {
        let permissions = Permissions { access: AccessLevel::Full, exec: true };
        Self {
            name: name.into(),
            token_sha256,
            permissions,
            rules: ClientRules::default(),
            approve: false,
            structured: false,
            clusters: None,
        }
    }

    /// Returns whether both have the same name and token. Their permissions may differ.
    pub fn is_same_client(&self, other: &Self) -> bool {
        self.name == other.name && self.token_sha256.ct_eq(&other.token_sha256)
    }

    /// Returns whether callers prove with a token that they are this client.
    pub fn has_token(&self) -> bool {
        self.token_sha256.is_known()
    }

    /// Returns whether a client may have this name: 1 to 64 letters, digits, ".", "_" or "-", and not a token.
    pub fn is_valid_name(name: &str) -> bool {
        field_parsers::is_valid_name(name) && !misplaced_secret::looks_like_secret(name)
    }
}

/// The reason why the token of a setting cannot be used.
#[derive(Debug, Error)]
pub enum ClientTokenError {
    #[error("MCP_AUTH_TOKEN {0}")]
    Variable(TokenError),
    #[error("--auth-token-file names a file that {0}")]
    File(FileError),
    #[error("--auth-token-file names a file that {0}")]
    FileContent(TokenError),
}

impl Hint for ClientTokenError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Variable(error) | Self::FileContent(error) => error.hint(),
            Self::File(error) => error.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hint::render_error;

    #[test]
    fn a_token_that_can_be_guessed_is_rejected() {
        let error_of = |token| render_error(&Client::from_env_token(token).expect_err(token));
        for short in ["", "hunter2", "fifteen_letters"] {
            let error = error_of(short);
            assert!(error.contains("fewer than 16") && error.contains("token`"), "{error}");
        }
        for odd in ["sixteen letters!", "sixteen_letters\n", "sixteen_létters"] {
            let error = error_of(odd);
            assert!(error.contains("the token alone") && !error.contains("sixteen"), "{error}");
        }
        let client = Client::from_env_token("sixteen_letters_").expect("a token");
        assert!(client.token_sha256.ct_eq(&TokenHash::from_token(b"sixteen_letters_")));
        assert_eq!((client.name.as_str(), client.permissions.access), ("MCP_AUTH_TOKEN", AccessLevel::Full));
    }
}
