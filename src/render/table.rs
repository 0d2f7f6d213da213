//! Proxmox's lists as tables. A list is read once, with the wanted columns only. The text for a model has a header line,
//! tab-separated rows and numbers with units. The JSON for programs, if it is wanted, has the raw values.

use crate::base::json_scan::JsonScanner;
use crate::render::units::{append, append_byte_size, append_duration, append_number, append_percent, parse_number};
use std::borrow::Cow;
use thiserror::Error;

/// The maximum number of rows. No cluster has as many. The limit bounds the memory of a hostile response.
pub(crate) const MAX_ROWS: usize = 100_000;

/// The maximum number of characters of a cell. Longer values are cut.
pub(crate) const MAX_CELL_CHARS: usize = 300;

#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The key in the objects of the API, which is also the header.
    pub key: &'static str,
    pub format: CellFormat,
}

/// The form of a column's values in text. In JSON they stay raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellFormat {
    Plain,
    /// A fraction of 1, written as a percentage.
    Percent,
    /// Bytes, written in binary units.
    Bytes,
    /// Seconds, written as days, hours and minutes.
    Duration,
}

/// A text that is not a list of objects, or has too many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TableError {
    #[error("more than {MAX_ROWS} rows")]
    TooManyRows,
    #[error("row {0} is not an object")]
    InvalidRow(usize),
}

/// The rows of one or several API responses under the same columns.
pub struct ListTable<'a> {
    columns: &'static [Column],
    index: ColumnIndex,
    /// All cells, row after row, each the JSON text of its value.
    cells: Vec<Option<Cow<'a, str>>>,
}

impl<'a> ListTable<'a> {
    pub fn new(columns: &'static [Column]) -> Self {
        Self { columns, index: ColumnIndex::from_columns(columns), cells: Vec::new() }
    }

    /// Adds the rows of a JSON list of objects. Keys without a column are skipped. The first columns are filled from
    /// `lead` (JSON texts) instead of the objects.
    pub fn read(&mut self, json: &'a str, lead: &[Cow<'a, str>]) -> Result<(), TableError> {
        let mut scan = JsonScanner::new(json);
        self.read_rows(&mut scan, lead).filter(|()| scan.is_done()).ok_or_else(|| match self.len() {
            MAX_ROWS => TableError::TooManyRows,
            rows => TableError::InvalidRow(rows),
        })
    }

    fn read_rows(&mut self, scan: &mut JsonScanner<'a>, lead: &[Cow<'a, str>]) -> Option<()> {
        // A row of Proxmox's lists has some hundred bytes.
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
                if let Some(column) = self.index.find(self.columns, &key).filter(|column| *column >= lead.len()) {
                    // An empty string says no more than null, and a column without values is left out.
                    let raw = Some(raw).filter(|raw| *raw != "null" && *raw != "\"\"");
                    self.cells[start + column] = raw.map(Cow::Borrowed);
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

    /// Fills the row that begins at `start` with empty cells.
    fn pad_row(&mut self, start: usize) {
        self.cells.resize(start + self.columns.len(), None);
    }

    /// Removes all but the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        self.cells.truncate(rows * self.columns.len());
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.cells.len() / self.columns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Returns the rows in the order in which they were added.
    pub fn rows(&self) -> impl Iterator<Item = TableRow<'_>> {
        self.cells.chunks_exact(self.columns.len()).map(|cells| TableRow { table: self, cells })
    }

    /// Returns the table as it is written: with sorted rows, and without columns that have no value.
    pub fn layout(&self, sort_key: SortKeyFn) -> TableLayout<'_> {
        let rows: Vec<TableRow<'_>> = self.rows().collect();
        let sort_keys: Vec<SortKey<'_>> = rows.iter().map(sort_key).collect();
        let mut sorted: Vec<usize> = (0..rows.len()).collect();
        sorted.sort_by_key(|&row| &sort_keys[row]);
        let columns: Vec<usize> =
            (0..self.columns.len()).filter(|&column| rows.iter().any(|row| row.cells[column].is_some())).collect();
        let rows = sorted.into_iter().map(|row| rows[row].cells).collect();
        TableLayout { columns: columns.into_iter().map(|column| (column, self.columns[column])).collect(), rows }
    }
}

