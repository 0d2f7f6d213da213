//! Every flag: one row says all about it, for reading it, for its variable and for `--help`.

use super::Cli;
use super::value::{self, is_json, list, listen, log_filter};
use proxmox_mcp::settings::Limits;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

/// A flag, or a limit.
pub struct Flag {
    /// Without the dashes.
    pub name: &'static str,
    /// What `--help` calls its value; empty for a switch, which takes none.
    pub takes: &'static str,
    /// The variable that stands for it, empty for none.
    env: &'static str,
    /// What it is, on one line.
    pub help: &'static str,
    place: Place,
    /// Whether it may follow a subcommand.
    pub after_task: bool,
}

/// Where the value goes and what it may be, both ends included.
enum Place {
    Path(fn(&mut Cli) -> &mut Option<PathBuf>),
    /// Reads the text and keeps it.
    Text(fn(&mut Cli, &str) -> Result<(), String>),
    Switch(fn(&mut Cli) -> &mut bool),
    Number(fn(&mut Limits) -> &mut usize, usize, usize),
    Seconds(fn(&mut Limits) -> &mut Duration, f64, f64),
}
use Place::{Number, Path, Seconds, Switch, Text};

/// More threads or sockets than this no machine has for us.
const MANY: usize = 100_000;
const MIB: usize = 1 << 20;
/// Shorter is for tests only, but a test of a deadline must not last as long as the deadline people use.
const SHORTEST: f64 = 0.01;
const HOUR: f64 = 3600.0;

/// Flags of every way to run.
pub const COMMON: [Flag; 5] = [
    flag(
        "config",
        "FILE",
        "PROXMOX_MCP_CONFIG",
        "Path of clusters.json [default: ./clusters.json, then /etc/proxmox-mcp/clusters.json]",
        Path(|cli| &mut cli.config),
    ),
    flag(
        "demo",
        "",
        "",
        "Use a simulated cluster inside this program; needs no configuration",
        Switch(|cli| &mut cli.demo),
    ),
    flag(
        "log",
        "FILTER",
        "PROXMOX_MCP_LOG",
        "Log filter: a level, or module=level pairs with commas [default: RUST_LOG, then info]",
        Text(|cli, text| log_filter(text).map(|filter| cli.log = Some(filter))),
    ),
    flag(
        "log-format",
        "FORMAT",
        "PROXMOX_MCP_LOG_FORMAT",
        "Form of the log: text or json (an object a line)",
        Text(|cli, text| is_json(text).map(|json| cli.log_json = json)),
    ),
    flag(
        "audit-log",
        "FILE",
        "MCP_AUDIT_LOG",
        "File for the audit log, a JSON line for each call [default: lines in the log]",
        Path(|cli| &mut cli.audit_log),
    ),
];

/// Flags of the HTTP front.
pub const HTTP: [Flag; 9] = [
    flag(
        "listen",
        "HOST:PORT",
        "PROXMOX_MCP_LISTEN",
        "Where to listen: `[::]:8000` is every address, `:8000` every IPv4 one, port 0 a free port",
        Text(|cli, text| listen(text).map(|address| cli.listen = address)),
    ),
    only_serving(flag(
        "allowed-hosts",
        "LIST",
        "MCP_ALLOWED_HOSTS",
        "Host headers to allow beside loopback: host, host:port, host:* or *",
        Text(|cli, text| list(text).map(|hosts| cli.allowed_hosts.extend(hosts))),
    )),
    only_serving(flag(
        "allowed-origins",
        "LIST",
        "MCP_ALLOWED_ORIGINS",
        "Origins to allow beside those of the allowed hosts: https://host, https://host:port or *",
        Text(|cli, text| list(text).map(|origins| cli.allowed_origins.extend(origins))),
    )),
    flag(
        "auth-token-file",
        "FILE",
        "MCP_AUTH_TOKEN_FILE",
        "File with the token that clients must send (MCP_AUTH_TOKEN: the token itself)",
        Path(|cli| &mut cli.auth_token_file),
    ),
    flag(
        "tls-cert",
        "FILE",
        "MCP_TLS_CERT",
        "Speak TLS: PEM file with the server's certificate, and those that signed it",
        Path(|cli| &mut cli.tls_cert),
    ),
    flag("tls-key", "FILE", "MCP_TLS_KEY", "PEM file with the certificate's key", Path(|cli| &mut cli.tls_key)),
    only_serving(flag(
        "insecure-no-auth",
        "",
        "MCP_INSECURE_NO_AUTH",
        "Listen off loopback without a client token",
        Switch(|cli| &mut cli.insecure_no_auth),
    )),
    only_serving(flag(
        "metrics",
        "",
        "MCP_METRICS",
        "Serve counts for Prometheus at GET /metrics, to clients that may see all clusters",
        Switch(|cli| &mut cli.metrics),
    )),
    only_serving(flag(
        "metrics-listen",
        "HOST:PORT",
        "MCP_METRICS_LISTEN",
        "Serve them at a port of their own instead, with /readyz and /healthz",
        Text(|cli, text| listen(text).map(|address| cli.metrics_listen = Some(address))),
    )),
];

/// Flags of `audit`.
pub const AUDIT: [Flag; 1] = [flag(
    "expect",
    "HASH",
    "",
    "The hash of a line that must be there, from an earlier run",
    Text(|cli, text| {
        cli.expect = Some(text.to_owned());
        Ok(())
    }),
)];

