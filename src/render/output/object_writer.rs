//! An object as lines: a key and its value in a form for readers. What no reader needs is left out with a word.

use crate::render::cell::{MAX_CELL_CHARS, decode_line, push_single_line, strip_quotes};
use crate::render::output::json_path::{holds_objects, pick, unquote, walk};
use crate::render::output::key_format::KeyFormat;
use crate::render::output::key_order::compare_keys;
use crate::render::output::names::{push_name, push_names};
use crate::render::output::options::OutputOptions;
use crate::render::output::page_writer::{AnswerPath, PageWriter, ResultPart};
use std::borrow::Cow;
use std::fmt::Write;
use std::net::Ipv6Addr;

/// The most members that are written of an object within an object.
const MAX_NESTED: usize = 60;

/// The deepest level that is written with formats. Deeper values are JSON.
const MAX_LEVEL: usize = 6;

/// The length from which a value is not written again for another member, such as the privileges on a path.
const MIN_SHARED_BYTES: usize = 100;

/// The most values that later members are compared with.
const MAX_SHARED: usize = 32;

/// The most bytes of a text of several lines.
const MAX_TEXT_BYTES: usize = 20_000;

/// The most empty lists that are named.
const MAX_EMPTY_NAMES: usize = 8;

/// Options that Proxmox takes as a text, and sends as an object in some answers.
const PROPERTY_STRINGS: [&str; 9] =
    ["prune-backups", "fleecing", "performance", "tag-style", "migration", "crs", "bwlimit", "next-id", "notify"];

/// The members that few readers need. (PVE: the identity of a VM's board, and what guards a change, which the server
/// reads by itself.)
const RARELY_NEEDED: [&str; 3] = ["digest", "smbios1", "vmgenid"];

/// Those of the status of a node. (PVE: `kversion` is the text of `current-kernel`, and `idle` is always 0.)
const RARELY_NEEDED_OF_NODE: [&str; 3] = ["boot-info", "current-kernel", "idle"];

/// The members that only the status of a node has together.
const NODE_STATUS: [&str; 3] = ["kversion", "loadavg", "rootfs"];

/// The most members of an object.
const MAX_MEMBERS: usize = 10_000;

/// One member.
struct ObjectMember<'a> {
    name: String,
    raw: &'a str,
}

