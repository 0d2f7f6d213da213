//! The one way to a cluster's API: what a caller typed becomes a request that is checked, whole and known for what it
//! can do, before anything of it is sent.

use crate::audit::{AuditDecision, AuditEvent};
use crate::base::cancel::CancelToken;
use crate::base::hint::render_error;
use crate::call::affected::AffectedGuests;
use crate::call::confirm::{CallBinding, ConfirmationError};
use crate::call::hints;
use crate::call::operation::{
    find_embedded_operation, find_operation, find_path, hint_missing_method, join_query, resolve_method,
};
use crate::call::resolve_path::{ClusterLookup, expand_shorthand};
use crate::call::state::{ApiCall, ToolCall};
use crate::mcp::catalog::ToolError;
use crate::mcp::context::CallContext;
use crate::policy::{REMEDY, Risk};
use crate::pve::Method;
use crate::pve::client::cluster::{ApiResponse, Cluster};
use crate::pve::error::PveError;
use crate::pve::params::ApiParams;
use crate::pve::path::{ApiPath, is_placeholder};
use crate::pve::schema::parameter_check;
use crate::render::table::push_single_line;
use crate::render::units::push_byte_size;
use crate::sanitize;
use crate::tools::clusters::prefix_cluster;
use serde_json::{Map, Value};
use std::fmt::{Display, Write};
use std::time::Instant;

/// The rows that are asked for where a list that Proxmox sends in pages is to be filtered or sorted: of its first page
/// alone (50 rows) the answer would be wrong.
const FETCH_ALL_LIMIT: u32 = 5_000;

/// The most parameters of one call; the largest operation has some hundred, some of them in numbers.
const MAX_PARAMETERS: usize = 500;

/// The most bytes of them; a node takes 512 KiB (PVE: AnyEvent's limit of a request).
const MAX_PARAMETER_BYTES: usize = 640 << 10;

/// The longest question that anybody reads before agreeing.
const MAX_QUESTION_BYTES: usize = 8 << 10;

/// Guests that a question shows.
const MAX_QUESTION_GUESTS: usize = 8;

/// What a caller wants to be done.
pub(crate) struct CallSpec<'a> {
    /// How.
    pub(crate) method: Option<Method>,
    /// Where, as it was typed.
    pub(crate) path: &'a str,
    /// With what.
    pub(crate) data: Option<&'a Map<String, Value>>,
    /// Whether a list is wanted whole, because it is to be filtered or sorted.
    pub(crate) fetch_all: bool,
}

/// Who asks, and whom.
pub(crate) struct CallPipeline<'a> {
    call: ToolCall<'a>,
    cluster: &'a Cluster,
    cancel: &'a CancelToken,
    lookup: ClusterLookup<'a>,
}

/// A request that may be sent.
pub(crate) struct PlannedCall {
    method: Method,
    path: ApiPath,
    params: ApiParams,
    risk: Risk,
    /// The path of its operation, with placeholders: as the facts of this program have it, else as the cluster does;
    /// `None` where neither knows it.
    template: Option<String>,
    /// Whether the facts of this program know the operation, as the cluster describes it.
    is_known: bool,
    /// Whether it was confirmed, or need not be.
    decision: AuditDecision,
    /// What the operation does, and what it needs; both empty where it isn't known.
    summary: String,
    privileges: String,
    /// Whether the operation needs no privilege: then Proxmox may leave out what the token may not see.
    may_be_filtered: bool,
    /// Whether Proxmox sends its list in pages.
    is_paged: bool,
    /// What was filled in or put right.
    pub(crate) notes: Vec<String>,
}

impl<'a> CallPipeline<'a> {
    /// For one tool call.
    pub(crate) fn new(call: ToolCall<'a>, cluster: &'a Cluster, cancel: &'a CancelToken) -> Self {
        Self { call, cluster, cancel, lookup: ClusterLookup::new(call, cluster, cancel) }
    }

    /// Makes a request of what a caller wants, and sees whether it may be sent. The error says what is wrong and what to
    /// write instead; nothing was sent but what had to be looked up.
    pub(crate) fn plan(&self, spec: &CallSpec<'_>) -> Result<PlannedCall, String> {
        self.plan_once(spec, false).map_err(|why| {
            // A cluster that could not be looked at may have said so already.
            let more = if why.contains("Nothing was ") { "" } else { ". Nothing was sent" };
            self.call.redact(self.cluster, self.prefix_cluster(&format_args!("{why}{more}")))
        })
    }

    fn prefix_cluster(&self, what: &dyn Display) -> String {
        prefix_cluster(self.call.manager, self.cluster, what)
    }

