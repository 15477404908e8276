//! Effects that take time: each runs as a task of its own and answers with one input.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use probelet_engine::effect::HookMoment;
use probelet_engine::input::{AttemptId, ContainerFailure, Input, OperationId, PodFailure};
use probelet_model::id::{ContainerId, ContainerName, Kind, ObjectKey, PodUid};
use probelet_model::pod::{Container, Hook, Pod};
use probelet_model::probe::{ProbeKind, ProberError};
use probelet_model::time::Mono;
use probelet_probe::Target;
use probelet_runtime::{
    ContainerConfig, Credential, Images, Network, PodConfig, Runtime, RuntimeError,
    StartContainerError, StartPodError, VolumeFiles,
};
use tokio::sync::{Semaphore, mpsc};

use crate::clock;
use crate::configuration::Invocation;
use crate::fetch::{Fetches, PULL_FAILED, Wanted};
use crate::hook::{self, Hooks};
use crate::identity;
use crate::metrics::Metrics;
use crate::names::{Eager, Files, Names};
use crate::pod_ip::addresses;

/// How many attempts may be under way at one time. One that waits for its turn has not begun, and its
/// timeout does not run.
const ATTEMPTS_UNDER_WAY: usize = 1024;

/// One run of a container, as an attempt or a hook meets it.
#[derive(Clone, Debug)]
pub(crate) struct ContainerRun {
    pub(crate) pod: Arc<Pod>,
    pub(crate) name: ContainerName,
    pub(crate) id: ContainerId,
    /// The pod's address.
    pub(crate) ip: Option<IpAddr>,
}

impl ContainerRun {
    fn target<'a, R>(&'a self, runtime: &'a R, spec: &'a Container) -> Target<'a, R> {
        Target {
            runtime,
            pod: &self.pod.uid,
            container: &self.id,
            spec,
            pod_ip: self.ip,
        }
    }
}

/// Starts the tasks.
#[derive(Debug)]
pub(crate) struct Operations<R, I> {
    runtime: Arc<R>,
    pub(crate) fetches: Fetches<I>,
    /// Bounded: a task whose answer finds it full waits.
    answers: mpsc::Sender<Input>,
    attempts: Arc<Semaphore>,
    hooks: Hooks,
    metrics: Arc<Metrics>,
    names: Arc<Names<R>>,
}

impl<R: Runtime, I: Images> Operations<R, I> {
    pub(crate) fn new(
        runtime: Arc<R>,
        fetches: Fetches<I>,
        answers: mpsc::Sender<Input>,
        metrics: Arc<Metrics>,
        names: Arc<Names<R>>,
    ) -> Self {
        Self {
            runtime,
            fetches,
            answers,
            attempts: Arc::new(Semaphore::new(ATTEMPTS_UNDER_WAY)),
            hooks: Hooks::default(),
            metrics,
            names,
        }
    }

    pub(crate) fn start_pod(
        &self,
        operation: OperationId,
        pod: &Pod,
        ip: IpAddr,
        volume_files: BTreeMap<String, VolumeFiles>,
        files: Files,
    ) {
        let config = PodConfig {
            uid: pod.uid.clone(),
            namespace: pod.meta.namespace.clone(),
            name: pod.meta.name.clone(),
            hostname: host_name(pod),
            network: if pod.host_network {
                Network::Host
            } else {
                Network::Own(ip)
            },
            volumes: pod.volumes.clone(),
            volume_files,
            namespaces: pod.namespaces,
            security: pod.security.clone(),
            hosts: Some(files.hosts),
            resolv_conf: Some(files.resolv_conf),
            qos: pod.qos(),
            resources: pod.resources(),
        };
        let network = config.network;
        self.metrics.pod_start();
        let metrics = Arc::clone(&self.metrics);
        let names = Arc::clone(&self.names);
        let eager = (!pod.host_network).then(|| Eager::links(pod));
        self.answer(move |runtime| async move {
            let pod = config.uid.clone();
            let result = runtime
                .start_pod(config)
                .await
                .map(|()| addresses(&*runtime, network, ip))
                .map_err(|error| match error {
                    StartPodError::Volume(message) => PodFailure::Volume(message),
                    StartPodError::Sandbox(message) => PodFailure::Sandbox(message),
                });
            if let (Ok(_), Some(eager)) = (&result, eager) {
                names.enter(&pod, eager).await;
            }
            if result.is_err() {
                metrics.pod_start_failed();
            }
            Input::PodStarted {
                pod,
                operation,
                result,
            }
        });
    }

