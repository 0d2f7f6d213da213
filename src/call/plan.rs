//! The planning of a call: from what the caller typed to a complete and checked request.

use super::affected::{AffectedGuests, AffectedScope};
use super::audit::{AuditedCall, MAX_COMMAND_BYTES};
use super::authorize::{
    check_named_guests, check_operation, check_path, check_risk, protection_needs_guests, protection_needs_token,
};
use super::corrections::{convert_dates, correct_values, remove_line_count};
use super::denied_call::DeniedCall;
use super::guest_names::resolve_guest_names;
use super::handle::{ClusterHandle, GuestConfig};
use super::operation::{
    expand_shorthand, find_embedded_operation, find_operation, find_path, join_query, other_methods, parse_path,
    resolve_method,
};
use super::plan_error::PlanError;
use super::planned_call::{CallPurpose, GuestView, PlannedCall, PlannedOperation};
use super::relative_changes::apply_relative_changes;
use super::resolve_path::{
    GuestVerification, HaResourceName, PathChange, check_node_name, check_node_parameters, resolve_path,
};
use super::shared_object::SharedObject;
use super::spec::CallSpec;
use super::state_risks::StateChange;
use crate::base::list_text::list_items;
use crate::base::shorten::{join_names, shorten};
use crate::policy::{AssessedCall, EffectivePolicy, Risk, RiskAssessment, RiskKind};
use crate::pve::guests::Guest;
use crate::pve::knowledge::formats::has_impossible_time;
use crate::pve::knowledge::passwords::{SecretPart, secret_part};
use crate::pve::parameter_error::ParameterErrors;
use crate::pve::params::ApiParams;
use crate::pve::path::{ApiPath, is_placeholder};
use crate::pve::schema::parameter_check::CheckedParameters;
use crate::pve::schema::{Operation, PathMatch, Schema, parameter_check};
use crate::pve::{Method, demo};
use crate::render::object_state::kind_name;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The `limit` of a paged list that is to be filtered or sorted. The first page alone (50 rows) gives a wrong answer.
const FETCH_ALL_LIMIT: u32 = 5_000;

/// The most parameters of one call. The largest operation has some hundred, some of them numbered.
const MAX_PARAMETERS: usize = 500;

/// The most bytes of the parameters. A node accepts 512 KiB (PVE: AnyEvent's limit of a request).
const MAX_PARAMETER_BYTES: usize = 640 << 10;

/// Note on a change that no description of the cluster was checked against.
const UNCHECKED_NOTE: &str =
    "the cluster's own API description is not available, so the call was not checked against it";

/// When the guest of the path is looked up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum GuestCheck {
    /// Before a change, and where the path leaves something open.
    IfNeeded,
    Always,
}

impl<'a> ClusterHandle<'a> {
    /// Plans a call. Only look-ups are sent.
    pub fn plan(&'a self, spec: CallSpec<'a>) -> Result<PlannedCall<'a>, PlanError> {
        plan_call(self, spec, GuestCheck::IfNeeded)
    }
}

