//! What the API of a cluster consists of: every operation (a method on a path template), its parameters, the privilege
//! it needs and what it can do.
//!
//! A [`Schema`] is read from the description that a node serves, or from the facts packed into the program ([`embedded`]);
//! `read` makes one out of either, `tree` finds the operation of a path, `source` chooses and keeps a cluster's schema,
//! `search` finds operations by plain words, `check` holds parameters against one. Texts live in one pool, parameters and
//! nested formats that are alike are kept once: a schema takes less than 4 MB.

pub mod check;

mod pool;
mod read;
mod search;
mod source;
mod tree;
mod value;

pub use pool::Parameter;
pub use read::{MAX_BYTES, read};
pub(super) use source::Source;
pub use source::Times;
pub use tree::{Found, Miss};

use super::Method;
use crate::facts;
use crate::policy::Risk;
use pool::{Parts, Text};
use std::borrow::Cow;
use std::sync::{Arc, LazyLock, OnceLock};

/// The most that a schema may keep, in bytes.
const MAX_KEPT: usize = 4 << 20;

/// Every operation of one version of the API.
#[derive(Default)]
pub struct Schema {
    parts: Parts,
    tree: tree::Tree,
    /// Made by the first search.
    index: OnceLock<search::Index>,
    live: bool,
}

/// What the program knows of the API by itself: the operations of Proxmox VE 9, with a summary and the risk of each.
pub fn embedded() -> &'static Arc<Schema> {
    static FACTS: LazyLock<Arc<Schema>> = LazyLock::new(|| {
        let script = flate2::read::GzDecoder::new(facts::APIDOC);
        // Made by the build from files of the project: a test reads them, so this can't fail in the field.
        Arc::new(read::facts(script).unwrap_or_default())
    });
    &FACTS
}

impl Schema {
    fn new(parts: Parts, live: bool) -> Result<Self, &'static str> {
        let schema = Self { tree: tree::Tree::new(&parts)?, parts, index: OnceLock::new(), live };
        // The bounds of its parts are wider together than any real one needs.
        if schema.bytes() > MAX_KEPT {
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
        (0..self.parts.operations.len()).filter_map(|index| self.operation(index))
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.parts.operations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parts.operations.is_empty()
    }

    /// The operation at a place of [`Schema::operations`].
    pub fn operation(&self, index: usize) -> Option<Operation<'_>> {
        self.parts.operations.get(index).map(|raw| Operation { schema: self, raw })
    }

    /// The operations on the path of these segments (decoded), whether they are of a template (`{node}`) or of a
    /// concrete path. The match is Proxmox's own: a literal segment before a parameter, and no second try; the last
    /// parameter of a volume or of a CIDR takes the rest of the path.
    pub fn find<S: AsRef<str>>(&self, segments: &[S]) -> Result<Found<'_>, Miss> {
        self.tree.find(self, &segments.iter().map(AsRef::as_ref).collect::<Vec<_>>())
    }

    /// The operation of this method on exactly this template.
    pub fn named(&self, method: Method, template: &str) -> Option<Operation<'_>> {
        let segments: Vec<&str> = template.split('/').filter(|s| !s.is_empty()).collect();
        self.find(&segments).ok()?.operation(method).filter(|o| o.template() == template)
    }

    fn text(&self, text: Text) -> &str {
        self.parts.text(text)
    }

    /// Every text of it, one after the other.
    pub(super) fn all_texts(&self) -> &str {
        self.parts.all_texts()
    }

    /// Bytes that the schema keeps, with the index of its words once there was a search.
    pub fn bytes(&self) -> usize {
        self.parts.bytes() + self.tree.bytes() + self.index.get().map_or(0, search::Index::bytes)
    }

    fn index(&self) -> &search::Index {
        self.index.get_or_init(|| search::Index::new(self))
    }
}

/// One operation of a schema.
#[derive(Clone, Copy)]
pub struct Operation<'s> {
    schema: &'s Schema,
    raw: &'s pool::Operation,
}

