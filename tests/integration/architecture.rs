//! Imports point one way: the transports `http` and `stdio` to the protocol core `mcp`, the `tools` to `mcp` and `call`,
//! `call` to `pve`, and everything to the ground floors. The binary puts them together.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Each module of the library with the modules that it may import, beside itself and the ground floors.
const MAY_IMPORT: [(&str, &[&str]); 7] = [
    ("http", &["mcp"]),
    ("stdio", &["mcp"]),
    ("tools", &["mcp", "call", "pve", "render"]),
    ("call", &["pve", "render"]),
    ("render", &["pve"]),
    ("mcp", &[]),
    ("pve", &[]),
];
/// From the bottom up: a ground floor may import those before it.
const GROUND: [&str; 6] = ["base", "sanitize", "metrics", "policy", "config", "audit"];

fn sources(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).expect("the source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push((path.display().to_string(), fs::read_to_string(&path).expect("a source file")));
        }
    }
}

#[test]
fn imports_point_along_the_arrows_and_never_back() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<_, _> = MAY_IMPORT.into_iter().collect();
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut arrows = 0;
    for (file, text) in &files {
        let inside = Path::new(file).strip_prefix(&src).expect("below src");
        let module = inside.iter().next().expect("a name").to_string_lossy().trim_end_matches(".rs").to_owned();
        // A unit test may compare with any other area.
        let code = text.split("#[cfg(test)]").next().expect("a first part");
        for line in code.lines().filter(|l| !l.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let floor = |name: &str| GROUND.iter().position(|g| *g == name);
                let fine = used == module
                    || floor(&used).is_some_and(|below| floor(&module).is_none_or(|above| below < above))
                    || allowed.get(module.as_str()).is_some_and(|may| may.contains(&used.as_str()));
                // The binary's own modules stand above the library and name it `proxmox_mcp`, or each other.
                let of_binary = !allowed.contains_key(module.as_str()) && !GROUND.contains(&module.as_str());
                assert!(fine || of_binary, "{file}: {module} may not import {used}: {line}");
                arrows += 1;
            }
        }
    }
    assert!(files.len() > 20 && arrows > 20, "the test looked at {} files and {arrows} imports", files.len());
}

/// The client of a cluster can send any request. A tool must not hold it.
#[test]
fn tools_send_nothing_past_the_pipeline() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tools"), &mut files);
    for (file, text) in &files {
        let name = Path::new(file).file_name().and_then(|name| name.to_str()).expect("a name");
        // The state takes the clusters over from the binary, and gives them to the pipeline.
        assert!(name == "state.rs" || !text.contains("pve::client"), "{file} imports the client of a cluster");
        let has_state = ["state.rs", "definition.rs", "mod.rs"].contains(&name);
        assert!(has_state || !text.contains("ToolState"), "the handlers of {file} receive the state");
    }
    assert!(files.len() > 10, "the test looked at {} files", files.len());
}

#[test]
fn files_of_a_folder_have_no_import_cycle() {
    for folder in ["command", "call", "tools", "policy"] {
        let mut imports = imports_within(folder);
        assert!(imports.len() > 3, "{folder}: {imports:?}");
        // A file whose imports are all gone is removed, until no file is left.
        while !imports.is_empty() {
            let before = imports.len();
            let left: Vec<String> = imports.keys().cloned().collect();
            imports.retain(|_, used| used.iter().any(|name| left.contains(name)));
            assert!(imports.len() < before, "a cycle in {folder}: {imports:?}");
        }
    }
}

/// Returns the files of a folder with the names that each imports from the others.
fn imports_within(folder: &str) -> BTreeMap<String, Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    let mut files = Vec::new();
    sources(&path, &mut files);
    let mut imports: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in &files {
        let inside = Path::new(file).strip_prefix(&path).expect("below the folder");
        let depth = inside.iter().count();
        let module = inside.iter().next().expect("a name").to_string_lossy().trim_end_matches(".rs").to_owned();
        let code = text.split("#[cfg(test)]").next().expect("a first part");
        let root = format!("crate::{folder}::");
        // In a file of the folder itself `super` is the folder.
        let marks = if depth == 1 { ["super::", root.as_str()] } else { ["super::super::", root.as_str()] };
        for used in marks.iter().flat_map(|mark| code.split(mark).skip(1)) {
            let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if module != "mod" && used != module {
                imports.entry(module.clone()).or_default().push(used);
            }
        }
    }
    imports
}
