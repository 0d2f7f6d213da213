//! The initialize era: protocol versions 2024-11-05 to 2025-11-25.

use super::context::LOG_LEVELS;
use super::message::{METHOD_NOT_FOUND, RequestParams, RpcError, RpcRequest, push_json_string};
use super::{McpServer, RequestContext, methods, server_info};

/// The versions spoken, oldest first (the specification's own list; later ones have no `initialize`).
pub const VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// Answers a request that claims no version for itself.
pub(super) fn dispatch(request_context: &RequestContext<'_>) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, request, params, transport, .. } = *request_context;
    let empty = || Ok(request.encode_result(|out| out.extend_from_slice(b"{}")));
    match request.method.as_ref() {
        "initialize" => initialize(server, request, params),
        "ping" => empty(),
        "logging/setLevel" if server.catalog.logging => {
            let level = params.level.as_deref().unwrap_or_default();
            if !LOG_LEVELS.contains(&level) {
                return Err(RpcError::invalid_params(format!("level must be one of {}", LOG_LEVELS.join(", "))));
            }
            // Without a session there is nothing to keep it in; each request gets every severity.
            if let Some(calls) = transport.calls {
                calls.set_min_log_level(level);
            }
            empty()
        }
        _ => methods::dispatch(request_context).unwrap_or_else(|| {
            let known = "initialize, ping, and those of the capabilities that initialize announces";
            Err(RpcError::new(METHOD_NOT_FOUND, format!("unknown method {:?}; known: {known}", request.method)))
        }),
    }
}

/// Lifecycle, version negotiation: the client's version where it is spoken, else the newest of this era.
fn initialize(server: &McpServer, request: &RpcRequest<'_>, params: &RequestParams<'_>) -> Result<Vec<u8>, RpcError> {
    let Some(asked) = params.protocol_version.as_deref() else {
        return Err(RpcError::invalid_params(format!("protocolVersion is missing; spoken: {}", VERSIONS.join(", "))));
    };
    let [.., newest] = VERSIONS;
    let version = VERSIONS.into_iter().find(|v| *v == asked).unwrap_or(newest);
    let cut = |text: &str, most| text.chars().take(most).collect::<String>();
    let client = cut(params.client_info.unwrap_or("?"), 200).escape_debug().to_string();
    log::debug!("initialize: client {client} asks for MCP {:?}, answered with {version}", cut(asked, 32));
    let head = format!(
        r#"{{"protocolVersion":"{version}","capabilities":{},"serverInfo":{},"instructions":"#,
        server.capabilities,
        server_info()
    );
    Ok(request.encode_result(|out| {
        out.extend_from_slice(head.as_bytes());
        push_json_string(out, server.catalog.instructions);
        out.push(b'}');
    }))
}
