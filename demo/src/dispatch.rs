//! From a request to a response: token, path, privilege, parameters, operation.

use crate::description::{DescribedOperation, Description, compress_description, fill_path, parse_description};
use crate::error::{ApiError, ApiResult, fail, parameter_error};
use crate::handlers::directory::directory_rows;
use crate::http::{RequestHead, Response, decode_path};
use crate::invocation::Invocation;
use crate::model::guest::GuestKind;
use crate::options::{Options, Release};
use crate::parameters::{RequestParams, add_form, add_json, validate, value_text};
use crate::permissions::{Caller, authenticate, has_privilege};
use crate::routes::find_route;
use crate::routes::route::{Access, Action, Route};
use crate::state::ClusterState;
use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use serde_json::{Value, json};
use std::cell::Cell;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum bytes of a request's body.
const MAX_BODY: usize = 512 << 10;
/// The operations that need neither a token nor a ticket.
const PUBLIC_OPERATIONS: [(&str, [&str; 2]); 3] =
    [("GET", ["access", "domains"]), ("GET", ["access", "ticket"]), ("POST", ["access", "ticket"])];

/// The API of a cluster.
pub(crate) struct Api {
    state: Mutex<ClusterState>,
    apidoc: Option<Arc<[u8]>>,
    /// The release of the node that answers, and its description.
    local: ReleaseApi,
    /// Those of the last node, if it has another release.
    other: Option<ReleaseApi>,
}

/// The API of a release.
struct ReleaseApi {
    release: Release,
    description: Description,
}

impl ReleaseApi {
    fn new(options: &Options, release: Release) -> Self {
        Self { release, description: Description::new(options.description, release) }
    }
}

/// The call of an operation before its parameters are checked.
struct ApiRequest<'a> {
    caller: &'a Caller,
    release: Release,
    segments: &'a [String],
    /// Parameters in the path.
    path_params: RequestParams,
    /// Parameters in the query and the body.
    params: RequestParams,
    guest_kind: GuestKind,
}

/// The data of a successful call.
struct Answer {
    data: Value,
    /// Number of rows of a list that is answered in part.
    total: Option<usize>,
}

impl Api {
    /// Creates the API.
    pub(crate) fn new(state: ClusterState, options: &Options) -> Self {
        let apidoc = options.apidoc.as_ref().map(|apidoc| match options.release {
            Release::Pve8 => compress_description(&parse_description(apidoc, Release::Pve8)).into(),
            Release::Pve9 => Arc::clone(apidoc),
        });
        let other = options.other_release.map(|release| ReleaseApi::new(options, release));
        Self { state: Mutex::new(state), apidoc, local: ReleaseApi::new(options, options.release), other }
    }

    /// Locks the state. A handler that has panicked does not end the cluster.
    fn state(&self) -> MutexGuard<'_, ClusterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks a request before its body is read, in the order of a node. Returns its caller, or the response.
    pub(crate) fn check_head(&self, head: &RequestHead) -> Result<Caller, Response> {
        if !matches!(head.method.as_str(), "GET" | "POST" | "PUT" | "DELETE") {
            return Err(Response::empty(501, &format!("method '{}' not available", head.method)));
        }
        if head.chunked {
            return Err(Response::text(501, "chunked transfer encoding not supported"));
        }
        let (segments, _) = split_target(&head.target);
        let caller = match segments.as_slice() {
            [api, rest @ ..] if api == "api2" => {
                let is_public = PUBLIC_OPERATIONS
                    .iter()
                    .any(|(method, path)| head.method == *method && rest.get(1..).is_some_and(|rest| rest == path));
                let mut state = self.state();
                state.advance();
                match authenticate(&state, head) {
                    Ok(caller) => caller,
                    Err(_) if is_public => Caller::anonymous(),
                    Err(reason) => return Err(Response::empty(401, &reason)),
                }
            }
            path => return Err(self.file_response(head, &path.join("/"))),
        };
        if head.content_length > 0 {
            if !matches!(head.method.as_str(), "PUT" | "POST") {
                return Err(Response::text(501, &format!("Unexpected content for method '{}'", head.method)));
            }
            match head.content_type.as_deref() {
                None | Some("application/x-www-form-urlencoded" | "application/json") => {}
                Some(other) => {
                    return Err(Response::text(506, &format!("upload 'Content-Type '{other}' not implemented")));
                }
            }
            if head.content_length > MAX_BODY {
                return Err(Response::text(501, "for data too large"));
            }
        }
        Ok(caller)
    }

