//! Conditions on rows, in the words a model would use: `status=running,mem>8G,name~web`. All must hold.

use crate::render::output::json_path::{parse_decimal, parse_number, unquote};
use crate::render::output::keys::{check_key, quote_short, split_quoted};

/// How to write one, for error texts.
const SYNTAX: &str = "write key=value, with =, !=, <, <=, >, >=, ~ (contains) or !~, a comma or `and` between conditions, and \
    quotes around a value that holds either";

/// One condition.
#[derive(Clone, Debug)]
pub struct FilterCondition {
    /// The key whose value is looked at.
    pub key: String,
    op: FilterOperator,
    /// In lower case: upper and lower case never tell values apart.
    value: String,
    /// The value as a number, unit and all.
    number: Option<f64>,
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

/// The longer before those that start like them.
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

/// What each unit stands for: binary multiples of bytes, hundredths, and seconds. `m` is mega.
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

/// Reads conditions.
pub fn parse(text: &str) -> Result<Vec<FilterCondition>, String> {
    let mut conditions = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        if rest.is_empty() {
            return Ok(conditions);
        }
        let condition;
        (condition, rest) = parse_condition(rest).map_err(|why| format!("filter: {why}"))?;
        check_key("filter", &condition.key, conditions.len())?;
        conditions.push(condition);
    }
}

/// The first condition of `text`, and what stands behind it.
fn parse_condition(text: &str) -> Result<(FilterCondition, &str), String> {
    let (key, rest) = match split_quoted(text)? {
        Some((key, rest)) => (key, rest.trim_start()),
        None => {
            let end = text.find(['=', '!', '<', '>', '~', ',']).unwrap_or(text.len());
            let (key, rest) = text.split_at(end);
            (key.trim().to_owned(), rest)
        }
    };
    let op = OPERATORS.iter().find_map(|(sign, op)| Some((*op, rest.strip_prefix(sign)?)));
    let Some((op, rest)) = op.filter(|_| !key.is_empty()) else {
        return Err(format!("{} is no condition: {SYNTAX}", quote_short(text)));
    };
    let rest = rest.trim_start();
    let (value, rest) = match split_quoted(rest)? {
        Some((value, rest)) => {
            let rest = rest.trim_start();
            let word = rest.get(..3).is_some_and(|w| w.eq_ignore_ascii_case("and"));
            match word && rest.chars().nth(3).is_some_and(char::is_whitespace) {
                true => (value, rest.get(3..).unwrap_or_default()),
                false if rest.is_empty() || rest.starts_with(',') => (value, rest),
                false => return Err(format!("a comma or `and` is missing before {}", quote_short(rest))),
            }
        }
        None => {
            let (value, rest) = split_unquoted_value(rest);
            // Otherwise it would be part of the value, and nothing would ever match.
            let lower = value.to_ascii_lowercase();
            if lower.contains(" or ") || value.contains("||") || value.contains("&&") {
                return Err(format!("all conditions must hold, there is no `or` in {}: {SYNTAX}", quote_short(text)));
            }
            (value.to_owned(), rest)
        }
    };
    let value = value.to_lowercase();
    let number = parse_with_unit(&value);
    Ok((FilterCondition { key, op, value, number }, rest))
}

/// A value without quotes: up to a comma, or `and` between spaces.
fn split_unquoted_value(text: &str) -> (&str, &str) {
    let comma = text.find(',').unwrap_or(text.len());
    let (mut end, mut next) = (comma, comma);
    for (at, _) in text.match_indices(char::is_whitespace).take_while(|(at, _)| *at < comma) {
        let after = text.get(at..).unwrap_or_default().trim_start();
        let word = after.get(..3).is_some_and(|w| w.eq_ignore_ascii_case("and"));
        if word && after.get(3..).is_some_and(|r| r.starts_with(char::is_whitespace)) {
            (end, next) = (at, text.len() - after.len() + 3);
            break;
        }
    }
    (text.get(..end).unwrap_or_default().trim(), text.get(next..).unwrap_or_default())
}

/// `8g`, `8gib`, `50%`, `2d`, `512`, `true`, in lower case.
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
    let bytes = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).filter(|u| "kmgtp".contains(u));
    UNITS.iter().find(|(name, _)| *name == bytes.unwrap_or(unit)).map(|(_, times)| number * times)
}

impl FilterCondition {
    /// Whether a value, if there is one, is as it should be.
    pub fn matches(&self, raw: Option<&str>) -> bool {
        let Some(raw) = raw.filter(|raw| *raw != "null") else {
            return match self.op {
                FilterOperator::Equal => self.value.is_empty(),
                FilterOperator::NotEqual => !self.value.is_empty(),
                FilterOperator::NotContains => true,
                _ => false,
            };
        };
        match self.op {
            FilterOperator::Equal => self.equals(raw),
            FilterOperator::NotEqual => !self.equals(raw),
            FilterOperator::Contains => unquote(raw).to_lowercase().contains(&self.value),
            FilterOperator::NotContains => !unquote(raw).to_lowercase().contains(&self.value),
            op => {
                let order = match (parse_number(raw), self.number) {
                    (Some(is), Some(asked)) => is.total_cmp(&asked),
                    _ => unquote(raw).to_lowercase().as_str().cmp(&self.value),
                };
                match op {
                    FilterOperator::Less => order.is_lt(),
                    FilterOperator::AtMost => order.is_le(),
                    FilterOperator::More => order.is_gt(),
                    _ => order.is_ge(),
                }
            }
        }
    }

    fn equals(&self, raw: &str) -> bool {
        /// From here on neighbours are the same number.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let same_number = parse_number(raw).zip(self.number).is_some_and(|(is, asked)| is == asked && is.abs() < EXACT);
        same_number || unquote(raw).to_lowercase() == self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(filter: &str, raw: Option<&str>) -> bool {
        let conditions = parse(filter).unwrap();
        assert_eq!(conditions.len(), 1, "{filter}");
        conditions.iter().all(|c| c.matches(raw))
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
        let keys = |text| parse(text).unwrap().into_iter().map(|c| (c.key, c.value)).collect::<Vec<_>>();
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
    fn an_invalid_condition_is_an_error_with_the_syntax() {
        for (text, part) in [
            ("running", "\"running\" is no condition: write key=value"),
            ("tags~a,b", "\"b\" is no condition"),
            ("=5", "is no condition"),
            ("a!5", "is no condition"),
            ("a=\"x", "has no end"),
            ("a=\"x\" b=1", "a comma or `and` is missing before"),
            ("a=1 or b=2", "there is no `or`"),
            ("a=1 && b=2", "there is no `or`"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.starts_with("filter: ") && why.contains(part), "{why}");
        }
        assert!(parse(&"a=1,".repeat(65)).unwrap_err().contains("at most 64"));
        assert!(parse(&"x".repeat(1_000_000)).unwrap_err().len() < 400);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}", raw in r#"(null|-?[0-9]{1,20}|"[a-z0-9.%]{0,8}"|\{\}|\[1\])"#) {
            if let Ok(conditions) = parse(&text) {
                let _ = conditions.iter().all(|c| c.matches(Some(&raw)) | c.matches(None));
            }
        }

        #[test]
        fn nothing_like_a_condition_makes_it_panic(text in r#"([a-zé]{0,3}[ ,]?(=|!=|~|!~|<|>=|!)?[ "']?[0-9a-z%\\]{0,4}["' ,]?( and )?){0,4}"#) {
            let _ = parse(&text);
        }
    }
}
