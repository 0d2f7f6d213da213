//! The soak: the released program, two clusters of which one has faults every minute, and many sessions on every
//! transport that check each answer.
//!
//! A run consists of cycles. In each cycle the sessions are opened, make calls, and are closed. In the middle of a
//! cycle the nodes of one cluster die, hang or lose answers in turn: first one node, then another, then both. At the
//! end of a cycle the configuration changes, so that no connection to a node is kept. Then the resources of the
//! processes are measured: later cycles must not exceed the first one.
//!
//! In the first part of a cycle, an abusive client is at work. Within it the log is not read for a while, and then the
//! configuration changes with every step.

use super::abuse::{Abuse, LARGE, LargeCluster, client_entries};
use super::resource_usage::ResourceUsage;
use super::session::{CycleContext, SoakSession, strip_timestamp};
use super::simulated_cluster::{FAULTS, NODES, NodeFault, SimulatedCluster};
use super::statistics::{CallVerdict, SoakStatistics};
use super::supervisor::{LogReader, WATCHDOG, Watchdog, memory_limit_mib, peak_memory_mib};
use super::transport::{Server, TransportKind, worker_entries};
use crate::support::process::ServerProcess;
use crate::support::server::raise_descriptors;
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The longest cycle.
const MAX_CYCLE: Duration = Duration::from_secs(60);
/// The minimum number of cycles: a warm-up, a middle and an end.
const MIN_CYCLES: u32 = 3;
/// One in this number of sessions has its own process.
const SESSIONS_PER_STDIO: u32 = 20;
/// Number of guests that a demo has from the start.
const DEMO_GUESTS: usize = 13;
/// The constant part of the tolerated growth of memory. An allocator returns no page that is partly in use, and the
/// number of these pages grows more and more slowly for some minutes. A leak grows at the same rate until the end.
const MARGIN_KIB: u64 = 4 << 10;
/// The tolerated growth since the first cycles: a half.
const FIRST_CYCLE_DIVISOR: u64 = 2;
/// The tolerated growth since the middle: a tenth. In ten minutes at 700 calls per second that is 50 bytes per call.
const MIDDLE_CYCLE_DIVISOR: u64 = 10;
/// The time limit for the release of what clients have closed.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The parts of a cycle, in twentieths: the work of the abusive client, the log that is not read, and the changes of the
/// configuration with every step.
const ABUSE: Range<u64> = 0..15;
const STALLED_LOG: Range<u64> = 2..7;
const RELOADS: Range<u64> = 9..13;

/// The parameters of a run.
pub struct SoakPlan {
    pub program: PathBuf,
    /// The duration of the load.
    pub time: Duration,
    /// The number of parallel sessions.
    pub sessions: u32,
}

/// The state of a run.
struct SoakRun {
    _temp_dir: TempDir,
    audit: PathBuf,
    ca: PathBuf,
    server: Server,
    process: ServerProcess,
    log: LogReader,
    watchdog: Watchdog,
    large: LargeCluster,
    clusters: [SimulatedCluster; 2],
    statistics: SoakStatistics,
    /// The figures of the server and of all stdio processes together, after each cycle.
    usage: Vec<[ResourceUsage; 2]>,
    audit_lines: u64,
    progress: RunProgress,
}

/// The progress of the run.
struct RunProgress {
    started: Instant,
    /// The number of reports so far.
    reports: u64,
    /// Configurations so far.
    config_versions: u64,
}

/// Runs the soak. Prints figures on stdout and the progress on stderr. The error lists the problems.
pub fn run(plan: &SoakPlan) -> Result<(), String> {
    let cycles = MIN_CYCLES.max(plan.time.as_secs().div_ceil(MAX_CYCLE.as_secs()) as u32);
    raise_descriptors();
    let (mut sessions, simulated_clusters) = create_sessions(plan.sessions);
    let mut soak = SoakRun::start(plan, simulated_clusters);
    println!("{} sessions, {cycles} cycles of {:.0?}, {}", plan.sessions, plan.time / cycles, plan.program.display());
    println!("before the first session: {}", ResourceUsage::from_pids(&[soak.process.child.id()]));
    for cycle in 0..cycles {
        soak.run_cycle(cycle, plan.time / cycles, &mut sessions);
        if soak.statistics.count_calls(Some(CallVerdict::Wrong)) > 0 {
            break;
        }
    }
    sessions.iter_mut().for_each(|session| session.end(&soak.statistics));
    soak.finish()
}

