//! Configuration: clusters.json, the clients' tokens, the server's certificate and the limits.
//!
//! [`fn@load`] reads clusters.json. It reports every error of the file at once, as [`ConfigErrors`].

mod client;
mod client_entry;
mod cluster;
mod cluster_entry;
mod entry_reader;
mod errors;
mod field_parsers;
mod files;
mod key_pair;
mod limits;
pub(crate) mod load;
mod misplaced_secret;
mod ordered_json;
mod policy_fields;
mod state_keys;
mod token;

pub use crate::sanitize::TOKEN_PREFIX;
pub use client::{Client, ClientTokenError};
pub use cluster::{ClusterConfig, Endpoint, Fingerprint, TlsVerification};
pub use errors::ConfigErrors;
pub use field_parsers::{
    EndpointError, FingerprintError, is_loopback_host, is_valid_name, parse_endpoint, parse_fingerprint,
};
pub use files::FileError;
pub use key_pair::{KeyPair, KeyPairError};
pub use limits::Limits;
pub use load::{ClustersFile, ConfigNotFound, find_path, load};
pub use state_keys::{StateKeyError, load_state_keys};
pub use token::{TokenError, TokenHash};
