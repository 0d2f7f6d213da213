//! The nodes: their status, their configuration and their logs.

use super::tasks::line_rows;
use super::time_series::sample_times;
use crate::error::{ApiResult, fail};
use crate::invocation::Invocation;
use crate::model::guest::{Guest, load_curve};
use crate::model::node::{Node, ROOT_SIZE};
use crate::state::{ClusterState, TaskBuilder};
use crate::units::{GIB, format_time};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

/// The services of a node. All but `syslog` run.
#[rustfmt::skip]
const SERVICES: &[&str] = &[
    "chrony", "corosync", "cron", "ksmtuned", "lxcfs", "postfix", "pve-cluster", "pve-firewall", "pve-ha-crm",
    "pve-ha-lrm", "pvedaemon", "pveproxy", "pvescheduler", "pvestatd", "qmeventd", "spiceproxy", "sshd",
    "systemd-journald", "syslog",
];

/// The processor flags of every node.
const CPU_FLAGS: &str =
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat sse sse2 ht syscall nx aes avx avx2";

/// Returns the used share of a node's processors and the used bytes of its memory.
fn node_usage(state: &ClusterState, node: &Node, time: f64) -> (f64, u64) {
    let (mut cpu, mut memory) = node.base_load(time);
    for guest in state.guests.values().filter(|guest| guest.node == node.name) {
        let usage = guest.usage(time);
        cpu += usage.cpu * guest.cpus() as f64 / f64::from(node.cpus);
        memory = memory.saturating_add(usage.memory);
    }
    (cpu.min(1.0), memory.min(node.memory))
}

/// Returns the SHA-256 fingerprint of the node's imaginary certificate.
fn certificate_fingerprint(node: &Node) -> String {
    let sum = digest(&SHA256, format!("demo certificate of {}", node.name).as_bytes());
    sum.as_ref().iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":")
}

/// Returns the row of a node in /cluster/resources. A caller without Sys.Audit sees only that the node exists.
pub(crate) fn resource_row(state: &ClusterState, call: &Invocation<'_>, node: &Node) -> Value {
    let mut row = json!({"id": format!("node/{}", node.name), "type": "node", "node": node.name, "status": "online",
        "level": ""});
    if call.allows(state, &format!("/nodes/{}", node.name), "Sys.Audit") {
        let (cpu, memory) = node_usage(state, node, state.now);
        row["cpu"] = cpu.into();
        row["maxcpu"] = node.cpus.into();
        row["mem"] = memory.into();
        row["maxmem"] = node.memory.into();
        row["disk"] = node.root_used().into();
        row["maxdisk"] = ROOT_SIZE.into();
        row["uptime"] = node.uptime(state.now).into();
    }
    row
}

/// GET /nodes
pub(crate) fn list_nodes(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let row = |node: &Node| {
        let mut row = resource_row(state, call, node);
        row["ssl_fingerprint"] = certificate_fingerprint(node).into();
        row
    };
    Ok(state.nodes.iter().map(row).collect())
}

/// GET /nodes/{node}/status
pub(crate) fn read_status(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let node = state.node(call.node())?;
    let [_, version, commit] = call.release.version();
    let (cpu, memory) = node_usage(state, node, state.now);
    let load_average = |age: f64| format!("{:.2}", node_usage(state, node, state.now - age).0 * f64::from(node.cpus));
    let root_free = ROOT_SIZE - node.root_used();
    Ok(json!({
        "uptime": node.uptime(state.now),
        "cpu": cpu,
        "wait": cpu / 40.0,
        "idle": 0,
        "loadavg": [load_average(0.0), load_average(300.0), load_average(900.0)],
        "memory": {"total": node.memory, "used": memory, "free": node.memory - memory,
            "available": node.memory - memory + GIB / 2},
        "swap": {"total": 8 * GIB, "used": 0, "free": 8 * GIB},
        "rootfs": {"total": ROOT_SIZE, "used": node.root_used(), "free": root_free, "avail": root_free - 5 * GIB},
        "ksm": {"shared": 0},
        "pveversion": format!("pve-manager/{version}/{commit}"),
        "kversion": "Linux 6.17.4-1-pve #1 SMP PREEMPT_DYNAMIC PMX 6.17.4-1",
        "current-kernel": {"sysname": "Linux", "release": "6.17.4-1-pve", "machine": "x86_64",
            "version": "#1 SMP PREEMPT_DYNAMIC PMX 6.17.4-1"},
        "boot-info": {"mode": "efi", "secureboot": 0},
        "cpuinfo": {"model": node.cpu_model, "cpus": node.cpus, "cores": node.cpus / 2,
            "sockets": if node.cpus > 32 { 2 } else { 1 }, "mhz": "2994.37", "hvm": "1", "user_hz": 100,
            "flags": CPU_FLAGS},
    }))
}

