//! Lists of nodes and resources, of one cluster or of several.

use super::cluster_errors::{AllClustersFailed, ClusterErrors, ClusterFailure};
use super::table::{CellFormat, Column, ListTable, SortKey, SortKeyFn, TableRow, to_json_text};
use super::units::push_byte_size;
use std::collections::BTreeMap;
use std::fmt::Write;

const fn column(key: &'static str, format: CellFormat) -> Column {
    Column { key, format }
}

const NODE_COLUMNS: [Column; 10] = [
    column("cluster", CellFormat::Plain),
    column("node", CellFormat::Plain),
    column("status", CellFormat::Plain),
    column("cpu", CellFormat::Percent),
    column("maxcpu", CellFormat::Plain),
    column("mem", CellFormat::Bytes),
    column("maxmem", CellFormat::Bytes),
    column("disk", CellFormat::Bytes),
    column("maxdisk", CellFormat::Bytes),
    column("uptime", CellFormat::Duration),
];

const RESOURCE_COLUMNS: [Column; 19] = [
    column("cluster", CellFormat::Plain),
    column("id", CellFormat::Plain),
    column("name", CellFormat::Plain),
    column("node", CellFormat::Plain),
    column("status", CellFormat::Plain),
    column("cpu", CellFormat::Percent),
    column("maxcpu", CellFormat::Plain),
    column("mem", CellFormat::Bytes),
    column("maxmem", CellFormat::Bytes),
    column("disk", CellFormat::Bytes),
    column("maxdisk", CellFormat::Bytes),
    column("uptime", CellFormat::Duration),
    column("pool", CellFormat::Plain),
    column("tags", CellFormat::Plain),
    column("template", CellFormat::Plain),
    column("hastate", CellFormat::Plain),
    column("lock", CellFormat::Plain),
    column("plugintype", CellFormat::Plain),
    column("shared", CellFormat::Plain),
];

/// The answer of one cluster: a JSON list of rows, or the error.
pub struct ClusterRows<'a> {
    pub name: &'a str,
    /// `None` where the caller can use only one cluster.
    pub label: Option<&'a str>,
    pub rows: Result<&'a str, String>,
}

/// A rendered list.
pub struct RenderedList {
    pub text: String,
    /// JSON.
    pub structured: String,
}

