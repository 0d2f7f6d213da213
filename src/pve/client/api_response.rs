//! The envelope around `data` in a node's answer, and Proxmox's message in an error response.

use crate::base::json_scan::{unquote, walk};
use crate::base::memory::{CallMemory, MemoryError, MemoryReservation, MemoryWait};
use crate::base::secret::Secret;
use crate::pve::client::answer_origin::{self, AnswerOrigin, ErrorEnvelope};
use crate::pve::client::retry::{self, AttemptEnd, Decision};
use crate::pve::client::secret_filter::SecretFilter;
use crate::pve::client::transport::NodeResponse;
use crate::pve::error::{EnvelopeError, PveError, UnknownOutcome};
use crate::pve::guests::{Guest, GuestList, parse_guests};
use crate::pve::knowledge::messages::{self, Diagnosis, Meaning, MissingPrivilege, classify};
use crate::pve::knowledge::other_servers;
use crate::pve::knowledge::text::{decode_bytes, escape_controls, to_one_line};
use crate::pve::method::Method;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::any::Any;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Long enough for every message of Proxmox, short enough for a model's context.
const MAX_MESSAGE_CHARS: usize = 1_000;

/// Memory of a row beside its text: the cells of a table, the fields of a guest, or eight values to sort by.
const ROW_BYTES: usize = 512;

/// Parameters named in an error. The largest operation, a VM's config, has about a hundred, families counted once.
const MAX_PARAMETER_ERRORS: usize = 200;

/// The most bytes of an answer for which a caller makes its own product rather than wait for that of another thread. The
/// wait costs two switches of a thread, and half of the callers waited. (Measured: for 17 KiB both cost the same.)
const MAX_UNAWAITED_BYTES: usize = 8 << 10;

/// The range of `data` was found in the body.
const DATA_IN_BODY: &str = "a range of the body";

/// Successful answer of a node: the body as it came, and the position of `data` in it.
#[derive(Debug)]
pub struct ApiResponse {
    body: Arc<AnswerBody>,
    data: Range<usize>,
    has_extra_fields: bool,
    memory: MemoryReservation,
    /// The memory of a body that several callers have.
    shared_memory: Option<Arc<MemoryReservation>>,
}

/// Body of an answer, with what is made of it once for all callers that have it.
#[derive(Debug)]
struct AnswerBody {
    text: String,
    guests: OnceLock<Result<Arc<[Guest]>, PveError>>,
    /// A key, and what was made for it.
    product: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// Successful answer of a node to several callers.
#[derive(Debug)]
pub(in crate::pve) struct SharedResponse {
    body: Arc<AnswerBody>,
    data: Range<usize>,
    has_extra_fields: bool,
    memory: Arc<MemoryReservation>,
}

impl SharedResponse {
    /// Returns the answer for one caller, with the memory of the caller's copy and of what is made of it.
    pub(in crate::pve) fn to_response(
        &self,
        memory: &CallMemory,
        wait: &MemoryWait<'_>,
    ) -> Result<ApiResponse, MemoryError> {
        let text = &self.body.text;
        let bytes = answer_memory(text.len()).max(rows_memory(text));
        Ok(ApiResponse {
            body: self.body.clone(),
            data: self.data.clone(),
            has_extra_fields: self.has_extra_fields,
            memory: memory.reserve_within(bytes, wait)?,
            shared_memory: Some(self.memory.clone()),
        })
    }

    /// Returns the guests of the list, parsed once for all callers.
    pub(in crate::pve) fn guests(&self) -> Result<GuestList, PveError> {
        Ok(GuestList::new(self.body.guests(&self.data)?, Some(self.memory.clone())))
    }
}

impl AnswerBody {
    /// Returns the guests of the list at `data`, which is parsed once.
    fn guests(&self, data: &Range<usize>) -> Result<Arc<[Guest]>, PveError> {
        let parse = || parse_guests(self.text.get(data.clone()).expect(DATA_IN_BODY)).map(Arc::from);
        self.guests.get_or_init(parse).clone()
    }
}

/// Returns the memory of an answer of `bytes`: the body, a copy without secrets, and the text that is made of it. Short
/// answers have short rows, and the cells of a row take more than its text.
pub(in crate::pve) fn answer_memory(bytes: usize) -> usize {
    const SHORT_ANSWER: usize = 1 << 20;
    bytes.saturating_add(bytes.min(SHORT_ANSWER)).saturating_mul(4)
}

/// Returns the memory of a body and of a table or a list that is made of its rows.
fn rows_memory(body: &str) -> usize {
    let rows = memchr::memchr_iter(b'{', body.as_bytes()).count();
    body.len().saturating_mul(2).saturating_add(rows.saturating_mul(ROW_BYTES))
}

impl ApiResponse {
    fn new(body: String, data: Range<usize>, has_extra_fields: bool) -> Self {
        let body = Arc::new(AnswerBody { text: body, guests: OnceLock::new(), product: OnceLock::new() });
        Self { body, data, has_extra_fields, memory: MemoryReservation::default(), shared_memory: None }
    }

