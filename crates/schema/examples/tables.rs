//! Prints the table from which protobuf bodies are read, `src/protobuf/tables.txt`, out of Kubernetes' sources.
//!
//! ```text
//! cargo run -p probelet-schema --example tables -- <k8s.io/api> <k8s.io/apimachinery> > crates/schema/src/protobuf/tables.txt
//! ```
//!
//! A field's number and type come from `generated.proto`; its JSON name, and whether JSON keeps its zero
//! value, from the struct tags in `types.go`: no other source has both.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The packages that are read: a short name each, the Protobuf package, and where it is below its checkout.
const PACKAGES: [(&str, &str, &str); 16] = [
    ("apps", ".k8s.io.api.apps.v1.", "apps/v1"),
    (
        "authentication",
        ".k8s.io.api.authentication.v1.",
        "authentication/v1",
    ),
    (
        "authorization",
        ".k8s.io.api.authorization.v1.",
        "authorization/v1",
    ),
    (
        "autoscaling",
        ".k8s.io.api.autoscaling.v1.",
        "autoscaling/v1",
    ),
    (
        "autoscaling/v2",
        ".k8s.io.api.autoscaling.v2.",
        "autoscaling/v2",
    ),
    ("batch", ".k8s.io.api.batch.v1.", "batch/v1"),
    (
        "coordination",
        ".k8s.io.api.coordination.v1.",
        "coordination/v1",
    ),
    ("core", ".k8s.io.api.core.v1.", "core/v1"),
    ("discovery", ".k8s.io.api.discovery.v1.", "discovery/v1"),
    ("events", ".k8s.io.api.events.v1.", "events/v1"),
    (
        "meta",
        ".k8s.io.apimachinery.pkg.apis.meta.v1.",
        "pkg/apis/meta/v1",
    ),
    ("networking", ".k8s.io.api.networking.v1.", "networking/v1"),
    ("node", ".k8s.io.api.node.v1.", "node/v1"),
    ("policy", ".k8s.io.api.policy.v1.", "policy/v1"),
    ("rbac", ".k8s.io.api.rbac.v1.", "rbac/v1"),
    ("scheduling", ".k8s.io.api.scheduling.v1.", "scheduling/v1"),
];

/// What a body may be: apiVersion, package, kinds. A kind with a `+` has a list as well. Those that the API
/// does not serve are here because kubectl can create them: it is the resource that is not found then, and not
/// the body that cannot be read.
const KINDS: [(&str, &str, &str); 16] = [
    (
        "v1",
        "core",
        "ConfigMap+ Endpoints+ Event+ Namespace+ Node+ Pod+ ResourceQuota Secret+ Service+ ServiceAccount+",
    ),
    ("apps/v1", "apps", "Deployment+ ReplicaSet+"),
    (
        "authentication.k8s.io/v1",
        "authentication",
        "SelfSubjectReview TokenRequest TokenReview",
    ),
    (
        "authorization.k8s.io/v1",
        "authorization",
        "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
    ),
    (
        "autoscaling/v1",
        "autoscaling",
        "HorizontalPodAutoscaler Scale",
    ),
    (
        "autoscaling/v2",
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
    ),
    ("batch/v1", "batch", "CronJob Job"),
    ("coordination.k8s.io/v1", "coordination", "Lease+"),
    ("discovery.k8s.io/v1", "discovery", "EndpointSlice+"),
    ("events.k8s.io/v1", "events", "Event+"),
    ("networking.k8s.io/v1", "networking", "Ingress"),
    ("node.k8s.io/v1", "node", "RuntimeClass+"),
    ("policy/v1", "policy", "Eviction PodDisruptionBudget"),
    (
        "rbac.authorization.k8s.io/v1",
        "rbac",
        "ClusterRole ClusterRoleBinding Role RoleBinding",
    ),
    ("scheduling.k8s.io/v1", "scheduling", "PriorityClass"),
    // Clients name the group they talk to, not the package it is from.
    ("*", "meta", "DeleteOptions"),
];

