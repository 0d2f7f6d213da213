//! Flags, their environment variables and the subcommands.

use super::limits::LimitArgs;
use super::values::{
    LogFormat, StringList, access_level, client_name, cluster_name, file_path, fingerprint, flag_variable, http_url,
    listen_address, log_filter, node_address, page_url, server_url, string_list,
};
use crate::command::failure::Failure;
use crate::command::notify::NotifyFormat;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use proxmox_mcp::base::secret::Secret;
use proxmox_mcp::config::{Endpoint, Fingerprint, Limits};
use proxmox_mcp::policy::AccessLevel;
use std::env::VarError;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use ureq::http::Uri;

/// Heading of the flags that most commands have.
const COMMON: &str = "Common options";

/// MCP server with which language models inspect and operate Proxmox VE clusters
#[derive(Parser)]
#[command(
    name = "proxmox-mcp",
    version,
    max_term_width = 100,
    after_help = concat!(
        "Without a command, serves MCP over HTTP. --help also lists the flags for limits, approvals and the page.\n\n",
        include_str!("examples/serve.txt")
    ),
    after_long_help = concat!(
        "Without a command, serves MCP over HTTP.\n\
         Exit codes: 0 done, 1 failed, 2 invalid usage or configuration.\n\n",
        include_str!("examples/serve.txt")
    )
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,

    #[arg(
        long,
        env = "PROXMOX_MCP_CONFIG",
        value_name = "FILE",
        global = true,
        help_heading = COMMON,
        value_parser = file_path(),
        help = "Path of clusters.json [default: ./clusters.json, then /etc/proxmox-mcp/clusters.json]"
    )]
    pub config: Option<PathBuf>,

    /// Use a simulated cluster built into this program; needs no configuration
    #[arg(long, global = true, help_heading = COMMON)]
    pub demo: bool,

    #[arg(
        long,
        env = "PROXMOX_MCP_LOG",
        value_name = "FILTER",
        global = true,
        help_heading = COMMON,
        value_parser = log_filter,
        help = "Log filter: a level, or comma-separated module=level pairs [default: RUST_LOG, then info]"
    )]
    pub log: Option<String>,

    /// Log format: text or json (one object per line)
    #[arg(
        long,
        env = "PROXMOX_MCP_LOG_FORMAT",
        value_name = "FORMAT",
        global = true,
        help_heading = COMMON,
        default_value = "text",
        value_parser = LogFormat::parse
    )]
    pub log_format: LogFormat,

    #[arg(
        long,
        env = "MCP_AUDIT_LOG",
        value_name = "FILE",
        global = true,
        help_heading = COMMON,
        value_parser = file_path(),
        help = "File for the audit log, one JSON line per call [default: lines in the log]"
    )]
    pub audit_log: Option<PathBuf>,

    /// Also send results as JSON (structuredContent), which some clients show the model instead of the text
    #[arg(
        long,
        env = "MCP_STRUCTURED",
        global = true,
        help_heading = COMMON,
        action = ArgAction::SetTrue,
        value_parser = flag_variable
    )]
    pub structured: bool,

    /// File with a secret that all replicas share: each accepts the confirmation codes and tasks of the others
    #[arg(
        long,
        hide_short_help = true,
        env = "MCP_STATE_KEY_FILE",
        value_name = "FILE",
        global = true,
        help_heading = COMMON,
        value_parser = file_path()
    )]
    pub state_key_file: Option<PathBuf>,

    /// Offer no page for people: neither at GET / nor as a view in clients (MCP Apps)
    #[arg(
        long,
        hide_short_help = true,
        env = "MCP_NO_PAGE",
        global = true,
        help_heading = COMMON,
        action = ArgAction::SetTrue,
        value_parser = flag_variable
    )]
    pub no_page: bool,

    #[command(flatten)]
    pub http: HttpArgs,

    #[command(flatten)]
    pub person: PersonArgs,

    #[command(flatten)]
    limits: LimitArgs,
}

