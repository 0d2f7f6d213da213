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
    /// A proxy or another web server rejected the request itself, so that no node got it.
    ProxyRejected,
    /// Proxmox replaced its own message by a bare 400.
    HiddenError,
    /// A proxy between removed Proxmox's message.
    HiddenWords,
    /// The request reached Proxmox without its header `Authorization`.
    HeaderLost,
    /// The user or the token is deleted, disabled or expired.
    TokenInvalid,
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
            | AgentUnavailable | UnknownOperation | InvalidParameters | Redirected | ProxyRejected | TokenInvalid => {
                true
            }
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
    row(ANY, InOrder("ipcc_send_rec", "failed"), Meaning::SickNode, SICK_NODE),
    row(ANY, Contains("no quorum"), Meaning::NoQuorum, "the node asked is not in the majority of the cluster, so it refuses every change: GET /cluster/status shows which nodes are online"),
    // These come in the middle of an operation too.
    row(ANY, InOrder("/etc/pve", "Transport endpoint is not connected"), Meaning::Unavailable, SICK_NODE),
    row(ANY, InOrder("/etc/pve", "Permission denied"), Meaning::Unavailable, READ_ONLY_NODE),
    row(ANY, InOrder("/etc/pve", "Input/output error"), Meaning::Unavailable, READ_ONLY_NODE),
    row(ANY, InOrder("/etc/pve", "Read-only file system"), Meaning::Unavailable, READ_ONLY_NODE),
    row(ANY, InOrder("corosync.conf'", "does not exist"), Meaning::Conflict, ALONE),
    row(ANY, Contains("node is not in a cluster"), Meaning::Conflict, ALONE),

    // Tokens and rights.
    row(401..=401, StartsWith("No ticket"), Meaning::HeaderLost, ""),
    row(401..=401, StartsWith("no ticket"), Meaning::HeaderLost, ""),
    row(401..=401, Contains("expired"), Meaning::TokenInvalid, "the user or the token has reached its date `expire`: an administrator of Proxmox moves it (Datacenter, Permissions), or makes a new token"),
    row(401..=401, Contains("disabled"), Meaning::TokenInvalid, "an administrator of Proxmox disabled the user: Datacenter, Permissions, Users enables it again"),
    row(401..=401, Contains("no such user"), Meaning::TokenInvalid, "the user was deleted, or is misspelled in clusters.json: it is written with its realm (name@pve)"),
    row(401..=401, Contains("no such token"), Meaning::TokenInvalid, "the token was deleted, or its `token_id` is misspelled in clusters.json: an administrator of Proxmox makes a new one (Datacenter, Permissions, API Tokens)"),
    row(ANY, Contains("need proper ticket"), Meaning::TicketRequired, TICKET_WAY),
    row(403..=403, Contains("not available with API token"), Meaning::TicketRequired, TICKET_WAY),
    row(ANY, Contains("user != root@pam"), Meaning::RootRequired, ROOT_WAY),
    row(ANY, Contains("only root can set"), Meaning::RootRequired, "no API token can set this option, not even one of root@pam: set it on the node's shell (`qm set` or `pct set`), or as root@pam with a password in the web interface"),
    row(ANY, Contains("arbitrary filesystem paths"), Meaning::RootRequired, "no API token can name a path of the node: give a volume of a storage (local-lvm:32 makes a new disk). Root sets a path on the node's shell (`qm set`)"),
    row(ANY, Contains("only root can"), Meaning::RootRequired, ROOT_WAY),
    row(ANY, Contains("Only root can"), Meaning::RootRequired, ROOT_WAY),
    row(403..=403, Contains("root@pam only"), Meaning::RootRequired, ROOT_WAY),
    row(403..=403, InOrder("API token", "not allowed"), Meaning::TicketRequired, TICKET_WAY),
    row(ANY, Contains("Only root may use this option"), Meaning::RootRequired, ROOT_WAY),
    row(ANY, Contains("Only root may set this parameter"), Meaning::RootRequired, ROOT_WAY),
    row(ANY, Contains("only allowed for root@pam"), Meaning::RootRequired, ROOT_WAY),
    row(ANY, Contains("changing feature flags"), Meaning::RootRequired, "features other than nesting are set by root@pam with a password alone: `pct set` on the node's shell"),
    row(ANY, Contains("mount point type bind is only"), Meaning::RootRequired, "bind mounts of a directory are set by root@pam alone: `pct set` on the node's shell"),
    row(403..=403, StartsWith("Permission check failed ("), Meaning::MissingPrivilege, ""),
    row(403..=403, Contains("Permission check failed"), Meaning::MissingPrivilege, "Proxmox does not name the privilege: GET /access/permissions shows what the token has, describe_api what the operation requires"),
    row(ANY, Contains("Permission check failed"), Meaning::MissingPrivilege, "GET /access/permissions shows the privileges of the API token"),
    row(ANY, Contains("privilege required"), Meaning::MissingPrivilege, "GET /access/permissions shows the privileges of the API token"),

    // Nodes.
    row(ANY, StartsWith("hostname lookup"), Meaning::UnknownNode, "no node of that name exists (GET /nodes lists them), or the node asked can't resolve its name: its operator adds it to /etc/hosts there"),
    row(ANY, Contains("no such cluster node"), Meaning::UnknownNode, "no node of that name exists: GET /nodes lists the nodes"),
    row(ANY, InOrder("target node '", "is not online"), Meaning::Conflict, "the target node is off: GET /nodes lists the nodes with their state"),
    row(ANY, InOrder("target node '", "not in available nodes"), Meaning::Conflict, "the guest can't run on that node: GET …/migrate shows the nodes that are allowed, and what ties it to its own"),
    row(ANY, Contains("Host key verification failed"), Meaning::Unavailable, NODE_SSH),
    row(ANY, InOrder("/usr/bin/ssh", "exit code 255"), Meaning::Unavailable, NODE_SSH),
    row(ANY, InOrder("ssh: connect to host", "port"), Meaning::Unavailable, NODE_SSH),
    row(ANY, Contains("target is local node"), Meaning::Conflict, "the guest is on that node already: name another node as target"),

    // Guests.
    row(ANY, InOrder("Configuration file", "does not exist"), Meaning::MissingGuestConfig, "no such guest exists on that node: GET /cluster/resources?type=vm shows where each guest is"),
    row(ANY, Contains("unable to find configuration file for"), Meaning::MissingGuestConfig, "no such guest exists on that node: GET /cluster/resources?type=vm shows where each guest is"),
    row(ANY, InOrder(".scope", "already exists"), Meaning::Conflict, LAST_RUN),
    row(ANY, Contains("config file already exists"), Meaning::AlreadyExists, TAKEN_NUMBER),
    row(ANY, InOrder("unable to create", "already exists"), Meaning::AlreadyExists, TAKEN_NUMBER),
    row(ANY, Contains("unable to find a free VMID"), Meaning::Conflict, "every number of the allowed range is in use: GET /cluster/options shows `next-id`"),
    row(ANY, Contains("move volumes of a running container"), Meaning::Conflict, RUNNING),
    row(ANY, Contains("lxc live migration is"), Meaning::Conflict, CONTAINER_MOVE),
    row(ANY, InOrder("unable to restore", "running"), Meaning::Conflict, RUNNING),
    row(ANY, Contains("VM is paused - cannot"), Meaning::Conflict, "QEMU has paused the VM: POST …/status/resume continues it, then it can shut down. Ask the user before POST …/status/stop, which loses unsaved data"),
    row(ANY, Contains("convert a template to a template"), Meaning::Conflict, "it is a template already: clone it for a new guest (POST …/clone)"),
    row(ANY, Contains("already running"), Meaning::Conflict, "the guest runs already: nothing is to be done, or use reboot or reset"),
    row(ANY, InOrder("VM ", "not running"), Meaning::Conflict, "the guest is off: start it first (POST …/status/start)"),
    row(ANY, InOrder("CT ", "not running"), Meaning::Conflict, "the container is off: start it first (POST …/status/start)"),
    row(ANY, InOrder("is running", "destroy"), Meaning::Conflict, RUNNING),
    row(ANY, InOrder("unable to destroy", "is running"), Meaning::Conflict, RUNNING),
    row(ANY, Contains("used in HA resources"), Meaning::Conflict, "HA manages the guest: add purge=1, which also removes it from HA and from jobs, or DELETE /cluster/ha/resources/{sid} first"),
    row(ANY, Contains("is locked (suspended)"), Meaning::Locked, "the guest is suspended to disk: POST …/status/start resumes it, and ends the lock"),
    row(ANY, Contains("is locked (rollback)"), Meaning::Locked, "a rollback to a snapshot runs, or one was broken off: wait for its task (GET /cluster/tasks). If none runs, root removes the lock on the node with `qm unlock` or `pct unlock`"),
    row(ANY, Contains("is locked (backup)"), Meaning::Locked, "a backup of the guest runs: wait for its task (GET /cluster/tasks). If no backup runs, the lock is left over, and root removes it on the node with `qm unlock` or `pct unlock`"),
    row(ANY, Contains("is locked (migrate)"), Meaning::Locked, "the guest is being moved to another node: wait for that task (GET /cluster/tasks), then call again"),
    row(ANY, Contains("is locked (snapshot"), Meaning::Locked, "a snapshot of the guest is being made or deleted: wait for its task (GET /cluster/tasks)"),
    row(ANY, Contains("is locked ("), Meaning::Locked, "another operation holds the guest: wait for its task (GET /cluster/tasks). If none runs, the lock is left over, and root removes it on the node with `qm unlock` or `pct unlock`"),
    row(ANY, Contains("vzdump.lock"), Meaning::Locked, "another backup runs on this node, and they run one after the other: wait for its task (GET /cluster/tasks)"),
    row(ANY, InOrder("can't lock file", "got timeout"), Meaning::Locked, "another operation held the file the whole time: wait for its task (GET /cluster/tasks), then call again"),
    row(ANY, Contains("got lock request timeout"), Meaning::Locked, "another operation of the cluster held the lock: try again in some seconds"),
    row(ANY, Contains("can't acquire lock"), Meaning::Locked, OTHER_LOCK),
    row(ANY, Contains("can't aquire lock"), Meaning::Locked, OTHER_LOCK),
    row(ANY, Contains("-locked command timed out"), Meaning::Unavailable, "the storage did not end the operation in time, and it may have been done in part: look at its content, and at GET /nodes/{node}/storage"),
    row(ANY, Contains("protection mode enabled"), Meaning::Conflict, "the guest is protected from removal, perhaps on purpose: ask the user, then unset `protection` in its config"),
    row(ANY, Contains("snapshot feature is not available"), Meaning::Conflict, NO_SNAPSHOTS),
    row(ANY, Contains("does not support taking new snapshots"), Meaning::Conflict, NO_SNAPSHOTS),
    row(ANY, InOrder("snapshot '", "does not exist"), Meaning::Absent, "GET …/snapshot lists the snapshots of the guest"),
    row(ANY, Contains("no snapshot name given"), Meaning::Conflict, "take a snapshot first (POST …/snapshot) and give its name as snapname, or shut the container down"),
    row(ANY, Contains("uses local storage"), Meaning::Conflict, "its disks are on a storage of its own node: clone it there, then migrate the copy (with-local-disks=1 for a running VM), or use a shared storage"),
    row(ANY, Contains("snapshot name"), Meaning::AlreadyExists, "choose another name: GET …/snapshot lists those in use, and `current` is reserved"),
    row(ANY, Contains("no such snapshot"), Meaning::Absent, "GET …/snapshot lists the snapshots of the guest"),
    row(ANY, Contains("is not most recent snapshot"), Meaning::Conflict, "ZFS only goes back to the newest snapshot: delete the newer ones first (GET …/snapshot lists them), or clone the older one"),
    row(ANY, Contains("more recent snapshots exist"), Meaning::Conflict, "ZFS only goes back to the newest snapshot: delete the newer ones first (GET …/snapshot lists them), or clone the older one"),
    row(ANY, Contains("dataset is busy"), Meaning::Conflict, "something still uses the dataset, such as a clone, a mount or a running task: end that use first"),
    row(ANY, InOrder("unable to create template", "contains snapshots"), Meaning::Conflict, "a template has no snapshots: delete them first (GET …/snapshot lists them)"),
    row(ANY, InOrder("move a disk with snapshots", "delete the source"), Meaning::Conflict, "leave delete=1 out, so that the old disk stays as unused, or delete the snapshots first"),
    row(ANY, Contains("in use by linked clone"), Meaning::Conflict, "linked clones depend on this template: delete them first, or move their disks (POST …/move_disk) to make them whole"),
    row(ANY, Contains("is a template"), Meaning::Conflict, TEMPLATE),
    row(ANY, Contains("it's a template"), Meaning::Conflict, TEMPLATE),
    row(ANY, Contains("can't migrate running VM without --online"), Meaning::Conflict, "the guest runs: add online=1, or shut it down first"),
    row(ANY, Contains("can't migrate VM which uses local devices"), Meaning::Conflict, "a device of this node ties the guest to it: GET …/config shows hostpci and usb entries"),
    row(ANY, Contains("running container without --online or --restart"), Meaning::Conflict, CONTAINER_MOVE),
    row(ANY, Contains("CT migration of running container"), Meaning::Conflict, CONTAINER_MOVE),
    row(ANY, Contains("can't live migrate attached local disks"), Meaning::Conflict, "a disk of the running VM is on a storage of its node: add with-local-disks=1, which copies it, and targetstorage if the target node lacks that storage"),
    row(ANY, InOrder("can't migrate local", "disk"), Meaning::Conflict, LOCAL_DISK),
    row(ANY, Contains("Cannot migrate from local storage"), Meaning::Conflict, LOCAL_DISK),
    row(ANY, Contains("can't migrate VM - check log"), Meaning::Unclassified, "the lines with ERROR of the task's log name what ties the VM to its node: GET /nodes/{node}/tasks/{upid}/log"),
    row(ANY, Contains("migration problems"), Meaning::Unclassified, "the guest may be on either node, and may run or not: GET /cluster/resources?type=vm shows where it is, and the lines with ERROR of the task's log name the cause"),
    row(ANY, Contains("migration aborted"), Meaning::Unclassified, "the guest stays on its node: the lines with ERROR of the task's log name the cause"),
    row(ANY, Contains("linked clone"), Meaning::Conflict, "the storage can't make linked clones of this disk: add full=1"),
    row(ANY, Contains("shrinking disks is not supported"), Meaning::InvalidParameters, ONLY_GROWS),
    row(ANY, Contains("unable to shrink disk size"), Meaning::InvalidParameters, ONLY_GROWS),
    row(ANY, InOrder("disk '", "does not exist"), Meaning::Absent, "GET …/config shows the disks of the guest"),
    row(ANY, Contains("VM quit/powerdown failed"), Meaning::Unclassified, "the guest did not shut down in time and may run on, since its agent or ACPI does not react. GET …/status/current shows it. Ask the user before POST …/status/stop, which switches it off"),
    row(ANY, Contains("KVM virtualisation configured, but not available"), Meaning::Conflict, "the node's CPU offers no virtualization: it is off in the firmware, or the node is itself a VM without nesting. kvm=0 runs the VM without it, slowly"),
    row(ANY, InOrder("PCI device", "already in use"), Meaning::Conflict, "another guest has the device: stop that guest, or take another device (GET /nodes/{node}/hardware/pci)"),
    row(ANY, Contains("no PCI device found"), Meaning::Absent, "GET /nodes/{node}/hardware/pci lists the devices of the node"),
    row(ANY, Contains("IOMMU not present"), Meaning::Conflict, "the node's IOMMU is off: its operator switches it on in the firmware and the kernel's command line"),
    row(ANY, Contains("QEMU exited with code"), Meaning::Unclassified, "QEMU did not start: the lines before the end of the task's log name the cause"),
    row(ANY, Contains("timeout waiting on systemd"), Meaning::Unavailable, LAST_RUN),
    row(ANY, Contains("not enough memory"), Meaning::Unavailable, NO_MEMORY),
    row(ANY, Contains("hugepages"), Meaning::Unavailable, NO_MEMORY),
    row(ANY, InOrder("startup for container '", "failed"), Meaning::Unclassified, "the container did not start: the lines before the end of the task's log name the cause, and root sees more with `pct start VMID --debug` on the node"),
    row(ANY, InOrder("to template", "running"), Meaning::Conflict, RUNNING),
    row(ANY, Contains("move to the same storage"), Meaning::Conflict, "the disk is on that storage already: name another storage, or another format"),
    row(ANY, Contains("can't unlink"), Meaning::Conflict, "the config still uses the disk: take it out first (PUT …/config with delete), and shut the guest down if it runs"),
    row(ANY, Contains("can't unplug"), Meaning::Conflict, "the running guest does not release the device: shut the guest down, then change it"),
    row(ANY, Contains("hotplug problem"), Meaning::Conflict, "this can't be changed while the guest runs: GET …/pending shows what waits for its next start"),
    row(ANY, Contains("only possible if the VM is running"), Meaning::Conflict, "the guest is off: start it first (POST …/status/start)"),
    row(ANY, InOrder("bridge '", "does not exist"), Meaning::Absent, "GET /nodes/{node}/network lists the bridges of the node"),
    row(ANY, Contains("unable to find VM '"), Meaning::Absent, "no such guest exists on that node: GET /cluster/resources?type=vm shows where each guest is"),
    row(ANY, Contains("checksum mismatch"), Meaning::DigestMismatch, "the object was changed in the meantime: read it again and use the new `digest`"),
    row(ANY, Contains("detected modified configuration"), Meaning::DigestMismatch, "the object was changed in the meantime: read it again and use the new `digest`"),
    row(ANY, Contains("is used by"), Meaning::Conflict, "another object uses it: remove that use first"),
    row(ANY, InOrder("resource '", "in error state"), Meaning::Conflict, "HA gave the guest up: PUT /cluster/ha/resources/{sid} with state=disabled clears the error, then state=started starts it again"),
    row(ANY, Contains("not HA managed"), Meaning::Absent, "GET /cluster/ha/resources lists what HA manages"),
    row(ANY, Contains("is managed by HA"), Meaning::Conflict, "the HA manager decides about this guest: change its state with PUT /cluster/ha/resources/{sid}"),

    // The guest agent.
    row(ANY, Contains("QEMU guest agent is not running"), Meaning::AgentUnavailable, "the agent inside the guest does not answer: the guest must run, with the package qemu-guest-agent installed and its service started; after a first start of the guest wait some seconds"),
    row(ANY, Contains("No QEMU guest agent configured"), Meaning::AgentUnavailable, "the agent is off in the guest's config: set agent=1 (PUT …/config), then stop and start the guest, with qemu-guest-agent installed inside"),
    row(ANY, Contains("guest agent command failed"), Meaning::Unclassified, "the agent answered, and the command failed inside the guest"),
    row(ANY, Contains("got no data from"), Meaning::AgentUnavailable, "the agent inside the guest did not answer in time: try again"),
    row(ANY, InOrder("qga command '", "got timeout"), Meaning::Unavailable, AGENT_SLOW),
    row(ANY, InOrder("qmp command 'guest-", "timeout"), Meaning::Unavailable, AGENT_SLOW),
    row(ANY, InOrder("qga socket", "timeout"), Meaning::Unavailable, AGENT_SLOW),
    row(ANY, InOrder("qmp command '", "timeout"), Meaning::Unavailable, QEMU_SLOW),
    row(ANY, InOrder("qmp socket", "timeout"), Meaning::Unavailable, QEMU_SLOW),
    row(ANY, InOrder("PID ", "does not exist"), Meaning::Absent, LOST_COMMAND),
    row(ANY, Contains("Invalid parameter 'pid'"), Meaning::Absent, LOST_COMMAND),
    row(ANY, InOrder("command guest-", "has not been found"), Meaning::AgentUnavailable, "the agent inside the guest is too old, or built without this command: a newer qemu-guest-agent may have it"),
    row(ANY, Contains("cannot find the file specified"), Meaning::Absent, AGENT_NO_FILE),
    row(ANY, Contains("Failed to execute helper program"), Meaning::Absent, AGENT_NO_FILE),
    row(ANY, InOrder("Agent error", "Permission denied"), Meaning::Unclassified, "the operating system of the guest denied it to the agent: check the file's mode, and SELinux or AppArmor inside the guest"),
    row(ANY, InOrder("Agent error", "No such file"), Meaning::Absent, AGENT_NO_FILE),
    row(ANY, InOrder("Failed to execute child process", "Permission denied"), Meaning::Unclassified, "the program exists inside the guest, and may not be run: check its mode (chmod +x), and SELinux or AppArmor inside the guest"),
    row(ANY, Contains("Failed to execute child process"), Meaning::Absent, AGENT_NO_FILE),
    row(ANY, Contains("has been disabled"), Meaning::AgentUnavailable, "the configuration of the agent inside the guest forbids this command"),
    row(ANY, Contains("Wide character in"), Meaning::InvalidParameters, WIDE_CHARACTER),

    // Storage.
    row(ANY, InOrder("storage '", "does not exist"), Meaning::Absent, "GET /storage lists the storages"),
    row(ANY, InOrder("delete storage failed", "does not exist"), Meaning::Absent, "GET /storage lists the storages"),
    row(ANY, InOrder("create storage failed", "already defined"), Meaning::AlreadyExists, "choose another name: GET /storage lists those in use"),
    row(ANY, InOrder("create storage failed", "is not online"), Meaning::Conflict, "the server of the new storage does not answer, so Proxmox did not add it: check its address and its export or share"),
    row(ANY, Contains("is not online"), Meaning::StorageUnavailable, "the server of the storage does not answer: GET /nodes/{node}/storage shows `active`"),
    row(ANY, InOrder("storage '", "is not enabled"), Meaning::StorageUnavailable, "an operator disabled the storage: PUT /storage/{storage} with disable=0 enables it"),
    row(ANY, Contains("is expected to be a mount point but is not mounted"), Meaning::StorageUnavailable, "the disk or share below the storage is not mounted on this node: its operator mounts it there"),
    row(ANY, Contains("Stale file handle"), Meaning::StorageUnavailable, "the share behind the storage was changed or restarted: its operator mounts it again on the node"),
    row(ANY, Contains("mount error"), Meaning::StorageUnavailable, "the share can't be mounted: check its server, its export and its credentials, from the node"),
    row(ANY, Contains("error fetching datastores"), Meaning::StorageUnavailable, PBS_FAILED),
    row(ANY, Contains("proxmox-backup-client failed"), Meaning::StorageUnavailable, PBS_FAILED),
    row(ANY, InOrder("proxmox-file-restore", "failed"), Meaning::Unavailable, "the backup could not be opened, often since the small VM that reads it has not started yet: try again in some seconds, and look at the task log of the node"),
    row(ANY, InOrder("fingerprint", "not verified"), Meaning::StorageUnavailable, "the backup server has another certificate than the storage expects: its operator compares it, and sets `fingerprint` (PUT /storage/{storage})"),
    row(ANY, Contains("reached threshold"), Meaning::StorageUnavailable, FULL),
    row(ANY, Contains("insufficient free space"), Meaning::StorageUnavailable, FULL),
    row(ANY, Contains("err -28"), Meaning::StorageUnavailable, FULL),
    row(ANY, InOrder("storage '", "does not support"), Meaning::InvalidParameters, "the storage does not take this kind of content: GET /storage shows `content`, choose another"),
    row(ANY, InOrder("missing replicate feature", "volume"), Meaning::Conflict, "replication works between ZFS storages only: move the disk there first (POST …/move_disk), or leave it out with replicate=0"),
    row(ANY, InOrder("ISO image '", "does not exist"), Meaning::Absent, VOLUMES),
    row(ANY, InOrder("volume '", "in use"), Meaning::Conflict, "a guest still uses the volume: take it out of the guest's config first, or delete it there"),
    row(ANY, Contains("ould not resolve host"), Meaning::Unavailable, "the name server of the node does not know that host: check the name, and GET /nodes/{node}/dns"),
    row(ANY, Contains("download failed"), Meaning::Unavailable, "the node could not fetch the address: GET /nodes/{node}/query-url-metadata tests it from there"),
    row(ANY, InOrder("no such volume", "'"), Meaning::Absent, VOLUMES),
    row(ANY, Contains("unable to find volume"), Meaning::Absent, VOLUMES),
    row(ANY, Contains("vcpus allowed per VM"), Meaning::Conflict, "the VM has more processors than the node: lower cores or sockets (PUT …/config), or migrate it to a larger node"),
    row(ANY, Contains("got no worker upid"), Meaning::Unavailable, "the node could not start the task: it may have no memory or disk left (GET /nodes/{node}/status). Look at the latest tasks before you repeat the call"),
    row(ANY, InOrder("volume '", "does not exist"), Meaning::Absent, VOLUMES),
    row(ANY, Contains("no such logical volume"), Meaning::Absent, VOLUMES),
    row(ANY, InOrder("zfs error", "does not exist"), Meaning::Absent, VOLUMES),
    row(ANY, Contains("no such pool"), Meaning::Absent, "GET /nodes/{node}/disks/zfs lists the ZFS pools of the node"),
    row(ANY, Contains("refusing to override existing file"), Meaning::AlreadyExists, "the storage has a file of that name: choose another name, or delete that one first"),
    row(ANY, Contains("wrong checksum"), Meaning::InvalidParameters, "what was downloaded is not what the checksum belongs to: compare both with the publisher's page"),
    row(ANY, Contains("is protected"), Meaning::Conflict, "the backup is protected from removal, perhaps on purpose: ask the user, then PUT the volume with protected=0"),
    row(ANY, InOrder("/dev/", "already in use"), Meaning::Conflict, DISK_IN_USE),
    row(ANY, InOrder("/dev/", "has a partition"), Meaning::Conflict, DISK_IN_USE),
    row(ANY, InOrder("storage '", "is disabled"), Meaning::StorageUnavailable, "an operator disabled the storage: PUT /storage/{storage} with disable=0 enables it"),
    row(ANY, Contains("is not available on node"), Meaning::StorageUnavailable, "the storage is limited to other nodes: GET /storage/{storage} shows `nodes`"),
    row(ANY, Contains("invalid bootorder: device"), Meaning::InvalidParameters, "boot names disks and network cards that the guest has: GET …/config shows them"),
    row(ANY, Contains("no options specified"), Meaning::InvalidParameters, "give the options in data"),
    row(ANY, Contains("unable to parse directory volume name"), Meaning::InvalidParameters, NEW_DISK),
    row(ANY, Contains("unable to parse lvm volume name"), Meaning::InvalidParameters, NEW_DISK),
    row(ANY, Contains("unable to parse zfs volume name"), Meaning::InvalidParameters, NEW_DISK),
    row(ANY, Contains("unable to parse rbd volume name"), Meaning::InvalidParameters, NEW_DISK),
    row(ANY, Contains("unable to parse volume ID"), Meaning::InvalidParameters, "a volume is STORAGE:NAME, such as local:iso/debian.iso; GET /nodes/{node}/storage/{storage}/content lists them"),
    row(ANY, Contains("No space left on device"), Meaning::StorageUnavailable, FULL),
    row(ANY, Contains("out of space"), Meaning::StorageUnavailable, FULL),
    row(ANY, Contains("not implemented for this plugin"), Meaning::UnknownOperation, "this type of storage does not have that operation"),

    // Packages and components.
    row(ANY, Contains("binary not installed: /usr/bin/ceph"), Meaning::NotInstalled, "Ceph is not installed on this node, so its operations do not apply"),
    row(ANY, Contains("binary not installed"), Meaning::NotInstalled, "a program is not installed on the node: root installs its package there"),
    row(ANY, Contains("zfsutils-linux not installed"), Meaning::NotInstalled, "ZFS is not installed on this node, so its operations do not apply"),
    row(ANY, Contains("Install 'skopeo'"), Meaning::NotInstalled, "root installs the package skopeo on the node"),
    row(ANY, Contains("not fully configured - missing '/etc/pve/ceph.conf'"), Meaning::NotInstalled, NO_CEPH),
    row(ANY, InOrder("ceph.conf", "does not exist"), Meaning::NotInstalled, NO_CEPH),
    row(ANY, Contains("rados_conf_read_file failed"), Meaning::NotInstalled, NO_CEPH),
    row(ANY, Contains("couldn't connect to the cluster"), Meaning::Unavailable, CEPH_SILENT),
    row(ANY, Contains("rados_connect failed"), Meaning::Unavailable, CEPH_SILENT),
    row(ANY, InOrder("got timeout", "ceph"), Meaning::Unavailable, CEPH_SILENT),
    row(ANY, Contains("ifupdown2"), Meaning::NotInstalled, "root installs the package ifupdown2 on the node, or restarts it to take the network configuration over"),
    row(ANY, Contains("apt-get update"), Meaning::Unavailable, "the node could not read all of its package repositories: the task's log names which. The enterprise repository needs a subscription (GET /nodes/{node}/apt/repositories)"),
    row(ANY, Contains("invalid subscription key"), Meaning::InvalidParameters, "the key is that of Proxmox VE, as the shop sent it, such as pve2c-0123456789"),
    row(ANY, Contains("No cloudinit drive"), Meaning::Absent, "the VM has no cloud-init drive: add one first, such as ide2=local-lvm:cloudinit (PUT …/config)"),
    row(ANY, Contains("not installed"), Meaning::NotInstalled, "a package is not installed on the node: root installs it there"),
    row(ANY, Contains("ha groups have been migrated to rules"), Meaning::UnknownOperation, "since Proxmox VE 9 rules replace HA groups: GET and POST /cluster/ha/rules (type node-affinity)"),
    row(ANY, Contains("ACME is not available"), Meaning::NotInstalled, "this node can't reach or use ACME"),

    // HA.
    row(ANY, InOrder("resource '", "does not exist in cluster"), Meaning::Absent, "the cluster has no guest of that number: GET /cluster/resources?type=vm lists the guests"),
    row(ANY, InOrder("create resource failed", "already defined"), Meaning::AlreadyExists, "HA manages the guest already: change it with PUT /cluster/ha/resources/{sid}"),
    row(ANY, InOrder("HA group '", "does not exist"), Meaning::Absent, "GET /cluster/ha/groups lists the groups"),
    row(ANY, InOrder("ha group '", "does not exist"), Meaning::Absent, "GET /cluster/ha/groups lists the groups"),
    row(ANY, Contains("not in started state"), Meaning::Conflict, "HA only moves what it runs: PUT /cluster/ha/resources/{sid} with state=started first"),
    row(ANY, Contains("no such resource"), Meaning::Absent, "GET /cluster/ha/resources lists what HA manages"),
    row(ANY, Contains("rule is ineffective"), Meaning::InvalidParameters, "a resource affinity names two resources or more, such as vm:100,vm:101"),
    row(ANY, Contains("create ha rule failed"), Meaning::InvalidParameters, "GET /cluster/ha/rules lists the rules, describe_api POST /cluster/ha/rules the parameters"),

    // Users, pools, jobs, firewall and the rest.
    row(ANY, InOrder("LDAP", "credentials"), Meaning::Conflict, "the user or password by which Proxmox asks the directory is wrong: PUT /access/domains/{realm} with bind_dn and password"),
    row(ANY, Contains("is not a known host of the cluster"), Meaning::Absent, "GET /cluster/config/nodes lists the members of the cluster"),
    row(ANY, Contains("too many certificates"), Meaning::Unavailable, "the certificate authority limits their number for a domain: wait as long as the text says, a week at most"),
    row(ANY, Contains("network configuration reload failed"), Meaning::Unclassified, "the network of a node was not loaded again: the task's log names the node and the cause"),
    row(ANY, InOrder("ACL update failed", "does not exist"), Meaning::Absent, "GET /access/roles, /access/users and /access/groups list the names"),
    row(ANY, InOrder("create user failed", "already exists"), Meaning::AlreadyExists, "the user exists: change it with PUT /access/users/{userid}"),
    row(ANY, Contains("no such user"), Meaning::Absent, "GET /access/users lists the users, each with its realm (name@pve)"),
    row(ANY, Contains("no such token"), Meaning::Absent, "GET /access/users/{userid}/token lists the tokens of the user"),
    row(ANY, InOrder("auto-generated role", "cannot be modified"), Meaning::Conflict, "the roles of Proxmox can't be changed: POST /access/roles makes one of your own"),
    row(ANY, Contains("no such group"), Meaning::Absent, "GET /access/groups lists the groups"),
    row(ANY, Contains("is not empty (contains"), Meaning::Conflict, "the pool still has members or pools within it: GET /pools?poolid=NAME lists them, move or remove them first"),
    row(ANY, Contains("is not empty"), Meaning::Conflict, "it still has members: move or remove them first"),
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
    row(400..=400, Contains("does not match the regex pattern"), Meaning::InvalidParameters, "describe_api with `parameter` shows the pattern and the form of its values"),
    row(400..=400, Contains("unknown action"), Meaning::InvalidParameters, "a rule's action is ACCEPT, DROP or REJECT, or for type group the name of a security group"),
    row(400..=400, Contains("invalid urlencoded string"), Meaning::InvalidParameters, "the value is percent-encoded once before it is sent (a space as %20)"),
    row(400..=400, Contains("value without key"), Meaning::InvalidParameters, "the value is a list of key=value, such as keep-last=3,keep-weekly=2"),
    row(400..=400, Contains("valid CIDR"), Meaning::InvalidParameters, "a network is written as 10.0.0.0/24"),
    // (PVE: of an unknown path it says 501.)
    row(404..=404, Contains(" "), Meaning::Absent, ABSENT),
    row(501..=501, Contains("(the demo "), Meaning::UnknownOperation, "a real node does it"),
    row(501..=501, InOrder("/lxc/", "/exec"), Meaning::UnknownOperation, "the node has no such operation for containers. Containers have no exec in the API: `pct exec` on the node's shell works, or SSH into the container. search_api finds other operations"),
    row(400..=599, Contains("already exists"), Meaning::AlreadyExists, "choose another name, or change the one that exists"),
    row(400..=599, Contains("already defined"), Meaning::AlreadyExists, "choose another name, or change the one that exists"),
    row(400..=599, Contains("does not exist"), Meaning::Absent, ABSENT),
    row(400..=599, Contains("non-existent"), Meaning::Absent, ABSENT),
    row(400..=599, Contains("' not found"), Meaning::Absent, ABSENT),
    row(500..=599, Contains("no such "), Meaning::Absent, ABSENT),
    row(500..=500, Contains("unable to find"), Meaning::Absent, ABSENT),
    row(500..=500, Contains("Cannot allocate memory"), Meaning::Unavailable, NO_MEMORY),
    row(500..=500, Contains("Resource temporarily unavailable"), Meaning::Unavailable, "the node has reached a limit: try again in a moment"),
    row(500..=500, Contains("Connection timed out"), Meaning::Unavailable, "something that the node asked did not answer it in time: try again"),
    row(500..=500, StartsWith("got timeout"), Meaning::Unavailable, "the node waited too long, often for a storage: try again, and look at GET /nodes/{node}/storage"),

    row(500..=500, Contains("failed: exit code"), Meaning::Unclassified, "a program on the node failed: the lines before the end of the task's log name the cause (GET /nodes/{node}/tasks). Look at the object before you repeat the call"),

    // Statuses.
    row(300..=399, Anything, Meaning::Redirected, "a redirect is not followed: check the address in clusters.json"),
    row(400..=400, Anything, Meaning::InvalidParameters, "correct the parameters and call again"),
    row(404..=404, Anything, Meaning::UnknownOperation, NO_OPERATION),
    row(501..=501, Anything, Meaning::UnknownOperation, NO_OPERATION),
    row(503..=503, Anything, Meaning::Unavailable, "the node is overloaded or restarting: try again in a moment"),
    row(595..=595, Anything, Meaning::NodeUnreachable, "the node asked cannot reach the node concerned, which is down or cut off from it; a name in the wrong case also ends so"),
    row(596..=596, Contains("timed out"), Meaning::NodeTimedOut, PEER_TIMEOUT),
    // No request is sent before the end of the handshake.
    row(596..=596, Contains("certificate verify failed"), Meaning::NodeUnreachable, PEER_TLS),
    row(596..=596, Contains("wrong version number"), Meaning::NodeUnreachable, PEER_TLS),
    row(596..=596, Contains("handshake"), Meaning::NodeUnreachable, PEER_TLS),
    row(596..=596, Contains("unknown ca"), Meaning::NodeUnreachable, PEER_TLS),
    row(596..=596, Anything, Meaning::NodeLostOrUnknown, "the connection from the node asked to the node concerned broke, or no node of that name exists: names are case-sensitive, GET /nodes lists them"),
    row(597..=599, Anything, Meaning::NodeLost, NODE_LOST),
];

