//! The operator's rules for one cluster.

use super::access::{AccessLevel, ConfirmationPolicy, Permissions};
use super::denial::{Denial, PermissionHolder};
use super::guest_selector::GuestSelector;
use super::pattern::OperationPattern;
use super::risk::{Risk, RiskKind};
use std::fmt;

/// The operator's rules for the calls to one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPolicy {
    /// The upper limit for every client.
    pub permissions: Permissions,
    pub confirm: ConfirmationPolicy,
    /// Operations that are denied.
    pub deny: Vec<OperationPattern>,
    /// The only operations that are allowed, if there is a list.
    pub allow: Option<Vec<OperationPattern>>,
    /// Guests that calls must not change.
    pub protect: Vec<GuestSelector>,
}

impl Default for ClusterPolicy {
    /// Allows everything except commands. Calls that can't be undone need a confirmation.
    fn default() -> Self {
        Self {
            permissions: Permissions { access: AccessLevel::Full, exec: false },
            confirm: ConfirmationPolicy::Destructive,
            deny: Vec::new(),
            allow: None,
            protect: Vec::new(),
        }
    }
}

impl fmt::Display for ClusterPolicy {
    /// Writes access, confirmation and the lengths of the lists.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "access {}, confirm {}", self.permissions, self.confirm)?;
        let allowed = self.allow.as_ref().map(Vec::len);
        for (list, length) in [
            ("denied", Some(self.deny.len()).filter(|n| *n > 0)),
            ("allowed", allowed),
            ("protected", Some(self.protect.len()).filter(|n| *n > 0)),
        ] {
            if let Some(length) = length {
                write!(f, ", {length} {list}")?;
            }
        }
        Ok(())
    }
}

/// A call as the policy sees it.
pub struct Action<'a> {
    /// GET, POST, PUT or DELETE.
    pub method: &'a str,
    /// The decoded segments of its path.
    pub segments: &'a [&'a str],
    /// The path of its operation with placeholders, if the operation is known.
    pub template: Option<&'a str>,
    pub risk: Risk,
}

impl ClusterPolicy {
    /// Checks a call of a client against the permissions of both sides and against the lists.
    pub fn authorize(&self, client: &str, permissions: Permissions, action: &Action<'_>) -> Result<(), Denial> {
        self.authorize_risk(client, permissions, action.risk)?;
        let is_match = |pattern: &&OperationPattern| pattern.matches(action.method, action.segments, action.template);
        if let Some(denied) = self.deny.iter().find(is_match) {
            return Err(Denial::DenyList(denied.clone()));
        }
        if self.allow.as_ref().is_some_and(|allow| !allow.iter().any(|pattern| is_match(&pattern))) {
            return Err(Denial::AllowList);
        }
        Ok(())
    }

    /// Checks a risk against the permissions of both sides, for any path.
    pub fn authorize_risk(&self, client: &str, permissions: Permissions, risk: Risk) -> Result<(), Denial> {
        permissions.authorize(risk, || PermissionHolder::Client(client.to_owned()))?;
        self.permissions.authorize(risk, || PermissionHolder::Cluster)
    }

    /// Returns whether a call needs a confirmation before it is sent.
    pub fn needs_confirmation(&self, risk: Risk) -> bool {
        match self.confirm {
            ConfirmationPolicy::Never => false,
            ConfirmationPolicy::Destructive => risk.irreversible || risk.kind == RiskKind::Execute,
            ConfirmationPolicy::Writes => !risk.is_read_only(),
        }
    }

    /// Returns whether a guest is protected.
    pub fn protects(&self, vmid: u32, pool: &str, tags: &[&str]) -> bool {
        self.protect.iter().any(|selector| selector.matches(vmid, pool, tags))
    }
}

impl RiskKind {
    /// Returns the lowest access level that permits the kind.
    pub fn needed_access(self) -> AccessLevel {
        match self {
            Self::Read => AccessLevel::Read,
            Self::Operate => AccessLevel::Operate,
            Self::ReadSecret | Self::Change | Self::Execute => AccessLevel::Full,
        }
    }
}

