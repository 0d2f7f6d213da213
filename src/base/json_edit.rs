//! Changes to single members of JSON text. Everything else of the text, its order and its layout, stays as it is.

use super::json_scan::{unquote, walk};
use serde_json::Value;

/// Indentation of a level of new lines.
const INDENT: &str = "  ";

/// Place of a member in the text of its object.
struct MemberSpan {
    key_start: usize,
    value_start: usize,
    end: usize,
}

/// Returns `text` with the member at `path` set to `value`. Adds objects that are missing on the way. Returns `None` if
/// the text is not JSON, or has another kind of value than an object on the way.
pub fn set_member(text: &str, path: &[&str], value: &Value) -> Option<String> {
    edit(text, path, 1, Some(value))
}

/// Returns `text` without the member at `path`, or unchanged if there is none. Returns `None` if the text is not JSON, or
/// has another kind of value than an object on the way.
pub fn remove_member(text: &str, path: &[&str]) -> Option<String> {
    edit(text, path, 1, None)
}

/// Edits the object that is the whole of `text`, whose members are at `depth`.
fn edit(text: &str, path: &[&str], depth: usize, value: Option<&Value>) -> Option<String> {
    let (name, rest) = path.split_first()?;
    let members = find_members(text)?;
    let found = members.iter().position(|member| unquote(member_key(text, member)) == *name);
    let Some(at) = found else {
        let Some(value) = value else { return Some(text.to_owned()) };
        let new = rest
            .iter()
            .rev()
            .fold(value.clone(), |inner, name| Value::Object([((*name).to_owned(), inner)].into_iter().collect()));
        return Some(insert(text, members.last(), name, &new, depth));
    };
    let member = &members[at];
    match (rest, value) {
        ([], None) => Some(remove(text, &members, at)),
        ([], Some(value)) => Some(splice(text, member, &render(value, depth))),
        _ => Some(splice(text, member, &edit(&text[member.value_start..member.end], rest, depth + 1, value)?)),
    }
}

fn member_key<'a>(text: &'a str, member: &MemberSpan) -> &'a str {
    text[member.key_start..member.value_start].trim_end().trim_end_matches(':').trim_end()
}

/// Returns the members of an object, or `None` for any other text.
fn find_members(text: &str) -> Option<Vec<MemberSpan>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let offset = |part: &str| part.as_ptr().addr() - text.as_ptr().addr();
    let mut members = Vec::new();
    let is_object = walk(text, &mut |key, value| {
        members.push(MemberSpan {
            key_start: offset(key),
            value_start: offset(value),
            end: offset(value) + value.len(),
        });
        true
    });
    is_object.then_some(members)
}

fn splice(text: &str, member: &MemberSpan, value: &str) -> String {
    [&text[..member.value_start], value, &text[member.end..]].concat()
}

fn insert(text: &str, last: Option<&MemberSpan>, name: &str, value: &Value, depth: usize) -> String {
    let indent = INDENT.repeat(depth);
    let member = format!("\n{indent}{}: {}", Value::from(name), render(value, depth));
    match last {
        Some(last) => [&text[..last.end], ",", &member, &text[last.end..]].concat(),
        None => {
            let (open, close) = (text.find('{').map_or(0, |at| at + 1), text.rfind('}').unwrap_or(text.len()));
            [&text[..open], &member, "\n", &INDENT.repeat(depth - 1), &text[close..]].concat()
        }
    }
}

fn remove(text: &str, members: &[MemberSpan], at: usize) -> String {
    let (start, end) = match (at.checked_sub(1), members.get(at + 1)) {
        (Some(before), _) => (members[before].end, members[at].end),
        (None, Some(next)) => (members[at].key_start, next.key_start),
        // The only member.
        (None, None) => {
            return [&text[..=text.find('{').unwrap_or(0)], &text[text.rfind('}').unwrap_or(0)..]].concat();
        }
    };
    [&text[..start], &text[end..]].concat()
}

/// Renders a value whose lines after the first are at `depth`. A list is one line.
fn render(value: &Value, depth: usize) -> String {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let (indent, end) = (INDENT.repeat(depth + 1), INDENT.repeat(depth));
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("\n{indent}{}: {}", Value::from(name.as_str()), render(value, depth + 1)))
                .collect();
            format!("{{{}\n{end}}}", members.join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| render(item, depth)).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn edits_keep_the_rest_of_the_text() {
        let text = "{\n  \"_comment\": \"mine\",\n  \"b\": {\"x\": 1},\n\n  \"a\": [1,  2]\n}\n";
        let set = |path: &[&str], value| set_member(text, path, &value).expect("JSON");
        assert_eq!(set(&["b"], json!(2)), text.replace("{\"x\": 1}", "2"));
        assert_eq!(set(&["b", "x"], json!("y")), text.replace("\"x\": 1", "\"x\": \"y\""));
        assert_eq!(set(&["c"], json!([1, 2])), text.replace("2]\n", "2],\n  \"c\": [1, 2]\n"));
        let nested = "2],\n  \"c\": {\n    \"d\": {\n      \"e\": null\n    }\n  }\n";
        assert_eq!(set(&["c", "d", "e"], json!(null)), text.replace("2]\n", nested));
        let remove = |path: &[&str]| remove_member(text, path).expect("JSON");
        assert_eq!(remove(&["a"]), text.replace(",\n\n  \"a\": [1,  2]", ""));
        assert_eq!(remove(&["_comment"]), text.replace("\"_comment\": \"mine\",\n  ", ""));
        assert_eq!(remove(&["b", "x"]), text.replace("{\"x\": 1}", "{}"));
        assert_eq!(remove(&["none", "x"]), text);
    }

    #[test]
    fn an_empty_object_is_filled() {
        assert_eq!(set_member("{}", &["a"], &json!({})).as_deref(), Some("{\n  \"a\": {}\n}"));
        assert_eq!(set_member(" { } \n", &["a"], &json!(1)).as_deref(), Some(" {\n  \"a\": 1\n} \n"));
        assert_eq!(set_member("{\"a\\u0062\": 1}", &["ab"], &json!(2)).as_deref(), Some("{\"a\\u0062\": 2}"));
    }

    #[test]
    fn a_text_that_is_no_object_is_rejected() {
        for text in ["", "[]", "{", "{} x", "{\"a\": 1,}", "{// c\n}"] {
            assert_eq!(set_member(text, &["b"], &json!(1)), None, "{text}");
        }
        assert_eq!(set_member("{\"a\": 1}", &["a", "b"], &json!(1)), None);
    }
}
