//! Descriptions of API operations for a model.

use super::example::render_example;
use crate::base::hint::Hint;
use crate::base::suggest::suggest;
use crate::policy::Risk;
use crate::pve::Method;
use crate::pve::knowledge::examples::need;
use crate::pve::knowledge::formats::{find_form, find_unit};
use crate::pve::knowledge::root_parameters::needs_root;
use crate::pve::schema::{Operation, ParameterSpec, PathMatch, Schema, fold_families};
use std::borrow::Cow;
use std::fmt::Write;

/// The most bytes of a description. What does not fit in full is written more briefly, never left out.
const MAX_DESCRIPTION_BYTES: usize = 1_965;

/// The most characters of the cluster's own text about an operation.
const MAX_TEXT_CHARS: usize = 300;

/// A parameter that no operation of a path has.
#[derive(Debug, thiserror::Error)]
#[error("there is no parameter `{name}` there")]
pub struct UnknownParameter {
    name: String,
    suggestion: Option<String>,
}

impl Hint for UnknownParameter {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let all = "leave `parameter` out to see them all";
        Some(match &self.suggestion {
            Some(name) => format!("did you mean `{name}`? Else {all}").into(),
            None => all.into(),
        })
    }
}

/// Describes the operations of a path: one fully, several in short, or one parameter of them.
pub fn describe(
    schema: &Schema,
    found: &PathMatch<'_>,
    operations: &[Operation<'_>],
    parameter: Option<&str>,
) -> Result<String, UnknownParameter> {
    let text = match (parameter, operations) {
        (Some(name), all) => describe_parameter(all, name)?,
        (None, [operation]) => describe_operation(operation, found),
        (None, all) => describe_path(all, found),
    };
    Ok(limit_bytes(text) + source_note(schema))
}

/// The most required parameters that a search result names.
const MAX_REQUIRED_NAMES: usize = 12;

/// Renders the groups of operations that a search found, after the sentence about the query, if there is one. Further
/// methods that change something on their paths are named.
pub fn render_search(schema: &Schema, note: Option<&str>, groups: &[Vec<Operation<'_>>]) -> String {
    let mut text = note.map(|note| format!("{note}\n")).unwrap_or_default();
    if groups.is_empty() && note.is_none() {
        return "No operation fits these words. Try others (what is it about: vm, container, storage, backup, user, \
                firewall, …), or describe_api with path / to walk down from the top."
            .into();
    }
    let mut seen_templates: Vec<&str> = Vec::new();
    for group in groups {
        let Some((operation, twins)) = group.split_first() else { continue };
        let summary = match operation.summary() {
            "" => operation.description(),
            summary => summary,
        };
        let summary: String = summary.chars().take(100).collect();
        let same_path = schema.operations().filter(|other| other.template() == operation.template());
        let methods = same_path.map(|other| other.method());
        let is_listed = |method| {
            groups
                .iter()
                .flat_map(|group| group.first())
                .any(|o| o.method() == method && o.template() == operation.template())
        };
        let others = methods.filter(|method| *method != Method::Get && !is_listed(*method));
        let others: Vec<&str> = others.map(Method::as_str).collect();
        let _ = write!(text, "{} {}", operation.method(), operation.template());
        let mut beside = Vec::new();
        for twin in twins.iter().filter(|twin| twin.template() != operation.template()) {
            match find_sibling_kind(operation, twin) {
                Some(kind) => beside.push(format!("or {kind}")),
                None => drop(write!(text, ", {} {}", twin.method(), twin.template())),
            }
        }
        let is_first = !seen_templates.contains(&operation.template());
        seen_templates.push(operation.template());
        if is_first && !others.is_empty() {
            beside.push(format!("also {}", others.join(", ")));
        }
        if !beside.is_empty() {
            let _ = write!(text, " ({})", beside.join("; "));
        }
        let _ = write!(text, " — {summary}");
        let names = operation.parameters().filter(|p| p.is_required_with(None)).map(|p| p.name());
        let names = names.filter(|name| !operation.is_path_parameter(name));
        let required: Vec<&str> = names.take(MAX_REQUIRED_NAMES).collect();
        if !required.is_empty() {
            let _ = write!(text, "; requires {}", required.join(", "));
        }
        if let Some(privileges) = find_notable_privileges(operation) {
            let _ = write!(text, "; needs {privileges}");
        }
        if operation.risk() != Risk::READ {
            let _ = write!(text, "; {}", operation.risk());
        }
        text.push('\n');
    }
    text
}

/// Returns the kind of guest of an operation that is the same one for the other kind.
fn find_sibling_kind(operation: &Operation<'_>, twin: &Operation<'_>) -> Option<&'static str> {
    let template = operation.template();
    let is_twin = |from: &str, to: &str| template.contains(from) && template.replacen(from, to, 1) == twin.template();
    let kind =
        [("/qemu", "/lxc", "lxc"), ("/lxc", "/qemu", "qemu")].into_iter().find(|(from, to, _)| is_twin(from, to));
    kind.filter(|_| operation.method() == twin.method()).map(|(.., kind)| kind)
}

/// The objects that the path of an operation names already.
const PATH_OBJECTS: [&str; 2] = [" on /vms/{vmid}", " on /nodes/{node}"];

/// Returns the required privileges without the object of the path, unless it is a read that only needs to audit it.
fn find_notable_privileges<'s>(operation: &Operation<'s>) -> Option<&'s str> {
    let privileges = operation.privileges();
    let on_object = PATH_OBJECTS.iter().find_map(|object| privileges.strip_suffix(object));
    let is_audit = on_object.is_some_and(|privilege| privilege.ends_with(".Audit") && !privilege.contains(' '));
    let is_usual = privileges.is_empty() || (is_audit && operation.risk() == Risk::READ);
    (!is_usual).then_some(on_object.unwrap_or(privileges))
}

