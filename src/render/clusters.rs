//! The table of the clusters.

use super::cluster_errors::ErrorText;
use super::list::{ListForm, RenderedList, column};
use super::table::{CellFormat, Column, ListTable, SortKey, to_json_text};
use crate::config::ClusterConfig;
use std::borrow::Cow;

const COLUMNS: [Column; 10] = [
    column("name", CellFormat::Plain),
    column("nodes", CellFormat::Plain),
    column("token", CellFormat::Plain),
    column("tls", CellFormat::Plain),
    column("default", CellFormat::Plain),
    column("status", CellFormat::Plain),
    column("version", CellFormat::Plain),
    column("online", CellFormat::Plain),
    column("nodes_down", CellFormat::Plain),
    column("error", CellFormat::Plain),
];

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
    /// Each address that does not answer, with the reason.
    pub unreachable_nodes: Vec<String>,
    pub health: Result<ClusterHealth, ErrorText>,
}

/// The state of a cluster that answers.
pub struct ClusterHealth {
    pub version: String,
    pub online_nodes: usize,
    pub nodes: usize,
}

/// Renders the clusters, in their order.
pub fn render_clusters<'a>(entries: impl Iterator<Item = ClusterEntry<'a>>, form: ListForm) -> RenderedList {
    let mut table = ListTable::new(&COLUMNS);
    for ClusterEntry { name, nodes, token, tls, is_default, check } in entries {
        let mut row = vec![
            Some(to_json_text(name)),
            Some(to_json_text(&nodes)),
            Some(to_json_text(&token)),
            Some(to_json_text(tls)),
            is_default.then_some(Cow::Borrowed("true")),
        ];
        if let Some(ClusterCheck { unreachable_nodes, health }) = check {
            let down = (!unreachable_nodes.is_empty()).then(|| to_json_text(&unreachable_nodes.join("; ")));
            row.extend(match health {
                Ok(ClusterHealth { version, online_nodes, nodes }) => [
                    Some(to_json_text("ok")),
                    Some(to_json_text(&version)),
                    Some(to_json_text(&format!("{online_nodes}/{nodes}"))),
                    down,
                    None,
                ],
                Err(error) => [Some(to_json_text("error")), None, None, down, Some(to_json_text(&error.0))],
            });
        }
        table.push(row);
    }
    let layout = table.layout(|_| SortKey::default());
    let mut text = String::new();
    layout.write_text(&mut text);
    let structured = form.json(|| format!("{{{}}}", layout.json_members()));
    RenderedList { text, notes: Vec::new(), structured }
}
