//! Answers that are about objects.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderValue, USER_AGENT, VARY};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use probelet_runtime::Runtime;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::answer::{bytes, compressed, success, with_warnings};
use super::{Api, Asking};
use crate::body::{self, Response};
use crate::connect::connect;
use crate::failure::Failure;
use crate::negotiate::{Content, Format, Media, decode, patch_type};
use crate::present::{self, ListMetadata};
use crate::registry::{Listed, Written};
use crate::request::{FieldValidation, Target, WriteOptions};
use crate::resource::METRICS;
use crate::review::{self, authorize};
use crate::route::options;
use crate::selector::Selector;
use crate::usage::Meter;
use crate::watch::{self, Subject, Surroundings};

/// What lies below a pod and is a stream.
const STREAMS: [&str; 4] = ["attach", "exec", "log", "portforward"];

impl<R: Runtime> Api<R> {
    /// Answers a path that leads to objects.
    pub(super) async fn resource(
        &self,
        target: Target,
        watch: bool,
        asking: Asking,
    ) -> Result<Response, Failure> {
        let watch = watch || (target.name.is_none() && asking.query.flag("watch"));
        let verb = verb(asking.request.method(), &target, watch)?;
        authorize(&asking.user, verb, &target)?;
        let known = target
            .subresource
            .map_or(target.resource.verbs, |subresource| subresource.verbs);
        if !known.contains(&verb) {
            return Err(Failure::method_not_allowed());
        }
        let is_stream = |name: &str| STREAMS.contains(&name);
        if let Some(below) = target.subresource.filter(|below| is_stream(below.name)) {
            let pod = self.registry.get(&Target {
                subresource: None,
                ..target
            })?;
            let (store, now) = (self.registry.store(), (self.clock)().wall);
            return connect(&self.runtime, store, &pod, below.name, now, asking.request).await;
        }
        if target.resource.group == METRICS {
            return self.usage(&target, &asking).await;
        }
        match verb {
            "get" => self.get(&target, &asking),
            "list" => self.list(&target, &asking),
            "watch" => self.watch(target, &asking),
            "create" => self.create(target, asking).await,
            "update" => self.update(target, asking).await,
            "patch" => self.patch(target, asking).await,
            "delete" => self.delete(target, asking).await,
            _ => self.delete_collection(target, asking).await,
        }
    }

    fn get(&self, target: &Target, asking: &Asking) -> Result<Response, Failure> {
        let media = media(target, asking)?;
        let object = self.registry.get(target)?;
        self.told(StatusCode::OK, media, target, &object.value)
    }

    fn list(&self, target: &Target, asking: &Asking) -> Result<Response, Failure> {
        let media = media(target, asking)?;
        let options = options::list(&asking.query)?;
        let listed = self.registry.list(target, &options)?;
        self.told_list(media, target, listed, asking.request.headers())
    }

    async fn usage(&self, target: &Target, asking: &Asking) -> Result<Response, Failure> {
        let media = Media::of(asking.request.headers(), &asking.query, false)?;
        let options = options::list(&asking.query)?;
        let meter = Meter {
            registry: &self.registry,
            runtime: &self.runtime,
            samples: &self.samples,
            of_node: self.options.of_node.as_ref(),
            clock: self.clock,
        };
        let told = meter.answer(target, &options).await?;
        Ok(bytes(
            StatusCode::OK,
            media.content_type(),
            media.write(&told)?,
        ))
    }

