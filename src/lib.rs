//! `proxmox-mcp`: one small synchronous server between language models and Proxmox VE clusters.
//!
//! To see what it does, run it with `--demo --log debug` and point any MCP client at the address it prints.
//!
//! # The way of a call
//! ```text
//! MCP client ── HTTP ──▶ http ─┐                          tools ── API call ──▶ pve ── HTTPS ──▶ a node
//!            ── stdio ─▶ stdio ┴─ bytes of a message ──▶ mcp ◀──┘ (what is offered, as data)
//! ```
//! Imports point along the arrows and never back: the transports know [`mcp`], which knows no socket and no tool by
//! name; [`tools`] are data in its terms and functions over [`pve`]. [`config`], [`policy`], [`audit`], [`metrics`], [`secret`] and
//! others are ground floors that every layer may use and that use none of them; so are [`escape_invisible`] and [`sanitize`], for
//! text that nobody vouches for. [`demo`] is a simulated cluster at the far end of the last arrow, a package of its own
//! in `demo/`. The binary puts them together.
//!
//! Every call of the API goes one way: made whole and checked against the cluster's own description of its API
//! ([`pve::schema`], whose floor is [`facts`]), known for what it can do, judged by what its client and its cluster let
//! through, confirmed where it can't be undone, written down, then sent.
//!
//! There is no async runtime: one thread a connection, a bounded set of workers for the calls of SSE sessions and of
//! stdio, and blocking I/O with a deadline on every read and write. The program's memory comes from `allocator/`, the one
//! package with code that is not safe.
#![forbid(unsafe_code)]

pub mod audit;
pub mod base;
pub mod call;
pub mod config;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/bodies/mod.rs"]
pub mod fuzz;
pub mod http;
pub mod mcp;
pub mod metrics;
pub mod policy;
pub mod pve;
pub mod render;
pub mod sanitize;
pub mod stdio;
pub mod tools;
