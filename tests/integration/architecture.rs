//! Imports point one way. Folders of `src/` follow the arrows of `docs/dev/architecture.md`. Files of a folder have no
//! import cycle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Each upper folder of the library, with the folders that it may import besides the base.
const MAY_IMPORT: [(&str, &[&str]); 7] = [
    ("http", &["mcp"]),
    ("stdio", &["mcp"]),
    ("tools", &["mcp", "call", "render", "pve"]),
    ("call", &["render", "pve"]),
    ("render", &["pve"]),
    ("mcp", &[]),
    ("pve", &[]),
];

/// The base folders from the bottom up. A folder may import the ones before it.
const GROUND: [&str; 6] = ["base", "sanitize", "metrics", "policy", "config", "audit"];

/// A module as a path of names: `["pve", "client", "cluster"]`.
type ModulePath = Vec<String>;

/// The imports of every file of `src/`, without those of its unit tests.
struct ImportGraph {
    imports: BTreeMap<ModulePath, BTreeSet<ModulePath>>,
}

impl ImportGraph {
    fn read() -> Self {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut texts = BTreeMap::new();
        read_modules(&src, &mut Vec::new(), &mut texts);
        let modules: BTreeSet<ModulePath> = texts.keys().cloned().collect();
        let imports = texts.iter().map(|(module, text)| (module.clone(), imports_of(module, text, &modules)));
        Self { imports: imports.collect() }
    }

    /// Returns a group of files that form an import cycle, if there is one.
    fn find_cycle(&self) -> Option<Vec<String>> {
        let mut left = self.imports.clone();
        loop {
            let before = left.len();
            let names: BTreeSet<ModulePath> = left.keys().cloned().collect();
            // A file without imports, or that no file imports, is in no cycle.
            left.retain(|_, imports| imports.iter().any(|import| names.contains(import)));
            let imported: BTreeSet<ModulePath> = left.values().flatten().cloned().collect();
            left.retain(|module, _| imported.contains(module));
            if left.is_empty() {
                return None;
            }
            if left.len() == before {
                let names: BTreeSet<&ModulePath> = left.keys().collect();
                let arrow = |(module, imports): (&ModulePath, &BTreeSet<ModulePath>)| {
                    let inside = imports.iter().filter(|import| names.contains(import)).map(|import| import.join("::"));
                    format!("{} -> {}", module.join("::"), inside.collect::<Vec<_>>().join(", "))
                };
                return Some(left.iter().map(arrow).collect());
            }
        }
    }
}

fn read_modules(folder: &Path, path: &mut ModulePath, texts: &mut BTreeMap<ModulePath, String>) {
    for entry in fs::read_dir(folder).expect("a source folder") {
        let entry = entry.expect("an entry").path();
        let name = entry.file_stem().expect("a name").to_string_lossy().into_owned();
        if entry.is_dir() {
            path.push(name);
            read_modules(&entry, path, texts);
            path.pop();
        } else if entry.extension().is_some_and(|e| e == "rs") && name != "tests" {
            let mut module = path.clone();
            if !matches!(name.as_str(), "mod" | "lib") {
                module.push(name);
            }
            texts.insert(module, fs::read_to_string(&entry).expect("a source file"));
        }
    }
}

/// Returns the modules that the code of a file names, except itself.
fn imports_of(module: &ModulePath, text: &str, modules: &BTreeSet<ModulePath>) -> BTreeSet<ModulePath> {
    // A unit test may compare with any other area.
    let tests = ["#[cfg(test)]\nmod ", "#[cfg(test)]\npub mod ", "#[cfg(all(test,"];
    let end = tests.iter().filter_map(|start| text.find(start)).min().unwrap_or(text.len());
    let code = &text[..end];
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for path in paths_in(&code) {
        let (base, rest) = if let Some(rest) = path.strip_prefix("crate::") {
            (&[][..], rest)
        } else if path.starts_with("super::") {
            let supers = path.split("::").take_while(|name| *name == "super").count();
            (&module[..module.len().saturating_sub(supers)], &path[supers * "super::".len()..])
        } else {
            // A folder's module file names the files in it without a prefix.
            (module.as_slice(), path.as_str())
        };
        found.insert(resolve(base, rest, modules));
    }
    found.remove(module);
    found
}

