//! Where a cluster's schema comes from: its own description, fetched at the first use and again when the cluster's version
//! changes, else the embedded facts.
//!
//! One caller at a time fetches, and nobody waits for it: the others get what there is. Nothing here is an error to a
//! caller; what went wrong is in the log, once until it goes well again.

use super::error::SchemaError;
use super::load::{embedded_schema, read_description};
use super::searchable::Schema;
use crate::base::cancel::CancelToken;
use crate::pve::Method;
use crate::pve::client::cluster::Cluster;
use crate::pve::error::PveError;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use ring::digest::{Context, SHA256};
use serde_json::Value;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Where every node serves its description to anybody. (PVE: the API viewer's data.)
const DESCRIPTION_PATH: &str = "/pve-docs/api-viewer/apidoc.js";

/// A version's answer is some 100 bytes.
const MAX_VERSION_BYTES: usize = 4 << 10;

/// How long things take and keep.
#[derive(Clone, Copy, Debug)]
pub struct SchemaTimings {
    /// For one look at the cluster, description and version together; the cluster's own `timeout` holds for each of the
    /// two beside it. Default 10 s.
    pub fetch_timeout: Duration,
    /// From one look at the version to the next. Default 10 min.
    pub version_interval: Duration,
    /// From a description that could not be had to the next try. Default 5 min.
    pub retry_interval: Duration,
}

impl Default for SchemaTimings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { fetch_timeout: seconds(10), version_interval: seconds(600), retry_interval: seconds(300) }
    }
}

/// What one cluster has of its schema.
#[derive(Default)]
pub(in crate::pve) struct SchemaCache {
    timings: SchemaTimings,
    entry: Mutex<CacheEntry>,
}

#[derive(Default)]
struct CacheEntry {
    state: FetchState,
    live: Option<LiveSchema>,
    /// The log says that there is no description to be had, or no new one.
    failure_logged: bool,
}

enum FetchState {
    /// Nobody asks the cluster; the first who comes after this moment does.
    Idle(Option<Instant>),
    /// Somebody asks the cluster.
    Fetching,
}

impl Default for FetchState {
    fn default() -> Self {
        Self::Idle(None)
    }
}

#[derive(Clone)]
struct LiveSchema {
    schema: Arc<Schema>,
    /// `None` where the cluster did not say.
    version: Option<String>,
}

/// What a look at the cluster found.
enum FetchResult {
    Unchanged,
    Updated(LiveSchema),
}

impl SchemaCache {
    pub(in crate::pve) fn new(times: SchemaTimings) -> Self {
        Self { timings: times, ..Self::default() }
    }

    pub(in crate::pve) fn get_or_fetch(&self, cluster: &Cluster, cancel: &CancelToken) -> Arc<Schema> {
        if !cancel.is_cancelled()
            && let Some(turn) = self.try_start_fetch()
        {
            let seen = self.fetch_if_changed(cluster, cancel);
            turn.finish(cluster, seen);
        }
        self.lock().live.as_ref().map_or_else(|| embedded_schema().clone(), |live| live.schema.clone())
    }

    fn lock(&self) -> MutexGuard<'_, CacheEntry> {
        // Changed in single steps: what a thread leaves that died with it in its hand is whole.
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn to ask the cluster, if it is time and nobody has it.
    fn try_start_fetch(&self) -> Option<FetchGuard<'_>> {
        let mut known = self.lock();
        let FetchState::Idle(at) = known.state else { return None };
        if at.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        known.state = FetchState::Fetching;
        Some(FetchGuard { cache: self, next_fetch: Some(Instant::now() + self.timings.retry_interval) })
    }

    fn fetch_if_changed(&self, cluster: &Cluster, cancel: &CancelToken) -> Result<FetchResult, PveError> {
        let deadline = Instant::now() + self.timings.fetch_timeout;
        let before = self.lock().live.clone();
        let Some(before) = before else {
            // First, for where it fails there is no use in a version.
            let schema = fetch_schema(cluster, deadline, cancel)?;
            return Ok(FetchResult::Updated(LiveSchema { schema, version: fetch_version(cluster, deadline, cancel) }));
        };
        match fetch_version(cluster, deadline, cancel) {
            version @ Some(_) if version != before.version => {
                Ok(FetchResult::Updated(LiveSchema { schema: fetch_schema(cluster, deadline, cancel)?, version }))
            }
            // The same, or a cluster that does not say: what there is holds good.
            _ if cancel.is_cancelled() => Err(PveError::Cancelled),
            _ => Ok(FetchResult::Unchanged),
        }
    }
}

