//! Lists and objects as tables: a header, then tab-separated rows, each on one line.

use crate::render::output::error::OutputError;
use crate::render::output::json_path::{pick, unquote, walk};
use crate::render::output::options::OutputOptions;
use crate::render::output::page_writer::{AnswerPath, PageWriter, ResultPart};
use crate::render::output::rows::{note_row_counts, select};
use crate::render::table::{MAX_CELL_CHARS, MAX_ROWS, push_single_line, strip_quotes};

/// The maximum number of columns that are taken from the keys of the rows.
const MAX_COLUMNS: usize = 100;

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
    fn new(page: &'p mut PageWriter, header: &mut dyn Iterator<Item = &str>) -> Self {
        let mut table = Self { page, row_count: 0, full: false, has_cut_cells: false };
        table.write_line(header);
        table
    }

    fn write_line(&mut self, cells: &mut dyn Iterator<Item = &str>) {
        for (n, cell) in cells.enumerate() {
            self.page.text.push_str(if n == 0 { "" } else { "\t" });
            self.has_cut_cells |= !push_single_line(&mut self.page.text, cell);
        }
        self.page.text.push('\n');
    }

    fn write_row(&mut self, cells: &mut dyn Iterator<Item = &str>) {
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

/// Returns the text of a cell.
fn cell_text(raw: Option<&str>) -> &str {
    raw.filter(|raw| *raw != "null").map_or("", strip_quotes)
}

/// Writes the rows of the page.
pub fn write_list(
    options: &OutputOptions,
    page: &mut PageWriter,
    list: &str,
    answer_path: &AnswerPath,
) -> Result<(), OutputError> {
    let mut rows = Vec::new();
    let counts = select(options, list, &mut |_, row| {
        if rows.len() < MAX_ROWS {
            rows.push(row);
        }
    })?;
    let (mut columns, mut cells_without_column) = (options.fields.clone().unwrap_or_default(), 0);
    // Rows that are not objects fill a column of their own.
    let mut has_plain_rows = false;
    if options.fields.is_none() {
        for row in &rows {
            has_plain_rows |= !row.starts_with('{');
            walk(row, &mut |key, _| {
                let key = key.starts_with('"').then(|| unquote(key));
                if let Some(key) = key.filter(|key| !columns.iter().any(|column| column == key)) {
                    if columns.len() < MAX_COLUMNS { columns.push(key.into_owned()) } else { cells_without_column += 1 }
                }
                true
            });
        }
    }
    let header = columns.iter().map(String::as_str).chain(has_plain_rows.then_some("value"));
    let mut table = TableWriter::new(page, &mut { header });
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
        if has_plain_rows {
            found.push(Some(*row).filter(|row| !row.starts_with('{')));
        }
        table.write_row(&mut found.iter().map(|raw| cell_text(*raw)));
    }
    let TableWriter { row_count, full, has_cut_cells, .. } = table;
    note_row_counts(options, page, answer_path, counts, row_count, full);
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

/// Writes the members of the page, one per row.
pub fn write_object(options: &OutputOptions, page: &mut PageWriter, object: &str, answer_path: &AnswerPath) {
    let mut table = TableWriter::new(page, &mut ["key", "value"].into_iter());
    let (mut total, page_end) = (0, options.offset.saturating_add(options.limit));
    let mut member = |key: &str, value: &str| {
        if total >= options.offset && total < page_end {
            table.write_row(&mut [key, cell_text(Some(value))].into_iter());
        }
        total += 1;
    };
    match &options.fields {
        None => {
            walk(object, &mut |key, value| {
                member(strip_quotes(key), value);
                true
            });
        }
        Some(fields) => {
            let mut found = Vec::new();
            pick(object, fields, &mut found);
            for (field, value) in fields.iter().zip(found).filter_map(|(field, value)| Some((field, value?))) {
                member(field, value);
            }
        }
    }
    let TableWriter { row_count, full, has_cut_cells, .. } = table;
    if row_count < total {
        page.note_part(
            &ResultPart { unit: "members", offset: options.offset, count: row_count, total, size: "", truncated: full },
            answer_path,
        );
    }
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
