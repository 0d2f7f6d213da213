//! Protocol version 2026-07-28: no sessions and no `initialize`; every request carries its version and the client's
//! capabilities in `_meta`, and over HTTP repeats a part of it in headers.

use super::message::{
    HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, MISSING_CAPABILITY, PARSE_ERROR, RequestParams,
    RpcError, RpcRequest, UNSUPPORTED_VERSION, push_json_string,
};
use super::{McpServer, ProtocolEra, RequestContext, methods};
use serde_json::json;

/// The versions spoken, oldest first.
pub const VERSIONS: [&str; 1] = ["2026-07-28"];

/// Answers a request that claims a version for itself.
pub(super) fn dispatch(request_context: &RequestContext<'_>) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, request, params, .. } = *request_context;
    check_meta(params)?;
    if request.method == "server/discover" {
        return Ok(discover(server, request));
    }
    methods::dispatch(request_context).unwrap_or_else(|| {
        let why = format!(
            "unknown method {:?}; known: server/discover and those of the capabilities it announces",
            request.method
        );
        Err(RpcError::new(METHOD_NOT_FOUND, why))
    })
}

/// Base protocol, per-request protocol fields: a version that is spoken, and the client's capabilities.
fn check_meta(params: &RequestParams<'_>) -> Result<(), RpcError> {
    let version = params.claimed_version().unwrap_or_default();
    if !VERSIONS.contains(&version) {
        return Err(unsupported_version(version));
    }
    if params.meta.as_ref().and_then(|m| m.capabilities).is_none_or(|c| !c.starts_with('{')) {
        return Err(RpcError::invalid_params("_meta needs io.modelcontextprotocol/clientCapabilities, an object"));
    }
    Ok(())
}

/// The fault for a protocol version that is not spoken in this era.
pub fn unsupported_version(requested: &str) -> RpcError {
    RpcError {
        code: UNSUPPORTED_VERSION,
        message: format!(
            "protocol version {requested:?} is not spoken; spoken: {}, and after initialize {}",
            VERSIONS.join(", "),
            super::legacy::VERSIONS.join(", ")
        ),
        data: Some(json!({"supported": VERSIONS, "requested": requested})),
    }
}

/// The fault for capabilities that the client did not declare.
pub fn missing_capability(name: &str) -> RpcError {
    RpcError {
        code: MISSING_CAPABILITY,
        message: format!("this call needs a client with the capability {name}"),
        data: Some(json!({"requiredCapabilities": {name: {}}})),
    }
}

fn discover(server: &McpServer, request: &RpcRequest<'_>) -> Vec<u8> {
    request.encode_result(|out| {
        let head = format!(
            r#"{{"supportedVersions":{},"capabilities":{},"instructions":"#,
            json!(VERSIONS),
            server.capabilities
        );
        out.extend_from_slice(head.as_bytes());
        push_json_string(out, server.catalog.instructions);
        out.extend_from_slice(server.result_tail(ProtocolEra::Modern, true));
    })
}

/// The headers of a request that the transport has read (Streamable HTTP, Request headers).
#[derive(Clone, Copy, Debug, Default)]
pub struct McpHeaders<'a> {
    /// `MCP-Protocol-Version`.
    pub version: Option<&'a str>,
    /// `Mcp-Method`.
    pub method: Option<&'a str>,
    /// `Mcp-Name`.
    pub name: Option<&'a str>,
}

/// Checks what the headers say against what the body says, in whichever era the two are.
pub fn check_headers(
    headers: McpHeaders<'_>,
    request: &RpcRequest<'_>,
    params: &RequestParams<'_>,
) -> Result<(), RpcError> {
    let mismatch = |header: &str, says: Option<&str>, body: &str| {
        let says = says.map_or_else(|| "is missing".to_owned(), |s| format!("says {s:?}"));
        Err(RpcError::new(HEADER_MISMATCH, format!("header {header} {says}, the body {body:?}")))
    };
    let Some(claimed) = params.claimed_version() else {
        return match headers.version {
            // initialize is negotiated in the body alone.
            None => Ok(()),
            Some(_) if request.method == "initialize" => Ok(()),
            Some(v) if VERSIONS.contains(&v) => Err(RpcError::invalid_params(format!(
                "MCP {v} needs io.modelcontextprotocol/protocolVersion in params._meta"
            ))),
            Some(v) if super::legacy::VERSIONS.contains(&v) => Ok(()),
            Some(v) => Err(unsupported_version(v)),
        };
    };
    if headers.version != Some(claimed) {
        return mismatch("MCP-Protocol-Version", headers.version, claimed);
    }
    // A version that is not spoken may have header rules of its own; the answer then is the list of those spoken.
    if !VERSIONS.contains(&claimed) {
        return Ok(());
    }
    if headers.method != Some(&request.method) {
        return mismatch("Mcp-Method", headers.method, &request.method);
    }
    let named = match request.method.as_ref() {
        "tools/call" | "prompts/get" => params.name.as_deref(),
        "resources/read" => params.uri.as_deref(),
        _ => None,
    };
    match named {
        Some(name) if headers.name.and_then(decode_header).as_deref() != Some(name) => {
            mismatch("Mcp-Name", headers.name, name)
        }
        _ => Ok(()),
    }
}

/// A header value, out of `=?base64?…?=` where it is in that.
fn decode_header(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|v| v.strip_suffix("?=")) {
        None => Some(value.to_owned()),
        Some(encoded) => String::from_utf8(decode_base64(encoded)?).ok(),
    }
}

/// RFC 4648, section 4, with its padding.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0u32);
    for c in digits.bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(out)
}

/// The HTTP status that goes with an answer on POST /mcp (2026-07-28, Streamable HTTP). An unknown method of the older
/// eras is no 404 there: their clients take that for a session that has ended.
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
        check_headers(McpHeaders { version, method, name }, &request, &params).err().map(|f| f.code)
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
    fn a_request_that_claims_nothing_is_judged_by_its_header() {
        assert_eq!(check(LEGACY, None, None, None), None);
        assert_eq!(check(LEGACY, Some("2025-06-18"), None, None), None);
        assert_eq!(check(LEGACY, NOW, Some("tools/list"), None), Some(INVALID_PARAMS));
        assert_eq!(check(LEGACY, Some("1.0"), None, None), Some(UNSUPPORTED_VERSION));
        assert_eq!(check(&LEGACY.replace("tools/list", "initialize"), NOW, None, None), None);
    }
}
