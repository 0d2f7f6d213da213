//! Guests of a cluster, VMs and containers: read from its list of resources and found by number or name.

use crate::base::hint::Hint;
use crate::base::json_scan::{find_string, unquote, walk};
use crate::base::memory::MemoryReservation;
use crate::base::suggest::suggest_several;
use crate::pve::error::{MalformedCause, PveError};
use crate::pve::knowledge::text::to_one_line;
use crate::pve::path::ApiPath;
use crate::pve::rows::{parse_number, to_count};
use crate::sanitize;
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use thiserror::Error;

/// More than any cluster has; bounds the memory for a hostile answer.
const MAX_GUESTS: usize = 100_000;
/// Candidates named in an error.
const MAX_CANDIDATES: usize = 10;
/// The largest difference of a suggested number from the typed one.
const MAX_DISTANCE: u32 = 10;
/// Words suggested in an error.
const MAX_SUGGESTIONS: usize = 3;

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

    /// Returns the option of the config that has the name.
    pub(crate) fn name_option(self) -> &'static str {
        match self {
            GuestKind::Qemu => "name",
            GuestKind::Lxc => "hostname",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Qemu, Self::Lxc].into_iter().find(|kind| kind.as_str() == name)
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
    /// The state of the guest in high availability. Empty for a guest that the HA manager does not manage.
    pub ha_state: String,
    /// The guest is a template, which can be cloned but not run.
    pub template: bool,
    /// Number of processors.
    /// A container may have a part of a processor.
    pub maxcpu: Option<f64>,
    /// Fraction of these processors in use.
    pub cpu: Option<f64>,
    /// Memory in bytes.
    pub maxmem: Option<u64>,
    /// Size of the root or first disk in bytes.
    pub maxdisk: Option<u64>,
    /// Seconds since the start.
    pub uptime: Option<u64>,
    /// The other texts of the row in lower case, one per line, without secrets.
    pub other_text: String,
}

/// Guests of a cluster, in its order. Callers of one shared read have the same list.
#[derive(Clone, Debug)]
pub struct GuestList {
    guests: Arc<[Guest]>,
    /// The memory of a list that several callers have.
    _memory: Option<Arc<MemoryReservation>>,
}

impl GuestList {
    pub(in crate::pve) fn new(guests: Arc<[Guest]>, memory: Option<Arc<MemoryReservation>>) -> Self {
        Self { guests, _memory: memory }
    }
}

impl Deref for GuestList {
    type Target = [Guest];

    fn deref(&self) -> &[Guest] {
        &self.guests
    }
}

/// Parses the JSON list of the guests that the token may see, in the cluster's order. Skips rows without a number.
pub fn parse_guests(list: &str) -> Result<Vec<Guest>, PveError> {
    let mut guests = Vec::new();
    let is_list = list.starts_with('[')
        && walk(list, &mut |_, row| {
            guests.extend(Guest::from_row(row));
            guests.len() < MAX_GUESTS
        });
    if is_list || guests.len() == MAX_GUESTS {
        return Ok(guests);
    }
    let detail = serde_json::from_str::<Vec<IgnoredAny>>(list).err().map(|error| error.to_string()).unwrap_or_default();
    Err(PveError::MalformedResponse { node: "the node asked".into(), cause: MalformedCause::NotAList { detail } })
}

/// Returns the guest with this number, name (ignoring case if that is unambiguous) or id such as `qemu/100`.
pub fn find_guest<'g>(guests: &'g [Guest], query: &str) -> Result<&'g Guest, FindGuestError> {
    let query = query.trim();
    let number = GuestNumber::parse(query);
    let numbered = number.and_then(|number| guests.iter().find(|guest| number.is_of(guest)));
    select_guest(guests, query, numbered, &|query| guests.iter().filter(|g| g.name == query).collect(), &|folded| {
        guests.iter().filter(|g| g.name.to_lowercase() == folded).collect()
    })
}

