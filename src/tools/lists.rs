//! `list_nodes` and `get_cluster_resources`: Proxmox's own lists as tables, of one cluster or of all side by side.

use super::clusters::{Failures, meant, side_by_side};
use super::desk::{Desk, Visit};
use super::shape::{Column, Place, Row, Show, SortBy, Table, json_text};
use super::units::push_bytes;
use crate::mcp::args::{Args, Kind, Param};
use crate::mcp::catalog::{Effect, Input, Output, Stop, Tool};
use crate::mcp::context::Context;
use crate::pve::cluster::{Answer, Cluster};
use crate::pve::manager::ClusterManager;
use crate::pve::params::Params;
use crate::pve::path::ApiPath;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::slice;
use std::sync::Arc;

pub(super) const fn column(key: &'static str, show: Show) -> Column {
    Column { key, show }
}

const NODES: [Column; 10] = [
    column("cluster", Show::Plain),
    column("node", Show::Plain),
    column("status", Show::Plain),
    column("cpu", Show::Percent),
    column("maxcpu", Show::Plain),
    column("mem", Show::Bytes),
    column("maxmem", Show::Bytes),
    column("disk", Show::Bytes),
    column("maxdisk", Show::Bytes),
    column("uptime", Show::Duration),
];

const RESOURCES: [Column; 19] = [
    column("cluster", Show::Plain),
    column("id", Show::Plain),
    column("name", Show::Plain),
    column("node", Show::Plain),
    column("status", Show::Plain),
    column("cpu", Show::Percent),
    column("maxcpu", Show::Plain),
    column("mem", Show::Bytes),
    column("maxmem", Show::Bytes),
    column("disk", Show::Bytes),
    column("maxdisk", Show::Bytes),
    column("uptime", Show::Duration),
    column("pool", Show::Plain),
    column("tags", Show::Plain),
    column("template", Show::Plain),
    column("hastate", Show::Plain),
    column("lock", Show::Plain),
    column("plugintype", Show::Plain),
    column("shared", Show::Plain),
];

pub(super) const CLUSTER: Param = Param {
    name: "cluster",
    kind: Kind::Text,
    required: false,
    about: "a name of list_clusters; leave it out for every cluster",
};

/// The tool `list_nodes(cluster?)`.
pub fn list_nodes(desk: Arc<Desk>) -> Tool {
    Tool {
        name: "list_nodes",
        title: "List nodes",
        description: "The nodes (hosts) of a cluster, or of every cluster: status, CPU, memory, root disk, uptime.",
        input: Input::Params(slice::from_ref(&CLUSTER)),
        effect: Effect::Reads,
        run: Box::new(move |context, args| {
            desk.serve(context, "list_nodes", &|visit| {
                ask(visit, context, args, &ApiPath::known("/nodes"), &Params::new())?.output(
                    &NODES,
                    |row| (row.text("cluster"), 0, 0, row.text("node")),
                    |_, _| {},
                )
            })
        }),
    }
}

/// The tool `get_cluster_resources(cluster?, type?)`.
pub fn get_cluster_resources(desk: Arc<Desk>) -> Tool {
    Tool {
        name: "get_cluster_resources",
        title: "Get cluster resources",
        description: "Everything a cluster (or every cluster) runs: VMs (qemu/<vmid>), containers (lxc/<vmid>), nodes, \
            storages, pools, with state and use, under a summary of guests, CPU, memory and storage.",
        input: Input::Params(&[
            CLUSTER,
            Param {
                name: "type",
                kind: Kind::Choice(&["vm", "node", "storage", "sdn"]),
                required: false,
                about: "only these; vm means VMs and containers; leave it out for everything, pools included",
            },
        ]),
        effect: Effect::Reads,
        run: Box::new(move |context, args| {
            let mut params = Params::new();
            if let Some(kind) = args.text("type") {
                params.push("type", kind);
            }
            let path = ApiPath::known("/cluster/resources");
            desk.serve(context, "get_cluster_resources", &|visit| {
                ask(visit, context, args, &path, &params)?.output(&RESOURCES, resource_order, summarise)
            })
        }),
    }
}

