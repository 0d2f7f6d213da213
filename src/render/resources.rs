//! Lists of nodes and resources, of one cluster or of several.

use super::cell::push_single_line;
use super::cluster_errors::{AllClustersFailed, ClusterErrors, ClusterFailure, ErrorText, ReadFailure, join_names};
use super::list::{ListForm, MAX_ROWS, RenderedList};
use super::table::{ListTable, RowsRead, SharedDetails, SortKey, SortKeyFn, TableLayout, TableRow, to_json_text};
use super::units::push_byte_size;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write;

const NODE_COLUMNS: [&str; 10] =
    ["cluster", "node", "status", "cpu", "maxcpu", "mem", "maxmem", "disk", "maxdisk", "uptime"];

const RESOURCE_COLUMNS: [&str; 21] = [
    "cluster",
    "id",
    "name",
    "node",
    "status",
    "cpu",
    "maxcpu",
    "mem",
    "maxmem",
    "disk",
    "maxdisk",
    "avail",
    "uptime",
    "pool",
    "tags",
    "template",
    "hastate",
    "lock",
    "plugintype",
    "shared",
    "content",
];

/// The properties of a storage on each of its nodes.
const STORAGE_DETAILS: SharedDetails = SharedDetails { rank: 2, columns: &["plugintype", "shared", "content"] };

/// Returns whether a member of a row of either list is shown or counted.
pub fn is_shown_member(key: &str, _value: &str) -> bool {
    NODE_COLUMNS.iter().chain(&RESOURCE_COLUMNS).any(|column| *column == key)
}

/// The answer of one cluster: a JSON list of rows, or the error.
pub struct ClusterRows<'a> {
    pub name: &'a str,
    /// `None` where the caller can use only one cluster.
    pub label: Option<&'a str>,
    pub rows: Result<&'a str, ReadFailure>,
    /// The bytes that are available on a storage, by its id in the list (`storage/pve1/local`), as far as they are known.
    pub available: HashMap<String, u64>,
    /// The privileges that would show more rows, if the list is empty and the token's privileges are known.
    pub missing_privileges: Option<Vec<String>>,
}

