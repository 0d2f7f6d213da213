//! Reload of the configuration while the server runs. A reload is all-or-nothing: an invalid configuration is rejected.
//! A request that was sent finishes, and one that was not is judged again.

use super::cli::Cli;
use super::cluster_identity::require_one_cluster_each;
use super::config::configured_clients;
use super::describe;
use super::failure::Failure;
use super::file_stamps::FileStamps;
use super::listeners::Listeners;
use proxmox_mcp::config::{self, Client};
use proxmox_mcp::http::HttpHandle;
use proxmox_mcp::pve::client::manager::ClusterManager;
use proxmox_mcp::sanitize::printable_path;
use proxmox_mcp::tools::ToolState;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Interval of the checks for changed files.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Messages to the thread that reloads.
pub enum ReloadSignal {
    /// SIGHUP arrived.
    Requested,
    /// The server has ended.
    ServerEnded,
}

/// Source of the configuration and the parts of the server that a reload replaces.
pub struct Reloader<'a> {
    pub cli: &'a Cli,
    /// clusters.json; `None` for `--demo`.
    pub path: Option<PathBuf>,
    /// Stamps of the files that are in use.
    pub stamps: FileStamps,
    pub tools: &'a ToolState,
    /// The clients that are in use.
    pub clients: Vec<Client>,
    pub transport: ReloadedTransport<'a>,
}

/// The transport whose clients a reload replaces.
pub enum ReloadedTransport<'a> {
    Http {
        handle: HttpHandle,
        listeners: &'a Listeners,
    },
    /// `page` is the HTTP server of `--page-listen`.
    Stdio {
        page: Option<HttpHandle>,
    },
}

/// Returns the clients of a stdio server: with people who approve, the client on stdin is one of several.
pub fn stdio_clients(people: &[Client]) -> Vec<Client> {
    if people.is_empty() { Vec::new() } else { [&[Client::stdio()], people].concat() }
}

impl Reloader<'_> {
    /// Reloads on SIGHUP and after a change of the files, until the server has ended.
    pub fn run(&mut self, signals: &Receiver<ReloadSignal>) {
        loop {
            let is_requested = match signals.recv_timeout(CHECK_INTERVAL) {
                Ok(ReloadSignal::ServerEnded) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(ReloadSignal::Requested) => true,
                Err(RecvTimeoutError::Timeout) => false,
            };
            let stamps = FileStamps::take(self.cli, self.path.as_deref());
            if is_requested || stamps != self.stamps {
                self.stamps = stamps;
                // A panic keeps the current configuration, as an invalid file does.
                if catch_unwind(AssertUnwindSafe(|| self.reload())).is_err() {
                    log::error!("a reload panicked, keeping the current configuration");
                }
            }
        }
    }

    fn reload(&mut self) {
        let Some(path) = self.path.clone() else {
            return log::info!("SIGHUP ignored: there is no configuration file");
        };
        match self.replace(&path) {
            Ok(summary) => log::info!("reloaded {}: {summary}", printable_path(&path)),
            Err(failure) => {
                log::error!("cannot reload {}, keeping the current configuration: {failure}", printable_path(&path));
            }
        }
    }

    /// Returns a summary of the new configuration.
    fn replace(&mut self, path: &Path) -> Result<String, Failure> {
        let clusters = config::load(path).map_err(|errors| Failure::Usage(errors.to_string().replace('\n', "; ")))?;
        require_one_cluster_each(&clusters, self.cli)?;
        let clients = match &self.transport {
            ReloadedTransport::Http { .. } => configured_clients(self.cli, &clusters)?,
            ReloadedTransport::Stdio { page: Some(_) } => clusters.clients.clone(),
            ReloadedTransport::Stdio { page: None } => Vec::new(),
        };
        self.require_clients(&clients)?;
        if let ReloadedTransport::Http { listeners, .. } = &self.transport {
            listeners.require_auth_off_loopback(&clients, self.cli.http.insecure_no_auth)?;
        }
        let previous = self.tools.clusters();
        let manager = ClusterManager::from_previous(&previous, &clusters, &self.cli.limits())
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let changes = describe::changes(&previous, &manager, &self.clients, &clients);
        let names: Vec<&str> = clusters.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        let summary = format!("clusters: {}; clients: {}; {changes}", names.join(", "), describe::clients(&clients));
        // The rights come first, in one step. The HTTP server only knows which token belongs to which client.
        let page = match &self.transport {
            ReloadedTransport::Http { handle, .. } => {
                self.tools.replace_clusters(manager, &clients);
                Some(handle)
            }
            ReloadedTransport::Stdio { page } => {
                self.tools.replace_clusters(manager, &stdio_clients(&clients));
                page.as_ref()
            }
        };
        if let Some(handle) = page {
            handle.replace_clients(clients.clone());
        }
        self.clients = clients;
        Ok(summary)
    }

    /// Refuses a configuration that takes the last client away, since a server without clients accepts every caller.
    fn require_clients(&self, clients: &[Client]) -> Result<(), Failure> {
        match clients.is_empty() && !self.clients.is_empty() {
            true => Err(Failure::Usage(
                "it has no client any more, and would open the server to every caller. hint: name a client in \"clients\", \
                 or restart the server to run it without client tokens"
                    .into(),
            )),
            false => Ok(()),
        }
    }
}