/// Cuts a text to the limit. Only the schema of a broken node exceeds it.
fn limit_bytes(mut text: String) -> String {
    if text.len() > MAX_DESCRIPTION_BYTES {
        text.truncate(text.floor_char_boundary(MAX_DESCRIPTION_BYTES - '…'.len_utf8()));
        text.push('…');
    }
    text
}

/// Returns a note where the texts are not the cluster's.
fn source_note(schema: &Schema) -> &'static str {
    if schema.is_live() {
        ""
    } else {
        "\n(from the facts in this program: the cluster's own description could not be read)"
    }
}

/// Describes all methods of a path, each in a few lines.
fn describe_path(operations: &[Operation<'_>], found: &PathMatch<'_>) -> String {
    let mut text = operations.first().map(render_example).unwrap_or_default();
    for operation in operations {
        push_heading(&mut text, operation);
        let (required, optional): (Vec<_>, Vec<_>) =
            operation.parameters().filter(|p| !operation.is_path_parameter(p.name())).partition(|p| p.is_required());
        if !required.is_empty() {
            let _ = writeln!(text, "  required: {}", join_names(&required));
        }
        if !optional.is_empty() {
            let _ = writeln!(text, "  {} optional parameters: name the method to see them", optional.len());
        }
    }
    push_children(&mut text, found);
    text
}

/// Describes one operation, as fully as the limit allows.
fn describe_operation(operation: &Operation<'_>, found: &PathMatch<'_>) -> String {
    let mut start = render_example(operation);
    push_heading(&mut start, operation);
    let description = operation.description();
    let is_summary = description.eq_ignore_ascii_case(operation.summary());
    if !description.is_empty() && !is_summary && description != "Directory index." {
        let _ = writeln!(start, "  {}", limit_chars(description, MAX_TEXT_CHARS));
    }
    let returns = operation.return_type();
    let _ = match operation.starts_task() {
        true => writeln!(
            start,
            "  answers: a string; if it is a UPID, a task continues: wait_for_task, or call with wait: true"
        ),
        false if returns.is_empty() => Ok(()),
        false => writeln!(start, "  answers: {returns}"),
    };
    if operation.allows_extra_parameters() {
        start.push_str("  takes parameters beyond these\n");
    }
    let mut end = String::new();
    push_children(&mut end, found);
    let mut parameters: Vec<_> = operation.parameters().filter(|p| !operation.is_path_parameter(p.name())).collect();
    parameters.sort_by_key(|parameter| need(parameter.name()).unwrap_or(usize::MAX));
    let (required, optional): (Vec<_>, Vec<_>) = parameters.into_iter().partition(|p| p.is_required());
    let room = MAX_DESCRIPTION_BYTES.saturating_sub(start.len() + end.len());
    // This short line takes no room from the parameters.
    let names = operation.parameters().map(|p| p.name());
    let root_names: Vec<&str> = names.filter(|name| needs_root(operation.template(), name)).collect();
    if !root_names.is_empty() {
        let _ = writeln!(start, "  no API token may give: {}", root_names.join(", "));
    }
    for detail in [DetailLevel::Full, DetailLevel::Typed, DetailLevel::Grouped, DetailLevel::Names] {
        let mut list = String::new();
        push_section(
            &mut list,
            "required",
            &required,
            if detail == DetailLevel::Names { DetailLevel::Grouped } else { detail },
        );
        push_section(&mut list, "optional", &optional, detail);
        if list.len() <= room || detail == DetailLevel::Names {
            return start + &list + &end;
        }
    }
    start + &end
}

/// The detail of each parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DetailLevel {
    /// A line for each, with the cluster's own text.
    Full,
    /// A line for each.
    Typed,
    /// Grouped by type, with words and ranges.
    Grouped,
    /// Grouped by type.
    Names,
}

