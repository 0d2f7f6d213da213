//! The code blocks of the README and of `docs/`: each is run, loaded or parsed. `ci/clients/pages.py` runs those of
//! `docs/clients.md`, and the golden tests the conversations.

use crate::support::process::{ServerProcess, binary, program};
use crate::support::raw::{Client, LONG};
use crate::support::rpc::{ACCEPT, call, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use yaml_rust2::YamlLoader;

/// The commands that the documents use. A misspelt command is not one of them.
const COMMANDS: [&str; 15] = [
    "adduser",
    "apt",
    "cargo",
    "claude",
    "docker",
    "install",
    "journalctl",
    "npx",
    "proxmox-mcp",
    "pveum",
    "python3",
    "rustup",
    "sha256sum",
    "systemctl",
    "tar",
];

/// A code block of a page.
struct Block {
    page: String,
    language: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Returns the code blocks of the README and of the pages of `docs/`, in their order.
fn blocks() -> Vec<Block> {
    let mut pages = vec![root().join("README.md")];
    let docs = fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("an entry").path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    pages.sort();
    let mut blocks = Vec::new();
    for path in pages {
        let page = path.file_name().expect("a name").to_string_lossy().into_owned();
        let contents = fs::read_to_string(&path).expect("a page");
        let mut open: Option<Block> = None;
        for line in contents.lines() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(language), None) => {
                    open = Some(Block { page: page.clone(), language: language.into(), text: String::new() });
                }
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{page}: a code block does not end");
    }
    blocks
}

fn blocks_in(language: &str) -> Vec<Block> {
    let blocks: Vec<Block> = blocks().into_iter().filter(|block| block.language == language).collect();
    assert!(!blocks.is_empty(), "no block in {language}");
    blocks
}

/// Returns the commands of a shell block without comments. A command may have several lines.
fn commands(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.split(" #").next().expect("a part").trim().to_owned());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// Returns the arguments of proxmox-mcp in a command, also in one of Docker.
fn product_arguments(command: &str) -> Option<Vec<String>> {
    let words: Vec<String> = command.split_whitespace().map(|word| word.trim_matches(['\'', '"']).to_owned()).collect();
    let first = words[0].as_str();
    let at = match first {
        "proxmox-mcp" => 0,
        "docker" if words[1] == "run" => words.iter().rposition(|word| word == "proxmox-mcp")?,
        _ => return None,
    };
    let rest = words[at + 1..].iter();
    let rest = rest.take_while(|word| !matches!(word.as_str(), "|" | ">" | ">>" | "&&" | ";"));
    // A port that the demo chooses.
    Some(rest.map(|word| word.replace(":PORT", ":40000")).collect())
}

fn run_with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
    // A command that needs no input may have ended.
    let _ = child.stdin.take().expect("stdin").write_all(input.as_bytes());
    child.wait_with_output().expect("run")
}

fn succeed(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    stdout
}

#[test]
fn every_code_block_has_a_language_with_a_check() {
    let known = ["", "sh", "json", "yaml", "toml", "python", "js", "nginx", "caddyfile", "conversation"];
    let found: BTreeSet<String> = blocks().into_iter().map(|block| block.language).collect();
    for language in &found {
        assert!(known.contains(&language.as_str()), "{language}");
    }
    // `ci/clients/pages.py` runs these on the page of the clients only.
    for block in blocks().iter().filter(|block| block.page != "clients.md") {
        assert!(!["python", "js", "toml"].contains(&block.language.as_str()), "{}: {}", block.page, block.text);
    }
}

