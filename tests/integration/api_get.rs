//! `proxmox_api_get`: several paths in one call, formatted answers, and long answers whose note leads to the rest.

use crate::support::node::{Node, ScriptedReply};
use crate::support::proxmox::{gzipped_facts, is_lookup, proxmox_with};
use crate::support::raw::eventually;
use crate::support::test_tools::{product, tool_state};
use crate::support::tool::{ToolResult, as_json, call, call_with};
use proxmox_mcp::base::cancel::{CancelReason, CancelToken};
use proxmox_mcp::config::ClusterConfig;
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::mcp::catalog::Catalog;
use proxmox_mcp::pve::Method;
use proxmox_mcp::tools;
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The path of the long list.
const LIST: &str = "/nodes/pve1/tasks";

/// Returns this number of rows in the form of a node's list of tasks.
fn rows(n: usize) -> Vec<Value> {
    let row = |n: usize| {
        json!({"upid": format!("UPID:pve1:{n:08X}:00000000:6B0293BE:qmstart:100:root@pam:"), "node": "pve1", "pid": n,
            "type": if n.is_multiple_of(3) { "vzdump" } else { "qmstart" }, "user": "root@pam", "status": "OK", "n": n,
            "starttime": 1_700_000_000 + n})
    };
    (0..n).map(row).collect()
}

