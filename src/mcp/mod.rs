//! The Model Context Protocol, without a socket: bytes of one message in, bytes of its answer out.
//!
//! A transport reads a message with [`message::parse`] and has it answered by [`Server::answer`], to which it lends an
//! [`Exchange`]: where notifications of that request go, and how the request is cancelled. Both protocol eras are served
//! on every transport, told apart by the request itself ([`message::Params::claimed_version`]): `legacy` has the
//! initialize era, `modern` has 2026-07-28, and what they share is in `features`, once.

pub mod args;
pub mod call;
pub mod catalog;
pub mod content;
pub mod context;
mod escape;
mod features;
pub mod legacy;
pub mod message;
pub mod modern;
mod params;
mod record;
pub mod state;

use crate::cancel::Cancel;
use crate::metrics::Metrics;
use crate::settings::Limits;
use crate::trace::{CALL_ID, CallId};
use call::Calls;
use catalog::{Catalog, Tool};
use message::{Fault, Notification, Params, Request};
use record::Record;
pub use record::Tally;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use state::Seal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a transport lends a request while it is answered.
pub struct Exchange<'a> {
    /// Who calls.
    pub caller: &'a context::Caller,
    /// The calls of the session it belongs to; `None` on a transport without sessions.
    pub calls: Option<&'a Calls>,
    /// Ends the call when the client gives it up.
    pub cancel: Cancel,
    /// Takes notifications of this request, in order, before its answer.
    pub send: context::Send<'a>,
}

/// The answer to one request.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The JSON-RPC message.
    pub bytes: Vec<u8>,
    /// The code, where it is an error: HTTP has a status for some of them.
    pub code: Option<i32>,
}

/// The two eras of the protocol (2026-07-28, Versioning).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// `initialize` first: 2024-11-05 to 2025-11-25.
    Legacy,
    /// Every request speaks for itself: 2026-07-28.
    Modern,
}

/// One request on its way to an answer.
#[derive(Clone, Copy)]
struct Ask<'a> {
    server: &'a Server,
    era: Era,
    request: &'a Request<'a>,
    params: &'a Params<'a>,
    exchange: &'a Exchange<'a>,
    record: &'a Record<'a>,
}

/// One MCP server: what it offers, and what it says of itself. Shared by every transport and connection.
pub struct Server {
    catalog: Catalog,
    seal: Seal,
    lists: Lists,
    capabilities: Value,
    /// Requests so far.
    calls: AtomicU64,
    /// The first half of their ids.
    process: u16,
    metrics: Arc<Metrics>,
    slow_call: Duration,
}

/// The results that never change, serialised once, without their closing brace.
struct Lists {
    tools: Vec<u8>,
    resources: Vec<u8>,
    templates: Vec<u8>,
    prompts: Vec<u8>,
    /// What ends a result of the modern era, and one that may be kept.
    complete: Vec<u8>,
    cacheable: Vec<u8>,
}

/// How long a client may keep a list, in milliseconds. Lists change only with a restart.
const LIST_TTL_MS: u32 = 300_000;