/// A table as it is written.
pub struct TableLayout<'t> {
    /// The columns with their places in a row.
    columns: Vec<(usize, Column)>,
    rows: Vec<&'t [Option<Cow<'t, str>>]>,
}

impl TableLayout<'_> {
    /// Appends the header and the rows.
    pub fn write_text(&self, text: &mut String) {
        let mut out = std::mem::take(text).into_bytes();
        out.reserve(64 + self.rows.len() * 96);
        for (n, (_, column)) in self.columns.iter().enumerate() {
            append(&mut out, if n == 0 { &b""[..] } else { b"\t" });
            append(&mut out, column.key.as_bytes());
        }
        out.push(b'\n');
        for row in &self.rows {
            for (n, (place, column)) in self.columns.iter().enumerate() {
                append(&mut out, if n == 0 { &b""[..] } else { b"\t" });
                if let Some(raw) = &row[*place] {
                    append_cell(&mut out, raw, column.format);
                }
            }
            out.push(b'\n');
        }
        *text = String::from_utf8(out).expect("cells are whole texts");
    }

    /// Returns the table as members of a JSON object: `"columns":…,"rows":…,"total":…`.
    pub fn json_members(&self) -> String {
        let mut json = Vec::with_capacity(64 + self.rows.len() * self.columns.len() * 12);
        append(&mut json, br#""columns":["#);
        for (n, (_, column)) in self.columns.iter().enumerate() {
            let quote = if n == 0 { &b"\""[..] } else { b",\"" };
            [quote, column.key.as_bytes(), b"\""].iter().for_each(|part| append(&mut json, part));
        }
        append(&mut json, br#"],"rows":["#);
        for (n, row) in self.rows.iter().enumerate() {
            append(&mut json, if n == 0 { b"[" } else { b",[" });
            for (n, (place, _)) in self.columns.iter().enumerate() {
                append(&mut json, if n == 0 { &b""[..] } else { b"," });
                append(&mut json, row[*place].as_deref().unwrap_or("null").as_bytes());
            }
            json.push(b']');
        }
        append(&mut json, br#"],"total":"#);
        append_number(&mut json, self.rows.len() as u64);
        String::from_utf8(json).expect("values are whole texts")
    }
}

/// A hash table from keys to columns. Comparing each key with each column would take a good part of a call.
///
/// A slot holds the number of a column plus one, or 0. At most a quarter of the slots is used. A key whose slot is used
/// by another one is in the next free slot.
struct ColumnIndex([u8; ColumnIndex::SLOTS]);

impl ColumnIndex {
    const SLOTS: usize = 128;

    fn from_columns(columns: &[Column]) -> Self {
        debug_assert!(columns.len() <= Self::SLOTS / 4);
        let mut slots = [0; Self::SLOTS];
        for (n, column) in columns.iter().enumerate() {
            let mut slot = Self::hash(column.key.as_bytes());
            while slots[slot] != 0 {
                slot = (slot + 1) % Self::SLOTS;
            }
            slots[slot] = n as u8 + 1;
        }
        Self(slots)
    }

    fn hash(key: &[u8]) -> usize {
        let [first, .., last] = key else { return 0 };
        (usize::from(*first) * 7 + usize::from(*last) * 31 + key.len()) % Self::SLOTS
    }

    fn find(&self, columns: &[Column], key: &str) -> Option<usize> {
        let key = key.as_bytes();
        let mut slot = Self::hash(key);
        loop {
            let column = usize::from(self.0[slot]).checked_sub(1)?;
            let known = columns[column].key.as_bytes();
            // For a few bytes this is faster than a call of `memcmp`.
            if known.len() == key.len() && known.iter().zip(key).all(|(a, b)| a == b) {
                return Some(column);
            }
            slot = (slot + 1) % Self::SLOTS;
        }
    }
}

/// The place of a row in a table. Rows are compared field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SortKey<'r> {
    pub group: &'r str,
    pub rank: u8,
    pub number: u64,
    pub name: &'r str,
}

/// Returns the place of a row.
pub type SortKeyFn = for<'r> fn(&'r TableRow<'_>) -> SortKey<'r>;

/// One row of a [`ListTable`].
pub struct TableRow<'t> {
    table: &'t ListTable<'t>,
    cells: &'t [Option<Cow<'t, str>>],
}

