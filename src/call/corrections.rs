//! Corrections of parameters that can mean one thing only, as callers write them. Each correction is a note.

use super::handle::ClusterHandle;
use super::plan_error::PlanError;
use crate::base::list_text::list_items;
use crate::pve::Method;
use crate::pve::path::ApiPath;
use crate::pve::schema::Operation;
use crate::render::labels::{format_local_time, now_seconds};
use crate::render::object_state::has_disk_name;
use crate::render::output::{ReadingTime, TimeSpan, is_clock};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use std::cell::LazyCell;
use std::time::{Duration, UNIX_EPOCH};

/// Parameters whose plain number is a count of MiB. (PVE: memory of a guest.)
pub(super) const MEBIBYTE_PARAMETERS: [&str; 3] = ["memory", "balloon", "swap"];

/// The seconds of a day.
const DAY: u64 = 86_400;

/// Corrects the values of an operation and returns the notes.
pub(super) fn correct_values(
    operation: &Operation<'_>,
    data: &mut Map<String, Value>,
) -> Result<Vec<String>, PlanError> {
    let mut notes = Vec::new();
    for (name, value) in data.iter_mut() {
        if operation.parameter(name).is_none() {
            continue;
        }
        let corrected = match &*value {
            Value::String(text) if name == "size" && operation.template().ends_with("/resize") => correct_size(text),
            value => correct_value(name, value),
        };
        if let Some(corrected) = corrected {
            notes.push(corrected.note(name));
            *value = corrected.value;
        }
    }
    notes.extend(correct_interface(operation, data));
    notes.extend(encode_file_content(operation, data)?);
    notes.extend(split_agent_bytes(operation, data));
    Ok(notes)
}

/// Replaces dates in the bounds of a read by those that Proxmox accepts. Most are seconds since 1970, and those of the
/// system log are a day or a time of the node. Returns the notes.
///
/// A day as the end is its start, as for `journalctl`. It is the end of the day if `since` lies in it. A time of day is
/// one of today, and as a start of yesterday if it is still to come.
pub(super) fn convert_dates(
    cluster: &ClusterHandle<'_>,
    operation: &Operation<'_>,
    path: &ApiPath,
    data: &mut Map<String, Value>,
) -> Vec<String> {
    let mut notes = Vec::new();
    if operation.method() != Method::Get {
        return notes;
    }
    // The zone is looked up for a date alone.
    let zone = LazyCell::new(|| cluster.find_utc_offset(path));
    let parse = |value: &Value| {
        let text = value.as_str()?;
        let parse = |utc_offset| TimeSpan::parse(text, ReadingTime { utc_offset, now: now_seconds() });
        parse(0).and_then(|_| parse(*zone))
    };
    let parse_start = |value: &Value| {
        let span = parse(value)?;
        let is_to_come = value.as_str().is_some_and(is_clock) && span.first > now_seconds();
        let back = if is_to_come { DAY } else { 0 };
        Some(TimeSpan { first: span.first.saturating_sub(back), last: span.last.saturating_sub(back) })
    };
    let seconds = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let has_end = data.get("until").is_some_and(Value::is_string);
    let since = data.get("since").filter(|_| has_end);
    let since = since.and_then(|since| seconds(since).or_else(|| parse_start(since).map(|span| span.first)));
    for name in ["since", "until"] {
        let Some(parameter) = operation.parameter(name) else { continue };
        let parse = |value| if name == "since" { parse_start(value) } else { parse(value) };
        let Some((value, span)) = data.get(name).and_then(|value| Some((value, parse(value)?))) else { continue };
        let is_to_end = name == "until" && span.first < span.last && since.is_some_and(|since| since >= span.first);
        let is_number = parameter.kind() == "integer";
        // A node takes neither a time without a day nor the hour 24.
        let is_plain = value.as_str().is_some_and(|text| {
            text.contains('-') && !text.contains(" 24:") && !text.contains(|c: char| c.is_ascii_alphabetic())
        });
        if !is_number && is_plain && !is_to_end {
            continue;
        }
        let seconds = if is_to_end { span.last } else { span.first };
        let edge = match span.last - span.first {
            ..86_399 => "",
            86_399 if is_to_end => ", the end of that day",
            86_399 => ", the start of that day",
            _ if is_to_end => ", the end of that month",
            _ => ", the start of that month",
        };
        let time = format_local_time(seconds, *zone);
        let value = if is_number { Value::from(seconds) } else { format_log_time(seconds, *zone).into() };
        notes.push(format!("`{name}` was sent as {}, which is {time}{edge}", value.to_string().trim_matches('"')));
        data.insert(name.to_owned(), value);
    }
    let bound = |name: &str| {
        operation.parameter(name)?;
        let value = data.get(name)?;
        seconds(value).or_else(|| parse(value).map(|span| span.last))
    };
    if let (Some(since), Some(until)) = (bound("since"), bound("until"))
        && since > until
    {
        notes.push("`since` is after `until`, so that nothing is in the range".to_owned());
    }
    notes
}

