//! What requests cost: a real server over loopback and TLS with 1,000 pods in its store, asked by clients in the same
//! process. Every time is a client's, from asking to the last byte, and so more than the server's.
//!
//! `cargo bench -p probelet-api --bench requests` prints the figures; next to them is the CPU time, and how often the
//! same could have been read from the store and written as JSON in it, in the same run.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has nothing to say"
)]

#[path = "../../tests/server/ground.rs"]
#[expect(dead_code, reason = "the tests of the server need more of it")]
mod ground;
mod measure;
mod watching;

use std::hint::black_box;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use probelet_api::serve::Limits;
use probelet_model::id::{Kind, ObjectKey};
use probelet_store::{Durability, Store, WriteError};
use serde_json::Value;

use ground::{Answer, Ground, Who, get, request};
use measure::{Times, many, resident_bytes};

const PODS: usize = 1000;
const COLLECTION: &str = "/api/v1/namespaces/default/pods";
/// As kubectl has it.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
     application/json";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run());
}

async fn run() {
    let ground = Ground::new().await;
    let before = resident_bytes();
    fill(&ground.store);
    let grown = resident_bytes().saturating_sub(before);
    println!("{PODS} pods: {} bytes resident each", grown / PODS);

    let one = floor_of_one(&ground.store).await;
    let all = floor_of_all(&ground.store).await;
    one.print("floor: a pod from the store, as JSON", None, None);
    all.print("floor: all pods from the store, as JSON", None, None);

    gets(&ground, &one).await;
    lists(&ground, &all).await;
    let changed = patches(&ground).await;
    changed.print("PATCH of a label, store in memory", Some(&one), None);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let durable = Ground::over(Store::open(dir.path()).unwrap(), Limits::default()).await;
    fill(&durable.store);
    let changed = patches(&durable).await;
    changed.print("PATCH of a label, store on disk", Some(&one), None);
    durable.end().await;
    for watchers in [1, 200] {
        watching::events(&ground, watchers).await;
    }
    println!("{} MB resident in the end", resident_bytes() >> 20);
}

fn name(number: usize) -> String {
    format!("web-7c9f8d6b5-{number:05}")
}

fn key(number: usize) -> ObjectKey {
    ObjectKey::new(Kind::Pod, "default", name(number))
}

fn pod() -> Value {
    let text = include_str!("../../../store/benches/pod.json");
    serde_json::from_str(text).unwrap()
}

fn fill(store: &Store) {
    let pod = pod();
    store
        .transact(Durability::Synced, |transaction| {
            for number in 0..PODS {
                let mut pod = pod.clone();
                pod["metadata"]["name"] = name(number).into();
                pod["metadata"]["uid"] = format!("6f1c9a52-3a0e-4c52-9d1f-{number:012}").into();
                transaction.create(key(number), pod)?;
            }
            Ok::<_, WriteError>(())
        })
        .unwrap();
}

async fn floor_of_one(store: &Store) -> Times {
    many(PODS, 4 * PODS, async |number| {
        let object = store.get(&key(number % PODS)).expect("it is there");
        black_box(serde_json::to_vec(&object.value).unwrap());
    })
    .await
}

async fn floor_of_all(store: &Store) -> Times {
    many(10, 100, async |_| {
        let (objects, _) = store.list(Kind::Pod);
        let values: Vec<&Value> = objects.iter().map(|object| &*object.value).collect();
        black_box(serde_json::to_vec(&values).unwrap());
    })
    .await
}

/// One connection that is kept.
enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    async fn http1(ground: &Ground) -> Self {
        let io = TokioIo::new(ground.tls(Who::Admin, &["http/1.1"]).await);
        let (client, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Self::Http1(client)
    }

    async fn http2(ground: &Ground) -> Self {
        Self::Http2(ground.http2().await)
    }

    /// Asks, and reads the answer to its end.
    async fn ask(&mut self, mut request: Request<Full<Bytes>>) -> Answer {
        let response = match self {
            Self::Http1(client) => {
                client.ready().await.unwrap();
                client.send_request(request).await
            }
            Self::Http2(client) => {
                // There it is a part of the URI.
                let path = request
                    .uri()
                    .path_and_query()
                    .map_or("/", |path| path.as_str());
                *request.uri_mut() = format!("https://localhost{path}").parse().unwrap();
                request.headers_mut().remove("host");
                client.ready().await.unwrap();
                client.send_request(request).await
            }
        };
        let (parts, body) = response.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert!(parts.status.is_success(), "{} {body:?}", parts.status);
        Answer {
            code: parts.status,
            headers: parts.headers,
            body,
        }
    }
}

async fn gets(ground: &Ground, floor: &Times) {
    for (what, mut client) in [
        ("GET of a pod, HTTP/2", Client::http2(ground).await),
        ("GET of a pod, HTTP/1.1", Client::http1(ground).await),
    ] {
        let times = many(PODS, 4 * PODS, async |number| {
            let path = format!("{COLLECTION}/{}", name(number % PODS));
            client
                .ask(get(&path, &[("accept", "application/json")]))
                .await;
        });
        times.await.print(what, Some(floor), Some("p99 2 ms"));
    }
}

async fn lists(ground: &Ground, floor: &Times) {
    let mut client = Client::http2(ground).await;
    let gzip = ("accept-encoding", "gzip");
    let (table, json) = (("accept", TABLE), ("accept", "application/json"));
    let first = format!("{COLLECTION}?limit=500");
    let page = client.ask(get(&first, &[table])).await.json();
    let token = page["metadata"]["continue"].as_str().unwrap();
    let second = format!("{first}&continue={token}");
    let whole = COLLECTION.to_owned();
    let pages = [first, second];
    let whole = std::slice::from_ref(&whole);
    let budget = Some("p99 20 ms");
    for (what, paths, headers, budget) in [
        (
            "kubectl get pods, two pages",
            &pages[..],
            &[table, gzip][..],
            budget,
        ),
        (
            "kubectl get pods, all in one",
            whole,
            &[table, gzip],
            budget,
        ),
        ("the same, not compressed", whole, &[table], budget),
        ("a list as JSON", whole, &[json, gzip], None),
        ("the same, not compressed", whole, &[json], None),
    ] {
        let mut bytes = 0;
        let times = many(10, 200, async |_| {
            bytes = 0;
            for path in paths {
                bytes += client.ask(get(path, headers)).await.body.len();
            }
        });
        let times = times.await;
        let what = format!("{what} ({} KB)", bytes >> 10);
        times.print(&what, Some(floor), budget);
    }
}

async fn patches(ground: &Ground) -> Times {
    let mut client = Client::http2(ground).await;
    many(50, 500, async |number| {
        let path = format!("{COLLECTION}/{}?fieldManager=kubectl-label", name(number));
        let body = format!(r#"{{"metadata":{{"labels":{{"tier":"t{number}"}}}}}}"#);
        let headers = [
            ("content-type", "application/strategic-merge-patch+json"),
            ("accept", "application/json"),
        ];
        client.ask(request("PATCH", &path, &headers, &body)).await;
    })
    .await
}
