//! How a schema is kept: every text once, every parameter once, every list of parameters once.

use super::{Method, Schema};
use crate::policy::Risk;
use std::collections::HashMap;

/// A text of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct TextRef {
    start: u32,
    len: u32,
}

/// A run of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ParameterListRef {
    start: u32,
    len: u32,
}

/// One operation.
pub(super) struct PackedOperation {
    pub(super) method: Method,
    pub(super) template: TextRef,
    pub(super) name: TextRef,
    pub(super) description: TextRef,
    pub(super) summary: TextRef,
    pub(super) reason: TextRef,
    pub(super) risk: Risk,
    pub(super) low_priority: bool,
    pub(super) privileges: TextRef,
    pub(super) return_type: TextRef,
    pub(super) parameters: ParameterListRef,
    pub(super) refuses_tokens: bool,
    pub(super) allows_extra_parameters: bool,
}

/// One parameter, or one key of a nested format.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct PackedParameter {
    pub(super) name: TextRef,
    pub(super) kind: TextRef,
    pub(super) description: TextRef,
    pub(super) default: TextRef,
    pub(super) minimum: TextRef,
    pub(super) maximum: TextRef,
    pub(super) min_length: TextRef,
    pub(super) max_length: TextRef,
    pub(super) pattern: TextRef,
    /// The name of its format, where it has one.
    pub(super) format: TextRef,
    /// The allowed words, each ended by a line break.
    pub(super) allowed_values: TextRef,
    /// The parameter that must be given with it.
    pub(super) requires: TextRef,
    /// The key it is another name of.
    pub(super) alias: TextRef,
    /// The keys of its value (`model=virtio,bridge=vmbr0`), or what the items of a list are like.
    pub(super) nested: ParameterListRef,
    pub(super) optional: bool,
    pub(super) default_key: bool,
}

/// The parts of a schema.
#[derive(Default)]
pub(super) struct PackedSchema {
    texts: String,
    parameters: Vec<PackedParameter>,
    parameter_lists: Vec<u32>,
    pub(super) operations: Vec<PackedOperation>,
}

impl PackedSchema {
    pub(super) fn text(&self, text: TextRef) -> &str {
        self.texts.get(text.start as usize..).and_then(|rest| rest.get(..text.len as usize)).unwrap_or("")
    }

    pub(super) fn all_texts(&self) -> &str {
        &self.texts
    }

    pub(super) fn parameters_of<'s>(
        &'s self,
        span: ParameterListRef,
        schema: &'s Schema,
    ) -> impl Iterator<Item = ParameterSpec<'s>> + use<'s> {
        let list = self.parameter_lists.get(span.start as usize..).and_then(|rest| rest.get(..span.len as usize));
        let raw = list.unwrap_or_default().iter().filter_map(|&at| self.parameters.get(at as usize));
        raw.map(move |raw| ParameterSpec { schema, packed: raw })
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.texts.capacity()
            + self.parameters.capacity() * size_of::<PackedParameter>()
            + self.parameter_lists.capacity() * size_of::<u32>()
            + self.operations.capacity() * size_of::<PackedOperation>()
    }
}

/// One parameter of an operation, or one key of a parameter's nested format.
#[derive(Clone, Copy)]
pub struct ParameterSpec<'s> {
    schema: &'s Schema,
    packed: &'s PackedParameter,
}

