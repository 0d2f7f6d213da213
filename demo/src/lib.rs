//! A simulated Proxmox VE cluster on loopback, so that `--demo` and the tests need no hypervisor.
//!
//! [`Demo::start`] serves the API of one node of a three-node cluster over plain HTTP/1.1 on a free port of 127.0.0.1.
//! Status lines, headers and error texts are those of a real node, so that a client behaves the same on both.
//! The cluster lives in memory. A change lasts until the [`Demo`] is dropped.
//!
//! # Modules, from top to bottom
//! A module imports only modules below it.
//! ```text
//! server         sockets and threads
//! dispatch       from a request to a response: token, path, privilege, parameters, operation
//! description    privileges and parameters of the operations without a table
//! pve8           the API of Proxmox VE 8 as differences
//! routes         the table of operations: method, path, privilege, parameters, handler
//! seed           the cluster at the start
//! handlers       the operations
//! invocation     the call of an operation
//! permissions    authentication, and the privileges of a caller
//! tickets        tickets of logins, and one-time passwords
//! state          the cluster, its clock and its tasks
//! model          nodes, guests, storages, accounts
//! guest_options  the options of guests
//! parameters     the types of parameters, and complaints about their values
//! http           requests and responses on the wire
//! error, options, units
//! ```
//! Tasks have no threads. A task is its start time, its log and its effect. Each request first advances the cluster to
//! the present (`ClusterState::advance`), which applies the effects of the tasks that have ended.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod calendar;
mod description;
mod dispatch;
mod error;
mod guest_options;
mod handlers;
mod http;
mod invocation;
mod model;
mod options;
mod parameters;
mod permissions;
mod pve8;
#[cfg(test)]
mod real_node;
mod routes;
mod seed;
mod server;
mod state;
mod tickets;
mod units;

use model::accounts::new_secret;
use seed::accounts::Secrets;
use std::io;

pub use model::accounts::{AUDIT, FULL, USER};
pub use options::{Options, Release};

/// Returns whether a node of the demo does an operation, given by its method and the segments of its path.
#[must_use]
pub fn simulates(method: &str, segments: &[String]) -> bool {
    routes::find_route(method, segments).is_some()
}

/// A running simulated cluster. When `drop` returns, its port is free and its threads have ended.
pub struct Demo {
    server: server::Server,
    secrets: Secrets,
}

impl Demo {
    /// Starts a cluster on a free loopback port. Fails if the system has no port, thread or randomness left.
    pub fn start() -> io::Result<Self> {
        Self::start_with(Options::default())
    }

    /// Starts a cluster with these settings.
    pub fn start_with(options: Options) -> io::Result<Self> {
        let secrets = Secrets { full: new_secret()?, audit: new_secret()?, root_password: new_secret()? };
        let state = seed::new_cluster(&options, &secrets)?;
        Ok(Self { server: server::Server::start(state, options)?, secrets })
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Returns the secret of the token [`FULL`].
    pub fn full_secret(&self) -> &str {
        &self.secrets.full
    }

    /// Returns the secret of the token [`AUDIT`].
    pub fn audit_secret(&self) -> &str {
        &self.secrets.audit
    }

    /// Returns the password of `root@pam`.
    pub fn root_password(&self) -> &str {
        &self.secrets.root_password
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// The modules from top to bottom.
    const MODULES: [&str; 19] = [
        "server",
        "dispatch",
        "description",
        "pve8",
        "routes",
        "seed",
        "handlers",
        "invocation",
        "permissions",
        "tickets",
        "state",
        "model",
        "guest_options",
        "parameters",
        "http",
        "error",
        "options",
        "calendar",
        "units",
    ];

    fn rank(module: &str) -> usize {
        MODULES.iter().position(|name| *name == module).unwrap_or_else(|| panic!("{module} has no place in the list"))
    }

    fn check_imports(path: &Path, module: &str) {
        if path.is_dir() {
            for entry in fs::read_dir(path).expect("a readable folder") {
                check_imports(&entry.expect("a folder entry").path(), module);
            }
            return;
        }
        let text = fs::read_to_string(path).expect("a readable source file");
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for import in line.split("crate::").skip(1) {
                let imported = import.split(|c: char| !c.is_alphanumeric() && c != '_').next().expect("a first part");
                let allowed = imported == module || rank(imported) > rank(module);
                assert!(allowed, "{} imports {imported}, which is above {module}", path.display());
            }
        }
    }

    #[test]
    fn imports_point_downwards() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for module in MODULES {
            let file = src.join(format!("{module}.rs"));
            let path = if file.exists() { file } else { src.join(module) };
            check_imports(&path, module);
        }
    }
}
