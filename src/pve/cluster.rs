//! One cluster: which of its nodes is asked, what may be asked again, and how many calls it may hold.

use super::error::{Error, NoConnection, NotAsked};
use super::gate::{Gate, Permit, Refusal};
use super::schema::{Schema, Source, Times};
use super::wire::{Fault, Outgoing, Reply, Take, Wire};
use super::{Method, answer, params::Params, path::ApiPath};
use crate::cancel::Cancel;
use crate::metrics::Api;
use crate::settings::{self, Limits};
use log::Level;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use ureq::http::uri::PathAndQuery;

pub use super::answer::Answer;

/// Proxmox's own limit on a body.
const MAX_FORM_BYTES: usize = 512 << 10;

/// A query is part of a head, which must fit into one of our buffers; a node accepts more than 9 KB.
const MAX_QUERY_BYTES: usize = 10 << 10;

/// The client of one cluster. Calls may be made from any number of threads.
pub struct Cluster {
    settings: settings::Cluster,
    wire: Wire,
    gate: Gate,
    /// The node that answered last, where the next call starts.
    preferred: AtomicUsize,
    source: Source,
    counts: Api,
}

impl Cluster {
    /// Makes the client; opens no connection. The error is a sentence about what is wrong in `settings`.
    pub fn new(settings: settings::Cluster, limits: &Limits) -> Result<Self, String> {
        let wire = Wire::new(&settings, limits).map_err(|why| format!("cluster `{}`: {why}", settings.name))?;
        let gate = Gate::new(limits.max_calls_per_cluster);
        let counts = Api::new(wire.nodes());
        Ok(Self { settings, wire, gate, preferred: AtomicUsize::new(0), source: Source::default(), counts })
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
    /// lost before an answer is asked once more, of another node where there is one. Nothing else is ever sent twice.
    ///
    /// A failure leaves one line in the log: at `warn` where something may have changed and nobody knows, for a client
    /// that cancelled is told nothing; else at `debug`.
    pub fn call(&self, method: Method, path: &ApiPath, params: &Params, cancel: &Cancel) -> Result<Answer, Error> {
        let start = Instant::now();
        let result = self.attempt(method, path, params, start + self.settings.timeout, cancel);
        self.logged(start, method, path, result)
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
        let encoded = params.encode();
        let in_body = matches!(method, Method::Post | Method::Put);
        let limit = if in_body { MAX_FORM_BYTES } else { MAX_QUERY_BYTES };
        if encoded.len() > limit {
            return Err(Error::TooLarge { bytes: encoded.len(), limit });
        }

        let mut target = String::with_capacity(path.as_str().len() + 11 + if in_body { 0 } else { encoded.len() });
        target.push_str("/api2/json");
        target.push_str(path.as_str());
        if !in_body && !encoded.is_empty() {
            target.push('?');
            target.push_str(&encoded);
        }
        let Ok(target) = PathAndQuery::try_from(target) else {
            // Both parts are encoded down to characters that a URI may have; this is for the reader's peace of mind.
            return Err(Error::Failed {
                status: 400,
                said: "the path can't be sent".into(),
                call: shown(method, path),
            });
        };
        let out = Outgoing { method, target, form: in_body.then_some(encoded.as_str()), public: false };
        let _permit = self.enter(deadline, cancel)?;
        let (node, reply) =
            self.ask(method, path, deadline, &mut |node, left| self.wire.exchange(node, &out, left, cancel))?;
        self.read(node, reply, method, path)
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
        let (node, reply) =
            self.ask(Method::Get, &path, deadline, &mut |node, left| self.wire.stream(node, &out, left, cancel, take))?;
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

    /// Makes the exchange with one node after the other, as far as that is allowed.
    fn ask(
        &self,
        method: Method,
        path: &dyn fmt::Display,
        deadline: Instant,
        exchange: &mut dyn FnMut(usize, Option<Duration>) -> Result<Reply, Fault>,
    ) -> Result<(usize, Reply), Error> {
        let nodes = self.wire.nodes();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut tried: Vec<(String, NoConnection)> = Vec::new();
        let mut step = 0;
        let mut lost = false;
        loop {
            let node = (first + step) % nodes;
            let left = deadline.saturating_duration_since(Instant::now());
            // The first request has the cluster's time limit, which the agent knows, unless it had to wait before.
            let waited = step > 0 || lost || left + Duration::from_millis(50) < self.settings.timeout;
            let heard = exchange(node, waited.then_some(left));
            if !matches!(heard, Err(Fault::Cancelled { .. })) {
                self.counts.contact(node, matches!(heard, Ok(_) | Err(Fault::Unreadable(..))));
            }
            match heard {
                Ok(reply) => {
                    if let Some((failed, why)) = tried.last() {
                        self.prefer(first, node, &NotAsked(failed, why).to_string());
                    }
                    return Ok((node, reply));
                }
                Err(Fault::Connect(why)) => {
                    tried.push((self.wire.node(node).to_owned(), why));
                    if step + 1 == nodes || deadline <= Instant::now() {
                        return Err(Error::no_node(tried));
                    }
                    step += 1;
                }
                Err(Fault::Lost(why)) if method == Method::Get && !lost && deadline > Instant::now() => {
                    lost = true;
                    if step + 1 < nodes {
                        let why = NoConnection::Net(format!("the connection was lost ({why})"));
                        tried.push((self.wire.node(node).to_owned(), why));
                        step += 1;
                    }
                }
                Err(fault) => {
                    // It hangs or breaks: let the next call start elsewhere.
                    let why = match fault {
                        Fault::Lost(_) => Some("lost the connection"),
                        Fault::TimedOut => Some("did not answer in time"),
                        _ => None,
                    };
                    if let Some(why) = why {
                        self.prefer(first, (node + 1) % nodes, &format!("{} {why}", self.wire.node(node)));
                    }
                    return Err(self.error(node, fault, method, path));
                }
            }
        }
    }

    /// Lets calls start at `node` that used to start at `first`, and says so, once for however many calls notice.
    fn prefer(&self, first: usize, node: usize, why: &str) {
        let moved = self.preferred.compare_exchange(first, node, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if moved && first != node {
            log::warn!("cluster `{}`: {why}; from now on {} is asked first", self.settings.name, self.wire.node(node));
        }
    }

    fn read(&self, node: usize, reply: Reply, method: Method, path: &ApiPath) -> Result<Answer, Error> {
        if !(200..300).contains(&reply.status) {
            // The status tells enough, whatever became of the body.
            let token = (self.settings.user.as_str(), self.settings.token_id.as_str());
            let call = shown(method, path);
            let error = answer::refusal(reply.status, &reply.reason, &reply.body, call, token, |t| self.wire.scrub(t));
            return Err(if method == Method::Get { error } else { error.of_a_write() });
        }
        let result = match reply.broken {
            Some(fault) => Err(fault),
            None => Answer::parse(self.wire.scrub_answer(reply.body), |t| self.wire.scrub(t))
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
                Fault::TimedOut => Some(format!("no answer came within {} s", after.as_secs_f32())),
                Fault::Unreadable(why, _) => Some(format!("the answer can't be read: {why}")),
                Fault::Cancelled { sent: true } => Some("the call was cancelled before its answer came".to_owned()),
                Fault::Connect(_) | Fault::Cancelled { sent: false } => None,
            };
            if let Some(why) = why {
                let inside = match fault {
                    Fault::Lost(inside) | Fault::Unreadable(_, inside) => inside,
                    Fault::Cancelled { .. } => "cancelled".to_owned(),
                    Fault::TimedOut | Fault::Connect(_) => "timed out".to_owned(),
                };
                return Error::OutcomeUnknown { call: shown(method, path), why, inside };
            }
        }
        match fault {
            Fault::Connect(why) => Error::no_node(vec![(node, why)]),
            Fault::Lost(inside) => Error::Lost { node, inside },
            Fault::TimedOut => Error::TimedOut { node, after },
            Fault::Unreadable(why, inside) => Error::Unreadable { node, why, inside },
            Fault::Cancelled { .. } => Error::Cancelled,
        }
    }
}

fn shown(method: Method, path: &dyn fmt::Display) -> String {
    format!("{method} {path}")
}
