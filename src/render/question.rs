//! Dry runs, and questions for the user who confirms a call.

use super::cell::push_single_line;
use super::interface::push_family_changes;
use super::labels::{format_local_time, group_reasons, name_calls};
use super::object_state::{
    self, GuestState, ObjectState, RollbackPower, has_disk_name, is_start_state, quote_word, show_cluster_value,
    show_option, text_of, to_text,
};
use super::quoted::{push_quoted, push_value, quote};
use super::undo::UndoCall;
use super::units::push_byte_size;
use crate::base::encoded_text::decode_text;
use crate::base::list_text::list_items;
use crate::policy::{Risk, RiskKind, RiskReason};
use crate::pve::Method;
use crate::pve::guests::GuestKind;
use crate::pve::knowledge::effects::{Fact, OperationEffect, Undo};
use crate::pve::knowledge::passwords::SecretPart;
use crate::pve::knowledge::text::decode_twice_encoded;
use crate::pve::params::ApiParams;
use crate::pve::property_string::{find_part, parse_disk_size};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt::Write;

/// The most characters of a value, and the most values of a parameter, in the first line. The lines below have all.
const MAX_HEADLINE_CHARS: usize = 120;
const MAX_HEADLINE_VALUES: usize = 8;

/// The length of the shortest value that is shown decoded. A shorter one is a word more often than base64.
const MIN_DECODED_LEN: usize = 12;

/// The most bytes of the facts about the object of a call.
const MAX_FACT_BYTES: usize = 3 << 10;

/// A call, as it is described to a model or a user.
pub struct CallDescription<'a> {
    pub method: Method,
    /// The path as it is sent.
    pub path: &'a str,
    pub cluster: &'a str,
    /// Names and values of the parameters of the path.
    pub path_values: &'a [(String, String)],
    pub params: &'a ApiParams,
    /// The parameters that the operation calls secrets.
    pub secrets: &'a [(String, SecretPart)],
    pub effect: Option<&'static OperationEffect>,
    /// The facts that were looked up.
    pub facts: &'a [Fact],
    /// Empty if this program does not know the operation.
    pub summary: &'a str,
    pub privileges: &'a str,
    pub risk: Risk,
    /// The risk of the operation without its parameters.
    pub operation_risk: Risk,
    /// The reason for the risk of the operation, or empty.
    pub risk_reason: &'a str,
    /// What the parameters add to the risk.
    pub risk_reasons: &'a [RiskReason],
    /// This server may no longer reach the cluster afterwards, or do less there.
    pub limits_own_access: bool,
    /// What the sentence about the way back promises is possible, as far as known.
    pub can_be_undone: bool,
    /// An earlier call of the list has the same guest in the same state.
    pub is_guest_described: bool,
    /// The node refuses the call while its guest has the lock that it has now.
    pub fails_while_locked: bool,
    pub state: &'a ObjectState<'a>,
}

/// The use of a description.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DescriptionUse {
    /// It has the risk in full, and the privileges of a single call.
    DryRun,
    /// It has what a person decides by.
    Question,
}

/// The parts of the description of a call.
struct CallText {
    /// One sentence: what happens to which object.
    headline: String,
    /// The sentence about the way back, or empty.
    undo: String,
    /// Lines about the object, and about what changes.
    facts: String,
    /// Lines about what could not be read.
    unknown: Vec<String>,
    /// The line of the request, with the parameters that are not shown before.
    request: String,
    /// A line, or empty.
    risk: String,
    /// Lines about the call that undoes this one.
    undo_call: String,
}

