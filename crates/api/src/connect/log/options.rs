//! What of a log is asked for.

use std::time::Duration;

use probelet_model::time::Wall;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::route::Query;

/// `PodLogOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) follow: bool,
    pub(super) previous: bool,
    pub(super) timestamps: bool,
    /// Of the file's entries, so many from the end.
    pub(super) tail: Option<u64>,
    /// How many bytes are told.
    pub(super) limit: Option<u64>,
    /// Nothing that was written before.
    pub(super) since: Option<Wall>,
}

impl Options {
    /// Reads them from a query about a pod.
    ///
    /// Upstream: pkg/apis/core/validation/validation.go, ValidatePodLogOptions; pkg/registry/core/pod/strategy.go,
    /// LogLocation (where `sinceTime` loses its fraction of a second).
    /// Shown by: what_cannot_be_asked_for_is_refused, options_are_read.
    pub(super) fn read(pod: &str, query: &Query, now: Wall) -> Result<Self, Failure> {
        let tail = integer(query, "tailLines")?;
        let limit = integer(query, "limitBytes")?;
        let seconds = integer(query, "sinceSeconds")?;
        let time = time(query)?;
        let mut flaws = Vec::new();
        let mut flaw = |field: &str, reason: &str, message: String| {
            flaws.push(json!({"reason": reason, "message": message, "field": field}));
        };
        let mut invalid = |field: &str, value: i64, why: &str| {
            let message = format!("Invalid value: {value}: {why}");
            flaw(field, "FieldValueInvalid", message);
        };
        if let Some(tail) = tail.filter(|&tail| tail < 0) {
            invalid("tailLines", tail, "must be greater than or equal to 0");
        }
        if let Some(limit) = limit.filter(|&limit| limit < 1) {
            invalid("limitBytes", limit, "must be greater than 0");
        }
        if seconds.is_some() && time.is_some() {
            let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            flaw("", "FieldValueForbidden", format!("Forbidden: {why}"));
        } else if let Some(seconds) = seconds.filter(|&seconds| seconds < 1) {
            invalid("sinceSeconds", seconds, "must be greater than 0");
        }
        // The feature PodLogsQuerySplitStreams, which is off.
        if query.first("stream").is_some() {
            let message = "Forbidden: may not be specified".to_owned();
            flaw("stream", "FieldValueForbidden", message);
        }
        if !flaws.is_empty() {
            return Err(refusal(pod, flaws));
        }
        let size = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let ago = size(seconds).map(Duration::from_secs);
        Ok(Self {
            follow: query.flag("follow"),
            previous: query.flag("previous"),
            timestamps: query.flag("timestamps"),
            tail: size(tail),
            limit: size(limit),
            since: ago.map(|ago| now - ago).or(time),
        })
    }
}

fn refusal(pod: &str, flaws: Vec<Value>) -> Failure {
    let text = |flaw: &Value| {
        let part = |name: &str| flaw[name].as_str().unwrap_or_default().to_owned();
        format!("{}: {}", part("field"), part("message"))
    };
    let texts: Vec<String> = flaws.iter().map(text).collect();
    let list = match &texts[..] {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    let message = format!("PodLogOptions {pod:?} is invalid: {list}");
    let mut failure = Failure::new(422, "Invalid", message);
    failure.details = json!({"name": pod, "kind": "PodLogOptions", "causes": flaws});
    failure
}

fn integer(query: &Query, name: &str) -> Result<Option<i64>, Failure> {
    let Some(text) = query.first(name) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        let message = format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
        Failure::bad_request(message)
    })
}

fn time(query: &Query) -> Result<Option<Wall>, Failure> {
    let Some(text) = query.first("sinceTime").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let read = serde_json::from_value::<Wall>(json!(text));
    read.map(|time| Some(time.whole_seconds())).map_err(|_| {
        let layout = "2006-01-02T15:04:05Z07:00";
        let message =
            format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\"");
        Failure::bad_request(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall(100_000_000_001);

    fn query(text: &str) -> Query {
        Query::parse(text).unwrap()
    }

    fn read(text: &str) -> Result<Options, Failure> {
        Options::read("p", &query(text), NOW)
    }

    #[test]
    fn options_are_read() {
        assert_eq!(read("container=c"), Ok(Options::default()));
        let all = "follow&previous=true&timestamps=1&tailLines=0&limitBytes=7&sinceSeconds=60";
        let expected = Options {
            follow: true,
            previous: true,
            timestamps: true,
            tail: Some(0),
            limit: Some(7),
            since: Some(Wall(40_000_000_001)),
        };
        assert_eq!(read(all), Ok(expected));
        let time = read("sinceTime=1970-01-01T01:00:09.5%2B01:00").unwrap();
        assert_eq!(time.since, Some(Wall(9_000_000_000)));
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        let check = |text: &str, code: u16, expected: &str| {
            let failure = read(text).unwrap_err();
            assert_eq!((failure.code, &*failure.message), (code, expected));
        };
        check(
            "tailLines=-1",
            422,
            "PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0",
        );
        check(
            "limitBytes=0&sinceSeconds=0",
            422,
            "PodLogOptions \"p\" is invalid: [limitBytes: Invalid value: 0: must be greater than 0, sinceSeconds: Invalid value: 0: must be greater than 0]",
        );
        check(
            "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
            422,
            "PodLogOptions \"p\" is invalid: : Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        );
        check(
            "stream=Stdout",
            422,
            "PodLogOptions \"p\" is invalid: stream: Forbidden: may not be specified",
        );
        check(
            "tailLines=ten",
            400,
            "strconv.ParseInt: parsing \"ten\": invalid syntax",
        );
        check(
            "sinceTime=yesterday",
            400,
            "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"",
        );
        let details = read("tailLines=-1").unwrap_err().details;
        assert_eq!(details["causes"][0]["field"], "tailLines");
        assert_eq!(details["causes"][0]["reason"], "FieldValueInvalid");
    }
}
