//! Guest names in parameters.

use super::handle::ClusterHandle;
use super::plan_error::PlanError;
use super::resolve_path::{GuestFinder, HaResourceName};
use crate::base::list_text::list_items;
use crate::base::shorten::shorten;
use crate::pve::schema::Operation;
use serde_json::{Map, Value};
use std::cell::OnceCell;

/// Replaces names by numbers where the operation wants numbers of existing guests. For a change, the config of each guest
/// must confirm its name.
pub(super) fn resolve_guest_names(
    cluster: &ClusterHandle<'_>,
    operation: &Operation<'_>,
    data: &mut Map<String, Value>,
    is_change: bool,
) -> Result<(), PlanError> {
    // The names of a list are found by an index, made at the first of them.
    let finder = OnceCell::new();
    for (name, value) in data.iter_mut() {
        let format = operation.parameter(name).map_or("", |parameter| parameter.format());
        let names_resource =
            matches!(format, "pve-ha-resource-or-vm-id" | "pve-ha-resource-id" | "pve-ha-resource-id-list");
        if !(names_resource || matches!(format, "pve-vmid" | "pve-vmid-list"))
            || operation.is_path_parameter(name)
            || is_new_guest_number(operation, name)
        {
            continue;
        }
        let items = match value {
            Value::Array(items) => items.as_mut_slice(),
            single => std::slice::from_mut(single),
        };
        for item in items {
            let Some(text) = item.as_str() else { continue };
            let parts = || list_items(text);
            let is_number = |part: &str| match names_resource {
                true => HaResourceName::parse(part).is_none(),
                false => part.bytes().all(|b| b.is_ascii_digit()),
            };
            if parts().all(is_number) {
                continue;
            }
            let find_number = |part: &str| {
                let finder = finder.get_or_init(|| GuestFinder::new(cluster));
                let found = match HaResourceName::parse(part).filter(|_| names_resource) {
                    Some(resource) => resource.find(finder, is_change),
                    None if names_resource => Ok(part.to_owned()),
                    None if is_change && !is_number(part) => {
                        finder.find_confirmed(part).map(|guest| guest.vmid.to_string())
                    }
                    None => finder.find(part).map(|guest| guest.vmid.to_string()),
                };
                found.map_err(|error| PlanError::GuestParameter { parameter: shorten(name).into_owned(), error })
            };
            *item = parts().map(find_number).collect::<Result<Vec<_>, _>>()?.join(",").into();
        }
    }
    Ok(())
}

/// Returns whether a parameter is the number of a new guest, or of a guest in another cluster.
fn is_new_guest_number(operation: &Operation<'_>, name: &str) -> bool {
    let template = operation.template();
    match name {
        "newid" => true,
        "vmid" => ["/qemu", "/lxc", "/nextid"].iter().any(|end| template.ends_with(end)),
        "target-vmid" => template.ends_with("/remote_migrate"),
        _ => false,
    }
}
