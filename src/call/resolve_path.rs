//! Where a thing is in its cluster: a guest's node and kind from its number or name, a task's node from its UPID, the
//! only node where there is only one.

use crate::audit::AuditEvent;
use crate::base::cancel::CancelToken;
use crate::base::hint::render_error;
use crate::base::json_scan::{find_string, walk};
use crate::call::state::{LookupError, ToolCall};
use crate::pve::Method;
use crate::pve::client::cluster::Cluster;
use crate::pve::error::PveError;
use crate::pve::guests::{self, Guest};
use crate::pve::params::ApiParams;
use crate::pve::path::{ApiPath, is_placeholder};
use crate::pve::schema::Operation;
use crate::pve::task::Upid;
use serde_json::{Map, Value};
use std::sync::OnceLock;

/// A cluster as one tool call sees it: its guests are asked for once, and only if somebody has to know.
pub(crate) struct ClusterLookup<'a> {
    call: ToolCall<'a>,
    cluster: &'a Cluster,
    cancel: &'a CancelToken,
    guests: OnceLock<Result<Vec<Guest>, GuestResolutionError>>,
    nodes: OnceLock<Result<Vec<(String, String)>, String>>,
}

/// Why the guests aren't known.
#[derive(Clone)]
struct GuestResolutionError {
    text: String,
    /// Whether no other call would fare better.
    cluster_unreachable: bool,
}

/// A path that is whole.
pub(crate) struct ResolvedPath {
    /// It.
    pub(crate) path: ApiPath,
    /// What was filled in, as a clause.
    pub(crate) note: Option<String>,
    /// Whether something that was typed is not what is sent.
    pub(crate) corrected: bool,
    /// Whether a container was named where there is a VM, or the other way round.
    pub(crate) kind_corrected: bool,
}

/// A path that starts at a guest (`/qemu/web01/config`) or at a task, from the top.
pub(crate) fn expand_shorthand(path: &ApiPath) -> Result<ApiPath, String> {
    let mut segments: Vec<String> = path.segments().map(|s| s.into_owned()).collect();
    let topic = match (segments.first().map(String::as_str), segments.len()) {
        (Some("qemu" | "vm"), 2..) => "qemu",
        (Some("lxc" | "ct"), 2..) => "lxc",
        (Some("tasks"), 2..) => "tasks",
        _ => return Ok(path.clone()),
    };
    segments.splice(0..1, ["nodes", "{node}", topic].map(str::to_owned));
    ApiPath::from_segments(&segments).map_err(|error| render_error(&error))
}

impl<'a> ClusterLookup<'a> {
    /// Nothing has been asked yet.
    pub(crate) fn new(call: ToolCall<'a>, cluster: &'a Cluster, cancel: &'a CancelToken) -> Self {
        Self { call, cluster, cancel, guests: OnceLock::new(), nodes: OnceLock::new() }
    }

    fn list_guests(&self) -> Result<&[Guest], &GuestResolutionError> {
        let known = self.guests.get_or_init(|| {
            let (path, mut params) = (ApiPath::from_static("/cluster/resources"), ApiParams::new());
            params.push("type", "vm");
            let list = || guests::list_guests(self.cluster, self.cancel);
            self.call.get_with_event(AuditEvent::Lookup, self.cluster, &path, &params, list).map_err(
                |error| match error {
                    LookupError::Denied(why) => GuestResolutionError {
                        text: format!("GET {path}, which finds it, was {why}"),
                        cluster_unreachable: false,
                    },
                    LookupError::Failed(e) => GuestResolutionError {
                        cluster_unreachable: !matches!(
                            e,
                            PveError::Failed { .. } | PveError::Forbidden { .. } | PveError::ParametersRejected { .. }
                        ),
                        text: self.call.redact(self.cluster, render_error(&e)),
                    },
                },
            )
        });
        known.as_deref()
    }

    /// Names and states of the nodes. The error is a clause.
    pub(crate) fn nodes(&self) -> Result<&[(String, String)], &str> {
        let known = self.nodes.get_or_init(|| fetch_nodes(self.call, self.cluster, self.cancel));
        known.as_deref().map_err(String::as_str)
    }

    /// Every guest that the token sees. The error is a clause.
    pub(crate) fn visible_guests(&self) -> Result<&[Guest], &str> {
        self.list_guests().map_err(|error| error.text.as_str())
    }

    fn find_guest(&self, what: &str) -> Result<&Guest, GuestResolutionError> {
        let error = |text| GuestResolutionError { text, cluster_unreachable: false };
        let guest = guests::find_guest(self.list_guests().map_err(GuestResolutionError::clone)?, what)
            .map_err(|e| error(render_error(&e)))?;
        if guest.node.is_empty() {
            return Err(error(format!(
                "the API token may not see on which node guest {what} is: it needs VM.Audit on /vms"
            )));
        }
        Ok(guest)
    }

