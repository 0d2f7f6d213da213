//! The token's secret is sent to its node only. The environment cannot redirect it.

use crate::support::node::{Node, SECRET, ScriptedReply, closed_endpoint};
use crate::support::own_process::in_own_process_with;
use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::base::secret::Secret;
use proxmox_mcp::config::{self, Limits};
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::client::cluster::Cluster;
use proxmox_mcp::pve::params::ApiParams;
use proxmox_mcp::pve::path::ApiPath;
use std::process::Command;

fn errors(node: &Node, cluster: &Cluster) -> String {
    let mut seen = String::new();
    for method in Method::ALL {
        let path = ApiPath::parse(&format!("/{SECRET}/x")).unwrap().0;
        let mut params = ApiParams::new();
        params.push("password", "value-canary");
        let result = cluster.call(method, &path, &params, &CancelToken::new());
        let error = result.expect_err("every answer here is a failure");
        // The path comes from the caller. Only text from other sources counts.
        let mine = |text: String| text.replace(&format!("/{SECRET}/x"), "");
        seen += &mine(format!("{error}\n{error:?}\n{:?}\n", error.detail()));
    }
    assert!(!node.requests().is_empty());
    seen
}

#[test]
fn echoed_secret_is_in_no_error() {
    for (status, echo_in_body) in [(200, true), (400, true), (403, false), (500, true), (500, false), (401, false)] {
        let node = Node::start(move |request| {
            let echo = request.header("authorization").unwrap().to_owned();
            let body = match status {
                400 => format!(r#"{{"errors":{{"{echo}":"{echo}"}},"message":"{echo}"}}"#),
                // A JSON string, which a JSON parser would quote in its error.
                _ => format!("{echo:?}"),
            };
            let (phrase, body) = if echo_in_body { ("", body) } else { (echo.as_str(), String::new()) };
            ScriptedReply::answer(status, phrase, &[], body)
        });
        let cluster = Cluster::new(node.cluster_settings(), &Limits::default()).unwrap();
        let text = errors(&node, &cluster);
        assert!(!text.contains(SECRET) && !text.contains("value-canary"), "{status}: {text}");
        assert!(text.contains("(secret)"), "{status}: {text}");
    }
}

#[test]
fn echoed_secret_is_in_no_answer() {
    for envelope in [
        r#"{"data":{"request":"ECHO"}}"#,
        r#"{"data":["ECHO","ECHO"]}"#,
        r#"{"data":{"ECHO":1}}"#,
        r#"{"total":1,"data":[{"t":"ECHO"}]}"#,
        r#"{"data":[],"changes":"ECHO","total":0}"#,
    ] {
        let node = Node::start(move |request| {
            // Far from the start: the whole answer is searched.
            let body = envelope.replace("ECHO", request.header("authorization").unwrap());
            ScriptedReply::body(format!("{}{body}", " ".repeat(100_000)))
        });
        let cluster = Cluster::new(node.cluster_settings(), &Limits::default()).unwrap();
        for method in Method::ALL {
            let answer = cluster.call(method, &ApiPath::parse("/x").unwrap().0, &ApiParams::new(), &CancelToken::new());
            let answer = answer.unwrap();
            let text = format!("{}{}{answer:?}", answer.data(), answer.payload());
            assert!(!text.contains(SECRET), "{envelope}");
            let replaced = envelope.replace("ECHO", "PVEAPIToken=root@pam!mcp=(secret)");
            assert!(replaced.contains(answer.data()), "{envelope}: {}", answer.data());
            assert!(serde_json::from_str::<serde_json::Value>(answer.data()).is_ok(), "{envelope}");
            if envelope.contains("total") {
                assert_eq!(answer.payload().trim(), replaced);
            }
        }
    }
}

#[test]
fn secret_that_is_an_ordinary_word_does_not_alter_answers() {
    let node = Node::start(|_| ScriptedReply::data(r#"{"status":"ok"}"#));
    let settings = config::ClusterConfig { token_secret: Secret::new("s".into()), ..node.cluster_settings() };
    let cluster = Cluster::new(settings, &Limits::default()).unwrap();
    let answer = cluster.call(Method::Get, &ApiPath::parse("/x").unwrap().0, &ApiParams::new(), &CancelToken::new());
    assert_eq!(answer.unwrap().data(), r#"{"status":"ok"}"#);
}

#[test]
fn unsendable_token_is_rejected_without_being_shown() {
    let node = Node::start(|_| ScriptedReply::data("1"));
    let token_secret = Secret::new(format!("{SECRET}\r\nX-Evil: 1"));
    let settings = config::ClusterConfig { token_secret, ..node.cluster_settings() };
    let why = Cluster::new(settings, &Limits::default()).err().unwrap().to_string();
    assert!(why.contains("cluster `test`") && !why.contains(SECRET), "{why}");
}

#[test]
fn settings_and_parameters_do_not_show_their_values() {
    let node = Node::start(|_| ScriptedReply::data("1"));
    assert!(!format!("{:?}", node.cluster_settings()).contains(SECRET));
    let mut params = ApiParams::new();
    params.push("password", SECRET);
    assert!(!format!("{params:?}").contains(SECRET));
}

#[test]
fn proxies_of_the_environment_are_ignored() {
    let with_proxies = |child: &mut Command| {
        let proxy = format!("http://{}", closed_endpoint());
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            child.env(name, &proxy);
        }
        child.env_remove("no_proxy").env_remove("NO_PROXY");
    };
    if in_own_process_with(proxies_of_the_environment_are_ignored, with_proxies) {
        let node = Node::start(|_| ScriptedReply::data("1"));
        let cluster = Cluster::new(node.cluster_settings(), &Limits::default()).unwrap();
        let path = ApiPath::parse("/version").unwrap().0;
        cluster.call(Method::Get, &path, &ApiParams::new(), &CancelToken::new()).unwrap();
    }
}