/// Writes the members of the page, one per line, except for those in `beside`, which have tables of their own.
pub fn write_object(
    options: &OutputOptions,
    page: &mut PageWriter,
    object: &str,
    beside: &[&str],
    answer_path: &AnswerPath,
) {
    let (mut members, mut empty, mut empty_lists, mut left_out) = (Vec::new(), 0, Vec::new(), Vec::new());
    match &options.fields {
        None => {
            walk(object, &mut |key, raw| {
                if raw == "[]" || raw == "{}" {
                    empty_lists.push(unquote(key));
                } else if is_empty(raw) {
                    empty += 1;
                } else {
                    members.push(ObjectMember { name: unquote(key).into_owned(), raw });
                }
                members.len() < MAX_MEMBERS
            });
            members.retain(|member| !beside.contains(&member.name.as_str()));
            left_out = find_rarely_needed(&|name| members.iter().any(|member| member.name == name));
            members.retain(|member| !left_out.contains(&member.name.as_str()));
            members.sort_by(|a, b| compare_keys(&a.name, &b.name));
        }
        Some(fields) => {
            let mut found = Vec::new();
            pick(object, fields, &mut found);
            let found = fields.iter().zip(found).filter_map(|(field, raw)| Some((field, raw?)));
            members.extend(found.map(|(field, raw)| ObjectMember { name: field.clone(), raw }));
        }
    }
    let total = members.len();
    let (mut count, mut is_full, mut cut) = (0, false, Vec::new());
    // The long values that are written, which later members may have too.
    let mut long: Vec<&ObjectMember<'_>> = Vec::new();
    // The members that are like a long one, by its name.
    let mut same: Vec<(&str, Vec<&str>)> = Vec::new();
    for member in members.iter().skip(options.offset).take(options.limit) {
        if let Some(first) = long.iter().find(|first| first.raw == member.raw) {
            match same.iter_mut().find(|(name, _)| *name == first.name) {
                Some((_, names)) => names.push(&member.name),
                None => same.push((&first.name, vec![&member.name])),
            }
            count += 1;
            continue;
        }
        let before = page.text.len();
        push_key(&mut page.text, &member.name);
        page.text.push_str(": ");
        let is_brief = options.is_one_of_many && options.fields.is_none() && member.name == "description";
        if is_brief && push_first_line(&mut page.text, member.raw) {
            cut.push(member.name.as_str());
        } else if let Some(is_whole) = push_lines(&mut page.text, member.raw) {
            if !is_whole {
                cut.push(member.name.as_str());
            }
        } else if !push_value(&mut page.text, &member.name, member.raw, options.utc_offset, 0) {
            cut.push(member.name.as_str());
        } else if member.raw.len() >= MIN_SHARED_BYTES && long.len() < MAX_SHARED {
            long.push(member);
        }
        page.text.push('\n');
        if page.text.len() > page.cap() {
            is_full = true;
            if count > 0 {
                page.text.truncate(before);
                break;
            }
            let end = page.text.floor_char_boundary(page.cap().max(before + 1));
            page.text.truncate(end);
        }
        count += 1;
        if is_full {
            break;
        }
    }
    for (first, names) in same {
        page.text.push_str("the same as ");
        push_key(&mut page.text, first);
        page.text.push_str(": ");
        for (at, name) in names.into_iter().enumerate() {
            page.text.push_str(if at == 0 { "" } else { ", " });
            push_key(&mut page.text, name);
        }
        page.text.push('\n');
    }
    if page.text.is_empty() && beside.is_empty() {
        page.text.push_str("(no values)\n");
    }
    if count < total {
        let part = ResultPart { unit: "members", offset: options.offset, count, total, size: "", truncated: is_full };
        page.note_part(&part, answer_path);
    }
    if !cut.is_empty() {
        let mut note = String::from("shortened: ");
        for (at, name) in cut.iter().take(10).enumerate() {
            note.push_str(if at == 0 { "" } else { ", " });
            push_name(&mut note, name);
        }
        page.add_note(&format!("{note} (format=json has all)"));
    }
    if !left_out.is_empty() {
        page.add_note(&format!("not shown: {}", left_out.join(", ")));
    }
    if !empty_lists.is_empty() {
        let mut note = String::from("empty: ");
        push_names(&mut note, empty_lists.iter().map(AsRef::as_ref), MAX_EMPTY_NAMES);
        page.add_note(&note);
    }
    if empty > 0 && count == 0 {
        page.add_note(&format!("{empty} empty members left out"));
    }
}

/// Returns the members of an object that few readers need. `has` tells whether it has a member.
pub fn find_rarely_needed(has: &dyn Fn(&str) -> bool) -> Vec<&'static str> {
    let of_node = if NODE_STATUS.iter().all(|name| has(name)) { &RARELY_NEEDED_OF_NODE[..] } else { &[] };
    RARELY_NEEDED.iter().chain(of_node).copied().filter(|name| has(name)).collect()
}

/// The most lists of an object that are looked for.
const MAX_LISTS: usize = 8;

/// Returns the only member with a value, if it is a list of objects, and the names of empty lists beside it.
pub fn find_only_list(object: &str) -> Option<(String, &str, Vec<String>)> {
    let (mut members, mut empty) = (Vec::new(), Vec::new());
    walk(object, &mut |key, raw| {
        if is_empty_list(raw) {
            empty.push(unquote(key).into_owned());
        } else if !is_empty(raw) {
            members.push((key, raw));
        }
        members.len() < 2
    });
    match members.as_slice() {
        [(key, list)] if list.starts_with('[') => {
            let mut has_objects = true;
            walk(list, &mut |_, row| {
                has_objects &= row.starts_with('{');
                has_objects
            });
            has_objects.then(|| (unquote(key).into_owned(), *list, empty))
        }
        _ => None,
    }
}

/// Returns the members that are lists of objects.
pub fn find_lists(object: &str) -> Vec<(String, &str)> {
    let mut lists = Vec::new();
    walk(object, &mut |key, raw| {
        if key.starts_with('"') && holds_objects(raw) {
            lists.push((unquote(key).into_owned(), raw));
        }
        lists.len() < MAX_LISTS
    });
    lists
}

