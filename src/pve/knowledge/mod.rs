//! Proxmox's messages and formats, and their meaning.

pub(in crate::pve) mod formats;
pub mod messages;
pub(crate) mod text;
