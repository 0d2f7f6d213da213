//! Lists and objects as tables: a header, then tab-separated rows, each on one line.

use super::View;
use super::json::{decoded, pick, walk};
use super::page::{Page, Part, Place};
use super::rows::{select, told};
use crate::tools::shape::{MAX_CELL, MAX_ROWS, push_plain, unquoted};
use std::fmt::Write;

/// Columns that are made of the rows' own keys.
const MAX_COLUMNS: usize = 100;

/// Rows under a header, as many as fit.
struct Table<'p> {
    page: &'p mut Page,
    /// Rows written.
    shown: usize,
    /// Whether one did not fit: none follows it.
    full: bool,
    /// Whether a cell is shown in part.
    short: bool,
}

impl<'p> Table<'p> {
    fn new(page: &'p mut Page, header: &mut dyn Iterator<Item = &str>) -> Self {
        let mut table = Self { page, shown: 0, full: false, short: false };
        table.line(header);
        table
    }

    fn line(&mut self, cells: &mut dyn Iterator<Item = &str>) {
        for (n, cell) in cells.enumerate() {
            self.page.text.push_str(if n == 0 { "" } else { "\t" });
            self.short |= !push_plain(&mut self.page.text, cell);
        }
        self.page.text.push('\n');
    }

    fn row(&mut self, cells: &mut dyn Iterator<Item = &str>) {
        if self.full {
            return;
        }
        let (before, short) = (self.page.text.len(), self.short);
        self.line(cells);
        if self.page.text.len() <= self.page.cap() {
            self.shown += 1;
            return;
        }
        self.full = true;
        if self.shown == 0 {
            // The first is shown in part, so that pages get on.
            let cap = self.page.text.floor_char_boundary(self.page.cap().max(before + 1));
            self.page.text.truncate(cap);
            (self.shown, self.short) = (1, true);
        } else {
            self.page.text.truncate(before);
            self.short = short;
        }
    }
}

/// What stands in a cell.
fn cell(raw: Option<&str>) -> &str {
    raw.filter(|raw| *raw != "null").map_or("", unquoted)
}

/// Writes the rows of the view's page.
pub fn list(view: &View, page: &mut Page, list: &str, place: &Place) -> Result<(), String> {
    let mut rows = Vec::new();
    let counts = select(view, list, &mut |_, row| {
        if rows.len() < MAX_ROWS {
            rows.push(row);
        }
    })?;
    let (mut columns, mut more, mut plain) = (view.fields.clone().unwrap_or_default(), 0, false);
    if view.fields.is_none() {
        for row in &rows {
            plain |= !row.starts_with('{');
            walk(row, &mut |key, _| {
                let key = key.starts_with('"').then(|| decoded(key));
                if let Some(key) = key.filter(|key| !columns.iter().any(|c| c == key)) {
                    if columns.len() < MAX_COLUMNS { columns.push(key.into_owned()) } else { more += 1 }
                }
                true
            });
        }
    }
    // Rows that are no objects are cells themselves.
    let header = columns.iter().map(String::as_str).chain(plain.then_some("value"));
    let mut table = Table::new(page, &mut { header });
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
        table.row(&mut found.iter().map(|raw| cell(*raw)));
    }
    let Table { shown, full, short, .. } = table;
    told(view, page, place, counts, shown, full);
    if more > 0 {
        page.note(&format!("{more} cells of other keys have no column: name them in fields, or format=json"));
    }
    noted(page, short);
    Ok(())
}

/// Writes the members of the view's page, one a row.
pub fn object(view: &View, page: &mut Page, object: &str, place: &Place) {
    let mut table = Table::new(page, &mut ["key", "value"].into_iter());
    let (mut of, last) = (0, view.offset.saturating_add(view.limit));
    let mut member = |key: &str, value: &str| {
        if of >= view.offset && of < last {
            table.row(&mut [key, cell(Some(value))].into_iter());
        }
        of += 1;
    };
    match &view.fields {
        None => {
            walk(object, &mut |key, value| {
                member(unquoted(key), value);
                true
            });
        }
        Some(fields) => {
            let mut found = Vec::new();
            pick(object, fields, &mut found);
            fields.iter().zip(found).filter_map(|(f, v)| Some((f, v?))).for_each(|(f, v)| member(f, v));
        }
    }
    let Table { shown, full, short, .. } = table;
    if shown < of {
        page.part(&Part { unit: "members", offset: view.offset, shown, of, size: "", cut: full }, place);
    }
    noted(page, short);
}

fn noted(page: &mut Page, short: bool) {
    if short {
        let mut note = String::new();
        // Writing into a String can't fail.
        let _ = write!(
            note,
            "cells are cut at {MAX_CELL} characters, a row alone at {} bytes: format=json has them",
            page.cap()
        );
        page.note(&note);
    }
}
