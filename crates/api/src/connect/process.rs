//! `exec` and `attach`: the streams of a process in a container.

use std::future::{Future, pending};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use probelet_model::id::{ContainerId, ContainerName, PodUid};
use probelet_runtime::{ExecError, Runtime, Session, SessionRequest, Streams};
use probelet_store::Object;
use probelet_streams::remote::{self, Remote, Wanted};
use probelet_streams::websocket::Protocol;
use probelet_streams::{IDLE, Outgoing, spdy};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::container;
use super::descriptor::{copy_in, copy_out, resize};
use super::upgrade::{
    self, Offer, spdy_protocol, to_spdy, to_websocket, together, websocket_protocol,
};
use crate::body::Response;
use crate::failure::Failure;
use crate::route::Query;

/// What SPDY clients may choose of.
///
/// Differs: upstream still talks the three before, to clients of 2016 and earlier, which get no exit codes.
/// Shown by: what_a_client_may_choose_of_is_upstreams.
const SPDY: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// What WebSocket clients may choose of.
const WEBSOCKET: [Protocol; 6] = [
    Protocol::V5,
    Protocol::V4,
    Protocol::V4_BASE64,
    Protocol::V1,
    Protocol::V1_BASE64,
    Protocol::UNNAMED,
];

/// What to ask of the runtime.
#[derive(Clone, Debug)]
enum Ask {
    Exec { argv: Vec<String>, tty: bool },
    Attach,
}

impl Ask {
    /// What went wrong, when the streams stand already.
    ///
    /// Upstream: k8s.io/kubelet pkg/cri/streaming/remotecommand/exec.go, ServeExec, and attach.go, ServeAttach.
    /// Shown by: a_command_that_cannot_be_run_is_an_internal_error.
    fn failure(&self, error: &ExecError) -> Failure {
        Failure::internal(match self {
            Self::Exec { .. } => format!("error executing command in container: {error}"),
            Self::Attach => format!("error attaching to container: {error}"),
        })
    }
}

/// A process that can be asked for, and how the client wants its streams.
#[derive(Debug)]
struct Plan {
    pod: PodUid,
    container: ContainerId,
    ask: Ask,
    wanted: Wanted,
}

/// Why there is no process to ask for, in the words of the kubelet.
#[derive(Debug)]
struct Refusal {
    code: StatusCode,
    text: String,
}

