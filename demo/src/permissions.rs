//! Authentication, and the privileges of users and tokens.

use crate::model::accounts::{ALL_PRIVILEGES, Group, Role};
use crate::state::ClusterState;
use ring::digest::{SHA256, digest};
use std::collections::BTreeSet;

/// The sender of a request.
pub(crate) struct Caller {
    /// `user@realm!token`; empty for an anonymous caller.
    pub(crate) id: String,
}

impl Caller {
    /// Returns the caller of a request that needs no token.
    pub(crate) fn anonymous() -> Self {
        Self { id: String::new() }
    }

    /// Returns the owner of the token.
    pub(crate) fn user(&self) -> &str {
        self.id.split_once('!').map_or(&self.id, |(user, _)| user)
    }
}

/// Returns the caller that an `Authorization` header proves, or the reason of the 401.
pub(crate) fn authenticate(state: &ClusterState, header: Option<&str>) -> Result<Caller, &'static str> {
    const FAILED: &str = "Authentication failed!";
    let credentials = header.and_then(|h| h.strip_prefix("PVEAPIToken=")).ok_or("No ticket")?;
    let (id, secret) = credentials.split_once('=').ok_or(FAILED)?;
    let token = state.accounts.tokens.get(id).ok_or(FAILED)?;
    let expired = token.expire != 0 && token.expire <= state.seconds();
    // Digests are compared, because the time that this takes reveals nothing about the secrets.
    let matches = digest(&SHA256, secret.as_bytes()).as_ref() == digest(&SHA256, token.secret.as_bytes()).as_ref();
    if matches && !expired { Ok(Caller { id: id.into() }) } else { Err(FAILED) }
}

/// Returns true if the caller has the privilege on the path.
pub(crate) fn has_privilege(state: &ClusterState, caller: &Caller, path: &str, privilege: &str) -> bool {
    path.starts_with('/') && privileges_on(state, &caller.id, path).contains(privilege)
}

/// Returns the privileges of a user or token on a path. A token never has more than its user.
pub(crate) fn privileges_on(state: &ClusterState, subject: &str, path: &str) -> BTreeSet<&'static str> {
    if subject == "root@pam" {
        return ALL_PRIVILEGES.iter().copied().collect();
    }
    let Some((user, _)) = subject.split_once('!') else { return granted_privileges(state, subject, path) };
    let of_user = privileges_on(state, user, path);
    match state.accounts.tokens.get(subject) {
        Some(token) if token.privilege_separation => &granted_privileges(state, subject, path) & &of_user,
        Some(_) => of_user,
        None => BTreeSet::new(),
    }
}

/// Returns the privileges that the access lists grant to a user or token.
///
/// The nearest path upwards with an entry decides. There, entries of the user itself override those of its groups.
/// A guest in a pool also has the privileges of the pool's path.
fn granted_privileges(state: &ClusterState, subject: &str, path: &str) -> BTreeSet<&'static str> {
    let groups = Group::ids_of(subject);
    let target = path.trim_end_matches('/');
    let mut parent = Some(target);
    let mut granted = BTreeSet::new();
    while let Some(current) = parent {
        let current_path = if current.is_empty() { "/" } else { current };
        let entries =
            || state.accounts.acl.iter().filter(move |e| e.path == current_path && (e.propagate || current == target));
        let mut roles: Vec<&str> = entries().filter(|e| e.subject == subject).map(|e| e.role.as_str()).collect();
        if roles.is_empty() {
            let names_group = |subject: &str| subject.strip_prefix('@').is_some_and(|group| groups.contains(&group));
            roles.extend(entries().filter(|e| names_group(&e.subject)).map(|e| e.role.as_str()));
        }
        if !roles.is_empty() {
            granted.extend(roles.into_iter().filter_map(Role::find).flat_map(|role| role.privileges));
            break;
        }
        parent = current.rsplit_once('/').map(|(parent, _)| parent);
    }
    let guest = path.strip_prefix("/vms/").and_then(|id| id.parse().ok()).and_then(|id: u32| state.guests.get(&id));
    if let Some(pool) = guest.and_then(|guest| guest.pool.as_ref()) {
        granted.extend(granted_privileges(state, subject, &format!("/pool/{pool}")));
    }
    granted
}
