//! Images: pulled from registries or loaded from files, unpacked, and kept by their content.
//!
//! [`ImageStore`] is an adapter of [`probelet_runtime::Images`]. Several processes may use one store at a time,
//! and any of them may be killed at any time: what is here is whole.
//!
//! It does not mount anything, and it decides nothing about pods. What layers contain is read in a process of
//! its own, [`unpack_main`].
//!
//! Start reading at [`ImageStore`], then `place` for where things are, `pull` for how they come, and `unpack`.

mod auth;
mod credentials;
mod digest;
mod docker_config;
mod download;
mod files;
mod index;
mod layers;
mod load;
mod manifest;
mod place;
mod progress;
mod pull;
mod reference;
mod registries;
mod registry;
mod store;
mod unpack;

pub use self::auth::{AuthError, decode_auth};
pub use self::load::{LoadError, Loaded};
pub use self::progress::{Event, LayerState, Progress};
pub use self::registries::{Registries, RegistriesError};
pub use self::store::{ImageStore, Listed, Options, RemoveError, Removed};
pub use self::unpack::unpack_main;
