//! How a schema is kept: every text once, every parameter once, every list of parameters once.

use super::{Method, Schema};
use crate::policy::Risk;
use std::collections::HashMap;

/// A text of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Text {
    start: u32,
    len: u32,
}

/// A run of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

/// One operation.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) template: Text,
    pub(super) name: Text,
    pub(super) description: Text,
    pub(super) summary: Text,
    pub(super) reason: Text,
    pub(super) risk: Risk,
    pub(super) privileges: Text,
    pub(super) returns: Text,
    pub(super) parameters: Span,
    pub(super) refuses_tokens: bool,
    pub(super) takes_more: bool,
}

/// One parameter, or one key of a nested format.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Raw {
    pub(super) name: Text,
    pub(super) kind: Text,
    pub(super) description: Text,
    pub(super) default: Text,
    pub(super) minimum: Text,
    pub(super) maximum: Text,
    pub(super) min_length: Text,
    pub(super) max_length: Text,
    pub(super) pattern: Text,
    /// The name of its format, where it has one.
    pub(super) format: Text,
    /// The allowed words, each ended by a line break.
    pub(super) words: Text,
    /// The parameter that must be given with it.
    pub(super) requires: Text,
    /// The key it is another name of.
    pub(super) alias: Text,
    /// The keys of its value (`model=virtio,bridge=vmbr0`), or what the items of a list are like.
    pub(super) nested: Span,
    pub(super) optional: bool,
    pub(super) default_key: bool,
}

/// The parts of a schema.
#[derive(Default)]
pub(super) struct Parts {
    pool: String,
    raw: Vec<Raw>,
    lists: Vec<u32>,
    pub(super) operations: Vec<Operation>,
}

impl Parts {
    pub(super) fn text(&self, text: Text) -> &str {
        self.pool.get(text.start as usize..).and_then(|rest| rest.get(..text.len as usize)).unwrap_or("")
    }

    pub(super) fn all_texts(&self) -> &str {
        &self.pool
    }

    pub(super) fn span<'s>(&'s self, span: Span, schema: &'s Schema) -> impl Iterator<Item = Parameter<'s>> + use<'s> {
        let list = self.lists.get(span.start as usize..).and_then(|rest| rest.get(..span.len as usize));
        let raw = list.unwrap_or_default().iter().filter_map(|&at| self.raw.get(at as usize));
        raw.map(move |raw| Parameter { schema, raw })
    }

    pub(super) fn bytes(&self) -> usize {
        self.pool.capacity()
            + self.raw.capacity() * size_of::<Raw>()
            + self.lists.capacity() * size_of::<u32>()
            + self.operations.capacity() * size_of::<Operation>()
    }
}

/// One parameter of an operation, or one key of a parameter's nested format.
#[derive(Clone, Copy)]
pub struct Parameter<'s> {
    schema: &'s Schema,
    raw: &'s Raw,
}

