//! The operations and parameters of one version of the API.

use super::error::{SchemaError, SchemaLimit};
use super::packed::{PackedOperation, PackedParameter, PackedSchema, TextRef};
use super::path_tree::{PathMismatch, PathTree};
use crate::policy::Risk;
use crate::pve::method::Method;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Most memory that a schema may take without its search index.
const MAX_SCHEMA_BYTES: usize = 4 << 20;

/// Every operation of one version of the API.
pub struct SchemaModel {
    packed: PackedSchema,
    path_tree: PathTree,
    live: bool,
}

impl SchemaModel {
    pub(super) fn new(packed: PackedSchema, live: bool) -> Result<Self, SchemaError> {
        if packed.operations.is_empty() {
            return Err(SchemaError::NoOperations);
        }
        let path_tree = PathTree::new(&packed).map_err(SchemaError::TooLarge)?;
        let model = Self { packed, path_tree, live };
        // The limits of its parts allow more together than any real schema needs.
        if model.size_bytes() > MAX_SCHEMA_BYTES {
            return Err(SchemaError::TooLarge(SchemaLimit::Memory(MAX_SCHEMA_BYTES)));
        }
        Ok(model)
    }

    /// Returns whether a cluster described itself so. The embedded facts are not live.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Returns all operations, in the order of the description.
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.packed.operations.iter().map(|packed| Operation { model: self, packed })
    }

    /// Returns the number of operations.
    pub fn len(&self) -> usize {
        self.packed.operations.len()
    }

    pub fn is_empty(&self) -> bool {
        self.packed.operations.is_empty()
    }

    /// Returns the operation at an index of [`SchemaModel::operations`].
    pub fn operation(&self, index: usize) -> Option<Operation<'_>> {
        self.packed.operations.get(index).map(|packed| Operation { model: self, packed })
    }

    /// Returns the operations on a path, given as decoded segments. The path may be a template (`{node}`) or concrete.
    /// The match is Proxmox's own: a literal segment before a parameter, and no second try. A last parameter that is a
    /// volume or a CIDR takes the rest of the path.
    pub fn match_path<S: AsRef<str>>(&self, segments: &[S]) -> Result<PathMatch<'_>, PathMismatch> {
        let found = self.path_tree.match_path(&segments.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
        let operations = found.operations.into_iter().flatten().filter_map(|index| self.operation(index as usize));
        Ok(PathMatch { operations: operations.collect(), values: found.values, children: found.children })
    }

    /// Returns the operation of this method on exactly this template.
    pub fn find_by_template(&self, method: Method, template: &str) -> Option<Operation<'_>> {
        let segments: Vec<&str> = template.split('/').filter(|s| !s.is_empty()).collect();
        self.match_path(&segments).ok()?.operation(method).filter(|o| o.template() == template)
    }

    /// Returns all texts of the schema as one.
    pub(in crate::pve) fn all_texts(&self) -> &str {
        self.packed.all_texts()
    }

    /// Returns the memory that the schema takes.
    pub fn size_bytes(&self) -> usize {
        self.packed.size_bytes() + self.path_tree.size_bytes()
    }
}

/// One operation of a schema.
#[derive(Clone, Copy)]
pub struct Operation<'s> {
    model: &'s SchemaModel,
    packed: &'s PackedOperation,
}

