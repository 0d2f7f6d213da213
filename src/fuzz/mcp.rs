//! Messages of JSON-RPC, and what a server answers to each.

use crate::mcp::args::{Kind, Param};
use crate::mcp::call::Calls;
use crate::mcp::catalog::{Catalog, Effect, Input, Output, Prompt, Resource, Stop, Tool};
use crate::mcp::content::Content;
use crate::mcp::context::Caller;
use crate::mcp::message::{self, Invalid, MAX_BATCH, Message, Request};
use crate::mcp::{Exchange, Server};
use serde_json::Value;
use serde_json::value::RawValue;
use std::cell::RefCell;
use std::sync::LazyLock;

const PARAMS: [Param; 4] = [
    Param { name: "text", kind: Kind::Text, required: true, about: "what to say" },
    Param { name: "count", kind: Kind::Count, required: false, about: "how often" },
    Param { name: "data", kind: Kind::Object, required: false, about: "what else" },
    Param { name: "how", kind: Kind::Choice(&["loud", "low"]), required: false, about: "how" },
];

/// One of everything, each saying what it was asked.
static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let tool = Tool {
        name: "say",
        title: "Say",
        description: "Says it.",
        input: Input::Params(&PARAMS),
        effect: Effect::Reads,
        run: Box::new(|_, args| match args.text("text") {
            Some("fail") => Err(Stop::Failed("it failed: \u{202e}\u{1b}[0m".into())),
            text => Ok(Output::text(format!("{text:?} {:?} {:?}", args.count("count"), args.object("data")))),
        }),
    };
    let resource = Resource {
        uri: "test://a",
        name: "a",
        description: "Empty.",
        mime: "text/plain",
        read: Box::new(|_, _| Ok(Some(Vec::new()))),
    };
    let prompt = Prompt {
        name: "ask",
        description: "Asks.",
        arguments: &[("what", "about what", true)],
        fill: Box::new(|_, given| Ok(vec![("user", Content::Text(format!("{given:?}")))])),
    };
    let catalog = Catalog {
        instructions: "Say.",
        tools: vec![tool],
        resources: vec![resource],
        prompts: vec![prompt],
        complete: Some(Box::new(|_, name, typed| vec![name.len().to_string(), typed.len().to_string()])),
        logging: true,
        ..Catalog::default()
    };
    Server::new(catalog).expect("random bytes")
});

/// A message, or a batch of them: what is no message is refused with the code it must have, what is one says what the
/// same text says to another reader of JSON, and every answer is JSON on one line that has the id as it came.
pub fn message(bytes: &[u8]) -> bool {
    let json = serde_json::from_slice::<&RawValue>(bytes).ok();
    let list = json.and_then(|json| serde_json::from_str::<Vec<&RawValue>>(json.get()).ok());
    match message::batch(bytes, MAX_BATCH) {
        None => assert!(list.is_none(), "a list is a batch"),
        Some(Err(Invalid(answer))) => {
            assert!(list.is_none_or(|list| list.is_empty() || list.len() > MAX_BATCH));
            refused(&answer, json.is_some());
        }
        Some(Ok(parts)) => {
            let list = list.expect("a batch is a list");
            assert!((1..=MAX_BATCH).contains(&list.len()));
            assert!(list.iter().map(|part| part.get()).eq(parts.iter().copied()));
            return parts.iter().map(|part| one(part.as_bytes())).fold(false, |any, taken| any | taken);
        }
    }
    one(bytes)
}

fn one(bytes: &[u8]) -> bool {
    let json = serde_json::from_slice::<&RawValue>(bytes).ok();
    match message::parse(bytes) {
        Err(Invalid(answer)) => {
            refused(&answer, json.is_some());
            return false;
        }
        Ok(read) => {
            let json = json.expect("a message is JSON").get();
            match read {
                Message::Request(request) => answered(&request, json),
                Message::Notification(notification) => {
                    SERVER.notice(&notification, &Calls::new());
                    same(json, "method", &notification.method);
                    assert!(member(json, "id").is_none() && notification.params.is_none_or(|p| p.starts_with('{')));
                }
                Message::Response => assert!(member(json, "method").is_none_or(|m| m == "null")),
            }
        }
    }
    true
}

/// A refusal says whether it was JSON at all.
fn refused(answer: &[u8], is_json: bool) {
    let answer = shown(answer);
    let error: Value = serde_json::from_str(member(answer, "error").expect("an error")).expect("an error is JSON");
    assert_eq!(error["code"], if is_json { message::INVALID_REQUEST } else { message::PARSE_ERROR });
    assert!(member(answer, "result").is_none() && member(answer, "jsonrpc") == Some("\"2.0\""));
}

fn answered(request: &Request<'_>, json: &str) {
    let id = request.id();
    assert_eq!(member(json, "id"), Some(id));
    same(json, "method", &request.method);
    let params = request.params();
    if let Ok(params) = &params
        && let Some(raw) = member(json, "params").filter(|raw| *raw != "null")
    {
        let texts = [
            ("name", &params.name),
            ("uri", &params.uri),
            ("protocolVersion", &params.protocol_version),
            ("requestState", &params.request_state),
        ];
        for (name, text) in texts {
            match text {
                Some(text) => same(raw, name, text),
                None => assert!(member(raw, name).is_none_or(|value| value == "null"), "{name}"),
            }
        }
    }
    // The same request, its members in another order, is the same request.
    let again = format!(
        r#"{{"params":{},"method":{},"id":{id},"jsonrpc":"2.0"}}"#,
        member(json, "params").unwrap_or("null"),
        Value::from(&*request.method)
    );
    let Ok(Message::Request(again)) = message::parse(again.as_bytes()) else { panic!("{again} is no request") };
    assert_eq!((again.id(), &again.method, again.params().is_ok()), (id, &request.method, params.is_ok()));

    let (sent, caller) = (RefCell::new(Vec::new()), Caller::stdio());
    let send = |message: &[u8]| sent.borrow_mut().push(message.to_vec());
    let exchange = Exchange { caller: &caller, calls: None, cancel: Default::default(), send: &send };
    let answer = SERVER.answer(request, params, &exchange).expect("nobody cancels it");
    let shown = shown(&answer.bytes);
    assert_eq!(member(shown, "id"), Some(id), "{shown}");
    assert!(member(shown, "result").is_some() != member(shown, "error").is_some(), "{shown}");
    sent.borrow().iter().for_each(|message| _ = self::shown(message));
}

/// What goes out: JSON, on one line, with no character that isn't seen as itself.
fn shown(bytes: &[u8]) -> &str {
    let text = str::from_utf8(bytes).expect("an answer is UTF-8");
    assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "{text}");
    // The id is the client's own, as it came.
    let end = member(text, "id").map_or(0, |id| id.as_ptr() as usize - text.as_ptr() as usize + id.len());
    assert!(!text.contains(['\n', '\r']) && !super::shown::has_unseen(&text[end..]), "{text:?}");
    text
}

/// The raw value of a member, the last of that name, to a reader that is not ours.
fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let members = super::shown::members(object)?;
    members.into_iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn same(object: &str, name: &str, text: &str) {
    let raw = member(object, name).expect("it is there");
    assert_eq!(serde_json::from_str::<String>(raw).expect("it is a text"), text);
}
