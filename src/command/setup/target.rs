//! The cluster that setup works on: the way to its API, its names, and the verification of its certificates.

use super::admin::{AdminApi, AdminError, has_pvesh};
use super::config_file::TlsEntry;
use crate::command::failure::Failure;
use crate::command::output::print_stderr;
use crate::command::terminal;
use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::base::secret::Secret;
use proxmox_mcp::config::{ClusterConfig, Endpoint, Fingerprint, Limits, TlsVerification};
use proxmox_mcp::policy::ClusterPolicy;
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::client::cluster::Cluster;
use proxmox_mcp::pve::client::ticket::{LoginProgress, answer_challenge, log_in};
use proxmox_mcp::pve::error::{ConnectError, PveError};
use proxmox_mcp::pve::params::ApiParams;
use proxmox_mcp::pve::path::ApiPath;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;

const DEFAULT_PORT: u16 = 8006;
const TIMEOUT: Duration = Duration::from_secs(35);
/// The file of the cluster's own authority in a node's list of certificates (PVE).
const CA_FILE: &str = "pve-root-ca.pem";

/// The cluster, with a way to change it.
pub struct Target {
    pub admin: AdminApi,
    /// The user who makes the changes.
    pub admin_user: String,
    pub facts: ClusterFacts,
    /// The node that the server shall ask.
    pub endpoint: Endpoint,
    pub tls: TlsEntry,
    /// The cluster's authority, for a file beside clusters.json.
    pub ca: Option<String>,
}

/// The settings that lead to a cluster.
pub struct Address<'a> {
    pub url: Option<&'a Endpoint>,
    pub fingerprint: Option<Fingerprint>,
    /// The cluster's entry in clusters.json.
    pub entry: Option<&'a ClusterConfig>,
    /// Ask no question that has no safe default.
    pub assume_yes: bool,
}

/// The version and the names of a cluster.
pub struct ClusterFacts {
    pub version: String,
    /// The name of the cluster; of a node that is in none, the name of the node.
    pub name: String,
    nodes: Vec<ClusterNode>,
}

struct ClusterNode {
    name: String,
    ip: String,
    /// The node that answers.
    is_local: bool,
}

impl ClusterFacts {
    fn read(admin: &AdminApi) -> Result<Self, AdminError> {
        let text = |row: &Value, name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let version = text(&admin.call(Method::Get, "/version", &[])?, "version");
        let (mut cluster, mut nodes) = (None, Vec::new());
        for row in admin.list("/cluster/status")? {
            match &*text(&row, "type") {
                "cluster" => cluster = Some(text(&row, "name")),
                "node" => nodes.push(ClusterNode {
                    name: text(&row, "name"),
                    ip: text(&row, "ip"),
                    is_local: row.get("local").is_some_and(|local| *local == 1 || *local == "1" || *local == true),
                }),
                _ => {}
            }
        }
        nodes.sort_by_key(|node| !node.is_local);
        let first = nodes.first().map(|node| node.name.clone());
        let unexpected = || AdminError::UnexpectedAnswer { method: Method::Get, path: "/cluster/status".to_owned() };
        Ok(Self { version, name: cluster.or(first).ok_or_else(unexpected)?, nodes })
    }

    fn local_node(&self) -> &ClusterNode {
        self.nodes.first().expect("a cluster has a node")
    }

    /// Returns whether a host is a node of this cluster, as its nodes name themselves.
    fn has_host(&self, host: &str) -> bool {
        let is_loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        is_loopback || self.nodes.iter().any(|node| node.ip == host || node.name.eq_ignore_ascii_case(host))
    }
}

impl Target {
    /// Finds the way to a cluster: `pvesh` on one of its nodes, else a login.
    pub fn connect(address: &Address<'_>) -> Result<Self, Failure> {
        let endpoint = address.url.or_else(|| address.entry.and_then(|entry| entry.endpoints.first()));
        if has_pvesh() && endpoint.is_none_or(|endpoint| endpoint.https) {
            let admin = AdminApi::Pvesh;
            let facts = ClusterFacts::read(&admin).map_err(failure)?;
            if endpoint.is_none_or(|endpoint| facts.has_host(&endpoint.host)) {
                return Self::on_node(admin, facts, endpoint, address);
            }
        }
        match endpoint {
            Some(endpoint) => Self::log_in(endpoint, address),
            None => Err(Failure::Usage(
                "setup needs the address of a Proxmox node: `pvesh` is not here, or the caller is not root. hint: \
                 --url HOST, or run it as root on a node"
                    .into(),
            )),
        }
    }

