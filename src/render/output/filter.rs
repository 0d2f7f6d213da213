//! Conditions on rows in a form that models write: `status=running,mem>8G,name~web`. All of them must hold.

use crate::render::output::error::ArgumentError;
use crate::render::output::json_path::{parse_decimal, parse_number, unquote};
use crate::render::output::key_format::KeyFormat;
use crate::render::output::keys::{QuotedWord, check_key, skip_separators, split_quoted};
use crate::render::output::names::quote_short;
use std::cmp::Ordering;

#[derive(Clone, Debug)]
pub struct FilterCondition {
    pub key: String,
    operator: FilterOperator,
    /// In lower case, as comparisons ignore case.
    value: String,
    /// The value as a number, with its unit applied.
    number: Option<f64>,
    /// The form in which tables have the values of the key.
    format: KeyFormat,
    time: Option<FilterTime>,
}

/// A value that is a time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct FilterTime {
    /// Seconds since 1970, as if the time was UTC.
    seconds: f64,
    /// The seconds that it is ahead of UTC. `None` if the value does not say it.
    utc_offset: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FilterOperator {
    Equal,
    NotEqual,
    Contains,
    NotContains,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// The operators. An operator comes before the ones that are its beginning.
const OPERATORS: [(&str, FilterOperator); 9] = [
    ("!=", FilterOperator::NotEqual),
    ("!~", FilterOperator::NotContains),
    (">=", FilterOperator::AtLeast),
    ("<=", FilterOperator::AtMost),
    ("==", FilterOperator::Equal),
    ("=", FilterOperator::Equal),
    ("~", FilterOperator::Contains),
    (">", FilterOperator::More),
    ("<", FilterOperator::Less),
];

/// The factors of units: binary multiples of bytes, hundredths, and seconds. `m` is mega, and minutes in a duration.
const UNITS: [(&str, f64); 11] = [
    ("k", 1024.0),
    ("m", 1_048_576.0),
    ("g", 1_073_741_824.0),
    ("t", 1_099_511_627_776.0),
    ("p", 1_125_899_906_842_624.0),
    ("%", 0.01),
    ("s", 1.0),
    ("min", 60.0),
    ("h", 3_600.0),
    ("d", 86_400.0),
    ("w", 604_800.0),
];

/// Parses all conditions of the argument `filter`.
pub fn parse_filter(text: &str) -> Result<Vec<FilterCondition>, ArgumentError> {
    let mut conditions = Vec::new();
    let mut rest = skip_separators(text);
    while !rest.is_empty() {
        let condition;
        (condition, rest) = parse_condition(rest)?;
        check_key(&condition.key, conditions.len())?;
        conditions.push(condition);
        rest = skip_separators(rest);
    }
    Ok(conditions)
}

/// Parses the first condition of `text`. Returns it with the text after it.
fn parse_condition(text: &str) -> Result<(FilterCondition, &str), ArgumentError> {
    let (key, rest) = match split_quoted(text)? {
        Some(QuotedWord { word, rest }) => (word, rest.trim_start()),
        None => {
            let (key, rest) = text.split_at(text.find(['=', '!', '<', '>', '~', ',']).unwrap_or(text.len()));
            (key.trim().to_owned(), rest)
        }
    };
    let operator = OPERATORS.iter().find_map(|(sign, operator)| Some((*operator, rest.strip_prefix(sign)?)));
    let Some((operator, rest)) = operator.filter(|_| !key.is_empty()) else {
        return Err(ArgumentError::NotACondition(quote_short(text)));
    };
    let rest = rest.trim_start();
    let (value, rest) = match split_quoted(rest)? {
        Some(QuotedWord { word, rest }) => {
            let rest = rest.trim_start();
            match strip_and(rest) {
                Some(rest) => (word, rest),
                None if rest.is_empty() || rest.starts_with(',') => (word, rest),
                None => return Err(ArgumentError::MissingSeparator(quote_short(rest))),
            }
        }
        None => {
            let (value, rest) = split_unquoted_value(rest);
            // As part of the value it would match no row.
            if value.to_ascii_lowercase().contains(" or ") || value.contains("||") || value.contains("&&") {
                return Err(ArgumentError::UnsupportedOr(quote_short(text)));
            }
            (value.to_owned(), rest)
        }
    };
    // A table has `-` for what is empty.
    let value = if value == "-" { String::new() } else { value.to_lowercase() };
    let format = KeyFormat::for_key(&key);
    let number = parse_as_shown(format, &value);
    let time = Some(()).filter(|()| KeyFormat::is_time(&key)).and_then(|()| FilterTime::parse(&value));
    Ok((FilterCondition { key, operator, value, number, format, time }, rest))
}

/// Parses a number in the form in which a table has it: `yes`, `1d2h`, `never`, or with a unit.
fn parse_as_shown(format: KeyFormat, value: &str) -> Option<f64> {
    match (format, value) {
        (_, "yes" | "on") => Some(1.0),
        (_, "no" | "off") | (KeyFormat::Expiry, "never") => Some(0.0),
        (KeyFormat::Duration, value) => parse_duration(value).or_else(|| parse_with_unit(value)),
        (KeyFormat::Percent, value) => parse_with_unit(value.strip_suffix('%').unwrap_or(value)),
        (_, value) => parse_with_unit(value),
    }
}

/// Parses a duration of one or several parts: `10m`, `1d2h`, `2 days`.
fn parse_duration(value: &str) -> Option<f64> {
    let (mut rest, mut seconds) = (value.trim(), 0.0);
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len()));
        let after = after.trim_start();
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len()));
        let factor = match unit.trim_end_matches('s') {
            "" if unit == "s" => 1.0,
            "sec" | "second" => 1.0,
            "m" | "min" | "minute" => 60.0,
            "h" | "hour" => 3_600.0,
            "d" | "day" => 86_400.0,
            "w" | "week" => 604_800.0,
            _ => return None,
        };
        seconds += parse_decimal(digits)? * factor;
        rest = after.trim_start();
    }
    (!value.is_empty()).then_some(seconds)
}

