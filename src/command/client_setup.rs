//! Instructions that connect common MCP clients to the server.

use super::listeners::connect_address;
use std::net::SocketAddr;

/// Placeholder for a token that is not known here.
pub const TOKEN_PLACEHOLDER: &str = "TOKEN";

/// Returns the URL of the server that listens on `listen`.
pub fn client_url(scheme: &str, listen: SocketAddr) -> String {
    format!("{scheme}://{}/mcp", connect_address(listen))
}

/// Returns the configuration of two common clients for a server with this URL.
pub fn client_setup(url: &str, token: Option<&str>) -> String {
    let (json, flag) = match token {
        None => (String::new(), String::new()),
        Some(token) => (
            format!(", \"headers\": {{\"Authorization\": \"Bearer {token}\"}}"),
            format!(" --header \"Authorization: Bearer {token}\""),
        ),
    };
    format!(
        "Gemini CLI, in ~/.gemini/settings.json:\n  \
         {{\"mcpServers\": {{\"proxmox\": {{\"url\": \"{url}\", \"type\": \"http\"{json}}}}}}}\n\
         Claude Code:\n  claude mcp add --transport http proxmox {url}{flag}\n"
    )
}
