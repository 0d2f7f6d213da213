//! Filters on the rows of an answer.

use super::json::parse_members;
use crate::base::hint::render_error;
use crate::mcp::arguments::ToolArguments;
use crate::render::output::{KeyFormat, OutputOptions};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The rows for inputs without rows.
const SAMPLE_ROWS: &str = r#"[{"vmid":100,"name":"Web1","mem":2147483648,"cpu":0.5,"up":true,"tags":"prod;web"},
 {"vmid":"101","name":"db","mem":0,"n":null},{"vmid":1e2,"name":"web, and 2","cpu":"0.25","o":{"a": 1}},{"name":"Ärger 8G"}]"#;

/// Reads a filter from the first line, rows as JSON from the second, and from each other line a condition: key,
/// operator, value. Checks that the filter is accepted or rejected with an error. The conditions, written as a filter,
/// must select the same rows as the reference.
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
        rows(given).map_or_else(|| (SAMPLE_ROWS, rows(SAMPLE_ROWS).expect("valid rows")), |rows| (given, rows));
    let render = |filter: &str, data: &str| -> Result<Vec<String>, String> {
        let args = ToolArguments::new_unchecked(Map::from_iter([
            ("filter".into(), filter.into()),
            ("format".into(), "json".into()),
        ]));
        let options = OutputOptions::from_args(&args);
        let rendered = options.and_then(|options| options.render(data.to_owned(), false, 0));
        let rendered = rendered.map_err(|error| render_error(&error))?;
        let rows: Vec<&RawValue> = serde_json::from_str(&rendered.text).expect("rows are JSON");
        Ok(rows.iter().map(|row| row.get().to_owned()).collect())
    };
    match render(typed, data) {
        Ok(selected) => {
            let mut all = rows.iter();
            assert!(selected.iter().all(|row| all.any(|other| other == row)), "rows keep their text and order");
            assert_eq!(render(typed, &format!("[{}]", selected.join(","))).as_ref(), Ok(&selected));
        }
        Err(error) => assert!(error.starts_with("filter: ") && error.len() < 4_000, "{error}"),
    }

    let members: Vec<_> = rows.iter().filter_map(|row| parse_members(row)).collect();
    let conditions = lines.filter_map(ReferenceCondition::parse);
    let conditions = conditions.filter(|condition| members.iter().all(|members| condition.is_simple(members)));
    let conditions: Vec<ReferenceCondition<'_>> = conditions.take(60).collect();
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
    assert_eq!(render(&written, data), Ok(expected.into_iter().cloned().collect()), "{written}");
    !conditions.is_empty()
}

/// A condition, parsed and applied in the simplest way.
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
        // Keys with dots belong to another target.
        (known && (1..=64).contains(&key.len()) && !key.contains('.')).then_some(Self { key, sign, value })
    }

    /// Appends the condition as a filter, with quotes where they are needed.
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

    /// Returns whether the reference can decide: two numbers, or two texts. It does not know the forms of tables, and the
    /// order of numbers within texts.
    fn is_simple(&self, members: &[(String, &str)]) -> bool {
        let value = self.value.to_lowercase();
        let is_shown_form = ["yes", "no", "on", "off", "true", "false", "-", "now", "today", "yesterday"]
            .contains(&value.as_str())
            || value.contains(['%', '+', ':', ' '])
            || value.contains('-') && parse_plain_number(&value).is_none();
        let raw = members.iter().rev().find(|(name, _)| name == self.key).map_or("null", |(_, raw)| *raw);
        let Ok(text) =
            serde_json::from_str::<Value>(raw).map(|value| value.as_str().unwrap_or_default().to_lowercase())
        else {
            return true;
        };
        let is_number = parse_number(raw, &text).is_some();
        let has_digits = |text: &str| text.contains(|c: char| c.is_numeric());
        KeyFormat::for_key(self.key) == KeyFormat::Plain
            && !is_shown_form
            && match self.sign {
                "~" | "!~" => !value.is_empty(),
                "<" | "<=" | ">" | ">=" if !is_number => {
                    !raw.starts_with(['[', '{', 't', 'f']) && raw != "\"\"" && !has_digits(&value) && !has_digits(&text)
                }
                _ => !raw.starts_with(['[', '{', 't', 'f']),
            }
            && (raw == "null" || self.sign.contains('~') || is_number == parse_with_unit(&value).is_some())
    }

    /// Returns `None` if a string of the row cannot be decoded (half a surrogate pair).
    fn matches(&self, members: &[(String, &str)]) -> Option<bool> {
        let raw = members.iter().rev().find(|(name, _)| name == self.key).map(|(_, raw)| *raw);
        let wanted = self.value.to_lowercase();
        let Some(raw) = raw.filter(|raw| *raw != "null") else {
            return Some(match self.sign {
                "=" | "==" => wanted.is_empty(),
                "!=" => !wanted.is_empty(),
                "!~" => true,
                _ => false,
            });
        };
        let found = if raw.starts_with('"') { serde_json::from_str::<String>(raw).ok()? } else { raw.to_owned() };
        let (found, number) = (found.to_lowercase(), parse_number(raw, &found));
        let both = number.zip(parse_with_unit(&wanted));
        let is_list = number.is_none() && found.contains([';', ',']) && !found.contains(char::is_whitespace);
        let equal = found == wanted
            || is_list && found.split([';', ',']).any(|item| item == wanted)
            || both.is_some_and(|(a, b)| a == b && a.abs() < 9_007_199_254_740_992.0);
        let order = both.map_or_else(|| found.cmp(&wanted), |(a, b)| a.total_cmp(&b));
        Some(match self.sign {
            "=" | "==" => equal,
            "!=" => !equal,
            "~" => found.contains(&wanted),
            "!~" => !found.contains(&wanted),
            "<" => order.is_lt(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            _ => order.is_ge(),
        })
    }
}

/// Returns a value of an answer as a number.
fn parse_number(raw: &str, text: &str) -> Option<f64> {
    match raw {
        "true" => Some(1.0),
        "false" => Some(0.0),
        _ if raw.starts_with('"') => parse_plain_number(text),
        _ => raw.parse().ok().filter(|n: &f64| n.is_finite()),
    }
}

/// Parses digits with at most a sign and a fraction.
fn parse_plain_number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    (!whole.is_empty() && all(whole) && all(fraction)).then(|| text.parse().ok())?.filter(|n: &f64| n.is_finite())
}

/// Returns a condition's value as a number, with its unit applied.
fn parse_with_unit(text: &str) -> Option<f64> {
    match text {
        "true" => return Some(1.0),
        "false" => return Some(0.0),
        _ => {}
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let power = |letter: char| "bkmgtp".find(letter).map(|power| 1024_f64.powi(power as i32));
    let mut letters = unit.trim_start().chars();
    let factor = match (letters.next(), letters.as_str()) {
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
    parse_plain_number(digits).map(|number| number * factor)
}
