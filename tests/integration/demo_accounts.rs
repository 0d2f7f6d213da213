//! Users, roles, tokens, access lists and logins of the simulated cluster.

use crate::demo::{Answer, assert_error, call, demo, errors, get, raw};
use proxmox_mcp::base::secret::Secret;
use proxmox_mcp::config::ClusterConfig;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Sends a request with these header lines instead of a token.
fn ask(cluster: &ClusterConfig, method: &str, path: &str, headers: &str, form: &str) -> Answer {
    let length = form.len();
    let mut text = format!("{method} /api2/json{path} HTTP/1.1\r\n{headers}");
    if length > 0 {
        text += &format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n");
    }
    raw(cluster, format!("{text}\r\n{form}").as_bytes()).expect("an answer")
}

fn log_in(cluster: &ClusterConfig, form: &str) -> Value {
    ask(cluster, "POST", "/access/ticket", "", form).data()
}

/// Returns the header lines that prove a login.
fn login_headers(ticket: &Value) -> String {
    let encoded = encode(ticket["ticket"].as_str().unwrap());
    let csrf = ticket["CSRFPreventionToken"].as_str().unwrap();
    format!("Cookie: lang=en; PVEAuthCookie={encoded}\r\nCSRFPreventionToken: {csrf}\r\n")
}

fn encode(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

/// Returns settings with the token that an answer of its creation has.
fn token_of(cluster: &ClusterConfig, made: &Value) -> ClusterConfig {
    let (user, id) = made["full-tokenid"].as_str().unwrap().split_once('!').unwrap();
    let mut settings = cluster.clone();
    (settings.user, settings.token_id) = (user.into(), id.into());
    settings.token_secret = Secret::new(made["value"].as_str().unwrap().into());
    settings
}

#[test]
fn login_gives_a_ticket_that_writes_only_with_its_csrf_token() {
    let demo = demo();
    let cluster = demo.cluster();
    let ticket = log_in(&cluster, &format!("username=root@pam&password={}", demo.root_password()));
    assert_eq!((&ticket["username"], &ticket["NeedTFA"]), (&json!("root@pam"), &Value::Null));
    assert_eq!(ticket["cap"]["vms"]["VM.Allocate"], 1);
    let headers = login_headers(&ticket);
    let cookie = headers.split_inclusive("\r\n").next().unwrap();
    assert_eq!(ask(&cluster, "GET", "/nodes", cookie, "").data().as_array().unwrap().len(), 3);
    let without = ask(&cluster, "POST", "/access/users", cookie, "userid=eve@pve");
    assert_eq!(without.line, "HTTP/1.1 401 Permission denied - invalid csrf token");
    ask(&cluster, "POST", "/access/users", &headers, "userid=eve@pve&password=longenough").data();
    let eve = log_in(&cluster, "username=eve&realm=pve&password=longenough");
    let refused = ask(&cluster, "POST", "/access/users", &login_headers(&eve), "userid=x@pve");
    assert_error(&refused, "403 Permission check failed (/access/realm/pve, Realm.AllocateUser)");
    let own = ask(&cluster, "POST", "/access/users/eve@pve/token/mine", &login_headers(&eve), "privsep=0").data();
    assert_eq!(own["info"], json!({"privsep": "0"}));
    let forged = cookie.replace("PVEAuthCookie=", "PVEAuthCookie=x");
    assert_eq!(ask(&cluster, "GET", "/nodes", &forged, "").line, "HTTP/1.1 401 permission denied - invalid PVE ticket");
    for form in ["username=root@pam&password=wrong", "username=ghost@pve&password=x", "username=carol@pve&password="] {
        assert_error(&ask(&cluster, "POST", "/access/ticket", "", form), "401 authentication failure");
    }
}

#[test]
fn second_factor_is_demanded_by_a_second_call() {
    let demo = demo();
    let cluster = demo.cluster();
    let password = demo.root_password();
    let form = format!("username=root@pam&password={password}");
    let headers = login_headers(&log_in(&cluster, &form));
    let step = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 30;
    let code = || {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345678901234567890");
        let tag = ring::hmac::sign(&key, &step().to_be_bytes());
        let at = usize::from(tag.as_ref()[19] & 15);
        let word = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap());
        format!("{:06}", (word & 0x7fff_ffff) % 1_000_000)
    };
    let uri = encode("otpauth://totp/demo?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=demo");
    let add = |value: &str| {
        let form = format!("type=totp&description=phone&totp={uri}&value={value}&password={password}");
        ask(&cluster, "POST", "/access/tfa/root@pam", &headers, &form)
    };
    assert_error(&add("000000000"), "500 failed to verify TOTP challenge");
    let id = add(&code()).data()["id"].as_str().unwrap().to_string();
    assert_eq!(get(&cluster, "/access/tfa")[0]["entries"][0]["description"], "phone");
    let challenge = log_in(&cluster, &form);
    assert_eq!((&challenge["NeedTFA"], &challenge["cap"]), (&json!(1), &Value::Null));
    let half = login_headers(&challenge);
    assert_eq!(ask(&cluster, "GET", "/nodes", &half, "").line, "HTTP/1.1 401 permission denied - invalid PVE ticket");
    let answer = |code: &str| {
        let ticket = encode(challenge["ticket"].as_str().unwrap());
        let form = format!("username=root@pam&tfa-challenge={ticket}&password={}", encode(&format!("totp:{code}")));
        ask(&cluster, "POST", "/access/ticket", "", &form)
    };
    assert_error(&answer("12"), "401 authentication failure");
    let ticket = answer(&code()).data();
    let headers = login_headers(&ticket);
    let at = format!("/access/tfa/root@pam/{id}?password={password}");
    ask(&cluster, "DELETE", &at, &headers, "").data();
    assert_eq!(log_in(&cluster, &form)["NeedTFA"], Value::Null);
    let gone = call(&cluster, "GET", &format!("/access/tfa/root@pam/{id}"), "");
    assert_error(&gone, &format!("404 No such tfa entry '{id}'"));
}

