//! A bounded set of threads for work that may wait on a cluster.
//!
//! Threads are started as they are needed and end when they have been idle for a while, so that an idle server holds
//! none. What can't be begun at once waits in a queue, first come, first served; what finds the queue full is given
//! back. How much of it one session may put in is the session's affair (see `sse`).

use crate::base::deadline::Deadline;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The stack of every thread that may run a call: TLS and JSON in a debug build, with room to spare. What of it is
/// never touched is address space, not memory.
pub const CALL_STACK_BYTES: usize = 2 << 20;

/// How long a thread without work stays: a model thinks between two calls, and a thread costs little.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The workers; clones are the same ones.
pub struct WorkerPool<J>(Arc<PoolInner<J>>);

impl<J> Clone for WorkerPool<J> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct PoolInner<J> {
    state: Mutex<PoolState<J>>,
    /// A job or the end has come.
    job_available: Condvar,
    /// A job is done.
    job_done: Condvar,
    run: Box<dyn Fn(J) + Send + Sync>,
    max_threads: usize,
}

struct PoolState<J> {
    queue: VecDeque<J>,
    threads: usize,
    running: usize,
    idle: usize,
    stopping: bool,
}

impl<J: Send + 'static> WorkerPool<J> {
    /// At most `max` threads, each running one job at a time, and as many jobs waiting. A panic of `run` ends no
    /// thread.
    pub fn new(max: usize, run: impl Fn(J) + Send + Sync + 'static) -> Self {
        let state = PoolState { queue: VecDeque::new(), threads: 0, running: 0, idle: 0, stopping: false };
        let (work, done) = (Condvar::new(), Condvar::new());
        Self(Arc::new(PoolInner {
            state: Mutex::new(state),
            job_available: work,
            job_done: done,
            run: Box::new(run),
            max_threads: max,
        }))
    }

    /// Takes a job over; `Err` gives it back: too many wait, or the workers are stopping, or no thread is to be had.
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
                // With other threads at work it only waits longer.
                Err(e) if state.threads > 0 => log::warn!("no thread for a call: {e}"),
                Err(e) => {
                    log::warn!("no thread for a call: {e}");
                    return state.queue.pop_back().map_or(Ok(()), Err);
                }
            }
        }
        drop(state);
        self.0.job_available.notify_one();
        Ok(())
    }

    /// Takes no more jobs; waits until those taken are done, or until the time is over: then forgets those that still
    /// wait. Returns how many threads are still at work.
    pub fn stop(&self, deadline: &Deadline) -> usize {
        let mut state = self.0.lock();
        state.stopping = true;
        self.0.job_available.notify_all();
        let wait = self.0.job_done.wait_timeout_while(state, deadline.remaining(), |state| state.threads > 0);
        state = wait.unwrap_or_else(PoisonError::into_inner).0;
        let forgotten = std::mem::take(&mut state.queue);
        let threads = state.threads;
        drop(state);
        drop(forgotten);
        threads
    }
}

impl<J> PoolInner<J> {
    /// The life of a worker thread.
    fn run_worker(&self) {
        while let Some(job) = self.next_job() {
            if catch_unwind(AssertUnwindSafe(|| (self.run)(job))).is_err() {
                log::error!("a worker's job ended in a panic");
            }
            self.lock().running -= 1;
        }
        self.job_done.notify_all();
    }

    /// Waits for a job; `None` ends the thread, and has counted it out.
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

    /// A job that says it has begun, waits to be let go, and says what it was.
    struct BlockedJob {
        name: u32,
        gate: Receiver<()>,
    }

    const LONG: Duration = Duration::from_secs(20);

    fn start_pool(max: usize) -> (WorkerPool<BlockedJob>, Receiver<(u32, &'static str)>) {
        let (say, heard) = channel();
        let say = Mutex::new(say);
        let workers = WorkerPool::new(max, move |job: BlockedJob| {
            let say = say.lock().unwrap().clone();
            say.send((job.name, "begun")).unwrap();
            if job.gate.recv().is_err() {
                panic!("a test's panic");
            }
            say.send((job.name, "done")).unwrap();
        });
        (workers, heard)
    }

    fn new_blocked_job(name: u32) -> (BlockedJob, Sender<()>) {
        let (open, gate) = channel();
        (BlockedJob { name, gate }, open)
    }

    #[test]
    fn so_many_run_so_many_wait_and_the_next_is_given_back() {
        let (workers, heard) = start_pool(2);
        let mut gates = Vec::new();
        for name in 0..2 {
            let (job, open) = new_blocked_job(name);
            workers.submit(job).map_err(|_| "refused").unwrap();
            gates.push(open);
            heard.recv_timeout(LONG).unwrap();
        }
        for name in 2..4 {
            let (job, open) = new_blocked_job(name);
            workers.submit(job).map_err(|_| "refused").unwrap();
            gates.push(open);
        }
        assert_eq!(workers.submit(new_blocked_job(4).0).err().map(|job| job.name), Some(4));
        gates[1].send(()).unwrap();
        assert_eq!(heard.recv_timeout(LONG), Ok((1, "done")));
        assert_eq!(heard.recv_timeout(LONG), Ok((2, "begun")), "first come, first served");
        for gate in [0, 2, 3] {
            gates[gate].send(()).unwrap();
        }
        assert_eq!(workers.stop(&Deadline::from_now(LONG)), 0);
        assert_eq!(heard.try_iter().filter(|(_, what)| *what == "done").count(), 3);
        assert!(workers.submit(new_blocked_job(5).0).is_err(), "nothing begins after the end");
    }

    #[test]
    fn a_panic_ends_no_thread() {
        let (workers, heard) = start_pool(1);
        for name in 0..3 {
            let (job, open) = new_blocked_job(name);
            drop(open);
            workers.submit(job).map_err(|_| "refused").unwrap();
            assert_eq!(heard.recv_timeout(LONG), Ok((name, "begun")));
        }
        let (job, open) = new_blocked_job(3);
        workers.submit(job).map_err(|_| "refused").unwrap();
        open.send(()).unwrap();
        assert_eq!(heard.recv_timeout(LONG), Ok((3, "begun")));
        assert_eq!(heard.recv_timeout(LONG), Ok((3, "done")));
        assert_eq!(workers.0.lock().threads, 1);
    }

    #[test]
    fn the_end_waits_no_longer_than_it_may_and_forgets_the_queue() {
        let (workers, heard) = start_pool(1);
        let (stuck, open) = new_blocked_job(0);
        workers.submit(stuck).map_err(|_| "refused").unwrap();
        heard.recv_timeout(LONG).unwrap();
        let (waiting, _gate) = new_blocked_job(1);
        workers.submit(waiting).map_err(|_| "refused").unwrap();
        assert_eq!(workers.stop(&Deadline::from_now(Duration::from_millis(20))), 1);
        open.send(()).unwrap();
        assert_eq!(heard.recv_timeout(LONG), Ok((0, "done")));
        assert_eq!(workers.stop(&Deadline::from_now(LONG)), 0);
        assert!(heard.try_recv().is_err(), "what waited was never begun");
    }
}