/// Returns the paths of the code: those of its `use` declarations, with groups expanded, and those that begin with
/// `crate::` or `super::` elsewhere.
fn paths_in(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut start = 0;
    for line in code.split_inclusive('\n') {
        let declares = line.trim_start().starts_with("use ") || (line.starts_with("pub") && line.contains(" use "));
        if let Some(at) = line.find("use ").filter(|_| declares) {
            let rest = &code[start + at + "use ".len()..];
            let declaration = rest.split(';').next().expect("a first part");
            expand("", &declaration.split_whitespace().collect::<Vec<_>>().join(" "), &mut paths);
        }
        start += line.len();
    }
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = &code[..at];
            let is_start = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                && !before.ends_with("pub(in ");
            let path = code[at..].split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next();
            let path = path.expect("a first part");
            // For a declaration with a group this is only the beginning.
            if is_start && !path.ends_with("::") {
                paths.push(path.to_owned());
            }
        }
    }
    paths
}

/// Adds the paths of a `use` declaration: `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`.
fn expand(prefix: &str, declaration: &str, paths: &mut Vec<String>) {
    let declaration = declaration.trim();
    let Some((before, group)) = declaration.split_once('{') else {
        return paths.push(format!("{prefix}{declaration}"));
    };
    let group = group.strip_suffix('}').expect("a closed group");
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if start < at {
                    expand(&format!("{prefix}{before}"), &group[start..at], paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Returns the deepest module that `path`, as written after `base`, begins with.
fn resolve(base: &[String], path: &str, modules: &BTreeSet<ModulePath>) -> ModulePath {
    let mut module = base.to_vec();
    for name in path.split("::") {
        let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        module.push(name);
        if !modules.contains(&module) {
            module.pop();
            break;
        }
    }
    module
}

#[test]
fn imports_between_folders_follow_the_arrows() {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.into_iter().collect();
    let ground = |name: &str| GROUND.iter().position(|folder| *folder == name);
    let (mut arrows, mut wrong) = (0, Vec::new());
    for (module, imports) in ImportGraph::read().imports {
        // The binary's own files are above the library.
        let Some(folder) = module.first().filter(|name| !matches!(name.as_str(), "main" | "command")) else { continue };
        for import in imports {
            let Some(used) = import.first() else { continue };
            let fits = used == folder
                || ground(used).is_some_and(|below| ground(folder).is_none_or(|above| below < above))
                || allowed.get(folder.as_str()).is_some_and(|may| may.contains(&used.as_str()));
            arrows += 1;
            if !fits {
                wrong.push(format!("{} may not import {}", module.join("::"), import.join("::")));
            }
        }
    }
    assert!(arrows > 100, "only {arrows} imports were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_import_each_other_without_a_cycle() {
    let cycle = ImportGraph::read().find_cycle();
    assert!(cycle.is_none(), "{:#?}", cycle.expect("a cycle"));
}

#[test]
fn the_source_folder_has_the_entries_of_the_design() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let entries = fs::read_dir(src).expect("the source folder").count();
    assert!(entries <= 16, "src/ has {entries} entries");
}

/// The client of a cluster can send any request. A tool must not have it.
#[test]
fn tools_send_nothing_past_the_pipeline() {
    let mut texts = BTreeMap::new();
    read_modules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tools"), &mut Vec::new(), &mut texts);
    for (module, text) in &texts {
        let name = module.join("::");
        // The state receives the clusters from the binary and passes them to the pipeline.
        assert!(name == "state" || !text.contains("pve::client"), "{name} imports the client of a cluster");
        // Approvals are no tool: people decide on them over HTTP.
        let has_state = ["state", "definition", "prompts::definition", "approvals", ""].contains(&name.as_str());
        assert!(has_state || !text.contains("ToolState"), "the handlers of {name} receive the state");
    }
    assert!(texts.len() > 10, "only {} files were found", texts.len());
}
