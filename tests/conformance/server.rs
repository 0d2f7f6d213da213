//! The server that the conformance suite asks for: the product's own protocol core and HTTP front, under the tools,
//! prompts and resources that the suite's scenarios name. Prints its address and serves until it is ended.
//!
//! With `stdio` as its argument it serves on stdin and stdout instead.

use proxmox_mcp::http;
use proxmox_mcp::mcp::args::{Args, Kind, Param};
use proxmox_mcp::mcp::catalog::{
    Catalog, Effect, Input, NeedsInput, Output, Prompt, Resource, ResourceTemplate, Run, Stop, Tool,
};
use proxmox_mcp::mcp::content::{Binary, Content, Contents, Data};
use proxmox_mcp::mcp::context::Context;
use proxmox_mcp::mcp::{Server, modern};
use proxmox_mcp::settings::Limits;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A PNG of one red pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/// A WAV without samples.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=";

fn tool(name: &'static str, description: &'static str, run: Run) -> Tool {
    Tool { name, title: name, description, input: Input::Params(&[]), effect: Effect::Reads, run }
}

fn png() -> Content {
    Content::Image(Binary { data: PNG.into(), mime: "image/png" })
}

fn text(text: &str) -> Content {
    Content::Text(text.into())
}

fn embedded(uri: &str, mime: &'static str, text: &str) -> Content {
    Content::Resource(Contents { uri: uri.into(), mime, data: Data::Text(text.into()) })
}

fn content(content: Vec<Content>) -> Result<Output, Stop> {
    Ok(Output { content, structured: None })
}

fn content_tools() -> Vec<Tool> {
    vec![
        tool(
            "test_simple_text",
            "Answers with a text",
            Box::new(|_, _| content(vec![text("This is a simple text response for testing.")])),
        ),
        tool("test_image_content", "Answers with a picture", Box::new(|_, _| content(vec![png()]))),
        tool(
            "test_audio_content",
            "Answers with a sound",
            Box::new(|_, _| content(vec![Content::Audio(Binary { data: WAV.into(), mime: "audio/wav" })])),
        ),
        tool(
            "test_embedded_resource",
            "Answers with a resource",
            Box::new(|_, _| {
                content(vec![embedded(
                    "test://embedded-resource",
                    "text/plain",
                    "This is an embedded resource content.",
                )])
            }),
        ),
        tool(
            "test_multiple_content_types",
            "Answers with a text, a picture and a resource",
            Box::new(|_, _| {
                let data = json!({"test": "data", "value": 123}).to_string();
                let resource = embedded("test://mixed-content-resource", "application/json", &data);
                content(vec![text("Multiple content types test:"), png(), resource])
            }),
        ),
        tool(
            "test_error_handling",
            "Always fails",
            Box::new(|_, _| Err(Stop::Failed("This tool intentionally returns an error for testing".into()))),
        ),
        Tool {
            input: Input::Schema(json!({
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
            ..tool(
                "json_schema_2020_12_tool",
                "Has a schema with every keyword",
                Box::new(|_, _| content(vec![text("ok")])),
            )
        },
    ]
}

fn stream_tools() -> Vec<Tool> {
    vec![
        tool(
            "test_tool_with_progress",
            "Reports progress",
            Box::new(|context, _| {
                for done in [0.0, 50.0, 100.0] {
                    context.progress(done, Some(100.0), "working");
                }
                content(vec![text("done")])
            }),
        ),
        tool("test_tool_with_logging", "Sends log messages", Box::new(logging)),
        tool("test_logging_tool", "Sends log messages", Box::new(logging)),
        tool(
            "test_streaming_elicitation",
            "Asks the user",
            Box::new(|context, _| {
                context.progress(1.0, None, "asking");
                ask(vec![name_question("user_name", "What is your name?", "name")], None)
            }),
        ),
        tool(
            "test_missing_capability",
            "Needs a client that samples",
            Box::new(|context, _| {
                if context.client_can("sampling") {
                    content(vec![text("ok")])
                } else {
                    Err(modern::missing_capability("sampling").into())
                }
            }),
        ),
        tool(
            "test_wait_for_cancel",
            "Waits until it is cancelled, 30 s at most, and reports progress meanwhile",
            Box::new(|context, _| {
                let start = Instant::now();
                while start.elapsed() < Duration::from_secs(30) {
                    if context.cancel.is_cancelled() {
                        eprintln!("test_wait_for_cancel: cancelled");
                        return content(vec![text("cancelled")]);
                    }
                    context.progress(start.elapsed().as_secs_f64(), Some(30.0), "waiting");
                    std::thread::sleep(Duration::from_millis(20));
                }
                content(vec![text("nobody cancelled")])
            }),
        ),
    ]
}

fn logging(context: &Context<'_>, _: &Args) -> Result<Output, Stop> {
    for message in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        context.log("info", &json!(message));
    }
    content(vec![text("logged")])
}

type Question = (&'static str, &'static str, Value);

fn name_question(key: &'static str, message: &str, field: &str) -> Question {
    let schema = json!({"type": "object", "properties": {field: {"type": "string"}}, "required": [field]});
    (key, "elicitation/create", json!({"mode": "form", "message": message, "requestedSchema": schema}))
}

fn sampling(key: &'static str, question: &str, most: u32) -> Question {
    let message = json!({"role": "user", "content": {"type": "text", "text": question}});
    (key, "sampling/createMessage", json!({"messages": [message], "maxTokens": most}))
}

fn confirm() -> Question {
    let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]});
    ("confirm", "elicitation/create", json!({"mode": "form", "message": "Please confirm", "requestedSchema": schema}))
}

