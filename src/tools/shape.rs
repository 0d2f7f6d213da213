//! Proxmox's lists as tables: read once, only the wanted columns, written twice — as text for a model (one header line,
//! tab-separated rows, numbers a person can read) and as JSON for programs (the raw values).

use crate::json::Scan;
use crate::order::order;
use std::borrow::Cow;
use std::fmt::Write;

/// Rows of a table: more than any cluster has, and a bound on the memory that a hostile answer takes.
pub(super) const MAX_ROWS: usize = 100_000;

/// A column: the key of the API's objects, and how its values read in text.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The key, and the header.
    pub key: &'static str,
    /// How a value reads.
    pub show: Show,
}

/// How the values of a column read in text; in JSON they stay as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// As it is.
    Plain,
    /// A fraction of 1, as a percentage.
    Percent,
    /// Bytes, in binary units.
    Bytes,
    /// Seconds, as days, hours and minutes.
    Duration,
}

/// Rows of one or several answers under the same columns.
pub struct Table<'a> {
    columns: &'static [Column],
    /// All cells, row after row, each the JSON text of its value.
    cells: Vec<Option<Cow<'a, str>>>,
}

impl<'a> Table<'a> {
    /// A table without rows.
    pub fn new(columns: &'static [Column]) -> Self {
        Self { columns, cells: Vec::new() }
    }

    /// Adds the rows of a JSON array of objects; keys without a column are passed over. The first columns are filled
    /// from `lead` (JSON texts) instead of the objects.
    pub fn read(&mut self, json: &'a str, lead: &[Cow<'a, str>]) -> Result<(), String> {
        let mut scan = Scan::new(json);
        self.rows_of(&mut scan, lead).filter(|()| scan.is_done()).ok_or_else(|| match self.len() {
            MAX_ROWS => format!("more than {MAX_ROWS} rows"),
            rows => format!("row {rows} is none"),
        })
    }

    fn rows_of(&mut self, scan: &mut Scan<'a>, lead: &[Cow<'a, str>]) -> Option<()> {
        if !scan.passes(b'[') {
            return None;
        }
        let mut first = true;
        while scan.more(first, b']')? {
            first = false;
            if self.len() >= MAX_ROWS || !scan.passes(b'{') {
                return None;
            }
            let start = self.cells.len();
            self.cells.extend(lead.iter().cloned().map(Some));
            self.cells.resize(start + self.columns.len(), None);
            let mut first = true;
            while scan.more(first, b'}')? {
                first = false;
                let key = scan.key()?;
                let raw = scan.value()?;
                let at = self.columns.iter().skip(lead.len()).position(|c| same(c.key, &key));
                if let Some(cell) = at.and_then(|at| self.cells.get_mut(start + lead.len() + at)) {
                    // An empty string says as little as null; without it the column may go.
                    *cell = Some(raw).filter(|r| *r != "null" && *r != "\"\"").map(Cow::Borrowed);
                }
            }
        }
        Some(())
    }

    /// Adds one row of JSON texts, in the order of the columns.
    pub fn push(&mut self, row: impl IntoIterator<Item = Option<Cow<'a, str>>>) {
        let start = self.cells.len();
        self.cells.extend(row.into_iter().take(self.columns.len()));
        self.cells.resize(start + self.columns.len(), None);
    }

    /// Takes back all but the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        self.cells.truncate(rows * self.columns.len());
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.cells.len() / self.columns.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The rows as they stand.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.cells.chunks_exact(self.columns.len()).map(|cells| Row { columns: self.columns, cells })
    }

    /// Writes the rows, in the order of `sort_by`, after what `text` holds already, and gives the JSON members
    /// `"columns":…,"rows":…,"total":…`. Columns that no row fills are left out.
    pub fn write(&self, text: &mut String, sort_by: SortBy) -> String {
        let rows: Vec<Row<'_>> = self.rows().collect();
        let places: Vec<Place<'_>> = rows.iter().map(sort_by).collect();
        let sorted = order(rows.len(), &|a, b| places.get(a).cmp(&places.get(b)));
        text.reserve(rows.len() * 96);
        let used: Vec<usize> = (0..self.columns.len())
            .filter(|&c| rows.iter().any(|r| r.cells.get(c).is_some_and(Option::is_some)))
            .collect();
        let mut json = String::with_capacity(64 + self.cells.len() * 12);
        json.push_str(r#""columns":["#);
        for (n, column) in used.iter().filter_map(|&c| self.columns.get(c)).enumerate() {
            let (tab, comma) = if n == 0 { ("", "") } else { ("\t", ",") };
            // Writing into a String can't fail.
            let _ = write!(text, "{tab}{}", column.key);
            let _ = write!(json, "{comma}\"{}\"", column.key);
        }
        text.push('\n');
        json.push_str(r#"],"rows":["#);
        for (n, row) in sorted.iter().filter_map(|at| rows.get(*at)).enumerate() {
            json.push_str(if n == 0 { "[" } else { ",[" });
            for (n, &c) in used.iter().enumerate() {
                if n > 0 {
                    text.push('\t');
                    json.push(',');
                }
                match (row.cells.get(c), self.columns.get(c)) {
                    (Some(Some(raw)), Some(column)) => {
                        show(text, raw, column.show);
                        json.push_str(raw);
                    }
                    _ => json.push_str("null"),
                }
            }
            text.push('\n');
            json.push(']');
        }
        let _ = write!(json, r#"],"total":{}"#, rows.len());
        json
    }
}

/// Where a row stands: by a text, then two numbers, then another text.
pub type Place<'r> = (&'r str, u8, u64, &'r str);

/// Says where a row stands.
pub type SortBy = for<'r> fn(&'r Row<'_>) -> Place<'r>;

/// One row of a [`Table`].
pub struct Row<'t> {
    columns: &'static [Column],
    cells: &'t [Option<Cow<'t, str>>],
}

