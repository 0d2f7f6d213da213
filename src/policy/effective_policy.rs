//! The rules that hold for a call: those of its cluster and those of its client. The stricter wins.

use super::access::{AccessLevel, ConfirmationPolicy, Confirmer, Permissions};
use super::cluster_policy::ClusterPolicy;
use super::denial::{Denial, PermissionHolder};
use super::guest_selector::GuestSelector;
use super::implied_calls::{ImpliedCall, ImplyingCall};
use super::pattern::OperationPattern;
use super::risk::{Risk, RiskKind};
use std::fmt::Write;

/// The operator's rules for the calls of one client, to any cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRules {
    /// The cluster's confirmation applies as well.
    pub confirm: ConfirmationPolicy,
    /// The cluster's applies as well.
    pub confirm_by: Confirmer,
    /// Operations that are denied.
    pub deny: Vec<OperationPattern>,
    /// The only operations that are allowed, if there is a list.
    pub allow: Option<Vec<OperationPattern>>,
    /// Guests that calls must not change.
    pub protect: Vec<GuestSelector>,
}

impl Default for ClientRules {
    /// Adds nothing to the rules of a cluster.
    fn default() -> Self {
        Self {
            confirm: ConfirmationPolicy::Never,
            confirm_by: Confirmer::Client,
            deny: Vec::new(),
            allow: None,
            protect: Vec::new(),
        }
    }
}

/// The rules of a cluster together with those of a client.
#[derive(Clone, Copy)]
pub struct EffectivePolicy<'a> {
    pub cluster: &'a ClusterPolicy,
    pub client: &'a ClientRules,
    pub client_name: &'a str,
    pub client_permissions: Permissions,
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
    /// The calls that it stands for, if a side has lists.
    pub implied: &'a [ImpliedCall],
}

impl<'a> EffectivePolicy<'a> {
    /// Returns whether a side has a list of denied or allowed operations, so that the implied calls of an action count.
    pub fn has_lists(&self) -> bool {
        let (cluster, client) = (self.cluster, self.client);
        !cluster.deny.is_empty() || !client.deny.is_empty() || cluster.allow.is_some() || client.allow.is_some()
    }

    /// Checks a call against the permissions and the lists of both sides.
    pub fn authorize(&self, action: &Action<'_>) -> Result<(), Denial> {
        self.authorize_risk(action.risk)?;
        self.check_deny(action)?;
        let is_match = |pattern: &OperationPattern| pattern.matches(action.method, action.segments, action.template);
        for (allow, holder) in
            [(&self.cluster.allow, PermissionHolder::Cluster), (&self.client.allow, self.client_holder())]
        {
            let Some(allow) = allow else { continue };
            if !allow.iter().any(is_match) {
                return Err(Denial::AllowList(holder));
            }
            let mut needed = action.implied.iter().filter(|implied| implied.needs_allow);
            if let Some(implied) = needed.find(|implied| !implied.is_covered_by(allow)) {
                return Err(Denial::AllowImplied { implied: implied.clone().into(), holder });
            }
        }
        Ok(())
    }

    /// Checks whether the `deny` lists of both sides have a call, or one that it stands for.
    fn check_deny(&self, action: &Action<'_>) -> Result<(), Denial> {
        let is_match = |pattern: &&OperationPattern| pattern.matches(action.method, action.segments, action.template);
        for (deny, holder) in
            [(&self.cluster.deny, PermissionHolder::Cluster), (&self.client.deny, self.client_holder())]
        {
            if let Some(denied) = deny.iter().find(is_match) {
                return Err(Denial::DenyList { pattern: denied.clone(), holder });
            }
            for pattern in deny {
                if let Some(implied) = action.implied.iter().find(|implied| implied.meets(pattern)) {
                    return Err(Denial::DenyImplied {
                        implied: implied.clone().into(),
                        pattern: pattern.clone(),
                        holder,
                    });
                }
            }
        }
        Ok(())
    }

