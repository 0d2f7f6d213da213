//! Guests of a cluster, VMs and containers: read from its list of resources and found by number or name.

use crate::base::hint::Hint;
use crate::base::suggest::suggest;
use crate::pve::client::cluster::ApiResponse;
use crate::pve::error::{MalformedCause, PveError};
use crate::pve::knowledge::text::to_one_line;
use crate::pve::path::ApiPath;
use crate::sanitize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// More than any cluster has; bounds the memory for a hostile answer.
const MAX_GUESTS: usize = 100_000;
/// Candidates named in an error.
const MAX_CANDIDATES: usize = 10;
/// Words suggested in an error.
const MAX_SUGGESTIONS: usize = 3;
/// Words compared for suggestions: the work grows with their number and the square of their length.
const MAX_COMPARED_WORDS: usize = 10_000;

/// Kind of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestKind {
    /// Virtual machine.
    Qemu,
    /// Container.
    Lxc,
}

impl GuestKind {
    /// Returns the name in Proxmox's paths.
    pub fn as_str(self) -> &'static str {
        match self {
            GuestKind::Qemu => "qemu",
            GuestKind::Lxc => "lxc",
        }
    }
}

/// Guest of a cluster. Texts that the cluster does not report to this token are empty.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The number, unique in the cluster.
    pub vmid: u32,
    pub kind: GuestKind,
    /// The node that the guest is on.
    pub node: String,
    /// The name, which need not be unique.
    pub name: String,
    /// `running`, `stopped`, …
    pub status: String,
    /// The tags, separated by `;`.
    pub tags: String,
    pub pool: String,
    /// The operation that locks the guest: `backup`, `migrate`, …
    pub lock: String,
    /// The guest is a template, which can be cloned but not run.
    pub template: bool,
    /// Number of processors.
    pub maxcpu: Option<u64>,
    /// Memory in bytes.
    pub maxmem: Option<u64>,
    /// Size of the root or first disk in bytes.
    pub maxdisk: Option<u64>,
    /// Seconds since the start.
    pub uptime: Option<u64>,
    /// The other texts of the row in lower case, one per line, without secrets.
    pub other_text: String,
}

/// Parses the list of the guests that the token may see, in the cluster's order. Skips rows without a number.
pub fn parse_guests(answer: &ApiResponse) -> Result<Vec<Guest>, PveError> {
    // Parsed row by row, without a tree of the whole list in memory.
    let rows: Vec<&RawValue> = serde_json::from_str(answer.data()).map_err(|e| PveError::MalformedResponse {
        node: "the node asked".into(),
        cause: MalformedCause::NotAList { detail: e.to_string() },
    })?;
    let guests = rows.into_iter().filter_map(|row| Guest::from_row(&serde_json::from_str(row.get()).ok()?));
    Ok(guests.take(MAX_GUESTS).collect())
}

/// Returns the guest with this number, name (ignoring case if that is unambiguous) or id such as `qemu/100`.
pub fn find_guest<'g>(guests: &'g [Guest], query: &str) -> Result<&'g Guest, FindGuestError> {
    let query = query.trim();
    let has_number = |guest: &&Guest| guest.vmid.to_string() == query || guest.id() == query;
    if let Some(guest) = guests.iter().find(has_number) {
        return Ok(guest);
    }
    // A number never selects a guest by its name: the guest with that number may be gone or invisible.
    let is_number = query.bytes().all(|b| b.is_ascii_digit());
    let mut named: Vec<&Guest> = guests.iter().filter(|g| !is_number && g.name == query).collect();
    if named.is_empty() && !is_number {
        let folded = query.to_lowercase();
        named = guests.iter().filter(|g| g.name.to_lowercase() == folded).collect();
    }
    match named.as_slice() {
        [one] => Ok(one),
        [] => {
            let suggestions = match query.parse() {
                Ok(number) => find_nearest_numbers(number, guests),
                Err(_) => find_similar(query, guests.iter().map(|g| g.name.as_str()).collect()),
            };
            Err(FindGuestError::Unknown { query: to_one_line(query, 64), suggestions, total: guests.len() })
        }
        several => Err(FindGuestError::Ambiguous {
            name: to_one_line(query, 64),
            candidates: several.iter().map(|g| GuestCandidate { vmid: g.vmid, node: g.node.clone() }).collect(),
        }),
    }
}

/// Returns the guests whose numbers are nearest to one that no guest has.
fn find_nearest_numbers(number: u32, guests: &[Guest]) -> Vec<String> {
    let mut nearest: Vec<&Guest> = guests.iter().collect();
    nearest.sort_by_key(|guest| (guest.vmid.abs_diff(number), guest.vmid));
    nearest.iter().take(MAX_SUGGESTIONS).map(|guest| format!("{} ({})", guest.vmid, guest.name)).collect()
}

/// Returns up to three of the `known` words that are nearest to `word`, the nearest first.
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

/// Number or name that does not select one guest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FindGuestError {
    #[error("{} guests are called `{name}`: {}", candidates.len(), DisplayCandidates(candidates))]
    Ambiguous { name: String, candidates: Vec<GuestCandidate> },
    #[error("there is no guest `{query}`{}", match total {
        0 => ": the API token sees no guest at all".to_owned(),
        total => format!(" among the {total} that the API token sees"),
    })]
    Unknown {
        query: String,
        /// Similar numbers and names.
        suggestions: Vec<String>,
        /// The number of guests that the token sees.
        total: usize,
    },
}

