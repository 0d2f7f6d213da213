//! What was typed: flags, their environment variables and the subcommand. What the program runs with is made of it
//! in [`crate::serve`] and [`crate::check`].

mod limits;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use limits::LimitFlags;
use proxmox_mcp::secret::Secret;
use proxmox_mcp::settings::{Client, Limits};
use std::env::VarError;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Lets language models see and run Proxmox VE clusters over the Model Context Protocol
#[derive(Parser)]
#[command(name = "proxmox-mcp", version, max_term_width = 120)]
#[command(after_help = "Without a command it serves. The limits are flags too: see --help")]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub task: Option<Task>,

    /// Path of clusters.json [default: ./clusters.json, then /etc/proxmox-mcp/clusters.json]
    #[arg(long, value_name = "FILE", env = "PROXMOX_MCP_CONFIG", global = true)]
    pub config: Option<PathBuf>,

    /// Use a simulated cluster inside this program; needs no configuration
    #[arg(long, global = true)]
    pub demo: bool,

    /// Log filter: a level, or module=level pairs with commas [default: RUST_LOG, then info]
    #[arg(long, value_name = "FILTER", env = "PROXMOX_MCP_LOG", value_parser = log_filter, global = true)]
    log: Option<String>,

    /// Form of the log: text or json (an object a line)
    #[arg(long, value_name = "FORMAT", env = "PROXMOX_MCP_LOG_FORMAT", value_parser = ["text", "json"], global = true)]
    #[arg(default_value = "text", hide_possible_values = true)]
    log_format: String,

    /// File for the audit log, a JSON line for each call [default: lines in the log]
    #[arg(long, value_name = "FILE", env = "MCP_AUDIT_LOG", global = true)]
    pub audit_log: Option<PathBuf>,

    /// Where to listen: `[::]:8000` is every address, `:8000` every IPv4 one, port 0 a free port
    #[arg(long, value_name = "HOST:PORT", env = "PROXMOX_MCP_LISTEN", value_parser = listen, global = true)]
    #[arg(default_value = "127.0.0.1:8000", help_heading = "HTTP")]
    pub listen: SocketAddr,

    /// Host headers to allow beside loopback: host, host:port, host:* or *
    #[arg(long, value_name = "LIST", env = "MCP_ALLOWED_HOSTS", value_parser = list, help_heading = "HTTP")]
    allowed_hosts: Vec<List>,

    /// Origins to allow beside those of the allowed hosts: https://host, https://host:port or *
    #[arg(long, value_name = "LIST", env = "MCP_ALLOWED_ORIGINS", value_parser = list, help_heading = "HTTP")]
    allowed_origins: Vec<List>,

    /// File with the token that clients must send (MCP_AUTH_TOKEN: the token itself)
    #[arg(long, value_name = "FILE", env = "MCP_AUTH_TOKEN_FILE", global = true, help_heading = "HTTP")]
    pub auth_token_file: Option<PathBuf>,

    /// Speak TLS: PEM file with the server's certificate, and those that signed it
    #[arg(long, value_name = "FILE", env = "MCP_TLS_CERT", global = true, help_heading = "HTTP")]
    tls_cert: Option<PathBuf>,

    /// PEM file with the certificate's key
    #[arg(long, value_name = "FILE", env = "MCP_TLS_KEY", global = true, help_heading = "HTTP")]
    tls_key: Option<PathBuf>,

    /// Listen off loopback without a client token
    #[arg(long, env = "MCP_INSECURE_NO_AUTH", value_parser = BoolishValueParser::new(), help_heading = "HTTP")]
    pub insecure_no_auth: bool,

    /// Serve counts for Prometheus at GET /metrics, to clients that may see all clusters
    #[arg(long, env = "MCP_METRICS", value_parser = BoolishValueParser::new(), help_heading = "HTTP")]
    pub metrics: bool,

    #[command(flatten)]
    limits: LimitFlags,
}

/// The subcommands.
#[derive(Clone, Subcommand)]
pub enum Task {
    /// Speak MCP on stdin and stdout instead of HTTP
    Stdio,
    /// Check the configuration, and each cluster's version and token
    Check,
    /// Make a token for a client: prints what to store and what to hand over
    Token {
        /// The client's name
        #[arg(value_parser = client_name)]
        name: Option<String>,
    },
    /// Check that an audit log is as it was written: audit verify FILE
    Audit {
        /// What to do with it
        #[arg(value_parser = ["verify"])]
        action: String,
        /// The audit log
        file: PathBuf,
        /// The hash of a line that must be there, from an earlier run
        #[arg(long, value_name = "HASH")]
        expect: Option<String>,
    },
    /// Ask the server at --listen whether it is up (for container health checks)
    Health,
}

impl Cli {
    /// Reads the command line; ends the process for `--help`, `--version` (0) and wrong usage (2).
    pub fn from_command_line() -> Self {
        Self::from_matches(&command().get_matches()).unwrap_or_else(|error| error.exit())
    }

