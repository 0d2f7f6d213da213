//! JSON-RPC 2.0 messages as MCP uses them: read without copying, answered without building a tree.
//!
//! What is refused, and with which code, follows the column "do" of the edge cases every SDK was measured on: an id is
//! a string or an integer and is echoed byte for byte; `params` is an object; a field that stands twice is no message.

pub use super::params::{RequestMeta, RequestParams};
use super::params::{decode_string, is_not_null, read_members};
use crate::base::json_scan::walk;
use crate::sanitize::escape_invisible;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::borrow::Cow;

pub use super::json_string::push_json_string;

/// Not JSON (JSON-RPC 2.0, section 5.1).
pub const PARSE_ERROR: i32 = -32700;
/// JSON, but no message.
pub const INVALID_REQUEST: i32 = -32600;
/// No such method.
pub const METHOD_NOT_FOUND: i32 = -32601;
/// The parameters don't fit the method.
pub const INVALID_PARAMS: i32 = -32602;
/// Our fault.
pub const INTERNAL_ERROR: i32 = -32603;
/// The server can't take the call now; sending it again later may work.
pub const BUSY: i32 = -32000;
/// What to say with [`BUSY`] where all of the server's places are taken.
pub const SERVER_BUSY_MESSAGE: &str =
    "busy: the server has as many calls in flight as it may; send this one again in a few seconds";
/// There is no such resource, before 2026-07-28 (which has [`INVALID_PARAMS`] for it).
pub const RESOURCE_NOT_FOUND: i32 = -32002;
/// A header says something else than the body (2026-07-28, Streamable HTTP).
pub const HEADER_MISMATCH: i32 = -32020;
/// The client did not declare a capability that the request needs (2026-07-28).
pub const MISSING_CAPABILITY: i32 = -32021;
/// A protocol version that is not spoken (2026-07-28).
pub const UNSUPPORTED_VERSION: i32 = -32022;

/// One message, borrowed from the bytes it came in.
#[derive(Debug)]
pub enum Message<'a> {
    /// Wants an answer.
    Request(RpcRequest<'a>),
    /// Wants none.
    Notification(RpcNotification<'a>),
    /// An answer to a request; this server sends none, so there is nothing to do.
    Response,
}

/// A request: an id, a method, perhaps an object of parameters.
#[derive(Debug)]
pub struct RpcRequest<'a> {
    id: &'a str,
    /// The method's name.
    pub method: Cow<'a, str>,
    params: Option<&'a str>,
}

/// A notification: as a request, without an id.
#[derive(Debug)]
pub struct RpcNotification<'a> {
    /// The method's name.
    pub method: Cow<'a, str>,
    /// The JSON text of the parameters: an object.
    pub params: Option<&'a str>,
}

/// Bytes that are no valid message: the JSON-RPC error answer to send (its id is null where none could be read).
/// Over HTTP it goes out as the body of a 400.
#[derive(Debug)]
pub struct InvalidMessage(pub Vec<u8>);

/// A JSON-RPC error, before it is tied to a request's id.
#[derive(Debug, PartialEq)]
pub struct RpcError {
    /// One of the codes of this module.
    pub code: i32,
    /// What failed, why, what to do next.
    pub message: String,
    /// What a program may need of it.
    pub data: Option<Value>,
}

impl RpcError {
    /// A fault without data.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The parameters don't fit; `message` says which and what to send instead.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }
}

impl<'a> RpcRequest<'a> {
    /// The id as JSON text, byte for byte as the client wrote it.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// Whether answering may block on a cluster (a tools/call); the other requests are answered from memory.
    pub fn may_take_long(&self) -> bool {
        self.method == "tools/call"
    }

