//! `check`: checks the configuration, and each cluster's version and the privileges of its API token.

use super::cli::Cli;
use super::config::{LoadedConfig, configured_clients, load_certificate};
use super::describe;
use super::failure::Failure;
use super::output::{print_stdout, printable};
use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::base::hint::{Hint, render_error};
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::client::cluster::Cluster;
use proxmox_mcp::pve::client::manager::ClusterManager;
use proxmox_mcp::pve::error::PveError;
use proxmox_mcp::pve::params::ApiParams;
use proxmox_mcp::pve::path::ApiPath;
use serde_json::Value;
use std::borrow::Cow;
use std::thread;
use thiserror::Error;

/// Checks the configuration and all clusters in parallel. Prints a line per cluster, in the file's order.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    let LoadedConfig { clusters, name, .. } = &LoadedConfig::load(cli)?;
    let manager = ClusterManager::new(clusters, &cli.limits()).map_err(|error| Failure::Usage(error.to_string()))?;
    let total = manager.clusters().len();
    let default = match &clusters.default {
        Some(name) => format!(", default {name}"),
        None => String::new(),
    };
    print_stdout(&format!("✓ {name}: {total} cluster{}{default}\n", if total == 1 { "" } else { "s" }));
    let clients = configured_clients(cli, clusters)?;
    if !clients.is_empty() {
        print_stdout(&format!("✓ clients: {}\n", describe::clients(&clients)));
    }
    if load_certificate(cli)?.is_some() {
        print_stdout("✓ TLS: the certificate and its key match\n");
    }
    let failed = thread::scope(|scope| {
        let checks: Vec<_> =
            manager.clusters().iter().map(|cluster| (cluster, scope.spawn(|| check(cluster)))).collect();
        let mut failed = 0;
        for (cluster, result) in checks {
            let result = result.join().unwrap_or(Err(CheckError::Internal));
            failed += usize::from(result.is_err());
            let (mark, text) = match result {
                Ok(text) => ("✓", text),
                Err(error) => ("✗", render_error(&error)),
            };
            let settings = cluster.settings();
            print_stdout(&format!(
                "{mark} {}  {}  {}  {}\n",
                settings.name,
                describe::nodes(settings),
                settings.policy,
                printable(&text)
            ));
        }
        failed
    });
    match failed {
        0 => Ok(()),
        _ => Err(Failure::Runtime(format!("{failed} of {total} clusters failed the check"))),
    }
}

/// The reason why a cluster failed the check.
#[derive(Debug, Error)]
enum CheckError {
    #[error(transparent)]
    Call(#[from] PveError),
    #[error("unexpected answer to GET {path}")]
    UnexpectedAnswer { path: &'static str },
    #[error("Proxmox VE {version}, but token {token} has no rights")]
    NoPrivileges { version: String, token: String, user: String },
    #[error("internal error")]
    Internal,
}

impl Hint for CheckError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Call(error) => error.hint(),
            Self::UnexpectedAnswer { .. } => Some("check that this address is a Proxmox VE node".into()),
            Self::NoPrivileges { token, user, .. } => Some(
                format!(
                    "on a node run `pveum acl modify / --tokens '{token}' --roles PVEAuditor`, and the same with --users \
                     '{user}' (a token can do no more than its user)"
                )
                .into(),
            ),
            Self::Internal => Some("report it".into()),
        }
    }
}

/// Returns a cluster's version and the token's privileges.
fn check(cluster: &Cluster) -> Result<String, CheckError> {
    const VERSION: &str = "/version";
    const PERMISSIONS: &str = "/access/permissions";
    let answer = get(cluster, VERSION)?;
    let version = answer.get("version").and_then(Value::as_str);
    let version = version.ok_or(CheckError::UnexpectedAnswer { path: VERSION })?;
    // Privileges by path; the number says only whether the privilege is inherited by paths below.
    let answer = get(cluster, PERMISSIONS)?;
    let permissions = answer.as_object().ok_or(CheckError::UnexpectedAnswer { path: PERMISSIONS })?;
    let settings = cluster.settings();
    let token = describe::token_id(settings);
    let mut paths = permissions
        .iter()
        .filter_map(|(path, granted)| Some((path, granted.as_object()?)))
        .filter(|(_, granted)| !granted.is_empty());
    let Some((path, privileges)) = paths.next() else {
        return Err(CheckError::NoPrivileges { version: version.to_owned(), token, user: settings.user.clone() });
    };
    const SHOWN: usize = 4;
    let total = 1 + paths.count();
    let names: Vec<&str> = privileges.keys().take(SHOWN).map(String::as_str).collect();
    let more = match privileges.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let s = if total == 1 { "" } else { "s" };
    Ok(format!("Proxmox VE {version}  token {token}: {total} path{s}, e.g. {path} → {}{more}", names.join(", ")))
}

fn get(cluster: &Cluster, path: &'static str) -> Result<Value, CheckError> {
    let (known, _) = ApiPath::parse(path).expect("the path is valid");
    let answer = cluster.call(Method::Get, &known, &ApiParams::new(), &CancelToken::new())?;
    serde_json::from_str(answer.data()).map_err(|_| CheckError::UnexpectedAnswer { path })
}
