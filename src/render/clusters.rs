//! The table of the clusters.

use super::cluster_errors::ReadFailure;
use super::list::{ListForm, RenderedList};
use super::table::{ListTable, SortKey, to_json_text};
use crate::config::ClusterConfig;
use crate::pve::client::address_check::{AddressCheck, AddressState};
use crate::pve::error::PveError;
use std::borrow::Cow;
use std::collections::HashMap;

const COLUMNS: [&str; 11] =
    ["name", "nodes", "token", "tls", "default", "access", "status", "version", "online", "addresses", "error"];

/// A cluster for the table. It has only what the table shows.
pub struct ClusterEntry<'a> {
    pub name: &'a str,
    /// The addresses, separated by commas.
    pub nodes: String,
    /// The user and the name of the API token.
    pub token: String,
    pub tls: &'a str,
    pub is_default: bool,
    /// `None` where the cluster was not asked.
    pub check: Option<ClusterCheck>,
}

impl<'a> ClusterEntry<'a> {
    pub fn new(settings: &'a ClusterConfig, is_default: bool, check: Option<ClusterCheck>) -> Self {
        let addresses: Vec<String> = settings.endpoints.iter().map(ToString::to_string).collect();
        Self {
            name: &settings.name,
            nodes: addresses.join(","),
            token: format!("{}!{}", settings.user, settings.token_id),
            tls: settings.tls_mode(),
            is_default,
            check,
        }
    }
}

/// The result of a check.
pub struct ClusterCheck {
    /// What the caller may do, by the rules of this server.
    pub access: String,
    /// Each address of a cluster with several, and whether it answers.
    pub addresses: Vec<String>,
    pub health: Result<ClusterHealth, ReadFailure>,
}

/// The state of a cluster that answers.
pub struct ClusterHealth {
    pub version: String,
    pub online_nodes: usize,
    pub nodes: usize,
    /// False for a token that sees and may do nothing.
    pub has_privileges: bool,
}

/// Describes the answer of one address.
pub fn describe_address(check: &AddressCheck) -> String {
    let AddressCheck { address, state } = check;
    match state {
        AddressState::Answers(_) => format!("{address} answers"),
        AddressState::OtherCluster(identity) => format!("{address} is of another cluster ({identity})"),
        AddressState::Fails(PveError::ConnectionFailed { attempts }) => {
            let causes: Vec<String> = attempts.iter().map(|attempt| attempt.cause.to_string()).collect();
            format!("{address} fails: {}", causes.join(", "))
        }
        AddressState::Fails(error) => format!("{address} fails: {error}"),
    }
}

/// (PVE: a token without privileges still reads the version and the names of the nodes.)
const NO_PRIVILEGES: &str = "the API token has no privilege on any path: with privilege separation, the default, a token \
                             needs an ACL entry of its own beside its user's";

/// Renders the clusters, in their order.
pub fn render_clusters<'a>(entries: impl Iterator<Item = ClusterEntry<'a>>, form: ListForm) -> RenderedList {
    let mut table = ListTable::new(&COLUMNS);
    let mut first_of: HashMap<String, &str> = HashMap::new();
    for ClusterEntry { name, nodes, token, tls, is_default, check } in entries {
        let mut row = vec![
            Some(to_json_text(name)),
            Some(to_json_text(&nodes)),
            Some(to_json_text(&token)),
            Some(to_json_text(tls)),
            is_default.then_some(Cow::Borrowed("true")),
        ];
        if let Some(ClusterCheck { access, addresses, health }) = check {
            row.push(Some(to_json_text(&access)));
            let addresses = (!addresses.is_empty()).then(|| to_json_text(&addresses.join("; ")));
            row.extend(match health {
                Ok(ClusterHealth { version, online_nodes, nodes, has_privileges }) => [
                    Some(to_json_text(if has_privileges { "ok" } else { "no privileges" })),
                    Some(to_json_text(&version)),
                    Some(to_json_text(&format!("{online_nodes}/{nodes}"))),
                    addresses,
                    (!has_privileges).then(|| to_json_text(NO_PRIVILEGES)),
                ],
                Err(failure) => {
                    let first = *first_of.entry(failure.kind).or_insert(name);
                    let error = if first == name { failure.error.0 } else { format!("as {first}") };
                    [Some(to_json_text("error")), None, None, addresses, Some(to_json_text(&error))]
                }
            });
        }
        table.push(row);
    }
    let mut layout = table.layout(|_| SortKey::default());
    if form.has_json {
        layout.limit_json(form.max_bytes);
    }
    let (mut text, mut notes) = (String::new(), Vec::new());
    layout.write_text(&mut text, form.max_bytes, None);
    if layout.left_out() > 0 {
        notes.push(format!(
            "{} of {} clusters are left out (`max_result_bytes`): every other tool accepts their names too",
            layout.left_out(),
            table.len()
        ));
    }
    let structured = form.json(|| format!("{{{}}}", layout.json_members(table.len())));
    RenderedList { text, notes, structured }
}
