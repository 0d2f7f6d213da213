//! Requests to a node byte for byte, and the parsing of its answers.

use crate::support::node::{Identity, Node, SECRET, ScriptedReply};
use flate2::{Compression, write::GzEncoder};
use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::base::hint::render_error;
use proxmox_mcp::config::{self, Limits};
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::client::cluster::{ApiResponse, Cluster};
use proxmox_mcp::pve::error::PveError;
use proxmox_mcp::pve::params::ApiParams;
use proxmox_mcp::pve::path::ApiPath;
use serde_json::json;
use std::io::Write;
use std::time::Duration;

fn cluster(node: &Node) -> Cluster {
    Cluster::new(node.cluster_settings(), &Limits { max_answer_bytes: 1 << 20, ..Limits::default() }).unwrap()
}

fn call(cluster: &Cluster, method: Method, path: &str, data: serde_json::Value) -> Result<ApiResponse, PveError> {
    let (path, query) = ApiPath::parse(path).unwrap();
    let mut params = query;
    ApiParams::from_json(data.as_object().unwrap()).unwrap().iter().for_each(|(name, value)| params.push(name, value));
    cluster.call(method, &path, &params, &CancelToken::new())
}

fn get(cluster: &Cluster, path: &str) -> Result<ApiResponse, PveError> {
    call(cluster, Method::Get, path, json!({}))
}

fn refused_with(reply: ScriptedReply) -> PveError {
    let node = Node::start(move |_| reply.clone());
    get(&cluster(&node), "/nodes/pve1/status").unwrap_err()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_get_carries_the_token_its_parameters_in_the_query_and_no_body() {
    let node = Node::start(|_| ScriptedReply::data("[]"));
    call(&cluster(&node), Method::Get, "cluster/resources?type=vm", json!({"x": "a b+c;d&e/ü", "full": true})).unwrap();
    let request = &node.requests()[0];
    assert_eq!(request.method, "GET");
    assert_eq!(request.target, "/api2/json/cluster/resources?type=vm&full=1&x=a%20b%2Bc%3Bd%26e%2F%C3%BC");
    assert_eq!(request.header("authorization"), Some(format!("PVEAPIToken=root@pam!mcp={SECRET}").as_str()));
    assert_eq!(request.header("host"), Some(node.endpoint().to_string().as_str()));
    assert_eq!(request.header("user-agent"), Some(concat!("proxmox-mcp/", env!("CARGO_PKG_VERSION"))));
    for absent in ["accept-encoding", "content-length", "transfer-encoding", "content-type", "cookie"] {
        assert_eq!(request.header(absent), None, "{absent}");
    }
}

#[test]
fn a_delete_carries_its_parameters_in_the_query() {
    let node = Node::start(|_| ScriptedReply::data("null"));
    call(&cluster(&node), Method::Delete, "/nodes/pve1/qemu/100", json!({"purge": true})).unwrap();
    let request = &node.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("DELETE", "/api2/json/nodes/pve1/qemu/100?purge=1")
    );
    assert_eq!((request.header("content-length"), request.body.as_str()), (None, ""));
}

#[test]
fn post_and_put_carry_a_form_with_its_length() {
    let node = Node::start(|_| ScriptedReply::data("null"));
    let cluster = cluster(&node);
    for method in [Method::Post, Method::Put] {
        call(&cluster, method, "/nodes/pve1/qemu/100/config?cores=2", json!({"tags": "a;b", "command": ["ls", "-l"]}))
            .unwrap();
    }
    for (request, method) in node.requests().iter().zip(["POST", "PUT"]) {
        assert_eq!(
            (request.method.as_str(), request.target.as_str()),
            (method, "/api2/json/nodes/pve1/qemu/100/config")
        );
        assert_eq!(request.body, "cores=2&command=ls&command=-l&tags=a%3Bb");
        assert_eq!(request.header("content-length"), Some(request.body.len().to_string().as_str()));
        assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(request.header("transfer-encoding"), None);
    }
}

#[test]
fn post_without_parameters_has_content_length_zero() {
    let node = Node::start(|_| ScriptedReply::data("null"));
    call(&cluster(&node), Method::Post, "/nodes/pve1/qemu/100/status/start", json!({})).unwrap();
    assert_eq!(node.requests()[0].header("content-length"), Some("0"));
}

