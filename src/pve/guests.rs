//! The guests of a cluster: VMs and containers, read from its list of resources and found by number or name.

use crate::base::cancel::CancelToken;
use crate::base::suggest::suggest;
use crate::pve::Method;
use crate::pve::client::cluster::Cluster;
use crate::pve::error::PveError;
use crate::pve::knowledge::messages::to_one_line;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::sanitize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;

/// More than any cluster has, and a bound on what a hostile answer makes of memory.
const MAX_GUESTS: usize = 100_000;
/// Candidates that an error names.
const MAX_CANDIDATES: usize = 10;
/// Words that an error proposes.
const MAX_SUGGESTIONS: usize = 3;
/// Words that are compared for that: the work grows with their number and the square of their length.
const MAX_COMPARED_WORDS: usize = 10_000;

/// What a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestKind {
    /// A virtual machine.
    Qemu,
    /// A container.
    Lxc,
}

impl GuestKind {
    /// As Proxmox's paths have it.
    pub fn as_str(self) -> &'static str {
        match self {
            GuestKind::Qemu => "qemu",
            GuestKind::Lxc => "lxc",
        }
    }
}

/// One guest. What the cluster does not say, or not to this token, is empty.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Its number, unique in its cluster.
    pub vmid: u32,
    /// What it is.
    pub kind: GuestKind,
    /// The node it is on.
    pub node: String,
    /// Its name, which others may have too.
    pub name: String,
    /// `running`, `stopped`, …
    pub status: String,
    /// Its tags, separated by `;`.
    pub tags: String,
    /// The pool it is in.
    pub pool: String,
    /// What holds it: `backup`, `migrate`, …
    pub lock: String,
    /// A template is there to be cloned, not to run.
    pub template: bool,
    /// Processors.
    pub maxcpu: Option<u64>,
    /// Memory in bytes.
    pub maxmem: Option<u64>,
    /// Bytes of its root or first disk.
    pub maxdisk: Option<u64>,
    /// Seconds since it was started.
    pub uptime: Option<u64>,
    /// Every other text of its row, in lower case, a line each; no secret is among them.
    pub other_text: String,
}

/// The guests of a cluster that the token may see, in the cluster's order. Rows without a number are passed over.
pub fn list_guests(cluster: &Cluster, cancel: &CancelToken) -> Result<Vec<Guest>, PveError> {
    let mut params = ApiParams::new();
    params.push("type", "vm");
    let answer = cluster.call(Method::Get, &ApiPath::from_static("/cluster/resources"), &params, cancel)?;
    // Row by row, so that no tree of the whole list is ever in memory.
    let rows: Vec<&RawValue> = serde_json::from_str(answer.data()).map_err(|e| PveError::MalformedResponse {
        node: "the node asked".into(),
        reason: "it is not a list".into(),
        detail: e.to_string(),
    })?;
    let guests = rows.into_iter().filter_map(|row| Guest::from_row(&serde_json::from_str(row.get()).ok()?));
    Ok(guests.take(MAX_GUESTS).collect())
}

/// The one guest meant by a number, a name (in upper or lower case, where only one guest has it so) or an id such as
/// `qemu/100`.
pub fn find_guest<'g>(guests: &'g [Guest], what: &str) -> Result<&'g Guest, FindGuestError> {
    let what = what.trim();
    let numbered = |guest: &&Guest| guest.vmid.to_string() == what || guest.id() == what;
    if let Some(guest) = guests.iter().find(numbered) {
        return Ok(guest);
    }
    // A number is a number: a guest that is called so is another one, and it may be gone or not to be seen.
    let numeric = what.bytes().all(|b| b.is_ascii_digit());
    let mut named: Vec<&Guest> = guests.iter().filter(|g| !numeric && g.name == what).collect();
    if named.is_empty() && !numeric {
        let folded = what.to_lowercase();
        named = guests.iter().filter(|g| g.name.to_lowercase() == folded).collect();
    }
    match named.as_slice() {
        [one] => Ok(one),
        [] => {
            let near = match what.parse() {
                Ok(number) => find_nearest_numbers(number, guests),
                Err(_) => find_similar(what, guests.iter().map(|g| g.name.as_str()).collect()),
            };
            Err(FindGuestError::Unknown { query: to_one_line(what, 64), suggestions: near, total: guests.len() })
        }
        several => Err(FindGuestError::Ambiguous {
            name: to_one_line(what, 64),
            candidates: several.iter().map(|g| (g.vmid, g.node.clone())).collect(),
        }),
    }
}

