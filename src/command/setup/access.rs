//! The users, roles, tokens and ACLs of a cluster, as far as setup changes them, and the steps of a change.

use proxmox_mcp::policy::AccessLevel;
use proxmox_mcp::pve::Method;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The user of all tokens that setup makes.
pub const USER: &str = "proxmox-mcp@pve";
/// The role of the level `operate`.
pub const OPERATE_ROLE: &str = "MCPOperate";
/// Mark of a user or token that setup made. What has no such mark is never deleted.
const MADE_BY: &str = "proxmox-mcp setup";

/// The privileges of the level `operate` beside those of PVEAuditor. Those that also change nodes, storages, networks or
/// services (Sys.Modify, Datastore.Allocate, …) are not among them: docs/rights.md lists the operations that need them.
const OPERATE_PRIVILEGES: [&str; 7] = [
    "Datastore.AllocateSpace",
    "VM.Backup",
    "VM.GuestAgent.FileSystemMgmt",
    "VM.Migrate",
    "VM.PowerMgmt",
    "VM.Replicate",
    "VM.Snapshot",
];

/// A user or a token in an ACL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    User,
    /// A token of [`USER`], by its name.
    Token(String),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str(USER),
            Self::Token(name) => write!(f, "{USER}!{name}"),
        }
    }
}

/// The part of a cluster's access control that setup reads and changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Privileges of each role.
    pub roles: BTreeMap<String, BTreeSet<String>>,
    /// The comment of [`USER`], if the user exists.
    pub user: Option<String>,
    /// The comments of its tokens, by name.
    pub tokens: BTreeMap<String, String>,
    /// The roles of the user and its tokens on `/`.
    pub grants: BTreeSet<(Holder, String)>,
    /// Roles that other users, groups or paths have.
    pub roles_of_others: BTreeSet<String>,
}

/// One change of the access control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    CreateRole(String, BTreeSet<String>),
    /// Role, its new privileges and the ones before.
    ChangeRole(String, BTreeSet<String>, BTreeSet<String>),
    DeleteRole(String, BTreeSet<String>),
    CreateUser(String),
    DeleteUser(String),
    /// Name and comment.
    CreateToken(String, String),
    DeleteToken(String),
    Grant(Holder, String),
    Revoke(Holder, String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |privileges: &BTreeSet<String>| privileges.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        match self {
            Self::CreateRole(role, privileges) => write!(f, "create role {role} with {}", list(privileges)),
            Self::ChangeRole(role, privileges, _) => write!(f, "change role {role} to {}", list(privileges)),
            Self::DeleteRole(role, _) => write!(f, "delete role {role}"),
            Self::CreateUser(_) => write!(f, "create user {USER}, without a password"),
            Self::DeleteUser(_) => write!(f, "delete user {USER}"),
            Self::CreateToken(name, _) => write!(f, "create token {USER}!{name}, with privilege separation"),
            Self::DeleteToken(name) => write!(f, "delete token {USER}!{name}"),
            Self::Grant(holder, role) => write!(f, "grant {role} on / to {holder}"),
            Self::Revoke(holder, role) => write!(f, "take {role} on / from {holder}"),
        }
    }
}

