//! Serving: where the parts are put together, from what was typed to the running server.

use crate::cli::Cli;
use crate::ports::Ports;
use crate::reload::{Looks, Reload, Wake, looks};
use crate::{Failure, clients, notify, probes, say};
use proxmox_mcp::audit::Audit;
use proxmox_mcp::demo::Demo;
use proxmox_mcp::pve::manager::ClusterManager;
use proxmox_mcp::settings::{self, Client, Cluster, Clusters, Limits};
use proxmox_mcp::tools::{self, Desk};
use proxmox_mcp::{http, mcp, stdio};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

/// The clusters to work with, and where they come from.
pub struct Source {
    /// At least one.
    pub clusters: Clusters,
    /// The file's path, or `--demo`.
    pub name: String,
    /// The file.
    pub path: Option<PathBuf>,
    /// What it looked like before it was read.
    pub seen: Looks,
    /// The simulated cluster ends with this value.
    _demo: Option<Demo>,
}

/// Loads the configuration, or starts the simulated cluster of `--demo`.
pub fn source(cli: &Cli) -> Result<Source, Failure> {
    if cli.demo {
        let demo = Demo::start().map_err(|e| Failure::Runtime(format!("the simulated cluster can't start: {e}")))?;
        let cluster = demo.cluster();
        let clusters = Clusters { default: Some(cluster.name.clone()), clusters: vec![cluster], ..Clusters::default() };
        return Ok(Source { clusters, name: "--demo".into(), path: None, seen: looks(cli, None), _demo: Some(demo) });
    }
    let path = settings::find(cli.config.as_deref()).map_err(Failure::Usage)?;
    let seen = looks(cli, Some(&path));
    let clusters = settings::load(&path).map_err(|problems| {
        let (many, text) = (problems.count(), problems.to_string().replace('\n', "\n  "));
        let s = if many == 1 { "" } else { "s" };
        Failure::Usage(format!("{}: {many} problem{s}\n  {text}", path.display()))
    })?;
    Ok(Source { clusters, name: path.display().to_string(), path: Some(path), seen, _demo: None })
}

/// Serves until SIGTERM or SIGINT.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    let Source { clusters, path, seen, _demo, .. } = source(cli)?;
    let clients = clients::configured(cli, &clusters)?;
    let mut ports = Ports::at(cli.listen, cli.metrics_listen).or_handed_over()?;
    clients::may_listen(&ports, &clients, cli.insecure_no_auth)?;
    let audit = audit(cli)?;
    let identity = identity(cli)?;
    let tls = identity.is_some();
    let manager = ClusterManager::new(&clusters, cli.limits()).map_err(Failure::Usage)?;
    let desk = desk(manager, &clients, audit, cli.limits())?;
    let server = mcp_server(&desk, cli.limits())?;
    let (listener, watch) = ports.open()?;
    let config = http::Config {
        listener,
        watch,
        limits: cli.limits().clone(),
        allowed_hosts: cli.allowed_hosts(),
        allowed_origins: cli.allowed_origins(),
        clients: clients.clone(),
        identity,
        probes: probes::of(&desk, cli.metrics()),
    };
    let server = http::Server::new(config, server).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Failure::Usage(error.to_string()),
        _ => Failure::Runtime(format!("can't serve: {error}")),
    })?;
    let handle = server.handle();
    let reload = Reload { cli, path, seen, desk: &desk, front: Some((handle.clone(), &ports)) };
    let signals = heed_signals(Box::new(move || handle.stop()))?;
    ports.all().for_each(|port| clients::warn(port, &clients, tls));
    say(&announcement(cli.scheme(), &ports, &clusters, &clients));
    notify::tell("READY=1");
    serve(reload, signals, Box::new(|| server.run()));
    Ok(())
}

/// The certificate of `--tls-cert` and the key of `--tls-key`, if they are set; they fit.
pub fn identity(cli: &Cli) -> Result<Option<http::Identity>, Failure> {
    let files = cli.tls().map_err(Failure::Usage)?;
    files.map(|(cert, key)| http::Identity::load(cert, key)).transpose().map_err(Failure::Usage)
}

/// Serves stdin and stdout until stdin ends, or SIGTERM or SIGINT comes.
pub fn stdio(cli: &Cli) -> Result<(), Failure> {
    let Source { clusters, path, seen, _demo, .. } = source(cli)?;
    let audit = audit(cli)?;
    let manager = ClusterManager::new(&clusters, cli.limits()).map_err(Failure::Usage)?;
    let desk = desk(manager, &[], audit, cli.limits())?;
    let server = mcp_server(&desk, cli.limits())?;
    let session = stdio::Session::new(server, cli.limits().clone());
    let handle = session.handle();
    let reload = Reload { cli, path, seen, desk: &desk, front: None };
    let signals = heed_signals(Box::new(move || handle.stop()))?;
    let mut served = Ok(());
    serve(reload, signals, Box::new(|| served = session.run()));
    served.map_err(|error| Failure::Runtime(format!("there is no thread to read stdin: {error}")))
}

/// Runs what serves, and has the configuration read anew meanwhile.
fn serve(mut reload: Reload<'_>, signals: Wakes, run: Box<dyn FnOnce() + '_>) {
    let (wake, wakes) = signals;
    thread::scope(|scope| {
        scope.spawn(move || reload.watch(&wakes));
        run();
        let _ = wake.send(Wake::End);
    });
    log::info!("stopped");
}

/// Where the audit lines go: to the file that was asked for, or into the log.
pub fn audit(cli: &Cli) -> Result<Arc<Audit>, Failure> {
    let audit = cli.audit_log.as_deref().map_or_else(|| Ok(Audit::to_log()), Audit::open);
    audit.map(Arc::new).map_err(Failure::Usage)
}

