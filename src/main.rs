//! The command `proxmox-mcp`.

fn main() {}
