//! The CA of a data directory, and the two certificates it signs: the server's and the administrator's.
//!
//! Each is one file in `<data-dir>/pki` with its key and its certificate, so that the two are there together or
//! not at all; `ca.crt` beside them is the CA's certificate alone, for `curl --cacert` and the like. What is
//! missing is made, what is about to expire is made anew, and what cannot be read is left as it is and told.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use probelet_model::time::Wall;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::file;
use super::user::{MASTERS, User};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// As kubeadm's.
const CA_DAYS: u32 = 3650;
/// As kubeadm's.
const LEAF_DAYS: u32 = 365;
/// What has less than this left is made anew at a start.
const RENEWED_BEFORE: u32 = 90;
/// A client whose clock is somewhat behind takes a new certificate too.
const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// The certificates of a data directory.
#[derive(Debug)]
pub struct Certificates {
    /// The CA's certificate, as PEM.
    pub ca: String,
    /// What the server shows.
    pub server: Identity,
    /// What the administrator's kubectl shows: `kubernetes-admin` of `system:masters`.
    pub admin: Identity,
    /// What people should be told: what was made anew, and what will soon expire.
    pub notes: Vec<String>,
}

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its key, PKCS #8.
    pub key: String,
}

impl std::fmt::Debug for Identity {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// The file system does not let us.
    #[error("cannot {what} {path}")]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A file is not what we once wrote.
    #[error(
        "{path} cannot be used: {why}. Put back the file as it was, or remove it to have a new one made at the next \
         start{}",
        if *.is_ca { "; kubeconfigs written until now will then no longer be accepted" } else { "" }
    )]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// Whether everything else hangs on it.
        is_ca: bool,
    },
    /// A key or a certificate cannot be made.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
}

impl Certificates {
    /// Takes up what is in `<data_dir>/pki`, and makes what is missing or about to expire.
    ///
    /// The server's certificate is good for `localhost`, the names a pod knows the API by, loopback, the node's
    /// name, and `addresses`.
    ///
    /// # Errors
    /// [`CertificatesError`]; no file that exists and is not ours is written to.
    pub fn open(
        data_dir: &Path,
        node_name: &str,
        addresses: &[IpAddr],
        now: Wall,
    ) -> Result<Self, CertificatesError> {
        let pki = data_dir.join("pki");
        fs::create_dir_all(&pki).map_err(file_error("make", &pki))?;
        let mut notes = Vec::new();
        let ca = ca(&pki.join("ca.pem"), now, &mut notes)?;
        let issuer = issuer(&pki.join("ca.pem"), &ca)?;
        let bare = pki.join("ca.crt");
        if fs::read_to_string(&bare).ok().as_deref() != Some(&ca.certificate) {
            file::write(&bare, ca.certificate.as_bytes()).map_err(file_error("write", &bare))?;
        }
        let names = server_names(node_name, addresses).map_err(CertificatesError::Make)?;
        let server = Leaf {
            name: "kube-apiserver",
            group: None,
            names,
            usage: ExtendedKeyUsagePurpose::ServerAuth,
        };
        let admin = Leaf {
            name: "kubernetes-admin",
            group: Some(MASTERS),
            names: Vec::new(),
            usage: ExtendedKeyUsagePurpose::ClientAuth,
        };
        Ok(Self {
            server: server.open(&pki.join("apiserver.pem"), &ca, &issuer, now, &mut notes)?,
            admin: admin.open(&pki.join("admin.pem"), &ca, &issuer, now, &mut notes)?,
            ca: ca.certificate,
            notes,
        })
    }
}