/// GET /nodes/{node}/time
pub(crate) fn read_time(state: &mut ClusterState, _: &Invocation<'_>) -> ApiResult {
    Ok(json!({"time": state.seconds(), "localtime": state.seconds(), "timezone": "Etc/UTC"}))
}

/// Returns the network interfaces of a node.
#[rustfmt::skip]
fn interfaces(node: &Node) -> Vec<Value> {
    vec![
        json!({"iface": "eno1", "type": "eth", "method": "manual", "method6": "manual", "families": ["inet"],
            "active": 1, "exists": 1, "priority": 3}),
        json!({"iface": "eno2", "type": "eth", "method": "manual", "method6": "manual", "families": ["inet"],
            "active": 0, "exists": 1, "priority": 4}),
        json!({"iface": "vmbr0", "type": "bridge", "method": "static", "method6": "manual", "families": ["inet"],
            "active": 1, "autostart": 1, "priority": 5, "address": node.ip, "netmask": "24",
            "cidr": format!("{}/24", node.ip), "gateway": "192.0.2.1", "bridge_ports": "eno1", "bridge_stp": "off",
            "bridge_fd": "0", "bridge_vlan_aware": 1, "bridge_vids": "2-4094"}),
        json!({"iface": "vmbr1", "type": "bridge", "method": "manual", "method6": "manual", "families": ["inet"],
            "active": 1, "autostart": 1, "priority": 6, "bridge_ports": "", "bridge_stp": "off", "bridge_fd": "0",
            "comments": "guests\n"}),
    ]
}

/// GET /nodes/{node}/network
pub(crate) fn list_interfaces(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let kind = match call.optional_text("type") {
        Some("include_sdn") => None,
        Some(kind) if kind.starts_with("any") => Some("bridge"),
        kind => kind,
    };
    let rows = interfaces(state.node(call.node())?).into_iter();
    Ok(rows.filter(|row| kind.is_none_or(|kind| row["type"] == kind)).collect())
}

/// GET /nodes/{node}/network/{iface}
pub(crate) fn read_interface(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let mut rows = interfaces(state.node(call.node())?).into_iter();
    match rows.find(|row| row["iface"] == call.text("iface")) {
        Some(mut row) => {
            row.as_object_mut().expect("an interface is an object").remove("iface");
            Ok(row)
        }
        None => fail("interface does not exist"),
    }
}

fn service_row(cluster: &ClusterState, node: &str, name: &str) -> Value {
    let [state, active_state, unit_state] = match name {
        "syslog" => ["dead", "inactive", "not-found"],
        _ if cluster.stopped_services.contains(&(node.into(), name.into())) => ["dead", "inactive", "enabled"],
        _ => ["running", "active", "enabled"],
    };
    json!({"service": name, "name": name, "desc": format!("{name} service"), "state": state,
        "active-state": active_state, "unit-state": unit_state})
}

/// GET /nodes/{node}/services
pub(crate) fn list_services(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    Ok(SERVICES.iter().map(|name| service_row(state, call.node(), name)).collect())
}

/// GET /nodes/{node}/services/{service}/state
pub(crate) fn read_service(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    Ok(service_row(state, call.node(), call.text("service")))
}