    /// The path with what it leaves open filled in, and what can't be right put right. It may start at the guest, have
    /// `{node}` for a node, and a name for a guest's number. The guests are looked up only where that is needed, or where
    /// `look` asks for it. The error says what to write.
    pub(crate) fn resolve(&self, path: &ApiPath, verify_guest: bool) -> Result<ResolvedPath, String> {
        let path = expand_shorthand(path)?;
        let mut segments: Vec<String> = path.segments().map(|s| s.into_owned()).collect();
        let text = |at: usize| segments.get(at).cloned().unwrap_or_default();
        let (node, topic, what) = (text(1), text(2), text(3));
        let below_a_node = text(0) == "nodes";
        // (PVE: `localhost` is whichever node is asked, so that nobody could say which one it would be.)
        let open = below_a_node && (is_placeholder(&node) || node.eq_ignore_ascii_case("localhost"));
        if let Some(left) = segments.iter().enumerate().find(|(n, s)| is_placeholder(s) && !(open && *n == 1)) {
            return Err(format!("`{}` is a placeholder: put the name or number it stands for in its place", left.1));
        }
        let mut resolved = ResolvedPath { path, note: None, corrected: false, kind_corrected: false };
        if below_a_node && matches!(topic.as_str(), "qemu" | "lxc") && !what.is_empty() {
            let numbered = what.bytes().all(|b| b.is_ascii_digit());
            if open || !numbered || verify_guest {
                match self.find_guest(&what) {
                    Ok(guest) => {
                        let kind = guest.kind.as_str();
                        resolved.kind_corrected = kind != topic;
                        resolved.corrected = resolved.kind_corrected || (!open && guest.node != node);
                        resolved.note = Some(format!("{what} is {kind}/{} on {}", guest.vmid, guest.node));
                        segments.splice(1..4, [guest.node.clone(), kind.to_owned(), guest.vmid.to_string()]);
                    }
                    // The list lags behind by some seconds, and the token may not see all: Proxmox judges.
                    Err(error) if numbered && !open && !error.cluster_unreachable => {}
                    Err(error) => return Err(error.text),
                }
            }
        } else if below_a_node
            && topic == "tasks"
            && let Ok(upid) = Upid::parse(&what)
        {
            resolved.corrected = !open && upid.node != node;
            resolved.note = Some(format!("the task is one of {}", upid.node));
            let written = upid.to_string();
            segments.splice(1..4, [upid.node, topic, written]);
        } else if open {
            segments.splice(1..2, [self.require_only_node()?]);
        }
        let whole = ApiPath::from_segments(&segments).map_err(|error| render_error(&error))?;
        if whole.segments().any(|segment| is_placeholder(&segment)) {
            return Err("the cluster gives a node a name that no node can have".into());
        }
        if whole == resolved.path {
            resolved.note = None;
        }
        Ok(ResolvedPath { path: whole, ..resolved })
    }

    /// The name of the only node; where there are more, the error names them.
    fn require_only_node(&self) -> Result<String, String> {
        match self.nodes()? {
            [(only, _)] => Ok(only.clone()),
            [] => Err("the node is missing in the path, and the token sees none".into()),
            several => {
                let names: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
                Err(format!("which node? Put one of {} in the place of {{node}}", names.join(", ")))
            }
        }
    }

    /// Numbers for the names of guests in `data`, where the operation wants numbers of guests that are there.
    pub(crate) fn resolve_guest_names(
        &self,
        operation: &Operation<'_>,
        data: &mut Map<String, Value>,
    ) -> Result<(), String> {
        for (name, value) in data.iter_mut() {
            let format = operation.parameter(name).map_or("", |p| p.format());
            if !matches!(format, "pve-vmid" | "pve-vmid-list")
                || operation.is_path_parameter(name)
                || is_new_guest_number(operation, name)
            {
                continue;
            }
            let items = match value {
                Value::Array(items) => items.as_mut_slice(),
                one => std::slice::from_mut(one),
            };
            for item in items {
                // (PVE: a list is split at commas, semicolons and white space.)
                let Some(text) = item.as_str() else { continue };
                let parts = || text.split([',', ';', ' ', '\t', '\n']).filter(|part| !part.is_empty());
                if parts().all(|part| part.bytes().all(|b| b.is_ascii_digit())) {
                    continue;
                }
                let number = |part| {
                    self.find_guest(part).map(|g| g.vmid.to_string()).map_err(|e| format!("`{name}`: {}", e.text))
                };
                *item = parts().map(number).collect::<Result<Vec<_>, String>>()?.join(",").into();
            }
        }
        Ok(())
    }
}

/// Whether this is the number of a guest to be made, or of one in another cluster.
fn is_new_guest_number(operation: &Operation<'_>, name: &str) -> bool {
    let template = operation.template();
    match name {
        "newid" => true,
        "vmid" => ["/qemu", "/lxc", "/nextid"].iter().any(|end| template.ends_with(end)),
        "target-vmid" => template.ends_with("/remote_migrate"),
        _ => false,
    }
}

/// Names and states of the nodes.
pub(crate) fn fetch_nodes(
    call: ToolCall<'_>,
    cluster: &Cluster,
    cancel: &CancelToken,
) -> Result<Vec<(String, String)>, String> {
    let (path, params) = (ApiPath::from_static("/nodes"), ApiParams::new());
    let answer = call.get_for_lookup(cluster, &path, &params, || cluster.call(Method::Get, &path, &params, cancel))?;
    let mut nodes = Vec::new();
    walk(answer.data(), &mut |_, row| {
        if let Some(node) = find_string(row, "node").filter(|node| !node.is_empty()) {
            nodes.push((node.into_owned(), find_string(row, "status").unwrap_or_default().into_owned()));
        }
        true
    });
    Ok(nodes)
}