pub(super) fn plan_call<'a>(
    cluster: &'a ClusterHandle<'a>,
    spec: CallSpec<'a>,
    guest_check: GuestCheck,
) -> Result<PlannedCall<'a>, PlanError> {
    let (method, typed) = resolve_method(&spec)?;
    let (typed_path, query) = parse_path(typed)?;
    let pool = find_nested_pool(&typed_path);
    let typed_path = if pool.is_some() { ApiPath::from_static("/pools") } else { typed_path };
    authorize_early(cluster, method, &typed_path)?;
    let verification = match (guest_check, method) {
        (GuestCheck::Always, _) => GuestVerification::List,
        // The list of guests tells on which node the guest is.
        (GuestCheck::IfNeeded, Method::Get) if check_node_name(cluster, &typed_path).is_err() => {
            GuestVerification::List
        }
        (GuestCheck::IfNeeded, Method::Get) => GuestVerification::None,
        (GuestCheck::IfNeeded, _) if spec.is_dry_run => GuestVerification::DryRun,
        (GuestCheck::IfNeeded, _) => GuestVerification::OwnConfig,
    };
    let resolved = resolve_path(cluster, &typed_path, verification)?;
    check_node_name(cluster, &resolved.path)?;
    let mut data = spec.data.cloned().unwrap_or_default();
    join_query(&mut data, &query)?;
    if let Some(pool) = &pool {
        data.entry("poolid").or_insert_with(|| pool.as_str().into());
    }
    let is_sdn_list = method == Method::Get
        && resolved.path.as_str() == "/cluster/resources"
        && data.get("type").is_some_and(|kind| *kind == "sdn");
    if is_sdn_list {
        data.remove("type");
    }
    check_size(&data)?;
    let schema = cluster.schema();
    let check = |schema: &Schema, data| check_operation_call(cluster, schema, &spec, method, &resolved.path, data);
    let checked = check(&schema, data.clone()).or_else(|error| match find_newer_schema(cluster, &schema, &error) {
        Some(newer) => check(&newer, data),
        None => Err(error),
    });
    let CheckedOperation { operation, params, relative_options, mut assessment, mut notes } = checked?;
    if method != Method::Get && cluster.cluster.settings().is_simulated && !demo::simulates(method, &resolved.path) {
        return Err(PlanError::NotSimulated(format!("{method} {}", resolved.path)));
    }
    let path = resolved.path;
    let call = AuditedCall {
        cluster,
        method,
        path: &path,
        params: &params,
        template: operation.template.as_deref(),
        runs_commands: assessment.risk.kind == RiskKind::Execute,
    };
    if let Some(parameter) = call.find_shortened_command() {
        return Err(PlanError::CommandTooLong { parameter: parameter.to_owned(), limit: MAX_COMMAND_BYTES });
    }
    check_agent_command(&operation, &params)?;
    let as_if_given = assess_by_state(call, &operation, &mut assessment)?;
    let risk = assessment.risk;
    let (mut correction, mut location) = (None, None);
    if let Some(change) = resolved.change {
        let is_told = change.is_correction || change.is_unconfirmed;
        if change.kind_corrected {
            check_operation(call, operation.template.as_deref(), risk)?;
        }
        let note = note_change(cluster, change, method, &path, risk)?;
        if is_told { correction = note } else { location = note }
    }
    let pool_note = pool.map(|pool| {
        let pool = cluster.redact(pool);
        format!("a pool within a pool has no path of its own, so {method} /pools with poolid={pool} was sent")
    });
    notes.splice(0..0, correction.into_iter().chain(pool_note));
    notes.extend(note_taken_name(cluster, call, &operation));
    let template = operation.template.as_deref().filter(|_| operation.is_known);
    let affected = AffectedGuests::from_operation(&path, template, &params, risk);
    let affected = resolve_shared_object(cluster, call, affected, operation.template.as_deref(), risk)?;
    let guests = look_up_affected(cluster, call, &affected, operation.template.as_deref(), risk)?;
    let purpose = CallPurpose::Requested(spec);
    let risk_reasons = assessment.reasons;
    Ok(PlannedCall {
        cluster,
        purpose,
        method,
        path,
        params,
        relative_options,
        operation,
        risk,
        risk_reasons,
        as_if_given,
        affected,
        guests,
        notes,
        space_notes: Vec::new(),
        location,
        is_sdn_list,
    })
}

/// Returns the name of the pool within a pool that a path means. (PVE: such a pool has no path of its own.)
fn find_nested_pool(path: &ApiPath) -> Option<String> {
    let segments: Vec<_> = path.segments().collect();
    match segments.as_slice() {
        [top, pool @ ..] if top == "pools" && pool.len() > 1 => Some(pool.join("/")),
        _ => None,
    }
}

