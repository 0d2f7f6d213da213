//! Answers, shown as a caller asks.

use super::json::{is_json, parse_members};
use crate::base::hint::render_error;
use crate::mcp::arguments::{ToolArguments, UnknownArguments};
use crate::render::output::OutputOptions;
use crate::render::table::{ListTable, SortKey};
use crate::tools::output_options::PARAMS;
use serde_json::Value;
use std::borrow::Cow;

const COLUMNS: [&str; 5] = ["cluster", "name", "cpu", "mem", "uptime"];

/// Reads arguments as JSON from the first line, with the limit in `cap`, then an answer. Checks that the output is
/// bounded and that it is JSON if JSON was requested.
pub fn check_view(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((arguments, answer)) = text.split_once('\n') else { return false };
    // Answers have passed a parser.
    let (Ok(Value::Object(mut arguments)), true) = (serde_json::from_str(arguments), is_json(answer)) else {
        return false;
    };
    let answer = answer.trim_ascii();
    let cap = arguments.remove("cap").and_then(|cap| cap.as_u64()).map_or(0, |cap| 64 + (cap % 4_096) as usize);
    let table =
        !arguments.get("format").and_then(Value::as_str).is_some_and(|format| format.eq_ignore_ascii_case("json"));
    let enveloped =
        parse_members(answer).is_some_and(|members| members.iter().filter(|(name, _)| name == "data").count() == 1);
    check_rows(answer);
    let Ok(args) = ToolArguments::validate("tool", &PARAMS, UnknownArguments::Refuse, arguments) else { return false };
    let Ok(options) = OutputOptions::from_args(&args) else { return false };
    let rendered = match options.render(answer.to_owned(), enveloped, cap) {
        Ok(rendered) => rendered,
        Err(error) => {
            let error = render_error(&error);
            assert!(!error.is_empty() && error.len() < 20_000, "{error}");
            return false;
        }
    };
    let note = rendered.note.unwrap_or_default();
    // The keys on the way to a part are not counted.
    assert!(cap == 0 || rendered.text.len() <= cap + 4_000, "{} of {cap}", rendered.text.len());
    assert!(note.len() < 20_000, "{note}");
    assert!(table || is_json(&rendered.text), "{}", rendered.text);
    if options.is_plain() {
        assert_eq!(rendered.text == answer, cap == 0 || answer.len() <= cap);
    }
    true
}

/// Checks the same answer as a list of rows under fixed columns.
fn check_rows(answer: &str) {
    let mut table = ListTable::new(&COLUMNS);
    if table.read(answer, &[Cow::Borrowed("\"lab\"")]).is_err() {
        return;
    }
    let mut layout = table.layout(|row| SortKey {
        group: Some(row.text("name")),
        rank: 0,
        number: row.number("mem") as u64,
        name: row.text("cpu"),
    });
    let (mut text, json) = (String::new(), layout.json_members(table.len()));
    layout.write_text(&mut text, usize::MAX, None);
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines.len(), table.len() + 2, "{text}");
    let tabs = |line: &str| line.matches('\t').count();
    assert!(lines[1..=table.len()].iter().all(|line| tabs(line) == tabs(lines[0])), "{text}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\t' && c != '\n'), "{text:?}");
    let json = format!("{{{json}}}");
    assert!(is_json(&json), "{json}");
    let total = parse_members(&json).and_then(|members| members.into_iter().find(|(name, _)| name == "total"));
    assert_eq!(total.map(|(_, total)| total.parse()), Some(Ok(table.len())));
}
