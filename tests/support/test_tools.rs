//! Tools that wait, are cancelled, report progress, panic, or return long answers. With [`TestTools`] a test sees and
//! releases running calls.
#![allow(dead_code)]

use super::policy::open_policy;
use super::raw::LONG;
use super::server::{TestServer, patient_limits};
use proxmox_mcp::audit::AuditLog;
use proxmox_mcp::base::cancel::{CancelToken, HookGuard};
use proxmox_mcp::config::{Client, ClusterConfig, Limits};
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::mcp::arguments::{ParameterKind, ToolArguments, ToolParameter};
use proxmox_mcp::mcp::catalog::{
    Catalog, Resource, ResourceError, Resources, Tool, ToolEffect, ToolError, ToolHandler, ToolInput, ToolOutput,
};
use proxmox_mcp::mcp::content::{ResourceContents, ResourceData};
use proxmox_mcp::mcp::context::CallContext;
use proxmox_mcp::pve::client::cluster::Cluster;
use proxmox_mcp::pve::client::manager::ClusterManager;
use proxmox_mcp::pve::demo::{Demo, Options};
use proxmox_mcp::pve::schema::SchemaTimings;
use proxmox_mcp::pve::schema::facts::APIDOC;
use proxmox_mcp::tools;
use proxmox_mcp::tools::ToolState;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Size of the answer of the tool `large`, in bytes.
pub const LARGE: usize = 8 << 20;

