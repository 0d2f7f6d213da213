//! The privileges of an API token. Proxmox leaves out of a list what the token may not see, without a word.

use crate::policy::is_in_pool;
use serde_json::{Map, Value};

/// The privileges of an API token, by ACL path (`GET /access/permissions`).
pub struct TokenPrivileges(Map<String, Value>);

impl TokenPrivileges {
    /// Reads the data of an answer. An answer of another form has no privilege.
    pub fn from_data(data: &str) -> Self {
        Self(serde_json::from_str(data).unwrap_or_default())
    }

    /// Reads the data of an answer. Returns `None` for an answer of another form.
    pub fn parse(data: &str) -> Option<Self> {
        serde_json::from_str(data).ok().map(Self)
    }

    /// Returns whether the token has no privilege at all.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(|privileges| privileges.as_object().is_none_or(Map::is_empty))
    }

    /// Returns whether the token has the privilege on an ACL path.
    pub fn holds(&self, path: &str, privilege: &str) -> bool {
        match self.0.get(path) {
            // (PVE: 0 is held here, and not below.)
            Some(privileges) => privileges.get(privilege).is_some(),
            None => self.inherits(path, privilege),
        }
    }

    /// Returns whether the list of guests has every guest of the cluster.
    pub fn shows_all_guests(&self) -> bool {
        self.holds_below("/vms", "VM.Audit", |path| path.starts_with("/vms/"))
    }

    /// Returns whether the list of guests names the pool for every guest of this pool and of the pools within it.
    pub fn shows_pool(&self, pool: &str) -> bool {
        let path = format!("/pool/{pool}");
        self.holds_below(&path, "Pool.Audit", |listed| listed.starts_with("/pool/") && is_in_pool(listed, &path))
    }

    /// Returns whether the token has a privilege on a path and on every path below it.
    pub fn holds_everywhere_below(&self, path: &str, privilege: &str) -> bool {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        self.holds_below(path, privilege, |listed| listed.starts_with(&prefix))
    }

    /// Returns whether the token has a privilege on a path and everything below it. `is_below` selects listed paths.
    fn holds_below(&self, path: &str, privilege: &str, is_below: impl Fn(&str) -> bool) -> bool {
        self.inherits(path, privilege)
            && self.0.iter().all(|(listed, privileges)| !is_below(listed) || privileges.get(privilege).is_some())
    }

    /// Returns whether the path, or the nearest one above it that is listed, passes the privilege on.
    fn inherits(&self, path: &str, privilege: &str) -> bool {
        // A path without an entry of its own has what is passed on from the next one above (PVE: the value 1).
        let mut nearest = path;
        loop {
            match self.0.get(nearest) {
                Some(privileges) => return is_passed_on(privileges, privilege),
                None if nearest == "/" => return false,
                None => nearest = nearest.rsplit_once('/').map_or("/", |(up, _)| if up.is_empty() { "/" } else { up }),
            }
        }
    }
}

/// Returns whether a path passes a privilege on to the paths below it.
fn is_passed_on(privileges: &Value, privilege: &str) -> bool {
    match privileges.get(privilege) {
        Some(Value::Number(number)) => number.as_f64().is_some_and(|number| number != 0.0),
        Some(Value::String(text)) => text == "1",
        Some(Value::Bool(is_passed_on)) => *is_passed_on,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view(permissions: Value) -> TokenPrivileges {
        let Value::Object(permissions) = permissions else { panic!("an object") };
        TokenPrivileges(permissions)
    }

    #[test]
    fn all_guests_are_shown_if_the_privilege_covers_every_path() {
        for (permissions, shows) in [
            (json!({"/": {"VM.Audit": 1}}), true),
            (json!({"/vms": {"VM.Audit": 1}}), true),
            (json!({"/vms": {"VM.Audit": "1"}, "/vms/100": {"VM.Audit": 1}}), true),
            (json!({"/vms": {"VM.Audit": 0}}), false),
            (json!({"/vms": {"VM.PowerMgmt": 1}, "/": {"VM.Audit": 1}}), false),
            (json!({"/vms": {"VM.Audit": 1}, "/vms/100": {"VM.Backup": 1}}), false),
            (json!({"/vms/100": {"VM.Audit": 1}}), false),
            (json!({}), false),
        ] {
            assert_eq!(view(permissions.clone()).shows_all_guests(), shows, "{permissions}");
        }
    }

    #[test]
    fn a_pool_is_shown_with_the_pools_within_it() {
        for (permissions, shows) in [
            (json!({"/pool": {"Pool.Audit": 1}}), true),
            (json!({"/pool/prod": {"Pool.Audit": 1}}), true),
            (json!({"/pool/prod": {"Pool.Audit": 1}, "/pool/prod/web": {"Pool.Allocate": 1}}), false),
            (json!({"/pool/prod": {"Pool.Audit": 1}, "/pool/production": {"VM.Audit": 1}}), true),
            (json!({"/pool/prod/web": {"Pool.Audit": 1}}), false),
            (json!({"/vms": {"VM.Audit": 1}}), false),
        ] {
            assert_eq!(view(permissions.clone()).shows_pool("prod"), shows, "{permissions}");
        }
    }

    #[test]
    fn privileges_are_passed_on_unless_the_answer_says_otherwise() {
        let token = view(json!({
            "/": {"Sys.Audit": 1, "VM.Audit": 0},
            "/vms": {"VM.Backup": 1},
            "/storage/nas": {"Datastore.Allocate": 0},
        }));
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
        assert!(TokenPrivileges::parse("[]").is_none());
    }
}
