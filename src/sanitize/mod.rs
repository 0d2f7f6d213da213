//! Redaction of secrets and escapes for invisible characters.
//!
//! Secrets are found by the names that Proxmox gives them and by their form. Redaction is the last safeguard, as a
//! password alone in a sentence looks like any other word. The first one is the cluster's token: what it cannot read
//! never arrives here.

mod command_secrets;
pub mod escape_invisible;
mod misplaced_content;
mod placeholder;
mod redact_command;
mod redact_json;
mod redact_log;
mod redact_parameter;
mod secret_names;
mod secret_patterns;
#[cfg(test)]
mod tests;

pub use misplaced_content::{hide_uuids, looks_like_content, printable_path};
pub use placeholder::{HIDDEN, NOT_SHOWN};
pub use redact_command::redact_plain_words;
pub use redact_json::{decode_json_escapes, redact_json};
pub use redact_log::LogRedactor;
pub use redact_parameter::redact_parameter;
pub use secret_names::{is_secret_field, is_secret_parameter};
pub use secret_patterns::{TOKEN_PREFIX, find_uuid, is_uuid, redact_text};