impl TableRow<'_> {
    /// Returns the JSON text of a cell.
    pub fn raw(&self, key: &str) -> Option<&str> {
        self.cells[self.table.index.find(self.table.columns, key)?].as_deref()
    }

    /// Returns a cell as text without quotes and with its escapes. A list or an object gives an empty text.
    pub fn text(&self, key: &str) -> &str {
        match self.raw(key) {
            Some(raw) if !matches!(raw.as_bytes(), [b'{' | b'[', ..]) => strip_quotes(raw),
            _ => "",
        }
    }

    /// Returns a cell as a number, also if Proxmox wrote it as a string. Returns 0 for anything else.
    pub fn number(&self, key: &str) -> f64 {
        parse_number(self.text(key).as_bytes()).unwrap_or(0.0)
    }
}

/// Returns the inside of a JSON string with its escapes, which keep tabs and line ends out of a table. Returns any
/// other value unchanged.
pub(crate) fn strip_quotes(raw: &str) -> &str {
    raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw)
}

fn append_cell(out: &mut Vec<u8>, raw: &str, format: CellFormat) {
    let plain = strip_quotes(raw);
    let bytes = plain.as_bytes();
    match format {
        CellFormat::Percent if let Some(n) = parse_number(bytes) => append_percent(out, n),
        CellFormat::Bytes if let Some(n) = parse_number(bytes) => append_byte_size(out, n),
        CellFormat::Duration if let Some(n) = parse_number(bytes).filter(|n| *n >= 0.0) => {
            append_duration(out, n as u64);
        }
        // Only a list or an object can have line ends, between its tokens.
        _ if bytes.len() <= MAX_CELL_CHARS && !matches!(bytes.first(), Some(b'{' | b'[')) => append(out, bytes),
        _ => {
            let mut cell = String::new();
            push_single_line(&mut cell, plain);
            append(out, cell.as_bytes());
        }
    }
}

/// Pushes a value with its control characters as spaces, because a list or an object may have line ends and tabs
/// between its tokens. Returns false if the value was cut at [`MAX_CELL_CHARS`].
pub(crate) fn push_single_line(text: &mut String, plain: &str) -> bool {
    if plain.len() <= MAX_CELL_CHARS && !plain.bytes().any(|b| b.is_ascii_control()) {
        text.push_str(plain);
        return true;
    }
    let mut chars = plain.chars().map(|c| if c.is_control() { ' ' } else { c });
    text.extend(chars.by_ref().take(MAX_CELL_CHARS));
    let cut = chars.next().is_some();
    if cut {
        text.push('…');
    }
    !cut
}

/// Returns a text as a JSON string for a cell.
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
        let layout = table.layout(|row| SortKey { name: row.text("name"), ..SortKey::default() });
        let (mut text, members) = (String::new(), layout.json_members());
        layout.write_text(&mut text);
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
    fn anything_but_a_list_of_objects_is_an_error() {
        for json in ["{}", "[1]", "null", "[{\"name\":}]", "[] x", "[[]]"] {
            assert!(ListTable::new(&COLUMNS).read(json, &[]).is_err(), "{json}");
        }
    }

    #[test]
    fn a_nested_value_stays_on_its_line_and_a_long_one_is_cut() {
        let long = "x".repeat(1_000);
        let json = format!("[{{\"name\":{{\n\"a\":\t1}},\"level\":\"{long}\"}}]");
        let mut table = ListTable::new(&COLUMNS);
        table.read(&json, &[]).unwrap();
        let mut text = String::new();
        table.layout(|_| SortKey::default()).write_text(&mut text);
        assert_eq!(text, format!("name\tlevel\n{{ \"a\": 1}}\t{}…\n", "x".repeat(300)));
    }

    #[test]
    fn the_number_of_rows_is_limited() {
        let json = format!("[{}{{}}]", "{},".repeat(MAX_ROWS));
        let error = ListTable::new(&COLUMNS).read(&json, &[]).unwrap_err();
        assert_eq!(error.to_string(), "more than 100000 rows");
    }
}
