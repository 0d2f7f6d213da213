//! The form of a value by its key: times, sizes, shares, durations and truth values. Any other value stays as it is.

use crate::render::cell::{decode_line, strip_quotes};
use crate::render::labels::format_local_time;
use crate::render::output::json_path::{parse_number, unquote, walk};
use crate::render::units::{append_byte_size, append_duration, append_percent};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The form of the values of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    Plain,
    /// Seconds since 1970.
    Time,
    /// Seconds since 1970, or 0 for never.
    Expiry,
    Bytes,
    /// A fraction of 1.
    Fraction,
    /// A percentage.
    Percent,
    /// Seconds.
    Duration,
    Flag,
    /// A limit, 0 for none.
    Limit,
    /// The percentage of its life that a disk has left.
    LifeLeft,
}

/// The first time that a number of seconds is read as: 1998. A smaller number is something else.
const FIRST_TIME: f64 = 9.0e8;
/// The last one: 2286. A certificate may be valid for long.
const LAST_TIME: f64 = 1.0e10;
/// The least number that is read as bytes. A smaller one may be a count, or have another unit.
const MIN_BYTES: f64 = 1024.0;
/// Keys that have bytes, however small the number is.
const EXACT_BYTES: &[&str] =
    &["netin", "netout", "diskread", "diskwrite", "mem", "maxmem", "memhost", "maxdisk", "maxswap"];
/// The least number of bytes for a key that has MiB in the options of a guest.
const MIN_MEMORY_BYTES: f64 = 1_048_576.0;

const TIMES: &[&str] = &[
    "birth",
    "ctime",
    "date",
    "endtime",
    "fail_time",
    "last-run-endtime",
    "last_sync",
    "last_try",
    "localtime",
    "mtime",
    "next-run",
    "next_sync",
    "notafter",
    "notbefore",
    "snaptime",
    "starttime",
    "time",
    "timestamp",
    "next_run",
    "last_run",
    "checktime",
    "nextduedate",
    "last-run",
    "gone-since",
];
const BYTES: &[&str] = &[
    "avail",
    "available",
    "diskread",
    "diskwrite",
    "disk",
    "free",
    "freemem",
    "host_memory",
    "maxdisk",
    "maxmem",
    "maxswap",
    "mem",
    "memhost",
    "memory_used",
    "netin",
    "netout",
    "physical-size",
    "rootfree",
    "roottotal",
    "rootused",
    "size",
    "swapfree",
    "swaptotal",
    "swapused",
    "memtotal",
    "memused",
    "memavailable",
    "arcsize",
    "total",
    "total_mem",
    "used",
    "balloon_min",
    "approx-size",
    "bytes_used",
    "pool_used",
    "alloc",
    "metadata_size",
    "metadata_used",
    "lv_size",
    "total_bytes",
    "actual",
    "max_mem",
    "mem_swapped_in",
    "mem_swapped_out",
    "free_mem",
    "in",
    "out",
];
const FRACTIONS: &[&str] = &["cpu", "iowait", "used_fraction", "wait", "percent_used", "memfraction"];
const DURATIONS: &[&str] = &["duration", "uptime", "elapsed"];
/// The parameters that are truth values in every change of the API, by its description, one per line.
const FLAG_PARAMETERS: &str = include_str!(concat!(env!("OUT_DIR"), "/flag_parameters.txt"));
/// Further truth values that Proxmox writes as 0 and 1.
const FLAGS: &[&str] = &[
    "abstract",
    "active",
    "agent",
    "cdrom",
    "console",
    "default",
    "dhcp",
    "discard",
    "enable",
    "exists",
    "gpt",
    "hasFeature",
    "hvm",
    "included",
    "is-default",
    "leaf",
    "local",
    "managed",
    "migratable",
    "missing",
    "nodes_online",
    "quorate",
    "running",
    "saved",
    "secureboot",
    "serial",
    "special",
    "spice",
    "template",
];

/// The format by the key.
static FORMATS: LazyLock<HashMap<&str, KeyFormat>> = LazyLock::new(|| {
    // The last one stays. `localtime` of a guest is a truth value, and that of a node a time: the number tells.
    let parameters: Vec<&str> = FLAG_PARAMETERS.lines().collect();
    let lists: [(&[&str], KeyFormat); 10] = [
        (&parameters, KeyFormat::Flag),
        (FLAGS, KeyFormat::Flag),
        (DURATIONS, KeyFormat::Duration),
        (FRACTIONS, KeyFormat::Fraction),
        (&["balloon", "swap"], KeyFormat::Bytes),
        (BYTES, KeyFormat::Bytes),
        (TIMES, KeyFormat::Time),
        (&["cpulimit", "bwlimit"], KeyFormat::Limit),
        (&["expire"], KeyFormat::Expiry),
        // (PVE: `wearout` is 100 for a new disk.)
        (&["wearout"], KeyFormat::LifeLeft),
    ];
    lists.into_iter().flat_map(|(keys, format)| keys.iter().map(move |key| (*key, format))).collect()
});