/// Flags of the HTTP server.
#[derive(Args)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// Address to listen on: `[::]:8000` is every address, `:8000` every IPv4 one, port 0 a free port
    #[arg(
        long,
        env = "PROXMOX_MCP_LISTEN",
        value_name = "HOST:PORT",
        global = true,
        default_value = "127.0.0.1:8000",
        value_parser = listen_address
    )]
    pub listen: SocketAddr,

    /// Host headers to allow besides loopback: host, host:port, host:* or *
    #[arg(long, env = "MCP_ALLOWED_HOSTS", value_name = "LIST", value_parser = string_list)]
    allowed_hosts: Vec<StringList>,

    /// Origins of web pages and apps that may use the server (CORS): https://host, https://host:port, app://name or *
    #[arg(long, env = "MCP_ALLOWED_ORIGINS", value_name = "LIST", value_parser = string_list)]
    allowed_origins: Vec<StringList>,

    /// File with the token that clients must send (MCP_AUTH_TOKEN: the token itself)
    #[arg(long, env = "MCP_AUTH_TOKEN_FILE", value_name = "FILE", global = true, value_parser = file_path())]
    pub auth_token_file: Option<PathBuf>,

    /// PEM file with the server's certificate and its chain; enables TLS
    #[arg(long, env = "MCP_TLS_CERT", value_name = "FILE", global = true, value_parser = file_path())]
    tls_cert: Option<PathBuf>,

    /// PEM file with the certificate's key
    #[arg(long, env = "MCP_TLS_KEY", value_name = "FILE", global = true, value_parser = file_path())]
    tls_key: Option<PathBuf>,

    /// Need no client token off loopback and behind a proxy
    #[arg(long, env = "MCP_INSECURE_NO_AUTH", action = ArgAction::SetTrue, value_parser = flag_variable)]
    pub insecure_no_auth: bool,

    /// Serve Prometheus metrics at GET /metrics, to clients with access to all clusters
    #[arg(long, env = "MCP_METRICS", action = ArgAction::SetTrue, value_parser = flag_variable)]
    metrics: bool,

    /// Separate address for /metrics, /readyz and /healthz; includes --metrics
    #[arg(long, env = "MCP_METRICS_LISTEN", value_name = "HOST:PORT", value_parser = listen_address)]
    pub metrics_listen: Option<SocketAddr>,
}

/// Flags about the people beside the models.
#[derive(Args)]
#[command(next_help_heading = "Approvals")]
pub struct PersonArgs {
    /// Address at which people reach the page of this server [default: that of a listener on loopback]
    #[arg(long, hide_short_help = true, env = "MCP_PAGE_URL", value_name = "URL", global = true, value_parser = page_url)]
    pub page_url: Option<String>,

    /// Loopback address on which a stdio server also serves the page and approvals, to the clients of clusters.json
    #[arg(long, hide_short_help = true, env = "MCP_PAGE_LISTEN", value_name = "HOST:PORT", global = true, value_parser = listen_address)]
    pub page_listen: Option<SocketAddr>,

    /// URL that gets a short text when a call waits for a person (the URL may hold a secret: prefer the variable)
    #[arg(long, hide_short_help = true, env = "MCP_NOTIFY_URL", value_name = "URL", global = true, value_parser = http_url)]
    pub notify_url: Option<Uri>,