impl Row<'_> {
    /// The JSON text of a cell.
    pub fn raw(&self, key: &str) -> Option<&str> {
        let at = self.columns.iter().position(|c| same(c.key, key))?;
        self.cells.get(at)?.as_deref()
    }

    /// A cell as text, without quotes (escapes stay); empty where it is a list or an object.
    pub fn text(&self, key: &str) -> &str {
        unquoted(self.raw(key).filter(|raw| !raw.starts_with(['{', '['])).unwrap_or(""))
    }

    /// A cell as a number, whether Proxmox wrote it as one or as a string; 0 where there is none.
    pub fn number(&self, key: &str) -> f64 {
        self.text(key).parse().ok().filter(|n: &f64| n.is_finite()).unwrap_or(0.0)
    }
}

/// Whether two keys are the same. Most differ in length or in their first byte, which needs no call.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.as_bytes().first() == b.as_bytes().first() && a == b
}

/// The inside of a JSON string as it stands. Its escapes keep tabs and line ends out of a table.
pub(super) fn unquoted(raw: &str) -> &str {
    raw.strip_prefix('"').and_then(|s| s.strip_suffix('"')).unwrap_or(raw)
}

fn show(text: &mut String, raw: &str, show: Show) {
    let plain = unquoted(raw);
    let number = match show {
        Show::Plain => None,
        _ => plain.parse::<f64>().ok().filter(|n| n.is_finite()),
    };
    match (show, number) {
        (Show::Percent, Some(n)) => push_percent(text, n),
        (Show::Bytes, Some(n)) => push_bytes(text, n),
        (Show::Duration, Some(n)) if n >= 0.0 => push_duration(text, n as u64),
        _ => drop(push_plain(text, plain)),
    }
}

/// Characters of a cell; what is longer is not for a table.
pub(super) const MAX_CELL: usize = 300;

/// A value as it stands, but on one line: a nested list or object may have line ends and tabs between its tokens.
/// Whether all of it was short enough to be written.
pub(super) fn push_plain(text: &mut String, plain: &str) -> bool {
    if plain.len() <= MAX_CELL && !plain.bytes().any(|b| b.is_ascii_control()) {
        text.push_str(plain);
        return true;
    }
    let mut cells = plain.chars().map(|c| if c.is_control() { ' ' } else { c });
    text.extend(cells.by_ref().take(MAX_CELL));
    let more = cells.next().is_some();
    if more {
        text.push('…');
    }
    !more
}

/// Bytes in the largest binary unit that leaves a whole part: `1.5GiB`, `512MiB`, `0`.
pub fn push_bytes(text: &mut String, bytes: f64) {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    // Whole numbers all the way: printing a float takes a thousand steps.
    text.push_str(if bytes <= -1.0 { "-" } else { "" });
    let bytes = bytes.abs() as u64;
    if bytes == 0 {
        text.push('0');
        return;
    }
    let unit = bytes.ilog2() / 10;
    // Two decimals at most, and none that say nothing.
    let hundredths = (u128::from(bytes) * 100 + (1 << (10 * unit) >> 1)) >> (10 * unit);
    push_number(text, (hundredths / 100) as u64);
    match (hundredths % 100) as u8 {
        0 => {}
        n if n % 10 == 0 => text.extend(['.', char::from(b'0' + n / 10)]),
        n => text.extend(['.', char::from(b'0' + n / 10), char::from(b'0' + n % 10)]),
    }
    text.push_str(UNITS.get(unit as usize).copied().unwrap_or_default());
}

