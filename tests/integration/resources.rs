//! `get_cluster_resources` of a large cluster: the size of the text for a model.

use crate::support::node::{Node, ScriptedReply};
use crate::support::test_tools::product;
use crate::support::tool::{ToolResult, call};
use serde_json::{Value, json};

const GIB: u64 = 1 << 30;

/// Returns a guest as a node of version 9 lists it, with every key.
fn guest(n: u64) -> Value {
    const ROLES: [&str; 8] =
        ["shop-frontend", "postgresql", "mail-relay", "build-runner", "gitlab", "k8s-worker", "monitoring", "vpn"];
    let (vmid, lxc, running) = (100 + n, n % 4 == 3, n % 5 != 4);
    let (kind, maxmem) = (if lxc { "lxc" } else { "qemu" }, [2, 4, 8, 16][(n % 4) as usize] * GIB);
    let noise = |k: u64| (n * 7_919 + k * 104_729) % 1_000;
    let used = if running { maxmem / 1_000 * noise(1) } else { 0 };
    let mut row = json!({
        "id": format!("{kind}/{vmid}"), "type": kind, "vmid": vmid, "node": format!("pve{}", 1 + n % 6),
        "name": format!("{}-{:02}", ROLES[(n % 8) as usize], n / 8 + 1), "status": if running { "running" } else { "stopped" },
        "cpu": if running { noise(2) as f64 / 3_000.0 } else { 0.0 }, "maxcpu": 1 << (n % 4),
        "mem": used, "maxmem": maxmem, "memhost": used,
        "disk": if lxc { noise(3) * GIB / 50 } else { 0 }, "maxdisk": (8 + noise(4) / 4) * GIB,
        "uptime": if running { noise(5) * 8_641 } else { 0 }, "template": u64::from(n == 199),
        "netin": noise(6) * 1_000_003, "netout": noise(7) * 1_000_003,
        "diskread": noise(8) * 1_000_003, "diskwrite": noise(9) * 1_000_003,
    });
    if !n.is_multiple_of(7) {
        row["tags"] = ["prod", "prod;web", "dev", "infra;backup"][(n % 4) as usize].into();
    }
    if !n.is_multiple_of(3) {
        row["pool"] = ["production", "staging"][(n % 2) as usize].into();
    }
    if n.is_multiple_of(10) {
        row["hastate"] = "started".into();
    }
    if n == 17 {
        row["lock"] = "backup".into();
    }
    row
}

fn guests(n: u64) -> ToolResult {
    let rows = Value::from((0..n).map(guest).collect::<Vec<_>>()).to_string();
    let node = Node::start(move |_| ScriptedReply::data(&rows));
    let result = call(&product(vec![node.cluster_settings()]), "get_cluster_resources", json!({"type": "vm"}));
    assert!(!result.failed, "{result:?}");
    result
}

#[test]
fn two_hundred_guests_are_read_in_20_kb() {
    let result = guests(200);
    assert!(result.text.len() < 20_000, "{} bytes:\n{}", result.text.len(), &result.text[..1_500]);
    assert_eq!(result.text.lines().filter(|line| line.starts_with("qemu/") || line.starts_with("lxc/")).count(), 200);
    // `structuredContent` has all rows.
    assert_eq!(result.structured["rows"].as_array().map(Vec::len), Some(200));
}
