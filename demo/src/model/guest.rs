//! VMs and containers: their options, their state, and their load at a given time.

use crate::error::{ApiResult, fail};
use crate::parameters::value_text;
use crate::units::{MIB, parse_size};
use ring::digest;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Options of a guest, by name.
pub(crate) type GuestConfig = BTreeMap<String, Value>;

/// The two kinds of guests; displayed as in paths and types (`qemu`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GuestKind {
    Qemu,
    Lxc,
}

/// A VM or a container.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) vmid: u32,
    pub(crate) kind: GuestKind,
    /// The node that runs it.
    pub(crate) node: String,
    /// Options at the next start.
    pub(crate) config: GuestConfig,
    /// Options of the running guest.
    pub(crate) running_config: Option<GuestConfig>,
    /// Time of the start of a running guest, in seconds since 1970.
    pub(crate) started: Option<f64>,
    /// True for a running guest that is suspended.
    pub(crate) paused: bool,
    /// Lock of the task that works on the guest, for example `backup`.
    pub(crate) lock: Option<&'static str>,
    /// Snapshots, oldest first.
    pub(crate) snapshots: Vec<Snapshot>,
    /// Name of the snapshot that the current state descends from.
    pub(crate) parent: Option<String>,
    pub(crate) pool: Option<String>,
    /// The name that the lists of the cluster still have.
    pub(crate) stale_name: Option<StaleName>,
}

/// A name in the lists of the cluster, which follow a change late.
#[derive(Clone)]
pub(crate) struct StaleName {
    /// The former name; none for a new guest, whose state is unknown too.
    pub(crate) name: Option<String>,
    /// The time until which the lists have it, in seconds since 1970.
    pub(crate) until: f64,
}

/// A snapshot of a guest.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) name: String,
    pub(crate) description: String,
    /// Time of creation, in seconds since 1970.
    pub(crate) time: i64,
    /// True if it contains the memory of a running VM.
    pub(crate) vmstate: bool,
    /// Name of the snapshot before it.
    pub(crate) parent: Option<String>,
    pub(crate) config: GuestConfig,
}

/// A disk option of a guest.
pub(crate) struct Disk {
    /// Name of the option, for example `scsi0`.
    pub(crate) slot: String,
    /// Value of the option: volume id and properties.
    pub(crate) value: String,
}

/// A command that a guest agent has executed.
pub(crate) struct AgentCommand {
    pub(crate) pid: i64,
    pub(crate) output: String,
}

/// Resources in use at one time.
#[derive(Default)]
pub(crate) struct Usage {
    /// Share of the processors.
    pub(crate) cpu: f64,
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// Bytes received per second.
    pub(crate) net_in: f64,
    /// Bytes sent per second.
    pub(crate) net_out: f64,
    /// Bytes read per second.
    pub(crate) disk_read: f64,
    /// Bytes written per second.
    pub(crate) disk_write: f64,
}

/// Returns a smooth value between 0 and 1 that resembles load. Each seed has its own curve.
pub(crate) fn load_curve(seed: u32, time: f64) -> f64 {
    let phase = f64::from(seed % 1000);
    let wave = |period: f64, phase: f64| (time / period + phase).sin();
    (0.5 + 0.25 * wave(977.0, phase) + 0.15 * wave(61.0, 2.3 * phase) + 0.1 * wave(7.0, 5.1 * phase)).clamp(0.0, 1.0)
}

/// Returns true if the option holds a disk.
pub(crate) fn is_disk(option: &str) -> bool {
    let family = option.trim_end_matches(|c: char| c.is_ascii_digit());
    option == "rootfs"
        || family != option && matches!(family, "scsi" | "virtio" | "sata" | "ide" | "mp" | "efidisk" | "tpmstate")
}

/// Returns the volume id in the value of a disk option.
pub(crate) fn volume_id(value: &str) -> &str {
    let first = value.split_once(',').map_or(value, |(first, _)| first);
    first.strip_prefix("file=").or_else(|| first.strip_prefix("volume=")).unwrap_or(first)
}

/// Returns the first part of a network option that is a MAC address.
pub(crate) fn find_mac_address(value: &str) -> Option<&str> {
    value.split([',', '=']).find(|part| part.matches(':').count() == 5)
}