/// POST /nodes/{node}/services/{service}/start, …/stop, …/restart and …/reload
pub(crate) fn control_service(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let (node, service) = (call.node().to_string(), call.text("service").to_string());
    let (kind, stops) = match call.segment(4) {
        "start" => ("srvstart", false),
        "stop" => ("srvstop", true),
        "reload" => ("srvreload", false),
        _ => ("srvrestart", false),
    };
    TaskBuilder::new(&node, kind, &service).start(state, &call.caller.id, move |state| {
        let entry = (node, service);
        if stops {
            state.stopped_services.insert(entry)
        } else {
            state.stopped_services.remove(&entry)
        };
        Ok(())
    })
}

/// GET /nodes/{node}/apt/update
pub(crate) fn list_updates(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let update = |package: &str, old: &str, new: &str, title: &str, origin: &str| {
        json!({"Package": package, "OldVersion": old, "Version": new, "Title": title, "Origin": origin,
            "Arch": "amd64", "Priority": "optional", "Section": "admin", "Description": title})
    };
    let mut updates = vec![
        update("openssl", "3.5.1-1+deb13u1", "3.5.4-1~deb13u1", "Secure Sockets Layer toolkit", "Debian"),
        update("pve-qemu-kvm", "10.1.2-3", "10.1.2-4", "Full virtualization on x86 hardware", "Proxmox"),
    ];
    if call.node() == "pve3" {
        let title = "Proxmox Virtual Environment management tools";
        updates.push(update("pve-manager", "9.2.9", "9.2.11", title, "Proxmox"));
    }
    Ok(updates.into())
}

/// POST /nodes/{node}/apt/update: refreshes the package lists.
pub(crate) fn refresh_updates(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    TaskBuilder::new(call.node(), "aptupdate", "")
        .line("starting apt-get update")
        .line("Hit:1 http://deb.debian.org/debian trixie InRelease")
        .line("Reading package lists...")
        .start(state, &call.caller.id, |_| Ok(()))
}

/// GET /nodes/{node}/apt/versions
pub(crate) fn list_versions(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let [release, version, _] = call.release.version();
    let release = format!("{release}.0");
    let row = |(package, version): (&str, &str)| {
        json!({"Package": package, "OldVersion": version, "Version": version, "CurrentState": "Installed",
            "Arch": "amd64", "Origin": "Proxmox", "Priority": "optional", "Section": "admin", "Title": package,
            "Description": package})
    };
    let packages = [
        ("proxmox-ve", release.as_str()),
        ("pve-manager", version),
        ("pve-qemu-kvm", "10.1.2-3"),
        ("qemu-server", "9.2.6"),
        ("lxc-pve", "6.0.5-3"),
        ("corosync", "3.1.9-pve2"),
    ];
    Ok(packages.into_iter().map(row).collect())
}

/// GET /nodes/{node}/certificates/info
pub(crate) fn list_certificates(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let node = state.node(call.node())?;
    let subject = format!("/OU=PVE Cluster Node/O=Proxmox Virtual Environment/CN={}.demo.example.test", node.name);
    let issuer = "/CN=Proxmox Virtual Environment/OU=demo/O=PVE Cluster Manager CA";
    let booted = node.booted as i64;
    Ok(json!([{"filename": "pve-ssl.pem", "subject": subject, "issuer": issuer,
        "fingerprint": certificate_fingerprint(node), "notbefore": booted - 8_000_000,
        "notafter": booted + 55_000_000, "san": ["127.0.0.1", "localhost", node.ip, node.name],
        "pem": format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", "ZGVtbyBjZXJ0aWZpY2F0ZQ=="),
        "public-key-type": "rsaEncryption", "public-key-bits": 2048}]))
}

