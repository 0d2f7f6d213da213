//! Calls of one tool: calls per second, their durations, and the server's CPU time per call.

use crate::Outcome;
use crate::process;
use crate::session::{Mode, Request, Session, contains};
use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Stack of a client thread, which only formats and reads.
const STACK: usize = 256 << 10;

pub struct Plan {
    pub mode: Mode,
    pub server: String,
    pub sessions: usize,
    pub seconds: f64,
    pub pid: u32,
    pub tool: String,
    /// A JSON object.
    pub arguments: String,
    /// A text of every right answer. The first answer of each session is searched for it.
    pub expected: String,
}

/// Opens all sessions, then calls for the given time. A failed session fails the run.
pub fn run(plan: Plan) -> Outcome {
    let (ready, over) = (Barrier::new(plan.sessions + 1), AtomicBool::new(false));
    let (mut times, used, resident, elapsed) = thread::scope(|scope| -> io::Result<_> {
        let client = || client(&plan, &ready, &over);
        let clients = (0..plan.sessions).map(|_| thread::Builder::new().stack_size(STACK).spawn_scoped(scope, client));
        // The other threads wait at the barrier until all have started.
        let clients: Vec<_> = clients.map(|client| client.expect("a thread")).collect();
        ready.wait();
        let (begun, before) = (Instant::now(), process::cpu(plan.pid)?);
        thread::sleep(Duration::from_secs_f64(plan.seconds));
        let resident = process::resident(plan.pid);
        over.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for client in clients {
            times.extend(client.join().map_err(|_| io::Error::other("a client's thread broke off"))??);
        }
        let elapsed = begun.elapsed();
        Ok((times, process::cpu(plan.pid)? - before, resident?, elapsed))
    })?;
    times.sort_unstable();
    let calls = times.len();
    let share = |of: f64| {
        let nth = (calls as f64 * of) as usize;
        times.get(nth).or(times.last()).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    println!(
        r#"{{"calls":{calls},"calls_s":{:.1},"p50_us":{:.1},"p99_us":{:.1},"cpu_us":{:.2},"resident_kib":{resident}}}"#,
        calls as f64 / elapsed.as_secs_f64(),
        share(0.5),
        share(0.99),
        used * 1e6 / calls.max(1) as f64,
    );
    Ok(())
}

/// Runs the calls of one session and returns their durations.
fn client(plan: &Plan, ready: &Barrier, over: &AtomicBool) -> io::Result<Vec<Duration>> {
    let first = || {
        let request = Request::call(plan.mode, &plan.tool, &plan.arguments);
        let mut session = Session::open(plan.mode, &plan.server, request)?;
        let answer = session.ask()?;
        match contains(&answer, plan.expected.as_bytes()) {
            true => Ok(session),
            false => {
                Err(io::Error::other(format!("no {} in {:.500}", plan.expected, String::from_utf8_lossy(&answer))))
            }
        }
    };
    let session = first();
    ready.wait();
    let (mut session, mut times) = (session?, Vec::new());
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        session.ask()?;
        times.push(begun.elapsed());
    }
    Ok(times)
}
