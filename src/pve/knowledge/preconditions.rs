//! The states of a guest in which a node certainly refuses an operation, as a table.
//!
//! A row is here only if no other parameter or privilege lifts the refusal. Its message is that of the node, and its next
//! step is that of the table of messages. To add a row, add the message there too.

use crate::pve::method::Method;
use crate::pve::params::ApiParams;
use Excluded::{HasSnapshots, InHa, Paused, Protected, Running, Stopped, Template};
use Method::{Delete, Post, Put};

/// A state of a guest that excludes an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excluded {
    Running,
    Stopped,
    /// It runs, and QEMU has paused it.
    Paused,
    Template,
    /// Its option `protection` is on.
    Protected,
    /// The HA manager has it as a resource.
    InHa,
    HasSnapshots,
}

/// A state in which a node refuses an operation.
pub struct Precondition {
    method: Method,
    /// The path with placeholders. `{guest}`, `{vm}` and `{container}` replace the path of a guest. `*` is any end.
    template: &'static str,
    /// The row is about calls with this parameter only. Empty for any call.
    given: &'static str,
    /// Each of these parameters lifts the refusal.
    unless: &'static [&'static str],
    pub excluded: Excluded,
    /// The HA manager takes the request over for its own guests, so the row is not about these.
    pub yields_to_ha: bool,
    /// A lock of the guest may mean that it only seems to be in this state, such as suspended to disk.
    pub yields_to_lock: bool,
    /// The message of the node, with `{vmid}`. Empty if nothing would change.
    pub message: &'static str,
    /// The node accepts the call, and does nothing.
    pub is_accepted: bool,
}

impl Excluded {
    /// Returns the state as the end of a sentence: `VM 100 …`.
    pub fn describe(self) -> &'static str {
        match self {
            Running => "is running",
            Stopped => "is stopped",
            Paused => "is paused",
            Template => "is a template",
            Protected => "has the option protection",
            InHa => "is a resource of high availability",
            HasSnapshots => "has snapshots",
        }
    }
}

const fn row(method: Method, template: &'static str, excluded: Excluded, message: &'static str) -> Precondition {
    Precondition {
        method,
        template,
        given: "",
        unless: &[],
        excluded,
        yields_to_ha: false,
        yields_to_lock: false,
        message,
        is_accepted: false,
    }
}

impl Precondition {
    const fn given(self, given: &'static str) -> Self {
        Self { given, ..self }
    }

    const fn unless(self, unless: &'static [&'static str]) -> Self {
        Self { unless, ..self }
    }

    const fn yields_to_ha(self) -> Self {
        Self { yields_to_ha: true, ..self }
    }

    const fn accepted(self) -> Self {
        Self { is_accepted: true, ..self }
    }

    const fn yields_to_lock(self) -> Self {
        Self { yields_to_lock: true, ..self }
    }
}