/// The request of a step.
pub struct StepRequest {
    pub method: Method,
    pub path: String,
    pub params: Vec<(&'static str, String)>,
}

impl Step {
    /// Returns the request that takes the step.
    pub fn to_request(&self) -> StepRequest {
        let join = |privileges: &BTreeSet<String>| privileges.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let (method, path, params) = match self {
            Self::CreateRole(role, privileges) => {
                (Method::Post, "/access/roles".to_owned(), vec![("roleid", role.clone()), ("privs", join(privileges))])
            }
            Self::ChangeRole(role, privileges, _) => {
                (Method::Put, format!("/access/roles/{role}"), vec![("privs", join(privileges))])
            }
            Self::DeleteRole(role, _) => (Method::Delete, format!("/access/roles/{role}"), Vec::new()),
            Self::CreateUser(comment) => (
                Method::Post,
                "/access/users".to_owned(),
                vec![("userid", USER.to_owned()), ("comment", comment.clone())],
            ),
            Self::DeleteUser(_) => (Method::Delete, format!("/access/users/{USER}"), Vec::new()),
            Self::CreateToken(name, comment) => {
                (Method::Post, token_path(name), vec![("privsep", "1".to_owned()), ("comment", comment.clone())])
            }
            Self::DeleteToken(name) => (Method::Delete, token_path(name), Vec::new()),
            Self::Grant(holder, role) => (Method::Put, "/access/acl".to_owned(), acl_params(holder, role)),
            Self::Revoke(holder, role) => {
                let mut params = acl_params(holder, role);
                params.push(("delete", "1".to_owned()));
                (Method::Put, "/access/acl".to_owned(), params)
            }
        };
        StepRequest { method, path, params }
    }

    /// Returns the step that takes this one back. A deleted token can't be restored.
    pub fn reverse(&self) -> Option<Self> {
        Some(match self.clone() {
            Self::CreateRole(role, privileges) => Self::DeleteRole(role, privileges),
            Self::ChangeRole(role, privileges, before) => Self::ChangeRole(role, before, privileges),
            Self::DeleteRole(role, privileges) => Self::CreateRole(role, privileges),
            Self::CreateUser(comment) => Self::DeleteUser(comment),
            Self::DeleteUser(comment) => Self::CreateUser(comment),
            Self::CreateToken(name, _) => Self::DeleteToken(name),
            Self::DeleteToken(_) => return None,
            Self::Grant(holder, role) => Self::Revoke(holder, role),
            Self::Revoke(holder, role) => Self::Grant(holder, role),
        })
    }
}

fn token_path(name: &str) -> String {
    format!("/access/users/{USER}/token/{name}")
}

fn acl_params(holder: &Holder, role: &str) -> Vec<(&'static str, String)> {
    let kind = if *holder == Holder::User { "users" } else { "tokens" };
    vec![("path", "/".to_owned()), ("roles", role.to_owned()), (kind, holder.to_string())]
}

/// Returns the role of a level.
pub fn role_of(level: AccessLevel) -> &'static str {
    match level {
        AccessLevel::Read => "PVEAuditor",
        AccessLevel::Operate => OPERATE_ROLE,
        AccessLevel::Full => "PVEAdmin",
    }
}

/// Returns the comment of the token that setup makes for the cluster entry `name` on the machine `host`.
pub fn token_comment(name: &str, host: &str) -> String {
    format!("{MADE_BY}: {name} on {host}")
}

/// A new token and the old ones that it replaces.
pub struct TokenChange<'a> {
    pub name: &'a str,
    pub comment: &'a str,
    /// The token that the cluster's entry names.
    pub entry_token: Option<&'a str>,
}

impl Access {
    /// Returns the steps that make the user, the role, the token and the ACLs of a level.
    pub fn plan_token(&self, level: AccessLevel, token: &TokenChange<'_>) -> Vec<Step> {
        let mut steps = Vec::new();
        let role = role_of(level).to_owned();
        if level == AccessLevel::Operate {
            let wanted = self.operate_privileges();
            match self.roles.get(&role) {
                None => steps.push(Step::CreateRole(role.clone(), wanted)),
                Some(present) if *present != wanted => {
                    steps.push(Step::ChangeRole(role.clone(), wanted, present.clone()));
                }
                Some(_) => {}
            }
        }
        if self.user.is_none() {
            steps.push(Step::CreateUser(MADE_BY.to_owned()));
        }
        // With privilege separation a token has what both its own roles and those of its user grant.
        if !self.grants.contains(&(Holder::User, role.clone())) {
            steps.push(Step::Grant(Holder::User, role.clone()));
        }
        steps.push(Step::CreateToken(token.name.to_owned(), token.comment.to_owned()));
        steps.push(Step::Grant(Holder::Token(token.name.to_owned()), role));
        steps
    }

