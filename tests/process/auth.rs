//! Client tokens over real sockets: each route without a token, with a wrong one and with a valid one. Also sessions,
//! the start of a server, and the `token` command.

use crate::support::process::{ServerProcess, path, program, run};
use crate::support::raw::{Client, Reply, Sse, ping};
use crate::support::rpc::ACCEPT;
use crate::support::server::{TestServer, patient_limits};
use proxmox_mcp::config::{Client as Caller, TokenHash};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use tempfile::NamedTempFile;

const ADA: &str = "pmcp_ada-has-a-token-of-her-own";
const BOB: &str = "pmcp_bob-has-another-token";

fn caller(name: &str, token: &str) -> Caller {
    Caller { name: name.into(), token_sha256: TokenHash::from_token(token.as_bytes()), ..Caller::anonymous() }
}

fn server() -> TestServer {
    TestServer::builder().clients(vec![caller("ada", ADA), caller("bob", BOB)]).start()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn initialize() -> String {
    let params =
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).to_string()
}

/// Asserts that a reply is a 401 with a hint about the token, and returns its challenge.
fn assert_challenge(reply: &Reply, what: &str) -> String {
    assert_eq!(reply.status, 401, "{what}");
    assert!(reply.has_header("Content-Type: application/json"), "{what}: {}", reply.head);
    let body: Value = serde_json::from_str(&reply.body).expect("JSON");
    assert!(body["error_description"].as_str().is_some_and(|text| text.contains("Authorization")), "{body}");
    let line = reply.head.lines().find_map(|line| line.strip_prefix("WWW-Authenticate: "));
    line.unwrap_or_else(|| panic!("no challenge: {}", reply.head)).to_owned()
}

// ---- each route

#[test]
fn every_route_except_healthz_requires_a_token() {
    let server = server();
    for (line, json) in [
        ("GET /sse", ""),
        ("GET /sse?token=TOKEN&access_token=TOKEN", ""),
        ("POST /mcp", "{}"),
        ("GET /mcp", ""),
        ("DELETE /mcp", ""),
        ("OPTIONS /mcp", ""),
        ("POST /messages", "{}"),
        ("POST /messages?sessionId=0123456789abcdef0123456789abcdef", "{}"),
        ("GET /messages", ""),
    ] {
        let line = line.replace("TOKEN", ADA);
        let body = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", json.len());
        let ask = |headers: &str| {
            let mut client = server.connect();
            client.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{body}{headers}\r\n{json}"));
            client.reply().expect("an answer")
        };
        assert_eq!(assert_challenge(&ask(""), &line), "Bearer realm=\"proxmox-mcp\"");
        let wrong = assert_challenge(&ask(&bearer("pmcp_wrong")), &line);
        assert!(wrong.starts_with("Bearer ") && wrong.ends_with("error=\"invalid_token\""), "{wrong}");
    }
    for headers in ["", &bearer("pmcp_wrong"), &bearer(ADA), &bearer(ADA).repeat(2)] {
        assert_eq!(server.connect().ask("GET /healthz", headers).body, "ok", "{headers}");
    }
}

#[test]
fn every_route_is_served_with_the_right_token() {
    let server = server();
    for token in [ADA, BOB] {
        let mut client = server.connect();
        let reply = client.post_with("/mcp", &format!("{ACCEPT}{}", bearer(token)), &initialize());
        assert!(reply.status == 200 && reply.body.contains("protocolVersion"), "{}", reply.body);
        assert_eq!(client.ask("GET /mcp", &bearer(token)).status, 405);
        let mut sse = Sse::open_with(server.connect(), &bearer(token));
        assert_eq!(client.post_with(&sse.path, &bearer(token), &ping(1)).status, 202);
        assert!(sse.message().contains("result"));
    }
}

