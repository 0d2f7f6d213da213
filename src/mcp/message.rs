//! JSON-RPC 2.0 messages as MCP uses them, read without a copy and answered without a tree.
//!
//! An id is a string or an integer, and answers repeat it byte for byte. `params` is an object. A message with the same
//! member twice is rejected.

pub use super::error::{
    BUSY, HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, MISSING_CAPABILITY,
    PARSE_ERROR, QUEUE_TIMEOUT_MESSAGE, RESOURCE_NOT_FOUND, RequiredUrl, RpcError, SERVER_BUSY_MESSAGE,
    SERVER_STOPPING_MESSAGE, UNSUPPORTED_VERSION,
};
pub use super::params::{RequestMeta, RequestParams};

use super::error::MessageError;
use super::json_string::push_json_string;
use super::params::{decode_string, is_not_null, is_valid_id, read_members};
use crate::base::hint::render_error;
use crate::base::json_scan::walk;
use crate::base::shorten::shorten;
use crate::sanitize::escape_invisible::escape_json;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::borrow::Cow;

/// The room of a new answer. Most are shorter.
const USUAL_RESULT_BYTES: usize = 1 << 10;

/// One message, borrowed from the bytes it came in.
#[derive(Debug)]
pub enum Message<'a> {
    Request(RpcRequest<'a>),
    Notification(RpcNotification<'a>),
    /// The answer to a request. It is ignored, since the server sends no requests.
    Response,
}

#[derive(Debug)]
pub struct RpcRequest<'a> {
    id: &'a str,
    pub method: Cow<'a, str>,
    params: Option<&'a str>,
}

/// A request without an id. It gets no answer.
#[derive(Debug)]
pub struct RpcNotification<'a> {
    pub method: Cow<'a, str>,
    /// The JSON text of an object.
    pub params: Option<&'a str>,
}

impl<'a> RpcNotification<'a> {
    /// Returns the id, as JSON text, of the request that this notification cancels.
    pub fn cancelled_request(&self) -> Option<&'a str> {
        let params = self.params.filter(|_| self.method == "notifications/cancelled")?;
        let [id] = read_members(params, ["requestId"]).ok()?;
        id
    }
}

/// The JSON-RPC error to send for bytes that are not a valid message. HTTP sends it as the body of a 400.
#[derive(Debug)]
pub struct InvalidMessage(pub Vec<u8>);

impl InvalidMessage {
    fn new(id: &str, error: &MessageError) -> Self {
        Self(encode_error(id, error.code(), &error.to_string(), None))
    }
}

impl From<MessageError> for InvalidMessage {
    /// Encodes the error with the id null, for a message whose id is unknown.
    fn from(error: MessageError) -> Self {
        Self::new("null", &error)
    }
}

impl<'a> RpcRequest<'a> {
    /// Returns the id as the client wrote it, as JSON text.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// Returns true for a request that may block. All others are answered from memory.
    pub fn may_take_long(&self) -> bool {
        self.logged_method().is_some()
            || matches!(self.method.as_ref(), "completion/complete" | "tasks/get" | "tasks/cancel")
    }

    pub(super) fn is_tool_call(&self) -> bool {
        self.method == "tools/call"
    }

    /// Returns the method if each of its requests has a line in the log.
    pub(super) fn logged_method(&self) -> Option<&'static str> {
        ["tools/call", "prompts/get", "resources/read"].into_iter().find(|method| *method == self.method)
    }

    /// Parses the parameters. Absent ones count as an empty object.
    pub fn parse_params(&self) -> Result<RequestParams<'a>, RpcError> {
        let params = self.params.map_or_else(|| Ok(RequestParams::default()), RequestParams::parse);
        params.map_err(|cause| RpcError::InvalidParams { method: shorten(&self.method).into_owned(), cause })
    }

    /// Encodes an answer. `write` appends its `result`.
    pub fn encode_result(&self, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::with_capacity(USUAL_RESULT_BYTES);
        out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(br#","result":"#);
        write(&mut out);
        out.push(b'}');
        out
    }

    /// Encodes an error answer of a transport that cannot run the request, such as [`BUSY`].
    pub fn encode_rejection(&self, code: i32, message: &str) -> Vec<u8> {
        encode_error(self.id, code, message, None)
    }

    pub fn encode_error(&self, error: &RpcError) -> Vec<u8> {
        self.encode_error_with_data(error, None)
    }

    /// Encodes an error answer. `data` is added if the error has no data of its own.
    pub(super) fn encode_error_with_data(&self, error: &RpcError, data: Option<Value>) -> Vec<u8> {
        encode_error(self.id, error.code(), &render_error(error), error.data().or(data))
    }
}

/// Encodes an error answer. Its text and data may contain untrusted input, so invisible characters are escaped.
fn encode_error(id: &str, code: i32, message: &str, data: Option<Value>) -> Vec<u8> {
    let mut out = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"#).into_bytes();
    push_json_string(&mut out, message);
    if let Some(data) = data {
        out.extend_from_slice(format!(",\"data\":{}", escape_json(data.to_string())).as_bytes());
    }
    out.extend_from_slice(b"}}");
    out
}

/// Encodes the answer to a message of more than `max` bytes.
pub fn encode_too_long(max: usize) -> Vec<u8> {
    InvalidMessage::from(MessageError::TooLong { max }).0
}

