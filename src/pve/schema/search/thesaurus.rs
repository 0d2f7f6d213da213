//! The field's words for the same thing, what says which method is wanted, and what says nothing.

use super::super::Method;
use super::words::stem;
use std::collections::HashMap;
use std::sync::LazyLock;

/// A word, and the words that the API has for it; after `~` those that only come near. One direction: a question's word
/// stands for those of the operations. Written unstemmed.
pub(super) const SYNONYMS: &[(&str, &str)] = &[
    ("2fa", "tfa"),
    ("abort", "stop kill"),
    ("access", "acl permission ~role"),
    ("account", "user ~acme"),
    ("acl", "permission"),
    ("active", "running status ~current"),
    ("ad", "ldap realm"),
    ("address", "ip ~interface"),
    ("admin", "permission acl role user"),
    ("administrator", "permission acl role"),
    ("affinity", "rule ~ha"),
    ("alert", "notification ~matcher"),
    ("allocation", "ipam ips status"),
    ("allow", "permission rule ~acl"),
    ("apart", "affinity"),
    ("appliance", "aplinfo template"),
    ("archive", "backup restore ~vzdump"),
    ("attach", "config ~disk"),
    ("audit", "task log"),
    ("authentication", "realm domain ~tfa login"),
    ("autostart", "onboot"),
    ("availability", "ha"),
    ("backup", "vzdump ~dump content"),
    ("bandwidth", "bwlimit"),
    ("bios", "config"),
    ("block", "firewall rule ~log drop"),
    ("boot", "start ~onboot"),
    ("bootorder", "boot config"),
    ("bridge", "network"),
    ("browse", "list"),
    ("bulk", "all many"),
    ("busiest", "resource usage list"),
    ("cancel", "stop kill"),
    ("capacity", "status usage size"),
    ("card", "device"),
    ("cdrom", "config iso"),
    ("cert", "certificate"),
    ("chrony", "service ~time"),
    ("cidata", "cloudinit"),
    ("colleague", "user"),
    ("command", "exec ~monitor"),
    ("condition", "status"),
    ("config", "configuration ~option"),
    ("configuration", "config ~option"),
    ("connection", "~network link"),
    ("consistency", "scrub"),
    ("console", "vncproxy termproxy terminal shell vnc ~spice"),
    ("consume", "usage resource"),
    ("consumption", "usage rrddata ~status"),
    ("container", "lxc ~guest"),
    ("copy", "clone"),
    ("core", "cpu config"),
    ("cpu", "~core"),
    ("ct", "container lxc"),
    ("customer", "user"),
    ("daemon", "service"),
    ("datastore", "storage"),
    ("description", "~comment"),
    ("device", "~hardware"),
    ("dhcp", "~subnet ips"),
    ("different", "~apart affinity"),
    ("disk", "~volume"),
    ("docker", "oci"),
    ("domain", "realm"),
    ("done", "status"),
    ("drive", "disk volume"),
    ("dump", "backup vzdump"),
    ("duplicate", "clone"),
    ("eject", "config cdrom"),
    ("email", "mail sendmail smtp ~notification"),
    ("employee", "user"),
    ("encrypt", "certificate"),
    ("enlarge", "resize grow"),
    ("erase", "wipe wipedisk"),
    ("error", "log ~status"),
    ("evacuate", "migrateall ~bulk"),
    ("event", "task log"),
    ("execute", "exec run"),
    ("expand", "resize grow"),
    ("expire", "expiry info"),
    ("export", "~nfs"),
    ("extend", "resize grow"),
    ("extract", "download restore extractconfig"),
    ("fail", "~task log error"),
    ("failover", "ha"),
    ("failure", "~task log error smart"),
    ("filesystem", "fsinfo ~fs disk"),
    ("finish", "status"),
    ("firewallrule", "rule"),
    ("folder", "directory ~dir"),
    ("force", "stop"),
    ("free", "usage status"),
    ("freeze", "fsfreeze"),
    ("gb", "size"),
    ("gpu", "pci passthrough"),
    ("grant", "acl permission"),
    ("graph", "rrddata rrd ~metric"),
    ("grow", "resize"),
    ("guest", "vm container ~qemu lxc"),
    ("halt", "stop shutdown"),
    ("hang", "running stop"),
    ("happen", "task log"),
    ("hardware", "pci usb ~config"),
    ("hdd", "disk"),
    ("health", "status ~smart"),
    ("healthy", "status health ~smart"),
    ("hibernate", "suspend"),
    ("highavailability", "ha"),
    ("history", "rrddata ~task time"),
    ("host", "node"),
    ("hostname", "host name ~config"),
    ("hypervisor", "node"),
    ("image", "content iso ~template"),
    ("increase", "resize grow"),
    ("influx", "influxdb metric"),
    ("info", "status ~information"),
    ("insert", "config"),
    ("install", "~version"),
    ("instance", "vm guest"),
    ("interface", "network nic"),
    ("ip", "interface address"),
    ("iso", "content image"),
    ("job", "~task"),
    ("join", "~add"),
    ("keep", "~retention prune together affinity"),
    ("key", "token ~certificate"),
    ("kill", "stop"),
    ("kvm", "vm qemu"),
    ("letsencrypt", "acme"),
    ("license", "subscription"),
    ("load", "status usage"),
    ("lock", "config ~unlock"),
    ("login", "ticket ~openid realm"),
    ("lxc", "container"),
    ("machine", "vm ~node"),
    ("mail", "sendmail smtp ~notification email"),
    ("maintenance", "ha ~migrateall"),
    ("map", "mapping"),
    ("member", "~group pool"),
    ("metadata", "~info status"),
    ("metric", "rrddata server"),
    ("mfa", "tfa"),
    ("migrate", "~move"),
    ("mon", "monitor"),
    ("monitoring", "metric"),
    ("most", "resource usage list"),
    ("mount", "~mountpoint directory"),
    ("mountpoint", "mp config"),
    ("move", "migrate"),
    ("name", "~config"),
    ("netmask", "network"),
    ("nic", "interface network ~net config"),
    ("nightly", "schedule scheduled"),
    ("note", "~comment description config"),
    ("notify", "notification matcher ~mail"),
    ("ntp", "time"),
    ("offline", "online status"),
    ("onboot", "~config"),
    ("online", "status"),
    ("option", "~config"),
    ("os", "osinfo"),
    ("output", "log"),
    ("overview", "resource status"),
    ("owner", "~user permission"),
    ("package", "apt version"),
    ("packet", "firewall log ~rule"),
    ("pass", "~mapping passthrough"),
    ("passthrough", "mapping ~pci hardware"),
    ("patch", "apt update"),
    ("pause", "suspend"),
    ("performance", "rrddata"),
    ("periodic", "schedule scheduled"),
    ("permission", "acl ~role"),
    ("person", "user"),
    ("plugin", "~acme"),
    ("port", "rule firewall"),
    ("postfix", "service ~mail"),
    ("powercycle", "reboot reset stop"),
    ("poweroff", "stop shutdown"),
    ("poweron", "start ~wakeonlan"),
    ("privilege", "permission role"),
    ("process", "~service task"),
    ("program", "exec"),
    ("progress", "task log status"),
    ("protect", "protection ~ha"),
    ("purge", "prune"),
    ("pvecm", "cluster"),
    ("pvedaemon", "service"),
    ("pveproxy", "service"),
    ("pvestatd", "service"),
    ("qemu", "vm"),
    ("qm", "qemu vm"),
    ("quorate", "quorum status"),
    ("quorum", "status"),
    ("ram", "memory"),
    ("reboot", "restart"),
    ("recover", "restore"),
    ("relocate", "~migrate"),
    ("rename", "config name"),
    ("repo", "repository"),
    ("reset", "~password"),
    ("resource", "~usage"),
    ("restart", "reboot"),
    ("restore", "~backup"),
    ("retention", "prune"),
    ("revert", "rollback discard"),
    ("right", "permission acl"),
    ("role", "~permission"),
    ("root", "~rootfs"),
    ("running", "status ~active"),
    ("sata", "disk"),
    ("schedule", "job"),
    ("screen", "console vncproxy"),
    ("script", "exec"),
    ("sdn", "network"),
    ("secret", "~token password"),
    ("separate", "apart affinity"),
    ("server", "node"),
    ("settings", "config option"),
    ("share", "~storage cifs directory"),
    ("shell", "termproxy vncshell spiceshell terminal"),
    ("shutdown", "~stop"),
    ("smb", "cifs"),
    ("snap", "snapshot"),
    ("software", "apt version"),
    ("someone", "user ~acl"),
    ("space", "storage status usage free"),
    ("ssd", "disk"),
    ("ssh", "~shell terminal sshkeys"),
    ("sshd", "service"),
    ("ssl", "certificate"),
    ("sso", "openid"),
    ("standby", "suspend"),
    ("state", "status"),
    ("statistic", "rrddata usage ~metric"),
    ("status", "~state current"),
    ("subscription", "~license"),
    ("suspend", "~pause"),
    ("tag", "~config"),
    ("task", "~job"),
    ("template", "~aplinfo"),
    ("terminal", "termproxy shell console"),
    ("timezone", "time"),
    ("tls", "certificate"),
    ("together", "affinity"),
    ("token", "~key"),
    ("top", "~resource usage"),
    ("totp", "tfa"),
    ("traffic", "netstat rrddata ~network firewall"),
    ("transfer", "migrate ~move"),
    ("turnoff", "stop shutdown ~turn"),
    ("turnon", "start ~turn"),
    ("undo", "rollback discard"),
    ("unlock", "lock config"),
    ("update", "apt"),
    ("upgrade", "apt update"),
    ("upid", "task"),
    ("uptime", "status"),
    ("usage", "status ~rrddata"),
    ("used", "usage status"),
    ("utilization", "usage rrddata"),
    ("vcpu", "cpu core"),
    ("vgpu", "mdev"),
    ("vlan", "network ~bridge vnet"),
    ("vm", "qemu ~guest"),
    ("vmid", "nextid"),
    ("volume", "~disk content"),
    ("vxlan", "zone"),
    ("wake", "wakeonlan"),
    ("who", "~user task log"),
    ("wol", "wakeonlan"),
    ("zpool", "zfs"),
];

