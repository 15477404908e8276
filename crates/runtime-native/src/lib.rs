//! Pods as processes in Linux namespaces, without a daemon and without root.
//!
//! [`NativeRuntime`] is the agent's side: it starts one small *shim* process per pod, talks to it over a
//! Unix socket, and finds it again after a restart. The shim, the same binary re-executed, is the parent
//! of the pod's processes and does all the work; [`shim_main`] is what the binary calls to become one.
//!
//! It decides nothing: what is started, stopped or run, and when, is asked for through
//! [`probelet_runtime::Runtime`]. It keeps no images: a container sees the layers that it is given, or the
//! host's own files, read-only.
//!
//! Start reading at [`NativeRuntime`], then `protocol` for what the two sides say to each other, then
//! `shim`; `network` is the pods' way out.

mod attach;
mod attempt;
mod cgroup;
mod client;
mod clock;
mod exec;
mod exec_channel;
mod last_words;
mod launch;
mod layout;
mod left_over;
mod network;
mod notices;
mod pool;
mod process;
mod protocol;
mod removal;
mod runtime;
mod session;
mod shim;
mod sys;
mod text;
mod tree;
mod user_namespace;
mod volume_files;
mod walk;
mod wire;

pub use network::{Egress, EgressError, NetworkOptions, NetworkState};
pub use runtime::{NativeRuntime, Options};
pub use shim::shim_main;
pub use user_namespace::{enter_user_namespace, single_id_notice};
