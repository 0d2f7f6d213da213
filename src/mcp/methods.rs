//! The methods that both eras share: lists, tools, resources, prompts and completion.

use super::arguments::ParameterKind;
use super::call_span::CallSpan;
use super::catalog::{
    CompletionHandler, CompletionReference, CompletionRequest, InputRequired, Page, Resource, ResourceError, Resources,
    Tool, ToolError, ToolInput, ToolOutput,
};
use super::content::Content;
use super::context::{CallContext, TransportContext, UrlElicitation};
use super::error::RpcError;
use super::in_flight::InFlightCalls;
use super::json_string::push_json_string;
use super::message::RpcRequest;
use super::params::{RequestParams, decode_string};
use super::protocol::{ProtocolEra, TASKS_EXTENSION, find_log_level};
use super::server_state::{ResultCaching, ServerState};
use crate::base::exact_json::{JsonTextError, parse_exact};
use crate::base::hint::render_error;
use crate::base::json_scan::{unquote, walk};
use crate::base::memory::CallMemory;
use crate::base::shorten::shorten;
use crate::base::tree_size::{MAX_VALUES, TreeSize};
use crate::sanitize::escape_invisible::escape_json;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::cell::Cell;

/// Bytes of an argument other than an object, as JSON text. The longest ones are 64 keys of 1 KiB.
const MAX_ARGUMENT_BYTES: usize = 96 << 10;

/// One request with everything that answers it.
#[derive(Clone, Copy)]
pub(super) struct RequestContext<'a> {
    pub server: &'a ServerState,
    pub era: ProtocolEra,
    pub request: &'a RpcRequest<'a>,
    pub params: &'a RequestParams<'a>,
    pub transport: &'a TransportContext<'a>,
    pub span: &'a CallSpan<'a>,
}

/// Answers a method of a capability that the catalog has. Any other method is unknown.
pub(super) fn dispatch(request_context: &RequestContext<'_>) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, era, request, .. } = *request_context;
    let catalog = &server.catalog;
    let list = |entries: &[u8]| encode_list(request_context, entries, ResultCaching::UntilRestart);
    match (request.method.as_ref(), &catalog.resources, &catalog.completion) {
        ("tools/call", ..) => call_tool(request_context),
        ("tools/list", ..) if shows_views(request_context)? => list(&server.view_tool_list),
        ("tools/list", ..) => list(&server.tool_list),
        ("resources/list", Some(resources), _) => list_resources(request_context, resources),
        ("resources/templates/list", Some(_), _) => list(&server.template_list),
        ("resources/read", Some(resources), _) => read_resource(request_context, resources),
        ("prompts/list", ..) if !catalog.prompts.is_empty() => list(&server.prompt_list),
        ("prompts/get", ..) if !catalog.prompts.is_empty() => get_prompt(request_context),
        ("completion/complete", _, Some(complete)) => complete_argument(request_context, complete),
        (method, ..) => Err(RpcError::UnknownMethod { method: shorten(method).into_owned(), era }),
    }
}

/// Encodes a list of one page. `entries` is the JSON of the result without its end.
fn encode_list(
    request_context: &RequestContext<'_>,
    entries: &[u8],
    caching: ResultCaching,
) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, era, request, params, .. } = *request_context;
    match params.cursor {
        // Every list has one page, so the server has never sent a cursor.
        Some(_) => Err(RpcError::InvalidCursor),
        None => Ok(request.encode_result(|out| {
            out.reserve(entries.len() + 256);
            out.extend_from_slice(entries);
            out.extend_from_slice(server.result_tail(era, caching));
        })),
    }
}

