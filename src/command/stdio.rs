//! `stdio`: serves MCP on stdin and stdout.

use super::approval_source::{approval_endpoints, set_up_approvals};
use super::cli::Cli;
use super::cluster_identity::require_one_cluster_each;
use super::config::LoadedConfig;
use super::failure::Failure;
use super::keeper::{Keeper, StallLimits, clean_up};
use super::listeners::Listeners;
use super::reload::{ReloadedTransport, Reloader, stdio_clients};
use super::server::{ReloadChannel, mcp_server, open_audit_log, sealing_keys, tool_state};
use proxmox_mcp::config::Client;
use proxmox_mcp::http::{self, HttpHandle, StalledPart};
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::stdio::StdioServer;
use proxmox_mcp::tools::ToolState;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

/// Serves until stdin ends, SIGTERM or SIGINT.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    let loaded = LoadedConfig::load(cli)?;
    require_one_cluster_each(&loaded.clusters, cli)?;
    let audit = open_audit_log(cli)?;
    let keys = sealing_keys(cli)?;
    let people = if cli.person.page_listen.is_some() { loaded.clusters.clients.clone() } else { Vec::new() };
    let tools = tool_state(cli, &loaded.clusters, &stdio_clients(&people), audit.clone(), &keys)?;
    let (mcp, limits) = (mcp_server(cli, &tools, &keys)?, cli.limits());
    let page = cli.person.page_listen.map(|address| open_page(cli, address, &people, &tools, &mcp)).transpose()?;
    let page_address = page.as_ref().map(|page| page.listeners.main.address);
    set_up_approvals(&tools, &cli.person, "http", page_address)?;
    let session = StdioServer::new(mcp.clone(), limits.clone());
    let handle = session.handle();
    let channel = ReloadChannel::open(move || handle.stop())?;
    let mut result = Ok(());
    let transport = ReloadedTransport::Stdio { page: page.as_ref().map(|page| page.server.handle()) };
    let reloader =
        Reloader { cli, path: loaded.path, stamps: loaded.stamps, tools: &tools, clients: people, transport };
    let find_stall = || {
        let stalled = mcp.count_stalled_calls(StallLimits::for_clusters(&tools).call);
        (stalled >= limits.max_calls).then(|| StalledPart::Calls.to_string())
    };
    let clean_up = Box::new(|| clean_up(&tools));
    let keeper = Keeper { find_stall: Box::new(find_stall), clean_up };
    channel.run(reloader, keeper, &audit, || {
        thread::scope(|scope| {
            let handle = page.as_ref().map(|page| page.server.handle());
            if let Some(page) = page {
                scope.spawn(move || page.server.run());
            }
            result = session.run();
            handle.inspect(HttpHandle::stop);
        });
        tools.call_service().withdraw_approvals();
    });
    result.map_err(|error| Failure::Runtime(format!("cannot start the thread that reads stdin: {error}")))
}

/// The HTTP server beside a stdio server, for the people who approve its calls.
struct PageServer {
    listeners: Listeners,
    server: http::HttpServer,
}

/// Opens the HTTP server of `--page-listen`. Its callers are the clients of clusters.json.
fn open_page(
    cli: &Cli,
    address: SocketAddr,
    people: &[Client],
    tools: &Arc<ToolState>,
    mcp: &Arc<McpServer>,
) -> Result<PageServer, Failure> {
    if !address.ip().is_loopback() {
        return Err(Failure::Usage(
            "--page-listen (MCP_PAGE_LISTEN) must be a loopback address, such as 127.0.0.1:8001. hint: serve other \
             machines over HTTP, without stdio"
                .into(),
        ));
    }
    if people.is_empty() {
        return Err(Failure::Usage(
            "--page-listen (MCP_PAGE_LISTEN) needs a client. hint: make a token with `proxmox-mcp token`, and give its \
             entry in clusters.json \"approve\": true"
                .into(),
        ));
    }
    let mut listeners = Listeners::new(address, None);
    let (listener, metrics_listener) = listeners.open()?;
    let config = http::HttpConfig {
        listener,
        metrics_listener,
        limits: cli.limits(),
        allowed_hosts: Vec::new(),
        allowed_origins: Vec::new(),
        clients: people.to_vec(),
        insecure_no_auth: false,
        certificate: None,
        health: http::HealthSources::default(),
        approvals: Some(approval_endpoints(tools)),
    };
    let server = http::HttpServer::new(config, mcp.clone()).map_err(|error| Failure::Runtime(error.to_string()))?;
    log::info!("approvals on http://{}", listeners.main.address);
    Ok(PageServer { listeners, server })
}
