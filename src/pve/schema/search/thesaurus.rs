//! The field's words for the same thing, what says which method is wanted, and what says nothing.

use super::super::Method;
use super::tokenizer::stem;
use std::collections::HashMap;
use std::sync::LazyLock;

/// A word, and the words that the API has for it; after `~` those that only come near. One direction: a question's word
/// stands for those of the operations. Written unstemmed, a line each: a table of pieces takes five times the room.
const SYNONYMS: &str = "\
    2fa tfa\n\
    abort stop kill task\n\
    access acl permission ~role\n\
    account user ~acme\n\
    acl permission\n\
    active running status ~current\n\
    ad ldap realm\n\
    address ip ~interface\n\
    admin permission acl role user\n\
    administrator permission acl role\n\
    affinity rule ~ha\n\
    alert notification ~matcher\n\
    allocation ipam ips status\n\
    allow permission rule ~acl\n\
    apart affinity\n\
    appliance aplinfo template\n\
    archive backup restore ~vzdump\n\
    attach config ~disk\n\
    audit task log\n\
    authentication realm domain ~tfa login\n\
    automatically onboot\n\
    autostart onboot\n\
    availability ha\n\
    backup vzdump ~content\n\
    bandwidth bwlimit\n\
    bios config\n\
    block firewall rule ~log drop\n\
    boot start ~onboot\n\
    bootorder boot config\n\
    bridge network\n\
    browse list\n\
    bulk all many\n\
    busiest resource usage list\n\
    cancel stop kill task\n\
    capacity status usage size\n\
    card device\n\
    cdrom config iso\n\
    cert certificate\n\
    chrony service ~time\n\
    cidata cloudinit\n\
    colleague user\n\
    command exec ~monitor\n\
    condition status\n\
    config configuration ~option\n\
    configuration config ~option\n\
    connection ~network link\n\
    consistency scrub\n\
    console vncproxy termproxy terminal shell vnc ~spice\n\
    consume usage resource\n\
    consumption usage rrddata ~status\n\
    container lxc ~guest\n\
    copy clone\n\
    core cpu config\n\
    cpu ~core\n\
    ct container lxc\n\
    customer user\n\
    daemon service\n\
    datastore storage\n\
    description ~comment\n\
    device ~hardware\n\
    dhcp ~subnet ips\n\
    different ~apart affinity\n\
    disk ~volume\n\
    dmesg syslog journal\n\
    docker oci\n\
    domain realm\n\
    done status\n\
    drive disk volume\n\
    dump backup vzdump\n\
    duplicate clone\n\
    eject config cdrom\n\
    email mail sendmail smtp ~notification\n\
    employee user\n\
    encrypt certificate\n\
    enlarge resize grow\n\
    erase wipe wipedisk\n\
    error log ~status\n\
    evacuate migrateall ~bulk\n\
    event task log\n\
    every ~all\n\
    execute exec run\n\
    expand resize grow\n\
    expire expiry info\n\
    export ~nfs\n\
    extend resize grow\n\
    extract download restore extractconfig\n\
    fail ~task log error\n\
    failover ha\n\
    failure ~task log error smart\n\
    filesystem fsinfo ~fs disk\n\
    finish status\n\
    firewallrule rule\n\
    folder directory ~dir\n\
    force stop\n\
    free usage status\n\
    freeze fsfreeze\n\
    gb size\n\
    gpu pci passthrough\n\
    grant acl permission\n\
    graph rrddata rrd ~metric\n\
    grow resize\n\
    guest vm container ~qemu lxc\n\
    halt stop shutdown\n\
    hang running stop\n\
    happen task log\n\
    hardware pci usb ~config\n\
    hdd disk\n\
    health status ~smart\n\
    healthy status health ~smart\n\
    hibernate suspend\n\
    highavailability ha\n\
    history rrddata ~task time\n\
    host node\n\
    hostname host name ~config\n\
    hypervisor node\n\
    image content iso ~template\n\
    increase resize grow\n\
    influx influxdb metric\n\
    info status ~information\n\
    insert config\n\
    install ~version\n\
    instance vm guest\n\
    interface network nic\n\
    ip interface address\n\
    iso content image\n\
    job ~task\n\
    join ~add\n\
    keep ~retention prune together affinity\n\
    key token ~certificate\n\
    kill stop\n\
    kvm vm qemu\n\
    launch start\n\
    let permission acl\n\
    letsencrypt acme\n\
    license subscription\n\
    load status usage\n\
    lock config ~unlock\n\
    login ticket ~openid realm\n\
    lxc container\n\
    machine vm ~node\n\
    mail sendmail smtp ~notification email\n\
    maintenance ha ~migrateall\n\
    map mapping\n\
    member ~group pool\n\
    metadata ~info status\n\
    metric rrddata server\n\
    mfa tfa\n\
    migrate ~move\n\
    mon monitor\n\
    monitoring metric\n\
    most resource usage list\n\
    mount ~mountpoint directory\n\
    mountpoint mp config\n\
    move migrate\n\
    name ~config\n\
    netmask network\n\
    nic interface network ~net config\n\
    nightly schedule scheduled\n\
    note ~comment description config\n\
    notify notification matcher ~mail\n\
    ntp time\n\
    offline online status\n\
    onboot ~config\n\
    online status\n\
    option ~config\n\
    os osinfo\n\
    output log\n\
    overview resource status\n\
    owner ~user permission\n\
    package apt version\n\
    packet firewall log ~rule\n\
    pass ~mapping passthrough\n\
    passthrough mapping ~pci hardware\n\
    patch apt update\n\
    pause suspend\n\
    performance rrddata\n\
    periodic schedule scheduled\n\
    permission acl ~role\n\
    person user\n\
    plugin ~acme\n\
    port rule firewall\n\
    postfix service ~mail\n\
    powercycle reboot reset stop\n\
    poweroff stop shutdown\n\
    poweron start ~wakeonlan\n\
    privilege permission role\n\
    process ~service task\n\
    program exec\n\
    progress task log status\n\
    protect protection ~ha\n\
    purge prune\n\
    pvecm cluster\n\
    pvedaemon service\n\
    pveproxy service\n\
    pvestatd service\n\
    qemu vm\n\
    qm qemu vm\n\
    quorate quorum status\n\
    quorum status\n\
    ram memory\n\
    reboot restart\n\
    recover restore\n\
    relocate ~migrate\n\
    rename config name\n\
    repo repository\n\
    reset ~password\n\
    resource ~usage\n\
    restart reboot\n\
    restore ~backup\n\
    retention prune\n\
    revert rollback discard\n\
    right permission acl\n\
    role ~permission\n\
    root ~rootfs\n\
    running status ~active\n\
    sata disk\n\
    schedule job\n\
    screen console vncproxy\n\
    script exec\n\
    sdn network\n\
    secret ~token password\n\
    separate apart affinity\n\
    server node\n\
    settings config option\n\
    share ~storage cifs directory\n\
    shell termproxy vncshell spiceshell terminal\n\
    shutdown ~stop\n\
    smb cifs\n\
    snap snapshot\n\
    software apt version\n\
    someone user ~acl\n\
    space storage status usage free\n\
    ssd disk\n\
    ssh ~shell terminal sshkeys\n\
    sshd service\n\
    ssl certificate\n\
    sso openid\n\
    standby suspend\n\
    state status\n\
    statistic rrddata usage ~metric\n\
    status ~state current\n\
    subscription ~license\n\
    suspend ~pause\n\
    tag ~config\n\
    task ~job\n\
    template ~aplinfo content\n\
    terminal termproxy shell console\n\
    timezone time\n\
    tls certificate\n\
    together affinity\n\
    token ~key\n\
    top ~resource usage\n\
    totp tfa\n\
    traffic netstat rrddata ~network firewall\n\
    transfer migrate ~move\n\
    turnoff stop shutdown ~turn\n\
    turnon start ~turn\n\
    ubuntu ~vm\n\
    undo rollback discard\n\
    unlock lock config\n\
    unpause resume\n\
    update apt\n\
    upgrade apt update\n\
    upid task\n\
    uptime status\n\
    usage status ~rrddata\n\
    used usage status\n\
    utilization usage rrddata\n\
    vcpu cpu core\n\
    vgpu mdev\n\
    vlan network ~bridge vnet\n\
    vm qemu ~guest\n\
    vmid nextid\n\
    volume ~disk content\n\
    vxlan zone\n\
    wake wakeonlan\n\
    who ~user task log\n\
    windows ~vm\n\
    wol wakeonlan\n\
    zpool zfs\n\
";

