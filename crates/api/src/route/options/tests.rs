use super::*;

fn query(text: &str) -> Query {
    Query::parse(text).unwrap()
}

fn pods() -> &'static Resource {
    Resource::find("", "v1", "pods").unwrap()
}

#[test]
fn options_are_read() {
    let read = list(&query(
        "limit=5&continue=t&labelSelector=a%3Db&fieldSelector=c=d",
    ))
    .unwrap();
    let expected = ListOptions {
        label_selector: "a=b".to_owned(),
        field_selector: "c=d".to_owned(),
        limit: 5,
        continue_token: "t".to_owned(),
        version: None,
        exact: false,
    };
    assert_eq!(read, expected);
    let exact = list(&query("resourceVersion=7&resourceVersionMatch=Exact")).unwrap();
    assert_eq!((exact.version, exact.exact), (Some(Version(7)), true));
    let read = watch(
        &query("resourceVersion=9&allowWatchBookmarks=true&timeoutSeconds=30&watch=1"),
        pods(),
    );
    let expected = WatchOptions {
        version: Some(Version(9)),
        bookmarks: true,
        initial_events: None,
        timeout: Some(Duration::from_secs(30)),
    };
    assert_eq!(read, Ok(expected));
    assert_eq!(
        watch(&query("resourceVersion=0"), pods()),
        Ok(WatchOptions::default())
    );
    let read = write(
        "CreateOptions",
        &query("dryRun=All&fieldValidation=Strict"),
        "kubectl/v1.33 (x)",
        None,
    );
    let expected = WriteOptions {
        dry_run: true,
        field_manager: "kubectl".to_owned(),
        field_validation: FieldValidation::Strict,
        force: false,
    };
    assert_eq!(read, Ok(expected));
    let read = write(
        "PatchOptions",
        &query("fieldManager=me&force=true"),
        "",
        Some(PatchType::Apply),
    );
    assert!(read.unwrap().force);
}

#[test]
fn options_that_cannot_be() {
    let rows: [(Result<(), Failure>, u16, &str); 13] = [
        (
            list(&query("limit=x")).map(drop),
            400,
            "strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            list(&query("resourceVersion=x")).map(drop),
            400,
            "invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax",
        ),
        (
            list(&query("resourceVersionMatch=Exact")).map(drop),
            422,
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            list(&query(
                "resourceVersionMatch=x&resourceVersion=1&continue=t",
            ))
            .map(drop),
            422,
            "ListOptions.meta.k8s.io \"\" is invalid: [resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for continue, resourceVersionMatch: Unsupported value: \"x\": supported values: \"Exact\", \"NotOlderThan\"]",
        ),
        (
            watch(&query("resourceVersion=x"), pods()).map(drop),
            422,
            "pods \"\" is invalid: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax",
        ),
        (
            watch(&query("timeoutSeconds=1s"), pods()).map(drop),
            400,
            "strconv.ParseInt: parsing \"1s\": invalid syntax",
        ),
        (
            watch(&query("sendInitialEvents=true"), pods()).map(drop),
            422,
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            watch(&query("resourceVersionMatch=NotOlderThan"), pods()).map(drop),
            422,
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (
            write("CreateOptions", &query("dryRun=x"), "", None).map(drop),
            422,
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: []string{\"x\"}: supported values: \"All\"",
        ),
        (
            write("UpdateOptions", &query("fieldValidation=x"), "", None).map(drop),
            422,
            "UpdateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"x\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
        ),
        (
            write(
                "PatchOptions",
                &query(""),
                "kubectl/v1",
                Some(PatchType::Apply),
            )
            .map(drop),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
        (
            write(
                "PatchOptions",
                &query("force=true"),
                "",
                Some(PatchType::Merge),
            )
            .map(drop),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
        ),
        (
            delete(&query("propagationPolicy=x"), None).map(drop),
            422,
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"x\": supported values: \"Background\", \"Foreground\", \"Orphan\", \"nil\"",
        ),
    ];
    for (found, code, message) in rows {
        let failure = found.unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (code, message));
    }
}

#[test]
fn a_delete_says_how() {
    let body = json!({
        "kind": "DeleteOptions", "gracePeriodSeconds": 5, "propagationPolicy": "Foreground",
        "preconditions": {"uid": "u", "resourceVersion": "3"}, "dryRun": ["All"],
    });
    let expected = DeleteOptions {
        grace: Some(5),
        uid: Some("u".to_owned()),
        version: Some(Version(3)),
        propagation: Some(Propagation::Foreground),
        dry_run: true,
    };
    // A body leaves the query unread.
    assert_eq!(
        delete(&query("gracePeriodSeconds=1"), Some(&body)),
        Ok(expected)
    );
    let by_query = delete(&query("gracePeriodSeconds=1&orphanDependents=true"), None).unwrap();
    assert_eq!(
        (by_query.grace, by_query.propagation),
        (Some(1), Some(Propagation::Orphan))
    );
    let wrong = delete(&Query::default(), Some(&json!({"kind": "Pod"}))).unwrap_err();
    assert_eq!(wrong.code, 400);
}
