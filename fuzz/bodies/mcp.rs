//! JSON-RPC messages, and the answers of a server to them.

use crate::mcp::arguments::{ParameterKind, ToolParameter};
use crate::mcp::catalog::{
    Catalog, Prompt, PromptArgument, Resource, ResourceError, ResourceTemplate, Resources, TaskError, TaskHandlers,
    Tool, ToolEffect, ToolError, ToolInput, ToolOutput,
};
use crate::mcp::content::Content;
use crate::mcp::context::{CallContext, Caller};
use crate::mcp::in_flight::InFlightCalls;
use crate::mcp::message::{self, InvalidMessage, MAX_BATCH, Message, RpcRequest};
use crate::mcp::{McpServer, TransportContext};
use serde_json::Value;
use serde_json::value::RawValue;
use std::cell::RefCell;
use std::sync::LazyLock;

const SAY_PARAMETERS: [ToolParameter; 4] = [
    ToolParameter { name: "text", kind: ParameterKind::Text, required: true, description: "the words" },
    ToolParameter { name: "count", kind: ParameterKind::Count, required: false, description: "times" },
    ToolParameter { name: "data", kind: ParameterKind::Object, required: false, description: "more" },
    ToolParameter {
        name: "volume",
        kind: ParameterKind::Choice(&["loud", "low"]),
        required: false,
        description: "any",
    },
];

/// A server with one of everything. Each answer repeats the arguments.
static SERVER: LazyLock<McpServer> = LazyLock::new(|| {
    let tool = Tool {
        name: "say",
        title: "Say",
        description: "Says it.",
        input: ToolInput::Parameters(&SAY_PARAMETERS),
        effect: ToolEffect::ReadOnly,
        meta: serde_json::Map::new(),
        handler: Box::new(|_, arguments| match arguments.text("text") {
            Some("fail") => Err(ToolError::Failed("it failed: \u{202e}\u{1b}[0m".into())),
            text => {
                Ok(ToolOutput::text(format!("{text:?} {:?} {:?}", arguments.count("count"), arguments.object("data"))))
            }
        }),
    };
    let entry = |context: &CallContext<'_>| Resource {
        uri: "test://a".into(),
        name: context.caller.client.name.clone(),
        title: "A \u{202e}\n".into(),
        description: "Empty.".into(),
        mime: "text/plain",
    };
    let resources = Resources {
        list: Box::new(move |context| vec![entry(context)]),
        templates: vec![ResourceTemplate {
            uri: "test://{id}",
            name: "t",
            title: "T",
            description: "Empty.",
            mime: None,
        }],
        read: Box::new(|_, uri| match uri {
            "test://a" => Ok(Vec::new()),
            uri => Err(ResourceError::Unknown(uri.to_owned())),
        }),
    };
    let prompt = Prompt {
        name: "ask",
        title: "Ask",
        description: "Asks.",
        arguments: &[PromptArgument { name: "what", description: "the topic", required: true }],
        handler: Box::new(|_, arguments| Ok(vec![("user", Content::Text(format!("{arguments:?}")))])),
    };
    let catalog = Catalog {
        instructions: "Say.",
        tools: vec![tool],
        resources: Some(resources),
        prompts: vec![prompt],
        completion: Some(Box::new(|_, request| vec![request.argument.to_owned(), request.value.to_owned()])),
        tasks: Some(TaskHandlers {
            read: Box::new(|_, _| Err(TaskError::Unknown)),
            cancel: Box::new(|_, _| Ok(())),
            unknown_task_hint: "call again",
        }),
        logging: true,
        ..Catalog::default()
    };
    McpServer::new(catalog).expect("random bytes")
});

/// Checks a message or a batch. An invalid message is rejected with the right code. A valid one has the same content for
/// another JSON parser. Every answer is JSON on one line and repeats the id byte for byte.
pub fn check_message(bytes: &[u8]) -> bool {
    let json = serde_json::from_slice::<&RawValue>(bytes).ok();
    let list = json.and_then(|json| serde_json::from_str::<Vec<&RawValue>>(json.get()).ok());
    match message::split_batch(bytes, MAX_BATCH) {
        None => assert!(list.is_none(), "a list is a batch"),
        Some(Err(InvalidMessage(answer))) => {
            assert!(list.is_none_or(|list| list.is_empty() || list.len() > MAX_BATCH));
            assert_rejected(&answer, json.is_some());
        }
        Some(Ok(parts)) => {
            let list = list.expect("a batch is a list");
            assert!((1..=MAX_BATCH).contains(&list.len()));
            assert!(list.iter().map(|part| part.get()).eq(parts.iter().copied()));
            return parts
                .iter()
                .map(|part| check_single_message(part.as_bytes()))
                .fold(false, |any, accepted| any | accepted);
        }
    }
    check_single_message(bytes)
}

