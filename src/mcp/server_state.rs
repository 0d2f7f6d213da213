//! The state that all requests of one server share.

use super::catalog::{Catalog, Prompt, Resource, ResourceTemplate, ServerInfo, Tool};
use super::protocol::ProtocolEra;
use super::sealed_state::StateSealer;
use super::sealing_key::SealingKey;
use super::task_id::TaskIdSealer;
use crate::base::trace::CallId;
use crate::config::Limits;
use crate::metrics::Metrics;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time for which a client may cache a list, in milliseconds. Lists change only with a restart.
const LIST_TTL_MS: u32 = 300_000;

const SERVER_INFO_META_KEY: &str = "io.modelcontextprotocol/serverInfo";

pub(super) struct ServerState {
    pub catalog: Catalog,
    pub sealer: StateSealer,
    pub task_ids: TaskIdSealer,
    /// Results of the list methods, without their ends.
    pub tool_list: Vec<u8>,
    pub resource_list: Vec<u8>,
    pub template_list: Vec<u8>,
    pub prompt_list: Vec<u8>,
    /// Capabilities to announce in each era.
    pub legacy_capabilities: Value,
    pub modern_capabilities: Value,
    /// Names of all tools' parameters.
    pub parameter_names: Vec<&'static str>,
    pub metrics: Arc<Metrics>,
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
    /// End of a modern result, and of one that clients may cache.
    complete_tail: Vec<u8>,
    cacheable_tail: Vec<u8>,
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
        let key = SealingKey::generate()?;
        let ServerInfo { name, .. } = catalog.server;
        let server_info = catalog.server.summary();
        let full_server_info = catalog.server.to_json();
        let cache = format!(r#""ttlMs":{LIST_TTL_MS},"cacheScope":"private","#);
        let encode_tail = |cache: &str, info: &Value| {
            let meta = json!({SERVER_INFO_META_KEY: info});
            format!(r#","resultType":"complete",{cache}"_meta":{meta}}}"#).into_bytes()
        };
        let mut process = [0; 2];
        SystemRandom::new().fill(&mut process)?;
        Ok(Self {
            sealer: StateSealer::new(&key),
            task_ids: TaskIdSealer::new(&key),
            tool_list: encode_list("tools", &catalog.tools, Tool::definition),
            resource_list: encode_list("resources", &catalog.resources, Resource::definition),
            template_list: encode_list("resourceTemplates", &catalog.templates, ResourceTemplate::definition),
            prompt_list: encode_list("prompts", &catalog.prompts, Prompt::definition),
            legacy_capabilities: catalog.capabilities(ProtocolEra::Legacy),
            modern_capabilities: catalog.capabilities(ProtocolEra::Modern),
            parameter_names: catalog.tools.iter().flat_map(Tool::parameter_names).collect(),
            metrics: Arc::new(Metrics::new(catalog.tools.iter().map(|tool| tool.name).collect())),
            sends_structured: false,
            slow_call: Limits::default().slow_call,
            call_id_key: format!("{name}/callId"),
            complete_tail: encode_tail("", &server_info),
            cacheable_tail: encode_tail(&cache, &server_info),
            discover_tail: encode_tail(&cache, &full_server_info),
            server_info,
            full_server_info,
            request_count: AtomicU64::new(0),
            process: u16::from_be_bytes(process),
            catalog,
        })
    }

    pub fn next_id(&self) -> CallId {
        CallId { process: self.process, number: self.request_count.fetch_add(1, Ordering::Relaxed) }
    }

    /// Returns the tool with this name and its index.
    pub fn find_tool(&self, name: &str) -> Option<(usize, &Tool)> {
        self.catalog.tools.iter().enumerate().find(|(_, tool)| tool.name == name)
    }

    /// Returns the bytes that close a result after its last member.
    pub fn result_tail(&self, era: ProtocolEra, cacheable: bool) -> &[u8] {
        match (era, cacheable) {
            (ProtocolEra::Legacy, _) => b"}",
            (ProtocolEra::Modern, false) => &self.complete_tail,
            (ProtocolEra::Modern, true) => &self.cacheable_tail,
        }
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

fn encode_list<T>(key: &str, items: &[T], definition: fn(&T) -> Value) -> Vec<u8> {
    format!("{{\"{key}\":{}", items.iter().map(definition).collect::<Value>()).into_bytes()
}
