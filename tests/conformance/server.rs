//! The server for the conformance suite. It is the protocol core and HTTP server of the product, with the tools,
//! prompts and resources that the suite's scenarios name. It prints its address and serves until it is killed.
//!
//! With the argument `stdio` it serves on stdin and stdout instead.

use proxmox_mcp::config::Limits;
use proxmox_mcp::http;
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::mcp::arguments::{ParameterKind, ToolArguments, ToolParameter};
use proxmox_mcp::mcp::catalog::{
    Catalog, InputMethod, InputRequest, InputRequired, Prompt, PromptArgument, Resource, ResourceError,
    ResourceTemplate, Resources, ServerInfo, TaskError, TaskHandlers, TaskSnapshot, TaskStatus, Tool, ToolEffect,
    ToolError, ToolHandler, ToolInput, ToolOutput,
};
use proxmox_mcp::mcp::content::{BinaryContent, Content, ResourceContents, ResourceData};
use proxmox_mcp::mcp::context::CallContext;
use proxmox_mcp::mcp::message::RpcError;
use proxmox_mcp::mcp::protocol::TASKS_EXTENSION;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A PNG of one red pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/// A WAV without samples.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=";

fn new_tool(name: &'static str, description: &'static str, handler: ToolHandler) -> Tool {
    Tool {
        name,
        title: name,
        description,
        input: ToolInput::Parameters(&[]),
        effect: ToolEffect::ReadOnly,
        meta: Map::new(),
        handler,
    }
}

fn new_png() -> Content {
    Content::Image(BinaryContent { data: PNG.into(), mime: "image/png" })
}

fn new_text(text: &str) -> Content {
    Content::Text(text.into())
}

fn new_embedded(uri: &str, mime: &'static str, text: &str) -> Content {
    Content::Resource(ResourceContents { uri: uri.into(), mime, data: ResourceData::Text(text.into()) })
}

fn respond(content: Vec<Content>) -> Result<ToolOutput, ToolError> {
    Ok(ToolOutput { content, ..ToolOutput::default() })
}

fn build_content_tools() -> Vec<Tool> {
    vec![
        new_tool(
            "test_simple_text",
            "Answers with a text",
            Box::new(|_, _| respond(vec![new_text("This is a simple text response for testing.")])),
        ),
        new_tool("test_image_content", "Answers with a picture", Box::new(|_, _| respond(vec![new_png()]))),
        new_tool(
            "test_audio_content",
            "Answers with a sound",
            Box::new(|_, _| respond(vec![Content::Audio(BinaryContent { data: WAV.into(), mime: "audio/wav" })])),
        ),
        new_tool(
            "test_embedded_resource",
            "Answers with a resource",
            Box::new(|_, _| {
                respond(vec![new_embedded(
                    "test://embedded-resource",
                    "text/plain",
                    "This is an embedded resource content.",
                )])
            }),
        ),
        new_tool(
            "test_multiple_content_types",
            "Answers with a text, a picture and a resource",
            Box::new(|_, _| {
                let data = json!({"test": "data", "value": 123}).to_string();
                let resource = new_embedded("test://mixed-content-resource", "application/json", &data);
                respond(vec![new_text("Multiple content types test:"), new_png(), resource])
            }),
        ),
        new_tool(
            "test_error_handling",
            "Always fails",
            Box::new(|_, _| Err(ToolError::Failed("This tool intentionally returns an error for testing".into()))),
        ),
        Tool {
            input: ToolInput::Schema(json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "$defs": {
                    "address": {
                        "$anchor": "addressDef",
                        "type": "object",
                        "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
                    },
                },
                "properties": {
                    "name": {"type": "string"},
                    "address": {"$ref": "#/$defs/address"},
                    "contactMethod": {"type": "string", "enum": ["phone", "email"]},
                    "phone": {"type": "string"},
                    "email": {"type": "string"},
                },
                "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
                "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
                "then": {"required": ["phone"]},
                "else": {"required": ["email"]},
                "additionalProperties": false,
            })),
            ..new_tool(
                "json_schema_2020_12_tool",
                "Has a schema with every keyword",
                Box::new(|_, _| respond(vec![new_text("ok")])),
            )
        },
    ]
}