fn list_resources(request_context: &RequestContext<'_>, resources: &Resources) -> Result<Vec<u8>, RpcError> {
    let context = build_call_context(request_context, "")?;
    let entries: Value = (resources.list)(&context).iter().map(Resource::definition).collect();
    let entries = escape_json(format!(r#"{{"resources":{entries}"#));
    encode_list(request_context, entries.as_bytes(), ResultCaching::Never)
}

fn call_tool(request_context: &RequestContext<'_>) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, era, request, params, transport, span } = *request_context;
    let name = require("name", params.name.as_deref(), "the tool to call")?;
    let (index, tool) = server
        .find_tool(name)
        .ok_or_else(|| unknown_name("tool", name, server.catalog.tools.iter().map(|tool| tool.name)))?;
    span.tool_index.set(Some(index));
    let memory = transport.cancel.memory();
    let raw = unwrap_arguments(params.arguments)?;
    let checked = check_arguments(tool, &raw, memory);
    let arguments = if checked.is_ok() { parse_members(&raw, "arguments")? } else { Map::new() };
    let context = build_call_context(request_context, name)?;
    let wants_structured = context.wants_structured;
    let (output, failed) = match checked.and_then(|()| tool.call(&context, &server.parameter_names, arguments)) {
        Ok(output) => (output, false),
        Err(ToolError::Failed(text)) => (ToolOutput::text(text), true),
        Err(ToolError::InputRequired(_)) if era == ProtocolEra::Legacy => {
            (ToolOutput::text(render_error(&RpcError::InputNotSupported)), true)
        }
        Err(ToolError::TaskStarted(task)) => {
            return Ok(request.encode_result(|out| {
                task.write(out);
                out.extend_from_slice(server.task_tail().as_bytes());
            }));
        }
        Err(error) => return encode_tool_error(request_context, &context, error),
    };
    span.failed.set(failed);
    let page = match shows_views(request_context)? {
        true => server.catalog.page.as_ref().filter(|page| output.shows_page || page.tools.contains(&tool.name)),
        false => None,
    };
    Ok(request.encode_result(|out| {
        let ending = match (failed, page) {
            (true, _) => ResultEnding::Failed,
            (false, Some(page)) => ResultEnding::Shown(page),
            (false, None) => ResultEnding::Complete,
        };
        write_tool_result(out, request_context, output, ending, wants_structured);
    }))
}

/// The end of a tool's result.
pub(super) enum ResultEnding<'a> {
    Complete,
    /// A view shows the result.
    Shown(&'a Page),
    Failed,
}

/// Appends the result of a tool.
pub(super) fn write_tool_result(
    out: &mut Vec<u8>,
    request_context: &RequestContext<'_>,
    mut output: ToolOutput,
    ending: ResultEnding<'_>,
    wants_structured: bool,
) {
    let RequestContext { server, era, span, .. } = *request_context;
    if !wants_structured {
        output.structured = None;
    }
    output.merge_notes();
    // Content blocks escape invisible characters themselves.
    let structured = output.structured.map(escape_json);
    let content: usize = output.content.iter().map(Content::estimate_size).sum();
    out.reserve(content + structured.as_ref().map_or(0, String::len) + 256);
    out.extend_from_slice(br#"{"content":"#);
    write_array(out, &output.content, |out, content| content.write(out));
    if let Some(structured) = structured {
        out.extend_from_slice(br#","structuredContent":"#);
        let start = out.len();
        out.extend_from_slice(structured.as_bytes());
        out[start..].iter_mut().for_each(|byte| *byte = replace_line_end(*byte));
    }
    match ending {
        ResultEnding::Complete => out.extend_from_slice(server.result_tail(era, ResultCaching::Undefined)),
        ResultEnding::Shown(page) => out.extend_from_slice(server.view_result_tail(era, page).as_bytes()),
        ResultEnding::Failed => {
            out.extend_from_slice(br#","isError":true"#);
            out.extend_from_slice(server.failed_result_tail(era, &span.id).as_bytes());
        }
    }
}

fn read_resource(request_context: &RequestContext<'_>, resources: &Resources) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, era, request, params, .. } = *request_context;
    let uri = require("uri", params.uri.as_deref(), "the resource to read")?;
    if let Some(page) = server.catalog.page.as_ref().filter(|page| page.uri == uri) {
        return Ok(request.encode_result(|out| {
            out.extend_from_slice(br#"{"contents":"#);
            write_array(out, &[page.contents()], |out, contents| contents.write(out));
            out.extend_from_slice(server.result_tail(era, ResultCaching::UntilRestart));
        }));
    }
    let context = build_call_context(request_context, uri)?;
    match (resources.read)(&context, uri) {
        Ok(contents) => Ok(request.encode_result(|out| {
            out.extend_from_slice(br#"{"contents":"#);
            write_array(out, &contents, |out, contents| contents.write(out));
            out.extend_from_slice(server.result_tail(era, ResultCaching::Never));
        })),
        Err(ResourceError::Unknown(reason)) => {
            Err(RpcError::UnknownResource { uri: shorten(uri).into_owned(), era, reason })
        }
        Err(ResourceError::Failed(error)) => encode_tool_error(request_context, &context, error),
    }
}

fn get_prompt(request_context: &RequestContext<'_>) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, era, request, params, .. } = *request_context;
    let name = require("name", params.name.as_deref(), "the prompt to get")?;
    let prompts = &server.catalog.prompts;
    let prompt = prompts
        .iter()
        .find(|prompt| prompt.name == name)
        .ok_or_else(|| unknown_name("prompt", name, prompts.iter().map(|prompt| prompt.name)))?;
    let arguments = unwrap_arguments(params.arguments)?;
    let arguments = read_prompt_arguments(&arguments, request_context.transport.cancel.memory())?;
    if let Some(missing) = prompt.arguments.iter().find(|arg| arg.required && !arguments.contains_key(arg.name)) {
        let name = format!("argument {}", missing.name);
        return Err(RpcError::MissingParameter { name, expected: missing.description.to_owned() });
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
            out.extend_from_slice(server.result_tail(era, ResultCaching::Undefined));
        })),
        Err(error) => encode_tool_error(request_context, &context, error),
    }
}

/// Reads the arguments of a prompt, which are texts. A number counts as its text. A blank or absent one is left out,
/// because clients send an empty text for a field that the user left empty.
fn read_prompt_arguments(raw: &str, memory: &CallMemory) -> Result<Map<String, Value>, RpcError> {
    let mut arguments = Map::new();
    for (name, value) in parse_object(Some(raw), "arguments", memory)? {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            _ => return Err(RpcError::InvalidPromptArgument { name: shorten(&name).into_owned() }),
        };
        let text = text.trim();
        if !text.is_empty() {
            arguments.insert(name, text.into());
        }
    }
    Ok(arguments)
}

fn complete_argument(request_context: &RequestContext<'_>, complete: &CompletionHandler) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, era, request, params, .. } = *request_context;
    let memory = request_context.transport.cancel.memory();
    let reference = parse_object(params.reference, "ref", memory)?;
    let argument = parse_object(params.argument, "argument", memory)?;
    let [Some(name), Some(value)] = ["name", "value"].map(|key| argument.get(key).and_then(Value::as_str)) else {
        return Err(RpcError::InvalidCompletionArgument);
    };
    let chosen = match parse_object(params.context, "context", memory)?.remove("arguments") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(chosen)) => chosen,
        Some(_) => return Err(RpcError::NotAnObject("context.arguments")),
    };
    let context = build_call_context(request_context, "")?;
    let completion_request = CompletionRequest {
        reference: find_completion_reference(server, &reference)?,
        argument: name,
        value,
        chosen: &chosen,
    };
    let mut values = complete(&context, &completion_request);
    let total = values.len();
    // Utilities, Completion: at most 100 values.
    values.truncate(100);
    let completion = escape_json(json!({"values": values, "total": total, "hasMore": total > 100}).to_string());
    Ok(request.encode_result(|out| {
        out.extend_from_slice(format!(r#"{{"completion":{completion}"#).as_bytes());
        out.extend_from_slice(server.result_tail(era, ResultCaching::Undefined));
    }))
}

/// Finds the prompt or the template that an argument belongs to.
fn find_completion_reference<'a>(
    server: &ServerState,
    reference: &'a Map<String, Value>,
) -> Result<CompletionReference<'a>, RpcError> {
    let text = |key| reference.get(key).and_then(Value::as_str);
    match (text("type"), text("name"), text("uri")) {
        (Some("ref/prompt"), Some(name), _) => {
            let prompts = &server.catalog.prompts;
            if prompts.iter().all(|prompt| prompt.name != name) {
                return Err(unknown_name("prompt", name, prompts.iter().map(|prompt| prompt.name)));
            }
            Ok(CompletionReference::Prompt(name))
        }
        (Some("ref/resource"), _, Some(uri)) => {
            let mut templates = server.catalog.resources.iter().flat_map(|resources| &resources.templates);
            if templates.all(|template| template.uri != uri) {
                return Err(RpcError::UnknownTemplate(shorten(uri).into_owned()));
            }
            Ok(CompletionReference::Template(uri))
        }
        _ => Err(RpcError::InvalidCompletionReference),
    }
}

/// Builds the view that a handler has of this call.
pub(super) fn build_call_context<'a>(
    request_context: &RequestContext<'a>,
    name: &'a str,
) -> Result<CallContext<'a>, RpcError> {
    let RequestContext { server, era, request, params, transport, span } = *request_context;
    let memory = transport.cancel.memory();
    let min_log_level = match (params.meta.log_level.as_deref(), era) {
        (Some(level), _) => Some(find_log_level(level).ok_or(RpcError::InvalidLogLevel("logLevel"))?),
        // A modern request without a level wants no log messages (2026-07-28, Logging).
        (None, ProtocolEra::Modern) => None,
        (None, ProtocolEra::Legacy) => Some(transport.calls.map_or(0, InFlightCalls::min_log_level)),
    };
    let capabilities = match (params.meta.capabilities, era) {
        (Some(raw), ProtocolEra::Modern) => Some(Value::Object(parse_object(Some(raw), "clientCapabilities", memory)?)),
        _ => None,
    };
    let wants_structured = server.sends_structured
        || transport.caller.client.structured
        || capabilities.as_ref().is_some_and(declares_ui)
        || session_shows_views(request_context);
    let mut context = CallContext {
        caller: transport.caller,
        id: span.id,
        trace: span.trace,
        attributes: &span.attributes,
        cancel: transport.cancel.clone().with_trace(span.trace),
        notify: transport.notify,
        progress_token: params.progress_token(),
        last_progress: Cell::new(f64::NEG_INFINITY),
        logger: server.catalog.server.name,
        min_log_level: min_log_level.filter(|_| server.catalog.logging),
        url_elicitation: match era {
            ProtocolEra::Modern if capabilities.as_ref().is_some_and(declares_url) => Some(UrlElicitation::Input),
            ProtocolEra::Legacy if transport.calls.is_some_and(InFlightCalls::can_open_url) => {
                Some(UrlElicitation::Error)
            }
            _ => None,
        },
        capabilities,
        wants_structured,
        input_responses: parse_object(params.input_responses, "inputResponses", memory)?,
        sealed_state: params.request_state.as_deref().map(ToOwned::to_owned),
        sealer: &server.sealer,
        purpose: [&request.method, name, &transport.caller.client.name],
        task_ids: None,
    };
    if server.catalog.tasks.is_some() && request.is_tool_call() && context.client_supports_extension(TASKS_EXTENSION) {
        context.task_ids = Some(&server.task_ids);
    }
    Ok(context)
}