    /// Refuses a request that has to be confirmed, where no confirmation can be given.
    pub(crate) fn refuse_if_confirmation_needed(&self, planned: &PlannedCall) -> Result<(), String> {
        if !self.cluster.settings().policy.needs_confirmation(planned.risk) {
            return Ok(());
        }
        let why = format!(
            "{} ({}) has to be confirmed, which takes proxmox_api_call",
            planned.operation_line(),
            planned.risk
        );
        Err(self.prefix_cluster(&format_args!("{why}. Nothing was sent")))
    }

    /// Lets a request pass that is confirmed, by `code` or by the user of the client, or need not be.
    ///
    /// # Errors
    /// It has to be confirmed first: the question.
    pub(crate) fn confirm(
        &self,
        planned: &mut PlannedCall,
        context: &CallContext<'_>,
        code: Option<&str>,
    ) -> Result<(), ToolError> {
        if !self.cluster.settings().policy.needs_confirmation(planned.risk) {
            return Ok(());
        }
        let binding = CallBinding {
            client: &self.call.caller.client.name,
            cluster: &self.cluster.settings().name,
            operation: &planned.operation_line(),
            parameters: &planned.params.encode(),
        };
        let question = self.build_question(planned);
        if question.len() > MAX_QUESTION_BYTES {
            return Err(ToolError::Failed(self.prefix_cluster(&format_args!(
                "this has to be confirmed, and is too long to be read by whoever confirms it ({} bytes): send less at \
                 once. Nothing was sent",
                question.len()
            ))));
        }
        match self.call.state.confirmation_codes.require_confirmation(context, code, &binding, &question) {
            Ok(()) => {
                planned.decision = AuditDecision::Confirmed;
                Ok(())
            }
            Err(ConfirmationError::Required(stop)) => {
                self.call.audit_confirmation_request(planned.api_call(self.cluster));
                Err(stop)
            }
            Err(ConfirmationError::Rejected(why)) => {
                let said = self.call.deny(planned.api_call(self.cluster), why);
                Err(ToolError::Failed(self.prefix_cluster(&format_args!("{said}. Nothing was sent"))))
            }
        }
    }

    /// What is to be confirmed, from what is known of it and not from what anybody says of it.
    fn build_question(&self, planned: &PlannedCall) -> String {
        let mut text = format!("{} on cluster {}\n", planned.operation_line(), self.cluster.settings().name);
        planned.push_explanation(&mut text, &push_full_value);
        let affected = planned.affected_guests();
        if affected.is_empty() {
            return text;
        }
        match self.lookup.visible_guests() {
            Err(why) => drop(writeln!(text, "Which guests it reaches can't be seen: {}", sanitize::redact_text(why))),
            Ok(guests) => {
                for guest in affected.select_from(guests).take(MAX_QUESTION_GUESTS) {
                    let _ = write!(text, "Guest {} `", guest.vmid);
                    push_single_line(&mut text, &sanitize::redact_text(&guest.name));
                    let about = format!("`, {}, {} on {}", guest.kind.as_str(), guest.status, guest.node);
                    push_single_line(&mut text, &sanitize::redact_text(&about));
                    for (what, bytes) in [("memory", guest.maxmem), ("first disk", guest.maxdisk)] {
                        if let Some(bytes) = bytes {
                            let _ = write!(text, ", {what} ");
                            push_byte_size(&mut text, bytes as f64);
                        }
                    }
                    text.push('\n');
                }
                let more = affected.select_from(guests).count().saturating_sub(MAX_QUESTION_GUESTS);
                if more > 0 {
                    let _ = writeln!(text, "and {more} guests more");
                }
            }
        }
        text
    }

    /// Sends it and waits for the answer; a GET for a guest that is elsewhere is asked there. What may change something
    /// is written down before and after; where it can't be, it is not sent.
    pub(crate) fn execute(&self, planned: &mut PlannedCall, spec: &CallSpec<'_>) -> Result<ApiResponse, String> {
        let reads = planned.risk.is_read_only();
        if !reads {
            let opened = self.call.audit_start(planned.api_call(self.cluster), planned.decision);
            opened.map_err(|why| self.prefix_cluster(&format_args!("{why}. Nothing was sent")))?;
        }
        let mut answer = self.send(planned);
        if !planned.is_change()
            && answer.as_ref().is_err_and(hints::is_wrong_node)
            && let Ok(there) = self.plan_once(spec, true)
            && there.path != planned.path
            && there.risk == planned.risk
        {
            *planned = there;
            answer = self.send(planned);
        }
        match answer {
            Ok(answer) => {
                let answer = self.call.redact_response(self.cluster, answer);
                planned.add_notes(&answer);
                Ok(answer)
            }
            Err(error) => {
                let more = hints::explain_failure(self.call, self.cluster, &planned.path, &error, self.cancel);
                let notes: String = planned.notes.iter().map(|note| format!(" ({note})")).collect();
                let said = self.prefix_cluster(&render_error(&error)) + &more + &notes;
                Err(self.call.redact(self.cluster, said))
            }
        }
    }

