//! One cluster: which of its nodes is asked, what may be asked again, and how many calls it may hold.

use super::answer::Scrub;
use super::discover::Discovery;
use super::error::{Error, NoConnection, NotAsked};
use super::gate::{Gate, Permit, Refusal};
use super::nodes::{Choice, Nodes};
use super::schema::{Schema, Source, Times};
use super::wire::{Fault, Outgoing, Reply, Take, TimeLeft, Wire};
use super::{Method, answer, params::Params, path::ApiPath};
use crate::cancel::Cancel;
use crate::metrics::Api;
use crate::settings::{self, Limits};
use log::Level;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::http::uri::PathAndQuery;

pub use super::answer::Answer;
pub use super::nodes::Clock;

/// How long a GET may find out whether a node that hung answers again, while another would answer at once.
const TRIAL: Duration = Duration::from_secs(5);

/// The same for a connection.
const TRIAL_CONNECT: Duration = Duration::from_secs(1);

/// How an answer's body is read; the second is for the words that an error shows of it.
type Parse<'a> = dyn Fn(String, &Scrub<'_>) -> Result<Answer, (String, String)> + 'a;

/// The client of one cluster. Calls may be made from any number of threads.
pub struct Cluster {
    settings: settings::Cluster,
    wire: Wire,
    gate: Gate,
    nodes: Nodes,
    discovery: Discovery,
    source: Source,
    counts: Api,
}

impl Cluster {
    /// Makes the client; opens no connection. The error is a sentence about what is wrong in `settings`.
    pub fn new(settings: settings::Cluster, limits: &Limits) -> Result<Self, String> {
        let wire = Wire::new(&settings, limits).map_err(|why| format!("cluster `{}`: {why}", settings.name))?;
        let gate = Gate::new(limits.max_calls_per_cluster);
        let counts = Api::new(wire.nodes());
        let (nodes, discovery) = (Nodes::new(wire.nodes()), Discovery::new(&settings));
        Ok(Self { settings, wire, gate, nodes, discovery, source: Source::default(), counts })
    }

