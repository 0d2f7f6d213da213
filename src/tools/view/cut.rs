//! Whatever is larger than the cap, shown in part: whole rows and members where any fit, else the first of them in part,
//! down to lines or characters of one text. Each part comes with the arguments that lead to the rest.

use super::json::{MAX_DEPTH, decoded, kind, pick, walk};
use super::names::{push_name, shown as quote};
use super::page::{Page, Part, Place};
use super::{View, rows};
use std::borrow::Cow;
use std::fmt::Write;

/// Bytes of the key of a member that is shown in part: each level on the way costs its key.
const MAX_KEY: usize = 256;
/// Members that a note names.
const NAMED: usize = 20;

/// Writes as much of a value as fits, and says of which row or member it is a part where it is one.
pub fn value(view: &View, page: &mut Page, raw: &str, place: &mut Place) -> Result<(), String> {
    let start = place.depth;
    let below = innermost(view, page, raw, place)?;
    if place.depth > start {
        let filtered = !view.filter.is_empty() || !view.sort.is_empty();
        let alone = if filtered { " (its rest without filter and sort)" } else { "" };
        page.note(&format!("{} has {} bytes and is shown in part{alone}", quote(&place.path), below.len()));
    }
    Ok(())
}

/// Writes as much of a value as fits, going on with the first of what is in it where nothing does. What was written last,
/// the place of which is `place` then.
fn innermost<'a>(view: &View, page: &mut Page, raw: &'a str, place: &mut Place) -> Result<&'a str, String> {
    let of_row = View { fields: view.fields.clone(), ..View::default() };
    let nothing = View::default();
    let (mut raw, mut view) = (raw, view);
    loop {
        let next = match raw.bytes().next() {
            // Deeper than anyone can ask: its JSON is a text.
            Some(b'[' | b'{') if place.depth >= MAX_DEPTH => None,
            Some(b'[') => match rows::list(view, page, raw, place)? {
                None => return Ok(raw),
                Some((at, row)) => Some((at.to_string(), row, &of_row)),
            },
            Some(b'{') => match object(view, page, raw, place) {
                None => return Ok(raw),
                Some((name, member)) => Some((name.into_owned(), member, &nothing)),
            },
            Some(first) if first != b'"' && raw.len() <= page.left() => {
                page.text.push_str(raw);
                return Ok(raw);
            }
            _ => None,
        };
        let Some((step, below, asked)) = next else {
            text(view, page, raw, place);
            return Ok(raw);
        };
        place.step(&step);
        (raw, view) = (below, asked);
    }
}

/// Writes the members of the view's page that fit, in their order, and notes those that don't. Where none fits: the first
/// of them, to be shown in part behind its key, which is written.
fn object<'a>(view: &View, page: &mut Page, object: &'a str, place: &Place) -> Option<(Cow<'a, str>, &'a str)> {
    page.open("{", '}');
    let (mut of, mut shown, mut left, mut unnamed) = (0, 0, Vec::new(), (0, 0));
    let mut large: Option<(Cow<'a, str>, Cow<'a, str>, &'a str)> = None;
    let wanted = view.offset..view.offset.saturating_add(view.limit);
    let mut member = |key: Cow<'a, str>, name: Cow<'a, str>, value: &'a str| {
        let at = of;
        of += 1;
        if !wanted.contains(&at) {
            return;
        }
        if key.len() + 1 + value.len() + usize::from(shown > 0) <= page.left() {
            page.text.push_str(if shown == 0 { "" } else { "," });
            page.text.push_str(&key);
            page.text.push(':');
            page.text.push_str(value);
            shown += 1;
        } else if large.is_none() && shown == 0 && key.len() <= MAX_KEY {
            large = Some((key, name, value));
        } else if left.len() < NAMED && key.len() <= MAX_KEY {
            left.push((name, value.len()));
        } else {
            unnamed = if unnamed.0 == 0 { (1, at) } else { (unnamed.0 + 1, unnamed.1) };
        }
    };
    match &view.fields {
        None => {
            walk(object, &mut |key, value| {
                member(Cow::Borrowed(key), decoded(key), value);
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
        page.part(&Part { unit: "members", offset: wanted.start, shown: page_of, of, size: "", cut: false }, place);
    }
    left_out(page, place, &left, unnamed);
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
fn left_out(page: &mut Page, place: &Place, left: &[(Cow<'_, str>, usize)], (more, from): (usize, usize)) {
    let mut note = String::new();
    for (n, (name, size)) in left.iter().enumerate() {
        note.push_str(if n == 0 { "left out for want of room: " } else { ", " });
        push_name(&mut note, name);
        // Writing into a String can't fail.
        let _ = write!(note, " ({size} bytes)");
    }
    if let Some((name, _)) = left.first() {
        let _ = write!(note, ": {} gives one", place.fields(name));
    }
    if more > 0 {
        let and = if note.is_empty() { "left out for want of room: " } else { ", and " };
        let _ = write!(note, "{and}{more} more members: {} shows what fits from there on", place.from(from));
    }
    page.note(&note);
}

/// Bytes that a character takes in a JSON string, as serde_json writes it.
fn width(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..'\u{20}' => 6,
        c => c.len_utf8(),
    }
}

/// Writes a part of a text as a JSON string: of a text with line breaks so many lines, of one without, or with a line of
/// great length, so many characters. The unit depends on the text and the cap alone, so that parts add up.
fn text(view: &View, page: &mut Page, raw: &str, place: &Place) {
    let text = decoded(raw);
    let mut lines = text.split_inclusive('\n');
    let longest = (page.cap() / 4).max(80);
    let by_line = text.contains('\n') && lines.all(|line| line.chars().map(width).sum::<usize>() <= longest);
    let unit = if by_line { "lines" } else { "characters" };
    let mut room = page.left().saturating_sub(2);
    let (mut of, mut shown, mut cut) = (0, 0, false);
    let (mut start, mut end) = (None, 0);
    let last = view.offset.saturating_add(view.limit);
    let mut take = |at: usize, len: usize, width: usize| {
        let n = of;
        of += 1;
        if n < view.offset || n >= last || cut {
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
            take(at, line.len(), line.chars().map(width).sum());
            at += line.len();
        }
    } else {
        text.char_indices().for_each(|(at, c)| take(at, c.len_utf8(), width(c)));
    }
    let piece = text.get(start.unwrap_or(end)..end).unwrap_or_default();
    if shown < of {
        let size = format!(", {} of {} bytes of {}", piece.len(), text.len(), kind(raw));
        page.part(&Part { unit, offset: view.offset, shown, of, size: &size, cut }, place);
    }
    page.text.push_str(&serde_json::Value::from(piece).to_string());
}
