//! What the API of a cluster consists of: every operation (a method on a path template), its parameters, the privilege
//! it needs and what it can do.
//!
//! A [`Schema`] is read from the description that a node serves, or from the facts packed into the program ([`embedded_schema`]);
//! `read` makes one out of either, `tree` finds the operation of a path, `source` chooses and keeps a cluster's schema,
//! `search` finds operations by plain words, `check` holds parameters against one. Texts live in one pool, parameters and
//! nested formats that are alike are kept once: a schema takes less than 4 MB.

pub mod facts;
pub mod parameter_check;

mod cache;
mod limited_value;
mod packed;
mod path_tree;
mod reader;
mod search;

pub(super) use cache::SchemaCache;
pub use cache::SchemaTimings;
pub use packed::ParameterSpec;
pub use path_tree::{PathMatch, PathMismatch};
pub use reader::{MAX_DESCRIPTION_BYTES, read_description};

use crate::policy::Risk;
use crate::pve::Method;
use packed::{PackedSchema, TextRef};
use std::borrow::Cow;
use std::sync::{Arc, LazyLock, OnceLock};

/// The most that a schema may keep, in bytes.
const MAX_SCHEMA_BYTES: usize = 4 << 20;

/// Every operation of one version of the API.
#[derive(Default)]
pub struct Schema {
    packed: PackedSchema,
    path_tree: path_tree::PathTree,
    /// Made by the first search.
    search_index: OnceLock<search::SearchIndex>,
    live: bool,
}

/// What the program knows of the API by itself: the operations of Proxmox VE 9, with a summary and the risk of each.
pub fn embedded_schema() -> &'static Arc<Schema> {
    static FACTS: LazyLock<Arc<Schema>> = LazyLock::new(|| {
        let script = flate2::read::GzDecoder::new(facts::APIDOC);
        // Made by the build from files of the project: a test reads them, so this can't fail in the field.
        Arc::new(reader::read_facts(script).unwrap_or_default())
    });
    &FACTS
}

impl Schema {
    fn new(parts: PackedSchema, live: bool) -> Result<Self, &'static str> {
        let schema =
            Self { path_tree: path_tree::PathTree::new(&parts)?, packed: parts, search_index: OnceLock::new(), live };
        // The bounds of its parts are wider together than any real one needs.
        if schema.size_bytes() > MAX_SCHEMA_BYTES {
            Err("it is larger than 4 MiB where only what matters is kept")
        } else {
            Ok(schema)
        }
    }

    /// Whether a cluster described itself so; else it is the embedded facts.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// All operations, in the order they were read.
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        (0..self.packed.operations.len()).filter_map(|index| self.operation(index))
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.packed.operations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.packed.operations.is_empty()
    }

    /// The operation at a place of [`Schema::operations`].
    pub fn operation(&self, index: usize) -> Option<Operation<'_>> {
        self.packed.operations.get(index).map(|raw| Operation { schema: self, packed: raw })
    }

    /// The operations on the path of these segments (decoded), whether they are of a template (`{node}`) or of a
    /// concrete path. The match is Proxmox's own: a literal segment before a parameter, and no second try; the last
    /// parameter of a volume or of a CIDR takes the rest of the path.
    pub fn match_path<S: AsRef<str>>(&self, segments: &[S]) -> Result<PathMatch<'_>, PathMismatch> {
        self.path_tree.match_path(self, &segments.iter().map(AsRef::as_ref).collect::<Vec<_>>())
    }

    /// The operation of this method on exactly this template.
    pub fn find_by_template(&self, method: Method, template: &str) -> Option<Operation<'_>> {
        let segments: Vec<&str> = template.split('/').filter(|s| !s.is_empty()).collect();
        self.match_path(&segments).ok()?.operation(method).filter(|o| o.template() == template)
    }

    fn text(&self, text: TextRef) -> &str {
        self.packed.text(text)
    }

    /// Every text of it, one after the other.
    pub(super) fn all_texts(&self) -> &str {
        self.packed.all_texts()
    }

    /// Bytes that the schema keeps, with the index of its words once there was a search.
    pub fn size_bytes(&self) -> usize {
        self.packed.size_bytes()
            + self.path_tree.size_bytes()
            + self.search_index.get().map_or(0, search::SearchIndex::size_bytes)
    }

    fn search_index(&self) -> &search::SearchIndex {
        self.search_index.get_or_init(|| search::SearchIndex::new(self))
    }
}

/// One operation of a schema.
#[derive(Clone, Copy)]
pub struct Operation<'s> {
    schema: &'s Schema,
    packed: &'s packed::PackedOperation,
}

