//! The messages and statuses by which Proxmox reports a failure, as a table: a pattern, its meaning and the next step.
//!
//! An error response is classified once, where it is parsed. The result is kept in the error as a [`Diagnosis`], and
//! callers match on its [`Meaning`].
//!
//! To add a message, add a row to `TABLE`, a line to `CASES` of the test below, and a case from the field
//! (`CONTRIBUTING.md`).

use self::Pattern::{Anything, Contains, InOrder, StartsWith};
use std::ops::RangeInclusive;

/// Meaning of a failure that Proxmox reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meaning {
    /// The cluster has no node of that name.
    UnknownNode,
    /// The node that was asked cannot connect to the node concerned (595).
    NodeUnreachable,
    /// The connection between the two nodes broke, or no node has that name (596).
    NodeLostOrUnknown,
    /// The far node, or a storage there, took longer than the node asked waits (596 after 30 s).
    NodeTimedOut,
    /// The connection between the two nodes broke (597 to 599).
    NodeLost,
    /// The cluster file system of the node is down: it can do nothing.
    SickNode,
    /// The node is not part of the majority of the cluster: it refuses every change.
    NoQuorum,
    /// A proxy between this server and the node answered in its place.
    ProxyAnswered,
    /// Proxmox replaced its own message by a bare 400.
    HiddenError,
    /// A proxy between removed Proxmox's message.
    HiddenWords,
    /// The request reached Proxmox without its header `Authorization`.
    HeaderLost,
    /// The node has no configuration of this guest.
    MissingGuestConfig,
    /// The object does not exist.
    Absent,
    /// The object exists already.
    AlreadyExists,
    /// Another operation holds the object.
    Locked,
    /// The object is in a state, or is used in a way, that excludes the operation.
    Conflict,
    /// The object was changed after the caller read it.
    DigestMismatch,
    /// The node does not know this task, or no longer.
    UnknownTask,
    /// The operation is open to a login with a password only, never to an API token.
    TicketRequired,
    /// The operation is open to root@pam with a password only, never to an API token.
    RootRequired,
    /// The token lacks a privilege.
    MissingPrivilege,
    /// A package or component is not installed on the node.
    NotInstalled,
    /// The guest agent does not answer, or is not enabled.
    AgentUnavailable,
    /// A storage can't be used now.
    StorageUnavailable,
    /// The node does not have this operation.
    UnknownOperation,
    /// The parameters are wrong.
    InvalidParameters,
    /// The node answers with a redirect.
    Redirected,
    /// The node is overloaded or restarting.
    Unavailable,
    /// No row of the table matches.
    #[default]
    Unclassified,
}

impl Meaning {
    /// Returns whether the failure shows that the node refused the call before it did anything.
    pub(in crate::pve) fn shows_nothing_was_done(self) -> bool {
        use Meaning::*;
        match self {
            UnknownNode | NodeUnreachable | SickNode | NoQuorum | MissingGuestConfig | Absent | AlreadyExists
            | Locked | Conflict | DigestMismatch | TicketRequired | RootRequired | MissingPrivilege | NotInstalled
            | AgentUnavailable | UnknownOperation | InvalidParameters | Redirected => true,
            NodeLostOrUnknown | NodeTimedOut | NodeLost | ProxyAnswered | HiddenError | HiddenWords | HeaderLost
            | UnknownTask | StorageUnavailable | Unavailable | Unclassified => false,
        }
    }
}

/// Meaning of a failure, and the next step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    pub meaning: Meaning,
    /// The next step for the caller, if the table has one.
    pub hint: Option<&'static str>,
}