fn desk(manager: ClusterManager, clients: &[Client], audit: Arc<Audit>, limits: &Limits) -> Result<Arc<Desk>, Failure> {
    Desk::new(manager, clients, audit, limits.max_result_bytes).map(Arc::new).map_err(|_| no_random())
}

fn mcp_server(desk: &Arc<Desk>, limits: &Limits) -> Result<Arc<mcp::Server>, Failure> {
    let server = mcp::Server::new(tools::catalog(desk)).map_err(|_| no_random())?;
    Ok(Arc::new(server.with_slow_call(limits.slow_call)))
}

fn no_random() -> Failure {
    Failure::Runtime("the system gives no random bytes".into())
}

/// Wakes the reader of the configuration.
type Wakes = (Sender<Wake>, Receiver<Wake>);

/// The first SIGTERM or SIGINT ends the server gracefully, by `stop`, the second at once; SIGHUP has the configuration
/// read anew.
fn heed_signals(stop: Box<dyn Fn() + Send>) -> Result<Wakes, Failure> {
    let (wake, wakes) = mpsc::channel();
    let hup = wake.clone();
    let watch = || {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let watching = move || {
            let mut stopping = false;
            for signal in signals.forever() {
                if signal == SIGHUP {
                    let _ = hup.send(Wake::Asked);
                    continue;
                }
                if stopping {
                    // What a shell reports of a program that the signal killed.
                    std::process::exit(128 + signal);
                }
                stopping = true;
                notify::tell("STOPPING=1");
                log::info!("stopping; a second signal ends calls in flight");
                stop();
            }
        };
        thread::Builder::new().name("signals".into()).spawn(watching)
    };
    let watched: io::Result<_> = watch();
    watched.map_err(|error| Failure::Runtime(format!("can't watch for signals: {error}")))?;
    Ok((wake, wakes))
}

/// What is printed at the start. Its first line is for programs too and keeps its form.
fn announcement(scheme: &str, ports: &Ports, clusters: &Clusters, clients: &[Client]) -> String {
    let address = ports.main.address;
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!("proxmox-mcp {version} listening on {scheme}://{address}\n\nClusters:\n");
    for cluster in &clusters.clusters {
        let default = if clusters.default.as_ref() == Some(&cluster.name) { " (default)" } else { "" };
        let (nodes, token, tls) = (nodes(cluster), token(cluster), cluster.tls_mode());
        let _ = writeln!(text, "  {}{default}  {nodes}  {token}  TLS: {tls}  {}", cluster.name, cluster.rules);
    }
    if let Some(watch) = &ports.watch {
        let _ = writeln!(text, "\nMetrics: {scheme}://{}/metrics", watch.address);
    }
    if !clients.is_empty() {
        let _ = writeln!(text, "\nClients, each with its own {}: {}", clients::PLACEHOLDER, clients::names(clients));
    }
    text.push('\n');
    let token = (!clients.is_empty()).then_some(clients::PLACEHOLDER);
    text.push_str(&clients::client_configuration(scheme, address, token));
    text
}

/// Where a client on this machine reaches a listener: "every address" is none that can be connected to.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The nodes of a cluster, for a line of text.
pub fn nodes(cluster: &Cluster) -> String {
    cluster.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `user@realm!name`, as Proxmox writes a token.
pub fn token(cluster: &Cluster) -> String {
    format!("{}!{}", cluster.user, cluster.token_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxmox_mcp::policy::Rules;
    use proxmox_mcp::secret::Secret;
    use proxmox_mcp::settings::{Endpoint, Tls};
    use std::time::Duration;

    #[test]
    fn the_start_says_where_and_for_whom() {
        let endpoint = |host: &str| Endpoint { https: true, host: host.into(), port: 8006 };
        let cluster = Cluster {
            name: "prod".into(),
            endpoints: vec![endpoint("pve1"), endpoint("::1")],
            user: "mcp@pve".into(),
            token_id: "ro".into(),
            token_secret: Secret::new("s3cret".into()),
            tls: Tls::Unverified,
            timeout: Duration::from_secs(35),
            discover_nodes: false,
            rules: Rules::default(),
        };
        let clusters = Clusters { clusters: vec![cluster], default: Some("prod".into()), ..Clusters::default() };
        let ports = Ports::at(([0, 0, 0, 0], 8000).into(), None);
        let text = announcement("http", &ports, &clusters, &[]);
        let version = env!("CARGO_PKG_VERSION");
        let first = format!("proxmox-mcp {version} listening on http://0.0.0.0:8000");
        assert_eq!(text.lines().next(), Some(first.as_str()));
        for line in [
            "  prod (default)  pve1:8006, [::1]:8006  mcp@pve!ro  TLS: not verified  access full, confirm destructive",
            r#"  {"mcpServers": {"proxmox": {"url": "http://127.0.0.1:8000/mcp", "type": "http"}}}"#,
            "  claude mcp add --transport http proxmox http://127.0.0.1:8000/mcp",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(!text.contains("s3cret"));
        let clients = [Client::of_variable("sixteen_letters_").expect("a token")];
        let text = announcement("https", &ports, &clusters, &clients);
        for line in [
            "Clients, each with its own TOKEN: MCP_AUTH_TOKEN (full and exec)",
            r#"  {"mcpServers": {"proxmox": {"url": "https://127.0.0.1:8000/mcp", "type": "http", "headers": {"Authorization": "Bearer TOKEN"}}}}"#,
            r#"  claude mcp add --transport http proxmox https://127.0.0.1:8000/mcp --header "Authorization: Bearer TOKEN""#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
