//! From a request to an answer: the token, the path, the body, then the operation.

use super::access::{self, Caller};
use super::check::{self, Given};
use super::http::{Head, Reply, decode, gzip};
use super::routes::{self, Access, Route, Run};
use super::server::Shared;
use super::value::json;
use super::world::World;
use serde_json::Value;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::PoisonError;

/// Bytes of a request's body.
const MAX_BODY: usize = 512 << 10;

/// Why an operation was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// 400: complaints by parameter.
    Params(BTreeMap<String, String>),
    /// 403: path and privileges, as between the brackets of `Permission check failed (…)`.
    Forbidden(String),
    /// 500: what went wrong.
    Failed(String),
}

/// What an operation answers.
pub(super) type Answer = Result<Value, Fault>;

/// A failure with this text.
#[inline(never)]
pub(super) fn failed<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Failed(text.into()))
}

/// A complaint about one parameter.
#[inline(never)]
pub(super) fn bad<T>(name: &str, text: impl Into<String>) -> Result<T, Fault> {
    let mut errors = BTreeMap::new();
    errors.insert(name.to_string(), text.into());
    Err(Fault::Params(errors))
}

/// One call of an operation: who calls, with which checked parameters.
pub(super) struct Call<'a> {
    /// Whose token it is.
    pub(super) caller: &'a Caller,
    /// Those of the path, the query and the body.
    pub(super) params: Given,
    /// The first segment that tells operations of VMs from those of containers.
    pub(super) lxc: bool,
    /// The length of a list that is answered in part.
    pub(super) total: Cell<Option<usize>>,
}

impl Call<'_> {
    /// A text, empty where it was not given.
    #[inline(never)]
    pub(super) fn text(&self, name: &str) -> &str {
        self.given(name).unwrap_or_default()
    }

    /// A text, if it was given.
    #[inline(never)]
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        self.params.get(name).and_then(Value::as_str)
    }

    /// The parts of a list, empty where it was not given: a node takes commas, semicolons and spaces between them.
    #[inline(never)]
    pub(super) fn list(&self, name: &str) -> std::vec::IntoIter<&str> {
        let all: Vec<&str> = self.text(name).split([',', ';', ' ']).filter(|part| !part.is_empty()).collect();
        all.into_iter()
    }

    /// A number, if it was given.
    #[inline(never)]
    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.params.get(name).and_then(Value::as_i64)
    }

    /// Whether a boolean was given as true.
    #[inline(never)]
    pub(super) fn flag(&self, name: &str) -> bool {
        self.int(name) == Some(1)
    }

    /// The `{vmid}` of the path.
    #[inline(never)]
    pub(super) fn vmid(&self) -> u32 {
        self.int("vmid").and_then(|n| u32::try_from(n).ok()).unwrap_or_default()
    }

    /// Refuses where the caller lacks `privilege` on `path`; for rules that no table can hold.
    #[inline(never)]
    pub(super) fn need(&self, world: &World, path: &str, privilege: &str) -> Result<(), Fault> {
        if access::may(world, self.caller, path, privilege) {
            Ok(())
        } else {
            Err(Fault::Forbidden(format!("{path}, {privilege}")))
        }
    }

    /// Whether the caller has `privilege` on `path`.
    #[inline(never)]
    pub(super) fn may(&self, world: &World, path: &str, privilege: &str) -> bool {
        access::may(world, self.caller, path, privilege)
    }
}

/// What can be answered without the body, in a node's own order; else who calls.
pub(super) fn before_body(head: &Head, shared: &Shared) -> Result<Caller, Reply> {
    if !matches!(head.method.as_str(), "GET" | "POST" | "PUT" | "DELETE") {
        return Err(Reply::bare(501, &format!("method '{}' not available", head.method)));
    }
    if head.chunked {
        return Err(Reply::text(501, "chunked transfer encoding not supported"));
    }
    let (segments, _) = split(&head.target);
    let caller = match segments.split_first() {
        Some((api, rest)) if api == "api2" => {
            let world = shared.world.lock().unwrap_or_else(PoisonError::into_inner);
            match access::authenticate(&world, head.authorization.as_deref()) {
                Ok(caller) => caller,
                Err(_) if head.method == "GET" && routes::is_public(rest.get(1..).unwrap_or_default()) => {
                    Caller::nobody()
                }
                Err(reason) => {
                    drop(world);
                    shared.pause(shared.options.auth_delay);
                    return Err(Reply::bare(401, reason));
                }
            }
        }
        _ => return Err(file(head, &segments, shared)),
    };
    if head.body > 0 {
        if !matches!(head.method.as_str(), "PUT" | "POST") {
            return Err(Reply::text(501, &format!("Unexpected content for method '{}'", head.method)));
        }
        match head.content_type.as_deref() {
            None | Some("application/x-www-form-urlencoded" | "application/json") => {}
            Some(other) => return Err(Reply::text(506, &format!("upload 'Content-Type '{other}' not implemented"))),
        }
        if head.body > MAX_BODY {
            return Err(Reply::text(501, "for data too large"));
        }
    }
    Ok(caller)
}

