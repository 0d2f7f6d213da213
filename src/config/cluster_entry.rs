//! One cluster of clusters.json: its fields, read in one pass that finds everything wrong with them.

use super::entry_reader::EntryReader;
use super::load::join_quoted;
use super::ordered_json::OrderedJson;
use super::{ClusterConfig, ConfigErrors, Endpoint, Fingerprint, TlsVerification, field_parsers, files};
use crate::base::secret::Secret;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// Above the 30 s after which a node gives up on what it passes on to another node, so that its own answer arrives.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(35);
/// The fields a cluster may have.
pub(super) const CLUSTER_FIELDS: [&str; 18] = [
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
    "deny",
    "allow",
    "protect",
];

/// Reads the cluster `name` out of its fields and puts what is wrong with them into `problems`; `None` where it can't
/// be used. Relative paths start at `directory`.
pub(super) fn read_cluster(
    name: &str,
    fields: Vec<(String, OrderedJson)>,
    directory: &Path,
    errors: &mut ConfigErrors,
) -> Option<ClusterConfig> {
    EntryReader::new("cluster", name, fields, &CLUSTER_FIELDS, directory, errors).read_cluster()
}

impl EntryReader<'_> {
    /// Reads every field before it gives up, so that every problem is seen.
    fn read_cluster(mut self) -> Option<ClusterConfig> {
        let endpoints = self.read_endpoints();
        let user = self.read_required("user", "such as \"mcp@pve\"", field_parsers::parse_user);
        let token_id =
            self.read_required("token_id", "the token's name alone, such as \"ro\"", field_parsers::parse_token_id);
        let token_secret = self.read_token_secret();
        let tls = self.read_tls();
        let timeout = self.read_timeout();
        let discover_nodes = self.read_bool("discover_nodes");
        let rules = self.read_policy();
        Some(ClusterConfig {
            name: self.name.to_owned(),
            endpoints: endpoints?,
            user: user?,
            token_id: token_id?,
            token_secret: token_secret?,
            tls: tls?,
            timeout: timeout?,
            discover_nodes: discover_nodes?,
            policy: rules?,
        })
    }

    fn read_endpoints(&mut self) -> Option<Vec<Endpoint>> {
        const FORM: &str = "such as \"pve1.example:8006\"";
        match (self.has("url"), self.take("urls")) {
            (true, Some(_)) => {
                self.add_error("urls", "stands beside \"url\": keep one of them, \"urls\" for several nodes");
                self.read_text("url", FORM, field_parsers::parse_endpoint);
                None
            }
            (true, None) => self.read_text("url", FORM, field_parsers::parse_endpoint).map(|endpoint| vec![endpoint]),
            (false, Some(OrderedJson::List(list))) if !list.is_empty() => {
                self.read_list("urls", FORM, list, field_parsers::parse_endpoint)
            }
            (false, Some(other)) => {
                let what = if matches!(other, OrderedJson::List(_)) { "an empty list" } else { other.kind() };
                self.add_error("urls", format!("is {what}: write a list of strings, such as [\"pve1.example:8006\"]"));
                None
            }
            (false, None) => {
                self.add_error(
                    "url",
                    format!("is missing: write the address of a node, {FORM}, or several as \"urls\""),
                );
                None
            }
        }
    }

    fn read_token_secret(&mut self) -> Option<Secret> {
        const SOURCES: [&str; 3] = ["token_secret", "token_secret_file", "token_secret_env"];
        let given: Vec<&str> = SOURCES.into_iter().filter(|source| self.has(source)).collect();
        let [source] = given[..] else {
            let text = match given[..] {
                [] => "is missing: write the token's secret, or name a \"token_secret_file\" or a \"token_secret_env\""
                    .to_owned(),
                _ => format!("has more than one source: keep one of {}", join_quoted(given.iter().copied())),
            };
            self.add_error("token_secret", text);
            given.iter().for_each(|source| drop(self.take(source)));
            return None;
        };
        let directory = self.directory;
        self.read_text(source, "in double quotes", |text| {
            let secret = match source {
                "token_secret_file" => files::read_secret(&directory.join(text))?,
                // The name is not shown: it may be the secret itself, put into the wrong field.
                "token_secret_env" => Zeroizing::new(std::env::var(text).map_err(|_| {
                    "names an environment variable that is not set here: set it, or write the variable's name alone"
                })?),
                _ => Zeroizing::new(text.to_owned()),
            };
            if secret.is_empty() {
                return Err("leads to an empty secret: put the token's secret there".into());
            }
            field_parsers::check_secret(&secret)?;
            Ok(Secret::new(String::clone(&secret)))
        })
    }

    fn read_tls(&mut self) -> Option<TlsVerification> {
        let verify = match self.take("verify_ssl") {
            None => Some(true),
            Some(OrderedJson::Bool(verify)) => Some(verify),
            Some(OrderedJson::String(text)) if ["true", "false"].contains(&text.to_ascii_lowercase().as_str()) => {
                self.add_error("verify_ssl", "is a string: drop the quotes, write true or false");
                None
            }
            Some(other) => {
                self.add_error("verify_ssl", format!("is {}: write true or false", other.kind()));
                None
            }
        };
        let (has_ca, has_fingerprint) = (self.has("ca_file"), self.has("fingerprint"));
        let directory = self.directory;
        let ca =
            self.read_text("ca_file", "the path of a PEM file", |text| files::read_certificates(&directory.join(text)));
        let fingerprints = self.read_fingerprints();
        if verify == Some(false) && (has_ca || has_fingerprint) {
            let beside = if has_ca { "ca_file" } else { "fingerprint" };
            self.add_error(
                "verify_ssl",
                format!("is false, so that \"{beside}\" would go unused: remove \"verify_ssl\""),
            );
            return None;
        }
        if has_ca && has_fingerprint {
            self.add_error(
                "fingerprint",
                "stands beside \"ca_file\": remove one; \"ca_file\" still holds when a node renews its certificate",
            );
            return None;
        }
        match verify? {
            false => Some(TlsVerification::Unverified),
            true if has_ca => ca.map(TlsVerification::Ca),
            true if has_fingerprint => fingerprints.map(TlsVerification::Fingerprints),
            true => Some(TlsVerification::PublicRoots),
        }
    }

    /// One for every node, or a list.
    fn read_fingerprints(&mut self) -> Option<Vec<Fingerprint>> {
        const FORM: &str = "the SHA-256 fingerprint as Proxmox prints it";
        if !self.is_list("fingerprint") {
            return self.read_text("fingerprint", FORM, field_parsers::parse_fingerprint).map(|one| vec![one]);
        }
        match self.take("fingerprint")? {
            OrderedJson::List(list) if !list.is_empty() => {
                self.read_list("fingerprint", FORM, list, field_parsers::parse_fingerprint)
            }
            _ => {
                self.add_error(
                    "fingerprint",
                    "is an empty list: write the SHA-256 fingerprint of each node's certificate",
                );
                None
            }
        }
    }

    fn read_timeout(&mut self) -> Option<Duration> {
        match self.take("timeout_seconds") {
            None => Some(DEFAULT_TIMEOUT),
            Some(OrderedJson::Number(seconds)) if (1.0..=600.0).contains(&seconds) => {
                Some(Duration::from_secs_f64(seconds))
            }
            Some(OrderedJson::String(_)) => {
                self.add_error("timeout_seconds", "is a string: write a number from 1 to 600 without quotes");
                None
            }
            Some(_) => {
                self.add_error("timeout_seconds", "is out of range: write a number from 1 to 600");
                None
            }
        }
    }
}
