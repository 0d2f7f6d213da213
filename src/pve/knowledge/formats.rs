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

/// Forms of the formats that a description only names.
#[rustfmt::skip]
const FORMS: &[(&str, &str)] = &[
    ("pve-task-status-type-list", "ok, error, warning, unknown, several with commas: error,warning"),
    ("pve-ha-resource-id-list", "guests as vm:100 and ct:200, with commas"),
    ("pve-ha-resource-id", "a guest as vm:100 or ct:200"),
    ("pve-ha-resource-or-vm-id", "a guest as vm:100 or ct:200, or its number alone"),
    ("pve-ha-node-list", "nodes with a priority each: pve1:2,pve2:1"),
    ("pve-node-list", "pve1,pve2"),
    ("pve-vmid-list", "100,101"),
    ("pve-storage-id-list", "local,local-lvm"),
    ("pve-storage-content-list", "images, rootdir, iso, vztmpl, backup, snippets, import, with commas"),
    ("pve-storage-content", "one of images, rootdir, iso, vztmpl, backup, snippets, import"),
    ("pve-configid-list", "names of options, with commas: tags,description"),
    ("pve-tag-list", "prod;web"),
    ("pve-priv-list", "VM.Audit,VM.PowerMgmt"),
    ("pve-groupid-list", "names of groups, with commas"),
    ("prune-backups", "keep-last=3,keep-daily=7,keep-weekly=4"),
    ("pve-calendar-event", "02:30, mon..fri 22:00, sat *:0/15 or daily"),
    ("pve-day-of-week-list", "mon,tue,wed"),
    ("pve-replication-job-id", "GUEST-NUMBER: 100-0"),
    ("pve-startup-order", "order=1,up=30,down=60"),
    ("pve-userid", "a user with the realm: alice@pve"),
    ("pve-volume-id", "STORAGE:NAME: local:iso/debian.iso"),
    ("pve-volume-id-or-qm-path", "a volume (local-lvm:vm-100-disk-0), a new disk with its size in GiB (local-lvm:32), or none"),
    ("pve-lxc-mp-string", "a volume (local-lvm:vm-200-disk-0), or a new one with its size in GiB (local-lvm:8)"),
    ("disk-size", "32G, or +10G to add"),
    ("storage-pair-list", "SOURCE:TARGET with commas, or one target for all: local-lvm:nas"),
    ("realm-sync-options", "scope=both,enable-new=1,remove-vanished=none"),
    ("pve-fw-addr-spec", "an address, network, range, +ipset or alias: 10.0.0.0/24"),
    ("pve-fw-dport-spec", "ports and ranges: 80,443,8000:8080"),
    ("pve-fw-sport-spec", "ports and ranges: 80,443,8000:8080"),
    ("CIDR", "10.0.0.0/24"),
    ("IPorCIDR", "10.0.0.5 or 10.0.0.0/24"),
    ("pve-ipv4-config", "dhcp, manual or 10.0.0.5/24"),
    ("pve-qm-ipconfig", "ip=10.0.0.5/24,gw=10.0.0.1 or ip=dhcp"),
    ("pve-qm-boot", "order=scsi0;net0"),
    ("mac-addr", "BC:24:11:00:00:01"),
    ("urlencoded", "plain text: it is percent-encoded before it is sent"),
];

/// Returns the form of a format, with an example.
pub(crate) fn find_form(format: &str) -> Option<&'static str> {
    FORMS.iter().find(|(name, _)| *name == format).map(|(_, form)| *form)
}

/// Returns whether a calendar event has an hour or a minute that no day has. (PVE: `mon..fri 8..17,22:0/15:30`.)
pub(crate) fn has_impossible_time(event: &str) -> bool {
    let is_too_large = |number: &str, limit: u32| number.parse().is_ok_and(|number: u32| number > limit);
    let has_too_large = |part: &str, limit: u32| {
        let ranges = part.split(',').map(|item| item.split_once('/').map_or(item, |(range, _)| range));
        ranges.flat_map(|range| range.split("..")).any(|number| is_too_large(number, limit))
    };
    let times = event.split_whitespace().filter(|word| word.contains(':'));
    times
        .map(|time| time.split(':').zip([23, 59, 59]))
        .any(|mut parts| parts.any(|(part, limit)| has_too_large(part, limit)))
}

/// Returns the unit of a number that the description only names: of a network card, a disk or a replication.
pub(crate) fn find_unit(name: &str) -> Option<&'static str> {
    match name {
        "rate" | "mbps" | "mbps_rd" | "mbps_wr" | "mbps_max" | "mbps_rd_max" | "mbps_wr_max" => Some("MB/s"),
        "bps" | "bps_rd" | "bps_wr" => Some("bytes/s"),
        _ => None,
    }
}

/// The characters of the names that a format or a pattern of the description means.
pub(in crate::pve) struct NameForm {
    /// The formats and the patterns, as the description writes them.
    sources: &'static [&'static str],
    /// The characters beside letters and digits.
    others: &'static str,
    /// The name has two characters or more, the first a letter.
    begins_with_letter: bool,
    /// The last character is a letter or a digit.
    ends_plainly: bool,
    /// The form in words.
    pub(in crate::pve) text: &'static str,
}

