//! Proxmox's words and what they mean.

pub(in crate::pve) mod formats;
pub(in crate::pve) mod messages;