/// The next step for an address that leads to another host.
pub(in crate::pve) const OTHER_HOST: &str = "a proxy in front of Proxmox leads to another host, such as a login page: its operator has to \
                                             pass calls with an API token on, or put the node's own address (port 8006) into \
                                             clusters.json";
/// The next step for an address with http that leads to https.
pub(in crate::pve) const HTTPS_ADDRESS: &str = "the node speaks https there: write https:// in place of http:// before the address in \
                                                clusters.json";
/// The next step after a failure of a change that the table does not know.
pub(in crate::pve) const LOOK_FIRST: &str = "the words are Proxmox's own, and a part may have been done: read the object it concerns before \
                                             you repeat the call";
const LAST_RUN: &str = "the last run of the guest has not ended on the node yet: try again in a minute. If it lasts, root looks at \
                        `systemctl status VMID.scope` there";
const NO_MEMORY: &str =
    "the node has no memory left: GET /nodes/{node}/status shows it, stop or move guests, or give this one less";
const NO_SNAPSHOTS: &str = "a disk is on a storage, or in a format, without snapshots (raw files, LVM): GET …/config shows the disks, \
                            GET …/feature?feature=snapshot tests it. A backup (vzdump) works everywhere";
const ONLY_GROWS: &str =
    "a disk only grows: give a size above its present one, or +10G to add (GET …/config shows its size)";
