//! The documents in the hands of the real kubectl.

#[cfg(test)]
mod documents;
#[cfg(test)]
mod server;
