//! The undo of changes of a VM's disks, as far as their volumes are still there.

use super::planned_call::PlannedCall;
use super::present_state::PathGuest;
use crate::base::list_text::list_items;
use crate::pve::Method;
use crate::pve::guests::GuestKind;
use crate::render::object_state::{has_disk_name, is_own_disk, to_text};
use crate::render::undo::UndoCall;
use serde_json::{Map, Value};

/// The most unused disks of a VM.
const MAX_UNUSED: usize = 256;

/// The remark on the undo of a move that keeps the old volume.
const KEEPS_COPY: &str = "the new copy stays as an unused disk";

/// The options that bring a disk back.
#[derive(Default)]
pub(super) struct DiskUndo {
    pub(super) data: Vec<(String, String)>,
    pub(super) unset: Vec<String>,
}

/// Returns the options that bring the present value of a disk back. `new` is its value after the change, `None` if it is
/// detached. Returns `None` if a volume would be lost, or left over.
pub(super) fn undo_disk_option(
    kind: GuestKind,
    now: &Map<String, Value>,
    name: &str,
    new: Option<&str>,
) -> Option<DiskUndo> {
    // (PVE: a volume that a VM uses again is no unused one any more.)
    if kind != GuestKind::Qemu || name.starts_with("unused") {
        return None;
    }
    let old = now.get(name).filter(|value| !value.is_null()).map(to_text);
    let mut undo = DiskUndo::default();
    match (old, new) {
        (Some(old), None) => {
            // (PVE: a detached disk leaves the boot order.)
            let boot = now.get("boot").map(to_text).unwrap_or_default();
            let order = boot.split_once("order=").map_or("", |(_, order)| order);
            if order.split([';', ',']).any(|device| device == name) {
                undo.data.push(("boot".into(), boot));
            }
            undo.data.push((name.into(), old));
        }
        (Some(old), Some(new)) => {
            let keeps_volume = volume_of(&old) == volume_of(new);
            if !keeps_volume && (is_own_disk(name, &old) || is_own_disk(name, new)) {
                return None;
            }
            undo.data.push((name.into(), old));
        }
        (None, Some(new)) if is_own_disk(name, new) => {
            let unused = |n: usize| now.get(&format!("unused{n}")).map(to_text);
            let held =
                (0..MAX_UNUSED).find(|n| unused(*n).is_some_and(|volume| volume_of(&volume) == volume_of(new)))?;
            // (PVE: a detached disk gets the first free number.)
            let returns_there = (0..held).all(|n| unused(n).is_some());
            returns_there.then(|| undo.unset.push(name.into()))?;
        }
        (None, Some(_)) => undo.unset.push(name.into()),
        (None, None) => {}
    }
    Some(undo)
}

/// Returns the volume of a disk's value, without its options.
fn volume_of(value: &str) -> &str {
    let mut parts = value.split(',');
    let named = value.split(',').find_map(|part| part.strip_prefix("file="));
    named.or_else(|| parts.next()).unwrap_or_default()
}

impl PlannedCall<'_> {
    /// Returns the VM whose disks the call detaches or moves, outside of its configuration.
    pub(super) fn guest_of_moved_disk(&self) -> Option<PathGuest> {
        let template = self.operation.template.as_deref()?;
        let guest = self.path_guest().filter(|guest| guest.kind == GuestKind::Qemu)?;
        (template.ends_with("/unlink") || template.ends_with("/move_disk")).then_some(guest)
    }

    /// Returns the call that brings back disks that `unlink` detaches, or that a move within a stopped VM replaces.
    pub(super) fn undo_moved_disk(&self, config: &Map<String, Value>, is_stopped: bool) -> Option<UndoCall> {
        let guest = self.guest_of_moved_disk()?;
        let mut call = UndoCall::new(Method::Put, guest.path(&["config"]), Vec::new());
        call.takes_digest = true;
        if let Some(names) = self.param("idlist") {
            for name in list_items(names) {
                call.data.extend(undo_disk_option(guest.kind, config, name, None)?.data);
            }
            call.data.dedup();
        } else {
            let name = self.param("disk").filter(|_| is_stopped && self.param("target-vmid").is_none())?;
            let old = config.get(name).map(to_text).filter(|old| has_disk_name(name) && is_own_disk(name, old))?;
            call.data.push((name.to_owned(), old));
            call.remark = Some(KEEPS_COPY);
        }
        (!call.data.is_empty()).then_some(call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_disk_is_brought_back_while_its_volume_is_there() {
        let now = json!({
            "boot": "order=scsi0;net0",
            "scsi0": "lvm:vm-1-disk-0,size=8G",
            "scsi1": "file=lvm:vm-1-disk-1,size=8G",
            "ide2": "nas:iso/a.iso,media=cdrom",
            "unused0": "lvm:vm-1-disk-2",
            "unused2": "lvm:vm-1-disk-3",
        });
        let now = now.as_object().unwrap();
        let set = |data: Value| Some(json!([data, []]));
        let unset = |name: &str| Some(json!([[], [name]]));
        let boot = ["boot", "order=scsi0;net0"];
        for (name, new, expected) in [
            ("scsi0", None, set(json!([boot, ["scsi0", "lvm:vm-1-disk-0,size=8G"]]))),
            ("scsi1", None, set(json!([["scsi1", "file=lvm:vm-1-disk-1,size=8G"]]))),
            ("scsi1", Some("lvm:vm-1-disk-1,discard=on"), set(json!([["scsi1", "file=lvm:vm-1-disk-1,size=8G"]]))),
            ("scsi1", Some("lvm:32"), None),
            ("ide2", Some("nas:iso/b.iso,media=cdrom"), set(json!([["ide2", "nas:iso/a.iso,media=cdrom"]]))),
            ("ide2", Some("none,media=cdrom"), set(json!([["ide2", "nas:iso/a.iso,media=cdrom"]]))),
            ("ide3", Some("none,media=cdrom"), unset("ide3")),
            ("scsi3", Some("lvm:vm-1-disk-2,ssd=1"), unset("scsi3")),
            ("scsi3", Some("lvm:vm-1-disk-3"), None),
            ("scsi3", Some("lvm:32"), None),
            ("unused0", None, None),
        ] {
            let undo = undo_disk_option(GuestKind::Qemu, now, name, new);
            assert_eq!(undo.map(|undo| json!([undo.data, undo.unset])), expected, "{name} {new:?}");
        }
        assert!(undo_disk_option(GuestKind::Lxc, now, "mp0", None).is_none());
    }
}
