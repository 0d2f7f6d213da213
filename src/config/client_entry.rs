//! The clients of clusters.json.

use super::client::Client;
use super::entry_reader::{ACCESS_VALUES, EntryReader, check_name, is_comment, parse_choice};
use super::errors::{ConfigErrors, EntryKind, FieldError};
use super::ordered_json::OrderedJson;
use super::token::parse_token_sha256;
use crate::policy::{AccessLevel, ClientRules};
use std::path::Path;

const CLIENT_FIELDS: [&str; 11] = [
    "token_sha256",
    "access",
    "exec",
    "clusters",
    "confirm",
    "confirm_by",
    "approve",
    "deny",
    "allow",
    "protect",
    "structured",
];
const CLIENTS_EXAMPLE: &str = r#"{"clients": {"laptop": {"token_sha256": "…", "access": "full"}}}"#;

/// Reads the valid clients. `clusters` are the names of the file's clusters. A member without a client is an error: the
/// operator who removed the last one may not know that a server without clients accepts every caller.
pub(super) fn read_clients(value: Option<OrderedJson>, clusters: &[String], errors: &mut ConfigErrors) -> Vec<Client> {
    let entries = match value {
        Some(OrderedJson::Object(entries)) => entries,
        None => return Vec::new(),
        Some(OrderedJson::Null) => {
            errors.add_top_level_error("clients", FieldError::NoClient);
            return Vec::new();
        }
        Some(other) => {
            let form = format!("an object with a name for each client, {CLIENTS_EXAMPLE}");
            errors.add_top_level_error("clients", FieldError::wrong_kind(&other, form));
            return Vec::new();
        }
    };
    if entries.iter().all(|(name, value)| is_comment(name) && !matches!(value, OrderedJson::Object(_))) {
        errors.add_top_level_error("clients", FieldError::NoClient);
    }
    let (mut clients, mut names) = (Vec::<Client>::new(), Vec::new());
    for (name, value) in entries {
        let fields = match value {
            OrderedJson::Object(fields) => fields,
            _ if is_comment(&name) => continue,
            other => {
                let cause = FieldError::wrong_kind(&other, format!("an object, {CLIENTS_EXAMPLE}"));
                errors.add_entry_error(EntryKind::Client, &name, cause);
                continue;
            }
        };
        check_name(EntryKind::Client, &name, Client::is_valid_name(&name), &names, errors);
        let reader = EntryReader::new(EntryKind::Client, &name, fields, &CLIENT_FIELDS, Path::new(""), errors);
        if let Some(client) = reader.read_client(clusters) {
            if clients.iter().any(|other| other.token_sha256.ct_eq(&client.token_sha256)) {
                errors.add_field_error(EntryKind::Client, &name, "token_sha256", FieldError::SharedToken);
            }
            clients.push(client);
        }
        names.push(name);
    }
    clients
}

impl EntryReader<'_> {
    fn read_client(mut self, clusters: &[String]) -> Option<Client> {
        const CLUSTERS_FORM: &str = "a list of clusters' names, or remove it to allow all clusters";
        let token_sha256 = self.read_required("token_sha256", "as `proxmox-mcp token` prints it", parse_token_sha256);
        let access =
            self.read_required("access", ACCESS_VALUES, |text| parse_choice(text, ACCESS_VALUES, &AccessLevel::WORDS));
        let permissions = self.read_exec(access);
        let rules = self.read_rules(ClientRules::default().confirm);
        let approve = self.read_bool("approve", false);
        let structured = self.read_bool("structured", false);
        let is_restricted = self.has("clusters");
        let allowed = self.read_nonempty_list("clusters", CLUSTERS_FORM, "a cluster's name", |name| {
            let known = clusters.iter().find(|known| *known == name);
            known.cloned().ok_or_else(|| FieldError::unknown_cluster(name, clusters))
        });
        Some(Client {
            name: self.name.to_owned(),
            token_sha256: token_sha256?,
            permissions: permissions?,
            rules: rules?,
            // An invalid list does not grant all clusters.
            clusters: if is_restricted { Some(allowed?) } else { None },
            approve: approve?,
            structured: structured?,
        })
    }
}
