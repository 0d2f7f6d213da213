//! Where a cluster's schema comes from: its own description, fetched at the first use and again when the cluster's version
//! changes, else the embedded facts.
//!
//! One caller at a time fetches, and nobody waits for it: the others get what there is. Nothing here is an error to a
//! caller; what went wrong is in the log, once until it goes well again.

use super::{Schema, embedded};
use crate::cancel::Cancel;
use crate::pve::cluster::Cluster;
use crate::pve::error::Error;
use crate::pve::{Method, params::Params, path::ApiPath};
use ring::digest::{Context, SHA256};
use serde_json::Value;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Where every node serves its description to anybody. (PVE: the API viewer's data.)
const SCRIPT: &str = "/pve-docs/api-viewer/apidoc.js";

/// A version's answer is some 100 bytes.
const MAX_VERSION: usize = 4 << 10;

/// How long things take and keep.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For one look at the cluster, description and version together; the cluster's own `timeout` holds for each of the
    /// two beside it. Default 10 s.
    pub whole: Duration,
    /// From one look at the version to the next. Default 10 min.
    pub version: Duration,
    /// From a description that could not be had to the next try. Default 5 min.
    pub retry: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { whole: seconds(10), version: seconds(600), retry: seconds(300) }
    }
}

/// What one cluster has of its schema.
#[derive(Default)]
pub(in crate::pve) struct Source {
    times: Times,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    state: State,
    live: Option<Live>,
    /// The log says that there is no description to be had, or no new one.
    warned: bool,
}

enum State {
    /// Nobody asks the cluster; the first who comes after this moment does.
    Idle(Option<Instant>),
    /// Somebody asks the cluster.
    Asking,
}

impl Default for State {
    fn default() -> Self {
        Self::Idle(None)
    }
}

#[derive(Clone)]
struct Live {
    schema: Arc<Schema>,
    /// `None` where the cluster did not say.
    version: Option<String>,
}

/// What a look at the cluster found.
enum Seen {
    Nothing,
    New(Live),
}

impl Source {
    pub(in crate::pve) fn new(times: Times) -> Self {
        Self { times, ..Self::default() }
    }

    pub(in crate::pve) fn schema(&self, cluster: &Cluster, cancel: &Cancel) -> Arc<Schema> {
        if !cancel.is_cancelled()
            && let Some(turn) = self.begin()
        {
            let seen = self.look(cluster, cancel);
            turn.end(cluster, seen);
        }
        self.lock().live.as_ref().map_or_else(|| embedded().clone(), |live| live.schema.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Changed in single steps: what a thread leaves that died with it in its hand is whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn to ask the cluster, if it is time and nobody has it.
    fn begin(&self) -> Option<Turn<'_>> {
        let mut known = self.lock();
        let State::Idle(at) = known.state else { return None };
        if at.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        known.state = State::Asking;
        Some(Turn { source: self, again: Some(Instant::now() + self.times.retry) })
    }

    fn look(&self, cluster: &Cluster, cancel: &Cancel) -> Result<Seen, Error> {
        let deadline = Instant::now() + self.times.whole;
        let before = self.lock().live.clone();
        let Some(before) = before else {
            // First, for where it fails there is no use in a version.
            let schema = fetch(cluster, deadline, cancel)?;
            return Ok(Seen::New(Live { schema, version: version(cluster, deadline, cancel) }));
        };
        match version(cluster, deadline, cancel) {
            version @ Some(_) if version != before.version => {
                Ok(Seen::New(Live { schema: fetch(cluster, deadline, cancel)?, version }))
            }
            // The same, or a cluster that does not say: what there is holds good.
            _ if cancel.is_cancelled() => Err(Error::Cancelled),
            _ => Ok(Seen::Nothing),
        }
    }
}

/// The turn of the one who asks the cluster. Dropped by a panic it is over like a failure.
struct Turn<'a> {
    source: &'a Source,
    again: Option<Instant>,
}

impl Turn<'_> {
    fn end(mut self, cluster: &Cluster, seen: Result<Seen, Error>) {
        let times = self.source.times;
        let mut known = self.source.lock();
        let mut warn = None;
        self.again = match seen {
            // It says nothing about the cluster: whoever comes next tries.
            Err(Error::Cancelled) => None,
            Err(why) => {
                let first = !std::mem::replace(&mut known.warned, true);
                warn = Some((first, known.live.is_some(), why));
                Some(Instant::now() + times.retry)
            }
            Ok(seen) => {
                if let Seen::New(live) = seen {
                    known.warned = false;
                    known.live = Some(live);
                }
                Some(Instant::now() + times.version)
            }
        };
        drop(known);
        let Some((first, has_live, why)) = warn else { return };
        let level = if first { log::Level::Warn } else { log::Level::Debug };
        let instead = if has_live { "the one read before" } else { "what is built in about Proxmox VE 9" };
        let name = &cluster.settings().name;
        log::log!(level, "cluster `{name}`: its description of the API can't be had, {instead} serves instead: {why}");
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.source.lock().state = State::Idle(self.again);
    }
}

/// What the cluster says its version is. A failure is no matter: a token may be wrong, the description needs none.
fn version(cluster: &Cluster, deadline: Instant, cancel: &Cancel) -> Option<String> {
    let (path, _) = ApiPath::parse("/version").ok()?;
    match cluster.attempt(Method::Get, &path, &Params::new(), deadline, cancel) {
        Ok(answer) => version_of(answer.data()),
        Err(why) => {
            log::debug!("cluster `{}`: GET /version for its schema: {}", cluster.settings().name, why.kind());
            None
        }
    }
}

