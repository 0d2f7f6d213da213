//! The protocol core without a socket: both eras, the edge cases, notifications, cancellation, input-required results.

use proxmox_mcp::base::cancel::{CancelReason, CancelToken};
use proxmox_mcp::mcp::arguments::{ParameterKind, ToolParameter};
use proxmox_mcp::mcp::catalog::{
    Catalog, CompletionReference, CompletionRequest, InputMethod, InputRequest, InputRequired, Prompt, PromptArgument,
    Resource, ResourceError, ResourceTemplate, Resources, ServerInfo, Tool, ToolEffect, ToolError, ToolInput,
    ToolOutput,
};
use proxmox_mcp::mcp::content::{BinaryContent, Content, ResourceContents, ResourceData};
use proxmox_mcp::mcp::context::Caller;
use proxmox_mcp::mcp::in_flight::InFlightCalls;
use proxmox_mcp::mcp::{McpServer, RpcResponse, TransportContext, message};
use serde_json::{Map, Value, json};
use std::cell::RefCell;

fn tool(name: &'static str, run: proxmox_mcp::mcp::catalog::ToolHandler) -> Tool {
    Tool {
        name,
        title: name,
        description: "a tool of the tests",
        input: ToolInput::Parameters(&[ToolParameter {
            name: "text",
            kind: ParameterKind::Text,
            required: false,
            description: "any",
        }]),
        effect: ToolEffect::ReadOnly,
        meta: Map::new(),
        handler: run,
    }
}

fn catalog() -> Catalog {
    let contents = |uri: &str| {
        vec![ResourceContents { uri: uri.into(), mime: "text/plain", data: ResourceData::Text("hello".into()) }]
    };
    Catalog {
        server: ServerInfo { name: "test-server", title: "Test server", version: "1.2.3", ..ServerInfo::default() },
        instructions: "be careful",
        page: None,
        tools: vec![
            tool("echo", Box::new(|_, args| Ok(ToolOutput::text(args.text("text").unwrap_or("nothing").into())))),
            tool("fail", Box::new(|_, _| Err(ToolError::Failed("it broke: do this".into())))),
            tool(
                "everything",
                Box::new(|_, _| {
                    let binary = || BinaryContent { data: "AAAA".into(), mime: "x/y" };
                    let blob =
                        ResourceContents { uri: "a:b".into(), mime: "x/y", data: ResourceData::Blob("AAAA".into()) };
                    let content = vec![
                        Content::Text("\"t\"\n".into()),
                        Content::Image(binary()),
                        Content::Audio(binary()),
                        Content::Resource(blob),
                    ];
                    let notes = vec!["a note".into()];
                    Ok(ToolOutput { content, notes, structured: Some("{\n\"n\":1\r}".into()), ..ToolOutput::default() })
                }),
            ),
            tool(
                "slow",
                Box::new(|context, _| {
                    context.send_progress(1.0, Some(3.0), "one");
                    context.send_progress(1.0, Some(3.0), "not more");
                    context.send_progress(2.5, None, "");
                    context.send_log("info", &json!("quiet"));
                    context.send_log("error", &json!({"loud": true}));
                    Ok(ToolOutput::text("done".into()))
                }),
            ),
            tool(
                "cancelled",
                Box::new(|context, _| {
                    context.cancel.cancel(CancelReason::ClientGone);
                    Ok(ToolOutput::text("too late".into()))
                }),
            ),
            tool(
                "ask",
                Box::new(|context, _| {
                    if context.unseal_state()?.is_some_and(|s| s == json!({"round": 1})) {
                        let answer = context.input_response("name").cloned().unwrap_or_default();
                        return Ok(ToolOutput::text(answer["content"]["name"].to_string()));
                    }
                    let question = json!({"mode": "form", "message": "who?", "requestedSchema": {"type": "object"}});
                    let requests =
                        vec![InputRequest { key: "name", method: InputMethod::Elicitation, params: question }];
                    Err(ToolError::InputRequired(InputRequired { requests, state: Some(json!({"round": 1})) }))
                }),
            ),
        ],
        resources: Some(Resources {
            list: Box::new(|context| {
                vec![Resource {
                    uri: "test://a".into(),
                    name: "a".into(),
                    title: "A".into(),
                    description: format!("a resource of {}", context.caller.client.name),
                    mime: "text/plain",
                }]
            }),
            templates: vec![ResourceTemplate {
                uri: "test://t/{id}",
                name: "t",
                title: "T",
                description: "a family",
                mime: Some("text/plain"),
            }],
            read: Box::new(move |_, uri| match uri {
                "test://a" => Ok(contents(uri)),
                "test://failed" => Err(ToolError::Failed("it failed".into()).into()),
                _ if uri.starts_with("test://t/") => Ok(contents(uri)),
                _ => Err(ResourceError::Unknown("use test://a".into())),
            }),
        }),
        prompts: vec![Prompt {
            name: "greet",
            title: "Greet",
            description: "greets",
            arguments: &[PromptArgument { name: "who", description: "whom to greet", required: true }],
            handler: Box::new(|_, args| Ok(vec![("user", Content::Text(format!("greet {}", args["who"])))])),
        }],
        completion: Some(Box::new(|_, request| {
            let CompletionRequest { reference, argument, value, chosen } = request;
            match reference {
                CompletionReference::Prompt("greet") if *argument == "who" => {
                    (0..150).map(|n| format!("{value}{n}")).collect()
                }
                CompletionReference::Prompt(_) => Vec::new(),
                CompletionReference::Template(uri) => vec![format!("{uri} {argument} {}", chosen["other"])],
            }
        })),
        tasks: None,
        logging: true,
    }
}

