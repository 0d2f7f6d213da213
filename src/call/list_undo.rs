//! The undos of a list without those of objects that the list itself removes.

use super::earlier_calls::normalize;
use super::planned_call::PlannedCall;
use crate::pve::Method;
use crate::pve::path::ApiPath;
use crate::render::undo::UndoCall;

/// The objects that a call makes and removes, by their normalized paths.
#[derive(Clone, Default)]
pub(super) struct ObjectLife {
    made: Option<Vec<String>>,
    removed: Option<Vec<String>>,
}

impl ObjectLife {
    pub(super) fn of_call(call: &PlannedCall<'_>) -> Self {
        Self { made: find_made(call), removed: find_removed(call) }
    }
}

fn find_made(call: &PlannedCall<'_>) -> Option<Vec<String>> {
    if call.method != Method::Post {
        return None;
    }
    let path = match call.created_guest() {
        Some(guest) => {
            ApiPath::from_segments(&["nodes", &guest.node, guest.kind.as_str(), &guest.vmid.to_string()]).ok()
        }
        None => call.find_created_path(),
    };
    path.map(|path| normalize(&path))
}

fn find_removed(call: &PlannedCall<'_>) -> Option<Vec<String>> {
    let template = call.operation.template.as_deref().filter(|_| call.method == Method::Delete)?;
    if template == "/pools" {
        return Some(vec!["pools".to_owned(), call.param("poolid")?.to_owned()]);
    }
    template.ends_with('}').then(|| normalize(&call.path))
}

/// Returns the number of the guest at a normalized path.
fn find_guest(path: &[String]) -> Option<&str> {
    match path {
        [nodes, _, kind, vmid] if nodes == "nodes" && matches!(kind.as_str(), "qemu" | "lxc") => Some(vmid),
        _ => None,
    }
}

/// Returns whether an undo is about the HA resource, the replication or the pool of a guest, which needs the guest.
fn needs_guest(undo: &UndoCall, vmid: &str) -> bool {
    let path = normalize(&undo.path);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let is_named = |key: &str| {
        let number_of = |id: &str| id.split_once(':').map_or(id, |(_, number)| number).to_owned();
        undo.data.iter().any(|(name, id)| name == key && number_of(id) == vmid)
    };
    let is_own = match path.as_slice() {
        ["cluster", "ha", "resources", number, ..] => *number == vmid,
        ["cluster", "ha", "resources"] => is_named("sid"),
        ["cluster", "replication", job] => job.split_once('-').is_some_and(|(number, _)| number == vmid),
        ["pools", ..] => is_named("vms"),
        _ => false,
    };
    is_own && undo.more.iter().all(|call| needs_guest(call, vmid))
}

/// Discards the undos of what a later call of the list removes for good, and those of an object that the list makes and
/// removes again. Returns for each call whether it is about such
/// an object, so that nothing of it is left.
pub(super) fn discard_void_undos(lives: &[&ObjectLife], undos: &mut [Option<UndoCall>]) -> Vec<bool> {
    let (mut is_removed, mut is_moot) = (vec![false; lives.len()], vec![false; lives.len()]);
    for (at, life) in lives.iter().enumerate() {
        let Some(removed) = &life.removed else { continue };
        let is_below = |undo: &UndoCall| {
            normalize(&undo.path).starts_with(removed)
                || find_guest(removed).is_some_and(|vmid| needs_guest(undo, vmid))
        };
        let makes_it = |before: &usize| {
            let undo = undos[*before].as_ref().filter(|undo| undo.method == Method::Delete);
            let made = lives[*before].made.clone().or_else(|| undo.map(|undo| normalize(&undo.path)));
            !is_removed[*before] && made.as_ref() == Some(removed)
        };
        let first = match (0..at).rev().find(makes_it) {
            Some(maker) => {
                (is_removed[maker], undos[maker], undos[at]) = (true, None, None);
                (is_moot[maker], is_moot[at]) = (true, true);
                maker
            }
            // The undo of the removal brings the object back, as it was before the removal.
            None if undos[at].is_some() => continue,
            None => 0,
        };
        for earlier in first..at {
            if undos[earlier].as_ref().is_some_and(is_below) {
                undos[earlier] = None;
                is_moot[earlier] = is_moot[at];
            }
        }
    }
    is_moot
}
