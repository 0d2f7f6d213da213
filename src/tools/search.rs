//! `search_api`: from an administrator's words to operations.

use crate::base::hint::render_error;
use crate::call::state::ToolState;
use crate::mcp::arguments::{ParameterKind, ToolArguments, ToolParameter};
use crate::mcp::catalog::{Tool, ToolEffect, ToolError, ToolInput, ToolOutput};
use crate::mcp::context::CallContext;
use crate::pve::client::manager::ClusterManager;
use std::fmt::Write;
use std::sync::Arc;

/// Operations shown where nobody says how many.
const DEFAULT_LIMIT: u64 = 8;

/// The most that are shown.
const MAX_LIMIT: u64 = 50;

/// Required parameters that are named.
const MAX_REQUIRED_NAMES: usize = 12;

/// The tool `search_api(query, limit?, cluster?)`.
pub fn search_api(state: Arc<ToolState>) -> Tool {
    Tool {
        name: "search_api",
        title: "Search the API",
        description: "Finds operations of the Proxmox VE API by plain words, such as \"snapshot a vm\" or \"who may log \
            in\": METHOD path — what it does, what it needs, its risk. Then describe_api for the parameters.",
        input: ToolInput::Parameters(&[
            ToolParameter {
                name: "query",
                kind: ParameterKind::Text,
                required: true,
                description: "plain words, or a part of a path",
            },
            ToolParameter { name: "limit", kind: ParameterKind::Count, required: false, description: "default: 8" },
            ToolParameter {
                name: "cluster",
                kind: ParameterKind::Text,
                required: false,
                description: "whose version of the API",
            },
        ]),
        effect: ToolEffect::ReadOnly,
        handler: Box::new(move |context, args| {
            state.run_call(context, "search_api", &|call| handle_search(call.manager, context, args))
        }),
    }
}

fn handle_search(
    manager: &ClusterManager,
    context: &CallContext<'_>,
    args: &ToolArguments,
) -> Result<ToolOutput, ToolError> {
    let schema =
        manager.select_any(args.text("cluster")).map_err(|error| render_error(&error))?.schema(&context.cancel);
    let limit = args.count("limit").unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let found = schema.search(args.text("query").unwrap_or_default(), limit as usize);
    if found.is_empty() {
        return Ok(ToolOutput::text(
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
        let path = |name: &str| operation.is_path_parameter(name);
        let required: Vec<&str> = operation.parameters().filter(|p| p.is_required()).map(|p| p.name()).collect();
        let required: Vec<&str> = required.into_iter().filter(|name| !path(name)).take(MAX_REQUIRED_NAMES).collect();
        if !required.is_empty() {
            let _ = write!(text, "requires {}; ", required.join(", "));
        }
        if !operation.privileges().is_empty() {
            let _ = write!(text, "needs {}; ", operation.privileges());
        }
        let _ = writeln!(text, "{}", operation.risk());
    }
    Ok(ToolOutput::text(text))
}