#[test]
fn token_of_a_new_user_has_the_privileges_of_its_role_and_no_more() {
    let demo = demo();
    let full = demo.cluster();
    call(&full, "POST", "/access/users", "userid=mcp@pve&comment=assistant").data();
    call(&full, "POST", "/access/roles", "roleid=Starter&privs=VM.Audit,VM.PowerMgmt").data();
    let made = call(&full, "POST", "/access/users/mcp@pve/token/one", "privsep=1").data();
    assert_eq!((&made["full-tokenid"], &made["info"]), (&json!("mcp@pve!one"), &json!({"privsep": "1"})));
    let token = token_of(&full, &made);
    assert_eq!(get(&token, "/cluster/resources?type=vm"), json!([]));
    assert_error(
        &call(&token, "GET", "/nodes/pve1/qemu/100/config", ""),
        "403 Permission check failed (/vms/100, VM.Audit)",
    );
    assert_error(&call(&token, "GET", "/access/users/mcp@pve/token", ""), "403 Permission check failed");
    assert_eq!(get(&token, "/access/users"), json!([]));
    // A separated token does not have the privileges of its user.
    call(&full, "PUT", "/access/acl", "path=/vms/100&roles=Starter&users=mcp@pve").data();
    assert_eq!(get(&token, "/access/permissions"), json!({}));
    call(&full, "PUT", "/access/acl", "path=/vms/100&roles=Starter&tokens=mcp@pve!one").data();
    assert_eq!(get(&token, "/access/permissions"), json!({"/vms/100": {"VM.Audit": 1, "VM.PowerMgmt": 1}}));
    assert_eq!(get(&token, "/cluster/resources?type=vm").as_array().unwrap().len(), 1);
    call(&full, "PUT", "/access/roles/Starter", "privs=VM.Audit").data();
    assert_error(
        &call(&token, "POST", "/nodes/pve1/qemu/100/status/stop", ""),
        "403 Permission check failed (/vms/100, VM.PowerMgmt)",
    );
    let renewed = call(&full, "PUT", "/access/users/mcp@pve/token/one", "regenerate=1").data();
    assert_eq!(call(&token, "GET", "/nodes", "").line, "HTTP/1.1 401 Authentication failed!");
    let token = token_of(&full, &renewed);
    call(&full, "PUT", "/access/users/mcp@pve", "enable=0").data();
    assert_eq!(call(&token, "GET", "/nodes", "").line, "HTTP/1.1 401 Authentication failed!");
}

