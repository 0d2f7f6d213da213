//! Documentation that follows the program: the table of flags from `--help`, the rows of the tools from tools/list.
//!
//! `UPDATE=1 cargo test --test process readme` updates the table of `docs/settings.md`.

use proxmox_mcp::audit::AuditLog;
use proxmox_mcp::config::{ClustersFile, Limits};
use proxmox_mcp::pve::client::manager::ClusterManager;
use proxmox_mcp::pve::demo::Demo;
use proxmox_mcp::tools::ToolState;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).expect(name)
}

/// Returns the flags of `--help` as rows of a Markdown table.
fn settings() -> String {
    let mut help = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
    help.arg("--help");
    for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("PROXMOX_MCP_") || n.starts_with("MCP_")) {
        help.env_remove(name);
    }
    let help = String::from_utf8(help.output().expect("--help").stdout).expect("UTF-8");
    let mut table = String::from("| flag | variable | meaning | default |\n|---|---|---|---|\n");
    let mut lines = help.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(flag) = line.trim_start().strip_prefix("--") else { continue };
        let name = flag.split(' ').next().expect("a name").to_owned();
        let mut text = String::new();
        while let Some(more) =
            lines.next_if(|l| !l.trim_start().starts_with('-') && (l.is_empty() || l.starts_with(' ')))
        {
            let _ = write!(text, " {}", more.trim());
        }
        let field =
            |key: &str| text.split_once(key).and_then(|(_, rest)| rest.split_once(']')).map(|(v, _)| v.to_owned());
        let variable = field("[env: ").unwrap_or_default();
        let meaning = text
            .split("[env: ")
            .next()
            .and_then(|t| t.split("[default: ").next())
            .unwrap_or_default()
            .trim()
            .replace('*', "\\*");
        let code = |text: String| if text.is_empty() { text } else { format!("`{text}`") };
        let default = code(field("[default: ").unwrap_or_default());
        let _ = writeln!(table, "| `--{name}` | {} | {meaning} | {default} |", code(variable));
    }
    table
}

#[test]
fn settings_table_equals_the_help() {
    let (start, end) = ("<!-- settings: made from --help -->\n", "<!-- /settings -->");
    let flags = read("docs/settings.md");
    let (before, rest) = flags.split_once(start).expect("the mark before the table");
    let (table, after) = rest.split_once(end).expect("the mark behind the table");
    let made = settings();
    assert!(made.lines().count() > 20, "{made}");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path("docs/settings.md"), format!("{before}{start}{made}{end}{after}")).expect("to write the page");
    } else {
        assert_eq!(table, made, "stale: UPDATE=1 cargo test --test process readme");
    }
}

#[test]
fn every_tool_is_documented_with_its_parameters() {
    let cluster = Demo::start().expect("the demo cluster").cluster();
    let clusters =
        ClustersFile { default: Some(cluster.name.clone()), clusters: vec![cluster], ..ClustersFile::default() };
    let manager = ClusterManager::new(&clusters, &Limits::default()).expect("a manager");
    let state = ToolState::new(manager, &[], Arc::new(AuditLog::without_file()), 0).expect("the state of the tools");
    let page = read("docs/tools.md");
    for tool in proxmox_mcp::tools::all(&Arc::new(state)) {
        let row = page.lines().find(|l| l.starts_with(&format!("| `{}(", tool.name)));
        let row = row.unwrap_or_else(|| panic!("no row for {}", tool.name));
        let schema = tool.definition()["inputSchema"]["properties"].clone();
        for param in schema.as_object().expect("properties").keys() {
            assert!(row.contains(param.as_str()), "{param} of {}: {row}", tool.name);
        }
    }
}

#[test]
fn files_linked_from_the_readme_exist() {
    let readme = read("README.md");
    let mut links = 0;
    for target in readme.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target)) {
        if !target.contains("://") && !target.starts_with('#') {
            let file = target.split('#').next().expect("a file");
            assert!(path(file).exists(), "{target}");
            links += 1;
        }
    }
    assert!(links >= 4, "{links} links");
}

#[test]
fn tests_named_in_the_security_notes_exist() {
    let notes = fs::read_to_string(path("SECURITY.md")).expect("SECURITY.md");
    let mut sources = String::new();
    let mut folders = vec![path("tests"), path("src"), path("fuzz/bodies")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                sources.push_str(&fs::read_to_string(path).expect("a source file"));
            }
        }
    }
    let rows = notes.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attack"));
    let mut named = 0;
    for row in rows {
        let shown_by = row.rsplit('|').nth(1).expect("a last column");
        for name in shown_by.split(',').map(str::trim) {
            let name = name.strip_prefix('`').and_then(|n| n.strip_suffix('`'));
            let name = name.unwrap_or_else(|| panic!("no test is named: {row}"));
            assert!(sources.contains(&format!("fn {name}(")), "{name}");
            named += 1;
        }
    }
    assert!(named > 40, "{named} tests are named");
}
