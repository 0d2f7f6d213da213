//! The HTTP server: every request is bounded in connections, memory and time, so untrusted input cannot stop it.
//!
//! # The path of a request
//! ```text
//! accept ── permit, thread ──▶ connection ── head ▶ guard ▶ auth ▶ routes ▶ body ──▶ streamable, sse ──▶ mcp
//!   admission              receive, client_stream (tls_accept, tls)
//! ```
//! Every bound is a field of [`Limits`](crate::config::Limits). Requests, responses and statuses use tiny_http's types,
//! and its writer produces the head of a response. Its own server is not used: one request can abort it, and its
//! memory, threads and waits have no bound.
//!
//! # Shutdown
//! [`HttpHandle::stop`] ends the accept loops and the connections that wait for a request. Calls in flight get
//! `stop_timeout` to finish and their answers are still sent. Calls that take longer are cancelled and report so. Then
//! the event streams end, and [`HttpServer::run`] returns.

mod accept;
mod admission;
mod approval_endpoints;
mod approvals;
mod auth;
mod auth_failures;
pub(crate) mod body;
mod call_rejection;
mod certificate;
mod client_network;
pub(crate) mod client_stream;
mod connection;
mod cors;
mod descriptor_limit;
mod event_stream;
pub(crate) mod guard;
pub(crate) mod head;
mod health;
mod listener_role;
mod log_throttle;
mod metrics;
mod monitor;
mod oauth_probe;
mod page;
mod posted_calls;
mod proxy_sign;
mod quota;
mod readiness;
pub(crate) mod receive;
mod recent_calls;
mod request;
pub(crate) mod request_error;
mod response;
mod routes;
mod server;
mod sse;
mod sse_session;
mod sse_sessions;
mod state;
mod stop_signal;
mod streamable;
mod tls;
mod tls_accept;

pub use accept::listen;
pub use approval_endpoints::{ApprovalEndpoints, ApprovalRejection, DecisionWord};
pub use certificate::{CertificateError, ServerCertificate};
pub use guard::AllowListError;
pub use readiness::{ClusterReadiness, HealthSources, MetricsWriter, ReadinessSource};
pub use server::{HttpConfig, HttpHandle, HttpServer, StalledPart, StartError};