impl<'s> Operation<'s> {
    fn text(&self, text: Text) -> &'s str {
        self.schema.text(text)
    }

    /// Its method.
    pub fn method(&self) -> Method {
        self.raw.method
    }

    /// The path with the names of its parameters in braces: `/nodes/{node}/qemu`.
    pub fn template(&self) -> &'s str {
        self.text(self.raw.template)
    }

    /// Its name in Proxmox's code.
    pub fn name(&self) -> &'s str {
        self.text(self.raw.name)
    }

    /// The cluster's own words; empty where the schema is the embedded one.
    pub fn description(&self) -> &'s str {
        self.text(self.raw.description)
    }

    /// What it does, in one line of ours: from the embedded facts, for whichever schema the operation is of. Empty for an
    /// operation they don't know.
    pub fn summary(&self) -> &'static str {
        self.fact().map_or("", |fact| fact.schema.text(fact.raw.summary))
    }

    /// What it can do to a cluster. The embedded facts say so, never a live schema; what they don't know may do
    /// anything.
    pub fn risk(&self) -> Risk {
        self.fact().map_or(Risk::UNKNOWN, |fact| fact.raw.risk)
    }

    /// Why its risk is not what its method suggests; empty where it is.
    pub fn reason(&self) -> &'static str {
        self.fact().map_or("", |fact| fact.schema.text(fact.raw.reason))
    }

    fn fact(&self) -> Option<Operation<'static>> {
        embedded().named(self.method(), self.template())
    }

    /// The privileges it needs, as in `VM.Audit on /vms/{vmid}`; empty where any user may call it.
    pub fn privileges(&self) -> &'s str {
        self.text(self.raw.privileges)
    }

    /// Whether a cluster described it so; else it is from the embedded facts.
    pub fn is_live(&self) -> bool {
        self.schema.live
    }

    /// Whether Proxmox refuses API tokens here.
    pub fn refuses_tokens(&self) -> bool {
        self.raw.refuses_tokens
    }

    /// Whether parameters that the schema doesn't name are allowed.
    pub fn takes_more(&self) -> bool {
        self.raw.takes_more
    }

    /// The type of its answer: `array`, `object`, `string`, `null`, …
    pub fn returns(&self) -> &'s str {
        self.text(self.raw.returns)
    }

    /// Whether its answer may be a UPID: the name of a task that goes on. (PVE: such operations answer a string and
    /// are not reads.)
    pub fn starts_task(&self) -> bool {
        self.method() != Method::Get && self.returns() == "string"
    }

    /// Its parameters, those of the path included, as the schema orders them.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'s>> + use<'s> {
        self.schema.parts.span(self.raw.parameters, self.schema)
    }

    /// The parameter of this name, where a family (`net[n]`) has all names with a number at the end.
    pub fn parameter(&self, name: &str) -> Option<Parameter<'s>> {
        let family = name.trim_end_matches(|c: char| c.is_ascii_digit());
        self.parameters().find(|p| p.name() == name).or_else(|| {
            let member = family.len() < name.len() || name.ends_with("[n]");
            let family = family.trim_end_matches("[n]");
            self.parameters().find(|p| member && p.family() == Some(family))
        })
    }

    /// Whether this parameter stands in the path.
    pub fn in_path(&self, name: &str) -> bool {
        self.template().split('/').any(|s| s.strip_prefix('{').and_then(|s| s.strip_suffix('}')) == Some(name))
    }
}

/// Words with the numbered ones of a family folded: `unused0`, `unused1`, … is `unused[n]`.
pub fn fold<'w>(words: &[&'w str]) -> Vec<Cow<'w, str>> {
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
        let facts = embedded();
        assert_eq!(facts.len(), 661);
        assert!(facts.bytes() < 2 << 20, "{} bytes", facts.bytes());
        for operation in facts.operations() {
            let what = format!("{} {}", operation.method(), operation.template());
            assert!((5..=70).contains(&operation.summary().len()), "{what}: {:?}", operation.summary());
            assert!(!operation.name().is_empty() && !operation.returns().is_empty(), "{what}");
            assert!(facts.named(operation.method(), operation.template()).is_some(), "{what}");
        }
    }

    #[test]
    fn a_member_of_a_family_is_found_by_its_number() {
        let config = embedded().named(Method::Post, "/nodes/{node}/qemu").unwrap();
        for name in ["net0", "net12", "net[n]"] {
            assert_eq!(config.parameter(name).unwrap().name(), "net[n]", "{name}");
        }
        assert_eq!(config.parameter("efidisk0").unwrap().name(), "efidisk0");
        assert!(config.parameter("memory1").is_none() && config.parameter("net").is_none());
        assert!(config.in_path("node") && !config.in_path("vmid"));
    }
}
