//! Which operation a path is: Proxmox's own way of finding it.
//!
//! A node walks down segment by segment: a literal name before a parameter, and no second try where the literal leads
//! nowhere. Where the last parameter is a volume or a CIDR, whatever is left of the path is its value, slashes and all
//! (PVE: `fragmentDelimiter`).

use super::packed::PackedSchema;
use super::{Operation, Schema};
use crate::base::suggest::suggest;
use crate::pve::Method;
use crate::pve::knowledge::formats::PATH_REMAINDER_PARAMETERS;

#[derive(Default)]
struct PathNode {
    /// A literal segment, or a parameter's name in braces.
    segment: Box<str>,
    children: Vec<u32>,
    /// The operations here, in the order of [`Method::ALL`].
    operations: [Option<u32>; Method::ALL.len()],
}

impl PathNode {
    fn parameter_name(&self) -> Option<&str> {
        self.segment.strip_prefix('{')?.strip_suffix('}')
    }

    fn has_operations(&self) -> bool {
        self.operations.iter().any(Option::is_some)
    }
}

/// More than any real schema has: those of Proxmox VE 9 make some 600.
const MAX_NODES: usize = 20_000;

/// The paths of a schema.
#[derive(Default)]
pub(super) struct PathTree {
    nodes: Vec<PathNode>,
}

/// What is on a path.
pub struct PathMatch<'s> {
    operations: [Option<Operation<'s>>; Method::ALL.len()],
    /// The path's parameters and their values, in order.
    pub values: Vec<(&'s str, String)>,
    /// The names of what is one step below.
    pub children: Vec<&'s str>,
}

impl<'s> PathMatch<'s> {
    /// The operation of a method.
    pub fn operation(&self, method: Method) -> Option<Operation<'s>> {
        self.operations().find(|o| o.method() == method)
    }

    /// All operations, in the order of [`Method::ALL`].
    pub fn operations(&self) -> impl Iterator<Item = Operation<'s>> + use<'_, 's> {
        self.operations.iter().flatten().copied()
    }

    /// The value of a parameter of the path.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }
}

/// Where a path leaves the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathMismatch {
    /// How many of its segments are known.
    pub matched_segments: usize,
    /// The name nearest to the first unknown one among those that may stand there.
    pub suggestion: Option<String>,
    /// What may stand there instead.
    pub alternatives: Vec<String>,
}

