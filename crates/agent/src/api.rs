//! The Kubernetes API of this node: what it is made of, and where it listens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use probelet_api::Registry;
use probelet_api::access::kubeconfig;
use probelet_api::access::token_key::{self, TokenKeyError};
use probelet_api::access::tokens::{Tokens, TokensError};
use probelet_api::access::{Authenticate, Certificates, CertificatesError};
use probelet_api::registry::Settings;
use probelet_api::serve::listen::Reach;
use probelet_api::serve::{Api, Check, ListenError, Options, Server};
use probelet_runtime::Runtime;
use probelet_store::Store;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::clock;
use crate::data_dir::DataDir;
use crate::host_usage;
use crate::identity;
use crate::metrics::Metrics;

/// Where the API is served, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiOptions {
    /// The wished address; if its port is taken, the next that is free.
    pub address: SocketAddr,
    /// Whether the address may be one that other hosts reach.
    pub to_others: bool,
    /// A file of bearer tokens, in upstream's format.
    pub token_auth_file: Option<PathBuf>,
}

/// Why there is no API.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Its certificates cannot be had.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    /// The file of tokens is wrong.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The key that signs the tokens of service accounts cannot be had.
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// What an API is made from.
pub(crate) struct Parts<'a, R> {
    pub(crate) data_dir: &'a DataDir,
    pub(crate) store: &'a Arc<Store>,
    pub(crate) runtime: &'a Arc<R>,
    pub(crate) metrics: &'a Arc<Metrics>,
    pub(crate) node_name: &'a str,
    pub(crate) default_runtime_class: Option<String>,
    pub(crate) options: &'a ApiOptions,
}

/// An API that listens, and answers once it runs.
#[derive(Debug)]
pub(crate) struct Listening<R> {
    server: Server<R>,
    pub(crate) registry: Arc<Registry>,
    /// The certificate of its authority, PEM.
    pub(crate) root_ca: String,
}

/// An API that answers. Dropping it ends it at once.
#[derive(Debug)]
pub(crate) struct Serving {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// Listens, and writes the kubeconfig that leads here.
///
/// # Errors
/// [`ApiError`].
pub(crate) async fn listen<R: Runtime>(parts: Parts<'_, R>) -> Result<Listening<R>, ApiError> {
    let Parts {
        data_dir,
        store,
        runtime,
        metrics,
        node_name,
        default_runtime_class,
        options,
    } = parts;
    let now = clock::now().wall;
    let address = options.address;
    let mut addresses = vec![address.ip()];
    if options.to_others {
        addresses.push(identity::host_ip());
    }
    let certificates = Certificates::open(data_dir.path(), node_name, &addresses, now)?;
    for note in &certificates.notes {
        tracing::info!("{note}");
    }
    let tokens = token_key::open(data_dir.path())?;
    let registry = Registry::new(
        Arc::clone(store),
        Settings {
            default_runtime_class,
            node_name: node_name.to_owned(),
            clock: || clock::now().wall,
            tokens: Arc::new(tokens),
        },
    );
    let registry = Arc::new(registry);
    let mut authenticators: Vec<Arc<dyn Authenticate>> = Vec::new();
    if let Some(path) = &options.token_auth_file {
        authenticators.push(Arc::new(Tokens::read(path)?));
    }
    let (told, of) = (Arc::clone(metrics), Arc::clone(store));
    let asked = Arc::clone(store);
    let server_options = Options {
        authenticators,
        checks: vec![Check {
            name: "store",
            healthy: Arc::new(move || asked.healthy().map_err(|error| error.to_string())),
        }],
        metrics: Some(Arc::new(move || told.text(&of).unwrap_or_default())),
        of_node: Some(Arc::new(host_usage::read)),
        ..Options::default()
    };
    let api = Api::new(
        Arc::clone(&registry),
        Arc::clone(runtime),
        clock::now,
        server_options,
    );
    let reach = if options.to_others {
        Reach::Anybody
    } else {
        Reach::Loopback
    };
    let server = api.listen(address, reach, &certificates).await?;
    let kubeconfig = kubeconfig::kubeconfig(&certificates, reachable(server.address()));
    // Containers are to be probed even where nobody can be told the way.
    if let Err(error) = kubeconfig::write(&data_dir.kubeconfig(), &kubeconfig) {
        tracing::error!("{}", chain(&error));
    }
    Ok(Listening {
        server,
        registry,
        root_ca: certificates.ca,
    })
}

impl<R: Runtime> Listening<R> {
    pub(crate) fn serve(self) -> Serving {
        let (end, ended) = oneshot::channel();
        let address = reachable(self.server.address());
        let task = tokio::spawn(self.server.run(async {
            // A sender that is dropped ends it too.
            let _asked_or_dropped = ended.await;
        }));
        Serving {
            address,
            end: Some(end),
            task,
        }
    }
}

impl Serving {
    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns when what is being answered has been, or has had its time.
    pub(crate) async fn end(&mut self) {
        drop(self.end.take());
        if let Err(error) = (&mut self.task).await {
            tracing::error!("the API died: {error}");
        }
    }
}

/// An error with what it comes from.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// An address of any interface is no address to go to.
const fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::new(
            std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            v4.port(),
        ),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::new(
            std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            v6.port(),
        ),
        other => other,
    }
}
