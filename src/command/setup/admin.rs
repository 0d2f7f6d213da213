//! The Proxmox API with the rights of an administrator: through `pvesh` on a node, or after a login.

use super::access::{Access, Holder, Step, USER};
use crate::command::output::{Mark, Progress, printable};
use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::base::hint::Hint;
use proxmox_mcp::base::secret::Secret;
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::client::cluster::Cluster;
use proxmox_mcp::pve::error::PveError;
use proxmox_mcp::pve::params::ApiParams;
use proxmox_mcp::pve::path::ApiPath;
use serde_json::Value;
use std::borrow::Cow;
use std::process::{Command, Stdio};
use std::{env, io};
use thiserror::Error;

/// A way to the API.
pub enum AdminApi {
    /// The command on a node, which acts as root@pam.
    Pvesh,
    /// A client with the ticket of a login.
    Session(Box<Cluster>),
}

/// Failure of a call.
#[derive(Debug, Error)]
pub enum AdminError {
    #[error(transparent)]
    Call(#[from] PveError),
    #[error("`pvesh` can't be run: {0}")]
    PveshMissing(io::Error),
    #[error("`pvesh {call}` failed: {message}")]
    PveshFailed { call: String, message: String },
    #[error("unexpected answer to {method} {path}")]
    UnexpectedAnswer { method: Method, path: String },
}

impl Hint for AdminError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            // The hints of a call are about the rights of an API token.
            Self::Call(PveError::Forbidden { .. }) => Some("log in as root@pam, or as another administrator".into()),
            Self::Call(error) => error.hint(),
            Self::PveshMissing(_) | Self::PveshFailed { .. } => None,
            Self::UnexpectedAnswer { .. } => Some("check that this is a Proxmox VE node".into()),
        }
    }
}

/// Returns whether this is a node of Proxmox and the caller is root there.
pub fn has_pvesh() -> bool {
    let is_here = |folder: std::path::PathBuf| folder.join("pvesh").is_file();
    rustix::process::geteuid().is_root() && env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(is_here))
}

impl AdminApi {
    /// Makes a call and returns the data of the answer.
    pub fn call(&self, method: Method, path: &str, params: &[(&str, String)]) -> Result<Value, AdminError> {
        let unexpected = || AdminError::UnexpectedAnswer { method, path: path.to_owned() };
        let data = match self {
            Self::Pvesh => run_pvesh(method, path, params)?,
            Self::Session(cluster) => {
                let (path, _) = ApiPath::parse(path).map_err(|_| unexpected())?;
                let mut sent = ApiParams::new();
                params.iter().for_each(|(name, value)| sent.push(name, value));
                cluster.call(method, &path, &sent, &CancelToken::new())?.data().to_owned()
            }
        };
        match data.trim() {
            "" => Ok(Value::Null),
            text => serde_json::from_str(text).map_err(|_| unexpected()),
        }
    }

    /// Reads a list of objects.
    pub fn list(&self, path: &str) -> Result<Vec<Value>, AdminError> {
        match self.call(Method::Get, path, &[])? {
            Value::Array(rows) => Ok(rows),
            _ => Err(AdminError::UnexpectedAnswer { method: Method::Get, path: path.to_owned() }),
        }
    }

    /// Takes a step, and prints it when it is done. Returns the secret of a new token.
    pub fn take_and_print(&self, step: &Step) -> Result<Option<Secret>, AdminError> {
        let progress = Progress::start();
        progress.show(&format!("  {step} …"));
        let secret = self.take(step)?;
        progress.print(&format!("{} {step}\n", Mark::Fine));
        Ok(secret)
    }

    /// Takes a step. Returns the secret of a new token.
    pub fn take(&self, step: &Step) -> Result<Option<Secret>, AdminError> {
        let request = step.to_request();
        let answer = self.call(request.method, &request.path, &request.params)?;
        if !matches!(step, Step::CreateToken(..)) {
            return Ok(None);
        }
        match answer.get("value").and_then(Value::as_str) {
            Some(secret) => Ok(Some(Secret::new(secret.to_owned()))),
            None => Err(AdminError::UnexpectedAnswer { method: request.method, path: request.path }),
        }
    }

    /// Reads the access control.
    pub fn read_access(&self) -> Result<Access, AdminError> {
        let text = |row: &Value, name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut access = Access::default();
        for role in self.list("/access/roles")? {
            let privileges = text(&role, "privs");
            let privileges = privileges.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
            access.roles.insert(text(&role, "roleid"), privileges);
        }
        for user in self.list("/access/users")? {
            if text(&user, "userid") == USER {
                access.user = Some(text(&user, "comment"));
            }
        }
        if access.user.is_some() {
            for token in self.list(&format!("/access/users/{USER}/token"))? {
                access.tokens.insert(text(&token, "tokenid"), text(&token, "comment"));
            }
        }
        for entry in self.list("/access/acl")? {
            let (holder, role) = (text(&entry, "ugid"), text(&entry, "roleid"));
            let own = match holder.strip_prefix(USER) {
                Some("") => Some(Holder::User),
                Some(rest) => rest.strip_prefix('!').map(|token| Holder::Token(token.to_owned())),
                None => None,
            };
            match own.filter(|_| text(&entry, "path") == "/") {
                Some(holder) => drop(access.grants.insert((holder, role))),
                None => drop(access.roles_of_others.insert(role)),
            }
        }
        Ok(access)
    }
}

fn run_pvesh(method: Method, path: &str, params: &[(&str, String)]) -> Result<String, AdminError> {
    let verb = match method {
        Method::Get => "get",
        Method::Post => "create",
        Method::Put => "set",
        Method::Delete => "delete",
    };
    let mut command = Command::new("pvesh");
    command.args([verb, path, "--output-format", "json"]).env("LC_ALL", "C").stdin(Stdio::null());
    for (name, value) in params {
        command.arg(format!("--{name}")).arg(value);
    }
    let output = command.output().map_err(AdminError::PveshMissing)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    // A rejected parameter is named in the lines after the first.
    let lines: Vec<_> = message.lines().map(str::trim).filter(|line| !line.is_empty()).take(5).collect();
    let message = if lines.is_empty() { "it gave no reason".to_owned() } else { printable(&lines.join("; ")) };
    Err(AdminError::PveshFailed { call: format!("{verb} {path}"), message })
}
