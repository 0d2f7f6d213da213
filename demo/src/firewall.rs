//! The firewall rules of guests.

use super::api::{Answer, Call, Fault, bad};
use super::value::{json, put, set};
use super::world::World;
use serde_json::{Map, Value};

/// What a rule is made of.
const FIELDS: &[&str] = &[
    "type",
    "action",
    "enable",
    "macro",
    "source",
    "dest",
    "proto",
    "dport",
    "sport",
    "iface",
    "log",
    "icmp-type",
    "comment",
];
const DIGEST: &str = "0f1c9a5f3a1e7b4d6c2b8e9fa7d3c5b1e2f4a6d8";

/// What a web server has to begin with.
pub(super) fn web() -> Vec<Value> {
    let rule = |what: &str, source: Option<&str>| {
        let mut rule = json!({"type": "in", "action": "ACCEPT", "enable": 1, "macro": what});
        if let Some(source) = source {
            set(&mut rule, "source", source.into());
        }
        rule
    };
    vec![rule("HTTP", None), rule("HTTPS", None), rule("SSH", Some("192.0.2.0/24"))]
}

fn row(pos: usize, rule: &Value) -> Value {
    let mut row = rule.clone();
    set(&mut row, "pos", pos.into());
    set(&mut row, "digest", DIGEST.into());
    row
}

/// The guest's rules, to be changed.
fn rules<'a>(world: &'a mut World, call: &Call<'_>) -> Result<&'a mut Vec<Value>, Fault> {
    world.guest(call.text("node"), call.lxc, call.vmid())?;
    Ok(world.rules.entry(call.vmid()).or_default())
}

/// The place of the rule that the path names.
fn place(rules: &[Value], call: &Call<'_>) -> Result<usize, Fault> {
    let pos = call.int("pos").and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    if pos < rules.len() {
        Ok(pos)
    } else {
        bad("pos", format!("no rule at position {}", call.int("pos").unwrap_or(0)))
    }
}

fn given(call: &Call<'_>) -> Map<String, Value> {
    let mut rule = Map::new();
    for field in FIELDS {
        if let Some(value) = call.params.get(*field) {
            put(&mut rule, field, value.clone());
        }
    }
    rule
}

/// GET …/firewall/rules.
pub(super) fn list(world: &mut World, call: &Call<'_>) -> Answer {
    Ok(rules(world, call)?.iter().enumerate().map(|(pos, rule)| row(pos, rule)).collect())
}

/// GET …/firewall/rules/{pos}.
pub(super) fn get(world: &mut World, call: &Call<'_>) -> Answer {
    let rules = rules(world, call)?;
    let pos = place(rules, call)?;
    Ok(rules.get(pos).map_or(Value::Null, |rule| row(pos, rule)))
}

/// POST …/firewall/rules: a new rule comes first, and without `enable` it is off.
pub(super) fn add(world: &mut World, call: &Call<'_>) -> Answer {
    let mut rule = given(call);
    rule.entry("enable").or_insert(0.into());
    let rules = rules(world, call)?;
    let pos = call.int("pos").and_then(|n| usize::try_from(n).ok()).unwrap_or(0).min(rules.len());
    rules.insert(pos, rule.into());
    Ok(Value::Null)
}

/// PUT …/firewall/rules/{pos}.
pub(super) fn update(world: &mut World, call: &Call<'_>) -> Answer {
    let rules = rules(world, call)?;
    let pos = place(rules, call)?;
    let mut rule = rules.remove(pos);
    if let Some(to) = call.int("moveto").and_then(|n| usize::try_from(n).ok()) {
        rules.insert(to.min(rules.len()), rule);
        return Ok(Value::Null);
    }
    if let Some(rule) = rule.as_object_mut() {
        rule.retain(|key, _| !call.list("delete").any(|d| d == key));
        rule.extend(given(call));
    }
    rules.insert(pos, rule);
    Ok(Value::Null)
}

/// DELETE …/firewall/rules/{pos}.
pub(super) fn remove(world: &mut World, call: &Call<'_>) -> Answer {
    let rules = rules(world, call)?;
    let pos = place(rules, call)?;
    rules.remove(pos);
    Ok(Value::Null)
}
