//! Chooses and keeps a cluster's schema: its own description, fetched at the first use and again when the cluster's
//! version changes, or the embedded facts.
//!
//! One caller at a time fetches. The others do not wait and get the current schema. A failed fetch is no error for the
//! caller. It is logged as a warning once, until a fetch succeeds.

use super::error::SchemaError;
use super::load::{embedded_schema, read_description};
use super::reader::MAX_DESCRIPTION_BYTES;
use super::searchable::Schema;
use crate::base::cancel::CancelToken;
use crate::pve::error::PveError;
use crate::pve::method::Method;
use ring::digest::{Context, SHA256};
use serde_json::Value;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Path of a node's description, which needs no token. (PVE: the API viewer's data.)
const DESCRIPTION_PATH: &str = "/pve-docs/api-viewer/apidoc.js";

/// Longest response to `GET /version` that is read. Real ones have some 100 bytes.
const MAX_VERSION_BYTES: usize = 4 << 10;

/// Cluster that a schema is fetched from.
pub(in crate::pve) trait SchemaSource {
    /// Returns the name of the cluster for the log.
    fn cluster_name(&self) -> &str;

    /// Returns the `data` of the cluster's version as JSON.
    fn get_version(&self, deadline: Instant, cancel: &CancelToken) -> Result<String, PveError>;

    /// Passes a public resource of at most `max_bytes` to `sink` as it arrives. Returns the `host:port` of the node.
    fn stream_description(
        &self,
        path: &'static str,
        max_bytes: u64,
        deadline: Instant,
        cancel: &CancelToken,
        sink: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
    ) -> Result<String, PveError>;

    /// Returns whether a text contains the secret of the API token.
    fn contains_secret(&self, text: &str) -> bool;
}

/// Timeout and intervals of fetching a schema.
#[derive(Clone, Copy, Debug)]
pub struct SchemaTimings {
    /// Timeout for description and version together. The cluster's own `timeout` also applies to each of the two.
    /// Default 10 s.
    pub fetch_timeout: Duration,
    /// Time between two checks of the version. Default 1 min.
    pub version_interval: Duration,
    /// Time from a failed fetch to the next. Default 5 min.
    pub retry_interval: Duration,
}

impl Default for SchemaTimings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { fetch_timeout: seconds(10), version_interval: seconds(60), retry_interval: seconds(300) }
    }
}

/// The schema of one cluster.
#[derive(Default)]
pub(in crate::pve) struct SchemaCache {
    timings: SchemaTimings,
    entry: Mutex<CacheEntry>,
}

#[derive(Default)]
struct CacheEntry {
    state: FetchState,
    live: Option<LiveSchema>,
    /// True after a failed fetch with a logged warning, until a fetch succeeds.
    failure_logged: bool,
}

enum FetchState {
    /// No caller fetches. The first one after this time does.
    Idle(Option<Instant>),
    /// A caller fetches.
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
    /// `None` if the cluster did not return it.
    version: Option<String>,
}

/// Result of a successful fetch.
enum FetchResult {
    Unchanged,
    Updated(LiveSchema),
}

impl SchemaCache {
    pub(in crate::pve) fn new(timings: SchemaTimings) -> Self {
        Self { timings, ..Self::default() }
    }

    pub(in crate::pve) fn get_or_fetch(&self, source: &dyn SchemaSource, cancel: &CancelToken) -> Arc<Schema> {
        if !cancel.is_cancelled()
            && let Some(guard) = self.try_start_fetch()
        {
            let result = self.fetch_if_changed(source, cancel);
            guard.finish(source, result);
        }
        self.lock().live.as_ref().map_or_else(|| embedded_schema().clone(), |live| live.schema.clone())
    }

    /// Compares the version that a node answered to a caller. If it is another one, the next caller fetches.
    pub(in crate::pve) fn observe_version(&self, data: &str) {
        let mut entry = self.lock();
        let is_same = |live: &LiveSchema| live.version == parse_version(data);
        if entry.live.as_ref().is_some_and(|live| !is_same(live)) && matches!(entry.state, FetchState::Idle(_)) {
            entry.state = FetchState::Idle(None);
        }
    }

    fn lock(&self) -> MutexGuard<'_, CacheEntry> {
        // The entry changes in single steps, so it is consistent even after a panic.
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a guard for the next fetch, if it is due and no other caller fetches.
    fn try_start_fetch(&self) -> Option<FetchGuard<'_>> {
        let mut entry = self.lock();
        let FetchState::Idle(next_fetch) = entry.state else { return None };
        if next_fetch.is_some_and(|next_fetch| Instant::now() < next_fetch) {
            return None;
        }
        entry.state = FetchState::Fetching;
        Some(FetchGuard { cache: self, next_fetch: Some(Instant::now() + self.timings.retry_interval) })
    }

    fn fetch_if_changed(&self, source: &dyn SchemaSource, cancel: &CancelToken) -> Result<FetchResult, PveError> {
        let deadline = Instant::now() + self.timings.fetch_timeout;
        let before = self.lock().live.clone();
        let Some(before) = before else {
            // The description comes first, because the version is useless without it.
            let schema = fetch_schema(source, deadline, cancel)?;
            return Ok(FetchResult::Updated(LiveSchema { schema, version: fetch_version(source, deadline, cancel) }));
        };
        match fetch_version(source, deadline, cancel) {
            version @ Some(_) if version != before.version => {
                Ok(FetchResult::Updated(LiveSchema { schema: fetch_schema(source, deadline, cancel)?, version }))
            }
            // The version is the same or unknown, so the schema stays.
            _ if cancel.is_cancelled() => Err(PveError::Cancelled),
            _ => Ok(FetchResult::Unchanged),
        }
    }
}