impl FilterTime {
    /// Parses a date, or a date with a time and perhaps an offset: `2026-11-28`, `2026-11-28t02:21:25+01:00`.
    fn parse(value: &str) -> Option<Self> {
        let (date, time) = value.split_at_checked(10)?;
        let time = time.strip_prefix(['t', ' ']).unwrap_or(time).trim();
        let zone = time.find(['z', '+', '-']).unwrap_or(time.len());
        let (time, zone) = time.split_at(zone);
        let time = match time.trim().len() {
            0 => "00:00:00".to_owned(),
            5 => format!("{}:00", time.trim()),
            _ => time.trim().to_owned(),
        };
        let utc = humantime::parse_rfc3339(&format!("{date}T{time}Z")).ok()?;
        let seconds = utc.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs_f64();
        let utc_offset = match zone {
            "" => None,
            "z" => Some(0),
            zone => {
                let digits: String = zone[1..].chars().filter(char::is_ascii_digit).collect();
                let (hours, minutes) = digits.split_at_checked(2)?;
                let minutes = if minutes.is_empty() { 0 } else { minutes.parse::<i32>().ok()? };
                let seconds = hours.parse::<i32>().ok()? * 3_600 + minutes * 60;
                Some(if zone.starts_with('-') { -seconds } else { seconds })
            }
        };
        Some(Self { seconds, utc_offset })
    }

    /// Returns seconds since 1970. A time without an offset is in this zone.
    fn in_zone(self, utc_offset: i32) -> f64 {
        self.seconds - f64::from(self.utc_offset.unwrap_or(utc_offset))
    }
}

