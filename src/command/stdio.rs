//! `stdio`: serves MCP on stdin and stdout.

use super::cli::Cli;
use super::config::LoadedConfig;
use super::failure::Failure;
use super::reload::Reloader;
use super::server::{ReloadChannel, mcp_server, open_audit_log, tool_state};
use proxmox_mcp::stdio::StdioServer;

/// Serves until stdin ends, SIGTERM or SIGINT.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    let loaded = LoadedConfig::load(cli)?;
    let audit = open_audit_log(cli)?;
    let tools = tool_state(cli, &loaded.clusters, &[], audit)?;
    let session = StdioServer::new(mcp_server(cli, &tools)?, cli.limits());
    let handle = session.handle();
    let channel = ReloadChannel::open(move || handle.stop())?;
    let mut result = Ok(());
    let reloader = Reloader { cli, path: loaded.path, stamps: loaded.stamps, tools: &tools, http: None };
    channel.run(reloader, || result = session.run());
    result.map_err(|error| Failure::Runtime(format!("cannot start the thread that reads stdin: {error}")))
}
