//! Whatever is larger than the cap, shown in part: whole rows and members where any fit, else the first of them in part,
//! down to lines or characters of one text. Each part comes with the arguments that lead to the rest.

use crate::render::output::OutputOptions;
use crate::render::output::json_path::{MAX_DEPTH, describe_kind, pick, unquote, walk};
use crate::render::output::keys::{push_name, quote_short as quote};
use crate::render::output::page_writer::{AnswerPath, PageWriter, ResultPart};
use crate::render::output::rows;
use std::borrow::Cow;
use std::fmt::Write;

/// Bytes of the key of a member that is shown in part: each level on the way costs its key.
const MAX_KEY_BYTES: usize = 256;
/// Members that a note names.
const MAX_NAMED_MEMBERS: usize = 20;

/// Writes as much of a value as fits, and says of which row or member it is a part where it is one.
pub fn write_value(
    options: &OutputOptions,
    page: &mut PageWriter,
    raw: &str,
    answer_path: &mut AnswerPath,
) -> Result<(), String> {
    let start = answer_path.depth;
    let below = write_innermost(options, page, raw, answer_path)?;
    if answer_path.depth > start {
        let filtered = !options.filter.is_empty() || !options.sort.is_empty();
        let alone = if filtered { " (its rest without filter and sort)" } else { "" };
        page.add_note(&format!("{} has {} bytes and is shown in part{alone}", quote(&answer_path.path), below.len()));
    }
    Ok(())
}

/// Writes as much of a value as fits, going on with the first of what is in it where nothing does. What was written last,
/// the place of which is `place` then.
fn write_innermost<'a>(
    options: &OutputOptions,
    page: &mut PageWriter,
    raw: &'a str,
    answer_path: &mut AnswerPath,
) -> Result<&'a str, String> {
    let of_row = OutputOptions { fields: options.fields.clone(), ..OutputOptions::default() };
    let nothing = OutputOptions::default();
    let (mut raw, mut options) = (raw, options);
    loop {
        let next = match raw.bytes().next() {
            // Deeper than anyone can ask: its JSON is a text.
            Some(b'[' | b'{') if answer_path.depth >= MAX_DEPTH => None,
            Some(b'[') => match rows::write_list(options, page, raw, answer_path)? {
                None => return Ok(raw),
                Some((at, row)) => Some((at.to_string(), row, &of_row)),
            },
            Some(b'{') => match write_object(options, page, raw, answer_path) {
                None => return Ok(raw),
                Some((name, member)) => Some((name.into_owned(), member, &nothing)),
            },
            Some(first) if first != b'"' && raw.len() <= page.remaining() => {
                page.text.push_str(raw);
                return Ok(raw);
            }
            _ => None,
        };
        let Some((step, below, asked)) = next else {
            write_text(options, page, raw, answer_path);
            return Ok(raw);
        };
        answer_path.descend(&step);
        (raw, options) = (below, asked);
    }
}

/// Writes the members of the view's page that fit, in their order, and notes those that don't. Where none fits: the first
/// of them, to be shown in part behind its key, which is written.
fn write_object<'a>(
    options: &OutputOptions,
    page: &mut PageWriter,
    object: &'a str,
    answer_path: &AnswerPath,
) -> Option<(Cow<'a, str>, &'a str)> {
    page.open("{", '}');
    let (mut of, mut shown, mut left, mut unnamed) = (0, 0, Vec::new(), (0, 0));
    let mut large: Option<(Cow<'a, str>, Cow<'a, str>, &'a str)> = None;
    let wanted = options.offset..options.offset.saturating_add(options.limit);
    let mut member = |key: Cow<'a, str>, name: Cow<'a, str>, value: &'a str| {
        let at = of;
        of += 1;
        if !wanted.contains(&at) {
            return;
        }
        if key.len() + 1 + value.len() + usize::from(shown > 0) <= page.remaining() {
            page.text.push_str(if shown == 0 { "" } else { "," });
            page.text.push_str(&key);
            page.text.push(':');
            page.text.push_str(value);
            shown += 1;
        } else if large.is_none() && shown == 0 && key.len() <= MAX_KEY_BYTES {
            large = Some((key, name, value));
        } else if left.len() < MAX_NAMED_MEMBERS && key.len() <= MAX_KEY_BYTES {
            left.push((name, value.len()));
        } else {
            unnamed = if unnamed.0 == 0 { (1, at) } else { (unnamed.0 + 1, unnamed.1) };
        }
    };
    match &options.fields {
        None => {
            walk(object, &mut |key, value| {
                member(Cow::Borrowed(key), unquote(key), value);
                true
            });
        }
        Some(fields) => {
            let mut found = Vec::new();
            pick(object, fields, &mut found);
            for (field, value) in fields.iter().zip(found).filter_map(|(f, v)| Some((f, v?))) {
                let key = serde_json::Value::from(field.as_str()).to_string();
                member(Cow::Owned(key), Cow::Owned(field.clone()), value);
            }
        }
    }
    // One that fits came after it.
    if let Some((_, name, value)) = large.take_if(|_| shown > 0) {
        left.insert(0, (name, value.len()));
    }
    let page_of = of.saturating_sub(wanted.start).min(wanted.len());
    if page_of < of {
        page.note_part(
            &ResultPart {
                unit: "members",
                offset: wanted.start,
                count: page_of,
                total: of,
                size: "",
                truncated: false,
            },
            answer_path,
        );
    }
    note_left_out(page, answer_path, &left, unnamed);
    match large {
        None => page.close(),
        Some((ref key, ..)) => {
            page.text.push_str(key);
            page.text.push(':');
        }
    }
    large.map(|(_, name, value)| (name, value))
}