const SICK_NODE: &str = "the cluster file system (pmxcfs) of the node asked is down, so it can do nothing: its operator \
                         restarts the service pve-cluster there";
const READ_ONLY_NODE: &str = "the node can't write to the cluster file system (/etc/pve): it is cut off from the majority of the \
                              cluster, or pmxcfs failed. GET /cluster/status shows it; look at the object before you \
                              repeat the call";
const ALONE: &str = "this node runs alone, which is a state and no failure: operations of a cluster do not apply to it";
const NODE_SSH: &str = "the nodes can't reach each other by SSH, which Proxmox uses for this: root runs `pvecm updatecerts` on \
                        both nodes, and checks port 22 between them";
const RUNNING: &str = "the guest runs: shut it down first (POST …/status/shutdown)";
const OTHER_LOCK: &str = "another operation holds the lock: try again in some seconds";
const CONTAINER_MOVE: &str = "a running container can't move live: add restart=1, which stops it and starts it on the other \
                              node, or shut it down first";
const LOCAL_DISK: &str = "a disk is on a storage of this node: add with-local-disks=1 and targetstorage, or move the disk to a \
                          shared storage first. A CD or its image on local storage is removed from the config first";
const AGENT_SLOW: &str = "the agent inside the guest did not answer in time, and may still carry the command out: look inside \
                          before you repeat it. A busy or frozen guest and a stopped agent both look so";
