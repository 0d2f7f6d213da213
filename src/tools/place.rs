//! Where a thing is in its cluster: a guest's node and kind from its number or name, a task's node from its UPID, the
//! only node where there is only one.

use super::desk::{Unseen, Visit};
use crate::audit::Event;
use crate::cancel::Cancel;
use crate::json::{text, walk};
use crate::pve::Method;
use crate::pve::cluster::Cluster;
use crate::pve::error::Error;
use crate::pve::guests::{self, Guest};
use crate::pve::params::Params;
use crate::pve::path::{ApiPath, is_placeholder};
use crate::pve::schema::Operation;
use crate::pve::task::Upid;
use serde_json::{Map, Value};
use std::sync::OnceLock;

/// A cluster as one tool call sees it: its guests are asked for once, and only if somebody has to know.
pub(super) struct Sight<'a> {
    visit: Visit<'a>,
    cluster: &'a Cluster,
    cancel: &'a Cancel,
    guests: OnceLock<Result<Vec<Guest>, Trouble>>,
    nodes: OnceLock<Result<Vec<(String, String)>, String>>,
}

/// Why the guests aren't known.
#[derive(Clone)]
struct Trouble {
    text: String,
    /// Whether no other call would fare better.
    cut_off: bool,
}

/// A path that is whole.
pub(super) struct Place {
    /// It.
    pub(super) path: ApiPath,
    /// What was filled in, as a clause.
    pub(super) note: Option<String>,
    /// Whether something that was typed is not what is sent.
    pub(super) corrected: bool,
    /// Whether a container was named where there is a VM, or the other way round.
    pub(super) other_kind: bool,
}

/// A path that starts at a guest (`/qemu/web01/config`) or at a task, from the top.
pub(super) fn from_the_top(path: &ApiPath) -> Result<ApiPath, String> {
    let mut segments: Vec<String> = path.segments().map(|s| s.into_owned()).collect();
    let topic = match (segments.first().map(String::as_str), segments.len()) {
        (Some("qemu" | "vm"), 2..) => "qemu",
        (Some("lxc" | "ct"), 2..) => "lxc",
        (Some("tasks"), 2..) => "tasks",
        _ => return Ok(path.clone()),
    };
    segments.splice(0..1, ["nodes", "{node}", topic].map(str::to_owned));
    ApiPath::of_segments(&segments)
}

impl<'a> Sight<'a> {
    /// Nothing has been asked yet.
    pub(super) fn new(visit: Visit<'a>, cluster: &'a Cluster, cancel: &'a Cancel) -> Self {
        Self { visit, cluster, cancel, guests: OnceLock::new(), nodes: OnceLock::new() }
    }

    fn guests(&self) -> Result<&[Guest], &Trouble> {
        let known = self.guests.get_or_init(|| {
            let (path, mut params) = (ApiPath::known("/cluster/resources"), Params::new());
            params.push("type", "vm");
            let look = || guests::list(self.cluster, self.cancel);
            self.visit.see(Event::Look, self.cluster, &path, &params, look).map_err(|unseen| match unseen {
                Unseen::Refused(why) => {
                    Trouble { text: format!("GET {path}, which finds it, was {why}"), cut_off: false }
                }
                Unseen::Failed(e) => Trouble {
                    cut_off: !matches!(e, Error::Failed { .. } | Error::Forbidden { .. } | Error::Rejected { .. }),
                    text: self.visit.shown(self.cluster, e.to_string()),
                },
            })
        });
        known.as_deref()
    }

    /// Names and states of the nodes. The error is a clause.
    pub(super) fn nodes(&self) -> Result<&[(String, String)], &str> {
        let known = self.nodes.get_or_init(|| nodes(self.visit, self.cluster, self.cancel));
        known.as_deref().map_err(String::as_str)
    }

    /// Every guest that the token sees. The error is a clause.
    pub(super) fn known(&self) -> Result<&[Guest], &str> {
        self.guests().map_err(|trouble| trouble.text.as_str())
    }

    fn guest(&self, what: &str) -> Result<&Guest, Trouble> {
        let trouble = |text| Trouble { text, cut_off: false };
        let guest = guests::find(self.guests().map_err(Trouble::clone)?, what).map_err(|e| trouble(e.to_string()))?;
        if guest.node.is_empty() {
            return Err(trouble(format!(
                "the API token may not see on which node guest {what} is: it needs VM.Audit on /vms"
            )));
        }
        Ok(guest)
    }

