//! `proxmox_api_get`: reads of any path.

use super::definition::{OutputTrust, ToolCall, ToolDefinition, ToolLoading};
use super::errors::SplitError;
use super::output::{RenderedAnswer, render_answer, render_part, with_notes};
use super::parameters::{CLUSTER_OR_DEFAULT, optional, with_output_options};
use super::path_answers::{PathAnswer, PathContent, join_answers, share_errors, share_hints};
use crate::call::{ApiResponse, CallError, CallSpec, ClusterHandle, Outcome, fan_out, split_leading_method};
use crate::mcp::arguments::ParameterKind;
use crate::mcp::catalog::{ToolEffect, ToolError, ToolOutput};
use crate::policy::Risk;
use crate::pve::Method;
use crate::pve::path::ApiPath;
use crate::render::output::{OutputError, OutputOptions};
use serde_json::{Map, Value};

/// The most paths of one call.
const MAX_PATHS: usize = 20;

/// The most reads at once.
const MAX_CONCURRENT: usize = 8;

/// `proxmox_api_get(path or paths, params?, cluster?, …)`.
pub(super) const PROXMOX_API_GET: ToolDefinition = ToolDefinition {
    name: "proxmox_api_get",
    title: "Read from the Proxmox API",
    description: "Reads any path of the Proxmox VE API with GET, or up to 20 at once; changes nothing. A guest's name or \
        number is enough: /qemu/web01/config. Shape long answers with fields, filter, sort, limit, format.",
    parameters: &with_output_options::<4, 10>([
        CLUSTER_OR_DEFAULT,
        optional("path", ParameterKind::Name, "such as /nodes/pve1/storage; search_api finds it; several: paths"),
        optional("paths", ParameterKind::TextList, "each is answered by itself"),
        optional("params", ParameterKind::Object, "query parameters"),
    ]),
    effect: ToolEffect::ReadOnly,
    trust: OutputTrust::Untrusted,
    loading: ToolLoading::Always,
    is_paged: true,
    handler: proxmox_api_get,
};

fn proxmox_api_get(call: &ToolCall<'_>) -> Result<ToolOutput, ToolError> {
    let args = call.args;
    let cluster = call.scope.select(args.text("cluster"))?;
    let options = OutputOptions::from_args(args)?;
    let options = if args.text("path").is_none() { options.for_one_of_many() } else { options };
    let wants_structured = call.context.wants_structured && args.text("path").is_some();
    let reader = PathReader { cluster: &cluster, options: &options, params: args.object("params"), wants_structured };
    match (args.text("path"), args.text_list("paths")) {
        (Some(path), None) => {
            let answer = reader.read(path, call.max_result_bytes);
            let SingleAnswer { answer, notes, path } =
                answer.map_err(|error| ToolError::Failed(reader.render_error(&error).to_string()))?;
            let output = ToolOutput { shows_page: is_guest_metrics(&path), ..answer.into_output() };
            Ok(with_notes(output, &notes))
        }
        (None, Some(paths)) if (1..=MAX_PATHS).contains(&paths.len()) => {
            read_paths(&reader, &paths, call.max_result_bytes)
        }
        (None, Some(paths)) => Err(call.reject(format_args!("paths has {}: give 1 to {MAX_PATHS}", paths.len()))),
        (Some(_), Some(_)) => Err(call.reject("path and paths are both given: give one of them")),
        (None, None) => Err(call.reject("path is missing, such as /nodes/pve1/storage (or several in paths)")),
    }
}

/// Returns true for the metrics of a guest, which the page draws as charts.
fn is_guest_metrics(path: &ApiPath) -> bool {
    let segments: Vec<_> = path.segments().collect();
    let segments: Vec<_> = segments.iter().map(AsRef::as_ref).collect();
    matches!(segments[..], ["nodes", _, "qemu" | "lxc", _, "rrddata"])
}

/// Reads several paths in parallel. The answers are in the order of the paths.
fn read_paths(reader: &PathReader<'_>, paths: &[&str], max_bytes: usize) -> Result<ToolOutput, ToolError> {
    // The schema is fetched once, so that all paths are checked against the same one.
    reader.cluster.schema();
    // Each path has an equal share of the limit.
    let share = if max_bytes == 0 { 0 } else { (max_bytes / paths.len()).max(1) };
    let results = fan_out(paths, MAX_CONCURRENT, |path| reader.read_part(path, share));
    let answers = paths.iter().zip(results);
    let mut answers: Vec<PathAnswer<'_>> = answers
        .map(|(typed, result)| PathAnswer {
            typed,
            others: Vec::new(),
            result: result.map_err(|error| reader.render_error_of_many(&error)),
        })
        .collect();
    share_errors(&mut answers);
    share_hints(&mut answers);
    if answers.iter().all(|answer| answer.result.is_err()) {
        let lines = answers
            .iter()
            .filter_map(|answer| Some(format!("{}: {}", answer.name_paths(), answer.result.as_ref().err()?)));
        return Err(ToolError::Failed(lines.collect::<Vec<_>>().join("\n")));
    }
    // One content: some clients show the model only the first one.
    Ok(ToolOutput::text(join_answers(&answers, reader.options.is_readable(), share)))
}

