//! Conditions on rows in a form that models write: `status=running,mem>8G,name~web`. All of them must hold.

use crate::render::labels::format_local_time;
use crate::render::output::error::{ArgumentError, MAX_KEYS, OutputError};
use crate::render::output::json_path::{parse_number, unquote, walk};
use crate::render::output::key_format::KeyFormat;
use crate::render::output::keys::{QuotedWord, check_key, skip_separators, split_quoted};
use crate::render::output::names::{push_name, push_names, quote_short};
use crate::render::output::wanted_value::{ReadingTime, WantedValue};
use crate::render::task::shorten_task_message;
use std::borrow::Cow;
use std::cmp::Ordering;

#[derive(Clone, Debug)]
pub struct FilterCondition {
    pub key: String,
    operator: FilterOperator,
    /// In lower case, as comparisons ignore case.
    value: String,
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
    // Operators of other languages: `=~`, `>>`.
    if rest.starts_with(['=', '<', '>', '~']) {
        return Err(ArgumentError::NotACondition(quote_short(text)));
    }
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
            if value.to_ascii_lowercase().contains(" or ") || value.contains('|') || value.contains("&&") {
                return Err(ArgumentError::UnsupportedOr(quote_short(text)));
            }
            if let Some(next) = find_next_condition(value) {
                return Err(ArgumentError::MissingSeparator(quote_short(next)));
            }
            (value.to_owned(), rest)
        }
    };
    Ok((FilterCondition { key, operator, value: value.to_lowercase() }, rest))
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

/// Finds a condition after a blank in a value without quotes: `running type=qemu`.
fn find_next_condition(value: &str) -> Option<&str> {
    let blanks = value.char_indices().filter(|(_, c)| c.is_whitespace()).take(MAX_KEYS);
    blanks.map(|(at, _)| value[at..].trim_start()).find(|rest| {
        let key = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-')).unwrap_or(rest.len());
        let after = rest[key..].trim_start();
        key > 0 && OPERATORS.iter().any(|(sign, _)| after.starts_with(sign))
    })
}

impl FilterCondition {
    /// Returns the key of a row's maximum, of which a value with `%` is a part.
    pub fn maximum_keys(&self) -> Vec<String> {
        let (path, last) = self.key.rsplit_once('.').map_or(("", self.key.as_str()), |(path, last)| (path, last));
        let keys = MAXIMUM_KEYS.iter().filter(|(part, _)| *part == last).map(|(_, maximum)| match path {
            "" => (*maximum).to_owned(),
            path => format!("{path}.{maximum}"),
        });
        if self.value.ends_with('%') { keys.collect() } else { Vec::new() }
    }

    /// Returns whether the condition compares times, which need the zone of the node.
    pub fn is_about_time(&self) -> bool {
        KeyFormat::is_time(&self.key)
    }
}

/// The keys of parts, each with a key of its maximum.
const MAXIMUM_KEYS: [(&str, &str); 16] = [
    ("mem", "maxmem"),
    ("memhost", "maxmem"),
    ("disk", "maxdisk"),
    ("swap", "maxswap"),
    ("used", "total"),
    ("used", "lv_size"),
    ("avail", "total"),
    ("available", "total"),
    ("free", "total"),
    ("free", "size"),
    ("alloc", "size"),
    ("memused", "memtotal"),
    ("memavailable", "memtotal"),
    ("rootused", "roottotal"),
    ("swapused", "swaptotal"),
    ("metadata_used", "metadata_size"),
];

/// The least number that a table shows as a size.
const MIN_SHOWN_SIZE: f64 = 1024.0;

/// The most values of a key that are named if no row matches.
const MAX_NAMED_VALUES: usize = 8;

