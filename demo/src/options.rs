//! Settings of a simulated cluster.

use std::sync::Arc;
use std::time::Duration;

/// The release of Proxmox VE that the cluster simulates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// 8.4. Errors are in the status line only, HA has groups, and guest agents need `VM.Monitor`.
    Pve8,
    /// 9.2.
    #[default]
    Pve9,
}

impl Release {
    /// Returns the release, the version and the commit as in `GET /version`.
    pub(crate) fn version(self) -> [&'static str; 3] {
        match self {
            Self::Pve8 => ["8.4", "8.4.14", "b502d23c55afcba1"],
            Self::Pve9 => ["9.2", "9.2.11", "14a22df3deadbeef"],
        }
    }
}

/// Settings that shorten the waits of a real cluster, or bound the demo.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Delay of a 401 answer. A real node waits 3 s; the default is no delay.
    pub auth_delay: Duration,
    /// Duration of a task per line of its log; default 1 s. A power action has one to three lines.
    pub task_step: Duration,
    /// Time after which a new or changed guest has its name and state in the lists of the cluster; default 3 s.
    /// A real node needs up to 10 s.
    pub lag: Duration,
    /// Time a connection may wait for the next byte; default 5 s, as on a real node.
    pub idle: Duration,
    /// Number of requests per connection; default 100, as on a real node.
    pub requests_per_connection: u32,
    /// Number of open connections; further ones are closed at once. Default 256.
    pub connections: usize,
    /// The gzip-compressed answer to `GET /pve-docs/api-viewer/apidoc.js`, which needs no token.
    /// By default the node answers 500, as for any file that it does not have.
    pub apidoc: Option<Arc<[u8]>>,
    /// The same as [`Options::apidoc`], for the demo's own checks. Operations without a table of their own need it.
    pub description: &'static [u8],
    /// The release of Proxmox VE; default 9.2.
    pub release: Release,
    /// The release of the node pve3, while the cluster is upgraded node by node. By default, it has that of the others.
    pub other_release: Option<Release>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            auth_delay: Duration::ZERO,
            task_step: Duration::from_secs(1),
            lag: Duration::from_secs(3),
            idle: Duration::from_secs(5),
            requests_per_connection: 100,
            connections: 256,
            apidoc: None,
            description: &[],
            release: Release::default(),
            other_release: None,
        }
    }
}
