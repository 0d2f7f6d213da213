//! What is shown of a node's answer: taken apart, filtered, cut to size, without secrets and without what can't be seen.

use crate::base::json_scan::{JsonScanner, walk};
use crate::mcp::arguments::ToolArguments;
use crate::mcp::message::push_json_string;
use crate::render::output::OutputOptions;
use crate::render::output::PARAMS;
use crate::render::table::{CellFormat, Column, ListTable, SortKey};
use crate::sanitize as redaction;
use crate::sanitize::escape_invisible as seen;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt;

/// The names and raw values of an object's members as serde_json reads them; `None` where it is none. A name with half a
/// surrogate pair is what stands there.
pub(super) fn parse_members(object: &str) -> Option<Vec<(String, &str)>> {
    struct ObjectMembers<'a>(Vec<(String, &'a str)>);
    impl<'de> Deserialize<'de> for ObjectMembers<'de> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct ObjectMembersVisitor;
            impl<'de> Visitor<'de> for ObjectMembersVisitor {
                type Value = ObjectMembers<'de>;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                    let mut all = Vec::new();
                    while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                        let said = serde_json::from_str::<String>(name.get());
                        all.push((said.unwrap_or_else(|_| name.get().trim_matches('"').into()), value.get()));
                    }
                    Ok(ObjectMembers(all))
                }
            }
            deserializer.deserialize_map(ObjectMembersVisitor)
        }
    }
    serde_json::from_str::<ObjectMembers<'_>>(object).ok().map(|members| members.0)
}

/// Whether a text has a character that isn't seen as itself, of those that matter most: controls, and what turns a text
/// around or hides in it.
pub(super) fn has_invisible(text: &str) -> bool {
    text.chars().any(|c| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}')
    })
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// JSON passed over: it is what serde_json takes for it, and its members are the same.
pub fn check_json(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let mut scan = JsonScanner::new(text);
    let value = scan.next_value().filter(|_| scan.is_done());
    assert_eq!(value.is_some(), is_json(text));
    let mut found = Vec::new();
    let whole = walk(text, &mut |name, value| {
        found.push((name, value));
        true
    });
    let start = text.trim_ascii_start();
    assert_eq!(whole, value.is_some() && start.starts_with(['{', '[']));
    if !whole {
        return value.is_some();
    }
    if start.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).expect("a list");
        assert!(items.iter().map(|item| item.get()).eq(found.iter().map(|(_, value)| *value)));
    } else if let Some(members) = parse_members(text) {
        let names = found.iter().map(|(name, value)| (crate::base::json_scan::unquote(name), *value));
        assert!(members.iter().map(|(name, value)| (Cow::from(name), *value)).eq(names));
        for (name, _) in &members {
            let (_, first) = members.iter().find(|(other, _)| other == name).expect("itself");
            let said = first.starts_with('"').then(|| crate::base::json_scan::unquote(first));
            assert_eq!(crate::base::json_scan::find_string(text, name), said);
        }
    }
    true
}

/// Rows to filter, where none are given.
const SAMPLE_ROWS: &str = r#"[{"vmid":100,"name":"Web1","mem":2147483648,"cpu":0.5,"up":true,"tags":"prod;web"},
 {"vmid":"101","name":"db","mem":0,"n":null},{"vmid":1e2,"name":"web, and 2","cpu":"0.25","o":{"a": 1}},{"name":"Ärger 8G"}]"#;

