//! What several test files share.

pub mod canary;
pub mod link;
pub mod log;
pub mod node;
pub mod own_process;
pub mod policy;
pub mod process;
pub mod proxmox;
pub mod raw;
pub mod rpc;
pub mod served;
pub mod stage;
pub mod tls;
pub mod tool;