fn ask<T>(requests: Vec<Question>, state: Option<Value>) -> Result<T, Stop> {
    Err(Stop::NeedsInput(NeedsInput { requests, state }))
}

/// The field of an accepted elicitation; an answer of another shape counts as none.
fn field<'a>(context: &'a Context<'_>, key: &str, field: &str) -> Option<&'a str> {
    context.answer(key)?.get("content")?.get(field)?.as_str()
}

fn input_tools() -> Vec<Tool> {
    vec![
        tool(
            "test_input_required_result_elicitation",
            "Asks for a name",
            Box::new(|context, _| match field(context, "user_name", "name") {
                Some(name) => content(vec![text(&format!("Hello, {name}!"))]),
                None => ask(vec![name_question("user_name", "What is your name?", "name")], None),
            }),
        ),
        tool(
            "test_input_required_result_sampling",
            "Asks the client's model",
            Box::new(|context, _| match context.answer("capital_question") {
                Some(answer) => content(vec![text(answer["content"]["text"].as_str().unwrap_or("no text"))]),
                None => ask(vec![sampling("capital_question", "What is the capital of France?", 100)], None),
            }),
        ),
        tool(
            "test_input_required_result_list_roots",
            "Asks for the client's roots",
            Box::new(|context, _| match context.answer("client_roots") {
                Some(roots) => content(vec![text(&roots["roots"].to_string())]),
                None => ask(vec![("client_roots", "roots/list", json!({}))], None),
            }),
        ),
        tool("test_input_required_result_request_state", "Wants its state back", Box::new(with_state)),
        tool("test_input_required_result_tampered_state", "Refuses a changed state", Box::new(with_state)),
        tool(
            "test_input_required_result_multiple_inputs",
            "Asks three things at once",
            Box::new(|context, _| {
                let keys = ["user_name", "greeting", "client_roots"];
                if context.state()?.is_some() && keys.iter().all(|k| context.answer(k).is_some()) {
                    return content(vec![text("all three answered")]);
                }
                let questions = vec![
                    name_question("user_name", "What is your name?", "name"),
                    sampling("greeting", "Generate a greeting", 50),
                    ("client_roots", "roots/list", json!({})),
                ];
                ask(questions, Some(json!("three")))
            }),
        ),
        tool(
            "test_input_required_result_multi_round",
            "Asks twice",
            Box::new(|context, _| {
                let round = context.state()?.and_then(|s| s.as_u64());
                let (name, color) = (field(context, "step1", "name"), field(context, "step2", "color"));
                match (round, name, color) {
                    (Some(2), _, Some(color)) => content(vec![text(&format!("your color is {color}"))]),
                    (Some(1), Some(_), _) => ask(
                        vec![name_question("step2", "Step 2: What is your favorite color?", "color")],
                        Some(json!(2)),
                    ),
                    _ => ask(vec![name_question("step1", "Step 1: What is your name?", "name")], Some(json!(1))),
                }
            }),
        ),
        tool(
            "test_input_required_result_capabilities",
            "Asks only what the client can answer",
            Box::new(|context, _| {
                let mut questions = Vec::new();
                if context.client_can("sampling") {
                    questions.push(sampling("question", "What is the capital of France?", 100));
                }
                if context.client_can("elicitation") {
                    questions.push(name_question("user_name", "What is your name?", "name"));
                }
                ask(questions, None)
            }),
        ),
    ]
}

