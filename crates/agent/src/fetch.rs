//! Looking for images and pulling them, and holding them for the pods that use them.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use probelet_engine::input::{self, ImageFailure};
use probelet_model::id::{ContainerName, PodUid};
use probelet_model::pod::{Pod, PullPolicy};
use probelet_runtime::{Credential, Image, ImageError, Images};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What is held for each pod, by id.
type Held = BTreeMap<PodUid, BTreeMap<String, Arc<Image>>>;

/// The tasks that look for images and pull them.
#[derive(Debug)]
pub(crate) struct Fetches<I> {
    holder: Holder<I>,
    under_way: BTreeMap<PodUid, Vec<JoinHandle<()>>>,
}

/// What such a task works with.
#[derive(Debug)]
pub(crate) struct Holder<I> {
    images: Arc<I>,
    held: Arc<Mutex<Held>>,
    /// There are other images than before.
    changed: Arc<Notify>,
}

/// An image that a container is to be started from.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    image: String,
    policy: PullPolicy,
    pub(crate) is_init: bool,
}

impl Wanted {
    /// `None` if the pod has no such container.
    pub(crate) fn of(pod: &Pod, name: &ContainerName, image: String) -> Option<Self> {
        let spec = pod.container(name.as_str())?;
        Some(Self {
            image,
            policy: spec.pull_policy,
            is_init: pod.init_containers.iter().any(|init| init.name == *name),
        })
    }

    /// The reason under which upstream counts a start that fails by this answer.
    ///
    /// Upstream: kubelet pkg/kubelet/images/types.go, counted by kuberuntime_manager.go, SyncPod.
    /// Differs: a wait in the back-off of an image is no start.
    /// Shown by: what_is_looked_up_is_held_and_what_cannot_be_had_has_its_code.
    pub(crate) fn code(
        &self,
        result: &Result<Option<input::Image>, ImageFailure>,
    ) -> Option<&'static str> {
        match (result, self.policy) {
            (Err(ImageFailure::Name(_)), _) => Some("InvalidImageName"),
            (_, PullPolicy::Always)
            | (Ok(Some(_)), PullPolicy::IfNotPresent | PullPolicy::Never)
            | (Ok(None), PullPolicy::IfNotPresent) => None,
            (Err(_), PullPolicy::IfNotPresent | PullPolicy::Never) => Some("ImageInspectError"),
            (Ok(None), PullPolicy::Never) => Some("ErrImageNeverPull"),
        }
    }
}

/// The same of a pull.
pub(crate) const PULL_FAILED: &str = "ErrImagePull";

impl<I: Images> Fetches<I> {
    pub(crate) fn new(images: Arc<I>, changed: Arc<Notify>) -> Self {
        Self {
            holder: Holder {
                images,
                held: Arc::default(),
                changed,
            },
            under_way: BTreeMap::new(),
        }
    }

    pub(crate) fn holder(&self) -> Holder<I> {
        self.holder.share()
    }

    /// An image that is held for a pod.
    pub(crate) fn held(&self, pod: &PodUid, id: &str) -> Option<Arc<Image>> {
        self.holder.locked().get(pod)?.get(id).cloned()
    }

    /// Runs a task for a pod, as long as that is there.
    pub(crate) fn spawn(&mut self, pod: &PodUid, task: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.under_way.entry(pod.clone()).or_default();
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(task));
    }

    /// Ends what is under way for a pod, and lets go of all that is held for it.
    pub(crate) fn release(
        &mut self,
        pod: &PodUid,
    ) -> impl Future<Output = Result<(), String>> + Send + use<I> {
        let tasks = self.under_way.remove(pod).unwrap_or_default();
        tasks.iter().for_each(JoinHandle::abort);
        let (holder, pod) = (self.holder(), pod.clone());
        async move {
            // One that is still at it could hold something after the release.
            for task in tasks {
                let _aborted = task.await;
            }
            holder.locked().remove(&pod);
            let released = holder.images.release(pod.as_str()).await;
            released.map_err(|error| format!("cannot let go of its images: {error}"))
        }
    }
}