    /// The same client with another clock for how long a node is passed over and when nodes are learnt.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { nodes: self.nodes.with_clock(clock), ..self }
    }

    /// The same client with other times for its schema, for who can't wait as long as an administrator.
    pub fn with_schema_times(self, times: Times) -> Self {
        Self { source: Source::new(times), ..self }
    }

    /// What clusters.json says of it.
    pub fn settings(&self) -> &settings::Cluster {
        &self.settings
    }

    /// What it has answered so far.
    pub fn counts(&self) -> &Api {
        &self.counts
    }

    /// Makes one API call and waits for its answer, at most the cluster's `timeout`, the wait for a free place
    /// included.
    ///
    /// A node that can't be reached or is not trusted is passed over: it was sent nothing. A GET whose connection is
    /// lost before an answer is asked once more, of another node where there is one; so is one whose answer was cut, if
    /// there is one. Nothing else is ever sent twice.
    /// What fails so is passed over by other calls as well, for a time ([`Cluster::node_states`]).
    ///
    /// A failure leaves one line in the log: at `warn` where something may have changed and nobody knows, for a client
    /// that cancelled is told nothing; else at `debug`.
    pub fn call(&self, method: Method, path: &ApiPath, params: &Params, cancel: &Cancel) -> Result<Answer, Error> {
        let start = Instant::now();
        let result = self.attempt(method, path, params, start + self.settings.timeout, cancel);
        self.logged(start, method, path, result)
    }

    /// The same for a GET of a list whose rows are checked by whoever reads them: of the answer only the outside is looked
    /// at.
    pub fn list(&self, path: &ApiPath, params: &Params, cancel: &Cancel) -> Result<Answer, Error> {
        let start = Instant::now();
        let result = self.made(Method::Get, path, params, start + self.settings.timeout, cancel, &Answer::of_list);
        self.logged(start, Method::Get, path, result)
    }

    /// A GET that waits no longer than until `deadline`, where that is sooner than the cluster's own time limit.
    pub fn get_by(&self, deadline: Instant, path: &ApiPath, params: &Params, cancel: &Cancel) -> Result<Answer, Error> {
        let start = Instant::now();
        let deadline = deadline.min(start + self.settings.timeout);
        let mut result = self.attempt(Method::Get, path, params, deadline, cancel);
        if let Err(Error::TimedOut { after, .. }) = &mut result {
            *after = Duration::from_secs(start.elapsed().as_secs().max(1));
        }
        self.logged(start, Method::Get, path, result)
    }

    fn logged(
        &self,
        start: Instant,
        method: Method,
        path: &ApiPath,
        result: Result<Answer, Error>,
    ) -> Result<Answer, Error> {
        self.counts.ended(result.as_ref().err().map(Error::kind), start.elapsed());
        if let Err(error) = &result {
            let level = if matches!(error, Error::OutcomeUnknown { .. }) { Level::Warn } else { Level::Debug };
            // Neither the parameters nor the error's outside text, which may quote them.
            log::log!(
                level,
                "cluster `{}`: {method} {path}: {}{}{} after {} ms",
                self.settings.name,
                error.kind(),
                error.status().map(|status| format!(" {status}")).unwrap_or_default(),
                error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default(),
                start.elapsed().as_millis()
            );
        }
        result
    }

    /// Each node (`host:port`), and why it is passed over where it is: as far as known, for nobody is asked here. Those of
    /// clusters.json in its order, then those learnt.
    pub fn node_states(&self) -> Vec<(String, Option<String>)> {
        let states = self.nodes.states().into_iter().enumerate();
        states
            .filter_map(|(node, state)| {
                let why = state?;
                Some((self.wire.node(node).to_owned(), Some(why).filter(|why| !why.is_empty())))
            })
            .collect()
    }

    /// The cluster's API as it describes it, or the embedded facts where it can't be had. Never fails; the one call that
    /// fetches it takes its time (at most [`Times::whole`]), the others get at once what there is.
    pub fn schema(&self, cancel: &Cancel) -> Arc<Schema> {
        self.source.schema(self, cancel)
    }

    /// Whether a schema says our secret, which a node knows from our calls and no description holds.
    pub(super) fn is_betrayed_by(&self, schema: &Schema) -> bool {
        self.wire.is_in(schema.all_texts())
    }

    /// [`Cluster::call`] with a deadline and without a line in the log.
    pub(super) fn attempt(
        &self,
        method: Method,
        path: &ApiPath,
        params: &Params,
        deadline: Instant,
        cancel: &Cancel,
    ) -> Result<Answer, Error> {
        self.made(method, path, params, deadline, cancel, &Answer::parse)
    }

    /// Makes a call whose answer is read as `parse` does.
    fn made(
        &self,
        method: Method,
        path: &ApiPath,
        params: &Params,
        deadline: Instant,
        cancel: &Cancel,
        parse: &Parse<'_>,
    ) -> Result<Answer, Error> {
        let encoded = params.encode();
        let target = path.target(method, &encoded)?;
        let in_body = method.has_form();
        let out = Outgoing { method, target, form: in_body.then_some(encoded.as_str()), public: false };
        let _permit = self.enter(deadline, cancel)?;
        let (node, reply) =
            self.ask(method, path, deadline, true, &mut |node, left| self.wire.exchange(node, &out, left, cancel))?;
        let answer = self.read(node, reply, method, path, parse)?;
        if method == Method::Get {
            self.discover(deadline, cancel);
        }
        Ok(answer)
    }

    /// Learns the cluster's nodes where that is wanted and due. The answer in hand waits for it, within its deadline and
    /// a bound of its own; whoever comes meanwhile does not.
    fn discover(&self, deadline: Instant, cancel: &Cancel) {
        if !self.discovery.is_due(&|| self.nodes.now()) {
            return;
        }
        let target = PathAndQuery::from_static("/api2/json/cluster/status");
        let out = Outgoing { method: Method::Get, target, form: None, public: false };
        let path = "/cluster/status";
        let deadline = deadline.min(Instant::now() + Discovery::TIME);
        let learnt = self
            .ask(Method::Get, &path, deadline, true, &mut |node, left| {
                self.wire.exchange(node, &out, left.or(TimeLeft::until(deadline)), cancel)
            })
            .and_then(|(node, reply)| self.read(node, reply, Method::Get, &path, &Answer::parse))
            .map_err(|error| error.to_string())
            .and_then(|answer| self.discovery.learn(answer.data(), &self.wire, &self.nodes));
        match learnt {
            Ok(new) if new.is_empty() => {}
            Ok(new) => log::info!("cluster `{}`: learnt of {}", self.settings.name, new.join(", ")),
            Err(why) => log::warn!("cluster `{}`: its nodes can't be learnt: {why}", self.settings.name),
        }
    }

    /// Fetches what a node serves to anybody outside the API, without the token. The body of a 200 goes to `take` as it
    /// comes in. Says which node it was.
    pub(super) fn stream(
        &self,
        path: &'static str,
        deadline: Instant,
        cancel: &Cancel,
        take: &mut Take,
    ) -> Result<&str, Error> {
        let out = Outgoing { method: Method::Get, target: PathAndQuery::from_static(path), form: None, public: true };
        let _permit = self.enter(deadline, cancel)?;
        let (node, reply) = self.ask(Method::Get, &path, deadline, false, &mut |node, left| {
            self.wire.stream(node, &out, left, cancel, take)
        })?;
        match (reply.status, reply.broken) {
            (200, None) => Ok(self.wire.node(node)),
            (200, Some(fault)) => Err(self.error(node, fault, Method::Get, &path)),
            // Its words are left out: they are not Proxmox's on this path.
            (status, _) => Err(Error::Failed { status, said: String::new(), call: shown(Method::Get, &path) }),
        }
    }

    fn enter(&self, deadline: Instant, cancel: &Cancel) -> Result<Permit<'_>, Error> {
        self.gate.enter(deadline, cancel).map_err(|refusal| match refusal {
            Refusal::Busy => Error::Busy { limit: self.gate.limit() },
            Refusal::Cancelled => Error::Cancelled,
        })
    }

    /// Makes the exchange with one node after the other, as far as that is allowed. `brief`: it can be cut short and be
    /// made once more, where it is a GET.
    fn ask(
        &self,
        method: Method,
        path: &dyn fmt::Display,
        deadline: Instant,
        brief: bool,
        exchange: &mut dyn FnMut(usize, Option<TimeLeft>) -> Result<Reply, Fault>,
    ) -> Result<(usize, Reply), Error> {
        let mut again = method == Method::Get;
        let mut tried: Vec<usize> = Vec::new();
        let mut failures: Vec<(String, NoConnection)> = Vec::new();
        // Who took a GET and gave nothing is asked again where nobody else can be.
        let mut last: Option<Choice> = None;
        let mut next = self.nodes.choose(&tried, again && brief);
        while let Some(choice) = next {
            let start = Instant::now();
            let left = deadline.saturating_duration_since(start);
            // The first request has the cluster's time limit, which the agent knows, unless it had to wait before.
            let waited = !tried.is_empty() || left + Duration::from_millis(50) < self.settings.timeout;
            let limit = match choice.trial {
                true => {
                    let whole = if again && brief { (left / 2).min(TRIAL) } else { left };
                    Some(TimeLeft { whole, connect: Some(TRIAL_CONNECT) })
                }
                false => waited.then_some(TimeLeft { whole: left, connect: None }),
            };
            tried.push(choice.node);
            let result = exchange(choice.node, limit);
            if !matches!(result, Err(Fault::Cancelled { .. })) {
                self.counts.contact(choice.node, matches!(result, Ok(_) | Err(Fault::Unreadable(..))));
            }
            let hung = start.elapsed() >= (self.settings.timeout / 2).min(TRIAL);
            let fault = match result {
                Ok(mut reply) => {
                    let once_more = again
                        && brief
                        && match &reply.broken {
                            Some(Fault::TimedOut) => choice.trial,
                            // What an error's body has to say is no reason to ask for another one.
                            Some(Fault::Cut(_)) => reply.status < 300 && self.nodes.choose(&tried, false).is_some(),
                            _ => false,
                        };
                    match reply.broken.take_if(|_| once_more) {
                        Some(fault) => fault,
                        None => {
                            self.judge(choice, reply.broken.as_ref().filter(|_| reply.status < 300), hung);
                            return Ok((choice.node, reply));
                        }
                    }
                }
                Err(fault) => fault,
            };
            let time_is_over = deadline <= Instant::now();
            next = match fault {
                Fault::Connect(why) => {
                    let node = self.wire.node(choice.node);
                    self.failed(choice, false, &NotAsked(node, &why));
                    failures.push((node.to_owned(), why));
                    if time_is_over { None } else { self.nodes.choose(&tried, false).or_else(|| last.take()) }
                }
                Fault::Lost(_) | Fault::Cut(_) | Fault::TimedOut
                    if again && !time_is_over && (choice.trial && brief || !matches!(fault, Fault::TimedOut)) =>
                {
                    again = false;
                    // Without the library's words: a caller reads this.
                    let why = match fault {
                        Fault::Lost(_) => "the connection was lost",
                        Fault::Cut(_) => "the connection was lost in the middle of an answer",
                        _ => "it does not answer",
                    };
                    let why = NoConnection::Net(why.to_owned());
                    let other = self.nodes.choose(&tried, false);
                    let same = Choice { trial: false, ..choice };
                    if other.is_some() {
                        let node = self.wire.node(choice.node);
                        self.failed(choice, true, &NotAsked(node, &why));
                        failures.push((node.to_owned(), why));
                        last = Some(same);
                    }
                    other.or(Some(same))
                }
                fault => {
                    self.judge(choice, Some(&fault), hung);
                    return Err(self.error(choice.node, fault, method, path));
                }
            };
        }
        Err(Error::no_node(failures))
    }

    /// What an exchange that is not made once more says of its node. `hung`: it had time enough.
    fn judge(&self, choice: Choice, fault: Option<&Fault>, hung: bool) {
        match fault {
            Some(Fault::Lost(_)) => self.failed(choice, true, &"the connection was lost"),
            Some(Fault::Cut(_)) => self.failed(choice, true, &"the connection was lost in the middle of an answer"),
            Some(Fault::TimedOut) if hung => self.failed(choice, true, &"it did not answer in time"),
            Some(Fault::TimedOut | Fault::Cancelled { .. } | Fault::Connect(_)) => self.nodes.left(choice),
            Some(Fault::Unreadable(..)) | None => self.answered(choice.node),
        }
    }

    /// Lets other calls pass a node over, and says so once. `why` names the node, or is a clause about it.
    fn failed(&self, choice: Choice, took: bool, why: &dyn fmt::Display) {
        let node = self.wire.node(choice.node);
        let mut why = why.to_string();
        if !why.contains(node) {
            why.insert_str(0, ": ");
            why.insert_str(0, node);
        }
        if self.nodes.failed(choice, took, &why) {
            log::warn!("cluster `{}`: {why}; this node is asked last until it answers again", self.settings.name);
        }
    }

    fn answered(&self, node: usize) {
        if let Some(ill) = self.nodes.answered(node) {
            let (name, node) = (&self.settings.name, self.wire.node(node));
            log::info!("cluster `{name}`: {node} answers again, after {} s", ill.as_secs());
        }
    }

    fn read(
        &self,
        node: usize,
        reply: Reply,
        method: Method,
        path: &dyn fmt::Display,
        parse: &Parse<'_>,
    ) -> Result<Answer, Error> {
        if !(200..300).contains(&reply.status) {
            // The status tells enough, whatever became of the body.
            let token = (self.settings.user.as_str(), self.settings.token_id.as_str());
            let call = shown(method, path);
            let error = answer::refusal(reply.status, &reply.reason, &reply.body, call, token, &|t| self.wire.scrub(t));
            return Err(if method == Method::Get { error } else { error.of_a_write() });
        }
        let result = match reply.broken {
            Some(fault) => Err(fault),
            // What is not UTF-8 is no answer: of its error only the start is shown, which is scrubbed there.
            None => String::from_utf8(reply.body)
                .map_err(|error| Answer::not_utf8(error.as_bytes(), &|t| self.wire.scrub(t)))
                .and_then(|body| parse(self.wire.scrub_answer(body), &|t| self.wire.scrub(t)))
                .map_err(|(why, inside)| Fault::Unreadable(why, inside)),
        };
        result.map_err(|fault| self.error(node, fault, method, path))
    }

    fn error(&self, node: usize, fault: Fault, method: Method, path: &dyn fmt::Display) -> Error {
        let node = self.wire.node(node).to_owned();
        let after = self.settings.timeout;
        if method != Method::Get {
            let why = match &fault {
                Fault::Lost(_) => Some("the connection was lost before an answer came".to_owned()),
                Fault::Cut(_) => Some("the connection was lost in the middle of the answer".to_owned()),
                Fault::TimedOut => Some(format!("no answer came within {} s", after.as_secs_f32())),
                Fault::Unreadable(why, _) => Some(format!("the answer can't be read: {why}")),
                Fault::Cancelled { sent: true } => Some("the call was cancelled before its answer came".to_owned()),
                Fault::Connect(_) | Fault::Cancelled { sent: false } => None,
            };
            if let Some(why) = why {
                let inside = match fault {
                    Fault::Lost(inside) | Fault::Cut(inside) | Fault::Unreadable(_, inside) => inside,
                    Fault::Cancelled { .. } => "cancelled".to_owned(),
                    Fault::TimedOut | Fault::Connect(_) => "timed out".to_owned(),
                };
                return Error::OutcomeUnknown { call: shown(method, path), why, inside };
            }
        }
        match fault {
            Fault::Connect(why) => Error::no_node(vec![(node, why)]),
            Fault::Lost(inside) => Error::Lost { node, inside },
            Fault::Cut(inside) => {
                let why = "the connection was lost in the middle of it. Try again".to_owned();
                Error::Unreadable { node, why, inside }
            }
            Fault::TimedOut => Error::TimedOut { node, after },
            Fault::Unreadable(why, inside) => Error::Unreadable { node, why, inside },
            Fault::Cancelled { .. } => Error::Cancelled,
        }
    }
}

fn shown(method: Method, path: &dyn fmt::Display) -> String {
    format!("{method} {path}")
}
