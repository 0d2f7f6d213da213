//! The nodes, guests and storages of a cluster, from its list of resources.

use crate::pve::client::cluster::ApiResponse;
use crate::pve::error::PveError;
use crate::pve::guests::{Guest, parse_guests};
use crate::pve::rows::parse_list;

/// A node in the list of resources. Figures that the token may not see are absent.
#[derive(Clone, Debug, Default)]
pub struct NodeSummary {
    pub name: String,
    /// `online`, `offline` or `unknown`.
    pub status: String,
    /// Fraction of all processors.
    pub cpu: Option<f64>,
    pub maxcpu: Option<u64>,
    pub mem: Option<u64>,
    pub maxmem: Option<u64>,
    /// Use of the root file system.
    pub disk: Option<u64>,
    pub maxdisk: Option<u64>,
    pub uptime: Option<u64>,
}

/// A storage on one node. A shared one has an entry for each node.
#[derive(Clone, Debug, Default)]
pub struct StorageSummary {
    pub name: String,
    pub node: String,
    /// `available` or `unknown`.
    pub status: String,
    pub shared: bool,
    /// Kinds of content, separated by commas.
    pub content: String,
    pub used: Option<u64>,
    pub total: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Sorted by name.
    pub nodes: Vec<NodeSummary>,
    /// Sorted by number.
    pub guests: Vec<Guest>,
    /// One entry for a shared storage, one for each node of any other. Sorted by name and node.
    pub storages: Vec<StorageSummary>,
}

impl NodeSummary {
    pub fn is_online(&self) -> bool {
        self.status == "online"
    }

    /// Returns the used fraction of memory, if it is known.
    pub fn memory_fraction(&self) -> Option<f64> {
        used_fraction(self.mem, self.maxmem)
    }

    /// Returns the used fraction of the root file system, if it is known.
    pub fn disk_fraction(&self) -> Option<f64> {
        used_fraction(self.disk, self.maxdisk)
    }
}

fn used_fraction(used: Option<u64>, total: Option<u64>) -> Option<f64> {
    let total = total.filter(|total| *total > 0)?;
    Some(used? as f64 / total as f64)
}

impl StorageSummary {
    pub fn is_available(&self) -> bool {
        self.status == "available"
    }

    pub fn holds(&self, content: &str) -> bool {
        self.content.split(',').any(|kind| kind.trim() == content)
    }

    /// Returns the used fraction, if it is known.
    pub fn used_fraction(&self) -> Option<f64> {
        used_fraction(self.used, self.total)
    }
}

impl Inventory {
    /// Parses the answer of GET /cluster/resources.
    pub fn parse(answer: &ApiResponse) -> Result<Self, PveError> {
        let mut guests = parse_guests(answer.data())?;
        guests.sort_by_key(|guest| guest.vmid);
        let mut inventory = Self { guests, ..Self::default() };
        let read = parse_list(answer.data(), |row| {
            // The id has what the members should have (PVE: `node/pve1`, `storage/pve1/local`).
            let id = row.text("id");
            let mut parts = id.splitn(3, '/');
            let mut text =
                |key| Some(row.text(key)).filter(|text| !text.is_empty()).or(parts.next().map(str::to_owned));
            let [kind, node, storage] = ["type", "node", "storage"].map(|key| text(key).unwrap_or_default());
            match kind.as_str() {
                "node" => inventory.nodes.push(NodeSummary {
                    name: node,
                    status: row.text("status"),
                    cpu: row.number("cpu"),
                    maxcpu: row.count("maxcpu"),
                    mem: row.count("mem"),
                    maxmem: row.count("maxmem"),
                    disk: row.count("disk"),
                    maxdisk: row.count("maxdisk"),
                    uptime: row.count("uptime"),
                }),
                "storage" => inventory.storages.push(StorageSummary {
                    name: storage,
                    node,
                    status: row.text("status"),
                    shared: row.flag("shared"),
                    content: row.text("content"),
                    used: row.count("disk"),
                    total: row.count("maxdisk"),
                }),
                _ => {}
            }
            None::<()>
        });
        read.expect("the same text was read as a list of guests");
        inventory.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        inventory.merge_shared_storages();
        Ok(inventory)
    }

    /// Keeps one entry of each shared storage: one that is available, if there is one. (PVE: the entry of an offline node
    /// has no figures.)
    fn merge_shared_storages(&mut self) {
        self.storages.sort_by(|a, b| {
            let key = |s: &StorageSummary| (s.name.clone(), s.shared && !s.is_available(), s.node.clone());
            key(a).cmp(&key(b))
        });
        self.storages.dedup_by(|next, kept| next.shared && kept.shared && next.name == kept.name);
    }

    /// Returns the storages of a node, also the shared ones.
    pub fn storages_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a StorageSummary> {
        self.storages.iter().filter(move |storage| storage.shared || storage.node == node)
    }

    pub fn is_online(&self, node: &str) -> bool {
        self.nodes.iter().any(|entry| entry.name == node && entry.is_online())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use crate::pve::client::secret_filter::SecretFilter;

    #[test]
    fn a_row_without_its_members_has_them_in_its_id() {
        let body = r#"{"data":[{"id":"node/pve1","status":"online"},null,{"id":"storage/pve1/local","status":"available"},
            {"id":"storage/pve2/nas","type":"storage","node":"pve1","storage":"backup"},{"type":"node","node":"pve2"}]}"#;
        let answer = ApiResponse::parse(body.to_owned(), &SecretFilter::new(Secret::new(String::new())));
        let inventory = Inventory::parse(&answer.unwrap()).unwrap();
        let nodes: Vec<_> = inventory.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(nodes, ["pve1", "pve2"]);
        let storages: Vec<_> = inventory.storages.iter().map(|s| (s.name.as_str(), s.node.as_str())).collect();
        assert_eq!(storages, [("backup", "pve1"), ("local", "pve1")]);
    }
}
