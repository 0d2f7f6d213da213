//! The text that the server prints once it listens, and the same facts in the form of the log.

use super::cli::LogFormat;
use super::client_setup::{TOKEN_PLACEHOLDER, client_setup, client_url};
use super::describe;
use super::listeners::Listeners;
use super::logging::format_line;
use log::Level;
use proxmox_mcp::config::{Client, ClusterConfig, ClustersFile};
use proxmox_mcp::pve::demo::Demo;
use std::{fmt, iter};

/// The facts of a start.
pub struct StartupBanner {
    /// Programs read this line, whose form is stable.
    first_line: String,
    clusters: Vec<String>,
    /// The address of the demo for `setup`, the address of the metrics, and the clients.
    notes: Vec<String>,
    /// The configurations of clients that fit this server.
    client_setup: String,
}

impl StartupBanner {
    /// Collects the facts.
    pub fn new(
        scheme: &str,
        listeners: &Listeners,
        clusters: &ClustersFile,
        clients: &[Client],
        demo: Option<&Demo>,
    ) -> Self {
        let address = listeners.main.address;
        let cluster_line = |cluster: &ClusterConfig| {
            let default = if clusters.default.as_ref() == Some(&cluster.name) { " (default)" } else { "" };
            let (nodes, token, tls) = (describe::nodes(cluster), describe::token_id(cluster), cluster.tls_mode());
            format!("{}{default}  {nodes}  {token}  TLS: {tls}  {}", cluster.name, cluster.policy)
        };
        let setup = demo.map(|demo| {
            let (nodes, password) = (describe::nodes(&demo.cluster()), demo.root_password());
            format!("To try setup: proxmox-mcp setup --url http://{nodes}, as root@pam with the password {password}")
        });
        let metrics = listeners.metrics.as_ref();
        let metrics = metrics.map(|metrics| format!("Metrics: {scheme}://{}/metrics", metrics.address));
        let named = (!clients.is_empty())
            .then(|| format!("Clients, each with its own {TOKEN_PLACEHOLDER}: {}", describe::clients(clients)));
        let token = (!clients.is_empty()).then_some(TOKEN_PLACEHOLDER);
        Self {
            first_line: format!("proxmox-mcp {} listening on {scheme}://{address}", env!("CARGO_PKG_VERSION")),
            clusters: clusters.clusters.iter().map(cluster_line).collect(),
            notes: [setup, metrics, named].into_iter().flatten().collect(),
            client_setup: client_setup(&client_url(scheme, address), token),
        }
    }

    /// Returns the text for an operator at a terminal, or one line of the log per fact.
    pub fn format(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Text => self.to_string(),
            LogFormat::Json => {
                let clusters = self.clusters.iter().map(|cluster| format!("Cluster: {cluster}"));
                let facts = iter::once(self.first_line.clone()).chain(clusters).chain(self.notes.iter().cloned());
                facts.map(|fact| format_line(format, Level::Info, module_path!(), &fact)).collect()
            }
        }
    }
}

impl fmt::Display for StartupBanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n\nClusters:", self.first_line)?;
        self.clusters.iter().try_for_each(|cluster| writeln!(f, "  {cluster}"))?;
        self.notes.iter().try_for_each(|note| writeln!(f, "\n{note}"))?;
        write!(f, "\n{}", self.client_setup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxmox_mcp::base::secret::Secret;
    use proxmox_mcp::config::{Endpoint, TlsVerification};
    use proxmox_mcp::policy::ClusterPolicy;
    use std::time::Duration;

    #[test]
    fn the_banner_names_clusters_addresses_and_clients() {
        let endpoint = |host: &str| Endpoint { https: true, host: host.into(), port: 8006 };
        let cluster = ClusterConfig {
            name: "prod".into(),
            endpoints: vec![endpoint("pve1"), endpoint("::1")],
            user: "mcp@pve".into(),
            token_id: "ro".into(),
            token_secret: Secret::new("s3cret".into()),
            tls: TlsVerification::Unverified,
            timeout: Duration::from_secs(35),
            discover_nodes: false,
            is_simulated: false,
            policy: ClusterPolicy::default(),
        };
        let clusters =
            ClustersFile { clusters: vec![cluster], default: Some("prod".into()), ..ClustersFile::default() };
        let listeners = Listeners::new(([0, 0, 0, 0], 8000).into(), None);
        let text = StartupBanner::new("http", &listeners, &clusters, &[], None).to_string();
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
        let clients = [Client::from_env_token("sixteen_letters_").expect("a token")];
        let text = StartupBanner::new("https", &listeners, &clusters, &clients, None).to_string();
        for line in [
            "Clients, each with its own TOKEN: MCP_AUTH_TOKEN (full and exec)",
            r#"  {"mcpServers": {"proxmox": {"url": "https://127.0.0.1:8000/mcp", "type": "http", "headers": {"Authorization": "Bearer TOKEN"}}}}"#,
            r#"  claude mcp add --transport http proxmox https://127.0.0.1:8000/mcp --header "Authorization: Bearer TOKEN""#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
