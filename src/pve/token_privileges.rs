//! The privileges of an API token. Proxmox leaves out of a list what the token may not see, without a word.

use crate::base::json_scan::{unquote, walk};
use crate::policy::is_in_pool;
use std::collections::BTreeMap;

/// The privileges of an API token, by ACL path (`GET /access/permissions`), as far as lists depend on them.
pub struct TokenPrivileges(BTreeMap<String, PathPrivileges>);

/// The privileges on one ACL path. `None` for one that the token lacks, else whether it is passed on.
#[derive(Default)]
struct PathPrivileges {
    vm_audit: Option<bool>,
    pool_audit: Option<bool>,
}

impl TokenPrivileges {
    /// Reads the data of an answer. An answer of another form has no privilege.
    pub fn from_data(data: &str) -> Self {
        let mut paths = BTreeMap::new();
        let is_object = data.starts_with('{')
            && walk(data, &mut |path, privileges| {
                paths.insert(unquote(path).into_owned(), PathPrivileges::parse(privileges));
                true
            });
        Self(if is_object { paths } else { BTreeMap::new() })
    }

    /// Returns whether the list of guests has every guest of the cluster.
    pub fn shows_all_guests(&self) -> bool {
        self.holds_below("/vms", |privileges| privileges.vm_audit, |path| path.starts_with("/vms/"))
    }

    /// Returns whether the list of guests names the pool for every guest of this pool and of the pools within it.
    pub fn shows_pool(&self, pool: &str) -> bool {
        let path = format!("/pool/{pool}");
        let is_below = |listed: &str| listed.starts_with("/pool/") && is_in_pool(listed, &path);
        self.holds_below(&path, |privileges| privileges.pool_audit, is_below)
    }

    /// Returns whether the token has a privilege on a path and everything below it. `is_below` selects listed paths.
    fn holds_below(
        &self,
        path: &str,
        privilege: fn(&PathPrivileges) -> Option<bool>,
        is_below: impl Fn(&str) -> bool,
    ) -> bool {
        // A path without an entry of its own has what is passed on from the next one above (PVE: the value 1).
        let mut nearest = path;
        let inherited = loop {
            match self.0.get(nearest) {
                Some(privileges) => break privilege(privileges) == Some(true),
                None if nearest == "/" => break false,
                None => nearest = nearest.rsplit_once('/').map_or("/", |(up, _)| if up.is_empty() { "/" } else { up }),
            }
        };
        inherited && self.0.iter().all(|(listed, privileges)| !is_below(listed) || privilege(privileges).is_some())
    }
}

impl PathPrivileges {
    fn parse(privileges: &str) -> Self {
        let mut parsed = Self::default();
        walk(privileges, &mut |name, value| {
            match unquote(name).as_ref() {
                "VM.Audit" => parsed.vm_audit = Some(is_passed_on(value)),
                "Pool.Audit" => parsed.pool_audit = Some(is_passed_on(value)),
                _ => {}
            }
            true
        });
        parsed
    }
}

/// Returns whether a privilege with this value is passed on to the paths below.
fn is_passed_on(value: &str) -> bool {
    matches!(value, "true" | "\"1\"") || value.parse::<f64>().is_ok_and(|number| number != 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn view(permissions: Value) -> TokenPrivileges {
        TokenPrivileges::from_data(&permissions.to_string())
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
}
