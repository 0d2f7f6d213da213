//! The methods that both eras share: lists, tools, resources, prompts, completion. What an era adds to a result is
//! `McpServer::result_tail`'s.

use super::catalog::{
    Catalog, CompletionHandler, InputRequired, Prompt, Resource, ResourceTemplate, ToolError, ToolOutput,
};
use super::content::{Content, ResourceContents};
use super::context::{CallContext, LOG_LEVELS};
use super::message::{INTERNAL_ERROR, INVALID_PARAMS, RESOURCE_NOT_FOUND, RpcError, push_json_string};
use super::{ProtocolEra, RequestContext, call_span, modern};
use crate::sanitize::escape_invisible;
use serde_json::{Map, Value, json};
use std::cell::Cell;

/// The server keeps no connection to ask a client of the older eras on.
const INPUT_NOT_SUPPORTED: &str = "this has to ask the user first, which needs a client that speaks MCP 2026-07-28";

/// Answers a method of a capability that the catalog has; `None` for any other.
pub(super) fn dispatch(request_context: &RequestContext<'_>) -> Option<Result<Vec<u8>, RpcError>> {
    let RequestContext { server, era, request, params, .. } = *request_context;
    let Catalog { resources, templates, prompts, completion: complete, .. } = &server.catalog;
    let has_resources = !resources.is_empty() || !templates.is_empty();
    let list = |open: &[u8]| match params.cursor {
        // Lists are short enough for one page, so no cursor was ever given out.
        Some(_) => Err(RpcError::invalid_params("cursor is not valid: the list has one page")),
        None => Ok(request.encode_result(|out| {
            out.reserve(open.len() + 256);
            out.extend_from_slice(open);
            out.extend_from_slice(server.result_tail(era, true));
        })),
    };
    Some(match request.method.as_ref() {
        "tools/call" => call_tool(request_context),
        "tools/list" => list(&server.prebuilt_lists.tools),
        "resources/list" if has_resources => list(&server.prebuilt_lists.resources),
        "resources/templates/list" if has_resources => list(&server.prebuilt_lists.templates),
        "resources/read" if has_resources => read_resource(request_context),
        "prompts/list" if !prompts.is_empty() => list(&server.prebuilt_lists.prompts),
        "prompts/get" if !prompts.is_empty() => get_prompt(request_context),
        "completion/complete" => match complete {
            Some(complete) => complete_argument(request_context, complete),
            None => return None,
        },
        _ => return None,
    })
}

/// What the catalog has, as `initialize` announces it.
pub(super) fn capabilities(catalog: &Catalog) -> Value {
    let mut all = json!({"tools": {}});
    let offered = [
        ("resources", !catalog.resources.is_empty() || !catalog.templates.is_empty()),
        ("prompts", !catalog.prompts.is_empty()),
        ("completions", catalog.completion.is_some()),
        ("logging", catalog.logging),
    ];
    for (name, _) in offered.into_iter().filter(|(_, has)| *has) {
        all[name] = json!({});
    }
    all
}

pub(super) fn describe_resource(r: &Resource) -> Value {
    json!({"uri": r.uri, "name": r.name, "description": r.description, "mimeType": r.mime})
}

pub(super) fn describe_template(t: &ResourceTemplate) -> Value {
    json!({"uriTemplate": t.uri, "name": t.name, "description": t.description, "mimeType": t.mime})
}

pub(super) fn describe_prompt(p: &Prompt) -> Value {
    let arguments: Vec<_> = p
        .arguments
        .iter()
        .map(|(name, about, required)| json!({"name": name, "description": about, "required": required}))
        .collect();
    json!({"name": p.name, "description": p.description, "arguments": arguments})
}

