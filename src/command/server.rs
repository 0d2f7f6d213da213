//! Parts of the server that HTTP and stdio share.

use super::cli::Cli;
use super::failure::Failure;
use super::reload::{ReloadSignal, Reloader};
use super::signals::install_signal_handlers;
use proxmox_mcp::audit::AuditLog;
use proxmox_mcp::base::hint::render_error;
use proxmox_mcp::config::{Client, ClustersFile};
use proxmox_mcp::mcp;
use proxmox_mcp::pve::client::manager::ClusterManager;
use proxmox_mcp::tools;
use proxmox_mcp::tools::ToolState;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

/// Opens the audit log of `--audit-log`, or returns one that writes to the log.
pub fn open_audit_log(cli: &Cli) -> Result<Arc<AuditLog>, Failure> {
    let audit = cli.audit_log.as_deref().map_or_else(|| Ok(AuditLog::without_file()), AuditLog::open);
    audit.map(Arc::new).map_err(|error| Failure::Usage(render_error(&error)))
}

/// Returns the state of the tools.
pub fn tool_state(
    cli: &Cli,
    clusters: &ClustersFile,
    clients: &[Client],
    audit: Arc<AuditLog>,
) -> Result<Arc<ToolState>, Failure> {
    let limits = cli.limits();
    let manager = ClusterManager::new(clusters, &limits).map_err(|error| Failure::Usage(error.to_string()))?;
    let tools = ToolState::new(manager, clients, audit, limits.max_result_bytes);
    tools.map(Arc::new).map_err(|_| Failure::no_random_bytes())
}

/// Returns the protocol core with all tools.
pub fn mcp_server(cli: &Cli, tools: &Arc<ToolState>) -> Result<Arc<mcp::McpServer>, Failure> {
    let server = mcp::McpServer::new(tools::catalog(tools)).map_err(|_| Failure::no_random_bytes())?;
    Ok(Arc::new(server.with_slow_call(cli.limits().slow_call).with_structured(cli.structured)))
}

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

    /// Runs the server, and reloads its configuration in the meantime.
    pub fn run(self, mut reloader: Reloader<'_>, serve: impl FnOnce()) {
        let Self { sender, receiver } = self;
        thread::scope(|scope| {
            scope.spawn(move || reloader.run(&receiver));
            serve();
            // A closed channel ends the thread as well.
            let _ = sender.send(ReloadSignal::ServerEnded);
        });
        log::info!("stopped");
    }
}
