//! The sender of an answer: Proxmox, a node that can't act, or a proxy before the node.

use crate::base::json_scan::{unquote, walk};
use crate::pve::client::retry::AttemptEnd;
use crate::pve::knowledge::messages::{Meaning, classify};
use crate::pve::knowledge::other_servers::recognize_refusal;
use crate::pve::knowledge::text::to_one_line;
use memchr::memmem;
use std::borrow::Cow;
use ureq::http::StatusCode;

/// The longest title of a web page that is shown.
const MAX_TITLE_CHARS: usize = 120;

/// The bytes of a web page that are searched for its title.
const MAX_TITLE_SEARCH: usize = 8 << 10;

/// Sender of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pve) enum AnswerOrigin {
    /// Proxmox.
    Proxmox,
    /// A node that says that it can't act at all. Nothing was done.
    DisabledNode,
    /// A server other than Proxmox VE, which rejected the request.
    OtherServer,
    /// A node that does not accept the token.
    TokenCheck,
    /// A proxy or load balancer between this server and the node. The node may have got the request.
    Proxy,
    /// A proxy or another web server that rejected the request itself. The node did not get it.
    ProxyRejection,
}

impl AnswerOrigin {
    /// Returns the end of the attempt that got the answer.
    pub(in crate::pve) fn attempt_end(self) -> AttemptEnd {
        match self {
            Self::Proxmox => AttemptEnd::Answered,
            Self::DisabledNode => AttemptEnd::NodeDisabled,
            Self::OtherServer => AttemptEnd::OtherServer,
            Self::TokenCheck => AttemptEnd::TokenRejected,
            Self::Proxy | Self::ProxyRejection => AttemptEnd::ProxyAnswered,
        }
    }
}

/// Determines the sender of an answer.
pub(in crate::pve) fn determine(status: u16, reason: &str, content_type: &str, body: &[u8]) -> AnswerOrigin {
    match status {
        0..=299 if is_web_page(body) && !content_type.starts_with("text/plain") => return AnswerOrigin::Proxy,
        0..=299 if is_foreign_success(content_type, body) => return AnswerOrigin::Proxy,
        0..=299 => return AnswerOrigin::Proxmox,
        300..=399 => return AnswerOrigin::ProxyRejection,
        _ => {}
    }
    let envelope = ErrorEnvelope::parse(body);
    // (PVE: a proxy daemon that can't start its check of the token answers 401 or 500, with the cause.)
    let reason = to_one_line(reason, 1_000);
    let message = envelope.message().map_or_else(|| reason.clone(), |text| to_one_line(&text, 1_000));
    // (PBS: its refusals are plain text.)
    let plain = || to_one_line(str::from_utf8(body).unwrap_or_default(), 1_000);
    if !envelope.is_json && recognize_refusal(status, &plain()).is_some() {
        return AnswerOrigin::OtherServer;
    }
    // (PVE: each of its JSON answers has `data`.)
    let is_proxmox_json = envelope.is_json && envelope.has_data;
    let has_no_words = envelope.message().is_none() && is_generic_phrase(status, &reason);
    // (PVE: its HTTP server sends plain text without a content type.)
    let has_foreign_text = !body.trim_ascii().is_empty() && !content_type.trim().is_empty();
    let is_foreign = !is_proxmox_json && (is_web_page(body) || has_foreign_text);
    match classify(status, &message).meaning {
        Meaning::SickNode | Meaning::NoQuorum => AnswerOrigin::DisabledNode,
        _ if status < 500 && is_foreign => AnswerOrigin::ProxyRejection,
        _ if status == 401 => AnswerOrigin::TokenCheck,
        _ if is_gateway_status(status) && (has_no_words || !is_proxmox_json) => AnswerOrigin::Proxy,
        _ if status >= 500 && !envelope.is_json && is_web_page(body) => AnswerOrigin::Proxy,
        // (PVE: it always says which privilege or object is missing.)
        _ if matches!(status, 403 | 404) && !envelope.is_json && has_no_words => AnswerOrigin::ProxyRejection,
        _ if matches!(status, 402..=499) && !matches!(status, 403 | 404 | 424) && !is_proxmox_json => {
            AnswerOrigin::ProxyRejection
        }
        _ => AnswerOrigin::Proxmox,
    }
}

