//! `proxmox_api_get` and `proxmox_api_call`: every operation of the API, the one to look, the other to do.

use super::request::{self, Wanted};
use super::tasks::{self, DEFAULT_WAIT};
use super::view::{self, View};
use crate::cancel::Cancel;
use crate::mcp::args::{Args, Kind, Param};
use crate::mcp::catalog::{Effect, Input, Output, Stop, Tool};
use crate::mcp::content::Content;
use crate::mcp::context::Context;
use crate::pve::Method;
use crate::pve::cluster::{Answer, Cluster};
use crate::pve::manager::ClusterManager;
use crate::pve::task::Upid;
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// Paths of one call of `proxmox_api_get`.
const MAX_PATHS: usize = 20;

/// Of those, how many are under way at once.
const AT_ONCE: usize = 8;

const CLUSTER: Param = Param {
    name: "cluster",
    kind: Kind::Text,
    required: false,
    about: "a name of list_clusters (default: the default cluster)",
};

/// `own`, and those of a [`View`] after them.
const fn with_view<const N: usize, const M: usize>(own: [Param; N]) -> [Param; M] {
    let mut all = [own[0]; M];
    let mut n = 0;
    while n < M {
        all[n] = if n < N { own[n] } else { view::PARAMS[n - N] };
        n += 1;
    }
    all
}

/// The tool `proxmox_api_get(path or paths, params?, cluster?, …)`.
pub fn proxmox_api_get(manager: Arc<ClusterManager>, max_result_bytes: usize) -> Tool {
    Tool {
        name: "proxmox_api_get",
        title: "Read from the Proxmox API",
        description: "Reads any path of the Proxmox VE API with GET, or up to 20 at once; changes nothing. A guest's \
            name or number is enough: /qemu/web01/config. Shape long answers with fields, filter, sort, limit, format.",
        input: Input::Params(
            const {
                &with_view::<4, 10>([
                    CLUSTER,
                    Param {
                        name: "path",
                        kind: Kind::Text,
                        required: false,
                        about: "such as /nodes/pve1/storage; search_api finds paths",
                    },
                    Param {
                        name: "paths",
                        kind: Kind::Texts,
                        required: false,
                        about: "several instead, each answered by itself",
                    },
                    Param { name: "params", kind: Kind::Object, required: false, about: "query parameters" },
                ])
            },
        ),
        effect: Effect::Reads,
        run: Box::new(move |context, args| get(&manager, max_result_bytes, context, args)),
    }
}

/// The tool `proxmox_api_call(path, method?, data?, dry_run?, wait?, cluster?, …)`.
pub fn proxmox_api_call(manager: Arc<ClusterManager>, max_result_bytes: usize) -> Tool {
    Tool {
        name: "proxmox_api_call",
        title: "Call the Proxmox API",
        description: "Calls any operation of the Proxmox VE API: POST, PUT and DELETE change things at once. Checked \
            before it is sent; dry_run shows the request and its risk. Example: path /qemu/web01/status/start, method \
            POST, wait true. To look, proxmox_api_get is safer.",
        input: Input::Params(
            const {
                &with_view::<6, 12>([
                    CLUSTER,
                    Param {
                        name: "path",
                        kind: Kind::Text,
                        required: true,
                        about: "such as /nodes/pve1/qemu/100/config; describe_api explains it",
                    },
                    Param {
                        name: "method",
                        kind: Kind::Choice(&["GET", "POST", "PUT", "DELETE"]),
                        required: false,
                        about: "default: GET",
                    },
                    Param {
                        name: "data",
                        kind: Kind::Object,
                        required: false,
                        about: "parameters: {\"memory\": 2048, \"onboot\": true, \"delete\": \"tags\"} (delete unsets options)",
                    },
                    Param { name: "dry_run", kind: Kind::Flag, required: false, about: "show it, send nothing" },
                    Param {
                        name: "wait",
                        kind: Kind::Flag,
                        required: false,
                        about: "where it starts a task, wait up to 45 s for its end",
                    },
                ])
            },
        ),
        effect: Effect::Destructive,
        run: Box::new(move |context, args| call(&manager, max_result_bytes, context, args)),
    }
}

