//! Whether the OpenAPI documents tell of the same resources as discovery.

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use probelet_api::resource::{METRICS, RESOURCES, Resource, Subresource};
    use probelet_schema::openapi;
    use serde_json::Value;

    /// Path, method and `x-kubernetes-action` of what can be asked.
    type Operation = (String, String, String);

    fn place(resource: &Resource) -> String {
        if resource.group.is_empty() {
            format!("/api/{}", resource.version)
        } else {
            format!("/apis/{}/{}", resource.group, resource.version)
        }
    }

    fn documented() -> BTreeSet<Operation> {
        let index: Value = serde_json::from_slice(&openapi::index()).unwrap();
        let mut operations = BTreeSet::new();
        for path in index["paths"].as_object().unwrap().keys() {
            let (text, _) = openapi::document(path).unwrap();
            let document: Value = serde_json::from_slice(&text).unwrap();
            for (path, item) in document["paths"].as_object().unwrap() {
                for (method, operation) in item.as_object().unwrap() {
                    // The paths of discovery itself have no action.
                    if let Some(action) = operation["x-kubernetes-action"].as_str() {
                        operations.insert((path.clone(), method.clone(), action.to_owned()));
                    }
                }
            }
        }
        operations
    }

    fn of_resource(resource: &Resource, operations: &mut BTreeSet<Operation>) {
        let place = place(resource);
        let plural = resource.plural;
        let collection = if resource.namespaced {
            format!("{place}/namespaces/{{namespace}}/{plural}")
        } else {
            format!("{place}/{plural}")
        };
        let object = format!("{collection}/{{name}}");
        let mut add = |path: &str, method: &str, action: &str| {
            operations.insert((path.to_owned(), method.to_owned(), action.to_owned()));
        };
        for verb in resource.verbs {
            match *verb {
                "create" => add(&collection, "post", "post"),
                "delete" => add(&object, "delete", "delete"),
                "deletecollection" => add(&collection, "delete", "deletecollection"),
                "get" => add(&object, "get", "get"),
                "list" => {
                    add(&collection, "get", "list");
                    add(&format!("{place}/{plural}"), "get", "list");
                }
                "patch" => add(&object, "patch", "patch"),
                "update" => add(&object, "put", "put"),
                // A parameter of list.
                "watch" => {}
                other => panic!("no such verb: {other}"),
            }
        }
        for below in resource.subresources {
            let path = format!("{object}/{}", below.name);
            for (method, action) in of_subresource(below) {
                add(&path, method, action);
            }
        }
    }

    fn of_subresource(below: &Subresource) -> Vec<(&'static str, &'static str)> {
        let connects = ["attach", "exec", "portforward"].contains(&below.name);
        below
            .verbs
            .iter()
            .map(|verb| match *verb {
                "create" if connects => ("post", "connect"),
                "get" if connects => ("get", "connect"),
                "create" => ("post", "post"),
                "get" => ("get", "get"),
                "patch" => ("patch", "patch"),
                "update" => ("put", "put"),
                other => panic!("no such verb: {other}"),
            })
            .collect()
    }

    #[test]
    fn the_documents_are_of_the_resources_of_discovery() {
        let mut expected = BTreeSet::new();
        // Upstream's are another server's, whose documents are not among the data.
        let own = |resource: &&Resource| resource.group != METRICS;
        for resource in RESOURCES.iter().filter(own) {
            of_resource(resource, &mut expected);
        }
        let documented = documented();
        let missing: Vec<_> = expected.difference(&documented).collect();
        let unheard_of: Vec<_> = documented.difference(&expected).collect();
        assert!(
            missing.is_empty() && unheard_of.is_empty(),
            "not in the documents: {missing:#?}; only in the documents: {unheard_of:#?}"
        );
    }
}
