//! The properties of every parser of untrusted input, as functions over any bytes. The binaries in `fuzz/` run them
//! under cargo-fuzz, and `cargo test` runs them over mutations of their seeds.
//!
//! The module exists for tests and cargo-fuzz only. It is part of the crate because most of these parsers are private.

mod config;
mod filter;
#[cfg(test)]
mod growth;
mod http;
mod json;
mod mcp;
#[cfg(test)]
mod mutations;
mod pve;
mod sanitize;
mod targets;
mod view;

pub use targets::{FuzzTarget, TARGETS, run};