#[test]
fn every_request_of_a_kept_connection_requires_the_token() {
    let server = server();
    let mut client = server.connect();
    let post = |client: &mut Client, token: &str| client.post_with("/mcp", &bearer(token), &ping(1)).status;
    assert_eq!(post(&mut client, ADA), 200);
    assert_eq!(post(&mut client, BOB), 200);
    assert_eq!(client.post("/mcp", &ping(1)).status, 401);
}

#[test]
fn unknown_paths_are_404_without_a_token() {
    let server = server();
    // Clients request it after a 401. Any other status would look like broken OAuth.
    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server/mcp", "/register"] {
        assert_eq!(server.connect().ask(&format!("GET {path}"), "").status, 404, "{path}");
    }
}

#[test]
fn unknown_host_or_origin_is_rejected_before_the_token_is_checked() {
    let server = server();
    let headers = format!("Origin: https://evil.example\r\n{}", bearer(ADA));
    assert_eq!(server.connect().post_with("/mcp", &headers, &ping(1)).status, 403);
    assert_eq!(server.status_of("GET /sse HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 421);
}

#[test]
fn without_clients_no_token_is_checked() {
    let server = TestServer::start(patient_limits());
    for headers in ["", &bearer(ADA), "Authorization: Basic eDp5\r\n"] {
        assert_eq!(server.connect().post_with("/mcp", headers, &ping(1)).status, 200, "{headers}");
    }
}

// ---- forms of the header

#[test]
fn bearer_scheme_is_accepted_in_any_case() {
    let server = server();
    for header in ["Authorization: bearer", "authorization: BEARER", "AUTHORIZATION:bEaReR", "Authorization: Bearer  "]
    {
        let reply = server.connect().post_with("/mcp", &format!("{header} {ADA}\r\n"), &ping(1));
        assert_eq!(reply.status, 200, "{header}");
    }
}

#[test]
fn anything_but_one_bearer_header_is_rejected_despite_a_valid_token() {
    let server = server();
    let right = bearer(ADA);
    for headers in [
        right.repeat(2),
        format!("{right}{}", bearer(BOB)),
        format!("{right}{}", bearer("pmcp_wrong")),
        format!("{right}Authorization: Basic eDp5\r\n"),
        format!("Authorization: Basic {ADA}\r\n"),
        format!("Authorization: {ADA}\r\n"),
        format!("Authorization: Bearer{ADA}\r\n"),
        format!("Authorization: Bearer {ADA} x\r\n"),
        format!("Authorization: Bearer \u{e4}{ADA}\r\n"),
        "Authorization: Bearer\r\n".into(),
        "Authorization:\r\n".into(),
    ] {
        let reply = server.connect().post_with("/mcp", &headers, &ping(1));
        assert!(assert_challenge(&reply, &headers).starts_with("Bearer "));
        assert!(!reply.body.contains("ada-has"), "{}", reply.body);
    }
    for header in ["Proxy-Authorization", "X-Api-Key", "Cookie"] {
        let reply = server.connect().post_with("/mcp", &format!("{header}: Bearer {ADA}\r\n"), &ping(1));
        assert_eq!(reply.status, 401, "{header}");
    }
}

#[test]
fn partial_or_extended_token_is_rejected() {
    let server = server();
    for wrong in [&ADA[..ADA.len() - 1], &ADA[1..], &format!("{ADA}x"), &ADA.to_uppercase(), &format!("{ADA},{BOB}")] {
        assert_eq!(server.connect().post_with("/mcp", &bearer(wrong), &ping(1)).status, 401, "{wrong}");
    }
    let hash = TokenHash::from_token(ADA.as_bytes()).to_string();
    assert_eq!(
        server.connect().post_with("/mcp", &bearer(&hash), &ping(1)).status,
        401,
        "the stored hash is not a token"
    );
}

// ---- before the body

#[test]
fn rejection_does_not_wait_for_the_body_and_closes_the_connection() {
    let server = server();
    for (framing, headers) in [
        ("Content-Length: 1000000\r\n", String::new()),
        ("Content-Length: 1000000\r\nExpect: 100-continue\r\n", bearer("pmcp_wrong")),
        ("Content-Length: 99999999999999\r\n", bearer(ADA).repeat(2)),
        ("Transfer-Encoding: chunked\r\n", bearer("pmcp_wrong")),
    ] {
        for path in ["/mcp", "/messages?sessionId=0123456789abcdef0123456789abcdef"] {
            let mut client = server.connect();
            // No byte of the body is sent: an answer shows that the server does not wait for it.
            client.send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{framing}{headers}\r\n"));
            let reply = client.reply().expect("an answer");
            assert_eq!(reply.status, 401, "{framing}");
            assert!(reply.has_header("Connection: close"), "{}", reply.head);
            // The bytes after it are not a request.
            client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert!(client.reply().is_none());
        }
    }
    server.assert_answers();
}

// ---- sessions

#[test]
fn session_accepts_posts_only_of_the_client_that_opened_it() {
    let server = server();
    let mut sse = Sse::open_with(server.connect(), &bearer(ADA));
    let unknown = "/messages?sessionId=0123456789abcdef0123456789abcdef";
    let post = |path: &str, token: &str, json: &str| server.connect().post_with(path, &bearer(token), json);
    for json in [ping(1), "[]".into(), "not JSON".into(), initialize()] {
        let (stolen, none) = (post(&sse.path, BOB, &json), post(unknown, BOB, &json));
        assert_eq!(stolen.status, 404, "{json}");
        assert_eq!((stolen.status, stolen.body), (none.status, none.body), "differs from no session: {json}");
    }
    assert_eq!(server.connect().post(&sse.path, &ping(1)).status, 401);
    assert_eq!(post(&sse.path, ADA, &ping(7)).status, 202);
    assert!(sse.message().contains("iiiiiii"), "the first message is its own client's");
}

#[test]
fn two_clients_with_the_same_ids_get_their_own_answers() {
    let server = server();
    let open = |token: &str| Sse::open_with(server.connect(), &bearer(token));
    let (mut ada, mut bob) = (open(ADA), open(BOB));
    let list = |method: &str| json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}).to_string();
    let mut client = server.connect();
    assert_eq!(client.post_with(&ada.path, &bearer(ADA), &list("ping")).status, 202);
    assert_eq!(client.post_with(&bob.path, &bearer(BOB), &list("tools/list")).status, 202);
    assert!(!ada.message().contains("tools") && bob.message().contains("tools"));
}

