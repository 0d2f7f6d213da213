//! The objects that a call is about, as far as a task on them keeps another call from its work.

use super::affected::AffectedScope;
use super::confirm::Confirmed;
use super::earlier_calls::normalize;
use super::planned_call::PlannedCall;
use std::collections::BTreeSet;

/// The number of segments that identify a service, a storage or another object of a node.
const OBJECT_SEGMENTS: usize = 4;

/// The objects of a call: guests, with their HA resources and volumes, and the object at its path.
pub struct CallObjects {
    guests: BTreeSet<u32>,
    /// The call may affect guests that it does not name.
    is_wide: bool,
    path: Vec<String>,
    /// The storage of the path.
    storage: Option<String>,
    values: Vec<String>,
    /// The source of a clone stays free for further clones.
    cloned_vm: Option<u32>,
}

impl Confirmed<'_> {
    /// Returns the objects of the call.
    pub fn objects(&self) -> CallObjects {
        CallObjects::new(self.planned())
    }
}

impl CallObjects {
    fn new(call: &PlannedCall<'_>) -> Self {
        let path = normalize(&call.path);
        let guest = call.path_guest().and_then(|guest| guest.vmid.parse().ok());
        let template = call.operation.template.as_deref().unwrap_or_default();
        let is_vm_clone = call.is_change() && template == "/nodes/{node}/qemu/{vmid}/clone";
        Self {
            guests: call.affected.named_vmids().iter().copied().chain(guest).collect(),
            is_wide: call.affected.scope() != &AffectedScope::NamedOnly
                && (path.first().is_some_and(|part| part == "nodes")
                    || path.get(1).is_some_and(|part| part == "bulk-action")),
            storage: match path.as_slice() {
                [_, _, kind, storage, ..] if kind == "storage" => Some(storage.clone()),
                _ => None,
            },
            path,
            values: call.open_params().iter().map(|(_, value)| value.to_owned()).collect(),
            cloned_vm: guest.filter(|_| is_vm_clone),
        }
    }

    /// Returns whether a task of an earlier call works on an object of this one.
    pub fn depend_on(&self, earlier: &Self) -> bool {
        // The settings of the HA manager wait for no guest.
        let sets_ha = |path: &[String]| path.len() > 1 && path[0] == "cluster" && path[1] == "ha";
        if sets_ha(&self.path) && sets_ha(&earlier.path) {
            return false;
        }
        let is_free = |vmid: &u32| self.cloned_vm == Some(*vmid) && earlier.cloned_vm == Some(*vmid);
        let shares_guest = self.guests.intersection(&earlier.guests).any(|vmid| !is_free(vmid));
        let is_reached = earlier.is_wide && !self.guests.is_empty() || self.is_wide && !earlier.guests.is_empty();
        let names_storage = |storage: &String| {
            let is_named = |value: &String| {
                value.strip_prefix(storage.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ',']))
            };
            self.path.contains(storage) || self.values.iter().any(is_named)
        };
        let is_same_object = earlier.path.len() >= OBJECT_SEGMENTS
            && earlier.cloned_vm.is_none()
            && self.path.get(..OBJECT_SEGMENTS) == earlier.path.get(..OBJECT_SEGMENTS);
        shares_guest
            || is_reached
            || is_same_object
            || self.path == earlier.path && self.guests == earlier.guests
            || earlier.storage.as_ref().is_some_and(names_storage)
    }
}
