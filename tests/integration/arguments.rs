//! Arguments as models and clients send them, over POST /mcp.

use crate::support::policy::{RecordingNode, open_policy};
use crate::support::proxmox::is_lookup;
use crate::support::rpc::full_text;
use crate::support::server::TestServer;
use crate::support::test_tools::product;
use serde_json::Value;

struct Lab {
    node: RecordingNode,
    server: TestServer,
}

impl Lab {
    /// Starts a server whose description of the API is fetched already.
    fn start() -> Self {
        let node = RecordingNode::start();
        let server = TestServer::builder().mcp(product(vec![node.cluster("lab", open_policy())])).start();
        let lab = Self { node, server };
        lab.call("describe_api", r#"{"path":"/version"}"#);
        lab.node.requests();
        lab
    }

    /// Calls a tool with this JSON text as its arguments.
    fn call(&self, tool: &str, arguments: &str) -> Value {
        self.send(&format!(r#""name":"{tool}","arguments":{arguments}"#))
    }

    /// Calls a tool with these members as params.
    fn send(&self, params: &str) -> Value {
        let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{params}}}}}"#);
        self.server.connect().mcp(&message).json()
    }

    /// Returns the writes that a call caused, with their forms, and its text.
    fn change(&self, arguments: &str) -> (Vec<String>, String) {
        let answer = self.call("proxmox_api_call", arguments);
        let writes = self.node.requests().into_iter().filter(|request| request.method != "GET");
        let writes = writes.map(|request| format!("{} {} {}", request.method, request.target, request.body)).collect();
        (writes, full_text(&answer).to_owned())
    }
}

