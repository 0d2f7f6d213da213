//! Routes of users, tokens, roles and access lists.

use super::route::Access::{AnyPrivilege, TicketOnly};
use super::route::Action::{Directory, Fixed, Handler};
use super::route::{ANYONE, Route, delete, get, get_protected, post, put};
use crate::handlers::{access, tokens};
use crate::parameters::ParameterType::{Boolean, Integer, Text};
use crate::parameters::{MAX, Parameter, USER_ID, optional, required};
use serde_json::json;

const TOKEN_PARAMS: &[Parameter] = &[required("userid", USER_ID), required("tokenid", Text)];

#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = &[
    get("/access", ANYONE, &[], Directory("subdir", &[
        "users", "groups", "domains", "openid", "tfa", "roles", "acl", "permissions", "ticket", "password",
    ])),
    get("/access/acl", ANYONE, &[], Handler(access::list_acl)),
    put("/access/acl", ANYONE, &[&[
        required("path", Text), required("roles", Text), optional("users", Text), optional("groups", Text),
        optional("tokens", Text), optional("propagate", Boolean), optional("delete", Boolean),
    ]], Handler(access::update_acl)),
    get("/access/domains", ANYONE, &[], Handler(access::list_realms)),
    get("/access/groups", ANYONE, &[], Handler(access::list_groups)),
    get("/access/groups/{groupid}", AnyPrivilege("/access/groups", &["Sys.Audit", "Group.Allocate"]), &[&[
        required("groupid", Text),
    ]], Handler(access::read_group)),
    put("/access/password", TicketOnly, &[], Fixed(|| json!([]))),
    get("/access/permissions", ANYONE, &[&[
        optional("path", Text), optional("userid", Text),
    ]], Handler(access::list_permissions)),
    get("/access/roles", ANYONE, &[], Handler(access::list_roles)),
    get("/access/roles/{roleid}", ANYONE, &[&[required("roleid", Text)]], Handler(access::read_role)),
    get_protected("/access/tfa", ANYONE, &[], Fixed(|| json!([]))),
    post("/access/ticket", TicketOnly, &[], Fixed(|| json!([]))),
    get_protected("/access/users", ANYONE, &[&[
        optional("enabled", Boolean), optional("full", Boolean),
    ]], Handler(access::list_users)),
    get("/access/users/{userid}", AnyPrivilege("/access/groups", &["User.Modify", "Sys.Audit"]), &[&[
        required("userid", USER_ID),
    ]], Handler(access::read_user)),
    get("/access/users/{userid}/token", ANYONE, &[&[required("userid", USER_ID)]], Handler(tokens::list_tokens)),
    get("/access/users/{userid}/token/{tokenid}", ANYONE, &[TOKEN_PARAMS], Handler(tokens::read_token)),
    post("/access/users/{userid}/token/{tokenid}", ANYONE, &[
        TOKEN_PARAMS,
        &[optional("comment", Text), optional("expire", Integer(0, MAX)), optional("privsep", Boolean)],
    ], Handler(tokens::create_token)),
    delete("/access/users/{userid}/token/{tokenid}", ANYONE, &[TOKEN_PARAMS], Handler(tokens::delete_token)),
];