fn build_stream_tools() -> Vec<Tool> {
    vec![
        new_tool(
            "test_tool_with_progress",
            "Reports progress",
            Box::new(|context, _| {
                for done in [0.0, 50.0, 100.0] {
                    context.send_progress(done, Some(100.0), "working");
                }
                respond(vec![new_text("done")])
            }),
        ),
        new_tool("test_tool_with_logging", "Sends log messages", Box::new(send_log_messages)),
        new_tool("test_logging_tool", "Sends log messages", Box::new(send_log_messages)),
        new_tool(
            "test_streaming_elicitation",
            "Asks the user",
            Box::new(|context, _| {
                context.send_progress(1.0, None, "asking");
                request_input(vec![new_name_request("user_name", "What is your name?", "name")], None)
            }),
        ),
        new_tool(
            "test_missing_capability",
            "Needs a client that samples",
            Box::new(|context, _| {
                if context.client_supports("sampling") {
                    respond(vec![new_text("ok")])
                } else {
                    Err(RpcError::MissingCapability("sampling").into())
                }
            }),
        ),
        new_tool(
            "test_wait_for_cancel",
            "Waits until it is cancelled, 30 s at most, and reports progress meanwhile",
            Box::new(|context, _| {
                let start = Instant::now();
                while start.elapsed() < Duration::from_secs(30) {
                    if context.cancel.is_cancelled() {
                        eprintln!("test_wait_for_cancel: cancelled");
                        return respond(vec![new_text("cancelled")]);
                    }
                    context.send_progress(start.elapsed().as_secs_f64(), Some(30.0), "waiting");
                    std::thread::sleep(Duration::from_millis(20));
                }
                respond(vec![new_text("not cancelled")])
            }),
        ),
    ]
}

fn send_log_messages(context: &CallContext<'_>, _: &ToolArguments) -> Result<ToolOutput, ToolError> {
    for message in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        context.send_log("info", &json!(message));
    }
    respond(vec![new_text("logged")])
}

fn new_name_request(key: &'static str, message: &str, field: &str) -> InputRequest {
    let schema = json!({"type": "object", "properties": {field: {"type": "string"}}, "required": [field]});
    let params = json!({"mode": "form", "message": message, "requestedSchema": schema});
    InputRequest { key, method: InputMethod::Elicitation, params }
}

fn new_sampling_request(key: &'static str, question: &str, max_tokens: u32) -> InputRequest {
    let message = json!({"role": "user", "content": {"type": "text", "text": question}});
    let params = json!({"messages": [message], "maxTokens": max_tokens});
    InputRequest { key, method: InputMethod::Sampling, params }
}

fn new_confirm_request() -> InputRequest {
    let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]});
    let params = json!({"mode": "form", "message": "Please confirm", "requestedSchema": schema});
    InputRequest { key: "confirm", method: InputMethod::Elicitation, params }
}

fn new_roots_request() -> InputRequest {
    InputRequest { key: "client_roots", method: InputMethod::Roots, params: json!({}) }
}

const fn new_argument(name: &'static str, description: &'static str) -> PromptArgument {
    PromptArgument { name, description, required: true }
}

fn request_input<T>(requests: Vec<InputRequest>, state: Option<Value>) -> Result<T, ToolError> {
    Err(ToolError::InputRequired(InputRequired { requests, state }))
}

/// Returns the field of an accepted elicitation. An answer of another shape counts as absent.
fn elicited_field<'a>(context: &'a CallContext<'_>, key: &str, field: &str) -> Option<&'a str> {
    context.input_response(key)?.get("content")?.get(field)?.as_str()
}