/// Creates the sessions, and the clusters with a guest for each session.
fn create_sessions(number: u32) -> (Vec<SoakSession>, [SimulatedCluster; 2]) {
    let stdio = number.div_ceil(SESSIONS_PER_STDIO);
    let transport = |n: u32| match n {
        _ if n < stdio => TransportKind::Stdio,
        _ if n.is_multiple_of(2) => TransportKind::Http,
        _ => TransportKind::Sse,
    };
    // Sessions are created in pairs, so that every transport is on both clusters.
    let sessions: Vec<_> = (0..number).map(|n| SoakSession::new(n, transport(n), (n / 2 % 2) as usize)).collect();
    let guests = |home: usize| {
        sessions.iter().map(SoakSession::guest).filter(|(at, _)| *at == home).map(|(_, vmid)| vmid).collect::<Vec<_>>()
    };
    let simulated_clusters =
        [SimulatedCluster::start("alpha", "alf", &guests(0)), SimulatedCluster::start("beta", "bet", &guests(1))];
    (sessions, simulated_clusters)
}

impl SoakRun {
    fn start(plan: &SoakPlan, simulated_clusters: [SimulatedCluster; 2]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (audit, ca) = (folder.path().join("audit.log"), folder.path().join("ca.pem"));
        let config = folder.path().join("clusters.json");
        fs::write(&ca, SimulatedCluster::ca_certificate()).expect("to write");
        let large = LargeCluster::start();
        write_private_file(&config, &render_config(&simulated_clusters, &large, &ca, 0));
        let notify = folder.path().join("notify");
        let watchdog = Watchdog::listen(&notify);
        let mut command = Command::new(&plan.program);
        command.arg("--config").arg(&config).arg("--audit-log").arg(&audit);
        command.args(["--listen", "127.0.0.1:0", "--log", "info", "--structured"]).env_clear();
        // The sessions read an answer as one document.
        command.args(["--stream-delay", "120"]);
        command.env("NOTIFY_SOCKET", &notify).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        let (process, log) = ServerProcess::of_with_unread_stderr(&mut command);
        let address = process.address().parse().expect("an address");
        let server = Server { program: plan.program.clone(), config, address };
        Self {
            _temp_dir: folder,
            audit,
            ca,
            server,
            process,
            log: LogReader::start(log),
            watchdog,
            large,
            clusters: simulated_clusters,
            statistics: SoakStatistics::default(),
            usage: Vec::new(),
            audit_lines: 0,
            progress: RunProgress { started: Instant::now(), reports: 0, config_versions: 0 },
        }
    }

    /// Runs one cycle, from opening to closing the sessions.
    fn run_cycle(&mut self, cycle: u32, length: Duration, sessions: &mut [SoakSession]) {
        let mut guests = [DEMO_GUESTS; 2];
        sessions.iter().for_each(|session| guests[session.guest().0] += 1);
        let over = AtomicBool::new(false);
        let scene = CycleContext {
            clusters: &self.clusters,
            guests,
            server: &self.server,
            statistics: &self.statistics,
            stopping: &over,
        };
        let abuse_over = AtomicBool::new(false);
        let abuse = Abuse { server: self.server.address, statistics: &self.statistics, stopping: &abuse_over };
        let open = thread::scope(|scope| {
            for session in sessions.iter_mut() {
                scope.spawn(|| session.run(&scene));
            }
            abuse.start(scope);
            let driver = CycleDriver {
                process: &self.process,
                log: &self.log,
                large: &self.large,
                ca: &self.ca,
                abuse_over: &abuse_over,
                progress: &mut self.progress,
            };
            let open = driver.drive(&scene, cycle, length);
            over.store(true, Ordering::SeqCst);
            open
        });
        let stdio: Vec<u32> = sessions.iter().filter_map(SoakSession::process_id).collect();
        self.wait_until_settled(&stdio);
        println!("cycle {}: with sessions {open}", cycle + 1);
        let [server, processes] = self.usage[self.usage.len() - 1];
        println!("         without       {server}; {} of stdio {processes}", stdio.len());
        self.rotate_audit_log(cycle);
    }