impl<'s> Operation<'s> {
    fn text(&self, text: TextRef) -> &'s str {
        self.model.packed.text(text)
    }

    pub fn method(&self) -> Method {
        self.packed.method.method
    }

    /// Returns the path with the names of its parameters in braces: `/nodes/{node}/qemu`.
    pub fn template(&self) -> &'s str {
        self.text(self.packed.template)
    }

    /// Returns the operation's name in Proxmox's code.
    pub fn name(&self) -> &'s str {
        self.text(self.packed.method.name)
    }

    /// Returns the cluster's own description, which is empty in the embedded schema.
    pub fn description(&self) -> &'s str {
        self.text(self.packed.method.description)
    }

    /// Returns one line of the embedded facts about the operation, also for a live schema. It is empty for an operation
    /// that the facts don't have.
    pub fn summary(&self) -> &'s str {
        self.text(self.packed.facts.summary)
    }

    /// Returns what the operation can do to a cluster. Only the embedded facts decide it, never a live schema, and an
    /// operation that they don't have is [`Risk::UNKNOWN`].
    pub fn risk(&self) -> Risk {
        self.packed.facts.risk
    }

    /// Returns the reason for the risk of the operation. It is empty for a plain read.
    pub fn risk_reason(&self) -> &'s str {
        self.text(self.packed.facts.risk_reason)
    }

    /// Returns whether searches rank the operation below others.
    pub(super) fn has_low_priority(&self) -> bool {
        self.packed.facts.low_priority
    }

    /// Returns the required privileges, as in `VM.Audit on /vms/{vmid}`. Any user may call an operation without any.
    pub fn privileges(&self) -> &'s str {
        self.text(self.packed.method.privileges)
    }

    /// Returns whether the operation is part of a cluster's own description.
    pub fn is_live(&self) -> bool {
        self.model.live
    }

    /// Returns whether Proxmox rejects API tokens for the operation.
    pub fn refuses_tokens(&self) -> bool {
        self.packed.method.refuses_tokens
    }

    /// Returns whether parameters that the schema doesn't name are allowed.
    pub fn allows_extra_parameters(&self) -> bool {
        self.packed.method.allows_extra_parameters
    }

    /// Returns the type of the response: `array`, `object`, `string`, `null`, …
    pub fn return_type(&self) -> &'s str {
        self.text(self.packed.method.return_type)
    }

    /// Returns whether the response may be the UPID of a task that keeps running. (PVE: such operations return a string
    /// and are no reads.)
    pub fn starts_task(&self) -> bool {
        self.method() != Method::Get && self.return_type() == "string"
    }

    /// Returns the parameters with those of the path, in the order of the schema.
    pub fn parameters(&self) -> impl Iterator<Item = ParameterSpec<'s>> + use<'s> {
        let model = self.model;
        model.packed.parameters_of(self.packed.method.parameters).map(move |packed| ParameterSpec { model, packed })
    }

    /// Returns the parameter of this name. A family (`net[n]`) has all names with a number at the end.
    pub fn parameter(&self, name: &str) -> Option<ParameterSpec<'s>> {
        self.parameters().find(|p| p.name() == name).or_else(|| {
            let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
            let is_member = stem.len() < name.len() || name.ends_with("[n]");
            let family = stem.trim_end_matches("[n]");
            self.parameters().find(|p| is_member && p.family() == Some(family))
        })
    }

    /// Returns the parameters of this name. One whose form depends on the type property has several.
    pub fn parameter_variants(&self, name: &str) -> impl Iterator<Item = ParameterSpec<'s>> + use<'s> {
        let first = self.parameter(name).map(|first| first.name());
        self.parameters().filter(move |parameter| Some(parameter.name()) == first)
    }

    /// Returns the name of the parameter whose value decides which others apply, and an empty text if there is none.
    pub fn type_property(&self) -> &'s str {
        self.text(self.packed.method.type_property)
    }

    /// Returns the value that the type property has in `data`, if the description knows it.
    pub fn find_instance_type(&self, data: &Map<String, Value>) -> Option<&'s str> {
        let given = data.get(self.type_property())?.as_str()?;
        let mut types = self.parameters().flat_map(|parameter| parameter.instance_types());
        types.find(|known| known.eq_ignore_ascii_case(given))
    }

    /// Returns whether the parameter is part of the path.
    pub fn is_path_parameter(&self, name: &str) -> bool {
        self.template().split('/').any(|s| s.strip_prefix('{').and_then(|s| s.strip_suffix('}')) == Some(name))
    }
}

/// Operations of a path.
pub struct PathMatch<'s> {
    /// In the order of [`Method::ALL`].
    operations: Vec<Operation<'s>>,
    /// Names and values of the path's parameters, in order.
    pub values: Vec<(&'s str, String)>,
    /// Segments that may follow the path.
    pub children: Vec<&'s str>,
}