/// Returns whether a reason phrase is that of the status itself, so that it says nothing of the cause.
pub(in crate::pve) fn is_generic_phrase(status: u16, phrase: &str) -> bool {
    phrase.is_empty()
        || StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .is_some_and(|canonical| canonical.eq_ignore_ascii_case(phrase))
}

/// Returns whether proxies answer with this status, and Proxmox does not without its JSON.
fn is_gateway_status(status: u16) -> bool {
    matches!(status, 502..=504 | 520..=530)
}

/// The longest success of another program that is searched for the member `data`. Lists of Proxmox are longer.
const MAX_FOREIGN_BYTES: usize = 4 << 10;

/// Returns whether a success is not one of Proxmox: each of its answers that is no file is a JSON object with `data`.
fn is_foreign_success(content_type: &str, body: &[u8]) -> bool {
    let is_json = content_type.is_empty() || content_type.starts_with("application/json");
    // Most answers begin so, and need no second look.
    let is_envelope = body.starts_with(br#"{"data":"#);
    is_json && !is_envelope && body.len() <= MAX_FOREIGN_BYTES && {
        let envelope = ErrorEnvelope::parse(body);
        !body.trim_ascii_start().starts_with(b"{") || (envelope.is_json && !envelope.has_data)
    }
}

/// Returns the status that an answer of Proxmox with this success had before a proxy changed it. (PVE: only an error has
/// `message` or `errors`, and no data.)
pub(in crate::pve) fn find_replaced_status(body: &[u8]) -> Option<u16> {
    // The message of an error is short, and most answers are a list or an object.
    if body.len() > MAX_FOREIGN_BYTES || memmem::find(body, b"null").is_none() {
        return None;
    }
    let envelope = ErrorEnvelope::parse(body);
    let is_error = envelope.has_data && envelope.is_data_null;
    match (envelope.errors, envelope.message()) {
        (Some(errors), _) if is_error && errors.starts_with('{') => Some(400),
        (_, Some(_)) if is_error => Some(500),
        _ => None,
    }
}

/// Returns whether a body is HTML.
pub(in crate::pve) fn is_web_page(body: &[u8]) -> bool {
    let start = body.trim_ascii_start();
    let has_start = |tag: &[u8]| start.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    has_start(b"<!doctype") || has_start(b"<html") || has_start(b"<head") || has_start(b"<body")
}

/// Returns the title of a web page on one line.
pub(in crate::pve) fn find_title(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body.get(..MAX_TITLE_SEARCH).unwrap_or(body)).into_owned();
    let folded = text.to_ascii_lowercase();
    let tag = folded.find("<title")?;
    let start = tag + folded.get(tag..)?.find('>')? + 1;
    let end = start + folded.get(start..)?.find("</title")?;
    Some(to_one_line(text.get(start..end)?, MAX_TITLE_CHARS)).filter(|title| !title.is_empty())
}

/// Members of the body of an error response, without a tree of the body in memory.
pub(in crate::pve) struct ErrorEnvelope<'a> {
    /// The body is a JSON object.
    pub(in crate::pve) is_json: bool,
    /// The object has the member `data`.
    has_data: bool,
    /// `data` is null.
    is_data_null: bool,
    message: Option<&'a str>,
    /// The JSON text of `errors`.
    pub(in crate::pve) errors: Option<&'a str>,
}

impl<'a> ErrorEnvelope<'a> {
    pub(in crate::pve) fn parse(body: &'a [u8]) -> Self {
        let (mut message, mut errors, mut data) = (None, None, None);
        let text = str::from_utf8(body).unwrap_or_default();
        let is_object = text.trim_ascii_start().starts_with('{');
        let is_json = is_object
            && walk(text, &mut |key, value| {
                match unquote(key).as_ref() {
                    "message" => message = Some(value),
                    "errors" => errors = Some(value),
                    "data" => data = Some(value),
                    _ => {}
                }
                true
            });
        let (has_data, is_data_null) = (data.is_some(), data == Some("null"));
        Self {
            is_json,
            has_data,
            is_data_null,
            message: message.filter(|_| is_json),
            errors: errors.filter(|_| is_json),
        }
    }

