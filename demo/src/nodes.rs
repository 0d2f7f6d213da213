//! The hosts: what they are, what they do, what they log.

use super::api::{Answer, Call, Fault, failed};
use super::guests::moments;
use super::tasks::Job;
use super::value::{extend, json};
use super::world::{GIB, Node, World, stamp, wave};
use ring::digest::{SHA256, digest};
use serde_json::Value;

/// Bytes of a host's root file system.
const ROOT: u64 = 94 * GIB;
/// The services of a host; the last does not run.
const SERVICES: &[&str] = &[
    "chrony",
    "corosync",
    "cron",
    "ksmtuned",
    "lxcfs",
    "postfix",
    "pve-cluster",
    "pve-firewall",
    "pve-ha-crm",
    "pve-ha-lrm",
    "pvedaemon",
    "pveproxy",
    "pvescheduler",
    "pvestatd",
    "qmeventd",
    "spiceproxy",
    "sshd",
    "systemd-journald",
    "syslog",
];

/// The host that the path names.
pub(super) fn node<'a>(world: &'a World, call: &Call<'_>) -> Result<&'a Node, Fault> {
    let name = call.text("node");
    world.nodes.iter().find(|n| n.name == name).map_or_else(|| failed(format!("no such cluster node '{name}'")), Ok)
}

/// A number of the node's own.
pub(super) fn seed(node: &Node) -> u32 {
    node.booted as u32 % 997
}

/// Share of the processors and bytes of memory in use: the guests' and a little more.
fn usage(world: &World, node: &Node, time: f64) -> (f64, u64) {
    let mut cpu = 0.01 + wave(seed(node), time) / 50.0;
    let mut mem = 3 * GIB + (wave(seed(node), time / 20.0) * GIB as f64) as u64;
    for guest in world.guests.values().filter(|g| g.node == node.name) {
        let u = guest.usage(time);
        cpu += u.cpu * guest.cpus() as f64 / f64::from(node.cpus.max(1));
        mem = mem.saturating_add(u.mem);
    }
    (cpu.min(1.0), mem.min(node.memory))
}

fn root_used(node: &Node) -> u64 {
    12 * GIB + u64::from(seed(node)) * (GIB / 97)
}

/// The SHA-256 of a certificate that no one has, but that stays the same.
fn fingerprint(name: &str) -> String {
    let sum = digest(&SHA256, format!("demo certificate of {name}").as_bytes());
    sum.as_ref().iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":")
}

/// The rows of /nodes: without Sys.Audit one sees that a host is there, and no more.
pub(super) fn rows(world: &World, call: &Call<'_>) -> Vec<Value> {
    let row = |node: &Node| {
        let mut row = json!({"id": format!("node/{}", node.name), "type": "node", "node": node.name, "status": "online",
            "level": "", "ssl_fingerprint": fingerprint(node.name)});
        if call.may(world, &format!("/nodes/{}", node.name), "Sys.Audit") {
            let (cpu, mem) = usage(world, node, world.now);
            extend(
                &mut row,
                json!({"cpu": cpu, "maxcpu": node.cpus, "mem": mem, "maxmem": node.memory, "disk": root_used(node),
                    "maxdisk": ROOT, "uptime": (world.now - node.booted) as i64}),
            );
        }
        row
    };
    world.nodes.iter().map(row).collect()
}

/// GET /nodes.
pub(super) fn list(world: &mut World, call: &Call<'_>) -> Answer {
    Ok(rows(world, call).into())
}

/// GET /nodes/{node}/status.
pub(super) fn status(world: &mut World, call: &Call<'_>) -> Answer {
    let node = node(world, call)?;
    let (cpu, mem) = usage(world, node, world.now);
    let load = |window: f64| format!("{:.2}", usage(world, node, world.now - window).0 * f64::from(node.cpus));
    let sockets = if node.cpus > 32 { 2 } else { 1 };
    Ok(json!({
        "uptime": (world.now - node.booted) as i64,
        "cpu": cpu, "wait": cpu / 40.0, "idle": 0,
        "loadavg": [load(0.0), load(300.0), load(900.0)],
        "memory": {"total": node.memory, "used": mem, "free": node.memory - mem, "available": node.memory - mem + GIB / 2},
        "swap": {"total": 8 * GIB, "used": 0, "free": 8 * GIB},
        "rootfs": {"total": ROOT, "used": root_used(node), "free": ROOT - root_used(node), "avail": ROOT - root_used(node) - 5 * GIB},
        "ksm": {"shared": 0},
        "pveversion": "pve-manager/9.2.11/14a22df3deadbeef",
        "kversion": "Linux 6.17.4-1-pve #1 SMP PREEMPT_DYNAMIC PMX 6.17.4-1",
        "current-kernel": {"sysname": "Linux", "release": "6.17.4-1-pve", "machine": "x86_64", "version": "#1 SMP PREEMPT_DYNAMIC PMX 6.17.4-1"},
        "boot-info": {"mode": "efi", "secureboot": 0},
        "cpuinfo": {"model": node.model, "cpus": node.cpus, "cores": node.cpus / 2, "sockets": sockets, "mhz": "2994.37",
            "hvm": "1", "user_hz": 100, "flags": "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat sse sse2 ht syscall nx aes avx avx2"},
    }))
}

