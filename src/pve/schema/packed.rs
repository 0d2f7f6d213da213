//! Compact storage of a schema. Each text, each parameter and each list of parameters is kept once.

use super::error::SchemaLimit;
use crate::policy::Risk;
use crate::pve::method::Method;
use std::collections::HashMap;

/// Most bytes of texts.
const MAX_TEXT_BYTES: usize = 3 << 20;
const MAX_PARAMETERS: usize = 20_000;
const MAX_OPERATIONS: usize = 5_000;
/// Greatest length of all lists of parameters together.
const MAX_LISTED_PARAMETERS: usize = 200_000;

/// Reference to a text of a [`PackedSchema`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct TextRef {
    start: u32,
    len: u32,
}

/// Reference to a list of parameters of a [`PackedSchema`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ParameterListRef {
    start: u32,
    len: u32,
}

/// An operation: a method of a path.
pub(super) struct PackedOperation {
    pub(super) template: TextRef,
    pub(super) method: PackedMethod,
    pub(super) facts: OperationFacts,
}

/// A method of a path, as an API description has it.
pub(super) struct PackedMethod {
    pub(super) method: Method,
    pub(super) name: TextRef,
    pub(super) description: TextRef,
    pub(super) privileges: TextRef,
    pub(super) return_type: TextRef,
    pub(super) parameters: ParameterListRef,
    /// The parameter whose value decides which others apply.
    pub(super) type_property: TextRef,
    pub(super) refuses_tokens: bool,
    pub(super) allows_extra_parameters: bool,
}

/// Properties of an operation that only the embedded facts have.
#[derive(Clone, Copy)]
pub(super) struct OperationFacts {
    pub(super) summary: TextRef,
    pub(super) risk_reason: TextRef,
    pub(super) risk: Risk,
    /// True for an operation that only lists sub-paths, is deprecated, or serves other programs. Searches rank it
    /// lower.
    pub(super) low_priority: bool,
}

/// One parameter, or one key of a nested format. Absent properties are empty texts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
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
    pub(super) format: TextRef,
    /// The allowed values, each ended by a line break.
    pub(super) allowed_values: TextRef,
    /// The parameter that must be given with it.
    pub(super) requires: TextRef,
    /// The key that it is another name of.
    pub(super) alias: TextRef,
    /// The values of the type property with which the parameter applies, each ended by a line break. Empty: all.
    pub(super) instance_types: TextRef,
    /// The keys of a property string (`model=virtio,bridge=vmbr0`), or the properties of a list's items.
    pub(super) nested: ParameterListRef,
    pub(super) optional: bool,
    pub(super) default_key: bool,
}

/// The texts, parameters and operations of a schema.
#[derive(Default)]
pub(super) struct PackedSchema {
    texts: String,
    parameters: Vec<PackedParameter>,
    /// Indexes of `parameters`.
    parameter_lists: Vec<u32>,
    pub(super) operations: Vec<PackedOperation>,
}

impl PackedSchema {
    pub(super) fn text(&self, text: TextRef) -> &str {
        &self.texts[text.start as usize..][..text.len as usize]
    }

    /// Returns all texts as one.
    pub(super) fn all_texts(&self) -> &str {
        &self.texts
    }

    pub(super) fn parameters_of(&self, list: ParameterListRef) -> impl Iterator<Item = &PackedParameter> {
        let indexes = &self.parameter_lists[list.start as usize..][..list.len as usize];
        indexes.iter().map(|&index| &self.parameters[index as usize])
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.texts.capacity()
            + self.parameters.capacity() * size_of::<PackedParameter>()
            + self.parameter_lists.capacity() * size_of::<u32>()
            + self.operations.capacity() * size_of::<PackedOperation>()
    }
}

/// Builds a [`PackedSchema`] and keeps it within its limits.
#[derive(Default)]
pub(super) struct SchemaBuilder {
    packed: PackedSchema,
    texts: HashMap<Box<str>, TextRef>,
    parameter_indexes: HashMap<PackedParameter, u32>,
    parameter_lists: HashMap<Vec<u32>, ParameterListRef>,
}

impl SchemaBuilder {
    pub(super) fn add_text(&mut self, text: &str) -> Result<TextRef, SchemaLimit> {
        if text.is_empty() {
            return Ok(TextRef::default());
        }
        if let Some(known) = self.texts.get(text) {
            return Ok(*known);
        }
        let start = self.packed.texts.len();
        if start + text.len() > MAX_TEXT_BYTES {
            return Err(SchemaLimit::Texts(MAX_TEXT_BYTES));
        }
        self.packed.texts.push_str(text);
        let added = TextRef { start: start as u32, len: text.len() as u32 };
        self.texts.insert(text.into(), added);
        Ok(added)
    }

    pub(super) fn add_parameters(&mut self, parameters: Vec<PackedParameter>) -> Result<ParameterListRef, SchemaLimit> {
        let mut indexes = Vec::with_capacity(parameters.len());
        for parameter in parameters {
            let next = self.packed.parameters.len();
            let index = *self.parameter_indexes.entry(parameter).or_insert(next as u32);
            if index as usize == next {
                if next == MAX_PARAMETERS {
                    return Err(SchemaLimit::Parameters(MAX_PARAMETERS));
                }
                self.packed.parameters.push(parameter);
            }
            indexes.push(index);
        }
        if let Some(known) = self.parameter_lists.get(&indexes) {
            return Ok(*known);
        }
        let start = self.packed.parameter_lists.len();
        if start + indexes.len() > MAX_LISTED_PARAMETERS {
            return Err(SchemaLimit::ParameterLists(MAX_LISTED_PARAMETERS));
        }
        self.packed.parameter_lists.extend_from_slice(&indexes);
        let added = ParameterListRef { start: start as u32, len: indexes.len() as u32 };
        self.parameter_lists.insert(indexes, added);
        Ok(added)
    }

    pub(super) fn add_operation(&mut self, operation: PackedOperation) -> Result<(), SchemaLimit> {
        if self.packed.operations.len() == MAX_OPERATIONS {
            return Err(SchemaLimit::Operations(MAX_OPERATIONS));
        }
        self.packed.operations.push(operation);
        Ok(())
    }

    pub(super) fn finish(self) -> PackedSchema {
        let mut packed = self.packed;
        packed.texts.shrink_to_fit();
        packed.parameters.shrink_to_fit();
        packed.parameter_lists.shrink_to_fit();
        packed.operations.shrink_to_fit();
        packed
    }
}