/// The test's handle of the tools. Dropping it releases every call, so that a test that fails also ends.
pub struct TestTools(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// Names of calls of `hold`, each chosen by its test.
#[derive(Default)]
struct State {
    begun: Vec<String>,
    cancelled: Vec<String>,
    released: Vec<String>,
    over: bool,
}

const TEXT: &[ToolParameter] =
    &[ToolParameter { name: "text", kind: ParameterKind::Text, required: true, description: "what to say" }];
const NAME: &[ToolParameter] =
    &[ToolParameter { name: "name", kind: ParameterKind::Text, required: true, description: "what the test calls it" }];

fn tool(name: &'static str, params: &'static [ToolParameter], run: ToolHandler) -> Tool {
    Tool {
        name,
        title: name,
        description: "a tool of the tests",
        input: ToolInput::Parameters(params),
        effect: ToolEffect::ReadOnly,
        meta: serde_json::Map::new(),
        handler: run,
    }
}

fn say(text: &str) -> Result<ToolOutput, ToolError> {
    Ok(ToolOutput::text(text.to_owned()))
}

impl TestTools {
    /// Creates the handle. No call runs yet.
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Returns the tools `echo`, `hold`, `late_step`, `steps`, `large`, `panic` and `fail`.
    pub fn tools(&self) -> Vec<Tool> {
        let (shared, late) = (self.0.clone(), self.0.clone());
        vec![
            tool("echo", TEXT, Box::new(|_, args| say(args.text("text").unwrap_or_default()))),
            tool("hold", NAME, Box::new(move |context, args| hold(&shared, context, args))),
            tool("late_step", NAME, Box::new(move |context, args| late_step(&late, context, args))),
            tool("steps", &[], Box::new(steps)),
            tool("large", &[], Box::new(|_, _| say(&"x".repeat(LARGE)))),
            tool(
                "panic",
                &[],
                Box::new(|context, _| {
                    context.send_progress(1.0, None, "before the panic");
                    panic!("a test's panic")
                }),
            ),
            tool("fail", &[], Box::new(|_, _| Err(ToolError::Failed("it failed".into())))),
        ]
    }

    /// Returns a server with these tools and one resource.
    pub fn server(&self) -> McpServer {
        start_serving(Catalog { tools: self.tools(), resources: Some(resources()), ..Catalog::default() })
    }

    /// Returns a server with these tools and those of the product, over `clusters`.
    pub fn server_over(&self, clusters: Vec<ClusterConfig>) -> McpServer {
        let mut catalog = tools::catalog(&tool_state(clusters, Limits::default().max_result_bytes));
        catalog.tools.extend(self.tools());
        start_serving(catalog)
    }

    /// Waits until the call of `hold` with this name runs.
    pub fn wait_for(&self, name: &str) {
        self.wait(&format!("{name} begins"), |state| has(&state.begun, name));
    }

    /// Waits until the call of `hold` with this name is cancelled.
    pub fn wait_for_cancel(&self, name: &str) {
        self.wait(&format!("{name} is cancelled"), |state| has(&state.cancelled, name));
    }

    /// Returns whether this call runs or has run.
    pub fn has_begun(&self, name: &str) -> bool {
        has(&self.0.lock().begun, name)
    }

    /// Returns whether this call was cancelled.
    pub fn was_cancelled(&self, name: &str) -> bool {
        has(&self.0.lock().cancelled, name)
    }

    /// Releases the call of `hold` with this name, now or as soon as it runs.
    pub fn release(&self, name: &str) {
        self.0.lock().released.push(name.to_owned());
        self.0.changed.notify_all();
    }

    fn wait(&self, what: &str, done: impl Fn(&State) -> bool) {
        let (state, wait) = self.0.changed.wait_timeout_while(self.0.lock(), LONG, |state| !done(state)).unwrap();
        assert!(!wait.timed_out(), "not seen: {what}; begun: {:?}, cancelled: {:?}", state.begun, state.cancelled);
    }
}

impl Drop for TestTools {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has(names: &[String], name: &str) -> bool {
    names.iter().any(|n| n == name)
}

/// Reports progress and runs until it is released ("released NAME") or cancelled.
fn hold(shared: &Arc<Shared>, context: &CallContext<'_>, args: &ToolArguments) -> Result<ToolOutput, ToolError> {
    let name = args.text("name").unwrap_or_default();
    context.send_progress(1.0, None, name);
    wait_for_release(shared, context, name)
}

/// Does the same and reports progress at its end.
fn late_step(shared: &Arc<Shared>, context: &CallContext<'_>, args: &ToolArguments) -> Result<ToolOutput, ToolError> {
    let name = args.text("name").unwrap_or_default();
    let output = wait_for_release(shared, context, name);
    context.send_progress(1.0, None, name);
    output
}

fn wait_for_release(shared: &Arc<Shared>, context: &CallContext<'_>, name: &str) -> Result<ToolOutput, ToolError> {
    let _hook = wake_on(&context.cancel, shared);
    shared.lock().begun.push(name.to_owned());
    shared.changed.notify_all();
    let deadline = Instant::now() + LONG;
    let mut state = shared.lock();
    while !state.over && !has(&state.released, name) && !context.cancel.is_cancelled() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ToolError::Failed(format!("{name} was held for too long")));
        }
        state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    if context.cancel.is_cancelled() {
        state.cancelled.push(name.to_owned());
        shared.changed.notify_all();
    }
    say(&format!("released {name}"))
}

fn wake_on(cancel: &CancelToken, shared: &Arc<Shared>) -> HookGuard {
    let shared = shared.clone();
    cancel.on_cancel(Box::new(move || {
        // Taking the lock ensures that a thread which checked the flag already waits and is woken.
        drop(shared.lock());
        shared.changed.notify_all();
    }))
}

/// Reports three steps of progress, then answers.
fn steps(context: &CallContext<'_>, _: &ToolArguments) -> Result<ToolOutput, ToolError> {
    for done in 1..=3 {
        context.send_progress(f64::from(done), Some(3.0), "a step");
    }
    say("done")
}

fn resources() -> Resources {
    Resources {
        list: Box::new(|_| {
            vec![Resource {
                uri: "test://text".into(),
                name: "text".into(),
                title: "text".into(),
                description: "a resource of the tests".into(),
                mime: "text/plain",
            }]
        }),
        templates: Vec::new(),
        read: Box::new(|_, uri| match uri {
            "test://text" => {
                let data = ResourceData::Text("a text".into());
                Ok(vec![ResourceContents { uri: uri.into(), mime: "text/plain", data }])
            }
            _ => Err(ResourceError::Unknown(String::new())),
        }),
    }
}