const QEMU_SLOW: &str = "the guest's QEMU process does not answer: it may hang on its storage, or be about to stop. GET \
                         …/status/current and /nodes/{node}/storage show it; try again";
const PBS_FAILED: &str = "the backup server does not answer or denies access: check its address and datastore, and the user, \
                          rights and password of the storage (GET /storage/{storage})";
const FULL: &str = "the storage is full: GET /nodes/{node}/storage shows what is free";
const VOLUMES: &str = "GET /nodes/{node}/storage/{storage}/content lists the volumes";
const DISK_IN_USE: &str = "the disk is in use: GET /nodes/{node}/disks/list shows by what. Wiping it loses its data for good, so \
                           ask the user first";
const NO_CEPH: &str = "Ceph is not set up on this cluster, so its operations do not apply";
const CEPH_SILENT: &str = "Ceph does not answer: too few of its monitors are up, or its network is down. Its operator looks at \
                           `ceph -s` on a node";
const PEER_TLS: &str = "no node of that name exists (GET /nodes lists them), or the node asked does not trust the certificate of \
                        that node: its operator runs `pvecm updatecerts` there";
const TICKET_WAY: &str = "no API token can do this: a person does it in the web interface, or root on the node's shell";
const ROOT_WAY: &str = "no API token can do this, not even one of root@pam: root does it on the node's shell, or root@pam \
                        with a password in the web interface";