/// What a word says of the method that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    Read,
    Create,
    Change,
    Remove,
    /// Something that happens: start, migrate, back up. The word itself is looked for too.
    Act,
}

impl Hint {
    /// How well an operation of this method fits, of 1.
    pub(super) fn fit(self, method: Method) -> f32 {
        match (self, method) {
            (Hint::Read, Method::Get) | (Hint::Create | Hint::Act, Method::Post) => 1.0,
            (Hint::Change, Method::Put) | (Hint::Remove, Method::Delete) => 1.0,
            (Hint::Create | Hint::Act, Method::Put) => 0.85,
            (Hint::Change, Method::Post) => 0.8,
            (Hint::Remove, Method::Put | Method::Post) => 0.6,
            _ => 0.55,
        }
    }
}

/// Verbs that only say the method.
const VERBS: &[(Hint, &str)] = &[
    (
        Hint::Read,
        "list show get which what is are when why where display view see find check tell many much does did look \
         fetch print query read enumerate available has verify inspect whether",
    ),
    (Hint::Create, "create add new make setup register generate define spin provision build deploy"),
    (
        Hint::Change,
        "change set edit modify adjust configure reconfigure alter rename enable disable assign replace give",
    ),
    (Hint::Remove, "delete remove destroy drop"),
];

