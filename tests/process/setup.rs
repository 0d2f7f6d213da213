//! `setup` against the simulated cluster: over HTTP, over TLS, and through a `pvesh`.

use crate::support::node::{Identity, Node, Request, ScriptedReply};
use crate::support::process::{ServerProcess, program};
use crate::support::raw::{LONG, eventually};
use crate::support::rpc::{ACCEPT, call, text as result_text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proxmox_mcp::config::TlsVerification;
use proxmox_mcp::pve::demo::Demo;
use ring::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// The simulated cluster and the folder of one test.
struct Lab {
    demo: Demo,
    folder: TempDir,
}

impl Lab {
    fn start() -> Self {
        Self { demo: Demo::start().expect("the demo starts"), folder: TempDir::new().expect("a folder") }
    }

    fn url(&self) -> String {
        format!("http://{}", self.demo.cluster().endpoints[0])
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("clusters.json")
    }

    fn read_config(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.config()).expect("clusters.json")).expect("JSON")
    }

    /// Returns a command of `setup` for the demo.
    fn setup(&self, args: &[&str]) -> Command {
        let mut command = program(&["setup", "--url", &self.url()]);
        command.args(args).arg("--config").arg(self.config()).env("HOME", self.folder.path());
        command
    }

    /// Runs a setup as root@pam, without questions, to its success.
    fn run(&self, args: &[&str]) -> String {
        let output = answer(self.setup(args).arg("--yes"), &["root@pam", self.demo.root_password()]);
        succeed(&output)
    }

    /// Sends a request to the demo with its full token.
    fn request(&self, method: &str, path: &str, body: &str) -> Value {
        let cluster = self.demo.cluster();
        let token = format!(
            "Authorization: PVEAPIToken={}!{}={}\r\n",
            cluster.user,
            cluster.token_id,
            cluster.token_secret.expose()
        );
        let (status, body) = exchange(&self.demo, method, &format!("/api2/json{path}"), &token, body);
        assert_eq!(status, "200 OK", "{method} {path}: {body}");
        serde_json::from_str::<Value>(&body).expect("JSON")["data"].take()
    }

    /// Returns the access control of the demo.
    fn access(&self) -> Value {
        let mut lists: Vec<Value> =
            ["/access/roles", "/access/users?full=1", "/access/acl"].map(|path| self.request("GET", path, "")).into();
        for list in &mut lists {
            list.as_array_mut().expect("a list").sort_by_key(Value::to_string);
        }
        lists.into()
    }

    /// Returns the tokens of the user that setup makes.
    fn tokens(&self) -> Vec<String> {
        let tokens = self.request("GET", "/access/users/proxmox-mcp@pve/token", "");
        tokens
            .as_array()
            .expect("a list")
            .iter()
            .map(|token| token["tokenid"].as_str().expect("a name").into())
            .collect()
    }
}

/// Sends one request to the demo. Returns the status line from its number on, and the body.
fn exchange(demo: &Demo, method: &str, target: &str, headers: &str, body: &str) -> (String, String) {
    let endpoint = demo.cluster().endpoints[0].clone();
    let mut stream = TcpStream::connect((&*endpoint.host, endpoint.port)).expect("connect");
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: {endpoint}\r\nConnection: close\r\n{headers}Content-Type: \
         application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.lines().next().and_then(|line| line.split_once(' ')).expect("a status line").1;
    (status.to_owned(), body.to_owned())
}

/// Runs a command with these lines as its stdin.
fn answer(command: &mut Command, lines: &[&str]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
    let mut text = lines.join("\n");
    text.push('\n');
    // A command that needs no answer may have ended.
    let _ = child.stdin.take().expect("stdin").write_all(text.as_bytes());
    child.wait_with_output().expect("run")
}

fn text(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).expect("UTF-8")
}

fn succeed(output: &Output) -> String {
    let text = text(output);
    assert!(output.status.success(), "{text}");
    text
}

fn fail(output: &Output) -> String {
    let text = text(output);
    assert!(!output.status.success(), "{text}");
    text
}

