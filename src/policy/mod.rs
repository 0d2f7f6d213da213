//! What may be done: how dangerous an operation is ([`Risk`]), how much a client and a cluster let through ([`AccessLevel`]),
//! and what an operator has ruled out ([`ClusterPolicy`]).
//!
//! It knows neither clusters nor clients: it is handed what is about to be done, in words, and says whether that may be.
//! What nobody knows is taken for the worst there is.

mod guest_selector;
mod pattern;
mod risk;

pub use guest_selector::{GuestSelector, for_each_vmid_in_list, for_each_vmid_in_name};
pub use pattern::OperationPattern;
pub use risk::{Risk, RiskKind};

use std::fmt;

/// How much may be done: from the strictest up, so that the lesser of two is the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessLevel {
    /// Nothing changes, nothing secret is read.
    Read,
    /// Beside that, what can be undone: power, snapshots, backup, migration.
    Operate,
    /// All but what [`Permissions::exec`] is for.
    Full,
}

/// What asks for a confirmation before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfirmationPolicy {
    /// Nothing.
    Never,
    /// What can't be undone, or changes who may do what, or runs commands.
    Destructive,
    /// Every change.
    Writes,
}

impl AccessLevel {
    /// The words of clusters.json, from the strictest up.
    pub const WORDS: [(&str, Self); 3] = [("read", Self::Read), ("operate", Self::Operate), ("full", Self::Full)];
}

impl ConfirmationPolicy {
    /// The words of clusters.json.
    pub const WORDS: [(&str, Self); 3] =
        [("destructive", Self::Destructive), ("writes", Self::Writes), ("never", Self::Never)];
}

/// A word of clusters.json in this program's terms.
fn config_word<T: PartialEq>(words: [(&'static str, T); 3], value: &T) -> &'static str {
    words.iter().find(|(_, one)| one == value).map_or("", |(word, _)| word)
}

impl fmt::Display for AccessLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(config_word(Self::WORDS, self))
    }
}

impl fmt::Display for ConfirmationPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(config_word(Self::WORDS, self))
    }
}

/// How much is let through, on one side: a client's or a cluster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// How far.
    pub access: AccessLevel,
    /// Whether commands may be run on guests and nodes.
    pub exec: bool,
}

/// What an operator lets be done on one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPolicy {
    /// Whoever asks.
    pub permissions: Permissions,
    /// What has to be confirmed.
    pub confirm: ConfirmationPolicy,
    /// Operations that are refused.
    pub deny: Vec<OperationPattern>,
    /// The only operations that are not refused, if there is a list.
    pub allow: Option<Vec<OperationPattern>>,
    /// Guests that nothing may change.
    pub protect: Vec<GuestSelector>,
}

impl Default for ClusterPolicy {
    /// All but running commands; what can't be undone is to be confirmed.
    fn default() -> Self {
        let rights = Permissions { access: AccessLevel::Full, exec: false };
        Self {
            permissions: rights,
            confirm: ConfirmationPolicy::Destructive,
            deny: Vec::new(),
            allow: None,
            protect: Vec::new(),
        }
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.access, if self.exec { " and exec" } else { "" })
    }
}

impl fmt::Display for ClusterPolicy {
    /// In a few words: how far, what is confirmed, how many operations and guests are named.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "access {}, confirm {}", self.permissions, self.confirm)?;
        let allowed = self.allow.as_ref().map(Vec::len);
        for (what, many) in [
            ("denied", Some(self.deny.len()).filter(|n| *n > 0)),
            ("allowed", allowed),
            ("protected", Some(self.protect.len()).filter(|n| *n > 0)),
        ] {
            if let Some(many) = many {
                write!(f, ", {many} {what}")?;
            }
        }
        Ok(())
    }
}

/// What is about to be done.
pub struct Action<'a> {
    /// GET, POST, PUT or DELETE.
    pub method: &'a str,
    /// Of its path, decoded.
    pub segments: &'a [&'a str],
    /// The path of its operation, with placeholders, where that is known.
    pub template: Option<&'a str>,
    /// What it can do.
    pub risk: Risk,
}

impl ClusterPolicy {
    /// Whether a client may do it here. The refusal is a clause that says what stands against it, and who can lift it.
    ///
    /// # Errors
    /// It may not be done.
    pub fn authorize(&self, client: &str, permissions: Permissions, action: &Action<'_>) -> Result<(), String> {
        self.authorize_risk(client, permissions, action.risk)?;
        let fits = |pattern: &&OperationPattern| pattern.matches(action.method, action.segments, action.template);
        if let Some(denied) = self.deny.iter().find(fits) {
            return Err(format!("the cluster's \"deny\" list has \"{denied}\"{REMEDY}"));
        }
        if self.allow.as_ref().is_some_and(|allow| !allow.iter().any(|pattern| fits(&pattern))) {
            return Err(format!("the cluster has an \"allow\" list, and this is not on it{REMEDY}"));
        }
        Ok(())
    }

    /// Whether as much as this may be done at all, on whatever path.
    ///
    /// # Errors
    /// It may not be done.
    pub fn authorize_risk(&self, client: &str, permissions: Permissions, risk: Risk) -> Result<(), String> {
        permissions.authorize(risk, &format_args!("client \"{client}\""))?;
        self.permissions.authorize(risk, &"this cluster")
    }

    /// Whether a call has to be confirmed before it is sent.
    pub fn needs_confirmation(&self, risk: Risk) -> bool {
        match self.confirm {
            ConfirmationPolicy::Never => false,
            ConfirmationPolicy::Destructive => risk.irreversible || risk.kind == RiskKind::Execute,
            ConfirmationPolicy::Writes => !risk.is_read_only(),
        }
    }

    /// Whether a guest is protected.
    pub fn protects(&self, vmid: u32, pool: &str, tags: &[&str]) -> bool {
        self.protect.iter().any(|protected| protected.matches(vmid, pool, tags))
    }
}

/// What ends every refusal: no other call helps.
pub const REMEDY: &str = "; only whoever runs this server can change that, in clusters.json";

impl Permissions {
    /// Whether this much lets it through.
    fn authorize(self, risk: Risk, holder: &dyn fmt::Display) -> Result<(), String> {
        let needed = match risk.kind {
            RiskKind::Read => AccessLevel::Read,
            RiskKind::Operate => AccessLevel::Operate,
            RiskKind::ReadSecret | RiskKind::Change | RiskKind::Execute => AccessLevel::Full,
        };
        if self.access < needed {
            return Err(format!("it needs access \"{needed}\" ({risk}), but {holder} has \"{}\"{REMEDY}", self.access));
        }
        if risk.kind == RiskKind::Execute && !self.exec {
            return Err(format!("it needs \"exec\" ({risk}), which {holder} has not{REMEDY}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorize(policy: &ClusterPolicy, permissions: Permissions, risk: &str) -> Result<(), String> {
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
                .is_err_and(|why| why.contains("this cluster has"))
        );
        assert!(
            authorize(&rules, permissions(AccessLevel::Read, true), "O")
                .is_err_and(|why| why.contains("\"laptop\" has"))
        );
    }

    #[test]
    fn deny_refuses_and_allow_refuses_the_rest() {
        let list = |text: &str| vec![OperationPattern::parse(text).expect(text)];
        let full = permissions(AccessLevel::Full, true);
        let denied = ClusterPolicy { deny: list("* /nodes/*/qemu"), ..ClusterPolicy::default() };
        assert!(authorize(&denied, full, "F").is_err_and(|why| why.contains("\"deny\" list has \"* /nodes/*/qemu\"")));
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