impl<'s> PathMatch<'s> {
    pub fn operation(&self, method: Method) -> Option<Operation<'s>> {
        self.operations().find(|o| o.method() == method)
    }

    /// Returns all operations, in the order of [`Method::ALL`].
    pub fn operations(&self) -> impl Iterator<Item = Operation<'s>> + use<'_, 's> {
        self.operations.iter().copied()
    }
}

/// One parameter of an operation, or one key of a parameter's nested format. Absent properties are empty texts.
#[derive(Clone, Copy)]
pub struct ParameterSpec<'s> {
    model: &'s SchemaModel,
    packed: &'s PackedParameter,
}

impl<'s> ParameterSpec<'s> {
    fn text(&self, text: TextRef) -> &'s str {
        self.model.packed.text(text)
    }

    /// Returns the name, which is `net[n]` for a family of numbered parameters.
    pub fn name(&self) -> &'s str {
        self.text(self.packed.name)
    }

    /// Returns `net` of `net[n]`.
    pub fn family(&self) -> Option<&'s str> {
        self.name().strip_suffix("[n]")
    }

    /// Returns `string`, `integer`, `number`, `boolean`, `array` or `object`.
    pub fn kind(&self) -> &'s str {
        self.text(self.packed.kind)
    }

    /// Returns the cluster's own description in shortened form. In the embedded schema only common parameters have one.
    pub fn description(&self) -> &'s str {
        self.text(self.packed.description)
    }

    pub fn is_required(&self) -> bool {
        !self.packed.optional
    }

    /// Returns whether the value of this key may be written without `key=`.
    pub fn is_default_key(&self) -> bool {
        self.packed.default_key
    }

    pub fn default(&self) -> &'s str {
        self.text(self.packed.default)
    }

    pub fn minimum(&self) -> &'s str {
        self.text(self.packed.minimum)
    }

    pub fn maximum(&self) -> &'s str {
        self.text(self.packed.maximum)
    }

    /// Returns the least number of characters.
    pub fn min_length(&self) -> &'s str {
        self.text(self.packed.min_length)
    }

    /// Returns the greatest number of characters.
    pub fn max_length(&self) -> &'s str {
        self.text(self.packed.max_length)
    }

    /// Returns the Perl expression that values match.
    pub fn pattern(&self) -> &'s str {
        self.text(self.packed.pattern)
    }

    /// Returns the name of the format, such as `pve-storage-id` or `pve-vmid-list`.
    pub fn format(&self) -> &'s str {
        self.text(self.packed.format)
    }

    /// Returns the values of an enumeration, and none for other parameters.
    pub fn allowed_values(&self) -> impl Iterator<Item = &'s str> + use<'s> {
        self.text(self.packed.allowed_values).lines()
    }

    /// Returns the name of the parameter that must be given with this one.
    pub fn requires(&self) -> &'s str {
        self.text(self.packed.requires)
    }

    /// Returns the key of the same format that this key is another name of.
    pub fn alias(&self) -> &'s str {
        self.text(self.packed.alias)
    }

    /// Returns the values of the type property with which the parameter applies. None: it always applies.
    pub fn instance_types(&self) -> impl Iterator<Item = &'s str> + use<'s> {
        self.text(self.packed.instance_types).lines()
    }

    /// Returns whether the parameter applies with this value of the type property. With an unknown value it may apply.
    pub fn may_apply(&self, instance_type: Option<&str>) -> bool {
        let mut types = self.instance_types().peekable();
        types.peek().is_none() || instance_type.is_none_or(|given| types.any(|known| known == given))
    }

    /// Returns whether the parameter must be given with this value of the type property.
    pub fn is_required_with(&self, instance_type: Option<&str>) -> bool {
        let depends = self.instance_types().next().is_some();
        self.is_required() && (!depends || instance_type.is_some() && self.may_apply(instance_type))
    }

    /// Returns the keys of a property string, or the properties of an array's items.
    pub fn nested_parameters(&self) -> impl Iterator<Item = ParameterSpec<'s>> + use<'s> {
        let model = self.model;
        model.packed.parameters_of(self.packed.nested).map(move |packed| ParameterSpec { model, packed })
    }
}

