//! `describe_api`: what an operation takes, needs, does and answers, in at most [`MAX_BYTES`].

use super::desk::Desk;
use super::operation::{leading_method, on_path, with_method};
use super::place::from_the_top;
use crate::mcp::args::{Args, Kind, Param};
use crate::mcp::catalog::{Effect, Input, Output, Stop, Tool};
use crate::mcp::context::Context;
use crate::pve::Method;
use crate::pve::manager::ClusterManager;
use crate::pve::path::ApiPath;
use crate::pve::schema::{Found, Miss, Operation, Parameter, Schema, fold};
use std::fmt::Write;
use std::sync::Arc;

/// The most a description has. What does not fit in full is said more briefly, never left out.
const MAX_BYTES: usize = 1_950;

/// Of the cluster's own words about an operation.
const MAX_WORDS: usize = 300;

/// The tool `describe_api(path, method?, parameter?, cluster?)`.
pub fn describe_api(desk: Arc<Desk>) -> Tool {
    Tool {
        name: "describe_api",
        title: "Describe an API operation",
        description: "What an operation of the Proxmox VE API takes and needs: parameters with types and limits, \
            privileges, risk, what it answers. Takes a template (/nodes/{node}/qemu) or a concrete path. With \
            `parameter`, all there is to know of that one, such as the keys of net0.",
        input: Input::Params(&[
            Param {
                name: "path",
                kind: Kind::Text,
                required: true,
                about: "/nodes/{node}/qemu/{vmid}/config or /nodes/pve1/qemu/100/config",
            },
            Param {
                name: "method",
                kind: Kind::Choice(&["GET", "POST", "PUT", "DELETE"]),
                required: false,
                about: "default: every method the path has, in short",
            },
            Param { name: "parameter", kind: Kind::Text, required: false, about: "one parameter, in full" },
            Param { name: "cluster", kind: Kind::Text, required: false, about: "whose version of the API" },
        ]),
        effect: Effect::Reads,
        run: Box::new(move |context, args| {
            desk.serve(context, "describe_api", &|visit| run(visit.manager, context, args))
        }),
    }
}

fn run(manager: &ClusterManager, context: &Context<'_>, args: &Args) -> Result<Output, Stop> {
    let cluster = manager.select_any(args.text("cluster"))?;
    let schema = cluster.schema(&context.cancel);
    let typed = args.text("path").unwrap_or_default();
    let (leading, typed) = leading_method(typed);
    let path = from_the_top(&ApiPath::parse_template(typed)?.0)?;
    let segments: Vec<_> = path.segments().collect();
    if let Err(Miss { known, there, .. }) = schema.find(&segments)
        && known == segments.len()
    {
        return Ok(Output::text(format!("{path} has no operation of its own; below it are {}", there.join(", "))));
    }
    let found = on_path(&schema, &path)?;
    let method = args.text("method").and_then(Method::named).or(leading);
    let operations: Vec<Operation<'_>> = match method {
        Some(method) => vec![with_method(&found, &path, method)?],
        None => found.operations().collect(),
    };
    let text = match (args.text("parameter"), operations.as_slice()) {
        (Some(name), all) => of_parameter(all, name)?,
        (None, [one]) => of_operation(one, &found),
        (None, all) => overview(all, &found),
    };
    Ok(Output::text(bounded(text) + source(&schema)))
}

/// No more than a description has room for; only a schema that is no real one comes near.
fn bounded(mut text: String) -> String {
    if text.len() > MAX_BYTES {
        text.truncate(text.floor_char_boundary(MAX_BYTES - '…'.len_utf8()));
        text.push('…');
    }
    text
}

/// Says so where the texts are not the cluster's.
fn source(schema: &Schema) -> &'static str {
    if schema.is_live() {
        ""
    } else {
        "\n(from the facts in this program: the cluster's own API description could not be had)"
    }
}

