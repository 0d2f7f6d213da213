//! Lists as tables: a header, then tab-separated rows, each on one line. A list of texts, such as a log, has lines.

use crate::base::json_scan::{JsonScanner, find_member};
use crate::render::cell::{MAX_CELL_CHARS, append_text, decode_line, push_row, strip_quotes};
use crate::render::labels::count;
use crate::render::list::{MAX_ROWS, MAX_ROWS_WITH_UPIDS};
use crate::render::output::error::OutputError;
use crate::render::output::json_path::{parse_number, pick, unquote, walk};
use crate::render::output::key_format::KeyFormat;
use crate::render::output::key_order::{compare_keys, has_place, is_last};
use crate::render::output::names::{push_name, push_names};
use crate::render::output::object_writer::{self, cell, is_empty, is_pem};
use crate::render::output::options::OutputOptions;
use crate::render::output::page_writer::{AnswerPath, PageWriter};
use crate::render::output::rows::{RowCounts, TaskKeys, is_cursor, is_running_task, note_row_counts, select};
use crate::render::output::series::{PER_SECOND, is_rate};
use crate::render::units::push_byte_size;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// The maximum number of columns that are taken from the keys of the rows.
const MAX_COLUMNS: usize = 100;

/// The least rows of a list without its idle columns.
const MIN_IDLE_ROWS: usize = 2;

/// The most columns with nothing but 0 that are named.
const MAX_NAMED_IDLE: usize = 3;

/// The most columns without a value that are named.
const MAX_EMPTY_NAMES: usize = 6;

/// Columns whose emptiness says nothing. (PVE: the id of a task without an object, the level of no subscription.)
const EMPTY_WITHOUT_MEANING: [&str; 2] = ["id", "level"];

/// The least rows of a list that says the equal cells of a column once.
const MIN_EQUAL_ROWS: usize = 3;

/// The most bytes of such a cell in a line with others.
const MAX_EQUAL_BYTES: usize = 60;

/// The least bytes of an equal cell that has a line of its own, from two rows on.
const MIN_LONG_EQUAL_BYTES: usize = 40;

/// The last column of objects, for keys that few of them have.
const OTHERS: &str = "others";

/// The least objects with such a column.
const MIN_ROWS_WITH_OTHERS: usize = 4;

/// The most objects that have a key of that column.
const MAX_ROWS_WITH_RARE_KEY: usize = 2;

/// The most columns without a place in the table that are named.
const MAX_LEFT_OUT_NAMES: usize = 20;

/// The least size of a row that is summed up. A smaller one may be a count.
const MIN_SUMMED_BYTES: f64 = 1024.0;

/// The columns that no reader needs. (PVE: the title of a package is its description, and every ended task is saved.)
const LEFT_OUT: [&str; 4] = ["digest", "pstart", "Title", "saved"];

/// Columns that few readers need, in the tables that have certain other columns. (PVE: the interfaces of a node, the list
/// of nodes, the interfaces of a container, the state of HA, tasks, the log of the cluster, updates, certificates, disks,
/// volumes, and guests.)
const RARELY_NEEDED: [RarelyNeeded; 15] = [
    RarelyNeeded { columns: &["address", "netmask"], beside: &["cidr"] },
    RarelyNeeded { columns: &["exists", "families", "method6", "priority"], beside: &["iface"] },
    RarelyNeeded { columns: &["id", "type", "ssl_fingerprint"], beside: &["ssl_fingerprint"] },
    RarelyNeeded { columns: &["hwaddr"], beside: &["hardware-address"] },
    RarelyNeeded { columns: &["inet", "inet6"], beside: &["hardware-address", "ip-addresses"] },
    RarelyNeeded {
        columns: &["armed-state", "crm_state", "quorate", "sid", "timestamp"],
        beside: &["quorate", "status", "id"],
    },
    RarelyNeeded { columns: &["pid"], beside: &["upid"] },
    RarelyNeeded { columns: &["id", "pid", "pri", "uid"], beside: &["msg", "tag"] },
    RarelyNeeded { columns: &["Arch", "Description", "Priority", "Section"], beside: &["OldVersion"] },
    RarelyNeeded {
        columns: &["fingerprint", "notbefore", "pem", "public-key-bits", "public-key-type"],
        beside: &["notafter"],
    },
    RarelyNeeded { columns: &["by_id_link", "gpt", "vendor", "wwn"], beside: &["devpath", "wearout"] },
    RarelyNeeded { columns: &["format", "subtype"], beside: &["volid", "content"] },
    RarelyNeeded { columns: &["type", "vmid"], beside: &["id", "vmid", "maxdisk"] },
    RarelyNeeded { columns: &["cgroup-mode", "network", "network-type", "storage"], beside: &["id", "plugintype"] },
    RarelyNeeded { columns: &["diskread", "diskwrite", "memhost", "netin", "netout"], beside: &["maxdisk", "maxmem"] },
];