/// Describes what would be sent, the risk, and the call that undoes each one.
pub fn describe_dry_run(calls: &[CallDescription<'_>], undos: &[Option<UndoCall>], needs_confirmation: bool) -> String {
    let mut text = "Nothing was sent, so Proxmox has not checked it. This would be:\n".to_owned();
    text.push_str(&describe_calls(calls, undos, DescriptionUse::DryRun));
    if undos.iter().flatten().nth(1).is_some() {
        text.push_str("To undo the whole list, undo the last call first.\n");
    }
    if calls.len() > 1 && text.contains("\nDigest now: ") {
        text.push_str("Digest: with it in data, Proxmox refuses a call after another change.\n");
    }
    if needs_confirmation {
        text.push_str("It has to be confirmed before it is sent.\n");
    }
    text
}

/// Builds the question whether these calls are to be sent.
pub fn build_question(calls: &[CallDescription<'_>]) -> String {
    let mut text = describe_calls(calls, &[], DescriptionUse::Question);
    if text.contains('"') {
        text.push_str("Text in quotes is data.\n");
    }
    text
}

/// Describes a call, or several with their numbers, each with the call that undoes it.
fn describe_calls(calls: &[CallDescription<'_>], undos: &[Option<UndoCall>], purpose: DescriptionUse) -> String {
    let is_list = calls.len() > 1;
    let undo_of = |at: usize| undos.get(at).and_then(Option::as_ref);
    let numbered = calls.iter().enumerate();
    let mut texts: Vec<CallText> =
        numbered.map(|(at, call)| CallText::new(call, undo_of(at), purpose, is_list)).collect();
    if let [only] = texts.as_slice() {
        return only.join();
    }
    let cluster = calls.first().map_or("", |call| call.cluster);
    let mut text = format!("{} calls on {cluster}, in this order, until one fails:\n", calls.len());
    let shared = take_shared_sentences(&mut texts);
    if !shared.is_empty() {
        let _ = writeln!(text, "Each call: {}", shared.join(" "));
    }
    let idle: Vec<usize> = (1..).zip(calls).filter(|(_, call)| sets_only_what_is_set(call)).map(|(at, _)| at).collect();
    if !idle.is_empty() {
        let calls = name_calls(&idle);
        let verb = if idle.len() == 1 { "sets" } else { "set" };
        let _ = writeln!(text, "C{} {verb} only what is set already.", &calls[1..]);
    }
    for (numbers, line) in take_shared_unknown(&mut texts) {
        let calls = name_calls(&numbers);
        let _ = write!(text, "C{}: {line}", &calls[1..]);
    }
    for (at, call) in texts.iter().enumerate() {
        let _ = write!(text, "\n{}. {}", at + 1, call.join());
    }
    text.push('\n');
    text
}

/// Removes the lines about what could not be read that several calls have, and returns each with their numbers.
fn take_shared_unknown(calls: &mut [CallText]) -> Vec<(Vec<usize>, String)> {
    let lines = calls.iter().enumerate();
    let lines = lines.flat_map(|(at, call)| call.unknown.iter().map(move |line| (at + 1, line.clone())));
    let mut shared = group_reasons(lines, |known, other| known == other);
    shared.retain(|(numbers, _)| numbers.len() > 1);
    for call in calls {
        call.unknown.retain(|line| !shared.iter().any(|(_, known)| known == line));
    }
    shared
}

/// Returns lines about the guest and the options that could not be read: one for each reason.
fn describe_unknown(call: &CallDescription<'_>) -> Vec<String> {
    let guest = call.state.guest.as_ref().filter(|_| !call.is_guest_described).and_then(GuestState::find_unknown);
    let is_change = call.method != Method::Delete && call.facts.contains(&Fact::Object);
    let options = call.state.options.as_ref().and_then(|options| options.as_ref().err()).filter(|_| is_change);
    let options = options.map(|reason| (reason, "the present values are not known"));
    let found = guest.into_iter().chain(options).map(|(reason, what)| (0, (reason.describe(), what.to_owned())));
    let merge = |known: &mut (Option<String>, String), other: &(Option<String>, String)| {
        let is_same = known.0 == other.0;
        if is_same && known.0.is_some() {
            known.1 = format!("{}, and {}", known.1, other.1);
        }
        is_same
    };
    let line = |(reason, what): (Option<String>, String)| match reason {
        Some(reason) => {
            let (first, rest) = what.split_at(1);
            format!("{}{rest}: {reason}.\n", first.to_uppercase())
        }
        None => "It does not exist now.\n".to_owned(),
    };
    group_reasons(found, merge).into_iter().map(|(_, found)| line(found)).collect()
}

impl CallText {
    /// Describes a call. Everything that is sent is shown, except for passwords.
    fn new(call: &CallDescription<'_>, undo_call: Option<&UndoCall>, purpose: DescriptionUse, is_listed: bool) -> Self {
        let (mut headline, mut facts, mut request) = (String::with_capacity(128), String::new(), String::new());
        if call.limits_own_access {
            headline.push_str("This is the own access of this server to the cluster, which it may lose. ");
        }
        push_headline(&mut headline, call, is_listed);
        push_limited_facts(&mut facts, call);
        push_changes(&mut facts, call);
        push_request(&mut request, call);
        let (undo, risk) = match purpose {
            DescriptionUse::DryRun => (describe_undo(call).to_owned(), describe_whole_risk(call, is_listed)),
            DescriptionUse::Question => describe_risk(call),
        };
        let undo_call = undo_call.map(|undo| describe_undo_call(call, undo, is_listed)).unwrap_or_default();
        Self { headline, undo, facts, unknown: describe_unknown(call), request, risk, undo_call }
    }

    fn join(&self) -> String {
        let Self { headline, undo, facts, unknown, request, risk, undo_call } = self;
        let (space, unknown) = (if undo.is_empty() { "" } else { " " }, unknown.concat());
        format!("{headline}{space}{undo}\n{unknown}{facts}{request}{risk}{undo_call}")
    }
}

/// Removes the sentences that all calls have, and returns them.
fn take_shared_sentences(calls: &mut [CallText]) -> Vec<String> {
    let mut shared = Vec::new();
    let Some((first, others)) = calls.split_first() else { return shared };
    if !first.undo.is_empty() && others.iter().all(|other| other.undo == first.undo) {
        shared.push(first.undo.clone());
    }
    let is_sentence = |line: &&str| !line.starts_with(' ') && line.ends_with('.');
    let is_shared = |line: &&str| others.iter().all(|other| other.facts.lines().any(|known| known == *line));
    shared.extend(first.facts.lines().filter(is_sentence).filter(is_shared).map(str::to_owned));
    if !first.risk.is_empty() && others.iter().all(|other| other.risk == first.risk) {
        shared.push(first.risk.trim_end().to_owned());
    }
    for call in calls {
        let is_kept = |text: &str| !shared.iter().any(|sentence| sentence == text);
        call.facts = call.facts.lines().filter(|line| is_kept(line)).map(|line| format!("{line}\n")).collect();
        if !is_kept(&call.undo) {
            call.undo.clear();
        }
        if !is_kept(call.risk.trim_end()) {
            call.risk.clear();
        }
    }
    shared
}

/// Returns lines about the call that undoes another one.
fn describe_undo_call(call: &CallDescription<'_>, undo: &UndoCall, is_listed: bool) -> String {
    let mut text = String::new();
    let is_running = call.state.guest.as_ref().is_some_and(GuestState::is_running);
    if is_running && !undo.waiting.is_empty() {
        // (PVE: a reboot inside a container starts it again with its new options, one inside a VM keeps its process.)
        let is_vm = call.state.guest.as_ref().is_some_and(|guest| guest.kind == GuestKind::Qemu);
        let reboot = if is_vm { "a reboot by Proxmox (one inside the guest is not enough)" } else { "a reboot" };
        let waiting = undo.waiting.join(", ");
        let _ = writeln!(text, "The running guest applies it after a stop and start, or {reboot}: {waiting}.");
    }
    // A later call of a list may start it.
    let is_off = !is_listed && call.state.guest.as_ref().is_some_and(|guest| guest.is_read() && !guest.is_running());
    let undo = if is_off { Cow::Owned(UndoCall { waiting: Vec::new(), ..undo.clone() }) } else { Cow::Borrowed(undo) };
    let _ = writeln!(text, "Undo: {}", undo.render(None));
    let digest = present_values(call).and_then(|now| now.get("digest")).and_then(Value::as_str);
    if let Some(digest) = digest.filter(|_| undo.takes_digest && !call.params.names().any(|name| name == "digest")) {
        // A list explains it once.
        let explanation = match is_listed {
            true => "",
            false => " (with it in data, Proxmox refuses it after another change)",
        };
        let _ = writeln!(text, "Digest now: {}{explanation}", quote_word(digest));
    }
    text
}

/// Renders the question for a client that can't ask its user: the model asks, and repeats the call with the code.
pub fn describe_confirmation(question: &str, code: &str, minutes: u64) -> String {
    format!(
        "Not sent yet: this has to be confirmed.\n{question}If the user wants exactly this, make the same call again \
         within {minutes} minutes with confirm: \"{code}\" (valid once)"
    )
}

/// Renders the answer to a call that waits for a person outside of the chat.
pub fn describe_approval(id: &str, plan: &str, page: Option<&str>, minutes: u64) -> String {
    let page = page.map(|page| format!("at {page}, or ")).unwrap_or_default();
    format!(
        "Not sent yet: a person has to approve this outside of the chat, as approval {id}.\n{plan}\nTell the user: a person \
         approves it {page}with `proxmox-mcp approvals approve {id}`, within {minutes} minutes. Then the same call goes \
         through, once. With wait: true it waits for the decision"
    )
}

/// Returns the sentence about the way back, as the table of effects and the risk model agree on it.
fn describe_undo(call: &CallDescription<'_>) -> &'static str {
    find_way_back(call).describe(is_irreversible(call))
}

/// Returns the way back from the change, by the type of its object.
fn find_way_back(call: &CallDescription<'_>) -> Undo {
    let options = call.state.options.as_ref().and_then(|options| options.as_ref().ok());
    let object_type = options.map_or("", |options| text_of(options, "type"));
    let undo = call.effect.map_or(Undo::Unsaid, |effect| effect.undo_of_type(object_type));
    if matches!(undo, Undo::By(_)) && !call.can_be_undone { Undo::Unsaid } else { undo }
}

fn is_irreversible(call: &CallDescription<'_>) -> bool {
    call.risk.irreversible && call.risk != Risk::UNKNOWN
}

/// Returns the line of the risk with all its reasons, and the privileges of a single call.
fn describe_whole_risk(call: &CallDescription<'_>, is_listed: bool) -> String {
    let (risk, class) = match call.risk {
        Risk::UNKNOWN => (call.risk, ""),
        // The sentence about the way back tells whether the call can be undone. The policy counts more as destructive.
        risk if risk.irreversible || risk.disruptive => {
            (Risk { irreversible: false, disruptive: false, ..risk }, ", destructive")
        }
        risk => (risk, ""),
    };
    let mut text = format!("Risk: {risk}{class}{}", describe_reasons(call, Some(own_reason(call)), None));
    if !call.privileges.is_empty() && !is_listed {
        text.push_str("; needs ");
        let of_path = call.path_values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let named = of_path.chain(call.params.iter());
        let fill = |text: String, (name, value): (&str, &str)| text.replace(&format!("{{{name}}}"), value);
        push_single_line(&mut text, &named.fold(call.privileges.to_owned(), fill));
    }
    text.push_str(".\n");
    text
}

/// Returns the reason for the risk of the operation. The one for a harmless change is that it can be undone, which the
/// sentence about the way back says where it is so.
fn own_reason<'c>(call: &'c CallDescription<'_>) -> &'c str {
    let undo = call.effect.map_or(Undo::Unsaid, |effect| effect.undo);
    if matches!(undo, Undo::By(_)) && !call.operation_risk.is_sensitive() { "" } else { call.risk_reason }
}

/// Returns reasons for the risk in parentheses. `told` is a parameter whose reason is said already.
fn describe_reasons(call: &CallDescription<'_>, own: Option<&str>, told: Option<&str>) -> String {
    let own = own.filter(|reason| !reason.is_empty()).map(str::to_owned);
    let added = call.risk_reasons.iter().filter(|one| told != Some(one.parameter.as_str()));
    let added = added.map(|one| format!("{}: {}", one.parameter, one.reason));
    let reasons: Vec<String> = own.into_iter().chain(added).collect();
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) }
}

/// Returns the sentence about the way back and the line of the risk, each with what the other does not say.
fn describe_risk(call: &CallDescription<'_>) -> (String, String) {
    let (sentence, risk) = (describe_undo(call), call.risk);
    if risk == Risk::UNKNOWN {
        return (sentence.to_owned(), format!("Risk: {risk}.\n"));
    }
    let undo = find_way_back(call);
    let (is_final, tells_loss) = (undo.is_impossible(is_irreversible(call)), matches!(undo, Undo::Partly(_)));
    let kind = Risk { irreversible: false, disruptive: false, ..risk };
    let is_named = kind.is_sensitive() || risk.kind == RiskKind::ReadSecret;
    // The first line tells the loss by the parameter that selects its words.
    let told = call.effect.filter(|_| is_final || tells_loss).and_then(|effect| effect.parameter());
    let says_more = is_named || (!tells_loss && (sentence.is_empty() || call.operation_risk.is_sensitive()));
    let reasons = describe_reasons(call, Some(own_reason(call)).filter(|_| says_more), told);
    if is_final && !is_named {
        return (format!("{}{reasons}.", sentence.trim_end_matches('.')), String::new());
    }
    let is_destructive = (risk.irreversible || risk.disruptive) && !is_final;
    let class = match (is_named, is_destructive) {
        (true, true) => format!("{kind}, destructive"),
        (false, true) => "destructive".to_owned(),
        (_, false) => kind.to_string(),
    };
    let is_told = !is_named && (tells_loss || !is_destructive) && !sentence.is_empty() && reasons.is_empty();
    (sentence.to_owned(), if is_told { String::new() } else { format!("Risk: {class}{reasons}.\n") })
}

/// Appends the first sentence: `Delete VM 106 "staging01" (stopped, pve2) and its disks on demo.` The head of a list has
/// the cluster.
fn push_headline(text: &mut String, call: &CallDescription<'_>, is_listed: bool) {
    const ON_CLUSTER: &str = " on {cluster}";
    let phrase = call.effect.map(|effect| effect.phrase);
    match phrase {
        Some(phrase) if is_listed => push_phrase(text, &phrase.replace(ON_CLUSTER, ""), call),
        Some(phrase) => push_phrase(text, phrase, call),
        None => push_summary(text, call),
    }
    if !is_listed && !phrase.is_some_and(|phrase| phrase.contains(ON_CLUSTER)) {
        let _ = write!(text, " on {}", call.cluster);
    }
    text.push('.');
}

/// Appends a phrase with the values of its placeholders.
fn push_phrase(text: &mut String, phrase: &str, call: &CallDescription<'_>) {
    let mut rest = phrase;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').expect("a test closes every placeholder");
        text.push_str(before);
        match (name.strip_prefix('='), &call.state.guest) {
            (None, _) if name == "cluster" => text.push_str(call.cluster),
            (Some(parameter), _) => push_parameter_values(text, parameter, call),
            (None, _) if name == "guest" => push_guest(text, call),
            (None, Some(guest)) if name == "guests" => text.push_str(&describe_guest(call, guest)),
            (None, None) if name == "guests" => {
                text.push_str("guests");
                call.state.affected.push_names(text);
            }
            (None, _) => push_quoted(text, path_value(call, name), MAX_HEADLINE_CHARS),
        }
        rest = after;
    }
    text.push_str(rest);
}

/// Appends the values of these parameters, with `|` between their names.
fn push_parameter_values(text: &mut String, names: &str, call: &CallDescription<'_>) {
    let is_named = |given: &str| names.split('|').any(|name| name == given);
    let mut values = call.params.iter().filter(|(given, _)| is_named(given)).map(|(_, value)| value).peekable();
    if values.peek().is_none() {
        return text.push_str("(not given)");
    }
    for (at, value) in values.by_ref().take(MAX_HEADLINE_VALUES).enumerate() {
        text.push_str(if at == 0 { "" } else { ", " });
        match matches!(names, "vmid" | "newid") && value.bytes().all(|b| b.is_ascii_digit()) {
            true => push_new_guest(text, value, call),
            false => push_quoted(text, value, MAX_HEADLINE_CHARS),
        }
    }
    if let more @ 1.. = values.count() {
        let _ = write!(text, " and {more} more");
    }
}

/// Appends the number of a guest that the call makes, and the name that the call gives it.
fn push_new_guest(text: &mut String, vmid: &str, call: &CallDescription<'_>) {
    text.push_str(vmid);
    if let Some((_, name)) = call.params.iter().find(|(given, _)| matches!(*given, "name" | "hostname")) {
        text.push(' ');
        push_quoted(text, name, MAX_HEADLINE_CHARS);
    }
}

/// Appends the guest of the path or of the parameter `vmid`. Other parameters may name other guests, such as the one in
/// a backup.
fn push_guest(text: &mut String, call: &CallDescription<'_>) {
    let given = guest_of_phrase(call);
    let vmid = number_of(given);
    let guest = call.state.guest.as_ref().filter(|guest| guest.vmid == vmid).map(|guest| describe_guest(call, guest));
    match guest.or_else(|| call.state.affected.find(vmid)) {
        Some(guest) => text.push_str(&guest),
        None => {
            text.push_str("guest ");
            push_quoted(text, given, MAX_HEADLINE_CHARS);
        }
    }
}

/// Describes a guest, without its state if an earlier call of the list has said it.
fn describe_guest(call: &CallDescription<'_>, guest: &GuestState<'_>) -> String {
    if call.is_guest_described { guest.label() } else { guest.describe() }
}

/// Returns the guest that `{guest}` in a phrase means, as the call names it.
fn guest_of_phrase<'c>(call: &'c CallDescription<'_>) -> &'c str {
    let of_parameter = || call.params.iter().find(|(given, _)| *given == "vmid").map_or("", |(_, value)| value);
    match (path_value(call, "vmid"), path_value(call, "sid")) {
        ("", "") => of_parameter(),
        ("", resource) => resource,
        (vmid, _) => vmid,
    }
}

/// Returns the number of a guest. (PVE: the id of an HA resource is `vm:100`, `ct:100` or `100`.)
fn number_of(guest: &str) -> &str {
    guest.split_once(':').map_or(guest, |(_, vmid)| vmid)
}

/// Returns whether the first line describes this guest.
fn is_in_headline(call: &CallDescription<'_>, guest: &GuestState<'_>) -> bool {
    let phrase = call.effect.map_or("", |effect| effect.phrase);
    (phrase.contains("{guest}") && number_of(guest_of_phrase(call)) == guest.vmid) || phrase.contains("{guests}")
}

fn path_value<'c>(call: &'c CallDescription<'_>, name: &str) -> &'c str {
    call.path_values.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value)
}

