//! Which container is meant, and which run of it.

use probelet_model::id::{ContainerId, ContainerName, PodUid};
use serde_json::Value;

use crate::failure::Failure;

/// What an id of a container begins with on the wire.
const ID_SCHEME: &str = "probelet://";

/// One run of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) id: ContainerId,
    /// How many runs were before: the number of its log.
    pub(super) restart_count: u32,
    pub(super) running: bool,
    /// It could not be started, so it may have no log.
    pub(super) start_failed: bool,
}

/// `metadata.uid` of a pod.
pub(super) fn uid(pod: &Value) -> PodUid {
    PodUid::from(pod["metadata"]["uid"].as_str().unwrap_or_default())
}

/// The container that a request names, or the only one there is.
///
/// Upstream: pkg/registry/core/pod/strategy.go, validateContainer.
/// Shown by: a_container_is_chosen_or_asked_for.
pub(super) fn choose(pod: &Value, asked: Option<&str>) -> Result<ContainerName, Failure> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
        if names(pod, &["initContainers", "containers"]).any(|known| known == asked) {
            return Ok(asked.into());
        }
        let message = format!("container {asked} is not valid for pod {name}");
        return Err(Failure::bad_request(message));
    }
    let mut regular = names(pod, &["containers"]);
    let message = match (regular.next(), regular.next()) {
        (Some(only), None) => return Ok(only.into()),
        (None, _) => format!("a container name must be specified for pod {name}"),
        (Some(_), Some(_)) => {
            let all: Vec<&str> = names(pod, &["initContainers", "containers"]).collect();
            let all = all.join(" ");
            format!("a container name must be specified for pod {name}, choose one of: [{all}]")
        }
    };
    Err(Failure::bad_request(message))
}

fn names<'a>(pod: &'a Value, lists: &'a [&str]) -> impl Iterator<Item = &'a str> {
    lists
        .iter()
        .filter_map(|list| pod["spec"][list].as_array())
        .flatten()
        .filter_map(|container| container["name"].as_str())
}

/// The run of a container that is running.
pub(super) fn running(pod: &Value, container: &ContainerName) -> Option<ContainerId> {
    let status = status(pod, container)?;
    status["state"]["running"].as_object()?;
    id(&status["containerID"])
}

/// The run whose log is meant: the one that runs, else the last that did; the one before, if `previous`.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, validateContainerLogStatus.
/// Shown by: a_log_is_that_of_the_run_which_is_meant.
pub(super) fn logged(
    pod: &Value,
    container: &ContainerName,
    previous: bool,
) -> Result<Run, String> {
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let about = format!("container {:?} in pod {pod_name:?}", container.as_str());
    let status = status(pod, container).ok_or_else(|| format!("{about} is not available"))?;
    let count = status["restartCount"].as_u64().unwrap_or_default();
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let state = &status["state"];
    let last = id(&status["lastState"]["terminated"]["containerID"]);
    let start_failed = |end: &Value| end["terminated"]["reason"] == "StartError";
    // While it waits to run again its newest run is the one in `lastState`.
    let waits = state["running"].is_null() && state["terminated"].is_null();
    let before = Run {
        id: last.clone().unwrap_or_else(|| "".into()),
        restart_count: if waits {
            count
        } else {
            count.saturating_sub(1)
        },
        running: false,
        start_failed: start_failed(&status["lastState"]),
    };
    if previous {
        let missing = format!("previous terminated {about} not found");
        return last.map(|_| before).ok_or(missing);
    }
    if state["running"].is_object() {
        return Ok(Run {
            id: id(&status["containerID"]).unwrap_or_else(|| "".into()),
            restart_count: count,
            running: true,
            start_failed: false,
        });
    }
    if state["terminated"].is_object()
        && let Some(id) = id(&state["terminated"]["containerID"])
    {
        return Ok(Run {
            id,
            restart_count: count,
            running: false,
            start_failed: start_failed(state),
        });
    }
    if last.is_some() {
        return Ok(before);
    }
    if state["terminated"].is_object() || status["lastState"]["terminated"].is_object() {
        return Err(format!("{about} is terminated"));
    }
    Err(match state["waiting"]["reason"].as_str() {
        Some("ErrImagePull") => format!("{about} is waiting to start: image can't be pulled"),
        Some("ImagePullBackOff") => {
            format!("{about} is waiting to start: trying and failing to pull image")
        }
        Some(reason) => format!("{about} is waiting to start: {reason}"),
        None => format!("{about} is waiting to start - no logs yet"),
    })
}

