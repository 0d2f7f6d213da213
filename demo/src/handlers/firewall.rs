//! The firewall rules of guests.

use super::directory::directory_rows;
use crate::error::{ApiResult, parameter_error};
use crate::invocation::Invocation;
use crate::state::ClusterState;
use serde_json::{Value, json};

/// Members of a rule that a caller can set.
#[rustfmt::skip]
const RULE_MEMBERS: &[&str] = &[
    "type", "action", "enable", "macro", "source", "dest", "proto", "dport", "sport", "iface", "log", "icmp-type",
    "comment",
];
/// The digest of every rule.
const DIGEST: &str = "0f1c9a5f3a1e7b4d6c2b8e9fa7d3c5b1e2f4a6d8";

fn rule_row(position: usize, rule: &Value) -> Value {
    let mut row = rule.clone();
    row["pos"] = position.into();
    row["digest"] = DIGEST.into();
    row
}

/// Returns the rules of the guest in the path.
fn guest_rules<'a>(state: &'a mut ClusterState, call: &Invocation<'_>) -> ApiResult<&'a mut Vec<Value>> {
    call.guest(state)?;
    Ok(state.firewall_rules.entry(call.vmid()).or_default())
}

/// Returns the position in the path, if there is a rule.
fn existing_position(rules: &[Value], call: &Invocation<'_>) -> ApiResult<usize> {
    match call.count("pos").expect("a position in the path") {
        position if position < rules.len() => Ok(position),
        position => parameter_error("pos", format!("no rule at position {position}")),
    }
}

/// Sets the members of a rule that the call has.
fn set_members(rule: &mut Value, call: &Invocation<'_>) {
    for member in RULE_MEMBERS {
        if let Some(value) = call.params.get(*member) {
            rule[*member] = value.clone();
        }
    }
}

/// GET …/firewall
pub(crate) fn list_directory(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    Ok(directory_rows("name", &["aliases", "ipset", "log", "options", "refs", "rules"]))
}

/// GET …/firewall/aliases and …/firewall/ipset
pub(crate) fn list_nothing(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    Ok(json!([]))
}

/// GET …/firewall/log
pub(crate) fn read_log(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    Ok(json!([{"n": 1, "t": "no content"}]))
}

/// GET …/firewall/options
pub(crate) fn read_options(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    Ok(json!({"enable": 1, "dhcp": 1, "macfilter": 1, "policy_in": "DROP", "policy_out": "ACCEPT", "digest": DIGEST}))
}

/// GET …/firewall/rules
pub(crate) fn list_rules(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    Ok(guest_rules(state, call)?.iter().enumerate().map(|(position, rule)| rule_row(position, rule)).collect())
}

/// GET …/firewall/rules/{pos}
pub(crate) fn read_rule(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let rules = guest_rules(state, call)?;
    let position = existing_position(rules, call)?;
    Ok(rule_row(position, &rules[position]))
}

/// POST …/firewall/rules: by default, a new rule is the first one and disabled.
pub(crate) fn create_rule(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let mut rule = json!({"enable": 0});
    set_members(&mut rule, call);
    let rules = guest_rules(state, call)?;
    let position = call.count("pos").unwrap_or(0).min(rules.len());
    rules.insert(position, rule);
    Ok(Value::Null)
}

/// PUT …/firewall/rules/{pos}
pub(crate) fn update_rule(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let rules = guest_rules(state, call)?;
    let position = existing_position(rules, call)?;
    if let Some(target) = call.count("moveto") {
        let rule = rules.remove(position);
        rules.insert(target.min(rules.len()), rule);
        return Ok(Value::Null);
    }
    let rule = &mut rules[position];
    rule.as_object_mut().expect("a rule is an object").retain(|member, _| call.list("delete").all(|d| d != member));
    set_members(rule, call);
    Ok(Value::Null)
}

/// DELETE …/firewall/rules/{pos}
pub(crate) fn delete_rule(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let rules = guest_rules(state, call)?;
    let position = existing_position(rules, call)?;
    rules.remove(position);
    Ok(Value::Null)
}
