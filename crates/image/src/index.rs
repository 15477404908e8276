//! What a store has: its images, and who holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use probelet_runtime::{Image, ImageConfig, ImageId, ImageRoot};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::files;
use crate::place::Place;
use crate::reference::{Reference, Version};

/// The images of a store.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Index {
    version: u32,
    /// By id, which is the digest of their configuration.
    pub(crate) images: BTreeMap<Digest, Record>,
}

const VERSION: u32 = 1;

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) config: ImageConfig,
    /// Diff ids of its layers, the lowest first.
    pub(crate) layers: Vec<Digest>,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) digests: BTreeSet<String>,
    /// Bytes of its files.
    pub(crate) size: u64,
}

impl Index {
    pub(crate) fn read(place: &Place) -> io::Result<Self> {
        let path = place.index();
        let Some(text) = files::if_there(fs::read(&path))? else {
            return Ok(Self::default());
        };
        let broken = |what: String| io::Error::other(format!("{}: {what}", path.display()));
        let index: Self =
            serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        if index.version > VERSION {
            return Err(broken("written by a newer probelet".to_owned()));
        }
        Ok(index)
    }

    /// Only for the holder of the store's lock.
    pub(crate) fn write(&mut self, place: &Place) -> io::Result<()> {
        self.version = VERSION;
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        files::write_whole(&place.index(), &text)
    }

    /// The image of that name or digest.
    pub(crate) fn find(&self, reference: &Reference) -> Option<(&Digest, &Record)> {
        let name = reference.to_string();
        self.images
            .iter()
            .find(|(_, record)| match reference.version {
                Version::Tag(_) => record.tags.contains(&name),
                Version::Digest(_) => record.digests.contains(&name),
            })
    }

    /// Adds an image, or names to it. A tag leaves whatever had it.
    pub(crate) fn add(&mut self, id: &Digest, record: Record) {
        for other in self.images.values_mut() {
            other.tags.retain(|tag| !record.tags.contains(tag));
        }
        match self.images.get_mut(id) {
            Some(there) => {
                there.tags.extend(record.tags);
                there.digests.extend(record.digests);
                there.layers = record.layers;
                there.config = record.config;
                there.size = record.size;
            }
            None => {
                self.images.insert(id.clone(), record);
            }
        }
    }
}

impl Record {
    pub(crate) fn image(&self, id: &Digest, place: &Place) -> Image {
        Image {
            id: ImageId(id.to_string()),
            tags: self.tags.iter().cloned().collect(),
            digests: self.digests.iter().cloned().collect(),
            size: self.size,
            config: self.config.clone(),
            root: ImageRoot {
                layers: self.layers.iter().map(|layer| place.files(layer)).collect(),
                volumes: self.config.volumes.clone(),
            },
        }
    }

    pub(crate) fn is_whole(&self, place: &Place) -> bool {
        self.layers.iter().all(|layer| place.files(layer).is_dir())
    }
}

/// Who holds what: pod uids by image.
pub(crate) fn holders(place: &Place) -> io::Result<BTreeMap<String, Vec<String>>> {
    let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(place.holds())? {
        let entry = entry?;
        let Ok(uid) = entry.file_name().into_string() else {
            continue;
        };
        if uid.ends_with(crate::place::TMP) {
            continue;
        }
        let Some(text) = files::if_there(fs::read_to_string(entry.path()))? else {
            continue;
        };
        for image in text.lines() {
            holders
                .entry(image.to_owned())
                .or_default()
                .push(uid.clone());
        }
    }
    for uids in holders.values_mut() {
        uids.sort();
    }
    Ok(holders)
}
