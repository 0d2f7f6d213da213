//! Lists and objects as tables: a header, then tab-separated rows, each on one line.

use crate::render::output::OutputOptions;
use crate::render::output::json_path::{pick, unquote, walk};
use crate::render::output::page_writer::{AnswerPath, PageWriter, ResultPart};
use crate::render::output::rows::{note_row_counts, select};
use crate::render::table::{MAX_CELL_CHARS, MAX_ROWS, push_single_line, strip_quotes};
use std::fmt::Write;

/// Columns that are made of the rows' own keys.
const MAX_COLUMNS: usize = 100;

/// Rows under a header, as many as fit.
struct TableWriter<'p> {
    page: &'p mut PageWriter,
    /// Rows written.
    row_count: usize,
    /// Whether one did not fit: none follows it.
    full: bool,
    /// Whether a cell is shown in part.
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
        let (before, short) = (self.page.text.len(), self.has_cut_cells);
        self.write_line(cells);
        if self.page.text.len() <= self.page.cap() {
            self.row_count += 1;
            return;
        }
        self.full = true;
        if self.row_count == 0 {
            // The first is shown in part, so that pages get on.
            let cap = self.page.text.floor_char_boundary(self.page.cap().max(before + 1));
            self.page.text.truncate(cap);
            (self.row_count, self.has_cut_cells) = (1, true);
        } else {
            self.page.text.truncate(before);
            self.has_cut_cells = short;
        }
    }
}

/// What stands in a cell.
fn cell_text(raw: Option<&str>) -> &str {
    raw.filter(|raw| *raw != "null").map_or("", strip_quotes)
}

/// Writes the rows of the view's page.
pub fn write_list(
    options: &OutputOptions,
    page: &mut PageWriter,
    list: &str,
    answer_path: &AnswerPath,
) -> Result<(), String> {
    let mut rows = Vec::new();
    let counts = select(options, list, &mut |_, row| {
        if rows.len() < MAX_ROWS {
            rows.push(row);
        }
    })?;
    let (mut columns, mut more, mut plain) = (options.fields.clone().unwrap_or_default(), 0, false);
    if options.fields.is_none() {
        for row in &rows {
            plain |= !row.starts_with('{');
            walk(row, &mut |key, _| {
                let key = key.starts_with('"').then(|| unquote(key));
                if let Some(key) = key.filter(|key| !columns.iter().any(|c| c == key)) {
                    if columns.len() < MAX_COLUMNS { columns.push(key.into_owned()) } else { more += 1 }
                }
                true
            });
        }
    }
    // Rows that are no objects are cells themselves.
    let header = columns.iter().map(String::as_str).chain(plain.then_some("value"));
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
        if plain {
            found.push(Some(*row).filter(|row| !row.starts_with('{')));
        }
        table.write_row(&mut found.iter().map(|raw| cell_text(*raw)));
    }
    let TableWriter { row_count: shown, full, has_cut_cells: short, .. } = table;
    note_row_counts(options, page, answer_path, counts, shown, full);
    if more > 0 {
        page.add_note(&format!("{more} cells of other keys have no column: name them in fields, or format=json"));
    }
    note_cut_cells(page, short);
    Ok(())
}

/// Writes the members of the view's page, one a row.
pub fn write_object(options: &OutputOptions, page: &mut PageWriter, object: &str, answer_path: &AnswerPath) {
    let mut table = TableWriter::new(page, &mut ["key", "value"].into_iter());
    let (mut of, last) = (0, options.offset.saturating_add(options.limit));
    let mut member = |key: &str, value: &str| {
        if of >= options.offset && of < last {
            table.write_row(&mut [key, cell_text(Some(value))].into_iter());
        }
        of += 1;
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
            fields.iter().zip(found).filter_map(|(f, v)| Some((f, v?))).for_each(|(f, v)| member(f, v));
        }
    }
    let TableWriter { row_count: shown, full, has_cut_cells: short, .. } = table;
    if shown < of {
        page.note_part(
            &ResultPart { unit: "members", offset: options.offset, count: shown, total: of, size: "", truncated: full },
            answer_path,
        );
    }
    note_cut_cells(page, short);
}

fn note_cut_cells(page: &mut PageWriter, short: bool) {
    if short {
        let mut note = String::new();
        // Writing into a String can't fail.
        let _ = write!(
            note,
            "cells are cut at {MAX_CELL_CHARS} characters, a row alone at {} bytes: format=json has them",
            page.cap()
        );
        page.add_note(&note);
    }
}