    /// Waits until the processes use no more than after the first cycle.
    fn wait_until_settled(&mut self, stdio: &[u32]) {
        // Kept connections to the nodes are closed with the previous configuration.
        self.progress.config_versions += 1;
        replace_config(&self.server, &self.clusters, &self.large, &self.ca, self.progress.config_versions);
        self.process.signal(Signal::HUP);
        let (begun, mut quiet) = (Instant::now(), 0);
        let look = || [ResourceUsage::from_pids(&[self.process.child.id()]), ResourceUsage::from_pids(stdio)];
        let mut held = look();
        // Longer than a process keeps a connection that no call has used, and than the five seconds after which unused
        // memory is returned.
        while begun.elapsed() < SETTLE_TIMEOUT
            && (quiet < 120 || self.usage.first().is_some_and(|f| !held[0].is_within(&f[0])))
        {
            thread::sleep(Duration::from_millis(100));
            let now = look();
            quiet = if now[0].is_within(&held[0]) && now[1].is_within(&held[1]) { quiet + 1 } else { 0 };
            held = now;
        }
        self.usage.push(held);
    }

    /// Rotates the audit log, and verifies the one of the cycle before.
    fn rotate_audit_log(&mut self, cycle: u32) {
        if let Some(before) = cycle.checked_sub(1) {
            self.verify_audit_log(&self.audit.with_extension(before.to_string()));
        }
        fs::rename(&self.audit, self.audit.with_extension(cycle.to_string())).expect("to rename");
    }

    fn verify_audit_log(&mut self, file: &Path) {
        let output = Command::new(&self.server.program).args(["audit", "verify"]).arg(file).output().expect("to run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            self.statistics.record_call("audit", "verify", CallVerdict::Wrong, Instant::now());
            self.statistics.record_wrong(format!("audit verify: {text}{}", String::from_utf8_lossy(&output.stderr)));
        }
        self.audit_lines += text.split_whitespace().find_map(|word| word.parse::<u64>().ok()).unwrap_or_default();
        fs::remove_file(file).expect("to remove");
    }

    /// Ends the server and prints the results.
    fn finish(mut self) -> Result<(), String> {
        let took = self.progress.started.elapsed();
        let (peak, limit) = (peak_memory_mib(&self.process), memory_limit_mib());
        let gap = self.watchdog.longest_gap();
        self.process.signal(Signal::TERM);
        let status = self.process.wait_for_exit();
        self.log.warnings().for_each(|line| self.statistics.record_message("at the end, log", strip_timestamp(&line)));
        let rest: Vec<_> = fs::read_dir(self.audit.parent().expect("a folder")).expect("to read").flatten().collect();
        for file in rest.iter().map(fs::DirEntry::path) {
            if file.file_stem() == self.audit.file_stem() {
                self.verify_audit_log(&file);
            }
        }
        let (calls, wrong) = (self.statistics.count_calls(None), self.statistics.count_calls(Some(CallVerdict::Wrong)));
        println!("\n{}", self.statistics.format_table());
        println!("Messages, without their numbers:");
        self.statistics.messages().iter().take(200).for_each(|(text, n)| println!("{n:7} × {text}"));
        println!(
            "\n{calls} calls in {took:.0?}, {:.0} a second; audit: {} lines",
            calls as f64 / took.as_secs_f64(),
            self.audit_lines
        );
        let dawdled: usize = self.clusters.iter().map(SimulatedCluster::count_slow_responses).sum();
        if dawdled > 0 {
            println!("{dawdled} times this machine had too much to do for a simulated node to answer soon");
        }
        let mut problems = Vec::new();
        if wrong > 0 {
            problems.push(format!(
                "{wrong} wrong answers, the first of them:\n{}",
                self.statistics.wrong_answers().join("\n")
            ));
        }
        if !status.success() {
            problems.push(format!("the server ended with {status}"));
        }
        println!("memory: at most {peak} MiB of {limit} MiB; watchdog: notified within {gap:.1?}");
        if peak > limit {
            problems.push(format!("the server used {peak} MiB, and MemoryMax of the unit is {limit} MiB"));
        }
        if gap > WATCHDOG {
            problems.push(format!("the watchdog was not notified for {gap:.1?}"));
        }
        if self.large.count_changes() > 0 {
            problems.push(format!("{} changes were sent that no configuration allows", self.large.count_changes()));
        }
        problems.extend(self.find_growth());
        if problems.is_empty() {
            println!("0 wrong answers; memory, threads and descriptors are flat; SIGTERM: {status}");
            return Ok(());
        }
        Err(problems.join("\n"))
    }