/// Denies what is denied on any path, before anything is looked up for the call.
fn authorize_early(cluster: &ClusterHandle<'_>, method: Method, typed: &ApiPath) -> Result<(), PlanError> {
    let path = expand_shorthand(typed)?;
    let Some(known) = find_embedded_operation(method, &path) else { return Ok(()) };
    let template = Some(known.template());
    let call = AuditedCall { cluster, method, path: &path, params: &ApiParams::new(), template, runs_commands: false };
    check_risk(call, known.risk())?;
    let segments: Vec<_> = path.segments().collect();
    let guest = segments.iter().skip_while(|s| !matches!(s.as_ref(), "qemu" | "lxc")).nth(1);
    let typed: Vec<String> = segments.iter().map(|segment| segment.as_ref().to_owned()).collect();
    let is_named = guest.is_some_and(|guest| !guest.bytes().all(|b| b.is_ascii_digit()))
        || HaResourceName::of_path(&typed).is_some();
    if !is_named && !segments.iter().any(|segment| is_placeholder(segment)) {
        check_path(call, template, known.risk())?;
    }
    Ok(())
}

fn check_size(data: &Map<String, Value>) -> Result<(), PlanError> {
    if data.len() > MAX_PARAMETERS {
        return Err(PlanError::TooManyParameters { count: data.len(), limit: MAX_PARAMETERS });
    }
    let bytes = serde_json::to_vec(data).expect("an object with text keys is valid JSON").len();
    if bytes > MAX_PARAMETER_BYTES {
        return Err(PlanError::ParametersTooLarge { bytes, limit: MAX_PARAMETER_BYTES });
    }
    Ok(())
}

/// An operation with checked parameters.
struct CheckedOperation {
    operation: PlannedOperation,
    params: ApiParams,
    /// The options of which the caller gave the change of the present value.
    relative_options: Vec<String>,
    assessment: RiskAssessment,
    /// Differences between the parameters as given and as sent, and those that were added.
    notes: Vec<String>,
}

/// Returns the description of the API by which a rejected call is checked again: that of a cluster which was upgraded
/// after the present one was read.
fn find_newer_schema(cluster: &ClusterHandle<'_>, schema: &Arc<Schema>, error: &PlanError) -> Option<Arc<Schema>> {
    let may_be_newer = match error {
        PlanError::UnknownPath(_) | PlanError::UnknownMethod(_) => true,
        PlanError::InvalidParameters { problems, .. } => problems.unknown_names().is_some(),
        _ => false,
    };
    if !may_be_newer || !schema.is_live() {
        return None;
    }
    // The client of the cluster compares this version with that of the description.
    cluster.look_up_version(ApiPath::from_static("/version")).ok()?;
    Some(cluster.schema()).filter(|newer| !Arc::ptr_eq(newer, schema))
}