/// Encodes the answer of a handler that gave no output: an error, or questions for the client.
fn encode_tool_error(
    request_context: &RequestContext<'_>,
    context: &CallContext<'_>,
    error: ToolError,
) -> Result<Vec<u8>, RpcError> {
    let RequestContext { era, request, .. } = *request_context;
    let InputRequired { requests, state } = match error {
        ToolError::Rpc(error) => return Err(error),
        ToolError::Failed(text) => return Err(RpcError::HandlerFailed(text)),
        ToolError::InputRequired(_) if era == ProtocolEra::Legacy => return Err(RpcError::InputNotSupported),
        ToolError::InputRequired(input) => input,
        ToolError::TaskStarted(_) => unreachable!("only the call of a tool can prepare a task"),
    };
    let mut input_requests = Map::new();
    for input in requests {
        let capability = input.method.capability();
        if !context.client_supports(capability) {
            return Err(RpcError::MissingCapability(capability));
        }
        input_requests.insert(input.key.into(), json!({"method": input.method.name(), "params": input.params}));
    }
    let input_requests = escape_json(Value::Object(input_requests).to_string());
    Ok(request.encode_result(|out| {
        let head = format!(r#"{{"resultType":"input_required","inputRequests":{input_requests}"#);
        out.extend_from_slice(head.as_bytes());
        if let Some(state) = state {
            out.extend_from_slice(br#","requestState":"#);
            push_json_string(out, &context.seal_state(&state));
        }
        out.push(b'}');
    }))
}

pub(super) fn require<'a>(name: &str, value: Option<&'a str>, expected: &str) -> Result<&'a str, RpcError> {
    value.ok_or_else(|| RpcError::MissingParameter { name: name.to_owned(), expected: expected.to_owned() })
}