fn build_input_tools() -> Vec<Tool> {
    vec![
        new_tool(
            "test_input_required_result_elicitation",
            "Asks for a name",
            Box::new(|context, _| match elicited_field(context, "user_name", "name") {
                Some(name) => respond(vec![new_text(&format!("Hello, {name}!"))]),
                None => request_input(vec![new_name_request("user_name", "What is your name?", "name")], None),
            }),
        ),
        new_tool(
            "test_input_required_result_sampling",
            "Asks the client's model",
            Box::new(|context, _| match context.input_response("capital_question") {
                Some(answer) => respond(vec![new_text(answer["content"]["text"].as_str().unwrap_or("no text"))]),
                None => request_input(
                    vec![new_sampling_request("capital_question", "What is the capital of France?", 100)],
                    None,
                ),
            }),
        ),
        new_tool(
            "test_input_required_result_list_roots",
            "Asks for the client's roots",
            Box::new(|context, _| match context.input_response("client_roots") {
                Some(roots) => respond(vec![new_text(&roots["roots"].to_string())]),
                None => request_input(vec![new_roots_request()], None),
            }),
        ),
        new_tool("test_input_required_result_request_state", "Wants its state back", Box::new(check_state)),
        new_tool("test_input_required_result_tampered_state", "Rejects a changed state", Box::new(check_state)),
        new_tool(
            "test_input_required_result_multiple_inputs",
            "Asks three things at once",
            Box::new(|context, _| {
                let keys = ["user_name", "greeting", "client_roots"];
                if context.unseal_state()?.is_some() && keys.iter().all(|k| context.input_response(k).is_some()) {
                    return respond(vec![new_text("all three answered")]);
                }
                let questions = vec![
                    new_name_request("user_name", "What is your name?", "name"),
                    new_sampling_request("greeting", "Generate a greeting", 50),
                    new_roots_request(),
                ];
                request_input(questions, Some(json!("three")))
            }),
        ),
        new_tool(
            "test_input_required_result_multi_round",
            "Asks twice",
            Box::new(|context, _| {
                let round = context.unseal_state()?.and_then(|s| s.as_u64());
                let (name, color) =
                    (elicited_field(context, "step1", "name"), elicited_field(context, "step2", "color"));
                match (round, name, color) {
                    (Some(2), _, Some(color)) => respond(vec![new_text(&format!("your color is {color}"))]),
                    (Some(1), Some(_), _) => request_input(
                        vec![new_name_request("step2", "Step 2: What is your favorite color?", "color")],
                        Some(json!(2)),
                    ),
                    _ => request_input(
                        vec![new_name_request("step1", "Step 1: What is your name?", "name")],
                        Some(json!(1)),
                    ),
                }
            }),
        ),
        new_tool(
            "test_input_required_result_capabilities",
            "Asks only what the client can answer",
            Box::new(|context, _| {
                let mut questions = Vec::new();
                if context.client_supports("sampling") {
                    questions.push(new_sampling_request("question", "What is the capital of France?", 100));
                }
                if context.client_supports("elicitation") {
                    questions.push(new_name_request("user_name", "What is your name?", "name"));
                }
                request_input(questions, None)
            }),
        ),
    ]
}

fn check_state(context: &CallContext<'_>, _: &ToolArguments) -> Result<ToolOutput, ToolError> {
    match context.unseal_state()? {
        Some(_) if context.input_response("confirm").is_some() => respond(vec![new_text("state-ok")]),
        _ => request_input(vec![new_confirm_request()], Some(json!({"for": "confirm"}))),
    }
}

const GREET: &[ToolParameter] =
    &[ToolParameter { name: "name", kind: ParameterKind::Text, required: true, description: "the name" }];
const SLOW_COMPUTE: &[ToolParameter] = &[
    ToolParameter { name: "seconds", kind: ParameterKind::Count, required: true, description: "the duration" },
    ToolParameter { name: "label", kind: ParameterKind::Text, required: false, description: "the result" },
];
const CONFIRM_DELETE: &[ToolParameter] =
    &[ToolParameter { name: "filename", kind: ParameterKind::Text, required: true, description: "the file" }];

/// A task of the fixture tools.
struct FixtureTask {
    end: SystemTime,
    result: FixtureResult,
    is_cancelled: bool,
}

#[derive(Clone)]
enum FixtureResult {
    Text(String),
    Failure,
    Error,
}

/// The tasks of this process. The state of a task is its index.
static TASKS: Mutex<Vec<FixtureTask>> = Mutex::new(Vec::new());

fn lock_tasks() -> MutexGuard<'static, Vec<FixtureTask>> {
    TASKS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn find_task<'t>(tasks: &'t mut [FixtureTask], state: &[u8]) -> Result<&'t mut FixtureTask, TaskError> {
    let index = state.try_into().map(usize::from_be_bytes).map_err(|_| TaskError::Unknown)?;
    tasks.get_mut(index).ok_or(TaskError::Unknown)
}

/// Continues a call as a task that ends after some seconds.
fn start_task(context: &CallContext<'_>, seconds: u64, result: FixtureResult) -> ToolError {
    let mut tasks = lock_tasks();
    match context.prepare_task(tasks.len().to_be_bytes().into(), "started".into()) {
        Some(task) => {
            let end = SystemTime::now() + Duration::from_secs(seconds);
            tasks.push(FixtureTask { end, result, is_cancelled: false });
            ToolError::TaskStarted(task)
        }
        None => RpcError::MissingExtension(TASKS_EXTENSION).into(),
    }
}

