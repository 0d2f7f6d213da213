//! The disks of a host and their health.

use super::api::{Answer, Call, bad, failed};
use super::nodes::{node, seed};
use super::value::{extend, json};
use super::world::World;

/// How much of each disk's life is left, in percent; one of pve3's nears its end.
fn left(node: &str) -> [u8; 2] {
    [96, if node == "pve3" { 11 } else { 97 }]
}

/// GET /nodes/{node}/disks/list.
pub(super) fn list(world: &mut World, call: &Call<'_>) -> Answer {
    let node = node(world, call)?;
    let disk = |(wearout, n): (u8, u8)| {
        json!({"devpath": format!("/dev/nvme{n}n1"), "type": "nvme", "model": "SAMSUNG MZQL21T9HCJR-00A07", "vendor": "unknown",
            "by_id_link": format!("/dev/disk/by-id/nvme-SAMSUNG_MZQL21T9HCJR-00A07_S64GNE0R{:05}{n}", seed(node)),
            "serial": format!("S64GNE0R{:05}{n}", seed(node)), "size": 1_920_383_410_176_u64, "health": "PASSED", "wearout": wearout,
            "used": "LVM", "gpt": 1 - n, "rpm": 0, "wwn": "unknown", "osdid": -1, "osdid-list": null})
    };
    let unused = call.given("type") == Some("unused");
    Ok(left(node.name).into_iter().zip(0..).filter(|_| !unused).map(disk).collect())
}

/// GET /nodes/{node}/disks/smart.
pub(super) fn smart(world: &mut World, call: &Call<'_>) -> Answer {
    let node = node(world, call)?;
    let disk = call.text("disk");
    let Some(n) = ["/dev/nvme0n1", "/dev/nvme1n1"].iter().position(|d| *d == disk) else {
        return if disk.starts_with("/dev/") {
            failed(format!("not a valid disk: {disk}"))
        } else {
            bad("disk", "value does not match the regex pattern")
        };
    };
    let left = left(node.name).get(n).copied().unwrap_or(100);
    let mut all = json!({"health": "PASSED"});
    if !call.flag("healthonly") {
        let (used, hours) = (100 - left, 9000 + seed(node));
        let text = format!(
            "\nSMART/Health Information (NVMe Log 0x02)\nCritical Warning: 0x00\nTemperature: 41 Celsius\n\
             Available Spare: 100%\nAvailable Spare Threshold: 10%\nPercentage Used: {used}%\n\
             Power On Hours: {hours}\nUnsafe Shutdowns: 3\nMedia and Data Integrity Errors: 0\n"
        );
        extend(&mut all, json!({"type": "text", "text": text, "wearout": left}));
    }
    Ok(all)
}

/// GET /nodes/{node}/disks/lvmthin: the pool behind `local-lvm`.
pub(super) fn thin_pools(world: &mut World, call: &Call<'_>) -> Answer {
    let storage = world.storage("local-lvm")?;
    let used = world.used(storage, call.text("node")).min(storage.total);
    Ok(json!([{"lv": "data", "vg": "pve", "lv_size": storage.total, "used": used, "metadata_size": 17_179_869_184_u64,
        "metadata_used": 17_179_869_184_u64 / 100 * (used * 60 / storage.total.max(1))}]))
}