/// All methods of a path, each in a few lines.
fn overview(operations: &[Operation<'_>], found: &Found<'_>) -> String {
    let mut text = String::new();
    for operation in operations {
        head(&mut text, operation);
        let (required, optional): (Vec<_>, Vec<_>) =
            operation.parameters().filter(|p| !operation.in_path(p.name())).partition(|p| p.required());
        if !required.is_empty() {
            let _ = writeln!(text, "  required: {}", names(&required));
        }
        if !optional.is_empty() {
            let _ = writeln!(text, "  {} optional parameters: name the method to see them", optional.len());
        }
    }
    below(&mut text, found);
    text
}

/// One operation, as fully as fits.
fn of_operation(operation: &Operation<'_>, found: &Found<'_>) -> String {
    let mut start = String::new();
    head(&mut start, operation);
    let words = operation.description();
    if !words.is_empty() && !words.eq_ignore_ascii_case(operation.summary()) && words != "Directory index." {
        let _ = writeln!(start, "  {}", cut(words, MAX_WORDS));
    }
    let returns = operation.returns();
    let _ = match operation.starts_task() {
        true => writeln!(
            start,
            "  answers: a string; if it is a UPID, a task goes on: wait_for_task, or call with wait: true"
        ),
        false if returns.is_empty() => Ok(()),
        false => writeln!(start, "  answers: {returns}"),
    };
    if operation.takes_more() {
        start.push_str("  takes parameters beyond these\n");
    }
    let mut end = String::new();
    below(&mut end, found);
    let (required, optional): (Vec<_>, Vec<_>) =
        operation.parameters().filter(|p| !operation.in_path(p.name())).partition(|p| p.required());
    let room = MAX_BYTES.saturating_sub(start.len() + end.len());
    for detail in [Detail::Full, Detail::Typed, Detail::Grouped, Detail::Names] {
        let mut list = String::new();
        section(&mut list, "required", &required, if detail == Detail::Names { Detail::Grouped } else { detail });
        section(&mut list, "optional", &optional, detail);
        if list.len() <= room || detail == Detail::Names {
            return start + &list + &end;
        }
    }
    start + &end
}

/// How much is said of each parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// A line each, with the cluster's own words.
    Full,
    /// A line each.
    Typed,
    /// In groups of a type, with words and ranges.
    Grouped,
    /// In groups of a type.
    Names,
}

fn section(text: &mut String, title: &str, parameters: &[Parameter<'_>], detail: Detail) {
    if parameters.is_empty() {
        return;
    }
    let _ = writeln!(text, "{title}:");
    if matches!(detail, Detail::Full | Detail::Typed) {
        for parameter in parameters {
            let _ = write!(text, "  {} {}", parameter.name(), kind(parameter));
            limits(text, parameter);
            if detail == Detail::Full && !parameter.description().is_empty() {
                let _ = write!(text, " — {}", cut(first_sentence(parameter.description()), 120));
            }
            text.push('\n');
        }
        return;
    }
    let mut kinds: Vec<&str> = parameters.iter().map(kind).collect();
    kinds.sort();
    kinds.dedup();
    for group in kinds {
        let _ = write!(text, "  {group}:");
        for (n, parameter) in parameters.iter().filter(|p| kind(p) == group).enumerate() {
            let _ = write!(text, "{} {}", if n == 0 { "" } else { "," }, parameter.name());
            if detail == Detail::Grouped {
                limits(text, parameter);
            }
        }
        text.push('\n');
    }
}

/// A parameter's type in a word or two.
fn kind<'s>(parameter: &Parameter<'s>) -> &'s str {
    match parameter.kind() {
        "boolean" => "bool",
        "integer" => "int",
        "array" => "array",
        "" | "string" if parameter.words().next().is_some() => "word",
        "" | "string" if parameter.nested().next().is_some() => "key=value,…",
        "" | "string" if parameter.format().ends_with("-list") => "list",
        "" | "string" => "text",
        other => other,
    }
}