/// Connects from another address of this machine: Linux gives all of 127.0.0.0/8 to the loopback interface.
fn connect_from(local: &str, server: &str) -> Client {
    let address = |text: &str| text.parse::<std::net::SocketAddr>().expect("an address").into();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&address(local)).expect("bind");
    socket.connect(&address(server)).expect("connect");
    Client::new(TcpStream::from(socket))
}

// ---- guessing

#[test]
fn after_ten_wrong_tokens_more_are_429_and_a_valid_one_is_accepted() {
    let server = server();
    let guess = |n: usize| server.connect().post_with("/mcp", &bearer(&format!("pmcp_guess-{n}")), &ping(1));
    for n in 0..10 {
        assert_eq!(guess(n).status, 401, "{n}");
    }
    for n in 10..15 {
        let reply = guess(n);
        assert_eq!(reply.status, 429);
        let wait = reply.head.lines().find_map(|line| line.strip_prefix("Retry-After: ")).expect("how long");
        assert!((1..=60).contains(&wait.parse::<u64>().expect("seconds")), "{wait}");
        assert!(reply.has_header("Connection: close"), "{}", reply.head);
        assert!(serde_json::from_str::<Value>(&reply.body).is_ok_and(|body| body["error"].is_string()));
    }
    assert_eq!(server.connect().post_with("/mcp", &bearer(ADA), &ping(1)).status, 200);
    assert_eq!(server.connect().post("/mcp", &ping(1)).status, 401, "a missing token is not a guess");
    let mut other = connect_from("127.0.0.9:0", &server.address.to_string());
    assert_eq!(other.post_with("/mcp", &bearer("pmcp_guess"), &ping(1)).status, 401);
}

