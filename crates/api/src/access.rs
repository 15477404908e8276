//! Who may come in, and with what: certificates, tokens, and the kubeconfig that holds ours.
//!
//! [`certificates`] keeps the CA of this data directory and what it has signed, [`kubeconfig`] writes them down
//! for kubectl, [`tokens`] reads the file of bearer tokens,
//! [`token_key`] keeps what the tokens of service accounts are signed with; [`user`] is who all of them speak of.

mod file;

pub mod certificates;
pub mod kubeconfig;
pub mod token_key;
pub mod tokens;
pub mod user;

pub use certificates::{Certificates, CertificatesError};
pub use user::{Authenticate, User};
