//! `proxmox_api_get` and `proxmox_api_call`: every operation of the API, the one to look, the other to do.

use crate::base::hint::render_error;
use crate::call::operation::split_leading_method;
use crate::call::plan::{CallPipeline, CallSpec};
use crate::call::state::{ToolCall, ToolState};
use crate::mcp::arguments::{ParameterKind, ToolArguments, ToolParameter};
use crate::mcp::catalog::{Tool, ToolEffect, ToolError, ToolInput, ToolOutput};
use crate::mcp::content::Content;
use crate::mcp::context::CallContext;
use crate::pve::Method;
use crate::pve::client::cluster::ApiResponse;
use crate::pve::task::Upid;
use crate::render::output::{OutputOptions, RenderedResult};
use crate::tools::output_options;
use crate::tools::tasks::{self, DEFAULT_WAIT};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Paths of one call of `proxmox_api_get`.
const MAX_PATHS: usize = 20;

/// Of those, how many are under way at once.
const MAX_CONCURRENT: usize = 8;

/// For a task's end there is this much at least, however long its start took.
const MIN_WAIT: Duration = Duration::from_secs(5);

const CLUSTER_PARAM: ToolParameter = ToolParameter {
    name: "cluster",
    kind: ParameterKind::Text,
    required: false,
    description: "a name of list_clusters (default: the default cluster)",
};

/// `own`, and those of a [`OutputOptions`] after them.
const fn with_output_params<const N: usize, const M: usize>(own: [ToolParameter; N]) -> [ToolParameter; M] {
    let mut all = [own[0]; M];
    let mut n = 0;
    while n < M {
        all[n] = if n < N { own[n] } else { output_options::PARAMS[n - N] };
        n += 1;
    }
    all
}

/// The tool `proxmox_api_get(path or paths, params?, cluster?, …)`.
pub fn proxmox_api_get(state: Arc<ToolState>) -> Tool {
    Tool {
        name: "proxmox_api_get",
        title: "Read from the Proxmox API",
        description: "Reads any path of the Proxmox VE API with GET, or up to 20 at once; changes nothing. A guest's \
            name or number is enough: /qemu/web01/config. Shape long answers with fields, filter, sort, limit, format.",
        input: ToolInput::Parameters(
            const {
                &with_output_params::<4, 10>([
                    CLUSTER_PARAM,
                    ToolParameter {
                        name: "path",
                        kind: ParameterKind::Text,
                        required: false,
                        description: "such as /nodes/pve1/storage; search_api finds paths",
                    },
                    ToolParameter {
                        name: "paths",
                        kind: ParameterKind::TextList,
                        required: false,
                        description: "several instead, each answered by itself",
                    },
                    ToolParameter {
                        name: "params",
                        kind: ParameterKind::Object,
                        required: false,
                        description: "query parameters",
                    },
                ])
            },
        ),
        effect: ToolEffect::ReadOnly,
        handler: Box::new(move |context, args| {
            state.run_call(context, "proxmox_api_get", &|call| handle_get(call, context, args))
        }),
    }
}

/// The tool `proxmox_api_call(path, method?, data?, dry_run?, wait?, cluster?, …)`.
pub fn proxmox_api_call(state: Arc<ToolState>) -> Tool {
    Tool {
        name: "proxmox_api_call",
        title: "Call the Proxmox API",
        description: "Calls any operation of the Proxmox VE API: POST, PUT and DELETE change things at once. Checked \
            before it is sent; dry_run shows the request and its risk. Example: path /qemu/web01/status/start, method \
            POST, wait true. To look, proxmox_api_get is safer.",
        input: ToolInput::Parameters(
            const {
                &with_output_params::<7, 13>([
                    CLUSTER_PARAM,
                    ToolParameter {
                        name: "path",
                        kind: ParameterKind::Text,
                        required: true,
                        description: "such as /nodes/pve1/qemu/100/config; describe_api explains it",
                    },
                    ToolParameter {
                        name: "method",
                        kind: ParameterKind::Choice(&["GET", "POST", "PUT", "DELETE"]),
                        required: false,
                        description: "default: GET",
                    },
                    ToolParameter {
                        name: "data",
                        kind: ParameterKind::Object,
                        required: false,
                        description: "parameters: {\"memory\": 2048, \"onboot\": true, \"delete\": \"tags\"} (delete unsets options)",
                    },
                    ToolParameter {
                        name: "dry_run",
                        kind: ParameterKind::Flag,
                        required: false,
                        description: "show it, send nothing",
                    },
                    ToolParameter {
                        name: "wait",
                        kind: ParameterKind::Flag,
                        required: false,
                        description: "where it starts a task, wait up to 45 s for its end",
                    },
                    ToolParameter {
                        name: "confirm",
                        kind: ParameterKind::Text,
                        required: false,
                        description: "the code of the answer that asked for it",
                    },
                ])
            },
        ),
        effect: ToolEffect::Destructive,
        handler: Box::new(move |context, args| {
            state.run_call(context, "proxmox_api_call", &|call| handle_call(call, context, args))
        }),
    }
}

