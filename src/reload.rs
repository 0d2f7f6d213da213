//! A configuration that changes while the server runs: read whole and checked whole, then put in the place of the one
//! before. A wrong one is said to be wrong and leaves the one before in use; calls in flight end with what they began.

use crate::cli::Cli;
use crate::ports::Ports;
use crate::{Failure, clients, notify};
use proxmox_mcp::http::Handle;
use proxmox_mcp::pve::manager::ClusterManager;
use proxmox_mcp::settings;
use proxmox_mcp::tools::Desk;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Between two looks at the file.
const LOOK: Duration = Duration::from_secs(2);

/// Why the loop goes round.
pub enum Wake {
    /// SIGHUP.
    Asked,
    /// The server has ended.
    End,
}

/// What is replaced by what is read anew.
pub struct Reload<'a> {
    /// How to read it: the file's path, and what stands beside the file.
    pub cli: &'a Cli,
    /// clusters.json; `None` where there is none (`--demo`).
    pub path: Option<PathBuf>,
    /// What the files looked like before they were read.
    pub seen: Looks,
    /// What the tools work at.
    pub desk: &'a Desk,
    /// Who may call and where, on HTTP.
    pub front: Option<(Handle, &'a Ports)>,
}

/// What a file looks like from outside: when it was changed, how long it is, and which one. A file that is not there looks
/// like none. The time is one that nobody sets: that of the contents can be kept by who copies others into their place.
pub type Look = Option<(i64, i64, u64, u64)>;

/// What the files of a configuration look like; to be taken before they are read.
pub type Looks = Vec<Look>;

/// Looks at clusters.json and the file of the client's token.
pub fn looks(cli: &Cli, path: Option<&Path>) -> Looks {
    path.into_iter().chain(cli.auth_token_file.as_deref()).map(look).collect()
}

fn look(path: &Path) -> Look {
    let about = fs::metadata(path).ok()?;
    Some((about.ctime(), about.ctime_nsec(), about.len(), about.ino()))
}

impl Reload<'_> {
    /// Waits for SIGHUP and looks at the files, until the server has ended.
    pub fn watch(&mut self, wakes: &Receiver<Wake>) {
        let watchdog = notify::watchdog();
        let pause = watchdog.map_or(LOOK, |watchdog| watchdog.min(LOOK));
        loop {
            if watchdog.is_some() {
                notify::tell("WATCHDOG=1");
            }
            let asked = match wakes.recv_timeout(pause) {
                Ok(Wake::End) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Wake::Asked) => true,
                Err(RecvTimeoutError::Timeout) => false,
            };
            let now = looks(self.cli, self.path.as_deref());
            if asked || now != self.seen {
                self.seen = now;
                self.read();
            }
        }
    }

    fn read(&self) {
        let Some(path) = &self.path else {
            return log::info!("SIGHUP: there is no configuration to read anew");
        };
        match self.replace(path) {
            Ok(said) => log::info!("read {} anew: {said}", path.display()),
            Err(why) => log::error!("{} is not used, what was read before stays in use: {why}", path.display()),
        }
    }

    fn replace(&self, path: &Path) -> Result<String, String> {
        let text = |failure| match failure {
            Failure::Usage(text) | Failure::Runtime(text) => text,
        };
        let clusters = settings::load(path).map_err(|problems| problems.to_string().replace('\n', "; "))?;
        let clients = clients::configured(self.cli, &clusters).map_err(text)?;
        if let Some((_, ports)) = &self.front {
            clients::may_listen(ports, &clients, self.cli.insecure_no_auth).map_err(text)?;
        }
        let manager = ClusterManager::after(&self.desk.clusters(), &clusters, self.cli.limits())?;
        let names: Vec<&str> = clusters.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        let said = format!("clusters: {}; clients: {}", names.join(", "), clients::names(&clients));
        // Who may call comes first: nobody may use a cluster by the rights that they had before.
        match &self.front {
            Some((handle, _)) => {
                handle.replace_clients(clients.clone());
                self.desk.replace(manager, &clients);
            }
            None => self.desk.replace(manager, &[]),
        }
        Ok(said)
    }
}