#[test]
fn setup_and_its_removal_leave_the_cluster_as_it_was() {
    let lab = Lab::start();
    let before = lab.access();
    for level in ["read", "operate", "full"] {
        let output = lab.run(&["lab", "--access", level, "--client", "claude-code"]);
        assert!(output.contains("✓ lab ") && output.contains("Authorization: Bearer pmcp_"), "{output}");
        assert_eq!(fs::metadata(lab.config()).expect("clusters.json").permissions().mode() & 0o777, 0o600);
        let config = lab.read_config();
        assert_eq!(config["clusters"]["lab"]["access"], level);
        assert_eq!(config["clients"]["claude-code"]["clusters"], json!(["lab"]));
        let output = lab.run(&["lab", "--remove"]);
        assert!(output.contains("delete token proxmox-mcp@pve!mcp-"), "{output}");
        assert_eq!(lab.access(), before);
        assert!(!lab.config().exists());
    }
}

#[test]
fn setup_again_replaces_the_token_and_its_rights() {
    let lab = Lab::start();
    let before = lab.access();
    lab.run(&["lab", "--access", "full"]);
    let (first, tokens) = (lab.read_config(), lab.tokens());
    let output = lab.run(&["lab", "--access", "operate"]);
    let (second, others) = (lab.read_config(), lab.tokens());
    assert_eq!((tokens.len(), others.len()), (1, 1), "{output}");
    assert_ne!(tokens, others);
    assert_ne!(first["clusters"]["lab"]["token_secret"], second["clusters"]["lab"]["token_secret"]);
    assert_eq!(first["clients"], second["clients"], "the client keeps its token");
    let acl = lab.request("GET", "/access/acl", "").to_string();
    assert!(acl.contains("MCPOperate") && !acl.contains("\"PVEAdmin\""), "{acl}");
    // A lost file: the token of the earlier run is known by its comment.
    fs::remove_file(lab.config()).expect("delete");
    lab.run(&["lab", "--access", "read"]);
    assert_eq!(lab.tokens().len(), 1);
    lab.run(&["lab", "--remove"]);
    assert_eq!(lab.access(), before);
}

#[test]
fn a_token_of_setup_works_in_the_server_at_its_level() {
    let lab = Lab::start();
    lab.run(&["lab", "--access", "operate"]);
    let mut config = lab.read_config();
    let secret = config["clusters"]["lab"]["token_secret"].as_str().expect("a secret").to_owned();
    let token = format!(
        "Authorization: PVEAPIToken=proxmox-mcp@pve!{}={secret}\r\n",
        config["clusters"]["lab"]["token_id"].as_str().expect("a name")
    );
    // Proxmox itself allows the level and no more.
    for (method, path, status) in [
        ("GET", "/nodes/pve1/qemu/100/config", "200 OK"),
        ("POST", "/nodes/pve1/qemu/100/status/reboot", "200 OK"),
        ("POST", "/nodes/pve1/qemu/100/snapshot", "200 OK"),
        ("DELETE", "/nodes/pve1/qemu/100", "403 "),
        ("PUT", "/nodes/pve1/qemu/100/config", "403 "),
    ] {
        let body = if path.ends_with("snapshot") { "snapname=first" } else { "" };
        let (answered, body) = exchange(&lab.demo, method, &format!("/api2/json{path}"), &token, body);
        assert!(answered.starts_with(status), "{method} {path}: {answered} {body}");
    }
    config.as_object_mut().expect("an object").remove("clients");
    fs::write(lab.config(), config.to_string()).expect("write");
    let path = lab.config();
    let server = ServerProcess::start(&["--config", path.to_str().expect("UTF-8"), "--listen", "127.0.0.1:0"]);
    let mut client = crate::support::raw::Client::new(TcpStream::connect(server.address()).expect("connect"));
    let reply = client.post_with("/mcp", ACCEPT, &call(1, "find_guest", json!({"query": "100"}))).json();
    assert!(result_text(&reply).contains("web01"), "{reply}");
}

