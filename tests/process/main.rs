//! Tests that run the built program.

mod approvals;
mod audit_calls;
mod audit_verify;
mod auth;
mod background_tasks;
mod bundles;
mod call_log;
mod canary;
mod canary_redaction;
mod cli;
mod compose;
mod config;
#[cfg(target_os = "linux")]
mod core_dumps;
mod documents;
mod http_vanishing;
mod idle_connections;
mod limits;
mod load;
mod metrics;
mod metrics_listen;
mod mixed_load;
mod policy_clients;
mod policy_confirm;
mod readme;
mod readyz;
mod reload;
mod replicas;
mod rights;
mod setup;
mod socket_activation;
mod stalled_log;
mod stdio;
mod structured;
#[path = "../support/mod.rs"]
mod support;
mod systemd;
mod tls;
mod untrusted;
