//! `list_clusters`: what is configured, and on request whether it answers. Also what the list tools share: which
//! clusters a call means, and asking them side by side.

use super::desk::{Desk, Visit};
use super::shape::{Column, Show, Table, json_text};
use crate::cancel::Cancel;
use crate::json::{text, walk};
use crate::mcp::args::{Args, Kind, Param};
use crate::mcp::catalog::{Effect, Input, Output, Stop, Tool};
use crate::pve::Method;
use crate::pve::cluster::Cluster;
use crate::pve::manager::ClusterManager;
use crate::pve::params::Params;
use crate::pve::path::ApiPath;
use std::borrow::Cow;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::thread;

const fn plain(key: &'static str) -> Column {
    Column { key, show: Show::Plain }
}

const COLUMNS: [Column; 10] = [
    plain("name"),
    plain("nodes"),
    plain("token"),
    plain("tls"),
    plain("default"),
    plain("status"),
    plain("version"),
    plain("online"),
    plain("nodes_down"),
    plain("error"),
];

/// The tool `list_clusters(check?)`.
pub fn list_clusters(desk: Arc<Desk>) -> Tool {
    Tool {
        name: "list_clusters",
        title: "List clusters",
        description: "The configured Proxmox VE clusters: name, node addresses, API user and token, TLS mode, which is \
            the default. With check: also whether each answers, its version, how many of its nodes are online and which of \
            their addresses don't answer us (nodes_down).",
        input: Input::Params(&[Param {
            name: "check",
            kind: Kind::Flag,
            required: false,
            about: "ask every cluster now (default: false, no network)",
        }]),
        effect: Effect::Reads,
        run: Box::new(move |context, args| {
            desk.serve(context, "list_clusters", &|visit| {
                let (text, structured) = match args.flag("check") {
                    false => visit.listed.clone(),
                    true => {
                        let health = |cluster: &Cluster, cancel: &Cancel| health(visit, cluster, cancel);
                        table(visit.manager, Some(side_by_side(visit.manager.all(), &context.cancel, health)))
                    }
                };
                Ok(Output::table(text, structured))
            })
        }),
    }
}

/// The clusters, in the order of the file, as text and as JSON; with their health where they were asked.
pub(super) fn table(manager: &ClusterManager, health: Option<Vec<Result<Health, String>>>) -> (String, String) {
    let default = manager.default().map(|c| c.settings().name.as_str());
    let mut health = health.into_iter().flatten();
    let mut table = Table::new(&COLUMNS);
    for cluster in manager.all() {
        let s = cluster.settings();
        let nodes: Vec<String> = s.endpoints.iter().map(ToString::to_string).collect();
        let mut row = vec![
            Some(json_text(&s.name)),
            Some(json_text(&nodes.join(","))),
            Some(json_text(&format!("{}!{}", s.user, s.token_id))),
            Some(json_text(s.tls_mode())),
            (default == Some(s.name.as_str())).then_some(Cow::Borrowed("true")),
        ];
        let down = || {
            let down: Vec<String> = cluster.node_states().into_iter().filter_map(|(_, why)| why).collect();
            (!down.is_empty()).then(|| json_text(&down.join("; ")))
        };
        match health.next() {
            None => {}
            Some(Ok(h)) => {
                row.extend([Some(json_text("ok")), Some(json_text(&h.version)), Some(json_text(&h.online)), down()]);
            }
            Some(Err(e)) => row.extend([Some(json_text("error")), None, None, down(), Some(json_text(&e))]),
        }
        table.push(row);
    }
    let mut text = String::new();
    let members = table.write(&mut text, |_| ("", 0, 0, ""));
    (text, format!("{{{members}}}"))
}

pub(super) struct Health {
    version: String,
    /// `2/3`: online of all.
    online: String,
}

fn health(visit: Visit<'_>, cluster: &Cluster, cancel: &Cancel) -> Result<Health, String> {
    let read = |path| {
        let (path, params) = (ApiPath::known(path), Params::new());
        let answer = visit.read(cluster, &path, &params, || cluster.call(Method::Get, &path, &params, cancel));
        answer.map(|answer| visit.answered(cluster, answer))
    };
    let odd = |path| format!("the answer to GET {path} is not as Proxmox gives it");
    let version = text(read("/version")?.data(), "version").ok_or_else(|| odd("/version"))?.into_owned();
    let (mut online, mut all) = (0, 0);
    let answer = read("/nodes")?;
    let rows = walk(answer.data(), &mut |_, row| {
        all += 1;
        online += usize::from(text(row, "status").is_some_and(|status| status == "online"));
        row.starts_with('{')
    });
    if !rows {
        return Err(odd("/nodes"));
    }
    Ok(Health { version, online: format!("{online}/{all}") })
}

/// What a call that failed says: where there are several clusters, also of which one it speaks.
pub(super) fn told(manager: &ClusterManager, cluster: &Cluster, error: &dyn Display) -> String {
    match manager.all().len() {
        1 => error.to_string(),
        _ => format!("cluster {}: {error}", cluster.settings().name),
    }
}

/// The clusters that failed, to stand beside what the others answered.
pub(super) struct Failures<'a> {
    manager: &'a ClusterManager,
    list: Vec<(&'a Cluster, String)>,
}

impl<'a> Failures<'a> {
    pub(super) fn new(manager: &'a ClusterManager) -> Self {
        Self { manager, list: Vec::new() }
    }

    pub(super) fn push(&mut self, cluster: &'a Cluster, why: String) {
        self.list.push((cluster, why));
    }

    /// Only where each of the `asked` clusters failed is the whole a failure.
    pub(super) fn unless_all(&self, asked: usize) -> Result<(), Stop> {
        if self.list.len() < asked {
            return Ok(());
        }
        let explained: Vec<_> = self.list.iter().map(|(cluster, why)| told(self.manager, cluster, why)).collect();
        Err(Stop::Failed(explained.join("\n")))
    }

    /// Adds a line each to `text`, and to the members of a JSON object `errors`, if there are any.
    pub(super) fn write(&self, text: &mut String, structured: &mut String) {
        for (n, (cluster, why)) in self.list.iter().enumerate() {
            let _ = writeln!(text, "{}", told(self.manager, cluster, why));
            structured.push_str(if n == 0 { ",\"errors\":[" } else { "," });
            let name = json_text(&cluster.settings().name);
            let _ = write!(structured, "{{\"cluster\":{name},\"error\":{}}}", json_text(why));
        }
        if !self.list.is_empty() {
            structured.push(']');
        }
    }
}

/// The clusters a list tool means: the one named, else all.
pub(super) fn meant(manager: &ClusterManager, args: &Args) -> Result<Vec<Arc<Cluster>>, String> {
    match args.text("cluster") {
        Some(name) => Ok(vec![manager.select(Some(name))?.clone()]),
        None => Ok(manager.all().to_vec()),
    }
}

/// Asks every cluster at the same time and gives the answers in the clusters' order. A single one is asked on this
/// thread; so is one for which no thread can be had.
pub(super) fn side_by_side<T: Send>(
    clusters: &[Arc<Cluster>],
    cancel: &Cancel,
    ask: impl Fn(&Cluster, &Cancel) -> T + Sync,
) -> Vec<T> {
    if let [one] = clusters {
        return vec![ask(one, cancel)];
    }
    let ask = &ask;
    thread::scope(|scope| {
        let asked: Vec<_> = clusters
            .iter()
            .map(|cluster| {
                let part = cancel.child();
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