fn call_tool(request_context: &RequestContext<'_>) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, era, request, params, span, .. } = *request_context;
    let name = params.name.as_deref().ok_or_else(|| RpcError::invalid_params("name is missing: the tool to call"))?;
    let found = server.tool_index(name).and_then(|number| Some((number, server.catalog.tools.get(number)?)));
    let Some((number, tool)) = found else {
        let names: Vec<_> = server.catalog.tools.iter().map(|t| t.name).collect();
        return Err(RpcError::invalid_params(format!("unknown tool {name:?}; tools: {}", names.join(", "))));
    };
    span.tool_index.set(number);
    let arguments = parse_object(params.arguments, "arguments")?;
    let context = build_call_context(request_context, name)?;
    let (output, failed) = match tool.call(&context, arguments) {
        Ok(output) => (output, false),
        Err(ToolError::Failed(text)) => (ToolOutput::text(text), true),
        Err(ToolError::InputRequired(_)) if era == ProtocolEra::Legacy => {
            (ToolOutput::text(INPUT_NOT_SUPPORTED.into()), true)
        }
        Err(stop) => return convert_tool_error(request_context, &context, stop),
    };
    span.failed.set(failed);
    // Of what is text, its writing as JSON takes care.
    let structured = output.structured.map(escape_invisible::escape_json);
    Ok(request.encode_result(|out| {
        let content: usize = output.content.iter().map(Content::estimate_size).sum();
        out.reserve(content + structured.as_ref().map_or(0, String::len) + 256);
        out.extend_from_slice(br#"{"content":"#);
        write_array(out, &output.content, |out, content| content.write(out));
        if let Some(structured) = &structured {
            out.extend_from_slice(br#","structuredContent":"#);
            let start = out.len();
            out.extend_from_slice(structured.as_bytes());
            replace_line_ends(out.get_mut(start..).unwrap_or_default());
        }
        if failed {
            out.extend_from_slice(br#","isError":true"#);
            return call_span::write_failed_tail(server, era, &span.id, out);
        }
        out.extend_from_slice(server.result_tail(era, false));
    }))
}

fn read_resource(request_context: &RequestContext<'_>) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, era, request, params, .. } = *request_context;
    let uri = params.uri.as_deref().ok_or_else(|| RpcError::invalid_params("uri is missing: the resource to read"))?;
    let context = build_call_context(request_context, uri)?;
    let read = match server.catalog.resources.iter().find(|r| r.uri == uri) {
        Some(resource) => (resource.handler)(&context, uri),
        None => server
            .catalog
            .templates
            .iter()
            .map(|t| (t.handler)(&context, uri))
            .find(|r| !matches!(r, Ok(None)))
            .unwrap_or(Ok(None)),
    };
    match read {
        Ok(Some(contents)) => Ok(request.encode_result(|out| {
            out.extend_from_slice(br#"{"contents":"#);
            write_array(out, &contents, |out, c: &ResourceContents| c.write(out));
            out.extend_from_slice(server.result_tail(era, true));
        })),
        Ok(None) => Err(RpcError {
            code: if era == ProtocolEra::Legacy { RESOURCE_NOT_FOUND } else { INVALID_PARAMS },
            message: format!("no resource {uri:?}; resources/list has those there are"),
            data: Some(json!({"uri": uri})),
        }),
        Err(stop) => convert_tool_error(request_context, &context, stop),
    }
}

fn get_prompt(request_context: &RequestContext<'_>) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, era, request, params, .. } = *request_context;
    let name = params.name.as_deref().ok_or_else(|| RpcError::invalid_params("name is missing: the prompt to get"))?;
    let Some(prompt) = server.catalog.prompts.iter().find(|p| p.name == name) else {
        let names: Vec<_> = server.catalog.prompts.iter().map(|p| p.name).collect();
        return Err(RpcError::invalid_params(format!("unknown prompt {name:?}; prompts: {}", names.join(", "))));
    };
    let arguments = parse_object(params.arguments, "arguments")?;
    let missing = prompt.arguments.iter().find(|(name, _, required)| *required && !arguments.contains_key(*name));
    if let Some((argument, about, _)) = missing {
        return Err(RpcError::invalid_params(format!("argument {argument} is missing: {about}")));
    }
    let context = build_call_context(request_context, name)?;
    match (prompt.handler)(&context, &arguments) {
        Ok(messages) => Ok(request.encode_result(|out| {
            out.extend_from_slice(br#"{"messages":"#);
            write_array(out, &messages, |out, (role, content)| {
                out.extend_from_slice(format!(r#"{{"role":"{role}","content":"#).as_bytes());
                content.write(out);
                out.push(b'}');
            });
            out.extend_from_slice(server.result_tail(era, false));
        })),
        Err(stop) => convert_tool_error(request_context, &context, stop),
    }
}

fn complete_argument(request_context: &RequestContext<'_>, complete: &CompletionHandler) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, era, request, params, .. } = *request_context;
    let reference = parse_object(params.reference, "ref")?;
    let argument = parse_object(params.argument, "argument")?;
    let [Some(name), Some(value)] = ["name", "value"].map(|key| argument.get(key).and_then(Value::as_str)) else {
        return Err(RpcError::invalid_params("argument must be {\"name\": …, \"value\": …}"));
    };
    let mut values = complete(&Value::Object(reference), name, value);
    let total = values.len();
    // Utilities, Completion: at most 100 values.
    values.truncate(100);
    let completion = json!({"values": values, "total": total, "hasMore": total > 100});
    Ok(request.encode_result(|out| {
        out.extend_from_slice(format!(r#"{{"completion":{completion}"#).as_bytes());
        out.extend_from_slice(server.result_tail(era, false));
    }))
}

/// What a handler may know of this call.
fn build_call_context<'a>(request_context: &RequestContext<'a>, name: &str) -> Result<CallContext<'a>, RpcError> {
    let RequestContext { server, request, params, transport, span, .. } = *request_context;
    let meta = params.meta.as_ref();
    let modern = params.claimed_version().is_some();
    let log_from =
        match meta.and_then(|m| m.log_level.as_deref()) {
            Some(level) => Some(LOG_LEVELS.iter().position(|l| *l == level).ok_or_else(|| {
                RpcError::invalid_params(format!("logLevel must be one of {}", LOG_LEVELS.join(", ")))
            })?),
            // Modern requests that name no level want none (2026-07-28, Logging).
            None if modern => None,
            None => Some(transport.calls.map_or(0, super::InFlightCalls::min_log_level)),
        };
    let capabilities = match meta.and_then(|m| m.capabilities) {
        Some(raw) if modern => Some(Value::Object(parse_object(Some(raw), "clientCapabilities")?)),
        _ => None,
    };
    Ok(CallContext {
        caller: transport.caller,
        id: span.id,
        trace: span.trace,
        attributes: &span.attributes,
        cancel: transport.cancel.clone().with_trace(span.trace),
        notify: transport.notify,
        progress_token: params.progress_token(),
        last_progress: Cell::new(f64::NEG_INFINITY),
        min_log_level: log_from.filter(|_| server.catalog.logging),
        capabilities,
        input_responses: parse_object(params.input_responses, "inputResponses")?,
        sealed_state: params.request_state.as_deref().map(ToOwned::to_owned),
        sealer: &server.sealer,
        purpose: format!("{} {name} {}", request.method, transport.caller.client.name),
    })
}

/// A handler that gave no output and did not just fail.
fn convert_tool_error(
    request_context: &RequestContext<'_>,
    context: &CallContext<'_>,
    error: ToolError,
) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, era, request, .. } = *request_context;
    let InputRequired { requests, state } = match error {
        ToolError::Rpc(fault) => return Err(fault),
        ToolError::Failed(why) => return Err(RpcError::new(INTERNAL_ERROR, why)),
        ToolError::InputRequired(needs) => needs,
    };
    if era == ProtocolEra::Legacy {
        return Err(RpcError::invalid_params(INPUT_NOT_SUPPORTED));
    }
    for (_, method, _) in &requests {
        let capability = match *method {
            "elicitation/create" => "elicitation",
            "sampling/createMessage" => "sampling",
            _ => "roots",
        };
        if !context.client_supports(capability) {
            return Err(modern::missing_capability(capability));
        }
    }
    let mut asked = Map::new();
    for (key, method, params) in requests {
        asked.insert(key.into(), json!({"method": method, "params": params}));
    }
    let asked = escape_invisible::escape_json(Value::Object(asked).to_string());
    Ok(request.encode_result(|out| {
        out.extend_from_slice(format!(r#"{{"resultType":"input_required","inputRequests":{asked}"#).as_bytes());
        if let Some(state) = state {
            out.extend_from_slice(br#","requestState":"#);
            push_json_string(out, &server.sealer.seal(&state, &context.purpose));
        }
        out.push(b'}');
    }))
}

fn parse_object(raw: Option<&str>, what: &str) -> Result<Map<String, Value>, RpcError> {
    match raw {
        None => Ok(Map::new()),
        Some(raw) => {
            serde_json::from_str(raw).map_err(|_| RpcError::invalid_params(format!("{what} must be an object")))
        }
    }
}

/// Makes JSON text fit into a line, as SSE and stdio need it. In JSON a line end can only stand between tokens, where a
/// space does as well; everything else this crate writes has none.
fn replace_line_ends(json: &mut [u8]) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let blank = |bytes: &mut [u8]| {
        for byte in bytes.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
    };
    let (words, rest) = json.as_chunks_mut();
    for word in words {
        // Only where a byte is a control character; one above it may pass for one as well.
        let value = u64::from_le_bytes(*word);
        if value.wrapping_sub(ONES * 0x20) & !value & (ONES * 0x80) != 0 {
            blank(word);
        }
    }
    blank(rest);
}

fn write_array<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}
