//! Parts of the server that HTTP and stdio share.

use super::cli::Cli;
use super::failure::Failure;
use super::keeper::Keeper;
use super::logging;
use super::reload::{ReloadSignal, Reloader};
use super::signals::install_signal_handlers;
use super::systemd;
use proxmox_mcp::audit::AuditLog;
use proxmox_mcp::base::hint::render_error;
use proxmox_mcp::base::sealing_keys::SealingKeys;
use proxmox_mcp::config::{Client, ClustersFile, load_state_keys};
use proxmox_mcp::mcp;
use proxmox_mcp::pve::client::manager::ClusterManager;
use proxmox_mcp::tools;
use proxmox_mcp::tools::ToolState;
use std::process;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// Opens the audit log of `--audit-log`, or returns one that writes to the log.
pub fn open_audit_log(cli: &Cli) -> Result<Arc<AuditLog>, Failure> {
    let audit = cli.audit_log.as_deref().map_or_else(|| Ok(AuditLog::without_file()), AuditLog::open);
    audit.map(Arc::new).map_err(|error| Failure::Usage(render_error(&error)))
}

/// Time for the lines of reads to reach the audit log after the server has ended.
const AUDIT_FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Loads the keys of `--state-key-file`, or makes new ones.
pub fn sealing_keys(cli: &Cli) -> Result<SealingKeys, Failure> {
    match &cli.state_key_file {
        Some(file) => load_state_keys(file).map_err(Failure::usage),
        None => SealingKeys::generate().map_err(|_| Failure::no_random_bytes()),
    }
}

/// Returns the state of the tools.
pub fn tool_state(
    cli: &Cli,
    clusters: &ClustersFile,
    clients: &[Client],
    audit: Arc<AuditLog>,
    keys: &SealingKeys,
) -> Result<Arc<ToolState>, Failure> {
    let limits = cli.limits();
    let manager = ClusterManager::new(clusters, &limits).map_err(|error| Failure::Usage(error.to_string()))?;
    let tools = ToolState::new(manager, clients, audit, limits.max_result_bytes);
    tools.map(|tools| Arc::new(tools.with_sealing_keys(keys))).map_err(|_| Failure::no_random_bytes())
}

/// Returns the protocol core with all tools.
pub fn mcp_server(cli: &Cli, tools: &Arc<ToolState>, keys: &SealingKeys) -> Result<Arc<mcp::McpServer>, Failure> {
    let mut catalog = tools::catalog(tools);
    if cli.no_page {
        catalog.page = None;
    }
    let server = mcp::McpServer::new(catalog).map_err(|_| Failure::no_random_bytes())?;
    let server = server.with_sealing_keys(keys).with_slow_call(cli.limits().slow_call);
    Ok(Arc::new(server.with_structured(cli.structured)))
}

/// Time for a reload that is under way when the server ends. It may read from a disk that hangs.
const RELOAD_GRACE: Duration = Duration::from_secs(1);

/// Channel to the thread that reloads the configuration.
pub struct ReloadChannel {
    sender: Sender<ReloadSignal>,
    receiver: Receiver<ReloadSignal>,
}

impl ReloadChannel {
    /// Opens the channel and installs the signal handlers, which use it and `stop`.
    pub fn open(stop: impl Fn() + Send + 'static) -> Result<Self, Failure> {
        let (sender, receiver) = mpsc::channel();
        install_signal_handlers(Box::new(stop), sender.clone())?;
        Ok(Self { sender, receiver })
    }

    /// Runs the server. In the meantime one thread reloads its configuration, and one watches over it.
    pub fn run(self, mut reloader: Reloader<'_>, keeper: Keeper<'_>, audit: &AuditLog, serve: impl FnOnce()) {
        let Self { sender, receiver } = self;
        let (server_running, server_ended) = mpsc::channel();
        let (reload_running, reload_ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                let _running = reload_running;
                reloader.run(&receiver);
            });
            scope.spawn(move || {
                keeper.run(&server_ended, systemd::watchdog_interval(), &|| systemd::notify("WATCHDOG=1"));
            });
            serve();
            audit.flush(AUDIT_FLUSH_LIMIT);
            drop(server_running);
            // A closed channel ends the thread as well.
            let _ = sender.send(ReloadSignal::ServerEnded);
            if reload_ended.recv_timeout(RELOAD_GRACE) == Err(RecvTimeoutError::Timeout) {
                log::warn!("stopped during a reload: reading the configuration took too long");
                logging::flush();
                process::exit(0);
            }
        });
        log::info!("stopped");
    }
}
