//! Imports point one way: the transports `http` and `stdio` to the protocol core `mcp`, the `tools` to `mcp` and `pve`,
//! everything to the ground floors. What puts them together is the binary.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Each module of the library and what it may import, beside itself and the ground floors.
const MAY_IMPORT: [(&str, &[&str]); 7] = [
    ("http", &["mcp"]),
    ("stdio", &["mcp"]),
    ("tools", &["mcp", "call", "pve", "render"]),
    ("call", &["mcp", "pve", "render", "tools"]),
    ("render", &[]),
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

#[test]
fn files_of_the_command_have_no_import_cycle() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/command");
    let mut files = Vec::new();
    sources(&folder, &mut files);
    let mut imports: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in &files {
        let inside = Path::new(file).strip_prefix(&folder).expect("below the folder");
        let depth = inside.iter().count();
        let module = inside.iter().next().expect("a name").to_string_lossy().trim_end_matches(".rs").to_owned();
        let code = text.split("#[cfg(test)]").next().expect("a first part");
        // In a file of the folder itself `super` is the folder.
        let marks = if depth == 1 { ["super::", "crate::command::"] } else { ["super::super::", "crate::command::"] };
        for used in marks.iter().flat_map(|mark| code.split(mark).skip(1)) {
            let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if module != "mod" && used != module {
                imports.entry(module.clone()).or_default().push(used);
            }
        }
    }
    assert!(imports.len() > 10, "{imports:?}");
    // A file whose imports are all gone is removed, until no file is left.
    while !imports.is_empty() {
        let before = imports.len();
        let left: Vec<String> = imports.keys().cloned().collect();
        imports.retain(|_, used| used.iter().any(|name| left.contains(name)));
        assert!(imports.len() < before, "a cycle: {imports:?}");
    }
}
