//! What the tests stand on: a server with a store, and clients.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use probelet_api::access::{Authenticate, Certificates, User};
use probelet_api::registry::{Registry, Settings};
use probelet_api::review::TokenSigner;
use probelet_api::serve::listen::Reach;
use probelet_api::serve::{Api, Check, Limits, Options};
use probelet_model::id::{ContainerId, PodUid};
use probelet_model::time::{Mono, Now, Wall};
use probelet_runtime::{
    ContainerConfig, Events, ExecError, ExecOutput, ExecRequest, Family, PodConfig, PodRecord,
    PodUsage, Runtime, RuntimeError, Session, SessionRequest, StartContainerError, StartPodError,
    Started, Streams, Usage, VolumeFiles,
};
use probelet_store::Store;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// 2026-11-01.
pub(crate) const NOW: Wall = Wall(1_793_491_200_000_000_000);

/// Goes on with every measurement of a pod.
static MONO: AtomicU64 = AtomicU64::new(0);

fn clock() -> Now {
    Now {
        mono: Mono(MONO.load(Ordering::SeqCst)),
        wall: NOW,
    }
}

/// A server under test, which ends when it is dropped.
pub(crate) struct Ground {
    pub(crate) address: SocketAddr,
    pub(crate) api: Arc<Api<Nothing>>,
    pub(crate) store: Arc<Store>,
    certificates: Certificates,
    _end: oneshot::Sender<()>,
    pub(crate) ended: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

/// Knows one token of one user.
#[derive(Debug)]
struct OneToken;

impl Authenticate for OneToken {
    fn token(&self, token: &str) -> Option<User> {
        (token == "sesame").then(|| User {
            name: "anna".to_owned(),
            groups: vec!["system:masters".to_owned()],
            ..User::default()
        })
    }
}

impl Ground {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        Self::over(Store::in_memory(), limits).await
    }

    pub(crate) async fn over(store: Store, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let certificates = certificates(dir.path());
        let store = Arc::new(store);
        let key = TokenSigner::new_key().unwrap();
        let settings = Settings {
            default_runtime_class: None,
            node_name: "node-1".to_owned(),
            clock: || NOW,
            tokens: Arc::new(TokenSigner::with_key(&key).unwrap()),
        };
        let registry = Arc::new(Registry::new(Arc::clone(&store), settings));
        let options = Options {
            limits,
            authenticators: vec![Arc::new(OneToken)],
            checks: vec![Check {
                name: "store",
                healthy: Arc::new(|| Ok(())),
            }],
            metrics: Some(Arc::new(|| "more 1\n".to_owned())),
            of_node: Some(Arc::new(|| {
                Some(Usage {
                    cpu: Duration::from_secs(7),
                    memory: 3 << 20,
                    ..Usage::default()
                })
            })),
        };
        let api = Api::new(registry, Arc::new(Nothing), clock, options);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = api
            .listen(any, Reach::Loopback, &certificates)
            .await
            .unwrap();
        let address = server.address();
        let (end, ending) = oneshot::channel::<()>();
        let ended = tokio::spawn(server.run(async {
            // Dropped is as good as sent.
            let _ended = ending.await;
        }));
        Self {
            address,
            api,
            store,
            certificates,
            _end: end,
            ended,
            _dir: dir,
        }
    }

    /// Ends the server, and waits until it has.
    pub(crate) async fn end(self) {
        drop(self._end);
        self.ended.await.unwrap();
    }

    pub(crate) async fn tls(&self, who: Who, protocols: &[&str]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.certificates.ca.as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_details(provider, Arc::new(Noon))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let foreign = tempfile::tempdir().unwrap();
        let mut config = match who {
            Who::Admin => {
                let (certificate, key) = self.certificates.admin.to_der().unwrap();
                config
                    .with_client_auth_cert(vec![certificate], key)
                    .unwrap()
            }
            Who::Stranger => {
                let certificates = certificates(foreign.path());
                let (certificate, key) = certificates.admin.to_der().unwrap();
                config
                    .with_client_auth_cert(vec![certificate], key)
                    .unwrap()
            }
            Who::Nobody => config.with_no_client_auth(),
        };
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let stream = TcpStream::connect(self.address).await.unwrap();
        // As Go's clients do: or a body would wait for the acknowledgement of its head.
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap()
    }