    /// Form of the text: ntfy, gotify, slack or json [default: guessed from the URL]
    #[arg(long, hide_short_help = true, env = "MCP_NOTIFY_FORMAT", value_name = "FORMAT", global = true, value_parser = NotifyFormat::parse)]
    pub notify_format: Option<NotifyFormat>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serve MCP over HTTP, as without a command
    #[command(after_help = include_str!("examples/serve.txt"))]
    Serve,
    /// Speak MCP on stdin and stdout instead of HTTP
    #[command(after_help = include_str!("examples/stdio.txt"))]
    Stdio,
    /// Make a token on a cluster and its entry in clusters.json, or take both back
    #[command(after_help = include_str!("examples/setup.txt"))]
    Setup(SetupArgs),
    /// Check the configuration, and each cluster's version and token
    #[command(after_help = include_str!("examples/check.txt"))]
    Check,
    /// Make a client token; prints how to store it and how to configure the client
    #[command(after_help = include_str!("examples/token.txt"))]
    Token(TokenArgs),
    /// Check that an audit log is unchanged: audit verify FILE
    #[command(after_help = include_str!("examples/audit.txt"))]
    Audit(AuditArgs),
    /// List the calls of a running server that wait for a person, and approve or deny one
    #[command(after_help = include_str!("examples/approvals.txt"))]
    Approvals(ApprovalsArgs),
    /// Check the health of the server at --listen (for container health checks)
    #[command(after_help = include_str!("examples/health.txt"))]
    Health,
    /// Print a completion script for a shell
    #[command(after_help = include_str!("examples/completions.txt"))]
    Completions {
        /// Shell to complete in
        shell: Shell,
    },
    /// Print a man page, in roff
    #[command(after_help = include_str!("examples/man.txt"))]
    Man {
        /// Command with a page of its own [default: the program]
        command: Option<String>,
    },
}

/// Flags of `token`.
#[derive(Args)]
pub struct TokenArgs {
    /// Name of the client
    #[arg(value_parser = client_name)]
    pub name: Option<String>,

    /// Print only MCP_AUTH_TOKEN=…, the variable of a server with a single client
    #[arg(long, conflicts_with = "json")]
    pub env: bool,

    /// Print only a JSON object: name, token, its SHA-256, and the entry for clusters.json
    #[arg(long)]
    pub json: bool,

    /// URL of the server in the client's configuration [default: that of --listen]
    #[arg(long, value_name = "URL", value_parser = server_url)]
    pub url: Option<String>,
}

/// An MCP client that setup knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientKind {
    ClaudeCode,
    ClaudeDesktop,
    Gemini,
    Cursor,
    #[value(name = "vscode")]
    VsCode,
}

/// Flags of `setup`.
#[derive(Args)]
pub struct SetupArgs {
    /// Name of the cluster in clusters.json [default: its own name]
    #[arg(value_parser = cluster_name)]
    pub name: Option<String>,

    /// Node to log in to; on a node itself, root needs no login
    #[arg(long, value_name = "HOST[:PORT]", value_parser = node_address)]
    pub url: Option<Endpoint>,

    /// SHA-256 fingerprint of the node's certificate [default: shown, to be compared]
    #[arg(long, value_name = "SHA256", value_parser = fingerprint)]
    pub fingerprint: Option<Fingerprint>,

    /// What the token may do: read, operate (power, snapshots, backups, migration) or full
    #[arg(long, value_name = "LEVEL", default_value = "read", value_parser = access_level)]
    pub access: AccessLevel,

    /// MCP client that gets a token, and whose configuration is printed
    #[arg(long, value_name = "CLIENT")]
    pub client: Option<ClientKind>,

    /// Write the configuration of --client, and keep a copy of the file
    #[arg(long, requires = "client")]
    pub write_client: bool,

    /// Show what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Make the changes without asking
    #[arg(long)]
    pub yes: bool,

    /// Take everything back that setup made for NAME
    #[arg(long, requires = "name")]
    pub remove: bool,
}

#[derive(Args)]
#[command(arg_required_else_help = false)]
pub struct AuditArgs {
    #[command(subcommand)]
    pub action: AuditAction,

    /// Hash of a line that the log must contain, from an earlier run
    #[arg(long, value_name = "HASH", global = true)]
    pub expect: Option<String>,
}

#[derive(Subcommand)]
pub enum AuditAction {
    /// Report changed, removed, inserted and reordered lines
    #[command(after_help = include_str!("examples/audit.txt"))]
    Verify {
        /// Audit log to check
        #[arg(value_parser = file_path())]
        file: PathBuf,
    },
}