/// The numbers around one that no guest has.
fn find_nearest_numbers(number: u32, guests: &[Guest]) -> Vec<String> {
    let mut near: Vec<&Guest> = guests.iter().collect();
    let place = |guest: &Guest| (guest.vmid.abs_diff(number), guest.vmid);
    near.sort_by_key(|guest| place(guest));
    near.iter().take(MAX_SUGGESTIONS).map(|guest| format!("{} ({})", guest.vmid, guest.name)).collect()
}

/// Up to three of the `known` words that are nearest to `word`, the nearest first.
pub fn find_similar(word: &str, mut known: Vec<&str>) -> Vec<String> {
    known.sort();
    known.dedup();
    known.truncate(MAX_COMPARED_WORDS);
    let mut found = Vec::new();
    while found.len() < MAX_SUGGESTIONS
        && let Some(next) = suggest(word, known.iter().copied()).map(str::to_owned)
    {
        known.retain(|k| *k != next);
        found.push(next);
    }
    found
}

/// Why no one guest is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindGuestError {
    /// Several have that name.
    Ambiguous {
        /// The name.
        name: String,
        /// Number and node of each.
        candidates: Vec<(u32, String)>,
    },
    /// None has that number or name.
    Unknown {
        /// The number or name.
        query: String,
        /// Numbers and names like it.
        suggestions: Vec<String>,
        /// How many guests the token sees.
        total: usize,
    },
}

impl fmt::Display for FindGuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FindGuestError::Ambiguous { name: what, candidates } => {
                write!(f, "{} guests are called `{what}`: give the number of the one you mean", candidates.len())?;
                for (n, (vmid, node)) in candidates.iter().take(MAX_CANDIDATES).enumerate() {
                    write!(f, "{}{vmid} on {node}", if n == 0 { ", " } else { "; " })?;
                }
                if candidates.len() > MAX_CANDIDATES { f.write_str("; …") } else { Ok(()) }
            }
            FindGuestError::Unknown { query: what, total: 0, .. } => write!(
                f,
                "there is no guest `{what}`: the API token sees no guest at all. It needs VM.Audit on /vms (GET \
                 /access/permissions shows its rights)"
            ),
            FindGuestError::Unknown { query: what, suggestions: near, total: of } => {
                write!(f, "there is no guest `{what}` among the {of} that the API token sees")?;
                if !near.is_empty() {
                    write!(f, ". Did you mean `{}`?", near.join("`, `"))?;
                }
                Ok(())
            }
        }
    }
}

impl Guest {
    fn from_row(row: &Value) -> Option<Self> {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
        let number = |key: &str| {
            let value = row.get(key)?;
            value.as_u64().or_else(|| value.as_str()?.parse().ok())
        };
        let (kind, id) = text("id").split_once('/').unwrap_or((text("type"), ""));
        let kind = match kind {
            "qemu" => GuestKind::Qemu,
            "lxc" => GuestKind::Lxc,
            _ => return None,
        };
        let known = ["id", "type", "vmid", "node", "name", "status", "tags", "pool", "lock"];
        // Whoever may search must not guess at a secret by what is found.
        let passed_over = |key: &str| known.contains(&key) || sanitize::is_secret_field(key);
        let other = row.as_object()?.iter().filter(|(key, _)| !passed_over(key));
        // A number that Proxmox writes as text is still none.
        let other = other.filter_map(|(_, value)| value.as_str().filter(|text| text.parse::<f64>().is_err()));
        let other: Vec<String> = other.map(|text| sanitize::redact_text(text).to_lowercase()).collect();
        Some(Self {
            vmid: number("vmid").and_then(|n| n.try_into().ok()).or_else(|| id.parse().ok())?,
            kind,
            node: text("node").into(),
            name: text("name").into(),
            status: text("status").into(),
            tags: text("tags").into(),
            pool: text("pool").into(),
            lock: text("lock").into(),
            template: number("template") == Some(1),
            maxcpu: number("maxcpu"),
            maxmem: number("maxmem"),
            maxdisk: number("maxdisk"),
            uptime: number("uptime"),
            other_text: other.join("\n"),
        })
    }