fn build_task_tools() -> Vec<Tool> {
    let with_parameters = |tool: Tool, parameters| Tool { input: ToolInput::Parameters(parameters), ..tool };
    vec![
        with_parameters(
            new_tool(
                "greet",
                "Greets",
                Box::new(|_, args| {
                    respond(vec![new_text(&format!("Hello, {}!", args.text("name").unwrap_or_default()))])
                }),
            ),
            GREET,
        ),
        with_parameters(
            new_tool(
                "slow_compute",
                "Takes some seconds, as a task where the client supports it",
                Box::new(|context, args| {
                    let (seconds, label) = (args.count("seconds").unwrap_or(0), args.text("label").unwrap_or("done"));
                    if seconds == 0 {
                        return respond(vec![new_text(label)]);
                    }
                    if context.client_supports_extension(TASKS_EXTENSION) {
                        return Err(start_task(context, seconds, FixtureResult::Text(label.into())));
                    }
                    context.cancel.wait(Duration::from_secs(seconds));
                    respond(vec![new_text(label)])
                }),
            ),
            SLOW_COMPUTE,
        ),
        new_tool(
            "failing_job",
            "Fails after a second, as a task only",
            Box::new(|context, _| Err(start_task(context, 1, FixtureResult::Failure))),
        ),
        new_tool(
            "protocol_error_job",
            "Ends with an error of the protocol after a second, as a task only",
            Box::new(|context, _| Err(start_task(context, 1, FixtureResult::Error))),
        ),
        with_parameters(
            new_tool(
                "confirm_delete",
                "Asks before it deletes a file",
                Box::new(|context, args| match context.input_response("confirm") {
                    Some(_) => {
                        respond(vec![new_text(&format!("deleted {}", args.text("filename").unwrap_or_default()))])
                    }
                    None => request_input(vec![new_confirm_request()], None),
                }),
            ),
            CONFIRM_DELETE,
        ),
        new_tool(
            "test_tool_with_task",
            "Asks for a name, then continues as a task",
            Box::new(|context, _| match elicited_field(context, "user_name", "name") {
                Some(name) => Err(start_task(context, 1, FixtureResult::Text(format!("Hello, {name}!")))),
                None => request_input(vec![new_name_request("user_name", "What is your name?", "name")], None),
            }),
        ),
    ]
}

fn build_task_handlers() -> TaskHandlers {
    TaskHandlers {
        read: Box::new(|_, state| {
            let mut tasks = lock_tasks();
            let task = find_task(&mut tasks, state)?;
            let status = match task.result.clone() {
                _ if task.is_cancelled => TaskStatus::Cancelled,
                _ if SystemTime::now() < task.end => TaskStatus::Working,
                FixtureResult::Text(text) => TaskStatus::Completed(Ok(ToolOutput::text(text))),
                FixtureResult::Failure => TaskStatus::Completed(Err("the job failed".into())),
                FixtureResult::Error => TaskStatus::Failed(RpcError::HandlerFailed("the job panicked".into())),
            };
            Ok(TaskSnapshot { status, message: "read".into(), updated_at: task.end.min(SystemTime::now()) })
        }),
        cancel: Box::new(|_, state| {
            let mut tasks = lock_tasks();
            let task = find_task(&mut tasks, state)?;
            task.is_cancelled |= SystemTime::now() < task.end;
            Ok(())
        }),
        unknown_task_hint: "call the tool again",
    }
}