/// Returns the members that are lists of at least two objects without lists or objects, which are read best as tables.
pub fn find_flat_lists(object: &str) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    walk(object, &mut |key, list| {
        let (mut rows, mut is_flat) = (0, list.starts_with('['));
        if is_flat {
            walk(list, &mut |_, row| {
                rows += 1;
                is_flat &= row.starts_with('{');
                walk(row, &mut |_, raw| {
                    is_flat &= is_empty(raw) || !raw.starts_with(['{', '[']);
                    is_flat
                });
                is_flat
            });
        }
        if is_flat && rows >= 2 {
            found.push((unquote(key).into_owned(), list));
        }
        found.len() < MAX_NESTED
    });
    found
}

fn push_key(text: &mut String, name: &str) {
    push_single_line(text, strip_quotes(&serde_json::Value::from(name).to_string()));
}

/// Returns whether a value says nothing.
pub fn is_empty(raw: &str) -> bool {
    matches!(raw, "null" | "[]" | "{}") || raw.starts_with('"') && strip_quotes(raw).bytes().all(|byte| byte == b' ')
}

fn is_empty_list(raw: &str) -> bool {
    matches!(raw, "[]" | "{}")
}

/// Appends the first line of a text of more than two, and their number. Returns false, and appends nothing, for any other
/// value.
fn push_first_line(text: &mut String, raw: &str) -> bool {
    if !raw.starts_with('"') || !raw.contains("\\n") {
        return false;
    }
    let value = unquote(raw);
    let mut lines = value.lines().filter(|line| !line.trim().is_empty());
    let (Some(first), more @ 2..) = (lines.next(), lines.count()) else { return false };
    push_single_line(text, first);
    let _ = write!(text, " … ({} lines)", more + 1);
    true
}

/// Appends a text of several lines below its key. Returns false if a part was left out, and `None` for any other value.
fn push_lines(text: &mut String, raw: &str) -> Option<bool> {
    if !raw.starts_with('"') || !raw.contains("\\n") || is_pem(raw) {
        return None;
    }
    let value = unquote(raw);
    let lines = || value.trim_end().lines();
    // One line stays beside its key.
    lines().nth(1)?;
    text.truncate(text.trim_end().len());
    let end = text.len() + MAX_TEXT_BYTES;
    for line in lines() {
        if text.len() + line.len() > end {
            return Some(false);
        }
        text.push_str("\n  ");
        text.extend(line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }));
    }
    Some(true)
}

/// Appends a value on one line. Returns false if a part was left out.
pub fn push_value(text: &mut String, key: &str, raw: &str, utc_offset: i32, level: usize) -> bool {
    match raw.bytes().next() {
        _ if is_empty_list(raw) => {
            text.push_str("none");
            true
        }
        Some(b'{') if level < MAX_LEVEL => push_nested(text, key, raw, utc_offset, level),
        Some(b'[') if level < MAX_LEVEL => push_items(text, key, raw, utc_offset, level),
        Some(b'"') if is_pem(raw) => {
            let _ = write!(text, "(PEM, {} bytes)", raw.len() - 2);
            false
        }
        Some(b'"') if is_cpu_flags(key, raw) => {
            let _ = write!(text, "({} CPU flags)", strip_quotes(raw).split(' ').count());
            false
        }
        _ => {
            let shown = KeyFormat::for_key(key).format(key, raw, utc_offset);
            push_single_line(text, if shown.is_empty() { "-" } else { &shown })
        }
    }
}

pub fn is_pem(raw: &str) -> bool {
    raw.starts_with("\"-----BEGIN ")
}

fn is_cpu_flags(key: &str, raw: &str) -> bool {
    matches!(key.rsplit('.').next(), Some("flags")) && raw.len() > 60
}