    /// `qemu/100`, as the list of resources has it.
    pub fn id(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.vmid)
    }

    /// The API's path of it: `/nodes/pve1/qemu/100`. `None` where its node is not known.
    pub fn path(&self) -> Option<ApiPath> {
        let node = Some(self.node.as_str()).filter(|node| !node.is_empty())?;
        ApiPath::parse(&format!("/nodes/{node}/{}", self.id())).ok().map(|(path, _)| path)
    }

    /// Its tags, one by one.
    pub fn iter_tags(&self) -> impl Iterator<Item = &str> {
        self.tags.split([';', ',', ' ']).filter(|tag| !tag.is_empty())
    }

    /// How well a word (in lower case) fits the guest, 0 best; `None` where it does not.
    pub fn match_rank(&self, word: &str) -> Option<u32> {
        let (name, vmid) = (self.name.to_lowercase(), self.vmid.to_string());
        let mut labels: Vec<String> = self.iter_tags().map(str::to_lowercase).collect();
        labels.push(self.pool.to_lowercase());
        let kinds: &[&str] = match self.kind {
            GuestKind::Qemu => &["qemu", "vm"],
            GuestKind::Lxc => &["lxc", "ct", "container"],
        };
        let is = [
            vmid == word || self.id() == word,
            name == word,
            labels.iter().any(|label| label == word),
            name.starts_with(word),
            name.contains(word),
            vmid.contains(word),
            labels.iter().any(|label| label.contains(word)),
            kinds.contains(&word) || [&self.node, &self.status, &self.lock].iter().any(|t| t.to_lowercase() == word),
            self.other_text.contains(word),
        ];
        (0..).zip(is).find(|(_, fits)| *fits).map(|(rank, _)| rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn guests() -> Vec<Guest> {
        let rows = json!([
            {"id": "qemu/100", "vmid": 100, "type": "qemu", "node": "pve1", "name": "web01", "status": "running",
             "tags": "prod;web", "pool": "shop", "maxmem": "512", "hastate": "Started"},
            {"id": "qemu/101", "vmid": "101", "node": "pve2", "name": "Web01"},
            {"id": "lxc/200"},
            {"type": "lxc", "vmid": 201, "name": "dns", "template": 1},
            {"id": "lxc/202", "node": "pve1", "name": "twin"},
            {"id": "lxc/203", "node": "pve2", "name": "twin"},
            {"id": "node/pve1", "vmid": 1},
            {"id": "qemu/x", "vmid": -1},
            {"id": 7, "vmid": []},
            7,
        ]);
        rows.as_array().unwrap().iter().filter_map(Guest::from_row).collect()
    }

    #[test]
    fn rows_with_few_fields_are_guests_too_and_others_are_none() {
        let guests = guests();
        assert_eq!(guests.iter().map(|g| g.vmid).collect::<Vec<_>>(), [100, 101, 200, 201, 202, 203]);
        assert_eq!(guests[0].path().unwrap().as_str(), "/nodes/pve1/qemu/100");
        assert_eq!((guests[0].maxmem, guests[0].other_text.as_str()), (Some(512), "started"));
        assert!(guests[2].path().is_none() && guests[3].template);
    }

    #[test]
    fn a_guest_is_found_by_number_id_or_name() {
        let guests = guests();
        for (what, vmid) in [("100", 100), (" lxc/200 ", 200), ("web01", 100), ("Web01", 101), ("DNS", 201)] {
            assert_eq!(find_guest(&guests, what).unwrap().vmid, vmid, "{what}");
        }
    }

    #[test]
    fn a_name_of_several_is_answered_with_all_of_them() {
        let guests = guests();
        let why = find_guest(&guests, "twin").unwrap_err().to_string();
        assert!(why.contains("202 on pve1; 203 on pve2"), "{why}");
        assert!(find_guest(&guests, "WEB01").unwrap_err().to_string().contains("100 on pve1; 101 on pve2"));
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_is_like_it() {
        let guests = guests();
        let why = find_guest(&guests, "wbe01").unwrap_err().to_string();
        assert!(why.contains("among the 6") && why.contains("`web01`"), "{why}");
        assert!(find_guest(&guests, "1000").unwrap_err().to_string().contains("`203 (twin)`"));
        for nothing in ["", "\u{1b}zzzzzz", &"x".repeat(100_000)] {
            let why = find_guest(&guests, nothing).unwrap_err().to_string();
            assert!(!why.contains("mean") && !why.contains('\u{1b}') && why.len() < 200, "{why}");
        }
        assert!(find_guest(&[], "web01").unwrap_err().to_string().contains("VM.Audit"));
    }

    #[test]
    fn a_word_fits_the_better_the_more_it_says() {
        let guests = guests();
        let fit = |word: &str| guests[0].match_rank(word);
        for (rank, words) in [
            (0, &["100", "qemu/100"][..]),
            (1, &["web01"]),
            (2, &["prod", "shop"]),
            (3, &["we"]),
            (4, &["b0"]),
            (5, &["10"]),
            (6, &["sho", "ro"]),
            (7, &["vm", "pve1", "running"]),
            (8, &["start"]),
        ] {
            for word in words {
                assert_eq!(fit(word), Some(rank), "{word}");
            }
        }
        assert_eq!((fit("ct"), fit("mail")), (None, None));
    }
}
