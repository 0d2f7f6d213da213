//! `search_api`: from an administrator's words to operations.

use super::definition::{OutputTrust, ToolCall, ToolDefinition, ToolLoading, mark_untrusted};
use super::parameters::{SCHEMA_CLUSTER, optional, required};
use crate::mcp::arguments::ParameterKind;
use crate::mcp::catalog::{ToolEffect, ToolError, ToolOutput};
use crate::pve::schema::Schema;
use crate::render::operation::render_search;

const DEFAULT_LIMIT: u64 = 6;
const MAX_LIMIT: u64 = 50;

/// `search_api(query, limit?, cluster?)`.
pub(super) const SEARCH_API: ToolDefinition = ToolDefinition {
    name: "search_api",
    title: "Search the API",
    description: "Finds operations of the Proxmox VE API by plain words, such as \"snapshot a vm\" or \"who may log in\": \
        METHOD path — what it does, what it needs, its risk. Then describe_api for the parameters.",
    parameters: &[
        required("query", ParameterKind::Words, "plain words, or a part of a path"),
        optional("limit", ParameterKind::Count, "default: 6"),
        SCHEMA_CLUSTER,
    ],
    effect: ToolEffect::ReadOnly,
    trust: OutputTrust::Trusted,
    loading: ToolLoading::Always,
    is_paged: false,
    handler: search_api,
};

fn search_api(call: &ToolCall<'_>) -> Result<ToolOutput, ToolError> {
    let schema = call.scope.select_any(call.args.text("cluster"))?.schema();
    let limit = call.args.count("limit").filter(|limit| *limit > 0).unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let query = call.args.text("query").expect("a required parameter");
    let note = Schema::find_search_note(query);
    let found = schema.search_groups(query, limit as usize);
    let mut output = ToolOutput::text(render_search(&schema, note, &found));
    // An operation without a summary of this program has the description of the cluster.
    if found.iter().flatten().any(|operation| operation.summary().is_empty()) {
        mark_untrusted(&mut output);
    }
    Ok(output)
}