impl<I: Images> Holder<I> {
    fn share(&self) -> Self {
        Self {
            images: Arc::clone(&self.images),
            held: Arc::clone(&self.held),
            changed: Arc::clone(&self.changed),
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Looks for an image, and holds it if it is to be used as it is.
    pub(crate) async fn look_up(
        &self,
        pod: &PodUid,
        wanted: &Wanted,
    ) -> Result<Option<input::Image>, ImageFailure> {
        match self.images.image(&wanted.image).await {
            Ok(None) => Ok(None),
            Ok(Some(image)) if wanted.policy == PullPolicy::Always => {
                Ok(Some(told(&image, &wanted.image)))
            }
            Ok(Some(image)) => self.hold(pod, wanted, image).await.map(Some),
            Err(error) => Err(failure(error)),
        }
    }

    /// Pulls an image, and holds it.
    pub(crate) async fn pull(
        &self,
        pod: &PodUid,
        wanted: &Wanted,
        credentials: Vec<Credential>,
    ) -> Result<input::Image, ImageFailure> {
        let pulled = self.images.pull(&wanted.image, credentials).await;
        self.changed.notify_one();
        self.hold(pod, wanted, pulled.map_err(failure)?).await
    }

    async fn hold(
        &self,
        pod: &PodUid,
        wanted: &Wanted,
        image: Image,
    ) -> Result<input::Image, ImageFailure> {
        let held = self.images.hold(pod.as_str(), &image.id).await;
        held.map_err(failure)?;
        let told = told(&image, &wanted.image);
        let mut all = self.locked();
        let of_pod = all.entry(pod.clone()).or_default();
        of_pod.insert(image.id.0.clone(), Arc::new(image));
        Ok(told)
    }
}

/// An image, as the engine knows it.
///
/// Upstream: containerd internal/cri/server/container_status.go, ContainerStatus (the first of its tags, else
/// what the spec says).
/// Shown by: what_is_looked_up_is_held_and_what_cannot_be_had_has_its_code.
fn told(image: &Image, reference: &str) -> input::Image {
    let name = image.tags.first().map_or(reference, String::as_str);
    input::Image {
        id: image.id.0.clone(),
        name: name.to_owned(),
        status_id: image.status_id().to_owned(),
        size: image.size,
    }
}

fn failure(error: ImageError) -> ImageFailure {
    match error {
        ImageError::Name { .. } => ImageFailure::Name(error.to_string()),
        ImageError::Failed(text) => ImageFailure::Failed(text),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use probelet_runtime::{ImageConfig, ImageId, ImageRoot};

    use super::*;

    /// Images whose answers are as a test wants them.
    #[derive(Debug, Default)]
    pub(crate) struct Scripted {
        there: Mutex<BTreeMap<String, Image>>,
        holds: Mutex<BTreeSet<(String, String)>>,
        /// A pull goes on when this is told.
        gate: Option<Arc<Notify>>,
        /// What pulls were allowed to log in with.
        pub(crate) logins: Mutex<Vec<Credential>>,
    }

    impl Scripted {
        pub(crate) fn holds(&self) -> Vec<(String, String)> {
            self.holds.lock().unwrap().iter().cloned().collect()
        }
    }

    fn image(tag: Option<&str>) -> Image {
        Image {
            id: ImageId("sha256:1".to_owned()),
            tags: tag.into_iter().map(str::to_owned).collect(),
            digests: vec!["docker.io/library/app@sha256:2".to_owned()],
            size: 3,
            config: ImageConfig {
                entrypoint: vec!["/app".to_owned()],
                ..ImageConfig::default()
            },
            root: ImageRoot {
                layers: vec!["/layer".into()],
                volumes: Vec::new(),
            },
        }
    }

    impl Images for Scripted {
        async fn image(&self, reference: &str) -> Result<Option<Image>, ImageError> {
            if reference == "A" {
                return Err(ImageError::Name {
                    reference: reference.to_owned(),
                    reason: "it must be lower case".to_owned(),
                });
            }
            Ok(self.there.lock().unwrap().get(reference).cloned())
        }

        async fn pull(
            &self,
            reference: &str,
            credentials: Vec<Credential>,
        ) -> Result<Image, ImageError> {
            self.logins.lock().unwrap().extend(credentials);
            if let Some(gate) = &self.gate {
                gate.notified().await;
            }
            if reference == "away" {
                return Err(ImageError::Failed("no route".to_owned()));
            }
            Ok(image(None))
        }

        async fn hold(&self, holder: &str, image: &ImageId) -> Result<(), ImageError> {
            let one = (holder.to_owned(), image.0.clone());
            self.holds.lock().unwrap().insert(one);
            Ok(())
        }

        async fn release(&self, holder: &str) -> Result<(), ImageError> {
            self.holds.lock().unwrap().retain(|(by, _)| by != holder);
            Ok(())
        }

        async fn images(&self) -> Result<Vec<Image>, ImageError> {
            Ok(self.there.lock().unwrap().values().cloned().collect())
        }
    }

    fn wanted(image: &str, policy: PullPolicy) -> Wanted {
        Wanted {
            image: image.to_owned(),
            policy,
            is_init: false,
        }
    }

    #[tokio::test]
    async fn what_is_looked_up_is_held_and_what_cannot_be_had_has_its_code() {
        use PullPolicy::{Always, IfNotPresent, Never};
        let there = image(Some("docker.io/library/app:1"));
        let images = Arc::new(Scripted {
            there: Mutex::new([("app".to_owned(), there)].into()),
            ..Scripted::default()
        });
        let mut fetches = Fetches::new(Arc::clone(&images), Arc::default());
        let holder = fetches.holder();
        let pod = PodUid::from("p");
        for (image, policy, found, code) in [
            ("app", Always, true, None),
            ("none", Always, false, None),
            ("none", IfNotPresent, false, None),
            ("none", Never, false, Some("ErrImageNeverPull")),
            ("A", Always, false, Some("InvalidImageName")),
        ] {
            let wanted = wanted(image, policy);
            let result = holder.look_up(&pod, &wanted).await;
            assert_eq!(matches!(result, Ok(Some(_))), found, "{image} {policy:?}");
            assert_eq!(wanted.code(&result), code, "{image} {policy:?}");
        }
        assert_eq!(images.holds(), [], "none of these is used");
        let broken = Err(ImageFailure::Failed("disk".to_owned()));
        assert_eq!(
            wanted("app", Never).code(&broken),
            Some("ImageInspectError")
        );
        assert_eq!(wanted("app", Always).code(&broken), None);

        let used = holder.look_up(&pod, &wanted("app", IfNotPresent)).await;
        let used = used.unwrap().unwrap();
        assert_eq!(used.name, "docker.io/library/app:1");
        assert_eq!(used.status_id, "docker.io/library/app@sha256:2");
        let hold = ("p".to_owned(), "sha256:1".to_owned());
        assert_eq!(images.holds(), [hold]);
        assert!(fetches.held(&pod, "sha256:1").is_some());
        fetches.release(&pod).await.unwrap();
        assert_eq!(images.holds(), []);
        assert!(fetches.held(&pod, "sha256:1").is_none());
    }

    #[tokio::test]
    async fn what_is_pulled_is_held_and_told_of() {
        let images = Arc::new(Scripted::default());
        let changed = Arc::new(Notify::new());
        let fetches = Fetches::new(Arc::clone(&images), Arc::clone(&changed));
        let (holder, pod) = (fetches.holder(), PodUid::from("p"));
        let always = |image| wanted(image, PullPolicy::Always);
        let pulled = holder.pull(&pod, &always("app:2"), Vec::new()).await;
        assert_eq!(pulled.unwrap().name, "app:2", "it has no other tag");
        assert_eq!(images.holds().len(), 1);
        changed.notified().await;
        let away = holder.pull(&pod, &always("away"), Vec::new()).await;
        assert_eq!(away, Err(ImageFailure::Failed("no route".to_owned())));
    }

    #[tokio::test]
    async fn a_pod_that_goes_leaves_no_pull_and_no_hold() {
        let gate = Arc::new(Notify::new());
        let images = Arc::new(Scripted {
            gate: Some(Arc::clone(&gate)),
            ..Scripted::default()
        });
        let mut fetches = Fetches::new(Arc::clone(&images), Arc::default());
        let (holder, pod) = (fetches.holder(), PodUid::from("p"));
        let (told, mut tells) = tokio::sync::mpsc::channel(1);
        let pull = {
            let pod = pod.clone();
            async move {
                let wanted = wanted("app", PullPolicy::Always);
                let result = holder.pull(&pod, &wanted, Vec::new()).await;
                told.send(result).await.unwrap();
            }
        };
        fetches.spawn(&pod, pull);
        tokio::task::yield_now().await;
        fetches.release(&pod).await.unwrap();
        gate.notify_one();
        assert_eq!(tells.recv().await, None, "the pull has been given up");
        assert_eq!(images.holds(), []);
    }
}