/// What a word says of the method that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MethodHint {
    Read,
    Create,
    Change,
    Remove,
    /// Something that happens: start, migrate, back up. The word itself is looked for too.
    Action,
}

impl MethodHint {
    /// How well an operation of this method fits, of 1.
    pub(super) fn method_fit(self, method: Method) -> f32 {
        match (self, method) {
            (MethodHint::Read, Method::Get) | (MethodHint::Create | MethodHint::Action, Method::Post) => 1.0,
            (MethodHint::Change, Method::Put) | (MethodHint::Remove, Method::Delete) => 1.0,
            (MethodHint::Create | MethodHint::Action, Method::Put) => 0.85,
            (MethodHint::Change, Method::Post) => 0.8,
            (MethodHint::Remove, Method::Put | Method::Post) => 0.6,
            _ => 0.55,
        }
    }
}

/// Verbs that only say the method.
const METHOD_VERBS: &[(MethodHint, &str)] = &[
    (
        MethodHint::Read,
        "list show get which what is are when why where display view see find check tell many much does did look \
         fetch print query read enumerate available has verify inspect whether",
    ),
    (MethodHint::Create, "create add new make setup register generate define spin provision build deploy"),
    (
        MethodHint::Change,
        "change set edit modify adjust lower reduce decrease raise limit configure reconfigure alter rename enable disable assign replace give",
    ),
    (MethodHint::Remove, "delete remove destroy drop"),
];