/// GET /nodes/{node}/time.
pub(super) fn time(world: &mut World, _: &Call<'_>) -> Answer {
    Ok(json!({"time": world.seconds(), "localtime": world.seconds(), "timezone": "Etc/UTC"}))
}

/// GET /nodes/{node}/dns.
pub(super) fn dns(_: &mut World, _: &Call<'_>) -> Answer {
    Ok(json!({"search": "demo.example.test", "dns1": "192.0.2.53", "dns2": "192.0.2.54"}))
}

/// The rows of /etc/network/interfaces.
fn interfaces(node: &Node) -> Vec<Value> {
    let text = r#"[
        {"iface": "eno1", "type": "eth", "method": "manual", "method6": "manual", "families": ["inet"], "active": 1, "exists": 1,
         "priority": 3},
        {"iface": "eno2", "type": "eth", "method": "manual", "method6": "manual", "families": ["inet"], "active": 0, "exists": 1,
         "priority": 4},
        {"iface": "vmbr0", "type": "bridge", "method": "static", "method6": "manual", "families": ["inet"], "active": 1,
         "autostart": 1, "priority": 5, "address": "ADDRESS", "netmask": "24", "cidr": "ADDRESS/24", "gateway": "192.0.2.1",
         "bridge_ports": "eno1", "bridge_stp": "off", "bridge_fd": "0", "bridge_vlan_aware": 1, "bridge_vids": "2-4094"},
        {"iface": "vmbr1", "type": "bridge", "method": "manual", "method6": "manual", "families": ["inet"], "active": 1,
         "autostart": 1, "priority": 6, "bridge_ports": "", "bridge_stp": "off", "bridge_fd": "0", "comments": "guests\n"}
    ]"#;
    // Parsed, for a long literal is smaller as text than as the code that builds it.
    serde_json::from_str(&text.replace("ADDRESS", node.ip)).unwrap_or_default()
}

/// GET /nodes/{node}/network.
pub(super) fn network(world: &mut World, call: &Call<'_>) -> Answer {
    let all = interfaces(node(world, call)?);
    let kind =
        call.given("type").map(|t| if t.starts_with("any") { "bridge" } else { t }).filter(|t| *t != "include_sdn");
    Ok(all.into_iter().filter(|row| kind.is_none() || row.get("type").and_then(Value::as_str) == kind).collect())
}

/// GET /nodes/{node}/network/{iface}.
pub(super) fn interface(world: &mut World, call: &Call<'_>) -> Answer {
    let all = interfaces(node(world, call)?);
    let found = all.into_iter().find(|row| row.get("iface").and_then(Value::as_str) == call.given("iface"));
    match found {
        Some(mut row) => {
            if let Some(row) = row.as_object_mut() {
                row.remove("iface");
            }
            Ok(row)
        }
        None => failed("interface does not exist"),
    }
}

fn service_row(name: &str) -> Value {
    let running = name != "syslog";
    json!({"service": name, "name": name, "desc": format!("{name} service"),
        "state": if running { "running" } else { "dead" },
        "active-state": if running { "active" } else { "inactive" },
        "unit-state": if running { "enabled" } else { "not-found" }})
}

/// GET /nodes/{node}/services.
pub(super) fn services(_: &mut World, _: &Call<'_>) -> Answer {
    Ok(SERVICES.iter().map(|name| service_row(name)).collect())
}

/// GET /nodes/{node}/services/{service}/state.
pub(super) fn service(_: &mut World, call: &Call<'_>) -> Answer {
    Ok(service_row(call.text("service")))
}

/// POST /nodes/{node}/services/{service}/restart and …/reload.
pub(super) fn service_restart(world: &mut World, call: &Call<'_>) -> Answer {
    Job::new(call.text("node"), "srvrestart", call.text("service")).begin(world, &call.caller.id, |_| Ok(()))
}

