//! `stdio`: serves MCP on stdin and stdout.

use super::cli::Cli;
use super::cluster_identity::require_one_cluster_each;
use super::config::LoadedConfig;
use super::failure::Failure;
use super::keeper::{Keeper, StallLimits, close_idle_connections};
use super::reload::Reloader;
use super::server::{ReloadChannel, mcp_server, open_audit_log, tool_state};
use proxmox_mcp::http::StalledPart;
use proxmox_mcp::stdio::StdioServer;

/// Serves until stdin ends, SIGTERM or SIGINT.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    let loaded = LoadedConfig::load(cli)?;
    require_one_cluster_each(&loaded.clusters, cli)?;
    let audit = open_audit_log(cli)?;
    let tools = tool_state(cli, &loaded.clusters, &[], audit.clone())?;
    let (mcp, limits) = (mcp_server(cli, &tools)?, cli.limits());
    let session = StdioServer::new(mcp.clone(), limits.clone());
    let handle = session.handle();
    let channel = ReloadChannel::open(move || handle.stop())?;
    let mut result = Ok(());
    let reloader =
        Reloader { cli, path: loaded.path, stamps: loaded.stamps, tools: &tools, clients: Vec::new(), http: None };
    let find_stall = || {
        let stalled = mcp.count_stalled_calls(StallLimits::for_clusters(&tools).call);
        (stalled >= limits.max_calls).then(|| StalledPart::Calls.to_string())
    };
    let close_idle = Box::new(|| close_idle_connections(&tools));
    let keeper = Keeper { find_stall: Box::new(find_stall), close_idle };
    channel.run(reloader, keeper, &audit, || result = session.run());
    result.map_err(|error| Failure::Runtime(format!("cannot start the thread that reads stdin: {error}")))
}
