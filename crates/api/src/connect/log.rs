//! The log of a container.
//!
//! `options` reads what is asked for, `entries` makes text of what the file has, `file` reads it from where it
//! is to begin, and `follow` waits for more.

mod entries;
mod file;
mod follow;
mod options;

use std::io;
use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use probelet_model::time::Wall;
use probelet_runtime::log_path;
use probelet_store::{Object, Store};

use super::{container, go_words};
use crate::body::{self, Response};
use crate::failure::Failure;
use crate::route::Query;
use file::Log;
use follow::Follow;
use options::Options;

/// Answers with a log, as the client takes it.
///
/// Only the newest file is read, as upstream: what has been rotated away by the time of the request is not told.
///
/// Upstream: pkg/registry/core/pod/rest/log.go, LogREST.Get; kubelet pkg/kubelet/kubelet_pods.go,
/// GetKubeletContainerLogs; cri-client pkg/logs/logs.go, ReadLogs; containerd internal/cri/server/container_start.go,
/// createContainerLoggers.
/// Shown by: logs_are_told_as_they_are_asked_for, a_run_that_could_not_be_started_has_an_empty_log.
pub(super) async fn answer(
    log_dir: &Path,
    store: &Arc<Store>,
    pod: &Object,
    query: &Query,
    now: Wall,
) -> Result<Response, Failure> {
    let options = Options::read(&pod.key.name, query, now)?;
    let container = container::choose(&pod.value, query.first("container"))?;
    let run = container::logged(&pod.value, &container, options.previous)
        .map_err(Failure::bad_request)?;
    let uid = container::uid(&pod.value);
    let (namespace, name) = (&pod.key.namespace, &pod.key.name);
    let path = log_dir.join(log_path(
        namespace,
        name,
        &uid,
        &container,
        run.restart_count,
    ));
    // Watched before it is read, so that nothing falls between.
    let follow = (options.follow && run.running)
        .then(|| Follow::new(store, (&pod.key, &uid), (container, run.id), &path));
    let log = match Log::open(&path, &options).await {
        // Upstream's runtime makes the file before it tries to start who is to write to it.
        Err(error) if run.start_failed && error.kind() == io::ErrorKind::NotFound => None,
        opened => Some(opened.map_err(|error| unreadable(&path, &error))?),
    };
    let body = body::stream((log, follow), |(mut log, mut follow)| async move {
        let piece = log.as_mut()?.next(follow.as_mut()).await?;
        Some((piece, (log, follow)))
    });
    let mut response = Response::new(body);
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    Ok(response)
}

/// Shown by: a_log_that_is_not_there_is_said.
fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let (path, why) = (path.display().to_string(), go_words(error));
    Failure::bad_request(match error.kind() {
        io::ErrorKind::NotFound => {
            format!("failed to try resolving symlinks in path {path:?}: lstat {path}: {why}")
        }
        _ => format!("failed to open log file {path:?}: open {path}: {why}"),
    })
}