/// The rows of the API of PVE 9 (Qemu.pm, LXC.pm, AbstractConfig.pm).
static TABLE: &[Precondition] = &[
    row(Delete, "{vm}", Protected, "can't remove VM {vmid} - protection mode enabled"),
    row(Delete, "{container}", Protected, "can't remove CT {vmid} - protection mode enabled"),
    row(Delete, "{guest}", InHa, "unable to remove {vmid} - used in HA resources and purge parameter not set.")
        .unless(&["purge"]),
    row(Delete, "{vm}", Running, "VM {vmid} is running - destroy failed"),
    row(Delete, "{container}", Running, "unable to destroy CT {vmid} - container is running").unless(&["force"]),
    row(Post, "{vm}/status/start", Template, "you can't start a vm if it's a template").yields_to_ha(),
    row(Post, "{container}/status/start", Template, "you can't start a CT if it's a template").yields_to_ha(),
    row(Post, "{vm}/status/start", Running, "VM {vmid} already running").yields_to_ha().yields_to_lock(),
    row(Post, "{container}/status/start", Running, "CT {vmid} already running").yields_to_ha().yields_to_lock(),
    // Nothing happens. The task of a container is a failure.
    row(Post, "{vm}/status/stop", Stopped, "").yields_to_ha().yields_to_lock().accepted(),
    row(Post, "{vm}/status/shutdown", Stopped, "").yields_to_ha().yields_to_lock().accepted(),
    row(Post, "{container}/status/stop", Stopped, "").yields_to_ha().yields_to_lock(),
    row(Post, "{container}/status/shutdown", Stopped, "").yields_to_ha().yields_to_lock(),
    row(Post, "{vm}/status/shutdown", Paused, "VM is paused - cannot shutdown").unless(&["forceStop"]).yields_to_ha(),
    row(Post, "{vm}/status/reboot", Stopped, "VM {vmid} not running"),
    row(Post, "{vm}/status/reboot", Paused, "VM is paused - cannot shutdown"),
    row(Post, "{container}/status/reboot", Stopped, "CT {vmid} not running"),
    row(Post, "{vm}/status/reset", Stopped, "VM {vmid} not running"),
    row(Post, "{vm}/status/suspend", Stopped, "VM {vmid} not running"),
    row(Post, "{container}/status/suspend", Stopped, "CT {vmid} not running"),
    row(Post, "{vm}/status/resume", Stopped, "VM {vmid} not running").yields_to_lock(),
    row(Post, "{container}/status/resume", Stopped, "CT {vmid} not running").yields_to_lock(),
    row(Post, "{vm}/agent/*", Stopped, "VM {vmid} is not running"),
    row(Put, "{vm}/sendkey", Stopped, "VM {vmid} not running"),
    row(Post, "{vm}/migrate", Running, "can't migrate running VM without --online").unless(&["online"]),
    row(Post, "{container}/migrate", Running, "can't migrate running container without --online or --restart")
        .unless(&["online", "restart"])
        .yields_to_ha(),
    row(Post, "{container}/migrate", Running, "lxc live migration is currently not implemented")
        .given("online")
        .unless(&["restart"])
        .yields_to_ha(),
    row(Post, "{vm}/remote_migrate", Running, "can't migrate running VM without --online").unless(&["online"]),
    row(Post, "{container}/remote_migrate", Running, "can't migrate running container without --online or --restart")
        .unless(&["online", "restart"]),
    row(Post, "{container}/clone", Running, "cannot clone a running container: no snapshot name given")
        .unless(&["snapname"]),
    row(Post, "{container}/move_volume", Running, "cannot move volumes of a running container")
        .unless(&["target-vmid"]),
    row(Post, "{guest}/template", Template, "you can't convert a template to a template").unless(&["disk"]),
    row(Post, "{vm}/template", Running, "you can't convert a VM to template if VM is running"),
    row(Post, "{container}/template", Running, "you can't convert a CT to template if the CT is running"),
    row(Post, "{vm}/template", HasSnapshots, "unable to create template, because VM contains snapshots"),
    row(Post, "{container}/template", HasSnapshots, "unable to create template, because CT contains snapshots"),
    row(Post, "/nodes/{node}/qemu", Running, "unable to restore VM {vmid} - vm is running").given("force"),
    row(Post, "/nodes/{node}/lxc", Running, "unable to restore CT {vmid} - can't overwrite running container")
        .given("force"),
];

/// An operation that a node refuses while its guest is locked.
pub struct LockRefusal {
    method: Method,
    template: &'static str,
    /// The parameter that lifts the refusal.
    unless: &'static str,
    /// The HA manager takes the request over for its own guests.
    pub yields_to_ha: bool,
}

const fn locked(method: Method, template: &'static str, unless: &'static str) -> LockRefusal {
    LockRefusal { method, template, unless, yields_to_ha: false }
}

const fn locked_beside_ha(template: &'static str) -> LockRefusal {
    LockRefusal { method: Post, template, unless: "skiplock", yields_to_ha: true }
}

