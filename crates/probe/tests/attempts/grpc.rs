//! grpc, against real servers.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use probelet_model::probe::Handler;
use probelet_model::probe::OutcomeStatus::{Failure, Success};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tonic::service::Routes;
use tonic::transport::server::{Router, TcpIncoming};
use tonic::{Code, Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::ground::{
    Fault, Host, LOCALHOST, PATIENT, SHORT, Server, closed_port, run, run_at, seen,
};

/// A check of `service` on the port of `address`.
pub(crate) fn grpc(address: SocketAddr, service: &str) -> Handler {
    Handler::Grpc {
        port: address.port(),
        service: service.to_owned(),
    }
}

/// Serves until the test's runtime ends.
async fn serve(ip: IpAddr, router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind((ip, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
    address
}

fn builder() -> tonic::transport::Server {
    tonic::transport::Server::builder()
}

/// The health server of a real application: `ready` serves, `closing` does not, `starting` is unknown.
async fn application(ip: IpAddr) -> SocketAddr {
    let (reporter, health) = tonic_health::server::health_reporter();
    for (service, status) in [
        ("ready", ServingStatus::Serving),
        ("closing", ServingStatus::NotServing),
        ("starting", ServingStatus::Unknown),
    ] {
        reporter.set_service_status(service, status).await;
    }
    serve(ip, builder().add_service(health)).await
}

#[tokio::test]
async fn c17_not_serving_is_a_failure() {
    let address = application(LOCALHOST).await;
    for (service, status) in [("closing", "NOT_SERVING"), ("starting", "UNKNOWN")] {
        let expected = format!("service unhealthy (responded with \"{status}\")");
        let report = run(address, grpc(address, service), PATIENT).await;
        assert_eq!(seen(report), (Failure, expected));
    }
}

#[tokio::test]
async fn serving_is_a_success() {
    let healthy = (Success, "service healthy".to_owned());
    let address = application(LOCALHOST).await;
    for service in ["", "ready"] {
        let report = run(address, grpc(address, service), PATIENT).await;
        assert_eq!(seen(report), healthy);
    }
    let address = application(Ipv6Addr::LOCALHOST.into()).await;
    let report = run(address, grpc(address, "ready"), PATIENT).await;
    assert_eq!(seen(report), healthy);
}

#[tokio::test]
async fn a_service_that_is_not_registered() {
    let address = application(LOCALHOST).await;
    let report = run(address, grpc(address, "nobody"), PATIENT).await;
    let expected =
        "error: health rpc probe failed: rpc error: code = NotFound desc = service not registered";
    assert_eq!(seen(report), (Failure, expected.to_owned()));
}

#[tokio::test]
async fn c18_nothing_listening_takes_the_whole_timeout() {
    let address = closed_port();
    let host = Host::default();
    let second = Duration::from_secs(1);
    let (ip, port) = (Some(address.ip()), address.port());
    let report = run_at(&host, ip, port, grpc(address, ""), second).await;
    assert!(
        report.duration >= second && report.duration < 2 * second,
        "{report:?}"
    );
    let expected = format!(
        "timeout: failed to connect service \"{address}\" within 1s: context deadline exceeded"
    );
    assert_eq!(seen(report), (Failure, expected));
    // At once, and perhaps after grpc-go's first wait of a second: not in a loop.
    assert!(host.asked.load(Ordering::Relaxed) <= 2);
}

#[tokio::test]
async fn a_refused_connection_on_ipv6_and_in_milliseconds() {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let report = run(address, grpc(address, ""), SHORT).await;
    let expected = format!(
        "timeout: failed to connect service \"[::1]:{}\" within 200ms: context deadline exceeded",
        address.port()
    );
    assert_eq!(seen(report), (Failure, expected));
}

#[tokio::test]
async fn c20_a_server_that_wants_tls() {
    let own = rcgen::generate_simple_self_signed(vec!["other.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let refused = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&refused);
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let server = Server::raw(listener, Arc::default(), move |stream| {
        let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        let read = std::io::Read::read(&mut tls, &mut [0; 64]);
        log.lock().unwrap().push(read.is_err());
    });
    let report = run(server.address, grpc(server.address, ""), SHORT).await;
    let expected = format!(
        "timeout: failed to connect service \"{}\" within 200ms: context deadline exceeded",
        server.address
    );
    assert_eq!(seen(report), (Failure, expected));
    assert_eq!(*refused.lock().unwrap(), [true]);
}

/// A health service that answers as it is told and remembers what it was asked.
#[derive(Clone, Default)]
struct Told {
    /// `None` never answers.
    answer: Option<Result<i32, Status>>,
    requests: Arc<Mutex<Vec<Request<HealthCheckRequest>>>>,
}

#[tonic::async_trait]
impl Health for Told {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.requests.lock().unwrap().push(request);
        match self.answer.clone() {
            Some(answer) => answer.map(|status| Response::new(HealthCheckResponse { status })),
            None => std::future::pending().await,
        }
    }

    type WatchStream = tonic::codec::Streaming<HealthCheckResponse>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("only checks"))
    }
}

async fn told(answer: Option<Result<i32, Status>>) -> (SocketAddr, Told) {
    let told = Told {
        answer,
        ..Told::default()
    };
    let router = builder().add_service(HealthServer::new(told.clone()));
    (serve(LOCALHOST, router).await, told)
}

#[tokio::test]
async fn what_the_server_is_asked() {
    let (address, told) = told(Some(Ok(1))).await;
    let report = run(address, grpc(address, "pkg.Sérvice"), PATIENT).await;
    assert_eq!(seen(report).0, Success);
    let request = told.requests.lock().unwrap().pop().unwrap();
    assert_eq!(request.get_ref().service, "pkg.Sérvice");
    let field = |name| request.metadata().get(name).unwrap().to_str().unwrap();
    assert_eq!(field("user-agent"), "kube-probe/1.35");
    assert_eq!(field("te"), "trailers");
    let left = field("grpc-timeout").strip_suffix('u').unwrap();
    let left = Duration::from_micros(left.parse().unwrap());
    assert!(left <= PATIENT && left > PATIENT / 2, "{left:?}");
}

#[tokio::test]
async fn a_name_larger_than_the_windows() {
    let (address, told) = told(Some(Ok(1))).await;
    let service = "s".repeat(200_000);
    let report = run(address, grpc(address, &service), PATIENT).await;
    assert_eq!(seen(report).0, Success);
    let request = told.requests.lock().unwrap().pop().unwrap();
    assert_eq!(request.get_ref().service, service);
}

#[tokio::test]
async fn calls_that_fail() {
    for (code, text) in [
        (
            Code::Unimplemented,
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): 100 % \"né\"",
        ),
        (
            Code::DeadlineExceeded,
            "timeout: health rpc did not complete within 10s",
        ),
        (
            Code::Internal,
            "error: health rpc probe failed: rpc error: code = Internal desc = 100 % \"né\"",
        ),
        (
            Code::Unauthenticated,
            "error: health rpc probe failed: rpc error: code = Unauthenticated desc = 100 % \"né\"",
        ),
    ] {
        let (address, _) = told(Some(Err(Status::new(code, "100 % \"né\"")))).await;
        let report = run(address, grpc(address, ""), PATIENT).await;
        assert_eq!(seen(report), (Failure, text.to_owned()));
    }
    let (address, _) = told(Some(Ok(9))).await;
    let report = run(address, grpc(address, ""), PATIENT).await;
    let expected = "service unhealthy (responded with \"9\")";
    assert_eq!(seen(report), (Failure, expected.to_owned()));
}

#[tokio::test]
async fn a_call_slower_than_the_timeout() {
    let (address, told) = told(None).await;
    let report = run(address, grpc(address, ""), SHORT).await;
    assert!(report.duration >= SHORT);
    let expected = "timeout: health rpc did not complete within 200ms";
    assert_eq!(seen(report), (Failure, expected.to_owned()));
    assert_eq!(told.requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_without_the_health_service() {
    let nothing = builder().add_routes(Routes::default());
    let address = serve(LOCALHOST, nothing).await;
    let report = run(address, grpc(address, ""), PATIENT).await;
    let (status, output) = seen(report);
    assert_eq!(status, Failure);
    let start =
        "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ";
    assert!(output.starts_with(start), "{output}");
}

#[tokio::test]
async fn without_a_socket_or_an_address_nothing_was_seen() {
    let address = closed_port();
    let host = Host {
        fault: Some(Fault::Fails),
        ..Host::default()
    };
    let port = address.port();
    let report = run_at(&host, Some(LOCALHOST), port, grpc(address, ""), PATIENT).await;
    assert_eq!(report.tries, 3);
    assert!(report.result.is_err());
    let report = run_at(&Host::default(), None, port, grpc(address, ""), PATIENT).await;
    let error = report.result.unwrap_err();
    assert_eq!(error.message, "the pod has no address yet");
}
