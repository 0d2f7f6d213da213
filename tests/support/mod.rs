//! Fixtures that test modules share.

pub mod canary;
pub mod log;
pub mod node;
pub mod own_process;
pub mod policy;
pub mod process;
pub mod program;
pub mod proxmox;
pub mod raw;
pub mod recorded_node;
pub mod rpc;
pub mod server;
pub mod tasks;
pub mod test_tools;
pub mod tls;
pub mod tool;
pub mod transport;
