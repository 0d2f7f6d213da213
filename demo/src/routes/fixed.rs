//! Operations whose answer never changes, as text: `fixed.txt` is smaller than a row of a table for each.
//!
//! A line has who may call it, `P` where the privileged daemon does it, the path, and the answer: JSON (with `{node}`
//! filled in), `=key name name` for a directory, or `!why` for a refusal.

use super::super::agent;
use super::super::api::{Answer, Call, failed};
use super::super::value::json;
use super::super::world::World;
use super::{ANYONE, Access, GUEST, HERE, Route, Run, VM_AUDIT};
use Access::{Any, Need};
use serde_json::Value;

/// The operation of that path; all of them are read with GET.
pub(super) fn routes() -> impl Iterator<Item = Route> {
    include_str!("fixed.txt").lines().filter_map(route)
}

fn route(line: &'static str) -> Option<Route> {
    let (flags, rest) = line.split_once(' ')?;
    let (path, answer) = rest.split_once(' ')?;
    let access = match flags.chars().next()? {
        '/' => Need("/", "Sys.Audit"),
        'm' => Need("/", "Sys.Modify"),
        'n' => Need("/nodes/{node}", "Sys.Audit"),
        'v' => VM_AUDIT,
        'd' => Need("/storage", "Datastore.Allocate"),
        's' => Need("/sdn", "SDN.Audit"),
        'c' => Any("/", &["Sys.Audit", "Datastore.Audit"]),
        'g' => Any("/vms/{vmid}", &["VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"]),
        'o' => Any("/mapping/notifications", &["Mapping.Modify", "Mapping.Audit", "Mapping.Use"]),
        _ => ANYONE,
    };
    let params: &[&[_]] = if path.contains("{vmid}") {
        &[GUEST]
    } else if path.contains("{node}") {
        &[HERE]
    } else {
        &[]
    };
    Some(Route { method: "GET", path, daemon: flags.ends_with('P'), access, params, run: Run::Text(answer) })
}

/// What a line answers.
pub(in super::super) fn answer(world: &World, call: &Call<'_>, path: &str, text: &str) -> Answer {
    if path.contains("/agent/") {
        agent::agent(world, call)?;
    } else if path.contains("{vmid}") {
        world.guest(call.text("node"), call.lxc, call.vmid())?;
    }
    if let Some(why) = text.strip_prefix('!') {
        return failed(why);
    }
    if let Some(directory) = text.strip_prefix('=') {
        let mut names = directory.split(' ');
        let key = names.next().unwrap_or_default();
        return Ok(names.map(|name| json!({key: name})).collect());
    }
    Ok(serde_json::from_str(&text.replace("{node}", call.text("node"))).unwrap_or(Value::Null))
}

#[cfg(test)]
mod tests {
    use super::super::Run;
    use super::{route, routes};
    use serde_json::Value;

    #[test]
    fn every_line_is_an_operation_with_an_answer() {
        assert_eq!(routes().count(), include_str!("fixed.txt").lines().count());
        for line in include_str!("fixed.txt").lines() {
            let Some(Run::Text(text)) = route(line).map(|r| r.run) else { panic!("{line}") };
            let good = text.starts_with(['=', '!']) || serde_json::from_str::<Value>(text).is_ok();
            assert!(good, "{line}");
        }
    }
}