    fn on_node(
        admin: AdminApi,
        facts: ClusterFacts,
        endpoint: Option<&Endpoint>,
        address: &Address<'_>,
    ) -> Result<Self, Failure> {
        let own = || {
            let node = facts.local_node();
            let host = if node.ip.is_empty() { &node.name } else { &node.ip };
            Endpoint { https: true, host: host.clone(), port: DEFAULT_PORT }
        };
        let endpoint = endpoint.cloned().unwrap_or_else(own);
        let admin_user = "root@pam".to_owned();
        let mut target = Self { admin, admin_user, facts, endpoint, tls: TlsEntry::Unchanged, ca: None };
        if address.keeps_entry(&target.endpoint) {
            return Ok(target);
        }
        let certificates = target.read_certificates().map_err(failure)?;
        if target.use_ca(&certificates) {
            return Ok(target);
        }
        match probe(&target.endpoint, TlsVerification::PublicRoots) {
            Ok(()) => target.tls = TlsEntry::PublicRoots,
            // The node's own list proves that the certificate is the right one.
            Err(error) => match presented_fingerprint(&error) {
                Some(presented) if certificates.iter().any(|c| c.fingerprint == presented.to_string()) => {
                    target.tls = TlsEntry::Fingerprint(presented);
                }
                _ => return Err(failure(error.into())),
            },
        }
        Ok(target)
    }

    fn log_in(endpoint: &Endpoint, address: &Address<'_>) -> Result<Self, Failure> {
        let keeps_entry = address.keeps_entry(endpoint);
        let trust = match (address.fingerprint, address.entry.filter(|_| keeps_entry)) {
            (Some(fingerprint), _) => TlsVerification::Fingerprints(vec![fingerprint]),
            (None, Some(entry)) => entry.tls.clone(),
            (None, None) => ask_for_trust(endpoint, address.assume_yes)?,
        };
        let (session, admin_user) = open_session(endpoint, &trust)?;
        let admin = AdminApi::Session(Box::new(session));
        let facts = ClusterFacts::read(&admin).map_err(failure)?;
        let mut target =
            Self { admin, admin_user, facts, endpoint: endpoint.clone(), tls: TlsEntry::Unchanged, ca: None };
        if keeps_entry {
            return Ok(target);
        }
        let pin = match trust {
            TlsVerification::Fingerprints(pins) if endpoint.https => pins.first().copied(),
            _ => None,
        };
        target.tls = match pin {
            None => TlsEntry::PublicRoots,
            Some(pin) => {
                // The authority outlives a certificate, which is renewed. A token may be unable to read the list.
                let certificates = target.read_certificates().unwrap_or_default();
                if target.use_ca(&certificates) {
                    return Ok(target);
                }
                TlsEntry::Fingerprint(pin)
            }
        };
        Ok(target)
    }

    fn read_certificates(&self) -> Result<Vec<CertificateFacts>, AdminError> {
        let rows = self.admin.list(&format!("/nodes/{}/certificates/info", self.facts.local_node().name))?;
        let text = |row: &Value, name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let facts = rows.iter().map(|row| CertificateFacts {
            file: text(row, "filename"),
            fingerprint: text(row, "fingerprint"),
            pem: text(row, "pem"),
        });
        Ok(facts.collect())
    }

    /// Chooses the cluster's authority, if the node's certificate is signed by it and valid for the address.
    fn use_ca(&mut self, certificates: &[CertificateFacts]) -> bool {
        let Some(ca) = certificates.iter().find(|certificate| certificate.file == CA_FILE) else { return false };
        let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(ca.pem.as_bytes()).collect();
        let Ok(parsed) = parsed else { return false };
        if parsed.is_empty() || probe(&self.endpoint, TlsVerification::Ca(parsed)).is_err() {
            return false;
        }
        self.tls = TlsEntry::Ca { file: String::new(), has_other_nodes: self.facts.nodes.len() > 1 };
        self.ca = Some(format!("{}\n", ca.pem.trim_end()));
        true
    }
}

impl Address<'_> {
    /// Returns whether the address and the trust of the cluster's entry stay as they are.
    fn keeps_entry(&self, endpoint: &Endpoint) -> bool {
        self.fingerprint.is_none() && self.entry.is_some_and(|entry| entry.endpoints.contains(endpoint))
    }
}

