//! Lifecycle hooks: how one is run, and how it is told that its container has ended.

use std::collections::BTreeMap;
use std::time::Duration;

use probelet_engine::effect::HookMoment;
use probelet_model::id::{ContainerId, PodUid};
use probelet_model::pod::{Hook, Pod};
use probelet_model::probe::{Handler, Outcome, ProberError, Scheme};
use probelet_probe::{OUTPUT_LIMIT, Target, go};
use probelet_runtime::{ExecRequest, Runtime};
use tokio::sync::oneshot;

/// For a hook without a limit; what it waits for ends with its container.
const UNLIMITED: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What the target of a hook sees as User-Agent unless the manifest says something else.
///
/// Upstream: pkg/probe/http/request.go, newProbeRequest (with `lifecycle`).
/// Shown by: a_hook_names_itself_unless_the_manifest_does, http_hooks_name_themselves_and_any_answer_will_do.
const USER_AGENT: &str = "kube-lifecycle/1.35";

/// The containers that hooks run in.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    /// Of each hook that may still run, the end that is dropped when its container has ended.
    running: BTreeMap<(PodUid, ContainerId), Vec<oneshot::Sender<()>>>,
}

/// Of one hook; answers when the container has ended.
pub(crate) type ContainerEnd = oneshot::Receiver<()>;

impl Hooks {
    /// A hook of this container, which runs, begins.
    pub(crate) fn begin(&mut self, pod: PodUid, container: ContainerId) -> ContainerEnd {
        let (sender, end) = oneshot::channel();
        let of_container = self.running.entry((pod, container)).or_default();
        of_container.retain(|hook| !hook.is_closed());
        of_container.push(sender);
        end
    }

    /// That container has ended.
    pub(crate) fn container_ended(&mut self, pod: &PodUid, container: &ContainerId) {
        self.running.remove(&(pod.clone(), container.clone()));
    }

    /// All of that pod's containers have ended.
    pub(crate) fn pod_lost(&mut self, pod: &PodUid) {
        self.running.retain(|(of, _), _| of != pod);
    }
}

/// Runs a hook, for no longer than its container lives. An error says why it failed, in upstream's words.
/// Of an httpGet only a failing exchange is a failure, not the status it answers with; `$(VAR)` in a command
/// stays as it is.
///
/// Upstream: kubelet pkg/kubelet/lifecycle/handlers.go, Run.
/// Differs: a redirect to another host is not followed.
/// Shown by: http_hooks_name_themselves_and_any_answer_will_do,
/// the_end_of_its_container_ends_a_hook_and_no_other.
pub(crate) async fn run<R: Runtime>(
    target: Target<'_, R>,
    pod: &Pod,
    hook: &Hook,
    moment: HookMoment,
    timeout: Option<Duration>,
    end: ContainerEnd,
) -> Result<(), String> {
    let timeout = timeout.unwrap_or(UNLIMITED);
    let done = async {
        match hook {
            Hook::Sleep(duration) => {
                tokio::time::sleep(*duration).await;
                Ok(())
            }
            Hook::Handler(Handler::Exec { command }) => execute(&target, command, timeout).await,
            Hook::Handler(handler) => request(&target, handler, timeout).await,
        }
    };
    let moment = match moment {
        HookMoment::PostStart => "postStart",
        HookMoment::PreStop => "preStop",
    };
    let result = tokio::select! {
        // What a hook has achieved by the end of its container stands.
        biased;
        result = done => result,
        _ = end => Err(format!("container terminated before {moment} hook finished")),
    };
    result.map_err(|error| {
        let pod = format!("{}({})", pod.full_name(), pod.uid);
        let (what, container) = (name(hook), &target.spec.name);
        format!("{what} for Container \"{container}\" in Pod \"{pod}\" failed - error: {error}")
    })
}