    fn from_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let cli = Self::from_arg_matches(matches)?;
        // Only a typed --config is a contradiction: a container image may well set the variable for its usual run.
        if cli.demo && matches.value_source("config") == Some(ValueSource::CommandLine) {
            let text = "--demo needs no configuration: write either --demo or --config";
            return Err(command().error(ErrorKind::ArgumentConflict, text));
        }
        Ok(cli)
    }

    /// The log filter that was asked for, if any was.
    pub fn log(&self) -> Option<&str> {
        self.log.as_deref()
    }

    /// Whether the log's lines are JSON.
    pub fn log_is_json(&self) -> bool {
        self.log_format == "json"
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
        &self.limits.0
    }

    /// Every `--allowed-hosts` entry.
    pub fn allowed_hosts(&self) -> Vec<String> {
        self.allowed_hosts.iter().flat_map(|list| list.0.clone()).collect()
    }

    /// Every `--allowed-origins` entry.
    pub fn allowed_origins(&self) -> Vec<String> {
        self.allowed_origins.iter().flat_map(|list| list.0.clone()).collect()
    }
}

/// The derived command, with what holds for all of its flags alike.
fn command() -> Command {
    let last = "Without a command it serves. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.";
    Cli::command().after_long_help(format!("{}\n{last}", limits::help())).mut_args(|arg| {
        // compose files hand `VAR=${VAR:-}` on as an empty text, which means that nobody set it.
        let empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        let arg = if empty { arg.env(None::<&str>) } else { arg };
        arg.hide_env_values(true)
    })
}

/// A list on the command line: `a,b` or `["a", "b"]`.
#[derive(Clone)]
struct List(Vec<String>);

fn list(text: &str) -> Result<List, String> {
    let items = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)
            .map_err(|_| "write a comma list, or a JSON list of strings such as [\"a\", \"b\"]")?
    } else {
        text.split(',').map(str::to_owned).collect::<Vec<String>>()
    };
    Ok(List(items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()).map(str::to_owned).collect()))
}

fn client_name(text: &str) -> Result<String, &'static str> {
    const FORM: &str = "write 1 to 64 letters, digits, \".\", \"_\" or \"-\"";
    if Client::is_name(text) { Ok(text.to_owned()) } else { Err(FORM) }
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    const FORM: &str = "write host:port, such as 127.0.0.1:8000, or :8000 for every IPv4 address";
    let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
    let port: u16 = port.parse().map_err(|_| format!("the port must be a number from 0 to 65535: {FORM}"))?;
    if host.is_empty() {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!("an IPv6 address stands in brackets: [::1]:{port}"));
    }
    let found: Vec<SocketAddr> = text.to_socket_addrs().map_err(|_| format!("no such host: {FORM}"))?.collect();
    // `localhost` is both; most clients try 127.0.0.1.
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied().ok_or_else(|| FORM.to_owned())
}

/// env_logger itself only prints a warning about a filter that it can't read, and takes a mistyped level for the name
/// of a module, so that all logging is off.
fn log_filter(text: &str) -> Result<String, String> {
    const FORM: &str = "write a level (off, error, warn, info, debug, trace) or module=level pairs with commas between";
    let is_level = |word: &str| word.parse::<log::LevelFilter>().is_ok();
    let (directives, pattern) = text.split_once('/').unwrap_or((text, ""));
    let right = directives.split(',').map(str::trim).all(|directive| match directive.split_once('=') {
        Some((module, level)) => !module.is_empty() && is_level(level.trim()),
        None => directive.is_empty() || is_level(directive) || directive.starts_with("proxmox_mcp"),
    });
    if right && !pattern.contains('/') { Ok(text.to_owned()) } else { Err(FORM.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Cli, clap::Error> {
        let args = std::iter::once("proxmox-mcp").chain(args.iter().copied());
        // Without the environment, so that the test does not depend on it.
        let matches = Cli::command().mut_args(|arg| arg.env(None::<&str>)).try_get_matches_from(args)?;
        Cli::from_matches(&matches)
    }

    #[test]
    fn the_flags_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn addresses_to_listen_on() {
        for (text, address) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            (":8000", "0.0.0.0:8000"),
            ("[::1]:8000", "[::1]:8000"),
            ("localhost:8000", "127.0.0.1:8000"),
        ] {
            assert_eq!(listen(text).map(|a| a.to_string()).as_deref(), Ok(address), "{text}");
        }
        for (text, told) in [
            ("8000", "write host:port"),
            ("127.0.0.1:http", "a number from 0"),
            ("::1:8000", "[::1]:8000"),
            ("", "write"),
        ] {
            assert!(listen(text).is_err_and(|e| e.contains(told)), "{text}");
        }
    }

    #[test]
    fn lists_come_with_commas_or_as_json() {
        let cli = parsed(&["--allowed-hosts", "a, b:*,", "--allowed-hosts", r#"["c"]"#, "--allowed-origins", "[]"]);
        let cli = cli.expect("valid");
        assert_eq!(cli.allowed_hosts(), ["a", "b:*", "c"]);
        assert!(cli.allowed_origins().is_empty());
        assert!(parsed(&["--allowed-hosts", "[1]"]).is_err());
    }

    #[test]
    fn flags_may_stand_after_the_subcommand() {
        let cli = parsed(&["check", "--config", "x.json", "--log", "debug"]).expect("valid");
        assert_eq!(cli.config, Some("x.json".into()));
        assert_eq!(cli.log(), Some("debug"));
        assert!(parsed(&["--demo", "check", "--config", "x.json"]).is_err());
    }

    #[test]
    fn a_mistyped_log_filter_is_refused() {
        for text in ["info", "WARN", "off", "info,proxmox_mcp::http=trace", "proxmox_mcp::pve", "debug/cluster", ""] {
            assert!(log_filter(text).is_ok(), "{text}");
        }
        for text in ["verbose", "debgu", "ureq=loud", "a=b=info", "=info", "info/a/b"] {
            assert!(log_filter(text).is_err(), "{text}");
        }
    }
}
