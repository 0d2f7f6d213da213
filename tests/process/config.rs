//! clusters.json: valid files, and the errors of invalid ones.

use proxmox_mcp::config::{ClustersFile, Fingerprint, TlsVerification, TokenHash, load};
use proxmox_mcp::policy::{AccessLevel, ClusterPolicy, ConfirmationPolicy, OperationPattern, Permissions};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

/// A secret in the form that Proxmox uses. No text may contain it.
const CANARY: &str = "c4a4a4a4-dead-4bee-8f00-5ec4e7000001";
/// A valid cluster, for tables that make one field of it invalid.
const RIGHT: &str = r#""url": "pve1:8006", "user": "mcp@pve", "token_id": "ro", "token_secret": "CANARY""#;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn write(directory: &TempDir, name: &str, text: &str) -> std::path::PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text.replace("CANARY", CANARY)).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    path
}

fn load_text(text: &str) -> ClustersFile {
    let directory = directory();
    load(&write(&directory, "clusters.json", text)).unwrap_or_else(|problems| panic!("{text}: {problems}"))
}

fn certificate() -> String {
    rcgen::generate_simple_self_signed(["pve1".to_owned()]).expect("a certificate").cert.pem()
}

#[test]
fn the_original_format_loads_unchanged() {
    let clusters = load_text(
        r#"{"clusters": {
            "prod": {"url": "pve1.example:8006", "user": "root@pam", "token_id": "mcp", "token_secret": "CANARY", "verify_ssl": false},
            "lab": {"url": "192.0.2.10:8006", "user": "mcp@pve", "token_id": "ro", "token_secret": "CANARY", "verify_ssl": true}
        }}"#,
    );
    assert_eq!(clusters.default, None, "no default is named");
    let [prod, lab] = &clusters.clusters[..] else { panic!("{clusters:?}") };
    assert_eq!((prod.name.as_str(), prod.user.as_str(), prod.token_id.as_str()), ("prod", "root@pam", "mcp"));
    assert_eq!(prod.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(), ["pve1.example:8006"]);
    assert_eq!(prod.token_secret.expose(), CANARY);
    assert!(matches!(prod.tls, TlsVerification::Unverified) && matches!(lab.tls, TlsVerification::PublicRoots));
    assert_eq!(prod.timeout, Duration::from_secs(35));
    assert!(!format!("{clusters:?}").contains(CANARY));
}

#[test]
fn the_optional_fields_load() {
    let clusters = load_text(&format!(
        "\u{FEFF}{}",
        r#"{"$schema": "x", "_comment": "two nodes", "default": "a", "clusters": {
            "_comment": "these are ours",
            "a": {"urls": ["pve1", "https://[2001:db8::1]:443/"], "user": "mcp@pve", "token_id": "ro", "ca_file": null,
                  "token_secret": "CANARY", "timeout_seconds": 2.5, "discover_nodes": true, "fingerprint": "FINGERPRINT", "_why": "renewed"},
            "b": {"url": "pve3", "user": "mcp@pve", "token_id": "ro", "token_secret_env": "CARGO_PKG_NAME"}
        }}"#
        .replace("FINGERPRINT", &"ab".repeat(32))
    ));
    assert_eq!(clusters.default.as_deref(), Some("a"));
    let [a, b] = &clusters.clusters[..] else { panic!("{clusters:?}") };
    assert_eq!(a.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(), ["pve1:8006", "[2001:db8::1]:443"]);
    assert_eq!(a.timeout, Duration::from_millis(2500));
    assert!(a.discover_nodes && !b.discover_nodes);
    assert!(matches!(&a.tls, TlsVerification::Fingerprints(pins) if matches!(pins[..], [Fingerprint([0xab, ..])])));
    assert_eq!(b.token_secret.expose(), "proxmox-mcp");
}

