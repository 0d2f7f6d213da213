//! A list of rows that is larger than an answer may be: the rows received so far are reduced to the members that their
//! reader needs. So the list of 50,000 guests is read within the limit.

use crate::base::json_scan::{JsonScanner, skip_whitespace, unquote};
use crate::base::word_scan::append;

/// Returns whether the reader of a list needs a member, by its key and its raw value.
pub type KeepMember = fn(&str, &str) -> bool;

/// Tokens at the start of the body of a list.
const OPEN: [&str; 4] = ["{", "\"data\"", ":", "["];

/// The reduction of one body while it arrives.
pub(in crate::pve) struct RowCompactor {
    keep: KeepMember,
    /// The position of the first row, if the body is a list.
    first: Option<usize>,
    /// The bytes at the start of the body that are reduced.
    done: usize,
}

impl RowCompactor {
    pub(in crate::pve) fn new(keep: KeepMember) -> Self {
        Self { keep, first: None, done: 0 }
    }

    /// Reduces the rows that are complete. Any other text stays for the reader of the list, which rejects it.
    pub(in crate::pve) fn compact(&mut self, body: &mut Vec<u8>) {
        let first = match self.first {
            Some(first) => first,
            None => {
                let Some(first) = find_first_row(body) else { return };
                (self.first, self.done) = (Some(first), first);
                first
            }
        };
        let new = &body[self.done..];
        let text = str::from_utf8(new).unwrap_or_else(|error| {
            str::from_utf8(&new[..error.valid_up_to()]).expect("the text is valid up to there")
        });
        let mut reduced = Vec::with_capacity(text.len() / 2);
        let mut read = 0;
        let mut scan = JsonScanner::new(text);
        loop {
            // The first row of the list has no comma before it.
            let has_comma = scan.consume(b',');
            let start = reduced.len();
            append(&mut reduced, if has_comma { b",{" } else { b"{" });
            let mut is_first = true;
            let row = scan.next_object(&mut |key, value| {
                if (self.keep)(&unquote(key), value) {
                    append(&mut reduced, if is_first { b"" } else { b"," });
                    [key, ":", value].iter().for_each(|part| append(&mut reduced, part.as_bytes()));
                    is_first = false;
                }
            });
            if row.is_none_or(|row| !row.starts_with('{') || has_comma == (self.done + read == first)) {
                reduced.truncate(start);
                break;
            }
            reduced.push(b'}');
            read = text.len() - scan.remaining_bytes();
        }
        let rest = body.split_off(self.done + read);
        body.truncate(self.done);
        body.extend_from_slice(&reduced);
        self.done = body.len();
        body.extend_from_slice(&rest);
    }
}

/// Returns the position after the start of a list.
fn find_first_row(body: &[u8]) -> Option<usize> {
    OPEN.iter().try_fold(0, |at, token| {
        let at = skip_whitespace(body, at);
        body.get(at..)?.starts_with(token.as_bytes()).then_some(at + token.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact_in_pieces(body: &str, piece: usize) -> String {
        let mut compactor = RowCompactor::new(|key, _| key == "id" || key == "name");
        let mut received = Vec::new();
        for piece in body.as_bytes().chunks(piece) {
            received.extend_from_slice(piece);
            compactor.compact(&mut received);
        }
        String::from_utf8(received).unwrap()
    }

    #[test]
    fn rows_are_reduced_wherever_the_body_is_cut() {
        let body = r#"{"data":[{"id":"qemu/1","cpu":0.5,"name":"a\"},{ü"} , {"netin":7} ,{"n\u0061me":"b","x":[{}]}]}"#;
        let reduced = r#"{"data":[{"id":"qemu/1","name":"a\"},{ü"},{},{"n\u0061me":"b"}]}"#;
        for piece in 1..body.len() {
            assert_eq!(compact_in_pieces(body, piece), reduced, "{piece}");
        }
        // Proxies and other writers of JSON add blanks.
        for start in ["{ \"data\": [ ", "\n{\"data\" :["] {
            for piece in [1, 3, 99] {
                let spaced = format!("{start}{}", &body[9..]);
                assert_eq!(
                    compact_in_pieces(&spaced, piece),
                    format!("{}{}", start.trim_end(), &reduced[9..]),
                    "{start}"
                );
            }
        }
    }

    #[test]
    fn any_other_body_stays_as_it_is() {
        for body in [
            r#"{"total":1,"data":[{"x":1}]}"#,
            r#"{"data":[7,{"x":1}]}"#,
            r#"{"data":[,{"x":1}]}"#,
            r#"{"data":{"x":1}}"#,
            "<html>",
        ] {
            assert_eq!(compact_in_pieces(body, 3), body);
        }
        assert_eq!(compact_in_pieces(r#"{"data":[{"x":1}{"x":2}]}"#, 99), r#"{"data":[{}{"x":2}]}"#);
    }
}
