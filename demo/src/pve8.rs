//! The API of Proxmox VE 8.4, as differences to that of 9.2: operations, parameters and privileges that are new in 9.

use serde_json::{Map, Value, json};

/// Paths that are new in 9. One that ends in `*` stands for all that begin so.
#[rustfmt::skip]
const NEW_PATHS: &[&str] = &[
    "/cluster/bulk-action*", "/cluster/ceph/restart-bulk", "/cluster/ha/rules*", "/cluster/ha/status/arm-ha",
    "/cluster/ha/status/disarm-ha", "/cluster/qemu*", "/cluster/sdn/dry-run", "/cluster/sdn/fabrics*",
    "/cluster/sdn/lock", "/cluster/sdn/rollback", "/nodes/{node}/capabilities/qemu/cpu-flags",
    "/nodes/{node}/capabilities/qemu/migration", "/nodes/{node}/ceph/restart-bulk",
    "/nodes/{node}/qemu/{vmid}/dbus-vmstate", "/nodes/{node}/query-oci-repo-tags", "/nodes/{node}/sdn/fabrics*",
    "/nodes/{node}/sdn/vnets*", "/nodes/{node}/sdn/zones/{zone}/bridges", "/nodes/{node}/sdn/zones/{zone}/ip-vrf",
    "/nodes/{node}/storage/{storage}/identity", "/nodes/{node}/storage/{storage}/oci-registry-pull",
];
/// Parameters that are new in 9: the end of the path, and the names.
#[rustfmt::skip]
const NEW_PARAMETERS: &[(&str, &[&str])] = &[
    ("/cluster/ha/resources", &["failback"]),
    ("/cluster/ha/resources/{sid}", &["failback", "purge"]),
    ("/token/{tokenid}", &["regenerate"]),
    ("/qemu", &["allow-ksm", "intel-tdx", "ha-managed"]),
    ("/qemu/{vmid}/config", &["allow-ksm", "intel-tdx"]),
    ("/qemu/{vmid}/migrate", &["with-conntrack-state"]),
    ("/qemu/{vmid}/status/start", &["nets-host-mtu", "with-conntrack-state"]),
    ("/lxc", &["entrypoint", "env", "ha-managed"]),
    ("/lxc/{vmid}/config", &["entrypoint", "env"]),
    ("/journal", &["unit", "service", "priority", "kernel", "structured", "units", "identifiers"]),
    ("/storage", &["snapshot-as-volume-chain", "saferemove-stepsize"]),
    ("/storage/{storage}", &["snapshot-as-volume-chain", "saferemove-stepsize"]),
];

/// Returns true if 8.4 does not have the path.
pub(crate) fn is_new(path: &str) -> bool {
    NEW_PATHS.iter().any(|new| new.strip_suffix('*').map_or(*new == path, |start| path.starts_with(start)))
}

/// Replaces the privileges of the guest agent, which are new in 9.
fn restore_privileges(rule: &mut Value) {
    let Some(parts) = rule.as_array_mut() else { return };
    let is_agent = |privilege: &Value| privilege.as_str().is_some_and(|name| name.starts_with("VM.GuestAgent."));
    if parts.iter().any(is_agent) {
        *rule = json!(["VM.Monitor"]);
        return;
    }
    parts.iter_mut().for_each(restore_privileges);
}

/// Changes the operations of a path of 9.2 into those of 8.4.
pub(crate) fn downgrade(path: &str, operations: &mut Map<String, Value>) {
    for (_, operation) in operations.iter_mut() {
        restore_privileges(&mut operation["permissions"]["check"]);
        let Some(properties) = operation["parameters"]["properties"].as_object_mut() else { continue };
        for (_, names) in NEW_PARAMETERS.iter().filter(|(end, _)| path.ends_with(end)) {
            properties.retain(|name, _| !names.contains(&name.as_str()));
        }
        if let Some(words) = properties.get_mut("timeframe").and_then(|frame| frame["enum"].as_array_mut()) {
            words.retain(|word| word != "decade");
        }
    }
    if path.ends_with("/qemu/{vmid}/monitor") {
        operations["POST"]["permissions"]["check"] = json!(["perm", "/vms/{vmid}", ["VM.Monitor"]]);
    }
}