    /// Returns the figures that grew from the first cycles on. Memory is compared with the larger of two, since the
    /// allocator holds more or less of what the first one used.
    fn find_growth(&self) -> Vec<String> {
        let Some([first, rest @ ..]) = self.usage.get(..).filter(|held| held.len() > 1) else { return Vec::new() };
        let (middle, last) = (rest[(rest.len() - 1) / 2], rest[rest.len() - 1]);
        let mut problems = Vec::new();
        for (n, what) in ["the server", "stdio"].iter().enumerate() {
            println!("{what:10}  after the first cycle {}", first[n]);
            println!("{:10}  in the middle         {}", "", middle[n]);
            println!("{:10}  at the end            {}", "", last[n]);
            let warm = if rest.len() > 1 { first[n].rss_kib.max(rest[0][n].rss_kib) } else { first[n].rss_kib };
            for (rss_kib, part) in [(warm, FIRST_CYCLE_DIVISOR), (middle[n].rss_kib, MIDDLE_CYCLE_DIVISOR)] {
                let most = rss_kib + rss_kib / part + MARGIN_KIB;
                if last[n].rss_kib > most {
                    problems.push(format!("{what} uses more than {} MiB", most >> 10));
                }
            }
            if !last[n].is_within(&first[n]) {
                problems.push(format!("{what} has more threads or descriptors than after the first cycle"));
            }
        }
        problems
    }
}

/// The influences on one cycle.
struct CycleDriver<'a> {
    process: &'a ServerProcess,
    log: &'a LogReader,
    large: &'a LargeCluster,
    ca: &'a Path,
    /// Set when the abusive client is to end.
    abuse_over: &'a AtomicBool,
    progress: &'a mut RunProgress,
}

