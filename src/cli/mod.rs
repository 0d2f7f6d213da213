//! What was typed: flags, their environment variables and the subcommand. What the program runs with is made of it
//! in [`crate::serve`] and [`crate::check`].
//!
//! The reading is our own: a library for it made up 6 % of the program.

mod flags;
mod help;
mod parse;
mod value;

pub use parse::Typed;
use proxmox_mcp::secret::Secret;
use proxmox_mcp::settings::Limits;
use std::env::VarError;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// What the flags and their variables say.
pub struct Cli {
    /// What to do instead of serving.
    pub task: Option<Task>,
    /// The configuration's path, if one was named.
    pub config: Option<PathBuf>,
    /// Whether to use the simulated cluster.
    pub demo: bool,
    log: Option<String>,
    log_json: bool,
    /// Where the audit log goes, if not into the log.
    pub audit_log: Option<PathBuf>,
    /// Where to listen.
    pub listen: SocketAddr,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    /// The file with the token that clients must send.
    pub auth_token_file: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    /// Whether to listen off loopback without a client token.
    pub insecure_no_auth: bool,
    metrics: bool,
    /// Where counts are served, if not where clients call.
    pub metrics_listen: Option<SocketAddr>,
    limits: Limits,
    /// Of `audit`, until it is known that this is the subcommand.
    expect: Option<String>,
}

impl Default for Cli {
    fn default() -> Self {
        Self {
            task: None,
            config: None,
            demo: false,
            log: None,
            log_json: false,
            audit_log: None,
            listen: (Ipv4Addr::LOCALHOST, 8000).into(),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            auth_token_file: None,
            tls_cert: None,
            tls_key: None,
            insecure_no_auth: false,
            metrics: false,
            metrics_listen: None,
            limits: Limits::default(),
            expect: None,
        }
    }
}

/// The subcommands.
pub enum Task {
    /// Speak MCP on stdin and stdout.
    Stdio,
    /// Check the configuration and the clusters.
    Check,
    /// Make a token for a client.
    Token {
        /// The client's name.
        name: Option<String>,
    },
    /// Check that an audit log is as it was written.
    Audit {
        /// The audit log.
        file: PathBuf,
        /// The hash of a line that must be there.
        expect: Option<String>,
    },
    /// Ask the server at `listen` whether it is up.
    Health,
}

/// A subcommand for those who type it.
struct Described {
    name: &'static str,
    /// What follows its name in a usage line, each with a space before it.
    words: &'static str,
    help: &'static str,
}

const TASKS: [Described; 5] = [
    Described { name: "stdio", words: "", help: "Speak MCP on stdin and stdout instead of HTTP" },
    Described { name: "check", words: "", help: "Check the configuration, and each cluster's version and token" },
    Described {
        name: "token",
        words: " [NAME]",
        help: "Make a token for a client: prints what to store and what to hand over",
    },
    Described {
        name: "audit",
        words: " verify <FILE>",
        help: "Check that an audit log is as it was written: audit verify FILE",
    },
    Described {
        name: "health",
        words: "",
        help: "Ask the server at --listen whether it is up (for container health checks)",
    },
];

impl Cli {
    /// Reads the command line and the variables. The error is for the person who typed.
    pub fn from_command_line() -> Result<Typed, String> {
        parse::read(std::env::args_os().skip(1).collect(), &|name| std::env::var_os(name))
    }

    /// Whether counts are served.
    pub fn metrics(&self) -> bool {
        self.metrics || self.metrics_listen.is_some()
    }

    /// The log filter that was asked for, if any was.
    pub fn log(&self) -> Option<&str> {
        self.log.as_deref()
    }

    /// Whether the log's lines are JSON.
    pub fn log_is_json(&self) -> bool {
        self.log_json
    }

    /// `MCP_AUTH_TOKEN`, which is no flag: every user of the machine sees the arguments of a process. Empty is unset.
    pub fn auth_token(&self) -> Result<Option<Secret>, String> {
        match std::env::var("MCP_AUTH_TOKEN") {
            Ok(token) => Ok(Some(Secret::new(token)).filter(|token| !token.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => {
                Err("MCP_AUTH_TOKEN is not UTF-8: make a token with `proxmox-mcp token`".into())
            }
        }
    }

    /// The files of the certificate and its key, where TLS is to be spoken.
    pub fn tls(&self) -> Result<Option<(&Path, &Path)>, String> {
        match (self.tls_cert.as_deref(), self.tls_key.as_deref()) {
            (Some(cert), Some(key)) => Ok(Some((cert, key))),
            (None, None) => Ok(None),
            (cert, _) => {
                let [there, missing] = match cert {
                    Some(_) => ["--tls-cert (MCP_TLS_CERT)", "--tls-key (MCP_TLS_KEY)"],
                    None => ["--tls-key (MCP_TLS_KEY)", "--tls-cert (MCP_TLS_CERT)"],
                };
                Err(format!("{there} needs {missing}: name both files, or neither to serve without TLS"))
            }
        }
    }

    /// What URLs of the server begin with.
    pub fn scheme(&self) -> &'static str {
        if self.tls_cert.is_some() { "https" } else { "http" }
    }

    /// The limits, with what was typed in place of the defaults.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Every `--allowed-hosts` entry.
    pub fn allowed_hosts(&self) -> Vec<String> {
        self.allowed_hosts.clone()
    }

    /// Every `--allowed-origins` entry.
    pub fn allowed_origins(&self) -> Vec<String> {
        self.allowed_origins.clone()
    }
}