    pub(crate) fn start_container(
        &self,
        operation: OperationId,
        pod: &Arc<Pod>,
        name: &ContainerName,
        id: ContainerId,
        restart_count: u32,
        invocation: Invocation,
    ) {
        let Some(spec) = pod.container(name.as_str()) else {
            return;
        };
        let config = ContainerConfig {
            id,
            name: name.clone(),
            restart_count,
            argv: invocation.argv,
            env: invocation.env,
            working_dir: invocation.working_dir,
            mounts: invocation.mounts,
            user: spec.user,
            image: invocation.root,
            image_user: invocation.image_user,
            security: spec.security.clone(),
            resources: spec.resources,
            memory_that_counts: pod.memory_that_counts(spec),
            stop_signal: invocation.stop_signal,
            termination_message: spec.termination_message.clone(),
            stdin: spec.stdin,
            stdin_once: spec.stdin_once,
            tty: spec.tty,
        };
        let is_init = pod.init_containers.iter().any(|init| init.name == *name);
        let key = ObjectKey::new(Kind::Pod, &pod.meta.namespace, &pod.meta.name);
        self.metrics
            .container_start(&pod.uid, &key, name.as_str(), is_init, restart_count);
        let metrics = Arc::clone(&self.metrics);
        let names = Arc::clone(&self.names);
        let pod = pod.uid.clone();
        self.answer(move |runtime| async move {
            // What its environment tells of can be reached.
            names.open_eager(&pod).await;
            let result = match runtime.start_container(&pod, config).await {
                Ok(started) => Ok(started.started_at),
                Err(StartContainerError::Config(message)) => Err(ContainerFailure::Config(message)),
                Err(
                    StartContainerError::Start(message) | StartContainerError::Command(message),
                ) => Err(ContainerFailure::Start(message)),
                Err(error @ (StartContainerError::NoPod(_) | StartContainerError::Create(_))) => {
                    Err(ContainerFailure::Create(error.to_string()))
                }
            };
            if let Err(failure) = &result {
                metrics.container_start_failed(is_init, code(failure));
            }
            Input::ContainerStarted {
                pod,
                operation,
                result,
            }
        });
    }

    /// Looks for an image, and holds it for the pod if it is to be used as it is.
    pub(crate) fn look_up_image(
        &mut self,
        operation: OperationId,
        pod: &Pod,
        name: &ContainerName,
        image: String,
    ) {
        let Some(wanted) = Wanted::of(pod, name, image) else {
            return;
        };
        let (holder, metrics) = (self.fetches.holder(), Arc::clone(&self.metrics));
        let answers = self.answers.clone();
        let pod = pod.uid.clone();
        self.fetches.spawn(&pod.clone(), async move {
            let result = holder.look_up(&pod, &wanted).await;
            if let Some(code) = wanted.code(&result) {
                metrics.container_start_failed(wanted.is_init, code);
            }
            let input = Input::ImageLookedUp {
                pod,
                operation,
                result,
            };
            let _ended = answers.send(input).await;
        });
    }

    /// Pulls an image, and holds it for the pod.
    pub(crate) fn pull_image(
        &mut self,
        operation: OperationId,
        pod: &Pod,
        name: &ContainerName,
        image: String,
        credentials: Vec<Credential>,
    ) {
        let Some(wanted) = Wanted::of(pod, name, image) else {
            return;
        };
        let (holder, metrics) = (self.fetches.holder(), Arc::clone(&self.metrics));
        let answers = self.answers.clone();
        let pod = pod.uid.clone();
        self.fetches.spawn(&pod.clone(), async move {
            let result = holder.pull(&pod, &wanted, credentials).await;
            if result.is_err() {
                metrics.container_start_failed(wanted.is_init, PULL_FAILED);
            }
            let input = Input::ImagePulled {
                pod,
                operation,
                result,
            };
            let _ended = answers.send(input).await;
        });
    }

    /// Gives volumes of a pod new content. A pod that has none yet gets it when it starts.
    pub(crate) fn update_volumes(&self, pod: PodUid, volumes: BTreeMap<String, VolumeFiles>) {
        let runtime = Arc::clone(&self.runtime);
        tokio::spawn(async move {
            for (volume, files) in volumes {
                match runtime.update_volume(&pod, &volume, files).await {
                    Ok(()) | Err(RuntimeError::NoPod(_)) => {}
                    Err(error) => tracing::warn!(%pod, volume, "cannot update volume: {error}"),
                }
            }
        });
    }

    /// The exit answers; that the runtime could not even be asked is only logged, as a lost sandbox is
    /// told by an event of its own.
    pub(crate) fn stop_container(&self, pod: PodUid, container: ContainerId, grace: Duration) {
        let runtime = Arc::clone(&self.runtime);
        tokio::spawn(async move {
            if let Err(error) = runtime.stop_container(&pod, &container, grace).await {
                tracing::warn!(%pod, %container, "cannot stop container: {error}");
            }
        });
    }