fn server() -> McpServer {
    McpServer::new(catalog()).expect("a server")
}

/// Sends a request. Returns its answer and the notifications sent before it.
fn exchange(server: &McpServer, request: &Value) -> (Option<RpcResponse>, Vec<Value>) {
    let text = request.to_string();
    let Ok(message::Message::Request(request)) = message::parse_message(text.as_bytes()) else { panic!("{text}") };
    let sent = RefCell::new(Vec::new());
    let calls = InFlightCalls::new();
    let send = |note: &[u8]| sent.borrow_mut().push(serde_json::from_slice(note).expect("JSON"));
    let exchange = TransportContext {
        caller: &Caller::new_stdio(),
        calls: Some(&calls),
        cancel: CancelToken::new(),
        notify: &send,
    };
    let answer = server.handle_request(&request, request.parse_params(), &exchange);
    (answer, sent.into_inner())
}

fn answer(server: &McpServer, request: &Value) -> (Value, Option<i32>) {
    let answer = exchange(server, request).0.expect("an answer");
    (serde_json::from_slice(&answer.bytes).expect("JSON"), answer.code)
}

fn legacy(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": "x", "method": method, "params": params})
}

fn modern(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
        "progressToken": 7,
    });
    legacy(method, params)
}

#[test]
fn discover_lists_versions_and_capabilities() {
    let (answer, _) = answer(&server(), &modern("server/discover", json!({})));
    let result = &answer["result"];
    assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(result["resultType"], "complete");
    assert!(result["ttlMs"].is_u64() && result["cacheScope"].is_string() && result.get("serverInfo").is_none());
    assert_eq!(
        result["_meta"]["io.modelcontextprotocol/serverInfo"],
        json!({"name": "test-server", "title": "Test server", "version": "1.2.3"})
    );
    let announced: Vec<_> = result["capabilities"].as_object().expect("capabilities").keys().collect();
    assert_eq!(announced, ["completions", "logging", "prompts", "resources", "tools"]);
}

#[test]
fn a_capability_that_the_catalog_lacks_is_neither_announced_nor_served() {
    let bare = McpServer::new(Catalog { tools: catalog().tools, ..Catalog::default() }).expect("a server");
    let (discover, _) = answer(&bare, &modern("server/discover", json!({})));
    assert_eq!(discover["result"]["capabilities"], json!({"tools": {}}));
    for method in
        ["resources/list", "resources/read", "prompts/list", "prompts/get", "completion/complete", "logging/setLevel"]
    {
        for request in [legacy(method, json!({})), modern(method, json!({}))] {
            assert_eq!(answer(&bare, &request).1, Some(message::METHOD_NOT_FOUND), "{method}");
        }
    }
}

