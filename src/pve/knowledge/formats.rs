//! Facts about parameters that Proxmox's API description does not state.

/// Meaning of a parameter's `format`, as far as it decides how a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pve) enum ValueFormat {
    /// Several values in one text, separated by commas.
    List,
    /// Text that is percent-encoded once by the caller. (PVE: `sshkeys`.)
    UrlEncoded,
    /// Number of a guest.
    GuestId,
    /// Property string (`key=value,…`) whose keys the description may leave out.
    PropertyString,
    Other,
}

impl ValueFormat {
    /// Classifies the name of a format.
    pub(in crate::pve) fn from_name(name: &str) -> Self {
        match name {
            "urlencoded" => Self::UrlEncoded,
            "pve-vmid" => Self::GuestId,
            "pve-vm-cpu-conf" | "pve-startup-order" | "prune-backups" | "backup-fleecing" | "backup-performance" => {
                Self::PropertyString
            }
            _ if name.ends_with("-list") => Self::List,
            _ if name.starts_with("pve-qm-") || name.starts_with("pve-qemu-") => Self::PropertyString,
            _ => Self::Other,
        }
    }
}

/// Parameters whose value may contain slashes at the end of a path. (PVE: `fragmentDelimiter`.)
pub(in crate::pve) const PATH_REMAINDER_PARAMETERS: [&str; 2] = ["volume", "cidr"];

/// Returns whether third-party plugins may add parameters to the operations of this path.
pub(in crate::pve) fn is_extended_by_plugins(template: &str) -> bool {
    template.starts_with("/storage")
}
