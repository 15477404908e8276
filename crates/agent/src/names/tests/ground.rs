//! A runtime that has only sockets, all of them the host's.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use probelet_model::id::{ContainerId, PodUid};
use probelet_runtime::{
    ContainerConfig, Events, ExecError, ExecOutput, ExecRequest, Family, PodConfig, PodRecord,
    PodUsage, Runtime, RuntimeError, Session, SessionRequest, StartContainerError, StartPodError,
    Started, Streams, Transport, VolumeFiles,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

const NOTHING: &str = "nothing of that sort here";

/// Longer than anything here takes; reached only by a failure.
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("in time")
}

/// A question for one record of a name.
pub(super) fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut packet = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).unwrap());
        packet.extend(label.as_bytes());
    }
    packet.push(0);
    packet.extend(kind.to_be_bytes());
    packet.extend([0, 1]);
    packet
}

type Bound = (PodUid, SocketAddr, &'static str);

/// Where what pods have bound lies on the host.
#[derive(Debug, Default)]
pub(super) struct Host(Mutex<BTreeMap<Bound, SocketAddr>>);

const fn word(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

impl Host {
    pub(super) fn bound(
        &self,
        pod: &str,
        address: SocketAddr,
        transport: Transport,
    ) -> Option<SocketAddr> {
        let key = (pod.into(), address, word(transport));
        self.0.lock().unwrap().get(&key).copied()
    }
}

impl Runtime for Host {
    async fn tcp_socket(&self, _: &PodUid, _: Family) -> Result<OwnedFd, RuntimeError> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
            .map_err(|error| RuntimeError::Failed(error.to_string()))
    }

    async fn bind(
        &self,
        pod: &PodUid,
        address: SocketAddr,
        transport: Transport,
    ) -> Result<OwnedFd, RuntimeError> {
        let any = (Ipv4Addr::LOCALHOST, 0);
        let (socket, at): (OwnedFd, SocketAddr) = match transport {
            Transport::Tcp => {
                let listener = std::net::TcpListener::bind(any).unwrap();
                // By its number, as a runtime binds.
                let at = listener.local_addr().unwrap();
                drop(listener);
                let listener = std::net::TcpListener::bind(at).unwrap();
                listener.set_nonblocking(true).unwrap();
                (listener.into(), at)
            }
            Transport::Udp => {
                let socket = std::net::UdpSocket::bind(any).unwrap();
                socket.set_nonblocking(true).unwrap();
                let at = socket.local_addr().unwrap();
                (socket.into(), at)
            }
        };
        let key = (pod.clone(), address, word(transport));
        let before = self.0.lock().unwrap().insert(key, at);
        assert_eq!(before, None, "{address} is bound once");
        Ok(socket)
    }

    fn events(&self) -> Events {
        tokio::sync::mpsc::unbounded_channel().1
    }

    async fn pods(&self) -> Result<Vec<PodRecord>, RuntimeError> {
        Ok(Vec::new())
    }

    async fn start_pod(&self, _: PodConfig) -> Result<(), StartPodError> {
        Err(StartPodError::Sandbox(NOTHING.to_owned()))
    }

    async fn start_container(
        &self,
        _: &PodUid,
        _: ContainerConfig,
    ) -> Result<Started, StartContainerError> {
        Err(StartContainerError::Create(NOTHING.to_owned()))
    }

    async fn stop_container(
        &self,
        _: &PodUid,
        _: &ContainerId,
        _: Duration,
    ) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn remove_pod(&self, _: &PodUid) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn exec(
        &self,
        _: &PodUid,
        _: &ContainerId,
        _: ExecRequest,
    ) -> Result<ExecOutput, ExecError> {
        Err(ExecError::Runtime(NOTHING.to_owned()))
    }

    async fn open_exec(
        &self,
        _: &PodUid,
        _: &ContainerId,
        _: SessionRequest,
    ) -> Result<Session, ExecError> {
        Err(ExecError::Runtime(NOTHING.to_owned()))
    }

    async fn attach(&self, _: &PodUid, _: &ContainerId, _: Streams) -> Result<Session, ExecError> {
        Err(ExecError::Runtime(NOTHING.to_owned()))
    }

    async fn update_volume(&self, _: &PodUid, _: &str, _: VolumeFiles) -> Result<(), RuntimeError> {
        Ok(())
    }

    fn log_dir(&self) -> &Path {
        Path::new("/")
    }

    async fn usage(&self, pod: &PodUid) -> Result<PodUsage, RuntimeError> {
        Err(RuntimeError::NoPod(pod.clone()))
    }
}