const TAKEN_NUMBER: &str = "the number is in use: GET /cluster/nextid names a free one";
const TEMPLATE: &str = "a template can't run or be changed so: clone it first (POST …/clone)";
const NEW_DISK: &str = "for a new disk give its size in GiB as a plain number, such as local-lvm:32";
const LOST_COMMAND: &str = "the agent forgets a command once its end was read, and with a restart of the agent or the guest: look \
                            inside the guest for what the command did before you start it again";
const WIDE_CHARACTER: &str = "Proxmox can't take a character beyond ASCII in one of these values: send it without such \
                              characters. For a file inside a guest, agent/file-write takes its content in base64 with \
                              encode=0, and a command can read that file";
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

/// Returns the meaning of an answer by which a proxy rejected the request itself.
pub(in crate::pve) fn proxy_rejection_diagnosis(status: u16) -> Diagnosis {
    let hint = match status {
        401 => {
            "a proxy or web server in front of Proxmox demands a login of its own: its operator has to pass calls with an API \
             token on, or put the node's own address (port 8006) into clusters.json"
        }
        429 => {
            "a proxy in front of Proxmox limits the number of calls: try again in a minute, or put the node's own address \
             (port 8006) into clusters.json"
        }
        _ => {
            "a proxy or web server answers, not Proxmox, and did not pass the call on: ask its operator, or put the node's \
             own address (port 8006) into clusters.json"
        }
    };
    Diagnosis { meaning: Meaning::ProxyRejected, hint: Some(hint) }
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
    matches!(exit_status, "unexpected status" | "unknown") || exit_status.starts_with("unable to read tail")
}

