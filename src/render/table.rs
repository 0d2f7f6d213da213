//! Proxmox's lists as tables: read once, only the wanted columns, written twice — as text for a model (one header line,
//! tab-separated rows, numbers a person can read) and as JSON for programs (the raw values).

use crate::base::json_scan::JsonScanner;
use crate::render::units::{append, parse_number, push_number, push_percent, write_byte_size, write_duration};
use std::borrow::Cow;

/// Rows of a table: more than any cluster has, and a bound on the memory that a hostile answer takes.
pub(crate) const MAX_ROWS: usize = 100_000;

/// A column: the key of the API's objects, and how its values read in text.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The key, and the header.
    pub key: &'static str,
    /// How a value reads.
    pub format: CellFormat,
}

/// How the values of a column read in text; in JSON they stay as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellFormat {
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
pub struct ListTable<'a> {
    columns: &'static [Column],
    index: ColumnIndex,
    /// All cells, row after row, each the JSON text of its value.
    cells: Vec<Option<Cow<'a, str>>>,
}

impl<'a> ListTable<'a> {
    /// A table without rows.
    pub fn new(columns: &'static [Column]) -> Self {
        Self { columns, index: ColumnIndex::from_columns(columns), cells: Vec::new() }
    }

    /// Adds the rows of a JSON array of objects; keys without a column are passed over. The first columns are filled
    /// from `lead` (JSON texts) instead of the objects.
    pub fn read(&mut self, json: &'a str, lead: &[Cow<'a, str>]) -> Result<(), String> {
        let mut scan = JsonScanner::new(json);
        self.read_rows(&mut scan, lead).filter(|()| scan.is_done()).ok_or_else(|| match self.len() {
            MAX_ROWS => format!("more than {MAX_ROWS} rows"),
            rows => format!("row {rows} is none"),
        })
    }

    fn read_rows(&mut self, scan: &mut JsonScanner<'a>, lead: &[Cow<'a, str>]) -> Option<()> {
        // What comes in rows has some hundred bytes in each.
        self.cells.reserve(scan.remaining_bytes() / 256 * self.columns.len());
        if !scan.consume(b'[') {
            return None;
        }
        let mut first = true;
        while scan.advance(first, b']')? {
            first = false;
            if self.len() >= MAX_ROWS || !scan.consume(b'{') {
                return None;
            }
            let start = self.cells.len();
            self.cells.extend(lead.iter().cloned().map(Some));
            self.pad_row(start);
            let mut first = true;
            while scan.advance(first, b'}')? {
                first = false;
                let key = scan.next_key()?;
                let raw = scan.next_value()?;
                let at = self.index.find(self.columns, &key).filter(|at| *at >= lead.len());
                if let Some(cell) = at.and_then(|at| self.cells.get_mut(start + at)) {
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
        self.pad_row(start);
    }

    /// Empty cells to the end of the row that begins at `start`.
    fn pad_row(&mut self, start: usize) {
        let missing = start + self.columns.len() - self.cells.len();
        self.cells.extend((0..missing).map(|_| None));
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
    pub fn rows(&self) -> impl Iterator<Item = TableRow<'_>> {
        self.cells.chunks_exact(self.columns.len()).map(|cells| TableRow { table: self, cells })
    }

    /// Writes the rows, in the order of `sort_by`, after what `text` holds already, and gives the JSON members
    /// `"columns":…,"rows":…,"total":…`. Columns that no row fills are left out.
    pub fn write(&self, text: &mut String, sort_key: SortKeyFn) -> String {
        let rows: Vec<TableRow<'_>> = self.rows().collect();
        let sort_keys: Vec<SortKey<'_>> = rows.iter().map(sort_key).collect();
        let mut sorted: Vec<usize> = (0..rows.len()).collect();
        sorted.sort_by_key(|&row| sort_keys.get(row));
        let used: Vec<usize> = (0..self.columns.len())
            .filter(|&c| rows.iter().any(|r| r.cells.get(c).is_some_and(Option::is_some)))
            .collect();
        let mut out = std::mem::take(text).into_bytes();
        out.reserve(64 + rows.len() * 96);
        let mut json = Vec::with_capacity(64 + self.cells.len() * 12);
        append(&mut json, br#""columns":["#);
        for (n, column) in used.iter().filter_map(|&c| self.columns.get(c)).enumerate() {
            let (tab, quote) = if n == 0 { (&b""[..], &b"\""[..]) } else { (&b"\t"[..], &b",\""[..]) };
            [tab, column.key.as_bytes()].iter().for_each(|part| append(&mut out, part));
            [quote, column.key.as_bytes(), b"\""].iter().for_each(|part| append(&mut json, part));
        }
        out.push(b'\n');
        append(&mut json, br#"],"rows":["#);
        for (n, row) in sorted.iter().filter_map(|at| rows.get(*at)).enumerate() {
            append(&mut json, if n == 0 { b"[" } else { b",[" });
            for (n, &c) in used.iter().enumerate() {
                if n > 0 {
                    out.push(b'\t');
                    json.push(b',');
                }
                match (row.cells.get(c), self.columns.get(c)) {
                    (Some(Some(raw)), Some(column)) => {
                        push_cell(&mut out, raw, column.format);
                        append(&mut json, raw.as_bytes());
                    }
                    _ => append(&mut json, b"null"),
                }
            }
            out.push(b'\n');
            json.push(b']');
        }
        append(&mut json, br#"],"total":"#);
        push_number(&mut json, rows.len() as u64);
        // Both are made of whole texts.
        *text = String::from_utf8(out).unwrap_or_default();
        String::from_utf8(json).unwrap_or_default()
    }
}

/// Finds the column of a key: what it would take to compare a key with each of them adds up to a good part of a call.
///
/// Open addressing in a table that is never more than a quarter full: a slot has the number of a column and one, or 0.
struct ColumnIndex([u8; ColumnIndex::SLOTS]);

impl ColumnIndex {
    const SLOTS: usize = 128;

    fn from_columns(columns: &[Column]) -> Self {
        debug_assert!(columns.len() <= Self::SLOTS / 4);
        let mut slots = [0; Self::SLOTS];
        for (n, column) in columns.iter().enumerate() {
            let mut slot = Self::first_slot(column.key.as_bytes());
            while let Some(taken) = slots.get_mut(slot) {
                if *taken == 0 {
                    *taken = n as u8 + 1;
                    break;
                }
                slot = (slot + 1) % Self::SLOTS;
            }
        }
        Self(slots)
    }

    /// Where a key stands, unless another one does: then in the next free place.
    fn first_slot(key: &[u8]) -> usize {
        let [first, .., last] = key else { return 0 };
        (usize::from(*first) * 7 + usize::from(*last) * 31 + key.len()) % Self::SLOTS
    }

    fn find(&self, columns: &[Column], key: &str) -> Option<usize> {
        let key = key.as_bytes();
        let mut slot = Self::first_slot(key);
        loop {
            let at = usize::from(*self.0.get(slot)?).checked_sub(1)?;
            let known = columns.get(at)?.key.as_bytes();
            // So short that calling somebody to compare them takes longer.
            if known.len() == key.len() && known.iter().zip(key).all(|(a, b)| a == b) {
                return Some(at);
            }
            slot = (slot + 1) % Self::SLOTS;
        }
    }
}

/// Where a row stands: by a text, then two numbers, then another text.
pub type SortKey<'r> = (&'r str, u8, u64, &'r str);

/// Says where a row stands.
pub type SortKeyFn = for<'r> fn(&'r TableRow<'_>) -> SortKey<'r>;

/// One row of a [`ListTable`].
pub struct TableRow<'t> {
    table: &'t ListTable<'t>,
    cells: &'t [Option<Cow<'t, str>>],
}

impl TableRow<'_> {
    /// The JSON text of a cell.
    pub fn raw(&self, key: &str) -> Option<&str> {
        let at = self.table.index.find(self.table.columns, key)?;
        self.cells.get(at)?.as_deref()
    }

    /// A cell as text, without quotes (escapes stay); empty where it is a list or an object.
    pub fn text(&self, key: &str) -> &str {
        match self.raw(key) {
            Some(raw) if !matches!(raw.as_bytes(), [b'{' | b'[', ..]) => strip_quotes(raw),
            _ => "",
        }
    }

    /// A cell as a number, whether Proxmox wrote it as one or as a string; 0 where there is none.
    pub fn number(&self, key: &str) -> f64 {
        parse_number(self.text(key).as_bytes()).unwrap_or(0.0)
    }
}

/// The inside of a JSON string as it stands. Its escapes keep tabs and line ends out of a table.
pub(crate) fn strip_quotes(raw: &str) -> &str {
    match raw.as_bytes() {
        [b'"', .., b'"'] => raw.get(1..raw.len() - 1).unwrap_or(raw),
        _ => raw,
    }
}

fn push_cell(out: &mut Vec<u8>, raw: &str, show: CellFormat) {
    let plain = match raw.as_bytes() {
        [b'"', inner @ .., b'"'] => inner,
        other => other,
    };
    match show {
        CellFormat::Percent if let Some(n) = parse_number(plain) => push_percent(out, n),
        CellFormat::Bytes if let Some(n) = parse_number(plain) => write_byte_size(out, n),
        CellFormat::Duration if let Some(n) = parse_number(plain).filter(|n| *n >= 0.0) => {
            write_duration(out, n as u64)
        }
        // Only a nested value has line ends, which JSON has between tokens alone.
        _ if plain.len() <= MAX_CELL_CHARS && !matches!(plain.first(), Some(b'{' | b'[')) => append(out, plain),
        _ => {
            let mut cell = String::new();
            push_single_line(&mut cell, strip_quotes(raw));
            append(out, cell.as_bytes());
        }
    }
}

/// Characters of a cell; what is longer is not for a table.
pub(crate) const MAX_CELL_CHARS: usize = 300;

/// A value as it stands, but on one line: a nested list or object may have line ends and tabs between its tokens.
/// Whether all of it was short enough to be written.
pub(crate) fn push_single_line(text: &mut String, plain: &str) -> bool {
    if plain.len() <= MAX_CELL_CHARS && !plain.bytes().any(|b| b.is_ascii_control()) {
        text.push_str(plain);
        return true;
    }
    let mut cells = plain.chars().map(|c| if c.is_control() { ' ' } else { c });
    text.extend(cells.by_ref().take(MAX_CELL_CHARS));
    let more = cells.next().is_some();
    if more {
        text.push('…');
    }
    !more
}

/// `text` as JSON text, to be a cell.
pub fn to_json_text(text: &str) -> Cow<'static, str> {
    Cow::Owned(serde_json::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 6] = [
        Column { key: "cluster", format: CellFormat::Plain },
        Column { key: "name", format: CellFormat::Plain },
        Column { key: "cpu", format: CellFormat::Percent },
        Column { key: "mem", format: CellFormat::Bytes },
        Column { key: "uptime", format: CellFormat::Duration },
        Column { key: "level", format: CellFormat::Plain },
    ];

    #[test]
    fn a_list_becomes_text_and_json_with_the_same_columns() {
        let json = r#"[{"name":"b","cpu":0.1234,"mem":"1610612736","uptime":93784,"level":"","junk":{"a":[1]}},
                       {"uptime":0,"name":"a\tq","level":null}]"#;
        let mut table = ListTable::new(&COLUMNS);
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
            assert!(ListTable::new(&COLUMNS).read(json, &[]).is_err(), "{json}");
        }
    }

    #[test]
    fn a_value_that_is_no_text_stays_on_its_line_and_a_long_one_is_cut() {
        let long = "x".repeat(1_000);
        let json = format!("[{{\"name\":{{\n\"a\":\t1}},\"level\":\"{long}\"}}]");
        let mut table = ListTable::new(&COLUMNS);
        table.read(&json, &[]).unwrap();
        let mut text = String::new();
        table.write(&mut text, |_| ("", 0, 0, ""));
        assert_eq!(text, format!("name\tlevel\n{{ \"a\": 1}}\t{}…\n", "x".repeat(300)));
    }

    #[test]
    fn a_table_has_so_many_rows_and_no_more() {
        let json = format!("[{}{{}}]", "{},".repeat(MAX_ROWS));
        let why = ListTable::new(&COLUMNS).read(&json, &[]).unwrap_err().to_string();
        assert!(why.contains("more than 100000 rows"), "{why}");
    }
}