#[test]
fn removed_user_leaves_no_token_access_entry_or_membership() {
    let demo = demo();
    let full = demo.cluster();
    let accounts =
        || ["/access/users?full=1", "/access/acl", "/access/roles", "/access/groups"].map(|at| get(&full, at));
    let before = accounts();
    call(&full, "POST", "/access/groups", "groupid=bots").data();
    call(&full, "POST", "/access/users", "userid=mcp@pve&groups=bots,operators").data();
    call(&full, "POST", "/access/roles", "roleid=Bot&privs=VM.Audit").data();
    call(&full, "POST", "/access/users/mcp@pve/token/one", "").data();
    for subject in ["users=mcp@pve", "tokens=mcp@pve!one", "groups=bots"] {
        call(&full, "PUT", "/access/acl", &format!("path=/&roles=Bot&{subject}")).data();
    }
    assert_eq!(get(&full, "/access/groups/bots")["members"], json!(["mcp@pve"]));
    call(&full, "DELETE", "/access/users/mcp@pve", "").data();
    call(&full, "DELETE", "/access/groups/bots", "").data();
    call(&full, "DELETE", "/access/roles/Bot", "").data();
    assert_eq!(accounts(), before);
}

#[test]
fn accounts_are_refused_with_the_words_of_a_node() {
    let demo = demo();
    let full = demo.cluster();
    call(&full, "POST", "/access/users", "userid=cap@pve").data();
    for (method, path, form, line) in [
        ("POST", "/access/users", "userid=cap@pve", "500 create user failed: user 'cap@pve' already exists"),
        ("DELETE", "/access/users/ghost@pve", "", "500 no such user ('ghost@pve')"),
        (
            "PUT",
            "/access/acl",
            "path=/vms&roles=None&users=cap@pve",
            "500 ACL update failed: role 'None' does not exist",
        ),
        (
            "PUT",
            "/access/acl",
            "path=/vms&roles=PVEVMUser&users=g@pve",
            "500 ACL update failed: user 'g@pve' does not exist",
        ),
        ("PUT", "/access/acl", "path=/vms&roles=PVEVMUser&groups=g", "500 ACL update failed: group 'g' does not exist"),
        ("POST", "/access/roles", "roleid=VMOperator", "500 create role failed: role 'VMOperator' already exists"),
        ("DELETE", "/access/roles/PVEAdmin", "", "500 auto-generated role 'PVEAdmin' cannot be deleted"),
        (
            "PUT",
            "/access/password",
            "userid=cap@pve&password=longenough",
            "403 Permission check failed (URI '/access/password' not available with API token, need proper ticket.",
        ),
    ] {
        assert_eq!(call(&full, method, path, form).line, format!("HTTP/1.1 {line}"));
    }
    for (method, path, form, expected) in [
        (
            "POST",
            "/access/users",
            "userid=x@pve&password=abc",
            json!({"password": "value must be at least 8 characters long"}),
        ),
        (
            "PUT",
            "/access/acl",
            "path=/nosuch&roles=PVEVMUser&users=cap@pve",
            json!({"path": "invalid ACL path '/nosuch'"}),
        ),
        (
            "POST",
            "/access/roles",
            "roleid=R&privs=VM.Audit,VM.Monitor",
            json!({"privs": "invalid format - invalid privilege 'VM.Monitor'\n"}),
        ),
        ("POST", "/access/users/cap@pve/token/1", "", json!({"tokenid": "value does not match the regex pattern"})),
    ] {
        assert_eq!(errors(&call(&full, method, path, form)), expected);
    }
    let auditor = call(&demo.auditor(), "POST", "/access/roles", "roleid=R");
    assert_error(&auditor, "403 Permission check failed (/access, Sys.Modify)");
}

/// The owner of a guest's list may grant what the caller has there, and nothing else.
#[test]
fn list_of_a_guest_is_changed_by_its_administrator_within_the_own_privileges() {
    let demo = demo();
    let full = demo.cluster();
    let made = call(&full, "POST", "/access/users/bob@pve/token/vm", "").data();
    for subject in ["users=bob@pve", "tokens=bob@pve!vm"] {
        call(&full, "PUT", "/access/acl", &format!("path=/vms/100&roles=PVEVMAdmin&{subject}")).data();
    }
    let token = token_of(&full, &made);
    call(&token, "PUT", "/access/acl", "path=/vms/100&roles=PVEVMUser&users=carol@pve").data();
    let more = call(&token, "PUT", "/access/acl", "path=/vms/100&roles=PVESysAdmin&users=carol@pve");
    assert_error(&more, "403 Permission check failed (/vms/100, Sys.Audit)");
    let elsewhere = call(&token, "PUT", "/access/acl", "path=/vms/101&roles=PVEVMUser&users=carol@pve");
    assert_error(&elsewhere, "403 Permission check failed (/vms/101, Permissions.Modify|VM.Allocate)");
}
