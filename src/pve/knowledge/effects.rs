//! What an operation does to which object, in words for a person who confirms it.
//!
//! To describe an operation better, add a row to `TABLE` and a case to `tests/golden/questions.rs`. The first row that
//! fits a call describes it.

use crate::base::list_text::list_items;
use crate::pve::method::Method;
use crate::pve::params::ApiParams;

const NEVER: Undo = Undo::Never;
/// It depends on more than the call.
const UNSAID: Undo = Undo::Unsaid;
const ADD_AGAIN: Undo = By("Adding it again undoes this.");
const CREATE_AGAIN: Undo = By("Creating it again undoes this.");
const SET_BACK: Undo = By("This can be set back.");
const MOVE_BACK: Undo = By(
    "The old disk is kept as an unused one. Attaching it again undoes this, or moving the disk back if the guest ran since.",
);
const MOVE_BACK_WITHOUT_COPY: Undo = Partly("The old copy is lost for good. Moving the disk back makes a new one.");
const LOSES_UNSAVED: Undo =
    Partly("Data that is not on its disks yet is lost for good. Starting it again undoes the rest.");
const LOSES_UNSAVED_IF_CUT: Undo = Partly(
    "If its power is cut, data that is not on its disks yet is lost for good. Starting it again undoes the rest.",
);
const LOSE_UNSAVED_IF_CUT: Undo = Partly(
    "Guests whose power is cut lose the data that is not on their disks yet. Starting them again undoes the rest.",
);
const HA_STOP: &str = "Have HA shut {guest} on {cluster} down, and cut its power if it takes too long";
/// The default of Proxmox kills guests, so the risk model calls these operations irreversible.
const SHUT_DOWN_CLEANLY: Undo =
    Partly("Work that their programs do not save is lost. Starting them again undoes the rest.");
const LOSES_PERMISSIONS: Undo = Partly("The permissions on it are lost for good. Creating it again undoes the rest.");
const LOSES_CREDENTIALS: Undo =
    Partly("Its stored credentials are lost for good. Creating it again with them undoes this.");
const LOSES_STORAGE_CREDENTIALS: Undo =
    Partly("Its stored password and key are lost for good. Adding it again with them undoes this.");
/// The types of storages that have no password and no key.
const PLAIN_STORAGES: [&str; 9] =
    ["btrfs", "dir", "glusterfs", "iscsi", "iscsidirect", "lvm", "lvmthin", "nfs", "zfspool"];
/// The risk model calls the removal irreversible, because of the storages with credentials.
const ADD_STORAGE_AGAIN: Undo = Partly("Adding it again undoes this.");
const LOSES_OLDER_BACKUPS: Undo =
    Partly("Backups that its runs remove are lost for good. Deleting the job undoes the rest.");
const WAITS_FOR_APPLY: &str = "It takes effect when the network configuration is applied.";
const LOSES_SERVICE_DATA: Undo = Partly("Its data is lost for good. Creating it again makes an empty one.");

/// The effect of one operation, in words.
pub struct OperationEffect {
    method: Method,
    /// The path with placeholders. `{guest}` replaces the path of a VM or container.
    template: &'static str,
    condition: Condition,
    /// Verb and object. `{guest}` and `{name}` are the guest and the parameters of the path, `{=name}` is a parameter of
    /// the call, and `{=a|b}` are those of several that are given. The name of the cluster is added at the end, unless `{cluster}` has it.
    pub phrase: &'static str,
    pub undo: Undo,
    /// A sentence about what stays or goes with the object. Empty if there is nothing to say.
    pub remark: &'static str,
    /// The facts to look up about the object.
    pub facts: &'static [Fact],
    /// The parameter that a deleted object is created again with.
    pub creation_default: Option<CreationDefault>,
}

/// A default of Proxmox that a new object has only if the call names it, since this program sends another one.
pub struct CreationDefault {
    pub parameter: &'static str,
    pub value: &'static str,
    /// An object with one of these options has no need of it.
    pub unless: &'static [&'static str],
}

/// The way back from a change. Each text is whole sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    Never,
    /// A part is lost for good. The text says which, and how to undo the rest.
    Partly(&'static str),
    /// The text says how.
    By(&'static str),
    Unsaid,
}

impl Undo {
    /// Returns what a user is told. `irreversible` is the judgement of the risk model about the call with its
    /// parameters, which this never contradicts.
    pub fn describe(self, irreversible: bool) -> &'static str {
        match (self, irreversible) {
            (Self::Partly(text), _) | (Self::By(text), false) => text,
            (Self::Unsaid, false) => "",
            _ => "This can't be undone.",
        }
    }

    /// Returns whether nothing of the change can be undone.
    pub fn is_impossible(self, irreversible: bool) -> bool {
        match self {
            Self::Never => true,
            Self::Partly(_) => false,
            Self::By(_) | Self::Unsaid => irreversible,
        }
    }
}

/// A condition on the parameters of a call.
#[derive(Clone, Copy)]
enum Condition {
    Always,
    /// The parameter has this value.
    Value(&'static str, &'static str),
    /// The parameter is a list with an item that begins with this word.
    Item(&'static str, &'static str),
    /// The parameter is there, and neither empty nor this value.
    Other(&'static str, &'static str),
}

