//! How the content of volumes travels from agent to shim: as a file that is in memory alone and has no name,
//! so that no secret is in a message that is cut and copied, or on a disk.
//!
//! It begins with a line of JSON that says what follows: the files' bytes, one after another.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::fd::OwnedFd;

use probelet_runtime::{VolumeFile, VolumeFiles};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

/// Of each volume, by name, all of its files.
pub(crate) type Content = BTreeMap<String, VolumeFiles>;

/// What the first line tells.
type Heads = BTreeMap<String, Vec<Head>>;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    path: String,
    mode: u32,
    /// Of the content, in bytes.
    length: usize,
}

/// The file with `content` in it.
pub(crate) fn pack(content: &Content) -> io::Result<File> {
    let head_of = |file: &VolumeFile| Head {
        path: file.path.clone(),
        mode: file.mode,
        length: file.content.len(),
    };
    let heads: Heads = content
        .iter()
        .map(|(name, volume)| (name.clone(), volume.files.iter().map(head_of).collect()))
        .collect();
    let memory = memfd_create("volume-files", MemfdFlags::CLOEXEC)?;
    let mut writer = BufWriter::new(File::from(memory));
    serde_json::to_writer(&mut writer, &heads)?;
    writer.write_all(b"\n")?;
    for file in content.values().flat_map(|volume| &volume.files) {
        writer.write_all(&file.content)?;
    }
    let mut file = writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

/// What [`pack`] has packed; nothing, if that is an empty file or none.
pub(crate) fn unpack(file: OwnedFd) -> io::Result<Content> {
    let file = File::from(file);
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(Content::default());
    }
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let heads: Heads = serde_json::from_str(&line)?;
    let mut read = |Head { path, mode, length }: Head| {
        let mut content = vec![0; length];
        reader.read_exact(&mut content)?;
        Ok(VolumeFile {
            path,
            mode,
            content,
        })
    };
    let volumes = heads.into_iter().map(|(name, heads)| {
        let files: io::Result<Vec<VolumeFile>> = heads.into_iter().map(&mut read).collect();
        Ok((name, VolumeFiles { files: files? }))
    });
    volumes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let file = |path: &str, content: &[u8]| VolumeFile {
            path: path.into(),
            mode: 0o400,
            content: content.into(),
        };
        let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let files = vec![file("a\nb", &bytes), file("empty", b""), file("c", b"\n{}")];
        let content = Content::from([
            ("v".to_owned(), VolumeFiles { files }),
            ("none".to_owned(), VolumeFiles::default()),
        ]);
        assert_eq!(unpack(pack(&content).unwrap().into()).unwrap(), content);
        let nothing = File::open("/dev/null").unwrap();
        assert_eq!(unpack(nothing.into()).unwrap(), Content::default());
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        let files = vec![VolumeFile {
            path: "a".into(),
            mode: 0o400,
            content: vec![0; 100],
        }];
        let content = Content::from([("v".to_owned(), VolumeFiles { files })]);
        let packed = pack(&content).unwrap();
        packed
            .set_len(packed.metadata().unwrap().len() - 1)
            .unwrap();
        unpack(packed.into()).unwrap_err();
        let packed = pack(&content).unwrap();
        packed.set_len(3).unwrap();
        unpack(packed.into()).unwrap_err();
    }
}
