//! A server that has nothing but discovery and the documents, and kubectl beside it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use probelet_schema::patch::strategic;
use probelet_schema::{Schema, openapi};
use serde_json::{Value, json};

/// A server that answers what kubectl asks before it does anything. What is created it answers as it came; and
/// it has one object, which can be read and patched.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

/// The object, a Deployment: its path, and it as it was applied and then scaled.
const PATH: &str = "/apis/apps/v1/namespaces/default/deployments/web";
pub(crate) const APPLIED: &str = include_str!("deployment.json");

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let noted = Arc::clone(&noted);
                thread::spawn(move || serve(&stream.unwrap(), &noted));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Runs kubectl with this server, in a home of its own.
    pub(crate) fn kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("manifest.yaml");
        std::fs::write(&file, input).unwrap();
        Command::new("kubectl")
            .args(["--server", &format!("http://{}", self.address)])
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", home.path())
            .current_dir(&home)
            .output()
            .unwrap_or_else(|error| panic!("kubectl has to be installed for this test: {error}"))
    }

    pub(crate) fn explain(&self, arguments: &[&str]) -> String {
        let output = self.kubectl(&[&["explain"], arguments].concat(), "");
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {text}{errors}");
        text
    }
}

/// Answers one request. A client that goes away early is its own affair.
fn serve(stream: &TcpStream, requests: &Mutex<Vec<Request>>) {
    let Ok(Some(request)) = Request::read(stream) else {
        return;
    };
    requests.lock().unwrap().push(request.clone());
    let (status, kind, body) = answer(request);
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut writer = stream;
    let _ = writer.write_all(&[head.as_bytes(), &body].concat());
}

impl Request {
    /// `None` from a client that asked nothing.
    fn read(stream: &TcpStream) -> io::Result<Option<Self>> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Ok(None);
        };
        let mut length = 0;
        let mut content_type = String::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-type:") {
                value.trim().clone_into(&mut content_type);
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        Ok(Some(Self {
            method,
            target,
            content_type,
            body,
        }))
    }
}

fn answer(request: Request) -> (&'static str, &'static str, Vec<u8>) {
    const JSON: &str = "application/json";
    const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let path = request.target.split('?').next().unwrap();
    match (&*request.method, path) {
        ("POST", _) => return ("201 Created", JSON, request.body),
        ("GET", PATH) => return ("200 OK", JSON, live().to_string().into()),
        ("PATCH", PATH) => {
            let patch = serde_json::from_slice(&request.body).unwrap();
            let deployment = Schema::of("apps/v1", "Deployment").unwrap();
            let patched = strategic(deployment, &live(), &patch).unwrap();
            return ("200 OK", JSON, patched.to_string().into());
        }
        _ => {}
    }
    match path {
        "/version" => ("200 OK", JSON, version().to_string().into()),
        "/api" => ("200 OK", DISCOVERY, discovery(&[""]).to_string().into()),
        "/apis" => ("200 OK", DISCOVERY, discovery(&["apps"]).to_string().into()),
        "/openapi/v2" => ("200 OK", JSON, Vec::new()),
        "/openapi/v3" => ("200 OK", JSON, openapi::index().to_vec()),
        _ => match path
            .strip_prefix("/openapi/v3/")
            .and_then(openapi::document)
        {
            Some((text, _)) => ("200 OK", JSON, text.to_vec()),
            None => ("404 Not Found", JSON, not_found().to_string().into()),
        },
    }
}

/// The object as it is now: others have set its scale, and put a container into it.
fn live() -> Value {
    let mut live: Value = serde_json::from_str(APPLIED).unwrap();
    live["metadata"]["annotations"] =
        json!({ "kubectl.kubernetes.io/last-applied-configuration": APPLIED });
    live["metadata"]["namespace"] = "default".into();
    live["spec"]["replicas"] = 5.into();
    live["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "injected", "image": "sidecar" }));
    live
}

fn version() -> Value {
    json!({ "major": "1", "minor": "35", "gitVersion": "v1.35.0" })
}

fn not_found() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "reason": "NotFound", "code": 404, "message": "the server could not find the requested resource",
    })
}

fn discovery(groups: &[&str]) -> Value {
    let resources = |group: &str| {
        let named = |plural: &str, kind: &str| {
            json!({
                "resource": plural,
                "singularResource": kind.to_lowercase(),
                "responseKind": { "group": group, "version": "v1", "kind": kind },
                "scope": "Namespaced",
                "verbs": ["create", "get", "list", "patch"],
            })
        };
        match group {
            "apps" => vec![named("deployments", "Deployment")],
            _ => vec![named("pods", "Pod"), named("services", "Service")],
        }
    };
    let groups: Vec<Value> = groups
        .iter()
        .map(|group| {
            json!({
                "metadata": { "name": group },
                "versions": [{
                    "version": "v1",
                    "freshness": "Current",
                    "resources": resources(group),
                }],
            })
        })
        .collect();
    json!({
        "apiVersion": "apidiscovery.k8s.io/v2",
        "kind": "APIGroupDiscoveryList",
        "metadata": {},
        "items": groups,
    })
}
