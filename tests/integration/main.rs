//! Tests of the library, in this process.

mod api;
mod api_get;
mod api_tasks;
mod architecture;
mod audit_disk_full;
mod audit_log;
mod demo;
mod depth;
mod describe;
mod failover;
mod guests;
mod http_attacks;
mod http_descriptors;
mod http_sse;
mod mcp_core;
mod path_property;
mod policy_guests;
mod policy_lists;
mod policy_table;
mod pve_failures;
mod pve_log;
mod pve_schema;
mod pve_secrets;
mod pve_tls;
mod pve_wire;
mod quota;
mod redact;
mod resources;
mod search;
mod sse_calls;
mod streamable;
mod streamable_calls;
#[path = "../support/mod.rs"]
mod support;
mod tasks;
mod tools;