/// Columns that are not shown without a wish for them, in a table with all of `beside`.
struct RarelyNeeded {
    columns: &'static [&'static str],
    beside: &'static [&'static str],
}

/// A writer of rows under a header, as many as fit.
struct TableWriter<'p> {
    page: &'p mut PageWriter,
    /// The number of rows written.
    row_count: usize,
    /// A row did not fit, so no more rows are written.
    full: bool,
    /// A cell was cut.
    has_cut_cells: bool,
}

impl<'p> TableWriter<'p> {
    fn new(page: &'p mut PageWriter) -> Self {
        Self { page, row_count: 0, full: false, has_cut_cells: false }
    }

    fn write_line<'c>(&mut self, cells: impl Iterator<Item = Cow<'c, str>>) {
        self.has_cut_cells |= !push_row(&mut self.page.text, cells);
    }

    fn write_row<'c>(&mut self, cells: impl Iterator<Item = Cow<'c, str>>) {
        if self.full {
            return;
        }
        let (before, had_cut_cells) = (self.page.text.len(), self.has_cut_cells);
        self.write_line(cells);
        if self.page.text.len() <= self.page.cap() {
            self.row_count += 1;
            return;
        }
        self.full = true;
        if self.row_count == 0 {
            // A part of the first row is shown, so that each page makes progress.
            let end = self.page.text.floor_char_boundary(self.page.cap().max(before + 1));
            self.page.text.truncate(end);
            (self.row_count, self.has_cut_cells) = (1, true);
        } else {
            self.page.text.truncate(before);
            self.has_cut_cells = had_cut_cells;
        }
    }
}

/// Returns a value as a cell.
pub(in crate::render) fn format_cell<'r>(
    format: KeyFormat,
    key: &str,
    raw: Option<&'r str>,
    utc_offset: i32,
) -> Cow<'r, str> {
    match raw {
        None => Cow::Borrowed(""),
        Some(raw) if raw.starts_with(['{', '[']) && !is_empty(raw) => Cow::Owned(cell(key, raw, utc_offset)),
        Some(raw) if raw.len() > 2 * MAX_CELL_CHARS || is_pem(raw) => Cow::Owned(cell(key, raw, utc_offset)),
        Some(raw) => format.format(key, raw, utc_offset),
    }
}

/// Appends a value as a cell of a row. Returns false if it was cut.
pub(in crate::render) fn append_cell(
    out: &mut Vec<u8>,
    format: KeyFormat,
    key: &str,
    raw: Option<&str>,
    utc_offset: i32,
) -> bool {
    raw.is_some_and(|raw| format.append_measure(out, key, raw))
        || append_text(out, &format_cell(format, key, raw, utc_offset))
}

/// The columns of a table without requested fields, from the keys of its rows.
#[derive(Default)]
struct KeyColumns<'a> {
    columns: Vec<KeyColumn<'a>>,
    left_out: Vec<&'static str>,
    /// Keys that have an empty text or list in some row.
    empty: Vec<Cow<'a, str>>,
    cells_without_column: usize,
    /// The number of rows that are objects.
    object_count: usize,
    /// Some rows are not objects. They fill a column of their own.
    has_plain_rows: bool,
    has_running_task: bool,
}

struct KeyColumn<'a> {
    key: Cow<'a, str>,
    /// The key as the first row with it spells it.
    raw_key: &'a str,
    /// A row has more than 0.
    is_used: bool,
    /// The value of the first row with one.
    first: &'a str,
    /// The number of rows with this value, until one has another value.
    equal_count: usize,
}

