//! The server, over real sockets and real TLS.

#[cfg(test)]
mod ground;
#[cfg(test)]
mod many;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod watching;
