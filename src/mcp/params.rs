//! The parameters of a request, read by hand: a derive would make the parser anew for every struct.

use super::message::is_valid_id;
use crate::base::json_scan::{unquote, walk};
use crate::base::trace::TraceParent;
use std::borrow::Cow;

/// Every parameter that a method of MCP may have, read in one pass; a method takes what it needs.
#[derive(Debug, Default)]
pub struct RequestParams<'a> {
    /// Of every request.
    pub meta: Option<RequestMeta<'a>>,
    /// Of tools/call and prompts/get.
    pub name: Option<Cow<'a, str>>,
    /// Of tools/call and prompts/get.
    pub arguments: Option<&'a str>,
    /// Of resources/read.
    pub uri: Option<Cow<'a, str>>,
    /// Of lists.
    pub cursor: Option<&'a str>,
    /// Of initialize.
    pub protocol_version: Option<Cow<'a, str>>,
    /// Of initialize.
    pub client_info: Option<&'a str>,
    /// Of logging/setLevel.
    pub level: Option<Cow<'a, str>>,
    /// Of completion/complete.
    pub reference: Option<&'a str>,
    /// Of completion/complete.
    pub argument: Option<&'a str>,
    /// The answers to an input-required result (2026-07-28).
    pub input_responses: Option<&'a str>,
    /// The state of an input-required result (2026-07-28).
    pub request_state: Option<Cow<'a, str>>,
}

/// A request's `_meta`.
#[derive(Debug, Default)]
pub struct RequestMeta<'a> {
    /// The version this one request speaks: the mark of the modern era.
    pub version: Option<Cow<'a, str>>,
    /// What the client can do.
    pub capabilities: Option<&'a str>,
    /// From which severity on the client wants log messages of this request.
    pub log_level: Option<Cow<'a, str>>,
    /// The client wants progress of this request, under this token.
    pub progress_token: Option<&'a str>,
    /// The trace that it belongs to.
    pub trace: Option<TraceParent>,
}

impl<'a> RequestParams<'a> {
    /// Out of an object's JSON text. The error is a clause.
    pub(super) fn parse(raw: &'a str) -> Result<Self, String> {
        let names = [
            "_meta",
            "name",
            "arguments",
            "uri",
            "cursor",
            "protocolVersion",
            "clientInfo",
            "level",
            "ref",
            "argument",
            "inputResponses",
            "requestState",
        ];
        let [meta, name, arguments, uri, cursor, version, client_info, level, reference, argument, responses, state] =
            read_members(raw, names)?;
        Ok(Self {
            meta: meta.filter(is_not_null).map(RequestMeta::parse).transpose()?,
            name: read_optional_string("name", name)?,
            arguments: arguments.filter(is_not_null),
            uri: read_optional_string("uri", uri)?,
            cursor: cursor.filter(is_not_null),
            protocol_version: read_optional_string("protocolVersion", version)?,
            client_info: client_info.filter(is_not_null),
            level: read_optional_string("level", level)?,
            reference: reference.filter(is_not_null),
            argument: argument.filter(is_not_null),
            input_responses: responses.filter(is_not_null),
            request_state: read_optional_string("requestState", state)?,
        })
    }

    /// The protocol version that the request claims for itself. No request of the older eras does; one that names such
    /// a version all the same is of that era.
    pub fn claimed_version(&self) -> Option<&str> {
        self.meta.as_ref()?.version.as_deref().filter(|version| !super::legacy::VERSIONS.contains(version))
    }

    /// The JSON text of the progress token, where there is a valid one.
    pub fn progress_token(&self) -> Option<&'a str> {
        self.meta.as_ref()?.progress_token.filter(|t| is_valid_id(t))
    }

    /// The trace that the request belongs to, if it says so.
    pub(super) fn trace(&self) -> Option<TraceParent> {
        self.meta.as_ref()?.trace
    }
}

impl<'a> RequestMeta<'a> {
    fn parse(raw: &'a str) -> Result<Self, String> {
        let names = [
            "io.modelcontextprotocol/protocolVersion",
            "io.modelcontextprotocol/clientCapabilities",
            "io.modelcontextprotocol/logLevel",
            "progressToken",
            "traceparent",
        ];
        let [version, capabilities, log_level, token, trace] =
            read_members(raw, names).map_err(|why| format!("_meta: {why}"))?;
        Ok(Self {
            version: read_optional_string("protocolVersion", version)?,
            capabilities: capabilities.filter(is_not_null),
            log_level: read_optional_string("logLevel", log_level)?,
            progress_token: token.filter(is_not_null),
            // One that can't be read is as good as none (W3C Trace Context, 4.3).
            trace: trace.and_then(decode_string).and_then(|text| TraceParent::parse(text.as_bytes())),
        })
    }
}

/// The values of these members of an object, as JSON text. Errors: it is no object, or a member stands in it twice.
pub(super) fn read_members<'a, const N: usize>(raw: &'a str, names: [&str; N]) -> Result<[Option<&'a str>; N], String> {
    let mut found = [None; N];
    collect_members(raw, &names, &mut found).map(|()| found)
}

fn collect_members<'a>(raw: &'a str, names: &[&str], found: &mut [Option<&'a str>]) -> Result<(), String> {
    let mut twice = None;
    let is_object = raw.trim_ascii_start().starts_with('{')
        && walk(raw, &mut |key, value| {
            let name = unquote(key);
            if let Some((name, found)) = names.iter().zip(found.iter_mut()).find(|(known, _)| **known == name)
                && found.replace(value).is_some()
            {
                twice = Some(*name);
            }
            true
        });
    match twice {
        Some(name) => Err(format!("{name} stands twice")),
        None if is_object => Ok(()),
        None => Err("expected an object".into()),
    }
}

/// Null says as little as an absent member.
pub(super) fn is_not_null(raw: &&str) -> bool {
    *raw != "null"
}

/// A member that is a string if it is there.
fn read_optional_string<'a>(name: &str, raw: Option<&'a str>) -> Result<Option<Cow<'a, str>>, String> {
    let Some(raw) = raw.filter(is_not_null) else { return Ok(None) };
    decode_string(raw).map(Some).ok_or_else(|| format!("{name} must be a string"))
}

/// What a JSON string says, without a copy unless it has escapes. `None` for half a surrogate pair as well.
pub(super) fn decode_string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}
