//! A bounded set of threads for work that may wait on a cluster.
//!
//! Threads start on demand and end after an idle time, so that an idle server holds none. A job that finds no free
//! thread waits in a queue (first in, first out). A job that finds the queue full is returned to the caller. The limit
//! of one session is enforced by the session.

use crate::base::deadline::Deadline;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The stack of every thread that may run a call. TLS and JSON in a debug build fit with room to spare. Untouched pages
/// cost address space, not memory.
pub const CALL_STACK_BYTES: usize = 2 << 20;

/// The time after which an idle thread ends. A model pauses between two calls, and a thread costs little.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// A pool of worker threads. Clones refer to the same pool.
pub struct WorkerPool<J>(Arc<PoolInner<J>>);

impl<J> Clone for WorkerPool<J> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct PoolInner<J> {
    state: Mutex<PoolState<J>>,
    /// Signalled for a new job and for the stop.
    job_available: Condvar,
    /// Signalled when a worker thread ends.
    job_done: Condvar,
    run: Box<dyn Fn(J) + Send + Sync>,
    max_threads: usize,
}

struct PoolState<J> {
    queue: VecDeque<J>,
    /// Jobs that a stop left in the queue.
    unstarted: Vec<J>,
    threads: usize,
    running: usize,
    idle: usize,
    stopping: bool,
}

impl<J: Send + 'static> WorkerPool<J> {
    /// Creates a pool of at most `max` threads and a queue for as many jobs. A panic in `run` ends no thread.
    pub fn new(max: usize, run: impl Fn(J) + Send + Sync + 'static) -> Self {
        let state = PoolState {
            queue: VecDeque::new(),
            unstarted: Vec::new(),
            threads: 0,
            running: 0,
            idle: 0,
            stopping: false,
        };
        Self(Arc::new(PoolInner {
            state: Mutex::new(state),
            job_available: Condvar::new(),
            job_done: Condvar::new(),
            run: Box::new(run),
            max_threads: max,
        }))
    }

    /// Runs or queues a job. Returns the job as an error if the queue is full, the pool is stopping, or the first
    /// thread cannot be started.
    pub fn submit(&self, job: J) -> Result<(), J> {
        let mut state = self.0.lock();
        if state.stopping || state.running + state.queue.len() >= self.0.max_threads * 2 {
            return Err(job);
        }
        state.queue.push_back(job);
        if state.queue.len() > state.idle && state.threads < self.0.max_threads {
            let shared = self.0.clone();
            let thread = thread::Builder::new().name("call".into()).stack_size(CALL_STACK_BYTES);
            match thread.spawn(move || shared.run_worker()) {
                Ok(_) => state.threads += 1,
                // Another thread will run the job later.
                Err(e) if state.threads > 0 => log::warn!("cannot start a worker thread: {e}"),
                Err(e) => {
                    log::warn!("cannot start a worker thread: {e}");
                    return state.queue.pop_back().map_or(Ok(()), Err);
                }
            }
        }
        let is_awaited = state.idle > 0;
        drop(state);
        // A signal is a system call even if no thread waits.
        if is_awaited {
            self.0.job_available.notify_one();
        }
        Ok(())
    }

    /// Rejects new jobs and those in the queue: passes the latter to `reject` on a thread of its own. [`WorkerPool::stop`]
    /// waits for that thread as well.
    pub fn reject_queued(&self, reject: impl Fn(J) + Send + 'static) {
        let mut state = self.0.lock();
        state.stopping = true;
        let mut jobs = std::mem::take(&mut state.unstarted);
        jobs.extend(std::mem::take(&mut state.queue));
        if jobs.is_empty() {
            return;
        }
        state.threads += 1;
        drop(state);
        let shared = self.0.clone();
        let reject_all = move || {
            if catch_unwind(AssertUnwindSafe(|| jobs.into_iter().for_each(reject))).is_err() {
                log::error!("the rejection of a worker job panicked");
            }
            shared.lock().threads -= 1;
            shared.job_done.notify_all();
        };
        if let Err(error) = thread::Builder::new().name("reject".into()).spawn(reject_all) {
            self.0.lock().threads -= 1;
            log::warn!("cannot answer the calls that have not begun: {error}");
        }
    }

    /// Rejects new jobs and waits until all jobs are done or the deadline is over. Jobs that are still queued then never
    /// start, and wait for [`WorkerPool::reject_queued`]. Returns the number of threads that are still running.
    pub fn stop(&self, deadline: &Deadline) -> usize {
        let mut state = self.0.lock();
        state.stopping = true;
        self.0.job_available.notify_all();
        let wait = self.0.job_done.wait_timeout_while(state, deadline.remaining(), |state| state.threads > 0);
        state = wait.unwrap_or_else(PoisonError::into_inner).0;
        let queued = std::mem::take(&mut state.queue);
        state.unstarted.extend(queued);
        state.threads
    }
}