#[test]
fn both_eras_list_the_same_and_only_modern_lists_have_a_lifetime() {
    let server = server();
    for (method, key) in [
        ("tools/list", "tools"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
        ("prompts/list", "prompts"),
    ] {
        let (old, _) = answer(&server, &legacy(method, json!({})));
        let (new, _) = answer(&server, &modern(method, json!({})));
        assert_eq!(old["result"][key], new["result"][key], "{method}");
        assert!(!old["result"][key].as_array().expect("a list").is_empty());
        assert_eq!(old["result"].as_object().expect("an object").len(), 1, "{method}");
        assert_eq!((&new["result"]["resultType"], new["result"]["ttlMs"].is_u64()), (&json!("complete"), true));
        assert_eq!(answer(&server, &modern(method, json!({"cursor": "x"}))).1, Some(message::INVALID_PARAMS));
    }
}

#[test]
fn every_kind_of_content_is_carried_in_both_eras() {
    for request in
        [legacy("tools/call", json!({"name": "everything"})), modern("tools/call", json!({"name": "everything"}))]
    {
        let line = exchange(&server(), &request).0.expect("an answer").bytes;
        assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "a message is one line");
        let (answer, _) = answer(&server(), &request);
        assert_eq!(
            answer["result"]["content"],
            json!([
                {"type": "text", "text": "\"t\"\n"},
                {"type": "image", "data": "AAAA", "mimeType": "x/y"},
                {"type": "audio", "data": "AAAA", "mimeType": "x/y"},
                {"type": "resource", "resource": {"uri": "a:b", "mimeType": "x/y", "blob": "AAAA"}},
                {"type": "text", "text": "a note"},
            ])
        );
        assert_eq!(answer["result"].get("structuredContent"), None);
    }
}

#[test]
fn invisible_characters_of_a_tool_result_are_escaped() {
    let mut catalog = catalog();
    catalog.tools = vec![
        tool(
            "tell",
            Box::new(|context, _| {
                context.send_progress(1.0, None, "p\u{202e}");
                context.send_log("error", &json!({"l\u{1b}": "\u{200b}"}));
                let structured = Some("{\"a\":\"\u{feff}\\u001b\"}".into());
                let content = vec![Content::Text("a\u{202e}b\u{1b}[0m\n".into())];
                Ok(ToolOutput { content, notes: vec!["n\u{202e}".into()], structured, ..ToolOutput::default() })
            }),
        ),
        tool("fail", Box::new(|_, _| Err(ToolError::Failed("no \u{200b}".into())))),
    ];
    let server = McpServer::new(catalog).expect("a server").with_structured(true);
    let mut call = legacy("tools/call", json!({"name": "tell", "arguments": {}, "_meta": {"progressToken": 1}}));
    let (reply, notes) = exchange(&server, &call);
    let reply: Value = serde_json::from_slice(&reply.expect("an answer").bytes).expect("JSON");
    assert_eq!(reply["result"]["content"][0]["text"], "a\\u202eb\\u001b[0m\n\nn\\u202e");
    assert_eq!(reply["result"]["structuredContent"]["notes"], json!(["n\\u202e"]));
    assert_eq!(reply["result"]["structuredContent"]["a"], "\\ufeff\\u001b");
    assert_eq!(notes[0]["params"]["message"], "p\\u202e");
    assert_eq!(notes[1]["params"]["data"], json!({"l\\u001b": "\\u200b"}));
    call["params"]["name"] = "fail".into();
    assert_eq!(answer(&server, &call).0["result"]["content"][0]["text"], "no \\u200b");
}

#[test]
fn failed_tool_is_a_result_and_unknown_tool_an_error() {
    let server = server();
    for (params, text) in [
        (json!({"name": "fail"}), "it broke: do this"),
        (json!({"name": "echo", "arguments": {"txet": 1}}), "unknown argument"),
        (json!({"name": "echo", "arguments": {"text": {}}}), "must be a string"),
    ] {
        let (answer, code) = answer(&server, &modern("tools/call", params));
        assert_eq!((&answer["result"]["isError"], code), (&json!(true), None));
        assert!(answer["result"]["content"][0]["text"].as_str().expect("text").contains(text), "{answer}");
    }
    for params in [json!({}), json!({"name": 7}), json!({"name": "nope"}), json!({"name": "echo", "arguments": "x"})] {
        assert_eq!(answer(&server, &legacy("tools/call", params)).1, Some(message::INVALID_PARAMS));
    }
}

