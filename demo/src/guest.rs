//! One VM or container: its options, its state, and what it uses at a given moment.

use super::check::plain;
use super::world::bytes;
use ring::digest;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Options of a guest, by name.
pub(super) type Config = BTreeMap<String, Value>;

/// A VM or a container.
#[derive(Clone)]
pub(super) struct Guest {
    /// Its id.
    pub(super) vmid: u32,
    /// Whether it is a container.
    pub(super) lxc: bool,
    /// The host it is on.
    pub(super) node: String,
    /// What it will be after its next start.
    pub(super) config: Config,
    /// What it was started with, while it runs.
    pub(super) booted: Option<Config>,
    /// Since when it runs, if it does.
    pub(super) since: Option<f64>,
    /// Whether it runs but stands still.
    pub(super) paused: bool,
    /// What holds it.
    pub(super) lock: Option<&'static str>,
    /// Oldest first.
    pub(super) snapshots: Vec<Snapshot>,
    /// The snapshot that the present descends from.
    pub(super) parent: Option<String>,
    /// Its pool.
    pub(super) pool: Option<String>,
}

/// A state of a guest that was kept.
#[derive(Clone)]
pub(super) struct Snapshot {
    /// Its name.
    pub(super) name: String,
    /// What the user wrote about it.
    pub(super) description: String,
    /// When, in seconds since 1970.
    pub(super) time: i64,
    /// Whether it holds the memory of a running VM.
    pub(super) vmstate: bool,
    /// The snapshot before it.
    pub(super) parent: Option<String>,
    /// The options then.
    pub(super) config: Config,
}

/// What a guest or a host uses at a moment.
#[derive(Default)]
pub(super) struct Usage {
    /// Share of its processors.
    pub(super) cpu: f64,
    /// Bytes of memory.
    pub(super) mem: u64,
    /// Bytes per second, received.
    pub(super) netin: f64,
    /// Bytes per second, sent.
    pub(super) netout: f64,
    /// Bytes per second, read.
    pub(super) read: f64,
    /// Bytes per second, written.
    pub(super) write: f64,
}

/// A smooth line between 0 and 1 that looks like load; each seed has its own.
pub(super) fn wave(seed: u32, time: f64) -> f64 {
    let s = f64::from(seed % 1000);
    let swing = |period: f64, phase: f64| swing((time / period + phase) / std::f64::consts::TAU);
    (0.5 + 0.25 * swing(977.0, s) + 0.15 * swing(61.0, 2.3 * s) + 0.1 * swing(7.0, 5.1 * s)).clamp(0.0, 1.0)
}

/// A swing between -1 and 1 for each turn, of two parabolas: near enough to a sine, whose code would be 7 kB.
fn swing(turns: f64) -> f64 {
    let half = 2.0 * (turns - turns.floor());
    if half < 1.0 { 4.0 * half * (1.0 - half) } else { 4.0 * (half - 1.0) * (half - 2.0) }
}

/// Options as a JSON object.
#[inline(never)]
pub(super) fn as_object(config: &Config) -> Map<String, Value> {
    let mut map = Map::new();
    for (key, value) in config {
        map.insert(key.clone(), value.clone());
    }
    map
}

impl Guest {
    /// `VM 100` or `CT 200`.
    #[inline(never)]
    pub(super) fn label(&self) -> String {
        format!("{} {}", if self.lxc { "CT" } else { "VM" }, self.vmid)
    }