impl<'s> Parameter<'s> {
    fn text(&self, text: Text) -> &'s str {
        self.schema.text(text)
    }

    /// Its name; `net[n]` for a family of numbered ones.
    pub fn name(&self) -> &'s str {
        self.text(self.raw.name)
    }

    /// `net` of `net[n]`.
    pub fn family(&self) -> Option<&'s str> {
        self.name().strip_suffix("[n]")
    }

    /// `string`, `integer`, `number`, `boolean`, `array`, `object`; empty where the schema says nothing.
    pub fn kind(&self) -> &'s str {
        self.text(self.raw.kind)
    }

    /// The cluster's own words, cut after some lines; empty in the embedded facts.
    pub fn description(&self) -> &'s str {
        self.text(self.raw.description)
    }

    /// Whether it must be given.
    pub fn required(&self) -> bool {
        !self.raw.optional
    }

    /// Whether its value may stand without `key=` (in a nested format).
    pub fn is_default_key(&self) -> bool {
        self.raw.default_key
    }

    /// What holds where it is not given; empty where nothing is said.
    pub fn default(&self) -> &'s str {
        self.text(self.raw.default)
    }

    /// The smallest number, if there is one.
    pub fn minimum(&self) -> &'s str {
        self.text(self.raw.minimum)
    }

    /// The largest number, if there is one.
    pub fn maximum(&self) -> &'s str {
        self.text(self.raw.maximum)
    }

    /// The fewest characters, if there is a bound.
    pub fn min_length(&self) -> &'s str {
        self.text(self.raw.min_length)
    }

    /// The most characters, if there is a bound.
    pub fn max_length(&self) -> &'s str {
        self.text(self.raw.max_length)
    }

    /// A Perl expression that values match.
    pub fn pattern(&self) -> &'s str {
        self.text(self.raw.pattern)
    }

    /// The name of the format (`pve-storage-id`, `pve-vmid-list`), if it has one.
    pub fn format(&self) -> &'s str {
        self.text(self.raw.format)
    }

    /// The words it takes; none where it takes others.
    pub fn words(&self) -> impl Iterator<Item = &'s str> + use<'s> {
        self.text(self.raw.words).lines()
    }

    /// The parameter that must be given with it; empty where there is none.
    pub fn requires(&self) -> &'s str {
        self.text(self.raw.requires)
    }

    /// The key of the same format that it is another name of; empty for others.
    pub fn alias(&self) -> &'s str {
        self.text(self.raw.alias)
    }

    /// The keys of its value where it is a list of `key=value`; for an array, what each item is like.
    pub fn nested(&self) -> impl Iterator<Item = Parameter<'s>> + use<'s> {
        self.schema.parts.span(self.raw.nested, self.schema)
    }
}

/// More than any real schema has; what is beyond is a hostile one.
const MAX_TEXT: usize = 3 << 20;
const MAX_PARAMETERS: usize = 20_000;
const MAX_OPERATIONS: usize = 5_000;
const MAX_LISTS: usize = 200_000;

/// Puts a schema together.
#[derive(Default)]
pub(super) struct Builder {
    parts: Parts,
    texts: HashMap<Box<str>, Text>,
    raws: HashMap<Raw, u32>,
    spans: HashMap<Vec<u32>, Span>,
}

impl Builder {
    /// Keeps a text. The errors of these functions say which bound is passed.
    pub(super) fn text(&mut self, text: &str) -> Result<Text, &'static str> {
        if text.is_empty() {
            return Ok(Text::default());
        }
        if let Some(known) = self.texts.get(text) {
            return Ok(*known);
        }
        let start = self.parts.pool.len();
        if start + text.len() > MAX_TEXT {
            return Err("its texts are larger than 3 MiB");
        }
        self.parts.pool.push_str(text);
        let kept = Text { start: start as u32, len: text.len() as u32 };
        self.texts.insert(text.into(), kept);
        Ok(kept)
    }

    /// Keeps a list of parameters.
    pub(super) fn span(&mut self, raws: Vec<Raw>) -> Result<Span, &'static str> {
        let mut list = Vec::with_capacity(raws.len());
        for raw in raws {
            let next = self.parts.raw.len();
            let at = *self.raws.entry(raw).or_insert(next as u32);
            if at as usize == next {
                if next == MAX_PARAMETERS {
                    return Err("it has more than 20000 parameters");
                }
                self.parts.raw.push(raw);
            }
            list.push(at);
        }
        if let Some(known) = self.spans.get(&list) {
            return Ok(*known);
        }
        let start = self.parts.lists.len();
        if start + list.len() > MAX_LISTS {
            return Err("its lists of parameters are too long");
        }
        self.parts.lists.extend_from_slice(&list);
        let span = Span { start: start as u32, len: list.len() as u32 };
        self.spans.insert(list, span);
        Ok(span)
    }

    /// Keeps an operation.
    pub(super) fn operation(&mut self, operation: Operation) -> Result<(), &'static str> {
        if self.parts.operations.len() == MAX_OPERATIONS {
            return Err("it has more than 5000 operations");
        }
        self.parts.operations.push(operation);
        Ok(())
    }

    /// The schema, if there is an operation in it.
    pub(super) fn finish(self, live: bool) -> Result<Schema, &'static str> {
        let mut parts = self.parts;
        if parts.operations.is_empty() {
            return Err("it has no operations");
        }
        parts.pool.shrink_to_fit();
        parts.raw.shrink_to_fit();
        parts.lists.shrink_to_fit();
        parts.operations.shrink_to_fit();
        Schema::new(parts, live)
    }
}