    /// Returns whether the rules allow some call of an operation. `template` is its path in segments, with placeholders.
    pub fn allows_operation(&self, method: &str, template: &[&str], risk: Risk) -> bool {
        let is_listed = |allow: &Option<Vec<OperationPattern>>| {
            allow.as_ref().is_none_or(|allow| allow.iter().any(|pattern| pattern.fits(method, template)))
        };
        let path: String = template.iter().flat_map(|part| ["/", part]).collect();
        let implied = ImplyingCall { method, template: &path, segments: template }.find_certain();
        let action = Action { method, segments: template, template: None, risk, implied: &implied };
        self.authorize_risk(risk).is_ok()
            && self.check_deny(&action).is_ok()
            && is_listed(&self.cluster.allow)
            && is_listed(&self.client.allow)
    }

    /// Checks a risk against the permissions of both sides, for any path.
    pub fn authorize_risk(&self, risk: Risk) -> Result<(), Denial> {
        self.client_permissions.authorize(risk, || self.client_holder())?;
        self.cluster.permissions.authorize(risk, || PermissionHolder::Cluster)
    }

    /// Returns whether a call needs a confirmation before it is sent.
    pub fn needs_confirmation(&self, risk: Risk) -> bool {
        match self.cluster.confirm.max(self.client.confirm) {
            ConfirmationPolicy::Never => false,
            ConfirmationPolicy::Destructive => risk.is_sensitive(),
            ConfirmationPolicy::Writes => !risk.is_read_only(),
        }
    }

    /// Returns the side that confirms calls.
    pub fn confirmer(&self) -> Confirmer {
        self.cluster.confirm_by.max(self.client.confirm_by)
    }

