//! Streamable HTTP, `POST /mcp`, for clients of both eras over real sockets. Long calls are in `streamable_calls.rs`.

use crate::support::rpc::{ACCEPT, EVENTS_ONLY, JSON_ONLY, MODERN, assert_error, call, code, modern, modern_headers};
use crate::support::rpc::{notification, request, text};
use crate::support::server::{TestServer, caller, patient_limits};
use crate::support::test_tools::{LARGE, start, start_with};
use proxmox_mcp::config::Limits;
use proxmox_mcp::mcp::protocol::LEGACY_VERSIONS;
use serde_json::{Value, json};

fn ping(id: impl Into<Value>) -> String {
    request(id, "ping", json!({}))
}

// ---- messages

#[test]
fn invalid_json_is_400_and_a_parse_error() {
    let (server, _stage) = start();
    for body in ["", "{", "nope", "{\"jsonrpc\":\"2.0\",}", " \u{feff}{}"] {
        assert_error(&server.connect().mcp(body), 400, -32700, Value::Null);
    }
}

#[test]
fn json_without_a_message_is_400_and_an_invalid_request() {
    let (server, _stage) = start();
    let mut client = server.connect();
    for (body, id) in [
        ("{}", Value::Null),
        ("42", Value::Null),
        (r#"{"id":7,"method":"ping"}"#, 7.into()),
        (r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, 7.into()),
        (r#"{"jsonrpc":"2.0","id":"a"}"#, "a".into()),
        (r#"{"jsonrpc":"2.0","id":0,"method":"ping","params":[]}"#, 0.into()),
    ] {
        assert_error(&client.mcp(body), 400, -32600, id);
    }
}

#[test]
fn ids_are_echoed_as_they_were_written() {
    let (server, _stage) = start();
    let mut client = server.connect();
    for id in ["0", "-1", "\"\"", "\"abc\"", "9007199254740993", "123456789012345678901234567890", "\"\\u00e4\""] {
        let reply = client.mcp(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#));
        assert_eq!((reply.status, reply.body), (200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)));
    }
}

#[test]
fn id_other_than_string_or_integer_is_rejected() {
    let (server, _stage) = start();
    let mut client = server.connect();
    for id in ["null", "true", "1.5", "{}", "[1]"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        assert_error(&client.mcp(&body), 400, -32600, Value::Null);
    }
}

#[test]
fn notifications_and_responses_are_202_without_a_body() {
    let (server, _stage) = start();
    let mut client = server.connect();
    for body in [
        &notification("notifications/initialized", json!({})),
        &notification("notifications/cancelled", json!({"requestId": 1})),
        &notification("notifications/unheard_of", json!({})),
        r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"panic"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}"#,
    ] {
        for headers in [ACCEPT, "MCP-Protocol-Version: 2026-07-28\r\nAccept: application/json, text/event-stream\r\n"] {
            let reply = client.post_with("/mcp", headers, body);
            assert_eq!((reply.status, reply.body.as_str()), (202, ""), "{body}");
        }
    }
}

#[test]
fn a_body_nested_ten_thousand_deep_is_answered_with_an_error() {
    let (server, _stage) = start();
    let mut client = server.connect();
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = deep(open, close);
        // An array is a batch, here of something that is not a message.
        let answer = client.mcp(&deep).json();
        assert_eq!(code(if answer.is_array() { &answer[0] } else { &answer }), -32600, "{answer}");
        let arguments = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"text":{deep}}}}}}}"#
        );
        assert_error(&client.mcp(&arguments), 200, -32602, 1.into());
        let unread = format!(r#"{{"jsonrpc":"2.0","id":2,"method":"ping","params":{{"x":{deep}}}}}"#);
        assert_eq!(client.mcp(&unread).json()["result"], json!({}), "an unread parameter is ignored");
    }
}

// ---- batches