/// Appends the summary of an operation without a phrase, and its object.
fn push_summary(text: &mut String, call: &CallDescription<'_>) {
    match call.summary {
        "" => text.push_str("An operation that this program does not know"),
        summary => text.push_str(summary),
    }
    let guest = call.state.guest.as_ref().filter(|_| has_guest_path(call));
    let is_object = |name: &str| guest.is_none() || !matches!(name, "node" | "vmid");
    let mut separator = ": ";
    if let Some(guest) = guest {
        let _ = write!(text, "{separator}{}", describe_guest(call, guest));
        separator = ", ";
    }
    for (name, value) in call.path_values.iter().filter(|(name, _)| is_object(name)) {
        let _ = write!(text, "{separator}{name} {}", quote(value, MAX_HEADLINE_CHARS));
        separator = ", ";
    }
}

fn has_guest_path(call: &CallDescription<'_>) -> bool {
    call.path_values.iter().any(|(name, _)| name == "vmid")
}

/// Appends as many whole lines of the facts as the limit allows, so that no object can make its own question too long.
fn push_limited_facts(text: &mut String, call: &CallDescription<'_>) {
    let mut facts = String::new();
    push_facts(&mut facts, call);
    if facts.len() <= MAX_FACT_BYTES {
        return text.push_str(&facts);
    }
    let start = &facts[..facts.floor_char_boundary(MAX_FACT_BYTES)];
    text.push_str(start.rfind('\n').map_or("", |end| &start[..=end]));
    text.push_str("Further facts are left out: they are too long.\n");
}