    /// `qemu` or `lxc`.
    pub(super) fn kind(&self) -> &'static str {
        if self.lxc { "lxc" } else { "qemu" }
    }

    /// Its name or host name.
    #[inline(never)]
    pub(super) fn name(&self) -> String {
        self.text(if self.lxc { "hostname" } else { "name" }).unwrap_or_else(|| self.label().replace(' ', ""))
    }

    /// An option as text.
    #[inline(never)]
    pub(super) fn text(&self, option: &str) -> Option<String> {
        self.config.get(option).map(plain)
    }

    /// Whether an option is 1.
    #[inline(never)]
    pub(super) fn is(&self, option: &str) -> bool {
        self.text(option).is_some_and(|v| v == "1")
    }

    /// Whether it has been started, paused or not.
    pub(super) fn running(&self) -> bool {
        self.since.is_some()
    }

    #[inline(never)]
    fn number(&self, option: &str, default: u64) -> u64 {
        let config = self.booted.as_ref().unwrap_or(&self.config);
        config.get(option).and_then(|v| plain(v).trim_start_matches("current=").parse().ok()).unwrap_or(default)
    }

    /// Its processors, as it runs or would run.
    pub(super) fn cpus(&self) -> u64 {
        self.number("cores", 1).saturating_mul(self.number("sockets", 1))
    }

    /// Bytes of memory, as it runs or would run.
    pub(super) fn maxmem(&self) -> u64 {
        self.number("memory", 512).saturating_mul(1 << 20)
    }

    /// Bytes of its first disk.
    #[inline(never)]
    pub(super) fn maxdisk(&self) -> u64 {
        self.disks().first().map_or(0, |(_, volume)| size_of(volume))
    }

    /// Its disks: option and value, the boot disk first, without CD drives.
    #[inline(never)]
    pub(super) fn disks(&self) -> Vec<(String, String)> {
        let mut disks: Vec<_> = self
            .config
            .iter()
            .filter(|(key, _)| is_disk(key))
            .map(|(key, value)| (key.clone(), plain(value)))
            .filter(|(_, value)| !value.contains("media=cdrom") && value.contains(':'))
            .collect();
        if let Some(boot) =
            disks.iter().position(|(key, _)| matches!(key.as_str(), "scsi0" | "virtio0" | "sata0" | "rootfs"))
        {
            disks.swap(0, boot);
        }
        disks
    }

    /// What it uses at `time`; nothing while it does not run.
    #[inline(never)]
    pub(super) fn usage(&self, time: f64) -> Usage {
        if !self.since.is_some_and(|since| time >= since) || self.paused {
            return Usage::default();
        }
        let busy = f64::from(self.vmid.wrapping_mul(37) % 60) / 100.0 + 0.02;
        let (load, slow) = (wave(self.vmid, time), wave(self.vmid, time / 40.0));
        Usage {
            cpu: busy * load,
            mem: (self.maxmem() as f64 * (0.3 + busy / 2.0 + slow / 10.0)) as u64,
            netin: 40_000.0 * busy * (load + slow),
            netout: 90_000.0 * busy * (load + slow),
            read: 20_000.0 * busy * slow,
            write: 60_000.0 * busy * load,
        }
    }

    /// The checksum (SHA-1) of its options, which guards against writing over another's change.
    pub(super) fn digest(&self) -> String {
        let text: String = self.config.iter().map(|(key, value)| format!("{key}: {}\n", plain(value))).collect();
        let sum = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        sum.as_ref().iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// Whether an option holds a disk.
#[inline(never)]
pub(super) fn is_disk(key: &str) -> bool {
    let family = key.trim_end_matches(|c: char| c.is_ascii_digit());
    key == "rootfs"
        || family != key && matches!(family, "scsi" | "virtio" | "sata" | "ide" | "mp" | "efidisk" | "tpmstate")
}

/// The volume id of a disk option's value.
#[inline(never)]
pub(super) fn volid_of(value: &str) -> &str {
    let first = value.split(',').next().unwrap_or_default();
    first.strip_prefix("file=").or_else(|| first.strip_prefix("volume=")).unwrap_or(first)
}

/// The `size=` of a disk option's value, in bytes.
#[inline(never)]
pub(super) fn size_of(value: &str) -> u64 {
    value.split(',').find_map(|part| part.strip_prefix("size=")).and_then(bytes).unwrap_or(0)
}
