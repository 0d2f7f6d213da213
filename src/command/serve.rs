//! Serves MCP over HTTP.

use super::approval_source::{approval_endpoints, set_up_approvals};
use super::banner::StartupBanner;
use super::cli::Cli;
use super::cluster_identity::require_one_cluster_each;
use super::config::{LoadedConfig, configured_clients, load_certificate};
use super::failure::Failure;
use super::health_sources::health_sources;
use super::keeper::{Keeper, StallLimits, clean_up};
use super::listeners::Listeners;
use super::output::print_stdout_later;
use super::reload::{ReloadedTransport, Reloader};
use super::server::{ReloadChannel, mcp_server, open_audit_log, sealing_keys, tool_state};
use super::systemd;
use proxmox_mcp::http;

/// Serves until SIGTERM or SIGINT.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    let loaded = LoadedConfig::load(cli)?;
    require_one_cluster_each(&loaded.clusters, cli)?;
    let clients = configured_clients(cli, &loaded.clusters)?;
    let mut listeners = Listeners::new(cli.http.listen, cli.http.metrics_listen).or_from_systemd()?;
    listeners.require_auth_off_loopback(&clients, cli.http.insecure_no_auth)?;
    let audit = open_audit_log(cli)?;
    let keys = sealing_keys(cli)?;
    let identity = load_certificate(cli)?;
    let has_tls = identity.is_some();
    let tools = tool_state(cli, &loaded.clusters, &clients, audit.clone(), &keys)?;
    let mcp = mcp_server(cli, &tools, &keys)?;
    let (listener, metrics_listener) = listeners.open()?;
    let config = http::HttpConfig {
        listener,
        metrics_listener,
        limits: cli.limits(),
        allowed_hosts: cli.http.allowed_hosts(),
        allowed_origins: cli.http.allowed_origins(),
        clients: clients.clone(),
        insecure_no_auth: cli.http.insecure_no_auth,
        certificate: identity,
        health: health_sources(&tools, cli.http.metrics()),
        approvals: Some(approval_endpoints(&tools)),
    };
    set_up_approvals(&tools, &cli.person, cli.http.scheme(), Some(listeners.main.address))?;
    let server = http::HttpServer::new(config, mcp).map_err(|error| match error {
        http::StartError::AllowList(error) => Failure::Usage(error.to_string()),
        http::StartError::Io(_) => Failure::Runtime(error.to_string()),
    })?;
    let handle = server.handle();
    let reloader = Reloader {
        cli,
        path: loaded.path,
        stamps: loaded.stamps,
        tools: &tools,
        clients: clients.clone(),
        transport: ReloadedTransport::Http { handle: handle.clone(), listeners: &listeners },
    };
    let (watched, stopped) = (handle.clone(), handle);
    let find_stall = || {
        let limits = StallLimits::for_clusters(&tools);
        watched.find_stalled_part(limits.thread, limits.call).map(|part| part.to_string())
    };
    let clean_up = Box::new(|| clean_up(&tools));
    let keeper = Keeper { find_stall: Box::new(find_stall), clean_up };
    let channel = ReloadChannel::open(move || stopped.stop())?;
    listeners.warn_if_exposed(&clients, has_tls);
    let demo = loaded.demo.as_ref();
    let banner = StartupBanner::new(cli.http.scheme(), &listeners, &loaded.clusters, &clients, demo);
    print_stdout_later(banner.format(cli.log_format));
    systemd::notify("READY=1");
    channel.run(reloader, keeper, &audit, || {
        server.run();
        tools.call_service().withdraw_approvals();
    });
    Ok(())
}
