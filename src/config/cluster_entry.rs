//! The fields of one cluster in clusters.json.

use super::cluster::{ClusterConfig, Endpoint, Fingerprint, TlsVerification};
use super::entry_reader::EntryReader;
use super::errors::{ConfigErrors, EntryKind, FieldError};
use super::ordered_json::OrderedJson;
use super::{field_parsers, files};
use crate::base::secret::Secret;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// A node gives up on a request that it forwards to another node after 30 s. This is longer, so that its own answer
/// arrives.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(35);
/// The fields of a cluster.
pub(super) const CLUSTER_FIELDS: [&str; 19] = [
    "url",
    "urls",
    "user",
    "token_id",
    "token_secret",
    "token_secret_file",
    "token_secret_env",
    "verify_ssl",
    "ca_file",
    "fingerprint",
    "timeout_seconds",
    "discover_nodes",
    "access",
    "exec",
    "confirm",
    "confirm_by",
    "deny",
    "allow",
    "protect",
];

/// Reads a cluster and adds its errors to `errors`. Relative paths start at `directory`.
pub(super) fn read_cluster(
    name: &str,
    fields: Vec<(String, OrderedJson)>,
    directory: &Path,
    errors: &mut ConfigErrors,
) -> Option<ClusterConfig> {
    EntryReader::new(EntryKind::Cluster, name, fields, &CLUSTER_FIELDS, directory, errors).read_cluster()
}

impl EntryReader<'_> {
    /// Reads every field before it gives up, so that all errors are recorded.
    fn read_cluster(mut self) -> Option<ClusterConfig> {
        let endpoints = self.read_endpoints();
        let user = self.read_required("user", "such as \"mcp@pve\"", field_parsers::parse_user);
        let token_id =
            self.read_required("token_id", "the token's name alone, such as \"ro\"", field_parsers::parse_token_id);
        let token_secret = self.read_token_secret();
        let tls = self.read_tls();
        let timeout = self.read_timeout();
        let discover_nodes = self.read_bool("discover_nodes", false);
        let policy = self.read_policy();
        Some(ClusterConfig {
            name: self.name.to_owned(),
            endpoints: endpoints?,
            user: user?,
            token_id: token_id?,
            token_secret: token_secret?,
            tls: tls?,
            timeout: timeout?,
            discover_nodes: discover_nodes?,
            is_simulated: false,
            policy: policy?,
        })
    }

    fn read_endpoints(&mut self) -> Option<Vec<Endpoint>> {
        const FORM: &str = "such as \"pve1.example:8006\"";
        const LIST_FORM: &str = "a list of strings, such as [\"pve1.example:8006\"]";
        if !self.has("url") {
            if !self.has("urls") {
                let form = format!("the address of a node, {FORM}, or several as \"urls\"");
                self.add_error("url", FieldError::Missing { form });
            }
            return self.read_nonempty_list("urls", LIST_FORM, FORM, field_parsers::parse_endpoint);
        }
        let has_both = self.take("urls").is_some();
        if has_both {
            let remedy = "keep one of them, \"urls\" for several nodes";
            self.add_error("urls", FieldError::Conflict { with: "url", remedy });
        }
        let endpoint = self.read_text("url", FORM, field_parsers::parse_endpoint)?;
        (!has_both).then(|| vec![endpoint])
    }

    fn read_token_secret(&mut self) -> Option<Secret> {
        const SOURCES: [&str; 3] = ["token_secret", "token_secret_file", "token_secret_env"];
        let sources: Vec<&str> = SOURCES.into_iter().filter(|source| self.has(source)).collect();
        let [source] = sources[..] else {
            sources.iter().for_each(|source| drop(self.take(source)));
            let cause = match sources.is_empty() {
                true => FieldError::Missing {
                    form: "the token's secret, or name a \"token_secret_file\" or a \"token_secret_env\"".into(),
                },
                false => FieldError::SeveralSecrets { sources },
            };
            self.add_error("token_secret", cause);
            return None;
        };
        let directory = self.directory;
        self.read_text(source, "in double quotes", |text| -> Result<_, FieldError> {
            let secret = match source {
                "token_secret_file" => files::read_secret(&directory.join(text))?,
                "token_secret_env" => Zeroizing::new(std::env::var(text).map_err(|_| FieldError::UnsetVariable)?),
                _ => Zeroizing::new(text.to_owned()),
            };
            if secret.is_empty() {
                return Err(FieldError::EmptySecret);
            }
            field_parsers::check_secret(&secret)?;
            Ok(Secret::new(String::clone(&secret)))
        })
    }

    fn read_tls(&mut self) -> Option<TlsVerification> {
        const CA_HINT: &str = "copy /etc/pve/pve-root-ca.pem of a node";
        let verify = self.read_bool("verify_ssl", true);
        let (has_ca, has_fingerprint) = (self.has("ca_file"), self.has("fingerprint"));
        let directory = self.directory;
        let ca = self.read_text("ca_file", "the path of a PEM file", |text| {
            files::read_certificates(&directory.join(text), CA_HINT)
        });
        let fingerprints = self.read_fingerprints();
        if verify == Some(false) && (has_ca || has_fingerprint) {
            let unused = if has_ca { "ca_file" } else { "fingerprint" };
            self.add_error("verify_ssl", FieldError::VerificationOff { unused });
            return None;
        }
        if has_ca && has_fingerprint {
            let remedy = "remove one; \"ca_file\" stays valid when a node renews its certificate";
            self.add_error("fingerprint", FieldError::Conflict { with: "ca_file", remedy });
            return None;
        }
        match verify? {
            false => Some(TlsVerification::Unverified),
            true if has_ca => ca.map(TlsVerification::Ca),
            true if has_fingerprint => fingerprints.map(TlsVerification::Fingerprints),
            true => Some(TlsVerification::PublicRoots),
        }
    }

    /// Reads one fingerprint for all nodes, or a list.
    fn read_fingerprints(&mut self) -> Option<Vec<Fingerprint>> {
        const FORM: &str = "the SHA-256 fingerprint as Proxmox prints it";
        const LIST_FORM: &str = "the SHA-256 fingerprint of each node's certificate";
        if self.is_list("fingerprint") {
            return self.read_nonempty_list("fingerprint", LIST_FORM, FORM, field_parsers::parse_fingerprint);
        }
        self.read_text("fingerprint", FORM, field_parsers::parse_fingerprint).map(|one| vec![one])
    }

    fn read_timeout(&mut self) -> Option<Duration> {
        const FORM: &str = "a number from 1 to 600";
        let cause = match self.take("timeout_seconds") {
            None => return Some(DEFAULT_TIMEOUT),
            Some(OrderedJson::Number(seconds)) if (1.0..=600.0).contains(&seconds) => {
                return Some(Duration::from_secs_f64(seconds));
            }
            Some(OrderedJson::Number(_)) => FieldError::OutOfRange { form: FORM },
            Some(other) => FieldError::wrong_kind(&other, format!("{FORM} without quotes")),
        };
        self.add_error("timeout_seconds", cause);
        None
    }
}