// ---- the program

/// Writes a clusters.json of these clients and of one cluster at a closed port.
fn configuration(clients: Value) -> NamedTempFile {
    let lab = json!({"url": "http://127.0.0.1:1", "user": "mcp@pve", "token_id": "ro", "token_secret": "s"});
    let mut file = NamedTempFile::new().expect("a file");
    write!(file, "{}", json!({"clusters": {"lab": lab}, "clients": clients})).expect("write");
    file
}

fn expect_failure(output: Output, code: i32) -> String {
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

/// Returns the status of a POST /mcp to a running program.
fn post_status(address: &str, headers: &str) -> u16 {
    Client::new(TcpStream::connect(address).expect("connect")).post_with("/mcp", headers, &ping(1)).status
}

fn demo(envs: &[(&str, &str)]) -> Command {
    let mut command = program(&["--demo"]);
    command.envs(envs.iter().copied());
    command
}

#[test]
fn server_off_loopback_does_not_start_without_a_token() {
    for listen in ["0.0.0.0:0", "[::]:0", ":0"] {
        expect_failure(run(&["--demo", "--listen", listen]), 2);
    }
    // The image and a compose file with empty variables do this.
    let image = [("PROXMOX_MCP_LISTEN", "0.0.0.0:0"), ("MCP_AUTH_TOKEN", ""), ("MCP_INSECURE_NO_AUTH", "")];
    expect_failure(demo(&image).output().expect("run"), 2);
    expect_failure(
        demo(&[("PROXMOX_MCP_LISTEN", "0.0.0.0:0"), ("MCP_INSECURE_NO_AUTH", "0")]).output().expect("run"),
        2,
    );
}

#[test]
fn a_setting_that_waives_tokens_contradicts_tokens() {
    let text = expect_failure(
        demo(&[("MCP_AUTH_TOKEN", ADA), ("MCP_INSECURE_NO_AUTH", "1"), ("PROXMOX_MCP_LISTEN", "127.0.0.1:0")])
            .output()
            .expect("run"),
        2,
    );
    assert!(!text.contains(ADA), "{text}");
}

#[test]
fn invalid_token_setting_is_rejected_and_not_shown() {
    let mut file = NamedTempFile::new().expect("a file");
    writeln!(file, "two words that are no token").expect("write");
    for envs in [
        &[("MCP_AUTH_TOKEN", "")][..],
        &[("MCP_AUTH_TOKEN_FILE", "")],
        &[("MCP_AUTH_TOKEN", " ")],
        &[("MCP_AUTH_TOKEN", "hunter2_hunter2")],
        &[("MCP_AUTH_TOKEN", "hunter2 hunter2 hunter2")],
        &[("MCP_AUTH_TOKEN_FILE", path(&file))],
        &[("MCP_AUTH_TOKEN_FILE", "hunter2")],
        &[("MCP_AUTH_TOKEN_FILE", "hunter2"), ("MCP_AUTH_TOKEN", ADA)],
    ] {
        for task in [&["--listen", "127.0.0.1:0"][..], &["check"]] {
            let text = expect_failure(demo(envs).args(task).output().expect("run"), 2);
            assert!(!text.contains("hunter2") && !text.contains("two words") && !text.contains(ADA), "{text}");
        }
    }
}

#[test]
fn foreign_hosts_without_a_token_are_a_warning_at_start_and_refused() {
    let start = |flags: &[&str]| {
        let flags = [&["--demo", "--listen", "127.0.0.1:0", "--allowed-hosts", "mcp.example"], flags].concat();
        ServerProcess::start(&flags)
    };
    let post = |server: &ServerProcess| {
        let mut client = Client::to(server.address());
        let (head, body) = ("POST /mcp HTTP/1.1\r\nHost: mcp.example\r\nContent-Type: application/json", ping(1));
        client.send(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        client.reply().expect("an answer").status
    };
    for (flags, status, warned) in [(&[][..], 403, true), (&["--insecure-no-auth"], 200, false)] {
        let server = start(flags);
        assert_eq!(post(&server), status, "{flags:?}");
        server.signal(Signal::TERM);
        let log: Vec<_> = server.stderr.iter().filter(|line| line.contains("MCP_ALLOWED_HOSTS")).collect();
        assert_eq!(log.len(), usize::from(warned), "{log:?}");
    }
}

#[test]
fn the_token_of_a_file_is_its_line() {
    let mut file = NamedTempFile::new().expect("a file");
    writeln!(file, "{ADA}").expect("write");
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o600)).expect("chmod");
    let server = ServerProcess::start(&["--demo", "--listen", "127.0.0.1:0", "--auth-token-file", path(&file)]);
    let address = server.address();
    assert_eq!((post_status(&address, &bearer(ADA)), post_status(&address, "")), (200, 401));
}

