#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxmox_mcp::fuzz::run("apidoc", bytes));
