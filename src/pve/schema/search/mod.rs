//! Finds operations by an administrator's words.
//!
//! Each word of a question, and each word the API has for the same thing, is looked up among the words of the
//! operations; rare words say more than common ones, a path's last name more than a parameter (BM25F, in short). Verbs
//! say which method is meant; "vm", "container", "node" whose operations. A question that is a path or an internal name
//! finds that first.

mod index;
mod path_query;
mod search_query;
mod thesaurus;
mod tokenizer;

pub(super) use index::SearchIndex;

use super::{Method, Operation, Schema};
use index::{OperationScope, Posting};
use search_query::SearchQuery;

/// Of a question that is longer, the rest is not read.
const MAX_QUERY_CHARS: usize = 400;

/// A second word for the same thing.
const SECOND_SYNONYM_SHARE: f32 = 0.2;
/// How much of a score is lost where no word of the question is there.
const COVERAGE_SHARE: f32 = 0.6;

/// How well an operation fits that belongs to something the question doesn't speak of.
const OTHER_AREA_FACTOR: f32 = 0.8;

/// What parameters' names may add at most.
const MAX_PARAMETER_SCORE: f32 = 2.5;

impl Schema {
    /// At most `limit` operations that these words ask for, the best first: a question, key words, a path (with or
    /// without method and values) or an internal name (`vm_start`). The first 400 characters and 40 words count. Empty
    /// where nothing fits.
    pub fn search(&self, query: &str, limit: usize) -> Vec<Operation<'_>> {
        let query: String = query.chars().take(MAX_QUERY_CHARS).collect();
        let query = query.trim();
        let mut found = path_query::find_named(self, query);
        for (_, at) in rank_operations(self.search_index(), query) {
            if found.len() >= limit {
                break;
            }
            if !found.contains(&at) {
                found.push(at);
            }
        }
        found.into_iter().take(limit).filter_map(|at| self.operation(at as usize)).collect()
    }
}

/// The operations that fit, with their scores, the best first.
fn rank_operations(index: &SearchIndex, query: &str) -> Vec<(f32, u16)> {
    let question = SearchQuery::new(index, query);
    let count = index.entries.len();
    let mut text = vec![0.0_f32; count];
    let mut parameters = vec![0.0_f32; count];
    // How much of what the question's words say is there at all.
    let mut covered = vec![0.0_f32; count];
    let mut whole = f32::MIN_POSITIVE;
    let mut best = vec![(0.0_f32, false); count];
    for group in &question.groups {
        best.fill((0.0, false));
        let mut most = 0.0_f32;
        for (word, part) in group {
            let list = index.postings(word);
            let rare = compute_rarity(count, list);
            most = most.max(part * rare);
            for posting in list {
                let score = part * rare * f32::from(posting.weight) / 255.0;
                if let Some(slot) = best.get_mut(posting.operation as usize) {
                    // Two words for the same thing say a little more than one.
                    let more = slot.0.min(score) * SECOND_SYNONYM_SHARE;
                    if slot.0 < score {
                        *slot = (score, posting.only_parameter);
                    }
                    slot.0 += more;
                }
            }
        }
        whole += most;
        for (((score, of_parameter), covered), (text, parameter)) in
            best.iter().zip(&mut covered).zip(text.iter_mut().zip(&mut parameters))
        {
            *(if *of_parameter { parameter } else { text }) += score;
            *covered += if *score > 0.0 { most } else { 0.0 };
        }
    }
    let scored = text.iter().zip(&parameters).zip(&covered).zip(&index.entries).enumerate();
    let mut found: Vec<(f32, u16)> = scored
        .map(|(at, (((text, parameters), covered), entry))| {
            let score = (text + parameters.min(MAX_PARAMETER_SCORE)) * compute_fit(&question, entry);
            (score * (1.0 - COVERAGE_SHARE + COVERAGE_SHARE * covered / whole), at as u16)
        })
        .filter(|(score, _)| *score > 0.0)
        .collect();
    let order = |at: u16| index.entries.get(at as usize).map(|entry| (entry.depth, entry.method != Method::Get, at));
    found.sort_by(|(a, i), (b, j)| b.total_cmp(a).then_with(|| order(*i).cmp(&order(*j))));
    let least = found.first().map_or(0.0, |(score, _)| score * 0.2);
    found.retain(|(score, _)| *score >= least);
    found
}