impl Identity {
    /// The certificate and its key as a TLS library takes them.
    ///
    /// # Errors
    /// If they are not what they say they are.
    pub fn to_der(
        &self,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rustls::pki_types::pem::Error>
    {
        Ok((
            CertificateDer::from_pem_slice(self.certificate.as_bytes())?,
            PrivateKeyDer::from_pem_slice(self.key.as_bytes())?,
        ))
    }

    fn of(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// The identity in the file, if there is a file.
    fn read(path: &Path, is_ca: bool) -> Result<Option<Self>, CertificatesError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(corrupt(path, is_ca, "it is no text"));
            }
            Err(error) => return Err(file_error("read", path)(error)),
        };
        let Some(split) = text.find("-----BEGIN CERTIFICATE-----") else {
            return Err(corrupt(path, is_ca, "there is no certificate in it"));
        };
        let (key, certificate) = text.split_at(split);
        let identity = Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        let pair = KeyPair::from_pem(&identity.key)
            .map_err(|error| corrupt(path, is_ca, format!("its key cannot be read ({error})")))?;
        let der =
            CertificateDer::from_pem_slice(identity.certificate.as_bytes()).map_err(|error| {
                corrupt(
                    path,
                    is_ca,
                    format!("its certificate cannot be read ({error})"),
                )
            })?;
        let certificate = parse(&der)
            .map_err(|why| corrupt(path, is_ca, format!("its certificate is none ({why})")))?;
        if certificate.public_key().subject_public_key.data.as_ref() != pair.public_key_raw() {
            return Err(corrupt(
                path,
                is_ca,
                "its key is not that of its certificate",
            ));
        }
        Ok(Some(identity))
    }

    fn write(&self, path: &Path) -> Result<(), CertificatesError> {
        let text = format!("{}{}", self.key, self.certificate);
        file::write(path, text.as_bytes()).map_err(file_error("write", path))
    }

    /// What `examine` finds in the certificate, which has been read before.
    fn examine<T>(&self, examine: impl FnOnce(&X509Certificate<'_>) -> T) -> Option<T> {
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes()).ok()?;
        parse(&der).ok().map(|certificate| examine(&certificate))
    }

    /// How many whole days it is still good for; below zero if it no longer is.
    fn days_left(&self, now: Wall) -> i64 {
        let until = self.examine(|certificate| certificate.validity().not_after.timestamp());
        (until.unwrap_or(0) - seconds(now)).div_euclid(24 * 60 * 60)
    }
}

fn ca(path: &Path, now: Wall, notes: &mut Vec<String>) -> Result<Identity, CertificatesError> {
    if let Some(ca) = Identity::read(path, true)? {
        let days = ca.days_left(now);
        if days < 0 {
            return Err(corrupt(path, true, "it has expired"));
        }
        if days < i64::from(RENEWED_BEFORE) {
            notes.push(format!(
                "the CA in {} expires in {days} days; remove the file to have a new one made, and take the new \
                 kubeconfig",
                path.display()
            ));
        }
        return Ok(ca);
    }
    let mut params = params("kubernetes", now, CA_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::CrlSign,
    ];
    let key = KeyPair::generate().map_err(CertificatesError::Make)?;
    let certificate = params.self_signed(&key).map_err(CertificatesError::Make)?;
    let ca = Identity::of(&certificate, &key);
    ca.write(path)?;
    Ok(ca)
}

fn issuer(path: &Path, ca: &Identity) -> Result<Issuer<'static, KeyPair>, CertificatesError> {
    let key = KeyPair::from_pem(&ca.key).map_err(CertificatesError::Make)?;
    Issuer::from_ca_cert_pem(&ca.certificate, key)
        .map_err(|error| corrupt(path, true, format!("it cannot sign ({error})")))
}

/// A certificate that the CA signs.
struct Leaf {
    name: &'static str,
    group: Option<&'static str>,
    names: Vec<SanType>,
    usage: ExtendedKeyUsagePurpose,
}

