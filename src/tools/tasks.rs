//! `wait_for_task`: sees a task to its end, with its log as it grows.

use super::clusters::{side_by_side, told};
use super::desk::{Act, Desk, Visit};
use super::units::push_duration;
use crate::audit::{Decision, Event};
use crate::mcp::args::{Args, Kind, Param};
use crate::mcp::catalog::{Effect, Input, Output, Stop, Tool};
use crate::mcp::context::Context;
use crate::pve::Method;
use crate::pve::cluster::Cluster;
use crate::pve::manager::ClusterManager;
use crate::pve::params::Params;
use crate::pve::task::{self, Outcome, Progress, State, Upid};
use crate::redact;
use serde_json::json;
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a wait lasts where nobody says: clients often give a call up after 60 s, and an answer in time that the task
/// goes on is worth more than none.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(45);

/// The longest wait, in seconds.
const LONGEST_WAIT: u64 = 3_600;

/// How long the clusters have to say whose task it is, where none was named.
const FIND: Duration = Duration::from_secs(5);

/// Between two rounds of asking them.
const AGAIN: Duration = Duration::from_millis(300);

/// The most lines of the log in one message of the progress.
const NEWS: usize = 20;

/// How often a client that follows the progress hears something, though the log does not grow.
const BEAT: Duration = Duration::from_secs(10);

/// The tool `wait_for_task(upid, cluster?, timeout?)`.
pub fn wait_for_task(desk: Arc<Desk>) -> Tool {
    Tool {
        name: "wait_for_task",
        title: "Wait for a task",
        description: "Waits until a task (the UPID:… that a call answered) has ended: how it ended, how long it took, the \
            last lines of its log. A failed task is an error. One that still runs at the end of the wait goes on by \
            itself: call again with the same upid. Nothing is ever stopped.",
        input: Input::Params(&[
            Param { name: "upid", kind: Kind::Text, required: true, about: "the whole UPID:…, as answered" },
            Param {
                name: "cluster",
                kind: Kind::Text,
                required: false,
                about: "a name of list_clusters (default: the one that knows the task)",
            },
            Param {
                name: "timeout",
                kind: Kind::Count,
                required: false,
                about: "seconds, 1 to 3600 (default: 45; clients often give up at 60)",
            },
        ]),
        effect: Effect::Reads,
        run: Box::new(move |context, args| {
            let upid = args.text("upid").unwrap_or_default();
            let deadline = Instant::now() + timeout(args.count("timeout"))?;
            desk.serve(context, "wait_for_task", &|visit| {
                let cluster = holder(visit, context, args, &Upid::parse(upid)?, deadline)?;
                finish(visit, cluster, upid, deadline, context)
            })
        }),
    }
}

fn timeout(seconds: Option<u64>) -> Result<Duration, String> {
    match seconds {
        None => Ok(DEFAULT_WAIT),
        Some(seconds) if (1..=LONGEST_WAIT).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        Some(_) => Err(format!("wait_for_task: timeout must be a number of seconds from 1 to {LONGEST_WAIT}")),
    }
}

/// The cluster whose task it is: the one named, the only one, or the one that knows it.
fn holder<'m>(
    visit: Visit<'m>,
    context: &Context<'_>,
    args: &Args,
    upid: &Upid,
    deadline: Instant,
) -> Result<&'m Arc<Cluster>, Stop> {
    let manager = visit.manager;
    if let Some(name) = args.text("cluster") {
        return Ok(manager.select(Some(name))?);
    }
    if let [one] = manager.all() {
        return Ok(one);
    }
    let (mut all, mut refusal) = (Vec::new(), None);
    for cluster in manager.all() {
        match may_watch(visit, cluster, upid) {
            Ok(()) => all.push(cluster.clone()),
            Err(why) => refusal = Some(why),
        }
    }
    if let (true, Some(why)) = (all.is_empty(), refusal) {
        return Err(Stop::Failed(why));
    }
    let begun = Instant::now();
    loop {
        let by = (Instant::now() + FIND).min(deadline);
        let mut answers =
            side_by_side(&all, &context.cancel, |cluster, cancel| task::status(cluster, upid, by, cancel));
        if let Some((known, _)) = all.iter().zip(&answers).find(|(_, answer)| answer.is_ok()) {
            return Ok(manager.select(Some(&known.settings().name))?);
        }
        // Right after a task began, its own cluster may not know it either.
        let new = answers.iter().any(|answer| answer.as_ref().is_err_and(task::is_unknown));
        let over = Instant::now() + AGAIN > deadline.min(begun + task::UNKNOWN_FOR);
        if new && !over && !context.cancel.wait(AGAIN) {
            continue;
        }
        let mut why = format!("no cluster knows the task {upid}: name the one it belongs to in `cluster`");
        for (cluster, answer) in all.iter().zip(answers.drain(..)) {
            match answer {
                Err(e) if !task::is_unknown(&e) => {
                    let _ = write!(why, "\n{}", visit.shown(cluster, told(manager, cluster, &e)));
                }
                _ => drop(write!(why, "\ncluster {}: no such task", cluster.settings().name)),
            }
        }
        return Err(Stop::Failed(why));
    }
}

/// Whether a task's state and its log may be read.
pub(super) fn may_watch(visit: Visit<'_>, cluster: &Cluster, upid: &Upid) -> Result<(), String> {
    ["status", "log"].iter().try_for_each(|part| visit.may_read(cluster, &upid.path(part)))
}