    /// One call, written down once it has ended.
    fn send(&self, planned: &PlannedCall) -> Result<ApiResponse, PveError> {
        let begun = Instant::now();
        let answer = self.cluster.call(planned.method, &planned.path, &planned.params, self.cancel);
        let event = if planned.risk.is_read_only() { AuditEvent::Read } else { AuditEvent::ChangeFinished };
        let upid = answer.as_ref().ok().map(|answer| answer.data().trim_matches('"'));
        let upid = upid.filter(|text| text.starts_with("UPID:"));
        let api_call = planned.api_call(self.cluster);
        self.call.audit_end(api_call, event, planned.decision, answer.as_ref().err(), upid, begun);
        answer
    }

    /// `look`: whether to see where the guest is though the path says it.
    fn plan_once(&self, spec: &CallSpec<'_>, verify_guest: bool) -> Result<PlannedCall, String> {
        let (method, typed) = resolve_method(spec.path, spec.method)?;
        let (path, query) = ApiPath::parse_template(typed).map_err(|error| render_error(&error))?;
        self.authorize_early(method, &path)?;
        // A write goes to nothing that was not looked at.
        let resolved = self.lookup.resolve(&path, verify_guest || method != Method::Get)?;
        let mut data = spec.data.cloned().unwrap_or_default();
        join_query(&mut data, &query)?;
        if data.len() > MAX_PARAMETERS {
            return Err(format!(
                "{} parameters are more than any operation has: give {MAX_PARAMETERS} at most",
                data.len()
            ));
        }

        let bytes = serde_json::to_vec(&data).map_or(0, |text| text.len());
        if bytes > MAX_PARAMETER_BYTES {
            return Err(format!(
                "the parameters have {bytes} bytes, more than any node takes: give {MAX_PARAMETER_BYTES} at most"
            ));
        }

        let schema = self.cluster.schema(self.cancel);
        let mut planned = PlannedCall {
            method,
            path: resolved.path,
            params: ApiParams::new(),
            risk: Risk::UNKNOWN,
            template: None,
            is_known: false,
            decision: AuditDecision::Allowed,
            summary: String::new(),
            privileges: String::new(),
            may_be_filtered: false,
            is_paged: false,
            notes: Vec::new(),
        };
        let found = find_path(&schema, &planned.path);
        match found.and_then(|found| find_operation(&found, &planned.path, method).map(|operation| (found, operation)))
        {
            Ok((found, operation)) => {
                let given = |name| operation.parameter(name).is_some();
                planned.is_paged =
                    method == Method::Get && given("limit") && given("start") && !data.contains_key("limit");
                if planned.is_paged && spec.fetch_all {
                    data.insert("limit".into(), FETCH_ALL_LIMIT.into());
                }
                self.lookup.resolve_guest_names(&operation, &mut data)?;
                planned.params = parameter_check::check_parameters(&operation, &found, &data).map_err(|wrong| {
                    wrong.to_string() + &hint_missing_method(spec, &found, &data) + ". describe_api has all parameters"
                })?;
                let known = find_embedded_operation(method, &planned.path);
                let same = known.filter(|known| known.template() == operation.template());
                planned.risk = same.map_or(Risk::UNKNOWN, |same| same.risk()).with_parameters(planned.params.iter());
                planned.is_known = same.is_some();
                planned.template = Some(known.unwrap_or(operation).template().to_owned());
                planned.summary = operation.summary().to_owned();
                planned.privileges = operation.privileges().to_owned();
                planned.may_be_filtered = method == Method::Get && operation.privileges().is_empty();
            }
            // The facts of this program may be older or newer than the cluster: it judges for itself.
            Err(_) if !schema.is_live() => {
                planned.params = ApiParams::from_json(&data).map_err(|errors| errors.to_string())?;
            }
            Err(why) => return Err(why),
        }
        let corrected = if resolved.corrected { ", so it was asked for there" } else { "" };
        if let Some(note) = resolved.note.filter(|_| resolved.corrected || planned.is_change()) {
            // Who names the wrong kind of guest may mean another one, or another cluster.
            if resolved.kind_corrected && planned.risk.irreversible && planned.is_change() {
                return Err(format!(
                    "{note}, and what can't be undone is not put right: write {}",
                    planned.operation_line()
                ));
            }
            planned.notes.push(self.call.redact(self.cluster, note + corrected));
        }
        self.authorize(&planned)?;
        Ok(planned)
    }