#[test]
fn shell_blocks_are_valid_and_use_flags_that_exist() {
    let mut checked = 0;
    for Block { page, text, .. } in blocks_in("sh") {
        let parsed = run_with_input(Command::new("bash").arg("-n"), &text);
        assert!(parsed.status.success(), "{page}: {}\n{text}", String::from_utf8_lossy(&parsed.stderr));
        for command in commands(&text) {
            let first = command.split_whitespace().next().expect("a word");
            assert!(COMMANDS.contains(&first), "{page}: unknown command: {command}");
            let Some(arguments) = product_arguments(&command) else { continue };
            let mut help = program(&[]);
            // --help ends the program after it has parsed the flags before it.
            let output = help.args(&arguments).arg("--help").output().expect("run");
            assert!(output.status.success(), "{page}: {command}\n{}", String::from_utf8_lossy(&output.stderr));
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked} commands");
}

#[test]
fn json_blocks_parse_and_configurations_load() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("clusters.json");
    let authority = rcgen::generate_simple_self_signed(["pve1.example.org".to_owned()]).expect("a certificate");
    fs::write(folder.path().join("pve-root-ca.pem"), authority.cert.pem()).expect("write");
    fs::write(folder.path().join("prod.secret"), "00000000-0000-0000-0000-000000000000").expect("write");
    let mut loaded = 0;
    for Block { page, text, .. } in blocks_in("json") {
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{page}: {error}\n{text}"));
        if value["clusters"].as_object().is_some_and(|clusters| clusters.values().all(Value::is_object)) {
            fs::write(&path, &text).expect("write");
            proxmox_mcp::config::load(&path).unwrap_or_else(|errors| panic!("{page}: {errors}\n{text}"));
            loaded += 1;
        }
    }
    assert!(loaded >= 2, "{loaded} configurations");
}

#[test]
fn yaml_blocks_parse() {
    for Block { page, text, .. } in blocks_in("yaml") {
        let documents = YamlLoader::load_from_str(&text).unwrap_or_else(|error| panic!("{page}: {error}\n{text}"));
        assert!(documents.len() == 1 && documents[0].as_hash().is_some(), "{page}: {text}");
    }
}

/// The braces of a proxy's block match, and its upstream is the default address.
#[test]
fn proxy_blocks_are_balanced_and_reach_the_default_address() {
    for language in ["nginx", "caddyfile"] {
        for Block { page, text, .. } in blocks_in(language) {
            let count = |c| text.matches(c).count();
            assert_eq!(count('{'), count('}'), "{page}: {text}");
            let upstreams = text.lines().filter(|line| line.contains("_proxy ") || line.contains("proxy_pass"));
            for upstream in upstreams {
                assert!(upstream.contains("127.0.0.1:8000"), "{page}: {upstream}");
            }
        }
    }
}

/// Runs the commands of the README in their order, with the demo as the cluster.
#[test]
fn readme_commands_work_in_their_order() {
    let readme = blocks().into_iter().filter(|block| block.page == "README.md" && block.language == "sh");
    // CI runs the commands of a checkout.
    let commands = readme.flat_map(|block| commands(&block.text)).filter(|command| !command.starts_with("cargo "));
    let mut steps = commands.collect::<Vec<_>>().into_iter();
    let mut next = |start: &str| {
        let command = steps.next().expect("a command");
        assert!(command.starts_with(start), "{command}, not {start}");
        product_arguments(&command).unwrap_or_else(|| vec![command])
    };

    let demo = ServerProcess::start(&[&*next("proxmox-mcp --demo")[0], "--listen", "127.0.0.1:0"]);
    let address = demo.address();
    let banner = |start: &str| loop {
        let line = demo.stdout.recv_timeout(LONG).unwrap_or_else(|_| panic!("the demo did not print {start}"));
        if let Some((_, rest)) = line.split_once(start) {
            break rest.to_owned();
        }
    };
    let login = banner("setup --url ");
    let (cluster, password) = login.split_once(", as root@pam with the password ").expect("a login");
    // The server prints the same command, with its address.
    let add = next("claude mcp add ").remove(0);
    assert_eq!(format!("claude{}", banner("claude")), add.replace("127.0.0.1:8000", &address));
    next("claude ");

    // The command for a node needs a pvesh: the tests of setup have one.
    next("proxmox-mcp setup --access read");
    let folder = TempDir::new().expect("a folder");
    let in_folder = |arguments: &[String]| {
        let mut command = Command::new(binary());
        // Root's file would be that of the machine.
        let config = folder.path().join("clusters.json");
        command.args(arguments).env_clear().env("HOME", folder.path()).env("PROXMOX_MCP_CONFIG", config);
        command
    };
    let login = format!("root@pam\n{password}\n");
    let mut setup = next("proxmox-mcp setup --url");
    setup.iter_mut().filter(|word| *word == "pve1.example.org").for_each(|word| *word = cluster.to_owned());
    setup.push("--yes".into());
    let printed = succeed(&run_with_input(&mut in_folder(&setup), &login));
    assert!(printed.contains("claude mcp add "), "{printed}");
    let token = &printed[printed.find("pmcp_").expect("a client token")..];
    let token = token.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().expect("a token");

    assert!(succeed(&in_folder(&next("proxmox-mcp check")).output().expect("run")).contains('✓'));
    let mut serve = next("proxmox-mcp");
    serve.extend(["--listen".into(), "127.0.0.1:0".into()]);
    let server = ServerProcess::of(&mut in_folder(&serve));
    let mut client = Client::to(server.address());
    let headers = format!("{ACCEPT}Authorization: Bearer {token}\r\n");
    let mut ask = |tool: &str, arguments: Value| client.post_with("/mcp", &headers, &call(1, tool, arguments)).json();
    assert!(text(&ask("list_nodes", json!({}))).contains("pve1"));
    let stop = ask("proxmox_api_call", json!({"path": "/qemu/web01/status/stop", "method": "POST"}));
    assert!(text(&stop).starts_with("refused: "), "{stop}");
    assert_eq!(steps.next(), None, "a command that this test does not run");

    // The page about removal.
    let config: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("clusters.json")).expect("a file")).expect("JSON");
    let name = config["clusters"].as_object().and_then(|clusters| clusters.keys().next()).expect("a cluster");
    let removal = ["setup", "--remove", name, "--yes"].map(str::to_owned);
    succeed(&run_with_input(&mut in_folder(&removal), &login));
}

