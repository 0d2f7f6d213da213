//! The calls that users need: values for examples, and the parameters that most calls have.

/// Data of the smallest useful call of an operation, where its required parameters are not enough.
#[rustfmt::skip]
const CALLS: &[(&str, &str)] = &[
    ("POST /nodes/{node}/qemu", r#"{"vmid": 8001, "name": "new-vm", "memory": 2048, "cores": 2, "scsi0": "local-lvm:32", "net0": "virtio,bridge=vmbr0"}"#),
    ("POST /nodes/{node}/lxc", r#"{"vmid": 8002, "hostname": "new-ct", "ostemplate": "local:vztmpl/debian-13-standard_amd64.tar.zst", "memory": 512, "rootfs": "local-lvm:8", "net0": "name=eth0,bridge=vmbr0,ip=dhcp"}"#),
    ("PUT /nodes/{node}/qemu/{vmid}/config", r#"{"memory": 4096, "cores": 2}"#),
    ("POST /nodes/{node}/qemu/{vmid}/config", r#"{"scsi1": "local-lvm:32"}"#),
    ("PUT /nodes/{node}/lxc/{vmid}/config", r#"{"memory": 1024, "cores": 2}"#),
    ("PUT /nodes/{node}/qemu/{vmid}/resize", r#"{"disk": "scsi0", "size": "+10G"}"#),
    ("PUT /nodes/{node}/lxc/{vmid}/resize", r#"{"disk": "rootfs", "size": "+10G"}"#),
    ("PUT /nodes/{node}/qemu/{vmid}/unlink", r#"{"idlist": "unused0"}"#),
    ("POST /nodes/{node}/qemu/{vmid}/move_disk", r#"{"disk": "scsi0", "storage": "nas"}"#),
    ("POST /nodes/{node}/lxc/{vmid}/move_volume", r#"{"volume": "rootfs", "storage": "nas"}"#),
    ("POST /nodes/{node}/qemu/{vmid}/clone", r#"{"newid": 102, "name": "web02", "full": true}"#),
    ("POST /nodes/{node}/lxc/{vmid}/clone", r#"{"newid": 202, "hostname": "dns02", "full": true}"#),
    ("POST /nodes/{node}/qemu/{vmid}/migrate", r#"{"target": "pve2", "online": true}"#),
    ("POST /nodes/{node}/lxc/{vmid}/migrate", r#"{"target": "pve2", "restart": true}"#),
    ("POST /nodes/{node}/qemu/{vmid}/agent/exec", r#"{"command": ["df", "-h"]}"#),
    ("POST /nodes/{node}/qemu/{vmid}/firewall/rules", r#"{"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "443", "enable": 1}"#),
    ("POST /nodes/{node}/lxc/{vmid}/firewall/rules", r#"{"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "443", "enable": 1}"#),
    ("POST /nodes/{node}/firewall/rules", r#"{"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "8006", "enable": 1}"#),
    ("POST /cluster/firewall/rules", r#"{"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "22", "enable": 1}"#),
    ("PUT /cluster/firewall/options", r#"{"enable": 1}"#),
    ("PUT /nodes/{node}/firewall/options", r#"{"enable": true}"#),
    ("PUT /nodes/{node}/qemu/{vmid}/firewall/options", r#"{"enable": true}"#),
    ("PUT /nodes/{node}/lxc/{vmid}/firewall/options", r#"{"enable": true}"#),
    ("POST /nodes/{node}/vzdump", r#"{"vmid": "100", "storage": "local"}"#),
    ("POST /cluster/backup", r#"{"schedule": "02:00", "all": true, "storage": "local"}"#),
    ("PUT /cluster/backup/{id}", r#"{"enabled": true}"#),
    ("PUT /access/acl", r#"{"path": "/vms/100", "roles": "PVEVMUser", "users": "jane@pve"}"#),
    ("PUT /access/users/{userid}", r#"{"enable": false}"#),
    ("PUT /access/users/{userid}/token/{tokenid}", r#"{"expire": 0}"#),
    ("POST /access/roles", r#"{"roleid": "Operator", "privs": "VM.Audit,VM.PowerMgmt"}"#),
    ("PUT /access/roles/{roleid}", r#"{"privs": "VM.Audit,VM.PowerMgmt"}"#),
    ("PUT /pools", r#"{"poolid": "prod", "vms": "100"}"#),
    ("POST /cluster/ha/resources", r#"{"sid": "vm:100"}"#),
    ("PUT /cluster/ha/resources/{sid}", r#"{"state": "stopped"}"#),
    ("POST /cluster/replication", r#"{"id": "100-0", "type": "local", "target": "pve2", "schedule": "*/15"}"#),
    ("POST /storage", r#"{"storage": "nas", "type": "nfs", "server": "10.0.0.9", "export": "/backup", "content": "backup"}"#),
    ("PUT /storage/{storage}", r#"{"content": "backup,iso"}"#),
    ("POST /nodes/{node}/network", r#"{"iface": "vmbr1", "type": "bridge", "autostart": true}"#),
    ("PUT /nodes/{node}/network/{iface}", r#"{"type": "bridge", "cidr": "10.0.0.11/24", "autostart": true, "bridge_vlan_aware": true}"#),
    ("POST /nodes/{node}/storage/{storage}/download-url", r#"{"content": "iso", "filename": "debian.iso", "url": "https://example.com/debian.iso"}"#),
    ("POST /nodes/{node}/aplinfo", r#"{"storage": "local", "template": "debian-13-standard_13.1-2_amd64.tar.zst"}"#),
    ("PUT /nodes/{node}/storage/{storage}/content/{volume}", r#"{"protected": true}"#),
    ("DELETE /nodes/{node}/storage/{storage}/prunebackups", r#"{"vmid": 100, "prune-backups": "keep-last=3"}"#),
    ("GET /nodes/{node}/tasks", r#"{"errors": true, "limit": 10}"#),
    ("GET /nodes/{node}/journal", r#"{"lastentries": 50}"#),
    ("GET /nodes/{node}/syslog", r#"{"limit": 50}"#),
    ("GET /nodes/{node}/storage/{storage}/content", r#"{"content": "backup"}"#),
    ("GET /cluster/resources", r#"{"type": "vm"}"#),
    ("POST /nodes/{node}/disks/zfs", r#"{"name": "tank", "raidlevel": "mirror", "devices": "/dev/sdb,/dev/sdc"}"#),
    ("POST /cluster/sdn/zones", r#"{"zone": "lab", "type": "simple"}"#),
    ("POST /cluster/sdn/vnets", r#"{"vnet": "vnet1", "zone": "lab"}"#),
    ("POST /cluster/sdn/vnets/{vnet}/subnets", r#"{"subnet": "10.1.0.0/24", "type": "subnet", "gateway": "10.1.0.1"}"#),
];

/// Values of parameters by their names.
#[rustfmt::skip]
const VALUES: &[(&str, &str)] = &[
    ("node", "pve1"), ("vmid", "100"), ("newid", "8001"), ("storage", "local"), ("snapname", "before"), ("target", "pve2"),
    ("userid", "jane@pve"), ("username", "jane@pve"), ("tokenid", "mcp"), ("roleid", "Operator"), ("groupid", "admins"),
    ("realm", "pve"), ("poolid", "prod"), ("service", "pveproxy"), ("sid", "vm:100"), ("resources", "vm:100,vm:101"), ("pos", "0"), ("iface", "vmbr0"),
    ("cidr", "10.0.0.0/24"), ("ip", "10.0.0.5"), ("vnet", "vnet1"), ("zone", "lab"), ("subnet", "lab-10.0.0.0-24"),
    ("osdid", "0"), ("monid", "pve1"), ("flag", "noout"), ("disk", "/dev/sdb"), ("device", "/dev/sdb"), ("dev", "/dev/sdb"),
    ("devices", "/dev/sdb"), ("path", "/"), ("size", "32G"), ("volume", "local:iso/debian.iso"), ("schedule", "02:00"),
    ("timeframe", "day"), ("ds", "cpu"), ("server", "10.0.0.9"), ("address", "10.0.0.9"), ("port", "5900"),
    ("url", "https://example.com/"), ("redirect-url", "https://example.com/"), ("portal", "10.0.0.9"), ("key", "ctrl-alt-delete"),
    ("file", "/etc/hostname"), ("filepath", "/"), ("command", "info status"), ("pid", "1234"), ("timezone", "Europe/Berlin"),
    ("search", "example.com"), ("contact", "admin@example.com"), ("from-address", "pve@example.com"), ("hostname", "10.0.0.1"),
    ("upid", "UPID:pve1:0004A1C2:0163B2F1:690F4A10:vzdump:100:root@pam:"), ("action", "ACCEPT"), ("privs", "VM.Audit"),
    ("roles", "PVEVMUser"), ("nodes", "pve1,pve2"), ("password", "(a password)"), ("clustername", "lab"), ("value", "true"),
    ("fingerprint", "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF"),
    ("id", "job1"), ("name", "example"), ("group", "web"), ("idlist", "unused0"), ("vg", "pve"), ("volume-group", "pve"),
    ("template", "debian-13-standard_13.1-2_amd64.tar.zst"), ("target-endpoint", "host=10.0.0.1,apitoken=PVEAPIToken=root@pam!mcp=SECRET"),
    ("target-bridge", "vmbr0"), ("target-storage", "local-lvm"), ("handle", "no-subscription"), ("config-keys", "global:auth_client_required"),
    ("filename", "debian.iso"), ("reference", "docker.io/library/alpine:latest"), ("pci-id-or-mapping", "0000:01:00.0"),
    ("rule", "rule1"), ("content", "iso"), ("authid", "jane@pve"), ("commands", "[{\"method\":\"GET\",\"path\":\"/version\"}]"),
    ("token", "SECRET"), ("delete", "[\"comment\"]"),
];

/// Returns the data of the smallest useful call of an operation, as JSON text.
pub(crate) fn find_call(operation: &str) -> Option<&'static str> {
    CALLS.iter().find(|(known, _)| *known == operation).map(|(_, data)| *data)
}

/// Returns a value for a parameter of this name.
pub(crate) fn find_value(name: &str) -> Option<&'static str> {
    VALUES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// The parameters that most calls need, in the order of need. The others follow in their own order.
#[rustfmt::skip]
const NEEDED: [&str; 52] = [
    "vmid", "newid", "name", "hostname", "memory", "cores", "sockets", "cpu", "scsi[n]", "virtio[n]", "sata[n]", "ide[n]",
    "rootfs", "mp[n]", "net[n]", "ipconfig[n]", "ostype", "ostemplate", "boot", "agent", "onboot", "start", "target", "online",
    "full", "disk", "size", "storage", "snapname", "vmstate", "all", "pool", "schedule", "enabled", "mode", "type", "action",
    "enable", "proto", "dport", "source", "dest", "path", "roles", "users", "content", "state", "tags", "description", "comment",
    "delete", "password",
];

/// Returns the place of a parameter in the order of need, if most calls need it. `name` is `net[n]` or `net0`.
pub(crate) fn need(name: &str) -> Option<usize> {
    let family = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_same =
        |needed: &&str| **needed == *name || family.len() < name.len() && needed.strip_suffix("[n]") == Some(family);
    NEEDED.iter().position(is_same)
}