/// The formats whose violation Proxmox refuses for certain. It decides about any other format.
const NAME_FORMS: [NameForm; 7] = [
    NameForm {
        sources: &["pve-configid", r"[A-Za-z][A-Za-z0-9\-\_]+"],
        others: "-_",
        begins_with_letter: true,
        ends_plainly: false,
        text: "at least two letters, digits, - and _, a letter first, without blanks",
    },
    NameForm {
        sources: &["pve-realm", r"(?^:[A-Za-z][A-Za-z0-9\.\-_]+)"],
        others: ".-_",
        begins_with_letter: true,
        ends_plainly: false,
        text: "at least two letters, digits, dots, - and _, a letter first, without blanks",
    },
    NameForm {
        sources: &["pve-storage-id"],
        others: ".-_",
        begins_with_letter: true,
        ends_plainly: true,
        text: "at least two letters, digits, dots, - and _, a letter first, a letter or digit last, without blanks",
    },
    NameForm {
        sources: &["[a-zA-Z][a-zA-Z0-9]*[a-zA-Z0-9]"],
        others: "",
        begins_with_letter: true,
        ends_plainly: true,
        text: "at least two letters and digits, a letter first, without blanks",
    },
    NameForm {
        sources: &["pve-groupid", "pve-roleid"],
        others: ".-_",
        begins_with_letter: false,
        ends_plainly: false,
        text: "letters, digits, dots, - and _, without blanks",
    },
    NameForm {
        sources: &["pve-poolid"],
        others: ".-_/",
        begins_with_letter: false,
        ends_plainly: false,
        text: "letters, digits, dots, -, _ and slashes, without blanks",
    },
    NameForm {
        sources: &["dns-name"],
        others: "-.",
        begins_with_letter: false,
        ends_plainly: false,
        text: "letters, digits, - and dots, without blanks or _",
    },
];

impl NameForm {
    /// Returns the form of a parameter with this format and pattern.
    pub(in crate::pve) fn find(format: &str, pattern: &str) -> Option<&'static Self> {
        NAME_FORMS.iter().find(|form| form.sources.contains(&format) || form.sources.contains(&pattern))
    }

    /// Returns whether Proxmox accepts a name in this form.
    pub(in crate::pve) fn fits(&self, name: &str) -> bool {
        // (PVE: the end of a Perl pattern matches before a line end too.)
        let name = name.strip_suffix('\n').unwrap_or(name);
        let begins_well =
            !self.begins_with_letter || name.len() > 1 && name.starts_with(|c: char| c.is_ascii_alphabetic());
        let ends_well = !self.ends_plainly || name.ends_with(|c: char| c.is_ascii_alphanumeric());
        begins_well && ends_well && name.chars().all(|c| c.is_ascii_alphanumeric() || self.others.contains(c))
    }
}

/// Parameters whose value may contain slashes at the end of a path. (PVE: `fragmentDelimiter`.)
pub(in crate::pve) const PATH_REMAINDER_PARAMETERS: [&str; 2] = ["volume", "cidr"];

/// Returns whether third-party plugins may add parameters to the operations of this path.
pub(in crate::pve) fn is_extended_by_plugins(template: &str) -> bool {
    template.starts_with("/storage")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_no_day_has_are_known() {
        for (event, is_impossible) in [
            ("25:00", true),
            ("sat 2:75", true),
            ("mon..fri 8..24:0", true),
            ("10,26:00", true),
            ("2:30:61", true),
            ("23:59:59", false),
            ("mon..fri 8..17,22:0/15", false),
            ("*:0/90", false),
            ("2026-11-29 *:*", false),
            ("daily", false),
            ("sat *-1..7 02:00", false),
            ("30", false),
        ] {
            assert_eq!(has_impossible_time(event), is_impossible, "{event}");
        }
    }

    #[test]
    fn names_fit_the_form_of_their_format() {
        for (format, fitting, others) in [
            (
                "pve-configid",
                &["pre", "ab", "a_", "before-the_upgrade1", "pre\n"][..],
                &["a b", "1a", "ä1", "a.b", " pre", "a", "a\n", ""][..],
            ),
            ("dns-name", &["web01", "1", "web-01.example.org"], &["web_01", "my vm", "a\n\n"]),
            ("pve-storage-id", &["nas", "local-lvm", "a.b"], &["na s", "a/b", "n", "1nas", "nas-", ""]),
            ("pve-realm", &["pam", "my.realm-"], &["p", "1p", "my realm"]),
            ("pve-roleid", &["VM.Operator", "-", "_x"], &["a b", "a/b"]),
            ("pve-poolid", &["prod", "prod/web"], &["my pool"]),
        ] {
            let form = NameForm::find(format, "").expect("a form");
            assert!(fitting.iter().all(|name| form.fits(name)), "{format}: {fitting:?}");
            assert!(others.iter().all(|name| !form.fits(name)), "{format}: {others:?}");
        }
        assert!(NameForm::find("pve-volume-id", r"\S+").is_none() && NameForm::find("", "").is_none());
    }

    #[test]
    fn every_form_belongs_to_a_parameter() {
        use crate::pve::schema::embedded_schema;
        for source in NAME_FORMS.iter().flat_map(|form| form.sources) {
            let is_used = embedded_schema().operations().any(|operation| {
                operation.parameters().any(|parameter| parameter.format() == *source || parameter.pattern() == *source)
            });
            assert!(is_used, "{source}");
        }
    }
}
