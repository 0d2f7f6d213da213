//! The Proxmox VE API as a blocking client.
//!
//! [`client::manager::ClusterManager`] holds one [`client::cluster::Cluster`] for each entry of clusters.json. The
//! client chooses the node, fails over and verifies certificates. [`path::ApiPath`] and [`params::ApiParams`] are the
//! canonical form of a request, [`error::PveError`] is the error of a call. [`task::wait`] follows a task to its end,
//! [`guests`] finds a guest by number or name, and [`schema`] describes the API of a cluster. `knowledge` maps
//! Proxmox's messages to their meaning.

pub mod backups;
pub mod client;
pub mod demo;
pub mod error;
pub mod guests;
pub mod inventory;
pub mod knowledge;
pub mod parameter_error;
pub mod params;
pub mod path;
pub(crate) mod property_string;
pub mod rows;
pub mod schema;
pub mod task;
pub mod task_list;
pub mod token_privileges;

mod method;
mod tls_error;
mod upid;

pub use method::Method;
