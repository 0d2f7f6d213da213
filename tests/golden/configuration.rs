//! Errors of clusters.json.

use crate::document::Document;
use proxmox_mcp::config::{TokenHash, load};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

/// A secret in the form that Proxmox uses. No text may contain it.
const CANARY: &str = "c4a4a4a4-dead-4bee-8f00-5ec4e7000001";
/// The token of a client. No text may contain it.
const CLIENT_TOKEN: &str = "pmcp_secret";
/// A valid cluster, for tables that make one field of it invalid.
const RIGHT: &str = r#""url": "pve1:8006", "user": "mcp@pve", "token_id": "ro", "token_secret": "CANARY""#;

/// Returns the errors of a file with this text. Fails if it loads, or if an error contains a secret.
fn errors(text: &str) -> String {
    let hash = TokenHash::from_token(CLIENT_TOKEN.as_bytes()).to_string();
    let text = text
        .replace("RIGHT", RIGHT)
        .replace("FULL", r#""token_sha256": "HASH", "access": "full""#)
        .replace("HASH", &hash)
        .replace("PIN", &"AB:".repeat(32)[..95])
        .replace("CLIENT_TOKEN", CLIENT_TOKEN)
        .replace("TOKEN", r#""token_id": "ro", "token_secret": "CANARY""#)
        .replace("CANARY", CANARY);
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("clusters.json");
    fs::write(&path, &text).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    let errors = load(&path).expect_err(&text);
    let rendered = errors.to_string();
    assert_eq!(rendered.lines().count(), errors.count(), "a line each: {rendered}");
    for secret in [CANARY, CLIENT_TOKEN] {
        assert!(!rendered.contains(secret) && !format!("{errors:?}").contains(secret), "{text}: {rendered}");
    }
    rendered
}

fn in_cluster(fields: &str) -> String {
    format!(r#"{{"clusters": {{"prod": {{{fields}}}}}}}"#)
}

#[test]
fn errors_of_the_file() {
    let mut document = Document::new();
    for text in [
        "",
        "[]",
        "{\"clusters\": {},}",
        "{\n  // ours\n}",
        "{}",
        r#"{"clusters": {}}"#,
        r#"{"clusters": {"_comment": "none yet"}}"#,
        r#"{"clusters": []}"#,
        r#"{"cluster": {}, "clusters": {}}"#,
        r#"{"clusters": {}, "CANARY": 1}"#,
        r#"{"clusters": {}, "clusters": {}}"#,
        r#"{"clusters": {"home": "CANARY"}}"#,
        r#"{"clusters": {"token_secret": "CANARY"}}"#,
        r#"{"clusters": {"my home": {RIGHT}}}"#,
        r#"{"clusters": {"": {RIGHT}}}"#,
        r#"{"clusters": {"a\nb\u001b": {RIGHT}}}"#,
        r#"{"clusters": {"a": {RIGHT}, "a": {RIGHT}}}"#,
        r#"{"clusters": {"prod": {RIGHT}}, "default": "prd"}"#,
        r#"{"clusters": {"a": {RIGHT}, "b": {RIGHT}}, "default": "CANARY"}"#,
        r#"{"clusters": {"a": {RIGHT}}, "default": 1}"#,
        "{'clusters': 1}",
        "{clusters: 1}",
        r#"{"clusters": {}"#,
        r#"{"clusters": {} "default": "a"}"#,
    ] {
        document.case(text.replace('\n', "\\n"), errors(text));
    }
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("clusters.json");
    let mut unreadable = |about: &str| document.case(about, load(&path).expect_err("no configuration"));
    unreadable("no file");
    fs::create_dir(&path).expect("mkdir");
    unreadable("a folder");
    fs::remove_dir(&path).expect("rmdir");
    for (about, bytes) in [
        ("more than 1 MiB", vec![b' '; (1 << 20) + 1]),
        ("UTF-16", b"\xFF\xFE{\0}\0".to_vec()),
        ("Latin-1", b"{\n\"a\": \"\xE9\"}".to_vec()),
    ] {
        fs::write(&path, bytes).expect("write");
        unreadable(about);
    }
    document.assert("configuration_file");
}

#[test]
fn errors_of_clusters() {
    let mut document = Document::new();
    document.section("Fields");
    for fields in [
        r#""user": "mcp@pve", TOKEN"#,
        r#""url": "a", "urls": ["b"], "user": "mcp@pve", TOKEN"#,
        r#""url": ["a"], "user": "mcp@pve", TOKEN"#,
        r#""url": "", "user": "mcp@pve", TOKEN"#,
        r#""url": "2001:db8::1", "user": "mcp@pve", TOKEN"#,
        r#""url": "http://pve1:8006", "user": "mcp@pve", TOKEN"#,
        r#""url": "https://mcp:CANARY@pve1", "user": "mcp@pve", TOKEN"#,
        r#""url": "pve1/?t=CANARY", "user": "mcp@pve", TOKEN"#,
        r#""url": "CANARY", "user": "mcp@pve", TOKEN"#,
        r#""urls": [], "user": "mcp@pve", TOKEN"#,
        r#""urls": "pve1", "user": "mcp@pve", TOKEN"#,
        r#""urls": ["a", "a:0"], "user": "mcp@pve", TOKEN"#,
        r#""urls": ["a", "a:8006"], "user": "mcp@pve", TOKEN"#,
        r#""urls": ["a", 1], "user": "mcp@pve", TOKEN"#,
        r#""url": "a", TOKEN"#,
        r#""url": "a", "user": "mcp", TOKEN"#,
        r#""url": "a", "user": "mcp@pve!ro", TOKEN"#,
        r#""url": "a", "user": "mcp@pve!ro=CANARY", TOKEN"#,
        r#""url": "a", "user": "mcp@pve\r\nX: 1", TOKEN"#,
        r#""url": "a", "user": "mcp@pve", "token_secret": "CANARY""#,
        r#""url": "a", "user": "mcp@pve", "token_id": "mcp@pve!ro=CANARY", "token_secret": "x""#,
        r#""url": "a", "user": "mcp@pve", "token_id": "CANARY", "token_secret": "ro""#,
        r#""url": "a", "user": "mcp@pve", "token_id": "ro""#,
        r#""url": "a", "user": "mcp@pve", "token_secret_env": "X", TOKEN"#,
        r#""url": "a", "user": "mcp@pve", "token_id": "ro", "token_secret": """#,
        r#""url": "a", "user": "mcp@pve", "token_id": "ro", "token_secret": "CANARY\n""#,
        r#""url": "a", "user": "mcp@pve", "token_id": "ro", "token_secret": "mcp@pve!ro=CANARY""#,
        r#""url": "a", "user": "mcp@pve", "token_id": "ro", "token_secret": ["CANARY"]"#,
        r#""url": "a", "user": "mcp@pve", "token_id": "ro", "token_secret_file": "CANARY""#,
        r#""url": "a", "user": "mcp@pve", "token_id": "ro", "token_secret_file": "/""#,
        r#""url": "a", "user": "mcp@pve", "token_id": "ro", "token_secret_file": "/dev/null""#,
        r#""url": "a", "user": "mcp@pve", "token_id": "ro", "token_secret_env": "CANARY""#,
        r#""url": "ftp://a", "user": "mcp@pve", TOKEN"#,
        r#""url": "[2001:db8::1", "user": "mcp@pve", TOKEN"#,
        r#""url": "[pve1]:8006", "user": "mcp@pve", TOKEN"#,
        r#""url": "[2001:db8::1]x", "user": "mcp@pve", TOKEN"#,
        r#""url": ":8006", "user": "mcp@pve", TOKEN"#,
        r#""url": "pvé1", "user": "mcp@pve", TOKEN"#,
        r#""url": "pve 1", "user": "mcp@pve", TOKEN"#,
        r#""url": "300.1.2.3", "user": "mcp@pve", TOKEN"#,
        r#""url": "a", "user": "mcp@pve!r o", TOKEN"#,
        r#""url": "a", "user": "mcp@pve", "token_id": "mcp@pve!r o", "token_secret": "x""#,
        r#""url": "a", "user": "mcp@pve", "token_id": "r o", "token_secret": "x""#,
        r#"RIGHT, "fingerprint": "AB:CD:AB:CD:AB:CD:AB:CD:AB:CD:AB:CD:AB:CD:AB:CD:AB:CD:AB:CD""#,
        r#"RIGHT, "verify_ssl": "false""#,
        r#"RIGHT, "verify_ssl": 0"#,
        r#"RIGHT, "verify_tls": false"#,
        r#"RIGHT, "password": "CANARY""#,
        r#"RIGHT, "token_secrets": {"a": "CANARY"}"#,
        r#"RIGHT, "mcp@pve!ro=CANARY": true"#,
        r#"RIGHT, "token_secret": "CANARY""#,
        r#"RIGHT, "ca_file": "none.pem""#,
        r#"RIGHT, "ca_file": "/dev/null""#,
        r#"RIGHT, "ca_file": "CANARY""#,
        r#"RIGHT, "fingerprint": "CANARY""#,
        r#"RIGHT, "fingerprint": 7"#,
        r#"RIGHT, "fingerprint": []"#,
        r#"RIGHT, "fingerprint": ["PIN", "CANARY"]"#,
        r#"RIGHT, "fingerprint": ["PIN", null]"#,
        r#"RIGHT, "fingerprint": ["PIN", "PIN"]"#,
        r#"RIGHT, "fingerprint": ["PIN"], "verify_ssl": false"#,
        r#"RIGHT, "fingerprint": "PIN", "verify_ssl": false"#,
        r#"RIGHT, "ca_file": "x", "verify_ssl": false"#,
        r#"RIGHT, "ca_file": "x", "fingerprint": "PIN""#,
        r#"RIGHT, "timeout_seconds": "30""#,
        r#"RIGHT, "timeout_seconds": 0"#,
        r#"RIGHT, "discover_nodes": 1"#,
        r#"RIGHT, "timeout_seconds": 601"#,
    ] {
        document.case(fields, errors(&in_cluster(fields)));
    }
    document.section("Policy");
    for fields in [
        r#""access": "Full""#,
        r#""access": true"#,
        r#""access": """#,
        r#""exec": "true""#,
        r#""confirm": "always""#,
        r#""deny": "DELETE /nodes/*""#,
        r#""deny": ["/nodes/*"]"#,
        r#""deny": ["GET /nodes", "PATCH /nodes"]"#,
        r#""deny": ["GET /nodes", "get /nodes"]"#,
        r#""deny": ["DELETE /nodes/*/quemu/*"]"#,
        r#""deny": ["* /qemu/web01/**"]"#,
        r#""allow": ["GET /nodes/pve*"]"#,
        r#""allow": ["GET /**/qemu"]"#,
        r#""allow": ["GET /nodes/{node"]"#,
        r#""protect": 100"#,
        r#""protect": [1.5]"#,
        r#""protect": ["web01"]"#,
        r#""protect": ["pool:"]"#,
        r#""acess": "read""#,
    ] {
        document.case(fields, errors(&in_cluster(&format!("RIGHT, {fields}"))));
    }
    document.section("Several errors");
    let text = r#"{"clusters": {
        "a": {"url": "a/b", "user": "root", "token_id": "x!y", "token_secret": 7, "verify_ssl": "no", "colour": 1},
        "b": {},
        "c": null
    }, "default": "d", "cluster": 1}"#;
    document.case(text, errors(text));
    document.assert("configuration_clusters");
}

#[test]
fn errors_of_clients() {
    let mut document = Document::new();
    for clients in [
        "{}",
        "null",
        r#"{"_comment": "no client any more"}"#,
        "[]",
        r#"{"ada": "CANARY"}"#,
        r#"{"my laptop": {FULL}}"#,
        r#"{"CANARY": {FULL}}"#,
        r#"{"CLIENT_TOKEN": {FULL}}"#,
        r#"{"ada": {FULL}, "ada": {FULL}}"#,
        r#"{"ada": {FULL}, "bob": {FULL}}"#,
        r#"{"ada": {"access": "full"}}"#,
        r#"{"ada": {"token_sha256": 1, "access": "full"}}"#,
        r#"{"ada": {"token_sha256": "CANARY", "access": "full"}}"#,
        r#"{"ada": {"token_sha256": "CLIENT_TOKEN", "access": "full"}}"#,
        r#"{"ada": {"token": "CLIENT_TOKEN", FULL}}"#,
        r#"{"ada": {"CLIENT_TOKEN": "x", FULL}}"#,
        r#"{"ada": {"acces": "full", FULL}}"#,
        r#"{"ada": {FULL, "access": "full"}}"#,
        r#"{"ada": {"token_sha256": "HASH"}}"#,
        r#"{"ada": {"token_sha256": "HASH", "access": "all"}}"#,
        r#"{"ada": {FULL, "exec": "no"}}"#,
        r#"{"ada": {FULL, "clusters": "prod"}}"#,
        r#"{"ada": {FULL, "clusters": []}}"#,
        r#"{"ada": {FULL, "clusters": ["prd"]}}"#,
        r#"{"ada": {FULL, "clusters": ["CANARY"]}}"#,
        r#"{"ada": {FULL, "clusters": ["prod", "prod"]}}"#,
    ] {
        let text = format!(r#"{{"clusters": {{"prod": {{RIGHT}}}}, "clients": {clients}}}"#);
        document.case(clients, errors(&text));
    }
    document.assert("configuration_clients");
}
