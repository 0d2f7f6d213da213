//! The files for registries and clients: server.json, the bundle for Claude Desktop, the extension of Gemini CLI and the
//! plugin of Claude Code. `ci/clients/bundles.py` validates them with the programs of the clients.
//!
//! The types here are the published schemas, as far as these files use them. An unknown member is an error.

use crate::support::process::{ServerProcess, program};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

fn parse<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    serde_json::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// server.json of the MCP registry, 2025-12-11.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerFile {
    #[serde(rename = "$schema")]
    schema: String,
    name: String,
    title: String,
    description: String,
    version: String,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Package {
    registry_type: String,
    identifier: String,
    version: Option<String>,
    runtime_hint: Option<String>,
    transport: Transport,
    #[serde(default)]
    runtime_arguments: Vec<Argument>,
    #[serde(default)]
    package_arguments: Vec<Argument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transport {
    r#type: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Argument {
    r#type: String,
    name: Option<String>,
    value: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
    format: Option<String>,
    #[serde(rename = "isRequired")]
    _is_required: Option<bool>,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Variable {
    #[serde(rename = "description")]
    _description: String,
    format: String,
    #[serde(rename = "isRequired")]
    _is_required: bool,
}

/// The manifest of a bundle, version 0.3.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    manifest_version: String,
    name: String,
    #[serde(rename = "display_name")]
    _display_name: String,
    version: String,
    #[serde(rename = "description")]
    _description: String,
    #[serde(rename = "long_description")]
    _long_description: String,
    #[serde(rename = "author")]
    _author: Author,
    server: BundledServer,
    tools: Vec<BundledTool>,
    #[serde(rename = "prompts_generated")]
    _prompts_generated: bool,
    #[serde(rename = "keywords")]
    _keywords: Vec<String>,
    license: String,
    compatibility: Compatibility,
    user_config: BTreeMap<String, UserSetting>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Author {
    #[serde(rename = "name")]
    _name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BundledServer {
    r#type: String,
    entry_point: String,
    mcp_config: LaunchCommand,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LaunchCommand {
    command: String,
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BundledTool {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Compatibility {
    platforms: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserSetting {
    r#type: String,
    #[serde(rename = "title")]
    _title: String,
    #[serde(rename = "description")]
    _description: String,
    #[serde(rename = "required")]
    _required: bool,
}

/// The extension of Gemini CLI.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Extension {
    name: String,
    version: String,
    #[serde(rename = "description")]
    _description: String,
    mcp_servers: BTreeMap<String, LaunchCommand>,
    settings: Vec<ExtensionSetting>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ExtensionSetting {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "description")]
    _description: String,
    env_var: String,
    #[serde(rename = "sensitive")]
    _sensitive: bool,
}

/// Checks that the program accepts these arguments.
fn check_arguments(arguments: &[String]) {
    let output = program(&[]).args(arguments).arg("--help").output().expect("run");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the names of the tools that the program offers.
fn tool_names() -> Vec<String> {
    let mut process = ServerProcess::start(&["stdio", "--demo"]);
    let list = process.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string());
    let tools = list["result"]["tools"].as_array().unwrap_or_else(|| panic!("{list}")).clone();
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn server_file_fits_the_schema_the_program_and_the_image() {
    let file: ServerFile = parse("server.json");
    assert_eq!(file.schema, "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json");
    let (namespace, name) = file.name.split_once('/').expect("a namespace");
    let is_plain = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    assert!(is_plain(namespace, ".-") && is_plain(name, "._-") && file.name.len() <= 200, "{}", file.name);
    assert!((1..=100).contains(&file.description.chars().count()), "{}", file.description);
    assert!((1..=100).contains(&file.title.chars().count()));
    assert_eq!(file.version, VERSION);
    let types: Vec<&str> = file.packages.iter().map(|package| package.registry_type.as_str()).collect();
    assert_eq!(types, ["cargo", "oci"]);
    for package in &file.packages {
        assert_eq!(package.transport.r#type, "stdio");
        // The image is named by its tag, a crate by its version.
        match &package.version {
            Some(version) => assert_eq!((version.as_str(), package.identifier.as_str()), (VERSION, "proxmox-mcp")),
            None => assert!(package.identifier.ends_with(&format!("/proxmox-mcp:{VERSION}")), "{}", package.identifier),
        }
        assert_eq!(package.runtime_hint.is_some(), !package.runtime_arguments.is_empty());
        let mut arguments = Vec::new();
        for argument in &package.package_arguments {
            match (argument.r#type.as_str(), &argument.name, &argument.value) {
                ("positional", None, Some(value)) => arguments.push(value.clone()),
                ("named", Some(name), None) => arguments.extend([name.clone(), "clusters.json".into()]),
                _ => panic!("{:?} is not an argument", argument.name),
            }
        }
        check_arguments(&arguments);
        for argument in package.runtime_arguments.iter().chain(&package.package_arguments) {
            let formats = argument.format.iter().chain(argument.variables.values().map(|variable| &variable.format));
            assert!(formats.into_iter().all(|format| format == "filepath"));
            for variable in argument.variables.keys() {
                assert!(argument.value.as_ref().is_some_and(|value| value.contains(&format!("{{{variable}}}"))));
            }
        }
    }
    // The registry compares this label with the name.
    let label = format!("io.modelcontextprotocol.server.name=\"{}\"", file.name);
    assert!(read("Dockerfile").contains(&label), "{label}");
}

#[test]
fn bundle_has_the_manifest_and_the_program() {
    let manifest: Manifest = parse("packaging/mcpb/manifest.json");
    assert_eq!((manifest.manifest_version.as_str(), manifest.version.as_str()), ("0.3", VERSION));
    assert_eq!((manifest.name.as_str(), manifest.license.as_str()), ("proxmox-mcp", "MIT OR Apache-2.0"));
    assert_eq!(manifest.compatibility.platforms, ["darwin", "linux"]);
    let server = &manifest.server;
    assert_eq!(server.r#type, "binary");
    assert_eq!(server.mcp_config.command, format!("${{__dirname}}/{}", server.entry_point));
    assert!(server.mcp_config.env.is_empty());
    let settings = &manifest.user_config;
    // The client puts the path of the chosen file into its place.
    let fill_in = |argument: &String| match argument.strip_prefix("${user_config.") {
        Some(rest) => {
            let name = rest.strip_suffix('}').expect("an end");
            assert_eq!(settings[name].r#type, "file");
            "clusters.json".to_owned()
        }
        None => argument.clone(),
    };
    check_arguments(&server.mcp_config.args.iter().map(fill_in).collect::<Vec<_>>());
    let tools: Vec<String> = manifest.tools.into_iter().map(|tool| tool.name).collect();
    assert_eq!(tools, tool_names());

    let folder = TempDir::new().expect("a folder");
    let bundle = folder.path().join("proxmox-mcp.mcpb");
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/mcpb/build");
    // A small file in the place of the program.
    let small = folder.path().join("program");
    fs::write(&small, "program").expect("write");
    for (platform, is_built) in [("linux", true), ("darwin", true), ("win32", false)] {
        let status = Command::new(&build).args([&small, Path::new(platform), &bundle]).output().expect("run").status;
        assert_eq!(status.success(), is_built, "{platform}");
    }
    let list = Command::new("python3").args(["-m", "zipfile", "-l"]).arg(&bundle).output().expect("run");
    let list = String::from_utf8(list.stdout).expect("UTF-8");
    assert!(list.contains("manifest.json") && list.contains(&server.entry_point), "{list}");
}

#[test]
fn extension_and_plugin_start_the_program_over_stdio() {
    let extension: Extension = parse("gemini-extension.json");
    assert_eq!((extension.name.as_str(), extension.version.as_str()), ("proxmox-mcp", VERSION));
    let help = String::from_utf8(program(&["--help"]).output().expect("--help").stdout).expect("UTF-8");
    assert!(extension.settings.iter().all(|setting| help.contains(&format!("[env: {}]", setting.env_var))));

    let plugin: Value = parse("packaging/claude-plugin/.claude-plugin/plugin.json");
    assert_eq!((&plugin["name"], &plugin["version"]), (&json!("proxmox-mcp"), &json!(VERSION)));
    let marketplace: Value = parse(".claude-plugin/marketplace.json");
    assert_eq!(marketplace["plugins"][0]["name"], plugin["name"]);
    let source = marketplace["plugins"][0]["source"].as_str().expect("a folder");
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(source).join(".claude-plugin/plugin.json").exists());

    let servers: Value = parse("packaging/claude-plugin/.mcp.json");
    let of_plugin: LaunchCommand = serde_json::from_value(servers["mcpServers"]["proxmox"].clone()).expect("a command");
    for server in [&extension.mcp_servers["proxmox"], &of_plugin] {
        assert_eq!(server.command, "proxmox-mcp");
        check_arguments(&server.args);
        assert!(server.env.keys().all(|name| help.contains(&format!("[env: {name}]"))), "{:?}", server.env);
    }
}

/// The skill names tools and arguments that exist, and says what triage, waiting and confirming are.
#[test]
fn skill_of_the_plugin_names_tools_that_exist() {
    let skill = read("packaging/claude-plugin/skills/proxmox/SKILL.md");
    let head = skill.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).expect("a head").0;
    assert!(head.contains("name: proxmox\n") && head.contains("description: "), "{head}");
    for heading in ["## Triage", "## Wait", "## Confirm"] {
        assert!(skill.contains(heading), "{heading}");
    }
    let tools = tool_names();
    let named = skill.split('`').skip(1).step_by(2).filter(|word| word.contains('_') && !word.contains([':', ' ']));
    let arguments = ["dry_run"];
    for word in named {
        assert!(tools.iter().any(|tool| tool == word) || arguments.contains(&word), "{word}");
    }
}
