//! The client of one cluster: its nodes, their connections, failover and TLS.

pub mod address_check;
pub(in crate::pve) mod answer_origin;
pub(in crate::pve) mod api_response;
pub(in crate::pve) mod call_semaphore;
pub mod cluster;
pub(in crate::pve) mod cluster_members;
pub(in crate::pve) mod discovery;
pub(in crate::pve) mod host_resolver;
pub mod manager;
pub(in crate::pve) mod node_connection;
pub(in crate::pve) mod node_health;
pub(in crate::pve) mod recent_value;
pub(in crate::pve) mod retry;
pub mod row_compactor;
pub(in crate::pve) mod secret_filter;
pub(in crate::pve) mod shared_reads;
pub(in crate::pve) mod tcp;
pub mod ticket;
pub mod tls;
pub(in crate::pve) mod transport;