/// On the first line a filter, on the second rows as JSON, on each other line a condition: key, operator, value. The
/// filter is read or refused with a reason; the rows that fit the conditions, written as a filter, are those that fit
/// them one by one.
pub fn check_filter(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let (typed, given) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let rows = |text: &str| {
        let rows: Vec<Box<RawValue>> = serde_json::from_str(text).ok()?;
        let rows = rows.into_iter().map(|row| parse_members(row.get()).map(|_| row.get().to_owned()));
        rows.collect::<Option<Vec<String>>>()
    };
    let (data, rows) =
        rows(given).map_or_else(|| (SAMPLE_ROWS, rows(SAMPLE_ROWS).expect("they are right")), |rows| (given, rows));
    let shown = |filter: &str, data: &str| -> Result<Vec<String>, String> {
        let args = ToolArguments::new_unchecked(Map::from_iter([("filter".into(), filter.into())]));
        let shown = OutputOptions::from_args(&args)?.render(data.to_owned(), false, 0)?;
        let rows: Vec<&RawValue> = serde_json::from_str(&shown.text).expect("rows are JSON");
        Ok(rows.iter().map(|row| row.get().to_owned()).collect())
    };
    match shown(typed, data) {
        Ok(some) => {
            let mut all = rows.iter();
            assert!(some.iter().all(|row| all.any(|other| other == row)), "rows come as they are, in their order");
            assert_eq!(shown(typed, &format!("[{}]", some.join(","))).as_ref(), Ok(&some));
        }
        Err(why) => assert!(why.starts_with("filter: ") && why.len() < 4_000, "{why}"),
    }

    let conditions: Vec<ReferenceCondition<'_>> = lines.filter_map(ReferenceCondition::parse).take(60).collect();
    let mut written = String::new();
    for (n, condition) in conditions.iter().enumerate() {
        written.push_str(["", ", ", " and ", " AND "][if n == 0 { 0 } else { 1 + (n + typed.len()) % 3 }]);
        condition.write(&mut written);
    }
    let expected: Option<Vec<&String>> = rows
        .iter()
        .filter_map(|row| {
            let members = parse_members(row)?;
            let all = conditions.iter().map(|condition| condition.matches(&members));
            let all = all.collect::<Option<Vec<bool>>>();
            all.map_or(Some(None), |all| all.into_iter().all(|holds| holds).then_some(Some(row)))
        })
        .collect();
    let Some(expected) = expected else { return false };
    assert_eq!(shown(&written, data), Ok(expected.into_iter().cloned().collect()), "{written}");
    !conditions.is_empty()
}

/// A condition, read and judged in the simplest way there is.
struct ReferenceCondition<'a> {
    key: &'a str,
    sign: &'a str,
    value: &'a str,
}

impl<'a> ReferenceCondition<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (key, rest) = line.split_once(' ')?;
        let (sign, value) = rest.split_once(' ')?;
        let known = ["=", "==", "!=", "~", "!~", "<", "<=", ">", ">="].contains(&sign);
        // What a key with dots leads to is another target's.
        (known && (1..=64).contains(&key.len()) && !key.contains('.')).then_some(Self { key, sign, value })
    }

    /// Bare where that can only mean this, else in quotes.
    fn write(&self, out: &mut String) {
        let quoted = |text: &str| match text.contains(['\'', '\\']) {
            true => Value::from(text).to_string(),
            false => format!("'{text}'"),
        };
        let bare = |c: char| c.is_ascii_alphanumeric() || "_.:;%-/".contains(c);
        let word = |text: &str| match !text.is_empty() && text.chars().all(bare) {
            true => text.to_owned(),
            false => quoted(text),
        };
        out.push_str(&format!("{} {}{}", word(self.key), self.sign, word(self.value)));
    }

    /// `None` where a text in the row is no text (half a surrogate pair).
    fn matches(&self, members: &[(String, &str)]) -> Option<bool> {
        let raw = members.iter().rev().find(|(name, _)| name == self.key).map(|(_, raw)| *raw);
        let asked = self.value.to_lowercase();
        let Some(raw) = raw.filter(|raw| *raw != "null") else {
            return Some(match self.sign {
                "=" | "==" => asked.is_empty(),
                "!=" => !asked.is_empty(),
                "!~" => true,
                _ => false,
            });
        };
        let is = if raw.starts_with('"') { serde_json::from_str::<String>(raw).ok()? } else { raw.to_owned() };
        let (is, number) = (is.to_lowercase(), parse_number(raw, &is));
        let both = number.zip(parse_amount(&asked));
        let equal = is == asked || both.is_some_and(|(a, b)| a == b && a.abs() < 9_007_199_254_740_992.0);
        let order = both.map_or_else(|| is.cmp(&asked), |(a, b)| a.total_cmp(&b));
        Some(match self.sign {
            "=" | "==" => equal,
            "!=" => !equal,
            "~" => is.contains(&asked),
            "!~" => !is.contains(&asked),
            "<" => order.is_lt(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            _ => order.is_ge(),
        })
    }
}

