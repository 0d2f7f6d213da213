//! The backups of a storage in short: a row for each guest, and of the marks of a pruning those that remove.

use crate::base::json_scan::find_member;
use crate::render::cell::{decode_line, push_row, strip_quotes};
use crate::render::labels::{count, format_local_time};
use crate::render::output::json_path::{find, parse_number};
use crate::render::output::names::push_names;
use crate::render::output::options::OutputOptions;
use crate::render::output::page_writer::RenderedResult;
use crate::render::units::push_byte_size;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

/// The most backups that are always shown one by one.
const MAX_LISTED_BACKUPS: usize = 20;

/// The least backups of each guest, on average, that are worth a summary.
const MIN_BACKUPS_OF_GUEST: usize = 2;

/// The most different notes of the backups of a guest.
const MAX_NOTES: usize = 3;

/// The most names of a note.
const MAX_NAMES: usize = 10;

/// The backups of one guest.
#[derive(Default)]
struct BackupGroup<'a> {
    number: usize,
    bytes: f64,
    protected: usize,
    oldest: Option<u64>,
    newest: Option<Backup<'a>>,
    /// The different notes.
    notes: Vec<Cow<'a, str>>,
}

/// One backup.
#[derive(Clone, Copy)]
struct Backup<'a> {
    volid: &'a str,
    created: u64,
    verification: &'a str,
}

impl OutputOptions {
    /// Renders a list of many backups in short. Returns `None` for any other answer.
    pub(super) fn summarize_backups(&self, list: &str) -> Option<RenderedResult> {
        let page = self.select_rows(list)?;
        let short = match page.rows.first().is_some_and(|row| find_member(row, "mark").is_some()) {
            // A filter by the mark asks for each.
            true if !self.filter.is_empty() => None,
            true => self.summarize_marks(&page.rows),
            false => self.summarize_volumes(&page.rows),
        };
        let RenderedResult { text, note } = short?;
        Some(page.finish(text, note.into_iter().collect(), true))
    }

    /// Renders the volumes of a storage, with one row for the backups of each guest.
    fn summarize_volumes(&self, rows: &[&str]) -> Option<RenderedResult> {
        let is_backup = |row: &&&str| text_of(row, "content") == "backup" && find_member(row, "vmid").is_some();
        let (backups, others): (Vec<&str>, Vec<&str>) = rows.iter().copied().partition(|row| is_backup(&row));
        let mut guests: BTreeMap<u64, BackupGroup<'_>> = BTreeMap::new();
        let mut failed = Vec::new();
        for row in &backups {
            let vmid = find_member(row, "vmid").and_then(parse_number)? as u64;
            let backup = guests.entry(vmid).or_default().add(row);
            failed.extend((backup.verification == "failed").then_some(backup.volid));
        }
        let is_long = backups.len() > MAX_LISTED_BACKUPS && guests.len() > 1;
        if !is_long || backups.len() < guests.len() * MIN_BACKUPS_OF_GUEST {
            return None;
        }
        let mut text = String::new();
        let mut note = String::new();
        if !others.is_empty() {
            let all = Self { filter: Vec::new(), ..self.clone() };
            let rendered = all.render_data(&format!("[{}]", others.join(",")), None, 0).ok()?;
            text = rendered.text + "\nbackups:\n";
            // Writing into a String cannot fail.
            let _ = rendered.note.map_or(Ok(()), |words| write!(note, "other volumes: {words}; "));
        }
        write_guests(&mut text, &guests, self.utc_offset);
        let bytes: f64 = guests.values().map(|guest| guest.bytes).sum();
        let _ = write!(note, "{} of {}, ", count(backups.len(), "backup"), count(guests.len(), "guest"));
        push_byte_size(&mut note, bytes);
        if !failed.is_empty() {
            note.push_str("; verification failed: ");
            push_names(&mut note, failed.into_iter(), MAX_NAMES);
        }
        note.push_str("; params vmid=…, or fields=volid,ctime,size, lists each");
        Some(RenderedResult { text, note: Some(note) })
    }

