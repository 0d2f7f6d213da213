//! The call that brings back what a change replaces.

use crate::pve::Method;
use crate::pve::path::ApiPath;
use serde_json::{Map, Value};

/// A call that undoes another one, as a caller sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoCall {
    pub method: Method,
    pub path: ApiPath,
    pub data: Vec<(String, String)>,
    /// The call accepts the digest of the state that it undoes.
    pub takes_digest: bool,
    /// The options that change back at the next start of the guest only.
    pub waiting: Vec<String>,
    /// What the call leaves over.
    pub remark: Option<&'static str>,
    /// The calls after it that undo the rest.
    pub more: Vec<UndoCall>,
}

impl UndoCall {
    pub fn new(method: Method, path: ApiPath, data: Vec<(String, String)>) -> Self {
        Self { method, path, data, takes_digest: false, waiting: Vec::new(), remark: None, more: Vec::new() }
    }

    /// Returns the call with a path that has no node: `/qemu/100/config` for `/nodes/pve1/qemu/100/config`.
    pub fn without_node(self) -> Self {
        let segments: Vec<_> = self.path.segments().skip(2).map(|segment| segment.into_owned()).collect();
        let path = ApiPath::from_segments(&segments).unwrap_or_else(|_| self.path.clone());
        Self { path, ..self }
    }

    /// Returns the call and those after it, each by itself.
    pub fn into_calls(mut self) -> impl DoubleEndedIterator<Item = Self> {
        let more = std::mem::take(&mut self.more);
        std::iter::once(self).chain(more)
    }

    /// Renders the call in one line, and those after it: `PUT /nodes/pve1/qemu/100/config {"memory":"8192"}`. `digest` is
    /// that of the object after the change.
    pub fn render(&self, digest: Option<&str>) -> String {
        let mut data: Map<String, Value> = Map::new();
        for (name, value) in &self.data {
            data.insert(name.clone(), value.as_str().into());
        }
        if let Some(digest) = digest.filter(|_| self.takes_digest) {
            data.insert("digest".into(), digest.into());
        }
        let mut text = format!("{} {}", self.method, self.path);
        if !data.is_empty() {
            text.push(' ');
            text.push_str(&Value::Object(data).to_string());
        }
        if !self.waiting.is_empty() {
            text.push_str(&format!(" ({} at the next start of the guest)", self.waiting.join(", ")));
        }
        if let Some(remark) = self.remark {
            text.push_str(&format!(" ({remark})"));
        }
        for call in &self.more {
            text.push_str("; then ");
            text.push_str(&call.render(digest));
        }
        text
    }
}
