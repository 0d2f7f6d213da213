//! Chooses and keeps a cluster's schema: its own description, fetched at the first use and again when the cluster's
//! version changes, or the embedded facts.
//!
//! One caller at a time fetches. The others do not wait and get the current schema. A failed fetch is no error for the
//! caller. It is logged as a warning once, until a fetch succeeds.

use super::error::{SchemaError, SchemaLimit};
use super::load::{embedded_schema, read_description};
use super::reader::MAX_DESCRIPTION_BYTES;
use super::searchable::Schema;
use super::store::{SCHEMAS, SchemaStore};
use crate::base::cancel::CancelToken;
use crate::pve::error::PveError;
use crate::pve::method::Method;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use ring::digest::{Context, SHA256};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Path of a node's description, which needs no token. (PVE: the API viewer's data.)
const DESCRIPTION_PATH: &str = "/pve-docs/api-viewer/apidoc.js";

/// Most bytes of a compressed description. Real ones have some 400 KB.
const MAX_COMPRESSED_BYTES: usize = 2 << 20;

/// Bytes of a description that are read at once.
const PIECE_BYTES: usize = 32 << 10;

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
pub(in crate::pve) struct SchemaCache {
    store: &'static SchemaStore,
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

impl Default for SchemaCache {
    fn default() -> Self {
        Self::new(SchemaTimings::default())
    }
}

impl SchemaCache {
    pub(in crate::pve) fn new(timings: SchemaTimings) -> Self {
        Self::with_store(&SCHEMAS, timings)
    }

    fn with_store(store: &'static SchemaStore, timings: SchemaTimings) -> Self {
        Self { store, timings, entry: Mutex::default() }
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
            let schema = fetch_schema(self.store, source, deadline, cancel)?;
            return Ok(FetchResult::Updated(LiveSchema { schema, version: fetch_version(source, deadline, cancel) }));
        };
        match fetch_version(source, deadline, cancel) {
            version @ Some(_) if version != before.version => {
                let schema = fetch_schema(self.store, source, deadline, cancel)?;
                Ok(FetchResult::Updated(LiveSchema { schema, version }))
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

/// Fetches the description, and parses it unless another cluster has the same.
fn fetch_schema(
    store: &SchemaStore,
    source: &dyn SchemaSource,
    deadline: Instant,
    cancel: &CancelToken,
) -> Result<Arc<Schema>, PveError> {
    let mut received = Err(SchemaError::Incomplete);
    let node = source.stream_description(DESCRIPTION_PATH, MAX_DESCRIPTION_BYTES, deadline, cancel, &mut |body| {
        received = ReceivedDescription::read(body)?;
        Ok(())
    });
    let node = match node {
        Ok(node) => node,
        // The text of this error names the time limit of a call.
        Err(PveError::TimedOut { node, .. }) => {
            return Err(PveError::rejected_description(node, SchemaError::TimedOut));
        }
        Err(error) => return Err(error),
    };
    let schema = received.and_then(|ReceivedDescription { digest, compressed }| {
        let parse = || read_description(ZlibDecoder::new(compressed.as_slice()));
        let schema = store.get_or_parse(digest, deadline, cancel, parse)?;
        check_plausible(&schema, source)?;
        Ok(schema)
    });
    match schema {
        Err(_) if cancel.is_cancelled() => Err(PveError::Cancelled),
        schema => schema.map_err(|error| PveError::rejected_description(node, error)),
    }
}

/// A description as it came, compressed: it is kept only until its schema is found, and is parsed without the network.
struct ReceivedDescription {
    digest: [u8; 32],
    compressed: Vec<u8>,
}

impl ReceivedDescription {
    /// Reads a whole description.
    fn read(body: &mut dyn Read) -> io::Result<Result<Self, SchemaError>> {
        let mut digest = Context::new(&SHA256);
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let piece = match body.read(&mut piece)? {
                0 => break,
                n => piece.get(..n).unwrap_or_default(),
            };
            digest.update(piece);
            encoder.write_all(piece)?;
            if encoder.get_ref().len() > MAX_COMPRESSED_BYTES {
                return Ok(Err(SchemaError::TooLarge(SchemaLimit::Compressed(MAX_COMPRESSED_BYTES as u64))));
            }
        }
        let digest = digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
        Ok(Ok(Self { digest, compressed: encoder.finish()? }))
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

    /// A cluster with this description.
    struct FakeSource(String);

    impl SchemaSource for FakeSource {
        fn cluster_name(&self) -> &str {
            "fake"
        }

        fn get_version(&self, _: Instant, _: &CancelToken) -> Result<String, PveError> {
            Ok(r#"{"version":"9.2.11"}"#.into())
        }

        fn stream_description(
            &self,
            _: &'static str,
            _: u64,
            _: Instant,
            _: &CancelToken,
            sink: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
        ) -> Result<String, PveError> {
            sink(&mut self.0.as_bytes()).expect("the whole text can be read");
            Ok("fake:8006".into())
        }

        fn contains_secret(&self, _: &str) -> bool {
            false
        }
    }

    #[test]
    fn clusters_of_one_version_share_one_parse_until_the_last_one_goes() {
        let store: &'static SchemaStore = Box::leak(Box::new(SchemaStore::new(2)));
        let mut script = String::new();
        flate2::read::GzDecoder::new(crate::pve::schema::facts::APIDOC).read_to_string(&mut script).unwrap();
        let versions = ["one", "two", "three"].map(|version| FakeSource(format!("{script}\n// {version}\n")));
        let timings = SchemaTimings { fetch_timeout: Duration::from_secs(600), ..SchemaTimings::default() };
        let clusters: Vec<SchemaCache> = (0..50).map(|_| SchemaCache::with_store(store, timings)).collect();
        std::thread::scope(|scope| {
            for (n, cluster) in clusters.iter().enumerate() {
                let source = &versions[n % 3];
                scope.spawn(move || assert!(cluster.get_or_fetch(source, &CancelToken::new()).is_live()));
            }
        });
        assert_eq!((store.parse_count(), store.used_count()), (3, 3));
        let (mut first, rest): (Vec<_>, Vec<_>) = clusters.into_iter().enumerate().partition(|(n, _)| n % 3 == 0);
        drop(rest);
        assert_eq!(store.used_count(), 1, "a reload keeps the clusters of one version");
        first.truncate(1);
        assert_eq!(store.used_count(), 1);
        drop(first);
        assert_eq!((store.parse_count(), store.used_count()), (3, 0));
    }

    #[test]
    fn description_that_is_too_large_compressed_is_rejected() {
        let mut noise = Vec::new();
        let mut word = 1_u32;
        while noise.len() < 3 * MAX_COMPRESSED_BYTES {
            word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.push((word >> 24) as u8);
        }
        let received = ReceivedDescription::read(&mut noise.as_slice()).unwrap();
        assert!(matches!(received, Err(SchemaError::TooLarge(SchemaLimit::Compressed(_)))));
    }
}