#[test]
fn batch_is_answered_with_one_answer_per_request() {
    let (server, _stage) = start();
    let parts =
        [ping(1), notification("notifications/initialized", json!({})), call("b", "echo", json!({"text": "x"}))];
    let reply = server.connect().mcp(&format!("[{}, 42]", parts.join(",")));
    let answers = reply.json();
    assert_eq!(reply.status, 200);
    assert_eq!(answers.as_array().map(Vec::len), Some(3), "{answers}");
    assert_eq!(answers[0], json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    assert_eq!((&answers[1]["id"], text(&answers[1])), (&json!("b"), "x"));
    assert_eq!((code(&answers[2]), &answers[2]["id"]), (-32600, &Value::Null));
}

#[test]
fn a_batch_without_requests_is_202() {
    let (server, _stage) = start();
    let note = notification("notifications/initialized", json!({}));
    let reply = server.connect().mcp(&format!("[{note},{note}]"));
    assert_eq!((reply.status, reply.body.as_str()), (202, ""));
}

#[test]
fn a_batch_has_at_most_100_messages() {
    let (server, _stage) = start();
    let batch = |n: i32| format!("[{}]", (0..n).map(ping).collect::<Vec<_>>().join(","));
    let answers = server.connect().mcp(&batch(100)).json();
    let ids: Vec<_> = answers.as_array().expect("a list").iter().map(|a| a["id"].as_i64()).collect();
    assert_eq!(ids, (0..100).map(Some).collect::<Vec<_>>());
    assert_error(&server.connect().mcp(&batch(101)), 400, -32600, Value::Null);
}

#[test]
fn an_empty_batch_is_an_invalid_request() {
    let (server, _stage) = start();
    assert_error(&server.connect().mcp("[]"), 400, -32600, Value::Null);
}

#[test]
fn batch_with_a_modern_request_is_rejected() {
    let (server, test_tools) = start();
    let (first, second) = (modern(1, "tools/list", json!({})), call(2, "hold", json!({"name": "h"})));
    for batch in [format!("[{first},{second}]"), format!("[{second},{first}]")] {
        let reply = server.connect().mcp(&batch);
        assert_eq!((reply.status, code(&reply.json())), (400, -32600));
    }
    assert!(!test_tools.has_begun("h"), "no call of the batch runs, or the client would run it twice");
}

#[test]
fn answers_of_a_batch_share_one_size_limit() {
    let (server, _stage) = start_with(Limits { max_answer_bytes: 1 << 20, ..patient_limits() });
    let answers =
        server.connect().mcp(&format!("[{},{}]", call(1, "large", json!({})), call(2, "large", json!({})))).json();
    assert_eq!(text(&answers[0]).len(), LARGE);
    assert_eq!(code(&answers[1]), -32000, "{}", answers[1]);
}

// ---- methods

#[test]
fn an_unknown_method_is_200_to_the_older_eras_and_404_to_the_newest() {
    let (server, _stage) = start();
    let mut client = server.connect();
    for method in ["nope", "tools/nope", "prompts/list", "server/discover", "subscriptions/listen"] {
        assert_error(&client.mcp(&request("u", method, json!({}))), 200, -32601, "u".into());
    }
    for method in ["nope", "ping", "initialize", "logging/setLevel", "resources/subscribe", "subscriptions/listen"] {
        assert_error(&client.mcp_modern(&modern("u", method, json!({}))), 404, -32601, "u".into());
    }
}

#[test]
fn a_call_without_a_usable_name_or_arguments_is_invalid_params() {
    let (server, _stage) = start();
    let mut client = server.connect();
    let no_params = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#;
    assert_error(&client.mcp(no_params), 200, -32602, 1.into());
    for params in [json!({}), json!({"name": "echo", "arguments": "str"}), json!({"name": "no_such_tool"})] {
        assert_error(&client.mcp(&request(1, "tools/call", params.clone())), 200, -32602, 1.into());
        assert_error(&client.mcp_modern(&modern(1, "tools/call", params)), 400, -32602, 1.into());
    }
    let name = request(1, "tools/call", json!({"name": 7}));
    assert_eq!(code(&client.mcp(&name).json()), -32602);
}

#[test]
fn invalid_argument_is_a_result_that_the_model_can_correct() {
    let (server, _stage) = start();
    let mut client = server.connect();
    for (arguments, expected) in [
        (json!({}), "text is missing"),
        (json!({"text": {}}), "must be a string"),
        (json!({"txt": "x"}), "valid: text"),
    ] {
        for reply in [
            client.mcp(&call(1, "echo", arguments.clone())),
            client.mcp_modern(&modern(1, "tools/call", json!({"name": "echo", "arguments": arguments.clone()}))),
        ] {
            let answer = reply.json();
            assert_eq!((reply.status, &answer["result"]["isError"]), (200, &json!(true)), "{answer}");
            assert!(text(&answer).contains(expected), "{answer}");
        }
    }
}

#[test]
fn a_tool_that_fails_is_a_result_with_is_error() {
    let (server, _stage) = start();
    let answer = server.connect().mcp(&call(1, "fail", json!({}))).json();
    assert_eq!((&answer["result"]["isError"], text(&answer)), (&json!(true), "it failed"));
}

#[test]
fn an_unknown_resource_has_the_code_of_its_era() {
    let (server, _stage) = start();
    let mut client = server.connect();
    let params = json!({"uri": "test://none"});
    assert_error(&client.mcp(&request(1, "resources/read", params.clone())), 200, -32002, 1.into());
    let answer = assert_error(&client.mcp_modern(&modern(1, "resources/read", params)), 400, -32602, 1.into());
    assert_eq!(answer["error"]["data"], json!({"uri": "test://none"}));
    let known = client.mcp_modern(&modern(1, "resources/read", json!({"uri": "test://text"}))).json();
    assert_eq!(known["result"]["contents"][0]["text"], "a text");
}

#[test]
fn unknown_cursor_is_invalid() {
    let (server, _stage) = start();
    assert_error(&server.connect().mcp(&request(1, "tools/list", json!({"cursor": "x"}))), 200, -32602, 1.into());
}

// ---- the older eras

#[test]
fn initialize_selects_the_requested_version_or_the_newest_of_its_era() {
    let (server, _stage) = start();
    let mut client = server.connect();
    let mut agreed = |asked: &str, headers: &str| {
        let params = json!({"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let reply = client.post_with("/mcp", headers, &request(0, "initialize", params));
        assert_eq!(reply.status, 200, "{asked}: {}", reply.body);
        assert!(!reply.head.to_ascii_lowercase().contains("mcp-session-id"), "{}", reply.head);
        reply.json()["result"]["protocolVersion"].as_str().expect("a version").to_owned()
    };
    for version in LEGACY_VERSIONS {
        assert_eq!(agreed(version, ACCEPT), version);
    }
    for unknown in ["1.0", "2099-01-01", "", MODERN] {
        assert_eq!(agreed(unknown, ACCEPT), "2025-11-25", "{unknown}");
    }
    // A probing client may name its preferred version in the header.
    assert_eq!(agreed("2025-11-25", "MCP-Protocol-Version: 2026-07-28\r\n"), "2025-11-25");
}

#[test]
fn initialize_without_a_version_is_invalid_params() {
    let (server, _stage) = start();
    for params in [json!({}), json!({"capabilities": {}})] {
        assert_error(&server.connect().mcp(&request(1, "initialize", params)), 200, -32602, 1.into());
    }
}

#[test]
fn requests_are_served_without_initialize_and_before_initialized() {
    let (server, _stage) = start();
    let tools = server.connect().mcp(&request(1, "tools/list", json!({}))).json();
    assert!(tools["result"]["tools"].as_array().is_some_and(|tools| !tools.is_empty()), "{tools}");
    let mut client = server.connect();
    let hello = request(1, "initialize", json!({"protocolVersion": "2025-06-18", "capabilities": {}}));
    assert_eq!(client.mcp(&hello).status, 200);
    assert_eq!(text(&client.mcp(&call(2, "echo", json!({"text": "early"}))).json()), "early");
}

#[test]
fn session_ids_and_event_ids_are_ignored() {
    let (server, _stage) = start();
    let mut client = server.connect();
    let headers = format!("{ACCEPT}Mcp-Session-Id: of-another-server\r\nLast-Event-ID: 7\r\n");
    assert_eq!(client.post_with("/mcp", &headers, &ping(1)).json()["result"], json!({}));
    let hello = request(2, "initialize", json!({"protocolVersion": "2025-06-18", "capabilities": {}}));
    assert_eq!(client.post_with("/mcp", &headers, &hello).status, 200, "initialize again");
}

#[test]
fn a_version_header_of_the_older_eras_may_be_absent_but_not_unknown() {
    let (server, _stage) = start();
    let mut client = server.connect();
    for version in LEGACY_VERSIONS {
        let headers = format!("{ACCEPT}MCP-Protocol-Version: {version}\r\n");
        assert_eq!(client.post_with("/mcp", &headers, &ping(1)).status, 200, "{version}");
    }
    for version in ["1.0", "2099-01-01", "2024-10-07"] {
        let headers = format!("{ACCEPT}MCP-Protocol-Version: {version}\r\n");
        let answer = assert_error(&client.post_with("/mcp", &headers, &ping(1)), 400, -32022, 1.into());
        assert_eq!(answer["error"]["data"], json!({"supported": [MODERN], "requested": version}));
    }
}

// ---- 2026-07-28

#[test]
fn discover_describes_the_server_and_its_versions() {
    let (server, _stage) = start();
    let reply = server.connect().mcp_modern(&modern("d", "server/discover", json!({})));
    let answer = reply.json();
    assert_eq!((reply.status, &answer["id"]), (200, &json!("d")));
    let result = &answer["result"];
    assert_eq!(result["supportedVersions"], json!([MODERN]));
    assert_eq!((&result["resultType"], &result["cacheScope"]), (&json!("complete"), &json!("private")));
    assert!(result["ttlMs"].is_u64() && result["instructions"].is_string(), "{result}");
    assert_eq!(result["capabilities"]["tools"], json!({}));
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "mcp-server");
}

#[test]
fn modern_results_are_marked_complete_and_lists_have_a_lifetime() {
    let (server, _stage) = start();
    let mut client = server.connect();
    let list = client.mcp_modern(&modern(1, "tools/list", json!({}))).json();
    assert_eq!((&list["result"]["resultType"], &list["result"]["cacheScope"]), (&json!("complete"), &json!("private")));
    assert!(list["result"]["ttlMs"].is_u64(), "{list}");
    let called =
        client.mcp_modern(&modern(2, "tools/call", json!({"name": "echo", "arguments": {"text": "x"}}))).json();
    assert_eq!((text(&called), &called["result"]["resultType"]), ("x", &json!("complete")));
    assert_eq!(called["result"]["ttlMs"], Value::Null, "the result of a call is not cacheable");
}

#[test]
fn meta_without_the_capabilities_is_invalid_params() {
    let (server, _stage) = start();
    let meta = json!({"io.modelcontextprotocol/protocolVersion": MODERN});
    for capabilities in [None, Some(json!("all")), Some(Value::Null)] {
        let mut params = json!({"_meta": meta});
        if let Some(capabilities) = capabilities {
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
        }
        assert_error(&server.connect().mcp_modern(&request(1, "tools/list", params)), 400, -32602, 1.into());
    }
}

#[test]
fn modern_header_with_a_body_without_meta_is_invalid_params() {
    let (server, _stage) = start();
    let body = request(1, "tools/list", json!({}));
    assert_error(&server.connect().post_with("/mcp", &modern_headers(&body), &body), 400, -32602, 1.into());
}

#[test]
fn unsupported_version_is_answered_with_the_supported_ones() {
    let (server, _stage) = start();
    let body = modern(1, "tools/list", json!({})).replace(MODERN, "2099-01-01");
    let headers = modern_headers(&body).replace(MODERN, "2099-01-01");
    let answer = assert_error(&server.connect().post_with("/mcp", &headers, &body), 400, -32022, 1.into());
    assert_eq!(answer["error"]["data"], json!({"supported": [MODERN], "requested": "2099-01-01"}));
}

#[test]
fn missing_or_differing_headers_are_a_mismatch() {
    let (server, test_tools) = start();
    let mut client = server.connect();
    let body = modern(1, "tools/call", json!({"name": "hold", "arguments": {"name": "h"}}));
    let version = format!("MCP-Protocol-Version: {MODERN}\r\n");
    let (method, name) = ("Mcp-Method: tools/call\r\n", "Mcp-Name: hold\r\n");
    for headers in [
        String::new(),
        format!("{method}{name}"),
        format!("MCP-Protocol-Version: 2025-11-25\r\n{method}{name}"),
        format!("{version}{name}"),
        format!("{version}Mcp-Method: TOOLS/CALL\r\n{name}"),
        format!("{version}Mcp-Method: tools/list\r\n{name}"),
        format!("{version}{method}"),
        format!("{version}{method}Mcp-Name: echo\r\n"),
        format!("{version}{method}Mcp-Name: =?base64?aG9s?=\r\n"),
        format!("{version}{version}{method}{name}"),
    ] {
        let reply = client.post_with("/mcp", &format!("{ACCEPT}{headers}"), &body);
        assert_error(&reply, 400, -32020, 1.into());
    }
    assert!(!test_tools.has_begun("h"), "nothing was called");
}

#[test]
fn headers_ignore_case_and_padding_and_accept_base64_names() {
    let (server, _stage) = start();
    let body = modern(1, "tools/call", json!({"name": "echo", "arguments": {"text": "x"}}));
    let headers = format!(
        "{ACCEPT}mcp-protocol-VERSION: \t {MODERN} \r\nMCP-METHOD:tools/call\r\nmcp-name: =?base64?ZWNobw==?=\r\n"
    );
    assert_eq!(text(&server.connect().post_with("/mcp", &headers, &body).json()), "x");
}

// ---- HTTP

#[test]
fn accept_of_json_or_no_accept_gets_json_with_a_length() {
    let (server, _stage) = start();
    let mut client = server.connect();
    for accept in ["", "Accept: */*\r\n", JSON_ONLY, "Accept: application/*;q=0.5\r\n", ACCEPT] {
        for body in [ping(1), call(1, "echo", json!({"text": "x"}))] {
            let reply = client.post_with("/mcp", accept, &body);
            assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(1)), "{accept:?}");
            assert!(reply.has_header(&format!("Content-Length: {}", reply.body.len())), "{}", reply.head);
        }
    }
}

