//! The messages and statuses by which Proxmox reports a failure, as a table: a pattern, its meaning and the next step.
//!
//! An error response is classified once, where it is parsed. The result is kept in the error as a [`Diagnosis`], and
//! callers match on its [`Meaning`].
//!
//! To add a message, add a row to `TABLE`, a line to `CASES` of the test below, and a case from the field
//! (`CONTRIBUTING.md`).

use self::Pattern::{Anything, Contains, Encloses, StartsWith};
use std::ops::RangeInclusive;

/// Meaning of a failure that Proxmox reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meaning {
    /// The cluster has no node of that name.
    UnknownNode,
    /// The node that was asked cannot connect to the node concerned (595).
    NodeUnreachable,
    /// The connection between the two nodes broke, or no node has that name (596).
    NodeLostOrUnknown,
    /// The connection between the two nodes broke (597 to 599).
    NodeLost,
    /// The node has no configuration of this guest.
    MissingGuestConfig,
    /// The object was changed after the caller read it.
    DigestMismatch,
    /// The node does not know this task, or no longer.
    UnknownTask,
    /// The operation is open to a login with a password only, never to an API token.
    TicketRequired,
    /// The node does not have this operation.
    UnknownOperation,
    /// The parameters are wrong.
    InvalidParameters,
    /// The node answers with a redirect.
    Redirected,
    /// The node is overloaded or restarting.
    Unavailable,
    /// No row of the table matches.
    #[default]
    Unclassified,
}

/// Meaning of a failure, and the next step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    pub meaning: Meaning,
    /// The next step for the caller, if the table has one.
    pub hint: Option<&'static str>,
}