#[test]
fn clients_of_the_configuration_are_served_and_named_and_health_needs_no_token() {
    let hash =
        |token: &str| json!({"token_sha256": TokenHash::from_token(token.as_bytes()).to_string(), "access": "full"});
    let config = configuration(json!({"ada": hash(ADA), "bob": hash(BOB), "_comment": "colleagues"}));
    let server = ServerProcess::start(&["--config", path(&config), "--listen", "127.0.0.1:0"]);
    let address = server.address();
    for (headers, status) in [(bearer(ADA), 200), (bearer(BOB), 200), (bearer("pmcp_wrong"), 401), (String::new(), 401)]
    {
        assert_eq!(post_status(&address, &headers), status);
    }
    assert!(run(&["health", "--listen", &address]).status.success());
    server.signal(Signal::TERM);
    let printed: Vec<_> = server.stdout.iter().collect();
    assert!(printed.iter().any(|line| line.ends_with(": ada (full), bob (full)")), "{printed:?}");
    let claude = format!(
        "claude mcp add --transport http proxmox http://{address}/mcp --header \"Authorization: Bearer TOKEN\""
    );
    assert!(printed.iter().any(|line| line.trim() == claude), "{printed:?}");
    let log: Vec<_> = server.stderr.iter().filter(|line| line.contains("wrong client token")).collect();
    assert!(matches!(&log[..], [line] if line.contains("127.0.0.1") && line.contains("WARN")), "{log:?}");
    let text = run(&["check", "--config", path(&config)]).stdout;
    assert!(String::from_utf8(text).expect("UTF-8").contains("clients: ada (full), bob (full)\n"));
}

#[test]
fn flood_of_wrong_tokens_is_one_log_line() {
    let mut command = demo(&[("MCP_AUTH_TOKEN", ADA), ("PROXMOX_MCP_LISTEN", "127.0.0.1:0")]);
    let server = ServerProcess::of(&mut command);
    let address = server.address();
    for n in 0..15 {
        post_status(&address, &bearer(&format!("pmcp_guess-{n}")));
    }
    server.signal(Signal::TERM);
    let log: Vec<_> = server.stderr.iter().collect();
    assert_eq!(log.iter().filter(|line| line.contains("wrong client token")).count(), 1, "{log:?}");
    assert!(!log.iter().any(|line| line.contains("guess")), "{log:?}");
}