fn check_single_message(bytes: &[u8]) -> bool {
    let json = serde_json::from_slice::<&RawValue>(bytes).ok();
    match message::parse_message(bytes) {
        Err(InvalidMessage(answer)) => {
            assert_rejected(&answer, json.is_some());
            return false;
        }
        Ok(read) => {
            let json = json.expect("a message is JSON").get();
            match read {
                Message::Request(request) => assert_answered(&request, json),
                Message::Notification(notification) => {
                    SERVER.handle_notification(&notification, &InFlightCalls::new());
                    assert_same_member(json, "method", &notification.method);
                    assert!(
                        find_member(json, "id").is_none() && notification.params.is_none_or(|p| p.starts_with('{'))
                    );
                }
                Message::Response => assert!(find_member(json, "method").is_none_or(|m| m == "null")),
            }
        }
    }
    true
}

/// Asserts that a rejection has the code for JSON or for other bytes.
fn assert_rejected(answer: &[u8], is_json: bool) {
    let answer = check_output(answer);
    let error: Value = serde_json::from_str(find_member(answer, "error").expect("an error")).expect("an error is JSON");
    assert_eq!(error["code"], if is_json { message::INVALID_REQUEST } else { message::PARSE_ERROR });
    assert!(find_member(answer, "result").is_none() && find_member(answer, "jsonrpc") == Some("\"2.0\""));
}

fn assert_answered(request: &RpcRequest<'_>, json: &str) {
    let id = request.id();
    assert_eq!(find_member(json, "id"), Some(id));
    assert_same_member(json, "method", &request.method);
    let params = request.parse_params();
    if let Ok(params) = &params
        && let Some(raw) = find_member(json, "params").filter(|raw| *raw != "null")
    {
        let texts = [
            ("name", &params.name),
            ("uri", &params.uri),
            ("protocolVersion", &params.protocol_version),
            ("requestState", &params.request_state),
            ("taskId", &params.task_id),
        ];
        for (name, text) in texts {
            match text {
                Some(text) => assert_same_member(raw, name, text),
                None => assert!(find_member(raw, name).is_none_or(|value| value == "null"), "{name}"),
            }
        }
    }
    // The order of the members does not matter.
    let reordered = format!(
        r#"{{"params":{},"method":{},"id":{id},"jsonrpc":"2.0"}}"#,
        find_member(json, "params").unwrap_or("null"),
        Value::from(&*request.method)
    );
    let Ok(Message::Request(parsed)) = message::parse_message(reordered.as_bytes()) else {
        panic!("{reordered} is not a request")
    };
    assert_eq!((parsed.id(), &parsed.method, parsed.parse_params().is_ok()), (id, &request.method, params.is_ok()));

    let (sent, caller) = (RefCell::new(Vec::new()), Caller::new_stdio());
    let send = |message: &[u8]| sent.borrow_mut().push(message.to_vec());
    let transport = TransportContext { caller: &caller, calls: None, cancel: Default::default(), notify: &send };
    let answer = SERVER.handle_request(request, params, &transport).expect("it is not cancelled");
    let answer = check_output(&answer.bytes);
    assert_eq!(find_member(answer, "id"), Some(id), "{answer}");
    assert!(find_member(answer, "result").is_some() != find_member(answer, "error").is_some(), "{answer}");
    sent.borrow().iter().for_each(|message| _ = self::check_output(message));
}

/// Checks a message to the client: JSON on one line without invisible characters outside its id.
fn check_output(bytes: &[u8]) -> &str {
    let text = str::from_utf8(bytes).expect("an answer is UTF-8");
    assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "{text}");
    // The id repeats the client's bytes.
    let end = find_member(text, "id").map_or(0, |id| id.as_ptr() as usize - text.as_ptr() as usize + id.len());
    assert!(!text.contains(['\n', '\r']) && !super::sanitize::has_invisible(&text[end..]), "{text:?}");
    text
}

/// Returns the raw value of the last member with this name, by another parser.
fn find_member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let members = super::json::parse_members(object)?;
    members.into_iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn assert_same_member(object: &str, name: &str, text: &str) {
    let raw = find_member(object, name).expect("the member exists");
    assert_eq!(serde_json::from_str::<String>(raw).expect("a string"), text);
}
