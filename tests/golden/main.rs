//! Every text that a model, a client or an operator sees, as golden files in `snapshots/`.

mod agent;
mod answers;
mod audit_files;
mod background_tasks;
mod commands;
mod configuration;
mod demo;
mod document;
mod http;
mod json_rpc;
mod log_lines;
mod node_errors;
mod overview;
mod pages;
mod picture;
mod plans;
mod policy;
mod prompts;
mod protocol;
mod questions;
mod recorded_node;
#[path = "../support/mod.rs"]
mod support;
mod tasks;
