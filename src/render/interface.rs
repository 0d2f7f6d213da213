//! What a change of a network interface does to the addresses that it does not name.

use super::object_state::show_cluster_value;
use crate::pve::knowledge::interfaces::{FamilyChange, find_family_changes};
use crate::pve::params::ApiParams;
use serde_json::{Map, Value};
use std::fmt::Write;

/// Appends a line for each address, and each way to get one, that changes beside the options of the call.
pub fn push_family_changes(text: &mut String, now: &Map<String, Value>, params: &ApiParams) {
    let changes = find_family_changes(now, params);
    let has_ipv6 = changes[1].after.is_written;
    for change in &changes {
        push_family_change(text, change, has_ipv6);
    }
}

fn push_family_change(text: &mut String, change: &FamilyChange, has_ipv6: bool) {
    let FamilyChange { family, before, after, is_named, loses_lines } = change;
    let show = |name: &str, value: &str| show_cluster_value(name, &value.into());
    let (old, new) = (show(family.method, &before.method), &after.method);
    let address = before.cidr.as_deref().filter(|_| !is_named);
    let keeps = address.map(|address| format!("{}={} keeps it", family.cidr, show(family.cidr, address)));
    let because =
        if has_ipv6 { "only an IPv6 address is given".into() } else { format!("{} is not given", family.cidr) };
    match (address.zip(keeps), before.method != after.method && before.method != "manual") {
        (Some((address, keeps)), _) if !after.is_written => {
            let address = show(family.cidr, address);
            let _ = writeln!(text, "  {}: {address} → not set, since {because} ({keeps})", family.cidr);
            if let (Some(gateway), None) = (&before.gateway, &after.gateway) {
                let _ = writeln!(text, "  {}: {} → not set", family.gateway, show(family.gateway, gateway));
            }
        }
        (_, true) if before.method != "static" => {
            let _ = writeln!(text, "  {}: {old} → {new} (no call keeps {old} or sets it back)", family.method);
        }
        (Some((_, keeps)), true) => {
            let _ = writeln!(
                text,
                "  {}: static → manual, since {because} ({keeps}). The address stays written",
                family.method
            );
        }
        (None, true) => drop(writeln!(text, "  {}: {old} → {new}", family.method)),
        (_, false) => {}
    }
    if *loses_lines {
        let _ = writeln!(text, "  further lines of its {} block are lost", family.name);
    }
}