/// A condition on the rows of one list, with what it found in them.
pub struct RowCondition<'f> {
    condition: &'f FilterCondition,
    format: KeyFormat,
    time: ReadingTime,
    wanted: Option<WantedValue>,
    has_match: bool,
    /// The value could be compared with that of a row.
    is_comparable: bool,
    /// A value with which it could not be compared.
    incomparable: Option<&'f str>,
    /// The numbers found, if there are any.
    numbers: Option<(f64, f64)>,
    /// The first values found, as they are shown.
    values: Vec<String>,
    /// The number of rows whose text contains the value.
    containing: usize,
}

impl<'f> RowCondition<'f> {
    pub fn new(condition: &'f FilterCondition, time: ReadingTime) -> Self {
        let format = KeyFormat::for_key(&condition.key);
        Self {
            condition,
            format,
            time,
            wanted: WantedValue::parse(format, &condition.value, time),
            has_match: false,
            is_comparable: false,
            incomparable: None,
            numbers: None,
            values: Vec::new(),
            containing: 0,
        }
    }

    /// Returns true if the JSON value of the key, if there is one, meets the condition. `maximum` is the number that a
    /// share is a part of.
    pub fn matches(&mut self, raw: Option<&'f str>, maximum: Option<f64>) -> bool {
        let operator = self.condition.operator;
        let Some(raw) = raw.filter(|raw| !self.is_unset(raw)) else {
            let is_wanted = matches!(self.condition.value.as_str(), "" | "-" | "null")
                || raw.is_some_and(|raw| {
                    let value = self.condition.value.as_str();
                    unquote(raw) == value || self.show(raw) == value
                });
            let is_match = match operator {
                FilterOperator::Equal => is_wanted,
                FilterOperator::NotEqual => !is_wanted,
                FilterOperator::NotContains => true,
                _ => false,
            };
            return self.record(is_match, Some(is_match), None);
        };
        let found = match operator {
            FilterOperator::Equal | FilterOperator::NotEqual => self.equals(raw, maximum),
            FilterOperator::Contains | FilterOperator::NotContains => Some(self.contains(raw)),
            _ => self.compare(raw, maximum),
        };
        let is_negated = matches!(operator, FilterOperator::NotEqual | FilterOperator::NotContains);
        self.record(found.is_some_and(|found| found != is_negated), found, Some(raw))
    }

    /// Keeps what the texts about the condition need. Returns `is_match`.
    fn record(&mut self, is_match: bool, found: Option<bool>, raw: Option<&'f str>) -> bool {
        match (found, raw) {
            (Some(_), Some(_)) => self.is_comparable = true,
            (None, Some(raw)) => self.incomparable = self.incomparable.or(Some(raw)),
            _ => {}
        }
        self.has_match |= is_match;
        if self.has_match {
            return is_match;
        }
        if let Some(number) = raw.and_then(parse_number) {
            let (least, most) = self.numbers.unwrap_or((number, number));
            self.numbers = Some((least.min(number), most.max(number)));
        }
        if let Some(raw) = raw.filter(|raw| self.condition.operator == FilterOperator::Equal && self.contains(raw)) {
            self.containing += usize::from(raw.starts_with('"'));
        }
        if self.values.len() <= MAX_NAMED_VALUES {
            let shown = raw.map_or_else(|| "-".to_owned(), |raw| self.show(raw).into_owned());
            if !self.values.contains(&shown) {
                self.values.push(shown);
            }
        }
        is_match
    }

    /// Returns whether a table shows a value as `-`, or as a time that never was.
    fn is_unset(&self, raw: &str) -> bool {
        let is_no_time = |shown: &str| shown.is_empty() || self.format == KeyFormat::Time && shown == "never";
        matches!(raw, "null" | "\"\"" | "[]" | "{}") || matches!(raw, "0" | "\"0\"") && is_no_time(&self.show(raw))
    }