/// `Sleep lifecycle hook (5)`.
fn name(hook: &Hook) -> String {
    match hook {
        Hook::Sleep(duration) => format!("Sleep lifecycle hook ({})", duration.as_secs()),
        Hook::Handler(Handler::Exec { command }) => {
            format!("Exec lifecycle hook ([{}])", command.join(" "))
        }
        Hook::Handler(Handler::HttpGet { path, .. }) => format!("HTTP lifecycle hook ({path})"),
        Hook::Handler(handler) => format!("{} lifecycle hook", handler.field()),
    }
}

/// A command in the container; it fails with an exit code other than 0.
///
/// Upstream: cri-client pkg/remote_runtime.go, execSync (the words for an exit code).
/// Shown by: a_container_whose_post_start_hook_fails_is_killed_and_started_again.
async fn execute<R: Runtime>(
    target: &Target<'_, R>,
    command: &[String],
    timeout: Duration,
) -> Result<(), String> {
    let request = ExecRequest {
        argv: command.to_vec(),
        timeout,
        output_limit: OUTPUT_LIMIT,
    };
    let (error, output) = match target
        .runtime
        .exec(target.pod, target.container, request)
        .await
    {
        Ok(ended) if ended.exit_code == 0 => return Ok(()),
        Ok(ended) => {
            let stderr = String::from_utf8_lossy(&ended.stderr);
            let code = ended.exit_code;
            let error = format!(
                "command '{}' exited with {code}: {stderr}",
                command.join(" ")
            );
            (error, [ended.stdout, ended.stderr].concat())
        }
        Err(error) => (error.to_string(), Vec::new()),
    };
    Err(format!("{error}, message: {}", go::quote(&output)))
}

async fn request<R: Runtime>(
    target: &Target<'_, R>,
    handler: &Handler,
    timeout: Duration,
) -> Result<(), String> {
    let handler = with_user_agent(handler.clone());
    let attempt = probelet_probe::attempt(target, &handler, timeout).await;
    let attempt = match in_the_clear(&handler).filter(|_| speaks_no_tls(&attempt)) {
        Some(in_the_clear) => {
            tracing::warn!(pod = %target.pod, container = %target.container,
                "HTTPS lifecycle hook got HTTP response, retrying with HTTP");
            probelet_probe::attempt(target, &in_the_clear, timeout).await
        }
        None => attempt,
    };
    match attempt {
        Ok(outcome) if outcome.status.is_success() || outcome.code.is_some() => Ok(()),
        Ok(outcome) => Err(outcome.output),
        Err(error) => Err(error.message),
    }
}

fn with_user_agent(mut handler: Handler) -> Handler {
    if let Handler::HttpGet { headers, .. } = &mut handler
        && !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("User-Agent"))
    {
        headers.push(("User-Agent".to_owned(), USER_AGENT.to_owned()));
    }
    handler
}

/// Whether an httpGet over TLS met a server that answers in plain HTTP, for which it is tried again so.
///
/// Upstream: kubelet pkg/kubelet/lifecycle/handlers.go, isHTTPResponseError.
/// Shown by: an_https_hook_that_meets_http_goes_without_tls_and_credentials.
fn speaks_no_tls(attempt: &Result<Outcome, ProberError>) -> bool {
    attempt.as_ref().is_ok_and(|outcome| {
        outcome.code.is_none()
            && outcome
                .output
                .contains("server gave HTTP response to HTTPS client")
    })
}

