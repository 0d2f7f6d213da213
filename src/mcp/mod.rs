//! The Model Context Protocol without a socket: the bytes of a message in, the bytes of its answer out.
//!
//! A transport parses a message with [`message::parse_message`] and answers it with [`McpServer::handle_request`]. It
//! supplies a [`TransportContext`], which carries notifications and cancellation. Every transport serves both eras of the
//! protocol, and each request shows its era ([`message::RequestParams::era`]). `legacy` and `modern` have the methods of
//! one era, `methods` has those of both.

pub mod arguments;
mod call_span;
pub mod catalog;
pub mod content;
pub mod context;
mod error;
pub mod in_flight;
pub mod json_string;
mod legacy;
pub mod message;
mod methods;
pub mod modern;
mod params;
pub mod protocol;
pub mod recent_calls;
mod running_calls;
mod sealed_state;
mod server;
mod server_state;
mod started_task;
mod task_id;
mod tasks;

pub use context::{CallAttributes, TransportContext};
pub use protocol::ProtocolEra;
pub use server::{McpServer, RpcResponse};
pub use task_id::MAX_TASK_STATE_BYTES;