/// Flags of `approvals`.
#[derive(Args)]
pub struct ApprovalsArgs {
    #[command(subcommand)]
    pub action: Option<ApprovalsAction>,

    /// URL of the server [default: that of --listen]
    #[arg(long, value_name = "URL", global = true, value_parser = http_url)]
    pub url: Option<Uri>,

    /// File with the token of a client with "approve": true (MCP_APPROVER_TOKEN: the token itself)
    #[arg(long, value_name = "FILE", global = true, value_parser = file_path())]
    pub token_file: Option<PathBuf>,

    /// PEM file with the authority of the server's certificate, instead of the public ones
    #[arg(long, value_name = "FILE", global = true, value_parser = file_path())]
    pub ca_file: Option<PathBuf>,

    /// Send the token without TLS to another machine, for trusted networks
    #[arg(long, global = true)]
    pub insecure_http: bool,
}

#[derive(Subcommand)]
pub enum ApprovalsAction {
    /// List the calls that wait, with all that they change
    List,
    /// Approve a call
    Approve {
        /// Id of the call
        id: String,
    },
    /// Deny a call
    Deny {
        /// Id of the call
        id: String,
    },
}

impl Cli {
    pub fn limits(&self) -> Limits {
        self.limits.to_limits()
    }
}

impl HttpArgs {
    /// Returns whether metrics are served.
    pub fn metrics(&self) -> bool {
        self.metrics || self.metrics_listen.is_some()
    }

    /// Returns the hosts of every `--allowed-hosts`.
    pub fn allowed_hosts(&self) -> Vec<String> {
        self.allowed_hosts.iter().flat_map(|list| list.0.iter().cloned()).collect()
    }

    /// Returns the origins of every `--allowed-origins`.
    pub fn allowed_origins(&self) -> Vec<String> {
        self.allowed_origins.iter().flat_map(|list| list.0.iter().cloned()).collect()
    }

    /// Returns the paths of the certificate and its key, or `None` for plain HTTP.
    pub fn tls_files(&self) -> Result<Option<(&Path, &Path)>, Failure> {
        match (self.tls_cert.as_deref(), self.tls_key.as_deref()) {
            (Some(cert), Some(key)) => Ok(Some((cert, key))),
            (None, None) => Ok(None),
            (cert, _) => {
                let [present, missing] = match cert {
                    Some(_) => ["--tls-cert (MCP_TLS_CERT)", "--tls-key (MCP_TLS_KEY)"],
                    None => ["--tls-key (MCP_TLS_KEY)", "--tls-cert (MCP_TLS_CERT)"],
                };
                Err(Failure::Usage(format!(
                    "{present} needs {missing}. hint: name both files, or neither to serve without TLS"
                )))
            }
        }
    }

    /// Returns the scheme of the server's URLs.
    pub fn scheme(&self) -> &'static str {
        if self.tls_cert.is_some() { "https" } else { "http" }
    }
}

/// Returns `MCP_AUTH_TOKEN`, or `None` if it is unset. It is no flag because every user of the machine can read the
/// arguments of a process.
///
/// # Errors
/// `MCP_AUTH_TOKEN` or `MCP_AUTH_TOKEN_FILE` is empty. An operator who sets one expects that a token is required, so an
/// empty value must not mean that no token is.
pub fn auth_token() -> Result<Option<Secret>, Failure> {
    const TOKEN: &str = "MCP_AUTH_TOKEN";
    for variable in [TOKEN, "MCP_AUTH_TOKEN_FILE"] {
        if std::env::var_os(variable).is_some_and(|value| value.is_empty()) {
            return Err(Failure::Usage(format!(
                "{variable} is set and empty. hint: make a token with `proxmox-mcp token`, or unset the variable"
            )));
        }
    }
    match std::env::var(TOKEN) {
        Ok(token) => Ok(Some(Secret::new(token))),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            Err(Failure::Usage("MCP_AUTH_TOKEN is not UTF-8. hint: make a token with `proxmox-mcp token`".into()))
        }
    }
}
