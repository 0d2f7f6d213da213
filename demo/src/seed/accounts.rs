//! The users, tokens and access lists at the start.

use crate::model::accounts::{AUDIT, Accounts, AclEntry, FULL, Token, USER, new_secret};
use crate::units::DAY;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;

/// Creates the accounts: the two tokens of the demo, and further ones whose secrets are random.
pub(super) fn new_accounts(full_secret: &str, audit_secret: &str, now: i64) -> io::Result<Accounts> {
    let users = BTreeMap::from([
        ("root@pam", json!({"enable": 1, "expire": 0, "email": "ops@example.test"})),
        (USER, json!({"enable": 1, "expire": 0, "comment": "owner of the API tokens"})),
        (
            "alice@pve",
            json!({"enable": 1, "expire": 0, "firstname": "Alice", "lastname": "Ames", "email": "alice@example.test"}),
        ),
        ("bob@pve", json!({"enable": 1, "expire": 0, "firstname": "Bob", "comment": "on call"})),
        ("carol@pve", json!({"enable": 0, "expire": 0, "firstname": "Carol", "comment": "left in spring"})),
    ]);
    let token = |secret: String, comment: &str| Token {
        secret,
        privilege_separation: true,
        comment: comment.into(),
        expire: 0,
    };
    let root_comment = "no privilege separation: may do all that root may";
    let tokens = BTreeMap::from([
        (format!("{USER}!{FULL}"), token(full_secret.into(), "may do everything")),
        (format!("{USER}!{AUDIT}"), token(audit_secret.into(), "may only look")),
        ("root@pam!backup".into(), token(new_secret()?, "backup host")),
        ("root@pam!terraform".into(), Token { privilege_separation: false, ..token(new_secret()?, root_comment) }),
        ("alice@pve!laptop".into(), Token { expire: now - 30 * DAY, ..token(new_secret()?, "") }),
    ]);
    let entry = |path: &str, subject: &str, role: &str| AclEntry {
        path: path.into(),
        subject: subject.into(),
        role: role.into(),
        propagate: true,
    };
    let acl = vec![
        entry("/", "@admins", "Administrator"),
        entry("/", "@auditors", "PVEAuditor"),
        entry("/nodes", "@operators", "PVEAuditor"),
        entry("/storage/nas", "root@pam!backup", "PVEDatastoreUser"),
        entry("/vms/100", "@operators", "PVEVMUser"),
        entry("/", USER, "Administrator"),
        entry("/", "demo@pve!full", "Administrator"),
        entry("/", "demo@pve!audit", "PVEAuditor"),
        entry("/pool/prod", "alice@pve", "PVEVMAdmin"),
        entry("/vms", "bob@pve", "VMOperator"),
    ];
    Ok(Accounts { users, tokens, acl })
}
