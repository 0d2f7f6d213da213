//! The rules of the HA manager for the place of a guest that a call moves. What can't be read is left out.

use super::planned_call::PlannedCall;
use super::present_state::ObjectReader;
use crate::base::list_text::list_items;
use crate::pve::Method;
use crate::pve::guests::GuestKind;
use crate::pve::path::ApiPath;
use crate::pve::rows::is_true;
use crate::render::object_state::{quote_word, text_of};
use serde_json::{Map, Value};

/// A guest that a call moves, and that the HA manager may manage.
struct MovedGuest<'c> {
    /// The path of its HA resource.
    resource: ApiPath,
    vmid: String,
    target: &'c str,
}

/// The nodes on which HA wants a guest, by a rule or a group.
struct NodePreference<'r> {
    /// The rule or group in words.
    name: String,
    /// Each with its priority, such as `pve1:2`.
    nodes: &'r str,
    is_strict: bool,
    fails_back: bool,
}

impl PlannedCall<'_> {
    /// Describes what the rules of HA mean for a guest that the call moves, in sentences without their ends.
    pub(super) fn describe_placement(&self, reader: &ObjectReader<'_>) -> Vec<String> {
        let Some(guest) = self.find_moved_guest() else { return Vec::new() };
        let Ok(resource) = reader.read_value::<Map<String, Value>>(guest.resource) else { return Vec::new() };
        let group = text_of(&resource, "group");
        if !group.is_empty() {
            let read = ApiPath::from_segments(&["cluster", "ha", "groups", group]).ok();
            let options: Option<Map<String, Value>> = read.and_then(|path| reader.read_value(path).ok());
            let preference = options.as_ref().map(|options| NodePreference {
                name: format!("group {}", quote_word(group)),
                nodes: text_of(options, "nodes"),
                is_strict: options.get("restricted").is_some_and(is_true),
                fails_back: !options.get("nofailback").is_some_and(is_true),
            });
            return preference.and_then(|preference| preference.describe(guest.target)).into_iter().collect();
        }
        let rules: Vec<Map<String, Value>> =
            reader.read_value(ApiPath::from_static("/cluster/ha/rules")).unwrap_or_default();
        let is_own = |rule: &&Map<String, Value>| {
            let is_off = rule.get("disable").is_some_and(is_true);
            !is_off && list_items(text_of(rule, "resources")).any(|one| number_of(one) == guest.vmid)
        };
        // (PVE: a resource fails back by default.)
        let fails_back = resource.get("failback").is_none_or(is_true);
        let describe = |rule: &Map<String, Value>| {
            let name = format!("rule {}", quote_word(text_of(rule, "rule")));
            if text_of(rule, "type") == "node-affinity" {
                let is_strict = rule.get("strict").is_some_and(is_true);
                let nodes = text_of(rule, "nodes");
                return NodePreference { name, nodes, is_strict, fails_back }.describe(guest.target);
            }
            let others = list_items(text_of(rule, "resources")).filter(|one| number_of(one) != guest.vmid);
            let others: Vec<String> = others.map(quote_word).collect();
            let word = if text_of(rule, "affinity") == "negative" { "apart from" } else { "together with" };
            Some(format!("HA {name} keeps it {word} {}", others.join(", ")))
        };
        rules.iter().filter(is_own).filter_map(describe).collect()
    }

    /// Returns the guest that the call moves alone.
    fn find_moved_guest(&self) -> Option<MovedGuest<'_>> {
        let template = self.operation.template.as_deref().filter(|_| self.operation.is_known)?;
        if self.method != Method::Post {
            return None;
        }
        if let Some(guest) = self.path_guest().filter(|_| template.ends_with("/{vmid}/migrate")) {
            let kind = if guest.kind == GuestKind::Qemu { "vm" } else { "ct" };
            let sid = format!("{kind}:{}", guest.vmid);
            let resource = ApiPath::from_segments(&["cluster", "ha", "resources", &sid]).ok()?;
            return Some(MovedGuest { resource, vmid: guest.vmid, target: self.param("target")? });
        }
        let action = template.strip_prefix("/cluster/ha/resources/{sid}/")?;
        let sid = self.operation.path_value("sid")?;
        matches!(action, "migrate" | "relocate").then_some(())?;
        let resource = ApiPath::from_segments(&["cluster", "ha", "resources", sid]).ok()?;
        Some(MovedGuest { resource, vmid: number_of(sid).to_owned(), target: self.param("node")? })
    }
}

impl NodePreference<'_> {
    /// Describes the preference, unless it is for the target of a move.
    fn describe(&self, target: &str) -> Option<String> {
        let nodes: Vec<(&str, u32)> = list_items(self.nodes).map(parse_priority).collect();
        let highest = nodes.iter().map(|(_, priority)| *priority).max()?;
        let preferred: Vec<&str> =
            nodes.iter().filter(|(_, priority)| *priority == highest).map(|(node, _)| *node).collect();
        if preferred.contains(&target) {
            return None;
        }
        let join = |nodes: &[&str]| nodes.iter().map(|node| quote_word(node)).collect::<Vec<_>>().join(", ");
        let is_listed = nodes.iter().any(|(node, _)| *node == target);
        let name = &self.name;
        Some(match (self.is_strict && !is_listed, self.fails_back) {
            (true, _) => {
                let allowed: Vec<&str> = nodes.iter().map(|(node, _)| *node).collect();
                format!(
                    "HA {name} allows it only on {}, so HA does not keep it on {}",
                    join(&allowed),
                    quote_word(target)
                )
            }
            (false, true) => format!("HA {name} prefers {}, so HA moves it back there", join(&preferred)),
            (false, false) => {
                format!("HA {name} prefers {}, and without failback HA leaves it where it is", join(&preferred))
            }
        })
    }
}

/// Returns the number in the id of an HA resource.
fn number_of(sid: &str) -> &str {
    sid.split_once(':').map_or(sid, |(_, vmid)| vmid)
}

/// Parses `pve1:2` into the node and its priority. (PVE: 0 by default.)
fn parse_priority(item: &str) -> (&str, u32) {
    match item.split_once(':') {
        Some((node, priority)) => (node, priority.parse().unwrap_or(0)),
        None => (item, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_says_where_a_moved_guest_ends() {
        for (nodes, is_strict, fails_back, expected) in [
            ("a", false, true, Some("HA rule r prefers a, so HA moves it back there")),
            ("a:2,b:1,c", true, true, Some("HA rule r prefers a, so HA moves it back there")),
            ("a", false, false, Some("HA rule r prefers a, and without failback HA leaves it where it is")),
            ("a,c:1", true, false, Some("HA rule r allows it only on a, c, so HA does not keep it on b")),
            ("a,b", false, true, None),
            ("b:1,a", true, true, None),
            ("", false, true, None),
        ] {
            let preference = NodePreference { name: "rule r".to_owned(), nodes, is_strict, fails_back };
            assert_eq!(preference.describe("b").as_deref(), expected, "{nodes}");
        }
    }
}
