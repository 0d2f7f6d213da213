//! The methods that both eras share: lists, tools, resources, prompts, completion. What an era adds to a result is
//! [`Server::tail`]'s.

use super::catalog::{Catalog, Complete, NeedsInput, Output, Prompt, Resource, ResourceTemplate, Stop};
use super::content::{Content, Contents};
use super::context::{Context, LEVELS};
use super::message::{Fault, INTERNAL_ERROR, INVALID_PARAMS, RESOURCE_NOT_FOUND, push_json_str};
use super::{Ask, Era, modern, record};
use crate::visible;
use serde_json::{Map, Value, json};
use std::cell::Cell;

/// The server keeps no connection to ask a client of the older eras on.
const CANNOT_ASK: &str = "this has to ask the user first, which needs a client that speaks MCP 2026-07-28";

/// Answers a method of a capability that the catalog has; `None` for any other.
pub(super) fn answer(ask: &Ask<'_>) -> Option<Result<Vec<u8>, Fault>> {
    let Ask { server, era, request, params, .. } = *ask;
    let Catalog { resources, templates, prompts, complete, .. } = &server.catalog;
    let has_resources = !resources.is_empty() || !templates.is_empty();
    let list = |open: &[u8]| match params.cursor {
        // Lists are short enough for one page, so no cursor was ever given out.
        Some(_) => Err(Fault::params("cursor is not valid: the list has one page")),
        None => Ok(request.result(|out| {
            out.reserve(open.len() + 256);
            out.extend_from_slice(open);
            out.extend_from_slice(server.tail(era, true));
        })),
    };
    Some(match request.method.as_ref() {
        "tools/call" => call_tool(ask),
        "tools/list" => list(&server.lists.tools),
        "resources/list" if has_resources => list(&server.lists.resources),
        "resources/templates/list" if has_resources => list(&server.lists.templates),
        "resources/read" if has_resources => read_resource(ask),
        "prompts/list" if !prompts.is_empty() => list(&server.lists.prompts),
        "prompts/get" if !prompts.is_empty() => get_prompt(ask),
        "completion/complete" => match complete {
            Some(complete) => complete_argument(ask, complete),
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
        ("completions", catalog.complete.is_some()),
        ("logging", catalog.logging),
    ];
    for (name, _) in offered.into_iter().filter(|(_, has)| *has) {
        all[name] = json!({});
    }
    all
}

pub(super) fn resource(r: &Resource) -> Value {
    json!({"uri": r.uri, "name": r.name, "description": r.description, "mimeType": r.mime})
}

pub(super) fn template(t: &ResourceTemplate) -> Value {
    json!({"uriTemplate": t.uri, "name": t.name, "description": t.description, "mimeType": t.mime})
}

pub(super) fn prompt(p: &Prompt) -> Value {
    let arguments: Vec<_> = p
        .arguments
        .iter()
        .map(|(name, about, required)| json!({"name": name, "description": about, "required": required}))
        .collect();
    json!({"name": p.name, "description": p.description, "arguments": arguments})
}

fn call_tool(ask: &Ask<'_>) -> Result<Vec<u8>, Fault> {
    let Ask { server, era, request, params, record, .. } = *ask;
    let name = params.name.as_deref().ok_or_else(|| Fault::params("name is missing: the tool to call"))?;
    let found = server.tool(name).and_then(|number| Some((number, server.catalog.tools.get(number)?)));
    let Some((number, tool)) = found else {
        let names: Vec<_> = server.catalog.tools.iter().map(|t| t.name).collect();
        return Err(Fault::params(format!("unknown tool {name:?}; tools: {}", names.join(", "))));
    };
    record.tool.set(number);
    let arguments = object(params.arguments, "arguments")?;
    let context = context(ask, name)?;
    let (output, failed) = match tool.call(&context, arguments) {
        Ok(output) => (output, false),
        Err(Stop::Failed(text)) => (Output::text(text), true),
        Err(Stop::NeedsInput(_)) if era == Era::Legacy => (Output::text(CANNOT_ASK.into()), true),
        Err(stop) => return stopped(ask, &context, stop),
    };
    record.failed.set(failed);
    // Of what is text, its writing as JSON takes care.
    let structured = output.structured.map(visible::json);
    Ok(request.result(|out| {
        let content: usize = output.content.iter().map(Content::size).sum();
        out.reserve(content + structured.as_ref().map_or(0, String::len) + 256);
        out.extend_from_slice(br#"{"content":"#);
        array(out, &output.content, |out, content| content.write(out));
        if let Some(structured) = &structured {
            out.extend_from_slice(br#","structuredContent":"#);
            let start = out.len();
            out.extend_from_slice(structured.as_bytes());
            one_line(out.get_mut(start..).unwrap_or_default());
        }
        if failed {
            out.extend_from_slice(br#","isError":true"#);
            return record::failed_tail(server, era, &record.id, out);
        }
        out.extend_from_slice(server.tail(era, false));
    }))
}

fn read_resource(ask: &Ask<'_>) -> Result<Vec<u8>, Fault> {
    let Ask { server, era, request, params, .. } = *ask;
    let uri = params.uri.as_deref().ok_or_else(|| Fault::params("uri is missing: the resource to read"))?;
    let context = context(ask, uri)?;
    let read = match server.catalog.resources.iter().find(|r| r.uri == uri) {
        Some(resource) => (resource.read)(&context, uri),
        None => server
            .catalog
            .templates
            .iter()
            .map(|t| (t.read)(&context, uri))
            .find(|r| !matches!(r, Ok(None)))
            .unwrap_or(Ok(None)),
    };
    match read {
        Ok(Some(contents)) => Ok(request.result(|out| {
            out.extend_from_slice(br#"{"contents":"#);
            array(out, &contents, |out, c: &Contents| c.write(out));
            out.extend_from_slice(server.tail(era, true));
        })),
        Ok(None) => Err(Fault {
            code: if era == Era::Legacy { RESOURCE_NOT_FOUND } else { INVALID_PARAMS },
            message: format!("no resource {uri:?}; resources/list has those there are"),
            data: Some(json!({"uri": uri})),
        }),
        Err(stop) => stopped(ask, &context, stop),
    }
}

fn get_prompt(ask: &Ask<'_>) -> Result<Vec<u8>, Fault> {
    let Ask { server, era, request, params, .. } = *ask;
    let name = params.name.as_deref().ok_or_else(|| Fault::params("name is missing: the prompt to get"))?;
    let Some(prompt) = server.catalog.prompts.iter().find(|p| p.name == name) else {
        let names: Vec<_> = server.catalog.prompts.iter().map(|p| p.name).collect();
        return Err(Fault::params(format!("unknown prompt {name:?}; prompts: {}", names.join(", "))));
    };
    let arguments = object(params.arguments, "arguments")?;
    let missing = prompt.arguments.iter().find(|(name, _, required)| *required && !arguments.contains_key(*name));
    if let Some((argument, about, _)) = missing {
        return Err(Fault::params(format!("argument {argument} is missing: {about}")));
    }
    let context = context(ask, name)?;
    match (prompt.fill)(&context, &arguments) {
        Ok(messages) => Ok(request.result(|out| {
            out.extend_from_slice(br#"{"messages":"#);
            array(out, &messages, |out, (role, content)| {
                out.extend_from_slice(format!(r#"{{"role":"{role}","content":"#).as_bytes());
                content.write(out);
                out.push(b'}');
            });
            out.extend_from_slice(server.tail(era, false));
        })),
        Err(stop) => stopped(ask, &context, stop),
    }
}

fn complete_argument(ask: &Ask<'_>, complete: &Complete) -> Result<Vec<u8>, Fault> {
    let Ask { server, era, request, params, .. } = *ask;
    let reference = object(params.reference, "ref")?;
    let argument = object(params.argument, "argument")?;
    let [Some(name), Some(value)] = ["name", "value"].map(|key| argument.get(key).and_then(Value::as_str)) else {
        return Err(Fault::params("argument must be {\"name\": …, \"value\": …}"));
    };
    let mut values = complete(&Value::Object(reference), name, value);
    let total = values.len();
    // Utilities, Completion: at most 100 values.
    values.truncate(100);
    let completion = json!({"values": values, "total": total, "hasMore": total > 100});
    Ok(request.result(|out| {
        out.extend_from_slice(format!(r#"{{"completion":{completion}"#).as_bytes());
        out.extend_from_slice(server.tail(era, false));
    }))
}

/// What a handler may know of this call.
fn context<'a>(ask: &Ask<'a>, name: &str) -> Result<Context<'a>, Fault> {
    let Ask { server, request, params, exchange, record, .. } = *ask;
    let meta = params.meta.as_ref();
    let modern = params.claimed_version().is_some();
    let log_from = match meta.and_then(|m| m.log_level.as_deref()) {
        Some(level) => Some(
            LEVELS
                .iter()
                .position(|l| *l == level)
                .ok_or_else(|| Fault::params(format!("logLevel must be one of {}", LEVELS.join(", "))))?,
        ),
        // Modern requests that name no level want none (2026-07-28, Logging).
        None if modern => None,
        None => Some(exchange.calls.map_or(0, super::Calls::log_from)),
    };
    let capabilities = match meta.and_then(|m| m.capabilities) {
        Some(raw) if modern => Some(Value::Object(object(Some(raw), "clientCapabilities")?)),
        _ => None,
    };
    Ok(Context {
        caller: exchange.caller,
        id: record.id,
        trace: record.trace,
        tally: &record.tally,
        cancel: exchange.cancel.clone().of_trace(record.trace),
        send: exchange.send,
        progress_token: params.progress_token(),
        last_progress: Cell::new(f64::NEG_INFINITY),
        log_from: log_from.filter(|_| server.catalog.logging),
        capabilities,
        answers: object(params.input_responses, "inputResponses")?,
        state: params.request_state.as_deref().map(ToOwned::to_owned),
        seal: &server.seal,
        purpose: format!("{} {name} {}", request.method, exchange.caller.client.name),
    })
}

/// A handler that gave no output and did not just fail.
fn stopped(ask: &Ask<'_>, context: &Context<'_>, stop: Stop) -> Result<Vec<u8>, Fault> {
    let Ask { server, era, request, .. } = *ask;
    let NeedsInput { requests, state } = match stop {
        Stop::Fault(fault) => return Err(fault),
        Stop::Failed(why) => return Err(Fault::new(INTERNAL_ERROR, why)),
        Stop::NeedsInput(needs) => needs,
    };
    if era == Era::Legacy {
        return Err(Fault::params(CANNOT_ASK));
    }
    for (_, method, _) in &requests {
        let capability = match *method {
            "elicitation/create" => "elicitation",
            "sampling/createMessage" => "sampling",
            _ => "roots",
        };
        if !context.client_can(capability) {
            return Err(modern::missing_capability(capability));
        }
    }
    let mut asked = Map::new();
    for (key, method, params) in requests {
        asked.insert(key.into(), json!({"method": method, "params": params}));
    }
    let asked = visible::json(Value::Object(asked).to_string());
    Ok(request.result(|out| {
        out.extend_from_slice(format!(r#"{{"resultType":"input_required","inputRequests":{asked}"#).as_bytes());
        if let Some(state) = state {
            out.extend_from_slice(br#","requestState":"#);
            push_json_str(out, &server.seal.close(&state, &context.purpose));
        }
        out.push(b'}');
    }))
}

fn object(raw: Option<&str>, what: &str) -> Result<Map<String, Value>, Fault> {
    match raw {
        None => Ok(Map::new()),
        Some(raw) => serde_json::from_str(raw).map_err(|_| Fault::params(format!("{what} must be an object"))),
    }
}

/// Makes JSON text fit into a line, as SSE and stdio need it. In JSON a line end can only stand between tokens, where a
/// space does as well; everything else this crate writes has none.
fn one_line(json: &mut [u8]) {
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

fn array<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}