/// Selects a guest by its number, else by its exact name, else by its name in lower case.
fn select_guest<'g>(
    guests: &'g [Guest],
    query: &str,
    numbered: Option<&'g Guest>,
    by_name: &dyn Fn(&str) -> Vec<&'g Guest>,
    by_folded_name: &dyn Fn(&str) -> Vec<&'g Guest>,
) -> Result<&'g Guest, FindGuestError> {
    if let Some(guest) = numbered {
        return Ok(guest);
    }
    // A number never selects a guest by its name: the guest with that number may be gone or invisible.
    let is_number = query.bytes().all(|b| b.is_ascii_digit());
    let mut named = if is_number { Vec::new() } else { by_name(query) };
    if named.is_empty() && !is_number {
        named = by_folded_name(&query.to_lowercase());
    }
    match named.as_slice() {
        [one] => Ok(one),
        // One guest in two rows.
        [first, others @ ..] if others.iter().all(|other| other.id() == first.id()) => Ok(first),
        [] => {
            let suggestions = match query.parse() {
                Ok(number) => find_nearest_numbers(number, guests),
                Err(_) => find_similar_names(query, guests),
            };
            let query = to_one_line(query, 64);
            Err(FindGuestError::Unknown { query, suggestions, total: guests.len(), nameless: Vec::new() })
        }
        several => Err(FindGuestError::Ambiguous {
            name: to_one_line(query, 64),
            candidates: several.iter().map(|g| GuestCandidate { vmid: g.vmid, node: g.node.clone() }).collect(),
        }),
    }
}

/// A guest's number as a caller writes it, alone or in an id such as `qemu/100`.
#[derive(Clone, Copy)]
struct GuestNumber {
    kind: Option<GuestKind>,
    vmid: u32,
}

impl GuestNumber {
    fn parse(text: &str) -> Option<Self> {
        let (kind, digits) = match text.split_once('/') {
            Some((kind, digits)) => (Some(GuestKind::from_name(kind)?), digits),
            None => (None, text),
        };
        let is_canonical = digits == "0" || !digits.starts_with(['0', '+']);
        Some(Self { kind, vmid: digits.parse().ok().filter(|_| is_canonical)? })
    }

    fn is_of(self, guest: &Guest) -> bool {
        guest.vmid == self.vmid && self.kind.is_none_or(|kind| kind == guest.kind)
    }
}

/// An index of guests by number and name, for a call that names many of them.
pub struct GuestIndex<'g> {
    guests: &'g [Guest],
    by_number: HashMap<u32, Vec<&'g Guest>>,
    by_name: HashMap<&'g str, Vec<&'g Guest>>,
    by_folded_name: HashMap<String, Vec<&'g Guest>>,
}

impl<'g> GuestIndex<'g> {
    pub fn new(guests: &'g [Guest]) -> Self {
        let mut index =
            Self { guests, by_number: HashMap::new(), by_name: HashMap::new(), by_folded_name: HashMap::new() };
        for guest in guests {
            index.by_number.entry(guest.vmid).or_default().push(guest);
            index.by_name.entry(&guest.name).or_default().push(guest);
            index.by_folded_name.entry(guest.name.to_lowercase()).or_default().push(guest);
        }
        index
    }

    /// Returns the same guest as [`find_guest`].
    pub fn find(&self, query: &str) -> Result<&'g Guest, FindGuestError> {
        let query = query.trim();
        let number = GuestNumber::parse(query);
        let numbered = number
            .and_then(|number| self.by_number.get(&number.vmid)?.iter().copied().find(|guest| number.is_of(guest)));
        let by_name = |query: &str| self.by_name.get(query).cloned().unwrap_or_default();
        let by_folded_name = |folded: &str| self.by_folded_name.get(folded).cloned().unwrap_or_default();
        select_guest(self.guests, query, numbered, &by_name, &by_folded_name)
    }
}

/// Returns the guests whose numbers are nearest to one that no guest has.
fn find_nearest_numbers(number: u32, guests: &[Guest]) -> Vec<String> {
    let mut nearest: Vec<&Guest> = guests.iter().collect();
    nearest.retain(|guest| guest.vmid.abs_diff(number) <= MAX_DISTANCE);
    nearest.sort_by_key(|guest| (guest.vmid.abs_diff(number), guest.vmid));
    nearest.iter().take(MAX_SUGGESTIONS).map(|guest| format!("{} ({})", guest.vmid, guest.name)).collect()
}

/// Returns the names that are nearest to a word, or else the first ones that contain it.
fn find_similar_names(word: &str, guests: &[Guest]) -> Vec<String> {
    let names = sort_words(guests.iter().map(|guest| guest.name.as_str()));
    let similar = find_similar(word, names.iter().copied());
    if !similar.is_empty() || word.len() < 2 {
        return similar;
    }
    let folded = word.to_lowercase();
    let containing = names.into_iter().filter(|name| name.to_lowercase().contains(&folded));
    containing.take(MAX_SUGGESTIONS).map(str::to_owned).collect()
}

/// Returns the words in order, each once.
pub fn sort_words<'w>(words: impl Iterator<Item = &'w str>) -> Vec<&'w str> {
    let mut words: Vec<&str> = words.collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// Returns up to three of the `known` words that are nearest to `word`, the nearest first.