/// Appends the facts about the object, and the other guests that the call affects.
fn push_facts(text: &mut String, call: &CallDescription<'_>) {
    let ObjectState { guest, options, snapshots, restored, volume_use, backups, network_changes, affected, .. } =
        call.state;
    let (made_by, changed_by) = (call.state.made_by, &call.state.changed_by);
    if let Some(guest) = guest {
        if !has_guest_path(call) && !is_in_headline(call, guest) {
            let _ = writeln!(text, "It concerns {}.", describe_guest(call, guest));
        }
        if !call.is_guest_described {
            guest.push_details(text, call.fails_while_locked);
        }
    }
    match (made_by, guest) {
        // The name of the guest says so already.
        (Some(_), Some(guest)) if guest.made_by.is_some() => {}
        (Some(number), _) => drop(writeln!(text, "The {} is made by call {number}.", name_object_kind(call.path))),
        (None, _) => {}
    }
    for fact in call.facts {
        match (fact, options, snapshots, backups, network_changes) {
            (Fact::Disks, Some(options), ..) => object_state::push_disks(text, options),
            (Fact::OptionNamedBy(parameter), Some(options), ..) => {
                if let Some((_, name)) = call.params.iter().find(|(given, _)| given == parameter) {
                    object_state::push_option(text, name, options);
                    push_new_size(text, call, options.as_ref().ok().and_then(|options| options.get(name)));
                }
            }
            (Fact::Object, Some(options), ..) if call.method == Method::Delete => {
                object_state::push_options(text, options, call.state.utc_offset);
            }
            (Fact::Snapshots, _, Some(snapshots), ..) => object_state::push_snapshots(text, snapshots),
            (Fact::Snapshot, _, Some(snapshots), ..) => {
                let starts = call.params.iter().any(|(name, value)| name == "start" && value == "1");
                let wanted_by_ha = guest.as_ref().and_then(GuestState::wanted_by_ha);
                let rollback = (call.method == Method::Post).then_some(RollbackPower { starts, wanted_by_ha });
                let name = path_value(call, "snapname");
                object_state::push_snapshot(text, name, snapshots, rollback, call.state.utc_offset);
            }
            (Fact::RestoredOptions, ..) => {
                match restored {
                    Some(configs) => object_state::push_restored_options(text, configs),
                    None if made_by.is_some() => {}
                    None => text.push_str("Its configuration goes back too: what differs can't be read.\n"),
                }
                object_state::push_lost_changes(text, &call.state.pending);
            }
            (Fact::VolumeUse, ..) => {
                if let (Some(name), Some(guest)) = (volume_use, guest) {
                    let _ = writeln!(text, "The volume is {} of {}.", quote_word(name), describe_guest(call, guest));
                }
                for drive in call.state.drives.iter().take(object_state::MAX_ITEMS) {
                    let _ = writeln!(text, "The volume is {drive}.");
                }
                object_state::push_more(text, call.state.drives.len(), "It is also in {} more drives.\n");
            }
            (Fact::LocalDisks, ..) if !call.state.local_disks.is_empty() => {
                let disks = call.state.local_disks.iter().take(object_state::MAX_ITEMS);
                let disks: Vec<String> = disks.map(|disk| quote_word(disk)).collect();
                let _ = write!(
                    text,
                    "It has local disks, for which Proxmox demands with-local-disks: {}",
                    disks.join(", ")
                );
                object_state::push_more(text, call.state.local_disks.len(), " and {} more");
                text.push_str(".\n");
            }
            (Fact::JobGuests, ..) => {
                call.state.job_guests.iter().for_each(|guests| object_state::push_job_guests(text, guests));
            }
            (Fact::StorageUse, ..) => {
                call.state.storage_use.iter().for_each(|found| object_state::push_storage_use(text, found));
            }
            (Fact::Pools, ..) => {
                for (guest, pool) in call.state.left_pools.iter().take(object_state::MAX_ITEMS) {
                    let _ = writeln!(text, "Guest {} leaves pool {}.", guest.vmid, quote_word(pool));
                }
                object_state::push_more(text, call.state.left_pools.len(), "{} more leave their pools.\n");
            }
            (Fact::Jobs, ..) => {
                let purges = call.params.iter().any(|(name, value)| name == "purge" && value == "1");
                let is_in_ha = guest.as_ref().is_some_and(GuestState::is_in_ha);
                let jobs = call.state.guest_jobs.iter();
                jobs.for_each(|jobs| object_state::push_guest_jobs(text, jobs, purges, is_in_ha));
                let pool = guest.as_ref().and_then(|guest| guest.listed).map_or("", |listed| &listed.pool);
                if !pool.is_empty() {
                    let _ = writeln!(text, "It leaves pool {}.", quote_word(pool));
                }
            }
            (Fact::Backups, ..) => object_state::push_guest_backups(text, call.state.guest_backups),
            (Fact::PrunedBackups, _, _, Some(backups), _) => {
                object_state::push_pruned_backups(text, "Now it removes", backups, &call.state.pruned_owners);
            }
            (Fact::BackupsBeyondLimit, _, _, Some(backups), _) => {
                object_state::push_pruned_backups(
                    text,
                    "Of those there are now, it then removes",
                    backups,
                    &call.state.pruned_owners,
                );
            }
            (Fact::PendingNetwork, .., Some(changes)) => {
                object_state::push_network_changes(text, changes, changed_by);
            }
            _ => {}
        }
    }
    if let Some(guest) = guest {
        push_ha_request(text, call, guest);
    }
    let placement = call.state.placement.iter().chain(&call.state.job_storage);
    let notes = call.state.storage_notes.iter().chain(&call.state.node_limits).chain(&call.state.missing_effect);
    for sentence in placement.chain(notes) {
        let (first, rest) = sentence.split_at(1);
        let _ = writeln!(text, "{}{rest}.", first.to_uppercase());
    }
    if let Some(remark) = call.effect.map(|effect| effect.remark).filter(|remark| !remark.is_empty()) {
        let _ = writeln!(text, "{remark}");
    }
    affected.push(text);
}

