//! Rendering of an answer: the choice of the part that is shown, and of its form.

use crate::base::json_scan::find_member;
use crate::render::cell::strip_quotes;
use crate::render::labels::count;
use crate::render::output::cluster_log::find_line_duration;
use crate::render::output::error::OutputError;
use crate::render::output::json_path::{
    describe_kind, find, holds_objects, list_rows, parse_index, pick, unquote, walk,
};
use crate::render::output::merge::MergeablePart;
use crate::render::output::names::{push_name, push_names};
use crate::render::output::options::{AnswerTopic, OutputOptions};
use crate::render::output::page_writer::{AnswerPath, PageWriter, RenderedResult};
use crate::render::output::rows::describe_sent_part;
use crate::render::output::series::SeriesSummary;
use crate::render::output::table_writer::has_data;
use crate::render::output::tasks::{find_task_duration, join_user_and_token};
use crate::render::output::unknown_key::UnknownKey;
use crate::render::output::{object_writer, table_writer, truncate};
use std::borrow::Cow;
use std::fmt::Write;

impl OutputOptions {
    /// Renders an answer in at most `cap` bytes (0: no limit). `verbatim` is the JSON of the answer, or with
    /// `enveloped` of the whole envelope, which has other members besides `data`. A plain answer that fits keeps its
    /// memory.
    pub fn render(&self, verbatim: String, enveloped: bool, cap: usize) -> Result<RenderedResult, OutputError> {
        if self.is_plain() && (cap == 0 || verbatim.len() <= cap) {
            let note = if enveloped { describe_page(&verbatim) } else { None };
            return Ok(RenderedResult { text: verbatim, note });
        }
        if self.is_one_of_many
            && verbatim.starts_with('{')
            && !enveloped
            && !(self.filter.is_empty() && self.sort.is_empty())
        {
            let whole = Self { filter: Vec::new(), sort: Vec::new(), ..self.clone() };
            let mut rendered = whole.render(verbatim, enveloped, cap)?;
            let note = rendered.note.map_or_else(String::new, |note| format!("; {note}"));
            rendered.note = Some(format!("filter and sort are for lists, and this is an object{note}"));
            return Ok(rendered);
        }
        match self.split_envelope(&verbatim, enveloped) {
            Some((options, data)) => options.render_data(data, Some(&verbatim), cap),
            None => self.render_data(&verbatim, None, cap),
        }
    }

    /// Renders one of several answers as [`Self::render`] does. Returns it with its part of a table of several.
    pub fn render_part(
        &self,
        verbatim: String,
        enveloped: bool,
        cap: usize,
    ) -> Result<(RenderedResult, Option<MergeablePart>), OutputError> {
        let split = self.split_envelope(&verbatim, enveloped);
        let envelope = split.is_some().then_some(verbatim.as_str());
        let (options, data) = split.unwrap_or_else(|| (self.clone(), &verbatim));
        let with_values = options.add_short_values(data);
        let data = with_values.as_deref().unwrap_or(data);
        let short = options.summarize(data, envelope, if cap == 0 { usize::MAX } else { cap });
        let has_others = envelope.is_some_and(|envelope| !describe_envelope(envelope, true).is_empty());
        let is_mergeable = !has_others && (short.is_none() || self.topic.is_mergeable());
        let mergeable = if is_mergeable { options.find_mergeable(data) } else { None };
        let rendered = match short {
            Some(short) => short,
            None => Self { topic: AnswerTopic::Other, ..self.clone() }.render(verbatim, enveloped, cap)?,
        };
        Ok((rendered, mergeable))
    }