impl Leaf {
    /// What is in the file, if it will do; else a new one.
    fn open(
        &self,
        path: &Path,
        ca: &Identity,
        issuer: &Issuer<'_, KeyPair>,
        now: Wall,
        notes: &mut Vec<String>,
    ) -> Result<Identity, CertificatesError> {
        if let Some(there) = Identity::read(path, false)? {
            let Some(reason) = self.outdated(&there, ca, now) else {
                return Ok(there);
            };
            notes.push(format!("{} was made anew: {reason}", path.display()));
        }
        let mut params = params(self.name, now, LEAF_DAYS);
        if let Some(group) = self.group {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        params.subject_alt_names.clone_from(&self.names);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![self.usage.clone()];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(CertificatesError::Make)?;
        let certificate = params
            .signed_by(&key, issuer)
            .map_err(CertificatesError::Make)?;
        let identity = Identity::of(&certificate, &key);
        identity.write(path)?;
        Ok(identity)
    }

    /// Why it will not do.
    fn outdated(&self, there: &Identity, ca: &Identity, now: Wall) -> Option<String> {
        let days = there.days_left(now);
        if days < i64::from(RENEWED_BEFORE) {
            return Some(format!("it was good for another {} days", days.max(0)));
        }
        let der = CertificateDer::from_pem_slice(ca.certificate.as_bytes()).ok()?;
        let authority = parse(&der).ok()?;
        let is_ours = there.examine(|certificate| {
            certificate
                .verify_signature(Some(authority.public_key()))
                .is_ok()
        })?;
        if !is_ours {
            return Some("another CA had signed it".to_owned());
        }
        let known = there.examine(alternative_names)?;
        let missing = self.names.iter().find(|name| !known.contains(name))?;
        Some(match missing {
            SanType::IpAddress(address) => format!("it was not good for {address}"),
            SanType::DnsName(name) => format!("it was not good for {}", name.as_str()),
            _ => "it was not good for all names".to_owned(),
        })
    }
}

/// Who a client's certificate says he is: its common name, and its organisations as groups.
///
/// Upstream: apiserver pkg/authentication/request/x509/x509.go, CommonNameUserConversion.
/// Shown by: what_was_made_is_taken_up_again.
#[must_use]
pub fn user_of(certificate: &CertificateDer<'_>) -> Option<User> {
    let certificate = parse(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    if name.is_empty() {
        return None;
    }
    let groups = subject
        .iter_organization()
        .filter_map(|group| Some(group.as_str().ok()?.to_owned()))
        .collect();
    Some(User {
        name,
        groups,
        ..User::default()
    })
}

fn server_names(node_name: &str, addresses: &[IpAddr]) -> Result<Vec<SanType>, rcgen::Error> {
    let dns = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        node_name,
    ];
    let loopback = [
        IpAddr::from([127, 0, 0, 1]),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    ];
    let mut names = Vec::new();
    for name in dns {
        let name = SanType::DnsName(name.try_into()?);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for address in loopback.iter().chain(addresses) {
        let name = SanType::IpAddress(*address);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<SanType> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(SanType::DnsName((*name).try_into().ok()?)),
        GeneralName::IPAddress(octets) => {
            let address = <[u8; 4]>::try_from(*octets)
                .map(IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from));
            Some(SanType::IpAddress(address.ok()?))
        }
        _ => None,
    };
    extension
        .value
        .general_names
        .iter()
        .filter_map(name)
        .collect()
}

fn params(common_name: &str, now: Wall, days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = Duration::from_secs(u64::try_from(seconds(now)).unwrap_or(0));
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + now + DAY * days;
    params
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|error| error.to_string())
}

const fn seconds(wall: Wall) -> i64 {
    wall.0.div_euclid(1_000_000_000)
}

fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CertificatesError {
    let path = path.to_owned();
    move |source| CertificatesError::File { what, path, source }
}

fn corrupt(path: &Path, is_ca: bool, why: impl Into<String>) -> CertificatesError {
    CertificatesError::Corrupt {
        path: path.to_owned(),
        why: why.into(),
        is_ca,
    }
}

#[cfg(test)]
mod tests;