    /// Renders what a pruning would remove, and counts the others.
    fn summarize_marks<'l>(&self, rows: &[&'l str]) -> Option<RenderedResult> {
        let is_removed = |row: &&&str| text_of(row, "mark") == "remove";
        let (removed, kept): (Vec<&str>, Vec<&str>) = rows.iter().copied().partition(|row| is_removed(&row));
        if rows.len() <= MAX_LISTED_BACKUPS || kept.is_empty() {
            return None;
        }
        let mut marks: BTreeMap<&str, usize> = BTreeMap::new();
        kept.iter().for_each(|row| *marks.entry(text_of(row, "mark")).or_default() += 1);
        let marks = marks
            .iter()
            .map(|(mark, number)| format!("{number} {}", if mark.is_empty() { "without a mark" } else { mark }));
        let mut note = format!("not shown: {}", marks.collect::<Vec<_>>().join(", "));
        let guests_of = |rows: &[&'l str]| rows.iter().filter_map(|row| find_member(row, "vmid")).collect::<Vec<_>>();
        let guests: HashSet<&str> = guests_of(&kept).into_iter().collect();
        let mut emptied = guests_of(&removed);
        emptied.retain(|guest| !guests.contains(*guest));
        emptied.dedup();
        if !emptied.is_empty() {
            note.push_str("; no backup stays of ");
            push_names(&mut note, emptied.into_iter(), MAX_NAMES);
        }
        note.push_str("; filter=mark!=remove shows them");
        let text = match removed.as_slice() {
            [] => "no backup is marked remove\n".to_owned(),
            removed => {
                let rendered = self.render_data(&format!("[{}]", removed.join(",")), None, 0).ok()?;
                note = rendered.note.map_or(String::new(), |note| format!("marked remove: {note}; ")) + &note;
                rendered.text
            }
        };
        Some(RenderedResult { text, note: Some(note) })
    }
}