/// The operations that check the lock of the guest, whatever it is. Those that accept some locks are left out.
static LOCK_REFUSALS: &[LockRefusal] = &[
    locked(Delete, "{vm}", "skiplock"),
    locked(Put, "{guest}/config", "skiplock"),
    locked(Post, "{vm}/config", "skiplock"),
    locked(Put, "{guest}/resize", "skiplock"),
    locked(Post, "{vm}/move_disk", ""),
    locked(Post, "{container}/move_volume", ""),
    locked(Post, "{guest}/clone", ""),
    locked(Post, "{guest}/template", ""),
    locked(Post, "{guest}/snapshot", ""),
    locked(Delete, "{guest}/snapshot/{snapname}", "force"),
    locked(Post, "{guest}/snapshot/{snapname}/rollback", ""),
    locked_beside_ha("{guest}/migrate"),
    locked_beside_ha("{guest}/status/stop"),
    locked_beside_ha("{guest}/status/shutdown"),
];

/// Returns the row about an operation that a node refuses while its guest is locked.
pub fn find_lock_refusal(method: Method, template: &str, params: &ApiParams) -> Option<&'static LockRefusal> {
    let is_lifted = |row: &&LockRefusal| params.iter().any(|(name, on)| name == row.unless && on != "0");
    LOCK_REFUSALS.iter().find(|row| row.method == method && fits(row.template, template) && !is_lifted(row))
}

/// The operations that make an object, and refuse the name of one that exists. A read of the object fails unless it exists.
static UNIQUE_NAMES: &[&str] = &[
    "/access/domains",
    "/access/groups",
    "/access/roles",
    "/access/users",
    "/access/users/{userid}/token/{tokenid}",
    "/cluster/backup",
    "/cluster/ha/resources",
    "/cluster/ha/rules",
    "/cluster/replication",
    "/cluster/sdn/vnets",
    "/cluster/sdn/zones",
    "/pools",
    "/storage",
];

/// The parameters that name the node and the storage to which an operation brings something.
pub struct TargetParameters {
    pub node: &'static str,
    pub storage: &'static str,
}

/// The operations that check their target first, whatever else they are given.
static TARGETS: &[(&str, TargetParameters)] = &[
    ("{guest}/migrate", TargetParameters { node: "target", storage: "" }),
    ("{guest}/clone", TargetParameters { node: "target", storage: "storage" }),
    ("{guest}/move_disk", TargetParameters { node: "", storage: "storage" }),
    ("{guest}/move_volume", TargetParameters { node: "", storage: "storage" }),
    ("/nodes/{node}/vzdump", TargetParameters { node: "", storage: "storage" }),
];

/// Returns whether a POST on this path refuses the name of an object that exists.
pub fn refuses_used_name(template: &str) -> bool {
    UNIQUE_NAMES.contains(&template)
}

/// Returns the parameters of an operation that name its targets. An operation without one has an empty name.
pub fn find_target_parameters(method: Method, template: &str) -> Option<&'static TargetParameters> {
    let row = TARGETS.iter().find(|(pattern, _)| method == Post && fits(pattern, template));
    row.map(|(_, parameters)| parameters)
}

/// Returns the rows about an operation with these parameters, in their order.
pub fn find_preconditions(
    method: Method,
    template: &str,
    params: &ApiParams,
) -> impl Iterator<Item = &'static Precondition> {
    let is_set = |wanted: &str| {
        params.iter().any(|(name, value)| name == wanted && !matches!(value, "" | "0" | "no" | "off" | "false"))
    };
    TABLE.iter().filter(move |row| {
        row.method == method
            && fits(row.template, template)
            && (row.given.is_empty() || is_set(row.given))
            && !row.unless.iter().any(|name| is_set(name))
    })
}