/// What a value of an answer is as a number.
fn parse_number(raw: &str, text: &str) -> Option<f64> {
    match raw {
        "true" => Some(1.0),
        "false" => Some(0.0),
        _ if raw.starts_with('"') => parse_plain_number(text),
        _ => raw.parse().ok().filter(|n: &f64| n.is_finite()),
    }
}

/// Digits with a sign and a fraction at most.
fn parse_plain_number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    (!whole.is_empty() && all(whole) && all(fraction)).then(|| text.parse().ok())?.filter(|n: &f64| n.is_finite())
}

/// What a condition's value is as a number, with its unit.
fn parse_amount(text: &str) -> Option<f64> {
    match text {
        "true" => return Some(1.0),
        "false" => return Some(0.0),
        _ => {}
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let power = |letter: char| "bkmgtp".find(letter).map(|power| 1024_f64.powi(power as i32));
    let mut letters = unit.trim_start().chars();
    let times = match (letters.next(), letters.as_str()) {
        (None, _) | (Some('b'), "") => 1.0,
        (Some(letter @ ('k' | 'm' | 'g' | 't' | 'p')), "" | "b" | "ib") => power(letter)?,
        (Some('%'), "") => 0.01,
        (Some('s'), "") => 1.0,
        (Some('m'), "in") => 60.0,
        (Some('h'), "") => 3_600.0,
        (Some('d'), "") => 86_400.0,
        (Some('w'), "") => 604_800.0,
        _ => return None,
    };
    parse_plain_number(digits).map(|number| number * times)
}

const COLUMNS: [Column; 5] = [
    Column { key: "cluster", format: CellFormat::Plain },
    Column { key: "name", format: CellFormat::Plain },
    Column { key: "cpu", format: CellFormat::Percent },
    Column { key: "mem", format: CellFormat::Bytes },
    Column { key: "uptime", format: CellFormat::Duration },
];

/// On the first line arguments as JSON, of which `cap` is the bound, then an answer: what is shown of it is bounded, JSON
/// where JSON was asked for, and has its lines where a table was.
pub fn check_view(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((asked, answer)) = text.split_once('\n') else { return false };
    // An answer has been through a parser before it comes here.
    let (Ok(Value::Object(mut asked)), true) = (serde_json::from_str(asked), is_json(answer)) else { return false };
    let answer = answer.trim_ascii();
    let cap = asked.remove("cap").and_then(|cap| cap.as_u64()).map_or(0, |cap| 64 + (cap % 4_096) as usize);
    let table = asked.get("format").and_then(Value::as_str).is_some_and(|format| format.eq_ignore_ascii_case("table"));
    let enveloped =
        parse_members(answer).is_some_and(|members| members.iter().filter(|(name, _)| name == "data").count() == 1);
    check_rows(answer);
    let Ok(view) = ToolArguments::validate("tool", &PARAMS, asked).and_then(|args| OutputOptions::from_args(&args))
    else {
        return false;
    };
    let shown = match view.render(answer.to_owned(), enveloped, cap) {
        Ok(shown) => shown,
        Err(why) => {
            assert!(!why.is_empty() && why.len() < 20_000, "{why}");
            return false;
        }
    };
    let note = shown.note.unwrap_or_default();
    // The keys on the way to a part are no part of the bound.
    assert!(cap == 0 || shown.text.len() <= cap + 4_000, "{} of {cap}", shown.text.len());
    assert!(note.len() < 20_000, "{note}");
    assert!(table || is_json(&shown.text), "{}", shown.text);
    if view.is_plain() {
        assert_eq!(shown.text == answer, cap == 0 || answer.len() <= cap);
    }
    true
}

/// The same answer as a list of rows under fixed columns.
fn check_rows(answer: &str) {
    let mut table = ListTable::new(&COLUMNS);
    if table.read(answer, &[Cow::Borrowed("\"lab\"")]).is_err() {
        return;
    }
    let mut text = String::new();
    let json = table.write(&mut text, |row| SortKey {
        group: row.text("name"),
        rank: 0,
        number: row.number("mem") as u64,
        name: row.text("cpu"),
    });
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

/// Nobody else's text has it.
const SECRET: &str = "s3cr3t-Canary-0815";

/// A text, and an answer where it is JSON: nothing is put in but `(hidden)`, a secret with its name is hidden whatever
/// stands around it, and an answer keeps its form. (Once more, more may be hidden: `a1=(hidden)` looks drawn by lot.)
pub fn check_redaction(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).replace(SECRET, "");
    let shown = redaction::redact_text(&text);
    let mut rest = &*text;
    for part in shown.split(redaction::HIDDEN) {
        let at = rest.find(part).expect("what is left was there, in its order");
        rest = &rest[at + part.len()..];
    }
    for named in [format!("password={SECRET}"), format!("cipassword: {SECRET}"), format!("'api_token' => '{SECRET}'")] {
        let planted = format!("{text}\n{named}\n{text}");
        assert!(!redaction::redact_text(&planted).contains(SECRET), "{planted:?}");
    }
    let changed = matches!(shown, Cow::Owned(_));

    let shown = redaction::redact_json(text.clone());
    if is_json(&text) {
        assert!(is_json(&shown), "{shown}");
        if let (Ok(was), Ok(is)) = (serde_json::from_str(&text), serde_json::from_str(&shown)) {
            assert_same_form(&was, &is);
        }
        let planted = format!(r#"{{"a":{text},"cipassword":"{SECRET}","b":{text}}}"#);
        assert!(!redaction::redact_json(planted).contains(SECRET));
        return shown != text;
    }
    changed
}

/// Whether what is shown has the form of what was there.
fn assert_same_form(was: &Value, is: &Value) {
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            assert!(was.keys().eq(is.keys()));
            was.values().zip(is.values()).for_each(|(was, is)| assert_same_form(was, is));
        }
        (Value::Array(was), Value::Array(is)) => {
            assert_eq!(was.len(), is.len());
            was.iter().zip(is).for_each(|(was, is)| assert_same_form(was, is));
        }
        (Value::String(_) | Value::Number(_), Value::String(is)) if is.contains(redaction::HIDDEN) => {}
        _ => assert_eq!(was, is),
    }
}

