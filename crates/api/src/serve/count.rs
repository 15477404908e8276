//! How much is asked.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;

use crate::route::{Query, Route};

/// Seconds, the upper bounds of the histogram's buckets.
///
/// Upstream: apiserver pkg/endpoints/metrics/metrics.go, requestLatencies.
/// Shown by: requests_are_counted.
const BUCKETS: [f64; 19] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0,
];

/// What a request was about, as upstream's labels have it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
}

impl Asked {
    /// What a request is counted under: its verb, its resource and its scope.
    ///
    /// Upstream: apiserver pkg/endpoints/metrics/metrics.go, canonicalVerb, CleanScope.
    /// Shown by: requests_are_counted.
    pub(super) fn of(route: &Route, request: &Request<Incoming>) -> Self {
        let query = Query::parse(request.uri().query().unwrap_or_default()).unwrap_or_default();
        let Route::Resource { target, watch } = route else {
            return Self {
                verb: verb(request.method()),
                group: "",
                version: "",
                resource: "",
                subresource: "",
                scope: "",
            };
        };
        let collection = target.name.is_none();
        let verb = match verb(request.method()) {
            "GET" if *watch || (collection && query.flag("watch")) => "WATCH",
            "GET" if collection => "LIST",
            "DELETE" if collection => "DELETECOLLECTION",
            verb => verb,
        };
        let resource = target.resource;
        Self {
            verb,
            group: resource.group,
            version: resource.version,
            resource: resource.plural,
            subresource: target
                .subresource
                .map_or("", |subresource| subresource.name),
            scope: match (collection, target.namespace.is_empty()) {
                (false, _) => "resource",
                (true, false) => "namespace",
                (true, true) => "cluster",
            },
        }
    }
}

/// A method that is none of the known is counted as one of them all: the labels have no end otherwise.
const fn verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

/// All that was asked so far.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: BTreeMap<(Asked, u16), u64>,
    durations: BTreeMap<Asked, Histogram>,
}

#[derive(Debug, Default)]
struct Histogram {
    /// How many took as long as each bucket and no less than the one before.
    buckets: [u64; BUCKETS.len()],
    count: u64,
    seconds: f64,
}

impl Counters {
    /// One more; a watch is counted when it has begun, and not timed.
    pub(super) fn count(&self, asked: &Asked, code: StatusCode, took: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = counts.requests.entry((asked.clone(), code.as_u16()));
        *requests.or_default() += 1;
        if asked.verb == "WATCH" || code == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let histogram = counts.durations.entry(asked.clone()).or_default();
        let seconds = took.as_secs_f64();
        if let Some(bucket) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            histogram.buckets[bucket] += 1;
        }
        histogram.count += 1;
        histogram.seconds += seconds;
    }

    /// In Prometheus' text format; `watches` are open now.
    pub(super) fn to_text(&self, watches: usize, lines_made: u64) -> String {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _infallible = counts.write(&mut text, watches, lines_made);
        text
    }
}

impl Counts {
    fn write(&self, out: &mut String, watches: usize, lines_made: u64) -> std::fmt::Result {
        head(
            out,
            "apiserver_request_total",
            "counter",
            "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, \
             scope, component, and HTTP response code.",
        )?;
        for ((asked, code), count) in &self.requests {
            let labels = labels(asked);
            writeln!(
                out,
                "apiserver_request_total{{code=\"{code}\",{labels}}} {count}"
            )?;
        }
        head(
            out,
            "apiserver_request_duration_seconds",
            "histogram",
            "Response latency distribution in seconds for each verb, dry run value, group, version, resource, \
             subresource, scope and component.",
        )?;
        for (asked, histogram) in &self.durations {
            histogram.write(out, &labels(asked))?;
        }
        head(
            out,
            "apiserver_longrunning_requests",
            "gauge",
            "Gauge of all active long-running apiserver requests.",
        )?;
        writeln!(
            out,
            "apiserver_longrunning_requests{{verb=\"WATCH\"}} {watches}"
        )?;
        head(
            out,
            "probelet_watch_events_encoded_total",
            "counter",
            "Events that were made into text, each once for however many watch.",
        )?;
        writeln!(out, "probelet_watch_events_encoded_total {lines_made}")
    }
}

impl Histogram {
    fn write(&self, out: &mut String, labels: &str) -> std::fmt::Result {
        const NAME: &str = "apiserver_request_duration_seconds";
        let mut below = 0;
        for (bound, count) in BUCKETS.iter().zip(self.buckets) {
            below += count;
            writeln!(out, "{NAME}_bucket{{{labels},le=\"{bound}\"}} {below}")?;
        }
        writeln!(out, "{NAME}_bucket{{{labels},le=\"+Inf\"}} {}", self.count)?;
        writeln!(out, "{NAME}_sum{{{labels}}} {}", self.seconds)?;
        writeln!(out, "{NAME}_count{{{labels}}} {}", self.count)
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn labels(asked: &Asked) -> String {
    format!(
        "component=\"apiserver\",dry_run=\"\",group=\"{}\",resource=\"{}\",scope=\"{}\",subresource=\"{}\",verb=\"{}\",\
         version=\"{}\"",
        asked.group, asked.resource, asked.scope, asked.subresource, asked.verb, asked.version
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted() {
        let asked = Asked {
            verb: "LIST",
            group: "",
            version: "v1",
            resource: "pods",
            subresource: "",
            scope: "namespace",
        };
        let counters = Counters::default();
        counters.count(&asked, StatusCode::OK, Duration::from_millis(3));
        counters.count(&asked, StatusCode::OK, Duration::from_millis(30));
        counters.count(&asked, StatusCode::NOT_FOUND, Duration::from_secs(60));
        let labels = "component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"pods\",scope=\"namespace\",subresource=\"\",verb=\"LIST\",version=\"v1\"";
        let text = counters.to_text(7, 9);
        let lines = [
            format!("apiserver_request_total{{code=\"200\",{labels}}} 2"),
            format!("apiserver_request_total{{code=\"404\",{labels}}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"0.005\"}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"0.05\"}} 2"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"15\"}} 2"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 3"),
            format!("apiserver_request_duration_seconds_sum{{{labels}}} 60.033"),
            "apiserver_longrunning_requests{verb=\"WATCH\"} 7".to_owned(),
            "probelet_watch_events_encoded_total 9".to_owned(),
        ];
        for line in lines {
            assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        }
    }
}
