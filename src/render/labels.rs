//! Values in the words of a sentence.

use super::cell::push_single_line;
use super::units::{push_byte_size, push_duration};
use crate::pve::guests::Guest;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns number and name of a guest: `100 "web01"`.
pub(crate) fn guest_name(guest: &Guest) -> String {
    let name = if guest.name.is_empty() { String::new() } else { format!(" \"{}\"", single_line(&guest.name)) };
    format!("{}{name}", guest.vmid)
}

/// Returns number, name, kind, node and state of a guest: `100 "web01" (qemu on pve1, running)`.
pub(crate) fn guest_label(guest: &Guest) -> String {
    let unknown = |text: &str, word: &str| if text.is_empty() { word.to_owned() } else { single_line(text) };
    let node = unknown(&guest.node, "an unknown node");
    let (name, state) = (guest_name(guest), unknown(&guest.status, "state unknown"));
    format!("{name} ({} on {node}, {state})", guest.kind.as_str())
}

/// Returns a value on one line, cut if it is long.
pub(crate) fn single_line(value: &str) -> String {
    let mut text = String::new();
    push_single_line(&mut text, value);
    text
}

/// Returns a time as ISO 8601 in UTC, to the second.
pub(crate) fn format_time(seconds: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
    // A year has four digits.
    if seconds < 253_402_300_800 { humantime::format_rfc3339_seconds(time).to_string() } else { "?".into() }
}

/// Returns a time as ISO 8601 with an offset from UTC in seconds, to the second.
pub(crate) fn format_local_time(seconds: u64, utc_offset: i32) -> String {
    let local = i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_add(i64::from(utc_offset)));
    let text = format_time(local.and_then(|local| u64::try_from(local).ok()).unwrap_or(u64::MAX));
    let minutes = utc_offset / 60;
    match (text.strip_suffix('Z'), minutes) {
        (Some(time), 1.. | ..=-1) => {
            let sign = if minutes < 0 { '-' } else { '+' };
            format!("{time}{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
        }
        _ => text,
    }
}

/// Returns a zone: `UTC`, `+01:00`.
pub(crate) fn format_zone(utc_offset: i32) -> String {
    let time = format_local_time(2 * 86_400, utc_offset);
    time.get("0000-00-00T00:00:00".len()..).filter(|zone| *zone != "Z").unwrap_or("UTC").to_owned()
}

/// Returns the calls of a list with these numbers: `call 2`, `calls 1, 3`.
pub(crate) fn name_calls(numbers: &[usize]) -> String {
    let calls = if numbers.len() == 1 { "call" } else { "calls" };
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    format!("{calls} {}", numbers.join(", "))
}

/// Groups the reasons of the calls of a list, each with its number. `merge` adds a reason to another one, and returns
/// whether both are the same.
pub(crate) fn group_reasons<T>(
    reasons: impl IntoIterator<Item = (usize, T)>,
    mut merge: impl FnMut(&mut T, &T) -> bool,
) -> Vec<(Vec<usize>, T)> {
    let mut groups: Vec<(Vec<usize>, T)> = Vec::new();
    for (number, reason) in reasons {
        match groups.iter_mut().find_map(|(numbers, known)| merge(known, &reason).then_some(numbers)) {
            Some(numbers) => numbers.push(number),
            None => groups.push((vec![number], reason)),
        }
    }
    groups
}

/// Returns a line for each group of reasons: `calls 1, 3: …`.
pub(crate) fn join_reasons<T>(groups: &[(Vec<usize>, T)], render: impl Fn(&T) -> String) -> String {
    let lines = groups.iter().map(|(numbers, reason)| format!("{}: {}", name_calls(numbers), render(reason)));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the current time in seconds since 1970.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

pub(crate) fn format_duration(seconds: u64) -> String {
    let mut text = String::new();
    push_duration(&mut text, seconds);
    text
}

pub(crate) fn format_bytes(bytes: u64) -> String {
    let mut text = String::new();
    push_byte_size(&mut text, bytes as f64);
    text
}

pub(crate) fn format_percent(fraction: f64) -> String {
    format!("{:.0}%", fraction * 100.0)
}

/// Returns the used fraction of processors: `12% of 4 cores`.
pub(crate) fn format_cpu(fraction: f64, cores: f64) -> String {
    let noun = if cores == 1.0 { "core" } else { "cores" };
    format!("{} of {cores} {noun}", format_percent(fraction))
}

/// Returns `1 guest` or `2 guests`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso_and_never_panic() {
        assert_eq!(format_time(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!([format_time(u64::MAX), format_time(253_402_300_800)], ["?", "?"]);
        assert_eq!(format_local_time(1_735_689_599, 3_600), "2025-01-01T00:59:59+01:00");
        assert_eq!(format_local_time(1_735_689_599, -12_600), "2024-12-31T20:29:59-03:30");
        assert_eq!([format_local_time(0, -3_600), format_local_time(u64::MAX, 3_600)], ["?", "?"]);
    }
}
