//! clusters.json → [`Clusters`]: where it is looked for, and how everything wrong with it is found in one pass.

use super::entry;
use super::json::{self, Json};
use super::{Cluster, Clusters, Problems, client, disk, field};
use crate::suggest::suggest;
use std::path::{Path, PathBuf};

/// Where the file is looked for when no path is given.
const PLACES: [&str; 2] = ["clusters.json", "/etc/proxmox-mcp/clusters.json"];
const EXAMPLE: &str =
    r#"{"clusters": {"home": {"url": "pve1.example:8006", "user": "mcp@pve", "token_id": "ro", "token_secret": "…"}}}"#;

const TOP_FIELDS: [&str; 3] = ["clusters", "default", "clients"];

/// The configuration's path: the one given, else the first of `./clusters.json` and
/// `/etc/proxmox-mcp/clusters.json` that is there. The error says where it was looked for and how to begin.
pub fn find(given: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    // A path that can't be looked at is taken: reading it then tells why, instead of a puzzling "not found".
    let found = PLACES.iter().map(Path::new).find(|path| path.try_exists().unwrap_or(true));
    found.map(Path::to_owned).ok_or_else(|| {
        format!(
            "no configuration: neither ./{} nor {} exists, and no other file was named by --config or \
             PROXMOX_MCP_CONFIG\nTo begin, write clusters.json (and `chmod 600` it):\n  {EXAMPLE}\n\
             To try it without a Proxmox cluster: proxmox-mcp --demo",
            PLACES[0], PLACES[1]
        )
    })
}

/// Reads and checks a configuration. Relative paths in it start at its own directory. The error holds everything that
/// is wrong. A file with a secret that others than its owner can read is a warning in the log.
pub fn load(path: &Path) -> Result<Clusters, Problems> {
    let mut problems = Problems::default();
    match disk::read(path) {
        Ok(contents) => {
            let directory = path.parent().unwrap_or(Path::new(""));
            return read(&contents.bytes, directory, contents.open.then_some(path));
        }
        Err(why) => problems.file(format!("the file {why}")),
    }
    Err(problems)
}

/// The same of what a file in `directory` holds; `open_file` is its path where others than its owner can read it.
pub(crate) fn read(bytes: &[u8], directory: &Path, open_file: Option<&Path>) -> Result<Clusters, Problems> {
    let mut problems = Problems::default();
    match read_into(bytes, directory, open_file, &mut problems) {
        Some(clusters) if problems.is_empty() => Ok(clusters),
        _ => Err(problems),
    }
}

fn read_into(bytes: &[u8], directory: &Path, open_file: Option<&Path>, problems: &mut Problems) -> Option<Clusters> {
    let json = disk::as_utf8(bytes).map_err(|why| problems.file(format!("the file {why}"))).ok()?;
    if json.trim().is_empty() {
        problems.file(format!("the file is empty: write {EXAMPLE}"));
        return None;
    }
    let top = match json::parse(json) {
        Ok(Json::Object(top)) => top,
        Ok(other) => {
            problems.file(format!("the file holds {}: write an object, {EXAMPLE}", other.kind()));
            return None;
        }
        Err(why) => {
            problems.file(why);
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
                problems.top(&name, unknown(&name, &TOP_FIELDS));
                continue;
            }
        };
        if place.replace(value).is_some() {
            problems.top(&name, "stands twice: keep one");
        }
    }
    let (clusters, names) = self::clusters(clusters, directory, open_file, problems);
    let default = self::default(default, &names, problems);
    let clients = client::clients(clients, &names, problems);
    Some(Clusters { clusters, default, clients })
}

/// The clusters that are right, and the names of all of them.
fn clusters(
    value: Option<Json>,
    directory: &Path,
    open_file: Option<&Path>,
    problems: &mut Problems,
) -> (Vec<Cluster>, Vec<String>) {
    let entries = match value {
        Some(Json::Object(entries)) => entries,
        Some(other) => {
            problems.top("clusters", format!("is {}: write an object with a name for each, {EXAMPLE}", other.kind()));
            return Default::default();
        }
        None => {
            problems.top("clusters", format!("is missing: write {EXAMPLE}"));
            return Default::default();
        }
    };
    let (mut clusters, mut names) = (Vec::new(), Vec::<String>::new());
    let mut holds_secret = false;
    for (name, value) in entries {
        let fields = match value {
            Json::Object(fields) => fields,
            _ if is_comment(&name) => continue,
            other => {
                let what = match entry::FIELDS.contains(&name.as_str()) {
                    true => "is a field, not a cluster: put the fields of a cluster under a name".to_owned(),
                    false => format!("is {}: write an object", other.kind()),
                };
                problems.entry("cluster", &name, format!("{what}, {EXAMPLE}"));
                names.push(name);
                continue;
            }
        };
        if !field::is_name(&name) {
            problems.entry("cluster", &name, "has no valid name: write 1 to 64 letters, digits, \".\", \"_\" or \"-\"");
        }
        if names.contains(&name) {
            problems.entry("cluster", &name, "stands twice: give each cluster a name of its own");
        }
        holds_secret |= fields.iter().any(|(field, _)| field == "token_secret");
        clusters.extend(entry::cluster(&name, fields, directory, problems));
        names.push(name);
    }
    if names.is_empty() {
        problems.top("clusters", format!("is empty: write {EXAMPLE}"));
    }
    if let (true, Some(path)) = (holds_secret, open_file) {
        disk::warn_open(path);
    }
    (clusters, names)
}

fn default(value: Option<Json>, names: &[String], problems: &mut Problems) -> Option<String> {
    match value {
        Some(Json::Text(name)) if names.contains(&name) => Some(name),
        Some(Json::Text(name)) => {
            let known = names.iter().map(String::as_str).filter(|name| field::is_name(name));
            problems.top(
                "default",
                match suggest(&name, known.clone()) {
                    Some(near) => format!("names no cluster of this file: did you mean \"{near}\"?"),
                    None => format!("names no cluster of this file: write one of {}", listed(known)),
                },
            );
            None
        }
        Some(Json::Null) | None => match names {
            [only] => Some(only.clone()),
            _ => None,
        },
        Some(other) => {
            problems.top("default", format!("is {}: write a cluster's name in quotes", other.kind()));
            None
        }
    }
}

/// `$schema` is what editors look for, `_comment` what people write where JSON has no comments.
pub(super) fn is_comment(field: &str) -> bool {
    field == "$schema" || field.starts_with('_')
}

pub(super) fn unknown(field: &str, known: &[&'static str]) -> String {
    match suggest(field, known.iter().copied()) {
        Some(near) => format!("is unknown: did you mean \"{near}\"?"),
        None => format!("is unknown: remove it; the fields here are {}", listed(known.iter().copied())),
    }
}

pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}
