//! The one way to a cluster's API: what a caller typed becomes a request that is checked, whole and known for what it
//! can do, before anything of it is sent.

use super::clusters::told;
use super::place;
use super::teach;
use crate::cancel::Cancel;
use crate::pve::Method;
use crate::pve::cluster::{Answer, Cluster};
use crate::pve::guests;
use crate::pve::manager::ClusterManager;
use crate::pve::params::Params;
use crate::pve::path::ApiPath;
use crate::pve::schema::risk::Risk;
use crate::pve::schema::{self, Found, Miss, Operation, Schema, check};
use serde_json::{Map, Value};
use std::fmt::Write;
use std::sync::Arc;

/// What a caller wants to be done.
pub(super) struct Wanted<'a> {
    /// How.
    pub(super) method: Option<Method>,
    /// Where, as it was typed.
    pub(super) path: &'a str,
    /// With what.
    pub(super) data: Option<&'a Map<String, Value>>,
    /// Whether it is only to be shown.
    pub(super) dry_run: bool,
}

/// A request that may be sent.
pub(super) struct Request {
    cluster: Arc<Cluster>,
    method: Method,
    path: ApiPath,
    params: Params,
    risk: Risk,
    /// What the operation does, and what it needs; both empty where it isn't known.
    summary: String,
    needs: String,
    /// Whether the operation needs no privilege: then Proxmox may leave out what the token may not see.
    filtered: bool,
    /// What was filled in or put right.
    pub(super) notes: Vec<String>,
}

/// Makes a request of what a caller wants. The error says what is wrong and what to write instead; nothing was changed.
pub(super) fn prepare(
    manager: &ClusterManager,
    cluster: &Arc<Cluster>,
    wanted: &Wanted<'_>,
    cancel: &Cancel,
) -> Result<Request, String> {
    let (leading, typed) = leading_method(wanted.path);
    let method = match (leading, wanted.method) {
        (Some(leading), Some(method)) if leading != method => {
            return Err(format!("the path starts with {leading}, but `method` is {method}: leave one of them out"));
        }
        (leading, method) => method.or(leading).unwrap_or(Method::Get),
    };
    let (path, query) = ApiPath::parse_template(typed)?;
    let mut notes = Vec::new();
    // A GET is put right when it has failed; shown is what would be sent first.
    let path = place::fill_in(cluster, &path, method != Method::Get, cancel, &mut notes)
        .map_err(|why| told(manager, cluster, &why))?;
    let mut data = wanted.data.cloned().unwrap_or_default();
    join_query(&mut data, &query)?;

    let schema = cluster.schema(cancel);
    let mut request = Request {
        cluster: cluster.clone(),
        method,
        risk: risk(&schema, method, &path),
        path,
        params: Params::new(),
        summary: String::new(),
        needs: String::new(),
        filtered: false,
        notes,
    };
    let found = on_path(&schema, &request.path);
    let operation = found.as_ref().map_err(String::clone).and_then(|found| with_method(found, &request.path, method));
    match (&found, operation) {
        (Ok(found), Ok(operation)) => {
            name_guests(cluster, &operation, &mut data, cancel).map_err(|why| told(manager, cluster, &why))?;
            request.params = check::check(&operation, found, &data)
                .map_err(|wrong| format!("{}. Nothing was sent. describe_api has all parameters", wrong.join("; ")))?;
            request.summary = operation.summary().to_owned();
            request.needs = operation.privileges().to_owned();
            request.filtered = method == Method::Get && operation.privileges().is_empty();
        }
        // The facts of this program may be older or newer than the cluster: it judges for itself.
        (_, Err(_)) | (Err(_), _) if !schema.is_live() => {
            request.params = Params::from_json(&data).map_err(|problems| problems.join("; "))?;
        }
        (_, Err(why)) => return Err(format!("{why}. Nothing was sent")),
        (Err(why), _) => return Err(format!("{why}. Nothing was sent")),
    }
    Ok(request)
}

