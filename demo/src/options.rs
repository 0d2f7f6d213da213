//! Settings of a simulated cluster.

use std::sync::Arc;
use std::time::Duration;

/// Settings that shorten the waits of a real cluster, or bound the demo.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Delay of a 401 answer. A real node waits 3 s; the default is no delay.
    pub auth_delay: Duration,
    /// Duration of a task per line of its log; default 1 s. A power action has one to three lines.
    pub task_step: Duration,
    /// Time a connection may wait for the next byte; default 5 s, as on a real node.
    pub idle: Duration,
    /// Number of requests per connection; default 100, as on a real node.
    pub requests_per_connection: u32,
    /// Number of open connections; further ones are closed at once. Default 256.
    pub connections: usize,
    /// The gzip-compressed answer to `GET /pve-docs/api-viewer/apidoc.js`, which needs no token.
    /// By default the node answers 500, as for any file that it does not have.
    pub apidoc: Option<Arc<[u8]>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            auth_delay: Duration::ZERO,
            task_step: Duration::from_secs(1),
            idle: Duration::from_secs(5),
            requests_per_connection: 100,
            connections: 256,
            apidoc: None,
        }
    }
}