impl<'s> Operation<'s> {
    fn text(&self, text: TextRef) -> &'s str {
        self.schema.text(text)
    }

    /// Its method.
    pub fn method(&self) -> Method {
        self.packed.method
    }

    /// The path with the names of its parameters in braces: `/nodes/{node}/qemu`.
    pub fn template(&self) -> &'s str {
        self.text(self.packed.template)
    }

    /// Its name in Proxmox's code.
    pub fn name(&self) -> &'s str {
        self.text(self.packed.name)
    }

    /// The cluster's own words; empty where the schema is the embedded one.
    pub fn description(&self) -> &'s str {
        self.text(self.packed.description)
    }

    /// What it does, in one line of ours: from the embedded facts, for whichever schema the operation is of. Empty for an
    /// operation they don't know.
    pub fn summary(&self) -> &'static str {
        self.find_embedded().map_or("", |fact| fact.schema.text(fact.packed.summary))
    }

    /// What it can do to a cluster. The embedded facts say so, never a live schema; what they don't know may do
    /// anything.
    pub fn risk(&self) -> Risk {
        self.find_embedded().map_or(Risk::UNKNOWN, |fact| fact.packed.risk)
    }

    /// Why its risk is not what its method suggests; empty where it is.
    pub fn risk_reason(&self) -> &'static str {
        self.find_embedded().map_or("", |fact| fact.schema.text(fact.packed.reason))
    }

    /// Returns whether searches rank the operation below others.
    fn has_low_priority(&self) -> bool {
        self.find_embedded().is_some_and(|fact| fact.packed.low_priority)
    }

    fn find_embedded(&self) -> Option<Operation<'static>> {
        embedded_schema().find_by_template(self.method(), self.template())
    }

    /// The privileges it needs, as in `VM.Audit on /vms/{vmid}`; empty where any user may call it.
    pub fn privileges(&self) -> &'s str {
        self.text(self.packed.privileges)
    }

    /// Whether a cluster described it so; else it is from the embedded facts.
    pub fn is_live(&self) -> bool {
        self.schema.live
    }

    /// Whether Proxmox refuses API tokens here.
    pub fn refuses_tokens(&self) -> bool {
        self.packed.refuses_tokens
    }

    /// Whether parameters that the schema doesn't name are allowed.
    pub fn allows_extra_parameters(&self) -> bool {
        self.packed.allows_extra_parameters
    }

    /// The type of its answer: `array`, `object`, `string`, `null`, …
    pub fn return_type(&self) -> &'s str {
        self.text(self.packed.return_type)
    }

    /// Whether its answer may be a UPID: the name of a task that goes on. (PVE: such operations answer a string and
    /// are not reads.)
    pub fn starts_task(&self) -> bool {
        self.method() != Method::Get && self.return_type() == "string"
    }

    /// Its parameters, those of the path included, as the schema orders them.
    pub fn parameters(&self) -> impl Iterator<Item = ParameterSpec<'s>> + use<'s> {
        self.schema.packed.parameters_of(self.packed.parameters, self.schema)
    }

    /// The parameter of this name, where a family (`net[n]`) has all names with a number at the end.
    pub fn parameter(&self, name: &str) -> Option<ParameterSpec<'s>> {
        let family = name.trim_end_matches(|c: char| c.is_ascii_digit());
        self.parameters().find(|p| p.name() == name).or_else(|| {
            let member = family.len() < name.len() || name.ends_with("[n]");
            let family = family.trim_end_matches("[n]");
            self.parameters().find(|p| member && p.family() == Some(family))
        })
    }

    /// Whether this parameter stands in the path.
    pub fn is_path_parameter(&self, name: &str) -> bool {
        self.template().split('/').any(|s| s.strip_prefix('{').and_then(|s| s.strip_suffix('}')) == Some(name))
    }
}

/// Words with the numbered ones of a family folded: `unused0`, `unused1`, … is `unused[n]`.
pub fn fold_families<'w>(words: &[&'w str]) -> Vec<Cow<'w, str>> {
    let family = |word: &'w str| word.trim_end_matches(|c: char| c.is_ascii_digit());
    let mut folded: Vec<Cow<'w, str>> = Vec::new();
    for word in words {
        let stem = family(word);
        let members = words.iter().filter(|w| w.len() > stem.len() && family(w) == stem).count();
        let shown = if stem.len() < word.len() && !stem.is_empty() && members > 2 {
            Cow::Owned(format!("{stem}[n]"))
        } else {
            Cow::Borrowed(*word)
        };
        if !folded.contains(&shown) {
            folded.push(shown);
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_facts_are_whole_and_small() {
        let facts = embedded_schema();
        assert_eq!(facts.len(), 661);
        assert!(facts.size_bytes() < 2 << 20, "{} bytes", facts.size_bytes());
        for operation in facts.operations() {
            let what = format!("{} {}", operation.method(), operation.template());
            assert!((5..=70).contains(&operation.summary().len()), "{what}: {:?}", operation.summary());
            assert!(!operation.name().is_empty() && !operation.return_type().is_empty(), "{what}");
            assert!(facts.find_by_template(operation.method(), operation.template()).is_some(), "{what}");
        }
    }

    #[test]
    fn a_member_of_a_family_is_found_by_its_number() {
        let config = embedded_schema().find_by_template(Method::Post, "/nodes/{node}/qemu").unwrap();
        for name in ["net0", "net12", "net[n]"] {
            assert_eq!(config.parameter(name).unwrap().name(), "net[n]", "{name}");
        }
        assert_eq!(config.parameter("efidisk0").unwrap().name(), "efidisk0");
        assert!(config.parameter("memory1").is_none() && config.parameter("net").is_none());
        assert!(config.is_path_parameter("node") && !config.is_path_parameter("vmid"));
    }
}
