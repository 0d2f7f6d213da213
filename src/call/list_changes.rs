//! Items added to a list option, or removed from it, without a read by the caller: `tags=+web,-old`. The list is read,
//! and the digest of what was read guards the change.

use super::handle::ClusterHandle;
use super::lookup_error::LookupError;
use super::plan_error::PlanError;
use super::planned_call::CallPurpose;
use crate::base::list_text::list_items;
use crate::pve::Method;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::schema::Operation;
use crate::render::object_state::to_text;
use serde_json::{Map, Value};

/// The items to add to a list and those to remove from it.
#[derive(Debug, Default, PartialEq, Eq)]
struct ListChange {
    added: Vec<String>,
    removed: Vec<String>,
}

impl ListChange {
    /// Parses `+web,-old` or a JSON list of such items. Returns `None` if an item has no sign.
    fn parse(value: &Value) -> Option<Self> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(","),
            _ => return None,
        };
        let mut change = Self::default();
        for item in list_items(&text) {
            match (item.strip_prefix('+'), item.strip_prefix('-')) {
                (Some(name), _) if !name.is_empty() => change.added.push(name.to_owned()),
                (_, Some(name)) if !name.is_empty() => change.removed.push(name.to_owned()),
                _ => return None,
            }
        }
        (change != Self::default()).then_some(change)
    }

    /// Returns a list with the change, in its own order.
    fn apply(&self, now: &str, separator: &str) -> String {
        let now = list_items(now);
        let mut items: Vec<&str> = now.filter(|item| !self.removed.iter().any(|removed| removed == item)).collect();
        for added in &self.added {
            if !items.contains(&added.as_str()) {
                items.push(added);
            }
        }
        items.join(separator)
    }
}

/// Replaces items with signs by the whole list, where a digest guards the operation. Returns the names of the lists.
pub(super) fn apply_list_changes(
    cluster: &ClusterHandle<'_>,
    operation: &Operation<'_>,
    path: &ApiPath,
    data: &mut Map<String, Value>,
) -> Result<Vec<String>, PlanError> {
    if !matches!(operation.method(), Method::Put | Method::Post) || operation.parameter("digest").is_none() {
        return Ok(Vec::new());
    }
    let is_list = |name: &str| operation.parameter(name).is_some_and(|parameter| parameter.format().ends_with("-list"));
    let changes: Vec<(String, ListChange)> = data
        .iter()
        .filter(|(name, _)| is_list(name) && !matches!(name.as_str(), "delete" | "revert"))
        .filter_map(|(name, value)| Some((name.clone(), ListChange::parse(value)?)))
        .collect();
    let Some((first, _)) = changes.first() else { return Ok(Vec::new()) };
    let read = |path: &ApiPath| -> Result<Map<String, Value>, LookupError> {
        let response = cluster.authorize_read(CallPurpose::Lookup, path.clone(), ApiParams::new())?.send_read()?;
        Ok(serde_json::from_str(response.data()).unwrap_or_default())
    };
    let object = match cluster.forecast_options(path, &read) {
        Ok(object) => object,
        // The call is planned again with the list that the object has when it is sent.
        Err(_) if cluster.is_made_before(path) => Map::new(),
        Err(error) => {
            return Err(PlanError::UnreadableList { parameter: first.clone(), error: Box::new(error) });
        }
    };
    for (name, change) in &changes {
        let separator = if name == "tags" { ";" } else { "," };
        let list = change.apply(&object.get(name).map(to_text).unwrap_or_default(), separator);
        match list.as_str() {
            "" => {
                data.remove(name);
                let deleted = data.entry("delete").or_insert_with(|| "".into());
                let names = to_text(deleted);
                *deleted = if names.is_empty() { name.as_str().into() } else { format!("{names},{name}").into() };
            }
            _ => drop(data.insert(name.clone(), list.into())),
        }
    }
    if let Some(digest) = object.get("digest").filter(|digest| digest.is_string()) {
        data.entry("digest").or_insert_with(|| digest.clone());
    }
    Ok(changes.into_iter().map(|(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn items_with_signs_change_a_list() {
        for (value, now, list) in [
            (json!("+web"), "prod", Some("prod;web")),
            (json!("+web"), "prod;web", Some("prod;web")),
            (json!("-prod,+a"), "prod;web", Some("web;a")),
            (json!(["+a", "-web"]), "prod,web", Some("prod;a")),
            (json!("-prod"), "prod", Some("")),
            (json!("+a"), "", Some("a")),
            (json!("web"), "prod", None),
            (json!("+web,old"), "prod", None),
            (json!("+"), "prod", None),
            (json!(""), "prod", None),
            (json!(["+a", 1]), "prod", None),
            (json!(7), "prod", None),
        ] {
            let changed = ListChange::parse(&value).map(|change| change.apply(now, ";"));
            assert_eq!(changed.as_deref(), list, "{value} on {now}");
        }
    }
}
