//! Waiting for more of a log, and knowing that there will be none.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::{ContainerId, ContainerName, Kind, ObjectKey, PodUid};
use probelet_store::{Store, Watch};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use crate::connect::container;
use crate::connect::descriptor::waited;

/// How often is looked where the system does not tell of changes: every user may have only so many watches.
///
/// Upstream: cri-client pkg/logs/logs.go, logForceCheckPeriod.
/// Shown by: where_nobody_tells_of_changes_they_are_looked_for.
const PERIOD: Duration = Duration::from_secs(1);

/// One run whose log is followed.
#[derive(Debug)]
pub(super) struct Follow {
    store: Arc<Store>,
    pod: ObjectKey,
    uid: PodUid,
    container: ContainerName,
    run: ContainerId,
    /// Changes of pods; `None` if some were missed, and it is to be begun anew.
    pods: Option<Watch>,
    /// Changes of the log's directory.
    files: Option<AsyncFd<OwnedFd>>,
    looked_last: bool,
}

impl Follow {
    pub(super) fn new(
        store: &Arc<Store>,
        (pod, uid): (&ObjectKey, &PodUid),
        (container, run): (ContainerName, ContainerId),
        path: &Path,
    ) -> Self {
        let files = path.parent().map(watch);
        let files = files.and_then(|watched| {
            watched
                .inspect_err(|error| tracing::debug!("watching a log: {error}"))
                .ok()
        });
        let pods = store.watch_kinds(store.version(), &[Kind::Pod]).ok();
        Self {
            store: Arc::clone(store),
            pod: pod.clone(),
            uid: uid.clone(),
            container,
            run,
            pods,
            files,
            looked_last: false,
        }
    }

    /// Whether the run still runs, as far as the store knows.
    ///
    /// Upstream: cri-client pkg/logs/logs.go, isContainerRunning.
    /// Shown by: a_log_is_followed_until_its_run_ends.
    pub(super) fn goes_on(&self) -> bool {
        self.store.get(&self.pod).is_some_and(|pod| {
            container::uid(&pod.value) == self.uid
                && container::running(&pod.value, &self.container).as_ref() == Some(&self.run)
        })
    }

    /// Whether the file is to be looked at once more, the run having ended: so the first time that this is asked.
    pub(super) const fn looks_again(&mut self) -> bool {
        !std::mem::replace(&mut self.looked_last, true)
    }

    /// Comes when there may be more in the file, or the run may have ended.
    pub(super) async fn wait(&mut self) {
        let pods = changed(&self.store, &mut self.pods, &self.pod);
        tokio::select! {
            () = pods => {}
            () = written(self.files.as_ref()) => {}
        }
    }
}

/// Comes when the pod has changed, or may have.
async fn changed(store: &Store, pods: &mut Option<Watch>, pod: &ObjectKey) {
    if let Some(watch) = pods {
        loop {
            match watch.next().await {
                Ok(change) if change.key == *pod => return,
                Ok(_) => {}
                Err(_gone) => break,
            }
        }
    }
    *pods = store.watch_kinds(store.version(), &[Kind::Pod]).ok();
}

/// Comes when something in the log's directory has changed.
async fn written(files: Option<&AsyncFd<OwnedFd>>) {
    let Some(files) = files else {
        return sleep(PERIOD).await;
    };
    let Ok(mut ready) = files.readable().await else {
        return pending().await;
    };
    // What has changed is found out by looking.
    let mut events = [0; 4096];
    while let Ok(Ok(1..)) =
        ready.try_io(|files| Ok(rustix::io::read(files.get_ref(), &mut events)?))
    {}
}

fn watch(dir: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let watched = inotify::init(CreateFlags::CLOEXEC)?;
    inotify::add_watch(
        &watched,
        dir,
        WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO,
    )?;
    waited(watched)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn where_nobody_tells_of_changes_they_are_looked_for() {
        let store = Arc::new(Store::in_memory());
        let pod = ObjectKey::new(Kind::Pod, "ns", "p");
        let run = ("c".into(), "now".into());
        let nowhere = Path::new("/no/such/directory/0.log");
        let mut follow = Follow::new(&store, (&pod, &"uid".into()), run, nowhere);
        let begun = Instant::now();
        follow.wait().await;
        assert_eq!(begun.elapsed(), PERIOD);
        assert!(!follow.goes_on());
    }
}