/// A command in a container.
pub(super) fn exec<R: Runtime>(
    runtime: &Arc<R>,
    pod: &Object,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Response, Failure> {
    let argv: Vec<String> = query.all("command").map(str::to_owned).collect();
    let tty = query.flag("tty");
    answer(runtime, pod, query, request, Ask::Exec { argv, tty })
}

/// The main process of a container.
pub(super) fn attach<R: Runtime>(
    runtime: &Arc<R>,
    pod: &Object,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Response, Failure> {
    answer(runtime, pod, query, request, Ask::Attach)
}

/// Answers with an upgrade, behind which the process is asked for. What the kubelet would have refused, a client
/// of `v5.channel.k8s.io` learns behind it as well: upstream's API server upgrades before it asks the kubelet.
///
/// Upstream: pkg/registry/core/pod/rest/subresources.go, ExecREST.Connect; apiserver
/// pkg/util/proxy/streamtranslator.go, StreamTranslatorHandler.ServeHTTP.
/// Shown by: a_container_that_does_not_run_is_said_in_upstreams_words.
fn answer<R: Runtime>(
    runtime: &Arc<R>,
    pod: &Object,
    query: &Query,
    request: Request<Incoming>,
    ask: Ask,
) -> Result<Response, Failure> {
    let container = container::choose(&pod.value, query.first("container"))?;
    let offer = Offer::of(request.headers())?;
    let plan = plan(&pod.value, &container, query, ask);
    let runtime = Arc::clone(runtime);
    match offer {
        Offer::WebSocket { protocols } => {
            let protocol = match protocols.iter().any(|offered| offered == Protocol::V5.name) {
                true => Protocol::V5,
                false => websocket_protocol(&protocols, &WEBSOCKET)?,
            };
            let plan = match plan {
                Err(refusal) if protocol != Protocol::V5 => {
                    return Ok(upgrade::words(refusal.code, &refusal.text));
                }
                plan => plan,
            };
            Ok(to_websocket(request, protocol.name, move |io| async move {
                let wanted = plan
                    .as_ref()
                    .map_or_else(|_| Wanted::default(), |plan| plan.wanted);
                let (remote, connection) = remote::over_websocket(io, protocol, wanted, IDLE).await;
                let work = async {
                    match plan {
                        Ok(plan) => serve(&*runtime, plan, remote, protocol.json_status).await,
                        Err(Refusal { text, .. }) => {
                            let failure =
                                Failure::internal(format!("unable to upgrade connection: {text}"));
                            say(remote.status, &status(&failure), true).await;
                        }
                    }
                };
                together(connection.run(), work).await;
            }))
        }
        Offer::Spdy { protocols } => {
            let plan = match plan {
                Ok(plan) => plan,
                Err(refusal) => return Ok(upgrade::words(refusal.code, &refusal.text)),
            };
            let protocol = spdy_protocol(&protocols, &SPDY)?;
            Ok(to_spdy(request, protocol, move |io| async move {
                let (mut accept, connection) = spdy::accept(io, IDLE);
                let work = async move {
                    let Ok(remote) = remote::over_spdy(&mut accept, plan.wanted).await else {
                        return tracing::debug!("a client did not open its streams");
                    };
                    drop(accept);
                    serve(&*runtime, plan, remote, true).await;
                };
                together(connection.run(), work).await;
            }))
        }
    }
}

/// What the client asks for, if it can be had.
///
/// Upstream: k8s.io/kubelet pkg/cri/streaming/remotecommand/httpstream.go, NewOptions; pkg/kubelet/kubelet_pods.go,
/// GetExec and GetAttach.
/// Differs: a command that is missing is said here; upstream's runtimes fail at starting nothing.
/// Shown by: a_container_that_does_not_run_is_said_in_upstreams_words.
fn plan(pod: &Value, container: &ContainerName, query: &Query, ask: Ask) -> Result<Plan, Refusal> {
    let bad_request = |text: &str| Refusal {
        code: StatusCode::BAD_REQUEST,
        text: text.to_owned(),
    };
    let tty = query.flag("tty");
    let wanted = Wanted {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        // On a terminal it comes with stdout.
        stderr: query.flag("stderr") && !tty,
        tty,
    };
    if !wanted.stdin && !wanted.stdout && !wanted.stderr {
        return Err(bad_request(
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    if matches!(&ask, Ask::Exec { argv, .. } if argv.is_empty()) {
        return Err(bad_request(
            "you must specify at least one command for the container",
        ));
    }
    let Some(id) = container::running(pod, container) else {
        let metadata = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
        let (name, namespace) = (metadata("name"), metadata("namespace"));
        return Err(Refusal {
            code: StatusCode::INTERNAL_SERVER_ERROR,
            text: match ask {
                Ask::Exec { .. } => format!("container not found ({:?})", container.as_str()),
                Ask::Attach => format!("container {container} not found in pod {name}_{namespace}"),
            },
        });
    };
    Ok(Plan {
        pod: container::uid(pod),
        container: id,
        ask,
        wanted,
    })
}

/// Asks for the process, carries its streams, and says how it ended.
async fn serve<R: Runtime>(runtime: &R, plan: Plan, remote: Remote, json: bool) {
    let Plan {
        pod,
        container,
        ask,
        wanted,
    } = plan;
    let streams = Streams {
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
    };
    let session = match &ask {
        Ask::Exec { argv, tty } => {
            let request = SessionRequest {
                argv: argv.clone(),
                streams,
                tty: *tty,
            };
            runtime.open_exec(&pod, &container, request).await
        }
        Ask::Attach => runtime.attach(&pod, &container, streams).await,
    };
    let Remote {
        stdin,
        stdout,
        stderr,
        resize: sizes,
        status: verdict,
    } = remote;
    let ended = match session {
        Ok(session) => {
            let Session {
                stdin: stdin_of,
                stdout: stdout_of,
                stderr: stderr_of,
                terminal,
                ended,
            } = session;
            let (done, is_done) = watch::channel(false);
            let ended = async move {
                let ended = ended.await;
                done.send_replace(true);
                // Kept until all has been read.
                (ended, done)
            };
            let output = async {
                let (ended, ..) = tokio::join!(
                    ended,
                    copy_out(stdout_of, stdout, is_done.clone()),
                    copy_out(stderr_of, stderr, is_done),
                );
                ended.0
            };
            let input = async {
                tokio::join!(copy_in(stdin, stdin_of), resize(sizes, terminal));
            };
            let ended = beside(output, input).await;
            let lost = |_| {
                Err(ExecError::Runtime(
                    "the runtime has lost the process".into(),
                ))
            };
            ended.unwrap_or_else(lost)
        }
        Err(error) => Err(error),
    };
    let status = match ended {
        Ok(code) if code != 0 && matches!(ask, Ask::Exec { .. }) => non_zero(code),
        Ok(_) => json!({"metadata": {}, "status": "Success"}),
        Err(error) => status(&ask.failure(&error)),
    };
    say(verdict, &status, json).await;
}

/// Does both, and no more when the first is done.
async fn beside<T>(first: impl Future<Output = T>, second: impl Future<Output = ()>) -> T {
    let second = async {
        second.await;
        pending().await
    };
    tokio::select! {
        done = first => done,
        never = second => never,
    }
}

/// A Status as it is said on a stream: without a kind.
fn status(failure: &Failure) -> Value {
    let mut status = failure.to_status();
    if let Some(status) = status.as_object_mut() {
        status.remove("kind");
        status.remove("apiVersion");
    }
    status
}

/// What is said of a command that has failed: kubectl ends with the same code.
///
/// Upstream: apiserver pkg/util/proxy/streamtranslator.go, codeExitToStatusError.
/// Shown by: a_command_runs_with_its_streams_and_its_exit_code.
fn non_zero(code: i32) -> Value {
    let message = format!(
        "command terminated with non-zero exit code: command terminated with exit code {code}"
    );
    json!({
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

/// Says how it ended, in JSON; to a client of old in words, and nothing if it went well.
///
/// Upstream: k8s.io/kubelet pkg/cri/streaming/remotecommand/httpstream.go, v4WriteStatusFunc and
/// v1WriteStatusFunc.
/// Shown by: what_a_client_may_choose_of_is_upstreams.
async fn say(to: Outgoing, status: &Value, json: bool) {
    let text = match (json, status["message"].as_str()) {
        (true, _) => status.to_string(),
        (false, Some(message)) => message.to_owned(),
        (false, None) => String::new(),
    };
    if !text.is_empty() && to.send(Bytes::from(text)).await.is_err() {
        return;
    }
    let _left = to.finish().await;
}
