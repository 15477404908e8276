//! The `Accept` header.

use http::HeaderMap;
use http::header::{ACCEPT, USER_AGENT};
use serde::Serialize;

use crate::failure::Failure;
use crate::route::Query;
use crate::table::IncludeObject;

/// How an answer is to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// JSON, on one line.
    #[default]
    Json,
    /// JSON with line breaks.
    Pretty,
    /// YAML.
    Yaml,
}

/// What is to be made of an object before it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// Nothing.
    #[default]
    Object,
    /// A row, or rows, of a Table.
    Table(MetaVersion),
    /// `PartialObjectMetadata`, or, of a collection, a list of them.
    Metadata(MetaVersion),
}

/// The version of `meta.k8s.io` that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetaVersion {
    /// `v1`.
    V1,
    /// `v1beta1`, which looks the same.
    V1Beta1,
}

impl MetaVersion {
    /// `meta.k8s.io/v1`.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// What a client accepts, as far as there is a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// How it is written.
    pub format: Format,
    /// What is written.
    pub shape: Shape,
    /// What of the objects comes with a Table's rows.
    pub include: IncludeObject,
}

impl Media {
    /// What a request accepts, best first; `shaped` says whether what is asked for can be a Table at all.
    ///
    /// Upstream: apiserver pkg/endpoints/handlers/negotiation/negotiate.go, NegotiateMediaTypeOptions.
    /// Differs: protobuf is never answered; a client that lists nothing else is told so (406), and every client
    /// that is known lists JSON too.
    /// Shown by: the_best_that_there_is_is_taken, protobuf_is_never_answered.
    ///
    /// # Errors
    /// [`Failure`] (406), if there is nothing that it accepts; (400) for an `includeObject` that is none.
    pub fn of(headers: &HeaderMap, query: &Query, shaped: bool) -> Result<Self, Failure> {
        let clauses = clauses(headers);
        let best = if clauses.is_empty() {
            Some(Self::default())
        } else {
            clauses.iter().find_map(|clause| clause.media(shaped))
        };
        let mut media = best.ok_or_else(not_acceptable)?;
        if media.format == Format::Json && wants_pretty(headers, query) {
            media.format = Format::Pretty;
        }
        media.include = match query.first("includeObject").unwrap_or_default() {
            "" | "Metadata" => IncludeObject::Metadata,
            "Object" => IncludeObject::Object,
            "None" => IncludeObject::None,
            other => {
                let message = format!("unrecognized includeObject value: {other:?}");
                return Err(Failure::bad_request(message));
            }
        };
        Ok(media)
    }

    /// What failures are written in: what is accepted if anything of it is possible, else JSON.
    #[must_use]
    pub fn for_failures(headers: &HeaderMap) -> Self {
        Self::of(headers, &Query::default(), false).unwrap_or_default()
    }

    /// `Content-Type` of such an answer.
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        match self.format {
            Format::Json | Format::Pretty => "application/json",
            Format::Yaml => "application/yaml",
        }
    }

    /// The bytes of an answer.
    ///
    /// # Errors
    /// [`Failure`] (500), for a value that has no such form; none that the API answers with.
    pub fn write<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, Failure> {
        match self.format {
            Format::Json => serde_json::to_vec(value)
                .map(|mut json| {
                    json.push(b'\n');
                    json
                })
                .map_err(Failure::internal),
            Format::Pretty => serde_json::to_vec_pretty(value).map_err(Failure::internal),
            Format::Yaml => serde_saphyr::to_string(value)
                .map(String::into_bytes)
                .map_err(Failure::internal),
        }
    }
}

/// Whether a discovery document may be in the form that has everything in one, and in which version.
#[must_use]
pub fn aggregated(headers: &HeaderMap) -> Option<&'static str> {
    for clause in clauses(headers) {
        let is_json = clause.is("application", "json");
        let parameter = |name: &str| clause.parameter(name).unwrap_or_default();
        if is_json && parameter("as") == "APIGroupDiscoveryList" {
            match (parameter("g"), parameter("v")) {
                ("apidiscovery.k8s.io", "v2") => return Some("v2"),
                ("apidiscovery.k8s.io", "v2beta1") => return Some("v2beta1"),
                _ => {}
            }
        } else if parameter("as").is_empty() && clause.matches("application", "json") {
            return None;
        }
    }
    None
}

/// One of the alternatives of an `Accept` header.
#[derive(Debug)]
struct Clause<'a> {
    kind: &'a str,
    subkind: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