    fn show<'r>(&self, raw: &'r str) -> Cow<'r, str> {
        match find_task_text(raw) {
            Some(short) => short.into(),
            None => self.format.format(&self.condition.key, raw, self.time.utc_offset),
        }
    }

    fn contains(&self, raw: &str) -> bool {
        let value = self.condition.value.as_str();
        // A table has another text for a task, and for a value that is no plain text.
        let is_shown_as_other = || self.format != KeyFormat::Plain || find_task_text(raw).is_some();
        unquote(raw).to_lowercase().contains(value)
            || is_shown_as_other() && self.show(raw).to_lowercase().contains(value)
    }

    /// Returns `None` if the value can't be compared.
    fn equals(&self, raw: &str, maximum: Option<f64>) -> Option<bool> {
        /// From here on a float represents several whole numbers.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let value = self.condition.value.as_str();
        let text = unquote(raw).to_lowercase();
        if text == value || has_item(raw, &text, value) {
            return Some(true);
        }
        let Some(number) = self.parse_found(raw) else {
            return Some(find_task_text(raw).is_some_and(|short| short.to_lowercase() == value));
        };
        let is_equal = match self.wanted {
            Some(WantedValue::Range { low, high }) => (low..=high).contains(&number) && number.abs() < EXACT,
            Some(WantedValue::Share(share)) => {
                maximum.is_some_and(|maximum| (number / maximum * 100.0).round() == (share * 100.0).round())
            }
            None => false,
        };
        if is_equal || self.show(raw).to_lowercase() == value {
            return Some(true);
        }
        // A name may have digits only.
        (self.wanted.is_some() || raw.starts_with('"') && self.format == KeyFormat::Plain).then_some(false)
    }

    /// Returns `None` if the value can't be compared.
    fn compare(&self, raw: &str, maximum: Option<f64>) -> Option<bool> {
        let is_text = raw.starts_with('"');
        let order = match (self.parse_found(raw), self.wanted) {
            (Some(number), _) if self.lacks_unit() && number >= MIN_SHOWN_SIZE => return None,
            (Some(number), Some(WantedValue::Range { low, high })) => {
                // No limit, and no end.
                let is_endless = matches!(self.format, KeyFormat::Expiry | KeyFormat::Limit) && number == 0.0;
                let number = if is_endless { f64::INFINITY } else { number };
                // A day begins with its first second, and `<=` has all of it.
                let bound = if self.condition.operator == FilterOperator::AtMost { high } else { low };
                number.total_cmp(&bound)
            }
            (Some(number), Some(WantedValue::Share(share))) => (number / maximum?).total_cmp(&share),
            (None, Some(_)) if is_text && !unquote(raw).starts_with(|c: char| c.is_ascii_digit()) => return None,
            (None, _) if is_text => compare_natural(&unquote(raw).to_lowercase(), &self.condition.value),
            _ => return None,
        };
        Some(match self.condition.operator {
            FilterOperator::Less => order.is_lt(),
            FilterOperator::AtMost => order.is_le(),
            FilterOperator::More => order.is_gt(),
            _ => order.is_ge(),
        })
    }

    /// Returns whether the value is a number of bytes that nothing has: `mem>8` means another unit.
    fn lacks_unit(&self) -> bool {
        let tiny = |wanted| matches!(wanted, WantedValue::Range { low, .. } if low > 0.0 && low < MIN_SHOWN_SIZE);
        self.format == KeyFormat::Bytes && self.wanted.is_some_and(tiny)
    }

    /// Parses the value of a row as a number. A text may have a unit too: `32G`.
    fn parse_found(&self, raw: &str) -> Option<f64> {
        let number = parse_number(raw);
        let has_unit = self.wanted.is_some() && self.format != KeyFormat::Plain && raw.starts_with('"');
        if number.is_some() || !has_unit {
            return number;
        }
        match WantedValue::parse(self.format, &unquote(raw).to_lowercase(), self.time) {
            Some(WantedValue::Range { low, .. }) => Some(low),
            _ => None,
        }
    }

    /// Returns the error of a value that no row's value can be compared with.
    pub fn check_comparable(&self) -> Result<(), OutputError> {
        let Some(raw) = self.incomparable.filter(|_| !self.is_comparable || self.lacks_unit()) else { return Ok(()) };
        let (kind, example) = match (raw.as_bytes()[0], self.format) {
            (b'{' | b'[', _) => ("lists or objects", "key~text, or a path such as key.0.name"),
            (b'"', _) if parse_number(raw).is_none() => ("texts", "key=text or key~text"),
            (_, KeyFormat::Time | KeyFormat::Expiry) => {
                ("times", "2026-11-27, 2026-11-27T10:15, `24h ago`, +30d or seconds since 1970")
            }
            (_, KeyFormat::Bytes) if self.condition.value.ends_with('%') => {
                ("sizes without a maximum", "10GiB or bytes")
            }
            (_, KeyFormat::Bytes) => ("sizes", "10GiB, 500MB, bytes, or 80% of a maximum that the row has"),
            (_, KeyFormat::Fraction) => ("shares", "50% or 0.5"),
            (_, KeyFormat::Percent | KeyFormat::LifeLeft) => ("percentages", "50%"),
            (_, KeyFormat::Duration) => ("durations", "2d, 3h, 30m or seconds"),
            (b't' | b'f', _) | (_, KeyFormat::Flag) => ("yes or no", "yes, no, or - for not set"),
            (_, KeyFormat::Limit | KeyFormat::Plain) => ("numbers", "a number, or - for not set"),
        };
        Err(OutputError::Incomparable {
            key: self.condition.key.clone(),
            kind,
            value: quote_short(&self.condition.value),
            example,
        })
    }

    /// Describes the time that a date was read as.
    pub fn describe_time(&self) -> Option<String> {
        let Some(WantedValue::Range { low, high }) = self.wanted.filter(|_| self.condition.is_about_time()) else {
            return None;
        };
        let is_local = self.condition.value.contains(['-', '+', ' ', ':', 'y', 'w']);
        let show = |seconds: f64| format_local_time(seconds as u64, self.time.utc_offset);
        let (sign, _) = OPERATORS.iter().rfind(|(_, operator)| *operator == self.condition.operator)?;
        let bound = match self.condition.operator {
            FilterOperator::Contains | FilterOperator::NotContains => return None,
            FilterOperator::Equal | FilterOperator::NotEqual if low < high => {
                format!("{} to {}", show(low), show(high))
            }
            FilterOperator::AtMost => show(high),
            _ => show(low),
        };
        let mut text = String::new();
        push_name(&mut text, &self.condition.key);
        (is_local && bound.to_lowercase() != self.condition.value).then(|| format!("{text}{sign}{bound}"))
    }

    /// Describes the values that there are, if no row matches.
    pub fn describe_values(&self) -> Option<String> {
        if self.has_match || self.values.iter().all(|value| value == "-") {
            return None;
        }
        let FilterCondition { key, operator, value } = self.condition;
        let mut text = String::from("found: ");
        push_name(&mut text, key);
        text.push(' ');
        let is_order = !matches!(operator, FilterOperator::Equal | FilterOperator::Contains);
        match self.numbers.filter(|_| is_order || self.values.len() > MAX_NAMED_VALUES) {
            Some((least, most)) => {
                let show = |number: f64| self.show(&number.to_string()).into_owned();
                let (least, most) = (show(least), show(most));
                text.push_str(&if least == most { least } else { format!("{least} to {most}") });
            }
            None => push_names(&mut text, self.values.iter().map(String::as_str), MAX_NAMED_VALUES),
        }
        if self.containing > 0 {
            let rows = if self.containing == 1 { "row" } else { "rows" };
            text.push_str("; ");
            push_name(&mut text, key);
            text.push('~');
            push_name(&mut text, value);
            text.push_str(&format!(" finds {} {rows}", self.containing));
        } else if value.contains(['*', '^', '$']) {
            text.push_str("; ~ finds a part of a text, without * or ^");
        }
        Some(text)
    }
}