enum Pattern {
    Anything,
    StartsWith(&'static str),
    Contains(&'static str),
    /// Starts with the first text and ends with the second.
    Encloses(&'static str, &'static str),
}

impl Pattern {
    fn matches(&self, message: &str) -> bool {
        match self {
            Pattern::Anything => true,
            Pattern::StartsWith(start) => message.starts_with(start),
            Pattern::Contains(part) => message.contains(part),
            Pattern::Encloses(start, end) => message.starts_with(start) && message.ends_with(end),
        }
    }
}

struct Row {
    statuses: RangeInclusive<u16>,
    message: Pattern,
    meaning: Meaning,
    hint: Option<&'static str>,
}

const fn row(statuses: RangeInclusive<u16>, message: Pattern, meaning: Meaning, hint: Option<&'static str>) -> Row {
    Row { statuses, message, meaning, hint }
}

const ANY: RangeInclusive<u16> = 0..=u16::MAX;

/// The first row that matches counts: messages come before statuses.
#[rustfmt::skip]
static TABLE: &[Row] = &[
    row(ANY, StartsWith("hostname lookup"), Meaning::UnknownNode, Some("no node of that name exists: GET /nodes lists the nodes")),
    row(ANY, Encloses("Configuration file", "does not exist"), Meaning::MissingGuestConfig, Some("no such guest exists on that node: GET /cluster/resources?type=vm shows where each guest is")),
    row(ANY, StartsWith("checksum mismatch"), Meaning::DigestMismatch, Some("the object was changed in the meantime: read it again and use the new `digest`")),
    row(ANY, Contains("no such task"), Meaning::UnknownTask, None),
    row(403..=403, Contains("ticket"), Meaning::TicketRequired, None),
    row(300..=399, Anything, Meaning::Redirected, Some("a redirect is not followed: check the address in clusters.json")),
    row(400..=400, Anything, Meaning::InvalidParameters, Some("correct the parameters and call again")),
    row(404..=404, Anything, Meaning::UnknownOperation, Some(NO_OPERATION)),
    row(501..=501, Anything, Meaning::UnknownOperation, Some(NO_OPERATION)),
    row(503..=503, Anything, Meaning::Unavailable, Some("the node is overloaded or restarting: try again in a moment")),
    row(595..=595, Anything, Meaning::NodeUnreachable, Some("the node asked cannot reach the node concerned, which is down or cut off from it")),
    row(596..=596, Anything, Meaning::NodeLostOrUnknown, Some("the connection from the node asked to the node concerned broke, or no node of that name exists: names are case-sensitive, GET /nodes lists them")),
    row(597..=597, Anything, Meaning::NodeLost, Some(NODE_LOST)),
    row(598..=598, Anything, Meaning::NodeLost, None),
    row(599..=599, Anything, Meaning::NodeLost, Some(NODE_LOST)),
];

const NO_OPERATION: &str = "the node has no such operation: its version may lack it, or the component is not installed. \
                            search_api finds others";
const NODE_LOST: &str = "the connection from the node asked to the node concerned broke: try again, or ask that node";

/// Returns the meaning of an error response with this status and message.
pub(in crate::pve) fn classify(status: u16, message: &str) -> Diagnosis {
    TABLE
        .iter()
        .find(|row| row.statuses.contains(&status) && row.message.matches(message))
        .map_or_else(Diagnosis::default, |row| Diagnosis { meaning: row.meaning, hint: row.hint })
}

/// Privileges that the API token lacks, as named by Proxmox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPrivilege {
    /// The path of the access control list; empty if Proxmox did not name it.
    pub acl_path: String,
    /// The privilege, or several separated by `|`, each of which suffices.
    pub privileges: String,
}

impl MissingPrivilege {
    /// Parses `Permission check failed (/vms/100, VM.Audit)`.
    pub(in crate::pve) fn parse(message: &str) -> Option<Self> {
        let inner = message.strip_prefix("Permission check failed (")?.strip_suffix(')')?;
        let (path, privileges) = inner.split_once(", ")?;
        let plausible =
            (path.is_empty() || path.starts_with('/')) && privileges.contains('.') && !privileges.contains(' ');
        plausible.then(|| Self { acl_path: path.to_owned(), privileges: privileges.to_owned() })
    }
}

/// Returns whether a node sends this line in place of a task log that is not written yet.
pub(in crate::pve) fn is_log_placeholder(line: &str) -> bool {
    line == "no content" || line.starts_with("unable to open file")
}

/// Returns whether this exit status is that of a task that was asked to stop (PVE: its worker dies of SIGTERM).
pub(in crate::pve) fn is_interruption(exit_status: &str) -> bool {
    matches!(exit_status, "received interrupt" | "interrupted by signal")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status and message as a node sends them, their meaning, and a part of the next step.
    #[rustfmt::skip]
    const CASES: &[(u16, &str, Meaning, &str)] = &[
        (500, "hostname lookup 'pve9' failed - failed to get address info for: pve9", Meaning::UnknownNode, "GET /nodes"),
        (500, "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist", Meaning::MissingGuestConfig, "type=vm"),
        (500, "Configuration file 'x' is locked", Meaning::Unclassified, ""),
        (500, "checksum mismatch (file change by other user?)", Meaning::DigestMismatch, "`digest`"),
        (500, "no such task", Meaning::UnknownTask, ""),
        (400, "unable to use worker upid - no such task", Meaning::UnknownTask, ""),
        (403, "URI '/access/ticket' not available with API token, need proper ticket.", Meaning::TicketRequired, ""),
        (403, "Permission check failed (/vms/100, VM.Audit)", Meaning::Unclassified, ""),
        (500, "no ticket", Meaning::Unclassified, ""),
        (301, "Moved Permanently", Meaning::Redirected, "address"),
        (400, "Parameter verification failed.", Meaning::InvalidParameters, "correct"),
        (404, "", Meaning::UnknownOperation, "search_api"),
        (501, "Method 'GET /nope' not implemented", Meaning::UnknownOperation, "search_api"),
        (503, "", Meaning::Unavailable, "try again"),
        (595, "Connection refused", Meaning::NodeUnreachable, "down or cut off"),
        (596, "Connection timed out", Meaning::NodeLostOrUnknown, "case-sensitive"),
        (597, "Broken pipe", Meaning::NodeLost, "try again"),
        (598, "", Meaning::NodeLost, ""),
        (599, "Too many redirections", Meaning::NodeLost, "try again"),
        (500, "VM is locked (backup)", Meaning::Unclassified, ""),
        (999, "", Meaning::Unclassified, ""),
    ];

    #[test]
    fn every_message_has_its_meaning_and_next_step() {
        for (status, message, meaning, hint) in CASES {
            let found = classify(*status, message);
            assert_eq!(found.meaning, *meaning, "{status} {message}");
            assert!(found.hint.unwrap_or_default().contains(hint), "{status} {message}: {found:?}");
            assert_eq!(found.hint.is_none(), hint.is_empty(), "{status} {message}: {found:?}");
        }
    }

    #[test]
    fn every_row_is_reached_by_a_case() {
        for (index, row) in TABLE.iter().enumerate() {
            let is_first = |(status, message, ..): &&(u16, &str, Meaning, &str)| {
                TABLE.iter().position(|r| r.statuses.contains(status) && r.message.matches(message)) == Some(index)
            };
            assert!(CASES.iter().any(|case| is_first(&case)), "row {index}: {:?}", row.meaning);
        }
    }

    #[test]
    fn the_missing_privilege_is_read_if_proxmox_names_it() {
        let parse = |message| MissingPrivilege::parse(message).map(|missing| (missing.acl_path, missing.privileges));
        let pair = |path: &str, privileges: &str| Some((path.to_owned(), privileges.to_owned()));
        assert_eq!(
            parse("Permission check failed (/vms/100, VM.Audit|VM.Config)"),
            pair("/vms/100", "VM.Audit|VM.Config")
        );
        assert_eq!(parse("Permission check failed (, Sys.Audit)"), pair("", "Sys.Audit"));
        for other in ["Permission check failed", "Permission check failed (user != root@pam)", "x (/, Sys.Audit)"] {
            assert_eq!(parse(other), None);
        }
    }
}