/// GET /nodes/{node}/hosts
pub(crate) fn read_hosts(state: &mut ClusterState, _: &Invocation<'_>) -> ApiResult {
    let lines: String = state.nodes.iter().map(|n| format!("{} {1}.demo.example.test {1}\n", n.ip, n.name)).collect();
    Ok(json!({"data": format!("127.0.0.1 localhost\n{lines}"), "digest": "5f1c2c7a3b1b3a0a2c1c5e8d7a6b5c4d3e2f1a0b"}))
}

/// GET /nodes/{node}/rrddata
pub(crate) fn read_time_series(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let node = state.node(call.node())?;
    let row = |time: f64| {
        let (cpu, memory) = node_usage(state, node, time);
        let traffic = load_curve(node.seed(), time / 3.0);
        json!({"time": time as i64, "cpu": cpu, "maxcpu": node.cpus, "iowait": cpu / 40.0,
            "loadavg": cpu * f64::from(node.cpus), "memused": memory, "memtotal": node.memory, "swapused": 0,
            "swaptotal": 8 * GIB, "rootused": node.root_used(), "roottotal": ROOT_SIZE,
            "netin": 400_000.0 * traffic, "netout": 900_000.0 * traffic})
    };
    Ok(sample_times(state.now, call.text("timeframe")).map(row).collect())
}

/// Returns the latest lines of the node's log with their times, oldest first.
fn log_lines(state: &ClusterState, node: &Node) -> Vec<(i64, String)> {
    let hour = state.seconds() / 3600 * 3600;
    let line = |n: i64| {
        let time = hour - n * 60;
        let prefix = format!("{} {}", format_time(time), node.name);
        let text = match n % 5 {
            0 => {
                let seconds = 0.2 + load_curve(7, n as f64);
                format!("{prefix} pvestatd[1189]: status update time ({seconds:.3} seconds)")
            }
            1 => format!("{prefix} pvedaemon[1214]: <root@pam> successful auth for user 'root@pam'"),
            2 => format!("{prefix} corosync[1102]:   [KNET  ] link: host: 2 link: 0 is up"),
            3 => format!("{prefix} CRON[20{n:02}]: (root) CMD (cd / && run-parts --report /etc/cron.hourly)"),
            _ => format!("{prefix} systemd[1]: Started session of user root."),
        };
        (time, text)
    };
    (0..60).rev().map(line).collect()
}

/// GET /nodes/{node}/syslog
pub(crate) fn read_syslog(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let lines = log_lines(state, state.node(call.node())?);
    // A day without a time is its start.
    let is_after = |time: i64| call.optional_text("since").is_none_or(|since| format_time(time).as_str() >= since);
    let is_before = |time: i64| call.optional_text("until").is_none_or(|until| format_time(time).as_str() <= until);
    let lines = lines.into_iter().filter(|(time, _)| is_after(*time) && is_before(*time));
    let mut lines: Vec<String> = lines.map(|(_, line)| line).collect();
    if let Some(service) = call.optional_text("service") {
        lines.retain(|line| line.contains(service));
    }
    call.total.set(Some(lines.len()));
    let (start, limit) = (call.count("start").unwrap_or(0), call.count("limit").filter(|limit| *limit > 0));
    Ok(line_rows(lines).into_iter().skip(start).take(limit.unwrap_or(50)).collect())
}

/// GET /nodes/{node}/journal: the lines between a start cursor and an end cursor.
pub(crate) fn read_journal(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let (since, until) = (call.integer("since"), call.integer("until"));
    let is_wanted = |time: i64| since.is_none_or(|since| time >= since) && until.is_none_or(|until| time <= until);
    let lines = log_lines(state, state.node(call.node())?).into_iter().filter(|(time, _)| is_wanted(*time));
    let lines: Vec<String> = lines.map(|(_, line)| line).collect();
    let cursor = |n: usize| format!("s=demo;i={n:x}");
    let (start, end) = (cursor(0), cursor(lines.len()));
    let skipped = lines.len().saturating_sub(call.count("lastentries").unwrap_or(usize::MAX));
    Ok([start].into_iter().chain(lines.into_iter().skip(skipped)).chain([end]).map(Value::from).collect())
}

