//! What may stand in a URL, after its `?` or in its path.

use serde_json::{Value, json};

/// A parameter: its name, its type, and what it says.
type Parameter = (&'static str, &'static str, &'static str);

const DRY_RUN: Parameter = (
    "dryRun",
    "string",
    "With All, the request is carried out up to the point where something would be stored, and nothing is.",
);
const FIELD_MANAGER: Parameter = (
    "fieldManager",
    "string",
    "Who makes these changes, as metadata.managedFields will name it. At most 128 printable characters.",
);
const FIELD_VALIDATION: Parameter = (
    "fieldValidation",
    "string",
    "What becomes of unknown and duplicate fields: with Ignore they are dropped, with Warn they are dropped and there is a warning for each, with Strict the request fails. Warn, if nobody says.",
);
const CONTINUE: Parameter = (
    "continue",
    "string",
    "Where an earlier list with a limit ended, as it said: the list goes on from there, in the same state of things. When that state is no longer kept, the answer is 410 ResourceExpired.",
);
const FIELD_SELECTOR: Parameter = (
    "fieldSelector",
    "string",
    "Restricts the objects by their fields. All of them, if nobody says.",
);
const LABEL_SELECTOR: Parameter = (
    "labelSelector",
    "string",
    "Restricts the objects by their labels. All of them, if nobody says.",
);
const LIMIT: Parameter = (
    "limit",
    "integer",
    "How many objects to answer at most. If there are more, metadata.continue of the list says how to get them.",
);
const RESOURCE_VERSION: Parameter = (
    "resourceVersion",
    "string",
    "Which state of things is asked for; resourceVersionMatch says in what way.",
);
const RESOURCE_VERSION_MATCH: Parameter = (
    "resourceVersionMatch",
    "string",
    "With resourceVersion, whether it has to be that state (Exact), or may be a later one (NotOlderThan).",
);
const SEND_INITIAL_EVENTS: Parameter = (
    "sendInitialEvents",
    "boolean",
    "A watch begins with an event for each object that there is, and a bookmark after the last.",
);
const TIMEOUT_SECONDS: Parameter = (
    "timeoutSeconds",
    "integer",
    "How long a list or watch may take, in seconds.",
);
const GRACE_PERIOD_SECONDS: Parameter = (
    "gracePeriodSeconds",
    "integer",
    "How long the object may take to end, in seconds. Zero deletes it at once; the kind's own default, if nobody says.",
);
const IGNORE_STORE_READ_ERROR: Parameter = (
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "boolean",
    "Delete an object even though it cannot be read.",
);
const ORPHAN_DEPENDENTS: Parameter = (
    "orphanDependents",
    "boolean",
    "Deprecated, use propagationPolicy: whether the object's dependents stay.",
);
const PROPAGATION_POLICY: Parameter = (
    "propagationPolicy",
    "string",
    "What becomes of the object's dependents: they stay (Orphan), they are deleted after it (Background) or before it (Foreground).",
);

pub(super) const LIST: &[Parameter] = &[
    (
        "allowWatchBookmarks",
        "boolean",
        "A watch may have events of type BOOKMARK, which only tell how far it is.",
    ),
    CONTINUE,
    FIELD_SELECTOR,
    LABEL_SELECTOR,
    LIMIT,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    SEND_INITIAL_EVENTS,
    TIMEOUT_SECONDS,
    (
        "watch",
        "boolean",
        "Answer with a stream of events about changes, and not with a list.",
    ),
];

pub(super) const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];

pub(super) const PATCH: &[Parameter] = &[
    DRY_RUN,
    FIELD_MANAGER,
    FIELD_VALIDATION,
    (
        "force",
        "boolean",
        "With an apply patch: take over fields that other managers own with other values.",
    ),
];

pub(super) const DELETE: &[Parameter] = &[
    DRY_RUN,
    GRACE_PERIOD_SECONDS,
    IGNORE_STORE_READ_ERROR,
    ORPHAN_DEPENDENTS,
    PROPAGATION_POLICY,
];

pub(super) const DELETE_COLLECTION: &[Parameter] = &[
    CONTINUE,
    DRY_RUN,
    FIELD_SELECTOR,
    GRACE_PERIOD_SECONDS,
    IGNORE_STORE_READ_ERROR,
    LABEL_SELECTOR,
    LIMIT,
    ORPHAN_DEPENDENTS,
    PROPAGATION_POLICY,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    SEND_INITIAL_EVENTS,
    TIMEOUT_SECONDS,
];

const CONTAINER: Parameter = (
    "container",
    "string",
    "The container. The only one, if the pod has one.",
);
const STREAMS: [Parameter; 4] = [
    ("stderr", "boolean", "Pass on the standard error."),
    ("stdin", "boolean", "Pass on the standard input."),
    ("stdout", "boolean", "Pass on the standard output."),
    ("tty", "boolean", "Give the command a terminal."),
];

/// Those of a subresource that one reads or connects to.
pub(super) fn of_subresource(name: &str) -> &'static [Parameter] {
    match name {
        "attach" => &[CONTAINER, STREAMS[0], STREAMS[1], STREAMS[2], STREAMS[3]],
        "exec" => &[
            (
                "command",
                "string",
                "The program, and each of its arguments, in order.",
            ),
            CONTAINER,
            STREAMS[0],
            STREAMS[1],
            STREAMS[2],
            STREAMS[3],
        ],
        "log" => &[
            CONTAINER,
            ("follow", "boolean", "Go on as the log grows."),
            (
                "insecureSkipTLSVerifyBackend",
                "boolean",
                "Do not verify who the log comes from.",
            ),
            (
                "limitBytes",
                "integer",
                "How much to answer at most, in bytes.",
            ),
            (
                "previous",
                "boolean",
                "The log of the container's previous run.",
            ),
            (
                "sinceSeconds",
                "integer",
                "Only what is not older than this, in seconds.",
            ),
            (
                "tailLines",
                "integer",
                "How many lines to answer, counted from the end. All of them, if nobody says.",
            ),
            (
                "timestamps",
                "boolean",
                "Begin each line with when it was written, as RFC 3339 has it.",
            ),
        ],
        "portforward" => &[(
            "ports",
            "integer",
            "The ports, for a forward over WebSocket.",
        )],
        _ => &[],
    }
}

pub(super) fn query(parameters: &[Parameter]) -> Vec<Value> {
    parameters
        .iter()
        .map(|(name, schema, description)| {
            json!({
                "name": name,
                "in": "query",
                "description": description,
                "schema": { "type": schema },
            })
        })
        .collect()
}

/// Those of a path, by the words in braces in it.
pub(super) fn path(path: &str, kind: &str) -> Vec<Value> {
    let mut parameters = Vec::new();
    if path.contains("/{name}") {
        parameters.push(in_path("name", &format!("name of the {kind}")));
    }
    if path.contains("/{namespace}") {
        parameters.push(in_path(
            "namespace",
            "object name and auth scope, such as for teams and projects",
        ));
    }
    parameters.extend(query(&[(
        "pretty",
        "string",
        "If true, the answer is laid out for people.",
    )]));
    parameters
}

fn in_path(name: &str, description: &str) -> Value {
    json!({
        "name": name,
        "in": "path",
        "description": description,
        "required": true,
        "schema": { "type": "string" },
    })
}