/// A text, and an answer where it is JSON: nothing unseen is left, what a program reads of an answer is what a reader
/// sees, and what is visible stays as it is.
pub fn check_escaping(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let shown = seen::escape_text(&text);
    assert!(!has_invisible(&shown), "{shown:?}");
    assert_eq!(seen::escape_text(&shown), shown);
    let mut written = Vec::new();
    push_json_string(&mut written, &text);
    assert_eq!(serde_json::from_slice::<String>(&written).ok().as_deref(), Some(shown.as_ref()));
    if !is_json(&text) {
        let _ = seen::escape_json(text);
        return false;
    }
    let shown = seen::escape_json(text.clone());
    assert!(is_json(&shown), "{shown}");
    assert_eq!(seen::escape_json(shown.clone()), shown);
    // An escape keeps its case, and a character made visible has small letters.
    let text = text.to_ascii_lowercase();
    let shown = seen::escape_json(text.clone());
    if let (Ok(was), Ok(is)) = (serde_json::from_str::<Value>(&text), serde_json::from_str::<Value>(&shown)) {
        assert_eq!(escape_strings(&was), is);
    }
    true
}

/// The same value with what is unseen in its texts made visible.
fn escape_strings(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let shown = seen::escape_text(text).into_owned();
            assert!(!has_invisible(&shown));
            json!(shown)
        }
        Value::Array(items) => items.iter().map(escape_strings).collect(),
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, value)| (seen::escape_text(name).into_owned(), escape_strings(value))).collect(),
        ),
        other => other.clone(),
    }
}