    /// Returns the response to a path outside of the API. The only file is the API description, which needs no token.
    fn file_response(&self, head: &RequestHead, path: &str) -> Response {
        // A request with a body is rejected, which also closes the connection: its body is never read.
        let is_apidoc = path == "pve-docs/api-viewer/apidoc.js" && head.method == "GET" && head.content_length == 0;
        let Some(apidoc) = self.apidoc.as_deref().filter(|_| is_apidoc) else {
            return Response::text(500, &format!("no such file '/{path}'"));
        };
        let body = if head.accepts_gzip { Ok(apidoc.to_vec()) } else { read_all(GzDecoder::new(apidoc)) };
        match body {
            Ok(body) => Response {
                content_type: Some("application/javascript"),
                gzip: head.accepts_gzip,
                body,
                ..Response::empty(200, "OK")
            },
            Err(error) => Response::text(500, &format!("cannot decompress the API description: {error}")),
        }
    }

    /// Returns the response to a complete request.
    pub(crate) fn respond(&self, head: &RequestHead, body: &[u8], caller: &Caller) -> Response {
        let (segments, query) = split_target(&head.target);
        let [_, format, segments @ ..] = segments.as_slice() else { return Response::text(501, "no such uri") };
        let path = format!("/{}", segments.join("/"));
        if !matches!(format.as_str(), "json" | "extjs") {
            return Response::text(501, &format!("no formatter for uri {path}, {format}"));
        }
        let params = match request_params(head, query, body) {
            Ok(params) => params,
            Err(response) => return response,
        };
        let is_container = segments.get(2).is_some_and(|segment| segment == "lxc");
        let guest_kind = if is_container { GuestKind::Lxc } else { GuestKind::Qemu };
        let route = find_route(&head.method, segments);
        let mut state = self.state();
        state.advance();
        let is_on_other = segments.first().is_some_and(|segment| segment == "nodes")
            && segments.get(1).is_some_and(|node| node == state.last_node());
        let ReleaseApi { release, description } = self.other.as_ref().filter(|_| is_on_other).unwrap_or(&self.local);
        let release = *release;
        // The tables are those of 9.2.
        let needs_description = release != Release::Pve9
            || route.as_ref().is_none_or(|(route, _)| matches!(route.access, Access::Described));
        let described = needs_description.then(|| description.find_operation(&head.method, segments)).flatten();
        let (relayed, result) = match (route, described) {
            (Some((route, _)), Some(operation)) => {
                let path_params = operation.path_params.clone();
                let request = ApiRequest { caller, release, segments, path_params, params, guest_kind };
                (true, perform_described(&mut state, &operation, Some(route), request))
            }
            (None, Some(operation)) => {
                let path_params = operation.path_params.clone();
                let request = ApiRequest { caller, release, segments, path_params, params, guest_kind };
                (operation.is_protected(), perform_described(&mut state, &operation, None, request))
            }
            (Some((route, path_params)), None) if !needs_description => {
                let relayed = route.protected || path_params.get("node").is_some_and(|node| node != state.local_node());
                (
                    relayed,
                    perform(
                        &mut state,
                        route,
                        ApiRequest { caller, release, segments, path_params, params, guest_kind },
                    ),
                )
            }
            _ => (false, Err(ApiError::UnknownMethod)),
        };
        drop(state);
        let mut response = match result {
            Ok(answer) => answer_response(format, &path, answer),
            Err(error) => error_response(format, release, &format!("{} {path}", head.method), error),
        };
        // An error closes the connection, and then a node has one `Connection` header only.
        response.relayed = relayed && response.status < 400;
        response
    }
}