/// Starts a node with a long list at [`LIST`], a long text, and one path that fails.
fn start_node(list: Vec<Value>) -> Node {
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

/// Returns a server whose answers have at most this number of bytes (0: no limit).
fn start_server(node: &Node, cap: usize) -> McpServer {
    let tools = tools::all(&tool_state(vec![node.cluster_settings()], cap));
    McpServer::new(Catalog { tools, ..Catalog::default() }).expect("a server")
}

#[track_caller]
fn get(server: &McpServer, arguments: Value) -> ToolResult {
    let result = call(server, "proxmox_api_get", as_json(arguments));
    assert!(!result.failed, "{result:?}");
    result
}

#[track_caller]
fn expect_error(server: &McpServer, arguments: Value) -> String {
    let result = call(server, "proxmox_api_get", arguments);
    assert!(result.failed, "{result:?}");
    result.text
}

fn parse_json(result: &ToolResult) -> Value {
    serde_json::from_str(&result.text).unwrap_or_else(|e| panic!("{e}: {result:?}"))
}

// ---- dates

#[test]
fn dates_of_a_log_are_sent_as_proxmox_counts_them() {
    let node = proxmox_with(gzipped_facts(), |request| match request.path() {
        "/api2/json/nodes/pve1/time" => {
            Some(ScriptedReply::data(r#"{"time":1700000000,"localtime":1700003600,"timezone":"Europe/Berlin"}"#))
        }
        _ => None,
    });
    let server = start_server(&node, 0);
    for (path, since, until, sent) in [
        ("tasks", json!("2026-11-28"), json!("2026-11-28"), "since=1795820400&until=1795906799"),
        ("journal", json!("2026-11-28T10:15:30Z"), json!("1795906799"), "since=1795860930&until=1795906799"),
        ("firewall/log", json!(1_795_820_400), json!("2026-11-28 01:00"), "since=1795820400&until=1795824000"),
        ("tasks", json!("2026-11-27"), json!("2026-11-28"), "since=1795734000&until=1795820400"),
        ("journal", json!(1_795_860_930), json!("2026-11"), "since=1795860930&until=1796079599"),
        ("syslog", json!("2026-11-27"), json!("2026-11-28"), "since=2026-11-27&until=2026-11-28"),
        ("journal", json!("2026-11-27 24:00"), json!("2026-11-28 24:00"), "since=1795820400&until=1795906800"),
        (
            "syslog",
            json!("2026-11-27 24:00"),
            json!("2026-11-28 10:15"),
            "since=2026-11-28%2000%3A00%3A00&until=2026-11-28%2010%3A15",
        ),
        (
            "syslog",
            json!("2026-11-28T10:15:30Z"),
            json!("2026-11-28"),
            "since=2026-11-28%2011%3A15%3A30&until=2026-11-28%2023%3A59%3A59",
        ),
    ] {
        let path = format!("/nodes/pve1/{path}");
        node.forget();
        let result =
            call(&server, "proxmox_api_get", json!({"path": path, "params": {"since": since, "until": until}}));
        let targets: Vec<String> = node.requests().into_iter().map(|request| request.target).collect();
        assert!(targets.contains(&format!("/api2/json{path}?{sent}")), "{path}: {targets:?} {result:?}");
    }
}

#[test]
fn times_of_day_are_of_today_and_a_start_is_never_to_come() {
    let node = proxmox_with(gzipped_facts(), |_| None);
    let server = start_server(&node, 0);
    for since in ["00:00", "23:59:59"] {
        let params = json!({"since": since, "until": "24:00"});
        node.forget();
        let result = call(&server, "proxmox_api_get", json!({"path": "/nodes/pve1/tasks", "params": params}));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
        let targets: Vec<String> = node.requests().into_iter().map(|request| request.target).collect();
        let query =
            targets.iter().find_map(|target| target.split_once("/nodes/pve1/tasks?since=")).map(|(_, query)| query);
        let (start, end) = query.and_then(|query| query.split_once("&until=")).expect("a range");
        let (start, end): (u64, u64) = (start.parse().expect("a number"), end.parse().expect("a number"));
        assert!(start <= now && now <= end, "{since}: {start} {now} {end} {result:?}");
        assert!(now - start < 86_401, "{since}: {start} {now}");
    }
}

#[test]
fn last_lines_of_a_journal_are_not_asked_for_with_a_range() {
    let node = start_node(rows(2));
    let server = start_server(&node, 0);
    for (params, sent) in [
        (json!({"lastentries": 5, "since": 1_795_820_400}), "since=1795820400"),
        (json!({"lastentries": 5}), "lastentries=5"),
    ] {
        node.forget();
        let result = call(&server, "proxmox_api_get", json!({"path": "/nodes/pve1/journal", "params": params}));
        let targets: Vec<String> = node.requests().into_iter().map(|request| request.target).collect();
        assert!(targets.contains(&format!("/api2/json/nodes/pve1/journal?{sent}")), "{targets:?}");
        assert_eq!(
            result.more.iter().any(|note| note.starts_with("`lastentries` was left out")),
            sent != "lastentries=5",
            "{result:?}"
        );
    }
}

// ---- several paths

#[test]
fn several_paths_are_answered_in_order_despite_one_failure() {
    let node = start_node(rows(2));
    let server = start_server(&node, 100_000);
    let paths =
        ["/version", "/nodes/pve1/status", "/qemu/web01/config", "/nodes/pve1/nope", "/nodes/pve1/tasks", "/pools"];
    let result = get(&server, json!({"paths": paths}));
    let texts: Vec<&str> = result.text.split("\n\n").collect();
    assert_eq!(texts.len(), paths.len(), "{result:?}");
    for (path, text) in paths.iter().zip(&texts) {
        assert!(text.starts_with(&format!("{path}:")), "{path}: {text}");
    }
    assert!(
        texts[0].starts_with("/version:\n{\"version\":") && texts[2].starts_with("/qemu/web01/config:\n{\"hostname\""),
        "{texts:?}"
    );
    assert!(texts[1].starts_with("/nodes/pve1/status: failed: ") && texts[1].contains("Sys.Audit"), "{}", texts[1]);
    assert!(texts[3].contains("failed: there is no `nope`"), "{}", texts[3]);
    assert_eq!(texts[5], "/pools:\n[]");
}

#[test]
fn path_list_accepts_one_to_twenty_paths() {
    let node = start_node(rows(2));
    let server = start_server(&node, 100_000);
    let twenty: Vec<String> = (0..20).map(|n| format!("/nodes/pve1/tasks?start={n}")).collect();
    let result = get(&server, json!({"paths": twenty}));
    assert_eq!(result.text.split("\n\n").count(), 20);
    let before = node.requests().len();
    for (arguments, part) in [
        (json!({"paths": vec!["/version"; 21]}), "paths has 21: give 1 to 20"),
        (json!({"paths": []}), "path is missing"),
        (json!({"path": "/version", "paths": ["/version"]}), "path and paths are both given"),
        (json!({}), "path is missing"),
        (json!({"paths": [null]}), "paths must be a list of strings"),
        (json!({"path": "/version", "method": "POST"}), "unknown argument \"method\""),
        (json!({"path": "/version", "filter": "n"}), "filter"),
    ] {
        let why = expect_error(&server, arguments.clone());
        assert!(why.contains(part), "{arguments}: {why}");
    }
    assert_eq!(node.requests().len(), before, "no request was sent");
    for one in [json!("/version"), json!("[\"/version\"]"), json!(["/version"])] {
        assert!(get(&server, json!({"paths": one})).text.starts_with("/version:\n{"), "{one}");
    }
}

#[test]
fn call_fails_with_every_error_if_every_path_fails() {
    let node = start_node(rows(2));
    let why = expect_error(&start_server(&node, 100_000), json!({"paths": ["/nodes/pve1/nope", "/nodes/pve1/status"]}));
    assert!(why.starts_with("/nodes/pve1/nope: there is no `nope`") && why.contains("\n/nodes/pve1/status: "), "{why}");
}

#[test]
fn several_paths_share_the_size_of_the_answer() {
    let node = start_node(rows(300));
    let server = start_server(&node, 10_000);
    let result = get(&server, json!({"paths": [LIST, "/version", LIST, LIST]}));
    let texts: Vec<&str> = result.text.split("\n\n").collect();
    for text in &texts {
        assert!(text.len() < 2_500 + 400, "{} bytes", text.len());
    }
    assert!(texts[1].contains("9.2.11") && texts[3].contains("gives the next"), "{result:?}");
}

#[test]
fn nothing_but_get_is_ever_sent() {
    let node = start_node(rows(2));
    let server = start_server(&node, 100_000);
    for method in ["POST", "put", "DELETE"] {
        for path in ["/nodes/pve1/qemu/100/status/stop", "/qemu/web01", "/access/users"] {
            let why = expect_error(&server, json!({"path": format!("{method} {path}")}));
            assert!(why.contains("only reads") && why.contains("proxmox_api_call"), "{why}");
        }
        let why = expect_error(&server, json!({"paths": [format!("{method} /nodes")]}));
        assert!(why.contains("only reads") && why.contains("proxmox_api_call"), "{why}");
    }
    assert!(node.requests().iter().all(is_lookup));
    let stop = expect_error(&server, json!({"path": "/nodes/pve1/qemu/100/status/stop"}));
    assert!(stop.contains("has no GET, it has POST"), "{stop}");
    get(&server, json!({"path": "GET /version"}));
    assert!(node.requests().iter().all(|r| r.method == "GET" && r.body.is_empty()));
    assert!(node.requests().iter().all(is_lookup));
}

#[test]
fn params_and_query_of_the_path_are_sent_merged() {
    let node = start_node(rows(2));
    let server = start_server(&node, 100_000);
    get(
        &server,
        json!({"path": "/nodes/pve1/tasks?start=5", "params": {"limit": "10", "errors": true, "userfilter": "a&b"}}),
    );
    let target = node.requests().last().unwrap().target.clone();
    assert_eq!(target, "/api2/json/nodes/pve1/tasks?errors=1&limit=10&start=5&userfilter=a%26b");
    let before = node.requests().len();
    assert!(
        expect_error(&server, json!({"path": "/nodes/pve1/tasks?start=5", "params": {"start": 6}}))
            .contains("given twice")
    );
    assert!(
        expect_error(&server, json!({"path": "/nodes/pve1/tasks", "params": {"strat": 6}}))
            .contains("did you mean `start`")
    );
    assert_eq!(node.requests().len(), before);
}

// ---- formatting

#[test]
fn fields_filter_sort_and_pages_apply_to_the_answer() {
    let node = start_node(rows(100));
    let server = start_server(&node, 100_000);
    let view = |more: Value| {
        let mut arguments = json!({"path": LIST});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        get(&server, arguments)
    };
    let result = view(json!({"fields": "n,type", "filter": "type=vzdump,n>10", "sort": "-n", "limit": 2, "offset": 1}));
    assert_eq!(result.text, r#"[{"n":96,"type":"vzdump"},{"n":93,"type":"vzdump"}]"#);
    assert!(
        result.more[0].starts_with("30 of 100 rows match; rows 2..3 of 30 shown: offset=3 gives the next"),
        "{result:?}"
    );
    let result = view(json!({"fields": "n,type", "limit": 2, "format": "table"}));
    assert_eq!(result.text, "n\ttype\n0\tvzdump\n1\tqmstart");
    let all = view(json!({}));
    assert_eq!((parse_json(&all), all.more.len()), (rows(100).into(), 0), "as it came");
    assert!(expect_error(&server, json!({"path": LIST, "fields": "tpye"})).contains("type"));
    let result = view(json!({"sort": "nope"}));
    assert!(result.more.iter().any(|m| m.contains("no row has the key \"nope\"")), "{result:?}");
}

#[test]
fn change_is_reported_done_if_its_answer_cannot_be_formatted() {
    let node = start_node(rows(2));
    let arguments = json!({"path": "/access/users", "method": "POST", "data": {"userid": "a@pve"}, "fields": "nope"});
    let result = call(&start_server(&node, 100_000), "proxmox_api_call", arguments);
    assert!(!result.failed && result.text.starts_with("POST /access/users was done, but "), "{result:?}");
    assert_eq!(node.requests().iter().filter(|r| r.method == Method::Post.as_str()).count(), 1);
}

/// Returns the number after the last `offset=` of the note about further rows.
fn next_offset(result: &ToolResult) -> Option<u64> {
    let note = result.more.iter().find(|more| more.contains("gives the next"))?;
    let (_, rest) = note.rsplit_once("offset=")?;
    rest.split(' ').next()?.parse().ok()
}

#[test]
fn long_list_is_cut_at_rows_and_its_note_leads_to_the_rest() {
    let all = rows(600);
    let node = start_node(all.clone());
    for (cap, format) in [(20_000, "json"), (3_000, "json"), (2_000, "table")] {
        let server = start_server(&node, cap);
        let (mut seen, mut offset, mut calls) = (Vec::new(), 0, 0);
        loop {
            let arguments = json!({"path": LIST, "offset": offset, "format": format});
            let result = get(&server, arguments);
            assert!(result.text.len() <= cap, "{} bytes", result.text.len());
            if format == "table" {
                let lines = result.text.lines().filter(|line| !line.starts_with("in each row: "));
                let mut lines = lines.map(|line| line.split('\t').collect::<Vec<_>>());
                let header = lines.next().unwrap();
                let n = header.iter().position(|key| *key == "n").unwrap();
                seen.extend(lines.map(|cells| {
                    assert_eq!(cells.len(), header.len());
                    json!(cells[n].parse::<u64>().unwrap())
                }));
            } else {
                seen.extend(parse_json(&result).as_array().unwrap().iter().map(|row| {
                    assert_eq!(row.as_object().unwrap().len(), 8);
                    row["n"].clone()
                }));
            }
            calls += 1;
            assert!(calls < 500, "it does not get on: {result:?}");
            match next_offset(&result) {
                Some(next) => {
                    assert!(next > offset && next == seen.len() as u64, "{result:?}");
                    offset = next;
                }
                None => break,
            }
        }
        assert!(calls > 5 && seen == all.iter().map(|row| row["n"].clone()).collect::<Vec<_>>(), "{cap} {format}");
    }
}

#[test]
fn note_of_a_filtered_list_leads_to_the_rest() {
    let node = start_node(rows(600));
    let server = start_server(&node, 700);
    let (mut seen, mut offset) = (Vec::new(), 0);
    loop {
        let text =
            get(&server, json!({"path": LIST, "filter": "type=vzdump", "sort": "-n", "fields": "n", "offset": offset}));
        seen.extend(parse_json(&text).as_array().unwrap().iter().map(|row| row["n"].as_u64().unwrap()));
        match next_offset(&text) {
            Some(next) => offset = next,
            None => break,
        }
    }
    assert_eq!(seen, (0..600).rev().filter(|n: &u64| n.is_multiple_of(3)).collect::<Vec<_>>());
}

#[test]
fn long_text_is_split_into_json_pieces_that_add_up() {
    let node = start_node(rows(1));
    let server = start_server(&node, 20_000);
    let (mut text, mut offset, mut calls) = (String::new(), 0, 0);
    loop {
        let result = get(&server, json!({"path": "/nodes/pve1/report", "offset": offset}));
        assert!(result.text.len() <= 20_000);
        text.push_str(parse_json(&result).as_str().unwrap());
        calls += 1;
        match next_offset(&result) {
            Some(next) => offset = next,
            None => break,
        }
    }
    assert!(calls > 3 && text.lines().count() == 5_000 && text.ends_with("line 4999 \"ü\"\n"), "{calls}");
}

#[test]
fn first_content_is_json_for_any_answer_and_cap() {
    let list = json!([{"a": "x".repeat(3_000), "b": {"c": ["y".repeat(500), 1, null]}}, {"a": "z"}]).to_string();
    let (rows, log) = (Value::from(rows(40)).to_string(), json!("a line \"ü\"\n".repeat(5_000)).to_string());
    let node = proxmox_with(gzipped_facts(), move |request| match request.path() {
        "/api2/json/cluster/status" => Some(ScriptedReply::data(&list)),
        "/api2/json/nodes/pve1/tasks" => Some(ScriptedReply::data(&rows)),
        "/api2/json/nodes/pve1/report" => Some(ScriptedReply::data(&log)),
        _ => None,
    });
    for cap in [64, 200, 1_000, 5_000] {
        let server = start_server(&node, cap);
        for path in [LIST, "/nodes/pve1/report", "/version", "/cluster/status"] {
            let result = get(&server, json!({"path": path}));
            parse_json(&result);
            assert!(result.text.len() <= cap.max(80), "{cap} {path}: {} bytes", result.text.len());
        }
    }
}

#[test]
fn the_end_of_a_call_interrupts_every_read_of_it_and_begins_no_other() {
    let node = proxmox_with(gzipped_facts(), |request| request.path().ends_with("/rrddata").then(ScriptedReply::hang));
    let server = product(vec![ClusterConfig { timeout: Duration::from_secs(60), ..node.cluster_settings() }]);
    let paths: Vec<_> = (1..=20).map(|n| format!("/nodes/pve1/qemu/{}/rrddata?timeframe=hour", 100 + n)).collect();
    let cancel = CancelToken::new();
    let reports = || node.requests().iter().filter(|request| request.path().ends_with("/rrddata")).count();
    let (result, begun) = thread::scope(|scope| {
        let arguments = json!({"paths": paths});
        let call = scope.spawn(|| call_with(&server, "proxmox_api_get", arguments, cancel.clone(), &|_| ()));
        eventually("as many reads as run at once", || reports() == 8);
        let cancelled = Instant::now();
        cancel.cancel(CancelReason::Shutdown);
        let result = call.join().expect("an answer");
        assert!(cancelled.elapsed() < Duration::from_secs(30), "{:?}", cancelled.elapsed());
        (result, reports())
    });
    assert!(result.failed && paths.iter().all(|path| result.text.contains(path)), "{result:?}");
    assert_eq!(begun, 8, "no read begins after the end");
}

/// Returns the text of an answer in its default form.
#[track_caller]
fn show(server: &McpServer, arguments: Value) -> String {
    let result = call(server, "proxmox_api_get", arguments);
    assert!(!result.failed, "{result:?}");
    result.all_text()
}

#[test]
fn the_newest_tasks_of_a_cluster_are_not_called_all() {
    let answer = |tasks: usize| {
        proxmox_with(gzipped_facts(), move |request| {
            (request.path() == "/api2/json/cluster/tasks").then(|| ScriptedReply::data(&json!(rows(tasks)).to_string()))
        })
    };
    for (tasks, arguments, part, other) in [
        (25, json!({"path": "/cluster/tasks"}), "at most the newest 25 tasks of each node", "all 25 rows"),
        (25, json!({"path": "/cluster/tasks", "filter": "type=vzdump"}), "at most the newest 25 tasks", "all 25 rows"),
        (3, json!({"path": "/cluster/tasks"}), "all 3 rows", "at most"),
    ] {
        let node = answer(tasks);
        let text = show(&start_server(&node, 0), arguments);
        assert!(text.contains(part) && !text.contains(other), "{text}");
    }
}

#[test]
fn the_same_error_of_several_paths_is_said_once() {
    let node = proxmox_with(gzipped_facts(), |request| {
        let path = request.path().strip_prefix("/api2/json").unwrap_or_default();
        path.ends_with("/config")
            .then(|| ScriptedReply::refusal(501, &format!("Method 'GET {path}' not implemented"), r#"{"data":null}"#))
    });
    let server = start_server(&node, 0);
    let paths = ["/nodes/pve1/qemu/100/config", "/nodes/pve1/qemu/104/config"];
    let error = "`GET …` failed (501): \"Method 'GET …' not implemented\". hint: the node has no such operation";
    let text = expect_error(&server, json!({"paths": paths}));
    assert!(text.starts_with(&format!("{}: {error}", paths.join(", "))) && text.lines().count() == 1, "{text}");
    let text = show(&server, json!({"paths": [paths[0], "/version", paths[1]]}));
    assert!(text.contains(&format!("{}: failed: {error}", paths.join(", "))), "{text}");
    assert_eq!(text.matches("not implemented").count(), 1, "{text}");
}

#[test]
fn escapes_of_letters_are_decoded_in_tables_and_objects() {
    let node = proxmox_with(gzipped_facts(), |request| {
        let users = r#"[{"userid":"a@pve","firstname":"Al\u00efce \ud83d\ude80","comment":"\"q\" \/ a\nb"},{"userid":"b@pve"}]"#;
        match request.path() {
            "/api2/json/access/users" => Some(ScriptedReply::data(users)),
            "/api2/json/access/users/a@pve" => Some(ScriptedReply::data(r#"{"firstname":"M\u00fcller \"x\""}"#)),
            _ => None,
        }
    });
    let server = start_server(&node, 0);
    let text = show(&server, json!({"path": "/access/users"}));
    assert!(text.contains("Alïce 🚀") && text.contains(r#""q" / a\nb"#), "{text}");
    let text = show(&server, json!({"path": "/access/users/a@pve"}));
    assert!(text.contains(r#"firstname: Müller "x""#), "{text}");
}

#[test]
fn a_firewall_is_said_to_act_only_if_all_that_it_needs_is_on() {
    let on = json!({"enable": 1});
    let card = |firewall: &str| json!({"net0": format!("virtio=BC:24:11:00:01:00,bridge=vmbr0{firewall}"), "net1": "bridge=vmbr1"});
    for (cluster, guest, config, expected) in [
        (on.clone(), on.clone(), card(",firewall=1"), "in effect on net0"),
        (json!({}), on.clone(), card(",firewall=1"), "not in effect: the firewall of the data center is off"),
        (
            on.clone(),
            json!({}),
            card(",firewall=1"),
            "not in effect: enable is not 1 in the firewall options of the guest",
        ),
        (
            json!({"enable": 0}),
            on.clone(),
            card(""),
            "not in effect: the firewall of the data center is off (/cluster/firewall/options), and no network card has firewall=1",
        ),
    ] {
        let node = proxmox_with(gzipped_facts(), move |request| {
            let rules = json!([{"pos": 0, "type": "in", "action": "ACCEPT", "enable": 1}]);
            let data = match request.path().strip_prefix("/api2/json").unwrap_or_default() {
                "/cluster/firewall/options" => &cluster,
                "/nodes/pve1/qemu/100/firewall/options" => &guest,
                "/nodes/pve1/qemu/100/firewall/rules" => &rules,
                "/nodes/pve1/qemu/100/config" => &config,
                _ => return None,
            };
            Some(ScriptedReply::data(&data.to_string()))
        });
        let server = start_server(&node, 0);
        for part in ["options", "rules"] {
            let text = show(&server, json!({"path": format!("/nodes/pve1/qemu/100/firewall/{part}")}));
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}

#[test]
fn columns_without_a_value_are_named() {
    let node = proxmox_with(gzipped_facts(), |request| match request.path() {
        "/api2/json/nodes/pve1/lxc/200/interfaces" => Some(ScriptedReply::data(
            r#"[{"name":"lo","hwaddr":"00:00","hardware-address":"00:00","ip-addresses":[]},{"name":"eth0","hwaddr":"bc:24","hardware-address":"bc:24","ip-addresses":[]}]"#,
        )),
        "/api2/json/nodes/pve1/network" => Some(ScriptedReply::data(
            r#"[{"iface":"vmbr0","type":"bridge","bridge_ports":"","bridge_fd":"0"},{"iface":"vmbr1","type":"bridge","bridge_ports":"","bridge_fd":"0"}]"#,
        )),
        _ => None,
    });
    let server = start_server(&node, 0);
    let text = show(&server, json!({"path": "/nodes/pve1/lxc/200/interfaces"}));
    assert!(text.contains("empty: ip-addresses") && text.matches("bc:24").count() == 1, "{text}");
    let text = show(&server, json!({"path": "/nodes/pve1/network"}));
    assert!(text.contains("empty: bridge_ports; nothing but 0: bridge_fd"), "{text}");
    assert!(text.contains("no change is pending"), "{text}");
}

#[test]
fn a_container_without_a_size_is_not_shown_as_large_as_its_storage() {
    let rows = json!([
        {"id": "node/pve1", "type": "node", "node": "pve1", "status": "online"},
        {"id": "storage/pve1/local", "type": "storage", "storage": "local", "node": "pve1", "status": "available", "disk": 17_000_000_000_u64, "maxdisk": 252_000_000_000_u64},
        {"id": "lxc/200", "type": "lxc", "vmid": 200, "node": "pve1", "status": "running", "disk": 17_000_000_000_u64, "maxdisk": 252_000_000_000_u64},
        {"id": "lxc/201", "type": "lxc", "vmid": 201, "node": "pve1", "status": "running", "disk": 1_000_000_000, "maxdisk": 8_000_000_000_u64},
    ]);
    let node = proxmox_with(gzipped_facts(), move |request| {
        (request.path() == "/api2/json/cluster/resources").then(|| ScriptedReply::data(&rows.to_string()))
    });
    let text = call(&start_server(&node, 0), "get_cluster_resources", json!({})).all_text();
    assert!(text.contains("so that disk is the whole file system of the storage: lxc/200\n"), "{text}");
    assert!(text.contains(" used (type=storage has what is available)"), "{text}");
}

#[test]
fn guests_without_snapshots_are_named_in_place_of_their_rows() {
    let node = proxmox_with(gzipped_facts(), |request| {
        let current = r#"{"name":"current","description":"You are here!","running":1}"#;
        let path = request.path().strip_prefix("/api2/json/nodes/pve1/").unwrap_or_default();
        let rows = match path {
            "qemu/100/snapshot" => {
                format!(r#"[{{"name":"before","snaptime":1795856078,"description":"x"}},{current}]"#)
            }
            "qemu/104/snapshot" | "lxc/200/snapshot" => format!("[{current}]"),
            _ => return None,
        };
        Some(ScriptedReply::data(&rows))
    });
    let paths =
        |guests: &[&str]| guests.iter().map(|guest| format!("/nodes/pve1/{guest}/snapshot")).collect::<Vec<_>>();
    let server = start_server(&node, 0);
    let text = show(&server, json!({"paths": paths(&["qemu/100", "qemu/104", "lxc/200"])}));
    assert!(text.contains("no snapshots: qemu/104, lxc/200") && text.matches("You are here!").count() == 1, "{text}");
    assert!(text.contains("before"), "{text}");
    let text = show(&server, json!({"paths": paths(&["qemu/104", "lxc/200"])}));
    assert!(text.contains("You are here!"), "{text}");
}

#[test]
fn options_that_only_a_few_of_many_guests_have_share_one_column() {
    let node = proxmox_with(gzipped_facts(), |request| {
        let config = match request.path().strip_prefix("/api2/json/nodes/pve1/qemu/")? {
            "100/config" => json!({"name": "a", "cores": 1, "scsihw": "virtio-scsi-single", "sockets": 1}),
            "101/config" => json!({"name": "b", "cores": 2}),
            "102/config" => json!({"name": "c", "cores": 1, "bios": "ovmf", "machine": "q35", "args": "x; y: z"}),
            "103/config" => json!({"name": "d", "cores": 2}),
            "104/config" => json!({"name": "e", "cores": 2, "ciuser": "debian"}),
            _ => return None,
        };
        Some(ScriptedReply::data(&config.to_string()))
    });
    let paths = |guests: u16| (100..100 + guests).map(|vmid| format!("/nodes/pve1/qemu/{vmid}/config")).collect();
    let (many, few): (Vec<String>, Vec<String>) = (paths(5), paths(3));
    let server = start_server(&node, 0);
    let text = show(&server, json!({"paths": many}));
    // A value that looks like two options keeps its column.
    let table = "vmid\tname\tcores\targs\tothers\n\
        100\ta\t1\t-\tsockets: 1; scsihw: virtio-scsi-single\n\
        101\tb\t2\t-\t-\n\
        102\tc\t1\tx; y: z\tbios: ovmf; machine: q35\n\
        103\td\t2\t-\t-\n\
        104\te\t2\t-\tciuser: debian\n";
    assert!(text.contains(table), "{text}");
    let text = show(&server, json!({"paths": many, "fields": "name,bios"}));
    assert!(text.contains("vmid\tname\tbios\n"), "{text}");
    assert!(!show(&server, json!({"paths": few})).contains("others"));
}

#[test]
fn a_paused_vm_and_an_enabled_agent_are_not_taken_for_running_ones() {
    let node = proxmox_with(gzipped_facts(), |request| {
        let data = match request.path().strip_prefix("/api2/json/nodes/pve1/qemu")? {
            "/100/status/current" => json!({"status": "running", "qmpstatus": "paused", "agent": 1}),
            "/101/status/current" => json!({"status": "running", "qmpstatus": "running"}),
            "" => json!([{"vmid": 100, "status": "running"}, {"vmid": 102, "status": "stopped"}]),
            _ => return None,
        };
        Some(ScriptedReply::data(&data.to_string()))
    });
    let server = start_server(&node, 0);
    let read =
        |path: &str, fields: &str| show(&server, json!({"path": format!("/nodes/pve1/qemu{path}"), "fields": fields}));
    let (paused, agent) = ("the VM is paused", "agent yes: enabled in the config");
    let text = read("/100/status/current", "");
    assert!(text.contains(paused) && text.contains(agent), "{text}");
    let text = read("/100/status/current", "status");
    assert!(text.contains(paused) && !text.contains(agent), "{text}");
    let text = read("/101/status/current", "");
    assert!(!text.contains("the VM is") && !text.contains("agent"), "{text}");
    let list = "status running can be a paused VM";
    assert!(read("", "").contains(list) && read("", "vmid,status").contains(list));
    assert!(!read("", "vmid").contains(list));
}

#[test]
fn a_long_value_of_all_rows_is_a_line_and_addresses_of_certificates_are_short() {
    let issuer = "/CN=Proxmox Virtual Environment/OU=271fedec/O=PVE Cluster Manager CA";
    let rows = json!([
        {"filename": "pve-root-ca.pem", "subject": issuer, "issuer": issuer, "notafter": 2_111_100_394, "san": []},
        {"filename": "pve-ssl.pem", "subject": "/CN=pve1", "issuer": issuer, "notafter": 1_858_812_394,
            "san": ["0000:0000:0000:0000:0000:0000:0000:0001", "10.0.0.1", "pve1"]},
    ]);
    let node = proxmox_with(gzipped_facts(), move |request| {
        request.path().ends_with("/certificates/info").then(|| ScriptedReply::data(&rows.to_string()))
    });
    let text = show(&start_server(&node, 0), json!({"path": "/nodes/pve1/certificates/info"}));
    assert!(text.starts_with(&format!("in each row: issuer: {issuer}\nfilename\tsubject\tnotafter\tsan\n")), "{text}");
    assert!(text.contains("\t::1, 10.0.0.1, pve1\n"), "{text}");
}