/// The alternatives, best first.
fn clauses(headers: &HeaderMap) -> Vec<Clause<'_>> {
    let values = headers.get_all(ACCEPT).iter();
    let mut clauses: Vec<Clause<'_>> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(Clause::parse)
        .collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subkind) = match parts.next()? {
            // As Java's client says it.
            "*" => ("*", "*"),
            full => full.split_once('/')?,
        };
        let mut quality = 1.0;
        let mut parameters = Vec::new();
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if name == "q" {
                quality = value.parse().unwrap_or(0.0);
            } else {
                parameters.push((name, value));
            }
        }
        Some(Self {
            kind,
            subkind,
            parameters,
            quality,
        })
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut found = self.parameters.iter().filter(|(own, _)| *own == name);
        found.next().map(|(_, value)| *value)
    }

    fn is(&self, kind: &str, subkind: &str) -> bool {
        self.kind == kind && self.subkind == subkind
    }

    fn matches(&self, kind: &str, subkind: &str) -> bool {
        (self.kind == "*" || self.kind == kind) && (self.subkind == "*" || self.subkind == subkind)
    }

    fn media(&self, shaped: bool) -> Option<Media> {
        let format = if self.matches("application", "json") {
            Format::Json
        } else if self.matches("application", "yaml") {
            Format::Yaml
        } else {
            return None;
        };
        let shape = match self.parameter("as") {
            None | Some("") => Shape::Object,
            Some(_) if !shaped => return None,
            Some(kind) => {
                let version = match (self.parameter("g"), self.parameter("v")) {
                    (Some("meta.k8s.io"), Some("v1")) => MetaVersion::V1,
                    (Some("meta.k8s.io"), Some("v1beta1")) => MetaVersion::V1Beta1,
                    _ => return None,
                };
                match kind {
                    "Table" => Shape::Table(version),
                    "PartialObjectMetadata" | "PartialObjectMetadataList" => {
                        Shape::Metadata(version)
                    }
                    _ => return None,
                }
            }
        };
        Some(Media {
            format,
            shape,
            include: IncludeObject::default(),
        })
    }
}

fn not_acceptable() -> Failure {
    let message = "only the following media types are accepted: application/json, application/yaml";
    Failure::new(406, "NotAcceptable", message)
}

/// Whether people read the answer, who get line breaks.
///
/// Upstream: apiserver pkg/endpoints/handlers/negotiation/negotiate.go, isPrettyPrint.
/// Shown by: people_get_line_breaks.
fn wants_pretty(headers: &HeaderMap, query: &Query) -> bool {
    if query.first("pretty").is_some() {
        return query.flag("pretty");
    }
    let agent = headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    agent.is_some_and(|agent| {
        ["curl", "Wget", "Mozilla/5.0"]
            .iter()
            .any(|browser| agent.starts_with(browser))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        headers
    }

    fn shaped(accept: &str) -> Result<(Format, Shape), u16> {
        Media::of(&headers(accept), &Query::default(), true)
            .map(|media| (media.format, media.shape))
            .map_err(|failure| failure.code)
    }

    #[test]
    fn the_best_that_there_is_is_taken() {
        use Format::{Json, Yaml};
        let table = Shape::Table(MetaVersion::V1);
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let rows = [
            ("application/json", Ok((Json, Shape::Object))),
            ("application/json;stream=watch", Ok((Json, Shape::Object))),
            ("*/*", Ok((Json, Shape::Object))),
            ("*", Ok((Json, Shape::Object))),
            ("application/*", Ok((Json, Shape::Object))),
            ("application/yaml", Ok((Yaml, Shape::Object))),
            (
                "application/yaml;q=0.5, application/json;q=0.9",
                Ok((Json, Shape::Object)),
            ),
            (kubectl, Ok((Json, table))),
            (
                "application/json;as=Table;v=v2;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io",
                Ok((Json, Shape::Table(MetaVersion::V1Beta1))),
            ),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
                Ok((Json, Shape::Metadata(MetaVersion::V1))),
            ),
            ("application/json;as=Chart;v=v1;g=meta.k8s.io", Err(406)),
            ("text/html", Err(406)),
        ];
        for (accept, expected) in rows {
            assert_eq!(shaped(accept), expected, "{accept}");
        }
        let unshaped = Media::of(&headers(kubectl), &Query::default(), false).unwrap();
        assert_eq!(unshaped.shape, Shape::Object);
        let nothing = Media::of(&HeaderMap::new(), &Query::default(), true);
        assert_eq!(nothing, Ok(Media::default()));
    }

    #[test]
    fn protobuf_is_never_answered() {
        let plain = Ok((Format::Json, Shape::Object));
        assert_eq!(
            shaped("application/vnd.kubernetes.protobuf,application/json"),
            plain
        );
        assert_eq!(shaped("application/vnd.kubernetes.protobuf, */*"), plain);
        assert_eq!(shaped("application/vnd.kubernetes.protobuf"), Err(406));
    }

    #[test]
    fn people_get_line_breaks() {
        let pretty = |agent: &str, query: &str| {
            let mut headers = headers("*/*");
            headers.insert(USER_AGENT, agent.parse().unwrap());
            let media = Media::of(&headers, &Query::parse(query).unwrap(), true);
            media.unwrap().format == Format::Pretty
        };
        assert!(pretty("curl/8", ""));
        assert!(!pretty("curl/8", "pretty=false"));
        assert!(!pretty("kubectl/v1.33", ""));
        assert!(pretty("kubectl/v1.33", "pretty=true"));
    }

    #[test]
    fn discovery_in_one_document_is_for_those_who_ask() {
        let new = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        let old = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(aggregated(&headers(new)), Some("v2"));
        assert_eq!(aggregated(&headers(old)), Some("v2beta1"));
        assert_eq!(aggregated(&headers("application/json")), None);
        assert_eq!(aggregated(&headers("*/*")), None);
        assert_eq!(aggregated(&HeaderMap::new()), None);
    }
}