#[test]
fn requests_without_a_token_are_one_log_line_per_address() {
    let mut command = demo(&[("MCP_AUTH_TOKEN", ADA), ("PROXMOX_MCP_LISTEN", "127.0.0.1:0")]);
    let server = ServerProcess::of(&mut command);
    let address = server.address();
    for headers in ["", "", "Authorization: Basic eDp5\r\n", ""] {
        assert_eq!(post_status(&address, headers), 401);
    }
    for _ in 0..3 {
        assert_eq!(connect_from("127.0.0.9:0", &address).post("/mcp", &ping(1)).status, 401);
    }
    assert_eq!(post_status(&address, &bearer(ADA)), 200);
    server.signal(Signal::TERM);
    let log: Vec<_> = server.stderr.iter().filter(|line| line.contains("refused a request")).collect();
    assert_eq!(log.len(), 2, "{log:?}");
    for (line, address) in log.iter().zip(["127.0.0.1:", "127.0.0.9:"]) {
        assert!(line.contains("INFO") && line.contains(address), "{line}");
    }
}

#[test]
fn tls_on_a_plain_port_is_a_throttled_warning_with_the_cure() {
    let server = ServerProcess::start(&["--demo", "--listen", "127.0.0.1:0"]);
    let address = server.address();
    for _ in 0..50 {
        let mut client = Client::to(&address);
        client.send("\u{16}\u{3}\u{1}");
        assert_eq!(client.reply().expect("an answer").status, 400);
    }
    server.signal(Signal::TERM);
    let log: Vec<_> = server.stderr.iter().filter(|line| line.contains("TLS")).collect();
    assert!((1..=30).contains(&log.len()), "{log:?}");
    assert!(log.iter().all(|line| line.contains("WARN") && line.contains("http://") && line.contains("--tls-cert")));
}

#[test]
fn client_in_both_configuration_and_variable_is_rejected() {
    let client =
        |token: &str| json!({"token_sha256": TokenHash::from_token(token.as_bytes()).to_string(), "access": "full"});
    for clients in [json!({"ada": client(ADA)}), json!({"MCP_AUTH_TOKEN": client(BOB)})] {
        let config = configuration(clients);
        let output = program(&["check", "--config", path(&config)]).env("MCP_AUTH_TOKEN", ADA).output().expect("run");
        let text = expect_failure(output, 2);
        assert!(text.contains("keep one of them") && !text.contains(ADA), "{text}");
    }
}

#[test]
fn token_command_prints_the_token_and_its_configuration() {
    let made = |args: &[&str]| {
        let output = run(args);
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let text = made(&["token", "ada"]);
    let token = text.lines().map(str::trim).find(|line| line.starts_with("pmcp_")).expect("the token");
    assert_eq!(token.len(), "pmcp_".len() + 64);
    let hash = TokenHash::from_token(token.as_bytes());
    let stored = text.lines().find(|line| line.contains("token_sha256")).expect("what to store");
    assert!(!stored.contains(token));
    let config: Value = serde_json::from_str(&format!("{{{stored}}}")).expect("a piece of JSON");
    assert_eq!(config["clients"]["ada"], json!({"token_sha256": hash.to_string(), "access": "read"}));
    let bearer = bearer(token);
    assert!(text.lines().any(|line| line.trim() == bearer.trim()));
    // The stored hash accepts the printed token.
    let config = configuration(config["clients"].clone());
    let server = ServerProcess::start(&["--config", path(&config), "--listen", "127.0.0.1:0"]);
    assert_eq!(post_status(&server.address(), &bearer), 200);
    assert!(!made(&["token"]).contains(token), "each is different");
    for name in ["my laptop", "", "a\"b", "pmcp_0123456789"] {
        assert_eq!(run(&["token", name]).status.code(), Some(2), "{name}");
    }
}

#[test]
fn stdio_needs_no_token() {
    let mut command = program(&["stdio", "--demo"]);
    let mut server = ServerProcess::of(command.env("PROXMOX_MCP_LISTEN", "0.0.0.0:0"));
    assert_eq!(server.ask(&initialize())["id"], 1);
}
