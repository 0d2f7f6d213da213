//! The privileges of the API token, as far as the cluster tells it.

use serde_json::Value;
use std::collections::BTreeMap;

/// The answer of GET /access/permissions.
#[derive(Clone, Debug, Default)]
pub struct TokenPrivileges {
    /// By ACL path and privilege: whether it is passed on to the paths below.
    paths: BTreeMap<String, BTreeMap<String, bool>>,
}

impl TokenPrivileges {
    /// Parses the JSON text of the answer. Returns `None` if it is not one.
    pub fn parse(json: &str) -> Option<Self> {
        let Value::Object(paths) = serde_json::from_str(json).ok()? else { return None };
        let paths = paths.into_iter().filter_map(|(path, privileges)| {
            let Value::Object(privileges) = privileges else { return None };
            // (PVE: 0 is held here, and not below.)
            let is_passed_on = |value: &Value| *value == 1 || *value == "1" || *value == true;
            let privileges = privileges.into_iter().map(|(name, value)| (name, is_passed_on(&value)));
            Some((path, privileges.collect()))
        });
        Some(Self { paths: paths.collect() })
    }

    /// Returns whether the token has the privilege on an ACL path. A path that the answer lacks has the privileges that
    /// the nearest path above passes on.
    pub fn holds(&self, path: &str, privilege: &str) -> bool {
        if let Some(privileges) = self.paths.get(path) {
            return privileges.contains_key(privilege);
        }
        let mut above = path;
        while let Some((parent, _)) = above.rsplit_once('/') {
            let parent_path = if parent.is_empty() { "/" } else { parent };
            if let Some(privileges) = self.paths.get(parent_path) {
                return privileges.get(privilege) == Some(&true);
            }
            above = parent;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_passed_on_unless_the_answer_says_otherwise() {
        let json =
            r#"{"/":{"Sys.Audit":1,"VM.Audit":0},"/vms":{"VM.Backup":1},"/storage/nas":{"Datastore.Allocate":0}}"#;
        let token = TokenPrivileges::parse(json).unwrap();
        for (path, privilege, holds) in [
            ("/", "Sys.Audit", true),
            ("/", "VM.Audit", true),
            ("/nodes/pve1", "Sys.Audit", true),
            ("/nodes/pve1", "VM.Audit", false),
            ("/vms/100", "VM.Backup", true),
            ("/vms/100", "Sys.Audit", false),
            ("/storage/nas", "Datastore.Allocate", true),
            ("/storage/other", "Datastore.Allocate", false),
        ] {
            assert_eq!(token.holds(path, privilege), holds, "{path} {privilege}");
        }
        assert!(TokenPrivileges::parse("[]").is_none() && !TokenPrivileges::default().holds("/", "Sys.Audit"));
    }
}