#[test]
fn accept_of_neither_json_nor_events_is_406() {
    let (server, _stage) = start();
    for accept in [
        "Accept: text/html\r\n",
        "Accept: image/*, text/plain\r\n",
        "Accept: application/json;q=0, text/event-stream; q=0.0\r\n",
    ] {
        assert_eq!(server.connect().post_with("/mcp", accept, &ping(1)).status, 406, "{accept:?}");
    }
}

#[test]
fn accept_of_events_only_gets_an_event() {
    let (server, _stage) = start();
    for body in [ping(1), call(1, "echo", json!({"text": "x"})), request(1, "nope", json!({}))] {
        let mut client = server.connect();
        client.send_post_with("/mcp", EVENTS_ONLY, &body);
        let mut events = client.events();
        events.comment();
        assert_eq!(events.json()["id"], 1, "{body}");
        assert!(events.event().is_none(), "the stream ends with the answer");
    }
}

#[test]
fn content_type_must_be_json_in_any_case_with_any_parameters() {
    let (server, _stage) = start();
    let post = |content_type: &str| {
        let (mut client, body) = (server.connect(), ping(1));
        let length = body.len();
        client.send(format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\n{content_type}Content-Length: {length}\r\n\r\n{body}"
        ));
        client.reply().expect("an answer").status
    };
    for (content_type, status) in [
        ("", 415),
        ("Content-Type: text/plain\r\n", 415),
        ("Content-Type: application/jsonx\r\n", 415),
        ("Content-Type: application/x-www-form-urlencoded\r\n", 415),
        ("Content-Type: application/json\r\n", 200),
        ("Content-Type: application/json; charset=utf-8\r\n", 200),
        ("content-type: APPLICATION/Json;charset=UTF-8\r\n", 200),
    ] {
        assert_eq!(post(content_type), status, "{content_type:?}");
    }
}