    fn watch(&self, target: Target, asking: &Asking) -> Result<Response, Failure> {
        let mut media = media(&target, asking)?;
        // A line is one event.
        media.format = match media.format {
            Format::Json | Format::Pretty => Format::Json,
            Format::Yaml => {
                let message = "only the following media types are accepted: application/json";
                return Err(Failure::new(406, "NotAcceptable", message));
            }
        };
        let options = options::watch(&asking.query, target.resource)?;
        let query = |name: &str| asking.query.first(name).unwrap_or_default().to_owned();
        let mut field_selector = query("fieldSelector");
        if let Some(name) = &target.name {
            if !field_selector.is_empty() {
                field_selector.push(',');
            }
            field_selector += &format!("metadata.name={name}");
        }
        let selector = Selector::parse(target.resource, &query("labelSelector"), &field_selector)?;
        let subject = Subject {
            resource: target.resource,
            namespace: target.namespace,
            selector,
            media,
        };
        let around = Surroundings {
            store: Arc::clone(self.registry.store()),
            watches: Arc::clone(&self.watches),
            clock: self.clock,
            stopping: self.stopping.subscribe(),
            random: u64::from_le_bytes(self.random()),
        };
        let content = watch::open(subject, &options, around)?;
        // The connection has to take it for as long as it lasts.
        let watched = asking.peer.gate.watch();
        let content = body::stream((content, watched), |(mut content, watched)| async move {
            let frame = content.frame().await?.ok()?;
            let piece = frame.into_data().ok()?;
            Some((piece, (content, watched)))
        });
        let mut response = http::Response::new(content);
        response.headers_mut().insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json;stream=watch"),
        );
        Ok(response)
    }

    async fn create(&self, target: Target, asking: Asking) -> Result<Response, Failure> {
        let media = media(&target, &asking)?;
        let options = options::write(
            "CreateOptions",
            &asking.query,
            user_agent(asking.request.headers()),
            None,
        )?;
        let user = asking.user;
        let content = self.content(asking.request, decode).await?;
        let (value, warnings) = checked(content, &target, &options)?;
        let written = if target.resource.stored.is_some() {
            self.registry.create(&target, value, &options).await?
        } else {
            let bearer = |token: &str, audiences: &[String]| self.bearer(token, audiences);
            review::answer(&user, &target, &value, bearer)?
        };
        self.told_written(media, &target, written, warnings)
    }

    async fn update(&self, target: Target, asking: Asking) -> Result<Response, Failure> {
        let media = media(&target, &asking)?;
        let options = options::write(
            "UpdateOptions",
            &asking.query,
            user_agent(asking.request.headers()),
            None,
        )?;
        let content = self.content(asking.request, decode).await?;
        let (value, warnings) = checked(content, &target, &options)?;
        let written = self.registry.update(&target, value, &options).await?;
        self.told_written(media, &target, written, warnings)
    }

    async fn patch(&self, target: Target, asking: Asking) -> Result<Response, Failure> {
        let media = media(&target, &asking)?;
        let agent = user_agent(asking.request.headers()).to_owned();
        let query = asking.query;
        let (patch_type, content) = self.content(asking.request, patch_type).await?;
        let options = options::write("PatchOptions", &query, &agent, Some(patch_type))?;
        let (value, warnings) = checked(content, &target, &options)?;
        let registry = &self.registry;
        let written = registry.patch(&target, patch_type, value, &options).await?;
        self.told_written(media, &target, written, warnings)
    }

    async fn delete(&self, target: Target, asking: Asking) -> Result<Response, Failure> {
        let media = media(&target, &asking)?;
        let query = asking.query;
        let body = self.delete_body(asking.request).await?;
        let options = options::delete(&query, body.as_ref())?;
        let written = self.registry.delete(&target, &options).await?;
        self.told_written(media, &target, written, Vec::new())
    }

    async fn delete_collection(&self, target: Target, asking: Asking) -> Result<Response, Failure> {
        let media = media(&target, &asking)?;
        let query = asking.query;
        let of = options::list(&query)?;
        let headers = asking.request.headers().clone();
        let body = self.delete_body(asking.request).await?;
        let options = options::delete(&query, body.as_ref())?;
        let registry = &self.registry;
        let listed = registry.delete_collection(&target, &options, &of).await?;
        self.told_list(media, &target, listed, &headers)
    }

    async fn delete_body(
        &self,
        request: http::Request<Incoming>,
    ) -> Result<Option<Value>, Failure> {
        let (parts, body) = request.into_parts();
        let body = self.read(body).await?;
        if body.is_empty() {
            return Ok(None);
        }
        decode(&parts.headers, &body).map(|content| Some(content.value))
    }

    async fn content<T>(
        &self,
        request: http::Request<Incoming>,
        decode: impl FnOnce(&HeaderMap, &[u8]) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (parts, body) = request.into_parts();
        let body = self.read(body).await?;
        decode(&parts.headers, &body)
    }

    /// The whole of a body.
    ///
    /// Upstream: apiserver pkg/endpoints/handlers/rest.go, limitedReadBody.
    /// Shown by: a_body_has_a_limit.
    async fn read(&self, body: Incoming) -> Result<Bytes, Failure> {
        let limits = self.options.limits;
        let whole = Limited::new(body, limits.body_bytes).collect();
        match timeout(limits.request_timeout, whole).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let message = format!("Request entity too large: limit is {}", limits.body_bytes);
                Err(Failure::new(413, "RequestEntityTooLarge", message))
            }
            Ok(Err(error)) => Err(Failure::bad_request(format!(
                "the body of the request could not be read: {error}"
            ))),
            Err(_elapsed) => {
                let message = "the body of the request was not sent in time";
                Err(Failure::new(408, "Timeout", message))
            }
        }
    }

    fn told(
        &self,
        code: StatusCode,
        media: Media,
        target: &Target,
        value: &Arc<Value>,
    ) -> Result<Response, Failure> {
        let now = (self.clock)().wall;
        let content = present::object(media, target.resource, value, now)?;
        Ok(bytes(code, media.content_type(), content))
    }

    fn told_list(
        &self,
        media: Media,
        target: &Target,
        listed: Listed,
        headers: &HeaderMap,
    ) -> Result<Response, Failure> {
        let objects: Vec<Arc<Value>> = listed
            .objects
            .into_iter()
            .map(|object| object.value)
            .collect();
        let metadata = ListMetadata {
            version: listed.version,
            continue_token: listed.continue_token,
            remaining: listed.remaining,
        };
        let now = (self.clock)().wall;
        let content = present::list(media, target.resource, &objects, &metadata, now)?;
        let (content, is_compressed) = compressed(content, headers);
        let mut response = bytes(StatusCode::OK, media.content_type(), content);
        if is_compressed {
            let headers = response.headers_mut();
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        Ok(response)
    }

    fn told_written(
        &self,
        media: Media,
        target: &Target,
        written: Written,
        mut warnings: Vec<String>,
    ) -> Result<Response, Failure> {
        warnings.extend(written.warnings);
        let code = if written.created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        let response = if written.deleted {
            let status = gone(target, &written.value);
            self.told(code, media, target, &status)?
        } else {
            self.told(code, media, target, &written.value)?
        };
        Ok(with_warnings(response, &warnings))
    }
}