/// Appends what the HA manager does with a guest that it gets, or has and is asked to start, if that changes the power
/// of the guest.
fn push_ha_request(text: &mut String, call: &CallDescription<'_>, guest: &GuestState<'_>) {
    // (PVE: the start of a managed guest sets its requested state.)
    let is_start = call.method == Method::Post && has_guest_path(call) && call.path.ends_with("/status/start");
    if is_start && guest.wanted_by_ha() == Some(false) {
        text.push_str("The start sets its state in HA to started, so HA starts it and keeps it running.\n");
    }
    if call.method != Method::Post || call.path != "/cluster/ha/resources" || !guest.is_read() {
        return;
    }
    let state = call.params.get("state");
    match state {
        None if !guest.is_running() => text.push_str("HA starts it: the state is started by default.\n"),
        Some(state) if is_start_state(state) && !guest.is_running() => {
            let _ = writeln!(text, "HA starts it: the state is {state}.");
        }
        Some(state @ ("stopped" | "disabled")) if guest.is_running() => {
            let _ = writeln!(text, "HA shuts it down: the state is {state}.");
        }
        _ => {}
    }
}

/// Returns the kind of the object at a path, in words.
fn name_object_kind(path: &str) -> &'static str {
    const KINDS: [(&str, &str); 19] = [
        ("/snapshot/", "snapshot"),
        ("/firewall/rules", "firewall rule"),
        ("/firewall/aliases", "firewall alias"),
        ("/firewall/ipset", "IP set"),
        ("/firewall/groups", "security group"),
        ("/cluster/ha/resources", "HA resource"),
        ("/cluster/ha/rules", "HA rule"),
        ("/cluster/ha/groups", "HA group"),
        ("/cluster/backup", "backup job"),
        ("/cluster/replication", "replication job"),
        ("/cluster/sdn/vnets", "virtual network"),
        ("/cluster/sdn/zones", "zone"),
        ("/token/", "API token"),
        ("/access/users", "user"),
        ("/access/groups", "group"),
        ("/access/roles", "role"),
        ("/pools", "pool"),
        ("/network/", "network interface"),
        ("/content/", "volume"),
    ];
    let is_storage = path.starts_with("/storage/");
    let kind = KINDS.iter().find(|(part, _)| path.contains(part)).map(|(_, kind)| *kind);
    kind.unwrap_or(if is_storage { "storage" } else { "object" })
}