    /// Returns the tokens that a new one replaces: the one of the cluster's entry, and those of earlier runs for the same
    /// entry on the same machine. Tokens that setup did not make are not among them.
    pub fn replaced_tokens(&self, token: &TokenChange<'_>) -> Vec<String> {
        let is_replaced = |(name, comment): &(&String, &String)| {
            *name != token.name
                && (*comment == token.comment
                    || (Some(name.as_str()) == token.entry_token && comment.starts_with(MADE_BY)))
        };
        self.tokens.iter().filter(is_replaced).map(|(name, _)| name.clone()).collect()
    }

    /// Returns the steps that delete tokens, and everything that setup made for them and no other token needs.
    pub fn plan_removal(&self, tokens: &[String]) -> Vec<Step> {
        let mut steps = Vec::new();
        for token in tokens {
            let holder = Holder::Token(token.clone());
            let own = self.grants.iter().filter(|(other, _)| *other == holder);
            steps.extend(own.map(|(holder, role)| Step::Revoke(holder.clone(), role.clone())));
            steps.push(Step::DeleteToken(token.clone()));
        }
        let mut left = self.clone();
        steps.iter().for_each(|step| left.apply(step));
        let made_user = left.user.as_deref().is_some_and(|comment| comment.starts_with(MADE_BY));
        let unneeded: Vec<Step> = left
            .grants
            .iter()
            .filter(|(holder, role)| {
                let is_held = |(holder, held): &(Holder, String)| *holder != Holder::User && held == role;
                let may_revoke = made_user || role == OPERATE_ROLE;
                may_revoke && *holder == Holder::User && !left.grants.iter().any(is_held)
            })
            .map(|(holder, role)| Step::Revoke(holder.clone(), role.clone()))
            .collect();
        unneeded.iter().for_each(|step| left.apply(step));
        steps.extend(unneeded);
        if let (true, true, Some(comment)) = (made_user, left.tokens.is_empty(), left.user.clone()) {
            let step = Step::DeleteUser(comment);
            left.apply(&step);
            steps.push(step);
        }
        let is_used =
            left.roles_of_others.contains(OPERATE_ROLE) || left.grants.iter().any(|(_, role)| role == OPERATE_ROLE);
        if let (false, Some(privileges)) = (is_used, left.roles.get(OPERATE_ROLE)) {
            steps.push(Step::DeleteRole(OPERATE_ROLE.to_owned(), privileges.clone()));
        }
        steps
    }

    /// Changes this state as the step changes the cluster.
    pub fn apply(&mut self, step: &Step) {
        match step.clone() {
            Step::CreateRole(role, privileges) | Step::ChangeRole(role, privileges, _) => {
                self.roles.insert(role, privileges);
            }
            Step::DeleteRole(role, _) => drop(self.roles.remove(&role)),
            Step::CreateUser(comment) => self.user = Some(comment),
            Step::DeleteUser(_) => {
                self.user = None;
                self.grants.clear();
            }
            Step::CreateToken(name, comment) => drop(self.tokens.insert(name, comment)),
            Step::DeleteToken(name) => {
                self.grants.retain(|(holder, _)| *holder != Holder::Token(name.clone()));
                self.tokens.remove(&name);
            }
            Step::Grant(holder, role) => drop(self.grants.insert((holder, role))),
            Step::Revoke(holder, role) => drop(self.grants.remove(&(holder, role))),
        }
    }

