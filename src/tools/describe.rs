//! `describe_api`: what an operation takes, needs, does and answers, in at most [`MAX_DESCRIPTION_BYTES`].

use crate::base::hint::render_error;
use crate::call::operation::{find_operation, find_path, split_leading_method};
use crate::call::resolve_path::expand_shorthand;
use crate::call::state::ToolState;
use crate::mcp::arguments::{ParameterKind, ToolArguments, ToolParameter};
use crate::mcp::catalog::{Tool, ToolEffect, ToolError, ToolInput, ToolOutput};
use crate::mcp::context::CallContext;
use crate::pve::Method;
use crate::pve::client::manager::ClusterManager;
use crate::pve::path::ApiPath;
use crate::pve::schema::{Operation, ParameterSpec, PathMatch, PathMismatch, Schema, fold_families};
use std::fmt::Write;
use std::sync::Arc;

/// The most a description has. What does not fit in full is said more briefly, never left out.
const MAX_DESCRIPTION_BYTES: usize = 1_950;

/// Of the cluster's own words about an operation.
const MAX_TEXT_CHARS: usize = 300;

/// The tool `describe_api(path, method?, parameter?, cluster?)`.
pub fn describe_api(state: Arc<ToolState>) -> Tool {
    Tool {
        name: "describe_api",
        title: "Describe an API operation",
        description: "What an operation of the Proxmox VE API takes and needs: parameters with types and limits, \
            privileges, risk, what it answers. Takes a template (/nodes/{node}/qemu) or a concrete path. With \
            `parameter`, all there is to know of that one, such as the keys of net0.",
        input: ToolInput::Parameters(&[
            ToolParameter {
                name: "path",
                kind: ParameterKind::Text,
                required: true,
                description: "/nodes/{node}/qemu/{vmid}/config or /nodes/pve1/qemu/100/config",
            },
            ToolParameter {
                name: "method",
                kind: ParameterKind::Choice(&["GET", "POST", "PUT", "DELETE"]),
                required: false,
                description: "default: every method the path has, in short",
            },
            ToolParameter {
                name: "parameter",
                kind: ParameterKind::Text,
                required: false,
                description: "one parameter, in full",
            },
            ToolParameter {
                name: "cluster",
                kind: ParameterKind::Text,
                required: false,
                description: "whose version of the API",
            },
        ]),
        effect: ToolEffect::ReadOnly,
        handler: Box::new(move |context, args| {
            state.run_call(context, "describe_api", &|call| handle_describe(call.manager, context, args))
        }),
    }
}

fn handle_describe(
    manager: &ClusterManager,
    context: &CallContext<'_>,
    args: &ToolArguments,
) -> Result<ToolOutput, ToolError> {
    let cluster = manager.select_any(args.text("cluster")).map_err(|error| render_error(&error))?;
    let schema = cluster.schema(&context.cancel);
    let typed = args.text("path").unwrap_or_default();
    let (leading, typed) = split_leading_method(typed);
    let path = expand_shorthand(&ApiPath::parse_template(typed).map_err(|error| render_error(&error))?.0)?;
    let segments: Vec<_> = path.segments().collect();
    if let Err(PathMismatch { matched_segments: known, alternatives: there, .. }) = schema.match_path(&segments)
        && known == segments.len()
    {
        return Ok(ToolOutput::text(format!("{path} has no operation of its own; below it are {}", there.join(", "))));
    }
    let found = find_path(&schema, &path)?;
    let method = args.text("method").and_then(Method::from_name).or(leading);
    let operations: Vec<Operation<'_>> = match method {
        Some(method) => vec![find_operation(&found, &path, method)?],
        None => found.operations().collect(),
    };
    let text = match (args.text("parameter"), operations.as_slice()) {
        (Some(name), all) => describe_parameter(all, name)?,
        (None, [one]) => describe_operation(one, &found),
        (None, all) => describe_path(all, &found),
    };
    Ok(ToolOutput::text(limit_bytes(text) + source_note(&schema)))
}

/// No more than a description has room for; only a schema that is no real one comes near.
fn limit_bytes(mut text: String) -> String {
    if text.len() > MAX_DESCRIPTION_BYTES {
        text.truncate(text.floor_char_boundary(MAX_DESCRIPTION_BYTES - '…'.len_utf8()));
        text.push('…');
    }
    text
}

/// Says so where the texts are not the cluster's.
fn source_note(schema: &Schema) -> &'static str {
    if schema.is_live() {
        ""
    } else {
        "\n(from the facts in this program: the cluster's own API description could not be had)"
    }
}