    /// Returns the data of an envelope, and the options with the number of its rows.
    fn split_envelope<'a>(&self, verbatim: &'a str, enveloped: bool) -> Option<(Self, &'a str)> {
        let (data, _) = enveloped.then(|| find(verbatim, "data", 1)).flatten()?;
        let total = find(verbatim, "total", 1).and_then(|(total, _)| parse_index(total));
        let total_beside = total.filter(|_| data.starts_with('['));
        Some((Self { total_beside, ..self.clone() }, data))
    }

    /// Renders the short form of the topic with the other members of the envelope, if it fits.
    fn summarize(&self, data: &str, envelope: Option<&str>, cap: usize) -> Option<RenderedResult> {
        let mut short = self.summarize_topic(data).filter(|short| short.text.len() <= cap)?;
        let others = envelope.map(|envelope| describe_envelope(envelope, self.total_beside.is_some()));
        if let Some(others) = others.filter(|others| !others.is_empty()) {
            short.note = Some(short.note.map_or(others.clone(), |note| format!("{note}; {others}")));
        }
        Some(short)
    }

    /// Renders the `data` of an answer. `envelope` is given if it has other members.
    pub(super) fn render_data(
        &self,
        data: &str,
        envelope: Option<&str>,
        cap: usize,
    ) -> Result<RenderedResult, OutputError> {
        // A table can be larger than the answer (rows with a different key each). Even without a cap it grows no faster
        // than the answer.
        let cap = if cap == 0 { data.len().saturating_mul(2).saturating_add(1 << 20) } else { cap };
        let mut page = PageWriter::new(cap);
        let with_values = self.add_short_values(data);
        let data = with_values.as_deref().unwrap_or(data);
        if let Some(short) = self.summarize(data, envelope, cap) {
            return Ok(short);
        }
        if self.is_series && !self.has_time_field() {
            if let Some(rendered) = self.summarize_series(data).map(|summary| summary.render())
                && rendered.text.len() <= cap
            {
                return Ok(rendered);
            }
            // A value without its time says nothing.
            if let Some(fields) = self.fields.as_ref().filter(|_| data.starts_with('[')) {
                let fields = std::iter::once("time".to_owned()).chain(fields.iter().cloned()).collect();
                return Self { fields: Some(fields), ..self.clone() }.render_data(data, envelope, cap);
            }
        }
        let (with_data, left_out) = self.drop_rows_without_data(data).unzip();
        let data = with_data.as_deref().unwrap_or(data);
        if let Some(left_out) = left_out {
            page.add_note(&format!("{} without data left out", count(left_out, "row")));
        }
        if let Err(error) = self.write_answer(&mut page, data) {
            // The other members of the envelope can be requested by name.
            let envelope = envelope.filter(|envelope| {
                let mut found = Vec::new();
                self.fields.iter().for_each(|fields| pick(envelope, fields, &mut found));
                !found.is_empty() && found.iter().all(Option::is_some)
            });
            page = PageWriter::new(cap);
            self.write_answer(&mut page, envelope.ok_or(error)?)?;
        } else if let Some(envelope) = envelope {
            page.add_note(&describe_envelope(envelope, self.total_beside.is_some()));
        }
        let (text, note) = page.finish();
        Ok(RenderedResult { text, note })
    }

    /// Returns a list with the values that its short form makes of several, if the caller names their keys: durations
    /// of tasks, and tokens of their users. JSON has the users as they come.
    fn add_short_values(&self, data: &str) -> Option<String> {
        let find_duration = match self.topic {
            AnswerTopic::Tasks | AnswerTopic::NewestTasks => find_task_duration,
            AnswerTopic::ClusterLog => find_line_duration,
            _ => return None,
        };
        let names_duration = self.names_key("duration");
        let names_user = self.topic != AnswerTopic::ClusterLog && self.is_readable() && self.names_key("user");
        if !(names_duration || names_user) || !holds_objects(data) {
            return None;
        }
        let rows = list_rows(data).into_iter().map(|row| {
            let row = if names_user { join_user_and_token(row) } else { Cow::Borrowed(row) };
            match find_duration(&row).filter(|_| names_duration) {
                Some(seconds) if find_member(&row, "duration").is_none() => {
                    format!("{},\"duration\":{seconds}}}", row.strip_suffix('}').expect("a task is an object")).into()
                }
                _ => row,
            }
        });
        Some(format!("[{}]", rows.collect::<Vec<_>>().join(",")))
    }

    /// Returns a time series without its rows without data, and their number, for a table of its rows.
    fn drop_rows_without_data(&self, data: &str) -> Option<(String, usize)> {
        if !self.is_series || !self.is_readable() || !holds_objects(data) {
            return None;
        }
        let all = list_rows(data);
        let with_data: Vec<&str> = all.iter().copied().filter(|row| has_data(row)).collect();
        let left_out = all.len() - with_data.len();
        (left_out > 0).then(|| (format!("[{}]", with_data.join(",")), left_out))
    }

    /// Renders the short form of the topic, if the answer has one and the caller did not choose its rows or its form.
    pub(super) fn summarize_topic(&self, data: &str) -> Option<RenderedResult> {
        let is_open = self.has_default_form && self.fields.is_none() && self.sort.is_empty();
        match self.topic {
            _ if !is_open => None,
            AnswerTopic::Tasks | AnswerTopic::NewestTasks => self.summarize_tasks(data),
            AnswerTopic::ClusterLog => self.summarize_log(data),
            _ if self.limit != usize::MAX || self.offset != 0 => None,
            AnswerTopic::Backups => self.summarize_backups(data),
            AnswerTopic::SystemLog => self.summarize_lines(data),
            _ if !self.filter.is_empty() => None,
            AnswerTopic::Services => self.summarize_services(data),
            AnswerTopic::Privileges => self.summarize_privileges(data),
            AnswerTopic::Pending => self.summarize_pending(data),
            AnswerTopic::Other => None,
        }
    }

    /// Returns the summary of a time series, if the caller did not choose its rows or its form.
    pub(super) fn summarize_series(&self, data: &str) -> Option<SeriesSummary> {
        let is_summarized = self.is_series && self.has_default_form && !self.has_time_field() && !self.selects_rows();
        let summary = is_summarized.then(|| SeriesSummary::parse(data, self.fields.as_deref(), self.utc_offset))?;
        // An answer alone has an error for keys that it does not have.
        summary.filter(|summary| self.is_one_of_many || !summary.is_misnamed())
    }

    /// Returns whether the fields include the time of a row, or a place in the list.
    fn has_time_field(&self) -> bool {
        self.fields().iter().any(|field| field == "time" || field.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// Writes an answer, or the value at the one path that was requested.
    fn write_answer(&self, page: &mut PageWriter, raw: &str) -> Result<(), OutputError> {
        let mut answer_path = AnswerPath::default();
        if let Some((name, list)) = self.find_meant_list(raw) {
            let others = if object_writer::find_only_list(raw).is_some() { "" } else { ", without the other members" };
            note_rows(page, &name, others);
            answer_path.descend(&name);
            if self.table {
                return table_writer::write_list(self, page, list, &answer_path);
            }
            page.open(&format!("{{{}:", serde_json::Value::from(name)), '}');
            return truncate::write_value(self, page, list, &mut answer_path);
        }
        let leads_inside = |path: &str| {
            let first = path.split('.').next().expect("a split has a first part");
            raw.starts_with('{') || parse_index(first).is_some()
        };
        match self.fields.as_deref() {
            Some([path]) if raw.starts_with(['{', '[']) && leads_inside(path) => {
                let found = find(raw, path, 1);
                if found.is_none() && (self.is_one_of_many || self.find_unset(path).is_some()) {
                    self.write_missing(page, &[path]);
                    return Ok(());
                }
                let (inner, depth) = found.ok_or_else(|| match raw.starts_with('[') {
                    true => OutputError::NothingAtPath(path.clone()),
                    false => OutputError::UnknownKey(UnknownKey::new(path, raw)),
                })?;
                if self.table && !inner.starts_with(['{', '[']) {
                    object_writer::write_object(self, page, raw, &[], &answer_path);
                    return Ok(());
                }
                answer_path = AnswerPath { path: path.clone(), depth };
                if !self.table {
                    page.open(&format!("{{{}:", serde_json::Value::from(path.as_str())), '}');
                }
                Self { fields: None, ..self.clone() }.write_value(page, inner, &mut answer_path)
            }
            Some(fields) if raw.starts_with('{') => {
                let mut found = Vec::new();
                pick(raw, fields, &mut found);
                let missing: Vec<&String> =
                    fields.iter().zip(&found).filter(|(_, value)| value.is_none()).map(|(field, _)| field).collect();
                let is_known = |field: &&&String| self.is_one_of_many || self.find_unset(field).is_some();
                // Proxmox leaves out keys that are not set, so a missing key is reported in a note. If all are missing,
                // it is a mistake.
                if found.iter().all(Option::is_none) {
                    return match missing.iter().find(|field| !is_known(field)) {
                        Some(first) => Err(OutputError::UnknownKey(UnknownKey::new(first, raw))),
                        None => {
                            self.write_missing(page, &missing);
                            Ok(())
                        }
                    };
                }
                self.write_value(page, raw, &mut answer_path)?;
                self.write_missing(page, &missing);
                Ok(())
            }
            Some(_) if !raw.starts_with('[') => Err(OutputError::NoFields(describe_kind(raw))),
            _ => self.write_value(page, raw, &mut answer_path),
        }
    }

    /// Finds the only list of objects in an object, if the caller means its rows: by a filter or an order, or by keys that
    /// the object itself does not have.
    fn find_meant_list<'a>(&self, raw: &'a str) -> Option<(String, &'a str)> {
        let selects_rows = !self.filter.is_empty() || !self.sort.is_empty();
        if !raw.starts_with('{') || self.is_one_of_many || !(selects_rows || self.fields.is_some()) {
            return None;
        }
        let has_field = |object: &str| {
            let mut found = Vec::new();
            pick(object, self.fields.as_deref().unwrap_or_default(), &mut found);
            found.iter().any(Option::is_some)
        };
        let mut lists = object_writer::find_lists(raw);
        let (name, list) = lists.pop().filter(|_| lists.is_empty() && !has_field(raw))?;
        let mut row_has_field = false;
        if !selects_rows {
            walk(list, &mut |_, row| {
                row_has_field = has_field(row);
                !row_has_field
            });
        }
        (selects_rows || row_has_field).then_some((name, list))
    }

    /// Returns the words for an option that is not set.
    fn find_unset(&self, field: &str) -> Option<&str> {
        self.unset.iter().find(|(name, _)| name == field).map(|(_, words)| words.as_str())
    }

    /// Writes the fields that an object does not have: an option as not set, any other one as not there.
    fn write_missing(&self, page: &mut PageWriter, missing: &[&String]) {
        let (mut unset, mut absent) = (String::new(), String::new());
        for field in missing {
            match self.find_unset(field) {
                Some(words) if self.table => {
                    push_name(&mut page.text, field);
                    // Writing into a String cannot fail.
                    let _ = writeln!(page.text, ": {words}");
                }
                Some(words) => {
                    unset.push_str(if unset.is_empty() { "" } else { ", " });
                    push_name(&mut unset, field);
                    let _ = write!(unset, ": {words}");
                }
                None => {
                    absent.push_str(if absent.is_empty() { "not there: " } else { ", " });
                    push_name(&mut absent, field);
                }
            }
        }
        if !self.table && page.text.is_empty() {
            page.text.push_str("{}");
        }
        page.add_note(&unset);
        page.add_note(&absent);
    }

    /// Writes a value. The fields are those of an object, or of the rows of a list.
    fn write_value(&self, page: &mut PageWriter, raw: &str, answer_path: &mut AnswerPath) -> Result<(), OutputError> {
        match raw.bytes().next() {
            Some(b'[') if self.table => table_writer::write_list(self, page, raw, answer_path),
            Some(b'[') => truncate::write_value(self, page, raw, answer_path),
            Some(b'{')
                if self.table
                    && let Some((name, list, empty)) = object_writer::find_only_list(raw) =>
            {
                note_rows(page, &name, "");
                if !empty.is_empty() {
                    let mut note = String::from("empty: ");
                    push_names(&mut note, empty.iter().map(String::as_str), 10);
                    page.add_note(&note);
                }
                answer_path.descend(&name);
                table_writer::write_list(self, page, list, answer_path)
            }
            _ if !self.filter.is_empty() || !self.sort.is_empty() => {
                let lists = object_writer::find_lists(raw).into_iter().map(|(name, _)| name).collect();
                Err(OutputError::NotAList { kind: describe_kind(raw), lists })
            }
            Some(b'{') if self.table => {
                let is_whole = self.fields.is_none() && self.limit == usize::MAX && self.offset == 0;
                let tables = if is_whole { object_writer::find_flat_lists(raw) } else { Vec::new() };
                let beside: Vec<&str> = tables.iter().map(|(name, _)| name.as_str()).collect();
                object_writer::write_object(self, page, raw, &beside, answer_path);
                for (name, list) in &tables {
                    page.text.push('\n');
                    push_name(&mut page.text, name);
                    page.text.push_str(":\n");
                    let mut list_path = answer_path.clone();
                    list_path.descend(name);
                    table_writer::write_list(self, page, list, &list_path)?;
                }
                Ok(())
            }
            Some(b'n') if self.table => {
                page.text.push_str("no value: the answer of Proxmox is null");
                Ok(())
            }
            Some(b'"') if self.table && !raw.contains('\\') && raw.len() < page.remaining() => {
                page.text.push_str(strip_quotes(raw));
                Ok(())
            }
            Some(b'"') if self.table => {
                truncate::write_lines(self, page, raw, answer_path);
                Ok(())
            }
            _ => truncate::write_value(self, page, raw, answer_path),
        }
    }
}

