//! A prompt as data, with its handler.

use crate::base::hint::render_error;
use crate::call::{CallScope, ClusterHandle};
use crate::mcp::catalog::{Prompt, PromptArgument, ToolError};
use crate::mcp::content::Content;
use crate::mcp::context::CallContext;
use crate::mcp::message::RpcError;
use crate::render::briefing::Briefing;
use crate::tools::facts::facts_deadline;
use crate::tools::state::ToolState;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Instant;

/// The most clusters of one prompt.
const MAX_CLUSTERS: usize = 8;

/// A prompt as data, with its handler.
#[derive(Clone, Copy)]
pub(in crate::tools) struct PromptDefinition {
    pub(super) name: &'static str,
    /// The name of the prompt in the audit log.
    pub(super) audit_name: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) arguments: &'static [PromptArgument],
    pub(super) handler: fn(&PromptCall<'_>) -> Result<Briefing, ToolError>,
}

/// One request for a prompt, as its handler sees it.
pub(super) struct PromptCall<'a> {
    scope: CallScope<'a>,
    arguments: &'a Map<String, Value>,
    pub(super) deadline: Instant,
}

impl PromptDefinition {
    /// Returns the prompt for the catalog.
    pub(in crate::tools) fn into_prompt(self, state: Arc<ToolState>) -> Prompt {
        Prompt {
            name: self.name,
            title: self.title,
            description: self.description,
            arguments: self.arguments,
            handler: Box::new(move |context, arguments| self.run(&state, context, arguments)),
        }
    }

    fn run(
        &self,
        state: &ToolState,
        context: &CallContext<'_>,
        arguments: &Map<String, Value>,
    ) -> Result<Vec<(&'static str, Content)>, ToolError> {
        let briefing = state.run(context, self.audit_name, |scope| {
            (self.handler)(&PromptCall { scope, arguments, deadline: facts_deadline() })
        })??;
        Ok(vec![("user", Content::Text(briefing.render(state.max_result_bytes)))])
    }
}

impl<'a> PromptCall<'a> {
    pub(super) fn text(&self, argument: &str) -> Option<&'a str> {
        self.arguments.get(argument).and_then(Value::as_str)
    }

    /// Selects the named cluster, or all clusters of the caller up to a limit. Returns also the names of those beyond it.
    pub(super) fn select_clusters(&self) -> Result<(Vec<ClusterHandle<'a>>, Vec<&'a str>), ToolError> {
        let clusters = self.scope.select_all(self.text("cluster"));
        let mut clusters = clusters.map_err(|error| invalid_argument(render_error(&error)))?;
        if clusters.is_empty() {
            return Err(invalid_argument("no cluster is open to this client".into()));
        }
        let rest = clusters.split_off(clusters.len().min(MAX_CLUSTERS));
        Ok((clusters, rest.iter().map(ClusterHandle::name).collect()))
    }
}

/// Returns the error of an argument with which no prompt can be made.
pub(super) fn invalid_argument(text: String) -> ToolError {
    ToolError::Rpc(RpcError::InvalidArgument(text))
}
