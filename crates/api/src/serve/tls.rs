//! TLS: our certificate, and what is made of the client's.

use std::sync::Arc;
use std::time::Duration;

use probelet_model::time::Now;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};

use crate::access::certificates::{self, Certificates};
use crate::access::user::User;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or a key is none.
    #[error("cannot read a certificate")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// The CA cannot be used to verify clients.
    #[error("cannot verify clients by the CA")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// They do not fit together.
    #[error("cannot serve TLS with the server's certificate")]
    Config(#[from] rustls::Error),
}

/// TLS with a server's certificate, and the CA that clients' certificates are signed by.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
    clock: Clock,
}

impl Tls {
    pub(super) fn new(certificates: &Certificates, clock: fn() -> Now) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(certificates.ca.as_bytes());
        roots.add(ca.map_err(TlsError::Pem)?)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(TlsError::Verifier)?;
        let (certificate, key) = certificates.server.to_der().map_err(TlsError::Pem)?;
        let clock = Clock(clock);
        let mut config = ServerConfig::builder_with_details(provider, Arc::new(clock))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(Later(Arc::clone(&verifier))))
            .with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            verifier,
            clock,
        })
    }

    /// Whose certificates these are; nobody's if our CA has not signed them, or no longer.
    pub(super) fn user(&self, shown: Option<&[CertificateDer<'_>]>) -> Option<User> {
        let (end, between) = shown?.split_first()?;
        let now = self.clock.current_time()?;
        self.verifier.verify_client_cert(end, between, now).ok()?;
        certificates::user_of(end)
    }
}

/// The clock, for whoever checks when certificates expire.
#[derive(Clone, Copy, Debug)]
struct Clock(fn() -> Now);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let nanos = u64::try_from((self.0)().wall.0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_nanos(nanos)))
    }
}

/// Takes any certificate whose key the client has, and leaves it to [`Tls::user`] what it is worth: a client
/// that is not known gets an answer that says so (401), and not an end of the connection that says nothing.
#[derive(Debug)]
struct Later(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Later {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
