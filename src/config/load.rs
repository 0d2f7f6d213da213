//! Reader of clusters.json. It finds all errors in one pass.

use super::client::Client;
use super::client_entry::read_clients;
use super::cluster::ClusterConfig;
use super::cluster_entry::{CLUSTER_FIELDS, read_cluster};
use super::entry_reader::{check_name, is_comment};
use super::errors::{ConfigError, ConfigErrors, EntryKind, FieldError};
use super::field_parsers::is_valid_name;
use super::files;
use super::ordered_json::{self, OrderedJson};
use crate::base::hint::Hint;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Default paths of the file, in the order of the search.
const SEARCH_PATHS: [&str; 2] = ["clusters.json", "/etc/proxmox-mcp/clusters.json"];
const CONFIG_EXAMPLE: &str =
    r#"{"clusters": {"home": {"url": "pve1.example:8006", "user": "mcp@pve", "token_id": "ro", "token_secret": "…"}}}"#;

const TOP_LEVEL_FIELDS: [&str; 3] = ["clusters", "default", "clients"];

/// The contents of clusters.json.
#[derive(Clone, Debug, Default)]
pub struct ClustersFile {
    /// At least one, in the file's order. Names are unique.
    pub clusters: Vec<ClusterConfig>,
    /// The cluster of calls that name none: the file's `default`, or the only cluster.
    pub default: Option<String>,
    /// In the file's order. Names and tokens are unique.
    pub clients: Vec<Client>,
}

/// No configuration file was named, and the default paths do not exist.
#[derive(Debug, Error)]
#[error(
    "no configuration file: neither ./{} nor {} exists, and neither --config nor PROXMOX_MCP_CONFIG names one",
    SEARCH_PATHS[0],
    SEARCH_PATHS[1]
)]
pub struct ConfigNotFound;

impl Hint for ConfigNotFound {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let text = format!(
            "write clusters.json (and `chmod 600` it):\n  {CONFIG_EXAMPLE}\n\
             or try the server without a Proxmox cluster: proxmox-mcp --demo"
        );
        Some(text.into())
    }
}

/// Returns the path of the configuration: `given`, else the first of `./clusters.json` and
/// `/etc/proxmox-mcp/clusters.json` that exists.
pub fn find_path(given: Option<&Path>) -> Result<PathBuf, ConfigNotFound> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    // A path that cannot be checked is returned, so that reading it reports the reason instead of "not found".
    let found = SEARCH_PATHS.iter().map(Path::new).find(|path| path.try_exists().unwrap_or(true));
    found.map(Path::to_owned).ok_or(ConfigNotFound)
}

/// Reads and checks a configuration. Relative paths in it start at its directory. Logs a warning if other users can read a
/// secret.
pub fn load(path: &Path) -> Result<ClustersFile, ConfigErrors> {
    match files::read_file(path) {
        Ok(contents) => {
            let directory = path.parent().unwrap_or(Path::new(""));
            parse(&contents.bytes, directory, contents.world_readable.then_some(path))
        }
        Err(error) => Err(ConfigErrors::from_error(error)),
    }
}

/// Parses a configuration of `directory`. `world_readable_path` is its path if other users can read it.
pub(crate) fn parse(
    bytes: &[u8],
    directory: &Path,
    world_readable_path: Option<&Path>,
) -> Result<ClustersFile, ConfigErrors> {
    let entries = parse_object(bytes).map_err(ConfigErrors::from_error)?;
    let mut errors = ConfigErrors::default();
    let (mut clusters, mut default, mut clients) = (None, None, None);
    for (name, value) in entries {
        let place = match name.as_str() {
            "clusters" => &mut clusters,
            "default" => &mut default,
            "clients" => &mut clients,
            _ if is_comment(&name) => continue,
            _ => {
                errors.add_top_level_error(&name, FieldError::unknown_field(&name, &TOP_LEVEL_FIELDS));
                continue;
            }
        };
        if place.replace(value).is_some() {
            errors.add_top_level_error(&name, FieldError::Duplicate);
        }
    }
    let (clusters, names) = read_clusters(clusters, directory, world_readable_path, &mut errors);
    let default = read_default(default, &names, &mut errors);
    let clients = read_clients(clients, &names, &mut errors);
    if errors.is_empty() { Ok(ClustersFile { clusters, default, clients }) } else { Err(errors) }
}

fn parse_object(bytes: &[u8]) -> Result<Vec<(String, OrderedJson)>, ConfigError> {
    let json = files::decode_utf8(bytes)?;
    if json.trim().is_empty() {
        return Err(ConfigError::EmptyFile { example: CONFIG_EXAMPLE });
    }
    match ordered_json::parse(json)? {
        OrderedJson::Object(entries) => Ok(entries),
        other => Err(ConfigError::NoObject { found: other.kind(), example: CONFIG_EXAMPLE }),
    }
}

/// Returns the valid clusters, and the names of all.
fn read_clusters(
    value: Option<OrderedJson>,
    directory: &Path,
    world_readable_path: Option<&Path>,
    errors: &mut ConfigErrors,
) -> (Vec<ClusterConfig>, Vec<String>) {
    let (mut clusters, mut names) = (Vec::new(), Vec::<String>::new());
    let entries = match value {
        Some(OrderedJson::Object(entries)) => entries,
        other => {
            let cause = match other {
                Some(other) => {
                    let form = format!("an object with a name for each cluster, {CONFIG_EXAMPLE}");
                    FieldError::wrong_kind(&other, form)
                }
                None => FieldError::Missing { form: CONFIG_EXAMPLE.into() },
            };
            errors.add_top_level_error("clusters", cause);
            return (clusters, names);
        }
    };
    let mut holds_secret = false;
    for (name, value) in entries {
        match value {
            OrderedJson::Object(fields) => {
                check_name(EntryKind::Cluster, &name, is_valid_name(&name), &names, errors);
                holds_secret |= fields.iter().any(|(field, _)| field == "token_secret");
                clusters.extend(read_cluster(&name, fields, directory, errors));
            }
            _ if is_comment(&name) => continue,
            _ if CLUSTER_FIELDS.contains(&name.as_str()) => {
                let cause = FieldError::MisplacedField { example: CONFIG_EXAMPLE };
                errors.add_entry_error(EntryKind::Cluster, &name, cause);
            }
            other => {
                let cause = FieldError::wrong_kind(&other, format!("an object, {CONFIG_EXAMPLE}"));
                errors.add_entry_error(EntryKind::Cluster, &name, cause);
            }
        }
        names.push(name);
    }
    if names.is_empty() {
        errors.add_top_level_error("clusters", FieldError::Empty { form: CONFIG_EXAMPLE.into() });
    }
    if let (true, Some(path)) = (holds_secret, world_readable_path) {
        files::warn_world_readable(path);
    }
    (clusters, names)
}

fn read_default(value: Option<OrderedJson>, names: &[String], errors: &mut ConfigErrors) -> Option<String> {
    let cause = match value {
        Some(OrderedJson::String(name)) if names.contains(&name) => return Some(name),
        Some(OrderedJson::String(name)) => FieldError::unknown_cluster(&name, names),
        Some(OrderedJson::Null) | None => match names {
            [only] => return Some(only.clone()),
            _ => return None,
        },
        Some(other) => FieldError::wrong_kind(&other, "a cluster's name in quotes"),
    };
    errors.add_top_level_error("default", cause);
    None
}