impl Permissions {
    /// Checks the risk of a call against the permissions of one side.
    fn authorize(self, risk: Risk, holder: impl FnOnce() -> PermissionHolder) -> Result<(), Denial> {
        let needed = risk.kind.needed_access();
        if self.access < needed {
            return Err(Denial::AccessLevel { needed, granted: self.access, risk, holder: holder() });
        }
        if risk.kind == RiskKind::Execute && !self.exec {
            return Err(Denial::Exec { risk, holder: holder() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorize(policy: &ClusterPolicy, permissions: Permissions, risk: &str) -> Result<(), Denial> {
        let action = Action {
            method: "POST",
            segments: &["nodes", "pve1", "qemu"],
            template: Some("/nodes/{node}/qemu"),
            risk: Risk::from_code(risk),
        };
        policy.authorize("laptop", permissions, &action)
    }

    fn permissions(access: AccessLevel, exec: bool) -> Permissions {
        Permissions { access, exec }
    }

    #[test]
    fn each_level_permits_what_the_stricter_does_and_more() {
        let all = ClusterPolicy { permissions: permissions(AccessLevel::Full, true), ..ClusterPolicy::default() };
        for (access, exec, codes) in [
            (AccessLevel::Read, true, "R"),
            (AccessLevel::Operate, true, "R O O!"),
            (AccessLevel::Full, false, "R O O! S F F!"),
            (AccessLevel::Full, true, "R O O! S F F! X ?"),
        ] {
            for code in ["R", "S", "O", "O!", "F", "F!", "X", "?"] {
                let may = codes.split(' ').any(|c| c == code);
                assert_eq!(
                    authorize(&all, permissions(access, exec), code).is_ok(),
                    may,
                    "client {access} {exec} {code}"
                );
                let cluster = ClusterPolicy { permissions: permissions(access, exec), ..ClusterPolicy::default() };
                assert_eq!(
                    authorize(&cluster, permissions(AccessLevel::Full, true), code).is_ok(),
                    may,
                    "cluster {access} {code}"
                );
            }
        }
    }

    #[test]
    fn the_stricter_of_client_and_cluster_wins() {
        let rules = ClusterPolicy { permissions: permissions(AccessLevel::Operate, false), ..ClusterPolicy::default() };
        assert!(
            authorize(&rules, permissions(AccessLevel::Full, true), "F")
                .is_err_and(|denial| matches!(denial, Denial::AccessLevel { holder: PermissionHolder::Cluster, .. }))
        );
        assert!(
            authorize(&rules, permissions(AccessLevel::Read, true), "O")
                .is_err_and(|denial| denial.to_string().contains("client \"laptop\" has \"read\""))
        );
    }

    #[test]
    fn deny_refuses_and_allow_refuses_the_rest() {
        let list = |text: &str| vec![OperationPattern::parse(text).expect(text)];
        let full = permissions(AccessLevel::Full, true);
        let denied = ClusterPolicy { deny: list("* /nodes/*/qemu"), ..ClusterPolicy::default() };
        assert!(
            authorize(&denied, full, "F")
                .is_err_and(|denial| denial.to_string().contains("\"deny\" list has \"* /nodes/*/qemu\""))
        );
        let other = ClusterPolicy { deny: list("* /nodes/*/lxc"), ..ClusterPolicy::default() };
        assert_eq!(authorize(&other, full, "F"), Ok(()));
        let allowed = ClusterPolicy { allow: Some(list("POST /nodes/*/qemu")), ..ClusterPolicy::default() };
        assert_eq!(authorize(&allowed, full, "F"), Ok(()));
        assert!(authorize(&allowed, full, "X").is_err(), "an allow list lifts nothing");
        let none = ClusterPolicy { allow: Some(Vec::new()), ..ClusterPolicy::default() };
        assert!(authorize(&none, full, "R").is_err());
        let both = ClusterPolicy { deny: list("POST /**"), allow: Some(list("POST /**")), ..ClusterPolicy::default() };
        assert!(authorize(&both, full, "F").is_err());
    }

    #[test]
    fn confirmation_is_needed_by_policy_and_risk() {
        for (confirm, codes) in [
            (ConfirmationPolicy::Never, ""),
            (ConfirmationPolicy::Destructive, "O! F! X ?"),
            (ConfirmationPolicy::Writes, "O O! F F! X ?"),
        ] {
            let rules = ClusterPolicy { confirm, ..ClusterPolicy::default() };
            for code in ["R", "S", "O", "O!", "F", "F!", "X", "?"] {
                assert_eq!(
                    rules.needs_confirmation(Risk::from_code(code)),
                    codes.split(' ').any(|c| c == code),
                    "{confirm} {code}"
                );
            }
        }
    }
}
