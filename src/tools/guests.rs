//! `find_guest`: where a guest is, by whatever of it is known.

use crate::call::state::{ToolCall, ToolState};
use crate::mcp::arguments::{ParameterKind, ToolArguments, ToolParameter};
use crate::mcp::catalog::{Tool, ToolEffect, ToolError, ToolInput, ToolOutput};
use crate::mcp::context::CallContext;
use crate::pve::guests::{self, Guest};
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::render::table::{CellFormat, Column, ListTable, SortKey, to_json_text};
use crate::sanitize;
use crate::tools::clusters::{ClusterErrors, fan_out, select_clusters};
use crate::tools::lists::{CLUSTER_PARAM, column};
use std::borrow::Cow;
use std::fmt::{Display, Write};
use std::sync::Arc;

/// Rows of an answer: who finds more than these wants a narrower question, not a longer answer.
const MAX_GUESTS: usize = 50;

/// Characters of a query; names have 63 at most, tags 124.
const MAX_QUERY_CHARS: usize = 200;

const GUEST_COLUMNS: [Column; 14] = [
    column("cluster", CellFormat::Plain),
    column("vmid", CellFormat::Plain),
    column("type", CellFormat::Plain),
    column("name", CellFormat::Plain),
    column("node", CellFormat::Plain),
    column("status", CellFormat::Plain),
    column("tags", CellFormat::Plain),
    column("pool", CellFormat::Plain),
    column("maxcpu", CellFormat::Plain),
    column("maxmem", CellFormat::Bytes),
    column("uptime", CellFormat::Duration),
    column("template", CellFormat::Plain),
    column("lock", CellFormat::Plain),
    column("path", CellFormat::Plain),
];

/// The tool `find_guest(query, cluster?)`.
pub fn find_guest(state: Arc<ToolState>) -> Tool {
    Tool {
        name: "find_guest",
        title: "Find a guest",
        description: "Finds VMs and containers in a cluster, or in every cluster, by number, name or a part of it, tag, \
            pool, node, type (vm, ct) or state; of several words all must fit. Best first, at most 50, each with the API \
            path for the next call, such as /nodes/pve1/qemu/100.",
        input: ToolInput::Parameters(&[
            ToolParameter {
                name: "query",
                kind: ParameterKind::Text,
                required: true,
                description: "such as 100, web, or \"ct prod running\"",
            },
            CLUSTER_PARAM,
        ]),
        effect: ToolEffect::ReadOnly,
        handler: Box::new(move |context, args| {
            state.run_call(context, "find_guest", &|call| handle_find_guest(call, context, args))
        }),
    }
}

