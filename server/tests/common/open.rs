//! What this process has open, for tests that have it for themselves.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

/// How long the peers' ends, which live in this process too, get to notice that the other end is gone.
const NOTICED_MAX: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Open {
    pub tasks: usize,
    /// Open descriptors, by what they lead to.
    pub files: Vec<String>,
}

impl Open {
    pub fn now() -> Open {
        let folder = std::fs::read_dir("/proc/self/fd").unwrap();
        let mut files: Vec<String> = folder
            .filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.to_string_lossy().into_owned()))
            // The folder that is being read.
            .filter(|name| !name.ends_with("/fd"))
            .collect();
        files.sort();
        Open { tasks: Handle::current().metrics().num_alive_tasks(), files }
    }

    /// What is open when no task is left; outside of a task, which would be one.
    pub async fn when_nothing_runs() -> Open {
        Open::no_more_than(usize::MAX).await
    }

    /// Waits until no task is left, and no more descriptors than these.
    pub async fn no_more_than(files: usize) -> Open {
        let deadline = Instant::now() + NOTICED_MAX;
        loop {
            let now = Open::now();
            if now.tasks == 0 && now.files.len() <= files {
                return now;
            }
            assert!(Instant::now() < deadline, "left open: {now:#?}");
            tokio::task::yield_now().await;
        }
    }
}