/// GET /nodes/{node}/apt/update.
pub(super) fn updates(_: &mut World, call: &Call<'_>) -> Answer {
    let update = |package: &str, old: &str, new: &str, title: &str, origin: &str| {
        json!({"Package": package, "OldVersion": old, "Version": new, "Title": title, "Origin": origin, "Arch": "amd64",
            "Priority": "optional", "Section": "admin", "Description": title})
    };
    let mut all = vec![
        update("openssl", "3.5.1-1+deb13u1", "3.5.4-1~deb13u1", "Secure Sockets Layer toolkit", "Debian"),
        update("pve-qemu-kvm", "10.1.2-3", "10.1.2-4", "Full virtualization on x86 hardware", "Proxmox"),
    ];
    if call.text("node") == "pve3" {
        all.push(update("pve-manager", "9.2.9", "9.2.11", "Proxmox Virtual Environment management tools", "Proxmox"));
    }
    Ok(all.into())
}

/// POST /nodes/{node}/apt/update: reads the package lists anew.
pub(super) fn refresh(world: &mut World, call: &Call<'_>) -> Answer {
    Job::new(call.text("node"), "aptupdate", "")
        .line("starting apt-get update")
        .line("Hit:1 http://deb.debian.org/debian trixie InRelease")
        .line("Reading package lists...")
        .begin(world, &call.caller.id, |_| Ok(()))
}

/// GET /nodes/{node}/apt/versions.
pub(super) fn versions(_: &mut World, _: &Call<'_>) -> Answer {
    let row = |package: &str, version: &str| json!({"Package": package, "OldVersion": version, "Version": version, "CurrentState": "Installed", "Arch": "amd64", "Origin": "Proxmox"});
    let list = [
        ("proxmox-ve", "9.2.0"),
        ("pve-manager", "9.2.11"),
        ("pve-qemu-kvm", "10.1.2-3"),
        ("qemu-server", "9.2.6"),
        ("lxc-pve", "6.0.5-3"),
        ("corosync", "3.1.9-pve2"),
    ];
    Ok(list.iter().map(|(package, version)| row(package, version)).collect())
}

/// GET /nodes/{node}/subscription.
pub(super) fn subscription(_: &mut World, _: &Call<'_>) -> Answer {
    Ok(
        json!({"status": "notfound", "message": "There is no subscription key", "serverid": "00000000000000000000000000000000",
        "url": "https://www.proxmox.com/en/proxmox-virtual-environment/pricing"}),
    )
}

/// GET /nodes/{node}/certificates/info.
pub(super) fn certificates(world: &mut World, call: &Call<'_>) -> Answer {
    let node = node(world, call)?;
    let (from, to) = (node.booted as i64 - 8_000_000, node.booted as i64 + 55_000_000);
    Ok(
        json!([{"filename": "pve-ssl.pem", "subject": format!("/OU=PVE Cluster Node/O=Proxmox Virtual Environment/CN={}.demo.example.test", node.name),
        "issuer": "/CN=Proxmox Virtual Environment/OU=demo/O=PVE Cluster Manager CA", "fingerprint": fingerprint(node.name),
        "notbefore": from, "notafter": to, "san": ["127.0.0.1", "localhost", node.ip, node.name], "public-key-type": "rsaEncryption",
        "public-key-bits": 2048}]),
    )
}

/// GET /nodes/{node}/hosts.
pub(super) fn hosts(world: &mut World, _: &Call<'_>) -> Answer {
    let lines: String = world.nodes.iter().map(|n| format!("{} {1}.demo.example.test {1}\n", n.ip, n.name)).collect();
    Ok(json!({"data": format!("127.0.0.1 localhost\n{lines}"), "digest": "5f1c2c7a3b1b3a0a2c1c5e8d7a6b5c4d3e2f1a0b"}))
}

/// GET /nodes/{node}/rrddata.
pub(super) fn rrddata(world: &mut World, call: &Call<'_>) -> Answer {
    let node = node(world, call)?;
    let row = |time: f64| {
        let (cpu, mem) = usage(world, node, time);
        let busy = wave(seed(node), time / 3.0);
        json!({"time": time as i64, "cpu": cpu, "maxcpu": node.cpus, "iowait": cpu / 40.0, "loadavg": cpu * f64::from(node.cpus),
            "memused": mem, "memtotal": node.memory, "swapused": 0, "swaptotal": 8 * GIB, "rootused": root_used(node), "roottotal": ROOT,
            "netin": 400_000.0 * busy, "netout": 900_000.0 * busy})
    };
    Ok(moments(world, call.text("timeframe")).map(row).collect())
}