/// The parts of it that change with the software. Their order in an answer is random, and what else is in it is not of
/// the version (PVE: `console`).
fn version_of(data: &str) -> Option<String> {
    let data: Value = if data.len() > MAX_VERSION { None } else { serde_json::from_str(data).ok() }?;
    let parts: Vec<&str> =
        ["version", "release", "repoid"].into_iter().filter_map(|key| data.get(key)?.as_str()).collect();
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Fetches the description, reads it as it comes in, and finds the schema that is already there for the same bytes.
fn fetch(cluster: &Cluster, deadline: Instant, cancel: &Cancel) -> Result<Arc<Schema>, Error> {
    let mut read = Err("nothing came".to_owned());
    let node = cluster.stream(SCRIPT, deadline, cancel, &mut |body| {
        let mut script = Digesting { body, digest: Context::new(&SHA256), broken: None };
        let result = super::read(&mut script).and_then(|schema| {
            // What follows the list counts too: a digest of all of it is the same however it came in.
            io::copy(&mut script, &mut io::sink()).map_err(|e| e.to_string())?;
            sound(&schema, cluster)?;
            Ok(schema)
        });
        match script.broken {
            Some(error) => Err(error),
            None => {
                read = result.map(|schema| share(script.digest.finish().as_ref(), schema));
                Ok(())
            }
        }
    });
    let unreadable = |node, why| Error::Unreadable { node, why, inside: String::new() };
    match node {
        Ok(node) => read.map_err(|why| unreadable(node.to_owned(), why)),
        // Its words are of a call's own time limit.
        Err(Error::TimedOut { node, .. }) => Err(unreadable(node, "it did not come whole in time".into())),
        Err(why) => Err(why),
    }
}

/// Refuses what is not Proxmox's description, whatever it is.
fn sound(schema: &Schema, cluster: &Cluster) -> Result<(), String> {
    let has = |path| schema.named(Method::Get, path).is_some();
    let known = embedded().operations().filter(|o| schema.named(o.method(), o.template()).is_some()).count();
    if !has("/nodes") || !has("/version") || known * 2 < embedded().len() {
        return Err(format!(
            "it is not that of Proxmox VE: of the {} operations known it has {known}",
            embedded().len()
        ));
    }
    if cluster.is_betrayed_by(schema) {
        return Err("it has the API token's secret in it: whoever answers there heard it and means no good".into());
    }
    Ok(())
}

/// The schema of each description in use, by the SHA-256 of all its bytes. Nothing else decides who shares one: what a
/// cluster says of its version can be a lie to make another use its schema.
static SHARED: Mutex<Vec<([u8; 32], Weak<Schema>)>> = Mutex::new(Vec::new());

fn share(digest: &[u8], schema: Schema) -> Arc<Schema> {
    let Ok(digest) = <[u8; 32]>::try_from(digest) else { return Arc::new(schema) };
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.retain(|(_, schema)| schema.strong_count() > 0);
    if let Some(same) = shared.iter().find(|(other, _)| *other == digest).and_then(|(_, schema)| schema.upgrade()) {
        return same;
    }
    let schema = Arc::new(schema);
    shared.push((digest, Arc::downgrade(&schema)));
    schema
}

/// A body whose digest is taken as it passes. Its first error is kept, and is all that comes after.
struct Digesting<'a> {
    body: &'a mut dyn Read,
    digest: Context,
    broken: Option<io::Error>,
}

impl Read for Digesting<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.broken.is_none() {
            match self.body.read(into) {
                Ok(n) => {
                    self.digest.update(into.get(..n).unwrap_or_default());
                    return Ok(n);
                }
                Err(error) => self.broken = Some(error),
            }
        }
        // Never `Interrupted`, on which readers try again.
        Err(io::Error::other("it broke off"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::schema::read;

    #[test]
    fn a_version_is_the_same_whatever_the_order_of_its_parts() {
        let one = version_of(r#"{"version":"9.2.11","release":"9.2","repoid":"ab","console":"vv"}"#);
        assert_eq!(one, version_of(r#"{"repoid":"ab","console":"html5","release":"9.2","version":"9.2.11"}"#));
        assert_ne!(one, version_of(r#"{"version":"9.2.12","release":"9.2","repoid":"ab"}"#));
        for no_version in ["{}", "[]", "1", r#"{"version":9}"#, &format!(r#"{{"version":"{}"}}"#, "9".repeat(5_000))] {
            assert_eq!(version_of(no_version), None);
        }
    }

    #[test]
    fn one_has_the_turn_and_a_panic_gives_it_back() {
        let source = Source::new(Times { retry: Duration::ZERO, ..Times::default() });
        let turn = source.begin();
        assert!(turn.is_some() && source.begin().is_none());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _turn = turn;
            panic!("a reader's bug");
        }));
        assert!(panicked.is_err() && source.begin().is_some());
    }

    #[test]
    fn after_a_panic_the_next_try_waits() {
        let source = Source::new(Times::default());
        drop(source.begin());
        assert!(source.begin().is_none());
    }

    #[test]
    fn the_same_bytes_are_one_schema_for_as_long_as_it_is_in_use() {
        let schema = || read(flate2::read::GzDecoder::new(crate::facts::APIDOC)).unwrap();
        let first = share(&[1; 32], schema());
        assert!(Arc::ptr_eq(&first, &share(&[1; 32], schema())));
        assert!(!Arc::ptr_eq(&first, &share(&[2; 32], schema())));
        let weak = Arc::downgrade(&first);
        drop(first);
        assert!(weak.upgrade().is_none());
    }
}