#[test]
fn what_was_there_stays() {
    let lab = Lab::start();
    let other = format!(
        "{{\n  \"_comment\": \"by hand\",\n  \"clusters\": {{\"prod\": {{\"url\": \"192.0.2.1\", \"user\": \"a@pve\", \
         \"token_id\": \"b\",  \"token_secret\": \"s\"}}}},\n  \"clients\": {{\"ada\": {{\"token_sha256\": \"{}\", \
         \"access\": \"read\"}}}}\n}}\n",
        "ab".repeat(32)
    );
    fs::write(lab.config(), &other).expect("write");
    fs::set_permissions(lab.config(), Permissions::from_mode(0o640)).expect("chmod");
    lab.run(&["lab", "--client", "cursor"]);
    let config = lab.read_config();
    assert_eq!(config["default"], "prod", "calls without a cluster keep theirs");
    assert!(fs::read_to_string(lab.config()).expect("read").contains("\"token_id\": \"b\",  \"token_secret\""));
    assert_eq!(fs::metadata(lab.config()).expect("a file").permissions().mode() & 0o777, 0o640);
    lab.run(&["lab", "--remove"]);
    let (left, mut expected) = (lab.read_config(), serde_json::from_str::<Value>(&other).expect("JSON"));
    expected["default"] = "prod".into();
    assert_eq!(left, expected);
    // An entry by hand is the operator's: its other fields stay.
    let mut config = lab.read_config();
    config["clusters"]["lab"] = json!({"url": lab.url(), "user": "demo@pve", "token_id": "x", "token_secret": "y",
        "protect": [100], "timeout_seconds": 7});
    fs::write(lab.config(), config.to_string()).expect("write");
    lab.run(&["lab"]);
    let entry = lab.read_config()["clusters"]["lab"].take();
    assert_eq!((&entry["protect"], &entry["timeout_seconds"]), (&json!([100]), &json!(7)));
    assert_eq!(entry["user"], "proxmox-mcp@pve");
}

#[test]
fn a_failure_takes_everything_back() {
    let lab = Lab::start();
    let before = lab.access();
    // The token can be made, and no file can be written there.
    let mut command = program(&["setup", "lab", "--url", &lab.url(), "--access", "operate", "--yes"]);
    command.args(["--config", "/proc/clusters.json"]);
    let text = fail(&answer(&mut command, &["root@pam", lab.demo.root_password()]));
    assert!(text.contains("create token") && text.contains("(taken back)") && text.contains("cannot write"), "{text}");
    assert_eq!(lab.access(), before);
}

#[test]
fn nothing_is_changed_without_a_yes() {
    let lab = Lab::start();
    let before = lab.access();
    let password = lab.demo.root_password();
    let text = succeed(&answer(&mut lab.setup(&["--dry-run", "--access", "operate"]), &["", password]));
    assert!(text.contains("create role MCPOperate with Datastore.Audit") || text.contains("VM.PowerMgmt"), "{text}");
    assert!(text.contains("Nothing was changed"), "{text}");
    let text = fail(&answer(&mut lab.setup(&[]), &["root", password, "n"]));
    assert!(text.contains("nothing was changed"), "{text}");
    let text = fail(&answer(&mut lab.setup(&[]), &["root@pam", "wrong password", "y"]));
    assert!(text.contains("Proxmox rejected the login of root@pam"), "{text}");
    let text = fail(&answer(lab.setup(&[]).arg("--yes"), &["root@pam"]));
    assert!(text.contains("stdin has no further line"), "{text}");
    assert!(!lab.config().exists());
    assert_eq!(lab.access(), before);
    // A yes is enough.
    succeed(&answer(&mut lab.setup(&[]), &["", password, "y"]));
    assert!(lab.config().exists());
}

