//! `proxmox_api_get`: several paths at once, answers shaped as they are wanted, and answers too long for one piece, of
//! which the note leads to the rest.

use crate::support::node::{Node, ScriptedReply};
use crate::support::proxmox::{gzipped_facts, is_lookup, proxmox_with};
use crate::support::raw::eventually;
use crate::support::test_tools::{desk, product};
use crate::support::tool::{ToolResult, call, call_with};
use proxmox_mcp::base::cancel::{CancelReason, CancelToken};
use proxmox_mcp::config::ClusterConfig;
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::mcp::catalog::Catalog;
use proxmox_mcp::pve::Method;
use proxmox_mcp::tools;
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// The path of the long list.
const LIST: &str = "/nodes/pve1/tasks";

/// So many rows as a node lists its tasks.
fn rows(n: usize) -> Vec<Value> {
    let row = |n: usize| {
        json!({"upid": format!("UPID:pve1:{n:08X}:00000000:6B0293BE:qmstart:100:root@pam:"), "node": "pve1", "pid": n,
            "type": if n.is_multiple_of(3) { "vzdump" } else { "qmstart" }, "user": "root@pam", "status": "OK", "n": n,
            "starttime": 1_700_000_000 + n})
    };
    (0..n).map(row).collect()
}

/// A node with a long list at [`LIST`], and a long text, and one path that fails.
fn node(list: Vec<Value>) -> Node {
    let list = Value::from(list).to_string();
    let log: String = (0..5_000).map(|n| format!("line {n} \"ü\"\n")).collect();
    proxmox_with(gzipped_facts(), move |request| match request.path() {
        "/api2/json/nodes/pve1/tasks" => Some(ScriptedReply::data(&list)),
        "/api2/json/nodes/pve1/report" => Some(ScriptedReply::data(&json!(log).to_string())),
        "/api2/json/pools" => Some(ScriptedReply::data("[]")),
        "/api2/json/nodes/pve1/status" => {
            Some(ScriptedReply::refusal(403, "Permission check failed (/nodes/pve1, Sys.Audit)", ""))
        }
        "/api2/json/cluster/status" => {
            Some(ScriptedReply::data(r#"[{"type":"cluster","name":"lab","quorate":1},{"type":"node","name":"pve1"}]"#))
        }
        _ => None,
    })
}

/// With answers of at most so many bytes (0: any).
fn over(node: &Node, cap: usize) -> McpServer {
    let tools = tools::all(&desk(vec![node.cluster_settings()], cap));
    McpServer::new(Catalog { tools, ..Catalog::default() }).expect("a server")
}

#[track_caller]
fn get(server: &McpServer, arguments: Value) -> ToolResult {
    let said = call(server, "proxmox_api_get", arguments);
    assert!(!said.failed, "{said:?}");
    said
}

#[track_caller]
fn why(server: &McpServer, arguments: Value) -> String {
    let said = call(server, "proxmox_api_get", arguments);
    assert!(said.failed, "{said:?}");
    said.text
}

fn json_of(said: &ToolResult) -> Value {
    serde_json::from_str(&said.text).unwrap_or_else(|e| panic!("{e}: {said:?}"))
}

// ---- several paths

#[test]
fn several_paths_are_answered_in_their_order_and_one_that_fails_leaves_the_others() {
    let node = node(rows(2));
    let server = over(&node, 100_000);
    let paths =
        ["/version", "/nodes/pve1/status", "/qemu/web01/config", "/nodes/pve1/nope", "/nodes/pve1/tasks", "/pools"];
    let said = get(&server, json!({"paths": paths}));
    let texts: Vec<&str> = std::iter::once(&said.text).chain(&said.more).map(String::as_str).collect();
    assert_eq!(texts.len(), paths.len(), "{said:?}");
    for (path, text) in paths.iter().zip(&texts) {
        assert!(text.starts_with(&format!("{path}:")), "{path}: {text}");
    }
    assert!(
        texts[0].starts_with("/version:\n{\"version\":") && texts[2] == "/qemu/web01/config:\n\"fine\"",
        "{texts:?}"
    );
    assert!(texts[1].starts_with("/nodes/pve1/status: failed: ") && texts[1].contains("Sys.Audit"), "{}", texts[1]);
    assert!(texts[3].contains("failed: there is no `nope`"), "{}", texts[3]);
    assert!(texts[5].starts_with("/pools:\n[]\n(the list is empty: "), "{}", texts[5]);
}

#[test]
fn twenty_paths_are_answered_and_more_or_none_or_both_are_refused() {
    let node = node(rows(2));
    let server = over(&node, 100_000);
    let twenty: Vec<String> = (0..20).map(|n| format!("/nodes/pve1/tasks?start={n}")).collect();
    let said = get(&server, json!({"paths": twenty}));
    assert_eq!(said.more.len(), 19);
    let before = node.requests().len();
    for (arguments, part) in [
        (json!({"paths": vec!["/version"; 21]}), "paths has 21: give 1 to 20"),
        (json!({"paths": []}), "paths has 0: give 1 to 20"),
        (json!({"path": "/version", "paths": ["/version"]}), "path and paths are both given"),
        (json!({}), "path is missing"),
        (json!({"paths": [7]}), "paths must be a list of strings"),
        (json!({"path": "/version", "method": "POST"}), "unknown argument \"method\""),
        (json!({"path": "/version", "filter": "n"}), "filter"),
    ] {
        let why = why(&server, arguments.clone());
        assert!(why.contains(part), "{arguments}: {why}");
    }
    assert_eq!(node.requests().len(), before, "nothing was asked for");
    assert_eq!(get(&server, json!({"paths": "/version"})).more.len(), 0, "one path is a list of one");
}

#[test]
fn where_every_path_fails_the_call_fails_with_all_of_them() {
    let node = node(rows(2));
    let why = why(&over(&node, 100_000), json!({"paths": ["/nodes/pve1/nope", "/nodes/pve1/status"]}));
    assert!(why.starts_with("/nodes/pve1/nope: there is no `nope`") && why.contains("\n/nodes/pve1/status: "), "{why}");
}

#[test]
fn each_of_several_paths_has_its_share_of_the_answer() {
    let node = node(rows(300));
    let server = over(&node, 10_000);
    let said = get(&server, json!({"paths": [LIST, "/version", LIST, LIST]}));
    for text in std::iter::once(&said.text).chain(&said.more) {
        assert!(text.len() < 2_500 + 400, "{} bytes", text.len());
    }
    assert!(said.more[0].contains("9.2.11") && said.more[2].contains("gives the next"), "{said:?}");
}

#[test]
fn nothing_but_get_is_ever_sent() {
    let node = node(rows(2));
    let server = over(&node, 100_000);
    for method in ["POST", "put", "DELETE"] {
        for path in ["/nodes/pve1/qemu/100/status/stop", "/qemu/web01", "/access/users"] {
            let why = why(&server, json!({"path": format!("{method} {path}")}));
            assert!(why.contains("only reads") && why.contains("proxmox_api_call"), "{why}");
        }
        let why = why(&server, json!({"paths": [format!("{method} /nodes")]}));
        assert!(why.contains("only reads") && why.contains("proxmox_api_call"), "{why}");
    }
    assert!(node.requests().iter().all(is_lookup));
    let stop = why(&server, json!({"path": "/nodes/pve1/qemu/100/status/stop"}));
    assert!(stop.contains("has no GET, it has POST"), "{stop}");
    get(&server, json!({"path": "GET /version"}));
    assert!(node.requests().iter().all(|r| r.method == "GET" && r.body.is_empty()));
    assert!(node.requests().iter().all(is_lookup));
}

#[test]
fn params_and_the_query_of_the_path_go_out_as_one() {
    let node = node(rows(2));
    let server = over(&node, 100_000);
    get(
        &server,
        json!({"path": "/nodes/pve1/tasks?start=5", "params": {"limit": "10", "errors": true, "userfilter": "a&b"}}),
    );
    let target = node.requests().last().unwrap().target.clone();
    assert_eq!(target, "/api2/json/nodes/pve1/tasks?errors=1&limit=10&start=5&userfilter=a%26b");
    let before = node.requests().len();
    assert!(why(&server, json!({"path": "/nodes/pve1/tasks?start=5", "params": {"start": 6}})).contains("given twice"));
    assert!(
        why(&server, json!({"path": "/nodes/pve1/tasks", "params": {"strat": 6}})).contains("did you mean `start`")
    );
    assert_eq!(node.requests().len(), before);
}

// ---- what is shown

#[test]
fn fields_filter_sort_and_pages_shape_the_answer() {
    let node = node(rows(100));
    let server = over(&node, 100_000);
    let view = |more: Value| {
        let mut arguments = json!({"path": LIST});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        get(&server, arguments)
    };
    let said = view(json!({"fields": "n,type", "filter": "type=vzdump,n>10", "sort": "-n", "limit": 2, "offset": 1}));
    assert_eq!(said.text, r#"[{"n":96,"type":"vzdump"},{"n":93,"type":"vzdump"}]"#);
    assert!(
        said.more[0].starts_with("30 of 100 rows match; rows 2..3 of 30 shown: offset=3 gives the next"),
        "{said:?}"
    );
    let said = view(json!({"fields": "n,type", "limit": 2, "format": "table"}));
    assert_eq!(said.text, "n\ttype\n0\tvzdump\n1\tqmstart\n");
    let all = view(json!({}));
    assert_eq!((json_of(&all), all.more.len()), (rows(100).into(), 0), "as it came");
    assert!(why(&server, json!({"path": LIST, "fields": "tpye"})).contains("type"));
    let said = view(json!({"sort": "nope"}));
    assert!(said.more.iter().any(|m| m.contains("no row has the key \"nope\"")), "{said:?}");
}

#[test]
fn an_answer_to_a_change_that_cannot_be_shown_as_wanted_was_done_all_the_same() {
    let node = node(rows(2));
    let arguments = json!({"path": "/access/users", "method": "POST", "data": {"userid": "a@pve"}, "fields": "nope"});
    let said = call(&over(&node, 100_000), "proxmox_api_call", arguments);
    assert!(!said.failed && said.text.starts_with("POST /access/users was done, but "), "{said:?}");
    assert_eq!(node.requests().iter().filter(|r| r.method == Method::Post.as_str()).count(), 1);
}

/// The number after the last `offset=` of a note that says there is more.
fn next(said: &ToolResult) -> Option<u64> {
    let note = said.more.iter().find(|more| more.contains("gives the next"))?;
    let (_, rest) = note.rsplit_once("offset=")?;
    rest.split(' ').next()?.parse().ok()
}

#[test]
fn a_list_that_is_too_long_comes_in_whole_rows_and_the_note_leads_to_all_of_them() {
    let all = rows(600);
    let node = node(all.clone());
    for (cap, format) in [(20_000, "json"), (3_000, "json"), (5_000, "table")] {
        let server = over(&node, cap);
        let (mut seen, mut offset, mut calls) = (Vec::new(), 0, 0);
        loop {
            let arguments = json!({"path": LIST, "offset": offset, "format": format});
            let said = get(&server, arguments);
            assert!(said.text.len() <= cap, "{} bytes", said.text.len());
            if format == "table" {
                let mut lines = said.text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
                let header = lines.next().unwrap();
                let n = header.iter().position(|key| *key == "n").unwrap();
                seen.extend(lines.map(|cells| {
                    assert_eq!(cells.len(), header.len());
                    json!(cells[n].parse::<u64>().unwrap())
                }));
            } else {
                seen.extend(json_of(&said).as_array().unwrap().iter().map(|row| {
                    assert_eq!(row.as_object().unwrap().len(), 8);
                    row["n"].clone()
                }));
            }
            calls += 1;
            assert!(calls < 500, "it does not get on: {said:?}");
            match next(&said) {
                Some(next) => {
                    assert!(next > offset && next == seen.len() as u64, "{said:?}");
                    offset = next;
                }
                None => break,
            }
        }
        assert!(calls > 5 && seen == all.iter().map(|row| row["n"].clone()).collect::<Vec<_>>(), "{cap} {format}");
    }
}

#[test]
fn the_rest_of_a_filtered_list_is_reached_in_the_same_way() {
    let node = node(rows(600));
    let server = over(&node, 700);
    let (mut seen, mut offset) = (Vec::new(), 0);
    loop {
        let said =
            get(&server, json!({"path": LIST, "filter": "type=vzdump", "sort": "-n", "fields": "n", "offset": offset}));
        seen.extend(json_of(&said).as_array().unwrap().iter().map(|row| row["n"].as_u64().unwrap()));
        match next(&said) {
            Some(next) => offset = next,
            None => break,
        }
    }
    assert_eq!(seen, (0..600).rev().filter(|n: &u64| n.is_multiple_of(3)).collect::<Vec<_>>());
}

#[test]
fn a_long_text_comes_in_pieces_that_are_json_and_add_up() {
    let node = node(rows(1));
    let server = over(&node, 20_000);
    let (mut text, mut offset, mut calls) = (String::new(), 0, 0);
    loop {
        let said = get(&server, json!({"path": "/nodes/pve1/report", "offset": offset}));
        assert!(said.text.len() <= 20_000);
        text.push_str(json_of(&said).as_str().unwrap());
        calls += 1;
        match next(&said) {
            Some(next) => offset = next,
            None => break,
        }
    }
    assert!(calls > 3 && text.lines().count() == 5_000 && text.ends_with("line 4999 \"ü\"\n"), "{calls}");
}

#[test]
fn the_first_content_is_json_whatever_the_answer_and_the_cap() {
    let list = json!([{"a": "x".repeat(3_000), "b": {"c": ["y".repeat(500), 1, null]}}, {"a": "z"}]).to_string();
    let (rows, log) = (Value::from(rows(40)).to_string(), json!("a line \"ü\"\n".repeat(5_000)).to_string());
    let node = proxmox_with(gzipped_facts(), move |request| match request.path() {
        "/api2/json/cluster/status" => Some(ScriptedReply::data(&list)),
        "/api2/json/nodes/pve1/tasks" => Some(ScriptedReply::data(&rows)),
        "/api2/json/nodes/pve1/report" => Some(ScriptedReply::data(&log)),
        _ => None,
    });
    for cap in [64, 200, 1_000, 5_000] {
        let server = over(&node, cap);
        for path in [LIST, "/nodes/pve1/report", "/version", "/cluster/status"] {
            let said = get(&server, json!({"path": path}));
            json_of(&said);
            assert!(said.text.len() <= cap.max(80), "{cap} {path}: {} bytes", said.text.len());
        }
    }
}

#[test]
fn the_end_of_a_call_interrupts_every_read_of_it() {
    let node = proxmox_with(gzipped_facts(), |request| request.path().ends_with("/report").then(ScriptedReply::hang));
    let server = product(vec![ClusterConfig { timeout: Duration::from_secs(60), ..node.cluster_settings() }]);
    let (cancel, paths) = (CancelToken::new(), ["/nodes/pve1/report", "/nodes/pve2/report", "/nodes/pve3/report"]);
    let said = thread::scope(|scope| {
        let arguments = json!({"paths": paths});
        let call = scope.spawn(|| call_with(&server, "proxmox_api_get", arguments, cancel.clone(), &|_| ()));
        let reports = || node.requests().iter().filter(|request| request.path().ends_with("/report")).count();
        eventually("every read", || reports() == paths.len());
        let cancelled = Instant::now();
        cancel.cancel(CancelReason::Shutdown);
        let said = call.join().expect("an answer");
        assert!(cancelled.elapsed() < Duration::from_secs(30), "{:?}", cancelled.elapsed());
        said
    });
    assert!(said.failed && said.text.lines().count() == paths.len(), "{said:?}");
}