enum Pattern {
    Anything,
    StartsWith(&'static str),
    Contains(&'static str),
    /// Contains the first text, and the second after it.
    InOrder(&'static str, &'static str),
}

impl Pattern {
    fn matches(&self, message: &str) -> bool {
        match self {
            Pattern::Anything => true,
            Pattern::StartsWith(start) => message.starts_with(start),
            Pattern::Contains(part) => message.contains(part),
            Pattern::InOrder(first, second) => message.split_once(first).is_some_and(|(_, rest)| rest.contains(second)),
        }
    }
}

struct Row {
    statuses: RangeInclusive<u16>,
    message: Pattern,
    meaning: Meaning,
    hint: Option<&'static str>,
}

const fn row(statuses: RangeInclusive<u16>, message: Pattern, meaning: Meaning, hint: &'static str) -> Row {
    Row { statuses, message, meaning, hint: if hint.is_empty() { None } else { Some(hint) } }
}

const ANY: RangeInclusive<u16> = 0..=u16::MAX;

/// The first row that matches counts: messages come before statuses.
#[rustfmt::skip]
static TABLE: &[Row] = &[
    // A node that can do nothing.
    row(ANY, Contains("RPCEnvironment init request failed"), Meaning::SickNode, SICK_NODE),
    row(ANY, InOrder("ipcc_send_rec", "Connection refused"), Meaning::SickNode, SICK_NODE),
    row(ANY, InOrder("ipcc_send_rec", "Transport endpoint is not connected"), Meaning::SickNode, SICK_NODE),
    row(ANY, Contains("no quorum?"), Meaning::NoQuorum, "the node asked is not in the majority of the cluster, so it refuses every change: GET /cluster/status shows which nodes are online"),
    row(ANY, Contains("node is not in a cluster"), Meaning::Conflict, "this node runs alone, which is a state and no failure: operations of a cluster do not apply to it"),

    // Tokens and rights.
    row(401..=401, StartsWith("No ticket"), Meaning::HeaderLost, ""),
    row(401..=401, StartsWith("no ticket"), Meaning::HeaderLost, ""),
    row(ANY, Contains("need proper ticket"), Meaning::TicketRequired, TICKET_WAY),
    row(403..=403, Contains("not available with API token"), Meaning::TicketRequired, TICKET_WAY),
    row(ANY, Contains("user != root@pam"), Meaning::RootRequired, ROOT_WAY),
    row(ANY, Contains("only root can set"), Meaning::RootRequired, "no API token can set this option, not even one of root@pam: set it on the node's shell (`qm set` or `pct set`), or as root@pam with a password in the web interface"),
    row(ANY, Contains("only root can"), Meaning::RootRequired, ROOT_WAY),
    row(ANY, Contains("Only root may use this option"), Meaning::RootRequired, ROOT_WAY),
    row(ANY, Contains("only allowed for root@pam"), Meaning::RootRequired, ROOT_WAY),
    row(ANY, Contains("changing feature flags"), Meaning::RootRequired, "features other than nesting are set by root@pam with a password alone: `pct set` on the node's shell"),
    row(ANY, Contains("mount point type bind is only"), Meaning::RootRequired, "bind mounts of a directory are set by root@pam alone: `pct set` on the node's shell"),
    row(403..=403, StartsWith("Permission check failed ("), Meaning::MissingPrivilege, ""),
    row(403..=403, Contains("Permission check failed"), Meaning::MissingPrivilege, "Proxmox does not name the privilege: GET /access/permissions shows what the token has, describe_api what the operation requires"),
    row(ANY, Contains("Permission check failed"), Meaning::MissingPrivilege, "GET /access/permissions shows the privileges of the API token"),
    row(ANY, Contains("privilege required"), Meaning::MissingPrivilege, "GET /access/permissions shows the privileges of the API token"),

    // Nodes.
    row(ANY, StartsWith("hostname lookup"), Meaning::UnknownNode, "no node of that name exists: GET /nodes lists the nodes"),
    row(ANY, Contains("no such cluster node"), Meaning::UnknownNode, "no node of that name exists: GET /nodes lists the nodes"),
    row(ANY, InOrder("target node '", "is not online"), Meaning::Conflict, "the target node is off: GET /nodes lists the nodes with their state"),
    row(ANY, Contains("target is local node"), Meaning::Conflict, "the guest is on that node already: name another node as target"),

    // Guests.
    row(ANY, InOrder("Configuration file", "does not exist"), Meaning::MissingGuestConfig, "no such guest exists on that node: GET /cluster/resources?type=vm shows where each guest is"),
    row(ANY, Contains("unable to find configuration file for"), Meaning::MissingGuestConfig, "no such guest exists on that node: GET /cluster/resources?type=vm shows where each guest is"),
    row(ANY, Contains("config file already exists"), Meaning::AlreadyExists, TAKEN_NUMBER),
    row(ANY, InOrder("unable to create", "already exists"), Meaning::AlreadyExists, TAKEN_NUMBER),
    row(ANY, Contains("already running"), Meaning::Conflict, "the guest runs already: nothing is to be done, or use reboot or reset"),
    row(ANY, InOrder("VM ", "not running"), Meaning::Conflict, "the guest is off: start it first (POST …/status/start)"),
    row(ANY, InOrder("CT ", "not running"), Meaning::Conflict, "the container is off: start it first (POST …/status/start)"),
    row(ANY, Contains("is locked (backup)"), Meaning::Locked, "a backup of the guest runs: wait for its task (GET /cluster/tasks). If no backup runs, the lock is left over, and root removes it on the node with `qm unlock` or `pct unlock`"),
    row(ANY, Contains("is locked (migrate)"), Meaning::Locked, "the guest is being moved to another node: wait for that task (GET /cluster/tasks), then call again"),
    row(ANY, Contains("is locked (snapshot"), Meaning::Locked, "a snapshot of the guest is being made or deleted: wait for its task (GET /cluster/tasks)"),
    row(ANY, Contains("is locked ("), Meaning::Locked, "another operation holds the guest: wait for its task (GET /cluster/tasks). If none runs, the lock is left over, and root removes it on the node with `qm unlock` or `pct unlock`"),
    row(ANY, InOrder("can't lock file", "got timeout"), Meaning::Locked, "another operation held the file the whole time: wait for its task (GET /cluster/tasks), then call again"),
    row(ANY, Contains("got lock request timeout"), Meaning::Locked, "another operation of the cluster held the lock: try again in some seconds"),
    row(ANY, Contains("can't acquire lock"), Meaning::Locked, "another operation holds the lock: try again in some seconds"),
    row(ANY, Contains("protection mode enabled"), Meaning::Conflict, "the guest is protected from removal, perhaps on purpose: ask the user, then unset `protection` in its config"),
    row(ANY, Contains("snapshot feature is not available"), Meaning::Conflict, "a disk is on a storage, or in a format, without snapshots (raw files, LVM): GET …/config shows the disks, GET …/feature?feature=snapshot tests it. A backup (vzdump) works everywhere"),
    row(ANY, InOrder("snapshot '", "does not exist"), Meaning::Absent, "GET …/snapshot lists the snapshots of the guest"),
    row(ANY, Contains("snapshot name"), Meaning::AlreadyExists, "choose another name: GET …/snapshot lists those in use, and `current` is reserved"),
    row(ANY, Contains("no such snapshot"), Meaning::Absent, "GET …/snapshot lists the snapshots of the guest"),
    row(ANY, Contains("is a template"), Meaning::Conflict, TEMPLATE),
    row(ANY, Contains("it's a template"), Meaning::Conflict, TEMPLATE),
    row(ANY, Contains("can't migrate running VM without --online"), Meaning::Conflict, "the guest runs: add online=1, or shut it down first"),
    row(ANY, Contains("can't migrate VM which uses local devices"), Meaning::Conflict, "a device of this node ties the guest to it: GET …/config shows hostpci and usb entries"),
    row(ANY, Contains("linked clone"), Meaning::Conflict, "the storage can't make linked clones of this disk: add full=1"),
    row(ANY, Contains("shrinking disks is not supported"), Meaning::InvalidParameters, "a disk only grows: give a size above its present one, or +10G to add (GET …/config shows its size)"),
    row(ANY, InOrder("disk '", "does not exist"), Meaning::Absent, "GET …/config shows the disks of the guest"),
    row(ANY, Contains("VM quit/powerdown failed"), Meaning::Unclassified, "the guest did not shut down in time and may run on, since its agent or ACPI does not react. GET …/status/current shows it. Ask the user before POST …/status/stop, which switches it off"),
    row(ANY, InOrder("bridge '", "does not exist"), Meaning::Absent, "GET /nodes/{node}/network lists the bridges of the node"),
    row(ANY, Contains("unable to find VM '"), Meaning::Absent, "no such guest exists on that node: GET /cluster/resources?type=vm shows where each guest is"),
    row(ANY, Contains("checksum mismatch"), Meaning::DigestMismatch, "the object was changed in the meantime: read it again and use the new `digest`"),
    row(ANY, Contains("detected modified configuration"), Meaning::DigestMismatch, "the object was changed in the meantime: read it again and use the new `digest`"),
    row(ANY, Contains("is used by"), Meaning::Conflict, "another object uses it: remove that use first"),
    row(ANY, Contains("is managed by HA"), Meaning::Conflict, "the HA manager decides about this guest: change its state with PUT /cluster/ha/resources/{sid}"),

    // The guest agent.
    row(ANY, Contains("QEMU guest agent is not running"), Meaning::AgentUnavailable, "the agent inside the guest does not answer: the guest must run, with the package qemu-guest-agent installed and its service started; after a first start of the guest wait some seconds"),
    row(ANY, Contains("No QEMU guest agent configured"), Meaning::AgentUnavailable, "the agent is off in the guest's config: set agent=1 (PUT …/config), then stop and start the guest, with qemu-guest-agent installed inside"),
    row(ANY, Contains("guest agent command failed"), Meaning::Unclassified, "the agent answered, and the command failed inside the guest"),
    row(ANY, Contains("got no data from"), Meaning::AgentUnavailable, "the agent inside the guest did not answer in time: try again"),
    row(ANY, InOrder("Agent error", "No such file"), Meaning::Absent, AGENT_NO_FILE),
    row(ANY, Contains("Failed to execute child process"), Meaning::Absent, AGENT_NO_FILE),
    row(ANY, Contains("has been disabled"), Meaning::AgentUnavailable, "the configuration of the agent inside the guest forbids this command"),
    row(ANY, Contains("Wide character in"), Meaning::InvalidParameters, "this node can't take characters beyond ASCII here: send the content in base64 with encode=0"),

    // Storage.
    row(ANY, InOrder("storage '", "does not exist"), Meaning::Absent, "GET /storage lists the storages"),
    row(ANY, InOrder("delete storage failed", "does not exist"), Meaning::Absent, "GET /storage lists the storages"),
    row(ANY, InOrder("create storage failed", "already defined"), Meaning::AlreadyExists, "choose another name: GET /storage lists those in use"),
    row(ANY, InOrder("create storage failed", "is not online"), Meaning::Conflict, "the server of the new storage does not answer, so Proxmox did not add it: check its address and its export or share"),
    row(ANY, Contains("is not online"), Meaning::StorageUnavailable, "the server of the storage does not answer: GET /nodes/{node}/storage shows `active`"),
    row(ANY, InOrder("storage '", "is disabled"), Meaning::StorageUnavailable, "an operator disabled the storage: PUT /storage/{storage} with disable=0 enables it"),
    row(ANY, Contains("is not available on node"), Meaning::StorageUnavailable, "the storage is limited to other nodes: GET /storage/{storage} shows `nodes`"),
    row(ANY, Contains("unable to parse directory volume name"), Meaning::InvalidParameters, NEW_DISK),
    row(ANY, Contains("unable to parse lvm volume name"), Meaning::InvalidParameters, NEW_DISK),
    row(ANY, Contains("unable to parse zfs volume name"), Meaning::InvalidParameters, NEW_DISK),
    row(ANY, Contains("unable to parse rbd volume name"), Meaning::InvalidParameters, NEW_DISK),
    row(ANY, Contains("unable to parse volume ID"), Meaning::InvalidParameters, "a volume is STORAGE:NAME, such as local:iso/debian.iso; GET /nodes/{node}/storage/{storage}/content lists them"),
    row(ANY, Contains("does not support content"), Meaning::InvalidParameters, "the storage does not take this kind of content: GET /storage shows `content`, choose another"),
    row(ANY, Contains("No space left on device"), Meaning::StorageUnavailable, "the storage is full: GET /nodes/{node}/storage shows what is free"),
    row(ANY, Contains("out of space"), Meaning::StorageUnavailable, "the storage is full: GET /nodes/{node}/storage shows what is free"),
    row(ANY, Contains("not implemented for this plugin"), Meaning::UnknownOperation, "this type of storage does not have that operation"),

    // Packages and components.
    row(ANY, Contains("binary not installed: /usr/bin/ceph"), Meaning::NotInstalled, "Ceph is not installed on this node, so its operations do not apply"),
    row(ANY, Contains("binary not installed"), Meaning::NotInstalled, "a program is not installed on the node: root installs its package there"),
    row(ANY, Contains("zfsutils-linux not installed"), Meaning::NotInstalled, "ZFS is not installed on this node, so its operations do not apply"),
    row(ANY, Contains("Install 'skopeo'"), Meaning::NotInstalled, "root installs the package skopeo on the node"),
    row(ANY, Contains("not fully configured - missing '/etc/pve/ceph.conf'"), Meaning::NotInstalled, "Ceph is not set up on this cluster, so its operations do not apply"),
    row(ANY, Contains("not installed"), Meaning::NotInstalled, "a package is not installed on the node: root installs it there"),
    row(ANY, Contains("ha groups have been migrated to rules"), Meaning::UnknownOperation, "since Proxmox VE 9 rules replace HA groups: GET and POST /cluster/ha/rules (type node-affinity)"),
    row(ANY, Contains("ACME is not available"), Meaning::NotInstalled, "this node can't reach or use ACME"),

    // HA.
    row(ANY, InOrder("resource '", "does not exist in cluster"), Meaning::Absent, "the cluster has no guest of that number: GET /cluster/resources?type=vm lists the guests"),
    row(ANY, InOrder("create resource failed", "already defined"), Meaning::AlreadyExists, "HA manages the guest already: change it with PUT /cluster/ha/resources/{sid}"),
    row(ANY, Contains("no such resource"), Meaning::Absent, "GET /cluster/ha/resources lists what HA manages"),
    row(ANY, Contains("rule is ineffective"), Meaning::InvalidParameters, "a resource affinity names two resources or more, such as vm:100,vm:101"),
    row(ANY, Contains("create ha rule failed"), Meaning::InvalidParameters, "GET /cluster/ha/rules lists the rules, describe_api POST /cluster/ha/rules the parameters"),

    // Users, pools, jobs, firewall and the rest.
    row(ANY, InOrder("ACL update failed", "does not exist"), Meaning::Absent, "GET /access/roles, /access/users and /access/groups list the names"),
    row(ANY, InOrder("create user failed", "already exists"), Meaning::AlreadyExists, "the user exists: change it with PUT /access/users/{userid}"),
    row(ANY, Contains("no such user"), Meaning::Absent, "GET /access/users lists the users, each with its realm (name@pve)"),
    row(ANY, Contains("no such token"), Meaning::Absent, "GET /access/users/{userid}/token lists the tokens of the user"),
    row(ANY, Contains("no such group"), Meaning::Absent, "GET /access/groups lists the groups"),
    row(ANY, Contains("is not empty (contains"), Meaning::Conflict, "the pool still has members or pools within it: GET /pools?poolid=NAME lists them, move or remove them first"),
    row(ANY, Contains("belongs already to pool"), Meaning::Conflict, "add allow-move=1 to move the guest to the other pool"),
    row(ANY, InOrder("update pools failed", "does not exist"), Meaning::Absent, "GET /pools lists the pools"),
    row(ANY, InOrder("delete pool failed", "does not exist"), Meaning::Absent, "GET /pools lists the pools"),
    row(ANY, Contains("no such vzdump job"), Meaning::Absent, "GET /cluster/backup lists the backup jobs"),
    row(ANY, Contains("no such job"), Meaning::Absent, "GET /cluster/backup and /cluster/replication list the jobs"),
    row(ANY, Contains("No such job"), Meaning::Absent, "GET the list one step above for the jobs"),
    row(ANY, Contains("no rule at position"), Meaning::Absent, "GET the rules of the same path for their positions, which begin at 0"),
    row(ANY, Contains("no such IPSet"), Meaning::Absent, "GET …/firewall/ipset lists the IP sets"),
    row(ANY, Contains("no such security group"), Meaning::Absent, "GET /cluster/firewall/groups lists the security groups"),
    row(ANY, Contains("no such alias"), Meaning::Absent, "GET …/firewall/aliases lists the aliases"),
    row(ANY, Contains("invalid vnet specified"), Meaning::Absent, "GET /cluster/sdn/vnets lists the virtual networks"),
    row(ANY, InOrder("sdn ", "does not exist"), Meaning::Absent, "GET the list one step above for the names"),
    row(ANY, InOrder("ACME plugin", "not defined"), Meaning::Absent, "GET /cluster/acme/plugins lists the plugins"),
    row(ANY, InOrder("mapping '", "not found"), Meaning::Absent, "GET the list one step above for the mappings"),
    row(404..=404, Contains("No such tfa entry"), Meaning::Absent, "GET /access/tfa/{userid} lists the entries of the user"),
    row(404..=404, InOrder("endpoint '", "not found"), Meaning::Absent, "GET /cluster/notifications/endpoints lists the endpoints"),
    row(404..=404, InOrder("matcher '", "not found"), Meaning::Absent, "GET /cluster/notifications/matchers lists the matchers"),
    row(ANY, StartsWith("job errors"), Meaning::Unclassified, "at least one guest of the job failed: the lines with ERROR of its log name it and the cause"),
    row(ANY, Contains("no such task"), Meaning::UnknownTask, "GET /nodes/{node}/tasks lists the tasks that the node knows"),
    row(ANY, Contains("unable to parse worker upid"), Meaning::InvalidParameters, "a task is named by its whole UPID, as a call answered it (UPID:node:…:)"),
    row(400..=400, InOrder("VM ", "already exists"), Meaning::AlreadyExists, TAKEN_NUMBER),
    row(400..=400, Contains("invalid calendar event"), Meaning::InvalidParameters, "a schedule is a calendar event, such as 02:30, mon..fri 22:00, sat *:0/15 or daily"),
    row(400..=400, Contains("invalid replication job id"), Meaning::InvalidParameters, "a replication job is named GUEST-NUMBER, such as 100-0"),
    row(400..=400, Contains("invalid status '"), Meaning::InvalidParameters, "statusfilter takes ok, error, warning and unknown, several with commas"),
    row(400..=400, Contains("invalid privilege 'VM.Monitor'"), Meaning::InvalidParameters, "Proxmox VE 9 replaced VM.Monitor by VM.GuestAgent.Audit, .FileRead, .FileWrite, .FileSystemMgmt and .Unrestricted"),
    row(400..=400, Contains("invalid privilege"), Meaning::InvalidParameters, "GET /access/roles shows the privileges that exist"),
    row(400..=400, Contains("invalid ACL path"), Meaning::InvalidParameters, "an ACL path is such as /, /vms/100, /storage/local, /pool/prod, /nodes/pve1 or /access"),
    row(400..=400, Contains("unknown action"), Meaning::InvalidParameters, "a rule's action is ACCEPT, DROP or REJECT, or for type group the name of a security group"),
    row(400..=400, Contains("invalid urlencoded string"), Meaning::InvalidParameters, "the value is percent-encoded once before it is sent (a space as %20)"),
    row(400..=400, Contains("value without key"), Meaning::InvalidParameters, "the value is a list of key=value, such as keep-last=3,keep-weekly=2"),
    row(400..=400, Contains("valid CIDR"), Meaning::InvalidParameters, "a network is written as 10.0.0.0/24"),
    row(404..=404, Contains("not found"), Meaning::Absent, ABSENT),
    row(501..=501, Contains("/lxc/"), Meaning::UnknownOperation, "the node has no such operation for containers. Containers have no exec in the API: `pct exec` on the node's shell works, or SSH into the container. search_api finds other operations"),
    row(400..=599, Contains("already exists"), Meaning::AlreadyExists, "choose another name, or change the one that exists"),
    row(400..=599, Contains("already defined"), Meaning::AlreadyExists, "choose another name, or change the one that exists"),
    row(400..=599, Contains("does not exist"), Meaning::Absent, ABSENT),
    row(500..=599, Contains("no such "), Meaning::Absent, ABSENT),
    row(500..=500, Contains("unable to find"), Meaning::Absent, ABSENT),
    row(500..=500, Contains("Connection timed out"), Meaning::Unavailable, "something that the node asked did not answer it in time: try again"),
    row(500..=500, StartsWith("got timeout"), Meaning::Unavailable, "the node waited too long, often for a storage: try again, and look at GET /nodes/{node}/storage"),

    // Statuses.
    row(300..=399, Anything, Meaning::Redirected, "a redirect is not followed: check the address in clusters.json"),
    row(400..=400, Anything, Meaning::InvalidParameters, "correct the parameters and call again"),
    row(404..=404, Anything, Meaning::UnknownOperation, NO_OPERATION),
    row(501..=501, Anything, Meaning::UnknownOperation, NO_OPERATION),
    row(503..=503, Anything, Meaning::Unavailable, "the node is overloaded or restarting: try again in a moment"),
    row(595..=595, Anything, Meaning::NodeUnreachable, "the node asked cannot reach the node concerned, which is down or cut off from it; a name in the wrong case also ends so"),
    row(596..=596, Contains("timed out"), Meaning::NodeTimedOut, PEER_TIMEOUT),
    row(596..=596, Anything, Meaning::NodeLostOrUnknown, "the connection from the node asked to the node concerned broke, or no node of that name exists: names are case-sensitive, GET /nodes lists them"),
    row(597..=597, Anything, Meaning::NodeLost, NODE_LOST),
    row(598..=598, Anything, Meaning::NodeLost, ""),
    row(599..=599, Anything, Meaning::NodeLost, NODE_LOST),
];

const SICK_NODE: &str = "the cluster file system (pmxcfs) of the node asked is down, so it can do nothing: its operator \
                         restarts the service pve-cluster there";
const TICKET_WAY: &str = "no API token can do this: a person does it in the web interface, or root on the node's shell";
const ROOT_WAY: &str = "no API token can do this, not even one of root@pam: root does it on the node's shell, or root@pam \
                        with a password in the web interface";
const TAKEN_NUMBER: &str = "the number is in use: GET /cluster/nextid names a free one";
const TEMPLATE: &str = "a template can't run or be changed so: clone it first (POST …/clone)";
const NEW_DISK: &str = "for a new disk give its size in GiB as a plain number, such as local-lvm:32";
const AGENT_NO_FILE: &str = "no such program or file inside the guest: a command is a list, the program first and each \
                             argument by itself ([\"ls\", \"-l\"]); a text with blanks is one program name";
const ABSENT: &str = "GET the list one step above for what exists";
const PEER_TIMEOUT: &str = "the far node, or a storage that hangs there, took longer than Proxmox waits (30 s): try again, \
                            and look at GET /nodes/{node}/status and /nodes/{node}/storage";
const NO_OPERATION: &str = "the node has no such operation: its version may lack it, or the component is not installed. \
                            search_api finds others";
const NODE_LOST: &str = "the connection from the node asked to the node concerned broke: try again, or ask that node";

/// Returns the meaning of an error response with this status and message.
pub(in crate::pve) fn classify(status: u16, message: &str) -> Diagnosis {
    TABLE
        .iter()
        .find(|row| row.statuses.contains(&status) && row.message.matches(message))
        .map_or_else(Diagnosis::default, |row| Diagnosis { meaning: row.meaning, hint: row.hint })
}

/// Returns the meaning of an answer that a proxy gave in place of the node.
pub(in crate::pve) fn proxy_diagnosis() -> Diagnosis {
    Diagnosis {
        meaning: Meaning::ProxyAnswered,
        hint: Some(
            "a proxy or load balancer answers, not Proxmox: the node behind it is off, overloaded or restarting. \
                    Ask its operator, or put the node's own address (port 8006) into clusters.json",
        ),
    }
}

/// Returns the meaning of an answer without Proxmox's message. `is_empty`: the answer has no body.
pub(in crate::pve) fn hidden_message_diagnosis(status: u16, is_empty: bool) -> Diagnosis {
    match status {
        // (PVE: a message with a carriage return in its first line is replaced by this.)
        400 if is_empty => Diagnosis {
            meaning: Meaning::HiddenError,
            hint: Some(
                "this is no error of a parameter: Proxmox failed and hid its message. Read the object, the latest \
                        tasks (GET /cluster/tasks) and the syslog of the node",
            ),
        },
        400 | 500 => Diagnosis {
            meaning: Meaning::HiddenWords,
            hint: Some(
                "a proxy between this server and the node removed Proxmox's message: put the node's own address \
                        (port 8006) into clusters.json to see it, or read the object and the latest tasks",
            ),
        },
        _ => classify(status, ""),
    }
}

/// Returns the meaning of a 596 that came after the time that Proxmox waits for another node.
pub(in crate::pve) fn peer_timeout_diagnosis() -> Diagnosis {
    Diagnosis { meaning: Meaning::NodeTimedOut, hint: Some(PEER_TIMEOUT) }
}

/// Privileges that the API token lacks, as named by Proxmox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPrivilege {
    /// The path of the access control list; empty if Proxmox did not name it.
    pub acl_path: String,
    /// The privilege, or several separated by `|`, each of which suffices.
    pub privileges: String,
}

impl MissingPrivilege {
    /// Parses `Permission check failed (/vms/100, VM.Audit)`.
    pub(in crate::pve) fn parse(message: &str) -> Option<Self> {
        let inner = message.strip_prefix("Permission check failed (")?.strip_suffix(')')?;
        let (path, privileges) = inner.split_once(", ")?;
        let plausible =
            (path.is_empty() || path.starts_with('/')) && privileges.contains('.') && !privileges.contains(' ');
        plausible.then(|| Self { acl_path: path.to_owned(), privileges: privileges.to_owned() })
    }
}

/// Returns whether a node sends this line in place of a task log that is not written yet.
pub(in crate::pve) fn is_log_placeholder(line: &str) -> bool {
    line == "no content" || line.starts_with("unable to open file")
}

/// Returns the next step after the message by which a task ended, if the table has one.
pub(crate) fn find_next_step(message: &str) -> Option<&'static str> {
    classify(500, message).hint
}

