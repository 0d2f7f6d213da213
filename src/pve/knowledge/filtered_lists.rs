//! Lists from which Proxmox leaves out what the token may not see, without a word.

use crate::pve::token_privileges::TokenPrivileges;

/// A privilege without which a list leaves rows out.
struct FilteredList {
    /// The path of the list, with placeholders.
    template: &'static str,
    /// The value of the parameter `type` or `content` to which the privilege matters. Empty: all.
    kind: &'static str,
    /// Each of these privileges shows the rows.
    privileges: &'static [&'static str],
    /// The ACL path, which may have the placeholders `{node}` and `{storage}`.
    acl_path: &'static str,
}

const fn row(
    template: &'static str,
    kind: &'static str,
    privileges: &'static [&'static str],
    acl_path: &'static str,
) -> FilteredList {
    FilteredList { template, kind, privileges, acl_path }
}

const CONTENT: &str = "/nodes/{node}/storage/{storage}/content";
/// The privilege on a storage that shows all of its content.
const ALL_CONTENT: &str = "Datastore.Allocate";

/// Observed on Proxmox VE 9.2 with tokens of different rights.
#[rustfmt::skip]
const TABLE: &[FilteredList] = &[
    row("/cluster/resources", "vm", &["VM.Audit"], "/vms"),
    row("/cluster/resources", "storage", &["Datastore.Audit"], "/storage"),
    row("/cluster/resources", "sdn", &["SDN.Audit"], "/sdn"),
    row("/cluster/resources", "pool", &["Pool.Audit"], "/pool"),
    row("/nodes/{node}/qemu", "", &["VM.Audit"], "/vms"),
    row("/nodes/{node}/lxc", "", &["VM.Audit"], "/vms"),
    row(CONTENT, "backup", &["VM.Backup"], "/vms"),
    row(CONTENT, "backup", &["Datastore.AllocateSpace"], "/storage/{storage}"),
    row(CONTENT, "images", &["VM.Config.Disk"], "/vms"),
    row(CONTENT, "rootdir", &["VM.Config.Disk"], "/vms"),
    row("/nodes/{node}/storage", "", &["Datastore.Audit", "Datastore.AllocateSpace"], "/storage"),
    row("/storage", "", &["Datastore.Audit", "Datastore.AllocateSpace"], "/storage"),
    row("/pools", "", &["Pool.Audit"], "/pool"),
    row("/cluster/log", "", &["Sys.Syslog"], "/"),
    row("/cluster/tasks", "", &["Sys.Audit"], "/nodes"),
    row("/nodes/{node}/tasks", "", &["Sys.Audit"], "/nodes/{node}"),
    row("/access/users", "", &["Sys.Audit", "User.Modify"], "/access/groups"),
    row("/access/groups", "", &["Sys.Audit", "User.Modify", "Group.Allocate"], "/access/groups"),
    row("/access/acl", "", &["Sys.Audit", "Permissions.Modify"], "/access"),
    row("/access/tfa", "", &["Sys.Audit", "User.Modify"], "/access/groups"),
    row("/cluster/replication", "", &["VM.Audit"], "/vms"),
    row("/nodes/{node}/replication", "", &["VM.Audit"], "/vms"),
    row("/cluster/mapping/pci", "", &["Mapping.Audit", "Mapping.Use", "Mapping.Modify"], "/mapping/pci"),
    row("/cluster/mapping/usb", "", &["Mapping.Audit", "Mapping.Use", "Mapping.Modify"], "/mapping/usb"),
    row("/cluster/mapping/dir", "", &["Mapping.Audit", "Mapping.Use", "Mapping.Modify"], "/mapping/dir"),
    row("/cluster/notifications/targets", "", &["Mapping.Audit", "Mapping.Use", "Mapping.Modify"], "/mapping/notifications"),
    row("/cluster/notifications/endpoints", "", &["Mapping.Audit", "Mapping.Modify"], "/mapping/notifications"),
    row("/cluster/notifications/matchers", "", &["Mapping.Audit", "Mapping.Use", "Mapping.Modify"], "/mapping/notifications"),
    row("/cluster/sdn/zones", "", &["SDN.Audit", "SDN.Allocate"], "/sdn/zones"),
    row("/cluster/sdn/vnets", "", &["SDN.Audit", "SDN.Allocate"], "/sdn/zones"),
    row("/cluster/sdn/controllers", "", &["SDN.Audit", "SDN.Allocate"], "/sdn/controllers"),
    row("/cluster/sdn/ipams", "", &["SDN.Audit", "SDN.Allocate"], "/sdn/ipams"),
    row("/cluster/sdn/dns", "", &["SDN.Audit", "SDN.Allocate"], "/sdn/dns"),
    row("/nodes/{node}/sdn/zones", "", &["SDN.Audit", "SDN.Allocate"], "/sdn/zones"),
];

