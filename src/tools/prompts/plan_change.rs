//! `plan-change`: a guest as it is, and the operations for a change of it.

use super::guest::{find_prompt_guest, read_guest};
use super::{CLUSTER_OF_GUEST, GUEST, PromptCall, PromptDefinition, new_briefing};
use crate::mcp::catalog::{PromptArgument, ToolError};
use crate::policy::Denial;
use crate::pve::Method;
use crate::pve::guests::{Guest, GuestKind};
use crate::pve::schema::{Operation, Schema};
use crate::render::briefing::Briefing;
use crate::render::guest_report::describe_guest_now;
use crate::render::plan::{CandidateOperation, describe_candidates, fill_path};
use crate::tools::facts::FactReader;

/// The operations that a search returns, before those that do not fit are left out.
const MAX_FOUND: usize = 20;

/// The operations of one guest that are shown.
const MAX_OF_GUEST: usize = 3;

/// The operations that are shown.
const MAX_SHOWN: usize = 5;

/// `plan-change(what, guest, cluster?)`.
pub(super) const PLAN_CHANGE: PromptDefinition = PromptDefinition {
    name: "plan-change",
    audit_name: "prompt plan-change",
    title: "Plan a change",
    description: "How to change a VM or container, such as its memory: the guest now, the operation, a dry run first",
    arguments: &[
        PromptArgument { name: "what", description: "the change, such as: 8 GB of memory", required: true },
        GUEST,
        CLUSTER_OF_GUEST,
    ],
    handler: plan_change,
};

/// The most characters of the change in the request.
const MAX_WHAT_CHARS: usize = 500;

const REQUEST: &str = "Choose the operation (search_api and describe_api know the others), and say what \
    changes from what to what, what it interrupts, and how it can be undone. Then call proxmox_api_call with dry_run true \
    and show me the result. Make the change only after I agree, with wait true, and read the guest again afterwards.";

fn plan_change(call: &PromptCall<'_>) -> Result<Briefing, ToolError> {
    let what = call.text("what").expect("a required argument");
    let found = find_prompt_guest(call)?;
    let reader = FactReader { cluster: &found.cluster, deadline: call.deadline };
    let facts = read_guest(&reader, &found);
    let schema = found.cluster.schema();
    let candidates: Vec<CandidateOperation<'_>> = find_operations(&schema, what, &facts.guest)
        .into_iter()
        .map(|operation| {
            let path = fill_path(operation.template(), &facts.guest);
            let segments: Vec<&str> = path.iter().map(String::as_str).collect();
            CandidateOperation {
                denial: found.cluster.find_denial(&operation, &segments).or_else(|| {
                    let changes_guest = facts.is_protected && operation.template().contains("/{vmid}");
                    changes_guest.then_some(Denial::ProtectedGuest(facts.guest.vmid))
                }),
                needs_confirmation: found.cluster.needs_confirmation(operation.risk()),
                path,
                operation,
            }
        })
        .collect();
    let mut sections = describe_guest_now(&facts);
    sections.extend(describe_candidates(&schema, &candidates));
    let mut briefing = new_briefing("A change of a guest that is to be planned", std::slice::from_ref(&found.cluster));
    briefing.push_cluster(found.cluster.name(), sections);
    let what: String = what.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_WHAT_CHARS).collect();
    Ok(briefing.with_request(format!("Plan this change of the guest: {what}\n{REQUEST}")))
}

/// Finds operations for the change: first those of one guest of this kind, then others.
fn find_operations<'s>(schema: &'s Schema, what: &str, guest: &Guest) -> Vec<Operation<'s>> {
    let (kind, word, other) = match guest.kind {
        GuestKind::Qemu => ("qemu", "vm", "lxc"),
        GuestKind::Lxc => ("lxc", "container", "qemu"),
    };
    let of_guest = format!("/nodes/{{node}}/{kind}/{{vmid}}");
    let fits = |operation: &Operation<'_>| {
        let template = operation.template();
        let is_of_other_kind = template.split('/').any(|segment| segment == other);
        let is_of_many_guests = template.starts_with("/cluster/bulk-action/");
        operation.method() != Method::Get && !operation.refuses_tokens() && !is_of_other_kind && !is_of_many_guests
    };
    let found = schema.search(&format!("{what} {word}"), MAX_FOUND).into_iter().filter(fits);
    let (mut operations, others): (Vec<_>, Vec<_>) =
        found.partition(|operation| operation.template().starts_with(&of_guest));
    operations.truncate(MAX_OF_GUEST);
    operations.extend(others);
    operations.truncate(MAX_SHOWN);
    operations
}