#[test]
fn a_login_may_need_a_second_factor() {
    let lab = Lab::start();
    let key = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345678901234567890");
    let code = || {
        let step = SystemTime::now().duration_since(UNIX_EPOCH).expect("a date").as_secs() / 30;
        let tag = sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let at = usize::from(tag[19] & 15);
        let word = u32::from_be_bytes(tag[at..at + 4].try_into().expect("four bytes")) & 0x7fff_ffff;
        format!("{:06}", word % 1_000_000)
    };
    let uri = "otpauth%3A%2F%2Ftotp%2Fx%3Fsecret%3DGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let password = lab.demo.root_password();
    let ticket =
        exchange(&lab.demo, "POST", "/api2/json/access/ticket", "", &format!("username=root@pam&password={password}"));
    let ticket: Value = serde_json::from_str(&ticket.1).expect("JSON");
    let headers = format!(
        "Cookie: PVEAuthCookie={}\r\nCSRFPreventionToken: {}\r\n",
        ticket["data"]["ticket"].as_str().expect("a ticket"),
        ticket["data"]["CSRFPreventionToken"].as_str().expect("a token")
    );
    let body = format!("type=totp&description=x&totp={uri}&value={}&password={password}", code());
    let (status, answered) = exchange(&lab.demo, "POST", "/api2/json/access/tfa/root@pam", &headers, &body);
    assert_eq!(status, "200 OK", "{answered}");
    let text = fail(&answer(lab.setup(&[]).arg("--yes"), &["root@pam", password, "000000"]));
    assert!(text.contains("rejected the login"), "{text}");
    succeed(&answer(lab.setup(&[]).arg("--yes"), &["root@pam", password, &code()]));
}

#[test]
fn a_terminal_does_not_show_the_password() {
    let lab = Lab::start();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("grant");
    unlockpt(&master).expect("unlock");
    let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("UTF-8");
    let terminal = || File::options().read(true).write(true).open(&name).expect("the terminal");
    let mut command = lab.setup(&["lab"]);
    let mut child = command.stdin(terminal()).stdout(terminal()).stderr(terminal()).spawn().expect("start");
    let mut master = File::from(master);
    let mut shown = String::new();
    let mut wait_for = |master: &mut File, part: &str| {
        while !shown.contains(part) {
            let mut bytes = [0; 4096];
            let length = master.read(&mut bytes).expect("the program runs");
            shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    };
    wait_for(&mut master, "[root@pam]: ");
    master.write_all(b"\n").expect("write");
    wait_for(&mut master, "Password of root@pam: ");
    master.write_all(format!("{}\n", lab.demo.root_password()).as_bytes()).expect("write");
    wait_for(&mut master, "Make these changes? [y/N]: ");
    master.write_all(b"y\n").expect("write");
    wait_for(&mut master, "Proxmox VE 9.2.11  token");
    assert!(child.wait().expect("an end").success(), "{shown}");
    assert!(!shown.contains(lab.demo.root_password()), "{shown}");
    assert!(shown.contains("\u{1b}[32m✓\u{1b}[0m"), "colours at a terminal: {shown}");
}

#[test]
fn no_color_and_pipes_get_plain_lines() {
    for (variable, has_colours) in [("", true), ("1", false)] {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("grant");
        unlockpt(&master).expect("unlock");
        let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("UTF-8");
        let terminal = || File::options().read(true).write(true).open(&name).expect("the terminal");
        let mut command = program(&["check", "--demo"]);
        let command = command.env("NO_COLOR", variable).stdout(terminal()).stderr(terminal());
        // The terminal ends with its last user.
        let mut child = command.spawn().expect("start");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut shown = Vec::new();
        // The end of a terminal is an error on Linux.
        let _ = File::from(master).read_to_end(&mut shown);
        assert!(child.wait().expect("an end").success());
        let shown = String::from_utf8(shown).expect("UTF-8");
        assert!(shown.contains("checked 0 of 1 clusters …"), "{shown}");
        assert_eq!(shown.contains("\u{1b}[32m✓"), has_colours, "{shown}");
    }
    let output = program(&["check", "--demo"]).output().expect("run");
    assert!(!text(&output).contains('\u{1b}') && text(&output).starts_with("✓ --demo"), "{}", text(&output));
}

/// Returns a node's list of certificates, with the authority that signs [`Identity::Trusted`].
fn certificate_list() -> String {
    let settings = Node::start_as(Identity::Trusted, |_| ScriptedReply::close()).cluster_settings();
    let TlsVerification::Ca(authority) = settings.tls else { panic!("the node has an authority") };
    let pem =
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(authority[0].as_ref()));
    json!([{"filename": "pve-root-ca.pem", "pem": pem, "fingerprint": ""}]).to_string()
}

