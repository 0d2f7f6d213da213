//! `describe_api`: the parameters, privileges, risk and answer of an operation.

use super::definition::{OutputTrust, ToolCall, ToolDefinition, ToolLoading};
use super::parameters::{SCHEMA_CLUSTER, optional, required};
use crate::base::hint::render_error;
use crate::base::shorten::join_names;
use crate::call::{PlanError, expand_shorthand, find_operation, find_path, parse_path, split_leading_method};
use crate::mcp::arguments::ParameterKind;
use crate::mcp::catalog::{ToolEffect, ToolError, ToolOutput};
use crate::pve::Method;
use crate::pve::schema::Operation;
use crate::render::operation::describe;

/// `describe_api(path, method?, parameter?, cluster?)`.
pub(super) const DESCRIBE_API: ToolDefinition = ToolDefinition {
    name: "describe_api",
    title: "Describe an API operation",
    description: "What an operation of the Proxmox VE API takes and needs: parameters with types and limits, privileges, \
        risk, what it answers. Takes a template (/nodes/{node}/qemu) or a concrete path. With `parameter`: all about that one, \
        such as the keys of net0.",
    parameters: &[
        required("path", ParameterKind::Name, "/nodes/{node}/qemu/{vmid}/config or /nodes/pve1/qemu/100/config"),
        optional(
            "method",
            ParameterKind::Choice(&["GET", "POST", "PUT", "DELETE"]),
            "default: every method the path has, in short",
        ),
        optional("parameter", ParameterKind::Name, "one parameter, in full"),
        SCHEMA_CLUSTER,
    ],
    effect: ToolEffect::ReadOnly,
    trust: OutputTrust::Untrusted,
    loading: ToolLoading::OnDemand { search_hint: "parameters privileges options of a Proxmox API path schema docs" },
    is_paged: false,
    handler: describe_api,
};

fn describe_api(call: &ToolCall<'_>) -> Result<ToolOutput, ToolError> {
    let schema = call.scope.select_any(call.args.text("cluster"))?.schema();
    let (leading, typed) = split_leading_method(call.args.text("path").expect("a required parameter"));
    let path = parse_path(typed).and_then(|(path, _)| expand_shorthand(&path)).map_err(description_failed)?;
    let segments: Vec<_> = path.segments().collect();
    if let Err(mismatch) = schema.match_path(&segments)
        && mismatch.matched_segments == segments.len()
    {
        let children = join_names(&mismatch.alternatives);
        return Ok(ToolOutput::text(format!("{path} has no operation of its own; below it are {children}")));
    }
    let found = find_path(&schema, &path).map_err(description_failed)?;
    let method = call.args.text("method").and_then(Method::from_name).or(leading);
    let operations: Vec<Operation<'_>> = match method {
        Some(method) => vec![find_operation(&found, &path, method).map_err(description_failed)?],
        None => found.operations().collect(),
    };
    let text = describe(&schema, &found, &operations, call.args.text("parameter"));
    Ok(ToolOutput::text(text.map_err(|error| ToolError::Failed(render_error(&error)))?))
}

/// Returns the error of a description, for which nothing is sent in any case.
fn description_failed(error: PlanError) -> ToolError {
    ToolError::Failed(render_error(&error))
}