pub fn find_similar<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Vec<String> {
    suggest_several(word, known, MAX_SUGGESTIONS).into_iter().map(str::to_owned).collect()
}

/// Number or name that does not select one guest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FindGuestError {
    #[error("{} guests are called `{name}`: {}", candidates.len(), DisplayCandidates(candidates))]
    Ambiguous { name: String, candidates: Vec<GuestCandidate> },
    #[error("there is no guest `{query}`{}{}", match total {
        0 => ": the API token sees no guest at all".to_owned(),
        total => format!(" among the {total} that the API token sees"),
    }, match nameless.as_slice() {
        [] => String::new(),
        guests => format!(", as far as their names are known. Not known are those of {}", DisplayCandidates(guests)),
    })]
    Unknown {
        query: String,
        /// Similar numbers and names.
        suggestions: Vec<String>,
        /// The number of guests that the token sees.
        total: usize,
        /// Guests without a name in the list, whose config can't be read.
        nameless: Vec<GuestCandidate>,
    },
}

impl Hint for FindGuestError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            FindGuestError::Ambiguous { .. } => Some("give the number of the one you mean".into()),
            FindGuestError::Unknown { total: 0, .. } => {
                Some("it needs VM.Audit on /vms (GET /access/permissions shows its privileges)".into())
            }
            FindGuestError::Unknown { nameless, .. } if !nameless.is_empty() => {
                Some("their node may be off: give the number of the guest that you mean".into())
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

/// The members of a row that make a guest, as JSON text.
#[derive(Default)]
struct GuestRow<'r> {
    id: Option<&'r str>,
    kind: Option<&'r str>,
    vmid: Option<&'r str>,
    node: Option<&'r str>,
    name: Option<&'r str>,
    status: Option<&'r str>,
    tags: Option<&'r str>,
    pool: Option<&'r str>,
    lock: Option<&'r str>,
    ha_state: Option<&'r str>,
    template: Option<&'r str>,
    maxcpu: Option<&'r str>,
    cpu: Option<&'r str>,
    maxmem: Option<&'r str>,
    maxdisk: Option<&'r str>,
    uptime: Option<&'r str>,
    /// The other texts in lower case, one per line, without secrets.
    other_text: String,
}

impl<'r> GuestRow<'r> {
    /// Reads the members of a row in one pass. Returns `None` for a row that is no object.
    fn parse(row: &'r str) -> Option<Self> {
        let mut parsed = Self::default();
        let is_object = row.starts_with('{')
            && walk(row, &mut |key, value| {
                let key = unquote(key);
                if key == "hastate" {
                    parsed.ha_state = Some(value);
                }
                match parsed.member(&key) {
                    Some(member) => *member = Some(value),
                    None => parsed.add_other_text(&key, value),
                }
                true
            });
        is_object.then_some(parsed)
    }

    fn member(&mut self, key: &str) -> Option<&mut Option<&'r str>> {
        Some(match key {
            "id" => &mut self.id,
            "type" => &mut self.kind,
            "vmid" => &mut self.vmid,
            "node" => &mut self.node,
            "name" => &mut self.name,
            "status" => &mut self.status,
            "tags" => &mut self.tags,
            "pool" => &mut self.pool,
            "lock" => &mut self.lock,
            "template" => &mut self.template,
            "maxcpu" => &mut self.maxcpu,
            "cpu" => &mut self.cpu,
            "maxmem" => &mut self.maxmem,
            "maxdisk" => &mut self.maxdisk,
            "uptime" => &mut self.uptime,
            _ => return None,
        })
    }

    fn add_other_text(&mut self, key: &str, value: &str) {
        // Without secrets, because a search result must not reveal one, and without numbers that Proxmox writes as text.
        if !value.starts_with('"') || sanitize::is_secret_field(key) {
            return;
        }
        let text = unquote(value);
        if text.parse::<f64>().is_err() {
            self.other_text.push_str(if self.other_text.is_empty() { "" } else { "\n" });
            self.other_text.push_str(&sanitize::redact_text(&text).to_lowercase());
        }
    }
}

/// Returns whether a member of a row says something about a guest here.
pub fn is_guest_member(key: &str, value: &str) -> bool {
    value.starts_with('"') || GuestRow::default().member(key).is_some()
}

/// Returns the text of a JSON string, and an empty one for any other value.
fn read_text(raw: Option<&str>) -> Cow<'_, str> {
    raw.filter(|raw| raw.starts_with('"')).map(unquote).unwrap_or_default()
}

/// Returns a number, also if Proxmox wrote it as a text.
fn read_number(raw: Option<&str>) -> Option<f64> {
    parse_number(&unquote(raw?))
}

