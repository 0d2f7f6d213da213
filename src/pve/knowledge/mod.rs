//! Proxmox's messages and formats, and their meaning.

pub(crate) mod answers;
pub(crate) mod filtered_lists;
pub(crate) mod formats;
pub mod messages;
pub(crate) mod text;