    /// The parameters; an absent object counts as an empty one.
    pub fn parse_params(&self) -> Result<RequestParams<'a>, RpcError> {
        let params = self.params.map_or_else(|| Ok(RequestParams::default()), RequestParams::parse);
        params.map_err(|why| RpcError::invalid_params(format!("params of {}: {why}", self.method)))
    }

    /// The bytes of an answer whose `result` is written by `write`.
    pub fn encode_result(&self, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(br#","result":"#);
        write(&mut out);
        out.push(b'}');
        out
    }

    /// The bytes of an error answer, also for a transport that can't run the request ([`BUSY`]).
    pub fn encode_rejection(&self, code: i32, message: &str) -> Vec<u8> {
        self.encode_error(&RpcError::new(code, message))
    }

    /// The bytes of an error answer.
    pub fn encode_error(&self, fault: &RpcError) -> Vec<u8> {
        encode_error(self.id, fault)
    }
}

fn encode_error(id: &str, fault: &RpcError) -> Vec<u8> {
    let mut out = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{},"message":"#, fault.code).into_bytes();
    // Both may have a stranger's words in them, as a result may.
    push_json_string(&mut out, &fault.message);
    if let Some(data) = &fault.data {
        out.extend_from_slice(format!(",\"data\":{}", escape_invisible::escape_json(data.to_string())).as_bytes());
    }
    out.extend_from_slice(b"}}");
    out
}

fn reject_message(id: &str, code: i32, why: &str) -> InvalidMessage {
    InvalidMessage(encode_error(id, &RpcError::new(code, why)))
}

/// The answer to a message of more than `most` bytes, on a transport that has no other way to say so.
pub fn encode_too_long(most: usize) -> Vec<u8> {
    reject_message("null", INVALID_REQUEST, &format!("the message is too long: at most {most} bytes")).0
}

pub(super) fn is_valid_id(raw: &str) -> bool {
    raw.starts_with('"')
        || (raw.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) && !raw.contains(['.', 'e', 'E']))
}

/// Messages of one batch: the bound of the official SDKs.
pub const MAX_BATCH: usize = 100;

/// The messages of a batch (JSON-RPC 2.0, section 6; MCP has batches in 2025-03-26 only), where the bytes are one.
/// `None` where they are not an array; an empty one, or one of more than `most`, is no message.
pub fn split_batch(bytes: &[u8], most: usize) -> Option<Result<Vec<&str>, InvalidMessage>> {
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'[') {
        return None;
    }
    let mut parts = Vec::new();
    let text = str::from_utf8(bytes).unwrap_or_default();
    let whole = walk(text, &mut |_, part| {
        parts.push(part);
        true
    });
    Some(match if whole { Ok(parts) } else { Err(reject_non_object(bytes)) } {
        Err(why) => Err(why),
        Ok(parts) if parts.is_empty() => Err(reject_message("null", INVALID_REQUEST, "an empty batch")),
        Ok(parts) if parts.len() > most => {
            Err(reject_message("null", INVALID_REQUEST, &format!("a batch of {}: send at most {most}", parts.len())))
        }
        Ok(parts) => Ok(parts),
    })
}

/// Reads one message. A JSON array (a batch) is refused here; a transport that takes batches splits them first.
pub fn parse_message(bytes: &[u8]) -> Result<Message<'_>, InvalidMessage> {
    let text = str::from_utf8(bytes).map_err(|_| reject_non_object(bytes))?;
    if text.trim_ascii_start().starts_with('[') && walk(text, &mut |_, _| true) {
        return Err(reject_message("null", INVALID_REQUEST, "not a JSON-RPC message, or a batch within a batch"));
    }
    // Every field raw, so that a message with one wrong field still shows its id.
    let [jsonrpc, id, method, params, result, error] =
        read_members(text, ["jsonrpc", "id", "method", "params", "result", "error"])
            .map_err(|_| reject_non_object(bytes))?;
    // `"id": null`, which no request may have, is another thing than an absent id.
    if id.is_some_and(|raw| !is_valid_id(raw)) {
        return Err(reject_message("null", INVALID_REQUEST, "id must be a string or an integer"));
    }
    let refuse = |why: &str| Err(reject_message(id.unwrap_or("null"), INVALID_REQUEST, why));
    if jsonrpc != Some("\"2.0\"") {
        return refuse("\"jsonrpc\":\"2.0\" is missing");
    }
    let Some(method) = method.filter(is_not_null) else {
        return match result.or(error.filter(is_not_null)) {
            Some(_) => Ok(Message::Response),
            None => refuse("neither method nor result"),
        };
    };
    let Some(method) = decode_string(method) else { return refuse("method must be a string") };
    let params = params.filter(is_not_null);
    if params.is_some_and(|p| !p.starts_with('{')) {
        return refuse("params must be an object");
    }
    Ok(match id {
        Some(id) => Message::Request(RpcRequest { id, method, params }),
        None => Message::Notification(RpcNotification { method, params }),
    })
}