/// Words, range and default, where there are some.
fn limits(text: &mut String, parameter: &Parameter<'_>) {
    let words: Vec<&str> = parameter.words().collect();
    let _ = match (words.as_slice(), parameter.minimum(), parameter.maximum()) {
        ([_, ..], ..) => write!(text, " {}", fold(&words).join("|")),
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
fn of_parameter(operations: &[Operation<'_>], name: &str) -> Result<String, String> {
    let with = operations.iter().find_map(|o| Some((o, o.parameter(name)?)));
    let Some((operation, parameter)) = with else {
        let names: Vec<&str> = operations.iter().flat_map(|o| o.parameters().map(|p| p.name())).collect();
        let meant = crate::suggest::suggest(name, names.iter().copied());
        let meant = meant.map(|m| format!(": did you mean `{m}`?")).unwrap_or_default();
        let name: String = name.chars().take(64).collect();
        return Err(format!("there is no parameter `{name}` there{meant}; leave `parameter` out to see them all"));
    };
    let mut text =
        format!("{} of {} {}: {}", parameter.name(), operation.method(), operation.template(), kind(&parameter));
    limits(&mut text, &parameter);
    text.push_str(if parameter.required() { ", required\n" } else { ", optional\n" });
    for (what, value) in [
        ("format", parameter.format()),
        ("default", parameter.default()),
        ("pattern", parameter.pattern()),
        ("characters, at least", parameter.min_length()),
        ("characters, at most", parameter.max_length()),
    ] {
        if !value.is_empty() {
            let _ = writeln!(text, "  {what}: {}", cut(value, 200));
        }
    }
    if !parameter.description().is_empty() {
        let _ = writeln!(text, "  {}", cut(parameter.description(), 600));
    }
    let keys: Vec<Parameter<'_>> = parameter.nested().filter(|k| k.alias().is_empty()).collect();
    if let Some(first) = keys.iter().find(|k| k.is_default_key()) {
        let _ = writeln!(text, "  `{}` may stand first without its name: <{0}>,key=value", first.name());
    }
    let (required, optional): (Vec<_>, Vec<_>) = keys.into_iter().partition(Parameter::required);
    for detail in [Detail::Full, Detail::Typed, Detail::Grouped] {
        let mut list = String::new();
        section(&mut list, "keys that must be there", &required, detail);
        section(&mut list, "keys", &optional, detail);
        if text.len() + list.len() <= MAX_BYTES || detail == Detail::Grouped {
            return Ok(text + &list);
        }
    }
    Ok(text)
}

/// `METHOD template — summary`, risk and privileges.
fn head(text: &mut String, operation: &Operation<'_>) {
    let (method, template) = (operation.method(), operation.template());
    let summary = match operation.summary() {
        "" => cut(first_sentence(operation.description()), 100),
        summary => summary.to_owned(),
    };
    let _ = write!(text, "{method} {template} — {summary}\n  risk: {}", operation.risk());
    if !operation.reason().is_empty() {
        let _ = write!(text, " ({})", operation.reason());
    }
    let _ = match operation.privileges() {
        "" if operation.method() == Method::Get => write!(text, "; any user, who sees what the token may see"),
        "" => write!(text, "; what it needs depends on the parameters"),
        privileges => write!(text, "; needs {privileges}"),
    };
    text.push_str(if operation.refuses_tokens() { "; refuses API tokens\n" } else { "\n" });
}

fn below(text: &mut String, found: &Found<'_>) {
    if !found.below.is_empty() {
        let _ = writeln!(text, "below: {}", cut(&found.below.join(", "), 400));
    }
}

fn names(parameters: &[Parameter<'_>]) -> String {
    parameters.iter().map(|p| format!("{} {}", p.name(), kind(p))).collect::<Vec<_>>().join(", ")
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.')
}

/// At most so many characters, whole words where there are some.
fn cut(text: &str, most: usize) -> String {
    let Some((at, _)) = text.char_indices().nth(most) else { return text.to_owned() };
    let start = text.get(..at).unwrap_or_default();
    format!("{}…", start.rsplit_once(' ').map_or(start, |(start, _)| start))
}