/// A fraction of 1 as a percentage with one decimal: `12.3%`.
fn push_percent(text: &mut String, fraction: f64) {
    text.push_str(if fraction < 0.0 { "-" } else { "" });
    let tenths = (fraction.abs() * 1_000.0 + 0.5) as u64;
    push_number(text, tenths / 10);
    text.extend(['.', char::from(b'0' + (tenths % 10) as u8), '%']);
}

fn push_number(text: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    text.push_str(str::from_utf8(digits.get(start..).unwrap_or_default()).unwrap_or_default());
}

/// The two largest units of a duration in seconds: `12d3h`, `3h5m`, `40s`.
pub fn push_duration(text: &mut String, seconds: u64) {
    let (d, h, m) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let parts = match (d, h, m) {
        (0, 0, 0) => [(seconds, 's'), (0, ' ')],
        (0, 0, _) => [(m, 'm'), (0, ' ')],
        (0, ..) => [(h, 'h'), (m, 'm')],
        _ => [(d, 'd'), (h, 'h')],
    };
    for (n, unit) in parts.into_iter().filter(|(_, unit)| *unit != ' ') {
        push_number(text, n);
        text.push(unit);
    }
}

/// `text` as JSON text, to be a cell.
pub fn json_text(text: &str) -> Cow<'static, str> {
    Cow::Owned(serde_json::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 6] = [
        Column { key: "cluster", show: Show::Plain },
        Column { key: "name", show: Show::Plain },
        Column { key: "cpu", show: Show::Percent },
        Column { key: "mem", show: Show::Bytes },
        Column { key: "uptime", show: Show::Duration },
        Column { key: "level", show: Show::Plain },
    ];

    #[test]
    fn a_list_becomes_text_and_json_with_the_same_columns() {
        let json = r#"[{"name":"b","cpu":0.1234,"mem":"1610612736","uptime":93784,"level":"","junk":{"a":[1]}},
                       {"uptime":0,"name":"a\tq","level":null}]"#;
        let mut table = Table::new(&COLUMNS);
        table.read(json, &[Cow::Borrowed("\"lab\"")]).unwrap();
        let mut text = String::new();
        let members = table.write(&mut text, |r| ("", 0, 0, r.text("name")));
        assert_eq!(text, "cluster\tname\tcpu\tmem\tuptime\nlab\ta\\tq\t\t\t0s\nlab\tb\t12.3%\t1.5GiB\t1d2h\n");
        let value: serde_json::Value = serde_json::from_str(&format!("{{{members}}}")).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "columns": ["cluster", "name", "cpu", "mem", "uptime"],
                "rows": [["lab", "a\tq", null, null, 0], ["lab", "b", 0.1234, "1610612736", 93784]],
                "total": 2,
            })
        );
    }

    #[test]
    fn what_is_no_list_of_objects_is_an_error() {
        for json in ["{}", "[1]", "null", "[{\"name\":}]", "[] x", "[[]]"] {
            assert!(Table::new(&COLUMNS).read(json, &[]).is_err(), "{json}");
        }
    }

    #[test]
    fn a_value_that_is_no_text_stays_on_its_line_and_a_long_one_is_cut() {
        let long = "x".repeat(1_000);
        let json = format!("[{{\"name\":{{\n\"a\":\t1}},\"level\":\"{long}\"}}]");
        let mut table = Table::new(&COLUMNS);
        table.read(&json, &[]).unwrap();
        let mut text = String::new();
        table.write(&mut text, |_| ("", 0, 0, ""));
        assert_eq!(text, format!("name\tlevel\n{{ \"a\": 1}}\t{}…\n", "x".repeat(300)));
    }

    #[test]
    fn a_table_has_so_many_rows_and_no_more() {
        let json = format!("[{}{{}}]", "{},".repeat(MAX_ROWS));
        let why = Table::new(&COLUMNS).read(&json, &[]).unwrap_err().to_string();
        assert!(why.contains("more than 100000 rows"), "{why}");
    }

    #[test]
    fn units() {
        let bytes = |n| {
            let mut s = String::new();
            push_bytes(&mut s, n);
            s
        };
        assert_eq!([bytes(0.0), bytes(1023.0), bytes(536870912.0), bytes(1.5e15)], ["0", "1023B", "512MiB", "1.33PiB"]);
        let duration = |n| {
            let mut s = String::new();
            push_duration(&mut s, n);
            s
        };
        assert_eq!([duration(59), duration(60), duration(3_661), duration(90_000)], ["59s", "1m", "1h1m", "1d1h"]);
    }
}
