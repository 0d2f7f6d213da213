//! The reasons for which a change of the firewall has no effect yet: another level of it is off.

use super::earlier_calls::EarlierCalls;
use super::planned_call::PlannedCall;
use super::present_state::ObjectReader;
use crate::pve::Method;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::property_string::{is_network_card, is_under_firewall};
use crate::pve::rows::is_true;
use crate::render::object_state::to_text;
use serde_json::{Map, Value};

/// The reason why a new rule without `enable` has no effect.
pub(super) const OFF_BY_DEFAULT: &str = "no effect yet: a new rule is off by default (enable=1 turns it on)";

/// The options of an object, or `None` if they can't be read.
type ReadOptions<'r> = dyn Fn(&ApiPath) -> Option<Map<String, Value>> + 'r;

/// The levels of the firewall above a change.
pub(super) struct FirewallLevels<'r> {
    read: &'r ReadOptions<'r>,
}

impl PlannedCall<'_> {
    /// Returns the reasons for which a change of the firewall, or a network card under it, has no effect after the earlier
    /// calls, in sentences without their ends.
    pub(super) fn find_missing_effect(&self, reader: &ObjectReader<'_>, earlier: EarlierCalls<'_, '_>) -> Vec<String> {
        if !self.is_change() || !self.operation.is_known {
            return Vec::new();
        }
        let read = |path: &ApiPath| {
            let mut options = reader.read_before(path.clone()).ok()?;
            earlier.apply_to_options(path, &mut options);
            Some(options)
        };
        let levels = FirewallLevels::new(&read);
        match self.path_guest().filter(|_| self.path.as_str().ends_with("/config")) {
            Some(guest) if self.begins_firewall(&read) => {
                let own = guest.path(&["firewall", "options"]);
                levels.check_data_center().or_else(|| levels.check_option(own.as_str())).into_iter().collect()
            }
            Some(_) => Vec::new(),
            None => {
                let default = self.is_new_rule_off().then(|| OFF_BY_DEFAULT.to_owned());
                default.into_iter().chain(levels.find_missing_effect(&self.path, &self.params)).collect()
            }
        }
    }

    /// Returns whether the call adds a firewall rule without saying that it is on. (PVE: such a rule is off.)
    fn is_new_rule_off(&self) -> bool {
        let template = self.operation.template.as_deref().unwrap_or_default();
        let is_list = template.ends_with("/firewall/rules") || template == "/cluster/firewall/groups/{group}";
        self.method == Method::Post && is_list && self.param("enable").is_none()
    }

    /// Returns whether the call brings a network card of a guest under the firewall.
    fn begins_firewall(&self, read: &ReadOptions<'_>) -> bool {
        let is_begun = |(name, card): &(&str, &str)| is_network_card(name) && is_under_firewall(card);
        let mut cards = self.params.iter().filter(is_begun).peekable();
        let Some(now) = cards.peek().and_then(|_| read(&self.path)) else { return false };
        cards.any(|(name, _)| !now.get(name).is_some_and(|card| is_under_firewall(&to_text(card))))
    }
}

impl<'r> FirewallLevels<'r> {
    pub(super) fn new(read: &'r ReadOptions<'r>) -> Self {
        Self { read }
    }

    /// Returns the reasons for which a change of rules or options at a path has no effect.
    pub(super) fn find_missing_effect(&self, path: &ApiPath, params: &ApiParams) -> Vec<String> {
        let text = path.as_str();
        let Some((owner, part)) = text.split_once("/firewall") else { return Vec::new() };
        let enable = params.get("enable");
        let is_rule = part.starts_with("/rules") || part.starts_with("/groups/");
        let turns_on = part == "/options" && enable.is_some();
        if enable == Some("0") || !(is_rule || turns_on) {
            return Vec::new();
        }
        let mut reasons = Vec::new();
        if text != "/cluster/firewall/options" {
            reasons.extend(self.check_data_center());
        }
        if owner.starts_with("/nodes/") {
            if is_rule {
                reasons.extend(self.check_option(&format!("{owner}/firewall/options")));
            }
            if owner.contains("/qemu/") || owner.contains("/lxc/") {
                reasons.extend(self.check_cards(owner));
            }
        }
        reasons
    }

    pub(super) fn check_data_center(&self) -> Option<String> {
        self.check_option("/cluster/firewall/options")
    }

    /// Returns a reason if the firewall is off by these options.
    fn check_option(&self, path: &str) -> Option<String> {
        let (path, _) = ApiPath::parse(path).ok()?;
        let options = (self.read)(&path)?;
        let is_off = !is_firewall_on(&options, path.segments().count() == 4);
        let of = if path.as_str().starts_with("/cluster") { " of the data center" } else { "" };
        is_off.then(|| format!("no effect yet: the firewall{of} is off (PUT {path} with enable=1 turns it on)"))
    }

    fn check_cards(&self, guest: &str) -> Option<String> {
        let (path, _) = ApiPath::parse(&format!("{guest}/config")).ok()?;
        let config = (self.read)(&path)?;
        let mut cards = config.iter().filter(|(name, _)| is_network_card(name)).peekable();
        let has_cards = cards.peek().is_some();
        (has_cards && !cards.any(|(_, card)| is_under_firewall(&to_text(card))))
            .then(|| "no effect yet: no network card of the guest has firewall=1".to_owned())
    }
}

/// Returns whether a firewall is on by its options. (PVE: that of a node is on by default, the others are off.)
pub(super) fn is_firewall_on(options: &Map<String, Value>, is_node: bool) -> bool {
    options.get("enable").map_or(is_node, is_true)
}
