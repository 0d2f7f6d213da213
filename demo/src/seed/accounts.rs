//! The users, tokens and access lists at the start.

use crate::model::accounts::{
    AUDIT, Accounts, AclEntry, FULL, Group, Role, Token, USER, User, new_secret, predefined_roles, random_key,
};
use crate::units::DAY;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;

/// The secrets that a start of the demo makes.
pub(crate) struct Secrets {
    /// Secret of the token with all privileges.
    pub(crate) full: String,
    /// Secret of the token that may only look.
    pub(crate) audit: String,
    /// Password of `root@pam`.
    pub(crate) root_password: String,
}

/// Creates the accounts: the two tokens of the demo, and further ones whose secrets are random.
pub(super) fn new_accounts(secrets: &Secrets, now: i64) -> io::Result<Accounts> {
    let user = |properties: Value| User {
        properties: properties.as_object().expect("an object of properties").clone(),
        ..User::default()
    };
    let root = User {
        password: Some(secrets.root_password.clone()),
        ..user(json!({"enable": 1, "expire": 0, "email": "ops@example.test"}))
    };
    let users = BTreeMap::from([
        ("root@pam".into(), root),
        (USER.into(), user(json!({"enable": 1, "expire": 0, "comment": "owner of the API tokens"}))),
        (
            "alice@pve".into(),
            user(json!({"enable": 1, "expire": 0, "firstname": "Alice", "lastname": "Ames",
                "email": "alice@example.test"})),
        ),
        ("bob@pve".into(), user(json!({"enable": 1, "expire": 0, "firstname": "Bob", "comment": "on call"}))),
        (
            "carol@pve".into(),
            user(json!({"enable": 0, "expire": 0, "firstname": "Carol", "comment": "left in spring"})),
        ),
    ]);
    let group = |comment: &str, members: &[&str]| Group {
        comment: Some(comment.into()),
        members: members.iter().map(|member| (*member).into()).collect(),
    };
    let groups = BTreeMap::from([
        ("admins".into(), group("cluster administrators", &["root@pam"])),
        ("auditors".into(), group("may look at everything", &["carol@pve"])),
        ("operators".into(), group("on call", &["alice@pve", "bob@pve"])),
    ]);
    let mut roles = predefined_roles();
    let operator = ["VM.Audit", "VM.Console", "VM.PowerMgmt"];
    roles.insert("VMOperator".into(), Role { special: false, privileges: operator.into() });
    let token = |secret: String, comment: &str| Token {
        secret,
        privilege_separation: true,
        comment: comment.into(),
        expire: 0,
    };
    let root_comment = "no privilege separation: may do all that root may";
    let tokens = BTreeMap::from([
        (format!("{USER}!{FULL}"), token(secrets.full.clone(), "may do everything")),
        (format!("{USER}!{AUDIT}"), token(secrets.audit.clone(), "may only look")),
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
    Ok(Accounts { users, groups, roles, tokens, acl, ticket_key: random_key()? })
}
