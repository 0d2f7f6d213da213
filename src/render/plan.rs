//! Operations for a planned change in sections.

use super::briefing::Section;
use super::operation::{describe, render_search};
use crate::policy::{Denial, RiskKind};
use crate::pve::guests::Guest;
use crate::pve::schema::{Operation, Schema};

/// The most operations whose parameters are described.
const MAX_DESCRIBED: usize = 2;

/// An operation that may fit, and the rules of this server for it.
pub struct CandidateOperation<'s> {
    pub operation: Operation<'s>,
    /// The segments of its path for this guest. Other placeholders stay.
    pub path: Vec<String>,
    /// The reason why the caller may not use it.
    pub denial: Option<Denial>,
    pub needs_confirmation: bool,
}

/// Returns the segments of an operation's path, with the node and the number of the guest in their places.
pub fn fill_path(template: &str, guest: &Guest) -> Vec<String> {
    let fill = |segment: &str| match segment {
        "{node}" => guest.node.clone(),
        "{vmid}" => guest.vmid.to_string(),
        segment => segment.to_owned(),
    };
    template.split('/').filter(|segment| !segment.is_empty()).map(fill).collect()
}

/// Describes the operations: all in short, with the rules of this server, and the first ones with their parameters.
pub fn describe_candidates(schema: &Schema, candidates: &[CandidateOperation<'_>]) -> Vec<Section> {
    let mut found = Section::new("Operations that may fit")
        .or("no operation that changes something fits these words: use search_api with other words");
    for CandidateOperation { operation, path, denial, needs_confirmation } in candidates {
        let summary = render_search(schema, None, &[vec![*operation]]);
        found.push_lines(&summary);
        found.push(&format!("  here: {} /{}", operation.method(), path.join("/")));
        let risk = operation.risk();
        let exec = if risk.kind == RiskKind::Execute { " and \"exec\"" } else { "" };
        let rule = match (denial, needs_confirmation) {
            (Some(denial), _) => format!("this client may not: {denial}"),
            (None, true) => "this client may, after its user has confirmed it".to_owned(),
            (None, false) => "this client may, without a confirmation".to_owned(),
        };
        found.push(&format!("  needs access \"{}\"{exec} on this server; {rule}", risk.kind.needed_access()));
    }
    let mut sections = vec![found];
    for CandidateOperation { operation, path, .. } in candidates.iter().take(MAX_DESCRIBED) {
        let mut section = Section::new(format!("{} {}", operation.method(), operation.template()));
        match schema.match_path(path) {
            Ok(found) => match describe(schema, &found, std::slice::from_ref(operation), None) {
                Ok(text) => section.push_lines(&text),
                Err(error) => section.limit(&error.to_string()),
            },
            Err(_) => section.limit("its description"),
        }
        sections.push(section);
    }
    sections
}