/// What the clusters answered, in their order.
struct Asked<'a> {
    manager: &'a ClusterManager,
    answers: Vec<(Arc<Cluster>, Result<Answer, String>)>,
}

fn ask<'a>(
    visit: Visit<'a>,
    context: &Context<'_>,
    args: &Args,
    path: &ApiPath,
    params: &Params,
) -> Result<Asked<'a>, String> {
    let clusters = meant(visit.manager, args)?;
    let answers = side_by_side(&clusters, &context.cancel, |cluster, cancel| {
        let answer = visit.read(cluster, path, params, || cluster.list(path, params, cancel))?;
        Ok(visit.answered(cluster, answer))
    });
    Ok(Asked { manager: visit.manager, answers: clusters.into_iter().zip(answers).collect() })
}

impl Asked<'_> {
    /// One table of all rows; what failed stands beside it. Only where every cluster failed is the whole a failure.
    fn output(
        &self,
        columns: &'static [Column],
        order: SortBy,
        summary: impl Fn(&mut String, &Table<'_>),
    ) -> Result<Output, Stop> {
        let several = self.answers.len() > 1;
        let mut table = Table::new(columns);
        let mut failures = Failures::new(self.manager);
        for (cluster, answer) in &self.answers {
            let lead = if several { vec![json_text(&cluster.settings().name)] } else { vec![] };
            match answer {
                Ok(answer) => {
                    let before = table.len();
                    if let Err(e) = table.read(answer.data(), &lead) {
                        table.truncate(before);
                        failures.push(cluster, format!("its answer is not a list of objects ({e})"));
                    }
                }
                Err(why) => failures.push(cluster, why.clone()),
            }
        }
        failures.unless_all(self.answers.len())?;
        let mut text = String::with_capacity(64 + table.len() * 96);
        summary(&mut text, &table);
        let summary_end = text.trim_end().len();
        let summary = text.get(..summary_end).unwrap_or_default().to_owned();
        let mut structured = String::from("{");
        if !summary.is_empty() {
            let _ = write!(structured, "\"summary\":{},", json_text(&summary));
        }
        structured.push_str(&table.write(&mut text, order));
        if table.is_empty() {
            text.push_str(
                "no rows: there is nothing, or the token may not see it (GET /access/permissions shows its rights)\n",
            );
        } else if table.rows().any(|r| r.text("status") == "online" && r.raw("maxcpu").is_none()) {
            text.push_str(
                "a node without numbers: the token lacks Sys.Audit on it (GET /access/permissions shows its rights)\n",
            );
        }
        failures.write(&mut text, &mut structured);
        structured.push('}');
        Ok(Output::table(text, structured))
    }
}

/// Guests first, by number; then nodes, storages and the rest by name.
fn resource_order<'r>(row: &'r Row<'_>) -> Place<'r> {
    let (cluster, id) = (row.text("cluster"), row.text("id"));
    match id.split_once('/') {
        Some(("qemu" | "lxc", vmid)) => (cluster, 0, vmid.parse().unwrap_or(u64::MAX), id),
        Some(("node", _)) => (cluster, 1, 0, id),
        Some(("storage", _)) => (cluster, 2, 0, id),
        _ => (cluster, 3, 0, id),
    }
}

/// One line of guests and one of capacity, each only where there is something to count.
fn summarise(text: &mut String, table: &Table<'_>) {
    let mut guests: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
    let (mut nodes, mut online) = (0, 0);
    let (mut cpu, mut memory, mut storage) = ((0.0, 0.0), (0.0, 0.0), BTreeMap::new());
    let rows: Vec<Row<'_>> = table.rows().collect();
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
                // A shared storage is listed once a node and counts once a cluster.
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
            push_bytes(&mut part, used);
            part.push_str(" of ");
            push_bytes(&mut part, total);
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