/// The turn of the one who asks the cluster. Dropped by a panic it is over like a failure.
struct FetchGuard<'a> {
    cache: &'a SchemaCache,
    next_fetch: Option<Instant>,
}

impl FetchGuard<'_> {
    fn finish(mut self, cluster: &Cluster, seen: Result<FetchResult, PveError>) {
        let times = self.cache.timings;
        let mut known = self.cache.lock();
        let mut warn = None;
        self.next_fetch = match seen {
            // It says nothing about the cluster: whoever comes next tries.
            Err(PveError::Cancelled) => None,
            Err(why) => {
                let first = !std::mem::replace(&mut known.failure_logged, true);
                warn = Some((first, known.live.is_some(), why));
                Some(Instant::now() + times.retry_interval)
            }
            Ok(seen) => {
                if let FetchResult::Updated(live) = seen {
                    known.failure_logged = false;
                    known.live = Some(live);
                }
                Some(Instant::now() + times.version_interval)
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

impl Drop for FetchGuard<'_> {
    fn drop(&mut self) {
        self.cache.lock().state = FetchState::Idle(self.next_fetch);
    }
}

/// What the cluster says its version is. A failure is no matter: a token may be wrong, the description needs none.
fn fetch_version(cluster: &Cluster, deadline: Instant, cancel: &CancelToken) -> Option<String> {
    let (path, _) = ApiPath::parse("/version").ok()?;
    match cluster.send(Method::Get, &path, &ApiParams::new(), deadline, cancel) {
        Ok(answer) => parse_version(answer.data()),
        Err(why) => {
            log::debug!("cluster `{}`: GET /version for its schema: {}", cluster.settings().name, why.kind());
            None
        }
    }
}

/// The parts of it that change with the software. Their order in an answer is random, and what else is in it is not of
/// the version (PVE: `console`).
fn parse_version(data: &str) -> Option<String> {
    let data: Value = if data.len() > MAX_VERSION_BYTES { None } else { serde_json::from_str(data).ok() }?;
    let parts: Vec<&str> =
        ["version", "release", "repoid"].into_iter().filter_map(|key| data.get(key)?.as_str()).collect();
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Fetches the description, reads it as it comes in, and finds the schema that is already there for the same bytes.
fn fetch_schema(cluster: &Cluster, deadline: Instant, cancel: &CancelToken) -> Result<Arc<Schema>, PveError> {
    let mut read = Err(SchemaError::Incomplete);
    let node = cluster.stream_public(DESCRIPTION_PATH, deadline, cancel, &mut |body| {
        let mut script = DigestingReader { body, digest: Context::new(&SHA256), error: None };
        let result = read_description(&mut script).and_then(|schema| {
            // What follows the list counts too: a digest of all of it is the same however it came in.
            io::copy(&mut script, &mut io::sink()).map_err(SchemaError::Io)?;
            check_plausible(&schema, cluster)?;
            Ok(schema)
        });
        match script.error {
            Some(error) => Err(error),
            None => {
                read = result.map(|schema| share_schema(script.digest.finish().as_ref(), schema));
                Ok(())
            }
        }
    });
    let malformed = |node, error: SchemaError| PveError::MalformedResponse {
        node,
        reason: error.to_string(),
        detail: String::new(),
    };
    match node {
        Ok(node) => read.map_err(|error| malformed(node.to_owned(), error)),
        // The text of this error names the time limit of a call.
        Err(PveError::TimedOut { node, .. }) => Err(malformed(node, SchemaError::TimedOut)),
        Err(why) => Err(why),
    }
}

/// Refuses what is not Proxmox's description, whatever it is.
fn check_plausible(schema: &Schema, cluster: &Cluster) -> Result<(), SchemaError> {
    let has = |path| schema.find_by_template(Method::Get, path).is_some();
    let known =
        embedded_schema().operations().filter(|o| schema.find_by_template(o.method(), o.template()).is_some()).count();
    if !has("/nodes") || !has("/version") || known * 2 < embedded_schema().len() {
        return Err(SchemaError::NotProxmox { known, expected: embedded_schema().len() });
    }
    if cluster.leaks_secret(schema) {
        return Err(SchemaError::ContainsSecret);
    }
    Ok(())
}

/// The schema of each description in use, by the SHA-256 of all its bytes. Nothing else decides who shares one: what a
/// cluster says of its version can be a lie to make another use its schema.
static SHARED_SCHEMAS: Mutex<Vec<([u8; 32], Weak<Schema>)>> = Mutex::new(Vec::new());

fn share_schema(digest: &[u8], schema: Schema) -> Arc<Schema> {
    let Ok(digest) = <[u8; 32]>::try_from(digest) else { return Arc::new(schema) };
    let mut shared = SHARED_SCHEMAS.lock().unwrap_or_else(PoisonError::into_inner);
    shared.retain(|(_, schema)| schema.strong_count() > 0);
    if let Some(same) = shared.iter().find(|(other, _)| *other == digest).and_then(|(_, schema)| schema.upgrade()) {
        return same;
    }
    let schema = Arc::new(schema);
    shared.push((digest, Arc::downgrade(&schema)));
    schema
}

/// A body whose digest is taken as it passes. Its first error is kept, and is all that comes after.
struct DigestingReader<'a> {
    body: &'a mut dyn Read,
    digest: Context,
    error: Option<io::Error>,
}

impl Read for DigestingReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.error.is_none() {
            match self.body.read(into) {
                Ok(n) => {
                    self.digest.update(into.get(..n).unwrap_or_default());
                    return Ok(n);
                }
                Err(error) => self.error = Some(error),
            }
        }
        // Never `Interrupted`, on which readers try again.
        Err(io::Error::other("it broke off"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_same_whatever_the_order_of_its_parts() {
        let one = parse_version(r#"{"version":"9.2.11","release":"9.2","repoid":"ab","console":"vv"}"#);
        assert_eq!(one, parse_version(r#"{"repoid":"ab","console":"html5","release":"9.2","version":"9.2.11"}"#));
        assert_ne!(one, parse_version(r#"{"version":"9.2.12","release":"9.2","repoid":"ab"}"#));
        for no_version in ["{}", "[]", "1", r#"{"version":9}"#, &format!(r#"{{"version":"{}"}}"#, "9".repeat(5_000))] {
            assert_eq!(parse_version(no_version), None);
        }
    }

    #[test]
    fn one_has_the_turn_and_a_panic_gives_it_back() {
        let source = SchemaCache::new(SchemaTimings { retry_interval: Duration::ZERO, ..SchemaTimings::default() });
        let turn = source.try_start_fetch();
        assert!(turn.is_some() && source.try_start_fetch().is_none());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _turn = turn;
            panic!("a reader's bug");
        }));
        assert!(panicked.is_err() && source.try_start_fetch().is_some());
    }

    #[test]
    fn after_a_panic_the_next_try_waits() {
        let source = SchemaCache::new(SchemaTimings::default());
        drop(source.try_start_fetch());
        assert!(source.try_start_fetch().is_none());
    }

    #[test]
    fn the_same_bytes_are_one_schema_for_as_long_as_it_is_in_use() {
        let schema = || read_description(flate2::read::GzDecoder::new(crate::pve::schema::facts::APIDOC)).unwrap();
        let first = share_schema(&[1; 32], schema());
        assert!(Arc::ptr_eq(&first, &share_schema(&[1; 32], schema())));
        assert!(!Arc::ptr_eq(&first, &share_schema(&[2; 32], schema())));
        let weak = Arc::downgrade(&first);
        drop(first);
        assert!(weak.upgrade().is_none());
    }
}
