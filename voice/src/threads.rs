//! Threads that infer: of lower priority, fed by a bounded queue, and waited for at the end.
//!
//! A process that ends takes the inference library apart. A thread that still computes, or only gives its models back, would
//! crash it then.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Work for one or more threads. Whoever drops it waits until they have done what is left, which should be little for those
/// who are gone, and have ended.
pub(crate) struct Queue<Job> {
    /// `None`: it is being dropped.
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// What a thread takes its work from, until there will be no more.
pub(crate) struct Jobs<Job>(Arc<Mutex<Receiver<Job>>>);

impl<Job> Iterator for Jobs<Job> {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        // Of several threads, whoever has the lock waits for the next job; the others wait for the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
    }
}

impl<Job: Send + 'static> Queue<Job> {
    /// Has each of these work on a thread of its own. `room`: jobs that may wait for them.
    pub(crate) fn start<W>(name: &str, room: usize, work: impl IntoIterator<Item = W>) -> Arc<Queue<Job>>
    where
        W: FnOnce(Jobs<Job>) + Send + 'static,
    {
        let (jobs, taken) = sync_channel(room);
        let taken = Arc::new(Mutex::new(taken));
        let start = |work: W| {
            let jobs = Jobs(taken.clone());
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                lower_priority();
                work(jobs);
            });
            thread.inspect_err(|error| tracing::error!(%error, name, "no thread")).ok()
        };
        Arc::new(Queue { jobs: Some(jobs), threads: work.into_iter().filter_map(start).collect() })
    }

    /// Never waits. The job comes back if there is no room, or nobody to work.
    pub(crate) fn give(&self, job: Job) -> Result<(), Job> {
        let Some(jobs) = &self.jobs else { return Err(job) };
        jobs.try_send(job).map_err(|(TrySendError::Full(job) | TrySendError::Disconnected(job))| job)
    }
}

impl<Job> Drop for Queue<Job> {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Under Linux, a process's nice value is its calling thread's.
fn lower_priority() {
    const NICE: i32 = 10;
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "inference runs at the priority of everything else");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn jobs_that_find_no_room_come_back_and_those_that_did_are_done_before_the_end() {
        let (done, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (go, wait) = sync_channel::<()>(0);
        let queue = Queue::start("test", 2, {
            let (done, ended) = (done.clone(), ended.clone());
            [move |jobs: Jobs<usize>| {
                assert!(wait.recv().is_err(), "nothing is sent");
                for job in jobs {
                    done.fetch_add(job, Ordering::Relaxed);
                }
                // A model that is given back takes a while.
                std::thread::yield_now();
                ended.fetch_add(1, Ordering::Relaxed);
            }]
        });
        assert_eq!([1, 10, 100].map(|job| queue.give(job)), [Ok(()), Ok(()), Err(100)]);
        drop(go);
        drop(queue);
        assert_eq!((done.load(Ordering::Relaxed), ended.load(Ordering::Relaxed)), (11, 1));
    }
}