/// What lies beside the API: its description, for anyone, and nothing else.
fn file(head: &Head, segments: &[String], shared: &Shared) -> Reply {
    let path = segments.join("/");
    match &shared.options.apidoc {
        // One that comes with a body falls through to the refusal, which ends the connection and the body with it.
        Some(packed) if path == "pve-docs/api-viewer/apidoc.js" && head.method == "GET" && head.body == 0 => {
            let mut reply = Reply::bare(200, "OK");
            reply.content_type = Some("application/javascript");
            reply.gzip = head.takes_gzip;
            if reply.gzip {
                reply.body.extend_from_slice(packed);
                return reply;
            }
            match flate2::read::GzDecoder::new(&**packed).read_to_end(&mut reply.body) {
                Ok(_) => reply,
                Err(_) => Reply::text(500, "the API description is damaged"),
            }
        }
        _ => Reply::text(500, &format!("no such file '/{path}'")),
    }
}

/// The path's segments, decoded once and without empty ones, and the query.
fn split(target: &str) -> (Vec<String>, &str) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (decode(path, false).split('/').filter(|s| !s.is_empty()).map(String::from).collect(), query)
}

/// The answer to a whole request.
pub(super) fn answer(head: &Head, body: &[u8], caller: &Caller, shared: &Shared) -> Reply {
    let (segments, query) = split(&head.target);
    let (format, segments) = match segments.as_slice() {
        [_, format, rest @ ..] => (format.as_str(), rest),
        _ => return Reply::text(501, "no such uri"),
    };
    let path = format!("/{}", segments.join("/"));
    if !matches!(format, "json" | "extjs") {
        return Reply::text(501, &format!("no formatter for uri {path}, {format}"));
    }
    let given = match given(head, query, body) {
        Ok(given) => given,
        Err(reply) => return reply,
    };
    let Some((route, path_params)) = routes::find(&head.method, segments) else {
        // Begins as a node words it; the rest is so that no one takes the demo's gap for Proxmox's.
        let text =
            format!("Method '{} {path}' not implemented (the demo simulates only a part of the API)", head.method);
        return finish(format, false, 501, &text, json!({"data": null, "message": text}));
    };
    let mut world = shared.world.lock().unwrap_or_else(PoisonError::into_inner);
    world.advance();
    let relayed = route.daemon || path_params.get("node").is_some_and(|n| n != world.local_node());
    let total = Cell::new(None);
    let outcome = run(&mut world, &route, path_params, given, caller, segments, &total);
    drop(world);
    match outcome {
        Ok(data) => {
            let mut body = json!({"data": data});
            if let (Some(total), Some(body)) = (total.get(), body.as_object_mut()) {
                body.insert("total".into(), total.into());
            }
            let mut reply = finish(format, relayed, 200, "OK", body);
            if route.path.ends_with("/journal") {
                reply.body = gzip(&reply.body);
                reply.gzip = true;
            }
            reply
        }
        Err(Fault::Params(errors)) => {
            let text = "Parameter verification failed.";
            finish(format, relayed, 400, text, json!({"data": null, "message": format!("{text}\n"), "errors": errors}))
        }
        Err(Fault::Forbidden(what)) => {
            let text = format!("Permission check failed ({what})");
            finish(format, relayed, 403, &text, json!({"data": null, "message": format!("{text}\n")}))
        }
        Err(Fault::Failed(text)) => {
            finish(format, relayed, 500, &text, json!({"data": null, "message": format!("{text}\n")}))
        }
    }
}

