//! The initialize era: protocol versions 2024-11-05 to 2025-11-25.

use super::message::{Fault, METHOD_NOT_FOUND, Params, Request, push_json_str};
use super::{Era, Exchange, Server, features, server_info};

/// The versions spoken, oldest first (the specification's own list; later ones have no `initialize`).
pub const VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// Answers a request that claims no version for itself.
pub(super) fn answer(
    server: &Server,
    request: &Request<'_>,
    params: &Params<'_>,
    exchange: &Exchange<'_>,
) -> Result<Vec<u8>, Fault> {
    let empty = || Ok(request.result(|out| out.extend_from_slice(b"{}")));
    match request.method.as_ref() {
        "initialize" => initialize(server, request, params),
        "ping" => empty(),
        "logging/setLevel" if server.catalog.logging => {
            let level = params.level.as_deref().unwrap_or_default();
            match exchange.calls.map(|calls| calls.set_log_from(level)) {
                Some(false) => {
                    Err(Fault::params(format!("level must be one of {}", super::context::LEVELS.join(", "))))
                }
                // Without a session there is nothing to keep it in; each request gets every severity.
                Some(true) | None => empty(),
            }
        }
        _ => features::answer(server, Era::Legacy, request, params, exchange).unwrap_or_else(|| {
            let known = "initialize, ping, and those of the capabilities that initialize announces";
            Err(Fault::new(METHOD_NOT_FOUND, format!("unknown method {:?}; known: {known}", request.method)))
        }),
    }
}

/// Lifecycle, version negotiation: the client's version where it is spoken, else the newest of this era.
fn initialize(server: &Server, request: &Request<'_>, params: &Params<'_>) -> Result<Vec<u8>, Fault> {
    let Some(asked) = params.protocol_version.as_deref() else {
        return Err(Fault::params(format!("protocolVersion is missing; spoken: {}", VERSIONS.join(", "))));
    };
    let [.., newest] = VERSIONS;
    let version = VERSIONS.into_iter().find(|v| *v == asked).unwrap_or(newest);
    let client: String = params.client_info.map_or("?", |raw| raw.get()).chars().take(200).collect();
    log::info!(
        "initialize: client {client:?} asks for MCP {:?}, answered with {version}",
        asked.get(..32).unwrap_or(asked)
    );
    let head = format!(
        r#"{{"protocolVersion":"{version}","capabilities":{},"serverInfo":{},"instructions":"#,
        server.capabilities,
        server_info()
    );
    Ok(request.result(|out| {
        out.extend_from_slice(head.as_bytes());
        push_json_str(out, server.catalog.instructions);
        out.push(b'}');
    }))
}