impl CycleDriver<'_> {
    /// Causes faults on one cluster, triggers reloads, stalls the log, and prints the progress. Returns the server's
    /// resources while the sessions were open.
    fn drive(self, scene: &CycleContext<'_>, cycle: u32, length: Duration) -> ResourceUsage {
        let (begun, simulated) = (Instant::now(), &scene.clusters[cycle as usize % 2]);
        let fault = |n: usize| FAULTS[(cycle as usize * 3 + n) % FAULTS.len()];
        let all: Vec<usize> = (0..NODES).collect();
        // The schedule of faults, in twentieths of the cycle.
        let mut fault_schedule: Vec<(u32, &[usize], NodeFault)> = Vec::new();
        for (n, nodes) in [&all[..1], &all[1..], &all[..]].into_iter().enumerate() {
            let at = 3 + 4 * n as u32;
            fault_schedule.extend([(at, nodes, fault(n)), (at + 2, nodes, NodeFault::None)]);
        }
        let mut acts = fault_schedule.into_iter().peekable();
        let (mut watched, mut twentieth) = (None, 0);
        let mut open = ResourceUsage::default();
        while begun.elapsed() < length {
            thread::sleep(Duration::from_millis(20));
            scene.clusters.iter().for_each(SimulatedCluster::forget_requests);
            self.large.forget_requests();
            let now = (begun.elapsed().as_millis() * 20 / length.as_millis()) as u64;
            self.abuse_over.store(!ABUSE.contains(&now), Ordering::SeqCst);
            self.log.set_stalled(STALLED_LOG.contains(&now));
            if RELOADS.contains(&now) {
                self.progress.config_versions += 1;
                replace_config(scene.server, scene.clusters, self.large, self.ca, self.progress.config_versions);
                self.process.signal(Signal::HUP);
            }
            let one_second_ago = Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or(begun);
            let fault = simulated.fault_since(one_second_ago).map_or("no fault".into(), |fault| fault.to_string());
            self.log
                .warnings()
                .for_each(|line| scene.statistics.record_message(&format!("{fault}, log"), strip_timestamp(&line)));
            if let Some((fault, ended)) = watched
                && let Some(well) = scene.statistics.recovered_at(simulated.name)
            {
                println!("{}: {fault}: right answers again {:.1?} after its end", simulated.name, well - ended);
                watched = None;
            }
            while let Some((_, nodes, fault)) = acts.next_if(|(at, ..)| begun.elapsed() >= length / 20 * *at) {
                if fault == NodeFault::None {
                    scene.statistics.watch_recovery(simulated.name);
                }
                simulated.set_fault(nodes, fault);
                if fault == NodeFault::None {
                    watched = simulated.fault_since(Instant::now()).map(|fault| (fault, Instant::now()));
                }
            }
            // Every third step: a new configuration, sometimes preceded by a broken one.
            if now > twentieth {
                twentieth = now;
                if now.is_multiple_of(9) {
                    write_private_file(&scene.server.config, "{");
                    self.process.signal(Signal::HUP);
                }
                if now.is_multiple_of(3) {
                    self.progress.config_versions += 1;
                    replace_config(scene.server, scene.clusters, self.large, self.ca, self.progress.config_versions);
                    self.process.signal(Signal::HUP);
                }
                if now == 18 {
                    open = ResourceUsage::from_pids(&[self.process.child.id()]);
                }
            }
            let seconds = self.progress.started.elapsed().as_secs();
            if seconds / 30 > self.progress.reports {
                self.progress.reports = seconds / 30;
                let sum = |outcome| scene.statistics.count_calls(outcome);
                let (all, failed, wrong) = (sum(None), sum(Some(CallVerdict::Failed)), sum(Some(CallVerdict::Wrong)));
                let held = ResourceUsage::from_pids(&[self.process.child.id()]);
                eprintln!("{seconds:4} s: {all} calls, {failed} errors during faults, {wrong} wrong; {held}");
            }
        }
        open
    }
}

fn render_config(simulated_clusters: &[SimulatedCluster; 2], large: &LargeCluster, ca: &Path, version: u64) -> String {
    let mut clusters: serde_json::Map<_, _> = simulated_clusters
        .iter()
        .map(|simulated| (simulated.name.to_owned(), simulated.config_entry(ca, version % 500)))
        .collect();
    clusters.insert(LARGE.into(), large.config_entry());
    let mut clients = client_entries(version);
    clients.as_object_mut().expect("an object").extend(worker_entries());
    json!({"clusters": clusters, "clients": clients}).to_string()
}

/// Writes another configuration, which differs in its time limit.
fn replace_config(
    server: &Server,
    simulated_clusters: &[SimulatedCluster; 2],
    large: &LargeCluster,
    ca: &Path,
    version: u64,
) {
    let new = server.config.with_extension("new");
    write_private_file(&new, &render_config(simulated_clusters, large, ca, version));
    fs::rename(&new, &server.config).expect("to rename");
}

/// Writes a file that its owner alone may read.
fn write_private_file(path: &Path, text: &str) {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("to write");
}