/// The most messages in one batch, the limit of the official SDKs.
pub const MAX_BATCH: usize = 100;

/// Splits a batch (JSON-RPC 2.0, section 6) into its messages. Returns `None` if the bytes are not an array.
///
/// MCP has batches in 2025-03-26 only. An empty batch and one of more than `max` messages are invalid.
pub fn split_batch(bytes: &[u8], max: usize) -> Option<Result<Vec<&str>, InvalidMessage>> {
    let bytes = skip_byte_order_mark(bytes);
    let is_array = bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[');
    is_array.then(|| parse_batch(bytes, max).map_err(InvalidMessage::from))
}

fn parse_batch(bytes: &[u8], max: usize) -> Result<Vec<&str>, MessageError> {
    let text = str::from_utf8(bytes)?;
    let (mut parts, mut count) = (Vec::new(), 0);
    let is_json = walk(text, &mut |_, part| {
        count += 1;
        if count <= max {
            parts.push(part);
        }
        true
    });
    match count {
        _ if !is_json => Err(classify_non_object(text)),
        0 => Err(MessageError::EmptyBatch),
        _ if count > max => Err(MessageError::BatchTooLarge { count, max }),
        _ => Ok(parts),
    }
}

/// Removes the byte order mark that some clients, and editors on Windows, write before a text. JSON has none (RFC 8259,
/// 8.1), and a parser may ignore it.
pub fn skip_byte_order_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Parses one message. An array is rejected: a transport that supports batches splits them first.
pub fn parse_message(bytes: &[u8]) -> Result<Message<'_>, InvalidMessage> {
    let text = str::from_utf8(skip_byte_order_mark(bytes)).map_err(MessageError::from)?;
    if text.trim_ascii_start().starts_with('[') && walk(text, &mut |_, _| true) {
        return Err(MessageError::NestedBatch.into());
    }
    // All members stay raw, so that the answer to a message with an invalid member has its id.
    let [jsonrpc, id, method, params, result, error] =
        read_members(text, ["jsonrpc", "id", "method", "params", "result", "error"])
            .map_err(|_| classify_non_object(text))?;
    // `"id": null` is not an absent id: requests may not have it.
    if id.is_some_and(|raw| !is_valid_id(raw)) {
        return Err(MessageError::InvalidId.into());
    }
    let reject = |error| Err(InvalidMessage::new(id.unwrap_or("null"), &error));
    if jsonrpc != Some("\"2.0\"") {
        return reject(MessageError::MissingVersion);
    }
    let Some(method) = method.filter(is_not_null) else {
        return match result.or(error.filter(is_not_null)) {
            Some(_) => Ok(Message::Response),
            None => reject(MessageError::MissingMethod),
        };
    };
    let Some(method) = decode_string(method) else { return reject(MessageError::MethodNotAString) };
    let params = params.filter(is_not_null);
    if params.is_some_and(|raw| !raw.starts_with('{')) {
        return reject(MessageError::ParamsNotAnObject);
    }
    Ok(match id {
        Some(id) => Message::Request(RpcRequest { id, method, params }),
        None => Message::Notification(RpcNotification { method, params }),
    })
}

/// Returns the error for text that is not an object with unique members: it is not JSON, or it is another value.
#[cold]
fn classify_non_object(text: &str) -> MessageError {
    serde_json::from_str::<IgnoredAny>(text).map_or_else(MessageError::NotJson, |_| MessageError::NotAnObject)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_rejection(bytes: &str) -> String {
        match parse_message(bytes.as_bytes()) {
            Err(InvalidMessage(answer)) => String::from_utf8(answer).unwrap(),
            Ok(message) => panic!("{bytes} was accepted as {message:?}"),
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
    fn text_that_is_not_json_is_a_parse_error() {
        for text in ["", "{", "nope", "{\"jsonrpc\":\"2.0\",}", " \u{feff}{}", "\u{feff}\u{feff}{}", "[{]]", "[1"] {
            assert!(parse_rejection(text).contains("-32700"), "{text}");
        }
        assert!(parse_message(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_byte_order_mark_before_a_message_is_skipped() {
        let ping = "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}";
        assert!(matches!(parse_message(ping.as_bytes()), Ok(Message::Request(_))));
        assert!(matches!(split_batch("\u{feff} [1, 2]".as_bytes(), 9), Some(Ok(parts)) if parts == ["1", "2"]));
        assert!(matches!(split_batch(format!("[{ping}]").as_bytes(), 9), Some(Err(_))), "within a batch it is no mark");
    }

    #[test]
    fn json_that_is_not_a_message_is_an_invalid_request() {
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
    fn an_array_is_never_read_as_an_object() {
        assert!(parse_rejection(r#"["2.0",5,"tools/list"]"#).contains("-32600"));
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":["2026-07-28",{}]}}"#;
        let Ok(Message::Request(request)) = parse_message(text.as_bytes()) else { panic!("{text}") };
        let error = request.parse_params().unwrap_err();
        assert_eq!(
            (error.code(), error.to_string().as_str()),
            (INVALID_PARAMS, "params of tools/list: _meta: expected an object")
        );
    }

    #[test]
    fn an_id_that_is_neither_string_nor_integer_is_rejected_with_id_null() {
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