fn handle_call(call: ToolCall<'_>, context: &CallContext<'_>, args: &ToolArguments) -> Result<ToolOutput, ToolError> {
    let (manager, cap) = (call.manager, call.state.max_result_bytes);
    let begun = Instant::now();
    let cluster = manager.select(args.text("cluster")).map_err(|error| render_error(&error))?;
    // Read first: what can't be shown is not to be done.
    let options = OutputOptions::from_args(args)?;
    let spec = CallSpec {
        method: args.text("method").and_then(Method::from_name),
        path: args.text("path").unwrap_or_default(),
        data: args.object("data"),
        fetch_all: !options.is_plain(),
    };
    let pipeline = CallPipeline::new(call, cluster, &context.cancel);
    let mut planned = pipeline.plan(&spec)?;
    if args.flag("dry_run") {
        return Ok(build_output(planned.describe_dry_run(cluster), planned.notes));
    }
    pipeline.confirm(&mut planned, context, args.text("confirm"))?;
    let answer = pipeline.execute(&mut planned, &spec)?;
    let upid = serde_json::from_str::<String>(answer.data()).ok().filter(|text| Upid::parse(text).is_ok());
    if let Some(upid) = upid {
        if args.flag("wait") {
            // It was begun, whether it may be watched or not.
            if let Err(why) = Upid::parse(&upid)
                .map_err(|e| render_error(&e))
                .and_then(|upid| tasks::authorize_watch(call, cluster, &upid))
            {
                planned.notes.push(format!("the task was begun and can't be waited for: {why}"));
                return Ok(build_output(answer.into_payload(), planned.notes));
            }
            // What came before has taken its part of the client's patience.
            let deadline = (begun + DEFAULT_WAIT).max(Instant::now() + MIN_WAIT);
            return match tasks::follow_task(call, cluster, &upid, deadline, context) {
                Ok(mut ended) => {
                    ended.content.extend(join_notes(planned.notes));
                    Ok(ended)
                }
                Err(ToolError::Failed(why)) if !planned.notes.is_empty() => {
                    let (first, log) = why.split_at(why.find('\n').unwrap_or(why.len()));
                    Err(ToolError::Failed(format!("{first} ({}){log}", planned.notes.join("; "))))
                }
                Err(other) => Err(other),
            };
        }
        let of = match manager.clusters() {
            [_] => String::new(),
            _ => format!(" and cluster {}", cluster.settings().name),
        };
        planned.notes.push(format!("a task, which goes on: wait_for_task with this upid{of} follows it to its end"));
        return Ok(build_output(answer.into_payload(), planned.notes));
    }
    let rendered = match render_answer(&options, answer, cap) {
        Ok(shown) => shown,
        Err(why) if !planned.is_change() => return Err(ToolError::Failed(why)),
        Err(why) => RenderedResult {
            text: format!("{} was done, but its answer can't be shown so: {why}", planned.operation_line()),
            note: None,
        },
    };
    planned.notes.extend(rendered.note);
    Ok(build_output(rendered.text, planned.notes))
}