/// Verbs that say the method and are looked for.
const SEARCHED_VERBS: &[(MethodHint, &str)] = &[
    (MethodHint::Read, "who happen extract progress log status state history usage output version"),
    (MethodHint::Change, "turnoff turnon attach mount eject insert plug connect let"),
    (MethodHint::Remove, "revoke discard uninstall cancel abort"),
    (MethodHint::Action, ACTIONS),
];

/// Verbs that name what happens.
const ACTIONS: &str = "\
    start launch unpause stop shutdown recover powercycle reboot restart reset kill migrate move clone copy \
    duplicate backup restore snapshot rollback resume suspend pause hibernate resize grow enlarge expand extend \
    increase upload download send test run execute open sync join renew order apply regenerate freeze thaw trim \
    poweron poweroff wake boot grant attach detach convert upgrade scrub prune wipe relocate evacuate replicate \
    protect block halt firewallrule import";

/// Words that say nothing about the operation.
const STOP_WORDS: &str = "\
    the an of for in on to with from my me it its at by into and or as be been being was were will would could \
    should can may might must do how want need like please help us we you your our they there here this that \
    these those if then than so just also via use used using some any one not no never lack now away again currently \
    before after over under about up off without wants needs am have had each another other own proxmox pve api \
    call endpoint operation command way possible able exist thing stuff last next first only enough left \
    certain long old more big small good bad immediately soon still yet really today yesterday morning night week \
    month hour day minute single two three both per until while during because since between within whole entire \
    specific particular existing current work go look put take got won virtual know gone past recent";

/// What is known of a word, each by its stem.
#[derive(Default)]
pub(super) struct WordMeaning {
    pub(super) hint: Option<MethodHint>,
    /// Whether it is not looked for: it says nothing, or nothing but the method.
    pub(super) is_stop_word: bool,
    /// The API's words for it, each with whether it only comes near.
    pub(super) synonyms: Vec<(String, bool)>,
}

/// The meanings of all words that are known here.
pub(super) fn meanings() -> &'static HashMap<String, WordMeaning> {
    static MEANINGS: LazyLock<HashMap<String, WordMeaning>> = LazyLock::new(|| {
        let mut all: HashMap<String, WordMeaning> = HashMap::new();
        for word in STOP_WORDS.split_whitespace() {
            all.entry(stem(word)).or_default().is_stop_word = true;
        }
        for (hint, list) in METHOD_VERBS {
            for word in list.split_whitespace() {
                let meaning = all.entry(stem(word)).or_default();
                (meaning.hint, meaning.is_stop_word) = (Some(*hint), true);
            }
        }
        for (hint, list) in SEARCHED_VERBS {
            for word in list.split_whitespace() {
                all.entry(stem(word)).or_default().hint.get_or_insert(*hint);
            }
        }
        for (word, synonyms) in SYNONYMS.lines().filter_map(|line| line.split_once(' ')) {
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
