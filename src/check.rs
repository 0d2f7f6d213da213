//! `check`: is the configuration right, does each cluster answer, what may its token do?

use crate::cli::Cli;
use crate::logging::printable;
use crate::serve::{Source, identity, nodes, source, token};
use crate::{Failure, clients, say};
use proxmox_mcp::cancel::Cancel;
use proxmox_mcp::pve::cluster::Cluster;
use proxmox_mcp::pve::manager::ClusterManager;
use proxmox_mcp::pve::params::Params;
use proxmox_mcp::pve::{Method, path::ApiPath};
use serde_json::Value;
use std::thread;

/// Checks the configuration and asks all clusters at once; a line each, in the file's order.
pub fn clusters(cli: &Cli) -> Result<(), Failure> {
    let Source { clusters, name, .. } = &source(cli)?;
    let manager = ClusterManager::new(clusters, cli.limits()).map_err(Failure::Usage)?;
    let total = manager.all().len();
    let default = clusters.default.as_ref().map(|name| format!(", default {name}")).unwrap_or_default();
    say(&format!("✓ {name}: {total} cluster{}{default}\n", if total == 1 { "" } else { "s" }));
    let clients = clients::configured(cli, clusters)?;
    if !clients.is_empty() {
        say(&format!("✓ clients: {}\n", clients::names(&clients)));
    }
    if identity(cli)?.is_some() {
        say("✓ TLS: the certificate and its key fit\n");
    }
    let failed = thread::scope(|scope| {
        let asked: Vec<_> = manager.all().iter().map(|cluster| (cluster, scope.spawn(|| ask(cluster)))).collect();
        let mut failed = 0;
        for (cluster, answer) in asked {
            let answer = answer.join().unwrap_or_else(|_| Err("the check itself failed: please report it".into()));
            let (mark, text) = match answer {
                Ok(text) => ("✓", text),
                Err(text) => ("✗", text),
            };
            failed += usize::from(mark == "✗");
            let about = cluster.settings();
            say(&format!("{mark} {}  {}  {}  {}\n", about.name, nodes(about), about.rules, printable(&text)));
        }
        failed
    });
    match failed {
        0 => Ok(()),
        _ => Err(Failure::Runtime(format!("{failed} of {total} clusters failed the check"))),
    }
}

/// Asks a cluster for its version and the token's rights. The error ends with the remedy.
fn ask(cluster: &Cluster) -> Result<String, String> {
    let answer = get(cluster, "/version")?;
    let version = answer.get("version").and_then(Value::as_str).ok_or_else(|| odd("/version"))?;
    // Privileges by path; the number says only whether the right reaches further down.
    let answer = get(cluster, "/access/permissions")?;
    let rights = answer.as_object().ok_or_else(|| odd("/access/permissions"))?;
    let about = cluster.settings();
    let token = token(about);
    let mut paths =
        rights.iter().filter_map(|(path, of)| Some((path, of.as_object()?))).filter(|(_, of)| !of.is_empty());
    let Some((path, privileges)) = paths.next() else {
        return Err(format!(
            "Proxmox VE {version}, but token {token} has no rights: on a node run `pveum acl modify / --tokens \
             '{token}' --roles PVEAuditor`, and the same with --users '{}' (a token can do no more than its user)",
            about.user
        ));
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

fn get(cluster: &Cluster, path: &str) -> Result<Value, String> {
    let (known, _) = ApiPath::parse(path)?;
    let answer =
        cluster.call(Method::Get, &known, &Params::new(), &Cancel::new()).map_err(|error| error.to_string())?;
    serde_json::from_str(answer.data()).map_err(|_| odd(path))
}

fn odd(path: &str) -> String {
    format!("GET {path} was answered, but not as Proxmox does: is this address a Proxmox VE node?")
}
