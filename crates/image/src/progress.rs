//! How far a pull or a load is.

use std::fmt;
use std::sync::Arc;

/// Something of a pull or a load has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It is known what the reference is of.
    Resolved {
        /// The full reference.
        reference: String,
        /// Digest of the manifest or index.
        digest: String,
        /// The layers, the lowest first: digest as downloaded, and bytes.
        layers: Vec<(String, u64)>,
    },
    /// A layer has come so far.
    Layer {
        /// Its digest, as downloaded.
        digest: String,
        /// What is done with it.
        state: LayerState,
    },
}

/// What is done with a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerState {
    /// Another process, or another pull in this one, is at it.
    Waiting,
    /// It is coming.
    Downloading {
        /// Bytes that are here.
        bytes: u64,
        /// Bytes that it has.
        of: u64,
    },
    /// It is being unpacked.
    Unpacking,
    /// It is here.
    Done,
    /// It was here before.
    Exists,
}

/// Who is told.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Event) + Send + Sync>>);

impl Progress {
    /// Nobody.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Calls `told` with every event, from any thread. It must not block.
    pub fn new(told: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }

    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(told) = &self.0 {
            told(event());
        }
    }

    pub(crate) fn layer(&self, digest: &crate::digest::Digest, state: LayerState) {
        self.tell(|| Event::Layer {
            digest: digest.to_string(),
            state,
        });
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.0.is_some()).finish()
    }
}
