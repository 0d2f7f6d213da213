//! `search_api`: from an administrator's words to operations.

use super::desk::Desk;
use crate::mcp::args::{Args, Kind, Param};
use crate::mcp::catalog::{Effect, Input, Output, Stop, Tool};
use crate::mcp::context::Context;
use crate::pve::manager::ClusterManager;
use std::fmt::Write;
use std::sync::Arc;

/// Operations shown where nobody says how many.
const SHOWN: u64 = 8;

/// The most that are shown.
const MOST: u64 = 50;

/// Required parameters that are named.
const NAMED: usize = 12;

/// The tool `search_api(query, limit?, cluster?)`.
pub fn search_api(desk: Arc<Desk>) -> Tool {
    Tool {
        name: "search_api",
        title: "Search the API",
        description: "Finds operations of the Proxmox VE API by plain words, such as \"snapshot a vm\" or \"who may log \
            in\": METHOD path — what it does, what it needs, its risk. Then describe_api for the parameters.",
        input: Input::Params(&[
            Param { name: "query", kind: Kind::Text, required: true, about: "plain words, or a part of a path" },
            Param { name: "limit", kind: Kind::Count, required: false, about: "default: 8" },
            Param { name: "cluster", kind: Kind::Text, required: false, about: "whose version of the API" },
        ]),
        effect: Effect::Reads,
        run: Box::new(move |context, args| {
            desk.serve(context, "search_api", &|visit| run(visit.manager, context, args))
        }),
    }
}

fn run(manager: &ClusterManager, context: &Context<'_>, args: &Args) -> Result<Output, Stop> {
    let schema = manager.select_any(args.text("cluster"))?.schema(&context.cancel);
    let limit = args.count("limit").unwrap_or(SHOWN).clamp(1, MOST);
    let found = schema.search(args.text("query").unwrap_or_default(), limit as usize);
    if found.is_empty() {
        return Ok(Output::text(
            "No operation fits these words. Try others (what is it about: vm, container, storage, backup, user, \
             firewall, …), or describe_api with path / to walk down from the top."
                .into(),
        ));
    }
    let mut text = String::new();
    for operation in found {
        let summary = match operation.summary() {
            "" => operation.description(),
            summary => summary,
        };
        let summary: String = summary.chars().take(100).collect();
        let _ = write!(text, "{} {} — {summary}\n  ", operation.method(), operation.template());
        let path = |name: &str| operation.in_path(name);
        let required: Vec<&str> = operation.parameters().filter(|p| p.required()).map(|p| p.name()).collect();
        let required: Vec<&str> = required.into_iter().filter(|name| !path(name)).take(NAMED).collect();
        if !required.is_empty() {
            let _ = write!(text, "requires {}; ", required.join(", "));
        }
        if !operation.privileges().is_empty() {
            let _ = write!(text, "needs {}; ", operation.privileges());
        }
        let _ = writeln!(text, "{}", operation.risk());
    }
    Ok(Output::text(text))
}