    /// What is refused on any path alike is refused before anything is looked up for it.
    fn authorize_early(&self, method: Method, path: &ApiPath) -> Result<(), String> {
        let path = expand_shorthand(path)?;
        let Some(known) = find_embedded_operation(method, &path) else { return Ok(()) };
        let segments: Vec<_> = path.segments().collect();
        let (client, rules) = (&self.call.caller.client, &self.cluster.settings().policy);
        let api_call = ApiCall { cluster: self.cluster, method, path: &path, params: &ApiParams::new() };
        let permitted = rules.authorize_risk(&client.name, client.permissions, known.risk());
        permitted.map_err(|why| self.call.deny(api_call, format!("{method} {path}: {why}")))?;
        let guest = segments.iter().skip_while(|s| !matches!(s.as_ref(), "qemu" | "lxc")).nth(1);
        let named = guest.is_some_and(|guest| !guest.bytes().all(|b| b.is_ascii_digit()));
        if named || segments.iter().any(|segment| is_placeholder(segment)) {
            return Ok(());
        }
        self.call.authorize(api_call, Some(known.template()), known.risk())
    }

    fn authorize(&self, planned: &PlannedCall) -> Result<(), String> {
        let (api_call, rules) = (planned.api_call(self.cluster), &self.cluster.settings().policy);
        self.call.authorize(api_call, planned.template.as_deref(), planned.risk)?;
        if rules.protect.is_empty() || planned.risk.is_read_only() {
            return Ok(());
        }
        let protection = planned.affected_guests().check_protection(rules, &self.lookup);
        protection.map_err(|why| self.call.deny(api_call, format!("{}: {why}{REMEDY}", planned.operation_line())))
    }
}

impl PlannedCall {
    /// Notes what an answer doesn't say of itself.
    fn add_notes(&mut self, answer: &ApiResponse) {
        let note = match answer.data() {
            "[]" if self.may_be_filtered => {
                "the list is empty: nothing is there, or the token may see none of it (GET /access/permissions shows its \
                 rights)"
            }
            "null" if self.is_change() && self.path.as_str().ends_with("/config") => {
                "done. Of a guest that runs, some changes wait for its restart: GET …/pending shows them"
            }
            "null" if self.is_change() => "done",
            _ if self.is_paged && self.params.is_empty() && answer.has_extra_fields() => {
                "Proxmox sends such a list in pages: params limit and start move on"
            }
            _ => return,
        };
        self.notes.push(note.into());
    }

    /// What would be sent, and what it can do.
    pub(crate) fn describe_dry_run(&self, cluster: &Cluster) -> String {
        let mut text = format!(
            "Nothing was sent. This would be: {} on cluster {}\n",
            self.operation_line(),
            cluster.settings().name
        );
        self.push_explanation(&mut text, &|text, value| {
            push_single_line(text, value);
        });
        text.push_str("Whether names and values fit, only Proxmox knows.\n");
        if cluster.settings().policy.needs_confirmation(self.risk) {
            text.push_str("It has to be confirmed before it is sent.\n");
        }
        text
    }

    /// With what, what it is, and what it can do.
    fn push_explanation(&self, text: &mut String, push: &dyn Fn(&mut String, &str)) {
        for (name, value) in self.params.iter() {
            let _ = write!(text, "  {name} = ");
            // On its line, whatever it holds.
            push(text, &sanitize::redact_parameter(name, value));
            text.push('\n');
        }
        if self.summary.is_empty() {
            text.push_str("It is not in this program's facts of the API, nor in the cluster's description of it.\n");
        } else {
            let _ = writeln!(text, "It is: {}", self.summary);
        }
        let _ = write!(text, "Risk: {}", self.risk);
        if !self.privileges.is_empty() {
            let _ = write!(text, "; needs {}", self.privileges);
        }
        text.push_str(".\n");
    }

    fn api_call<'r>(&'r self, cluster: &'r Cluster) -> ApiCall<'r> {
        ApiCall { cluster, method: self.method, path: &self.path, params: &self.params }
    }

    fn affected_guests(&self) -> AffectedGuests {
        let known = self.template.as_deref().filter(|_| self.is_known);
        AffectedGuests::from_operation(&self.path, known, &self.params, self.risk)
    }

    /// Whether it may change anything.
    pub(crate) fn is_change(&self) -> bool {
        self.method != Method::Get
    }

    /// Method and path as they are sent.
    pub(crate) fn operation_line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// All of a value on its line: nobody can agree to what they did not see, behind blanks or line ends.
fn push_full_value(text: &mut String, value: &str) {
    let mut blanks = 0;
    for c in value.chars().chain(['\0']) {
        if c == ' ' {
            blanks += 1;
            continue;
        }
        match std::mem::take(&mut blanks) {
            0 => {}
            n @ 1..=3 => (0..n).for_each(|_| text.push(' ')),
            n => drop(write!(text, " [{n} spaces] ")),
        }
        match c {
            '\0' => {}
            '\n' | '\r' | '\t' => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
}