#[test]
fn every_method_but_post_is_405_with_allow() {
    let (server, _stage) = start();
    for method in ["GET", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"] {
        for headers in ["", "Accept: text/event-stream\r\nMcp-Session-Id: x\r\n"] {
            let mut client = server.connect();
            client.send(format!("{method} /mcp HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n"));
            let answer = client.rest();
            assert!(
                answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nAllow: POST\r\n"),
                "{method}: {answer}"
            );
            assert_eq!(answer.ends_with("\r\n\r\n"), method == "HEAD", "{method}: {answer}");
        }
    }
}

#[test]
fn foreign_origins_and_hosts_are_rejected_and_local_ones_accepted() {
    let (server, test_tools) = start();
    let body = call(1, "hold", json!({"name": "h"}));
    for origin in ["https://evil.example", "null", "http://localhost.evil.example"] {
        let headers = format!("{ACCEPT}Origin: {origin}\r\n");
        assert_eq!(server.connect().post_with("/mcp", &headers, &body).status, 403, "{origin}");
    }
    let mut client = server.connect();
    client.send(format!(
        "POST /mcp HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(client.reply().expect("an answer").status, 421);
    assert!(!test_tools.has_begun("h"));
    for origin in ["http://localhost:5173", "http://127.0.0.1", &format!("http://{}", server.address)] {
        let headers = format!("{ACCEPT}Origin: {origin}\r\n");
        assert_eq!(server.connect().post_with("/mcp", &headers, &ping(1)).status, 200, "{origin}");
    }
}

#[test]
fn body_over_the_limit_is_413_and_one_at_the_limit_is_served() {
    let (server, _stage) = start_with(Limits { max_body_bytes: 10_000, ..patient_limits() });
    let padded = |n: usize| {
        let body = ping(1);
        format!("{body}{}", " ".repeat(n - body.len()))
    };
    assert_eq!(server.connect().mcp(&padded(10_000)).status, 200);
    assert_eq!(server.connect().mcp(&padded(10_001)).status, 413);
}

#[test]
fn compressed_body_is_415_by_name_and_an_uncompressed_one_is_served() {
    let (server, _stage) = start();
    let session = server.sse();
    for path in ["/mcp", "/mcp/", &session.path] {
        for encoding in ["gzip", "GZIP", "br", "deflate", "zstd", "gzip, br", "x-gzip"] {
            let mut client = server.connect();
            let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
            // No byte of the body is sent: the answer does not wait for it.
            client.send(format!(
                "{head}Content-Encoding: {encoding}\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
            ));
            let reply = client.reply().expect("an answer");
            assert_eq!(reply.status, 415, "{encoding}");
            assert!(reply.has_header("Accept-Encoding: identity") && reply.body.contains(encoding), "{}", reply.body);
            client.assert_ends();
        }
    }
    for encoding in ["identity", "Identity", ""] {
        let headers = format!("{ACCEPT}Content-Encoding: {encoding}\r\n");
        assert_eq!(server.connect().post_with("/mcp", &headers, &ping(1)).status, 200, "{encoding:?}");
    }
    let odd = server.connect().post_with("/mcp", "Content-Encoding: a\u{e9}\"b\r\n", &ping(1));
    assert!(odd.status == 415 && odd.body.is_ascii(), "{}", odd.body);
}

#[test]
fn a_byte_order_mark_before_a_body_is_skipped() {
    let (server, _stage) = start();
    let mut session = server.sse();
    let (text, batch) = (format!("\u{feff}{}", ping(1)), format!("\u{feff}[{}]", ping(2)));
    assert_eq!(server.connect().mcp(&text).json()["id"], 1);
    assert_eq!(server.connect().mcp(&batch).json()[0]["id"], 2);
    let path = session.path.clone();
    let echo = format!("\u{feff}{}", call(3, "echo", json!({"text": "x"})));
    for (body, id) in [(&text, 1), (&batch, 2), (&echo, 3)] {
        assert_eq!(server.connect().post(&path, body).status, 202);
        assert_eq!(session.json()["id"], id);
    }
}

#[test]
fn oauth_probes_are_a_404_that_says_how_to_give_a_token() {
    let server = TestServer::builder().clients(vec![caller("ada", None)]).start();
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/mcp",
        "/.well-known/openid-configuration",
        "/mcp/.well-known/openid-configuration",
        "/register",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            // Without a token, with a wrong one and with a body.
            for headers in ["", "Authorization: Bearer nope\r\n", "Content-Length: 2\r\nContent-Type: text/plain\r\n"] {
                let mut client = server.connect();
                client.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{{}}"));
                let reply = client.reply().expect("an answer");
                assert_eq!(reply.status, 404, "{method} {path}");
                assert!(reply.has_header("Content-Type: application/json"), "{}", reply.head);
                assert!(!reply.head.contains("WWW-Authenticate"), "{}", reply.head);
                let body = reply.json();
                let description = body["error_description"].as_str().expect("a description");
                assert!(body["error"].is_string() && description.starts_with("no OAuth here: give the client a token"));
            }
        }
    }
}
