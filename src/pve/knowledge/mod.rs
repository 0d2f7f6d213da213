//! Proxmox's messages and their meaning.

pub mod messages;
pub(in crate::pve) mod text;
