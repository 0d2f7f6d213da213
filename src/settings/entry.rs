//! One cluster of clusters.json: its fields, read in one pass that finds everything wrong with them.

use super::fields::Entry;
use super::file::listed;
use super::json::Json;
use super::{Cluster, Endpoint, Fingerprint, Problems, Tls, disk, field};
use crate::secret::Secret;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// Above the 30 s after which a node gives up on what it passes on to another node, so that its own answer arrives.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(35);
/// The fields a cluster may have.
pub(super) const FIELDS: [&str; 18] = [
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
pub(super) fn cluster(
    name: &str,
    fields: Vec<(String, Json)>,
    directory: &Path,
    problems: &mut Problems,
) -> Option<Cluster> {
    Entry::new("cluster", name, fields, &FIELDS, directory, problems).cluster()
}

impl Entry<'_> {
    /// Reads every field before it gives up, so that every problem is seen.
    fn cluster(mut self) -> Option<Cluster> {
        let endpoints = self.endpoints();
        let user = self.required("user", "such as \"mcp@pve\"", field::user);
        let token_id = self.required("token_id", "the token's name alone, such as \"ro\"", field::token_id);
        let token_secret = self.token_secret();
        let tls = self.tls();
        let timeout = self.timeout();
        let discover_nodes = self.flag("discover_nodes");
        let rules = self.rules();
        Some(Cluster {
            name: self.name.to_owned(),
            endpoints: endpoints?,
            user: user?,
            token_id: token_id?,
            token_secret: token_secret?,
            tls: tls?,
            timeout: timeout?,
            discover_nodes: discover_nodes?,
            rules: rules?,
        })
    }

    fn endpoints(&mut self) -> Option<Vec<Endpoint>> {
        const FORM: &str = "such as \"pve1.example:8006\"";
        match (self.has("url"), self.take("urls")) {
            (true, Some(_)) => {
                self.wrong("urls", "stands beside \"url\": keep one of them, \"urls\" for several nodes");
                self.text("url", FORM, field::endpoint);
                None
            }
            (true, None) => self.text("url", FORM, field::endpoint).map(|endpoint| vec![endpoint]),
            (false, Some(Json::List(list))) if !list.is_empty() => self.list("urls", FORM, list, field::endpoint),
            (false, Some(other)) => {
                let what = if matches!(other, Json::List(_)) { "an empty list" } else { other.kind() };
                self.wrong("urls", format!("is {what}: write a list of strings, such as [\"pve1.example:8006\"]"));
                None
            }
            (false, None) => {
                self.wrong("url", format!("is missing: write the address of a node, {FORM}, or several as \"urls\""));
                None
            }
        }
    }

    fn token_secret(&mut self) -> Option<Secret> {
        const SOURCES: [&str; 3] = ["token_secret", "token_secret_file", "token_secret_env"];
        let given: Vec<&str> = SOURCES.into_iter().filter(|source| self.has(source)).collect();
        let [source] = given[..] else {
            let text = match given[..] {
                [] => "is missing: write the token's secret, or name a \"token_secret_file\" or a \"token_secret_env\""
                    .to_owned(),
                _ => format!("has more than one source: keep one of {}", listed(given.iter().copied())),
            };
            self.wrong("token_secret", text);
            given.iter().for_each(|source| drop(self.take(source)));
            return None;
        };
        let directory = self.directory;
        self.text(source, "in double quotes", |text| {
            let secret = match source {
                "token_secret_file" => disk::secret(&directory.join(text))?,
                // The name is not shown: it may be the secret itself, put into the wrong field.
                "token_secret_env" => Zeroizing::new(std::env::var(text).map_err(|_| {
                    "names an environment variable that is not set here: set it, or write the variable's name alone"
                })?),
                _ => Zeroizing::new(text.to_owned()),
            };
            if secret.is_empty() {
                return Err("leads to an empty secret: put the token's secret there".into());
            }
            field::secret(&secret)?;
            Ok(Secret::new(String::clone(&secret)))
        })
    }

    fn tls(&mut self) -> Option<Tls> {
        let verify = match self.take("verify_ssl") {
            None => Some(true),
            Some(Json::Bool(verify)) => Some(verify),
            Some(Json::Text(text)) if ["true", "false"].contains(&text.to_ascii_lowercase().as_str()) => {
                self.wrong("verify_ssl", "is a string: drop the quotes, write true or false");
                None
            }
            Some(other) => {
                self.wrong("verify_ssl", format!("is {}: write true or false", other.kind()));
                None
            }
        };
        let (has_ca, has_fingerprint) = (self.has("ca_file"), self.has("fingerprint"));
        let directory = self.directory;
        let ca = self.text("ca_file", "the path of a PEM file", |text| disk::certificates(&directory.join(text)));
        let fingerprints = self.fingerprints();
        if verify == Some(false) && (has_ca || has_fingerprint) {
            let beside = if has_ca { "ca_file" } else { "fingerprint" };
            self.wrong("verify_ssl", format!("is false, so that \"{beside}\" would go unused: remove \"verify_ssl\""));
            return None;
        }
        if has_ca && has_fingerprint {
            self.wrong(
                "fingerprint",
                "stands beside \"ca_file\": remove one; \"ca_file\" still holds when a node renews its certificate",
            );
            return None;
        }
        match verify? {
            false => Some(Tls::Unverified),
            true if has_ca => ca.map(Tls::Ca),
            true if has_fingerprint => fingerprints.map(Tls::Fingerprint),
            true => Some(Tls::PublicRoots),
        }
    }

    /// One for every node, or a list.
    fn fingerprints(&mut self) -> Option<Vec<Fingerprint>> {
        const FORM: &str = "the SHA-256 fingerprint as Proxmox prints it";
        if !self.is_list("fingerprint") {
            return self.text("fingerprint", FORM, field::fingerprint).map(|one| vec![one]);
        }
        match self.take("fingerprint")? {
            Json::List(list) if !list.is_empty() => self.list("fingerprint", FORM, list, field::fingerprint),
            _ => {
                self.wrong("fingerprint", "is an empty list: write the SHA-256 fingerprint of each node's certificate");
                None
            }
        }
    }

    fn timeout(&mut self) -> Option<Duration> {
        match self.take("timeout_seconds") {
            None => Some(DEFAULT_TIMEOUT),
            Some(Json::Number(seconds)) if (1.0..=600.0).contains(&seconds) => Some(Duration::from_secs_f64(seconds)),
            Some(Json::Text(_)) => {
                self.wrong("timeout_seconds", "is a string: write a number from 1 to 600 without quotes");
                None
            }
            Some(_) => {
                self.wrong("timeout_seconds", "is out of range: write a number from 1 to 600");
                None
            }
        }
    }
}