/// One certificate in a node's list.
struct CertificateFacts {
    file: String,
    fingerprint: String,
    pem: String,
}

/// Makes the failure of a call.
pub fn failure(error: AdminError) -> Failure {
    Failure::runtime(error)
}

fn client(endpoint: &Endpoint, tls: TlsVerification) -> Result<Cluster, Failure> {
    let settings = ClusterConfig {
        name: endpoint.to_string(),
        endpoints: vec![endpoint.clone()],
        user: String::new(),
        token_id: String::new(),
        token_secret: Secret::new(String::new()),
        tls,
        timeout: TIMEOUT,
        discover_nodes: false,
        is_simulated: false,
        policy: ClusterPolicy::default(),
    };
    let cluster = Cluster::new(settings, &Limits::default());
    cluster.map(Cluster::without_token).map_err(|error| Failure::Usage(error.to_string()))
}

/// Connects to a node. An error answer proves the connection too.
fn probe(endpoint: &Endpoint, tls: TlsVerification) -> Result<(), PveError> {
    let Ok(cluster) = client(endpoint, tls) else { return Ok(()) };
    let (path, _) = ApiPath::parse("/version").expect("the path is valid");
    match cluster.call(Method::Get, &path, &ApiParams::new(), &CancelToken::new()) {
        Err(error @ (PveError::ConnectionFailed { .. } | PveError::Tls { .. } | PveError::TimedOut { .. })) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// Returns the fingerprint of the certificate that a node presented, if the certificate is the cause of the failure.
fn presented_fingerprint(error: &PveError) -> Option<Fingerprint> {
    match error {
        PveError::Tls { error, .. } => error.fingerprint,
        PveError::ConnectionFailed { attempts } => attempts.iter().find_map(|attempt| match &attempt.cause {
            ConnectError::Tls(error) => error.fingerprint,
            ConnectError::Network(_) => None,
        }),
        _ => None,
    }
}

/// Finds the verification of a node. A person must compare the fingerprint of a certificate that no public authority
/// signed.
fn ask_for_trust(endpoint: &Endpoint, assume_yes: bool) -> Result<TlsVerification, Failure> {
    let error = match probe(endpoint, TlsVerification::PublicRoots) {
        Ok(()) => return Ok(TlsVerification::PublicRoots),
        Err(error) => error,
    };
    let Some(presented) = presented_fingerprint(&error) else { return Err(failure(error.into())) };
    if assume_yes {
        return Err(Failure::Usage(format!(
            "the certificate of {endpoint} is not signed by a public authority. hint: compare its fingerprint with \
             `pvenode cert info` on the node, then add --fingerprint {presented}"
        )));
    }
    print_stderr(&format!(
        "The certificate of {endpoint} is not signed by a public authority. Its SHA-256 fingerprint:\n  {presented}\n\
         Compare it with the node's own: Node, System, Certificates in the GUI, or `pvenode cert info`.\n"
    ));
    match terminal::confirm("Is it the same?")? {
        true => Ok(TlsVerification::Fingerprints(vec![presented])),
        false => Err(Failure::Runtime(format!("the certificate of {endpoint} is not trusted. Nothing was sent to it"))),
    }
}

/// Asks for a user, a password and a second factor, and logs in.
fn open_session(endpoint: &Endpoint, trust: &TlsVerification) -> Result<(Cluster, String), Failure> {
    let mut user = terminal::ask(&format!("User of {endpoint}"), "root@pam")?;
    if !user.contains('@') {
        user.push_str("@pam");
    }
    let password = terminal::ask_secret(&format!("Password of {user}"))?;
    let cluster = client(endpoint, trust.clone())?;
    let mut progress = log_in(&cluster, &user, &password).map_err(Failure::runtime)?;
    if let LoginProgress::NeedsSecondFactor(challenge) = &progress {
        let code = terminal::ask_secret("Code of the second factor (TOTP, or a recovery key)")?;
        progress = answer_challenge(&cluster, &user, challenge, &code).map_err(Failure::runtime)?;
    }
    match progress {
        LoginProgress::LoggedIn(ticket) => Ok((ticket.apply_to(cluster), user)),
        LoginProgress::NeedsSecondFactor(_) => {
            Err(Failure::Runtime(format!("Proxmox asks {user} for another factor, which setup can't give")))
        }
    }
}