/// Appends the size that a disk will have, if the call gives the difference.
fn push_new_size(text: &mut String, call: &CallDescription<'_>, disk: Option<&Value>) {
    let added = call.params.get("size").and_then(|size| size.strip_prefix('+'));
    let now = disk.and_then(Value::as_str).and_then(|disk| find_part(disk, "size"));
    if let (Some(added), Some(now)) = (added.and_then(parse_disk_size), now.and_then(parse_disk_size)) {
        text.push_str("It will have ");
        push_byte_size(text, now + added);
        text.push_str(".\n");
    }
}

/// Appends a line for each option that the call changes, with its present value.
fn push_changes(text: &mut String, call: &CallDescription<'_>) {
    let Some(now) = present_values(call) else { return };
    for name in distinct_names(call).into_iter().filter(|name| names_an_option(name)) {
        let (mut values, mut sent) = show_sent(call, name);
        if let [value] = values.as_slice()
            && let after = find_value_after(call.params, name, value, now.get(name))
            && after != *value
        {
            sent.clear();
            push_value(&mut sent, &after);
            values = vec![after.into()];
        }
        text.push_str("  ");
        push_value(text, name);
        push_change(text, name, now.get(name), &values, &sent, call.state.utc_offset);
        if !is_hidden(call, name) {
            push_decoded(text, "    in base64: ", &values);
        }
    }
    push_removed_options(text, call, now);
    if call.facts.contains(&Fact::AddressFamilies) {
        push_family_changes(text, now, call.params);
    }
}