impl<J> PoolInner<J> {
    /// Runs jobs until the pool stops or the thread was idle for [`IDLE_TIMEOUT`].
    fn run_worker(&self) {
        while let Some(job) = self.next_job() {
            if catch_unwind(AssertUnwindSafe(|| (self.run)(job))).is_err() {
                log::error!("a worker job panicked");
            }
            self.lock().running -= 1;
        }
        self.job_done.notify_all();
    }

    /// Waits for a job. `None` ends the thread, which is no longer counted then.
    fn next_job(&self) -> Option<J> {
        let mut state = self.lock();
        let deadline = Deadline::from_now(IDLE_TIMEOUT);
        loop {
            if let Some(job) = state.queue.pop_front() {
                state.running += 1;
                return Some(job);
            }
            let left = deadline.remaining();
            if state.stopping || left.is_zero() {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            state = self.job_available.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// A job that reports its start, blocks until released, and reports its end.
    struct BlockedJob {
        name: u32,
        gate: Receiver<()>,
    }

    const LONG: Duration = Duration::from_secs(20);

    fn start_pool(max: usize) -> (WorkerPool<BlockedJob>, Receiver<(u32, &'static str)>) {
        let (sender, reports) = channel();
        let sender = Mutex::new(sender);
        let workers = WorkerPool::new(max, move |job: BlockedJob| {
            let sender = sender.lock().unwrap().clone();
            sender.send((job.name, "started")).unwrap();
            if job.gate.recv().is_err() {
                panic!("a test's panic");
            }
            sender.send((job.name, "done")).unwrap();
        });
        (workers, reports)
    }

    fn new_blocked_job(name: u32) -> (BlockedJob, Sender<()>) {
        let (open, gate) = channel();
        (BlockedJob { name, gate }, open)
    }

    #[test]
    fn a_job_beyond_threads_and_queue_is_returned() {
        let (workers, reports) = start_pool(2);
        let mut gates = Vec::new();
        for name in 0..2 {
            let (job, open) = new_blocked_job(name);
            workers.submit(job).map_err(|_| "rejected").unwrap();
            gates.push(open);
            reports.recv_timeout(LONG).unwrap();
        }
        for name in 2..4 {
            let (job, open) = new_blocked_job(name);
            workers.submit(job).map_err(|_| "rejected").unwrap();
            gates.push(open);
        }
        assert_eq!(workers.submit(new_blocked_job(4).0).err().map(|job| job.name), Some(4));
        gates[1].send(()).unwrap();
        assert_eq!(reports.recv_timeout(LONG), Ok((1, "done")));
        assert_eq!(reports.recv_timeout(LONG), Ok((2, "started")), "first in, first out");
        for gate in [0, 2, 3] {
            gates[gate].send(()).unwrap();
        }
        assert_eq!(workers.stop(&Deadline::from_now(LONG)), 0);
        assert_eq!(reports.try_iter().filter(|(_, what)| *what == "done").count(), 3);
        assert!(workers.submit(new_blocked_job(5).0).is_err(), "no job starts after the stop");
    }

    #[test]
    fn a_panic_ends_no_thread() {
        let (workers, reports) = start_pool(1);
        for name in 0..3 {
            let (job, open) = new_blocked_job(name);
            drop(open);
            workers.submit(job).map_err(|_| "rejected").unwrap();
            assert_eq!(reports.recv_timeout(LONG), Ok((name, "started")));
        }
        let (job, open) = new_blocked_job(3);
        workers.submit(job).map_err(|_| "rejected").unwrap();
        open.send(()).unwrap();
        assert_eq!(reports.recv_timeout(LONG), Ok((3, "started")));
        assert_eq!(reports.recv_timeout(LONG), Ok((3, "done")));
        assert_eq!(workers.0.lock().threads, 1);
    }

    #[test]
    fn a_stop_waits_until_its_deadline_and_leaves_the_queue_to_be_rejected() {
        let (workers, reports) = start_pool(1);
        let (stuck, open) = new_blocked_job(0);
        workers.submit(stuck).map_err(|_| "rejected").unwrap();
        reports.recv_timeout(LONG).unwrap();
        let (waiting, _gate) = new_blocked_job(1);
        workers.submit(waiting).map_err(|_| "rejected").unwrap();
        assert_eq!(workers.stop(&Deadline::from_now(Duration::from_millis(20))), 1);
        let (sender, rejected) = channel();
        // It is rejected although the only thread is busy.
        workers.reject_queued(move |job| sender.send(job.name).unwrap());
        assert_eq!(rejected.recv_timeout(LONG), Ok(1));
        open.send(()).unwrap();
        assert_eq!(reports.recv_timeout(LONG), Ok((0, "done")));
        assert_eq!(workers.stop(&Deadline::from_now(LONG)), 0);
        assert!(reports.try_recv().is_err(), "a rejected job never starts");
    }
}