    /// Returns the privileges of the level `operate` that this version of Proxmox has.
    fn operate_privileges(&self) -> BTreeSet<String> {
        let of = |role: &str| self.roles.get(role).cloned().unwrap_or_default();
        let known = of("Administrator");
        let more = OPERATE_PRIVILEGES.iter().map(|name| (*name).to_owned()).filter(|name| known.contains(name));
        of("PVEAuditor").into_iter().chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxmox_mcp::policy::{Risk, RiskKind};
    use serde_json::Value;

    /// Privileges that the role of `operate` lacks on purpose: each of them also changes nodes, storages or networks, or
    /// runs commands.
    const WITHHELD: [&str; 7] = [
        "Datastore.Allocate",
        "SDN.Allocate",
        "Sys.AccessNetwork",
        "Sys.Console",
        "Sys.Modify",
        "Sys.PowerMgmt",
        "VM.GuestAgent.Unrestricted",
    ];

    /// Operations that every user may call, and whose code asks for these privileges (PVE).
    const CHECKED_IN_CODE: [(&str, &str); 5] = [
        ("POST /nodes/{node}/vzdump", "Datastore.AllocateSpace"),
        ("POST /nodes/{node}/vzdump", "VM.Backup"),
        ("POST /nodes/{node}/migrateall", "VM.Migrate"),
        ("POST /nodes/{node}/startall", "VM.PowerMgmt"),
        ("POST /nodes/{node}/replication/{id}/schedule_now", "VM.Replicate"),
    ];

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The roles of a 9.2 node, as far as setup reads them.
    fn present() -> Access {
        let auditor = set(&[
            "Datastore.Audit",
            "Mapping.Audit",
            "Pool.Audit",
            "SDN.Audit",
            "Sys.Audit",
            "VM.Audit",
            "VM.GuestAgent.Audit",
        ]);
        let all = auditor.iter().cloned().chain(set(&OPERATE_PRIVILEGES)).chain(set(&WITHHELD)).collect();
        let roles = [("Administrator", all), ("PVEAuditor", auditor), ("PVEAdmin", BTreeSet::new())];
        Access { roles: roles.map(|(role, privileges)| (role.to_owned(), privileges)).into(), ..Access::default() }
    }

    /// Returns whether privileges on `/` pass the check of an operation.
    fn passes(check: &Value, privileges: &BTreeSet<String>) -> bool {
        let items = check.as_array().expect("a check is a list");
        let word = |at: usize| items.get(at).and_then(Value::as_str);
        match word(0).expect("a check has a kind") {
            "and" => items[1..].iter().all(|check| passes(check, privileges)),
            "or" => items[1..].iter().any(|check| passes(check, privileges)),
            "perm" => {
                let mut names = items[2].as_array().expect("privileges").iter().filter_map(Value::as_str);
                match word(3) {
                    Some("any") => names.any(|name| privileges.contains(name)),
                    _ => names.all(|name| privileges.contains(name)),
                }
            }
            // About other users and about ACLs, which no operation of the level changes.
            _ => false,
        }
    }

    /// Returns the operations of the level `operate` beside reads, with their checks.
    fn operations() -> Vec<(String, Option<Value>)> {
        let facts: Value = serde_json::from_str(include_str!("../../pve/schema/facts/operations.json")).expect("JSON");
        let facts = facts["operations"].as_array().expect("a list");
        include_str!("../../policy/operation_risks.tsv")
            .lines()
            .filter_map(|line| {
                let [method, path, risk, _] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
                let is_this = |fact: &&Value| fact["path"] == path && fact["method"] == method;
                let is_operate = Risk::from_code(risk).kind == RiskKind::Operate;
                let check = facts.iter().find(is_this).expect("every operation has facts").get("check").cloned();
                is_operate.then(|| (format!("{method} {path}"), check))
            })
            .collect()
    }

    #[test]
    fn the_role_of_operate_allows_its_operations_and_no_more() {
        let privileges = present().operate_privileges();
        let denied_with = |privileges: &BTreeSet<String>| -> BTreeSet<String> {
            let denied = |(_, check): &(String, Option<Value>)| check.as_ref().is_some_and(|c| !passes(c, privileges));
            operations().into_iter().filter(denied).map(|(operation, _)| operation).collect()
        };
        let denied = denied_with(&privileges);
        // Only what needs a withheld privilege. The page names these groups of operations.
        let all: BTreeSet<String> = privileges.iter().cloned().chain(set(&WITHHELD)).collect();
        assert_eq!(denied_with(&all), BTreeSet::new());
        let page = include_str!("../../../docs/rights.md");
        for operation in &denied {
            let path = operation.split_once(' ').expect("a path").1.trim_start_matches("/nodes/{node}");
            let named = page.lines().filter(|line| line.starts_with("| `")).any(|line| {
                line.split('`').skip(1).step_by(2).any(|named| path.starts_with(named.trim_end_matches('*')))
            });
            assert!(named, "docs/rights.md does not name {operation}");
        }
        // Each privilege is needed.
        for name in OPERATE_PRIVILEGES {
            let mut without = privileges.clone();
            without.remove(name);
            let in_code = CHECKED_IN_CODE.iter().any(|(_, privilege)| *privilege == name);
            assert!(denied_with(&without).len() > denied.len() || in_code, "{name} is not needed");
        }
        for (operation, _) in CHECKED_IN_CODE {
            assert!(operations().iter().any(|(other, check)| other == operation && check.is_none()), "{operation}");
        }
    }

    #[test]
    fn an_older_release_gets_the_privileges_that_it_has() {
        let mut access = present();
        access.roles.get_mut("Administrator").expect("a role").retain(|name| !name.starts_with("VM.GuestAgent"));
        access.roles.get_mut("PVEAuditor").expect("a role").retain(|name| !name.starts_with("VM.GuestAgent"));
        let privileges = access.operate_privileges();
        assert!(privileges.contains("VM.PowerMgmt") && !privileges.contains("VM.GuestAgent.FileSystemMgmt"));
    }

    #[test]
    fn a_removal_ends_where_the_setup_began() {
        let begin = present();
        for level in [AccessLevel::Read, AccessLevel::Operate, AccessLevel::Full] {
            let mut access = begin.clone();
            let mut entry_token = None;
            for name in ["mcp-1", "mcp-2"] {
                let change = TokenChange { name, comment: "proxmox-mcp setup: a on b", entry_token };
                let steps = access.plan_token(level, &change);
                let replaced = access.replaced_tokens(&change);
                steps.iter().for_each(|step| access.apply(step));
                access.plan_removal(&replaced).iter().for_each(|step| access.apply(step));
                assert_eq!(access.tokens.keys().collect::<Vec<_>>(), [name]);
                assert_eq!(access.grants.len(), 2, "one for the user, one for the token");
                entry_token = Some(name);
            }
            let change = TokenChange { name: "", comment: "proxmox-mcp setup: c on d", entry_token };
            let steps = access.plan_removal(&access.replaced_tokens(&change));
            // The way back of each step but the deletion of the token.
            assert_eq!(steps.iter().filter(|step| step.reverse().is_none()).count(), 1);
            steps.iter().for_each(|step| access.apply(step));
            assert_eq!(access, begin);
        }
    }

    #[test]
    fn what_a_person_made_is_not_removed() {
        let mut access = present();
        access.user = Some("my own".into());
        access.tokens.insert("theirs".into(), "proxmox".into());
        access.grants.insert((Holder::User, "PVEAuditor".into()));
        access.roles_of_others.insert(OPERATE_ROLE.into());
        let begin = access.clone();
        let change = TokenChange { name: "mcp-1", comment: "proxmox-mcp setup: a on b", entry_token: Some("theirs") };
        assert!(access.replaced_tokens(&change).is_empty());
        access.plan_token(AccessLevel::Operate, &change).iter().for_each(|step| access.apply(step));
        let steps = access.plan_removal(&["mcp-1".to_owned()]);
        steps.iter().for_each(|step| access.apply(step));
        assert!(access.roles.remove(OPERATE_ROLE).is_some(), "another user has the role");
        assert_eq!(access, begin);
    }
}
