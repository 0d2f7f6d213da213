//! Where a thing is in its cluster: a guest's node and kind from its number or name, a task's node from its UPID, the
//! only node where there is only one.

use crate::cancel::Cancel;
use crate::json::{text, walk};
use crate::pve::Method;
use crate::pve::cluster::Cluster;
use crate::pve::guests::{self, Guest};
use crate::pve::params::Params;
use crate::pve::path::{ApiPath, is_placeholder};
use crate::pve::task::Upid;

/// The path with what it leaves open filled in, and what can't be right put right; `notes` says what was changed. It
/// may start at the guest (`/qemu/100/config`), have `{node}` for a node, and a name for a guest's number. The guests are
/// looked up only where that is needed, or where `look` asks for it. The error says what to write.
pub(super) fn fill_in(
    cluster: &Cluster,
    path: &ApiPath,
    look: bool,
    cancel: &Cancel,
    notes: &mut Vec<String>,
) -> Result<ApiPath, String> {
    let mut segments: Vec<String> = path.segments().map(|s| s.into_owned()).collect();
    let text = |segments: &[String], at: usize| segments.get(at).cloned().unwrap_or_default();
    if matches!(text(&segments, 0).as_str(), "qemu" | "lxc") && segments.len() > 1 {
        segments.splice(0..0, ["nodes".to_owned(), "{node}".to_owned()]);
    }
    if text(&segments, 0) != "nodes" {
        return ApiPath::of_segments(&segments);
    }
    let node = text(&segments, 1);
    let open = is_placeholder(&node);
    let (topic, what) = (text(&segments, 2), text(&segments, 3));
    if matches!(topic.as_str(), "qemu" | "lxc") && !what.is_empty() && !is_placeholder(&what) {
        let numbered = what.bytes().all(|b| b.is_ascii_digit());
        if open || !numbered || look {
            match find(cluster, &what, cancel) {
                Ok(guest) => {
                    if !open && (guest.node != node || guest.kind.as_str() != topic) {
                        notes.push(format!(
                            "{what} is {}/{} on {}, so it was asked for there",
                            guest.kind.as_str(),
                            guest.vmid,
                            guest.node
                        ));
                    }
                    let right = [guest.node, guest.kind.as_str().to_owned(), guest.vmid.to_string()];
                    segments.splice(1..4, right);
                }
                // The list lags behind by some seconds, and the token may not see all: Proxmox judges.
                Err(_) if numbered && !open => {}
                Err(why) => return Err(why),
            }
        }
    } else if topic == "tasks"
        && let Ok(upid) = Upid::parse(&what)
        && upid.node != node
    {
        if !open {
            notes.push(format!("the task ran on {}, so it was asked for there", upid.node));
        }
        segments.splice(1..2, [upid.node]);
    } else if open {
        segments.splice(1..2, [only_node(cluster, cancel)?]);
    }
    ApiPath::of_segments(&segments)
}

fn find(cluster: &Cluster, what: &str, cancel: &Cancel) -> Result<Guest, String> {
    let guests = guests::list(cluster, cancel).map_err(|e| e.to_string())?;
    let guest = guests::find(&guests, what).map_err(|miss| miss.to_string())?;
    if guest.node.is_empty() {
        return Err(format!("the API token may not see on which node guest {what} is: it needs VM.Audit on /vms"));
    }
    Ok(guest.clone())
}

/// The name of the only node of a cluster; where there are more, the error names them.
fn only_node(cluster: &Cluster, cancel: &Cancel) -> Result<String, String> {
    match nodes(cluster, cancel).map_err(|e| e.to_string())?.as_slice() {
        [(only, _)] => Ok(only.clone()),
        [] => Err("the node is missing in the path, and the token sees none".into()),
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
            Err(format!("which node? Put one of {} in the place of {{node}}", names.join(", ")))
        }
    }
}

/// Names and states of the nodes.
pub(super) fn nodes(cluster: &Cluster, cancel: &Cancel) -> Result<Vec<(String, String)>, crate::pve::error::Error> {
    let answer = cluster.call(Method::Get, &ApiPath::known("/nodes"), &Params::new(), cancel)?;
    let mut nodes = Vec::new();
    walk(answer.data(), &mut |_, row| {
        if let Some(node) = text(row, "node") {
            nodes.push((node.into_owned(), text(row, "status").unwrap_or_default().into_owned()));
        }
        true
    });
    Ok(nodes)
}