/// Each heading of the troubleshooting page is in a text of the golden files.
#[test]
fn headings_of_the_troubleshooting_page_are_literal_texts() {
    // Words of clients and of Proxmox.
    let foreign = ["Dynamic Client Registration rejected", "Disconnected", "Parameter verification failed"];
    let mut texts = String::new();
    for entry in fs::read_dir(root().join("tests/golden/snapshots")).expect("golden files") {
        texts.push_str(&fs::read_to_string(entry.expect("an entry").path()).expect("a golden file"));
    }
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).expect("the page");
    let headings: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    assert!(headings.len() > 25, "{} headings", headings.len());
    for heading in headings {
        let has_parts = |line: &str| {
            heading.split('…').try_fold(line, |rest, part| rest.split_once(part).map(|(_, rest)| rest)).is_some()
        };
        assert!(foreign.contains(&heading) || texts.lines().any(has_parts), "no text has: {heading}");
    }
}

/// The questions of a new user, each with the page and the heading that answers it.
#[test]
fn questions_of_a_new_user_have_an_answer() {
    for (page, heading) in [
        ("faq.md", "Where do I get it, and on what does it run?"),
        ("faq.md", "Which versions of Proxmox?"),
        ("faq.md", "On a node, in a container, or on my laptop?"),
        ("faq.md", "What can the AI do after `setup`?"),
        (
            "faq.md",
            "How do I make one that only looks, one that restarts but does not delete, or one with a single pool?",
        ),
        ("faq.md", "What leaves my house?"),
        ("faq.md", "What do I write for a self-signed certificate?"),
        ("faq.md", "Three clusters: one server or three?"),
        ("faq.md", "How do I name a cluster in a prompt?"),
        ("faq.md", "How does a colleague's laptop reach it?"),
        ("troubleshooting.md", "`host not allowed: this server does not answer for …`"),
        ("troubleshooting.md", "`Dynamic Client Registration rejected`"),
        ("troubleshooting.md", "`Disconnected`"),
        ("faq.md", "Why is a call refused although my token may make it, or the other way round?"),
        ("faq.md", "Is my edit in force?"),
        ("faq.md", "How do I rotate or revoke a token?"),
        ("faq.md", "What did the AI do, and how do I undo it?"),
        ("upgrade.md", "Upgrade and removal"),
        ("faq.md", "Why this server?"),
    ] {
        let text = fs::read_to_string(root().join("docs").join(page)).expect("the page");
        let found =
            text.lines().any(|line| line.trim_start_matches('#').trim_start() == heading && line.starts_with('#'));
        assert!(found, "{page}: {heading}");
    }
}
