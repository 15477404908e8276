//! What can be asked where: the `paths` of a document.

use serde_json::{Map, Value, json};

use super::parameters;
use super::resources::{Access, Group, Resource, Subresource};
use crate::definitions::REFERENCE;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The `paths` of a group's document. `definition` knows a kind's definition by its group and kind.
pub(super) fn of(group: &Group, definition: &dyn Fn(&str, &str) -> Option<String>) -> Value {
    let mut paths = Paths {
        group,
        definition,
        items: Map::new(),
    };
    paths.discovery();
    for resource in group.resources {
        if resource.stored {
            paths.collection(resource);
            paths.object(resource);
        } else {
            paths.asked(resource);
        }
        for subresource in resource.subresources {
            paths.subresource(resource, subresource);
        }
    }
    Value::Object(paths.items)
}

struct Paths<'p> {
    group: &'p Group,
    definition: &'p dyn Fn(&str, &str) -> Option<String>,
    items: Map<String, Value>,
}

/// One operation, as far as operations differ.
struct Operation {
    /// The HTTP method.
    method: &'static str,
    /// `x-kubernetes-action`.
    action: &'static str,
    id: String,
    description: String,
    parameters: Vec<Value>,
    body: Option<Value>,
    /// Of the answers that mean success: their codes, and what they contain.
    answers: Vec<(&'static str, Value)>,
    /// Group and kind.
    kind: (&'static str, &'static str),
}

impl Paths<'_> {
    fn discovery(&mut self) {
        let path = format!("/{}/", self.group.path());
        let operation = json!({
            "description": "get available resources",
            "operationId": self.id("get", "APIResources"),
            "tags": [self.tag()],
            "responses": responses(&[("200", json_of(&meta("APIResourceList")))]),
        });
        self.items.insert(path, json!({ "get": operation }));
    }

    fn collection(&mut self, resource: &Resource) {
        let kind = (self.group.name, resource.kind);
        let object = self.definition_of(kind.0, kind.1);
        let list = self.definition_of(kind.0, &format!("{}List", kind.1));
        let scoped = scoped(resource);
        let item = [
            Operation {
                description: format!("list or watch objects of kind {}", kind.1),
                parameters: parameters::query(parameters::LIST),
                answers: vec![("200", watchable(&list))],
                ..self.operation("get", "list", self.id("list", &scoped), kind)
            },
            Operation {
                description: format!("create a {}", kind.1),
                parameters: parameters::query(parameters::WRITE),
                body: Some(any_of(&object)),
                answers: ["200", "201", "202"]
                    .map(|code| (code, json_of(&object)))
                    .to_vec(),
                ..self.operation("post", "post", self.id("create", &scoped), kind)
            },
            Operation {
                description: format!("delete collection of {}", kind.1),
                parameters: parameters::query(parameters::DELETE_COLLECTION),
                body: Some(any_of(&meta("DeleteOptions"))),
                answers: vec![("200", json_of(&meta("Status")))],
                ..self.operation(
                    "delete",
                    "deletecollection",
                    self.id("delete", &format!("Collection{scoped}")),
                    kind,
                )
            },
        ];
        self.add(&self.below(resource, ""), kind.1, item);
        if resource.namespaced {
            let everywhere = Operation {
                description: format!("list or watch objects of kind {}", kind.1),
                parameters: parameters::query(parameters::LIST),
                answers: vec![("200", watchable(&list))],
                ..self.operation(
                    "get",
                    "list",
                    self.id("list", &format!("{}ForAllNamespaces", kind.1)),
                    kind,
                )
            };
            let path = format!("/{}/{}", self.group.path(), resource.plural);
            self.add(&path, kind.1, [everywhere]);
        }
    }

