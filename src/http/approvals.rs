//! `GET /approvals` and `POST /approvals`: the calls that wait for a person, and the decisions.

use super::approval_endpoints::{ApprovalRejection, DecisionWord};
use super::request::{HttpRequest, RouteOutcome};
use super::response::HttpResponse;
use super::state::HttpState;
use crate::sanitize::escape_invisible::escape_json;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// The body of `POST /approvals`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionBody {
    id: String,
    decision: DecisionWord,
}

/// Returns the calls that wait, for a client that may approve.
pub fn handle_list(state: &Arc<HttpState>, request: &mut HttpRequest<'_>) -> RouteOutcome {
    let Some(approvals) = &state.approvals else { return not_served() };
    match (approvals.list)(&request.caller) {
        Ok(list) => HttpResponse::json(200, escape_json(list.to_string()).into_bytes()).into(),
        Err(rejection) => reject(rejection),
    }
}

/// Records a decision of a client that may approve.
pub fn handle_decision(state: &Arc<HttpState>, request: &mut HttpRequest<'_>) -> RouteOutcome {
    let Some(approvals) = &state.approvals else { return not_served() };
    if !request.has_json_body() {
        return HttpResponse::unsupported_media_type().into();
    }
    let Ok(DecisionBody { id, decision }) = serde_json::from_slice(request.body) else {
        let text = r#"invalid body. hint: send {"id": "…", "decision": "approve"} or "deny""#;
        return HttpResponse::text(400, text).into();
    };
    match (approvals.decide)(&request.caller, &id, decision) {
        Ok(()) => {
            let word = match decision {
                DecisionWord::Approve => "approved",
                DecisionWord::Deny => "denied",
            };
            HttpResponse::json(200, json!({"id": id, "state": word}).to_string().into_bytes()).into()
        }
        Err(rejection) => reject(rejection),
    }
}

fn reject(rejection: ApprovalRejection) -> RouteOutcome {
    HttpResponse::text(rejection.status, rejection.text).into()
}

fn not_served() -> RouteOutcome {
    HttpResponse::text(404, "not found: this server has no approvals").into()
}