/// A flag for each limit of the HTTP front and the clusters' clients.
pub const LIMITS: [Flag; 21] = [
    limit("max-connections", "Open connections at once", Number(|l| &mut l.max_connections, 1, MANY)),
    limit(
        "max-connections-per-address",
        "Open connections at once from one address",
        Number(|l| &mut l.max_connections_per_address, 1, MANY),
    ),
    limit("max-sessions", "Open SSE sessions at once", Number(|l| &mut l.max_sessions, 1, MANY)),
    limit("max-calls", "Tool calls in flight at once, each transport", Number(|l| &mut l.max_calls, 1, MANY)),
    limit(
        "max-calls-per-session",
        "Tool calls in flight at once in one session",
        Number(|l| &mut l.max_calls_per_session, 1, MANY),
    ),
    limit(
        "max-calls-per-client",
        "Tool calls in flight at once of one client",
        Number(|l| &mut l.max_calls_per_client, 1, MANY),
    ),
    limit(
        "max-calls-per-minute",
        "Tool calls a minute of one client (0: any)",
        Number(|l| &mut l.max_calls_per_minute, 0, 10 * MANY),
    ),
    limit(
        "max-calls-per-cluster",
        "Calls in flight at once to one cluster",
        Number(|l| &mut l.max_calls_per_cluster, 1, MANY),
    ),
    limit("max-head-bytes", "Bytes of a request's head", Number(|l| &mut l.max_head_bytes, 1024, MIB)),
    limit("max-headers", "Headers of a request", Number(|l| &mut l.max_headers, 8, 1000)),
    limit("max-body-bytes", "Bytes of a request's body", Number(|l| &mut l.max_body_bytes, 1024, 1024 * MIB)),
    limit(
        "max-buffered-bytes",
        "Bytes of large request bodies together",
        Number(|l| &mut l.max_buffered_bytes, 1024, 1024 * MIB),
    ),
    limit("max-answer-bytes", "Bytes of a node's answer", Number(|l| &mut l.max_answer_bytes, 1024, 1024 * MIB)),
    limit(
        "max-result-bytes",
        "Bytes of an API answer at once (0: any)",
        Number(|l| &mut l.max_result_bytes, 0, 1024 * MIB),
    ),
    limit("head-timeout", "For a request's head to arrive", Seconds(|l| &mut l.head_timeout, SHORTEST, HOUR)),
    limit("body-timeout", "For a request's body to arrive", Seconds(|l| &mut l.body_timeout, SHORTEST, HOUR)),
    limit("idle-timeout", "Between two requests of a connection", Seconds(|l| &mut l.idle_timeout, SHORTEST, HOUR)),
    limit(
        "write-timeout",
        "For a client to take an answer or event",
        Seconds(|l| &mut l.write_timeout, SHORTEST, HOUR),
    ),
    limit(
        "sse-keepalive",
        "Between keep-alive comments of a stream",
        Seconds(|l| &mut l.sse_keepalive, SHORTEST, HOUR),
    ),
    limit("stop-timeout", "For calls in flight when told to stop", Seconds(|l| &mut l.stop_timeout, 0.0, HOUR)),
    limit("slow-call", "Before a tool call is logged as slow", Seconds(|l| &mut l.slow_call, SHORTEST, HOUR)),
];

const fn flag(name: &'static str, takes: &'static str, env: &'static str, help: &'static str, place: Place) -> Flag {
    Flag { name, takes, env, help, place, after_task: true }
}

const fn only_serving(flag: Flag) -> Flag {
    Flag { after_task: false, ..flag }
}

const fn limit(name: &'static str, help: &'static str, place: Place) -> Flag {
    let takes = if let Number(..) = place { "N" } else { "SECONDS" };
    flag(name, takes, "", help, place)
}

impl Flag {
    /// The variable that stands for the flag: one of its own, or, for a limit, one made of its name.
    pub fn variable(&self) -> Option<Cow<'static, str>> {
        match self.place {
            Number(..) | Seconds(..) => {
                let mut variable = format!("PROXMOX_MCP_{}", self.name);
                variable.make_ascii_uppercase();
                Some(variable.split('-').collect::<Vec<_>>().join("_").into())
            }
            _ => (!self.env.is_empty()).then_some(self.env.into()),
        }
    }

    /// Whether it may be there more than once, for a longer list.
    pub fn repeats(&self) -> bool {
        self.takes == "LIST"
    }

    /// As it is typed: `--listen <HOST:PORT>`.
    pub fn usage(&self) -> String {
        match self.takes {
            "" => format!("--{}", self.name),
            takes => format!("--{} <{takes}>", self.name),
        }
    }

    /// What holds if the flag isn't there, where the help itself doesn't say it.
    pub fn default(&self) -> Option<String> {
        let mut cli = Cli::default();
        match self.place {
            Number(place, ..) => Some(place(&mut cli.limits).to_string()),
            Seconds(place, ..) => Some(place(&mut cli.limits).as_secs_f64().to_string()),
            _ if self.name == "log-format" => Some("text".into()),
            _ => (self.name == "listen").then(|| cli.listen.to_string()),
        }
    }

    /// Takes `value`; the error says what to write instead.
    pub fn set(&self, cli: &mut Cli, value: &OsStr) -> Result<(), String> {
        if let Path(place) = self.place {
            if value.is_empty() {
                return Err("write a path".into());
            }
            *place(cli) = Some(value.into());
            return Ok(());
        }
        let text = value.to_str().ok_or("write UTF-8")?;
        match self.place {
            Path(_) => (),
            Text(take) => take(cli, text)?,
            Switch(place) => *place(cli) = value::truth(text)?,
            Number(place, least, most) => *place(&mut cli.limits) = value::number(text, least, most)?,
            Seconds(place, least, most) => *place(&mut cli.limits) = value::seconds(text, least, most)?,
        }
        Ok(())
    }
}
