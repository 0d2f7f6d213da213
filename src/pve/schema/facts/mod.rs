//! What is known of the Proxmox VE API without asking a node: the 661 operations of version 9, their parameters and
//! privileges (`operations.json`), and for each, in `summaries.tsv`, what it does in an administrator's words, what it
//! can do to a cluster, and why where the method suggests otherwise. `parameters.tsv` says of common parameters, by name
//! and type, what they mean. The build packs all three.

/// The facts as a node serves its API description at `/pve-docs/api-viewer/apidoc.js`, gzip-compressed; beside what a
/// node says, each method has `risk`, `summary` and, where there is one, `reason`.
pub static APIDOC: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/apidoc.js.gz"));