/// The verb of a request, by which it is authorized and told of.
///
/// Upstream: apiserver pkg/endpoints/request/requestinfo.go, RequestInfoFactory.NewRequestInfo.
/// Shown by: who_may_little_is_told_so.
fn verb(method: &Method, target: &Target, watch: bool) -> Result<&'static str, Failure> {
    let collection = target.name.is_none();
    // Objects of all namespaces can be listed and watched together, and nothing else.
    let scattered = collection && target.resource.namespaced && target.namespace.is_empty();
    match *method {
        Method::GET | Method::HEAD if watch => Ok("watch"),
        Method::GET | Method::HEAD if collection => Ok("list"),
        Method::GET | Method::HEAD => Ok("get"),
        Method::POST if !scattered && (collection || target.subresource.is_some()) => Ok("create"),
        Method::PUT if !collection => Ok("update"),
        Method::PATCH if !collection => Ok("patch"),
        Method::DELETE if !collection => Ok("delete"),
        Method::DELETE if !scattered => Ok("deletecollection"),
        _ => Err(Failure::method_not_allowed()),
    }
}

fn media(target: &Target, asking: &Asking) -> Result<Media, Failure> {
    // What has another kind than its resource has no row among its rows.
    let shaped = target
        .subresource
        .is_none_or(|below| below.name == "scale" || below.kind.2 == target.resource.kind);
    Media::of(asking.request.headers(), &asking.query, shaped)
}

fn user_agent(headers: &HeaderMap) -> &str {
    let agent = headers.get(USER_AGENT);
    agent
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default()
}

/// What a body says, with what is to be warned of: fields that are in it twice.
///
/// Upstream: apiserver pkg/endpoints/handlers/create.go, createHandler.
/// Shown by: what_cannot_be_answered_says_why.
fn checked(
    content: Content,
    target: &Target,
    options: &WriteOptions,
) -> Result<(Value, Vec<String>), Failure> {
    let twice = content
        .duplicates
        .iter()
        .map(|path| format!("duplicate field {path:?}"));
    let twice: Vec<String> = twice.collect();
    if twice.is_empty() || options.field_validation == FieldValidation::Ignore {
        return Ok((content.value, Vec::new()));
    }
    if options.field_validation == FieldValidation::Strict {
        let (_, version, kind) = target.subresource.map_or(
            (
                target.resource.group,
                target.resource.version,
                target.resource.kind,
            ),
            |subresource| subresource.kind,
        );
        let message = format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
            twice.join(", ")
        );
        return Err(Failure::bad_request(message));
    }
    Ok((content.value, twice))
}

/// What is answered in the place of an object that is gone.
fn gone(target: &Target, value: &Value) -> Arc<Value> {
    let resource = target.resource;
    let name = target.name.as_deref().unwrap_or_default();
    let mut details = json!({"name": name, "kind": resource.plural});
    if !resource.group.is_empty() {
        details["group"] = resource.group.into();
    }
    if let Some(uid) = value["metadata"]["uid"].as_str() {
        details["uid"] = uid.into();
    }
    success(details)
}
