//! Pods as processes in Linux namespaces, without a daemon, an image or root.
//!
//! [`NativeRuntime`] is the agent's side: it starts one small *shim* process per pod, talks to it over a
//! Unix socket, and finds it again after a restart. The shim, the same binary re-executed, is the parent
//! of the pod's processes and does all the work; [`shim_main`] is what the binary calls to become one.
//!
//! It decides nothing: what is started, stopped or run, and when, is asked for through
//! [`probelet_runtime::Runtime`]. It knows no images; a container sees the host's own files, read-only.
//!
//! Start reading at [`NativeRuntime`], then `protocol` for what the two sides say to each other, then
//! `shim`.

mod attach;
mod client;
mod clock;
mod last_words;
mod launch;
mod layout;
mod pool;
mod process;
mod protocol;
mod runtime;
mod session;
mod shim;
mod sys;
mod text;
mod volume_files;
mod wire;

pub use runtime::{NativeRuntime, Options};
pub use shim::shim_main;