/// Returns the text after the word `and` and before the blank that must follow it.
fn strip_and(text: &str) -> Option<&str> {
    let (word, rest) = text.split_at_checked(3)?;
    (word.eq_ignore_ascii_case("and") && rest.starts_with(char::is_whitespace)).then_some(rest)
}

/// Splits a value without quotes, up to a comma or an `and` between blanks, from the text after it.
fn split_unquoted_value(text: &str) -> (&str, &str) {
    let comma = text.find(',').unwrap_or(text.len());
    let mut at = 0;
    // Each run of blanks is read once.
    while let Some(offset) = text[at..comma].find(char::is_whitespace) {
        let blank = at + offset;
        let rest = text[blank..].trim_start();
        if let Some(rest) = strip_and(rest) {
            return (text[..blank].trim(), rest);
        }
        at = text.len() - rest.len();
    }
    (text[..comma].trim(), &text[comma..])
}

/// Parses a number with a unit in lower case: `8g`, `8gib`, `50%`, `2d`, `512`, `true`.
fn parse_with_unit(value: &str) -> Option<f64> {
    match value {
        "true" => return Some(1.0),
        "false" => return Some(0.0),
        _ => {}
    }
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(value.len());
    let (digits, unit) = value.split_at(digits);
    let number = parse_decimal(digits)?;
    let unit = unit.trim_start();
    if unit.is_empty() || unit == "b" {
        return Some(number);
    }
    let byte_unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).filter(|unit| "kmgtp".contains(unit));
    UNITS.iter().find(|(name, _)| *name == byte_unit.unwrap_or(unit)).map(|(_, factor)| number * factor)
}

/// Returns whether a text is a value, or a list with it: `prod;web`, `iso,backup`.
fn has_item(text: &str, value: &str) -> bool {
    text == value || !value.is_empty() && !text.contains(['=', ' ']) && text.split([';', ',']).any(|item| item == value)
}

impl FilterCondition {
    /// Returns whether the condition is on a time.
    pub fn has_time(&self) -> bool {
        self.time.is_some()
    }

    /// Returns true if the JSON value of the key, if there is one, meets the condition. The zone is that of the answer.
    pub fn matches(&self, raw: Option<&str>, utc_offset: i32) -> bool {
        let Some(raw) = raw.filter(|raw| *raw != "null") else {
            return match self.operator {
                FilterOperator::Equal => self.value.is_empty(),
                FilterOperator::NotEqual => !self.value.is_empty(),
                FilterOperator::NotContains => true,
                _ => false,
            };
        };
        match self.operator {
            FilterOperator::Equal => self.equals(raw, utc_offset),
            FilterOperator::NotEqual => !self.equals(raw, utc_offset),
            FilterOperator::Contains => self.is_within(raw, utc_offset),
            FilterOperator::NotContains => !self.is_within(raw, utc_offset),
            FilterOperator::Less => self.compare(raw, utc_offset).is_lt(),
            FilterOperator::AtMost => self.compare(raw, utc_offset).is_le(),
            FilterOperator::More => self.compare(raw, utc_offset).is_gt(),
            FilterOperator::AtLeast => self.compare(raw, utc_offset).is_ge(),
        }
    }

    /// Returns whether a value is a number, and the condition compares it with a text.
    pub fn is_incomparable(&self, raw: Option<&str>) -> bool {
        use FilterOperator::{AtLeast, AtMost, Less, More};
        matches!(self.operator, Less | AtMost | More | AtLeast)
            && self.number.is_none()
            && self.time.is_none()
            && raw.is_some_and(|raw| parse_number(raw).is_some())
    }

    /// Returns the value that the condition compares with.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns whether the condition is on one of the values of a key.
    pub fn wants_value(&self) -> bool {
        self.operator == FilterOperator::Equal && !self.value.is_empty()
    }

    /// Returns a value as a table has it.
    pub fn show(&self, raw: &str, utc_offset: i32) -> String {
        self.format.format(&self.key, raw, utc_offset).into_owned()
    }