/// Returns whether a template of the table is that of an operation.
fn fits(pattern: &str, template: &str) -> bool {
    let vm = template.strip_prefix("/nodes/{node}/qemu/{vmid}");
    let container = template.strip_prefix("/nodes/{node}/lxc/{vmid}");
    let wanted_and_rest = [("{vm}", vm), ("{container}", container), ("{guest}", vm.or(container))];
    let Some((end, rest)) =
        wanted_and_rest.into_iter().find_map(|(start, rest)| Some((pattern.strip_prefix(start)?, rest)))
    else {
        return pattern == template;
    };
    rest.is_some_and(|rest| match end.strip_suffix('*') {
        Some(start) => rest.starts_with(start),
        None => rest == end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::knowledge::messages::find_next_step;
    use crate::pve::schema::embedded_schema;

    #[test]
    fn rows_name_operations_and_parameters_that_exist() {
        for row in TABLE {
            let operations: Vec<_> = embedded_schema()
                .operations()
                .filter(|operation| operation.method() == row.method && fits(row.template, operation.template()))
                .collect();
            assert!(!operations.is_empty(), "{} {}", row.method, row.template);
            for name in row.unless.iter().copied().chain([row.given]).filter(|name| !name.is_empty()) {
                let has = operations.iter().any(|operation| operation.parameter(name).is_some());
                assert!(has, "{} {} has no {name}", row.method, row.template);
            }
        }
    }

    #[test]
    fn operations_that_a_lock_excludes_exist() {
        for row in LOCK_REFUSALS {
            let is_meant = |method, template: &str| method == row.method && fits(row.template, template);
            let mut all = embedded_schema().operations();
            assert!(all.any(|one| is_meant(one.method(), one.template())), "{} {}", row.method, row.template);
        }
    }

    #[test]
    fn names_are_those_of_operations_whose_object_can_be_read() {
        let schema = embedded_schema();
        for template in UNIQUE_NAMES {
            assert!(schema.find_by_template(Post, template).is_some(), "{template}");
            let is_object = |one: &str| {
                let read = schema.find_by_template(Method::Get, one);
                read.is_some_and(|read| read.risk().is_read_only() && matches!(read.return_type(), "object" | "null"))
            };
            let below = schema.operations().map(|operation| operation.template().to_owned());
            let is_child = |one: &String| {
                one.strip_prefix(template).is_some_and(|rest| rest.starts_with("/{") && rest.matches('/').count() == 1)
            };
            assert!(is_object(template) || below.filter(is_child).any(|one| is_object(&one)), "{template}");
        }
    }

    #[test]
    fn targets_are_parameters_of_their_operations() {
        for (pattern, targets) in TARGETS {
            let operations: Vec<_> = embedded_schema()
                .operations()
                .filter(|one| one.method() == Post && fits(pattern, one.template()))
                .collect();
            assert!(!operations.is_empty(), "{pattern}");
            for name in [targets.node, targets.storage].into_iter().filter(|name| !name.is_empty()) {
                assert!(operations.iter().all(|operation| operation.parameter(name).is_some()), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn every_message_has_a_next_step() {
        for row in TABLE.iter().filter(|row| !row.message.is_empty()) {
            let message = row.message.replace("{vmid}", "100");
            assert!(find_next_step(&message).is_some(), "{message}");
        }
    }

    #[test]
    fn parameters_lift_a_refusal_only_if_they_are_on() {
        let running = |method, template, given: &[(&str, &str)]| {
            let mut params = ApiParams::new();
            given.iter().for_each(|(name, value)| params.push(name, value));
            find_preconditions(method, template, &params).any(|row| row.excluded == Running)
        };
        let (vm, container) = ("/nodes/{node}/qemu/{vmid}", "/nodes/{node}/lxc/{vmid}");
        let (move_vm, move_container) = (format!("{vm}/migrate"), format!("{container}/migrate"));
        for (method, template, given, is_refused) in [
            (Delete, vm, &[][..], true),
            (Delete, vm, &[("skiplock", "1")], true),
            (Delete, container, &[], true),
            (Delete, container, &[("force", "1")], false),
            (Delete, container, &[("force", "0")], true),
            (Post, &move_vm, &[("online", "1")], false),
            (Post, &move_vm, &[("online", "0")], true),
            (Post, &move_container, &[("restart", "1")], false),
            (Post, &move_container, &[("online", "1")], true),
            (Post, &move_container, &[("online", "1"), ("restart", "1")], false),
            (Post, "/nodes/{node}/qemu", &[], false),
            (Post, "/nodes/{node}/qemu", &[("force", "1")], true),
            (Put, vm, &[], false),
        ] {
            assert_eq!(running(method, template, given), is_refused, "{method} {template} {given:?}");
        }
    }
}