fn with_state(context: &Context<'_>, _: &Args) -> Result<Output, Stop> {
    match context.state()? {
        Some(_) if context.answer("confirm").is_some() => content(vec![text("state-ok")]),
        _ => ask(vec![confirm()], Some(json!({"for": "confirm"}))),
    }
}

fn prompts() -> Vec<Prompt> {
    vec![
        Prompt {
            name: "test_simple_prompt",
            description: "A prompt without arguments",
            arguments: &[],
            fill: Box::new(|_, _| Ok(vec![("user", text("This is a simple prompt for testing."))])),
        },
        Prompt {
            name: "test_prompt_with_arguments",
            description: "A prompt with two arguments",
            arguments: &[("arg1", "the first", true), ("arg2", "the second", true)],
            fill: Box::new(|_, args| {
                let arg = |name: &str| args.get(name).and_then(Value::as_str).unwrap_or_default();
                let filled = format!("Prompt with arguments: arg1='{}', arg2='{}'", arg("arg1"), arg("arg2"));
                Ok(vec![("user", text(&filled))])
            }),
        },
        Prompt {
            name: "test_prompt_with_embedded_resource",
            description: "A prompt with a resource in it",
            arguments: &[("resourceUri", "the resource", true)],
            fill: Box::new(|_, args| {
                let uri = args.get("resourceUri").and_then(Value::as_str).unwrap_or_default();
                Ok(vec![
                    ("user", embedded(uri, "text/plain", "Embedded resource content for testing.")),
                    ("user", text("Please process the embedded resource above.")),
                ])
            }),
        },
        Prompt {
            name: "test_prompt_with_image",
            description: "A prompt with a picture",
            arguments: &[],
            fill: Box::new(|_, _| Ok(vec![("user", png()), ("user", text("Please analyze the image above."))])),
        },
        Prompt {
            name: "test_input_required_result_prompt",
            description: "A prompt that asks the user first",
            arguments: &[],
            fill: Box::new(|context, _| match field(context, "user_context", "context") {
                Some(about) => Ok(vec![("user", text(&format!("In the context of {about}")))]),
                None => {
                    ask(vec![name_question("user_context", "What context should the prompt use?", "context")], None)
                }
            }),
        },
    ]
}

fn catalog() -> Catalog {
    let mut tools = content_tools();
    tools.extend(stream_tools());
    tools.extend(input_tools());
    tools.push(Tool {
        input: Input::Params(&[Param { name: "prompt", kind: Kind::Text, required: true, about: "the question" }]),
        ..tool(
            "test_sampling",
            "Asks the client's model",
            Box::new(|_, args| ask(vec![sampling("answer", args.text("prompt").unwrap_or_default(), 100)], None)),
        )
    });
    let one = |uri: &str, mime, data| Ok(Some(vec![Contents { uri: uri.into(), mime, data }]));
    Catalog {
        instructions: "A server for conformance tests.",
        tools,
        resources: vec![
            Resource {
                uri: "test://static-text",
                name: "static text",
                description: "A text",
                mime: "text/plain",
                read: Box::new(move |_, uri| {
                    one(uri, "text/plain", Data::Text("This is the content of the static text resource.".into()))
                }),
            },
            Resource {
                uri: "test://static-binary",
                name: "static binary",
                description: "A picture",
                mime: "image/png",
                read: Box::new(move |_, uri| one(uri, "image/png", Data::Blob(PNG.into()))),
            },
        ],
        templates: vec![ResourceTemplate {
            uri: "test://template/{id}/data",
            name: "template",
            description: "Data of an id",
            mime: "application/json",
            read: Box::new(move |_, uri| {
                let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
                let Some(id) = id else { return Ok(None) };
                let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
                one(uri, "application/json", Data::Text(data.to_string()))
            }),
        }],
        prompts: prompts(),
        complete: Some(Box::new(|_, _, typed| {
            ["paris", "park", "party"].into_iter().filter(|w| w.starts_with(typed)).map(Into::into).collect()
        })),
        logging: true,
    }
}

fn main() {
    let server = Arc::new(Server::new(catalog()).expect("random bytes for a key"));
    if std::env::args().nth(1).as_deref() == Some("stdio") {
        return proxmox_mcp::stdio::Session::new(server, Limits::default()).run().expect("a thread");
    }
    let listener = http::listen("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = listener.local_addr().expect("an address");
    let config = http::Config {
        listener,
        watch: None,
        limits: Limits::default(),
        allowed_hosts: Vec::new(),
        allowed_origins: Vec::new(),
        clients: Vec::new(),
        identity: None,
        probes: Default::default(),
    };
    let front = http::Server::new(config, server).expect("a server");
    println!("conformance server listening on http://{address}");
    front.run();
}