impl KeyFormat {
    /// Returns the format of the values of a key. A path of keys has that of its last one.
    pub fn for_key(key: &str) -> Self {
        if key == "ksm.shared" {
            return Self::Bytes;
        }
        if is_privilege(key) {
            return Self::Flag;
        }
        let key = key.rsplit('.').next().unwrap_or(key);
        match FORMATS.get(key) {
            Some(format) => *format,
            None if key.starts_with("pressure") => Self::Percent,
            None if key.ends_with("-bytes") || key.ends_with("_bytes") => Self::Bytes,
            None if ["is_", "is-", "has_", "has-"].iter().any(|start| key.starts_with(start)) => Self::Flag,
            None => Self::Plain,
        }
    }

    /// Returns whether a key is that of a time.
    pub fn is_time(key: &str) -> bool {
        matches!(Self::for_key(key), Self::Time | Self::Expiry)
    }

    /// Returns a scalar in this format. A text stays on one line ([`decode_line`]).
    pub fn format<'r>(self, key: &str, raw: &'r str, utc_offset: i32) -> Cow<'r, str> {
        if let Some(number) = spell_out(if self == Self::Plain { raw } else { strip_quotes(raw) }) {
            return Cow::Owned(self.format(key, &number, utc_offset).into_owned());
        }
        match raw {
            "null" | "\"\"" | "[]" | "{}" => return Cow::Borrowed(""),
            "true" => return Cow::Borrowed("yes"),
            "false" => return Cow::Borrowed("no"),
            _ => {}
        }
        if self == Self::Plain {
            let text = strip_quotes(raw);
            if key == "meta" {
                return format_creation(text, utc_offset);
            }
            // The last line of a comment has an end.
            return match text.strip_suffix("\\n").filter(|line| !line.ends_with('\\')) {
                Some(_) => Cow::Owned(decode_line(raw).trim_end_matches("\\n").to_owned()),
                None => decode_line(raw),
            };
        }
        let mut measure = Vec::new();
        if self.append_measure(&mut measure, key, raw) {
            return Cow::Owned(String::from_utf8(measure).expect("digits and units are ASCII"));
        }
        let Some(number) = parse_number(raw) else { return decode_line(raw) };
        let is_whole = number.fract() == 0.0;
        match self {
            Self::Expiry | Self::Time if (FIRST_TIME..LAST_TIME).contains(&number) => {
                Cow::Owned(format_local_time(number as u64, utc_offset))
            }
            Self::Expiry if number == 0.0 => Cow::Borrowed("never"),
            Self::Limit if number == 0.0 => Cow::Borrowed("0 (no limit)"),
            // (PVE: the use of a VM's disks is not known.)
            Self::Bytes if key == "disk" && number == 0.0 => Cow::Borrowed(""),
            // (PVE: a replication that never ran.)
            Self::Time if number == 0.0 && matches!(key, "last_sync" | "last_try") => Cow::Borrowed("never"),
            Self::Time if number == 0.0 && key != "localtime" => Cow::Borrowed(""),
            Self::LifeLeft => Cow::Owned(format!("{number}% left")),
            Self::Flag if number == 0.0 => Cow::Borrowed("no"),
            Self::Flag if number == 1.0 => Cow::Borrowed("yes"),
            Self::Time if key == "localtime" && (number == 0.0 || number == 1.0) => {
                Cow::Borrowed(if number == 0.0 { "no" } else { "yes" })
            }
            _ if is_whole || self != Self::Bytes => Cow::Borrowed(strip_quotes(raw)),
            _ => Cow::Owned(format!("{number:.1}")),
        }
    }

    /// Appends a number of bytes, a share or a duration. Returns false, and appends nothing, for any other value.
    pub(in crate::render) fn append_measure(self, out: &mut Vec<u8>, key: &str, raw: &str) -> bool {
        if !matches!(self, Self::Bytes | Self::Fraction | Self::Percent | Self::Duration) || raw.starts_with(['t', 'f'])
        {
            return false;
        }
        let Some(number) = parse_number(raw) else { return false };
        match self {
            Self::Bytes if key == "disk" && number == 0.0 => return false,
            Self::Bytes
                if number >= MIN_BYTES && (number >= MIN_MEMORY_BYTES || !matches!(key, "balloon" | "swap"))
                    || EXACT_BYTES.contains(&key) =>
            {
                append_byte_size(out, number);
            }
            Self::Fraction => append_percent(out, number),
            Self::Percent => append_percent(out, number / 100.0),
            Self::Duration if number >= 0.0 => append_duration(out, number as u64),
            _ => return false,
        }
        true
    }
}

/// Returns a number that is written as a float without need (`2.0`, `1.5e9`) with its digits alone. A text of another key
/// than that of a number, such as the release `9.0` or a hash, has quotes and stays.
fn spell_out(raw: &str) -> Option<String> {
    /// From here on a float represents several whole numbers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let is_number = raw.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if !is_number || !(raw.ends_with(".0") || raw.contains(['e', 'E'])) {
        return None;
    }
    let number: f64 = raw.parse().ok()?;
    (number.abs() < EXACT).then(|| number.to_string())
}

