//! A port that is ours for good and open when we say so.
//!
//! Linux lets a listening TCP socket go back to being merely bound: `shutdown` empties its queue with
//! resets, takes it off the list of listeners, and keeps the port as long as that was asked for by
//! number. Until the next `listen` the kernel itself refuses clients.
//!
//! `SO_REUSEADDR` is on exactly while the door is open. On, so that connections in TIME_WAIT, of an
//! earlier run or an earlier opening, do not forbid `listen`; nobody else can have the port then, as two
//! sockets never listen on one. Off otherwise, because two sockets that are only bound share a port if
//! both have it on: some server could take ours, on all addresses, and answer the Service's clients.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};

/// How many connections the kernel makes ahead of `accept`.
pub(super) const BACKLOG: i32 = 1024;

/// How often a free port is asked for, if each time somebody takes it before it is ours.
const FREE_PORT_ATTEMPTS: usize = 8;

/// Why a port has no address on the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot listen on {tried}")]
pub struct BindError {
    tried: String,
}

impl BindError {
    pub(super) fn new(address: SocketAddr, error: &io::Error) -> Self {
        Self {
            tried: format!("{address} ({error})"),
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub(super) struct Door {
    socket: OwnedFd,
    address: SocketAddr,
}

impl Door {
    /// Binds the first of `wishes` that can be had; port 0 is any. The door is closed.
    pub(super) fn reserve(wishes: &[SocketAddr]) -> Result<Self, BindError> {
        let mut tried = Vec::new();
        for &wish in wishes {
            let door = if wish.port() == 0 {
                Self::bind_any(wish)
            } else {
                Self::bind(wish)
            };
            match door {
                Ok(door) => return Ok(door),
                Err(error) => tried.push(BindError::new(wish, &error.into()).tried),
            }
        }
        Err(BindError {
            tried: tried.join(", "),
        })
    }

    /// A socket that is bound to `address` already, by its number. The door is closed.
    pub(super) fn adopt(socket: OwnedFd, address: SocketAddr) -> Self {
        let door = Self { socket, address };
        door.close();
        door
    }

    /// Where it is.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets clients in. Dropping what this returns does not close the door.
    pub(super) fn open(&self) -> io::Result<TcpListener> {
        self.listen()?;
        let listener = self.socket.try_clone();
        if listener.is_err() {
            self.close();
        }
        Ok(listener?.into())
    }

    /// Lets nobody in any more; who was in the queue is reset.
    pub(super) fn close(&self) {
        // Fails on a socket that does not listen, which is what is wanted.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
        let _ = sockopt::set_socket_reuseaddr(&self.socket, false);
    }

    fn bind(address: SocketAddr) -> Result<Self, Errno> {
        let socket = socket(address)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &address)?;
        let door = Self { socket, address };
        // A port that was bound shareable stays so until something listens on it.
        door.listen()?;
        door.close();
        Ok(door)
    }

    /// A port that the kernel picks is given back on `shutdown`; so ask for it again by its number.
    fn bind_any(address: SocketAddr) -> Result<Self, Errno> {
        let mut last = Errno::ADDRINUSE;
        for _ in 0..FREE_PORT_ATTEMPTS {
            let probe = socket(address)?;
            rustix::net::bind(&probe, &address)?;
            let free = SocketAddr::try_from(rustix::net::getsockname(&probe)?)?;
            drop(probe);
            match Self::bind(free) {
                Err(Errno::ADDRINUSE) => last = Errno::ADDRINUSE,
                other => return other,
            }
        }
        Err(last)
    }

    fn listen(&self) -> Result<(), Errno> {
        sockopt::set_socket_reuseaddr(&self.socket, true)?;
        rustix::net::listen(&self.socket, BACKLOG).inspect_err(|_| {
            let _ = sockopt::set_socket_reuseaddr(&self.socket, false);
        })
    }
}

impl Drop for Door {
    /// The task behind an open door may hold the socket for a moment longer. It is in nobody's way.
    fn drop(&mut self) {
        self.close();
        let _not_in_the_way = sockopt::set_socket_reuseaddr(&self.socket, true);
    }
}

fn socket(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    const ANY: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(127, 213, 255, 1)), 0);

    fn refused(address: SocketAddr) -> bool {
        TcpStream::connect(address)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// As servers do: with SO_REUSEADDR.
    fn squat(address: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(address)
    }

    #[test]
    fn it_opens_and_closes_on_the_same_port() {
        let door = Door::reserve(&[ANY]).unwrap();
        for _ in 0..20 {
            assert!(refused(door.address()));
            let listener = door.open().unwrap();
            let _client = TcpStream::connect(door.address()).unwrap();
            assert_eq!(listener.local_addr().unwrap(), door.address());
            drop(listener);
            door.close();
        }
        assert!(refused(door.address()));
    }

    #[test]
    fn nobody_gets_the_port_while_it_is_closed() {
        let door = Door::reserve(&[ANY]).unwrap();
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, door.address().port()));
        let check = |when: &str| {
            for address in [door.address(), everywhere] {
                let error = squat(address).expect_err(when);
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{when}, {address}");
            }
        };
        check("never opened");
        let listener = door.open().unwrap();
        check("open");
        let client = TcpStream::connect(door.address()).unwrap();
        let (mut server, _) = loop {
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                other => break other.unwrap(),
            }
        };
        door.close();
        check("closed, with a connection standing");
        drop(client);
        server.set_nonblocking(false).unwrap();
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        drop(server);
        check("closed again");
        door.open().unwrap();
    }

    #[test]
    fn a_queued_client_is_reset() {
        let door = Door::reserve(&[ANY]).unwrap();
        let _listener = door.open().unwrap();
        let mut client = TcpStream::connect(door.address()).unwrap();
        door.close();
        assert_eq!(
            client.read(&mut [0]).unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
    }

    /// The server's side closes first and is left in TIME_WAIT on the port.
    #[test]
    fn the_port_can_be_had_again_at_once() {
        let first = Door::reserve(&[ANY]).unwrap();
        let address = first.address();
        let listener = first.open().unwrap();
        listener.set_nonblocking(false).unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        drop(listener.accept().unwrap());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
        drop((first, listener));
        let again = Door::reserve(&[address]).unwrap();
        assert_eq!(again.address(), address);
        let _listener = again.open().unwrap();
        TcpStream::connect(address).unwrap();
    }

    #[test]
    fn a_wish_that_cannot_be_had_leads_to_the_next() {
        let first = Door::reserve(&[ANY]).unwrap();
        let second = Door::reserve(&[first.address(), ANY]).unwrap();
        assert_ne!(second.address(), first.address());
        assert_eq!(second.address().ip(), ANY.ip());
        let error = Door::reserve(&[first.address()]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot listen on {} (", first.address())),
            "{error}"
        );
    }
}