/// Finds the operation and checks the parameters against it.
fn check_operation_call(
    cluster: &ClusterHandle<'_>,
    schema: &Schema,
    spec: &CallSpec<'_>,
    method: Method,
    path: &ApiPath,
    mut data: Map<String, Value>,
) -> Result<CheckedOperation, PlanError> {
    let found = find_path(schema, path)
        .and_then(|found| find_operation(&found, path, method).map(|operation| (found, operation)));
    let (found, operation) = match found {
        Ok(found) => found,
        Err(error) => {
            let note = match schema.is_live() {
                // The embedded facts may be older or newer than the cluster.
                false => (method != Method::Get).then(|| UNCHECKED_NOTE.to_owned()),
                true => {
                    let is_misspelt = !matches!(&error, PlanError::UnknownPath(path) if path.suggestion.is_none());
                    let other = if is_misspelt { None } else { find_other_version(cluster, path) };
                    let Some(other) = other else { return Err(error) };
                    Some(format!("the call was not checked: {other}"))
                }
            };
            // Proxmox decides.
            return Ok(CheckedOperation {
                operation: PlannedOperation::unknown(),
                params: ApiParams::from_json(&data).map_err(PlanError::UnsendableParameters)?,
                relative_options: Vec::new(),
                assessment: RiskAssessment { risk: Risk::UNKNOWN, reasons: Vec::new() },
                notes: note.into_iter().collect(),
            });
        }
    };
    let is_given = |name| operation.parameter(name).is_some();
    let is_paged = method == Method::Get && is_given("limit") && is_given("start") && !data.contains_key("limit");
    if is_paged && spec.fetch_all {
        data.insert("limit".into(), FETCH_ALL_LIMIT.into());
    }
    let reject = |problems, data: &Map<String, Value>| {
        let other_methods = other_methods(spec, &found, data);
        PlanError::InvalidParameters { problems, other_methods }
    };
    parameter_check::unwrap_values(&operation, &mut data).map_err(|problems| reject(problems, &data))?;
    resolve_guest_names(cluster, &operation, &mut data, method != Method::Get)?;
    let relative_options = apply_relative_changes(cluster, &operation, path, &mut data)?;
    let mut notes = correct_values(&operation, &mut data)?;
    notes.extend(convert_dates(cluster, &operation, path, &mut data));
    notes.extend(remove_line_count(&operation, &mut data).map(str::to_owned));
    if method != Method::Get && !schema.is_live() {
        notes.push(UNCHECKED_NOTE.into());
    }
    let checked = parameter_check::check_parameters(&operation, &found, &data).or_else(|problems| {
        let other = check_for_other_version(cluster, &operation, &found, path, &data, &problems);
        other.ok_or_else(|| reject(problems, &data))
    });
    let CheckedParameters { mut params, notes: differences } = checked?;
    check_node_parameters(cluster, &operation, &params)?;
    check_schedules(&operation, &params)?;
    notes.extend(check_backups(cluster, &operation, path, &params)?);
    notes.extend(differences);
    let known = find_embedded_operation(method, path);
    let same = known.filter(|known| known.template() == operation.template());
    let decoded: Vec<_> = path.segments().collect();
    let segments: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
    let rules = AssessedCall {
        method: method.as_str(),
        template: operation.template(),
        segments: &segments,
        operation: same.map_or(Risk::UNKNOWN, |same| same.risk()),
    }
    .find_rules();
    for default in rules.safe_defaults(params.iter()) {
        if same.is_some() && is_given(default.parameter) {
            params.push(default.parameter, default.value);
            let (name, value) = (default.parameter, default.value);
            notes.push(format!("{name}={value} was added: {}", default.reason));
        }
    }
    notes.extend(rules.find_notes(params.iter()).map(|(name, reason)| format!("`{name}`: {reason}")));
    Ok(CheckedOperation {
        assessment: rules.assess(params.iter()),
        operation: PlannedOperation {
            template: Some(known.unwrap_or(operation).template().to_owned()),
            is_known: same.is_some(),
            summary: operation.summary().to_owned(),
            risk: same.map_or(Risk::UNKNOWN, |same| same.risk()),
            risk_reason: same.map_or("", |same| same.risk_reason()),
            privileges: operation.privileges().to_owned(),
            path_values: found.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            secrets: find_secrets(&operation, &params),
            may_be_filtered: method == Method::Get && operation.privileges().is_empty(),
            changes_settings: is_given("delete")
                && (method == Method::Put || operation.template().ends_with("/{vmid}/config")),
        },
        params,
        relative_options,
        notes,
    })
}

/// Rejects a command for the guest agent that is a whole command line in one text, which the agent takes as the name of a
/// program. A path may have blanks.
fn check_agent_command(operation: &PlannedOperation, params: &ApiParams) -> Result<(), PlanError> {
    let mut values = params.iter().filter(|(name, _)| *name == "command").map(|(_, value)| value.trim());
    let is_exec = operation.template.as_deref().is_some_and(|template| template.ends_with("/agent/exec"));
    let (Some(only), None) = (values.next().filter(|_| is_exec), values.next()) else { return Ok(()) };
    let mut words = only.split_whitespace();
    let has_arguments = words.next().is_some() && words.clone().next().is_some();
    let is_option = |word: &str| word.strip_prefix('-').is_some_and(|name| !name.is_empty());
    if has_arguments && (!only.contains(['/', '\\']) || words.any(is_option)) {
        return Err(PlanError::CommandLine { command: shorten(only).into_owned() });
    }
    Ok(())
}