/// Starts a server with the test tools. The test tools are dropped first, so that no call outlives its test.
pub fn start_with(limits: Limits) -> (TestServer, TestTools) {
    let test_tools = TestTools::new();
    (TestServer::builder().limits(limits).mcp(test_tools.server()).start(), test_tools)
}

/// Does the same with long deadlines, for well-behaved clients.
pub fn start() -> (TestServer, TestTools) {
    start_with(patient_limits())
}

/// Returns a manager of these clusters. A single one is the default. Only a cluster's own timeout limits the fetch of its
/// description, so that a slow machine gets it too.
pub fn manager(clusters: Vec<ClusterConfig>) -> ClusterManager {
    let timings = SchemaTimings { fetch_timeout: Duration::from_secs(600), ..SchemaTimings::default() };
    let client = |settings| Cluster::new(settings, &Limits::default()).expect("a client").with_schema_timings(timings);
    let clients = clusters.into_iter().map(|settings| Arc::new(client(settings))).collect();
    ClusterManager::from_clients(clients, None).expect("clients")
}

/// Returns the state of the tools over these clusters. Texts of results are cut at this number of bytes (0: no limit).
pub fn tool_state(clusters: Vec<ClusterConfig>, max_result_bytes: usize) -> Arc<ToolState> {
    tool_state_for(clusters, &[], max_result_bytes)
}

fn tool_state_for(clusters: Vec<ClusterConfig>, clients: &[Client], max_result_bytes: usize) -> Arc<ToolState> {
    let audit = Arc::new(AuditLog::without_file());
    Arc::new(ToolState::new(manager(clusters), clients, audit, max_result_bytes).expect("the state of the tools"))
}

/// Returns a server with the product's tools over these clusters, for these clients.
pub fn product_for(clusters: Vec<ClusterConfig>, clients: &[Client]) -> McpServer {
    start_serving(tools::catalog(&tool_state_for(clusters, clients, Limits::default().max_result_bytes)))
}

/// Returns a server with the product's tools over these clusters, for these clients, with a clock and an audit log.
pub fn product_with(
    clusters: Vec<ClusterConfig>,
    clients: &[Client],
    clock: &ManualClock,
    audit: AuditLog,
) -> McpServer {
    let clock = clock.clone();
    let state = ToolState::new(manager(clusters), clients, Arc::new(audit), Limits::default().max_result_bytes);
    let state = state.expect("the state of the tools").with_clock(Arc::new(move || clock.now()));
    start_serving(tools::catalog(&Arc::new(state)))
}

/// A clock that stands still until a test advances it.
#[derive(Clone)]
pub struct ManualClock(Arc<Mutex<Instant>>);

impl ManualClock {
    /// Starts at the present time.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Moves the time forward.
    pub fn advance(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }

    fn now(&self) -> Instant {
        *self.0.lock().unwrap()
    }
}

/// Starts a simulated cluster with the facts as its description, whose tasks take this long per log line.
pub fn start_demo(task_step: Duration) -> Demo {
    let mut options = Options::default();
    (options.task_step, options.apidoc) = (task_step, Some(APIDOC.into()));
    Demo::start_with(options).expect("the demo cluster")
}

/// Starts a simulated cluster whose tasks take no time, and a server that may do everything on it.
pub fn start_open_demo() -> (Demo, McpServer) {
    let demo = start_demo(Duration::ZERO);
    let server = product(vec![ClusterConfig { policy: open_policy(), ..demo.cluster() }]);
    (demo, server)
}

/// Returns a server with the product's tools over these clusters.
pub fn product(clusters: Vec<ClusterConfig>) -> McpServer {
    start_serving(tools::catalog(&tool_state(clusters, Limits::default().max_result_bytes)))
}

fn start_serving(catalog: Catalog) -> McpServer {
    McpServer::new(catalog).expect("a server")
}
