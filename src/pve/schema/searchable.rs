//! A schema with its search index.

use super::model::{Operation, SchemaModel};
use super::search::{SearchIndex, find_groups, find_note, find_operations};
use std::ops::Deref;
use std::sync::OnceLock;

/// Every operation of one version of the API, with the index to search them.
pub struct Schema {
    model: SchemaModel,
    /// Built by the first search.
    index: OnceLock<SearchIndex>,
}

impl Schema {
    pub(super) fn new(model: SchemaModel) -> Self {
        Self { model, index: OnceLock::new() }
    }

    /// Returns at most `limit` operations for a query, the best first. A query is a question, key words, a path (with
    /// or without method and values) or the name of an operation (`vm_start`). Its first 400 characters and 40 words
    /// count.
    pub fn search(&self, query: &str, limit: usize) -> Vec<Operation<'_>> {
        let index = self.index.get_or_init(|| SearchIndex::new(&self.model));
        find_operations(&self.model, index, query, limit)
    }

    /// Like [`Schema::search`], but returns groups of operations that do the same, such as to a VM and to a container.
    pub fn search_groups(&self, query: &str, limit: usize) -> Vec<Vec<Operation<'_>>> {
        let index = self.index.get_or_init(|| SearchIndex::new(&self.model));
        find_groups(&self.model, index, query, limit)
    }

    /// Returns a sentence about a query: that the API has no operation for it, and what there is instead.
    pub fn find_search_note(query: &str) -> Option<&'static str> {
        find_note(query)
    }

    /// Returns the memory that the schema takes, including the index after the first search.
    pub fn size_bytes(&self) -> usize {
        self.model.size_bytes() + self.index.get().map_or(0, SearchIndex::size_bytes)
    }
}

impl Deref for Schema {
    type Target = SchemaModel;

    fn deref(&self) -> &SchemaModel {
        &self.model
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::{embedded_schema, read_description};
    use super::*;
    use std::fmt::Write as _;

    fn search_first(query: &str, limit: usize) -> Vec<String> {
        let found = embedded_schema().search(query, limit);
        found.iter().map(|o| format!("{} {}", o.method(), o.template())).collect()
    }

    #[test]
    fn a_path_finds_its_operations_first() {
        for path in ["/nodes/{node}/qemu", "nodes/pve1/qemu", "/api2/json/nodes/pve1/qemu", "/nodes/pve1/qemu?full=1"] {
            assert_eq!(search_first(path, 2), ["GET /nodes/{node}/qemu", "POST /nodes/{node}/qemu"], "{path}");
        }
        assert_eq!(search_first("POST /nodes/{node}/qemu", 1), ["POST /nodes/{node}/qemu"]);
        let snapshot = "/nodes/{node}/qemu/{vmid}/snapshot";
        assert_eq!(search_first("qemu/100/snapshot", 2), [format!("GET {snapshot}"), format!("POST {snapshot}")]);
        assert!(search_first("/cluster/ha", 5).iter().all(|o| o.contains("/cluster/ha")));
    }

    #[test]
    fn an_internal_name_finds_its_operations() {
        let start = ["POST /nodes/{node}/qemu/{vmid}/status/start", "POST /nodes/{node}/lxc/{vmid}/status/start"];
        assert_eq!(search_first("vm_start", 2), start);
    }

    #[test]
    fn a_parameter_finds_where_it_is_changed() {
        for name in ["balloon", "onboot", "cipassword", "nameserver"] {
            assert!(search_first(name, 5).contains(&"PUT /nodes/{node}/qemu/{vmid}/config".to_owned()), "{name}");
        }
    }

    #[test]
    fn a_query_without_meaning_finds_nothing() {
        for query in ["", "   ", "/", "///", "…", "123", "qqqqqqqqqqqqq", "\u{0}\u{7f}"] {
            assert_eq!(search_first(query, 5), Vec::<String>::new(), "{query:?}");
        }
        assert!(embedded_schema().search("start vm", 0).is_empty());
    }

    #[test]
    fn a_query_may_have_any_length() {
        for piece in ["vm start ", "zzqqxxyy ", "/", "a/", "ä", "{", "_"] {
            assert!(embedded_schema().search(&piece.repeat(100_000), 5).len() <= 5);
        }
        let late = format!("{} snapshot", "x".repeat(400));
        assert!(search_first(&late, 5).is_empty());
    }

    #[test]
    fn the_clusters_own_description_is_searched() {
        let script = r#"[{"path":"/cluster/novelty","info":{"GET":{"name":"frob","description":"Lists all widgets."}}},
            {"path":"/nodes","info":{"GET":{"name":"index"}}}]"#;
        let live = read_description(script.as_bytes()).unwrap();
        let found: Vec<_> = live.search("which widgets are there", 5).iter().map(|o| o.template()).collect();
        assert_eq!(found, ["/cluster/novelty"]);
        assert_eq!(live.search("list nodes", 1)[0].template(), "/nodes");
    }

    #[test]
    fn an_index_of_any_description_is_small() {
        let index_bytes = |schema: &Schema| SearchIndex::new(&schema.model).size_bytes();
        let embedded = index_bytes(embedded_schema());
        assert!(embedded < 200_000, "{embedded} bytes");
        let mut script = "[".to_owned();
        for path in 0..4_000_u32 {
            let word = |n: u32| ["ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu"][(n % 10) as usize];
            let words: String = (0..30).fold(String::new(), |mut all, n| {
                let mix = (path * 31 + n).wrapping_mul(2_654_435_761);
                write!(
                    all,
                    "{}{}{}{}{} ",
                    word(mix),
                    word(mix / 10),
                    word(mix / 100),
                    word(mix / 1_000),
                    word(mix >> 20)
                )
                .unwrap();
                all
            });
            let comma = if path == 0 { "" } else { "," };
            write!(script, r#"{comma}{{"path":"/x/p{path}","info":{{"GET":{{"name":"n","description":"{words}"}}}}}}"#)
                .unwrap();
        }
        let hostile = index_bytes(&read_description((script + "]").as_bytes()).unwrap());
        assert!(hostile < 600_000, "{hostile} bytes");
    }
}
