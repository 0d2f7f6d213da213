//! Proxmox's own words: tamed, so that they can be shown, and what to do where they are terse.

/// What to do about a failure that Proxmox words tersely.
pub(in crate::pve) fn find_hint(status: u16, said: &str) -> &'static str {
    match status {
        300..=399 => "A redirect is not followed: check the address in clusters.json",
        400 => "Correct the parameters and call again",
        404 | 501 => {
            "The node has no such operation: its version may lack it, or what it belongs to is not installed. search_api \
             finds others"
        }
        503 => "The node is overloaded or restarting: try again in a moment",
        595 => "The node asked can't reach the node this concerns: that one is down or cut off from it",
        596 => {
            "The connection from the node asked to the node this concerns broke, or there is no node of that name: \
             names are case-sensitive, GET /nodes lists them"
        }
        597 | 599 => "The connection from the node asked to the node this concerns broke: try again, or ask that node",
        _ if said.starts_with("hostname lookup") => "There is no node of that name: GET /nodes lists them",
        _ if said.starts_with("Configuration file") && said.ends_with("does not exist") => {
            "There is no such guest on that node: GET /cluster/resources?type=vm shows where each one is"
        }
        _ if said.starts_with("checksum mismatch") => {
            "Somebody changed it meanwhile: read it again and use the new `digest`"
        }
        _ => "",
    }
}

/// A stranger's text on one line: lines joined with `; `, control characters as spaces, cut after `max` characters.
pub(in crate::pve) fn to_one_line(text: &str, max: usize) -> String {
    let mut out = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !out.is_empty() {
            out.push_str("; ");
        }
        out.extend(line.chars().map(|c| if c.is_control() { ' ' } else { c }));
        // Checked once a line and in bytes: a bound on the work, not the cut itself.
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