/// Starts a node with TLS in front of the demo. It serves the authority of its certificate.
fn start_tls_front(lab: &Lab, identity: Identity) -> Node {
    let certificates = certificate_list();
    let endpoint = lab.demo.cluster().endpoints[0].clone();
    Node::start_as(identity, move |request: &Request| {
        if request.path().ends_with("/certificates/info") {
            return ScriptedReply::data(&certificates);
        }
        let mut headers = String::new();
        for (name, value) in &request.headers {
            if matches!(&**name, "authorization" | "cookie" | "csrfpreventiontoken" | "content-type") {
                headers.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let mut stream = TcpStream::connect((&*endpoint.host, endpoint.port)).expect("connect");
        write!(
            stream,
            "{} {} HTTP/1.1\r\nHost: {endpoint}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{}",
            request.method,
            request.target,
            request.body.len(),
            request.body
        )
        .expect("send");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        ScriptedReply::raw(answer).then_close()
    })
}

#[test]
fn a_certificate_of_proxmox_is_compared_and_then_its_authority_is_kept() {
    let lab = Lab::start();
    let password = lab.demo.root_password();
    let front = start_tls_front(&lab, Identity::Trusted);
    let (url, fingerprint) = (front.endpoint().to_string(), front.fingerprint().to_string());
    let setup = |args: &[&str]| {
        let mut command = program(&["setup", "lab", "--url", &url]);
        command.args(args).arg("--config").arg(lab.config());
        command
    };
    let text = fail(&answer(&mut setup(&["--yes"]), &["root@pam", password]));
    assert!(text.contains(&format!("then add --fingerprint {fingerprint}")), "{text}");
    let text = fail(&answer(&mut setup(&[]), &["no", "root@pam", password]));
    assert!(text.contains(&fingerprint) && text.contains("is not trusted. Nothing was sent to it"), "{text}");
    let wrong = "AB:".repeat(32);
    let text = fail(&answer(&mut setup(&["--yes", "--fingerprint", wrong.trim_end_matches(':')]), &["", password]));
    assert!(text.contains("fingerprint"), "{text}");
    assert!(front.requests().is_empty(), "no password goes to a certificate that is not trusted");
    succeed(&answer(&mut setup(&[]), &["y", "root@pam", password, "y"]));
    let entry = lab.read_config()["clusters"]["lab"].take();
    assert_eq!((&entry["ca_file"], &entry["discover_nodes"]), (&json!("lab-ca.pem"), &json!(true)));
    assert!(lab.folder.path().join("lab-ca.pem").exists());
    // The entry is enough for the next run.
    let mut command = program(&["setup", "lab", "--remove", "--yes", "--config"]);
    succeed(&answer(command.arg(lab.config()), &["root@pam", password]));
    assert!(!lab.config().exists() && !lab.folder.path().join("lab-ca.pem").exists());
}

#[test]
fn a_certificate_of_another_issuer_is_pinned() {
    let lab = Lab::start();
    let front = start_tls_front(&lab, Identity::SelfSigned);
    let (url, fingerprint) = (front.endpoint().to_string(), front.fingerprint().to_string());
    let mut command = program(&["setup", "lab", "--url", &url, "--fingerprint", &fingerprint, "--yes", "--config"]);
    succeed(&answer(command.arg(lab.config()), &["root@pam", lab.demo.root_password()]));
    assert_eq!(lab.read_config()["clusters"]["lab"]["fingerprint"], fingerprint);
}

/// The command of a node, which sends its calls to the demo as root@pam.
const PVESH: &str = r#"#!/bin/bash
set -euo pipefail
quote() {
  local text=$1 out= i
  for ((i = 0; i < ${#text}; i++)); do
    printf -v out '%s%%%02X' "$out" "'${text:i:1}"
  done
  printf %s "$out"
}
request() {
  exec 3<>"/dev/tcp/127.0.0.1/$DEMO_PORT"
  printf '%s /api2/json%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %s\r\n\r\n%s' \
    "$1" "$2" "$3" "${#4}" "$4" >&3
  answer=$(cat <&3)
  exec 3>&-
}
case $1 in get) method=GET ;; create) method=POST ;; set) method=PUT ;; delete) method=DELETE ;; *) exit 2 ;; esac
path=$2
shift 2
body=
while [ $# -gt 0 ]; do
  [ "$1" = --output-format ] || body+="${body:+&}${1#--}=$(quote "$2")"
  shift 2
done
case $path in */certificates/info)
  cat "$CERTIFICATES"
  exit
  ;;
