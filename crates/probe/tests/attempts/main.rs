//! Attempts against real servers, sockets and commands on this host.

#[cfg(test)]
mod command;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod ground;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod grpc_wire;
#[cfg(test)]
mod redirect;
#[cfg(test)]
mod response;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod transport;
