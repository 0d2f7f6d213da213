//! The text that is being made, its cap, and what is to be said about it.

use crate::render::output::keys::push_name;
use std::fmt::Write;

/// A text under a cap. What was opened is closed at the end, so that cut JSON is JSON still.
#[derive(Default)]
pub struct PageWriter {
    /// So far.
    pub text: String,
    /// What is still to be closed, innermost last.
    closers: String,
    /// Bytes of the whole text.
    cap: usize,
    /// For the reader, beside the text.
    notes: String,
}

/// A place in an answer: the dotted path that `fields` takes to it (empty: the answer as a whole), and how deep it is.
#[derive(Clone, Default)]
pub struct AnswerPath {
    /// The path.
    pub path: String,
    /// Its steps.
    pub depth: usize,
}

impl AnswerPath {
    /// Goes one step further.
    pub fn descend(&mut self, name: &str) {
        self.path.push_str(if self.path.is_empty() { "" } else { "." });
        self.path.push_str(name);
        self.depth += 1;
    }

    /// The arguments that show what is here from `offset` on.
    pub fn arguments_from(&self, offset: usize) -> String {
        let mut text = self.fields_argument("");
        let space = if text.is_empty() { "" } else { " " };
        // Writing into a String can't fail.
        let _ = write!(text, "{space}offset={offset}");
        text
    }

    /// The argument that shows a member of what is here.
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
    /// An empty text.
    pub fn new(cap: usize) -> Self {
        Self { cap, ..Self::default() }
    }

    /// Bytes of the whole text.
    pub fn cap(&self) -> usize {
        self.cap
    }

    /// How many more bytes there is room for.
    pub fn remaining(&self) -> usize {
        self.cap.saturating_sub(self.text.len() + self.closers.len())
    }

    /// Writes `opening`; `closer` comes at the end, or at [`PageWriter::close`].
    pub fn open(&mut self, opening: &str, closer: char) {
        self.text.push_str(opening);
        self.closers.push(closer);
    }

    /// Closes what was opened last.
    pub fn close(&mut self) {
        self.text.extend(self.closers.pop());
    }

    /// Says something beside the text.
    pub fn add_note(&mut self, note: &str) {
        if !note.is_empty() {
            self.notes.push_str(if self.notes.is_empty() { "" } else { "; " });
            self.notes.push_str(note);
        }
    }

    /// Says which part of how many is shown, and how to get the next.
    pub fn note_part(&mut self, part: &ResultPart<'_>, answer_path: &AnswerPath) {
        let ResultPart { unit, offset, count: shown, total: of, truncated: cut, .. } = *part;
        let mut note = String::new();
        if shown == 0 && of > 0 {
            let _ = write!(note, "none of {of} {unit} shown");
        } else if shown < of {
            let _ = write!(note, "{unit} {}..{} of {of} shown", offset + 1, offset + shown);
        }
        note.push_str(part.size);
        if cut {
            let _ = write!(note, " (cut at {} bytes)", self.cap);
        }
        let next = offset.saturating_add(shown);
        if next < of {
            let _ = write!(note, ": {} gives the next", answer_path.arguments_from(next));
        }
        self.add_note(&note);
    }

    /// The text, and what is to be said about it.
    pub fn finish(mut self) -> (String, Option<String>) {
        self.text.extend(self.closers.chars().rev());
        (self.text, Some(self.notes).filter(|notes| !notes.is_empty()))
    }
}

/// A part of something, for [`PageWriter::note_part`].
pub struct ResultPart<'a> {
    /// What is counted: rows, members, lines, characters.
    pub unit: &'a str,
    /// How many were skipped.
    pub offset: usize,
    /// How many are shown.
    pub count: usize,
    /// How many there are.
    pub total: usize,
    /// What the part is in bytes, if that is worth a word.
    pub size: &'a str,
    /// Whether it ends where it does for want of room.
    pub truncated: bool,
}