/// GET /nodes/{node}/netstat
pub(crate) fn list_traffic(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guests = state.guests.values().filter(|guest| guest.is_running() && guest.node == call.node());
    let row = |guest: &Guest| json!({"vmid": guest.vmid.to_string(), "dev": "net0", "in": "0", "out": "0"});
    Ok(guests.map(row).collect())
}

/// GET /nodes/{node}/config
pub(crate) fn read_config(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let description = format!("Host {} of the demo cluster", call.node());
    Ok(json!({"description": description, "digest": "2b7e151628aed2a6abf7158809cf4f3c762e7160"}))
}

/// GET /nodes/{node}/report
pub(crate) fn read_report(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let node = call.node();
    let [release, version, commit] = call.release.version();
    Ok(format!(
        "==== general system info ====\n\n# hostname\n{node}\n\n# pveversion --verbose\n\
         proxmox-ve: {release}.0 (running kernel: 6.17.4-1-pve)\n\
         pve-manager: {version} (running version: {version}/{commit})\n"
    )
    .into())
}

/// Starts or stops the guests that a call lists, by default all of the node.
///
/// Fails if the caller lacks the privilege on one of them.
fn switch_guests(state: &mut ClusterState, call: &Invocation<'_>, start: bool) -> ApiResult {
    let listed: Vec<u32> = call.list("vms").filter_map(|vmid| vmid.parse().ok()).collect();
    if listed.is_empty() {
        call.require(state, "/", "VM.PowerMgmt")?;
    }
    for vmid in &listed {
        call.require(state, &format!("/vms/{vmid}"), "VM.PowerMgmt")?;
    }
    let is_selected = |guest: &Guest| match listed.as_slice() {
        [] => !start || call.flag("force") || guest.is_set("onboot"),
        listed => listed.contains(&guest.vmid),
    };
    let guests: Vec<(u32, String)> = state
        .guests
        .values()
        .filter(|guest| guest.node == call.node() && guest.is_running() != start && !guest.is_template())
        .filter(|guest| is_selected(guest))
        .map(|guest| (guest.vmid, guest.label()))
        .collect();
    let (kind, verb) = if start { ("startall", "Starting") } else { ("stopall", "Stopping") };
    TaskBuilder::new(call.node(), kind, "").lines(guests.iter().map(|(_, label)| format!("{verb} {label}"))).start(
        state,
        &call.caller.id,
        move |state| {
            for (vmid, _) in guests {
                match state.guests.get_mut(&vmid) {
                    Some(guest) if start => guest.start(state.now),
                    Some(guest) => guest.stop(),
                    None => {}
                }
            }
            Ok(())
        },
    )
}

/// POST /nodes/{node}/startall
pub(crate) fn start_all(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    switch_guests(state, call, true)
}

/// POST /nodes/{node}/stopall
pub(crate) fn stop_all(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    switch_guests(state, call, false)
}

/// GET /nodes/{node}/aplinfo: the container templates that can be downloaded.
pub(crate) fn templates() -> Value {
    json!([
        {
            "template": "debian-13-standard_13.1-2_amd64.tar.zst", "package": "debian-13-standard", "version": "13.1-2",
            "os": "debian-13", "section": "system", "type": "lxc", "architecture": "amd64",
            "headline": "Debian 13 Trixie (standard)",
        },
        {
            "template": "ubuntu-24.04-standard_24.04-2_amd64.tar.zst", "package": "ubuntu-24.04-standard",
            "version": "24.04-2", "os": "ubuntu-24.04", "section": "system", "type": "lxc", "architecture": "amd64",
            "headline": "Ubuntu 24.04 Noble (standard)",
        },
        {
            "template": "alpine-3.22-default_20250617_amd64.tar.xz", "package": "alpine-3.22-default",
            "version": "20250617", "os": "alpine", "section": "system", "type": "lxc", "architecture": "amd64",
            "headline": "LXC default image for alpine 3.22",
        },
    ])
}
