//! Proxmox's messages and formats, and the meaning of them and of its operations.

pub(crate) mod answers;
pub mod effects;
pub(crate) mod examples;
pub(crate) mod filtered_lists;
pub(crate) mod formats;
pub mod interfaces;
pub mod messages;
pub mod other_servers;
pub mod passwords;
pub mod preconditions;
pub(crate) mod restart;
pub(crate) mod root_parameters;
pub(crate) mod text;
