//! The state that all requests of one server share.

use super::catalog::{Catalog, Page, Prompt, ResourceTemplate, ServerInfo, Tool};
use super::protocol::ProtocolEra;
use super::recent_calls::RecentCalls;
use super::running_calls::RunningCalls;
use super::sealed_state::StateSealer;
use super::task_id::TaskIdSealer;
use crate::base::sealing_keys::SealingKeys;
use crate::base::trace::CallId;
use crate::config::Limits;
use crate::metrics::Metrics;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time for which a client may cache a list that changes only with a restart, in milliseconds.
const LIST_TTL_MS: u32 = 300_000;

const SERVER_INFO_META_KEY: &str = "io.modelcontextprotocol/serverInfo";

/// The time for which a client may keep a result (2026-07-28, Caching).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResultCaching {
    /// The method has no caching fields.
    Undefined,
    /// A result that changes only with a restart.
    UntilRestart,
    /// The state of something. It is stale at once.
    Never,
}

pub(super) struct ServerState {
    pub catalog: Catalog,
    pub sealer: StateSealer,
    pub task_ids: TaskIdSealer,
    /// Results of the list methods, without their ends.
    pub tool_list: Vec<u8>,
    /// The list of tools for clients that show views.
    pub view_tool_list: Vec<u8>,
    pub template_list: Vec<u8>,
    pub prompt_list: Vec<u8>,
    /// Capabilities to announce in each era.
    pub legacy_capabilities: Value,
    pub modern_capabilities: Value,
    /// Names of all tools' parameters.
    pub parameter_names: Vec<&'static str>,
    pub metrics: Arc<Metrics>,
    pub running_calls: RunningCalls,
    pub recent_calls: RecentCalls,
    /// Duration from which a call counts as slow.
    pub slow_call: Duration,
    /// True if every client gets the JSON of results.
    pub sends_structured: bool,
    /// JSON of the server's name, title and version, for every modern result.
    server_info: Value,
    /// JSON of all that clients show of the server.
    pub full_server_info: Value,
    /// Member of `_meta` and of error data that has the call's id.
    pub call_id_key: String,
    /// Ends of a modern result, by its caching.
    complete_tail: Vec<u8>,
    cacheable_tail: Vec<u8>,
    stale_tail: Vec<u8>,
    /// End of the result of server/discover.
    pub discover_tail: Vec<u8>,
    request_count: AtomicU64,
    /// Random first half of the request ids.
    process: u16,
}

