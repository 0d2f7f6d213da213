//! clusters.json → [`ClustersFile`]: where it is looked for, and how everything wrong with it is found in one pass.

use super::cluster_entry;
use super::ordered_json::{self, OrderedJson};
use super::{ClusterConfig, ClustersFile, ConfigErrors, client, field_parsers, files};
use crate::base::suggest::suggest;
use std::path::{Path, PathBuf};

/// Where the file is looked for when no path is given.
const SEARCH_PATHS: [&str; 2] = ["clusters.json", "/etc/proxmox-mcp/clusters.json"];
const CONFIG_EXAMPLE: &str =
    r#"{"clusters": {"home": {"url": "pve1.example:8006", "user": "mcp@pve", "token_id": "ro", "token_secret": "…"}}}"#;

const TOP_LEVEL_FIELDS: [&str; 3] = ["clusters", "default", "clients"];

/// The configuration's path: the one given, else the first of `./clusters.json` and
/// `/etc/proxmox-mcp/clusters.json` that is there. The error says where it was looked for and how to begin.
pub fn find_path(given: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    // A path that can't be looked at is taken: reading it then tells why, instead of a puzzling "not found".
    let found = SEARCH_PATHS.iter().map(Path::new).find(|path| path.try_exists().unwrap_or(true));
    found.map(Path::to_owned).ok_or_else(|| {
        format!(
            "no configuration: neither ./{} nor {} exists, and no other file was named by --config or \
             PROXMOX_MCP_CONFIG\nTo begin, write clusters.json (and `chmod 600` it):\n  {CONFIG_EXAMPLE}\n\
             To try it without a Proxmox cluster: proxmox-mcp --demo",
            SEARCH_PATHS[0], SEARCH_PATHS[1]
        )
    })
}

/// Reads and checks a configuration. Relative paths in it start at its own directory. The error holds everything that
/// is wrong. A file with a secret that others than its owner can read is a warning in the log.
pub fn load(path: &Path) -> Result<ClustersFile, ConfigErrors> {
    let mut problems = ConfigErrors::default();
    match files::read_file(path) {
        Ok(contents) => {
            let directory = path.parent().unwrap_or(Path::new(""));
            return parse(&contents.bytes, directory, contents.world_readable.then_some(path));
        }
        Err(why) => problems.add_file_error(format!("the file {why}")),
    }
    Err(problems)
}

/// The same of what a file in `directory` holds; `open_file` is its path where others than its owner can read it.
pub(crate) fn parse(
    bytes: &[u8],
    directory: &Path,
    world_readable_path: Option<&Path>,
) -> Result<ClustersFile, ConfigErrors> {
    let mut problems = ConfigErrors::default();
    match parse_into(bytes, directory, world_readable_path, &mut problems) {
        Some(clusters) if problems.is_empty() => Ok(clusters),
        _ => Err(problems),
    }
}

fn parse_into(
    bytes: &[u8],
    directory: &Path,
    world_readable_path: Option<&Path>,
    errors: &mut ConfigErrors,
) -> Option<ClustersFile> {
    let json = files::decode_utf8(bytes).map_err(|why| errors.add_file_error(format!("the file {why}"))).ok()?;
    if json.trim().is_empty() {
        errors.add_file_error(format!("the file is empty: write {CONFIG_EXAMPLE}"));
        return None;
    }
    let top = match ordered_json::parse(json) {
        Ok(OrderedJson::Object(top)) => top,
        Ok(other) => {
            errors.add_file_error(format!("the file holds {}: write an object, {CONFIG_EXAMPLE}", other.kind()));
            return None;
        }
        Err(why) => {
            errors.add_file_error(why);
            return None;
        }
    };
    let (mut clusters, mut default, mut clients) = (None, None, None);
    for (name, value) in top {
        let place = match name.as_str() {
            "clusters" => &mut clusters,
            "default" => &mut default,
            "clients" => &mut clients,
            _ if is_comment(&name) => continue,
            _ => {
                errors.add_top_level_error(&name, describe_unknown_field(&name, &TOP_LEVEL_FIELDS));
                continue;
            }
        };
        if place.replace(value).is_some() {
            errors.add_top_level_error(&name, "stands twice: keep one");
        }
    }
    let (clusters, names) = self::read_clusters(clusters, directory, world_readable_path, errors);
    let default = self::read_default(default, &names, errors);
    let clients = client::read_clients(clients, &names, errors);
    Some(ClustersFile { clusters, default, clients })
}