/// Renders the nodes of the clusters.
pub fn render_nodes(clusters: &[ClusterRows<'_>]) -> Result<RenderedList, AllClustersFailed> {
    render_list(clusters, &NODE_COLUMNS, |row| (row.text("cluster"), 0, 0, row.text("node")), |_, _| {})
}

/// Renders the resources of the clusters under a summary.
pub fn render_resources(clusters: &[ClusterRows<'_>]) -> Result<RenderedList, AllClustersFailed> {
    render_list(clusters, &RESOURCE_COLUMNS, resource_sort_key, summarize)
}

/// Renders one table of all rows, and the failures after it.
fn render_list(
    clusters: &[ClusterRows<'_>],
    columns: &'static [Column],
    sort_key: SortKeyFn,
    summarize: impl Fn(&mut String, &ListTable<'_>),
) -> Result<RenderedList, AllClustersFailed> {
    let mut table = ListTable::new(columns);
    let mut failures = ClusterErrors::new();
    for ClusterRows { name, label, rows } in clusters {
        let lead = if clusters.len() > 1 { vec![to_json_text(name)] } else { vec![] };
        let before = table.len();
        let read = rows.clone().and_then(|rows| {
            table.read(rows, &lead).map_err(|error| format!("its answer is not a list of objects ({error})"))
        });
        if let Err(error) = read {
            table.truncate(before);
            failures.push(ClusterFailure { name, label: *label, error });
        }
    }
    failures.fail_if_all(clusters.len())?;
    let mut text = String::with_capacity(64 + table.len() * 96);
    summarize(&mut text, &table);
    let summary = text.trim_end().to_owned();
    let mut structured = String::from("{");
    if !summary.is_empty() {
        let _ = write!(structured, "\"summary\":{},", to_json_text(&summary));
    }
    structured.push_str(&table.write(&mut text, sort_key));
    if table.is_empty() {
        text.push_str(
            "no rows: there is nothing, or the token may not see it (GET /access/permissions shows its privileges)\n",
        );
    } else if table.rows().any(|row| row.text("status") == "online" && row.raw("maxcpu").is_none()) {
        text.push_str(
            "a node without numbers: the token lacks Sys.Audit on it (GET /access/permissions shows its privileges)\n",
        );
    }
    failures.write(&mut text, &mut structured);
    structured.push('}');
    Ok(RenderedList { text, structured })
}

/// Sorts guests first, by number, then nodes, storages and the rest by name.
fn resource_sort_key<'r>(row: &'r TableRow<'_>) -> SortKey<'r> {
    let (cluster, id) = (row.text("cluster"), row.text("id"));
    match id.split_once('/') {
        Some(("qemu" | "lxc", vmid)) => (cluster, 0, vmid.parse().unwrap_or(u64::MAX), id),
        Some(("node", _)) => (cluster, 1, 0, id),
        Some(("storage", _)) => (cluster, 2, 0, id),
        _ => (cluster, 3, 0, id),
    }
}

/// Appends one line of guests and one of capacity, each only where there is something to count.
fn summarize(text: &mut String, table: &ListTable<'_>) {
    let mut guests: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
    let (mut nodes, mut online) = (0, 0);
    let (mut cpu, mut memory, mut storage) = ((0.0, 0.0), (0.0, 0.0), BTreeMap::new());
    let rows: Vec<TableRow<'_>> = table.rows().collect();
    for row in &rows {
        let (kind, name) = row.text("id").split_once('/').unwrap_or_default();
        match kind {
            "qemu" | "lxc" => {
                let state = if row.number("template") == 1.0 { "template" } else { row.text("status") };
                *guests
                    .entry(if kind == "qemu" { "VMs" } else { "containers" })
                    .or_default()
                    .entry(state)
                    .or_default() += 1;
            }
            "node" => {
                nodes += 1;
                online += u32::from(row.text("status") == "online");
                cpu.0 += row.number("cpu") * row.number("maxcpu");
                cpu.1 += row.number("maxcpu");
                memory.0 += row.number("mem");
                memory.1 += row.number("maxmem");
            }
            "storage" => {
                // A shared storage has a row for each node and counts once for each cluster.
                let key = if row.number("shared") == 1.0 {
                    name.split_once('/').map_or(name, |(_, storage)| storage)
                } else {
                    name
                };
                storage.insert((row.text("cluster"), key), (row.number("disk"), row.number("maxdisk")));
            }
            _ => {}
        }
    }
    let guests: Vec<String> = guests
        .iter()
        .map(|(kind, states)| {
            let of: Vec<_> = states.iter().map(|(state, n)| format!("{n} {state}")).collect();
            let all = states.values().sum::<u32>();
            let one = if all == 1 { kind.trim_end_matches('s') } else { kind };
            format!("{all} {one} ({})", of.join(", "))
        })
        .collect();
    if !guests.is_empty() {
        let _ = writeln!(text, "guests: {}", guests.join(", "));
    }
    let storage = storage.values().fold((0.0, 0.0), |sum, s| (sum.0 + s.0, sum.1 + s.1));
    let mut parts = Vec::new();
    if nodes > 0 {
        parts.push(format!("{online} of {nodes} nodes online"));
    }
    if cpu.1 > 0.0 {
        parts.push(format!("CPU {:.1} of {} cores", cpu.0, cpu.1));
    }
    for (what, (used, total)) in [("memory", memory), ("storage", storage)] {
        if total > 0.0 {
            let mut part = format!("{what} ");
            push_byte_size(&mut part, used);
            part.push_str(" of ");
            push_byte_size(&mut part, total);
            parts.push(part);
        }
    }
    if !parts.is_empty() {
        let _ = writeln!(text, "capacity: {}", parts.join(", "));
    }
    if !text.is_empty() {
        text.push('\n');
    }
}