/// Removes the number of last lines from a read of a journal's range. Returns the note.
///
/// (PVE: `lastentries` conflicts with a range.)
pub(super) fn remove_line_count(operation: &Operation<'_>, data: &mut Map<String, Value>) -> Option<&'static str> {
    let has_range = ["since", "until", "startcursor", "endcursor"].iter().any(|name| data.contains_key(*name));
    if operation.method() != Method::Get || !operation.template().ends_with("/journal") || !has_range {
        return None;
    }
    data.remove("lastentries")?;
    Some("`lastentries` was left out, because Proxmox does not take it with a range: these are all lines of the range")
}

/// Formats a time of the node as the system log takes it: `2026-11-28 10:15:30`.
fn format_log_time(seconds: u64, utc_offset: i32) -> String {
    let local = UNIX_EPOCH + Duration::from_secs(seconds.saturating_add_signed(utc_offset.into()));
    humantime::format_rfc3339_seconds(local).to_string().replace('T', " ").replace('Z', "")
}

/// Value that replaces the one of the caller.
struct Correction {
    value: Value,
    reason: &'static str,
}

impl Correction {
    fn note(&self, name: &str) -> String {
        let shown = self.value.as_str().map_or_else(|| self.value.to_string(), str::to_owned);
        format!("`{name}` was sent as {shown}: {}", self.reason)
    }
}

fn correct_value(name: &str, value: &Value) -> Option<Correction> {
    match value {
        Value::String(text) if MEBIBYTE_PARAMETERS.contains(&name) => {
            let mebibytes = parse_size(text)? / f64::from(1 << 20);
            (mebibytes.fract() == 0.0)
                .then(|| Correction { value: (mebibytes as u64).into(), reason: "Proxmox counts it in MiB" })
        }
        Value::String(text) if has_disk_name(name) => correct_disk(text)
            .map(|disk| Correction { value: disk.into(), reason: "the size of a new disk is a plain number of GiB" }),
        _ => None,
    }
}

/// Corrects the unit of a disk's new size. A plain number is one of bytes, which no caller means, and the node refuses it.
fn correct_size(text: &str) -> Option<Correction> {
    let trimmed = text.trim();
    let (sign, size) = trimmed.strip_prefix('+').map_or(("", trimmed), |size| ("+", size.trim_start()));
    let digits = size.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = size.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "m" | "mb" | "mib" => "M",
        "g" | "gb" | "gib" => "G",
        "t" | "tb" | "tib" => "T",
        _ => return None,
    };
    let corrected = format!("{sign}{number}{unit}");
    (!number.is_empty() && corrected != text)
        .then(|| Correction { value: corrected.into(), reason: "a size has the unit M, G or T, without a blank" })
}