    /// Finds `data` in a body. Parts of the body in the error are filtered.
    pub(in crate::pve) fn parse(body: String, filter: &SecretFilter) -> Result<Self, EnvelopeError> {
        let (mut data, mut is_duplicate, mut has_extra_fields) = (None, false, false);
        let is_object = body.trim_ascii_start().starts_with('{')
            && walk(&body, &mut |key, value| {
                if unquote(key) == "data" {
                    is_duplicate |= data.replace(value).is_some();
                } else {
                    has_extra_fields = true;
                }
                true
            });
        match data {
            Some(data) if is_object && !is_duplicate => {
                // The range of the borrowed text allows the body to be moved.
                let start = (data.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
                let data = start..start + data.len();
                Ok(Self::new(body, data, has_extra_fields))
            }
            _ if answer_origin::is_web_page(body.as_bytes()) => Err(EnvelopeError::WebPage {
                title: answer_origin::find_title(body.as_bytes()).map(|title| filter.redact_message(title)),
            }),
            data => Err(match start_of(body.as_bytes(), filter) {
                None => EnvelopeError::Empty,
                Some(start) if is_object && data.is_none() => EnvelopeError::NoData { start },
                Some(start) => {
                    let error = serde_json::from_str::<IgnoredAny>(&body).err();
                    let detail = match &error {
                        Some(error) => to_one_line(&filter.redact_message(error.to_string()), 200),
                        None => "expected an object with `data` once".into(),
                    };
                    let bytes = body.len();
                    match error.filter(|_| body.trim_ascii_start().starts_with("{\"")) {
                        Some(error) if error.is_eof() => EnvelopeError::CutShort { bytes, detail },
                        Some(error) => EnvelopeError::InvalidJson { at: find_offset(&body, &error), bytes, detail },
                        None => EnvelopeError::NotProxmoxJson { start, detail },
                    }
                }
            }),
        }
    }

    /// Finds a `data` that should be a list. The list is not parsed, because its reader does so. If it is not a list,
    /// that reader fails.
    pub(in crate::pve) fn parse_list(body: String, filter: &SecretFilter) -> Result<Self, EnvelopeError> {
        const OPEN: &str = r#"{"data":"#;
        let data = OPEN.len()..body.len().saturating_sub(1);
        match body.get(data.clone()) {
            Some(list) if body.starts_with(OPEN) && list.starts_with('[') && body.ends_with("]}") => {
                Ok(Self::new(body, data, false))
            }
            _ => Self::parse(body, filter),
        }
    }

    /// Parses the bytes of a body. Bytes that are not UTF-8, as in a line of the journal, are Latin-1, and control
    /// characters are read as if they were escaped.
    pub(in crate::pve) fn parse_bytes(
        body: Vec<u8>,
        filter: &SecretFilter,
        parse: fn(String, &SecretFilter) -> Result<Self, EnvelopeError>,
    ) -> Result<Self, EnvelopeError> {
        let parse = |body| parse(filter.redact_body(escape_controls(body)), filter);
        match String::from_utf8(body) {
            Ok(body) => parse(body),
            Err(error) => {
                parse(decode_bytes(error.as_bytes())).map_err(|_| Self::describe_non_utf8(error.as_bytes(), filter))
            }
        }
    }

    /// Builds an answer from a file, which comes without an envelope. Returns `None` for JSON and web pages.
    pub(in crate::pve) fn from_file(response: &NodeResponse, filter: &SecretFilter) -> Option<Self> {
        let NodeResponse { body, headers, .. } = response;
        let (kind, _) = headers.content_type.split_once(';').unwrap_or((&headers.content_type, ""));
        let kind = kind.trim();
        let is_text = kind.starts_with("text/");
        if !headers.is_attachment {
            let is_file = !kind.is_empty() && !kind.eq_ignore_ascii_case("application/json");
            let is_page = !is_text && answer_origin::is_web_page(body) || kind.eq_ignore_ascii_case("text/html");
            // The node may send its JSON under another name.
            let is_json = || body.trim_ascii_start().starts_with(b"{") && ErrorEnvelope::parse(body).is_json;
            if !is_file || is_page || is_json() {
                return None;
            }
        }
        // A text may have bytes of another encoding, and the output of a guest any character.
        let is_binary = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r' | b'\x1b');
        let data = match body.as_slice() {
            [] => "an empty file".to_owned(),
            body if is_text || !body.iter().any(is_binary) => filter.redact_body(decode_bytes(body)),
            body => format!("a file of {} bytes ({}), which is not shown", body.len(), to_one_line(kind, 80)),
        };
        let data = Value::String(data).to_string();
        let body = format!("{{\"data\":{data}}}");
        let range = 8..body.len() - 1;
        Some(Self::new(body, range, false))
    }

    /// Describes a body that is not UTF-8.
    pub(in crate::pve) fn describe_non_utf8(body: &[u8], filter: &SecretFilter) -> EnvelopeError {
        start_of(body, filter).map_or(EnvelopeError::Empty, |start| EnvelopeError::NotUtf8 { start })
    }

    /// Changes the JSON text, which must stay an object with `data`. Otherwise the result is `null`.
    pub fn map_body(self, change: impl FnOnce(&str) -> Cow<'_, str>) -> Self {
        let Cow::Owned(changed) = change(&self.body.text) else { return self };
        let changed = Self::parse(changed, &SecretFilter::new(Secret::new(String::new())));
        let changed = changed.unwrap_or_else(|_| Self::new("null".into(), 0..4, false));
        Self { memory: self.memory, ..changed }
    }

    /// Attaches the memory of the body.
    pub(in crate::pve) fn with_memory(self, memory: MemoryReservation) -> Self {
        Self { memory, ..self }
    }

    /// Reserves the memory of a table or a list that is made of the rows.
    pub(in crate::pve) fn reserve_rows(&mut self) -> Result<(), MemoryError> {
        self.memory.grow_to(rows_memory(&self.body.text))
    }

    /// Returns the answer for several callers.
    pub(in crate::pve) fn into_shared(self) -> SharedResponse {
        let Self { body, data, has_extra_fields, memory, .. } = self;
        SharedResponse { body, data, has_extra_fields, memory: Arc::new(memory) }
    }

    /// Returns the JSON text of `data`.
    pub fn data(&self) -> &str {
        self.body.text.get(self.data.clone()).expect(DATA_IN_BODY)
    }

    /// Returns the guests of the list.
    pub(in crate::pve) fn guests(&self) -> Result<GuestList, PveError> {
        Ok(GuestList::new(self.body.guests(&self.data)?, self.shared_memory.clone()))
    }

    /// Returns what `make` makes of the answer. If several callers have the answer, it is made once for those with the
    /// key of the first, or of a short answer by each caller that finds nothing made yet.
    ///
    /// The key must have all that the result depends on beside the body. Each caller has reserved the memory of a result
    /// of its own.
    pub fn make_shared<K, T>(&self, key: K, make: impl Fn() -> T) -> T
    where
        K: Copy + PartialEq + Send + Sync + 'static,
        T: Clone + Send + Sync + 'static,
    {
        if self.shared_memory.is_none() {
            return make();
        }
        let product = &self.body.product;
        if product.get().is_none() && self.body.text.len() <= MAX_UNAWAITED_BYTES {
            let made = make();
            // Another caller may have been faster.
            let _ = product.set(Box::new((key, made.clone())));
            return made;
        }
        let product = product.get_or_init(|| Box::new((key, make())));
        match product.downcast_ref::<(K, T)>() {
            Some((known, made)) if *known == key => made.clone(),
            _ => make(),
        }
    }

    /// Returns the JSON text of the body: an object with `data`.
    pub(in crate::pve) fn body(&self) -> &str {
        &self.body.text
    }

    /// Returns whether the body has other fields than `data`.
    pub fn has_extra_fields(&self) -> bool {
        self.has_extra_fields
    }

    /// Returns the JSON text for the caller: `data`, or the whole body if it has other fields (`total`).
    pub fn payload(&self) -> &str {
        if self.has_extra_fields { &self.body.text } else { self.data() }
    }

    /// Returns the text of [`ApiResponse::payload`], in the memory of the body unless other callers have it.
    pub fn into_payload(self) -> String {
        let range = if self.has_extra_fields { 0..self.body.text.len() } else { self.data };
        match Arc::try_unwrap(self.body) {
            Ok(AnswerBody { text: mut body, .. }) => {
                // A parser of UTF-8 found both ends of `data`, so no character is cut.
                body.truncate(range.end);
                body.drain(..range.start);
                body
            }
            Err(shared) => shared.text.get(range).expect(DATA_IN_BODY).to_owned(),
        }
    }
}

/// Returns the number of bytes of a body before the place of an error.
fn find_offset(body: &str, error: &serde_json::Error) -> usize {
    let before = body.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    (before + error.column()).min(body.len())
}

/// Returns the start of a body for an error, or `None` for an empty body.
fn start_of(body: &[u8], filter: &SecretFilter) -> Option<String> {
    // Longer than the result, so that a secret at the cut is found.
    let start = String::from_utf8_lossy(body.get(..1_000).unwrap_or(body)).into_owned();
    Some(to_one_line(&filter.redact_message(start), 100)).filter(|text| !text.is_empty())
}

/// Call that an error response answers.
pub(in crate::pve) struct SentCall<'a> {
    pub(in crate::pve) method: Method,
    /// `host:port` of the node.
    pub(in crate::pve) node: &'a str,
    /// The address of the node has https.
    pub(in crate::pve) is_https: bool,
    /// Method and path for display.
    pub(in crate::pve) call: String,
    pub(in crate::pve) user: &'a str,
    pub(in crate::pve) token_id: &'a str,
    /// The cluster accepted the token since the start.
    pub(in crate::pve) was_accepted: bool,
    /// The time from the request to the end of the answer.
    pub(in crate::pve) elapsed: Duration,
}

/// Time after which a node gives up on another one (PVE: 30 s). A refusal comes at once.
const MIN_PEER_TIMEOUT: Duration = Duration::from_secs(10);

/// Builds the error of a status other than success.
///
/// Since Proxmox VE 9 the message is in the body as `message`. Older servers, and all of them for 401 and 595 to 599,
/// send it only in the status line. Errors of the HTTP layer itself are plain text.
pub(in crate::pve) fn parse_error_response(
    response: &NodeResponse,
    sent: SentCall<'_>,
    filter: &SecretFilter,
) -> PveError {
    let NodeResponse { status, reason, body, headers, .. } = response;
    let status = *status;
    let clean = |text: &str| to_one_line(&filter.redact_message(text.to_owned()), MAX_MESSAGE_CHARS);
    let envelope = ErrorEnvelope::parse(body);
    let phrase = clean(reason);
    let (message, is_hidden) = match envelope.message().map(|text| clean(&text)) {
        Some(message) => (message, false),
        None if answer_origin::is_generic_phrase(status, &phrase) => {
            let body_text = match answer_origin::is_web_page(body) {
                true => answer_origin::find_title(body).map(|title| clean(&title)).unwrap_or_default(),
                false if envelope.is_json => String::new(),
                false => clean(&decode_bytes(body)),
            };
            let is_hidden = body_text.is_empty() || answer_origin::is_web_page(body);
            // A title such as `502 Bad Gateway` repeats the status.
            let repeats = body_text.strip_prefix(&status.to_string()).is_some_and(|rest| rest.trim() == phrase);
            (if body_text.is_empty() || repeats { phrase } else { body_text }, is_hidden)
        }
        None => (phrase, false),
    };
    let is_change = sent.method != Method::Get;
    if let Some(server) = other_servers::recognize_refusal(status, &message).or_else(|| {
        let title = answer_origin::is_web_page(body).then(|| answer_origin::find_title(body)).flatten();
        other_servers::recognize_name(title?.as_bytes())
    }) {
        return PveError::OtherServer { node: sent.node.to_owned(), server, message, is_refused_change: is_change };
    }
    let mut diagnosis = match response.origin() {
        AnswerOrigin::Proxy => messages::proxy_diagnosis(),
        AnswerOrigin::ProxyRejection if status >= 400 => messages::proxy_rejection_diagnosis(status),
        _ if is_hidden => messages::hidden_message_diagnosis(status, body.is_empty()),
        _ => classify(status, &message),
    };
    if status == 596 && (sent.elapsed >= MIN_PEER_TIMEOUT || diagnosis.meaning == Meaning::NodeTimedOut) {
        diagnosis = messages::peer_timeout_diagnosis();
    }
    if (300..400).contains(&status) && !headers.location.is_empty() {
        let message = format!("{message} to {}", clean(&headers.location)).trim().to_owned();
        let (host, _) = sent.node.rsplit_once(':').unwrap_or((sent.node, ""));
        let target = headers.location.split_once("://");
        match target.map(|(scheme, to)| (scheme, to.starts_with(host))) {
            Some(("https", true)) if !sent.is_https => diagnosis.hint = Some(messages::HTTPS_ADDRESS),
            Some((_, false)) => diagnosis.hint = Some(messages::OTHER_HOST),
            _ => {}
        }
        return PveError::Failed { status, message, call: sent.call, diagnosis, is_refused_change: is_change };
    }
    let settles_unknown =
        is_change && retry::settle(sent.method, AttemptEnd::PeerLost) == Decision::ReportUnknownOutcome;
    match status {
        _ if diagnosis.meaning == Meaning::ProxyAnswered && is_change => {
            PveError::OutcomeUnknown { call: sent.call, cause: UnknownOutcome::ProxyAnswered { status, message } }
        }
        _ if diagnosis.meaning == Meaning::HiddenError && is_change => {
            PveError::OutcomeUnknown { call: sent.call, cause: UnknownOutcome::HiddenError { status } }
        }
        401 if !matches!(diagnosis.meaning, Meaning::SickNode | Meaning::ProxyRejected) => PveError::Unauthorized {
            has_no_ticket: diagnosis.meaning == Meaning::HeaderLost,
            was_accepted: sent.was_accepted,
            next_step: diagnosis.hint.filter(|_| diagnosis.meaning == Meaning::TokenInvalid),
            is_refused_change: is_change,
            message,
            user: sent.user.to_owned(),
            token_id: sent.token_id.to_owned(),
        },
        403 if diagnosis.meaning != Meaning::ProxyRejected => PveError::Forbidden {
            missing_privilege: MissingPrivilege::parse(&message),
            message,
            diagnosis,
            is_refused_change: is_change,
        },
        596..=599 if settles_unknown && !diagnosis.meaning.shows_nothing_was_done() => {
            let timed_out = diagnosis.meaning == Meaning::NodeTimedOut;
            PveError::OutcomeUnknown { call: sent.call, cause: UnknownOutcome::PeerLost { status, message, timed_out } }
        }
        _ => {
            let mut parameters = Vec::new();
            walk(envelope.errors.filter(|_| status == 400).unwrap_or_default(), &mut |name, value| {
                let explanation = decode_string(value).map_or_else(|| clean(value), |text| clean(&text));
                parameters.push((clean(&unquote(name)), explanation));
                parameters.len() < MAX_PARAMETER_ERRORS
            });
            if parameters.is_empty() {
                let is_refused_change = is_change && diagnosis.meaning.shows_nothing_was_done();
                if is_change && !is_refused_change {
                    diagnosis.hint = diagnosis.hint.or(Some(messages::LOOK_FIRST));
                }
                return PveError::Failed { status, message, call: sent.call, diagnosis, is_refused_change };
            }
            parameters.sort();
            let diagnoses = parameters.iter().map(|(_, explanation)| classify(status, explanation));
            // A text that the table does not know has the row of its status alone.
            let plain = classify(status, "");
            let known = diagnoses.into_iter().find(|found| *found != plain);
            let plain = Diagnosis { hint: Some("correct them and call again"), ..plain };
            PveError::ParametersRejected { diagnosis: known.unwrap_or(plain), parameters, is_refused_change: is_change }
        }
    }
}

/// Returns the text of a JSON string, or `None` for another value.
fn decode_string(value: &str) -> Option<String> {
    value.starts_with('"').then(|| unquote(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hint::render_error;
    use crate::pve::client::transport::AnswerHeaders;
    use std::cell::Cell;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::Instant;

    fn no_filter() -> SecretFilter {
        SecretFilter::new(Secret::new(String::new()))
    }

    fn parse(body: &str) -> Result<ApiResponse, EnvelopeError> {
        ApiResponse::parse(body.to_owned(), &no_filter())
    }

    #[test]
    fn data_is_found_anywhere_in_the_body() {
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
    fn the_payload_is_not_copied() {
        for body in [r#" {"data":["ü", 2]} "#, r#"{"total":7,"data":"x"}"#] {
            let answer = parse(body).unwrap();
            let memory = answer.body.text.as_ptr();
            let verbatim = answer.into_payload();
            assert_eq!(verbatim.as_ptr(), memory);
        }
    }

    #[test]
    fn guests_are_parsed_once_for_all_callers() {
        let body = r#"{"data":[{"id":"qemu/100","name":"web01"}]}"#;
        let shared = parse(body).unwrap().into_shared();
        let lists = [shared.guests().unwrap(), shared.guests().unwrap()];
        assert_eq!((lists[0].len(), &*lists[0][0].name), (1, "web01"));
        assert_eq!(lists[0].as_ptr(), lists[1].as_ptr());

        let shared = parse(r#"{"data":{}}"#).unwrap().into_shared();
        for _ in 0..2 {
            assert!(matches!(shared.guests(), Err(PveError::MalformedResponse { .. })));
        }
    }

    #[test]
    fn product_is_made_once_for_callers_with_the_same_key() {
        let shared = parse(r#"{"data":[1]}"#).unwrap().into_shared();
        let wait = MemoryWait { deadline: Instant::now(), is_cancelled: &|| false };
        let caller = || shared.to_response(&CallMemory::default(), &wait).unwrap();
        let made = Cell::new(0);
        let make = |response: &ApiResponse, key: u8| {
            response.make_shared(key, || {
                made.set(made.get() + 1);
                format!("{key} of {}", response.data())
            })
        };
        assert_eq!([1, 1, 2, 1].map(|key| make(&caller(), key)), ["1 of [1]", "1 of [1]", "2 of [1]", "1 of [1]"]);
        assert_eq!(made.take(), 2);
        let changed = caller().map_body(|_| r#"{"data":[2]}"#.to_owned().into());
        assert_eq!(make(&changed, 1), "1 of [2]", "another body");
        let own = parse(r#"{"data":[3]}"#).unwrap();
        assert_eq!([1, 1].map(|key| make(&own, key)), ["1 of [3]"; 2]);
        assert_eq!(made.take(), 3);
    }

    #[test]
    fn product_of_a_long_answer_is_awaited_and_of_a_short_one_is_not() {
        let wait = MemoryWait { deadline: Instant::now(), is_cancelled: &|| false };
        let share = |bytes: usize| parse(&format!(r#"{{"data":"{}"}}"#, "x".repeat(bytes))).unwrap().into_shared();
        let caller = |shared: &SharedResponse| shared.to_response(&CallMemory::default(), &wait).unwrap();

        let short = share(1);
        let (slow, fast) = (caller(&short), caller(&short));
        // The one that is not awaited ends within the making of the other.
        let made = slow.make_shared(0, || fast.make_shared(0, || 1) + 1);
        assert_eq!((made, slow.make_shared(0, || 3)), (2, 1));

        let long = share(MAX_UNAWAITED_BYTES);
        let (makers, barrier) = (AtomicU32::new(0), Barrier::new(8));
        thread::scope(|scope| {
            for _ in 0..8 {
                let response = caller(&long);
                let (makers, barrier) = (&makers, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    response.make_shared(0, || makers.fetch_add(1, Ordering::Relaxed))
                });
            }
        });
        assert_eq!(makers.into_inner(), 1);
    }

    #[test]
    fn a_body_without_an_envelope_is_described() {
        for (body, hint) in [
            ("", "empty"),
            ("<!DOCTYPE html>\n<title>Sign in</title>", "web page with the title \"Sign in\""),
            (r#"{"message":"x"}"#, "no `data`"),
            (r#"{"data":1,"data":2}"#, "not Proxmox's JSON"),
            (r#"{"data":[1,"#, "ends too early, after 11 bytes"),
            (r#"{"total":9,"data":[{"a":"b"#, "ends too early, after 26 bytes"),
            (r#"{"data":1} trailing"#, "invalid at byte 12 of 19"),
            ("{\"data\":[1,\n2 3]}", "invalid at byte 15 of 17"),
            ("[1]", "not Proxmox's JSON"),
        ] {
            let error = parse(body).unwrap_err().to_string();
            assert!(error.contains(hint), "{body}: {error}");
        }
        let error = ApiResponse::describe_non_utf8(b"\xff\n\x07", &no_filter());
        assert!(matches!(error, EnvelopeError::NotUtf8 { .. }), "{error:?}");
    }

    #[test]
    fn endless_nesting_is_not_followed() {
        let deep = "[".repeat(500_000);
        assert!(parse(&format!("{{\"data\":{deep}")).is_err());
        let closed = format!("{{\"data\":{deep}{}}}", "]".repeat(500_000));
        assert_eq!(parse(&closed).unwrap().data().len(), 1_000_000);
    }

    #[test]
    fn only_the_message_of_an_error_is_built() {
        // Deeper than a parser of JSON values allows.
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let text = error_for(500, "phrase", &format!(r#"{{"data":{deep},"message":"words"}}"#)).to_string();
        assert!(text.contains("words"), "{text}");
        let text = error_for(400, "phrase", &format!(r#"{{"errors":{{"a":"bad","b":7}},"data":{deep}}}"#)).to_string();
        assert!(text.contains("`a`: \"bad\"; `b`: \"7\""), "{text}");
        let many: Vec<_> = (0..50_000).map(|n| format!(r#""p{n}":"x""#)).collect();
        assert!(error_for(400, "", &format!(r#"{{"errors":{{{}}}}}"#, many.join(","))).to_string().len() < 5_000);
    }

    fn error_for(status: u16, reason: &str, body: &str) -> PveError {
        error_after(Method::Get, Duration::ZERO, status, reason, body)
    }

    fn error_after(method: Method, elapsed: Duration, status: u16, reason: &str, body: &str) -> PveError {
        let (call, reason, body) = (format!("{method} /x"), reason.to_owned(), body.as_bytes().to_vec());
        let headers = AnswerHeaders { location: "https://sso.example/".into(), ..AnswerHeaders::default() };
        let response = NodeResponse {
            status,
            reason,
            body,
            memory: MemoryReservation::default(),
            body_error: None,
            headers,
            elapsed,
        };
        let sent = SentCall {
            method,
            node: "pve1:8006",
            is_https: true,
            call,
            user: "root@pam",
            token_id: "mcp",
            was_accepted: false,
            elapsed,
        };
        parse_error_response(&response, sent, &no_filter())
    }

    #[test]
    fn a_change_whose_answer_hides_the_cause_has_an_unknown_outcome() {
        let page = "<html><title>504 Gateway Time-out</title></html>";
        for (status, reason, body, unknown) in [
            (400, "Bad Request", "", true),
            (400, "Parameter verification failed.", r#"{"data":null}"#, false),
            (502, "Bad Gateway", "", true),
            (503, "Service Unavailable", page, true),
            (504, "", page, true),
            (524, "", "", true),
            (500, "Internal Server Error", page, true),
            (500, "Internal Server Error", r#"{"data":null}"#, false),
            (500, "VM is locked (backup)", "", false),
            (500, "cluster not ready - no quorum?", "", false),
        ] {
            let change = error_after(Method::Post, Duration::ZERO, status, reason, body);
            assert_eq!(change.kind() == "outcome_unknown", unknown, "{status} {reason}: {change}");
            assert_eq!(error_after(Method::Get, Duration::ZERO, status, reason, body).kind(), "failed", "{status}");
        }
    }

    #[test]
    fn a_596_after_half_a_minute_is_a_far_node_that_took_too_long() {
        let (at_once, late) = (Duration::from_millis(50), Duration::from_secs(30));
        let text = |elapsed| render_error(&error_after(Method::Get, elapsed, 596, "Broken pipe", ""));
        assert!(text(at_once).contains("case-sensitive") && !text(at_once).contains("longer"), "{}", text(at_once));
        assert!(text(late).contains("longer") && !text(late).contains("case-sensitive"), "{}", text(late));
    }

    #[test]
    fn the_target_of_a_redirect_is_named() {
        let text = error_for(302, "Found", "").to_string();
        assert!(text.contains("to https://sso.example/"), "{text}");
    }

    #[test]
    fn a_file_becomes_a_text_and_a_binary_one_its_size() {
        let file = |content_type: &str, body: &[u8]| {
            let headers = AnswerHeaders { content_type: content_type.into(), ..AnswerHeaders::default() };
            let (reason, elapsed) = (String::new(), Duration::ZERO);
            let memory = MemoryReservation::default();
            let response =
                NodeResponse { status: 200, reason, body: body.to_vec(), memory, body_error: None, headers, elapsed };
            ApiResponse::from_file(&response, &no_filter()).map(|file| file.data().to_owned())
        };
        assert_eq!(file("text/plain;charset=UTF-8", b"a\nb").as_deref(), Some(r#""a\nb""#));
        assert!(file("application/octet-stream", b"\x89PNG\0").unwrap().contains("5 bytes (application/octet-stream)"));
        for (content_type, body) in
            [("application/json", &b"{}"[..]), ("text/html", b"x"), ("", b"x"), ("text/plain", b"{\"data\":1}")]
        {
            assert_eq!(file(content_type, body), None, "{content_type}");
        }
    }

    #[test]
    fn the_missing_privilege_is_named() {
        let body = r#"{"message":"Permission check failed (/vms/100, VM.Audit|VM.Config)\n","data":null}"#;
        let text = error_for(403, "", body).to_string();
        assert!(text.contains("needs VM.Audit or VM.Config on /vms/100"), "{text}");
        let text = error_for(403, "Permission check failed (, Sys.Audit)", "").to_string();
        assert!(text.contains("needs Sys.Audit on a path Proxmox did not name"), "{text}");
        let ticket =
            "Permission check failed (URI '/access/ticket' not available with API token, need proper ticket.\n)\n";
        let text = error_for(403, ticket, "").to_string();
        assert!(text.contains("never to an API token"), "{text}");
    }

    #[test]
    fn each_rejected_parameter_has_its_text_in_order() {
        let body = r#"{"data":null,"message":"Parameter verification failed.\n","errors":{
            "vmid":"property is missing and it is not optional","memory":"format error\nmemory.current: type check\n"}}"#;
        let text = error_for(400, "Parameter verification failed.", body).to_string();
        assert!(
            text.contains("`memory`: \"format error; memory.current: type check\"; `vmid`: \"property is missing"),
            "{text}"
        );
        assert_eq!(error_for(400, "Bad", r#"{"errors":{}}"#).kind(), "failed");
    }

    #[test]
    fn a_body_that_is_only_a_list_is_sliced_without_parsing() {
        let list = |body: &str| ApiResponse::parse_list(body.to_owned(), &no_filter()).unwrap();
        assert_eq!(list(r#"{"data":[{"a":1}]}"#).data(), r#"[{"a":1}]"#);
        let more = list(r#"{"data":[{"a":1}],"total":1}"#);
        assert_eq!((more.data(), more.has_extra_fields()), (r#"[{"a":1}]"#, true));
        assert_eq!(list(r#"{ "data" : [] }"#).data(), "[]");
        assert_eq!(list(r#"{"data":[],"x":[]}"#).data(), r#"[],"x":[]"#, "not a list for its reader");
        assert!(ApiResponse::parse_list("<html>".into(), &no_filter()).is_err());
    }

    #[test]
    fn the_message_is_found_in_the_body_or_the_status_line() {
        for (reason, body, expected) in [
            ("phrase", r#"{"message":"words\n","data":null}"#, "words"),
            ("phrase", r#"{"data":null}"#, "phrase"),
            ("phrase", "phrase\n\n", "phrase"),
            ("", "plain text", "plain text"),
            ("phrase", r#"{"message":["no text"]}"#, "phrase"),
            ("", "", ""),
        ] {
            match error_for(500, reason, body) {
                PveError::Failed { message, .. } => assert_eq!(message, expected),
                other => panic!("{other:?}"),
            }
        }
    }
}
