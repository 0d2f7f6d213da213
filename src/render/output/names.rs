//! Keys in texts for a model, in quotes if they have other characters than a name.

/// Pushes a key in the form that the argument `fields` takes: bare, or as a JSON string.
pub fn push_name(text: &mut String, name: &str) {
    let bare = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '+');
    if !name.is_empty() && name.chars().all(bare) {
        text.push_str(name);
    } else {
        text.push_str(&serde_json::Value::from(name).to_string());
    }
}

/// Pushes at most `max` names, separated by commas.
pub fn push_names<'n>(text: &mut String, names: impl Iterator<Item = &'n str>, max: usize) {
    for (n, name) in names.enumerate() {
        if n == max {
            text.push_str(", …");
            return;
        }
        text.push_str(if n == 0 { "" } else { ", " });
        if name.len() > 64 { text.push_str(&quote_short(name)) } else { push_name(text, name) }
    }
}

/// Returns the beginning of untrusted input in quotes, for an error or a note.
pub fn quote_short(text: &str) -> String {
    let mut short: String = text.chars().take(64).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    serde_json::Value::from(short).to_string()
}