fn handle_get(call: ToolCall<'_>, context: &CallContext<'_>, args: &ToolArguments) -> Result<ToolOutput, ToolError> {
    let (manager, cap) = (call.manager, call.state.max_result_bytes);
    let cluster = manager.select(args.text("cluster")).map_err(|error| render_error(&error))?;
    let options = OutputOptions::from_args(args)?;
    let pipeline = CallPipeline::new(call, cluster, &context.cancel);
    let read = |path: &str, cap: usize| {
        if let Some(method) = split_leading_method(path).0.filter(|method| *method != Method::Get) {
            return Err(format!("proxmox_api_get only reads: a {method} is for proxmox_api_call"));
        }
        let spec =
            CallSpec { method: Some(Method::Get), path, data: args.object("params"), fetch_all: !options.is_plain() };
        let mut planned = pipeline.plan(&spec)?;
        pipeline.refuse_if_confirmation_needed(&planned)?;
        let answer = pipeline.execute(&mut planned, &spec)?;
        let rendered = render_answer(&options, answer, cap)?;
        planned.notes.extend(rendered.note);
        Ok((rendered.text, planned.notes))
    };
    let paths = match (args.text("path"), args.text_list("paths")) {
        (Some(path), None) => {
            let (text, more) = read(path, cap)?;
            return Ok(build_output(text, more));
        }
        (None, Some(paths)) if (1..=MAX_PATHS).contains(&paths.len()) => paths,
        (None, Some(paths)) => {
            return Err(ToolError::Failed(format!(
                "proxmox_api_get: paths has {}: give 1 to {MAX_PATHS}",
                paths.len()
            )));
        }
        (Some(_), Some(_)) => {
            return Err(ToolError::Failed("proxmox_api_get: path and paths are both given: give one of them".into()));
        }
        (None, None) => {
            return Err(ToolError::Failed(
                "proxmox_api_get: path is missing, such as /nodes/pve1/storage (or several in paths)".into(),
            ));
        }
    };
    // Fetched once, so that all paths are judged alike.
    cluster.schema(&context.cancel);
    // Each has its share, so that the first can't take the place of the others.
    let share = if cap == 0 { 0 } else { (cap / paths.len()).max(1) };
    let answers = read_in_parallel(&paths, &|path| read(path, share));
    if answers.iter().all(Result::is_err) {
        let all = paths.iter().zip(answers).filter_map(|(path, answer)| Some(format!("{path}: {}", answer.err()?)));
        return Err(ToolError::Failed(all.collect::<Vec<_>>().join("\n")));
    }
    let mut content = Vec::new();
    for (path, answer) in paths.iter().zip(answers) {
        content.push(Content::Text(match answer {
            Ok((text, more)) => {
                let more = more.join("; ");
                let more = if more.is_empty() { more } else { format!("\n({more})") };
                format!("{path}:\n{text}{more}")
            }
            Err(why) => format!("{path}: failed: {why}"),
        }));
    }
    Ok(ToolOutput { content, structured: None })
}

fn render_answer(options: &OutputOptions, answer: ApiResponse, cap: usize) -> Result<RenderedResult, String> {
    let enveloped = answer.has_extra_fields();
    options.render(answer.into_payload(), enveloped, cap).map_err(|error| render_error(&error))
}

/// A text, and beside it what there is to say about it.
fn build_output(text: String, more: Vec<String>) -> ToolOutput {
    let mut output = ToolOutput::text(text);
    output.content.extend(join_notes(more));
    output
}

fn join_notes(more: Vec<String>) -> Option<Content> {
    (!more.is_empty()).then(|| Content::Text(more.join("\n")))
}

/// One answer.
type ReadResult = Result<(String, Vec<String>), String>;

/// Reads every path, some at once; the answers are in the order of the paths.
fn read_in_parallel(paths: &[&str], read: &(dyn Fn(&str) -> ReadResult + Sync)) -> Vec<ReadResult> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(vec![None; paths.len()]);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = paths.get(at) else { break };
            let answer = read(path);
            if let Some(slot) = answers.lock().unwrap_or_else(PoisonError::into_inner).get_mut(at) {
                *slot = Some(answer);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..paths.len().min(MAX_CONCURRENT) {
            // Where there is no thread to be had, the others do its part.
            let _ = thread::Builder::new().name("fan-out".into()).spawn_scoped(scope, work);
        }
        work();
    });
    let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err("it was not asked for".into()))).collect()
}