fn unknown_name(kind: &'static str, name: &str, known: impl Iterator<Item = &'static str>) -> RpcError {
    RpcError::UnknownName { kind, name: shorten(name).into_owned(), known: known.collect() }
}

/// Returns true if the client shows views.
fn shows_views(request_context: &RequestContext<'_>) -> Result<bool, RpcError> {
    let RequestContext { era, params, transport, .. } = *request_context;
    match (era, params.meta.capabilities) {
        (ProtocolEra::Legacy, _) => Ok(session_shows_views(request_context)),
        (ProtocolEra::Modern, None) => Ok(false),
        (ProtocolEra::Modern, raw) => {
            Ok(declares_ui(&parse_object(raw, "clientCapabilities", transport.cancel.memory())?.into()))
        }
    }
}

/// Returns true if a legacy client said at the start of its session that it shows views.
fn session_shows_views(request_context: &RequestContext<'_>) -> bool {
    let RequestContext { era, transport, .. } = *request_context;
    era == ProtocolEra::Legacy && transport.calls.is_some_and(InFlightCalls::has_ui)
}

/// Returns true if the capabilities of a client have the extension for user interfaces (MCP Apps). The JSON of a result
/// is for such a view, and the text for the model.
pub(super) fn declares_ui(capabilities: &Value) -> bool {
    capabilities["extensions"]["io.modelcontextprotocol/ui"].is_object()
}