/// Appends the members of an object within an object: `used 28GiB, total 128GiB`.
fn push_nested(text: &mut String, key: &str, raw: &str, utc_offset: i32, level: usize) -> bool {
    let (mut members, mut is_shortened) = (Vec::new(), false);
    walk(raw, &mut |key, raw| {
        let name = unquote(key);
        // (PVE: the digest of a file of package sources is a list of 32 bytes, and the clock of the kernel is a constant.)
        match name == "digest" && raw.starts_with('[') || name == "user_hz" {
            true => is_shortened = true,
            false if !is_empty(raw) => members.push(ObjectMember { name: name.into_owned(), raw }),
            false => {}
        }
        members.len() <= MAX_NESTED
    });
    if options_are_privileges(key) {
        return push_privileges(text, &members);
    }
    members.sort_by(|a, b| compare_keys(&a.name, &b.name));
    if PROPERTY_STRINGS.contains(&key) {
        let pairs = members.iter().map(|member| format!("{}={}", member.name, decode_line(member.raw)));
        return push_single_line(text, &pairs.collect::<Vec<_>>().join(","));
    }
    let mut is_whole = members.len() <= MAX_NESTED && !is_shortened;
    if level > 0 {
        text.push('{');
    }
    for (at, member) in members.iter().take(MAX_NESTED).enumerate() {
        text.push_str(if at == 0 { "" } else { ", " });
        push_key(text, &member.name);
        text.push(' ');
        let name = if key == "ksm" { "ksm.shared" } else { &member.name };
        is_whole &= push_value(text, name, member.raw, utc_offset, level + 1);
    }
    if level > 0 {
        text.push('}');
    }
    is_whole
}

/// Returns whether a key is a path of the access control list, so that its members are privileges.
fn options_are_privileges(key: &str) -> bool {
    key.starts_with('/')
}

/// Appends the privileges on a path: first those that hold below it too.
fn push_privileges(text: &mut String, members: &[ObjectMember<'_>]) -> bool {
    let is_passed_on = |member: &&ObjectMember<'_>| member.raw != "0" && member.raw != "\"0\"";
    let (below, here): (Vec<&ObjectMember<'_>>, Vec<&ObjectMember<'_>>) = members.iter().partition(is_passed_on);
    for (at, member) in below.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { ", " });
        push_key(text, &member.name);
    }
    for (at, member) in here.iter().enumerate() {
        let start = if below.is_empty() { "only here, not below: " } else { "; only here, not below: " };
        text.push_str(if at == 0 { start } else { ", " });
        push_key(text, &member.name);
    }
    true
}

/// Appends the items of a list within an object.
fn push_items(text: &mut String, key: &str, raw: &str, utc_offset: i32, level: usize) -> bool {
    let (mut count, mut is_whole) = (0, true);
    walk(raw, &mut |_, item| {
        if count == MAX_NESTED {
            text.push_str(", …");
            is_whole = false;
            return false;
        }
        let separator = if item.starts_with(['{', '[']) { "; " } else { ", " };
        text.push_str(if count == 0 { "" } else { separator });
        count += 1;
        is_whole &= match find_pair(item) {
            Some((name, value)) => {
                let is_whole = push_single_line(text, &name) & push_single_line(text, " = ");
                is_whole & push_single_line(text, &value)
            }
            None => match find_long_address(key, item) {
                Some(address) => push_single_line(text, &address.to_string()),
                None => push_value(text, key, item, utc_offset, level + 1),
            },
        };
        true
    });
    is_whole
}

/// Returns an address of a certificate. (PVE: those of IPv6 have all of their zeros.)
fn find_long_address(key: &str, item: &str) -> Option<Ipv6Addr> {
    if key == "san" { strip_quotes(item).parse().ok() } else { None }
}

/// Returns the name and the value of a list of two scalars, the first a text. (PVE: the raw keys of a container's config,
/// `"lxc": [["lxc.cap.drop", ""], …]`.)
fn find_pair(item: &str) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let mut parts = Vec::new();
    let is_list = item.starts_with('[')
        && walk(item, &mut |_, part| {
            parts.push(part);
            parts.len() <= 2
        });
    match parts.as_slice() {
        [name, value] if is_list && name.starts_with('"') && !value.starts_with(['[', '{']) => {
            Some((decode_line(name), decode_line(value)))
        }
        _ => None,
    }
}

/// Returns a cell of a table in a form for readers.
pub fn cell(key: &str, raw: &str, utc_offset: i32) -> String {
    let mut text = String::new();
    if raw.starts_with(['{', '[']) && raw.len() > 4 * MAX_CELL_CHARS {
        text.push_str(raw);
    } else {
        push_value(&mut text, key, raw, utc_offset, 0);
    }
    text
}
