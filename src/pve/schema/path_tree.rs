//! Finds the operations of a path the way Proxmox does.
//!
//! A node walks down segment by segment. It prefers a literal name to a parameter, and does not try the parameter if
//! the literal leads nowhere. A last parameter that is a volume or a CIDR takes the rest of the path with its slashes
//! (PVE: `fragmentDelimiter`).

use super::error::SchemaLimit;
use super::packed::PackedSchema;
use crate::base::suggest::suggest;
use crate::pve::knowledge::formats::PATH_REMAINDER_PARAMETERS;
use crate::pve::method::Method;

/// Most nodes of a tree. Those of Proxmox VE 9 are some 600.
const MAX_NODES: usize = 20_000;

#[derive(Default)]
struct PathNode {
    /// A literal segment, or a parameter's name in braces.
    segment: Box<str>,
    children: Vec<u32>,
    /// Indexes of the operations, in the order of [`Method::ALL`].
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

/// The paths of a schema.
pub(super) struct PathTree {
    /// The first is the root.
    nodes: Vec<PathNode>,
}

/// Operations of a path, found in a [`PathTree`].
pub(super) struct TreeMatch<'t> {
    pub(super) operations: [Option<u32>; Method::ALL.len()],
    pub(super) values: Vec<(&'t str, String)>,
    pub(super) children: Vec<&'t str>,
}

/// A path that leaves the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathMismatch {
    /// Number of leading segments that are known.
    pub matched_segments: usize,
    /// The alternative most similar to the first unknown segment.
    pub suggestion: Option<String>,
    /// Segments that exist instead of the first unknown one.
    pub alternatives: Vec<String>,
}

impl PathTree {
    pub(super) fn new(packed: &PackedSchema) -> Result<Self, SchemaLimit> {
        let mut tree = Self { nodes: vec![PathNode::default()] };
        for (index, operation) in packed.operations.iter().enumerate() {
            let template = packed.text(operation.template);
            let node = template.split('/').filter(|s| !s.is_empty()).fold(0, |node, s| tree.child_or_insert(node, s));
            let method = Method::ALL.iter().position(|m| *m == operation.method.method).expect("ALL has every method");
            // The first of two operations with the same method and path counts.
            tree.nodes[node].operations[method].get_or_insert(index as u32);
            if tree.nodes.len() > MAX_NODES {
                return Err(SchemaLimit::PathNodes(MAX_NODES));
            }
        }
        Ok(tree)
    }

    /// Returns the child for this segment and adds it if necessary. All parameters of one parent are the same child.
    fn child_or_insert(&mut self, parent: usize, segment: &str) -> usize {
        let is_parameter = segment.starts_with('{');
        let fits =
            |node: &PathNode| if is_parameter { node.parameter_name().is_some() } else { *node.segment == *segment };
        if let Some((known, _)) = self.children(parent).find(|(_, node)| fits(node)) {
            return known;
        }
        let added = self.nodes.len();
        self.nodes.push(PathNode { segment: segment.into(), ..PathNode::default() });
        self.nodes[parent].children.push(added as u32);
        added
    }

    fn children(&self, parent: usize) -> impl Iterator<Item = (usize, &PathNode)> {
        self.nodes[parent].children.iter().map(|&child| (child as usize, &self.nodes[child as usize]))
    }

    pub(super) fn match_path(&self, segments: &[&str]) -> Result<TreeMatch<'_>, PathMismatch> {
        let mut node = 0;
        let mut values = Vec::new();
        let mut rest = segments;
        while let Some((segment, after)) = rest.split_first() {
            let literal =
                self.children(node).find(|(_, child)| *child.segment == **segment && child.parameter_name().is_none());
            let next = literal.or_else(|| self.children(node).find(|(_, child)| child.parameter_name().is_some()));
            let Some((next, child)) = next else {
                return Err(self.build_mismatch(node, segments.len() - rest.len(), segment));
            };
            (node, rest) = (next, after);
            if let Some(name) = child.parameter_name() {
                if child.children.is_empty() && PATH_REMAINDER_PARAMETERS.contains(&name) {
                    values.push((name, [&[*segment], after].concat().join("/")));
                    break;
                }
                values.push((name, (*segment).to_owned()));
            }
        }
        if !self.nodes[node].has_operations() {
            return Err(self.build_mismatch(node, segments.len(), ""));
        }
        let children = self.children(node).map(|(_, child)| &*child.segment).collect();
        Ok(TreeMatch { operations: self.nodes[node].operations, values, children })
    }

    fn build_mismatch(&self, node: usize, matched_segments: usize, unknown: &str) -> PathMismatch {
        let alternatives: Vec<String> = self.children(node).map(|(_, child)| child.segment.to_string()).collect();
        let suggestion = suggest(unknown, alternatives.iter().map(String::as_str)).map(str::to_owned);
        PathMismatch { matched_segments, suggestion, alternatives }
    }

    pub(super) fn size_bytes(&self) -> usize {
        let node =
            |node: &PathNode| size_of::<PathNode>() + node.segment.len() + node.children.capacity() * size_of::<u32>();
        self.nodes.iter().map(node).sum()
    }
}
