//! What lies below a pod and is no object: its logs, and the streams of `exec`, `attach` and `port-forward`.
//!
//! `container` finds out which run of which container is meant, `upgrade` agrees with the client on how to
//! talk; `log` answers with a body, `process` (exec and attach) and `forward` go on in a task of their own, which
//! ends with the connection.

use std::io;
use std::sync::Arc;

use http::{Method, Request};
use hyper::body::Incoming;
use probelet_model::time::Wall;
use probelet_runtime::Runtime;
use probelet_store::{Object, Store};

use crate::body::Response;
use crate::failure::Failure;
use crate::route::Query;

mod container;
mod descriptor;
mod forward;
mod log;
mod process;
mod upgrade;

#[cfg(test)]
mod tests;

/// Answers a request to `pods/<name>/<subresource>` where the subresource is `log`, `exec`, `attach` or
/// `portforward`; `pod` is the object as it is now, `store` where it changes. An upgrade is answered by 101, and
/// goes on in a task of its own.
///
/// # Errors
/// [`Failure`], if it does not come to that.
pub async fn connect<R: Runtime>(
    runtime: &Arc<R>,
    store: &Arc<Store>,
    pod: &Object,
    subresource: &str,
    now: Wall,
    request: Request<Incoming>,
) -> Result<Response, Failure> {
    let methods: &[Method] = match subresource {
        "log" => &[Method::GET],
        "exec" | "attach" | "portforward" => &[Method::GET, Method::POST],
        _ => return Err(Failure::no_such_resource()),
    };
    if !methods.contains(request.method()) {
        return Err(Failure::method_not_allowed());
    }
    let query = Query::parse(request.uri().query().unwrap_or_default())
        .map_err(|error| Failure::bad_request(error.to_string()))?;
    match subresource {
        "log" => log::answer(runtime.log_dir(), store, pod, &query, now).await,
        "exec" => process::exec(runtime, pod, &query, request),
        "attach" => process::attach(runtime, pod, &query, request),
        _ => forward::answer(runtime, pod, &query, request),
    }
}

/// Go's words for what the system said: the same, but for how they begin and end.
fn go_words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}