/// Returns whether a key is the name of a privilege: `VM.Audit`, `Sys.Modify`.
fn is_privilege(key: &str) -> bool {
    key.contains('.') && key.split('.').all(|part| part.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// Returns the option `meta` of a guest with its time of creation in the zone of the node.
fn format_creation(meta: &str, utc_offset: i32) -> Cow<'_, str> {
    let Some((before, time)) = meta.split_once("ctime=") else { return Cow::Borrowed(meta) };
    let digits = time.len() - time.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let Ok(seconds) = time[..digits].parse() else { return Cow::Borrowed(meta) };
    Cow::Owned(format!("{before}ctime={}{}", format_local_time(seconds, utc_offset), &time[digits..]))
}

/// The rows of a list in which a time is searched.
const SEARCHED_ROWS: usize = 20;
/// The levels of an answer in which a time is searched.
const SEARCHED_LEVELS: usize = 6;

/// Returns whether an answer has a time in one of its first rows, so that it needs the zone of the node.
pub fn has_times(data: &str) -> bool {
    has_times_within(data, SEARCHED_LEVELS)
}

fn has_times_within(raw: &str, levels: usize) -> bool {
    let (mut rows, mut found) = (0, false);
    if levels > 0 && raw.starts_with(['{', '[']) {
        walk(raw, &mut |key, value| {
            rows += 1;
            found = match value.starts_with(['{', '[']) {
                true => has_times_within(value, levels - 1),
                false => key.starts_with('"') && KeyFormat::is_time(&unquote(key)) && parse_number(value).is_some(),
            };
            !found && (raw.starts_with('{') || rows < SEARCHED_ROWS)
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_by_their_keys() {
        for (key, raw, text) in [
            ("starttime", "1795856078", "2026-11-28T08:54:38Z"),
            ("starttime", "\"1795856078\"", "2026-11-28T08:54:38Z"),
            ("time", "3", "3"),
            ("expire", "0", "never"),
            ("size", "94489280512", "88GiB"),
            ("used-bytes", "22906492245", "21.3GiB"),
            ("size", "3", "3"),
            ("size", "\"32G\"", "32G"),
            ("balloon", "2048", "2048"),
            ("balloon", "2147483648", "2GiB"),
            ("cpu", "0.25", "25.0%"),
            ("cpu", "\"host\"", "host"),
            ("pressurecpusome", "1.5", "1.5%"),
            ("uptime", "93784", "1d2h"),
            ("enabled", "1", "yes"),
            ("enabled", "\"0\"", "no"),
            ("quorate", "true", "yes"),
            ("cpulimit", "0", "0 (no limit)"),
            ("localtime", "1", "yes"),
            ("memory", "\"8192\"", "8192"),
            ("name", "\"a\\nb\"", "a\\nb"),
            ("comments", "\"guests\\n\"", "guests"),
            ("comments", "\"C:\\\\n\"", "C:\\\\n"),
            ("lock", "null", ""),
            ("disk", "0", ""),
            ("last_sync", "0", "never"),
            ("next_sync", "0", ""),
            ("netin", "290", "290B"),
            ("in", "1", "1"),
            ("VM.Audit", "1", "yes"),
            ("wearout", "96", "96% left"),
            ("wearout", r#""N/A""#, "N/A"),
            ("stdexcludes", "1", "yes"),
            ("is_attached", "0", "no"),
            ("has-dbus-vmstate", "1", "yes"),
            ("meta", r#""creation-qemu=10.0.2,ctime=1795856078""#, "creation-qemu=10.0.2,ctime=2026-11-28T08:54:38Z"),
            ("meta", "\"x\"", "x"),
            ("ksm.shared", "0", "0"),
            ("maxmem", "\"1.610612736e+09\"", "1.5GiB"),
            ("cpu", "\"2.5e-1\"", "25.0%"),
            ("maxcpu", "2.0", "2"),
            ("vmid", "1.04e2", "104"),
            ("starttime", "1795856078.0", "2026-11-28T08:54:38Z"),
            ("release", "\"9.0\"", "9.0"),
            ("repoid", "\"12e4\"", "12e4"),
            ("cpus", "0.5", "0.5"),
            ("big", "1e21", "1e21"),
            ("memory.used", "30156786246", "28.1GiB"),
        ] {
            assert_eq!(KeyFormat::for_key(key).format(key, raw, 0), text, "{key} {raw}");
        }
        assert_eq!(KeyFormat::Time.format("time", "1795856078", 3_600), "2026-11-28T09:54:38+01:00");
    }

    #[test]
    fn times_are_found_in_rows_and_objects() {
        for (data, expected) in [
            (r#"[{"a":1},{"starttime":1}]"#, true),
            (r#"{"notafter":"5"}"#, true),
            (r#"{"jobs":[{"next-run":5}]}"#, true),
            (r#"{"time":"noon"}"#, false),
            (r#"["time"]"#, false),
            (r#"[{"a":{"b":[{"timestamp":1795856078}]}}]"#, true),
            ("7", false),
        ] {
            assert_eq!(has_times(data), expected, "{data}");
        }
    }
}
