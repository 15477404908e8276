//! Layers on their way here, gone on with where they were left.

use std::io;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use oci_client::client::BlobResponse;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};

use crate::digest::Hasher;
use crate::manifest::Descriptor;
use crate::progress::{LayerState, Progress};
use crate::reference::Reference;
use crate::registry::{RegistryError, Session, chain};

/// A layer is asked for so often, as long as each time some of it comes.
const TRIES: u32 = 5;
/// Between two tries, times the number of the try.
const PAUSE: Duration = Duration::from_millis(500);
/// What came is written in pieces of at least so many bytes.
const PIECE: usize = 256 << 10;

/// A file that a blob is downloaded to.
struct Partial {
    file: File,
    hasher: Hasher,
    bytes: u64,
}

/// Brings a blob to `path`, whole and verified, and opens it there. What an earlier try left there is used.
pub(crate) async fn download(
    session: &mut Session,
    reference: &Reference,
    blob: &Descriptor,
    path: &Path,
    progress: &Progress,
) -> Result<File, RegistryError> {
    let at = |error: io::Error| RegistryError::Invalid(format!("{}: {error}", path.display()));
    let mut partial = Partial::open(path, blob).await.map_err(at)?;
    let mut was_resumed = partial.bytes > 0;
    let (mut tries, mut renewed) = (0, false);
    loop {
        if partial.bytes < blob.size {
            let before = partial.bytes;
            match fetch(session, reference, blob, &mut partial, progress).await {
                Ok(()) => {}
                Err(RegistryError::Denied(_)) if !renewed => {
                    renewed = true;
                    session.renew(reference).await?;
                    continue;
                }
                Err(error @ (RegistryError::Unreachable(_) | RegistryError::Broken(_))) => {
                    renewed = false;
                    tries = if partial.bytes > before { 0 } else { tries + 1 };
                    if tries == TRIES {
                        return Err(error);
                    }
                    tracing::debug!(digest = %blob.digest, error = error.words(), "a layer is asked for again");
                    was_resumed |= partial.bytes > 0;
                    tokio::time::sleep(PAUSE * (tries + 1)).await;
                    continue;
                }
                Err(error) => return Err(error),
            }
        }
        let got = partial.hasher.clone().finish();
        if got == blob.digest && partial.bytes == blob.size {
            partial.file.seek(SeekFrom::Start(0)).await.map_err(at)?;
            return Ok(partial.file);
        }
        let bytes = partial.bytes;
        partial.restart(blob).await.map_err(at)?;
        if !was_resumed {
            return Err(RegistryError::Invalid(format!(
                "failed to copy: unexpected content: digest {got} of {bytes} bytes, expected {} of {}",
                blob.digest, blob.size
            )));
        }
        // What was there from before may have been the fault.
        was_resumed = false;
    }
}

/// Asks once for what is missing.
async fn fetch(
    session: &Session,
    reference: &Reference,
    blob: &Descriptor,
    partial: &mut Partial,
    progress: &Progress,
) -> Result<(), RegistryError> {
    let local = |error: io::Error| RegistryError::Invalid(format!("failed to copy: {error}"));
    let mut stream = match session.blob(reference, blob, partial.bytes).await? {
        BlobResponse::Partial(stream) => stream.stream,
        BlobResponse::Full(stream) => {
            partial.restart(blob).await.map_err(local)?;
            stream.stream
        }
    };
    let mut piece = Vec::with_capacity(PIECE);
    let mut told = partial.bytes;
    let ended = loop {
        let next = stream.next().await;
        if let Some(Ok(bytes)) = &next {
            piece.extend_from_slice(bytes);
        }
        let is_last = !matches!(next, Some(Ok(_)));
        if piece.len() >= PIECE || is_last {
            partial.write(&piece).await.map_err(local)?;
            piece.clear();
        }
        if partial.bytes > blob.size {
            return Err(RegistryError::Invalid(format!(
                "failed to copy: {} is longer than the {} bytes it was said to be",
                blob.digest, blob.size
            )));
        }
        if partial.bytes > told || is_last {
            told = partial.bytes;
            let (bytes, of) = (told, blob.size);
            progress.layer(&blob.digest, LayerState::Downloading { bytes, of });
        }
        match next {
            Some(Ok(_)) => {}
            Some(Err(error)) => break Err(error),
            None => break Ok(()),
        }
    };
    match ended {
        // The client says at the end of the stream what its own look at the digest found; ours is over all.
        Err(error) if partial.bytes < blob.size => {
            let words = format!("failed to copy: {}", chain(&error));
            Err(RegistryError::Broken(words))
        }
        Ok(()) if partial.bytes < blob.size => Err(RegistryError::Broken(
            "failed to copy: unexpected EOF".to_owned(),
        )),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Partial {
    async fn open(path: &Path, blob: &Descriptor) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut file = options.open(path).await?;
        let mut partial = Self {
            bytes: 0,
            hasher: blob.digest.hasher(),
            file: file.try_clone().await?,
        };
        let mut buffer = vec![0; PIECE];
        loop {
            let read = file.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            partial.hasher.update(&buffer[..read]);
            partial.bytes += u64::try_from(read).unwrap_or(0);
        }
        if partial.bytes > blob.size {
            partial.restart(blob).await?;
        }
        Ok(partial)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.file.flush().await?;
        self.hasher.update(bytes);
        self.bytes += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(())
    }

    async fn restart(&mut self, blob: &Descriptor) -> io::Result<()> {
        self.file.set_len(0).await?;
        self.file.seek(SeekFrom::Start(0)).await?;
        self.hasher = blob.digest.hasher();
        self.bytes = 0;
        Ok(())
    }
}
