//! Dry runs, and questions for the user who confirms a call.

use super::table::push_single_line;
use super::units::push_byte_size;
use crate::policy::{Risk, RiskReason};
use crate::pve::guests::Guest;
use crate::pve::params::ApiParams;
use crate::sanitize;
use std::fmt::Write;

/// The most guests that a question shows.
const MAX_GUESTS: usize = 8;

/// A call, as it is described to a model or a user.
pub struct CallDescription<'a> {
    /// Method and path.
    pub operation: String,
    pub cluster: &'a str,
    pub params: &'a ApiParams,
    /// Empty if the operation is unknown.
    pub summary: &'a str,
    pub privileges: &'a str,
    pub risk: Risk,
    /// The reason for the risk of the operation, or empty.
    pub risk_reason: &'a str,
    /// What the parameters add to the risk.
    pub risk_reasons: &'a [RiskReason],
}

/// The guests that a call affects.
pub enum AffectedText<'a> {
    None,
    Guests(Vec<&'a Guest>),
    /// The reason why the guests are not known.
    Unknown(String),
}

/// Describes what would be sent, and the risk.
pub fn describe_dry_run(call: &CallDescription<'_>, needs_confirmation: bool) -> String {
    let CallDescription { operation, cluster, .. } = call;
    let mut text = format!("Nothing was sent. This would be: {operation} on cluster {cluster}\n");
    push_explanation(&mut text, call, &|text, value| {
        push_single_line(text, value);
    });
    text.push_str("Only Proxmox knows whether names and values fit.\n");
    if needs_confirmation {
        text.push_str("It has to be confirmed before it is sent.\n");
    }
    text
}

/// Builds the question whether a call is to be sent.
pub fn build_question(call: &CallDescription<'_>, affected: AffectedText<'_>) -> String {
    let mut text = format!("{} on cluster {}\n", call.operation, call.cluster);
    push_explanation(&mut text, call, &push_full_value);
    match affected {
        AffectedText::None => {}
        AffectedText::Unknown(reason) => {
            let _ = writeln!(text, "The affected guests are not known: {}", sanitize::redact_text(&reason));
        }
        AffectedText::Guests(guests) => {
            guests.iter().take(MAX_GUESTS).for_each(|guest| push_guest(&mut text, guest));
            if let Some(more @ 1..) = guests.len().checked_sub(MAX_GUESTS) {
                let _ = writeln!(text, "and {more} guests more");
            }
        }
    }
    text
}

/// Renders the question for a client that can't ask its user: the model asks, and repeats the call with the code.
pub fn describe_confirmation(question: &str, code: &str, minutes: u64) -> String {
    format!(
        "Not sent yet: this has to be confirmed.\n{question}\nIf the user wants exactly this, make the same call again \
         within {minutes} minutes, with confirm: \"{code}\". The code is valid once"
    )
}

fn push_guest(text: &mut String, guest: &Guest) {
    let _ = write!(text, "Guest {} `", guest.vmid);
    push_single_line(text, &sanitize::redact_text(&guest.name));
    let state = match (guest.status.as_str(), guest.node.as_str()) {
        ("", "") => "status unknown, node unknown".to_owned(),
        (status, "") => format!("{status}, node unknown"),
        ("", node) => format!("status unknown, on {node}"),
        (status, node) => format!("{status} on {node}"),
    };
    let state = format!("`, {}, {state}", guest.kind.as_str());
    push_single_line(text, &sanitize::redact_text(&state));
    for (name, bytes) in [("memory", guest.maxmem), ("first disk", guest.maxdisk)] {
        if let Some(bytes) = bytes {
            let _ = write!(text, ", {name} ");
            push_byte_size(text, bytes as f64);
        }
    }
    text.push('\n');
}

/// Appends the parameters, the summary, the risk and the privileges. `push_value` keeps each value on its line.
fn push_explanation(text: &mut String, call: &CallDescription<'_>, push_value: &dyn Fn(&mut String, &str)) {
    for (name, value) in call.params.iter() {
        let _ = write!(text, "  {name} = ");
        push_value(text, &sanitize::redact_parameter(name, value));
        text.push('\n');
    }
    match call.summary {
        "" => text.push_str("Neither this program nor the cluster describes this operation.\n"),
        summary => drop(writeln!(text, "It is: {summary}")),
    }
    let _ = write!(text, "Risk: {}", call.risk);
    let reasons: Vec<String> =
        call.risk_reasons.iter().map(|one| format!("{}: {}", one.parameter, one.reason)).collect();
    match (call.risk_reason, &reasons[..]) {
        ("", []) => {}
        ("", reasons) => drop(write!(text, " ({})", reasons.join("; "))),
        (operation, []) => drop(write!(text, " ({operation})")),
        (operation, reasons) => drop(write!(text, " ({operation}; {})", reasons.join("; "))),
    }
    if !call.privileges.is_empty() {
        let _ = write!(text, "; needs {}", call.privileges);
    }
    text.push_str(".\n");
}

/// Appends a whole value on one line. Spaces and line ends can't hide a part of it from the user who confirms it.
fn push_full_value(text: &mut String, value: &str) {
    let mut spaces = 0;
    for c in value.chars().chain(['\0']) {
        if c == ' ' {
            spaces += 1;
            continue;
        }
        match std::mem::take(&mut spaces) {
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
