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

mod tls_error;
mod upid;

pub use client::tls::build_client_config;

use std::fmt;

/// The methods of the Proxmox VE API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates, or starts something.
    Post,
    /// Changes.
    Put,
    /// Removes.
    Delete,
}

impl Method {
    /// All of them, in the order they are shown.
    pub const ALL: [Method; 4] = [Method::Get, Method::Post, Method::Put, Method::Delete];

    /// The method of this name, in upper or lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(name))
    }

    /// The upper-case name, as it goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        }
    }

    /// Whether its parameters go into the body (PVE: GET and DELETE have them in the query alone).
    fn has_form(self) -> bool {
        matches!(self, Method::Post | Method::Put)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
