//! The modern era, protocol version 2026-07-28: no sessions and no `initialize`. Every request carries its version and
//! the client's capabilities in `_meta`. Over HTTP, headers repeat a part of the body.

use super::error::{
    HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, MISSING_CAPABILITY, PARSE_ERROR, RpcError,
    UNSUPPORTED_VERSION,
};
use super::json_string::push_json_string;
use super::message::RpcRequest;
use super::methods::{self, RequestContext};
use super::params::RequestParams;
use super::protocol::{LEGACY_VERSIONS, MODERN_VERSIONS, ProtocolEra};
use super::server_state::ServerState;
use super::tasks::{self, TaskMethod};
use crate::base::shorten::{shorten, shorten_to};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

/// Answers a request that carries its version.
pub(super) fn dispatch(request_context: &RequestContext<'_>) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, request, params, .. } = *request_context;
    check_meta(params)?;
    match request.method.as_ref() {
        "server/discover" => Ok(discover(server, request)),
        method => match (TaskMethod::from_name(method), &server.catalog.tasks) {
            (Some(method), Some(handlers)) => tasks::dispatch(request_context, method, handlers),
            _ => methods::dispatch(request_context),
        },
    }
}

/// Checks the fields that every request has (base protocol): a supported version and the client's capabilities.
fn check_meta(params: &RequestParams<'_>) -> Result<(), RpcError> {
    let version = params.claimed_version().expect("a modern request carries its version");
    if !MODERN_VERSIONS.contains(&version) {
        return Err(RpcError::UnsupportedVersion(shorten(version).into_owned()));
    }
    if !params.meta.capabilities.is_some_and(|raw| raw.starts_with('{')) {
        return Err(RpcError::MissingClientCapabilities);
    }
    Ok(())
}

fn discover(server: &ServerState, request: &RpcRequest<'_>) -> Vec<u8> {
    let head = format!(
        r#"{{"supportedVersions":{},"capabilities":{},"instructions":"#,
        json!(MODERN_VERSIONS),
        server.modern_capabilities
    );
    request.encode_result(|out| {
        out.extend_from_slice(head.as_bytes());
        push_json_string(out, server.catalog.instructions);
        out.extend_from_slice(&server.discover_tail);
    })
}

/// Characters of a header that an error repeats. Ids of tasks are whole.
const MAX_HEADER_CHARS: usize = 256;

/// The headers of MCP in an HTTP request (Streamable HTTP, Request headers).
#[derive(Clone, Copy, Debug, Default)]
pub struct McpHeaders<'a> {
    /// `MCP-Protocol-Version`.
    pub version: Option<&'a str>,
    /// `Mcp-Method`.
    pub method: Option<&'a str>,
    /// `Mcp-Name`.
    pub name: Option<&'a str>,
}

/// Checks the headers against the body, in either era.
pub fn check_headers(
    headers: McpHeaders<'_>,
    request: &RpcRequest<'_>,
    params: &RequestParams<'_>,
) -> Result<(), RpcError> {
    let mismatch = |header, value: Option<&str>, body: &str| {
        Err(RpcError::HeaderMismatch {
            header,
            value: value.map(|value| shorten_to(value, MAX_HEADER_CHARS).into_owned()),
            body: shorten_to(body, MAX_HEADER_CHARS).into_owned(),
        })
    };
    let Some(version) = params.claimed_version() else {
        return match headers.version {
            None => Ok(()),
            // initialize negotiates the version in the body alone.
            Some(_) if request.method == "initialize" => Ok(()),
            Some(version) if MODERN_VERSIONS.contains(&version) => Err(RpcError::VersionNotInBody(version.to_owned())),
            Some(version) if LEGACY_VERSIONS.contains(&version) => Ok(()),
            Some(version) => Err(RpcError::UnsupportedVersion(shorten(version).into_owned())),
        };
    };
    if headers.version != Some(version) {
        return mismatch("MCP-Protocol-Version", headers.version, version);
    }
    // An unsupported version may have other header rules. Its answer, later, lists the supported versions.
    if !MODERN_VERSIONS.contains(&version) {
        return Ok(());
    }
    if headers.method != Some(&request.method) {
        return mismatch("Mcp-Method", headers.method, &request.method);
    }
    let body_name = match request.method.as_ref() {
        "tools/call" | "prompts/get" => params.name.as_deref(),
        "resources/read" => params.uri.as_deref(),
        method if TaskMethod::from_name(method).is_some() => params.task_id.as_deref(),
        _ => None,
    };
    match body_name {
        Some(name) if headers.name.and_then(decode_header).as_deref() != Some(name) => {
            mismatch("Mcp-Name", headers.name, name)
        }
        _ => Ok(()),
    }
}

/// Decodes a header value, which is plain text or `=?base64?…?=`.
fn decode_header(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        None => Some(value.to_owned()),
        Some(encoded) => String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok(),
    }
}

/// Returns the HTTP status of an answer on POST /mcp (2026-07-28, Streamable HTTP). Legacy clients read a 404 as the end
/// of their session, so an unknown method has another status there.
pub fn http_status(era: ProtocolEra, code: Option<i32>) -> u16 {
    match (code, era) {
        (Some(PARSE_ERROR | INVALID_REQUEST | HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION), _) => 400,
        (Some(METHOD_NOT_FOUND), ProtocolEra::Modern) => 404,
        (Some(INVALID_PARAMS), ProtocolEra::Modern) => 400,
        _ => 200,
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Message, parse_message};
    use super::*;

    fn check(body: &str, version: Option<&str>, method: Option<&str>, name: Option<&str>) -> Option<i32> {
        let Ok(Message::Request(request)) = parse_message(body.as_bytes()) else { panic!("{body}") };
        let params = request.parse_params().unwrap();
        check_headers(McpHeaders { version, method, name }, &request, &params).err().map(|error| error.code())
    }

    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"größe","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    const LEGACY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    const NOW: Option<&str> = Some("2026-07-28");

    #[test]
    fn headers_repeat_the_body() {
        let name = Some("=?base64?Z3LDtsOfZQ==?=");
        assert_eq!(check(CALL, NOW, Some("tools/call"), name), None);
        for (version, method, name) in [
            (None, Some("tools/call"), name),
            (Some("2025-11-25"), Some("tools/call"), name),
            (NOW, None, name),
            (NOW, Some("Tools/Call"), name),
            (NOW, Some("tools/call"), None),
            (NOW, Some("tools/call"), Some("other")),
            (NOW, Some("tools/call"), Some("=?base64?!?=")),
            (NOW, Some("tools/call"), Some("=?base64?Z3LDtsOfZQ?=")),
        ] {
            assert_eq!(check(CALL, version, method, name), Some(HEADER_MISMATCH), "{version:?} {method:?} {name:?}");
        }
    }

    #[test]
    fn a_request_without_a_version_is_checked_by_its_header() {
        assert_eq!(check(LEGACY, None, None, None), None);
        assert_eq!(check(LEGACY, Some("2025-06-18"), None, None), None);
        assert_eq!(check(LEGACY, NOW, Some("tools/list"), None), Some(INVALID_PARAMS));
        assert_eq!(check(LEGACY, Some("1.0"), None, None), Some(UNSUPPORTED_VERSION));
        assert_eq!(check(&LEGACY.replace("tools/list", "initialize"), NOW, None, None), None);
    }
}