    /// Asks over a connection of its own, HTTP/1.1.
    pub(crate) async fn ask(&self, who: Who, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let stream = self.tls(who, &[]).await;
        let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        client.send_request(request).await.unwrap()
    }

    /// A connection over which many may ask, HTTP/2.
    pub(crate) async fn http2(&self) -> http2::SendRequest<Full<Bytes>> {
        let stream = self.tls(Who::Admin, &["h2", "http/1.1"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = TokioIo::new(stream);
        let (client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// What a GET is answered with.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        Answer::of(self.ask(Who::Admin, get(path, headers)).await).await
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    Admin,
    /// With a certificate of another CA.
    Stranger,
    Nobody,
}

pub(crate) fn get(path: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    request("GET", path, headers, "")
}

pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from(body.to_owned())).unwrap()
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn of(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            code: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

fn certificates(dir: &Path) -> Certificates {
    Certificates::open(dir, "node-1", &[], NOW).unwrap()
}

/// The same clock for clients.
#[derive(Debug)]
struct Noon;

impl rustls::time_provider::TimeProvider for Noon {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        let nanos = u64::try_from(NOW.0).unwrap();
        Some(rustls::pki_types::UnixTime::since_unix_epoch(
            Duration::from_nanos(nanos),
        ))
    }
}

/// A runtime that has no pods.
#[derive(Debug)]
pub(crate) struct Nothing;

impl Runtime for Nothing {
    fn events(&self) -> Events {
        tokio::sync::mpsc::unbounded_channel().1
    }

    async fn pods(&self) -> Result<Vec<PodRecord>, RuntimeError> {
        Ok(Vec::new())
    }

    async fn start_pod(&self, config: PodConfig) -> Result<(), StartPodError> {
        Err(StartPodError::Sandbox(config.name))
    }

    async fn start_container(
        &self,
        pod: &PodUid,
        _config: ContainerConfig,
    ) -> Result<Started, StartContainerError> {
        Err(StartContainerError::NoPod(pod.clone()))
    }

    async fn stop_container(
        &self,
        _pod: &PodUid,
        _container: &ContainerId,
        _grace: Duration,
    ) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn remove_pod(&self, _pod: &PodUid) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn exec(
        &self,
        _pod: &PodUid,
        container: &ContainerId,
        _request: ExecRequest,
    ) -> Result<ExecOutput, ExecError> {
        Err(ExecError::NotRunning(container.clone()))
    }

    async fn open_exec(
        &self,
        _pod: &PodUid,
        container: &ContainerId,
        _request: SessionRequest,
    ) -> Result<Session, ExecError> {
        Err(ExecError::NotRunning(container.clone()))
    }

    async fn attach(
        &self,
        _pod: &PodUid,
        container: &ContainerId,
        _streams: Streams,
    ) -> Result<Session, ExecError> {
        Err(ExecError::NotRunning(container.clone()))
    }

    async fn update_volume(
        &self,
        pod: &PodUid,
        _volume: &str,
        _files: VolumeFiles,
    ) -> Result<(), RuntimeError> {
        Err(RuntimeError::NoPod(pod.clone()))
    }

    fn log_dir(&self) -> &Path {
        Path::new("/nonexistent")
    }

    async fn tcp_socket(
        &self,
        pod: &PodUid,
        _family: Family,
    ) -> Result<std::os::fd::OwnedFd, RuntimeError> {
        Err(RuntimeError::NoPod(pod.clone()))
    }

    async fn bind(
        &self,
        pod: &PodUid,
        _address: SocketAddr,
        _transport: probelet_runtime::Transport,
    ) -> Result<std::os::fd::OwnedFd, RuntimeError> {
        Err(RuntimeError::NoPod(pod.clone()))
    }

    /// The pod "busy" takes half a second of a CPU between two measurements, which are two seconds apart.
    async fn usage(&self, pod: &PodUid) -> Result<PodUsage, RuntimeError> {
        if pod.as_str() != "busy" {
            return Err(RuntimeError::NoPod(pod.clone()));
        }
        let now = MONO.fetch_add(2_000_000_000, Ordering::SeqCst);
        let used = Usage {
            cpu: Duration::from_nanos(now / 4),
            memory: 5 << 20,
            ..Usage::default()
        };
        Ok(PodUsage {
            total: used,
            containers: [("main".into(), used)].into(),
            volumes: BTreeMap::new(),
        })
    }
}
