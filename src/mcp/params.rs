//! The parameters of a request. Each member stays raw JSON text until a method needs it, and errors name the member.

use super::error::ParamsError;
use super::protocol::{LEGACY_VERSIONS, MAX_ID_BYTES, ProtocolEra};
use crate::base::json_scan::{unquote, walk};
use crate::base::trace::TraceParent;
use std::borrow::Cow;

/// The parameters of every method of MCP, read in one pass. Raw members are JSON text.
#[derive(Debug, Default)]
pub struct RequestParams<'a> {
    pub meta: RequestMeta<'a>,
    /// Tool of tools/call or prompt of prompts/get.
    pub name: Option<Cow<'a, str>>,
    /// Raw arguments of tools/call and prompts/get.
    pub arguments: Option<&'a str>,
    /// Resource of resources/read.
    pub uri: Option<Cow<'a, str>>,
    /// Raw page cursor of lists.
    pub cursor: Option<&'a str>,
    /// Raw capabilities of the client in initialize.
    pub capabilities: Option<&'a str>,
    /// Version that initialize asks for.
    pub protocol_version: Option<Cow<'a, str>>,
    /// Raw name and version of the client in initialize.
    pub client_info: Option<&'a str>,
    /// Severity of logging/setLevel.
    pub level: Option<Cow<'a, str>>,
    /// Raw prompt or template of completion/complete.
    pub reference: Option<&'a str>,
    /// Raw argument of completion/complete.
    pub argument: Option<&'a str>,
    /// Raw object of completion/complete with the arguments chosen so far.
    pub context: Option<&'a str>,
    /// Raw answers to an input-required result (2026-07-28).
    pub input_responses: Option<&'a str>,
    /// State of an input-required result (2026-07-28).
    pub request_state: Option<Cow<'a, str>>,
    /// Task of tasks/get, tasks/update and tasks/cancel (2026-07-28).
    pub task_id: Option<Cow<'a, str>>,
}

/// The `_meta` member of a request.
#[derive(Debug, Default)]
pub struct RequestMeta<'a> {
    /// Protocol version of this request. It marks the modern era.
    pub version: Option<Cow<'a, str>>,
    /// Raw capabilities of the client.
    pub capabilities: Option<&'a str>,
    /// Lowest severity of log messages that the client wants for this request.
    pub log_level: Option<Cow<'a, str>>,
    /// Raw token under which the client wants progress of this request.
    pub progress_token: Option<&'a str>,
    /// Trace that the request belongs to.
    pub trace: Option<TraceParent>,
}

impl<'a> RequestParams<'a> {
    /// Parses the JSON text of an object.
    pub(super) fn parse(raw: &'a str) -> Result<Self, ParamsError> {
        let names = [
            "_meta",
            "name",
            "arguments",
            "uri",
            "cursor",
            "capabilities",
            "protocolVersion",
            "clientInfo",
            "level",
            "ref",
            "argument",
            "context",
            "inputResponses",
            "requestState",
            "taskId",
        ];
        let [
            meta,
            name,
            arguments,
            uri,
            cursor,
            capabilities,
            version,
            client_info,
            level,
            reference,
            argument,
            context,
            responses,
            state,
            task_id,
        ] = read_members(raw, names)?;
        Ok(Self {
            meta: meta.filter(is_not_null).map(RequestMeta::parse).transpose()?.unwrap_or_default(),
            name: read_optional_string("name", name)?,
            arguments: arguments.filter(is_not_null),
            uri: read_optional_string("uri", uri)?,
            cursor: cursor.filter(is_not_null),
            capabilities: capabilities.filter(is_not_null),
            protocol_version: read_optional_string("protocolVersion", version)?,
            client_info: client_info.filter(is_not_null),
            level: read_optional_string("level", level)?,
            reference: reference.filter(is_not_null),
            argument: argument.filter(is_not_null),
            context: context.filter(is_not_null),
            input_responses: responses.filter(is_not_null),
            request_state: read_optional_string("requestState", state)?,
            task_id: read_optional_string("taskId", task_id)?,
        })
    }

    /// Returns the protocol version in `_meta`, unless it is one of the legacy era.
    pub fn claimed_version(&self) -> Option<&str> {
        self.meta.version.as_deref().filter(|version| !LEGACY_VERSIONS.contains(version))
    }

    pub fn era(&self) -> ProtocolEra {
        if self.claimed_version().is_some() { ProtocolEra::Modern } else { ProtocolEra::Legacy }
    }

    /// Returns the raw progress token, if it is valid.
    pub fn progress_token(&self) -> Option<&'a str> {
        self.meta.progress_token.filter(|token| is_valid_id(token))
    }
}

impl<'a> RequestMeta<'a> {
    fn parse(raw: &'a str) -> Result<Self, ParamsError> {
        let names = [
            "io.modelcontextprotocol/protocolVersion",
            "io.modelcontextprotocol/clientCapabilities",
            "io.modelcontextprotocol/logLevel",
            "progressToken",
            "traceparent",
        ];
        let [version, capabilities, log_level, token, trace] =
            read_members(raw, names).map_err(|error| ParamsError::Meta(Box::new(error)))?;
        Ok(Self {
            version: read_optional_string("protocolVersion", version)?,
            capabilities: capabilities.filter(is_not_null),
            log_level: read_optional_string("logLevel", log_level)?,
            progress_token: token.filter(is_not_null),
            // An invalid trace is ignored (W3C Trace Context, 4.3).
            trace: trace.and_then(decode_string).and_then(|text| TraceParent::parse(text.as_bytes())),
        })
    }
}

/// Returns the raw values of these members of an object.
pub(super) fn read_members<'a, const N: usize>(
    raw: &'a str,
    names: [&'static str; N],
) -> Result<[Option<&'a str>; N], ParamsError> {
    let (mut values, mut duplicate) = ([None; N], None);
    let is_object = raw.trim_ascii_start().starts_with('{')
        && walk(raw, &mut |key, value| {
            let key = unquote(key);
            if let Some(index) = names.iter().position(|name| *name == key)
                && values[index].replace(value).is_some()
            {
                duplicate = Some(names[index]);
            }
            true
        });
    match duplicate {
        Some(name) => Err(ParamsError::Duplicate(name)),
        None if is_object => Ok(values),
        None => Err(ParamsError::NotAnObject),
    }
}

/// Returns false for null, which counts as an absent member.
pub(super) fn is_not_null(raw: &&str) -> bool {
    *raw != "null"
}

/// Returns true if the raw value is a string or an integer that is not too long.
pub(super) fn is_valid_id(raw: &str) -> bool {
    if raw.len() > MAX_ID_BYTES {
        return false;
    }
    raw.starts_with('"')
        || (raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && !raw.contains(['.', 'e', 'E']))
}

fn read_optional_string<'a>(name: &'static str, raw: Option<&'a str>) -> Result<Option<Cow<'a, str>>, ParamsError> {
    let Some(raw) = raw.filter(is_not_null) else { return Ok(None) };
    decode_string(raw).map(Some).ok_or(ParamsError::NotAString(name))
}

/// Returns the text of a JSON string, without a copy unless it has escapes. Half a surrogate pair is not a text.
pub(super) fn decode_string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}