/// The right of one caller to fetch. Dropped by a panic, it ends like a failure.
struct FetchGuard<'a> {
    cache: &'a SchemaCache,
    next_fetch: Option<Instant>,
}

impl FetchGuard<'_> {
    fn finish(mut self, source: &dyn SchemaSource, result: Result<FetchResult, PveError>) {
        let timings = self.cache.timings;
        // The drop of this guard locks the entry too, so the lock ends before each return.
        let mut entry = self.cache.lock();
        let error = match result {
            Ok(result) => {
                if let FetchResult::Updated(live) = result {
                    entry.failure_logged = false;
                    entry.live = Some(live);
                }
                drop(entry);
                self.next_fetch = Some(Instant::now() + timings.version_interval);
                return;
            }
            // A cancelled call says nothing about the cluster, so the next caller tries again.
            Err(PveError::Cancelled) => {
                drop(entry);
                self.next_fetch = None;
                return;
            }
            Err(error) => error,
        };
        self.next_fetch = Some(Instant::now() + timings.retry_interval);
        let is_first = !std::mem::replace(&mut entry.failure_logged, true);
        let level = if is_first { log::Level::Warn } else { log::Level::Debug };
        let current = if entry.live.is_some() { "the previous one" } else { "the built-in one of Proxmox VE 9" };
        drop(entry);
        let name = source.cluster_name();
        log::log!(level, "cluster `{name}`: cannot load the API description, using {current}: {error}");
    }
}

impl Drop for FetchGuard<'_> {
    fn drop(&mut self) {
        self.cache.lock().state = FetchState::Idle(self.next_fetch);
    }
}

/// Returns the cluster's version. A failure is ignored, because the token may be wrong and the description needs none.
fn fetch_version(source: &dyn SchemaSource, deadline: Instant, cancel: &CancelToken) -> Option<String> {
    match source.get_version(deadline, cancel) {
        Ok(version) => parse_version(&version),
        Err(error) => {
            log::debug!("cluster `{}`: cannot get the version: {}", source.cluster_name(), error.kind());
            None
        }
    }
}

/// Returns the parts of a version that change with the software. A response has them in any order, with others that do
/// not belong to the version (PVE: `console`).
fn parse_version(data: &str) -> Option<String> {
    let data: Value = if data.len() > MAX_VERSION_BYTES { None } else { serde_json::from_str(data).ok() }?;
    let parts: Vec<&str> =
        ["version", "release", "repoid"].into_iter().filter_map(|key| data.get(key)?.as_str()).collect();
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Fetches the description, reads it while it arrives, and returns the existing schema of the same bytes, if any.
fn fetch_schema(source: &dyn SchemaSource, deadline: Instant, cancel: &CancelToken) -> Result<Arc<Schema>, PveError> {
    let mut read = Err(SchemaError::Incomplete);
    let node = source.stream_description(DESCRIPTION_PATH, MAX_DESCRIPTION_BYTES, deadline, cancel, &mut |body| {
        let mut script = DigestingReader { body, digest: Context::new(&SHA256), error: None };
        let result = read_description(&mut script).and_then(|schema| {
            // The digest covers all bytes, including those after the list.
            io::copy(&mut script, &mut io::sink()).map_err(SchemaError::Io)?;
            check_plausible(&schema, source)?;
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
    match node {
        Ok(node) => read.map_err(|error| PveError::rejected_description(node, error)),
        // The text of this error names the time limit of a call.
        Err(PveError::TimedOut { node, .. }) => Err(PveError::rejected_description(node, SchemaError::TimedOut)),
        Err(error) => Err(error),
    }
}

/// Rejects a description that is not Proxmox's or that contains the token's secret.
fn check_plausible(schema: &Schema, source: &dyn SchemaSource) -> Result<(), SchemaError> {
    let has = |path| schema.find_by_template(Method::Get, path).is_some();
    let known =
        embedded_schema().operations().filter(|o| schema.find_by_template(o.method(), o.template()).is_some()).count();
    if !has("/nodes") || !has("/version") || known * 2 < embedded_schema().len() {
        return Err(SchemaError::NotProxmox { known, expected: embedded_schema().len() });
    }
    if source.contains_secret(schema.all_texts()) {
        return Err(SchemaError::ContainsSecret);
    }
    Ok(())
}

/// The schemas in use, by the SHA-256 of all bytes of their descriptions. Only the bytes decide which clusters share
/// one: a malicious cluster could send a false version to make another use its schema.
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

/// Computes the digest of a body while it is read. After the first error, which it keeps, every read fails.
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
                    self.digest.update(&into[..n]);
                    return Ok(n);
                }
                Err(error) => self.error = Some(error),
            }
        }
        // Not `Interrupted`, after which readers try again.
        Err(io::Error::other("the body ended with an error"))
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
    fn one_caller_fetches_and_a_panic_ends_the_fetch() {
        let cache = SchemaCache::new(SchemaTimings { retry_interval: Duration::ZERO, ..SchemaTimings::default() });
        let guard = cache.try_start_fetch();
        assert!(guard.is_some() && cache.try_start_fetch().is_none());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _guard = guard;
            panic!("a bug of the reader");
        }));
        assert!(panicked.is_err() && cache.try_start_fetch().is_some());
    }

    #[test]
    fn after_a_panic_the_next_try_waits() {
        let cache = SchemaCache::new(SchemaTimings::default());
        drop(cache.try_start_fetch());
        assert!(cache.try_start_fetch().is_none());
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
