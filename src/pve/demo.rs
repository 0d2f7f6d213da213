//! The simulated cluster of the package `proxmox-mcp-demo`, as the clusters of this program are described.

use crate::facts::APIDOC;
use crate::policy::Rules;
use crate::secret::Secret;
use crate::settings::{Cluster, Endpoint, Tls};
use proxmox_mcp_demo as simulation;
use std::io;
use std::time::Duration;

pub use simulation::Options;

/// A running simulated cluster; dropping it ends it: the port is free and no thread is left when `drop` returns.
pub struct Demo(simulation::Demo);

impl Demo {
    /// Starts one on a free loopback port; it serves the facts of this program as the description of its API. Fails if there is no port, no thread or no randomness to be had.
    pub fn start() -> io::Result<Self> {
        let mut options = Options::default();
        options.apidoc = Some(APIDOC.into());
        Self::start_with(options)
    }

    /// Starts one that behaves as `options` say.
    pub fn start_with(options: Options) -> io::Result<Self> {
        simulation::Demo::start_with(options).map(Self)
    }

    /// How to reach it: `http://127.0.0.1:port`, with a token that may do everything.
    pub fn cluster(&self) -> Cluster {
        self.settings("demo", simulation::FULL, self.0.full_secret())
    }

    /// The same with a token that may only read (role PVEAuditor on /).
    pub fn auditor(&self) -> Cluster {
        self.settings("demo-audit", simulation::AUDIT, self.0.audit_secret())
    }

    fn settings(&self, name: &str, token_id: &str, secret: &str) -> Cluster {
        Cluster {
            name: name.into(),
            endpoints: vec![Endpoint { https: false, host: "127.0.0.1".into(), port: self.0.port() }],
            user: simulation::USER.into(),
            token_id: token_id.into(),
            token_secret: Secret::new(secret.into()),
            tls: Tls::PublicRoots,
            timeout: Duration::from_secs(30),
            discover_nodes: false,
            rules: Rules::default(),
        }
    }
}
