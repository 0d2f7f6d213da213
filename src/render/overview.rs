//! The overview of clusters: everything that needs attention, in a text of a fixed size.

use super::briefing::{Limit, Section, SectionRow, SharedProblem, Topic};
use super::cluster_errors::ErrorText;
use super::health::{HealthFacts, describe_guest_states, describe_membership};
use super::labels::{count, format_cpu, format_local_time, format_percent, format_time, guest_name};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The most bytes of an overview. With the notice of a tool's answer it has at most 2,048.
const MAX_OVERVIEW_BYTES: usize = 1_980;

/// The most bytes of a problem, before its path.
const MAX_ROW_BYTES: usize = 220;

/// The most bytes of a line about many objects with the same problem.
const MAX_SHARED_ROW_BYTES: usize = 260;

/// The least objects with the same problem that have one line.
const MIN_SHARED: usize = 4;

/// The most bytes of the line about parts that could not be read, where problems need the room.
const MAX_LIMITS_BYTES: usize = 420;

/// The most bytes of the reason why a part could not be read.
const MAX_CAUSE_BYTES: usize = 130;

/// The used fraction of its processors from which a guest is named.
const BUSY_GUEST: f64 = 0.8;

/// The most bytes of a cluster's or node's name.
const MAX_NAME_BYTES: usize = 32;

/// The most names in one list.
const MAX_NAMES: usize = 3;

/// Clusters of which nothing could be read.
const SILENT: Topic = Topic { noun: "clusters without an answer", path: "list_clusters check" };

/// One cluster of an overview.
pub struct ClusterView<'a> {
    pub name: &'a str,
    /// `None` where the caller can use only one cluster.
    pub label: Option<&'a str>,
    /// The facts, and what health says about them. The error is of a cluster without an answer.
    pub state: Result<(HealthFacts, Vec<Section>), ErrorText>,
}

/// A line about one or more problems.
struct ProblemLine {
    text: String,
    problems: usize,
}

/// The problems of one topic, of all clusters.
struct TopicProblems {
    topic: Topic,
    lines: Vec<ProblemLine>,
    /// The number of problems. A line may have many.
    total: usize,
    /// The number of problems by cluster, where there are several clusters.
    counts: BTreeMap<String, usize>,
    is_limited: bool,
    remark: String,
}