/// Renders the nodes of the clusters.
pub fn render_nodes(clusters: &[ClusterRows<'_>], form: ListForm) -> Result<RenderedList, AllClustersFailed> {
    render_list(
        clusters,
        form,
        &NODE_COLUMNS,
        ListQuestion {
            sort_key: |row| SortKey { group: row.raw("cluster"), name: row.text("node"), ..SortKey::default() },
            path: "/nodes",
            narrower: "`cluster` names one cluster",
        },
        |_, _| {},
    )
}

/// Renders the resources of the clusters under a summary.
pub fn render_resources(clusters: &[ClusterRows<'_>], form: ListForm) -> Result<RenderedList, AllClustersFailed> {
    let question = ListQuestion {
        sort_key: resource_sort_key,
        path: "/cluster/resources",
        narrower: "`cluster` names one cluster, `type` one kind, and find_guest finds guests by words",
    };
    render_list(clusters, form, &RESOURCE_COLUMNS, question, summarize)
}

/// The properties of a list that the caller asks for.
struct ListQuestion {
    sort_key: SortKeyFn,
    /// The path of the list in the API.
    path: &'static str,
    /// The narrower questions that the tool has.
    narrower: &'static str,
}

/// Renders one table of all rows, with the failures as notes. Rows beyond the size of the form are left out after the
/// summary was made.
fn render_list(
    clusters: &[ClusterRows<'_>],
    form: ListForm,
    columns: &'static [&'static str],
    question: ListQuestion,
    summarize: impl Fn(&mut String, &ListTable<'_>),
) -> Result<RenderedList, AllClustersFailed> {
    let mut table = ListTable::new(columns);
    let mut failures = ClusterErrors::new();
    let mut counts: Vec<(&str, usize)> = Vec::new();
    let mut capped: Vec<&str> = Vec::new();
    for ClusterRows { name, label, rows, available, .. } in clusters {
        let lead = if clusters.len() > 1 { vec![to_json_text(name)] } else { vec![] };
        let before = table.len();
        let read = rows.clone().and_then(|rows| {
            table.read(rows, &lead).map_err(|error| ReadFailure {
                error: ErrorText(format!("its answer is not a list of objects ({error})")),
                kind: "not a list of objects".into(),
            })
        });
        for place in before..table.len() {
            let row = table.row(place);
            // (PVE: the space that a VM uses inside its disks is not known, and 0.)
            let is_unknown = row.raw("disk") == Some("0") && row.text("id").starts_with("qemu/");
            let available = available.get(row.text("id")).map(|bytes| Cow::from(bytes.to_string()));
            if is_unknown {
                table.set(place, "disk", None);
            }
            if available.is_some() {
                table.set(place, "avail", available);
            }
        }
        merge_shared(&mut table, before);
        match read {
            Ok(RowsRead::All) => {}
            Ok(RowsRead::Capped) => capped.push(name),
            Err(failure) => {
                table.truncate(before);
                failures.push(ClusterFailure { name, label: *label, failure });
            }
        }
        counts.push((name, table.len() - before));
    }
    failures.fail_if_all(clusters.len())?;
    let mut text = String::new();
    summarize(&mut text, &table);
    let failed: Vec<&str> = failures.names().collect();
    if !text.is_empty() && !failed.is_empty() {
        text.truncate(text.trim_end().len());
        let _ = writeln!(
            text,
            "\nnot in these sums: {} of {} clusters ({})\n",
            failed.len(),
            clusters.len(),
            join_names(failed.into_iter())
        );
    }
    let summary_len = text.trim_end().len();
    let mut layout = table.layout(question.sort_key);
    let mut notes = Vec::new();
    if table.is_empty() {
        notes.push(explain_no_rows(question.path, clusters));
    } else {
        if form.has_json {
            layout.limit_json(form.max_bytes);
        }
        layout.write_text(&mut text, form.max_bytes, Some(&STORAGE_DETAILS));
        if layout.left_out() > 0 {
            notes.push(describe_left_out(&layout, &counts, &question));
        }
        if table.rows().any(|row| row.text("status") == "online" && row.raw("maxcpu").is_none()) {
            notes.push(
                "a node without numbers: the token lacks Sys.Audit on it (GET /access/permissions shows its privileges)"
                    .to_owned(),
            );
        }
    }
    if !capped.is_empty() {
        notes.push(format!(
            "a cap of this server: only the first {MAX_ROWS} rows of a cluster are read and counted, here of {}",
            join_names(capped.into_iter())
        ));
    }
    notes.extend(failures.notes());
    let structured = form.json(|| {
        let summary = match &text[..summary_len] {
            "" => String::new(),
            summary => format!("\"summary\":{},", to_json_text(summary)),
        };
        let mut json = format!("{{{summary}{}", layout.json_members(table.len()));
        failures.write_json(&mut json);
        json.push('}');
        json
    });
    Ok(RenderedList { text, notes, structured })
}

/// The most nodes that a merged row names.
const MAX_NAMED_NODES: usize = 3;

/// The rows of one storage or network, which say the same of several nodes.
struct SharedRows {
    first: usize,
    id: String,
    nodes: Vec<String>,
}

/// Merges the rows of each storage and network that several nodes share, from the row `first` on.
fn merge_shared(table: &mut ListTable<'_>, first: usize) {
    let mut groups: BTreeMap<(String, String), SharedRows> = BTreeMap::new();
    let mut merged = Vec::new();
    for place in first..table.len() {
        let row = table.row(place);
        let mut parts = row.text("id").splitn(3, '/');
        let (Some(kind), Some(_), Some(name)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let is_shared = match kind {
            "storage" => row.number("shared") == 1.0,
            "network" | "sdn" => true,
            _ => false,
        };
        if !is_shared {
            continue;
        }
        let (id, node) = (format!("{kind}/{name}"), row.text("node").to_owned());
        let group = groups.entry((id.clone(), row.text("status").to_owned()));
        let group = group.or_insert_with(|| SharedRows { first: place, id, nodes: Vec::new() });
        if group.first != place {
            merged.push(place);
        }
        group.nodes.push(node);
    }
    for SharedRows { first, id, nodes } in groups.into_values().filter(|group| group.nodes.len() > 1) {
        let nodes = if nodes.len() > MAX_NAMED_NODES { format!("{} nodes", nodes.len()) } else { nodes.join(",") };
        // They keep the escapes of JSON.
        table.set(first, "id", Some(format!("\"{id}\"").into()));
        table.set(first, "node", Some(format!("\"{nodes}\"").into()));
    }
    table.remove(&merged);
}

/// The clusters with rows left out that are named with their numbers of rows.
const MAX_COUNTED_CLUSTERS: usize = 50;

/// The rows of one cluster that fit into an answer with all their members.
const MAX_PAGED_ROWS: usize = 30_000;

/// Describes the rows that have no room, and the questions that show them.
fn describe_left_out(layout: &TableLayout<'_>, counts: &[(&str, usize)], question: &ListQuestion) -> String {
    let (left_out, path) = (layout.left_out(), question.path);
    let total = left_out + layout.first_cells().count();
    let mut text = format!("{left_out} of {total} rows are left out (`max_result_bytes`)");
    if counts.len() > 1 {
        let mut shown: HashMap<&str, usize> = HashMap::new();
        layout.first_cells().for_each(|cluster| *shown.entry(cluster).or_default() += 1);
        let hidden = counts.iter().filter_map(|(name, rows)| {
            let left_out = rows.checked_sub(shown.get(name).copied().unwrap_or(0)).filter(|rows| *rows > 0)?;
            Some(format!("{left_out} of {name}"))
        });
        let hidden: Vec<String> = hidden.collect();
        let more = hidden.len().saturating_sub(MAX_COUNTED_CLUSTERS);
        let _ = write!(text, ": {}", hidden.iter().take(MAX_COUNTED_CLUSTERS).cloned().collect::<Vec<_>>().join(", "));
        if more > 0 {
            let _ = write!(text, " and of {more} more clusters");
        }
    }
    let _ = write!(text, ". To see them: {}", question.narrower);
    // A list that is read in parts is too large for the tool that shows all members.
    if counts.iter().all(|(_, rows)| *rows <= MAX_PAGED_ROWS) {
        let _ =
            write!(text, "; proxmox_api_get {path} shows pages with `fields`, `filter`, `sort`, `limit` and `offset`");
    }
    text
}

/// Describes the reason for an empty list, as far as the tokens' privileges tell.
fn explain_no_rows(path: &str, clusters: &[ClusterRows<'_>]) -> String {
    let known: Vec<&Vec<String>> = clusters.iter().filter_map(|rows| rows.missing_privileges.as_ref()).collect();
    let missing: BTreeSet<&str> = known.iter().flat_map(|missing| missing.iter().map(String::as_str)).collect();
    if path == "/nodes" {
        "no rows: a cluster has a node at least, so the API token sees none (GET /access/permissions shows its privileges)"
            .into()
    } else if known.len() < clusters.len() {
        "no rows: there is nothing, or the token may not see it (GET /access/permissions shows its privileges)".into()
    } else if missing.is_empty() {
        "no rows: there is nothing".into()
    } else {
        let missing: Vec<&str> = missing.into_iter().collect();
        format!("no rows that the API token sees: {} would show more, if there is more", missing.join(", "))
    }
}

/// Sorts guests first, by number, then nodes, storages and the rest by name.
fn resource_sort_key<'r>(row: &'r TableRow<'_>) -> SortKey<'r> {
    let (group, name) = (row.raw("cluster"), row.text("id"));
    let (rank, number) = match name.split_once('/') {
        Some(("qemu" | "lxc", vmid)) => (0, vmid.parse().unwrap_or(u64::MAX)),
        Some(("node", _)) => (1, 0),
        Some(("storage", _)) => (STORAGE_DETAILS.rank, 0),
        Some(("network" | "sdn", _)) => (4, 0),
        _ => (3, 0),
    };
    SortKey { group, rank, number, name }
}

/// Appends one line of guests and one of capacity, each only where there is something to count.
fn summarize(text: &mut String, table: &ListTable<'_>) {
    let rows: Vec<TableRow<'_>> = table.rows().collect();
    let mut summary = ResourceSummary::default();
    rows.iter().for_each(|row| summary.add(row));
    summary.push_guests(text);
    summary.push_capacity(text);
    push_unlimited_containers(text, &rows);
    if !text.is_empty() {
        text.push('\n');
    }
}

/// Names the containers that have the size of a storage of their node. (PVE: one without a size is a directory of the
/// storage, and its disk is that of the file system.)
fn push_unlimited_containers(text: &mut String, rows: &[TableRow<'_>]) {
    let place = |row: &TableRow<'_>| {
        let key = [row.text("cluster"), row.text("node"), row.text("maxdisk")].map(str::to_owned);
        (row.number("maxdisk") > 0.0).then_some(key)
    };
    let of_kind = |kind: &'static str| rows.iter().filter(move |row| row.text("id").starts_with(kind));
    let sizes: HashSet<[String; 3]> = of_kind("storage/").filter_map(place).collect();
    let unlimited = of_kind("lxc/").filter(|row| place(row).is_some_and(|place| sizes.contains(&place)));
    let names: Vec<&str> = unlimited.map(|row| row.text("id")).collect();
    if names.is_empty() {
        return;
    }
    text.push_str("without a size of their own, so that disk is the whole file system of the storage: ");
    push_single_line(text, &names.iter().take(MAX_NAMED_GROUPS).copied().collect::<Vec<_>>().join(", "));
    if let Some(more @ 1..) = names.len().checked_sub(MAX_NAMED_GROUPS) {
        let _ = write!(text, " and {more} more");
    }
    text.push('\n');
}

/// The sums of a list of resources.
#[derive(Default)]
struct ResourceSummary<'r> {
    /// The number of guests by kind and state.
    guests: BTreeMap<&'static str, BTreeMap<&'r str, u32>>,
    nodes: u32,
    online_nodes: u32,
    cpu: Usage,
    memory: Usage,
    /// By cluster and storage.
    storages: BTreeMap<(&'r str, &'r str), StorageUsage>,
}

/// The use of a storage.
#[derive(Clone, Copy, Default)]
struct StorageUsage {
    usage: Usage,
    /// What a file system keeps for itself is neither used nor available.
    available: Option<f64>,
    is_shared: bool,
    /// The storage is a dataset of a ZFS pool.
    is_zfs: bool,
}

/// Storages that are one file system or one ZFS pool, as far as their sizes tell.
struct FileSystem<'r> {
    usage: Usage,
    available: Option<f64>,
    has_zfs: bool,
    names: Vec<&'r str>,
}

/// The most file systems of one node, or of all shared storages, that are compared with a further storage.
const MAX_COMPARED: usize = 64;

/// The most groups of storages that a summary names.
const MAX_NAMED_GROUPS: usize = 5;

impl<'r> FileSystem<'r> {
    /// Returns whether a storage is a part of it. (PVE: storages are measured one after the other, so that what was
    /// written in between differs.) Empty ones of one size are as many disks.
    fn has(&self, storage: &StorageUsage) -> bool {
        let (usage, tolerance) = (storage.usage, storage.usage.total / 1_000.0);
        let is_equal = usage.total == self.usage.total
            && usage.used > 0.0
            && (usage.used - self.usage.used).abs() <= usage.used / 1_000.0;
        let is_one_pool = (storage.is_zfs || self.has_zfs)
            && usage.total != self.usage.total
            && (usage.free() - self.usage.free()).abs() <= tolerance;
        is_equal || is_one_pool
    }

    fn add(&mut self, name: &'r str, storage: &StorageUsage) {
        // Datasets of a pool share what is free.
        if storage.usage.total != self.usage.total {
            self.usage.used += storage.usage.used;
            self.usage.total += storage.usage.used;
        }
        self.has_zfs |= storage.is_zfs;
        self.names.push(name);
    }
}

/// The used and the whole amount of something.
#[derive(Clone, Copy, Default)]
struct Usage {
    used: f64,
    total: f64,
}

impl Usage {
    fn free(self) -> f64 {
        self.total - self.used
    }
}

impl<'r> ResourceSummary<'r> {
    fn add(&mut self, row: &'r TableRow<'_>) {
        let Some((kind, name)) = row.text("id").split_once('/') else { return };
        match kind {
            "qemu" | "lxc" => {
                let kind = if kind == "qemu" { "VMs" } else { "containers" };
                let state = if row.number("template") == 1.0 { "template" } else { row.text("status") };
                *self.guests.entry(kind).or_default().entry(state).or_default() += 1;
            }
            "node" => {
                self.nodes += 1;
                // (PVE: a node that is off keeps its numbers.)
                if row.text("status") != "online" {
                    return;
                }
                self.online_nodes += 1;
                self.cpu.used += row.number("cpu") * row.number("maxcpu");
                self.cpu.total += row.number("maxcpu");
                self.memory.used += row.number("mem");
                self.memory.total += row.number("maxmem");
            }
            "storage" => {
                // A shared storage has a row for each node and counts once for each cluster.
                let is_shared = row.number("shared") == 1.0;
                let key = match name.split_once('/') {
                    Some((_, storage)) if is_shared => storage,
                    _ => name,
                };
                let usage = Usage { used: row.number("disk"), total: row.number("maxdisk") };
                let known = self.storages.entry((row.text("cluster"), key)).or_default();
                // (PVE: the row of a node that is off has no sizes.)
                if usage.total > 0.0 {
                    let available = row.raw("avail").map(|_| row.number("avail"));
                    *known = StorageUsage { usage, available, is_shared, is_zfs: row.text("plugintype") == "zfspool" };
                }
            }
            _ => {}
        }
    }

    /// Returns the storages with a size by their file systems. Those of different nodes are different ones.
    fn group_storages(&self) -> Vec<FileSystem<'r>> {
        let mut groups: BTreeMap<(&str, &str), Vec<FileSystem<'r>>> = BTreeMap::new();
        for ((cluster, name), storage) in self.storages.iter().filter(|(_, storage)| storage.usage.total > 0.0) {
            // Several clusters may use one server.
            let place = match storage.is_shared {
                true => ("", ""),
                false => (*cluster, name.split_once('/').map_or("", |(node, _)| node)),
            };
            let known = groups.entry(place).or_default();
            match known.iter_mut().take(MAX_COMPARED).find(|system| system.has(storage)) {
                Some(system) => system.add(name, storage),
                None => {
                    let StorageUsage { usage, available, is_zfs, .. } = *storage;
                    known.push(FileSystem { usage, available, has_zfs: is_zfs, names: vec![name] });
                }
            }
        }
        groups.into_values().flatten().collect()
    }

    fn push_guests(&self, text: &mut String) {
        let kinds = self.guests.iter().map(|(kind, states)| {
            let counts: Vec<_> = states.iter().map(|(state, n)| format!("{n} {state}")).collect();
            let all = states.values().sum::<u32>();
            let kind = if all == 1 { kind.trim_end_matches('s') } else { kind };
            format!("{all} {kind} ({})", counts.join(", "))
        });
        let kinds: Vec<String> = kinds.collect();
        if !kinds.is_empty() {
            let _ = writeln!(text, "guests: {}", kinds.join(", "));
        }
    }

    fn push_capacity(&self, text: &mut String) {
        let mut parts = Vec::new();
        if self.nodes > 0 {
            parts.push(format!("{} of {} nodes online", self.online_nodes, self.nodes));
        }
        if self.cpu.total > 0.0 {
            parts.push(format!("CPU {:.1} of {} cores", self.cpu.used, self.cpu.total));
        }
        let file_systems = self.group_storages();
        let storage = file_systems.iter().fold(Usage::default(), |sum, system| Usage {
            used: sum.used + system.usage.used,
            total: sum.total + system.usage.total,
        });
        for (name, usage) in [("memory", self.memory), ("storage", storage)] {
            if usage.total > 0.0 {
                let mut part = format!("{name} ");
                push_byte_size(&mut part, usage.used);
                part.push_str(" of ");
                push_byte_size(&mut part, usage.total);
                if name == "storage" {
                    let available: Option<f64> = file_systems.iter().map(|system| system.available).sum();
                    if let Some(available) = available {
                        part.push_str(" used, ");
                        push_byte_size(&mut part, available);
                        part.push_str(" available");
                    } else if self.nodes > 0 {
                        part.push_str(" used (type=storage has what is available)");
                    }
                    push_merged_storages(&mut part, &file_systems);
                }
                parts.push(part);
            }
        }
        if !parts.is_empty() {
            let _ = writeln!(text, "capacity: {}", parts.join(", "));
        }
    }
}

/// Names the storages that count once together.
fn push_merged_storages(text: &mut String, file_systems: &[FileSystem<'_>]) {
    let merged: Vec<String> =
        file_systems.iter().filter(|system| system.names.len() > 1).map(|system| system.names.join(" = ")).collect();
    if merged.is_empty() {
        return;
    }
    text.push_str(" (by their sizes these look like one file system or pool, and count once: ");
    for (at, group) in merged.iter().take(MAX_NAMED_GROUPS).enumerate() {
        text.push_str(if at == 0 { "" } else { ", " });
        push_single_line(text, group);
    }
    if let Some(more @ 1..) = merged.len().checked_sub(MAX_NAMED_GROUPS) {
        let _ = write!(text, " and {more} more");
    }
    text.push(')');
}