esac
request POST /access/ticket "" "username=root@pam&password=$DEMO_PASSWORD"
[[ $answer =~ \"ticket\":\"([^\"]*)\" ]] && ticket=${BASH_REMATCH[1]}
[[ $answer =~ \"CSRFPreventionToken\":\"([^\"]*)\" ]] && csrf=${BASH_REMATCH[1]}
request "$method" "$path" "Cookie: PVEAuthCookie=$ticket"$'\r\n'"CSRFPreventionToken: $csrf"$'\r\n' "$body"
status=${answer%%$'\r'*}
if [[ $status != *" 200 "* ]]; then
  echo "${status#* }" >&2
  exit 255
fi
data=${answer##*$'\r\n\r\n'}
data=${data#*\"data\":}
printf '%s\n' "${data%\}}"
"#;

#[test]
fn root_on_a_node_needs_no_login() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let lab = Lab::start();
    let before = lab.access();
    let front = start_tls_front(&lab, Identity::Trusted);
    let bin = lab.folder.path().join("bin");
    fs::create_dir(&bin).expect("a folder");
    fs::write(bin.join("pvesh"), PVESH).expect("write");
    fs::set_permissions(bin.join("pvesh"), Permissions::from_mode(0o755)).expect("chmod");
    let certificates = lab.folder.path().join("certificates");
    fs::write(&certificates, certificate_list()).expect("write");
    let port = lab.demo.cluster().endpoints[0].port.to_string();
    let run = |args: &[&str]| {
        let mut command = program(args);
        command.arg("--config").arg(lab.config()).env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        command
            .env("DEMO_PORT", &port)
            .env("CERTIFICATES", &certificates)
            .env("DEMO_PASSWORD", lab.demo.root_password())
            .output()
            .expect("run")
    };
    let url = front.endpoint().to_string();
    let output = succeed(&run(&["setup", "--url", &url, "--access", "operate", "--client", "claude-desktop", "--yes"]));
    assert!(output.contains("as root@pam") && output.contains("\"args\": [\"stdio\", \"--config\""), "{output}");
    let config = lab.read_config();
    assert_eq!(config["clusters"]["demo"]["ca_file"], "demo-ca.pem");
    assert_eq!(config["clients"], Value::Null, "a client on stdio has no token");
    succeed(&run(&["setup", "--url", &url, "--access", "full", "--yes"]));
    succeed(&run(&["setup", "--remove", "demo", "--yes"]));
    assert_eq!(lab.access(), before);
    // The message of a command that fails is shown.
    fs::write(bin.join("pvesh"), "#!/bin/sh\necho 'cluster not ready - no quorum?' >&2\nexit 1\n").expect("write");
    let text = fail(&run(&["setup", "--yes"]));
    assert!(text.contains("`pvesh get /version` failed: cluster not ready - no quorum?"), "{text}");
}

#[test]
fn the_file_of_a_client_is_written_with_a_copy() {
    let lab = Lab::start();
    let home = lab.folder.path();
    for (client, file, member) in [
        ("claude-code", ".claude.json", "mcpServers"),
        ("claude-desktop", ".config/Claude/claude_desktop_config.json", "mcpServers"),
        ("gemini", ".gemini/settings.json", "mcpServers"),
        ("cursor", ".cursor/mcp.json", "mcpServers"),
        ("vscode", ".config/Code/User/mcp.json", "servers"),
    ] {
        let file = home.join(file);
        let read = || serde_json::from_str::<Value>(&fs::read_to_string(&file).expect("a file")).expect("JSON");
        if client == "gemini" {
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(&file, "{\"theme\": \"dark\", \"mcpServers\": {\"other\": {}}}").expect("write");
        }
        lab.run(&["lab", "--client", client, "--write-client"]);
        let entry = read()[member]["proxmox"].take();
        match client {
            "claude-desktop" => assert_eq!(entry["args"][2], json!(lab.config())),
            _ => assert!(entry["headers"]["Authorization"].to_string().contains("Bearer pmcp_"), "{entry}"),
        }
        assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o077, 0);
        lab.run(&["lab", "--remove", "--client", client, "--write-client"]);
        assert_eq!(read()[member]["proxmox"], Value::Null);
        if client == "gemini" {
            assert_eq!(read(), json!({"theme": "dark", "mcpServers": {"other": {}}}));
            let copy = fs::read_to_string(file.with_file_name("settings.json.bak")).expect("a copy");
            assert_eq!(copy, "{\"theme\": \"dark\", \"mcpServers\": {\"other\": {}}}");
        }
    }
    // A file that is not plain JSON stays.
    let file = home.join(".cursor/mcp.json");
    fs::write(&file, "{// mine\n}").expect("write");
    let output = answer(
        lab.setup(&["lab", "--client", "cursor", "--write-client", "--yes"]).arg("--yes"),
        &["root@pam", lab.demo.root_password()],
    );
    fail(&output);
    assert_eq!(fs::read_to_string(&file).expect("a file"), "{// mine\n}");
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let lab = Lab::start();
    let real = lab.folder.path().join("real.json");
    fs::write(&real, format!("{{\"clusters\": {{\"a\": {{\"url\": \"{}\", \"user\": \"a@pve\", \"token_id\": \"b\", \"token_secret\": \"c\"}}}}}}", "192.0.2.1"))
        .expect("write");
    symlink(&real, lab.config()).expect("a link");
    lab.run(&["lab"]);
    assert!(lab.config().is_symlink());
    assert!(fs::read_to_string(&real).expect("a file").contains("\"lab\""));
}

#[test]
fn wrong_uses_are_explained() {
    let lab = Lab::start();
    for (args, part) in [
        (&["setup", "--demo"][..], "--demo starts one that ends with the command"),
        (&["setup"], "setup needs the address of a Proxmox node"),
        (&["setup", "--remove"], "<NAME>"),
        (&["setup", "--remove", "nothing"], "has no cluster \"nothing\""),
        (&["setup", "--url", "http://192.0.2.1"], "in clear text"),
        (&["setup", "--access", "root"], "expected read, operate or full"),
        (&["setup", "--write-client"], "--client <CLIENT>"),
        (&["setup", "--fingerprint", "ab"], "is no SHA-256 fingerprint"),
    ] {
        let mut command = program(args);
        let text = fail(&command.env("PROXMOX_MCP_CONFIG", lab.config()).output().expect("run"));
        assert!(text.contains(part), "{args:?}: {text}");
    }
}

#[test]
fn a_running_server_uses_the_new_token_by_itself() {
    let lab = Lab::start();
    lab.run(&["lab"]);
    let path = lab.config();
    let server = ServerProcess::start(&["--config", path.to_str().expect("UTF-8"), "--listen", "127.0.0.1:0"]);
    server.address();
    lab.run(&["lab"]);
    eventually("the reload", || {
        server
            .stderr
            .recv_timeout(LONG)
            .is_ok_and(|line| line.contains("reloaded") && line.contains("cluster lab changed"))
    });
}
