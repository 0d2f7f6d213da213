//! `list_clusters`: what is configured, and on request whether it answers. Also what the list tools share: which
//! clusters a call means, and asking them side by side.

use crate::base::cancel::CancelToken;
use crate::base::hint::render_error;
use crate::base::json_scan::{find_string, walk};
use crate::call::state::{ToolCall, ToolState};
use crate::mcp::arguments::{ParameterKind, ToolArguments, ToolParameter};
use crate::mcp::catalog::{Tool, ToolEffect, ToolError, ToolInput, ToolOutput};
use crate::pve::Method;
use crate::pve::client::cluster::Cluster;
use crate::pve::client::manager::ClusterManager;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::render::table::{CellFormat, Column, ListTable, SortKey, to_json_text};
use std::borrow::Cow;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::thread;

const fn plain_column(key: &'static str) -> Column {
    Column { key, format: CellFormat::Plain }
}

const CLUSTER_COLUMNS: [Column; 10] = [
    plain_column("name"),
    plain_column("nodes"),
    plain_column("token"),
    plain_column("tls"),
    plain_column("default"),
    plain_column("status"),
    plain_column("version"),
    plain_column("online"),
    plain_column("nodes_down"),
    plain_column("error"),
];

/// The tool `list_clusters(check?)`.
pub fn list_clusters(state: Arc<ToolState>) -> Tool {
    Tool {
        name: "list_clusters",
        title: "List clusters",
        description: "The configured Proxmox VE clusters: name, node addresses, API user and token, TLS mode, which is \
            the default. With check: also whether each answers, its version, how many of its nodes are online and which of \
            their addresses don't answer us (nodes_down).",
        input: ToolInput::Parameters(&[ToolParameter {
            name: "check",
            kind: ParameterKind::Flag,
            required: false,
            description: "ask every cluster now (default: false, no network)",
        }]),
        effect: ToolEffect::ReadOnly,
        handler: Box::new(move |context, args| {
            state.run_call(context, "list_clusters", &|call| {
                let (text, structured) = match args.flag("check") {
                    false => call.cluster_list.clone(),
                    true => {
                        let health = |cluster: &Cluster, cancel: &CancelToken| check_health(call, cluster, cancel);
                        render_clusters(call.manager, Some(fan_out(call.manager.clusters(), &context.cancel, health)))
                    }
                };
                Ok(ToolOutput::with_structured(text, structured))
            })
        }),
    }
}

/// The clusters, in the order of the file, as text and as JSON; with their health where they were asked.
pub(crate) fn render_clusters(
    manager: &ClusterManager,
    health: Option<Vec<Result<ClusterHealth, String>>>,
) -> (String, String) {
    let default = manager.default_cluster().map(|c| c.settings().name.as_str());
    let mut health = health.into_iter().flatten();
    let mut table = ListTable::new(&CLUSTER_COLUMNS);
    for cluster in manager.clusters() {
        let s = cluster.settings();
        let nodes: Vec<String> = s.endpoints.iter().map(ToString::to_string).collect();
        let mut row = vec![
            Some(to_json_text(&s.name)),
            Some(to_json_text(&nodes.join(","))),
            Some(to_json_text(&format!("{}!{}", s.user, s.token_id))),
            Some(to_json_text(s.tls_mode())),
            (default == Some(s.name.as_str())).then_some(Cow::Borrowed("true")),
        ];
        let down = || {
            let down = cluster.node_states().into_iter().filter_map(|state| Some(state.backoff?.to_string()));
            let down: Vec<String> = down.collect();
            (!down.is_empty()).then(|| to_json_text(&down.join("; ")))
        };
        match health.next() {
            None => {}
            Some(Ok(h)) => {
                row.extend([
                    Some(to_json_text("ok")),
                    Some(to_json_text(&h.version)),
                    Some(to_json_text(&h.online)),
                    down(),
                ]);
            }
            Some(Err(e)) => row.extend([Some(to_json_text("error")), None, None, down(), Some(to_json_text(&e))]),
        }
        table.push(row);
    }
    let mut text = String::new();
    let members = table.write(&mut text, |_| SortKey::default());
    (text, format!("{{{members}}}"))
}

pub(crate) struct ClusterHealth {
    version: String,
    /// `2/3`: online of all.
    online: String,
}