impl<'a> KeyColumns<'a> {
    /// Reads the next row. Returns its text, or `None` if it is not JSON.
    fn read_row(&mut self, scan: &mut JsonScanner<'a>) -> Option<&'a str> {
        // Most rows have their keys in the same order.
        let mut next = 0;
        let mut task = TaskKeys::default();
        let row = scan.next_object(&mut |raw_key, raw| {
            task.read(raw_key);
            if is_empty(raw) {
                // (PVE: a bridge without ports has an empty text, an interface without addresses an empty list.)
                if matches!(raw, "[]" | "\"\"") && self.empty.len() < MAX_EMPTY_NAMES {
                    let key = unquote(raw_key);
                    let says_nothing = LEFT_OUT.contains(&&*key) || EMPTY_WITHOUT_MEANING.contains(&&*key);
                    if !says_nothing && !self.empty.contains(&key) {
                        self.empty.push(key);
                    }
                }
                return;
            }
            let place = match self.columns.get(next) {
                Some(column) if column.raw_key == raw_key => Some(next),
                _ => self.find_or_add(raw_key, raw),
            };
            if let Some(place) = place {
                let column = &mut self.columns[place];
                column.is_used |= !is_zero(raw);
                column.equal_count += usize::from(column.first == raw);
                next = place + 1;
            }
        })?;
        match row.starts_with('{') {
            true => self.object_count += 1,
            false => self.has_plain_rows = true,
        }
        self.has_running_task |= task.is_running();
        Some(row)
    }

    /// Returns the place of the column for a key with its first value, unless it has none.
    fn find_or_add(&mut self, raw_key: &'a str, first: &'a str) -> Option<usize> {
        let key = unquote(raw_key);
        if let Some(place) = self.columns.iter().position(|column| column.key == key) {
            return Some(place);
        }
        if let Some(name) = LEFT_OUT.iter().find(|name| **name == key) {
            if !self.left_out.contains(name) {
                self.left_out.push(name);
            }
            return None;
        }
        if self.columns.len() == MAX_COLUMNS {
            self.cells_without_column += 1;
            return None;
        }
        self.columns.push(KeyColumn { key, raw_key, is_used: false, first, equal_count: 0 });
        Some(self.columns.len() - 1)
    }

    /// Returns the keys of the columns to show, in their order. Notes those that are left out, and writes the cells that
    /// are equal in each row.
    fn select(self, options: &OutputOptions, page: &mut PageWriter, row_count: usize) -> Vec<String> {
        let mut columns = self.columns;
        if self.has_running_task && !columns.iter().any(|column| column.key == "status") {
            let key = Cow::Borrowed("status");
            columns.push(KeyColumn { key, raw_key: "", is_used: true, first: "", equal_count: 0 });
        }
        let is_wanted = |key: &str| is_id(options, key) || options.orders_or_filters_by(key);
        if self.cells_without_column == 0 {
            let has_column = |key: &&Cow<'_, str>| columns.iter().any(|column| column.key == **key);
            note_columns(page, "empty: ", self.empty.iter().filter(|key| !has_column(key)).map(AsRef::as_ref));
        }
        if row_count >= MIN_IDLE_ROWS && !options.are_objects {
            let is_idle =
                |column: &mut KeyColumn<'_>| !(column.is_used || has_place(&column.key) || is_wanted(&column.key));
            let idle: Vec<KeyColumn<'_>> = columns.extract_if(.., is_idle).collect();
            if idle.len() > MAX_NAMED_IDLE {
                page.add_note(&format!("{} with nothing but 0 left out", count(idle.len(), "column")));
            } else {
                note_columns(page, "nothing but 0: ", idle.iter().map(|column| &*column.key));
            }
        }
        let mut left_out = self.left_out;
        let has = |key: &&str| columns.iter().any(|column| column.key == *key);
        for rare in RARELY_NEEDED.iter().filter(|rare| rare.beside.iter().all(has)) {
            left_out.extend(rare.columns.iter().filter(|key| has(key) && !is_wanted(key)));
        }
        if options.are_objects {
            left_out.extend(object_writer::find_rarely_needed(&|key| has(&key)));
        }
        columns.retain(|column| !left_out.contains(&&*column.key));
        if !left_out.is_empty() {
            let mut note = String::from("not shown: ");
            push_names(&mut note, left_out.iter().copied(), MAX_LEFT_OUT_NAMES);
            page.add_note(&note);
        }
        columns.sort_by(|a, b| is_id(options, &b.key).cmp(&is_id(options, &a.key)).then(compare_keys(&a.key, &b.key)));
        if !self.has_plain_rows {
            if row_count >= MIN_EQUAL_ROWS || options.are_objects {
                columns = write_equal_cells(options, page, columns, self.object_count);
            }
            if row_count >= MIN_IDLE_ROWS {
                columns = write_long_equal_cells(options, page, columns, self.object_count);
            }
        }
        columns.into_iter().map(|column| column.key.into_owned()).collect()
    }
}

/// Notes columns that are not shown.
fn note_columns<'k>(page: &mut PageWriter, what: &str, keys: impl Iterator<Item = &'k str>) {
    let mut note = String::from(what);
    // (PVE: the keys of a row have no order.)
    let keys: BTreeSet<&str> = keys.collect();
    push_names(&mut note, keys.into_iter(), MAX_EMPTY_NAMES);
    if note.len() > what.len() {
        page.add_note(&note);
    }
}

