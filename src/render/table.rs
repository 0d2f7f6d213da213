//! Proxmox's lists as tables. A list is read once, with the wanted columns only. The text for a model has a header line,
//! tab-separated rows and numbers with units. The JSON for programs, if it is wanted, has the raw values.

use crate::base::json_scan::JsonScanner;
use crate::base::word_scan::append;
use crate::render::cell::{push_cells, push_row, strip_quotes};
use crate::render::list::MAX_ROWS;
use crate::render::output::{KeyFormat, append_cell, format_cell};
use crate::render::units::{append_number, parse_number};
use std::borrow::Cow;
use thiserror::Error;

/// The least rows of a table that says the equal cells of a column once.
const MIN_EQUAL_ROWS: usize = 4;

/// The most names with details of their own.
const MAX_DETAILED: usize = 16;

/// A text that is not a list of objects, with the number of rows before the one that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("row {0} is not an object")]
pub struct TableError(usize);

/// The part of a list that a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsRead {
    All,
    /// The first `MAX_ROWS` rows.
    Capped,
}

/// The rows of one or several API responses under the same columns.
pub struct ListTable<'a> {
    columns: &'static [&'static str],
    index: ColumnIndex,
    /// All cells, row after row, each the JSON text of its value.
    cells: Vec<Option<Cow<'a, str>>>,
}

impl<'a> ListTable<'a> {
    pub fn new(columns: &'static [&'static str]) -> Self {
        Self { columns, index: ColumnIndex::from_columns(columns), cells: Vec::new() }
    }

    /// Adds the rows of a JSON list of objects, at most `MAX_ROWS`. Keys without a column are skipped. The first columns
    /// are filled from `lead` (JSON texts) instead of the objects.
    pub fn read(&mut self, json: &'a str, lead: &[Cow<'a, str>]) -> Result<RowsRead, TableError> {
        let mut scan = JsonScanner::new(json);
        let before = self.len();
        match self.read_rows(&mut scan, lead) {
            Some(RowsRead::All) if !scan.is_done() => None,
            read => read,
        }
        .ok_or_else(|| TableError(self.len() - before))
    }

    fn read_rows(&mut self, scan: &mut JsonScanner<'a>, lead: &[Cow<'a, str>]) -> Option<RowsRead> {
        // A row of Proxmox's lists has some hundred bytes.
        self.cells.reserve(scan.remaining_bytes() / 256 * self.columns.len());
        if !scan.consume(b'[') {
            return None;
        }
        let end = self.len() + MAX_ROWS;
        let mut first = true;
        while scan.advance(first, b']')? {
            first = false;
            if self.len() == end {
                return Some(RowsRead::Capped);
            }
            if !scan.consume(b'{') {
                // No row.
                if scan.next_value()? != "null" {
                    return None;
                }
                continue;
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
                    // A blank text says no more than null, and a column without values is left out.
                    let is_blank = matches!(raw, "null" | r#""""# | r#"" ""#);
                    self.cells[start + column] = (!is_blank).then_some(Cow::Borrowed(raw));
                }
            }
        }
        Some(RowsRead::All)
    }

    /// Returns a row by its place.
    pub fn row(&self, row: usize) -> TableRow<'_> {
        TableRow { table: self, cells: &self.cells[row * self.columns.len()..][..self.columns.len()] }
    }

    /// Replaces a cell by a JSON text, or by nothing.
    pub fn set(&mut self, row: usize, key: &str, value: Option<Cow<'a, str>>) {
        let column = self.index.find(self.columns, key).expect("a column of the table");
        self.cells[row * self.columns.len() + column] = value;
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

    /// Removes the rows at these places, which are in order.
    pub fn remove(&mut self, places: &[usize]) {
        if places.is_empty() {
            return;
        }
        let (columns, mut cell, mut next) = (self.columns.len(), 0, 0);
        self.cells.retain(|_| {
            let row = cell / columns;
            cell += 1;
            next += usize::from(places.get(next).is_some_and(|place| *place < row));
            places.get(next) != Some(&row)
        });
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

    /// Returns the table as it is written: with sorted rows, and without columns that have no value, or only `no`.
    pub fn layout(&self, sort_key: SortKeyFn) -> TableLayout<'_> {
        let rows: Vec<TableRow<'_>> = self.rows().collect();
        let sort_keys: Vec<SortKey<'_>> = rows.iter().map(sort_key).collect();
        let mut sorted: Vec<usize> = (0..rows.len()).collect();
        sorted.sort_by_key(|&row| &sort_keys[row]);
        let columns = self.columns.iter().enumerate().map(|(place, key)| {
            let format = KeyFormat::for_key(key);
            LayoutColumn { place, key, format }
        });
        let (mut columns, mut without_value) = (Vec::new(), columns.collect::<Vec<_>>());
        for row in &rows {
            columns.extend(without_value.extract_if(.., |column| column.is_told(row.cells)));
            if without_value.is_empty() {
                break;
            }
        }
        columns.sort_by_key(|column| column.place);
        TableLayout {
            columns,
            total: self.len(),
            ranks: sorted.iter().map(|&row| sort_keys[row].rank).collect(),
            rows: sorted.into_iter().map(|row| rows[row].cells).collect(),
        }
    }
}