fn handle_find_guest(
    call: ToolCall<'_>,
    context: &CallContext<'_>,
    args: &ToolArguments,
) -> Result<ToolOutput, ToolError> {
    let query = args.text("query").unwrap_or_default().trim().to_lowercase();
    if query.is_empty() || query.chars().nth(MAX_QUERY_CHARS).is_some() {
        return Err(ToolError::Failed(format!(
            "find_guest: query must have 1 to {MAX_QUERY_CHARS} characters: a guest's number, or a part of its name; \
             get_cluster_resources lists all"
        )));
    }
    let manager = call.manager;
    let clusters = select_clusters(manager, args)?;
    let (path, params) = (ApiPath::from_static("/cluster/resources"), ApiParams::new());
    let answers = fan_out(&clusters, &context.cancel, |cluster, cancel| {
        call.get_audited(cluster, &path, &params, || guests::list_guests(cluster, cancel))
    });
    let mut failures = ClusterErrors::new(manager);
    let mut all: Vec<(usize, Guest)> = Vec::new();
    for (n, (cluster, answer)) in clusters.iter().zip(answers).enumerate() {
        match answer {
            Ok(mut guests) => {
                if call.needs_redaction(cluster) {
                    guests.iter_mut().for_each(redact_guest);
                }
                all.extend(guests.into_iter().map(|guest| (n, guest)));
            }
            Err(why) => failures.push(cluster, why),
        }
    }
    failures.fail_if_all(clusters.len())?;

    let words: Vec<&str> = query.split_whitespace().collect();
    let fit = |guest: &Guest| words.iter().map(|word| guest.match_rank(word)).sum::<Option<u32>>();
    let mut found: Vec<(u32, usize, &Guest)> =
        all.iter().filter_map(|(n, guest)| Some((fit(guest)?, *n, guest))).collect();
    found.sort_by_key(|(rank, cluster, guest)| (*rank, *cluster, guest.vmid));

    let mut table = ListTable::new(&GUEST_COLUMNS);
    for (_, n, guest) in found.iter().take(MAX_GUESTS) {
        let cluster = clusters.get(*n).filter(|_| clusters.len() > 1);
        table.push(build_row(cluster.map(|c| c.settings().name.as_str()), guest));
    }
    let mut text = String::new();
    let mut structured = format!("{{{}", table.write(&mut text, |_| SortKey::default()));
    if let Some(left_out @ 1..) = found.len().checked_sub(MAX_GUESTS) {
        let _ = writeln!(text, "{left_out} more fit, none of them better: add a word, such as a tag, node or state");
        let _ = write!(structured, ",\"left_out\":{left_out}");
    }
    if found.is_empty() {
        text = explain_no_match(&query, &all);
    }
    if all.iter().any(|(_, guest)| guest.status.is_empty()) {
        text.push_str("some guests show no state: the token may lack VM.Audit on them, or their node is down\n");
    }
    failures.write(&mut text, &mut structured);
    structured.push('}');
    Ok(ToolOutput::with_structured(text, structured))
}

/// Takes secrets out of a guest's texts: before anything is looked for in them, or a search could guess at them.
fn redact_guest(guest: &mut Guest) {
    let Guest { name, node, status, tags, pool, lock, .. } = guest;
    for text in [name, node, status, tags, pool, lock] {
        if let Cow::Owned(shown) = sanitize::redact_text(text) {
            *text = shown;
        }
    }
}

/// Its cells, in the order of the columns.
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
        count(&guest.maxcpu),
        count(&guest.maxmem),
        count(&guest.uptime.filter(|seconds| *seconds > 0)),
        guest.template.then_some(Cow::Borrowed("1")),
        text(&guest.lock),
        guest.path().and_then(|path| text(path.as_str())),
    ]
}

/// What to try where no guest fits.
fn explain_no_match(query: &str, all: &[(usize, Guest)]) -> String {
    if all.is_empty() {
        return "no guest to be seen at all: there is none, or the token lacks VM.Audit (GET /access/permissions shows \
                its rights)\n"
            .into();
    }
    let numbers: Vec<String> = all.iter().map(|(_, guest)| guest.vmid.to_string()).collect();
    let mut known: Vec<&str> = numbers.iter().map(String::as_str).collect();
    for (_, guest) in all {
        known.extend([guest.name.as_str(), guest.pool.as_str()]);
        known.extend(guest.iter_tags());
        // A part of a name is an answer too: web of web-shop.example and of web01.
        known.extend(guest.name.split(['-', '.']));
        known.push(guest.name.trim_end_matches(|c: char| c.is_ascii_digit()));
    }
    let shown: String = query.chars().flat_map(char::escape_debug).collect();
    let mut text = format!("no guest fits \"{shown}\" among {} seen", all.len());
    let mut near: Vec<String> = Vec::new();
    let fits_none = |word: &&str| all.iter().all(|(_, guest)| guest.match_rank(word).is_none());
    for word in query.split_whitespace().filter(fits_none).take(3) {
        near.extend(guests::find_similar(word, known.clone()));
    }
    if near.is_empty() {
        text.push_str(
            ". get_cluster_resources with type vm lists all; the token sees only guests on which it has VM.Audit",
        );
    } else {
        let _ = write!(text, ". Nearest: {}", near.join(", "));
    }
    text.push('\n');
    text
}