/// How much is said by a word that these operations have.
fn compute_rarity(count: usize, list: &[Posting]) -> f32 {
    let has: f32 = list.iter().map(|posting| f32::from(posting.weight) / 255.0).sum();
    (1.0 + count as f32 / (has + 0.5)).ln()
}

/// How well an operation fits beside its words.
fn compute_fit(question: &SearchQuery, entry: &index::OperationEntry) -> f32 {
    let mut fit = match question.hint {
        Some(hint) => hint.method_fit(entry.method),
        None if entry.method == Method::Get => 1.0,
        None => 0.85,
    };
    let guest = question.guest || question.vm || question.container;
    fit *= match entry.scope {
        OperationScope::Vm if question.vm => 1.15,
        OperationScope::Vm if question.container => 0.6,
        OperationScope::Container if question.container => 1.15,
        OperationScope::Container if question.vm => 0.6,
        OperationScope::Vm | OperationScope::Container if !guest && (question.node || question.cluster) => 0.5,
        OperationScope::Container => 0.97,
        OperationScope::Node if question.node && !guest => 1.15,
        OperationScope::Cluster if question.cluster && !guest => 1.15,
        OperationScope::Other if guest => 0.9,
        _ => 1.0,
    };
    if entry.area & !question.areas != 0 {
        fit *= OTHER_AREA_FACTOR;
    }
    if entry.low_priority {
        fit *= 0.7;
    }
    if entry.is_item && entry.method == Method::Get {
        fit *= if question.wants_list { 0.85 } else { 0.95 };
    }
    fit
}

#[cfg(test)]
mod tests {
    use super::super::{embedded_schema, read_description};
    use std::fmt::Write as _;

    fn search_first(query: &str, limit: usize) -> Vec<String> {
        let found = embedded_schema().search(query, limit);
        found.iter().map(|o| format!("{} {}", o.method(), o.template())).collect()
    }

    #[test]
    fn a_path_finds_its_operations_and_then_those_near_it() {
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
    fn what_means_nothing_finds_nothing() {
        for query in ["", "   ", "/", "///", "…", "123", "qqqqqqqqqqqqq", "\u{0}\u{7f}"] {
            assert_eq!(search_first(query, 5), Vec::<String>::new(), "{query:?}");
        }
        assert!(embedded_schema().search("start vm", 0).is_empty());
    }

    #[test]
    fn a_question_of_any_length_is_answered() {
        for piece in ["vm start ", "zzqqxxyy ", "/", "a/", "ä", "{", "_"] {
            assert!(embedded_schema().search(&piece.repeat(100_000), 5).len() <= 5);
        }
        let late = format!("{} snapshot", "x".repeat(400));
        assert!(search_first(&late, 5).is_empty());
    }

    #[test]
    fn the_clusters_own_words_find_what_the_facts_dont_know() {
        let script = r#"[{"path":"/cluster/novelty","info":{"GET":{"name":"frob","description":"Lists all widgets."}}},
            {"path":"/nodes","info":{"GET":{"name":"index"}}}]"#;
        let live = read_description(script.as_bytes()).unwrap();
        let found: Vec<_> = live.search("which widgets are there", 5).iter().map(|o| o.template()).collect();
        assert_eq!(found, ["/cluster/novelty"]);
        assert_eq!(live.search("list nodes", 1)[0].template(), "/nodes");
    }

    #[test]
    fn an_index_is_small_whatever_is_served() {
        embedded_schema().search("vm", 1);
        let embedded = embedded_schema().search_index().size_bytes();
        println!("{embedded} bytes");
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
        let hostile = read_description((script + "]").as_bytes()).unwrap();
        hostile.search("vm", 1);
        assert!(hostile.search_index().size_bytes() < 600_000, "{} bytes", hostile.search_index().size_bytes());
    }
}
