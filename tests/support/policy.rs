//! Clients and clusters of all levels, and a recording node.
#![allow(dead_code)]

use super::node::{Node, Request, ScriptedReply};
use super::proxmox::{SCRIPT, gzipped_facts, proxmox_with, segments};
use proxmox_mcp::config::{Client, ClusterConfig, TokenHash};
use proxmox_mcp::mcp::context::Caller;
use proxmox_mcp::policy::{
    AccessLevel, ClientRules, ClusterPolicy, ConfirmationPolicy, GuestSelector, OperationPattern, Permissions, Risk,
};
use proxmox_mcp::pve::schema::Operation;
use serde_json::{Value, json};
use std::mem::take;
use std::sync::{Arc, Mutex};

/// The levels, from the strictest up, with their letters in golden files.
pub const LEVELS: [(&str, Permissions); 4] = [
    ("R", rights(AccessLevel::Read, false)),
    ("O", rights(AccessLevel::Operate, false)),
    ("F", rights(AccessLevel::Full, false)),
    ("X", ALL),
];

/// Every permission.
pub const ALL: Permissions = rights(AccessLevel::Full, true);

/// Returns these permissions.
pub const fn rights(access: AccessLevel, exec: bool) -> Permissions {
    Permissions { access, exec }
}

/// Returns a client with access to these clusters (empty: all).
pub fn client(name: &str, rights: Permissions, clusters: &[&str]) -> Client {
    let clusters = (!clusters.is_empty()).then(|| clusters.iter().map(|c| (*c).to_owned()).collect());
    Client {
        name: name.into(),
        token_sha256: TokenHash::from_token(token(name).as_bytes()),
        permissions: rights,
        rules: ClientRules::default(),
        clusters,
        approve: false,
        structured: false,
    }
}

/// Returns the token of that client.
pub fn token(name: &str) -> String {
    format!("pmcp_the-token-of-{name}")
}

/// Returns that client as a caller.
pub fn caller(client: &Client) -> Caller {
    Caller { client: Arc::new(client.clone()), address: None, transport: "http", trace: None }
}

/// Returns a policy that permits everything without confirmation.
pub fn open_policy() -> ClusterPolicy {
    ClusterPolicy { permissions: ALL, confirm: ConfirmationPolicy::Never, ..ClusterPolicy::default() }
}

/// Returns a policy that permits everything, with confirmation of irreversible changes.
pub fn confirming_policy() -> ClusterPolicy {
    ClusterPolicy { confirm: ConfirmationPolicy::Destructive, ..open_policy() }
}

/// Parses operations as written in clusters.json.
pub fn patterns(list: &[&str]) -> Vec<OperationPattern> {
    list.iter().map(|text| OperationPattern::parse(text).expect(text)).collect()
}

/// Parses guests as written in clusters.json.
pub fn protected(list: &[&str]) -> Vec<GuestSelector> {
    list.iter().map(|text| GuestSelector::parse(text).expect(text)).collect()
}

/// A node that records its requests.
pub struct RecordingNode {
    pub node: Node,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl RecordingNode {
    /// Starts a Proxmox node with the embedded facts as its description.
    pub fn start() -> Self {
        Self::with(gzipped_facts(), |_| None)
    }

    /// Starts a node with this description, for requests that `first` does not answer.
    pub fn with(
        script: ScriptedReply,
        first: impl Fn(&Request) -> Option<ScriptedReply> + Send + Sync + 'static,
    ) -> Self {
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let kept = seen.clone();
        let node = proxmox_with(script, move |request| {
            if request.target != SCRIPT {
                kept.lock().expect("a list").push(request.clone());
            }
            first(request)
        });
        Self { node, seen }
    }

    /// Returns a cluster of this node with this name and these rules.
    pub fn cluster(&self, name: &str, rules: ClusterPolicy) -> ClusterConfig {
        ClusterConfig { name: name.into(), policy: rules, ..self.node.cluster_settings() }
    }

    /// Removes and returns the recorded requests of the API.
    pub fn requests(&self) -> Vec<Request> {
        take(&mut *self.seen.lock().expect("a list"))
    }

    /// Removes them and returns method and path of those that may change something.
    pub fn writes(&self) -> Vec<String> {
        let all = self.requests();
        let writes = all.iter().filter(|r| r.method != "GET");
        writes.map(|r| format!("{} /{}", r.method, segments(r).join("/"))).collect()
    }
}

/// Returns the risk of an operation as a dry run and a question show it.
pub fn shown_risk(risk: Risk) -> String {
    match risk {
        Risk::UNKNOWN => risk.to_string(),
        _ if risk.irreversible || risk.disruptive => {
            format!("{}, destructive", Risk { irreversible: false, disruptive: false, ..risk })
        }
        _ => risk.to_string(),
    }
}

/// Returns a path of an operation as a caller types it, with fitting values: guests 100 on pve1 and 200 on pve2.
pub fn concrete_path(operation: &Operation<'_>) -> String {
    let template = operation.template();
    let value = |segment: &str| -> String {
        let Some(name) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) else { return segment.into() };
        let Some(parameter) = operation.parameter(name) else { return "x1x".into() };
        match name {
            "node" if template.contains("/lxc/{vmid}") => "pve2".into(),
            "node" => "pve1".into(),
            "vmid" if template.contains("/lxc/") => "200".into(),
            "vmid" => "100".into(),
            "upid" => "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:".into(),
            "cidr" => "192.0.2.0".into(),
            "sid" => "ct:200".into(),
            _ if matches!(parameter.kind(), "integer" | "number") => {
                if parameter.minimum().is_empty() {
                    "1".into()
                } else {
                    parameter.minimum().into()
                }
            }
            _ => parameter.allowed_values().next().unwrap_or("x1x").into(),
        }
    };
    template.split('/').map(value).collect::<Vec<_>>().join("/")
}

/// Returns a `tools/call` of 2026-07-28 from a client with or without forms. `more` has the members of a retry.
pub fn modern(tool: &str, arguments: &Value, elicits: bool, more: Value) -> Value {
    let capabilities = if elicits { json!({"elicitation": {}}) } else { json!({}) };
    let mut params = json!({"name": tool, "arguments": arguments, "_meta": {
        "io.modelcontextprotocol/protocolVersion": super::rpc::MODERN,
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    }});
    if let Value::Object(more) = more {
        more.into_iter().for_each(|(name, value)| params[name] = value);
    }
    params
}

/// Returns the params of an answer to a question.
pub fn answer_question(state: &Value, action: &str, content: Value) -> Value {
    json!({"requestState": state, "inputResponses": {"confirm": {"action": action, "content": content}}})
}

/// Returns the code in a text that requires a confirmation.
pub fn confirmation_code_in(text: &str) -> String {
    let (_, rest) = text.split_once("confirm: \"").unwrap_or_else(|| panic!("no code in {text}"));
    rest.split('"').next().expect("a code").to_owned()
}
