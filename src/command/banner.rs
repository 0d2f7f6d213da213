//! The text that the server prints once it listens.

use super::client_setup::{TOKEN_PLACEHOLDER, client_setup, client_url};
use super::describe;
use super::listeners::Listeners;
use proxmox_mcp::config::{Client, ClustersFile};
use proxmox_mcp::pve::demo::Demo;
use std::fmt::Write;

/// Returns the text. Programs read its first line, whose form is stable.
pub fn startup_banner(
    scheme: &str,
    listeners: &Listeners,
    clusters: &ClustersFile,
    clients: &[Client],
    demo: Option<&Demo>,
) -> String {
    let address = listeners.main.address;
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!("proxmox-mcp {version} listening on {scheme}://{address}\n\nClusters:\n");
    for cluster in &clusters.clusters {
        let default = if clusters.default.as_ref() == Some(&cluster.name) { " (default)" } else { "" };
        let (nodes, token, tls) = (describe::nodes(cluster), describe::token_id(cluster), cluster.tls_mode());
        let _ = writeln!(text, "  {}{default}  {nodes}  {token}  TLS: {tls}  {}", cluster.name, cluster.policy);
    }
    if let Some(demo) = demo {
        let _ = writeln!(
            text,
            "\nTo try setup: proxmox-mcp setup --url http://{}, as root@pam with the password {}",
            describe::nodes(&demo.cluster()),
            demo.root_password()
        );
    }
    if let Some(metrics) = &listeners.metrics {
        let _ = writeln!(text, "\nMetrics: {scheme}://{}/metrics", metrics.address);
    }
    if !clients.is_empty() {
        let _ = writeln!(text, "\nClients, each with its own {TOKEN_PLACEHOLDER}: {}", describe::clients(clients));
    }
    text.push('\n');
    text.push_str(&client_setup(&client_url(scheme, address), (!clients.is_empty()).then_some(TOKEN_PLACEHOLDER)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxmox_mcp::base::secret::Secret;
    use proxmox_mcp::config::{ClusterConfig, Endpoint, TlsVerification};
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
            policy: ClusterPolicy::default(),
        };
        let clusters =
            ClustersFile { clusters: vec![cluster], default: Some("prod".into()), ..ClustersFile::default() };
        let listeners = Listeners::new(([0, 0, 0, 0], 8000).into(), None);
        let text = startup_banner("http", &listeners, &clusters, &[], None);
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
        let text = startup_banner("https", &listeners, &clusters, &clients, None);
        for line in [
            "Clients, each with its own TOKEN: MCP_AUTH_TOKEN (full and exec)",
            r#"  {"mcpServers": {"proxmox": {"url": "https://127.0.0.1:8000/mcp", "type": "http", "headers": {"Authorization": "Bearer TOKEN"}}}}"#,
            r#"  claude mcp add --transport http proxmox https://127.0.0.1:8000/mcp --header "Authorization: Bearer TOKEN""#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