    fn object(&mut self, resource: &Resource) {
        let kind = (self.group.name, resource.kind);
        let object = self.definition_of(kind.0, kind.1);
        let scoped = scoped(resource);
        // Upstream answers the deletion of what ends with grace with the object, that of others with a Status.
        let deleted = if matches!(kind, ("", "Pod" | "Service" | "ServiceAccount")) {
            object
        } else {
            meta("Status")
        };
        let delete = Operation {
            description: format!("delete a {}", kind.1),
            parameters: parameters::query(parameters::DELETE),
            body: Some(any_of(&meta("DeleteOptions"))),
            answers: ["200", "202"]
                .map(|code| (code, json_of(&deleted)))
                .to_vec(),
            ..self.operation("delete", "delete", self.id("delete", &scoped), kind)
        };
        let path = self.below(resource, "/{name}");
        let edits = self.edits(&scoped, kind, "");
        self.add(&path, kind.1, edits.into_iter().chain([delete]));
    }

    fn asked(&mut self, resource: &Resource) {
        let kind = (self.group.name, resource.kind);
        let create = self.create(&scoped(resource), kind);
        self.add(&self.below(resource, ""), kind.1, [create]);
    }

    fn subresource(&mut self, resource: &Resource, subresource: &Subresource) {
        let Subresource { name, body, access } = *subresource;
        let path = self.below(resource, &format!("/{{name}}/{name}"));
        let scoped = format!("{}{}", scoped(resource), capitalised(name));
        let text = json!({ "text/plain": { "schema": { "type": "string" } } });
        let operations = match access {
            Access::Edit => self.edits(&scoped, body, name),
            Access::Replace => self
                .edits(&scoped, body, name)
                .into_iter()
                .filter(|operation| operation.method == "put")
                .collect(),
            Access::Create => vec![self.create(&scoped, body)],
            Access::Log => vec![Operation {
                description: format!("read {name} of the specified {}", body.1),
                parameters: parameters::query(parameters::of_subresource(name)),
                answers: vec![("200", text)],
                ..self.operation("get", "get", self.id("read", &scoped), body)
            }],
            Access::Connect => ["get", "post"]
                .map(|method| Operation {
                    description: format!(
                        "connect {} requests to {name} of {}",
                        method.to_uppercase(),
                        resource.kind
                    ),
                    parameters: parameters::query(parameters::of_subresource(name)),
                    answers: vec![("200", text.clone())],
                    ..self.operation(
                        method,
                        "connect",
                        self.id("connect", &format!("{}{scoped}", capitalised(method))),
                        body,
                    )
                })
                .into(),
        };
        self.add(&path, body.1, operations);
    }

    /// To read, replace and patch.
    fn edits(
        &self,
        scoped: &str,
        kind: (&'static str, &'static str),
        subresource: &str,
    ) -> Vec<Operation> {
        let object = self.definition_of(kind.0, kind.1);
        let what = if subresource.is_empty() {
            format!("the specified {}", kind.1)
        } else {
            format!("{subresource} of the specified {}", kind.1)
        };
        let written = ["200", "201"].map(|code| (code, json_of(&object))).to_vec();
        let patch = json!({ "schema": reference(&meta("Patch")) });
        vec![
            Operation {
                description: format!("read {what}"),
                answers: vec![("200", json_of(&object))],
                ..self.operation("get", "get", self.id("read", scoped), kind)
            },
            Operation {
                description: format!("replace {what}"),
                parameters: parameters::query(parameters::WRITE),
                body: Some(any_of(&object)),
                answers: written.clone(),
                ..self.operation("put", "put", self.id("replace", scoped), kind)
            },
            Operation {
                description: format!("partially update {what}"),
                parameters: parameters::query(parameters::PATCH),
                body: Some(json!({
                    "application/apply-patch+yaml": patch,
                    "application/json-patch+json": patch,
                    "application/merge-patch+json": patch,
                    "application/strategic-merge-patch+json": patch,
                })),
                answers: written,
                ..self.operation("patch", "patch", self.id("patch", scoped), kind)
            },
        ]
    }

