//! One request at a time.

use std::io::Read;
use std::time::Duration;

use flate2::read::GzDecoder;
use probelet_api::serve::Limits;
use probelet_api::serve::listen::{ListenError, Reach};
use probelet_model::id::{Kind, ObjectKey};
use probelet_store::{Durability, Transaction};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::ground::{Answer, Ground, Who, get, request};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

#[tokio::test]
async fn nobody_is_anonymous() {
    let ground = Ground::new().await;
    for who in [Who::Nobody, Who::Stranger] {
        for path in ["/version", "/api", "/readyz", "/api/v1/pods", "/nowhere"] {
            let answer = Answer::of(ground.ask(who, get(path, &[])).await).await;
            assert_eq!(answer.code, 401, "{who:?} {path}");
            let status = answer.json();
            assert_eq!(status["reason"], "Unauthorized");
            assert_eq!(status["message"], "Unauthorized");
        }
    }
    let token = |token: &str| get("/version", &[("authorization", token)]);
    let answer = Answer::of(ground.ask(Who::Nobody, token("Bearer sesame")).await).await;
    assert_eq!(answer.code, 200);
    let answer = Answer::of(ground.ask(Who::Nobody, token("Bearer simsalabim")).await).await;
    assert_eq!(answer.code, 401);
}