#[test]
fn body_over_the_limit_of_proxmox_is_not_sent() {
    let node = Node::start(|_| ScriptedReply::data("null"));
    let big = "x".repeat(600_000);
    let error = call(&cluster(&node), Method::Post, "/x", json!({"file": big})).unwrap_err();
    assert!(error.to_string().contains("524288"), "{error}");
    assert_eq!(call(&cluster(&node), Method::Get, "/x", json!({"file": big})).unwrap_err().kind(), "too_large");
    let fits = "x".repeat(500_000);
    call(&cluster(&node), Method::Post, "/x", json!({"file": fits})).unwrap();
    let fits = "x".repeat(10_000);
    call(&cluster(&node), Method::Get, "/x", json!({"file": fits})).unwrap();
    assert_eq!(node.requests().len(), 2);
}

#[test]
fn answer_is_returned_unchanged() {
    let node = Node::start(|request| match request.path() {
        "/api2/json/list" => ScriptedReply::body(r#"{"total":7,"data":[{"n":1, "t":"ü"}]}"#),
        _ => ScriptedReply::data(r#"{"release":"9.2" }"#),
    });
    let cluster = cluster(&node);
    assert_eq!(get(&cluster, "/version").unwrap().payload(), r#"{"release":"9.2" }"#);
    let list = get(&cluster, "/list").unwrap();
    assert_eq!(list.data(), r#"[{"n":1, "t":"ü"}]"#);
    assert_eq!(list.payload(), r#"{"total":7,"data":[{"n":1, "t":"ü"}]}"#);
}

#[test]
fn one_connection_serves_consecutive_calls() {
    let node = Node::start(|_| ScriptedReply::data("1"));
    let cluster = cluster(&node);
    for _ in 0..5 {
        get(&cluster, "/version").unwrap();
    }
    assert_eq!((node.connections(), node.requests().len()), (1, 5));
}

#[test]
fn a_connection_that_the_node_closed_while_idle_is_not_used_again() {
    let node = Node::start(|_| ScriptedReply::data("1").then_close());
    let cluster = cluster(&node);
    for calls in 1..=3 {
        // A POST, which must not be sent on a dead connection.
        call(&cluster, Method::Post, "/x", json!({})).unwrap();
        node.wait_for_closed(calls);
    }
    assert_eq!(node.connections(), 3);
}

#[test]
fn a_connection_announced_as_closing_is_not_used_again() {
    // Answers of the privileged daemon have both headers. Neither is reliable.
    let headers = [("Connection", "close"), ("Connection", "Keep-Alive")];
    let node = Node::start(move |_| ScriptedReply::answer(200, "OK", &headers, r#"{"data":null}"#));
    let cluster = cluster(&node);
    get(&cluster, "/x").unwrap();
    get(&cluster, "/x").unwrap();
    assert_eq!(node.connections(), 2);
}

#[test]
fn bytes_after_an_answer_are_not_read_as_the_next_one() {
    let node = Node::start(|request| match request.index {
        0 => ScriptedReply::answer(
            200,
            "OK",
            &[("Content-Length", "10")],
            "{\"data\":1}HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"data\":\"bad\"}",
        ),
        _ => ScriptedReply::data("2"),
    });
    let cluster = cluster(&node);
    assert_eq!(get(&cluster, "/x").unwrap().data(), "1");
    assert_eq!(get(&cluster, "/x").unwrap().data(), "2");
}

#[test]
fn bytes_after_an_answer_are_detected_inside_tls() {
    // One answer that fills the client's buffer exactly, so that the bytes after it stay in the TLS layer.
    let node = Node::start_as(Identity::Trusted, |request| match request.index {
        0 => {
            let head = |length| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let length = (16 << 10) - head(16_000).len();
            let (head, body) = (head(length), format!("{{\"data\":\"{}\"}}", "x".repeat(length - 11)));
            assert_eq!(head.len() + body.len(), 16 << 10);
            ScriptedReply::raw(format!("{head}{body}HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{{\"data\":\"bad\"}}"))
        }
        _ => ScriptedReply::data("2"),
    });
    let cluster = cluster(&node);
    get(&cluster, "/x").unwrap();
    assert_eq!(get(&cluster, "/x").unwrap().data(), "2");
}

#[test]
fn unrequested_gzip_is_unpacked() {
    let node = Node::start(|_| {
        ScriptedReply::answer(200, "OK", &[("Content-Encoding", "gzip")], gzip(br#"{"data":["-- boot --","line"]}"#))
    });
    let cluster = cluster(&node);
    for _ in 0..2 {
        assert_eq!(get(&cluster, "/nodes/pve1/journal").unwrap().data(), r#"["-- boot --","line"]"#);
    }
    assert_eq!(node.connections(), 1, "the connection is clean after it");
}

#[test]
fn a_gzip_bomb_stops_at_the_limit_on_unpacked_bytes() {
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 1 << 17);
    let error = refused_with(ScriptedReply::answer(200, "OK", &[("Content-Encoding", "gzip")], bomb));
    assert!(error.to_string().contains("1048576 bytes (the limit is `max_answer_bytes`)"), "{error}");
}

#[test]
fn endless_empty_gzip_stops_at_the_limit_on_received_bytes() {
    // Unpacking an empty member costs far more time than its 20 bytes suggest. So the answer is as short as possible,
    // and the time limit long.
    let limit = 1 << 10;
    let nothing = gzip(b"").repeat(4_000);
    assert!(nothing.len() > limit + (64 << 10));
    let node = Node::start(move |_| ScriptedReply::answer(200, "OK", &[("Content-Encoding", "gzip")], &nothing));
    let settings = config::ClusterConfig { timeout: Duration::from_secs(60), ..node.cluster_settings() };
    let cluster = Cluster::new(settings, &Limits { max_answer_bytes: limit, ..Limits::default() }).unwrap();
    let error = get(&cluster, "/nodes/pve1/journal").unwrap_err();
    assert!(error.to_string().contains("`max_answer_bytes`"), "{error}");
}

#[test]
fn broken_gzip_is_reported() {
    let mut broken = gzip(br#"{"data":[1,2,3]}"#);
    broken[12] ^= 0xff;
    let error = refused_with(ScriptedReply::answer(200, "OK", &[("Content-Encoding", "gzip")], broken));
    assert!(error.to_string().contains("gzip"), "{error}");
    assert!(error.detail().is_some());
}

#[test]
fn endless_answer_stops_at_the_limit() {
    for head in
        ["HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"]
    {
        let error = refused_with(ScriptedReply::raw(head).then_flood(1 << 30));
        assert!(error.to_string().contains("larger than 1048576 bytes"), "{error}");
    }
}

#[test]
fn answer_limit_is_16_mib_by_default() {
    let node = Node::start(|_| ScriptedReply::raw("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").then_flood(1 << 30));
    let error = get(&Cluster::new(node.cluster_settings(), &Limits::default()).unwrap(), "/x").unwrap_err();
    assert!(error.to_string().contains("larger than 16777216 bytes"), "{error}");
}

#[test]
fn endless_head_stops_at_its_limit() {
    let error = refused_with(ScriptedReply::raw("HTTP/1.1 200 OK\r\nX: ").then_flood(1 << 30));
    assert!(error.to_string().contains("headers are larger"), "{error}");
}

#[test]
fn an_answer_shorter_than_its_length_is_truncated() {
    let error =
        refused_with(ScriptedReply::answer(200, "OK", &[("Content-Length", "100")], r#"{"data":1}"#).then_close());
    assert!(error.to_string().contains("in the middle of it"), "{error}");
}

#[test]
fn an_answer_cut_by_its_own_length_ends_too_early() {
    let error = refused_with(ScriptedReply::answer(200, "OK", &[("Content-Length", "9")], r#"{"data":1}"#));
    assert!(error.to_string().contains("ends too early, after 9 bytes"), "{error}");
}

#[test]
fn answers_without_the_envelope_are_described() {
    for (body, hint) in [
        ("<!DOCTYPE html>\n<html lang=\"en\">", "it is a web page"),
        ("", "it is empty"),
        (r#"{"success":1}"#, "no `data`"),
        ("\u{1b}[31mred", "it starts with"),
    ] {
        let error = refused_with(ScriptedReply::body(body));
        assert_eq!(error.kind(), "unreadable");
        let text = error.to_string();
        assert!(text.contains(hint) && !text.contains('\u{1b}'), "{text}");
    }
    assert_eq!(
        refused_with(ScriptedReply::answer(204, "No Content", &[("Content-Length", "")], "")).kind(),
        "unreadable"
    );
    assert_eq!(refused_with(ScriptedReply::body(b"\xff")).kind(), "unreadable");
}

#[test]
fn bytes_that_are_not_utf8_are_latin1() {
    let node = Node::start(|_| ScriptedReply::body(b"{\"data\":[\"a\xff\"]}"));
    assert_eq!(get(&cluster(&node), "/x").unwrap().data(), "[\"aÿ\"]");
}

#[test]
fn control_characters_in_the_status_line_are_no_fault_of_http() {
    for (line, body, expected) in [
        ("HTTP/1.1 500 \u{1b}[31mno luck\u{0}", "", "no luck"),
        ("HTTP/1.1 500 first\rsecond", r#"{"message":"in full\n","data":null}"#, "in full"),
        ("HTTP/1.1 403 Permission check failed (/vms/100, VM.Audit)\u{7}", "", "/vms/100"),
    ] {
        let reply = format!("{line}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        for method in [Method::Get, Method::Post] {
            let node = Node::start({
                let reply = reply.clone();
                move |_| ScriptedReply::raw(reply.clone())
            });
            let path = ApiPath::parse("/x").unwrap().0;
            let error = cluster(&node).call(method, &path, &ApiParams::new(), &CancelToken::new()).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error.kind(), "failed" | "forbidden") && text.contains(expected), "{method} {text}");
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }
}

#[test]
fn answer_that_is_not_http_is_reported() {
    for junk in
        ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 042 x\r\n\r\n", "\r\n\r\n\u{0}\u{0}\r\n"]
    {
        let error = refused_with(ScriptedReply::raw(junk).then_close());
        assert!(matches!(error.kind(), "unreadable" | "lost"), "{junk:?}: {error}");
    }
    let error = refused_with(ScriptedReply::raw("SSH-2.0-OpenSSH_9.2\r\n").then_hang());
    assert!(error.to_string().contains("not HTTP"), "{error}");
}

#[test]
fn an_unknown_token_is_explained_from_the_status_line_alone() {
    let text = render_error(&refused_with(ScriptedReply::refusal(401, "Authentication failed!", "")));
    for hint in ["401 \"Authentication failed!\"", "`root@pam`", "`mcp`", "secret"] {
        assert!(text.contains(hint), "{text}");
    }
}

#[test]
fn missing_privilege_is_named_with_its_path_in_old_and_new_formats() {
    let phrase = "Permission check failed (/vms/100, VM.Audit)";
    for body in ["", r#"{"message":"Permission check failed (/vms/100, VM.Audit)\n","data":null}"#] {
        let text = render_error(&refused_with(ScriptedReply::refusal(403, phrase, body)));
        assert!(text.contains("VM.Audit on /vms/100") && text.contains("privilege separation"), "{text}");
    }
}

#[test]
fn each_rejected_parameter_has_its_text() {
    let body = r#"{"message":"Parameter verification failed.\n","data":null,"errors":{"onboot":"type check ('boolean') failed - got 'maybe'","cores":"value must have a minimum value of 1"}}"#;
    let text = refused_with(ScriptedReply::refusal(400, "Parameter verification failed.", body)).to_string();
    assert!(
        text.contains("`cores`: \"value must have a minimum value of 1\"; `onboot`: \"type check ('boolean') failed"),
        "{text}"
    );
}

#[test]
fn every_error_status_has_the_text_of_proxmox_and_a_hint() {
    for (status, phrase, body, hints) in [
        (
            501,
            "Method 'GET /nope' not implemented",
            r#"{"data":null,"message":"Method 'GET /nope' not implemented"}"#,
            ["not implemented", "no such operation"],
        ),
        (500, "hostname lookup 'pve9' failed - x", "", ["hostname lookup 'pve9'", "no node of that name"]),
        (500, "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist", "", ["999.conf", "no such guest"]),
        (595, "Connection refused", "", ["(595): \"Connection refused\"", "down or cut off"]),
        (596, "", "", ["(596)", "case-sensitive"]),
        (597, "x", "", ["(597): \"x\"", "broke"]),
        (599, "Too many redirections", "", ["(599)", "broke"]),
        (500, "schöner Fehler ✓", "", ["schöner Fehler ✓", "(500)"]),
        (500, "Internal", "plain words\n\n", ["Internal", "(500)"]),
        (999, "", "", ["(999)", "GET /nodes/pve1/status"]),
        (599, "", "only in the body", ["only in the body", "(599)"]),
    ] {
        let error = refused_with(ScriptedReply::refusal(status, phrase, body));
        let text = render_error(&error);
        assert!(hints.iter().all(|hint| text.contains(hint)), "{text}");
        assert_eq!(error.kind(), "failed");
    }
}

#[test]
fn error_keeps_its_reason_if_its_body_is_truncated() {
    let broken = ScriptedReply::answer(500, "no such disk", &[("Content-Length", "99")], r#"{"mess"#).then_close();
    assert!(refused_with(broken).to_string().contains("no such disk"));
}

#[test]
fn endless_error_body_is_cut_at_512_kib() {
    let late = format!(r#"{{"data":"{}","message":"late words"}}"#, "x".repeat(600 << 10));
    let text = refused_with(ScriptedReply::answer(500, "no such disk", &[], late)).to_string();
    assert!(text.contains("no such disk") && !text.contains("late words"), "{text}");
    let in_time = format!(r#"{{"data":"{}","message":"words in time"}}"#, "x".repeat(400 << 10));
    assert!(
        refused_with(ScriptedReply::answer(500, "no such disk", &[], in_time)).to_string().contains("words in time")
    );
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Node::start(|_| ScriptedReply::data("1"));
    let location = format!("http://{}/", elsewhere.endpoint());
    let error =
        refused_with(ScriptedReply::answer(301, "Moved Permanently", &[("Location", &location)], "Moved Permanently"));
    let text = render_error(&error);
    let told = format!("(301): \"Moved Permanently to {location}\"");
    assert!(text.contains(&told) && text.contains("not followed"), "{text}");
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn reason_phrase_is_read_across_reads_interim_answers_and_kept_connections() {
    let node = Node::start(|request| match request.index {
        0 => ScriptedReply::data("1"),
        1 => ScriptedReply::answer(500, "in single bytes: ü ✓", &[], "").dripping(Duration::from_micros(50)),
        2 => ScriptedReply::raw(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 500 the last one\r\nContent-Length: 0\r\n\r\n",
        ),
        3 => ScriptedReply::raw("HTTP/1.1 500\r\nContent-Length: 0\r\n\r\n"),
        4 => ScriptedReply::raw("HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n"),
        _ => ScriptedReply::answer(500, "again", &[], ""),
    });
    let cluster = cluster(&node);
    get(&cluster, "/x").unwrap();
    let text = || match get(&cluster, "/x").unwrap_err() {
        PveError::Failed { message: text, .. } => text,
        other => panic!("{other:?}"),
    };
    assert_eq!([text(), text(), text(), text(), text()], ["in single bytes: ü ✓", "the last one", "", "", "again"]);
    assert_eq!(node.connections(), 1);
}

#[test]
fn dripping_answer_is_read_to_its_end() {
    let node = Node::start(|_| ScriptedReply::data("[1,2,3]").dripping(Duration::from_micros(50)));
    assert_eq!(get(&cluster(&node), "/x").unwrap().data(), "[1,2,3]");
}

#[test]
fn answer_larger_than_every_buffer_is_complete() {
    let rows = vec!["x".repeat(100); 5_000];
    let text = serde_json::to_string(&rows).unwrap();
    let node = Node::start({
        let text = text.clone();
        move |_| ScriptedReply::data(&text)
    });
    assert_eq!(get(&cluster(&node), "/x").unwrap().data(), text);
}