/// Renders the state of clusters of which at least one answered, in at most `max_bytes`.
pub fn render_overview(clusters: &[ClusterView<'_>], now: u64, max_bytes: usize) -> String {
    let max_bytes = max_bytes.min(MAX_OVERVIEW_BYTES);
    let topics = collect_topics(clusters);
    let mut head = vec![describe_totals(clusters, now)];
    head.extend(describe_load(clusters));
    head.extend(describe_busy_guests(clusters));
    let mut tail = Vec::new();
    let clean: Vec<String> =
        topics.iter().filter(|t| t.lines.is_empty() && !t.is_limited).map(TopicProblems::describe_clean).collect();
    if !clean.is_empty() {
        tail.push(format!("looked at, nothing wrong: {}", clean.join(", ")));
    }
    // Each list of disks asks every disk, which takes seconds and wakes those that sleep. A journal is long.
    tail.push("not looked at: health of disks /nodes/{node}/disks/list, kernel errors and OOM …/journal".to_owned());
    let troubled: Vec<&TopicProblems> = topics.iter().filter(|topic| !topic.lines.is_empty()).collect();
    let headings: Vec<String> = troubled.iter().map(|topic| topic.heading()).collect();
    let problems = troubled.iter().flat_map(|topic| &topic.lines).map(|line| line.text.len() + 1).sum::<usize>();
    let others = head.iter().chain(&tail).chain(&headings).map(|line| line.len() + 1).sum::<usize>() + problems;
    tail.extend(describe_limits(clusters, MAX_LIMITS_BYTES.max(max_bytes.saturating_sub(others))));
    tail.extend(describe_doubts(clusters));

    let fixed = head.iter().chain(&tail).chain(&headings).map(|line| line.len() + 1).sum::<usize>();
    let shown = divide_lines(&troubled, max_bytes.saturating_sub(fixed));
    let mut lines = head;
    for ((topic, heading), shown) in troubled.iter().zip(headings).zip(shown) {
        lines.push(heading);
        lines.extend(topic.lines[..shown].iter().map(|line| line.text.clone()));
        lines.extend(topic.describe_rest(shown));
    }
    lines.extend(tail);
    cut(&lines.join("\n"), max_bytes)
}

impl TopicProblems {
    /// Returns the number of problems, the clusters that have most of them, and the path that shows all.
    fn heading(&self) -> String {
        let mut clusters: Vec<_> = self.counts.iter().collect();
        clusters.sort_by_key(|(_, number)| std::cmp::Reverse(**number));
        let names = list_names(clusters.iter().map(|(name, number)| format!("{name} {number}")));
        let places = if names.is_empty() { names } else { format!(": {names}") };
        let Topic { noun, path } = self.topic;
        format!("{noun} ({}{places}) {path}", self.total)
    }

    /// Returns the number of problems after the first lines, which are left out.
    fn describe_rest(&self, shown: usize) -> Option<String> {
        let more = self.lines[shown..].iter().map(|line| line.problems).sum::<usize>();
        (shown > 0 && more > 0).then(|| format!("- {more} more"))
    }

    fn describe_clean(&self) -> String {
        match self.remark.as_str() {
            "" => self.topic.noun.to_owned(),
            remark => format!("{} ({remark})", self.topic.noun),
        }
    }
}

/// Collects the problems of all clusters by their topics, the most urgent topic first.
fn collect_topics(clusters: &[ClusterView<'_>]) -> Vec<TopicProblems> {
    let mut topics: Vec<TopicProblems> = Vec::new();
    for ClusterView { name, label, state } in silent_first(clusters) {
        let mut add = |topic: Topic, rows: &[SectionRow], is_limited: bool, remark: &str| {
            let place = topics.iter().position(|known| known.topic == topic).unwrap_or_else(|| {
                let (lines, counts, remark) = (Vec::new(), BTreeMap::new(), String::new());
                topics.push(TopicProblems { topic, lines, total: 0, counts, is_limited: false, remark });
                topics.len() - 1
            });
            let known = &mut topics[place];
            known.is_limited |= is_limited;
            if label.is_none() {
                known.remark = remark.to_owned();
            }
            let problems: Vec<&SectionRow> = rows.iter().filter(|row| row.problem_path.is_some()).collect();
            let total = problems.iter().map(|row| row.times).sum::<usize>();
            known.total += total;
            if label.is_some() && !problems.is_empty() {
                *known.counts.entry(cut(name, MAX_NAME_BYTES)).or_default() += total;
            }
            known.lines.extend(describe_problems(&problems, topic, *label));
        };
        match state {
            Ok((_, sections)) => {
                for section in sections {
                    let Some(topic) = section.topic() else { continue };
                    add(topic, section.rows(), !section.limits().is_empty(), section.remark());
                }
            }
            Err(ErrorText(error)) => {
                let problem_path = Some(SILENT.path.to_owned());
                add(SILENT, &[SectionRow { text: error.clone(), problem_path, shared: None, times: 1 }], false, "");
            }
        }
    }
    topics
}

/// Returns the clusters, those without an answer first.
fn silent_first<'v, 'a>(clusters: &'v [ClusterView<'a>]) -> impl Iterator<Item = &'v ClusterView<'a>> {
    let (silent, answered): (Vec<_>, Vec<_>) = clusters.iter().partition(|cluster| cluster.state.is_err());
    silent.into_iter().chain(answered)
}

/// Describes problems. Many objects with the same one have one line.
fn describe_problems(rows: &[&SectionRow], topic: Topic, label: Option<&str>) -> Vec<ProblemLine> {
    let mut subjects_by_problem: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut brief: HashSet<&str> = HashSet::new();
    for (row, SharedProblem { subject, problem }) in rows.iter().filter_map(|row| Some((row, row.shared.as_ref()?))) {
        subjects_by_problem.entry(problem).or_default().push(subject);
        if row.text == format!("{subject}: {problem}") {
            brief.insert(problem);
        }
    }
    // A line of its own that says no more is not needed from the second object on.
    let min = |problem: &&str| if brief.contains(problem) { 2 } else { MIN_SHARED };
    subjects_by_problem.retain(|problem, subjects| subjects.len() >= min(problem));
    let is_alone = |row: &SectionRow| {
        row.shared.as_ref().is_none_or(|shared| !subjects_by_problem.contains_key(shared.problem.as_str()))
    };
    let alone = rows
        .iter()
        .filter(|row| is_alone(row))
        .map(|row| ProblemLine { text: describe_problem(row, topic, label), problems: row.times });
    let label = label.map(|name| format!("{}: ", cut(name, MAX_NAME_BYTES))).unwrap_or_default();
    // The most frequent problem comes first, and equal ones by their text.
    let mut shared: Vec<(&&str, &Vec<&str>)> = subjects_by_problem.iter().collect();
    shared.sort_by_key(|(problem, subjects)| (std::cmp::Reverse(subjects.len()), **problem));
    let shared = shared.into_iter().map(|(problem, subjects)| ProblemLine {
        text: format!("- {label}{}: {}", cut(problem, MAX_ROW_BYTES), list_subjects(subjects)),
        problems: subjects.len(),
    });
    shared.chain(alone).collect()
}

/// Lists as many objects as a line has room for, and counts the rest.
fn list_subjects(subjects: &[&str]) -> String {
    let mut text = String::new();
    for (place, subject) in subjects.iter().enumerate() {
        if place > 0 && text.len() + subject.len() > MAX_SHARED_ROW_BYTES {
            return format!("{text} and {} more", subjects.len() - place);
        }
        text.push_str(if place > 0 { ", " } else { "" });
        text.push_str(&cut(subject, MAX_ROW_BYTES));
    }
    text
}

/// Describes a problem on one line.
fn describe_problem(row: &SectionRow, topic: Topic, label: Option<&str>) -> String {
    let label = label.map(|name| format!("{}: ", cut(name, MAX_NAME_BYTES))).unwrap_or_default();
    let text = cut(&row.text, MAX_ROW_BYTES);
    match &row.problem_path {
        Some(path) if path != topic.path => format!("- {label}{text} {path}"),
        _ => format!("- {label}{text}"),
    }
}

/// Returns how many lines of each topic fit: one of each topic before the second of any. There is room for the line that
/// counts the rest.
fn divide_lines(topics: &[&TopicProblems], room: usize) -> Vec<usize> {
    let mut is_part = vec![false; topics.len()];
    loop {
        let parts = topics.iter().zip(&is_part).filter(|(_, is_part)| **is_part);
        let rest: usize = parts.map(|(topic, _)| format!("- {} more\n", topic.total).len()).sum();
        let shown = fill_room(topics, room.saturating_sub(rest));
        let new = (0..topics.len()).filter(|&at| !is_part[at] && (1..topics[at].lines.len()).contains(&shown[at]));
        let new: Vec<usize> = new.collect();
        if new.is_empty() {
            return shown;
        }
        new.into_iter().for_each(|at| is_part[at] = true);
    }
}

/// Returns how many lines of each topic fit without any other line.
fn fill_room(topics: &[&TopicProblems], mut room: usize) -> Vec<usize> {
    let mut shown = vec![0; topics.len()];
    let mut is_full = vec![false; topics.len()];
    while is_full.contains(&false) {
        for (place, topic) in topics.iter().enumerate().filter(|(place, _)| !is_full[*place]).collect::<Vec<_>>() {
            match topic.lines.get(shown[place]).map(|line| line.text.len() + 1).filter(|size| *size <= room) {
                Some(size) => {
                    room -= size;
                    shown[place] += 1;
                }
                None => is_full[place] = true,
            }
        }
    }
    shown
}

/// Counts nodes and guests.
fn describe_totals(clusters: &[ClusterView<'_>], now: u64) -> String {
    let answered: Vec<&HealthFacts> =
        clusters.iter().filter_map(|cluster| cluster.state.as_ref().ok()).map(|(facts, _)| facts).collect();
    let time = match answered.as_slice() {
        [facts] => format_local_time(now, facts.utc_offset),
        _ => format_time(now),
    };
    let (title, nodes) = match (clusters, answered.as_slice()) {
        ([cluster], [facts]) => {
            let nodes = facts.membership.as_ref().map(describe_membership);
            (cut(cluster.name, MAX_NAME_BYTES), nodes.unwrap_or_else(|_| describe_nodes(&answered)))
        }
        _ => (format!("{} of {} answer", answered.len(), count(clusters.len(), "cluster")), describe_nodes(&answered)),
    };
    format!("{title}, {time}: {nodes}; {}", describe_guest_states(answered))
}

fn describe_nodes(clusters: &[&HealthFacts]) -> String {
    let nodes = || clusters.iter().flat_map(|facts| &facts.inventory.nodes);
    format!("{} of {} nodes online", nodes().filter(|node| node.is_online()).count(), nodes().count())
}

/// Names the nodes with the highest load.
fn describe_load(clusters: &[ClusterView<'_>]) -> Option<String> {
    let mut nodes: Vec<(f64, String)> = Vec::new();
    for ClusterView { label, state, .. } in clusters {
        let Ok((facts, _)) = state else { continue };
        // Figures of a node that is offline are old.
        for node in facts.inventory.nodes.iter().filter(|node| node.is_online()) {
            if let (Some(cpu), Some(memory)) = (node.cpu, node.memory_fraction()) {
                let (cpu_text, memory_text) = (format_percent(cpu), format_percent(memory));
                nodes.push((
                    cpu.max(memory),
                    format!("{} CPU {cpu_text} memory {memory_text}", join_place(*label, &node.name)),
                ));
            }
        }
    }
    nodes.sort_by(|a, b| b.0.total_cmp(&a.0));
    let names = list_names(nodes.iter().map(|(_, text)| text.clone()));
    (!names.is_empty()).then(|| format!("load, highest first: {names} /nodes"))
}

/// Names the running guests that use most of their processors.
fn describe_busy_guests(clusters: &[ClusterView<'_>]) -> Option<String> {
    let mut busy: Vec<(f64, String)> = Vec::new();
    for ClusterView { label, state, .. } in clusters {
        let Ok((facts, _)) = state else { continue };
        for guest in facts.inventory.guests.iter().filter(|guest| guest.status == "running") {
            if let (Some(cpu @ BUSY_GUEST..), Some(cores)) = (guest.cpu, guest.maxcpu) {
                let place = label.map(|name| format!("{}/", cut(name, MAX_NAME_BYTES))).unwrap_or_default();
                let name = cut(&guest_name(guest), 2 * MAX_NAME_BYTES);
                busy.push((cpu, format!("{place}{name} CPU {}", format_cpu(cpu, cores))));
            }
        }
    }
    busy.sort_by(|a, b| b.0.total_cmp(&a.0));
    let names = list_names(busy.into_iter().map(|(_, text)| text));
    (!names.is_empty()).then(|| format!("guests that use most of their CPU now: {names} /cluster/resources?type=vm"))
}

/// Topics that could not be read in some places, for one reason.
struct UnseenPart<'a> {
    nouns: Vec<&'a str>,
    places: Vec<String>,
    cause: String,
}

/// Describes the parts that could not be read, those with the same reason together, in about `max_bytes`.
fn describe_limits(clusters: &[ClusterView<'_>], max_bytes: usize) -> Option<String> {
    let mut places: Vec<((&str, String), Vec<String>)> = Vec::new();
    for ClusterView { name, label, state } in silent_first(clusters) {
        let mut add = |noun, cause: &str, place: String| {
            let key = (noun, cut(cause, MAX_CAUSE_BYTES));
            match places.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) if known.contains(&place) => {}
                Some((_, known)) => known.push(place),
                None => places.push((key, vec![place])),
            }
        };
        match state {
            Ok((_, sections)) => {
                for section in sections {
                    let Some(topic) = section.topic() else { continue };
                    for Limit { place, cause, .. } in section.limits().iter().filter(|limit| !limit.is_doubt) {
                        add(topic.noun, cause, join_place(*label, place));
                    }
                }
            }
            Err(_) => add("everything", "no answer", cut(name, MAX_NAME_BYTES)),
        }
    }
    let mut parts: Vec<UnseenPart<'_>> = Vec::new();
    for ((noun, cause), places) in places {
        match parts.iter_mut().find(|known| known.cause == cause && known.places == places) {
            Some(known) => known.nouns.push(noun),
            None => parts.push(UnseenPart { nouns: vec![noun], places, cause }),
        }
    }
    let parts: Vec<String> = parts
        .iter()
        .map(|UnseenPart { nouns, places, cause }| {
            let places = list_names(places.iter().filter(|place| !place.is_empty()).cloned());
            let places = if places.is_empty() { places } else { format!(" of {places}") };
            format!("{}{places} ({cause})", nouns.join(", "))
        })
        .collect();
    (!parts.is_empty()).then(|| format!("not or only partly read: {}", join_within(&parts, max_bytes)))
}

/// Describes the topics that may be incomplete because the privileges of the token could not be read.
fn describe_doubts(clusters: &[ClusterView<'_>]) -> Option<String> {
    let (mut nouns, mut causes): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    for ClusterView { label, state, .. } in clusters {
        let Ok((_, sections)) = state else { continue };
        let topics = sections.iter().filter_map(|section| Some((section.topic()?, section)));
        for (topic, limit) in
            topics.flat_map(|(topic, section)| section.limits().iter().map(move |limit| (topic, limit)))
        {
            if !limit.is_doubt {
                continue;
            }
            if !nouns.contains(&topic.noun) {
                nouns.push(topic.noun);
            }
            let place = label.map(|name| format!("{}: ", cut(name, MAX_NAME_BYTES))).unwrap_or_default();
            let cause = format!("{place}{}", cut(&limit.cause, MAX_CAUSE_BYTES));
            if !causes.contains(&cause) {
                causes.push(cause);
            }
        }
    }
    let more = causes.len().saturating_sub(1);
    let more = if more > 0 { format!(" and {}", count(more, "more cluster")) } else { String::new() };
    let cause = causes.first()?;
    Some(format!(
        "may lack what the API token can't see, because /access/permissions could not be read ({cause}{more}): {}",
        nouns.join(", ")
    ))
}

/// Joins parts up to a size, and counts the rest. The first one is always there.
fn join_within(parts: &[String], max: usize) -> String {
    let mut text = String::new();
    for (number, part) in parts.iter().enumerate() {
        if number > 0 && text.len() + part.len() > max {
            return format!("{text}; and {} more", count(parts.len() - number, "part"));
        }
        if number > 0 {
            text.push_str("; ");
        }
        text.push_str(&cut(part, max));
    }
    text
}

/// Lists the first names, and counts the rest.
fn list_names(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(MAX_NAMES);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// Returns the name of a node or storage, with its cluster where there are several.
fn join_place(label: Option<&str>, place: &str) -> String {
    let parts: Vec<String> = label
        .into_iter()
        .chain([place])
        .filter(|part| !part.is_empty())
        .map(|part| cut(part, MAX_NAME_BYTES))
        .collect();
    parts.join("/")
}

/// Returns a text of at most `max` bytes. A longer one is cut.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(max - '…'.len_utf8())])
}