/// Performs an operation in the order of a node: privilege, existence of the node, parameters, handler.
fn perform(state: &mut ClusterState, route: &Route, request: ApiRequest<'_>) -> ApiResult<Answer> {
    check_access(state, route, &request)?;
    check_node(state, &request.path_params)?;
    let ApiRequest { caller, release, segments, path_params, params, guest_kind } = request;
    let params = validate(route.parameters, &path_params, params)?;
    act(state, route, Invocation { caller, release, segments, params, guest_kind, total: Cell::new(None) })
}

/// Performs an operation whose privileges and parameters the description tells. Without a route, the demo does not
/// simulate it.
fn perform_described(
    state: &mut ClusterState,
    operation: &DescribedOperation,
    route: Option<&Route>,
    request: ApiRequest<'_>,
) -> ApiResult<Answer> {
    let ApiRequest { caller, release, segments, path_params, params, guest_kind } = request;
    if operation.refuses_tokens() && caller.has_token() {
        return Err(ApiError::TicketRequired);
    }
    operation.check_access(state, caller, &params)?;
    check_node(state, &path_params)?;
    let params = operation.validate(params)?;
    match route {
        Some(route) => {
            act(state, route, Invocation { caller, release, segments, params, guest_kind, total: Cell::new(None) })
        }
        None => Err(ApiError::NotSimulated),
    }
}

/// Calls the handler of a route.
fn act(state: &mut ClusterState, route: &Route, call: Invocation<'_>) -> ApiResult<Answer> {
    if call.flag("skiplock") && call.caller.id != "root@pam" {
        return parameter_error("skiplock", "Only root may use this option.");
    }
    let data = match route.action {
        Action::Directory(key, names) => directory_rows(key, names),
        Action::Fixed(answer) => answer(),
        Action::Refusal(reason) => return fail(reason),
        Action::Handler(handler) => {
            let volume_count = state.volumes.len();
            // An operation that fails leaves no volumes that it had allocated before.
            let data = handler(state, &call).inspect_err(|_| state.volumes.truncate(volume_count))?;
            return Ok(Answer { data, total: call.total.get() });
        }
    };
    Ok(Answer { data, total: None })
}

/// Fails unless the node in the path exists. Name servers know no upper case, but Proxmox does.
fn check_node(state: &ClusterState, path_params: &RequestParams) -> ApiResult<()> {
    let Some(node) = path_params.get("node").map(value_text) else { return Ok(()) };
    if state.node(&node).is_ok() {
        return Ok(());
    }
    if state.nodes.iter().any(|other| other.name.eq_ignore_ascii_case(&node)) {
        return Err(ApiError::Unreachable);
    }
    fail(format!("hostname lookup '{node}' failed - failed to get address info for: {node}: Name or service not known"))
}

/// Fails unless the caller has the privileges that the route requires.
fn check_access(state: &ClusterState, route: &Route, request: &ApiRequest<'_>) -> ApiResult<()> {
    let (template, privileges, is_named) = match &route.access {
        Access::Anyone | Access::Described => return Ok(()),
        Access::TicketOnly if request.caller.has_token() => return Err(ApiError::TicketRequired),
        Access::TicketOnly => return Ok(()),
        Access::RootOnly if request.caller.id == "root@pam" => return Ok(()),
        Access::RootOnly => return Err(ApiError::Forbidden("user != root@pam".into())),
        Access::Privilege(template, privilege) => (template, std::slice::from_ref(privilege), true),
        Access::AnyPrivilege(template, privileges) => (template, *privileges, true),
        Access::AlternativePrivileges(template, privileges) => (template, *privileges, false),
    };
    let path = fill_path(template, &request.path_params, &request.params);
    if privileges.iter().any(|privilege| has_privilege(state, request.caller, &path, privilege)) {
        Ok(())
    } else if is_named {
        Err(ApiError::Forbidden(format!("{path}, {}", privileges.join("|"))))
    } else {
        Err(ApiError::Forbidden(String::new()))
    }
}

