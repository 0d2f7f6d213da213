//! The schemas in use by all clusters. Clusters of one version describe their API with the same bytes, which are parsed
//! once.

use super::error::SchemaError;
use super::searchable::Schema;
use crate::base::cancel::CancelToken;
use std::collections::HashMap;
use std::num::NonZero;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// The schemas of this process.
pub(super) static SCHEMAS: LazyLock<SchemaStore> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    SchemaStore::new(processors.min(MAX_PARSES))
});

/// A parse takes some MB and one processor, which other calls need too.
const MAX_PARSES: usize = 2;

/// The interval at which a wait for a parse looks for the cancellation of its call.
const CANCELLATION_INTERVAL: Duration = Duration::from_millis(100);

/// Schemas by their descriptions. A schema is dropped with its last cluster.
pub(super) struct SchemaStore {
    max_parses: usize,
    state: Mutex<StoreState>,
    /// Signalled when a parse ends.
    changed: Condvar,
}

#[derive(Default)]
struct StoreState {
    entries: HashMap<[u8; 32], StoredSchema>,
    running_parses: usize,
    /// Parses so far.
    parses: usize,
}

enum StoredSchema {
    /// A caller parses the description.
    Pending,
    Parsed(Weak<Schema>),
}

/// The right of one caller to parse a description. Dropped by a panic, it ends like a failure.
struct ParsePermit<'a> {
    store: &'a SchemaStore,
    digest: [u8; 32],
}

impl SchemaStore {
    pub(super) fn new(max_parses: usize) -> Self {
        Self { max_parses, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Returns the schema of the description with this SHA-256, which is parsed if no cluster uses it. Waits for the parse
    /// of another caller. Only the bytes decide which clusters share a schema: a malicious cluster could send a false
    /// version to make another use its schema.
    pub(super) fn get_or_parse(
        &self,
        digest: [u8; 32],
        deadline: Instant,
        cancel: &CancelToken,
        parse: impl FnOnce() -> Result<Schema, SchemaError>,
    ) -> Result<Arc<Schema>, SchemaError> {
        let mut state = self.lock();
        loop {
            match state.entries.get(&digest) {
                Some(StoredSchema::Parsed(schema)) if let Some(schema) = schema.upgrade() => return Ok(schema),
                Some(StoredSchema::Pending) => {}
                _ if state.running_parses < self.max_parses => break,
                _ => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || cancel.is_cancelled() {
                return Err(SchemaError::TimedOut);
            }
            let pause = left.min(CANCELLATION_INTERVAL);
            state = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.entries.retain(|_, entry| !matches!(entry, StoredSchema::Parsed(schema) if schema.strong_count() == 0));
        state.entries.insert(digest, StoredSchema::Pending);
        state.running_parses += 1;
        state.parses += 1;
        drop(state);
        let permit = ParsePermit { store: self, digest };
        let schema = Arc::new(parse()?);
        self.lock().entries.insert(digest, StoredSchema::Parsed(Arc::downgrade(&schema)));
        drop(permit);
        Ok(schema)
    }

    fn lock(&self) -> MutexGuard<'_, StoreState> {
        // The state changes in single steps, so it is consistent even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ParsePermit<'_> {
    fn drop(&mut self) {
        let mut state = self.store.lock();
        state.running_parses -= 1;
        if matches!(state.entries.get(&self.digest), Some(StoredSchema::Pending)) {
            state.entries.remove(&self.digest);
        }
        drop(state);
        self.store.changed.notify_all();
    }
}

#[cfg(test)]
impl SchemaStore {
    /// Returns the number of parses so far.
    pub(super) fn parse_count(&self) -> usize {
        self.lock().parses
    }

    /// Returns the number of schemas that a cluster uses.
    pub(super) fn used_count(&self) -> usize {
        let is_used =
            |entry: &&StoredSchema| matches!(entry, StoredSchema::Parsed(schema) if schema.strong_count() > 0);
        self.lock().entries.values().filter(is_used).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::cancel::CancelReason;
    use crate::pve::schema::facts::APIDOC;
    use crate::pve::schema::read_description;
    use flate2::read::GzDecoder;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const FAR: Duration = Duration::from_secs(600);

    fn parse() -> Result<Schema, SchemaError> {
        read_description(GzDecoder::new(APIDOC))
    }

    fn get(store: &SchemaStore, digest: u8) -> Arc<Schema> {
        store.get_or_parse([digest; 32], Instant::now() + FAR, &CancelToken::new(), parse).expect("a schema")
    }

    #[test]
    fn the_same_bytes_are_one_schema_for_as_long_as_it_is_in_use() {
        let store = SchemaStore::new(2);
        let first = get(&store, 1);
        assert!(Arc::ptr_eq(&first, &get(&store, 1)));
        assert!(!Arc::ptr_eq(&first, &get(&store, 2)));
        assert_eq!((store.parse_count(), store.used_count()), (2, 1), "the second one is dropped");
        let weak = Arc::downgrade(&first);
        drop(first);
        assert!(weak.upgrade().is_none());
        get(&store, 1);
        assert_eq!((store.parse_count(), store.used_count()), (3, 0));
    }

    #[test]
    fn parses_in_parallel_are_bounded() {
        let store = SchemaStore::new(2);
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for digest in 0..8 {
                let (store, running, most) = (&store, &running, &most);
                scope.spawn(move || {
                    let count_and_parse = || {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        let schema = parse();
                        running.fetch_sub(1, Ordering::SeqCst);
                        schema
                    };
                    let deadline = Instant::now() + FAR;
                    store.get_or_parse([digest; 32], deadline, &CancelToken::new(), count_and_parse).expect("a schema");
                });
            }
        });
        assert!((1..=2).contains(&most.into_inner()));
        assert_eq!(store.parse_count(), 8);
    }

    #[test]
    fn failed_parse_leaves_the_next_caller_to_parse() {
        let store = SchemaStore::new(1);
        let fail = || Err(SchemaError::NoList);
        let failed = store.get_or_parse([1; 32], Instant::now() + FAR, &CancelToken::new(), fail);
        assert!(matches!(failed, Err(SchemaError::NoList)));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = store.get_or_parse([1; 32], Instant::now() + FAR, &CancelToken::new(), || panic!("a bug"));
        }));
        assert!(panicked.is_err());
        get(&store, 1);
    }

    #[test]
    fn wait_for_a_parse_ends_at_the_deadline_and_with_the_call() {
        let store = SchemaStore::new(1);
        let wait = |deadline, cancel: &CancelToken| {
            let waited = store.get_or_parse([1; 32], deadline, cancel, parse);
            assert!(matches!(waited, Err(SchemaError::TimedOut)));
        };
        let held = store.get_or_parse([1; 32], Instant::now() + FAR, &CancelToken::new(), || {
            wait(Instant::now(), &CancelToken::new());
            let cancel = CancelToken::new();
            cancel.cancel(CancelReason::ClientGone);
            wait(Instant::now() + FAR, &cancel);
            parse()
        });
        assert!(held.is_ok());
    }
}