/// A fact about the object of a call that is looked up for a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The disks in the configuration of the guest.
    Disks,
    /// The option of the guest's configuration that this parameter names.
    OptionNamedBy(&'static str),
    /// The snapshots of the guest.
    Snapshots,
    /// The snapshot of the path.
    Snapshot,
    /// The options of the guest that the snapshot of the path has with other values.
    RestoredOptions,
    /// The option of a guest that names the volume of the path.
    VolumeUse,
    /// The number of the guest's backups, which are kept.
    Backups,
    /// The backup and replication jobs that name the guest.
    Jobs,
    /// The backups that would be removed.
    PrunedBackups,
    /// The backups that the limit of a new one removes.
    BackupsBeyondLimit,
    /// The changes of the network that are not applied yet.
    PendingNetwork,
    /// The object at the path of the call, with the values of its options.
    Object,
    /// The guests that the backup job of the path backs up.
    JobGuests,
    /// The disks that a live migration can't take along.
    LocalDisks,
    /// The guests with drives on the storage of the path, and the backup jobs to it.
    StorageUse,
    /// The pools that the guests of the call leave.
    Pools,
    /// The rules of HA for the place of the guest.
    Placement,
    /// The storage of a backup job, if it accepts no backups.
    JobStorage,
    /// The address families of a network interface, which a change writes again.
    AddressFamilies,
}

const fn row(method: Method, template: &'static str, phrase: &'static str, undo: Undo) -> OperationEffect {
    OperationEffect {
        method,
        template,
        condition: Condition::Always,
        phrase,
        undo,
        remark: "",
        facts: &[],
        creation_default: None,
    }
}

impl OperationEffect {
    const fn when(self, condition: Condition) -> Self {
        Self { condition, ..self }
    }

    const fn remark(self, remark: &'static str) -> Self {
        Self { remark, ..self }
    }

    const fn facts(self, facts: &'static [Fact]) -> Self {
        Self { facts, ..self }
    }

    const fn creation_default(self, default: CreationDefault) -> Self {
        Self { creation_default: Some(default), ..self }
    }

    /// Returns the way back from a change of an object of this type. An unknown type is empty.
    pub fn undo_of_type(&self, object_type: &str) -> Undo {
        match self.undo {
            LOSES_STORAGE_CREDENTIALS if PLAIN_STORAGES.contains(&object_type) => ADD_STORAGE_AGAIN,
            undo => undo,
        }
    }

    /// Returns the parameter whose value makes the call have this effect.
    pub fn parameter(&self) -> Option<&'static str> {
        match self.condition {
            Condition::Always => None,
            Condition::Value(name, _) | Condition::Item(name, _) | Condition::Other(name, _) => Some(name),
        }
    }
}

use Condition::{Item, Other, Value};
use Fact::{
    AddressFamilies, Backups, BackupsBeyondLimit, Disks, JobGuests, JobStorage, Jobs, LocalDisks, Object,
    OptionNamedBy, PendingNetwork, Placement, Pools, PrunedBackups, RestoredOptions, Snapshot, Snapshots, StorageUse,
    VolumeUse,
};
use Method::{Delete, Get, Post, Put};
use Undo::{By, Partly};

