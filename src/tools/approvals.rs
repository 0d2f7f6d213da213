//! The calls that wait for the approval of a person, as JSON for pages and programs.

use super::state::ToolState;
use crate::call::{ApprovalError, ApprovalView};
use crate::config::Client;
use serde_json::{Value, json};
use std::sync::Arc;

impl ToolState {
    /// Returns the calls on which a client may decide. Every text in it is plain text, never markup.
    pub fn render_approvals(&self, client: &Arc<Client>) -> Result<Value, ApprovalError> {
        let views = self.calls.list_approvals(client)?;
        Ok(json!({"approvals": views.iter().map(render_view).collect::<Vec<_>>()}))
    }
}

fn render_view(view: &ApprovalView) -> Value {
    json!({
        "id": view.id,
        "state": if view.approved_by.is_some() { "approved" } else { "waiting" },
        "client": view.client,
        "transport": view.transport,
        "cluster": view.cluster,
        "operations": view.operations,
        "plan": view.plan,
        "approved_by": view.approved_by,
        "age_seconds": view.age.as_secs(),
        "expires_in_seconds": view.expires_in.as_secs(),
        "own": view.is_own,
    })
}
