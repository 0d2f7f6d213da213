//! Routes of users, tokens, roles and access lists.

use super::route::Access::{AnyPrivilege, Privilege, TicketOnly};
use super::route::Action::{Directory, Fixed, Handler};
use super::route::{ANYONE, Access, Route, delete, get, get_protected, post, put};
use crate::handlers::{access, login, tokens, users};
use crate::parameters::ParameterType::{Boolean, Integer, LengthText, MaxText, OneOf, Text};
use crate::parameters::{GROUP_ID, MAX, Parameter, ROLE_ID, TOKEN_NAME, USER_ID, optional, required};
use serde_json::Value;

const USER_PARAM: &[Parameter] = &[required("userid", USER_ID)];
const TOKEN_PARAMS: &[Parameter] = &[required("userid", USER_ID), required("tokenid", TOKEN_NAME)];
#[rustfmt::skip]
const TOKEN_PROPERTIES: &[Parameter] = &[
    optional("comment", Text), optional("expire", Integer(0, MAX)), optional("privsep", Boolean),
];
#[rustfmt::skip]
const USER_PROPERTIES: &[Parameter] = &[
    optional("comment", MaxText(2048)), optional("email", MaxText(254)), optional("enable", Boolean),
    optional("expire", Integer(0, MAX)), optional("firstname", MaxText(1024)), optional("groups", Text),
    optional("keys", Text), optional("lastname", MaxText(1024)),
];
const FACTOR_PARAMS: &[Parameter] = &[required("userid", USER_ID), required("id", Text)];
const OWN_PASSWORD: &[Parameter] = &[optional("password", LengthText(5, 64))];
const GROUP_ALLOCATE: Access = Privilege("/access/groups", "Group.Allocate");
const ROLE_MODIFY: Access = Privilege("/access", "Sys.Modify");

#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = &[
    get("/access", ANYONE, &[], Directory("subdir", &[
        "users", "groups", "roles", "acl", "domains", "openid", "tfa", "permissions", "ticket", "password",
    ])),
    get("/access/acl", ANYONE, &[], Handler(access::list_acl)),
    put("/access/acl", ANYONE, &[&[
        required("path", Text), required("roles", Text), optional("users", Text), optional("groups", Text),
        optional("tokens", Text), optional("propagate", Boolean), optional("delete", Boolean),
    ]], Handler(access::update_acl)),
    get("/access/domains", ANYONE, &[], Handler(access::list_realms)),
    get("/access/groups", ANYONE, &[], Handler(access::list_groups)),
    post("/access/groups", GROUP_ALLOCATE, &[&[
        required("groupid", GROUP_ID), optional("comment", Text),
    ]], Handler(access::create_group)),
    get("/access/groups/{groupid}", AnyPrivilege("/access/groups", &["Sys.Audit", "Group.Allocate"]), &[&[
        required("groupid", GROUP_ID),
    ]], Handler(access::read_group)),
    put("/access/groups/{groupid}", GROUP_ALLOCATE, &[&[
        required("groupid", GROUP_ID), optional("comment", Text),
    ]], Handler(access::update_group)),
    delete("/access/groups/{groupid}", GROUP_ALLOCATE, &[&[
        required("groupid", GROUP_ID),
    ]], Handler(access::delete_group)),
    put("/access/password", TicketOnly, &[USER_PARAM, &[
        required("password", LengthText(8, 64)), optional("confirmation-password", LengthText(5, 64)),
    ]], Handler(login::change_password)),
    get("/access/permissions", ANYONE, &[&[
        optional("path", Text), optional("userid", Text),
    ]], Handler(access::list_permissions)),
    get("/access/roles", ANYONE, &[], Handler(access::list_roles)),
    post("/access/roles", ROLE_MODIFY, &[&[
        required("roleid", ROLE_ID), optional("privs", Text),
    ]], Handler(access::create_role)),
    get("/access/roles/{roleid}", ANYONE, &[&[required("roleid", ROLE_ID)]], Handler(access::read_role)),
    put("/access/roles/{roleid}", ROLE_MODIFY, &[&[
        required("roleid", ROLE_ID), optional("privs", Text), optional("append", Boolean),
    ]], Handler(access::update_role)),
    delete("/access/roles/{roleid}", ROLE_MODIFY, &[&[required("roleid", ROLE_ID)]], Handler(access::delete_role)),
    get_protected("/access/tfa", ANYONE, &[], Handler(login::list_factors)),
    get_protected("/access/tfa/{userid}", ANYONE, &[USER_PARAM], Handler(login::list_user_factors)),
    post("/access/tfa/{userid}", TicketOnly, &[USER_PARAM, OWN_PASSWORD, &[
        required("type", OneOf(&["totp", "u2f", "webauthn", "recovery", "yubico"])), optional("challenge", Text),
        optional("description", MaxText(255)), optional("totp", Text), optional("value", Text),
    ]], Handler(login::create_factor)),
    get_protected("/access/tfa/{userid}/{id}", ANYONE, &[FACTOR_PARAMS], Handler(login::read_factor)),
    delete("/access/tfa/{userid}/{id}", TicketOnly, &[
        FACTOR_PARAMS, OWN_PASSWORD,
    ], Handler(login::delete_factor)),
    get("/access/ticket", ANYONE, &[], Fixed(|| Value::Null)),
    post("/access/ticket", TicketOnly, &[&[
        required("username", MaxText(64)), required("password", Text), optional("realm", MaxText(32)),
        optional("otp", Text), optional("tfa-challenge", Text), optional("new-format", Boolean),
        optional("path", MaxText(64)), optional("privs", MaxText(64)),
    ]], Handler(login::create_ticket)),
    get_protected("/access/users", ANYONE, &[&[
        optional("enabled", Boolean), optional("full", Boolean),
    ]], Handler(users::list_users)),
    post("/access/users", ANYONE, &[USER_PARAM, USER_PROPERTIES, &[
        optional("password", LengthText(8, 64)),
    ]], Handler(users::create_user)),
    get("/access/users/{userid}", ANYONE, &[USER_PARAM], Handler(users::read_user)),
    put("/access/users/{userid}", ANYONE, &[USER_PARAM, USER_PROPERTIES, &[
        optional("append", Boolean),
    ]], Handler(users::update_user)),
    delete("/access/users/{userid}", ANYONE, &[USER_PARAM], Handler(users::delete_user)),
    get_protected("/access/users/{userid}/tfa", ANYONE, &[USER_PARAM, &[
        optional("multiple", Boolean),
    ]], Handler(login::read_factor_types)),
    get("/access/users/{userid}/token", ANYONE, &[USER_PARAM], Handler(tokens::list_tokens)),
    get("/access/users/{userid}/token/{tokenid}", ANYONE, &[TOKEN_PARAMS], Handler(tokens::read_token)),
    post("/access/users/{userid}/token/{tokenid}", ANYONE, &[
        TOKEN_PARAMS, TOKEN_PROPERTIES,
    ], Handler(tokens::create_token)),
    put("/access/users/{userid}/token/{tokenid}", ANYONE, &[TOKEN_PARAMS, TOKEN_PROPERTIES, &[
        optional("delete", Text), optional("regenerate", Boolean),
    ]], Handler(tokens::update_token)),
    delete("/access/users/{userid}/token/{tokenid}", ANYONE, &[TOKEN_PARAMS], Handler(tokens::delete_token)),
];
