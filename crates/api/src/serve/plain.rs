//! Answers that are about no object.

use http::header::{CACHE_CONTROL, ETAG, EXPIRES, HOST, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, Method, StatusCode};
use probelet_model::time::Wall;
use probelet_runtime::Runtime;
use probelet_schema::openapi;
use serde_json::Value;

use super::answer::{self, bytes, not_modified, nowhere, text};
use super::{Api, Asking, Check};
use crate::body::Response;
use crate::discovery::{self, Half};
use crate::failure::Failure;
use crate::negotiate::{Media, aggregated};
use crate::review::authorize_path;
use crate::route::{Health, Query, Route};

/// Of the empty OpenAPI v2 document, which is protobuf or nothing.
const OPENAPI_2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// How long a document may be kept whose URL has its hash.
const IMMUTABLE: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 60 * 60);

impl<R: Runtime> Api<R> {
    /// Answers a path that leads to no object.
    pub(super) fn plain(&self, route: &Route, asking: &Asking) -> Result<Response, Failure> {
        let headers = asking.request.headers();
        let method = asking.request.method();
        let verb = match *method {
            // As upstream's attributes have it.
            Method::HEAD => "get".to_owned(),
            ref method => method.as_str().to_lowercase(),
        };
        authorize_path(&asking.user, &verb, asking.request.uri().path())?;
        match route {
            Route::Nowhere => return Ok(nowhere()),
            Route::NoResource => return Err(Failure::no_such_resource()),
            _ => {}
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Failure::method_not_allowed());
        }
        match route {
            Route::CoreVersions => discovered(Half::Core, asking),
            Route::Groups => discovered(Half::Groups, asking),
            Route::Group(group) => match discovery::group(group) {
                Some(group) => document(&group, asking),
                None => Ok(nowhere()),
            },
            Route::Resources { group, version } => {
                document(&discovery::resource_list(group, version), asking)
            }
            Route::Root => document(&discovery::paths(), asking),
            Route::Version => document(&discovery::version(), asking),
            Route::Health { of, check } => Ok(self.health(*of, check, &asking.query)),
            Route::OpenApi2 => Ok(bytes(StatusCode::OK, OPENAPI_2, Vec::new())),
            Route::OpenApi3Index => Ok(tagged(headers, openapi::index().to_vec())),
            Route::OpenApi3(path) => Ok(self.openapi_document(path, asking)),
            Route::Metrics => Ok(self.metrics()),
            Route::Resource { .. } | Route::NoResource | Route::Nowhere => Ok(nowhere()),
        }
    }

    /// Whether all is well, or one thing; with `verbose`, each with its name.
    ///
    /// Upstream: apiserver pkg/server/healthz/healthz.go, handleRootHealth.
    /// Shown by: paths_of_no_object.
    fn health(&self, of: Health, only: &str, query: &Query) -> Response {
        let checks = &self.options.checks;
        // Upstream's check that a server answers at all.
        let ping = ("ping", Ok(()));
        let asked = |check: &Check| (check.name, (check.healthy)());
        let mut results: Vec<(&str, Result<(), String>)> = std::iter::once(ping)
            .chain(checks.iter().map(asked))
            .collect();
        let excluded: Vec<&str> = query.all("exclude").collect();
        results.retain(|(name, _)| !excluded.contains(name));
        if !only.is_empty() {
            results.retain(|(name, _)| *name == only);
            if results.is_empty() {
                return nowhere();
            }
        }
        let mut told = String::new();
        let mut healthy = true;
        for (name, result) in &results {
            match result {
                Ok(()) => told += &format!("[+]{name} ok\n"),
                Err(why) => {
                    tracing::warn!(check = name, why, "not healthy");
                    healthy = false;
                    told += &format!("[-]{name} failed: reason withheld\n");
                }
            }
        }
        let of = of.name();
        if !healthy {
            let told = format!("{told}{of} check failed\n");
            return text(StatusCode::INTERNAL_SERVER_ERROR, told);
        }
        if query.first("verbose").is_some() {
            text(StatusCode::OK, format!("{told}{of} check passed\n"))
        } else {
            text(StatusCode::OK, "ok")
        }
    }

    fn metrics(&self) -> Response {
        let mut told = self
            .counters
            .to_text(self.watches.count(), self.watches.lines_made());
        if let Some(more) = &self.options.metrics {
            told += &more();
        }
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        bytes(StatusCode::OK, content_type, told.into_bytes())
    }

    /// What is asked for by its hash may be kept for ever; by the hash of another day, it is sent on to that of today.
    ///
    /// Upstream: kube-openapi pkg/handler3/handler.go, HandleGroupVersion.
    /// Shown by: schemas_may_be_kept_by_their_hash.
    fn openapi_document(&self, path: &str, asking: &Asking) -> Response {
        let Some((content, hash)) = openapi::document(path) else {
            return nowhere();
        };
        let asked = asking.query.first("hash").filter(|asked| !asked.is_empty());
        if asked.is_some_and(|asked| asked != hash) {
            return answer::moved(&format!("/openapi/v3/{path}?hash={hash}"));
        }
        let mut response = tagged(asking.request.headers(), content.to_vec());
        if asked.is_some() {
            let headers = response.headers_mut();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
            let until = http_date((self.clock)().wall + IMMUTABLE);
            if let Ok(until) = HeaderValue::from_str(&until) {
                headers.insert(EXPIRES, until);
            }
        }
        response
    }
}

fn document(value: &Value, asking: &Asking) -> Result<Response, Failure> {
    let media = Media::of(asking.request.headers(), &asking.query, false)?;
    let content = media.write(value)?;
    Ok(bytes(StatusCode::OK, media.content_type(), content))
}

fn discovered(half: Half, asking: &Asking) -> Result<Response, Failure> {
    let headers = asking.request.headers();
    let Some(version) = aggregated(headers) else {
        let value = match half {
            Half::Core => {
                let host = headers.get(HOST).and_then(|host| host.to_str().ok());
                let own = asking.peer.local.to_string();
                discovery::core_versions(host.unwrap_or(&own))
            }
            Half::Groups => discovery::group_list(),
        };
        let mut response = document(&value, asking)?;
        vary(&mut response);
        return Ok(response);
    };
    let content = Media::default().write(&discovery::aggregated(half, version))?;
    let mut response = tagged(headers, content);
    if response.status() == StatusCode::OK {
        let content_type = match version {
            "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        };
        response.headers_mut().insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static(content_type),
        );
    }
    Ok(response)
}

/// A document with its tag, or 304 if the client has it already.
fn tagged(headers: &HeaderMap, content: Vec<u8>) -> Response {
    let tag = discovery::tag(&content);
    let known = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .any(|known| known.trim() == tag);
    let mut response = if known {
        not_modified()
    } else {
        bytes(StatusCode::OK, "application/json", content)
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    vary(&mut response);
    response
}

fn vary(response: &mut Response) {
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(wall: Wall) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    // RFC 3339 of whole seconds has every part but the day of the week, which follows from the days since a
    // Thursday.
    let text = wall.to_string();
    let days = wall.0.div_euclid(24 * 60 * 60 * 1_000_000_000);
    let day = DAYS[usize::try_from(days.rem_euclid(7)).unwrap_or(0)];
    let month = text[5..7].parse().unwrap_or(1_usize).clamp(1, 12);
    let month = MONTHS[month - 1];
    format!(
        "{day}, {} {month} {} {} GMT",
        &text[8..10],
        &text[..4],
        &text[11..19]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_has_them() {
        assert_eq!(
            http_date(Wall(784_111_777_000_000_000)),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(http_date(Wall(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
