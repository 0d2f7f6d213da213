//! The resources: a summary of each cluster, and every path of its API that can be read.
//!
//! `pve://CLUSTER` is the summary, and `pve://CLUSTER/nodes/pve1/status` is the answer to that path. A URI has one
//! canonical spelling, which the contents repeat.

use super::definition::UNTRUSTED_NOTICE;
use super::errors::{call_failed, render_call_error};
use super::facts::{FactReader, facts_deadline};
use crate::base::hint::render_error;
use crate::call::{
    Authorized, CallError, CallScope, CallSpec, ClusterHandle, ExecuteError, GuestError, Outcome, PlanError, parse_path,
};
use crate::mcp::catalog::{Resource, ResourceError, ResourceTemplate, ToolError};
use crate::mcp::content::{ResourceContents, ResourceData};
use crate::mcp::message::RpcError;
use crate::pve::Method;
use crate::pve::knowledge::messages::Meaning;
use crate::render::briefing::Briefing;
use crate::render::health::describe_summary;
use crate::render::labels::format_local_time;
use crate::render::output::OutputOptions;

/// The scheme of every URI, with what follows it.
const SCHEME: &str = "pve://";

/// The most entries of resources/list. No configuration has as many clusters.
const MAX_LISTED: usize = 200;

const TEXT: &str = "text/plain";
const JSON: &str = "application/json";

/// The template of every path.
pub(super) const PATH_TEMPLATE: &str = "pve://{cluster}/{+path}";

/// The only template: clients list templates beside the clusters when their user types `@`.
pub(super) const TEMPLATES: [ResourceTemplate; 1] = [ResourceTemplate {
    uri: PATH_TEMPLATE,
    name: "api-path",
    title: "API path",
    description: "The answer to GET of any path: nodes/pve1/status",
    // A part of an answer is no JSON alone, so the type is not the same for all.
    mime: None,
}];

/// Returns a summary for each cluster of the caller.
pub(super) fn list_clusters(scope: CallScope<'_>) -> Vec<Resource> {
    let clusters = scope.all_clusters();
    let entry = |cluster: &ClusterHandle<'_>| Resource {
        uri: format!("{SCHEME}{}", cluster.name()),
        name: cluster.name().to_owned(),
        title: format!("Proxmox VE cluster {}", cluster.name()),
        description: "Nodes, guests, storages and problems, in short".into(),
        mime: TEXT,
    };
    clusters.iter().take(MAX_LISTED).map(entry).collect()
}

/// Reads the resource with this URI.
pub(super) fn read_resource(
    scope: CallScope<'_>,
    uri: &str,
    max_bytes: usize,
) -> Result<Vec<ResourceContents>, ResourceError> {
    let (name, typed) = split_uri(uri).ok_or_else(|| ResourceError::Unknown(String::new()))?;
    let cluster = select_cluster(scope, name)?;
    if matches!(typed, "" | "/") {
        let text = read_summary(&cluster, max_bytes)?;
        return Ok(vec![new_text(format!("{SCHEME}{}", cluster.name()), TEXT, text)]);
    }
    read_path(&cluster, typed, max_bytes)
}

/// Splits a URI into the name of the cluster and the rest, which begins with `/` or `?`, or is empty.
fn split_uri(uri: &str) -> Option<(&str, &str)> {
    let scheme = uri.get(..SCHEME.len())?;
    // (RFC 3986, 3.1: the case of a scheme does not matter.)
    scheme.eq_ignore_ascii_case(SCHEME).then(|| {
        let rest = &uri[SCHEME.len()..];
        rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
    })
}

/// Selects the cluster that a URI names. The case of the name matters only between clusters that differ in nothing else,
/// because some clients write the host of a URI in lower case.
fn select_cluster<'a>(scope: CallScope<'a>, typed: &str) -> Result<ClusterHandle<'a>, ResourceError> {
    let unknown = |reason: String| ResourceError::Unknown(reason);
    let (path, _) = parse_path(typed).map_err(|error| unknown(render_error(&error)))?;
    let segments: Vec<_> = path.segments().collect();
    let [name] = segments.as_slice() else { return Err(unknown("it names no cluster".into())) };
    let error = match scope.select(Some(name)) {
        Ok(cluster) => return Ok(cluster),
        Err(error) => error,
    };
    let clusters = scope.all_clusters();
    let mut similar = clusters.into_iter().filter(|cluster| cluster.name().eq_ignore_ascii_case(name));
    match (similar.next(), similar.next()) {
        (Some(cluster), None) => Ok(cluster),
        _ => Err(unknown(render_error(&error))),
    }
}

