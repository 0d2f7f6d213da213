//! Entries of sections in which the demo has none, or one that never changes.

use crate::error::{ApiError, ApiResult, fail, parameter_error};
use crate::invocation::Invocation;
use crate::state::ClusterState;
use serde_json::{Value, json};

/// GET /cluster/acme/plugins/{id} and /cluster/mapping/…/{id}
pub(crate) fn fail_by_id(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    fail(match call.segment(1) {
        "acme" => format!("ACME plugin '{}' not defined", call.text("id")),
        _ => format!("mapping '{}' not found", call.text("id")),
    })
}

/// GET /cluster/jobs/realm-sync/{id}
pub(crate) fn fail_without_job(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    parameter_error("id", format!("No such job '{}'", call.text("id")))
}

/// GET /cluster/metrics/server/{id}
pub(crate) fn read_metric_server(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    match call.text("id") {
        "influx" => Ok(metric_server()),
        id => fail(format!("status server entry '{id}' does not exist")),
    }
}

/// Returns the only metric server.
pub(crate) fn metric_server() -> Value {
    json!({"id": "influx", "type": "influxdb", "server": "192.0.2.40", "port": 8089, "disable": 0})
}

/// GET /cluster/notifications/endpoints/…/{name}
pub(crate) fn read_endpoint(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    match (call.segment(3), call.text("name")) {
        ("sendmail", "mail-to-root") => Ok(json!({"name": "mail-to-root", "mailto-user": ["root@pam"],
            "comment": "Send mails to root@pam's email address", "origin": "builtin"})),
        (_, name) => Err(ApiError::NotFound(format!("endpoint '{name}' not found"))),
    }
}

/// GET /cluster/notifications/matchers/{name}
pub(crate) fn read_matcher(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    match call.text("name") {
        "default-matcher" => Ok(json!({"name": "default-matcher", "mode": "all", "target": ["mail-to-root"],
            "comment": "Route all notifications to mail-to-root", "origin": "builtin"})),
        name => Err(ApiError::NotFound(format!("matcher '{name}' not found"))),
    }
}

/// GET /cluster/sdn/controllers/{controller} and /cluster/sdn/dns/{dns}
pub(crate) fn fail_without_sdn(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let id = call.optional_text("controller").or(call.optional_text("dns")).unwrap_or_default();
    fail(format!("sdn '{id}' does not exist"))
}

/// GET /cluster/sdn/fabrics/fabric/{id}
pub(crate) fn fail_without_fabric(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    fail(format!("fabric '{}' does not exist in configuration", call.text("id")))
}

/// GET /cluster/sdn/fabrics/node/{fabric_id}/{node_id}
pub(crate) fn fail_without_fabric_node(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let (node, fabric) = (call.text("node_id"), call.text("fabric_id"));
    fail(format!("node '{node}' does not exist in fabric '{fabric}'"))
}

/// GET /cluster/sdn/vnets/{vnet} and what is below it
pub(crate) fn fail_without_vnet(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    fail(format!("sdn vnet '{}' does not exist", call.text("vnet")))
}

/// GET /cluster/sdn/zones/{zone}
pub(crate) fn fail_without_zone(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    fail(format!("sdn zone '{}' does not exist", call.text("zone")))
}

/// GET /nodes/{node}/sdn/zones/{zone}/bridges
pub(crate) fn list_zone_bridges(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let zone = call.text("zone");
    if zone != "localnetwork" {
        return parameter_error("zone", "zone does not exist");
    }
    let guests = state.guests.values().filter(|guest| guest.node == call.node() && guest.is_running());
    let ports: Value = guests
        .map(|guest| {
            let device = guest.kind.select("tap", "veth");
            json!({"index": "net0", "name": format!("{device}{}i0", guest.vmid), "vmid": guest.vmid.to_string()})
        })
        .collect();
    Ok(json!([
        {"name": "vmbr0", "ports": [], "vlan_filtering": 1},
        {"name": "vmbr1", "ports": ports, "vlan_filtering": 0},
    ]))
}