fn push_section(text: &mut String, title: &str, parameters: &[ParameterSpec<'_>], detail: DetailLevel) {
    if parameters.is_empty() {
        return;
    }
    let _ = writeln!(text, "{title}:");
    if matches!(detail, DetailLevel::Full | DetailLevel::Typed) {
        for parameter in parameters {
            let _ = write!(text, "  {} {}", parameter.name(), parameter_type(parameter));
            push_instance_types(text, parameter);
            push_limits(text, parameter);
            if detail == DetailLevel::Full && !parameter.description().is_empty() {
                let _ = write!(text, " — {}", limit_chars(first_sentence(parameter.description()), 120));
            }
            text.push('\n');
        }
        return;
    }
    // The parameters are in the order of need.
    let (needed, others) = parameters.split_at(parameters.partition_point(|p| need(p.name()).is_some()));
    if !needed.is_empty() && !others.is_empty() {
        let _ = writeln!(text, "  most used: {}", join_names(needed));
    }
    let grouped = if others.is_empty() { parameters } else { others };
    let mut kinds: Vec<&str> = grouped.iter().map(parameter_type).collect();
    kinds.sort();
    kinds.dedup();
    for group in kinds {
        let _ = write!(text, "  {group}:");
        for (n, parameter) in grouped.iter().filter(|p| parameter_type(p) == group).enumerate() {
            let _ = write!(text, "{} {}", if n == 0 { "" } else { "," }, parameter.name());
            push_instance_types(text, parameter);
            if detail == DetailLevel::Grouped {
                push_limits(text, parameter);
            }
        }
        text.push('\n');
    }
}

/// Returns the type of a parameter in a word or two.
fn parameter_type<'s>(parameter: &ParameterSpec<'s>) -> &'s str {
    match parameter.kind() {
        "boolean" => "bool",
        "integer" => "int",
        "array" => "array",
        "" | "string" if parameter.allowed_values().next().is_some() => "word",
        "" | "string" if parameter.nested_parameters().next().is_some() => "key=value,…",
        "" | "string" if parameter.format().ends_with("-list") => "list",
        "" | "string" => "text",
        other => other,
    }
}

/// Appends the types with which alone the parameter applies.
fn push_instance_types(text: &mut String, parameter: &ParameterSpec<'_>) {
    let types: Vec<&str> = parameter.instance_types().collect();
    if !types.is_empty() {
        let _ = write!(text, " (only {})", types.join(", "));
    }
}

/// Appends words, range, unit and default.
fn push_limits(text: &mut String, parameter: &ParameterSpec<'_>) {
    let words: Vec<&str> = parameter.allowed_values().collect();
    let _ = match (words.as_slice(), parameter.minimum(), parameter.maximum()) {
        ([_, ..], ..) => write!(text, " {}", fold_families(&words).join("|")),
        (_, "", "") => Ok(()),
        (_, least, "") => write!(text, " ≥{least}"),
        (_, "", most) => write!(text, " ≤{most}"),
        (_, least, most) => write!(text, " {least}–{most}"),
    };
    if let Some(unit) = find_unit(parameter.name()).filter(|_| matches!(parameter.kind(), "integer" | "number")) {
        let _ = write!(text, " {unit}");
    }
    if !parameter.default().is_empty() && parameter.default().len() <= 24 {
        let _ = write!(text, " ={}", parameter.default());
    }
    if !parameter.requires().is_empty() {
        let _ = write!(text, " (with {})", parameter.requires());
    }
}