fn build_prompts() -> Vec<Prompt> {
    vec![
        Prompt {
            name: "test_simple_prompt",
            title: "test_simple_prompt",
            description: "A prompt without arguments",
            arguments: &[],
            handler: Box::new(|_, _| Ok(vec![("user", new_text("This is a simple prompt for testing."))])),
        },
        Prompt {
            name: "test_prompt_with_arguments",
            title: "test_prompt_with_arguments",
            description: "A prompt with two arguments",
            arguments: const { &[new_argument("arg1", "the first"), new_argument("arg2", "the second")] },
            handler: Box::new(|_, args| {
                let arg = |name: &str| args.get(name).and_then(Value::as_str).unwrap_or_default();
                let filled = format!("Prompt with arguments: arg1='{}', arg2='{}'", arg("arg1"), arg("arg2"));
                Ok(vec![("user", new_text(&filled))])
            }),
        },
        Prompt {
            name: "test_prompt_with_embedded_resource",
            title: "test_prompt_with_embedded_resource",
            description: "A prompt with a resource in it",
            arguments: const { &[new_argument("resourceUri", "the resource")] },
            handler: Box::new(|_, args| {
                let uri = args.get("resourceUri").and_then(Value::as_str).unwrap_or_default();
                Ok(vec![
                    ("user", new_embedded(uri, "text/plain", "Embedded resource content for testing.")),
                    ("user", new_text("Please process the embedded resource above.")),
                ])
            }),
        },
        Prompt {
            name: "test_prompt_with_image",
            title: "test_prompt_with_image",
            description: "A prompt with a picture",
            arguments: &[],
            handler: Box::new(|_, _| {
                Ok(vec![("user", new_png()), ("user", new_text("Please analyze the image above."))])
            }),
        },
        Prompt {
            name: "test_input_required_result_prompt",
            title: "test_input_required_result_prompt",
            description: "A prompt that asks the user first",
            arguments: &[],
            handler: Box::new(|context, _| match elicited_field(context, "user_context", "context") {
                Some(about) => Ok(vec![("user", new_text(&format!("In the context of {about}")))]),
                None => request_input(
                    vec![new_name_request("user_context", "What context should the prompt use?", "context")],
                    None,
                ),
            }),
        },
    ]
}

fn build_resources() -> Resources {
    let entry = |uri: &str, name: &str, description: &str, mime| Resource {
        uri: uri.into(),
        name: name.into(),
        title: name.into(),
        description: description.into(),
        mime,
    };
    Resources {
        list: Box::new(move |_| {
            vec![
                entry("test://static-text", "static text", "A text", "text/plain"),
                entry("test://static-binary", "static binary", "A picture", "image/png"),
            ]
        }),
        templates: vec![ResourceTemplate {
            uri: "test://template/{id}/data",
            name: "template",
            title: "template",
            description: "Data of an id",
            mime: Some("application/json"),
        }],
        read: Box::new(|_, uri| read_resource(uri)),
    }
}

fn read_resource(uri: &str) -> Result<Vec<ResourceContents>, ResourceError> {
    let (mime, data) = match uri {
        "test://static-text" => {
            ("text/plain", ResourceData::Text("This is the content of the static text resource.".into()))
        }
        "test://static-binary" => ("image/png", ResourceData::Blob(PNG.into())),
        _ => {
            let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
            let id = id.ok_or_else(|| ResourceError::Unknown(String::new()))?;
            let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
            ("application/json", ResourceData::Text(data.to_string()))
        }
    };
    Ok(vec![ResourceContents { uri: uri.into(), mime, data }])
}

fn build_catalog() -> Catalog {
    let mut tools = build_content_tools();
    tools.extend(build_stream_tools());
    tools.extend(build_input_tools());
    tools.extend(build_task_tools());
    tools.push(Tool {
        input: ToolInput::Parameters(&[ToolParameter {
            name: "prompt",
            kind: ParameterKind::Text,
            required: true,
            description: "the question",
        }]),
        ..new_tool(
            "test_sampling",
            "Asks the client's model",
            Box::new(|_, args| {
                request_input(vec![new_sampling_request("answer", args.text("prompt").unwrap_or_default(), 100)], None)
            }),
        )
    });
    Catalog {
        server: ServerInfo {
            name: "conformance",
            title: "Conformance server",
            version: "1.0.0",
            ..ServerInfo::default()
        },
        instructions: "A server for conformance tests.",
        page: None,
        tools,
        resources: Some(build_resources()),
        prompts: build_prompts(),
        completion: Some(Box::new(|_, request| {
            let words = ["paris", "park", "party"].into_iter();
            words.filter(|word| word.starts_with(request.value)).map(Into::into).collect()
        })),
        tasks: Some(build_task_handlers()),
        logging: true,
    }
}

fn main() {
    let server = Arc::new(McpServer::new(build_catalog()).expect("random bytes"));
    if std::env::args().nth(1).as_deref() == Some("stdio") {
        return proxmox_mcp::stdio::StdioServer::new(server, Limits::default()).run().expect("a thread");
    }
    let listener = http::listen("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = listener.local_addr().expect("an address");
    let config = http::HttpConfig {
        listener,
        metrics_listener: None,
        limits: Limits::default(),
        allowed_hosts: Vec::new(),
        allowed_origins: Vec::new(),
        clients: Vec::new(),
        insecure_no_auth: false,
        certificate: None,
        health: Default::default(),
        approvals: None,
    };
    let http_server = http::HttpServer::new(config, server).expect("a server");
    println!("conformance server listening on http://{address}");
    http_server.run();
}