/// Returns a whole number, also if Proxmox wrote it as a text.
fn read_count(raw: Option<&str>) -> Option<u64> {
    let text = unquote(raw?);
    text.parse().ok().or_else(|| to_count(parse_number(&text)?))
}

impl Guest {
    /// Parses a row of the list of resources. Returns `None` for a row that is not a guest.
    pub fn from_row(row: &str) -> Option<Self> {
        let row = GuestRow::parse(row)?;
        let (id, kind) = (read_text(row.id), read_text(row.kind));
        let (kind, id) = id.split_once('/').unwrap_or((&kind, ""));
        let kind = GuestKind::from_name(kind)?;
        Some(Self {
            vmid: read_count(row.vmid).and_then(|n| n.try_into().ok()).or_else(|| id.parse().ok())?,
            kind,
            node: read_text(row.node).into(),
            name: read_text(row.name).into(),
            status: read_text(row.status).into(),
            tags: read_text(row.tags).trim().into(),
            pool: read_text(row.pool).into(),
            lock: read_text(row.lock).into(),
            ha_state: read_text(row.ha_state).into(),
            template: read_number(row.template).is_some_and(|flag| flag != 0.0),
            maxcpu: read_number(row.maxcpu),
            cpu: read_number(row.cpu),
            maxmem: read_count(row.maxmem),
            maxdisk: read_count(row.maxdisk),
            uptime: read_count(row.uptime),
            other_text: row.other_text,
        })
    }

    /// Builds a guest from its config. Texts that are not part of a config are empty.
    pub(crate) fn from_config(vmid: u32, kind: GuestKind, node: &str, config: &str) -> Self {
        let text = |key| find_string(config, key).map(Cow::into_owned).unwrap_or_default();
        Self {
            vmid,
            kind,
            node: node.to_owned(),
            name: text(kind.name_option()),
            status: String::new(),
            tags: text("tags"),
            pool: String::new(),
            lock: text("lock"),
            ha_state: String::new(),
            template: false,
            maxcpu: None,
            cpu: None,
            maxmem: None,
            maxdisk: None,
            uptime: None,
            other_text: String::new(),
        }
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

    /// Returns whether the list does not know the name yet. (PVE: a guest without one is listed as `VM 100` or `CT200`.)
    pub fn lacks_name(&self) -> bool {
        let placeholder = match self.kind {
            GuestKind::Qemu => format!("VM {}", self.vmid),
            GuestKind::Lxc => format!("CT{}", self.vmid),
        };
        self.name.is_empty() || self.status == "unknown" || self.name == placeholder
    }

    /// Returns the tags one by one.
    pub fn iter_tags(&self) -> impl Iterator<Item = &str> {
        split_tags(&self.tags)
    }
}

fn split_tags(tags: &str) -> impl Iterator<Item = &str> {
    tags.split([';', ',', ' ']).filter(|tag| !tag.is_empty())
}

/// The texts of a guest in lower case, made once for all words of a query.
pub struct GuestSearchTexts<'g> {
    guest: &'g Guest,
    /// Such as `qemu/100`.
    id: String,
    name: Cow<'g, str>,
    tags: Cow<'g, str>,
    pool: Cow<'g, str>,
    /// Node, status and lock.
    states: [Cow<'g, str>; 3],
}

/// Returns a text in lower case, without a copy if it is so already.
fn to_lowercase(text: &str) -> Cow<'_, str> {
    match text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(text.to_lowercase()),
    }
}

impl<'g> GuestSearchTexts<'g> {
    pub fn new(guest: &'g Guest) -> Self {
        let states = [&guest.node, &guest.status, &guest.lock].map(|text| to_lowercase(text));
        let [name, tags, pool] = [&guest.name, &guest.tags, &guest.pool].map(|text| to_lowercase(text));
        Self { guest, id: guest.id(), name, tags, pool, states }
    }

    /// Returns the tags and the pool.
    fn iter_labels(&self) -> impl Iterator<Item = &str> {
        split_tags(&self.tags).chain([&*self.pool])
    }

    /// Returns the rank of the guest for several words, all of which must match. Words such as `on` need not, if there
    /// are others.
    pub fn rank_all(&self, words: &[&str]) -> Option<u32> {
        const FILLERS: [&str; 12] =
            ["a", "all", "at", "called", "guest", "guests", "in", "is", "named", "node", "on", "the"];
        let is_filler = |word: &&&str| FILLERS.contains(*word);
        let has_others = !words.iter().all(|word| is_filler(&word));
        words.iter().map(|word| self.rank(word).or((has_others && is_filler(&word)).then_some(0))).sum()
    }