impl<'s> ParameterSpec<'s> {
    fn text(&self, text: TextRef) -> &'s str {
        self.schema.text(text)
    }

    /// Its name; `net[n]` for a family of numbered ones.
    pub fn name(&self) -> &'s str {
        self.text(self.packed.name)
    }

    /// `net` of `net[n]`.
    pub fn family(&self) -> Option<&'s str> {
        self.name().strip_suffix("[n]")
    }

    /// `string`, `integer`, `number`, `boolean`, `array`, `object`; empty where the schema says nothing.
    pub fn kind(&self) -> &'s str {
        self.text(self.packed.kind)
    }

    /// The cluster's own words, cut after some lines; empty in the embedded facts.
    pub fn description(&self) -> &'s str {
        self.text(self.packed.description)
    }

    /// Whether it must be given.
    pub fn is_required(&self) -> bool {
        !self.packed.optional
    }

    /// Whether its value may stand without `key=` (in a nested format).
    pub fn is_default_key(&self) -> bool {
        self.packed.default_key
    }

    /// What holds where it is not given; empty where nothing is said.
    pub fn default(&self) -> &'s str {
        self.text(self.packed.default)
    }

    /// The smallest number, if there is one.
    pub fn minimum(&self) -> &'s str {
        self.text(self.packed.minimum)
    }

    /// The largest number, if there is one.
    pub fn maximum(&self) -> &'s str {
        self.text(self.packed.maximum)
    }

    /// The fewest characters, if there is a bound.
    pub fn min_length(&self) -> &'s str {
        self.text(self.packed.min_length)
    }

    /// The most characters, if there is a bound.
    pub fn max_length(&self) -> &'s str {
        self.text(self.packed.max_length)
    }

    /// A Perl expression that values match.
    pub fn pattern(&self) -> &'s str {
        self.text(self.packed.pattern)
    }

    /// The name of the format (`pve-storage-id`, `pve-vmid-list`), if it has one.
    pub fn format(&self) -> &'s str {
        self.text(self.packed.format)
    }

    /// The words it takes; none where it takes others.
    pub fn allowed_values(&self) -> impl Iterator<Item = &'s str> + use<'s> {
        self.text(self.packed.allowed_values).lines()
    }

    /// The parameter that must be given with it; empty where there is none.
    pub fn requires(&self) -> &'s str {
        self.text(self.packed.requires)
    }

    /// The key of the same format that it is another name of; empty for others.
    pub fn alias(&self) -> &'s str {
        self.text(self.packed.alias)
    }

    /// The keys of its value where it is a list of `key=value`; for an array, what each item is like.
    pub fn nested_parameters(&self) -> impl Iterator<Item = ParameterSpec<'s>> + use<'s> {
        self.schema.packed.parameters_of(self.packed.nested, self.schema)
    }
}

/// More than any real schema has; what is beyond is a hostile one.
const MAX_TEXT: usize = 3 << 20;
const MAX_PARAMETERS: usize = 20_000;
const MAX_OPERATIONS: usize = 5_000;
const MAX_LISTS: usize = 200_000;

/// Puts a schema together.
#[derive(Default)]
pub(super) struct SchemaBuilder {
    packed: PackedSchema,
    texts: HashMap<Box<str>, TextRef>,
    parameter_indexes: HashMap<PackedParameter, u32>,
    parameter_lists: HashMap<Vec<u32>, ParameterListRef>,
}

impl SchemaBuilder {
    /// Keeps a text. The errors of these functions say which bound is passed.
    pub(super) fn add_text(&mut self, text: &str) -> Result<TextRef, &'static str> {
        if text.is_empty() {
            return Ok(TextRef::default());
        }
        if let Some(known) = self.texts.get(text) {
            return Ok(*known);
        }
        let start = self.packed.texts.len();
        if start + text.len() > MAX_TEXT {
            return Err("its texts are larger than 3 MiB");
        }
        self.packed.texts.push_str(text);
        let kept = TextRef { start: start as u32, len: text.len() as u32 };
        self.texts.insert(text.into(), kept);
        Ok(kept)
    }

    /// Keeps a list of parameters.
    pub(super) fn add_parameters(&mut self, raws: Vec<PackedParameter>) -> Result<ParameterListRef, &'static str> {
        let mut list = Vec::with_capacity(raws.len());
        for raw in raws {
            let next = self.packed.parameters.len();
            let at = *self.parameter_indexes.entry(raw).or_insert(next as u32);
            if at as usize == next {
                if next == MAX_PARAMETERS {
                    return Err("it has more than 20000 parameters");
                }
                self.packed.parameters.push(raw);
            }
            list.push(at);
        }
        if let Some(known) = self.parameter_lists.get(&list) {
            return Ok(*known);
        }
        let start = self.packed.parameter_lists.len();
        if start + list.len() > MAX_LISTS {
            return Err("its lists of parameters are too long");
        }
        self.packed.parameter_lists.extend_from_slice(&list);
        let span = ParameterListRef { start: start as u32, len: list.len() as u32 };
        self.parameter_lists.insert(list, span);
        Ok(span)
    }

    /// Keeps an operation.
    pub(super) fn add_operation(&mut self, operation: PackedOperation) -> Result<(), &'static str> {
        if self.packed.operations.len() == MAX_OPERATIONS {
            return Err("it has more than 5000 operations");
        }
        self.packed.operations.push(operation);
        Ok(())
    }

    /// The schema, if there is an operation in it.
    pub(super) fn finish(self, live: bool) -> Result<Schema, &'static str> {
        let mut parts = self.packed;
        if parts.operations.is_empty() {
            return Err("it has no operations");
        }
        parts.texts.shrink_to_fit();
        parts.parameters.shrink_to_fit();
        parts.parameter_lists.shrink_to_fit();
        parts.operations.shrink_to_fit();
        Schema::new(parts, live)
    }
}