/// The same request over HTTP, without its credentials.
fn in_the_clear(handler: &Handler) -> Option<Handler> {
    let mut handler = handler.clone();
    match &mut handler {
        Handler::HttpGet {
            scheme: scheme @ Scheme::Https,
            headers,
            ..
        } => {
            *scheme = Scheme::Http;
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Authorization"));
            Some(handler)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use probelet_model::probe::PortRef;
    use probelet_model::time::Wall;
    use probelet_runtime_native::{NativeRuntime, Options};
    use serde_json::json;

    use super::*;

    fn get(scheme: Scheme, headers: &[(&str, &str)]) -> Handler {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Handler::HttpGet {
            host: None,
            port: PortRef::Number(80),
            path: "/".to_owned(),
            scheme,
            headers: headers.collect(),
        }
    }

    fn headers(handler: &Handler) -> Vec<(&str, &str)> {
        let Handler::HttpGet { headers, .. } = handler else {
            panic!("{handler:?}");
        };
        headers
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect()
    }

    #[test]
    fn a_hook_names_itself_unless_the_manifest_does() {
        let named = with_user_agent(get(Scheme::Http, &[("A", "b")]));
        assert_eq!(headers(&named), [("A", "b"), ("User-Agent", USER_AGENT)]);
        let own = with_user_agent(get(Scheme::Http, &[("user-agent", "own")]));
        assert_eq!(headers(&own), [("user-agent", "own")]);
    }

    #[test]
    fn only_https_that_met_http_is_tried_in_the_clear_and_without_credentials() {
        let https = get(Scheme::Https, &[("Authorization", "secret"), ("A", "b")]);
        let clear = in_the_clear(&https).unwrap();
        assert_eq!(clear, get(Scheme::Http, &[("A", "b")]));
        assert_eq!(in_the_clear(&clear), None);
        assert_eq!(
            in_the_clear(&Handler::Exec {
                command: vec!["true".into()]
            }),
            None
        );
    }

    /// Runs a hook in a container that nothing runs, and ends the container as soon as `ends`.
    async fn run_one(hook: Hook, ends: bool) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let runtime = NativeRuntime::new(Options {
            data_dir: dir.path().to_owned(),
            shim_command: Vec::new(),
        });
        let (pod, container) = (PodUid::from("pod"), ContainerId::from("run"));
        let mut hooks = Hooks::default();
        let end = hooks.begin(pod.clone(), container.clone());
        let other = hooks.begin(pod.clone(), ContainerId::from("other"));
        if ends {
            hooks.container_ended(&pod, &container);
        }
        let spec = spec();
        let target = Target {
            runtime: &runtime.unwrap(),
            pod: &pod,
            container: &container,
            spec: &spec.containers[0],
            pod_ip: None::<IpAddr>,
        };
        let result = run(target, &spec, &hook, HookMoment::PreStop, None, end).await;
        drop(other);
        result
    }

    fn spec() -> Pod {
        let created_at = Wall::default().to_string();
        let pod = json!({
            "metadata": { "name": "p", "namespace": "default", "uid": "u", "creationTimestamp": created_at },
            "spec": { "runtimeClassName": "host", "containers": [
                { "name": "c", "image": "none", "command": ["true"] },
            ] },
        });
        Pod::from_value(&pod).unwrap()
    }

    #[tokio::test]
    async fn the_end_of_its_container_ends_a_hook_and_no_other() {
        let forever = Hook::Sleep(Duration::from_secs(1_000_000));
        let text = "Sleep lifecycle hook (1000000) for Container \"c\" in Pod \"p_default(u)\" failed - error: \
                    container terminated before preStop hook finished";
        assert_eq!(run_one(forever, true).await, Err(text.to_owned()));
        assert_eq!(
            run_one(Hook::Sleep(Duration::from_millis(1)), false).await,
            Ok(())
        );
        let command = ["echo", "$(HOME)"].map(str::to_owned).into();
        let exec = Hook::Handler(Handler::Exec { command });
        let text = "Exec lifecycle hook ([echo $(HOME)]) for Container \"c\" in Pod \"p_default(u)\" failed - \
                    error: container run is not running, message: \"\"";
        assert_eq!(run_one(exec, false).await, Err(text.to_owned()));
        let text = "HTTP lifecycle hook (/) for Container \"c\" in Pod \"p_default(u)\" failed - error: \
                    the pod has no address yet";
        let get = Hook::Handler(get(Scheme::Http, &[]));
        assert_eq!(run_one(get, false).await, Err(text.to_owned()));
    }

    #[test]
    fn a_lost_pod_ends_all_its_hooks() {
        let mut hooks = Hooks::default();
        let one = hooks.begin("a".into(), "1".into());
        let two = hooks.begin("a".into(), "2".into());
        let mut three = hooks.begin("b".into(), "1".into());
        hooks.pod_lost(&"a".into());
        for mut ended in [one, two] {
            assert_eq!(ended.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        }
        assert_eq!(three.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    }
}