/// Sees the task that a call of `cluster` answered (`upid`, also in the quotes of its JSON) to its end, or waits until
/// `deadline`. A task that failed is a failure, one that goes on is not.
pub(super) fn finish(
    visit: Visit<'_>,
    cluster: &Cluster,
    upid: &str,
    deadline: Instant,
    context: &Context<'_>,
) -> Result<Output, Stop> {
    let upid = &Upid::parse(upid)?;
    let (what, path, manager) = (what(upid), upid.path("status"), visit.manager);
    may_watch(visit, cluster, upid)?;
    let redacts = visit.redacts(cluster);
    let (mut beat, mut seen) = (Duration::ZERO, redact::Lines::default());
    let mut heard = |progress: &Progress<'_>| {
        // All of them, as what is shown may begin within a private key.
        let shown: Vec<_> = match redacts {
            true => progress.lines.iter().map(|line| seen.shown(line)).collect(),
            false => progress.lines.iter().map(Cow::from).collect(),
        };
        let message = match shown.get(shown.len().saturating_sub(NEWS)..).unwrap_or_default() {
            [] if progress.waited < beat + BEAT => return,
            [] => format!("{what} goes on"),
            last => last.join("\n"),
        };
        context.progress(progress.waited.as_secs_f64(), None, &message);
        beat = progress.waited;
    };
    context.tally.wait();
    let begun = Instant::now();
    let ended = task::wait(cluster, upid, deadline, &context.cancel, &mut heard);
    let act = Act { cluster, method: Method::Get, path: &path, params: &Params::new() };
    visit.close(act, Event::Call, Decision::Allowed, ended.as_ref().err(), None, begun);
    match ended {
        Ok(mut outcome) => {
            if redacts {
                let mut seen = redact::Lines::default();
                outcome.tail.iter_mut().for_each(|line| *line = seen.shown(line).into_owned());
                if let State::Failed(why) = &mut outcome.state {
                    *why = redact::text(why).into_owned();
                }
            }
            say(manager, cluster, upid, &outcome)
        }
        Err(e) if task::is_unknown(&e) => Err(Stop::Failed(told(
            manager,
            cluster,
            &format!("{0} knows no such task ({upid}). GET /nodes/{0}/tasks lists those it remembers", upid.node),
        ))),
        // A write's answer is not in doubt here: the task was begun, only its end was not seen.
        Err(e) => {
            let why = visit.shown(cluster, told(manager, cluster, &e)).trim_end_matches('.').to_owned();
            Err(Stop::Failed(format!(
                "{what} could not be watched: {why}. If it was begun, it goes on by itself: call wait_for_task again with \
                 upid {upid}"
            )))
        }
    }
}

/// `qmstart of guest 100 on pve1`.
fn what(upid: &Upid) -> String {
    let Upid { kind, id, node, .. } = upid;
    match id.parse::<u32>() {
        // Guests' numbers begin at 100; those of Ceph's daemons at 0.
        Ok(100..) if !kind.starts_with("ceph") => format!("{kind} of guest {id} on {node}"),
        _ if id.is_empty() => format!("{kind} on {node}"),
        _ => format!("{kind} of {id} on {node}"),
    }
}

fn say(manager: &ClusterManager, cluster: &Cluster, upid: &Upid, outcome: &Outcome) -> Result<Output, Stop> {
    let mut text = match &outcome.state {
        State::Running => "RUNNING: ".into(),
        State::Ok => "OK: ".into(),
        State::Warnings(n) => format!("WARNINGS: {n}, see the log: "),
        State::Failed(_) => "FAILED: ".into(),
    };
    text.push_str(&what(upid));
    if let Some(seconds) = outcome.seconds {
        text.push_str(if outcome.state == State::Running { ", for " } else { " took " });
        match seconds {
            // Up to two minutes to the second.
            0..120 => drop(write!(text, "{seconds} s")),
            _ => push_duration(&mut text, seconds),
        }
    }
    match &outcome.state {
        State::Running => {
            let _ = write!(
                text,
                ". It goes on by itself: call wait_for_task again with upid {upid} to wait on, or GET {} for its log",
                upid.path("log")
            );
        }
        State::Failed(why) => drop(write!(text, ": {why}")),
        State::Ok | State::Warnings(_) => {}
    }
    let shown = outcome.tail.len() as u64;
    if shown < outcome.lines {
        let _ = write!(
            text,
            "\n\nthe last {shown} of {} lines of the log (all: GET {}?limit=0)",
            outcome.lines,
            upid.path("log")
        );
    } else if shown > 0 {
        text.push_str("\n\nlog");
    }
    for line in &outcome.tail {
        text.push('\n');
        text.push_str(line);
    }
    if let State::Failed(_) = outcome.state {
        return Err(Stop::Failed(told(manager, cluster, &text)));
    }
    let mut structured = json!({
        "upid": upid.to_string(),
        "node": upid.node,
        "type": upid.kind,
        "id": upid.id,
        "user": upid.user,
        "status": if outcome.state == State::Running { "running" } else { "stopped" },
        "exitstatus": outcome.state.exit(),
        "started": upid.started,
        "seconds": outcome.seconds,
        "log": outcome.tail,
    });
    if manager.all().len() > 1 {
        structured["cluster"] = cluster.settings().name.as_str().into();
    }
    Ok(Output::table(text, structured.to_string()))
}
