//! Which hosts are asked for an image, and how.

use std::net::IpAddr;

use crate::reference::Reference;

/// Registries that are reached otherwise than by HTTPS at the host of their name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries {
    insecure: Vec<String>,
    mirrors: Vec<Mirror>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    registry: String,
    host: String,
    scheme: Scheme,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Https,
    Http,
    /// HTTPS with whatever certificate, or HTTP if that is not spoken there.
    Insecure,
}

/// A host that may have an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// With a port, if there is one.
    pub(crate) host: String,
    pub(crate) scheme: Scheme,
    /// Not the registry itself.
    pub(crate) is_mirror: bool,
}

/// A setting for registries is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistriesError {
    /// A host is none.
    #[error("{0:?} is not HOST or HOST:PORT")]
    Host(String),
    /// A mirror is none.
    #[error("{0:?} is not HOST=URL, with a URL like https://mirror.example.com")]
    Mirror(String),
}

impl Registries {
    /// Lets a registry, `HOST` or `HOST:PORT`, have whatever certificate, or speak HTTP.
    ///
    /// # Errors
    /// [`RegistriesError::Host`].
    pub fn add_insecure(&mut self, host: &str) -> Result<(), RegistriesError> {
        if !is_host(host) {
            return Err(RegistriesError::Host(host.to_owned()));
        }
        self.insecure.push(canonical(host).to_owned());
        Ok(())
    }

    /// Asks a mirror before the registry: `HOST=URL`, for example `docker.io=https://mirror.example.com`. The
    /// URL has a scheme, a host and perhaps a port; with `http` it is asked by HTTP.
    ///
    /// # Errors
    /// [`RegistriesError::Mirror`].
    pub fn add_mirror(&mut self, mirror: &str) -> Result<(), RegistriesError> {
        let wrong = || RegistriesError::Mirror(mirror.to_owned());
        let (registry, url) = mirror.split_once('=').ok_or_else(wrong)?;
        let (scheme, host) = url.split_once("://").ok_or_else(wrong)?;
        let scheme = match scheme {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(wrong()),
        };
        let host = host.strip_suffix('/').unwrap_or(host);
        if !is_host(registry) || !is_host(host) {
            return Err(wrong());
        }
        self.mirrors.push(Mirror {
            registry: canonical(registry).to_owned(),
            host: host.to_owned(),
            scheme,
        });
        Ok(())
    }

    /// Who is asked for an image, in order.
    ///
    /// Upstream: github.com/moby/moby registry/config.go, isSecureIndex (loopback addresses are insecure
    /// registries without being named; a mirror goes before the registry).
    /// Shown by: only_named_hosts_and_loopback_are_insecure, mirrors_go_first.
    pub(crate) fn endpoints(&self, domain: &str) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        for mirror in &self.mirrors {
            if mirror.registry == domain {
                let is_insecure = mirror.scheme == Scheme::Https && self.is_named(&mirror.host);
                endpoints.push(Endpoint {
                    host: mirror.host.clone(),
                    scheme: if is_insecure {
                        Scheme::Insecure
                    } else {
                        mirror.scheme
                    },
                    is_mirror: true,
                });
            }
        }
        let is_insecure = self.is_named(domain) || is_loopback(domain);
        endpoints.push(Endpoint {
            host: if domain == "docker.io" {
                "registry-1.docker.io"
            } else {
                domain
            }
            .to_owned(),
            scheme: if is_insecure {
                Scheme::Insecure
            } else {
                Scheme::Https
            },
            is_mirror: false,
        });
        endpoints
    }

    fn is_named(&self, host: &str) -> bool {
        let without_port = split_port(host).0;
        let is_it = |named: &String| named == host || named == without_port;
        self.insecure.iter().any(is_it)
    }
}

fn canonical(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

/// Whether it is the part of a reference that names a registry.
fn is_host(text: &str) -> bool {
    let is_whole = |reference: Reference| reference.domain == canonical(text);
    !text.contains(['/', '@']) && Reference::parse(&format!("{text}/a/b")).is_ok_and(is_whole)
}

/// Host and port.
pub(crate) fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    }
}

fn is_loopback(host: &str) -> bool {
    let name = split_port(host).0.trim_matches(['[', ']']);
    name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemes(registries: &Registries, domain: &str) -> Vec<(String, Scheme)> {
        let endpoints = registries.endpoints(domain).into_iter();
        endpoints
            .map(|endpoint| (endpoint.host, endpoint.scheme))
            .collect()
    }

    #[test]
    fn only_named_hosts_and_loopback_are_insecure() {
        let mut registries = Registries::default();
        registries.add_insecure("plain.example.com").unwrap();
        registries.add_insecure("other.example.com:5000").unwrap();
        for (domain, scheme) in [
            ("docker.io", Scheme::Https),
            ("plain.example.com", Scheme::Insecure),
            ("plain.example.com:81", Scheme::Insecure),
            ("other.example.com", Scheme::Https),
            ("other.example.com:5000", Scheme::Insecure),
            ("127.0.0.1:5000", Scheme::Insecure),
            ("127.9.9.9", Scheme::Insecure),
            ("[::1]:5000", Scheme::Insecure),
            ("localhost:5000", Scheme::Insecure),
            ("localhost.example.com", Scheme::Https),
            ("10.0.0.1:5000", Scheme::Https),
        ] {
            let endpoints = registries.endpoints(domain);
            assert_eq!(endpoints.last().unwrap().scheme, scheme, "{domain}");
        }
    }

    #[test]
    fn mirrors_go_first() {
        let mut registries = Registries::default();
        registries
            .add_mirror("docker.io=https://one.example.com/")
            .unwrap();
        registries
            .add_mirror("index.docker.io=http://[::1]:5000")
            .unwrap();
        registries
            .add_mirror("quay.io=https://two.example.com")
            .unwrap();
        let own = |host: &str, scheme| (host.to_owned(), scheme);
        assert_eq!(
            schemes(&registries, "docker.io"),
            [
                own("one.example.com", Scheme::Https),
                own("[::1]:5000", Scheme::Http),
                own("registry-1.docker.io", Scheme::Https),
            ]
        );
        assert_eq!(
            schemes(&registries, "gcr.io"),
            [own("gcr.io", Scheme::Https)]
        );
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", "a/b", "https://a.b", "a b.c", "a.b:x", "library"] {
            let error = Registries::default().add_insecure(text).unwrap_err();
            assert_eq!(error, RegistriesError::Host(text.to_owned()));
        }
        for text in [
            "docker.io",
            "docker.io=a.b",
            "docker.io=ftp://a.b",
            "a.b=https://a.b/c",
            "=https://a.b",
        ] {
            let error = Registries::default().add_mirror(text).unwrap_err();
            assert_eq!(error, RegistriesError::Mirror(text.to_owned()));
        }
    }
}
