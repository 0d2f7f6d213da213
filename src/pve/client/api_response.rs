//! What a node answered: the envelope around `data`, and Proxmox's words where it refused.

use crate::base::json_scan::{unquote, walk};
use crate::pve::error::PveError;
use crate::pve::knowledge::messages::to_one_line;
use serde::de::IgnoredAny;
use std::ops::Range;

/// Long enough for every message of Proxmox, short enough for a model's context.
const MAX_MESSAGE_CHARS: usize = 1_000;

/// Parameters that an error tells of: the largest operation, a VM's config, has some hundred, those counted once that
/// come in numbers.
const MAX_PARAMETER_ERRORS: usize = 200;

/// Takes the token's secret out of a stranger's words.
pub(in crate::pve) type SecretFilter<'a> = dyn Fn(String) -> String + 'a;

/// What a node answered: the body as it came, and where in it `data` is.
#[derive(Debug)]
pub struct ApiResponse {
    body: String,
    data: Range<usize>,
    has_extra_fields: bool,
}

impl ApiResponse {
    /// Finds `data` in a body. The error is a clause that says what the body is instead, and the parser's words;
    /// whatever of the body they show has gone through `scrub`.
    pub(in crate::pve) fn parse(body: String, scrub: &SecretFilter<'_>) -> Result<Self, (String, String)> {
        let starts = |what, body| describe_start(what, body, scrub);
        let (mut found, mut twice, mut more) = (None, false, false);
        let is_object = body.trim_ascii_start().starts_with('{')
            && walk(&body, &mut |key, value| {
                if unquote(key) == "data" {
                    twice |= found.replace(value).is_some();
                } else {
                    more = true;
                }
                true
            });
        match found {
            Some(data) if is_object && !twice => {
                // Where the borrowed text lies in the body, so that the body can move on with it.
                let start = (data.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
                let data = start..start + data.len();
                Ok(Self { body, data, has_extra_fields: more })
            }
            None if is_object => {
                Err((starts("it has no `data`, which every answer of Proxmox has", body.as_bytes()), String::new()))
            }
            _ => {
                let why = serde_json::from_str::<IgnoredAny>(&body).err().map(|error| error.to_string());
                let why = why.unwrap_or_else(|| "expected an object with `data` once".into());
                Err((starts("it is not Proxmox's JSON", body.as_bytes()), to_one_line(&scrub(why), 200)))
            }
        }
    }

    /// The same where `data` is to be a list that its reader checks by itself: then there is no need to read it twice. Where
    /// it looks like all of the body and is not, that reader finds no list.
    pub(in crate::pve) fn parse_list(body: String, scrub: &SecretFilter<'_>) -> Result<Self, (String, String)> {
        const OPEN: &str = r#"{"data":"#;
        let data = OPEN.len()..body.len().saturating_sub(1);
        match body.get(data.clone()) {
            Some(list) if body.starts_with(OPEN) && list.starts_with('[') && body.ends_with("]}") => {
                Ok(Self { body, data, has_extra_fields: false })
            }
            _ => Self::parse(body, scrub),
        }
    }

    /// The same error of a body that is no text.
    pub(in crate::pve) fn describe_non_utf8(body: &[u8], scrub: &SecretFilter<'_>) -> (String, String) {
        (describe_start("it is not UTF-8", body, scrub), String::new())
    }

    /// The same answer with its JSON text changed, which must stay an object with `data`.
    pub fn map_body(self, change: impl FnOnce(String) -> String) -> Self {
        let nothing = || Self { body: "null".into(), data: 0..4, has_extra_fields: false };
        Self::parse(change(self.body), &|text| text).unwrap_or_else(|_| nothing())
    }

    /// The JSON text of the answer's `data`.
    pub fn data(&self) -> &str {
        self.body.get(self.data.clone()).unwrap_or_default()
    }

    /// The JSON text of the whole body: an object with `data`.
    pub(in crate::pve) fn body(&self) -> &str {
        &self.body
    }

    /// Whether Proxmox put anything else beside `data`.
    pub fn has_extra_fields(&self) -> bool {
        self.has_extra_fields
    }

    /// The JSON text to hand on: `data` alone, or the whole body where Proxmox put anything else beside it (`total`).
    pub fn payload(&self) -> &str {
        if self.has_extra_fields { &self.body } else { self.data() }
    }

    /// The same text out of the body's own memory: nothing is copied beside it.
    pub fn into_payload(mut self) -> String {
        if !self.has_extra_fields {
            // Both ends of `data` were found by a parser of UTF-8, so that no character is cut.
            self.body.truncate(self.data.end);
            self.body.drain(..self.data.start);
        }
        self.body
    }
}

/// `what`, and how the body starts.
fn describe_start(what: &str, body: &[u8], scrub: &SecretFilter<'_>) -> String {
    // More than is shown, so that a secret at the cut is seen whole.
    let start = body.get(..1_000).unwrap_or(body);
    match to_one_line(&scrub(String::from_utf8_lossy(start).into_owned()), 100) {
        text if text.is_empty() => "it is empty".into(),
        text => format!("{what}; it starts with {text:?}. Check the address and port in clusters.json"),
    }
}

/// What a status that is no success says. `message` stands in the body since Proxmox VE 9; older servers, and all of
/// them for 401 and 595 to 599, put it only into the status line; the HTTP layer's own errors are plain text.
pub(in crate::pve) fn parse_error_response(
    status: u16,
    reason: &str,
    body: &[u8],
    call: String,
    (user, token_id): (&str, &str),
    scrub: &SecretFilter<'_>,
) -> PveError {
    let words = |text: &str| to_one_line(&scrub(text.to_owned()), MAX_MESSAGE_CHARS);
    // Nothing but these two is looked at, and no tree of them built in memory.
    let (mut message, mut errors) = (None, None);
    let body_text = str::from_utf8(body).unwrap_or_default();
    let json = walk(body_text, &mut |key, value| {
        match unquote(key).as_ref() {
            "message" => message = Some(value),
            "errors" => errors = Some(value),
            _ => {}
        }
        true
    });
    let said = match message.filter(|_| json).and_then(decode_string).map(|t| words(&t)) {
        Some(message) if !message.is_empty() => message,
        _ => match words(reason) {
            phrase if phrase.is_empty() && !json => words(&String::from_utf8_lossy(body)),
            phrase => phrase,
        },
    };
    match status {
        401 => PveError::Unauthorized { message: said, user: user.to_owned(), token_id: token_id.to_owned() },
        403 => PveError::Forbidden { missing_privilege: parse_missing_privilege(&said), message: said },
        400 => {
            let mut parameters = Vec::new();
            walk(errors.filter(|_| json).unwrap_or_default(), &mut |name, value| {
                let explained = decode_string(value).map_or_else(|| words(value), |t| words(&t));
                parameters.push((words(&unquote(name)), explained));
                parameters.len() < MAX_PARAMETER_ERRORS
            });
            parameters.sort();
            if parameters.is_empty() {
                PveError::Failed { status, message: said, call }
            } else {
                PveError::ParametersRejected { parameters }
            }
        }
        _ => PveError::Failed { status, message: said, call },
    }
}

/// The text of a JSON string.
fn decode_string(value: &str) -> Option<String> {
    value.starts_with('"').then(|| unquote(value).into_owned())
}

/// `(/vms/100, VM.Audit)` out of `Permission check failed (/vms/100, VM.Audit)`. The path is empty where Proxmox
/// could not tell one.
fn parse_missing_privilege(said: &str) -> Option<(String, String)> {
    let inner = said.strip_prefix("Permission check failed (")?.strip_suffix(')')?;
    let (path, privilege) = inner.split_once(", ")?;
    let plausible = (path.is_empty() || path.starts_with('/')) && privilege.contains('.') && !privilege.contains(' ');
    plausible.then(|| (path.to_owned(), privilege.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<ApiResponse, (String, String)> {
        ApiResponse::parse(body.to_owned(), &|text| text)
    }

    #[test]
    fn data_is_found_wherever_it_is_in_the_body() {
        for (body, data, verbatim) in [
            (r#"{"data":[1, 2]}"#, "[1, 2]", "[1, 2]"),
            (r#" { "data" : {"a":"ü"} } "#, r#"{"a":"ü"}"#, r#"{"a":"ü"}"#),
            (r#"{"total":7,"data":"x"}"#, r#""x""#, r#"{"total":7,"data":"x"}"#),
            (r#"{"d\u0061ta":null}"#, "null", "null"),
        ] {
            let answer = parse(body).unwrap();
            assert_eq!((answer.data(), answer.payload()), (data, verbatim), "{body}");
            assert_eq!(answer.into_payload(), verbatim, "{body}");
        }
    }

    #[test]
    fn the_verbatim_text_is_no_second_copy() {
        for body in [r#" {"data":["ü", 2]} "#, r#"{"total":7,"data":"x"}"#] {
            let answer = parse(body).unwrap();
            let memory = answer.body.as_ptr();
            let verbatim = answer.into_payload();
            assert_eq!(verbatim.as_ptr(), memory);
        }
    }

    #[test]
    fn what_is_no_envelope_says_what_it_is() {
        for (body, hint) in [
            ("", "empty"),
            ("<!DOCTYPE html>\n<title>login</title>", "<!DOCTYPE html>; <title>"),
            (r#"{"message":"x"}"#, "no `data`"),
            (r#"{"data":1,"data":2}"#, "not Proxmox's JSON"),
            (r#"{"data":[1,"#, "not Proxmox's JSON"),
            (r#"{"data":1} trailing"#, "not Proxmox's JSON"),
            ("[1]", "not Proxmox's JSON"),
        ] {
            let (why, _) = parse(body).unwrap_err();
            assert!(why.contains(hint), "{body}: {why}");
        }
        assert!(ApiResponse::describe_non_utf8(b"\xff\n\x07", &|text| text).0.contains("UTF-8"));
    }

    #[test]
    fn nesting_without_end_is_not_followed() {
        let deep = "[".repeat(500_000);
        assert!(parse(&format!("{{\"data\":{deep}")).is_err());
        let closed = format!("{{\"data\":{deep}{}}}", "]".repeat(500_000));
        assert_eq!(parse(&closed).unwrap().data().len(), 1_000_000);
    }

    #[test]
    fn of_an_errors_body_only_its_words_are_built() {
        // Deeper than a JSON value may be: whoever builds one of it fails.
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let text = error_for(500, "phrase", &format!(r#"{{"data":{deep},"message":"words"}}"#)).to_string();
        assert!(text.contains("words"), "{text}");
        let text = error_for(400, "phrase", &format!(r#"{{"errors":{{"a":"bad","b":7}},"data":{deep}}}"#)).to_string();
        assert!(text.contains("`a`: bad; `b`: 7"), "{text}");
        let many: Vec<_> = (0..50_000).map(|n| format!(r#""p{n}":"x""#)).collect();
        assert!(error_for(400, "", &format!(r#"{{"errors":{{{}}}}}"#, many.join(","))).to_string().len() < 5_000);
    }

    fn error_for(status: u16, reason: &str, body: &str) -> PveError {
        parse_error_response(status, reason, body.as_bytes(), "GET /x".into(), ("root@pam", "mcp"), &|text| text)
    }

    #[test]
    fn the_privilege_that_is_missing_is_named() {
        let body = r#"{"message":"Permission check failed (/vms/100, VM.Audit|VM.Config)\n","data":null}"#;
        let text = error_for(403, "", body).to_string();
        assert!(text.contains("needs VM.Audit or VM.Config on /vms/100"), "{text}");
        let text = error_for(403, "Permission check failed (, Sys.Audit)", "").to_string();
        assert!(text.contains("needs Sys.Audit on a path Proxmox did not name"), "{text}");
        let ticket =
            "Permission check failed (URI '/access/ticket' not available with API token, need proper ticket.\n)\n";
        let text = error_for(403, ticket, "").to_string();
        assert!(text.contains("never for an API token"), "{text}");
    }

    #[test]
    fn each_rejected_parameter_has_its_text_in_order() {
        let body = r#"{"data":null,"message":"Parameter verification failed.\n","errors":{
            "vmid":"property is missing and it is not optional","memory":"format error\nmemory.current: type check\n"}}"#;
        let text = error_for(400, "Parameter verification failed.", body).to_string();
        assert!(
            text.contains("`memory`: format error; memory.current: type check; `vmid`: property is missing"),
            "{text}"
        );
        assert_eq!(error_for(400, "Bad", r#"{"errors":{}}"#).kind(), "failed");
    }

    #[test]
    fn a_body_that_is_only_a_list_is_sliced_without_parsing() {
        let list = |body: &str| ApiResponse::parse_list(body.to_owned(), &|text| text).unwrap();
        assert_eq!(list(r#"{"data":[{"a":1}]}"#).data(), r#"[{"a":1}]"#);
        let more = list(r#"{"data":[{"a":1}],"total":1}"#);
        assert_eq!((more.data(), more.has_extra_fields()), (r#"[{"a":1}]"#, true));
        assert_eq!(list(r#"{ "data" : [] }"#).data(), "[]");
        assert_eq!(list(r#"{"data":[],"x":[]}"#).data(), r#"[],"x":[]"#, "no list to any reader");
        assert!(ApiResponse::parse_list("<html>".into(), &|text| text).is_err());
    }

    #[test]
    fn proxmoxs_words_come_from_wherever_they_are() {
        for (reason, body, said) in [
            ("phrase", r#"{"message":"words\n","data":null}"#, "words"),
            ("phrase", r#"{"data":null}"#, "phrase"),
            ("phrase", "phrase\n\n", "phrase"),
            ("", "plain text", "plain text"),
            ("phrase", r#"{"message":["no text"]}"#, "phrase"),
            ("", "", ""),
        ] {
            match error_for(500, reason, body) {
                PveError::Failed { message: got, .. } => assert_eq!(got, said),
                other => panic!("{other:?}"),
            }
        }
    }
}