/// Parses a size with a unit, such as `2G`, into bytes. A plain number is not one.
pub(super) fn parse_size(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let exponent = match unit.trim().to_ascii_lowercase().as_str() {
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    Some(number * (1_u64 << exponent) as f64)
}

/// Returns `local-lvm:32,ssd=1` for `local-lvm:32G,ssd=1`.
fn correct_disk(text: &str) -> Option<String> {
    let (volume, options) = match text.split_once(',') {
        Some((volume, options)) => (volume, format!(",{options}")),
        None => (text, String::new()),
    };
    let (storage, size) = volume.split_once(':')?;
    let gibibytes = parse_size(size)? / (1_u64 << 30) as f64;
    (!storage.is_empty() && gibibytes > 0.0).then(|| format!("{storage}:{gibibytes}{options}"))
}

/// Corrects options of a network interface that Proxmox takes otherwise than they read. Returns the notes.
fn correct_interface(operation: &Operation<'_>, data: &mut Map<String, Value>) -> Vec<String> {
    let is_creation = match (operation.method(), operation.template()) {
        (Method::Post, "/nodes/{node}/network") => true,
        (Method::Put, "/nodes/{node}/network/{iface}") => false,
        _ => return Vec::new(),
    };
    let mut notes = Vec::new();
    let mut unset: Vec<String> = match data.get("delete") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(names)) => list_items(names).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    // (PVE: any value of it is written as yes.)
    let is_off = data.get("bridge_vlan_aware").is_some_and(|on| {
        *on == false || *on == 0 || on.as_str().is_some_and(|on| matches!(on, "0" | "no" | "off" | "false"))
    });
    if is_off {
        data.remove("bridge_vlan_aware");
        notes.push(match is_creation {
            true => "`bridge_vlan_aware` was left out: Proxmox writes it as yes, whatever its value".to_owned(),
            false => {
                "`bridge_vlan_aware` was sent in `delete`: Proxmox writes it as yes, whatever its value".to_owned()
            }
        });
        if !is_creation && !unset.iter().any(|name| name == "bridge_vlan_aware") {
            unset.push("bridge_vlan_aware".to_owned());
        }
    }
    // (PVE: the address is written again from the cidr, unless that is removed.)
    for (address, cidr) in [("address", "cidr"), ("address6", "cidr6")] {
        if unset.iter().any(|name| name == address) && !unset.iter().any(|name| name == cidr) {
            unset.iter_mut().filter(|name| *name == address).for_each(|name| *name = cidr.to_owned());
            notes.push(format!("`{address}` in `delete` was sent as {cidr}: Proxmox keeps the address otherwise"));
        }
    }
    if !notes.is_empty() && !unset.is_empty() {
        data.insert("delete".into(), unset.join(",").into());
    }
    notes
}

/// Encodes the content of a file for the guest agent, if it has characters beyond ASCII.
///
/// (PVE: without that, the node stores such a character wrongly or fails.)
fn encode_file_content(operation: &Operation<'_>, data: &mut Map<String, Value>) -> Result<Option<String>, PlanError> {
    let is_file_write = operation.method() == Method::Post && operation.template().ends_with("/agent/file-write");
    let Some(content) = data.get("content").and_then(Value::as_str).filter(|text| is_file_write && !text.is_ascii())
    else {
        return Ok(None);
    };
    if operation.parameter("encode").is_none() {
        return Err(PlanError::UnwritableContent);
    }
    // With encode=0 the content is base64 already, which has no such character: the node refuses it.
    if data.get("encode").is_some_and(|encode| *encode == 0 || *encode == false || *encode == "0") {
        return Ok(None);
    }
    let encoded = BASE64_STANDARD.encode(content);
    data.insert("content".into(), encoded.into());
    data.insert("encode".into(), 0.into());
    Ok(Some("`content` was sent in base64 with encode=0, as it has characters beyond ASCII".into()))
}

/// Parameters that the node encodes for the guest agent byte by byte: the end of the path, and the parameter.
const AGENT_BYTES: [(&str, &str); 2] = [("/agent/exec", "input-data"), ("/agent/set-user-password", "password")];