/// Describes one parameter in full.
fn describe_parameter(operations: &[Operation<'_>], name: &str) -> Result<String, UnknownParameter> {
    let with = operations.iter().find(|operation| operation.parameter(name).is_some());
    let Some(operation) = with else {
        let names = operations.iter().flat_map(|o| o.parameters().map(|p| p.name()));
        let suggestion = suggest(name, names).map(str::to_owned);
        return Err(UnknownParameter { name: name.chars().take(64).collect(), suggestion });
    };
    let mut text = String::new();
    for parameter in operation.parameter_variants(name) {
        push_parameter(&mut text, operation, &parameter);
    }
    Ok(text)
}

/// Appends a parameter in full.
fn push_parameter(text: &mut String, operation: &Operation<'_>, parameter: &ParameterSpec<'_>) {
    let (method, template) = (operation.method(), operation.template());
    let _ = write!(text, "{} of {method} {template}: {}", parameter.name(), parameter_type(parameter));
    push_instance_types(text, parameter);
    push_limits(text, parameter);
    text.push_str(if parameter.is_required() { ", required\n" } else { ", optional\n" });
    if needs_root(template, parameter.name()) {
        text.push_str("  no API token may give it: root@pam only, with a password\n");
    }
    for (what, value) in [
        ("format", parameter.format()),
        ("form", find_form(parameter.format()).unwrap_or_default()),
        ("default", parameter.default()),
        ("pattern", parameter.pattern()),
        ("characters, at least", parameter.min_length()),
        ("characters, at most", parameter.max_length()),
    ] {
        if !value.is_empty() {
            let _ = writeln!(text, "  {what}: {}", limit_chars(value, 200));
        }
    }
    if !parameter.description().is_empty() {
        let _ = writeln!(text, "  {}", limit_chars(parameter.description(), 600));
    }
    let keys: Vec<ParameterSpec<'_>> = parameter.nested_parameters().filter(|k| k.alias().is_empty()).collect();
    if let Some(first) = keys.iter().find(|k| k.is_default_key()) {
        let _ = writeln!(text, "  `{}` may stand first without its name: <{0}>,key=value", first.name());
    }
    let (required, optional): (Vec<_>, Vec<_>) = keys.into_iter().partition(ParameterSpec::is_required);
    for detail in [DetailLevel::Full, DetailLevel::Typed, DetailLevel::Grouped] {
        let mut list = String::new();
        push_section(&mut list, "keys that must be there", &required, detail);
        push_section(&mut list, "keys", &optional, detail);
        if text.len() + list.len() <= MAX_DESCRIPTION_BYTES || detail == DetailLevel::Grouped {
            text.push_str(&list);
            return;
        }
    }
}

/// Appends `METHOD template — summary`, risk and privileges.
fn push_heading(text: &mut String, operation: &Operation<'_>) {
    let (method, template) = (operation.method(), operation.template());
    let summary = match operation.summary() {
        "" => limit_chars(first_sentence(operation.description()), 100),
        summary => summary.to_owned(),
    };
    let _ = write!(text, "{method} {template} — {summary}\n  risk: {}", operation.risk());
    if !operation.risk_reason().is_empty() {
        let _ = write!(text, " ({})", operation.risk_reason());
    }
    let _ = match operation.privileges() {
        "" if operation.method() == Method::Get => write!(text, "; any user, who sees what the token may see"),
        "" => write!(text, "; what it needs depends on the parameters"),
        privileges => write!(text, "; needs {privileges}"),
    };
    text.push_str(if operation.refuses_tokens() { "; refuses API tokens\n" } else { "\n" });
}

fn push_children(text: &mut String, found: &PathMatch<'_>) {
    if !found.children.is_empty() {
        let _ = writeln!(text, "below: {}", limit_chars(&found.children.join(", "), 400));
    }
}

fn join_names(parameters: &[ParameterSpec<'_>]) -> String {
    parameters.iter().map(|p| format!("{} {}", p.name(), parameter_type(p))).collect::<Vec<_>>().join(", ")
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.')
}

/// Cuts a text to so many characters, at the end of a word if possible.
fn limit_chars(text: &str, most: usize) -> String {
    let Some((at, _)) = text.char_indices().nth(most) else { return text.to_owned() };
    let start = &text[..at];
    format!("{}…", start.rsplit_once(' ').map_or(start, |(start, _)| start))
}