/// Appends the line of the request: `DELETE /nodes/pve2/qemu/106 purge=1`. It has all parameters but those of the changes
/// above it.
fn push_request(text: &mut String, call: &CallDescription<'_>) {
    let (mut decoded, changes_options) = (String::new(), present_values(call).is_some());
    let is_above = |name: &str| changes_options && (name == "delete" || names_an_option(name));
    let _ = write!(text, "{} {}", call.method, call.path);
    for name in distinct_names(call) {
        if is_above(name) {
            continue;
        }
        let (values, sent) = show_sent(call, name);
        text.push(' ');
        match name.contains('=') {
            true => push_quoted(text, name, usize::MAX),
            false => push_value(text, name),
        }
        let _ = write!(text, "={sent}");
        if !is_hidden(call, name) {
            push_decoded(&mut decoded, &format!("  {} in base64: ", quote_word(name)), &values);
        }
    }
    text.push_str(if call.params.names().any(is_above) { " with the values above\n" } else { "\n" });
    text.push_str(&decoded);
}

/// Returns the names of the parameters, each once.
fn distinct_names<'c>(call: &'c CallDescription<'_>) -> Vec<&'c str> {
    let mut names: Vec<&str> = Vec::new();
    for name in call.params.names() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Returns the values of a parameter without secrets, and as a text.
fn show_sent<'c>(call: &'c CallDescription<'_>, name: &str) -> (Vec<Cow<'c, str>>, String) {
    let given = call.params.iter().filter(|(given, _)| *given == name);
    let values: Vec<Cow<'_, str>> = given
        .map(|(_, value)| match name {
            // A person reads the text that the command gets, and not the form in which the node takes it.
            "input-data" => decode_twice_encoded(value),
            _ => hide_secret(name, secret_part(call, name), value),
        })
        .collect();
    let mut sent = String::new();
    match values.as_slice() {
        [value] if is_hidden(call, name) => sent.push_str(value),
        [value] => {
            push_value(&mut sent, value);
            if let Some(seconds) = object_state::find_time(name, &Value::from(value.as_ref())) {
                let _ = write!(sent, " ({})", format_local_time(seconds, call.state.utc_offset));
            }
        }
        values => {
            let quoted: Vec<String> = values.iter().map(|value| quote(value, usize::MAX)).collect();
            let _ = write!(sent, "[{}]", quoted.join(", "));
        }
    }
    (values, sent)
}