/// The refusal of bytes that are no object: they are no JSON, or something else.
#[cold]
fn reject_non_object(bytes: &[u8]) -> InvalidMessage {
    match str::from_utf8(bytes).map(serde_json::from_str::<IgnoredAny>) {
        Err(e) => reject_message("null", PARSE_ERROR, &format!("not JSON: {e}")),
        Ok(Err(e)) => reject_message("null", PARSE_ERROR, &format!("not JSON: {e}")),
        Ok(Ok(_)) => reject_message(
            "null",
            INVALID_REQUEST,
            "not a JSON-RPC message: one object with \"jsonrpc\":\"2.0\" is wanted",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_rejection(bytes: &str) -> String {
        match parse_message(bytes.as_bytes()) {
            Err(InvalidMessage(answer)) => String::from_utf8(answer).unwrap(),
            Ok(m) => panic!("{bytes} was taken as {m:?}"),
        }
    }

    #[test]
    fn ids_are_echoed_byte_for_byte() {
        for id in ["0", "-1", "\"\"", "\"abc\"", "9007199254740993", "123456789012345678901234567890", "\"\\u0041\""] {
            let text = format!(r#"{{"id":{id},"method":"ping","jsonrpc":"2.0"}}"#);
            let Ok(Message::Request(r)) = parse_message(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(
                r.encode_result(|o| o.extend_from_slice(b"{}")),
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#).as_bytes()
            );
        }
    }

    #[test]
    fn what_is_not_json_is_a_parse_error() {
        for text in ["", "{", "nope", "{\"jsonrpc\":\"2.0\",}", "\u{feff}{}", "[{]]", "[1"] {
            assert!(parse_rejection(text).contains("-32700"), "{text}");
        }
        assert!(parse_message(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}").is_err());
    }

    #[test]
    fn what_is_json_but_no_message_is_an_invalid_request() {
        for text in [
            "42",
            "[]",
            "{}",
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
        ] {
            assert!(parse_rejection(text).contains("-32600"), "{text}");
        }
        assert!(
            parse_rejection(r#"{"jsonrpc":"2.0","id":7,"method":[]}"#).contains(r#""id":7"#),
            "a usable id is echoed"
        );
    }

    #[test]
    fn an_array_is_never_taken_for_an_object() {
        assert!(parse_rejection(r#"["2.0",5,"tools/list"]"#).contains("-32600"));
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":["2026-07-28",{}]}}"#;
        let Ok(Message::Request(request)) = parse_message(text.as_bytes()) else { panic!("{text}") };
        let fault = request.parse_params().unwrap_err();
        assert_eq!((fault.code, fault.message.contains("expected an object")), (INVALID_PARAMS, true), "{fault:?}");
    }

    #[test]
    fn an_id_that_is_no_string_and_no_integer_is_refused_with_id_null() {
        for id in ["null", "true", "1.5", "1e3", "{}", "[1]"] {
            let answer = parse_rejection(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#));
            assert!(answer.contains("-32600") && answer.contains(r#""id":null"#), "{answer}");
        }
    }

    #[test]
    fn a_message_without_an_id_is_a_notification_and_one_with_a_result_a_response() {
        assert!(matches!(parse_message(br#"{"jsonrpc":"2.0","method":"tools/call"}"#), Ok(Message::Notification(_))));
        for text in
            [r#"{"jsonrpc":"2.0","id":1,"result":null}"#, r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#]
        {
            assert!(matches!(parse_message(text.as_bytes()), Ok(Message::Response)), "{text}");
        }
    }
}