/// Writes the columns with the same short value in each row as one line. Returns the other ones.
fn write_equal_cells<'a>(
    options: &OutputOptions,
    page: &mut PageWriter,
    columns: Vec<KeyColumn<'a>>,
    row_count: usize,
) -> Vec<KeyColumn<'a>> {
    let find_value = |column: &KeyColumn<'a>| {
        let format = KeyFormat::for_key(&column.key);
        let value = format_cell(format, &column.key, Some(column.first), options.utc_offset);
        let is_short = options.are_objects || value.len() <= MAX_EQUAL_BYTES && !value.contains([' ', '\\']);
        (column.equal_count == row_count && is_short && !is_id(options, &column.key)).then_some(value)
    };
    let (colon, next) = if options.are_objects { (": ", "; ") } else { (" ", ", ") };
    if columns.iter().all(|column| find_value(column).is_some()) {
        return columns;
    }
    let mut separator = "in each row: ";
    let mut others = Vec::with_capacity(columns.len());
    for (at, column) in columns.into_iter().enumerate() {
        match find_value(&column).filter(|_| at > 0) {
            Some(value) => {
                page.text.push_str(separator);
                push_name(&mut page.text, &column.key);
                page.text.push_str(colon);
                page.text.push_str(if value.is_empty() { "-" } else { &value });
                separator = next;
            }
            None => others.push(column),
        }
    }
    page.text.push_str(if separator == next { "\n" } else { "" });
    others
}

/// Writes each column with the same long value in each row as a line. Returns the other ones.
fn write_long_equal_cells<'a>(
    options: &OutputOptions,
    page: &mut PageWriter,
    columns: Vec<KeyColumn<'a>>,
    row_count: usize,
) -> Vec<KeyColumn<'a>> {
    let mut others = Vec::with_capacity(columns.len());
    for (at, column) in columns.into_iter().enumerate() {
        let format = KeyFormat::for_key(&column.key);
        let is_long = |value: &str| {
            (MIN_LONG_EQUAL_BYTES..=MAX_CELL_CHARS).contains(&value.len()) && !value.contains(char::is_control)
        };
        let value = (at > 0 && column.equal_count == row_count && !is_id(options, &column.key))
            .then(|| format_cell(format, &column.key, Some(column.first), options.utc_offset))
            .filter(|value| is_long(value) && value.len() < page.remaining() / 2);
        match value {
            Some(value) => {
                page.text.push_str("in each row: ");
                push_name(&mut page.text, &column.key);
                page.text.push_str(": ");
                page.text.push_str(&value);
                page.text.push('\n');
            }
            None => others.push(column),
        }
    }
    others
}

