use super::*;

fn names(listed: &Listed) -> Vec<&str> {
    listed
        .objects
        .iter()
        .map(|object| object.key.name.as_str())
        .collect()
}

async fn filled(store: Store) -> Registry {
    let registry = over(store);
    for name in ["a", "b", "c", "d", "e"] {
        created(&registry, "configmaps", config(name, "1")).await;
    }
    registry
}

fn page(limit: usize, token: &str) -> ListOptions {
    ListOptions {
        limit,
        continue_token: token.to_owned(),
        ..ListOptions::default()
    }
}

#[tokio::test]
async fn pages_make_the_list_of_the_first_page() {
    let registry = filled(Store::in_memory()).await;
    let target = at("configmaps");
    let first = registry.list(&target, &page(2, "")).unwrap();
    assert_eq!((names(&first), first.remaining), (vec!["a", "b"], Some(3)));
    created(&registry, "configmaps", config("bb", "1")).await;
    registry
        .delete(&at("configmaps/c"), &DeleteOptions::default())
        .await
        .unwrap();
    registry
        .update(&at("configmaps/d"), config("d", "2"), &by("test"))
        .await
        .unwrap();
    let second = registry
        .list(&target, &page(2, &first.continue_token))
        .unwrap();
    assert_eq!(
        (names(&second), second.remaining),
        (vec!["c", "d"], Some(1))
    );
    assert_eq!(second.objects[1].value["data"]["key"], "1");
    assert_eq!(second.version, first.version);
    let third = registry
        .list(&target, &page(2, &second.continue_token))
        .unwrap();
    assert_eq!((names(&third), third.remaining), (vec!["e"], None));
    assert_eq!(third.continue_token, "");
    let mut selected = page(1, "");
    selected.label_selector = "value=1".to_owned();
    let selected = registry.list(&target, &selected).unwrap();
    assert_eq!(selected.remaining, None, "not told with a selector");
    assert_ne!(selected.continue_token, "");
}

#[tokio::test]
async fn a_forgotten_page_goes_on_with_what_is_there() {
    let store = Store::in_memory_with(probelet_store::Settings {
        remembered_changes: 3,
        ..probelet_store::Settings::default()
    });
    let registry = filled(store).await;
    let target = at("configmaps");
    let first = registry.list(&target, &page(2, "")).unwrap();
    for value in ["2", "3", "4", "5", "6"] {
        registry
            .update(&at("configmaps/d"), config("d", value), &by("test"))
            .await
            .unwrap();
    }
    let failure = registry
        .list(&target, &page(2, &first.continue_token))
        .unwrap_err();
    assert_eq!((failure.code, failure.reason), (410, "Expired"));
    assert!(
        failure.message.starts_with(
            "The provided continue parameter is too old to display a consistent list result."
        ),
        "{failure}"
    );
    let token = failure.to_status()["metadata"]["continue"]
        .as_str()
        .unwrap()
        .to_owned();
    let rest = registry.list(&target, &page(2, &token)).unwrap();
    assert_eq!(names(&rest), ["c", "d"]);
    assert_eq!(rest.objects[1].value["data"]["key"], "6");
    let last = registry
        .list(&target, &page(2, &rest.continue_token))
        .unwrap();
    assert_eq!(names(&last), ["e"]);
    let mut exact = ListOptions {
        version: Some(first.version),
        exact: true,
        ..ListOptions::default()
    };
    refused(
        registry.list(&target, &exact),
        410,
        "The resourceVersion for the provided list is too old.",
    );
    exact.exact = false;
    assert_eq!(registry.list(&target, &exact).unwrap().objects.len(), 5);
}

#[tokio::test]
async fn a_version_is_the_least_or_the_very_one() {
    let registry = filled(Store::in_memory()).await;
    let target = at("configmaps");
    let version = registry.store.version();
    created(&registry, "configmaps", config("f", "1")).await;
    let count = |version: u64, limit: usize, exact: bool| {
        let options = ListOptions {
            version: Some(Version(version)),
            limit,
            exact,
            ..ListOptions::default()
        };
        let listed = registry.list(&target, &options).unwrap();
        (
            listed.objects.len(),
            listed.version == version_at(version, &registry),
        )
    };
    fn version_at(version: u64, _: &Registry) -> Version {
        Version(version)
    }
    assert_eq!(count(0, 0, false), (6, false));
    assert_eq!(count(version.0, 0, false), (6, false));
    assert_eq!(count(version.0, 0, true), (5, true));
    assert_eq!(count(version.0, 100, false), (5, true));
    let listed = registry.list(&target, &ListOptions::default()).unwrap();
    assert_eq!(listed.version, registry.store.version());
}

#[tokio::test]
async fn a_version_that_has_not_been_yet_is_too_large() {
    let registry = filled(Store::in_memory()).await;
    let current = registry.store.version();
    for exact in [false, true] {
        let options = ListOptions {
            version: Some(Version(current.0 + 1)),
            exact,
            ..ListOptions::default()
        };
        let failure = refused(
            registry.list(&at("configmaps"), &options),
            504,
            &format!(
                "Timeout: Too large resource version: {}, current: {current}",
                current.0 + 1
            ),
        );
        assert_eq!(
            failure.details["causes"][0]["reason"],
            "ResourceVersionTooLarge"
        );
    }
    let options = ListOptions {
        version: Some(current),
        continue_token: "x".to_owned(),
        ..ListOptions::default()
    };
    refused(
        registry.list(&at("configmaps"), &options),
        400,
        "specifying resource version is not allowed when using continue",
    );
}

#[tokio::test]
async fn a_list_is_of_one_namespace_or_of_all() {
    let registry = filled(Store::in_memory()).await;
    registry
        .create(
            &within("other", "configmaps"),
            config("a", "1"),
            &by("test"),
        )
        .await
        .unwrap();
    let count = |namespace: &str| {
        let target = within(namespace, "configmaps");
        let listed = registry.list(&target, &ListOptions::default()).unwrap();
        listed.objects.len()
    };
    assert_eq!(
        (
            count("default"),
            count("other"),
            count(""),
            count("missing")
        ),
        (5, 1, 6, 0)
    );
    let namespaces = registry.list(&at("namespaces"), &ListOptions::default());
    assert_eq!(names(&namespaces.unwrap()), ["default", "other"]);
}
