//! TLS to a server whose certificate is not asked about.

use std::io;
use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, SignatureScheme,
};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::socket::Socket;

/// Shakes hands with the server behind `socket`. A name goes along as SNI, an address does not.
///
/// Errors: Go's text.
///
/// Upstream: pkg/probe/http/http.go, New.
/// Differs: HTTP/2 is not offered, only `http/1.1`; the verdict differs for a server that speaks HTTP/2
/// alone.
/// Shown by: c15_a_self_signed_certificate.
pub(super) async fn handshake(socket: Socket, host: &str) -> Result<TlsStream<Socket>, String> {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| Arc::new(config()));
    // A client's flights are small and each waits for the server's.
    socket.set_nodelay().map_err(|error| error.to_string())?;
    let address = ServerName::IpAddress(socket.peer().ip().into());
    let name = ServerName::try_from(host).map_or(address, |name| name.to_owned());
    let connector = TlsConnector::from(Arc::clone(&CONFIG));
    connector
        .connect(name, socket)
        .into_fallible()
        .await
        .map_err(|(error, socket)| {
            let is_no_tls = matches!(
                tls_error(&error),
                Some(Error::InvalidMessage(InvalidMessage::InvalidContentType))
            );
            match (is_no_tls, socket.greeting()) {
                (true, b"HTTP/") => "http: server gave HTTP response to HTTPS client".to_owned(),
                (true, _) => "tls: first record does not look like a TLS handshake".to_owned(),
                (false, _) if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
                (false, _) => describe(&error)
                    .unwrap_or_else(|| format!("read tcp: {}", crate::go::errno(&error))),
            }
        })
}

fn config() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // An attempt is to meet the server as a stranger would, as Go's client does.
    config.resumption = Resumption::disabled();
    config
}

/// Takes any certificate, but the server has to own it.
///
/// Differs: an X.509 version 1 certificate, or an RSA key under 2048 bits, is one rustls cannot check a
/// signature with, and so a failure.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// An error of TLS in Go's words; `None` if it is none of TLS.
pub(super) fn describe(error: &io::Error) -> Option<String> {
    Some(match tls_error(error)? {
        Error::AlertReceived(alert) => format!("remote error: tls: {}", alert_text(*alert)),
        other => format!("tls: {other}"),
    })
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// A TLS alert in Go's words.
///
/// Upstream: Go src/crypto/tls/alert.go, alertText.
/// Shown by: a_server_without_tls.
fn alert_text(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::InsufficientSecurity => "insufficient security level",
        AlertDescription::InternalError => "internal error",
        AlertDescription::UnrecognisedName => "unrecognized name",
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::NoApplicationProtocol => "no application protocol",
        other => return format!("alert({})", u8::from(other)),
    };
    text.to_owned()
}