/// Notes the members that did not fit: name and size of each, or how many more and from which on.
fn note_left_out(
    page: &mut PageWriter,
    answer_path: &AnswerPath,
    left: &[(Cow<'_, str>, usize)],
    (more, from): (usize, usize),
) {
    let mut note = String::new();
    for (n, (name, size)) in left.iter().enumerate() {
        note.push_str(if n == 0 { "left out for want of room: " } else { ", " });
        push_name(&mut note, name);
        // Writing into a String can't fail.
        let _ = write!(note, " ({size} bytes)");
    }
    if let Some((name, _)) = left.first() {
        let _ = write!(note, ": {} gives one", answer_path.fields_argument(name));
    }
    if more > 0 {
        let and = if note.is_empty() { "left out for want of room: " } else { ", and " };
        let _ = write!(
            note,
            "{and}{more} more members: {} shows what fits from there on",
            answer_path.arguments_from(from)
        );
    }
    page.add_note(&note);
}

/// Bytes that a character takes in a JSON string, as serde_json writes it.
fn escaped_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..'\u{20}' => 6,
        c => c.len_utf8(),
    }
}

/// Writes a part of a text as a JSON string: of a text with line breaks so many lines, of one without, or with a line of
/// great length, so many characters. The unit depends on the text and the cap alone, so that parts add up.
fn write_text(options: &OutputOptions, page: &mut PageWriter, raw: &str, answer_path: &AnswerPath) {
    let text = unquote(raw);
    let mut lines = text.split_inclusive('\n');
    let longest = (page.cap() / 4).max(80);
    let by_line = text.contains('\n') && lines.all(|line| line.chars().map(escaped_len).sum::<usize>() <= longest);
    let unit = if by_line { "lines" } else { "characters" };
    let mut room = page.remaining().saturating_sub(2);
    let (mut of, mut shown, mut cut) = (0, 0, false);
    let (mut start, mut end) = (None, 0);
    let last = options.offset.saturating_add(options.limit);
    let mut take = |at: usize, len: usize, width: usize| {
        let n = of;
        of += 1;
        if n < options.offset || n >= last || cut {
            return;
        }
        // One at least, however small the cap: parts must get on.
        if width > room && shown > 0 {
            cut = true;
            return;
        }
        room = room.saturating_sub(width);
        shown += 1;
        start = start.or(Some(at));
        end = at + len;
    };
    if by_line {
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            take(at, line.len(), line.chars().map(escaped_len).sum());
            at += line.len();
        }
    } else {
        text.char_indices().for_each(|(at, c)| take(at, c.len_utf8(), escaped_len(c)));
    }
    let piece = text.get(start.unwrap_or(end)..end).unwrap_or_default();
    if shown < of {
        let size = format!(", {} of {} bytes of {}", piece.len(), text.len(), describe_kind(raw));
        page.note_part(
            &ResultPart { unit, offset: options.offset, count: shown, total: of, size: &size, truncated: cut },
            answer_path,
        );
    }
    page.text.push_str(&serde_json::Value::from(piece).to_string());
}