impl Server {
    /// Takes the catalog over and serialises its lists once.
    ///
    /// # Errors
    /// The system gives no random bytes for the key that seals `requestState`.
    pub fn new(catalog: Catalog) -> Result<Self, ring::error::Unspecified> {
        let info = json!({"io.modelcontextprotocol/serverInfo": server_info()});
        let complete = format!(r#","resultType":"complete","_meta":{info}}}"#).into_bytes();
        let cacheable =
            format!(r#","resultType":"complete","ttlMs":{LIST_TTL_MS},"cacheScope":"private","_meta":{info}}}"#)
                .into_bytes();
        let open = |key: &str, list: Vec<Value>| format!("{{\"{key}\":{}", Value::from(list)).into_bytes();
        let lists = Lists {
            tools: open("tools", catalog.tools.iter().map(Tool::definition).collect()),
            resources: open("resources", catalog.resources.iter().map(features::resource).collect()),
            templates: open("resourceTemplates", catalog.templates.iter().map(features::template).collect()),
            prompts: open("prompts", catalog.prompts.iter().map(features::prompt).collect()),
            complete,
            cacheable,
        };
        let capabilities = features::capabilities(&catalog);
        let mut process = [0; 2];
        SystemRandom::new().fill(&mut process)?;
        Ok(Self {
            metrics: Arc::new(Metrics::new(catalog.tools.iter().map(|tool| tool.name).collect())),
            catalog,
            seal: Seal::new()?,
            lists,
            capabilities,
            calls: AtomicU64::new(0),
            process: u16::from_be_bytes(process),
            slow_call: Limits::default().slow_call,
        })
    }

    /// The same, where a call is slow after another time than the default.
    #[must_use]
    pub fn with_slow_call(self, slow_call: Duration) -> Self {
        Self { slow_call, ..self }
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Notes that a call is not begun, too many others being at work.
    pub fn busy(&self, request: &Request<'_>, caller: &context::Caller) {
        let params = request.params();
        let name = params.as_ref().ok().and_then(|params| params.name.as_deref());
        record::busy(self, self.next_id(), caller, name.and_then(|name| self.tool(name)).unwrap_or(usize::MAX));
    }

    fn next_id(&self) -> CallId {
        CallId { process: self.process, number: self.calls.fetch_add(1, Ordering::Relaxed) }
    }

    /// The number of a tool.
    fn tool(&self, name: &str) -> Option<usize> {
        self.catalog.tools.iter().position(|tool| tool.name == name)
    }

    /// The name of the tool with this number.
    fn tool_name(&self, number: usize) -> &'static str {
        self.catalog.tools.get(number).map_or("-", |tool| tool.name)
    }

    /// Answers one request, given what [`Request::params`] made of its parameters. `None` when it was cancelled: then
    /// nothing may be sent (Utilities, Cancellation). Blocks for as long as the tool runs where
    /// [`Request::may_take_long`] says so, else returns at once.
    pub fn answer(
        &self,
        request: &Request<'_>,
        params: Result<Params<'_>, Fault>,
        exchange: &Exchange<'_>,
    ) -> Option<Answer> {
        let counts = request.may_take_long();
        let trace = params.as_ref().ok().and_then(Params::trace);
        let record = Record::begin(self, self.next_id(), exchange.caller, trace, counts);
        // A call may be cancelled while it waits for its turn: then a tool that looks at that late must not begin.
        if exchange.cancel.is_unwanted() {
            if counts {
                record.end(self, true, false);
            }
            return None;
        }
        let started = log::log_enabled!(log::Level::Debug).then(Instant::now);
        let what = started.map(|_| described(request, params.as_ref().ok()));
        let run = || {
            params.and_then(|params| {
                let ask = |era| Ask { server: self, era, request, params: &params, exchange, record: &record };
                match params.claimed_version() {
                    Some(_) => modern::answer(&ask(Era::Modern)),
                    None => legacy::answer(&ask(Era::Legacy)),
                }
            })
        };
        // A tool that panics costs its own call only.
        let answer = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
            log::error!("a call ended in a panic: id={} {}", record.id, described(request, None));
            let why = "internal error: the call broke off, what it did so far stands; the server's log says where";
            Err(Fault::new(message::INTERNAL_ERROR, why))
        });
        let cancelled = exchange.cancel.is_unwanted();
        if let (Some(started), Some(what)) = (started, what) {
            let outcome = match &answer {
                _ if cancelled => "cancelled".into(),
                Ok(bytes) => format!("{} bytes", bytes.len()),
                Err(fault) => format!("error {}", fault.code),
            };
            log::debug!("{what}: {outcome} in {} µs", started.elapsed().as_micros());
        }
        if counts {
            record.end(self, cancelled, answer.is_err());
        }
        if cancelled {
            return None;
        }
        Some(match answer {
            Ok(bytes) => Answer { bytes, code: None },
            Err(mut fault) if counts => {
                fault.data.get_or_insert_with(|| json!({CALL_ID: record.id.to_string()}));
                Answer { bytes: request.fault(&fault), code: Some(fault.code) }
            }
            Err(fault) => Answer { bytes: request.fault(&fault), code: Some(fault.code) },
        })
    }

    /// Takes note of a notification: `notifications/cancelled` ends the call it names in `calls`; nothing else matters.
    pub fn notice(&self, notification: &Notification<'_>, calls: &Calls) {
        if notification.method == "notifications/cancelled"
            && let Some(params) = notification.params
            && let Ok([Some(id)]) = params::fields(params, ["requestId"])
        {
            calls.cancel(id);
        }
    }

    /// What ends a result whose members are written, braces open.
    fn tail(&self, era: Era, cacheable: bool) -> &[u8] {
        match (era, cacheable) {
            (Era::Legacy, _) => b"}",
            (Era::Modern, false) => &self.lists.complete,
            (Era::Modern, true) => &self.lists.cacheable,
        }
    }
}

/// A request for the log: a stranger's words, cut short and on one line.
fn described(request: &Request<'_>, params: Option<&Params<'_>>) -> String {
    let short = |text: &str| text.chars().take(64).collect::<String>();
    match params.and_then(|p| p.name.as_deref().or(p.uri.as_deref())) {
        Some(name) => format!("{:?} {:?}", short(&request.method), short(name)),
        None => format!("{:?}", short(&request.method)),
    }
}

fn server_info() -> Value {
    json!({"name": env!("CARGO_PKG_NAME"), "title": "Proxmox VE", "version": env!("CARGO_PKG_VERSION")})
}