impl<'a> BackupGroup<'a> {
    /// Adds the row of a backup.
    fn add(&mut self, row: &'a str) -> Backup<'a> {
        let number = |name: &str| find_member(row, name).and_then(parse_number);
        let verification = find(row, "verification.state", 1).map_or("", |(state, _)| strip_quotes(state));
        let created = number("ctime").unwrap_or(0.0) as u64;
        let backup = Backup { volid: text_of(row, "volid"), created, verification };
        self.number += 1;
        self.bytes += number("size").unwrap_or(0.0);
        self.protected += usize::from(number("protected") == Some(1.0));
        self.oldest = Some(self.oldest.map_or(created, |oldest| oldest.min(created)));
        if self.newest.is_none_or(|newest| newest.created <= created) {
            self.newest = Some(backup);
        }
        let note = find_member(row, "notes").map_or(Cow::Borrowed(""), decode_line);
        if !note.is_empty() && self.notes.len() <= MAX_NOTES && !self.notes.contains(&note) {
            self.notes.push(note);
        }
        backup
    }
}

/// Writes a row for each guest, with its newest backup.
fn write_guests(text: &mut String, guests: &BTreeMap<u64, BackupGroup<'_>>, utc_offset: i32) {
    let has_protected = guests.values().any(|guest| guest.protected > 0);
    let has_verification = guests.values().any(|guest| guest.newest.is_some_and(|b| !b.verification.is_empty()));
    let has_notes = guests.values().any(|guest| !guest.notes.is_empty());
    let header = ["vmid", "backups", "size", "oldest", "newest"].into_iter();
    let header = header
        .chain(has_protected.then_some("protected"))
        .chain(has_verification.then_some("verification"))
        .chain(has_notes.then_some("notes"));
    push_row(text, header.map(Cow::Borrowed));
    for (vmid, guest) in guests {
        let mut size = String::new();
        push_byte_size(&mut size, guest.bytes);
        let newest = guest.newest.expect("a guest of the list has a backup");
        let oldest = guest.oldest.filter(|time| *time > 0 && guest.number > 1);
        let more = if guest.notes.len() > MAX_NOTES { "; …" } else { "" };
        let notes = guest.notes[..guest.notes.len().min(MAX_NOTES)].join("; ") + more;
        let cells = [
            vmid.to_string(),
            guest.number.to_string(),
            size,
            oldest.map_or(String::new(), |time| format_local_time(time, utc_offset)),
            newest.volid.to_owned(),
        ];
        let cells = cells.into_iter();
        let cells = cells
            .chain(has_protected.then(|| guest.protected.to_string()))
            .chain(has_verification.then(|| newest.verification.to_owned()))
            .chain(has_notes.then_some(notes));
        push_row(text, cells.map(Cow::Owned));
    }
}

/// Returns the text of a member, with the escapes of JSON.
fn text_of<'a>(row: &'a str, name: &str) -> &'a str {
    find_member(row, name).map_or("", strip_quotes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::output::options::AnswerTopic;

    fn options() -> OutputOptions {
        OutputOptions { table: true, has_default_form: true, topic: AnswerTopic::Backups, ..OutputOptions::default() }
    }

    fn backup(vmid: u32, day: u32, more: &str) -> String {
        let created = 1_795_854_000 + day * 86_400;
        format!(
            r#"{{"content":"backup","vmid":{vmid},"volid":"nas:backup/{vmid}-{day}","ctime":{created},"size":1048576{more}}}"#
        )
    }

    fn list(rows: &[String]) -> String {
        format!("[{}]", rows.join(","))
    }

    #[test]
    fn many_backups_are_a_row_for_each_guest_with_the_newest() {
        let mut rows: Vec<String> = (0..12).rev().map(|day| backup(100, day, r#","notes":"web""#)).collect();
        rows.extend(
            (0..9).map(|day| backup(101, day, if day == 3 { r#","notes":"before","protected":1"# } else { "" })),
        );
        rows.push(backup(102, 5, r#","verification":{"state":"failed","upid":"x"}"#));
        rows.insert(5, r#"{"content":"iso","volid":"nas:iso/a.iso","size":2}"#.to_owned());
        let rendered = options().summarize_topic(&list(&rows)).expect("a summary");
        assert_eq!(
            rendered.text,
            "volid\tsize\tcontent\nnas:iso/a.iso\t2\tiso\n\nbackups:\n\
             vmid\tbackups\tsize\toldest\tnewest\tprotected\tverification\tnotes\n\
             100\t12\t12MiB\t2026-11-28T08:20:00Z\tnas:backup/100-11\t0\t-\tweb\n\
             101\t9\t9MiB\t2026-11-28T08:20:00Z\tnas:backup/101-8\t1\t-\tbefore\n\
             102\t1\t1MiB\t-\tnas:backup/102-5\t0\tfailed\t-\n"
        );
        let note = rendered.note.expect("a note");
        assert!(note.contains("22 backups of 3 guests, 22MiB; verification failed: nas:backup/102-5"), "{note}");
    }

    #[test]
    fn few_backups_and_chosen_rows_are_shown_one_by_one() {
        let twenty: Vec<String> = (0..20).map(|day| backup(100 + day % 2, day, "")).collect();
        let of_one: Vec<String> = (0..30).map(|day| backup(100, day, "")).collect();
        let of_many: Vec<String> = (0..30).map(|vmid| backup(vmid, 1, "")).collect();
        for rows in [twenty, of_one, of_many] {
            assert!(options().summarize_topic(&list(&rows)).is_none(), "{rows:?}");
        }
        let many = list(&(0..30).map(|day| backup(100 + day % 2, day, "")).collect::<Vec<_>>());
        assert!(options().summarize_topic(&many).is_some());
        for options in [
            OutputOptions { fields: Some(vec!["volid".into()]), ..options() },
            OutputOptions { limit: 5, ..options() },
            OutputOptions { has_default_form: false, ..options() },
            OutputOptions { topic: AnswerTopic::Other, ..options() },
        ] {
            assert!(options.summarize_topic(&many).is_none(), "{options:?}");
        }
    }

    #[test]
    fn marks_that_remove_are_shown_and_others_counted() {
        let row = |vmid: u32, day: u32, mark: &str| {
            format!(r#"{{"vmid":{vmid},"volid":"nas:backup/{vmid}-{day}","ctime":1795854000,"mark":"{mark}"}}"#)
        };
        let mut rows: Vec<String> = (0..24).map(|day| row(100, day, "keep")).collect();
        let rendered = options().summarize_topic(&list(&rows)).expect("a summary");
        assert_eq!(rendered.text, "no backup is marked remove\n");
        rows.extend([row(100, 30, "protected"), row(101, 1, "remove"), row(100, 31, "remove")]);
        let rendered = options().summarize_topic(&list(&rows)).expect("a summary");
        assert_eq!(rendered.text.lines().count(), 3, "{}", rendered.text);
        let note = rendered.note.expect("a note");
        assert!(
            note.ends_with("not shown: 24 keep, 1 protected; no backup stays of 101; filter=mark!=remove shows them"),
            "{note}"
        );
        let all: Vec<String> = (0..24).map(|day| row(100, day, "remove")).collect();
        assert!(options().summarize_topic(&list(&all)).is_none());
    }
}