/// What the host wrote lately, oldest first.
fn lines(world: &World, node: &Node) -> Vec<String> {
    let mut lines = Vec::new();
    let hour = world.seconds() / 3600 * 3600;
    for n in (0..60).rev() {
        let at = stamp(hour - n * 60);
        lines.push(match n % 5 {
            0 => format!(
                "{at} {} pvestatd[1189]: status update time ({:.3} seconds)",
                node.name,
                0.2 + wave(7, n as f64)
            ),
            1 => format!("{at} {} pvedaemon[1214]: <root@pam> successful auth for user 'root@pam'", node.name),
            2 => format!("{at} {} corosync[1102]:   [KNET  ] link: host: 2 link: 0 is up", node.name),
            3 => format!("{at} {} CRON[20{n:02}]: (root) CMD (cd / && run-parts --report /etc/cron.hourly)", node.name),
            _ => format!("{at} {} systemd[1]: Started session of user root.", node.name),
        });
    }
    lines
}

/// GET /nodes/{node}/syslog.
pub(super) fn syslog(world: &mut World, call: &Call<'_>) -> Answer {
    let node = node(world, call)?;
    let lines: Vec<String> =
        lines(world, node).into_iter().filter(|l| call.given("service").is_none_or(|s| l.contains(s))).collect();
    let number = |name: &str| call.int(name).and_then(|n| usize::try_from(n).ok());
    call.total.set(Some(lines.len()));
    let part = lines
        .iter()
        .enumerate()
        .skip(number("start").unwrap_or(0))
        .take(number("limit").filter(|n| *n > 0).unwrap_or(50));
    Ok(part.map(|(n, line)| json!({"n": n + 1, "t": line})).collect())
}

/// GET /nodes/{node}/journal; a real node answers it in gzip whether asked or not, and so does this one.
pub(super) fn journal(world: &mut World, call: &Call<'_>) -> Answer {
    let node = node(world, call)?;
    let last = call.int("lastentries").and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let lines = lines(world, node);
    let cursor = |n: usize| format!("s=demo;i={n:x}");
    let part = lines.iter().skip(lines.len().saturating_sub(last)).cloned();
    Ok([cursor(0)].into_iter().chain(part).chain([cursor(lines.len())]).map(Value::from).collect())
}

/// GET /nodes/{node}/netstat.
pub(super) fn netstat(world: &mut World, call: &Call<'_>) -> Answer {
    let running = world.guests.values().filter(|g| g.running() && g.node == call.text("node"));
    let row = |vmid: u32| json!({"vmid": vmid.to_string(), "dev": format!("net{}", 0), "in": "0", "out": "0"});
    Ok(running.map(|g| row(g.vmid)).collect())
}

/// GET /nodes/{node}/config.
pub(super) fn config(world: &mut World, call: &Call<'_>) -> Answer {
    let node = node(world, call)?;
    Ok(
        json!({"description": format!("Host {} of the demo cluster", node.name), "digest": "2b7e151628aed2a6abf7158809cf4f3c762e7160"}),
    )
}

/// POST /nodes/{node}/startall and …/stopall are for those who may switch the guests they name.
pub(super) fn all(world: &mut World, call: &Call<'_>, start: bool) -> Answer {
    let node = call.text("node").to_string();
    let named: Vec<u32> = call.list("vms").filter_map(|v| v.parse().ok()).collect();
    if named.is_empty() {
        call.need(world, "/", "VM.PowerMgmt")?;
    }
    for id in &named {
        call.need(world, &format!("/vms/{id}"), "VM.PowerMgmt")?;
    }
    let force = call.flag("force");
    let wanted: Vec<(u32, String)> = world
        .guests
        .values()
        .filter(|g| g.node == node && g.running() != start && !g.is("template"))
        .filter(|g| if named.is_empty() { !start || force || g.is("onboot") } else { named.contains(&g.vmid) })
        .map(|g| (g.vmid, g.label()))
        .collect();
    let mut job = Job::new(&node, if start { "startall" } else { "stopall" }, "");
    for (_, label) in &wanted {
        job = job.line(format!("{} {label}", if start { "Starting" } else { "Stopping" }));
    }
    job.begin(world, &call.caller.id, move |world| {
        let now = world.now;
        for (id, _) in wanted {
            match world.guests.get_mut(&id) {
                Some(guest) if start => super::power::start_now(guest, now),
                Some(guest) => super::power::stop_now(guest),
                None => {}
            }
        }
        Ok(())
    })
}

/// POST /nodes/{node}/startall.
pub(super) fn start_all(world: &mut World, call: &Call<'_>) -> Answer {
    all(world, call, true)
}

/// POST /nodes/{node}/stopall.
pub(super) fn stop_all(world: &mut World, call: &Call<'_>) -> Answer {
    all(world, call, false)
}
