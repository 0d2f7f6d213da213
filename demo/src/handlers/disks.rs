//! The disks of a node and their health.

use crate::error::{ApiResult, fail, parameter_error};
use crate::invocation::Invocation;
use crate::model::node::Node;
use crate::state::ClusterState;
use crate::units::GIB;
use serde_json::json;

/// Returns the remaining life of each disk in percent. The second disk of pve3 is nearly worn out.
fn remaining_life(node: &Node) -> [u8; 2] {
    [96, if node.name == "pve3" { 11 } else { 97 }]
}

/// GET /nodes/{node}/disks/list
pub(crate) fn list_disks(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    if call.optional_text("type") == Some("unused") {
        return Ok(json!([]));
    }
    let node = state.node(call.node())?;
    let row = |(n, remaining): (usize, u8)| {
        let serial = format!("S64GNE0R{:05}{n}", node.seed());
        json!({"devpath": format!("/dev/nvme{n}n1"), "type": "nvme", "model": "SAMSUNG MZQL21T9HCJR-00A07",
            "by_id_link": format!("/dev/disk/by-id/nvme-SAMSUNG_MZQL21T9HCJR-00A07_{serial}"), "vendor": "unknown",
            "serial": serial, "size": 1_920_383_410_176_u64, "health": "PASSED", "wearout": remaining,
            "used": "LVM", "gpt": 1 - n, "rpm": 0, "wwn": "unknown", "osdid": -1, "osdid-list": null})
    };
    Ok(remaining_life(node).into_iter().enumerate().map(row).collect())
}

/// GET /nodes/{node}/disks/smart
pub(crate) fn read_smart(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let node = state.node(call.node())?;
    let [first, second] = remaining_life(node);
    let remaining = match call.text("disk") {
        "/dev/nvme0n1" => first,
        "/dev/nvme1n1" => second,
        disk if disk.starts_with("/dev/") => return fail(format!("not a valid disk: {disk}")),
        _ => return parameter_error("disk", "value does not match the regex pattern"),
    };
    if call.flag("healthonly") {
        return Ok(json!({"health": "PASSED"}));
    }
    let (used, hours) = (100 - remaining, 9000 + node.seed());
    let text = format!(
        "\nSMART/Health Information (NVMe Log 0x02)\nCritical Warning: 0x00\nTemperature: 41 Celsius\n\
         Available Spare: 100%\nAvailable Spare Threshold: 10%\nPercentage Used: {used}%\n\
         Power On Hours: {hours}\nUnsafe Shutdowns: 3\nMedia and Data Integrity Errors: 0\n"
    );
    Ok(json!({"health": "PASSED", "type": "text", "text": text, "wearout": remaining}))
}

/// GET /nodes/{node}/disks/lvmthin: the pool behind the storage `local-lvm`.
pub(crate) fn list_thin_pools(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let storage = state.storage("local-lvm")?;
    let used = state.used_space(storage, call.node());
    let metadata_size = 16 * GIB;
    let metadata_used = metadata_size / 100 * (used * 60 / storage.total);
    Ok(json!([{"lv": "data", "vg": "pve", "lv_size": storage.total, "used": used, "metadata_size": metadata_size,
        "metadata_used": metadata_used}]))
}