/// The clusters that are right, and the names of all of them.
fn read_clusters(
    value: Option<OrderedJson>,
    directory: &Path,
    world_readable_path: Option<&Path>,
    errors: &mut ConfigErrors,
) -> (Vec<ClusterConfig>, Vec<String>) {
    let entries = match value {
        Some(OrderedJson::Object(entries)) => entries,
        Some(other) => {
            errors.add_top_level_error(
                "clusters",
                format!("is {}: write an object with a name for each, {CONFIG_EXAMPLE}", other.kind()),
            );
            return Default::default();
        }
        None => {
            errors.add_top_level_error("clusters", format!("is missing: write {CONFIG_EXAMPLE}"));
            return Default::default();
        }
    };
    let (mut clusters, mut names) = (Vec::new(), Vec::<String>::new());
    let mut holds_secret = false;
    for (name, value) in entries {
        let fields = match value {
            OrderedJson::Object(fields) => fields,
            _ if is_comment(&name) => continue,
            other => {
                let what = match cluster_entry::CLUSTER_FIELDS.contains(&name.as_str()) {
                    true => "is a field, not a cluster: put the fields of a cluster under a name".to_owned(),
                    false => format!("is {}: write an object", other.kind()),
                };
                errors.add_entry_error("cluster", &name, format!("{what}, {CONFIG_EXAMPLE}"));
                names.push(name);
                continue;
            }
        };
        if !field_parsers::is_valid_name(&name) {
            errors.add_entry_error(
                "cluster",
                &name,
                "has no valid name: write 1 to 64 letters, digits, \".\", \"_\" or \"-\"",
            );
        }
        if names.contains(&name) {
            errors.add_entry_error("cluster", &name, "stands twice: give each cluster a name of its own");
        }
        holds_secret |= fields.iter().any(|(field, _)| field == "token_secret");
        clusters.extend(cluster_entry::read_cluster(&name, fields, directory, errors));
        names.push(name);
    }
    if names.is_empty() {
        errors.add_top_level_error("clusters", format!("is empty: write {CONFIG_EXAMPLE}"));
    }
    if let (true, Some(path)) = (holds_secret, world_readable_path) {
        files::warn_world_readable(path);
    }
    (clusters, names)
}

fn read_default(value: Option<OrderedJson>, names: &[String], errors: &mut ConfigErrors) -> Option<String> {
    match value {
        Some(OrderedJson::String(name)) if names.contains(&name) => Some(name),
        Some(OrderedJson::String(name)) => {
            let known = names.iter().map(String::as_str).filter(|name| field_parsers::is_valid_name(name));
            errors.add_top_level_error(
                "default",
                match suggest(&name, known.clone()) {
                    Some(near) => format!("names no cluster of this file: did you mean \"{near}\"?"),
                    None => format!("names no cluster of this file: write one of {}", join_quoted(known)),
                },
            );
            None
        }
        Some(OrderedJson::Null) | None => match names {
            [only] => Some(only.clone()),
            _ => None,
        },
        Some(other) => {
            errors.add_top_level_error("default", format!("is {}: write a cluster's name in quotes", other.kind()));
            None
        }
    }
}

/// `$schema` is what editors look for, `_comment` what people write where JSON has no comments.
pub(super) fn is_comment(field: &str) -> bool {
    field == "$schema" || field.starts_with('_')
}

pub(super) fn describe_unknown_field(field: &str, known: &[&'static str]) -> String {
    match suggest(field, known.iter().copied()) {
        Some(near) => format!("is unknown: did you mean \"{near}\"?"),
        None => format!("is unknown: remove it; the fields here are {}", join_quoted(known.iter().copied())),
    }
}

pub(super) fn join_quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}