/// Splits a request target into the segments of its path, decoded and not empty, and its query.
fn split_target(target: &str) -> (Vec<String>, &str) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (decode_path(path).split('/').filter(|segment| !segment.is_empty()).map(String::from).collect(), query)
}

/// Returns the parameters in the query and the body of a request.
fn request_params(head: &RequestHead, query: &str, body: &[u8]) -> Result<RequestParams, Response> {
    let mut params = RequestParams::new();
    add_form(&mut params, query);
    if head.content_type.as_deref() == Some("application/json") && !body.is_empty() {
        let place = "at /usr/share/perl5/PVE/APIServer/AnyEvent.pm";
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => add_json(&mut params, object),
            Ok(_) => return Err(Response::text(500, &format!("Not a HASH reference {place} line 978."))),
            Err(error) => {
                let problem = "malformed JSON string, neither tag, array, object, number, string or atom";
                let offset = format!("at character offset {} (before \"(end of string)\")", error.column());
                return Err(Response::text(500, &format!("{problem}, {offset} {place} line 934.")));
            }
        }
    } else {
        add_form(&mut params, &String::from_utf8_lossy(body));
    }
    // Browsers add `_dc` to bypass caches.
    params.remove("_dc");
    Ok(params)
}

fn answer_response(format: &str, path: &str, answer: Answer) -> Response {
    let mut body = json!({"data": answer.data});
    if let Some(total) = answer.total {
        body["total"] = total.into();
    }
    let mut response = format_response(format, 200, "OK", body);
    // A node compresses the journal for every client.
    if path.ends_with("/journal") {
        let encoder = GzEncoder::new(response.body.as_slice(), Compression::default());
        response.body = read_all(encoder).expect("compression in memory");
        response.gzip = true;
    }
    response
}

/// Returns the response to a failed operation, which `operation` names by method and path.
fn error_response(format: &str, release: Release, operation: &str, error: ApiError) -> Response {
    let (status, text, errors) = match error {
        ApiError::Parameters(errors) => (400, "Parameter verification failed.".into(), Some(errors)),
        ApiError::Forbidden(missing) if missing.is_empty() => (403, "Permission check failed".into(), None),
        ApiError::Forbidden(missing) => (403, format!("Permission check failed ({missing})"), None),
        ApiError::TicketRequired => {
            let path = operation.split_once(' ').map_or(operation, |(_, path)| path);
            let reason = format!("URI '{path}' not available with API token, need proper ticket.\n");
            (403, format!("Permission check failed ({reason})"), None)
        }
        ApiError::Unreachable => return Response::empty(595, "Connection refused"),
        ApiError::UnknownMethod => (501, format!("Method '{operation}' not implemented"), None),
        // The text begins as on a node. The rest tells that only the demo lacks the operation.
        ApiError::NotSimulated => {
            let limit = "the demo simulates only a part of the API";
            (501, format!("Method '{operation}' not implemented ({limit})"), None)
        }
        ApiError::LoginFailed => (401, "authentication failure".into(), None),
        ApiError::NotFound(text) => (404, text, None),
        ApiError::Unsupported(what) => {
            (501, format!("Method '{operation}' not implemented (the demo does not simulate {what})"), None)
        }
        ApiError::Failed(text) => (500, text, None),
    };
    let mut body = json!({"data": null});
    // Before 9, the status line alone has the text.
    if release != Release::Pve8 {
        body["message"] = format!("{text}\n").into();
    }
    if let Some(errors) = errors {
        body["errors"] = json!(errors);
    }
    format_response(format, status, &text, body)
}

