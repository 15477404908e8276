//! Where things are in a store.
//!
//! ```text
//! <dir>/lock               held for moments, by whoever decides what is here and what goes
//!       index.json         the images: configuration, layers, names
//!       holds/<pod uid>    ids of images, a line each
//!       claims/<name>      layers that a pull or a load, which holds a lock on the file, counts on
//!       layers/<owners>/<diff id>/files       a layer, unpacked
//!                                /layer.json  what it has
//!       layers/<owners>/<diff id>.tmp/        one that is being unpacked
//!       partial/<diff id>+<digest>            a layer that is being downloaded
//!       locks/<owners>+<diff id>              held by whoever downloads and unpacks the layer
//!       trash/             what is being removed
//! ```

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::files;
use crate::unpack::Owners;

/// A store's directory.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    dir: PathBuf,
    owners: Owners,
}

impl Place {
    pub(crate) fn new(dir: PathBuf, owners: Owners) -> Self {
        Self { dir, owners }
    }

    pub(crate) fn make(&self) -> io::Result<()> {
        for name in ["holds", "claims", "partial", "locks", "trash"] {
            files::make_private(&self.dir.join(name))?;
        }
        files::make_private(&self.layers())
    }

    pub(crate) fn owners(&self) -> Owners {
        self.owners
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.dir.join("index.json")
    }

    pub(crate) fn holds(&self) -> PathBuf {
        self.dir.join("holds")
    }

    pub(crate) fn claims(&self) -> PathBuf {
        self.dir.join("claims")
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.dir.join("layers").join(self.owners.word())
    }

    pub(crate) fn partials(&self) -> PathBuf {
        self.dir.join("partial")
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.dir.join("locks")
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.dir.join("trash")
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.file_name())
    }

    /// The files of a layer.
    pub(crate) fn files(&self, diff_id: &Digest) -> PathBuf {
        self.layer(diff_id).join("files")
    }

    pub(crate) fn layer_facts(&self, diff_id: &Digest) -> PathBuf {
        self.layer(diff_id).join("layer.json")
    }

    pub(crate) fn layer_tmp(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(format!("{}{TMP}", diff_id.file_name()))
    }

    pub(crate) fn layer_lock(&self, diff_id: &Digest) -> PathBuf {
        let name = format!("{}+{}", self.owners.word(), diff_id.file_name());
        self.locks().join(name)
    }

    pub(crate) fn partial(&self, diff_id: &Digest, blob: &Digest) -> PathBuf {
        let name = format!("{}{PARTIAL}{}", diff_id.file_name(), blob.file_name());
        self.partials().join(name)
    }
}

/// How the names of what is being written end.
pub(crate) const TMP: &str = ".tmp";
/// Between a partial layer's diff id and its digest.
pub(crate) const PARTIAL: &str = "+";
