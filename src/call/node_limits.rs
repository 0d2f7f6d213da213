//! What a guest asks for and its node lacks, as notes of a plan: a bridge, or as much memory. Proxmox accepts both.

use super::earlier_calls::EarlierCalls;
use super::planned_call::PlannedCall;
use super::present_state::ObjectReader;
use crate::pve::Method;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::property_string::{find_part, is_network_card};
use crate::pve::rows::read_count;
use crate::render::object_state::{quote_word, text_of};
use crate::render::units::push_byte_size;
use serde_json::{Map, Value};

impl PlannedCall<'_> {
    /// Returns sentences without their ends. They leave out what can't be read.
    pub(super) fn find_node_limits(&self, reader: &ObjectReader<'_>, earlier: EarlierCalls<'_, '_>) -> Vec<String> {
        let template = self.operation.template.as_deref().filter(|_| self.operation.is_known).unwrap_or_default();
        let is_creation = self.method == Method::Post && matches!(template, "/nodes/{node}/qemu" | "/nodes/{node}/lxc");
        let is_change =
            self.method != Method::Delete && self.path_guest().is_some() && template.ends_with("/{vmid}/config");
        let Some(node) = self.operation.path_value("node").filter(|_| is_creation || is_change) else {
            return Vec::new();
        };
        let mut notes = self.find_absent_bridges(node, reader, earlier);
        notes.extend(self.find_excess_memory(node, reader));
        notes
    }

    fn find_absent_bridges(&self, node: &str, reader: &ObjectReader<'_>, earlier: EarlierCalls<'_, '_>) -> Vec<String> {
        let cards = self.params.iter().filter(|(name, _)| is_network_card(name));
        let mut wanted: Vec<&str> = cards.filter_map(|(_, card)| find_part(card, "bridge")).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|bridge| !earlier.names_interface(bridge));
        if wanted.is_empty() {
            return Vec::new();
        }
        let Ok(path) = ApiPath::from_segments(&["nodes", node, "network"]) else { return Vec::new() };
        let mut only_bridges = ApiParams::new();
        // (PVE: the list has the virtual networks too, and leaves out what the token may not use.)
        only_bridges.push("type", "any_bridge");
        let rows: Vec<Map<String, Value>> = reader.read(path, only_bridges).unwrap_or_default();
        let is_there = |bridge: &&str| rows.iter().any(|row| text_of(row, "iface") == *bridge);
        let absent = wanted.iter().filter(|bridge| !rows.is_empty() && !is_there(bridge));
        let (node, seen) = (quote_word(node), "that the API token sees");
        absent.map(|bridge| format!("node {node} has no bridge {} {seen}", quote_word(bridge))).collect()
    }

    fn find_excess_memory(&self, node: &str, reader: &ObjectReader<'_>) -> Option<String> {
        let memory = self.param("memory")?;
        let wanted: u64 = find_part(memory, "current").unwrap_or(memory).parse().ok()?;
        let path = ApiPath::from_segments(&["nodes", node, "status"]).ok()?;
        let status: Map<String, Value> = reader.read_value(path).ok()?;
        let total = status.get("memory")?.get("total").and_then(read_count)?;
        // (PVE: the option is in MiB.)
        let is_more = wanted.checked_mul(1 << 20).is_none_or(|wanted| wanted > total);
        let mut has = String::new();
        push_byte_size(&mut has, total as f64);
        is_more.then(|| format!("node {} has {has} of memory, and the guest gets more ({wanted}MiB)", quote_word(node)))
    }
}
