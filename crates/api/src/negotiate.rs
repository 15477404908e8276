//! What form a client wants its answer in, and what form its body came in.

mod accept;
mod content;

pub use accept::{Format, Media, MetaVersion, Shape, aggregated};
pub use content::{Content, decode, patch_type};
