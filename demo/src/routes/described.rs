//! Routes whose privileges and parameters the API description tells.

use super::route::Action::{Directory, Fixed, Handler, Refusal};
use super::route::{Route, described};
use crate::handlers::{access, agent, firewall, guest_config, guests, ha, misc, pools, retention};
use serde_json::json;

const NO_CEPH: &str = "binary not installed: /usr/bin/ceph-mon";

#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = &[
    described("GET", "/access/domains/{realm}", Handler(access::read_realm)),
    described("GET", "/access/openid", Directory("subdir", &["auth-url", "login"])),
    described("GET", "/cluster/acme", Directory("name", &[
        "account", "tos", "meta", "directories", "plugins", "challenge-schema",
    ])),
    described("GET", "/cluster/acme/directories", Fixed(|| json!([
        {"name": "Let's Encrypt V2", "url": "https://acme-v02.api.letsencrypt.org/directory"},
        {"name": "Let's Encrypt V2 Staging", "url": "https://acme-staging-v02.api.letsencrypt.org/directory"},
    ]))),
    described("GET", "/cluster/acme/plugins", Fixed(|| json!([]))),
    described("GET", "/cluster/acme/plugins/{id}", Handler(misc::fail_by_id)),
    described("GET", "/cluster/bulk-action", Directory("name", &["guest"])),
    described("GET", "/cluster/bulk-action/guest", Directory("name", &["start", "shutdown", "migrate", "suspend"])),
    // Ceph is not installed.
    described("GET", "/cluster/ceph", Directory("name", &["flags", "metadata", "restart-bulk", "status"])),
    described("GET", "/cluster/ceph/flags|metadata", Refusal(NO_CEPH)),
    described("GET", "/cluster/ceph/flags/{flag}", Refusal(NO_CEPH)),
    described("GET", "/nodes/{node}/ceph", Directory("name", &[
        "cmd-safety", "cfg", "crush", "fs", "init", "log", "mds", "mgr", "mon", "osd", "pool", "releases", "restart",
        "restart-bulk", "rules", "start", "status", "stop",
    ])),
    described("GET", "/nodes/{node}/ceph/cfg", Directory("name", &["raw", "db", "value"])),
    described("GET", "/nodes/{node}/ceph/cfg/db|raw|value", Refusal(NO_CEPH)),
    described("GET", "/nodes/{node}/ceph/cmd-safety|crush|fs|log|mds|mgr|mon|osd|pool|rules", Refusal(NO_CEPH)),
    described("GET", "/nodes/{node}/ceph/osd/{osdid}", Directory("name", &["metadata", "lv-info"])),
    described("GET", "/nodes/{node}/ceph/osd/{osdid}/lv-info|metadata", Refusal(NO_CEPH)),
    described("GET", "/nodes/{node}/ceph/pool/{name}", Directory("name", &["status"])),
    described("GET", "/nodes/{node}/ceph/pool/{name}/status", Refusal(NO_CEPH)),
    described("GET", "/nodes/{node}/ceph/releases", Fixed(|| json!([
        {"release": "reef", "version": "18.2", "available": 0, "is-default": 0, "unsupported": 0},
        {"release": "squid", "version": "19.2", "available": 1, "is-default": 1, "unsupported": 0},
    ]))),
    // firewall of the data centre
    described("POST", "/cluster/firewall/aliases", Handler(firewall::create_alias)),
    described("GET", "/cluster/firewall/aliases/{name}", Handler(firewall::read_alias)),
    described("PUT", "/cluster/firewall/aliases/{name}", Handler(firewall::update_alias)),
    described("DELETE", "/cluster/firewall/aliases/{name}", Handler(firewall::delete_alias)),
    described("GET", "/cluster/firewall/groups/{group}", Handler(firewall::read_group)),
    described("GET", "/cluster/firewall/groups/{group}/{pos}", Handler(firewall::read_group_rule)),
    described("GET", "/cluster/firewall/ipset/{name}", Handler(firewall::read_ipset)),
    described("GET", "/cluster/firewall/ipset/{name}/{cidr}", Handler(firewall::read_ipset_entry)),
    described("GET", "/cluster/firewall/refs", Handler(firewall::list_refs)),
    described("GET", "/cluster/firewall/rules/{pos}", Handler(firewall::read_cluster_rule)),
    described("GET", "/nodes/{node}/firewall/log", Fixed(|| json!([{"n": 1, "t": "no content"}]))),
    described("GET", "/nodes/{node}/firewall/rules/{pos}", Handler(firewall::read_node_rule)),
    described("GET", "/nodes/{node}/qemu|lxc/{vmid}/firewall/aliases/{name}", Handler(firewall::read_guest_alias)),
    described("GET", "/nodes/{node}/qemu|lxc/{vmid}/firewall/ipset/{name}", Handler(firewall::read_guest_ipset)),
    described("GET", "/nodes/{node}/qemu|lxc/{vmid}/firewall/ipset/{name}/{cidr}", Handler(firewall::read_guest_ipset)),
    described("GET", "/nodes/{node}/qemu|lxc/{vmid}/firewall/refs", Handler(firewall::list_refs)),
    described("PUT", "/nodes/{node}/qemu|lxc/{vmid}/firewall/options", Handler(firewall::update_options)),
    // HA
    described("GET", "/cluster/ha/groups/{group}", Refusal("cannot read group: ha groups have been migrated to rules")),
    described("POST", "/cluster/ha/groups", Refusal("cannot create group: ha groups have been migrated to rules")),
    described("PUT", "/cluster/ha/groups/{group}", Refusal("cannot update group: ha groups have been migrated to rules")),
    described("DELETE", "/cluster/ha/groups/{group}", Refusal("cannot delete group: ha groups have been migrated to rules")),
    described("POST", "/cluster/ha/resources/{sid}/migrate|relocate", Handler(ha::move_resource)),
    described("POST", "/cluster/ha/rules", Handler(ha::create_rule)),
    described("GET", "/cluster/ha/rules/{rule}", Handler(ha::read_rule)),
    described("PUT", "/cluster/ha/rules/{rule}", Handler(ha::update_rule)),
    described("DELETE", "/cluster/ha/rules/{rule}", Handler(ha::delete_rule)),
    // pools
    described("PUT", "/pools", Handler(pools::update_pool)),
    described("DELETE", "/pools", Handler(pools::delete_pool)),
    // mappings, notifications, SDN
    described("GET", "/cluster/jobs/realm-sync/{id}", Handler(misc::fail_without_job)),
    described("GET", "/cluster/mapping/dir|pci|usb", Fixed(|| json!([]))),
    described("GET", "/cluster/mapping/dir|pci|usb/{id}", Handler(misc::fail_by_id)),
    described("GET", "/cluster/metrics/server/{id}", Handler(misc::read_metric_server)),
    described("GET", "/cluster/notifications/endpoints/gotify|smtp|webhook", Fixed(|| json!([]))),
    described("GET", "/cluster/notifications/endpoints/sendmail", Fixed(|| json!([
        {
            "name": "mail-to-root", "mailto-user": ["root@pam"], "origin": "builtin",
            "comment": "Send mails to root@pam's email address",
        },
    ]))),
    described("GET", "/cluster/notifications/endpoints/gotify|sendmail|smtp|webhook/{name}", Handler(misc::read_endpoint)),
    described("GET", "/cluster/notifications/matcher-fields", Directory("name", &["type", "hostname", "job-id"])),
    described("GET", "/cluster/notifications/matcher-field-values", Fixed(|| json!([
        {"field": "type", "value": "vzdump"}, {"field": "type", "value": "replication"},
        {"field": "type", "value": "package-updates"}, {"field": "type", "value": "fencing"},
        {"field": "type", "value": "system-mail"}, {"field": "hostname", "value": "pve1"},
        {"field": "hostname", "value": "pve2"}, {"field": "hostname", "value": "pve3"},
        {"field": "job-id", "value": "backup-nightly", "comment": "production guests, every night"},
    ]))),
    described("GET", "/cluster/notifications/matchers/{name}", Handler(misc::read_matcher)),
    described("GET", "/cluster/qemu", Directory("name", &["cpu-flags", "custom-cpu-models"])),
    described("GET", "/cluster/qemu/custom-cpu-models", Fixed(|| json!([]))),
    described("GET", "/cluster/replication/{id}", Handler(misc::fail_without_replication)),
    described("GET", "/nodes/{node}/replication/{id}", Directory("name", &["schedule_now", "log", "status"])),
    described("GET", "/nodes/{node}/replication/{id}/log|status", Handler(misc::fail_without_replication)),
    described("GET", "/cluster/sdn/controllers|dns", Fixed(|| json!([]))),
    described("GET", "/cluster/sdn/controllers/{controller}", Handler(misc::fail_without_sdn)),
    described("GET", "/cluster/sdn/dns/{dns}", Handler(misc::fail_without_sdn)),
    described("GET", "/cluster/sdn/fabrics", Directory("subdir", &["fabric", "node", "all"])),
    described("GET", "/cluster/sdn/fabrics/all", Fixed(|| json!({"fabrics": [], "nodes": []}))),
    described("GET", "/cluster/sdn/fabrics/fabric|node", Fixed(|| json!([]))),
    described("GET", "/cluster/sdn/fabrics/fabric/{id}", Handler(misc::fail_without_fabric)),
    described("GET", "/cluster/sdn/fabrics/node/{fabric_id}", Fixed(|| json!([]))),
    described("GET", "/cluster/sdn/fabrics/node/{fabric_id}/{node_id}", Handler(misc::fail_without_fabric_node)),
    described("GET", "/cluster/sdn/ipams", Fixed(|| json!([
        {"ipam": "pve", "type": "pve", "digest": "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
    ]))),
    described("GET", "/cluster/sdn/ipams/{ipam}/status", Fixed(|| json!([]))),
    described("GET", "/cluster/sdn/vnets/{vnet}", Handler(misc::fail_without_vnet)),
    described("GET", "/cluster/sdn/vnets/{vnet}/subnets", Handler(misc::fail_without_vnet)),
    described("GET", "/cluster/sdn/zones/{zone}", Handler(misc::fail_without_zone)),
    described("GET", "/nodes/{node}/sdn", Directory("name", &["fabrics", "vnets", "zones"])),
    described("GET", "/nodes/{node}/sdn/vnets/{vnet}", Handler(misc::fail_without_vnet)),
    described("GET", "/nodes/{node}/sdn/vnets/{vnet}/mac-vrf", Handler(misc::fail_without_vnet)),
    described("GET", "/nodes/{node}/sdn/zones/{zone}/bridges", Handler(misc::list_zone_bridges)),
    // nodes
    described("GET", "/nodes/{node}/capabilities", Directory("name", &["qemu"])),
    described("GET", "/nodes/{node}/capabilities/qemu", Directory("name", &[
        "cpu", "cpu-flags", "machines", "migration",
    ])),
    described("GET", "/nodes/{node}/capabilities/qemu/cpu", Fixed(|| json!([
        {"name": "host", "vendor": "default", "custom": 0}, {"name": "x86-64-v2-AES", "vendor": "default", "custom": 0},
        {"name": "EPYC-Rome", "vendor": "AuthenticAMD", "custom": 0},
        {"name": "Cascadelake-Server-noTSX", "vendor": "GenuineIntel", "custom": 0},
    ]))),
    described("GET", "/nodes/{node}/capabilities/qemu/machines", Fixed(|| json!([
        {"id": "pc-i440fx-10.1", "type": "i440fx", "version": "10.1"},
        {"id": "pc-q35-10.1", "type": "q35", "version": "10.1"},
    ]))),
    described("GET", "/nodes/{node}/certificates/acme", Directory("name", &["certificate"])),
    described("GET", "/nodes/{node}/hardware/pci/{pci-id-or-mapping}", Directory("method", &["mdev"])),
    described("GET", "/nodes/{node}/hardware/pci/{pci-id-or-mapping}/mdev", Fixed(|| json!([]))),
    described("GET", "/nodes/{node}/query-oci-repo-tags", Refusal("Install 'skopeo' to list tags from OCI registries.")),
    described("GET", "/nodes/{node}/storage/{storage}/prunebackups", Handler(retention::list_prunable)),
    // guests
    described("GET", "/nodes/{node}/lxc/{vmid}/migrate", Handler(guests::check_migration)),
    described("GET", "/nodes/{node}/qemu/{vmid}/cloudinit/dump", Handler(guest_config::dump_cloudinit)),
    described("GET", "/nodes/{node}/qemu/{vmid}/agent/get-memory-blocks", Handler(agent::list_memory_blocks)),
    described("GET", "/nodes/{node}/qemu/{vmid}/agent/get-memory-block-info", Handler(agent::read_memory_block_info)),
    described("GET", "/nodes/{node}/qemu/{vmid}/agent/get-time", Handler(agent::read_time)),
    described("GET", "/nodes/{node}/qemu/{vmid}/agent/get-vcpus", Handler(agent::list_vcpus)),
    described("GET", "/nodes/{node}/qemu/{vmid}/agent/file-read", Handler(agent::read_file)),
    described("POST", "/nodes/{node}/qemu/{vmid}/agent/file-write", Handler(agent::write_file)),
    described("POST", "/nodes/{node}/qemu/{vmid}/agent/set-user-password", Handler(agent::set_password)),
    described("POST", "/nodes/{node}/qemu/{vmid}/agent/fsfreeze-freeze|fsfreeze-thaw|fsfreeze-status", Handler(agent::freeze)),
    described("POST", "/nodes/{node}/qemu/{vmid}/agent/fstrim", Handler(agent::trim)),
];
