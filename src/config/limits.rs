//! Limits of the server.

use std::time::Duration;

/// Limits of everything that untrusted input can make the server hold or wait for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections.
    pub max_connections: usize,
    /// Open connections per client address. For IPv6 an address is a network of 64 bits.
    pub max_connections_per_address: usize,
    /// Open SSE sessions.
    pub max_sessions: usize,
    /// Tool calls in flight per transport: all SSE sessions, POST /mcp, stdio.
    pub max_calls: usize,
    /// Tool calls in flight per session.
    pub max_calls_per_session: usize,
    /// Tool calls in flight per client over HTTP, on all its connections. Callers without a client's token have only
    /// the limit `max_calls`.
    pub max_calls_per_client: usize,
    /// Tool calls per minute and client over HTTP, or of all callers if no client is configured. 0 is no limit.
    pub max_calls_per_minute: usize,
    /// Calls in flight per cluster.
    pub max_calls_per_cluster: usize,
    /// Bytes of a request's line and headers together.
    pub max_head_bytes: usize,
    /// Headers of a request, at most [`Limits::MAX_HEADERS`].
    pub max_headers: usize,
    /// Bytes of a request's body.
    pub max_body_bytes: usize,
    /// Bytes of memory for all requests and answers of nodes together, with what is made of them. One client of several
    /// may use half.
    pub max_buffered_bytes: usize,
    /// Bytes of a node's answer. The resources of thousands of guests are a few MiB, and a call in flight may hold
    /// several times its answer.
    pub max_answer_bytes: usize,
    /// Bytes of an answer's text per page for the model, 3 to 4 per token. 0 is no limit.
    pub max_result_bytes: usize,
    /// From a request's first byte to the end of its head.
    pub head_timeout: Duration,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// Between two requests of a connection.
    pub idle_timeout: Duration,
    /// For a client to receive an answer or an event of an SSE stream.
    pub write_timeout: Duration,
    /// From the start of a call on POST /mcp to that of its event stream, if the call is not answered before and its
    /// client accepts a stream.
    pub stream_delay: Duration,
    /// For a call of an SSE session or of stdio to get a worker thread. A call that waited longer is not run.
    pub queue_timeout: Duration,
    /// Interval of keep-alive comments on an SSE stream.
    pub sse_keepalive: Duration,
    /// For calls in flight to end after the signal to stop.
    pub stop_timeout: Duration,
    /// Duration from which a tool call is logged as slow.
    pub slow_call: Duration,
}

impl Limits {
    /// The most headers that the parser of a request's head has room for.
    pub const MAX_HEADERS: usize = 128;
    /// The smallest [`Limits::max_buffered_bytes`], with which ordinary calls work.
    pub const MIN_BUFFERED_BYTES: usize = 1 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            max_connections: 4096,
            max_connections_per_address: 1024,
            max_sessions: 2048,
            max_calls: 256,
            max_calls_per_session: 16,
            // A quarter of all, so that a client with an error in a loop leaves room for others.
            max_calls_per_client: 64,
            // No default fits all: a script over thousands of guests makes as many calls as a client in an endless
            // loop. The limits of calls in flight bound the load of both.
            max_calls_per_minute: 0,
            max_calls_per_cluster: 64,
            max_head_bytes: 16 << 10,
            max_headers: 64,
            max_body_bytes: 4 << 20,
            max_buffered_bytes: 256 << 20,
            max_answer_bytes: 16 << 20,
            max_result_bytes: 32 << 10,
            head_timeout: seconds(10),
            body_timeout: seconds(30),
            idle_timeout: seconds(60),
            write_timeout: seconds(10),
            // Far below the shortest time, 30 s, after which common proxies end a silent connection.
            stream_delay: seconds(5),
            // The SDKs of clients give up after 60 s.
            queue_timeout: seconds(30),
            sse_keepalive: seconds(15),
            stop_timeout: seconds(8),
            slow_call: seconds(10),
        }
    }
}
