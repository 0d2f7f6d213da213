//! Proxmox's messages and formats, and their meaning.

pub(crate) mod answers;
pub(crate) mod filtered_lists;
pub(in crate::pve) mod formats;
pub mod messages;
pub(crate) mod text;