/// What the operation of a path can do. The facts of this program say so, and only where the cluster's own schema finds
/// the same operation there: whatever else it may be is as dangerous as can be.
fn risk(schema: &Schema, method: Method, path: &ApiPath) -> Risk {
    let segments: Vec<_> = path.segments().collect();
    let template = |schema: &Schema| {
        let found = schema.find(&segments).ok()?;
        found.operation(method).map(|o| (o.template().to_owned(), o.risk()))
    };
    match (template(schema::embedded()), template(schema)) {
        (Some((ours, risk)), Some((theirs, _))) if ours == theirs => risk,
        _ => Risk::UNKNOWN,
    }
}

impl Request {
    /// Sends it and waits for the answer; a GET for a guest that is elsewhere is sent there.
    pub(super) fn send(&mut self, manager: &ClusterManager, cancel: &Cancel) -> Result<Answer, String> {
        let result = self.cluster.call(self.method, &self.path, &self.params, cancel);
        let error = match result {
            Ok(answer) => {
                if self.filtered && answer.data() == "[]" {
                    self.notes.push(
                        "the list is empty: nothing is there, or the token may see none of it (GET /access/permissions \
                         shows its rights)"
                            .into(),
                    );
                }
                return Ok(answer);
            }
            Err(error) => error,
        };
        if self.method == Method::Get && teach::is_elsewhere(&error) {
            let mut notes = Vec::new();
            if let Ok(path) = place::fill_in(&self.cluster, &self.path, true, cancel, &mut notes)
                && path != self.path
                // A VM has not all that a container has.
                && on_path(&self.cluster.schema(cancel), &path).is_ok_and(|there| there.operation(Method::Get).is_some())
            {
                (self.path, self.notes) = (path, notes);
                return self
                    .cluster
                    .call(self.method, &self.path, &self.params, cancel)
                    .map_err(|e| told(manager, &self.cluster, &e));
            }
        }
        let more = teach::more(&self.cluster, &self.path, &error, cancel);
        Err(told(manager, &self.cluster, &error) + &more)
    }

    /// What would be sent, and what it can do.
    pub(super) fn shown(&self) -> String {
        let mut text = format!(
            "Nothing was sent. This would be: {} {} on cluster {}\n",
            self.method,
            self.path,
            self.cluster.settings().name
        );
        for (name, value) in self.params.iter() {
            let value = if is_secret(name) { "(not shown)" } else { value };
            let _ = writeln!(text, "  {name} = {value}");
        }
        if self.summary.is_empty() {
            text.push_str("It is not in this program's facts of the API, nor in the cluster's description of it.\n");
        } else {
            let _ = writeln!(text, "It is: {}", self.summary);
        }
        let _ = write!(text, "Risk: {}", self.risk);
        if !self.needs.is_empty() {
            let _ = write!(text, "; needs {}", self.needs);
        }
        text.push('\n');
        text
    }

    /// Whether it may change anything.
    pub(super) fn changes(&self) -> bool {
        self.method != Method::Get
    }

    /// Which cluster it goes to.
    pub(super) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Method and path as they are sent.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Whether a parameter of this name holds a secret, as Proxmox names its parameters: `target-endpoint` has the other
/// cluster's API token in it, `data` an ACME plugin's credentials, `value` what confirms a second factor.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words =
        ["password", "secret", "token", "ticket", "private", "challenge", "content", "input-data", "keyring", "header"];
    let whole = ["key", "keys", "otp", "totp", "data", "value", "code", "env", "http_proxy", "target-endpoint"];
    words.iter().any(|word| name.contains(word))
        || whole.contains(&name.as_str())
        || name.ends_with("-key")
        || name.ends_with("certkey")
}