/// Folds the numbered words of a family: `unused0`, `unused1`, … become `unused[n]`. Words whose numbers have gaps, as
/// in `win7`, `win8`, `win10`, are no family.
pub fn fold_families<'w>(words: &[&'w str]) -> Vec<Cow<'w, str>> {
    let split = |word: &'w str| {
        let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
        Some((stem, word[stem.len()..].parse::<usize>().ok()?)).filter(|(stem, _)| !stem.is_empty())
    };
    let is_family = |stem: &str| {
        let mut numbers: Vec<usize> =
            words.iter().filter_map(|word| split(word)).filter(|(other, _)| *other == stem).map(|(_, n)| n).collect();
        numbers.sort_unstable();
        numbers.len() > 2 && numbers[0] <= 1 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1)
    };
    let mut folded: Vec<Cow<'w, str>> = Vec::new();
    for word in words {
        let entry = match split(word) {
            Some((stem, _)) if is_family(stem) => Cow::Owned(format!("{stem}[n]")),
            _ => Cow::Borrowed(*word),
        };
        if !folded.contains(&entry) {
            folded.push(entry);
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::super::load::embedded_schema;
    use super::*;

    fn find(path: &str) -> Result<PathMatch<'static>, PathMismatch> {
        embedded_schema().match_path(&path.split('/').filter(|s| !s.is_empty()).collect::<Vec<_>>())
    }

    fn template(method: Method, path: &str) -> Option<&'static str> {
        find(path).ok()?.operation(method).map(|o| o.template())
    }

    /// Returns the value of a parameter of the path.
    fn value<'m>(path: &'m PathMatch<'_>, name: &str) -> Option<&'m str> {
        path.values.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_concrete_path_is_the_operation_of_its_template() {
        let config = find("/nodes/pve1/qemu/100/config").unwrap();
        assert_eq!(value(&config, "node"), Some("pve1"));
        assert_eq!(value(&config, "vmid"), Some("100"));
        let methods: Vec<_> = config.operations().map(|o| o.method().as_str()).collect();
        assert_eq!(methods, ["GET", "POST", "PUT"]);
        assert_eq!(template(Method::Get, "/nodes/{node}/qemu/{vmid}/config"), Some("/nodes/{node}/qemu/{vmid}/config"));
        assert_eq!(template(Method::Get, "/nodes"), Some("/nodes"));
        assert!(find("/nodes/pve1/qemu/100").unwrap().children.contains(&"config"));
    }

    #[test]
    fn every_operation_is_found_by_its_own_template() {
        for operation in embedded_schema().operations() {
            assert_eq!(template(operation.method(), operation.template()), Some(operation.template()));
        }
    }

    #[test]
    fn a_volume_and_a_network_have_slashes() {
        let volume = find("/nodes/pve1/storage/local/content/local:iso/x.iso").unwrap();
        assert_eq!(value(&volume, "volume"), Some("local:iso/x.iso"));
        let cidr = find("/cluster/firewall/ipset/lan/10.0.0.0/24").unwrap();
        assert_eq!((value(&cidr, "name"), value(&cidr, "cidr")), (Some("lan"), Some("10.0.0.0/24")));
    }

    #[test]
    fn a_path_that_leaves_the_schema_says_where() {
        let mismatch = find("/nodes/pve1/qemu/100/snapshots").err().unwrap();
        assert_eq!((mismatch.matched_segments, mismatch.suggestion.as_deref()), (4, Some("snapshot")));
        let mismatch = find("/node/pve1").err().unwrap();
        assert_eq!((mismatch.matched_segments, mismatch.suggestion.as_deref()), (0, Some("nodes")));
        assert!(find("/cluster/nothing/of/the/kind").err().unwrap().alternatives.contains(&"resources".to_owned()));
    }

    #[test]
    fn words_with_consecutive_numbers_are_a_family() {
        for (words, folded) in [
            (&["scsi0", "scsi1", "scsi2", "name"][..], &["scsi[n]", "name"][..]),
            (&["win7", "win8", "win10", "win11"], &["win7", "win8", "win10", "win11"]),
            (&["l24", "l26"], &["l24", "l26"]),
            (&["0", "1", "2"], &["0", "1", "2"]),
        ] {
            assert_eq!(fold_families(words), folded);
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