#[tokio::test]
async fn plain_http_is_told_so() {
    let ground = Ground::new().await;
    let mut stream = TcpStream::connect(ground.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    assert_eq!(
        told,
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
    );
}

#[tokio::test]
async fn every_answer_can_be_told_apart() {
    let ground = Ground::new().await;
    let first = ground.get("/version", &[]).await;
    let second = ground.get("/version", &[]).await;
    assert_eq!(first.header("audit-id").len(), 36);
    assert_ne!(first.header("audit-id"), second.header("audit-id"));
    assert_eq!(first.header("cache-control"), "no-cache, private");
    assert_eq!(first.json()["minor"], "35");
}

#[tokio::test]
async fn discovery_comes_in_the_form_that_is_asked_for() {
    let ground = Ground::new().await;
    let new = ground.get("/apis", &[("accept", AGGREGATED)]).await;
    assert_eq!(
        new.header("content-type"),
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    assert_eq!(new.json()["apiVersion"], "apidiscovery.k8s.io/v2");
    let tag = new.header("etag").to_owned();
    let again = [("accept", AGGREGATED), ("if-none-match", tag.as_str())];
    let again = ground.get("/apis", &again).await;
    assert_eq!((again.code.as_u16(), again.body.len()), (304, 0));
    assert_eq!(again.header("content-type"), "");
    let old = ground.get("/apis", &[("accept", "application/json")]).await;
    assert_eq!(old.json()["kind"], "APIGroupList");
    let core = ground.get("/api", &[]).await;
    assert_eq!(core.json()["versions"][0], "v1");
    let list = ground.get("/apis/apps/v1", &[]).await;
    assert_eq!(list.json()["kind"], "APIResourceList");
    let yaml = ground
        .get("/apis/apps", &[("accept", "application/yaml")])
        .await;
    assert!(yaml.text().contains("kind: APIGroup"), "{}", yaml.text());
}

#[tokio::test]
async fn paths_of_no_object() {
    let ground = Ground::new().await;
    let rows = [
        ("/healthz", 200, "ok"),
        (
            "/livez?verbose",
            200,
            "[+]ping ok\n[+]store ok\nlivez check passed\n",
        ),
        (
            "/readyz?verbose&exclude=store",
            200,
            "[+]ping ok\nreadyz check passed\n",
        ),
        ("/readyz/store", 200, "ok"),
        ("/readyz/none", 404, "404 page not found\n"),
        ("/nowhere", 404, "404 page not found\n"),
        ("/apis/batch/v1/jobs", 404, "404 page not found\n"),
        ("/openapi/v2", 200, ""),
        ("/openapi/v3/none", 404, "404 page not found\n"),
    ];
    for (path, code, text) in rows {
        let answer = ground.get(path, &[]).await;
        assert_eq!(
            (answer.code.as_u16(), answer.text()),
            (code, text),
            "{path}"
        );
    }
    let metrics = ground.get("/metrics", &[]).await;
    assert!(
        metrics
            .text()
            .contains("apiserver_request_total{code=\"404\"")
    );
    assert!(metrics.text().ends_with("more 1\n"));
}

#[tokio::test]
async fn schemas_may_be_kept_by_their_hash() {
    let ground = Ground::new().await;
    let index = ground.get("/openapi/v3", &[]).await.json();
    let current = index["paths"]["api/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let kept = ground.get(current, &[]).await;
    assert_eq!(kept.header("cache-control"), "public, immutable");
    assert_eq!(kept.header("expires"), "Mon, 01 Nov 2027 00:00:00 GMT");
    assert_eq!(kept.header("vary"), "Accept");
    assert_eq!(kept.json()["openapi"], "3.0.0");
    let asked_anew = ground.get("/openapi/v3/api/v1", &[]).await;
    assert_eq!(asked_anew.header("cache-control"), "public");
    let again = ground
        .get(current, &[("if-none-match", kept.header("etag"))])
        .await;
    assert_eq!(again.code, 304);
    let old = ground.get("/openapi/v3/api/v1?hash=OLD", &[]).await;
    assert_eq!((old.code.as_u16(), old.header("location")), (301, current));
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let ground = Ground::new().await;
    let json = [("content-type", "application/json")];
    let patch = [("content-type", "text/plain")];
    let rows = [
        (
            request("GET", "/api/v1/jobs", &[], ""),
            404,
            "NotFound",
            "the server could not find the requested resource",
        ),
        (
            request("POST", "/api", &[], ""),
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
        (
            request("POST", "/api/v1/pods", &json, "{}"),
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
        (
            request("PUT", "/api/v1/namespaces/a/pods", &json, "{}"),
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
        (
            request(
                "GET",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                &[],
                "",
            ),
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
        (
            request("GET", "/api/v1/pods", &[("accept", "text/html")], ""),
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json, application/yaml",
        ),
        (
            request("GET", "/api/v1/pods?limit=x", &[], ""),
            400,
            "BadRequest",
            "strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            request("GET", "/api/v1/pods?a=%zz", &[], ""),
            400,
            "BadRequest",
            "invalid URL escape",
        ),
        (
            request(
                "POST",
                "/api/v1/namespaces/a/pods",
                &[("content-type", "text/plain")],
                "{}",
            ),
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        ),
        (
            request("PATCH", "/api/v1/namespaces/a/pods/p", &patch, "{}"),
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
        ),
        (
            request(
                "POST",
                "/api/v1/namespaces/a/pods?fieldValidation=Strict",
                &json,
                "{\"kind\": \"Pod\", \"kind\": \"Pod\"}",
            ),
            400,
            "BadRequest",
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: duplicate field \"kind\"",
        ),
    ];
    for (request, code, reason, message) in rows {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = Answer::of(ground.ask(Who::Admin, request).await).await;
        let status = answer.json();
        assert_eq!(answer.code, code, "{what}");
        assert_eq!(status["kind"], "Status", "{what}");
        assert_eq!(status["reason"], reason, "{what}");
        assert_eq!(status["message"], message, "{what}");
    }
}

#[tokio::test]
async fn long_answers_are_made_shorter() {
    let ground = Ground::new().await;
    let objects = |count: usize| {
        for index in 0..count {
            let name = format!("c{index}");
            let object = serde_json::json!({
                "kind": "ConfigMap", "apiVersion": "v1",
                "metadata": {"name": name, "namespace": "a"}, "data": {"k": "v".repeat(1000)},
            });
            let key = ObjectKey::new(Kind::ConfigMap, "a", name);
            let put = |transaction: &mut Transaction<'_>| transaction.put_any(key, object);
            ground.store.transact(Durability::Derived, put).unwrap();
        }
    };
    let path = "/api/v1/namespaces/a/configmaps";
    let gzip = [("accept-encoding", "gzip")];
    objects(10);
    let short = ground.get(path, &gzip).await;
    assert_eq!(short.header("content-encoding"), "");
    objects(200);
    let long = ground.get(path, &gzip).await;
    assert_eq!(long.header("content-encoding"), "gzip");
    let plain = ground.get(path, &[]).await;
    assert_eq!(plain.header("content-encoding"), "");
    assert_eq!(plain.json()["items"].as_array().unwrap().len(), 200);
    let mut undone = Vec::new();
    GzDecoder::new(&long.body[..])
        .read_to_end(&mut undone)
        .unwrap();
    assert_eq!(undone, plain.body);
    assert!(long.body.len() < plain.body.len() / 10);
}

#[tokio::test]
async fn who_may_little_is_told_so() {
    let ground = Ground::new().await;
    let as_bob =
        |method: &str, path: &str| request(method, path, &[("impersonate-user", "bob")], "");
    let rows = [
        ("GET", "/version", 200, ""),
        (
            "GET",
            "/metrics",
            403,
            "forbidden: User \"bob\" cannot get path \"/metrics\"",
        ),
        (
            "GET",
            "/api/v1/namespaces/a/pods",
            403,
            "pods is forbidden: User \"bob\" cannot list resource \"pods\" in API group \"\" in the namespace \"a\"",
        ),
    ];
    for (method, path, code, message) in rows {
        let answer = Answer::of(ground.ask(Who::Admin, as_bob(method, path)).await).await;
        assert_eq!(answer.code, code, "{path}");
        if !message.is_empty() {
            assert_eq!(answer.json()["message"], message, "{path}");
        }
    }
}

#[tokio::test]
async fn the_token_of_an_account_is_let_in_as_that_account() {
    let ground = Ground::new().await;
    let namespace = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}}"#;
    let made = ground.ask(
        Who::Admin,
        request("POST", "/api/v1/namespaces", &[], namespace),
    );
    assert_eq!(Answer::of(made.await).await.code, 201);
    let account = r#"{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"robot"}}"#;
    let accounts = "/api/v1/namespaces/a/serviceaccounts";
    let made = ground.ask(Who::Admin, request("POST", accounts, &[], account));
    assert_eq!(Answer::of(made.await).await.code, 201);
    let wanted = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}"#;
    let path = format!("{accounts}/robot/token");
    let answer = Answer::of(
        ground
            .ask(Who::Admin, request("POST", &path, &[], wanted))
            .await,
    );
    let token = answer.await.json()["status"]["token"].clone();
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    let headers = [("authorization", bearer.as_str())];
    let answer = Answer::of(ground.ask(Who::Nobody, get("/version", &headers)).await).await;
    assert_eq!(answer.code, 200);
    let pods = get("/api/v1/namespaces/a/pods", &headers);
    let answer = Answer::of(ground.ask(Who::Nobody, pods).await).await;
    assert_eq!(answer.code, 403);
    let message = answer.json()["message"].clone();
    let robot = "User \"system:serviceaccount:a:robot\"";
    assert!(message.as_str().unwrap().contains(robot), "{message}");
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_out() {
    let ground = Ground::with(Limits {
        connections: 8,
        strangers: 4,
        ..Limits::default()
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(ground.address).await.unwrap());
        let answer = Answer::of(ground.ask(Who::Admin, get("/version", &[])).await).await;
        assert_eq!(answer.code, 200);
    }
}

/// Everything a client does with an object, in the words of HTTP.
#[tokio::test]
async fn an_object_is_made_read_changed_and_deleted() {
    let ground = Ground::new().await;
    let namespace = serde_json::json!({
        "kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "a"}, "status": {"phase": "Active"},
    });
    let key = ObjectKey::new(Kind::Namespace, "", "a");
    let put = |transaction: &mut Transaction<'_>| transaction.put_any(key, namespace);
    ground.store.transact(Durability::Derived, put).unwrap();
    let all = "/api/v1/namespaces/a/configmaps";
    let one = "/api/v1/namespaces/a/configmaps/c";
    let yaml = [("content-type", "application/yaml")];
    let merge = [("content-type", "application/merge-patch+json")];
    let body = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {k: v}, oh: no}";
    let ask = async |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        Answer::of(
            ground
                .ask(Who::Admin, request(method, path, headers, body))
                .await,
        )
        .await
    };
    let made = ask("POST", all, &yaml, body).await;
    assert_eq!(made.code, 201, "{}", made.text());
    assert_eq!(made.header("warning"), "299 - \"unknown field \\\"oh\\\"\"");
    let again = ask("POST", all, &yaml, body).await;
    assert_eq!(
        (again.code.as_u16(), &again.json()["reason"]),
        (409, &"AlreadyExists".into())
    );
    let patched = ask("PATCH", one, &merge, "{\"data\": {\"k\": \"w\"}}").await;
    assert_eq!(
        (patched.code.as_u16(), &patched.json()["data"]["k"]),
        (200, &"w".into())
    );
    let table = ground.get(all, &[("accept", TABLE)]).await.json();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"][0]["cells"][0], "c");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let mut replaced = patched.json();
    replaced["data"]["k"] = "x".into();
    let replaced = ask("PUT", one, &[], &replaced.to_string()).await;
    assert_eq!(
        (replaced.code.as_u16(), &replaced.json()["data"]["k"]),
        (200, &"x".into())
    );
    let old = patched.json().to_string();
    let conflict = ask("PUT", one, &[], &old).await;
    assert_eq!(
        (conflict.code.as_u16(), &conflict.json()["reason"]),
        (409, &"Conflict".into())
    );
    let deleted = ask("DELETE", one, &[], "").await;
    assert_eq!(
        (deleted.code.as_u16(), &deleted.json()["status"]),
        (200, &"Success".into())
    );
    assert_eq!(deleted.json()["details"]["name"], "c");
    let gone = ground.get(one, &[]).await;
    assert_eq!(gone.json()["message"], "configmaps \"c\" not found");
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let limits = Limits {
        body_bytes: 1000,
        ..Limits::default()
    };
    let ground = Ground::with(limits).await;
    let body = format!("{{\"x\": \"{}\"}}", "y".repeat(1000));
    let request = request("POST", "/api/v1/namespaces/a/pods", &[], &body);
    let answer = Answer::of(ground.ask(Who::Admin, request).await).await;
    assert_eq!(answer.code, 413);
    assert_eq!(answer.json()["reason"], "RequestEntityTooLarge");
    assert_eq!(
        answer.json()["message"],
        "Request entity too large: limit is 1000"
    );
}

#[tokio::test]
async fn a_head_has_a_limit() {
    let ground = Ground::new().await;
    let long = "x".repeat(100_000);
    let answer = ground
        .ask(Who::Admin, get("/version", &[("x-long", &long)]))
        .await;
    assert_eq!(answer.status(), 431);
}

#[tokio::test]
async fn a_head_request_gets_no_body() {
    let ground = Ground::new().await;
    let answer = Answer::of(
        ground
            .ask(Who::Admin, request("HEAD", "/version", &[], ""))
            .await,
    )
    .await;
    assert_eq!((answer.code.as_u16(), answer.body.len()), (200, 0));
}

#[tokio::test]
async fn one_watch_too_many_is_told_to_wait() {
    let limits = Limits {
        watches: 1,
        ..Limits::default()
    };
    let ground = Ground::with(limits).await;
    let watch = || get("/api/v1/pods?watch=true", &[("accept", TABLE)]);
    let first = ground.ask(Who::Admin, watch()).await;
    assert_eq!(first.status(), 200);
    let second = Answer::of(ground.ask(Who::Admin, watch()).await).await;
    assert_eq!(second.code, 429);
    assert_eq!(second.header("retry-after"), "1");
    assert_eq!(
        second.json()["message"],
        "Too many requests, please try again later."
    );
}

#[tokio::test]
async fn the_end_of_the_server_ends_watches() {
    let ground = Ground::new().await;
    let watch = get("/api/v1/pods?watch=true", &[]);
    let response = ground.ask(Who::Admin, watch).await;
    let reading = tokio::spawn(Answer::of(response));
    ground.end().await;
    let answer = reading.await.unwrap();
    assert_eq!(answer.text(), "");
}

#[tokio::test]
async fn a_port_that_is_taken_is_followed_by_the_next() {
    let ground = Ground::new().await;
    let taken = ground.address;
    let certificates = tempfile::tempdir().unwrap();
    let certificates =
        probelet_api::access::Certificates::open(certificates.path(), "n", &[], crate::ground::NOW)
            .unwrap();
    let server = ground
        .api
        .listen(taken, Reach::Loopback, &certificates)
        .await
        .unwrap();
    let further = server.address().port() - taken.port();
    assert!((1..=100).contains(&further), "{further}");
    let outside = "0.0.0.0:0".parse().unwrap();
    let error = ground
        .api
        .listen(outside, Reach::Loopback, &certificates)
        .await
        .unwrap_err();
    assert!(matches!(error, ListenError::NotLoopback(_)), "{error}");
    ground
        .api
        .listen(outside, Reach::Anybody, &certificates)
        .await
        .unwrap();
}

#[tokio::test]
async fn who_says_nothing_is_cut() {
    let limits = Limits {
        request_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let ground = Ground::with(limits).await;
    // Before TLS, and after it.
    let mut silent = TcpStream::connect(ground.address).await.unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    let mut silent = ground.tls(Who::Admin, &[]).await;
    let mut rest = Vec::new();
    // An end, with or without TLS's own.
    let _ended = silent.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
}
