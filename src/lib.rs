//! `proxmox-mcp`: one small synchronous server between language models and Proxmox VE clusters.
//!
//! To see what it does, run it with `--demo --log debug` and point any MCP client at the address it prints.
//!
//! # The way of a call
//! ```text
//! MCP client ── HTTP ──▶ http ─┐                       ┌─▶ tools ─▶ call: plan → authorize → confirm → execute ─▶ pve
//!            ── stdio ─▶ stdio ┴─ bytes of a message ─▶ mcp    ▲                          │
//!                                                              └───── render ◀── outcome ─┘
//! ```
//! The transports [`http`] and [`stdio`] know [`mcp`], which knows no socket and no tool. The [`tools`] are data with
//! their handlers. A handler sends nothing by itself: [`call`] takes every request to a cluster through the same steps,
//! which its types show. [`render`] turns outcomes into text, and [`pve`] is the client of the clusters. [`config`],
//! [`policy`], [`audit`], [`metrics`], [`sanitize`] and [`base`] are below all of them. The binary puts them together.
//!
//! The server has no async runtime. It has one thread for each connection, a bounded set of workers for the calls of SSE
//! sessions and of stdio, and blocking I/O with a deadline on every read and write. The memory comes from `allocator/`,
//! the only package with code that is not safe. The simulated cluster is the package in `demo/`.
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