/// Reads the rows of the page in the order of the list, together with their keys. Returns `None` if the text is not a
/// list.
fn read_page<'a>(
    options: &OutputOptions,
    list: &'a str,
    columns: &mut KeyColumns<'a>,
) -> Option<(Vec<&'a str>, RowCounts)> {
    let mut scan = JsonScanner::new(list);
    let page = options.offset..options.offset.saturating_add(options.limit);
    let (mut rows, mut total, mut cursors) = (Vec::new(), 0, 0);
    if !scan.consume(b'[') {
        return None;
    }
    while scan.advance(total + cursors == 0, b']')? {
        let is_shown = page.contains(&total) && rows.len() < MAX_ROWS;
        let row = if is_shown { columns.read_row(&mut scan)? } else { scan.next_value()? };
        if is_cursor(row) {
            cursors += 1;
            continue;
        }
        if is_shown {
            rows.push(row);
        }
        total += 1;
    }
    Some((rows, RowCounts { total, matched: total, cursors, ..RowCounts::default() }))
}

/// Reads the rows that were asked for, in the order that was asked for.
fn select_page<'a>(
    options: &OutputOptions,
    page: &mut PageWriter,
    list: &'a str,
    columns: &mut KeyColumns<'a>,
) -> Result<(Vec<&'a str>, RowCounts), OutputError> {
    let mut rows = Vec::new();
    let counts = select(options, list, &mut |_, row| {
        if rows.len() < MAX_ROWS {
            rows.push(row);
        }
    })?;
    if options.is_option_list {
        sort_options(options, page, &mut rows);
    }
    if options.fields.is_none() {
        for row in &rows {
            columns.read_row(&mut JsonScanner::new(row));
        }
    }
    Ok((rows, counts))
}