impl PathTree {
    /// The error says which bound is passed.
    pub(super) fn new(parts: &PackedSchema) -> Result<Self, &'static str> {
        let mut tree = Self { nodes: vec![PathNode::default()] };
        for (index, operation) in parts.operations.iter().enumerate() {
            let at = parts
                .text(operation.template)
                .split('/')
                .filter(|s| !s.is_empty())
                .fold(0, |at, s| tree.child_or_insert(at, s));
            let method = Method::ALL.iter().position(|m| *m == operation.method).unwrap_or_default();
            if let Some(slot) = tree.nodes.get_mut(at).and_then(|node| node.operations.get_mut(method)) {
                // The first of two that say they are the same: nothing that comes later takes its place.
                slot.get_or_insert(index as u32);
            }
            if tree.nodes.len() > MAX_NODES {
                return Err("its paths have more than 20000 parts");
            }
        }
        Ok(tree)
    }

    /// The child of this segment, made if it is not there. All parameters at one place are the same child.
    fn child_or_insert(&mut self, at: usize, segment: &str) -> usize {
        let parameter = segment.starts_with('{');
        let fits =
            |node: &PathNode| if parameter { node.parameter_name().is_some() } else { *node.segment == *segment };
        if let Some(known) = self.children(at).find(|(_, node)| fits(node)) {
            return known.0;
        }
        let next = self.nodes.len();
        self.nodes.push(PathNode { segment: segment.into(), ..PathNode::default() });
        if let Some(node) = self.nodes.get_mut(at) {
            node.children.push(next as u32);
        }
        next
    }

    fn children(&self, at: usize) -> impl Iterator<Item = (usize, &PathNode)> {
        let children = self.nodes.get(at).map(|node| node.children.as_slice()).unwrap_or_default();
        children.iter().filter_map(|&child| Some((child as usize, self.nodes.get(child as usize)?)))
    }

    pub(super) fn match_path<'s>(
        &'s self,
        schema: &'s Schema,
        segments: &[&str],
    ) -> Result<PathMatch<'s>, PathMismatch> {
        let mut at = 0;
        let mut values = Vec::new();
        let mut rest = segments;
        while let Some((segment, after)) = rest.split_first() {
            let literal =
                self.children(at).find(|(_, node)| *node.segment == **segment && node.parameter_name().is_none());
            let next = literal.or_else(|| self.children(at).find(|(_, node)| node.parameter_name().is_some()));
            let Some((next, node)) = next else {
                return Err(self.build_mismatch(at, segments.len() - rest.len(), segment));
            };
            (at, rest) = (next, after);
            if let Some(name) = node.parameter_name() {
                if node.children.is_empty() && PATH_REMAINDER_PARAMETERS.contains(&name) {
                    values.push((name, [&[*segment], after].concat().join("/")));
                    break;
                }
                values.push((name, (*segment).to_owned()));
            }
        }
        let Some(node) = self.nodes.get(at).filter(|node| node.has_operations()) else {
            return Err(self.build_mismatch(at, segments.len(), ""));
        };
        let operations = node.operations.map(|index| schema.operation(index? as usize));
        Ok(PathMatch { operations, values, children: self.children(at).map(|(_, node)| &*node.segment).collect() })
    }

    fn build_mismatch(&self, at: usize, known: usize, segment: &str) -> PathMismatch {
        let there: Vec<String> = self.children(at).map(|(_, node)| node.segment.to_string()).collect();
        let meant = suggest(segment, there.iter().map(String::as_str)).map(str::to_owned);
        PathMismatch { matched_segments: known, suggestion: meant, alternatives: there }
    }

    pub(super) fn size_bytes(&self) -> usize {
        let node =
            |node: &PathNode| size_of::<PathNode>() + node.segment.len() + node.children.capacity() * size_of::<u32>();
        self.nodes.iter().map(node).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::embedded_schema;
    use super::*;

    fn find(path: &str) -> Result<PathMatch<'static>, PathMismatch> {
        embedded_schema().match_path(&path.split('/').filter(|s| !s.is_empty()).collect::<Vec<_>>())
    }

    fn template(method: Method, path: &str) -> Option<&'static str> {
        find(path).ok()?.operation(method).map(|o| o.template())
    }

    #[test]
    fn a_concrete_path_is_the_operation_of_its_template() {
        let config = find("/nodes/pve1/qemu/100/config").unwrap();
        assert_eq!(config.value("node"), Some("pve1"));
        assert_eq!(config.value("vmid"), Some("100"));
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
        assert_eq!(volume.value("volume"), Some("local:iso/x.iso"));
        let cidr = find("/cluster/firewall/ipset/lan/10.0.0.0/24").unwrap();
        assert_eq!((cidr.value("name"), cidr.value("cidr")), (Some("lan"), Some("10.0.0.0/24")));
    }

    #[test]
    fn a_path_that_leaves_the_schema_says_where() {
        let miss = find("/nodes/pve1/qemu/100/snapshots").err().unwrap();
        assert_eq!((miss.matched_segments, miss.suggestion.as_deref()), (4, Some("snapshot")));
        let miss = find("/node/pve1").err().unwrap();
        assert_eq!((miss.matched_segments, miss.suggestion.as_deref()), (0, Some("nodes")));
        assert!(find("/cluster/nothing/of/the/kind").err().unwrap().alternatives.contains(&"resources".to_owned()));
    }
}
