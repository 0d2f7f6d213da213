//! The approvals of the tools, as the HTTP server serves them, and the address at which people reach them.

use super::cli::PersonArgs;
use super::failure::Failure;
use super::notify::start_notifier;
use proxmox_mcp::base::hint::render_error;
use proxmox_mcp::call::{ApprovalDecision, ApprovalError, Approver};
use proxmox_mcp::http::{ApprovalEndpoints, ApprovalRejection, DecisionWord};
use proxmox_mcp::tools::ToolState;
use std::net::SocketAddr;
use std::sync::Arc;

/// Returns the endpoints for the calls that wait.
pub fn approval_endpoints(tools: &Arc<ToolState>) -> ApprovalEndpoints {
    let (for_list, for_decision) = (tools.clone(), tools.clone());
    ApprovalEndpoints {
        list: Box::new(move |caller| for_list.render_approvals(&caller.client).map_err(reject)),
        decide: Box::new(move |caller, id, word| {
            let approver = Approver { client: &caller.client, address: caller.address, transport: caller.transport };
            let decision = match word {
                DecisionWord::Approve => ApprovalDecision::Approve,
                DecisionWord::Deny => ApprovalDecision::Deny,
            };
            for_decision.call_service().decide_approval(&approver, id, decision).map_err(reject)
        }),
    }
}

fn reject(error: ApprovalError) -> ApprovalRejection {
    let status = match error {
        ApprovalError::NotApprover | ApprovalError::OwnCall => 403,
        ApprovalError::Unknown => 404,
        ApprovalError::Decided => 409,
        ApprovalError::NotRecorded(_) => 503,
    };
    ApprovalRejection { status, text: render_error(&error) }
}

/// Tells the list of approvals the address of the page, and starts notifications. The address is the configured one, or
/// that of a listener on loopback. People may reach any other listener by another address.
pub fn set_up_approvals(
    tools: &ToolState,
    args: &PersonArgs,
    scheme: &str,
    listener: Option<SocketAddr>,
) -> Result<(), Failure> {
    let approvals = tools.call_service().approvals();
    let own = || listener.filter(|at| at.ip().is_loopback()).map(|at| format!("{scheme}://{at}/"));
    if let Some(page) = args.page_url.clone().or_else(own) {
        approvals.set_page(page);
    }
    if let Some(url) = &args.notify_url {
        approvals.set_notice_sink(start_notifier(url, args.notify_format)?);
    }
    Ok(())
}