    /// The path with what it leaves open filled in, and what can't be right put right. It may start at the guest, have
    /// `{node}` for a node, and a name for a guest's number. The guests are looked up only where that is needed, or where
    /// `look` asks for it. The error says what to write.
    pub(super) fn fill_in(&self, path: &ApiPath, look: bool) -> Result<Place, String> {
        let path = from_the_top(path)?;
        let mut segments: Vec<String> = path.segments().map(|s| s.into_owned()).collect();
        let text = |at: usize| segments.get(at).cloned().unwrap_or_default();
        let (node, topic, what) = (text(1), text(2), text(3));
        let below_a_node = text(0) == "nodes";
        // (PVE: `localhost` is whichever node is asked, so that nobody could say which one it would be.)
        let open = below_a_node && (is_placeholder(&node) || node.eq_ignore_ascii_case("localhost"));
        if let Some(left) = segments.iter().enumerate().find(|(n, s)| is_placeholder(s) && !(open && *n == 1)) {
            return Err(format!("`{}` is a placeholder: put the name or number it stands for in its place", left.1));
        }
        let mut place = Place { path, note: None, corrected: false, other_kind: false };
        if below_a_node && matches!(topic.as_str(), "qemu" | "lxc") && !what.is_empty() {
            let numbered = what.bytes().all(|b| b.is_ascii_digit());
            if open || !numbered || look {
                match self.guest(&what) {
                    Ok(guest) => {
                        let kind = guest.kind.as_str();
                        place.other_kind = kind != topic;
                        place.corrected = place.other_kind || (!open && guest.node != node);
                        place.note = Some(format!("{what} is {kind}/{} on {}", guest.vmid, guest.node));
                        segments.splice(1..4, [guest.node.clone(), kind.to_owned(), guest.vmid.to_string()]);
                    }
                    // The list lags behind by some seconds, and the token may not see all: Proxmox judges.
                    Err(trouble) if numbered && !open && !trouble.cut_off => {}
                    Err(trouble) => return Err(trouble.text),
                }
            }
        } else if below_a_node
            && topic == "tasks"
            && let Ok(upid) = Upid::parse(&what)
        {
            place.corrected = !open && upid.node != node;
            place.note = Some(format!("the task is one of {}", upid.node));
            let written = upid.to_string();
            segments.splice(1..4, [upid.node, topic, written]);
        } else if open {
            segments.splice(1..2, [self.only_node()?]);
        }
        let whole = ApiPath::of_segments(&segments)?;
        if whole.segments().any(|segment| is_placeholder(&segment)) {
            return Err("the cluster gives a node a name that no node can have".into());
        }
        if whole == place.path {
            place.note = None;
        }
        Ok(Place { path: whole, ..place })
    }

    /// The name of the only node; where there are more, the error names them.
    fn only_node(&self) -> Result<String, String> {
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
    pub(super) fn number_guests(&self, operation: &Operation<'_>, data: &mut Map<String, Value>) -> Result<(), String> {
        for (name, value) in data.iter_mut() {
            let format = operation.parameter(name).map_or("", |p| p.format());
            if !matches!(format, "pve-vmid" | "pve-vmid-list") || operation.in_path(name) || is_new(operation, name) {
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
                let number =
                    |part| self.guest(part).map(|g| g.vmid.to_string()).map_err(|e| format!("`{name}`: {}", e.text));
                *item = parts().map(number).collect::<Result<Vec<_>, String>>()?.join(",").into();
            }
        }
        Ok(())
    }
}

/// Whether this is the number of a guest to be made, or of one in another cluster.
fn is_new(operation: &Operation<'_>, name: &str) -> bool {
    let template = operation.template();
    match name {
        "newid" => true,
        "vmid" => ["/qemu", "/lxc", "/nextid"].iter().any(|end| template.ends_with(end)),
        "target-vmid" => template.ends_with("/remote_migrate"),
        _ => false,
    }
}

/// Names and states of the nodes.
pub(super) fn nodes(visit: Visit<'_>, cluster: &Cluster, cancel: &Cancel) -> Result<Vec<(String, String)>, String> {
    let (path, params) = (ApiPath::known("/nodes"), Params::new());
    let answer = visit.look(cluster, &path, &params, || cluster.call(Method::Get, &path, &params, cancel))?;
    let mut nodes = Vec::new();
    walk(answer.data(), &mut |_, row| {
        if let Some(node) = text(row, "node").filter(|node| !node.is_empty()) {
            nodes.push((node.into_owned(), text(row, "status").unwrap_or_default().into_owned()));
        }
        true
    });
    Ok(nodes)
}