/// Writes the rows of the page.
pub fn write_list(
    options: &OutputOptions,
    page: &mut PageWriter,
    list: &str,
    answer_path: &AnswerPath,
) -> Result<(), OutputError> {
    let mut key_columns = KeyColumns::default();
    let in_order = options.fields.is_none() && options.filter.is_empty() && options.sort.is_empty();
    let whole = if in_order && !options.is_series && !options.is_option_list {
        read_page(options, list, &mut key_columns)
    } else {
        None
    };
    let (rows, counts) = match whole {
        Some(whole) => whole,
        None => select_page(options, page, list, &mut key_columns)?,
    };
    if options.fields.is_none() && !rows.is_empty() && rows.iter().all(|row| log_line(row).is_some()) {
        write_lines(options, page, &rows, answer_path, counts);
        return Ok(());
    }
    let (has_plain_rows, cells_without_column) = (key_columns.has_plain_rows, key_columns.cells_without_column);
    let mut columns = options.fields.clone().unwrap_or_else(|| key_columns.select(options, page, rows.len()));
    columns.retain(|column| !counts.missing_fields.contains(column));
    let rare = if options.fields.is_none() { take_rare_columns(options, &mut columns, &rows) } else { Vec::new() };
    if rows.is_empty() {
        page.text.push_str("no rows\n");
        note_row_counts(options, page, answer_path, counts, 0, false);
        return Ok(());
    }
    let has_short_upids = rows.len() > MAX_ROWS_WITH_UPIDS
        && options.fields.is_none()
        && columns.iter().any(|column| column == "upid" && !options.orders_or_filters_by(column));
    if has_short_upids {
        page.add_note("upid … for status OK: a filter for up to 10 tasks, or fields, shows it");
    }
    let mut table = TableWriter::new(page);
    let header = columns.iter().map(String::as_str).chain(has_plain_rows.then_some("value"));
    let header = header.chain((!rare.is_empty()).then_some(OTHERS));
    table.write_line(header.map(Cow::Borrowed));
    let formats: Vec<KeyFormat> = columns.iter().map(|column| KeyFormat::for_key(column)).collect();
    let mut found = Vec::new();
    for row in &rows {
        if table.full {
            break;
        }
        match row.starts_with('{') {
            true => pick(row, &columns, &mut found),
            false => found.clear(),
        }
        found.resize(columns.len(), None);
        let is_running_task = is_running_task(row);
        let has_short_upid = has_short_upids && find_member(row, "status") == Some(r#""OK""#);
        // The name of the option, if the row is one.
        let option = options.is_option_list.then(|| option_name(row));
        let cells = found.iter().zip(&columns).zip(&formats).map(|((raw, column), format)| {
            match (raw, option.as_deref().filter(|_| matches!(column.as_str(), "value" | "pending"))) {
                (None, _) if is_running_task && column == "status" => Cow::Borrowed("running"),
                (Some(_), _) if has_short_upid && column == "upid" => Cow::Borrowed("…"),
                (Some(raw), _) if options.is_series && is_rate(column) && !is_empty(raw) => {
                    Cow::Owned(format_cell(*format, column, Some(raw), options.utc_offset).into_owned() + PER_SECOND)
                }
                (raw, Some(option)) => format_cell(KeyFormat::for_key(option), option, *raw, options.utc_offset),
                (raw, None) => format_cell(*format, column, *raw, options.utc_offset),
            }
        });
        let plain = has_plain_rows.then(|| Some(*row).filter(|row| !row.starts_with('{')));
        let plain = plain.map(|raw| format_cell(KeyFormat::Plain, "", raw, options.utc_offset));
        let others = (!rare.is_empty()).then(|| Cow::Owned(format_others(options, row, &rare)));
        table.write_row(cells.chain(plain).chain(others));
    }
    let TableWriter { row_count, full, has_cut_cells, .. } = table;
    let has_all_rows = rows.len() == counts.matched;
    note_row_counts(options, page, answer_path, counts, row_count, full);
    if columns.iter().any(|column| column == "size") && has_all_rows {
        note_size(page, &rows);
    }
    if cells_without_column > 0 {
        page.add_note(&format!(
            "{cells_without_column} cells of other keys have no column: name them in fields, or format=json"
        ));
    }
    if has_cut_cells {
        note_cut_cells(page);
    }
    Ok(())
}

/// Removes the columns of objects that one or two of them have, and returns their keys, if the table is shorter with them
/// as `key: value` in one last column.
fn take_rare_columns(options: &OutputOptions, columns: &mut Vec<String>, rows: &[&str]) -> Vec<String> {
    if !options.are_objects || rows.len() < MIN_ROWS_WITH_OTHERS || columns.iter().any(|column| column == OTHERS) {
        return Vec::new();
    }
    let mut values: Vec<Vec<&str>> = vec![Vec::new(); columns.len()];
    let mut found = Vec::new();
    for row in rows {
        pick(row, columns, &mut found);
        values.iter_mut().zip(&found).for_each(|(values, raw)| values.extend(raw));
    }
    // A column has its name, a dash in each row without it, and tabs.
    let find_saving = |column: &str, values: &[&str]| {
        let shown_apart = column.len() + 1 + rows.len() + (rows.len() - values.len());
        shown_apart.checked_sub(values.len() * (column.len() + ": ; ".len())).filter(|saving| *saving > 0)
    };
    let (mut rare, mut saved) = (Vec::new(), 0);
    for (column, values) in columns.iter().zip(&values).skip(1) {
        let is_clear = |raw: &&str| !format_cell(KeyFormat::for_key(column), column, Some(raw), 0).contains("; ");
        let is_rare = (1..=MAX_ROWS_WITH_RARE_KEY).contains(&values.len()) && !is_last(column);
        if let Some(saving) = find_saving(column, values).filter(|_| is_rare && values.iter().all(is_clear)) {
            rare.push(column.clone());
            saved += saving;
        }
    }
    let fits = |row: &&str| format_others(options, row, &rare).chars().count() <= MAX_CELL_CHARS;
    // The last column has a name, a dash in each row without any, and tabs.
    if saved <= OTHERS.len() + 1 + 2 * rows.len() || !rows.iter().all(fits) {
        return Vec::new();
    }
    columns.retain(|column| !rare.contains(column));
    rare
}

/// Returns the values of these keys as one cell.
fn format_others(options: &OutputOptions, row: &str, keys: &[String]) -> String {
    let mut found = Vec::new();
    pick(row, keys, &mut found);
    let mut text = String::new();
    for (key, raw) in keys.iter().zip(found).filter_map(|(key, raw)| Some((key, raw?))) {
        text.push_str(if text.is_empty() { "" } else { "; " });
        push_name(&mut text, key);
        text.push_str(": ");
        text.push_str(&format_cell(KeyFormat::for_key(key), key, Some(raw), options.utc_offset));
    }
    text
}

/// Notes the size of all rows together, if each has one in bytes, and what is used of it.
fn note_size(page: &mut PageWriter, rows: &[&str]) {
    let find_bytes =
        |row: &str, key| parse_number(find_member(row, key)?).filter(|size: &f64| *size >= MIN_SUMMED_BYTES);
    let sizes = rows.iter().map(|row| find_bytes(row, "size"));
    if let (Some(sum), 2..) = (sizes.sum::<Option<f64>>(), rows.len()) {
        let mut note = String::from("size of all: ");
        push_byte_size(&mut note, sum);
        // (PVE: images of disks have the bytes that are written. Other files have their size alone.)
        let used: f64 = rows.iter().filter_map(|row| find_bytes(row, "used").or_else(|| find_bytes(row, "size"))).sum();
        if used < sum {
            note.push_str(", used ");
            push_byte_size(&mut note, used);
        }
        page.add_note(&note);
    }
}

/// Returns whether a column identifies the rows. A long one comes last all the same.
fn is_id(options: &OutputOptions, column: &str) -> bool {
    options.id_key.as_deref() == Some(column) && !is_last(column)
}

/// Sorts the options of a guest by their use, unless the caller chose an order, and counts the pending changes.
fn sort_options(options: &OutputOptions, page: &mut PageWriter, rows: &mut [&str]) {
    let waits = |row: &str| find_member(row, "pending").is_some() || find_member(row, "delete").is_some();
    if options.sort.is_empty() {
        rows.sort_by(|a, b| waits(b).cmp(&waits(a)).then_with(|| compare_keys(&option_name(a), &option_name(b))));
    }
    if !options.selects() {
        page.add_note(&match rows.iter().filter(|row| waits(row)).count() {
            0 => "no change is pending".to_owned(),
            waiting => format!("{} pending", count(waiting, "change")),
        });
    }
}

/// Returns the name of the option that a row is about.
fn option_name(row: &str) -> Cow<'_, str> {
    find_member(row, "key").map(unquote).unwrap_or_default()
}