/// Reads the summary of a cluster.
fn read_summary(cluster: &ClusterHandle<'_>, max_bytes: usize) -> Result<String, ResourceError> {
    let facts = FactReader { cluster, deadline: facts_deadline() }.read_health();
    let facts = facts.map_err(|error| ToolError::Failed(error.to_string()))?;
    let title =
        format!("Proxmox VE cluster {}, as of {}.", cluster.name(), format_local_time(facts.now, facts.utc_offset));
    let mut briefing = Briefing::new(title);
    briefing.push(describe_summary(&facts));
    Ok(briefing.render(max_bytes))
}

/// Reads a path as proxmox_api_get does.
fn read_path(
    cluster: &ClusterHandle<'_>,
    typed: &str,
    max_bytes: usize,
) -> Result<Vec<ResourceContents>, ResourceError> {
    let (path, query) = parse_path(typed).map_err(|error| ResourceError::Unknown(render_error(&error)))?;
    let query = query.encode();
    let mark = if query.is_empty() { "" } else { "?" };
    let uri = format!("{SCHEME}{}{path}{mark}{query}", cluster.name());
    let spec = CallSpec { method: Some(Method::Get), path: typed, data: None, fetch_all: false, is_dry_run: false };
    let failed = |error: CallError| read_failed(cluster, error);
    let authorized = cluster.plan(spec).map_err(|error| failed(error.into()))?;
    let authorized = authorized.authorize().map_err(|error| failed(error.into()))?;
    // Clients read resources without a question.
    if !authorized.risk().is_read_only() {
        return Err(ToolError::Failed(format!(
            "this call is more than a read ({}). hint: use proxmox_api_call with method GET",
            authorized.risk()
        ))
        .into());
    }
    let Outcome { response, mut notes, .. } = execute_read(authorized).map_err(failed)?;
    let is_envelope = response.has_extra_fields();
    let rendered = OutputOptions::default().render(response.into_payload(), is_envelope, max_bytes);
    let rendered = rendered.map_err(ToolError::from)?;
    notes.extend(rendered.note);
    let main = match notes.as_slice() {
        [] => new_text(uri.clone(), JSON, rendered.text),
        // A part of an answer must not be taken for the whole, so it is no longer JSON alone.
        notes => new_text(uri.clone(), TEXT, format!("({})\n{}", notes.join("; "), rendered.text)),
    };
    Ok(vec![main, new_text(uri, TEXT, UNTRUSTED_NOTICE.to_owned())])
}

fn execute_read(authorized: Authorized<'_>) -> Result<Outcome, CallError> {
    Ok(authorized.without_confirmation()?.execute()?)
}

/// Returns the error of a read: a path that does not exist is an unknown resource, any other failure says why.
fn read_failed(cluster: &ClusterHandle<'_>, error: CallError) -> ResourceError {
    let kind = classify(&error);
    match kind {
        FailureKind::UnknownResource => ResourceError::Unknown(render_call_error(cluster, error)),
        FailureKind::InvalidParameters => {
            ToolError::Rpc(RpcError::InvalidArgument(render_call_error(cluster, error))).into()
        }
        FailureKind::Other => call_failed(cluster, error).into(),
    }
}

/// The kinds of failures that clients tell apart by the code of the error.
enum FailureKind {
    UnknownResource,
    InvalidParameters,
    Other,
}

fn classify(error: &CallError) -> FailureKind {
    match error {
        CallError::Plan(
            PlanError::InvalidPath(_)
            | PlanError::Placeholder(_)
            | PlanError::UnknownPath(_)
            | PlanError::UnknownMethod(_)
            | PlanError::SeveralNodes(_)
            | PlanError::HostName(_)
            | PlanError::UnknownNode { .. }
            | PlanError::Guest(GuestError::NotFound(_)),
        ) => FailureKind::UnknownResource,
        CallError::Plan(
            PlanError::InvalidParameters { .. }
            | PlanError::UnsendableParameters(_)
            | PlanError::GuestParameter { .. }
            | PlanError::DuplicateParameter(_)
            | PlanError::TooManyParameters { .. }
            | PlanError::ParametersTooLarge { .. }
            | PlanError::CommandTooLong { .. },
        ) => FailureKind::InvalidParameters,
        CallError::Execute(ExecuteError::Api(failure)) => match failure.error.meaning() {
            Meaning::UnknownNode | Meaning::MissingGuestConfig | Meaning::UnknownTask | Meaning::UnknownOperation => {
                FailureKind::UnknownResource
            }
            Meaning::InvalidParameters => FailureKind::InvalidParameters,
            _ => FailureKind::Other,
        },
        _ => FailureKind::Other,
    }
}

fn new_text(uri: String, mime: &'static str, text: String) -> ResourceContents {
    ResourceContents { uri, mime, data: ResourceData::Text(text) }
}