/// Returns true if the capabilities of a client say that it opens an address for its user (2025-11-25, Elicitation).
pub(super) fn declares_url(capabilities: &Value) -> bool {
    capabilities["elicitation"]["url"].is_object()
}

/// Parses the JSON text of an object, within the memory of its request. An absent one is empty.
pub(super) fn parse_object(
    raw: Option<&str>,
    name: &'static str,
    memory: &CallMemory,
) -> Result<Map<String, Value>, RpcError> {
    let Some(raw) = raw else { return Ok(Map::new()) };
    let size = TreeSize::measure(raw);
    if size.values > MAX_VALUES {
        return Err(RpcError::TooManyValues(name));
    }
    memory.reserve(size.bytes).map_err(RpcError::NoMemory)?.keep();
    parse_members(raw, name)
}

fn parse_members(raw: &str, name: &'static str) -> Result<Map<String, Value>, RpcError> {
    match parse_exact(raw) {
        Ok(Value::Object(members)) => Ok(members),
        Err(cause @ (JsonTextError::Duplicate(_) | JsonTextError::TooDeep | JsonTextError::TooManyValues)) => {
            Err(RpcError::InvalidObject { name, cause })
        }
        Ok(_) | Err(JsonTextError::NotJson) => Err(RpcError::NotAnObject(name)),
    }
}