fn check_health(call: ToolCall<'_>, cluster: &Cluster, cancel: &CancelToken) -> Result<ClusterHealth, String> {
    let read = |path| {
        let (path, params) = (ApiPath::from_static(path), ApiParams::new());
        let answer = call.get_audited(cluster, &path, &params, || cluster.call(Method::Get, &path, &params, cancel));
        answer.map(|answer| call.redact_response(cluster, answer))
    };
    let odd = |path| format!("the answer to GET {path} is not as Proxmox gives it");
    let version = find_string(read("/version")?.data(), "version").ok_or_else(|| odd("/version"))?.into_owned();
    let (mut online, mut all) = (0, 0);
    let answer = read("/nodes")?;
    let rows = walk(answer.data(), &mut |_, row| {
        all += 1;
        online += usize::from(find_string(row, "status").is_some_and(|status| status == "online"));
        row.starts_with('{')
    });
    if !rows {
        return Err(odd("/nodes"));
    }
    Ok(ClusterHealth { version, online: format!("{online}/{all}") })
}

/// What a call that failed says: where there are several clusters, also of which one it speaks.
pub(crate) fn prefix_cluster(manager: &ClusterManager, cluster: &Cluster, error: &dyn Display) -> String {
    match manager.clusters().len() {
        1 => error.to_string(),
        _ => format!("cluster {}: {error}", cluster.settings().name),
    }
}

/// The clusters that failed, to stand beside what the others answered.
pub(crate) struct ClusterErrors<'a> {
    manager: &'a ClusterManager,
    errors: Vec<(&'a Cluster, String)>,
}

impl<'a> ClusterErrors<'a> {
    pub(crate) fn new(manager: &'a ClusterManager) -> Self {
        Self { manager, errors: Vec::new() }
    }

    pub(crate) fn push(&mut self, cluster: &'a Cluster, why: String) {
        self.errors.push((cluster, why));
    }

    /// Only where each of the `asked` clusters failed is the whole a failure.
    pub(crate) fn fail_if_all(&self, queried: usize) -> Result<(), ToolError> {
        if self.errors.len() < queried {
            return Ok(());
        }
        let explained: Vec<_> =
            self.errors.iter().map(|(cluster, why)| prefix_cluster(self.manager, cluster, why)).collect();
        Err(ToolError::Failed(explained.join("\n")))
    }

    /// Adds a line each to `text`, and to the members of a JSON object `errors`, if there are any.
    pub(crate) fn write(&self, text: &mut String, structured: &mut String) {
        for (n, (cluster, why)) in self.errors.iter().enumerate() {
            let _ = writeln!(text, "{}", prefix_cluster(self.manager, cluster, why));
            structured.push_str(if n == 0 { ",\"errors\":[" } else { "," });
            let name = to_json_text(&cluster.settings().name);
            let _ = write!(structured, "{{\"cluster\":{name},\"error\":{}}}", to_json_text(why));
        }
        if !self.errors.is_empty() {
            structured.push(']');
        }
    }
}

/// The clusters a list tool means: the one named, else all.
pub(crate) fn select_clusters(manager: &ClusterManager, args: &ToolArguments) -> Result<Vec<Arc<Cluster>>, String> {
    match args.text("cluster") {
        Some(name) => Ok(vec![manager.select(Some(name)).map_err(|error| render_error(&error))?.clone()]),
        None => Ok(manager.clusters().to_vec()),
    }
}

/// Asks every cluster at the same time and gives the answers in the clusters' order. A single one is asked on this
/// thread; so is one for which no thread can be had.
pub(crate) fn fan_out<T: Send>(
    clusters: &[Arc<Cluster>],
    cancel: &CancelToken,
    query: impl Fn(&Cluster, &CancelToken) -> T + Sync,
) -> Vec<T> {
    if let [one] = clusters {
        return vec![query(one, cancel)];
    }
    let ask = &query;
    thread::scope(|scope| {
        let asked: Vec<_> = clusters
            .iter()
            .map(|cluster| {
                let part = cancel.child_token();
                let thread = thread::Builder::new().name("fan-out".into());
                let spawned = {
                    let part = part.clone();
                    thread.spawn_scoped(scope, move || ask(cluster, &part))
                };
                (cluster, part, spawned)
            })
            .collect();
        asked
            .into_iter()
            .map(|(cluster, part, spawned)| match spawned {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => ask(cluster, &part),
            })
            .collect()
    })
}