fn call(manager: &ClusterManager, cap: usize, context: &Context<'_>, args: &Args) -> Result<Output, Stop> {
    let cluster = manager.select(args.text("cluster"))?;
    // Read first: what can't be shown is not to be done.
    let view = View::from_args(args)?;
    let wanted = Wanted {
        method: args.text("method").and_then(Method::named),
        path: args.text("path").unwrap_or_default(),
        data: args.object("data"),
        dry_run: args.flag("dry_run"),
    };
    let mut request = request::prepare(manager, cluster, &wanted, &context.cancel)?;
    if wanted.dry_run {
        return Ok(output(request.shown(), request.notes));
    }
    let answer = request.send(manager, &context.cancel)?;
    let upid = serde_json::from_str::<String>(answer.data()).ok().filter(|text| Upid::parse(text).is_ok());
    if let Some(upid) = upid {
        if args.flag("wait") {
            let mut ended = tasks::finish(manager, request.cluster(), &upid, Instant::now() + DEFAULT_WAIT, context)?;
            ended.content.extend(notes(request.notes));
            return Ok(ended);
        }
        request.notes.push("a task, which goes on: wait_for_task with this upid follows it to its end".into());
        return Ok(output(answer.into_verbatim(), request.notes));
    }
    let shown = match show(&view, answer, cap) {
        Ok(shown) => shown,
        Err(why) if !request.changes() => return Err(Stop::Failed(why)),
        Err(why) => view::Shown {
            text: format!("{} was done, but its answer can't be shown so: {why}", request.line()),
            note: None,
        },
    };
    request.notes.extend(shown.note);
    Ok(output(shown.text, request.notes))
}

fn get(manager: &ClusterManager, cap: usize, context: &Context<'_>, args: &Args) -> Result<Output, Stop> {
    let cluster = manager.select(args.text("cluster"))?;
    let view = View::from_args(args)?;
    let params = args.object("params");
    let paths = match (args.text("path"), args.texts("paths")) {
        (Some(path), None) => {
            let (text, more) = read(manager, cluster, path, params, &view, cap, &context.cancel)?;
            return Ok(output(text, more));
        }
        (None, Some(paths)) if (1..=MAX_PATHS).contains(&paths.len()) => paths,
        (None, Some(paths)) => {
            return Err(Stop::Failed(format!("proxmox_api_get: paths has {}: give 1 to {MAX_PATHS}", paths.len())));
        }
        (Some(_), Some(_)) => {
            return Err(Stop::Failed("proxmox_api_get: path and paths are both given: give one of them".into()));
        }
        (None, None) => {
            return Err(Stop::Failed(
                "proxmox_api_get: path is missing, such as /nodes/pve1/storage (or several in paths)".into(),
            ));
        }
    };
    // Each has its share, so that the first can't take the place of the others.
    let share = if cap == 0 { 0 } else { (cap / paths.len()).max(1) };
    // Had once before, so that each path is held against the same, not the later ones against less.
    cluster.schema(&context.cancel);
    let answers = in_parallel(&paths, &context.cancel, &|path, cancel| {
        read(manager, cluster, path, params, &view, share, cancel)
    });
    if answers.iter().all(Result::is_err) {
        let all = paths.iter().zip(answers).filter_map(|(path, answer)| Some(format!("{path}: {}", answer.err()?)));
        return Err(Stop::Failed(all.collect::<Vec<_>>().join("\n")));
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
    Ok(Output { content, structured: None })
}

/// The answer to one GET as it is shown, and what there is to say about it.
fn read(
    manager: &ClusterManager,
    cluster: &Arc<Cluster>,
    path: &str,
    params: Option<&Map<String, Value>>,
    view: &View,
    cap: usize,
    cancel: &Cancel,
) -> Result<(String, Vec<String>), String> {
    let wanted = Wanted { method: Some(Method::Get), path, data: params, dry_run: false };
    let mut request = request::prepare(manager, cluster, &wanted, cancel)?;
    let answer = request.send(manager, cancel)?;
    let shown = show(view, answer, cap)?;
    request.notes.extend(shown.note);
    Ok((shown.text, request.notes))
}

fn show(view: &View, answer: Answer, cap: usize) -> Result<view::Shown, String> {
    let enveloped = answer.has_more();
    view.show(answer.into_verbatim(), enveloped, cap)
}

/// A text, and beside it what there is to say about it.
fn output(text: String, more: Vec<String>) -> Output {
    let mut output = Output::text(text);
    output.content.extend(notes(more));
    output
}

fn notes(more: Vec<String>) -> Option<Content> {
    (!more.is_empty()).then(|| Content::Text(more.join("\n")))
}

/// One answer.
type Read = Result<(String, Vec<String>), String>;

/// Asks for every path, some at once; the answers are in the order of the paths.
fn in_parallel(paths: &[&str], cancel: &Cancel, ask: &(dyn Fn(&str, &Cancel) -> Read + Sync)) -> Vec<Read> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(vec![None; paths.len()]);
    let work = |cancel: &Cancel| {
        while let Some((at, path)) = paths.get(next.load(Ordering::Relaxed)).and_then(|_| {
            let at = next.fetch_add(1, Ordering::Relaxed);
            Some((at, paths.get(at)?))
        }) {
            let answer = ask(path, cancel);
            if let Some(slot) = answers.lock().unwrap_or_else(PoisonError::into_inner).get_mut(at) {
                *slot = Some(answer);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..paths.len().min(AT_ONCE) {
            let (part, work) = (cancel.child(), &work);
            // Where there is no thread to be had, the others do its part.
            let _ = thread::Builder::new().name("fan-out".into()).spawn_scoped(scope, move || work(&part));
        }
        work(&cancel.child());
    });
    let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err("it was not asked for".into()))).collect()
}