/// Returns the JSON text of the arguments of a tool or prompt. Some clients send the object as a JSON text, or an empty
/// text or list if there are none.
fn unwrap_arguments(raw: Option<&str>) -> Result<Cow<'_, str>, RpcError> {
    let text: Cow<'_, str> = match raw.filter(|raw| raw.starts_with('"')) {
        Some(raw) => decode_string(raw).ok_or(RpcError::NotAnObject("arguments"))?,
        None => raw.unwrap_or_default().into(),
    };
    let is_empty_list = |text: &str| {
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        inner.is_some_and(|inner| inner.trim().is_empty())
    };
    match text.trim() {
        "" | "null" => Ok("{}".into()),
        list if is_empty_list(list) => Ok("{}".into()),
        _ => Ok(text),
    }
}

/// Checks the sizes of a tool's arguments before they are parsed, and reserves the memory that they take then.
fn check_arguments(tool: &Tool, raw: &str, memory: &CallMemory) -> Result<(), ToolError> {
    let mut size = TreeSize::measure(raw);
    let mut too_long = None;
    if let ToolInput::Parameters(parameters) = &tool.input {
        walk(raw, &mut |key, value| {
            let list = add_json_text(&mut size, value);
            let key = unquote(key);
            let parameter = parameters.iter().find(|parameter| parameter.name == key);
            match parameter.map(|parameter| (parameter.name, parameter.kind)) {
                None | Some((_, ParameterKind::Object)) => {}
                Some((_, ParameterKind::ObjectList(_))) => {
                    walk(&list, &mut |_, item| {
                        let item = add_json_text(&mut size, item);
                        walk(&item, &mut |_, member| {
                            add_json_text(&mut size, member);
                            true
                        })
                    });
                }
                Some((name, _)) if value.len() > MAX_ARGUMENT_BYTES => too_long = Some(name),
                Some(_) => {}
            }
            true
        });
    }
    let failed = |text: String| Err(ToolError::Failed(format!("{}: {text}", tool.name)));
    if let Some(name) = too_long {
        return failed(format!("{name} is longer than {MAX_ARGUMENT_BYTES} bytes"));
    }
    if size.values > MAX_VALUES {
        return failed(format!("the arguments have {} values: give {MAX_VALUES} at most", size.values));
    }
    // A call is planned with a copy of its arguments.
    match memory.reserve(size.bytes * 2) {
        Ok(reservation) => {
            reservation.keep();
            Ok(())
        }
        Err(error) => Err(RpcError::NoMemory(error).into()),
    }
}

/// Adds the size of a value that is JSON text, and returns the value that it says. A text is accepted as an object or a
/// list, and is parsed again then.
fn add_json_text<'v>(size: &mut TreeSize, value: &'v str) -> Cow<'v, str> {
    if !value.starts_with('"') {
        return value.into();
    }
    let inner = unquote(value);
    if inner.trim_start().starts_with(['{', '[']) {
        let measured = TreeSize::measure(&inner);
        *size = TreeSize { values: size.values + measured.values, bytes: size.bytes + measured.bytes };
    }
    inner
}

/// Replaces the end of a line by a space, so that JSON fits into one line of SSE or stdio. JSON has line ends between
/// tokens only, and other parts of a message have none.
fn replace_line_end(byte: u8) -> u8 {
    if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }
}

fn write_array<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}
