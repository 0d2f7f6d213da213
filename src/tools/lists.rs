//! `list_nodes` and `get_cluster_resources`: Proxmox's own lists as tables, of one cluster or of all side by side.

use crate::call::state::{ToolCall, ToolState};
use crate::mcp::arguments::{ParameterKind, ToolArguments, ToolParameter};
use crate::mcp::catalog::{Tool, ToolEffect, ToolError, ToolInput, ToolOutput};
use crate::mcp::context::CallContext;
use crate::pve::client::cluster::{ApiResponse, Cluster};
use crate::pve::client::manager::ClusterManager;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::render::table::{CellFormat, Column, ListTable, SortKey, SortKeyFn, TableRow, to_json_text};
use crate::render::units::push_byte_size;
use crate::tools::clusters::{ClusterErrors, fan_out, select_clusters};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::slice;
use std::sync::Arc;

pub(crate) const fn column(key: &'static str, format: CellFormat) -> Column {
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

pub(crate) const CLUSTER_PARAM: ToolParameter = ToolParameter {
    name: "cluster",
    kind: ParameterKind::Text,
    required: false,
    description: "a name of list_clusters; leave it out for every cluster",
};

/// The tool `list_nodes(cluster?)`.
pub fn list_nodes(state: Arc<ToolState>) -> Tool {
    Tool {
        name: "list_nodes",
        title: "List nodes",
        description: "The nodes (hosts) of a cluster, or of every cluster: status, CPU, memory, root disk, uptime.",
        input: ToolInput::Parameters(slice::from_ref(&CLUSTER_PARAM)),
        effect: ToolEffect::ReadOnly,
        handler: Box::new(move |context, args| {
            state.run_call(context, "list_nodes", &|call| {
                query_clusters(call, context, args, &ApiPath::from_static("/nodes"), &ApiParams::new())?.render(
                    &NODE_COLUMNS,
                    |row| SortKey { group: row.text("cluster"), name: row.text("node"), ..SortKey::default() },
                    |_, _| {},
                )
            })
        }),
    }
}

/// The tool `get_cluster_resources(cluster?, type?)`.
pub fn get_cluster_resources(state: Arc<ToolState>) -> Tool {
    Tool {
        name: "get_cluster_resources",
        title: "Get cluster resources",
        description: "Everything a cluster (or every cluster) runs: VMs (qemu/<vmid>), containers (lxc/<vmid>), nodes, \
            storages, pools, with state and use, under a summary of guests, CPU, memory and storage.",
        input: ToolInput::Parameters(&[
            CLUSTER_PARAM,
            ToolParameter {
                name: "type",
                kind: ParameterKind::Choice(&["vm", "node", "storage", "sdn"]),
                required: false,
                description: "only these; vm means VMs and containers; leave it out for everything, pools included",
            },
        ]),
        effect: ToolEffect::ReadOnly,
        handler: Box::new(move |context, args| {
            let mut params = ApiParams::new();
            if let Some(kind) = args.text("type") {
                params.push("type", kind);
            }
            let path = ApiPath::from_static("/cluster/resources");
            state.run_call(context, "get_cluster_resources", &|call| {
                query_clusters(call, context, args, &path, &params)?.render(
                    &RESOURCE_COLUMNS,
                    resource_sort_key,
                    summarise,
                )
            })
        }),
    }
}

/// What the clusters answered, in their order.
struct ClusterResponses<'a> {
    manager: &'a ClusterManager,
    responses: Vec<(Arc<Cluster>, Result<ApiResponse, String>)>,
}

fn query_clusters<'a>(
    call: ToolCall<'a>,
    context: &CallContext<'_>,
    args: &ToolArguments,
    path: &ApiPath,
    params: &ApiParams,
) -> Result<ClusterResponses<'a>, String> {
    let clusters = select_clusters(call.manager, args)?;
    let answers = fan_out(&clusters, &context.cancel, |cluster, cancel| {
        let answer = call.get_audited(cluster, path, params, || cluster.get_list(path, params, cancel))?;
        Ok(call.redact_response(cluster, answer))
    });
    Ok(ClusterResponses { manager: call.manager, responses: clusters.into_iter().zip(answers).collect() })
}

impl ClusterResponses<'_> {
    /// One table of all rows; what failed stands beside it. Only where every cluster failed is the whole a failure.
    fn render(
        &self,
        columns: &'static [Column],
        order: SortKeyFn,
        summary: impl Fn(&mut String, &ListTable<'_>),
    ) -> Result<ToolOutput, ToolError> {
        let several = self.responses.len() > 1;
        let mut table = ListTable::new(columns);
        let mut failures = ClusterErrors::new(self.manager);
        for (cluster, answer) in &self.responses {
            let lead = if several { vec![to_json_text(&cluster.settings().name)] } else { vec![] };
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
        failures.fail_if_all(self.responses.len())?;
        let mut text = String::with_capacity(64 + table.len() * 96);
        summary(&mut text, &table);
        let summary_end = text.trim_end().len();
        let summary = text.get(..summary_end).unwrap_or_default().to_owned();
        let mut structured = String::from("{");
        if !summary.is_empty() {
            let _ = write!(structured, "\"summary\":{},", to_json_text(&summary));
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
        Ok(ToolOutput::with_structured(text, structured))
    }
}

/// Guests first, by number; then nodes, storages and the rest by name.
fn resource_sort_key<'r>(row: &'r TableRow<'_>) -> SortKey<'r> {
    let (group, name) = (row.text("cluster"), row.text("id"));
    let (rank, number) = match name.split_once('/') {
        Some(("qemu" | "lxc", vmid)) => (0, vmid.parse().unwrap_or(u64::MAX)),
        Some(("node", _)) => (1, 0),
        Some(("storage", _)) => (2, 0),
        _ => (3, 0),
    };
    SortKey { group, rank, number, name }
}

/// One line of guests and one of capacity, each only where there is something to count.
fn summarise(text: &mut String, table: &ListTable<'_>) {
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