/// Rejects a schedule at a time that no day has.
fn check_schedules(operation: &Operation<'_>, params: &ApiParams) -> Result<(), PlanError> {
    let is_schedule = |name: &str| operation.parameter(name).is_some_and(|one| one.format() == "pve-calendar-event");
    match params.iter().find(|(name, value)| is_schedule(name) && has_impossible_time(value)) {
        Some((parameter, value)) => {
            Err(PlanError::ImpossibleTime { parameter: parameter.to_owned(), schedule: shorten(value).into_owned() })
        }
        None => Ok(()),
    }
}

/// Returns a note on a name for a guest that another guest has already.
fn note_taken_name(cluster: &ClusterHandle<'_>, call: AuditedCall<'_>, operation: &PlannedOperation) -> Option<String> {
    let template = operation.template.as_deref().filter(|_| operation.is_known)?;
    let names_guest = match call.method {
        Method::Post => matches!(template, "/nodes/{node}/qemu" | "/nodes/{node}/lxc") || template.ends_with("/clone"),
        Method::Put => template.ends_with("/{vmid}/config"),
        _ => false,
    };
    let name = call.params.get("name").or_else(|| call.params.get("hostname")).filter(|_| names_guest)?;
    let own = match call.path.segments().nth(3).filter(|_| !template.ends_with("/clone")) {
        Some(vmid) => vmid.into_owned(),
        None => call.params.get("newid").or_else(|| call.params.get("vmid")).unwrap_or_default().to_owned(),
    };
    let guests = cluster.look_up_guests().ok()?;
    let has_name = |guest: &&Guest| guest.name.eq_ignore_ascii_case(name) && guest.vmid.to_string() != own;
    let other = guests.iter().find(has_name)?;
    let (kind, vmid) = (kind_name(other.kind), other.vmid);
    Some(cluster.redact(format!(
        "{kind} {vmid} has the name {name} too: a path with this name is ambiguous then, so give numbers"
    )))
}

/// Rejects a backup of which each guest is on another node, and a backup in the place of the template of a container.
/// Returns a note about the guests that a backup leaves out. (PVE: a node backs up its own guests, and passes over others
/// without a failure.)
fn check_backups(
    cluster: &ClusterHandle<'_>,
    operation: &Operation<'_>,
    path: &ApiPath,
    params: &ApiParams,
) -> Result<Option<String>, PlanError> {
    match (operation.method(), operation.template()) {
        (Method::Post, "/nodes/{node}/lxc") => match params.get("ostemplate") {
            Some(volume) if volume.contains(":backup/") && params.get("restore") != Some("1") => {
                Err(PlanError::BackupAsTemplate(shorten(volume).into_owned()))
            }
            _ => Ok(None),
        },
        (Method::Post, "/nodes/{node}/vzdump") => {
            let segments: Vec<_> = path.segments().collect();
            let Some(node) = segments.get(1) else { return Ok(None) };
            let numbers: Vec<&str> = list_items(params.get("vmid").unwrap_or_default()).collect();
            let pool = params.get("pool").filter(|pool| !pool.is_empty() && numbers.is_empty());
            if numbers.is_empty() && pool.is_none() {
                return Ok(None);
            }
            // The node says what it can't do if the list can't be read.
            let guests = cluster.look_up_guests().unwrap_or_default();
            let is_chosen = |guest: &&Guest| match pool {
                Some(pool) => guest.pool == pool,
                None => numbers.iter().any(|number| number.parse() == Ok(guest.vmid)),
            };
            let is_elsewhere = |guest: &&Guest| !guest.node.is_empty() && guest.node != node.as_ref();
            let elsewhere = guests.iter().filter(is_chosen).filter(is_elsewhere);
            let elsewhere: Vec<String> =
                elsewhere.map(|guest| format!("{} is on {}", guest.vmid, guest.node)).collect();
            match elsewhere.len() {
                0 => Ok(None),
                // (PVE: a backup of a pool without a guest on the node does nothing, and succeeds.)
                left_out if left_out < numbers.len() || pool.is_some() => {
                    Ok(Some(format!("{}: a backup on {node} leaves out guests of other nodes", join_names(&elsewhere))))
                }
                _ => Err(PlanError::BackupElsewhere { guests: elsewhere, node: shorten(node).into_owned() }),
            }
        }
        _ => Ok(None),
    }
}