    fn number(&self, utc_offset: i32) -> Option<f64> {
        self.time.map(|time| time.in_zone(utc_offset)).or(self.number)
    }

    /// Returns the value as a table has it, in lower case. `None` if that is the value itself.
    fn find_shown(&self, raw: &str, utc_offset: i32) -> Option<String> {
        (self.format != KeyFormat::Plain).then(|| self.format.format(&self.key, raw, utc_offset).to_lowercase())
    }

    fn is_within(&self, raw: &str, utc_offset: i32) -> bool {
        unquote(raw).to_lowercase().contains(&self.value)
            || self.find_shown(raw, utc_offset).is_some_and(|shown| shown.contains(&self.value))
    }

    fn equals(&self, raw: &str, utc_offset: i32) -> bool {
        /// From here on a float represents several whole numbers.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let numbers = parse_number(raw).zip(self.number(utc_offset));
        numbers.is_some_and(|(found, wanted)| found == wanted && found.abs() < EXACT)
            || has_item(&unquote(raw).to_lowercase(), &self.value)
            || self.find_shown(raw, utc_offset).is_some_and(|shown| match self.time {
                // A day has all of its times.
                Some(_) if self.value.len() == 10 => shown.starts_with(&self.value),
                _ => shown == self.value,
            })
    }