/// Returns whether this exit status says that the node does not know the end of the task.
pub(in crate::pve) fn is_unknown_end(exit_status: &str) -> bool {
    exit_status == "unexpected status" || exit_status.starts_with("unable to read tail")
}

/// Returns whether this exit status is that of a task that was asked to stop (PVE: its worker dies of SIGTERM).
pub(in crate::pve) fn is_interruption(exit_status: &str) -> bool {
    matches!(exit_status, "received interrupt" | "interrupted by signal")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status and message as a node sends them, their meaning, and a part of the next step.
    #[rustfmt::skip]
    const CASES: &[(u16, &str, Meaning, &str)] = &[
        (500, "RPCEnvironment init request failed: Unable to load access control list: Connection refused", Meaning::SickNode, "pmxcfs"),
        (401, "ipcc_send_rec[1] failed: Connection refused", Meaning::SickNode, "pmxcfs"),
        (500, "ipcc_send_rec[4] failed: Transport endpoint is not connected", Meaning::SickNode, "pmxcfs"),
        (500, "cluster not ready - no quorum?", Meaning::NoQuorum, "/cluster/status"),
        (424, "node is not in a cluster, no join info available!", Meaning::Conflict, "a state"),
        (401, "No ticket", Meaning::HeaderLost, ""),
        (401, "no ticket", Meaning::HeaderLost, ""),
        (403, "Permission check failed (URI '/access/ticket' not available with API token, need proper ticket. )", Meaning::TicketRequired, "web interface"),
        (403, "URI '/x' not available with API token", Meaning::TicketRequired, "web interface"),
        (403, "Permission check failed (user != root@pam)", Meaning::RootRequired, "no API token"),
        (500, "only root can set 'args' config", Meaning::RootRequired, "no API token"),
        (500, "only root can configure this", Meaning::RootRequired, "no API token"),
        (403, "mounting is only allowed for root@pam", Meaning::RootRequired, "no API token"),
        (403, "changing feature flags (except nesting) is only allowed for the root user", Meaning::RootRequired, "pct set"),
        (403, "mount point type bind is only allowed for the root user", Meaning::RootRequired, "pct set"),
        (403, "Permission check failed (/vms/100, VM.Audit)", Meaning::MissingPrivilege, ""),
        (403, "Permission check failed", Meaning::MissingPrivilege, "describe_api"),
        (500, "Permission check failed (/vms/100, VM.Audit)", Meaning::MissingPrivilege, "/access/permissions"),
        (500, "Sys.Modify privilege required", Meaning::MissingPrivilege, "/access/permissions"),
        (500, "hostname lookup 'pve9' failed - failed to get address info for: pve9", Meaning::UnknownNode, "GET /nodes"),
        (500, "no such cluster node 'pve2'", Meaning::UnknownNode, "GET /nodes"),
        (500, "target node 'pve2' is not online", Meaning::Conflict, "off"),
        (500, "target is local node.", Meaning::Conflict, "another node"),
        (500, "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist", Meaning::MissingGuestConfig, "type=vm"),
        (500, "unable to find configuration file for VM 999 - no such machine", Meaning::MissingGuestConfig, "type=vm"),
        (500, "unable to create VM 400: config file already exists", Meaning::AlreadyExists, "nextid"),
        (500, "unable to create VM 100 - VM 100 already exists on node 'pve1'", Meaning::AlreadyExists, "nextid"),
        (500, "CT 200 already running", Meaning::Conflict, "runs already"),
        (500, "VM 100 not running", Meaning::Conflict, "start it first"),
        (500, "CT 200 not running", Meaning::Conflict, "start it first"),
        (500, "VM is locked (backup)", Meaning::Locked, "qm unlock"),
        (500, "VM is locked (migrate)", Meaning::Locked, "another node"),
        (500, "CT is locked (snapshot-delete)", Meaning::Locked, "snapshot"),
        (500, "VM is locked (clone)", Meaning::Locked, "pct unlock"),
        (500, "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout", Meaning::Locked, "then call again"),
        (500, "error with cfs lock 'file-user_cfg': got lock request timeout", Meaning::Locked, "some seconds"),
        (500, "can't acquire lock '/var/lock/x' - Resource temporarily unavailable", Meaning::Locked, "some seconds"),
        (500, "can't remove VM 400 - protection mode enabled", Meaning::Conflict, "ask the user"),
        (500, "snapshot feature is not available", Meaning::Conflict, "feature=snapshot"),
        (500, "snapshot 'before' does not exist", Meaning::Absent, "/snapshot"),
        (500, "unable to use snapshot name 'current' (reserved name)", Meaning::AlreadyExists, "reserved"),
        (500, "no such snapshot: x", Meaning::Absent, "/snapshot"),
        (500, "you can't start a vm if it's a template", Meaning::Conflict, "clone"),
        (500, "VM 9000 is a template", Meaning::Conflict, "clone"),
        (500, "can't migrate running VM without --online", Meaning::Conflict, "online=1"),
        (500, "can't migrate VM which uses local devices: hostpci0", Meaning::Conflict, "hostpci"),
        (500, "linked clone feature is not supported for drive 'scsi0'", Meaning::Conflict, "full=1"),
        (500, "shrinking disks is not supported", Meaning::InvalidParameters, "+10G"),
        (500, "disk 'scsi7' does not exist", Meaning::Absent, "/config"),
        (500, "VM quit/powerdown failed - got timeout", Meaning::Unclassified, "Ask the user"),
        (500, "bridge 'vmbr9' does not exist", Meaning::Absent, "/network"),
        (500, "unable to find VM '999'", Meaning::Absent, "type=vm"),
        (500, "job errors", Meaning::Unclassified, "ERROR"),
        (500, "checksum mismatch (file change by other user?)", Meaning::DigestMismatch, "`digest`"),
        (500, "detected modified configuration - file changed by other user? Try again.", Meaning::DigestMismatch, "`digest`"),
        (500, "base volume 'local:9000/base-9000-disk-0.raw' is used by 'linked'", Meaning::Conflict, "that use"),
        (500, "guest 100 is managed by HA", Meaning::Conflict, "/cluster/ha/resources"),
        (500, "QEMU guest agent is not running", Meaning::AgentUnavailable, "qemu-guest-agent"),
        (500, "No QEMU guest agent configured", Meaning::AgentUnavailable, "agent=1"),
        (500, "guest agent command failed", Meaning::Unclassified, "inside the guest"),
        (500, "VM 100 qga command 'guest-info' failed - got no data from server", Meaning::AgentUnavailable, "try again"),
        (500, "Agent error: Guest agent command failed, error was 'No such file or directory'", Meaning::Absent, "one program name"),
        (500, "Failed to execute child process \u{201c}ls -l\u{201d}", Meaning::Absent, "one program name"),
        (500, "Command guest-exec has been disabled", Meaning::AgentUnavailable, "forbids"),
        (500, "Wide character in subroutine entry at x", Meaning::InvalidParameters, "base64"),
        (500, "storage 'nosuch' does not exist", Meaning::Absent, "GET /storage"),
        (500, "delete storage failed: configuration of 'x' does not exist", Meaning::Absent, "GET /storage"),
        (500, "create storage failed: storage ID 'capdir' already defined", Meaning::AlreadyExists, "GET /storage"),
        (500, "create storage failed: storage 'capnfs' is not online", Meaning::Conflict, "did not add"),
        (500, "storage 'nfs1' is not online", Meaning::StorageUnavailable, "active"),
        (500, "storage 'nas' is disabled", Meaning::StorageUnavailable, "disable=0"),
        (500, "storage 'nas' is not available on node 'pve2'", Meaning::StorageUnavailable, "`nodes`"),
        (500, "unable to parse directory volume name '32G'", Meaning::InvalidParameters, "local-lvm:32"),
        (500, "unable to parse lvm volume name '32G'", Meaning::InvalidParameters, "local-lvm:32"),
        (500, "unable to parse zfs volume name '32G'", Meaning::InvalidParameters, "local-lvm:32"),
        (500, "unable to parse rbd volume name '32G'", Meaning::InvalidParameters, "local-lvm:32"),
        (500, "unable to parse volume ID 'x'", Meaning::InvalidParameters, "STORAGE:NAME"),
        (500, "storage 'local' does not support content-type 'images'", Meaning::InvalidParameters, "`content`"),
        (500, "write failed: No space left on device", Meaning::StorageUnavailable, "full"),
        (500, "thin pool is out of space", Meaning::StorageUnavailable, "full"),
        (500, "get_identity not implemented for this plugin at Plugin.pm line 2681.", Meaning::UnknownOperation, "type of storage"),
        (500, "binary not installed: /usr/bin/ceph-mon", Meaning::NotInstalled, "Ceph"),
        (500, "binary not installed: /usr/sbin/x", Meaning::NotInstalled, "package"),
        (500, "zfsutils-linux not installed", Meaning::NotInstalled, "ZFS"),
        (500, "Install 'skopeo' to list tags from OCI registries.", Meaning::NotInstalled, "skopeo"),
        (500, "ceph not fully configured - missing '/etc/pve/ceph.conf'", Meaning::NotInstalled, "Ceph"),
        (500, "frr is not installed", Meaning::NotInstalled, "package"),
        (500, "cannot index groups: ha groups have been migrated to rules", Meaning::UnknownOperation, "/cluster/ha/rules"),
        (500, "ACME is not available in this rig", Meaning::NotInstalled, "ACME"),
        (500, "resource 'vm:9999' does not exist in cluster", Meaning::Absent, "type=vm"),
        (500, "create resource failed: resource ID 'vm:400' already defined", Meaning::AlreadyExists, "HA manages"),
        (500, "no such resource 'vm:1'", Meaning::Absent, "/cluster/ha/resources"),
        (500, "create ha rule failed: 400 Rule 'r' is invalid.; resources: rule is ineffective as there are less than two resources", Meaning::InvalidParameters, "two resources"),
        (500, "create ha rule failed: 400 Rule 'r' is invalid.", Meaning::InvalidParameters, "/cluster/ha/rules"),
        (500, "ACL update failed: role 'NoRole' does not exist", Meaning::Absent, "/access/roles"),
        (500, "create user failed: user 'cap@pve' already exists", Meaning::AlreadyExists, "/access/users"),
        (500, "no such user ('cap@pve')", Meaning::Absent, "/access/users"),
        (500, "no such token 'x' for user 'cap@pve'", Meaning::Absent, "/token"),
        (500, "no such group 'g'", Meaning::Absent, "/access/groups"),
        (500, "delete pool failed: pool 'cap' is not empty (contains pool 'cap/child')", Meaning::Conflict, "first"),
        (500, "update pools failed: VM 400 belongs already to pool 'cap' and 'allow-move' is not set", Meaning::Conflict, "allow-move=1"),
        (500, "update pools failed: pool 'cap' does not exist", Meaning::Absent, "GET /pools"),
        (500, "delete pool failed: pool 'cap' does not exist", Meaning::Absent, "GET /pools"),
        (500, "no such vzdump job", Meaning::Absent, "/cluster/backup"),
        (500, "no such job 'x'", Meaning::Absent, "replication"),
        (500, "no rule at position 0", Meaning::Absent, "positions"),
        (500, "no such IPSet 'x1'", Meaning::Absent, "ipset"),
        (500, "no such security group 'g1'", Meaning::Absent, "groups"),
        (500, "no such alias 'x'", Meaning::Absent, "aliases"),
        (500, "invalid vnet specified at Helpers.pm line 54.", Meaning::Absent, "vnets"),
        (500, "sdn vnet 'v1' does not exist", Meaning::Absent, "one step above"),
        (500, "ACME plugin 'nightly' not defined", Meaning::Absent, "/cluster/acme/plugins"),
        (500, "mapping 'nightly' not found", Meaning::Absent, "mappings"),
        (404, "No such tfa entry 'nightly'", Meaning::Absent, "/access/tfa"),
        (404, "endpoint 'x1' not found", Meaning::Absent, "endpoints"),
        (404, "matcher 'x1' not found", Meaning::Absent, "matchers"),
        (500, "no such task", Meaning::UnknownTask, "/tasks"),
        (400, "unable to use worker upid - no such task", Meaning::UnknownTask, "/tasks"),
        (400, "unable to parse worker upid", Meaning::InvalidParameters, "whole UPID"),
        (400, "VM 100 already exists", Meaning::AlreadyExists, "nextid"),
        (400, "invalid format - invalid calendar event 'x'", Meaning::InvalidParameters, "02:30"),
        (400, "invalid format - invalid replication job id 'x'", Meaning::InvalidParameters, "100-0"),
        (400, "invalid format - invalid status 'failed'", Meaning::InvalidParameters, "ok, error"),
        (400, "invalid format - invalid privilege 'VM.Monitor'", Meaning::InvalidParameters, "VM.GuestAgent"),
        (400, "invalid format - invalid privilege 'X.Y'", Meaning::InvalidParameters, "/access/roles"),
        (400, "invalid ACL path '/nosuch'", Meaning::InvalidParameters, "/vms/100"),
        (400, "unknown action 'ALLOW'", Meaning::InvalidParameters, "ACCEPT"),
        (400, "invalid format - invalid urlencoded string: x y", Meaning::InvalidParameters, "%20"),
        (400, "invalid format - value without key, but schema does not define a default key", Meaning::InvalidParameters, "keep-last"),
        (400, "invalid format - value does not look like a valid CIDR network", Meaning::InvalidParameters, "10.0.0.0/24"),
        (400, "No such job 'nightly'", Meaning::Absent, "one step above"),
        (400, "Only root may use this option.", Meaning::RootRequired, "no API token"),
        (404, "entry not found", Meaning::Absent, "one step above"),
        (501, "Method 'POST /nodes/pve1/lxc/200/exec' not implemented", Meaning::UnknownOperation, "pct exec"),
        (500, "backup job with ID 'x' already exists", Meaning::AlreadyExists, "another name"),
        (500, "x 'y' already defined", Meaning::AlreadyExists, "another name"),
        (500, "fabric 'nightly' does not exist in configuration", Meaning::Absent, "one step above"),
        (500, "no such service 'x'", Meaning::Absent, "one step above"),
        (500, "unable to find volume", Meaning::Absent, "one step above"),
        (500, "Connection timed out", Meaning::Unavailable, "in time"),
        (500, "got timeout", Meaning::Unavailable, "storage"),
        (500, "Configuration file 'x' is broken", Meaning::Unclassified, ""),
        (301, "Moved Permanently", Meaning::Redirected, "address"),
        (400, "Parameter verification failed.", Meaning::InvalidParameters, "correct"),
        (404, "", Meaning::UnknownOperation, "search_api"),
        (501, "Method 'GET /nope' not implemented", Meaning::UnknownOperation, "search_api"),
        (503, "", Meaning::Unavailable, "try again"),
        (595, "Connection refused", Meaning::NodeUnreachable, "down or cut off"),
        (596, "Connection timed out", Meaning::NodeTimedOut, "longer"),
        (596, "Broken pipe", Meaning::NodeLostOrUnknown, "case-sensitive"),
        (597, "Broken pipe", Meaning::NodeLost, "try again"),
        (598, "", Meaning::NodeLost, ""),
        (599, "Too many redirections", Meaning::NodeLost, "try again"),
        (999, "", Meaning::Unclassified, ""),
    ];

    #[test]
    fn every_message_has_its_meaning_and_next_step() {
        for (status, message, meaning, hint) in CASES {
            let found = classify(*status, message);
            assert_eq!(found.meaning, *meaning, "{status} {message}");
            assert!(found.hint.unwrap_or_default().contains(hint), "{status} {message}: {found:?}");
            assert_eq!(found.hint.is_none(), hint.is_empty(), "{status} {message}: {found:?}");
        }
    }

    #[test]
    fn every_row_is_reached_by_a_case() {
        for (index, row) in TABLE.iter().enumerate() {
            let is_first = |(status, message, ..): &&(u16, &str, Meaning, &str)| {
                TABLE.iter().position(|r| r.statuses.contains(status) && r.message.matches(message)) == Some(index)
            };
            assert!(CASES.iter().any(|case| is_first(&case)), "row {index}: {:?}, {:?}", row.meaning, row.hint);
        }
    }

    #[test]
    fn the_missing_privilege_is_read_if_proxmox_names_it() {
        let parse = |message| MissingPrivilege::parse(message).map(|missing| (missing.acl_path, missing.privileges));
        let pair = |path: &str, privileges: &str| Some((path.to_owned(), privileges.to_owned()));
        assert_eq!(
            parse("Permission check failed (/vms/100, VM.Audit|VM.Config)"),
            pair("/vms/100", "VM.Audit|VM.Config")
        );
        assert_eq!(parse("Permission check failed (, Sys.Audit)"), pair("", "Sys.Audit"));
        for other in ["Permission check failed", "Permission check failed (user != root@pam)", "x (/, Sys.Audit)"] {
            assert_eq!(parse(other), None);
        }
    }
}