/// Messages with a JSON form of their own, and its word in the table.
const SPECIAL: [(&str, &str); 6] = [
    (".k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1", "json"),
    (
        ".k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime",
        "microtime",
    ),
    (".k8s.io.apimachinery.pkg.apis.meta.v1.Time", "time"),
    (".k8s.io.apimachinery.pkg.api.resource.Quantity", "quantity"),
    (".k8s.io.apimachinery.pkg.runtime.RawExtension", "json"),
    (
        ".k8s.io.apimachinery.pkg.util.intstr.IntOrString",
        "intorstring",
    ),
];

const SCALARS: [&str; 6] = ["bool", "bytes", "double", "int32", "int64", "string"];

const HEAD: &str = "\
# How Kubernetes' protobuf messages are laid out, and what they are in JSON.
#
# Made from Kubernetes 1.35's generated.proto and types.go by `cargo run -p probelet-schema --example tables`;
# not meant to be edited by hand.
#
# First the kinds: apiVersion, kind, and the message of its body. Then the messages, each with its fields:
# number, JSON name (\".\": the message's fields stand in its parent), type. A `*` before the type: its zero
# value is kept, as Go keeps that of a pointer and of a field without omitempty.
";

#[derive(Clone, Debug)]
struct Field {
    number: u32,
    shape: &'static str,
    of: String,
}

/// The fields of messages, by number, under the messages' full names.
type Protos = BTreeMap<String, Vec<Field>>;
/// What Go's structs say, each under its message's full name, by field number.
type Tags = BTreeMap<String, BTreeMap<u32, Tag>>;

#[derive(Clone, Debug)]
struct Tag {
    json: String,
    pointer: bool,
    omitempty: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [api, machinery] = &arguments[..] else {
        return Err("usage: tables <k8s.io/api> <k8s.io/apimachinery>".into());
    };
    let (mut protos, mut tags) = (Protos::new(), Tags::new());
    for (name, package, below) in PACKAGES {
        let root = if name == "meta" { machinery } else { api };
        let directory = root.join(below);
        read_proto(&directory.join("generated.proto"), package, &mut protos)?;
        read_tags(&directory.join("types.go"), package, &mut tags)?;
    }
    #[expect(clippy::print_stdout, reason = "printing is what it is for")]
    {
        print!("{}", table(&protos, &tags)?);
    }
    Ok(())
}

fn read_proto(path: &Path, package: &str, protos: &mut Protos) -> Result<(), Box<dyn Error>> {
    let mut message = None;
    for line in fs::read_to_string(path)?.lines() {
        let line = line.trim();
        if let Some(name) = line
            .strip_prefix("message ")
            .and_then(|rest| rest.strip_suffix(" {"))
        {
            message = Some(protos.entry(format!("{package}{name}")).or_default());
        } else if line == "}" {
            message = None;
        } else if let (Some(fields), Some(declared)) = (&mut message, line.strip_suffix(';'))
            && !line.starts_with("//")
        {
            fields.push(proto_field(declared, package).ok_or_else(|| line.to_owned())?);
        }
    }
    Ok(())
}

/// `optional string name = 1`, `map<string, string> labels = 11`.
fn proto_field(declared: &str, package: &str) -> Option<Field> {
    let (left, number) = declared.split_once(" = ")?;
    let (left, _name) = left.rsplit_once(' ')?;
    let (shape, of) = if let Some(map) = left.strip_prefix("map<string, ") {
        ("map ", map.strip_suffix('>')?)
    } else if let Some(of) = left.strip_prefix("repeated ") {
        ("list ", of)
    } else {
        ("", left.strip_prefix("optional ")?)
    };
    let of = if SCALARS.contains(&of) || of.starts_with('.') {
        of.to_owned()
    } else {
        format!("{package}{of}")
    };
    Some(Field {
        number: number.split(' ').next()?.parse().ok()?,
        shape,
        of,
    })
}

fn read_tags(path: &Path, package: &str, tags: &mut Tags) -> Result<(), Box<dyn Error>> {
    let mut fields = None;
    for line in fs::read_to_string(path)?.lines() {
        if let Some(name) = line
            .strip_prefix("type ")
            .and_then(|rest| rest.strip_suffix(" struct {"))
        {
            fields = Some(tags.entry(format!("{package}{name}")).or_default());
        } else if line.starts_with('}') {
            fields = None;
        } else if let (Some(fields), Some((declared, tag))) = (&mut fields, line.split_once('`'))
            && !declared.trim_start().starts_with("//")
            && let Some(protobuf) = tag_of(tag, "protobuf")
            && let Some(number) = protobuf.split(',').nth(1)
        {
            let json = tag_of(tag, "json").ok_or_else(|| line.to_owned())?;
            fields.insert(number.parse()?, json_of(declared, json));
        }
    }
    Ok(())
}

