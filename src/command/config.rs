//! The configuration that the command line names: clusters, clients and the TLS certificate.

use super::cli::{Cli, auth_token};
use super::failure::Failure;
use super::file_stamps::FileStamps;
use proxmox_mcp::config::{self, Client, ClustersFile};
use proxmox_mcp::http;
use proxmox_mcp::pve::demo::Demo;
use proxmox_mcp::sanitize::printable_path;
use std::path::PathBuf;

/// The clusters and their source.
pub struct LoadedConfig {
    /// At least one cluster, and the clients of the file.
    pub clusters: ClustersFile,
    /// Path of the file, or `--demo`.
    pub name: String,
    /// `None` for `--demo`.
    pub path: Option<PathBuf>,
    /// Taken before the file was read.
    pub stamps: FileStamps,
    /// The simulated cluster, which ends with this value.
    pub demo: Option<Demo>,
}

impl LoadedConfig {
    /// Reads clusters.json, or starts the simulated cluster of `--demo`.
    pub fn load(cli: &Cli) -> Result<Self, Failure> {
        if cli.demo {
            return Self::start_demo(cli);
        }
        Self::load_file(cli, config::find_path(cli.config.as_deref()).map_err(Failure::usage)?)
    }

    /// Reads a file.
    pub fn load_file(cli: &Cli, path: PathBuf) -> Result<Self, Failure> {
        let stamps = FileStamps::take(cli, Some(&path));
        let clusters = config::load(&path).map_err(|errors| {
            let (count, text) = (errors.count(), errors.to_string().replace('\n', "\n  "));
            let s = if count == 1 { "" } else { "s" };
            Failure::Usage(format!("{}: {count} problem{s}\n  {text}", printable_path(&path)))
        })?;
        Ok(Self { clusters, name: printable_path(&path), path: Some(path), stamps, demo: None })
    }

    fn start_demo(cli: &Cli) -> Result<Self, Failure> {
        let demo =
            Demo::start().map_err(|error| Failure::Runtime(format!("cannot start the simulated cluster: {error}")))?;
        let cluster = demo.cluster();
        Ok(Self {
            clusters: ClustersFile {
                default: Some(cluster.name.clone()),
                clusters: vec![cluster],
                ..ClustersFile::default()
            },
            name: "--demo".into(),
            path: None,
            stamps: FileStamps::take(cli, None),
            demo: Some(demo),
        })
    }
}

/// Returns the clients of clusters.json and the one of `MCP_AUTH_TOKEN` or `--auth-token-file`.
pub fn configured_clients(cli: &Cli, clusters: &ClustersFile) -> Result<Vec<Client>, Failure> {
    let mut clients = clusters.clients.clone();
    let single = match (auth_token()?, cli.http.auth_token_file.as_deref()) {
        (Some(_), Some(_)) => {
            return Err(Failure::Usage("set either MCP_AUTH_TOKEN or --auth-token-file, not both".into()));
        }
        (Some(token), None) => Client::from_env_token(token.expose()).map(Some),
        (None, Some(file)) => Client::from_token_file(file).map(Some),
        (None, None) => Ok(None),
    };
    if let Some(single) = single.map_err(Failure::usage)? {
        let is_same = |other: &&Client| other.name == single.name || other.token_sha256.ct_eq(&single.token_sha256);
        if let Some(other) = clients.iter().find(is_same) {
            return Err(Failure::Usage(format!(
                "the client \"{}\" of clusters.json has the name or the token of {}. hint: keep one of them",
                other.name, single.name
            )));
        }
        clients.push(single);
    }
    Ok(clients)
}

/// Loads the certificate of `--tls-cert` and the key of `--tls-key`, and checks that they fit. Returns `None` for plain
/// HTTP.
pub fn load_certificate(cli: &Cli) -> Result<Option<http::ServerCertificate>, Failure> {
    let files = cli.http.tls_files()?;
    let certificate = files.map(|(cert, key)| http::ServerCertificate::load(cert, key)).transpose();
    certificate.map_err(Failure::usage)
}