/// A table as it is written.
pub struct TableLayout<'t> {
    columns: Vec<LayoutColumn>,
    /// The rows that are written.
    rows: Vec<&'t [Option<Cow<'t, str>>]>,
    /// The ranks of all rows. Rows of one rank have a table of their own in the text.
    ranks: Vec<u8>,
    /// The number of rows of the table.
    total: usize,
}

/// A column that is written.
struct LayoutColumn {
    /// Its place in a row.
    place: usize,
    key: &'static str,
    format: KeyFormat,
}

impl LayoutColumn {
    /// Returns whether a row has a value here, other than `no`.
    fn is_told(&self, row: &[Option<Cow<'_, str>>]) -> bool {
        let cell = row[self.place].as_deref();
        match self.format {
            KeyFormat::Flag => !matches!(cell.map(strip_quotes), None | Some("0" | "false")),
            _ => cell.is_some(),
        }
    }

    /// Returns the cell of a row.
    fn cell<'r>(&self, row: &'r [Option<Cow<'_, str>>]) -> Option<&'r str> {
        row[self.place].as_deref().map(strip_quotes)
    }

    /// Returns the last part of the cell of a row.
    fn end<'r>(&self, row: &'r [Option<Cow<'_, str>>]) -> &'r str {
        self.cell(row).and_then(|cell| cell.rsplit('/').next()).unwrap_or_default()
    }
}

/// The columns of one rank that the rows with the same end of their id have in common, such as the content of a storage
/// that each node has.
pub struct SharedDetails {
    pub rank: u8,
    pub columns: &'static [&'static str],
}

impl SharedDetails {
    /// Returns a line with the details by the ends of the ids, if they are the same and fewer than the rows.
    fn describe(
        &self,
        id: &LayoutColumn,
        columns: &[&LayoutColumn],
        rows: &[&[Option<Cow<'_, str>>]],
    ) -> Option<String> {
        let columns: Vec<&LayoutColumn> =
            columns.iter().filter(|column| self.columns.contains(&column.key)).copied().collect();
        let mut known: Vec<(&str, Vec<Option<&str>>)> = Vec::new();
        for row in rows {
            let cells: Vec<Option<&str>> = columns.iter().map(|column| column.cell(row)).collect();
            match known.iter().find(|(name, _)| *name == id.end(row)) {
                Some((_, other)) if *other != cells => return None,
                Some(_) => {}
                None if known.len() == MAX_DETAILED => return None,
                None => known.push((id.end(row), cells)),
            }
        }
        if known.len() == rows.len() {
            return None;
        }
        let describe = |cells: &[Option<&str>]| {
            let parts = columns.iter().zip(cells).filter_map(|(column, cell)| match (column.format, cell) {
                (KeyFormat::Flag, Some("1")) => Some(column.key),
                (KeyFormat::Flag, _) => None,
                (_, cell) => *cell,
            });
            parts.collect::<Vec<_>>().join(" ")
        };
        let lines: Vec<String> = known.iter().map(|(name, cells)| format!("of {name}: {}", describe(cells))).collect();
        let mut text = String::new();
        push_row(&mut text, std::iter::once(Cow::Owned(format!("in each row {}", lines.join("; "))))).then_some(text)
    }
}

impl TableLayout<'_> {
    /// Keeps the first rows that have room in `max_bytes` of JSON.
    pub fn limit_json(&mut self, max_bytes: usize) {
        let mut bytes = 0_usize;
        let fitting = self.rows.iter().take_while(|row| {
            let cells = self.columns.iter().map(|column| row[column.place].as_deref().map_or(4, str::len) + 1);
            bytes = bytes.saturating_add(cells.sum::<usize>() + 2);
            bytes <= max_bytes
        });
        let fitting = fitting.count();
        self.rows.truncate(fitting);
    }

    /// Returns the number of rows that are not written.
    pub fn left_out(&self) -> usize {
        self.total - self.rows.len()
    }

    /// Returns the text of the first column of each row that is written.
    pub fn first_cells(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.first().and_then(Option::as_deref).map_or("", strip_quotes))
    }

    /// Appends the rows of each rank under a header of their own. Keeps only the first rows that have room in
    /// `max_bytes`.
    pub fn write_text(&mut self, text: &mut String, max_bytes: usize, details: Option<&SharedDetails>) {
        text.reserve((64 + self.rows.len() * 96).min(max_bytes));
        let (mut written, mut bytes) = (0, 0);
        loop {
            let ranks = &self.ranks[written..self.rows.len()];
            let same = ranks.iter().take_while(|rank| **rank == ranks[0]).count();
            let rows = &self.rows[written..written + same];
            let before_header = text.len();
            text.push_str(if written == 0 { "" } else { "\n" });
            let columns = self.write_header(text, rows, details.filter(|details| ranks.first() == Some(&details.rank)));
            let first = written;
            for row in rows {
                let end = text.len();
                push_cells(text, columns.iter(), |out, column| {
                    append_cell(out, column.format, column.key, row[column.place].as_deref(), 0)
                });
                bytes += text.len() - end;
                if bytes > max_bytes {
                    text.truncate(if written > 0 && written == first { before_header } else { end });
                    return self.rows.truncate(written);
                }
                written += 1;
            }
            if written == self.rows.len() {
                return;
            }
        }
    }

    /// Appends the header of the rows of one rank, below what they have in common. Returns their columns.
    fn write_header(
        &self,
        text: &mut String,
        rows: &[&[Option<Cow<'_, str>>]],
        details: Option<&SharedDetails>,
    ) -> Vec<&LayoutColumn> {
        let mut columns: Vec<&LayoutColumn> = self.columns.iter().collect();
        if rows.len() < self.total && !rows.is_empty() {
            columns.retain(|column| rows.iter().any(|row| column.is_told(row)));
        }
        if let Some(id) = self.columns.iter().find(|column| column.key == "id") {
            // The id of a node ends with its name.
            let is_in_id = |column: &LayoutColumn| {
                let is_end = |row: &&[Option<Cow<'_, str>>]| column.cell(row).is_some_and(|cell| id.end(row) == cell);
                column.place != id.place && rows.iter().all(is_end)
            };
            columns.retain(|column| rows.is_empty() || !is_in_id(column));
            if let Some(line) = details.and_then(|details| details.describe(id, &columns, rows)) {
                text.push_str(&line);
                columns.retain(|column| !details.is_some_and(|details| details.columns.contains(&column.key)));
            }
        }
        let mut separator = "in each row: ";
        let lead = columns.first().map(|column| column.place);
        columns.retain(|column| {
            let first = rows.first().and_then(|row| column.cell(row));
            let is_equal = rows.len() >= MIN_EQUAL_ROWS
                && Some(column.place) != lead
                && first.is_some_and(|first| !first.contains(' '))
                && rows.iter().all(|row| column.cell(row) == first);
            if is_equal {
                let cell = format_cell(column.format, column.key, rows[0][column.place].as_deref(), 0);
                [separator, column.key, " ", &cell].iter().for_each(|part| text.push_str(part));
                separator = ", ";
            }
            !is_equal
        });
        text.push_str(if separator == ", " { "\n" } else { "" });
        push_row(text, columns.iter().map(|column| Cow::Borrowed(column.key)));
        columns
    }

    /// Returns the table as members of a JSON object: `"columns":…,"rows":…,"total":…`, and `"left_out":…` if rows are.
    ///
    /// `total` is the number of rows that the list would have.
    pub fn json_members(&self, total: usize) -> String {
        let mut json = Vec::with_capacity(64 + self.rows.len() * self.columns.len() * 12);
        append(&mut json, br#""columns":["#);
        for (n, column) in self.columns.iter().enumerate() {
            let quote = if n == 0 { &b"\""[..] } else { b",\"" };
            [quote, column.key.as_bytes(), b"\""].iter().for_each(|part| append(&mut json, part));
        }
        append(&mut json, br#"],"rows":["#);
        for (n, row) in self.rows.iter().enumerate() {
            append(&mut json, if n == 0 { b"[" } else { b",[" });
            for (n, column) in self.columns.iter().enumerate() {
                append(&mut json, if n == 0 { &b""[..] } else { b"," });
                append(&mut json, row[column.place].as_deref().unwrap_or("null").as_bytes());
            }
            json.push(b']');
        }
        append(&mut json, br#"],"total":"#);
        append_number(&mut json, total as u64);
        if total > self.rows.len() {
            append(&mut json, br#","left_out":"#);
            append_number(&mut json, (total - self.rows.len()) as u64);
        }
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

    fn from_columns(columns: &[&str]) -> Self {
        debug_assert!(columns.len() <= Self::SLOTS / 4);
        let mut slots = [0; Self::SLOTS];
        for (n, column) in columns.iter().enumerate() {
            let mut slot = Self::hash(column.as_bytes());
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

    fn find(&self, columns: &[&str], key: &str) -> Option<usize> {
        let key = key.as_bytes();
        let mut slot = Self::hash(key);
        loop {
            let column = usize::from(self.0[slot]).checked_sub(1)?;
            let known = columns[column].as_bytes();
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
    pub rank: u8,
    /// `None` is compared without a look at a text, as in the list of one cluster.
    pub group: Option<&'r str>,
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

    /// Returns a cell as a number, also if Proxmox wrote it as a string or as true. Returns 0 for anything else.
    pub fn number(&self, key: &str) -> f64 {
        match self.text(key) {
            "true" => 1.0,
            text => parse_number(text.as_bytes()).unwrap_or(0.0),
        }
    }
}

/// Returns a text as a JSON string for a cell.
pub fn to_json_text(text: &str) -> Cow<'static, str> {
    Cow::Owned(serde_json::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [&str; 6] = ["cluster", "name", "cpu", "mem", "uptime", "level"];

    #[test]
    fn a_list_becomes_text_and_json_with_the_same_columns() {
        let json = r#"[{"name":"b","cpu":0.1234,"mem":"1610612736","uptime":93784,"level":"","junk":{"a":[1]}},
                       {"uptime":0,"name":"a\tq","level":null}]"#;
        let mut table = ListTable::new(&COLUMNS);
        table.read(json, &[Cow::Borrowed("\"lab\"")]).unwrap();
        let mut layout = table.layout(|row| SortKey { name: row.text("name"), ..SortKey::default() });
        let (mut text, members) = (String::new(), layout.json_members(table.len()));
        layout.write_text(&mut text, usize::MAX, None);
        assert_eq!(text, "cluster\tname\tcpu\tmem\tuptime\nlab\ta\\tq\t-\t-\t0s\nlab\tb\t12.3%\t1.5GiB\t1d2h\n");
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
        for json in ["{}", "[1]", "[{},1]", "null", "[{\"name\":}]", "[] x", "[[]]"] {
            assert!(ListTable::new(&COLUMNS).read(json, &[]).is_err(), "{json}");
        }
    }

    #[test]
    fn a_row_that_is_null_is_skipped() {
        let mut table = ListTable::new(&COLUMNS);
        assert_eq!(table.read(r#"[null, {"name":"a"},null]"#, &[]), Ok(RowsRead::All));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_nested_value_stays_on_its_line_and_a_long_one_is_cut() {
        let long = "x".repeat(1_000);
        let json = format!("[{{\"name\":{{\n\"a\":\t1}},\"level\":\"{long}\"}}]");
        let mut table = ListTable::new(&COLUMNS);
        table.read(&json, &[]).unwrap();
        let mut text = String::new();
        table.layout(|_| SortKey::default()).write_text(&mut text, usize::MAX, None);
        assert_eq!(text, format!("name\tlevel\na 1\t{}…\n", "x".repeat(300)));
    }

    #[test]
    fn the_number_of_rows_is_limited_for_each_list() {
        let json = format!("[{}{{}}]", "{},".repeat(MAX_ROWS));
        let mut table = ListTable::new(&COLUMNS);
        assert_eq!(table.read(&json, &[]).unwrap(), RowsRead::Capped);
        assert_eq!(table.read("[{}]", &[]).unwrap(), RowsRead::All, "another cluster has its own limit");
        assert_eq!(table.len(), MAX_ROWS + 1);
    }

    #[test]
    fn rows_of_each_rank_have_the_columns_that_they_use() {
        let mut table = ListTable::new(&COLUMNS);
        let json = r#"[{"name":"a","cpu":0.5},{"name":"b","mem":7},{"name":"c","cpu":0.1},{"name":"d","uptime":9}]"#;
        table.read(json, &[]).unwrap();
        table.remove(&[3]);
        let mut layout = table.layout(|row| SortKey { rank: u8::from(row.raw("cpu").is_none()), ..SortKey::default() });
        let mut text = String::new();
        layout.write_text(&mut text, usize::MAX, None);
        assert_eq!(text, "name\tcpu\na\t50.0%\nc\t10.0%\n\nname\tmem\nb\t7B\n");
        let mut short = String::new();
        layout.write_text(&mut short, 16, None);
        assert_eq!((short.as_str(), layout.left_out()), ("name\tcpu\na\t50.0%\nc\t10.0%\n", 1));
    }

    #[test]
    fn equal_cells_and_details_are_said_once() {
        let row = |id: &str, node: &str, status: &str, content: &str| {
            format!(r#"{{"id":"storage/{node}/{id}","node":"{node}","status":"{status}","content":"{content}"}}"#)
        };
        let render = |rows: &[String]| {
            let json = format!("[{}]", rows.join(","));
            let mut table = ListTable::new(&["id", "node", "status", "content"]);
            table.read(&json, &[]).unwrap();
            let details = SharedDetails { rank: 0, columns: &["content"] };
            let mut text = String::new();
            table.layout(|_| SortKey::default()).write_text(&mut text, usize::MAX, Some(&details));
            text
        };
        let mut rows = vec![
            row("local", "a", "on", "iso,backup"),
            row("local", "b", "on", "iso,backup"),
            row("nas", "b", "on", "images"),
            row("nas", "c", "on", "images"),
        ];
        assert_eq!(
            render(&rows),
            "in each row of local: iso,backup; of nas: images\nin each row: status on\nid\tnode\nstorage/a/local\ta\n\
             storage/b/local\tb\nstorage/b/nas\tb\nstorage/c/nas\tc\n"
        );
        rows[1] = row("local", "b", "off", "iso");
        assert!(render(&rows).starts_with("id\tnode\tstatus\tcontent\n"));
        let nodes = ["a", "b"].map(|node| format!(r#"{{"id":"node/{node}","node":"{node}","status":"on"}}"#));
        assert_eq!(render(&nodes), "id\tstatus\nnode/a\ton\nnode/b\ton\n");
    }

    #[test]
    fn text_and_json_are_cut_at_whole_rows() {
        let json = format!(
            "[{}]",
            [r#"{"name":"ü234567","cpu":0.5}"#, r#"{"name":"ü234567","cpu":0.4}"#].repeat(50).join(",")
        );
        let mut table = ListTable::new(&COLUMNS);
        table.read(&json, &[]).unwrap();
        for max_bytes in 0..300 {
            let mut layout = table.layout(|_| SortKey::default());
            layout.limit_json(max_bytes);
            let mut text = String::new();
            layout.write_text(&mut text, max_bytes, None);
            let (header, rows) = text.split_once('\n').unwrap();
            assert_eq!(header, "name\tcpu");
            assert!(rows.len() <= max_bytes && (rows.is_empty() || rows.ends_with("0.0%\n")), "{rows}");
            let value: serde_json::Value =
                serde_json::from_str(&format!("{{{}}}", layout.json_members(table.len()))).unwrap();
            let shown = rows.lines().count();
            assert_eq!(value["rows"].as_array().unwrap().len(), shown);
            assert!(value["rows"].to_string().len() <= max_bytes + 2);
            assert_eq!((value["total"].as_u64(), value["left_out"].as_u64()), (Some(100), Some(100 - shown as u64)));
        }
    }
}