static TABLE: &[OperationEffect] = &[
    // Guests.
    row(Delete, "{guest}", "Delete {guest} and its disks", NEVER)
        .remark("Its entries in the access control list and its firewall rules go too.")
        .facts(&[Disks, Snapshots, Backups, Jobs]),
    row(Post, "{guest}/status/start", "Start {guest}", By("Shutting it down undoes this.")),
    row(Post, "{guest}/status/stop", "Stop {guest} on {cluster} at once, as if its power was cut", LOSES_UNSAVED),
    row(
        Post,
        "{guest}/status/reset",
        "Reset {guest} on {cluster} at once, as if its power was cut and came back",
        UNSAID,
    ),
    row(
        Post,
        "{guest}/status/shutdown",
        "Shut {guest} on {cluster} down, and cut its power if it takes too long",
        LOSES_UNSAVED_IF_CUT,
    )
    .when(Value("forceStop", "1")),
    row(Post, "{guest}/status/shutdown", "Shut {guest} down", By("Starting it again undoes this.")),
    row(Post, "{guest}/status/reboot", "Reboot {guest}", UNSAID),
    row(Post, "{guest}/status/suspend", "Suspend {guest}", By("Resuming it undoes this.")),
    row(Post, "{guest}/status/resume", "Resume {guest}", UNSAID),
    row(Post, "{guest}/snapshot", "Take snapshot {=snapname} of {guest}", By("Deleting the snapshot undoes this.")),
    row(Delete, "{guest}/snapshot/{snapname}", "Delete snapshot {snapname} of {guest}", NEVER)
        .remark("The present state of the guest stays.")
        .facts(&[Snapshot]),
    row(Post, "{guest}/snapshot/{snapname}/rollback", "Roll {guest} back to snapshot {snapname}", NEVER)
        .facts(&[Snapshot, RestoredOptions]),
    row(Put, "{guest}/resize", "Grow disk {=disk} of {guest} (size {=size})", NEVER).facts(&[OptionNamedBy("disk")]),
    row(Post, "{guest}/template", "Make a template of {guest}", NEVER)
        .remark("A template can't run.")
        .facts(&[Snapshots]),
    row(
        Post,
        "{guest}/move_disk",
        "Move disk {=disk} of {guest} on {cluster} and delete the old copy",
        MOVE_BACK_WITHOUT_COPY,
    )
    .when(Value("delete", "1"))
    .facts(&[OptionNamedBy("disk")]),
    row(Post, "{guest}/move_disk", "Move disk {=disk} of {guest}", MOVE_BACK).facts(&[OptionNamedBy("disk")]),
    row(
        Post,
        "{guest}/move_volume",
        "Move volume {=volume} of {guest} on {cluster} and delete the old copy",
        MOVE_BACK_WITHOUT_COPY,
    )
    .when(Value("delete", "1"))
    .facts(&[OptionNamedBy("volume")]),
    row(Post, "{guest}/move_volume", "Move volume {=volume} of {guest}", MOVE_BACK).facts(&[OptionNamedBy("volume")]),
    row(Put, "{guest}/unlink", "Delete the disks {=idlist} of {guest}", NEVER)
        .when(Value("force", "1"))
        .facts(&[Disks]),
    row(Put, "{guest}/unlink", "Detach the disks {=idlist} of {guest}", By("Attaching them again undoes this."))
        .remark("A disk that is detached already is deleted.")
        .facts(&[Disks]),
    row(Put, "{guest}/config", "Change {guest} on {cluster} and delete disks", NEVER)
        .when(Item("delete", "unused"))
        .facts(&[Object]),
    row(Post, "{guest}/config", "Change {guest} on {cluster} and delete disks", NEVER)
        .when(Item("delete", "unused"))
        .facts(&[Object]),
    row(Put, "{guest}/config", "Change {guest}", UNSAID).when(Value("force", "1")).facts(&[Object]),
    row(Post, "{guest}/config", "Change {guest}", UNSAID).when(Value("force", "1")).facts(&[Object]),
    row(Put, "{guest}/config", "Change {guest}", SET_BACK).facts(&[Object]),
    row(Post, "{guest}/config", "Change {guest}", SET_BACK).facts(&[Object]),
    row(Post, "{guest}/clone", "Clone {guest} to the new guest {=newid}", By("Deleting the clone undoes this.")),
    row(Post, "{guest}/migrate", "Migrate {guest} to node {=target}", By("Migrating it back undoes this."))
        .facts(&[LocalDisks, Placement]),
    row(Post, "{guest}/remote_migrate", "Migrate {guest} on {cluster} to another cluster and delete it here", NEVER)
        .when(Value("delete", "1"))
        .facts(&[Disks]),
    row(Post, "{guest}/remote_migrate", "Migrate {guest} on {cluster} to another cluster", UNSAID)
        .remark("Its disks are copied there. The original stays here, stopped."),
    row(Post, "{guest}/agent/exec", "Run a program inside {guest}", UNSAID),
    row(Post, "{guest}/agent/file-write", "Write the file {=file} inside {guest}", NEVER)
        .remark("A file of that name is replaced."),
    row(
        Post,
        "{guest}/agent/set-user-password",
        "Set the password of user {=username} inside {guest}",
        Partly("The old password can't be read back. Only setting it again undoes this."),
    ),
    row(Post, "{guest}/monitor", "Run a command in the QEMU monitor of {guest}", UNSAID),
    row(Put, "{guest}/sendkey", "Press the key {=key} in {guest}", UNSAID),
    row(Post, "{guest}/termproxy", "Open a console of {guest}", UNSAID),
    row(Post, "{guest}/vncproxy", "Open a console of {guest}", UNSAID),
    row(Post, "{guest}/spiceproxy", "Open a console of {guest}", UNSAID),
    row(Get, "{guest}/vncwebsocket", "Open a console of {guest}", UNSAID),
    row(Post, "{guest}/mtunnel", "Open a tunnel for the migration of {guest}", UNSAID),
    row(Get, "{guest}/mtunnelwebsocket", "Open a tunnel for the migration of {guest}", UNSAID),
    row(Post, "/nodes/{node}/qemu", "Restore {=archive} over {guest} on node {node}", NEVER)
        .when(Value("force", "1"))
        .remark("The disks and the configuration that the guest has now are lost."),
    row(Post, "/nodes/{node}/lxc", "Restore {=ostemplate} over {guest} on node {node}", NEVER)
        .when(Value("force", "1"))
        .remark("The disks and the configuration that the guest has now are lost."),
    row(Post, "/nodes/{node}/qemu", "Create VM {=vmid} on node {node}", By("Deleting it undoes this.")),
    row(Post, "/nodes/{node}/lxc", "Create container {=vmid} on node {node}", By("Deleting it undoes this.")),
    row(
        Put,
        "{guest}/snapshot/{snapname}/config",
        "Change the description of snapshot {snapname} of {guest}",
        SET_BACK,
    )
    .facts(&[Object]),
    // Firewall rules of a guest, a node, a security group, a virtual network and the data center.
    row(Post, "{guest}/firewall/rules", "Add a firewall rule to {guest}", By("Deleting the rule undoes this.")),
    row(Put, "{guest}/firewall/options", "Change the firewall options of {guest}", SET_BACK).facts(&[Object]),
    row(Put, "{guest}/firewall/rules/{pos}", "Change firewall rule {pos} of {guest}", SET_BACK).facts(&[Object]),
    row(Delete, "{guest}/firewall/rules/{pos}", "Delete firewall rule {pos} of {guest}", ADD_AGAIN).facts(&[Object]),
    row(Delete, "{guest}/firewall/aliases/{name}", "Delete firewall alias {name} of {guest}", ADD_AGAIN)
        .facts(&[Object]),
    row(Delete, "{guest}/firewall/ipset/{name}", "Delete IP set {name} of {guest}", CREATE_AGAIN),
    row(Delete, "{guest}/firewall/ipset/{name}/{cidr}", "Remove {cidr} from IP set {name} of {guest}", ADD_AGAIN),
    row(Delete, "/nodes/{node}/firewall/rules/{pos}", "Delete firewall rule {pos} of node {node}", ADD_AGAIN)
        .facts(&[Object]),
    row(Delete, "/cluster/firewall/rules/{pos}", "Delete firewall rule {pos} of the data center", ADD_AGAIN)
        .facts(&[Object]),
    row(Delete, "/cluster/firewall/groups/{group}/{pos}", "Delete rule {pos} of security group {group}", ADD_AGAIN)
        .facts(&[Object]),
    row(Delete, "/cluster/firewall/groups/{group}", "Delete security group {group}", CREATE_AGAIN),
    row(Delete, "/cluster/firewall/aliases/{name}", "Delete firewall alias {name}", ADD_AGAIN).facts(&[Object]),
    row(Delete, "/cluster/firewall/ipset/{name}", "Delete IP set {name}", CREATE_AGAIN),
    row(Delete, "/cluster/firewall/ipset/{name}/{cidr}", "Remove {cidr} from IP set {name}", ADD_AGAIN),
    row(Put, "/cluster/firewall/options", "Change the firewall options of the data center", SET_BACK).facts(&[Object]),
    row(
        Delete,
        "/cluster/sdn/vnets/{vnet}/firewall/rules/{pos}",
        "Delete firewall rule {pos} of virtual network {vnet}",
        ADD_AGAIN,
    )
    .facts(&[Object]),
    // Many guests at once.
    row(Post, "/nodes/{node}/stopall", "Shut {guests} of node {node} down", SHUT_DOWN_CLEANLY)
        .when(Value("force-stop", "0")),
    row(
        Post,
        "/nodes/{node}/stopall",
        "Shut {guests} of node {node} on {cluster} down, and cut the power of those that take too long",
        LOSE_UNSAVED_IF_CUT,
    ),
    row(Post, "/nodes/{node}/startall", "Start {guests} of node {node}", By("Shutting them down undoes this."))
        .when(Value("force", "1")),
    row(Post, "/nodes/{node}/startall", "Start {guests} of node {node}", By("Shutting them down undoes this."))
        .remark("Only guests with the option onboot are started, unless force is set."),
    row(Post, "/nodes/{node}/suspendall", "Suspend {guests} of node {node}", By("Resuming them undoes this.")),
    row(
        Post,
        "/nodes/{node}/migrateall",
        "Migrate {guests} of node {node} to node {=target}",
        By("Migrating them back undoes this."),
    ),
    row(Post, "/cluster/bulk-action/guest/shutdown", "Shut {guests} down", SHUT_DOWN_CLEANLY)
        .when(Value("force-stop", "0")),
    row(
        Post,
        "/cluster/bulk-action/guest/shutdown",
        "Shut {guests} on {cluster} down, and cut the power of those that take too long",
        LOSE_UNSAVED_IF_CUT,
    ),
    row(Post, "/cluster/bulk-action/guest/start", "Start {guests}", By("Shutting them down undoes this.")),
    row(Post, "/cluster/bulk-action/guest/suspend", "Suspend {guests}", By("Resuming them undoes this.")),
    row(
        Post,
        "/cluster/bulk-action/guest/migrate",
        "Migrate {guests} to node {=target}",
        By("Migrating them back undoes this."),
    ),
    // Nodes.
    row(Post, "/nodes/{node}/status", "Reboot node {node}", UNSAID)
        .when(Value("command", "reboot"))
        .remark("Its guests go down with it."),
    row(
        Post,
        "/nodes/{node}/status",
        "Shut node {node} down",
        Partly("It can't be started from here: only switching it on undoes this."),
    )
    .when(Value("command", "shutdown"))
    .remark("Its guests go down with it."),
    row(
        Post,
        "/nodes/{node}/network",
        "Add network interface {=iface} to the configuration of node {node}",
        By("Deleting it undoes this."),
    )
    .remark(WAITS_FOR_APPLY),
    row(
        Put,
        "/nodes/{node}/network/{iface}",
        "Change network interface {iface} in the configuration of node {node}",
        SET_BACK,
    )
    .remark(WAITS_FOR_APPLY)
    .facts(&[Object, AddressFamilies]),
    row(
        Delete,
        "/nodes/{node}/network/{iface}",
        "Delete network interface {iface} from the configuration of node {node}",
        ADD_AGAIN,
    )
    .remark(WAITS_FOR_APPLY)
    .facts(&[Object]),
    row(Delete, "/nodes/{node}/network", "Discard the pending network changes of node {node}", NEVER)
        .facts(&[PendingNetwork]),
    row(Put, "/nodes/{node}/network", "Apply the pending network changes of node {node}", UNSAID)
        .remark("If they are wrong, the node and its guests lose their connection.")
        .facts(&[PendingNetwork]),
    row(Put, "/nodes/{node}/disks/wipedisk", "Wipe disk {=disk} of node {node}", NEVER),
    row(Post, "/nodes/{node}/disks/initgpt", "Write a new partition table to disk {=disk} of node {node}", NEVER),
    row(Post, "/nodes/{node}/disks/directory", "Format {=device} of node {node} as directory {=name}", NEVER),
    row(Post, "/nodes/{node}/disks/lvm", "Make volume group {=name} of {=device} on node {node}", NEVER),
    row(Post, "/nodes/{node}/disks/lvmthin", "Make thin pool {=name} of {=device} on node {node}", NEVER),
    row(Post, "/nodes/{node}/disks/zfs", "Make ZFS pool {=name} of {=devices} on node {node}", NEVER),
    row(Delete, "/nodes/{node}/disks/directory/{name}", "Unmount directory {name} of node {node}", UNSAID)
        .remark("With cleanup-disks, what is on the disk is lost."),
    row(Delete, "/nodes/{node}/disks/lvm/{name}", "Destroy volume group {name} of node {node} and its data", NEVER),
    row(Delete, "/nodes/{node}/disks/lvmthin/{name}", "Destroy thin pool {name} of node {node} and its data", NEVER),
    row(Delete, "/nodes/{node}/disks/zfs/{name}", "Destroy ZFS pool {name} of node {node} and its data", NEVER)
        .facts(&[Object]),
    row(
        Post,
        "/nodes/{node}/services/{service}/stop",
        "Stop service {service} of node {node}",
        By("Starting it again undoes this."),
    ),
    row(Post, "/nodes/{node}/services/{service}/restart", "Restart service {service} of node {node}", UNSAID),
    row(Post, "/nodes/{node}/services/{service}/reload", "Reload service {service} of node {node}", UNSAID),
    row(
        Delete,
        "/nodes/{node}/certificates/custom",
        "Delete the certificate of node {node}",
        Partly("The stored key is lost for good. Uploading it again with the certificate undoes this."),
    ),
    row(
        Post,
        "/nodes/{node}/certificates/custom",
        "Replace the certificate of node {node}",
        Partly("The stored key is lost for good. Uploading the old key and certificate undoes this."),
    ),
    row(Post, "/nodes/{node}/execute", "Run a batch of API calls on node {node}", UNSAID),
    row(Post, "/nodes/{node}/vncshell", "Open a shell on node {node}", UNSAID),
    row(Post, "/nodes/{node}/termproxy", "Open a shell on node {node}", UNSAID),
    row(Post, "/nodes/{node}/spiceshell", "Open a shell on node {node}", UNSAID),
    row(Get, "/nodes/{node}/vncwebsocket", "Open a shell on node {node}", UNSAID),
    row(Delete, "/nodes/{node}/subscription", "Delete the subscription key of node {node}", ADD_AGAIN),
    row(Delete, "/nodes/{node}/tasks/{upid}", "Stop the task {upid}", By("The task can be started again.")),
    row(Post, "/nodes/{node}/ceph/osd", "Make an OSD of {=dev} on node {node}", NEVER),
    row(Delete, "/nodes/{node}/ceph/osd/{osdid}", "Destroy OSD {osdid} of node {node}", NEVER),
    row(Delete, "/nodes/{node}/ceph/pool/{name}", "Destroy Ceph pool {name} and its data", NEVER),
    row(Delete, "/nodes/{node}/ceph/fs/{name}", "Destroy CephFS {name}", NEVER),
    row(Delete, "/nodes/{node}/ceph/mds/{name}", "Destroy metadata server {name} of node {node}", LOSES_SERVICE_DATA),
    row(Delete, "/nodes/{node}/ceph/mgr/{id}", "Destroy Ceph manager {id} of node {node}", LOSES_SERVICE_DATA),
    row(Delete, "/nodes/{node}/ceph/mon/{monid}", "Destroy Ceph monitor {monid} of node {node}", LOSES_SERVICE_DATA),
    row(Post, "/nodes/{node}/ceph/stop", "Stop Ceph services on node {node}", By("Starting them again undoes this.")),
    row(Post, "/nodes/{node}/ceph/restart", "Restart Ceph services on node {node}", UNSAID),
    // Storages, volumes and backups.
    row(
        Delete,
        "/nodes/{node}/storage/{storage}/content/{volume}",
        "Delete volume {volume} of storage {storage}",
        NEVER,
    )
    .facts(&[Object, VolumeUse]),
    row(Delete, "/nodes/{node}/storage/{storage}/prunebackups", "Delete old backups on storage {storage}", NEVER)
        .facts(&[PrunedBackups]),
    row(Delete, "/storage/{storage}", "Remove storage {storage} from the configuration", LOSES_STORAGE_CREDENTIALS)
        .remark("The data on it stays. Guests lose their disks until it is added again.")
        .facts(&[Object, StorageUse]),
    row(Put, "/storage/{storage}", "Change the configuration of storage {storage}", SET_BACK)
        .facts(&[Object, StorageUse]),
    row(Post, "/nodes/{node}/vzdump", "Back {guests} up on node {node} and delete older backups", NEVER)
        .when(Other("prune-backups", "keep-all=1"))
        .facts(&[BackupsBeyondLimit]),
    row(Post, "/nodes/{node}/vzdump", "Back {guests} up on node {node} and delete older backups", NEVER)
        .when(Value("remove", "1")),
    row(Post, "/nodes/{node}/vzdump", "Stop the backup that runs on node {node}", NEVER).when(Value("stop", "1")),
    row(Post, "/nodes/{node}/vzdump", "Back {guests} up on node {node}", UNSAID),
    row(Post, "/cluster/backup", "Create a backup job that removes older backups", LOSES_OLDER_BACKUPS)
        .when(Other("prune-backups", "keep-all=1"))
        .facts(&[JobStorage]),
    row(Post, "/cluster/backup", "Create a backup job that removes older backups", LOSES_OLDER_BACKUPS)
        .when(Value("remove", "1"))
        .facts(&[JobStorage]),
    row(Post, "/cluster/backup", "Create a backup job", By("Deleting the job undoes this.")).facts(&[JobStorage]),
    row(Put, "/cluster/backup/{id}", "Change backup job {id}", SET_BACK)
        .when(Value("enabled", "0"))
        .facts(&[Object, JobGuests, JobStorage]),
    row(Put, "/cluster/backup/{id}", "Change backup job {id}", SET_BACK).facts(&[Object, JobStorage]),
    row(Delete, "/cluster/backup/{id}", "Delete backup job {id}", CREATE_AGAIN)
        .remark("The backups that it made are kept.")
        .facts(&[Object, JobGuests])
        .creation_default(CreationDefault { parameter: "remove", value: "1", unless: &["remove", "prune-backups"] }),
    row(
        Delete,
        "/cluster/replication/{id}",
        "Delete replication job {id}",
        Partly("The copies at its target are lost, unless keep is set. Creating it again makes new ones."),
    )
    .facts(&[Object]),
    // High availability.
    row(Put, "/cluster/ha/resources/{sid}", HA_STOP, LOSES_UNSAVED_IF_CUT)
        .when(Value("state", "stopped"))
        .facts(&[Object]),
    row(Put, "/cluster/ha/resources/{sid}", HA_STOP, LOSES_UNSAVED_IF_CUT)
        .when(Value("state", "disabled"))
        .facts(&[Object]),
    row(Put, "/cluster/ha/resources/{sid}", "Have HA start {guest}", SET_BACK)
        .when(Value("state", "started"))
        .facts(&[Object]),
    row(Put, "/cluster/ha/resources/{sid}", "Change the HA settings of {guest}", SET_BACK).facts(&[Object]),
    row(Delete, "/cluster/ha/resources/{sid}", "Remove {guest} from high availability", ADD_AGAIN)
        .remark("The guest itself stays.")
        .facts(&[Object]),
    row(Delete, "/cluster/ha/rules/{rule}", "Delete HA rule {rule}", CREATE_AGAIN).facts(&[Object]),
    row(Delete, "/cluster/ha/groups/{group}", "Delete HA group {group}", CREATE_AGAIN).facts(&[Object]),
    row(
        Post,
        "/cluster/ha/resources/{sid}/relocate",
        "Stop {guest} and start it again on node {=node}",
        By("Relocating it back undoes this."),
    )
    .facts(&[Placement]),
    row(
        Post,
        "/cluster/ha/resources/{sid}/migrate",
        "Migrate {guest} to node {=node}",
        By("Migrating it back undoes this."),
    )
    .facts(&[Placement]),
    // Users and permissions.
    row(
        Put,
        "/access/acl",
        "Revoke the role {=roles} on {=path} from {=users|groups|tokens}",
        By("Granting it again undoes this."),
    )
    .when(Value("delete", "1")),
    row(
        Put,
        "/access/acl",
        "Grant the role {=roles} on {=path} to {=users|groups|tokens}",
        By("Revoking it undoes this."),
    ),
    row(Delete, "/access/users/{userid}", "Delete user {userid}", NEVER)
        .remark("The user's API tokens, second factors and permissions go too.")
        .facts(&[Object]),
    row(Post, "/access/users", "Create user {=userid}", By("Deleting the user undoes this.")),
    row(Put, "/access/users/{userid}", "Change user {userid}", SET_BACK).facts(&[Object]),
    row(Delete, "/access/users/{userid}/token/{tokenid}", "Revoke API token {tokenid} of user {userid}", NEVER)
        .remark("Programs that use it lose their access at once.")
        .facts(&[Object]),
    row(
        Post,
        "/access/users/{userid}/token/{tokenid}",
        "Create API token {tokenid} of user {userid}",
        By("Revoking the token undoes this."),
    ),
    row(
        Put,
        "/access/users/{userid}/token/{tokenid}",
        "Make a new secret for API token {tokenid} of user {userid}",
        NEVER,
    )
    .when(Value("regenerate", "1"))
    .facts(&[Object]),
    row(Put, "/access/users/{userid}/token/{tokenid}", "Change API token {tokenid} of user {userid}", SET_BACK)
        .facts(&[Object]),
    row(
        Put,
        "/access/password",
        "Set the password of user {=userid}",
        Partly("The old password can't be read back. Only setting it again undoes this."),
    ),
    row(Delete, "/access/tfa/{userid}/{id}", "Delete a second factor of user {userid}", NEVER).facts(&[Object]),
    row(Put, "/access/users/{userid}/unlock-tfa", "Unlock the second factors of user {userid}", UNSAID),
    row(Post, "/access/groups", "Create group {=groupid}", By("Deleting the group undoes this.")),
    row(Put, "/access/groups/{groupid}", "Change group {groupid}", SET_BACK).facts(&[Object]),
    row(
        Delete,
        "/access/groups/{groupid}",
        "Delete group {groupid}",
        Partly("The permissions of the group are lost for good. Creating it again undoes the rest."),
    )
    .facts(&[Object]),
    row(Post, "/access/roles", "Create role {=roleid}", By("Deleting the role undoes this.")),
    row(Put, "/access/roles/{roleid}", "Change role {roleid}", SET_BACK).facts(&[Object]),
    row(
        Delete,
        "/access/roles/{roleid}",
        "Delete role {roleid}",
        Partly("The permissions that use the role are lost for good. Creating it again undoes the rest."),
    )
    .facts(&[Object]),
    row(Post, "/access/domains", "Create login realm {=realm}", By("Deleting the realm undoes this.")),
    row(Put, "/access/domains/{realm}", "Change login realm {realm}", SET_BACK).facts(&[Object]),
    row(Delete, "/access/domains/{realm}", "Delete login realm {realm}", LOSES_CREDENTIALS)
        .remark("Its users can't log in until then.")
        .facts(&[Object]),
    // Pools, and the cluster as a whole.
    row(Delete, "/pools/{poolid}", "Delete pool {poolid}", LOSES_PERMISSIONS).facts(&[Object]),
    row(Delete, "/pools", "Delete pool {=poolid}", LOSES_PERMISSIONS),
    row(Post, "/pools", "Create pool {=poolid}", By("Deleting the pool undoes this.")),
    row(Put, "/pools/{poolid}", "Take members out of pool {poolid}", SET_BACK)
        .when(Value("delete", "1"))
        .facts(&[Pools]),
    row(Put, "/pools/{poolid}", "Put {guests} into pool {poolid}", SET_BACK).when(Other("vms", "")).facts(&[Pools]),
    row(Put, "/pools/{poolid}", "Put storage {=storage} into pool {poolid}", SET_BACK)
        .when(Other("storage", ""))
        .facts(&[Pools]),
    row(Put, "/pools/{poolid}", "Change pool {poolid}", SET_BACK).facts(&[Object]),
    row(Put, "/pools", "Take members out of pool {=poolid}", SET_BACK).when(Value("delete", "1")).facts(&[Pools]),
    row(Put, "/pools", "Put {guests} into pool {=poolid}", SET_BACK).when(Other("vms", "")).facts(&[Pools]),
    row(Put, "/pools", "Put storage {=storage} into pool {=poolid}", SET_BACK)
        .when(Other("storage", ""))
        .facts(&[Pools]),
    row(Put, "/pools", "Change pool {=poolid}", SET_BACK),
    row(Delete, "/cluster/config/nodes/{node}", "Remove node {node} from the cluster", NEVER),
    row(Post, "/cluster/config", "Make this node the first of a new cluster", NEVER),
    row(Post, "/cluster/config/join", "Join this node to another cluster", NEVER),
    row(Post, "/cluster/config/nodes/{node}", "Add node {node} to the cluster", UNSAID),
    row(Put, "/cluster/sdn", "Apply the pending changes of the virtual networks on all nodes", UNSAID)
        .remark("If they are wrong, guests lose their connection."),
    row(Post, "/cluster/sdn/rollback", "Discard the pending changes of the virtual networks", NEVER),
    row(Delete, "/cluster/sdn/zones/{zone}", "Delete virtual network zone {zone}", CREATE_AGAIN).facts(&[Object]),
    row(Delete, "/cluster/sdn/vnets/{vnet}", "Delete virtual network {vnet}", CREATE_AGAIN).facts(&[Object]),
    row(
        Delete,
        "/cluster/sdn/vnets/{vnet}/subnets/{subnet}",
        "Delete subnet {subnet} of virtual network {vnet}",
        CREATE_AGAIN,
    )
    .facts(&[Object]),
    row(Delete, "/cluster/sdn/dns/{dns}", "Delete DNS server {dns} of the virtual networks", LOSES_CREDENTIALS)
        .facts(&[Object]),
    row(
        Delete,
        "/cluster/sdn/ipams/{ipam}",
        "Delete address manager {ipam} of the virtual networks",
        LOSES_CREDENTIALS,
    )
    .facts(&[Object]),
    row(
        Delete,
        "/cluster/sdn/controllers/{controller}",
        "Delete virtual network controller {controller}",
        CREATE_AGAIN,
    )
    .facts(&[Object]),
    row(Delete, "/cluster/mapping/dir/{id}", "Delete directory mapping {id}", CREATE_AGAIN).facts(&[Object]),
    row(Delete, "/cluster/mapping/pci/{id}", "Delete PCI mapping {id}", CREATE_AGAIN).facts(&[Object]),
    row(Delete, "/cluster/mapping/usb/{id}", "Delete USB mapping {id}", CREATE_AGAIN).facts(&[Object]),
    row(Delete, "/cluster/metrics/server/{id}", "Delete metrics server {id}", LOSES_CREDENTIALS).facts(&[Object]),
    row(Delete, "/cluster/acme/account/{name}", "Deactivate ACME account {name}", NEVER).facts(&[Object]),
    row(Delete, "/cluster/acme/plugins/{id}", "Delete ACME plugin {id}", LOSES_CREDENTIALS),
    row(
        Delete,
        "/cluster/notifications/endpoints/gotify/{name}",
        "Delete notification target {name}",
        LOSES_CREDENTIALS,
    )
    .facts(&[Object]),
    row(Delete, "/cluster/notifications/endpoints/smtp/{name}", "Delete notification target {name}", LOSES_CREDENTIALS)
        .facts(&[Object]),
    row(
        Delete,
        "/cluster/notifications/endpoints/webhook/{name}",
        "Delete notification target {name}",
        LOSES_CREDENTIALS,
    )
    .facts(&[Object]),
    row(Delete, "/cluster/notifications/endpoints/sendmail/{name}", "Delete notification target {name}", CREATE_AGAIN)
        .facts(&[Object]),
    row(Delete, "/cluster/notifications/matchers/{name}", "Delete notification matcher {name}", CREATE_AGAIN)
        .facts(&[Object]),
    row(Delete, "/cluster/jobs/realm-sync/{id}", "Delete realm sync job {id}", CREATE_AGAIN).facts(&[Object]),
];

