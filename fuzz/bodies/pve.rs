//! Untrusted input of the API client: paths and UPIDs of a model, the API description of a node.

use crate::base::hint::render_error;
use crate::pve::Method;
use crate::pve::path::ApiPath;
use crate::pve::schema::{ParameterSpec, embedded_schema, parameter_check, read_description};
use crate::pve::task::Upid;
use serde_json::{Map, Value};
use std::io::{self, Read};

/// Checks a path as typed. An accepted path is its own canonical form. A node reads it as it was matched, and both find
/// the same operation.
pub fn check_path(bytes: &[u8]) -> bool {
    let typed = String::from_utf8_lossy(bytes);
    let Ok((path, params)) = ApiPath::parse_template(&typed) else { return false };
    let (again, none) = ApiPath::parse_template(path.as_str()).expect("a canonical path is a path");
    assert_eq!((again.as_str(), none.is_empty()), (path.as_str(), true));
    let segments: Vec<String> = path.segments().map(|s| s.into_owned()).collect();
    // A node decodes the whole path once and drops empty segments.
    let node = percent_decode(path.as_str().as_bytes());
    let node: Vec<&str> = node.split('/').filter(|s| !s.is_empty()).collect();
    assert_eq!(node, segments);
    let typed = percent_decode(typed.trim().split('?').next().unwrap_or_default().as_bytes());
    let typed: Vec<&str> = typed.split('/').filter(|s| !s.is_empty()).collect();
    assert_eq!(typed.strip_prefix(&["api2", "json"]).unwrap_or(&typed), segments);
    assert!(path.as_str().bytes().all(|b| b.is_ascii_graphic() && !b"?#\\\"<>".contains(&b)), "{path}");
    assert!(segments.iter().all(|s| s != "." && s != ".." && !s.contains('/') && !s.chars().any(char::is_control)));
    assert_eq!(ApiPath::from_segments(&segments).as_ref(), Ok(&path));
    for method in Method::ALL {
        let template = |segments: &[&str]| {
            let found = embedded_schema().match_path(segments).ok()?;
            found.operation(method).map(|o| (o.template(), found.values))
        };
        assert_eq!(template(&node), template(&segments.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    let query = format!("/?{}", params.encode());
    let (_, again) = ApiPath::parse(&query).expect("what was encoded can be read");
    assert!(again.iter().eq(params.iter()), "{query}");
    let is_template = path.segments().any(|s| crate::pve::path::is_placeholder(&s));
    assert_eq!(ApiPath::parse(path.as_str()).is_ok(), !is_template, "{path}");
    true
}

/// Percent-decodes by the rules of a node.
fn percent_decode(mut bytes: &[u8]) -> String {
    let mut out = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        let code = rest.get(..2).filter(|_| *first == b'%').and_then(|two| str::from_utf8(two).ok());
        let code = code.and_then(|two| u8::from_str_radix(two, 16).ok());
        out.push(code.unwrap_or(*first));
        bytes = rest.get(if code.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8(out).expect("an accepted path is UTF-8")
}

/// Checks a UPID. Its text is preserved, and its path stays within the tasks of its node.
pub fn check_upid(bytes: &[u8]) -> bool {
    let typed = String::from_utf8_lossy(bytes);
    let upid = match Upid::parse(&typed) {
        Ok(upid) => upid,
        Err(error) => {
            let text = render_error(&error);
            assert!(text.len() < 1_000 && !text.contains(char::is_control), "{text:?}");
            return false;
        }
    };
    let text = upid.to_string();
    assert_eq!(Upid::parse(&text).as_ref(), Ok(&upid));
    let plain = typed.trim().trim_matches('"').trim();
    assert_eq!(text.trim_end_matches(':'), plain.trim_end_matches(':'));
    let parts: Vec<&str> = text.split(':').collect();
    let [tag, node, pid, pstart, started, kind, id, user, end] = parts[..] else { panic!("{text}") };
    assert_eq!((tag, node, kind, id, user, end), ("UPID", &*upid.node, &*upid.kind, &*upid.id, &*upid.user, ""));
    for (digits, number) in [(pid, upid.pid), (pstart, upid.pstart), (started, upid.started_at)] {
        assert_eq!(u64::from_str_radix(digits, 16), Ok(number));
    }
    let path = upid.path_to("log");
    assert_eq!(path.segments().collect::<Vec<_>>(), ["nodes", node, "tasks", &text, "log"]);
    let found = embedded_schema().match_path(&path.segments().collect::<Vec<_>>()).expect("a task has a log");
    assert_eq!(found.operation(Method::Get).expect("to read").template(), "/nodes/{node}/tasks/{upid}/log");
    true
}

/// Reader of at most `max_read` bytes at a time, which counts the bytes read.
struct ChunkedReader<'a> {
    bytes: &'a [u8],
    max_read: usize,
    total_read: &'a mut usize,
}

impl Read for ChunkedReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(self.max_read);
        let n = self.bytes.read(&mut into[..most])?;
        *self.total_read += n;
        Ok(n)
    }
}

/// Checks a node's description of its API, with `const apiSchema = [` in front if it has no list.
///
/// The schema is bounded, independent of the size of the reads, and can be walked, searched and checked against.
pub fn check_apidoc(bytes: &[u8]) -> bool {
    let script = [&b"const apiSchema = "[..], if bytes.contains(&b'[') { b"" } else { b"[" }, bytes].concat();
    let mut taken = 0;
    let mut in_pieces = |most| {
        let pieces = ChunkedReader { bytes: &script, max_read: most, total_read: &mut taken };
        read_description(pieces).map(|schema| (schema.len(), schema.size_bytes(), schema))
    };
    let (whole, small) = (in_pieces(usize::MAX), in_pieces(7));
    let (len, kept, schema) = match (whole, small) {
        (Ok(whole), Ok(small)) => {
            assert_eq!((whole.0, whole.1), (small.0, small.1));
            whole
        }
        (Err(a), Err(b)) => {
            let text = a.to_string();
            assert_eq!(text, b.to_string());
            assert!(text.len() < 1_000, "{text}");
            return false;
        }
        (a, b) => panic!("{:?} in one piece, {:?} in several", a.err(), b.err()),
    };
    assert!(taken <= 2 * script.len() && schema.is_live() && len > 0 && len <= 5_000 && kept <= 4 << 20);
    for operation in schema.operations() {
        let words = [operation.name(), operation.description(), operation.summary(), operation.privileges()];
        assert!(words.iter().all(|words| words.len() < 2_000 && !words.contains(char::is_control)), "{words:?}");
        operation.parameters().for_each(|parameter| assert_bounded(&parameter, 0));
        let segments: Vec<&str> = operation.template().split('/').filter(|s| !s.is_empty()).collect();
        let found = schema.match_path(&segments).expect("an operation matches its own template");
        // Of two operations on the same path the first is kept.
        let first = found.operation(operation.method()).expect("of this method");
        let mut data = Map::new();
        for parameter in first.parameters() {
            data.insert(parameter.name().into(), Value::from(parameter.default()));
            assert!(first.parameter(parameter.name()).is_some());
        }
        if let Err(wrong) = parameter_check::check_parameters(&first, &found, &data) {
            assert!(!wrong.errors.is_empty());
        }
        let hits = schema.search(operation.template(), 5);
        assert!(hits.len() <= 5);
    }
    true
}

fn assert_bounded(parameter: &ParameterSpec<'_>, depth: usize) {
    assert!(depth < 130, "deeper than the parser goes");
    let words =
        [parameter.name(), parameter.description(), parameter.default(), parameter.pattern(), parameter.format()];
    assert!(words.iter().all(|words| words.len() < 2_000 && !words.contains(char::is_control)), "{words:?}");
    assert!(parameter.allowed_values().all(|word| !word.is_empty() && !word.contains('\n')));
    assert!(!parameter_check::describe_parameter(parameter).is_empty());
    parameter.nested_parameters().for_each(|nested| assert_bounded(&nested, depth + 1));
}