#[test]
fn member_that_is_there_twice_is_refused_at_every_depth_and_nothing_is_sent() {
    let lab = Lab::start();
    let put = r#""path":"/nodes/pve1/qemu/100/config","method":"PUT""#;
    for params in [
        r#""name":"proxmox_api_call","name":"proxmox_api_get","arguments":{"path":"/version"}"#,
        r#""name":"proxmox_api_call","arguments":{"path":"/version"},"arguments":{"path":"/nodes"}"#,
        r#""name":"proxmox_api_call","arguments":{"path":"/version"},"\u0061rguments":{"path":"/nodes"}"#,
        r#""name":"proxmox_api_call","arguments":{"path":"/version","path":"/nodes"}"#,
        r#""name":"proxmox_api_call","arguments":{"path":"/version","p\u0061th":"/version"}"#,
        &format!(r#""name":"proxmox_api_call","arguments":{{{put},"data":{{"cores":1,"cores":2}}}}"#),
        &format!(r#""name":"proxmox_api_call","arguments":{{{put},"data":{{"cores":1,"\u0063ores":2}}}}"#),
        &format!(
            r#""name":"proxmox_api_call","arguments":{{{put},"data":{{"net0":{{"model":"e1000","model":"virtio"}}}}}}"#
        ),
        &format!(r#""name":"proxmox_api_call","arguments":{{{put},"data":{{"delete":[{{"a":1,"a":2}}]}}}}"#),
        &format!(r#""name":"proxmox_api_call","arguments":{{{put},"data":"{{\"cores\":1,\"cores\":2}}"}}"#),
        &format!(
            r#""name":"proxmox_api_call","arguments":{{{put},"data":"{{\"net0\":{{\"model\":1,\"model\":2}}}}"}}"#
        ),
        &format!(
            r#""name":"proxmox_api_call","arguments":{{{put},"data":{{"net0":"{{\"model\":1,\"mod\\u0065l\":2}}"}}}}"#
        ),
        r#""name":"proxmox_api_call","arguments":"{\"path\":\"/version\",\"path\":\"/nodes\"}""#,
        r#""name":"proxmox_api_get","arguments":{"path":"/nodes","params":{"a":1,"a":1}}"#,
        r#""name":"proxmox_api_get","arguments":{"paths":["/nodes"],"fields":"[{\"a\":1,\"a\":1}]"}"#,
        r#""name":"proxmox_api_get","arguments":{"path":"/nodes"},"_meta":{"progressToken":1,"progressToken":2}"#,
        r#""name":"proxmox_api_get","arguments":{"path":"/nodes"},"inputResponses":{"a":{"b":1,"b":2}}"#,
    ] {
        let answer = lab.send(params);
        let error = answer["error"]["message"].as_str().unwrap_or_else(|| full_text(&answer));
        assert!(answer.get("error").is_some() || answer["result"]["isError"] == true, "{params}: {answer}");
        assert!(error.contains(" twice"), "{params}: {error}");
        let sent: Vec<_> = lab.node.requests().into_iter().filter(|request| !is_lookup(request)).collect();
        assert!(sent.is_empty(), "{params}: {sent:?}");
    }
    // The same name in different objects is not a duplicate.
    let answer = lab.call(
        "proxmox_api_call",
        &format!(r#"{{{put},"data":{{"net0":{{"model":"e1000"}},"net1":{{"model":"e1000"}}}}}}"#),
    );
    assert_eq!(answer["result"].get("isError"), None, "{answer}");
}

#[test]
fn arguments_may_be_json_text_or_absent() {
    let lab = Lab::start();
    for arguments in [
        r#"{"path":"/version"}"#,
        r#""{\"path\":\"/version\"}""#,
        r#"" {\"path\": \"/version\"} ""#,
        r#"{"path":["/version"]}"#,
        r#"{"path":"/version","paths":[],"params":"","fields":null,"limit":"0","format":"JSON"}"#,
        r#"{"path":"","paths":"/version"}"#,
        r#"{"paths":"[\"/version\"]","params":"{}","sort":"[]"}"#,
    ] {
        let answer = lab.call("proxmox_api_get", arguments);
        assert!(answer["result"].get("isError").is_none() && full_text(&answer).contains("version"), "{answer}");
    }
    for absent in [r#""""#, "null", "{}", "[]", r#""{}""#, r#""null""#, r#""[]""#] {
        let answer = lab.call("list_clusters", absent);
        assert!(full_text(&answer).starts_with("name\t"), "{absent}: {answer}");
    }
    assert!(full_text(&lab.send(r#""name":"list_clusters""#)).starts_with("name\t"));
    for wrong in ["7", "true", r#""path=/version""#, "[1]", r#""[1]""#, r#""{\"path\"""#] {
        let answer = lab.call("proxmox_api_get", wrong);
        assert_eq!(answer["error"]["code"], -32602, "{wrong}: {answer}");
        let error = answer["error"]["message"].as_str().expect("a message");
        assert_eq!(error, "arguments must be an object, such as {\"name\": \"value\"}", "{wrong}");
    }
}

#[test]
fn values_for_proxmox_are_sent_as_what_they_mean() {
    let lab = Lab::start();
    let put =
        |data: &str| lab.change(&format!(r#"{{"path":"/nodes/pve1/qemu/100/config","method":"put","data":{data}}}"#));
    for (data, form, note) in [
        (r#"{"cores":"4"}"#, "cores=4", ""),
        (r#"{"onboot":"true"}"#, "onboot=1", ""),
        (r#""{\"onboot\":false}""#, "onboot=0", ""),
        (r#"{"name":"007"}"#, "name=007", ""),
        (r#"{"description":"[1]"}"#, "description=%5B1%5D", ""),
        (r#"{"description":12345678901234567890123}"#, "description=12345678901234567890123", ""),
        (r#"{"description":18446744073709551615}"#, "description=18446744073709551615", ""),
        (r#"{"delete":["tags","net1"]}"#, "delete=tags%2Cnet1", "`delete` was sent as a text with commas"),
        (r#"{"delete":"[\"tags\",\"net1\"]"}"#, "delete=tags%2Cnet1", "`delete` was sent as a text with commas"),
        (r#"{"net0":{"model":"virtio","tag":null}}"#, "net0=model%3Dvirtio", "`net0` was sent as key=value,…"),
        (r#"{"net0":"{\"model\":\"virtio\"}"}"#, "net0=model%3Dvirtio", "`net0` was sent as key=value,…"),
    ] {
        let (writes, text) = put(data);
        assert_eq!(writes, [format!("PUT /api2/json/nodes/pve1/qemu/100/config {form}")], "{data}: {text}");
        assert_eq!(text.contains("was sent as"), !note.is_empty(), "{data}: {text}");
        assert!(text.contains(note), "{data}: {text}");
    }
    for (data, part) in [
        (r#"{"tags":null}"#, "`tags` is null: leave it out; to unset an option pass its name in `delete`"),
        (r#"{"name":["a","b"]}"#, "`name` must be"),
        (r#"{"net0":[1,2]}"#, "`net0` must be a property string such as key=value,key=value"),
        (r#"{"delete":{"tags":true}}"#, "`delete` must be a list"),
        (r#"{"cores":true}"#, "`cores` must be an integer of at least 1, not true"),
        (r#"[{"cores":1},{"cores":2}]"#, "data must be an object such as {\"name\": \"value\"}"),
    ] {
        let (writes, text) = put(data);
        assert!(writes.is_empty() && text.contains(part), "{data}: {writes:?} {text}");
    }
    let vzdump = |vmid: &str| {
        lab.change(&format!(r#"{{"path":"/nodes/pve1/vzdump","method":"POST","data":{{"vmid":{vmid}}}}}"#)).0
    };
    for vmid in [r#"["100","101"]"#, r#""[100,\"101\"]""#, r#""100,101""#] {
        assert_eq!(vzdump(vmid), ["POST /api2/json/nodes/pve1/vzdump vmid=100%2C101&remove=0"], "{vmid}");
    }
}

#[test]
fn arguments_that_clients_add_are_ignored_and_said() {
    let lab = Lab::start();
    let added = r#""toolCallId":"call_1","sessionId":"abc","action":"sendMessage","chatInput":"restart it""#;
    let note = r#"ignored, as this tool has no such argument: "action", "chatInput", "sessionId", "toolCallId""#;
    for (tool, own) in [
        ("list_clusters", ""),
        ("list_nodes", ""),
        ("get_cluster_resources", r#","type":"vm""#),
        ("find_guest", r#","query":"web""#),
        ("search_api", r#","query":"snapshot""#),
        ("describe_api", r#","path":"/version""#),
        ("proxmox_api_get", r#","path":"/version""#),
        ("proxmox_api_call", r#","path":"/version""#),
    ] {
        let answer = lab.call(tool, &format!("{{{added}{own}}}"));
        assert!(answer["result"].get("isError").is_none() && full_text(&answer).contains(note), "{tool}: {answer}");
    }
    let answer = lab.call("proxmox_api_get", r#"{"path":"/version","explanation":"because"}"#);
    assert!(full_text(&answer).contains("no such argument: \"explanation\""), "{answer}");
    lab.node.requests();
    for (tool, arguments) in [
        ("proxmox_api_call", r#"{"path":"/version","explanation":"because"}"#),
        ("proxmox_api_call", r#"{"path":"/nodes/pve1/qemu/100/status/stop","method":"POST","dryrun":true}"#),
        // The argument of another tool, and a misspelt one.
        ("proxmox_api_get", r#"{"path":"/version","method":"POST"}"#),
        ("proxmox_api_get", r#"{"path":"/version","feilds":"a"}"#),
    ] {
        let answer = lab.call(tool, arguments);
        assert!(full_text(&answer).contains("unknown argument"), "{arguments}: {answer}");
    }
    assert!(lab.node.requests().is_empty());
}
