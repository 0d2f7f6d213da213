//! Authentication, and the privileges of users and tokens.

use crate::http::RequestHead;
use crate::model::accounts::all_privileges;
use crate::state::ClusterState;
use crate::tickets::{is_csrf_token, ticket_subject};
use ring::digest::{SHA256, digest};
use std::collections::BTreeMap;

/// The privileges of a caller on a path. The value tells that the privilege also holds below the path.
pub(crate) type Privileges = BTreeMap<&'static str, bool>;

/// The sender of a request.
pub(crate) struct Caller {
    /// `user@realm!token`, or `user@realm` with a ticket; empty for an anonymous caller.
    pub(crate) id: String,
}

impl Caller {
    /// Returns the caller of a request that needs no token.
    pub(crate) fn anonymous() -> Self {
        Self { id: String::new() }
    }

    /// Returns true if the caller has an API token instead of a ticket.
    pub(crate) fn has_token(&self) -> bool {
        self.id.contains('!')
    }
}

/// Returns the caller that the headers of a request prove, or the reason of the 401.
pub(crate) fn authenticate(state: &ClusterState, head: &RequestHead) -> Result<Caller, String> {
    const FAILED: &str = "Authentication failed!";
    if let Some(credentials) = head.authorization.as_deref().and_then(|h| h.strip_prefix("PVEAPIToken=")) {
        let (id, secret) = credentials.split_once('=').ok_or(FAILED)?;
        let token = state.accounts.tokens.get(id).ok_or(FAILED)?;
        let expired = token.expire != 0 && token.expire <= state.seconds();
        // Digests are compared, because the time that this takes reveals nothing about the secrets.
        let matches = digest(&SHA256, secret.as_bytes()).as_ref() == digest(&SHA256, token.secret.as_bytes()).as_ref();
        let user = id.split_once('!').map_or(id, |(user, _)| user);
        return if matches && !expired && is_enabled(state, user) {
            Ok(Caller { id: id.into() })
        } else {
            Err(FAILED.into())
        };
    }
    let ticket = head.ticket.as_deref().ok_or("No ticket")?;
    let (key, now) = (&state.accounts.ticket_key, state.seconds());
    let user = ticket_subject(key, ticket, "", now).filter(|user| !user.starts_with('!'));
    let user = user.ok_or("permission denied - invalid PVE ticket")?;
    if !is_enabled(state, user) {
        return Err(FAILED.into());
    }
    let is_safe =
        head.method == "GET" || head.csrf_token.as_deref().is_some_and(|token| is_csrf_token(key, token, user, now));
    if is_safe { Ok(Caller { id: user.into() }) } else { Err("Permission denied - invalid csrf token".into()) }
}

/// Returns true if the user exists, is enabled and has not expired.
pub(crate) fn is_enabled(state: &ClusterState, user: &str) -> bool {
    state.accounts.users.get(user).is_some_and(|user| {
        let number = |name: &str| user.properties.get(name).and_then(serde_json::Value::as_i64).unwrap_or(0);
        number("enable") == 1 && (number("expire") == 0 || number("expire") > state.seconds())
    })
}

/// Returns true if the caller has the privilege on the path.
pub(crate) fn has_privilege(state: &ClusterState, caller: &Caller, path: &str, privilege: &str) -> bool {
    path.starts_with('/') && privileges_on(state, &caller.id, path).contains_key(privilege)
}

/// Returns the privileges of a user or token on a path. A token never has more than its user.
pub(crate) fn privileges_on(state: &ClusterState, subject: &str, path: &str) -> Privileges {
    if subject == "root@pam" {
        return all_privileges().map(|privilege| (privilege, true)).collect();
    }
    let Some((user, _)) = subject.split_once('!') else { return granted_privileges(state, subject, path) };
    let of_user = privileges_on(state, user, path);
    match state.accounts.tokens.get(subject) {
        Some(token) if token.privilege_separation => {
            let of_token = granted_privileges(state, subject, path).into_iter();
            of_token.filter(|(privilege, _)| of_user.contains_key(privilege)).collect()
        }
        Some(_) => of_user,
        None => Privileges::new(),
    }
}

/// Returns the privileges that the access lists grant to a user or token.
///
/// The nearest path upwards with an entry decides. There, entries of the user itself override those of its groups.
/// A guest in a pool also has the privileges of the pool's path, but not for paths below it.
fn granted_privileges(state: &ClusterState, subject: &str, path: &str) -> Privileges {
    let groups = state.accounts.groups_of(subject);
    let target = path.trim_end_matches('/');
    let mut parent = Some(target);
    let mut granted = Privileges::new();
    while let Some(current) = parent {
        let current_path = if current.is_empty() { "/" } else { current };
        let entries =
            || state.accounts.acl.iter().filter(move |e| e.path == current_path && (e.propagate || current == target));
        let mut matching: Vec<_> = entries().filter(|e| e.subject == subject).collect();
        if matching.is_empty() {
            let names_group = |subject: &str| subject.strip_prefix('@').is_some_and(|group| groups.contains(&group));
            matching.extend(entries().filter(|e| names_group(&e.subject)));
        }
        if !matching.is_empty() {
            // `NoAccess` takes away what other roles on the same path give.
            for entry in matching.iter().filter(|_| matching.iter().all(|entry| entry.role != "NoAccess")) {
                let role = state.accounts.roles.get(&entry.role);
                for privilege in role.into_iter().flat_map(|role| &role.privileges) {
                    *granted.entry(*privilege).or_default() |= entry.propagate;
                }
            }
            break;
        }
        parent = current.rsplit_once('/').map(|(parent, _)| parent);
    }
    let guest = path.strip_prefix("/vms/").and_then(|id| id.parse().ok()).and_then(|id: u32| state.guests.get(&id));
    if let Some(pool) = guest.and_then(|guest| guest.pool.as_ref()) {
        for (privilege, _) in granted_privileges(state, subject, &format!("/pool/{pool}")) {
            granted.entry(privilege).or_insert(false);
        }
    }
    granted
}