/// Creates a JSON response. The format `json` has the status in the status line, `extjs` has it in the body.
fn format_response(format: &str, status: u16, reason: &str, mut body: Value) -> Response {
    if format != "extjs" {
        return Response::json(status, reason, &body);
    }
    body["success"] = u8::from(status < 400).into();
    if status >= 400 {
        body["status"] = status.to_string().into();
    }
    Response::json(200, "OK", &body)
}

fn read_all(mut reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{ApiRequest, perform};
    use crate::model::guest::GuestKind;
    use crate::options::{Options, Release};
    use crate::parameters::{Parameter, ParameterType, RequestParams};
    use crate::permissions::Caller;
    use crate::routes::all_routes;
    use crate::routes::route::{Access, Route, parameter_name};
    use crate::seed::accounts::Secrets;
    use crate::seed::new_cluster;

    /// Returns a valid value of a parameter.
    fn sample_value(parameter: &Parameter, kind: GuestKind) -> String {
        match (parameter.name, parameter.kind) {
            ("node", _) => "pve1".into(),
            ("target", _) => "pve2".into(),
            ("vmid", _) => kind.select("100", "200").into(),
            ("newid", _) => "150".into(),
            ("storage", _) => "nas".into(),
            ("volume", _) => "nas:iso/virtio-win-0.1.271.iso".into(),
            ("upid", _) => "UPID:pve1:00000001:00000001:6B000000:qmstart:100:root@pam:".into(),
            ("userid", _) => "demo@pve".into(),
            ("id", _) => "backup-nightly".into(),
            ("poolid", _) => "prod".into(),
            ("sid", _) => "vm:104".into(),
            ("path", _) => "/vms/100".into(),
            (_, ParameterType::OneOf(words)) => words[0].into(),
            (_, ParameterType::Integer(..) | ParameterType::Number(..) | ParameterType::Boolean) => "1".into(),
            _ => "sample".into(),
        }
    }

    /// Performs an operation with its required parameters. Returns true if it succeeds.
    fn perform_sample(route: &Route, kind: GuestKind) -> bool {
        let parameters = || route.parameters.iter().copied().flatten();
        let sample = |name: &str| sample_value(parameters().find(|p| p.name == name).expect("a parameter"), kind);
        let segments: Vec<String> = route
            .path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| match (parameter_name(part), part.split_once('|')) {
                (Some(name), _) => sample(name),
                (None, Some(("qemu", "lxc"))) => kind.to_string(),
                (None, Some((first, _))) => first.into(),
                (None, None) => part.into(),
            })
            .collect();
        let path_params = route.match_path(&segments).expect("the path of the route");
        let params: RequestParams = parameters()
            .filter(|p| p.required && !path_params.contains_key(p.name))
            .map(|p| (p.name.to_string(), sample_value(p, kind).into()))
            .collect();
        let caller = Caller { id: "demo@pve!full".into() };
        let secrets = Secrets { full: "full".into(), audit: "audit".into(), root_password: "password".into() };
        let mut state = new_cluster(&Options::default(), &secrets).expect("a cluster");
        let guest_kind = if segments.get(2).is_some_and(|s| s == "lxc") { GuestKind::Lxc } else { GuestKind::Qemu };
        let segments = &segments;
        let release = Release::Pve9;
        perform(&mut state, route, ApiRequest { caller: &caller, release, segments, path_params, params, guest_kind })
            .is_ok()
    }

    /// A handler panics if its route does not require a parameter that it needs.
    #[test]
    fn handlers_find_the_parameters_that_their_routes_require() {
        let all_routes = || all_routes().filter(|route| !matches!(route.access, Access::Described));
        let of_container = all_routes().filter(|route| route.path.contains("lxc")).map(|r| (r, GuestKind::Lxc));
        let others = all_routes().filter(|route| !route.path.contains("/lxc")).map(|r| (r, GuestKind::Qemu));
        let succeeded = of_container.chain(others).filter(|(route, kind)| perform_sample(route, *kind)).count();
        assert!(succeeded > 150, "only {succeeded} calls succeeded");
    }
}