fn tag_of<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(&format!("{name}:\""))?;
    rest.split('"').next()
}

fn json_of(declared: &str, json: &str) -> Tag {
    let mut words = json.split(',');
    let name = words.next().unwrap_or_default();
    let options: Vec<&str> = words.collect();
    let inline = options.contains(&"inline");
    let go_type = declared.split_whitespace().last();
    Tag {
        json: if inline { "." } else { name }.to_owned(),
        pointer: go_type.is_some_and(|go| go.starts_with('*')),
        omitempty: inline || options.iter().any(|option| option.starts_with("omit")),
    }
}

/// All that can be reached from the kinds, as text.
fn table(protos: &Protos, tags: &Tags) -> Result<String, Box<dyn Error>> {
    let mut text = HEAD.to_owned();
    let mut wanted = Vec::new();
    for (api_version, package, kinds) in KINDS {
        text.push('\n');
        for word in kinds.split(' ') {
            let kind = word.trim_end_matches('+');
            let list = word.ends_with('+').then(|| format!("{kind}List"));
            for kind in std::iter::once(kind.to_owned()).chain(list) {
                text += &format!("{api_version} {kind} = {package}.{kind}\n");
                wanted.push(full_name(package, &kind)?);
            }
        }
    }
    let mut reached = BTreeSet::new();
    while let Some(message) = wanted.pop() {
        if !reached.insert(message.clone()) {
            continue;
        }
        let fields = protos
            .get(&message)
            .ok_or_else(|| format!("no message {message}"))?;
        for field in fields {
            let word = word_of(&field.of, protos, tags);
            if word.contains('.') {
                wanted.push(field.of.clone());
            }
        }
    }
    let mut ordered: Vec<&String> = reached.iter().collect();
    ordered.sort_by_key(|message| short_name(message));
    for message in ordered {
        text += &format!("\n{}\n", short_name(message));
        for field in &protos[message] {
            let tag = tags
                .get(message)
                .and_then(|fields| fields.get(&field.number))
                .ok_or_else(|| format!("{message}: no struct has field {}", field.number))?;
            text += &line_of(field, tag, &word_of(&field.of, protos, tags));
        }
    }
    Ok(text)
}

/// A message that is no pointer is written when it is empty, in protobuf as in JSON: its being there says
/// nothing, so that it is not kept. Nor is a zero time, which is null in JSON.
fn line_of(field: &Field, tag: &Tag, word: &str) -> String {
    let says_something = !matches!(word, "time" | "microtime");
    let kept = match field.shape {
        "" => (tag.pointer || (!tag.omitempty && !word.contains('.'))) && says_something,
        _ => !tag.omitempty,
    };
    let mark = if kept { "*" } else { "" };
    format!(
        "  {} {} {}{mark}{word}\n",
        field.number, tag.json, field.shape
    )
}

/// What a type is called in the table.
fn word_of(of: &str, protos: &Protos, tags: &Tags) -> String {
    if let Some((_, word)) = SPECIAL.iter().find(|(message, _)| *message == of) {
        return (*word).to_owned();
    }
    // A message without a struct is a Go slice that had to be one: ExtraValue.
    if protos.contains_key(of) && !tags.contains_key(of) {
        return "strings".to_owned();
    }
    short_name(of)
}

/// `core.Pod` for `.k8s.io.api.core.v1.Pod`; others, scalars among them, stay as they are.
fn short_name(of: &str) -> String {
    PACKAGES
        .iter()
        .find_map(|(name, package, _)| Some(format!("{name}.{}", of.strip_prefix(package)?)))
        .unwrap_or_else(|| of.to_owned())
}

fn full_name(name: &str, message: &str) -> Result<String, Box<dyn Error>> {
    let (_, package, _) = PACKAGES
        .iter()
        .find(|(known, _, _)| *known == name)
        .ok_or_else(|| format!("no package {name}"))?;
    Ok(format!("{package}{message}"))
}