#[test]
fn each_node_may_have_its_own_fingerprint() {
    let pins = format!(r#"["{}", "{}"]"#, "AB:".repeat(32).trim_end_matches(':'), "cd".repeat(32));
    let clusters = load_text(&format!(r#"{{"clusters": {{"a": {{{RIGHT}, "fingerprint": {pins}}}}}}}"#));
    let TlsVerification::Fingerprints(pins) = &clusters.clusters[0].tls else { panic!("{clusters:?}") };
    assert_eq!(pins, &[Fingerprint([0xab; 32]), Fingerprint([0xcd; 32])]);
}

#[test]
fn the_example_loads_and_pins_every_node_it_names() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("clusters.example.json");
    let clusters = load(&example).unwrap_or_else(|problems| panic!("{problems}"));
    for cluster in &clusters.clusters {
        if let TlsVerification::Fingerprints(pins) = &cluster.tls {
            assert_eq!(pins.len(), cluster.endpoints.len(), "{}", cluster.name);
        }
    }
}

#[test]
fn the_only_cluster_is_the_default() {
    assert_eq!(load_text(&format!(r#"{{"clusters": {{"home": {{{RIGHT}}}}}}}"#)).default.as_deref(), Some("home"));
}

#[test]
fn relative_paths_are_resolved_from_the_configuration() {
    let directory = directory();
    write(&directory, "secret", "CANARY\r\n");
    write(&directory, "ca.pem", &format!("{}{}", certificate(), certificate()));
    let text = r#"{"clusters": {"home": {"url": "pve1", "user": "mcp@pve", "token_id": "ro",
                   "token_secret_file": "secret", "ca_file": "ca.pem"}}}"#;
    let clusters = load(&write(&directory, "clusters.json", text)).expect("right");
    let [home] = &clusters.clusters[..] else { panic!("{clusters:?}") };
    assert_eq!(home.token_secret.expose(), CANARY);
    assert!(matches!(&home.tls, TlsVerification::Ca(certificates) if certificates.len() == 2));
}

#[test]
fn clients_load_with_their_permissions() {
    let hash = TokenHash::from_token(b"sixteen_letters_");
    let clusters = load_text(
        &r#"{"clusters": {"prod": {RIGHT}}, "clients": {
            "_comment": "these are ours",
            "ada.laptop": {"token_sha256": "HASH", "access": "full", "_since": 2026},
            "bob": {"token_sha256": "PIN", "access": "full", "exec": true, "clusters": null}
        }}"#
        .replace("RIGHT", RIGHT)
        .replace("HASH", &hash.to_string())
        .replace("PIN", &"AB".repeat(32)),
    );
    let [ada, bob] = &clusters.clients[..] else { panic!("{clusters:?}") };
    assert_eq!(
        (ada.name.as_str(), ada.permissions),
        ("ada.laptop", Permissions { access: AccessLevel::Full, exec: false })
    );
    assert!(ada.token_sha256.ct_eq(&hash) && ada.clusters.is_none());
    assert_eq!((bob.name.as_str(), bob.permissions), ("bob", Permissions { access: AccessLevel::Full, exec: true }));
    assert!(!format!("{clusters:?}").contains(&hash.to_string()[..8]));
    assert!(load_text(&r#"{"clusters": {"a": {RIGHT}}}"#.replace("RIGHT", RIGHT)).clients.is_empty());
}

#[test]
fn permissions_of_a_cluster_load() {
    let fields = r#"RIGHT, "access": "full", "exec": true, "confirm": "writes",
        "deny": ["POST /nodes/*/qemu/*/migrate", "* /access/**"], "allow": ["GET /**"],
        "protect": [100, "101", "pool:prod", "tag:critical"]"#;
    let clusters = load_text(&format!(r#"{{"clusters": {{"prod": {{{}}}}}}}"#, fields.replace("RIGHT", RIGHT)));
    let rules = &clusters.clusters[0].policy;
    assert_eq!(rules.permissions, Permissions { access: AccessLevel::Full, exec: true });
    assert_eq!(rules.confirm, ConfirmationPolicy::Writes);
    let format_list = |list: &[OperationPattern]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(format_list(&rules.deny), ["POST /nodes/*/qemu/*/migrate", "* /access/**"]);
    assert_eq!(format_list(rules.allow.as_deref().unwrap_or_default()), ["GET /**"]);
    let protected: Vec<_> = rules.protect.iter().map(ToString::to_string).collect();
    assert_eq!(protected, ["100", "101", "pool:prod", "tag:critical"]);

    let usual = load_text(&format!(r#"{{"clusters": {{"prod": {{{RIGHT}}}}}}}"#));
    assert_eq!(usual.clusters[0].policy, ClusterPolicy::default());
    assert_eq!(ClusterPolicy::default().permissions, Permissions { access: AccessLevel::Full, exec: false });
    assert_eq!(ClusterPolicy::default().confirm, ConfirmationPolicy::Destructive);
    let none = load_text(&format!(r#"{{"clusters": {{"prod": {{{RIGHT}, "allow": []}}}}}}"#));
    assert_eq!(none.clusters[0].policy.allow, Some(Vec::new()), "an empty list allows nothing");
}

/// Runs `proxmox-mcp check` in `directory`, without the environment of this process.
fn check(directory: &Path, args: &[&str], envs: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
    for name in ["PROXMOX_MCP_CONFIG", "PROXMOX_MCP_LOG", "PROXMOX_MCP_LISTEN", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.arg("check").args(args).envs(envs.iter().copied()).current_dir(directory).output().expect("run")
}

/// Returns stderr of a run that ended with exit code 2. Fails if the output contains the secret.
fn expect_failure(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!out.contains(CANARY) && !err.contains(CANARY), "{out}{err}");
    assert_eq!(output.status.code(), Some(2), "{out}{err}");
    err.into_owned()
}

#[test]
fn configuration_file_is_found_in_the_documented_order() {
    let directory = directory();
    let bad = |name: &str| write(&directory, name, &format!(r#"{{"clusters": {{"{name}": {{}}}}}}"#));
    let (typed, set) = (bad("typed"), bad("set"));
    bad("clusters.json");
    let check_error = |args: &[&str], envs: &[(&str, &str)]| expect_failure(&check(directory.path(), args, envs));
    let (typed, set) = (typed.to_str().expect("UTF-8"), set.to_str().expect("UTF-8"));
    assert!(check_error(&["--config", typed], &[("PROXMOX_MCP_CONFIG", set)]).contains("cluster \"typed\""));
    assert!(check_error(&[], &[("PROXMOX_MCP_CONFIG", set)]).contains("cluster \"set\""));
    assert!(check_error(&[], &[("PROXMOX_MCP_CONFIG", "")]).contains("cluster \"clusters.json\""));
    assert!(
        check_error(&[], &[])
            .starts_with("error: clusters.json: 4 problems\n  cluster \"clusters.json\", field \"url\": ")
    );
}

#[test]
fn a_secret_that_others_can_read_is_a_warning() {
    let directory = directory();
    // The unknown field ends the program before it sends a request to a node.
    let text = |secret: &str| {
        format!(r#"{{"clusters": {{"a": {{"url": "a", "user": "b@pve", "token_id": "c", {secret}, "x": 1}}}}}}"#)
    };
    let secret = write(&directory, "secret", "CANARY");
    let config = write(&directory, "clusters.json", &text(r#""token_secret": "CANARY""#));
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    let check_error = || expect_failure(&check(directory.path(), &[], &[]));
    assert!(!check_error().contains("WARN"));
    // The group may be that of the service's own user.
    chmod(&config, 0o640);
    assert!(!check_error().contains("WARN"));
    chmod(&config, 0o644);
    assert!(check_error().contains("chmod 600 clusters.json"));
    write(&directory, "clusters.json", &text(r#""token_secret_file": "secret""#));
    chmod(&config, 0o644);
    assert!(!check_error().contains("WARN"), "there is no secret in it");
    chmod(&secret, 0o604);
    assert!(check_error().contains("chmod 600 secret"));
}

#[test]
fn invalid_secret_variable_is_rejected_and_not_shown() {
    let directory = directory();
    let text = r#"{"clusters": {"a": {"url": "a", "user": "b@pve", "token_id": "c", "token_secret_env": "MY_TOKEN"}}}"#;
    write(&directory, "clusters.json", text);
    assert!(expect_failure(&check(directory.path(), &[], &[])).contains("not set"));
    assert!(expect_failure(&check(directory.path(), &[], &[("MY_TOKEN", "")])).contains("leads to an empty secret"));
    let spaced = format!("{CANARY} ");
    assert!(expect_failure(&check(directory.path(), &[], &[("MY_TOKEN", &spaced)])).contains("has a space"));
}