/// Adds what the call takes away by the present state of the cluster. A call that is asked in any case needs no look-up
/// but for the lists, and one that is denied in any case is denied before. Returns the parameters that the state adds.
fn assess_by_state(
    call: AuditedCall<'_>,
    operation: &PlannedOperation,
    assessment: &mut RiskAssessment,
) -> Result<Vec<&'static str>, DeniedCall> {
    let mut as_if_given = Vec::new();
    let Some(template) = operation.template.as_deref().filter(|_| operation.is_known) else { return Ok(as_if_given) };
    let is_firewall = call.method == Method::Put && template.ends_with("/firewall/options");
    if is_firewall && !assessment.reasons.is_empty() {
        check_operation(call, Some(template), assessment.risk)?;
        let kept = call.cluster.find_kept_options(call.path, call.params);
        *assessment = assess_without(call, template, &kept);
    }
    let has_lists = call.cluster.policy().has_lists();
    for change in StateChange::from_operation(call.method, template, call.path, call.params) {
        if assessment.risk.is_sensitive() && !(has_lists && change.as_if_given().is_some()) {
            continue;
        }
        check_operation(call, Some(template), assessment.risk)?;
        let found = call.cluster.find_state_risks(&change);
        if let Some(added) = change.as_if_given().filter(|_| !found.is_empty()) {
            let mut params = call.params.clone();
            params.push(added, "1");
            check_operation(AuditedCall { params: &params, ..call }, Some(template), assessment.risk)?;
            as_if_given.push(added);
        }
        for (parameter, reason) in found {
            assessment.raise_by_state(&parameter, reason);
        }
    }
    Ok(as_if_given)
}

/// Returns the risk of a call without the parameters that change nothing.
fn assess_without(call: AuditedCall<'_>, template: &str, kept: &[String]) -> RiskAssessment {
    let decoded: Vec<_> = call.path.segments().collect();
    let segments: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
    let operation = find_embedded_operation(call.method, call.path).map_or(Risk::UNKNOWN, |known| known.risk());
    let rules = AssessedCall { method: call.method.as_str(), template, segments: &segments, operation }.find_rules();
    rules.assess(call.params.iter().filter(|(name, _)| !kept.iter().any(|kept| kept == name)))
}

/// Checks the known parameters, where the description is that of another version than the node's that the path names.
/// Returns the parameters with the unknown ones, and a note about these.
fn check_for_other_version(
    cluster: &ClusterHandle<'_>,
    operation: &Operation<'_>,
    found: &PathMatch<'_>,
    path: &ApiPath,
    data: &Map<String, Value>,
    problems: &ParameterErrors,
) -> Option<CheckedParameters> {
    let unknown: Vec<&str> = problems.unknown_names()?;
    let other = find_other_version(cluster, path)?;
    let mut known = data.clone();
    let passed: Map<String, Value> = unknown.iter().filter_map(|name| known.remove_entry(*name)).collect();
    let mut checked = parameter_check::check_parameters(operation, found, &known).ok()?;
    for (name, value) in ApiParams::from_json(&passed).ok()?.iter() {
        checked.params.push(name, value);
    }
    let names = unknown.join("`, `");
    checked.notes.push(format!("`{names}` was not checked: {other}"));
    Some(checked)
}