/// All methods of a path, each in a few lines.
fn describe_path(operations: &[Operation<'_>], found: &PathMatch<'_>) -> String {
    let mut text = String::new();
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

/// One operation, as fully as fits.
fn describe_operation(operation: &Operation<'_>, found: &PathMatch<'_>) -> String {
    let mut start = String::new();
    push_heading(&mut start, operation);
    let words = operation.description();
    if !words.is_empty() && !words.eq_ignore_ascii_case(operation.summary()) && words != "Directory index." {
        let _ = writeln!(start, "  {}", limit_chars(words, MAX_TEXT_CHARS));
    }
    let returns = operation.return_type();
    let _ = match operation.starts_task() {
        true => writeln!(
            start,
            "  answers: a string; if it is a UPID, a task goes on: wait_for_task, or call with wait: true"
        ),
        false if returns.is_empty() => Ok(()),
        false => writeln!(start, "  answers: {returns}"),
    };
    if operation.allows_extra_parameters() {
        start.push_str("  takes parameters beyond these\n");
    }
    let mut end = String::new();
    push_children(&mut end, found);
    let (required, optional): (Vec<_>, Vec<_>) =
        operation.parameters().filter(|p| !operation.is_path_parameter(p.name())).partition(|p| p.is_required());
    let room = MAX_DESCRIPTION_BYTES.saturating_sub(start.len() + end.len());
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

/// How much is said of each parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DetailLevel {
    /// A line each, with the cluster's own words.
    Full,
    /// A line each.
    Typed,
    /// In groups of a type, with words and ranges.
    Grouped,
    /// In groups of a type.
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
            push_limits(text, parameter);
            if detail == DetailLevel::Full && !parameter.description().is_empty() {
                let _ = write!(text, " — {}", limit_chars(first_sentence(parameter.description()), 120));
            }
            text.push('\n');
        }
        return;
    }
    let mut kinds: Vec<&str> = parameters.iter().map(parameter_type).collect();
    kinds.sort();
    kinds.dedup();
    for group in kinds {
        let _ = write!(text, "  {group}:");
        for (n, parameter) in parameters.iter().filter(|p| parameter_type(p) == group).enumerate() {
            let _ = write!(text, "{} {}", if n == 0 { "" } else { "," }, parameter.name());
            if detail == DetailLevel::Grouped {
                push_limits(text, parameter);
            }
        }
        text.push('\n');
    }
}

/// A parameter's type in a word or two.
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

/// Words, range and default, where there are some.
fn push_limits(text: &mut String, parameter: &ParameterSpec<'_>) {
    let words: Vec<&str> = parameter.allowed_values().collect();
    let _ = match (words.as_slice(), parameter.minimum(), parameter.maximum()) {
        ([_, ..], ..) => write!(text, " {}", fold_families(&words).join("|")),
        (_, "", "") => Ok(()),
        (_, least, "") => write!(text, " ≥{least}"),
        (_, "", most) => write!(text, " ≤{most}"),
        (_, least, most) => write!(text, " {least}–{most}"),
    };
    if !parameter.default().is_empty() && parameter.default().len() <= 24 {
        let _ = write!(text, " ={}", parameter.default());
    }
    if !parameter.requires().is_empty() {
        let _ = write!(text, " (with {})", parameter.requires());
    }
}

/// Everything about one parameter.
fn describe_parameter(operations: &[Operation<'_>], name: &str) -> Result<String, String> {
    let with = operations.iter().find_map(|o| Some((o, o.parameter(name)?)));
    let Some((operation, parameter)) = with else {
        let names: Vec<&str> = operations.iter().flat_map(|o| o.parameters().map(|p| p.name())).collect();
        let suggestion = crate::base::suggest::suggest(name, names.iter().copied());
        let meant = suggestion.map(|m| format!(": did you mean `{m}`?")).unwrap_or_default();
        let name: String = name.chars().take(64).collect();
        return Err(format!("there is no parameter `{name}` there{meant}; leave `parameter` out to see them all"));
    };
    let mut text = format!(
        "{} of {} {}: {}",
        parameter.name(),
        operation.method(),
        operation.template(),
        parameter_type(&parameter)
    );
    push_limits(&mut text, &parameter);
    text.push_str(if parameter.is_required() { ", required\n" } else { ", optional\n" });
    for (what, value) in [
        ("format", parameter.format()),
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
            return Ok(text + &list);
        }
    }
    Ok(text)
}

/// `METHOD template — summary`, risk and privileges.
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

/// At most so many characters, whole words where there are some.
fn limit_chars(text: &str, most: usize) -> String {
    let Some((at, _)) = text.char_indices().nth(most) else { return text.to_owned() };
    let start = text.get(..at).unwrap_or_default();
    format!("{}…", start.rsplit_once(' ').map_or(start, |(start, _)| start))
}