    fn create(&self, scoped: &str, kind: (&'static str, &'static str)) -> Operation {
        let object = self.definition_of(kind.0, kind.1);
        Operation {
            description: format!("create a {}", kind.1),
            parameters: parameters::query(parameters::WRITE),
            body: Some(any_of(&object)),
            answers: ["200", "201", "202"]
                .map(|code| (code, json_of(&object)))
                .to_vec(),
            ..self.operation("post", "post", self.id("create", scoped), kind)
        }
    }

    fn operation(
        &self,
        method: &'static str,
        action: &'static str,
        id: String,
        kind: (&'static str, &'static str),
    ) -> Operation {
        Operation {
            method,
            action,
            id,
            description: String::new(),
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            kind,
        }
    }

    fn add(&mut self, path: &str, kind: &str, operations: impl IntoIterator<Item = Operation>) {
        let mut item = Map::new();
        item.insert("parameters".to_owned(), parameters::path(path, kind).into());
        for operation in operations {
            item.insert(operation.method.to_owned(), operation.json(&self.tag()));
        }
        self.items.insert(path.to_owned(), item.into());
    }

    /// The path of a resource, in a namespace if it is in one, with what comes after it.
    fn below(&self, resource: &Resource, after: &str) -> String {
        let namespace = if resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        format!(
            "/{}{namespace}/{}{after}",
            self.group.path(),
            resource.plural
        )
    }

    /// `readCoreV1NamespacedPod`: `read`, the group, the version, and what.
    fn id(&self, verb: &str, what: &str) -> String {
        format!("{verb}{}V1{what}", capitalised(self.group.short_name()))
    }

    fn tag(&self) -> String {
        format!("{}_v1", self.group.short_name())
    }

    /// The name of a kind's definition.
    fn definition_of(&self, group: &str, kind: &str) -> String {
        (self.definition)(group, kind)
            .expect("a kind that is a body has a definition, a test looks")
    }
}

impl Operation {
    fn json(self, tag: &str) -> Value {
        let mut json = json!({
            "description": self.description,
            "operationId": self.id,
            "tags": [tag],
            "responses": responses(&self.answers),
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": {
                "group": self.kind.0,
                "version": "v1",
                "kind": self.kind.1,
            },
        });
        if !self.parameters.is_empty() {
            json["parameters"] = self.parameters.into();
        }
        if let Some(content) = self.body {
            json["requestBody"] = json!({ "content": content });
        }
        json
    }
}

fn responses(answers: &[(&str, Value)]) -> Value {
    let mut responses: Map<String, Value> = answers
        .iter()
        .map(|(code, content)| {
            let description = match *code {
                "201" => "Created",
                "202" => "Accepted",
                _ => "OK",
            };
            (
                (*code).to_owned(),
                json!({ "description": description, "content": content }),
            )
        })
        .collect();
    responses.insert("401".to_owned(), json!({ "description": "Unauthorized" }));
    responses.into()
}

fn json_of(definition: &str) -> Value {
    json!({ "application/json": { "schema": reference(definition) } })
}

fn watchable(definition: &str) -> Value {
    let schema = json!({ "schema": reference(definition) });
    json!({ "application/json": schema, "application/json;stream=watch": schema })
}

fn any_of(definition: &str) -> Value {
    json!({ "*/*": { "schema": reference(definition) } })
}

fn reference(definition: &str) -> Value {
    json!({ "$ref": format!("{REFERENCE}{definition}") })
}

fn meta(kind: &str) -> String {
    format!("{META}.{kind}")
}

fn scoped(resource: &Resource) -> String {
    let namespaced = if resource.namespaced {
        "Namespaced"
    } else {
        ""
    };
    format!("{namespaced}{}", resource.kind)
}

fn capitalised(word: &str) -> String {
    match word.split_at_checked(1) {
        Some((first, rest)) => format!("{}{rest}", first.to_uppercase()),
        None => word.to_owned(),
    }
}
