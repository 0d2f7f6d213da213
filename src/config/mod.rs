//! What the program runs with: clusters.json, checked, and the limits of the HTTP front. [`fn@load`] makes the first out
//! of a file; what can be wrong with that file is said all at once, in [`ConfigErrors`].

mod client;
mod cluster_entry;
mod entry_reader;
mod errors;
mod field_parsers;
mod files;
mod key_pair;
pub(crate) mod load;
mod ordered_json;
mod policy_fields;

pub use client::{Client, TOKEN_PREFIX, TokenHash};
pub use errors::ConfigErrors;
pub use key_pair::KeyPair;
pub use load::{find_path, load};

use crate::base::secret::Secret;
use crate::policy::ClusterPolicy;
use std::fmt;
use std::time::Duration;

/// Every cluster of clusters.json, in the file's order, which of them is the default, and who may call.
#[derive(Clone, Debug, Default)]
pub struct ClustersFile {
    /// At least one; names are unique.
    pub clusters: Vec<ClusterConfig>,
    /// The cluster that a call means when it names none: the file's `default`, or the only one there is.
    pub default: Option<String>,
    /// The clients that the file names, in its order; names and tokens are unique.
    pub clients: Vec<Client>,
}

/// One cluster of clusters.json.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterConfig {
    /// Its name in the file.
    pub name: String,
    /// Its nodes, at least one; any of them answers for the whole cluster.
    pub endpoints: Vec<Endpoint>,
    /// `user@realm`.
    pub user: String,
    /// The API token's name.
    pub token_id: String,
    /// The API token's secret.
    pub token_secret: Secret,
    /// How a node's certificate is checked.
    pub tls: TlsVerification,
    /// How long one API call may take from end to end.
    pub timeout: Duration,
    /// Whether more nodes are learnt from the cluster itself.
    pub discover_nodes: bool,
    /// What may be done on it.
    pub policy: ClusterPolicy,
}

impl ClusterConfig {
    /// How its nodes' identity is checked, in a few words.
    pub fn tls_mode(&self) -> &'static str {
        match self.tls {
            _ if self.endpoints.iter().all(|e| !e.https) => "none (http on loopback)",
            TlsVerification::PublicRoots => "public roots",
            TlsVerification::Ca(_) => "ca_file",
            TlsVerification::Fingerprints(_) => "fingerprint",
            TlsVerification::Unverified => "not verified",
        }
    }
}

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether TLS is spoken; false only for a loopback address.
    pub https: bool,
    /// A host name or an IP address, IPv6 without brackets.
    pub host: String,
    /// 8006 where the file gives none.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    /// `host:port`, IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How the certificate of a node is checked.
#[derive(Clone, Debug, PartialEq)]
pub enum TlsVerification {
    /// Against the public roots (an ACME certificate).
    PublicRoots,
    /// Against the certificates of `ca_file`: DER, at least one.
    Ca(Vec<rustls_pki_types::CertificateDer<'static>>),
    /// The leaf's SHA-256 must be one of these, whoever signed it: at least one, and as each node has a certificate of
    /// its own, usually one a node.
    Fingerprints(Vec<Fingerprint>),
    /// Not at all (`verify_ssl: false`).
    Unverified,
}

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    /// As Proxmox prints it: upper-case hex pairs with colons.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

/// The bounds of everything a stranger can make the server hold or wait for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections at once.
    pub max_connections: usize,
    /// Open connections at once from one client address.
    pub max_connections_per_address: usize,
    /// Open SSE sessions at once.
    pub max_sessions: usize,
    /// Tool calls in flight at once on each transport: over all SSE sessions, on POST /mcp, on stdio.
    pub max_calls: usize,
    /// Tool calls in flight at once in one session.
    pub max_calls_per_session: usize,
    /// Tool calls in flight at once of one client over HTTP, over all its connections; whoever comes without a client's
    /// token is bounded by `max_calls` alone.
    pub max_calls_per_client: usize,
    /// Tool calls a minute of one client over HTTP, or of all together where no client is configured. 0 is no limit.
    pub max_calls_per_minute: usize,
    /// Calls in flight at once to one cluster.
    pub max_calls_per_cluster: usize,
    /// Bytes of a request's line and headers together.
    pub max_head_bytes: usize,
    /// Headers of a request.
    pub max_headers: usize,
    /// Bytes of a request's body.
    pub max_body_bytes: usize,
    /// Bytes of large request bodies (over 64 KiB) together.
    pub max_buffered_bytes: usize,
    /// Bytes of an answer of a Proxmox node. The resources of thousands of guests are a few MiB, and each call in flight
    /// may hold as much as this more than once.
    pub max_answer_bytes: usize,
    /// Bytes of an answer's text that a tool hands to the model at once, 3 to 4 a token; the rest comes page by page.
    /// 0 is no cap.
    pub max_result_bytes: usize,
    /// From a request's first byte to the end of its head.
    pub head_timeout: Duration,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// Between two requests of a connection.
    pub idle_timeout: Duration,
    /// For one answer, or one event of an SSE stream, to be taken by the client.
    pub write_timeout: Duration,
    /// Between two keep-alive comments on an SSE stream.
    pub sse_keepalive: Duration,
    /// How long calls in flight may go on when the server is told to stop.
    pub stop_timeout: Duration,
    /// A tool call that lasts longer is logged as slow.
    pub slow_call: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            max_connections: 4096,
            max_connections_per_address: 1024,
            max_sessions: 2048,
            max_calls: 256,
            max_calls_per_session: 16,
            // A quarter of all: one that has run wild leaves room for others.
            max_calls_per_client: 64,
            // What is too many is for whoever runs it to say: any number that a runaway meets, an honest script over
            // thousands of guests meets as well, and what harms is bounded by what is in flight at once.
            max_calls_per_minute: 0,
            max_calls_per_cluster: 64,
            max_head_bytes: 16 << 10,
            max_headers: 64,
            max_body_bytes: 4 << 20,
            max_buffered_bytes: 64 << 20,
            max_answer_bytes: 16 << 20,
            max_result_bytes: 32 << 10,
            head_timeout: seconds(10),
            body_timeout: seconds(30),
            idle_timeout: seconds(60),
            write_timeout: seconds(10),
            sse_keepalive: seconds(15),
            stop_timeout: seconds(8),
            slow_call: seconds(10),
        }
    }
}
