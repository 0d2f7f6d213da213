//! The simulated cluster as Proxmox VE 8, and with nodes of two releases.

use crate::demo::{Answer, call, demo_with, get, raw, run_task};
use crate::support::test_tools::product;
use crate::support::tool;
use proxmox_mcp::config::ClusterConfig;
use proxmox_mcp::pve::demo::{Demo, Release};
use proxmox_mcp::pve::schema::facts::APIDOC;
use serde_json::{Value, json};
use std::time::Duration;

fn pve8() -> Demo {
    demo_with(|options| {
        (options.release, options.task_step, options.lag) = (Release::Pve8, Duration::from_millis(1), Duration::ZERO);
        options.apidoc = Some(APIDOC.into());
    })
}

/// Asserts a failure whose text is in the status line only.
fn assert_reason_only(answer: &Answer, line: &str) {
    assert_eq!(answer.line, format!("HTTP/1.1 {line}"));
    assert_eq!(answer.json(), json!({"data": null}));
}

#[test]
fn release_8_has_the_text_of_a_failure_in_the_status_line_only() {
    let demo = pve8();
    let cluster = demo.cluster();
    let missing = "500 Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist";
    assert_reason_only(&call(&cluster, "GET", "/nodes/pve1/qemu/999/config", ""), missing);
    let stopped = call(&demo.auditor(), "POST", "/nodes/pve1/qemu/100/status/stop", "");
    assert_reason_only(&stopped, "403 Permission check failed (/vms/100, VM.PowerMgmt)");
    assert_reason_only(&call(&cluster, "GET", "/nope", ""), "501 Method 'GET /nope' not implemented");
    let wrong = call(&cluster, "POST", "/nodes/pve1/qemu", "vmid=99");
    assert_eq!(wrong.line, "HTTP/1.1 400 Parameter verification failed.");
    let complaint = "invalid format - value does not look like a valid VM ID\n";
    assert_eq!(wrong.json(), json!({"data": null, "errors": {"vmid": complaint}}));
}

#[test]
fn release_8_has_groups_of_ha_and_no_rules() {
    let demo = pve8();
    let cluster = demo.cluster();
    assert_eq!(get(&cluster, "/version")["release"], "8.4");
    assert_eq!(get(&cluster, "/cluster/ha/groups")[0]["group"], "near-data");
    call(&cluster, "POST", "/cluster/ha/groups", "group=west&nodes=pve1,pve2&restricted=1").data();
    assert_eq!(get(&cluster, "/cluster/ha/groups/west")["restricted"], 1);
    call(&cluster, "PUT", "/cluster/ha/resources/vm:104", "group=west").data();
    let used = call(&cluster, "DELETE", "/cluster/ha/groups/west", "");
    assert_reason_only(&used, "500 delete ha group failed: ha group is used by service 'vm:104'");
    call(&cluster, "DELETE", "/cluster/ha/groups/near-data", "").data();
    let rules = call(&cluster, "GET", "/cluster/ha/rules", "");
    assert_reason_only(&rules, "501 Method 'GET /cluster/ha/rules' not implemented");
}

#[test]
fn release_8_has_one_privilege_for_the_agent() {
    let demo = pve8();
    let agent = "/nodes/pve1/qemu/100/agent/get-osinfo";
    assert_reason_only(&call(&demo.auditor(), "GET", agent, ""), "403 Permission check failed (/vms/100, VM.Monitor)");
    let cluster = demo.cluster();
    assert_eq!(get(&cluster, agent)["result"]["id"], "debian");
    let roles = get(&cluster, "/access/roles/PVEVMAdmin");
    assert_eq!((&roles["VM.Monitor"], &roles["VM.GuestAgent.Audit"]), (&json!(1), &Value::Null));
    call(&cluster, "POST", "/access/roles", "roleid=Agent&privs=VM.Monitor").data();
    let wrong = call(&cluster, "POST", "/access/roles", "roleid=A2&privs=VM.GuestAgent.Audit").json();
    assert_eq!(wrong["errors"]["privs"], "invalid format - invalid privilege 'VM.GuestAgent.Audit'\n");
}

#[test]
fn release_8_lists_zones_as_sdn_and_guests_without_new_members() {
    let demo = pve8();
    let cluster = demo.cluster();
    let zones = get(&cluster, "/cluster/resources?type=sdn");
    assert_eq!((zones.as_array().unwrap().len(), &zones[0]["sdn"]), (3, &json!("localnetwork")));
    let guest = get(&cluster, "/nodes/pve1/qemu/100/status/current");
    assert_eq!(
        (&guest["memhost"], &guest["pressurecpusome"], &guest["status"]),
        (&Value::Null, &Value::Null, &json!("running"))
    );
    let parameter = call(&cluster, "PUT", "/nodes/pve1/qemu/100/config", "allow-ksm=1").json();
    assert!(parameter["errors"]["allow-ksm"].is_string(), "{parameter}");
    run_task(&cluster, "POST", "/nodes/pve2/qemu/106/status/start", "");
}

#[test]
fn overview_of_release_8_looks_at_every_guest() {
    let demo = pve8();
    let server = product(vec![demo.cluster()]);
    let overview = tool::call(&server, "get_cluster_resources", json!({"type": "overview"}));
    assert!(!overview.failed && overview.text.contains("13 guests"), "{overview:?}");
}

fn description(cluster: &ClusterConfig) -> String {
    let answer = raw(cluster, b"GET /pve-docs/api-viewer/apidoc.js HTTP/1.1\r\n\r\n").unwrap();
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[test]
fn release_8_describes_its_own_api() {
    let demo = pve8();
    let text = description(&demo.cluster());
    assert!(text.contains("VM.Monitor") && text.contains("\"/cluster/ha/groups\""));
    assert!(!text.contains("VM.GuestAgent") && !text.contains("\"/cluster/ha/rules\""));
    let newer = demo_with(|options| options.apidoc = Some(APIDOC.into()));
    let text = description(&newer.cluster());
    assert!(text.contains("VM.GuestAgent") && text.contains("\"instance-type\""));
}

#[test]
fn node_of_another_release_answers_as_itself() {
    let demo = demo_with(|options| options.other_release = Some(Release::Pve8));
    let cluster = demo.cluster();
    let versions =
        ["/version", "/nodes/pve1/version", "/nodes/pve3/version"].map(|at| get(&cluster, at)["release"].clone());
    assert_eq!(versions, ["9.2", "9.2", "8.4"]);
    let missing =
        |node: &str| call(&cluster, "GET", &format!("/nodes/{node}/qemu/999/config"), "").json()["message"].clone();
    assert_eq!((missing("pve1").is_string(), missing("pve3")), (true, Value::Null));
    call(&cluster, "PUT", "/nodes/pve1/qemu/100/config", "allow-ksm=1").data();
    let unknown = call(&cluster, "PUT", "/nodes/pve3/qemu/103/config", "allow-ksm=1").json();
    assert!(unknown["errors"]["allow-ksm"].is_string(), "{unknown}");
}