/// A node's order: privilege, then whether the node exists, then parameters, then the operation.
fn run(
    world: &mut World,
    route: &Route,
    path: Given,
    given: Given,
    caller: &Caller,
    segments: &[String],
    total: &Cell<Option<usize>>,
) -> Answer {
    permitted(world, route, &path, &given, caller)?;
    if let Some(node) = path.get("node").and_then(Value::as_str)
        && !world.has_node(node)
    {
        let why = format!("failed to get address info for: {node}: Temporary failure in name resolution");
        return failed(format!("hostname lookup '{node}' failed - {why}"));
    }
    let params = check::check(route.params, &path, given).map_err(Fault::Params)?;
    let lxc = segments.get(2).is_some_and(|s| s == "lxc");
    let call = Call { caller, params, lxc, total: Cell::new(None) };
    let data = match route.run {
        Run::Names(key, names) => names.iter().map(|name| json!({key: name})).collect(),
        Run::Text(text) => routes::fixed::answer(world, &call, route.path, text)?,
        Run::Fn(handler) => {
            let volumes = world.volumes.len();
            // A refused operation leaves no disks behind that it had made before it was refused.
            handler(world, &call).inspect_err(|_| world.volumes.truncate(volumes))?
        }
    };
    total.set(call.total.get());
    Ok(data)
}

fn permitted(world: &World, route: &Route, path: &Given, given: &Given, caller: &Caller) -> Result<(), Fault> {
    let fill = |template: &str| {
        let full = template.split('/').map(|part| match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            Some(name) => path.get(name).or_else(|| given.get(name)).map(check::plain).unwrap_or_default(),
            None => part.into(),
        });
        let full = full.collect::<Vec<String>>().join("/");
        // A path that cannot be one is no path: a node refuses it even to those who may do everything.
        if full.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) { full } else { String::new() }
    };
    match route.access {
        Access::All => Ok(()),
        Access::Ticket => {
            let uri = route.path;
            Err(Fault::Forbidden(format!("URI '{uri}' not available with API token, need proper ticket.\n")))
        }
        Access::Need(template, privilege) => {
            let path = fill(template);
            if access::may(world, caller, &path, privilege) {
                Ok(())
            } else {
                Err(Fault::Forbidden(format!("{path}, {privilege}")))
            }
        }
        Access::Any(template, privileges) => {
            let path = fill(template);
            if privileges.iter().any(|p| access::may(world, caller, &path, p)) {
                Ok(())
            } else {
                Err(Fault::Forbidden(format!("{path}, {}", privileges.join("|"))))
            }
        }
    }
}

/// Everything a request gives beside its path. `_dc` is what browsers add against caches.
fn given(head: &Head, query: &str, body: &[u8]) -> Result<Given, Reply> {
    let mut given = Given::new();
    check::add_form(&mut given, query);
    if head.content_type.as_deref() == Some("application/json") && !body.is_empty() {
        let place = "at /usr/share/perl5/PVE/APIServer/AnyEvent.pm";
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => check::add_json(&mut given, object),
            Ok(_) => return Err(Reply::text(500, &format!("Not a HASH reference {place} line 978."))),
            Err(e) => {
                let what = "malformed JSON string, neither tag, array, object, number, string or atom";
                let at = format!("at character offset {} (before \"(end of string)\")", e.column());
                return Err(Reply::text(500, &format!("{what}, {at} {place} line 934.")));
            }
        }
    } else {
        check::add_form(&mut given, &String::from_utf8_lossy(body));
    }
    given.remove("_dc");
    Ok(given)
}

/// `json` says it in the status line, `extjs` always answers 200 and says it in the body.
#[inline(never)]
fn finish(format: &str, relayed: bool, status: u16, reason: &str, mut body: Value) -> Reply {
    let (mut code, mut text) = (status, reason);
    if let (true, Some(body)) = (format == "extjs", body.as_object_mut()) {
        body.insert("success".into(), u8::from(status < 400).into());
        if status >= 400 {
            body.insert("status".into(), status.to_string().into());
        }
        (code, text) = (200, "OK");
    }
    let mut reply = Reply::json(code, text, &body);
    // A refusal ends the connection as it is; only an answer that leaves it open shows both headers.
    reply.relayed = relayed && code < 400;
    reply
}
