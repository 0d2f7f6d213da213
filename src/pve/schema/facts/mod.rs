//! Facts about the Proxmox VE API that the program has without asking a node. `operations.json` has the 661 operations
//! of version 9 with their parameters and privileges. `summaries.tsv` has a line for each of them: method, path, rank in
//! searches (`low` or `-`), and what it does in an administrator's words. `parameters.tsv` explains common parameters by
//! name and type, some only in paths with the part in its last column. The build packs all three, together with the risks
//! of `src/policy/operation_risks.tsv`.

/// The facts in the form in which a node serves its API description at `/pve-docs/api-viewer/apidoc.js`,
/// gzip-compressed. In addition each method has `risk`, `rank`, `summary` and, unless it is a plain read, `reason`.
pub static APIDOC: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/apidoc.js.gz"));
