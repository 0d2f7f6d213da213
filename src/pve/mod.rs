//! The Proxmox VE API as a blocking client: [`manager::ClusterManager`] holds one [`cluster::Cluster`] per entry of
//! clusters.json; [`path::ApiPath`] and [`params::ApiParams`] make what is sent canonical; [`error::PveError`] says what
//! went wrong in words that help. Above them, [`task::wait`] sees a task to its end, and [`guests`] are found by number
//! or name.
//!
//! Below `cluster`, which decides what may be sent again, `nodes` knows which node is well enough to be asked, `discover`
//! learns of more nodes from the cluster itself, `gate` bounds the calls in flight,
//! `wire` is one HTTP exchange on a ureq agent, `link` one connection below ureq (`resolve` finds its addresses, `dial` connects to one), `tls`
//! the four ways to trust a certificate (`tls_error` what is said where none applies), and `answer` reads what came
//! back (`words` makes Proxmox's fit to be shown).

pub mod client;
pub mod demo;
pub mod error;
pub mod guests;
mod knowledge;
pub mod parameter_error;
pub mod params;
pub mod path;
pub mod schema;
pub mod task;

mod method;
mod tls_error;
mod upid;

pub use client::tls::build_client_config;
pub use method::Method;