/// The reader of the paths of one call.
struct PathReader<'a> {
    cluster: &'a ClusterHandle<'a>,
    options: &'a OutputOptions,
    params: Option<&'a Map<String, Value>>,
    wants_structured: bool,
}

/// The reason why a path has no answer to show.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("proxmox_api_get only reads: a {0} is for proxmox_api_call")]
    NotARead(Method),
    #[error(
        "proxmox_api_get only reads, and this call is more than a read ({0}). hint: use proxmox_api_call with method GET"
    )]
    NotHarmless(Risk),
    #[error(transparent)]
    Call(#[from] CallError),
    /// A call that was sent.
    #[error("{error}")]
    Sent { path: String, error: Box<CallError> },
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// The answer to a single read.
struct SingleAnswer {
    path: ApiPath,
    answer: RenderedAnswer,
    notes: Vec<String>,
}

impl PathReader<'_> {
    fn read(&self, typed: &str, max_bytes: usize) -> Result<SingleAnswer, ReadError> {
        let Outcome { response, path, mut notes, .. } = self.execute(typed)?;
        notes.extend(self.describe_unlisted_space(typed, &path, &response));
        let mut answer = render_answer(self.cluster, &path, self.options, response, max_bytes, self.wants_structured)?;
        notes.append(&mut answer.notes);
        Ok(SingleAnswer { path, answer, notes })
    }

    /// Reads one of several paths.
    fn read_part(&self, typed: &str, max_bytes: usize) -> Result<PathContent, ReadError> {
        let Outcome { response, path, mut notes, .. } = self.execute(typed)?;
        notes.extend(self.describe_unlisted_space(typed, &path, &response));
        let part = render_part(self.cluster, &path, self.options, response, max_bytes)?;
        let schema = self.cluster.schema();
        let found = schema.match_path(&path.segments().collect::<Vec<_>>()).ok();
        let template = found.as_ref().and_then(|found| Some(found.operation(Method::Get)?.template().to_owned()));
        let values = found.into_iter().flat_map(|found| found.values);
        Ok(PathContent {
            template: template.unwrap_or_else(|| path.to_string()),
            values: values.map(|(name, value)| (name.to_owned(), value)).collect(),
            notes,
            part,
        })
    }

    /// Describes the used space of a storage beyond its volumes, if the caller reads all of them.
    fn describe_unlisted_space(&self, typed: &str, path: &ApiPath, response: &ApiResponse) -> Option<String> {
        let has_params = typed.contains('?') || self.params.is_some_and(|params| !params.is_empty());
        let is_whole = !has_params && self.options.is_readable() && !self.options.selects();
        is_whole.then(|| self.cluster.describe_unlisted_space(path, response.data())).flatten()
    }

    /// Executes a call that only reads.
    fn execute(&self, path: &str) -> Result<Outcome, ReadError> {
        if let Some(method) = split_leading_method(path).0.filter(|method| *method != Method::Get) {
            return Err(ReadError::NotARead(method));
        }
        let spec = CallSpec {
            method: Some(Method::Get),
            path,
            data: self.params,
            fetch_all: self.options.selects(),
            is_dry_run: false,
        };
        let planned = self.cluster.plan(spec).map_err(CallError::from)?;
        let path = planned.path().to_string();
        let authorized = planned.authorize().map_err(CallError::from)?;
        if !authorized.risk().is_read_only() {
            return Err(ReadError::NotHarmless(authorized.risk()));
        }
        let confirmed = authorized.without_confirmation().map_err(CallError::from)?;
        confirmed.execute().map_err(|error| ReadError::Sent { path, error: Box::new(error.into()) })
    }

    fn render_error(&self, error: &ReadError) -> SplitError {
        match error {
            ReadError::NotARead(_) | ReadError::NotHarmless(_) => SplitError { message: error.to_string(), hint: None },
            ReadError::Call(error) => SplitError::of_call(self.cluster, error),
            ReadError::Sent { error, .. } => SplitError::of_call(self.cluster, error),
            ReadError::Output(error) => SplitError::new(error),
        }
    }

    /// Renders an error after the path that the caller typed, so that the same error of several paths has the same words.
    fn render_error_of_many(&self, error: &ReadError) -> SplitError {
        let mut rendered = self.render_error(error);
        if let ReadError::Sent { path, .. } = error {
            // (PVE: it quotes the method and the path of an operation that it does not have.)
            for end in ['`', '\''] {
                rendered.message = rendered.message.replace(&format!("GET {path}{end}"), &format!("GET …{end}"));
            }
        }
        rendered
    }
}