impl GuestKind {
    /// Returns the value for this kind.
    pub(crate) fn select<T>(self, qemu: T, lxc: T) -> T {
        match self {
            Self::Qemu => qemu,
            Self::Lxc => lxc,
        }
    }

    pub(crate) fn is_container(self) -> bool {
        self == Self::Lxc
    }

    /// Returns `VM` or `CT`.
    pub(crate) fn label(self) -> &'static str {
        self.select("VM", "CT")
    }

    /// Returns `vm` or `ct`, as in the id of an HA resource.
    pub(crate) fn ha_type(self) -> &'static str {
        self.select("vm", "ct")
    }

    /// Returns the content type of the guest's disks.
    pub(crate) fn disk_content(self) -> &'static str {
        self.select("images", "rootdir")
    }

    /// Returns the option that holds the guest's name.
    pub(crate) fn name_option(self) -> &'static str {
        self.select("name", "hostname")
    }
}

impl fmt::Display for GuestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.select("qemu", "lxc"))
    }
}

impl Disk {
    pub(crate) fn volume_id(&self) -> &str {
        volume_id(&self.value)
    }

    /// Returns the name of the storage, empty if the value has no volume id.
    pub(crate) fn storage(&self) -> &str {
        self.volume_id().split_once(':').map_or("", |(storage, _)| storage)
    }

    /// Returns the `size=` of the disk in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.value.split(',').find_map(|part| part.strip_prefix("size=")).and_then(parse_size).unwrap_or(0)
    }

    /// Returns the format of the volume.
    pub(crate) fn format(&self) -> &'static str {
        if self.volume_id().ends_with(".qcow2") { "qcow2" } else { "raw" }
    }

    /// Returns the value of the option with another volume.
    pub(crate) fn with_volume(&self, volume: &str) -> Value {
        self.value.replacen(self.volume_id(), volume, 1).into()
    }
}

impl Guest {
    /// Creates a stopped guest without options.
    pub(crate) fn new(vmid: u32, kind: GuestKind, node: &str) -> Self {
        Self {
            vmid,
            kind,
            node: node.into(),
            config: GuestConfig::new(),
            running_config: None,
            started: None,
            paused: false,
            lock: None,
            snapshots: Vec::new(),
            parent: None,
            pool: None,
            stale_name: None,
        }
    }

    /// Starts the guest with its current options.
    pub(crate) fn start(&mut self, now: f64) {
        self.started = Some(now);
        self.running_config = Some(self.config.clone());
        self.paused = false;
    }

    /// Stops the guest.
    pub(crate) fn stop(&mut self) {
        self.started = None;
        self.running_config = None;
        self.paused = false;
    }

    /// Returns `VM 100` or `CT 200`.
    pub(crate) fn label(&self) -> String {
        format!("{} {}", self.kind.label(), self.vmid)
    }

    /// Returns the id of its HA resource, `vm:100` or `ct:200`.
    pub(crate) fn ha_id(&self) -> String {
        format!("{}:{}", self.kind.ha_type(), self.vmid)
    }

    /// Returns its name, by default `VM100` or `CT200`.
    pub(crate) fn name(&self) -> String {
        let default = || format!("{}{}", self.kind.label(), self.vmid);
        self.option(self.kind.name_option()).unwrap_or_else(default)
    }

    /// Returns an option as text.
    pub(crate) fn option(&self, name: &str) -> Option<String> {
        self.config.get(name).map(value_text)
    }

    /// Returns true if an option is 1.
    pub(crate) fn is_set(&self, option: &str) -> bool {
        self.option(option).is_some_and(|value| value == "1")
    }

    pub(crate) fn is_template(&self) -> bool {
        self.is_set("template")
    }

    /// Returns true if the VM has been started with a guest agent.
    pub(crate) fn has_agent(&self) -> bool {
        self.current_config()
            .get("agent")
            .map(value_text)
            .is_some_and(|agent| agent.starts_with('1') || agent.contains("enabled=1"))
    }

    /// Returns true if it has been started, suspended or not.
    pub(crate) fn is_running(&self) -> bool {
        self.started.is_some()
    }

    /// Returns the complaint about the lock of a locked guest.
    pub(crate) fn lock_error(&self) -> Option<String> {
        self.lock.map(|lock| format!("{} is locked ({lock})", self.kind.label()))
    }