/// Returns whether Proxmox filters the list of this path by the token's privileges.
pub(crate) fn is_filtered(template: &str) -> bool {
    TABLE.iter().any(|list| list.template == template)
}

/// Returns the privileges that would show more rows of a list, each as `VM.Audit on /vms`. `node` and `storage` are those
/// of the path. `kind` is the value of the parameter `type` or `content`.
pub(crate) fn find_missing(
    template: &str,
    node: &str,
    storage: &str,
    kind: Option<&str>,
    token: &TokenPrivileges,
) -> Vec<String> {
    let concerns = |list: &&FilteredList| {
        list.template == template && (list.kind.is_empty() || kind.is_none_or(|kind| kind == list.kind))
    };
    let mut missing = Vec::new();
    if template == CONTENT && token.holds(&format!("/storage/{storage}"), ALL_CONTENT) {
        return missing;
    }
    for list in TABLE.iter().filter(concerns) {
        let path = list.acl_path.replace("{node}", node).replace("{storage}", storage);
        if !list.privileges.iter().any(|privilege| token.holds_everywhere_below(&path, privilege)) {
            let text = format!("{} on {path}", list.privileges.join(" or "));
            if !missing.contains(&text) {
                missing.push(text);
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_privileges_that_the_token_lacks_are_named() {
        for (permissions, template, kind, expected) in [
            (
                r#"{"/":{"VM.Audit":1,"Datastore.Audit":1}}"#,
                CONTENT,
                Some("backup"),
                vec!["VM.Backup on /vms", "Datastore.AllocateSpace on /storage/nas"],
            ),
            (r#"{"/":{"VM.Backup":1,"Datastore.AllocateSpace":1}}"#, CONTENT, Some("backup"), vec![]),
            (r#"{"/":{},"/storage/nas":{"Datastore.Allocate":1}}"#, CONTENT, Some("backup"), vec![]),
            (
                r#"{"/":{"VM.Backup":0,"Datastore.AllocateSpace":1}}"#,
                CONTENT,
                Some("backup"),
                vec!["VM.Backup on /vms"],
            ),
            (r#"{"/":{"VM.Audit":1}}"#, CONTENT, Some("images"), vec!["VM.Config.Disk on /vms"]),
            (r#"{"/":{}}"#, CONTENT, Some("iso"), vec![]),
            (r#"{"/":{"VM.Audit":1}}"#, "/cluster/resources", Some("vm"), vec![]),
            (r#"{"/vms/100":{"VM.Audit":1}}"#, "/cluster/resources", Some("vm"), vec!["VM.Audit on /vms"]),
            (r#"{"/nodes/pve1":{"Sys.Audit":1}}"#, "/nodes/{node}/tasks", None, vec![]),
            (r#"{}"#, "/nodes/{node}/tasks", None, vec!["Sys.Audit on /nodes/pve1"]),
        ] {
            let token = TokenPrivileges::from_data(permissions);
            assert_eq!(find_missing(template, "pve1", "nas", kind, &token), expected, "{permissions} {template}");
        }
        assert!(is_filtered("/pools") && !is_filtered("/version"));
    }
}