impl Hint for FindGuestError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            FindGuestError::Ambiguous { .. } => Some("give the number of the one you mean".into()),
            FindGuestError::Unknown { total: 0, .. } => {
                Some("it needs VM.Audit on /vms (GET /access/permissions shows its privileges)".into())
            }
            FindGuestError::Unknown { suggestions, .. } if suggestions.is_empty() => None,
            FindGuestError::Unknown { suggestions, .. } => {
                Some(format!("did you mean `{}`?", suggestions.join("`, `")).into())
            }
        }
    }
}

/// Guest with an ambiguous name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestCandidate {
    /// The number of the guest.
    pub vmid: u32,
    /// The node that the guest is on.
    pub node: String,
}

struct DisplayCandidates<'a>(&'a [GuestCandidate]);

impl fmt::Display for DisplayCandidates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, GuestCandidate { vmid, node }) in self.0.iter().take(MAX_CANDIDATES).enumerate() {
            let node = if node.is_empty() { "an unknown node" } else { node };
            write!(f, "{}{vmid} on {node}", if n == 0 { "" } else { "; " })?;
        }
        f.write_str(if self.0.len() > MAX_CANDIDATES { "; …" } else { "" })
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
        // Without secrets: a search result must not reveal one.
        let is_skipped = |key: &str| known.contains(&key) || sanitize::is_secret_field(key);
        let other = row.as_object()?.iter().filter(|(key, _)| !is_skipped(key));
        // Without numbers that Proxmox writes as text.
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

    /// Returns `qemu/100`, the id in the list of resources.
    pub fn id(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.vmid)
    }

    /// Returns the API path (`/nodes/pve1/qemu/100`), or `None` if the node is unknown.
    pub fn path(&self) -> Option<ApiPath> {
        let node = Some(self.node.as_str()).filter(|node| !node.is_empty())?;
        ApiPath::parse(&format!("/nodes/{node}/{}", self.id())).ok().map(|(path, _)| path)
    }

    /// Returns whether the list does not know the name yet. (PVE: a VM without one is listed as `VM 100`.)
    pub fn lacks_name(&self) -> bool {
        self.name.is_empty() || self.status == "unknown" || self.name == format!("VM {}", self.vmid)
    }

    /// Returns the tags one by one.
    pub fn iter_tags(&self) -> impl Iterator<Item = &str> {
        self.tags.split([';', ',', ' ']).filter(|tag| !tag.is_empty())
    }

    /// Returns the rank of the guest for a word in lower case, 0 being the best, or `None` without a match.
    pub fn match_rank(&self, word: &str) -> Option<u32> {
        let (name, vmid) = (self.name.to_lowercase(), self.vmid.to_string());
        let mut labels: Vec<String> = self.iter_tags().map(str::to_lowercase).collect();
        labels.push(self.pool.to_lowercase());
        let kinds: &[&str] = match self.kind {
            GuestKind::Qemu => &["qemu", "vm"],
            GuestKind::Lxc => &["lxc", "ct", "container"],
        };
        let matches = [
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
        (0..).zip(matches).find(|(_, is_match)| *is_match).map(|(rank, _)| rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hint::render_error;
    use serde_json::json;

    fn find_error(guests: &[Guest], query: &str) -> String {
        render_error(&find_guest(guests, query).unwrap_err())
    }

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
    fn rows_with_few_fields_are_guests_and_other_rows_are_skipped() {
        let guests = guests();
        assert_eq!(guests.iter().map(|g| g.vmid).collect::<Vec<_>>(), [100, 101, 200, 201, 202, 203]);
        assert_eq!(guests[0].path().unwrap().as_str(), "/nodes/pve1/qemu/100");
        assert_eq!((guests[0].maxmem, guests[0].other_text.as_str()), (Some(512), "started"));
        assert!(guests[2].path().is_none() && guests[3].template);
    }

    #[test]
    fn a_guest_is_found_by_number_id_or_name() {
        let guests = guests();
        for (query, vmid) in [("100", 100), (" lxc/200 ", 200), ("web01", 100), ("Web01", 101), ("DNS", 201)] {
            assert_eq!(find_guest(&guests, query).unwrap().vmid, vmid, "{query}");
        }
    }

    #[test]
    fn an_ambiguous_name_is_rejected_with_all_candidates() {
        let guests = guests();
        let error = find_error(&guests, "twin");
        assert!(error.contains("202 on pve1; 203 on pve2"), "{error}");
        assert!(find_error(&guests, "WEB01").contains("100 on pve1; 101 on pve2"));
    }

    #[test]
    fn an_unknown_guest_is_rejected_with_suggestions() {
        let guests = guests();
        let error = find_error(&guests, "wbe01");
        assert!(error.contains("among the 6") && error.contains("`web01`"), "{error}");
        assert!(find_error(&guests, "1000").contains("`203 (twin)`"));
        for query in ["", "\u{1b}zzzzzz", &"x".repeat(100_000)] {
            let error = find_error(&guests, query);
            assert!(!error.contains("mean") && !error.contains('\u{1b}') && error.len() < 200, "{error}");
        }
        assert!(find_error(&[], "web01").contains("VM.Audit"));
    }

    #[test]
    fn a_more_specific_match_ranks_higher() {
        let guests = guests();
        let rank_of = |word: &str| guests[0].match_rank(word);
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
                assert_eq!(rank_of(word), Some(rank), "{word}");
            }
        }
        assert_eq!((rank_of("ct"), rank_of("mail")), (None, None));
    }
}
