//! JSON-RPC errors of POST /mcp and stdio.

use crate::document::{Document, pretty};
use crate::support::process::ServerProcess;
use crate::support::raw::Reply;
use crate::support::rpc::{ACCEPT, MODERN, call, modern, modern_headers, request};
use crate::support::test_tools::start;
use serde_json::{Value, json};

fn answer(reply: &Reply) -> String {
    format!("{}\n{}", reply.status, pretty(&reply.body, 2))
}

#[test]
fn json_rpc_errors() {
    let (server, _test_tools) = start();
    let mut document = Document::new();
    document.section("Messages");
    for body in [
        "",
        "{",
        "nope",
        "{}",
        "42",
        "[]",
        "[[]]",
        r#"{"id":7,"method":"ping"}"#,
        r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":"a"}"#,
        r#"{"jsonrpc":"2.0","id":0,"method":"ping","params":[]}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":7}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"echo"}}"#,
    ] {
        document.case(body, answer(&server.connect().mcp(body)));
    }
    let many = format!("[{}]", vec![request(1, "ping", json!({})); 101].join(","));
    document.case("a batch of 101", answer(&server.connect().mcp(&many)));
    let mixed = format!("[{}]", modern(1, "tools/list", json!({})));
    document.case("a batch with a request of 2026-07-28", answer(&server.connect().mcp(&mixed)));

    let large: Vec<_> = (0..4).map(|id| call(id, "large", json!({}))).collect();
    let answers = server.connect().mcp(&format!("[{}]", large.join(","))).json();
    let last = answers.as_array().and_then(|answers| answers.last()).expect("answers");
    document.case("the last answer of a batch of large ones", last);

    document.section("Methods and parameters, before 2026-07-28");
    for (method, params) in [
        ("nope", json!({})),
        ("server/discover", json!({})),
        ("prompts/list", json!({})),
        ("initialize", json!({})),
        ("initialize", json!({"protocolVersion": 7})),
        ("tools/call", json!({})),
        ("tools/call", json!({"name": 7})),
        ("tools/call", json!({"name": "nope"})),
        ("tools/call", json!({"name": "echo", "arguments": "x"})),
        ("tools/call", json!({"name": "echo", "arguments": {}})),
        ("tools/call", json!({"name": "fail", "arguments": {}})),
        ("tools/call", json!({"name": "panic", "arguments": {}})),
        ("resources/read", json!({})),
        ("resources/read", json!({"uri": "test://nope"})),
        ("tools/list", json!({"_meta": 7})),
        ("logging/setLevel", json!({"level": "loud"})),
    ] {
        let reply = server.connect().mcp(&request(1, method, params.clone()));
        document.case(format_args!("{method} {params}"), answer(&reply));
    }
    let reply = server.connect().post_with(
        "/mcp",
        &format!("{ACCEPT}MCP-Protocol-Version: 1.0\r\n"),
        &request(1, "ping", json!({})),
    );
    document.case("MCP-Protocol-Version: 1.0", answer(&reply));

    document.section("Methods and parameters, 2026-07-28");
    for (method, params) in [
        ("nope", json!({})),
        ("ping", json!({})),
        ("initialize", json!({})),
        ("tools/call", json!({"name": "nope"})),
        ("resources/read", json!({"uri": "test://nope"})),
        (
            "tools/call",
            json!({"name": "echo", "arguments": {"text": "x"}, "_meta": {"io.modelcontextprotocol/logLevel": "loud"}}),
        ),
    ] {
        let reply = server.connect().mcp_modern(&modern(1, method, params.clone()));
        document.case(format_args!("{method} {params}"), answer(&reply));
    }
    let body = modern(1, "tools/call", json!({"name": "echo", "arguments": {"text": "x"}}));
    for headers in [
        "".to_owned(),
        format!("MCP-Protocol-Version: {MODERN}\r\n"),
        format!("MCP-Protocol-Version: {MODERN}\r\nMcp-Method: tools/list\r\nMcp-Name: echo\r\n"),
        format!("MCP-Protocol-Version: {MODERN}\r\nMcp-Method: tools/call\r\n"),
        format!("MCP-Protocol-Version: {MODERN}\r\nMcp-Method: tools/call\r\nMcp-Name: fail\r\n"),
        "MCP-Protocol-Version: 2025-11-25\r\nMcp-Method: tools/call\r\nMcp-Name: echo\r\n".to_owned(),
    ] {
        let reply = server.connect().post_with("/mcp", &format!("{ACCEPT}{headers}"), &body);
        let title = headers.trim_end().replace("\r\n", ", ");
        document.case(format_args!("headers: {title}"), answer(&reply));
    }
    let unknown = modern(1, "tools/list", json!({})).replace(MODERN, "2099-01-01");
    let headers = modern_headers(&unknown).replace(MODERN, "2099-01-01");
    document.case("version 2099-01-01", answer(&server.connect().post_with("/mcp", &headers, &unknown)));
    let legacy = request(1, "tools/list", json!({}));
    let reply = server.connect().post_with("/mcp", &modern_headers(&legacy), &legacy);
    document.case("the headers of 2026-07-28 without _meta", answer(&reply));
    let mut bare: Value = serde_json::from_str(&modern(1, "tools/list", json!({}))).expect("JSON");
    bare["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = 7.into();
    let reply = server.connect().mcp_modern(&bare.to_string());
    document.case("clientCapabilities: 7", answer(&reply));
    document.assert("json_rpc_errors");
}

#[test]
fn stdio_errors() {
    let mut process = ServerProcess::start(&["stdio", "--demo", "--max-body-bytes", "2000"]);
    let mut document = Document::new();
    for line in ["nope", "[]", r#"{"jsonrpc":"2.0","id":1,"method":"nope"}"#, &call(2, "nope", json!({}))] {
        let answer = process.ask(line);
        document.case(line, answer);
    }
    let answer = process.ask(&"x".repeat(2001));
    document.case("a line of 2001 bytes", answer);
    document.assert("stdio_errors");
}
