//! Paths in every spelling: a node receives exactly the operation that was matched and that `dry_run` shows. If
//! `dry_run` rejects a path, nothing is sent.

use crate::support::node::{Node, Request};
use crate::support::proxmox::{is_lookup, operation, proxmox, read, required, segments};
use crate::support::test_tools::product;
use crate::support::tool::{ToolResult, call};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::path::ApiPath;
use proxmox_mcp::pve::schema::embedded_schema;
use serde_json::{Value, json};

const NODES: &[&str] = &["pve1", "pve1", "pve2", "pve3", "{node}", "pve9", "PVE1"];
const GUESTS: &[&str] = &["100", "101", "200", "web01", "DB01", "dns01", "twin", "300", "thin", "999", "nope", "0100"];
const VALUES: &[&str] = &[
    "local",
    "x",
    "local:iso/x.iso",
    "10.0.0.0/24",
    "root@pam",
    "jörg@pve",
    "100%",
    "%2e%2e",
    "..",
    ".",
    "a b",
    "a?b",
    "{name}",
    "<id>",
    "config",
    "status",
    "UPID:pve2:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!admin:",
];

/// A change to a well-formed path.
#[derive(Clone, Debug)]
enum PathChange {
    /// This character percent-encoded, once or twice.
    Encode(Index, bool),
    /// Every slash percent-encoded.
    Slashes(&'static str),
    /// A text inserted in the middle.
    Insert(Index, &'static str),
    /// A text inserted at the start.
    Front(&'static str),
    /// A text appended.
    Back(&'static str),
    /// This character in the other case.
    Case(Index),
    /// This segment removed or duplicated.
    Segment(Index, bool),
}

fn any_change() -> impl Strategy<Value = PathChange> {
    const BETWEEN: &[&str] = &[
        "/",
        "//",
        "/./",
        "/../",
        ".",
        "..",
        "%2e%2e/",
        "%2F",
        "%252F",
        "/%2e/",
        ";",
        "%00",
        "%0a",
        "\t",
        "\u{7f}",
        "é",
        "%C3%A9",
        "\u{202e}",
        "%",
        "%zz",
        "?",
        "#",
        "%3F",
        "%23",
        "&",
        " ",
        "+",
        "\\",
        "{x}",
        ":",
        "/config/../",
    ];
    const FRONT: &[&str] = &[
        "/api2/json",
        "api2/json/",
        "/api2//json",
        "/API2/json",
        "/api2/extjs",
        "/api2/json/api2/json",
        "/",
        " ",
        "GET ",
        "POST ",
        "delete\t",
        "%2Fapi2%2Fjson",
        "https://pve1:8006/api2/json",
        "/api%32/json",
        "//",
    ];
    const BACK: &[&str] = &[
        "/",
        "//",
        "?",
        "?x=1",
        "?type=vm",
        "?a=%2F..",
        "/..",
        "/%2e%2e",
        "%00",
        "#x",
        "\n",
        "/status/stop",
        "%2Fconfig",
    ];
    let index = any::<Index>;
    prop_oneof![
        4 => (index(), any::<bool>()).prop_map(|(at, twice)| PathChange::Encode(at, twice)),
        1 => select(&["//", "%2F", "%2f", "%252F", "/./", "///", "\\"][..]).prop_map(PathChange::Slashes),
        2 => (index(), select(BETWEEN)).prop_map(|(at, text)| PathChange::Insert(at, text)),
        2 => select(FRONT).prop_map(PathChange::Front),
        2 => select(BACK).prop_map(PathChange::Back),
        1 => index().prop_map(PathChange::Case),
        1 => (index(), any::<bool>()).prop_map(|(at, twice)| PathChange::Segment(at, twice)),
    ]
}

fn change_path(path: String, change: &PathChange) -> String {
    let chars: Vec<char> = path.chars().collect();
    let split = |at: &Index| {
        let at = at.index(chars.len().max(1)).min(chars.len());
        (chars[..at].iter().collect::<String>(), chars[at..].iter().collect::<String>())
    };
    let first = |text: &str| {
        text.chars().next().map_or((String::new(), String::new()), |c| (c.to_string(), text[c.len_utf8()..].into()))
    };
    match change {
        PathChange::Encode(at, twice) => {
            let (before, rest) = split(at);
            let (this, after) = first(&rest);
            let percent = if *twice { "%25" } else { "%" };
            let lower = this.len() % 2 == 0;
            let code: String = this
                .bytes()
                .map(|b| if lower { format!("{percent}{b:02x}") } else { format!("{percent}{b:02X}") })
                .collect();
            before + &code + &after
        }
        PathChange::Slashes(with) => path.replace('/', with),
        PathChange::Insert(at, text) => {
            let (before, after) = split(at);
            before + text + &after
        }
        PathChange::Front(text) => format!("{text}{path}"),
        PathChange::Back(text) => format!("{path}{text}"),
        PathChange::Case(at) => {
            let (before, rest) = split(at);
            let (this, after) = first(&rest);
            let other = if this == this.to_uppercase() { this.to_lowercase() } else { this.to_uppercase() };
            before + &other + &after
        }
        PathChange::Segment(at, twice) => {
            let mut parts: Vec<&str> = path.split('/').collect();
            let at = at.index(parts.len());
            match twice {
                true => parts.insert(at, parts[at]),
                false => _ = parts.remove(at),
            }
            parts.join("/")
        }
    }
}

/// Generates the index of an operation, and a path that may or may not belong to it.
fn any_typed_path() -> impl Strategy<Value = (usize, String)> {
    let values = (select(NODES), select(GUESTS), prop::collection::vec(select(VALUES), 4));
    let changes = prop::collection::vec(any_change(), 0..4);
    (any::<Index>(), values, any::<bool>(), changes).prop_map(|(at, (node, guest, values), short, changes)| {
        let at = at.index(embedded_schema().len());
        let mut values = values.into_iter();
        let fill = |segment: &str| match segment {
            "{node}" => node.to_owned(),
            "{vmid}" => guest.to_owned(),
            "{upid}" => VALUES[VALUES.len() - 1].to_owned(),
            s if s.starts_with('{') => values.next().unwrap_or("x").to_owned(),
            s => s.to_owned(),
        };
        let template = embedded_schema().operation(at).unwrap().template();
        let mut path = template.split('/').map(fill).collect::<Vec<_>>().join("/");
        if short && template.contains("{vmid}") {
            path = path.replacen(&format!("/nodes/{node}"), "", 1);
        }
        (at, changes.iter().fold(path, change_path))
    })
}

#[test]
fn accepted_path_is_read_by_a_node_as_it_was_matched() {
    let (taken, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let config = Config { cases: 4_000, failure_persistence: None, ..Config::default() };
    let any_text = prop_oneof![9 => any_typed_path().prop_map(|(_, path)| path), 1 => "[/a-z0-9.%{}:?#é \\\\]{0,40}", 1 => "\\PC{0,30}|.{0,30}"];
    let run = TestRunner::new(config).run(&any_text, |typed| {
        let Ok((path, _)) = ApiPath::parse(&typed) else {
            refused.set(refused.get() + 1);
            return Ok(());
        };
        taken.set(taken.get() + 1);
        let matched: Vec<String> = path.segments().map(|s| s.into_owned()).collect();
        // The node's reading of the sent path, and of the typed path as if it had been sent.
        prop_assert_eq!(&read(path.as_str()), &matched);
        let mut raw = read(typed.trim().split('?').next().unwrap());
        if raw.first().is_some_and(|s| s == "api2") {
            raw.drain(..2);
        }
        prop_assert_eq!(&raw, &matched);
        prop_assert!(path.as_str().bytes().all(|b| b.is_ascii_graphic() && !b"?#\\\"<>".contains(&b)), "{}", path);
        prop_assert!(matched.iter().all(|s| s != "." && s != ".." && !s.chars().any(char::is_control)));
        for method in Method::ALL {
            prop_assert_eq!(operation(method.as_str(), &matched), operation(method.as_str(), &read(path.as_str())));
        }
        prop_assert_eq!(&ApiPath::from_segments(&matched), &Ok(path));
        Ok(())
    });
    run.unwrap();
    assert!(taken.get() > 1_000 && refused.get() > 300, "{} taken, {} refused", taken.get(), refused.get());
}

/// Returns method and path in the result of a dry run.
fn shown_operation(result: &ToolResult) -> (String, String) {
    let request = result.text.lines().find_map(|line| {
        let (method, rest) = line.split_once(' ')?;
        let path = rest.split(' ').next().filter(|path| path.starts_with('/'))?;
        Method::from_name(method).map(|_| (method.to_owned(), path.to_owned()))
    });
    request.unwrap_or_else(|| panic!("{result:?}"))
}

/// Calls `tool` and returns its result and the requests it caused.
fn record_call(server: &McpServer, node: &Node, tool: &str, arguments: Value) -> (ToolResult, Vec<Request>) {
    let before = node.requests().len();
    let text = call(server, tool, arguments);
    (text, node.requests().split_off(before))
}

#[test]
fn every_path_reaches_the_operation_that_dry_run_shows() {
    let node = proxmox();
    let server = product(vec![node.cluster_settings()]);
    // The schema is fetched before requests are counted.
    assert!(!call(&server, "describe_api", json!({"path": "/version"})).failed);
    let (sent, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&any_typed_path(), |(at, path)| {
        let operation_meant = embedded_schema().operation(at).unwrap();
        let (method, data) = (operation_meant.method(), required(&operation_meant));
        let mut arguments = json!({"path": path, "method": method.as_str(), "data": data});
        if path.starts_with(|c: char| c.is_alphabetic()) {
            // A method may precede the path.
            arguments.as_object_mut().unwrap().remove("method");
        }
        let mut dry = arguments.clone();
        dry["dry_run"] = true.into();
        let (dry, looks) = record_call(&server, &node, "proxmox_api_call", dry);
        // A dry run of a change looks its object up. The typed method may be another one than that of the operation.
        let is_change = dry.failed || shown_operation(&dry).0 != "GET" || !operation_meant.risk().is_read_only();
        let is_harmless = |look: &Request| is_lookup(look) || (look.method == "GET" && is_change);
        prop_assert!(looks.iter().all(is_harmless), "{looks:?}");
        let (real, requests) = record_call(&server, &node, "proxmox_api_call", arguments.clone());
        // A change that the node refuses is sent, if no question would be asked.
        if dry.failed && dry.text.contains(" would fail: ") {
            return Ok(());
        }
        if dry.failed {
            refused.set(refused.get() + 1);
            let is_silent = |r: &Request| is_lookup(r) || (r.method == "GET" && method != Method::Get);
            prop_assert!(real.failed && requests.iter().all(is_silent), "{dry:?} but {requests:?}");
            prop_assert_eq!(dry.text, real.text);
            return Ok(());
        }
        sent.set(sent.get() + 1);
        let (method, path) = shown_operation(&dry);
        // Before a change by name the config of the guest is read, which may be the path of the change itself.
        let is_meant = |r: &Request| r.method == method && r.path() == format!("/api2/json{path}");
        // The object of a change is read before and after it.
        let is_read_of_change = |r: &Request| method != "GET" && r.method == "GET";
        // A read that is sent again to another node is no fact.
        let asked = read(&path);
        let is_again = |r: &Request| {
            let is = segments(r);
            is.len() == asked.len() && is.first() == asked.first() && is.last() == asked.last()
        };
        let is_aside = |r: &Request| is_lookup(r) || is_read_of_change(r) || is_fact(r) && !is_again(r);
        let mut requests = requests.into_iter().filter(|r| is_meant(r) || !is_aside(r));
        let first = requests.next();
        prop_assert!(first.is_some(), "{dry:?}, {real:?}");
        let first = first.unwrap();
        prop_assert_eq!((&first.method, first.path()), (&method, &*format!("/api2/json{path}")));
        prop_assert_eq!(operation(&first.method, &segments(&first)), operation(&method, &read(&path)));
        prop_assert!(operation(&method, &read(&path)).1.is_some());
        // If Proxmox reports that the guest is elsewhere, the GET is sent again to the guest's node.
        for again in requests {
            let (was, is) = (read(&path), segments(&again));
            prop_assert!(again.method == "GET" && method == "GET" && was.get(4..) == is.get(4..) && was[0] == is[0]);
            prop_assert!(
                operation("GET", &is).1.is_some() && real.more.iter().any(|m| m.contains("was asked for there")),
                "{real:?}"
            );
        }
        Ok(())
    });
    run.unwrap();
    assert!(sent.get() > 40 && refused.get() > 40, "{} sent, {} refused", sent.get(), refused.get());
}

#[test]
fn get_only_reads_for_any_path() {
    let node = proxmox();
    let server = product(vec![node.cluster_settings()]);
    assert!(!call(&server, "describe_api", json!({"path": "/version"})).failed);
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let method = select(&["", "", "GET ", "POST ", "PUT\t", "delete ", "  PoSt  "][..]);
    let run = TestRunner::new(config).run(&(method, any_typed_path()), |(front, (_, path))| {
        let (result, requests) =
            record_call(&server, &node, "proxmox_api_get", json!({"path": format!("{front}{path}")}));
        prop_assert!(requests.iter().all(|r| r.method == "GET" && r.body.is_empty()), "{requests:?}");
        if !front.trim().is_empty() && front != "GET " {
            // An unknown path may be one of a newer release.
            let is_silent = requests.iter().all(|request| request.target == "/api2/json/version");
            prop_assert!(result.failed && is_silent, "{result:?}");
        }
        Ok(())
    });
    run.unwrap();
}

/// Returns whether a request reads what the answer to another one is explained with: the zone of a node, whether a firewall
/// acts, the free space of a storage, the backup jobs.
fn is_fact(request: &Request) -> bool {
    let segments = segments(request);
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    request.method == "GET"
        && matches!(
            segments[..],
            ["nodes", _, "time"]
                | ["cluster", "backup"]
                | ["nodes", _, "storage", _, "status"]
                | ["nodes", _, _, _, "config"]
                | [.., "firewall", "options"]
        )
}
