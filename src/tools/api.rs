//! `proxmox_api_get` and `proxmox_api_call`: every operation of the API, the one to look, the other to do.

use super::desk::{Desk, Visit};
use super::operation::leading_method;
use super::request::{Asker, Wanted};
use super::tasks::{self, DEFAULT_WAIT};
use super::view::{self, View};
use crate::mcp::args::{Args, Kind, Param};
use crate::mcp::catalog::{Effect, Input, Output, Stop, Tool};
use crate::mcp::content::Content;
use crate::mcp::context::Context;
use crate::pve::Method;
use crate::pve::cluster::Answer;
use crate::pve::task::Upid;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Paths of one call of `proxmox_api_get`.
const MAX_PATHS: usize = 20;

/// Of those, how many are under way at once.
const AT_ONCE: usize = 8;

/// For a task's end there is this much at least, however long its start took.
const LEAST_WAIT: Duration = Duration::from_secs(5);

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
pub fn proxmox_api_get(desk: Arc<Desk>) -> Tool {
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
        run: Box::new(move |context, args| desk.serve(context, "proxmox_api_get", &|visit| get(visit, context, args))),
    }
}

/// The tool `proxmox_api_call(path, method?, data?, dry_run?, wait?, cluster?, …)`.
pub fn proxmox_api_call(desk: Arc<Desk>) -> Tool {
    Tool {
        name: "proxmox_api_call",
        title: "Call the Proxmox API",
        description: "Calls any operation of the Proxmox VE API: POST, PUT and DELETE change things at once. Checked \
            before it is sent; dry_run shows the request and its risk. Example: path /qemu/web01/status/start, method \
            POST, wait true. To look, proxmox_api_get is safer.",
        input: Input::Params(
            const {
                &with_view::<7, 13>([
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
                    Param {
                        name: "confirm",
                        kind: Kind::Text,
                        required: false,
                        about: "the code of the answer that asked for it",
                    },
                ])
            },
        ),
        effect: Effect::Destructive,
        run: Box::new(move |context, args| {
            desk.serve(context, "proxmox_api_call", &|visit| call(visit, context, args))
        }),
    }
}

fn call(visit: Visit<'_>, context: &Context<'_>, args: &Args) -> Result<Output, Stop> {
    let (manager, cap) = (visit.manager, visit.desk.max_result_bytes);
    let begun = Instant::now();
    let cluster = manager.select(args.text("cluster"))?;
    // Read first: what can't be shown is not to be done.
    let view = View::from_args(args)?;
    let wanted = Wanted {
        method: args.text("method").and_then(Method::named),
        path: args.text("path").unwrap_or_default(),
        data: args.object("data"),
        whole: !view.is_plain(),
    };
    let asker = Asker::new(visit, cluster, &context.cancel);
    let mut request = asker.prepare(&wanted)?;
    if args.flag("dry_run") {
        return Ok(output(request.shown(cluster), request.notes));
    }
    asker.confirm(&mut request, context, args.text("confirm"))?;
    let answer = asker.send(&mut request, &wanted)?;
    let upid = serde_json::from_str::<String>(answer.data()).ok().filter(|text| Upid::parse(text).is_ok());
    if let Some(upid) = upid {
        if args.flag("wait") {
            // It was begun, whether it may be watched or not.
            if let Err(why) = Upid::parse(&upid).and_then(|upid| tasks::may_watch(visit, cluster, &upid)) {
                request.notes.push(format!("the task was begun and can't be waited for: {why}"));
                return Ok(output(answer.into_verbatim(), request.notes));
            }
            // What came before has taken its part of the client's patience.
            let deadline = (begun + DEFAULT_WAIT).max(Instant::now() + LEAST_WAIT);
            return match tasks::finish(visit, cluster, &upid, deadline, context) {
                Ok(mut ended) => {
                    ended.content.extend(notes(request.notes));
                    Ok(ended)
                }
                Err(Stop::Failed(why)) if !request.notes.is_empty() => {
                    let (first, log) = why.split_at(why.find('\n').unwrap_or(why.len()));
                    Err(Stop::Failed(format!("{first} ({}){log}", request.notes.join("; "))))
                }
                Err(other) => Err(other),
            };
        }
        let of = match manager.all() {
            [_] => String::new(),
            _ => format!(" and cluster {}", cluster.settings().name),
        };
        request.notes.push(format!("a task, which goes on: wait_for_task with this upid{of} follows it to its end"));
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

fn get(visit: Visit<'_>, context: &Context<'_>, args: &Args) -> Result<Output, Stop> {
    let (manager, cap) = (visit.manager, visit.desk.max_result_bytes);
    let cluster = manager.select(args.text("cluster"))?;
    let view = View::from_args(args)?;
    let asker = Asker::new(visit, cluster, &context.cancel);
    let read = |path: &str, cap: usize| {
        if let Some(method) = leading_method(path).0.filter(|method| *method != Method::Get) {
            return Err(format!("proxmox_api_get only reads: a {method} is for proxmox_api_call"));
        }
        let wanted = Wanted { method: Some(Method::Get), path, data: args.object("params"), whole: !view.is_plain() };
        let mut request = asker.prepare(&wanted)?;
        asker.unasked(&request)?;
        let answer = asker.send(&mut request, &wanted)?;
        let shown = show(&view, answer, cap)?;
        request.notes.extend(shown.note);
        Ok((shown.text, request.notes))
    };
    let paths = match (args.text("path"), args.texts("paths")) {
        (Some(path), None) => {
            let (text, more) = read(path, cap)?;
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
    // Fetched once, so that all paths are judged alike.
    cluster.schema(&context.cancel);
    // Each has its share, so that the first can't take the place of the others.
    let share = if cap == 0 { 0 } else { (cap / paths.len()).max(1) };
    let answers = in_parallel(&paths, &|path| read(path, share));
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

/// Reads every path, some at once; the answers are in the order of the paths.
fn in_parallel(paths: &[&str], read: &(dyn Fn(&str) -> Read + Sync)) -> Vec<Read> {
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
        for _ in 1..paths.len().min(AT_ONCE) {
            // Where there is no thread to be had, the others do its part.
            let _ = thread::Builder::new().name("fan-out".into()).spawn_scoped(scope, work);
        }
        work();
    });
    let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err("it was not asked for".into()))).collect()
}
