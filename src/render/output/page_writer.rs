//! The text of an answer in progress, its cap and its notes.

use crate::render::output::names::push_name;
use std::fmt::Write;

/// The text of an answer.
#[derive(Debug)]
pub struct RenderedResult {
    /// JSON or a table.
    pub text: String,
    /// The parts that were left out, with the arguments that show them. It is separate, so that the text stays JSON.
    pub note: Option<String>,
}

/// A text under a cap. Open brackets are closed at the end, so that cut JSON stays JSON.
#[derive(Default)]
pub struct PageWriter {
    pub text: String,
    /// The closing brackets to write, innermost last.
    closers: String,
    /// Bytes of the whole text.
    cap: usize,
    /// Shown next to the text.
    notes: String,
}

/// A place in an answer.
#[derive(Clone, Default)]
pub struct AnswerPath {
    /// The dotted path for `fields`, empty for the whole answer.
    pub path: String,
    /// The number of its steps.
    pub depth: usize,
}

impl AnswerPath {
    /// Adds a step.
    pub fn descend(&mut self, name: &str) {
        self.path.push_str(if self.path.is_empty() { "" } else { "." });
        self.path.push_str(name);
        self.depth += 1;
    }

    /// Returns the arguments that show this place from `offset` on.
    pub fn arguments_from(&self, offset: usize) -> String {
        let mut text = self.fields_argument("");
        let space = if text.is_empty() { "" } else { " " };
        // Writing into a String cannot fail.
        let _ = write!(text, "{space}offset={offset}");
        text
    }

    /// Returns the argument that shows a member of this place.
    pub fn fields_argument(&self, member: &str) -> String {
        let mut text = String::new();
        let dot = if self.path.is_empty() || member.is_empty() { "" } else { "." };
        if !self.path.is_empty() || !member.is_empty() {
            text.push_str("fields=");
            push_name(&mut text, &format!("{}{dot}{member}", self.path));
        }
        text
    }
}

impl PageWriter {
    pub fn new(cap: usize) -> Self {
        Self { cap, ..Self::default() }
    }

    pub fn cap(&self) -> usize {
        self.cap
    }

    /// Returns the number of bytes that still fit.
    pub fn remaining(&self) -> usize {
        self.cap.saturating_sub(self.text.len() + self.closers.len())
    }

    /// Writes `opening`. `closer` is written at the end, or by [`PageWriter::close`].
    pub fn open(&mut self, opening: &str, closer: char) {
        self.text.push_str(opening);
        self.closers.push(closer);
    }

    /// Closes the innermost bracket.
    pub fn close(&mut self) {
        self.text.extend(self.closers.pop());
    }

    /// Adds a note, unless it is empty.
    pub fn add_note(&mut self, note: &str) {
        if !note.is_empty() {
            self.notes.push_str(if self.notes.is_empty() { "" } else { "; " });
            self.notes.push_str(note);
        }
    }

    /// Notes which part is shown, and the arguments that show the next one.
    pub fn note_part(&mut self, part: &ResultPart<'_>, answer_path: &AnswerPath) {
        let ResultPart { unit, offset, count, total, size, truncated } = *part;
        let mut note = String::new();
        if count == 0 && total > 0 {
            let _ = write!(note, "none of {total} {unit} shown");
        } else if count < total {
            let _ = write!(note, "{unit} {}..{} of {total} shown", offset + 1, offset + count);
        }
        note.push_str(size);
        if truncated {
            let _ = write!(note, " (cut at {} bytes)", self.cap);
        }
        let next = offset.saturating_add(count);
        if next < total {
            let _ = write!(note, ": {} gives the next", answer_path.arguments_from(next));
        }
        self.add_note(&note);
    }

    /// Returns the text and the notes.
    pub fn finish(mut self) -> (String, Option<String>) {
        self.text.extend(self.closers.chars().rev());
        (self.text, Some(self.notes).filter(|notes| !notes.is_empty()))
    }
}

/// The shown part of a list, an object or a text, for [`PageWriter::note_part`].
pub struct ResultPart<'a> {
    /// `rows`, `members`, `lines` or `characters`.
    pub unit: &'a str,
    /// The number of skipped units.
    pub offset: usize,
    /// The number of shown units.
    pub count: usize,
    /// The number of all units.
    pub total: usize,
    /// The size of the part for the note, or empty.
    pub size: &'a str,
    /// The part ends at the cap.
    pub truncated: bool,
}