impl ServerState {
    /// # Errors
    /// The system gives no random bytes.
    pub fn new(catalog: Catalog) -> Result<Self, ring::error::Unspecified> {
        let keys = SealingKeys::generate()?;
        let ServerInfo { name, .. } = catalog.server;
        let server_info = catalog.server.summary();
        let full_server_info = catalog.server.to_json();
        let encode_cache = |ttl: u32| format!(r#""ttlMs":{ttl},"cacheScope":"private","#);
        let cache = encode_cache(LIST_TTL_MS);
        let encode_tail = |cache: &str, info: &Value| {
            let meta = json!({SERVER_INFO_META_KEY: info});
            format!(r#","resultType":"complete",{cache}"_meta":{meta}}}"#).into_bytes()
        };
        let mut process = [0; 2];
        SystemRandom::new().fill(&mut process)?;
        Ok(Self {
            sealer: StateSealer::new(&keys),
            task_ids: TaskIdSealer::new(&keys),
            tool_list: encode_list("tools", &catalog.tools, Tool::definition),
            view_tool_list: encode_list("tools", &catalog.tools, |tool| {
                let mut definition = tool.definition();
                if let Some(page) = catalog.page.as_ref().filter(|page| page.tools.contains(&tool.name)) {
                    for (name, value) in page.meta() {
                        definition["_meta"][name] = value;
                    }
                }
                definition
            }),
            template_list: encode_list(
                "resourceTemplates",
                catalog.resources.as_ref().map_or(&[], |resources| &resources.templates),
                ResourceTemplate::definition,
            ),
            prompt_list: encode_list("prompts", &catalog.prompts, Prompt::definition),
            legacy_capabilities: catalog.capabilities(ProtocolEra::Legacy),
            modern_capabilities: catalog.capabilities(ProtocolEra::Modern),
            parameter_names: catalog.tools.iter().flat_map(Tool::parameter_names).collect(),
            metrics: Arc::new(Metrics::new(catalog.tools.iter().map(|tool| tool.name).collect())),
            sends_structured: false,
            running_calls: RunningCalls::default(),
            recent_calls: RecentCalls::default(),
            slow_call: Limits::default().slow_call,
            call_id_key: format!("{name}/callId"),
            complete_tail: encode_tail("", &server_info),
            cacheable_tail: encode_tail(&cache, &server_info),
            stale_tail: encode_tail(&encode_cache(0), &server_info),
            discover_tail: encode_tail(&cache, &full_server_info),
            server_info,
            full_server_info,
            request_count: AtomicU64::new(0),
            process: u16::from_be_bytes(process),
            catalog,
        })
    }

    /// Replaces the secrets of what clients keep.
    pub fn set_sealing_keys(&mut self, keys: &SealingKeys) {
        (self.sealer, self.task_ids) = (StateSealer::new(keys), TaskIdSealer::new(keys));
    }

    /// Returns whether the last calls of each client are kept. Only the page shows them.
    pub fn keeps_recent_calls(&self) -> bool {
        self.catalog.page.is_some()
    }

    pub fn next_id(&self) -> CallId {
        CallId { process: self.process, number: self.request_count.fetch_add(1, Ordering::Relaxed) }
    }

    /// Returns the tool with this name and its index.
    pub fn find_tool(&self, name: &str) -> Option<(usize, &Tool)> {
        self.catalog.tools.iter().enumerate().find(|(_, tool)| tool.name == name)
    }

    /// Returns the bytes that close a result after its last member.
    pub fn result_tail(&self, era: ProtocolEra, caching: ResultCaching) -> &[u8] {
        match (era, caching) {
            (ProtocolEra::Legacy, _) => b"}",
            (ProtocolEra::Modern, ResultCaching::Undefined) => &self.complete_tail,
            (ProtocolEra::Modern, ResultCaching::UntilRestart) => &self.cacheable_tail,
            (ProtocolEra::Modern, ResultCaching::Never) => &self.stale_tail,
        }
    }

    /// Returns the same for the result of a tool that the page shows, with the name of its view.
    pub fn view_result_tail(&self, era: ProtocolEra, page: &Page) -> String {
        let mut meta = page.meta();
        let kind = match era {
            ProtocolEra::Legacy => "",
            ProtocolEra::Modern => {
                meta.insert(SERVER_INFO_META_KEY.into(), self.server_info.clone());
                r#","resultType":"complete""#
            }
        };
        format!(r#"{kind},"_meta":{}}}"#, Value::from(meta))
    }

    /// Returns the same for the answer of a call that continues as a task.
    pub fn task_tail(&self) -> String {
        format!(r#","resultType":"task","_meta":{{"{SERVER_INFO_META_KEY}":{}}}}}"#, self.server_info)
    }

    /// Returns the same for the result of a failed tool, with the call's id.
    pub fn failed_result_tail(&self, era: ProtocolEra, id: &CallId) -> String {
        let call_id = format!(r#""{}":"{id}""#, self.call_id_key);
        match era {
            ProtocolEra::Legacy => format!(r#","_meta":{{{call_id}}}}}"#),
            ProtocolEra::Modern => format!(
                r#","resultType":"complete","_meta":{{"{SERVER_INFO_META_KEY}":{},{call_id}}}}}"#,
                self.server_info
            ),
        }
    }
}

fn encode_list<T>(key: &str, items: &[T], definition: impl Fn(&T) -> Value) -> Vec<u8> {
    format!("{{\"{key}\":{}", items.iter().map(definition).collect::<Value>()).into_bytes()
}