/// Returns the text that a table has for a message about a task.
fn find_task_text(raw: &str) -> Option<String> {
    shorten_task_message(&unquote(raw)).map(|(_, short)| short)
}

/// Returns whether a list has an item: a JSON list, or a text of words such as `prod;web`.
fn has_item(raw: &str, text: &str, value: &str) -> bool {
    if raw.starts_with('[') {
        let mut found = false;
        walk(raw, &mut |_, item| {
            found = unquote(item).to_lowercase() == value;
            !found
        });
        return found;
    }
    raw.starts_with('"')
        && text.contains([';', ','])
        && !text.contains(char::is_whitespace)
        && text.split([';', ',']).any(|item| item == value)
}

/// Compares texts, and the numbers within them by their values: `8.4.9` is before `8.4.10`.
fn compare_natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number_a, number_b) = (&a[..digits(a)], &b[..digits(b)]);
        let order = if number_a.is_empty() || number_b.is_empty() {
            a.chars().next().cmp(&b.chars().next())
        } else {
            let (value_a, value_b) = (number_a.trim_start_matches('0'), number_b.trim_start_matches('0'));
            value_a.len().cmp(&value_b.len()).then_with(|| value_a.cmp(value_b))
        };
        if order.is_ne() || a.is_empty() {
            return order;
        }
        let after = |text: &str, digits: usize| digits.max(text.chars().next().map_or(0, char::len_utf8));
        (a, b) = (&a[after(a, number_a.len())..], &b[after(b, number_b.len())..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hint::render_error;
    use proptest::prelude::*;

    fn matches(filter: &str, raw: Option<&str>) -> bool {
        let conditions = parse_filter(filter).unwrap();
        assert_eq!(conditions.len(), 1, "{filter}");
        conditions.iter().all(|condition| RowCondition::new(condition, TIME).matches(raw, Some(1_000.0)))
    }

    /// 2026-11-28T20:00:00Z, in a zone one hour ahead of UTC.
    const TIME: ReadingTime = ReadingTime { utc_offset: 3_600, now: 1_795_896_000 };

    fn describe_problem(filter: &str, raws: &[&str]) -> String {
        let conditions = parse_filter(filter).unwrap();
        let mut condition = RowCondition::new(&conditions[0], TIME);
        raws.iter().for_each(|raw| assert!(!condition.matches(Some(raw), None), "{filter} on {raw}"));
        match condition.check_comparable() {
            Err(error) => render_error(&error),
            Ok(()) => condition.describe_values().unwrap_or_default(),
        }
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
            ("starttime>=2026-11-28", "1795820400", true),
            ("starttime>=2026-11-28", "1795820399", false),
            ("starttime>2026-11-28", "1795820401", true),
            ("starttime<=2026-11-27", "1795820399", true),
            ("starttime<2026-11-28T00:00Z", "1795824000", false),
            ("starttime=2026-11-28", "1795856078", true),
            ("starttime=2026-11-28T09:54:38+01:00", "\"1795856078\"", true),
            ("starttime!=2026-11-28", "1795856078", false),
            ("starttime~2026-11-28", "1795856078", true),
            ("starttime~11-28T08", "1795856078", false),
            ("starttime>24h ago", "1795856078", true),
            ("starttime<-2h", "1795856078", true),
            ("notafter<+30d", "1798000000", true),
            ("next-run=today", "1795856078", true),
            ("starttime>1795856077", "1795856078", true),
            ("created<2026-11-28", "1795820399", true),
            ("expire<2027-01-01", "0", false),
            ("expire=never", "0", true),
            ("cpulimit>2", "0", true),
            ("template=yes", "1", true),
            ("template!=yes", "1", false),
            ("template=no", "0", true),
            ("enabled=on", "\"1\"", true),
            ("quorate=yes", "true", true),
            ("tags=web", r#""prod;web""#, true),
            ("tags!=web", r#""prod;web""#, false),
            ("tags=we", r#""prod;web""#, false),
            ("content=iso", r#""backup,iso""#, true),
            ("vmid=101", r#""100,101""#, true),
            ("nodes=pve2", r#"["pve1","pve2"]"#, true),
            ("comment=web", r#""mail, web and more""#, false),
            ("mem=2.16GiB", "2319282339", true),
            ("mem>0", "1073741824", true),
            ("size>2", "3", true),
            ("mem>90%", "901", true),
            ("mem>90%", "900", false),
            ("memory.used<50%", "499", true),
            ("size>10G", r#""32G""#, true),
            ("size<10G", r#""32G""#, false),
            ("size=32GiB", r#""32G""#, true),
            ("cpu=18.1%", "0.18094", true),
            ("pressurecpusome>1%", "0.9", false),
            ("uptime=2d16h", "230999", true),
            ("uptime<2d16h", "230399", true),
            ("uptime>30m", "1801", true),
            ("disk=-", "0", true),
            ("disk=0", "0", true),
            ("disk<10GiB", "0", false),
            ("last_sync=-", "0", true),
            ("last_sync=never", "0", true),
            ("last_sync!=never", "0", false),
            ("last_sync<2026-11-01", "0", false),
            ("version>8.4.9", r#""8.4.10""#, true),
            ("version<9", r#""8.4.10""#, true),
            ("name=007", r#""007""#, true),
        ] {
            assert_eq!(matches(filter, Some(raw)), expected, "{filter} on {raw}");
        }
    }

    #[test]
    fn message_about_a_task_is_found_as_the_table_shows_it_and_as_it_came() {
        let end = r#""end task UPID:pve1:000001C1:00022AEA:6B0293BE:qmshutdown:102:root@pam: OK""#;
        for filter in ["msg~qmshutdown 102", "msg~102: ok", "msg~qmshutdown:102", "msg=end task qmshutdown 102: OK"] {
            assert!(matches(filter, Some(end)), "{filter}");
        }
        assert!(!matches("msg~qmshutdown 103", Some(end)));
        // The line end is an escape in a table.
        assert!(!matches("note~nas", Some(r#""a\nas b""#)));
        assert!(describe_problem("msg=qmstart", &[end]).contains("end task qmshutdown 102: OK"));
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
                ("a=-", true),
                ("a=null", true),
                ("a!=-", false),
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
            ("name=~^web", "is not a condition"),
            ("cpu>>3", "is not a condition"),
            ("a=\"x", "has no end"),
            ("a=\"x\" b=1", "a comma or `and` is missing before"),
            ("a=1 type=x", "a comma or `and` is missing before \"type=x\""),
            ("a=1 type = x", "is missing before"),
            ("a~x y b!=x", "is missing before"),
            ("a=1 or b=2", "there is no `or`"),
            ("a=1|a=2", "there is no `or`"),
            ("name~web|db", "there is no `or`"),
            ("a=1 && b=2", "there is no `or`"),
        ] {
            let error = parse_filter(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(parse_filter(&"a=1,".repeat(65)).unwrap_err().to_string().contains("at most 64"));
        assert!(parse_filter(&"x".repeat(1_000_000)).unwrap_err().to_string().len() < 400);
    }

    #[test]
    fn a_value_that_no_row_can_be_compared_with_is_an_error_with_an_example() {
        for (filter, raw, part) in [
            ("mem>abc", "5", "mem has sizes, which can't be compared with \"abc\". hint: write 10GiB, 500MB"),
            ("mem>8", "1073741824", "mem has sizes, which can't be compared with \"8\""),
            ("disk>0.9", "1073741824", "disk has sizes"),
            ("disk>90%", "5", "disk has sizes without a maximum"),
            ("starttime>24h", "1795856078", "hint: write 2026-11-27, 2026-11-27T10:15, `24h ago`"),
            ("starttime=soon", "1795856078", "has times"),
            ("cpu>50", "0.2", "cpu has shares, which can't be compared with \"50\". hint: write 50% or 0.5"),
            ("uptime>5GB", "7", "has durations"),
            ("enabled=maybe", "1", "has yes or no"),
            ("quorate=maybe", "true", "has yes or no"),
            ("vmid=web", "100", "has numbers"),
            ("vmid>web", "\"100\"", "has numbers"),
            ("vcpus>10%", "96", "has numbers"),
            ("status>5", "\"running\"", "has texts"),
            ("ha>5", "{\"managed\":1}", "has lists or objects"),
        ] {
            let problem = describe_problem(filter, &[raw]);
            assert!(problem.contains(part), "{filter}: {problem}");
        }
        // Another row can be compared.
        assert_eq!(describe_problem("wearout<5", &["\"N/A\"", "96"]), "found: wearout 96% left");
    }

    #[test]
    fn a_condition_without_a_match_names_the_values_there_are() {
        for (filter, raws, text) in [
            ("status=off", &["\"running\"", "\"stopped\"", "\"running\""][..], "found: status running, stopped"),
            ("template=yes", &["0", "null"], "found: template no, -"),
            ("name=web*", &["\"web1\""], "found: name web1; ~ finds a part of a text, without * or ^"),
            ("name=web", &["\"web1\"", "\"web2\""], "found: name web1, web2; name~web finds 2 rows"),
            ("mem>8G", &["1073741824", "2147483648"], "found: mem 1GiB to 2GiB"),
            ("starttime>2026-11-28", &["1795809600"], "found: starttime 2026-11-27T21:00:00+01:00"),
            ("pool=x", &["null"], ""),
        ] {
            assert_eq!(describe_problem(filter, raws), text, "{filter}");
        }
        let names: Vec<String> = (1..20).map(|n| format!("\"n{n}\"")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(describe_problem("name=x", &names), "found: name n1, n2, n3, n4, n5, n6, n7, n8, …");
    }

    #[test]
    fn a_day_is_noted_with_its_bounds() {
        for (filter, note) in [
            ("starttime>=2026-11-28", Some("starttime>=2026-11-28T00:00:00+01:00")),
            ("starttime<=2026-11-28", Some("starttime<=2026-11-28T23:59:59+01:00")),
            ("starttime=today", Some("starttime=2026-11-28T00:00:00+01:00 to 2026-11-28T23:59:59+01:00")),
            ("starttime>24h ago", Some("starttime>2026-11-27T21:00:00+01:00")),
            ("starttime>2026-11-27T21:00:00+01:00", None),
            ("starttime>1795856077", None),
            ("status=running", None),
        ] {
            let conditions = parse_filter(filter).unwrap();
            assert_eq!(RowCondition::new(&conditions[0], TIME).describe_time().as_deref(), note, "{filter}");
        }
    }

    proptest! {
        #[test]
        fn parsing_does_not_panic_for_any_text(text in ".{0,60}", raw in r#"(null|-?[0-9]{1,20}|"[a-z0-9.%]{0,8}"|\{\}|\[1\])"#) {
            if let Ok(conditions) = parse_filter(&text) {
                for condition in &conditions {
                    let mut condition = RowCondition::new(condition, TIME);
                    let _ = condition.matches(Some(&raw), None) | condition.matches(None, None);
                    let _ = (condition.check_comparable(), condition.describe_values(), condition.describe_time());
                }
            }
        }

        #[test]
        fn parsing_does_not_panic_for_anything_like_a_condition(text in r#"([a-zé]{0,3}[ ,]?(=|!=|~|!~|<|>=|!)?[ "']?[0-9a-z%\\]{0,4}["' ,]?( and )?){0,4}"#) {
            let _ = parse_filter(&text);
        }
    }
}