/// Describes the version of the node that the path names, if the description is that of another version.
fn find_other_version(cluster: &ClusterHandle<'_>, path: &ApiPath) -> Option<String> {
    let segments: Vec<_> = path.segments().take(2).collect();
    let [top, node] = segments.as_slice() else { return None };
    if top != "nodes" {
        return None;
    }
    let far = ApiPath::from_segments(&["nodes", node, "version"]).ok()?;
    let far = cluster.look_up_version(far).ok()??;
    let asked = cluster.look_up_version(ApiPath::from_static("/version")).ok()??;
    (far != asked).then(|| format!("{node} runs Proxmox VE {far}, and the description is that of {asked}"))
}

/// Returns the sent parameters that the operation declares and calls secrets.
fn find_secrets(operation: &Operation<'_>, params: &ApiParams) -> Vec<(String, SecretPart)> {
    let declared = params.names().filter(|name| operation.parameter(name).is_some());
    let parts = declared.map(|name| (name.to_owned(), secret_part(operation.template(), name)));
    parts.filter(|(_, part)| *part != SecretPart::None).collect()
}

/// Returns the note about a change of the path, where the caller has to know of it.
fn note_change(
    cluster: &ClusterHandle<'_>,
    change: PathChange,
    method: Method,
    path: &ApiPath,
    risk: Risk,
) -> Result<Option<String>, PlanError> {
    let is_write = method != Method::Get;
    // A caller that names the wrong kind of guest may mean another guest, or another cluster.
    if change.kind_corrected && risk.is_sensitive() && is_write {
        let operation = format!("{method} {path}");
        return Err(PlanError::UnsafeCorrection { correction: change.text, operation });
    }
    let suffix = if change.is_correction { ", so it was asked for there" } else { "" };
    Ok((change.is_correction || is_write).then(|| cluster.redact(change.text + suffix)))
}

/// Looks up the guests of an object that guests share, where the policy protects guests.
fn resolve_shared_object(
    cluster: &ClusterHandle<'_>,
    call: AuditedCall<'_>,
    affected: AffectedGuests,
    template: Option<&str>,
    risk: Risk,
) -> Result<AffectedGuests, DeniedCall> {
    if !cluster.policy().protects_guests() || *affected.shared() == SharedObject::None {
        return Ok(affected);
    }
    check_operation(call, template, risk)?;
    Ok(affected.with_members(cluster.look_up_members(affected.shared())))
}

/// Looks up the guests where the policy depends on them. A call that is denied in any case is denied before.
fn look_up_affected<'a>(
    cluster: &'a ClusterHandle<'a>,
    call: AuditedCall<'_>,
    affected: &AffectedGuests,
    template: Option<&str>,
    risk: Risk,
) -> Result<Option<GuestView<'a>>, DeniedCall> {
    if !protection_needs_guests(cluster.policy(), risk, affected) {
        return Ok(None);
    }
    check_operation(call, template, risk)?;
    check_named_guests(call, affected)?;
    Ok(Some(look_up_guest_view(cluster, cluster.policy(), affected)))
}

/// Looks up the guests on which a policy depends.
pub(super) fn look_up_guest_view<'a>(
    cluster: &'a ClusterHandle<'a>,
    policy: EffectivePolicy<'_>,
    affected: &AffectedGuests,
) -> GuestView<'a> {
    // The config of the only affected guest has its tags. Its pool is in the list alone.
    if let Some(GuestConfig { guest, .. }) = cluster.guest_config.get()
        && affected.is_only(guest.vmid)
        && !policy.protects_pools()
    {
        return GuestView { guests: Ok(std::slice::from_ref(guest)), nodes: None, token: None };
    }
    let is_node = matches!(affected.scope(), AffectedScope::Node(_));
    let guests = cluster.look_up_guests();
    let nodes = (is_node && guests.is_ok()).then(|| cluster.look_up_nodes());
    let token =
        (guests.is_ok() && protection_needs_token(policy, affected)).then(|| cluster.look_up_token_privileges());
    GuestView { guests, nodes, token }
}