/// Returns the effect of a call, if the table has it. `template` is the path of its operation with placeholders.
pub fn find_effect(method: Method, template: &str, params: &ApiParams) -> Option<&'static OperationEffect> {
    let template = shorten_guest_path(template);
    let is_template = |effect: &&OperationEffect| {
        let rest = match (&template, effect.template.strip_prefix("{guest}")) {
            (GuestPath::Guest(rest), Some(wanted)) => *rest == wanted,
            (GuestPath::Other(whole), None) => *whole == effect.template,
            _ => false,
        };
        rest && effect.method == method
    };
    TABLE.iter().filter(is_template).find(|effect| effect.condition.holds(params))
}

/// The template of a path, without the part that leads to a guest.
enum GuestPath<'t> {
    /// The part after the number of the guest.
    Guest(&'t str),
    Other(&'t str),
}

fn shorten_guest_path(template: &str) -> GuestPath<'_> {
    let rest = ["/nodes/{node}/qemu/{vmid}", "/nodes/{node}/lxc/{vmid}"].iter().find_map(|p| template.strip_prefix(p));
    rest.map_or(GuestPath::Other(template), GuestPath::Guest)
}

impl Condition {
    fn holds(self, params: &ApiParams) -> bool {
        let any = |fits: &dyn Fn(&str, &str) -> bool| params.iter().any(|(name, value)| fits(name, value));
        match self {
            Self::Always => true,
            Self::Value(name, value) => any(&|given, is| given == name && is == value),
            Self::Other(name, value) => any(&|given, is| given == name && !is.is_empty() && is != value),
            Self::Item(name, start) => {
                any(&|given, value| given == name && list_items(value).any(|item| item.starts_with(start)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::schema::embedded_schema;

    fn to_params(pairs: &[(&str, &str)]) -> ApiParams {
        let mut params = ApiParams::new();
        pairs.iter().for_each(|(name, value)| params.push(name, value));
        params
    }

    #[test]
    fn credentials_are_lost_with_storages_that_have_them() {
        let removal = find_effect(Method::Delete, "/storage/{storage}", &ApiParams::new()).expect("a row");
        for (kind, loses) in
            [("nfs", false), ("dir", false), ("lvmthin", false), ("pbs", true), ("rbd", true), ("", true)]
        {
            let text = removal.undo_of_type(kind).describe(true);
            assert_eq!(text.contains("password and key"), loses, "{kind}");
        }
    }

    /// Returns the names in braces, with their `=`.
    fn placeholders(phrase: &str) -> Vec<&str> {
        phrase.split('{').skip(1).map(|rest| rest.split('}').next().expect("a name")).collect()
    }

    #[test]
    fn every_row_describes_an_operation_by_its_own_parameters() {
        for effect in TABLE {
            let kinds = if effect.template.starts_with("{guest}") {
                vec!["/nodes/{node}/qemu/{vmid}", "/nodes/{node}/lxc/{vmid}"]
            } else {
                vec![""]
            };
            let operations: Vec<_> = kinds
                .iter()
                .filter_map(|kind| {
                    let template = effect.template.replacen("{guest}", kind, 1);
                    embedded_schema().find_by_template(effect.method, &template)
                })
                .collect();
            assert!(!operations.is_empty(), "{} {}", effect.method, effect.template);
            if let Value(name, _) | Other(name, _) | Item(name, _) = effect.condition {
                // Of two kinds of guests, one may lack it.
                let is_known = operations.iter().any(|operation| operation.parameter(name).is_some());
                assert!(is_known, "{} {}: {name}", effect.method, effect.template);
            }
            for operation in operations {
                for name in placeholders(effect.phrase) {
                    let known = match name.strip_prefix('=') {
                        Some(names) => names.split('|').all(|name| operation.parameter(name).is_some()),
                        None => matches!(name, "guest" | "guests" | "cluster") || operation.is_path_parameter(name),
                    };
                    assert!(known, "{} {}: {name}", effect.method, effect.template);
                }
            }
            if let Some(default) = &effect.creation_default {
                let (list, _) = effect.template.rsplit_once('/').expect("a path has a slash");
                let creation = embedded_schema().find_by_template(Post, list).expect(list);
                for name in default.unless.iter().chain([&default.parameter]) {
                    assert!(creation.parameter(name).is_some(), "{list}: {name}");
                }
            }
            if let Partly(undo) | By(undo) = effect.undo {
                assert!(undo.ends_with('.'), "{undo}");
            }
            assert!(effect.remark.is_empty() || effect.remark.ends_with('.'), "{}", effect.remark);
        }
    }

    #[test]
    fn every_row_is_found_by_some_call() {
        for effect in TABLE {
            let template = effect.template.replacen("{guest}", "/nodes/{node}/qemu/{vmid}", 1);
            let params = match effect.condition {
                Condition::Always => ("", ""),
                Condition::Value(name, value) => (name, value),
                Condition::Other(name, _) => (name, "x"),
                Condition::Item(name, start) => (name, start),
            };
            let found = find_effect(effect.method, &template, &to_params(&[params])).expect("a row");
            assert!(std::ptr::eq(found, effect), "{} {} is hidden by an earlier row", effect.method, effect.template);
        }
    }

    #[test]
    fn parameters_select_the_row() {
        let undo = |params: &[(&str, &str)]| {
            let template = "/nodes/{node}/lxc/{vmid}/config";
            find_effect(Method::Put, template, &to_params(params)).expect("a row").undo
        };
        assert_eq!(undo(&[("memory", "1")]), SET_BACK);
        assert_eq!(undo(&[("delete", "tags")]), SET_BACK);
        assert_eq!(undo(&[("delete", "tags;unused0")]), NEVER);
        assert!(find_effect(Method::Post, "/nodes/{node}/time", &to_params(&[])).is_none());
    }
}