#[test]
fn progress_increases_and_is_sent_only_with_a_token() {
    let (_, sent) = exchange(&server(), &modern("tools/call", json!({"name": "slow"})));
    let progress: Vec<_> = sent.iter().map(|n| &n["params"]).collect();
    assert_eq!(
        progress,
        [
            &json!({"progressToken": 7, "progress": 1, "total": 3, "message": "one"}),
            &json!({"progressToken": 7, "progress": 2.5}),
        ],
        "and no log messages, since the request names no level"
    );
    let (_, sent) = exchange(&server(), &legacy("tools/call", json!({"name": "slow"})));
    assert!(sent.iter().all(|n| n["method"] == "notifications/message"), "{sent:?}");
}

#[test]
fn log_messages_are_sent_from_the_requested_severity() {
    let mut request = modern("tools/call", json!({"name": "slow"}));
    request["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = json!("warning");
    let (_, sent) = exchange(&server(), &request);
    let logs: Vec<_> = sent.iter().filter(|n| n["method"] == "notifications/message").collect();
    assert_eq!(logs.len(), 1);
    assert_eq!((&logs[0]["params"]["level"], &logs[0]["params"]["data"]), (&json!("error"), &json!({"loud": true})));
    request["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = json!("loud");
    assert_eq!(answer(&server(), &request).1, Some(message::INVALID_PARAMS));
    assert_eq!(
        answer(&server(), &legacy("logging/setLevel", json!({"level": "loud"}))).1,
        Some(message::INVALID_PARAMS)
    );
    assert_eq!(answer(&server(), &legacy("logging/setLevel", json!({"level": "error"}))).0["result"], json!({}));
}

#[test]
fn a_cancelled_request_is_never_answered() {
    assert_eq!(exchange(&server(), &legacy("tools/call", json!({"name": "cancelled"}))).0, None);
}

#[test]
fn tool_that_needs_input_gets_it_with_the_retry() {
    let server = server();
    let (first, _) = answer(&server, &modern("tools/call", json!({"name": "ask"})));
    assert_eq!(first["result"]["resultType"], "input_required");
    assert_eq!(first["result"]["inputRequests"]["name"]["method"], "elicitation/create");
    let state = first["result"]["requestState"].as_str().expect("a state");
    let again = |state: &str| {
        let responses = json!({"name": {"action": "accept", "content": {"name": "Ada"}}});
        modern("tools/call", json!({"name": "ask", "inputResponses": responses, "requestState": state}))
    };
    assert_eq!(answer(&server, &again(state)).0["result"]["content"][0]["text"], "\"Ada\"");
    assert_eq!(answer(&server, &again(&format!("{state}x"))).1, Some(message::INVALID_PARAMS), "a changed state");

    let mut cannot = modern("tools/call", json!({"name": "ask"}));
    cannot["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let (refused, code) = answer(&server, &cannot);
    assert_eq!(code, Some(message::MISSING_CAPABILITY));
    assert_eq!(refused["error"]["data"], json!({"requiredCapabilities": {"elicitation": {}}}));
    assert_eq!(answer(&server, &legacy("tools/call", json!({"name": "ask"}))).0["result"]["isError"], true);
}

#[test]
fn resources_are_listed_and_read() {
    let server = server();
    let (listed, _) = answer(&server, &modern("resources/list", json!({})));
    let entry = json!({"uri": "test://a", "name": "a", "title": "A", "description": "a resource of stdio",
        "mimeType": "text/plain"});
    assert_eq!(listed["result"]["resources"], json!([entry]), "the list depends on the caller");
    for uri in ["test://a", "test://t/5"] {
        let (read, _) = answer(&server, &modern("resources/read", json!({"uri": uri})));
        assert_eq!(read["result"]["contents"], json!([{"uri": uri, "mimeType": "text/plain", "text": "hello"}]));
        let caching = |answer: &Value| (answer["result"]["ttlMs"].clone(), answer["result"]["cacheScope"].clone());
        assert_eq!([caching(&read), caching(&listed)], [(json!(0), json!("private")), (json!(0), json!("private"))]);
    }
    let (none, code) = answer(&server, &modern("resources/read", json!({"uri": "test://b"})));
    assert_eq!((code, &none["error"]["data"]["uri"]), (Some(message::INVALID_PARAMS), &json!("test://b")));
    assert_eq!(none["error"]["message"], "unknown resource \"test://b\": use test://a");
    assert_eq!(
        answer(&server, &legacy("resources/read", json!({"uri": "test://b"}))).1,
        Some(message::RESOURCE_NOT_FOUND),
        "the code of the older eras"
    );
    let (failed, code) = answer(&server, &modern("resources/read", json!({"uri": "test://failed"})));
    assert_eq!((code, &failed["error"]["message"]), (Some(message::INTERNAL_ERROR), &json!("it failed")));
}

#[test]
fn prompts_take_texts() {
    let server = server();
    let get =
        |arguments: Value| answer(&server, &legacy("prompts/get", json!({"name": "greet", "arguments": arguments})));
    for (who, text) in [(json!("Ada"), "greet \"Ada\""), (json!(" Ada\n"), "greet \"Ada\""), (json!(7), "greet \"7\"")]
    {
        let (got, _) = get(json!({"who": who}));
        let content = json!({"type": "text", "text": text});
        assert_eq!(got["result"]["messages"], json!([{"role": "user", "content": content}]));
    }
    for arguments in [json!({}), json!({"who": ""}), json!({"who": " "}), json!({"who": null}), json!({"who": ["Ada"]})]
    {
        assert_eq!(get(arguments.clone()).1, Some(message::INVALID_PARAMS), "{arguments}");
    }
}

#[test]
fn completion_knows_its_references() {
    let server = server();
    let complete = |params: Value| answer(&server, &modern("completion/complete", params));
    let prompt = json!({"type": "ref/prompt", "name": "greet"});
    let (completed, _) = complete(json!({"ref": prompt, "argument": {"name": "who", "value": "A"}}));
    let completion = &completed["result"]["completion"];
    assert_eq!((completion["values"].as_array().map(Vec::len), &completion["total"]), (Some(100), &json!(150)));
    assert_eq!(completion["hasMore"], true);
    let (none, _) = complete(json!({"ref": prompt, "argument": {"name": "nope", "value": "A"}}));
    assert_eq!(none["result"]["completion"], json!({"values": [], "total": 0, "hasMore": false}));
    let template = json!({"type": "ref/resource", "uri": "test://t/{id}"});
    let params =
        json!({"ref": template, "argument": {"name": "id", "value": ""}, "context": {"arguments": {"other": "x"}}});
    assert_eq!(complete(params).0["result"]["completion"]["values"], json!(["test://t/{id} id \"x\""]));
    let argument = json!({"name": "id", "value": ""});
    for params in [
        json!({"ref": {"type": "ref/prompt", "name": "nope"}, "argument": argument}),
        json!({"ref": {"type": "ref/resource", "uri": "test://nope"}, "argument": argument}),
        json!({"ref": {"type": "ref/tool", "name": "greet"}, "argument": argument}),
        json!({"ref": {"type": "ref/prompt"}, "argument": argument}),
        json!({"argument": argument}),
        json!({"ref": template, "argument": {"name": "id"}}),
        json!({"ref": template, "argument": argument, "context": 7}),
        json!({"ref": template, "argument": argument, "context": {"arguments": []}}),
    ] {
        assert_eq!(complete(params.clone()).1, Some(message::INVALID_PARAMS), "{params}");
    }
}

#[test]
fn each_era_has_only_its_own_methods() {
    let server = server();
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "subscriptions/listen", "nope"] {
        assert_eq!(answer(&server, &modern(method, json!({}))).1, Some(message::METHOD_NOT_FOUND), "{method}");
    }
    for method in ["server/discover", "subscriptions/listen", "nope"] {
        assert_eq!(answer(&server, &legacy(method, json!({}))).1, Some(message::METHOD_NOT_FOUND), "{method}");
    }
}

#[test]
fn modern_request_must_name_a_supported_version_and_capabilities() {
    let server = server();
    let mut request = modern("tools/list", json!({}));
    request["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2099-01-01");
    let (refused, code) = answer(&server, &request);
    assert_eq!(code, Some(message::UNSUPPORTED_VERSION));
    assert_eq!(refused["error"]["data"], json!({"supported": ["2026-07-28"], "requested": "2099-01-01"}));
    for capabilities in [json!(null), json!("x"), json!([])] {
        let mut request = modern("tools/list", json!({}));
        request["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
        assert_eq!(answer(&server, &request).1, Some(message::INVALID_PARAMS));
    }
}
