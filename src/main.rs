//! The command `proxmox-mcp`.
#![forbid(unsafe_code)]

mod command;

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: proxmox_mcp_allocator::Allocator = proxmox_mcp_allocator::Allocator;

fn main() -> ExitCode {
    proxmox_mcp_allocator::configure();
    command::run()
}