    /// Returns Proxmox's message, if it is a text that is not empty.
    pub(in crate::pve) fn message(&self) -> Option<Cow<'a, str>> {
        let message = self.message.filter(|value| value.starts_with('"')).map(unquote)?;
        Some(message).filter(|text| !text.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_of_an_answer_is_determined_by_status_and_body() {
        let page = "<html><head><title>502 Bad Gateway</title></head></html>";
        for (status, reason, content_type, body, origin) in [
            (200, "", "text/html", page, AnswerOrigin::Proxy),
            (200, "OK", "", r#"{"data":1}"#, AnswerOrigin::Proxmox),
            (200, "OK", "application/json", r#"{"status":"ok"}"#, AnswerOrigin::Proxy),
            (302, "Found", "", "", AnswerOrigin::ProxyRejection),
            (500, "Internal Server Error", "", r#"{"data":null}"#, AnswerOrigin::Proxmox),
            (500, "no such user", "", "", AnswerOrigin::Proxmox),
            (500, "Internal Server Error", "text/html", page, AnswerOrigin::Proxy),
            (502, "Bad Gateway", "", "", AnswerOrigin::Proxy),
            (502, "Bad Gateway", "", r#"{"data":null}"#, AnswerOrigin::Proxy),
            (503, "", "", "upstream connect error", AnswerOrigin::Proxy),
            (503, "busy", "", r#"{"data":null}"#, AnswerOrigin::Proxmox),
            (522, "", "", "", AnswerOrigin::Proxy),
            (401, "No ticket", "", "", AnswerOrigin::TokenCheck),
            (401, "Unauthorized", "text/html", page, AnswerOrigin::ProxyRejection),
            (
                500,
                "RPCEnvironment init request failed: Unable to load access control list: x",
                "",
                "",
                AnswerOrigin::DisabledNode,
            ),
            (401, "ipcc_send_rec[1] failed: Connection refused", "", "", AnswerOrigin::DisabledNode),
            (500, "x", "", r#"{"message":"cluster not ready - no quorum?\n"}"#, AnswerOrigin::DisabledNode),
            (404, "Not Found", "text/html", page, AnswerOrigin::ProxyRejection),
            (404, "Not Found", "text/plain; charset=utf-8", "404 page not found\n", AnswerOrigin::ProxyRejection),
            (404, "endpoint 'x1' not found", "application/json", r#"{"data":null}"#, AnswerOrigin::Proxmox),
            (429, "Too Many Requests", "", "", AnswerOrigin::ProxyRejection),
            (499, "Client Closed Request", "", "", AnswerOrigin::ProxyRejection),
            (401, "Unauthorized", "text/plain", "authentication failed - no user", AnswerOrigin::OtherServer),
            (404, "Not Found", "text/plain", "Path '/api2/json/nodes' not found.", AnswerOrigin::OtherServer),
            (424, "node is not in a cluster, no join info available!", "", "", AnswerOrigin::Proxmox),
            (200, "OK", "", "", AnswerOrigin::Proxy),
            (200, "OK", "application/json", "[1]", AnswerOrigin::Proxy),
            (200, "OK", "application/json", r#"{"data":["#, AnswerOrigin::Proxmox),
            (200, "OK", "text/plain", "", AnswerOrigin::Proxmox),
            (499, "", "", "", AnswerOrigin::ProxyRejection),
            (403, "Permission check failed", "", "", AnswerOrigin::Proxmox),
            (400, "Bad Request", "", "", AnswerOrigin::Proxmox),
            (400, "bad request", "", "unable to parse", AnswerOrigin::Proxmox),
            (404, "Not Found", "application/json", r#"{"message":"no Route matched"}"#, AnswerOrigin::ProxyRejection),
            (401, "Unauthorized", "application/json", r#"{"message":"no API key"}"#, AnswerOrigin::ProxyRejection),
            (502, "Bad Gateway", "application/json", r#"{"message":"invalid upstream"}"#, AnswerOrigin::Proxy),
        ] {
            let found = determine(status, reason, content_type, body.as_bytes());
            assert_eq!(found, origin, "{status} {reason} {body}");
        }
    }

    #[test]
    fn the_title_of_a_page_is_found() {
        assert_eq!(find_title(b"<HTML><Title lang=x>\n Sign in </TITLE>").as_deref(), Some("Sign in"));
        assert_eq!(find_title(b"<title></title>"), None);
        assert_eq!(find_title(b"plain"), None);
    }
}