/// Returns whether a value is 0 in one of Proxmox's forms.
fn is_zero(raw: &str) -> bool {
    matches!(raw, "0" | "\"0\"" | "0.0" | "\"0.00\"")
}

/// Returns whether a row of a time series has a value beside its time.
pub fn has_data(row: &str) -> bool {
    let mut has_data = false;
    walk(row, &mut |key, raw| {
        has_data |= unquote(key) != "time" && !is_empty(raw);
        !has_data
    });
    has_data
}

/// Returns the text of a row that is a line of a log: a text, or an object with a number and a text.
pub fn log_line(row: &str) -> Option<Cow<'_, str>> {
    if row.starts_with('"') {
        return Some(decode_line(row));
    }
    let (mut line, mut is_line) = (None, row.starts_with('{'));
    walk(row, &mut |key, raw| {
        match strip_quotes(key) {
            "t" if raw.starts_with('"') => line = Some(raw),
            "n" => {}
            _ => is_line = false,
        }
        is_line
    });
    line.filter(|_| is_line).map(decode_line)
}

/// Writes the lines of a log.
fn write_lines(
    options: &OutputOptions,
    page: &mut PageWriter,
    rows: &[&str],
    answer_path: &AnswerPath,
    counts: RowCounts,
) {
    let mut table = TableWriter::new(page);
    for line in rows.iter().filter_map(|row| log_line(row)) {
        table.write_row(std::iter::once(line));
    }
    let TableWriter { row_count, full, has_cut_cells, .. } = table;
    note_row_counts(options, page, answer_path, counts, row_count, full);
    if has_cut_cells {
        note_cut_cells(page);
    }
}

fn note_cut_cells(page: &mut PageWriter) {
    page.add_note(&format!(
        "cells are cut at {MAX_CELL_CHARS} characters, a row alone at {} bytes: format=json has them",
        page.cap()
    ));
}