/// A method in front of a path, as search_api writes it.
pub(super) fn leading_method(typed: &str) -> (Option<Method>, &str) {
    match typed.trim().split_once(char::is_whitespace) {
        Some((word, rest)) if Method::named(word).is_some() => (Method::named(word), rest.trim()),
        _ => (None, typed),
    }
}

/// What is on a path. The error says where it leaves the API, and what is there.
pub(super) fn on_path<'s>(schema: &'s Schema, path: &ApiPath) -> Result<Found<'s>, String> {
    let segments: Vec<_> = path.segments().collect();
    schema.find(&segments).map_err(|Miss { known, meant, there }| {
        let before: String = segments.iter().take(known).map(|s| format!("/{s}")).collect();
        let before = if before.is_empty() { "/" } else { &before };
        let mut text = match segments.get(known) {
            Some(segment) => {
                let segment: String = segment.chars().take(64).collect();
                format!("there is no `{segment}` below {before} in the API")
            }
            None => format!("{before} alone is nothing that can be called"),
        };
        if let Some(meant) = meant {
            let _ = write!(text, "; did you mean `{meant}`");
        }
        if there.is_empty() {
            text.push_str(", nor anything else");
        } else {
            let _ = write!(text, "; there is {}", there.join(", "));
        }
        text + ". search_api finds operations by plain words"
    })
}

/// The operation of a method. The error names those that are there.
pub(super) fn with_method<'s>(found: &Found<'s>, path: &ApiPath, method: Method) -> Result<Operation<'s>, String> {
    found.operation(method).ok_or_else(|| {
        let there: Vec<String> = found.operations().map(|o| format!("{} ({})", o.method(), o.summary())).collect();
        let below = if found.below.is_empty() || method == Method::Get {
            String::new()
        } else {
            format!("; below it are {}", found.below.join(", "))
        };
        format!("{path} has no {method}, it has {}{below}", there.join(", "))
    })
}

/// Puts the parameters of a path's query among the data.
fn join_query(data: &mut Map<String, Value>, query: &Params) -> Result<(), String> {
    for (name, value) in query.iter() {
        if data.contains_key(name) {
            return Err(format!("`{name}` is given twice (a path's query counts too): give it once, in `data`"));
        }
        data.insert(name.into(), value.into());
    }
    Ok(())
}

/// Numbers for the names of guests, where an operation wants numbers. Not for the number of a guest to be made, nor for
/// one of another cluster.
fn name_guests(
    cluster: &Cluster,
    operation: &Operation<'_>,
    data: &mut Map<String, Value>,
    cancel: &Cancel,
) -> Result<(), String> {
    let mut known = None;
    let template = operation.template();
    for (name, value) in data.iter_mut() {
        let new = match name.as_str() {
            "newid" => true,
            "vmid" => ["/qemu", "/lxc", "/nextid"].iter().any(|end| template.ends_with(end)),
            "target-vmid" => template.ends_with("/remote_migrate"),
            _ => false,
        };
        let wants = operation.parameter(name).map_or("", |p| p.format());
        if new || !matches!(wants, "pve-vmid" | "pve-vmid-list") || operation.in_path(name) {
            continue;
        }
        let items = match value {
            Value::Array(items) => items.as_mut_slice(),
            one => std::slice::from_mut(one),
        };
        for item in items {
            let names =
                |text: &str| text.split(',').any(|part| part.trim().parse::<u32>().is_err() && !part.trim().is_empty());
            let Some(text) = item.as_str().filter(|text| names(text)) else { continue };
            let guests = match &mut known {
                Some(guests) => guests,
                none => none.insert(guests::list(cluster, cancel).map_err(|e| e.to_string())?),
            };
            let number = |part| match guests::find(guests, part) {
                Ok(guest) => Ok(guest.vmid.to_string()),
                Err(miss) => Err(format!("`{name}`: {miss}")),
            };
            *item = text.split(',').map(number).collect::<Result<Vec<_>, String>>()?.join(",").into();
        }
    }
    Ok(())
}
