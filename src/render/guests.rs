//! The table of `find_guest`.

use super::cluster_errors::{AllClustersFailed, ClusterErrors};
use super::list::{ListForm, RenderedList};
use super::table::{ListTable, SortKey, to_json_text};
use crate::pve::guests::{self, Guest, GuestSearchTexts};
use std::borrow::Cow;
use std::fmt::{Display, Write};

/// The most rows of an answer. A caller with more matches needs a narrower question.
const MAX_GUESTS: usize = 50;

/// The most guests without a name that an answer names.
const MAX_NAMELESS: usize = 10;

/// The most tags of a guest, and parts of its name, that are compared with a mistyped word. A node may send millions.
const MAX_WORDS: usize = 64;

const COLUMNS: [&str; 14] = [
    "cluster", "vmid", "type", "name", "node", "status", "tags", "pool", "maxcpu", "maxmem", "uptime", "template",
    "lock", "path",
];

/// A guest in the list of its cluster.
pub struct ListedGuest<'a> {
    /// The position of the cluster among those that were asked.
    pub cluster_index: usize,
    pub cluster: &'a str,
    pub guest: Cow<'a, Guest>,
}

/// Renders the guests that match every word of `query`, the best first. `queried` is the number of clusters.
pub fn render_matches(
    query: &str,
    all: &[ListedGuest<'_>],
    failures: &ClusterErrors<'_>,
    queried: usize,
    form: ListForm,
) -> Result<RenderedList, AllClustersFailed> {
    failures.fail_if_all(queried)?;
    let words = guests::sort_words(query.split_whitespace());
    let rank = |guest: &Guest| GuestSearchTexts::new(guest).rank_all(&words);
    let mut matches: Vec<(u32, &ListedGuest<'_>)> =
        all.iter().filter_map(|listed| Some((rank(&listed.guest)?, listed))).collect();
    matches.sort_by_key(|(rank, listed)| (*rank, listed.cluster_index, listed.guest.vmid));

    let mut table = ListTable::new(&COLUMNS);
    for (_, listed) in matches.iter().take(MAX_GUESTS) {
        table.push(build_row((queried > 1).then_some(listed.cluster), &listed.guest));
    }
    let (mut text, mut notes) = (String::new(), Vec::new());
    let mut layout = table.layout(|_| SortKey::default());
    if form.has_json {
        layout.limit_json(form.max_bytes);
    }
    if matches.is_empty() {
        notes.push(explain_no_match(query, all));
    } else {
        layout.write_text(&mut text, form.max_bytes, None);
    }
    let left_out = matches.len() - (table.len() - layout.left_out());
    if left_out > 0 {
        notes.push(format!("{left_out} more fit, none of them better: add a word, such as a tag, node or state"));
    }
    let is_nameless = |listed: &&ListedGuest<'_>| listed.guest.name.is_empty() && !listed.guest.status.is_empty();
    match all.iter().filter(is_nameless).map(|listed| listed.guest.vmid.to_string()).collect::<Vec<_>>().as_slice() {
        [] => {}
        numbers => notes.push(format!(
            "without a name in the list, since they were just made or their node is off: {}",
            numbers.iter().take(MAX_NAMELESS).cloned().collect::<Vec<_>>().join(", ")
        )),
    }
    if all.iter().any(|listed| listed.guest.status.is_empty()) {
        notes.push("some guests show no state: the token may lack VM.Audit on them, or their node is down".into());
    }
    notes.extend(failures.notes());
    let structured = form.json(|| {
        let mut json = format!("{{{}", layout.json_members(matches.len()));
        failures.write_json(&mut json);
        json.push('}');
        json
    });
    Ok(RenderedList { text, notes, structured })
}

/// Returns the cells of a guest, in the order of the columns.
fn build_row(cluster: Option<&str>, guest: &Guest) -> Vec<Option<Cow<'static, str>>> {
    fn text(text: &str) -> Option<Cow<'static, str>> {
        (!text.is_empty()).then(|| to_json_text(text))
    }
    fn number(number: Option<&dyn Display>) -> Option<Cow<'static, str>> {
        number.map(|n| n.to_string().into())
    }
    let count = |n: &Option<u64>| number(n.as_ref().map(|n| n as &dyn Display));
    vec![
        cluster.and_then(text),
        number(Some(&guest.vmid)),
        text(guest.kind.as_str()),
        text(&guest.name),
        text(&guest.node),
        text(&guest.status),
        text(&guest.tags),
        text(&guest.pool),
        number(guest.maxcpu.as_ref().map(|n| n as &dyn Display)),
        count(&guest.maxmem),
        count(&guest.uptime.filter(|seconds| *seconds > 0)),
        guest.template.then_some(Cow::Borrowed("1")),
        text(&guest.lock),
        guest.path().and_then(|path| text(path.as_str())),
    ]
}

/// Describes what to try where no guest matches.
fn explain_no_match(query: &str, all: &[ListedGuest<'_>]) -> String {
    if all.is_empty() {
        return "no visible guest at all: there is none, or the token lacks VM.Audit (GET /access/permissions shows its \
                privileges)"
            .into();
    }
    let numbers: Vec<String> = all.iter().map(|listed| listed.guest.vmid.to_string()).collect();
    let mut known: Vec<&str> = numbers.iter().map(String::as_str).collect();
    for ListedGuest { guest, .. } in all {
        known.extend([guest.name.as_str(), guest.pool.as_str()]);
        known.extend(guest.iter_tags().take(MAX_WORDS));
        // A part of a name is a suggestion too: web of web-shop.example and of web01.
        known.extend(guest.name.split(['-', '.']).take(MAX_WORDS));
        known.push(guest.name.trim_end_matches(|c: char| c.is_ascii_digit()));
    }
    let escaped: String = query.chars().flat_map(char::escape_debug).collect();
    let mut text = format!("no guest fits \"{escaped}\" among {} seen", all.len());
    let mut near: Vec<String> = Vec::new();
    let texts: Vec<GuestSearchTexts<'_>> = all.iter().map(|listed| GuestSearchTexts::new(&listed.guest)).collect();
    let matches_none = |word: &&str| texts.iter().all(|texts| texts.rank(word).is_none());
    let known = guests::sort_words(known.into_iter());
    for word in query.split_whitespace().filter(matches_none).take(3) {
        near.extend(guests::find_similar(word, known.iter().copied()));
    }
    if near.is_empty() {
        text.push_str(
            ". get_cluster_resources with type vm lists all; the token sees only guests on which it has VM.Audit",
        );
    } else {
        let _ = write!(text, ". Nearest: {}", near.join(", "));
    }
    text
}