/// Verbs that say the method and are looked for.
const LOUD: &[(Hint, &str)] = &[
    (Hint::Read, "who happen extract progress log status state history usage output version"),
    (Hint::Change, "turnoff turnon attach mount eject insert plug connect"),
    (Hint::Remove, "revoke discard uninstall"),
    (Hint::Act, ACTIONS),
];

/// Verbs that name what happens.
const ACTIONS: &str = "\
    start stop shutdown cancel recover powercycle reboot restart reset kill abort migrate move clone copy \
    duplicate backup restore snapshot rollback resume suspend pause hibernate resize grow enlarge expand extend \
    increase upload download send test run execute open sync join renew order apply regenerate freeze thaw trim \
    poweron poweroff wake boot grant attach detach convert upgrade scrub prune wipe relocate evacuate replicate \
    protect block halt firewallrule import";

/// Words that say nothing about the operation.
const STOP: &str = "\
    the an of for in on to with from my me it its at by into and or as be been being was were will would could \
    should can may might must do how want need like please help let us we you your our they there here this that \
    these those if then than so just also via use used using some any one not no now right away again currently \
    before after over under about up off without wants needs am have had each another other own proxmox pve api \
    call endpoint operation command way possible able exist thing stuff last next first only enough every left \
    certain long old more big small good bad immediately soon still yet really today yesterday morning night week \
    month hour day minute single two three both per until while during because since between within whole entire \
    specific particular existing current work go look put take got won virtual know gone past recent";

/// What is known of a word, each by its stem.
#[derive(Default)]
pub(super) struct Meaning {
    pub(super) hint: Option<Hint>,
    /// Whether it is not looked for: it says nothing, or nothing but the method.
    pub(super) silent: bool,
    /// The API's words for it, each with whether it only comes near.
    pub(super) synonyms: Vec<(String, bool)>,
}

/// The meanings of all words that are known here.
pub(super) fn meanings() -> &'static HashMap<String, Meaning> {
    static MEANINGS: LazyLock<HashMap<String, Meaning>> = LazyLock::new(|| {
        let mut all: HashMap<String, Meaning> = HashMap::new();
        for word in STOP.split_whitespace() {
            all.entry(stem(word)).or_default().silent = true;
        }
        for (hint, list) in VERBS {
            for word in list.split_whitespace() {
                let meaning = all.entry(stem(word)).or_default();
                (meaning.hint, meaning.silent) = (Some(*hint), true);
            }
        }
        for (hint, list) in LOUD {
            for word in list.split_whitespace() {
                all.entry(stem(word)).or_default().hint.get_or_insert(*hint);
            }
        }
        for (word, synonyms) in SYNONYMS {
            let mut near = false;
            for synonym in synonyms.split_whitespace() {
                near |= synonym.starts_with('~');
                let synonym = stem(synonym.trim_start_matches('~'));
                all.entry(stem(word)).or_default().synonyms.push((synonym, near));
            }
        }
        all
    });
    &MEANINGS
}
