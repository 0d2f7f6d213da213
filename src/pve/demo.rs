//! The simulated cluster of the package `proxmox-mcp-demo` as an entry of the configuration.

use crate::base::secret::Secret;
use crate::config::{ClusterConfig, Endpoint, TlsVerification};
use crate::policy::ClusterPolicy;
use crate::pve::method::Method;
use crate::pve::path::ApiPath;
use crate::pve::schema::facts::APIDOC;
use proxmox_mcp_demo as simulation;
use std::io;
use std::time::Duration;

pub use simulation::{Options, Release};

/// Returns whether the simulated cluster has an operation, or an answer for it.
pub fn simulates(method: Method, path: &ApiPath) -> bool {
    let segments: Vec<String> = path.segments().map(|segment| segment.into_owned()).collect();
    simulation::simulates(method.as_str(), &segments)
}

/// A running simulated cluster. Dropping it closes the port and joins its threads.
pub struct Demo(simulation::Demo);

impl Demo {
    /// Starts a cluster on a free loopback port. It serves the embedded facts as the description of its API. Returns an
    /// error if the system has no port, thread or random bytes left.
    pub fn start() -> io::Result<Self> {
        let mut options = Options::default();
        options.apidoc = Some(APIDOC.into());
        Self::start_with(options)
    }

    /// Starts a cluster with these options.
    pub fn start_with(mut options: Options) -> io::Result<Self> {
        options.description = APIDOC;
        simulation::Demo::start_with(options).map(Self)
    }

    /// Returns the settings of a client with a token that has all privileges.
    pub fn cluster(&self) -> ClusterConfig {
        self.settings("demo", simulation::FULL, self.0.full_secret())
    }

    /// Returns the settings of a client with a read-only token (role PVEAuditor on /).
    pub fn auditor(&self) -> ClusterConfig {
        self.settings("demo-audit", simulation::AUDIT, self.0.audit_secret())
    }

    /// Returns the password of `root@pam`, for logins with `POST /access/ticket`.
    pub fn root_password(&self) -> &str {
        self.0.root_password()
    }

    fn settings(&self, name: &str, token_id: &str, secret: &str) -> ClusterConfig {
        ClusterConfig {
            name: name.into(),
            endpoints: vec![Endpoint { https: false, host: "127.0.0.1".into(), port: self.0.port() }],
            user: simulation::USER.into(),
            token_id: token_id.into(),
            token_secret: Secret::new(secret.into()),
            tls: TlsVerification::PublicRoots,
            timeout: Duration::from_secs(30),
            discover_nodes: false,
            is_simulated: true,
            policy: ClusterPolicy::default(),
        }
    }
}