    /// Returns the rank of the guest for a word in lower case, 0 being the best, or `None` without a match.
    pub fn rank(&self, word: &str) -> Option<u32> {
        let Self { guest, id, name, states, .. } = self;
        let vmid = id.rsplit('/').next().unwrap_or_default();
        let kinds: &[&str] = match guest.kind {
            GuestKind::Qemu => &["qemu", "vm"],
            GuestKind::Lxc => &["lxc", "ct", "container"],
        };
        let matches: [&dyn Fn() -> bool; 9] = [
            &|| vmid == word || id == word,
            &|| name == word,
            &|| self.iter_labels().any(|label| label == word),
            &|| name.starts_with(word),
            &|| name.contains(word),
            &|| vmid.contains(word),
            &|| self.iter_labels().any(|label| label.contains(word)),
            &|| {
                let is_template = guest.template && word == "template";
                kinds.contains(&word) || is_template || states.iter().any(|text| text == word)
            },
            &|| guest.other_text.contains(word),
        ];
        (0..).zip(matches).find(|(_, is_match)| is_match()).map(|(rank, _)| rank)
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
            {"type": "lxc", "vmid": 201.0, "name": "dns", "template": true, "maxcpu": "0.5", "tags": " "},
            {"id": "lxc/202", "node": "pve1", "name": "twin"},
            {"id": "lxc/203", "node": "pve2", "name": "twin"},
            {"id": "node/pve1", "vmid": 1},
            {"id": "qemu/x", "vmid": -1},
            {"id": 7, "vmid": []},
            7,
        ]);
        rows.as_array().unwrap().iter().filter_map(|row| Guest::from_row(&row.to_string())).collect()
    }

    #[test]
    fn rows_with_few_fields_are_guests_and_other_rows_are_skipped() {
        let guests = guests();
        assert_eq!(guests.iter().map(|g| g.vmid).collect::<Vec<_>>(), [100, 101, 200, 201, 202, 203]);
        assert_eq!(guests[0].path().unwrap().as_str(), "/nodes/pve1/qemu/100");
        assert_eq!((guests[0].maxmem, guests[0].other_text.as_str()), (Some(512), "started"));
        assert!(guests[2].path().is_none() && guests[3].template);
        assert_eq!((guests[3].maxcpu, guests[3].tags.as_str()), (Some(0.5), ""));
    }

    #[test]
    fn a_guest_is_found_by_number_id_or_name() {
        let guests = guests();
        for (query, vmid) in [("100", 100), (" lxc/200 ", 200), ("web01", 100), ("Web01", 101), ("DNS", 201)] {
            assert_eq!(find_guest(&guests, query).unwrap().vmid, vmid, "{query}");
        }
    }

    #[test]
    fn an_index_finds_the_same_guests() {
        let guests = guests();
        let index = GuestIndex::new(&guests);
        for query in ["100", "0100", "+100", "lxc/100", "qemu/100", "web01", "WEB01", "twin", "nope", "", "7", "dns"] {
            let expected = find_guest(&guests, query).map(|guest| guest.vmid);
            assert_eq!(index.find(query).map(|guest| guest.vmid), expected, "{query}");
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
    fn a_guest_in_two_rows_is_one_guest() {
        let mut guests = guests();
        guests.push(guests[0].clone());
        assert_eq!(find_guest(&guests, "web01").unwrap().vmid, 100);
    }

    #[test]
    fn an_unknown_guest_is_rejected_with_suggestions() {
        let guests = guests();
        let error = find_error(&guests, "wbe01");
        assert!(error.contains("among the 6") && error.contains("`web01`"), "{error}");
        assert!(find_error(&guests, "205").contains("`203 (twin)`"));
        assert!(!find_error(&guests, "999").contains("mean"), "999 is near no number");
        for query in ["", "\u{1b}zzzzzz", &"x".repeat(100_000)] {
            let error = find_error(&guests, query);
            assert!(!error.contains("mean") && !error.contains('\u{1b}') && error.len() < 200, "{error}");
        }
        assert!(find_error(&[], "web01").contains("VM.Audit"));
    }

    #[test]
    fn a_more_specific_match_ranks_higher() {
        let guests = guests();
        let rank_of = |word: &str| GuestSearchTexts::new(&guests[0]).rank(word);
        let fits = |words: &[&str]| GuestSearchTexts::new(&guests[0]).rank_all(words).is_some();
        assert!(
            fits(&["the", "guest", &guests[0].name]) && !fits(&["the", "guest"]) && !fits(&["the", "nothing-like-it"])
        );
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
