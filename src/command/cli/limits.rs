//! Flags that set the limits of the server.

use super::values::{Seconds, number, seconds};
use clap::Args;
use proxmox_mcp::config::Limits;

/// Upper bound of connections, sessions and calls: more threads or sockets than one machine gives a process.
const MANY: usize = 100_000;
const MIB: usize = 1 << 20;
/// Lower bound of timeouts, short enough for tests of a timeout.
const SHORTEST: f64 = 0.01;
const HOUR: f64 = 3600.0;

/// Heading of the limits in the help.
pub const HEADING: &str = "Limits";

/// A flag and a variable per limit.
#[derive(Args)]
#[command(next_help_heading = HEADING)]
pub struct LimitArgs {
    /// Maximum open connections
    #[arg(
        long,
        env = "PROXMOX_MCP_MAX_CONNECTIONS",
        value_name = "N",
        default_value_t = Limits::default().max_connections,
        value_parser = number(1, MANY)
    )]
    max_connections: usize,

    /// Maximum open connections per client address (IPv6: per /64)
    #[arg(
        long,
        env = "PROXMOX_MCP_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        default_value_t = Limits::default().max_connections_per_address,
        value_parser = number(1, MANY)
    )]
    max_connections_per_address: usize,

    /// Maximum open SSE sessions
    #[arg(
        long,
        env = "PROXMOX_MCP_MAX_SESSIONS",
        value_name = "N",
        default_value_t = Limits::default().max_sessions,
        value_parser = number(1, MANY)
    )]
    max_sessions: usize,

    /// Maximum tool calls in flight per transport
    #[arg(
        long,
        env = "PROXMOX_MCP_MAX_CALLS",
        value_name = "N",
        default_value_t = Limits::default().max_calls,
        value_parser = number(1, MANY)
    )]
    max_calls: usize,

    /// Maximum tool calls in flight per session
    #[arg(
        long,
        env = "PROXMOX_MCP_MAX_CALLS_PER_SESSION",
        value_name = "N",
        default_value_t = Limits::default().max_calls_per_session,
        value_parser = number(1, MANY)
    )]
    max_calls_per_session: usize,

    /// Maximum tool calls in flight per client
    #[arg(
        long,
        env = "PROXMOX_MCP_MAX_CALLS_PER_CLIENT",
        value_name = "N",
        default_value_t = Limits::default().max_calls_per_client,
        value_parser = number(1, MANY)
    )]
    max_calls_per_client: usize,

    /// Maximum tool calls per minute and client (0: no limit)
    #[arg(
        long,
        env = "PROXMOX_MCP_MAX_CALLS_PER_MINUTE",
        value_name = "N",
        default_value_t = Limits::default().max_calls_per_minute,
        value_parser = number(0, 10 * MANY)
    )]
    max_calls_per_minute: usize,

    /// Maximum calls in flight per cluster
    #[arg(
        long,
        env = "PROXMOX_MCP_MAX_CALLS_PER_CLUSTER",
        value_name = "N",
        default_value_t = Limits::default().max_calls_per_cluster,
        value_parser = number(1, MANY)
    )]
    max_calls_per_cluster: usize,

    /// Maximum bytes of a request's head
    #[arg(
        long,
        env = "PROXMOX_MCP_MAX_HEAD_BYTES",
        value_name = "N",
        default_value_t = Limits::default().max_head_bytes,
        value_parser = number(1024, MIB)
    )]
    max_head_bytes: usize,

    /// Maximum headers of a request
    #[arg(
        long,
        env = "PROXMOX_MCP_MAX_HEADERS",
        value_name = "N",
        default_value_t = Limits::default().max_headers,
        value_parser = number(8, Limits::MAX_HEADERS)
    )]
    max_headers: usize,

    /// Maximum bytes of a request's body
    #[arg(
        long,
        env = "PROXMOX_MCP_MAX_BODY_BYTES",
        value_name = "N",
        default_value_t = Limits::default().max_body_bytes,
        value_parser = number(1024, 1024 * MIB)
    )]
    max_body_bytes: usize,

    /// Maximum bytes of memory for requests and nodes' answers together
    #[arg(
        long,
        env = "PROXMOX_MCP_MAX_BUFFERED_BYTES",
        value_name = "N",
        default_value_t = Limits::default().max_buffered_bytes,
        value_parser = number(Limits::MIN_BUFFERED_BYTES, 4095 * MIB)
    )]
    max_buffered_bytes: usize,

    /// Maximum bytes of a node's answer
    #[arg(
        long,
        env = "PROXMOX_MCP_MAX_ANSWER_BYTES",
        value_name = "N",
        default_value_t = Limits::default().max_answer_bytes,
        value_parser = number(1024, 1024 * MIB)
    )]
    max_answer_bytes: usize,

    /// Maximum bytes of an API answer per page (0: no limit)
    #[arg(
        long,
        env = "PROXMOX_MCP_MAX_RESULT_BYTES",
        value_name = "N",
        default_value_t = Limits::default().max_result_bytes,
        value_parser = number(0, 1024 * MIB)
    )]
    max_result_bytes: usize,

    /// Time limit for a request's head to arrive
    #[arg(
        long,
        env = "PROXMOX_MCP_HEAD_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = Seconds(Limits::default().head_timeout),
        value_parser = seconds(SHORTEST, HOUR)
    )]
    head_timeout: Seconds,

    /// Time limit for a request's body to arrive
    #[arg(
        long,
        env = "PROXMOX_MCP_BODY_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = Seconds(Limits::default().body_timeout),
        value_parser = seconds(SHORTEST, HOUR)
    )]
    body_timeout: Seconds,

    /// Time limit between two requests of a connection
    #[arg(
        long,
        env = "PROXMOX_MCP_IDLE_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = Seconds(Limits::default().idle_timeout),
        value_parser = seconds(SHORTEST, HOUR)
    )]
    idle_timeout: Seconds,

    /// Time limit for a client to receive an answer or event
    #[arg(
        long,
        env = "PROXMOX_MCP_WRITE_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = Seconds(Limits::default().write_timeout),
        value_parser = seconds(SHORTEST, HOUR)
    )]
    write_timeout: Seconds,

    /// Time after which the answer to a call on POST /mcp becomes a stream
    #[arg(
        long,
        env = "PROXMOX_MCP_STREAM_DELAY",
        value_name = "SECONDS",
        default_value_t = Seconds(Limits::default().stream_delay),
        value_parser = seconds(SHORTEST, HOUR)
    )]
    stream_delay: Seconds,

    /// Interval of keep-alive comments on a stream
    #[arg(
        long,
        env = "PROXMOX_MCP_SSE_KEEPALIVE",
        value_name = "SECONDS",
        default_value_t = Seconds(Limits::default().sse_keepalive),
        value_parser = seconds(SHORTEST, HOUR)
    )]
    sse_keepalive: Seconds,

    /// Time limit for calls in flight after SIGTERM or SIGINT
    #[arg(
        long,
        env = "PROXMOX_MCP_STOP_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = Seconds(Limits::default().stop_timeout),
        value_parser = seconds(0.0, HOUR)
    )]
    stop_timeout: Seconds,

    /// Time after which a tool call is logged as slow
    #[arg(
        long,
        env = "PROXMOX_MCP_SLOW_CALL",
        value_name = "SECONDS",
        default_value_t = Seconds(Limits::default().slow_call),
        value_parser = seconds(SHORTEST, HOUR)
    )]
    slow_call: Seconds,
}

impl LimitArgs {
    pub fn to_limits(&self) -> Limits {
        Limits {
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            max_sessions: self.max_sessions,
            max_calls: self.max_calls,
            max_calls_per_session: self.max_calls_per_session,
            max_calls_per_client: self.max_calls_per_client,
            max_calls_per_minute: self.max_calls_per_minute,
            max_calls_per_cluster: self.max_calls_per_cluster,
            max_head_bytes: self.max_head_bytes,
            max_headers: self.max_headers,
            max_body_bytes: self.max_body_bytes,
            max_buffered_bytes: self.max_buffered_bytes,
            max_answer_bytes: self.max_answer_bytes,
            max_result_bytes: self.max_result_bytes,
            head_timeout: self.head_timeout.0,
            body_timeout: self.body_timeout.0,
            idle_timeout: self.idle_timeout.0,
            write_timeout: self.write_timeout.0,
            stream_delay: self.stream_delay.0,
            queue_timeout: Limits::default().queue_timeout,
            sse_keepalive: self.sse_keepalive.0,
            stop_timeout: self.stop_timeout.0,
            slow_call: self.slow_call.0,
        }
    }
}
