//! Untrusted text, made fit for display.

/// Returns `text` on one line: joins lines with `; `, replaces control characters by spaces, cuts after `max`
/// characters.
pub(in crate::pve) fn to_one_line(text: &str, max: usize) -> String {
    let mut out = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !out.is_empty() {
            out.push_str("; ");
        }
        out.extend(line.chars().take(max.saturating_add(1)).map(|c| if c.is_control() { ' ' } else { c }));
        // Checked per line and in bytes: a bound on the work, not the cut itself.
        if out.len() > max.saturating_mul(4) {
            break;
        }
    }
    if let Some((cut, _)) = out.char_indices().nth(max) {
        out.truncate(cut);
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_becomes_one_plain_line() {
        assert_eq!(to_one_line("a\r\n  b\tc\u{1b}[0m\n\n", 50), "a; b c [0m");
        assert_eq!(to_one_line("äöü", 2), "äö…");
        assert!(to_one_line(&"x\n".repeat(100_000), 100).chars().count() <= 101);
    }
}
