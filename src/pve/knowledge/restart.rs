//! The options of a guest that a running guest applies at its next start only.

use crate::pve::guests::GuestKind;

/// Options of a VM that apply at once. (PVE: `fast_plug_option` and the checks beside it in `QemuServer.pm`.)
const QEMU_AT_ONCE: &[&str] = &[
    "autostart",
    "boot",
    "bootdisk",
    "cpulimit",
    "cpuunits",
    "description",
    "freeze",
    "hookscript",
    "hotplug",
    "lock",
    "migrate_downtime",
    "migrate_speed",
    "name",
    "onboot",
    "protection",
    "shares",
    "startup",
    "tags",
    "tdf",
    "template",
    "vmstatestorage",
];

/// Options of a container that apply at its next start only. (PVE: `LXC/Config.pm`.)
const LXC_AT_START: &[&str] =
    &["arch", "cmode", "console", "dev", "entrypoint", "env", "features", "ostype", "rootfs", "timezone", "tty"];

/// Returns whether a running guest applies an option at its next start only. `hotplug` is that option of a VM, or empty.
pub(crate) fn waits_for_start(kind: GuestKind, option: &str, hotplug: &str) -> bool {
    let stem = option.trim_end_matches(|c: char| c.is_ascii_digit());
    if kind == GuestKind::Lxc {
        return LXC_AT_START.contains(&stem);
    }
    // (PVE: the default is network, disk and usb.)
    let hotplug = if matches!(hotplug, "" | "1") { "network,disk,usb" } else { hotplug };
    let plugs = |feature: &str| hotplug.split(',').any(|given| given == feature);
    match stem {
        "net" => !plugs("network"),
        "scsi" | "virtio" | "unused" => !plugs("disk"),
        "usb" => !plugs("usb"),
        "memory" | "balloon" if stem == "balloon" || plugs("memory") => false,
        "cores" | "sockets" | "vcpus" => !plugs("cpu"),
        _ => !QEMU_AT_ONCE.contains(&stem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_wait_as_the_kind_and_hotplug_say() {
        for (kind, option, hotplug, waits) in [
            (GuestKind::Qemu, "memory", "", true),
            (GuestKind::Qemu, "memory", "memory,cpu", false),
            (GuestKind::Qemu, "cores", "1", true),
            (GuestKind::Qemu, "balloon", "", false),
            (GuestKind::Qemu, "net0", "", false),
            (GuestKind::Qemu, "net0", "disk", true),
            (GuestKind::Qemu, "net0", "0", true),
            (GuestKind::Qemu, "tags", "0", false),
            (GuestKind::Qemu, "cpu", "network", true),
            (GuestKind::Qemu, "description", "", false),
            (GuestKind::Lxc, "memory", "", false),
            (GuestKind::Lxc, "features", "", true),
        ] {
            assert_eq!(waits_for_start(kind, option, hotplug), waits, "{kind:?} {option} {hotplug}");
        }
    }
}