/// Returns whether this exit status says that a guest runs already, or does not run, so that the task had nothing to do.
pub(in crate::pve) fn is_unfit_state(exit_status: &str) -> bool {
    let is_about_guest = exit_status.starts_with("VM ") || exit_status.starts_with("CT ");
    is_about_guest && ["already running", "not running"].iter().any(|state| exit_status.trim_end().ends_with(state))
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
        (500, "unable to find volume 'local:iso/x.iso'", Meaning::Absent, "/content"),
        (500, "cannot clone a running container: no snapshot name given", Meaning::Conflict, "snapname"),
        (500, "can't clone VM to node 'pve3' (VM uses local storage)", Meaning::Conflict, "clone it there"),
        (501, "Method 'POST /cluster/sdn/zones' not implemented (the demo simulates only a part of the API)", Meaning::UnknownOperation, "a real node"),
        (500, "MAX 4 vcpus allowed per VM on this node", Meaning::Conflict, "lower cores"),
        (500, "got no worker upid - start worker failed", Meaning::Unavailable, "latest tasks"),
        (401, "token 'mcp' access expired", Meaning::TokenInvalid, "expire"),
        (401, "user 'mcp@pve' is disabled", Meaning::TokenInvalid, "enables it again"),
        (401, "no such user ('mcp@pve')", Meaning::TokenInvalid, "realm"),
        (401, "no such token 'mcp' for user 'mcp@pve'", Meaning::TokenInvalid, "token_id"),
        (401, "invalid token value!", Meaning::Unclassified, ""),
        (403, "Permission check failed (URI '/access/ticket' not available with API token, need proper ticket. )", Meaning::TicketRequired, "web interface"),
        (500, "proxmox-file-restore failed: Error: VM refused connection", Meaning::Unavailable, "try again in some seconds"),
        (500, "HA group 'west' does not exist", Meaning::Absent, "/cluster/ha/groups"),
        (500, "no such ha group 'west': ha group 'west' does not exist", Meaning::Absent, "/cluster/ha/groups"),
        (500, "pci 'x' not found", Meaning::Absent, "one step above"),
        (500, "migration problems", Meaning::Unclassified, "either node"),
        (500, "start failed: org.freedesktop.systemd1.UnitExists: Unit 100.scope already exists.", Meaning::Conflict, "in a minute"),
        (500, "cannot start VM 100 - not enough memory", Meaning::Unavailable, "no memory left"),
        (500, "unable to allocate memory hugepages", Meaning::Unavailable, "no memory left"),
        (500, "startup for container '200' failed", Meaning::Unclassified, "--debug"),
        (500, "you can't convert a VM to template if VM is running", Meaning::Conflict, "shut it down"),
        (500, "you can't move to the same storage with same format", Meaning::Conflict, "another storage"),
        (500, "can't unlink 'scsi0' - device is in use", Meaning::Conflict, "take it out"),
        (500, "can't acquire lock '/var/run/vzdump.lock' - got timeout", Meaning::Locked, "one after the other"),
        (500, "The current guest configuration does not support taking new snapshots", Meaning::Conflict, "vzdump"),
        (500, "unable to shrink disk size", Meaning::InvalidParameters, "only grows"),
        (500, "command '/usr/bin/ssh -e none root@10.0.0.2 /bin/true' failed: exit code 255", Meaning::Unavailable, "pvecm"),
        (500, "ISO image 'local:iso/x.iso' does not exist", Meaning::Absent, "/content"),
        (500, "volume 'local:iso/x.iso' is in use by VM 100", Meaning::Conflict, "still uses"),
        (500, "download failed: Could not resolve host: x", Meaning::Unavailable, "/dns"),
        (500, "download failed: 404 Not Found", Meaning::Unavailable, "query-url-metadata"),
        (500, "Disk /dev/sdb already in use", Meaning::Conflict, "Wiping"),
        (500, "You need ifupdown2 to reload network configuration", Meaning::NotInstalled, "ifupdown2"),
        (500, "command 'apt-get update' failed: exit code 100", Meaning::Unavailable, "repositories"),
        (500, "invalid subscription key", Meaning::InvalidParameters, "as the shop"),
        (500, "service 'vm:100' not in started state", Meaning::Conflict, "state=started"),
        (500, "error during LDAP bind: invalid credentials", Meaning::Conflict, "bind_dn"),
        (500, "Node/IP: pve9 is not a known host of the cluster.", Meaning::Absent, "/cluster/config/nodes"),
        (500, "Let's Encrypt rate limit exceeded: too many certificates", Meaning::Unavailable, "a week"),
        (500, "ERROR: network configuration reload failed", Meaning::Unclassified, "the node"),
        (500, "Security group 'web' is not empty", Meaning::Conflict, "members"),
        (500, "cannot delete non-existent backup job 'x'", Meaning::Absent, "one step above"),
        (500, "command '/usr/bin/qemu-img resize' failed: exit code 1", Meaning::Unclassified, "program on the node"),
        (403, "Only root can pass arbitrary filesystem paths.", Meaning::RootRequired, "volume of a storage"),
        (500, "Only root can do that", Meaning::RootRequired, "no API token"),
        (403, "user is root@pam only", Meaning::RootRequired, "no API token"),
        (403, "API tokens not allowed", Meaning::TicketRequired, "web interface"),
        (500, "Agent error: Guest agent command failed, error was 'Invalid parameter 'pid''", Meaning::Absent, "forgets a command"),
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
        (500, "cannot move volumes of a running container", Meaning::Conflict, "shut it down"),
        (500, "lxc live migration is currently not implemented", Meaning::Conflict, "restart=1"),
        (500, "unable to restore VM 100 - vm is running", Meaning::Conflict, "shut it down"),
        (500, "VM is paused - cannot shutdown", Meaning::Conflict, "resume"),
        (500, "you can't convert a template to a template", Meaning::Conflict, "clone"),
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
        (500, "invalid bootorder: device 'scsi9' does not exist'", Meaning::InvalidParameters, "GET …/config"),
        (500, "no options specified", Meaning::InvalidParameters, "in data"),
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
        (400, "value does not match the regex pattern", Meaning::InvalidParameters, "describe_api"),
        (400, "unknown action 'ALLOW'", Meaning::InvalidParameters, "ACCEPT"),
        (400, "invalid format - invalid urlencoded string: x y", Meaning::InvalidParameters, "%20"),
        (400, "invalid format - value without key, but schema does not define a default key", Meaning::InvalidParameters, "keep-last"),
        (400, "invalid format - value does not look like a valid CIDR network", Meaning::InvalidParameters, "10.0.0.0/24"),
        (400, "No such job 'nightly'", Meaning::Absent, "one step above"),
        (400, "Only root may set this parameter.", Meaning::RootRequired, "no API token"),
        (400, "Only root may use this option.", Meaning::RootRequired, "no API token"),
        (404, "entry not found", Meaning::Absent, "one step above"),
        (501, "Method 'POST /nodes/pve1/lxc/200/exec' not implemented", Meaning::UnknownOperation, "pct exec"),
        (501, "Method 'GET /nodes/pve1/lxc/200/config' not implemented", Meaning::UnknownOperation, "its version may lack it"),
        (500, "backup job with ID 'x' already exists", Meaning::AlreadyExists, "another name"),
        (500, "x 'y' already defined", Meaning::AlreadyExists, "another name"),
        (500, "fabric 'nightly' does not exist in configuration", Meaning::Absent, "one step above"),
        (500, "no such service 'x'", Meaning::Absent, "one step above"),
        (500, "unable to find device", Meaning::Absent, "one step above"),
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
        (598, "", Meaning::NodeLost, "try again"),
        (500, "ipcc_send_rec[3] failed: Unknown error -1", Meaning::SickNode, "pmxcfs"),
        (500, "error with cfs lock 'domain-ha': no quorum!", Meaning::NoQuorum, "/cluster/status"),
        (500, "unable to open file '/etc/pve/x.tmp' - Transport endpoint is not connected", Meaning::Unavailable, "pmxcfs"),
        (500, "unable to open file '/etc/pve/nodes/pve1/lxc/200.conf.tmp.12' - Permission denied", Meaning::Unavailable, "majority"),
        (500, "close (rename) atomic file '/etc/pve/x' failed: Input/output error", Meaning::Unavailable, "majority"),
        (500, "unable to open '/etc/pve/x' - Read-only file system", Meaning::Unavailable, "majority"),
        (500, "Error: Corosync config '/etc/pve/corosync.conf' does not exist - is this node part of a cluster?", Meaning::Conflict, "alone"),
        (500, "target node 'pve2' not in available nodes", Meaning::Conflict, "/migrate"),
        (500, "Host key verification failed.", Meaning::Unavailable, "updatecerts"),
        (500, "ssh: connect to host 10.0.0.2 port 22: Connection refused", Meaning::Unavailable, "updatecerts"),
        (500, "unable to find a free VMID", Meaning::Conflict, "next-id"),
        (500, "VM 100 is running - destroy failed", Meaning::Conflict, "shutdown"),
        (500, "unable to destroy CT 200 - container is running", Meaning::Conflict, "shutdown"),
        (500, "unable to remove VM 100 - used in HA resources and purge parameter not set.", Meaning::Conflict, "purge=1"),
        (500, "VM is locked (suspended)", Meaning::Locked, "resumes"),
        (500, "VM is locked (rollback)", Meaning::Locked, "rollback"),
        (500, "can't aquire lock '/var/lock/pve-manager/pve-storage-nas' - got timeout", Meaning::Locked, "some seconds"),
        (500, "unable to create image: 'storage-local-lvm'-locked command timed out - aborting", Meaning::Unavailable, "in part"),
        (500, "can't rollback, 'a' is not most recent snapshot on 'local-zfs:vm-100-disk-0'", Meaning::Conflict, "newer ones"),
        (500, "zfs error: cannot rollback to 'x': more recent snapshots exist", Meaning::Conflict, "newer ones"),
        (500, "zfs error: cannot destroy 'x': dataset is busy", Meaning::Conflict, "that use"),
        (500, "unable to create template, because VM contains snapshots", Meaning::Conflict, "delete them"),
        (500, "you can't move a disk with snapshots and delete the source", Meaning::Conflict, "delete=1"),
        (500, "base volume 'local-lvm:base-9000-disk-0' is still in use by linked cloned", Meaning::Conflict, "depend"),
        (500, "can't migrate running container without --online or --restart", Meaning::Conflict, "restart=1"),
        (500, "CT migration of running container is not supported. Use restart mode", Meaning::Conflict, "restart=1"),
        (500, "can't migrate local disk 'local-lvm:vm-100-disk-0': x", Meaning::Conflict, "with-local-disks"),
        (500, "can't live migrate attached local disks without with-local-disks option", Meaning::Conflict, "add with-local-disks=1"),
        (500, "Cannot migrate from local storage 'local-lvm'", Meaning::Conflict, "with-local-disks"),
        (500, "can't migrate VM - check log", Meaning::Unclassified, "log"),
        (500, "migration aborted", Meaning::Unclassified, "stays"),
        (500, "KVM virtualisation configured, but not available. Either disable in VM configuration or enable in BIOS.", Meaning::Conflict, "kvm=0"),
        (500, "PCI device '0000:01:00.0' already in use by VMID '105'", Meaning::Conflict, "hardware/pci"),
        (500, "no PCI device found for '0000:99:00.0'", Meaning::Absent, "hardware/pci"),
        (500, "cannot prepare PCI pass-through, IOMMU not present", Meaning::Conflict, "firmware"),
        (500, "start failed: QEMU exited with code 1", Meaning::Unclassified, "log"),
        (500, "timeout waiting on systemd", Meaning::Unavailable, "minute"),
        (500, "can't unplug bootdisk 'scsi0'", Meaning::Conflict, "shut the guest down"),
        (400, "hotplug problem - can't unplug", Meaning::Conflict, "shut the guest down"),
        (400, "hotplug problem - unable to hotplug memory", Meaning::Conflict, "next start"),
        (500, "only possible if the VM is running", Meaning::Conflict, "start it first"),
        (500, "resource 'vm:100' in error state, must be disabled and fixed first", Meaning::Conflict, "state=disabled"),
        (500, "cannot delete service 'vm:100', not HA managed!", Meaning::Absent, "/cluster/ha/resources"),
        (500, "VM 100 qga command 'guest-exec' failed - got timeout", Meaning::Unavailable, "look inside"),
        (500, "VM 100 qmp command 'guest-ping' failed - got timeout", Meaning::Unavailable, "look inside"),
        (500, "unable to connect to VM 100 qga socket - timeout after 31 retries", Meaning::Unavailable, "look inside"),
        (500, "VM 100 qmp command 'query-status' failed - got timeout", Meaning::Unavailable, "QEMU process"),
        (500, "unable to connect to VM 100 qmp socket - timeout after 51 retries", Meaning::Unavailable, "QEMU process"),
        (500, "Agent error: PID 9 does not exist", Meaning::Absent, "forgets"),
        (500, "The command guest-get-load has not been found", Meaning::AgentUnavailable, "too old"),
        (500, "Agent error: Failed to create process: The system cannot find the file specified.", Meaning::Absent, "one program name"),
        (500, "Agent error: Failed to execute helper program (Invalid argument)", Meaning::Absent, "one program name"),
        (500, "Agent error: failed to open file '/root/x' (mode: 'r'): Permission denied", Meaning::Unclassified, "denied"),
        (500, "Failed to execute child process \u{201c}x\u{201d} (Permission denied)", Meaning::Unclassified, "chmod"),
        (500, "storage 'nas' is not enabled", Meaning::StorageUnavailable, "disable=0"),
        (500, "unable to activate storage 'nas' - directory is expected to be a mount point but is not mounted: '/mnt'", Meaning::StorageUnavailable, "not mounted"),
        (500, "unable to open '/mnt/pve/nas/x' - Stale file handle", Meaning::StorageUnavailable, "again"),
        (500, "mount error: mount.nfs: Connection refused", Meaning::StorageUnavailable, "export"),
        (500, "error fetching datastores - 401 Unauthorized", Meaning::StorageUnavailable, "backup server"),
        (500, "proxmox-backup-client failed: Error: permission check failed", Meaning::StorageUnavailable, "backup server"),
        (500, "fingerprint 'AA' not verified, abort!", Meaning::StorageUnavailable, "certificate"),
        (500, "Cannot create new thin volume, free space in thin pool pve/data reached threshold.", Meaning::StorageUnavailable, "full"),
        (500, "Volume group \"pve\" has insufficient free space", Meaning::StorageUnavailable, "full"),
        (500, "job failed with err -28", Meaning::StorageUnavailable, "full"),
        (500, "storage 'local' does not support vm images", Meaning::InvalidParameters, "`content`"),
        (500, "missing replicate feature on volume 'local-lvm:vm-100-disk-0'", Meaning::Conflict, "ZFS"),
        (500, "no such volume 'local:iso/x.iso'", Meaning::Absent, "/content"),
        (500, "volume 'local:iso/x.iso' does not exist", Meaning::Absent, "/content"),
        (500, "no such logical volume pve/vm-100-disk-0", Meaning::Absent, "/content"),
        (500, "zfs error: cannot open 'x': dataset does not exist", Meaning::Absent, "/content"),
        (500, "zfs error: cannot open 'tank': no such pool", Meaning::Absent, "disks/zfs"),
        (500, "refusing to override existing file '/x.iso'", Meaning::AlreadyExists, "another name"),
        (500, "wrong checksum: 'a' != 'b'", Meaning::InvalidParameters, "compare"),
        (500, "unable to remove backup 'x' - it is protected", Meaning::Conflict, "protected=0"),
        (500, "device '/dev/sdb' is already in use", Meaning::Conflict, "disks/list"),
        (500, "device '/dev/sdb' has a partition", Meaning::Conflict, "disks/list"),
        (500, "ceph config file '/etc/pve/ceph.conf' does not exist", Meaning::NotInstalled, "Ceph"),
        (500, "rados_conf_read_file failed - No such file or directory", Meaning::NotInstalled, "Ceph"),
        (500, "rbd error: rbd: couldn't connect to the cluster!", Meaning::Unavailable, "monitors"),
        (500, "rados_connect failed - Connection timed out", Meaning::Unavailable, "monitors"),
        (500, "got timeout when trying to ping ceph", Meaning::Unavailable, "monitors"),
        (500, "No cloudinit drive", Meaning::Absent, "cloudinit"),
        (500, "auto-generated role 'PVEAdmin' cannot be modified", Meaning::Conflict, "/access/roles"),
        (404, "could not find endpoint 'x1'", Meaning::Absent, "one step above"),
        (500, "job 'x' not found", Meaning::Absent, "one step above"),
        (500, "fork failed: Cannot allocate memory", Meaning::Unavailable, "memory"),
        (500, "unable to fork worker - Resource temporarily unavailable", Meaning::Unavailable, "limit"),
        (596, "tls_process_server_certificate: certificate verify failed", Meaning::NodeUnreachable, "updatecerts"),
        (596, "ssl3_get_record: wrong version number", Meaning::NodeUnreachable, "updatecerts"),
        (596, "sslv3 alert handshake failure", Meaning::NodeUnreachable, "updatecerts"),
        (596, "tlsv1 alert unknown ca", Meaning::NodeUnreachable, "updatecerts"),
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
