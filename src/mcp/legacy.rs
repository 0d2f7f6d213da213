//! The legacy era, which starts a session with `initialize`: protocol versions 2024-11-05 to 2025-11-25.

use super::error::RpcError;
use super::json_string::push_json_string;
use super::message::RpcRequest;
use super::methods::{self, RequestContext};
use super::params::RequestParams;
use super::protocol::{LEGACY_VERSIONS, find_log_level};
use super::server_state::ServerState;

/// Answers a request that names no modern version.
pub(super) fn dispatch(request_context: &RequestContext<'_>) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, request, params, transport, .. } = *request_context;
    match request.method.as_ref() {
        "initialize" => {
            // A transport without sessions cannot keep the capability.
            if let Some(calls) = transport.calls {
                let declared = params.capabilities.filter(|raw| raw.starts_with('{'));
                let memory = transport.cancel.memory();
                let declared = methods::parse_object(declared, "capabilities", memory)?.into();
                calls.set_has_ui(methods::declares_ui(&declared));
                calls.set_can_open_url(methods::declares_url(&declared));
            }
            return initialize(server, request, params);
        }
        "ping" => {}
        "logging/setLevel" if server.catalog.logging => {
            let level = params.level.as_deref().and_then(find_log_level).ok_or(RpcError::InvalidLogLevel("level"))?;
            // A transport without sessions cannot keep the level. Its requests get every severity.
            if let Some(calls) = transport.calls {
                calls.set_min_log_level(level);
            }
        }
        _ => return methods::dispatch(request_context),
    }
    Ok(request.encode_result(|out| out.extend_from_slice(b"{}")))
}

/// Agrees on a version (Lifecycle, version negotiation): the client's, if the server supports it, else the newest.
fn initialize(server: &ServerState, request: &RpcRequest<'_>, params: &RequestParams<'_>) -> Result<Vec<u8>, RpcError> {
    let requested = params.protocol_version.as_deref().ok_or_else(|| RpcError::MissingParameter {
        name: "protocolVersion".to_owned(),
        expected: format!("one of {}", LEGACY_VERSIONS.join(", ")),
    })?;
    let [.., newest] = LEGACY_VERSIONS;
    let version = LEGACY_VERSIONS.into_iter().find(|version| *version == requested).unwrap_or(newest);
    let truncate = |text: &str, max| text.chars().take(max).collect::<String>();
    let client = truncate(params.client_info.unwrap_or("?"), 200).escape_debug().to_string();
    log::debug!("initialize: client {client} requested MCP {:?}, agreed on {version}", truncate(requested, 32));
    let head = format!(
        r#"{{"protocolVersion":"{version}","capabilities":{},"serverInfo":{},"instructions":"#,
        server.legacy_capabilities, server.full_server_info
    );
    Ok(request.encode_result(|out| {
        out.extend_from_slice(head.as_bytes());
        push_json_string(out, server.catalog.instructions);
        out.push(b'}');
    }))
}