/// Notes that the rows are those of a member.
fn note_rows(page: &mut PageWriter, name: &str, others: &str) {
    let shown = if name.bytes().all(|b| b.is_ascii_graphic()) { name } else { "the list" };
    page.add_note(&format!("the rows of {shown}{others}"));
}

/// Describes the part of a list that an envelope has, if it is not the whole list.
fn describe_page(envelope: &str) -> Option<String> {
    let all = parse_index(find(envelope, "total", 1)?.0)?;
    let (data, _) = find(envelope, "data", 1)?;
    let mut sent = 0;
    let is_list = data.starts_with('[')
        && walk(data, &mut |_, _| {
            sent += 1;
            true
        });
    (is_list && sent < all).then(|| describe_sent_part(sent, all))
}

/// Describes the members of an envelope besides `data`: short values in full, others by size.
fn describe_envelope(envelope: &str, is_total_known: bool) -> String {
    let (mut note, mut named) = (String::new(), 0);
    walk(envelope, &mut |key, value| {
        let name = unquote(key);
        if name != "data" && !(is_total_known && name == "total") && name.len() <= 64 {
            note.push_str(if named == 0 { "beside the data: " } else { ", " });
            push_name(&mut note, &name);
            // Writing into a String cannot fail.
            let _ = match value.len() {
                0..=100 => write!(note, "={value}"),
                size => write!(note, " ({size} bytes, fields={name} shows it)"),
            };
            named += 1;
        }
        named < 8
    });
    note
}