    fn compare(&self, raw: &str, utc_offset: i32) -> Ordering {
        match (parse_number(raw), self.number(utc_offset)) {
            (Some(found), Some(wanted)) => found.total_cmp(&wanted),
            _ => unquote(raw).to_lowercase().as_str().cmp(&self.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(filter: &str, raw: Option<&str>) -> bool {
        let conditions = parse_filter(filter).unwrap();
        assert_eq!(conditions.len(), 1, "{filter}");
        conditions.iter().all(|c| c.matches(raw, 3_600))
    }

    #[test]
    fn conditions_compare_as_a_person_would() {
        for (filter, raw, expected) in [
            ("status=running", r#""Running""#, true),
            ("status!=stopped", r#""stopped""#, false),
            ("status == running", r#""running""#, true),
            ("mem>8G", "8589934593", true),
            ("mem>8G", "8589934592", false),
            ("mem>=8GiB", r#""8589934592""#, true),
            ("mem<1.5 kb", "1535", true),
            ("maxmem=8G", "8589934592", true),
            ("cpu>50%", "0.51", true),
            ("cpu<=50%", "0.5", true),
            ("uptime>2d", "172801", true),
            ("uptime<30min", "1799", true),
            ("memory=512", r#""512""#, true),
            ("memory=512.0", "512", true),
            ("memory>99", r#""512""#, true),
            ("onboot=true", "1", true),
            ("onboot=true", r#""0""#, false),
            ("onboot=1", "true", true),
            ("onboot=false", "0", true),
            ("name~WEB", r#""my-web-1""#, true),
            ("name!~web", r#""my-web-1""#, false),
            ("tags~prod", r#""db;prod""#, true),
            ("name=", r#""""#, true),
            ("name!=", r#""x""#, true),
            ("name>b", r#""c""#, true),
            ("digest=0e1", r#""0e2""#, false),
            ("size=9007199254740993", "9007199254740992", false),
            ("net0~virtio=BC:24", r#""virtio=bc:24:11""#, true),
            ("note=\"a, b and c\"", r#""a, b and c""#, true),
            ("note='x'", r#""x""#, true),
            ("name=o'brien", r#""O'Brien""#, true),
            ("name=Ärger", r#""\u00e4RGER""#, true),
            ("enabled=no", "0", true),
            ("enabled=yes", r#""1""#, true),
            ("enabled!=no", "1", true),
            ("uptime>10m", "601", true),
            ("uptime<1d2h", "93599", true),
            ("uptime>=2 days", "172800", true),
            ("uptime=1h1m", "3661", true),
            ("expire=never", "0", true),
            ("starttime>2026-11-28T09:54:37+01:00", "1795856078", true),
            ("starttime>2026-11-28T09:54:38", "1795856078", false),
            ("starttime>=2026-11-28 09:54", "1795856078", true),
            ("starttime<2026-11-28T08:54:39Z", "1795856078", true),
            ("starttime=2026-11-28", "1795856078", true),
            ("starttime=2026-11-27", "1795856078", false),
            ("starttime~2026-11-28T09", "1795856078", true),
            ("pressurecpusome>50%", "50.5", true),
            ("size=21.33GiB", "22906492245", true),
            ("tags=-", r#""""#, true),
            ("tags=web", r#""prod;web""#, true),
            ("tags!=web", r#""prod;web""#, false),
            ("tags=we", r#""prod;web""#, false),
            ("net0=web", r#""virtio=a,web""#, false),
            ("tags!=-", r#""web""#, true),
        ] {
            assert_eq!(matches(filter, Some(raw)), expected, "{filter} on {raw}");
        }
    }

    #[test]
    fn a_missing_key_is_different_from_every_value_and_equal_to_none() {
        for raw in [None, Some("null")] {
            for (filter, expected) in [
                ("a=", true),
                ("a!=x", true),
                ("a!~x", true),
                ("a=x", false),
                ("a~x", false),
                ("a<1", false),
                ("a!=", false),
            ] {
                assert_eq!(matches(filter, raw), expected, "{filter}");
            }
        }
    }

    #[test]
    fn conditions_are_joined_by_commas_or_and() {
        let keys = |text| parse_filter(text).unwrap().into_iter().map(|c| (c.key, c.value)).collect::<Vec<_>>();
        let expected = [("a".to_owned(), "1".to_owned()), ("b.c".to_owned(), "x y".to_owned())];
        for text in
            ["a=1,b.c=x y", "a=1 and b.c=x y", " a = 1  AND b.c=\"x y\" ,", "'a'=1 , b.c='x y'", "a='1' and b.c=x y"]
        {
            assert_eq!(keys(text), expected, "{text}");
        }
        assert_eq!(keys("name~sand and b=land"), [("name".into(), "sand".into()), ("b".into(), "land".into())]);
        assert!(keys("").is_empty());
    }

    #[test]
    fn an_invalid_condition_is_an_error() {
        for (text, part) in [
            ("running", "\"running\" is not a condition"),
            ("tags~a,b", "\"b\" is not a condition"),
            ("=5", "is not a condition"),
            ("a!5", "is not a condition"),
            ("a=\"x", "has no end"),
            ("a=\"x\" b=1", "a comma or `and` is missing before"),
            ("a=1 or b=2", "there is no `or`"),
            ("a=1 && b=2", "there is no `or`"),
        ] {
            let error = parse_filter(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(parse_filter(&"a=1,".repeat(65)).unwrap_err().to_string().contains("at most 64"));
        assert!(parse_filter(&"x".repeat(1_000_000)).unwrap_err().to_string().len() < 400);
    }

    proptest! {
        #[test]
        fn parsing_does_not_panic_for_any_text(text in ".{0,60}", raw in r#"(null|-?[0-9]{1,20}|"[a-z0-9.%]{0,8}"|\{\}|\[1\])"#) {
            if let Ok(conditions) = parse_filter(&text) {
                let _ = conditions.iter().all(|c| c.matches(Some(&raw), 0) | c.matches(None, 0));
            }
        }

        #[test]
        fn parsing_does_not_panic_for_anything_like_a_condition(text in r#"([a-zé]{0,3}[ ,]?(=|!=|~|!~|<|>=|!)?[ "']?[0-9a-z%\\]{0,4}["' ,]?( and )?){0,4}"#) {
            let _ = parse_filter(&text);
        }
    }
}
