//! Changes of clusters.json. The layout and everything that a person wrote stay.

use super::private_file;
use crate::command::failure::Failure;
use proxmox_mcp::base::json_edit::{remove_member, set_member};
use proxmox_mcp::config::{self, ClusterConfig, ClustersFile, Endpoint, Fingerprint, TokenHash};
use proxmox_mcp::policy::AccessLevel;
use proxmox_mcp::sanitize::printable_path;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Mark of an entry that setup made.
const COMMENT: (&str, &str) = ("_comment", "made by `proxmox-mcp setup`");

/// clusters.json before and after a change.
pub struct ConfigFile {
    pub path: PathBuf,
    pub exists: bool,
    text: String,
    pub parsed: ClustersFile,
}

/// Verification of the cluster's certificates, as clusters.json has it.
pub enum TlsEntry {
    /// The fields of the entry stay as they are.
    Unchanged,
    PublicRoots,
    /// File with the cluster's authority, beside clusters.json, and whether other nodes may be used.
    Ca {
        file: String,
        has_other_nodes: bool,
    },
    Fingerprint(Fingerprint),
}

/// The values that setup writes into a cluster's entry.
pub struct EntryValues<'a> {
    pub endpoint: &'a Endpoint,
    pub tls: &'a TlsEntry,
    pub user: &'a str,
    pub token_id: &'a str,
    pub token_secret: &'a str,
    pub access: AccessLevel,
}

impl ConfigFile {
    /// Reads the file, if it exists. Its contents must be valid, or every change would be lost in errors.
    pub fn read(path: PathBuf) -> Result<Self, Failure> {
        if !path.try_exists().unwrap_or(true) {
            return Ok(Self { path, exists: false, text: "{}\n".to_owned(), parsed: ClustersFile::default() });
        }
        let invalid = |text: String| Failure::Usage(format!("{}: {text}", printable_path(&path)));
        let parsed = config::load(&path).map_err(|errors| invalid(errors.to_string().replace('\n', "\n  ")))?;
        let text = fs::read_to_string(&path).map_err(|error| invalid(error.to_string()))?;
        // A byte order mark is no JSON.
        let text = text.trim_start_matches('\u{feff}').to_owned();
        Ok(Self { path, exists: true, text, parsed })
    }

    pub fn cluster(&self, name: &str) -> Option<&ClusterConfig> {
        self.parsed.clusters.iter().find(|cluster| cluster.name == name)
    }

    pub fn has_client(&self, name: &str) -> bool {
        self.parsed.clients.iter().any(|client| client.name == name)
    }

    /// Returns the value of a member, for members that the parsed form does not show.
    fn value(&self, path: &[&str]) -> Option<Value> {
        let root: Value = serde_json::from_str(&self.text).ok()?;
        path.iter().try_fold(&root, |value, name| value.get(name)).cloned()
    }

    /// Returns whether setup made the entry of a cluster or client.
    pub fn is_made_by_setup(&self, kind: &str, name: &str) -> bool {
        self.value(&[kind, name, COMMENT.0]).is_some_and(|value| value == COMMENT.1)
    }

    /// Returns the name of the entry's `ca_file`.
    pub fn ca_file(&self, name: &str) -> Option<String> {
        Some(self.value(&["clusters", name, "ca_file"])?.as_str()?.to_owned())
    }

    /// Returns the clients that may use this cluster alone.
    pub fn clients_of(&self, cluster: &str) -> Vec<&str> {
        let is_only = |names: &[String]| names.iter().all(|name| name == cluster);
        let clients = self.parsed.clients.iter();
        clients.filter(|client| client.clusters.as_deref().is_some_and(is_only)).map(|client| &*client.name).collect()
    }

    fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        self.text = set_member(&self.text, path, &value.into()).expect("the file is a valid configuration");
    }

    fn remove(&mut self, path: &[&str]) {
        self.text = remove_member(&self.text, path).expect("the file is a valid configuration");
    }

    /// Sets the entry of a cluster. Its other fields stay.
    pub fn set_cluster(&mut self, name: &str, entry: &EntryValues<'_>) {
        let is_new = self.cluster(name).is_none();
        // Calls that name no cluster keep theirs.
        if let (true, Some(default)) = (is_new, self.parsed.default.clone()) {
            self.set(&["default"], default);
        }
        let field = |field| ["clusters", name, field];
        if is_new {
            self.set(&field(COMMENT.0), COMMENT.1);
        }
        if !matches!(entry.tls, TlsEntry::Unchanged) {
            for name in ["urls", "verify_ssl", "ca_file", "fingerprint", "discover_nodes"] {
                self.remove(&field(name));
            }
            let scheme = if entry.endpoint.https { "" } else { "http://" };
            self.set(&field("url"), format!("{scheme}{}", entry.endpoint));
        }
        for name in ["token_secret_file", "token_secret_env"] {
            self.remove(&field(name));
        }
        self.set(&field("user"), entry.user);
        self.set(&field("token_id"), entry.token_id);
        self.set(&field("token_secret"), entry.token_secret);
        match entry.tls {
            TlsEntry::Unchanged | TlsEntry::PublicRoots => {}
            TlsEntry::Ca { file, has_other_nodes } => {
                self.set(&field("ca_file"), &**file);
                if *has_other_nodes {
                    self.set(&field("discover_nodes"), true);
                }
            }
            TlsEntry::Fingerprint(fingerprint) => self.set(&field("fingerprint"), fingerprint.to_string()),
        }
        self.set(&field("access"), entry.access.to_string());
    }

    /// Sets the entry of a client, which may use `cluster` and the clusters that it has already.
    pub fn set_client(&mut self, name: &str, token: &TokenHash, access: AccessLevel, cluster: &str) {
        let field = |field| ["clients", name, field];
        let (mut level, mut clusters) = (access, vec![cluster.to_owned()]);
        match self.parsed.clients.iter().find(|client| client.name == name) {
            None => self.set(&field(COMMENT.0), COMMENT.1),
            Some(client) => {
                level = level.max(client.permissions.access);
                let more = client.clusters.iter().flatten().filter(|other| *other != cluster);
                clusters.extend(more.cloned());
            }
        }
        let sees_all = self.parsed.clients.iter().any(|client| client.name == name && client.clusters.is_none());
        self.set(&field("token_sha256"), token.to_string());
        self.set(&field("access"), level.to_string());
        if !sees_all {
            self.set(&field("clusters"), json!(clusters));
        }
    }

    /// Removes the entry of a cluster, and the clients that could use it alone. Returns false if the file has no other
    /// cluster, so that nothing would be left of it.
    pub fn remove_cluster(&mut self, name: &str) -> bool {
        if self.parsed.clusters.len() < 2 {
            return false;
        }
        self.remove(&["clusters", name]);
        if self.value(&["default"]).is_some_and(|default| default == name) {
            self.remove(&["default"]);
        }
        let only: Vec<String> = self.clients_of(name).into_iter().map(str::to_owned).collect();
        for client in self.parsed.clients.clone() {
            if only.contains(&client.name) {
                self.remove(&["clients", &client.name]);
            } else if let Some(clusters) = client.clusters.filter(|clusters| clusters.iter().any(|c| c == name)) {
                let left: Vec<_> = clusters.iter().filter(|other| *other != name).collect();
                self.set(&["clients", &client.name, "clusters"], json!(left));
            }
        }
        if only.len() == self.parsed.clients.len() {
            self.remove(&["clients"]);
        }
        true
    }

    /// Writes the file, after a check that the server accepts it.
    pub fn write(&self) -> Result<(), Failure> {
        private_file::replace(&self.path, self.text.as_bytes(), |temporary: &Path| {
            config::load(temporary).map(drop).map_err(|errors| {
                Failure::Runtime(format!("the new {} would be invalid: {errors}", printable_path(&self.path)))
            })
        })
    }
}