/// Replaces a character beyond ASCII by a character for each of its bytes of UTF-8.
///
/// (PVE: the node takes each character as one byte, so `ü` would become a byte of Latin-1, and `€` fails.)
fn split_agent_bytes(operation: &Operation<'_>, data: &mut Map<String, Value>) -> Option<String> {
    let is_called = |(end, _): &&(&str, &str)| operation.template().ends_with(end);
    let (_, name) = AGENT_BYTES.iter().find(is_called).filter(|_| operation.method() == Method::Post)?;
    let text = data.get(*name)?.as_str().filter(|text| !text.is_ascii())?;
    let bytes: String = text.bytes().map(char::from).collect();
    data.insert((*name).to_owned(), bytes.into());
    Some(format!(
        "`{name}` was sent with a character for each of its bytes of UTF-8, since Proxmox passes characters on as bytes"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::schema::embedded_schema;
    use serde_json::json;

    fn correct(method: Method, template: &str, mut data: Value) -> (Value, Vec<String>) {
        let operation = embedded_schema().find_by_template(method, template).expect("an operation");
        let map = data.as_object_mut().expect("an object");
        let notes = correct_values(&operation, map).expect("correct");
        (data, notes)
    }

    #[test]
    fn values_that_mean_one_thing_are_corrected_with_a_note() {
        let vm = "/nodes/{node}/qemu/{vmid}/config";
        for (template, given, sent) in [
            (vm, json!({"memory": "2G"}), json!({"memory": 2048})),
            (vm, json!({"memory": "1.5 GiB"}), json!({"memory": 1536})),
            (vm, json!({"balloon": "512MB"}), json!({"balloon": 512})),
            (vm, json!({"scsi0": "local-lvm:32G"}), json!({"scsi0": "local-lvm:32"})),
            (vm, json!({"virtio3": "local:1T,ssd=1"}), json!({"virtio3": "local:1024,ssd=1"})),
            (vm, json!({"efidisk0": "local:512M"}), json!({"efidisk0": "local:0.5"})),
        ] {
            let (data, notes) = correct(Method::Put, template, given.clone());
            assert_eq!((data, notes.len()), (sent, 1), "{given} {notes:?}");
        }
        for (given, sent) in [("+10GB", "+10G"), ("+ 1.5 gib", "+1.5G"), ("512mb", "512M")] {
            let resize = "/nodes/{node}/qemu/{vmid}/resize";
            let (data, notes) = correct(Method::Put, resize, json!({"disk": "scsi0", "size": given}));
            assert_eq!((data["size"].as_str(), notes.len()), (Some(sent), 1), "{given}");
        }
        for given in [
            json!({"memory": "2048"}),
            json!({"memory": "2K"}),
            json!({"memory": 2048}),
            json!({"scsi0": "local-lvm:vm-100-disk-0"}),
            json!({"scsi0": "none,media=cdrom"}),
            json!({"description": "[1]"}),
            json!({"cores": true}),
        ] {
            assert_eq!(correct(Method::Put, vm, given.clone()), (given, Vec::new()));
        }
    }

    #[test]
    fn options_of_an_interface_are_corrected_to_what_they_read_as() {
        let (all, one) = ("/nodes/{node}/network", "/nodes/{node}/network/{iface}");
        for (method, template, given, sent, notes) in [
            (Method::Post, all, json!({"bridge_vlan_aware": 0}), json!({}), 1),
            (Method::Put, one, json!({"bridge_vlan_aware": false}), json!({"delete": "bridge_vlan_aware"}), 1),
            (
                Method::Put,
                one,
                json!({"bridge_vlan_aware": "off", "delete": ["mtu"]}),
                json!({"delete": "mtu,bridge_vlan_aware"}),
                1,
            ),
            (Method::Put, one, json!({"delete": "address,gateway"}), json!({"delete": "cidr,gateway"}), 1),
            (Method::Put, one, json!({"delete": "address6"}), json!({"delete": "cidr6"}), 1),
            (Method::Put, one, json!({"bridge_vlan_aware": 1}), json!({"bridge_vlan_aware": 1}), 0),
            (Method::Put, one, json!({"delete": "cidr;mtu"}), json!({"delete": "cidr;mtu"}), 0),
        ] {
            let (data, made) = correct(method, template, given.clone());
            assert_eq!((data, made.len()), (sent, notes), "{given} {made:?}");
        }
    }

    #[test]
    fn input_for_the_guest_agent_is_sent_byte_by_byte() {
        let template = "/nodes/{node}/qemu/{vmid}/agent/exec";
        let (data, notes) = correct(Method::Post, template, json!({"command": ["cat"], "input-data": "ü€"}));
        let bytes: String = "ü€".bytes().map(char::from).collect();
        assert_eq!((data["input-data"].as_str(), notes.len()), (Some(bytes.as_str()), 1));
        let plain = json!({"command": ["cat"], "input-data": "u"});
        assert_eq!(correct(Method::Post, template, plain.clone()), (plain, Vec::new()));
    }

    #[test]
    fn a_file_with_characters_beyond_ascii_is_sent_in_base64() {
        let template = "/nodes/{node}/qemu/{vmid}/agent/file-write";
        let (data, notes) = correct(Method::Post, template, json!({"file": "/x", "content": "ü"}));
        assert_eq!((data, notes.len()), (json!({"file": "/x", "content": "w7w=", "encode": 0}), 1));
        let plain = json!({"file": "/x", "content": "u"});
        assert_eq!(correct(Method::Post, template, plain.clone()), (plain, Vec::new()));
    }
}