    /// Removes all of a pod; then nothing holds its images any more, if it may have some.
    pub(crate) fn remove_pod(&mut self, operation: OperationId, pod: PodUid, has_images: bool) {
        // Its namespaces are kept for as long as there is a socket in them.
        self.names.leave(&pod);
        let release = has_images.then(|| self.fetches.release(&pod));
        self.answer(move |runtime| async move {
            let result = match (runtime.remove_pod(&pod).await, release) {
                (Ok(()), None) => Ok(()),
                (Ok(()), Some(release)) => release.await,
                (Err(error), _) => Err(error.to_string()),
            };
            Input::PodRemoved {
                pod,
                operation,
                result,
            }
        });
    }

    pub(crate) fn run_hook(
        &mut self,
        operation: OperationId,
        run: ContainerRun,
        hook: Hook,
        moment: HookMoment,
        timeout: Option<Duration>,
    ) {
        let end = self.hooks.begin(run.pod.uid.clone(), run.id.clone());
        self.answer(move |runtime| async move {
            let result = match run.pod.container(run.name.as_str()) {
                Some(spec) => {
                    hook::run(
                        run.target(&*runtime, spec),
                        &run.pod,
                        &hook,
                        moment,
                        timeout,
                        end,
                    )
                    .await
                }
                None => Err(format!("container {} is not in the pod's spec", run.name)),
            };
            Input::HookFinished {
                pod: run.pod.uid.clone(),
                operation,
                result,
            }
        });
    }

    /// That container has ended, and its hooks with it.
    pub(crate) fn container_ended(&mut self, pod: &PodUid, container: &ContainerId) {
        self.hooks.container_ended(pod, container);
    }

    /// That pod's sandbox is gone, with all that was in it.
    pub(crate) fn pod_lost(&mut self, pod: &PodUid) {
        self.names.leave(pod);
        self.hooks.pod_lost(pod);
    }

    /// Makes an attempt that was due at `due`.
    pub(crate) fn attempt(
        &self,
        attempt: AttemptId,
        run: ContainerRun,
        kind: ProbeKind,
        due: Mono,
    ) {
        let attempts = Arc::clone(&self.attempts);
        let metrics = Arc::clone(&self.metrics);
        self.answer(move |runtime| async move {
            let _turn = attempts
                .acquire()
                .await
                .expect("the semaphore is never closed");
            metrics.began(clock::now().mono.since(due));
            let container = run.pod.container(run.name.as_str());
            let (result, duration) =
                match container.and_then(|spec| Some((spec, spec.probe(kind)?))) {
                    Some((spec, probe)) => {
                        let report = probelet_probe::run(run.target(&*runtime, spec), probe).await;
                        (report.result, report.duration)
                    }
                    None => {
                        let message = format!(
                            "missing probe handler for {}:{}",
                            run.pod.full_name(),
                            run.name
                        );
                        (Err(ProberError { message }), Duration::ZERO)
                    }
                };
            Input::AttemptFinished {
                pod: run.pod.uid.clone(),
                attempt,
                result,
                duration,
            }
        });
    }

    /// Runs a task and hands in its answer. If nobody takes answers any more, the agent has ended.
    fn answer<F>(&self, work: impl FnOnce(Arc<R>) -> F)
    where
        F: Future<Output = Input> + Send + 'static,
    {
        let answers = self.answers.clone();
        let work = work(Arc::clone(&self.runtime));
        tokio::spawn(async move {
            let _ended = answers.send(work.await).await;
        });
    }
}

/// What a pod is called: on the host's network, as the host.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_sandbox.go, generatePodSandboxConfig; containerd
/// internal/cri/server/container_create.go, buildContainerSpec (`HOSTNAME`).
/// Shown by: a_pod_on_the_hosts_network_is_called_as_the_host.
fn host_name(pod: &Pod) -> String {
    if pod.host_network {
        identity::host_name()
    } else {
        pod.hostname.clone()
    }
}

/// The reason under which upstream counts a start that failed.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, startContainer.
/// Shown by: upstreams_names_and_labels_are_there_and_a_pods_series_go_with_it.
const fn code(failure: &ContainerFailure) -> &'static str {
    match failure {
        ContainerFailure::Config(_) => "CreateContainerConfigError",
        ContainerFailure::Create(_) => "CreateContainerError",
        ContainerFailure::Start(_) => "RunContainerError",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::tests::pod;

    #[test]
    fn a_pod_on_the_hosts_network_is_called_as_the_host() {
        let mut pod = pod();
        pod.hostname = "its-own".to_owned();
        assert_eq!(host_name(&pod), "its-own");
        pod.host_network = true;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(host_name(&pod), host.trim_end());
    }
}