/// Appends what values, or the parts of property strings, are the base64 of: the content of a file, or the body of a
/// webhook. No person reads base64.
fn push_decoded(text: &mut String, heading: &str, values: &[Cow<'_, str>]) {
    let parts =
        values.iter().flat_map(|value| value.split(',')).map(|part| part.strip_prefix("value=").unwrap_or(part));
    for decoded in parts.filter(|part| part.len() >= MIN_DECODED_LEN).filter_map(decode_text) {
        text.push_str(heading);
        push_value(text, &decoded);
        text.push('\n');
    }
}

/// Returns the present values of the options that the call changes.
fn present_values<'c>(call: &'c CallDescription<'_>) -> Option<&'c Map<String, Value>> {
    let is_change = matches!(call.method, Method::Put | Method::Post) && call.facts.contains(&Fact::Object);
    call.state.options.as_ref().filter(|_| is_change)?.as_ref().ok()
}

/// Returns whether a parameter is an option of the object, instead of one of the call alone.
pub(crate) fn names_an_option(name: &str) -> bool {
    const OF_THE_CALL: [&str; 10] = [
        "allow-move",
        "append",
        "background_delay",
        "delete",
        "digest",
        "force",
        "import-working-storage",
        "lock-token",
        "revert",
        "skiplock",
    ];
    !OF_THE_CALL.contains(&name)
}

/// Returns the value that an option has after a call. (PVE: `append` adds to the groups of a user, and to the privileges
/// of a role.)
pub(crate) fn find_value_after(params: &ApiParams, name: &str, value: &str, now: Option<&Value>) -> String {
    let is_added =
        params.iter().any(|(given, on)| given == "append" && on != "0") && matches!(name, "groups" | "privs");
    let Some(now) = now.filter(|now| is_added && !now.is_null()) else { return value.to_owned() };
    let now = to_text(now);
    let mut items: Vec<&str> = list_items(&now).collect();
    for item in list_items(value) {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    items.join(",")
}

/// Appends `: old → new`, and the parts of the old value that the new one lacks.
fn push_change(text: &mut String, name: &str, old: Option<&Value>, new: &[Cow<'_, str>], sent: &str, utc_offset: i32) {
    let Some(old) = old.filter(|old| !old.is_null()) else {
        return text.push_str(&format!(": not set → {sent}\n"));
    };
    let plain = to_text(old);
    if *new == [plain.as_str()] {
        return text.push_str(&format!(": {sent}, as it is now\n"));
    }
    let _ = write!(text, ": {} → {sent}", show_option(name, old, utc_offset));
    if let [new] = new {
        let lost = find_lost_parts(&plain, new);
        if !lost.is_empty() {
            let _ = write!(text, " (without {})", show_cluster_value(name, &lost.join(",").into()));
        }
        if is_other_volume(name, &plain, new) {
            text.push_str(" (another volume: the old one is taken off the guest and kept as unused)");
        }
    }
    text.push('\n');
}

/// Returns whether a disk of a guest gets another volume. (PVE: `unused0` keeps the old one, unless it is a medium.)
fn is_other_volume(name: &str, old: &str, new: &str) -> bool {
    let volume = |value: &str| value.split(',').next().unwrap_or_default().trim_start_matches("file=").to_owned();
    has_disk_name(name)
        && !name.starts_with("unused")
        && volume(old).contains(':')
        && !old.contains("media=cdrom")
        && volume(old) != volume(new)
}

/// Returns the `key=value` parts of a property string whose key the new one lacks.
fn find_lost_parts<'o>(old: &'o str, new: &str) -> Vec<&'o str> {
    let has_key = |key: &str| new.split(',').any(|part| part.split_once('=').is_some_and(|(given, _)| given == key));
    let is_property_string = |text: &str| text.contains(',') && text.contains('=');
    if !is_property_string(old) || !(new.contains(',') || new.contains('=')) {
        return Vec::new();
    }
    old.split(',').filter(|part| part.split_once('=').is_some_and(|(key, _)| !has_key(key))).collect()
}

/// Returns whether every value that the call gives or deletes is as it is now, as far as known.
fn sets_only_what_is_set(call: &CallDescription<'_>) -> bool {
    // (PVE: a change of an interface resets what it does not give.)
    let Some(now) = present_values(call).filter(|_| !call.facts.contains(&Fact::AddressFamilies)) else { return false };
    let is_as_now = |(name, value): (&str, &str)| match (name, now.get(name)) {
        ("digest", _) => true,
        ("delete", _) => list_items(value).all(|name| !now.contains_key(name)),
        // What is shown of a secret is not its value.
        (name, _) if !names_an_option(name) || secret_part(call, name) != SecretPart::None => false,
        (name, Some(now)) => to_text(now) == find_value_after(call.params, name, value, Some(now)),
        (_, None) => false,
    };
    call.params.names().any(|name| name != "digest") && call.params.iter().all(is_as_now)
}

/// Appends a line for each option that the call unsets.
fn push_removed_options(text: &mut String, call: &CallDescription<'_>, now: &Map<String, Value>) {
    for (_, names) in call.params.iter().filter(|(name, _)| *name == "delete") {
        for name in list_items(names) {
            text.push_str("  ");
            push_value(text, name);
            match now.get(name) {
                Some(value) => {
                    let _ = writeln!(text, ": {} → not set", show_option(name, value, call.state.utc_offset));
                }
                None => text.push_str(": not set, as it is now\n"),
            }
        }
    }
}

fn is_hidden(call: &CallDescription<'_>, name: &str) -> bool {
    secret_part(call, name) == SecretPart::Whole
}

fn secret_part(call: &CallDescription<'_>, name: &str) -> SecretPart {
    call.secrets.iter().find(|(secret, _)| secret == name).map_or(SecretPart::None, |(_, part)| *part)
}

/// Returns a value that is sent, with the length of its secret instead of the secret.
pub fn hide_secret<'v>(name: &str, part: SecretPart, value: &'v str) -> Cow<'v, str> {
    match part {
        SecretPart::None => Cow::Borrowed(value),
        SecretPart::Whole => Cow::Owned(describe_secret(name, value)),
        // (PVE: the value of a key ends at the next comma.)
        SecretPart::Key(key) => {
            let parts = value.split(',').map(|part| match part.split_once('=') {
                Some((given, secret)) if given == key => format!("{key}={}", describe_secret(key, secret)),
                _ => part.to_owned(),
            });
            Cow::Owned(parts.collect::<Vec<_>>().join(","))
        }
    }
}

/// Returns the kind and the length of a secret: `(password, 12 characters)`.
fn describe_secret(name: &str, value: &str) -> String {
    let kind = if name.contains("pass") { "password" } else { "secret" };
    format!("({kind}, {} characters)", value.chars().count())
}
