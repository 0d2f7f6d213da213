//! JSON texts, read without a tree.

use crate::base::json_scan::{JsonScanner, find_string, unquote, walk};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Returns the names and raw values of an object's members as serde_json reads them, or `None` for anything else. A
/// name with half a surrogate pair keeps its escape.
pub(super) fn parse_members(object: &str) -> Option<Vec<(String, &str)>> {
    struct ObjectMembers<'a>(Vec<(String, &'a str)>);
    impl<'de> Deserialize<'de> for ObjectMembers<'de> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct ObjectMembersVisitor;
            impl<'de> Visitor<'de> for ObjectMembersVisitor {
                type Value = ObjectMembers<'de>;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                    let mut members = Vec::new();
                    while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                        let decoded = serde_json::from_str::<String>(name.get());
                        let name = decoded.unwrap_or_else(|_| name.get().trim_matches('"').into());
                        members.push((name, value.get()));
                    }
                    Ok(ObjectMembers(members))
                }
            }
            deserializer.deserialize_map(ObjectMembersVisitor)
        }
    }
    serde_json::from_str::<ObjectMembers<'_>>(object).ok().map(|members| members.0)
}

pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Checks the scanner against serde_json: both accept the same texts and find the same members.
pub fn check_json(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let mut scan = JsonScanner::new(text);
    let value = scan.next_value().filter(|_| scan.is_done());
    assert_eq!(value.is_some(), is_json(text));
    let mut found = Vec::new();
    let whole = walk(text, &mut |name, value| {
        found.push((name, value));
        true
    });
    let start = text.trim_ascii_start();
    assert_eq!(whole, value.is_some() && start.starts_with(['{', '[']));
    if !whole {
        return value.is_some();
    }
    if start.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).expect("a list");
        assert!(items.iter().map(|item| item.get()).eq(found.iter().map(|(_, value)| *value)));
    } else if let Some(members) = parse_members(text) {
        let names = found.iter().map(|(name, value)| (unquote(name), *value));
        assert!(members.iter().map(|(name, value)| (Cow::from(name), *value)).eq(names));
        for (name, _) in &members {
            let (_, first) = members.iter().find(|(other, _)| other == name).expect("itself");
            let expected = first.starts_with('"').then(|| unquote(first));
            assert_eq!(find_string(text, name), expected);
        }
    }
    true
}