    /// Returns the selectors of protected guests.
    pub fn protect(&self) -> impl Iterator<Item = &'a GuestSelector> {
        self.cluster.protect.iter().chain(&self.client.protect)
    }

    /// Returns whether any guest is protected.
    pub fn protects_guests(&self) -> bool {
        self.protect().next().is_some()
    }

    /// Returns whether the guests of a pool are protected.
    pub fn protects_pools(&self) -> bool {
        self.protect().any(|selector| matches!(selector, GuestSelector::Pool(_)))
    }

    /// Returns whether a guest is protected.
    pub fn protects(&self, vmid: u32, pool: &str, tags: &[&str]) -> bool {
        self.protect().any(|selector| selector.matches(vmid, pool, tags))
    }

    /// Appends the level of access that both sides grant, and the calls that are confirmed.
    pub fn write_rights(&self, out: &mut String) {
        let exec = self.client_permissions.exec && self.cluster.permissions.exec;
        let confirm = self.cluster.confirm.max(self.client.confirm);
        // A reader takes full access for everything.
        let without = if self.access() == AccessLevel::Full && !exec { " without exec" } else { "" };
        let _ = write!(out, "{}{without}, confirm {confirm}", Permissions { access: self.access(), exec });
    }

    /// Returns the level of access that both sides grant.
    pub fn access(&self) -> AccessLevel {
        self.client_permissions.access.min(self.cluster.permissions.access)
    }

    fn client_holder(&self) -> PermissionHolder {
        PermissionHolder::Client(self.client_name.to_owned())
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
    pub(super) fn authorize(self, risk: Risk, holder: impl FnOnce() -> PermissionHolder) -> Result<(), Denial> {
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
    use std::sync::LazyLock;

    fn authorize(policy: &ClusterPolicy, permissions: Permissions, risk: &str) -> Result<(), Denial> {
        let action = Action {
            method: "POST",
            segments: &["nodes", "pve1", "qemu"],
            template: Some("/nodes/{node}/qemu"),
            risk: Risk::from_code(risk),
            implied: &[],
        };
        both(policy, permissions).authorize(&action)
    }

    fn both(cluster: &ClusterPolicy, client_permissions: Permissions) -> EffectivePolicy<'_> {
        static NO_RULES: LazyLock<ClientRules> = LazyLock::new(ClientRules::default);
        EffectivePolicy { cluster, client: &NO_RULES, client_name: "laptop", client_permissions }
    }

    fn permissions(access: AccessLevel, exec: bool) -> Permissions {
        Permissions { access, exec }
    }

    #[test]
    fn each_level_permits_what_the_stricter_does_and_more() {
        let all = ClusterPolicy { permissions: permissions(AccessLevel::Full, true), ..ClusterPolicy::default() };
        for (access, exec, codes) in [
            (AccessLevel::Read, true, "R"),
            (AccessLevel::Operate, true, "R O O! O~ O>"),
            (AccessLevel::Full, false, "R O O! O~ O> S F F! F~"),
            (AccessLevel::Full, true, "R O O! O~ O> S F F! F~ X ?"),
        ] {
            for code in ["R", "S", "O", "O!", "O~", "O>", "F", "F!", "F~", "X", "?"] {
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
            authorize(&denied, full, "F").is_err_and(|denial| denial
                .to_string()
                .contains("\"deny\" list of this cluster has \"* /nodes/*/qemu\""))
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
            (ConfirmationPolicy::Destructive, "O! O~ O> F! F~ X ?"),
            (ConfirmationPolicy::Writes, "O O! O~ O> F F! F~ X ?"),
        ] {
            let rules = ClusterPolicy { confirm, ..ClusterPolicy::default() };
            for code in ["R", "S", "O", "O!", "O~", "O>", "F", "F!", "F~", "X", "?"] {
                assert_eq!(
                    both(&rules, permissions(AccessLevel::Full, true)).needs_confirmation(Risk::from_code(code)),
                    codes.split(' ').any(|c| c == code),
                    "{confirm} {code}"
                );
            }
        }
    }

    #[test]
    fn the_operator_confirms_if_one_side_demands_it() {
        let full = permissions(AccessLevel::Full, true);
        for (cluster, client, confirmer) in [
            (Confirmer::Client, Confirmer::Client, Confirmer::Client),
            (Confirmer::Client, Confirmer::Operator, Confirmer::Operator),
            (Confirmer::Operator, Confirmer::Client, Confirmer::Operator),
        ] {
            let cluster = ClusterPolicy { confirm_by: cluster, ..ClusterPolicy::default() };
            let client = ClientRules { confirm_by: client, ..ClientRules::default() };
            assert_eq!(EffectivePolicy { client: &client, ..both(&cluster, full) }.confirmer(), confirmer);
        }
    }

    #[test]
    fn rules_of_the_client_add_to_those_of_the_cluster() {
        let list = |text: &str| vec![OperationPattern::parse(text).expect(text)];
        let cluster = ClusterPolicy { confirm: ConfirmationPolicy::Never, ..ClusterPolicy::default() };
        let full = permissions(AccessLevel::Full, true);
        let action = Action {
            method: "POST",
            segments: &["nodes", "pve1", "qemu"],
            template: Some("/nodes/{node}/qemu"),
            risk: Risk::from_code("F"),
            implied: &[],
        };
        for (client, text) in [
            (
                ClientRules { deny: list("POST /nodes/*/qemu"), ..ClientRules::default() },
                "\"deny\" list of client \"laptop\"",
            ),
            (
                ClientRules { allow: Some(list("GET /**")), ..ClientRules::default() },
                "client \"laptop\" has an \"allow\"",
            ),
        ] {
            let policy = EffectivePolicy { client: &client, ..both(&cluster, full) };
            let denial = policy.authorize(&action).expect_err(text).to_string();
            assert!(denial.contains(text), "{denial}");
        }
        let client = ClientRules {
            confirm: ConfirmationPolicy::Writes,
            protect: vec![GuestSelector::Vmid(100)],
            ..ClientRules::default()
        };
        let policy = EffectivePolicy { client: &client, ..both(&cluster, full) };
        assert!(policy.needs_confirmation(Risk::from_code("F")) && policy.protects(100, "", &[]));
        assert!(!both(&cluster, full).needs_confirmation(Risk::from_code("X")));
    }
}
