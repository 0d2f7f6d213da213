//! The peer on the official Rust SDK: rmcp over axum, reqwest for the cluster, the same four tools.
//!
//! `peer PORT CLUSTERS_JSON` serves POST /mcp on 127.0.0.1, without sessions and with plain JSON answers: the fastest
//! mode of the SDK. For measurements only: it has no policy and no limits, and trusts every certificate.
use axum::Router;
use axum::serve::ListenerExt;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{ServerCapabilities, ServerConfig};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, schemars, tool, tool_handler, tool_router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use tokio::net::TcpListener;

#[derive(Deserialize)]
struct Cluster {
    url: String,
    user: String,
    token_id: String,
    token_secret: String,
}

#[derive(Deserialize)]
struct Clusters {
    clusters: BTreeMap<String, Cluster>,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Where {
    cluster: Option<String>,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Raw {
    cluster: Option<String>,
    path: String,
    method: Option<String>,
    data: Option<Map<String, Value>>,
}

#[derive(Clone)]
struct Peer {
    tool_router: ToolRouter<Self>,
    clusters: Arc<Clusters>,
    client: reqwest::Client,
}

type Said = Result<String, String>;

#[tool_router]
impl Peer {
    async fn ask(&self, cluster: Option<String>, method: &str, path: &str, data: Option<Map<String, Value>>) -> Said {
        let known = &self.clusters.clusters;
        let cluster =
            cluster.map_or_else(|| known.values().next(), |name| known.get(&name)).ok_or("no such cluster")?;
        let method = method.parse().map_err(|_| "no such method")?;
        let token = format!("PVEAPIToken={}!{}={}", cluster.user, cluster.token_id, cluster.token_secret);
        let url = format!("https://{}/api2/json{path}", cluster.url);
        let mut request = self.client.request(method, url).header("Authorization", token);
        if let Some(data) = data {
            request = request.json(&data);
        }
        let why = |error: reqwest::Error| error.to_string();
        let answer: Value = request.send().await.map_err(why)?.json().await.map_err(why)?;
        Ok(answer["data"].to_string())
    }

    #[tool(description = "The configured clusters")]
    async fn list_clusters(&self) -> String {
        let rows = self.clusters.clusters.iter().map(|(name, cluster)| json!({"name": name, "url": cluster.url}));
        Value::from_iter(rows).to_string()
    }

    #[tool(description = "Nodes with their state")]
    async fn list_nodes(&self, Parameters(at): Parameters<Where>) -> Said {
        self.ask(at.cluster, "GET", "/nodes", None).await
    }

    #[tool(description = "Guests, nodes, storages")]
    async fn get_cluster_resources(&self, Parameters(at): Parameters<Where>) -> Said {
        self.ask(at.cluster, "GET", "/cluster/resources", None).await
    }

    #[tool(description = "Any operation of the API")]
    async fn proxmox_api_call(&self, Parameters(raw): Parameters<Raw>) -> Said {
        self.ask(raw.cluster, raw.method.as_deref().unwrap_or("GET"), &raw.path, raw.data).await
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Peer {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (port, clusters) = arguments.next().zip(arguments.next()).ok_or("usage: peer PORT CLUSTERS_JSON")?;
    let clusters = Arc::new(serde_json::from_slice(&std::fs::read(clusters)?)?);
    let client = reqwest::Client::builder().danger_accept_invalid_certs(true).http1_only().build()?;
    let peer = Peer { tool_router: Peer::tool_router(), clusters, client };
    let mut config = StreamableHttpServerConfig::default();
    config.legacy_session_mode = false;
    config.json_response = true;
    let service =
        StreamableHttpService::new(move || Ok(peer.clone()), Arc::new(LocalSessionManager::default()), config);
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    // Without Nagle's algorithm, like the product.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, Router::new().nest_service("/mcp", service)).await?;
    Ok(())
}
