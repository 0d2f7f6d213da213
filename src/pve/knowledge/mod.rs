//! Proxmox's messages and formats, and the meaning of them and of its operations.

pub mod effects;
pub(in crate::pve) mod formats;
pub mod messages;
pub mod passwords;
pub(in crate::pve) mod text;