fn status<'a>(pod: &'a Value, container: &ContainerName) -> Option<&'a Value> {
    ["containerStatuses", "initContainerStatuses"]
        .iter()
        .filter_map(|list| pod["status"][list].as_array())
        .flatten()
        .find(|status| status["name"] == container.as_str())
}

fn id(on_the_wire: &Value) -> Option<ContainerId> {
    let text = on_the_wire.as_str()?;
    let id = text.strip_prefix(ID_SCHEME).unwrap_or(text);
    (!id.is_empty()).then(|| id.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_chosen_or_asked_for() {
        let pod = |init: &[&str], regular: &[&str]| {
            let named = |names: &[&str]| -> Vec<Value> {
                names.iter().map(|name| json!({"name": name})).collect()
            };
            json!({"metadata": {"name": "p"},
                "spec": {"initContainers": named(init), "containers": named(regular)}})
        };
        let check = |pod: &Value, asked: Option<&str>, expected: Result<&str, &str>| {
            let chosen = choose(pod, asked);
            let chosen = chosen
                .as_ref()
                .map(ContainerName::as_str)
                .map_err(|failure| {
                    assert_eq!(failure.code, 400);
                    failure.message.as_str()
                });
            assert_eq!(chosen, expected);
        };
        let one = pod(&["setup"], &["a"]);
        check(&one, None, Ok("a"));
        check(&one, Some(""), Ok("a"));
        check(&one, Some("setup"), Ok("setup"));
        check(&one, Some("x"), Err("container x is not valid for pod p"));
        let two = pod(&["setup"], &["a", "b"]);
        check(&two, Some("b"), Ok("b"));
        let asks = "a container name must be specified for pod p, choose one of: [setup a b]";
        check(&two, None, Err(asks));
        let asks = "a container name must be specified for pod p";
        check(&pod(&[], &[]), None, Err(asks));
    }

    #[test]
    fn a_log_is_that_of_the_run_which_is_meant() {
        let running = json!({"running": {}});
        let ended = |id: &str| json!({"terminated": {"containerID": id}});
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        let none = json!({});
        let check = |state: &Value, last: &Value, count, previous, expected: Result<_, &str>| {
            let pod = json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [{
                "name": "c", "state": state, "lastState": last, "restartCount": count,
                "containerID": "probelet://now"}]}});
            let run = logged(&pod, &"c".into(), previous);
            let run = run
                .as_ref()
                .map(|run| (run.id.as_str(), run.restart_count, run.running))
                .map_err(String::as_str);
            assert_eq!(run, expected);
        };
        check(&running, &none, 0, false, Ok(("now", 0, true)));
        check(
            &running,
            &ended("probelet://old"),
            3,
            false,
            Ok(("now", 3, true)),
        );
        check(
            &running,
            &ended("probelet://old"),
            3,
            true,
            Ok(("old", 2, false)),
        );
        check(&ended("x"), &none, 0, false, Ok(("x", 0, false)));
        check(&ended("x"), &ended("y"), 5, true, Ok(("y", 4, false)));
        let back_off = waiting("CrashLoopBackOff");
        check(&back_off, &ended("x"), 5, false, Ok(("x", 5, false)));
        check(&back_off, &ended("x"), 5, true, Ok(("x", 5, false)));
        let missing = Err("previous terminated container \"c\" in pod \"p\" not found");
        check(&running, &none, 0, true, missing);
        check(&running, &ended(""), 1, true, missing);
        let terminated = Err("container \"c\" in pod \"p\" is terminated");
        check(&ended(""), &none, 0, false, terminated);
        check(&back_off, &ended(""), 1, false, terminated);
        check(&ended(""), &ended("y"), 2, false, Ok(("y", 1, false)));
        for (reason, said) in [
            ("ContainerCreating", "ContainerCreating"),
            ("ErrImagePull", "image can't be pulled"),
            ("ImagePullBackOff", "trying and failing to pull image"),
        ] {
            let said = format!("container \"c\" in pod \"p\" is waiting to start: {said}");
            check(&waiting(reason), &none, 0, false, Err(&said));
        }
        let nothing = "container \"c\" in pod \"p\" is waiting to start - no logs yet";
        check(&none, &none, 0, false, Err(nothing));
        let unknown = logged(&json!({"metadata": {"name": "p"}}), &"c".into(), false);
        assert_eq!(
            unknown,
            Err("container \"c\" in pod \"p\" is not available".to_owned())
        );
    }
}