    /// Returns the options of the running guest, else those of the next start.
    pub(crate) fn current_config(&self) -> &GuestConfig {
        self.running_config.as_ref().unwrap_or(&self.config)
    }

    fn current_number(&self, option: &str, default: u64) -> u64 {
        let value = self.current_config().get(option);
        value.and_then(|v| value_text(v).trim_start_matches("current=").parse().ok()).unwrap_or(default)
    }

    /// Returns the number of its processors.
    pub(crate) fn cpus(&self) -> u64 {
        self.current_number("cores", 1).saturating_mul(self.current_number("sockets", 1))
    }

    /// Returns its memory in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.current_number("memory", 512).saturating_mul(MIB)
    }

    /// Returns the size of its first disk in bytes.
    pub(crate) fn disk_size(&self) -> u64 {
        self.disks().first().map_or(0, Disk::size)
    }

    /// Returns its disks without CD drives, the boot disk first.
    pub(crate) fn disks(&self) -> Vec<Disk> {
        let mut disks: Vec<Disk> = self
            .config
            .iter()
            .filter(|(option, _)| is_disk(option))
            .map(|(option, value)| Disk { slot: option.clone(), value: value_text(value) })
            .filter(|disk| !disk.value.contains("media=cdrom") && disk.value.contains(':'))
            .collect();
        let is_boot_disk = |disk: &Disk| matches!(disk.slot.as_str(), "scsi0" | "virtio0" | "sata0" | "rootfs");
        if let Some(boot_disk) = disks.iter().position(is_boot_disk) {
            disks.swap(0, boot_disk);
        }
        disks
    }

    /// Removes the options for unused disks whose volumes are disks again.
    pub(crate) fn drop_reused_volumes(&mut self) {
        let used: Vec<String> = self.disks().iter().map(|disk| disk.volume_id().to_owned()).collect();
        let is_reused = |value: &Value| value.as_str().is_some_and(|volume| used.iter().any(|used| used == volume));
        self.config.retain(|option, value| !option.starts_with("unused") || !is_reused(value));
    }

    /// Returns the first option for an unused disk that the guest does not have.
    pub(crate) fn free_unused_slot(&self) -> Option<String> {
        (0..256).map(|n| format!("unused{n}")).find(|slot| !self.config.contains_key(slot))
    }

    /// Returns the snapshot of that name.
    pub(crate) fn snapshot(&self, name: &str) -> ApiResult<&Snapshot> {
        match self.snapshots.iter().find(|snapshot| snapshot.name == name) {
            Some(snapshot) => Ok(snapshot),
            None => fail(format!("snapshot '{name}' does not exist")),
        }
    }

    /// Returns its address in the guests' network and its MAC address.
    pub(crate) fn addresses(&self) -> (String, String) {
        let network = self.option("net0");
        let mac = network.as_deref().and_then(find_mac_address).unwrap_or("00:00:00:00:00:00");
        (format!("198.51.100.{}", self.vmid % 250 + 1), mac.to_lowercase())
    }

    /// Returns its resource usage at that time; zero unless it runs.
    pub(crate) fn usage(&self, time: f64) -> Usage {
        if self.started.is_none_or(|started| time < started) || self.paused {
            return Usage::default();
        }
        let busy = f64::from(self.vmid.wrapping_mul(37) % 60) / 100.0 + 0.02;
        let (load, slow) = (load_curve(self.vmid, time), load_curve(self.vmid, time / 40.0));
        Usage {
            cpu: busy * load,
            memory: (self.memory() as f64 * (0.3 + busy / 2.0 + slow / 10.0)) as u64,
            net_in: 40_000.0 * busy * (load + slow),
            net_out: 90_000.0 * busy * (load + slow),
            disk_read: 20_000.0 * busy * slow,
            disk_write: 60_000.0 * busy * load,
        }
    }

    /// Returns the checksum (SHA-1) of its options, which protects concurrent changes from overwriting each other.
    pub(crate) fn digest(&self) -> String {
        let text: String = self.config.iter().map(|(key, value)| format!("{key}: {}\n", value_text(value))).collect();
        let sum = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        sum.as_ref().iter().map(|b| format!("{b:02x}")).collect()
    }
}
